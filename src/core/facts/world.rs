//! The snapshot that everybody reads: immutable, cheap to clone, published by the hub.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::autoscaler::Hpa;
use crate::domain::budget::Pdb;
use crate::domain::cronjob::CronJob;
use crate::domain::event::KubeEvent;
use crate::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid, Version};
use crate::domain::log::Logs;
use crate::domain::node::OUT_OF_SERVICE;
use crate::domain::node::{Node, NodeLease};
use crate::domain::pod::Pod;
use crate::domain::quantity::Resources;
use crate::domain::service::{EndpointSlice, Service};
use crate::domain::silence::Silence;
use crate::domain::source::{Feed, SourceStatus};
use crate::domain::time::Stamp;
use crate::domain::traffic::TrafficSeen;
use crate::domain::usage::{NodeUsage, PodUsage};
use crate::domain::workload::Workload;

pub use super::action::{ActionView, Outcome, Place, StepState, StepView};
use super::event::Identity;
use super::table::{Coverage, Freshness, Row, Table};
pub use crate::domain::cause::{
    Alike, AlikeBy, Cause, Course, Effect, Kin, Reach, Remedy, Severity, Silenced, Suggestion,
};

/// Everything known, at one moment.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Rises with every publish.
    pub seq: u64,
    /// When it was published, by our clock.
    pub at: Stamp,
    pub clusters: Arc<[Arc<Cluster>]>,
    /// Running and past actions of this process and of the journal, newest first.
    pub actions: Arc<[Arc<ActionView>]>,
}

impl World {
    pub fn cluster(&self, id: ClusterId) -> Option<&Arc<Cluster>> {
        self.clusters.get(usize::from(id.0))
    }
}

/// What is pinned about a cluster at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    pub id: ClusterId,
    pub context: Name,
    /// The kubeconfig's user entry: shown until the server has said who we are.
    pub kubeconfig_user: Name,
    pub server: Name,
    /// The context is in no kubeconfig of the person's (a demo's): others find the cluster by its address.
    pub by_address: bool,
    pub protected: bool,
    pub read_only: bool,
    /// The namespaces that the person asked for; none = all.
    pub namespaces: Arc<[Name]>,
    /// What the config keeps silent from the start.
    pub silences: Arc<[Silence]>,
}

/// One cluster's facts and what follows from them.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub info: Arc<ClusterInfo>,
    pub identity: Identity,
    pub nodes: Table<Node>,
    pub leases: Table<NodeLease>,
    pub pods: Table<Pod>,
    pub deployments: Table<Workload>,
    pub replicasets: Table<Workload>,
    pub statefulsets: Table<Workload>,
    pub daemonsets: Table<Workload>,
    pub jobs: Table<Workload>,
    pub cronjobs: Table<CronJob>,
    pub services: Table<Service>,
    pub slices: Table<EndpointSlice>,
    pub hpas: Table<Hpa>,
    pub pdbs: Table<Pdb>,
    pub events: Table<KubeEvent>,
    /// By node name, with who measured.
    pub node_usage: Arc<HashMap<Name, NodeUsage>>,
    pub node_usage_source: Option<Name>,
    /// By (namespace, pod).
    pub pod_usage: Arc<HashMap<(Name, Name), PodUsage>>,
    /// Of all sources of traffic together.
    pub traffic: Arc<TrafficSeen>,
    pub logs: Arc<Logs>,
    pub sources: Arc<[SourceStatus]>,
    pub derived: Derived,
}

impl Cluster {
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

    /// True if the endpoints of a namespace's Services are the whole truth now: all were read, and none is late.
    pub fn knows_endpoints(&self, namespace: &str) -> bool {
        self.slices.cover.covers(namespace) && self.slices.fresh.stale_since.is_none()
    }

