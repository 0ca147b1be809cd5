//! Tests of each kind of failover and its revert.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{cluster, here, labels, make, refused, steps, warned};
use crate::domain::failover::{FailoverKind, FailoverPlan, Standby, Watched, WeightShift};
use crate::domain::id::{ClusterId, Kind, ObjectRef, Uid};
use crate::domain::plan::{
    Act, All, Confirm, Gate, Guard, Lookup, LookupResult, Plan, Refusal, StepKind, Warning,
};
use crate::domain::traffic::{BackendTraffic, ServiceTraffic, Share, Shares, TrafficSeen};
use crate::facts::world::{Cluster, TrafficRow};

fn way(kind: FailoverKind) -> FailoverPlan {
    FailoverPlan {
        name: "way".into(),
        kind,
        watched: None,
        soak_secs: 5,
        suggested: false,
        in_context: String::new(),
    }
}

fn go(cluster: &Cluster, way: FailoverPlan, revert: bool, lookups: Vec<(Lookup, LookupResult)>) -> Plan {
    make(cluster, Act::Failover { plan: Box::new(way), revert }, vec![], lookups)
}

#[test]
fn a_selector_moves_only_to_pods_that_are_ready() {
    let cluster = cluster();
    let on = ObjectRef::new(ClusterId(0), Kind::Service, &"shop".into(), &"color".into(), &Uid::default());
    let uid = Uid::Uuid(45).to_string();
    let live = |color: &str| {
        let selector = json!({ "app": "web", "color": color });
        vec![here(&on, json!({ "metadata": { "uid": uid }, "spec": { "selector": selector } }))]
    };
    let kind = |from: &str, to: &str| {
        let (from, to) = (labels(from), labels(to));
        way(FailoverKind::Selector { namespace: "shop".into(), service: "color".into(), from, to })
    };
    let there = || kind("color=blue", "color=green");
    let p = go(&cluster, there(), false, live("blue"));
    assert_eq!((refused(&p), p.confirm), (vec![], Confirm::Context));
    assert_eq!(
        steps(&p),
        [
            "selector color=blue to color=green color",
            "check that it is served by 1 or more of app=web,color=green color",
            "wait 5 s color"
        ]
    );
    assert_eq!(p.steps[0].on.uid, Uid::Uuid(45), "pinned to what was read");
    assert_eq!((p.services[0].ready_before, p.services[0].ready_after), (2, 1));
    assert!(p.warnings.contains(&Warning::FewerBackends { ready: 1, before: 2 }), "{:?}", p.warnings);
    let p = go(&cluster, there(), true, live("green"));
    assert_eq!(steps(&p)[0], "selector color=green to color=blue color");
    for (plan, lookups, code) in [
        (kind("color=blue", "color=red"), live("blue"), "no-ready-pod"),
        (there(), live("red"), "other-selector"),
        (there(), vec![], "object-not-read"),
        (there(), vec![(live("x")[0].0.clone(), LookupResult::Absent)], "object-missing"),
    ] {
        let p = go(&cluster, plan, false, lookups);
        assert_eq!(refused(&p), [code]);
    }
    let p = go(&cluster, there(), false, live("green"));
    assert_eq!((p.steps.len(), refused(&p), warned(&p)[0]), (0, vec![], "selected-already"));
}

fn shift(kind: &str, to: &str) -> WeightShift {
    WeightShift {
        kind: Kind::parse(kind),
        namespace: "shop".into(),
        route: "r".into(),
        from: "web".into(),
        to: to.into(),
        steps: vec![25, 100],
    }
}

fn traefik(from: (&str, i64), to: (&str, i64)) -> Value {
    let services = json!([{ "name": from.0, "weight": from.1 }, { "name": to.0, "weight": to.1 }]);
    json!({ "metadata": { "uid": "u" }, "spec": { "weighted": { "services": services } } })
}

