//! Prometheus' answers match the simulated traffic.

#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

use std::sync::Arc;
use std::time::Duration;

use pilothouse_sim::resources::Res;
use pilothouse_sim::traffic::field::BOUNDS;
use pilothouse_sim::usage::Usage as _;
use pilothouse_sim::world::{App, Demand, Id, NodeTrouble, Policy, Version};
use serde_json::json;

use crate::stage::{Stage, steady};

fn light() -> App {
    App { cpu_ms_per_request: 0.5, ..App::default() }
}

/// Two values that differ by less than `part` of the greater one.
fn close(a: f64, b: f64, part: f64) -> bool {
    (a - b).abs() <= part * a.abs().max(b.abs()) + 1e-9
}

#[test]
fn application_metrics_agree_with_the_truth() {
    let mut stage = Stage::new();
    let mut app = light();
    app.versions.insert("v2".to_owned(), Version { errors: 0.25, ..Version::default() });
    stage.service("cart", 3, steady(90.0), app);
    stage.pod("cart-bad", "cart", "v2", "node-0", json!({}));
    stage.endpoints("cart", &["cart-0".into(), "cart-1".into(), "cart-2".into(), "cart-bad".into()]);
    stage.run(300);
    let before = stage.truth("cart");
    // both ends on a scrape: the window's edges are samples, nothing is extrapolated
    stage.run(120);
    let after = stage.truth("cart");
    for (pod, now) in &after.backends {
        let then = before.backends[pod];
        let rps = (now.picked - then.picked) as f64 / 120.0;
        let rates = stage.ask("sum by (pod) (rate(http_requests_total[2m]))", "pod");
        assert!(close(rates[pod], rps, 0.03), "{pod}: {} and {rps}", rates[pod]);
    }
    let (ok, all) = (after.total.ok - before.total.ok, after.total.picked - before.total.picked);
    let ratio =
        stage.one("sum(rate(http_requests_total{code=~\"5..\"}[2m])) / sum(rate(http_requests_total[2m]))");
    assert!(close(ratio, 1.0 - ok as f64 / all as f64, 0.05), "{ratio}: {ok} of {all}");
    // counters to the last request
    let codes = stage.ask("sum by (code) (http_requests_total)", "code");
    let truth = |place: usize| after.counts.values().map(|counts| counts.codes[place] as f64).sum::<f64>();
    assert_eq!((codes["200"], codes["500"]), (truth(0), truth(1)));
    assert_eq!(truth(0), after.total.ok as f64);
    let buckets = stage.ask("sum by (le) (http_request_duration_seconds_bucket)", "le");
    assert_eq!(buckets["+Inf"], after.total.picked as f64);
    // a log-normal with a median of 20 ms and a sigma of 0.4
    for (q, z) in [("0.5", 0.0), ("0.95", 1.645), ("0.99", 2.326)] {
        let query = format!(
            "histogram_quantile({q}, sum by (namespace, service, job, le) (rate(http_request_duration_seconds_bucket[60s])))"
        );
        let want = 0.020 * (0.4_f64 * z).exp();
        let upper = BOUNDS.iter().position(|bound| *bound >= want).unwrap();
        let (low, high) = (BOUNDS[upper - 1], BOUNDS[upper]);
        let got = stage.one(&query);
        assert!(got >= low * 0.95 && got <= high, "{q}: {got} for {want}");
    }
    let pods = stage.ask(
        "histogram_quantile(0.95, sum by (namespace, service, job, pod, instance, le) (rate(http_request_duration_seconds_bucket[60s])))",
        "pod",
    );
    assert_eq!(pods.len(), 4);
    let mean = stage.ask(
        "sum by (namespace, service, job, pod, instance) (rate(http_request_duration_seconds_sum[60s])) / sum by (namespace, service, job, pod, instance) (rate(http_request_duration_seconds_count[60s]))",
        "pod",
    );
    assert!(close(mean["cart-0"], 0.020 * (0.08_f64).exp(), 0.05), "{mean:?}");
    let active =
        stage.ask("sum by (namespace, service, job, pod, instance) (http_requests_in_flight)", "pod");
    assert!(active.len() == 4 && active.values().all(|n| *n < 6.0), "{active:?}");
    let labels = stage.observe.ask(
        "sum by (namespace, service, job, pod, instance, code, status) (rate(http_requests_total[60s]))",
    );
    assert_eq!(labels.unwrap().len(), 5, "four times 200 and one 500");
    assert_eq!(stage.one("max(count_over_time(http_requests_total[5m]))"), 20.0);
}

