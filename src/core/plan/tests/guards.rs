//! Tests of the parts that all plans share: guards, confirmations, changes in a second rehearsal, undo and resume.

use std::sync::Arc;

use super::super::*;
use crate::domain::autoscaler::Hpa;
use crate::domain::id::{ClusterId, Uid, Version};
use crate::domain::node::Node;
use crate::domain::plan::{
    Beyond, Burden, DrainOptions, Few, Guard, InContext, Reason, RevisionRef, ScaleBy,
};
use crate::domain::workload::Workload;
use crate::facts::event::{Batch, Fact};
use crate::facts::world::ClusterInfo;
use crate::state::ClusterState;

fn cluster() -> Arc<Cluster> {
    let mut state = ClusterState::new(ClusterInfo { context: "test".into(), ..ClusterInfo::default() });
    let deployment = Workload {
        uid: Uid::Uuid(1),
        version: Version(7),
        namespace: "shop".into(),
        name: "checkout".into(),
        replicas: 3,
        desired: 3,
        ready: 3,
        updated: 3,
        current: 3,
        available: 3,
        ..Workload::default()
    };
    let hpa = Hpa {
        uid: Uid::Uuid(2),
        namespace: "shop".into(),
        name: "h".into(),
        target_name: "checkout".into(),
        min: 2,
        max: 5,
        ..Hpa::default()
    };
    let nodes = (0..3).map(|i| Node {
        uid: Uid::Uuid(10 + i),
        name: format!("node-{i:04}").into(),
        ..Node::default()
    });
    for fact in [
        Fact::Deployments(Batch::Upsert(vec![deployment])),
        Fact::Hpas(Batch::Upsert(vec![hpa])),
        Fact::Nodes(Batch::Begin { generation: 1 }),
        Fact::Nodes(Batch::Upsert(nodes.collect())),
        Fact::Nodes(Batch::End { generation: 1, version: Version(1) }),
    ] {
        state.apply(fact, Stamp(0));
    }
    state.publish(Stamp(0), false).unwrap()
}

fn intent(act: Act, kind: Kind, uid: u128, name: &str) -> Intent {
    let namespace = if kind == Kind::Node { "" } else { "shop" };
    Intent {
        cluster: ClusterId(0),
        context: "test".into(),
        act,
        targets: vec![ObjectRef::new(ClusterId(0), kind, &namespace.into(), &name.into(), &Uid::Uuid(uid))],
    }
}

fn make(intent: &Intent) -> Plan {
    make_with(intent, &GuardSettings::default())
}

fn make_with(intent: &Intent, guards: &GuardSettings) -> Plan {
    let (cluster, lookups) = (cluster(), Lookups::default());
    let input = PlanInput {
        cluster: &cluster,
        guards,
        scope: DataScope::FullCluster,
        lookups: &lookups,
        now: Stamp(0),
    };
    plan(input, intent)
}

fn scale_to(replicas: i32, seen: Option<i32>) -> Plan {
    let by = ScaleBy { replicas, current_replicas: seen };
    make(&intent(Act::Scale(by), Kind::Deployment, 1, "checkout"))
}

#[test]
fn a_cluster_that_no_kubeconfig_has_is_named_by_its_address() {
    let mut cluster = Cluster::clone(&cluster());
    let server = "http://127.0.0.1:1/as/admin";
    cluster.info = Arc::new(ClusterInfo {
        server: server.into(),
        by_address: true,
        ..ClusterInfo::clone(&cluster.info)
    });
    let intent = intent(Act::Restart, Kind::Deployment, 1, "checkout");
    let p = plan(
        PlanInput {
            cluster: &cluster,
            guards: &GuardSettings::default(),
            scope: DataScope::FullCluster,
            lookups: &Lookups::default(),
            now: Stamp(0),
        },
        &intent,
    );
    assert_eq!(p.kubectl, format!("kubectl --server {server} -n shop rollout restart deploy/checkout"));
}

