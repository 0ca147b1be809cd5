//! `snapshot -o json` and kubectl agree on every node and every autoscaler, without any difference.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::rig::{Rig, rig, until};

/// The sums of `kubectl describe nodes` for each node: cpu requests, memory requests, pods.
fn described(rig: &Rig) -> BTreeMap<String, (String, String, u64)> {
    let text = rig.kubectl_ok(&["describe", "nodes"]);
    let mut nodes = BTreeMap::new();
    let (mut name, mut pods, mut cpu) = (String::new(), 0, String::new());
    let mut allocated = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Name:", node] => {
                (*node).clone_into(&mut name);
                allocated = false;
            }
            ["Non-terminated", "Pods:", count, ..] => pods = count.trim_start_matches('(').parse().unwrap(),
            ["Allocated", "resources:"] => allocated = true,
            ["cpu", request, ..] if allocated => (*request).clone_into(&mut cpu),
            ["memory", request, ..] if allocated => {
                nodes.insert(name.clone(), (cpu.clone(), (*request).to_owned(), pods));
            }
            _ => {}
        }
    }
    nodes
}

/// Parses kubectl's form of a sum into our unit, as far as kubectl prints it.
fn number(text: &str, milli: bool) -> i64 {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let value: i64 = text[..split].parse().unwrap();
    let factor = match (&text[split..], milli) {
        ("m", true) | ("", false) => 1,
        ("", true) => 1000,
        ("Ki", false) => 1 << 10,
        ("Mi", false) => 1 << 20,
        ("Gi", false) => 1 << 30,
        ("k", false) => 1000,
        ("M", false) => 1_000_000,
        (suffix, _) => panic!("a suffix that this test does not know: {text} ({suffix})"),
    };
    value * factor
}

/// Pods whose requests are easily counted wrong, bound to one node.
fn odd_pods(rig: &Rig) {
    rig.namespace("contract-requests");
    rig.apply(
        r#"
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: contract-overhead}
handler: none
overhead: {podFixed: {cpu: 50m, memory: 32Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: ordered-init, namespace: contract-requests}
spec:
  nodeName: node-0005
  runtimeClassName: contract-overhead
  initContainers:
  - {name: sidecar, image: a, restartPolicy: Always, resources: {requests: {cpu: 100m, memory: 64Mi}}}
  - {name: prepare, image: a, resources: {requests: {cpu: "1", memory: 16Mi}}}
  containers:
  - {name: a, image: a, resources: {requests: {cpu: 500m, memory: 100Mi}}}
  - {name: b, image: a, resources: {requests: {cpu: 250m, memory: 100Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: pod-level, namespace: contract-requests}
spec:
  nodeName: node-0005
  resources: {requests: {cpu: 700m}}
  containers:
  - {name: a, image: a, resources: {requests: {cpu: 100m, memory: 90M}}}
---
apiVersion: v1
kind: Pod
metadata: {name: fractions, namespace: contract-requests}
spec:
  nodeName: node-0005
  containers:
  - {name: a, image: a, resources: {requests: {cpu: "0.1", memory: 1.5Gi}}}
"#,
    );
}

/// Our answer and kubectl's are from different moments, so differences are read again.
fn same(rig: &Rig, differences: impl Fn(&Rig) -> Vec<String>) {
    until(30, "both say the same", || match differences(rig) {
        none if none.is_empty() => Ok(()),
        some => Err(some.join("\n")),
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn nodes() {
    let rig = rig();
    odd_pods(&rig);
    same(&rig, of_nodes);
}

fn of_nodes(rig: &Rig) -> Vec<String> {
    let ours = rig.json(&["snapshot", "-o", "json"], 0);
    let theirs = rig.kubectl_json(&["get", "nodes"]);
    let sums = described(rig);
    let ours: BTreeMap<&str, &Value> =
        ours["nodes"].as_array().unwrap().iter().map(|n| (n["name"].as_str().unwrap(), n)).collect();
    let theirs = theirs["items"].as_array().unwrap();
    assert_eq!(ours.len(), theirs.len());
    assert!(theirs.len() >= 8, "too small a cluster to prove anything");
    let mut differences = Vec::new();
    for node in theirs {
        let name = node["metadata"]["name"].as_str().unwrap();
        let ours = ours[name];
        let ready =
            node["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
        let state = match ready["status"].as_str().unwrap() {
            "True" => "Ready",
            "False" => "NotReady",
            _ => "Unknown",
        };
        let taints: Vec<(String, String, String)> = taints(&node["spec"]["taints"]);
        let (cpu, memory, pods) = &sums[name];
        let checks = [
            ("state", ours["state"] == state),
            ("cordon", ours["cordoned"] == node["spec"]["unschedulable"].as_bool().unwrap_or(false)),
            ("zone", ours["zone"] == node["metadata"]["labels"]["topology.kubernetes.io/zone"]),
            ("taints", self::taints(&ours["taints"]) == taints),
            ("uid", ours["uid"] == node["metadata"]["uid"]),
            ("cpu", ours["cpu"]["requested_milli"] == number(cpu, true)),
            ("memory", ours["memory"]["requested_bytes"] == number(memory, false)),
            ("pods", ours["pods"]["count"] == *pods),
            (
                "allocatable cpu",
                ours["cpu"]["allocatable_milli"]
                    == number(node["status"]["allocatable"]["cpu"].as_str().unwrap(), true),
            ),
        ];
        for (what, same) in checks {
            if !same {
                differences
                    .push(format!("{name} {what}: ours {ours}, kubectl {cpu} {memory} {pods} {state}"));
            }
        }
    }
    differences
}

fn taints(list: &Value) -> Vec<(String, String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut taints: Vec<_> =
        list.iter().map(|t| (text(&t["key"]), text(&t["value"]), text(&t["effect"]))).collect();
    taints.sort();
    taints
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn autoscalers() {
    let rig = rig();
    same(&rig, of_autoscalers);
}

fn of_autoscalers(rig: &Rig) -> Vec<String> {
    let ours = rig.json(&["snapshot", "-o", "json"], 0);
    let theirs = rig.kubectl_json(&["get", "hpa", "-A"]);
    let row =
        |namespace: &Value, name: &Value, current: &Value, desired: &Value, min: &Value, max: &Value| {
            format!("{namespace}/{name} {current}->{desired} {min}-{max}")
        };
    let ours: Vec<String> = ours["autoscalers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| row(&a["namespace"], &a["name"], &a["current"], &a["desired"], &a["min"], &a["max"]))
        .collect();
    let theirs: Vec<String> = theirs["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| {
            let (m, s, t) = (&h["metadata"], &h["spec"], &h["status"]);
            row(
                &m["namespace"],
                &m["name"],
                &t["currentReplicas"],
                &t["desiredReplicas"],
                &s["minReplicas"],
                &s["maxReplicas"],
            )
        })
        .collect();
    assert!(!theirs.is_empty());
    let not_in = |one: &[String], other: &[String]| {
        one.iter().filter(|row| !other.contains(row)).map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut differences: Vec<String> =
        not_in(&ours, &theirs).into_iter().map(|row| format!("ours alone: {row}")).collect();
    if ours.len() != theirs.len() {
        differences.push(format!("ours {}, kubectl's {}", ours.len(), theirs.len()));
    }
    differences.extend(not_in(&theirs, &ours).into_iter().map(|row| format!("kubectl's alone: {row}")));
    differences
}
