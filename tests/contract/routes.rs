//! Routes and balancing rules that kubectl makes are in the snapshot: policy, parts and shares of Services.

use serde_json::{Value, json};

use crate::rig::{Rig, rig, until};

const NAMESPACE: &str = "contract-routes";

/// The Services of the namespace in the snapshot.
fn services(rig: &Rig) -> Vec<Value> {
    // other namespaces may have findings, so the exit status is not looked at
    let output = rig.run(&["-n", NAMESPACE, "snapshot", "-o", "json"]);
    let doc: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    doc["services"].as_array().cloned().unwrap_or_default()
}

/// Waits until a Service has these values, each at a path of its document.
fn shows(rig: &Rig, service: &str, wanted: &[(&str, Value)]) {
    until(30, service, || {
        let all = services(rig);
        let is = |s: &&Value| s["name"] == service && s["namespace"] == NAMESPACE;
        let held = all.iter().find(is).cloned().unwrap_or_default();
        let fits = wanted.iter().all(|(at, value)| held.pointer(at).unwrap_or(&Value::Null) == value);
        if fits { Ok(()) } else { Err(format!("{held} instead of {wanted:?}")) }
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn routes_change_how_services_are_balanced() {
    let rig = rig();
    rig.namespace(NAMESPACE);
    for (resource, name) in [
        ("httproutes.gateway.networking.k8s.io", "web"),
        ("virtualservices.networking.istio.io", "blue"),
        ("destinationrules.networking.istio.io", "blue"),
        ("ingresses.networking.k8s.io", "green"),
    ] {
        rig.kubectl_ok(&["-n", NAMESPACE, "delete", resource, name, "--ignore-not-found"]);
    }
    let mut yaml = String::new();
    for name in ["web", "blue", "green"] {
        yaml.push_str(&format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
        ));
    }
    rig.apply_in(NAMESPACE, &yaml);
    let assumed = [
        ("/policy", json!("random")),
        ("/policy_origin", json!("assumed")),
        ("/policy_from", json!("kube-proxy")),
    ];
    for name in ["web", "blue", "green"] {
        shows(&rig, name, &[&assumed[..], &[("/of_route", Value::Null), ("/split", json!([]))]].concat());
    }
    // two Services behind a route; in a mesh, clients call the Service web
    rig.apply_in(
        NAMESPACE,
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web}\nspec: {parentRefs: [{group: '', kind: Service, name: web}], rules: [{backendRefs: [{name: blue, port: 80, weight: 90}, {name: green, port: 80, weight: 10}]}]}\n",
    );
    let route = format!("HTTPRoute {NAMESPACE}/web");
    shows(
        &rig,
        "web",
        &[
            ("/policy", json!("weighted")),
            ("/policy_origin", json!("discovered")),
            ("/policy_from", json!(route)),
            ("/split/0/name", json!("blue")),
            ("/split/0/weight", json!(90.0)),
            ("/split/1/weight", json!(10.0)),
        ],
    );
    shows(
        &rig,
        "green",
        &[
            ("/of_route/route", json!(route)),
            ("/of_route/weight", json!(10)),
            ("/of_route/total", json!(100)),
            ("/of_route/expected_share", json!(0.1)),
        ],
    );
    // subsets of a Service, with a policy for their backends
    rig.apply_in(
        NAMESPACE,
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: blue}\nspec: {host: blue, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}\n",
    );
    shows(
        &rig,
        "blue",
        &[
            ("/policy", json!("by request")),
            ("/policy_from", json!(format!("DestinationRule {NAMESPACE}/blue"))),
            ("/policy_detail", json!("ring hash of header x-user")),
        ],
    );
    rig.apply_in(
        NAMESPACE,
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: blue}\nspec: {hosts: [blue], http: [{route: [{destination: {host: blue, subset: v1}, weight: 75}, {destination: {host: blue, subset: v2}, weight: 25}]}]}\n",
    );
    shows(
        &rig,
        "blue",
        &[("/policy", json!("weighted")), ("/split/1/name", json!("v2")), ("/split/1/weight", json!(25.0))],
    );
    // an annotation of ingress-nginx
    rig.apply_in(
        NAMESPACE,
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: green, annotations: {nginx.ingress.kubernetes.io/load-balance: ewma}}\nspec: {rules: [{host: green.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: green, port: {number: 80}}}}]}}]}\n",
    );
    shows(
        &rig,
        "green",
        &[
            ("/policy", json!("response time")),
            ("/policy_from", json!(format!("Ingress {NAMESPACE}/green annotation load-balance"))),
        ],
    );
    // the config counts more than all of them
    rig.config(&format!("[traffic.balancing]\n\"{NAMESPACE}/gr*\" = \"least-connections\"\n"));
    shows(&rig, "green", &[("/policy", json!("least connections")), ("/policy_origin", json!("configured"))]);
    rig.config("");
    rig.kubectl_ok(&["-n", NAMESPACE, "delete", "httproute", "web"]);
    shows(&rig, "web", &[&assumed[..], &[("/split", json!([]))]].concat());
}
