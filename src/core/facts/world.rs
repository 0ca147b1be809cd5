//! The snapshot that all readers hold: immutable, cheap to clone, published by the hub.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::domain::alert::{AlertRow, AlertsSeen};
use crate::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid, Version};
use crate::domain::incident::{Incident, Remark};
use crate::domain::link::Link;
use crate::domain::log::Logs;
use crate::domain::node::Node;
use crate::domain::pod::Pod;
use crate::domain::quantity::Resources;
use crate::domain::service::{EndpointSlice, Service};
use crate::domain::source::{Feed, SourceStatus};
use crate::domain::time::Stamp;
use crate::domain::traffic::TrafficSeen;
use crate::domain::usage::{NodeUsage, PodUsage};
use crate::domain::workload::Workload;

pub use super::action::{ActionView, Outcome, Place, StepState, StepView};
use super::event::Identity;
use super::history::History;
pub use super::info::ClusterInfo;
use super::past::Track;
use super::routes::Routes;
use super::table::{Row, Table};
use super::tables::Tables;
pub use super::verdicts::{HpaRow, SloRow, TrafficRow};
pub use crate::domain::cause::{Cause, Effect, Severity, Silenced};
pub use crate::domain::change::{Change, ChangeKind};
pub use crate::domain::node::NodeState;

/// The whole shared state at one time.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Increases with every publish.
    pub seq: u64,
    /// When it was published, by the clock of this process, which the server of the first cluster corrects.
    pub at: Stamp,
    pub clusters: Arc<[Arc<Cluster>]>,
    /// Running and past actions of this process and of the journal, newest first.
    pub actions: Arc<[Arc<ActionView>]>,
}

impl World {
    pub fn cluster(&self, id: ClusterId) -> Option<&Arc<Cluster>> {
        self.clusters.get(usize::from(id.0))
    }

    /// The clusters that the user has not closed.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Cluster>> + Clone {
        self.clusters.iter().filter(|cluster| cluster.link.is_live())
    }

    /// The live cluster of a context.
    pub fn of_context(&self, context: &str) -> Option<&Arc<Cluster>> {
        self.live().find(|cluster| cluster.info.context == *context)
    }

    /// Whether more than one cluster is live.
    pub fn has_several(&self) -> bool {
        self.live().nth(1).is_some()
    }
}

/// The facts of one cluster, and what is derived from them.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub info: Arc<ClusterInfo>,
    /// When it was published last, by the clock of its own server.
    pub at: Stamp,
    pub link: Link,
    pub identity: Identity,
    /// The tables of the watched kinds: `cluster.pods` is `cluster.tables.pods`.
    pub tables: Tables,
    /// By node name, with who measured.
    pub node_usage: Arc<HashMap<Name, NodeUsage>>,
    pub node_usage_source: Option<Name>,
    /// Usage by (namespace, pod).
    pub pod_usage: Arc<HashMap<(Name, Name), PodUsage>>,
    /// Of all sources of traffic together.
    pub traffic: Arc<TrafficSeen>,
    /// The alerts of the last poll, and the silences.
    pub alerts: Arc<AlertsSeen>,
    pub logs: Arc<Logs>,
    pub sources: Arc<[SourceStatus]>,
    pub derived: Derived,
}

impl Deref for Cluster {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }
}

impl Cluster {
    pub fn id(&self) -> ClusterId {
        self.info.id
    }

    /// A reference to an object of this cluster.
    pub fn object(&self, kind: Kind, namespace: &Name, name: &Name, uid: &Uid) -> ObjectRef {
        ObjectRef::new(self.info.id, kind, namespace, name, uid)
    }

    /// The table of a workload kind.
    pub fn workloads(&self, kind: &Kind) -> Option<&Table<Workload>> {
        match kind {
            Kind::Deployment => Some(&self.deployments),
            Kind::ReplicaSet => Some(&self.replicasets),
            Kind::StatefulSet => Some(&self.statefulsets),
            Kind::DaemonSet => Some(&self.daemonsets),
            Kind::Job => Some(&self.jobs),
            _ => None,
        }
    }

    /// True if the endpoints of a namespace's Services are complete and current: all were read, and no source is late.
    pub fn knows_endpoints(&self, namespace: &str) -> bool {
        self.slices.is_current(namespace)
    }

