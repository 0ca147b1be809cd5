//! Reads and changes objects, and compares the answers with the real server's.

use pilothouse_sim::resources::Res;
use pilothouse_sim::server::Options;
use reqwest::Method;
use serde_json::json;

use crate::{Cluster, answer};

const CATALOG: &str = "/apis/apps/v1/namespaces/shop/deployments/catalog";

#[tokio::test]
async fn refusals_read_as_the_real_servers() {
    let cluster = Cluster::start().await;
    let (code, status) = cluster.get("/apis/apps/v1/namespaces/shop/deployments/nope").await;
    assert_eq!(code, 404);
    assert_eq!(
        status,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound",
            "message": "deployments.apps \"nope\" not found", "code": 404,
            "details": {"name": "nope", "group": "apps", "kind": "deployments"}})
    );
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3}});
    for path in [CATALOG.to_owned(), format!("{CATALOG}/scale")] {
        let (code, status) = cluster.patch(&path, "merge", stale.clone()).await;
        assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
        assert_eq!(
            status["message"],
            "Operation cannot be fulfilled on deployments.apps \"catalog\": the object has been modified; please \
             apply your changes to the latest version and try again"
        );
    }
    let test = json!([{"op": "test", "path": "/spec/replicas", "value": 99}]);
    let (code, status) = cluster.patch(CATALOG, "json", test).await;
    assert_eq!((code, status["reason"].as_str()), (422, Some("Invalid")));
    let (code, _) =
        answer(cluster.ask(Method::PATCH, CATALOG).header("content-type", "application/foo").body("{}"))
            .await;
    assert_eq!(code, 415);
    let (code, status) = cluster.patch(CATALOG, "merge", json!({"spec": {"replicas": -1}})).await;
    assert_eq!(code, 422);
    assert_eq!(status["details"]["causes"][0]["field"], "spec.replicas");
    for (path, want) in [
        ("/apis/apps/v1/foo", 404),
        ("/apis/nope/v1", 404),
        ("/api/v1/pods?resourceVersion=abc", 400),
        ("/api/v1/pods?labelSelector=a%3D%3D%3D", 400),
        ("/api/v1/pods?fieldSelector=spec.foo%3D1", 400),
        ("/api/v1/pods?resourceVersion=99999999&resourceVersionMatch=NotOlderThan", 504),
        ("/api/v1/pods?resourceVersionMatch=NotOlderThan", 422),
        ("/api/v1/pods?continue=x", 410),
        ("/api/v1/pods?continue=x&resourceVersion=5", 400),
        ("/openapi/v2", 404),
        ("/api/v1/pods?resourceVersion=0", 200),
        ("/healthz", 200),
        ("/version", 200),
    ] {
        assert_eq!(cluster.get(path).await.0, want, "{path}");
    }
    let (code, status) = cluster.send(Method::DELETE, CATALOG, json!({"preconditions": {"uid": "x"}})).await;
    assert_eq!(code, 409);
    assert!(status["message"].as_str().unwrap().contains("the UID in the precondition (x) does not match"));
}

