//! `why` and similar commands against many kinds of servers and gateways: data that was not read never counts as
//! healthy.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A whole answer with its status line and headers; None: as a healthy server answers.
type Hook = Box<dyn Fn(&str, u32) -> Option<String> + Send + Sync>;

const LISTS: [(&str, &str); 22] = [
    ("nodes", "NodeList"),
    ("leases", "LeaseList"),
    ("pods", "PodList"),
    ("deployments", "DeploymentList"),
    ("replicasets", "ReplicaSetList"),
    ("statefulsets", "StatefulSetList"),
    ("daemonsets", "DaemonSetList"),
    ("jobs", "JobList"),
    ("cronjobs", "CronJobList"),
    ("services", "ServiceList"),
    ("endpointslices", "EndpointSliceList"),
    ("horizontalpodautoscalers", "HorizontalPodAutoscalerList"),
    ("poddisruptionbudgets", "PodDisruptionBudgetList"),
    ("persistentvolumeclaims", "PersistentVolumeClaimList"),
    ("events", "EventList"),
    ("httproutes", "HTTPRouteList"),
    ("virtualservices", "VirtualServiceList"),
    ("destinationrules", "DestinationRuleList"),
    ("traefikservices", "TraefikServiceList"),
    ("ingresses", "IngressList"),
    ("rollouts", "RolloutList"),
    ("canaries", "CanaryList"),
];