#[test]
fn steady_load_is_steady_use() {
    let mut stage = Stage::new();
    // four does not go into the 15 s of the metrics server: some of its windows end between two steps of traffic
    stage.observe.pace().set(Duration::from_secs(4));
    stage.service(
        "cart",
        2,
        steady(400.0),
        App { cpu_ms_per_request: 1.0, cpu_idle_milli: 0.0, ..App::default() },
    );
    stage.run(60);
    for _ in 0..12 {
        stage.run(15);
        let used = stage.meter.pod("shop", "cart-0").unwrap()[0].1.cpu_nano as f64 / 1e9;
        assert!(close(used, 0.2, 0.08), "{used} cores for 200 requests of 1 ms a second");
    }
}

#[test]
fn a_proxy_tells_of_its_servers() {
    let mut stage = Stage::new();
    stage.node("node-9");
    for (name, weight, node) in
        [("web-0", "50", "node-0"), ("web-1", "30", "node-1"), ("web-2", "20", "node-9")]
    {
        if node != "node-9" {
            stage.node(node);
        }
        stage.pod(name, "web", "v1", node, json!({"sim.pilothouse/weight": weight}));
    }
    stage.endpoints("web", &["web-0".into(), "web-1".into(), "web-2".into()]);
    stage.world.change(|state| {
        state.apps.insert(Id::new("shop", "web"), Arc::new(light()));
        let demand = Demand { policy: Policy::Weighted, proxy: Some("edge".into()), ..steady(100.0) };
        state.demand.insert(Id::new("shop", "web"), demand);
    });
    stage.run(180);
    let rate = |stage: &Stage| {
        stage.ask(
            "sum by (proxy, server) (rate(haproxy_server_http_responses_total{code=\"2xx\"}[60s]))",
            "server",
        )
    };
    let rates = rate(&stage);
    assert!(close(rates["web-0"], 50.0, 0.08) && close(rates["web-2"], 20.0, 0.08), "{rates:?}");
    let codes = "sum by (proxy, server, code) (rate(haproxy_server_http_responses_total[60s]))";
    assert_eq!(stage.observe.ask(codes).unwrap().len(), 18);
    let weights = stage.ask("max by (proxy, server) (haproxy_server_weight)", "server");
    assert_eq!(weights["web-1"], 30.0);
    let mean = stage.ask("avg by (proxy, server) (haproxy_server_response_time_average_seconds)", "server");
    assert!(close(mean["web-0"], 0.0217, 0.15), "{mean:?}");
    assert_eq!(stage.ask("sum by (proxy, server) (haproxy_server_current_sessions)", "server").len(), 3);
    let states = |stage: &Stage| {
        let all = stage.observe.ask("max by (proxy, server, state) (haproxy_server_status) == 1").unwrap();
        all.iter()
            .map(|(l, _)| format!("{} {}", l.get("server").unwrap(), l.get("state").unwrap()))
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&stage), ["web-0 UP", "web-1 UP", "web-2 UP"]);
    stage.world.change(|state| {
        drop(state.nodes.insert("node-9".into(), NodeTrouble { off: true, ..NodeTrouble::default() }));
    });
    stage.run(30);
    assert_eq!(states(&stage), ["web-0 UP", "web-1 UP", "web-2 DOWN"]);
    let timeouts = stage.fate("web", "web-2").timeouts;
    assert!((60..=180).contains(&timeouts), "six seconds of 20 a second: {timeouts}");
    stage.run(60);
    assert_eq!(stage.fate("web", "web-2").timeouts, timeouts, "a dead server gets nothing");
    let user = stage.ask("max by (proxy, server) (haproxy_server_uweight)", "server");
    let weights = stage.ask("max by (proxy, server) (haproxy_server_weight)", "server");
    assert_eq!((user["web-2"], weights["web-2"]), (20.0, 20.0), "a dead server keeps its weight");
    let of = |stage: &Stage, name: &str| stage.ask(&format!("haproxy_server_{name}"), "server")["web-2"];
    assert_eq!(of(&stage, "check_failures_total"), 3.0, "three checks made it dead");
    assert_eq!(of(&stage, "connection_errors_total"), timeouts as f64);
    assert_eq!(of(&stage, "retry_warnings_total"), 3.0 * timeouts as f64);
    assert_eq!(
        of(&stage, "sessions_total"),
        of(&stage, "loadbalanced_total") + 3.0 * timeouts as f64,
        "every try is a session"
    );
    assert_eq!(stage.one("haproxy_backend_active_servers"), 2.0);
    assert_eq!(stage.one("haproxy_backend_weight"), 80.0);
    let rates = rate(&stage);
    assert!(close(rates["web-0"], 62.5, 0.08) && rates["web-2"] == 0.0, "{rates:?}");
    stage.endpoints("web", &["web-0".into(), "web-1".into(), "!web-2".into()]);
    stage.run(16);
    assert_eq!(states(&stage), ["web-0 UP", "web-1 UP", "web-2 MAINT"]);
    assert_eq!(of(&stage, "check_failures_total"), 3.0, "a counter does not fall");
    stage
        .store
        .update(Res::Pods, "shop", "web-1", "test", |pod| {
            pod["metadata"]["annotations"]["sim.pilothouse/weight"] = json!("0");
        })
        .unwrap();
    stage.run(31);
    assert_eq!(states(&stage), ["web-0 UP", "web-1 UP", "web-2 MAINT"], "no weight is no state");
    assert_eq!(stage.one("haproxy_backend_active_servers"), 1.0);
}

