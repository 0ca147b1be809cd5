//! Converts the bytes of a kubelet's log stream to entries with timestamps and levels. The lines of a stack trace
//! become one entry.

use std::borrow::Cow;
use std::collections::VecDeque;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::{Level, Mark};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::fingerprint::Prints;
use pilothouse_core::logs::message::subject;
use pilothouse_core::logs::{level, time};

use super::store::LogLine;

/// The maximum length of a line that is shown. A longer line is cut, with a note of the missing length.
pub(in crate::source) const LINE_CAP: usize = 16 << 10;
/// The maximum length of a line that is examined for its level. A JSON line can have its level at its end.
pub(in crate::source) const JUDGE_CAP: usize = 256 << 10;
/// The length of a short line with its timestamp, to have room for all lines of a piece.
pub(super) const SHORT: usize = 128;
/// The maximum number of lines of an entry.
const ENTRY_LINES: usize = 200;
const ENTRY_BYTES: usize = 64 << 10;

/// A line without the kubelet's timestamp and without colors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) struct Raw {
    pub at: Option<Stamp>,
    /// The nanoseconds of the timestamp within its second. They distinguish a repeated line from another line with the
    /// same text. None if the line has no timestamp.
    pub nanos: Option<u32>,
    pub text: String,
    /// The level of the whole line, even if the text is cut.
    pub level: Option<Level>,
    /// Whether the line continues the previous entry.
    pub more: bool,
    /// The part of a cut line that names the error, read from the whole line.
    pub subject: Option<String>,
    /// The number of bytes at its end that are not part of the text.
    pub cut: u32,
}

/// Parses a line such as `2026-01-01T00:00:00.123456789Z text`.
pub(in crate::source) fn raw(line: &[u8]) -> Raw {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // the check of the whole line is faster than the search for its valid parts
    let whole = std::str::from_utf8(line).map_or_else(|_| String::from_utf8_lossy(line), Cow::Borrowed);
    let (stamp, rest) = whole.split_once(' ').unwrap_or((&whole, ""));
    let (time, body) = match Stamp::parse_nanos(stamp) {
        Some(time) => (Some(time), rest),
        None => (None, &*whole),
    };
    Raw { at: time.map(|(at, _)| at), nanos: time.map(|(_, nanos)| nanos), ..untimed(body) }
}

/// Judges and cleans a line whose timestamp, if there is one, is not part of the text.
pub(in crate::source) fn untimed(line: &str) -> Raw {
    // the level is determined before tabs are made visible
    let body = text::strip_ansi(line);
    let (level, more) = (level::level(&body), level::continues(&body));
    let is_error = level.is_some_and(|level| level >= Level::Error);
    let subject = (is_error && body.len() > LINE_CAP).then(|| subject(&body).into_owned());
    let text = text::clean(&text::cap(&body, LINE_CAP)).into_owned();
    let cut = length(text::cut(&body, LINE_CAP));
    Raw { at: None, nanos: None, text, level, more, subject, cut }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Raw {
    /// Takes the time that the text names if the line has no timestamp. A time without a year or a day is the nearest
    /// to `near`.
    pub(crate) fn with_own_time(mut self, near: Stamp) -> Self {
        if self.at.is_none() && !self.more {
            self.at = time::find(&self.text, near).map(|found| found.at);
        }
        self
    }
}

/// The maximum number of ordinary lines among the lines of a stack trace. Another thread wrote them.
const BETWEEN: usize = 3;

/// Joins the lines of a container's stream to entries.
#[derive(Debug)]
pub(in crate::source) struct Joiner {
    pod: Name,
    container: Name,
    /// The entry in progress. If it is a stack trace, ordinary lines can follow it here, because its next frame can come
    /// after them.
    held: VecDeque<Held>,
    /// Whether an ordinary line ends a stack trace at once.
    ends_at_once: bool,
    prints: Prints,
}

/// The entries that a line shows to be complete, the oldest first.
#[derive(Debug, Default)]
pub(in crate::source) struct Complete {
    first: Option<LogLine>,
    more: Vec<LogLine>,
}

impl IntoIterator for Complete {
    type Item = LogLine;
    type IntoIter = std::iter::Chain<std::option::IntoIter<LogLine>, std::vec::IntoIter<LogLine>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}

/// The kind of stack trace that an entry is in. Its lines need not be indented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    /// A Go trace: frames up to an empty line.
    Go,
    /// A Python trace: lines up to the one with the exception.
    Python,
    /// The first line of a Rust panic, whose message is the next line.
    Rust,
}

