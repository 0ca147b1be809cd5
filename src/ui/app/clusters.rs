//! The cluster that is shown. The filter, order, marks and selection of each list are kept for each cluster.

use std::collections::BTreeMap;

use pilothouse_core::domain::id::{ClusterId, Name};

use super::super::list::{List, ListId};
use super::super::rows::PaneRows;
use super::{PodScope, Ui};

/// The lists of the clusters that are not shown, by cluster ID.
pub(super) type Parked = BTreeMap<ClusterId, Lists>;

/// The lists of one cluster.
#[derive(Debug)]
pub(super) struct Lists {
    lists: [List; ListId::COUNT],
    namespace: Option<Name>,
    pod_scope: PodScope,
    service: (Name, Name),
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            lists: std::array::from_fn(|_| List::default()),
            namespace: None,
            pod_scope: PodScope::All,
            service: (Name::default(), Name::default()),
        }
    }
}

impl Ui {
    /// Shows another cluster and restores its lists.
    pub fn show_cluster(&mut self, id: ClusterId) {
        if id == self.cluster {
            return;
        }
        let next = self.parked.remove(&id).unwrap_or_default();
        let left = Lists {
            lists: std::mem::replace(&mut self.lists, next.lists),
            namespace: std::mem::replace(&mut self.namespace, next.namespace),
            pod_scope: std::mem::replace(&mut self.pod_scope, next.pod_scope),
            service: std::mem::replace(&mut self.service, next.service),
        };
        self.parked.insert(self.cluster, left);
        self.cluster = id;
        self.rows = PaneRows::default();
        // the served kinds and the failover plans differ for each cluster
        (self.kinds, self.kinds_of) = (None, None);
        self.failovers.clear();
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::Uid;
    use pilothouse_core::domain::settings::UiSettings;

    use super::*;

    #[test]
    fn marks_and_selection_stay_with_their_cluster() {
        let (mut ui, _) = Ui::new(&UiSettings::default());
        let (a, b, uid) = (ClusterId(0), ClusterId(1), Uid::Uuid(1));
        let pods = ui.list_mut(ListId::Pods);
        pods.marks.insert(uid.clone());
        pods.selected = Some(uid.clone());
        ui.namespace = Some("shop".into());
        ui.show_cluster(b);
        let pods = ui.list(ListId::Pods);
        assert!(pods.marks.is_empty() && pods.selected.is_none() && ui.namespace.is_none());
        ui.show_cluster(a);
        let pods = ui.list(ListId::Pods);
        assert!(pods.marks.contains(&uid) && pods.selected == Some(uid));
        assert_eq!(ui.namespace.as_deref(), Some("shop"));
    }
}
