//! Two operators and kubectl change the same few objects at the same time. Their moves come from a seed; the output of
//! our processes is compared with the audit log and with the final state.

mod judge;
mod moves;
mod seen;
mod stories;

use std::path::Path;

use serde_json::Value;

use self::judge::{Journals, Judge, Kept};
use self::moves::{FLAGS, Played, Process, begun, drawn, journal, play, unfinished};
use self::seen::{Seen, values};
use crate::rig::{Rig, real, until};

const SPACE: &str = "contract-operators";
/// The first two are drained; the third has room for what comes from them.
const NODES: [&str; 3] = ["operators-a", "operators-b", "operators-c"];
const WORKLOADS: [&str; 2] = ["deploy/web", "sts/db"];

fn nodes(rig: &Rig) {
    for name in NODES {
        rig.apply(&format!(
            r"
apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels: {{kubernetes.io/hostname: {name}, part: contract-operators}}
spec: {{taints: [{{key: contract-operators, effect: NoSchedule}}]}}
status:
  capacity: {{cpu: '16', memory: 64Gi, pods: '110'}}
  allocatable: {{cpu: '15800m', memory: 62Gi, pods: '110'}}
"
        ));
    }
    let ready = "--for=condition=Ready";
    rig.kubectl_ok(&["wait", "node", "-l", "part=contract-operators", ready, "--timeout=60s"]);
}

fn workload(kind: &str, name: &str, replicas: u32, image: &str) -> String {
    let more = if kind == "StatefulSet" { "serviceName: none, podManagementPolicy: Parallel, " } else { "" };
    format!(
        r#"
---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: {SPACE}}}
spec: {{replicas: {replicas}, {more}selector: {{matchLabels: {{app: {name}}}}}, template: {{
  metadata: {{labels: {{app: {name}}}}},
  spec: {{terminationGracePeriodSeconds: 1, nodeSelector: {{part: contract-operators}},
    tolerations: [{{key: contract-operators, operator: Exists}}],
    containers: [{{name: a, image: "{image}"}}]}}}}}}
"#
    )
}

