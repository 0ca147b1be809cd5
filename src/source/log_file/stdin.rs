//! Reads log lines from standard input, such as the output of `kubectl logs`, until its end. `kubectl logs --prefix`
//! writes the pod and the container in front of each line; they are understood.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::source::logs::LogLine;
use crate::source::logs::join::{JUDGE_CAP, Joiner, Raw, raw};
use crate::wire::frames::Lines;

/// How long an entry waits for its next line.
const JOIN: Duration = Duration::from_millis(500);
/// The number of pieces that wait to be understood. A full queue makes the writer at the other end of the pipe wait.
const PIECES: usize = 8;
const PIECE: usize = 64 << 10;
/// The number of containers whose entries are joined at the same time. The lines of further ones stay single.
const CONTAINERS: usize = 1000;
/// The name that is shown for lines without a prefix.
pub const STDIN: &str = "stdin";

/// The maximum size of the lines of an entry as they came.
const CAME_CAP: usize = 1 << 20;

/// An entry of standard input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StdinLine {
    pub line: LogLine,
    /// Its lines as they came, with their prefix, their timestamp and their tabs, but without colors. Other control
    /// characters are visible marks.
    pub came: String,
    /// Whether its lines begin with a timestamp, after their prefix.
    pub has_stamp: bool,
    /// The time that the entry names, or the one that the last entry before it in the same container names.
    pub named: Option<Stamp>,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StdinRead {
    /// The number of entries. A stack trace is one entry.
    pub entries: u64,
    /// The number of lines that were cut because of their length.
    pub cut: u64,
}

/// Reads standard input to its end and sends its entries. Ends early, without an error, if the receiver is dropped.
pub async fn read_stdin(clock: &Clock, out: mpsc::Sender<StdinLine>) -> io::Result<StdinRead> {
    read(io::stdin(), clock, out).await
}

/// Reads the input on a thread of its own, because a read of a terminal or a pipe cannot be canceled. The thread ends
/// with the input or with the process.
async fn read(
    mut input: impl Read + Send + 'static,
    clock: &Clock,
    out: mpsc::Sender<StdinLine>,
) -> io::Result<StdinRead> {
    let (pieces, mut read) = mpsc::channel::<io::Result<Vec<u8>>>(PIECES);
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let got = match input.read(&mut piece) {
                Ok(0) => return,
                Ok(got) => Ok(got),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
            let failed = got.is_err();
            let sent = pieces.blocking_send(got.map(|got| {
                piece.truncate(got);
                piece
            }));
            if failed || sent.is_err() {
                return;
            }
        }
    })?;
    let mut lines = Lines::cut(JUDGE_CAP);
    let mut entries = Entries::default();
    let mut told = StdinRead::default();
    loop {
        let mut ready = Vec::new();
        let now = clock.now();
        let next = tokio::select! {
            () = out.closed() => return Ok(told),
            next = tokio::time::timeout(JOIN, read.recv()) => next,
        };
        let ended = match next {
            Err(_) => {
                entries.flush(&mut ready);
                false
            }
            Ok(Some(piece)) => {
                lines.feed(&piece?, |line| entries.take(line, now, &mut ready));
                false
            }
            Ok(None) => {
                lines.finish(|line| entries.take(line, now, &mut ready));
                entries.flush(&mut ready);
                true
            }
        };
        told.cut = lines.oversized();
        for line in ready {
            if out.send(line).await.is_err() {
                return Ok(told);
            }
            told.entries += 1;
        }
        if ended {
            return Ok(told);
        }
    }
}

/// The entries in progress, by pod and container.
#[derive(Debug, Default)]
struct Entries {
    held: HashMap<(Name, Name), Held>,
    /// The number of entries so far.
    begun: u64,
}

/// The entry in progress of a container.
#[derive(Debug)]
struct Held {
    joiner: Joiner,
    /// Its place among all entries.
    place: u64,
    came: String,
    /// The number of bytes that are not part of `came`.
    cut: usize,
    has_stamp: bool,
    named: Option<Stamp>,
}