#[tokio::test]
async fn scale_and_status_are_places_of_their_own() {
    let cluster = Cluster::start().await;
    let (code, scale) =
        cluster.patch(&format!("{CATALOG}/scale"), "merge", json!({"spec": {"replicas": 7}})).await;
    assert_eq!((code, &scale["kind"], &scale["spec"]["replicas"]), (200, &json!("Scale"), &json!(7)));
    assert_eq!(scale["status"]["selector"], "app=catalog");
    let (_, before) = cluster.get(CATALOG).await;
    assert_eq!((&before["spec"]["replicas"], &before["metadata"]["generation"]), (&json!(7), &json!(2)));
    let who = before["metadata"]["managedFields"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&who["subresource"], &who["fieldsV1"]),
        (&json!("scale"), &json!({"f:spec": {"f:replicas": {}}}))
    );
    let both = json!({"spec": {"replicas": 1}, "status": {"replicas": 7}});
    let (code, after) = cluster.patch(&format!("{CATALOG}/status"), "merge", both.clone()).await;
    assert_eq!((code, &after["spec"]["replicas"], &after["status"]["replicas"]), (200, &json!(7), &json!(7)));
    let dry = format!("{CATALOG}?dryRun=All&fieldManager=me");
    let (code, shown) = cluster.patch(&dry, "strategic-merge", both).await;
    assert_eq!((code, &shown["spec"]["replicas"]), (200, &json!(1)));
    assert_eq!(
        cluster.get(CATALOG).await.1["metadata"]["resourceVersion"],
        after["metadata"]["resourceVersion"]
    );
    let mut whole = after.clone();
    whole["spec"]["replicas"] = json!(2);
    let (code, put) = cluster.send(Method::PUT, CATALOG, whole.clone()).await;
    assert_eq!((code, &put["spec"]["replicas"]), (200, &json!(2)));
    assert_eq!(cluster.send(Method::PUT, CATALOG, whole).await.0, 409);
    let (code, gone) =
        cluster.send(Method::DELETE, CATALOG, json!({"propagationPolicy": "Background"})).await;
    assert_eq!(
        (code, &gone["status"], &gone["details"]["kind"]),
        (200, &json!("Success"), &json!("deployments"))
    );
}

#[tokio::test]
async fn lists_have_pages_tables_and_selectors() {
    let cluster = Cluster::start().await;
    for n in 0..5 {
        cluster.pod(
            &format!("p{n}"),
            if n < 3 { "web" } else { "db" },
            if n % 2 == 0 { "node-0000" } else { "node-0001" },
        );
    }
    let names = |list: &serde_json::Value| -> Vec<String> {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, first) = cluster.get("/api/v1/pods?limit=2").await;
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["p0".into(), "p1".into()], &json!(3))
    );
    cluster.pod("p00", "web", "node-0000");
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = cluster.get(&format!("/api/v1/pods?limit=10&continue={token}")).await;
    assert_eq!(names(&rest), ["p2", "p3", "p4"], "pages belong to one moment");
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert!(rest["items"][0].get("kind").is_none());
    let (_, db) = cluster.get("/api/v1/namespaces/shop/pods?labelSelector=app%20in%20(db)").await;
    assert_eq!(names(&db), ["p3", "p4"]);
    let (_, on) =
        cluster.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-0001,status.phase!%3DFailed").await;
    assert_eq!(names(&on), ["p1", "p3"]);
    let table = cluster
        .ask(Method::GET, "/api/v1/pods?limit=1")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let (_, table) = answer(table).await;
    assert_eq!(table["columnDefinitions"].as_array().unwrap().len(), 9);
    assert_eq!(table["rows"][0]["cells"][2], "Running");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let packed =
        cluster.ask(Method::GET, "/api/v1/pods").header("accept-encoding", "gzip").send().await.unwrap();
    assert!(packed.headers().get("content-encoding").is_none(), "small bodies are not worth it");
    for n in 0..400 {
        cluster.pod(&format!("many-{n}"), "many", "node-0000");
    }
    let packed =
        cluster.ask(Method::GET, "/api/v1/pods").header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert!(packed.bytes().await.unwrap().len() < 64 << 10);
}

#[tokio::test]
async fn a_log_of_several_containers_wants_a_name() {
    let cluster = Cluster::start().await;
    let pod = |name: &str, more: serde_json::Value| {
        json!({"metadata": {"name": name, "annotations": {"kubectl.kubernetes.io/default-container": "app"}},
            "spec": {"containers": [{"name": "app", "image": "a"}, {"name": "side", "image": "a"}],
                "initContainers": more}})
    };
    for (name, init) in [("two", json!([])), ("three", json!([{"name": "setup", "image": "a"}]))] {
        let made = cluster.send(Method::POST, "/api/v1/namespaces/shop/pods", pod(name, init)).await;
        assert_eq!(made.0, 201, "{}", made.1);
    }
    for (path, said) in [
        ("two/log", "a container name must be specified for pod two, choose one of: [app side]"),
        (
            "three/log?follow=true",
            "a container name must be specified for pod three, choose one of: [setup app side]",
        ),
        ("two/log?container=nope", "container nope is not valid for pod two"),
    ] {
        let (code, status) = cluster.get(&format!("/api/v1/namespaces/shop/pods/{path}")).await;
        assert_eq!((code, &status["message"], &status["reason"]), (400, &json!(said), &json!("BadRequest")));
    }
}

