//! The store by itself: versions, preconditions, watches, graceful deletion, orphans.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn store() -> Store {
    let clock = Arc::new(Clock::manual(crate::clock::parse("2026-01-02T03:04:05Z").unwrap()));
    let store = Store::new(clock, Arc::new(Random::new(1)), 16);
    for name in ["shop", "data"] {
        store.create(Res::Namespaces, json!({"metadata": {"name": name}}), &Write::by("t")).unwrap();
    }
    store
}

fn pod(name: &str, node: &str) -> Value {
    let mut spec =
        json!({"containers": [{"name": "c", "image": "i:1"}], "terminationGracePeriodSeconds": 20});
    if !node.is_empty() {
        spec["nodeName"] = json!(node);
    }
    json!({"metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}}, "spec": spec})
}

fn deployment(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

fn owned(mut value: Value, owner: &Object) -> Value {
    value["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": owner.text("/kind"),
        "name": owner.name(), "uid": owner.uid(), "controller": true}]);
    value
}

#[test]
fn versions_and_generations() {
    let store = store();
    let made = store.create(Res::Deployments, deployment("d"), &Write::request("kubectl")).unwrap();
    assert_eq!((made.generation(), made.int("/spec/replicas")), (1, Some(1)));
    assert_eq!(made.text("/metadata/managedFields/0/manager"), "kubectl");
    let version = store.version();
    let same =
        store.update(Res::Deployments, "shop", "d", "t", |v| v["spec"]["replicas"] = json!(1)).unwrap();
    assert_eq!(
        (same.version, store.version()),
        (made.version, version),
        "a write that changes nothing has no version"
    );
    let scaled =
        store.update(Res::Deployments, "shop", "d", "scaler", |v| v["spec"]["replicas"] = json!(3)).unwrap();
    assert_eq!((scaled.generation(), scaled.version), (2, version + 1));
    let who = scaled.at("/metadata/managedFields/1");
    assert_eq!(who["manager"], "scaler");
    assert_eq!(who["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert!(scaled.at("/metadata/managedFields/0/fieldsV1/f:spec/f:replicas").is_null());
    let status =
        store.update_status(Res::Deployments, "shop", "d", "c", |s| s["replicas"] = json!(3)).unwrap();
    assert_eq!(status.generation(), 2);
    let stale = Write::request("x").if_version(Some("1"));
    assert!(store.write(Res::Deployments, "shop", "d", &stale, |_| Ok(())).unwrap_err().is_conflict());
    let main = store.write(Res::Deployments, "shop", "d", &Write::request("x"), |v| {
        v["status"]["replicas"] = json!(99);
        v["metadata"]["generation"] = json!(99);
        Ok(())
    });
    assert_eq!(main.unwrap().version, status.version, "the main endpoint does not write the status");
    let dry = store.write(Res::Deployments, "shop", "d", &Write::request("x").dry_run(true), |v| {
        v["spec"]["replicas"] = json!(9);
        Ok(())
    });
    assert_eq!(dry.unwrap().int("/spec/replicas"), Some(9));
    assert_eq!(store.get(Res::Deployments, "shop", "d").unwrap().int("/spec/replicas"), Some(3));
}

#[test]
fn pods_end_gracefully_and_are_found_by_node() {
    let store = store();
    store.create(Res::Pods, pod("a", "n1"), &Write::by("t")).unwrap();
    store.create(Res::Pods, pod("b", ""), &Write::by("t")).unwrap();
    assert_eq!(store.pods_on("n1").len(), 1);
    store.update(Res::Pods, "shop", "b", "scheduler", |v| v["spec"]["nodeName"] = json!("n1")).unwrap();
    assert_eq!(store.pods_on("n1").len(), 2);
    let marked = store.delete(Res::Pods, "shop", "a", &Delete::default()).unwrap();
    assert!(matches!(marked, Deleted::Terminating(_)));
    assert_eq!(marked.object().text("/metadata/deletionTimestamp"), "2026-01-02T03:04:25Z");
    let longer = Delete { grace: Some(90), ..Delete::default() };
    let again = store.delete(Res::Pods, "shop", "a", &longer).unwrap();
    assert_eq!(again.object().version, marked.object().version);
    assert!(matches!(store.delete(Res::Pods, "shop", "a", &Delete::now()).unwrap(), Deleted::Gone(_)));
    assert!(store.get(Res::Pods, "shop", "a").is_none());
    assert_eq!(store.pods_on("n1").len(), 1);
    let wrong = Delete { uid: Some("other".into()), ..Delete::default() };
    assert_eq!(store.delete(Res::Pods, "shop", "b", &wrong).unwrap_err().code, 409);
}

#[test]
fn owners_take_their_dependents_along() {
    let store = store();
    let deployment = store.create(Res::Deployments, deployment("d"), &Write::by("t")).unwrap();
    let mut set = deployment.value.clone();
    set["metadata"] = json!({"name": "rs", "namespace": "shop"});
    let set = store.create(Res::ReplicaSets, owned(set, &deployment), &Write::by("t")).unwrap();
    store.create(Res::Pods, owned(pod("p", "n1"), &set), &Write::by("t")).unwrap();
    assert_eq!(store.owned_by(Res::Pods, set.uid()).len(), 1);
    let foreground = Delete { propagation: Propagation::Foreground, ..Delete::default() };
    assert!(matches!(store.delete(Res::Deployments, "shop", "d", &foreground), Ok(Deleted::Terminating(_))));
    assert!(store.get(Res::ReplicaSets, "shop", "rs").unwrap().is_terminating());
    assert!(store.get(Res::Pods, "shop", "p").unwrap().is_terminating());
    store.delete(Res::Pods, "shop", "p", &Delete::now()).unwrap();
    assert!(store.get(Res::Deployments, "shop", "d").is_none());
    assert_eq!(store.count(Res::ReplicaSets), 0);
}

#[test]
fn a_namespace_ends_with_its_last_object() {
    let store = store();
    store.create(Res::Pods, pod("p", "n1"), &Write::by("t")).unwrap();
    store
        .create(Res::ConfigMaps, json!({"metadata": {"name": "c", "namespace": "shop"}}), &Write::by("t"))
        .unwrap();
    store.delete(Res::Namespaces, "", "shop", &Delete::default()).unwrap();
    assert_eq!(store.get(Res::Namespaces, "", "shop").unwrap().text("/status/phase"), "Terminating");
    let refused = store.create(Res::Pods, pod("q", ""), &Write::by("t")).unwrap_err();
    assert_eq!(refused.details.unwrap()["causes"][0]["reason"], "NamespaceTerminating");
    store.delete(Res::Pods, "shop", "p", &Delete::now()).unwrap();
    assert!(store.get(Res::Namespaces, "", "shop").is_none());
}

#[test]
fn finalizers_hold_an_object_back() {
    let store = store();
    let made = json!({"metadata": {"name": "c", "namespace": "shop", "finalizers": ["x/y"]}});
    store.create(Res::ConfigMaps, made, &Write::by("t")).unwrap();
    assert!(matches!(
        store.delete(Res::ConfigMaps, "shop", "c", &Delete::default()),
        Ok(Deleted::Terminating(_))
    ));
    store.update(Res::ConfigMaps, "shop", "c", "t", |v| v["metadata"]["finalizers"] = json!([])).unwrap();
    assert!(store.get(Res::ConfigMaps, "shop", "c").is_none());
}

#[tokio::test]
async fn the_log_is_read_from_a_version_until_it_is_too_old() {
    let store = store();
    let (_, mut live) = store.list_and_subscribe(Res::Pods);
    let start = store.version();
    store.create(Res::Pods, pod("p", "n1"), &Write::by("t")).unwrap();
    store.update(Res::Pods, "shop", "p", "t", |v| v["metadata"]["labels"]["x"] = json!("1")).unwrap();
    store.delete(Res::Pods, "shop", "p", &Delete::now()).unwrap();
    let seen: Vec<Happened> = live.next().await.unwrap().iter().map(|change| change.happened).collect();
    assert_eq!(seen, [Happened::Added, Happened::Modified, Happened::Deleted]);
    let mut later = store.subscribe_from(Res::Pods, start + 1);
    let batch = later.poll().unwrap();
    assert_eq!(batch.len(), 2);
    assert!(batch[0].before.is_some());
    for n in 0..20 {
        store.create(Res::Pods, pod(&format!("p{n}"), ""), &Write::by("t")).unwrap();
    }
    let gone = store.subscribe_from(Res::Pods, start).poll().unwrap_err();
    assert_eq!((gone.code, gone.reason), (410, "Expired"));
    store.compact(Res::Pods);
    assert!(later.poll().is_err());
    assert!(store.subscribe(Res::Pods).poll().unwrap().is_empty());
}

#[test]
fn a_log_is_bounded_by_what_it_weighs() {
    let store = store();
    store.keep(10_000);
    store
        .create(Res::ConfigMaps, json!({"metadata": {"name": "big", "namespace": "shop"}}), &Write::by("t"))
        .unwrap();
    let mut far = store.subscribe(Res::ConfigMaps);
    let mut near = store.subscribe(Res::ConfigMaps);
    let text = |n: usize| format!("{n:020000}");
    for n in 0..200 {
        store
            .update(Res::ConfigMaps, "shop", "big", "t", |value| value["data"]["a"] = json!(text(n)))
            .unwrap();
        assert_eq!(near.poll().unwrap().len(), 1, "who keeps up misses nothing");
    }
    let (changes, bytes) = store.logged(Res::ConfigMaps);
    assert!((64..200).contains(&changes), "{changes} changes");
    assert!(bytes <= 2 << 20, "{bytes} bytes");
    assert_eq!(far.poll().unwrap_err().code, 410);
}

#[test]
fn what_everybody_has_read_is_forgotten_without_harm() {
    let store = store();
    let (mut reader, mut late) = (store.subscribe(Res::Pods), store.subscribe(Res::Pods));
    store.create(Res::Pods, pod("a", ""), &Write::by("t")).unwrap();
    assert_eq!(reader.poll().unwrap().len(), 1);
    store
        .create(Res::ConfigMaps, json!({"metadata": {"name": "c", "namespace": "shop"}}), &Write::by("t"))
        .unwrap();
    store.forget();
    assert_eq!(store.logged(Res::Pods), (0, 0));
    store.create(Res::Pods, pod("b", ""), &Write::by("t")).unwrap();
    let news = reader.poll().unwrap();
    assert_eq!(news.iter().map(|one| one.object.name()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(late.poll().unwrap_err().code, 410, "who had not read it is told so");
}

#[test]
fn walking_finds_what_a_pointer_finds() {
    let value = json!({"a": {"b": [1, {"c/d": 2, "": 3}]}, "": {"": 4}});
    for pointer in
        ["", "/a", "/a/b/0", "/a/b/1/c~1d", "/a/b/1/", "/", "//", "/a/b/2", "/a/x", "a", "/a/b/-1", "/a/b/c"]
    {
        assert_eq!(walk(&value, pointer), value.pointer(pointer), "{pointer}");
    }
}
