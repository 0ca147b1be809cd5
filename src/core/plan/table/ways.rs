//! Failover: each kind of way, there and back.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{cluster, here, labels, make, refused, steps};
use crate::domain::failover::{FailoverKind, FailoverPlan, Standby, Watched, WeightShift};
use crate::domain::id::{Kind, ObjectRef, Uid};
use crate::domain::plan::{Act, Confirm, Found, Gate, Need, Plan, StepKind};
use crate::domain::traffic::{ServiceTraffic, TrafficSeen};
use crate::facts::world::Cluster;

fn way(kind: FailoverKind) -> FailoverPlan {
    FailoverPlan { name: "way".into(), kind, watched: None, soak_secs: 5, suggested: false }
}

fn go(cluster: &Cluster, way: FailoverPlan, revert: bool, extras: Vec<(Need, Found)>) -> Plan {
    make(cluster, Act::Failover { plan: Box::new(way), revert }, vec![], extras)
}

#[test]
fn a_selector_moves_only_to_pods_that_are_ready() {
    let cluster = cluster();
    let on = ObjectRef::new(Kind::Service, &"shop".into(), &"color".into(), &Uid::default());
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
    assert_eq!((refused(&p).as_str(), p.confirm), ("", Confirm::Context));
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
    assert!(p.warnings.iter().any(|w| w == "1 backends carry what 2 carry now"), "{:?}", p.warnings);
    let p = go(&cluster, there(), true, live("green"));
    assert_eq!(steps(&p)[0], "selector color=green to color=blue color");
    for (plan, extras, said) in [
        (kind("color=blue", "color=red"), live("blue"), "no pod with app=web,color=red is ready"),
        (there(), live("red"), "has color=red, not blue"),
        (there(), vec![], "was not read"),
        (there(), vec![(live("x")[0].0.clone(), Found::Absent)], "is not there"),
    ] {
        let p = go(&cluster, plan, false, extras);
        assert!(refused(&p).contains(said), "{said}: {}", refused(&p));
    }
    let p = go(&cluster, there(), false, live("green"));
    assert!(p.steps.is_empty() && p.refusals.is_empty() && p.warnings[0].contains("nothing to do"));
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
        let extras = vec![here(&shift.object(), live)];
        go(&cluster, way(FailoverKind::Weight(shift)), revert, extras)
    };
    let p = plan("TraefikService", "all", false, traefik(("web", 100), ("all", 0)));
    assert_eq!(refused(&p), "");
    assert_eq!(
        steps(&p),
        [
            "weight web:all from 100:0 to 75:25 r",
            "wait 5 s r",
            "weight web:all from 75:25 to 0:100 r",
            "wait 5 s r"
        ]
    );
    assert_eq!(p.undo, "weights back to 100:0");
    // back at once
    let p = plan("TraefikService", "all", true, traefik(("web", 0), ("all", 100)));
    assert_eq!(steps(&p), ["weight all:web from 100:0 to 0:100 r", "wait 5 s r"]);
    // a gateway has to accept each
    let backends = json!([{ "name": "web", "weight": 100 }, { "name": "all", "weight": 0 }]);
    let route = json!({ "metadata": { "uid": "u" }, "spec": { "rules": [{ "backendRefs": backends }] } });
    let p = plan("HTTPRoute", "all", false, route);
    assert_eq!(p.steps.iter().filter(|s| s.what == StepKind::Check(Gate::RouteAccepted)).count(), 2);
    for (to, live, said) in [
        ("none", traefik(("web", 1), ("none", 0)), "service shop/none has no ready endpoint"),
        (
            "gone",
            traefik(("web", 1), ("all", 0)),
            "has no rule with both web and gone; its backends are web, all",
        ),
    ] {
        let p = plan("TraefikService", to, false, live);
        assert!(refused(&p).contains(said), "{}", refused(&p));
    }
    let p = plan("TraefikService", "outside", false, traefik(("web", 1), ("outside", 0)));
    assert_eq!(refused(&p), "", "what is outside of the cluster has no endpoints in it");
    assert!(p.warnings[0].contains("outside of this cluster"), "{:?}", p.warnings);
    // run again, from half way or at the end: nothing goes back to where one flees from
    let p = plan("TraefikService", "all", false, traefik(("web", 50), ("all", 50)));
    assert_eq!(steps(&p), ["weight web:all from 50:50 to 0:100 r", "wait 5 s r"]);
    let p = plan("TraefikService", "all", false, traefik(("web", 0), ("all", 7)));
    assert!(p.steps.is_empty() && p.warnings[0].contains("these weights already"), "{:?}", steps(&p));
}

