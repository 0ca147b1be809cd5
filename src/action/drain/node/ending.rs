//! Ends the drain of a node before all of its pods are gone, and records the pods that are left.

use std::time::Duration;

use pilothouse_core::facts::world::StepState;

use super::super::budget::BudgetKey;
use super::{EvictionState, NodeDrain, PodEviction};
use crate::clock::Clock;

/// The reason why no further request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    Deadline,
    Cancelled,
    /// The drain cannot continue: the node was uncordoned, deleted or not ready, or a permission was lost.
    Undermined,
    /// The process received a signal to terminate.
    ProcessEnds,
}

impl NodeDrain<'_, '_> {
    /// Ends all evictions that are not sent yet.
    pub(super) fn leave_the_rest(&mut self, why: &str) {
        for i in 0..self.evictions.len() {
            if self.evictions.get(i).is_some_and(PodEviction::is_open) {
                self.set(i, EvictionState::Done, StepState::Skipped, &format!("not evicted: {why}"));
            }
        }
        if !self.failures.failed.iter().any(|(said, _)| said == why) {
            self.failures.failed.push((why.to_owned(), self.query.to_string()));
        }
    }

    /// Records the pods that are left, after listing the pods once more.
    pub(super) async fn finish(&mut self, close: Option<StopReason>) {
        for i in 0..self.evictions.len() {
            if self.evictions.get(i).is_some_and(|item| item.state == EvictionState::Sending) {
                let why = "sent, and no answer came before the end";
                self.set(i, EvictionState::Unknown(Clock::instant()), StepState::Unknown, why);
            }
        }
        let Some(close) = close else { return };
        if close != StopReason::ProcessEnds && self.evictions.iter().any(PodEviction::is_under_way) {
            let list = self.api.list_pods(&self.query);
            let list = tokio::time::timeout(Duration::from_secs(3), list);
            if let Some(Ok(Ok(pods))) = self.unless_stopped(list).await {
                self.all(pods);
            }
        }
        let secs = self.run.deadline.unwrap_or_default().as_secs();
        for i in 0..self.evictions.len() {
            let Some(item) = self.evictions.get(i) else { continue };
            let (name, held) = (item.name(), item.held.is_some().then(|| item.note.clone()));
            match (item.state, close) {
                (EvictionState::Done, _) => {}
                (EvictionState::Unknown(_), _) => {
                    self.failures
                        .unknown
                        .push(("sent, and it is not known whether it was applied".into(), name));
                }
                // the states are kept, so that a process that resumes the action can read where the pods stand
                (_, StopReason::ProcessEnds) => {}
                (EvictionState::Terminating, StopReason::Deadline) => {
                    let why = item.stuck.unwrap_or("still terminating");
                    self.fail(i, &format!("not gone within {secs} s: {why}"));
                }
                (EvictionState::Terminating, StopReason::Cancelled | StopReason::Undermined) => {
                    self.set(i, EvictionState::Done, StepState::Accepted, "terminating; no longer watched");
                }
                (_, StopReason::Deadline) => {
                    let why = held.unwrap_or_else(|| "its turn did not come".into());
                    self.fail(i, &format!("not evicted within {secs} s: {why}"));
                }
                (_, StopReason::Undermined) => {
                    self.set(
                        i,
                        EvictionState::Done,
                        StepState::Skipped,
                        "not evicted: the drain was stopped",
                    );
                }
                (_, StopReason::Cancelled) => {
                    self.set(i, EvictionState::Done, StepState::Skipped, "cancelled before it was evicted");
                }
            }
        }
        let keys: Vec<BudgetKey> = self.budgets.keys().cloned().collect();
        self.run.with(|progress| {
            progress.waits.retain(|key, _| !keys.contains(key));
            progress.troubles.remove(&self.query);
        });
    }

    pub(super) fn set(&mut self, i: usize, to: EvictionState, state: StepState, note: &str) {
        let Some(item) = self.evictions.get_mut(i) else { return };
        item.state = to;
        note.clone_into(&mut item.note);
        // the transition has occurred even if it cannot be recorded
        self.run.note(item.step, state, note);
    }

    pub(super) fn fail(&mut self, i: usize, why: &str) {
        if let Some(item) = self.evictions.get(i) {
            self.failures.failed.push((why.to_owned(), item.name()));
        }
        self.set(i, EvictionState::Done, StepState::Failed, why);
    }
}
