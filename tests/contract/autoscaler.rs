//! Pausing and resuming an autoscaler: undo and resume restore what stood in `spec.behavior`.

use serde_json::{Value, json};

use crate::rig::{Rig, rig};

const NAMESPACE: &str = "contract-autoscaler";
const NOTE: &str = "pilothouse.dev/paused";

fn act(rig: &Rig, words: &[&str], status: i32) -> Value {
    rig.json(&[&["-n", NAMESPACE], words, &["--yes", "-o", "json"]].concat(), status)
}

/// An autoscaler whose metric nobody serves, so that it changes no replicas by itself.
fn autoscaler(rig: &Rig, behavior: &str) {
    rig.kubectl_ok(&["-n", NAMESPACE, "delete", "hpa", "auto", "--ignore-not-found"]);
    rig.apply_in(
        NAMESPACE,
        &format!(
            r"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: auto}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: auto}}
  minReplicas: 2
  maxReplicas: 4
  metrics: [{{type: External, external: {{metric: {{name: none}}, target: {{type: Value, value: '1'}}}}}}]
  {behavior}
"
        ),
    );
}

/// Its spec, and the annotation of a pause.
fn seen(rig: &Rig) -> (Value, Value) {
    let hpa = rig.kubectl_json(&["-n", NAMESPACE, "get", "hpa", "auto"]);
    (hpa["spec"].clone(), hpa["metadata"]["annotations"][NOTE].clone())
}

fn policies(spec: &Value) -> [&Value; 2] {
    ["scaleUp", "scaleDown"].map(|direction| &spec["behavior"][direction]["selectPolicy"])
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_paused_autoscaler_gets_back_what_it_had() {
    let rig = rig();
    rig.namespace(NAMESPACE);
    for behavior in [
        "",
        "behavior: {scaleUp: {selectPolicy: Min, policies: [{type: Pods, value: 2, periodSeconds: 60}]}, scaleDown: {selectPolicy: Max, policies: [{type: Percent, value: 10, periodSeconds: 60}], stabilizationWindowSeconds: 60}}",
        "behavior: {scaleUp: {selectPolicy: Max, policies: [{type: Pods, value: 2, periodSeconds: 60}]}, scaleDown: {selectPolicy: Disabled, policies: [{type: Pods, value: 1, periodSeconds: 60}]}}",
    ] {
        autoscaler(&rig, behavior);
        let before = seen(&rig);
        let plan = rig.json(&["-n", NAMESPACE, "pause-autoscaler", "auto", "--dry-run", "-o", "json"], 0);
        assert!(plan["kubectl"].as_str().unwrap().contains("patch hpa auto --type=merge"), "{plan}");
        assert_eq!(seen(&rig), before, "a dry run changes nothing");

        let done = act(&rig, &["pause-autoscaler", "auto"], 0);
        assert_eq!(done["confirm"], "yes");
        let paused = seen(&rig);
        assert_eq!(policies(&paused.0), ["Disabled"; 2], "{behavior}");
        let again = act(&rig, &["pause-autoscaler", "auto"], 0);
        assert!(again["warnings"].to_string().contains("paused already"), "{again}");
        act(&rig, &["undo", done["id"].as_str().unwrap()], 0);
        assert_eq!(seen(&rig), before, "undone: {behavior}");

        act(&rig, &["pause-autoscaler", "auto"], 0);
        assert_eq!(seen(&rig), paused);
        let resumed = act(&rig, &["resume-autoscaler", "auto"], 0);
        assert_eq!(seen(&rig), before, "resumed: {behavior}");
        act(&rig, &["undo", resumed["id"].as_str().unwrap()], 0);
        assert_eq!(seen(&rig), paused, "the resume undone: {behavior}");
    }
    let paused = act(&rig, &["resume-autoscaler", "auto"], 0);
    assert_eq!(seen(&rig).1, json!(null), "{paused}");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn what_somebody_changed_while_it_was_paused_is_not_overwritten() {
    let rig = rig();
    rig.namespace(NAMESPACE);
    autoscaler(&rig, "");
    let done = act(&rig, &["pause-autoscaler", "auto"], 0);
    let patch = r#"{"spec":{"behavior":{"scaleUp":{"selectPolicy":"Min"}}}}"#;
    rig.kubectl_ok(&["-n", NAMESPACE, "patch", "hpa", "auto", "--type=merge", "-p", patch]);
    let refused = act(&rig, &["undo", done["id"].as_str().unwrap()], 3);
    assert!(refused["refusals"][0]["reason"].as_str().unwrap().contains("kubectl-patch"), "{refused}");
    act(&rig, &["resume-autoscaler", "auto"], 0);
    let (spec, note) = seen(&rig);
    assert_eq!((policies(&spec), note), ([&json!("Min"), &json!("Max")], json!(null)));

    // paused by hand: nothing says what stood there
    let patch = r#"{"spec":{"behavior":{"scaleUp":{"selectPolicy":"Disabled"},"scaleDown":{"selectPolicy":"Disabled"}}}}"#;
    rig.kubectl_ok(&["-n", NAMESPACE, "patch", "hpa", "auto", "--type=merge", "-p", patch]);
    let resumed = act(&rig, &["resume-autoscaler", "auto"], 0);
    assert!(resumed["steps"].to_string().contains("the default"), "{resumed}");
    assert_eq!(policies(&seen(&rig).0), ["Max"; 2]);
    rig.kubectl_ok(&["-n", NAMESPACE, "delete", "hpa", "auto"]);
}
