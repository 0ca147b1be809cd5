//! Actions before they happen: the intent, and the plan that a rehearsal makes of it.
//!
//! Planning is pure ([`crate::plan`]); what only the server knows (access, dry run) is added as [`ServerChecks`]
//! by [`crate::plan::apply_server_checks`].

mod access;
mod act;
mod beyond;
mod coded;
mod lookup;
mod refusal;
mod step;
mod unread;
mod warning;

use serde::{Deserialize, Serialize};

use crate::domain::failover::{FailoverPlan, Watched};
use crate::domain::id::{ClusterId, Name, ObjectRef};
use crate::domain::time::Stamp;

pub use access::Access;
pub use beyond::Beyond;
pub use coded::{All, Burden, Elsewhere, Few, InContext, LastChange, Pods, Reason, Since, With};
pub use lookup::{Fleet, Lookup, LookupResult, Lookups};
pub use refusal::{FilterRefusal, Guard, NoRevision, Refusal};
pub use step::{Change, FieldChange, Gate, RevisionRef, Step, StepKind};
pub use unread::{Lacking, Unread};
pub use warning::Warning;

/// What a person wants, pinned at the key press.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub cluster: ClusterId,
    /// The context's name, pinned with it: an action never moves to another cluster.
    pub context: Name,
    pub act: Act,
    /// With UIDs.
    pub targets: Vec<ObjectRef>,
}

/// The verbs. Each has a planner in [`crate::plan`] and its steps an executor in the action room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    Cordon,
    Uncordon,
    Drain(DrainOptions),
    /// A person asserts that the machine is off: the taint `node.kubernetes.io/out-of-service`.
    OutOfService,
    /// The taint away again.
    InService,
    Restart,
    /// To this revision; None = the one before the newest, as kubectl's `--to-revision=0`.
    Rollback {
        to_revision: Option<i64>,
    },
    PauseRollout,
    ResumeRollout,
    Scale(ScaleBy),
    /// minReplicas and maxReplicas of an HPA; None = as it is.
    Bounds {
        min: Option<i32>,
        max: Option<i32>,
    },
    /// An HPA scales neither up nor down.
    PauseAutoscaler,
    ResumeAutoscaler,
    Evict(EvictOptions),
    /// Pods lose the labels that this Service selects.
    OutOfRotation {
        service: Name,
    },
    /// They get them back.
    IntoRotation,
    Failover {
        plan: Box<FailoverPlan>,
        revert: bool,
    },
    /// The inverse steps of an action, worked out when it was asked for.
    Undo(Box<DerivedPlan>),
    /// What is left of an action whose process ended in the middle.
    Resume(Box<DerivedPlan>),
}

impl Act {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cordon => "cordon",
            Self::Uncordon => "uncordon",
            Self::Drain(_) => "drain",
            Self::OutOfService => "out-of-service",
            Self::InService => "in-service",
            Self::Restart => "restart",
            Self::Rollback { .. } => "rollback",
            Self::PauseRollout => "pause-rollout",
            Self::ResumeRollout => "resume-rollout",
            Self::Scale(_) => "scale",
            Self::Bounds { .. } => "bounds",
            Self::PauseAutoscaler => "pause-autoscaler",
            Self::ResumeAutoscaler => "resume-autoscaler",
            Self::Evict(_) => "evict",
            Self::OutOfRotation { .. } => "out-of-rotation",
            Self::IntoRotation => "into-rotation",
            Self::Failover { revert: false, .. } => "failover",
            Self::Failover { revert: true, .. } => "failover-revert",
            Self::Undo(_) => "undo",
            Self::Resume(_) => "resume",
        }
    }
}

/// What follows an action of the journal: its inverse, or the rest of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DerivedPlan {
    /// The id of that action.
    pub of: Name,
    /// What it was: `scale shop/deploy/checkout`.
    pub title: String,
    pub steps: Vec<Step>,
    /// What an undo does not restore, in words; empty = it restores everything.
    #[serde(rename = "remains")]
    pub not_restored: String,
    /// What it asks for at least.
    pub confirm: Confirm,
    /// Whose errors stop it.
    #[serde(default)]
    pub watched: Option<Watched>,
}

/// How single pods go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictOptions {
    /// DELETE instead of the eviction API: budgets are not checked.
    pub delete: bool,
    /// Seconds; -1 = each pod's own.
    pub grace_period: i64,
}

impl Default for EvictOptions {
    fn default() -> Self {
        Self { delete: false, grace_period: -1 }
    }
}

/// The new number of replicas, and what the person saw when deciding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleBy {
    pub replicas: i32,
    /// The precondition: refuse if the number is another by now. None = whatever the plan finds.
    pub current_replicas: Option<i32>,
}

/// kubectl drain's options under its names, with its defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainOptions {
    pub force: bool,
    pub ignore_daemonsets: bool,
    pub delete_emptydir_data: bool,
    /// Delete instead of evict: budgets are not asked.
    pub disable_eviction: bool,
    /// -1 = each pod's own.
    pub grace_period: i64,
    /// Seconds; 0 = forever.
    pub timeout: u64,
    /// Seconds; 0 = wait for all.
    pub skip_wait_for_delete_timeout: u64,
    pub pod_selector: Option<String>,
    /// Nodes that are emptied at the same time (kubectl: one after another).
    pub nodes_at_once: u16,
    /// Evictions under way on a node at the same time; 0 = all of them, as kubectl does.
    pub pods_at_once: u16,
}

