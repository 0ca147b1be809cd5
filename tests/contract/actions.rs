//! Cordon, uncordon, scale and restart: what they change, what they refuse, and what they never send.

use serde_json::Value;

use crate::rig::{Rig, err, out, rig, until};

fn make(rig: &Rig, name: &str) {
    rig.namespace("contract-actions");
    rig.apply(&format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: contract-actions}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: a, image: "a:1"}}]}}
"#
    ));
    rig.kubectl_ok(&[
        "-n",
        "contract-actions",
        "rollout",
        "status",
        &format!("deploy/{name}"),
        "--timeout=60s",
    ]);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn cordon_and_uncordon() {
    let rig = rig();
    let cordoned = || rig.kubectl_json(&["get", "node", "node-0007"])["spec"]["unschedulable"].as_bool();
    let done = rig.json(&["cordon", "node-0007", "--yes", "-o", "json"], 0);
    assert_eq!((done["outcome"].as_str(), cordoned()), (Some("done"), Some(true)));
    assert_eq!(done["steps"][0]["state"], "verified");
    let again = rig.json(&["cordon", "node-0007", "--yes", "-o", "json"], 0);
    assert!(again["steps"].as_array().unwrap().is_empty(), "nothing to do is not done twice: {again}");
    rig.json(&["uncordon", "node-0007", "--yes", "-o", "json"], 0);
    assert_eq!(cordoned(), None);
    let listed = out(&rig.run(&["journal", "list"]));
    assert_eq!(listed.lines().count(), 3, "{listed}");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn what_somebody_has_set_to_the_same_since_is_not_undone() {
    let rig = rig();
    let node = "node-0008";
    let done = rig.json(&["cordon", node, "--yes", "-o", "json"], 0);
    rig.kubectl_ok(&["uncordon", node]);
    rig.kubectl_ok(&["cordon", node]);
    let refused = rig.json(&["undo", done["id"].as_str().unwrap(), "--yes", "-o", "json"], 3);
    let cordoned = rig.kubectl_json(&["get", "node", node])["spec"]["unschedulable"].as_bool();
    rig.kubectl_ok(&["uncordon", node]);
    let reason = refused["refusals"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("kubectl has set it since at 20"), "{reason}");
    assert_eq!(cordoned, Some(true), "it is somebody else's cordon now");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn scale_has_a_precondition() {
    let rig = rig();
    make(&rig, "scaled");
    let replicas = || {
        rig.kubectl_json(&["-n", "contract-actions", "get", "deploy", "scaled"])["spec"]["replicas"].clone()
    };
    let base = ["-n", "contract-actions", "scale", "deploy/scaled", "--yes", "-o", "json"];
    let refused = rig.json(&[&base[..], &["--replicas", "5", "--current-replicas", "4"]].concat(), 3);
    assert_eq!(refused["refusals"][0]["guard"], "precondition");
    assert_eq!(replicas(), 2);
    let done = rig.json(&[&base[..], &["--replicas", "5", "--current-replicas", "2"]].concat(), 0);
    assert_eq!(done["outcome"], "done");
    let live = rig.kubectl_json(&["-n", "contract-actions", "get", "deploy", "scaled"]);
    assert_eq!(
        (&live["spec"]["replicas"], &live["status"]["readyReplicas"]),
        (&Value::from(5), &Value::from(5))
    );
    let managers = rig.kubectl_ok(&[
        "-n",
        "contract-actions",
        "get",
        "deploy",
        "scaled",
        "-o",
        "json",
        "--show-managed-fields",
    ]);
    assert!(managers.contains(r#""manager": "pilothouse""#), "who did it is on the object");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn restart_is_kubectls_restart() {
    let rig = rig();
    make(&rig, "restarted");
    let history = || {
        rig.kubectl_ok(&["-n", "contract-actions", "rollout", "history", "deploy/restarted"]).lines().count()
    };
    let before = history();
    let done = rig.json(&["-n", "contract-actions", "restart", "deploy/restarted", "--yes", "-o", "json"], 0);
    assert_eq!(done["outcome"], "done", "{done}");
    assert_eq!(history(), before + 1);
    let live = rig.kubectl_json(&["-n", "contract-actions", "get", "deploy", "restarted"]);
    assert!(
        live["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].is_string()
    );
    rig.kubectl_ok(&["-n", "contract-actions", "rollout", "pause", "deploy/restarted"]);
    let refused =
        rig.json(&["-n", "contract-actions", "restart", "deploy/restarted", "--yes", "-o", "json"], 3);
    // a reused cluster must not have it paused
    rig.kubectl_ok(&["-n", "contract-actions", "rollout", "resume", "deploy/restarted"]);
    assert!(refused["refusals"][0]["reason"].as_str().unwrap().contains("paused"), "{refused}");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_step_is_sent_once_and_named_in_the_journal() {
    let rig = rig();
    make(&rig, "once");
    let mark = rig.audit_mark();
    let done = rig.json(
        &["-n", "contract-actions", "scale", "deploy/once", "--replicas", "3", "--yes", "-o", "json"],
        0,
    );
    let writes = until(10, "the audit log", || {
        let writes: Vec<Value> =
            rig.audit_since(mark).into_iter().filter(|e| e["verb"] == "patch" && !dry(e)).collect();
        if writes.is_empty() { Err("no write seen yet".into()) } else { Ok(writes) }
    });
    assert_eq!(writes.len(), 1, "{writes:?}");
    let shown = rig.json(&["journal", "show", done["id"].as_str().unwrap(), "-o", "json"], 0);
    assert_eq!(shown["outcome"], "done");
    assert_eq!(shown["steps"][0]["state"], "verified");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_dry_run_leaves_everything_as_it_is() {
    let rig = rig();
    make(&rig, "rehearsed");
    let space = ["-n", "contract-actions"];
    let pods = || {
        let list = rig.kubectl_json(&[&space[..], &["get", "pods", "-l", "app=rehearsed"]].concat());
        let is = |p: &Value| (p["metadata"]["uid"].clone(), p["metadata"]["deletionTimestamp"].clone());
        list["items"].as_array().unwrap().iter().map(is).collect::<Vec<_>>()
    };
    let deploy = || rig.kubectl_json(&[&space[..], &["get", "deploy", "rehearsed"]].concat())["spec"].clone();
    let list = rig.kubectl_json(&[&space[..], &["get", "pods", "-l", "app=rehearsed"]].concat());
    let pod = list["items"][0]["metadata"]["name"].as_str().unwrap();
    let (pods_before, deploy_before) = (pods(), deploy());
    for args in [
        &["evict", pod][..],
        &["evict", "--delete", pod],
        &["scale", "deploy/rehearsed", "--replicas", "5"],
        &["restart", "deploy/rehearsed"],
        &["pause-rollout", "deploy/rehearsed"],
    ] {
        rig.json(&[&space[..], args, &["--dry-run", "-o", "json"]].concat(), 0);
        assert_eq!((pods(), deploy()), (pods_before.clone(), deploy_before.clone()), "{args:?}");
    }
}

fn dry(entry: &Value) -> bool {
    entry["requestURI"].as_str().unwrap().contains("dryRun=All")
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn read_only_sends_no_write_and_no_dry_run() {
    let rig = rig();
    make(&rig, "safe");
    let mark = rig.audit_mark();
    for args in [
        &["cordon", "node-0002"][..],
        &["uncordon", "node-0002"],
        &["-n", "contract-actions", "restart", "deploy/safe"],
        &["-n", "contract-actions", "scale", "deploy/safe", "--replicas", "0"],
        &["drain", "node-0002"],
        &["drain", "node-0002", "--dry-run"],
    ] {
        let output = rig.run(&[args, &["--read-only", "--yes"]].concat());
        assert_eq!(output.status.code(), Some(3), "{args:?}: {}{}", out(&output), err(&output));
        assert!(out(&output).contains("read-only"), "{args:?}");
    }
    let entries = rig.audit_since(mark);
    assert!(!entries.is_empty());
    assert!(entries.iter().all(|e| matches!(e["verb"].as_str(), Some("get" | "list" | "watch"))
        || e["objectRef"]["resource"].as_str().is_some_and(|r| r.starts_with("selfsubject"))));
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn whoever_may_not_is_told_before_anything_is_sent() {
    let rig = rig();
    let mark = rig.audit_mark();
    let output = rig.run_as("viewer", &["cordon", "node-0002", "--yes"]);
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    assert!(out(&output).contains("you may not patch nodes"), "{}", out(&output));
    assert!(rig.audit_since(mark).iter().all(|e| e["verb"] != "patch"));
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn without_a_terminal_and_without_yes_it_refuses() {
    let rig = rig();
    let output = rig.run(&["cordon", "node-0002"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("add --yes"), "{}", err(&output));
    let twice = rig.run(&["--context", "test", "--context", "other", "cordon", "node-0002", "--yes"]);
    assert_eq!(twice.status.code(), Some(2));
}
