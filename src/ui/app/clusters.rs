//! The cluster that is shown, beside others that are open. The filter, order, marks, selection and scroll position of
//! each list are kept for each cluster.

use std::collections::BTreeMap;

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::link::ContextLine;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{ClusterInfo, World};

use super::super::list::{List, ListId};
use super::super::request::Ticket;
use super::super::rows::PaneRows;
use super::super::theme::{CLUSTERS, Role, of_config};
use super::{Beside, Details, Metrics, PodScope, Ui};

/// The lists of one cluster.
#[derive(Debug)]
struct Lists {
    lists: [List; ListId::COUNT],
    namespace: Option<Name>,
    pod_scope: PodScope,
    service: (Name, Name),
}

/// The action that opened a cluster.
#[derive(Debug)]
pub struct OpenedBy {
    pub action: &'static str,
    /// Whether the cluster has been in the World.
    pub seen: bool,
}

/// What the screen keeps besides the cluster that is shown.
#[derive(Debug, Default)]
pub struct Fleet {
    /// Whether NOW shows the findings and changes of all open clusters.
    pub all: bool,
    /// The contexts of the kubeconfig, and the ticket of their request.
    pub contexts: Vec<ContextLine>,
    pub contexts_of: Option<Ticket>,
    /// The context whose cluster is shown as soon as it is in the World.
    pub awaited: Option<Name>,
    /// The cluster that the next press of the key closes, and until when: it has an open incident.
    pub closing: Option<(ClusterId, u64)>,
    /// The clusters that an action opened, by context. They stay open when it has ended.
    pub opened: BTreeMap<Name, OpenedBy>,
    /// The colours that the config has for clusters.
    pub colours: Vec<Name>,
    /// The namespace with which each cluster begins.
    begins_in: Option<Name>,
    /// The lists of the clusters that are not shown.
    parked: BTreeMap<ClusterId, Lists>,
}

impl Lists {
    /// Returns the lists of a cluster that was not shown yet.
    fn new(namespace: Option<Name>) -> Self {
        Self {
            lists: std::array::from_fn(|_| List::default()),
            namespace,
            pod_scope: PodScope::All,
            service: (Name::default(), Name::default()),
        }
    }
}

/// Returns by how many milliseconds the clock of a cluster's server is ahead of ours.
fn ahead(world: &World, id: ClusterId) -> i64 {
    world.cluster(id).and_then(|cluster| cluster.identity.clock_offset_ms).unwrap_or(0)
}

impl Ui {
    /// Sets the namespace with which each cluster begins.
    pub fn begins_in(&mut self, namespace: Option<Name>) {
        self.namespace.clone_from(&namespace);
        self.fleet.begins_in = namespace;
    }

    /// Shows another cluster and restores its lists. An open dialog stays, because it is about its own cluster.
    pub fn show_cluster(&mut self, id: ClusterId) {
        if id == self.cluster {
            return;
        }
        let next = self.fleet.parked.remove(&id).unwrap_or_else(|| Lists::new(self.fleet.begins_in.clone()));
        let left = Lists {
            lists: std::mem::replace(&mut self.lists, next.lists),
            namespace: std::mem::replace(&mut self.namespace, next.namespace),
            pod_scope: std::mem::replace(&mut self.pod_scope, next.pod_scope),
            service: std::mem::replace(&mut self.service, next.service),
        };
        self.fleet.parked.insert(self.cluster, left);
        // a key that was pressed for the other cluster must not act on a row of this one
        self.lists.iter_mut().for_each(|list| list.known.forgets());
        self.seen_row = None;
        self.cluster = id;
        self.rows = PaneRows::default();
        // the served kinds, the failover plans and the metrics differ for each cluster
        (self.kinds, self.kinds_of) = (None, None);
        self.failovers.clear();
        // an answer that comes later is about the other cluster
        (self.failovers_of, self.failovers_about, self.failovers_node) = (Ticket(0), None, None);
        self.metrics = Metrics::default();
        self.beside = Beside::default();
        self.details = Details { off: self.details.off, ..Details::default() };
    }

