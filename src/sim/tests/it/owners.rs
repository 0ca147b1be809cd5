//! How controllers handle the pods that they own: how many they create at once, which they delete, how they count them.

use std::time::Duration;

use pilothouse_sim::resources::Res;
use pilothouse_sim::store::Delete;
use pilothouse_sim::world::{Crash, Version};
use serde_json::{Value, json};

use crate::live::{Live, template};

/// A workload of the application `web` with these fields in its spec.
fn make(live: &Live, res: Res, spec: &Value) {
    let mut whole = json!({"template": template("web", "v1", "10m")});
    if res == Res::Jobs {
        whole["template"]["spec"]["restartPolicy"] = json!("Never");
    } else {
        whole["selector"] = json!({"matchLabels": {"app": "web"}});
    }
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    live.make(res, json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": whole}));
}

fn owned(live: &Live, res: Res) -> usize {
    let uid = live.get(res, "web").uid().to_owned();
    live.store.owned_by(Res::Pods, &uid).iter().filter(|pod| !pod.is_terminating()).count()
}

fn delete(live: &Live, pod: &str) {
    live.store.delete(Res::Pods, "shop", pod, &Delete::default()).unwrap();
}

#[test]
fn pods_come_and_go_in_bursts_of_five_hundred() {
    for (res, spec, none) in [
        (Res::ReplicaSets, json!({"replicas": 1_000_000}), json!({"replicas": 1})),
        (
            Res::StatefulSets,
            json!({"replicas": 1_000_000, "podManagementPolicy": "Parallel"}),
            json!({"replicas": 1_000_000}),
        ),
        (
            Res::Jobs,
            json!({"parallelism": 1_000_000, "completions": 1_000_000}),
            json!({"parallelism": 1, "completions": 1_000_000}),
        ),
    ] {
        let mut live = Live::new(0);
        make(&live, res, &spec);
        let mut seen = Vec::new();
        for _ in 0..2 {
            live.engine.settle();
            seen.push(owned(&live, res));
            live.run(1);
        }
        assert_eq!(seen, [500, 1000], "{res:?}");
        if res == Res::StatefulSets {
            continue;
        }
        live.edit(res, "web", |v| {
            v["spec"].as_object_mut().unwrap().extend(none.as_object().unwrap().clone());
        });
        let before = owned(&live, res);
        live.run(1);
        assert_eq!(before - owned(&live, res), 500, "{res:?}");
        live.run(10);
        assert_eq!(owned(&live, res), 1, "{res:?}");
    }
}

#[test]
fn an_owner_lets_go_of_what_its_selector_no_longer_means() {
    for (res, spec, nodes) in [
        (Res::ReplicaSets, json!({"replicas": 3}), 2),
        (Res::StatefulSets, json!({"replicas": 3, "serviceName": "web"}), 2),
        (Res::DaemonSets, json!({}), 3),
    ] {
        let mut live = Live::new(nodes);
        make(&live, res, &spec);
        live.run(60);
        let lost = live.pods("web")[1].clone();
        live.edit(Res::Pods, lost.name(), |v| v["metadata"]["labels"]["app"] = json!("studied"));
        live.run(20);
        let kept = live.get(Res::Pods, lost.name());
        assert_eq!(kept.uid(), lost.uid(), "{res:?}");
        assert!(kept.controller().is_none() && !kept.is_terminating(), "{res:?}");
        assert_eq!(kept.condition("Ready"), Some("True"), "{res:?}: it runs on");
        // The name of a StatefulSet's pod is free again only when that pod is gone.
        let held = if res == Res::StatefulSets { 2 } else { 3 };
        assert_eq!(live.pods("web").len(), held, "{res:?}");
        delete(&live, lost.name());
        live.run(60);
        assert_eq!((live.ready("web"), owned(&live, res)), (3, 3), "{res:?}");
    }
}

#[test]
fn a_pod_that_matches_again_is_taken_back_by_one_owner() {
    let mut live = Live::new(3);
    make(&live, Res::DaemonSets, &json!({}));
    live.run(30);
    let pod = live.pods("web")[0].name().to_owned();
    live.edit(Res::Pods, &pod, |v| v["metadata"]["labels"]["app"] = json!("studied"));
    live.run(1);
    assert!(live.get(Res::Pods, &pod).controller().is_none());
    // A ReplicaSet would have it as well: it comes first.
    live.make(
        Res::ReplicaSets,
        json!({"metadata": {"name": "rs", "namespace": "shop"}, "spec": {"replicas": 1,
            "selector": {"matchLabels": {"tier": "x"}}, "template": {"metadata": {"labels": {"tier": "x"}}}}}),
    );
    live.run(1);
    live.edit(Res::Pods, &pod, |v| {
        v["metadata"]["labels"]["app"] = json!("web");
        v["metadata"]["labels"]["tier"] = json!("x");
    });
    live.run(1);
    let owners = live.get(Res::Pods, &pod).at("/metadata/ownerReferences").clone();
    let kinds: Vec<&Value> = owners.as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["ReplicaSet"]);
}

