//! Draws a log: the number of lines over time, the lines, and notes about containers.

use pilothouse_core::facts::world::World;
use ratatui::layout::Rect;

use super::super::app::{LogView, SeenText, Ui};
use super::super::cell::Cell;
use super::super::present::tail;
use super::super::theme::Role;
use super::canvas::Canvas;
use super::list::{self, Chrome};

/// Draws the log. Returns the sizes.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, log: &LogView, ui: &Ui, world: &World) -> SeenText {
    let inner = list::inside(area, Chrome::Frame);
    let size = (usize::from(inner.width), usize::from(inner.height));
    let cluster = world.cluster(log.request.object.cluster);
    let view = tail::view(log, cluster.map(|cluster| &**cluster), ui.now, ui.zone, size);
    list::draw(canvas, area, &view.chrome, Chrome::Frame, false);
    let seen = SeenText { page: view.page, top: view.top, step: view.step, ..SeenText::default() };
    if view.rows.is_empty() && view.notes.is_empty() {
        return seen;
    }
    canvas.clear(inner);
    let mut y = inner.y;
    for cells in &view.bars {
        parts(canvas, inner, y, cells);
        y += 1;
    }
    for row in &view.rows {
        if y >= inner.bottom() {
            break;
        }
        parts(canvas, inner, y, &row.parts);
        if row.selected {
            canvas.cover(Rect { y, height: 1, ..inner }, Role::Selected);
        }
        y += 1;
    }
    for (y, words) in (y..inner.bottom()).zip(&view.notes) {
        canvas.put(inner.x + 1, y, inner.width.saturating_sub(1), Role::Warning, words);
    }
    seen
}

/// Writes parts next to each other.
fn parts(canvas: &mut Canvas<'_>, area: Rect, y: u16, parts: &[Cell]) {
    let mut x = area.x;
    for part in parts {
        x = canvas.put(x, y, area.right().saturating_sub(x), part.role, &part.text);
    }
}