/// The workloads with three revisions, ready, and a budget that lets one pod go at a time.
fn fresh(rig: &Rig) {
    rig.kubectl_ok(&[&["uncordon"], &NODES[..]].concat());
    rig.kubectl_ok(&["-n", SPACE, "delete", "deploy,sts,pdb", "--all", "--cascade=foreground"]);
    for n in 1..=3 {
        let image = format!("a:{n}");
        let both = workload("Deployment", "web", 4, &image) + &workload("StatefulSet", "db", 3, &image);
        rig.apply(&both);
        until(20, "the revision is counted", || {
            let held = rig.kubectl_ok(&["-n", SPACE, "get", "controllerrevision", "-o", "name"]);
            let web = rig.kubectl_json(&["-n", SPACE, "get", "deploy/web"]);
            let web = web["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone();
            let counted = web.as_str().and_then(|web| web.parse().ok()) == Some(n);
            if counted && held.lines().count() == n { Ok(()) } else { Err(web.to_string()) }
        });
    }
    rig.apply(&format!(
        "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: db, namespace: {SPACE}}}\nspec: {{maxUnavailable: 1, selector: {{matchLabels: {{app: db}}}}}}\n"
    ));
    for on in WORKLOADS {
        rig.kubectl_ok(&["-n", SPACE, "rollout", "status", on, "--timeout=60s"]);
    }
    until(20, "the pods of earlier templates are gone", || {
        let pods = rig.kubectl_ok(&["-n", SPACE, "get", "pods", "-o", "name"]).lines().count();
        if pods == 7 { Ok(()) } else { Err(format!("{pods}")) }
    });
}

fn objects(rig: &Rig) -> Vec<Value> {
    let nodes = rig.kubectl_json(&["get", "node", NODES[0], NODES[1]]);
    let workloads = rig.kubectl_json(&["-n", SPACE, "get", "deploy/web", "sts/db"]);
    [nodes, workloads].iter().flat_map(|list| list["items"].as_array().unwrap().clone()).collect()
}

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name);
    text.map_or(otherwise, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// What was done and said, a line each.
fn told(seed: u64, shared: bool, played: &Played) -> Vec<String> {
    let home = if shared { "one journal" } else { "two journals" };
    let began = played.processes.first().map_or(0, |p| p.started);
    let time = |at: i64| format!("{:7.3}", f64::from(i32::try_from((at - began) / 1000).unwrap()) / 1000.0);
    let mut lines: Vec<(i64, String)> = Vec::new();
    for p in &played.processes {
        let words = p.args[..p.args.len() - FLAGS].join(" ");
        let said = p.result.as_ref().map(|r| r["message"].to_string());
        let said = said.or_else(|| p.told.last().cloned()).unwrap_or_default();
        let ended = p.code.map_or_else(String::new, |code| format!("exit {code}"));
        let ended = p.signals.iter().map(|s| (*s).to_owned()).chain([ended]).collect::<Vec<_>>().join(" ");
        let (from, to) = (time(p.started), time(p.ended));
        lines.push((p.started, format!("  {from} {to} {} {words} -> {ended} {said}", p.hand)));
    }
    for (at, words, said) in &played.kubectl {
        lines.push((*at, format!("  {}         kubectl {} -> {said}", time(*at), words.join(" "))));
    }
    lines.sort();
    let first = format!("seed {seed}, {home}");
    std::iter::once(first).chain(lines.into_iter().map(|(_, line)| line)).collect()
}

/// One round; what is wrong in it.
fn round(rig: &Rig, seed: u64) -> Vec<String> {
    fresh(rig);
    let (shared, moves) = drawn(seed);
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (first, second) = (homes[0].path(), homes[usize::from(!shared)].path());
    let (before, mark) = (objects(rig), rig.audit_mark());
    let played = play(rig, [first, second] as [&Path; 2], &moves);
    let after = objects(rig);
    rig.audit_settled(mark);
    let seen = Seen::new(&rig.audit_of(mark, ""), &played.processes, &before);
    let pods = rig.kubectl_ok(&["-n", SPACE, "get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]);
    let left: Vec<String> = pods.split_whitespace().map(str::to_owned).collect();
    let kept = |p: &Process| Kept {
        actions: journal(rig, &p.home),
        unfinished: unfinished(rig, &p.home),
        begun: begun(&p.home),
    };
    let journals: Journals = played.processes.iter().map(|p| (p.home.clone(), kept(p))).collect();
    let mut judge = Judge::new(&played.processes, &seen, &journals);
    judge.all(&left);
    let mut wrong = judge.wrong;
    for of in &after {
        let object = format!("{}/{}", of["kind"].as_str().unwrap(), of["metadata"]["name"].as_str().unwrap());
        for (field, value) in values(of) {
            let last = seen.changes(&object, field).last().map(|(_, last)| (*last).to_owned());
            if last.as_ref() != Some(&value) {
                wrong.push(format!("{object}: {field:?} is not what was written last"));
            }
        }
    }
    let lines = told(seed, shared, &played);
    eprintln!("{}", lines.join("\n"));
    for w in &wrong {
        eprintln!("  WRONG {w}");
    }
    wrong.into_iter().map(|w| format!("seed {seed}: {w}")).collect()
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn what_two_operators_say_is_what_the_server_saw_real_only() {
    let rig = real("its audit log does not have what was sent");
    let (first, rounds) = (number("PILOTHOUSE_TEST_SEED", 1), number("PILOTHOUSE_TEST_ROUNDS", 8));
    rig.namespace(SPACE);
    nodes(&rig);
    let mut wrong = Vec::new();
    for seed in first..first + rounds {
        wrong.extend(round(&rig, seed));
    }
    rig.kubectl_ok(&["-n", SPACE, "delete", "deploy,sts,pdb", "--all", "--cascade=foreground"]);
    rig.kubectl_ok(&[&["delete", "node"], &NODES[..]].concat());
    assert!(wrong.is_empty(), "again with PILOTHOUSE_TEST_SEED:\n{}", wrong.join("\n"));
}
