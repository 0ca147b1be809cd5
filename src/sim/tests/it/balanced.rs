//! Routes and rules decide which backends get how many requests, and the metrics of proxies agree with the counts.

#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

use std::collections::BTreeMap;

use pilothouse_sim::resources::Res;
use pilothouse_sim::traffic::ServiceTruth;
use pilothouse_sim::world::{App, Demand, Id, NodeTrouble, Version};
use serde_json::{Value, json};

use crate::stage::{Stage, calling, steady};

fn light() -> App {
    App { cpu_ms_per_request: 0.5, ..App::default() }
}

fn meshed() -> App {
    App { mesh: true, ..light() }
}

/// Whether a share is within five standard deviations of what it should be by chance.
fn by_chance(n: u64, of: u64, share: f64) -> bool {
    (n as f64 - of as f64 * share).abs() < 5.0 * (of as f64 * share * (1.0 - share)).sqrt().max(1.0)
}

fn picked(truth: &ServiceTruth, names: &str) -> u64 {
    truth.backends.iter().filter(|(name, _)| name.starts_with(names)).map(|(_, fate)| fate.picked).sum()
}

/// All that was asked of a Service is somewhere: at its backends, without one, or with other Services.
fn is_conserved(truth: &ServiceTruth) {
    assert_eq!(truth.offered, truth.total.picked + truth.unrouted + truth.forwarded, "{truth:?}");
    let backends: u64 = truth.backends.values().map(|fate| fate.picked).sum();
    assert_eq!(backends, truth.total.picked);
    assert_eq!(truth.total.picked, truth.total.ok + truth.total.failed());
}

fn http_route(weights: [i64; 2]) -> Value {
    let [a, b] = weights;
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"parentRefs": [{"name": "gate"}],
            "rules": [{"backendRefs": [{"name": "web", "weight": a}, {"name": "web-next", "weight": b}]}]}})
}

fn virtual_service(weights: [i64; 2]) -> Value {
    let to = |subset: &str, weight: i64| json!({"destination": {"host": "web", "subset": subset}, "weight": weight});
    let [a, b] = weights;
    json!({"metadata": {"namespace": "shop", "name": "web"},
        "spec": {"hosts": ["web"], "http": [{"route": [to("v1", a), to("v2", b)]}]}})
}

fn destination_rule(balancer: &Value) -> Value {
    json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"host": "web",
        "trafficPolicy": {"loadBalancer": balancer},
        "subsets": [{"name": "v1", "labels": {"app": "web"}}, {"name": "v2", "labels": {"app": "web-next"}}]}})
}

/// `web` with three pods, two of another version behind the same Service, and a `front` that calls it.
fn subsets(app: App) -> Stage {
    let mut stage = Stage::new();
    stage.service("web", 3, steady(0.0), app);
    for n in 0..2 {
        stage.pod(&format!("web-next-{n}"), "web-next", "v2", &format!("node-{n}"), json!({}));
    }
    let pods: Vec<String> =
        (0..3).map(|n| format!("web-{n}")).chain((0..2).map(|n| format!("web-next-{n}"))).collect();
    stage.endpoints("web", &pods);
    stage.service("front", 2, steady(150.0), App { calls: calling("web", 1.0), mesh: true, ..light() });
    stage.world.change(|state| {
        let web = state.apps[&Id::new("shop", "web")].clone();
        state.apps.insert(Id::new("shop", "web-next"), web);
    });
    stage.run(1);
    stage
}

#[test]
fn an_http_route_sends_shares_to_services_and_a_patch_moves_them() {
    let mut stage = Stage::new();
    stage.service("web", 3, steady(200.0), light());
    stage.service("web-next", 2, steady(0.0), light());
    stage.make(Res::HttpRoutes, http_route([90, 10]));
    stage.run(300);
    let (web, next) = (stage.truth("web"), stage.truth("web-next"));
    for truth in [&web, &next] {
        is_conserved(truth);
    }
    assert_eq!((next.offered, web.forwarded), (web.forwarded, next.total.picked));
    assert!(by_chance(next.offered, web.offered, 0.1), "{} of {}", next.offered, web.offered);
    stage
        .store
        .update(Res::HttpRoutes, "shop", "web", "test", |old| {
            old["spec"] = http_route([0, 100])["spec"].clone();
        })
        .unwrap();
    stage.run(60);
    let (then, after) = (stage.truth("web"), stage.truth("web-next"));
    assert_eq!(then.total.picked, web.total.picked, "weight 0");
    assert_eq!(after.offered - next.offered, then.offered - web.offered);
    stage
        .store
        .update(Res::HttpRoutes, "shop", "web", "test", |old| {
            old["spec"] = http_route([0, 0])["spec"].clone();
        })
        .unwrap();
    stage.run(60);
    let (none, still) = (stage.truth("web"), stage.truth("web-next"));
    is_conserved(&none);
    assert_eq!(still.offered, after.offered);
    assert_eq!(none.unrouted, none.offered - then.offered, "no backend has a weight");
}

