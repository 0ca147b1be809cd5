//! What is written down of an action, and told to whoever listens: each transition, the steps that are added, the end.

use pilothouse_core::domain::plan::Step;
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};

use super::super::journal::{JournalError, Record, add};
use super::super::settle::Wrote;
use super::Executor;

impl Executor {
    /// Writes down a step that the plan did not have. None if that cannot be done.
    pub(in crate::action) fn added(&self, action: &mut ActionView, step: &Step) -> Option<usize> {
        let record = Record::Added {
            id: action.id.clone(),
            at: self.clock.now(),
            step: Box::new(step.clone()),
            number: Some(action.steps.len()),
        };
        self.write(&record).ok()?;
        add(action, step);
        Some(action.steps.len() - 1)
    }

    /// To disk; to memory if a person has said so.
    pub(super) fn write(&self, record: &Record) -> Result<(), JournalError> {
        if self.memory_journal { self.journal.write_or_keep(record) } else { self.journal.write(record) }
    }

    /// Writes a transition down and tells it. False if it could not be written.
    pub(super) async fn mark(&self, action: &mut ActionView, i: usize, state: StepState, note: &str) -> bool {
        self.mark_with(action, i, state, note, &Wrote::default()).await
    }

    pub(super) async fn mark_with(
        &self,
        action: &mut ActionView,
        i: usize,
        state: StepState,
        note: &str,
        wrote: &Wrote,
    ) -> bool {
        note.clone_into(&mut action.message);
        let written = self.note(action, i, state, note, wrote);
        self.tell(action).await;
        written
    }

    /// Writes a transition down. False if it could not be written.
    pub(in crate::action) fn note(
        &self,
        action: &mut ActionView,
        i: usize,
        state: StepState,
        note: &str,
        wrote: &Wrote,
    ) -> bool {
        let at = self.clock.now();
        if let Some(step) = action.steps.get_mut(i) {
            step.state = state;
            step.at = Some(at);
            note.clone_into(&mut step.note);
        }
        let (id, note, stamp) = (action.id.clone(), note.to_owned(), wrote.stamp.clone());
        let template = wrote.checksum();
        self.write(&Record::Step { id, at, step: i, state, note, stamp, template }).is_ok()
    }

    pub(super) async fn end(
        &self,
        mut action: ActionView,
        outcome: Outcome,
        message: String,
        journaled: bool,
    ) -> ActionView {
        action.ended = Some(self.clock.now());
        action.outcome = Some(outcome);
        action.message = message.clone();
        if journaled {
            let record = Record::Ended {
                id: action.id.clone(),
                at: self.clock.now(),
                outcome,
                message: message.clone(),
                interrupted: action.unfinished
                    || self.stop.is_cancelled() && matches!(outcome, Outcome::Cancelled | Outcome::Unknown),
            };
            if let Err(e) = self.write(&record) {
                action.message = format!("{message} (the end could not be written down: {e})");
            }
        }
        self.tell(&action).await;
        action
    }

    pub(in crate::action) async fn tell(&self, action: &ActionView) {
        // a listener that is gone (headless, shutdown) changes nothing about the action
        if self.tell.send(action.clone()).await.is_err() {
            tracing::debug!(action = %action.id, "nobody listens");
        }
    }
}
