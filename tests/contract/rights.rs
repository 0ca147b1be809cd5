//! The roles of `pilothouse rbac` are sufficient for everything, and according to the audit log no other permission is
//! used. `doctor` checks each of them.

use std::process::Output;

use pilothouse::report::rights;
use serde_json::Value;

use crate::readonly::OBJECTS;
use crate::rig::{Rig, err, out, real, until};

const NAMESPACE: &str = "contract-rights";

const DATABASE: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 1
  selector: {matchLabels: {app: db}}
  serviceName: db
  template:
    metadata: {labels: {app: db}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: "a:1"}]}
"#;

/// Creates a role of `pilothouse rbac` and binds it to a group of the same name.
fn role(rig: &Rig, role: &str) {
    let yaml = out(&rig.run_as("admin", &["rbac", role]));
    rig.apply(&yaml);
    let name = format!("pilothouse-{role}");
    let bound = |kind: &str, of: &str, place: &[&str]| {
        let (role, group) = (format!("--{of}={name}"), format!("--group={name}"));
        rig.kubectl(&[&["create", kind, &name, &role, &group], place].concat());
    };
    bound("clusterrolebinding", "clusterrole", &[]);
    bound("rolebinding", "role", &["-n", "kube-node-lease"]);
    until(20, "the server has read the bindings", || {
        let group = format!("--as-group={name}");
        let may = |what: &[&str]| {
            let asked = rig.kubectl(&[&["auth", "can-i"], what, &["--as=ann", &group]].concat());
            out(&asked).trim() == "yes"
        };
        let all = may(&["list", "nodes"]) && may(&["watch", "leases", "-n", "kube-node-lease"]);
        if all { Ok(()) } else { Err("not yet".into()) }
    });
}

fn run(rig: &Rig, role: &str, args: &[&str]) -> Output {
    let group = format!("pilothouse-{role}");
    rig.run_as("admin", &[&["--as", "ann", "--as-group", &group, "-n", NAMESPACE], args].concat())
}

fn done(rig: &Rig, args: &[&str]) -> Value {
    let output = run(rig, "operator", &[args, &["--yes", "-o", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}{}", out(&output), err(&output));
    serde_json::from_str(&out(&output)).unwrap()
}

/// The permissions that the requests since then needed; fails if one was refused.
fn used(rig: &Rig, mark: u64) -> Vec<String> {
    let mut used = Vec::new();
    for entry in rig.audit_settled(mark) {
        let of = &entry["objectRef"];
        let text = |key: &str| of[key].as_str().unwrap_or_default();
        // everybody may send access reviews and read paths that are no resources
        if of.is_null() || text("resource").starts_with("selfsubject") {
            continue;
        }
        assert_eq!(entry["impersonatedUser"]["username"], "ann", "{entry}");
        assert_ne!(entry["responseStatus"]["code"], 403, "{entry}");
        let slash = if text("subresource").is_empty() { "" } else { "/" };
        let dot = if text("apiGroup").is_empty() { "" } else { "." };
        let verb = entry["verb"].as_str().unwrap();
        let (resource, sub, group) = (text("resource"), text("subresource"), text("apiGroup"));
        used.push(format!("{verb} {resource}{slash}{sub}{dot}{group}"));
    }
    used.sort();
    used.dedup();
    used
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn the_roles_are_enough_and_nothing_else_is_used_real_only() {
    let rig = real("it has no RBAC of its own");
    rig.namespace(NAMESPACE);
    rig.apply_in(NAMESPACE, OBJECTS);
    rig.apply_in(NAMESPACE, DATABASE);
    for what in ["deploy/web", "sts/db"] {
        rig.kubectl_ok(&["-n", NAMESPACE, "rollout", "status", what, "--timeout=60s"]);
    }
    rig.kubectl_ok(&["-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/single", "--timeout=60s"]);
    rig.config(&format!(
        "[failover.green]\nkind = \"selector\"\nservice = \"{NAMESPACE}/web\"\nfrom = \"version=blue\"\nto = \"version=green\"\n\
        [failover.part]\nkind = \"weight\"\nroute = \"traefikservice/{NAMESPACE}/web\"\nfrom = \"web\"\nto = \"other\"\nsteps = [50]\nsoak_secs = 1\n"
    ));
    for name in ["viewer", "operator"] {
        role(&rig, name);
    }
    let every: Vec<String> = rights::all().iter().map(rights::Right::words).collect();
    let reads: Vec<String> =
        rights::all().iter().filter(|r| r.is_reading()).map(rights::Right::words).collect();
    let unasked = |used: &[String], of: &[String]| -> Vec<String> {
        used.iter().filter(|right| !of.contains(right)).cloned().collect()
    };

    let mark = rig.audit_mark();
    for args in [&["snapshot"][..], &["why"]] {
        let output = run(&rig, "viewer", args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}{}", out(&output), err(&output));
    }
    let more = unasked(&used(&rig, mark), &reads);
    assert!(more.is_empty(), "a viewer used what was not asked for: {more:?}");

    let mark = rig.audit_mark();
    let asked = run(&rig, "operator", &["doctor", "-o", "json"]);
    let asked: Value = serde_json::from_str(&out(&asked)).unwrap();
    let asked = asked["permissions"].as_array().unwrap();
    let denied: Vec<&Value> = asked.iter().filter(|p| p["allowed"] != true).collect();
    assert!(denied.is_empty() && asked.len() > 40, "{denied:?} of {}", asked.len());
    let node = "node-0009";
    for args in [
        &["cordon", node][..],
        &["uncordon", node],
        &["restart", "deploy/web"],
        &["restart", "sts/db"],
        &["rollback", "deploy/web"],
        &["rollback", "sts/db"],
        &["pause-rollout", "deploy/web"],
        &["resume-rollout", "deploy/web"],
        &["bounds", "web", "--max", "9"],
        &["pause-autoscaler", "web"],
        &["resume-autoscaler", "web"],
        &["scale", "sts/db", "--replicas", "2"],
        &["out-of-rotation", "single", "--service", "web"],
        &["into-rotation", "single"],
        &["evict", "single"],
        &["failover", "part"],
        &["failover", "part", "--revert"],
    ] {
        done(&rig, args);
    }
    let scaled = done(&rig, &["scale", "deploy/web", "--replicas", "3"]);
    done(&rig, &["undo", scaled["id"].as_str().unwrap()]);
    // an eviction is requested but not executed
    for args in [
        &["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force"][..],
        &["failover", "green"],
    ] {
        let output = run(&rig, "operator", &[args, &["--dry-run=server"]].concat());
        assert!(!out(&output).contains("forbidden"), "{args:?}: {}{}", out(&output), err(&output));
    }
    let used = used(&rig, mark);
    let more = unasked(&used, &every);
    assert!(more.is_empty(), "used, and neither asked for by doctor nor in the role: {more:?}");
    // checks that the log shows the used permissions
    for right in ["patch nodes", "create pods/eviction", "patch deployments/scale.apps", "watch pods"] {
        assert!(used.iter().any(|u| u == right), "{right}: {used:?}");
    }
    for kind in ["clusterrolebinding", "clusterrole"] {
        rig.kubectl_ok(&["delete", kind, "pilothouse-viewer", "pilothouse-operator"]);
    }
    for kind in ["rolebinding", "role"] {
        rig.kubectl_ok(&[
            "-n",
            "kube-node-lease",
            "delete",
            kind,
            "pilothouse-viewer",
            "pilothouse-operator",
        ]);
    }
}
