//! StatefulSets, DaemonSets, Jobs, quotas, endpoints, and the scheduler's messages.

use pilothouse_sim::resources::Res;
use pilothouse_sim::store::Delete;
use serde_json::{Value, json};

use crate::live::{Live, template};

fn names(live: &Live, app: &str) -> Vec<String> {
    let mut pods = live.pods(app);
    pods.retain(|pod| !pod.is_terminating());
    pods.iter().map(|pod| pod.name().to_owned()).collect()
}

fn stateful(live: &Live, replicas: i64) {
    live.make(
        Res::StatefulSets,
        json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": {
        "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": template("db", "v1", "100m"),
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}]}}),
    );
}

#[test]
fn stateful_pods_come_in_order_and_are_replaced_in_reverse() {
    let mut live = Live::new(3);
    stateful(&live, 3);
    let mut seen = Vec::new();
    live.watch(40, |live, _| {
        let now = names(live, "db");
        if seen.last() != Some(&now) {
            assert!(now.len() < 2 || live.ready("db") + 1 >= now.len(), "each waits for the one before");
            seen.push(now);
        }
    });
    assert_eq!(seen.last().unwrap(), &["db-0", "db-1", "db-2"]);
    assert_eq!(seen.len(), 3);
    let claim = live.get(Res::PersistentVolumeClaims, "data-db-1");
    assert_eq!(claim.text("/status/phase"), "Bound");
    let volume = live.store.get(Res::PersistentVolumes, "", claim.text("/spec/volumeName")).unwrap();
    let node = live.get(Res::Nodes, live.get(Res::Pods, "db-1").text("/spec/nodeName"));
    assert_eq!(
        volume.text("/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0"),
        node.label("topology.kubernetes.io/zone").unwrap()
    );
    let before: Vec<String> = live.pods("db").iter().map(|pod| pod.uid().to_owned()).collect();
    live.image(Res::StatefulSets, "db", "registry.sim/db:v2");
    let mut replaced = Vec::new();
    live.watch(60, |live, _| {
        for pod in live.pods("db").iter().filter(|pod| !before.contains(&pod.uid().to_owned())) {
            if !replaced.contains(&pod.name().to_owned()) {
                replaced.push(pod.name().to_owned());
            }
        }
    });
    assert_eq!(replaced, ["db-2", "db-1", "db-0"]);
    let set = live.get(Res::StatefulSets, "db");
    assert_eq!(set.text("/status/currentRevision"), set.text("/status/updateRevision"));
    assert_eq!(set.int("/status/readyReplicas"), Some(3));
    assert_eq!(live.store.count(Res::ControllerRevisions), 2);
    live.edit(Res::StatefulSets, "db", |v| v["spec"]["replicas"] = json!(1));
    live.run(20);
    assert_eq!(names(&live, "db"), ["db-0"]);
    assert!(live.store.get(Res::PersistentVolumeClaims, "shop", "data-db-2").is_some(), "claims stay");
}

#[test]
fn stateful_pods_wait_until_the_one_before_has_been_ready_long_enough() {
    let mut live = Live::new(3);
    let mut came: Vec<(String, i64)> = Vec::new();
    let mut look = |live: &Live, second: i64| {
        for pod in live.pods("db") {
            if !came.iter().any(|(uid, _)| uid == pod.uid()) {
                came.push((pod.uid().to_owned(), second));
            }
        }
    };
    stateful(&live, 3);
    live.edit(Res::StatefulSets, "db", |v| v["spec"]["minReadySeconds"] = json!(10));
    live.watch(60, &mut look);
    live.image(Res::StatefulSets, "db", "registry.sim/db:v2");
    live.watch(60, |live, second| look(live, 60 + second));
    assert_eq!(came.len(), 6, "{came:?}");
    for pair in [&came[..2], &came[1..3], &came[3..5], &came[4..]] {
        assert!(pair[1].1 - pair[0].1 >= 10, "{came:?}");
    }
    assert_eq!(live.get(Res::StatefulSets, "db").int("/status/availableReplicas"), Some(3));
}

