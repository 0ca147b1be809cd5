//! Tests of the planners, by action: the requests, the refusals and the confirmations.

mod autoscaler;
mod failover;
mod guards;
mod out_of_service;
mod rollback;
mod stages;
mod watch;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{DataScope, PlanInput, lookups, plan};
use crate::domain::autoscaler::Hpa;
use crate::domain::id::{ClusterId, Kind, Name, ObjectRef, Owner, Uid, Version};
use crate::domain::node::{Condition, Node, Status};
use crate::domain::plan::{
    Act, Confirm, EvictOptions, Guard, Intent, Lookup, LookupResult, Lookups, Plan, Refusal, Step, StepKind,
    Warning,
};
use crate::domain::pod::{Phase, Pod, PodShape};
use crate::domain::scheduling::{Scheduling, Toleration};
use crate::domain::selector::Selector;
use crate::domain::service::{Endpoint, EndpointSlice, Service, ServiceType};
use crate::domain::settings::GuardSettings;
use crate::domain::time::Stamp;
use crate::domain::workload::Workload;
use crate::facts::event::{Batch, Fact};
use crate::facts::world::{Cluster, ClusterInfo};
use crate::state::ClusterState;

fn labels(text: &str) -> Vec<(Name, Name)> {
    text.split(',').filter_map(|p| p.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
}

fn pod(uid: u128, name: &str, text: &str, owner: Option<(Kind, u128)>) -> Pod {
    let shape = PodShape { labels: labels(text).into(), ..PodShape::default() };
    let owner = owner.map(|(kind, uid)| {
        Arc::new(Owner { kind, name: "o".into(), uid: Uid::Uuid(uid), group: "apps".into() })
    });
    Pod {
        uid: Uid::Uuid(uid),
        namespace: "shop".into(),
        name: name.into(),
        shape: Arc::new(shape),
        owner,
        phase: Phase::Running,
        ready: true,
        ..Pod::default()
    }
}

fn workload(kind: Kind, uid: u128, name: &str, selects: &str) -> Workload {
    Workload {
        kind,
        uid: Uid::Uuid(uid),
        namespace: "shop".into(),
        name: name.into(),
        replicas: 3,
        desired: 3,
        current: 3,
        updated: 3,
        ready: 3,
        available: 3,
        selector: Arc::new(Selector::from_labels(labels(selects))),
        template_labels: labels(selects).into(),
        ..Workload::default()
    }
}

fn service(uid: u128, name: &str, selects: &str) -> Service {
    Service {
        uid: Uid::Uuid(uid),
        namespace: "shop".into(),
        name: name.into(),
        selector: Arc::new(Selector::from_labels(labels(selects))),
        ..Service::default()
    }
}

fn slice(uid: u128, service: &str, pods: &[&str]) -> EndpointSlice {
    let endpoint = |name: &&str| Endpoint {
        address: (*name).into(),
        pod: Some((*name).into()),
        ready: true,
        serving: true,
        ..Endpoint::default()
    };
    EndpointSlice {
        uid: Uid::Uuid(uid),
        namespace: "shop".into(),
        name: format!("{service}-1").into(),
        service: service.into(),
        endpoints: pods.iter().map(endpoint).collect(),
        ..EndpointSlice::default()
    }
}

fn node(uid: u128, name: &str, ready: Status) -> Node {
    let condition =
        Condition { kind: "Ready".into(), status: ready, reason: "".into(), message: "".into(), since: None };
    Node { uid: Uid::Uuid(uid), name: name.into(), conditions: Arc::from([condition]), ..Node::default() }
}

fn whole<T>(rows: Vec<T>, fact: fn(Batch<T>) -> Fact) -> [Fact; 3] {
    let end = Batch::End { generation: 1, version: Version(1) };
    [fact(Batch::Begin { generation: 1 }), fact(Batch::Upsert(rows)), fact(end)]
}

/// Returns a pod on the dead node `off`.
fn on_the_dead(uid: u128, name: &str, tolerations: Box<[Toleration]>) -> Pod {
    let mut pod = pod(uid, name, "app=left", Some((Kind::DaemonSet, 22)));
    let scheduling = Arc::new(Scheduling { tolerations, ..Scheduling::default() });
    pod.shape = Arc::new(PodShape { scheduling, ..PodShape::clone(&pod.shape) });
    Pod { node: Some("off".into()), ..pod }
}

/// Returns a cluster with workload `web` and its pods `a` and `b`. Service `web` selects them by a label that no
/// controller selects by. Service `all` selects them only by a label of their controller.
fn cluster() -> Arc<Cluster> {
    let mut state = ClusterState::new(ClusterInfo { context: "test".into(), ..ClusterInfo::default() });
    let rs = || Some((Kind::ReplicaSet, 20));
    let mut scratch = pod(3, "scratch", "app=job", None);
    scratch.shape = Arc::new(PodShape { empty_dir: true, ..PodShape::clone(&scratch.shape) });
    let pods = vec![
        pod(1, "a", "app=web,in=yes,color=blue", rs()),
        pod(2, "b", "app=web,in=yes,color=blue", rs()),
        scratch,
        Pod { mirror: true, ..pod(4, "static", "app=proxy", None) },
        pod(5, "db-0", "app=db", Some((Kind::StatefulSet, 21))),
        pod(6, "g", "app=web,color=green", rs()),
        on_the_dead(7, "left", [].into()),
        on_the_dead(8, "stays", [Toleration { exists: true, ..Toleration::default() }].into()),
    ];
    let paused = Workload { paused: true, ..workload(Kind::Deployment, 31, "held", "app=held") };
    let moving = Workload { updated: 1, ..workload(Kind::Deployment, 32, "moving", "app=moving") };
    let outside = Service { kind: ServiceType::ExternalName, ..service(44, "outside", "") };
    let hpa = Hpa {
        uid: Uid::Uuid(60),
        namespace: "shop".into(),
        name: "h".into(),
        target_name: "web".into(),
        min: 2,
        max: 5,
        current: Some(4),
        ..Hpa::default()
    };
    let keda = Hpa { uid: Uid::Uuid(61), name: "k".into(), keda: true, ..hpa.clone() };
    let services = vec![
        service(40, "web", "app=web,in=yes"),
        service(41, "all", "app=web"),
        service(42, "db", "app=db"),
        service(43, "none", "app=none"),
        outside,
        service(45, "color", "app=web,color=blue"),
    ];
    let slices = vec![
        slice(50, "web", &["a", "b"]),
        slice(51, "all", &["a", "b", "g"]),
        slice(52, "db", &["db-0"]),
        slice(53, "color", &["a", "b"]),
    ];
    let up = Node { allocatable_pods: 10, ..node(10, "up", Status::True) };
    let nodes = vec![up, node(11, "off", Status::False)];
    let facts = whole(pods, Fact::Pods)
        .into_iter()
        .chain(whole(vec![workload(Kind::ReplicaSet, 20, "web-1", "app=web,hash=1")], Fact::ReplicaSets))
        .chain(whole(vec![workload(Kind::StatefulSet, 21, "db", "app=db")], Fact::StatefulSets))
        .chain(whole(
            vec![workload(Kind::Deployment, 30, "web", "app=web"), paused, moving],
            Fact::Deployments,
        ))
        .chain(whole(services, Fact::Services))
        .chain(whole(slices, Fact::EndpointSlices))
        .chain(whole(vec![hpa, keda], Fact::Hpas))
        .chain(whole(nodes, Fact::Nodes));
    for fact in facts {
        state.apply(fact, Stamp(0));
    }
    state.publish(Stamp(0), false).unwrap()
}

fn target(kind: Kind, uid: u128, name: &str) -> ObjectRef {
    let namespace = if kind == Kind::Node { "" } else { "shop" };
    ObjectRef::new(ClusterId(0), kind, &namespace.into(), &name.into(), &Uid::Uuid(uid))
}

fn here(on: &ObjectRef, live: Value) -> (Lookup, LookupResult) {
    (Lookup::Object { context: "".into(), on: on.clone() }, LookupResult::Objects(vec![live]))
}

fn make(cluster: &Cluster, act: Act, targets: Vec<ObjectRef>, lookups: Vec<(Lookup, LookupResult)>) -> Plan {
    let intent = Intent { cluster: ClusterId(0), context: "test".into(), act, targets };
    let (guards, lookups) = (GuardSettings::default(), Lookups(lookups));
    plan(
        PlanInput {
            cluster,
            guards: &guards,
            scope: DataScope::FullCluster,
            lookups: &lookups,
            now: Stamp(0),
        },
        &intent,
    )
}

/// Returns the steps in words.
fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|s| format!("{} {}", s.what, s.on.name)).collect()
}

