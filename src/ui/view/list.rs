//! A list in its frame: title, column heads, rows, footer.

use ratatui::layout::Rect;

use super::super::mouse::Spot;
use super::super::present::{Cell, ListView, cell};
use super::super::theme::Role;
use super::super::widget::columns::{Placed, place};
use super::super::widget::text;
use super::canvas::{Canvas, width_of};

/// Whether a list stands in a frame or under a single rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chrome {
    Frame,
    Rule,
}

/// How many rows fit into an area.
pub fn room(area: Rect, chrome: Chrome, heads: bool) -> usize {
    let lost = match chrome {
        Chrome::Frame => 2,
        Chrome::Rule => 1,
    };
    usize::from(area.height.saturating_sub(lost + u16::from(heads)))
}

/// Draws it.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, view: &ListView, chrome: Chrome, heads: bool) {
    if let Some(id) = view.id {
        canvas.spot(area, Spot::List(id));
    }
    let border = if view.focused { Role::BorderFocus } else { Role::Border };
    let mut title: Vec<Cell> = Vec::new();
    if let Some(key) = view.key {
        title.push(cell(Role::Key, key.to_string()));
    }
    title.push(cell(if view.focused { Role::TitleFocus } else { Role::Title }, view.title.as_str()));
    title.extend(view.notes.iter().cloned());
    let inner = match chrome {
        Chrome::Frame => {
            canvas.frame(area, border);
            on_edge(canvas, area, area.top(), &title);
            if area.height > 1 {
                on_edge(canvas, area, area.bottom() - 1, &view.footer);
            }
            Rect::new(area.x + 1, area.y + 1, area.width.saturating_sub(2), area.height.saturating_sub(2))
        }
        Chrome::Rule => {
            canvas.put(area.x, area.y, area.width, border, &"─".repeat(usize::from(area.width)));
            on_edge(canvas, area, area.top(), &title);
            // the footer at the right end of the rule, if there is room beside the title
            let (left, right) = (width_of(&title) + 5, width_of(&view.footer) + 3);
            if !view.footer.is_empty() && left + right <= area.width {
                let x = area.right() - right;
                canvas.clear(Rect::new(x, area.y, right - 1, 1));
                canvas.cells(x + 1, area.y, area.right() - 1, &view.footer);
            }
            Rect::new(area.x, area.y + 1, area.width, area.height.saturating_sub(1))
        }
    };
    if view.rows.is_empty() {
        return empty(canvas, inner, &view.empty);
    }
    rows(canvas, inner, view, heads);
}

/// Words in an edge, with a blank on both sides.
fn on_edge(canvas: &mut Canvas<'_>, area: Rect, y: u16, cells: &[Cell]) {
    if cells.is_empty() || area.width < 6 {
        return;
    }
    let right = area.right().saturating_sub(2);
    let wide = width_of(cells).saturating_add(2).min(right + 1 - (area.x + 1));
    canvas.clear(Rect::new(area.x + 1, y, wide, 1));
    canvas.cells(area.x + 2, y, right, cells);
}

fn empty(canvas: &mut Canvas<'_>, area: Rect, words: &[Cell]) {
    let mut y = area.y;
    for cell in words {
        for line in text::wrap(&cell.text, usize::from(area.width.saturating_sub(2))) {
            if y >= area.bottom() {
                return;
            }
            canvas.put(area.x + 1, y, area.width.saturating_sub(2), cell.role, &line);
            y += 1;
        }
    }
}

fn rows(canvas: &mut Canvas<'_>, area: Rect, view: &ListView, heads: bool) {
    let widest = |i: usize| {
        let head = view.heads.get(i).map_or(0, |h| text::width(h));
        view.rows
            .iter()
            .filter_map(|r| r.cells.get(i))
            .map(|c| text::width(&c.text))
            .max()
            .unwrap_or(0)
            .max(head)
    };
    // two cells for the glyph
    let placed = place(&view.columns, area.width.saturating_sub(2), &widest);
    let mut y = area.y;
    if heads && area.height > 1 {
        for p in &placed {
            if let Some(column) = view.columns.get(p.index) {
                let mark = view.ordered.filter(|(at, _)| *at == p.index).map_or("", |(_, mark)| mark);
                let head = view.heads.get(p.index).map_or(column.head_in(p.width), String::as_str);
                write(canvas, area, y, p, column.right, false, Role::Head, head);
                // in the gap beside the head, which is not cut for it
                let wide = u16::try_from(text::width(head)).unwrap_or(p.width).min(p.width);
                let at = if column.right { (p.x + p.width).checked_sub(wide + 1) } else { Some(p.x + wide) };
                if let Some(x) = at.map(|at| area.x + 2 + at).filter(|x| *x < area.right()) {
                    canvas.put(x, y, 1, Role::Head, mark);
                }
            }
        }
        y += 1;
    }
    for (i, row) in view.rows.iter().enumerate() {
        if y >= area.bottom() {
            break;
        }
        let (glyph, role) =
            if row.marked { ("+", Role::Marked) } else { (row.grade.glyph(), row.grade.role()) };
        canvas.put(area.x, y, 1, role, glyph);
        for p in &placed {
            if let (Some(column), Some(cell)) = (view.columns.get(p.index), row.cells.get(p.index)) {
                let role = if row.marked && p.index == 0 { Role::Marked } else { cell.role };
                write(canvas, area, y, p, column.right, column.tail, role, &cell.text);
            }
        }
        if let Some(id) = view.id {
            canvas.spot(Rect::new(area.x, y, area.width, 1), Spot::Row(id, view.above + i));
        }
        if view.selected == Some(i) {
            let role = if view.focused { Role::Selected } else { Role::SelectedDim };
            if view.focused {
                canvas.cover(Rect::new(area.x, y, area.width, 1), role);
            }
        }
        y += 1;
    }
}

#[allow(clippy::too_many_arguments)]
fn write(
    canvas: &mut Canvas<'_>,
    area: Rect,
    y: u16,
    p: &Placed,
    right: bool,
    tail: bool,
    role: Role,
    words: &str,
) {
    let cells = usize::from(p.width);
    let shown = if tail { text::tail(words, cells) } else { text::head(words, cells) };
    let pad = if right { p.width.saturating_sub(u16::try_from(text::width(&shown)).unwrap_or(0)) } else { 0 };
    canvas.put(area.x + 2 + p.x + pad, y, p.width.saturating_sub(pad), role, &shown);
}
