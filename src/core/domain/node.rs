//! Nodes and their heartbeats.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Name, Uid, Version};
use super::quantity::Resources;
use super::row::{object, row};
use super::time::Stamp;

/// The taint that declares a node's machine powered off: its pods are force-deleted and their volumes are detached at
/// once.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// A condition's status, which has three values in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    True,
    False,
    #[default]
    Unknown,
}

impl Status {
    pub fn parse(text: &str) -> Self {
        match text {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One entry of `status.conditions[]` of a node, workload or autoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub kind: Name,
    pub status: Status,
    pub reason: Name,
    pub message: Name,
    /// `lastTransitionTime`.
    pub since: Option<Stamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Taint {
    pub key: Name,
    pub value: Name,
    pub effect: Name,
    pub added: Option<Stamp>,
}

/// The state of a node, ordered from best to worst. `Suspect`: its Lease is no longer renewed, but the control plane
/// still says Ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeState {
    #[default]
    Ready,
    Suspect,
    NotReady,
    Unknown,
}

impl NodeState {
    /// True if the kubelet is unreachable: deletions on the node do not complete, and the reported pod states are
    /// stale.
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

/// A node with the fields that the console shows and plans with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub uid: Uid,
    pub version: Version,
    pub name: Name,
    pub created: Stamp,
    pub labels: Arc<[(Name, Name)]>,
    pub zone: Option<Name>,
    /// From the well-known pool labels (see `source`); None if it has none of them.
    pub pool: Option<Name>,
    pub cordoned: bool,
    /// Who last set `spec.unschedulable` and when, from managedFields.
    pub changed: Option<ChangedBy>,
    pub taints: Arc<[Taint]>,
    pub conditions: Arc<[Condition]>,
    pub allocatable: Resources,
    pub allocatable_pods: i64,
    pub capacity: Resources,
    pub kubelet: Name,
    pub internal_ip: Option<Name>,
    pub boot_id: Option<Name>,
}
row!(Node, in "");
object!(Node, Node, cluster - scoped);

impl Node {
    /// True if it has the taint of a machine that is off.
    pub fn has_out_of_service_taint(&self) -> bool {
        self.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
    }

    pub fn label(&self, key: &str) -> Option<&Name> {
        self.labels.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }
}

/// The newest entry of managedFields for the fields that we use: who and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedBy {
    pub manager: Name,
    pub at: Stamp,
}

/// A node's Lease in `kube-node-lease`: the heartbeat. `renewed` is a time of the node's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLease {
    pub uid: Uid,
    pub version: Version,
    /// The lease's name, which is also the node's name.
    pub node: Name,
    pub renewed: Option<Stamp>,
    pub duration_secs: u32,
    pub holder: Name,
    /// When *we* last saw `renewed` change. Like the node controller, we use our own clock to decide whether a node is
    /// alive.
    pub seen_at: Stamp,
}
row!(NodeLease, in "kube-node-lease");
