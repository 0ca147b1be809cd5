//! The lines themselves: one ring with a cap on its bytes, the oldest dropped first and counted. Shared between the
//! followers and the views; every lock is held for as long as a copy takes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::{Level, LogSummary};
use pilothouse_core::domain::time::Stamp;

use super::group::Groups;

/// What a line costs besides its text.
const OVERHEAD: usize = 120;

/// One entry of a log, a stack trace included (then with line feeds). Sanitised and capped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogLine {
    pub at: Stamp,
    /// `namespace/name`.
    pub pod: Name,
    pub container: Name,
    /// Info when the line names none.
    pub level: Level,
    pub text: Name,
    /// Of errors only.
    pub fingerprint: Option<Name>,
}

/// Which lines are wanted; empty parts want all.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// `namespace/name`.
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

/// Where a line came from, for the groups.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub workload: Name,
    pub version: Name,
}

#[derive(Debug, Default)]
struct Inner {
    ring: VecDeque<LogLine>,
    bytes: usize,
    groups: Groups,
    lines: u64,
    dropped: u64,
    following: u32,
    candidates: u32,
    changes: u64,
}

/// The store.
#[derive(Debug)]
pub struct LogStore {
    inner: Mutex<Inner>,
    cap: usize,
}

impl LogStore {
    /// Keeps at most this many bytes of lines.
    pub fn new(cap: usize) -> Self {
        Self { inner: Mutex::default(), cap }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // a panic elsewhere leaves a ring that is at worst one line short
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line; errors are grouped.
    pub fn push(&self, line: LogLine, origin: &Origin) {
        let mut inner = self.lock();
        inner.lines += 1;
        inner.changes += 1;
        if line.fingerprint.is_some() {
            inner.groups.add(&line, origin);
        }
        inner.bytes += line.text.len() + OVERHEAD;
        inner.ring.push_back(line);
        while inner.bytes > self.cap {
            let Some(oldest) = inner.ring.pop_front() else { break };
            inner.bytes = inner.bytes.saturating_sub(oldest.text.len() + OVERHEAD);
        }
    }

    /// Lines that never reached the store: cut off by a limit, or lost with a connection.
    pub fn lost(&self, lines: u64) {
        if lines > 0 {
            let mut inner = self.lock();
            inner.dropped += lines;
            inner.changes += 1;
        }
    }

    /// The newest `max` lines that the filter wants, oldest first.
    pub fn lines(&self, filter: &LogFilter, max: usize) -> Vec<LogLine> {
        let mut out: Vec<LogLine> =
            self.lock().ring.iter().rev().filter(|l| filter.wants(l)).take(max).cloned().collect();
        out.reverse();
        // streams run at different speeds: within what is shown, time decides
        out.sort_by_key(|l| l.at);
        out
    }

    /// The state of collection and the groups of errors.
    pub fn summary(&self, now: Stamp) -> LogSummary {
        let mut inner = self.lock();
        let groups = inner.groups.view(now);
        LogSummary {
            at: now,
            following: inner.following,
            candidates: inner.candidates,
            lines: inner.lines,
            dropped: inner.dropped,
            groups,
        }
    }

    /// Grows with everything that changes the summary.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    pub(super) fn has_groups(&self) -> bool {
        !self.lock().groups.is_empty()
    }

    pub(super) fn following(&self, streams: usize, candidates: u32) {
        let mut inner = self.lock();
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        if (inner.following, inner.candidates) != (streams, candidates) {
            (inner.following, inner.candidates) = (streams, candidates);
            inner.changes += 1;
        }
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
        let store = LogStore::new(3 * (OVERHEAD + 10));
        for i in 0..5 {
            store.push(line(i, "n/p", "0123456789"), &Origin::default());
        }
        let shown = store.lines(&LogFilter::default(), 10);
        assert_eq!(shown.iter().map(|l| l.at.0).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(store.lines(&LogFilter::default(), 1)[0].at.0, 4);
        assert_eq!(store.summary(Stamp(0)).lines, 5);
    }

    #[test]
    fn filters() {
        let store = LogStore::new(1 << 20);
        store.push(line(1, "n/a", "x"), &Origin::default());
        store.push(
            LogLine { level: Level::Error, fingerprint: Some("f".into()), ..line(2, "n/b", "y") },
            &Origin::default(),
        );
        let of = |filter: LogFilter| store.lines(&filter, 9).len();
        assert_eq!(of(LogFilter { pods: vec!["n/a".into()], ..LogFilter::default() }), 1);
        assert_eq!(of(LogFilter { fingerprint: Some("f".into()), ..LogFilter::default() }), 1);
        assert_eq!(of(LogFilter { at_least: Some(Level::Warn), ..LogFilter::default() }), 1);
        assert_eq!(store.summary(Stamp(2)).groups.len(), 1);
    }
}
