//! Writes JSON as YAML for reading: block style, keys in alphabetical order (as in kubectl), sanitised texts.

use std::borrow::Cow;

use pilothouse_core::domain::text;
use serde_json::Value;

/// Deeper than any Kubernetes object; serde_json's own limit is 128.
const DEPTH: usize = 128;

/// The document, with a final line feed.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => object(&mut out, map, 0),
        Value::Array(list) if !list.is_empty() => array(&mut out, list, 0),
        other => {
            scalar(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn object(out: &mut String, map: &serde_json::Map<String, Value>, depth: usize) {
    for (at, (key, value)) in map.iter().enumerate() {
        // the first key of an object in a list follows its dash
        if at > 0 || !out.ends_with("- ") {
            indent(out, depth);
        }
        out.push_str(&quoted(key));
        out.push(':');
        nested(out, value, depth);
    }
}

fn nested(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() && depth < DEPTH => {
            out.push('\n');
            object(out, map, depth + 1);
        }
        Value::Array(list) if !list.is_empty() && depth < DEPTH => {
            out.push('\n');
            array(out, list, depth);
        }
        other => {
            out.push(' ');
            scalar(out, other, depth + 1);
            out.push('\n');
        }
    }
}

fn array(out: &mut String, list: &[Value], depth: usize) {
    for item in list {
        indent(out, depth);
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() && depth < DEPTH => object(out, map, depth + 1),
            Value::Array(inner) if !inner.is_empty() && depth < DEPTH => {
                out.truncate(out.trim_end().len());
                out.push('\n');
                array(out, inner, depth + 1);
            }
            other => {
                scalar(out, other, depth + 1);
                out.push('\n');
            }
        }
    }
}

fn scalar(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(s) if s.contains('\n') => lines(out, s, depth),
        Value::String(s) => out.push_str(&quoted(s)),
        Value::Object(map) if map.is_empty() => out.push_str("{}"),
        Value::Array(list) if list.is_empty() => out.push_str("[]"),
        Value::Object(_) | Value::Array(_) => out.push_str("(too deep)"),
        other => out.push_str(&other.to_string()),
    }
}

/// Several lines as a literal block.
fn lines(out: &mut String, value: &str, depth: usize) {
    out.push('|');
    if value.starts_with([' ', '\n']) {
        out.push('2');
    }
    let body = value.strip_suffix('\n');
    if body.is_none() {
        out.push('-');
    } else if body.is_some_and(|b| b.ends_with('\n')) {
        out.push('+');
    }
    for line in body.unwrap_or(value).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(&text::clean(line.strip_suffix('\r').unwrap_or(line)));
        }
    }
}

/// A plain text if YAML reads it back as the same text, otherwise a quoted one.
fn quoted(value: &str) -> Cow<'_, str> {
    let clean = text::clean(value);
    let first = clean.chars().next();
    let plain = first.is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '_' | '.' | '(' | '<' | '$'))
        && !clean.ends_with([' ', ':'])
        && !clean.contains(": ")
        && !clean.contains(" #")
        && !looks_like_something_else(&clean);
    if plain {
        return clean;
    }
    Cow::Owned(format!("'{}'", clean.replace('\'', "''")))
}

/// Numbers, times and the words for true, false and null, including those of older YAML versions.
fn looks_like_something_else(text: &str) -> bool {
    const WORDS: [&str; 12] =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~", ".nan", ".inf"];
    let number = text.parse::<f64>().is_ok() || text.starts_with("0x") || text.starts_with("0o");
    let timed = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b"+-_.:TtZz ".contains(&b));
    number || timed || WORDS.iter().any(|w| text.eq_ignore_ascii_case(w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_like_kubectl() {
        let object = json!({"a": {"b": [1, {"c": "x", "d": {}}, [2, "3"]], "e": null}, "t": "true", "nn": "1e3",
            "u": "a: b", "m": "one\ntwo\n", "l": "x\ny", "z": "\u{1b}[2J", "q": "it's", "w": "a-b/c:1.2", "v": ""});
        let want = "a:\n  b:\n  - 1\n  - c: x\n    d: {}\n  -\n    - 2\n    - '3'\n  e: null\nl: |-\n  x\n  y\nm: |\n  one\n  two\nnn: '1e3'\nq: it's\nt: 'true'\nu: 'a: b'\nv: ''\nw: a-b/c:1.2\nz: '␛[2J'\n";
        let mut got: Vec<_> = to_yaml(&object).lines().map(String::from).collect();
        let mut want: Vec<_> = want.lines().map(String::from).collect();
        got.sort();
        want.sort();
        assert_eq!(got, want, "{}", to_yaml(&object));
    }
}