/// Returns the codes of the warnings.
fn warned(plan: &Plan) -> Vec<&'static str> {
    plan.warnings.iter().map(Warning::code).collect()
}

/// Returns the codes of the refusals.
fn refused(plan: &Plan) -> Vec<&'static str> {
    plan.refusals.iter().map(Refusal::code).collect()
}

/// Returns the codes of the warnings and the refusals.
fn told(plan: &Plan) -> Vec<&'static str> {
    [warned(plan), refused(plan)].concat()
}

fn fields(step: &Step) -> Vec<(&str, &Value, &Value)> {
    let StepKind::Change(change) = &step.what else { panic!("{step:?}") };
    change.fields.iter().map(|f| (f.pointer.as_str(), &f.from, &f.to)).collect()
}

#[test]
fn only_a_deployment_is_paused_and_only_once() {
    let cluster = cluster();
    for (act, kind, uid, name, sent, codes) in [
        (Act::PauseRollout, Kind::Deployment, 30, "web", 1, vec![]),
        (Act::PauseRollout, Kind::Deployment, 32, "moving", 1, vec!["stops-half-way"]),
        (Act::PauseRollout, Kind::Deployment, 31, "held", 0, vec!["paused-already"]),
        (Act::PauseRollout, Kind::StatefulSet, 21, "db", 0, vec!["only-deployments-pause"]),
        (Act::ResumeRollout, Kind::Deployment, 31, "held", 1, vec![]),
        (Act::ResumeRollout, Kind::Deployment, 30, "web", 0, vec!["resumed-already"]),
        (Act::PauseRollout, Kind::Deployment, 99, "web", 0, vec!["gone"]),
    ] {
        let p = make(&cluster, act.clone(), vec![target(kind, uid, name)], vec![]);
        assert_eq!((p.steps.len(), told(&p)), (sent, codes), "{act:?} {name}");
        if sent == 1 {
            let (yes, no) = (json!(true), json!(null));
            let (from, to) = if act == Act::PauseRollout { (&no, &yes) } else { (&yes, &no) };
            assert_eq!(fields(&p.steps[0]), [("/spec/paused", from, to)]);
            assert_eq!(p.confirm, Confirm::Yes);
        }
    }
}

