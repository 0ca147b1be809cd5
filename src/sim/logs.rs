//! The logs of containers. The API server reads a [`LogBook`], which the part that runs the containers fills.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// One line, without its newline.
#[derive(Debug, Clone)]
pub struct Line {
    /// Increases by one with each line of a container's run.
    pub seq: u64,
    pub at: DateTime<Utc>,
    /// Bytes, not text, because containers can write anything.
    pub text: bytes::Bytes,
}

/// A part of a log.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub lines: Vec<Line>,
    /// Where to continue reading.
    pub next: u64,
    /// The container has ended, so nothing will follow.
    pub ended: bool,
}

/// The position of a reader in a container's log. It stays valid across a restart, after which the lines are counted
/// from the start again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    run: u64,
    next: u64,
}

/// The logs of all containers.
pub trait LogBook: Send + Sync + std::fmt::Debug {
    /// The lines of a container from sequence number `from` on, at most `limit`. `None`: no such run of a container.
    fn read(&self, pod: &str, container: &str, previous: bool, from: u64, limit: usize) -> Option<Page>;

    /// The sequence number from which `lines` lines remain: for `tailLines`.
    fn tail(&self, pod: &str, container: &str, previous: bool, lines: u64) -> u64;

    /// Changes when any log has new lines or has ended.
    fn grown(&self) -> watch::Receiver<u64>;
}

/// The memory of a line in addition to its text: its place in the queue and its allocation's overhead.
const LINE: usize = size_of::<Line>() + 24;

#[derive(Debug, Default)]
struct Run {
    lines: VecDeque<Line>,
    next: u64,
    ended: bool,
    bytes: usize,
}

impl Run {
    fn drop_first(&mut self) -> usize {
        let freed = self.lines.pop_front().map_or(0, |line| line.text.len() + LINE);
        self.bytes = self.bytes.saturating_sub(freed);
        freed
    }
}

#[derive(Debug, Default)]
struct Runs {
    now: Run,
    previous: Option<Run>,
    restarts: u64,
}

impl Runs {
    fn bytes(&self) -> usize {
        self.now.bytes + self.previous.as_ref().map_or(0, |run| run.bytes)
    }
}

#[derive(Debug, Default)]
struct Book {
    /// By the pod's uid and the container's name.
    pods: HashMap<Arc<str>, BTreeMap<Arc<str>, Runs>>,
    /// The bytes of all lines.
    bytes: usize,
}

impl Book {
    /// Makes room: each run drops its oldest quarter, so that this is rare and no log is dropped because of another.
    fn shrink(&mut self, most: usize) {
        while self.bytes > most {
            let mut freed = 0;
            for runs in self.pods.values_mut().flat_map(BTreeMap::values_mut) {
                for run in std::iter::once(&mut runs.now).chain(&mut runs.previous) {
                    for _ in 0..run.lines.len().div_ceil(4) {
                        freed += run.drop_first();
                    }
                    run.lines.shrink_to(run.lines.len() * 2);
                }
            }
            self.bytes = self.bytes.saturating_sub(freed);
            if freed == 0 {
                return;
            }
        }
    }
}

/// A log book in memory: the last lines of each container, by the pod's UID and the container's name, up to a total
/// number of bytes.
#[derive(Debug)]
pub struct Notebook {
    book: RwLock<Book>,
    capacity: usize,
    most: usize,
    grown: watch::Sender<u64>,
}

impl Notebook {
    /// The default limit for the bytes of all logs together.
    pub const BYTES: usize = 8 << 20;

    /// Keeps `capacity` lines per run of a container.
    pub fn new(capacity: usize) -> Self {
        Self::bounded(capacity, Self::BYTES)
    }

    /// Keeps `capacity` lines per run of a container and `most` bytes of all.
    pub fn bounded(capacity: usize, most: usize) -> Self {
        Self { book: RwLock::default(), capacity: capacity.max(1), most, grown: watch::Sender::new(0) }
    }

    /// Bytes that all lines take now.
    pub fn bytes(&self) -> usize {
        self.book.read().unwrap_or_else(PoisonError::into_inner).bytes
    }

    fn change(&self, pod: &str, container: &str, change: impl FnOnce(&mut Runs)) {
        {
            let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
            if !book.pods.contains_key(pod) {
                book.pods.insert(pod.into(), BTreeMap::new());
            }
            let Some(containers) = book.pods.get_mut(pod) else { return };
            if !containers.contains_key(container) {
                containers.insert(container.into(), Runs::default());
            }
            let Some(runs) = containers.get_mut(container) else { return };
            let before = runs.bytes();
            change(runs);
            let after = runs.bytes();
            book.bytes = (book.bytes + after).saturating_sub(before);
            if book.bytes > self.most {
                book.shrink(self.most);
            }
        }
        self.grown.send_modify(|n| *n = n.wrapping_add(1));
    }