    /// The Service's row, if its endpoints are complete enough to tell which pods are in rotation.
    pub fn in_rotation<'a>(&self, row: Option<&'a ServiceRow>) -> Option<&'a ServiceRow> {
        row.filter(|row| self.knows_endpoints(&row.service.namespace))
    }

    /// What is measured of a Service.
    pub fn measured(&self, namespace: &str, name: &str) -> Option<&Arc<TrafficRow>> {
        let is = |row: &&Arc<TrafficRow>| row.traffic.namespace == namespace && row.traffic.name == name;
        self.derived.traffic.iter().find(is)
    }

    /// The service level objectives of a Service.
    pub fn slos(&self, namespace: &str, name: &str) -> impl Iterator<Item = &Arc<SloRow>> {
        self.derived.slos.iter().filter(move |row| row.namespace == namespace && row.service == name)
    }

    /// The alerts that are about an object.
    pub fn alerts_about<'a>(&'a self, object: &'a ObjectRef) -> impl Iterator<Item = &'a Arc<AlertRow>> {
        self.derived.alerts.iter().filter(move |row| row.is_about(object))
    }

    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|n| n.name == name)
    }

    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Arc<Pod>> {
        self.pods.iter().find(|p| p.name == name && p.namespace == namespace)
    }

    pub fn workload(&self, kind: &Kind, namespace: &str, name: &str) -> Option<&Arc<Workload>> {
        self.workloads(kind)?.iter().find(|w| w.name == name && w.namespace == namespace)
    }

    pub fn source(&self, name: &str) -> Option<&SourceStatus> {
        self.sources.iter().find(|s| s.name == name)
    }

    /// The sources that publish data of this kind.
    pub fn sources_of(&self, feed: Feed) -> impl Iterator<Item = &SourceStatus> + Clone {
        self.sources.iter().filter(move |s| s.feed == feed)
    }

    /// The workload at the top of a pod's owners: the Deployment for a pod of one of its ReplicaSets, otherwise the
    /// direct owner. None for a bare pod.
    pub fn top_owner(&self, pod: &Pod) -> Option<(Kind, Name)> {
        let owner = pod.owner.as_ref()?;
        if owner.kind == Kind::ReplicaSet
            && let Some(of) = self.derived.replicaset_owner.get(&owner.uid)
        {
            return Some((of.kind.clone(), of.name.clone()));
        }
        Some((owner.kind.clone(), owner.name.clone()))
    }
}

/// The values derived from the facts; see [`crate::state::derive`].
#[derive(Clone, Debug, Default)]
pub struct Derived {
    pub nodes: Table<NodeRow>,
    pub workloads: Table<WorkloadRow>,
    pub services: Table<ServiceRow>,
    pub hpas: Table<HpaRow>,
    /// One for each of [`Cluster::traffic`], in its order.
    pub traffic: Arc<[Arc<TrafficRow>]>,
    /// One for each service level objective, ordered by namespace, Service and name.
    pub slos: Arc<[Arc<SloRow>]>,
    /// One for each of the alerts, in their order, with the objects that they are about.
    pub alerts: Arc<[Arc<AlertRow>]>,
    /// The routes by the Services that they name.
    pub routes: Arc<Routes>,
    /// ReplicaSet uid -> its owner.
    pub replicaset_owner: Arc<HashMap<Uid, Arc<crate::domain::id::Owner>>>,
    pub counts: Counts,
    /// Ordered by severity, the worst first.
    pub causes: Arc<[Arc<Cause>]>,
    /// The silenced findings in the same order, each with its silence.
    pub silenced: Arc<[Silenced]>,
    /// The changes of the last hours, newest first.
    pub changes: Arc<[Arc<Change>]>,
    /// What was displayed before.
    pub history: Arc<History>,
    /// The incidents, the newest first.
    pub incidents: Arc<[Arc<Incident>]>,
    /// The bookmarks and notes, the oldest first.
    pub remarks: Arc<[Arc<Remark>]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub nodes: u32,
    pub nodes_ready: u32,
    pub nodes_cordoned: u32,
    /// Nodes that are dead and declared powered off: their machines need a repair, but they are no emergency.
    pub nodes_out_of_service: u32,
    /// The pods among [`Self::pods_bad`] on such nodes. They are DaemonSet pods, which are not moved to other nodes.
    pub pods_out_of_service: u32,
    pub pods: u32,
    pub pods_bad: u32,
    pub pods_pending: u32,
    pub pods_unschedulable: u32,
}

/// The sums over the pods bound to a node, as in `kubectl describe node`: terminated pods are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeTotals {
    pub pods: u32,
    pub bad: u32,
    pub terminating: u32,
    pub requests: Resources,
}

/// A node with the values of its row.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRow {
    pub node: Arc<Node>,
    pub state: NodeState,
    /// Since when the node is in that state.
    pub since: Option<Stamp>,
    /// Bad conditions other than Ready (pressure, network, those of a problem detector).
    pub problems: Arc<[Name]>,
    pub totals: NodeTotals,
    pub usage: Option<NodeUsage>,
    /// The last polls of its usage: CPU in cores, and memory in GiB.
    pub past: Option<Arc<Track<2>>>,
}

