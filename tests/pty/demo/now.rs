//! Reads NOW from the screen, by the position and the style of its words.

use super::asked;
use crate::seat::Seat;

/// A finding's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `✖`, `!` or `~`.
    pub glyph: char,
    /// The problem, in one line.
    pub words: String,
    /// The key at its right end, and the title of that key's command.
    pub key: Option<(char, String)>,
    pub selected: bool,
}

impl Row {
    /// The name of its object: the first word that can be a name.
    pub fn about(&self) -> &str {
        let named = |word: &&str| word.contains(['/', '-']);
        self.words.split_whitespace().find(named).unwrap_or(&self.words)
    }

    /// Whether a fix is in progress.
    pub fn recovers(&self) -> bool {
        self.words.contains("recovering")
    }

    /// Whether it needs an action.
    pub fn is_alarm(&self) -> bool {
        self.glyph != '~' && !self.recovers()
    }

    /// Its words without the numbers, which change.
    pub fn gist(&self) -> String {
        let mut gist = format!("{} ", self.glyph);
        for c in self.words.chars() {
            match c {
                c if c.is_ascii_digit() && gist.ends_with('0') => {}
                c if c.is_ascii_digit() => gist.push('0'),
                c => gist.push(c),
            }
        }
        let key = self.key.as_ref().map_or_else(String::new, |(key, does)| format!("  [{key} {does}]"));
        gist + &key
    }
}

/// The visible part of NOW.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub rows: Vec<Row>,
    /// The number of rows that do not fit.
    pub hidden: usize,
}

/// Reads NOW; None if it is covered or not shown.
pub fn read(seat: &Seat) -> Option<Now> {
    if asked::is_open(seat) {
        return None;
    }
    let lines = lines(seat);
    let top = lines
        .iter()
        .position(|text| text.starts_with(['╭', '─']) && text.split_whitespace().nth(1) == Some("NOW"))?;
    let head = lines.get(top)?;
    let framed = head.starts_with('╭');
    let mut now = Now { hidden: hidden_in(head).unwrap_or(0), ..Now::default() };
    for (y, whole) in lines.iter().enumerate().skip(top + 1) {
        let inside = if framed {
            whole.strip_prefix('│').and_then(|rest| rest.strip_suffix('│'))
        } else {
            // the other panes are a line each
            let ends = whole.starts_with(' ') && !whole.starts_with("  ");
            (!ends).then_some(whole.as_str())
        };
        let Some(text) = inside else {
            now.hidden = now.hidden.max(hidden_in(whole).unwrap_or(0));
            break;
        };
        let line: Vec<char> = text.chars().collect();
        match line.as_slice() {
            [glyph @ ('✖' | '!' | '~'), ' ', ..] => {
                let (words, key) = ends(text.get(glyph.len_utf8()..)?);
                let row = u16::try_from(y).ok()?;
                let at = u16::from(framed) + 3;
                let selected = seat.screen().cell(row, at).is_some_and(vt100::Cell::inverse);
                now.rows.push(Row { glyph: *glyph, words, key, selected });
            }
            // the sentence continues; text with more indent is its evidence
            [' ', ' ', c, ..] if *c != ' ' => {
                let row = now.rows.last_mut()?;
                row.words.push(' ');
                row.words.push_str(text.trim());
            }
            _ => {}
        }
    }
    Some(now)
}

/// The screen, a cell a character.
pub fn lines(seat: &Seat) -> Vec<String> {
    let (height, width) = seat.screen().size();
    let cell = |y, x| seat.screen().cell(y, x).and_then(|c| c.contents().chars().next()).unwrap_or(' ');
    (0..height.get()).map(|y| (0..width.get()).map(|x| cell(y, x)).collect()).collect()
}

/// `+3 more`.
fn hidden_in(line: &str) -> Option<usize> {
    let mut words = line.split_whitespace().rev();
    let after = words.find(|word| *word == "more").and_then(|_| words.next())?;
    after.strip_prefix('+')?.parse().ok()
}

/// Splits a row's first line: `words  2m B roll back  Enter why`.
fn ends(line: &str) -> (String, Option<(char, String)>) {
    let line = line.trim();
    let keys = line.strip_suffix("Enter why").unwrap_or(line).trim_end();
    // a capital alone, with words in lower case behind it: `X out/in rotation`
    let is_word = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c == '/');
    let words: Vec<&str> = keys.split(' ').collect();
    let does = words.iter().rev().take_while(|word| is_word(word)).count();
    let at = words.len().saturating_sub(does + 1);
    let key = words.get(at).and_then(|word| match *word.as_bytes() {
        [key] if key.is_ascii_uppercase() && does > 0 => Some(char::from(key)),
        _ => None,
    });
    let Some(key) = key else { return (without_age(keys), None) };
    let does = words.get(at + 1..).unwrap_or_default().join(" ");
    (without_age(&words.get(..at).unwrap_or_default().join(" ")), Some((key, does)))
}

/// Without the column for the time.
fn without_age(words: &str) -> String {
    let words = words.trim_end();
    let is_age = |word: &&str| {
        let number = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let digits = number.chars().all(|c| c.is_ascii_digit());
        *word == "now" || (number.len() + 1 == word.len() && !number.is_empty() && digits)
    };
    let without = words.rsplit(' ').next().filter(is_age).and_then(|age| words.strip_suffix(age));
    without.unwrap_or(words).trim_end().to_owned()
}

#[test]
fn a_row_is_taken_apart() {
    for (line, words, key) in [
        (
            "  node a-b Unknown, zone-b: 11 pods on it   2m O out of service  Enter why",
            "node a-b Unknown, zone-b: 11 pods on it",
            Some(('O', "out of service")),
        ),
        (
            " shop/checkout 7.0% errors at 92 rps, after rollout         2m B roll back",
            "shop/checkout 7.0% errors at 92 rps, after rollout",
            Some(('B', "roll back")),
        ),
        (
            " shop/a 1.1% errors, only backend    now X out/in rotation",
            "shop/a 1.1% errors, only backend",
            Some(('X', "out/in rotation")),
        ),
        (" shop/cart slow: P95 300 ms    20s Enter why", "shop/cart slow: P95 300 ms", None),
        (" what has no key", "what has no key", None),
    ] {
        let key = key.map(|(key, does)| (key, does.to_owned()));
        assert_eq!(ends(line), (words.to_owned(), key));
    }
    assert_eq!(hidden_in("─ NOW 5 causes +3 more ───"), Some(3));
    assert_eq!(hidden_in("╰ changed 30m: one ─ +1 more ╯"), Some(1));
    assert_eq!(hidden_in("─ NOW 5 causes ───"), None);
}