    /// Returns the time by the server of the cluster in front. `now` is by the clock of the screen, which the server of the
    /// first cluster corrects, by `corrected` milliseconds, because nothing is known of that cluster after it was closed.
    /// `None`: nothing corrects the clock, and its time is that of the first cluster's server, as in a recording.
    pub fn clock_of_front(&self, world: &World, now: Stamp, corrected: Option<i64>) -> Stamp {
        let is_first = self.cluster == ClusterId::default();
        let corrected = || corrected.unwrap_or_else(|| ahead(world, ClusterId::default()));
        if is_first { now } else { Stamp(now.0 - corrected() + ahead(world, self.cluster)) }
    }

    /// Returns a time as the server of another cluster has it. `at` is by the server of the cluster in front.
    pub fn at_in(&self, world: &World, id: ClusterId, at: Stamp) -> Stamp {
        if id == self.cluster { at } else { Stamp(at.0 - ahead(world, self.cluster) + ahead(world, id)) }
    }

    /// Returns the time by the server of a cluster.
    pub fn now_in(&self, world: &World, id: ClusterId) -> Stamp {
        self.at_in(world, id, self.now)
    }

    /// Removes the marks of a cluster, after an action on them was confirmed.
    pub fn clear_marks(&mut self, id: ClusterId, list: ListId) {
        if id == self.cluster {
            self.list_mut(list).marks.clear();
        } else if let Some(parked) =
            self.fleet.parked.get_mut(&id).and_then(|p| p.lists.get_mut(list as usize))
        {
            parked.marks.clear();
        }
    }

    /// Forgets the lists of clusters that were closed.
    pub fn forget_closed(&mut self, world: &World) {
        self.fleet.parked.retain(|id, _| world.cluster(*id).is_some_and(|cluster| cluster.link.is_live()));
        // one that is being opened is not in the World yet
        self.fleet.opened.retain(|context, opened| {
            let is_live = world.of_context(context).is_some();
            opened.seen |= is_live;
            is_live || !opened.seen
        });
    }

    /// Returns the role of a cluster's name: the colour of the config, otherwise one of the theme's if several clusters
    /// are open.
    pub fn tint(&self, world: &World, info: &ClusterInfo) -> Role {
        let of_config = self.config_tint(&info.colour);
        let plain = || if info.protected { Role::ContextProtected } else { Role::Context };
        of_config.unwrap_or_else(|| {
            let free = CLUSTERS.len().saturating_sub(self.fleet.colours.len());
            let turn = usize::from(info.id.0).checked_rem(free);
            let own = turn.and_then(|at| CLUSTERS.get(at)).filter(|_| world.has_several());
            own.copied().unwrap_or_else(plain)
        })
    }