#[test]
fn a_partition_holds_the_lower_pods_back() {
    let mut live = Live::new(3);
    stateful(&live, 3);
    live.run(40);
    live.edit(Res::StatefulSets, "db", |v| {
        v["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
        v["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.sim/db:v2");
    });
    live.run(30);
    let image =
        |live: &Live, name: &str| live.get(Res::Pods, name).text("/spec/containers/0/image").to_owned();
    assert_eq!(image(&live, "db-2"), "registry.sim/db:v2");
    assert_eq!(image(&live, "db-1"), "registry.sim/db:v1");
    live.store.delete(Res::Pods, "shop", "db-0", &Delete::default()).unwrap();
    live.run(20);
    assert_eq!(image(&live, "db-0"), "registry.sim/db:v1", "it comes back as it was");
    assert_eq!(live.get(Res::StatefulSets, "db").int("/status/updatedReplicas"), Some(1));
}

#[test]
fn daemons_run_on_every_node_that_takes_them() {
    let mut live = Live::new(3);
    live.edit(Res::Nodes, "n0", |v| v["spec"]["taints"] = json!([{"key": "gpu", "effect": "NoSchedule"}]));
    live.edit(Res::Nodes, "n1", |v| v["spec"]["unschedulable"] = json!(true));
    live.make(
        Res::DaemonSets,
        json!({"metadata": {"name": "agent", "namespace": "shop"}, "spec": {
        "selector": {"matchLabels": {"app": "agent"}}, "template": template("agent", "v1", "10m")}}),
    );
    live.run(15);
    let nodes = |live: &Live| {
        let mut all: Vec<String> =
            live.pods("agent").iter().map(|pod| pod.text("/spec/nodeName").to_owned()).collect();
        all.sort();
        all
    };
    assert_eq!(nodes(&live), ["n1", "n2"], "a cordon does not keep them away, a taint does");
    live.make(Res::Nodes, crate::live::node("n3", "a", 3));
    live.run(15);
    assert_eq!(nodes(&live), ["n1", "n2", "n3"]);
    live.image(Res::DaemonSets, "agent", "registry.sim/agent:v2");
    let mut least = 3;
    live.watch(60, |live, _| least = least.min(live.ready("agent")));
    assert_eq!(least, 2, "one at a time");
    let set = live.get(Res::DaemonSets, "agent");
    assert_eq!(
        (set.int("/status/updatedNumberScheduled"), set.int("/status/numberAvailable")),
        (Some(3), Some(3))
    );
}

fn job(live: &Live, name: &str, spec: &Value) {
    let mut whole = json!({"template": template(name, "v1", "10m")});
    whole["template"]["spec"]["restartPolicy"] = json!("Never");
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    live.make(Res::Jobs, json!({"metadata": {"name": name, "namespace": "shop"}, "spec": whole}));
}

#[test]
fn jobs_are_done_or_give_up() {
    let mut live = Live::new(2);
    job(&live, "report", &json!({"completions": 3, "parallelism": 2}));
    let mut most = 0;
    live.watch(100, |live, _| {
        most = most.max(live.get(Res::Jobs, "report").int("/status/active").unwrap_or_default());
    });
    assert_eq!(most, 2);
    let report = live.get(Res::Jobs, "report");
    assert_eq!(report.int("/status/succeeded"), Some(3));
    assert_eq!(live.condition(Res::Jobs, "report", "SuccessCriteriaMet")[1], "CompletionsReached");
    assert_eq!(live.condition(Res::Jobs, "report", "Complete")[0], "True");
    assert!(live.pods("report").iter().all(|pod| pod.text("/status/phase") == "Succeeded"));
    live.app("bad", |app| {
        let crash = pilothouse_sim::world::Crash {
            after: std::time::Duration::from_secs(1),
            code: 2,
            last_words: vec![],
            oom: false,
            times: None,
        };
        app.versions
            .insert("v1".into(), pilothouse_sim::world::Version { crash: Some(crash), ..Default::default() });
    });
    job(&live, "bad", &json!({"backoffLimit": 1}));
    live.run(60);
    assert_eq!(live.condition(Res::Jobs, "bad", "Failed")[1], "BackoffLimitExceeded");
    assert_eq!(live.get(Res::Jobs, "bad").int("/status/failed"), Some(2));
}

#[test]
fn the_scheduler_says_why_not_and_tries_again() {
    let mut live = Live::new(4);
    live.edit(Res::Nodes, "n0", |v| v["spec"]["unschedulable"] = json!(true));
    live.edit(Res::Nodes, "n1", |v| {
        v["spec"]["taints"] = json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]);
    });
    live.run(1);
    let mut pod = template("big", "v1", "5");
    pod["metadata"] = json!({"name": "big", "namespace": "shop", "labels": {"app": "big"}});
    live.make(Res::Pods, pod);
    live.run(1);
    let [status, reason, message] = live.condition(Res::Pods, "big", "PodScheduled");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Unschedulable"));
    let want = "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 2 Insufficient cpu. \
        no new claims to deallocate, preemption: 0/4 nodes are available: 2 No preemption victims found for incoming pod, 2 \
        Preemption is not helpful for scheduling.";
    assert_eq!(message, want);
    assert_eq!(live.told("FailedScheduling"), [want]);
    let mut node = crate::live::node("n9", "a", 9);
    node["status"]["allocatable"]["cpu"] = json!("8");
    live.make(Res::Nodes, node);
    live.run(15);
    assert_eq!(live.get(Res::Pods, "big").text("/spec/nodeName"), "n9");
    assert_eq!(live.get(Res::Pods, "big").condition("Ready"), Some("True"));
}

