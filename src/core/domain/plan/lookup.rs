//! The data that is read for a plan in addition to the shared state.

use serde::{Deserialize, Serialize};

use crate::domain::id::{Name, ObjectRef};

/// Data that a plan needs and the shared state does not have. A rehearsal reads each of them once at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lookup {
    /// One object in the cluster of this context. An empty context means the intent's.
    Object { context: Name, on: ObjectRef },
    /// The objects that hold a workload's templates: ReplicaSets or ControllerRevisions that it owns.
    Revisions(ObjectRef),
    /// The ResourceQuotas of a namespace.
    Quotas(Name),
    /// How many nodes the cluster has, which of them are cordoned, and which of these zones have no more nodes than
    /// the given number. Only for headless commands, which read only their targets.
    Fleet(Vec<(Name, u32)>),
}

/// The facts about the other nodes that a headless command needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    pub nodes: usize,
    pub cordoned: Vec<Name>,
    /// The zones of the lookup that have no other nodes.
    pub whole_zones: Vec<Name>,
}

/// What a lookup found.
#[derive(Clone, Debug, PartialEq)]
pub enum LookupResult {
    Objects(Vec<serde_json::Value>),
    Fleet(Fleet),
    /// No object has that name.
    Absent,
    /// The read failed, for this reason.
    Unread(String),
}

/// All lookups of a plan, with their results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lookups(pub Vec<(Lookup, LookupResult)>);

impl Lookups {
    pub fn get(&self, lookup: &Lookup) -> Option<&LookupResult> {
        self.0.iter().find(|(of, _)| of == lookup).map(|(_, result)| result)
    }
}