pub fn whole(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

/// An empty, healthy cluster. None: a watch, which stays open and silent.
fn healthy(path: &str) -> Option<String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let plural = path.rsplit('/').next().unwrap();
    if query.contains("watch=1") {
        return None;
    }
    if path.starts_with("/apis/metrics.k8s.io/") {
        return Some(whole("404 Not Found", "", "404 page not found\n"));
    }
    if path == "/version" {
        return Some(whole("200 OK", "", r#"{"gitVersion":"v1.36.2"}"#));
    }
    let body = match LISTS.iter().find(|(name, _)| *name == plural) {
        Some((_, kind)) => json!({"kind": kind, "metadata": {"resourceVersion": "5"}, "items": null}),
        None if plural == "namespaces" => {
            let named = |name: &str| json!({"metadata": {"name": name}});
            json!({"kind": "NamespaceList", "metadata": {}, "items": [named("shop"), named("pay")]})
        }
        None => {
            json!({"kind": "Any", "metadata": {"name": "any"}, "status": {"userInfo": {"username": "ann"}}})
        }
    };
    Some(whole("200 OK", "content-type: application/json\r\n", &body.to_string()))
}

fn serve(socket: TcpStream, hook: &Hook, asked: &Mutex<std::collections::HashMap<String, u32>>) {
    let mut lines = BufReader::new(socket.try_clone().unwrap());
    let mut socket = socket;
    loop {
        let (mut first, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if first.is_empty() {
                first.clone_from(&line);
            }
            if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        if std::io::copy(&mut std::io::Read::take(&mut lines, length), &mut std::io::sink()).is_err() {
            return;
        }
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let times = {
            let mut asked = asked.lock().unwrap();
            let times = asked.entry(path.split('?').next().unwrap().to_owned()).or_default();
            *times += 1;
            *times
        };
        let answer = match hook(&path, times) {
            Some(answer) => answer,
            None => match healthy(&path) {
                Some(answer) => answer,
                None => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".into(),
            },
        };
        if answer.is_empty() || socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Starts such a server; returns its port.
pub fn server(hook: impl Fn(&str, u32) -> Option<String> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (hook, asked): (Arc<Hook>, Arc<Mutex<_>>) = (Arc::new(Box::new(hook)), Arc::default());
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let (hook, asked) = (hook.clone(), asked.clone());
            std::thread::spawn(move || serve(socket, &hook, &asked));
        }
    });
    port
}

/// Runs a headless command against such a server; returns its home too.
pub fn command(
    args: &[&str],
    hook: impl Fn(&str, u32) -> Option<String> + Send + Sync + 'static,
) -> (Command, tempfile::TempDir) {
    let port = server(hook);
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    let text = format!(
        "clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\ncontexts: [{{name: test, context: {{cluster: c, namespace: shop}}}}]\ncurrent-context: test\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse"));
    command
        .arg("--kubeconfig")
        .arg(&config)
        .args(args)
        .env("HOME", home.path())
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .env_remove("PILOTHOUSE_PROMETHEUS");
    (command, home)
}

/// Runs it: exit status and standard output.
fn run(args: &[&str], hook: impl Fn(&str, u32) -> Option<String> + Send + Sync + 'static) -> (i32, String) {
    let (mut command, _home) = command(args, hook);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

pub const WELL: &str = "nothing is known to be wrong";

pub fn is_list(path: &str) -> bool {
    !path.contains("watch=1") && LISTS.iter().any(|(name, _)| path.split('?').next().unwrap().ends_with(name))
}

#[test]
fn one_failure_of_each_list_is_asked_again() {
    for failure in [
        whole("429 Too Many Requests", "retry-after: 1\r\n", "Too many requests, please try again later."),
        whole("503 Service Unavailable", "", "apiserver not ready"),
        whole("500 Internal Server Error", "", r#"{"kind":"Status","message":"etcdserver: leader changed"}"#),
        whole("504 Gateway Timeout", "", "<html>"),
        String::new(),
    ] {
        let said = failure.clone();
        let (status, out) =
            run(&["why", "--wait", "60s"], move |path, n| (is_list(path) && n == 1).then(|| said.clone()));
        assert!(status == 0 && out.contains(WELL), "{failure}: {status} {out}");
        assert!(out.starts_with("test at "), "{out}");
    }
}

#[test]
fn what_fails_for_the_whole_time_is_said_first_and_fails() {
    for (answer, words) in [
        (
            whole("503 Service Unavailable", "", "<html>x"),
            "NOT SEEN: pods (503: Service Unavailable (a web page",
        ),
        (whole("200 OK", "", "{}"), "NOT SEEN: pods (answer not understood: it is an object without kind"),
        (
            whole("200 OK", "", r#"{"kind":"Status","code":403,"message":"rewritten"}"#),
            "NOT SEEN: pods (403: error Status",
        ),
        (whole("429 X", "retry-after: 600\r\n", "busy"), "NOT SEEN: pods (busy)"),
    ] {
        let said = answer.clone();
        let (status, out) = run(&["why", "--wait", "1500ms"], move |path, _| {
            (is_list(path) && path.starts_with("/api/v1/pods")).then(|| said.clone())
        });
        assert_eq!(status, 1, "{out}");
        assert!(out.starts_with(words) && !out.contains(WELL), "{answer}: {out}");
    }
    let (status, out) = run(&["snapshot", "--wait", "1500ms", "-o", "json"], |path, _| {
        (is_list(path) && path.contains("/events")).then(|| whole("503 Service Unavailable", "", "down"))
    });
    let doc: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status, 1);
    assert_eq!(
        doc["not_seen"],
        json!([{"what": "events", "why": "failing", "namespaces": [], "reason": "503: down"}])
    );
}

#[test]
fn what_is_not_installed_is_no_fault_and_no_permission() {
    let (status, out) = run(&["why", "--wait", "20s"], |path, _| {
        path.contains("/poddisruptionbudgets").then(|| whole("404 Not Found", "", "404 page not found\n"))
    });
    assert!(status == 0 && out.contains(WELL), "{status} {out}");
    let (status, out) =
        run(&["why", "--wait", "20s"], |_, _| Some(whole("404 Not Found", "", "<html>nginx")));
    assert!(status == 1 && !out.contains(WELL) && !out.contains("permission"), "{status} {out}");
    assert!(out.contains("no Kubernetes API answers at this address"), "{out}");
}

#[test]
fn rights_in_some_namespaces_show_these_and_name_the_others() {
    let forbidden = |path: &str| {
        let inside = path.contains("/namespaces/shop/") || path.contains("/namespaces/pay/");
        let refused = is_list(path) && !inside;
        refused.then(|| {
            whole("403 Forbidden", "", r#"{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}"#)
        })
    };
    let (status, out) = run(&["why", "--wait", "20s"], move |path, _| forbidden(path));
    assert_eq!(status, 0, "{out}");
    let first = out.lines().next().unwrap();
    assert!(first.starts_with("not seen: nodes, leases (no permission); pods, deployments"), "{out}");
    assert!(first.ends_with("in pay (no permission)") && !out.contains(WELL), "{out}");
    for args in [&["-n", "shop", "-n", "pay"][..], &["-n", "shop,pay"]] {
        let (status, out) = run(&[args, &["why", "--wait", "20s"]].concat(), move |path, _| forbidden(path));
        assert_eq!(status, 0, "{out}");
        assert_eq!(out.lines().next().unwrap(), "not seen: nodes, leases (no permission)");
        assert!(out.contains("pods: namespaces shop, pay only"), "{out}");
    }
}

#[test]
fn times_are_the_servers_and_a_skew_is_told() {
    let dated = |path: &str| {
        let date = "date: Thu, 01 Jan 2026 02:00:00 GMT\r\n";
        healthy(path).map(|answer| answer.replacen("\r\n", &format!("\r\n{date}"), 1))
    };
    let (status, out) = run(&["why", "--wait", "20s"], move |path, _| dated(path));
    assert_eq!(status, 0, "{out}");
    assert!(out.starts_with("test at 2026-01-01T02:00:0"), "{out}");
    assert!(out.contains("CLOCK: the server's clock is ") && out.contains("behind"), "{out}");
}
