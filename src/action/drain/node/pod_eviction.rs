//! The eviction of one pod, and how far it is.

use std::time::Instant;

use pilothouse_core::domain::plan::Step;

use super::super::budget::BudgetKey;

/// One pod to evict.
pub struct PodEviction {
    /// Its index among the action's steps.
    pub step: usize,
    pub what: Step,
    pub state: EvictionState,
    /// The budget that refused it last, and the server's message.
    pub held: Option<(BudgetKey, String)>,
    /// What the journal has of it.
    pub note: String,
    /// Why it does not end, once it is overdue.
    pub stuck: Option<&'static str>,
    /// When it came, if the plan did not know it: it is evicted only after a later check of its node.
    pub came: Option<Instant>,
}

/// How far the eviction of a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionState {
    /// Not sent yet.
    Pending,
    /// Not sent again before then.
    RetryAt(Instant),
    /// A budget whose name is known refuses; without the name it is `RetryAt`.
    HeldByBudget,
    /// Sent, not answered yet.
    Sending,
    /// The server accepted it: the watch says when the pod is gone.
    Terminating,
    /// The answer was lost, at that time.
    Unknown(Instant),
    Done,
}

impl PodEviction {
    pub fn new(step: usize, what: Step) -> Self {
        Self {
            step,
            what,
            state: EvictionState::Pending,
            held: None,
            note: String::new(),
            stuck: None,
            came: None,
        }
    }

    pub fn name(&self) -> String {
        format!("{}/{}", self.what.on.namespace, self.what.on.name)
    }

    pub fn is_held_by(&self, key: &BudgetKey) -> bool {
        self.state == EvictionState::HeldByBudget && self.held.as_ref().is_some_and(|(by, _)| by == key)
    }

    /// Sent, and not gone.
    pub fn is_under_way(&self) -> bool {
        matches!(self.state, EvictionState::Sending | EvictionState::Terminating | EvictionState::Unknown(_))
    }

    /// Not sent, or refused: it may be sent.
    pub fn is_open(&self) -> bool {
        matches!(self.state, EvictionState::Pending | EvictionState::RetryAt(_) | EvictionState::HeldByBudget)
    }
}
