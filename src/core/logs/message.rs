//! The message of a log entry without time, level and thread. It decides the entry's group, and is the group's title.

use std::borrow::Cow;

use super::json::Value;
use super::{fields, json, level, time};

/// The part of an entry that names the error: the message of a JSON or logfmt line, with its error; otherwise the first
/// line without the fields before the message. If the first line is only a heading, the more specific line is used: the
/// exception that Python raised, or the line that .NET's console writes under the category.
pub fn subject(text: &str) -> Cow<'_, str> {
    let first = fields::first_line(text);
    if let Some(titled) = headed(first, text) {
        return Cow::Owned(titled);
    }
    let structured = if first.starts_with('{') { json(first) } else { logfmt(first) };
    if let Some(message) = structured {
        return Cow::Owned(message);
    }
    match klog(first) {
        Some(rest) => klog_structured(first, rest).map_or(Cow::Borrowed(rest), Cow::Owned),
        None => Cow::Borrowed(headless(first)),
    }
}

/// `Traceback (most recent call last):` and `fail: Shop.Payments[13]`, with the lines under them.
fn headed(first: &str, text: &str) -> Option<String> {
    if first.starts_with("Traceback (most recent call last)") {
        let raised = text.split('\n').next_back().filter(|line| !line.starts_with(' '))?;
        return (raised != first).then(|| format!("Traceback: {raised}"));
    }
    // `fail: `, `crit: ` and so on
    if first.get(4..6) != Some(": ") {
        return None;
    }
    let (level, category) = first.split_once(": ")?;
    let number = category.strip_suffix(']')?.rsplit_once('[')?.1;
    let dotnet = matches!(level, "trce" | "dbug" | "info" | "warn" | "fail" | "crit")
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit());
    let message = text.split('\n').nth(1).map(str::trim).filter(|m| dotnet && !m.is_empty())?;
    Some(format!("{category}: {message}"))
}

/// Keys of JSON lines that hold the message, the most specific first; compared without case.
const MESSAGES: [&str; 11] = [
    "msg",
    "message",
    "@m",
    "@mt",
    "short_message",
    "renderedmessage",
    "messagetemplate",
    "error",
    "err",
    "log",
    "event",
];

/// Whether a field with this path is the message of its line.
pub fn names_message(path: &str) -> bool {
    MESSAGES.iter().take(7).any(|name| path.eq_ignore_ascii_case(name))
}