#[test]
fn errors_that_are_there_already_do_not_stop_it() {
    let mut cluster = Cluster::clone(&cluster());
    let watched = Watched { namespace: "shop".into(), service: "web".into(), max_error_percent: 5.0 };
    let limit = |cluster: &Cluster| {
        let shift = shift("TraefikService", "all");
        let extras = vec![here(&shift.object(), traefik(("web", 100), ("all", 0)))];
        let way = FailoverPlan { watched: Some(watched.clone()), ..way(FailoverKind::Weight(shift)) };
        let p = go(cluster, way, false, extras);
        let Act::Failover { plan, .. } = &p.intent.act else { panic!("{p:?}") };
        let in_soak = p.steps.iter().find_map(|s| match &s.what {
            StepKind::Check(Gate::Soak { watched, .. }) => watched.clone(),
            _ => None,
        });
        assert_eq!(plan.watched, in_soak, "one limit for the steps and between them");
        (plan.watched.as_ref().unwrap().max_error_percent, p.warnings.join("; "))
    };
    let unknown = limit(&cluster);
    assert!((unknown.0 - 5.0).abs() < 1e-9 && unknown.1.contains("now unknown"), "{unknown:?}");
    for (ratio, wanted) in [(0.0, 5.0), (0.049, 5.0), (0.3, 35.0), (1.0, 105.0)] {
        let row = ServiceTraffic {
            namespace: "shop".into(),
            name: "web".into(),
            error_ratio: Some(ratio),
            ..ServiceTraffic::default()
        };
        cluster.traffic =
            Arc::new(TrafficSeen { services: Arc::from([Arc::new(row)]), ..TrafficSeen::default() });
        let (got, said) = limit(&cluster);
        assert!((got - wanted).abs() < 1e-9, "{ratio}: {got}: {said}");
    }
}

#[test]
fn a_standby_is_up_before_anything_moves_and_this_goes_down_last() {
    let cluster = cluster();
    let on = ObjectRef::new(Kind::Deployment, &"shop".into(), &"web".into(), &Uid::default());
    let live = |replicas: i64, image: &str| {
        let template = json!({ "spec": { "containers": [{ "image": image }] } });
        Found::Objects(vec![
            json!({ "metadata": { "uid": "u" }, "spec": { "replicas": replicas, "template": template } }),
        ])
    };
    let need = |context: &str| Need::Object { context: context.into(), on: on.clone() };
    let plan = |here_: Found, there: Found, moves: Option<WeightShift>, revert: bool| {
        let mut extras = vec![(need(""), here_), (need("dr"), there)];
        if let Some(shift) = &moves {
            let weights = if revert { (0, 100) } else { (100, 0) };
            let (from, to) = (shift.from.as_str(), shift.to.as_str());
            extras.push(here(&shift.object(), traefik((from, weights.0), (to, weights.1))));
        }
        let workloads = vec![(Kind::Deployment, "shop".into(), "web".into())];
        let standby = Standby { context: "dr".into(), workloads, shift: moves, scale_down: true };
        go(&cluster, way(FailoverKind::Standby(standby)), revert, extras)
    };
    let placed = |p: &Plan| -> Vec<String> {
        p.steps.iter().filter(|s| !s.is_check()).map(|s| format!("{}@{}", s.what, s.context)).collect()
    };
    let p = plan(live(3, "a:1"), live(1, "a:2"), None, false);
    assert_eq!(
        (placed(&p), p.confirm),
        (vec!["scale 1 to 3@dr".into(), "scale 3 to 0@".into()], Confirm::Context)
    );
    assert!(p.warnings.iter().any(|w| w.contains("runs a:1 in test and a:2 in dr")), "{:?}", p.warnings);
    // nothing here may go down as long as nobody can tell that traffic has left
    assert!(refused(&p).contains("scale_down needs a route"), "{}", refused(&p));
    let p = plan(live(3, "a:1"), live(3, "a:1"), Some(shift("TraefikService", "outside")), false);
    assert_eq!(placed(&p).last().map(String::as_str), Some("scale 3 to 0@"));
    assert!(!placed(&p)[0].starts_with("scale"), "it is up already: {:?}", placed(&p));
    // back: what answers here has to be seen before the traffic comes, since it was at 0
    let mut none = shift("TraefikService", "outside");
    none.from = "none".into();
    let p = plan(live(0, "a:1"), live(3, "a:1"), Some(none), true);
    assert_eq!(refused(&p), "");
    let kinds: Vec<String> = p.steps.iter().map(|s| format!("{}@{}", s.what, s.context)).collect();
    assert_eq!(kinds[0], "scale 0 to 3@");
    assert_eq!(kinds[1], "check that 3 of its pods are ready@");
    assert!(kinds[2].starts_with("check that it is served by 1 or more of app=none"), "{kinds:?}");
    assert!(kinds[3].starts_with("weight outside:none"), "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("scale 3 to 0@dr"));
    for (there, said) in [
        (Found::Absent, "precondition: shop/deploy/web is not there in dr"),
        (Found::Unread("403".into()), "incomplete-data: shop/deploy/web in dr cannot be read: 403"),
    ] {
        let p = plan(live(3, "a:1"), there, None, false);
        assert!(refused(&p).contains(said), "{}", refused(&p));
        assert!(p.steps.is_empty(), "{:?}", steps(&p));
    }
}
