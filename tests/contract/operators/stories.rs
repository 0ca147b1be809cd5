//! Made-up records with errors, and what the judge must report for each. Needs no cluster.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::judge::{Journals, Judge, Kept};
use super::moves::{FLAGS, Hand, Process};
use super::seen::Seen;

const UID: &str = "00000000-0000-4000-8000-000000000001";

/// A cordon of a node by A, in A's output and in the audit log.
struct Story {
    processes: Vec<Process>,
    entries: Vec<Value>,
    kept: Vec<Value>,
    unfinished: Vec<String>,
}

fn process(hand: Hand, pid: u32, args: &[&str], said: Value) -> Process {
    let flags = ["-n", "x", "--yes", "--confirm", "test", "-o", "json"];
    assert_eq!(flags.len(), FLAGS);
    let began = i64::from(pid) * 1_000_000;
    Process {
        hand,
        args: args.iter().chain(&flags).map(|a| (*a).to_owned()).collect(),
        home: PathBuf::new(),
        pid,
        started: began,
        ended: began + 900_000,
        code: Some(0),
        signals: Vec::new(),
        told: Vec::new(),
        result: Some(said),
        of: args.get(1).filter(|_| args[0] == "undo" || args[0] == "resume").map(|of| (*of).to_owned()),
    }
}

/// A process's output about one step.
fn said(pid: u32, what: &str, kind: &str, state: &str, outcome: &str) -> Value {
    let on = json!({ "kind": kind, "name": "n", "uid": UID });
    let step = json!({ "what": what, "on": on, "state": state, "note": "" });
    json!({ "id": format!("1-{pid:x}0"), "action": what, "outcome": outcome, "message": "", "steps": [step] })
}

/// A request at so many tenths of a second.
fn request(tenths: i64, user: &str, agent: &str, verb: &str, more: &Value) -> Value {
    let time = |at: i64| chrono::DateTime::from_timestamp_micros(at).unwrap().to_rfc3339();
    let mut entry = json!({
        "verb": verb, "requestURI": "/", "userAgent": format!("{agent}/v1"), "user": { "username": user },
        "objectRef": { "resource": "nodes", "name": "n" }, "responseStatus": { "code": 200 },
        "requestReceivedTimestamp": time(tenths * 100_000), "stageTimestamp": time(tenths * 100_000 + 5000),
    });
    entry.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    entry
}

fn node(version: i64, cordoned: bool) -> Value {
    json!({ "kind": "Node", "metadata": { "name": "n", "resourceVersion": version.to_string() }, "spec": { "unschedulable": cordoned } })
}

fn cordon(tenths: i64, user: &str, agent: &str, cordoned: bool) -> Value {
    request(tenths, user, agent, "patch", &json!({ "responseObject": node(tenths, cordoned) }))
}

fn look(tenths: i64, user: &str) -> Value {
    request(tenths, user, "pilothouse", "get", &json!({}))
}

fn evicted(tenths: i64, user: &str) -> Value {
    let on = json!({ "resource": "pods", "subresource": "eviction", "name": "n" });
    let sent = json!({ "deleteOptions": { "preconditions": { "uid": UID } } });
    request(tenths, user, "pilothouse", "create", &json!({ "objectRef": on, "requestObject": sent }))
}

impl Story {
    fn true_one() -> Self {
        let told = said(1, "cordon", "Node", "verified", "done");
        Self {
            processes: vec![process(Hand::A, 1, &["cordon", "n"], told.clone())],
            entries: vec![
                look(11, "operator"),
                cordon(12, "operator", "pilothouse", true),
                look(14, "operator"),
            ],
            kept: vec![told],
            unfinished: Vec::new(),
        }
    }

    /// Another process, after all of the others.
    fn then(&mut self, hand: Hand, args: &[&str], told: Value, entries: Vec<Value>) {
        let pid = u32::try_from(self.processes.len()).unwrap() + 1;
        self.kept.push(told.clone());
        self.processes.push(process(hand, pid, args, told));
        self.entries.extend(entries);
    }

    fn judged(self, left: &[&str]) -> Vec<String> {
        let seen = Seen::new(&self.entries, &self.processes, &[node(1, false)]);
        let begun = |told: &Value| {
            let id = told["id"].as_str()?;
            let pid = u32::from_str_radix(id.strip_prefix("1-")?.strip_suffix('0')?, 16).ok()?;
            Some((pid, id.to_owned()))
        };
        let begun = self.kept.iter().filter_map(begun).collect();
        let kept = Kept { actions: self.kept, unfinished: self.unfinished, begun };
        let journals = Journals::from([(PathBuf::new(), kept)]);
        let mut judge = Judge::new(&self.processes, &seen, &journals);
        judge.all(&left.iter().map(|uid| (*uid).to_owned()).collect::<Vec<_>>());
        judge.wrong
    }
}

/// The only mistake in a story.
fn wrong(words: &str, tell: impl FnOnce(&mut Story)) {
    let mut story = Story::true_one();
    tell(&mut story);
    let found = story.judged(&[UID]);
    assert!(found.iter().any(|w| w.contains(words)), "{words:?} is not in {found:?}");
}

