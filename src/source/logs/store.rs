//! The store of log lines: one ring with a limit on its bytes. The oldest lines are dropped first and counted.
//! Followers and views share it. Each lock is held only for the duration of a copy.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::{Level, LogSummary, Mark};
use pilothouse_core::domain::time::Stamp;

use super::group::Groups;

/// The memory of a line in addition to its text.
const OVERHEAD: usize = 120;

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
    pub text: Name,
    /// The fingerprint. Only errors have one.
    pub fingerprint: Option<Name>,
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
    fn wants(&self, line: &LogLine) -> bool {
        (self.pods.is_empty() || self.pods.contains(&line.pod))
            && self.container.as_ref().is_none_or(|c| *c == line.container)
            && self.fingerprint.as_ref().is_none_or(|f| line.fingerprint.as_ref() == Some(f))
            && self.at_least.is_none_or(|l| line.level >= l)
    }
}

/// The origin of a line, for the groups.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub workload: Name,
    pub version: Name,
}

/// The contribution of one source.
#[derive(Debug, Default)]
struct Part {
    groups: Groups,
    lines: u64,
    dropped: u64,
    gaps: u64,
    following: u32,
    candidates: u32,
    changes: u64,
}

#[derive(Debug, Default)]
struct Inner {
    ring: VecDeque<LogLine>,
    bytes: usize,
    /// The parts by the name of the source.
    parts: BTreeMap<Name, Part>,
}

/// The store: one ring with the lines of all sources, and the groups of each source.
#[derive(Debug)]
pub struct LogStore {
    inner: Mutex<Inner>,
    cap: usize,
}

impl LogStore {
    /// Creates a store that keeps at most this many bytes of lines.
    pub fn new(cap: usize) -> Self {
        Self { inner: Mutex::default(), cap }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // after a panic elsewhere, the ring lacks at most one line
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the newest `max` lines that match the filter, the oldest first.
    pub fn lines(&self, filter: &LogFilter, max: usize) -> Vec<LogLine> {
        let mut out: Vec<LogLine> =
            self.lock().ring.iter().rev().filter(|l| filter.wants(l)).take(max).cloned().collect();
        out.reverse();
        // streams run at different speeds, so the lines are sorted by time
        out.sort_by_key(|l| l.at);
        out
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

    /// Adds a line. Errors are grouped.
    pub fn push(&self, line: LogLine, origin: &Origin) {
        let mut inner = self.store.lock();
        let part = inner.parts.entry(self.source.clone()).or_default();
        part.lines += u64::from(line.mark.is_none());
        part.gaps += u64::from(line.mark == Some(Mark::Gap));
        part.changes += 1;
        part.groups.add(&line, origin);
        inner.bytes += line.text.len() + OVERHEAD;
        inner.ring.push_back(line);
        while inner.bytes > self.store.cap {
            let Some(oldest) = inner.ring.pop_front() else { break };
            inner.bytes = inner.bytes.saturating_sub(oldest.text.len() + OVERHEAD);
        }
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
    use super::*;

    fn line(at: i64, pod: &str, text: &str) -> LogLine {
        LogLine { at: Stamp(at), pod: pod.into(), text: text.into(), ..LogLine::default() }
    }

    #[test]
    fn the_oldest_go_first_and_the_newest_are_shown() {
        let store = Arc::new(LogStore::new(3 * (OVERHEAD + 10)));
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
    fn sources_share_the_lines_and_have_their_own_numbers() {
        let store = Arc::new(LogStore::new(2 * (OVERHEAD + 10)));
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
        let before = pods.changes();
        files.push(error(4), &Origin::default());
        assert_eq!(pods.changes(), before, "one source's lines are no news of another");
    }
}
