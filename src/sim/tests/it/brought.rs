//! Objects that clients create: nodes without a machine behind them, pods that state their usage, fault labels, and
//! pods that change their owner.

use pilothouse_sim::resources::Res;
use pilothouse_sim::store::{Delete, Write};
use serde_json::json;

use crate::live::Live;

#[test]
fn a_pod_that_no_longer_matches_is_let_go_and_taken_in_again() {
    let mut live = Live::new(3);
    live.deployment("web", 2, &json!({}));
    live.run(20);
    let name = live.pods("web")[0].name().to_owned();
    live.edit(Res::Pods, &name, |pod| pod["metadata"]["labels"]["app"] = json!("taken-out"));
    live.run(20);
    assert_eq!((live.ready("web"), live.ready("taken-out")), (2, 1), "another one stands in its place");
    assert!(live.get(Res::Pods, &name).controller().is_none());
    live.edit(Res::Pods, &name, |pod| pod["metadata"]["labels"]["app"] = json!("web"));
    live.run(1);
    assert!(live.get(Res::Pods, &name).controller().is_some());
    live.run(40);
    assert_eq!((live.ready("web"), live.pods("web").len()), (2, 2), "one of the three went");
    assert!(
        live.pods("web").iter().any(|pod| pod.name() == name),
        "the one that has been ready longest stays"
    );
}

#[test]
fn a_registered_node_keeps_its_status_and_learns_the_rest() {
    let mut live = Live::new(1);
    let room = json!({"cpu": "2", "memory": "4Gi", "pods": "110"});
    let node = json!({"metadata": {"name": "new"}, "status": {"capacity": room, "allocatable": room}});
    live.store.create(Res::Nodes, node, &Write::request("kubectl-create")).unwrap();
    live.run(15);
    let node = live.get(Res::Nodes, "new");
    assert_eq!((node.text("/status/capacity/cpu"), node.condition("Ready")), ("2", Some("True")));
    assert!(!node.text("/status/nodeInfo/kubeletVersion").is_empty());
    assert_eq!(node.text("/status/addresses/1/address"), "new");
}

#[test]
fn parts_of_a_strategy_are_enough_and_overhead_is_the_classes() {
    let mut live = Live::new(1);
    let set = live.make(
        Res::StatefulSets,
        json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": {"replicas": 0, "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}}, "template": crate::live::template("db", "v1", "100m"),
            "updateStrategy": {"rollingUpdate": {"partition": 1}}}}),
    );
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    assert_eq!(*set.at("/spec/updateStrategy"), strategy);
    live.make(
        Res::RuntimeClasses,
        json!({"metadata": {"name": "boxed"}, "handler": "none", "overhead": {"podFixed": {"cpu": "50m"}}}),
    );
    let mut pod = crate::live::template("x", "v1", "100m");
    pod["metadata"]["name"] = json!("x");
    pod["metadata"]["namespace"] = json!("shop");
    pod["spec"]["runtimeClassName"] = json!("boxed");
    assert_eq!(live.make(Res::Pods, pod).text("/spec/overhead/cpu"), "50m");
    live.run(5);
}

#[test]
fn every_namespace_has_its_account() {
    let mut live = Live::new(1);
    live.make(Res::Namespaces, json!({"metadata": {"name": "team"}}));
    live.run(1);
    let first = live.store.get(Res::ServiceAccounts, "team", "default").unwrap();
    live.store.delete(Res::ServiceAccounts, "team", "default", &Delete::default()).unwrap();
    live.run(1);
    let second = live.store.get(Res::ServiceAccounts, "team", "default").unwrap();
    assert_ne!(first.uid(), second.uid());
}
