//! Draws the whole screen: header, NOW, panes, job, keys, and any dialog above them.

use std::ops::Range;

use pilothouse_core::facts::world::World;
use ratatui::layout::Rect;

use super::super::app::{Grid, Prompt, Screen, SeenList, SeenText, Ui};
use super::super::cell::{Cell, RowView};
use super::super::command::Cmd;
use super::super::list::{DrawnRows, ListId};
use super::super::mouse::Spot;
use super::super::pane::{self, Place, Reads, causes};
use super::super::present::{dialog as dialogs, fleet, header, lists, plot, sheet};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text::{width, wrap};
use super::canvas::Canvas;
use super::list::{Chrome, room};
use super::row::Layout;
use super::share::{Need, share};
use super::{detail, dialog, line, list, log, overlay, plot as plot_view, text};

/// The minimum width for panes side by side and for lists with a frame.
const WIDE: u16 = 110;
/// The minimum width for recent changes next to NOW.
const SIDE: u16 = 160;
/// The minimum height at which a narrow screen has room for all panes.
const HIGH: u16 = 44;

/// Draws the whole screen.
pub(super) fn draw(ui: &Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
    if area.width < 40 || area.height < 10 {
        let words = format!("too small: {}x{}, needs 40x10", area.width, area.height);
        let lines = wrap(&words, usize::from(area.width.max(1)));
        let top = (usize::from(area.height).saturating_sub(lines.len())) / 2;
        for (y, line) in (0..area.height).skip(top).zip(lines) {
            canvas.put(0, y, area.width, Role::Warning, &line);
        }
        return;
    }
    line::header(canvas, Rect { height: 1, ..area }, &header::view(ui, world));
    // the other clusters have a line of their own, so that they are in sight on a narrow screen too
    let others = fleet::line(ui, world, area.width);
    let above = 1 + u16::from(!others.is_empty());
    if !others.is_empty() {
        let place = Rect::new(area.x, area.y + 1, area.width, 1);
        canvas.cells(place.x + 1, place.y, place.right(), &others);
        canvas.spot(place, Spot::Clusters);
    }
    let main = Rect::new(area.x, area.y + above, area.width, area.height - 2 - above);
    match ui.screen() {
        Screen::Panes if ui.zoom => full(ui, world, canvas, main, ui.focus),
        Screen::Panes if area.width >= WIDE && area.height >= 28 => panes(ui, world, canvas, main),
        Screen::Panes if area.height >= HIGH => stacked(ui, world, canvas, main),
        Screen::Panes => compact(ui, world, canvas, main),
        Screen::List(id) => full(ui, world, canvas, main, *id),
        Screen::Text(view) => canvas.seen.reading = Some(text::draw(canvas, main, view)),
        Screen::Plots(plots) => {
            let grid = plot::grid(ui, plots.panels.len());
            plot_view::draw(canvas, main, &plot::view(plots, world, ui.now, grid));
        }
        Screen::Log(view) => canvas.seen.reading = Some(log::draw(canvas, main, view, ui, world)),
    }
    line::job(canvas, Rect::new(area.x, area.bottom() - 2, area.width, 1), ui, world);
    line::keys(canvas, Rect::new(area.x, area.bottom() - 1, area.width, 1), ui, world);
    over(ui, canvas, area);
}

fn over(ui: &Ui, canvas: &mut Canvas<'_>, area: Rect) {
    if let Some(Prompt::Palette { hits, at }) = &ui.prompt {
        overlay::palette(canvas, area, hits, *at);
    }
    if let Some(Prompt::LogFilter(open)) = &ui.prompt {
        overlay::candidates(canvas, area, &open.found.candidates, open.at);
    }
    if let Some(Prompt::LogContainer { names, at }) = &ui.prompt {
        overlay::containers(canvas, area, names, *at);
    }
    if let Some(open) = &ui.sheet {
        let fit = dialog::draw(canvas, area, &sheet::view(ui, open), open.top);
        canvas.seen.sheet =
            Some(SeenText { page: fit.page, top: fit.top, rows: fit.rows, ..SeenText::default() });
    }
    if let Some(question) = &ui.question {
        dialog::draw(canvas, area, &dialogs::question(question), 0);
    }
    if let Some(open) = &ui.dialog {
        let fit = dialog::draw(canvas, area, &dialogs::view(ui, open), open.top);
        let seen = SeenText { page: fit.page, top: fit.top, rows: fit.rows, ..SeenText::default() };
        canvas.seen.dialog = Some(seen);
    }
}

