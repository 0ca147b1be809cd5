//! Undo: the inverse of an action, derived from its plan and from the steps that ran.

use serde_json::Value;

use super::silences;
use crate::domain::id::ObjectRef;
use crate::domain::plan::{Act, Change, Confirm, DerivedPlan, FieldChange, Intent, Plan, Step, StepKind};
use crate::facts::world::{ActionView, StepState};

/// Returns the inverse of a step. Returns `None` if the step has no inverse.
fn inverse(what: &StepKind) -> Option<StepKind> {
    Some(match what {
        StepKind::Cordon => StepKind::Uncordon,
        StepKind::Uncordon => StepKind::Cordon,
        StepKind::Scale { from, to } => StepKind::Scale { from: *to, to: *from },
        StepKind::Rollback { to, from } => StepKind::Rollback { to: from.clone(), from: to.clone() },
        StepKind::Change(change) => StepKind::Change(Change {
            words: String::new(),
            fields: change
                .fields
                .iter()
                .map(|f| FieldChange { pointer: f.pointer.clone(), from: f.to.clone(), to: f.from.clone() })
                .collect(),
        }),
        StepKind::Restart { .. } | StepKind::Evict { .. } | StepKind::Delete { .. } | StepKind::Check(_) => {
            return None;
        }
    })
}

/// Returns the intent that undoes this action, for the objects of its steps. Of another process's action, the cluster
/// has that process's number.
pub fn intent(action: &ActionView) -> Intent {
    let derived = derive_undo(action);
    let mut targets: Vec<ObjectRef> = Vec::new();
    for step in &derived.steps {
        if !targets.contains(&step.on) {
            targets.push(step.on.clone());
        }
    }
    Intent { act: Act::Undo(Box::new(derived)), targets, ..action.plan.intent.clone() }
}

/// Returns the plan that undoes this action. Steps that were never sent are left out. Every other step is checked
/// against the cluster before its inverse is written, so a step that was not applied changes nothing.
pub fn derive_undo(action: &ActionView) -> DerivedPlan {
    let plan = &action.plan;
    let mut steps: Vec<Step> = Vec::new();
    let mut gone = 0usize;
    let mut restarted = Vec::new();
    for (step, view) in plan.steps.iter().zip(&action.steps).rev() {
        if matches!(view.state, StepState::Waiting | StepState::Skipped) {
            continue;
        }
        match (&step.what, inverse(&step.what)) {
            (StepKind::Evict { .. } | StepKind::Delete { .. }, _) => {
                // A step that a budget blocks was requested, but nothing happened.
                gone += usize::from(!matches!(view.state, StepState::Held | StepState::Failed));
            }
            (StepKind::Restart { .. }, _) => restarted.push(step.on.to_string()),
            (_, Some(what)) => {
                push(&mut steps, Step { what, on: step.on.clone(), context: step.context.clone() });
            }
            (_, None) => {}
        }
    }
    for node in &action.inherited {
        push(&mut steps, Step::new(StepKind::Uncordon, node.clone()));
    }
    for step in &mut steps {
        if let StepKind::Change(change) = &mut step.what {
            change.words = silences::words(change).unwrap_or_else(|| words(change));
        }
    }
    let mut not_restored = Vec::new();
    if gone > 0 {
        let pods =
            if gone == 1 { "1 evicted pod does".to_owned() } else { format!("{gone} evicted pods do") };
        not_restored.push(format!("{pods} not move back"));
    }
    if !restarted.is_empty() {
        not_restored
            .push(format!("the pods of {} that were replaced do not come back", restarted.join(", ")));
    }
    if steps.is_empty() && not_restored.is_empty() {
        not_restored.push("it changed nothing".into());
    }
    // The undo of an action that moved traffic or load asks for the same confirmation as the action.
    let confirm = match &plan.intent.act {
        Act::Failover { .. } => Confirm::Context,
        // Cordon and uncordon are the inverse of each other.
        Act::Cordon | Act::Uncordon => plan.confirm,
        Act::Undo(derived) | Act::Resume(derived) => derived.confirm,
        _ => Confirm::Suffix,
    };
    DerivedPlan {
        of: action.id.clone(),
        title: title(plan),
        steps,
        not_restored: not_restored.join("; "),
        confirm,
        watched: None,
        takes_back: true,
    }
}

