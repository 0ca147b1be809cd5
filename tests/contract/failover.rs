//! Failover plans of each kind on the real cluster: they run, stop on errors, and can be reverted.

use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::rig::{Rig, err, out, real, rig, until};

const NAMESPACE: &str = "contract-failover";

/// Two colours of a workload, a Service for each, and one that selects blue.
fn colours(rig: &Rig) {
    rig.namespace(NAMESPACE);
    let mut yaml = String::new();
    for colour in ["blue", "green"] {
        yaml.push_str(&format!(
            r#"
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {colour}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web, version: {colour}}}}}
  template:
    metadata: {{labels: {{app: web, version: {colour}}}}}
    spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: a, image: "a:1"}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {colour}}}
spec: {{selector: {{app: web, version: {colour}}}, ports: [{{port: 80}}]}}
"#
        ));
    }
    yaml.push_str(
        r"
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web, version: blue}, ports: [{port: 80}]}
",
    );
    rig.apply_in(NAMESPACE, &yaml);
    for colour in ["deploy/blue", "deploy/green"] {
        rig.kubectl_ok(&["-n", NAMESPACE, "scale", colour, "--replicas=2"]);
        rig.kubectl_ok(&["-n", NAMESPACE, "rollout", "status", colour, "--timeout=60s"]);
    }
    until(20, "the endpoints", || {
        let all = ["web", "blue", "green"].map(|s| endpoints(rig, s).len());
        if all == [2, 2, 2] { Ok(()) } else { Err(format!("{all:?}")) }
    });
}

