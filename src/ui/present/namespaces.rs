//! The list of namespaces, from what is seen in them.

use std::collections::HashSet;

use pilothouse_core::domain::id::Name;
use pilothouse_core::model::world::Cluster;

use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::{Grade, RowView, cell, plain};

/// The columns.
pub const COLUMNS: [Column; 2] = [Column::name("NAMESPACE", 16, 60), Column::left("", 8, 30, 3)];

/// All namespaces that something lives in, by name.
pub fn collect(cluster: &Cluster) -> Vec<Name> {
    let mut seen: HashSet<&Name> = HashSet::new();
    seen.extend(cluster.pods.iter().map(|p| &p.namespace));
    seen.extend(cluster.services.iter().map(|s| &s.namespace));
    seen.extend(cluster.derived.workloads.iter().map(|w| &w.workload.namespace));
    let mut names: Vec<Name> = seen.into_iter().cloned().collect();
    names.sort();
    names
}

/// One row.
pub fn row(name: &Name, current: Option<&Name>) -> RowView {
    let here = current == Some(name);
    RowView {
        grade: Grade::Fine,
        cells: vec![plain(name.as_str()), cell(Role::Ok, if here { "shown now" } else { "" })],
        marked: false,
    }
}