/// Adds a step. Steps of the same object that undo each other, or that are stages of one change, are merged into one
/// step back to the first value.
fn push(steps: &mut Vec<Step>, step: Step) {
    let same = |held: &&mut Step| held.on == step.on && held.context == step.context;
    for held in steps.iter_mut().filter(same) {
        match (&mut held.what, &step.what) {
            (StepKind::Change(before), StepKind::Change(change)) => {
                for field in &change.fields {
                    match before.fields.iter_mut().find(|f| f.pointer == field.pointer) {
                        Some(known) => known.to = field.to.clone(),
                        None => before.fields.push(field.clone()),
                    }
                }
            }
            (StepKind::Scale { to: before, .. }, StepKind::Scale { to, .. }) => *before = *to,
            (StepKind::Rollback { to: before, .. }, StepKind::Rollback { to, .. }) => before.clone_from(to),
            (before @ StepKind::Cordon, StepKind::Uncordon) => *before = NOTHING,
            (before @ StepKind::Uncordon, StepKind::Cordon) => *before = NOTHING,
            _ => continue,
        }
        steps.retain(|s| !is_nothing(&s.what));
        return;
    }
    steps.push(step);
}

/// A step that changes nothing. A plan never has it.
const NOTHING: StepKind = StepKind::Scale { from: 0, to: 0 };

fn is_nothing(what: &StepKind) -> bool {
    match what {
        StepKind::Change(change) => change.fields.iter().all(FieldChange::is_guard),
        StepKind::Scale { from, to } => from == to,
        StepKind::Rollback { to, from } => to == from,
        _ => false,
    }
}

fn words(change: &Change) -> String {
    let show = |value: &Value| match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        // a page of JSON says less than the name of the field
        Value::Object(_) => "{…}".to_owned(),
        other => other.to_string(),
    };
    let fields: Vec<String> = change
        .fields
        .iter()
        .filter(|f| !f.is_guard())
        .map(|f| {
            let name =
                f.pointer.rsplit('/').next().unwrap_or(&f.pointer).replace("~1", "/").replace("~0", "~");
            let of = whose(change, &f.pointer).map_or_else(String::new, |of| format!(" of {of}"));
            format!("{name}{of} back from {} to {}", show(&f.from), show(&f.to))
        })
        .collect();
    fields.join(", ")
}

/// Returns the name of the backend that a field belongs to. The change has a guard on the name, next to the field or below it.
fn whose<'a>(change: &'a Change, pointer: &str) -> Option<&'a str> {
    let place = pointer.rfind('/').and_then(|end| pointer.get(..=end))?;
    let is_name = |f: &&FieldChange| f.is_guard() && f.pointer.starts_with(place);
    change.fields.iter().find(is_name).and_then(|f| f.from.as_str())
}

