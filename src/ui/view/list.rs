//! Draws a list in its frame: title, column headers, rows and footer.

use std::ops::Range;

use ratatui::layout::Rect;

use super::super::cell::{Cell, ListView, cell};
use super::super::mouse::Spot;
use super::super::theme::Role;
use super::super::widget::columns::{Column, Cut};
use super::super::widget::text;
use super::canvas::{self, Canvas, width_of};
use super::row::{self, Layout};

/// Whether a list has a frame or only a rule above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chrome {
    Frame,
    Rule,
}

/// Returns the number of rows that fit into an area.
pub(super) fn room(area: Rect, chrome: Chrome, heads: bool) -> usize {
    let lost = match chrome {
        Chrome::Frame => 2,
        Chrome::Rule => 1,
    };
    usize::from(area.height.saturating_sub(lost + u16::from(heads)))
}

/// Describes how many rows are not visible.
fn more(view: &ListView) -> Vec<Cell> {
    match (view.above, view.hidden()) {
        (_, 0) => Vec::new(),
        (_, more) => vec![cell(Role::Info, format!("+{} more", text::grouped(more as u64)))],
    }
}

/// Removes rows so that the remaining ones, including the selected one, fit with their whole text.
fn shorten(view: &mut ListView, area: Rect) {
    let layout = Layout::new(&view.columns, &view.heads, &view.rows, area.width);
    let (from, count) = layout.whole(view.selected.unwrap_or(0), usize::from(area.height));
    view.rows.drain(..from.min(view.rows.len()));
    view.rows.truncate(count);
    view.above += from;
    view.selected = view.selected.map(|at| at.saturating_sub(from));
}

/// What was drawn of a list.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    /// The columns that fit, by their index.
    pub columns: Vec<usize>,
    /// The rows, by their index among all rows.
    pub rows: Range<usize>,
}

/// Draws the list.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    area: Rect,
    view: &ListView,
    chrome: Chrome,
    heads: bool,
) -> Drawn {
    let mut view = view.clone();
    if canvas.ascii {
        let cells = view.rows.iter_mut().flat_map(|r| r.cells.iter_mut().chain(r.below.iter_mut()));
        for cell in cells {
            cell.text = canvas::spelled(&cell.text).into_owned();
        }
    }
    if view.whole {
        shorten(&mut view, inside(area, chrome));
    }
    let view = &view;
    if let Some(id) = view.id {
        canvas.spot(area, Spot::List(id));
    }
    let border = if view.focused { Role::BorderFocus } else { Role::Border };
    let mut title: Vec<Cell> = Vec::new();
    if let Some(key) = &view.key {
        title.push(cell(Role::Key, key.as_str()));
    }
    title.push(cell(if view.focused { Role::TitleFocus } else { Role::Title }, view.title.as_str()));
    title.extend(view.notes.iter().cloned());
    if chrome == Chrome::Rule {
        title.extend(more(view));
    }
    let inner = match chrome {
        Chrome::Frame => {
            canvas.frame(area, border);
            on_edge(canvas, area, area.top(), &title);
            if area.height > 1 {
                let y = area.bottom() - 1;
                let more = more(view);
                let right = width_of(&more) + if more.is_empty() { 0 } else { 3 };
                on_edge(canvas, Rect { width: area.width.saturating_sub(right), ..area }, y, &view.footer);
                let at = area.right().saturating_sub(right + 1);
                on_edge(canvas, Rect::new(at, y, right + 1, 1), y, &more);
            }
            inside(area, chrome)
        }
        Chrome::Rule => {
            canvas.put(area.x, area.y, area.width, border, &"─".repeat(usize::from(area.width)));
            on_edge(canvas, area, area.top(), &title);
            // the footer is at the right end of the rule, if the title leaves room for it
            let (left, right) = (width_of(&title) + 5, width_of(&view.footer) + 3);
            if !view.footer.is_empty() && left + right <= area.width {
                let x = area.right() - right;
                canvas.clear(Rect::new(x, area.y, right - 1, 1));
                canvas.cells(x + 1, area.y, area.right() - 1, &view.footer);
            }
            inside(area, chrome)
        }
    };
    let mut inner = inner;
    for line in view.preface.iter().take(usize::from(inner.height)) {
        canvas.put(inner.x + 2, inner.y, inner.width.saturating_sub(2), line.role, &line.text);
        inner = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    }
    if view.rows.is_empty() {
        empty(canvas, inner, &view.empty);
        return Drawn::default();
    }
    rows(canvas, inner, view, heads)
}

/// Returns the area inside the chrome.
pub(super) fn inside(area: Rect, chrome: Chrome) -> Rect {
    match chrome {
        Chrome::Frame => {
            Rect::new(area.x + 1, area.y + 1, area.width.saturating_sub(2), area.height.saturating_sub(2))
        }
        Chrome::Rule => Rect::new(area.x, area.y + 1, area.width, area.height.saturating_sub(1)),
    }
}

/// Writes text into an edge, with a blank on both sides.
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

fn rows(canvas: &mut Canvas<'_>, area: Rect, view: &ListView, heads: bool) -> Drawn {
    let layout = Layout::new(&view.columns, &view.heads, &view.rows, area.width);
    let mut y = area.y;
    if heads && area.height > 1 {
        for p in &layout.placed {
            if let Some(column) = view.columns.get(p.index) {
                let mark = view.ordered.filter(|(at, _)| *at == p.index).map_or("", |(_, mark)| mark);
                let head = view.heads.get(p.index).map_or(column.head_in(p.width), String::as_str);
                row::write(canvas, area, y, p, &Column { cut: Cut::Head, ..*column }, Role::Head, head);
                // the mark is in the gap next to the header, so that the header is not cut
                let wide = u16::try_from(text::width(head)).unwrap_or(p.width).min(p.width);
                let at = if column.right { (p.x + p.width).checked_sub(wide + 1) } else { Some(p.x + wide) };
                if let Some(x) = at.map(|at| area.x + 2 + at).filter(|x| *x < area.right()) {
                    canvas.put(x, y, 1, Role::Head, mark);
                }
            }
        }
        y += 1;
    }
    let spare = usize::from(area.bottom().saturating_sub(y)).saturating_sub(view.rows.len());
    let mut drawn = view.above..view.above;
    for (i, lines) in layout.spend(spare).into_iter().enumerate() {
        if y >= area.bottom() {
            break;
        }
        drawn.end += 1;
        let next = layout.draw(canvas, area, y, view, i, lines);
        if view.selected == Some(i) && view.focused {
            canvas.cover(Rect::new(area.x, y, area.width, next - y), Role::Selected);
        }
        if let Some(id) = view.id {
            canvas.spot(Rect::new(area.x, y, area.width, next - y), Spot::Row(id, view.above + i));
        }
        y = next;
    }
    Drawn { columns: layout.placed.iter().map(|p| p.index).collect(), rows: drawn }
}