#[test]
fn weights_move_in_steps_with_a_look_after_each() {
    let cluster = cluster();
    let plan = |kind: &str, to: &str, revert: bool, live: Value| {
        let shift = shift(kind, to);
        let lookups = vec![here(&shift.object(ClusterId(0)), live)];
        go(&cluster, way(FailoverKind::Weight(shift)), revert, lookups)
    };
    let p = plan("TraefikService", "all", false, traefik(("web", 100), ("all", 0)));
    assert_eq!(refused(&p), [""; 0]);
    assert_eq!(
        steps(&p),
        [
            "weight web:all from 100:0 to 75:25 r",
            "wait 5 s r",
            "weight web:all from 75:25 to 0:100 r",
            "wait 5 s r"
        ]
    );
    assert_eq!(p.undo, "weight web:all back to 100:0");
    assert_eq!(p.kubectl, "pilothouse failover way --context test");
    assert_eq!(p.diff, ["  now: web weight 100", "  now: all weight 0"]);
    // The revert runs in one step.
    let p = plan("TraefikService", "all", true, traefik(("web", 0), ("all", 100)));
    assert_eq!(steps(&p), ["weight all:web from 100:0 to 0:100 r", "wait 5 s r"]);
    assert_eq!(p.kubectl, "pilothouse failover way --revert --context test");
    // The controllers of a gateway must accept each change.
    let backends = json!([{ "name": "web", "weight": 100 }, { "name": "all", "weight": 0 }]);
    let route = json!({ "metadata": { "uid": "u" }, "spec": { "rules": [{ "backendRefs": backends }] } });
    let p = plan("HTTPRoute", "all", false, route);
    assert_eq!(p.steps.iter().filter(|s| s.what == StepKind::Check(Gate::RouteAccepted)).count(), 2);
    let p = plan("TraefikService", "none", false, traefik(("web", 1), ("none", 0)));
    let none = Refusal::NoReadyEndpoint { namespace: "shop".into(), service: "none".into() };
    assert_eq!(p.refusals, [none]);
    let p = plan("TraefikService", "gone", false, traefik(("web", 1), ("all", 0)));
    assert_eq!(refused(&p), ["no-such-backends"]);
    let words = p.refusals[0].to_string();
    assert!(words.ends_with(" has no rule with both web and gone; its backends are web, all"), "{words}");
    let p = plan("TraefikService", "outside", false, traefik(("web", 1), ("outside", 0)));
    assert_eq!(refused(&p), [""; 0], "what is outside of the cluster has no endpoints in it");
    assert_eq!(warned(&p)[0], "outside-cluster");
    // A second run may start half way or at the end. It moves no traffic back to the failing backend.
    let p = plan("TraefikService", "all", false, traefik(("web", 50), ("all", 50)));
    assert_eq!(steps(&p), ["weight web:all from 50:50 to 0:100 r", "wait 5 s r"]);
    let p = plan("TraefikService", "all", false, traefik(("web", 0), ("all", 7)));
    assert_eq!((steps(&p), warned(&p)[0]), (vec![], "weights-already"));
}

#[test]
fn a_shift_to_the_worse_backend_warns() {
    let mut cluster = Cluster::clone(&cluster());
    let measured = |name: &str, error_ratio: f64| {
        let backend = BackendTraffic {
            name: name.into(),
            rps: Some(50.0),
            error_ratio: Some(error_ratio),
            ..BackendTraffic::default()
        };
        let traffic = ServiceTraffic {
            namespace: "shop".into(),
            name: name.into(),
            window_secs: 60,
            backends: [backend].into(),
            ..ServiceTraffic::default()
        };
        let shares = Shares { backends: vec![Share::default()], ..Shares::default() };
        Arc::new(TrafficRow { traffic: Arc::new(traffic), shares, ..TrafficRow::default() })
    };
    cluster.derived.traffic = [measured("web", 0.001), measured("all", 0.2)].into();
    let said = |from: &str, to: &str| {
        let shift = WeightShift { from: from.into(), ..shift("TraefikService", to) };
        let lookups = vec![here(&shift.object(ClusterId(0)), traefik((from, 90), (to, 10)))];
        let p = go(&cluster, way(FailoverKind::Weight(shift)), false, lookups);
        let worse = p.warnings.iter().find(|w| matches!(w, Warning::CanaryWorse { .. }));
        worse.map(ToString::to_string)
    };
    assert_eq!(
        said("web", "all").as_deref(),
        Some("this moves requests to the worse backend: all is worse than web: errors 20 % against 0.1 %")
    );
    assert_eq!(said("all", "web"), None);
}

#[test]
fn errors_that_are_there_already_do_not_stop_it() {
    let mut cluster = Cluster::clone(&cluster());
    let watched = Watched { namespace: "shop".into(), service: "web".into(), max_error_percent: 5.0 };
    let limit = |cluster: &Cluster| {
        let shift = shift("TraefikService", "all");
        let lookups = vec![here(&shift.object(ClusterId(0)), traefik(("web", 100), ("all", 0)))];
        let way = FailoverPlan { watched: Some(watched.clone()), ..way(FailoverKind::Weight(shift)) };
        let p = go(cluster, way, false, lookups);
        let Act::Failover { plan, .. } = &p.intent.act else { panic!("{p:?}") };
        let in_soak = p.steps.iter().find_map(|s| match &s.what {
            StepKind::Check(Gate::Soak { watched, .. }) => watched.clone(),
            _ => None,
        });
        assert_eq!(plan.watched, in_soak, "one limit for the steps and between them");
        let known = p.warnings.iter().any(|w| matches!(w, Warning::Watched { .. }));
        let unknown = p.warnings.iter().any(|w| matches!(w, Warning::WatchedUnknown { .. }));
        assert_ne!(known, unknown, "{:?}", p.warnings);
        (plan.watched.as_ref().unwrap().max_error_percent, known)
    };
    let unknown = limit(&cluster);
    assert!((unknown.0 - 5.0).abs() < 1e-9 && !unknown.1, "{unknown:?}");
    for (ratio, wanted) in [(0.0, 5.0), (0.049, 5.0), (0.3, 35.0), (1.0, 105.0)] {
        let row = ServiceTraffic {
            namespace: "shop".into(),
            name: "web".into(),
            error_ratio: Some(ratio),
            ..ServiceTraffic::default()
        };
        cluster.traffic =
            Arc::new(TrafficSeen { services: Arc::from([Arc::new(row)]), ..TrafficSeen::default() });
        let (got, known) = limit(&cluster);
        assert!((got - wanted).abs() < 1e-9 && known, "{ratio}: {got}");
    }
}

