//! Executes a confirmed plan. It records the intent, checks each step again, sends it once, verifies its effect, and
//! reports every transition.
//!
//! A write that may have been applied is never repeated. If the answer is lost, the step is UNKNOWN until the object
//! is read again.

mod cordon;
mod meanwhile;
mod verify;

use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::plan::{Act, Confirm, Plan, Step, StepKind};
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};
use pilothouse_core::plan::drift::set_since;
use pilothouse_core::policy::revisions;

use crate::clock::Clock;
use crate::wire::error::ApiError;
use crate::wire::write::{WriteError, content};

use self::cordon::cordoned;
pub use super::control::{Control, EvictionRateLimiter};
use super::drain;
use super::gate::{Gauge, too_many_errors};
use super::identity::{self, Clusters};
use super::journal::{Claim, ClaimError, Follows, Record, view};
pub use super::recorder::Recorder;
use super::requests::{Method, mutation};
use super::rights;
pub use super::session::Session;
use super::step_check::{Check, Wrote, check, is_own, patience, template_after};

/// The maximum number of attempts of a step. Each further attempt requires proof that the previous one was not
/// applied.
const ATTEMPTS: u32 = 5;

/// The inputs of an execution.
#[derive(Clone)]
pub struct Executor {
    pub session: Session,
    pub recorder: Recorder,
    /// Returns the error ratio of a watched Service.
    pub gauge: Gauge,
    pub user: String,
    pub host: String,
    /// The unfinished action of another process that this one resumes.
    pub follows: Option<Follows>,
}

/// The result of a step.
pub(super) enum Ended {
    Verified(String),
    Skipped(String),
    Failed(String),
    /// The action fails, and this step was never sent.
    NotSent(String),
    /// A permission or the credentials were lost. The step is kept, so that a user with the permission can resume the
    /// action.
    Barred(String),
    Unknown(String),
    Stopped(String),
}

impl Executor {
    /// Runs the plan to its end. `settle_for` is the timeout for effects, or `None` for the default of the kind of
    /// step.
    pub async fn run(
        &self,
        id: Name,
        plan: &Plan,
        control: Control,
        settle_for: Option<Duration>,
    ) -> ActionView {
        let mut action = view(&id, self.session.clock.now(), plan, false);
        action.inherited = self.follows.as_ref().map(|f| f.cordoned.clone()).unwrap_or_default();
        if let Some(refusal) = plan.refusals.first() {
            return self.recorder.refuse(action, refusal.to_string()).await;
        }
        if let Some(on) = plan.outside(self.session.reach.cluster) {
            let why = format!("nothing was sent: {on} is in another cluster than its action");
            return self.recorder.refuse(action, why).await;
        }
        let (clusters, _claim) = match self.begins(plan).await {
            Ok(begins) => begins,
            Err(why) => {
                let why = format!("nothing was sent: {why}");
                return self.recorder.refuse(action, why).await;
            }
        };
        let intent = Record::Intent {
            id,
            at: action.started,
            user: self.user.clone(),
            host: self.host.clone(),
            plan: Box::new(plan.clone()),
            follows: self.follows.clone(),
            clusters,
        };
        if let Err(e) = self.recorder.write(&intent) {
            let why = format!("nothing was sent: the intent cannot be written to the journal ({e})");
            return self.recorder.refuse(action, why).await;
        }
        self.recorder.report(&action).await;
        let (mut outcome, mut message) = self.steps(&mut action, plan, &control, settle_for).await;
        if action.unfinished {
            // an action that sent no request cannot be resumed, so the user starts it again
            action.unfinished = self.follows.is_some() || action.steps.iter().any(|s| was_sent(s.state));
        }
        if control.wants_uncordon() && !self.session.stop.is_cancelled() {
            let back = self.uncordon(&mut action).await;
            if !back.is_empty() {
                message = format!("{message}; {back}");
            }
        }
        let cordoning = matches!(plan.intent.act, Act::Cordon);
        if outcome != Outcome::Done && !control.wants_uncordon() && !cordoning {
            for words in self.cordons_now(&cordoned(&action)).await {
                message = format!("{message}; {words}");
            }
        }
        if action.unfinished {
            message = format!("{message}; with the right or a new login: pilothouse resume {}", action.id);
        }
        if self.session.stop.is_cancelled() && outcome == Outcome::Failed {
            // the process was terminated, and the user can resume the action later
            outcome = Outcome::Cancelled;
        }
        let interrupted = action.unfinished
            || self.session.stop.is_cancelled() && matches!(outcome, Outcome::Cancelled | Outcome::Unknown);
        self.recorder.end(action, outcome, message, interrupted).await
    }

