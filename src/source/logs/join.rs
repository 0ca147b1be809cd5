//! From the bytes of a kubelet's log stream to entries: time stamps, levels, stack traces joined into one.

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::policy::subject::subject;
use pilothouse_core::policy::{level, template};

use super::store::LogLine;

/// A line is cut here.
pub(super) const LINE_CAP: usize = 16 << 10;
/// An entry of several lines.
const ENTRY_LINES: usize = 200;
const ENTRY_BYTES: usize = 64 << 10;

/// A line with the kubelet's time stamp taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub at: Option<Stamp>,
    /// The stamp's text: its nanoseconds tell repeated lines from equal ones.
    pub stamp: String,
    pub text: String,
    /// It goes on with the entry before it.
    pub more: bool,
}

/// `2026-01-01T00:00:00.123456789Z text`.
pub(super) fn raw(line: &[u8]) -> Raw {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let whole = String::from_utf8_lossy(line);
    let (stamp, rest) = whole.split_once(' ').unwrap_or((&whole, ""));
    // judged before tabs are made visible
    let (at, stamp, body) = match Stamp::parse(stamp) {
        Some(at) => (Some(at), stamp.to_owned(), rest),
        None => (None, String::new(), &*whole),
    };
    Raw { at, stamp, text: text::clean(body).into_owned(), more: level::continues(body) }
}

/// Joins the lines of one container's stream.
#[derive(Debug)]
pub(super) struct Joiner {
    pod: Name,
    container: Name,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    at: Stamp,
    text: String,
    lines: usize,
    full: bool,
}

impl Joiner {
    pub fn new(pod: Name, container: Name) -> Self {
        Self { pod, container, held: None }
    }

    /// Takes a line; returns the entry that it shows to be finished.
    pub fn take(&mut self, raw: &Raw, now: Stamp) -> Option<LogLine> {
        if raw.more
            && let Some(held) = &mut self.held
        {
            if held.lines >= ENTRY_LINES || held.text.len() + raw.text.len() > ENTRY_BYTES {
                held.full = true;
            } else {
                held.text.push('\n');
                held.text.push_str(&raw.text);
                held.lines += 1;
            }
            return None;
        }
        let done = self.flush();
        self.held = Some(Held { at: raw.at.unwrap_or(now), text: raw.text.clone(), lines: 1, full: false });
        done
    }

    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// The entry in progress.
    pub fn flush(&mut self) -> Option<LogLine> {
        let mut held = self.held.take()?;
        if held.full {
            held.text.push_str("\n…");
        }
        let first = held.text.split('\n').next().unwrap_or_default();
        let level = level::level(first).unwrap_or(if held.lines > 2 && has_frames(&held.text) {
            Level::Error
        } else {
            Level::Info
        });
        let fingerprint =
            (level >= Level::Error).then(|| Name::from(template::mask(&subject(&held.text)).fingerprint));
        Some(LogLine {
            at: held.at,
            pod: self.pod.clone(),
            container: self.container.clone(),
            level,
            text: Name::from(held.text),
            fingerprint,
        })
    }
}

/// A stack trace under a line that names no level.
fn has_frames(text: &str) -> bool {
    text.lines().skip(1).any(|l| {
        let l = l.trim_start();
        l.starts_with("at ") || l.starts_with("File \"") || l.starts_with("Caused by:")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_off_and_controls_become_marks() {
        let line = raw(b"2026-01-01T00:00:00.123456789Z hello \x1b[31mred\r");
        assert_eq!(
            (line.at, line.text.as_str()),
            (Stamp::parse("2026-01-01T00:00:00.123Z"), "hello ␛[31mred")
        );
        assert_eq!(raw(b"no stamp here").text, "no stamp here");
        assert_eq!(raw(b"\xff\xfe").text, "��");
    }

    #[test]
    fn a_stack_trace_is_one_entry() {
        let mut joiner = Joiner::new("n/p".into(), "app".into());
        let mut out = Vec::new();
        for text in ["ERROR boom 7", "\tat com.x.Y(Z.java:1)", "Caused by: z", "INFO fine"] {
            out.extend(joiner.take(&raw(text.as_bytes()), Stamp(0)));
        }
        out.extend(joiner.flush());
        assert_eq!(out.len(), 2);
        assert_eq!((out[0].level, out[0].text.lines().count()), (Level::Error, 3));
        assert!(out[0].fingerprint.is_some() && out[1].fingerprint.is_none());
    }

    #[test]
    fn an_endless_trace_is_cut() {
        let mut joiner = Joiner::new("n/p".into(), "app".into());
        for i in 0..1000 {
            let text: &[u8] = if i == 0 { b"ERROR x" } else { b"    at f" };
            assert!(joiner.take(&raw(text), Stamp(0)).is_none());
        }
        assert_eq!(joiner.flush().unwrap().text.lines().count(), ENTRY_LINES + 1);
    }
}
