//! The behaviour of the API server that the console relies on, tested over plain HTTP: the text of refusals,
//! preconditions, dry runs, pages, and the subresources that actions use.

use serde_json::{Value, json};

use crate::rig::{Rig, rig, until};
use crate::wire::{JSON, JSON_PATCH, MERGE, STRATEGIC, Wire};

const SPACE: &str = "contract-api";
const MAPS: &str = "/api/v1/namespaces/contract-api/configmaps";

/// A client as the administrator, and a new ConfigMap with that name.
fn map(rig: &Rig, name: &str) -> (Wire, Value) {
    rig.namespace(SPACE);
    let wire = Wire::of(rig, "admin");
    // left over from an earlier run
    wire.ask("DELETE", &format!("{MAPS}/{name}"), JSON, &Value::Null);
    let made =
        wire.ok("POST", MAPS, JSON, &json!({"metadata": {"name": name}, "data": {"a": "1", "b": "2"}}));
    (wire, made)
}

/// The parts of an error that clients read.
fn refusal((code, status): &(u16, Value)) -> (u16, &str) {
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")), "{status}");
    assert_eq!(status["code"], *code, "{status}");
    (*code, status["reason"].as_str().unwrap_or_default())
}

fn says(answer: &(u16, Value), code: u16, reason: &str, words: &str) {
    assert_eq!(refusal(answer), (code, reason), "{}", answer.1);
    assert!(answer.1["message"].as_str().unwrap().contains(words), "not {words:?}: {}", answer.1);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn patches_of_each_kind() {
    let rig = rig();
    let (wire, _) = map(&rig, "patched");
    let one = format!("{MAPS}/patched");
    let merged = wire.ok("PATCH", &one, MERGE, &json!({"data": {"a": null, "c": "3"}}));
    assert_eq!(merged["data"], json!({"b": "2", "c": "3"}));
    let listed = wire.ok(
        "PATCH",
        &one,
        JSON_PATCH,
        &json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "replace", "path": "/data/b", "value": "4"}]),
    );
    assert_eq!(listed["data"], json!({"b": "4", "c": "3"}));
    let strategic = wire.ok("PATCH", &one, STRATEGIC, &json!({"metadata": {"labels": {"x": "y"}}}));
    assert_eq!(strategic["metadata"]["labels"], json!({"x": "y"}));
    // nothing changes, so the version stays the same
    let same = wire.ok("PATCH", &one, MERGE, &json!({"data": {"b": "4"}}));
    assert_eq!(same["metadata"]["resourceVersion"], strategic["metadata"]["resourceVersion"]);
    let test = json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "remove", "path": "/data/b"}]);
    says(&wire.ask("PATCH", &one, JSON_PATCH, &test), 422, "Invalid", "the server rejected our request");
    let routes = "/apis/gateway.networking.k8s.io/v1/namespaces/contract-api/httproutes/none";
    let custom = wire.ask("PATCH", routes, STRATEGIC, &json!({"metadata": {"labels": {"x": "y"}}}));
    assert_eq!(refusal(&custom), (415, "UnsupportedMediaType"), "{}", custom.1);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn who_comes_second_is_told() {
    let rig = rig();
    let (wire, made) = map(&rig, "guarded");
    let one = format!("{MAPS}/guarded");
    let changed = wire.ok("PATCH", &one, MERGE, &json!({"data": {"a": "9"}}));
    let modified = "Operation cannot be fulfilled on configmaps \"guarded\": the object has been modified";
    says(&wire.ask("PUT", &one, JSON, &made), 409, "Conflict", modified);
    let old = &made["metadata"]["resourceVersion"];
    let guarded = json!({"metadata": {"resourceVersion": old}, "data": {"a": "0"}});
    says(&wire.ask("PATCH", &one, MERGE, &guarded), 409, "Conflict", modified);
    let foreign = json!({"metadata": {"uid": "someone-elses"}, "data": {"a": "0"}});
    let answer = wire.ask("PATCH", &one, MERGE, &foreign);
    assert!(matches!(refusal(&answer), (409, "Conflict") | (422, "Invalid")), "{}", answer.1);
    says(&wire.ask("POST", MAPS, JSON, &made_again()), 409, "AlreadyExists", "\"guarded\" already exists");
    let delete = |preconditions: Value| {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions});
        wire.ask("DELETE", &one, JSON, &options)
    };
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let words =
        format!("the UID in the precondition (someone-elses) does not match the UID in record ({uid})");
    says(&delete(json!({"uid": "someone-elses"})), 409, "Conflict", &words);
    let words = "the ResourceVersion in the precondition";
    says(&delete(json!({"resourceVersion": old})), 409, "Conflict", words);
    let newest = &changed["metadata"]["resourceVersion"];
    let gone = delete(json!({"uid": uid, "resourceVersion": newest}));
    assert_eq!((gone.0, &gone.1["status"]), (200, &json!("Success")), "{}", gone.1);
    assert_eq!(gone.1["details"]["uid"], uid);
    says(&wire.get(&one), 404, "NotFound", "configmaps \"guarded\" not found");
}

