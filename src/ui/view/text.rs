//! Draws a text.

use ratatui::layout::Rect;

use super::super::app::{SeenText, TextLine, TextView};
use super::super::cell::{Cell, ListView, cell};
use super::super::theme::Role;
use super::super::widget::text;
use super::canvas::Canvas;
use super::list::{self, Chrome};

/// Draws the text in its frame. Returns the sizes.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, view: &TextView) -> SeenText {
    let inner =
        Rect::new(area.x + 1, area.y + 1, area.width.saturating_sub(2), area.height.saturating_sub(2));
    let cells = usize::from(inner.width.saturating_sub(1));
    let rows = rows(&view.lines, cells, view.wrap);
    let page = usize::from(inner.height);
    let top = view.top.min(rows.len().saturating_sub(page));
    let seen = SeenText { page, top, rows: rows.len(), columns: cells, ..SeenText::default() };
    let mut notes: Vec<Cell> = Vec::new();
    if seen.rows > page {
        let end = (top + page).min(seen.rows);
        notes.push(cell(Role::Dim, format!("{}-{end} of {}", top + 1, seen.rows)));
    }
    if !view.find.is_empty() {
        notes.push(cell(Role::Match, format!("/{}", view.find)));
    }
    let chrome = ListView { title: view.title.clone(), notes, focused: true, ..ListView::default() };
    list::draw(canvas, area, &chrome, Chrome::Frame, false);
    let chosen = view.chosen_line().and_then(|at| {
        let before = self::rows(view.lines.get(..at)?, cells, view.wrap).len();
        let own = self::rows(view.lines.get(at..=at)?, cells, view.wrap).len();
        Some(before..before + own)
    });
    let needle = view.find.to_lowercase();
    let marks = marks(view, cells);
    let links = links(view, cells);
    for (at, (y, (role, line))) in (top..).zip((inner.y..inner.bottom()).zip(rows.into_iter().skip(top))) {
        canvas.put(inner.x + 1, y, inner.width.saturating_sub(1), role, &line);
        if let Some(url) = links.get(at).copied().flatten() {
            // in a row that continues a long URL, it is all that there is
            let word = line.rsplit(' ').next().unwrap_or_default();
            let before = text::width(&line) - text::width(word);
            let room = usize::from(inner.width.saturating_sub(1)).saturating_sub(before);
            let x = inner.x.saturating_add(1).saturating_add(u16::try_from(before).unwrap_or(u16::MAX));
            canvas.link(x, y, &text::head(word, room), url);
        }
        for (x, mark) in marks.get(at).copied().unwrap_or_default() {
            let x = inner.x.saturating_add(1).saturating_add(*x);
            canvas.put(x, y, inner.right().saturating_sub(x), mark.role, &mark.text);
        }
        if !needle.is_empty() && text::contains_fold(&line, &needle) {
            canvas.put(inner.x, y, 1, Role::Match, ">");
        }
        if chosen.as_ref().is_some_and(|rows| rows.contains(&at)) {
            canvas.cover(Rect { y, height: 1, ..inner }, Role::Selected);
        }
    }
    seen
}

/// Returns the marks of each row, if any line has marks.
fn marks(view: &TextView, cells: usize) -> Vec<&[(u16, Cell)]> {
    if view.lines.iter().all(|l| l.marks.is_empty()) {
        return Vec::new();
    }
    let rows = |l: &TextLine| rows(std::slice::from_ref(l), cells, view.wrap).len();
    view.lines.iter().flat_map(|l| std::iter::repeat_n(l.marks.as_slice(), rows(l))).collect()
}

/// Returns the URL of each row, if any line has one.
fn links(view: &TextView, cells: usize) -> Vec<Option<&str>> {
    if view.lines.iter().all(|l| l.link.is_none()) {
        return Vec::new();
    }
    let rows = |l: &TextLine| rows(std::slice::from_ref(l), cells, view.wrap).len();
    view.lines.iter().flat_map(|l| std::iter::repeat_n(l.link.as_deref(), rows(l))).collect()
}

/// Returns the rows of the lines.
pub(super) fn rows(lines: &[TextLine], cells: usize, wrap: bool) -> Vec<(Role, String)> {
    if !wrap {
        return lines.iter().map(|l| (l.role, l.text.clone())).collect();
    }
    let parts = |l: &TextLine| if l.whole { vec![l.text.clone()] } else { text::wrap(&l.text, cells) };
    lines.iter().flat_map(|l| parts(l).into_iter().map(|row| (l.role, row))).collect()
}
