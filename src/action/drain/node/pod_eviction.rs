//! The eviction of one pod and its state.

use std::time::Instant;

use pilothouse_core::domain::plan::Step;

use super::super::budget::BudgetKey;

/// One pod to evict.
pub(crate) struct PodEviction {
    /// Its index among the action's steps.
    pub step: usize,
    pub what: Step,
    pub state: EvictionState,
    /// The budget that last refused the eviction, and the server's message.
    pub held: Option<(BudgetKey, String)>,
    /// The note in the journal.
    pub note: String,
    /// The reason why the pod does not terminate, if it is overdue.
    pub stuck: Option<&'static str>,
    /// The time at which the pod was first seen, if the plan did not contain it. It is evicted only after a later
    /// check of its node.
    pub came: Option<Instant>,
}

/// The state of an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvictionState {
    /// Not sent yet.
    Pending,
    /// The eviction is not sent again before this time.
    RetryAt(Instant),
    /// A budget with a known name refuses the eviction. If its name is unknown, the state is `RetryAt`.
    HeldByBudget,
    /// The request was sent and not answered yet.
    Sending,
    /// The server accepted the eviction. The watch reports when the pod is gone.
    Terminating,
    /// The answer was lost at this time.
    Unknown(Instant),
    Done,
}

impl PodEviction {
    pub(crate) fn new(step: usize, what: Step) -> Self {
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

    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.what.on.namespace, self.what.on.name)
    }

    pub(crate) fn is_held_by(&self, key: &BudgetKey) -> bool {
        self.state == EvictionState::HeldByBudget && self.held.as_ref().is_some_and(|(by, _)| by == key)
    }

    /// Whether the eviction was sent and the pod is not gone yet.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.state, EvictionState::Sending | EvictionState::Terminating | EvictionState::Unknown(_))
    }

    /// Whether the eviction was not sent or was refused, so that it may be sent.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, EvictionState::Pending | EvictionState::RetryAt(_) | EvictionState::HeldByBudget)
    }
}