    /// Returns the clusters of the action. If the action follows another one, its clusters must be the same, and the
    /// claim prevents other processes from resuming that action. Returns an error if the action must not begin.
    async fn begins(&self, plan: &Plan) -> Result<(Clusters, Option<Claim>), String> {
        let clusters = identity::clusters(&self.session.reach, plan).await;
        let (act, own) = (&plan.intent.act, &plan.intent.context);
        if let Some(id) = identity::followed(act, self.follows.as_ref().map(|f| &f.id)) {
            let found = identity::same(&self.recorder.journal, id, &clusters, own).await?;
            if !found.moved_to.is_empty()
                && (plan.confirm, &plan.answer) != (Confirm::Server, &found.moved_to)
            {
                return Err(format!("the address {} of the API server is not confirmed", found.moved_to));
            }
        }
        let Some(follows) = &self.follows else { return Ok((clusters, None)) };
        let (journal, id) = (self.recorder.journal.clone(), follows.id.clone());
        let claimed = tokio::task::spawn_blocking(move || journal.claim(&id)).await;
        match claimed.map_err(|e| e.to_string())? {
            Ok(claim) => Ok((clusters, Some(claim))),
            // the user agreed to continue without a journal on disk
            Err(ClaimError::Disk(_)) if self.recorder.memory_journal => Ok((clusters, None)),
            Err(e) => Err(e.to_string()),
        }
    }

    async fn steps(
        &self,
        action: &mut ActionView,
        plan: &Plan,
        control: &Control,
        settle_for: Option<Duration>,
    ) -> (Outcome, String) {
        let mut last = String::from("nothing to do");
        let mut drained = false;
        let mut i = 0;
        while let Some(step) = plan.steps.get(i) {
            self.wait_while_paused(action, control).await;
            let evictions = plan.steps.iter().skip(i).take_while(|s| s.is_eviction()).count();
            if evictions > 0 {
                drained = true;
                let (outcome, message) =
                    drain::run(&self.session, &self.recorder, action, i..i + evictions, control, settle_for)
                        .await;
                if outcome != Outcome::Done {
                    return (outcome, self.after_evictions(action, outcome, message).await);
                }
                last = message;
                i += evictions;
                continue;
            }
            let ended = if self.session.stop.is_cancelled() || control.is_cancelled() {
                Ended::Stopped("stopped before it was sent".into())
            } else {
                match self.foundations(action, i).await {
                    Ok(()) => self.step(action, i, step, control, settle_for).await,
                    Err(ended) => ended,
                }
            };
            let barred = matches!(ended, Ended::Barred(_));
            action.unfinished |= barred;
            let (state, note, outcome) = match ended {
                Ended::Verified(note) => (StepState::Verified, note, None),
                Ended::Skipped(note) => (StepState::Skipped, note, None),
                // no request was sent, so there is nothing to undo
                Ended::NotSent(note) => (StepState::Skipped, note, Some(Outcome::Failed)),
                Ended::Failed(note) | Ended::Barred(note) => (StepState::Failed, note, Some(Outcome::Failed)),
                Ended::Unknown(note) => (StepState::Unknown, note, Some(Outcome::Unknown)),
                Ended::Stopped(note) => (StepState::Skipped, note, Some(Outcome::Cancelled)),
            };
            // steps that were not sent keep their state, so that the action can be resumed
            let left = barred || self.session.stop.is_cancelled() && outcome == Some(Outcome::Cancelled);
            self.recorder.mark(action, i, if left { StepState::Waiting } else { state }, &note).await;
            if let Some(outcome) = outcome {
                return (outcome, format!("{} {}: {note}", step.what, step.on));
            }
            last = note;
            i += 1;
        }
        if matches!(action.plan.intent.act, Act::Drain(_)) && !drained {
            // pods may have been created since the plan, which had none
            return drain::run(&self.session, &self.recorder, action, i..i, control, settle_for).await;
        }
        let message = match plan.steps.len() {
            0 => plan.warnings.first().map_or(last, ToString::to_string),
            1 => last,
            _ if drained => last,
            n => format!("{n} steps verified"),
        };
        (Outcome::Done, message)
    }

