//! Recognizes lines that are read again after a break. A line counts as often as it was seen, so that equal lines with
//! one timestamp are neither lost nor doubled.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hash};

use pilothouse_core::logs::{Hashing, Lookup};

/// The lines that were read lately.
#[derive(Debug)]
pub(in crate::source) struct Seen {
    /// The time and the hash of each line, in the order in which they were read. The unit of the time is the caller's.
    lines: VecDeque<(i64, u64)>,
    /// How often each of them can still be repeated since the last resume.
    known: Lookup<u64, u32>,
    hasher: Hashing,
    /// The maximum number of lines.
    most: usize,
    /// The newest time of the lines that were forgotten because there were too many. Lines up to this time are taken
    /// for repetitions after a resume.
    forgotten: Option<i64>,
    resumed: bool,
}

impl Seen {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            known: Lookup::default(),
            hasher: Hashing::default(),
            most: most.max(1),
            forgotten: None,
            resumed: false,
        }
    }

    /// A hash for what identifies a line.
    pub(crate) fn hash(&self, line: impl Hash) -> u64 {
        self.hasher.hash_one(line)
    }

    /// Begins to read again from this time on: each line that was seen at this time or later can be repeated.
    pub(crate) fn resume(&mut self, from: i64) {
        self.resumed = true;
        self.known.clear();
        for (_, hash) in self.lines.iter().filter(|(at, _)| *at >= from) {
            *self.known.entry(*hash).or_default() += 1;
        }
    }

    /// Whether the line is new, and not a repetition.
    pub(crate) fn is_new(&mut self, at: i64, hash: u64) -> bool {
        if let Some(left) = self.known.get_mut(&hash).filter(|left| **left > 0) {
            *left -= 1;
            return false;
        }
        if self.resumed && self.forgotten.is_some_and(|until| at < until) {
            return false;
        }
        self.lines.push_back((at, hash));
        while self.lines.len() > self.most
            && let Some((at, _)) = self.lines.pop_front()
        {
            self.forgotten = Some(self.forgotten.map_or(at, |until| until.max(at)));
        }
        true
    }

    /// Whether the line can be a repetition.
    pub(crate) fn is_known(&self, at: i64, hash: u64) -> bool {
        self.known.get(&hash).is_some_and(|left| *left > 0)
            || (self.resumed && self.forgotten.is_some_and(|until| at < until))
    }

    /// Forgets the lines from before this time, which are not read again.
    pub(crate) fn forget_before(&mut self, at: i64) {
        while self.lines.front().is_some_and(|(seen, _)| *seen < at) {
            self.lines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_lines_count_as_often_as_they_were_seen() {
        let mut seen = Seen::new(100);
        assert!(seen.is_new(1, 7) && seen.is_new(1, 7), "without a break, equal lines are two");
        seen.resume(0);
        let again: Vec<bool> = (0..3).map(|_| seen.is_new(1, 7)).collect();
        assert_eq!(again, [false, false, true]);
        seen.resume(2);
        assert!(seen.is_new(1, 7), "from before the resume");
    }

    #[test]
    fn too_many_lines_are_not_doubled() {
        let mut seen = Seen::new(3);
        for at in 0..10 {
            assert!(seen.is_new(at, at as u64));
        }
        seen.resume(0);
        let again: Vec<i64> = (0..12).filter(|at| seen.is_new(*at, *at as u64)).collect();
        // the time of the newest forgotten line is not enough to tell its lines apart
        assert_eq!(again, [6, 10, 11]);
    }

    proptest! {
        /// A log is read with breaks. Each connection begins a little before the end of what was read.
        #[test]
        fn breaks_lose_and_double_nothing(
            log in prop::collection::vec((0i64..40, 0u64..4), 0..60),
            ends in prop::collection::vec(0usize..60, 0..5),
        ) {
            let mut log = log;
            log.sort_unstable_by_key(|(at, _)| *at);
            let mut seen = Seen::new(1000);
            let mut got = Vec::new();
            let mut last = None;
            let mut ends = ends;
            ends.sort_unstable();
            ends.push(log.len());
            for end in ends {
                let from = last.map_or(i64::MIN, |at: i64| at - 2);
                if last.is_some() {
                    seen.resume(from);
                }
                for (at, hash) in log.iter().take(end.min(log.len())).filter(|(at, _)| *at >= from) {
                    if seen.is_new(*at, *hash) {
                        got.push((*at, *hash));
                        last = Some(last.unwrap_or(*at).max(*at));
                    }
                }
                if let Some(last) = last {
                    seen.forget_before(last - 2);
                }
            }
            let (mut got, mut log) = (got, log);
            got.sort_unstable();
            log.sort_unstable();
            prop_assert_eq!(got, log);
        }
    }
}