/// The names of the ready pods behind a Service.
fn endpoints(rig: &Rig, service: &str) -> Vec<String> {
    let label = format!("kubernetes.io/service-name={service}");
    let slices = rig.kubectl_json(&["-n", NAMESPACE, "get", "endpointslices", "-l", &label]);
    let slices = slices["items"].as_array().unwrap();
    let all = slices.iter().filter_map(|s| s["endpoints"].as_array()).flatten();
    all.filter(|e| e["conditions"]["ready"] != false)
        .map(|e| e["targetRef"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn run(rig: &Rig, words: &[&str], status: i32) -> Value {
    rig.json(&[words, &["--yes", "-o", "json"]].concat(), status)
}

pub fn states(done: &Value) -> Vec<&str> {
    done["steps"].as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap()).collect()
}

pub fn id(done: &Value) -> &str {
    done["id"].as_str().unwrap()
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_selector_is_switched_and_switched_back() {
    let rig = rig();
    colours(&rig);
    rig.config(&format!(
        "[failover.green]\nkind = \"selector\"\nservice = \"{NAMESPACE}/web\"\nfrom = \"version=blue\"\nto = \"version=green\"\nsoak_secs = 1\n"
    ));
    let of = |colour: &str| {
        let selector =
            rig.kubectl_json(&["-n", NAMESPACE, "get", "service", "web"])["spec"]["selector"].clone();
        assert_eq!(selector, json!({ "app": "web", "version": colour }));
        // verified means that the endpoints have followed, so nothing is waited for here
        let behind = endpoints(&rig, "web");
        assert!(behind.len() == 2 && behind.iter().all(|p| p.starts_with(colour)), "{colour}: {behind:?}");
    };
    let dry = rig.json(&["failover", "green", "--dry-run", "-o", "json"], 0);
    assert_eq!(
        (&dry["confirm"], &dry["services"][0]["ready_after"]),
        (&json!("context"), &json!(2)),
        "{dry}"
    );
    of("blue");
    let done = run(&rig, &["failover", "green"], 0);
    assert_eq!(states(&done), ["verified", "verified", "verified"], "{done}");
    of("green");
    let again = run(&rig, &["failover", "green"], 0);
    assert!(again["steps"].as_array().unwrap().is_empty(), "{again}");
    let back = run(&rig, &["failover", "green", "--revert"], 0);
    of("blue");
    let text = out(&rig.run(&["failover", "green", "--dry-run"]));
    assert!(text.starts_with("failover green in test\n"), "{text}");
    // the undo of the revert is the failover again
    run(&rig, &["undo", id(&back)], 0);
    until(20, "green again", || {
        if endpoints(&rig, "web").iter().all(|p| p.starts_with("green")) {
            Ok(())
        } else {
            Err(String::new())
        }
    });
    run(&rig, &["failover", "green", "--revert"], 0);
    // there is no ready pod there, so nothing moves
    rig.kubectl_ok(&["-n", NAMESPACE, "scale", "deploy/green", "--replicas=0"]);
    until(30, "green is gone", || {
        let green = endpoints(&rig, "green");
        if green.is_empty() { Ok(()) } else { Err(format!("{green:?}")) }
    });
    let refused = run(&rig, &["failover", "green"], 3);
    let reason = refused["refusals"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("would have no endpoint"), "{reason}");
    of("blue");
}

/// A route of each kind with blue at 90 and green at 10.
fn route(kind: &str) -> (&'static str, String, &'static str, &'static str) {
    let head = |api: &str, kind: &str| format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: web}}\n");
    match kind {
        "httproute" => (
            "httproutes.gateway.networking.k8s.io",
            head("gateway.networking.k8s.io/v1", "HTTPRoute")
                + "spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: blue, port: 80, weight: 90}, {name: green, port: 80, weight: 10}]}]}\n",
            "/spec/rules/0/backendRefs",
            "green",
        ),
        "virtualservice" => (
            "virtualservices.networking.istio.io",
            head("networking.istio.io/v1", "VirtualService")
                + "spec: {hosts: [web], http: [{route: [{destination: {host: blue}, weight: 90}, {destination: {host: green.contract-failover.svc.cluster.local}, weight: 10}]}]}\n",
            "/spec/http/0/route",
            "green.contract-failover.svc.cluster.local",
        ),
        _ => (
            "traefikservices.traefik.io",
            head("traefik.io/v1alpha1", "TraefikService")
                + "spec: {weighted: {services: [{name: blue, port: 80, weight: 90}, {name: green, port: 80, weight: 10}]}}\n",
            "/spec/weighted/services",
            "green",
        ),
    }
}

fn weights(rig: &Rig, resource: &str, at: &str) -> Vec<i64> {
    let live = rig.kubectl_json(&["-n", NAMESPACE, "get", resource, "web"]);
    live.pointer(at).unwrap().as_array().unwrap().iter().map(|b| b["weight"].as_i64().unwrap()).collect()
}

fn shift(kind: &str, to: &str, more: &str) -> String {
    format!(
        "[failover.shift]\nkind = \"weight\"\nroute = \"{kind}/{NAMESPACE}/web\"\nfrom = \"blue\"\nto = \"{to}\"\nsteps = [50, 100]\n{more}"
    )
}

/// Reports on each generation of a namespace's HTTPRoutes like a gateway's controller, while `work` runs.
pub fn with_gateway<T>(rig: &Rig, space: &str, accepted: bool, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let report = |route: &Value| {
        let generation = route["metadata"]["generation"].as_i64().unwrap();
        let seen = route.pointer("/status/parents/0/conditions/0/observedGeneration");
        if seen.and_then(Value::as_i64) == Some(generation) {
            return;
        }
        // a gateway accepts the first generation, and may reject the next
        let fine = accepted || generation == 1;
        let condition = |kind: &str| {
            json!({ "type": kind, "status": if fine { "True" } else { "False" }, "reason": if fine { "Accepted" } else { "UnsupportedValue" },
                "message": "", "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z" })
        };
        let status = json!({ "status": { "parents": [{ "parentRef": { "name": "edge" }, "controllerName": "test/gateway",
            "conditions": [condition("Accepted"), condition("ResolvedRefs")] }] } });
        let name = route["metadata"]["name"].as_str().unwrap();
        let patch = ["-n", space, "patch", "httproute", name, "--subresource=status", "--type=merge", "-p"];
        rig.kubectl_ok(&[&patch[..], &[&status.to_string()]].concat());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let routes = rig.kubectl_json(&["-n", space, "get", "httproutes"]);
                routes["items"].as_array().unwrap().iter().for_each(report);
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::SeqCst);
        done.unwrap_or_else(|failed| std::panic::resume_unwind(failed))
    })
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn weights_are_shifted_in_steps_on_each_kind_of_route() {
    let rig = rig();
    colours(&rig);
    for kind in ["httproute", "virtualservice", "traefikservice"] {
        let (resource, yaml, at, to) = route(kind);
        rig.kubectl_ok(&["-n", NAMESPACE, "delete", resource, "web", "--ignore-not-found"]);
        rig.apply_in(NAMESPACE, &yaml);
        rig.config(&shift(kind, to, "soak_secs = 1\n"));
        let work = || {
            let mark = rig.audit_mark();
            let done = run(&rig, &["failover", "shift"], 0);
            assert!(states(&done).iter().all(|s| *s == "verified"), "{kind}: {done}");
            assert_eq!(weights(&rig, resource, at), [0, 100], "{kind}");
            let again = run(&rig, &["failover", "shift"], 0);
            assert!(again["steps"].as_array().unwrap().is_empty(), "{kind}: nothing goes back: {again}");
            let plural = resource.split('.').next().unwrap();
            let patches = |e: &Value| {
                e["verb"] == "patch"
                    && e["objectRef"]["resource"] == plural
                    && !e["requestURI"].to_string().contains("dryRun")
            };
            let seen = rig.audit_settled(mark);
            assert_eq!(seen.iter().filter(|e| patches(e)).count(), 2, "{kind}: a request for each step");
            let back = run(&rig, &["failover", "shift", "--revert"], 0);
            assert_eq!(weights(&rig, resource, at), [100, 0], "{kind}: back at once");
            // each undo restores the state at the start of its run
            run(&rig, &["undo", id(&back)], 0);
            assert_eq!(weights(&rig, resource, at), [0, 100], "{kind}");
            run(&rig, &["undo", id(&done)], 0);
            assert_eq!(weights(&rig, resource, at), [90, 10], "{kind}");
            // weights that somebody else has written since are not overwritten
            let moved = rig.kubectl_json(&["-n", NAMESPACE, "get", resource, "web"]);
            let mut items = moved.pointer(at).unwrap().clone();
            items[0]["weight"] = json!(77);
            let patch = json!([{ "op": "replace", "path": at, "value": items }]).to_string();
            let done = run(&rig, &["failover", "shift"], 0);
            rig.kubectl_ok(&["-n", NAMESPACE, "patch", resource, "web", "--type=json", "-p", &patch]);
            let refused = run(&rig, &["undo", id(&done)], 3);
            let reason = refused["refusals"][0]["reason"].as_str().unwrap();
            assert!(reason.contains("kubectl-patch at 20"), "{kind}: {reason}");
            assert_eq!(weights(&rig, resource, at)[0], 77);
        };
        if kind == "httproute" { with_gateway(&rig, NAMESPACE, true, work) } else { work() }
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_route_that_its_gateway_refuses_ends_the_run() {
    let rig = rig();
    colours(&rig);
    let (resource, yaml, at, to) = route("httproute");
    rig.kubectl_ok(&["-n", NAMESPACE, "delete", resource, "web", "--ignore-not-found"]);
    rig.apply_in(NAMESPACE, &yaml);
    rig.config(&shift("httproute", to, "soak_secs = 1\n"));
    with_gateway(&rig, NAMESPACE, false, || {
        let failed = run(&rig, &["failover", "shift"], 1);
        assert_eq!(failed["outcome"], "failed");
        assert!(
            failed["message"].as_str().unwrap().contains("Accepted is False: UnsupportedValue"),
            "{failed}"
        );
        assert_eq!(
            states(&failed),
            ["verified", "failed", "waiting", "waiting", "waiting", "waiting"],
            "{failed}"
        );
        assert_eq!(weights(&rig, resource, at), [50, 50]);
        run(&rig, &["undo", id(&failed)], 0);
        assert_eq!(weights(&rig, resource, at), [90, 10]);
    });
}

/// Sets the error rate of a backend until this is dropped.
struct Errors(Vec<(String, String)>);

impl Errors {
    fn control(address: &str, errors: &str) {
        let output = std::process::Command::new("curl")
            .args(["-sf", "-X", "POST", &format!("{address}/control?errors={errors}")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{address}: {}", err(&output));
    }

    /// All backends of a service fail from now on.
    fn all(rig: &Rig, service: &str) -> Self {
        let text = std::fs::read_to_string(rig.folder.join("backends.tsv")).unwrap();
        let rows = text.lines().map(|l| l.split('\t').collect::<Vec<_>>());
        let own = rows.filter(|r| r[1] == service).map(|r| {
            let usual = if r[0] == "checkout-3" { "0.05" } else { "0" };
            (r[2].to_owned(), usual.to_owned())
        });
        let own: Vec<(String, String)> = own.collect();
        assert!(own.len() >= 3, "{text}");
        for (address, _) in &own {
            Self::control(address, "1");
        }
        Self(own)
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        for (address, usual) in &self.0 {
            Self::control(address, usual);
        }
    }
}

/// The error rate of `shop/cart` in percent, as we measure it.
fn error_percent(rig: &Rig, prometheus: &str) -> Option<f64> {
    let output = rig.run(&["-n", "shop", "--prometheus", prometheus, "snapshot", "-o", "json"]);
    let doc: Value = serde_json::from_str(&out(&output)).ok()?;
    let services = doc["services"].as_array()?;
    let ratio = services.iter().find(|s| s["name"] == "cart" && s["error_ratio"].is_number())?;
    Some(ratio["error_ratio"].as_f64()? * 100.0)
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn rising_errors_stop_it_and_undo_puts_everything_back_real_only() {
    let rig = real("its backends answer real requests through HAProxy");
    let prometheus = std::env::var("PILOTHOUSE_TEST_PROMETHEUS").expect("printed by tests/cluster/up");
    colours(&rig);
    let (resource, yaml, at, to) = route("traefikservice");
    rig.apply_in(NAMESPACE, &yaml);
    until(120, "no errors at the start", || match error_percent(&rig, &prometheus) {
        Some(percent) if percent < 0.05 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    rig.config(&shift(
        "traefikservice",
        to,
        "watch = \"shop/cart\"\nmax_error_percent = 10\nsoak_secs = 90\n",
    ));
    let args = ["--prometheus", &prometheus, "failover", "shift", "--yes", "-o", "json"];
    let child = rig
        .command_as("operator", &args)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    until(30, "the first shift", || {
        let now = weights(&rig, resource, at);
        if now == [50, 50] { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let errors = Errors::all(&rig, "cart");
    let output: Output = child.wait_with_output().unwrap();
    let failed: Value =
        serde_json::from_str(&out(&output)).unwrap_or_else(|e| panic!("{e}: {}", err(&output)));
    assert_eq!(output.status.code(), Some(1), "{failed}");
    assert_eq!(failed["outcome"], "failed");
    assert!(failed["message"].as_str().unwrap().contains("stopped: shop/cart has"), "{failed}");
    assert_eq!(states(&failed), ["verified", "failed", "waiting", "waiting"], "{failed}");
    let warned = failed["warnings"].to_string();
    assert!(
        warned.contains("more than 10 % errors; now 0.0 %"),
        "the plan did not know the errors: {warned}"
    );
    assert_eq!(weights(&rig, resource, at), [50, 50], "where it stopped");
    // if the errors are still there, a plan says so and counts from them
    let dry = rig.json(&["--prometheus", &prometheus, "failover", "shift", "--dry-run", "-o", "json"], 0);
    let warned = dry["warnings"].to_string();
    assert!(!warned.contains("more than 10 % errors") && !warned.contains("now unknown"), "{warned}");
    run(&rig, &["undo", id(&failed)], 0);
    assert_eq!(weights(&rig, resource, at), [90, 10]);
    drop(errors);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn an_evacuation_names_the_nodes_of_a_zone_or_pool() {
    let rig = rig();
    let nodes = |selector: &str| -> Vec<String> {
        let all = rig.kubectl_json(&["get", "nodes", "-l", selector]);
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    rig.kubectl_ok(&[
        "label",
        "node",
        "node-0001",
        "node-0011",
        "--overwrite",
        "karpenter.sh/nodepool=contract",
    ]);
    for (plan, selector) in [
        ("zone/zone-a", "topology.kubernetes.io/zone=zone-a"),
        ("pool/contract", "karpenter.sh/nodepool=contract"),
    ] {
        let output = rig.run(&["failover", plan, "--dry-run", "-o", "json"]);
        let doc: Value =
            serde_json::from_str(&out(&output)).unwrap_or_else(|e| panic!("{plan}: {e}: {}", err(&output)));
        let ours: Vec<&str> =
            doc["targets"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
        let theirs = nodes(selector);
        assert!(!theirs.is_empty() && ours == theirs, "{plan}: {ours:?} and {theirs:?}");
        assert_eq!(doc["confirm"], "context", "{plan}");
        assert_eq!(doc["action"], "failover");
        let steps = doc["steps"].as_array().unwrap();
        // no pod is evicted before all nodes are cordoned, otherwise a pod would move twice
        let cordons = steps.iter().take_while(|s| s["what"] == "cordon").count();
        assert_eq!(cordons, theirs.len(), "{plan}");
        assert!(steps[cordons..].iter().all(|s| s["what"] == "evict"), "{plan}");
        assert!(steps.len() > cordons || output.status.code() == Some(3), "{plan}: {doc}");
        let back = rig.json(&["failover", plan, "--revert", "--dry-run", "-o", "json"], 0);
        assert!(back["warnings"].to_string().contains("already uncordoned"), "{back}");
    }
    rig.kubectl_ok(&["label", "node", "node-0001", "node-0011", "karpenter.sh/nodepool-"]);
    let unknown = rig.run(&["failover", "zone/nowhere", "--dry-run"]);
    assert_eq!(unknown.status.code(), Some(3), "{}{}", out(&unknown), err(&unknown));
}
