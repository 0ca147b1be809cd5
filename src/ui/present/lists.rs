//! A pane as shown on the screen: its title, the rows that fit, and the message if there are no rows.

use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::World;

use super::super::app::Ui;
use super::super::cell::{Cell, ListView, RowView, cell, plain};
use super::super::list::ListId;
use super::super::pane::{self, Pane, Shown, orders};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text::{grouped, wrap};

/// Returns the columns of a list and its first rows, to measure the width that they need.
pub fn first_rows(ui: &Ui, world: &World, id: ListId, most: usize) -> (Vec<Column>, Vec<RowView>) {
    let Some(shown) = Shown::of(ui, world) else { return (Vec::new(), Vec::new()) };
    let columns = pane::columns(ui, id);
    let ids = ui.list(id).ids.iter().take(most);
    let rows = ids.filter_map(|r| pane::row(&shown, id, &columns, *r)).collect();
    (columns.into_iter().map(|(_, column)| column).collect(), rows)
}

/// Returns the lines above the column headers of a list, wrapped to a width.
pub fn preface(ui: &Ui, world: &World, id: ListId, width: usize) -> Vec<Cell> {
    let Some(shown) = Shown::of(ui, world) else { return Vec::new() };
    let wrapped = |line: Cell| wrap(&line.text, width).into_iter().map(move |part| cell(line.role, part));
    (pane::of(id).preface)(&shown).into_iter().flat_map(wrapped).collect()
}

/// Builds the view of a list with at most `room` rows.
pub fn view(ui: &Ui, world: &World, id: ListId, room: usize, focused: bool) -> ListView {
    let Some(shown) = Shown::of(ui, world) else {
        return ListView { title: "no cluster".into(), ..ListView::default() };
    };
    let (pane, list) = (pane::of(id), ui.list(id));
    let top = list.top_of(room);
    let state = shown.state(pane);
    let mut notes = (pane.counts)(&shown);
    if !list.filter.is_empty() {
        notes.push(cell(Role::Match, format!("/{}", list.filter)));
        notes.push(plain(format!("{} match", grouped(list.ids.len() as u64))));
    } else if focused && !list.ids.is_empty() && list.ids.len() > room {
        notes.push(cell(Role::Dim, format!("row {}", grouped(list.at as u64 + 1))));
    }
    if !list.marks.is_empty() {
        notes.push(cell(Role::Marked, format!("{} marked", list.marks.len())));
    }
    notes.extend(orders::note(ui, id));
    notes.extend(state.notes);
    if (pane.narrows)(ui) {
        notes.extend(ui.namespace.as_ref().map(|ns| cell(Role::Info, format!("ns:{ns}"))));
    }
    let columns = pane::columns(ui, id);
    let rows = list.ids.iter().skip(top).take(room).filter_map(|r| {
        let mut view = pane::row(&shown, id, &columns, *r)?;
        view.marked =
            !list.marks.is_empty() && (pane.key)(&shown, *r).is_some_and(|uid| list.marks.contains(&uid));
        Some(view)
    });
    ListView {
        id: Some(id),
        key: pane.keys.first().and_then(|cmd| ui.key(*cmd)).map(|key| key.to_string()),
        title: (pane.title)(&shown),
        notes,
        preface: Vec::new(),
        ordered: orders::mark(ui, id, &columns),
        heads: pane.printed.map_or_else(Vec::new, |heads| heads(ui).to_vec()),
        rows: rows.collect(),
        columns: columns.into_iter().map(|(_, column)| column).collect(),
        selected: (!list.ids.is_empty()).then(|| list.at.saturating_sub(top)),
        focused,
        footer: (pane.footer)(&shown),
        empty: empty(ui, pane, &shown, state.why_empty),
        above: top,
        total: list.ids.len(),
        whole: false,
    }
}

/// Builds the message that is shown if there are no rows.
fn empty(ui: &Ui, pane: &Pane, shown: &Shown<'_>, why: Vec<Cell>) -> Vec<Cell> {
    let list = ui.list(pane.id);
    if !list.ids.is_empty() {
        Vec::new()
    } else if !list.filter.is_empty() {
        vec![cell(Role::Dim, format!("nothing matches {}; Esc shows all", list.filter))]
    } else if !why.is_empty() {
        why
    } else if let Some(why) = not_read(pane, shown) {
        vec![cell(Role::Denied, why)]
    } else {
        let place = ui.namespace.as_ref().map_or_else(String::new, |ns| format!(" in namespace {ns}"));
        vec![cell(Role::Dim, format!("{}{place}", pane.nothing))]
    }
}

/// Returns the message for a selected namespace that is not read, because it must not look like a namespace without
/// objects.
fn not_read(pane: &Pane, shown: &Shown<'_>) -> Option<String> {
    let cover = pane.cover?(shown.cluster);
    let (Some(namespace), Coverage::Namespaces(read)) = (&shown.ui.namespace, cover) else { return None };
    if read.contains(namespace) {
        return None;
    }
    Some(format!("namespace {namespace} is not read, only {}: start with -n {namespace}", read.join(", ")))
}
