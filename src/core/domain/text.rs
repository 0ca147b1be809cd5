//! The sanitiser. Text from a cluster, a log or a config can have any content, and must never reach the terminal as a
//! control sequence. Control characters are replaced by visible marks, not deleted, because they are evidence of an
//! attack or of a broken program. Letters of every script with their combining marks, and emoji, are unchanged.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// The maximum number of combining marks on one letter; no script uses more.
const MOST_MARKS: usize = 4;
/// The mark for a character that is invisible or that reorders others.
const HIDDEN: char = '¤';

/// The mark for a character that must never be printed.
fn mark(c: char) -> Option<char> {
    match c {
        '\t' => Some(' '),
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32),
        '\u{7f}' => Some('␡'),
        // C1 controls: they start control sequences without an ESC
        '\u{80}'..='\u{9f}' => Some('�'),
        // bidirectional controls and isolates reorder the visible text
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some(HIDDEN)
        }
        // zero-width and invisible characters: two different names could look the same
        '\u{ad}'
        | '\u{034f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0d}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => Some(HIDDEN),
        _ => None,
    }
}

/// Emoji, and symbols that can be displayed as emoji.
fn is_emoji(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{24c2}' | '\u{3030}'
        | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}'
        | '\u{25a0}'..='\u{27bf}' | '\u{2934}' | '\u{2935}' | '\u{2b00}'..='\u{2bff}'
        | '\u{1f000}'..='\u{1faff}')
}

