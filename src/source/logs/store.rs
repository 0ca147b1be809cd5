//! The store of log lines: a ring for each log, with one limit on the bytes of all. If it is reached, the oldest lines of
//! the largest ring are removed and counted, so a log that writes a lot does not displace the others. Followers and
//! views share the store. Each lock is held only for the duration of a copy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::{Level, LogSummary, Mark};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::Lookup;
use pilothouse_core::logs::fingerprint::Masks;
use pilothouse_core::logs::templates::{Group, Templates};

use super::group::Groups;
use super::ring::Ring;
pub use super::ring::Stored;
use super::shares::Part as Share;

/// The memory of a ring in addition to its lines.
const RING_OVERHEAD: usize = 400;
/// The share of the limit that is freed at once, so that the largest ring is seldom searched for.
const FREED: usize = 256;

/// An entry of a log. A stack trace is one entry with line feeds. The text is sanitized and limited in length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogLine {
    pub at: Stamp,
    /// The pod, as `namespace/name`. It is empty if the log does not belong to a pod.
    pub pod: Name,
    /// The container, or the name of the file if the log does not belong to a pod.
    pub container: Name,
    /// The level, which is Info if the line has none.
    pub level: Level,
    pub text: String,
    /// The fingerprint. Only errors have one.
    pub fingerprint: Option<Name>,
    /// The number of bytes that were left out of the text.
    pub cut: u32,
    /// Set if the line is not one of the log, but says something about it.
    pub mark: Option<Mark>,
}

/// Selects lines. Empty parts select all.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// The pods, as `namespace/name`.
    pub pods: Vec<Name>,
    pub container: Option<Name>,
    pub fingerprint: Option<Name>,
    pub at_least: Option<Level>,
}

impl LogFilter {
    fn wants_pod(&self, pod: &Name) -> bool {
        self.pods.is_empty() || self.pods.contains(pod)
    }

    fn wants_container(&self, container: &Name) -> bool {
        self.container.as_ref().is_none_or(|wanted| wanted == container)
    }

    fn wants(&self, line: &Stored<'_>) -> bool {
        self.fingerprint.as_ref().is_none_or(|f| line.fingerprint == Some(f))
            && self.at_least.is_none_or(|l| line.level >= l)
    }
}

/// The origin of a line, for the groups.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub workload: Name,
    pub version: Name,
    pub node: Name,
    /// The image without its tag.
    pub image: Name,
}

/// The rings by pod and container.
type Rings = Lookup<Name, BTreeMap<Name, Ring>>;

/// The contribution of one source.
#[derive(Debug, Default)]
struct Part {
    rings: Rings,
    groups: Groups,
    lines: u64,
    dropped: u64,
    evicted: u64,
    gaps: u64,
    following: u32,
    candidates: u32,
    changes: u64,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: usize,
    /// The number of lines so far, which is the order of lines with the same time.
    arrived: u64,
    /// The parts by the name of the source.
    parts: BTreeMap<Name, Part>,
    templates: Templates,
}

impl Inner {
    /// Adds a line of a source, with its group if it has one.
    fn keep(&mut self, source: &Name, mut line: LogLine, group: Option<Group>, origin: &Origin, cap: usize) {
        self.arrived += 1;
        let part = match self.parts.get_mut(source) {
            Some(part) => part,
            None => self.parts.entry(source.clone()).or_default(),
        };
        part.lines += u64::from(line.mark.is_none());
        part.gaps += u64::from(line.mark == Some(Mark::Gap));
        part.changes += 1;
        let of_pod = match part.rings.get_mut(&line.pod) {
            Some(of_pod) => of_pod,
            None => part.rings.entry(line.pod.clone()).or_default(),
        };
        let (ring, is_new) = match of_pod.get_mut(&line.container) {
            Some(ring) => (ring, false),
            None => (of_pod.entry(line.container.clone()).or_default(), true),
        };
        let is_oldest = ring.oldest.is_none_or(|oldest| line.at < oldest);
        if is_oldest && line.mark.is_none() {
            ring.oldest = Some(line.at);
        }
        if let Some(group) = group {
            part.groups.add(&line, &group, origin, is_oldest);
            line.fingerprint = Some(group.fingerprint);
        }
        let bytes = ring.push(self.arrived, line);
        self.bytes += bytes + if is_new { RING_OVERHEAD } else { 0 };
        while self.bytes > cap && self.free(cap) {}
    }

