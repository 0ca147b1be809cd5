//! The list of namespaces: those that were asked for, those that the server lists, and those that something lives in.

use std::collections::HashSet;

use pilothouse_core::domain::id::Name;
use pilothouse_core::model::table::Coverage;
use pilothouse_core::model::world::Cluster;

use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::{Grade, RowView, cell, plain};

/// The columns.
pub const COLUMNS: [Column; 2] = [Column::name("NAMESPACE", 16, 60), Column::left("", 8, 30, 3)];

/// All namespaces that are known, by name.
pub fn collect(cluster: &Cluster) -> Vec<Name> {
    let mut seen: HashSet<&Name> = HashSet::new();
    seen.extend(cluster.pods.iter().map(|p| &p.namespace));
    seen.extend(cluster.services.iter().map(|s| &s.namespace));
    seen.extend(cluster.derived.workloads.iter().map(|w| &w.workload.namespace));
    seen.extend(cluster.info.namespaces.iter());
    seen.extend(cluster.identity.namespaces.iter().flatten());
    let mut names: Vec<Name> = seen.into_iter().cloned().collect();
    names.sort();
    names
}

/// One row.
pub fn row(cluster: &Cluster, name: &Name, current: Option<&Name>) -> RowView {
    let state = match &cluster.pods.cover {
        _ if current == Some(name) => cell(Role::Ok, "shown now"),
        Coverage::Namespaces(read) if !read.contains(name) => cell(Role::Denied, "not read"),
        _ => cell(Role::Dim, ""),
    };
    RowView { grade: Grade::Fine, cells: vec![plain(name.as_str()), state], marked: false }
}
