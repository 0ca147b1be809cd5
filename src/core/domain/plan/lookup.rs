//! What is read for a plan beyond the shared state, and the results.

use serde::{Deserialize, Serialize};

use crate::domain::id::{Name, ObjectRef};

/// Something that a plan needs and the shared state does not have. The rehearsal reads each at most once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lookup {
    /// One object, of the cluster of this context (empty = the intent's).
    Object { context: Name, on: ObjectRef },
    /// The objects that hold a workload's templates: ReplicaSets or ControllerRevisions that it owns.
    Revisions(ObjectRef),
    /// The ResourceQuotas of a namespace.
    Quotas(Name),
    /// How many nodes the cluster has and which are cordoned, and for each of these zones whether it has more nodes than
    /// the given number. For headless commands, which read their targets only.
    Fleet(Vec<(Name, u32)>),
}

/// What a headless command learns about the nodes that are not its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    pub nodes: usize,
    pub cordoned: Vec<Name>,
    /// The zones of the lookup that have no other node.
    pub whole_zones: Vec<Name>,
}

/// What a lookup found.
#[derive(Clone, Debug, PartialEq)]
pub enum LookupResult {
    Objects(Vec<serde_json::Value>),
    Fleet(Fleet),
    /// No object has that name.
    Absent,
    /// It could not be read, and why.
    Unread(String),
}

/// All that was read for a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lookups(pub Vec<(Lookup, LookupResult)>);

impl Lookups {
    pub fn get(&self, lookup: &Lookup) -> Option<&LookupResult> {
        self.0.iter().find(|(of, _)| of == lookup).map(|(_, result)| result)
    }
}
