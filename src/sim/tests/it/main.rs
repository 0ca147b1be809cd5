//! The simulated API server over HTTP, as its clients see it.

// only the test itself uses the items of its crate
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod balanced;
mod brought;
mod drills;
mod evict;
mod faults;
mod guards;
mod kubectl;
mod kubectl_calm;
mod kubectl_live;
mod lines;
mod live;
mod machines;
mod metrics;
mod observe;
mod owners;
mod rollouts;
mod same;
mod seed;
mod stage;
mod tail;
mod traffic;
mod watch;
mod workloads;

use pilothouse_sim::resources::Res;
use pilothouse_sim::scenario::Scenario;
use pilothouse_sim::server::{Options, Running, Sim};
use pilothouse_sim::store::Write;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// A server in whose cluster nothing happens.
fn dead() -> Options {
    Options { alive: false, ..Options::new(Scenario::load("bare").unwrap()) }
}

/// A cluster with two nodes, and a client of it.
struct Cluster {
    running: Running,
    http: reqwest::Client,
}

impl Cluster {
    async fn start() -> Self {
        Self::with(2, dead()).await
    }

    /// With `nodes` nodes and the seed's workloads, as objects only.
    async fn with(nodes: usize, options: Options) -> Self {
        let cluster = Self::bare(options).await;
        seed::cluster(&cluster.running.store, nodes, 1).unwrap();
        cluster
    }

    /// With what every cluster has.
    async fn bare(options: Options) -> Self {
        let running = Sim::start(options).await.unwrap();
        // in a build of the whole workspace reqwest has no TLS provider of its own (the second to install one is refused),
        // and takes gzip off unseen
        drop(rustls::crypto::ring::default_provider().install_default());
        Self { running, http: reqwest::Client::builder().no_proxy().no_gzip().build().unwrap() }
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.running.url())).bearer_auth("admin")
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        answer(self.ask(method, path).json(&body)).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.ask(Method::GET, path)).await
    }

    async fn patch(&self, path: &str, kind: &str, body: Value) -> (u16, Value) {
        let kind = format!("application/{kind}-patch+json");
        answer(self.ask(Method::PATCH, path).header("content-type", kind).body(body.to_string())).await
    }

    /// A pod that runs and is ready.
    fn pod(&self, name: &str, app: &str, node: &str) {
        let store = &self.running.store;
        let pod = json!({"metadata": {"name": name, "namespace": "shop", "labels": {"app": app},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": app,
                    "controller": true}]},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "app", "image": "i:1"}]},
            "status": {"phase": "Running", "podIP": "10.244.0.9", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0, "image": "i:1",
                    "imageID": "", "state": {"running": {"startedAt": store.clock().stamp()}}}]}});
        store.create(Res::Pods, pod, &Write::by("test")).unwrap();
    }

    /// What a budget's controller would write.
    fn budget(&self, name: &str, allowed: i64, healthy: i64, desired: i64) {
        let store = &self.running.store;
        let generation = store.get(Res::Pdbs, "shop", name).unwrap().generation();
        let status = json!({"observedGeneration": generation, "disruptionsAllowed": allowed, "expectedPods": healthy,
            "currentHealthy": healthy, "desiredHealthy": desired});
        store.update_status(Res::Pdbs, "shop", name, "test", |old| *old = status).unwrap();
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let code: StatusCode = response.status();
    let text = response.text().await.unwrap();
    (code.as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