    /// Returns the role of a colour of the config.
    pub fn config_tint(&self, colour: &Name) -> Option<Role> {
        of_config(self.fleet.colours.iter().position(|held| held == colour)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::id::Uid;
    use pilothouse_core::domain::link::Link;
    use pilothouse_core::domain::settings::UiSettings;
    use pilothouse_core::facts::event::Identity;
    use pilothouse_core::facts::world::Cluster;

    use super::*;

    #[test]
    fn marks_and_selection_stay_with_their_cluster() {
        let (mut ui, _) = Ui::new(&UiSettings::default());
        ui.begins_in(Some("first".into()));
        let (a, b, uid) = (ClusterId(0), ClusterId(1), Uid::Uuid(1));
        let pods = ui.list_mut(ListId::Pods);
        pods.marks.insert(uid.clone());
        pods.selected = Some(uid.clone());
        pods.top = 7;
        ui.namespace = Some("shop".into());
        ui.show_cluster(b);
        let pods = ui.list(ListId::Pods);
        assert!(pods.marks.is_empty() && pods.selected.is_none() && pods.top == 0);
        assert_eq!(ui.namespace.as_deref(), Some("first"), "as the command line asked for each");
        ui.show_cluster(a);
        let pods = ui.list(ListId::Pods);
        assert!(pods.marks.contains(&uid) && pods.selected == Some(uid.clone()) && pods.top == 7);
        assert_eq!(ui.namespace.as_deref(), Some("shop"));
        ui.show_cluster(b);
        ui.clear_marks(a, ListId::Pods);
        ui.show_cluster(a);
        assert!(ui.list(ListId::Pods).marks.is_empty(), "also while the other is shown");
        ui.show_cluster(b);
        ui.forget_closed(&World::default());
        ui.show_cluster(a);
        assert_eq!(ui.list(ListId::Pods).top, 0, "it was closed");
    }

    #[test]
    fn ages_are_by_the_clock_of_the_server_in_front() {
        let (mut ui, _) = Ui::new(&UiSettings::default());
        let ahead = |ms| Cluster {
            identity: Identity { clock_offset_ms: Some(ms), ..Identity::default() },
            ..Cluster::default()
        };
        let clusters = [ahead(1_000), ahead(61_000)].map(Arc::new);
        let world = World { clusters: clusters.into(), ..World::default() };
        let front = |ui: &Ui, world: &World| ui.clock_of_front(world, Stamp(500_000), Some(1_000));
        let (first, second) = (ClusterId(0), ClusterId(1));
        assert_eq!(front(&ui, &world), Stamp(500_000));
        ui.now = Stamp(500_000);
        assert_eq!([first, second].map(|id| ui.now_in(&world, id)), [Stamp(500_000), Stamp(560_000)]);
        ui.show_cluster(second);
        assert_eq!(front(&ui, &world), Stamp(560_000));
        ui.now = Stamp(560_000);
        assert_eq!([first, second].map(|id| ui.now_in(&world, id)), [Stamp(500_000), Stamp(560_000)]);
        // the clock of a recording is not corrected: its time is that of the first one's server
        assert_eq!(ui.clock_of_front(&world, Stamp(500_000), None), Stamp(560_000));
        // the first one is closed: its offset is gone, and the clock of the screen still has it
        let clusters = [Arc::default(), world.clusters[1].clone()].into();
        assert_eq!(front(&ui, &World { clusters, ..world }), Stamp(560_000));
    }

    fn world(links: [Link; 2]) -> World {
        let cluster = |(id, link)| {
            let info = ClusterInfo { id: ClusterId(id), protected: id == 0, ..ClusterInfo::default() };
            Arc::new(Cluster { info: Arc::new(info), link, ..Cluster::default() })
        };
        World { clusters: (0u16..).zip(links).map(cluster).collect(), ..World::default() }
    }

    #[test]
    fn each_of_several_clusters_has_a_colour_and_one_alone_keeps_that_of_contexts() {
        let (mut ui, _) = Ui::new(&UiSettings::default());
        let (both, one) = (world([Link::Open, Link::Open]), world([Link::Open, Link::Closed]));
        let tints = |ui: &Ui, world: &World| [0, 1].map(|at| ui.tint(world, &world.clusters[at].info));
        assert_eq!(tints(&ui, &both), [Role::Cluster1, Role::Cluster2]);
        assert_eq!(tints(&ui, &one), [Role::ContextProtected, Role::Context]);
        ui.fleet.colours = vec!["blue".into(), "#ff8800".into()];
        let info = ClusterInfo { colour: "#ff8800".into(), ..ClusterInfo::default() };
        assert_eq!(ui.tint(&one, &info), Role::Cluster7, "that of the config, even alone");
        let last = ClusterInfo { id: ClusterId(5), ..ClusterInfo::default() };
        assert_eq!(ui.tint(&both, &last), Role::Cluster6, "and no other has it");
        let again = ClusterInfo { id: ClusterId(6), ..ClusterInfo::default() };
        assert_eq!(ui.tint(&both, &again), Role::Cluster1);
    }
}