/// Draws a list in its area. `beneath` tells whether its details are shown below it.
fn one(
    ui: &Ui,
    world: &World,
    canvas: &mut Canvas<'_>,
    area: Rect,
    id: ListId,
    chrome: Chrome,
    beneath: bool,
) {
    let heads = pane::of(id).heads;
    let focused = ui.active_list() == Some(id);
    let preface = preface(ui, world, id, area);
    let page = room(area, chrome, heads).saturating_sub(preface.len());
    let mut view = lists::view(ui, world, id, page, focused);
    view.preface = preface;
    let top = view.above;
    if beneath {
        // the details contain this text
        view.rows.iter_mut().for_each(|row| row.below.clear());
    }
    // if Errors fills the screen, its messages are shown completely
    view.whole = id == ListId::Errors && ui.zoom;
    if id == ListId::Now {
        // a zoomed NOW shows whole texts, and changes that are next to NOW need no footer
        view.whole = ui.zoom || chrome == Chrome::Rule;
        if chrome == Chrome::Rule || is_changes_beside(ui, area) {
            view.footer.clear();
        }
    }
    let drawn = list::draw(canvas, area, &view, chrome, heads);
    let list = ui.list(id);
    let selects = focused && if list.ids.is_empty() { page > 0 } else { drawn.rows.contains(&list.at) };
    canvas.seen.lists.push((id, SeenList { selects, page, top, drawn: drawn.columns }));
    canvas.seen.rows.push((id, identities(ui, world, id, drawn.rows)));
}

/// Returns the identities of rows that were drawn.
fn identities(ui: &Ui, world: &World, id: ListId, rows: Range<usize>) -> DrawnRows {
    let ids = ui.list(id).ids.get(rows.clone()).unwrap_or_default();
    DrawnRows { first: rows.start, uids: ids.iter().map(|row| pane::key(ui, world, id, *row)).collect() }
}

/// Returns the lines above the rows of a list, which take no more than a third of its height.
fn preface(ui: &Ui, world: &World, id: ListId, area: Rect) -> Vec<Cell> {
    let mut lines = lists::preface(ui, world, id, usize::from(area.width.saturating_sub(4)));
    lines.truncate(usize::from(area.height / 3));
    lines
}

/// Whether recent changes are shown next to NOW.
fn is_changes_beside(ui: &Ui, now: Rect) -> bool {
    now.width < ui.size.0
}

/// Draws a list that fills the screen, with the details of the selected row below it. A narrow screen has no frame.
fn full(ui: &Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect, id: ListId) {
    let chrome = if area.width < WIDE { Chrome::Rule } else { Chrome::Frame };
    if plot::is_beside(ui, id) {
        return beside(ui, world, canvas, area, id);
    }
    let height = beneath(ui, world, area, id, chrome);
    canvas.seen.details = height.map(|_| id);
    let Some(height) = height else { return one(ui, world, canvas, area, id, chrome, false) };
    one(ui, world, canvas, Rect { height, ..area }, id, chrome, true);
    let rest = Rect { y: area.y + height, height: area.height - height, ..area };
    let reads = if pane::of(id).reads == Reads::Object { Cmd::Describe } else { Cmd::Why };
    let reads = reads_all(ui, id, reads);
    detail::draw(canvas, rest, chrome, &ui.details.title, &ui.details.lines, &reads);
}

/// Names the key that opens the details of a list as a text.
fn reads_all(ui: &Ui, id: ListId, cmd: Cmd) -> String {
    let key = ui.key_of(id, cmd);
    key.map_or_else(String::new, |key| format!("{key} reads all"))
}

/// Draws a list with the plots of its selected object next to it. The details are below the plots, or below the list if
/// it is so short that they fit there.
fn beside(ui: &Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect, id: ListId) {
    let width = plot::beside(area.width);
    let left = Rect { width: area.width - width, ..area };
    let right = Rect { x: left.right(), width, ..area };
    let rows = need(ui, world, id, left.width, left.height).rows;
    let is_below = detail::list_height(left.height, rows, ui.details.list == Some(id)) == Some(rows);
    let (list, plots, details) = if is_below {
        let details = Rect { y: left.y + rows, height: left.height - rows, ..left };
        (Rect { height: rows, ..left }, right, details)
    } else {
        let height = right.height / 2;
        let details = Rect { y: right.y + height, height: right.height - height, ..right };
        (left, Rect { height, ..right }, details)
    };
    one(ui, world, canvas, list, id, Chrome::Frame, true);
    canvas.seen.details = Some(id);
    if let Some(of) = &ui.beside.plots {
        let grid = Grid::column(plots.width, plots.height, of.panels.len());
        plot_view::column(canvas, plots, &plot::view(of, world, ui.now, grid));
    }
    let reads = reads_all(ui, id, Cmd::Describe);
    detail::draw(canvas, details, Chrome::Frame, &ui.details.title, &ui.details.lines, &reads);
}

