//! Each rule of NOW finds its problem on a cluster that has it, names the right objects, and nothing else is found.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rig::{Rig, rig, until};

/// The causes that a healthy cluster does not have, as `rule title`.
/// What our own rules find. Alerts are what the cluster's monitoring says: they fire and end minutes after a fault.
fn causes(rig: &Rig) -> Vec<Value> {
    let mut all = rig.json(&["why", "-o", "json"], 0)["causes"].as_array().unwrap().clone();
    all.retain(|cause| cause["rule"] != "alert-firing");
    all
}

fn names(cause: &Value) -> BTreeSet<String> {
    cause["objects"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap().to_owned()).collect()
}

/// A cause's identity: its rule and its main object.
fn identity(cause: &Value) -> (String, String, String) {
    let main = &cause["objects"][0];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    (text(&cause["rule"]), text(&main["namespace"]), text(&main["name"]))
}

/// Causes a fault, waits for its rule, checks that nothing else appeared, and ends the fault.
fn fires(fault: &str, rule: &str) {
    let rig = rig();
    let rest: BTreeSet<_> = causes(&rig).iter().map(identity).collect();
    let made = rig.script("fault", &[fault, rig.folder()]);
    let wanted: Vec<String> = made
        .split_whitespace()
        .map(|object| object.rsplit('/').next().unwrap_or(object).to_owned())
        .collect();
    let outcome = std::panic::catch_unwind(|| {
        until(40, &format!("{fault}: rule {rule}"), || {
            let now = causes(&rig);
            let new: Vec<&Value> = now.iter().filter(|c| !rest.contains(&identity(c))).collect();
            let found = new.iter().find(|c| c["rule"] == rule && names(c).iter().any(|n| wanted.contains(n)));
            if found.is_none() {
                return Err(format!("wanted {wanted:?}, found {new:?}"));
            }
            // a fault can create several objects that show it
            let meant = |c: &Value| c["rule"] == rule && names(c).iter().any(|n| wanted.contains(n));
            let others: Vec<_> = new.iter().filter(|c| !meant(c)).collect();
            if others.is_empty() { Ok(()) } else { Err(format!("something else fired too: {others:?}")) }
        });
    });
    rig.script("fault", &[fault, rig.folder(), "--undo"]);
    if let Err(why) = outcome {
        std::panic::resume_unwind(why);
    }
    until(40, &format!("{fault}: gone again"), || {
        let left: Vec<_> = causes(&rig)
            .iter()
            .filter(|c| c["rule"] == rule && !rest.contains(&identity(c)))
            .cloned()
            .collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn node_not_ready() {
    fires("node-not-ready", "node-not-ready");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn node_silent_becomes_unknown() {
    fires("node-silent", "node-not-ready");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn unschedulable() {
    fires("unschedulable", "unschedulable");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn stuck_rollout() {
    fires("stuck-rollout", "rollout-stuck");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn hpa_at_limit() {
    fires("hpa-at-limit", "hpa-at-limit");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn pdb_that_allows_nothing() {
    fires("pdb-none", "pdb-blocks");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn service_without_endpoints() {
    fires("no-endpoints", "no-ready-endpoints");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn crash_loop() {
    fires("crash-loop", "crash-loop");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn image_pull() {
    fires("image-pull", "image-pull");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn oom_killed() {
    fires("oom", "oom-killed");
}