/// The message of a JSON line. Of a truncated line, the existing part is used.
fn json(line: &str) -> Option<String> {
    let mut found: Option<(usize, Value<'_>)> = None;
    for (key, value) in json::members(line) {
        let place = MESSAGES.iter().position(|name| key.eq_ignore_ascii_case(name));
        let Some(place) = place.filter(|place| found.is_none_or(|(held, _)| *place < held)) else { continue };
        if matches!(value, Value::Text(raw) | Value::Cut(raw) if !raw.is_empty()) {
            found = Some((place, value));
        }
        if place == 0 && found.is_some() {
            break;
        }
    }
    let message = found?.1.text();
    // a stack trace in the message
    let first = message.split('\n').next().unwrap_or_default();
    Some(headed(first, &message).unwrap_or_else(|| first.to_owned()))
}

/// Only for a line that has its level as logfmt does, because other lines can contain `msg=` too.
fn logfmt(line: &str) -> Option<String> {
    // the ends of keys are enough to exclude most lines
    let (mut has_message, mut has_error) = (false, false);
    for at in memchr::memchr_iter(b'=', line.as_bytes()) {
        let key = line.as_bytes().get(..at).unwrap_or_default();
        match key.last() {
            Some(b'g') => has_message |= key.ends_with(b"msg"),
            Some(b'e') => has_message |= key.ends_with(b"message"),
            Some(b'r') => has_error |= key.ends_with(b"err") || key.ends_with(b"error"),
            _ => {}
        }
    }
    if !has_message {
        return None;
    }
    let (mut leveled, mut message, mut error) = (false, None, None);
    for (key, value) in fields::pairs(line) {
        match key {
            "level" | "lvl" | "severity" => leveled = true,
            "msg" | "message" if message.is_none() => message = Some(value),
            "err" | "error" if error.is_none() => error = Some(value),
            _ => {}
        }
        if leveled && message.is_some() && (error.is_some() || !has_error) {
            break;
        }
    }
    let message = message.filter(|_| leveled)?;
    Some(told(&message, error.as_deref()))
}

/// The message and the error, if they are not empty.
fn told(message: &str, error: Option<&str>) -> String {
    let message = message.split('\n').next().unwrap_or_default();
    match error.filter(|error| !error.is_empty()) {
        Some(error) => format!("{message}: {error}"),
        None => message.to_owned(),
    }
}

/// `E0102 15:04:05.123456       1 file.go:12] message`: the text after the bracket.
pub(super) fn klog(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(['I', 'W', 'E', 'F'])?;
    let dated = rest.len() > 4 && rest.bytes().take(4).all(|b| b.is_ascii_digit());
    let (_, message) = dated.then(|| rest.split_once("] "))??;
    (!message.is_empty()).then_some(message)
}

/// `"message" key=value err="x"`: the message and the error, without other keys.
fn klog_structured(line: &str, rest: &str) -> Option<String> {
    rest.strip_prefix('"')?;
    if !rest.contains("err=") {
        return fields::quoted(rest).map(|(message, _)| told(&message, None));
    }
    let (mut message, mut error) = (None, None);
    for (key, value) in fields::pairs(line) {
        match key {
            "msg" if message.is_none() => message = Some(value),
            "err" if error.is_none() => error = Some(value),
            _ => {}
        }
    }
    Some(told(&message?, error.as_deref()))
}

/// `ERROR`, `[error]`, `error:`. A word in a sentence, as in `Error reading x`, is part of the message.
fn is_level(word: &str) -> bool {
    let bare = word.trim_matches(['[', ']', ':', '|']);
    let marked = bare.len() < word.len() || bare.bytes().all(|b| b.is_ascii_uppercase());
    bare.len() >= 3 && marked && level::by_name(bare).is_some()
}

/// `7#7:` and `*3`: nginx's process and thread, and its connection.
fn is_nginx(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match (word.strip_prefix('*'), word.strip_suffix(':').and_then(|word| word.split_once('#'))) {
        (Some(connection), _) => digits(connection),
        (None, Some((process, thread))) => digits(process) && digits(thread),
        (None, None) => false,
    }
}

/// The rest of the line after time, level, process, thread and connection.
fn headless(line: &str) -> &str {
    let (mut rest, mut leveled) = (line.trim_start(), false);
    loop {
        if let Some((length, syslog)) = time::prefix(rest) {
            let tail = rest.get(length..).unwrap_or_default().trim_start();
            // the host, unless it is followed by something else than a program
            let host = tail.split_once(' ').filter(|(host, after)| {
                let program = after.split(' ').next().unwrap_or_default();
                syslog && !host.ends_with(':') && program.ends_with(':')
            });
            let tail = host.map_or(tail, |(_, after)| after);
            if tail.is_empty() {
                return rest;
            }
            rest = tail;
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let tail = tail.trim_start();
        let process = leveled && (is_nginx(word) || word.bytes().all(|b| b.is_ascii_digit() || b == b'-'));
        let thread = leveled && word.starts_with('[') && word.ends_with(']');
        let level = is_level(word);
        if tail.is_empty() || !(level || process || thread) {
            return rest;
        }
        leveled |= level;
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_stands_before_the_message_is_left_out() {
        for (line, want) in [
            (r#"{"level":"error","msg":"no stock","id":4}"#, "no stock"),
            (
                "ts=1 level=error msg=\"payment \\\"x\\\" declined\" err=expired",
                "payment \"x\" declined: expired",
            ),
            ("E0102 15:04:05.123456       1 file.go:12] \"Failed\" pod=\"a/b\" err=\"x\"", "Failed: x"),
            ("E0102 15:04:05.123456       1 file.go:12] no stock", "no stock"),
            ("2026-01-01 00:00:00,123 ERROR [http-8080-exec-1] c.e.Stock - no stock", "c.e.Stock - no stock"),
            ("2026-01-01T00:00:00.1Z ERROR 1 --- [main] c.e.Stock : no stock", "c.e.Stock : no stock"),
            ("2026/01/01 00:00:00 [error] 7#7: *3 upstream timed out", "upstream timed out"),
            ("2026/01/01 00:00:00 [alert] 7#7: worker process 9 exited", "worker process 9 exited"),
            ("2026/01/01 00:00:00 [error] #7 of *all failed", "#7 of *all failed"),
            ("[2026-01-01 00:00:00] FATAL: no stock", "no stock"),
            ("error: cannot open", "cannot open"),
            ("Error reading the index", "Error reading the index"),
            ("ERROR", "ERROR"),
            ("10.0.0.1 - - \"GET / HTTP/1.1\" 502", "10.0.0.1 - - \"GET / HTTP/1.1\" 502"),
            ("{broken", "{broken"),
            (r#"{"LEVEL":"ERROR","MSG":"shouting json"}"#, "shouting json"),
            (r#"{"level":"error","msg":"cut off","trace":"aaaa"#, "cut off"),
            ("fail: Shop.Payments[13]\n      card refused", "Shop.Payments[13]: card refused"),
            ("fail: card refused", "card refused"),
            (
                "Traceback (most recent call last):\n  File \"a.py\", line 1\nZeroDivisionError: by nothing",
                "Traceback: ZeroDivisionError: by nothing",
            ),
            ("Traceback (most recent call last):", "Traceback (most recent call last):"),
            ("", ""),
        ] {
            assert_eq!(subject(line), want, "{line}");
        }
        assert_eq!(subject("2026-01-01 00:00:00 ERROR boom\n\tat x"), "boom");
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>()) {
            subject(&text);
        }
    }
}
