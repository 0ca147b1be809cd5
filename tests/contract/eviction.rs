//! Runs a drain side by side with kubectl's: it evicts the same pods, is not slower, and sends far fewer requests. Also
//! with a budget that allows nothing, and with a process that ends during the drain.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::{Rig, out, rig, until};

const SPACE: &str = "contract-eviction";
const FLAGS: [&str; 3] = ["--ignore-daemonsets", "--force", "--delete-emptydir-data"];

/// A deployment of `replicas` on this node only; a drain with its selector evicts no other pods.
fn make(rig: &Rig, name: &str, node: &str, replicas: u32) {
    rig.namespace(SPACE);
    rig.kubectl_ok(&["uncordon", node]);
    rig.kubectl(&["-n", SPACE, "delete", "deploy", name, "--ignore-not-found", "--cascade=foreground"]);
    rig.apply(&format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {SPACE}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, part: contract-eviction}}}}
    spec:
      terminationGracePeriodSeconds: 2
      nodeSelector: {{kubernetes.io/hostname: {node}}}
      containers: [{{name: a, image: "a:1"}}]
"#
    ));
    let deploy = format!("deploy/{name}");
    rig.kubectl_ok(&["-n", SPACE, "rollout", "status", &deploy, "--timeout=90s"]);
}