#[test]
fn a_confirmation_grows_with_the_blast_radius() {
    assert_eq!(scale_to(5, None).confirm, Confirm::Yes);
    assert_eq!((scale_to(2, None).confirm, scale_to(2, None).answer), (Confirm::Suffix, "kout".into()));
    assert_eq!((scale_to(0, None).confirm, scale_to(0, None).answer), (Confirm::Context, "test".into()));
    let guards = GuardSettings { protected_namespaces: vec!["shop".into()], ..GuardSettings::default() };
    let by = ScaleBy { replicas: 5, current_replicas: None };
    let raised = make_with(&intent(Act::Scale(by), Kind::Deployment, 1, "checkout"), &guards);
    assert_eq!(raised.confirm, Confirm::Suffix);
    let by = ScaleBy { replicas: 1, current_replicas: None };
    let down = intent(Act::Scale(by), Kind::Deployment, 1, "checkout");
    let raised = make_with(&down, &guards);
    assert_eq!(raised.answer, "test", "the number of one object would be a weaker question than its name");
}

#[test]
fn scale_has_a_precondition_and_names_the_autoscaler() {
    let p = scale_to(9, Some(4));
    assert!(
        matches!(p.refusals[..], [Refusal::OtherReplicas { replicas: 3, seen: 4, .. }]),
        "{:?}",
        p.refusals
    );
    assert!(p.steps.is_empty());
    let p = scale_to(9, Some(3));
    assert!(p.refusals.is_empty());
    assert!(matches!(p.warnings[0], Warning::AutoscalerMaximum { max: 5, .. }), "{:?}", p.warnings);
    assert_eq!(
        p.kubectl,
        "kubectl --context test -n shop scale deploy/checkout --replicas 9 --current-replicas 3"
    );
}

#[test]
fn another_object_of_the_same_name_is_not_the_target() {
    let p = make(&intent(Act::Restart, Kind::Deployment, 99, "checkout"));
    assert!(p.steps.is_empty());
    assert!(matches!(p.refusals[..], [Refusal::Gone { .. }]), "{:?}", p.refusals);
}

#[test]
fn a_drain_over_incomplete_data_is_refused() {
    let p = make(&intent(Act::Drain(DrainOptions::default()), Kind::Node, 10, "node-0000"));
    let unknown: Vec<_> = p.refusals.iter().map(|r| (r.code(), r.guard())).collect();
    assert_eq!(unknown, [("table-incomplete", Guard::IncompleteData); 3]);
    assert_eq!(p.answer, "0000");
}

#[test]
fn read_only_refuses_everything() {
    let guards = GuardSettings { read_only: true, ..GuardSettings::default() };
    for act in [Act::Cordon, Act::Uncordon, Act::Restart, Act::Drain(DrainOptions::default())] {
        let p = make_with(&intent(act, Kind::Node, 10, "node-0000"), &guards);
        assert!(p.refusals.contains(&Refusal::ReadOnly));
    }
}

#[test]
fn a_second_cordoned_node_of_three_asks_for_the_context() {
    let mut i = intent(Act::Cordon, Kind::Node, 10, "node-0000");
    assert_eq!(make(&i).confirm, Confirm::Yes);
    i.targets.push(ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &"node-0001".into(), &Uid::Uuid(11)));
    assert_eq!(make(&i).confirm, Confirm::Context);
}

#[test]
fn denied_rights_refuse() {
    let p = scale_to(5, None);
    let needed = access(&p, "").remove(0);
    assert_eq!(needed.to_string(), "patch deployments/scale.apps in shop");
    let denied = Refusal::Denied { access: needed, context: InContext::default(), reason: Reason::default() };
    let p = apply_server_checks(p, ServerChecks { refusals: vec![denied], ..ServerChecks::default() });
    assert_eq!(p.refusals[0].guard(), Guard::Rbac);
    assert_eq!(p.refusals[0].words(), "no permission: you may not patch deployments/scale.apps in shop");
}

