//! Actions before they happen: the intent, and the plan that a rehearsal makes of it.
//!
//! Planning is pure ([`crate::policy::plan`]); what only the server knows (access, dry run) is added as [`Evidence`]
//! and judged by [`crate::policy::plan::settle`].

use serde::{Deserialize, Serialize};

use crate::domain::id::{ClusterId, Name, ObjectRef, Version};
use crate::domain::time::Stamp;

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

/// The verbs. Each new action adds a variant here, a planner in policy and an executor in action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    Cordon,
    Uncordon,
    Restart,
    Scale(ScaleBy),
    Drain(DrainOptions),
}

impl Act {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cordon => "cordon",
            Self::Uncordon => "uncordon",
            Self::Restart => "restart",
            Self::Scale(_) => "scale",
            Self::Drain(_) => "drain",
        }
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

/// Why an action must not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// `read-only`, `rbac`, `kubectl-filter`, `precondition`, `incomplete-data`, `protected`, `dry-run`.
    pub guard: String,
    pub reason: String,
}

impl Refusal {
    pub fn new(guard: &str, reason: impl Into<String>) -> Self {
        Self { guard: guard.into(), reason: reason.into() }
    }
}

/// One mutating step, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub what: StepKind,
    pub on: ObjectRef,
}

/// The requests that exist. `Display` gives the words for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    Cordon,
    Uncordon,
    /// Write the annotation of the template, under the version that was planned with.
    Restart {
        version: Version,
    },
    /// From what was seen to what is wanted, by the scale subresource.
    Scale {
        from: i32,
        to: i32,
    },
    Evict,
    Delete,
}

impl std::fmt::Display for StepKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cordon => f.write_str("cordon"),
            Self::Uncordon => f.write_str("uncordon"),
            Self::Restart { .. } => f.write_str("restart"),
            Self::Scale { from, to } => write!(f, "scale {from} to {to}"),
            Self::Evict => f.write_str("evict"),
            Self::Delete => f.write_str("delete"),
        }
    }
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
    pub warnings: Vec<String>,
    pub refusals: Vec<Refusal>,
    pub confirm: Confirm,
    /// What must be typed for `confirm` (the suffix, the count, the context).
    pub answer: String,
    /// The same with kubectl.
    pub kubectl: String,
    /// What undo would restore, in words; empty = nothing can be undone.
    pub undo: String,
}

impl Plan {
    /// Changes when the plan becomes another or a worse one, not with every resourceVersion.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        for step in &self.steps {
            step.what.to_string().hash(&mut hasher);
            step.on.hash(&mut hasher);
        }
        for pod in &self.pods {
            (&pod.pod, pod.fate, &pod.reason).hash(&mut hasher);
        }
        for refusal in &self.refusals {
            refusal.reason.hash(&mut hasher);
        }
        for warning in &self.warnings {
            // counters move by themselves; another sentence is another plan
            warning.chars().filter(|c| !c.is_ascii_digit()).for_each(|c| c.hash(&mut hasher));
        }
        for service in &self.services {
            (&service.namespace, &service.name, service.ready_after == 0).hash(&mut hasher);
        }
        self.unplaced.len().hash(&mut hasher);
        self.confirm.hash(&mut hasher);
        hasher.finish()
    }
}

/// What only the server could tell, asked before the confirmation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Verbs that the access review denied, in words (`patch nodes`), with the server's reason.
    pub denied: Vec<String>,
    /// The server's dry run refused, in its words.
    pub dry_run_refused: Vec<String>,
    /// Could not be asked, and why: shown, and not taken for a yes.
    pub unanswered: Vec<String>,
}
