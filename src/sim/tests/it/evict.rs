//! Evictions and disruption budgets.

use pilothouse_sim::resources::Res;
use pilothouse_sim::store::Write;
use reqwest::Method;
use serde_json::{Value, json};

use crate::Cluster;

async fn evict(cluster: &Cluster, name: &str, options: Value) -> (u16, Value) {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": "shop"}, "deleteOptions": options});
    cluster.send(Method::POST, &format!("/api/v1/namespaces/shop/pods/{name}/eviction"), eviction).await
}

fn allowed(cluster: &Cluster, budget: &str) -> Option<i64> {
    cluster.running.store.get(Res::Pdbs, "shop", budget).unwrap().int("/status/disruptionsAllowed")
}

#[tokio::test]
async fn a_budget_is_debited_and_then_refuses() {
    let cluster = Cluster::start().await;
    for n in 0..3 {
        cluster.pod(&format!("storefront-{n}"), "storefront", "node-0000");
    }
    let (code, status) = evict(&cluster, "storefront-0", json!({})).await;
    assert_eq!(code, 429);
    assert_eq!(status["details"]["retryAfterSeconds"], 10, "the controller has not looked at it yet");
    cluster.budget("storefront", 1, 3, 2);
    let (code, _) = evict(&cluster, "storefront-0", json!({"dryRun": ["All"]})).await;
    assert_eq!((code, allowed(&cluster, "storefront")), (201, Some(1)));
    let (code, status) = evict(&cluster, "storefront-0", json!({})).await;
    assert_eq!((code, &status["status"]), (201, &json!("Success")));
    assert_eq!(allowed(&cluster, "storefront"), Some(0));
    let store = &cluster.running.store;
    let budget = store.get(Res::Pdbs, "shop", "storefront").unwrap();
    assert!(budget.at("/status/disruptedPods/storefront-0").is_string());
    let pod = store.get(Res::Pods, "shop", "storefront-0").unwrap();
    assert!(pod.is_terminating() && pod.condition("DisruptionTarget") == Some("True"));
    let eviction = json!({"metadata": {"name": "storefront-1"}});
    let path = "/api/v1/namespaces/shop/pods/storefront-1/eviction";
    let refused = cluster.ask(Method::POST, path).json(&eviction).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().get("retry-after").is_none());
    let status: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(status["reason"], "TooManyRequests");
    let causes = json!([{"reason": "DisruptionBudget",
        "message": "The disruption budget storefront needs 2 healthy pods and has 3 currently"}]);
    assert_eq!(status["details"], json!({"causes": causes}));
    assert_eq!(evict(&cluster, "storefront-0", json!({})).await.0, 201, "a terminating pod costs nothing");
    assert_eq!(evict(&cluster, "nope", json!({})).await.0, 404);
    let body = json!({"metadata": {"name": "other"}});
    assert_eq!(cluster.send(Method::POST, path, body).await.0, 400);
}

#[tokio::test]
async fn traps_of_the_real_server_are_kept() {
    let cluster = Cluster::start().await;
    cluster.pod("payments-0", "payments", "node-0000");
    cluster.pod("payments-1", "payments", "node-0000");
    cluster.budget("payments", 1, 2, 1);
    let other = json!({"preconditions": {"uid": "other"}});
    assert_eq!(
        evict(&cluster, "payments-0", json!({"preconditions": {"uid": "other"}, "dryRun": ["All"]})).await.0,
        409
    );
    assert_eq!(allowed(&cluster, "payments"), Some(1));
    assert_eq!(evict(&cluster, "payments-0", other.clone()).await.0, 409);
    assert_eq!(allowed(&cluster, "payments"), Some(0), "the failed precondition has cost the budget");
    assert_eq!(evict(&cluster, "payments-0", other).await.0, 429);
    let store = &cluster.running.store;
    store
        .update_status(Res::Pods, "shop", "payments-1", "test", |s| {
            s["conditions"][0]["status"] = json!("False");
        })
        .unwrap();
    assert_eq!(
        evict(&cluster, "payments-1", json!({})).await.0,
        201,
        "unready pods go if enough others are healthy"
    );
    let second = json!({"metadata": {"name": "second", "namespace": "shop"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "payments"}}}});
    store.create(Res::Pdbs, second, &Write::by("test")).unwrap();
    let (code, status) = evict(&cluster, "payments-0", json!({})).await;
    assert_eq!(code, 500);
    assert!(status.get("reason").is_none() && status.get("details").is_none());
}