impl NodeRow {
    /// Returns the row of a node of which nothing else is known.
    pub fn of(node: Node) -> Self {
        Self {
            node: Arc::new(node),
            state: NodeState::default(),
            since: None,
            problems: Arc::default(),
            totals: NodeTotals::default(),
            usage: None,
            past: None,
        }
    }

    /// The node is dead and has the out-of-service taint, which declares the machine powered off.
    pub fn is_out_of_service(&self) -> bool {
        self.state.is_dead() && self.node.has_out_of_service_taint()
    }
}

impl Row for NodeRow {
    fn uid(&self) -> &Uid {
        &self.node.uid
    }
    fn version(&self) -> Version {
        self.node.version
    }
    fn namespace(&self) -> &'static str {
        ""
    }
    fn same_content(&self, other: &Self) -> bool {
        same(&self.node, &other.node) && *self == Self { node: self.node.clone(), ..other.clone() }
    }
}

/// The sums over the pods of one owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerTotals {
    pub pods: u32,
    pub ready: u32,
    pub bad: u32,
    pub terminating: u32,
    pub restarts: u64,
    pub crash_loop: u32,
    pub image_pull: u32,
    pub config: u32,
    pub oom: u32,
    pub unschedulable: u32,
}

/// A workload with the values of its row.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadRow {
    pub workload: Arc<Workload>,
    pub totals: OwnerTotals,
    pub rollout: crate::domain::workload::Rollout,
}

impl Row for WorkloadRow {
    fn uid(&self) -> &Uid {
        &self.workload.uid
    }
    fn version(&self) -> Version {
        self.workload.version
    }
    fn namespace(&self) -> &str {
        &self.workload.namespace
    }
    fn same_content(&self, other: &Self) -> bool {
        same(&self.workload, &other.workload)
            && *self == Self { workload: self.workload.clone(), ..other.clone() }
    }
}

/// A Service with its EndpointSlices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceRow {
    pub service: Arc<Service>,
    pub slices: Arc<[Arc<EndpointSlice>]>,
    /// The number of ready endpoints (distinct targets), and the number of all.
    pub ready: u32,
    pub total: u32,
    /// The pods that came into rotation recently, with the time, ordered by name. Their rates
    /// over a window are too low, because they did not receive requests for the whole window.
    pub came: Arc<[(Name, Stamp)]>,
    /// The pods behind the endpoints, ordered by name, and whether they get requests.
    pub pods: Arc<[(Name, bool)]>,
}

impl ServiceRow {
    pub fn new(service: Arc<Service>, slices: Arc<[Arc<EndpointSlice>]>, came: Arc<[(Name, Stamp)]>) -> Self {
        struct Behind<'e> {
            id: &'e Name,
            is_pod: bool,
            ready: bool,
            gets: bool,
        }
        let endpoints = || slices.iter().flat_map(|slice| slice.endpoints.iter());
        // Like in kube-proxy, if no endpoint is ready, the requests go to those that are terminating and still serving.
        let any_ready = endpoints().any(|e| e.ready);
        let behind = endpoints().map(|e| Behind {
            id: e.pod.as_ref().unwrap_or(&e.address),
            is_pod: e.pod.is_some(),
            ready: e.ready,
            gets: e.ready || !any_ready && e.serving && e.terminating,
        });
        let mut all: Vec<Behind<'_>> = behind.collect();
        all.sort_unstable_by(|a, b| a.id.cmp(b.id));
        // A pod has one endpoint for each address family, and counts once.
        all.dedup_by(|other, held| {
            let is_same = other.id == held.id;
            if is_same {
                held.is_pod |= other.is_pod;
                held.ready |= other.ready;
                held.gets |= other.gets;
            }
            is_same
        });
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            ready: count(all.iter().filter(|one| one.ready).count()),
            total: count(all.len()),
            pods: all.iter().filter(|one| one.is_pod).map(|one| (one.id.clone(), one.gets)).collect(),
            service,
            slices,
            came,
        }
    }

    /// When a pod came into rotation; `None` if it was long ago, or never.
    pub fn came_at(&self, pod: &str) -> Option<Stamp> {
        let at = self.came.binary_search_by(|(name, _)| name.as_str().cmp(pod)).ok()?;
        self.came.get(at).map(|(_, since)| *since)
    }
}

impl Row for ServiceRow {
    fn uid(&self) -> &Uid {
        &self.service.uid
    }
    fn version(&self) -> Version {
        self.service.version
    }
    fn namespace(&self) -> &str {
        &self.service.namespace
    }
    fn same_content(&self, other: &Self) -> bool {
        same(&self.service, &other.service)
            && *self == Self { service: self.service.clone(), ..other.clone() }
    }
}

/// Whether two rows have the same content, apart from their versions.
pub(super) fn same<T: Row>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a.same_content(b)
}
