//! Turns a finished frame into bytes: only the cells that differ from the previous frame, in one buffer and one write.
//! Without a difference there are no bytes.
//!
//! This is our own writer, not a backend: the sixteen colours are sent as 30-37 and 90-97 (which follow the user's
//! palette in every terminal), nothing is reset that was not set, and the terminal is never asked anything.

use std::collections::BTreeMap;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

use super::widget::link::Link;

/// Knows the current content of the screen.
#[derive(Debug, Default)]
pub struct Painter {
    shown: Option<Buffer>,
    cursor: Option<(u16, u16)>,
    /// Whether the terminal knows hyperlinks.
    pub hyperlinks: bool,
    /// The hyperlinks on the screen.
    links: Vec<Link>,
}

const ATTRIBUTES: [(Modifier, u8); 5] = [
    (Modifier::BOLD, 1),
    (Modifier::DIM, 2),
    (Modifier::ITALIC, 3),
    (Modifier::UNDERLINED, 4),
    (Modifier::REVERSED, 7),
];

impl Painter {
    /// Forgets the content of the screen, so the next frame is painted completely.
    pub fn forget(&mut self) {
        self.shown = None;
    }

    /// The bytes that turn the screen into `next`; None if there is no difference.
    pub fn paint(&mut self, next: Buffer, cursor: Option<(u16, u16)>) -> Option<Vec<u8>> {
        self.paint_linked(next, cursor, Vec::new())
    }

    /// The same for a frame with hyperlinks. A link whose text is not in the frame is left out.
    pub fn paint_linked(
        &mut self,
        next: Buffer,
        cursor: Option<(u16, u16)>,
        mut links: Vec<Link>,
    ) -> Option<Vec<u8>> {
        links.retain(|link| self.hyperlinks && link.is_drawn(&next));
        let mut out = String::new();
        let whole = self.shown.as_ref().is_none_or(|shown| shown.area != next.area);
        let before = match self.shown.take() {
            Some(shown) if !whole => shown,
            _ => Buffer::empty(next.area),
        };
        let held = std::mem::take(&mut self.links);
        let held = if whole { Vec::new() } else { held };
        let mut pen = Pen::default();
        if held == links {
            for (x, y, cell) in before.diff_iter(&next) {
                pen.put(&mut out, x, y, cell, url_at(&links, x, y));
            }
        } else {
            // cells that only got or lost a link differ too
            let mut cells: BTreeMap<(u16, u16), &Cell> = BTreeMap::new();
            let gone = held.iter().filter(|link| !links.contains(link));
            for link in gone.chain(links.iter().filter(|link| !held.contains(link))) {
                cells.extend(cells_of(&next, link));
            }
            cells.extend(before.diff_iter(&next).map(|(x, y, cell)| ((y, x), cell)));
            for ((y, x), cell) in cells {
                pen.put(&mut out, x, y, cell, url_at(&links, x, y));
            }
        }
        let drew = !out.is_empty();
        pen.end(&mut out);
        self.links = links;
        if let Some((x, y)) = cursor
            && (drew || self.cursor != cursor || whole)
        {
            add(&mut out, format_args!("\x1b[{};{}H", y + 1, x + 1));
        }
        if self.cursor.is_some() != cursor.is_some() || whole {
            out.push_str(if cursor.is_some() { "\x1b[?25h" } else { "\x1b[?25l" });
        }
        self.cursor = cursor;
        self.shown = Some(next);
        if whole {
            out.insert_str(0, "\x1b[0m\x1b[2J");
        }
        (!out.is_empty()).then(|| format!("\x1b[?2026h{out}\x1b[?2026l").into_bytes())
    }

    /// The current content of the screen.
    pub fn shown(&self) -> Option<&Buffer> {
        self.shown.as_ref()
    }
}

fn url_at(links: &[Link], x: u16, y: u16) -> Option<&str> {
    links.iter().find(|link| link.has(x, y)).map(|link| link.url.as_str())
}

