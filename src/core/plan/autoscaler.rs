//! Pausing an autoscaler: `spec.behavior` allows neither scaling up nor scaling down (`selectPolicy: Disabled`), and an
//! annotation says what stood there, so that anybody can resume it.
//!
//! The API server completes a behavior: with `{}` both directions get their policies and `selectPolicy: Max`, and a
//! `selectPolicy` that is removed is `Max` again. Where there was no behavior the whole of it is therefore written as the
//! server completes it: what is read back is what was written, and removing it restores what was there.

use serde_json::{Map, Value, json};

use super::{PlanInput, gone, kubectl, live};
use crate::domain::plan::{Change, FieldChange, Plan, Step, StepKind, Warning};
use crate::policy::kubectl::quote;

/// The annotation with what stood in `spec.behavior`, as JSON: null, or the `selectPolicy` of each direction.
pub(super) const PAUSED: &str = "pilothouse.dev/paused";

const NOTE: &str = "/metadata/annotations/pilothouse.dev~1paused";
const BEHAVIOR: &str = "/spec/behavior";
const DIRECTIONS: [&str; 2] = ["scaleUp", "scaleDown"];
const DISABLED: &str = "Disabled";
/// The API server's default `selectPolicy`.
const DEFAULT: &str = "Max";

fn pointer(direction: &str) -> String {
    format!("{BEHAVIOR}/{direction}/selectPolicy")
}

/// The defaults that the API server sets for an empty behavior (`pkg/apis/autoscaling/v2/defaults.go`), but with both
/// directions disabled.
fn disabled() -> Value {
    let percent = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
    let pods = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
    json!({
        "scaleUp": { "stabilizationWindowSeconds": 0, "selectPolicy": DISABLED, "policies": [pods, percent] },
        "scaleDown": { "selectPolicy": DISABLED, "policies": [percent] }
    })
}

fn at(hpa: &Value, pointer: &str) -> Value {
    hpa.pointer(pointer).cloned().unwrap_or(Value::Null)
}

fn field(hpa: &Value, pointer: &str, to: impl Into<Value>) -> FieldChange {
    FieldChange { pointer: pointer.into(), from: at(hpa, pointer), to: to.into() }
}

fn is_disabled(hpa: &Value, direction: &str) -> bool {
    at(hpa, &pointer(direction)) == DISABLED
}

fn pausing(hpa: &Value) -> Change {
    let (mut fields, stood) = if at(hpa, BEHAVIOR).is_null() {
        (vec![field(hpa, BEHAVIOR, disabled())], Value::Null)
    } else {
        let stood: Map<String, Value> =
            DIRECTIONS.iter().map(|d| ((*d).to_owned(), at(hpa, &pointer(d)))).collect();
        let open = DIRECTIONS.iter().filter(|d| !is_disabled(hpa, d));
        (open.map(|d| field(hpa, &pointer(d), DISABLED)).collect(), Value::Object(stood))
    };
    fields.push(field(hpa, NOTE, stood.to_string()));
    Change { words: "pause: selectPolicy Disabled for scaleUp and scaleDown".into(), fields }
}

fn resuming(hpa: &Value) -> Change {
    let note = at(hpa, NOTE);
    let stood = note.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let (mut fields, mut words) = if stood == Some(Value::Null) && at(hpa, BEHAVIOR) == disabled() {
        let words = "resume: remove spec.behavior, which it did not have before".to_owned();
        (vec![field(hpa, BEHAVIOR, Value::Null)], words)
    } else {
        let before = |direction: &str| {
            let policy = stood.as_ref().and_then(|stood| stood.get(direction)?.as_str());
            policy.unwrap_or(DEFAULT).to_owned()
        };
        let closed: Vec<&str> = DIRECTIONS.into_iter().filter(|d| is_disabled(hpa, d)).collect();
        let to: Vec<String> = closed.iter().map(|d| format!("{} for {d}", before(d))).collect();
        let fields = closed.iter().map(|d| field(hpa, &pointer(d), before(d)));
        (fields.filter(|f| !f.is_guard()).collect(), format!("resume: selectPolicy {}", to.join(", ")))
    };
    if stood.is_none() {
        words.push_str(&format!(" (the default: no annotation {PAUSED} says what it was)"));
    }
    if !note.is_null() {
        fields.push(field(hpa, NOTE, Value::Null));
    }
    Change { words, fields }
}

/// The same as a merge patch, for kubectl.
fn merge_patch(fields: &[FieldChange]) -> Value {
    let mut patch = json!({});
    for field in fields {
        let mut at = &mut patch;
        for name in field.pointer.split('/').skip(1) {
            let name = name.replace("~1", "/").replace("~0", "~");
            if !at.is_object() {
                *at = json!({});
            }
            let Value::Object(object) = at else { break };
            at = object.entry(name).or_insert(Value::Null);
        }
        *at = field.to.clone();
    }
    patch
}

/// Pauses autoscalers, or resumes them.
pub(super) fn pause(input: PlanInput<'_>, plan: &mut Plan, on: bool) {
    let cluster = input.cluster;
    let mut commands = Vec::new();
    for target in plan.intent.targets.clone() {
        let Some(hpa) = cluster.hpas.iter().find(|h| h.uid == target.uid) else {
            plan.refusals.push(gone(&target));
            continue;
        };
        let Some(live) = live(input, plan, &target) else { continue };
        let name = hpa.name.clone();
        let disabled = DIRECTIONS.iter().filter(|d| is_disabled(live, d)).count();
        let nothing_to_do = if on { disabled == DIRECTIONS.len() } else { disabled == 0 };
        if nothing_to_do {
            let warning = if on { Warning::PausedAlready { name } } else { Warning::ResumedAlready { name } };
            plan.warnings.push(warning);
            continue;
        }
        if hpa.keda {
            plan.warnings.push(Warning::KedaReverts { hpa: name });
        }
        let change = if on { pausing(live) } else { resuming(live) };
        commands.push(kubectl(
            cluster,
            plan,
            &format!(
                "-n {} patch hpa {} --type=merge -p {}",
                quote(&hpa.namespace),
                quote(&hpa.name),
                quote(&merge_patch(&change.fields).to_string())
            ),
        ));
        plan.steps.push(Step::new(StepKind::Change(change), target));
    }
    plan.undo = if on { "spec.behavior as it was" } else { "paused again" }.into();
    plan.kubectl = commands.join(" && ");
}
