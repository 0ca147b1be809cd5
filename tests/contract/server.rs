//! The API server ends and comes back while we watch: data becomes stale with a reason and current again by itself,
//! without a burst of lists.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::rig;

/// The documents of `snapshot --watch`, read by a thread.
fn watch(mut command: std::process::Command) -> (std::process::Child, mpsc::Receiver<Value>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if let Ok(doc) = serde_json::from_str(&line)
                && send.send(doc).is_err()
            {
                return;
            }
        }
    });
    (child, receive)
}

fn wait_for(docs: &mpsc::Receiver<Value>, secs: u64, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(secs);
    let mut last = Value::Null;
    while let Ok(doc) = docs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if is_it(&doc) {
            return doc;
        }
        last = doc;
    }
    panic!(
        "{what}: not within {secs} s; the last document's sources: {} causes: {}",
        last["sources"], last["causes"]
    );
}

fn state(doc: &Value, source: &str) -> String {
    let sources = doc["sources"].as_array().unwrap();
    sources
        .iter()
        .find(|s| s["name"] == source)
        .map_or(String::new(), |s| s["state"].as_str().unwrap().to_owned())
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn stale_with_a_reason_and_back_without_a_restart() {
    let rig = rig();
    let (mut child, docs) = watch(rig.command_as("operator", &["snapshot", "--watch", "-o", "json"]));
    let before = wait_for(&docs, 20, "live", |d| state(d, "nodes") == "live" && state(d, "pods") == "live");
    let nodes = before["nodes"].as_array().unwrap().len();
    rig.script("apiserver", &["kill", rig.folder()]);
    let stale = wait_for(&docs, 20, "stale", |d| state(d, "nodes") == "stale" && state(d, "pods") == "stale");
    assert_eq!(stale["nodes"].as_array().unwrap().len(), nodes, "the last values stay");
    wait_for(&docs, 20, "a cause", |d| {
        let is_it = |c: &Value| c["rule"] == "source" && c.to_string().contains("refused");
        d["causes"].as_array().unwrap().iter().any(is_it)
    });
    let mark = rig.audit_mark();
    rig.script("apiserver", &["start", rig.folder()]);
    wait_for(&docs, 60, "live again", |d| {
        d["sources"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|s| s["coverage"].is_string() && s["coverage"] != "not-installed")
            .all(|s| s["state"] == "live")
    });
    let lists: Vec<String> = rig
        .audit_since(mark)
        .iter()
        .filter(|e| e["verb"] == "list")
        .map(|e| e["objectRef"]["resource"].as_str().unwrap_or_default().to_owned())
        .collect();
    let mut most = std::collections::BTreeMap::new();
    for resource in &lists {
        *most.entry(resource.clone()).or_insert(0) += 1;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(most.values().all(|n| *n <= 3), "lists after the restart: {most:?}");
}