/// The cells at the place of a link. The second cell of a wide character is none.
fn cells_of<'b>(frame: &'b Buffer, link: &Link) -> Vec<((u16, u16), &'b Cell)> {
    let mut cells = Vec::new();
    let mut x = 0;
    while let Some(cell) = frame.cell((x, link.y)) {
        if link.has(x, link.y) {
            cells.push(((link.y, x), cell));
        }
        let width = super::widget::text::width(cell.symbol()).max(1);
        x = x.saturating_add(u16::try_from(width).unwrap_or(1));
    }
    cells
}

#[derive(Default)]
struct Pen<'l> {
    at: Option<(u16, u16)>,
    style: Option<(Color, Color, Modifier)>,
    /// The URL of the open hyperlink.
    url: Option<&'l str>,
}

impl<'l> Pen<'l> {
    fn put(&mut self, out: &mut String, x: u16, y: u16, cell: &Cell, url: Option<&'l str>) {
        if self.at != Some((x, y)) {
            move_to(out, self.at, x, y);
        }
        if self.url != url {
            add(out, format_args!("\x1b]8;;{}\x1b\\", url.unwrap_or_default()));
            self.url = url;
        }
        let style = (cell.fg, cell.bg, cell.modifier);
        if self.style.unwrap_or_default() != style {
            sgr(out, style);
            self.style = Some(style);
        }
        out.push_str(cell.symbol());
        // only after a single character of one cell do all terminals agree on the position of the cursor
        let certain = cell.symbol().chars().count() == 1 && super::widget::text::width(cell.symbol()) == 1;
        self.at = certain.then_some((x + 1, y));
    }

    fn end(&self, out: &mut String) {
        if self.url.is_some() {
            out.push_str("\x1b]8;;\x1b\\");
        }
        if self.style.is_some_and(|style| style != Default::default()) {
            out.push_str("\x1b[0m");
        }
    }
}

/// Writes everything into a String.
fn add(out: &mut String, words: std::fmt::Arguments<'_>) {
    if std::fmt::Write::write_fmt(out, words).is_err() {
        out.clear();
    }
}

fn move_to(out: &mut String, at: Option<(u16, u16)>, x: u16, y: u16) {
    match at {
        Some((from, row)) if row == y && x > from && x - from == 1 => out.push_str("\x1b[C"),
        Some((from, row)) if row == y && x > from => add(out, format_args!("\x1b[{}C", x - from)),
        _ if x == 0 => add(out, format_args!("\x1b[{}H", y + 1)),
        _ => add(out, format_args!("\x1b[{};{}H", y + 1, x + 1)),
    }
}

fn sgr(out: &mut String, (fg, bg, modifier): (Color, Color, Modifier)) {
    out.push_str("\x1b[0");
    for (attribute, code) in ATTRIBUTES {
        if modifier.contains(attribute) {
            add(out, format_args!(";{code}"));
        }
    }
    color(out, fg, 30);
    color(out, bg, 40);
    out.push('m');
}

fn color(out: &mut String, color: Color, base: u8) {
    let index = match color {
        Color::Reset => return,
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 60,
        Color::LightRed => 61,
        Color::LightGreen => 62,
        Color::LightYellow => 63,
        Color::LightBlue => 64,
        Color::LightMagenta => 65,
        Color::LightCyan => 66,
        Color::White => 67,
        Color::Indexed(n) => return add(out, format_args!(";{};5;{n}", base + 8)),
        Color::Rgb(r, g, b) => return add(out, format_args!(";{};2;{r};{g};{b}", base + 8)),
    };
    add(out, format_args!(";{}", base + index));
}

