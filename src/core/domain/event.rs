//! Kubernetes Events (the objects; the shared state's own events are in [`crate::facts::event`]).

use serde::{Deserialize, Serialize};

use super::id::{ClusterId, Kind, Name, ObjectRef, Uid, Version};
use super::row::row;
use super::time::Stamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubeEvent {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub about: InvolvedObject,
    /// The event has type Warning. Never filter by this alone: a node's NodeNotReady has type Normal.
    pub warning: bool,
    pub reason: Name,
    pub message: Name,
    pub count: u32,
    pub first: Option<Stamp>,
    pub last: Option<Stamp>,
    pub component: Name,
}
row!(KubeEvent);

/// `involvedObject`: an object of the same cluster. Events are decoded before their cluster is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvolvedObject {
    pub kind: Kind,
    /// Empty for cluster-scoped kinds.
    pub namespace: Name,
    pub name: Name,
    pub uid: Uid,
}

impl InvolvedObject {
    /// Returns the reference to this object of a cluster.
    pub fn reference(&self, cluster: ClusterId) -> ObjectRef {
        ObjectRef::new(cluster, self.kind.clone(), &self.namespace, &self.name, &self.uid)
    }
}
