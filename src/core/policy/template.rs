//! Log lines as data: their level, and their fingerprint once what differs from line to line is masked.
//!
//! Everything here is one pass over the text without a regular expression: a flood of lines goes through it.

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

use crate::domain::log::Level;

/// Longer templates say no more.
const TEMPLATE_CAP: usize = 400;
/// How far into a line a level is looked for.
const LEVEL_WINDOW: usize = 160;

/// A line without what differs, and the hash of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// 16 hex digits.
    pub fingerprint: String,
    pub template: String,
}

/// Masks numbers, hex, UUIDs, addresses, times, durations, ids and quoted strings.
pub fn mask(line: &str) -> Masked {
    let template = template(line);
    // FNV-1a: stable between versions, unlike the standard library's hasher
    let hash = template
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    Masked { fingerprint: format!("{hash:016x}"), template }
}

fn is_token(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':')
}

/// The masked line.
pub fn template(line: &str) -> String {
    let mut out = String::with_capacity(line.len().min(TEMPLATE_CAP + 64));
    let mut rest = line.trim();
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        if out.len() > TEMPLATE_CAP {
            out.push('…');
            break;
        }
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        if c.is_whitespace() {
            if !out.ends_with(' ') {
                out.push(' ');
            }
            rest = after;
        } else if matches!(c, '"' | '\'' | '`') && !before.is_alphanumeric() && after.contains(c) {
            out.push(c);
            out.push_str("<q>");
            out.push(c);
            let end = after.find(c).unwrap_or(0);
            rest = after.get(end + c.len_utf8()..).unwrap_or_default();
        } else if is_token(c) {
            let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
            let token = rest.get(..end).unwrap_or_default();
            push_token(&mut out, token);
            rest = rest.get(end..).unwrap_or_default();
        } else {
            out.push(c);
            rest = after;
        }
        before = c;
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out
}

fn push_token(out: &mut String, token: &str) {
    if !token.bytes().any(|b| b.is_ascii_digit()) {
        out.push_str(token);
        return;
    }
    // punctuation around a value is not part of it: `took:` `(1.5s.`
    let start = token.len() - token.trim_start_matches([':', '.', '-', '_']).len();
    let core = token.trim_matches([':', '.', '-', '_']);
    let tail = token.get(start + core.len()..).unwrap_or_default();
    out.push_str(token.get(..start).unwrap_or_default());
    if let Some(word) = class(core) {
        out.push_str(word);
    } else {
        push_parts(out, core);
    }
    out.push_str(tail);
}

fn class(token: &str) -> Option<&'static str> {
    if is_uuid(token) {
        return Some("<uuid>");
    }
    if is_time(token) {
        return Some("<time>");
    }
    if is_address(token) {
        return Some("<ip>");
    }
    let hex = token.strip_prefix("0x").or_else(|| token.strip_prefix("0X"));
    if hex.is_some_and(|h| !h.is_empty() && h.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Some("<hex>");
    }
    if token.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Some("<n>");
    }
    if is_duration(token) {
        return Some("<dur>");
    }
    if token.len() >= 8 && token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some("<hex>");
    }
    None
}

