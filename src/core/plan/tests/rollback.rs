//! Tests of rollbacks: the tools that may revert them, and targets that are newer than the running template.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{cluster, here, make, refused, target};
use crate::domain::id::{Kind, Uid};
use crate::domain::log::{ErrorGroup, Level, Logs};
use crate::domain::plan::{Act, Confirm, LastChange, Lookup, LookupResult, Warning};
use crate::domain::workload::{ManagedBy, Tool, Workload};
use crate::facts::table::Rows;
use crate::facts::world::Cluster;

#[test]
fn a_roll_back_says_who_may_revert_it() {
    let holder = |n: u32, image: &str| {
        json!({
            "metadata": {
                "name": format!("web-{n}"), "uid": format!("u{n}"),
                "annotations": { "deployment.kubernetes.io/revision": n.to_string() },
                "ownerReferences": [{ "uid": Uid::Uuid(30).to_string(), "controller": true }]
            },
            "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": image }] } } }
        })
    };
    let live = |manager: &str| {
        json!({
            "metadata": { "managedFields": [
                { "manager": "kube-controller-manager", "time": "2026-01-03T00:00:00Z" },
                { "manager": manager, "time": "2026-01-02T00:00:00Z",
                  "fieldsV1": { "f:spec": { "f:template": { "f:spec": { "f:containers": {} } } } } }
            ] },
            "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": "a:2" }] } } }
        })
    };
    let on = target(Kind::Deployment, 30, "web");
    let back = |cluster: &Cluster, manager: &str| -> Vec<Warning> {
        let holders = LookupResult::Objects(vec![holder(1, "a:1"), holder(2, "a:2")]);
        let lookups = vec![here(&on, live(manager)), (Lookup::Revisions(on.clone()), holders)];
        let p = make(cluster, Act::Rollback { to_revision: None }, vec![on.clone()], lookups);
        assert_eq!((refused(&p), p.steps.len()), (vec![], 1));
        p.warnings
    };
    let plain = cluster();
    assert_eq!(back(&plain, "kubectl-edit"), []);
    assert_eq!(back(&plain, "influxdb-operator"), [], "no flux");
    let who = LastChange { manager: Some("argocd-controller".into()), at: "2026-01-02T00:00:00Z".into() };
    let template = Warning::TemplateFromGitOps { name: "web".into(), who };
    assert_eq!(back(&plain, "argocd-controller"), [template]);
    let mut labelled = Cluster::clone(&plain);
    let mut rows = Rows::default();
    for w in plain.deployments.iter() {
        let by = ManagedBy { tool: Tool::ArgoCd, name: Some("shop".into()) };
        rows.upsert(Workload { managed_by: Some(by), ..Workload::clone(w) });
    }
    labelled.deployments = rows.table().clone();
    let managed = Warning::ManagedBy { name: "web".into(), manager: "Argo CD shop".into() };
    assert_eq!(back(&labelled, "argocd-controller"), [managed]);
}

#[test]
fn a_roll_back_does_not_roll_forward_to_what_was_left_without_saying_so() {
    let holder = |n: u32, uid: &str, image: &str, created: &str| {
        json!({
            "metadata": {
                "name": uid, "uid": uid, "creationTimestamp": created,
                "annotations": { "deployment.kubernetes.io/revision": n.to_string() },
                "ownerReferences": [{ "uid": Uid::Uuid(30).to_string(), "controller": true }]
            },
            "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": image }] } } }
        })
    };
    let live = json!({
        "metadata": { "managedFields": [
            { "manager": "argocd-controller", "time": "2026-01-01T00:00:00Z", "fieldsV1": { "f:spec": { "f:replicas": {} } } },
            { "manager": "pilothouse", "time": "2026-01-02T00:00:00Z",
              "fieldsV1": { "f:spec": { "f:template": { "f:spec": { "f:containers": {} } } } } }
        ] },
        "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": "a:1" }] } } }
    });
    let on = target(Kind::Deployment, 30, "web");
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-01T09:00:00Z");
    let back = |cluster: &Cluster, holders: Vec<Value>| {
        let lookups =
            vec![here(&on, live.clone()), (Lookup::Revisions(on.clone()), LookupResult::Objects(holders))];
        let p = make(cluster, Act::Rollback { to_revision: None }, vec![on.clone()], lookups);
        assert_eq!((refused(&p), p.steps.len()), (vec![], 1));
        (p.warnings, p.confirm)
    };
    let left = vec![holder(3, "r1", "a:1", old), holder(2, "r2", "a:2", new)];
    let cluster = cluster();
    let (told, confirm) = back(&cluster, left.clone());
    let who = LastChange { manager: Some("pilothouse".into()), at: "2026-01-02T00:00:00Z".into() };
    assert_eq!(
        told,
        [
            Warning::NewerRevision { name: "web".into(), revision: 2, who },
            Warning::AppliedBy { name: "web".into(), manager: "argocd-controller".into() }
        ]
    );
    assert_eq!(confirm, Confirm::Context);
    // The first rollback goes to an older template.
    let (told, confirm) = back(&cluster, vec![holder(1, "r0", "a:0", old), holder(2, "r1", "a:1", new)]);
    assert!(!told.iter().any(|w| matches!(w, Warning::NewerRevision { .. })), "{told:?}");
    assert_eq!(confirm, Confirm::Suffix);
    // Only pods of the target's version logged the error.
    let mut logged = Cluster::clone(&cluster);
    for (version, asks) in [("2", Confirm::Context), ("0", Confirm::Context), ("1", Confirm::Suffix)] {
        let group = ErrorGroup {
            level: Level::Error,
            template: "boom <n>".into(),
            count: 7,
            workloads: Arc::from(["shop/web".into()]),
            versions: Arc::from([version.into()]),
            ..ErrorGroup::default()
        };
        logged.logs = Arc::new(Logs { groups: Arc::from([Arc::new(group)]), ..Logs::default() });
        let holders = if version == "2" {
            left.clone()
        } else {
            vec![holder(1, "r0", "a:0", old), holder(2, "r1", "a:1", new)]
        };
        let (told, confirm) = back(&logged, holders);
        let brings = told.iter().find_map(|w| match w {
            Warning::BringsBackError { template, count, .. } => Some((template.as_str(), *count)),
            _ => None,
        });
        assert_eq!(brings, (version != "1").then_some(("boom <n>", 7)), "{told:?}");
        assert_eq!(confirm, asks, "{version}");
    }
}