#[test]
fn what_moves_by_itself_is_no_other_plan_and_what_is_worse_is() {
    use crate::domain::failover::Watched;
    use crate::domain::plan::{Gate, ServiceEffect, Unplaced};
    let on = ObjectRef::new(ClusterId(0), Kind::Service, &"shop".into(), &"web".into(), &Uid::Uuid(5));
    let made = |percent: f64, warning: Warning, left: u32, unplaced: &str, context: &str| {
        let mut p = scale_to(5, None);
        let watched = Watched { namespace: "shop".into(), service: "web".into(), max_error_percent: percent };
        let gate = Gate::Soak { secs: 30, watched: Some(watched) };
        p.steps.push(Step::new(StepKind::Check(gate), on.clone()));
        p.steps[0].context = context.into();
        p.warnings.push(warning);
        p.services.push(ServiceEffect {
            namespace: "shop".into(),
            name: "web".into(),
            ready_before: 10,
            ready_after: left,
            ..ServiceEffect::default()
        });
        let reason = "0 of 3 nodes".into();
        p.unplaced.push(Unplaced { namespace: "shop".into(), name: unplaced.into(), reason });
        p
    };
    let errors = |service: &str, percent: f64| Warning::Watched {
        namespace: "shop".into(),
        service: service.into(),
        limit: 5.0 + percent,
        percent,
    };
    let burdened = |services: &[(&str, f64)]| {
        let burden = |(service, rps): &(&str, f64)| Burden {
            service: (*service).into(),
            backends: (3, 2),
            rps: Some((*rps, rps * 1.5)),
        };
        Warning::Burdened { services: Few(services.iter().map(burden).collect()) }
    };
    let read = made(12.3, errors("web", 12.3), 9, "a", "");
    let beyond = |plan: &Plan| plan.goes_beyond(&read);
    assert_eq!(beyond(&made(12.9, errors("web", 12.9), 9, "a", "")), None);
    let rates = |services: &[(&str, f64)]| made(12.3, burdened(services), 9, "a", "");
    let (then, now) = (rates(&[("shop/web", 45.9)]), rates(&[("shop/web", 47.4)]));
    assert_eq!(now.goes_beyond(&then), None);
    for (worse, what) in [
        (made(12.3, errors("pay", 12.3), 9, "a", ""), Beyond::Warnings),
        // The message is the same, but it is about an object that was not in the plan that was read.
        (made(12.3, burdened(&[("shop/web", 1.0)]), 9, "a", ""), Beyond::Warnings),
        (made(12.3, errors("web", 12.3), 1, "a", ""), Beyond::Services),
        (made(12.3, errors("web", 12.3), 9, "b", ""), Beyond::Unplaced),
        (made(12.3, errors("web", 12.3), 9, "a", "dr"), Beyond::Steps),
    ] {
        assert_eq!(beyond(&worse), Some(what));
    }
    let mut refused = read.clone();
    refused.refusals.push(Refusal::ReadOnly);
    assert_eq!((beyond(&refused), read.goes_beyond(&refused)), (Some(Beyond::Warnings), None));
    // The version of an object changes with its status.
    let restart = |version| {
        let mut p = read.clone();
        p.steps[0].what = StepKind::Restart { version: Version(version) };
        p
    };
    assert_eq!(restart(8).goes_beyond(&restart(7)), None);
    // A Service that has got its pods back needs no new agreement.
    let mut poorer = rates(&[("data/catalog-db", 1.0), ("shop/inventory", 2.0)]);
    poorer.services[0].ready_before = 3;
    poorer.services[0].ready_after = 2;
    let mut richer = rates(&[("data/catalog-db", 1.0)]);
    richer.services[0].ready_before = 4;
    richer.services[0].ready_after = 3;
    assert_eq!((richer.goes_beyond(&poorer), poorer.goes_beyond(&richer)), (None, Some(Beyond::Warnings)));
}