#[test]
fn a_virtual_service_splits_a_service_into_subsets() {
    let mut stage = subsets(meshed());
    stage.make(Res::DestinationRules, destination_rule(&json!({"simple": "ROUND_ROBIN"})));
    stage.make(Res::VirtualServices, virtual_service([75, 25]));
    stage.run(1);
    let before = stage.truth("web");
    stage.run(300);
    let web = stage.truth("web");
    is_conserved(&web);
    let (all, next) =
        (web.total.picked - before.total.picked, picked(&web, "web-next") - picked(&before, "web-next"));
    assert!(by_chance(next, all, 0.25), "{next} of {all}");
    // In turn within each subset.
    for names in [["web-0", "web-1"], ["web-1", "web-2"], ["web-next-0", "web-next-1"]] {
        let [a, b] = names.map(|name| web.backends[name].picked - before.backends[name].picked);
        assert!(a.abs_diff(b) <= 1, "{names:?}: {a} and {b}");
    }
    let gone = json!({"destination": {"host": "web", "subset": "v3"}, "weight": 100});
    stage
        .store
        .update(Res::VirtualServices, "shop", "web", "test", |old| {
            old["spec"]["http"][0]["route"] = json!([gone]);
        })
        .unwrap();
    stage.run(1);
    let before = stage.truth("web");
    stage.run(30);
    let after = stage.truth("web");
    assert_eq!(after.total.picked, before.total.picked, "a subset that no rule defines has no pods");
    assert!(after.unrouted > before.unrouted);
}

#[test]
fn a_destination_rule_decides_how_backends_are_chosen() {
    let shares = |balancer: Value| {
        let mut stage = Stage::new();
        stage.service("web", 4, Demand { clients: 10, ..steady(100.0) }, meshed());
        stage.make(Res::DestinationRules, destination_rule(&balancer));
        stage.run(1);
        let before = stage.truth("web");
        stage.run(240);
        let web = stage.truth("web");
        is_conserved(&web);
        let n = |name: &str| web.backends[name].picked - before.backends[name].picked;
        ["web-0", "web-1", "web-2", "web-3"].map(n)
    };
    let spread = |all: [u64; 4]| all.iter().max().unwrap() - all.iter().min().unwrap();
    assert!(spread(shares(json!({"simple": "ROUND_ROBIN"}))) <= 1);
    let random = shares(json!({"simple": "RANDOM"}));
    assert!(spread(random) > 10, "{random:?}");
    assert!(random.iter().all(|n| by_chance(*n, random.iter().sum(), 0.25)), "{random:?}");
    let hash = shares(json!({"consistentHash": {"httpHeaderName": "x-user"}}));
    let all: u64 = hash.iter().sum();
    assert!(
        hash.iter().all(|n| by_chance(*n, all, (*n as f64 / all as f64 * 10.0).round() / 10.0)),
        "{hash:?}"
    );
    assert!(spread(hash) as f64 > all as f64 / 20.0, "ten keys on four pods are uneven: {hash:?}");
}

#[test]
fn the_mesh_avoids_a_slow_pod_without_any_rule() {
    let mut stage = Stage::new();
    stage.service("web", 4, steady(200.0), App { latency_ms: 100.0, ..meshed() });
    stage.node("slow");
    stage.pod("web-9", "web", "v1", "slow", json!({}));
    stage.endpoints("web", &["web-0".into(), "web-1".into(), "web-2".into(), "web-9".into()]);
    stage.world.change(|state| {
        state.nodes.insert("slow".into(), NodeTrouble { slower: 4.0, ..NodeTrouble::default() });
    });
    stage.run(60);
    let before = stage.truth("web");
    stage.run(240);
    let web = stage.truth("web");
    is_conserved(&web);
    let n = |name: &str| web.backends[name].picked - before.backends[name].picked;
    assert!(n("web-9") * 2 < n("web-0"), "{} and {}", n("web-9"), n("web-0"));
    assert!(n("web-0").abs_diff(n("web-1")) < n("web-0") / 10);
}