#[derive(Debug)]
struct Held {
    at: Stamp,
    text: String,
    level: Option<Level>,
    lines: usize,
    full: bool,
    trace: Option<Trace>,
    /// Whether its last line is a frame of a stack trace.
    framed: bool,
    /// The subject of the first line, if it was cut.
    subject: Option<String>,
    /// The number of bytes of its lines that are not part of the text.
    cut: u32,
}

const TRACEBACK: &str = "Traceback (most recent call last)";

fn trace_of(line: &str) -> Option<Trace> {
    if line.starts_with("goroutine ") && line.ends_with("]:") {
        Some(Trace::Go)
    } else if line.starts_with(TRACEBACK) {
        Some(Trace::Python)
    } else if line.starts_with("thread '") && line.contains(" panicked at ") && line.ends_with(':') {
        Some(Trace::Rust)
    } else {
        None
    }
}

/// Whether the line is a Go frame, such as `main.main()` or `created by main.start in goroutine 1`, or the empty line
/// between two goroutines.
fn is_go_frame(line: &str) -> bool {
    line.is_empty() || line.ends_with(')') || line.starts_with("created by ")
}

impl Held {
    fn is_error(&self) -> bool {
        self.level.is_some_and(|level| level >= Level::Error)
    }

    /// Whether the line belongs to this entry.
    fn takes(&self, raw: &Raw) -> bool {
        const CHAINED: [&str; 2] =
            ["During handling of the above exception", "The above exception was the direct cause"];
        let in_trace = match self.trace {
            Some(Trace::Go) => raw.level.is_none() && is_go_frame(&raw.text),
            Some(Trace::Python | Trace::Rust) => true,
            None => false,
        };
        if raw.more || in_trace {
            return true;
        }
        if !self.is_error() {
            return false;
        }
        // the exception under the line that it was logged with
        let logged = self.lines == 1 && level::is_exception(&raw.text) && !level::is_exception(&self.text);
        let indented = raw.level.is_none() && raw.text.starts_with("  ");
        let on = [TRACEBACK].iter().chain(&CHAINED).any(|words| raw.text.starts_with(words));
        raw.text.is_empty() || on || logged || indented
    }

    fn add(&mut self, raw: &Raw) {
        self.trace = match (self.trace, trace_of(&raw.text)) {
            (_, Some(begins)) => Some(begins),
            (Some(Trace::Go), None) if !raw.text.is_empty() => Some(Trace::Go),
            (Some(Trace::Python), None) if raw.more || raw.text.starts_with(' ') => Some(Trace::Python),
            _ => None,
        };
        self.framed = level::is_frame(&raw.text);
        self.cut = self.cut.saturating_add(raw.cut);
        if self.lines >= ENTRY_LINES || self.text.len() + raw.text.len() > ENTRY_BYTES {
            self.full = true;
            self.cut = self.cut.saturating_add(length(raw.text.len() + 1));
        } else {
            self.text.push('\n');
            self.text.push_str(&raw.text);
            self.lines += 1;
        }
    }
}

impl Joiner {
    pub(crate) fn new(pod: Name, container: Name) -> Self {
        Self { pod, container, held: VecDeque::new(), ends_at_once: false, prints: Prints::default() }
    }

    /// The same, but it never holds more than one entry.
    pub(crate) fn of_one_entry(self) -> Self {
        Self { ends_at_once: true, ..self }
    }

    /// Adds a line. Returns the entries before it that it shows to be complete.
    pub(crate) fn take(&mut self, raw: Raw, now: Stamp) -> Complete {
        // the next frame of a trace, after ordinary lines
        let goes_on = self.held.len() > 1 && raw.more && level::is_frame(&raw.text);
        let entry = if goes_on { self.held.front_mut() } else { self.held.back_mut() };
        if let Some(held) = entry.filter(|held| goes_on || held.takes(&raw)) {
            held.add(&raw);
            return Complete::default();
        }
        let is_ordinary = raw.level.is_some_and(|level| level < Level::Warn);
        let waits = is_ordinary
            && !self.ends_at_once
            && self.held.len() <= BETWEEN
            && self.held.front().is_some_and(|held| held.framed)
            && self.held.iter().skip(1).all(|held| held.lines == 1);
        let complete = if waits { Complete::default() } else { self.flush() };
        self.held.push_back(Held {
            at: raw.at.unwrap_or(now),
            level: raw.level,
            lines: 1,
            full: false,
            trace: trace_of(&raw.text),
            framed: false,
            text: raw.text,
            subject: raw.subject,
            cut: raw.cut,
        });
        complete
    }

    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns the entries in progress.
    pub(crate) fn flush(&mut self) -> Complete {
        let first = self.held.pop_front().map(|held| self.complete(held));
        let mut more = Vec::new();
        while let Some(held) = self.held.pop_front() {
            more.push(self.complete(held));
        }
        Complete { first, more }
    }

