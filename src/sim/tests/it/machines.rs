//! Nodes that become silent, are cordoned, are tainted out-of-service, or come back.

use pilothouse_sim::resources::Res;
use pilothouse_sim::store::Delete;
use serde_json::json;

use crate::live::Live;

fn trouble(live: &Live, node: &str, change: impl FnOnce(&mut pilothouse_sim::world::NodeTrouble)) {
    live.world.change(|state| change(state.nodes.entry(node.into()).or_default()));
}

fn taints(live: &Live, node: &str) -> Vec<String> {
    let node = live.get(Res::Nodes, node);
    let all = node.at("/spec/taints").as_array().cloned().unwrap_or_default();
    let name = |taint: &serde_json::Value| {
        format!("{}:{}", taint["key"].as_str().unwrap(), taint["effect"].as_str().unwrap())
    };
    all.iter().map(name).map(|name| name.trim_start_matches("node.kubernetes.io/").to_owned()).collect()
}

#[test]
fn a_node_that_is_off_loses_its_pods_after_50_and_300_seconds() {
    let mut live = Live::new(3);
    live.deployment("web", 3, &json!({}));
    live.run(20);
    trouble(&live, "n1", |node| node.off = true);
    let (mut unknown, mut marked) = (None, None);
    live.watch(380, |live, second| {
        if unknown.is_none() && live.get(Res::Nodes, "n1").condition("Ready") == Some("Unknown") {
            unknown = Some(second);
            assert_eq!(live.ready("web"), 2, "its pod is not ready any more");
            assert_eq!(taints(live, "n1"), ["unreachable:NoSchedule", "unreachable:NoExecute"]);
        }
        if marked.is_none() && live.pods("web").iter().any(|pod| pod.is_terminating()) {
            marked = Some(second);
        }
    });
    // The Lease may have been renewed up to 10 s before the machine went off.
    assert!((40..=51).contains(&unknown.unwrap()), "{unknown:?}");
    assert!((299..=301).contains(&(marked.unwrap() - unknown.unwrap())), "{marked:?} {unknown:?}");
    let [status, reason, message] = live.condition(Res::Nodes, "n1", "MemoryPressure");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "NodeStatusUnknown"));
    assert_eq!(message, "Kubelet stopped posting node status.");
    let pods = live.pods("web");
    assert_eq!((pods.len(), live.ready("web")), (4, 3), "replaced, and the old one cannot end");
    let old = pods.iter().find(|pod| pod.is_terminating()).unwrap();
    assert_eq!(old.condition("DisruptionTarget"), Some("True"));
    trouble(&live, "n1", |node| node.off = false);
    live.run(10);
    assert_eq!(live.pods("web").len(), 3, "the machine is back and ends what it had to end");
    assert_eq!(live.get(Res::Nodes, "n1").condition("Ready"), Some("True"));
    assert!(taints(&live, "n1").is_empty());
}

#[test]
fn when_no_node_is_well_nobody_is_driven_off() {
    let mut live = Live::new(3);
    live.deployment("web", 3, &json!({}));
    live.run(20);
    for node in ["n0", "n1", "n2"] {
        trouble(&live, node, |node| node.silent = true);
    }
    live.run(500);
    for node in ["n0", "n1", "n2"] {
        assert_eq!(taints(&live, node), ["unreachable:NoSchedule"]);
    }
    assert!(live.pods("web").iter().all(|pod| !pod.is_terminating()));
    for node in ["n0", "n1", "n2"] {
        trouble(&live, node, |node| node.silent = false);
    }
    live.run(15);
    assert_eq!(live.ready("web"), 3);
    let restarts = live
        .pods("web")
        .iter()
        .filter_map(|pod| pod.int("/status/containerStatuses/0/restartCount"))
        .sum::<i64>();
    assert_eq!(restarts, 0, "only the kubelets were silent");
}