#[test]
fn affinity_spread_and_ports_are_kept() {
    let mut live = Live::new(3);
    let refuse =
        json!([{"labelSelector": {"matchLabels": {"app": "solo"}}, "topologyKey": "kubernetes.io/hostname"}]);
    let mut solo = template("solo", "v1", "100m");
    solo["spec"]["affinity"] =
        json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": refuse}});
    live.deployment("solo", 4, &json!({"template": solo}));
    let mut even = template("even", "v1", "100m");
    even["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "even"}}}]);
    even["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "plan9"});
    live.deployment("even", 1, &json!({"template": even}));
    let mut port = template("port", "v1", "100m");
    port["spec"]["containers"][0]["ports"][0]["hostPort"] = json!(8080);
    live.deployment("port", 4, &json!({"template": port}));
    live.run(15);
    let refusals = live.told("FailedScheduling").join("\n");
    for why in [
        "3 node(s) didn't match pod anti-affinity rules",
        "3 node(s) didn't match Pod's node affinity/selector",
        "3 node(s) didn't have free ports for the requested pod ports",
    ] {
        assert!(refusals.contains(why), "{why}:\n{refusals}");
    }
    assert_eq!((live.ready("solo"), live.ready("port"), live.ready("even")), (3, 3, 0));
}

#[test]
fn quotas_count_and_refuse() {
    let mut live = Live::new(2);
    live.make(
        Res::ResourceQuotas,
        json!({"metadata": {"name": "q", "namespace": "shop"},
        "spec": {"hard": {"pods": "2", "requests.cpu": "1"}}}),
    );
    live.deployment("web", 3, &json!({}));
    live.run(15);
    assert_eq!(live.ready("web"), 2);
    assert_eq!(
        live.get(Res::ResourceQuotas, "q").at("/status/used"),
        &json!({"pods": "2", "requests.cpu": "200m"})
    );
    let told = live.told("FailedCreate").join("\n");
    assert!(told.contains("exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"), "{told}");
    assert_eq!(live.condition(Res::Deployments, "web", "ReplicaFailure")[1], "FailedCreate");
    live.edit(Res::ResourceQuotas, "q", |v| v["spec"]["hard"]["pods"] = json!("5"));
    live.run(30);
    assert_eq!(live.ready("web"), 3);
}

#[test]
fn endpoints_follow_readiness_and_the_end_of_pods() {
    let mut live = Live::new(3);
    live.make(
        Res::Services,
        json!({"metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
    );
    live.run(1);
    let slice = |live: &Live| {
        let all = live.store.list(Res::EndpointSlices, Some("shop"));
        assert_eq!(all.len(), 1);
        all[0].clone()
    };
    assert!(slice(&live).at("/endpoints").as_array().unwrap().is_empty());
    live.app("web", |app| app.shutdown = std::time::Duration::from_secs(10));
    live.deployment("web", 2, &json!({}));
    let conditions = |live: &Live| -> Vec<(bool, bool, bool)> {
        let slice = slice(live);
        let all = slice.at("/endpoints").as_array().unwrap().clone();
        let get = |one: &Value, field: &str| one["conditions"][field].as_bool().unwrap();
        all.iter().map(|one| (get(one, "ready"), get(one, "serving"), get(one, "terminating"))).collect()
    };
    live.run(4);
    assert_eq!(conditions(&live), [(false, false, false); 2]);
    live.run(8);
    assert_eq!(conditions(&live), [(true, true, false); 2]);
    let made = slice(&live);
    assert_eq!(made.at("/ports"), &json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(made.label("kubernetes.io/service-name"), Some("web"));
    assert!(["a", "b", "c"].contains(&made.text("/endpoints/0/zone")));
    let pod = live.pods("web")[0].clone();
    live.store.delete(Res::Pods, "shop", pod.name(), &Delete::default()).unwrap();
    live.run(1);
    assert!(conditions(&live).contains(&(false, true, true)), "it still answers while it ends");
    let other = live.pods("web").into_iter().find(|one| one.uid() != pod.uid()).unwrap();
    live.world.change(|state| state.pods.entry(other.uid().into()).or_default().unready = true);
    live.run(1);
    let ready = live.get(Res::Endpoints, "web").at("/subsets/0/addresses").clone();
    assert!(!ready.to_string().contains(other.uid()));
    live.run(20);
    assert_eq!(conditions(&live).len(), 2);
    live.store.delete(Res::Services, "shop", "web", &Delete::default()).unwrap();
    live.run(1);
    assert_eq!(live.store.list(Res::EndpointSlices, Some("shop")).len(), 0);
}

#[test]
fn deletion_cost_and_readiness_decide_who_goes_first() {
    let mut live = Live::new(3);
    live.deployment("web", 4, &json!({}));
    live.run(15);
    let pods = live.pods("web");
    let cheap = pods[2].name().to_owned();
    live.edit(Res::Pods, &cheap, |v| {
        v["metadata"]["annotations"] = json!({"controller.kubernetes.io/pod-deletion-cost": "-5"});
    });
    live.world.change(|state| state.pods.entry(pods[1].uid().into()).or_default().unready = true);
    live.run(1);
    live.edit(Res::Deployments, "web", |v| v["spec"]["replicas"] = json!(2));
    live.run(1);
    let left = names(&live, "web");
    assert_eq!(left.len(), 2);
    assert!(!left.contains(&cheap) && !left.contains(&pods[1].name().to_owned()), "{left:?}");
}

#[test]
fn events_are_counted_and_forgotten_after_an_hour() {
    let mut live = Live::new(1);
    live.deployment("web", 1, &json!({}));
    live.app("web", |app| {
        app.versions
            .insert("v1".into(), pilothouse_sim::world::Version { never_ready: true, ..Default::default() });
    });
    live.run(120);
    let events = live.store.list(Res::Events, Some("shop"));
    let unhealthy = events.iter().find(|event| event.text("/reason") == "Unhealthy").unwrap();
    assert!(unhealthy.int("/count").unwrap() > 8);
    assert!(events.iter().any(|event| event.text("/reason") == "Pulled"));
    live.run(3600);
    let events = live.store.list(Res::Events, Some("shop"));
    assert!(events.iter().any(|event| event.text("/reason") == "Unhealthy"), "it still happens");
    assert!(events.iter().all(|event| event.text("/reason") != "Pulled"));
}
