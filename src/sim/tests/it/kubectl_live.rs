//! Common kubectl commands against a cluster whose loops run. Needs PILOTHOUSE_TEST_KUBECTL.

use std::time::Duration;

use pilothouse_sim::engine::Engine;
use pilothouse_sim::loops;
use pilothouse_sim::resources::Res;
use pilothouse_sim::server::Options;
use pilothouse_sim::store::Store;
use pilothouse_sim::world::World;

use crate::Cluster;
use crate::kubectl::{Kubectl, Scratch};

fn ready(store: &Store, name: &str) -> i64 {
    let found = store.get(Res::Deployments, "shop", name);
    found.and_then(|one| one.int("/status/readyReplicas")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kubectl, named by PILOTHOUSE_TEST_KUBECTL or on the PATH"]
async fn kubectl_against_living_loops() {
    let binary = crate::kubectl::binary();
    let mut cluster = Cluster::with(4, Options { factor: 10.0, ..crate::dead() }).await;
    let home = Scratch::new("live");
    cluster.running.write_kubeconfig(&home.0.join("config"), "admin").unwrap();
    let kubectl = Kubectl { binary, home: home.0.clone() };
    let (store, world) = (cluster.running.store.clone(), World::default());
    let mut engine = Engine::new(store.clone(), world.clone());
    for part in loops::parts(&store, &world, &cluster.running.logs, &cluster.running.usage) {
        engine.add(part);
    }
    cluster.running.spawn(engine.run());
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, store.until(|store| ready(store, "storefront") == 6)).await.unwrap();

    let out = kubectl.run("get pods -n shop").await;
    assert!(out.contains("1/1     Running   0"), "{out}");
    assert!(kubectl.run("get endpointslices -n shop").await.contains("storefront-"));
    assert!(
        kubectl
            .run("set image deploy/storefront -n shop app=registry.sim/storefront:v2")
            .await
            .contains("updated")
    );
    let out = kubectl.run("rollout status deploy/storefront -n shop --timeout 60s").await;
    assert!(out.contains("Waiting for deployment") && out.contains("successfully rolled out"), "{out}");
    assert!(kubectl.run("rollout undo deploy/storefront -n shop").await.contains("rolled back"));
    kubectl.run("rollout status deploy/storefront -n shop --timeout 60s").await;
    let back = store.get(Res::Deployments, "shop", "storefront").unwrap();
    assert_eq!(back.text("/spec/template/spec/containers/0/image"), "registry.sim/storefront:v1.8.1");
    assert_eq!(back.annotation("deployment.kubernetes.io/revision"), Some("3"));
    kubectl.run("rollout restart sts/orders-db -n data").await;
    kubectl.run("rollout status sts/orders-db -n data --timeout 60s").await;
    kubectl.run("rollout status ds/node-agent -n kube-system --timeout 60s").await;
    assert!(
        kubectl
            .run("wait job/nightly-report -n data --for=condition=complete --timeout 60s")
            .await
            .contains("condition met")
    );

    assert!(
        kubectl.run("scale deploy/storefront -n shop --replicas 8 --timeout 30s").await.contains("scaled")
    );
    tokio::time::timeout(patience, store.until(|store| ready(store, "storefront") == 8)).await.unwrap();
    let node = store
        .list(Res::Pods, Some("shop"))
        .into_iter()
        .find(|pod| pod.label("app") == Some("storefront"))
        .unwrap();
    let node = node.text("/spec/nodeName").to_owned();
    let shared = store.pods_on(&node).iter().filter(|pod| pod.label("app") == Some("storefront")).count();
    assert!(shared >= 2, "eight pods on four nodes");
    let drain = format!("drain {node} --ignore-daemonsets --timeout 120s");
    let out = tokio::time::timeout(Duration::from_secs(120), kubectl.run(&drain)).await.unwrap();
    assert!(
        out.contains("Cannot evict pod as it would violate the pod's disruption budget"),
        "held back:\n{out}"
    );
    assert!(out.contains("drained"), "{out}");
    let out = kubectl.run(&format!("describe node {node}")).await;
    assert!(
        out.contains("node.kubernetes.io/unschedulable:NoSchedule") && out.contains("node-agent-"),
        "{out}"
    );
    kubectl.run(&format!("uncordon {node}")).await;

    let pod = store
        .list(Res::Pods, Some("shop"))
        .into_iter()
        .find(|pod| pod.label("app") == Some("checkout"))
        .unwrap();
    cluster.running.logs.append(pod.uid(), "app", store.clock().now(), "hello");
    assert_eq!(kubectl.run(&format!("logs -n shop {}", pod.name())).await, "hello\n");
    let out = kubectl.run(&format!("describe pod -n shop {}", pod.name())).await;
    for want in [
        "Successfully assigned shop/checkout-",
        "Container started",
        "containerd://",
        "ReplicaSet/checkout-",
        "Burstable",
    ] {
        assert!(out.contains(want), "no {want} in\n{out}");
    }
    let out = kubectl.run("describe deploy -n shop storefront").await;
    assert!(out.contains("NewReplicaSetAvailable") && out.contains("Scaled up replica set"), "{out}");
}