/// Returns the title of an action: `scale shop/deploy/checkout`, `drain 3 objects`.
pub fn title(plan: &Plan) -> String {
    let act = plan.intent.act.as_str();
    match (&plan.intent.act, plan.intent.targets.as_slice()) {
        (Act::Failover { plan, .. }, _) => format!("{act} {}", plan.name),
        (Act::SilenceAlerts(new), _) => format!("{act} {}", new.alert),
        (Act::Undo(derived), _) => format!("undo of {}", derived.title),
        (Act::Resume(rest), _) => format!("rest of {}", rest.title),
        (_, []) => act.to_owned(),
        (_, [one]) => format!("{act} {one}"),
        (_, [one, two]) => format!("{act} {one}, {two}"),
        (_, [one, two, more @ ..]) => format!("{act} {one}, {two} and {} more", more.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::domain::id::{ClusterId, Kind, ObjectRef, Uid};
    use crate::domain::plan::{DrainOptions, Intent};
    use crate::domain::time::Stamp;
    use crate::facts::world::{Outcome, StepView};

    #[allow(clippy::needless_pass_by_value)]
    fn action(act: Act, steps: Vec<(StepKind, StepState)>) -> ActionView {
        let on = ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &"n".into(), &Uid::Uuid(1));
        let intent = Intent { cluster: ClusterId(0), context: "test".into(), act, targets: vec![on.clone()] };
        let mut plan = Plan::new(intent, Stamp(0));
        plan.steps = steps.iter().map(|(what, _)| Step::new(what.clone(), on.clone())).collect();
        let views = steps.iter().map(|(what, state)| StepView {
            what: what.to_string(),
            on: on.to_string(),
            state: *state,
            at: None,
            note: String::new(),
        });
        ActionView { steps: views.collect(), ..ActionView::new("1".into(), Arc::new(plan), Stamp(0)) }
    }

    fn weight(from: i64, to: i64) -> StepKind {
        let field = FieldChange { pointer: "/spec/rules/0/weight".into(), from: json!(from), to: json!(to) };
        StepKind::Change(Change { words: "weight".into(), fields: vec![field] })
    }

    #[test]
    fn a_title_names_the_first_two_objects() {
        let node = |n: usize| {
            ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &format!("n{n}").into(), &Uid::default())
        };
        for (count, words) in [
            (0, "cordon"),
            (1, "cordon node/n0"),
            (2, "cordon node/n0, node/n1"),
            (5, "cordon node/n0, node/n1 and 3 more"),
        ] {
            let intent = Intent {
                cluster: ClusterId(0),
                context: "test".into(),
                act: Act::Cordon,
                targets: (0..count).map(node).collect(),
            };
            assert_eq!(title(&Plan::new(intent, Stamp(0))), words);
        }
    }

    #[test]
    fn the_way_back_of_a_cordon_asks_as_the_cordon_did() {
        for asked in [Confirm::Yes, Confirm::Count] {
            let mut done = action(Act::Cordon, vec![(StepKind::Cordon, StepState::Verified)]);
            Arc::make_mut(&mut done.plan).confirm = asked;
            assert_eq!(derive_undo(&done).confirm, asked);
        }
        let drain =
            action(Act::Drain(DrainOptions::default()), vec![(StepKind::Cordon, StepState::Verified)]);
        assert_eq!(derive_undo(&drain).confirm, Confirm::Suffix);
    }

    #[test]
    fn a_drain_is_uncordoned_and_says_what_is_not_restored() {
        let steps = vec![
            (StepKind::Cordon, StepState::Verified),
            (StepKind::Evict { grace_period: -1 }, StepState::Verified),
            (StepKind::Evict { grace_period: -1 }, StepState::Waiting),
        ];
        let undo = derive_undo(&action(Act::Drain(DrainOptions::default()), steps));
        assert_eq!(undo.steps.iter().map(|s| s.what.clone()).collect::<Vec<_>>(), [StepKind::Uncordon]);
        assert_eq!(undo.not_restored, "1 evicted pod does not move back");
    }

    #[test]
    fn what_the_action_took_back_itself_is_not_done_again() {
        let steps = vec![
            (StepKind::Cordon, StepState::Verified),
            (StepKind::Evict { grace_period: -1 }, StepState::Skipped),
            (StepKind::Uncordon, StepState::Verified),
        ];
        assert_eq!(derive_undo(&action(Act::Drain(DrainOptions::default()), steps)).steps, []);
        let scale = |from, to| (StepKind::Scale { from, to }, StepState::Verified);
        let undo = derive_undo(&action(Act::Restart, vec![scale(2, 4), scale(4, 8)]));
        assert_eq!(
            undo.steps.iter().map(|s| s.what.clone()).collect::<Vec<_>>(),
            [StepKind::Scale { from: 8, to: 2 }]
        );
    }

    #[test]
    fn a_cordon_that_somebody_else_made_stays() {
        let steps = vec![(StepKind::Cordon, StepState::Skipped)];
        assert!(derive_undo(&action(Act::Drain(DrainOptions::default()), steps)).steps.is_empty());
    }

    #[test]
    fn shifts_in_steps_go_back_at_once_to_where_the_first_began() {
        let steps = vec![
            (weight(0, 5), StepState::Verified),
            (weight(5, 25), StepState::Failed),
            (weight(25, 100), StepState::Waiting),
        ];
        let undo = derive_undo(&action(Act::Restart, steps));
        let StepKind::Change(change) = &undo.steps[0].what else { panic!("{undo:?}") };
        assert_eq!(
            (undo.steps.len(), &change.fields[0].from, &change.fields[0].to),
            (1, &json!(25), &json!(0))
        );
        assert_eq!(change.words, "weight back from 25 to 0");
        // the name of the backend is guarded next to its weight
        let backend = |place: &str, name: &str, from: i64| {
            let weight =
                FieldChange { pointer: format!("{place}/weight"), from: json!(from), to: json!(100 - from) };
            [weight, FieldChange::guard(&format!("{place}/name"), &json!(name))]
        };
        let fields =
            [backend("/spec/services/0", "blue", 100), backend("/spec/services/1", "green", 0)].concat();
        let shift = StepKind::Change(Change { words: "weight".into(), fields });
        let undo = derive_undo(&action(Act::Restart, vec![(shift, StepState::Verified)]));
        let StepKind::Change(change) = &undo.steps[0].what else { panic!("{undo:?}") };
        assert_eq!(change.words, "weight of blue back from 0 to 100, weight of green back from 100 to 0");
        let mut ended = action(Act::Cordon, vec![]);
        ended.outcome = Some(Outcome::Refused);
        assert!(derive_undo(&ended).not_restored.contains("changed nothing"));
    }
}