#[test]
fn out_of_service_lets_the_pods_of_a_dead_machine_go() {
    let mut live = Live::new(2);
    live.deployment("web", 2, &json!({}));
    live.run(20);
    trouble(&live, "n1", |node| node.off = true);
    live.run(60);
    assert_eq!(live.pods("web").len(), 2);
    live.edit(Res::Nodes, "n1", |v| {
        let mut taints = v["spec"]["taints"].as_array().cloned().unwrap();
        taints.push(json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}));
        v["spec"]["taints"] = json!(taints);
    });
    live.run(1);
    assert!(live.pods("web").iter().any(|pod| pod.is_terminating()));
    live.run(21);
    let pods = live.pods("web");
    assert!(
        pods.len() == 2 && pods.iter().all(|pod| pod.text("/spec/nodeName") == "n0"),
        "gone without its kubelet"
    );
}

#[test]
fn pressures_taint_and_linger_and_cordons_taint() {
    let mut live = Live::new(2);
    live.run(5);
    trouble(&live, "n0", |node| node.memory_pressure = true);
    live.edit(Res::Nodes, "n1", |v| v["spec"]["unschedulable"] = json!(true));
    live.run(1);
    let [status, reason, message] = live.condition(Res::Nodes, "n0", "MemoryPressure");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "KubeletHasInsufficientMemory"));
    assert_eq!(message, "kubelet has insufficient memory available");
    assert_eq!(taints(&live, "n0"), ["memory-pressure:NoSchedule"]);
    assert_eq!(taints(&live, "n1"), ["unschedulable:NoSchedule"]);
    trouble(&live, "n0", |node| node.memory_pressure = false);
    live.edit(Res::Nodes, "n1", |v| v["spec"]["unschedulable"] = json!(false));
    live.run(200);
    assert_eq!(taints(&live, "n0"), ["memory-pressure:NoSchedule"], "reported for five more minutes");
    assert!(taints(&live, "n1").is_empty());
    live.run(120);
    assert!(taints(&live, "n0").is_empty());
}

#[test]
fn a_kubelet_that_says_not_ready_is_tainted_and_its_pods_stay_in_service() {
    let mut live = Live::new(3);
    live.deployment("web", 3, &json!({}));
    live.make(
        Res::Services,
        json!({"metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
    );
    live.run(20);
    trouble(&live, "n2", |node| node.not_ready = Some("PLEG is not healthy".into()));
    live.run(30);
    assert_eq!(taints(&live, "n2"), ["not-ready:NoSchedule", "not-ready:NoExecute"]);
    assert_eq!(live.condition(Res::Nodes, "n2", "Ready")[2], "PLEG is not healthy");
    assert_eq!(live.ready("web"), 3);
    live.run(300);
    assert!(live.pods("web").iter().all(|pod| pod.text("/spec/nodeName") != "n2" || pod.is_terminating()));
}

#[test]
fn pods_of_a_node_that_is_deleted_are_collected() {
    let mut live = Live::new(2);
    live.deployment("web", 2, &json!({}));
    live.run(20);
    live.store.delete(Res::Nodes, "", "n1", &Delete::now()).unwrap();
    live.run(80);
    assert!(live.pods("web").iter().all(|pod| pod.text("/spec/nodeName") == "n0"));
    assert_eq!(live.ready("web"), 2);
}

#[test]
fn a_stuck_pod_outlives_its_grace_until_it_is_let_go() {
    let mut live = Live::new(1);
    live.deployment("web", 1, &json!({}));
    live.run(15);
    let pod = live.pods("web")[0].clone();
    live.world.change(|state| state.pods.entry(pod.uid().into()).or_default().stuck = true);
    live.store.delete(Res::Pods, "shop", pod.name(), &Delete::default()).unwrap();
    live.run(120);
    assert!(live.store.by_uid(pod.uid()).is_some_and(|pod| pod.is_terminating()));
    live.world.change(|state| state.pods.clear());
    live.run(3);
    assert!(live.store.by_uid(pod.uid()).is_none());
}