    fn complete(&mut self, mut held: Held) -> LogLine {
        if held.full {
            held.text.push_str("\n…");
        }
        let level = held.level.unwrap_or(if held.lines > 2 && has_frames(&held.text) {
            Level::Error
        } else {
            Level::Info
        });
        let subject = || held.subject.as_deref().map_or_else(|| subject(&held.text), Cow::Borrowed);
        let fingerprint = (level >= Level::Error).then(|| self.prints.of(&subject()));
        LogLine {
            at: held.at,
            pod: self.pod.clone(),
            container: self.container.clone(),
            level,
            fingerprint,
            cut: held.cut,
            mark: None,
            text: held.text,
        }
    }

    /// Returns a line that is not one of the log, but says something about it.
    pub(crate) fn marked(&self, mark: Mark, at: Stamp, words: &str) -> LogLine {
        LogLine {
            at,
            pod: self.pod.clone(),
            container: self.container.clone(),
            level: Level::Warn,
            text: words.to_owned(),
            mark: Some(mark),
            ..LogLine::default()
        }
    }
}

/// Whether the text has a stack trace below a line without a level.
fn has_frames(text: &str) -> bool {
    text.lines().skip(1).any(|l| {
        let l = l.trim_start();
        l.starts_with("at ") || l.starts_with("File \"") || l.starts_with("Caused by:")
    })
}

#[cfg(test)]
mod tests {
    use pilothouse_core::logs::fingerprint;

    use super::*;

    #[test]
    fn stamps_and_colours_come_off_and_controls_become_marks() {
        let line = raw(b"2026-01-01T00:00:00.123456789Z \x1b[31mERROR\x1b[0m red\x07\r");
        assert_eq!(
            (line.at, line.text.as_str(), line.level),
            (Stamp::parse("2026-01-01T00:00:00.123Z"), "ERROR red␇", Some(Level::Error))
        );
        assert_eq!(raw(b"no stamp here").text, "no stamp here");
        assert_eq!(raw(b"\xff\xfe").text, "��");
    }

    #[test]
    fn a_stack_trace_is_one_entry() {
        let mut joiner = Joiner::new("n/p".into(), "app".into());
        let mut out = Vec::new();
        for text in ["ERROR boom 7", "\tat com.x.Y(Z.java:1)", "Caused by: z", "INFO fine"] {
            out.extend(joiner.take(raw(text.as_bytes()), Stamp(0)));
        }
        out.extend(joiner.flush());
        assert_eq!(out.len(), 2);
        assert_eq!((out[0].level, out[0].text.lines().count()), (Level::Error, 3));
        assert!(out[0].fingerprint.is_some() && out[1].fingerprint.is_none());
    }

    fn entries(lines: &[&str]) -> Vec<(Level, usize)> {
        let mut joiner = Joiner::new("n/p".into(), "app".into());
        let mut out = Vec::new();
        for text in lines {
            out.extend(joiner.take(raw(text.as_bytes()), Stamp(0)));
        }
        out.extend(joiner.flush());
        out.iter().map(|line| (line.level, line.text.split('\n').count())).collect()
    }

