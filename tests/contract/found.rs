//! A Prometheus that only the cluster reaches: its Service is found and read through the API server's proxy, with an
//! empty config. The real API server proxies to the address of a pod only, and to none on loopback. So the test makes
//! a pod that has this machine's own address, where it forwards connections of this machine to Prometheus.

use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::rig::{Rig, err, out, real, until};

const NAMESPACE: &str = "contract-found";
/// A user with the role of `pilothouse rbac viewer`, and one with the same role without the proxy.
const VIEWER: &str = "found-viewer";
const WITHOUT: &str = "found-without";

/// This machine's address in its network. Nothing is sent.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket
        .connect("192.0.2.1:9")
        .expect("this machine has no network, so the API server can proxy to no address of it");
    socket.local_addr().unwrap().ip()
}

/// Forwards connections of this machine to Prometheus until it is dropped.
struct Forwarder {
    at: std::net::SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Forwarder {
    fn start(to: String) -> Self {
        let listener = TcpListener::bind((own_address(), 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            for peer in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                if peer.peer_addr().is_ok_and(|from| from.ip() == at.ip()) {
                    let server = TcpStream::connect(&to).unwrap();
                    let ends = [(peer.try_clone(), server.try_clone()), (Ok(server), Ok(peer))];
                    for (from, into) in ends {
                        let (mut from, mut into) = (from.unwrap(), into.unwrap());
                        std::thread::spawn(move || {
                            drop(std::io::copy(&mut from, &mut into));
                            drop(into.shutdown(std::net::Shutdown::Write));
                        });
                    }
                }
            }
        });
        Self { at, stop }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.at));
    }
}