/// Scripts whose letters change their form next to a joiner or a non-joiner.
fn joins(c: char) -> bool {
    matches!(c,
        '\u{0620}'..='\u{07ff}' | '\u{0840}'..='\u{0dff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{1820}'..='\u{18af}' | '\u{1b00}'..='\u{1bff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}

/// The state of the line so far that the next character depends on.
#[derive(Default)]
struct Before {
    last: Option<char>,
    /// Combining marks on the last letter.
    marks: usize,
}

impl Before {
    /// The text to write for `c`, which is followed by `next`.
    fn shown(&mut self, c: char, next: Option<char>) -> char {
        let shown = mark(c).unwrap_or_else(|| if self.keeps(c, next) { c } else { HIDDEN });
        let on_a_letter = shown == c && c.width() == Some(0);
        self.marks = if on_a_letter { self.marks + 1 } else { 0 };
        self.last = Some(shown);
        shown
    }

    /// False for a zero-width character without a base character before it.
    fn keeps(&self, c: char, next: Option<char>) -> bool {
        if c.width() != Some(0) {
            return c.width().is_some();
        }
        let Some(last) = self.last else { return false };
        // a mark beyond the limit will be removed, so nothing can join it
        let next = next.filter(|n| n.width() != Some(0) || self.marks + 1 < MOST_MARKS);
        match c {
            '\u{200c}' => joins(last) && next.is_some_and(joins),
            '\u{200d}' => {
                let emoji = is_emoji(last) || last == '\u{fe0f}';
                joins(last) && next.is_some_and(joins) || emoji && next.is_some_and(is_emoji)
            }
            '\u{fe0e}' | '\u{fe0f}' => is_emoji(last) || matches!(last, '0'..='9' | '#' | '*'),
            _ => {
                let base = last != HIDDEN && !last.is_whitespace() && mark(last).is_none();
                base && self.marks < MOST_MARKS
            }
        }
    }
}

/// Names in one line; if there are many, the first three: `a, b, c and 4 more`.
pub fn few<S: AsRef<str>>(names: &[S]) -> String {
    let join = |names: &[S]| names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.get(..3) {
        Some(first) if names.len() > 4 => format!("{} and {} more", join(first), names.len() - 3),
        _ => join(names),
    }
}

/// One line of safe text. It borrows if there is nothing to replace, which is the usual case.
pub fn clean(text: &str) -> Cow<'_, str> {
    let plain = |c: char| mark(c).is_none() && c.width().is_some_and(|w| w > 0);
    // without a branch for each byte, so that the compiler compares many at once
    let is_printable = |part: &[u8]| part.iter().fold(true, |all, b| all & (0x20..0x7f).contains(b));
    if text.as_bytes().chunks(64).all(is_printable) || text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut before = Before::default();
    let mut rest = text.chars().peekable();
    let mut out = String::with_capacity(text.len());
    while let Some(c) = rest.next() {
        out.push(before.shown(c, rest.peek().copied()));
    }
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// Removes the sequences that colour the text or move the cursor (CSI, OSC and other control strings), because they are
/// not part of the line's content. An incomplete sequence is kept, and becomes visible.
pub fn strip_ansi(text: &str) -> Cow<'_, str> {
    // ESC, or the first byte of a C1 control
    let suspect = memchr::memchr2(0x1b, 0xc2, text.as_bytes());
    if suspect.is_none() || !text.contains(['\u{1b}', '\u{9b}', '\u{9d}']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut unended = false;
    while let Some(at) = rest.find(['\u{1b}', '\u{9b}', '\u{9d}']) {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        rest = if let Some(length) = sequence(from, &mut unended) {
            from.get(length..).unwrap_or_default()
        } else {
            let mut chars = from.chars();
            out.extend(chars.next());
            chars.as_str()
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The length of the control sequence at the start of the text. `unended` is set at a control string without an end:
/// the strings after it have no end either, so a line of many such starts is not searched again for each of them.
fn sequence(text: &str, unended: &mut bool) -> Option<usize> {
    let mut chars = text.char_indices();
    let (_, first) = chars.next()?;
    let kind = match first {
        '\u{9b}' => '[',
        '\u{9d}' => ']',
        _ => chars.next()?.1,
    };
    let end = |(at, c): (usize, char)| at + c.len_utf8();
    match kind {
        // parameters and intermediates, then one letter
        '[' => chars.find(|(_, c)| !matches!(c, ' '..='?')).filter(|(_, c)| matches!(c, '@'..='~')).map(end),
        // control strings: up to BEL or ESC \
        ']' | 'P' | 'X' | '^' | '_' if *unended => None,
        ']' | 'P' | 'X' | '^' | '_' => {
            let mut escaped = false;
            let last = chars.find(|(_, c)| {
                let ends = matches!(c, '\u{7}' | '\u{9c}') || (escaped && *c == '\\');
                escaped = *c == '\u{1b}';
                ends
            });
            *unended = last.is_none();
            last.map(end)
        }
        // a character set
        ' '..='/' => {
            chars.find(|(_, c)| !matches!(c, ' '..='/')).filter(|(_, c)| matches!(c, '0'..='~')).map(end)
        }
        '0'..='~' => Some(2),
        _ => None,
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

/// `1 pod`, `3 pods`.
pub fn count(n: impl Into<u64>, noun: &str) -> String {
    let n = n.into();
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The start of a message, for a line: its first line, up to a length that a screen holds.
pub fn brief(message: &str) -> Cow<'_, str> {
    const LONGEST: usize = 160;
    cap(message.lines().next().unwrap_or_default(), LONGEST)
}

/// At most `max` bytes, cut between characters, with a note about the rest: `… +1234 bytes`.
pub fn cap(text: &str, max: usize) -> Cow<'_, str> {
    match cut(text, max) {
        0 => Cow::Borrowed(text),
        cut => {
            let kept = text.get(..text.len() - cut).unwrap_or_default();
            Cow::Owned(format!("{kept}… +{cut} bytes"))
        }
    }
}

/// The number of bytes that [`cap`] leaves out.
pub fn cut(text: &str, max: usize) -> usize {
    if text.len() <= max {
        return 0;
    }
    text.len() - (0..=max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// A URL, valid or not, without `user:password@`: for messages and logs.
pub fn without_credentials(url: &str) -> Cow<'_, str> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match rest.rsplit_once('@') {
        None => Cow::Borrowed(url),
        Some((_, rest)) if scheme.is_empty() => Cow::Owned(rest.to_owned()),
        Some((_, rest)) => Cow::Owned(format!("{scheme}://{rest}")),
    }
}

/// True if printing the text has no effect but to show glyphs.
pub fn is_safe(text: &str) -> bool {
    matches!(clean(text), Cow::Borrowed(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_url_is_shown_without_credentials() {
        for (url, shown) in [
            ("https://h:1/x", "https://h:1/x"),
            ("https://u:p@h:1/x", "https://h:1/x"),
            ("https://u:p/a@s@h:1/x", "https://h:1/x"),
            ("u:p@h:1", "h:1"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }

    #[test]
    fn controls_become_visible_marks() {
        assert_eq!(clean("\u{1b}[2Jx\u{7}"), "␛[2Jx␇");
        assert_eq!(clean("a\u{9b}31mb"), "a�31mb");
        assert_eq!(clean("safe\u{202e}exe"), "safe¤exe");
        assert_eq!(clean("plain … text"), "plain … text");
        assert_eq!(clean_lines("a\r\nb\x1b"), "a\nb␛");
    }

    #[test]
    fn every_script_and_every_emoji_stays_readable() {
        for text in [
            "⚠️ disk low",
            "cafe\u{301} closed",
            "ไม่พบไฟล์ที่ต้องการ",
            "फ़ाइल नहीं मिली",
            "क्\u{200d}ष",
            "👩\u{200d}🚀 launched",
            "👩🏽\u{200d}🚀 👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}\u{200d}🔥",
            "שָׁלוֹם",
            "🇩🇪 region",
            "1\u{fe0f}\u{20e3} step",
            "الملف غير موجود",
            "مُحَمَّد",
            "می\u{200c}خواهم",
            "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}",
            "Việt Nam ế",
            "日本語 и кириллица",
            "தமிழ் ಕನ್ನಡ བོད་ཡིག မြန်မာ ខ្មែរ",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn what_is_invisible_or_belongs_to_nothing_becomes_a_mark() {
        for (text, want) in [
            ("pay\u{200b}ments", "pay¤ments"),
            ("pay\u{200d}ments", "pay¤ments"),
            ("pay\u{200c}ments", "pay¤ments"),
            ("می\u{200c}", "می¤"),
            ("a\u{fe0f}b", "a¤b"),
            ("\u{301}x", "¤x"),
            ("x \u{301}", "x ¤"),
            ("\u{202e}\u{301}", "¤¤"),
            ("x\u{feff}\u{ad}\u{3164}", "x¤¤¤"),
            ("👩\u{200d}x", "👩¤x"),
            ("x\u{e0041}", "x¤"),
        ] {
            assert_eq!(clean(text), want, "{text:?}");
        }
        let zalgo: String = std::iter::once('z').chain(std::iter::repeat_n('\u{301}', 40)).collect();
        let shown = clean(&zalgo);
        assert_eq!(shown.matches('\u{301}').count(), MOST_MARKS);
        assert_eq!(shown.matches('¤').count(), 40 - MOST_MARKS, "what was written is evidence");
    }

    #[test]
    fn sequences_of_terminals_go() {
        for (text, want) in [
            ("\x1b[31mERROR\x1b[0m payment", "ERROR payment"),
            ("\x1b[38;5;196m\x1b[1merror\x1b[22m\x1b[39m: x", "error: x"),
            ("\x1b[38:2::1:2:3mred\x1b[m", "red"),
            ("\u{9b}31mred\u{9b}0m", "red"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1bP1$r0m\x1b\\text", "text"),
            ("\x1b(Btext\x1b=", "text"),
            ("\x1b[2K\x1b[1Gprogress", "progress"),
            ("50%\x1b[", "50%\x1b["),
            ("cut \x1b[38;5", "cut \x1b[38;5"),
            ("never \x1b]0;closed", "never \x1b]0;closed"),
            ("\x1b", "\x1b"),
            ("no colour", "no colour"),
        ] {
            assert_eq!(strip_ansi(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_line_of_beginnings_is_read_once() {
        // without `unended`, each one would be searched to the end of the line, 10^11 characters in all
        let line = "\x1b]0;\x1bP".repeat(200_000);
        assert_eq!(strip_ansi(&line), line);
    }

    #[test]
    fn of_many_names_the_first_three() {
        for (names, want) in [
            (&[][..], ""),
            (&["a"], "a"),
            (&["a", "b", "c", "d"], "a, b, c, d"),
            (&["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
        ] {
            assert_eq!(few(names), want);
        }
    }

    #[test]
    fn caps_at_a_character() {
        assert_eq!(cap("ééé", 3), "é… +4 bytes");
        assert_eq!(cap("abc", 3), "abc");
    }

    #[test]
    fn a_joiner_needs_a_letter_that_stays() {
        let text = "a\u{94d}\u{301}\u{94d}\u{200c}\u{94d}";
        assert!(is_safe(&clean(text)), "{:?}", clean(text));
        assert_eq!(clean("র\u{200d}\u{9cd}যাব"), "র\u{200d}\u{9cd}যাব");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_survives(text in any::<String>()) {
            prop_assert!(is_safe(&clean(&text)));
        }

        #[test]
        fn marks_and_joiners_too(text in "[a\u{301}\u{200d}\u{200c}\u{fe0f}\u{915}\u{94d}\u{1f469}\u{1f680}¤ \u{202e}\u{e41}]{0,24}") {
            let once = clean(&text);
            prop_assert!(is_safe(&once), "{:?}", once);
            prop_assert_eq!(strip_ansi(&once), once.as_ref());
        }

        #[test]
        fn bytes_too(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(is_safe(&clean(&String::from_utf8_lossy(&bytes))));
        }
    }
}
