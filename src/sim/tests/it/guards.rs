//! Budgets and autoscalers.

use pilothouse_sim::resources::Res;
use pilothouse_sim::server::Options;
use pilothouse_sim::usage::Used;
use reqwest::Method;
use serde_json::{Value, json};

use crate::Cluster;
use crate::live::Live;

/// Every pod of an application uses so many thousandths of a core.
fn load(live: &Live, app: &str, milli: u64) {
    for pod in live.pods(app) {
        let used = Used { cpu_nano: milli * 1_000_000, memory: 64 << 20 };
        live.usage.set_pod("shop", pod.name(), Some(vec![("app".into(), used)]));
    }
}

fn autoscaler(live: &Live, behavior: Value) {
    let mut spec = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 2, "maxReplicas": 10, "metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}}]});
    if !behavior.is_null() {
        spec["behavior"] = behavior;
    }
    live.make(Res::Hpas, json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}));
}

fn size(live: &Live) -> i64 {
    live.get(Res::Deployments, "web").int("/spec/replicas").unwrap()
}

#[test]
fn an_autoscaler_goes_up_at_once_and_down_after_five_minutes() {
    let mut live = Live::new(3);
    live.deployment("web", 4, &json!({}));
    live.run(30);
    load(&live, "web", 54);
    autoscaler(&live, Value::Null);
    live.run(1);
    assert_eq!(size(&live), 4, "within tolerance");
    assert_eq!(live.condition(Res::Hpas, "web", "AbleToScale")[1], "ReadyForNewScale");
    assert_eq!(
        live.get(Res::Hpas, "web").int("/status/currentMetrics/0/resource/current/averageUtilization"),
        Some(54)
    );
    load(&live, "web", 90);
    live.run(15);
    assert_eq!(size(&live), 8, "90 % of 50 % is 1.8 times 4");
    let reason = "New size: 8; reason: cpu resource utilization (percentage of request) above target";
    assert_eq!(live.told("SuccessfulRescale"), [reason]);
    let deployment = live.get(Res::Deployments, "web");
    let writers = deployment.at("/metadata/managedFields").to_string();
    assert!(
        writers.contains("\"subresource\":\"scale\"") && writers.contains("kube-controller-manager"),
        "{writers}"
    );
    live.run(30);
    load(&live, "web", 5);
    let began = live.now();
    let mut steps = Vec::new();
    live.watch(400, |live, second| {
        load(live, "web", 5);
        if steps.last().map_or(8, |(_, n)| *n) != size(live) {
            steps.push((second, size(live)));
        }
    });
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!((270..=301).contains(&steps[0].0) && steps[0].1 == 2, "{steps:?} since {began}");
    let [status, reason, _] = live.condition(Res::Hpas, "web", "ScalingLimited");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "TooFewReplicas"));
}