/// The Service `prometheus`, and the pod that it leads to.
fn install(rig: &Rig, at: std::net::SocketAddr) {
    let (ip, port) = (at.ip(), at.port());
    rig.namespace(NAMESPACE);
    rig.apply_in(
        NAMESPACE,
        r#"
apiVersion: v1
kind: Pod
metadata: {name: prometheus-0}
# no scheduler binds it to a node, so nothing else writes its status
spec: {schedulerName: none, containers: [{name: a, image: "a:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: prometheus, labels: {app.kubernetes.io/name: prometheus, app.kubernetes.io/component: server}}
spec: {ports: [{name: web, port: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: prometheus-node-exporter, labels: {app.kubernetes.io/name: prometheus-node-exporter}}
spec: {ports: [{name: http, port: 9100}]}
"#,
    );
    let status = format!(
        r#"{{"status":{{"phase":"Running","podIP":"{ip}","podIPs":[{{"ip":"{ip}"}}],"conditions":[{{"type":"Ready","status":"True"}}]}}}}"#
    );
    let pod = ["-n", NAMESPACE, "patch", "pod", "prometheus-0", "--subresource=status", "--type=merge", "-p"];
    rig.kubectl_ok(&[&pod[..], &[&status]].concat());
    rig.apply_in(
        NAMESPACE,
        &format!(
            r"
apiVersion: v1
kind: Endpoints
metadata: {{name: prometheus}}
subsets:
- addresses: [{{ip: {ip}, targetRef: {{kind: Pod, namespace: {NAMESPACE}, name: prometheus-0}}}}]
  ports: [{{name: web, port: {port}}}]
"
        ),
    );
}

/// Binds the roles of `pilothouse rbac viewer` to a user. `leave_out` is removed from the role.
fn viewer(rig: &Rig, user: &str, leave_out: &str) {
    let yaml = out(&rig.run_as("admin", &["rbac", "viewer"]));
    let own = yaml.replace("name: pilothouse-viewer", &format!("name: {user}"));
    let without: Vec<String> = own
        .lines()
        .map(|line| match line.strip_prefix("  resources: [") {
            Some(list) => {
                let kept = list.trim_end_matches(']').split(", ").filter(|one| *one != leave_out);
                format!("  resources: [{}]", kept.collect::<Vec<_>>().join(", "))
            }
            None => line.to_owned(),
        })
        .collect();
    // a rule without resources is invalid
    let yaml = without.join("\n").replace("  resources: []", "  resources: [none]");
    rig.apply(&yaml);
    for (kind, of, place) in
        [("clusterrolebinding", "clusterrole", &[][..]), ("rolebinding", "role", &["-n", "kube-node-lease"])]
    {
        let (role, whom) = (format!("--{of}={user}"), format!("--user={user}"));
        rig.kubectl(&[&["create", kind, user, &role, &whom], place].concat());
    }
    until(20, "the server has read the bindings", || {
        let asked = rig.kubectl(&["auth", "can-i", "list", "services", "-A", "--as", user]);
        if out(&asked).trim() == "yes" { Ok(()) } else { Err(out(&asked)) }
    });
}

fn clean(rig: &Rig) {
    rig.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false"]);
    for user in [VIEWER, WITHOUT] {
        rig.kubectl(&["delete", "clusterrolebinding,clusterrole", user, "--ignore-not-found"]);
        rig.kubectl(&["-n", "kube-node-lease", "delete", "rolebinding,role", user, "--ignore-not-found"]);
    }
}

fn doctor(output: &Output) -> (Value, Value) {
    let document: Value =
        serde_json::from_str(&out(output)).unwrap_or_else(|e| panic!("{e}: {}{}", out(output), err(output)));
    let sources = document["sources"].as_array().unwrap();
    let source = sources.iter().find(|s| s["name"] == "prometheus").unwrap().clone();
    (source, document)
}

/// The search for Prometheus in what `doctor` prints.
fn searched(document: &Value) -> &Value {
    document["searches"].as_array().unwrap().iter().find(|s| s["source"] == "prometheus").unwrap()
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn a_prometheus_inside_is_found_and_read_with_an_empty_config_real_only() {
    let rig = real("the proxy leads to a real Prometheus");
    clean(&rig);
    until(60, "the namespace is gone", || {
        let gone = !rig.kubectl(&["get", "namespace", NAMESPACE]).status.success();
        if gone { Ok(()) } else { Err("not yet".into()) }
    });
    let url = std::env::var("PILOTHOUSE_TEST_PROMETHEUS").expect("printed by tests/cluster/up");
    let host = url.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    let forwarder = Forwarder::start(host);
    install(&rig, forwarder.at);
    viewer(&rig, VIEWER, "");
    viewer(&rig, WITHOUT, "services/proxy");
    let as_user = |user: &str, args: &[&str]| rig.run_as("admin", &[&["--as", user], args].concat());

    // found and used, as admin and as a viewer
    let mark = rig.audit_mark();
    for args in [&["--read-only"][..], &["--as", VIEWER], &["--as", VIEWER, "-n", "shop"]] {
        let output = rig.run_as("admin", &[args, &["doctor", "-o", "json"]].concat());
        let (source, document) = doctor(&output);
        assert_eq!(source["state"], "live", "{args:?}: {source} {}", document["searches"]);
        assert_eq!(source["through"], "contract-found/prometheus:web");
        let tried = searched(&document)["tried"].as_array().unwrap();
        assert!(tried.len() == 1 && tried[0]["outcome"] == "used", "{tried:?}");
        let snapshot = rig.run_as("admin", &[args, &["snapshot", "-o", "json"]].concat());
        let document: Value = serde_json::from_str(&out(&snapshot)).unwrap();
        let services = document["services"].as_array().unwrap();
        let measured = |s: &&Value| s["name"] == "checkout" && s["rps"].as_f64().is_some_and(|rps| rps > 1.0);
        assert!(services.iter().any(|s| measured(&s)), "{args:?}: {}", document["sources"]);
    }
    let proxied: Vec<Value> =
        rig.audit_settled(mark).into_iter().filter(|e| e["objectRef"]["subresource"] == "proxy").collect();
    assert!(!proxied.is_empty() && proxied.iter().all(|e| e["verb"] == "get"), "{proxied:?}");
    let text = out(&as_user(VIEWER, &["doctor"]));
    assert!(text.lines().any(|l| l == "may get services/proxy: yes"), "{text}");

    // denied, in words
    let output = as_user(WITHOUT, &["doctor", "-o", "json"]);
    let (source, document) = doctor(&output);
    assert_eq!((output.status.code(), &source["state"]), (Some(1), &Value::from("denied")), "{source}");
    let words = format!("403, needs get services/proxy in {NAMESPACE} (User \"{WITHOUT}\" may not)");
    assert!(source["error"].as_str().unwrap().contains(&words), "{source}");
    assert_eq!(searched(&document)["tried"][0]["outcome"], "denied");
    let output = rig.run_as("nobody", &["doctor", "-o", "json"]);
    let (source, _) = doctor(&output);
    assert_eq!(source["state"], "denied", "{source}");
    let words = source["error"].as_str().unwrap();
    assert!(
        words.contains("403") && words.contains("services") && words.contains("prometheus.url"),
        "{words}"
    );

    // what the API server says when nothing is behind the Service
    drop(forwarder);
    // the API server keeps its connections, so the search can still succeed, and a poll fails then
    until(60, "the refused connection is told", || {
        let (source, _) = doctor(&as_user(VIEWER, &["doctor", "-o", "json", "--wait", "8s"]));
        let is_told = source["error"].as_str().is_some_and(|words| words.contains("connection refused"));
        if is_told { Ok(()) } else { Err(source.to_string()) }
    });
    let endpoints = ["-n", NAMESPACE, "patch", "endpoints", "prometheus", "--type=merge", "-p"];
    for (change, words) in [
        (
            &[&endpoints[..], &[r#"{"subsets":null}"#]].concat()[..],
            "the Service contract-found/prometheus has no ready endpoints (pods) for port web",
        ),
        (
            &["-n", NAMESPACE, "delete", "endpoints", "prometheus"],
            "404, there is no Service contract-found/prometheus, or it has no Endpoints",
        ),
    ] {
        rig.kubectl_ok(change);
        let (source, _) = doctor(&as_user(VIEWER, &["doctor", "-o", "json"]));
        assert!(source["error"].as_str().unwrap().contains(words), "{source}");
    }
    rig.kubectl_ok(&["-n", NAMESPACE, "delete", "service", "prometheus"]);
    let (source, _) = doctor(&as_user(VIEWER, &["doctor", "-o", "json"]));
    assert_eq!(source["state"], "not-installed");
    assert!(source["error"].as_str().unwrap().starts_with("no Prometheus among the cluster's "), "{source}");
    clean(&rig);
}
