//! Objects of any kind, as the API server prints them.

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::facts::world::{Cluster, World};

use super::super::app::Ui;
use super::super::cell::{RowView, plain};
use super::super::list::{List, Spec};
use super::super::request::TableLine;
use super::Shown;
use super::orders::{indexes, printed, sort};
use super::sources::State;

fn key_of(line: &TableLine) -> Uid {
    Uid::Text(Name::from(format!("{}/{}", line.namespace, line.name)))
}

/// Returns the identity of a row.
pub fn key(s: &Shown<'_>, row: u32) -> Option<Uid> {
    s.ui.table.rows.get(row as usize).map(key_of)
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, _: &Cluster, spec: &mut Spec, list: &mut List) {
    let rows = &ui.table.rows;
    list.sorted = indexes(rows, |r| {
        spec.filter.passes(&r.cells.iter().map(String::as_str).chain([r.name.as_str()]).collect::<Vec<_>>())
    });
    if let Some(column) = spec.order.checked_sub(1) {
        let cell = |r: &TableLine| r.cells.get(column).cloned().unwrap_or_default();
        sort(&mut list.sorted, rows, spec.reverse, |a, b| printed(&cell(a), &cell(b)));
    } else if spec.reverse {
        list.sorted.reverse();
    }
}

/// Builds one row.
pub fn row(s: &Shown<'_>, row: u32) -> Option<RowView> {
    let line = s.ui.table.rows.get(row as usize)?;
    Some(RowView { cells: line.cells.iter().map(|c| plain(c.as_str())).collect(), ..RowView::default() })
}

/// Returns the object of a row, if the API server returned its kind.
pub fn object(s: &Shown<'_>, uid: &Uid) -> Option<ObjectRef> {
    let line = s.ui.table.rows.iter().find(|line| key_of(line) == *uid)?;
    (!line.kind.is_empty())
        .then(|| s.cluster.object(Kind::parse(&line.kind), &line.namespace, &line.name, &Uid::default()))
}

/// Returns whether the API server has answered.
pub fn state(s: &Shown<'_>) -> State {
    State {
        why_empty: s.ui.table_of.2.iter().map(|words| plain(words.as_str())).collect(),
        ..State::default()
    }
}