    /// The row, if one may judge by its endpoints who is in rotation.
    pub fn in_rotation<'a>(&self, row: Option<&'a ServiceRow>) -> Option<&'a ServiceRow> {
        row.filter(|row| self.knows_endpoints(&row.service.namespace))
    }

    /// Every table that is watched: its source's name, how much of the truth it holds, and how late it is.
    pub fn tables(&self) -> [(&'static str, &Coverage, Freshness); 14] {
        [
            ("nodes", &self.nodes.cover, self.nodes.fresh),
            ("leases", &self.leases.cover, self.leases.fresh),
            ("pods", &self.pods.cover, self.pods.fresh),
            ("deployments", &self.deployments.cover, self.deployments.fresh),
            ("replicasets", &self.replicasets.cover, self.replicasets.fresh),
            ("statefulsets", &self.statefulsets.cover, self.statefulsets.fresh),
            ("daemonsets", &self.daemonsets.cover, self.daemonsets.fresh),
            ("jobs", &self.jobs.cover, self.jobs.fresh),
            ("cronjobs", &self.cronjobs.cover, self.cronjobs.fresh),
            ("services", &self.services.cover, self.services.fresh),
            ("endpointslices", &self.slices.cover, self.slices.fresh),
            ("horizontalpodautoscalers", &self.hpas.cover, self.hpas.fresh),
            ("poddisruptionbudgets", &self.pdbs.cover, self.pdbs.fresh),
            ("events", &self.events.cover, self.events.fresh),
        ]
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

    /// The sources that publish this.
    pub fn sources_of(&self, feed: Feed) -> impl Iterator<Item = &SourceStatus> + Clone {
        self.sources.iter().filter(move |s| s.feed == feed)
    }

    /// The workload that a pod belongs to in the end: a Deployment for a pod of one of its ReplicaSets, else the
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

/// What follows from the facts; see [`crate::state::derive`].
#[derive(Clone, Debug, Default)]
pub struct Derived {
    pub nodes: Table<NodeRow>,
    pub workloads: Table<WorkloadRow>,
    pub services: Table<ServiceRow>,
    /// ReplicaSet uid -> its owner.
    pub replicaset_owner: Arc<HashMap<Uid, Arc<crate::domain::id::Owner>>>,
    pub counts: Counts,
    /// Ranked, worst first.
    pub causes: Arc<[Arc<Cause>]>,
    /// The silenced findings, each with its silence, in the same order.
    pub silenced: Arc<[Silenced]>,
    /// Newest first, of the last hours.
    pub changes: Arc<[Arc<Change>]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub nodes: u32,
    pub nodes_ready: u32,
    pub nodes_cordoned: u32,
    /// Dead, and somebody has said that the machine is off: a repair, no emergency.
    pub nodes_out_of_service: u32,
    /// Of [`Self::pods_bad`], those bound to such nodes: DaemonSet pods, which nobody moves.
    pub pods_out_of_service: u32,
    pub pods: u32,
    pub pods_bad: u32,
    pub pods_pending: u32,
    pub pods_unschedulable: u32,
}

/// A node's state, worst last. `Suspect`: its Lease stopped renewing, but the control plane still says Ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeState {
    #[default]
    Ready,
    Suspect,
    NotReady,
    Unknown,
}

impl NodeState {
    /// Its kubelet is not to be believed: what it was told to end does not end, and its pods' states are history.
    pub fn is_dead(self) -> bool {
        self >= Self::NotReady
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Suspect => "Suspect",
            Self::NotReady => "NotReady",
            Self::Unknown => "Unknown",
        }
    }
}

/// What the pods bound to a node add up to, as `kubectl describe node` counts: finished ones left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeTotals {
    pub pods: u32,
    pub bad: u32,
    pub terminating: u32,
    pub requests: Resources,
}

/// A node with everything that is shown in its row.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRow {
    pub node: Arc<Node>,
    pub state: NodeState,
    /// Since when it is in that state.
    pub since: Option<Stamp>,
    /// Conditions that are bad besides Ready (pressure, network, what a problem detector adds).
    pub problems: Arc<[Name]>,
    pub totals: NodeTotals,
    pub usage: Option<NodeUsage>,
}

impl NodeRow {
    /// Dead, with the taint by which a person says that the machine is off.
    pub fn is_out_of_service(&self) -> bool {
        self.state.is_dead() && self.node.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
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

/// The pods of one owner, added up.
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

/// A workload with everything that is shown in its row.
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

/// A Service with its slices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceRow {
    pub service: Arc<Service>,
    pub slices: Arc<[Arc<EndpointSlice>]>,
    /// Endpoints (distinct targets) that are ready, and in all.
    pub ready: u32,
    pub total: u32,
    /// When endpoints came into rotation, of those that came lately, by their pods' names in order. Rates over
    /// a window say less of them than of the others.
    pub came: Arc<[(Name, Stamp)]>,
}

impl ServiceRow {
    /// When a pod came into rotation; `None` if it did long ago, or never.
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

/// Whether two rows say the same, their versions aside.
fn same<T: Row>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a.same_content(b)
}

macro_rules! row {
    ($($type:ty, $namespace:expr;)*) => {$(
        impl Row for $type {
            fn uid(&self) -> &Uid {
                &self.uid
            }
            fn version(&self) -> Version {
                self.version
            }
            fn namespace(&self) -> &str {
                let namespace: fn(&$type) -> &str = $namespace;
                namespace(self)
            }
            fn same_content(&self, other: &Self) -> bool {
                self == &Self { version: self.version, ..other.clone() }
            }
        }
    )*};
}
row! {
    Node, |_| "";
    NodeLease, |_| "kube-node-lease";
    Pod, |r| &r.namespace;
    Workload, |r| &r.namespace;
    Service, |r| &r.namespace;
    EndpointSlice, |r| &r.namespace;
    Hpa, |r| &r.namespace;
    Pdb, |r| &r.namespace;
    KubeEvent, |r| &r.namespace;
    CronJob, |r| &r.namespace;
}

/// What kind of change it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Another template, with the image's tags where one image changed. `back`: an earlier template again.
    Rollout {
        from: Name,
        to: Name,
        back: bool,
    },
    /// New pods of the same images: a restart, or another setting.
    SameImages,
    Restarted,
    Paused,
    Resumed,
    /// The number of replicas, whoever set it.
    Scaled,
    /// An autoscaler says that it scaled its target.
    Autoscaled,
    /// minReplicas or maxReplicas.
    Bounds,
    Joined,
    Left,
    Cordoned,
    Uncordoned,
    /// The condition Ready.
    Ready,
    Taints,
    Labels,
    /// Pods of a node that the Eviction API was asked for.
    Evicted {
        node: Name,
        pods: u32,
    },
}

impl ChangeKind {
    /// A change of template that replaces pods.
    pub fn is_rollout(&self) -> bool {
        matches!(self, Self::Rollout { .. } | Self::SameImages)
    }
}

/// Something that changed in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub at: Stamp,
    pub kind: ChangeKind,
    /// `rollout app:1.0→app:1.1`, `scaled 3→5`, `node joined`.
    pub what: String,
    pub object: ObjectRef,
    /// Who, by managedFields or the journal.
    pub by: Option<Name>,
}
