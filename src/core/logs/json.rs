//! Reads the members of JSON objects in log lines, without building a tree. Of a truncated object, the members before
//! the cut are read.

use std::borrow::Cow;

use crate::domain::text;

/// A value, as a part of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A string without its quotes. Its escapes are not resolved.
    Text(&'a str),
    /// The same, but the line ends before the string does.
    Cut(&'a str),
    Object(&'a str),
    Array(&'a str),
    /// A number, `true`, `false` or `null`.
    Bare(&'a str),
}

impl<'a> Value<'a> {
    /// The value as it stands in the line, without the quotes of a string.
    pub(super) fn raw(self) -> &'a str {
        match self {
            Self::Text(raw) | Self::Cut(raw) | Self::Object(raw) | Self::Array(raw) | Self::Bare(raw) => raw,
        }
    }

    /// The text of a string with its escapes resolved; other values as they stand in the line.
    pub(super) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Text(raw) | Self::Cut(raw) => unescaped(raw),
            Self::Object(raw) | Self::Array(raw) | Self::Bare(raw) => Cow::Borrowed(raw),
        }
    }
}

/// Resolves the escapes of a string. The result has no control characters except line feeds, because an escape can
/// stand for any character.
fn unescaped(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    match serde_json::from_str::<String>(&format!("\"{raw}\"")) {
        Ok(text) => Cow::Owned(text::clean_lines(&text::strip_ansi(&text))),
        Err(_) => Cow::Borrowed(raw),
    }
}

/// The JSON object of a line: the line itself, or the object at its end, as zap's console writes it.
pub(super) fn object(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(['\u{feff}', ' ', '\t']);
    if line.starts_with('{') {
        return Some(line);
    }
    let trimmed = line.trim_end();
    let at =
        if trimmed.ends_with('}') { memchr::memmem::find(line.as_bytes(), b"{\"")? } else { return None };
    let (before, object) = trimmed.split_at_checked(at)?;
    before.ends_with([' ', '\t']).then_some(object)
}

/// The members of an object, in order.
pub(super) fn members(object: &str) -> impl Iterator<Item = (Cow<'_, str>, Value<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let begin = after(object, at, if at == 0 { b'{' } else { b',' })?;
        let (key, colon) = value(object, begin)?;
        let Value::Text(key) = key else { return None };
        let (value, end) = value(object, after(object, colon, b':')?)?;
        at = end;
        Some((unescaped(key), value))
    })
}

/// The elements of an array, in order.
pub(super) fn elements(array: &str) -> impl Iterator<Item = Value<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (value, end) = value(array, after(array, at, if at == 0 { b'[' } else { b',' })?)?;
        at = end;
        Some(value)
    })
}

/// The position after white space, this sign, and white space.
fn after(text: &str, at: usize, sign: u8) -> Option<usize> {
    let at = skip_space(text, at);
    (text.as_bytes().get(at) == Some(&sign)).then(|| skip_space(text, at + 1))
}

fn skip_space(text: &str, at: usize) -> usize {
    let spaces = text.as_bytes().iter().skip(at).take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
    at + spaces.count()
}

/// The value at this position, and the position after it.
fn value(text: &str, at: usize) -> Option<(Value<'_>, usize)> {
    match text.as_bytes().get(at)? {
        b'"' => Some(match string_end(text, at + 1) {
            Some(end) => (Value::Text(text.get(at + 1..end)?), end + 1),
            None => (Value::Cut(text.get(at + 1..)?), text.len()),
        }),
        open @ (b'{' | b'[') => {
            let end = nested_end(text, at).unwrap_or(text.len());
            let raw = text.get(at..end)?;
            Some((if *open == b'{' { Value::Object(raw) } else { Value::Array(raw) }, end))
        }
        _ => {
            let tail = text.get(at..)?;
            let length = tail.find([',', '}', ']', ' ', '\t', '\r', '\n', '"', ':']).unwrap_or(tail.len());
            (length > 0).then_some((Value::Bare(tail.get(..length)?), at + length))
        }
    }
}

/// The position of the quote that ends the string.
pub(super) fn string_end(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.as_bytes().get(at..)?)?;
        if text.as_bytes().get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// The position after the bracket that closes the one at `from`.
fn nested_end(text: &str, from: usize) -> Option<usize> {
    let (mut at, mut depth) = (from, 0usize);
    loop {
        match text.as_bytes().get(at)? {
            b'"' => at = string_end(text, at + 1)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    fn read(line: &str) -> Vec<(String, String)> {
        members(line).map(|(key, value)| (key.into_owned(), value.text().into_owned())).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn members_of_whole_and_of_truncated_objects() {
        for (line, want) in [
            (
                r#"{"a":"x","b":{"c":[1,{"d":"}"}]} , "e" : 1.5e3,"f":null}"#,
                &[("a", "x"), ("b", r#"{"c":[1,{"d":"}"}]}"#), ("e", "1.5e3"), ("f", "null")][..],
            ),
            (r#"{"a":"say \"x\"\n\u00e9\u001b[2J","b":1}"#, &[("a", "say \"x\"\né"), ("b", "1")]),
            (r#"{"a":1,"b":"cut off"#, &[("a", "1"), ("b", "cut off")]),
            (r#"{"a":1,"b":{"c":"#, &[("a", "1"), ("b", r#"{"c":"#)]),
            (r#"{"a":1,"b":"#, &[("a", "1")]),
            (r#"{"a":1 "b":2}"#, &[("a", "1")]),
            ("{broken", &[]),
            ("{}", &[]),
            ("", &[]),
            (r#"{"a":"c:\dir"}"#, &[("a", r"c:\dir")]),
            (r#"{"a":"\"#, &[("a", "\\")]),
        ] {
            assert_eq!(read(line), pairs(want), "{line}");
        }
    }

    #[test]
    fn the_object_of_a_line() {
        assert_eq!(object(" {\"a\":1}"), Some("{\"a\":1}"));
        assert_eq!(object("2026\terror\tx\t{\"a\": {\"b\":1}}\n"), Some("{\"a\": {\"b\":1}}"));
        assert_eq!(object("format!{\"a\"}"), None);
        assert_eq!(object("set {a}"), None);
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            "[ -~é\u{1f600}]{0,12}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map("[a-z\"\\\\{}.]{1,4}", inner, 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The value that the walk finds, as serde reads it.
    fn same(value: Value<'_>, want: &Json) -> bool {
        match (value, want) {
            (Value::Text(_), Json::String(text)) => value.text() == *text,
            (Value::Object(raw), Json::Object(map)) => {
                members(raw).count() == map.len()
                    && members(raw).all(|(key, value)| map.get(&*key).is_some_and(|want| same(value, want)))
            }
            (Value::Array(raw), Json::Array(list)) => {
                elements(raw).count() == list.len() && elements(raw).zip(list).all(|(v, want)| same(v, want))
            }
            (Value::Bare(raw), _) => *raw == *want.to_string(),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn equals_serde(map in prop::collection::btree_map("[a-z]{1,6}", json(), 0..5)) {
            let want = Json::Object(map.into_iter().collect());
            prop_assert!(same(Value::Object(&want.to_string()), &want));
            let indented = format!("{want:#}");
            prop_assert!(same(Value::Object(&indented), &want));
        }

        #[test]
        fn never_panics(line in r#"[{}\[\]",:\\a1 é]{0,40}"#) {
            for (_, value) in members(&line) {
                value.text();
            }
            elements(&line).for_each(drop);
            object(&line);
        }
    }
}
