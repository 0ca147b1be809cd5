//! Faults set with the control endpoint.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::Cluster;

const CATALOG: &str = "/apis/apps/v1/namespaces/shop/deployments/catalog";

async fn fault(cluster: &Cluster, rule: serde_json::Value) {
    assert_eq!(cluster.send(Method::POST, "/sim/faults", rule).await.0, 201);
}

#[tokio::test]
async fn throttling_is_not_a_status() {
    let cluster = Cluster::start().await;
    fault(
        &cluster,
        json!({"verbs": ["list"], "resources": ["pods"], "fault": {"kind": "throttle"}, "times": 1}),
    )
    .await;
    let response = cluster.ask(Method::GET, "/api/v1/pods").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    assert_eq!(response.text().await.unwrap(), "Too many requests, please try again later.");
    assert_eq!(cluster.get("/api/v1/pods").await.0, 200);
    fault(
        &cluster,
        json!({"resources": ["nodes"], "fault": {"kind": "status", "code": 503, "message": "later"}}),
    )
    .await;
    let (code, status) = cluster.get("/api/v1/nodes").await;
    assert_eq!((code, &status["reason"]), (503, &json!("ServiceUnavailable")));
    cluster.ask(Method::DELETE, "/sim/faults").send().await.unwrap();
    assert_eq!(cluster.get("/api/v1/nodes").await.0, 200);
    assert_eq!(cluster.send(Method::POST, "/sim/faults", json!({"nonsense": 1})).await.0, 422);
}

#[tokio::test]
async fn an_answer_can_get_lost_with_or_without_the_deed() {
    let cluster = Cluster::start().await;
    let scale = |replicas: u32| {
        cluster
            .ask(Method::PATCH, CATALOG)
            .header("content-type", "application/merge-patch+json")
            .body(json!({"spec": {"replicas": replicas}}).to_string())
            .send()
    };
    fault(&cluster, json!({"verbs": ["patch"], "fault": {"kind": "disconnect"}, "times": 1})).await;
    assert!(scale(9).await.is_err());
    assert_eq!(cluster.get(CATALOG).await.1["spec"]["replicas"], 4);
    fault(&cluster, json!({"verbs": ["patch"], "fault": {"kind": "lost"}, "times": 1})).await;
    assert!(scale(9).await.is_err());
    assert_eq!(cluster.get(CATALOG).await.1["spec"]["replicas"], 9, "it has happened, and nobody was told");
    fault(&cluster, json!({"verbs": ["patch"], "fault": {"kind": "stall"}, "times": 1})).await;
    let hung =
        cluster.ask(Method::PATCH, CATALOG).timeout(Duration::from_millis(200)).body("{}").send().await;
    assert!(hung.unwrap_err().is_timeout());
}

/// A server that comes back needs a moment to open its port.
async fn listens(cluster: &Cluster) {
    while cluster.ask(Method::GET, "/version").send().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn tokens_time_and_outages_are_set_from_outside() {
    let cluster = Cluster::start().await;
    cluster.send(Method::POST, "/sim/token", json!({"token": "admin", "expired": true})).await;
    assert_eq!(cluster.get("/api/v1/pods").await.0, 401);
    cluster.send(Method::POST, "/sim/token", json!({"token": "admin", "expired": false})).await;
    let (_, time) =
        cluster.send(Method::POST, "/sim/clock", json!({"set": "2030-01-02T03:04:05Z", "factor": 0})).await;
    assert_eq!(time["time"], "2030-01-02T03:04:05.000000Z");
    cluster.send(Method::POST, "/sim/clock", json!({"advance_seconds": 55})).await;
    let (_, made) = cluster
        .send(Method::POST, "/api/v1/namespaces/shop/configmaps", json!({"metadata": {"name": "c"}}))
        .await;
    assert_eq!(made["metadata"]["creationTimestamp"], "2030-01-02T03:05:00Z");
    cluster.running.control().down.send_replace(true);
    assert!(
        cluster.ask(Method::GET, "/version").send().await.is_err(),
        "open connections end, new ones are refused"
    );
    cluster.running.control().down.send_replace(false);
    listens(&cluster).await;
    assert_eq!(cluster.send(Method::POST, "/sim/outage", json!({"seconds": 0.05})).await.0, 204);
    let mut down = cluster.running.control().down.subscribe();
    down.wait_for(|down| !down).await.unwrap();
    listens(&cluster).await;
    assert_eq!(cluster.get("/version").await.0, 200);
    let (_, status) = cluster.get("/sim/status").await;
    assert_eq!(status["down"], false);
    assert!(status["requests"]["list pods"].is_null());
}
