//! Executes a confirmed plan: journal, re-check, send once, settle, verify; every transition told.
//!
//! A write is never repeated. An answer that was lost makes the step UNKNOWN, and reading back settles it.

use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::model::plan::{Plan, Step, StepKind};
use pilothouse_core::model::world::{ActionView, Outcome, StepState};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::wire::client::ReadClient;
use crate::wire::write::{WriteClient, WriteError};

use super::journal::{Journal, Record, view};
use super::requests::mutation;
use super::settle::{Check, Standing, check, read, standing};

/// Between two looks at a step that settles.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a lost answer is looked for before the outcome stays unknown.
const UNKNOWN_FOR: Duration = Duration::from_secs(15);

/// What an execution needs.
#[derive(Clone)]
pub struct Executor {
    pub reader: ReadClient,
    pub writer: WriteClient,
    pub journal: Journal,
    pub clock: Clock,
    /// Each transition of an action goes here.
    pub tell: mpsc::Sender<ActionView>,
    /// Set on hang-up and at the end: no new step starts.
    pub stop: CancellationToken,
    pub user: String,
    pub host: String,
}

/// How a step ended.
enum Ended {
    Verified(String),
    Skipped(String),
    Failed(String),
    Unknown(String),
    Stopped(String),
}

impl Executor {
    /// Runs the plan to its end. `settle_for`: how long the effect may take (None = by the kind of step).
    pub async fn run(
        &self,
        id: Name,
        plan: &Plan,
        cancel: CancellationToken,
        settle_for: Option<Duration>,
    ) -> ActionView {
        let mut action = view(&id, self.clock.now(), plan, false);
        if let Some(refusal) = plan.refusals.first() {
            return self.end(action, Outcome::Refused, refusal.reason.clone(), false).await;
        }
        let intent = Record::Intent {
            id,
            at: action.started,
            user: self.user.clone(),
            host: self.host.clone(),
            plan: Box::new(plan.clone()),
        };
        if let Err(e) = self.journal.write(&intent) {
            let why = format!("nothing was sent: the intent cannot be written down ({e})");
            return self.end(action, Outcome::Refused, why, false).await;
        }
        self.tell(&action).await;
        let mut last = String::from("nothing to do");
        for (i, step) in plan.steps.iter().enumerate() {
            let ended = if self.stop.is_cancelled() || cancel.is_cancelled() {
                Ended::Stopped("stopped before it was sent".into())
            } else {
                self.step(&mut action, i, step, &cancel, settle_for).await
            };
            let (state, note, outcome) = match ended {
                Ended::Verified(note) => (StepState::Verified, note, None),
                Ended::Skipped(note) => (StepState::Skipped, note, None),
                Ended::Failed(note) => (StepState::Failed, note, Some(Outcome::Failed)),
                Ended::Unknown(note) => (StepState::Unknown, note, Some(Outcome::Unknown)),
                Ended::Stopped(note) => (StepState::Skipped, note, Some(Outcome::Cancelled)),
            };
            self.mark(&mut action, i, state, &note).await;
            if let Some(outcome) = outcome {
                return self.end(action, outcome, format!("{} {}: {note}", step.what, step.on), true).await;
            }
            last = note;
        }
        let message = match plan.steps.len() {
            0 => plan.warnings.first().cloned().unwrap_or(last),
            1 => last,
            n => format!("{n} steps verified"),
        };
        self.end(action, Outcome::Done, message, true).await
    }

    async fn step(
        &self,
        action: &mut ActionView,
        i: usize,
        step: &Step,
        cancel: &CancellationToken,
        settle_for: Option<Duration>,
    ) -> Ended {
        let live = match read(&self.reader, &step.on).await {
            Ok(live) => live,
            Err(e) => return Ended::Failed(format!("not sent: the re-check failed: {e}")),
        };
        let version = match check(&step.what, &step.on, live.as_ref()) {
            Check::Go(version) => version,
            Check::Done(why) => return Ended::Skipped(why),
            Check::Stop(why) => return Ended::Failed(format!("not sent: {why}")),
        };
        let stamp = self.clock.now().to_string();
        let Some(request) = mutation(&step.what, &step.on, version_for(&step.what, &version), &stamp) else {
            return Ended::Failed(format!("{} cannot be executed by this version", step.what));
        };
        if !self.mark(action, i, StepState::Running, &format!("sending at version {version}")).await {
            return Ended::Failed("not sent: the step cannot be written down".into());
        }
        if self.stop.is_cancelled() || cancel.is_cancelled() {
            return Ended::Stopped("stopped before it was sent".into());
        }
        match request.send(&self.writer, false).await {
            Ok(_) => {
                self.mark(action, i, StepState::Accepted, "accepted").await;
            }
            Err(WriteError::Refused(e)) => return Ended::Failed(e.to_string()),
            Err(WriteError::Unknown(why)) => {
                self.mark(action, i, StepState::Unknown, &format!("{why}; reading back")).await;
                if let Some(ended) = self.read_back(step, &stamp, &why).await {
                    return ended;
                }
                self.mark(action, i, StepState::Accepted, "the answer was lost; it was applied").await;
            }
        }
        self.verify(action, i, step, &stamp, cancel, settle_for.unwrap_or_else(|| patience(&step.what))).await
    }

