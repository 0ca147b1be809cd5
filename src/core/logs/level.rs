//! The level of a log line, and whether a line continues the one before it.
//!
//! One pass over the text without a regular expression, because every line of a log flood goes through it.

mod frames;
mod json;
mod words;

pub use self::frames::{continues, is_exception, is_frame};

use crate::domain::log::Level;

/// How far into a line a level is searched for.
const LEVEL_WINDOW: usize = 160;

/// The level that a line names, searched in this order: JSON, logfmt, klog, syslog, words, access log, stack traces.
/// None if it names none; a line on standard error is not an error for that reason alone. The caller has removed the
/// colours, but not the tabs.
pub fn level(line: &str) -> Option<Level> {
    let line = line.trim_start_matches(['\u{feff}', ' ', '\t']);
    if line.starts_with('{') {
        return json::level(line);
    }
    if line.starts_with("Caused by: ") {
        return Some(Level::Error);
    }
    let end = (0..=LEVEL_WINDOW.min(line.len())).rev().find(|i| line.is_char_boundary(*i)).unwrap_or(0);
    let head = line.get(..end).unwrap_or_default();
    logfmt_level(line)
        .or_else(|| klog_level(head))
        .or_else(|| syslog_level(head))
        .or_else(|| redis_level(head))
        .or_else(|| words::level(head))
        .or_else(|| program_level(head))
        .or_else(|| access_level(line))
        .or_else(|| trace_level(head))
        .or_else(|| super::json::object(line).and_then(json::level))
}

/// Levels in forms of their own: PHP, Erlang, MySQL, and programs behind syslog's head.
fn program_level(head: &str) -> Option<Level> {
    let own = head.strip_prefix("PHP ").or_else(|| head.split_once("] PHP ").map(|(_, rest)| rest));
    if let Some((kind, _)) = own.and_then(|rest| rest.split_once(':')) {
        return Some(match kind {
            "Fatal error" | "Core error" | "Compile error" => Level::Fatal,
            "Parse error" | "Recoverable fatal error" | "Catchable fatal error" => Level::Error,
            "Warning" | "Core Warning" | "Compile Warning" => Level::Warn,
            "Notice" | "Deprecated" | "Strict Standards" => Level::Info,
            _ => return None,
        });
    }
    if let Some(report) = head.strip_prefix('=') {
        return report.split_once(" REPORT====").and_then(|(kind, _)| by_name(kind));
    }
    if head.contains(" [System] [MY-") {
        return Some(Level::Info);
    }
    words::begins_with_day(head).then(|| head.split_once("]: "))?.and_then(|(_, text)| words::level(text))
}

/// The level with this name, in any case.
pub(super) fn by_name(word: &str) -> Option<Level> {
    // the longest name has 13 letters
    let mut lower = [0; 13];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    Some(match std::str::from_utf8(lower).ok()? {
        "trace" | "trc" | "trce" | "trac" | "finest" | "verbose" | "vrb" | "silly" => Level::Trace,
        "debug" | "dbg" | "dbug" | "debu" | "fine" | "finer" | "d" => Level::Debug,
        "success" | "info" | "information" | "informational" | "inf" | "notice" | "note" | "i"
        | "default" | "log" => Level::Info,
        "warn" | "warning" | "wrn" | "w" => Level::Warn,
        "error" | "err" | "erro" | "eror" | "fail" | "severe" | "e" => Level::Error,
        "fatal" | "ftl" | "fata" | "critical" | "crit" | "alert" | "emergency" | "emerg" | "panic"
        | "pani" | "f" | "dpanic" => Level::Fatal,
        _ => return None,
    })
}

/// Numeric levels: pino and bunyan use 10..60, monolog 100..600, syslog 0..7.
fn by_number(n: i64) -> Option<Level> {
    Some(match n {
        0..=2 => Level::Fatal,
        3 => Level::Error,
        4 => Level::Warn,
        5 | 6 => Level::Info,
        7 => Level::Debug,
        10..=19 => Level::Trace,
        20..=29 | 100 => Level::Debug,
        30..=39 | 200 | 250 => Level::Info,
        40..=49 | 300 => Level::Warn,
        50..=59 | 400 => Level::Error,
        60..=69 | 500 | 550 | 600 => Level::Fatal,
        _ => return None,
    })
}

/// A value that means "none": `error: null`, `error: 0 warnings: 2`.
fn is_nothing(text: &str) -> bool {
    let value = text.trim_start_matches([' ', '"', '<', '(']);
    let end = value.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(value.len());
    let (word, rest) = value.split_at_checked(end).unwrap_or((value, ""));
    let ends = rest.trim_start_matches(['"', '>', ')']).trim_start();
    match word.to_ascii_lowercase().as_str() {
        "null" | "nil" | "none" | "false" | "no" => {
            ends.is_empty() || ends.starts_with([',', ';', '}', ']', '|'])
        }
        // `0x80` and `0.5` are values, but `0` and `0%` mean none
        "0" => !rest.starts_with(['.', ':']),
        "" => value.is_empty() && !text.is_empty(),
        _ => false,
    }
}

