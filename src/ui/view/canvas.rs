//! A canvas of cells. Text is written with a role and never past an edge.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::symbols::Marker;
use ratatui::widgets::Widget as _;
use ratatui::widgets::canvas::{Canvas as Dots, Context};

use super::super::app::Seen;
use super::super::cell::Cell;
use super::super::mouse::Spot;
use super::super::theme::{Role, Theme};
use super::super::widget::link::Link;
use super::super::widget::text;

/// The area in which views draw.
pub(super) struct Canvas<'t> {
    buffer: Buffer,
    theme: &'t Theme,
    /// Whether only ASCII is shown. Characters that need two ASCII characters are replaced before they are written.
    pub ascii: bool,
    /// How the lines of plots are drawn.
    pub marker: Marker,
    pub cursor: Option<(u16, u16)>,
    /// The sizes and positions of the frame so far.
    pub seen: Seen,
}

impl<'t> Canvas<'t> {
    pub(super) fn new(area: Rect, theme: &'t Theme, ascii: bool) -> Self {
        let (buffer, marker) = (Buffer::empty(area), Marker::Braille);
        Self { buffer, theme, ascii, marker, cursor: None, seen: Seen::default() }
    }

    pub(super) fn finish(self) -> (Buffer, Option<(u16, u16)>, Seen) {
        (self.buffer, self.cursor, self.seen)
    }

    /// Marks an area that the mouse can act on.
    pub(super) fn spot(&mut self, area: Rect, spot: Spot) {
        self.seen.spots.push(((area.x, area.y), (area.width, area.height), spot));
    }

    /// Writes text within `max` cells. Returns the next cell.
    pub(super) fn put(&mut self, x: u16, y: u16, max: u16, role: Role, words: &str) -> u16 {
        let area = self.buffer.area;
        if y >= area.bottom() || x >= area.right() || max == 0 {
            return x;
        }
        let style = self.theme.style(role);
        let cells = usize::from(max.min(area.right() - x));
        let shown = if self.ascii { text::head(&spelled(words), cells) } else { text::head(words, cells) };
        self.buffer.set_stringn(x, y, shown, usize::from(max), style).0
    }

    /// Says that a text leads to a URL.
    pub(super) fn link(&mut self, x: u16, y: u16, text: &str, url: &str) {
        let (text, url) = (text.to_owned(), url.to_owned());
        self.seen.links.push(Link { x, y, text, url });
    }

    /// Returns the color of a role.
    pub(super) fn colour(&self, role: Role) -> Color {
        self.theme.style(role).fg.unwrap_or(Color::Reset)
    }

    /// Draws shapes with dots in an area whose edges are 0 and 1 in both directions, from the lower left corner.
    pub(super) fn dots(&mut self, area: Rect, paint: impl Fn(&mut Context<'_>)) {
        let area = area.intersection(self.buffer.area);
        if area.is_empty() {
            return;
        }
        let shapes =
            Dots::default().marker(self.marker).x_bounds([0.0, 1.0]).y_bounds([0.0, 1.0]).paint(paint);
        // what is already there stays where no dot is drawn
        let mut drawn = Buffer::empty(area);
        shapes.render(area, &mut drawn);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                if let (Some(from), Some(to)) = (drawn.cell((x, y)), self.buffer.cell_mut((x, y)))
                    && !matches!(from.symbol(), " " | "\u{2800}")
                {
                    *to = from.clone();
                }
            }
        }
    }

    /// Blanks an area.
    pub(super) fn clear(&mut self, area: Rect) {
        let area = area.intersection(self.buffer.area);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                }
            }
        }
    }

    /// Applies a role to an area, such as the selected row.
    pub(super) fn cover(&mut self, area: Rect, role: Role) {
        let style = self.theme.style(role);
        let area = area.intersection(self.buffer.area);
        if style.bg.is_some() || style.add_modifier.contains(ratatui::style::Modifier::REVERSED) {
            for y in area.top()..area.bottom() {
                for x in area.left()..area.right() {
                    if let Some(cell) = self.buffer.cell_mut((x, y)) {
                        // the whole row has one color, because mixed reversed colors cannot be read
                        cell.fg = ratatui::style::Color::Reset;
                        cell.bg = ratatui::style::Color::Reset;
                        cell.modifier = ratatui::style::Modifier::empty();
                    }
                }
            }
        }
        self.buffer.set_style(area, style);
    }

    /// Writes cells in a row, separated by spaces. The first one that does not fit is cut, and the rest is omitted.
    /// Returns the end.
    pub(super) fn cells(&mut self, mut x: u16, y: u16, right: u16, cells: &[Cell]) -> u16 {
        let start = x;
        for cell in cells.iter().filter(|c| !c.text.is_empty()) {
            let from = if x == start { x } else { x.saturating_add(1) };
            if from >= right {
                break;
            }
            x = self.put(from, y, right - from, cell.role, &cell.text);
        }
        x
    }

    /// Draws a frame with room for a title in its upper edge and a footer in its lower edge.
    pub(super) fn frame(&mut self, area: Rect, role: Role) {
        let area = area.intersection(self.buffer.area);
        if area.width < 2 || area.height < 2 {
            return;
        }
        let (left, right, top, bottom) = (area.left(), area.right() - 1, area.top(), area.bottom() - 1);
        let line = "─".repeat(usize::from(area.width - 2));
        self.put(left, top, 1, role, "╭");
        self.put(left + 1, top, area.width - 2, role, &line);
        self.put(right, top, 1, role, "╮");
        for y in top + 1..bottom {
            self.put(left, y, 1, role, "│");
            self.put(right, y, 1, role, "│");
        }
        self.put(left, bottom, 1, role, "╰");
        self.put(left + 1, bottom, area.width - 2, role, &line);
        self.put(right, bottom, 1, role, "╯");
    }
}

/// Replaces characters whose ASCII substitute of one character would change the meaning, such as `9>11` for an arrow.
pub(super) fn spelled(words: &str) -> std::borrow::Cow<'_, str> {
    if words.contains('→') { words.replace('→', "->").into() } else { words.into() }
}

/// Returns the width of a row of cells.
pub(super) fn width_of(cells: &[Cell]) -> u16 {
    let filled = cells.iter().filter(|c| !c.text.is_empty());
    let sum: usize = filled.clone().map(|c| text::width(&c.text)).sum();
    u16::try_from(sum + filled.count().saturating_sub(1)).unwrap_or(u16::MAX)
}
