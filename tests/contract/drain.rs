//! `drain --dry-run -o json` names exactly the pods of `kubectl drain --dry-run=server`, with and without each flag,
//! and refuses where kubectl refuses; also for users with only kubectl's permissions, and for pods whose owners are
//! kinds of other API groups.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rig::{Rig, err, out, rig};

/// The pods that kubectl would evict, and whether it refused the node. A budget makes it retry until the timeout.
fn theirs(rig: &Rig, node: &str, flags: &[&str]) -> (BTreeSet<String>, bool) {
    theirs_as(rig, "admin", node, flags)
}

fn theirs_as(rig: &Rig, who: &str, node: &str, flags: &[&str]) -> (BTreeSet<String>, bool) {
    let mut command = rig.kubectl_command(&rig.folder.join(format!("{who}.kubeconfig")));
    command.args([&["drain", node, "--dry-run=server", "--timeout=8s"], flags].concat());
    let output = command.output().unwrap();
    let text = out(&output) + &err(&output);
    let pods = text
        .lines()
        .filter_map(|line| line.strip_prefix("evicting pod "))
        .map(|rest| rest.split_whitespace().next().unwrap().to_owned())
        .collect();
    // a missing DaemonSet is no "cannot delete"
    let lost = text.contains("daemonsets.apps") && text.contains("not found");
    (pods, text.contains("cannot delete") || lost && !text.contains("evicting pod"))
}

fn ours(rig: &Rig, node: &str, flags: &[&str]) -> (BTreeSet<String>, bool, Value) {
    ours_as(rig, "operator", node, flags)
}

fn ours_as(rig: &Rig, who: &str, node: &str, flags: &[&str]) -> (BTreeSet<String>, bool, Value) {
    let output = rig.run_as(who, &[&["drain", node, "--dry-run", "-o", "json"], flags].concat());
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

/// A completed pod without an owner and with an emptyDir, on a node with pods of every other kind.
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
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn names_the_pods_that_kubectl_names() {
    let rig = rig();
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
    // the budget that delays a pod is named, with its numbers
    let plan = ours(&rig, &with_budget, &all).2;
    let fate = plan["pods"].as_array().unwrap().iter().find(|p| p["name"] == held.as_str()).unwrap();
    assert_eq!(fate["fate"], "wait");
    let pdb = plan["pdbs"].as_array().unwrap().iter().find(|p| p["name"] == "frozen").unwrap();
    assert_eq!(pdb["disruptions_allowed"], 0);
    assert!(pdb["blocks"].as_array().unwrap().contains(&held.as_str().into()));
    assert!(!pdb["note"].as_str().unwrap().is_empty(), "why, and what would unblock it: {pdb}");
}

/// Pods whose owners are kinds of other groups, one of them with the name of an existing DaemonSet.
fn foreign_pods(rig: &Rig) {
    rig.namespace("contract-foreign");
    rig.apply(
        r"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: contract-foreign}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      nodeSelector: {no-node: has-this}
      containers: [{name: a, image: a}]
",
    );
    for (name, node, group, kind, owner) in [
        ("of-a-foreign-set", "node-0004", "apps.kruise.io/v1alpha1", "DaemonSet", "elsewhere"),
        ("of-the-same-name", "node-0005", "apps.kruise.io/v1alpha1", "DaemonSet", "agent"),
        ("of-a-rollout", "node-0006", "argoproj.io/v1alpha1", "Rollout", "web"),
        ("of-a-foreign-job", "node-0006", "batch.volcano.sh/v1alpha1", "Job", "train"),
    ] {
        rig.apply(&format!(
            "
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: contract-foreign
  labels: {{contract: foreign}}
  ownerReferences:
  - {{apiVersion: {group}, kind: {kind}, name: {owner}, uid: 6f1c0f5e-0000-4000-8000-000000000001, controller: true}}
spec:
  nodeName: {node}
  containers: [{{name: a, image: a}}]
"
        ));
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn judges_owners_and_asks_for_rights_as_kubectl_does() {
    let rig = rig();
    foreign_pods(&rig);
    let drainer = rig.drainer();
    let all = ["--ignore-daemonsets", "--force", "--delete-emptydir-data"];
    for who in ["admin", drainer] {
        for node in ["node-0004", "node-0005", "node-0006"] {
            for flags in [&all[..], &all[..1], &all[1..], &[all[0], all[2]]] {
                let (their_pods, their_refusal) = theirs_as(&rig, who, node, flags);
                let (our_pods, our_refusal, plan) = ours_as(&rig, who, node, flags);
                assert_eq!(our_refusal, their_refusal, "{who} {node} {flags:?}: {plan}");
                if !their_refusal {
                    assert_eq!(our_pods, their_pods, "{who} {node} {flags:?}");
                }
                let unread: Vec<&Value> =
                    plan["unread"].as_array().unwrap().iter().map(|u| &u["what"]).collect();
                if who == "admin" || our_pods.is_empty() {
                    continue;
                }
                assert!(unread.contains(&&"budgets".into()), "what could not be read is said: {plan}");
                assert!(plan["warnings"].to_string().contains("evictions may wait"), "{plan}");
            }
        }
    }
    // and they are sufficient to run it
    let ours_alone = "--pod-selector=contract=foreign";
    let done = rig
        .run_as(drainer, &["drain", "node-0006", "--yes", "--timeout=60s", "-o", "json", all[0], ours_alone]);
    rig.no_drainer();
    rig.kubectl_ok(&["uncordon", "node-0006"]);
    let doc: Value = serde_json::from_str(&out(&done)).unwrap_or_else(|e| panic!("{e}: {}", err(&done)));
    assert_eq!((done.status.code(), &doc["outcome"]), (Some(0), &"done".into()), "{doc}");
    let evicted =
        doc["pods"].as_array().unwrap().iter().filter(|p| p["namespace"] == "contract-foreign").count();
    assert_eq!(evicted, 2, "{doc}");
    rig.kubectl_ok(&["delete", "namespace", "contract-foreign", "--wait=false"]);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn changes_nothing() {
    let rig = rig();
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