/// Returns the height of a list with details below it, or `None` if it has no details.
fn beneath(ui: &Ui, world: &World, area: Rect, id: ListId, chrome: Chrome) -> Option<u16> {
    let (zoomed, shown) = (matches!(ui.screen(), Screen::Panes), ui.details.list == Some(id));
    if (ui.details.off && !zoomed) || pane::of(id).reads == Reads::Nothing {
        return None;
    }
    let rows = need(ui, world, id, area.width, area.height).rows - u16::from(chrome == Chrome::Rule);
    if ui.list(id).ids.is_empty() {
        return None;
    }
    detail::list_height(area.height, rows, shown)
}

/// Returns the lines that a pane needs in an area of this width. The rows that are measured are limited by the height
/// of the screen.
fn need(ui: &Ui, world: &World, id: ListId, width: u16, screen: u16) -> Need {
    let (columns, rows) = lists::first_rows(ui, world, id, usize::from(screen));
    let cells = |lines: usize| u16::try_from(lines).unwrap_or(u16::MAX).min(screen);
    // the frame and the headers; if there are no rows, two lines explain why
    let around = 2 + u16::from(pane::of(id).heads);
    let preface = preface(ui, world, id, Rect::new(0, 0, width, screen)).len();
    let around = around + u16::try_from(preface).unwrap_or(0);
    let (sentences, all) = Layout::new(&columns, &[], &rows, width.saturating_sub(2)).lines();
    Need {
        least: around + 2,
        rows: around + cells(sentences.max(2)),
        all: around + cells(all.max(sentences).max(2)),
    }
}

/// Returns the lines that NOW needs: one for each of the first findings, then whole sentences, then the text below
/// them.
fn need_of_now(ui: &Ui, world: &World, width: u16, height: u16) -> Need {
    let (columns, rows) = lists::first_rows(ui, world, ListId::Now, usize::from(height));
    let most = match height {
        40.. => 6,
        32..40 => 5,
        _ => 4,
    };
    let cells = |lines: usize| u16::try_from(lines).unwrap_or(u16::MAX);
    let (sentences, all) = Layout::new(&columns, &[], &rows, width.saturating_sub(2)).lines();
    let least = cells(rows.len()).clamp(1, most) + 2;
    let rows = (cells(sentences) + 2).clamp(least, least.max(height / 3));
    Need { least, rows, all: (cells(all) + 2).clamp(rows, rows.max(height * 2 / 5)) }
}

/// Puts the cells of rows back into the order of the table. A column that the user did not choose is empty. Screens
/// without room for columns place the cells themselves.
fn in_table_order(chosen: &[(usize, Column)], rows: &mut [RowView]) {
    let all = chosen.iter().map(|(at, _)| at + 1).max().unwrap_or(0).max(causes::COLUMNS.len());
    for row in rows {
        let mut cells = vec![Cell::default(); all];
        for ((at, _), cell) in chosen.iter().zip(std::mem::take(&mut row.cells)) {
            if let Some(place) = cells.get_mut(*at) {
                *place = cell;
            }
        }
        row.cells = cells;
    }
}

/// Returns the panes below NOW, in the order of the table.
fn below_now() -> impl Iterator<Item = ListId> {
    pane::on_first_screen().filter(|pane| pane.place == Place::First).map(|pane| pane.id)
}

/// Draws screens of at least 110x28: NOW in its box, and the panes in two columns below. The panes are assigned to
/// the columns in turn and share the height of their column by need.
fn panes(ui: &Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
    let left = area.width / 2;
    let (even, odd): (Vec<_>, Vec<_>) = below_now().enumerate().partition(|(i, _)| i % 2 == 0);
    let columns = [(area.x, left, even), (area.x + left, area.width - left, odd)];
    let wishes = columns.each_ref().map(|(_, width, ids)| {
        ids.iter().map(|(_, id)| need(ui, world, *id, *width, area.height)).collect::<Vec<_>>()
    });
    let sum = |of: fn(&Need) -> u16| wishes.iter().map(|w| w.iter().map(of).sum::<u16>()).max().unwrap_or(0);
    let changes = changed(ui, world);
    // the changes are as wide as their longest text, and NOW uses the remaining width
    let longest = changes.iter().filter_map(|r| r.cells.get(1)).map(|c| width(&c.text)).max().unwrap_or(0);
    let wanted = u16::try_from(longest).unwrap_or(u16::MAX).saturating_add(12).max(40);
    let side = if area.width >= SIDE && !changes.is_empty() { wanted.min(area.width * 2 / 5) } else { 0 };
    let now_width = area.width - side;
    let now = need_of_now(ui, world, now_width, area.height);
    let all = Need { least: sum(|n| n.least), rows: sum(|n| n.rows), all: sum(|n| n.all.max(n.rows)) };
    let heights = share(area.height, &[now, all]);
    let height = heights.first().copied().unwrap_or(now.least);
    let above = Rect { height, width: now_width, ..area };
    one(ui, world, canvas, above, ListId::Now, Chrome::Frame, false);
    if side > 0 {
        let place = Rect::new(area.x + now_width, area.y, side, height);
        list::draw(
            canvas,
            place,
            &causes::changes_view(ui, &changes, room(place, Chrome::Frame, false)),
            Chrome::Frame,
            false,
        );
    }
    for ((x, width, ids), wishes) in columns.into_iter().zip(wishes) {
        let mut y = area.y + height;
        for ((_, id), height) in ids.into_iter().zip(share(area.height - height, &wishes)) {
            let place = Rect::new(x, y, width, height);
            one(ui, world, canvas, place, id, Chrome::Frame, false);
            y += height;
        }
    }
}