#[tokio::test]
async fn personas_may_what_their_rules_say() {
    let options = Options { anonymous: None, ..super::dead() };
    let cluster = Cluster::with(1, options).await;
    let url = cluster.running.url();
    let ask = |token: &str, path: &str| cluster.http.get(format!("{url}{path}")).bearer_auth(token);
    assert_eq!(answer(cluster.http.get(format!("{url}/api/v1/pods"))).await.0, 401);
    assert_eq!(answer(ask("stranger", "/api/v1/pods")).await.0, 401);
    assert_eq!(answer(ask("viewer", "/api/v1/pods")).await.0, 200);
    assert_eq!(answer(cluster.http.get(format!("{url}/as/viewer/api/v1/pods"))).await.0, 200);
    let (code, status) = answer(ask("viewer", "/api/v1/namespaces/shop/secrets")).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "secrets is forbidden: User \"viewer\" cannot list resource \"secrets\" in API group \"\" in the namespace \
         \"shop\""
    );
    for (token, verb, resource, sub, allowed) in [
        ("operator", "create", "pods", "eviction", true),
        ("viewer", "create", "pods", "eviction", false),
        ("operator", "create", "pods", "", false),
        ("nobody", "list", "pods", "", false),
        ("drainer", "create", "pods", "eviction", true),
        ("drainer", "list", "daemonsets", "", false),
        ("admin", "delete", "nodes", "", true),
    ] {
        let attributes = json!({"verb": verb, "resource": resource, "subresource": sub, "namespace": "shop"});
        let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": {"resourceAttributes": attributes}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let (code, review) =
            answer(cluster.http.post(format!("{url}{path}")).bearer_auth(token).json(&review)).await;
        assert_eq!(
            (code, &review["status"]["allowed"]),
            (201, &json!(allowed)),
            "{token} {verb} {resource}/{sub}"
        );
    }
    cluster.running.api.access.expire("viewer", true);
    assert_eq!(answer(ask("viewer", "/api/v1/pods")).await.0, 401);
    assert_eq!(cluster.running.api.audit.count("list", "pods"), 2, "refused tokens do not get that far");
}

#[tokio::test]
async fn callers_who_may_act_for_others() {
    let cluster = Cluster::with(1, Options { anonymous: None, ..super::dead() }).await;
    let url = cluster.running.url();
    let ask = |token: &str, user: &str, path: &str| {
        cluster.http.get(format!("{url}{path}")).bearer_auth(token).header("Impersonate-User", user)
    };
    let (pods, secrets) = ("/api/v1/pods", "/api/v1/namespaces/shop/secrets");
    assert_eq!(answer(ask("admin", "viewer", pods)).await.0, 200);
    for (user, path, place) in [
        ("viewer", secrets, "\"secrets\" in API group \"\" in the namespace \"shop\""),
        ("stranger", pods, "\"pods\" in API group \"\" at the cluster scope"),
    ] {
        let (code, status) = answer(ask("admin", user, path)).await;
        let words = status["message"].as_str().unwrap();
        assert!(
            words.ends_with(&format!(" is forbidden: User \"{user}\" cannot list resource {place}")),
            "{words}"
        );
        assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")));
    }
    let last = cluster.running.api.audit.last().pop().unwrap();
    assert_eq!((last.user.as_str(), last.acting.as_str()), ("admin", "stranger"));
    // Discovery too is refused to who may not.
    for path in [pods, "/version"] {
        let (code, status) = answer(ask("operator", "admin", path)).await;
        assert_eq!(code, 403);
        assert_eq!(
            status["message"],
            "users \"admin\" is forbidden: User \"operator\" cannot impersonate resource \"users\" in API group \
             \"\" at the cluster scope"
        );
        assert_eq!(status["details"], json!({"name": "admin", "kind": "users"}));
    }
    let who = async |groups: &[&str]| {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let mut asked = cluster.http.post(format!("{url}{path}")).bearer_auth("admin");
        asked = asked.header("Impersonate-User", "stranger");
        for group in groups {
            asked = asked.header("Impersonate-Group", *group);
        }
        let review = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"});
        answer(asked.json(&review)).await.1["status"]["userInfo"].clone()
    };
    assert_eq!(who(&[]).await, json!({"username": "stranger", "groups": ["system:authenticated"]}));
    assert_eq!(
        who(&["viewers", "others"]).await,
        json!({"username": "stranger", "groups": ["viewers", "others", "system:authenticated"]})
    );
    let grouped = |group: &str| ask("admin", "stranger", pods).header("Impersonate-Group", group);
    assert_eq!(answer(grouped("viewers")).await.0, 200);
    assert_eq!(answer(grouped("system:authenticated")).await.0, 403, "that says nothing");
    let alone = cluster.http.get(format!("{url}{pods}")).bearer_auth("admin");
    assert_eq!(answer(alone.header("Impersonate-Group", "viewers")).await.0, 500);
}

