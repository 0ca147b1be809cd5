//! The level of a plain line: a level word at the place where loggers put it, in the head of the line. In a sentence
//! that only mentions an error, the word is elsewhere, or has other words next to it.

use super::{by_name, is_nothing};
use crate::domain::log::Level;

/// Maximum number of words that are checked, because a head has no more.
const MOST_WORDS: usize = 14;
/// How many words (a host, a program, a logger's name) can precede the level: in a line that starts with a time, and in
/// other lines.
const WORDS_AFTER_TIME: usize = 3;
const WORDS_BEFORE: usize = 2;

/// One word of the head, with the characters around it.
struct Word<'a> {
    text: &'a str,
    before: Option<char>,
    after: Option<char>,
    /// The rest of the line after the word.
    rest: &'a str,
    /// Within square brackets.
    bracketed: bool,
}

impl Word<'_> {
    fn is_upper(&self) -> bool {
        self.text.len() >= 3 && self.text.bytes().all(|b| b.is_ascii_uppercase())
    }

    /// `[error]`, `<error>`, `|error|`, `[core:error]`.
    fn is_enclosed(&self) -> bool {
        let pairs = [('[', ']'), ('<', '>'), ('|', '|')];
        pairs.iter().any(|(open, shut)| self.before == Some(*open) && self.after == Some(*shut))
            || (self.before == Some('[') && self.rest.trim_start_matches(' ').starts_with(']'))
            || (self.bracketed && self.before == Some(':') && self.after == Some(']'))
    }

    /// A column of its own, between tabs or between bars.
    fn is_column(&self, line_before: &str) -> bool {
        let tabs = matches!(self.before, None | Some('\t')) && self.after == Some('\t');
        let bars = line_before.trim_end().ends_with('|') && self.rest.trim_start().starts_with('|');
        tabs || bars
    }

    /// The word stands alone: `ERROR`, `ERROR:`, `app.ERROR:`, `ERR!`, `[2026: ERROR/Main]`.
    fn stands_alone(&self) -> bool {
        let open =
            self.before.is_none_or(|c| c.is_whitespace() || matches!(c, '[' | '|' | ']' | '(' | '<' | ':'));
        let shut = self
            .after
            .is_none_or(|c| c.is_whitespace() || matches!(c, ']' | '|' | ':' | ')' | '>' | ',' | '[' | '!'));
        (open && shut)
            || (self.before == Some('.') && self.after == Some(':'))
            || (open && self.bracketed && self.after == Some('/'))
    }

    /// `error: cannot open`, but not `error: null`.
    fn is_label(&self) -> bool {
        self.after == Some(':')
            && self
                .rest
                .get(1..)
                .is_some_and(|value| value.starts_with([' ', '\t']) && !is_nothing(value.trim()))
    }
}

/// The level that a word of the head names.
pub(super) fn level(head: &str) -> Option<Level> {
    let timed = head.trim_start_matches(['[', '<']).starts_with(|c: char| c.is_ascii_digit())
        || begins_with_day(head);
    let limit = if timed { WORDS_AFTER_TIME } else { WORDS_BEFORE };
    let (mut from, mut depth, mut free) = (0usize, 0usize, 0usize);
    let mut last: Option<(&str, bool)> = None;
    for _ in 0..MOST_WORDS {
        let skipped = head.get(from..)?;
        let start = from + skipped.find(|c: char| c.is_ascii_alphabetic())?;
        for c in head.get(from..start)?.chars() {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        let tail = head.get(start..)?;
        let length = tail.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tail.len());
        let (text, rest) = tail.split_at_checked(length)?;
        let line_before = head.get(..start)?;
        let word = Word {
            text,
            before: line_before.chars().next_back(),
            after: rest.chars().next(),
            rest,
            bracketed: depth > 0,
        };
        let shown = (word.is_upper() && word.stands_alone()) || word.is_enclosed();
        let names = (shown && !mentioned(last, &word)) || word.is_column(line_before);
        // the first word of the text, or the word after the program's name: `mysqld: error: …`
        let first = free == 0 && depth == 0 && word.before.is_none_or(char::is_whitespace);
        let second = free == 1 && last.is_some_and(|(_, label)| label) && word.before == Some(' ');
        let labels = (first || second) && word.is_label();
        let counted = text.len() >= 3
            && (names || labels)
            && !(word.after == Some(':') && is_nothing(rest.get(1..)?.trim()));
        if counted && let Some(level) = by_name(text) {
            return Some(level);
        }
        // parts of a time, a path or a dotted name do not count as words of the text
        let begins = word.before.is_none_or(char::is_whitespace);
        let field_end = tail.find(char::is_whitespace).unwrap_or(tail.len());
        let field = tail.get(..field_end)?;
        if begins && depth == 0 && !field.contains(|c: char| c.is_ascii_digit()) && !is_calendar(text) {
            free += 1;
            last = Some((text, word.after == Some(':') && field.len() == length + 1));
        }
        if free > limit {
            return None;
        }
        from = start + length;
    }
    None
}

/// `no ERROR`, `level ERROR`, `to ERROR`: the text only mentions it.
fn mentioned(last: Option<(&str, bool)>, word: &Word<'_>) -> bool {
    const SPEAKS: [&str; 14] = [
        "no", "level", "loglevel", "without", "any", "zero", "to", "of", "not", "an", "the", "as", "is", "if",
    ];
    let spoken = matches!(word.before, Some(' ' | '['))
        && last.is_some_and(|(text, _)| SPEAKS.iter().any(|s| text.eq_ignore_ascii_case(s)));
    spoken && !matches!(word.after, Some(':'))
}

fn is_calendar(word: &str) -> bool {
    const NAMES: [&str; 25] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon", "tue",
        "wed", "thu", "fri", "sat", "sun", "am", "pm", "utc", "gmt", "cet", "cest",
    ];
    NAMES.iter().any(|name| word.eq_ignore_ascii_case(name))
}

pub(super) fn begins_with_day(head: &str) -> bool {
    let word =
        head.trim_start_matches('[').split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    word.len() == 3 && is_calendar(word)
}
