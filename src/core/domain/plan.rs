//! Actions before they run: the intent, and the plan that a rehearsal makes of it.
//!
//! Planning is pure ([`crate::plan`]). The answers that only the server can give (access reviews, dry runs) are added
//! as [`ServerChecks`] by [`crate::plan::apply_server_checks`].

mod access;
mod act;
mod beyond;
mod coded;
mod homes;
mod lookup;
mod refusal;
mod step;
mod unread;
mod warning;

use serde::{Deserialize, Serialize};

use crate::domain::alert::NewSilence;
use crate::domain::failover::{FailoverPlan, Watched};
use crate::domain::haproxy::{ServerChange, ServerState};
use crate::domain::id::{ClusterId, Name, ObjectRef};
use crate::domain::time::Stamp;
use crate::domain::traffic::Break;

pub use access::Access;
pub use beyond::Beyond;
pub use coded::{All, Burden, Elsewhere, Few, InContext, LastChange, Pods, Reason, Since, With};
pub use lookup::{Fleet, Lookup, LookupResult, Lookups};
pub use refusal::{FilterRefusal, Guard, NoRevision, Refusal};
pub use step::{Change, FieldChange, Gate, RevisionRef, Step, StepKind};
pub use unread::{Lacking, Unread};
pub use warning::Warning;

/// The action that a person asked for, fixed when the key was pressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub cluster: ClusterId,
    /// The context's name. It is fixed too, so that an action never moves to another cluster.
    pub context: Name,
    pub act: Act,
    /// The target objects, with their UIDs.
    pub targets: Vec<ObjectRef>,
}

/// The actions. Each has a planner in [`crate::plan`], and the action room runs its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    Cordon,
    Uncordon,
    Drain(DrainOptions),
    /// Adds the taint `node.kubernetes.io/out-of-service`. A person asserts that the machine is off.
    OutOfService,
    /// Removes the taint.
    InService,
    Restart,
    /// Goes back to this revision. `None` means the revision before the newest one, like kubectl's `--to-revision=0`.
    Rollback {
        to_revision: Option<i64>,
    },
    PauseRollout,
    ResumeRollout,
    Scale(ScaleBy),
    /// Sets minReplicas and maxReplicas of an HPA. `None` leaves the field unchanged.
    Bounds {
        min: Option<i32>,
        max: Option<i32>,
    },
    /// An HPA scales neither up nor down.
    PauseAutoscaler,
    ResumeAutoscaler,
    Evict(EvictOptions),
    /// Removes the labels from the pods that this Service selects them by.
    OutOfRotation {
        service: Name,
    },
    /// Gives the pods these labels back.
    IntoRotation,
    /// Creates a silence in an Alertmanager.
    SilenceAlerts(Box<NewSilence>),
    /// Ends silences of an Alertmanager.
    EndSilence,
    /// Changes the weight or the state of servers of a HAProxy.
    Server(ServerChange),
    Failover {
        plan: Box<FailoverPlan>,
        revert: bool,
    },
    /// Runs the inverse steps of an action. They were derived when the undo was requested.
    Undo(Box<DerivedPlan>),
    /// Runs the remaining steps of an action whose process ended before it was complete.
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
            Self::SilenceAlerts(_) => "silence",
            Self::EndSilence => "end-silence",
            Self::Server(ServerChange::Weight(_)) => "server-weight",
            Self::Server(ServerChange::State(ServerState::Ready)) => "server-ready",
            Self::Server(ServerChange::State(ServerState::Drain)) => "server-drain",
            Self::Server(ServerChange::State(ServerState::Maintenance)) => "server-maintenance",
            Self::Failover { revert: false, .. } => "failover",
            Self::Failover { revert: true, .. } => "failover-revert",
            Self::Undo(_) => "undo",
            Self::Resume(_) => "resume",
        }
    }
}

/// A plan derived from an action in the journal: its inverse, or its remaining steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DerivedPlan {
    /// The id of that action.
    pub of: Name,
    /// The title of that action: `scale shop/deploy/checkout`.
    pub title: String,
    pub steps: Vec<Step>,
    /// What an undo does not restore, in words. Empty if it restores everything.
    #[serde(rename = "remains")]
    pub not_restored: String,
    /// The weakest confirmation that it accepts.
    pub confirm: Confirm,
    /// The Service whose errors stop the action.
    #[serde(default)]
    pub watched: Option<Watched>,
    /// The steps take back what an action wrote. A value that another client has set since is not taken back.
    #[serde(default)]
    pub takes_back: bool,
}

/// Options for the eviction of single pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictOptions {
    /// Delete the pods instead of evicting them. Budgets are not checked.
    pub delete: bool,
    /// The grace period in seconds. -1 means each pod's own.
    pub grace_period: i64,
}

impl Default for EvictOptions {
    fn default() -> Self {
        Self { delete: false, grace_period: -1 }
    }
}

/// The new number of replicas, and the number that the person saw when deciding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleBy {
    pub replicas: i32,
    /// The precondition: the action is refused if the workload has another number of replicas. `None` accepts any
    /// number.
    pub current_replicas: Option<i32>,
}

