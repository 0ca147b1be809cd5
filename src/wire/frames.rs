//! Splits a streaming body into lines (watch frames, log lines) and limits the size of a line.

use memchr::memchr;

/// The incomplete line, and the number of lines that were too long.
#[derive(Debug)]
pub struct Lines {
    buf: Vec<u8>,
    cap: usize,
    /// The current line exceeds the cap; the rest of it is dropped.
    over: bool,
    /// Return the start of a line that exceeds the cap, instead of dropping the line.
    keep_start: bool,
    cut: u64,
}

impl Lines {
    /// Drops and counts lines over `cap` bytes. For watch frames, which are useless if incomplete.
    pub fn whole(cap: usize) -> Self {
        Self { buf: Vec::new(), cap, over: false, keep_start: false, cut: 0 }
    }

    /// Cuts and counts lines over `cap` bytes. For logs.
    pub fn cut(cap: usize) -> Self {
        Self { keep_start: true, ..Self::whole(cap) }
    }

    /// Lines that were dropped or cut.
    pub fn oversized(&self) -> u64 {
        self.cut
    }

    /// Takes the next piece and passes on the lines that it completes, without their line feed.
    pub fn feed(&mut self, chunk: &[u8], mut line: impl FnMut(&[u8])) {
        let mut rest = chunk;
        while let Some(at) = memchr(b'\n', rest) {
            let (head, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            rest = tail.get(1..).unwrap_or_default();
            if self.buf.is_empty() && !self.over && head.len() <= self.cap {
                line(head);
                continue;
            }
            self.hold(head);
            if !self.over || self.keep_start {
                line(&self.buf);
            }
            self.buf.clear();
            self.over = false;
        }
        self.hold(rest);
    }

    /// The last line, if the body ended without a line feed.
    pub fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.buf.is_empty() && (!self.over || self.keep_start) {
            line(&self.buf);
        }
        self.buf.clear();
        self.over = false;
    }

    fn hold(&mut self, part: &[u8]) {
        if self.over {
            return;
        }
        let room = self.cap.saturating_sub(self.buf.len());
        if part.len() > room {
            self.over = true;
            self.cut += 1;
            if self.keep_start {
                self.buf.extend_from_slice(part.get(..room).unwrap_or_default());
            } else {
                self.buf.clear();
            }
        } else {
            self.buf.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(lines: &mut Lines, chunks: &[&[u8]]) -> Vec<String> {
        let mut out = Vec::new();
        for chunk in chunks {
            lines.feed(chunk, |l| out.push(String::from_utf8_lossy(l).into_owned()));
        }
        lines.finish(|l| out.push(String::from_utf8_lossy(l).into_owned()));
        out
    }

    #[test]
    fn over_the_cap_is_dropped_or_cut_and_counted() {
        let mut whole = Lines::whole(3);
        assert_eq!(split(&mut whole, &[b"abc\nabcd\nx"]), ["abc", "x"]);
        assert_eq!(whole.oversized(), 1);
        let mut cut = Lines::cut(3);
        assert_eq!(split(&mut cut, &[b"ab", b"cdef\nx\n"]), ["abc", "x"]);
        assert_eq!(cut.oversized(), 1);
    }

    proptest! {
        #[test]
        fn the_same_lines_at_any_split(text in "[ab\n]{0,40}", at in 0usize..40) {
            let want: Vec<_> = text.split('\n').map(String::from).collect();
            let (a, b) = text.as_bytes().split_at(at.min(text.len()));
            let mut got = split(&mut Lines::whole(100), &[a, b]);
            if want.last().is_some_and(String::is_empty) {
                got.push(String::new());
            }
            prop_assert_eq!(got, want);
        }
    }
}
