//! Verifies steps: waits for gates, looks for the effect of lost answers, and waits for effects that take time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use pilothouse_core::domain::alert::is_silence;
use pilothouse_core::domain::plan::{Gate, Step};
use pilothouse_core::facts::world::{ActionView, StepState};

use super::super::gate::{Held, look};
use super::super::live_object::Live;
use super::super::rights;
use super::super::step_check::{Standing, UNKNOWN_FOR, Wrote, is_own, overtaken, standing};
use super::{Control, Ended, Executor};
use crate::clock::Clock;
use crate::wire::error::ApiError;
use pilothouse_core::plan::drift::{last_change, written};

/// The interval between two reads of a step that is taking effect.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long permissions and credentials may be missing. A new token or another API server can restore them.
const BLIND_FOR: Duration = Duration::from_secs(5);

/// The timeout for reading the nodes at the end of an action or before the process terminates.
const LAST_LOOK: Duration = Duration::from_secs(3);
const LAST_MOMENT: Duration = Duration::from_millis(200);

impl Executor {
    pub(super) async fn read(&self, step: &Step) -> Result<Option<Live>, ApiError> {
        self.session.reach.live(step).await
    }

    /// Returns the permission or credential that was lost, if this is why the object of a step cannot be read.
    async fn sight_ended(&self, step: &Step, error: &ApiError) -> Option<String> {
        rights::sight_ended(self.session.reach.reader(step).ok()?, step, error).await
    }

    /// Describes the current state of the nodes that this action cordoned. Each node is read, and the journal is not
    /// trusted.
    pub(super) async fn cordons_now(&self, cordons: &[Step]) -> Vec<String> {
        let patience = if self.session.stop.is_cancelled() { LAST_MOMENT } else { LAST_LOOK };
        let looks = cordons.iter().map(|step| async move {
            let looked = tokio::time::timeout(patience, self.read(step)).await;
            let late = |_| Err(ApiError::Unreachable("no answer in time".into()));
            let state = match looked.unwrap_or_else(late) {
                Ok(live) => match live.filter(|live| live.uid == step.on.uid.to_string()) {
                    Some(live) if live.cordoned => "still cordoned".into(),
                    Some(_) => "not cordoned any more".into(),
                    None => "gone".into(),
                },
                Err(why) => format!("not known whether still cordoned ({why})"),
            };
            (state, step.on.name.to_string())
        });
        let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (state, node) in join_all(looks).await {
            by.entry(state).or_default().push(node);
        }
        by.into_iter().map(|(state, nodes)| format!("{state}: {}", nodes.join(", "))).collect()
    }