fn made_again() -> Value {
    json!({"metadata": {"name": "guarded"}})
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_dry_run_answers_and_changes_nothing() {
    let rig = rig();
    let (wire, made) = map(&rig, "dry");
    let one = format!("{MAPS}/dry");
    let new = json!({"metadata": {"name": "never"}});
    let answer = wire.ask("POST", &format!("{MAPS}?dryRun=All"), JSON, &new);
    assert_eq!(answer.0, 201, "{}", answer.1);
    assert!(answer.1["metadata"]["uid"].is_string() && answer.1["metadata"]["resourceVersion"].is_null());
    assert_eq!(wire.get(&format!("{MAPS}/never")).0, 404);
    let changed = wire.ok("PATCH", &format!("{one}?dryRun=All"), MERGE, &json!({"data": {"a": "9"}}));
    assert_eq!(changed["data"]["a"], "9");
    assert_eq!(wire.ask("DELETE", &format!("{one}?dryRun=All"), JSON, &Value::Null).0, 200);
    assert_eq!(wire.ok("GET", &one, JSON, &Value::Null), made);
    // if a deletion has a body, its query is ignored
    let options = |more: Value| json!({"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": more});
    assert_eq!(wire.ask("DELETE", &one, JSON, &options(json!(["All"]))).0, 200);
    assert_eq!(wire.ok("GET", &one, JSON, &Value::Null), made);
    assert_eq!(wire.ask("DELETE", &format!("{one}?dryRun=All"), JSON, &options(Value::Null)).0, 200);
    assert_eq!(wire.get(&one).0, 404);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn pages_are_of_one_moment() {
    let rig = rig();
    let wire = Wire::of(&rig, "admin");
    let path = "/api/v1/namespaces/shop/pods";
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
    let all: Vec<String> =
        wire.ok("GET", path, JSON, &Value::Null)["items"].as_array().unwrap().iter().map(name).collect();
    assert!(all.len() > 300);
    let (mut paged, mut token, mut versions) = (Vec::new(), String::new(), Vec::new());
    loop {
        let page = wire.ok("GET", &format!("{path}?limit=150&continue={token}"), JSON, &Value::Null);
        paged.extend(page["items"].as_array().unwrap().iter().map(name));
        versions.push(page["metadata"]["resourceVersion"].as_str().unwrap().to_owned());
        token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
        let left = page["metadata"]["remainingItemCount"].as_u64().unwrap();
        assert_eq!(left as usize, all.len() - paged.len());
    }
    assert_eq!(paged, all);
    versions.dedup();
    assert_eq!(versions.len(), 1, "{versions:?}");
    // the cache returns the whole list at once
    let cached = wire.ok("GET", &format!("{path}?limit=150&resourceVersion=0"), JSON, &Value::Null);
    assert_eq!(cached["items"].as_array().unwrap().len(), all.len());
    let on_node = wire.ok("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-0003", JSON, &Value::Null);
    let on_node = on_node["items"].as_array().unwrap();
    assert!(!on_node.is_empty() && on_node.iter().all(|pod| pod["spec"]["nodeName"] == "node-0003"));
    let unknown = wire.get("/api/v1/pods?fieldSelector=spec.nope%3D1");
    says(&unknown, 400, "BadRequest", "field label not supported: spec.nope");
    let future = wire.get(&format!("{MAPS}?resourceVersion=999999999"));
    assert_eq!(refusal(&future), (504, "Timeout"), "{}", future.1);
    assert_eq!(future.1["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn the_scale_of_a_workload() {
    let rig = rig();
    rig.namespace(SPACE);
    rig.apply(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: scaled, namespace: contract-api}\nspec:\n  replicas: 1\n  \
        selector: {matchLabels: {app: scaled}}\n  template:\n    metadata: {labels: {app: scaled}}\n    \
        spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: \"a:1\"}]}\n",
    );
    let wire = Wire::of(&rig, "operator");
    let path = "/apis/apps/v1/namespaces/contract-api/deployments/scaled/scale";
    let before = until(30, "one replica", || {
        let scale = wire.ok("GET", path, JSON, &Value::Null);
        if scale["status"]["replicas"] == 1 { Ok(scale) } else { Err(scale.to_string()) }
    });
    assert_eq!((&before["kind"], &before["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(before["status"]["selector"], "app=scaled");
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 7}});
    let answer = wire.ask("PATCH", path, MERGE, &stale);
    assert_eq!(refusal(&answer), (409, "Conflict"), "{}", answer.1);
    let after = wire.ok("PATCH", path, MERGE, &json!({"spec": {"replicas": 2}}));
    assert_eq!((&before["spec"]["replicas"], &after["spec"]["replicas"]), (&json!(1), &json!(2)));
    assert_ne!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
    rig.kubectl_ok(&["-n", SPACE, "delete", "deploy", "scaled"]);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn an_eviction_asks_the_budget() {
    let rig = rig();
    let wire = Wire::of(&rig, "operator");
    let pod = |app: &str| {
        let list = wire.ok(
            "GET",
            &format!("/api/v1/namespaces/shop/pods?labelSelector=app%3D{app}"),
            JSON,
            &Value::Null,
        );
        list["items"][0]["metadata"]["name"].as_str().unwrap().to_owned()
    };
    let evict = |name: &str| {
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "shop"},
            "deleteOptions": {"dryRun": ["All"]}})
        .to_string();
        let path = format!("/api/v1/namespaces/shop/pods/{name}/eviction");
        let mut stream = wire.open("POST", &path, JSON, &body);
        let text = stream.text();
        (stream.code, stream.head, serde_json::from_str::<Value>(&text).unwrap())
    };
    let (code, head, status) = evict(&pod("frozen"));
    assert_eq!(refusal(&(code, status.clone())), (429, "TooManyRequests"));
    assert_eq!(status["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    let cause = json!({"reason": "DisruptionBudget",
        "message": "The disruption budget frozen needs 3 healthy pods and has 3 currently"});
    assert_eq!(status["details"]["causes"], json!([cause]));
    assert!(status["details"]["retryAfterSeconds"].is_null() && !head.contains("retry-after"), "{head}");
    let free = pod("scratch");
    let (code, _, status) = evict(&free);
    assert_eq!((code, &status["status"]), (201, &json!("Success")));
    let live = wire.ok("GET", &format!("/api/v1/namespaces/shop/pods/{free}"), JSON, &Value::Null);
    assert!(live["metadata"]["deletionTimestamp"].is_null());
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn who_may_not_is_told_in_these_words() {
    let rig = rig();
    let wire = Wire::of(&rig, "viewer");
    let answer = wire.get("/api/v1/namespaces/shop/secrets");
    says(
        &answer,
        403,
        "Forbidden",
        "secrets is forbidden: User \"viewer\" cannot list resource \"secrets\" in API group \"\" in the namespace \"shop\"",
    );
    assert_eq!(answer.1["details"], json!({"kind": "secrets"}));
    let cordon =
        wire.ask("PATCH", "/api/v1/nodes/node-0002", MERGE, &json!({"spec": {"unschedulable": true}}));
    let words = "nodes \"node-0002\" is forbidden: User \"viewer\" cannot patch resource \"nodes\" in API group \"\" at the cluster scope";
    says(&cordon, 403, "Forbidden", words);
    let review = |verb: &str| {
        let spec = json!({"resourceAttributes": {"verb": verb, "resource": "nodes"}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        wire.ok("POST", path, JSON, &json!({"spec": spec}))["status"]["allowed"] == true
    };
    assert!(review("list") && !review("patch"));
    let unknown = wire.get("/apis/nope.example.test/v1/things");
    assert!(matches!(unknown.0, 403 | 404), "{}", unknown.1);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn what_pods_and_nodes_use() {
    let rig = rig();
    let wire = Wire::of(&rig, "operator");
    let base = "/apis/metrics.k8s.io/v1beta1";
    let milli = |text: &Value| {
        let text = text.as_str().unwrap();
        let number = |unit: &str| text.strip_suffix(unit).and_then(|n| n.parse::<f64>().ok());
        number("n").map(|n| n / 1e6).or_else(|| number("u").map(|n| n / 1e3)).or_else(|| number("m")).unwrap()
    };
    // they may be young after another test's drain
    let pods = until(90, "all four are measured", || {
        let path = format!("{base}/namespaces/shop/pods?labelSelector=app%3Dcheckout");
        let list = wire.ok("GET", &path, JSON, &Value::Null);
        let pods = list["items"].as_array().unwrap().clone();
        if pods.len() == 4 { Ok(pods) } else { Err(list.to_string()) }
    });
    for pod in &pods {
        let used = milli(&pod["containers"][0]["usage"]["cpu"]);
        assert!((100.0..180.0).contains(&used), "140m by annotation: {pod}");
        assert!(pod["containers"][0]["usage"]["memory"].as_str().unwrap().ends_with('i'), "{pod}");
        assert!(pod["timestamp"].is_string() && pod["window"].as_str().unwrap().ends_with('s'), "{pod}");
    }
    let nodes = wire.ok("GET", &format!("{base}/nodes"), JSON, &Value::Null);
    assert_eq!(nodes["kind"], "NodeMetricsList");
    assert!(nodes["items"].as_array().unwrap().len() >= 8);
    assert_eq!(wire.get(&format!("{base}/nodes/none")).0, 404);
}