#[test]
fn a_standby_is_up_before_anything_moves_and_this_goes_down_last() {
    let cluster = cluster();
    let on = ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &"web".into(), &Uid::default());
    let live = |replicas: i64, image: &str| {
        let template = json!({ "spec": { "containers": [{ "image": image }] } });
        LookupResult::Objects(vec![
            json!({ "metadata": { "uid": "u" }, "spec": { "replicas": replicas, "template": template } }),
        ])
    };
    let lookup = |context: &str| Lookup::Object { context: context.into(), on: on.clone() };
    let plan = |here_: LookupResult, there: LookupResult, moves: Option<WeightShift>, revert: bool| {
        let mut lookups = vec![(lookup(""), here_), (lookup("dr"), there)];
        if let Some(shift) = &moves {
            let weights = if revert { (0, 100) } else { (100, 0) };
            let (from, to) = (shift.from.as_str(), shift.to.as_str());
            lookups.push(here(&shift.object(ClusterId(0)), traefik((from, weights.0), (to, weights.1))));
        }
        let workloads = vec![(Kind::Deployment, "shop".into(), "web".into())];
        let standby = Standby { context: "dr".into(), workloads, shift: moves, scale_down: true };
        go(&cluster, way(FailoverKind::Standby(standby)), revert, lookups)
    };
    let placed = |p: &Plan| -> Vec<String> {
        p.steps.iter().filter(|s| !s.is_check()).map(|s| format!("{}@{}", s.what, s.context)).collect()
    };
    let p = plan(live(3, "a:1"), live(1, "a:2"), None, false);
    assert_eq!(
        (placed(&p), p.confirm),
        (vec!["scale 1 to 3@dr".into(), "scale 3 to 0@".into()], Confirm::Context)
    );
    let differ = Warning::ImagesDiffer {
        on: on.clone(),
        images: All(vec!["a:1".into()]),
        context: "test".into(),
        others: All(vec!["a:2".into()]),
        other: "dr".into(),
    };
    assert!(p.warnings.contains(&differ), "{:?}", p.warnings);
    let own = Standby { context: "test".into(), workloads: Vec::new(), shift: None, scale_down: false };
    let none = go(&cluster, way(FailoverKind::Standby(own)), false, Vec::new());
    assert_eq!((refused(&none), none.steps.len()), (vec!["standby-is-here"], 0));
    // No workload may be scaled down here, because the plan cannot tell that the traffic has left.
    assert_eq!(refused(&p), ["scale-down-needs-route"]);
    let p = plan(live(3, "a:1"), live(3, "a:1"), Some(shift("TraefikService", "outside")), false);
    assert_eq!(placed(&p).last().map(String::as_str), Some("scale 3 to 0@"));
    assert!(!placed(&p)[0].starts_with("scale"), "it is up already: {:?}", placed(&p));
    // In the revert, the pods here must be ready before the traffic comes, because they were scaled to 0.
    let mut none = shift("TraefikService", "outside");
    none.from = "none".into();
    let p = plan(live(0, "a:1"), live(3, "a:1"), Some(none), true);
    assert_eq!(refused(&p), [""; 0]);
    let kinds: Vec<String> = p.steps.iter().map(|s| format!("{}@{}", s.what, s.context)).collect();
    assert_eq!(kinds[0], "scale 0 to 3@");
    assert_eq!(kinds[1], "check that 3 of its pods are ready@");
    assert!(kinds[2].starts_with("check that it is served by 1 or more of app=none"), "{kinds:?}");
    assert!(kinds[3].starts_with("weight outside:none"), "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("scale 3 to 0@dr"));
    // The traffic comes when the pods that the plan starts are there.
    let all = WeightShift { from: "all".into(), ..shift("TraefikService", "outside") };
    let p = plan(live(1, "a:1"), live(3, "a:1"), Some(all), true);
    let ready: Vec<_> = p.services.iter().map(|s| (s.name.as_str(), s.ready_before, s.ready_after)).collect();
    assert_eq!(ready, [("all", 3, 5)]);
    for (there, guard, said) in [
        (LookupResult::Absent, Guard::Precondition, "shop/deploy/web does not exist in dr"),
        // The error text of the server decides nothing.
        (
            LookupResult::Unread("it is not there".into()),
            Guard::IncompleteData,
            "shop/deploy/web in dr cannot be read: it is not there",
        ),
    ] {
        let p = plan(live(3, "a:1"), there, None, false);
        assert_eq!((p.refusals[0].guard(), p.refusals[0].to_string().as_str()), (guard, said));
        assert!(p.steps.is_empty(), "{:?}", steps(&p));
    }
}
