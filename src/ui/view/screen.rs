//! The whole screen: header, NOW, panes, job, keys, and what lies over them.

use pilothouse_core::model::world::World;
use ratatui::layout::Rect;

use super::super::app::{FOCUS, Prompt, Screen, Ui};
use super::super::list::ListId;
use super::super::mouse::Spot;
use super::super::present::{self, causes, dialog as dialogs, header, lists};
use super::super::theme::Role;
use super::canvas::Canvas;
use super::list::{Chrome, room};
use super::{dialog, line, list, log, overlay, text};

/// Draws all of it.
pub fn draw(ui: &mut Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
    ui.size = (area.width, area.height);
    if area.width < 40 || area.height < 10 {
        canvas.put(
            0,
            area.height / 2,
            area.width,
            Role::Warning,
            &format!("too small: {}x{}, needs 40x10", area.width, area.height),
        );
        return;
    }
    line::header(canvas, Rect { height: 1, ..area }, &header::view(ui, world));
    let main = Rect::new(area.x, area.y + 1, area.width, area.height - 3);
    let wide = area.width >= 110 && area.height >= 28;
    match ui.screen() {
        Screen::Panes if ui.zoom => full(ui, world, canvas, main, ui.focus),
        Screen::Panes if wide => panes(ui, world, canvas, main),
        Screen::Panes => compact(ui, world, canvas, main),
        Screen::List(id) => {
            let id = *id;
            full(ui, world, canvas, main, id);
        }
        Screen::Text(_) | Screen::Log(_) => reading(ui, world, canvas, main),
    }
    line::job(canvas, Rect::new(area.x, area.bottom() - 2, area.width, 1), ui, world);
    line::keys(canvas, Rect::new(area.x, area.bottom() - 1, area.width, 1), ui, world);
    over(ui, canvas, area);
}

fn over(ui: &mut Ui, canvas: &mut Canvas<'_>, area: Rect) {
    if let Some(Prompt::Palette { hits, at }) = &ui.prompt {
        overlay::palette(canvas, area, hits, *at);
    }
    if let Some(question) = &ui.question {
        dialog::draw(canvas, area, &dialogs::question(question), 0);
    }
    if let Some(open) = &ui.dialog {
        let view = dialogs::view(ui, open);
        let fit = dialog::draw(canvas, area, &view, open.top);
        if ui.dialog_frame.is_none() && matches!(open.stage, super::super::app::Stage::Ready(_)) {
            ui.dialog_frame = Some(ui.frame);
        }
        if let Some(open) = &mut ui.dialog {
            open.page = fit.page;
            open.rows = fit.rows;
            open.top = fit.top;
        }
    }
}

fn one(
    ui: &mut Ui,
    world: &World,
    canvas: &mut Canvas<'_>,
    area: Rect,
    id: ListId,
    focused: bool,
    chrome: Chrome,
) {
    let heads = id != ListId::Now && id != ListId::Namespaces;
    lists::refresh(ui, world, id, focused);
    let mut view = lists::view(ui, world, id, room(area, chrome, heads), focused);
    if id == ListId::Now && chrome == Chrome::Rule {
        // the changes have a line of their own there
        view.footer.clear();
    }
    list::draw(canvas, area, &view, chrome, heads);
}

fn full(ui: &mut Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect, id: ListId) {
    one(ui, world, canvas, area, id, true, Chrome::Frame);
}

/// 120x30 and more: NOW in its box, four panes.
fn panes(ui: &mut Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
    lists::refresh(ui, world, ListId::Now, ui.focus == ListId::Now);
    let causes = ui.list(ListId::Now).ids.len();
    let most = if area.height >= 40 {
        6
    } else if area.height >= 32 {
        5
    } else {
        4
    };
    let shown = u16::try_from(causes.clamp(1, most)).unwrap_or(1);
    let now = Rect { height: shown + 2, ..area };
    one(ui, world, canvas, now, ListId::Now, ui.focus == ListId::Now, Chrome::Frame);
    let rest = Rect::new(area.x, now.bottom(), area.width, area.height - now.height);
    let (left, top) = (rest.width / 2, rest.height.div_ceil(2));
    let places = [
        (ListId::Nodes, Rect::new(rest.x, rest.y, left, top)),
        (ListId::Traffic, Rect::new(rest.x + left, rest.y, rest.width - left, top)),
        (ListId::Errors, Rect::new(rest.x, rest.y + top, left, rest.height - top)),
        (ListId::Autoscalers, Rect::new(rest.x + left, rest.y + top, rest.width - left, rest.height - top)),
    ];
    for (id, place) in places {
        one(ui, world, canvas, place, id, ui.focus == id, Chrome::Frame);
    }
}