impl Held {
    fn new(pod: Name, container: Name) -> Self {
        Self {
            joiner: Joiner::new(pod, container).of_one_entry(),
            place: 0,
            came: String::new(),
            cut: 0,
            has_stamp: false,
            named: None,
        }
    }

    /// Completes an entry with the lines that came for it.
    fn done(&mut self, line: LogLine) -> StdinLine {
        let mut came = std::mem::take(&mut self.came);
        if self.cut > 0 {
            came.push_str(&format!("\n… +{} bytes", std::mem::take(&mut self.cut)));
        }
        StdinLine { line, came, has_stamp: self.has_stamp, named: self.named }
    }

    /// Adds a line. Returns the previous entry if the line shows that it is complete.
    fn take(&mut self, came: &[u8], raw: Raw, now: Stamp, place: &mut u64) -> Option<StdinLine> {
        let held = self.joiner.is_holding();
        let (has_stamp, named) = (raw.nanos.is_some(), raw.at);
        let done = self.joiner.take(raw, now).into_iter().next().map(|line| self.done(line));
        let came = shown(came);
        if held && done.is_none() {
            if self.came.len() + came.len() > CAME_CAP {
                self.cut += came.len() + 1;
            } else {
                self.came.push('\n');
                self.came.push_str(&came);
            }
            return None;
        }
        *place += 1;
        self.place = *place;
        self.came = came;
        self.has_stamp = has_stamp;
        self.named = named.or(self.named);
        done
    }

    fn flush(&mut self) -> Option<(u64, StdinLine)> {
        let line = self.joiner.flush().into_iter().next()?;
        Some((self.place, self.done(line)))
    }
}

impl Entries {
    fn take(&mut self, line: &[u8], now: Stamp, ready: &mut Vec<StdinLine>) {
        let (pod, container, rest) = prefix(line);
        let raw = raw(rest).with_own_time(now);
        let key = (pod, container);
        if !self.held.contains_key(&key) && self.held.len() >= CONTAINERS {
            let mut alone = Held::new(key.0, key.1);
            ready.extend(alone.take(line, raw, now, &mut self.begun));
            ready.extend(alone.flush().map(|(_, line)| line));
            return;
        }
        let held = self.held.entry(key).or_insert_with_key(|(pod, c)| Held::new(pod.clone(), c.clone()));
        ready.extend(held.take(line, raw, now, &mut self.begun));
    }

    /// Completes the entries in progress, in the order in which they began.
    fn flush(&mut self, ready: &mut Vec<StdinLine>) {
        let mut done: Vec<(u64, StdinLine)> = self.held.values_mut().filter_map(Held::flush).collect();
        done.sort_by_key(|(place, _)| *place);
        ready.extend(done.into_iter().map(|(_, line)| line));
    }
}

/// A line as it came, but safe to print.
fn shown(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
    let line = text::strip_ansi(&line);
    line.split('\t').map(text::clean).collect::<Vec<_>>().join("\t")
}

