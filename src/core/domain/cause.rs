//! Findings: the lines of NOW, and how they belong together.
//!
//! A finding is a code with its data ([`Finding`]). The code that compares, folds, joins, silences or stores findings
//! works on this data. The words are made where a finding is shown (`cause/words.rs`).

mod code;
mod details;
mod evidence;
mod finding;
mod remedy;
mod suggestion;
mod words;

pub use code::FindingCode;
pub use evidence::{Evidence, FiringAlert, FirstSeen, Relation};
pub use finding::{
    Blocked, Budget, ClaimState, Culprit, Finding, Gains, Heartbeats, Missed, NoEndpoints, NodeLoss,
    PodCount, Release, StillThere, UnboundClaim, VolumeWait,
};
pub use remedy::{Effect, Progress, Remedy, RemedyKind};
pub use suggestion::{Remediation, SuggestedCommand, Suggestion};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::id::{Name, ObjectRef};
use crate::domain::silence::Silence;
use crate::domain::time::Stamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// A finding of one rule, with the data that a person needs to judge it and to act. Its `Display` is its line.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// What is wrong, with its numbers.
    pub finding: Finding,
    pub severity: Severity,
    /// The objects that the finding is about. The main object comes first.
    pub objects: Vec<ObjectRef>,
    pub since: Option<Stamp>,
    /// The evidence for `why`: what was seen, with numbers and their sources, and the findings that this one
    /// explains.
    pub evidence: Vec<Evidence>,
    pub action: Option<Suggestion>,
    /// How much is affected. NOW ranks the findings by it.
    pub impact: Impact,
    /// What this finding may have in common with other findings of the rule, in order of priority.
    pub shared: Vec<Shared>,
    /// Set if this line stands for several findings of one code.
    pub group: Option<Group>,
    /// The Services that the loss of this node or zone affects. The line names them.
    pub hits: Vec<ServiceHit>,
    /// The other findings that this line includes, by code and main object.
    pub includes: Vec<(FindingCode, ObjectRef)>,
    pub progress: Progress,
}

impl Cause {
    /// Returns a finding that has only its objects. The caller adds the rest by struct update.
    pub fn new(finding: Finding, severity: Severity, objects: Vec<ObjectRef>) -> Self {
        Self {
            finding,
            severity,
            objects,
            since: None,
            evidence: Vec::new(),
            action: None,
            impact: Impact::default(),
            shared: Vec::new(),
            group: None,
            hits: Vec::new(),
            includes: Vec::new(),
            progress: Progress::default(),
        }
    }

    pub fn code(&self) -> FindingCode {
        self.finding.code()
    }

    /// Returns the name of its code, as silences, documents and the README spell it: `node-not-ready`.
    pub fn rule(&self) -> &'static str {
        self.code().as_str()
    }

    /// Returns the main object.
    pub fn object(&self) -> Option<&ObjectRef> {
        self.objects.first()
    }

    /// Returns true if both are the same finding at two times: they have the same code and the same main object.
    /// Findings without an object are the same if their reasons are the same.
    pub fn is_same(&self, other: &Cause) -> bool {
        self.code() == other.code()
            && match (self.object(), other.object()) {
                (None, None) => self.finding.reason() == other.finding.reason(),
                (one, other) => one == other,
            }
    }

    /// Returns every finding that this line includes, by code and main object: its own first, then those folded into
    /// it. A line that stands for several findings has no finding of its own.
    pub fn included(&self) -> Vec<(FindingCode, ObjectRef)> {
        let own = self.object().map(|object| (self.code(), object.clone()));
        let others = self.includes.iter().filter(|other| Some(*other) != own.as_ref()).cloned();
        own.iter().cloned().chain(others).collect()
    }
}

/// What several findings of one code have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shared {
    /// The same reason, and the same message apart from names and numbers. `namespace` is set if the message comes
    /// from something in one namespace.
    Message { reason: Name, template: String, namespace: Option<Name> },
    /// The same reason on one node.
    Node { reason: Name, node: Name },
    /// A volume that cannot be reached, for the same reason.
    Volume(VolumeWait),
    /// The same finalizers.
    Finalizers(Vec<Name>),
    /// All findings of the code.
    Code,
}

/// Several findings of one code in one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub by: Shared,
    pub count: usize,
    /// The main objects of the first few findings.
    pub first: Vec<ObjectRef>,
}

/// What the loss of a node has done to a Service.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceHit {
    NoEndpoints { service: ObjectRef },
    Errors { service: ObjectRef, ratio: f64 },
}

/// A finding that is not listed with the others because a person silenced it.
#[derive(Clone, Debug, PartialEq)]
pub struct Silenced {
    pub cause: Arc<Cause>,
    pub by: Arc<Silence>,
}

/// How much is affected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impact {
    pub services: u32,
    pub pods: u32,
    pub nodes: u32,
    /// The share of failed requests, 0..1. `None` if the traffic is not known.
    pub error_ratio: Option<f64>,
}