/// The frame as text, for the screen dump, without trailing spaces.
pub fn text_of(buffer: &Buffer) -> String {
    let Rect { width, height, .. } = buffer.area;
    let mut out = String::new();
    for y in 0..height {
        let mut line = String::new();
        let mut skip = 0;
        for x in 0..width {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if let Some(cell) = buffer.cell((x, y)) {
                line.push_str(cell.symbol());
                skip = super::widget::text::width(cell.symbol()).saturating_sub(1);
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    fn frame(text: &str) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 10, 2));
        buffer.set_string(0, 1, text, Style::default());
        buffer
    }

    #[test]
    fn nothing_changed_writes_nothing() {
        let mut painter = Painter::default();
        assert!(painter.paint(frame("abc"), None).is_some());
        assert_eq!(painter.paint(frame("abc"), None), None);
    }

    #[test]
    fn only_what_differs_is_written() {
        let mut painter = Painter::default();
        painter.paint(frame("abcdef"), None);
        let bytes = painter.paint(frame("abXdeY"), None).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "\x1b[?2026h\x1b[2;3HX\x1b[2CY\x1b[?2026l");
    }

    #[test]
    fn what_follows_a_character_of_uncertain_width_is_placed() {
        let mut painter = Painter::default();
        painter.paint(frame(""), None);
        let bytes = painter.paint(frame("e\u{301}x⚠\u{fe0f}y"), None).unwrap();
        let want = "\x1b[?2026h\x1b[2He\u{301}\x1b[2;2Hx⚠\u{fe0f}\x1b[2;5Hy\x1b[?2026l";
        assert_eq!(String::from_utf8(bytes).unwrap(), want);
    }

    #[test]
    fn another_size_paints_all() {
        let mut painter = Painter::default();
        painter.paint(frame("abc"), None);
        let next = Buffer::empty(Rect::new(0, 0, 5, 1));
        let bytes = painter.paint(next, None).unwrap();
        assert!(String::from_utf8(bytes).unwrap().contains("\x1b[2J"));
    }

    #[test]
    fn hyperlinks_are_around_their_cells_and_change_without_them() {
        let link = |x: u16, url: &str| Link { x, y: 1, text: "abc".into(), url: url.into() };
        let text =
            |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default();
        let mut painter = Painter { hyperlinks: true, ..Painter::default() };
        let first = text(painter.paint_linked(frame("xabcx"), None, vec![link(1, "https://a")]));
        assert!(first.contains("x\x1b]8;;https://a\x1b\\abc\x1b]8;;\x1b\\x"), "{first:?}");
        // the same frame again is nothing, and one cell of the link is one link
        assert_eq!(painter.paint_linked(frame("xabcx"), None, vec![link(1, "https://a")]), None);
        // only the URL changes: exactly its cells are written again
        let other = text(painter.paint_linked(frame("xabcx"), None, vec![link(1, "https://b")]));
        assert_eq!(other, "\x1b[?2026h\x1b[2;2H\x1b]8;;https://b\x1b\\abc\x1b]8;;\x1b\\\x1b[?2026l");
        // without it, they are written without
        let gone = text(painter.paint_linked(frame("xabcx"), None, Vec::new()));
        assert_eq!(gone, "\x1b[?2026h\x1b[2;2Habc\x1b[?2026l");
        // another text at its place is no link, and neither is a URL with a control character
        let over = text(painter.paint_linked(frame("xaXcx"), None, vec![link(1, "https://a")]));
        assert_eq!(over, "\x1b[?2026h\x1b[2;3HX\x1b[?2026l");
        let bad = text(painter.paint_linked(frame("xabcx"), None, vec![link(1, "https://a\u{1b}\\evil")]));
        assert_eq!(bad, "\x1b[?2026h\x1b[2;3Hb\x1b[?2026l");
        // a terminal that does not know them gets none
        let mut plain = Painter::default();
        let none = text(plain.paint_linked(frame("xabcx"), None, vec![link(1, "https://a")]));
        assert!(!none.contains("]8;"), "{none:?}");
    }

    #[test]
    fn a_wide_character_where_a_link_was_stays_whole() {
        let mut painter = Painter { hyperlinks: true, ..Painter::default() };
        let link = Link { x: 1, y: 1, text: "abc".into(), url: "https://a".into() };
        painter.paint_linked(frame("xabcx"), None, vec![link]);
        let next = String::from_utf8(painter.paint(frame("界界x"), None).unwrap()).unwrap();
        assert_eq!(next.matches('界').count(), 2, "{next:?}");
        assert!(!next.contains("]8;"), "{next:?}");
    }

    #[test]
    fn sixteen_colours_go_out_as_such() {
        let mut out = String::new();
        sgr(&mut out, (Color::LightRed, Color::Blue, Modifier::BOLD));
        assert_eq!(out, "\x1b[0;1;91;44m");
    }
}
