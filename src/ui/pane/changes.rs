//! The Changes pane: all changes of the last hours, including the actions of the consoles on this machine.

use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::world::{Cluster, World};

use super::super::app::Ui;
use super::super::cell::{RowView, cell, plain};
use super::super::list::{List, Spec};
use super::super::rows::changes::Entry;
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::Shown;
use super::orders::indexes;

/// The columns.
pub const COLUMNS: [Column; 5] = [
    Column::left("TIME", 8, 8, 0),
    Column::right("AGO", 4, 5, 4),
    Column::name("OBJECT", 16, 60),
    Column::text("CHANGE", 20, 0),
    Column::left("BY", 8, 28, 3),
];

/// Builds one row.
pub fn row(entry: &Entry, now: Stamp) -> RowView {
    RowView {
        grade: entry.grade,
        cells: vec![
            cell(Role::Dim, entry.at.clock()),
            cell(Role::Dim, age(now.since(entry.at))),
            cell(Role::Strong, entry.place.as_str()),
            plain(entry.what.as_str()),
            cell(Role::Dim, entry.by.as_str()),
        ],
        ..RowView::default()
    }
}

/// Returns a row by its index.
pub fn at<'a>(s: &Shown<'a>, row: u32) -> Option<&'a Entry> {
    s.ui.rows.changes.list.get(row as usize)
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, world: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    ui.rows.changes.refresh(world, cluster);
    list.sorted = indexes(&ui.rows.changes.list, |c| c.passes(spec));
}