fn is_uuid(token: &str) -> bool {
    token.len() == 36
        && token
            .bytes()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// `2026-01-01T00:00:00.1Z`, `2026-01-01`, `03:12:45.123`.
fn is_time(token: &str) -> bool {
    let date = |s: &str| {
        let mut parts = s.splitn(3, '-');
        let mut number = |len: usize| {
            parts.next().is_some_and(|p| p.len() == len && p.bytes().all(|b| b.is_ascii_digit()))
        };
        number(4) && number(2) && number(2)
    };
    let clock = |s: &str| {
        let s = s.strip_suffix('Z').unwrap_or(s);
        s.matches(':').count() >= 2
            && s.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-'))
    };
    match token.split_once(['T', 't']) {
        Some((day, time)) => date(day) && clock(time),
        None => date(token) || clock(token),
    }
}

/// `10.0.0.1`, `10.0.0.1:8080`, or an IPv6 address.
fn is_address(token: &str) -> bool {
    let (host, port) = token.rsplit_once(':').unwrap_or((token, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if digits(port) && host.parse::<std::net::Ipv4Addr>().is_ok() {
        return true;
    }
    token.matches(':').count() >= 2 && token.parse::<std::net::Ipv6Addr>().is_ok()
}

/// `15ms`, `1.5s`, `2h3m0.5s`, `12MiB` counts too: a number with a unit.
fn is_duration(token: &str) -> bool {
    const UNITS: [&str; 23] = [
        "ns", "us", "µs", "ms", "s", "m", "h", "d", "sec", "secs", "min", "hours", "days", "b", "kb", "mb",
        "gb", "kib", "mib", "gib", "k", "g", "ki",
    ];
    let mut rest = token;
    let mut parts = 0;
    while !rest.is_empty() && parts < 6 {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, tail) = rest.split_at_checked(number).unwrap_or((rest, ""));
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let unit = tail.get(..unit_end).unwrap_or_default().to_lowercase();
        if digits.is_empty() || !UNITS.contains(&unit.as_str()) {
            return false;
        }
        rest = tail.get(unit_end..).unwrap_or_default();
        parts += 1;
    }
    rest.is_empty()
}

/// A mixed token by its parts: `checkout-7d9f8b6c5-x2x4z` -> `checkout-<id>-<id>`, `user42` -> `user<n>`.
fn push_parts(out: &mut String, token: &str) {
    let mut rest = token;
    while !rest.is_empty() {
        let end = rest.find(['-', '_', '.', ':']).unwrap_or(rest.len());
        let part = rest.get(..end).unwrap_or_default();
        push_part(out, part);
        let tail = rest.get(end..).unwrap_or_default();
        if let Some(separator) = tail.chars().next() {
            out.push(separator);
            rest = tail.get(separator.len_utf8()..).unwrap_or_default();
        } else {
            rest = "";
        }
    }
}

fn push_part(out: &mut String, part: &str) {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        out.push_str(part);
        return;
    }
    let letters_after_digits = part
        .find(|c: char| c.is_ascii_digit())
        .and_then(|at| part.get(at..))
        .is_some_and(|tail| tail.chars().any(char::is_alphabetic));
    if part.len() >= 5 && letters_after_digits {
        out.push_str("<id>");
        return;
    }
    let mut in_number = false;
    for c in part.chars() {
        if c.is_ascii_digit() {
            if !in_number {
                out.push_str("<n>");
            }
            in_number = true;
        } else {
            out.push(c);
            in_number = false;
        }
    }
}

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

fn by_name(word: &str) -> Option<Level> {
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
    fn what_differs_is_masked() {
        for (line, want) in [
            ("timeout after 1.5s calling 10.0.0.7:8080", "timeout after <dur> calling <ip>"),
            ("user 42 not found in /api/users/42/orders", "user <n> not found in /api/users/<n>/orders"),
            ("pod checkout-7d9f8b6c5-x2x4z is gone", "pod checkout-<id>-<id> is gone"),
            ("id=c0ffee00-1234-4abc-8def-0123456789ab", "id=<uuid>"),
            ("at 2026-01-01T00:00:00.123Z ptr 0xdeadBEEF", "at <time> ptr <hex>"),
            ("cannot open \"a b 7\" can't", "cannot open \"<q>\" can't"),
            ("commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "commit <hex>"),
            ("user42  failed   twice", "user<n> failed twice"),
            ("[::1]:80 and fe80::1", "[::<n>]:<n> and <ip>"),
            ("v1.8.2", "v<n>.<n>.<n>"),
        ] {
            assert_eq!(template(line), want, "{line}");
        }
        assert_eq!(mask("took 5ms").fingerprint, mask("took 17ms").fingerprint);
        assert_ne!(mask("took 5ms").fingerprint, mask("lost 5ms").fingerprint);
    }

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
        fn never_panics_and_settles(line in any::<String>()) {
            level(&line);
            continues(&line);
            let once = template(&line);
            prop_assert!(once.len() <= TEMPLATE_CAP + 300 + line.len());
        }

        #[test]
        fn masking_twice_changes_nothing(line in "[a-z0-9 .:/=_-]{0,80}") {
            let once = template(&line);
            prop_assert_eq!(template(&once), once);
        }

        #[test]
        fn numbers_never_matter(a in any::<u32>(), b in any::<u32>()) {
            prop_assert_eq!(template(&format!("took {a} of {b} items")), "took <n> of <n> items");
        }
    }
}