    pub fn append(&self, pod: &str, container: &str, at: DateTime<Utc>, text: impl Into<bytes::Bytes>) {
        let (text, capacity) = (text.into(), self.capacity);
        self.change(pod, container, |runs| {
            let run = &mut runs.now;
            run.ended = false;
            if run.lines.len() >= capacity {
                run.drop_first();
            }
            run.bytes += text.len() + LINE;
            run.lines.push_back(Line { seq: run.next, at, text });
            run.next += 1;
        });
    }

    /// The container has ended; streams that follow it end.
    pub fn end(&self, pod: &str, container: &str) {
        self.change(pod, container, |runs| runs.now.ended = true);
    }

    /// The container restarts: its lines so far become the previous log.
    pub fn restart(&self, pod: &str, container: &str) {
        self.change(pod, container, |runs| {
            let mut old = std::mem::take(&mut runs.now);
            old.ended = true;
            runs.previous = Some(old);
            runs.restarts += 1;
        });
    }

    /// The pod was deleted.
    pub fn forget(&self, pod: &str) {
        {
            let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
            let gone = book.pods.remove(pod);
            let freed: usize = gone.iter().flat_map(BTreeMap::values).map(Runs::bytes).sum();
            book.bytes = book.bytes.saturating_sub(freed);
        }
        self.grown.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// The containers of a pod that have logs.
    pub fn containers(&self, pod: &str) -> Vec<Arc<str>> {
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
        book.pods.get(pod).map(|all| all.keys().cloned().collect()).unwrap_or_default()
    }

    /// The lines of a container written in `[from, until)`, those of its run before the last restart first.
    pub fn written(
        &self,
        pod: &str,
        container: &str,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Vec<Line> {
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
        let Some(runs) = book.pods.get(pod).and_then(|all| all.get(container)) else { return Vec::new() };
        let both = runs.previous.iter().chain(std::iter::once(&runs.now));
        both.flat_map(|run| {
            let start = run.lines.partition_point(|line| line.at < from);
            run.lines.range(start..).take_while(|line| line.at < until)
        })
        .cloned()
        .collect()
    }

    /// The lines of a container after a position, which then moves behind them, those of its run before the last
    /// restart first; and whether there are lines younger than `until`, which are left for the next call.
    pub fn after(
        &self,
        pod: &str,
        container: &str,
        mark: &mut Mark,
        until: Option<DateTime<Utc>>,
    ) -> (Vec<Line>, bool) {
        let mut out = Vec::new();
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
        let Some(runs) = book.pods.get(pod).and_then(|all| all.get(container)) else { return (out, false) };
        let previous = runs.previous.iter().map(|run| (runs.restarts.saturating_sub(1), run));
        for (number, run) in previous.chain(std::iter::once((runs.restarts, &runs.now))) {
            if number < mark.run {
                continue;
            }
            if number > mark.run {
                *mark = Mark { run: number, next: 0 };
            }
            let start = run.lines.partition_point(|line| line.seq < mark.next);
            for line in run.lines.range(start..) {
                if until.is_some_and(|until| line.at > until) {
                    return (out, true);
                }
                mark.next = line.seq + 1;
                out.push(line.clone());
            }
        }
        (out, false)
    }

    fn with<T>(&self, pod: &str, container: &str, previous: bool, f: impl FnOnce(&Run) -> T) -> Option<T> {
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
        let runs = book.pods.get(pod)?.get(container)?;
        if previous { runs.previous.as_ref().map(f) } else { Some(f(&runs.now)) }
    }
}

impl LogBook for Notebook {
    fn read(&self, pod: &str, container: &str, previous: bool, from: u64, limit: usize) -> Option<Page> {
        self.with(pod, container, previous, |run| {
            let start = run.lines.partition_point(|line| line.seq < from);
            let lines: Vec<Line> = run.lines.range(start..).take(limit).cloned().collect();
            let next = lines.last().map_or(from.max(run.next), |line| line.seq + 1);
            Page { ended: run.ended && next >= run.next, next, lines }
        })
    }

    fn tail(&self, pod: &str, container: &str, previous: bool, lines: u64) -> u64 {
        self.with(pod, container, previous, |run| run.next.saturating_sub(lines)).unwrap_or_default()
    }

    fn grown(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }
}
