//! The fields of a log line that can be addressed by a path: the members of JSON, nested as `http.status` and
//! `tags.0`, and the pairs of logfmt and of klog's structured lines.
//!
//! Values have no control characters except line feeds.

use std::borrow::Cow;

use crate::domain::text;

use super::json::{self, Value};
use super::message;

/// The name of the message of klog's structured lines, which does not stand in the line.
const KLOG_MESSAGE: &str = "msg";
/// Maximum number of fields that are listed of one line.
const MOST_FIELDS: usize = 400;
/// Maximum depth of nested fields that are listed.
const MOST_LEVELS: usize = 12;
/// Maximum number of pairs that are read of one line, because a line may consist of nothing else.
const MOST_PAIRS: usize = 400;

/// The path of a field, prepared for many lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: Box<str>,
    /// None: a line can have the field without having its key in it.
    key: Option<Key>,
}

/// The key that a line with a field has in it, followed by a quote, an equals sign or a dot, in any case. A line is
/// searched for the most seldom letter of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    length: usize,
    /// The place of the most seldom letter in the key.
    at: usize,
    /// This letter in lower and in upper case.
    letter: [u8; 2],
}

impl Path {
    pub fn new(path: &str) -> Self {
        let key = path.split('.').next().unwrap_or_default();
        let key = Some(key).filter(|_| !path.eq_ignore_ascii_case(KLOG_MESSAGE)).and_then(Key::new);
        Self { text: path.into(), key }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value of the field with this path. The exact key is preferred to the same key in another case. A key with
    /// dots (`log.level`) is found as well as a nested one. Objects and arrays are returned as JSON.
    pub fn get<'a>(&self, entry: &'a str) -> Option<Cow<'a, str>> {
        // most lines do not have a rare field
        if !self.can_be_in(entry) {
            return None;
        }
        let (line, path) = (begin(entry), self.as_str());
        if let Some(found) = json::object(line).and_then(|object| in_object(object, path)) {
            return Some(found.text());
        }
        if line.starts_with('{') {
            return None;
        }
        let mut loose = None;
        for (key, value) in pairs(line) {
            if key == path {
                return Some(value);
            }
            if loose.is_none() && key.eq_ignore_ascii_case(path) {
                loose = Some(value);
            }
        }
        loose
    }

    /// Whether the text has the key in a place where a key can be.
    fn can_be_in(&self, text: &str) -> bool {
        let Some(key) = self.key else { return true };
        let (name, text) = (self.text.as_bytes().get(..key.length).unwrap_or_default(), text.as_bytes());
        let [lower, upper] = key.letter;
        memchr::memchr2_iter(lower, upper, text).any(|at| {
            let Some(from) = at.checked_sub(key.at) else { return false };
            let is_key_here =
                || text.get(from..from + key.length).is_some_and(|part| part.eq_ignore_ascii_case(name));
            let ends = matches!(text.get(from + key.length), Some(b'"' | b'=' | b'.'));
            let begins =
                || from.checked_sub(1).and_then(|i| text.get(i)).is_none_or(|b| !is_key(char::from(*b)));
            ends && is_key_here() && begins()
        })
    }
}

impl Key {
    fn new(key: &str) -> Option<Self> {
        let rank = |b: u8| SELDOM.get(usize::from(b)).copied().unwrap_or(0);
        let (at, seldom) = key.bytes().enumerate().max_by_key(|(_, b)| rank(*b))?;
        let letter = [seldom.to_ascii_lowercase(), seldom.to_ascii_uppercase()];
        Some(Self { length: key.len(), at, letter })
    }
}

/// The value of the field with this path, as [`Path::get`] finds it.
pub fn get<'a>(entry: &'a str, path: &str) -> Option<Cow<'a, str>> {
    Path::new(path).get(entry)
}

/// The paths and values of all fields, in the order of the line. Only values that have no fields themselves are listed.
pub fn all(entry: &str) -> Vec<(String, String)> {
    let line = begin(entry);
    let mut out = Vec::new();
    if !line.starts_with('{') {
        // a value may begin in the middle of what was one glyph
        let shown = |value: &str| text::clean_lines(value);
        out.extend(pairs(line).map(|(key, value)| (key.to_owned(), shown(&value))));
    }
    if let Some(object) = json::object(line) {
        list(&mut out, String::new(), Value::Object(object), 0);
    }
    out
}

/// How seldom the letters are in texts.
const SELDOM: [u8; 256] = {
    let (order, mut ranks, mut at) = (b"etaoinsrlhdcumpfgwybvkxjqz", [0; 256], 0);
    while at < order.len() {
        ranks[order[at] as usize] = at as u8 + 1;
        ranks[order[at].to_ascii_uppercase() as usize] = at as u8 + 1;
        at += 1;
    }
    ranks[b'_' as usize] = 40;
    ranks[b'@' as usize] = 41;
    ranks
};

/// The first line, without a byte order mark and the space at its start.
fn begin(entry: &str) -> &str {
    first_line(entry).trim_start_matches(['\u{feff}', ' ', '\t'])
}