#[test]
fn an_undo_asks_for_what_its_steps_do() {
    use crate::domain::plan::FieldChange;
    let on = ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &"node-0000".into(), &Uid::Uuid(10));
    let taints = serde_json::json!([{ "key": OUT_OF_SERVICE, "effect": "NoExecute" }]);
    let field = |from, to| FieldChange { pointer: "/spec/taints".into(), from, to };
    let of = |act: fn(Box<DerivedPlan>) -> Act,
              what: StepKind,
              on: &ObjectRef,
              live: serde_json::Value,
              targets: Vec<ObjectRef>| {
        let derived = DerivedPlan {
            of: "1".into(),
            title: "in-service".into(),
            steps: vec![Step::new(what, on.clone())],
            not_restored: "a pod does not move back".into(),
            confirm: Confirm::Suffix,
            watched: None,
            takes_back: false,
        };
        let lookup = Lookup::Object { context: Name::default(), on: on.clone() };
        let lookups = Lookups(vec![(lookup, LookupResult::Objects(vec![live]))]);
        let (cluster, guards) = (cluster(), GuardSettings::default());
        let input = PlanInput {
            cluster: &cluster,
            guards: &guards,
            scope: DataScope::FullCluster,
            lookups: &lookups,
            now: Stamp(0),
        };
        let intent =
            Intent { act: act(Box::new(derived)), targets, ..intent(Act::Cordon, Kind::Node, 10, "n") };
        plan(input, &intent)
    };
    let undo = |what: StepKind, on: &ObjectRef, live: serde_json::Value, targets: Vec<ObjectRef>| {
        of(Act::Undo, what, on, live, targets)
    };
    let node = |ready: &str| {
        serde_json::json!({
            "metadata": { "uid": on.uid.to_string() },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] }
        })
    };
    let change = Change { words: "taints".into(), fields: vec![field(serde_json::Value::Null, taints)] };
    let p = undo(StepKind::Change(change.clone()), &on, node("True"), vec![on.clone()]);
    assert_eq!(p.refusals, [Refusal::NodeIsReady { node: on.clone() }]);
    let p = undo(StepKind::Change(change), &on, node("Unknown"), vec![on.clone()]);
    assert_eq!((p.refusals.len(), p.confirm), (0, Confirm::Context));
    let p = undo(StepKind::Uncordon, &on, node("True"), vec![on.clone()]);
    let words = "nothing of in-service can be undone: it is undone already; a pod does not move back";
    assert_eq!((p.refusals[0].code(), p.refusals[0].to_string().as_str()), ("nothing-to-undo", words));
    let p = of(Act::Resume, StepKind::Uncordon, &on, node("True"), vec![on.clone()]);
    assert_eq!((p.steps.len(), p.refusals.len()), (0, 0), "a resume that finds all done has nothing to do");
    let web =
        ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &"checkout".into(), &Uid::Uuid(1));
    let live = serde_json::json!({ "metadata": { "uid": web.uid.to_string() }, "spec": { "replicas": 5 } });
    let p = undo(StepKind::Scale { from: 5, to: 0 }, &web, live.clone(), vec![web.clone()]);
    assert_eq!(p.confirm, Confirm::Context, "{:?}", p.refusals);
    let entry = |manager: &str| serde_json::json!({ "manager": manager, "fieldsV1": { "f:spec": { "f:replicas": {} } } });
    let by = |manager: &str, act: fn(Box<DerivedPlan>) -> Act| {
        let mut live = live.clone();
        live["metadata"]["managedFields"] = serde_json::json!([entry(manager)]);
        of(act, StepKind::Scale { from: 5, to: 3 }, &web, live, vec![web.clone()])
    };
    let own = by("pilothouse", Act::Undo);
    assert_eq!((own.refusals.len(), own.steps.len()), (0, 1));
    let rest = by("kubectl", Act::Resume);
    assert_eq!((rest.refusals.len(), rest.steps.len()), (0, 1), "what was not sent is nobody's change");
    let p = by("kubectl", Act::Undo);
    assert_eq!((p.refusals[0].code(), p.steps.len()), ("changed-since", 0));
    assert!(p.refusals[0].to_string().contains("kubectl has set it since"), "{:?}", p.refusals);
    // Without a name, there is no text to type. An empty answer would be Enter alone.
    let p = undo(StepKind::Scale { from: 5, to: 3 }, &web, live, Vec::new());
    assert_eq!((p.confirm, p.answer.as_str()), (Confirm::Context, "test"));
}

/// The facts of cluster 0 and of cluster 1, which have the same objects.
fn twins() -> [Arc<Cluster>; 2] {
    [ClusterId(0), ClusterId(1)].map(|id| {
        let of_one = cluster();
        let info = ClusterInfo { id, ..ClusterInfo::clone(&of_one.info) };
        Arc::new(Cluster { info: Arc::new(info), ..Cluster::clone(&of_one) })
    })
}