/// Draws a narrow, high screen: all panes, one above the other.
fn stacked(ui: &Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
    let mut wishes = vec![need_of_now(ui, world, area.width, area.height)];
    wishes.extend(below_now().map(|id| need(ui, world, id, area.width, area.height)));
    let mut y = area.y;
    for (pane, height) in pane::on_first_screen().zip(share(area.height, &wishes)) {
        let place = Rect::new(area.x, y, area.width, height);
        one(ui, world, canvas, place, pane.id, Chrome::Frame, false);
        y += height;
    }
}

/// Returns the recent changes for the box next to NOW.
fn changed(ui: &Ui, world: &World) -> Vec<RowView> {
    ui.shown(world).map_or_else(Vec::new, |cluster| causes::change_rows(ui, world, cluster))
}

/// Draws a screen of 80x24: three causes, the changes, the focused pane, and a line for each other pane. Lines that
/// the focused pane does not need show more text of NOW, then more rows of the other panes.
fn compact(ui: &Ui, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
    let Some(cluster) = ui.shown(world).cloned() else { return };
    let focus = ui.focus;
    let mut y = area.y;
    // the focused pane comes first, and the others get the lines that are left
    let all = u16::try_from(below_now().count()).unwrap_or(u16::MAX);
    let others: u16 = if area.height >= 14 { all.saturating_sub(1) } else { 0 };
    let lines: u16 = match area.height {
        20.. => 3,
        14..20 => 2,
        _ => 1,
    };
    let below = others + u16::from(focus == ListId::Now && others > 0);
    if focus != ListId::Now {
        // panes have a rule instead of a frame here
        let wanted = need(ui, world, focus, area.width, area.height).all.saturating_sub(1);
        let mut spare = area.height.saturating_sub(1 + below + wanted);
        let found = u16::try_from(ui.list(ListId::Now).ids.len()).unwrap_or(u16::MAX);
        let shown = (lines.max(spare.min(6))).min(found.max(1));
        let mut view = lists::view(ui, world, ListId::Now, usize::from(shown), false);
        in_table_order(&pane::columns(ui, ListId::Now), &mut view.rows);
        spare = spare.saturating_sub(shown);
        if view.rows.is_empty() {
            canvas.put(area.x, y, 4, Role::Title, "NOW");
            canvas.cells(area.x + 4, y, area.right(), &causes::empty_in(ui, world, &cluster));
            y += 1;
        } else {
            if found > shown
                && let Some(cell) = view.rows.last_mut().and_then(|r| r.cells.last_mut())
            {
                cell.text = format!("+{} Tab", found - shown);
            }
            let rows = view.above..view.above + view.rows.len();
            canvas.seen.rows.push((ListId::Now, identities(ui, world, ListId::Now, rows)));
            let edge = line::edge(&view.rows);
            for (i, row) in view.rows.iter().enumerate() {
                let line = Rect::new(area.x, y, area.width, 1 + spare.min(2));
                let used = line::cause(canvas, line, row, i, edge);
                canvas.spot(Rect { height: used, ..line }, Spot::Row(ListId::Now, view.above + i));
                spare = spare.saturating_sub(used - 1);
                y += used;
            }
        }
    }
    let changes = causes::changes(ui, world, &cluster, area.width < 110);
    canvas.cells(area.x + 1, y, area.right(), &changes);
    y += 1;
    let place = Rect::new(area.x, y, area.width, area.bottom().saturating_sub(y + below));
    one(ui, world, canvas, place, focus, Chrome::Rule, false);
    y = place.bottom();
    for id in below_now().filter(|id| *id != focus).take(usize::from(below)) {
        let view = lists::view(ui, world, id, 1, false);
        let strip = Rect::new(area.x, y, area.width, 1);
        canvas.spot(strip, Spot::List(id));
        line::pane(canvas, strip, &view, false);
        y += 1;
    }
}