#[test]
fn bounds_are_checked_and_lowering_asks_for_more() {
    let cluster = cluster();
    let go = |now, going| Some(Warning::ReplicasGo { now, going });
    let start = |now, more| Some(Warning::ReplicasStart { now, more });
    let already = || Some(Warning::BoundsAlready { hpa: "h".into() });
    let no = |min, max| Some(Refusal::NoBounds { min, max });
    for (min, max, sent, confirm, warning, refusal) in [
        (None, Some(9), 1, Confirm::Yes, None, None),
        (Some(3), None, 1, Confirm::Yes, None, None),
        (Some(6), Some(9), 1, Confirm::Yes, start(4, 2), None),
        (None, Some(3), 1, Confirm::Suffix, go(4, 1), None),
        (Some(1), None, 1, Confirm::Suffix, None, None),
        (Some(2), Some(5), 0, Confirm::Yes, already(), None),
        (Some(6), None, 0, Confirm::Yes, None, no(6, 5)),
        (Some(-1), None, 0, Confirm::Yes, None, no(-1, 5)),
        (Some(0), Some(0), 0, Confirm::Yes, None, no(0, 0)),
    ] {
        let on = vec![target(Kind::HorizontalPodAutoscaler, 60, "h")];
        let p = make(&cluster, Act::Bounds { min, max }, on, vec![]);
        assert_eq!((p.steps.len(), p.confirm), (sent, confirm), "{min:?}-{max:?}: {:?}", told(&p));
        assert_eq!(
            (p.warnings, p.refusals),
            (warning.into_iter().collect(), refusal.into_iter().collect()),
            "{min:?}-{max:?}"
        );
    }
    let on = vec![target(Kind::HorizontalPodAutoscaler, 61, "k")];
    let p = make(&cluster, Act::Bounds { min: None, max: Some(9) }, on, vec![]);
    assert_eq!(fields(&p.steps[0]), [("/spec/maxReplicas", &json!(5), &json!(9))], "only what changes");
    assert_eq!(warned(&p), ["keda-reverts"]);
}

