//! The list of namespaces: those that were asked for, those that the server lists, and those that something lives in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{Cause, Cluster};

use super::super::cell::{Grade, RowView, cell, plain};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text;

/// The columns.
pub const COLUMNS: [Column; 4] = [
    Column::name("NAMESPACE", 16, 60),
    Column::right("PODS", 4, 8, 0),
    Column::right("CAUSES", 6, 6, 0),
    Column::left("", 8, 30, 3),
];

/// One row: a namespace, or with an empty name all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub name: Name,
    pub pods: usize,
}

impl Place {
    /// As it is called on the screen.
    pub fn title(&self) -> &str {
        if self.name.is_empty() { "all namespaces" } else { &self.name }
    }
}

/// All namespaces at once, then each by its name.
pub fn places(cluster: &Cluster) -> Vec<Place> {
    let mut pods: HashMap<&Name, usize> = HashMap::new();
    for pod in cluster.pods.iter() {
        *pods.entry(&pod.namespace).or_default() += 1;
    }
    let each = collect(cluster).into_iter().map(|name| {
        let pods = pods.get(&name).copied().unwrap_or(0);
        Place { name, pods }
    });
    let all = Place { name: Name::default(), pods: cluster.pods.len() };
    std::iter::once(all).chain(each).collect()
}

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
pub fn row(cluster: &Cluster, place: &Place, current: Option<&Name>) -> RowView {
    let name = &place.name;
    let all = name.is_empty();
    let unread = matches!(&cluster.pods.cover, Coverage::Namespaces(read) if !all && !read.contains(name));
    let state = match current {
        None if all => cell(Role::Ok, "shown now"),
        Some(current) if current == name => cell(Role::Ok, "shown now"),
        _ if unread => cell(Role::Denied, "not read"),
        _ => cell(Role::Dim, ""),
    };
    let about = |cause: &Arc<Cause>| all || cause.objects.iter().any(|o| o.namespace == *name);
    let causes = cluster.derived.causes.iter().filter(|cause| about(cause)).count();
    // what is not read is not known to be none
    let known = cluster.pods.cover.is_read() && !unread;
    let pods = if known { text::grouped(place.pods as u64) } else { "–".into() };
    let causes = match causes {
        0 if !known => cell(Role::Dim, "–"),
        0 => cell(Role::Dim, "0"),
        n => cell(Role::Warning, n.to_string()),
    };
    RowView {
        grade: Grade::Fine,
        cells: vec![plain(place.title()), plain(pods), causes, state],
        ..RowView::default()
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::facts::event::Identity;
    use pilothouse_core::facts::world::ClusterInfo;

    use super::*;

    #[test]
    fn offers_what_was_asked_for_and_what_the_server_lists() {
        let info = ClusterInfo { namespaces: ["shop".into()].into(), ..ClusterInfo::default() };
        let identity = Identity { namespaces: Some(vec!["pay".into(), "web".into()]), ..Identity::default() };
        let mut cluster = Cluster { info: Arc::new(info), identity, ..Cluster::default() };
        cluster.pods.cover = Coverage::Namespaces(["shop".into()].into());
        assert_eq!(collect(&cluster), ["pay", "shop", "web"]);
        let place = |name: &str| Place { name: name.into(), pods: 7 };
        let told = |name: &str, current: Option<&Name>| {
            let row = row(&cluster, &place(name), current);
            row.cells.into_iter().map(|cell| cell.text).collect::<Vec<_>>()
        };
        let state = |name: &str, current: Option<&Name>| told(name, current).pop().unwrap();
        assert_eq!(told("shop", None), ["shop", "7", "0", ""]);
        assert_eq!(told("", None), ["all namespaces", "7", "0", "shown now"]);
        assert_eq!(told("pay", None), ["pay", "–", "–", "not read"]);
        let names: Vec<Name> = places(&cluster).into_iter().map(|place| place.name).collect();
        assert_eq!(names, ["", "pay", "shop", "web"]);
        assert_eq!(state("shop", None), "");
        assert_eq!(state("shop", Some(&"shop".into())), "shown now");
        assert_eq!(state("pay", None), "not read", "choosing it would show nothing");
    }
}
