//! The line editor of every prompt: its text, its cursor, and the keys that edit it.

use pilothouse_core::domain::text::{clean, is_safe};
use unicode_segmentation::UnicodeSegmentation as _;

use super::super::key::{Code, Key};
use super::text::width;

/// Maximum length of a line in bytes; nobody types or pastes more.
const MOST: usize = 400;

/// A line with a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputLine {
    text: String,
    /// In bytes, at the boundary of a character with its combining marks.
    at: usize,
}

/// The effect of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The text changed.
    Changed,
    /// The cursor moved, or nothing happened.
    Kept,
}

impl InputLine {
    /// A line with the cursor at its end.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { at: text.len(), text }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The position of the cursor in bytes.
    pub fn cursor(&self) -> usize {
        self.at
    }

    /// Replaces a part, given in bytes, and moves the cursor behind it.
    pub fn replace(&mut self, from: usize, to: usize, words: &str) {
        if self.text.get(from..to).is_none() {
            return;
        }
        let before = self.clone();
        self.text.replace_range(from..to, "");
        self.at = from;
        if self.put(words) == Edit::Kept {
            *self = before;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The text, leaving an empty line.
    pub fn take(&mut self) -> String {
        std::mem::take(self).text
    }

    fn before(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    fn after(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Where the cursor goes by one character, or by one word, to the left and to the right.
    fn left(&self, word: impl Fn(char) -> bool, words: bool) -> usize {
        let before = self.before();
        if !words {
            return before.grapheme_indices(true).next_back().map_or(0, |(at, _)| at);
        }
        let ends = before.trim_end_matches(|c| !word(c));
        ends.trim_end_matches(&word).len()
    }

    fn right(&self, words: bool) -> usize {
        let after = self.after();
        if !words {
            return self.at + after.graphemes(true).next().map_or(0, str::len);
        }
        let begins = after.trim_start_matches(|c: char| !c.is_alphanumeric());
        self.text.len() - begins.trim_start_matches(char::is_alphanumeric).len()
    }

    fn cut(&mut self, from: usize, to: usize) -> Edit {
        if from >= to {
            return Edit::Kept;
        }
        let before = clean(self.text.get(..from).unwrap_or_default()).len();
        self.text.replace_range(from..to, "");
        // a combining mark that has lost its letter becomes visible
        self.text = clean(&self.text).into_owned();
        self.at =
            (0..=before.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
        Edit::Changed
    }

    fn go(&mut self, at: usize) -> Edit {
        self.at = at;
        Edit::Kept
    }

    fn put(&mut self, words: &str) -> Edit {
        let mut next = self.text.clone();
        next.insert_str(self.at, words);
        // a combining mark without a letter before it is not accepted
        if next.len() > MOST || !is_safe(&next) {
            return Edit::Kept;
        }
        self.text = next;
        self.at += words.len();
        Edit::Changed
    }

    /// Inserts pasted text at the cursor, without its line ends, as far as there is room.
    pub fn paste(&mut self, pasted: &str) -> Edit {
        let line: String = pasted.chars().filter(|c| !matches!(c, '\r' | '\n')).take(MOST).collect();
        let line = clean(&line);
        let room = MOST.saturating_sub(self.text.len());
        let fits = (0..=room.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        self.put(line.get(..fits).unwrap_or_default())
    }

    /// Handles a key. None: the key does not edit a line.
    pub fn press(&mut self, key: Key) -> Option<Edit> {
        let not_blank = |c: char| !c.is_whitespace();
        Some(match (key.code, key.ctrl, key.alt) {
            // terminals send one or the other for the same key
            (Code::Backspace, false, false) | (Code::Char('h'), true, false) => {
                self.cut(self.left(not_blank, false), self.at)
            }
            (Code::Char('w'), true, false) => self.cut(self.left(not_blank, true), self.at),
            (Code::Backspace, _, _) | (Code::Char('h'), true, true) => {
                self.cut(self.left(char::is_alphanumeric, true), self.at)
            }
            (Code::Delete, false, false) | (Code::Char('d'), true, false) => {
                self.cut(self.at, self.right(false))
            }
            (Code::Delete, _, _) | (Code::Char('d'), false, true) => self.cut(self.at, self.right(true)),
            (Code::Char('u'), true, false) => self.cut(0, self.text.len()),
            (Code::Char('k'), true, false) => self.cut(self.at, self.text.len()),
            (Code::Left, false, false) | (Code::Char('b'), true, false) => {
                let at = self.left(not_blank, false);
                self.go(at)
            }
            (Code::Right, false, false) | (Code::Char('f'), true, false) => self.go(self.right(false)),
            (Code::Left, _, _) | (Code::Char('b'), false, true) => {
                let at = self.left(char::is_alphanumeric, true);
                self.go(at)
            }
            (Code::Right, _, _) | (Code::Char('f'), false, true) => self.go(self.right(true)),
            (Code::Home, _, _) | (Code::Char('a'), true, false) => self.go(0),
            (Code::End, _, _) | (Code::Char('e'), true, false) => self.go(self.text.len()),
            _ => self.put(key.typed()?.encode_utf8(&mut [0; 4])),
        })
    }

    /// Whether the key edits the line.
    pub fn takes(&self, key: Key) -> bool {
        self.clone().press(key).is_some()
    }

    /// The part that fits into so many cells with the cursor visible, and the cell of the cursor.
    pub fn shown(&self, cells: usize) -> (String, usize) {
        // the cursor needs a cell of its own at the end
        let room = cells.saturating_sub(1);
        let mut out: Vec<&str> = Vec::new();
        let mut used = 0;
        for part in self.before().graphemes(true).rev() {
            if used + width(part) > room {
                break;
            }
            used += width(part);
            out.push(part);
        }
        out.reverse();
        let cursor = used;
        for part in self.after().graphemes(true) {
            if used + width(part) > room {
                break;
            }
            used += width(part);
            out.push(part);
        }
        (out.concat(), cursor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The line with `|` at the cursor.
    fn after(begin: &str, keys: &str) -> String {
        let mut line = InputLine::new(begin.replace('|', ""));
        line.at = begin.find('|').unwrap_or(begin.len());
        for key in keys.split_whitespace() {
            line.press(Key::parse(key).unwrap()).unwrap();
        }
        let mut out = line.text.clone();
        out.insert(line.at, '|');
        out
    }

    #[test]
    fn keys_that_edit() {
        for (begin, keys, want) in [
            ("pay", "backspace", "pa|"),
            ("pay", "ctrl-h ctrl-h", "p|"),
            ("pa|y", "backspace", "p|y"),
            ("|pay", "backspace", "|pay"),
            ("pa|y", "delete", "pa|"),
            ("|pay", "ctrl-d", "|ay"),
            ("shop pay", "ctrl-u", "|"),
            ("sh|op", "ctrl-k", "sh|"),
            ("shop pay-api", "ctrl-w", "shop |"),
            ("shop pay  ", "ctrl-w", "shop |"),
            ("shop/pay-api", "alt-backspace", "shop/pay-|"),
            ("shop pay", "ctrl-a x", "x|shop pay"),
            ("|shop pay", "ctrl-e x", "shop payx|"),
            ("shop", "home x end y", "xshopy|"),
            ("shop", "left left x", "shx|op"),
            ("|shop", "right x", "sx|hop"),
            ("shop pay", "ctrl-left x", "shop x|pay"),
            ("|shop pay", "alt-f x", "shopx| pay"),
            ("|shop pay", "alt-d", "| pay"),
            ("cafe\u{301}", "backspace", "caf|"),
            ("👩\u{200d}🚀", "left", "|👩\u{200d}🚀"),
            ("", "left right backspace delete ctrl-w ctrl-u ctrl-k", "|"),
        ] {
            assert_eq!(after(begin, keys), want, "{begin} {keys}");
        }
        assert_eq!(InputLine::new("x").press(Key::plain(Code::Enter)), None);
        assert_eq!(InputLine::new("x").press(Key::parse("ctrl-n").unwrap()), None);
    }

    #[test]
    fn a_paste_is_one_line_at_the_cursor() {
        let mut line = InputLine::new("ab");
        line.press(Key::plain(Code::Left));
        line.paste("x\r\ny\n\u{1b}[31m\u{202e}");
        assert_eq!((line.text(), line.at), ("axy␛[31m¤b", 12));
        line.paste(&"é".repeat(10_000));
        assert!(line.text().len() <= MOST);
    }

    #[test]
    fn the_cursor_stays_in_sight() {
        let mut line = InputLine::new("abcdefghij");
        assert_eq!(line.shown(20), ("abcdefghij".into(), 10));
        assert_eq!(line.shown(5), ("ghij".into(), 4));
        line.press(Key::plain(Code::Home));
        assert_eq!(line.shown(5), ("abcd".into(), 0));
        assert_eq!(InputLine::new("日本").shown(4), ("本".into(), 2));
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(codes in prop::collection::vec((0usize..16, any::<bool>(), any::<bool>()), 0..60), text in "\\PC{0,12}") {
            let all = [Code::Backspace, Code::Delete, Code::Left, Code::Right, Code::Home, Code::End, Code::Char('w'),
                Code::Char('k'), Code::Char('d'), Code::Char('b'), Code::Char('f'), Code::Char('h'), Code::Char('é'),
                Code::Char('\u{301}'), Code::Char(' '), Code::Char('日')];
            let mut line = InputLine::default();
            line.paste(&text);
            for (code, ctrl, alt) in codes {
                line.press(Key { code: all[code], ctrl, alt });
                prop_assert!(line.text.is_char_boundary(line.at) && is_safe(&line.text));
                prop_assert!(width(&line.shown(8).0) < 8);
            }
        }
    }
}
