//! Writes filters. What is written is parsed to the same filter.

use std::fmt::{self, Write as _};

use super::{Filter, Key, Mode, Op, Term, Test};

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            if i > 0 {
                f.write_char(' ')?;
            }
            write!(f, "{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mode {
            Mode::Include => "",
            Mode::Exclude => "-",
            Mode::Highlight => "~",
        })?;
        match &self.test {
            Test::Level(op, levels) => {
                let words: Vec<&str> = levels.iter().map(|level| level.as_str()).collect();
                write!(f, "level{}{}", sign(*op), words.join("|"))
            }
            Test::Since(secs) => {
                let units = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
                let whole = units.into_iter().find(|(unit, _)| secs % unit == 0 && *secs > 0);
                let (unit, letter) = whole.unwrap_or((1, 's'));
                write!(f, "since:{}{letter}", secs / unit)
            }
            Test::Name(key, glob) => {
                let key = match key {
                    Key::Namespace => "ns",
                    Key::Pod => "pod",
                    Key::Container => "container",
                    Key::Node => "node",
                };
                write!(f, "{key}:{}", value(glob.source()))
            }
            Test::Words(words) => match words.texts.as_slice() {
                [one] if !is_plain(one) => f.write_str(&quoted(one)),
                // an empty alternative first, so that the text is not read as a sign or a key
                [first, ..] if !is_plain(first) => write!(f, "|{}", words.texts.join("|")),
                several => f.write_str(&several.join("|")),
            },
            Test::Pattern(pattern) => {
                let escaped = slashes_escaped(&pattern.source);
                write!(f, "/{escaped}/{}", if pattern.any_case { "i" } else { "" })
            }
            Test::Field(field) => match &field.compare {
                None => write!(f, "field.{}", field.path.as_str()),
                Some((op, wanted)) => {
                    write!(f, "field.{}{}{}", field.path.as_str(), sign(*op), value(wanted.source()))
                }
            },
        }
    }
}

fn sign(op: Op) -> &'static str {
    match op {
        Op::Equal => ":",
        Op::Unequal => "!=",
        Op::More => ">",
        Op::AtLeast => ">=",
        Op::Less => "<",
        Op::AtMost => "<=",
    }
}

/// Whether a word is a text without quotes.
fn is_plain(word: &str) -> bool {
    let signs = |c: char| c.is_whitespace() || matches!(c, '"' | '|' | ':' | '=' | '<' | '>' | '!');
    !word.is_empty()
        && !word.contains(signs)
        && !word.starts_with(['-', '~', '/'])
        && !word.starts_with("field.")
}

/// Puts a text in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Puts a value in quotes if it needs them.
pub(super) fn value(text: &str) -> String {
    let needs = text.contains(char::is_whitespace) || text.starts_with('"') || text.is_empty();
    if needs { quoted(text) } else { text.to_owned() }
}

/// Puts `\` before each slash that has none.
fn slashes_escaped(source: &str) -> String {
    let mut out = String::new();
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            '/' => out.push_str("\\/"),
            c => out.push(c),
        }
    }
    out
}
