//! Draws a dialog over the screen. The plan scrolls, and the question stays visible.

use ratatui::layout::Rect;

use super::super::present::dialog::DialogView;
use super::super::theme::Role;
use super::super::widget;
use super::canvas::Canvas;
use super::text;

/// The number of visible rows of the plan, and of all its rows.
pub(super) struct Fit {
    pub page: usize,
    pub rows: usize,
    pub top: usize,
}

/// Draws the dialog. `top` is the first visible row of the plan.
pub(super) fn draw(canvas: &mut Canvas<'_>, screen: Rect, view: &DialogView, top: usize) -> Fit {
    let width = screen.width.min(110).max(screen.width.min(40));
    let cells = usize::from(width.saturating_sub(4));
    let rows = text::rows(&view.lines, cells, true);
    // the frame, the question, the note and the keys
    let fixed = 2
        + 1
        + u16::from(!view.ask.is_empty())
        + u16::from(view.typed.is_some())
        + u16::from(!view.note.is_empty());
    let wanted = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(fixed);
    let height = wanted.min(screen.height.saturating_sub(2)).max(screen.height.min(6));
    let area = Rect::new(
        screen.x + (screen.width - width) / 2,
        screen.y + (screen.height.saturating_sub(height)) / 2,
        width,
        height,
    );
    canvas.clear(area);
    canvas.frame(area, if view.danger { Role::DialogDanger } else { Role::Dialog });
    let title = format!(" {} ", view.title);
    let place = view.place.as_ref().map(|place| format!("{} ", place.text));
    let room = area.width.saturating_sub(4);
    // the cluster is never cut off by a long name of an object
    let wide =
        place.as_ref().map_or(0, |place| u16::try_from(widget::text::width(place)).unwrap_or(room)).min(room);
    let x = canvas.put(area.x + 2, area.y, room - wide, Role::TitleFocus, &title);
    if let (Some(place), Some(cell)) = (place, &view.place) {
        canvas.put(x, area.y, wide, cell.role, &place);
    }
    let page = height.saturating_sub(fixed);
    let top = top.min(rows.len().saturating_sub(usize::from(page)));
    let inner = area.width.saturating_sub(4);
    for (y, (role, line)) in (area.y + 1..area.y + 1 + page).zip(rows.iter().skip(top)) {
        canvas.put(area.x + 2, y, inner, *role, line);
    }
    let mut y = area.y + 1 + page;
    if !view.note.is_empty() {
        canvas.put(area.x + 2, y, inner, Role::Note, &view.note);
        y += 1;
    }
    if !view.ask.is_empty() {
        canvas.cells(area.x + 2, y, area.right() - 2, &view.ask);
        y += 1;
    }
    if let Some(typed) = &view.typed {
        let x = canvas.put(area.x + 2, y, inner, Role::Key, "> ");
        let room = area.right().saturating_sub(x + 2);
        let (shown, cursor) = typed.shown(usize::from(room));
        canvas.put(x, y, room, Role::Input, &shown);
        canvas.cursor = Some((x + u16::try_from(cursor).unwrap_or(0), y));
        y += 1;
    }
    let mut keys = view.keys.clone();
    if rows.len() > usize::from(page) {
        // letters belong to the requested text
        let scrolls = if view.typed.is_some() { "PgUp PgDn" } else { "j k" };
        let more = format!("{scrolls} scroll ({}/{})", (top + usize::from(page)).min(rows.len()), rows.len());
        keys.push(super::super::cell::cell(Role::Dim, more));
    }
    let mut x = area.x + 2;
    for key in &keys {
        x = canvas.put(x, y, area.right().saturating_sub(x + 2), key.role, &key.text) + 3;
        if x >= area.right().saturating_sub(2) {
            break;
        }
    }
    Fit { page: usize::from(page), rows: rows.len(), top }
}
