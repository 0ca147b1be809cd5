//! Texts that fit into a number of cells.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr;

/// The width of a text in cells: the sum of its characters with their combining marks, each of which is drawn into its
/// own cells.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.graphemes(true).map(UnicodeWidthStr::width).sum() }
}

/// The start of a text, with `…` if it is cut.
pub fn head(text: &str, cells: usize) -> String {
    if cells == 0 {
        return String::new();
    }
    let (mut used, mut kept) = (0, 0);
    // only the part of a very long line that fits is examined
    for (at, part) in text.grapheme_indices(true) {
        used += part.width();
        if used > cells {
            return format!("{}…", text.get(..kept).unwrap_or_default());
        }
        if used < cells {
            kept = at + part.len();
        }
    }
    text.to_owned()
}

/// The end of a text, with `…` in front if it is cut, because names differ at their end.
pub fn tail(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    if cells == 0 {
        return String::new();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut used = 0;
    for part in text.graphemes(true).rev() {
        let w = part.width();
        if used + w + 1 > cells {
            break;
        }
        used += w;
        kept.push(part);
    }
    kept.push("…");
    kept.into_iter().rev().collect()
}

/// Both ends of a text, with `…` between them if it is cut; in a narrow place, the start.
pub fn middle(text: &str, cells: usize) -> String {
    const LITTLE: usize = 24;
    if cells < LITTLE || width(text) <= cells {
        return head(text, cells);
    }
    let before = cells * 3 / 5;
    let after = tail(text, cells - before + 1);
    let before = head(text, before);
    let before = before.trim_end_matches('…').trim_end();
    format!("{before}…{}", after.trim_start_matches('…').trim_start())
}

/// Lines of at most `cells`, broken at spaces where possible.
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(1);
    if width(text) <= cells {
        return vec![text.to_owned()];
    }
    // a glyph at the start belongs to the indent
    let mark = text.chars().next().is_some_and(|c| matches!(c, '✖' | '!' | '~'));
    let blanks = text.chars().skip(usize::from(mark)).take_while(|c| *c == ' ').count() + usize::from(mark);
    let indent = " ".repeat(if blanks > 1 || !mark { blanks.min(cells / 2) } else { 0 });
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let w = width(word);
        if used + width(word.trim_end()) > cells && !line.trim().is_empty() {
            lines.push(line.trim_end().to_owned());
            line.clone_from(&indent);
            used = width(&indent);
        }
        if used + width(word.trim_end()) <= cells {
            line.push_str(word);
            used += w;
            continue;
        }
        for part in word.graphemes(true) {
            let w = part.width();
            if used + w > cells {
                if !line.trim().is_empty() {
                    lines.push(line.trim_end().to_owned());
                }
                // an indent that leaves no room for a character is ignored
                line = if width(&indent) + w <= cells { indent.clone() } else { String::new() };
                used = width(&line);
            }
            line.push_str(part);
            used += w;
        }
    }
    if !line.trim().is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// `1 pod`, `3 pods`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{} {noun}s", grouped(n as u64)) }
}

/// `48,200`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A trend as bars of eight heights, the newest on the right, at most `cells` of it.
pub fn trend(values: &[u32], cells: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let from = values.len().saturating_sub(cells);
    let shown = values.get(from..).unwrap_or_default();
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    shown
        .iter()
        .map(|v| {
            let height = (u64::from(*v) * 7).div_ceil(u64::from(most));
            BARS.get(usize::try_from(height).unwrap_or(7)).copied().unwrap_or('█')
        })
        .collect()
}

/// A meter of `cells`: the used part, the part that is reserved beyond that, and the rest.
pub fn meter(used: i64, taken: i64, whole: i64, cells: usize) -> String {
    let of = |part: i64| {
        let whole = i128::from(whole.max(1));
        let scaled = (i128::from(part.max(0)) * cells as i128 + whole / 2) / whole;
        usize::try_from(scaled).unwrap_or(cells).min(cells)
    };
    let used = of(used).max(usize::from(used > 0)).min(cells);
    let taken = of(taken).max(used);
    format!("{}{}{}", "■".repeat(used), "□".repeat(taken - used), "·".repeat(cells - taken))
}

/// A meter in fewer cells: its first cell, and the cell at the middle of each further part.
pub fn scale(meter: &str, cells: usize) -> String {
    let whole: Vec<char> = meter.chars().collect();
    if whole.len() <= cells {
        return meter.to_owned();
    }
    let at = |i: usize| if i == 0 { 0 } else { (2 * i + 1) * whole.len() / (2 * cells.max(1)) };
    (0..cells).filter_map(|i| whole.get(at(i))).collect()
}