/// 80x24: three causes, the changes, the focused pane, the others as a line each.
fn compact(ui: &mut Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
    let Some(cluster) = ui.shown(world).cloned() else { return };
    let focus = ui.focus;
    let mut y = area.y;
    // what there is room for: the focused pane comes first
    let others: u16 = if area.height >= 14 { 3 } else { 0 };
    let lines: u16 = match area.height {
        20.. => 3,
        14..20 => 2,
        _ => 1,
    };
    if focus != ListId::Now {
        lists::refresh(ui, world, ListId::Now, false);
        let found = ui.list(ListId::Now).ids.len();
        let shown = lines.min(u16::try_from(found.max(1)).unwrap_or(1));
        let mut view = lists::view(ui, world, ListId::Now, usize::from(shown), false);
        if view.rows.is_empty() {
            canvas.put(area.x, y, 4, Role::Title, "NOW");
            canvas.cells(area.x + 4, y, area.right(), &causes::empty(&cluster));
            y += 1;
        } else {
            if found > usize::from(shown)
                && let Some(cell) = view.rows.last_mut().and_then(|r| r.cells.last_mut())
            {
                cell.text = format!("+{} Tab", found - usize::from(shown));
            }
            for (i, row) in view.rows.iter().enumerate() {
                let line = Rect::new(area.x, y, area.width, 1);
                canvas.spot(line, Spot::Row(ListId::Now, view.above + i));
                cause_line(canvas, line, row, i);
                y += 1;
            }
        }
    }
    let changes = causes::changes(&cluster, ui.namespace.as_ref(), area.width < 110);
    canvas.cells(area.x + 1, y, area.right(), &changes);
    y += 1;
    let below = others + u16::from(focus == ListId::Now && others > 0);
    let pane = Rect::new(area.x, y, area.width, area.bottom().saturating_sub(y + below));
    one(ui, world, canvas, pane, focus, true, Chrome::Rule);
    y = pane.bottom();
    for id in FOCUS.into_iter().filter(|id| *id != focus && *id != ListId::Now).take(usize::from(below)) {
        lists::refresh(ui, world, id, false);
        let view = lists::view(ui, world, id, 1, false);
        let strip = Rect::new(area.x, y, area.width, 1);
        canvas.spot(strip, Spot::List(id));
        line::pane(canvas, strip, &view, false);
        y += 1;
    }
}

fn cause_line(canvas: &mut Canvas<'_>, area: Rect, row: &present::RowView, index: usize) {
    let [title, since, keys] = row.cells.as_slice() else { return };
    canvas.put(area.x, area.y, 1, row.grade.role(), row.grade.glyph());
    // the first line has room for its keys, the others for their words
    let keys = keys.text.split("  ").next().unwrap_or_default();
    let wanted = u16::try_from(keys.chars().count()).unwrap_or(0);
    let right = if index == 0 || keys.starts_with('+') || area.width >= 100 { wanted } else { 0 };
    let end = area.right().saturating_sub(if right > 0 { right + 1 } else { 0 });
    let age = u16::try_from(since.text.chars().count()).unwrap_or(0);
    let x = canvas.put(area.x + 2, area.y, end.saturating_sub(area.x + 3 + age + 1), title.role, &title.text);
    if age > 0 {
        canvas.put(x + 1, area.y, age, Role::Dim, &since.text);
    }
    if right > 0 {
        canvas.put(end + 1, area.y, right, Role::Key, keys);
    }
}

fn reading(ui: &mut Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
    let source = match ui.screen() {
        Screen::Text(view) => Some(view.source.clone()),
        _ => None,
    };
    let lines = source.and_then(|source| present::texts::lines(ui, world, &source));
    match ui.screens.last_mut() {
        Some(Screen::Text(view)) => {
            match lines {
                Some(lines) => {
                    view.lines = lines;
                    view.lines.extend(view.below.lines.iter().cloned());
                }
                None if view.lines.is_empty() => {
                    view.lines.push(super::super::app::TextLine::new(Role::Dim, "it is gone"));
                }
                None => {}
            }
            text::draw(canvas, area, view);
        }
        Some(Screen::Log(view)) => log::draw(canvas, area, view),
        _ => {}
    }
}
