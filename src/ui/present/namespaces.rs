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
    RowView { grade: Grade::Fine, cells: vec![plain(name.as_str()), state], ..RowView::default() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::model::event::Identity;
    use pilothouse_core::model::world::ClusterInfo;

    use super::*;

    #[test]
    fn offers_what_was_asked_for_and_what_the_server_lists() {
        let info = ClusterInfo { namespaces: ["shop".into()].into(), ..ClusterInfo::default() };
        let identity = Identity { namespaces: Some(vec!["pay".into(), "web".into()]), ..Identity::default() };
        let mut cluster = Cluster { info: Arc::new(info), identity, ..Cluster::default() };
        cluster.pods.cover = Coverage::Namespaces(["shop".into()].into());
        assert_eq!(collect(&cluster), ["pay", "shop", "web"]);
        let state =
            |name: &str, current: Option<&Name>| row(&cluster, &name.into(), current).cells[1].text.clone();
        assert_eq!(state("shop", None), "");
        assert_eq!(state("shop", Some(&"shop".into())), "shown now");
        assert_eq!(state("pay", None), "not read", "choosing it would show nothing");
    }
}
