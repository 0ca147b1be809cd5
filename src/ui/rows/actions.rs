//! The titles and states of actions.

use std::collections::BTreeSet;

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::domain::plan::Act;
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};
use pilothouse_core::plan::undo;

use crate::ui::cell::Grade;

/// Returns the severity of an action.
pub fn grade(action: &ActionView) -> Grade {
    match action.outcome {
        None | Some(Outcome::Cancelled) => Grade::Info,
        Some(Outcome::Done) => Grade::Fine,
        Some(Outcome::Refused) => Grade::Warning,
        Some(Outcome::Failed | Outcome::Unknown) => Grade::Critical,
    }
}

/// Returns the title, such as `cordon no/ip-10-0-3-7` or `restart 3 objects`.
pub fn title(action: &ActionView) -> String {
    undo::title(&action.plan)
}

/// Counts the steps that are done.
pub fn steps(action: &ActionView) -> String {
    // steps that are skipped because the user canceled the action are not done
    let cancelled = action.outcome == Some(Outcome::Cancelled);
    let is_done = |state| state == StepState::Verified || (state == StepState::Skipped && !cancelled);
    let done = action.steps.iter().filter(|step| is_done(step.state)).count();
    format!("{done}/{}", action.steps.len())
}

/// Describes the state in one word. `undone` contains the actions that another one has undone.
pub fn state(action: &ActionView, undone: &BTreeSet<Name>) -> &'static str {
    match action.outcome {
        Some(_) if undone.contains(&action.id) => "undone",
        Some(outcome) => outcome.as_str(),
        None if action.paused => "paused",
        None => "running",
    }
}

/// Returns the identity of a row.
pub fn key(action: &ActionView) -> Uid {
    Uid::Text(action.id.clone())
}

/// Whether a drain ended while pods were left. A new plan cordons what is still needed and evicts the remaining pods.
pub fn is_left(action: &ActionView) -> bool {
    let stopped = matches!(action.outcome, Some(Outcome::Failed | Outcome::Cancelled | Outcome::Unknown));
    stopped && !action.unfinished && matches!(action.plan.intent.act, Act::Drain(_))
}
