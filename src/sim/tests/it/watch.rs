//! Watches: their events, the order of the events, and how they end.

use pilothouse_sim::resources::Res;
use pilothouse_sim::server::Options;
use pilothouse_sim::store::{Delete, Write};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::Cluster;

/// Reads a watch event by event.
struct Lines {
    response: Response,
    text: Vec<u8>,
}

impl Lines {
    async fn open(cluster: &Cluster, query: &str) -> Self {
        let path = format!("/api/v1/namespaces/shop/pods?watch=true&{query}");
        Self { response: cluster.ask(Method::GET, &path).send().await.unwrap(), text: Vec::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            self.text.extend_from_slice(&self.response.chunk().await.unwrap()?);
        }
    }

    /// Type and name of the next event.
    async fn short(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_selector_sees_objects_come_and_go() {
    let cluster = Cluster::start().await;
    let store = &cluster.running.store;
    cluster.pod("a", "web", "node-0000");
    let mut lines = Lines::open(&cluster, "labelSelector=app%3Dweb").await;
    assert_eq!(lines.short().await, pair("ADDED", "a"));
    cluster.pod("b", "db", "node-0000");
    cluster.pod("c", "web", "node-0000");
    assert_eq!(lines.short().await, pair("ADDED", "c"));
    store.update(Res::Pods, "shop", "c", "t", |pod| pod["metadata"]["labels"]["x"] = json!("y")).unwrap();
    assert_eq!(lines.short().await, pair("MODIFIED", "c"));
    let moved = store
        .update(Res::Pods, "shop", "c", "t", |pod| pod["metadata"]["labels"]["app"] = json!("db"))
        .unwrap();
    let left = lines.next().await.unwrap();
    assert_eq!(
        (&left["type"], &left["object"]["metadata"]["labels"]["app"]),
        (&json!("DELETED"), &json!("web"))
    );
    assert_eq!(left["object"]["metadata"]["resourceVersion"], json!(moved.version.to_string()));
    assert_eq!(left["object"]["kind"], "Pod");
    store.delete(Res::Pods, "shop", "a", &Delete::now()).unwrap();
    assert_eq!(lines.short().await, pair("DELETED", "a"));
}

#[tokio::test]
async fn a_watch_resumes_until_its_version_is_too_old() {
    let cluster = Cluster::with(1, Options { log: 4, ..super::dead() }).await;
    let start = cluster.running.store.version();
    cluster.pod("a", "web", "node-0000");
    cluster.pod("b", "web", "node-0000");
    let mut lines = Lines::open(&cluster, &format!("resourceVersion={start}")).await;
    assert_eq!(lines.short().await, pair("ADDED", "a"));
    assert_eq!(lines.short().await, pair("ADDED", "b"));
    for n in 0..8 {
        cluster.pod(&format!("p{n}"), "web", "node-0000");
    }
    let mut late = Lines::open(&cluster, &format!("resourceVersion={start}")).await;
    let error = late.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(error["object"]["reason"], "Expired");
    assert!(late.next().await.is_none());
}

#[tokio::test]
async fn bookmarks_end_the_initial_events_and_the_watch() {
    let cluster = Cluster::start().await;
    cluster.pod("a", "web", "node-0000");
    let version = cluster.running.store.version().to_string();
    let query =
        "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    let mut lines = Lines::open(&cluster, query).await;
    assert_eq!(lines.short().await, pair("ADDED", "a"));
    let end = lines.next().await.unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(end["object"]["metadata"]["resourceVersion"], json!(version));
    // Something else moves the version on: the last bookmark knows.
    let map = json!({"metadata": {"name": "c", "namespace": "shop"}});
    cluster.running.store.create(Res::ConfigMaps, map, &Write::by("t")).unwrap();
    let last = lines.next().await.unwrap();
    assert_eq!(last["type"], "BOOKMARK");
    assert!(lines.next().await.is_none());
    let mut cut = Lines::open(&cluster, "").await;
    assert_eq!(cut.short().await, pair("ADDED", "a"));
    let silence = async |resources: Value| {
        cluster.send(Method::POST, "/sim/watches/stall", json!({"resources": resources})).await.0
    };
    assert_eq!(silence(json!(["pods"])).await, 204);
    cluster.pod("b", "web", "node-0000");
    let quiet = std::time::Duration::from_millis(100);
    assert!(tokio::time::timeout(quiet, cut.next()).await.is_err(), "a stalled watch says nothing");
    assert_eq!(silence(json!([])).await, 204);
    assert_eq!(cut.short().await, pair("ADDED", "b"));
    cluster.ask(Method::POST, "/sim/watches/cut").send().await.unwrap();
    assert!(cut.next().await.is_none());
}
