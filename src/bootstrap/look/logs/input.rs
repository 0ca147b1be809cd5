//! `pilothouse logs -`: the lines of standard input.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::time::Stamp;
use tokio::sync::mpsc;

use super::print::{End, Printer};
use super::{BATCH, HELD_BYTES, entry};
use crate::bootstrap::Start;
use crate::bootstrap::signals::Interrupt;
use crate::cli::logs::LogFlags;
use crate::report::headless::tell;
use crate::report::logs::{Came, Entry};
use crate::source::log_file::{STDIN, StdinLine, StdinRead, read_stdin};
use crate::ui::widget::text::count;

/// The memory of an entry in addition to its text.
const OVERHEAD: usize = 300;

/// Reads standard input. Returns the exit status.
pub(super) async fn input(start: &Start, flags: &LogFlags, printer: &mut Printer) -> u8 {
    let mut interrupt = Interrupt::new();
    let (out, mut lines) = mpsc::channel(BATCH);
    let mut since = flags.since.map(|since| Since::new(since, start.clock.now()));
    let mut newest = flags.tail.map(Newest::new);
    let both = async {
        let printed = async {
            let mut batch = Vec::new();
            while lines.recv_many(&mut batch, BATCH).await > 0 {
                let mut entries = Vec::new();
                for line in
                    batch.drain(..).filter(|line| since.as_mut().is_none_or(|since| since.takes(line)))
                {
                    match &mut newest {
                        Some(newest) => newest.add(line),
                        None => entries.push(entry_of(line)),
                    }
                }
                if let Some(end) = printer.print(&entries) {
                    // the reading ends when the receiver is closed
                    lines.close();
                    return end;
                }
            }
            let entries: Vec<Entry> = newest.as_mut().map(Newest::take).unwrap_or_default();
            printer.print(&entries).unwrap_or(End::Complete)
        };
        tokio::join!(read_stdin(&start.clock, out), printed)
    };
    let both = interrupt.or(both).await;
    let (read, end) = both.unwrap_or_else(|| (Ok(StdinRead::default()), End::Interrupted));
    let mut failed = false;
    match read {
        Ok(read) if read.cut > 0 => {
            tell(&format!("pilothouse: {} lines were too long and were cut", read.cut));
        }
        Ok(_) => {}
        Err(error) => {
            tell(&format!("pilothouse: standard input cannot be read: {error}"));
            failed = true;
        }
    }
    if let Some(since) = since {
        since.tell(printer.lines());
    }
    if let Some(left_out) = newest.map(|newest| newest.left_out).filter(|left_out| *left_out > 0) {
        tell(&format!("pilothouse: {} left out: use a smaller --tail", count(left_out, "line")));
        failed = true;
    }
    printer.finish(end, failed)
}

fn entry_of(line: StdinLine) -> Entry {
    let came = Came { text: Name::from(line.came), has_stamp: line.has_stamp };
    let mut entry = Entry { came: Some(came), ..entry(line.line) };
    if entry.pod.is_empty() && entry.container == STDIN {
        entry.container = Name::default();
    }
    entry
}

fn lines(line: &StdinLine) -> usize {
    1 + line.came.bytes().filter(|byte| *byte == b'\n').count()
}

/// Leaves older lines out.
struct Since {
    age: Duration,
    from: Stamp,
    /// The lines that are left out, and those without a time.
    older: usize,
    timeless: usize,
}

impl Since {
    fn new(age: Duration, now: Stamp) -> Self {
        let from = Stamp(now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
        Self { age, from, older: 0, timeless: 0 }
    }

    fn takes(&mut self, line: &StdinLine) -> bool {
        let Some(at) = line.named else {
            self.timeless += lines(line);
            return true;
        };
        if at < self.from {
            self.older += lines(line);
        }
        at >= self.from
    }

    /// Says what `--since` could not decide, and that it left everything out.
    fn tell(&self, printed: usize) {
        if self.timeless > 0 {
            let lines = count(self.timeless, "line");
            tell(&format!("pilothouse: --since: {lines} without a time cannot be judged, and were taken"));
        }
        if printed == 0 && self.timeless == 0 && self.older > 0 {
            let (age, lines) = (humantime::format_duration(self.age), count(self.older, "line"));
            tell(&format!("pilothouse: no line is newer than {age} ({lines} read)"));
        }
    }
}

/// The newest lines of each container. An entry of several lines stays whole.
struct Newest {
    most: usize,
    held: HashMap<(Name, Name), Ring>,
    bytes: usize,
    added: u64,
    /// The number of lines that belong here, but are too many to be held.
    left_out: usize,
}

/// The entries of one container, with their places among all entries and their numbers of lines.
#[derive(Default)]
struct Ring {
    entries: VecDeque<(u64, usize, StdinLine)>,
    lines: usize,
}

impl Ring {
    /// Removes the oldest entry. Returns its lines and its bytes.
    fn pop(&mut self) -> Option<(usize, usize)> {
        let (_, lines, line) = self.entries.pop_front()?;
        self.lines -= lines;
        Some((lines, size(&line)))
    }
}

fn size(line: &StdinLine) -> usize {
    line.came.len() + line.line.text.len() + OVERHEAD
}

impl Newest {
    fn new(most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { most, held: HashMap::new(), bytes: 0, added: 0, left_out: 0 }
    }

    fn add(&mut self, line: StdinLine) {
        if self.most == 0 {
            return;
        }
        let key = (line.line.pod.clone(), line.line.container.clone());
        let ring = self.held.entry(key.clone()).or_default();
        self.added += 1;
        self.bytes += size(&line);
        let lines = lines(&line);
        ring.lines += lines;
        ring.entries.push_back((self.added, lines, line));
        while ring.entries.front().is_some_and(|(_, first, _)| ring.lines - first >= self.most) {
            self.bytes -= ring.pop().map_or(0, |(_, bytes)| bytes);
        }
        if self.bytes > HELD_BYTES
            && let Some((lines, bytes)) = ring.pop()
        {
            self.bytes -= bytes;
            self.left_out += lines;
        }
        if ring.entries.is_empty() {
            self.held.remove(&key);
        }
    }

    /// Returns the entries in the order in which they came.
    fn take(&mut self) -> Vec<Entry> {
        let mut all: Vec<_> = self.held.drain().flat_map(|(_, ring)| ring.entries).collect();
        all.sort_by_key(|(place, ..)| *place);
        all.into_iter().map(|(_, _, line)| entry_of(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(container: &str, came: &str) -> StdinLine {
        let mut line = StdinLine { came: came.into(), ..StdinLine::default() };
        line.line.container = container.into();
        line
    }

    #[test]
    fn the_newest_lines_are_those_of_each_container() {
        for (most, want) in [
            (0, &[][..]),
            (1, &["c\nd", "y"]),
            (2, &["x", "c\nd", "y"]),
            (3, &["b", "x", "c\nd", "y"]),
            (9, &["a", "b", "x", "c\nd", "y"]),
        ] {
            let mut newest = Newest::new(most);
            for (container, came) in [("1", "a"), ("1", "b"), ("2", "x"), ("1", "c\nd"), ("2", "y")] {
                newest.add(line(container, came));
            }
            let took: Vec<String> =
                newest.take().into_iter().map(|e| e.came.unwrap().text.to_string()).collect();
            assert_eq!(
                (took.iter().map(String::as_str).collect::<Vec<_>>(), newest.left_out),
                (want.to_vec(), 0),
                "{most}"
            );
        }
    }
}
