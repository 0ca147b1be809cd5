//! Nodes and their heartbeats.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Name, Uid, Version};
use super::quantity::Resources;
use super::time::Stamp;

/// The taint by which a person says that the machine is really off: its pods are deleted by force and their volumes
/// detached at once.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Three-valued condition status, as the API has it.
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

/// A node as the console shows and plans with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub uid: Uid,
    pub version: Version,
    pub name: Name,
    pub created: Stamp,
    pub labels: Arc<[(Name, Name)]>,
    pub zone: Option<Name>,
    /// From the well-known pool labels (see `source`), else None.
    pub pool: Option<Name>,
    pub cordoned: bool,
    /// Who set `spec.unschedulable` last and when, from managedFields.
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

impl Node {
    pub fn label(&self, key: &str) -> Option<&Name> {
        self.labels.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }
}

/// The newest entry of managedFields that touched what we care about: who and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedBy {
    pub manager: Name,
    pub at: Stamp,
}

/// A node's Lease in `kube-node-lease`: the heartbeat. `renewed` is by the node's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLease {
    pub uid: Uid,
    pub version: Version,
    /// The lease's name is the node's name.
    pub node: Name,
    pub renewed: Option<Stamp>,
    pub duration_secs: u32,
    pub holder: Name,
    /// When *we* saw `renewed` change last: liveness is judged by our own clock, as the node controller does.
    pub seen_at: Stamp,
}