#[tokio::test]
async fn logs_tail_and_follow() {
    let cluster = Cluster::start().await;
    cluster.pod("p", "web", "node-0000");
    let uid = cluster.running.store.get(Res::Pods, "shop", "p").unwrap().uid().to_owned();
    let (logs, clock) = (&cluster.running.logs, &cluster.running.api.clock);
    for n in 0..5 {
        logs.append(&uid, "app", clock.now(), format!("line {n}"));
    }
    let path = "/api/v1/namespaces/shop/pods/p/log";
    let text = async |query: &str| {
        cluster.ask(Method::GET, &format!("{path}{query}")).send().await.unwrap().text().await.unwrap()
    };
    assert_eq!(text("?tailLines=2").await, "line 3\nline 4\n");
    assert_eq!(text("?limitBytes=9").await, "line 0\nli");
    assert!(text("?tailLines=1&timestamps=true").await.ends_with("Z line 4\n"));
    assert_eq!(text("?sinceTime=2999-01-01T00:00:00Z").await, "");
    assert_eq!(cluster.get(&format!("{path}?previous=true")).await.0, 400);
    assert_eq!(cluster.get(&format!("{path}?container=x")).await.0, 400);
    let mut follow =
        cluster.ask(Method::GET, &format!("{path}?follow=true&tailLines=1")).send().await.unwrap();
    assert_eq!(follow.chunk().await.unwrap().unwrap(), "line 4\n");
    logs.append(&uid, "app", clock.now(), "more");
    assert_eq!(follow.chunk().await.unwrap().unwrap(), "more\n");
    logs.end(&uid, "app");
    assert!(follow.chunk().await.unwrap().is_none());
    logs.restart(&uid, "app");
    assert!(text("?previous=true").await.ends_with("more\n"));
}

#[tokio::test]
async fn metrics_are_what_the_meter_says() {
    use pilothouse_sim::usage::Used;
    let cluster = Cluster::start().await;
    cluster.pod("p", "web", "node-0000");
    let meter = &cluster.running.usage;
    let used = Used { cpu_nano: 250_000_000, memory: 64 << 20 };
    meter.set_node("node-0000", Some(used));
    meter.set_pod("shop", "p", Some(vec![("app".into(), used)]));
    let (_, nodes) = cluster.get("/apis/metrics.k8s.io/v1beta1/nodes").await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 1, "a node without a scrape is left out");
    assert_eq!(nodes["items"][0]["usage"], json!({"cpu": "250000000n", "memory": "65536Ki"}));
    let (code, pod) = cluster.get("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods/p").await;
    assert_eq!((code, &pod["containers"][0]["name"]), (200, &json!("app")));
    assert_eq!(cluster.get("/apis/metrics.k8s.io/v1beta1/nodes/node-0001").await.0, 404);
    assert_eq!(cluster.get("/apis/metrics.k8s.io/v1beta1/pods?watch=true").await.0, 405);
    meter.set_up(false);
    let (code, body) = cluster.get("/apis/metrics.k8s.io/v1beta1/nodes").await;
    assert!(code == 503 && body.is_string());
}
