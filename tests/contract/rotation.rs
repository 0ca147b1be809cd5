//! Out of and into rotation, the bounds of an autoscaler, and the warnings of a scaling about autoscalers and quotas.

use serde_json::{Value, json};

use crate::rig::{Rig, out, rig, until};

const NAMESPACE: &str = "contract-rotation";

/// A Deployment of two pods with a Service; `free`: the Service selects by a label that the ReplicaSet does not use.
fn deployment(rig: &Rig, name: &str, free: bool) {
    rig.namespace(NAMESPACE);
    rig.kubectl_ok(&["-n", NAMESPACE, "delete", "pods,deploy", "-l", &format!("app={name}"), "--wait"]);
    let extra = if free { ", rotation: in" } else { "" };
    rig.apply_in(
        NAMESPACE,
        &format!(
            r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}{extra}}}}}
    spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: a, image: "a:1", resources: {{requests: {{cpu: 100m}}}}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}{extra}}}, ports: [{{port: 80}}]}}
"#
        ),
    );
    rig.kubectl_ok(&["-n", NAMESPACE, "rollout", "status", &format!("deploy/{name}"), "--timeout=60s"]);
    backends(rig, name, |ready| ready.len() == 2);
}

fn pods(rig: &Rig, name: &str) -> Vec<Value> {
    let all = rig.kubectl_json(&["-n", NAMESPACE, "get", "pods"]);
    let all = all["items"].as_array().unwrap().iter();
    let own = all.filter(|p| p["metadata"]["name"].as_str().unwrap().starts_with(&format!("{name}-")));
    own.filter(|p| p["metadata"]["deletionTimestamp"].is_null()).cloned().collect()
}

/// Waits until the ready endpoints have these names.
fn backends(rig: &Rig, service: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
    until(30, "the endpoints", || {
        let label = format!("kubernetes.io/service-name={service}");
        let slices = rig.kubectl_json(&["-n", NAMESPACE, "get", "endpointslices", "-l", &label]);
        let slices = slices["items"].as_array().unwrap();
        let all = slices.iter().filter_map(|s| s["endpoints"].as_array()).flatten();
        let ready: Vec<String> = all
            .filter(|e| e["conditions"]["ready"] == true)
            .map(|e| e["targetRef"]["name"].as_str().unwrap().to_owned())
            .collect();
        if wanted(&ready) { Ok(ready) } else { Err(format!("{ready:?}")) }
    })
}