#[test]
fn a_job_lets_go_of_a_pod_and_makes_another() {
    let mut live = Live::new(2);
    make(&live, Res::Jobs, &json!({}));
    live.run(1);
    let lost = live.pods("web")[0].name().to_owned();
    live.edit(Res::Pods, &lost, |v| {
        v["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] = json!("nobody");
    });
    live.run(1);
    assert!(live.get(Res::Pods, &lost).controller().is_none());
    assert_eq!((owned(&live, Res::Jobs), live.pods("web").len()), (1, 2));
    live.run(200);
    let job = live.get(Res::Jobs, "web");
    assert_eq!((job.int("/status/succeeded"), job.at("/status/failed")), (Some(1), &Value::Null));
}

#[test]
fn a_finished_pod_counts_once_and_for_ever() {
    let mut live = Live::new(2);
    make(&live, Res::Jobs, &json!({"completions": 4, "parallelism": 1, "completionMode": "Indexed"}));
    let (mut most, mut made) = (0, std::collections::BTreeSet::new());
    live.watch(400, |live, _| {
        let job = live.get(Res::Jobs, "web");
        let succeeded = job.int("/status/succeeded").unwrap_or_default();
        assert!(succeeded >= most, "{succeeded} after {most}");
        most = succeeded;
        for pod in live.pods("web") {
            made.insert(pod.name().to_owned());
            if pod.text("/status/phase") == "Succeeded" {
                delete(live, pod.name());
            }
        }
    });
    let job = live.get(Res::Jobs, "web");
    assert_eq!(job.condition("Complete"), Some("True"));
    assert_eq!((most, made.len()), (4, 4), "none ran twice");
    assert_eq!(job.text("/status/completedIndexes"), "0-3");
}

#[test]
fn failed_pods_that_are_deleted_and_deleted_pods_use_up_the_backoff_limit() {
    let mut live = Live::new(2);
    live.app("web", |app| {
        let crash =
            Crash { after: Duration::from_secs(1), code: 2, last_words: vec![], oom: false, times: None };
        app.versions.insert("v1".into(), Version { crash: Some(crash), ..Version::default() });
    });
    make(&live, Res::Jobs, &json!({"backoffLimit": 2}));
    live.watch(200, |live, _| {
        for pod in live.pods("web").iter().filter(|pod| pod.text("/status/phase") == "Failed") {
            delete(live, pod.name());
        }
    });
    let job = live.get(Res::Jobs, "web");
    assert_eq!((job.condition("Failed"), job.int("/status/failed")), (Some("True"), Some(3)));

    let mut live = Live::new(2);
    make(&live, Res::Jobs, &json!({"parallelism": 2, "completions": 2}));
    live.run(5);
    let first = live.pods("web")[0].name().to_owned();
    delete(&live, &first);
    live.run(10);
    let job = live.get(Res::Jobs, "web");
    assert_eq!((job.int("/status/failed"), job.int("/status/active")), (Some(1), Some(2)));
    live.edit(Res::Jobs, "web", |v| v["spec"]["suspend"] = json!(true));
    live.run(10);
    let job = live.get(Res::Jobs, "web");
    assert_eq!(
        (job.int("/status/failed"), owned(&live, Res::Jobs)),
        (Some(1), 0),
        "what the Job itself takes away did not fail"
    );
}
