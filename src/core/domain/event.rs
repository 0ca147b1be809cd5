//! Kubernetes Events (the objects; the shared state's own events are in [`crate::facts::event`]).

use serde::{Deserialize, Serialize};

use super::id::{Name, ObjectRef, Uid, Version};
use super::row::row;
use super::time::Stamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubeEvent {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub about: ObjectRef,
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
