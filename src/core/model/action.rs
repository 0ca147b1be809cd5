//! Actions as they go: what the executor tells, what the journal keeps, what the screen shows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::id::{ClusterId, Name, ObjectRef};
use crate::domain::time::Stamp;
use crate::model::plan::{Plan, Step};

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    Failed,
    Refused,
    Unknown,
    Cancelled,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    #[default]
    Waiting,
    /// The intent is journaled; the request may have been sent.
    Running,
    /// The server accepted it.
    Accepted,
    /// Seen in the cluster.
    Verified,
    Failed,
    /// Sent, and no answer came.
    Unknown,
    Skipped,
    /// Refused by a budget, so not applied: sent again when the budget allows.
    Held,
}

impl StepState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Accepted => "accepted",
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
            Self::Held => "held",
        }
    }
}

/// An action as the screen shows it; the executor sends a new one at every transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionView {
    pub id: Name,
    pub cluster: ClusterId,
    pub plan: Arc<Plan>,
    pub steps: Vec<StepView>,
    pub started: Stamp,
    pub ended: Option<Stamp>,
    pub outcome: Option<Outcome>,
    /// What it is doing, or why it ended so.
    pub message: String,
    /// Done by another process and read from its journal.
    pub foreign: bool,
    /// Nodes that the action which this goes on with had cordoned.
    #[serde(default)]
    pub inherited: Vec<ObjectRef>,
    /// Its process ended in the middle, and it can be taken up.
    #[serde(default)]
    pub unfinished: bool,
    /// A person has stopped it for a while: nothing further starts.
    #[serde(default)]
    pub paused: bool,
}

impl ActionView {
    /// An action that has just been confirmed.
    pub fn new(id: Name, plan: Arc<Plan>, started: Stamp) -> Self {
        let steps = plan.steps.iter().map(StepView::waiting).collect();
        Self {
            id,
            cluster: plan.intent.cluster,
            plan,
            steps,
            started,
            ended: None,
            outcome: None,
            message: String::new(),
            foreign: false,
            inherited: Vec::new(),
            unfinished: false,
            paused: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    pub what: String,
    pub on: String,
    pub state: StepState,
    pub at: Option<Stamp>,
    pub note: String,
}

impl StepView {
    /// Of a step that has not begun.
    pub fn waiting(step: &Step) -> Self {
        Self {
            what: step.what.to_string(),
            on: step.on.to_string(),
            state: StepState::Waiting,
            at: None,
            note: String::new(),
        }
    }
}