/// The text up to the first line feed.
pub(super) fn first_line(text: &str) -> &str {
    memchr::memchr(b'\n', text.as_bytes()).and_then(|end| text.get(..end)).unwrap_or(text)
}

fn list(out: &mut Vec<(String, String)>, path: String, value: Value<'_>, level: usize) {
    if out.len() >= MOST_FIELDS {
        return;
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let before = out.len();
    if level < MOST_LEVELS {
        match value {
            Value::Object(raw) => {
                json::members(raw).for_each(|(key, value)| list(out, below(&key), value, level + 1));
            }
            Value::Array(raw) => {
                for (n, value) in json::elements(raw).enumerate() {
                    list(out, below(&n.to_string()), value, level + 1);
                }
            }
            Value::Text(_) | Value::Cut(_) | Value::Bare(_) => {}
        }
    }
    if out.len() == before && !path.is_empty() {
        out.push((path, value.text().into_owned()));
    }
}

fn in_object<'a>(object: &'a str, path: &str) -> Option<Value<'a>> {
    let mut loose = None;
    for (key, value) in json::members(object) {
        let Some((head, rest)) = path.split_at_checked(key.len()) else { continue };
        if !head.eq_ignore_ascii_case(&key) {
            continue;
        }
        let found = match (rest.strip_prefix('.'), value) {
            (None, _) if rest.is_empty() => Some(value),
            (Some(rest), Value::Object(raw)) => in_object(raw, rest),
            (Some(rest), Value::Array(raw)) => in_array(raw, rest),
            _ => None,
        };
        if found.is_some() && head == key {
            return found;
        }
        loose = loose.or(found);
    }
    loose
}

fn in_array<'a>(array: &'a str, path: &str) -> Option<Value<'a>> {
    let (index, rest) = path.split_once('.').map_or((path, None), |(index, rest)| (index, Some(rest)));
    match (json::elements(array).nth(index.parse().ok()?)?, rest) {
        (value, None) => Some(value),
        (Value::Object(raw), Some(rest)) => in_object(raw, rest),
        (Value::Array(raw), Some(rest)) => in_array(raw, rest),
        _ => None,
    }
}

fn is_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '/')
}

/// The `key=value` pairs of a line that is not JSON, and klog's message as `msg`.
pub(super) fn pairs(line: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let message = message::klog(line).and_then(quoted).map(|(value, _)| (KLOG_MESSAGE, value));
    let mut from = 0;
    let pairs = std::iter::from_fn(move || {
        loop {
            let rest = line.get(from..)?;
            let at = memchr::memchr(b'=', rest.as_bytes())?;
            let (before, tail) = rest.split_at_checked(at)?;
            let tail = tail.get(1..)?;
            let key_at = before.rfind(|c| !is_key(c)).map_or(0, |i| i + char_len(before, i));
            let (outside, key) = before.split_at_checked(key_at)?;
            let opens = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '{' | '[' | '(' | '|');
            let apart = outside.chars().next_back().is_none_or(opens);
            if !apart || !key.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '@')) {
                from += at + 1;
                continue;
            }
            let (value, length) = quoted(tail).unwrap_or_else(|| {
                let value = bare(tail);
                (Cow::Borrowed(value), value.len())
            });
            from += at + 1 + length;
            return Some((key, value));
        }
    });
    message.into_iter().chain(pairs).take(MOST_PAIRS)
}