    #[test]
    fn the_traces_of_languages_are_one_entry_each() {
        let go =
            ["panic: boom", "", "goroutine 1 [running]:", "main.main()", "\t/a.go:1", "", "exit status 2"];
        assert_eq!(entries(&go), [(Level::Fatal, 6), (Level::Info, 1)]);
        let cut = [go[0], go[1], go[2], go[3], go[4], "INFO next", "ERROR other"];
        assert_eq!(entries(&cut), [(Level::Fatal, 5), (Level::Info, 1), (Level::Error, 1)]);
        let python =
            ["Traceback (most recent call last):", "  File \"a.py\", line 1", "ValueError: x", "next"];
        assert_eq!(entries(&python), [(Level::Error, 3), (Level::Info, 1)]);
        let logged = ["ERROR:root:it broke", python[0], python[1], python[2], "INFO:root:next"];
        assert_eq!(entries(&logged), [(Level::Error, 4), (Level::Info, 1)]);
        let dotnet = ["fail: Shop.Pay[13]", "      refused", "info: Shop.Pay[14]", "      fine"];
        assert_eq!(entries(&dotnet), [(Level::Error, 2), (Level::Info, 2)]);
        let node = ["/a.js:12", "    throw x;", "    ^", "", "Error: boom", "    at f (/a.js:12:1)"];
        assert_eq!(entries(&node).last(), Some(&(Level::Error, 2)));
        let severe = ["Jan 01, 2026 12:00:00 AM com.x.Y z", "SEVERE: servlet threw up", "fine"];
        assert_eq!(entries(&severe), [(Level::Info, 1), (Level::Error, 1), (Level::Info, 1)]);
    }

    /// Real traces, each followed by an ordinary line.
    #[test]
    fn the_traces_of_more_languages_are_one_entry_each() {
        let java = [
            "2026-01-02 15:04:05,123 ERROR [main] c.x.Orders - cannot save order 7",
            "org.hibernate.exception.LockException: could not lock",
            "\tat org.hibernate.Dialect.lock(Dialect.java:12)",
            "\tSuppressed: java.io.IOException: closed",
            "\t\tat c.x.Y.close(Y.java:3)",
            "Caused by: java.sql.SQLException: Deadlock found",
            "\tat com.mysql.Jdbc.x(Jdbc.java:7)",
            "\t... 12 more",
        ];
        let chained = [
            "ERROR:root:it broke",
            "Traceback (most recent call last):",
            "  File \"a.py\", line 1, in f",
            "    return 1 / 0",
            "           ~~^~~",
            "ZeroDivisionError: division by zero",
            "",
            "During handling of the above exception, another exception occurred:",
            "",
            "Traceback (most recent call last):",
            "  File \"a.py\", line 3, in <module>",
            "RuntimeError: gave up",
        ];
        let rust = [
            "thread 'main' panicked at src/main.rs:3:5:",
            "index out of bounds: the len is 1 but the index is 5",
            "stack backtrace:",
            "   0: rust_begin_unwind",
            "             at /rustc/abc/library/std/src/panicking.rs:645:5",
            "   1: app::main",
            "note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.",
        ];
        let dotnet = [
            "Unhandled exception. System.InvalidOperationException: no stock",
            " ---> System.IO.IOException: broken pipe",
            "   at Shop.Pay.Run() in /src/Pay.cs:line 12",
            "   --- End of inner exception stack trace ---",
            "   at Shop.Program.Main() in /src/Program.cs:line 7",
        ];
        let node = [
            "Error: ENOENT: no such file or directory, open 'x'",
            "    at Object.openSync (node:fs:601:3)",
            "  errno: -2,",
            "  code: 'ENOENT'",
            "}",
        ];
        let php = [
            "PHP Fatal error:  Uncaught Exception: x in /var/www/a.php:7",
            "Stack trace:",
            "#0 /var/www/a.php(12): f()",
            "#1 {main}",
            "  thrown in /var/www/a.php on line 7",
        ];
        let ruby = [
            "E, [2026-01-02T15:04:05.123456 #1] ERROR -- : no stock (RuntimeError)",
            "app/models/order.rb:7:in `save'",
            "\tfrom app/models/order.rb:3:in `block'",
        ];
        let go = [
            "panic: runtime error: invalid memory address or nil pointer dereference",
            "[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f2a0]",
            "",
            "goroutine 1 [running]:",
            "main.(*Server).run(0x0)",
            "\t/src/main.go:12 +0x1d",
            "created by main.main in goroutine 7",
            "\t/src/main.go:7 +0x3a",
        ];
        let all: [(&[&str], Level); 8] = [
            (&java, Level::Error),
            (&chained, Level::Error),
            (&rust, Level::Fatal),
            (&dotnet, Level::Error),
            (&node, Level::Error),
            (&php, Level::Fatal),
            (&ruby, Level::Error),
            (&go, Level::Fatal),
        ];
        let ordinary = "2026-01-02 15:04:06,000 INFO [main] c.x.Y - ready";
        for (trace, level) in all {
            let lines: Vec<&str> = trace.iter().copied().chain([ordinary, trace[0]]).collect();
            let want = [(level, trace.len()), (Level::Info, 1), (level, 1)];
            assert_eq!(entries(&lines), want, "{}", trace[0]);
        }
        // one after the other, without a line between them
        let lines: Vec<&str> = all.iter().flat_map(|(trace, _)| trace.iter().copied()).collect();
        let want: Vec<_> = all.iter().map(|(trace, level)| (*level, trace.len())).collect();
        assert_eq!(entries(&lines), want);
        let indented = ["ERROR x", "    2026/01/02 15:04:05 [INFO] agent: next"];
        assert_eq!(entries(&indented), [(Level::Error, 1), (Level::Info, 1)]);
    }

