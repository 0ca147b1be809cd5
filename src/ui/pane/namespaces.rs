//! The list of namespaces: the namespaces that the user selected, that the API server lists, and that contain
//! objects.

use std::sync::Arc;

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{Cause, Cluster, World};

use super::super::app::Ui;
use super::super::cell::{Grade, RowView, cell, plain};
use super::super::list::{List, Spec};
use super::super::rows::namespaces::{Place, places};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text;
use super::Shown;
use super::orders::indexes;

/// The columns.
pub const COLUMNS: [Column; 4] = [
    Column::name("NAMESPACE", 16, 60),
    Column::right("PODS", 4, 8, 0),
    Column::right("CAUSES", 6, 6, 0),
    Column::left("", 8, 30, 3).named("state"),
];

/// Builds one row.
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
    // if pods are not read, their number is unknown, not zero
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

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    ui.rows.namespaces = places(cluster);
    list.sorted = indexes(&ui.rows.namespaces, |place| spec.filter.passes(&[place.title()]));
}

/// Returns the identity of a row, which is the name.
pub fn key_of(s: &Shown<'_>, row: u32) -> Option<Uid> {
    s.ui.rows.namespaces.get(row as usize).map(|place| Uid::Text(place.name.clone()))
}

/// Returns a row by its index.
pub fn row_of(s: &Shown<'_>, row: u32) -> Option<RowView> {
    Some(self::row(s.cluster, s.ui.rows.namespaces.get(row as usize)?, s.ui.namespace.as_ref()))
}

#[cfg(test)]
mod tests {
    use pilothouse_core::facts::event::Identity;
    use pilothouse_core::facts::world::ClusterInfo;

    use super::super::super::rows::namespaces::collect;
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
