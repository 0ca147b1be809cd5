//! A Prometheus that is searched for among the cluster's Services, against an API server whose service proxy answers in
//! many ways.

use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::answers::{command, whole};

const JSON: &str = "content-type: application/json\r\n";

/// `NAMESPACE/NAME PORTNAME=PORT`, with the label of a Prometheus.
fn service(text: &str) -> Value {
    let (at, port) = text.split_once(' ').unwrap();
    let (namespace, name) = at.split_once('/').unwrap();
    let (port_name, port) = port.split_once('=').unwrap();
    json!({
        "metadata": {"namespace": namespace, "name": name, "uid": format!("uid-of-{at}"),
            "labels": {"app.kubernetes.io/name": match name {
                _ if name.contains("alert") => "alertmanager",
                _ if name.starts_with("loki") => "loki",
                _ => "prometheus",
            }}},
        "spec": {"ports": [{"name": port_name, "port": port.parse::<u16>().unwrap()}]},
    })
}

fn list(services: &[&str]) -> String {
    let items: Vec<Value> = services.iter().map(|text| service(text)).collect();
    let body = json!({"kind": "ServiceList", "metadata": {"resourceVersion": "5"}, "items": items});
    whole("200 OK", JSON, &body.to_string())
}

/// A Status of the API server.
fn status(code: u16, reason: &str, message: &str) -> String {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message});
    whole(&format!("{code} {reason}"), JSON, &body.to_string())
}

fn vector(value: &str) -> String {
    vector_of(&json!({}), value)
}

fn vector_of(labels: &Value, value: &str) -> String {
    let result = json!([{"metric": labels, "value": [1, value]}]);
    let body = json!({"status": "success", "data": {"resultType": "vector", "result": result}});
    whole("200 OK", JSON, &body.to_string())
}

fn empty() -> String {
    let body = json!({"status": "success", "data": {"resultType": "vector", "result": []}});
    whole("200 OK", JSON, &body.to_string())
}

/// A Prometheus with targets, but without metrics of traffic.
fn plain(path: &str) -> String {
    if path.contains("count%28up%29") { vector("12") } else { empty() }
}

type Requests = Arc<Mutex<Vec<String>>>;

/// What `doctor` prints, in this format. `proxy` answers the requests through the service proxy, whose paths are added
/// to `asked`.
fn printed(
    format: &str,
    services: &'static [&'static str],
    more: &[&str],
    asked: &Requests,
    proxy: impl Fn(&str) -> String + Send + Sync + 'static,
) -> String {
    let asked = asked.clone();
    let args: Vec<&str> = ["doctor", "-o", format].iter().chain(more).copied().collect();
    let (mut command, _home) = command(&args, move |path, _| {
        if path.contains("/proxy/") {
            asked.lock().unwrap().push(path.to_owned());
            return Some(proxy(path));
        }
        let is_list = path.split('?').next().unwrap() == "/api/v1/services" && !path.contains("watch=1");
        is_list.then(|| list(services))
    });
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// What `doctor` prints as text and as JSON, and the paths that were requested through the proxy.
fn doctor(
    services: &'static [&'static str],
    more: &[&str],
    proxy: impl Fn(&str) -> String + Clone + Send + Sync + 'static,
) -> (String, Value, Vec<String>) {
    let asked = Requests::default();
    let text = printed("text", services, more, &asked, proxy.clone());
    let document = parsed(&printed("json", services, more, &asked, proxy));
    let asked = asked.lock().unwrap().clone();
    (text, document, asked)
}

fn source(document: &Value) -> &Value {
    let sources = document["sources"].as_array().unwrap();
    sources.iter().find(|s| s["name"] == "prometheus").unwrap()
}

/// The search of a source.
fn searched<'a>(document: &'a Value, source: &str) -> &'a Value {
    let searches = document["searches"].as_array().unwrap();
    searches.iter().find(|s| s["source"] == source).unwrap()
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l.starts_with(line)), "{line}\n{text}");
}

const ONE: &[&str] =
    &["monitoring/prometheus-server http=80", "monitoring/prometheus-alertmanager http=9093"];

