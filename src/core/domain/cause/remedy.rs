//! How findings go on: since when they are known, and what somebody does about them.

use crate::domain::id::Name;
use crate::domain::time::Stamp;

/// How a finding goes on. Rules leave it empty; it is filled in where their findings are collected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// When it was found first, by our clock.
    pub first_seen: Stamp,
    pub remedy: Option<Remedy>,
}

/// What somebody does about a finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Remedy {
    pub kind: RemedyKind,
    pub at: Stamp,
    /// Who, by managedFields.
    pub by: Option<Name>,
    /// The error ratio when it began, where errors are what was found.
    pub before: Option<f64>,
    /// Since when all pods are the new ones.
    pub settled: Option<Stamp>,
    pub effect: Effect,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemedyKind {
    /// The versions are empty where they are not known.
    RolledBack {
        from: Name,
        to: Name,
    },
    Rollout {
        from: Name,
        to: Name,
    },
    Restarted,
    /// Resumed, scaled, other bounds: the change's own words.
    Changed(String),
    OutOfRotation {
        pod: Name,
    },
    NodesOutOfService,
}

/// Whether a remedy helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is under way, or the figures still cover the time before.
    Pending,
    /// It gets better.
    Helps,
    /// It has had its time, and nothing is better.
    None,
}