/// The options of `kubectl drain`, with the same names and defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainOptions {
    pub force: bool,
    pub ignore_daemonsets: bool,
    pub delete_emptydir_data: bool,
    /// Delete the pods instead of evicting them. Budgets are not checked.
    pub disable_eviction: bool,
    /// The grace period in seconds. -1 means each pod's own.
    pub grace_period: i64,
    /// In seconds. 0 means no timeout.
    pub timeout: u64,
    /// In seconds. 0 means to wait for all pods.
    pub skip_wait_for_delete_timeout: u64,
    pub pod_selector: Option<String>,
    /// The number of nodes that are drained at the same time. kubectl drains one after another.
    pub nodes_at_once: u16,
    /// The number of evictions that run at the same time on a node. 0 means all of them, like kubectl.
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

/// What a person must type to confirm. The weakest comes first.
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
    /// The address of the API server, because the action that is undone or resumed was done at another address.
    Server,
}

impl Confirm {
    /// Returns the confirmation that a protected context or namespace requires.
    pub fn raised(self) -> Self {
        match self {
            Self::Yes => Self::Suffix,
            Self::Suffix => Self::Count,
            Self::Count | Self::Context => Self::Context,
            Self::Server => Self::Server,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Suffix => "suffix",
            Self::Count => "count",
            Self::Context => "context",
            Self::Server => "server",
        }
    }
}

/// What a drain does with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    Evict,
    /// Evict, but a budget blocks the eviction now.
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
    /// The names of the pods that the budget blocks.
    pub blocks: Vec<Name>,
    pub since: Option<Stamp>,
    /// How long its pods take to terminate. `None` if that is not known.
    #[serde(default)]
    pub wait: Option<BudgetWait>,
    /// The wait in words, and what would unblock the eviction.
    #[serde(default)]
    pub note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetWait {
    /// In seconds, if each pod takes its whole grace period. The time until the replacements are ready is not
    /// included.
    AtLeast(u64),
    /// In the current state, no drain can finish.
    Unbounded,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceEffect {
    pub namespace: Name,
    pub name: Name,
    pub ready_before: u32,
    pub ready_after: u32,
    /// The share of the requests that each ready backend gets, if the load is spread evenly: 1/N.
    #[serde(default)]
    pub share_after: Option<f64>,
    /// Requests per second of one ready backend. `None` if the traffic is not known.
    #[serde(default)]
    pub rps_before: Option<f64>,
    #[serde(default)]
    pub rps_after: Option<f64>,
    /// The backend that gets the most requests afterwards.
    #[serde(default)]
    pub busiest: Option<Busiest>,
    /// The limits that are exceeded only after the change, the worst first.
    #[serde(default)]
    pub breaks: Vec<Break>,
}

/// The predicted load of one backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Busiest {
    pub backend: Name,
    pub rps_before: Option<f64>,
    pub rps_after: f64,
    /// CPU as a part of the request and of the limit, and requests as a part of the most that one backend was seen to
    /// carry: 1.0 = all of it.
    pub of_request: Option<f64>,
    pub of_limit: Option<f64>,
    pub of_most: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unplaced {
    pub namespace: Name,
    pub name: Name,
    pub reason: String,
}

/// What an action will do, which objects it affects, and what it takes to confirm it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub intent: Intent,
    pub made_at: Stamp,
    pub steps: Vec<Step>,
    pub pods: Vec<PodFate>,
    pub pdbs: Vec<PdbEffect>,
    pub services: Vec<ServiceEffect>,
    pub unplaced: Vec<Unplaced>,
    /// The drained nodes that are not ready.
    #[serde(default)]
    pub not_ready: Vec<Name>,
    /// Variants of the action for the dialog: switches and revisions. The journal does not store them.
    #[serde(skip)]
    pub choices: Vec<Choice>,
    /// The lines that a template or an object loses and gains: `- image: a:1`, `+ image: a:2`.
    #[serde(default)]
    pub diff: Vec<String>,
    pub warnings: Vec<Warning>,
    /// The data that could not be read. Each entry is also a warning.
    #[serde(default)]
    pub unread: Vec<Unread>,
    /// Nodes whose kubelet does not answer. A pod that is evicted from such a node stays Terminating. Each is also a
    /// warning.
    #[serde(default)]
    pub silent: Vec<Name>,
    pub refusals: Vec<Refusal>,
    pub confirm: Confirm,
    /// The text that must be typed for `confirm`: the suffix, the count or the context.
    pub answer: String,
    /// The equivalent kubectl commands.
    pub kubectl: String,
    /// What an undo would restore, in words. Empty if nothing can be undone.
    pub undo: String,
}

/// A variant of an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub words: String,
    /// The act of this variant.
    pub act: Act,
    /// True if the plan has this variant now.
    pub on: bool,
}

impl Plan {
    /// Returns a plan without steps.
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

/// The server's answers to the checks before the confirmation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerChecks {
    /// The permissions that the access reviews denied, and the steps that the dry run refused.
    pub refusals: Vec<Refusal>,
    /// The checks that the server did not answer. They are shown, and they do not count as allowed.
    pub warnings: Vec<Warning>,
}
