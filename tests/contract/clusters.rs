//! Two clusters whose objects have the same names: each headless action sends requests to its own cluster only, as the
//! audit logs of both show.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::readonly::is_change;
use crate::rig::{Rig, audit_mark_in, err, out, real};
use crate::standby::both;

/// The namespace and the node of this test.
const SPACE: &str = "contract-clusters";

/// The same objects for each cluster.
const OBJECTS: &str = include_str!("../cluster/equal.yaml");

/// What an operator does to the cluster, in this order. Each leaves something to do for the next.
const ACTIONS: &[&[&str]] = &[
    &["cordon", SPACE],
    &["uncordon", SPACE],
    &["drain", SPACE, "--force", "--ignore-daemonsets"],
    &["scale", "deploy/web", "--replicas", "3", "--current-replicas", "2"],
    &["restart", "deploy/web"],
    &["rollback", "deploy/web"],
    &["pause-rollout", "deploy/web"],
    &["resume-rollout", "deploy/web"],
    &["bounds", "scaled", "--max", "9"],
    &["pause-autoscaler", "scaled"],
    &["resume-autoscaler", "scaled"],
    &["out-of-rotation", "single", "--service", "web"],
    &["into-rotation", "single"],
    &["failover", "green"],
    &["failover", "green", "--revert"],
    &["evict", "single"],
    &["evict", "spare", "--delete"],
    &["out-of-service", SPACE],
    &["in-service", SPACE],
];

/// One of the two clusters.
struct Place<'a> {
    context: &'a str,
    folder: PathBuf,
}

impl Place<'_> {
    fn admin(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }
}

struct Back<'a>(&'a Rig, Vec<PathBuf>);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        for admin in &self.1 {
            for what in [["node", SPACE], ["namespace", SPACE]] {
                let delete = ["delete", what[0], what[1], "--wait=false", "--ignore-not-found"];
                drop(self.0.kubectl_command(admin).args(delete).output());
            }
        }
    }
}

fn fresh(rig: &Rig, admin: &Path) {
    for what in [["node", SPACE], ["namespace", SPACE]] {
        // an earlier run did not wait until they were gone
        rig.kubectl_at(admin, &["delete", what[0], what[1], "--ignore-not-found", "--timeout=120s"]);
    }
    rig.namespace_at(admin, SPACE);
    rig.apply_at(admin, &OBJECTS.replace("SPACE", SPACE));
    for on in ["deploy/web", "deploy/web-green", "deploy/scaled"] {
        rig.kubectl_at(admin, &["-n", SPACE, "rollout", "status", on, "--timeout=60s"]);
    }
    let ready = ["wait", "--for=condition=Ready", "--timeout=60s"];
    rig.kubectl_at(admin, &[&ready[..], &["node", SPACE]].concat());
    rig.kubectl_at(admin, &[&ready[..], &["-n", SPACE, "pod", "--all"]].concat());
}

#[test]
#[ignore = "needs two real control planes: tests/cluster/README.md"]
fn every_headless_action_is_in_its_own_cluster_only_real_only() {
    let rig = real("there is no second cluster");
    let there = std::env::var("PILOTHOUSE_TEST_STANDBY_KUBECONFIG").expect("printed by tests/cluster/up");
    let there = Path::new(&there).parent().unwrap();
    let here = Place { context: "test", folder: rig.folder.clone() };
    let there = Place { context: "standby", folder: there.to_owned() };
    let _back = Back(&rig, vec![here.admin(), there.admin()]);
    let kubeconfig = both(&rig, &there.folder);
    rig.config(&format!(
        "[failover.green]\nkind = \"selector\"\nservice = \"{SPACE}/web\"\nfrom = \"version=blue\"\nto = \"version=green\"\nsoak_secs = 1\n\
         [clusters.both]\ncontexts = [\"test\", \"standby\"]\n"
    ));
    for place in [&here, &there] {
        fresh(&rig, &place.admin());
    }
    let run =
        |args: &[&str]| rig.command_with(&kubeconfig, &[&["-n", SPACE], args].concat()).output().unwrap();
    // what is refused sends nothing to either
    let marks = [&here, &there].map(|place| audit_mark_in(&place.folder));
    for action in ACTIONS {
        let refused = run(&[action, &["--yes", "--context", "both"][..]].concat());
        assert_eq!(refused.status.code(), Some(2), "{action:?}: {}", err(&refused));
        assert!(err(&refused).contains("there are 2 (test, standby)"), "{}", err(&refused));
    }
    for (place, mark) in [&here, &there].into_iter().zip(marks) {
        let seen = rig.audit_settled_in(&place.folder, mark);
        assert!(seen.is_empty(), "{}: {seen:#?}", place.context);
    }
    let mut to_undo = None;
    for action in ACTIONS {
        for (place, other) in [(&there, &here), (&here, &there)] {
            if action[0] == "out-of-service" {
                let admin = place.admin();
                rig.kubectl_at(&admin, &["label", "node", SPACE, "fault.test/not-ready=true"]);
                let not_ready = ["wait", "--for=condition=Ready=False", "node", SPACE, "--timeout=60s"];
                rig.kubectl_at(&admin, &not_ready);
            }
            let marks = [place, other].map(|place| audit_mark_in(&place.folder));
            let flags = ["--yes", "--confirm", place.context, "-o", "json", "--context", place.context];
            let done = run(&[action, &flags[..]].concat());
            let said = out(&done) + &err(&done);
            assert_eq!(done.status.code(), Some(0), "{action:?} in {}: {said}", place.context);
            let [own, foreign] = [(place, marks[0]), (other, marks[1])]
                .map(|(place, mark)| rig.audit_settled_in(&place.folder, mark));
            assert!(own.iter().any(is_change), "{action:?} in {}: the log shows no change", place.context);
            assert!(foreign.is_empty(), "{action:?} in {}: {foreign:#?}", place.context);
            if action[0] == "scale" && place.context == "standby" {
                let done: Value = serde_json::from_str(&out(&done)).unwrap();
                to_undo = Some(done["id"].as_str().unwrap().to_owned());
            }
        }
    }
    // an action is undone where it was done, although another context is the current one
    let id = to_undo.unwrap();
    let marks = [&here, &there].map(|place| audit_mark_in(&place.folder));
    let elsewhere = run(&["undo", &id, "--yes", "--context", "test"]);
    assert_eq!(elsewhere.status.code(), Some(2), "{}", err(&elsewhere));
    assert!(err(&elsewhere).contains("was done in context standby"), "{}", err(&elsewhere));
    let undone = run(&["undo", &id, "--yes"]);
    assert_eq!(undone.status.code(), Some(0), "{}{}", out(&undone), err(&undone));
    assert!(rig.audit_settled_in(&here.folder, marks[0]).is_empty());
    assert!(rig.audit_settled_in(&there.folder, marks[1]).iter().any(is_change));
    // reads of both are one document each
    let why = run(&["why", "-o", "json", "--context", "both"]);
    let documents: Vec<Value> = out(&why).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut contexts: Vec<&str> =
        documents.iter().filter_map(|doc| doc["cluster"]["context"].as_str()).collect();
    contexts.sort_unstable();
    assert_eq!(contexts, ["standby", "test"], "{}", err(&why));
}
