//! Findings: the lines of NOW, and how they belong together.
//!
//! A finding is a code with its data ([`Finding`]). Whatever compares, folds, joins, silences or remembers findings uses
//! these; the words are made where they are shown (`cause/words.rs`).

mod code;
mod details;
mod evidence;
mod finding;
mod remedy;
mod suggestion;
mod words;

pub use code::FindingCode;
pub use evidence::{Evidence, FirstSeen, Relation};
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

/// A finding of one rule, with what a person needs to judge and to act. Its `Display` is its line.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// What is wrong and how much.
    pub finding: Finding,
    pub severity: Severity,
    /// What it is about, the main object first.
    pub objects: Vec<ObjectRef>,
    pub since: Option<Stamp>,
    /// For "why": what was seen, with numbers and where they come from; the findings that this one explains.
    pub evidence: Vec<Evidence>,
    pub action: Option<Suggestion>,
    /// How much is affected, for ranking.
    pub impact: Impact,
    /// What other findings of the rule may have in common with it; the first one counts first.
    pub shared: Vec<Shared>,
    /// If this line stands for several findings of one code: what they share.
    pub group: Option<Group>,
    /// What the loss of this node or zone has done to Services, for its line.
    pub hits: Vec<ServiceHit>,
    /// The findings that this line includes besides its own, by code and main object.
    pub includes: Vec<(FindingCode, ObjectRef)>,
    pub progress: Progress,
}

impl Cause {
    /// A finding with nothing but what it is about; the rest is added by struct update.
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

    /// The name of its code, as silences, documents and the README have it: `node-not-ready`.
    pub fn rule(&self) -> &'static str {
        self.code().as_str()
    }

    /// The main object.
    pub fn object(&self) -> Option<&ObjectRef> {
        self.objects.first()
    }

    /// Whether both are the same finding at two times: of one code and about one object. What is about no object is told
    /// apart by its cause.
    pub fn is_same(&self, other: &Cause) -> bool {
        self.code() == other.code()
            && match (self.object(), other.object()) {
                (None, None) => self.finding.reason() == other.finding.reason(),
                (one, other) => one == other,
            }
    }

    /// Every finding that this line includes, by its code and main object: its own first, then those folded into it. A line
    /// that stands for several of a kind has none of its own.
    pub fn included(&self) -> Vec<(FindingCode, ObjectRef)> {
        let own = self.object().map(|object| (self.code(), object.clone()));
        let others = self.includes.iter().filter(|other| Some(*other) != own.as_ref()).cloned();
        own.iter().cloned().chain(others).collect()
    }
}

/// What several findings of one code have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shared {
    /// The same reason, and the same message but for names and numbers; of one namespace if that is where it comes from.
    Message { reason: Name, template: String, namespace: Option<Name> },
    /// The same reason on one node.
    Node { reason: Name, node: Name },
    /// A volume that is out of reach for the same reason.
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
    /// The main objects of the first few.
    pub first: Vec<ObjectRef>,
}

/// What the loss of a node has done to a Service.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceHit {
    NoEndpoints { service: ObjectRef },
    Errors { service: ObjectRef, ratio: f64 },
}

/// A finding that is not shown among the others, because somebody silenced it.
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
    /// 0..1, where traffic is known.
    pub error_ratio: Option<f64>,
}
