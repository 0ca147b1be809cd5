//! The level of a log line, and whether a line goes on with the one before it.
//!
//! One pass over the text without a regular expression, as for fingerprints: a flood of lines goes through it.

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

use crate::domain::log::Level;

/// How far into a line a level is looked for.
const LEVEL_WINDOW: usize = 160;

/// The level that a line names, in the order: JSON, logfmt, klog, syslog, access log, words, stack traces. None when
/// it names none; that something was written to standard error says nothing.
pub fn level(line: &str) -> Option<Level> {
    let line = line.trim_start_matches(['\u{feff}', ' ', '\t']);
    if line.starts_with('{') {
        return json_level(line);
    }
    let end = (0..=LEVEL_WINDOW.min(line.len())).rev().find(|i| line.is_char_boundary(*i)).unwrap_or(0);
    let head = line.get(..end).unwrap_or_default();
    logfmt_level(line)
        .or_else(|| klog_level(head))
        .or_else(|| syslog_level(head))
        .or_else(|| word_level(head))
        .or_else(|| access_level(line))
        .or_else(|| trace_level(head))
}

/// A level by one of its usual names, in any case.
pub(super) fn by_name(word: &str) -> Option<Level> {
    Some(match word.to_ascii_lowercase().as_str() {
        "trace" | "trc" | "finest" | "verbose" => Level::Trace,
        "debug" | "dbg" | "fine" | "finer" | "d" => Level::Debug,
        "info" | "information" | "informational" | "inf" | "notice" | "i" | "default" | "log" => Level::Info,
        "warn" | "warning" | "wrn" | "w" => Level::Warn,
        "error" | "err" | "eror" | "severe" | "e" => Level::Error,
        "fatal" | "ftl" | "critical" | "crit" | "alert" | "emergency" | "emerg" | "panic" | "f"
        | "dpanic" => Level::Fatal,
        _ => return None,
    })
}

/// pino and bunyan count 10..60, syslog 0..7.
fn by_number(n: i64) -> Option<Level> {
    Some(match n {
        0..=2 => Level::Fatal,
        3 => Level::Error,
        4 => Level::Warn,
        5 | 6 => Level::Info,
        7 => Level::Debug,
        10..=19 => Level::Trace,
        20..=29 => Level::Debug,
        30..=39 => Level::Info,
        40..=49 => Level::Warn,
        50..=59 => Level::Error,
        60..=69 => Level::Fatal,
        _ => return None,
    })
}

struct JsonLevel(Option<Level>);

struct Value(Option<Level>);

