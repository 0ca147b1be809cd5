//! Executes a confirmed plan: journal, re-check, send once, settle, verify; every transition told.
//!
//! A write is never repeated. An answer that was lost makes the step UNKNOWN, and reading back settles it.

use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::model::plan::{Act, Gate, Plan, Step, StepKind};
use pilothouse_core::model::world::{ActionView, Outcome, StepState};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::wire::write::WriteError;

use super::gate::{Gauge, Held, look, too_many_errors};
use super::journal::{Journal, Record, view};
use super::reach::Reach;
use super::requests::mutation;
use super::settle::{Check, Live, Standing, check, read, standing};

/// Between two looks at a step that settles.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a lost answer is looked for before the outcome stays unknown.
const UNKNOWN_FOR: Duration = Duration::from_secs(15);

/// What an execution needs.
#[derive(Clone)]
pub struct Executor {
    pub reach: Reach,
    /// What a watched error ratio is read from.
    pub gauge: Gauge,
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
        if let Act::Failover { plan, .. } = &action.plan.intent.act
            && let Some(why) = plan.watched.as_ref().and_then(|w| too_many_errors(&self.gauge, w))
        {
            return Ended::Failed(why);
        }
        if let StepKind::Check(gate) = &step.what {
            return self.gate(action, i, step, gate, cancel).await;
        }
        let (reader, writer) = match (self.reach.reader(step), self.reach.writer(step)) {
            (Ok(reader), Ok(writer)) => (reader, writer),
            (Err(why), _) | (_, Err(why)) => return Ended::Failed(format!("not sent: {why}")),
        };
        let live = match read(reader, &step.what, &step.on).await {
            Ok(live) => live,
            Err(e) => return Ended::Failed(format!("not sent: the re-check failed: {e}")),
        };
        let version = match check(&step.what, &step.on, live.as_ref()) {
            Check::Go(version) => version,
            Check::Done(why) => return Ended::Skipped(why),
            Check::Stop(why) => return Ended::Failed(format!("not sent: {why}")),
        };
        let stamp = self.clock.now().to_string();
        let request = match mutation(&step.what, &step.on, live.as_ref(), &stamp) {
            Ok(request) => request,
            Err(why) => return Ended::Failed(format!("not sent: {why}")),
        };
        if !self.mark(action, i, StepState::Running, &format!("sending at version {version}")).await {
            return Ended::Failed("not sent: the step cannot be written down".into());
        }
        if self.stop.is_cancelled() || cancel.is_cancelled() {
            return Ended::Stopped("stopped before it was sent".into());
        }
        match request.send(writer, false).await {
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

    async fn read(&self, step: &Step) -> Result<Option<Live>, String> {
        read(self.reach.reader(step)?, &step.what, &step.on).await.map_err(|e| e.to_string())
    }

    /// A step that only looks: until it holds, or its time is over.
    async fn gate(
        &self,
        action: &mut ActionView,
        i: usize,
        step: &Step,
        gate: &Gate,
        cancel: &CancellationToken,
    ) -> Ended {
        let reader = match self.reach.reader(step) {
            Ok(reader) => reader,
            Err(why) => return Ended::Failed(why),
        };
        let (began, mut said) = (Clock::instant(), String::new());
        let patience = match gate {
            Gate::Soak { secs, .. } => u64::from(*secs) + 5,
            _ => 60,
        };
        loop {
            let waited = (Clock::instant() - began).as_secs();
            match look(reader, &step.on, gate, &self.gauge, waited).await {
                Held::Yes(note) => return Ended::Verified(note),
                Held::No(why) => return Ended::Failed(why),
                Held::NotYet(why) if waited > patience => {
                    return Ended::Failed(format!("after {patience} s: {why}"));
                }
                Held::NotYet(why) => {
                    if why != said {
                        self.mark(action, i, StepState::Running, &why).await;
                        said = why;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = cancel.cancelled() => return Ended::Stopped("cancelled while watching".into()),
                () = self.stop.cancelled() => return Ended::Stopped("stopped while watching".into()),
            }
        }
    }

    /// After a lost answer: None = it was applied.
    async fn read_back(&self, step: &Step, stamp: &str, why: &str) -> Option<Ended> {
        let deadline = Clock::deadline(UNKNOWN_FOR);
        let mut seen = String::from("the object could not be read");
        while Clock::instant() < deadline {
            match self.read(step).await {
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
            match self.read(step).await {
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

/// How long an effect may take before the action is called failed.
fn patience(what: &StepKind) -> Duration {
    match what {
        StepKind::Cordon | StepKind::Uncordon | StepKind::Change(_) => Duration::from_secs(15),
        StepKind::Scale { .. } => Duration::from_secs(300),
        _ => Duration::from_secs(600),
    }
}

/// An action's id: when, and which process. Short enough to type.
pub fn new_id(clock: &Clock, count: u32) -> Name {
    let at = clock.now().to_chrono().map_or_else(String::new, |t| t.format("%m%d-%H%M%S").to_string());
    Name::from(format!("{at}-{:x}{count:x}", std::process::id() & 0xfff))
}