impl Default for DrainOptions {
    fn default() -> Self {
        Self {
            force: false,
            ignore_daemonsets: false,
            delete_emptydir_data: false,
            disable_eviction: false,
            grace_period: -1,
            timeout: 0,
            skip_wait_for_delete_timeout: 0,
            pod_selector: None,
            nodes_at_once: 1,
            pods_at_once: 0,
        }
    }
}

/// How much a confirmation asks for, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// `y`
    Yes,
    /// The last characters of the name.
    Suffix,
    /// The number of objects.
    Count,
    /// The context's name.
    Context,
}

impl Confirm {
    /// What a protected context or namespace makes of it.
    pub fn raised(self) -> Self {
        match self {
            Self::Yes => Self::Suffix,
            Self::Suffix => Self::Count,
            Self::Count | Self::Context => Self::Context,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Suffix => "suffix",
            Self::Count => "count",
            Self::Context => "context",
        }
    }
}

/// What will become of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    Evict,
    /// Evict, but a budget holds it back now.
    Wait,
    Skip,
    /// kubectl would refuse the node because of this pod.
    Refuse,
}

impl Fate {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evict => "evict",
            Self::Wait => "wait",
            Self::Skip => "skip",
            Self::Refuse => "refuse",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodFate {
    pub pod: ObjectRef,
    pub node: Name,
    pub fate: Fate,
    pub reason: String,
    /// `ReplicaSet/checkout-7c9f`, empty for a bare pod.
    pub owner: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PdbEffect {
    pub namespace: Name,
    pub name: Name,
    pub allowed: i32,
    /// The names of the pods that it holds back.
    pub blocks: Vec<Name>,
    pub since: Option<Stamp>,
    /// How long its pods take to leave; None = not known.
    #[serde(default)]
    pub wait: Option<BudgetWait>,
    /// The same in words, with what would unblock it.
    #[serde(default)]
    pub note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetWait {
    /// Seconds, if each pod takes its whole grace period; what the replacements need to become ready comes on top.
    AtLeast(u64),
    /// As things are, no drain ever ends.
    Unbounded,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceEffect {
    pub namespace: Name,
    pub name: Name,
    pub ready_before: u32,
    pub ready_after: u32,
    /// The share of each ready backend that remains, if the load is spread evenly: 1/N.
    #[serde(default)]
    pub share_after: Option<f64>,
    /// Requests per second of one ready backend; None where the traffic is not known.
    #[serde(default)]
    pub rps_before: Option<f64>,
    #[serde(default)]
    pub rps_after: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unplaced {
    pub namespace: Name,
    pub name: Name,
    pub reason: String,
}

/// What will happen, to whom, and what it takes to allow it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub intent: Intent,
    pub made_at: Stamp,
    pub steps: Vec<Step>,
    pub pods: Vec<PodFate>,
    pub pdbs: Vec<PdbEffect>,
    pub services: Vec<ServiceEffect>,
    pub unplaced: Vec<Unplaced>,
    /// Nodes that it empties although they are not ready.
    #[serde(default)]
    pub not_ready: Vec<Name>,
    /// Other ways to do it, for the dialog: switches and revisions. Not kept in the journal.
    #[serde(skip)]
    pub choices: Vec<Choice>,
    /// What a template or an object would lose and gain, a line each: `- image: a:1`, `+ image: a:2`.
    #[serde(default)]
    pub diff: Vec<String>,
    pub warnings: Vec<Warning>,
    /// What could not be read. Each is among the warnings too.
    #[serde(default)]
    pub unread: Vec<Unread>,
    /// Nodes whose kubelet does not answer: a pod that is evicted from one stays Terminating. Among the warnings too.
    #[serde(default)]
    pub silent: Vec<Name>,
    pub refusals: Vec<Refusal>,
    pub confirm: Confirm,
    /// What must be typed for `confirm` (the suffix, the count, the context).
    pub answer: String,
    /// The same with kubectl.
    pub kubectl: String,
    /// What undo would restore, in words; empty = nothing can be undone.
    pub undo: String,
}

/// The same action done in another way.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub words: String,
    /// What it would be then.
    pub act: Act,
    /// True if it is so now.
    pub on: bool,
}

impl Plan {
    /// Without any step yet.
    pub fn new(intent: Intent, made_at: Stamp) -> Self {
        Self {
            intent,
            made_at,
            steps: Vec::new(),
            pods: Vec::new(),
            pdbs: Vec::new(),
            services: Vec::new(),
            unplaced: Vec::new(),
            not_ready: Vec::new(),
            choices: Vec::new(),
            diff: Vec::new(),
            warnings: Vec::new(),
            unread: Vec::new(),
            silent: Vec::new(),
            refusals: Vec::new(),
            confirm: Confirm::Yes,
            answer: String::new(),
            kubectl: String::new(),
            undo: String::new(),
        }
    }
}

/// What the server said when it was asked before the confirmation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerChecks {
    /// Rights that the access reviews denied, and steps that the dry run refused.
    pub refusals: Vec<Refusal>,
    /// What could not be asked: shown, and not taken for a yes.
    pub warnings: Vec<Warning>,
}