#[test]
fn wider_bounds_say_whether_there_is_room_for_what_they_ask() {
    let cluster = cluster();
    let full = json!({ "metadata": { "name": "q" }, "status": { "hard": { "pods": "9" }, "used": { "pods": "6" } } });
    let raise = |min: Option<i32>, max: Option<i32>| {
        let on = vec![target(Kind::HorizontalPodAutoscaler, 60, "h")];
        let quotas = (Lookup::Quotas("shop".into()), LookupResult::Objects(vec![full.clone()]));
        make(&cluster, Act::Bounds { min, max }, on, vec![quotas])
    };
    // The one node has room for ten pods, and three pods exist.
    let p = raise(None, Some(20));
    assert!(
        matches!(
            p.warnings[..],
            [
                Warning::QuotaFull { resource: "pods", fit: 3, more: 17, .. },
                Warning::NoNode { replicas: 20, pods: 7, more: 17, .. }
            ]
        ),
        "{:?}",
        p.warnings
    );
    assert_eq!(p.confirm, Confirm::Suffix);
    let p = raise(None, Some(6));
    assert_eq!((p.warnings.as_slice(), p.confirm), ([].as_slice(), Confirm::Yes));
    let p = raise(Some(1), None);
    assert_eq!(warned(&p), [""; 0], "nothing more is asked");
    let on = vec![target(Kind::HorizontalPodAutoscaler, 60, "h")];
    let intent = Intent {
        cluster: ClusterId(0),
        context: "test".into(),
        act: Act::Bounds { min: None, max: Some(20) },
        targets: on,
    };
    assert_eq!(lookups(&cluster, &intent), [Lookup::Quotas("shop".into())]);
}

#[test]
fn an_eviction_says_what_does_not_come_back() {
    let cluster = cluster();
    for (uid, name, delete, step, codes) in [
        (1, "a", false, "evict a", vec!["burdened", "not-readable"]),
        (1, "a", true, "delete a", vec!["burdened", "budgets-not-asked"]),
        (3, "scratch", false, "evict scratch", vec!["no-controller", "empty-dir-lost", "not-readable"]),
        (4, "static", false, "evict static", vec!["not-readable", "static-pod"]),
        (7, "left", false, "evict left", vec!["node-not-ready", "not-readable"]),
    ] {
        let act = Act::Evict(EvictOptions { delete, grace_period: 7 });
        let p = make(&cluster, act, vec![target(Kind::Pod, uid, name)], vec![]);
        assert_eq!((steps(&p), told(&p)), (vec![step.to_owned()], codes), "{name}");
        assert_eq!(p.refusals.is_empty(), name != "static", "{name}");
        assert_eq!(p.confirm, Confirm::Suffix);
        let grace = match p.steps[0].what {
            StepKind::Evict { grace_period } | StepKind::Delete { grace_period } => grace_period,
            _ => 0,
        };
        assert_eq!(grace, 7);
    }
    let two = vec![target(Kind::Pod, 1, "a"), target(Kind::Pod, 2, "b")];
    assert_eq!(make(&cluster, Act::Evict(EvictOptions::default()), two, vec![]).answer, "2");
}

