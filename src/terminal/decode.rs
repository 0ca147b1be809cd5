//! Decodes the bytes from a terminal into keys and pasted text.
//!
//! We do not use crossterm's reader: it loses keys that arrive together with a resize (its queue is edge-triggered, and
//! one of the two events is dropped), and it uses a whole CPU when the terminal is gone.

use crate::ui::key::{Code, Key};
use crate::ui::mouse::{Gesture, Mouse};

/// A key, a paste or a mouse event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Key(Key),
    Mouse(Mouse),
    Paste(String),
}

/// Pasted text is cut at this length, because nobody pastes more into a line.
const MOST_PASTED: usize = 64 * 1024;
const PASTE_END: &[u8] = b"\x1b[201~";

/// Takes bytes and returns keys. An incomplete sequence is kept until more bytes arrive.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    pending: Vec<u8>,
    paste: Option<Vec<u8>>,
}

/// The result of one decoding step.
enum Step {
    /// That many bytes gave this result.
    Done(usize, Option<Key>),
    PasteBegins(usize),
    Mouse(usize, Mouse),
    /// More bytes are needed.
    Wait,
}

impl Decoder {
    /// True while an escape sequence or a character is incomplete. If no more bytes arrive soon, call [`Self::flush`].
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty() && self.paste.is_none()
    }

    /// Adds bytes to the input.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Typed> {
        self.pending.extend_from_slice(bytes);
        self.decode(true)
    }

    /// No more bytes arrived for a while, so a lone ESC counts as the key.
    pub(super) fn flush(&mut self) -> Vec<Typed> {
        self.decode(false)
    }

    fn decode(&mut self, more: bool) -> Vec<Typed> {
        let mut out = Vec::new();
        loop {
            if self.paste.is_some() {
                match self.pasted() {
                    Some(text) => out.push(Typed::Paste(text)),
                    None => return out,
                }
            }
            let Some(first) = self.pending.first().copied() else { return out };
            let (used, key) = match step(first, self.pending.get(1..).unwrap_or_default()) {
                Step::Done(used, key) => (used, key),
                Step::Mouse(used, mouse) => {
                    out.push(Typed::Mouse(mouse));
                    (used, None)
                }
                Step::PasteBegins(used) => {
                    self.paste = Some(Vec::new());
                    (used, None)
                }
                Step::Wait if more => return out,
                Step::Wait if first == 0x1b => (1, Some(Key::plain(Code::Esc))),
                Step::Wait => (1, None),
            };
            self.pending.drain(..used.min(self.pending.len()));
            out.extend(key.map(Typed::Key));
        }
    }

    /// The pasted text, if its end has arrived.
    fn pasted(&mut self) -> Option<String> {
        let paste = self.paste.as_mut()?;
        let end = self.pending.windows(PASTE_END.len()).position(|w| w == PASTE_END);
        let take = end.unwrap_or_else(|| self.pending.len().saturating_sub(PASTE_END.len() - 1));
        let room = MOST_PASTED.saturating_sub(paste.len());
        paste.extend(self.pending.drain(..take).take(room));
        end?;
        self.pending.drain(..PASTE_END.len().min(self.pending.len()));
        self.paste.take().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn step(first: u8, rest: &[u8]) -> Step {
    let ctrl = |c: char| Some(Key { code: Code::Char(c), ctrl: true, alt: false });
    match first {
        0x1b => escape(rest),
        b'\r' => Step::Done(1, Some(Key::plain(Code::Enter))),
        b'\t' => Step::Done(1, Some(Key::plain(Code::Tab))),
        0x7f => Step::Done(1, Some(Key::plain(Code::Backspace))),
        0 => Step::Done(1, ctrl(' ')),
        1..=26 => Step::Done(1, ctrl(char::from(b'a' + first - 1))),
        0x1c..=0x1f => Step::Done(1, None),
        _ => character(first, rest),
    }
}

fn character(first: u8, rest: &[u8]) -> Step {
    let length = match first {
        0x20..=0x7e => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Step::Done(1, None),
    };
    let Some(tail) = rest.get(..length - 1) else { return Step::Wait };
    let bytes: Vec<u8> = std::iter::once(first).chain(tail.iter().copied()).collect();
    match std::str::from_utf8(&bytes).ok().and_then(|s| s.chars().next()) {
        Some(c) if !c.is_control() => Step::Done(length, Some(Key::char(c))),
        Some(_) => Step::Done(length, None),
        None => Step::Done(1, None),
    }
}

fn escape(rest: &[u8]) -> Step {
    match rest.first() {
        None => Step::Wait,
        Some(b'[') => sequence(rest.get(1..).unwrap_or_default()),
        Some(b'O') => match rest.get(1) {
            None => Step::Wait,
            Some(last) => Step::Done(3, letter(*last).map(Key::plain)),
        },
        Some(0x1b) => Step::Done(1, Some(Key::plain(Code::Esc))),
        Some(next) => match step(*next, rest.get(1..).unwrap_or_default()) {
            Step::Done(used, key) => Step::Done(used + 1, key.map(|key| Key { alt: true, ..key })),
            other => other,
        },
    }
}

/// Decodes the bytes after `ESC [`.
fn sequence(rest: &[u8]) -> Step {
    // the Linux console's F1 to F5
    if rest.first() == Some(&b'[') {
        return match rest.get(1) {
            None => Step::Wait,
            Some(c @ b'A'..=b'E') => Step::Done(4, Some(Key::plain(Code::F(c - b'A' + 1)))),
            Some(_) => Step::Done(4, None),
        };
    }
    let Some(end) = rest.iter().position(|b| (0x40..=0x7e).contains(b)) else {
        // no terminal sends so many parameters
        return if rest.len() > 64 { Step::Done(rest.len() + 2, None) } else { Step::Wait };
    };
    let used = end + 3;
    let last = rest.get(end).copied().unwrap_or_default();
    if rest.first() == Some(&b'<') {
        let mouse = mouse(rest.get(1..end).unwrap_or_default(), last);
        return mouse.map_or(Step::Done(used, None), |mouse| Step::Mouse(used, mouse));
    }
    let words = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
    let numbers: Vec<u16> = words.split(';').map(|n| n.parse().unwrap_or(0)).collect();
    let first = numbers.first().copied().unwrap_or(0);
    let modifiers = numbers.get(1).copied().unwrap_or(1).saturating_sub(1);
    let code = match (last, first) {
        (b'~', 200) => return Step::PasteBegins(used),
        (b'~', n) => numbered(n),
        (b'Z', _) => Some(Code::BackTab),
        _ => letter(last),
    };
    Step::Done(used, code.map(|code| Key { code, ctrl: modifiers & 4 != 0, alt: modifiers & 2 != 0 }))
}

/// `BUTTON;COLUMN;ROW` of a mouse report in SGR form, counted from 1. Decodes only the events that the console uses.
fn mouse(words: &[u8], last: u8) -> Option<Mouse> {
    let words = std::str::from_utf8(words).ok()?;
    let mut numbers = words.split(';').map(|n| n.parse::<u16>().ok());
    let (button, x, y) = (numbers.next()??, numbers.next()??, numbers.next()??);
    // the button without the bits for shift, meta and control
    let gesture = match (button & !0b1_1100, last) {
        (0, b'M') => Gesture::Click,
        (64, b'M') => Gesture::WheelUp,
        (65, b'M') => Gesture::WheelDown,
        _ => return None,
    };
    Some(Mouse { gesture, x: x.checked_sub(1)?, y: y.checked_sub(1)? })
}

fn letter(last: u8) -> Option<Code> {
    Some(match last {
        b'A' => Code::Up,
        b'B' => Code::Down,
        b'C' => Code::Right,
        b'D' => Code::Left,
        b'H' => Code::Home,
        b'F' => Code::End,
        b'M' => Code::Enter,
        b'P' => Code::F(1),
        b'Q' => Code::F(2),
        b'R' => Code::F(3),
        b'S' => Code::F(4),
        _ => return None,
    })
}

fn numbered(n: u16) -> Option<Code> {
    Some(match n {
        1 | 7 => Code::Home,
        4 | 8 => Code::End,
        3 => Code::Delete,
        5 => Code::PageUp,
        6 => Code::PageDown,
        11..=15 => Code::F(u8::try_from(n - 10).unwrap_or(1)),
        17..=21 => Code::F(u8::try_from(n - 11).unwrap_or(1)),
        23 | 24 => Code::F(u8::try_from(n - 12).unwrap_or(1)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(bytes: &[u8]) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut typed = decoder.feed(bytes);
        typed.extend(decoder.flush());
        typed
            .into_iter()
            .map(|t| match t {
                Typed::Key(key) => key.to_string(),
                Typed::Paste(text) => format!("paste {text:?}"),
                Typed::Mouse(m) => format!("{:?} {},{}", m.gesture, m.x, m.y),
            })
            .collect()
    }

    #[test]
    fn what_terminals_send() {
        for (bytes, want) in [
            (&b"jD"[..], vec!["j", "D"]),
            (b"\x1b[A\x1bOB\x1b[5~", vec!["Up", "Down", "PgUp"]),
            (b"\x1b", vec!["Esc"]),
            (b"\x1b\x1b", vec!["Esc", "Esc"]),
            (b"\x1b[1;5C", vec!["^Right"]),
            (b"\x04\r\t\x7f", vec!["^d", "Enter", "Tab", "BkSp"]),
            (b"\x1bx", vec!["M-x"]),
            (b"\x08\x7f\x15\x17\x01\x05", vec!["^h", "BkSp", "^u", "^w", "^a", "^e"]),
            ("é日".as_bytes(), vec!["é", "日"]),
            (b"\x1b[200~y\n\x1b[31m\x1b[201~q", vec!["paste \"y\\n\\u{1b}[31m\"", "q"]),
            (b"\x1b[15~\x1b[24~\x1b[[A\x1bOP", vec!["F5", "F12", "F1", "F1"]),
            (b"\x1b[Z\x1b[3~", vec!["S-Tab", "Del"]),
            (b"\x1b[<0;10;5M\x1b[<0;10;5m\x1b[<64;1;1M", vec!["Click 9,4", "WheelUp 0,0"]),
            (b"\x1b[<69;300;200Mj", vec!["WheelDown 299,199", "j"]),
            // other buttons, motion, and malformed reports
            (b"\x1b[<2;1;1M\x1b[<32;1;1M\x1b[<0;0;1M\x1b[<0;;1M\x1b[<0M", vec![]),
            (b"\xff\xfej", vec!["j"]),
            (b"\x1b[999;999zj", vec!["j"]),
        ] {
            assert_eq!(keys(bytes), want, "{bytes:?}");
        }
    }

    proptest! {
        /// The same keys come out, however the bytes are split into reads.
        #[test]
        fn cuts_do_not_matter(cut in 0usize..40) {
            let bytes = b"j\x1b[A\x1b[1;5C\xc3\xa9\x1b[200~paste\x1b[201~k\x1bOP";
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut decoder = Decoder::default();
            let mut typed = decoder.feed(a);
            typed.extend(decoder.feed(b));
            let mut whole = Decoder::default();
            prop_assert_eq!(typed, whole.feed(bytes));
        }

        #[test]
        fn nothing_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            for byte in bytes {
                decoder.feed(&[byte]);
            }
            decoder.flush();
            prop_assert!(!decoder.is_waiting());
        }
    }
}
