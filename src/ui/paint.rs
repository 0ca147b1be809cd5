//! Turns a finished frame into bytes: only the cells that differ from the previous frame, in one buffer and one write.
//! Without a difference there are no bytes.
//!
//! This is our own writer, not a backend: the sixteen colours are sent as 30-37 and 90-97 (which follow the user's
//! palette in every terminal), nothing is reset that was not set, and the terminal is never asked anything.

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

/// Knows the current content of the screen.
#[derive(Debug, Default)]
pub struct Painter {
    shown: Option<Buffer>,
    cursor: Option<(u16, u16)>,
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
        let mut out = String::new();
        let whole = self.shown.as_ref().is_none_or(|shown| shown.area != next.area);
        let before = match self.shown.take() {
            Some(shown) if !whole => shown,
            _ => Buffer::empty(next.area),
        };
        let mut pen = Pen::default();
        for (x, y, cell) in before.diff_iter(&next) {
            pen.put(&mut out, x, y, cell);
        }
        let drew = !out.is_empty();
        pen.end(&mut out);
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

#[derive(Default)]
struct Pen {
    at: Option<(u16, u16)>,
    style: Option<(Color, Color, Modifier)>,
}

impl Pen {
    fn put(&mut self, out: &mut String, x: u16, y: u16, cell: &Cell) {
        if self.at != Some((x, y)) {
            move_to(out, self.at, x, y);
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
    fn sixteen_colours_go_out_as_such() {
        let mut out = String::new();
        sgr(&mut out, (Color::LightRed, Color::Blue, Modifier::BOLD));
        assert_eq!(out, "\x1b[0;1;91;44m");
    }
}
