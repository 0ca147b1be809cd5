//! `--read-only`: every action is refused, and according to the audit log only reads and access reviews reach the
//! server.

use std::process::Stdio;

use serde_json::Value;

use crate::rig::{Rig, err, out, rig, until};

/// True for a request that changes something, or would; a dry run counts too. Access reviews are reads that the API
/// defines as POST.
pub fn is_change(entry: &Value) -> bool {
    let resource = entry["objectRef"]["resource"].as_str().unwrap_or_default();
    !matches!(entry["verb"].as_str(), Some("get" | "list" | "watch"))
        && !matches!(resource, "selfsubjectaccessreviews" | "selfsubjectrulesreviews" | "selfsubjectreviews")
}

const NAMESPACE: &str = "contract-readonly";

/// A workload, its Service, a route and an autoscaler, and a pod of its own.
pub const OBJECTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: blue}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: "a:1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: single, labels: {app: web, version: blue}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: "a:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web, version: blue}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {type: ExternalName, externalName: other.example.test}
---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: web}
spec: {weighted: {services: [{name: web, weight: 100}, {name: other, weight: 0}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 4
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
"#;

/// The id of an action whose process was killed between two of its steps.
fn unfinished(rig: &Rig) -> String {
    let mut child =
        rig.command_as("operator", &["failover", "part", "--yes"]).stderr(Stdio::null()).spawn().unwrap();
    until(30, "the first step", || {
        let route = rig.kubectl_json(&["-n", NAMESPACE, "get", "traefikservice", "web"]);
        let weight = &route["spec"]["weighted"]["services"][1]["weight"];
        if *weight == 50 { Ok(()) } else { Err(weight.to_string()) }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let listed: Value = serde_json::from_str(&out(&rig.run(&["journal", "list", "-o", "json"]))).unwrap();
    let text = listed.to_string();
    let all = listed.as_array().or(listed["actions"].as_array()).unwrap_or_else(|| panic!("{text}"));
    all.iter().find(|a| a["action"] == "failover").unwrap_or_else(|| panic!("{text}"))["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn every_action_is_refused_and_nothing_is_sent() {
    let rig = rig();
    rig.namespace(NAMESPACE);
    rig.apply_in(NAMESPACE, OBJECTS);
    rig.kubectl_ok(&["-n", NAMESPACE, "rollout", "status", "deploy/web", "--timeout=60s"]);
    rig.kubectl_ok(&["-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/single", "--timeout=60s"]);
    rig.config(&format!(
        "[failover.green]\nkind = \"selector\"\nservice = \"{NAMESPACE}/web\"\nfrom = \"version=blue\"\nto = \"version=green\"\n\
        [failover.part]\nkind = \"weight\"\nroute = \"traefikservice/{NAMESPACE}/web\"\nfrom = \"web\"\nto = \"other\"\nsteps = [50, 100]\nsoak_secs = 600\n"
    ));
    // an action to undo, run while writing was allowed
    let scale = ["-n", NAMESPACE, "scale", "deploy/web", "--replicas", "3", "--yes", "-o", "json"];
    let done = rig.json(&scale, 0);
    let id = done["id"].as_str().unwrap();
    let cut_off = unfinished(&rig);
    let actions: &[&[&str]] = &[
        &["drain", "node-0002"],
        &["drain", "--zone", "zone-a"],
        &["cordon", "node-0002"],
        &["uncordon", "node-0002"],
        &["out-of-service", "node-0002"],
        &["in-service", "node-0002"],
        &["restart", "deploy/web"],
        &["rollback", "deploy/web"],
        &["pause-rollout", "deploy/web"],
        &["resume-rollout", "deploy/web"],
        &["scale", "deploy/web", "--replicas", "1"],
        &["bounds", "web", "--max", "9"],
        &["pause-autoscaler", "web"],
        &["resume-autoscaler", "web"],
        &["evict", "single"],
        &["evict", "single", "--delete"],
        &["out-of-rotation", "single", "--service", "web"],
        &["into-rotation", "single"],
        &["failover", "green"],
        &["failover", "green", "--revert"],
        &["failover", "zone/zone-a"],
        &["failover", "pool/general"],
        &["undo", id],
        &["resume", &cut_off],
    ];
    // add new subcommands here too
    let help = out(&rig.run(&["--help"]));
    let known = [
        "snapshot",
        "why",
        "logs",
        "get",
        "doctor",
        "report",
        "journal",
        "config",
        "keys",
        "rbac",
        "themes",
        "completions",
        "man",
        "sim",
    ];
    let commands = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    let mut counted = 0;
    // a line with more indent continues the one before
    let commands = commands.filter(|l| !l.starts_with("   "));
    for command in commands.filter_map(|l| l.split_whitespace().next()) {
        let covered = known.contains(&command) || actions.iter().any(|a| a[0] == command);
        assert!(covered, "{command} is not tried in read-only mode");
        counted += 1;
    }
    assert!(counted >= known.len() + 16, "the help was not understood: {help}");
    let before = rig.kubectl_json(&["-n", NAMESPACE, "get", "deploy,service,hpa"]);
    for who in ["operator", "admin"] {
        for flags in [&["--yes"][..], &["--dry-run"], &["--dry-run", "--yes", "-o", "json"]] {
            let mark = rig.audit_mark();
            for action in actions {
                let args = [&["-n", NAMESPACE, "--read-only"], *action, flags].concat();
                let output = rig.run_as(who, &args);
                let said = out(&output) + &err(&output);
                assert_eq!(output.status.code(), Some(3), "{who} {args:?}: {said}");
                assert!(said.contains("read-only"), "{who} {args:?}: {said}");
            }
            let seen = rig.audit_settled(mark);
            assert!(
                seen.len() >= actions.len(),
                "{who} {flags:?}: only {} requests in the audit log",
                seen.len()
            );
            let changes: Vec<&Value> = seen.iter().filter(|e| is_change(e)).collect();
            assert!(changes.is_empty(), "{who} {flags:?}: {changes:#?}");
            assert!(!seen.iter().any(|e| e["requestURI"].as_str().unwrap().contains("dryRun")));
        }
    }
    let after = rig.kubectl_json(&["-n", NAMESPACE, "get", "deploy,service,hpa"]);
    let specs = |list: &Value| -> Vec<Value> {
        list["items"].as_array().unwrap().iter().map(|o| o["spec"].clone()).collect()
    };
    assert_eq!(specs(&before), specs(&after));
    // the same set by the config, and a check that the log would show a change
    rig.config("[guards]\nread_only = true\n");
    let mark = rig.audit_mark();
    let output = rig.run(&["-n", NAMESPACE, "restart", "deploy/web", "--yes"]);
    assert_eq!(output.status.code(), Some(3), "{}", out(&output));
    assert!(!rig.audit_settled(mark).iter().any(is_change));
    rig.config("");
    rig.json(&["-n", NAMESPACE, "scale", "deploy/web", "--replicas", "2", "--yes", "-o", "json"], 0);
    assert!(rig.audit_settled(mark).iter().any(is_change), "the log does not show what changes");
}
