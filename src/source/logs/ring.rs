//! The lines of one log in memory. Their texts lie one after the other in segments, so that a line needs no allocation of
//! its own, and a search reads memory in order.

use std::collections::VecDeque;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::{Level, Mark};
use pilothouse_core::domain::time::Stamp;

use super::store::LogLine;

/// The memory of a line in addition to its text: its entry, and its part of a segment that is not used or not free yet.
pub(super) const OVERHEAD: usize = 72;
/// The size of a segment's texts. A longer line has a segment of its own.
const SEGMENT: usize = 8 << 10;
/// The largest number of lines in a segment.
const LINES: usize = 1024;

/// A line in the store.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub at: Stamp,
    pub level: Level,
    pub text: &'a str,
    pub fingerprint: Option<&'a Name>,
    pub mark: Option<Mark>,
    pub cut: u32,
    /// The number of the line among all lines of the store, in the order of their arrival.
    pub(super) arrived: u64,
}

impl Stored<'_> {
    /// Returns the line as its source delivered it.
    pub(super) fn line(&self, pod: &Name, container: &Name) -> LogLine {
        LogLine {
            at: self.at,
            pod: pod.clone(),
            container: container.clone(),
            level: self.level,
            text: self.text.to_owned(),
            fingerprint: self.fingerprint.cloned(),
            cut: self.cut,
            mark: self.mark,
        }
    }
}

/// A line without its text.
#[derive(Debug)]
struct Held {
    arrived: u64,
    at: Stamp,
    fingerprint: Option<Name>,
    /// The place of the text in its segment.
    from: u32,
    length: u32,
    cut: u32,
    level: Level,
    mark: Option<Mark>,
}

#[derive(Debug, Default)]
struct Segment {
    text: String,
    lines: Vec<Held>,
    /// The number of lines at the start that were removed.
    gone: usize,
}

/// The lines of one log, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ring {
    segments: VecDeque<Segment>,
    bytes: usize,
    /// The time of the oldest line so far.
    pub(super) oldest: Option<Stamp>,
}

impl Ring {
    /// The memory of the lines.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Adds a line. Returns its memory.
    pub(super) fn push(&mut self, arrived: u64, line: LogLine) -> usize {
        let length = line.text.len();
        // lines without text need memory too, and a segment is freed as a whole
        let has_room = |last: &Segment| {
            last.lines.len() < LINES && (last.text.is_empty() || last.text.len() + length <= SEGMENT)
        };
        if !self.segments.back().is_some_and(has_room) {
            // the first segment grows with its lines, because many logs are short
            let room = if self.segments.is_empty() { length } else { SEGMENT.max(length) };
            self.segments.push_back(Segment { text: String::with_capacity(room), ..Segment::default() });
        }
        let Some(last) = self.segments.back_mut() else { return 0 };
        let place = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        last.lines.push(Held {
            arrived,
            at: line.at,
            fingerprint: line.fingerprint,
            from: place(last.text.len()),
            length: place(length),
            cut: line.cut,
            level: line.level,
            mark: line.mark,
        });
        last.text.push_str(&line.text);
        let bytes = length + OVERHEAD;
        self.bytes += bytes;
        bytes
    }

    /// Removes the oldest line. Returns its memory.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let first = self.segments.front_mut()?;
        let held = first.lines.get_mut(first.gone)?;
        held.fingerprint = None;
        let bytes = held.length as usize + OVERHEAD;
        first.gone += 1;
        if first.gone >= first.lines.len() {
            self.segments.pop_front();
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(bytes)
    }

    /// The lines, the newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = Stored<'_>> {
        self.segments.iter().rev().flat_map(|segment| {
            let held = segment.lines.get(segment.gone..).unwrap_or_default();
            held.iter().rev().map(|line| {
                let from = line.from as usize;
                Stored {
                    at: line.at,
                    level: line.level,
                    text: segment.text.get(from..from + line.length as usize).unwrap_or_default(),
                    fingerprint: line.fingerprint.as_ref(),
                    mark: line.mark,
                    cut: line.cut,
                    arrived: line.arrived,
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine { text: text.into(), cut: 3, fingerprint: Some("f".into()), ..LogLine::default() }
    }

    #[test]
    fn lines_without_text_are_freed() {
        let mut ring = Ring::default();
        for n in 0..20 * LINES as u64 {
            ring.push(n, line(""));
            if n >= 10 {
                ring.pop();
            }
            assert!(ring.segments.len() <= 2, "{n}: {}", ring.segments.len());
        }
        let held: usize = ring.segments.iter().map(|segment| segment.lines.len()).sum();
        assert!(held <= 2 * LINES, "{held}");
    }

    proptest! {
        /// A ring holds the same as a queue of lines, whatever their lengths.
        #[test]
        fn is_a_queue(
            steps in prop::collection::vec((any::<bool>(), prop_oneof![0usize..60, 8_000usize..20_000]), 0..80),
        ) {
            let (mut ring, mut queue) = (Ring::default(), VecDeque::new());
            for (n, (pops, length)) in steps.into_iter().enumerate() {
                if pops {
                    prop_assert_eq!(ring.pop(), queue.pop_front().map(|text: String| text.len() + OVERHEAD));
                } else {
                    let text = "é".repeat(length / 2);
                    ring.push(n as u64, line(&text));
                    queue.push_back(text);
                }
                let held: Vec<LogLine> =
                    ring.newest_first().map(|stored| stored.line(&Name::default(), &Name::default())).collect();
                let wanted: Vec<LogLine> = queue.iter().rev().map(|text| line(text)).collect();
                prop_assert_eq!(held, wanted);
                prop_assert_eq!(ring.bytes(), queue.iter().map(|text| text.len() + OVERHEAD).sum::<usize>());
                prop_assert_eq!(ring.is_empty(), queue.is_empty());
            }
        }
    }
}
