//! Completes the term under the cursor.

use super::parse::{is_key_char, path_of};
use super::print::value;
use crate::domain::log::Level;

/// The maximum number of candidates.
const MOST: usize = 100;

/// The names and fields that the lines have, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub namespaces: Vec<String>,
    pub pods: Vec<String>,
    pub containers: Vec<String>,
    pub nodes: Vec<String>,
    /// The paths of fields.
    pub fields: Vec<String>,
}

/// A text that can replace the part under the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub text: String,
    /// What it does. It is empty for a name.
    pub about: &'static str,
}

/// The candidates, and the part of the text that they replace, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    pub from: usize,
    pub to: usize,
    pub candidates: Vec<Candidate>,
}

const KEYS: [(&str, &str); 8] = [
    ("level>=", "lines of this level or a higher one"),
    ("pod:", "lines of this pod; * is a wildcard"),
    ("container:", "lines of this container"),
    ("ns:", "lines of this namespace"),
    ("node:", "lines of pods on this node"),
    ("since:", "lines that are not older: 15m"),
    ("field.", "lines with this value of a field: field.status>=500"),
    ("level:", "lines of exactly these levels: level:warn|error"),
];

const AGES: [&str; 6] = ["1m", "5m", "15m", "1h", "6h", "24h"];

/// Returns the start of the term under the cursor, or `None` inside quotes and regular expressions.
fn term_start(before: &str) -> Option<usize> {
    let mut start = 0;
    let mut inside = None;
    let mut begins = true;
    let mut escaped = false;
    for (at, c) in before.char_indices() {
        match inside {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(end) if c == end => inside = None,
            Some(_) => {}
            None if c.is_whitespace() => {
                start = at + c.len_utf8();
                begins = true;
                continue;
            }
            None if c == '"' || (c == '/' && begins) => inside = Some(c),
            None => {}
        }
        begins = begins && matches!(c, '-' | '!' | '~');
    }
    inside.is_none().then_some(start)
}

/// Returns what can stand at the cursor, which is a position in bytes.
pub fn complete(text: &str, cursor: usize, known: &Known) -> Completion {
    let cursor = (0..=cursor.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let before = text.get(..cursor).unwrap_or_default();
    let nothing = Completion { from: cursor, to: cursor, candidates: Vec::new() };
    let Some(start) = term_start(before) else { return nothing };
    let term = before.get(start..).unwrap_or_default();
    let bare = term.trim_start_matches(['-', '!', '~']);
    let start = start + term.len() - bare.len();
    let key: &str = bare.get(..bare.find(|c| !is_key_char(c)).unwrap_or(bare.len())).unwrap_or_default();
    let signs = bare.get(key.len()..).unwrap_or_default();
    let typed = signs.trim_start_matches([':', '=', '!', '<', '>']);
    if signs.is_empty() {
        let candidates = match bare.strip_prefix("field.").or_else(|| bare.strip_prefix('.')) {
            Some(path) => {
                let paths = chosen(known.fields.iter().map(String::as_str), path);
                paths.map(|path| Candidate { text: format!("field.{path}"), about: "" }).collect()
            }
            None => KEYS
                .iter()
                .filter(|(key, _)| key.starts_with(bare))
                .map(|(key, about)| Candidate { text: (*key).to_owned(), about })
                .collect(),
        };
        return Completion { from: start, to: cursor, candidates };
    }
    // of several names, the last one is completed
    let last = typed.rsplit('|').next().unwrap_or_default();
    let from = cursor - last.len();
    let names = |names: &[String]| -> Vec<Candidate> {
        let found = chosen(names.iter().map(String::as_str), last);
        found.map(|name| Candidate { text: value(name), about: "" }).collect()
    };
    let candidates = match key {
        "pod" => names(&known.pods),
        "container" => names(&known.containers),
        "ns" | "namespace" => names(&known.namespaces),
        "node" => names(&known.nodes),
        "level" => {
            const LEVELS: [Level; 6] =
                [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Fatal, Level::Trace];
            let found = chosen(LEVELS.iter().map(|level| level.as_str()), last);
            found.map(|level| Candidate { text: level.to_owned(), about: "" }).collect()
        }
        "since" => {
            chosen(AGES.into_iter(), last).map(|age| Candidate { text: age.to_owned(), about: "" }).collect()
        }
        key if path_of(key).is_some() => Vec::new(),
        _ => return nothing,
    };
    Completion { from, to: cursor, candidates }
}

/// The names that begin with the text, then those that contain it.
fn chosen<'a>(names: impl Iterator<Item = &'a str> + Clone, text: &str) -> impl Iterator<Item = &'a str> {
    let begins: Vec<&str> = names.clone().filter(|name| name.starts_with(text)).collect();
    let contains = names.filter(|name| !name.starts_with(text) && name.contains(text));
    begins.into_iter().chain(contains.collect::<Vec<_>>()).take(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Known {
            namespaces: names(&["shop"]),
            pods: names(&["api-1", "web-api-2"]),
            containers: names(&["app", "proxy"]),
            nodes: names(&["node-3"]),
            fields: names(&["status", "http.status"]),
        }
    }

    fn texts(text: &str) -> Vec<String> {
        complete(text, text.len(), &known()).candidates.into_iter().map(|c| c.text).collect()
    }

    #[test]
    fn keys_then_values() {
        assert_eq!(texts("").len(), KEYS.len());
        assert_eq!(texts("timeout lev"), ["level>=", "level:"]);
        assert_eq!(texts("-po"), ["pod:"]);
        assert_eq!(texts("pod:api"), ["api-1", "web-api-2"], "those that begin with it come first");
        assert_eq!(texts("pod:api-1|web"), ["web-api-2"]);
        assert_eq!(texts("level>=w"), ["warn"]);
        assert_eq!(texts("level>=").first().map(String::as_str), Some("error"));
        assert_eq!(texts("field.st"), ["field.status", "field.http.status"]);
        assert_eq!(texts(".ht"), ["field.http.status"]);
        assert_eq!(texts("since:1"), ["1m", "15m", "1h"]);
        for text in ["\"pod:", "/pod:", "x:y", "field.status>="] {
            assert!(texts(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn the_part_before_the_cursor_is_replaced() {
        let text = "-pod:ap timeout";
        let found = complete(text, 7, &known());
        assert_eq!((found.from, found.to, text.get(found.from..found.to)), (5, 7, Some("ap")));
        let whole = complete("é -le", 6, &known());
        assert_eq!((whole.from, whole.to), (4, 6));
    }
}