    async fn wait_while_paused(&self, action: &mut ActionView, control: &Control) {
        let mut pauses = control.pauses();
        while *pauses.borrow_and_update() && !control.is_cancelled() && !self.session.stop.is_cancelled() {
            action.paused = true;
            self.recorder.report(action).await;
            tokio::select! {
                changed = pauses.changed() => if changed.is_err() { break },
                () = control.cancelled() => break,
                () = self.session.stop.cancelled() => break,
            }
        }
        action.paused = false;
    }

    async fn step(
        &self,
        action: &mut ActionView,
        i: usize,
        step: &Step,
        control: &Control,
        settle_for: Option<Duration>,
    ) -> Ended {
        let watched = action.plan.intent.act.watched();
        if let Some(why) = watched.and_then(|w| too_many_errors(&self.gauge, w)) {
            return Ended::NotSent(why);
        }
        if let StepKind::Check(gate) = &step.what {
            return self.gate(action, i, step, gate, control).await;
        }
        let reader = match (self.session.reach.reader(step), self.session.reach.writer(step)) {
            (Ok(reader), Ok(_)) => reader,
            (Err(why), _) | (_, Err(why)) => return Ended::NotSent(format!("not sent: {why}")),
        };
        if let Some(why) = self.newly_protected(&action.plan, step, reader).await {
            return Ended::NotSent(format!("not sent: {why}"));
        }
        let stamp = self.session.clock.now().to_string();
        let mut wrote = Wrote { stamp: stamp.clone(), template: None };
        let mut refused: Option<(String, String)> = None;
        let mut answered: Option<String> = None;
        for attempt in 1..=ATTEMPTS {
            let live = match self.session.reach.live(step).await {
                Ok(live) => live,
                Err(e) => {
                    return match rights::sight_ended(reader, step, &e).await {
                        Some(why) => Ended::Barred(format!("not sent: {why}")),
                        None => Ended::NotSent(format!("not sent: the re-check failed: {e}")),
                    };
                }
            };
            let own = live.as_ref().is_some_and(|live| is_own(&step.what, &step.on, live, &stamp));
            if let Some(error) = answered.take().filter(|_| own) {
                self.recorder
                    .mark(action, i, StepState::Accepted, &format!("{error}; but the change was applied"))
                    .await;
                break;
            }
            let version = match check(&step.what, &step.on, live.as_ref()) {
                Check::Go(version) => version,
                Check::Done(why) => return Ended::Skipped(why),
                Check::Stop(why) => {
                    let why = self.with_autoscaler(step, why).await;
                    return Ended::NotSent(format!("not sent: {why}"));
                }
            };
            wrote.template = live.as_ref().and_then(|live| template_after(&step.what, live, &stamp));
            let takes_back = self.takes_back(&action.plan.intent.act, &step.what);
            let since = live.as_ref().filter(|_| takes_back).and_then(|l| set_since(&l.value, &step.what));
            if let Some(why) = since {
                return Ended::NotSent(format!("not sent: {} was changed since: {why}", step.on));
            }
            if let Some((_, why)) = refused.take_if(|(at, _)| *at == version) {
                // nothing has changed, so the request would be refused again
                return Ended::Failed(why);
            }
            let request = match mutation(&step.what, &step.on, live.as_ref(), &stamp) {
                Ok(request) => request,
                Err(why) => return Ended::NotSent(format!("not sent: {why}")),
            };
            let note = match attempt {
                1 => format!("sending at version {version}"),
                n => format!(
                    "changed meanwhile, not applied: sending at version {version} ({n} of {ATTEMPTS})"
                ),
            };
            if !self.recorder.mark_with(action, i, StepState::Running, &note, &wrote).await {
                return Ended::NotSent("not sent: the step cannot be written to the journal".into());
            }
            if self.session.stop.is_cancelled() || control.is_cancelled() {
                return Ended::Stopped("stopped before it was sent".into());
            }
            match self.session.reach.send(step, &request, false).await {
                Ok(answer) => {
                    // the server's result, including changes by admission webhooks
                    let told = revisions::template(&answer);
                    wrote.template = wrote.template.map(|left| if told.is_null() { left } else { told });
                    self.recorder.mark_with(action, i, StepState::Accepted, "accepted", &wrote).await;
                    break;
                }
                // the version or a tested field has changed, which proves that the write was not applied, so it may
                // be sent again
                Err(WriteError::Refused(e @ ApiError::Conflict { .. })) if attempt < ATTEMPTS => {
                    answered = Some(e.to_string());
                }
                Err(WriteError::Refused(e @ ApiError::Invalid { .. }))
                    if attempt < ATTEMPTS && request.method == Method::Patch(content::JSON_PATCH) =>
                {
                    answered = Some(e.to_string());
                    refused = Some((version, e.to_string()));
                }
                Err(WriteError::Refused(e)) if e.is_anybodys() => {
                    if let Some(ended) = self.settled(step, &stamp, &e).await {
                        let barred = rights::ended(reader, step, &e).await;
                        action.unfinished |= barred.is_some();
                        return match (ended, barred) {
                            (Ended::Failed(_), Some(why)) => Ended::Barred(format!("not applied: {why}")),
                            (ended, _) => ended,
                        };
                    }
                    self.recorder
                        .mark(action, i, StepState::Accepted, &format!("{e}; but the change was applied"))
                        .await;
                    break;
                }
                Err(WriteError::Refused(e)) => return Ended::Failed(e.to_string()),
                Err(WriteError::Unknown(why)) => {
                    self.recorder.mark(action, i, StepState::Unknown, &format!("{why}; reading back")).await;
                    if let Some(ended) = self.read_back(step, &stamp, &why).await {
                        return ended;
                    }
                    self.recorder
                        .mark(action, i, StepState::Accepted, "the answer was lost; it was applied")
                        .await;
                    break;
                }
            }
        }
        self.verify(action, i, step, &wrote, control, settle_for.unwrap_or_else(|| patience(&step.what)))
            .await
    }
}

/// Whether the step was sent and not refused.
fn was_sent(state: StepState) -> bool {
    matches!(state, StepState::Verified | StepState::Accepted | StepState::Unknown)
}

/// Creates the ID of an action: the time, and five random letters that make it unique among processes and hosts. The
/// ID is short enough to type.
pub fn new_id(clock: &Clock) -> Name {
    const LETTERS: &[u8] = b"23456789bcdfghjkmnpqrstvwxyz";
    let at = clock.now().to_chrono().map_or_else(String::new, |t| t.format("%y%m%d-%H%M%S").to_string());
    let letters = (0..5).filter_map(|_| LETTERS.get(fastrand::usize(..LETTERS.len())));
    Name::from(format!("{at}-{}", letters.map(|letter| char::from(*letter)).collect::<String>()))
}
