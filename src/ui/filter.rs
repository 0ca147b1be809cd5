//! Filters of rows. Each word must match some column. `a|b` matches alternatives, a word can be a regular expression,
//! and `!` inverts a term.

use std::cell::OnceCell;

use regex::{Regex, RegexBuilder};

use super::widget::text::contains_fold;

/// A parsed filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    text: String,
    invert: bool,
    /// Alternatives. All terms of an alternative must match.
    any: Vec<Vec<Term>>,
}

#[derive(Clone, Debug)]
enum Term {
    /// A part of the text, in lower case.
    Part(String),
    Like(Regex),
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

/// The maximum memory of a regular expression. One that needs more is treated as plain text.
const REGEX_BYTES: usize = 1 << 20;

fn regex(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).case_insensitive(true).size_limit(REGEX_BYTES).build().ok()
}

impl Term {
    /// Parses a word. A word with metacharacters is a regular expression if it is valid.
    fn new(word: &str) -> Self {
        let signs = word.contains(['^', '$', '*', '+', '?', '(', ')', '[', ']', '{', '}', '\\']);
        signs.then(|| regex(word)).flatten().map_or_else(|| Self::Part(word.to_lowercase()), Self::Like)
    }

    fn is_in(&self, texts: &[&str]) -> bool {
        match self {
            Self::Like(regex) => texts.iter().any(|text| regex.is_match(text)),
            Self::Part(part) => {
                texts.iter().any(|text| contains_fold(text, part))
                    // `shop/web`, the form that the screen uses for objects, also matches two texts in adjacent columns
                    || part.split_once('/').filter(|_| !self.is_numeric()).is_some_and(|(before, after)| {
                        texts.iter().any(|t| ends_fold(t, before)) && texts.iter().any(|t| begins_fold(t, after))
                    })
            }
        }
    }

    /// Whether the term can match a number or an age.
    fn is_numeric(&self) -> bool {
        match self {
            Self::Like(_) => true,
            Self::Part(part) => part
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '/' | '.' | '%' | 's' | 'm' | 'h' | 'd' | 'y')),
        }
    }
}

fn begins_fold(text: &str, part: &str) -> bool {
    text.as_bytes().get(..part.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(part.as_bytes()))
}

fn ends_fold(text: &str, part: &str) -> bool {
    let from = text.len().checked_sub(part.len());
    from.and_then(|from| text.as_bytes().get(from..))
        .is_some_and(|end| end.eq_ignore_ascii_case(part.as_bytes()))
}

/// Used for lists whose texts are all available.
pub const NO_MORE: fn() -> Vec<String> = Vec::new;

impl Filter {
    /// Parses the typed text.
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        let (wanted, invert) = match text.strip_prefix('!') {
            Some(rest) => (rest.trim(), true),
            None => (text, false),
        };
        // `/…/`: one regular expression that can have spaces and bars; while it is typed, the final slash may be
        // missing
        let whole = wanted.strip_prefix('/').map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let any: Vec<Vec<Term>> = match whole {
            Some("") => Vec::new(),
            Some(pattern) => {
                let term = regex(pattern).map_or_else(|| Term::Part(pattern.to_lowercase()), Term::Like);
                vec![vec![term]]
            }
            None => alternatives(wanted)
                .into_iter()
                .map(|part| part.split_whitespace().map(Term::new).collect::<Vec<_>>())
                .filter(|terms| !terms.is_empty())
                .collect(),
        };
        Self { text: text.to_owned(), invert: invert && !any.is_empty(), any }
    }

    /// Whether the filter is empty, so that every row matches.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty()
    }

    /// Whether a row with these texts matches.
    pub fn passes(&self, texts: &[&str]) -> bool {
        self.passes_or(texts, NO_MORE)
    }

    /// Whether a row matches that has further texts. They are computed only if needed, because the available texts
    /// are sufficient for most rows and filters.
    pub fn passes_or(&self, texts: &[&str], more: impl Fn() -> Vec<String>) -> bool {
        if self.any.is_empty() {
            return true;
        }
        let made = OnceCell::new();
        let found = |term: &Term| {
            term.is_in(texts) || {
                let made: &Vec<String> = made.get_or_init(&more);
                term.is_in(&made.iter().map(String::as_str).collect::<Vec<_>>())
            }
        };
        self.any.iter().any(|terms| terms.iter().all(found)) != self.invert
    }

    /// Whether a word of the filter can match a number or an age. In very long lists, these columns are searched only
    /// for such words.
    pub fn is_numeric(&self) -> bool {
        self.any.iter().flatten().any(Term::is_numeric)
    }
}

/// Splits the text at bars outside of brackets: in `a|b`, but not in `(a|b)c`.
fn alternatives(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0usize, 0usize);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => {
                parts.extend(text.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(from..));
    parts
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rows_pass() {
        let row = ["shop", "cart-db-0", "CrashLoopBackOff", "0/1", "eu-1a"];
        for (filter, passes) in [
            ("", true),
            ("CRASH", true),
            ("!crash", false),
            ("!running", true),
            ("!", true),
            // each word in some column
            ("cart crash", true),
            ("cart running", false),
            ("!cart running", true),
            // one of several
            ("running|crash", true),
            ("running | pending", false),
            ("web|", false),
            ("cart eu-1b | shop eu-1a", true),
            // a regular expression
            ("^cart", true),
            ("^db", false),
            ("db-[0-9]$", true),
            ("c.rt", false),
            ("/c.rt/", true),
            ("/c.rt", true),
            ("/^shop$|^web$/", true),
            ("(web|cart)-db", true),
            ("!^cart", false),
            // an invalid regular expression is plain text
            ("cart(", false),
            ("[", false),
            // the form that the screen uses for objects
            ("shop/cart", true),
            ("SHOP/CART", true),
            ("shop/web", false),
            ("0/1", true),
            ("hop/cart-db", true),
        ] {
            assert_eq!(Filter::new(filter).passes(&row), passes, "{filter:?}");
        }
        assert!(Filter::new("").passes(&[]));
        assert!(Filter::new("ümlaut").passes(&["ümlaut"]));
        assert_eq!(Filter::new(" !a b ").to_string(), "!a b", "it can be edited again");
    }

    #[test]
    fn texts_are_made_only_where_those_at_hand_do_not_decide() {
        let made = std::cell::Cell::new(0);
        let more = || {
            made.set(made.get() + 1);
            vec!["8/8".to_owned(), "12m".to_owned()]
        };
        assert!(Filter::new("cart").passes_or(&["cart"], more));
        assert_eq!(made.get(), 0);
        assert!(Filter::new("cart 8/8 12m").passes_or(&["cart"], more));
        assert_eq!(made.get(), 1);
        for (text, numeric) in
            [("8/8", true), ("12m", true), ("cart-8", false), ("cart", false), ("^8", true)]
        {
            assert_eq!(Filter::new(text).is_numeric(), numeric, "{text}");
        }
    }
}
