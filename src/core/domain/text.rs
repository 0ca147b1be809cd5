//! The sanitiser: text from a cluster, a log or a config can be anything, and none of it may reach the terminal as a
//! control sequence. Marks are shown, not deleted: what an attacker or a broken program wrote is evidence.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// What stands for a character that must not be printed.
fn mark(c: char) -> Option<char> {
    match c {
        '\t' => Some(' '),
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32),
        '\u{7f}' => Some('␡'),
        // C1 controls: ESC-free ways to open a control sequence
        '\u{80}'..='\u{9f}' => Some('�'),
        // bidirectional controls and isolates reorder what a person reads
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some('¤'),
        // zero-width and invisible: two names that look the same
        '\u{ad}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{e0000}'..='\u{e0fff}' => Some('¤'),
        // combining marks (width 0) pile up over other cells
        _ if c.width() == Some(0) => Some('¤'),
        _ => None,
    }
}

/// One line of safe text. Borrowed when there is nothing to replace, which is nearly always.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) || !text.chars().any(|c| mark(c).is_some()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| mark(c).unwrap_or(c)).collect())
}

/// Like [`clean`], of bytes that may not be UTF-8.
pub fn clean_bytes(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => clean(text),
        Cow::Owned(text) => Cow::Owned(clean(&text).into_owned()),
    }
}

/// Several lines: line feeds stay, everything else as [`clean`] (a carriage return before a line feed is dropped).
pub fn clean_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        out.push_str(&clean(line.strip_suffix('\r').unwrap_or(line)));
    }
    out
}

/// At most `max` bytes, cut at a character, with what was left out said: `… +1234 bytes`.
pub fn cap(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let end = (0..=max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    let kept = text.get(..end).unwrap_or_default();
    Cow::Owned(format!("{kept}… +{} bytes", text.len() - end))
}

/// True if printing the text can do nothing but show glyphs.
pub fn is_safe(text: &str) -> bool {
    text.chars().all(|c| c != '\t' && mark(c).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn controls_become_visible_marks() {
        assert_eq!(clean("\u{1b}[2Jx\u{7}"), "␛[2Jx␇");
        assert_eq!(clean("a\u{9b}31mb"), "a�31mb");
        assert_eq!(clean("safe\u{202e}exe"), "safe¤exe");
        assert_eq!(clean("plain … text"), "plain … text");
        assert_eq!(clean_bytes(b"a\xffb\x1b"), "a�b␛");
        assert_eq!(clean_lines("a\r\nb\x1b"), "a\nb␛");
    }

    #[test]
    fn caps_at_a_character() {
        assert_eq!(cap("ééé", 3), "é… +4 bytes");
        assert_eq!(cap("abc", 3), "abc");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_survives(text in any::<String>()) {
            prop_assert!(is_safe(&clean(&text)));
        }

        #[test]
        fn bytes_too(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(is_safe(&clean_bytes(&bytes)));
        }
    }
}