#[test]
fn a_pod_loses_as_few_labels_as_it_can() {
    let cluster = cluster();
    let live = |p: &ObjectRef| here(p, json!({ "metadata": { "labels": { "app": "web", "in": "yes" } } }));
    let out = |service: &str, pods: &[ObjectRef]| {
        let act = Act::OutOfRotation { service: service.into() };
        make(&cluster, act, pods.to_vec(), pods.iter().map(live).collect())
    };
    let (a, b) = (target(Kind::Pod, 1, "a"), target(Kind::Pod, 2, "b"));
    let p = out("web", std::slice::from_ref(&a));
    assert_eq!((told(&p), p.confirm), (vec![], Confirm::Suffix));
    assert_eq!(
        fields(&p.steps[0]),
        [
            ("/metadata/labels/in", &json!("yes"), &json!(null)),
            (
                "/metadata/annotations/pilothouse.dev~1out-of-rotation",
                &json!(null),
                &json!(r#"{"in":"yes"}"#)
            ),
        ]
    );
    assert_eq!((p.services[0].ready_before, p.services[0].ready_after), (2, 1));
    // No label is free to remove, so the pod leaves its controller too.
    let p = out("all", std::slice::from_ref(&a));
    assert_eq!(warned(&p), ["leaves-controller"]);
    assert_eq!(fields(&p.steps[0])[0].0, "/metadata/labels/app");
    // These are the last two backends.
    let p = out("web", &[a.clone(), b]);
    assert_eq!((p.confirm, p.services[0].ready_after), (Confirm::Context, 0));
    for (service, uid, name, code) in [
        ("nowhere", 1, "a", "service-missing"),
        ("db", 1, "a", "not-selected"),
        ("none", 1, "a", "not-selected"),
        ("outside", 1, "a", "not-selected"),
        ("db", 5, "db-0", "shared-identity"),
        ("web", 99, "a", "gone"),
    ] {
        let p = out(service, &[target(Kind::Pod, uid, name)]);
        assert_eq!(refused(&p), [code], "{service} {name}");
    }
    let unread = make(&cluster, Act::OutOfRotation { service: "web".into() }, vec![a], vec![]);
    assert_eq!(refused(&unread), ["target-not-read"]);
    assert_eq!(unread.refusals[0].guard(), Guard::IncompleteData);
}

#[test]
fn a_pod_gets_back_what_was_taken() {
    let cluster = cluster();
    let a = target(Kind::Pod, 1, "a");
    let back = |live: Value| make(&cluster, Act::IntoRotation, vec![a.clone()], vec![here(&a, live)]);
    let taken = json!({ "pilothouse.dev/out-of-rotation": r#"{"in":"yes"}"# });
    let p = back(json!({ "metadata": { "labels": { "app": "web" }, "annotations": taken } }));
    assert_eq!(fields(&p.steps[0])[0], ("/metadata/labels/in", &json!(null), &json!("yes")));
    assert_eq!((p.confirm, fields(&p.steps[0])[1].2), (Confirm::Yes, &json!(null)));
    let p = back(json!({ "metadata": { "labels": { "in": "other" }, "annotations": taken } }));
    assert_eq!(refused(&p), ["other-label"]);
    assert_eq!(p.refusals[0].to_string(), r#"a now has label in="other", not "yes""#);
    let p = back(json!({ "metadata": { "labels": {} } }));
    assert_eq!(refused(&p), ["never-taken-out"]);
}