#[test]
fn one_that_answers_is_used_and_named() {
    let (text, document, asked) = doctor(ONE, &[], plain);
    has(
        &text,
        "source prometheus live (0 s ago), monitoring/prometheus-server:http through the API server: no known",
    );
    has(&text, "  prometheus: 1 of the cluster's 2 Services can be a Prometheus, by name or labels");
    has(
        &text,
        "  prometheus: monitoring/prometheus-server:http (Prometheus chart): used, through the API server",
    );
    assert_eq!(source(&document)["through"], "monitoring/prometheus-server:http");
    let search = searched(&document, "prometheus");
    assert_eq!(
        (&search["used"], &search["services"]),
        (&json!("monitoring/prometheus-server:http"), &json!(2))
    );
    let root = "/api/v1/namespaces/monitoring/services/prometheus-server:http/proxy/api/v1/query?query=";
    // the source of alerts asks the Alertmanager
    let others = |path: &&String| !path.contains("/prometheus-alertmanager:http/proxy/api/v2/");
    assert!(!asked.is_empty() && asked.iter().filter(others).all(|path| path.starts_with(root)), "{asked:?}");
}

#[test]
fn each_way_to_fail_is_told_in_words() {
    let denied = r#"services "prometheus-server:http" is forbidden: User "ann" cannot get resource "services/proxy" in API group "" in the namespace "monitoring""#;
    let none = r#"no endpoints available for service "prometheus-server:http""#;
    let refused = "error trying to reach service: dial tcp 10.0.0.1:9090: connect: connection refused";
    let login = whole("401 Unauthorized", "", "Unauthorized\n");
    let page = whole("200 OK", "content-type: text/html\r\n", "<!doctype html><title>Log in</title>");
    for (answer, state, outcome, words) in [
        (
            status(403, "Forbidden", denied),
            "denied",
            "denied",
            "403, needs get services/proxy in monitoring (User \"ann\" may not)",
        ),
        (
            status(503, "ServiceUnavailable", none),
            "down",
            "no-endpoints",
            "the Service monitoring/prometheus-server has no ready endpoints (pods) for port http",
        ),
        (
            status(404, "NotFound", "services \"prometheus-server\" not found"),
            "down",
            "missing",
            "404, there is no Service monitoring/prometheus-server, or it has no Endpoints",
        ),
        (status(503, "ServiceUnavailable", refused), "down", "failed", "connection refused"),
        (login, "not-installed", "login", "set prometheus.url and a token or password"),
        (
            page,
            "not-installed",
            "other",
            "an HTML page, perhaps for a login, and not JSON; is this Service a Prometheus?",
        ),
        (
            whole("404 Not Found", "", "404 page not found\n"),
            "not-installed",
            "other",
            "does this Prometheus have a path before /api/v1?",
        ),
        (whole("502 Bad Gateway", "", "<html>"), "down", "failed", "502: Bad Gateway"),
    ] {
        let (text, document, _) = doctor(ONE, &["--wait", "3s"], move |_| answer.clone());
        let source = source(&document);
        assert_eq!(source["state"], state, "{words}: {text}");
        assert!(source["error"].as_str().unwrap().contains(words), "{words}: {source}");
        let tried = &searched(&document, "prometheus")["tried"];
        assert_eq!(tried.as_array().unwrap().len(), 1, "never an Alertmanager: {tried}");
        assert_eq!(tried[0]["outcome"], outcome, "{words}");
        assert!(tried[0]["error"].as_str().unwrap().contains(words), "{words}: {tried}");
        has(&text, "  prometheus: monitoring/prometheus-server:http (Prometheus chart): ");
    }
}

#[test]
fn a_slow_one_is_not_waited_for_without_end() {
    let document = parsed(&printed("json", ONE, &["--wait", "7s"], &Requests::default(), |_| {
        std::thread::sleep(Duration::from_secs(30));
        String::new()
    }));
    assert_eq!(searched(&document, "prometheus")["tried"][0]["outcome"], "slow");
    assert!(source(&document)["error"].as_str().unwrap().contains("no answer within 5000 ms"), "{document}");
}