/// True if `text` contains `needle`, which is in lower case; ASCII letters compare without case.
pub fn contains_fold(text: &str, needle: &str) -> bool {
    let (text, needle) = (text.as_bytes(), needle.as_bytes());
    let Some(first) = needle.first() else { return true };
    memchr::memchr2_iter(*first, first.to_ascii_uppercase(), text)
        .any(|at| text.get(at..at + needle.len()).is_some_and(|part| part.eq_ignore_ascii_case(needle)))
}

/// The ranges of bytes where `text` contains `needle`, which is in lower case; ASCII letters compare without case.
pub fn places_fold(text: &str, needle: &str) -> Vec<std::ops::Range<usize>> {
    let Some(first) = needle.bytes().next() else { return Vec::new() };
    let bytes = text.as_bytes();
    let found = memchr::memchr2_iter(first, first.to_ascii_uppercase(), bytes).filter(|at| {
        let part = bytes.get(*at..*at + needle.len());
        part.is_some_and(|part| part.eq_ignore_ascii_case(needle.as_bytes()))
    });
    // a needle of whole characters begins and ends between characters
    found.map(|at| at..at + needle.len()).filter(|range| text.get(range.clone()).is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_part_that_tells() {
        assert_eq!(tail("ip-10-0-3-117-x7kq", 6), "…-x7kq");
        assert_eq!(head("connection reset", 6), "conne…");
        assert_eq!(tail("short", 6), "short");
        let message = "0/12 nodes are available: 4 node(s) had untolerated taints, 8 Insufficient memory";
        assert_eq!(middle(message, 40), "0/12 nodes are availabl…ufficient memory");
        assert_eq!(middle(message, 12), "0/12 nodes …");
        assert_eq!(middle(message, 200), message);
        assert_eq!(tail("日本語", 4), "…語");
        assert_eq!(head("x", 0), "");
        assert_eq!(head("abc", 3), "abc");
        assert_eq!(head("日本語", 5), "日本…");
        assert_eq!(head("日本語", 4), "日…");
    }

    #[test]
    fn wraps_at_spaces() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("", 4), [""]);
        for cells in 0..12 {
            for line in wrap("  some words of日本 various lengthsssssssssss here", cells) {
                assert!(width(&line) <= cells.max(2), "{cells}: {line:?}");
            }
        }
    }

    #[test]
    fn marks_stay_with_their_letters_and_wide_ones_count_two() {
        assert_eq!(head("cafe\u{301} closed", 5), "cafe\u{301}…");
        assert_eq!(tail("cafe\u{301}s", 3), "…e\u{301}s");
        for (text, cells) in [
            ("e\u{301}", 1),
            ("⚠\u{fe0f}", 2),
            ("👩\u{200d}🚀", 2),
            ("🇩🇪", 2),
            ("שָׁלוֹם", 4),
            ("ไม่พบ", 4),
            ("\u{1112}\u{1161}\u{11ab}", 2),
            ("لا", 2),
        ] {
            assert_eq!(width(text), cells, "{text}");
        }
        for line in wrap("👩\u{200d}🚀👩\u{200d}🚀👩\u{200d}🚀 cafe\u{301}cafe\u{301}", 4) {
            assert!(width(&line) <= 4 && !line.starts_with(['\u{200d}', '\u{301}']), "{line:?}");
        }
    }

    #[test]
    fn numbers_and_trends() {
        assert_eq!(grouped(150_000), "150,000");
        assert_eq!(grouped(999), "999");
        assert_eq!(trend(&[0, 1, 7], 3), "▁▂█");
        assert_eq!(trend(&[], 3), "");
        assert_eq!(meter(3, 6, 10, 10), "■■■□□□····");
        assert_eq!(meter(1, 0, 1000, 4), "■···", "a little is not nothing");
        assert_eq!(meter(0, 0, 0, 4), "····");
        assert_eq!(meter(i64::MAX, 0, 1, 4), "■■■■");
        assert_eq!(scale(&meter(20, 30, 40, 40), 8), "■■■■□□··");
        assert_eq!(scale(&meter(1, 0, 40, 40), 4), "■···");
        assert_eq!(scale("■·", 8), "■·");
        assert_eq!(scale("■·", 0), "");
        assert!(contains_fold("CrashLoopBackOff", "backoff"));
        assert_eq!(places_fold("Abc abé", "ab"), [0..2, 4..6]);
        assert!(places_fold("abc", "").is_empty());
    }
}