fn char_len(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

/// A quoted value at the start of the text, and its length with the quotes.
pub(super) fn quoted(text: &str) -> Option<(Cow<'_, str>, usize)> {
    match text.as_bytes().first()? {
        b'\'' => {
            let rest = text.get(1..)?;
            let end = memchr::memchr(b'\'', rest.as_bytes())?;
            return Some((Cow::Borrowed(rest.get(..end)?), end + 2));
        }
        b'"' => {}
        _ => return None,
    }
    match json::string_end(text, 1) {
        Some(end) => Some((Value::Text(text.get(1..end)?).text(), end + 1)),
        None => Some((Value::Cut(text.get(1..)?).text(), text.len())),
    }
}

/// A value without quotes: up to a space, or up to a comma before the next key.
fn bare(text: &str) -> &str {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let value = text.get(..end).unwrap_or_default();
    if !value.bytes().any(|b| matches!(b, b',' | b';' | b'}' | b']' | b')')) {
        return value;
    }
    let next_key = value.match_indices([',', ';']).find(|(at, _)| {
        let next = value.get(at + 1..).unwrap_or_default();
        let key = next.bytes().take_while(|b| is_key(char::from(*b))).count();
        key > 0 && next.as_bytes().get(key) == Some(&b'=')
    });
    let value = next_key.map_or(value, |(at, _)| value.get(..at).unwrap_or_default());
    let mut value = value.trim_end_matches([',', ';']);
    // brackets that close what opened before the key
    for (open, shut) in [('{', '}'), ('[', ']'), ('(', ')')] {
        if value.ends_with(shut) {
            let surplus = value.matches(shut).count().saturating_sub(value.matches(open).count());
            let shuts = value.bytes().rev().take_while(|b| char::from(*b) == shut).count();
            value = value.get(..value.len() - surplus.min(shuts)).unwrap_or_default();
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_path() {
        let json = r#"{"level":"error","http":{"status":503,"Path":"/a \"b\""},"tags":["x",{"k":null}],"log.level":"warn","ts":1.5e9}"#;
        let klog = r#"E0102 15:04:05.123456       1 sync.go:12] "Failed to sync \"x\"" pod="shop/web-1" err="no route" attempt=3"#;
        let fmt = r#"ts=2026-01-02T15:04:05Z level=error msg="no stock \"left\"" err=expired took=1.5s user.id=7 a=b=c empty= q='x y'"#;
        let zap = "2026-01-02T15:04:05Z\terror\tsrv/main.go:1\tgave up\t{\"try\": 3, \"err\": \"x\"}";
        let java = "INFO User{id=5, name=x} saved (took=3ms), [trace=ab,span=cd]";
        for (line, path, want) in [
            (json, "level", Some("error")),
            (json, "LEVEL", Some("error")),
            (json, "http.status", Some("503")),
            (json, "http.path", Some("/a \"b\"")),
            (json, "http", Some(r#"{"status":503,"Path":"/a \"b\""}"#)),
            (json, "tags.0", Some("x")),
            (json, "tags.1.k", Some("null")),
            (json, "tags.2", None),
            (json, "tags.x", None),
            (json, "log.level", Some("warn")),
            (json, "ts", Some("1.5e9")),
            (json, "http.", None),
            (json, "", None),
            (klog, "msg", Some("Failed to sync \"x\"")),
            (klog, "pod", Some("shop/web-1")),
            (klog, "err", Some("no route")),
            (klog, "attempt", Some("3")),
            (fmt, "level", Some("error")),
            (fmt, "msg", Some("no stock \"left\"")),
            (fmt, "took", Some("1.5s")),
            (fmt, "user.id", Some("7")),
            (fmt, "a", Some("b=c")),
            (fmt, "empty", Some("")),
            (fmt, "q", Some("x y")),
            (fmt, "nothing", None),
            (zap, "try", Some("3")),
            (zap, "err", Some("x")),
            (java, "id", Some("5")),
            (java, "name", Some("x")),
            (java, "took", Some("3ms")),
            (java, "trace", Some("ab")),
            (java, "span", Some("cd")),
            ("GET /x?level=error&y=1", "level", None),
            ("a == b", "a", None),
            (r#"{"a":{"b":1},"a.b":2}"#, "a.b", Some("1")),
            (r#"{"A":1,"a":2}"#, "a", Some("2")),
            (r#"{"msg":"x=1"}"#, "x", None),
            (r#"{"cut":"in the mid"#, "cut", Some("in the mid")),
            ("level=error msg=x\n\tat y=z", "y", None),
            ("msg=\"a\\u001b[2J\\u202eb\"", "msg", Some("a¤b")),
            ("größe=3 é=4 x=größe", "x", Some("größe")),
        ] {
            assert_eq!(get(line, path).as_deref(), want, "{path} of {line}");
        }
    }

    #[test]
    fn all_of_them() {
        let listed = |line: &str| {
            all(line).iter().map(|(path, value)| format!("{path}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(listed(r#"{"a":{"b":[1,{"c":"x"}],"d":{}},"e":null}"#), "a.b.0=1 a.b.1.c=x a.d={} e=null");
        assert_eq!(listed("level=warn msg=\"a b\" n=1"), "level=warn msg=a b n=1");
        assert_eq!(listed("I0102 15:04:05.1 1 a.go:1] \"ok\" pod=\"n/p\""), "msg=ok pod=n/p");
        assert_eq!(listed("2026\tinfo\tup\t{\"port\": 80}"), "port=80");
        assert_eq!(listed("nothing here"), "");
        let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        assert_eq!(all(&deep).len(), 1);
        let many = "a=1 ".repeat(10_000);
        assert_eq!(all(&many).len(), MOST_PAIRS);
    }

    proptest! {
        #[test]
        fn what_is_listed_is_found(keys in prop::collection::btree_set("[a-z]{1,6}", 1..6), value in "[ -~]{0,20}") {
            let object: serde_json::Map<_, _> =
                keys.iter().map(|k| (k.clone(), serde_json::json!({ "in": [value] }))).collect();
            let line = serde_json::Value::Object(object).to_string();
            let listed = all(&line);
            prop_assert_eq!(listed.len(), keys.len());
            for (path, value) in listed {
                prop_assert_eq!(get(&line, &path), Some(Cow::Owned(value)));
            }
        }

        #[test]
        fn never_panics(line in any::<String>(), path in "[a-z.0-9]{0,8}") {
            get(&line, &path);
            all(&line);
        }

        #[test]
        fn never_panics_on_signs(line in r#"[{}\[\]",:=\\'a1 é.]{0,40}"#, path in "[a1.]{0,4}") {
            get(&line, &path);
            all(&line);
        }
    }
}
