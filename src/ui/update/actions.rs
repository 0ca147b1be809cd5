//! The keys of the Actions pane: cancel, pause, undo and resume. They apply to the selected action, not to the most
//! recent one.

use std::sync::Arc;

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::plan::{Act, StepKind};
use pilothouse_core::facts::world::{ActionView, StepState, World};
use pilothouse_core::plan::undo;

use super::super::app::{Question, Ui};
use super::super::request::{Effect, Order};
use super::super::rows::actions::is_left;
use super::super::targets;
use super::{clusters, dialog, timeline};

/// Returns the selected action, or the action whose text is open.
fn selected(ui: &mut Ui, world: &World) -> Option<Arc<ActionView>> {
    let found = targets::action(ui, world).cloned();
    if found.is_none() {
        ui.say("no action is selected");
    }
    found
}

/// Returns the selected action if it runs in this process.
fn running(ui: &mut Ui, world: &World) -> Option<Arc<ActionView>> {
    let action = selected(ui, world)?;
    if action.outcome.is_some() || action.foreign {
        ui.say("this action is not running in this console");
        return None;
    }
    Some(action)
}

pub(super) fn cancel(ui: &mut Ui, world: &World) {
    if let Some(why) = timeline::refusal(ui) {
        return ui.say(why);
    }
    if targets::dismissible(ui, world) {
        let Some(action) = selected(ui, world) else { return };
        let title = undo::title(&action.plan);
        ui.question = Some(Question::DismissAction { id: action.id.clone(), title });
        return;
    }
    let Some(action) = running(ui, world) else { return };
    let cordoned = action
        .plan
        .steps
        .iter()
        .zip(&action.steps)
        .any(|(step, view)| step.what == StepKind::Cordon && view.state == StepState::Verified);
    let cordoned = cordoned || !action.inherited.is_empty();
    let title = undo::title(&action.plan);
    ui.question = Some(Question::CancelAction { id: action.id.clone(), title, cordoned });
}

/// Returns the open cluster in which the action can be resumed or undone. An action belongs to one cluster, and its plan
/// names a context.
fn home(ui: &mut Ui, world: &World, action: &ActionView) -> Option<ClusterId> {
    let context = &action.plan.intent.context;
    let Some(cluster) = world.of_context(context) else {
        let hint = clusters::opens(ui, "it");
        ui.say(format!("this action was done in context {context}, which is not open{hint}"));
        return None;
    };
    // an action of this process was done in a cluster that can have been closed and opened again
    let is_same = action.is_of(cluster) || !action.foreign;
    if !is_same {
        let server = &action.place.server;
        ui.say(format!("belongs to another cluster with this context name, {server}: use its kubeconfig"));
        return None;
    }
    Some(cluster.id())
}

/// Pauses or continues the selected action. If the key is pressed again before the World tells that the action is paused,
/// it pauses once more, which changes nothing.
pub(super) fn pause(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let Some(action) = running(ui, world) else { return };
    let on = !action.paused;
    ui.say(if on { "paused: requests already sent will finish, no new ones are sent" } else { "resumed" });
    effects.push(Effect::Order(action.id.clone(), Order::Pause(on)));
}

pub(super) fn undo(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let Some(action) = selected(ui, world) else { return };
    if action.outcome.is_none() {
        return ui.say("this action is still running: cancel it first");
    }
    let Some(cluster) = home(ui, world, &action) else { return };
    let mut intent = undo::intent(&action);
    intent.set_cluster(cluster);
    if let Act::Undo(derived) = &intent.act
        && intent.targets.is_empty()
    {
        return ui.say(format!("this action cannot be undone: {}", derived.not_restored));
    }
    dialog::open_in(ui, world, cluster, intent.act, intent.targets, effects);
}

pub(super) fn resume(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let Some(action) = selected(ui, world) else { return };
    if !action.unfinished && !is_left(&action) {
        return ui.say("this action has finished: nothing to resume");
    }
    let Some(cluster) = home(ui, world, &action) else { return };
    let mut intent = action.plan.intent.clone();
    intent.set_cluster(cluster);
    dialog::open_in(ui, world, cluster, intent.act, intent.targets, effects);
    if !action.unfinished {
        // a drain that stopped is planned again, as if the user had requested it now
        return;
    }
    if let Some(open) = &mut ui.dialog {
        open.resumes = Some(action.id.clone());
        // the remaining steps follow from the journal and the state of the cluster, not from a new plan
        effects.pop();
        effects.push(Effect::Resume(open.ticket, action.id.clone()));
    }
}