fn logfmt_level(line: &str) -> Option<Level> {
    let mut from = 0;
    // a limit, because a line may consist of nothing else
    for _ in 0..64 {
        let at = from + memchr::memchr(b'=', line.as_bytes().get(from..)?)?;
        let key_end = line.get(..at)?;
        let key_at = key_end
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '@')))
            .map_or(0, |i| i + key_end.get(i..).and_then(|s| s.chars().next()).map_or(1, char::len_utf8));
        let key = key_end.get(key_at..)?;
        let before = key_end.get(..key_at)?.chars().next_back();
        from = at + 1;
        let stands_alone =
            before.is_none_or(|c| c.is_whitespace() || matches!(c, ',' | '[' | '(' | '|' | ';'));
        if stands_alone && json::names_level(key) {
            let value = line.get(from..)?.trim_start_matches('"');
            let word = value.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            return by_name(word).or_else(|| word.parse().ok().and_then(by_number));
        }
    }
    None
}

/// `E0102 15:04:05.123456       1 file.go:12] …`, also with the year before the month.
fn klog_level(head: &str) -> Option<Level> {
    let bytes = head.as_bytes();
    let digits = |from: usize, n: usize| {
        bytes.get(from..from + n).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let date = if digits(1, 8) { 8 } else { 4 };
    let clock = date + 2;
    let found = digits(1, date)
        && bytes.get(date + 1) == Some(&b' ')
        && digits(clock, 2)
        && bytes.get(clock + 2) == Some(&b':');
    if !found {
        return None;
    }
    match bytes.first() {
        Some(b'I') => Some(Level::Info),
        Some(b'W') => Some(Level::Warn),
        Some(b'E') => Some(Level::Error),
        Some(b'F') => Some(Level::Fatal),
        _ => None,
    }
}

/// `<PRI>` at the start: severity is PRI mod 8.
fn syslog_level(head: &str) -> Option<Level> {
    let (number, _) = head.strip_prefix('<')?.split_once('>')?;
    let pri: i64 = (number.len() <= 3).then(|| number.parse().ok()).flatten()?;
    by_number(pri % 8)
}

/// `1:M 01 Jan 2026 00:00:00.000 # Can't save …`: Redis puts a sign after the time.
fn redis_level(head: &str) -> Option<Level> {
    let (process, rest) = head.split_once(' ')?;
    let (pid, role) = process.split_once(':')?;
    if pid.is_empty() || !pid.bytes().all(|b| b.is_ascii_digit()) || !matches!(role, "M" | "S" | "C" | "X") {
        return None;
    }
    match rest.split(' ').nth(4)? {
        "#" => Some(Level::Warn),
        "*" => Some(Level::Info),
        "-" | "." => Some(Level::Debug),
        _ => None,
    }
}

/// A 5xx in an access log: `"GET / HTTP/1.1" 502 …`.
fn access_level(line: &str) -> Option<Level> {
    let after = match line.strip_prefix("[GIN] ") {
        Some(gin) => gin.split_once(" | ")?.1,
        None => line.split_once(" HTTP/")?.1.split_once("\" ")?.1,
    };
    let code = after.split(' ').next()?;
    if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(if code.starts_with('5') { Level::Error } else { Level::Info })
}

fn trace_level(head: &str) -> Option<Level> {
    let panicked = head.starts_with("thread '") && head.contains("' panicked at ")
        || head.starts_with("thread '") && head.contains(") panicked at ");
    if panicked
        || head.starts_with("panic: ")
        || head.starts_with("fatal error: ")
        || head.starts_with("FATAL")
    {
        return Some(Level::Fatal);
    }
    // compilers, and Ruby's errors behind the place or in front of the message
    if head.starts_with("error[")
        || head.contains(":in `") && head.trim_end().ends_with("Error)")
        || head
            .split_once("Error (")
            .is_some_and(|(class, _)| class.bytes().all(|b| b.is_ascii_alphabetic() || b == b':'))
    {
        return Some(Level::Error);
    }
    if head.contains("Traceback (most recent call last)") || head.starts_with("Exception in thread") {
        return Some(Level::Error);
    }
    let thrown = ["Uncaught ", "Unhandled ", "(node:"];
    if thrown.iter().any(|word| head.starts_with(word))
        && (head.contains("Error") || head.contains("xception"))
    {
        return Some(Level::Error);
    }
    let (class, _) = head.split_once(": ")?;
    let plain = class.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$'));
    (plain && class.len() > 5 && (class.ends_with("Exception") || class.ends_with("Error")))
        .then_some(Level::Error)
}

#[cfg(test)]
mod tests;
