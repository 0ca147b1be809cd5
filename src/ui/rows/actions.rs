//! What actions are called, and how they stand.

use pilothouse_core::domain::id::Uid;
use pilothouse_core::domain::plan::Act;
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};
use pilothouse_core::plan::undo;

use crate::ui::cell::Grade;

/// How bad.
pub fn grade(action: &ActionView) -> Grade {
    match action.outcome {
        None | Some(Outcome::Cancelled) => Grade::Info,
        Some(Outcome::Done) => Grade::Fine,
        Some(Outcome::Refused) => Grade::Warning,
        Some(Outcome::Failed | Outcome::Unknown) => Grade::Critical,
    }
}

/// `cordon no/ip-10-0-3-7`, `restart 3 objects`.
pub fn title(action: &ActionView) -> String {
    undo::title(&action.plan)
}

/// How many of its steps are done.
pub fn steps(action: &ActionView) -> String {
    // what is left out because somebody ended it is not done
    let cancelled = action.outcome == Some(Outcome::Cancelled);
    let is_done = |state| state == StepState::Verified || (state == StepState::Skipped && !cancelled);
    let done = action.steps.iter().filter(|step| is_done(step.state)).count();
    format!("{done}/{}", action.steps.len())
}

/// In a word.
pub fn state(action: &ActionView) -> &'static str {
    action.outcome.map_or(if action.paused { "paused" } else { "running" }, Outcome::as_str)
}

/// The row's identity.
pub fn key(action: &ActionView) -> Uid {
    Uid::Text(action.id.clone())
}

/// A drain that has ended with pods left: planned anew it cordons what has to be, and takes the rest.
pub fn is_left(action: &ActionView) -> bool {
    let stopped = matches!(action.outcome, Some(Outcome::Failed | Outcome::Cancelled | Outcome::Unknown));
    stopped && !action.unfinished && matches!(action.plan.intent.act, Act::Drain(_))
}