    /// Removes the oldest lines of the largest ring. Returns `false` if there is none.
    fn free(&mut self, cap: usize) -> bool {
        let rings = self.parts.values_mut().filter_map(|part| {
            let evicted = &mut part.evicted;
            let rings = part.rings.values_mut().flat_map(BTreeMap::values_mut);
            rings.max_by_key(|ring| ring.bytes()).map(|ring| (ring, evicted))
        });
        let Some((ring, evicted)) =
            rings.max_by_key(|(ring, _)| ring.bytes()).filter(|(ring, _)| !ring.is_empty())
        else {
            return false;
        };
        // more than needed, so that the largest ring is seldom searched for, but not all of a small ring
        let limit = if cap / FREED > RING_OVERHEAD { cap - cap / FREED } else { cap };
        let half = ring.bytes() / 2;
        while self.bytes > limit && ring.bytes() > half {
            let Some(bytes) = ring.pop() else { break };
            self.bytes = self.bytes.saturating_sub(bytes);
            *evicted += 1;
        }
        if ring.is_empty() {
            self.sweep();
        }
        true
    }

    /// Removes the empty rings.
    fn sweep(&mut self) {
        for part in self.parts.values_mut() {
            part.rings.retain(|_, of_pod| {
                let before = of_pod.len();
                of_pod.retain(|_, ring| !ring.is_empty());
                self.bytes = self.bytes.saturating_sub((before - of_pod.len()) * RING_OVERHEAD);
                !of_pod.is_empty()
            });
        }
    }
}

/// The store: the lines of all sources, and the groups of each source.
#[derive(Debug)]
pub struct LogStore {
    inner: Mutex<Inner>,
    memory: Share,
    masks: Masks,
}

impl LogStore {
    /// Creates a store that keeps at most this many bytes of lines.
    pub fn new(cap: usize) -> Self {
        Self::with_masks(Share::whole(cap), Masks::default())
    }

