//! What a plan needs to know beyond the shared state, and what came of asking for it.

use serde::{Deserialize, Serialize};

use crate::domain::id::{Name, ObjectRef};

/// What a plan needs to know beyond the shared state: read for the rehearsal, at most once each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lookup {
    /// One object, of the cluster of this context (empty = the intent's).
    Object { context: Name, on: ObjectRef },
    /// The objects that hold a workload's templates: ReplicaSets or ControllerRevisions that it owns.
    Revisions(ObjectRef),
    /// The ResourceQuotas of a namespace.
    Quotas(Name),
    /// How many nodes there are and which are cordoned, for a command that knows its targets alone; and of these zones
    /// whether they have more nodes than so many.
    Fleet(Vec<(Name, u32)>),
}

/// What a command is told of the nodes that are not its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    pub nodes: usize,
    pub cordoned: Vec<Name>,
    /// The zones of the question that have no other node.
    pub whole_zones: Vec<Name>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum LookupResult {
    Objects(Vec<serde_json::Value>),
    Fleet(Fleet),
    /// There is none of that name.
    Absent,
    /// It could not be read, and why.
    Unread(String),
}

/// All that was read for a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lookups(pub Vec<(Lookup, LookupResult)>);

impl Lookups {
    pub fn get(&self, need: &Lookup) -> Option<&LookupResult> {
        self.0.iter().find(|(n, _)| n == need).map(|(_, found)| found)
    }
}
