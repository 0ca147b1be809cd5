//! The steps of a plan: the requests that exist, and what must hold in between.

use serde::{Deserialize, Serialize};

use crate::domain::failover::Watched;
use crate::domain::id::{Name, ObjectRef, Version};

/// One step, in order. Evictions that follow each other run at the same time, everything else one by one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub what: StepKind,
    pub on: ObjectRef,
    /// Another cluster than the intent's, by its context; empty = the intent's.
    #[serde(default, skip_serializing_if = "Name::is_empty")]
    pub context: Name,
}

impl Step {
    pub fn new(what: StepKind, on: ObjectRef) -> Self {
        Self { what, on, context: Name::default() }
    }

    pub fn is_eviction(&self) -> bool {
        matches!(self.what, StepKind::Evict { .. } | StepKind::Delete { .. })
    }

    /// True for what only looks.
    pub fn is_check(&self) -> bool {
        matches!(self.what, StepKind::Check(_))
    }
}

/// The requests that exist. `Display` gives the words for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    Cordon,
    Uncordon,
    /// Write the annotation of the template.
    Restart {
        version: Version,
    },
    /// Put back the template of a revision.
    Rollback {
        to: RevisionRef,
        from: RevisionRef,
    },
    /// From what was seen to what is wanted, by the scale subresource.
    Scale {
        from: i32,
        to: i32,
    },
    Evict {
        /// Seconds; -1 = the pod's own.
        grace_period: i64,
    },
    Delete {
        grace_period: i64,
    },
    /// Fields of one object.
    Change(Change),
    /// Sends nothing: what must hold before the next step.
    Check(Gate),
}

/// Fields of one object from what was seen to what is wanted, in one request that changes nothing if they are others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// For people: `selector version=blue to version=green`.
    pub words: String,
    pub fields: Vec<FieldChange>,
}

/// One field. `Null` = absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// RFC 6901.
    pub pointer: String,
    pub from: serde_json::Value,
    pub to: serde_json::Value,
}

impl FieldChange {
    /// What must be there for the change to mean what it was planned for, and stays as it is.
    pub fn guard(pointer: &str, value: &serde_json::Value) -> Self {
        Self { pointer: pointer.to_owned(), from: value.clone(), to: value.clone() }
    }

    pub fn is_guard(&self) -> bool {
        self.from == self.to
    }
}

/// A revision of a workload by its number and the object that holds its template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRef {
    pub number: i64,
    /// ReplicaSet or ControllerRevision.
    pub holder: ObjectRef,
}

/// What must hold before an action goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The Service's ready endpoints are pods with these labels, at least so many, and nobody else.
    ServedBy { labels: Vec<(Name, Name)>, at_least: u32 },
    /// So many pods of the workload are ready.
    Ready { replicas: i32 },
    /// The route's controllers have accepted this generation of it.
    RouteAccepted,
    /// A while in which the watched error ratio stays below its limit.
    Soak { secs: u32, watched: Option<Watched> },
}

impl std::fmt::Display for StepKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cordon => f.write_str("cordon"),
            Self::Uncordon => f.write_str("uncordon"),
            Self::Restart { .. } => f.write_str("restart"),
            Self::Rollback { to, from } => {
                write!(f, "roll back from revision {} to {}", from.number, to.number)
            }
            Self::Scale { from, to } => write!(f, "scale {from} to {to}"),
            Self::Evict { .. } => f.write_str("evict"),
            Self::Delete { .. } => f.write_str("delete"),
            Self::Change(change) => f.write_str(&change.words),
            Self::Check(gate) => gate.fmt(f),
        }
    }
}

impl Gate {
    /// Which it is, without its numbers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ServedBy { .. } => "served-by",
            Self::Ready { .. } => "ready",
            Self::RouteAccepted => "route-accepted",
            Self::Soak { .. } => "soak",
        }
    }
}

impl std::fmt::Display for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ServedBy { labels, at_least } => {
                let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "check that it is served by {at_least} or more of {}", labels.join(","))
            }
            Self::Ready { replicas } => write!(f, "check that {replicas} of its pods are ready"),
            Self::RouteAccepted => f.write_str("check that the route is accepted"),
            Self::Soak { secs, watched: None } => write!(f, "wait {secs} s"),
            Self::Soak { secs, watched: Some(w) } => {
                write!(
                    f,
                    "wait {secs} s while {}/{} has at most {} % errors",
                    w.namespace, w.service, w.max_error_percent
                )
            }
        }
    }
}