    /// Creates a store that keeps its lines in a part of the memory that is shared with other stores, and groups
    /// errors with these masks.
    pub fn with_masks(memory: Share, masks: Masks) -> Self {
        Self { inner: Mutex::default(), memory, masks }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // after a panic elsewhere, a ring lacks at most one line
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the newest `max` lines that match the filter, the oldest first.
    pub fn lines(&self, filter: &LogFilter, max: usize) -> Vec<LogLine> {
        self.lines_that(filter, max, |_| true)
    }

    /// Returns the newest `max` lines that match the filter and for which `wanted` is true, the oldest first. Each log is
    /// locked for itself.
    pub fn lines_that(
        &self,
        filter: &LogFilter,
        max: usize,
        wanted: impl Fn(&Stored<'_>) -> bool,
    ) -> Vec<LogLine> {
        let mut logs: Vec<(Name, Name, Name)> = Vec::new();
        for (source, part) in &self.lock().parts {
            for (pod, rings) in part.rings.iter().filter(|(pod, _)| filter.wants_pod(pod)) {
                let containers = rings.keys().filter(|name| filter.wants_container(name));
                logs.extend(containers.map(|container| (source.clone(), pod.clone(), container.clone())));
            }
        }
        let mut out: Vec<(u64, LogLine)> = Vec::new();
        for (source, pod, container) in &logs {
            let inner = self.lock();
            let rings = inner.parts.get(source).and_then(|part| part.rings.get(pod));
            let Some(ring) = rings.and_then(|rings| rings.get(container)) else { continue };
            let found = ring.newest_first().filter(|line| filter.wants(line) && wanted(line));
            out.extend(found.take(max).map(|found| (found.arrived, found.line(pod, container))));
        }
        // streams run at different speeds, so the lines are sorted by time
        out.sort_by_key(|(arrived, line)| (line.at, *arrived));
        let surplus = out.len().saturating_sub(max);
        out.into_iter().skip(surplus).map(|(_, line)| line).collect()
    }

    /// Returns the input of one source. `unit` is the plural of what its logs belong to (`pods`).
    pub fn input(self: &Arc<Self>, source: &str, unit: &str) -> LogInput {
        LogInput { store: self.clone(), source: source.into(), unit: unit.into() }
    }
}

/// The input of one source. The lines that it adds count as that source's.
#[derive(Clone, Debug)]
pub struct LogInput {
    store: Arc<LogStore>,
    source: Name,
    unit: Name,
}

impl LogInput {
    pub fn source(&self) -> &Name {
        &self.source
    }

    fn change<T>(&self, change: impl FnOnce(&mut Part) -> T) -> T {
        let mut inner = self.store.lock();
        change(inner.parts.entry(self.source.clone()).or_default())
    }

    /// Adds a line. A line with a fingerprint is grouped; it gets the fingerprint of its group.
    pub fn push(&self, line: LogLine, origin: &Origin) {
        // masking takes longer than the rest, and needs no lock
        let own = line.fingerprint.as_ref().and_then(|_| self.store.masks.own(&line.text));
        let mut inner = self.store.lock();
        let inner = &mut *inner;
        let group =
            line.fingerprint.as_ref().map(|print| inner.templates.of_line(own.as_ref(), print, &line.text));
        inner.keep(&self.source, line, group, origin, self.store.memory.size());
    }

    /// Counts lines that never reached the store, because of a limit or a lost connection.
    pub fn lost(&self, lines: u64) {
        if lines > 0 {
            self.change(|part| {
                part.dropped += lines;
                part.changes += 1;
            });
        }
    }

    /// Sets how many logs are followed, and how many could be.
    pub fn following(&self, streams: usize, candidates: u32) {
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        self.change(|part| {
            if (part.following, part.candidates) != (streams, candidates) {
                (part.following, part.candidates) = (streams, candidates);
                part.changes += 1;
            }
        });
    }

    /// Returns the state of collection and the groups of errors.
    pub fn summary(&self, now: Stamp) -> LogSummary {
        self.change(|part| LogSummary {
            source: self.source.clone(),
            at: now,
            unit: self.unit.clone(),
            following: part.following,
            candidates: part.candidates,
            lines: part.lines,
            dropped: part.dropped,
            evicted: part.evicted,
            gaps: part.gaps,
            groups: part.groups.view(now),
        })
    }

    /// Returns a counter that increases with every change of the summary.
    pub fn changes(&self) -> u64 {
        self.change(|part| part.changes)
    }

    pub fn has_groups(&self) -> bool {
        self.change(|part| !part.groups.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::logs::fingerprint;
    use pilothouse_core::logs::message::subject;

    use super::super::ring::OVERHEAD;
    use super::*;

    fn line(at: i64, pod: &str, text: &str) -> LogLine {
        LogLine { at: Stamp(at), pod: pod.into(), text: text.into(), ..LogLine::default() }
    }

    #[test]
    fn the_oldest_go_first_and_the_newest_are_shown() {
        let store = Arc::new(LogStore::new(RING_OVERHEAD + 3 * (OVERHEAD + 10)));
        let input = store.input("logs", "pods");
        for i in 0..5 {
            input.push(line(i, "n/p", "0123456789"), &Origin::default());
        }
        let shown = store.lines(&LogFilter::default(), 10);
        assert_eq!(shown.iter().map(|l| l.at.0).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(store.lines(&LogFilter::default(), 1)[0].at.0, 4);
        assert_eq!(input.summary(Stamp(0)).lines, 5);
    }

    #[test]
    fn filters() {
        let store = Arc::new(LogStore::new(1 << 20));
        let input = store.input("logs", "pods");
        input.push(line(1, "n/a", "x"), &Origin::default());
        input.push(
            LogLine { level: Level::Error, fingerprint: Some("f".into()), ..line(2, "n/b", "y") },
            &Origin::default(),
        );
        let of = |filter: LogFilter| store.lines(&filter, 9).len();
        assert_eq!(of(LogFilter { pods: vec!["n/a".into()], ..LogFilter::default() }), 1);
        assert_eq!(of(LogFilter { fingerprint: Some("f".into()), ..LogFilter::default() }), 1);
        assert_eq!(of(LogFilter { at_least: Some(Level::Warn), ..LogFilter::default() }), 1);
        assert_eq!(input.summary(Stamp(2)).groups.len(), 1);
    }

    #[test]
    fn a_group_whose_first_line_is_the_oldest_of_its_log_can_be_older() {
        let store = Arc::new(LogStore::new(1 << 20));
        let input = store.input("logs", "pods");
        let error = |at, pod| LogLine {
            level: Level::Error,
            fingerprint: Some("f".into()),
            ..line(at, pod, "it failed")
        };
        let first = |input: &LogInput| {
            let group = input.summary(Stamp(9)).groups[0].clone();
            (group.first.0, group.or_earlier)
        };
        input.push(line(5, "n/a", "it began"), &Origin::default());
        input.push(error(5, "n/a"), &Origin::default());
        assert_eq!(first(&input), (5, false), "an older line of the log was read");
        input.push(LogLine { mark: Some(Mark::Note), ..line(1, "n/b", "it waits") }, &Origin::default());
        input.push(error(4, "n/b"), &Origin::default());
        assert_eq!(first(&input), (4, true));
        input.push(error(6, "n/b"), &Origin::default());
        assert_eq!(first(&input), (4, true));
    }

    #[test]
    fn sources_share_the_lines_and_have_their_own_numbers() {
        let store = Arc::new(LogStore::new(2 * RING_OVERHEAD + 2 * (OVERHEAD + 10)));
        let (pods, files) = (store.input("logs", "pods"), store.input("log file a", "files"));
        let error = |at| LogLine {
            level: Level::Error,
            fingerprint: Some("f".into()),
            ..line(at, "n/p", "0123456789")
        };
        pods.push(error(1), &Origin::default());
        pods.push(error(2), &Origin::default());
        files.push(error(3), &Origin::default());
        files.lost(4);
        pods.following(1, 2);
        let told = |input: &LogInput| {
            let s = input.summary(Stamp(9));
            (s.unit.to_string(), s.lines, s.dropped, s.following, s.groups[0].count)
        };
        assert_eq!(told(&pods), ("pods".into(), 2, 0, 1, 2));
        assert_eq!(told(&files), ("files".into(), 1, 4, 0, 1));
        let kept: Vec<i64> = store.lines(&LogFilter::default(), 9).iter().map(|l| l.at.0).collect();
        assert_eq!(kept, [2, 3], "the memory for lines is one for all");
        assert_eq!((pods.summary(Stamp(9)).evicted, files.summary(Stamp(9)).evicted), (1, 0));
        let before = pods.changes();
        files.push(error(4), &Origin::default());
        assert_eq!(pods.changes(), before, "one source's lines are no news of another");
    }

    #[test]
    fn a_log_that_writes_a_lot_does_not_displace_the_others() {
        let store = Arc::new(LogStore::new(64 << 10));
        let input = store.input("logs", "pods");
        for i in 0..20 {
            input.push(line(i, "n/quiet", "it began"), &Origin::default());
        }
        for i in 20..50_000 {
            input.push(line(i, "n/loud", "again and again and again"), &Origin::default());
        }
        let of = |pod: &str| {
            store.lines(&LogFilter { pods: vec![pod.into()], ..LogFilter::default() }, usize::MAX).len()
                as u64
        };
        assert_eq!(of("n/quiet"), 20);
        let summary = input.summary(Stamp(0));
        assert_eq!(
            of("n/loud") + of("n/quiet") + summary.evicted,
            summary.lines,
            "each line is held or counted"
        );
        let inner = store.lock();
        let rings = inner.parts.values().flat_map(|part| part.rings.values().flatten());
        let held: usize = rings.map(|(_, ring)| ring.bytes() + RING_OVERHEAD).sum();
        assert!(held == inner.bytes && held <= 64 << 10, "{held}");
    }

    #[test]
    fn many_logs_share_the_memory() {
        let store = Arc::new(LogStore::new(64 << 10));
        let input = store.input("logs", "pods");
        for i in 0..20_000 {
            input.push(line(i, &format!("n/p{}", i % 300), "text"), &Origin::default());
        }
        let inner = store.lock();
        assert!(inner.bytes <= 64 << 10, "{}", inner.bytes);
        let rings = inner.parts.values().map(|part| part.rings.len()).sum::<usize>();
        assert!(rings > 50, "{rings}");
    }

    #[test]
    fn the_stores_of_several_clusters_share_the_memory() {
        let shares = super::super::shares::Shares::new(64 << 10);
        let store = || Arc::new(LogStore::with_masks(shares.part(), Masks::default()));
        let (one, input) = (store(), store());
        let inputs = [one.input("logs", "pods"), input.input("logs", "pods")];
        for i in 0..20_000 {
            for input in &inputs {
                input.push(line(i, &format!("n/p{}", i % 30), "text"), &Origin::default());
            }
        }
        let held = [&one, &input].map(|store| store.lock().bytes);
        assert!(held.iter().all(|held| *held <= 32 << 10 && *held > 16 << 10), "{held:?}");
        drop((inputs, input));
        let alone = one.input("logs", "pods");
        for i in 20_000..40_000 {
            alone.push(line(i, &format!("n/p{}", i % 30), "text"), &Origin::default());
        }
        let held = one.lock().bytes;
        assert!(held > 40 << 10 && held <= 64 << 10, "a closed cluster gives its part back: {held}");
    }

    #[test]
    fn lines_of_one_template_are_one_group_and_masks_of_the_config_decide() {
        let push = |input: &LogInput, text: &str| {
            let print = fingerprint::mask(&subject(text)).fingerprint;
            let error =
                LogLine { level: Level::Error, fingerprint: Some(Name::from(print)), ..line(1, "n/p", text) };
            input.push(error, &Origin::default());
        };
        let groups = |masks: Masks, texts: &[&str]| {
            let store = Arc::new(LogStore::with_masks(Share::whole(1 << 20), masks));
            let input = store.input("logs", "pods");
            for text in texts {
                push(&input, text);
            }
            let mut told: Vec<(String, u64)> =
                input.summary(Stamp(2)).groups.iter().map(|g| (g.template.to_string(), g.count)).collect();
            told.sort();
            let print = input.summary(Stamp(2)).groups[0].fingerprint.clone();
            let of = store.lines(&LogFilter { fingerprint: Some(print), ..LogFilter::default() }, 99).len();
            assert_eq!(
                of as u64,
                input.summary(Stamp(2)).groups[0].count,
                "the lines have their group's print"
            );
            told
        };
        let users = ["ERROR no account for user alice", "ERROR no account for user bob"];
        assert_eq!(groups(Masks::default(), &users), [("no account for user <*>".into(), 2)]);
        let codes = ["ERROR answered 502 to x", "ERROR answered 503 to x"];
        assert_eq!(groups(Masks::default(), &codes), [("answered <n> to x".into(), 2)]);
        let kept = Masks::new(&BTreeMap::new(), &["502".into(), "503".into()]).unwrap();
        assert_eq!(groups(kept, &codes).len(), 2);
    }
}
