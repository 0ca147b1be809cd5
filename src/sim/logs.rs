//! Where the logs of containers come from. The API server reads a [`LogBook`]; whoever runs the containers fills it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// One line, without its newline.
#[derive(Debug, Clone)]
pub struct Line {
    /// Grows by one per line of a container's run.
    pub seq: u64,
    pub at: DateTime<Utc>,
    /// Bytes and not text: containers print what they like.
    pub text: bytes::Bytes,
}

/// A part of a log.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub lines: Vec<Line>,
    /// Where to read on.
    pub next: u64,
    /// The container has ended: nothing will follow.
    pub ended: bool,
}

/// The logs of all containers.
pub trait LogBook: Send + Sync + std::fmt::Debug {
    /// The lines of a container from sequence number `from` on, at most `limit`. `None`: no such run of a container.
    fn read(&self, pod: &str, container: &str, previous: bool, from: u64, limit: usize) -> Option<Page>;

    /// The sequence number from which `lines` lines are left: for `tailLines`.
    fn tail(&self, pod: &str, container: &str, previous: bool, lines: u64) -> u64;

    /// Changes when any log has grown or ended.
    fn grown(&self) -> watch::Receiver<u64>;
}

#[derive(Debug, Default)]
struct Run {
    lines: VecDeque<Line>,
    next: u64,
    ended: bool,
}

#[derive(Debug, Default)]
struct Runs {
    now: Run,
    previous: Option<Run>,
}

/// A pod's uid and a container's name.
type Place = (Arc<str>, Arc<str>);

/// A log book in memory: the last lines of each container, by the pod's uid and the container's name.
#[derive(Debug)]
pub struct Notebook {
    runs: RwLock<HashMap<Place, Runs>>,
    capacity: usize,
    grown: watch::Sender<u64>,
}

impl Notebook {
    /// Keeps `capacity` lines per run of a container.
    pub fn new(capacity: usize) -> Self {
        Self { runs: RwLock::default(), capacity: capacity.max(1), grown: watch::Sender::new(0) }
    }

    fn change(&self, pod: &str, container: &str, change: impl FnOnce(&mut Runs)) {
        {
            let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
            change(runs.entry((pod.into(), container.into())).or_default());
        }
        self.grown.send_modify(|n| *n = n.wrapping_add(1));
    }

    pub fn append(&self, pod: &str, container: &str, at: DateTime<Utc>, text: impl Into<bytes::Bytes>) {
        self.change(pod, container, |runs| {
            let run = &mut runs.now;
            run.ended = false;
            if run.lines.len() >= self.capacity {
                run.lines.pop_front();
            }
            run.lines.push_back(Line { seq: run.next, at, text: text.into() });
            run.next += 1;
        });
    }

    /// The container has ended; followers are let go.
    pub fn end(&self, pod: &str, container: &str) {
        self.change(pod, container, |runs| runs.now.ended = true);
    }

    /// The container starts again: what it wrote so far is its previous log.
    pub fn restart(&self, pod: &str, container: &str) {
        self.change(pod, container, |runs| {
            let mut old = std::mem::take(&mut runs.now);
            old.ended = true;
            runs.previous = Some(old);
        });
    }

    /// The pod is gone.
    pub fn forget(&self, pod: &str) {
        self.runs.write().unwrap_or_else(PoisonError::into_inner).retain(|(uid, _), _| &**uid != pod);
        self.grown.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn with<T>(&self, pod: &str, container: &str, previous: bool, f: impl FnOnce(&Run) -> T) -> Option<T> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        let runs = runs.get(&(pod.into(), container.into()))?;
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