/// Splits `[pod/NAME/CONTAINER] text`, as `kubectl logs --prefix` writes it.
fn prefix(line: &[u8]) -> (Name, Name, &[u8]) {
    let split = || {
        let rest = line.strip_prefix(b"[pod/")?;
        let end = memchr::memchr(b']', rest)?;
        let (names, text) = rest.split_at_checked(end)?;
        let names = std::str::from_utf8(names).ok()?;
        let (pod, container) = names.split_once('/')?;
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        };
        let text = text.get(1..)?;
        (is_name(pod) && is_name(container)).then_some(())?;
        Some((Name::from(pod), Name::from(container), text.strip_prefix(b" ").unwrap_or(text)))
    };
    split().unwrap_or_else(|| (Name::default(), Name::from(STDIN), line))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use pilothouse_core::domain::log::Level;

    use super::*;

    async fn told(text: &str) -> (Vec<StdinLine>, StdinRead) {
        let (out, mut lines) = mpsc::channel(1000);
        let clock = Clock::manual(Stamp(5));
        let read = read(Cursor::new(text.as_bytes().to_vec()), &clock, out).await.unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.recv().await {
            all.push(line);
        }
        (all, read)
    }

    #[tokio::test]
    async fn entries_of_several_containers_are_joined_apart() {
        let text = "[pod/a-1/app] 2026-01-01T00:00:00Z ERROR boom\n[pod/b-1/app] INFO fine\n[pod/a-1/app] \tat x.Y(Z.java:1)\nERROR alone\n\tat f\nINFO end";
        let (lines, read) = told(text).await;
        let mut seen: Vec<_> = lines
            .iter()
            .map(|l| &l.line)
            .map(|l| (l.pod.to_string(), l.container.to_string(), l.level, l.text.lines().count()))
            .collect();
        seen.sort();
        let want = [
            ("", STDIN, Level::Info, 1),
            ("", STDIN, Level::Error, 2),
            ("a-1", "app", Level::Error, 2),
            ("b-1", "app", Level::Info, 1),
        ];
        assert_eq!(seen, want.map(|(p, c, l, n)| (p.to_owned(), c.to_owned(), l, n)));
        assert_eq!(read, StdinRead { entries: 4, cut: 0 });
        assert_eq!(
            lines.iter().filter(|l| l.line.at == Stamp(5)).count(),
            3,
            "others get the time of the read"
        );
    }

    #[tokio::test]
    async fn a_long_line_is_counted_and_a_prefix_must_be_one() {
        let (lines, read) = told(&format!("{}\n[pod/a b/c] x\n", "y".repeat(JUDGE_CAP + 9))).await;
        assert_eq!((lines.len(), read.cut), (2, 1));
        assert_eq!((lines[1].line.container.as_str(), lines[1].line.text.as_str()), (STDIN, "[pod/a b/c] x"));
    }

    #[tokio::test]
    async fn lines_are_kept_as_they_came() {
        let text = "[pod/a-1/app] 2026-01-01T00:00:01.5Z ERROR\tboom\r\n[pod/a-1/app] 2026-01-01T00:00:02Z \tat f\n\
            [pod/b-1/app] \u{1b}[31mred\u{1b}[0m \u{7}\n[pod/a-1/app] INFO later\n2026-01-01T00:00:03Z end";
        let (lines, _) = told(text).await;
        let seen: Vec<_> = lines.iter().map(|l| (l.came.as_str(), l.has_stamp, l.named)).collect();
        let at = |text| Stamp::parse(text);
        let first = at("2026-01-01T00:00:01.5Z");
        let trace =
            "[pod/a-1/app] 2026-01-01T00:00:01.5Z ERROR\tboom\n[pod/a-1/app] 2026-01-01T00:00:02Z \tat f";
        let want = [
            (trace, true, first),
            ("[pod/b-1/app] red ␇", false, None),
            ("[pod/a-1/app] INFO later", false, first),
            ("2026-01-01T00:00:03Z end", true, at("2026-01-01T00:00:03Z")),
        ];
        assert_eq!(seen, want, "in the order in which they began");
        // what an entry keeps is bounded
        let frames = format!("\tat {}\n", "f".repeat(9_999)).repeat(200);
        let (lines, _) = told(&format!("ERROR boom\n{frames}")).await;
        let came = &lines[0].came;
        assert!(lines.len() == 1 && came.len() < CAME_CAP + 100, "{} {}", lines.len(), came.len());
        assert!(came.ends_with(&format!("… +{} bytes", 96 * 10_004)), "{:?}", came.lines().last());
    }

    /// An input that never ends.
    struct Endless;

    impl Read for Endless {
        fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
            piece.fill(b'\n');
            Ok(piece.len())
        }
    }

    #[tokio::test]
    async fn a_dropped_receiver_ends_it() {
        let (out, lines) = mpsc::channel(1);
        drop(lines);
        assert!(read(Endless, &Clock::manual(Stamp(0)), out).await.unwrap().entries <= 1);
    }

    /// A terminal that has gone.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }

    #[tokio::test]
    async fn a_failure_is_told() {
        let (out, _lines) = mpsc::channel(1);
        let failed = read(Broken, &Clock::manual(Stamp(0)), out).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::ConnectionReset);
    }
}