#[test]
fn one_with_data_is_preferred_to_one_without() {
    let services =
        &["a/prometheus-server http=80", "b/prometheus-server http=80", "c/prometheus-server http=80"];
    let (text, document, _) = doctor(services, &[], |path| match path {
        path if path.contains("/namespaces/a/") => empty(),
        path if path.contains("/namespaces/b/") => plain(path),
        path if path.contains("count%28up%29") => vector("12"),
        // it has metrics of HAProxy
        path if path.contains("count_over_time%28haproxy") => vector_of(&json!({"preset": "haproxy"}), "12"),
        _ => empty(),
    });
    assert_eq!(source(&document)["through"], "c/prometheus-server:http", "{text}");
    let outcomes: Vec<&str> = searched(&document, "prometheus")["tried"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tried| tried["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["empty", "spare", "used"]);
}

#[test]
fn a_named_service_is_read_without_a_search_and_a_namespace_does_not_hide_the_prometheus() {
    let flag = ["--prometheus", "svc/x/https:gateway:web/prometheus"];
    let (text, document, asked) = doctor(&[], &flag, plain);
    has(&text, "source prometheus live (0 s ago), x/https:gateway:web/prometheus through the API server");
    assert!(document["searches"].as_array().unwrap().iter().all(|s| s["source"] != "prometheus"));
    let root = "/api/v1/namespaces/x/services/https:gateway:web/proxy/prometheus/api/v1/query?query=";
    let rules = |path: &&String| !path.contains("/api/v1/rules?");
    assert!(asked.iter().filter(rules).all(|path| path.starts_with(root)), "{asked:?}");
    let (text, ..) = doctor(ONE, &["-n", "shop"], plain);
    has(&text, "source prometheus live (0 s ago), monitoring/prometheus-server:http through the API server");
}

/// A proxy that answers as the Prometheus behind it, and the heads of its requests.
fn proxy() -> (String, Requests) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let heads = Requests::default();
    let seen = heads.clone();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut head = String::new();
            let mut lines = BufReader::new(socket.try_clone().unwrap());
            while lines.read_line(&mut head).unwrap_or(0) > 2 {}
            let answer = vector("12").replace("content-type", "connection: close\r\ncontent-type");
            seen.lock().unwrap().push(head);
            drop(socket.write_all(answer.as_bytes()));
        }
    });
    (at, heads)
}

#[test]
fn a_configured_one_is_asked_through_its_proxy_with_its_login_and_headers() {
    let (at, heads) = proxy();
    let (mut command, home) = command(&["doctor", "-o", "json"], |_, _| None);
    let folder = home.path().join(".config/pilothouse");
    std::fs::create_dir_all(&folder).unwrap();
    let config = format!(
        "[prometheus]\nurl = \"http://prometheus.test:9090/prom\"\nusername = \"ann\"\npassword_env = \"PROM_PASSWORD\"\nproxy_url = \"http://me:secret@{at}\"\nheaders = {{ \"X-Scope-OrgID\" = \"team-a\" }}\n"
    );
    std::fs::write(folder.join("config.toml"), config).unwrap();
    // the setting is used for every host
    let output = command.env("PROM_PASSWORD", "p@ss").env("NO_PROXY", "*").output().unwrap();
    let document = parsed(&String::from_utf8(output.stdout).unwrap());
    let source = source(&document);
    assert!(source["state"] == "live" && source["through"].is_null(), "{source}");
    let heads = heads.lock().unwrap();
    let first = heads.first().unwrap();
    assert!(first.starts_with("GET http://prometheus.test:9090/prom/api/v1/query?query="), "{first}");
    let lower = first.to_lowercase();
    for header in [
        "proxy-authorization: basic bwu6c2vjcmv0",
        "authorization: basic yw5uonbac3m=",
        "x-scope-orgid: team-a",
    ] {
        assert!(lower.contains(header), "{header}: {first}");
    }
}

#[test]
fn a_loki_is_found_in_the_same_way() {
    let services = &[
        "logs/loki-gateway http=80",
        "logs/loki http-metrics=3100",
        "logs/loki-memberlist tcp=7946",
        "logs/loki-canary http-metrics=3500",
    ];
    let (text, document, asked) = doctor(services, &[], |path| match path {
        _ if path.contains("loki-gateway") => whole("401 Unauthorized", "", "Unauthorized\n"),
        _ if path.contains("/labels") => {
            whole("200 OK", JSON, r#"{"status":"success","data":["namespace","pod"]}"#)
        }
        _ => whole("200 OK", JSON, r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#),
    });
    has(&text, "source loki live (0 s ago), logs/loki:http-metrics through the API server");
    has(&text, "  loki: logs/loki:http-metrics (Loki chart): used, through the API server");
    has(&text, "  loki: logs/loki-gateway:http (Loki gateway): 401: it wants a login of its own");
    has(
        &text,
        "source victorialogs not-installed (never answered): no VictoriaLogs among the cluster's 4 Services",
    );
    assert_eq!(searched(&document, "loki")["used"], "logs/loki:http-metrics");
    let root = "/api/v1/namespaces/logs/services/loki:http-metrics/proxy/loki/api/v1/";
    let queries = asked.iter().filter(|path| path.starts_with(root));
    let errors = "query_range?query=%7Bnamespace%3D~%22.%2B%22%7D";
    assert!(queries.clone().any(|path| path.contains(errors)), "{asked:?}");
    assert!(!asked.iter().any(|path| path.contains("memberlist") || path.contains("canary")), "{asked:?}");
}