#[test]
fn the_judge_tells_a_true_story_from_others() {
    assert_eq!(Story::true_one().judged(&[]), [""; 0]);
    wrong("it was not so", |s| s.entries.insert(2, cordon(13, "admin", "kubectl", false)));
    wrong("with 0 writes", |s| drop(s.entries.remove(1)));
    wrong("written 2 times", |s| s.entries.push(cordon(13, "operator", "pilothouse", true)));
    wrong("written twice in a row", |s| s.entries.push(cordon(13, "operator", "pilothouse", true)));
    wrong("and it was written", |s| {
        s.processes[0].result = Some(said(1, "cordon", "Node", "skipped", "done"));
    });
    wrong("the journal has", |s| s.kept[0] = said(1, "cordon", "Node", "accepted", "done"));
    wrong("done, and cordon", |s| s.processes[0].result = Some(said(1, "cordon", "Node", "failed", "done")));
    wrong("nobody else wrote", |s| {
        s.processes[0].result = Some(said(1, "cordon", "Node", "failed", "failed"));
    });
    wrong("requests that change something", |s| s.processes[0].code = Some(3));
    wrong("nobody has told it to end", |s| s.processes[0].code = Some(130));
    wrong("and the exit status", |s| s.processes[0].code = Some(1));
    wrong("it is in no journal", |s| s.kept.clear());
    wrong("is not listed", |s| {
        (s.processes[0].code, s.processes[0].result) = (None, None);
        s.processes[0].signals.push("KILL");
        s.kept[0]["outcome"] = "unknown".into();
    });
    wrong("unschedulable was not true", |s| {
        s.entries.insert(2, cordon(13, "admin", "kubectl", false));
        let said = s.processes[0].result.as_mut().unwrap();
        said["message"] = "x; still cordoned: n".into();
    });
    let change = |s: &mut Story, note: &str| {
        let said = s.processes[0].result.as_mut().unwrap();
        said["steps"][0]["note"] = note.into();
    };
    wrong("and it was", |s| change(s, "changed (last changed by kubectl)"));
    wrong("with 1 writes", |s| change(s, "not sent: x"));
    wrong("evicted 2 times", |s| {
        let told = || said(2, "evict", "Pod", "verified", "done");
        s.then(Hand::B, &["drain", "n"], told(), vec![evicted(21, "admin"), evicted(22, "admin")]);
    });
    for (later, is_wrong) in [(4, true), (0, false)] {
        let mut s = Story::true_one();
        for (hand, user, at) in [(Hand::A, "operator", 24), (Hand::B, "admin", 24 + later)] {
            let pid = u32::try_from(s.processes.len()).unwrap() + 1;
            let told = said(pid, "evict", "Pod", "verified", "done");
            s.then(hand, &["drain", "n"], told, vec![evicted(at, user)]);
            s.processes.last_mut().unwrap().started = 2_000_000;
        }
        let found = s.judged(&[]);
        assert_eq!(found.iter().any(|w| w.contains("evicted 2 times")), is_wrong, "{found:?}");
    }
    wrong("is gone, and it is there", |s| {
        let told = said(2, "evict", "Pod", "verified", "done");
        s.then(Hand::B, &["drain", "n"], told, vec![evicted(21, "admin")]);
    });
    wrong("its eviction was accepted", |s| {
        let told = said(2, "evict", "Pod", "held", "cancelled");
        s.then(Hand::B, &["drain", "n"], told, vec![evicted(21, "admin")]);
    });
    wrong("the undo has replaced", |s| {
        let kubectl = |at, cordoned| cordon(at, "admin", "kubectl", cordoned);
        s.entries.extend([kubectl(16, false), kubectl(17, true)]);
        let told = said(2, "uncordon", "Node", "verified", "done");
        s.then(
            Hand::A,
            &["undo", "1-10"],
            told,
            vec![look(21, "operator"), cordon(22, "operator", "pilothouse", false)],
        );
    });
    wrong("nothing is left to do", |s| {
        s.entries.remove(1);
        s.then(Hand::A, &["resume", "1-10"], Value::Null, Vec::new());
        s.kept.pop();
        (s.processes[1].result, s.processes[1].told) = (None, vec!["nothing is left to do".into()]);
    });
    wrong("has replaced 7", |s| {
        let scaled = |at, agent: &str, replicas: i64| {
            let scale = json!({ "kind": "Scale", "metadata": { "resourceVersion": format!("{at}") }, "spec": { "replicas": replicas } });
            let on = json!({ "resource": "deployments", "subresource": "scale", "name": "n" });
            request(at, "admin", agent, "patch", &json!({ "objectRef": on, "responseObject": scale }))
        };
        let told = said(2, "scale 3 to 5", "Deployment", "verified", "done");
        let entries = vec![scaled(20, "kubectl", 7), scaled(22, "pilothouse", 5)];
        s.then(Hand::B, &["scale", "deploy/n"], told, entries);
    });
}