    #[test]
    fn ordinary_lines_among_the_lines_of_a_trace_do_not_end_it() {
        let (error, frame) =
            ("2026-01-02 15:04:05,123 ERROR [main] c.x.Y - it failed", "\tat c.x.Y.f(Y.java:3)");
        let (info, warn) =
            ("2026-01-02 15:04:05,124 INFO [b] c.x.Z - ready", "2026-01-02 WARN [b] c.x.Z - slow");
        let (entry, one) = ((Level::Error, 4), (Level::Info, 1));
        assert_eq!(entries(&[error, frame, info, frame, frame, info]), [entry, one, one]);
        assert_eq!(
            entries(&[error, frame, info, frame, info, "Caused by: x", error]),
            [entry, one, one, (Level::Error, 1)]
        );
        assert_eq!(entries(&[error, frame, info, "Caused by: x", frame]), [(Level::Error, 4), one]);
        // the frames of another entry, text of an ordinary line, and lines that are too many
        assert_eq!(entries(&[error, frame, warn, frame]), [(Level::Error, 2), (Level::Warn, 2)]);
        assert_eq!(
            entries(&[error, frame, info, "      its text", info]),
            [(Level::Error, 2), (Level::Info, 2), one]
        );
        let many = [&[error, frame][..], &[info; 9], &[frame]].concat();
        let ends = entries(&many);
        assert_eq!((ends.len(), ends[0], ends[9]), (10, (Level::Error, 2), (Level::Info, 2)));
        let mut joiner = Joiner::new("n/p".into(), "app".into()).of_one_entry();
        let complete =
            [error, frame, info].map(|line| joiner.take(raw(line.as_bytes()), Stamp(0)).into_iter().count());
        assert_eq!(complete, [0, 0, 1]);
    }

    #[test]
    fn a_very_long_line_is_cut_with_a_mark_and_judged_whole() {
        let long = format!(r#"{{"blob":"{}","level":"error","msg":"x"}}"#, "y".repeat(100_000));
        let line = raw(long.as_bytes());
        assert_eq!(line.level, Some(Level::Error));
        assert!(line.text.len() < LINE_CAP + 40 && line.text.ends_with(" bytes"), "{}", line.text.len());
        let mut joiner = Joiner::new("n/p".into(), "app".into());
        assert_eq!(joiner.take(line, Stamp(0)).into_iter().count(), 0);
        let entry = joiner.flush().into_iter().next().unwrap();
        assert_eq!(entry.cut as usize, long.len() - LINE_CAP);
        let print = entry.fingerprint.unwrap();
        assert_eq!(print.as_str(), fingerprint::mask("x").fingerprint, "the message is behind the cut");
    }

    #[test]
    fn an_endless_trace_is_cut() {
        let mut joiner = Joiner::new("n/p".into(), "app".into());
        for i in 0..1000 {
            let text: &[u8] = if i == 0 { b"ERROR x" } else { b"    at f" };
            assert_eq!(joiner.take(raw(text), Stamp(0)).into_iter().count(), 0);
        }
        let entry = joiner.flush().into_iter().next().unwrap();
        assert_eq!(entry.text.lines().count(), ENTRY_LINES + 1);
        let left_out = (1000 - ENTRY_LINES) * raw(b"    at f").text.len() + 1000 - ENTRY_LINES;
        assert_eq!(entry.cut as usize, left_out);
    }
}
