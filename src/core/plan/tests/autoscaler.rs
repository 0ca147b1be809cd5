//! Pausing and resuming an autoscaler.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{cluster, fields, here, make, target, told};
use crate::domain::id::{Kind, ObjectRef};
use crate::domain::plan::{Act, Confirm, Plan, StepKind};
use crate::domain::time::Stamp;
use crate::facts::world::{ActionView, StepState, StepView};
use crate::plan::undo::derive_undo;

fn on() -> ObjectRef {
    target(Kind::HorizontalPodAutoscaler, 60, "h")
}

fn hpa(behavior: &Value) -> Value {
    let mut hpa = json!({ "metadata": { "annotations": { "team": "shop" } }, "spec": { "maxReplicas": 5 } });
    if !behavior.is_null() {
        hpa["spec"]["behavior"] = behavior.clone();
    }
    hpa
}

fn planned(act: Act, live: &Value) -> Plan {
    make(&cluster(), act, vec![on()], vec![here(&on(), live.clone())])
}

/// The object after a change, each of whose fields must be as the change expects it.
fn after(live: &Value, what: &StepKind) -> Value {
    let StepKind::Change(change) = what else { panic!("{what:?}") };
    let mut after = live.clone();
    for field in &change.fields {
        assert_eq!(live.pointer(&field.pointer).unwrap_or(&Value::Null), &field.from, "{}", field.pointer);
        let (parent, name) = field.pointer.rsplit_once('/').unwrap();
        let parent = after.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let name = name.replace("~1", "/");
        match &field.to {
            Value::Null => drop(parent.remove(&name)),
            to => drop(parent.insert(name, to.clone())),
        }
    }
    after
}

/// The undo of a plan whose only step was done.
fn undone(plan: Plan) -> StepKind {
    let step = plan.steps[0].clone();
    let done = StepView {
        what: step.what.to_string(),
        on: step.on.to_string(),
        state: StepState::Verified,
        at: None,
        note: String::new(),
    };
    let action = ActionView { steps: vec![done], ..ActionView::new("1".into(), Arc::new(plan), Stamp(0)) };
    derive_undo(&action).steps.remove(0).what
}

/// What can stand in `spec.behavior` of an autoscaler that is not paused.
fn behaviors() -> [Value; 4] {
    let policies = json!([{ "type": "Pods", "value": 2, "periodSeconds": 60 }]);
    [
        Value::Null,
        json!({ "scaleUp": { "selectPolicy": "Min", "policies": policies }, "scaleDown": {} }),
        json!({ "scaleUp": { "selectPolicy": "Max" }, "scaleDown": { "selectPolicy": "Disabled" } }),
        json!({ "scaleUp": { "selectPolicy": "Max" }, "scaleDown": { "selectPolicy": "Min" } }),
    ]
}

#[test]
fn a_pause_disables_both_directions_and_undo_restores_what_stood_there() {
    for behavior in behaviors() {
        let live = hpa(&behavior);
        let plan = planned(Act::PauseAutoscaler, &live);
        assert_eq!((told(&plan), plan.confirm), (vec![], Confirm::Yes), "{behavior}");
        let paused = after(&live, &plan.steps[0].what);
        for direction in ["scaleUp", "scaleDown"] {
            assert_eq!(paused["spec"]["behavior"][direction]["selectPolicy"], "Disabled", "{behavior}");
        }
        assert_eq!(told(&planned(Act::PauseAutoscaler, &paused)), ["paused-already"]);
        assert_eq!(after(&paused, &undone(plan)), live, "undone: {behavior}");
    }
}

#[test]
fn a_resume_gives_back_what_the_annotation_says() {
    for behavior in behaviors() {
        let live = hpa(&behavior);
        let paused = after(&live, &planned(Act::PauseAutoscaler, &live).steps[0].what);
        let plan = planned(Act::ResumeAutoscaler, &paused);
        assert_eq!((told(&plan), plan.confirm), (vec![], Confirm::Yes), "{behavior}");
        let mut expected = live.clone();
        if behavior.pointer("/scaleDown") == Some(&json!({})) {
            // the server never leaves a direction without one
            expected["spec"]["behavior"]["scaleDown"]["selectPolicy"] = "Max".into();
        }
        let resumed = after(&paused, &plan.steps[0].what);
        assert_eq!(resumed, expected, "{behavior}");
        assert_eq!(after(&resumed, &undone(plan)), paused, "undone: {behavior}");
    }
}

#[test]
fn without_the_annotation_it_gets_the_default_and_says_so() {
    let disabled = json!({ "selectPolicy": "Disabled" });
    let live = hpa(&json!({ "scaleUp": disabled, "scaleDown": disabled }));
    let plan = planned(Act::ResumeAutoscaler, &live);
    let (was, is) = (json!("Disabled"), json!("Max"));
    assert_eq!(
        fields(&plan.steps[0]),
        [
            ("/spec/behavior/scaleUp/selectPolicy", &was, &is),
            ("/spec/behavior/scaleDown/selectPolicy", &was, &is)
        ]
    );
    assert!(plan.steps[0].what.to_string().contains("the default"), "{}", plan.steps[0].what);
    // a policy that somebody changed while it was paused stays
    let before = hpa(&Value::Null);
    let mut paused = after(&before, &planned(Act::PauseAutoscaler, &before).steps[0].what);
    paused["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = 60.into();
    let resumed = after(&paused, &planned(Act::ResumeAutoscaler, &paused).steps[0].what);
    assert_eq!(resumed["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 60);
    assert_eq!(resumed["spec"]["behavior"]["scaleUp"]["selectPolicy"], "Max");
}

#[test]
fn what_is_not_there_or_not_read_is_refused() {
    let keda = target(Kind::HorizontalPodAutoscaler, 61, "k");
    let plain = hpa(&Value::Null);
    for (act, on, live, sent, codes) in [
        (Act::PauseAutoscaler, on(), Some(&plain), 1, vec![]),
        (Act::PauseAutoscaler, keda, Some(&plain), 1, vec!["keda-reverts"]),
        (Act::ResumeAutoscaler, on(), Some(&plain), 0, vec!["resumed-already"]),
        (Act::PauseAutoscaler, on(), None, 0, vec!["target-not-read"]),
        (Act::PauseAutoscaler, target(Kind::HorizontalPodAutoscaler, 99, "x"), None, 0, vec!["gone"]),
    ] {
        let lookups = live.map(|live| here(&on, live.clone())).into_iter().collect();
        let plan = make(&cluster(), act.clone(), vec![on.clone()], lookups);
        assert_eq!((plan.steps.len(), told(&plan)), (sent, codes), "{act:?} {on}");
    }
}

#[test]
fn kubectl_would_write_the_same() {
    let live = hpa(&json!({ "scaleUp": { "selectPolicy": "Min" }, "scaleDown": { "selectPolicy": "Max" } }));
    let plan = planned(Act::PauseAutoscaler, &live);
    let patch = plan.kubectl.split(" -p ").nth(1).unwrap().trim_matches('\'');
    let patch: Value = serde_json::from_str(patch).unwrap();
    let disabled = json!({ "selectPolicy": "Disabled" });
    assert_eq!(patch["spec"]["behavior"], json!({ "scaleUp": disabled, "scaleDown": disabled }));
    let note = patch["metadata"]["annotations"]["pilothouse.dev/paused"].as_str().unwrap();
    let note: Value = serde_json::from_str(note).unwrap();
    assert_eq!(note, json!({ "scaleUp": "Min", "scaleDown": "Max" }));
    assert!(plan.kubectl.contains("-n shop patch hpa h --type=merge"), "{}", plan.kubectl);
}