impl<'de> de::Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a level")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Value, E> {
                Ok(Value(by_name(v.trim()).or_else(|| v.trim().parse().ok().and_then(by_number))))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Value, E> {
                Ok(Value(by_number(v)))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Value, E> {
                Ok(Value(i64::try_from(v).ok().and_then(by_number)))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
                Ok(Value(None))
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Value, E> {
                Ok(Value(None))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
                Ok(Value(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                // {"log":{"level":"error"}}
                let mut found = None;
                while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    if matches!(&*key, "level" | "severity") {
                        found = map.next_value::<Value>()?.0;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Value(found))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value(None))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl<'de> de::Deserialize<'de> for JsonLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = JsonLevel;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON log line")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonLevel, A::Error> {
                let mut found = None;
                while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    let is_level = matches!(
                        &*key,
                        "level"
                            | "severity"
                            | "lvl"
                            | "log.level"
                            | "levelname"
                            | "@l"
                            | "s"
                            | "log"
                            | "@level"
                    );
                    if is_level && found.is_none() {
                        found = map.next_value::<Value>()?.0;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(JsonLevel(found))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

fn json_level(line: &str) -> Option<Level> {
    serde_json::from_str::<JsonLevel>(line).ok().and_then(|l| l.0)
}

fn logfmt_level(line: &str) -> Option<Level> {
    for key in ["level=", "lvl=", "severity=", "loglevel="] {
        let mut from = 0;
        while let Some(found) = line.get(from..).and_then(|rest| rest.find(key)) {
            let at = from + found;
            let before = line.get(..at).and_then(|s| s.chars().next_back());
            let value = line.get(at + key.len()..).unwrap_or_default().trim_start_matches('"');
            let word = value.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            if before.is_none_or(|c| c.is_whitespace() || matches!(c, ',' | '[' | '(')) {
                return by_name(word).or_else(|| word.parse().ok().and_then(by_number));
            }
            from = at + key.len();
        }
    }
    None
}

/// `E0102 15:04:05.123456       1 file.go:12] …`
fn klog_level(head: &str) -> Option<Level> {
    let bytes = head.as_bytes();
    let digits = |from: usize, n: usize| {
        bytes.get(from..from + n).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    if !(digits(1, 4) && bytes.get(5) == Some(&b' ') && digits(6, 2) && bytes.get(8) == Some(&b':')) {
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

/// A 5xx in an access log: `"GET / HTTP/1.1" 502 …`.
fn access_level(line: &str) -> Option<Level> {
    let (_, after) = line.split_once(" HTTP/")?;
    let (_, after) = after.split_once("\" ")?;
    let code = after.split(' ').next()?;
    if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(if code.starts_with('5') { Level::Error } else { Level::Info })
}

/// `[error]`, ` ERROR `, `WARN:`; `error: …` at the start; never `errors=0` or `error: null`.
fn word_level(head: &str) -> Option<Level> {
    let mut from = 0;
    let mut words = 0;
    while let Some(start) = head.get(from..)?.find(|c: char| c.is_ascii_alphabetic()).map(|i| from + i) {
        let tail = head.get(start..)?;
        let end = start + tail.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tail.len());
        let word = head.get(start..end)?;
        let before = head.get(..start)?.chars().next_back();
        let after = head.get(end..)?.chars().next();
        let bracketed = matches!(
            (before, after),
            (Some('['), Some(']')) | (Some('<'), Some('>')) | (Some('|'), Some('|')) | (Some('('), Some(')'))
        );
        let open = before.is_none_or(|c| c.is_whitespace() || matches!(c, '[' | '|' | ']' | '(' | '<' | ':'));
        let shut =
            after.is_none_or(|c| c.is_whitespace() || matches!(c, ']' | '|' | ':' | ')' | '>' | ',' | '['));
        let upper = word.len() >= 3 && word.bytes().all(|b| b.is_ascii_uppercase());
        if word.len() >= 3
            && (bracketed || (upper && open && shut))
            && let Some(level) = by_name(word)
        {
            return Some(level);
        }
        if words == 0 && start == 0 && after == Some(':') && word.len() >= 3 {
            let value = head.get(end + 1..)?.trim_start();
            let nothing = ["null", "nil", "none", "false", "0", "<nil>", "\"\""]
                .iter()
                .any(|n| value.to_ascii_lowercase().starts_with(n));
            if let Some(level) = by_name(word).filter(|_| !nothing && !value.is_empty()) {
                return Some(level);
            }
        }
        words += 1;
        if words > 12 {
            return None;
        }
        from = end;
    }
    None
}

fn trace_level(head: &str) -> Option<Level> {
    if head.starts_with("panic: ") || head.starts_with("fatal error: ") || head.starts_with("FATAL") {
        return Some(Level::Fatal);
    }
    if head.starts_with("Traceback (most recent call last)") || head.starts_with("Exception in thread") {
        return Some(Level::Error);
    }
    let (class, _) = head.split_once(": ")?;
    let plain = class.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$'));
    (plain && class.len() > 5 && (class.ends_with("Exception") || class.ends_with("Error")))
        .then_some(Level::Error)
}

/// True if the line goes on with the entry before it: stack frames, causes, indented text.
pub fn continues(line: &str) -> bool {
    if line.starts_with('\t') || line.starts_with("    ") || line.starts_with("  File \"") {
        return true;
    }
    let trimmed = line.trim_start();
    (line.len() > trimmed.len() && (trimmed.starts_with("at ") || trimmed.starts_with("... ")))
        || trimmed.starts_with("Caused by:")
        || trimmed.starts_with("Suppressed:")
        || (trimmed.starts_with("goroutine ") && trimmed.ends_with(':'))
        || trimmed == "}"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn levels_by_format() {
        for (line, want) in [
            (r#"{"level":"error","msg":"x"}"#, Some(Level::Error)),
            (r#"{"time":1,"level":50,"msg":"x"}"#, Some(Level::Error)),
            (r#"{"severity":"WARNING"}"#, Some(Level::Warn)),
            (r#"{"log":{"level":"fatal"}}"#, Some(Level::Fatal)),
            (r#"{"msg":"level=error"}"#, None),
            ("time=x level=warn msg=\"error\"", Some(Level::Warn)),
            ("E0102 15:04:05.123456       1 file.go:12] boom", Some(Level::Error)),
            ("<11>1 2026-01-01 host app", Some(Level::Error)),
            ("2026/01/01 00:00:00 [error] 7#7: upstream", Some(Level::Error)),
            ("2026-01-01 00:00:00,123 ERROR com.x.Y - boom", Some(Level::Error)),
            ("2026-01-01T00:00:00Z  WARN app::x: slow", Some(Level::Warn)),
            ("10.0.0.1 - - [x] \"GET / HTTP/1.1\" 502 12", Some(Level::Error)),
            ("10.0.0.1 - - [x] \"GET / HTTP/1.1\" 200 12", Some(Level::Info)),
            ("panic: runtime error: index out of range", Some(Level::Fatal)),
            ("java.lang.IllegalStateException: no", Some(Level::Error)),
            ("Traceback (most recent call last):", Some(Level::Error)),
            ("error: cannot open", Some(Level::Error)),
            ("error: null", None),
            ("requests=10 errors=0", None),
            ("processed without error", None),
            ("ERRORS=0 all good", None),
            ("", None),
        ] {
            assert_eq!(level(line), want, "{line}");
        }
    }

    #[test]
    fn stack_traces_continue() {
        for line in [
            "\tat com.x.Y(Z.java:1)",
            "    at f (a.js:1)",
            "Caused by: x",
            "  File \"a.py\", line 1",
            "goroutine 1 [running]:",
        ] {
            assert!(continues(line), "{line}");
        }
        for line in ["at last it works", "2026-01-01 ERROR x", "", "done"] {
            assert!(!continues(line), "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in any::<String>()) {
            level(&line);
            continues(&line);
        }
    }
}
