//! Records an action while it runs. Each transition is written to the journal, and the current state of the action is
//! reported.

use pilothouse_core::domain::plan::Step;
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};
use tokio::sync::mpsc;

use super::journal::{Journal, JournalError, Record, add};
use super::step_check::Wrote;
use crate::clock::Clock;

/// Writes an action's journal and reports its progress.
#[derive(Clone, Debug)]
pub struct Recorder {
    pub journal: Journal,
    pub clock: Clock,
    /// Receives each transition of an action.
    pub progress: mpsc::Sender<ActionView>,
    /// Whether the user typed the context's name to continue without a journal on disk.
    pub memory_journal: bool,
}

impl Recorder {
    /// Appends a record to the journal: on disk, or in memory if the user permitted that.
    pub fn write(&self, record: &Record) -> Result<(), JournalError> {
        if self.memory_journal { self.journal.write_or_keep(record) } else { self.journal.write(record) }
    }

    /// Records a step that is not in the plan. Returns its index, or `None` if it cannot be written.
    pub fn add_step(&self, action: &mut ActionView, step: &Step) -> Option<usize> {
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

    /// Records a transition and reports it. Returns `false` if it could not be written.
    pub async fn mark(&self, action: &mut ActionView, i: usize, state: StepState, note: &str) -> bool {
        self.mark_with(action, i, state, note, &Wrote::default()).await
    }

    /// Records and reports a transition of a step whose write must be recognized later.
    pub async fn mark_with(
        &self,
        action: &mut ActionView,
        i: usize,
        state: StepState,
        note: &str,
        wrote: &Wrote,
    ) -> bool {
        note.clone_into(&mut action.message);
        let written = self.note(action, i, state, note, wrote);
        self.report(action).await;
        written
    }

    /// Records a transition without reporting it. Returns `false` if it could not be written.
    pub fn note(
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

    /// Ends an action for which nothing was written or sent.
    pub async fn refuse(&self, mut action: ActionView, why: String) -> ActionView {
        self.close(&mut action, Outcome::Refused, why);
        self.report(&action).await;
        action
    }

    /// Records and reports the end. `interrupted` tells whether steps are left that another process can resume.
    pub async fn end(
        &self,
        mut action: ActionView,
        outcome: Outcome,
        message: String,
        interrupted: bool,
    ) -> ActionView {
        self.close(&mut action, outcome, message.clone());
        let (id, at) = (action.id.clone(), self.clock.now());
        let record = Record::Ended { id, at, outcome, message: message.clone(), interrupted };
        if let Err(e) = self.write(&record) {
            action.message = format!("{message} (the end could not be written to the journal: {e})");
        }
        self.report(&action).await;
        action
    }

    fn close(&self, action: &mut ActionView, outcome: Outcome, message: String) {
        action.ended = Some(self.clock.now());
        action.outcome = Some(outcome);
        action.message = message;
    }

    /// Reports the current state of the action.
    pub async fn report(&self, action: &ActionView) {
        // a dropped receiver (headless, shutdown) does not affect the action
        if self.progress.send(action.clone()).await.is_err() {
            tracing::debug!(action = %action.id, "nobody listens");
        }
    }
}
