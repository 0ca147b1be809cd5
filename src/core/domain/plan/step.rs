//! The steps of a plan: the requests, and the checks between them.

use serde::{Deserialize, Serialize};

use crate::domain::failover::Watched;
use crate::domain::id::{Name, ObjectRef, Version};

/// One step of a plan. Consecutive evictions run at the same time. All other steps run one by one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub what: StepKind,
    pub on: ObjectRef,
    /// The context of another cluster, if `on` is an object there. Empty if `on` is in the cluster of the intent.
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

    /// Returns true if the step sends no change.
    pub fn is_check(&self) -> bool {
        matches!(self.what, StepKind::Check(_))
    }
}

/// The kinds of requests. `Display` gives the words for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    Cordon,
    Uncordon,
    /// Writes the restart annotation of the pod template.
    Restart {
        version: Version,
    },
    /// Restores the pod template of a revision.
    Rollback {
        to: RevisionRef,
        from: RevisionRef,
    },
    /// Changes the replicas by the scale subresource, if the number is still `from`.
    Scale {
        from: i32,
        to: i32,
    },
    Evict {
        /// The grace period in seconds. -1 stands for the grace period in the pod's spec.
        grace_period: i64,
    },
    Delete {
        grace_period: i64,
    },
    /// Changes fields of one object.
    Change(Change),
    /// Sends no request. The condition must hold before the next step.
    Check(Gate),
}

/// Changes of fields of one object in one request. The request fails if a field no longer has its `from` value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The change in words, as people read it: `selector version=blue to version=green`.
    pub words: String,
    pub fields: Vec<FieldChange>,
}

/// The change of one field. `Null` means that the field is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// A JSON Pointer (RFC 6901).
    pub pointer: String,
    pub from: serde_json::Value,
    pub to: serde_json::Value,
}

impl FieldChange {
    /// Returns a change that writes nothing: the request fails if the field no longer has this value.
    pub fn guard(pointer: &str, value: &serde_json::Value) -> Self {
        Self { pointer: pointer.to_owned(), from: value.clone(), to: value.clone() }
    }

    pub fn is_guard(&self) -> bool {
        self.from == self.to
    }
}

/// A revision of a workload: its number, and the object that stores its template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRef {
    pub number: i64,
    /// The ReplicaSet or the ControllerRevision.
    pub holder: ObjectRef,
}

/// A condition that must hold before an action continues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// All ready endpoints of the Service are pods with these labels, and there are at least this many.
    ServedBy { labels: Vec<(Name, Name)>, at_least: u32 },
    /// At least this many pods of the workload are ready.
    Ready { replicas: i32 },
    /// The controllers of the route have accepted this generation.
    RouteAccepted,
    /// The watched error ratio stays below its limit for this time.
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
    /// Returns the kind of the check, without its numbers.
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
