//! `drain --dry-run -o json` names exactly the pods that `kubectl drain --dry-run=server` names, with and without each
//! flag, and refuses where kubectl refuses.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rig::{Rig, err, out, rig};

/// The pods that kubectl would evict, and whether it refused the node. A budget makes it retry until the timeout.
fn theirs(rig: &Rig, node: &str, flags: &[&str]) -> (BTreeSet<String>, bool) {
    let output = rig.kubectl(&[&["drain", node, "--dry-run=server", "--timeout=8s"], flags].concat());
    let text = out(&output) + &err(&output);
    let pods = text
        .lines()
        .filter_map(|line| line.strip_prefix("evicting pod "))
        .map(|rest| rest.split_whitespace().next().unwrap().to_owned())
        .collect();
    (pods, text.contains("cannot delete"))
}

fn ours(rig: &Rig, node: &str, flags: &[&str]) -> (BTreeSet<String>, bool, Value) {
    let output = rig.run(&[&["drain", node, "--dry-run", "-o", "json"], flags].concat());
    let plan: Value = serde_json::from_str(&out(&output))
        .unwrap_or_else(|e| panic!("{e}: {}{}", out(&output), err(&output)));
    let refused = plan["refusals"].as_array().unwrap().iter().any(|r| r["guard"] == "kubectl-filter");
    assert_eq!(output.status.code(), Some(if refused { 3 } else { 0 }), "{plan}");
    let going = |p: &&Value| p["fate"] == "evict" || p["fate"] == "wait";
    let pods = if refused {
        BTreeSet::new()
    } else {
        plan["pods"]
            .as_array()
            .unwrap()
            .iter()
            .filter(going)
            .map(|p| format!("{}/{}", p["namespace"].as_str().unwrap(), p["name"].as_str().unwrap()))
            .collect()
    };
    (pods, refused, plan)
}

/// A pod that has finished and belongs to nobody, with an emptyDir, on a node that has every other kind as well.
fn odd_pods(rig: &Rig) {
    rig.namespace("contract-drain");
    rig.apply(
        r"
apiVersion: v1
kind: Pod
metadata: {name: finished, namespace: contract-drain}
spec:
  nodeName: node-0001
  restartPolicy: Never
  volumes: [{name: tmp, emptyDir: {}}]
  containers: [{name: a, image: a}]
---
apiVersion: v1
kind: Pod
metadata: {name: bare-local, namespace: contract-drain}
spec:
  nodeName: node-0001
  volumes: [{name: tmp, emptyDir: {}}]
  containers: [{name: a, image: a}]
",
    );
    rig.kubectl_ok(&[
        "-n",
        "contract-drain",
        "patch",
        "pod",
        "finished",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"phase":"Succeeded"}}"#,
    ]);
}

#[test]
fn names_the_pods_that_kubectl_names() {
    let Some(rig) = rig() else { return };
    odd_pods(&rig);
    let scratch = rig.kubectl_json(&["-n", "shop", "get", "pods", "-l", "app=scratch"]);
    let with_empty_dir = scratch["items"][0]["spec"]["nodeName"].as_str().unwrap().to_owned();
    let frozen = rig.kubectl_json(&["-n", "shop", "get", "pods", "-l", "app=frozen"]);
    let with_budget = frozen["items"][0]["spec"]["nodeName"].as_str().unwrap().to_owned();
    let held = frozen["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let job = rig.kubectl_json(&["-n", "data", "get", "pods", "-l", "app=report"]);
    let with_finished = job["items"][0]["spec"]["nodeName"].as_str().unwrap().to_owned();
    let all = ["--ignore-daemonsets", "--force", "--delete-emptydir-data"];
    for node in ["node-0001", &with_empty_dir, &with_budget, &with_finished] {
        for left_out in [None, Some(0), Some(1), Some(2)] {
            let flags: Vec<&str> =
                all.iter().enumerate().filter(|(i, _)| Some(*i) != left_out).map(|(_, f)| *f).collect();
            let (their_pods, their_refusal) = theirs(&rig, node, &flags);
            let (our_pods, our_refusal, plan) = ours(&rig, node, &flags);
            assert_eq!(our_refusal, their_refusal, "{node} {flags:?}: {plan}");
            if !their_refusal {
                assert_eq!(our_pods, their_pods, "{node} {flags:?}");
            }
        }
    }
    // no flag at all, and a selector
    assert!(theirs(&rig, "node-0001", &[]).1 && ours(&rig, "node-0001", &[]).1);
    let selected = ["--pod-selector=app in (svc-000, svc-001, svc-002),app!=svc-001", "--ignore-daemonsets"];
    assert_eq!(ours(&rig, "node-0003", &selected).0, theirs(&rig, "node-0003", &selected).0);
    // the budget that holds a pod back is named, with its numbers
    let plan = ours(&rig, &with_budget, &all).2;
    let fate = plan["pods"].as_array().unwrap().iter().find(|p| p["name"] == held.as_str()).unwrap();
    assert_eq!(fate["fate"], "wait");
    let pdb = plan["pdbs"].as_array().unwrap().iter().find(|p| p["name"] == "frozen").unwrap();
    assert_eq!(pdb["disruptions_allowed"], 0);
    assert!(pdb["blocks"].as_array().unwrap().contains(&held.as_str().into()));
    assert!(!pdb["note"].as_str().unwrap().is_empty(), "why, and what would unblock it: {pdb}");
}

#[test]
fn changes_nothing() {
    let Some(rig) = rig() else { return };
    let mark = rig.audit_mark();
    rig.json(
        &[
            "drain",
            "node-0003",
            "--dry-run",
            "-o",
            "json",
            "--ignore-daemonsets",
            "--force",
            "--delete-emptydir-data",
        ],
        0,
    );
    let node = rig.kubectl_json(&["get", "node", "node-0003"]);
    assert!(node["spec"]["unschedulable"].is_null());
    let entries = rig.audit_since(mark);
    assert!(!entries.is_empty(), "the audit log does not see us");
    let writes: Vec<_> = entries
        .iter()
        .filter(|e| !matches!(e["verb"].as_str(), Some("get" | "list" | "watch")))
        .filter(|e| e["objectRef"]["resource"] != "selfsubjectaccessreviews")
        .filter(|e| !e["requestURI"].as_str().unwrap().contains("dryRun=All"))
        .collect();
    assert!(writes.is_empty(), "{writes:?}");
}