#[test]
fn an_intent_over_objects_of_two_clusters_is_refused_and_nothing_is_read() {
    let [a, b] = twins();
    let guards = GuardSettings::default();
    let planned = |facts: &Cluster, intent: &Intent| {
        let (lookups, now) = (Lookups::default(), Stamp(0));
        let input = PlanInput {
            cluster: facts,
            guards: &guards,
            scope: DataScope::FullCluster,
            lookups: &lookups,
            now,
        };
        plan(input, intent)
    };
    let in_cluster = |id, act: Act| {
        let mut i = intent(act, Kind::Node, 10, "node-0000");
        i.set_cluster(id);
        i
    };
    for (facts, id) in [(&a, ClusterId(0)), (&b, ClusterId(1))] {
        let made = planned(facts, &in_cluster(id, Act::Cordon));
        assert!(made.refusals.is_empty() && made.steps.len() == 1, "{:?}", made.refusals);
        assert_eq!(made.outside(id), None);
        assert_eq!(made.steps[0].on.cluster, id);
    }
    let mut of_both = in_cluster(ClusterId(0), Act::Cordon);
    of_both.targets.push(ObjectRef { cluster: ClusterId(1), ..of_both.targets[0].clone() });
    let of_b = Intent { cluster: ClusterId(0), ..in_cluster(ClusterId(1), Act::Cordon) };
    let step = Step::new(StepKind::Cordon, of_b.targets[0].clone());
    let recorded = DerivedPlan {
        of: "id".into(),
        title: "t".into(),
        steps: vec![step],
        not_restored: String::new(),
        confirm: Confirm::Yes,
        watched: None,
        takes_back: false,
    };
    let undo = in_cluster(ClusterId(0), Act::Cordon);
    let undo = Intent { act: Act::Undo(Box::new(recorded)), ..undo };
    for (facts, intent) in
        [(&a, &of_both), (&a, &of_b), (&a, &undo), (&b, &in_cluster(ClusterId(0), Act::Cordon))]
    {
        let made = planned(facts, intent);
        let codes: Vec<_> = made.refusals.iter().map(Refusal::code).collect();
        assert_eq!((codes, made.steps.len()), (vec!["other-cluster"], 0), "{intent:?}");
        assert!(
            made.refusals[0]
                .to_string()
                .starts_with("node/node-0000 is in another cluster than context test")
        );
        assert!(lookups(facts, intent).is_empty() && lookups_of_targets(facts, intent).is_none());
    }
}

#[test]
fn what_another_process_recorded_moves_to_the_number_of_its_cluster_here() {
    let node = ObjectRef::new(ClusterId(4), Kind::Node, &"".into(), &"n".into(), &Uid::Uuid(1));
    let revision = |number| RevisionRef { number, holder: node.clone() };
    let what = StepKind::Rollback { to: revision(1), from: revision(2) };
    let recorded = DerivedPlan {
        of: "id".into(),
        title: "t".into(),
        steps: vec![Step::new(what.clone(), node.clone())],
        not_restored: String::new(),
        confirm: Confirm::Yes,
        watched: None,
        takes_back: false,
    };
    let (act, targets) = (Act::Resume(Box::new(recorded)), vec![node.clone()]);
    let mut plan =
        Plan::new(Intent { cluster: ClusterId(4), context: "test".into(), act, targets }, Stamp(0));
    plan.steps.push(Step::new(what, node));
    assert_eq!(plan.outside(ClusterId(4)), None);
    assert!(plan.outside(ClusterId(1)).is_some());
    plan.set_cluster(ClusterId(1));
    assert_eq!((plan.intent.cluster, plan.outside(ClusterId(1))), (ClusterId(1), None));
    // what earlier versions wrote has no clusters
    let mut json = serde_json::to_value(&plan.steps[0].on).unwrap();
    json.as_object_mut().unwrap().remove("cluster").unwrap();
    let read: ObjectRef = serde_json::from_value(json).unwrap();
    assert_eq!(read, ObjectRef { cluster: ClusterId(0), ..plan.steps[0].on.clone() });
}
