//! How a finding develops: when it was first seen, and what was done about it.

use crate::domain::change::ChangeKind;
use crate::domain::id::Name;
use crate::domain::time::Stamp;

/// How a finding develops. The rules leave it empty. It is filled in where the findings are collected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// When the finding was first seen, by the local clock.
    pub first_seen: Stamp,
    pub remedy: Option<Remedy>,
}

/// An action that was taken about a finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Remedy {
    pub kind: RemedyKind,
    pub at: Stamp,
    /// The manager that made the change, from managedFields.
    pub by: Option<Name>,
    /// The error ratio when the remedy began. `None` if the finding is not about errors.
    pub before: Option<f64>,
    /// The time since which all pods are of the new revision.
    pub settled: Option<Stamp>,
    pub effect: Effect,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemedyKind {
    /// The versions are empty if they are not known.
    RolledBack {
        from: Name,
        to: Name,
    },
    Rollout {
        from: Name,
        to: Name,
    },
    Restarted,
    /// Another change: resumed, scaled, other bounds.
    Changed(ChangeKind),
    OutOfRotation {
        pod: Name,
    },
    NodesOutOfService,
}

/// Whether a remedy helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The change is in progress, or the figures still include the time before it.
    Pending,
    /// The figures improve.
    Helps,
    /// The figures did not improve in the time that the remedy was given.
    None,
}