fn act(rig: &Rig, words: &[&str], status: i32) -> Value {
    rig.json(&[&["-n", NAMESPACE], words, &["--yes", "-o", "json"]].concat(), status)
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_pod_leaves_the_rotation_and_stays_its_controllers() {
    let rig = rig();
    deployment(&rig, "free", true);
    let before = backends(&rig, "free", |ready| ready.len() == 2);
    let out_of = before[0].as_str();
    let done = act(&rig, &["out-of-rotation", out_of, "--service", "free"], 0);
    assert!(!done["warnings"].to_string().contains("starts another pod"), "{done}");
    assert_eq!(
        done["services"],
        json!([{"namespace": NAMESPACE, "name": "free", "ready_before": 2, "ready_after": 1,
        "share_after": 1.0, "rps_before": null, "rps_after": null, "busiest": null, "breaks": []}])
    );
    backends(&rig, "free", |ready| ready == [before[1].clone()]);
    let live = pods(&rig, "free");
    let taken = live.iter().find(|p| p["metadata"]["name"] == out_of).unwrap();
    assert_eq!(live.len(), 2, "no replacement is made");
    assert_eq!(taken["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
    assert!(taken["metadata"]["labels"].get("rotation").is_none(), "{taken}");
    let refused = act(&rig, &["out-of-rotation", out_of, "--service", "free"], 3);
    assert!(refused["refusals"][0]["reason"].as_str().unwrap().contains("does not select"), "{refused}");
    act(&rig, &["into-rotation", out_of], 0);
    backends(&rig, "free", |ready| ready.len() == 2);
    let taken = rig.kubectl_json(&["-n", NAMESPACE, "get", "pod", out_of]);
    assert_eq!(taken["metadata"]["labels"]["rotation"], "in");
    assert!(taken["metadata"]["annotations"].get("pilothouse.dev/out-of-rotation").is_none());
    // with an undo instead
    let done = act(&rig, &["out-of-rotation", out_of, "--service", "free"], 0);
    backends(&rig, "free", |ready| ready.len() == 1);
    act(&rig, &["undo", done["id"].as_str().unwrap()], 0);
    backends(&rig, "free", |ready| ready.len() == 2);
    let never = act(&rig, &["into-rotation", out_of], 3);
    assert!(never["refusals"][0]["reason"].as_str().unwrap().contains("was not taken out"), "{never}");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn without_a_label_of_its_own_a_replacement_is_made() {
    let rig = rig();
    deployment(&rig, "bound", false);
    let before = backends(&rig, "bound", |ready| ready.len() == 2);
    let out_of = before[0].as_str();
    let done = act(&rig, &["out-of-rotation", out_of, "--service", "bound"], 0);
    assert!(done["warnings"].to_string().contains("starts another pod in its place"), "{done}");
    let after = backends(&rig, "bound", |ready| ready.len() == 2 && !ready.contains(&before[0]));
    assert!(after.iter().any(|p| !before.contains(p)), "{after:?}");
    let live = pods(&rig, "bound");
    let taken = live.iter().find(|p| p["metadata"]["name"] == out_of).unwrap();
    assert!(taken["metadata"]["ownerReferences"].is_null(), "{taken}");
    assert_eq!(live.len(), 3, "it stays for a look at it");
    // after it is back there is one pod too many, and its controller deletes one
    let back = act(&rig, &["into-rotation", out_of], 0);
    assert!(back["warnings"].to_string().contains("then it deletes one of them"), "{back}");
    until(30, "two pods", || match pods(&rig, "bound").len() {
        2 => Ok(()),
        n => Err(format!("{n} pods")),
    });
    backends(&rig, "bound", |ready| ready.len() == 2);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn the_last_ready_backend_needs_the_contexts_name() {
    let rig = rig();
    deployment(&rig, "last", true);
    let both = backends(&rig, "last", |ready| ready.len() == 2);
    let dry = |pods: &[&str]| {
        let args =
            [&["-n", NAMESPACE, "out-of-rotation"], pods, &["--service", "last", "--dry-run", "-o", "json"]];
        rig.json(&args.concat(), 0)
    };
    assert_eq!(dry(&[&both[0]])["confirm"], "suffix");
    let all = dry(&[&both[0], &both[1]]);
    assert_eq!(
        (&all["confirm"], &all["services"][0]["ready_after"]),
        (&json!("context"), &json!(0)),
        "{all}"
    );
    act(&rig, &["out-of-rotation", &both[0], "--service", "last"], 0);
    backends(&rig, "last", |ready| ready.len() == 1);
    let last = dry(&[&both[1]]);
    assert_eq!(last["confirm"], "context", "{last}");
    assert!(last["warnings"].to_string().contains("without a ready endpoint"), "{last}");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_stateful_sets_pod_keeps_its_identity() {
    let rig = rig();
    rig.namespace(NAMESPACE);
    rig.apply_in(
        NAMESPACE,
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db, role: serving}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: "a:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db-serving}
spec: {selector: {app: db, role: serving}, ports: [{port: 80}]}
"#,
    );
    rig.kubectl_ok(&["-n", NAMESPACE, "rollout", "status", "sts/db", "--timeout=60s"]);
    backends(&rig, "db-serving", |ready| ready.len() == 2);
    let refused = act(&rig, &["out-of-rotation", "db-1", "--service", "db"], 3);
    assert!(
        refused["refusals"][0]["reason"].as_str().unwrap().contains("cannot start a second pod of that name"),
        "{refused}"
    );
    act(&rig, &["out-of-rotation", "db-1", "--service", "db-serving"], 0);
    backends(&rig, "db-serving", |ready| ready == ["db-0"]);
    act(&rig, &["into-rotation", "db-1"], 0);
    backends(&rig, "db-serving", |ready| ready.len() == 2);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn bounds_go_there_and_back() {
    let rig = rig();
    deployment(&rig, "auto", false);
    // its pods have no metrics, so it does not change the replicas
    rig.apply_in(
        NAMESPACE,
        r"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: auto}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: auto}
  minReplicas: 2
  maxReplicas: 4
  metrics: [{type: External, external: {metric: {name: none}, target: {type: Value, value: '1'}}}]
",
    );
    let bounds = || {
        let spec = rig.kubectl_json(&["-n", NAMESPACE, "get", "hpa", "auto"])["spec"].clone();
        (spec["minReplicas"].as_i64().unwrap(), spec["maxReplicas"].as_i64().unwrap())
    };
    let raised = act(&rig, &["bounds", "auto", "--max", "9"], 0);
    assert_eq!(bounds(), (2, 9));
    assert_eq!(raised["confirm"], "yes");
    let lowered = act(&rig, &["bounds", "auto", "--min", "1", "--max", "3"], 0);
    assert_eq!((bounds(), &lowered["confirm"]), ((1, 3), &json!("suffix")));
    act(&rig, &["undo", lowered["id"].as_str().unwrap()], 0);
    assert_eq!(bounds(), (2, 9));
    let refused = act(&rig, &["bounds", "auto", "--min", "10"], 3);
    assert!(refused["refusals"][0]["reason"].as_str().unwrap().contains("invalid bounds 10-9"), "{refused}");
    rig.kubectl_ok(&[
        "-n",
        NAMESPACE,
        "patch",
        "hpa",
        "auto",
        "--type=merge",
        "-p",
        r#"{"spec":{"maxReplicas":6}}"#,
    ]);
    let refused = act(&rig, &["undo", raised["id"].as_str().unwrap()], 3);
    assert!(refused["refusals"][0]["reason"].as_str().unwrap().contains("kubectl-patch at 20"), "{refused}");
    assert_eq!(bounds(), (2, 6));
    for (replicas, words) in
        [("8", "back to its maximum 6"), ("1", "back to its minimum 2"), ("3", "recomputes the number")]
    {
        let args =
            ["-n", NAMESPACE, "scale", "deploy/auto", "--replicas", replicas, "--dry-run", "-o", "json"];
        let plan = rig.json(&args, 0);
        assert!(plan["warnings"].to_string().contains(words), "{replicas}: {plan}");
    }
    rig.kubectl_ok(&["-n", NAMESPACE, "delete", "hpa", "auto"]);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_quota_is_named_with_the_room_that_it_leaves() {
    let rig = rig();
    let namespace = "contract-quota";
    rig.namespace(namespace);
    rig.kubectl_ok(&["-n", namespace, "delete", "deploy,pods,resourcequota", "--all", "--wait"]);
    // before the pods, because existing pods are counted only every few minutes
    rig.apply_in(
        namespace,
        r#"
apiVersion: v1
kind: ResourceQuota
metadata: {name: few-pods}
spec: {hard: {pods: "4"}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: little-cpu}
spec: {hard: {requests.cpu: 350m}}
"#,
    );
    until(30, "the quotas", || {
        let all = rig.kubectl_json(&["-n", namespace, "get", "resourcequota"])["items"].clone();
        if all.as_array().unwrap().iter().all(|q| q["status"]["used"].is_object()) {
            Ok(())
        } else {
            Err(all.to_string())
        }
    });
    rig.apply_in(
        namespace,
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: "a:1", resources: {requests: {cpu: 100m}}}]}
"#,
    );
    rig.kubectl_ok(&["-n", namespace, "rollout", "status", "deploy/web", "--timeout=60s"]);
    until(30, "the quotas have counted", || {
        let all = rig.kubectl_json(&["-n", namespace, "get", "resourcequota"]);
        let used: Vec<String> =
            all["items"].as_array().unwrap().iter().map(|q| q["status"]["used"].to_string()).collect();
        if used == [r#"{"pods":"2"}"#, r#"{"requests.cpu":"200m"}"#] {
            Ok(())
        } else {
            Err(format!("{used:?}"))
        }
    });
    let plan = |replicas: &str| {
        let args =
            ["-n", namespace, "scale", "deploy/web", "--replicas", replicas, "--dry-run", "-o", "json"];
        rig.json(&args, 0)
    };
    assert!(!plan("3")["warnings"].to_string().contains("quota"), "{}", plan("3"));
    let five = plan("5");
    let warnings = five["warnings"].to_string();
    assert!(
        warnings.contains("quota few-pods leaves room for 2 of 3 more pods: pods 2 of 4 used"),
        "{warnings}"
    );
    assert!(
        warnings.contains("quota little-cpu leaves room for 1 of 3 more pods: requests.cpu"),
        "{warnings}"
    );
    assert_eq!(five["confirm"], "suffix");
    // and this happens
    let done = rig.run(&["-n", namespace, "scale", "deploy/web", "--replicas", "3", "--yes"]);
    assert_eq!(done.status.code(), Some(0), "{}", out(&done));
}
