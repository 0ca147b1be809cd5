//! Tells new lines from those that a resumed stream repeats.

use super::{Overlap, Stream};
use crate::source::logs::join::{Complete, Raw};
use crate::source::logs::store::LogLine;

/// A resume repeats the lines of at most two seconds.
const REPEATED_MS: i64 = 3_000;

impl Stream {
    /// Returns the entries that new lines complete. Lines from before a break are omitted.
    pub(super) fn entries(&mut self, raws: Vec<Raw>) -> Vec<LogLine> {
        let mut out = Vec::with_capacity(raws.len());
        for line in raws {
            if let Some(partial) = self.partial.take_if(|held| line.at.is_none() || line.at >= held.at)
                // the same line, now complete, replaces the partial one
                && !is_of_one_time(&partial, &line)
            {
                out.extend(self.entry(partial));
            }
            out.extend(self.entry(line));
        }
        out
    }

    fn entry(&mut self, line: Raw) -> Complete {
        if self.is_new(&line) {
            let at = line.at.or(self.last).unwrap_or_default();
            self.joiner.take(line, at)
        } else {
            Complete::default()
        }
    }

    /// Whether new lines follow without a line that is known, although one has to be repeated.
    pub(super) fn begins_elsewhere(&mut self, raws: &[Raw]) -> bool {
        for line in raws {
            if self.overlap == Overlap::Free {
                return false;
            }
            if self.is_known(line) {
                self.overlap = Overlap::Free;
            } else if line.at > self.last {
                return true;
            }
        }
        false
    }

    /// Whether the line is new, and not a repetition of a line from before the break.
    pub(super) fn is_new(&mut self, line: &Raw) -> bool {
        let Some(at) = line.at else { return true };
        // a resume can reach back to lines from before the beginning
        if *self.first.get_or_insert(at) > at {
            return false;
        }
        let hash = self.hash(line);
        if !self.seen.is_new(at.0, hash) {
            return false;
        }
        let newest = self.last.map_or(at, |last| last.max(at));
        self.last = Some(newest);
        self.seen.forget_before(newest.0 - REPEATED_MS);
        true
    }

    /// A hash of the line and its timestamp.
    fn hash(&self, line: &Raw) -> u64 {
        self.seen.hash((line.at, line.nanos, line.text.as_str()))
    }

    /// Whether the line is one from before the break.
    pub(super) fn is_known(&self, line: &Raw) -> bool {
        line.at.is_some_and(|at| self.seen.is_known(at.0, self.hash(line)))
            || self.partial.as_ref().is_some_and(|held| is_of_one_time(held, line))
    }
}

/// Whether both lines have the same timestamp.
fn is_of_one_time(a: &Raw, b: &Raw) -> bool {
    a.nanos.is_some() && (a.at, a.nanos) == (b.at, b.nanos)
}