/// Names of the pods of a node that a drain evicts.
fn pods(rig: &Rig, node: &str) -> BTreeSet<String> {
    let field = format!("spec.nodeName={node}");
    let list = rig.kubectl_json(&["-n", SPACE, "get", "pods", "--field-selector", &field]);
    let name = |p: &Value| p["metadata"]["name"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(name).collect()
}

fn clean(rig: &Rig, name: &str, node: &str) {
    rig.kubectl(&["-n", SPACE, "delete", "deploy", name, "--ignore-not-found"]);
    rig.kubectl_ok(&["uncordon", node]);
}

/// All entries of this agent since the mark, except for the ends of streams.
fn requests(rig: &Rig, mark: u64, agent: &str) -> Vec<Value> {
    rig.audit_of(mark, agent).into_iter().filter(|e| e["stage"] != "ResponseStarted").collect()
}

fn evictions(entries: &[Value]) -> BTreeMap<String, u32> {
    answered(entries, |code| code == 201)
}

/// Evictions with this answer, by pod.
fn answered(entries: &[Value], so: impl Fn(u64) -> bool) -> BTreeMap<String, u32> {
    let mut by = BTreeMap::new();
    for e in entries.iter().filter(|e| e["objectRef"]["subresource"] == "eviction") {
        if e["responseStatus"]["code"].as_u64().is_some_and(&so) {
            *by.entry(e["objectRef"]["name"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    by
}

const SELECT: &str = "--pod-selector=part=contract-eviction";

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn the_same_as_kubectl_and_cheaper() {
    let rig = rig();
    let (theirs, ours) = ("node-0043", "node-0044");
    make(&rig, "theirs", theirs, 50);
    make(&rig, "ours", ours, 50);
    let (their_pods, our_pods) = (pods(&rig, theirs), pods(&rig, ours));
    assert_eq!((their_pods.len(), our_pods.len()), (50, 50));

    let (mark, began) = (rig.audit_mark(), Instant::now());
    rig.kubectl_ok(&[&["drain", theirs, SELECT], &FLAGS[..]].concat());
    let their_time = began.elapsed();
    let their_requests = requests(&rig, mark, "kubectl/");

    let (mark, began) = (rig.audit_mark(), Instant::now());
    let done = rig.json(&[&["drain", ours, SELECT, "--yes", "-o", "json"], &FLAGS[..]].concat(), 0);
    let our_time = began.elapsed();
    assert_eq!(done["outcome"], "done", "{done}");
    // the requests of the rehearsal do not count
    until(10, "the end of the watch in the audit log", || {
        let all = requests(&rig, mark, "pilothouse/");
        if all.iter().any(|e| e["verb"] == "watch") { Ok(()) } else { Err("not yet".into()) }
    });
    // consoles of other users on the same cluster do not count: only requests about this node or namespace do
    let about =
        |e: &Value| e["requestURI"].as_str().is_some_and(|uri| uri.contains(ours) || uri.contains(SPACE));
    let mut all = requests(&rig, mark, "pilothouse/");
    all.retain(about);
    let is_cordon = |e: &Value| e["verb"] == "patch" && !e["requestURI"].as_str().unwrap().contains("dryRun");
    let first = all.iter().position(is_cordon).unwrap();
    // and the read of the node before the cordon does
    let executed = all.len() - first + 1;

    assert_eq!(evictions(&their_requests).into_keys().collect::<BTreeSet<_>>(), their_pods);
    assert_eq!(evictions(&all).into_keys().collect::<BTreeSet<_>>(), our_pods);
    assert!(evictions(&all).values().all(|n| *n == 1));
    for node in [theirs, ours] {
        assert!(pods(&rig, node).is_empty());
        assert_eq!(rig.kubectl_json(&["get", "node", node])["spec"]["unschedulable"], true);
    }
    eprintln!(
        "drain of 50 pods: kubectl {:.1} s and {} requests, ours {:.1} s and {} requests ({executed} after the confirmation)",
        their_time.as_secs_f32(),
        their_requests.len(),
        our_time.as_secs_f32(),
        all.len()
    );
    let others: Vec<String> = all
        .iter()
        .skip(first)
        .filter(|e| e["objectRef"]["subresource"] != "eviction")
        .map(|e| format!("{} {}", e["verb"], e["requestURI"]))
        .collect();
    eprintln!("besides the evictions: {others:#?}");
    // its pods and the node are listed and watched once each; the node is looked at before the cordon, after it, once
    // the pods are gone, and where its watch says nothing for 10 s
    let is_look = |e: &&Value| e["verb"] == "get" && e["objectRef"]["resource"] == "nodes";
    let looks = all.iter().skip(first).filter(is_look).count();
    assert!(looks as u64 <= 2 + our_time.as_secs() / 10, "{looks} looks at the node in {our_time:?}");
    assert!(executed as u64 <= 50 + 8 + our_time.as_secs() / 10, "{executed} requests");
    // a loose bound: the machine is shared, and kubectl's time depends on its polls
    assert!(our_time <= their_time.mul_f32(1.2) + Duration::from_secs(2), "{our_time:?} and {their_time:?}");
    clean(&rig, "theirs", theirs);
    clean(&rig, "ours", ours);
}

/// Our binary in the background.
/// A drain that runs in the background; its messages go to a file, to be read while it runs.
struct Running {
    child: Child,
    told: tempfile::NamedTempFile,
}

fn start(rig: &Rig, args: &[&str]) -> Running {
    let told = tempfile::NamedTempFile::new().unwrap();
    let mut command = rig.command_as("operator", args);
    let child = command.stdout(Stdio::piped()).stderr(told.reopen().unwrap()).spawn().unwrap();
    Running { child, told }
}

impl Running {
    fn progress(&self) -> String {
        std::fs::read_to_string(self.told.path()).unwrap()
    }

    /// Waits until it prints this.
    fn says(&self, words: &str) {
        until(30, words, || if self.progress().contains(words) { Ok(()) } else { Err(self.progress()) });
    }

    /// Standard output to its end, and all messages.
    fn said(&mut self) -> (String, String) {
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (out, self.progress())
    }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

fn budget(rig: &Rig, name: &str, least: u32) {
    rig.apply(&format!(
        "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: {name}, namespace: {SPACE}}}\nspec: {{minAvailable: {least}, selector: {{matchLabels: {{app: {name}}}}}}}\n"
    ));
    until(20, "the budget is counted", || {
        let pdb = rig.kubectl_json(&["-n", SPACE, "get", "pdb", name]);
        let status = &pdb["status"];
        let seen = status["observedGeneration"] == pdb["metadata"]["generation"];
        // pods that wait for a budget that allows nothing may have been tried already
        let counted = least == 0 || status["currentHealthy"] == 3;
        if seen && counted { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_budget_is_named_with_its_numbers_and_waited_for() {
    let rig = rig();
    let node = "node-0045";
    make(&rig, "held", node, 3);
    budget(&rig, "held", 3);
    let args = [&["drain", node, SELECT, "--yes", "-o", "json"], &FLAGS[..]].concat();

    // at the deadline it exits with 1 and lists the remaining pods
    let mark = rig.audit_mark();
    let failed = rig.json(&[&args[..], &["--timeout=8s"]].concat(), 1);
    let message = failed["message"].as_str().unwrap();
    for part in ["PDB contract-eviction/held allows 0", "needs 3 healthy and has 3", "since 20"] {
        assert!(message.contains(part), "{message}");
    }
    let posts = rig
        .audit_of(mark, "pilothouse/")
        .into_iter()
        .filter(|e| e["objectRef"]["subresource"] == "eviction")
        .count();
    assert_eq!(posts, 3, "a budget that allows nothing is read, not hammered");

    // Ctrl-C: it ends in order, with a correct journal
    let mut child = start(&rig, &args);
    child.says("waits for PDB contract-eviction/held (0 allowed, needs 3 has 3, since");
    signal(&child.child, "INT");
    assert_eq!(child.child.wait().unwrap().code(), Some(130));
    let (text, progress) = child.said();
    let done: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(done["outcome"], "cancelled");
    assert!(
        progress.contains("waits for PDB contract-eviction/held (0 allowed, needs 3 has 3, since"),
        "{progress}"
    );
    let id = done["id"].as_str().unwrap();
    let kept: Value = serde_json::from_str(&out(&rig.run(&["journal", "show", id, "-o", "json"]))).unwrap();
    assert_eq!(kept["steps"], done["steps"], "the journal has what was shown");
    assert!(!out(&rig.run(&["journal", "list"])).contains("UNFINISHED"), "a person has ended it");

    // and continues by itself when the budget allows it
    let mut child = start(&rig, &args);
    child.says("waits for PDB contract-eviction/held (0 allowed, needs 3 has 3, since");
    assert_eq!(pods(&rig, node).len(), 3);
    budget(&rig, "held", 0);
    let status = until(40, "the drain goes on", || child.child.try_wait().unwrap().ok_or("runs".to_owned()));
    assert_eq!(status.code(), Some(0), "{:?}", child.said());
    assert!(pods(&rig, node).is_empty());
    rig.kubectl_ok(&["-n", SPACE, "delete", "pdb", "held"]);
    clean(&rig, "held", node);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn what_a_dead_process_left_is_taken_up() {
    let rig = rig();
    for (name, node, how) in [("killed", "node-0046", "KILL"), ("hung-up", "node-0047", "HUP")] {
        make(&rig, name, node, 50);
        let all = pods(&rig, node);
        let mark = rig.audit_mark();
        let args =
            [&["drain", node, SELECT, "--yes", "--pods-at-once", "5", "-o", "json"], &FLAGS[..]].concat();
        let mut child = start(&rig, &args);
        until(30, "some pods were sent", || {
            let sent = evictions(&rig.audit_of(mark, "pilothouse/")).len();
            if sent >= 8 { Ok(()) } else { Err(format!("{sent}")) }
        });
        let began = Instant::now();
        signal(&child.child, how);
        let status = child.child.wait().unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(1), "{how}: {took:?}");
        assert_ne!(status.code(), Some(0));
        let sent = evictions(&rig.audit_settled(mark));
        assert!(sent.len() < 50, "it was in the middle");

        // any other action reports this, and the journal has the requests that were sent
        let line = crate::rig::err(&rig.run(&["cordon", node, "--yes"]));
        assert!(line.contains("unfinished in") && line.contains(": pilothouse resume "), "{line}");
        let list = out(&rig.run(&["journal", "list"]));
        let entry = list.lines().find(|l| l.contains("UNFINISHED")).unwrap_or_else(|| panic!("{list}"));
        let id = entry.split_whitespace().next().unwrap();
        let kept: Value =
            serde_json::from_str(&out(&rig.run(&["journal", "show", id, "-o", "json"]))).unwrap();
        let known: BTreeSet<&str> = kept["steps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|s| s["what"] == "evict" && s["state"] != "waiting")
            .map(|s| s["on"]["name"].as_str().unwrap())
            .collect();
        for pod in sent.keys() {
            assert!(known.contains(pod.as_str()), "{how}: {pod} was sent and the journal does not know");
        }
        assert!(known.len() <= sent.len() + 5, "{how}: {} known, {} sent", known.len(), sent.len());

        let resumed = rig.run(&["resume", id, "--yes", "-o", "json"]);
        assert_eq!(resumed.status.code(), Some(0), "{}", crate::rig::err(&resumed));
        assert!(pods(&rig, node).is_empty());
        let requests = rig.audit_of(mark, "pilothouse/");
        let sent = evictions(&requests);
        // the server drops a request whose client is gone, and may have applied it; then there is no 201
        let cut_off = answered(&requests, |code| code >= 500);
        assert_eq!(sent.keys().chain(cut_off.keys()).cloned().collect::<BTreeSet<_>>(), all);
        assert!(cut_off.len() <= 5, "{how}: more than were under way: {cut_off:?}");
        assert!(sent.values().all(|n| *n == 1), "{how}: evicted twice: {sent:?}");
        assert!(!out(&rig.run(&["journal", "list"])).contains("UNFINISHED"));
        clean(&rig, name, node);
    }
}

/// Pods that stay terminating after their eviction, so that the drain stays in progress.
fn make_held(rig: &Rig, node: &str, names: &[&str]) {
    rig.namespace(SPACE);
    rig.kubectl_ok(&["uncordon", node]);
    for name in names {
        rig.apply(&format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {SPACE}, finalizers: [pilothouse.test/hold], labels: {{part: contract-eviction}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 1
  containers: [{{name: a, image: "a:1"}}]
"#
        ));
    }
}

/// Drains a node of `names` one by one, runs `meanwhile` when the first is in progress, and waits for the drain's end:
/// returns its exit status, its output, and the number of its evictions.
fn undermined(rig: &Rig, node: &str, names: &[&str], meanwhile: impl FnOnce()) -> (Option<i32>, Value, u32) {
    make_held(rig, node, names);
    let mark = rig.audit_mark();
    let args = [&["drain", node, SELECT, "--yes", "--pods-at-once", "1", "-o", "json"], &FLAGS[..]].concat();
    let mut child = start(rig, &args);
    until(30, "the first pod is on its way", || {
        let sent = evictions(&rig.audit_of(mark, "pilothouse/")).len();
        if sent == 1 { Ok(()) } else { Err(format!("{sent}")) }
    });
    meanwhile();
    let status =
        until(30, "the drain ends by itself", || child.child.try_wait().unwrap().ok_or("runs".to_owned()));
    let done: Value = serde_json::from_reader(child.child.stdout.take().unwrap()).unwrap();
    let sent = evictions(&rig.audit_settled(mark));
    for name in names {
        let patch = r#"{"metadata":{"finalizers":null}}"#;
        let pod = ["-n", SPACE, "patch", "pod", name, "--type=merge", "-p", patch];
        rig.kubectl_ok(&pod);
        let gone = ["-n", SPACE, "delete", "pod", name, "--ignore-not-found", "--force", "--grace-period=0"];
        rig.kubectl(&gone);
    }
    (status.code(), done, sent.values().sum())
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_drain_whose_cordon_is_taken_back_stops_by_itself() {
    let rig = rig();
    let node = "node-0048";
    let (code, done, sent) = undermined(&rig, node, &["held-a", "held-b", "held-c"], || {
        rig.kubectl_ok(&["uncordon", node]);
    });
    assert_eq!((code, &done["outcome"]), (Some(1), &"failed".into()), "{done}");
    let said = done["message"].as_str().unwrap();
    for words in [
        "uncordoned meanwhile",
        "to cordon it again and continue the drain: pilothouse",
        "not cordoned any more",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("still cordoned"), "{said}");
    assert_eq!(sent, 1, "nothing was evicted after that");
    let left = rig.kubectl_json(&["get", "node", node]);
    assert!(left["spec"]["unschedulable"].is_null(), "the node is left as somebody made it");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_drain_whose_node_turns_not_ready_stops_by_itself() {
    let rig = rig();
    let node = "node-0049";
    let (code, done, sent) = undermined(&rig, node, &["stuck-a", "stuck-b", "stuck-c"], || {
        rig.kubectl_ok(&["label", "node", node, "--overwrite", "fault.test/not-ready=true"]);
    });
    // a node that was not ready in the plan is no change
    let planned = rig.json(&[&["drain", node, SELECT, "--dry-run", "-o", "json"], &FLAGS[..]].concat(), 0);
    rig.kubectl_ok(&["label", "node", node, "fault.test/not-ready-"]);
    rig.kubectl_ok(&["uncordon", node]);
    assert_eq!((code, &done["outcome"]), (Some(1), &"failed".into()), "{done}");
    let said = done["message"].as_str().unwrap();
    for words in [
        "node-0049: not ready any more: Ready is False since 20",
        "out-of-service node-0049",
        "to continue the drain although the node is not ready: pilothouse",
        "still cordoned: node-0049",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(sent, 1, "nothing was evicted after that");
    let warnings = planned["warnings"].to_string();
    assert!(warnings.contains("node-0049 is NotReady since "), "{warnings}");
}
