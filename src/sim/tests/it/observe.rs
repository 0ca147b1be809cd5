//! The observation APIs over HTTP: paths, envelopes, codes.

use pilothouse_sim::scenario::Scenario;
use pilothouse_sim::server::Options;
use pilothouse_sim::world::{App, Version};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::stage::{Stage, steady};
use crate::{Cluster, answer};

struct Served {
    stage: Stage,
    url: String,
    http: reqwest::Client,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Served {
    async fn start() -> Self {
        let mut stage = Stage::new();
        let mut app = App { cpu_ms_per_request: 0.5, ..App::default() };
        let message = Some("card {n} was refused".to_owned());
        app.versions.insert("v1".to_owned(), Version { errors: 0.5, message, ..Version::default() });
        stage.service("pay", 2, steady(20.0), app);
        stage.run(300);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = stage.observe.router();
        #[allow(clippy::disallowed_methods, reason = "the test owns the task and ends it")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        drop(rustls::crypto::ring::default_provider().install_default());
        Self { stage, url, http: reqwest::Client::builder().no_proxy().no_gzip().build().unwrap(), task }
    }

    async fn get(&self, path: &str, pairs: &[(&str, &str)]) -> (u16, Value) {
        let query = joined(pairs);
        answer(self.http.get(format!("{}{path}?{query}", self.url))).await
    }

    async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> (u16, Value) {
        let body = joined(pairs);
        let kind = "application/x-www-form-urlencoded";
        answer(self.http.post(format!("{}{path}", self.url)).header("content-type", kind).body(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method, format!("{}{path}", self.url));
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    }
}

pub fn joined(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (key, value) in pairs {
        out.push_str(&format!("{key}="));
        for byte in value.bytes() {
            out.push_str(&format!("%{byte:02X}"));
        }
        out.push('&');
    }
    out
}

#[tokio::test]
async fn prometheus() {
    let it = Served::start().await;
    let query = "sum(rate(http_requests_total{code=\"200\"}[1m]))";
    let (code, body) = it.get("/prometheus/api/v1/query", &[("query", query)]).await;
    assert_eq!(
        (code, &body["status"], &body["data"]["resultType"]),
        (200, &json!("success"), &json!("vector"))
    );
    let value: f64 = body["data"]["result"][0]["value"][1].as_str().unwrap().parse().unwrap();
    assert!((value - 10.0).abs() < 3.0, "{body}");
    assert_eq!(it.form("/prometheus/api/v1/query", &[("query", query)]).await, (code, body));
    let now = it.stage.store.clock().now().timestamp().to_string();
    let start = (it.stage.start.timestamp() + 60).to_string();
    let range = [("query", "up"), ("start", &start), ("end", &now), ("step", "15s")];
    let (code, body) = it.get("/prometheus/api/v1/query_range", &range).await;
    assert_eq!((code, body["data"]["result"][0]["values"].as_array().unwrap().len()), (200, 17));
    for (path, pairs, code, kind) in [
        ("query", vec![("query", "sum(")], 400, "bad_data"),
        ("query", vec![("query", "holt_winters(up[5m], 0.5, 0.5)")], 422, "execution"),
        ("query", vec![("query", "up"), ("time", "soon")], 400, "bad_data"),
        (
            "query_range",
            vec![("query", "up"), ("start", "0"), ("end", "99999999"), ("step", "1")],
            400,
            "bad_data",
        ),
        ("query_range", vec![("query", "up"), ("start", "1"), ("end", "0"), ("step", "1")], 400, "bad_data"),
        ("series", vec![], 400, "bad_data"),
    ] {
        let (got, body) = it.get(&format!("/prometheus/api/v1/{path}"), &pairs).await;
        assert_eq!(
            (got, &body["status"], &body["errorType"]),
            (code, &json!("error"), &json!(kind)),
            "{path} {body}"
        );
        assert!(body["error"].as_str().unwrap().len() > 5);
    }
    let (_, body) = it.get("/prometheus/api/v1/series", &[("match[]", "up{job=\"pay\"}")]).await;
    assert_eq!(body["data"].as_array().unwrap().len(), 2);
    let (_, body) = it.get("/prometheus/api/v1/labels", &[]).await;
    assert!(body["data"].as_array().unwrap().contains(&json!("namespace")));
    let (_, body) = it.get("/prometheus/api/v1/label/code/values", &[]).await;
    assert_eq!(body["data"], json!(["200", "500"]));
    let (_, body) = it.get("/prometheus/api/v1/alerts", &[]).await;
    assert_eq!(body["data"]["alerts"][0]["state"], "firing");
    let (_, body) = it.get("/prometheus/api/v1/rules", &[("type", "alert")]).await;
    assert_eq!(body["data"]["groups"][0]["rules"].as_array().unwrap().len(), 6);
    let (_, body) = it.get("/prometheus/api/v1/targets", &[("state", "active")]).await;
    assert_eq!(body["data"]["activeTargets"][0]["health"], "up");
    let (_, body) = it.get("/prometheus/api/v1/metadata", &[("metric", "http_requests_total")]).await;
    assert_eq!(body["data"]["http_requests_total"][0]["type"], "counter");
    assert_eq!(it.get("/prometheus/api/v1/status/buildinfo", &[]).await.0, 200);
    assert_eq!(it.get("/prometheus/-/ready", &[]).await.0, 200);
    if std::env::var_os("PILOTHOUSE_TEST_PROMTOOL").is_some() {
        let (url, time) = (format!("{}/prometheus", it.url), format!("--time={now}"));
        let run = move || {
            std::process::Command::new("promtool").args(["query", "instant", &time, &url, "sum(up)"]).output()
        };
        let out = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(
            out.status.success() && said.contains("=> 5"),
            "{said} {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
}

#[tokio::test]
async fn alertmanager() {
    let it = Served::start().await;
    let alerts = "/alertmanager/api/v2/alerts";
    let (code, body) = it.get(alerts, &[("filter", "alertname=\"HighErrorRatio\"")]).await;
    assert_eq!((code, &body[0]["status"]["state"]), (200, &json!("active")), "{body}");
    assert_eq!(it.get(alerts, &[("filter", "service!=pay")]).await.1, json!([]));
    assert_eq!(it.get(alerts, &[("filter", "nonsense")]).await.0, 400);
    let (_, body) = it.get("/alertmanager/api/v2/alerts/groups", &[]).await;
    assert_eq!(body[0]["labels"], json!({"alertname": "HighErrorRatio", "namespace": "shop"}));
    let now = it.stage.store.clock().now();
    let silence = |ends: i64| {
        json!({"matchers": [{"name": "service", "value": "pay", "isRegex": false}], "startsAt": now.to_rfc3339(),
            "endsAt": (now + chrono::TimeDelta::minutes(ends)).to_rfc3339(), "createdBy": "me", "comment": "known"})
    };
    let silences = "/alertmanager/api/v2/silences";
    assert_eq!(it.send(Method::POST, silences, silence(-5)).await.0, 400);
    assert_eq!(it.send(Method::POST, silences, json!({"comment": "x"})).await.0, 422);
    let (code, body) = it.send(Method::POST, silences, silence(10)).await;
    let id = body["silenceID"].as_str().unwrap().to_owned();
    assert_eq!(code, 200);
    let (_, body) = it.get(alerts, &[]).await;
    assert_eq!(
        body[0]["status"],
        json!({"state": "suppressed", "silencedBy": [id], "inhibitedBy": [], "mutedBy": []})
    );
    assert_eq!(it.get(alerts, &[("silenced", "false")]).await.1, json!([]));
    let (_, body) = it.get(silences, &[("filter", "service=pay")]).await;
    assert_eq!(
        (&body[0]["status"]["state"], &body[0]["matchers"][0]["isEqual"]),
        (&json!("active"), &json!(true))
    );
    let one = format!("/alertmanager/api/v2/silence/{id}");
    assert_eq!(it.send(Method::DELETE, &one, Value::Null).await.0, 200);
    assert_eq!(it.get(&one, &[]).await.1["status"]["state"], "expired");
    assert_eq!(it.get("/alertmanager/api/v2/silence/none", &[]).await.0, 404);
    assert_eq!(it.get("/alertmanager/api/v2/status", &[]).await.1["cluster"]["status"], "disabled");
    assert_eq!(it.get("/alertmanager/api/v2/receivers", &[]).await.1, json!([{"name": "default"}]));
}

#[tokio::test]
async fn loki() {
    let it = Served::start().await;
    let range = "/loki-gateway/loki/api/v1/query_range";
    let refused = "{app=\"pay\",namespace=~\"sh.*\"} |= \"was refused\"";
    let (code, body) = it.get(range, &[("query", refused), ("limit", "5000")]).await;
    assert_eq!((code, &body["data"]["resultType"]), (200, &json!("streams")));
    let streams = body["data"]["result"].as_array().unwrap();
    assert_eq!(streams.len(), 2);
    assert_eq!(streams[0]["stream"]["pod"], "pay-0");
    let values = streams.iter().flat_map(|stream| stream["values"].as_array().unwrap()).count();
    assert!(values > 1000, "{values}");
    let first = &streams[0]["values"][0];
    assert!(
        first[0].as_str().unwrap().len() == 19 && first[1].as_str().unwrap().contains(" was refused"),
        "{first}"
    );
    let (_, few) = it.get(range, &[("query", refused), ("limit", "3"), ("direction", "forward")]).await;
    let count: usize =
        few["data"]["result"].as_array().unwrap().iter().map(|s| s["values"].as_array().unwrap().len()).sum();
    assert_eq!(count, 3);
    let sum = format!("sum by (app) (count_over_time({refused} [1h]))");
    let (_, body) = it.get("/loki-gateway/loki/api/v1/query", &[("query", &sum)]).await;
    assert_eq!(
        body["data"]["result"],
        json!([{"metric": {"app": "pay"},
        "value": [it.stage.store.clock().now().timestamp_millis() as f64 / 1000.0, values.to_string()]}])
    );
    for (pairs, words) in [
        (vec![("query", "{app=")], "parse error at line 1"),
        (vec![("query", "{app=\"pay\"}"), ("limit", "6000")], "max_entries_limit_per_query"),
        (vec![("query", "{app=\"pay\"} | json")], "not simulated"),
    ] {
        let (code, body) = it.get(range, &pairs).await;
        assert!(code == 400 && body.as_str().unwrap().contains(words), "{body}");
    }
    let (_, body) = it.get("/loki-gateway/loki/api/v1/label/app/values", &[]).await;
    assert_eq!(body, json!({"status": "success", "data": ["pay"]}));
    let (_, body) = it.get("/loki-gateway/loki/api/v1/series", &[("match[]", "{pod=\"pay-1\"}")]).await;
    assert_eq!(body["data"].as_array().unwrap().len(), 1);
    assert_eq!(it.get("/loki-gateway/ready", &[]).await.0, 200);
}

#[tokio::test]
async fn prometheus_is_a_service_behind_the_proxy_of_the_api_server() {
    let scenario = Scenario::load("bare").unwrap();
    let options = Options { monitored: true, ..Options::new(scenario) };
    let cluster = Cluster::bare(options).await;
    let path = "/api/v1/namespaces/monitoring/services";
    let (code, service) = cluster.get(&format!("{path}/prometheus")).await;
    assert_eq!((code, &service["spec"]["ports"][0]["name"]), (200, &json!("web")));
    for port in ["web", "9090"] {
        let (code, answer) =
            cluster.get(&format!("{path}/prometheus:{port}/proxy/api/v1/query?query=vector(2%2B1)")).await;
        assert_eq!((code, &answer["data"]["result"][0]["value"][1]), (200, &json!("3")), "{port}: {answer}");
    }
    let (code, refused) = cluster.get(&format!("{path}/prometheus:other/proxy/api/v1/query")).await;
    assert_eq!((code, &refused["reason"]), (503, &json!("ServiceUnavailable")));
    let (code, _) = cluster.get(&format!("{path}/none:web/proxy/api/v1/query")).await;
    assert_eq!(code, 404);
    let nobody = cluster.http.get(format!("{}{path}/prometheus:web/proxy/", cluster.running.url()));
    let (code, refused) = answer(nobody.bearer_auth("nobody")).await;
    let words = "cannot get resource \"services/proxy\" in API group \"\" in the namespace \"monitoring\"";
    assert!(code == 403 && refused["message"].as_str().unwrap().contains(words), "{refused}");
}