#[test]
fn policies_and_limits_hold_an_autoscaler() {
    let mut live = Live::new(3);
    live.deployment("web", 4, &json!({}));
    live.run(30);
    load(&live, "web", 500);
    autoscaler(&live, json!({"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}));
    live.run(1);
    assert_eq!(size(&live), 5);
    assert_eq!(live.condition(Res::Hpas, "web", "ScalingLimited")[1], "ScaleUpLimit");
    live.run(45);
    assert_eq!(size(&live), 5, "one pod a minute");
    live.run(20);
    assert_eq!(size(&live), 6);
    live.edit(Res::Hpas, "web", |v| v["spec"]["behavior"] = Value::Null);
    load(&live, "web", 500);
    live.run(50);
    assert_eq!(size(&live), 10);
    load(&live, "web", 500);
    live.run(30);
    assert_eq!(live.condition(Res::Hpas, "web", "ScalingLimited")[1], "TooManyReplicas");
    live.usage.set_up(false);
    live.run(30);
    let [status, reason, message] = live.condition(Res::Hpas, "web", "ScalingActive");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "FailedGetResourceMetric"));
    assert!(message.contains("no metrics returned from resource metrics API"), "{message}");
    assert_eq!(live.get(Res::Hpas, "web").at("/status/currentMetrics"), &json!([{"type": ""}]));
    live.edit(Res::Deployments, "web", |v| v["spec"]["replicas"] = json!(0));
    live.run(30);
    assert_eq!(live.condition(Res::Hpas, "web", "ScalingActive")[1], "ScalingDisabled");
}

#[test]
fn budgets_round_up_and_tell_when_they_cannot_be_kept() {
    let mut live = Live::new(3);
    live.deployment("web", 7, &json!({}));
    let budget = |live: &Live, name: &str, app: &str, spec: Value| {
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"app": app}});
        live.make(Res::Pdbs, json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec}));
    };
    budget(&live, "half", "web", json!({"minAvailable": "50%"}));
    budget(&live, "third", "web", json!({"maxUnavailable": "30%"}));
    budget(&live, "none", "nobody", json!({"maxUnavailable": 1}));
    live.run(20);
    let numbers = |live: &Live, name: &str| {
        let budget = live.get(Res::Pdbs, name);
        ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"]
            .map(|field| budget.at("/status")[field].as_i64().unwrap())
    };
    assert_eq!(numbers(&live, "half"), [7, 4, 7, 3]);
    assert_eq!(numbers(&live, "third"), [7, 4, 7, 3]);
    assert_eq!(numbers(&live, "none"), [0, 0, 0, 0]);
    assert_eq!(live.condition(Res::Pdbs, "half", "DisruptionAllowed")[1], "SufficientPods");
    let pods = live.pods("web");
    live.world.change(|state| state.pods.entry(pods[0].uid().into()).or_default().unready = true);
    // An eviction that was allowed and then came to nothing.
    let now = live.store.clock().stamp();
    live.store
        .update_status(Res::Pdbs, "shop", "half", "kube-apiserver", |status| {
            status["disruptedPods"] = json!({(pods[1].name()): now});
        })
        .unwrap();
    live.run(1);
    assert_eq!(numbers(&live, "half"), [7, 4, 5, 1]);
    live.run(125);
    assert_eq!(numbers(&live, "half"), [7, 4, 6, 2], "forgotten after two minutes");
    assert!(live.get(Res::Pdbs, "half").at("/status/disruptedPods").is_null());
    assert_eq!(live.told("NotDeleted").len(), 1);
    live.make(
        Res::Jobs,
        json!({"metadata": {"name": "long", "namespace": "shop", "annotations": {}}, "spec": {
        "template": crate::live::template("long", "v1", "10m")}}),
    );
    budget(&live, "job", "long", json!({"maxUnavailable": 1}));
    live.run(3);
    assert_eq!(live.condition(Res::Pdbs, "job", "DisruptionAllowed")[1], "SyncFailed");
}

#[tokio::test]
async fn evictions_pass_one_after_another_as_the_budget_comes_back() {
    let start = pilothouse_sim::clock::parse("2026-01-02T03:04:05Z");
    let cluster = Cluster::bare(Options { factor: 0.0, opening: start, ..crate::dead() }).await;
    let mut live = Live::on(cluster.running.store.clone(), 3);
    live.deployment("web", 3, &json!({}));
    live.make(
        Res::Pdbs,
        json!({"metadata": {"name": "web", "namespace": "shop"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}}),
    );
    live.run(20);
    let evict = async |name: &str| {
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "shop"}});
        cluster.send(Method::POST, &format!("/api/v1/namespaces/shop/pods/{name}/eviction"), body).await
    };
    let pods = live.pods("web");
    assert_eq!(evict(pods[0].name()).await.0, 201);
    live.engine.settle();
    let (code, why) = evict(pods[1].name()).await;
    assert_eq!(code, 429);
    assert_eq!(
        why["details"]["causes"][0]["message"],
        "The disruption budget web needs 2 healthy pods and has 2 currently"
    );
    let mut refused = 0;
    while evict(pods[1].name()).await.0 == 429 {
        refused += 1;
        assert!(refused < 30);
        live.run(1);
    }
    assert!((3..15).contains(&refused), "until the replacement is ready: {refused}");
    live.run(20);
    assert_eq!(live.ready("web"), 3);
}