#[test]
fn machines_and_containers() {
    let mut stage = Stage::new();
    stage.service("a", 2, steady(100.0), App { cpu_ms_per_request: 10.0, ..App::default() });
    stage.make(
        Res::Deployments,
        json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "app", "image": "i"}]}}}}),
    );
    stage.run(300);
    let cpu = stage.ask("sum by (pod) (rate(container_cpu_usage_seconds_total{container!=\"\"}[2m]))", "pod");
    assert!(close(cpu["a-0"], 0.508, 0.08), "{cpu:?}");
    let busy = stage.ask(
        "1 - avg by (node)(sum by (node,cpu)(rate(node_cpu_seconds_total{mode=~\"idle|iowait\"}[2m])))",
        "node",
    );
    assert!(close(busy["node-0"], (0.508 + 0.18) / 4.0, 0.1), "{busy:?}");
    let memory = stage.ask("1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "node");
    assert!(memory["node-0"] > 0.05 && memory["node-0"] < 0.2, "{memory:?}");
    assert_eq!(stage.one("kube_deployment_spec_replicas"), 2.0);
    assert_eq!(stage.one("sum(kube_node_status_condition{condition=\"Ready\",status=\"true\"})"), 2.0);
    assert_eq!(stage.one("count(up{job=\"a\"} == 1)"), 2.0);
    let throttled = stage.one("sum(rate(container_cpu_cfs_throttled_periods_total[2m])) / sum(rate(container_cpu_cfs_periods_total[2m]))");
    assert!(throttled < 0.01, "{throttled}");
    // the machine goes off: its targets are down, what they exported is gone at once and not five minutes later
    stage.world.change(|state| {
        drop(state.nodes.insert("node-1".into(), NodeTrouble { off: true, ..NodeTrouble::default() }));
    });
    stage.run(16);
    assert_eq!(stage.one("count(up == 0)"), 2.0, "the pod and its machine");
    assert_eq!(stage.observe.ask("http_requests_in_flight{pod=\"a-1\"}").unwrap(), []);
    assert_eq!(stage.observe.ask("node_memory_MemTotal_bytes{node=\"node-1\"}").unwrap(), []);
}

#[test]
fn rules_fire_are_silenced_and_resolve() {
    use pilothouse_sim::alerts::{Matcher, Silence};
    let mut stage = Stage::new();
    stage.service("pay", 2, steady(50.0), light());
    stage.run(240);
    assert_eq!(stage.observe.ask("ALERTS").unwrap(), []);
    let bad = |errors| Version { errors, ..Version::default() };
    let set = |stage: &Stage, version: Version| {
        stage.world.change(|state| {
            let app = Arc::make_mut(state.apps.get_mut(&Id::new("shop", "pay")).unwrap());
            app.versions.insert("v1".to_owned(), version);
        });
    };
    set(&stage, bad(0.5));
    stage.run(60);
    assert_eq!(
        stage.ask("ALERTS{alertname=\"HighErrorRatio\"}", "alertstate").keys().next().unwrap(),
        "pending"
    );
    stage.run(60);
    assert_eq!(stage.ask("ALERTS", "alertstate").into_keys().collect::<Vec<_>>(), ["firing"]);
    let now = stage.store.clock().now();
    let alerts = stage.observe.alertmanager().alerts(now);
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].0.labels.get("service").map(|s| &**s), Some("pay"));
    assert!(alerts[0].0.annotations["summary"].contains("shop/pay fails "), "{:?}", alerts[0].0.annotations);
    let silence = Silence {
        id: String::new(),
        matchers: vec![Matcher::parse("service=~\"pa.\"").unwrap()],
        starts: now,
        ends: now + chrono::TimeDelta::minutes(10),
        updated: now,
        by: "me".into(),
        comment: "known".into(),
    };
    let id = stage.observe.alertmanager().silence(silence, now).unwrap();
    assert_eq!(stage.observe.alertmanager().alerts(now)[0].1, std::slice::from_ref(&id));
    assert!(stage.observe.alertmanager().expire(&id, now));
    assert!(stage.observe.alertmanager().alerts(now)[0].1.is_empty());
    set(&stage, bad(0.0));
    stage.run(180);
    assert_eq!(stage.observe.ask("ALERTS").unwrap(), []);
    assert!(stage.observe.alertmanager().alerts(stage.store.clock().now()).is_empty());
}