    /// Runs a gate, which is a step that only reads, until it holds or its time is over.
    pub(super) async fn gate(
        &self,
        action: &mut ActionView,
        i: usize,
        step: &Step,
        gate: &Gate,
        control: &Control,
    ) -> Ended {
        let reader = match self.session.reach.reader(step) {
            Ok(reader) => reader,
            Err(why) => return Ended::Failed(why),
        };
        let (began, mut said) = (Clock::instant(), String::new());
        let mut blind = None;
        let patience = match gate {
            Gate::Soak { secs, .. } => u64::from(*secs) + 5,
            // images may have to be pulled
            Gate::Ready { .. } => 300,
            Gate::ServedBy { .. } | Gate::RouteAccepted => 60,
        };
        loop {
            let waited = (Clock::instant() - began).as_secs();
            // this step depends on the effects of the steps before it
            match self.foundations(action, i).await {
                Err(Ended::NotSent(why)) => return Ended::Failed(why),
                Err(Ended::Barred(_)) | Ok(()) => {}
                Err(ended) => return ended,
            }
            let held = look(reader, &step.on, gate, &self.gauge, waited).await;
            if !matches!(held, Held::Barred(_)) {
                blind = None;
            }
            match held {
                Held::Barred(why) if is_over(&mut blind) => return Ended::Barred(why),
                Held::Barred(why) | Held::NotYet(why) if waited > patience => {
                    return Ended::Failed(format!("after {patience} s: {why}"));
                }
                Held::Yes(note) => return Ended::Verified(note),
                Held::No(why) => return Ended::Failed(why),
                Held::Barred(why) | Held::NotYet(why) => {
                    if why != said {
                        self.recorder.mark(action, i, StepState::Running, &why).await;
                        said = why;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = control.cancelled() => return Ended::Stopped("cancelled while watching".into()),
                () = self.session.stop.cancelled() => return Ended::Stopped("stopped while watching".into()),
            }
        }
    }

    /// Looks for the effect of a step whose answer was lost. Returns `None` if it was applied.
    pub(super) async fn read_back(&self, step: &Step, stamp: &str, why: &str) -> Option<Ended> {
        let deadline = Clock::deadline(UNKNOWN_FOR);
        let mut seen = String::from("the object could not be read");
        while Clock::instant() < deadline {
            match self.read(step).await {
                Ok(live) => match standing(&step.what, &step.on, live.as_ref(), stamp) {
                    Standing::NotApplied => seen = "its effect was not found".into(),
                    Standing::Overridden(what) => return Some(Ended::Unknown(format!("{why}; {what}"))),
                    Standing::Settling(_) | Standing::Verified(_) => return None,
                },
                Err(e) => seen = e.to_string(),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.session.stop.cancelled() => break,
            }
        }
        // the request may still be in transit, so a missing effect is no proof
        Some(Ended::Unknown(format!("{why}; checked: {seen}; the request is not repeated")))
    }

    /// Reads the object once after an answer that a proxy or gateway can return although the write was applied.
    /// Returns `None` if it was applied.
    pub(super) async fn settled(&self, step: &Step, stamp: &str, error: &ApiError) -> Option<Ended> {
        let live = match self.read(step).await {
            Ok(live) => live.filter(|live| live.uid == step.on.uid.to_string()),
            Err(why) => {
                let why = format!("{error}; it is not known whether it was applied: {why}");
                return Some(Ended::Unknown(why));
            }
        };
        let Some(live) = live else { return Some(Ended::Failed(error.to_string())) };
        if is_own(&step.what, &step.on, &live, stamp) {
            return None;
        }
        Some(match standing(&step.what, &step.on, Some(&live), stamp) {
            Standing::NotApplied => Ended::Failed(error.to_string()),
            Standing::Overridden(what) => Ended::Failed(format!("{error}; {what}")),
            Standing::Settling(_) | Standing::Verified(_) => {
                let who =
                    written(&step.what).map_or_else(String::new, |field| last_change(&live.value, field));
                Ended::Skipped(format!("{error}; it was done meanwhile{who}"))
            }
        })
    }

    pub(super) async fn verify(
        &self,
        action: &mut ActionView,
        i: usize,
        step: &Step,
        wrote: &Wrote,
        control: &Control,
        patience: Duration,
    ) -> Ended {
        let deadline = Clock::deadline(patience);
        let mut missing = String::from("not seen yet");
        let mut blind = None;
        loop {
            let mut unread = false;
            let looked = self.read(step).await;
            if let Ok(Some(live)) = &looked
                && let Some(why) = overtaken(&step.what, live, wrote.template.as_ref())
                && live.restarted_at.as_deref() == Some(wrote.stamp.as_str())
            {
                return Ended::Failed(why);
            }
            match looked {
                Ok(live) => match standing(&step.what, &step.on, live.as_ref(), &wrote.stamp) {
                    Standing::Verified(note) => return Ended::Verified(note),
                    Standing::Overridden(note) => {
                        return Ended::Failed(self.with_autoscaler(step, note).await);
                    }
                    // another of several Alertmanagers can answer, which has not heard of it yet
                    Standing::NotApplied if is_silence(&step.on.kind) => {
                        missing = "the Alertmanager that answered does not show it yet".into();
                        unread = true;
                    }
                    // the change was applied earlier, because this code runs only after that
                    Standing::NotApplied => {
                        let who = live.as_ref().zip(written(&step.what));
                        let who =
                            who.map_or_else(String::new, |(live, field)| last_change(&live.value, field));
                        let why = format!("it was taken back meanwhile{who}");
                        return Ended::Failed(self.with_autoscaler(step, why).await);
                    }
                    Standing::Settling(note) => {
                        blind = None;
                        if note != missing {
                            self.recorder.mark(action, i, StepState::Accepted, &note).await;
                        }
                        missing = note;
                    }
                },
                Err(e) => {
                    missing = format!("cannot be read: {e}");
                    unread = true;
                    if let Some(why) = self.sight_ended(step, &e).await
                        && is_over(&mut blind)
                    {
                        action.unfinished = true;
                        return Ended::Unknown(format!("applied; no longer watched: {why}"));
                    }
                }
            }
            if Clock::instant() >= deadline {
                if unread {
                    return Ended::Unknown(format!("accepted; after {} s: {missing}", patience.as_secs()));
                }
                return Ended::Failed(format!("applied, but after {} s: {missing}", patience.as_secs()));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = control.cancelled() => return Ended::Unknown(format!("applied; no longer watched: {missing}")),
                () = self.session.stop.cancelled() => return Ended::Unknown(format!("applied; no longer watched: {missing}")),
            }
        }
    }
}

/// Whether a permission or login has been missing for so long that it will not return by itself. `since` is the time
/// at which it was first missing.
fn is_over(since: &mut Option<Instant>) -> bool {
    since.get_or_insert_with(Clock::instant).elapsed() >= BLIND_FOR
}