#[test]
fn an_ingress_canary_gets_its_weight() {
    let mut stage = Stage::new();
    stage.service("web", 2, steady(0.0), light());
    stage.service("web-next", 2, steady(0.0), light());
    stage.service("edge", 2, steady(120.0), App { ingress: true, calls: calling("web", 1.0), ..light() });
    let ingress = |name: &str, service: &str, annotations: Value| {
        json!({"metadata": {"namespace": "shop", "name": name, "annotations": annotations},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": "shop.example", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}]}}]}})
    };
    stage.make(Res::Ingresses, ingress("web", "web", json!({})));
    let canary = json!({"nginx.ingress.kubernetes.io/canary": "true", "nginx.ingress.kubernetes.io/canary-weight": "20"});
    stage.make(Res::Ingresses, ingress("web-canary", "web-next", canary));
    stage.run(300);
    let (web, next) = (stage.truth("web"), stage.truth("web-next"));
    is_conserved(&web);
    is_conserved(&next);
    assert!(by_chance(next.offered, web.offered, 0.2), "{} of {}", next.offered, web.offered);
    let by_canary =
        stage.ask("sum by (canary) (nginx_ingress_controller_requests{service=\"web\"})", "canary");
    assert_eq!(by_canary[""], web.total.picked as f64);
    assert_eq!(by_canary["shop-web-next-80"], next.total.picked as f64);
    let by_pod = stage.ask("sum by (controller_pod) (nginx_ingress_controller_requests)", "controller_pod");
    assert_eq!(by_pod.keys().collect::<Vec<_>>(), ["edge-0", "edge-1"]);
}

/// The answers of one pod by code, as its own counters say.
fn codes(truth: &ServiceTruth, pod: &str) -> BTreeMap<String, f64> {
    let all = ["200", "500", "502", "503", "504"].into_iter().zip(truth.counts[pod].codes);
    all.filter(|(_, n)| *n > 0).map(|(code, n)| (code.to_owned(), n as f64)).collect()
}

#[test]
fn the_metrics_of_sidecars_agree_with_the_pods_own_counts() {
    let mut app = meshed();
    app.versions.insert("v2".to_owned(), Version { errors: 0.06, slower: 3.0, ..Version::default() });
    let mut stage = subsets(app);
    stage.make(Res::DestinationRules, destination_rule(&json!({"simple": "LEAST_REQUEST"})));
    stage.make(Res::VirtualServices, virtual_service([90, 10]));
    stage.run(59);
    let before = stage.truth("web");
    stage.run(60);
    let web = stage.truth("web");
    for pod in ["web-0", "web-1", "web-2", "web-next-0", "web-next-1"] {
        let query = format!(
            "sum by (response_code) (istio_requests_total{{reporter=\"destination\",pod=\"{pod}\"}})"
        );
        assert_eq!(stage.ask(&query, "response_code"), codes(&web, pod), "{pod}");
        let query = format!(
            "sum by (le) (istio_request_duration_milliseconds_bucket{{reporter=\"destination\",pod=\"{pod}\"}})"
        );
        let (buckets, counts) = (stage.ask(&query, "le"), &web.counts[pod]);
        assert_eq!(buckets["+Inf"], counts.answers() as f64);
        assert_eq!(buckets["50"], counts.buckets[..4].iter().sum::<u64>() as f64, "{pod}");
        let sum = stage.one(&format!(
            "sum(istio_request_duration_milliseconds_sum{{reporter=\"destination\",pod=\"{pod}\"}})"
        ));
        assert!((sum / counts.sum / 1000.0 - 1.0).abs() < 1e-6, "{sum} and {}", counts.sum);
        // The last minute, from a scrape to a scrape.
        let n = (counts.answers() - before.counts[pod].answers()) as f64;
        let rate =
            format!("sum(increase(istio_requests_total{{reporter=\"destination\",pod=\"{pod}\"}}[1m]))");
        assert!((stage.one(&rate) / n - 1.0).abs() < 0.35, "{pod}: {} and {n}", stage.one(&rate));
    }
    let total = |reporter: &str| {
        stage.one(&format!(
            "sum(istio_requests_total{{reporter=\"{reporter}\",destination_service_name=\"web\"}})"
        ))
    };
    let known = "istio_requests_total{reporter=\"destination\",destination_service_name=\"web\",source_app=\"front\"}";
    assert_eq!(total("destination"), (web.total.ok + web.total.errors) as f64);
    assert_eq!(total("source"), stage.one(&format!("sum({known})")), "all requests come from the mesh");
    assert_eq!(total("source"), total("destination"));
    let sent = stage.ask("sum by (pod) (istio_requests_total{reporter=\"source\"})", "pod");
    assert_eq!(sent.keys().collect::<Vec<_>>(), ["front-0", "front-1"]);
    // Each pod of the canary gets a twentieth of the requests and answers three times as late.
    let p50 = |app: &str| {
        stage.one(&format!("histogram_quantile(0.5, sum by (le) (rate(istio_request_duration_milliseconds_bucket{{reporter=\"destination\",destination_app=\"{app}\"}}[1m])))"))
    };
    assert!(p50("web-next") > 2.0 * p50("web"), "{} and {}", p50("web-next"), p50("web"));
}

#[test]
fn grpc_has_a_status_of_its_own_and_only_the_source_sees_a_dead_pod() {
    let mut app = App { grpc: true, ..meshed() };
    app.versions.insert("v1".to_owned(), Version { errors: 0.1, ..Version::default() });
    let mut stage = Stage::new();
    stage.service("web", 3, steady(0.0), app);
    stage.service("front", 2, steady(60.0), App { calls: calling("web", 1.0), ..meshed() });
    stage.run(60);
    let status = |stage: &Stage, reporter: &str| {
        let query = format!(
            "sum by (grpc_response_status) (istio_requests_total{{reporter=\"{reporter}\",destination_service_name=\"web\"}})"
        );
        stage.ask(&query, "grpc_response_status")
    };
    let web = stage.truth("web").total;
    let seen = status(&stage, "destination");
    assert_eq!((seen["0"], seen["13"]), (web.ok as f64, web.errors as f64));
    assert_eq!(
        stage
            .ask(
                "sum by (response_code) (istio_requests_total{destination_service_name=\"web\"})",
                "response_code"
            )
            .len(),
        1
    );
    stage.world.change(|state| {
        state.nodes.insert("node-2".into(), NodeTrouble { off: true, ..NodeTrouble::default() });
    });
    stage.run(60);
    let web = stage.truth("web").total;
    assert!(web.timeouts > 0);
    assert_eq!(status(&stage, "source")["4"], web.timeouts as f64);
    assert!(!status(&stage, "destination").contains_key("4"));
    let flags =
        stage.ask("sum by (response_flags) (istio_requests_total{reporter=\"source\"})", "response_flags");
    assert_eq!(flags["UT"], web.timeouts as f64);
}

#[test]
fn requests_go_round_a_route_as_failures_come_back() {
    let mut stage = Stage::new();
    stage.service("front", 2, steady(100.0), App { calls: calling("web", 1.0), ..light() });
    stage.service("web", 2, steady(0.0), light());
    let mut worse = light();
    worse.versions.insert("v1".to_owned(), Version { errors: 0.5, ..Version::default() });
    stage.service("web-next", 2, steady(0.0), worse);
    stage.make(Res::HttpRoutes, http_route([80, 20]));
    stage.run(300);
    let front = stage.truth("front").total;
    // A fifth of the calls fails with 0.5; a half of the failures is tried again, and fails with the same ratio.
    let expected = 0.1 * (0.5 + 0.5 * 0.1);
    let ratio = front.failed() as f64 / front.picked as f64;
    assert!((ratio - expected).abs() < 0.01, "{ratio} and {expected}");
    assert_eq!(stage.truth("web").total.errors, 0);
}

#[test]
fn a_caller_applies_one_route() {
    let mut stage = Stage::new();
    stage.service("web", 2, steady(100.0), light());
    stage.service("web-next", 2, steady(50.0), light());
    let to = |host: &str, other: &str| {
        json!({"metadata": {"namespace": "shop", "name": host}, "spec": {"hosts": [host],
            "http": [{"route": [{"destination": {"host": other}, "weight": 1}]}]}})
    };
    stage.make(Res::VirtualServices, to("web", "web-next"));
    stage.make(Res::VirtualServices, to("web-next", "web"));
    stage.run(120);
    let (web, next) = (stage.truth("web"), stage.truth("web-next"));
    for truth in [&web, &next] {
        is_conserved(truth);
        assert!(truth.total.picked > 0, "{truth:?}");
    }
    // Each gets what the other one is asked. What has come late in a step is served in the next one.
    assert!(
        by_chance(next.total.picked, web.total.picked + next.total.picked, 2.0 / 3.0),
        "{web:?} {next:?}"
    );
}

#[test]
fn a_route_to_another_service_may_name_its_subset() {
    let mut stage = subsets(meshed());
    stage.service("old", 1, steady(80.0), light());
    stage.make(Res::DestinationRules, destination_rule(&json!({"simple": "ROUND_ROBIN"})));
    let route = json!([{"destination": {"host": "web", "subset": "v2"}, "weight": 50}, {"destination": {"host": "old"}, "weight": 50}]);
    stage.make(
        Res::VirtualServices,
        json!({"metadata": {"namespace": "shop", "name": "old"}, "spec": {"hosts": ["old"], "http": [{"route": route}]}}),
    );
    stage.run(1);
    let before = stage.truth("web");
    let front = stage.truth("front").total.picked;
    stage.run(240);
    let (web, old) = (stage.truth("web"), stage.truth("old"));
    is_conserved(&web);
    is_conserved(&old);
    assert!(by_chance(old.forwarded, old.offered, 0.5), "{old:?}");
    let next = picked(&web, "web-next") - picked(&before, "web-next");
    // The calls of `front` go to all five pods in turn.
    let own = (stage.truth("front").total.picked - front) as f64 * 0.4;
    assert!((next as f64 - own - old.forwarded as f64).abs() < 600.0, "{next}: {own} and {}", old.forwarded);
}