    /// After a lost answer: None = it was applied.
    async fn read_back(&self, step: &Step, stamp: &str, why: &str) -> Option<Ended> {
        let deadline = Clock::deadline(UNKNOWN_FOR);
        let mut seen = String::from("the object could not be read");
        while Clock::instant() < deadline {
            match read(&self.reader, &step.on).await {
                Ok(live) => match standing(&step.what, &step.on, live.as_ref(), stamp) {
                    Standing::NotApplied => seen = "it is not there".into(),
                    Standing::Overridden(what) => return Some(Ended::Unknown(format!("{why}; {what}"))),
                    Standing::Settling(_) | Standing::Verified(_) => return None,
                },
                Err(e) => seen = e.to_string(),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.stop.cancelled() => break,
            }
        }
        // it may still be on its way: not applied so far is no proof
        Some(Ended::Unknown(format!("{why}; read back: {seen}; not repeated")))
    }

    async fn verify(
        &self,
        action: &mut ActionView,
        i: usize,
        step: &Step,
        stamp: &str,
        cancel: &CancellationToken,
        patience: Duration,
    ) -> Ended {
        let deadline = Clock::deadline(patience);
        let mut missing = String::from("not seen yet");
        loop {
            match read(&self.reader, &step.on).await {
                Ok(live) => match standing(&step.what, &step.on, live.as_ref(), stamp) {
                    Standing::Verified(note) => return Ended::Verified(note),
                    Standing::Overridden(note) => return Ended::Failed(note),
                    Standing::Settling(note) => {
                        if note != missing {
                            self.mark(action, i, StepState::Accepted, &note).await;
                        }
                        missing = note;
                    }
                    Standing::NotApplied => missing = "accepted, but not there when read back".into(),
                },
                Err(e) => missing = format!("cannot be read: {e}"),
            }
            if Clock::instant() >= deadline {
                return Ended::Failed(format!("applied, but after {} s: {missing}", patience.as_secs()));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = cancel.cancelled() => return Ended::Unknown(format!("applied; no longer watched: {missing}")),
                () = self.stop.cancelled() => return Ended::Unknown(format!("applied; no longer watched: {missing}")),
            }
        }
    }

    /// Writes a transition down and tells it. False if it could not be written.
    async fn mark(&self, action: &mut ActionView, i: usize, state: StepState, note: &str) -> bool {
        let at = self.clock.now();
        if let Some(step) = action.steps.get_mut(i) {
            step.state = state;
            step.at = Some(at);
            note.clone_into(&mut step.note);
        }
        note.clone_into(&mut action.message);
        let record = Record::Step { id: action.id.clone(), at, step: i, state, note: note.to_owned() };
        let written = self.journal.write(&record);
        self.tell(action).await;
        written.is_ok()
    }

    async fn end(
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
            };
            if let Err(e) = self.journal.write(&record) {
                action.message = format!("{message} (the end could not be written down: {e})");
            }
        }
        self.tell(&action).await;
        action
    }

    async fn tell(&self, action: &ActionView) {
        // a listener that is gone (headless, shutdown) changes nothing about the action
        if self.tell.send(action.clone()).await.is_err() {
            tracing::debug!(action = %action.id, "nobody listens");
        }
    }
}

/// Replacing a template under the version that was checked; a scale compares the number itself, and a node's status
/// moves its version every few seconds.
fn version_for<'a>(what: &StepKind, version: &'a str) -> Option<&'a str> {
    match what {
        StepKind::Restart { .. } | StepKind::Scale { .. } => Some(version),
        _ => None,
    }
}

/// How long an effect may take before the action is called failed.
fn patience(what: &StepKind) -> Duration {
    match what {
        StepKind::Cordon | StepKind::Uncordon => Duration::from_secs(15),
        StepKind::Scale { .. } => Duration::from_secs(300),
        _ => Duration::from_secs(600),
    }
}

/// An action's id: when, and which process. Short enough to type.
pub fn new_id(clock: &Clock, count: u32) -> Name {
    let at = clock.now().to_chrono().map_or_else(String::new, |t| t.format("%m%d-%H%M%S").to_string());
    Name::from(format!("{at}-{:x}{count:x}", std::process::id() & 0xfff))
}
