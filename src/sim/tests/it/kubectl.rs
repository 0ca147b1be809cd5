//! Common kubectl commands, unmodified, against the simulated cluster: the kubectl of PILOTHOUSE_TEST_KUBECTL, or the
//! one in PATH.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use chrono::TimeDelta;
use pilothouse_sim::resources::Res;
use pilothouse_sim::selector::Labels;
use pilothouse_sim::store::{Delete, Store};
use pilothouse_sim::usage::Used;
use serde_json::json;

use crate::Cluster;

/// A directory that goes with the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pilothouse-sim-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[derive(Clone)]
pub struct Kubectl {
    pub binary: PathBuf,
    pub home: PathBuf,
}

impl Kubectl {
    /// What it prints; panics with both outputs if it fails.
    pub async fn run(&self, line: &str) -> String {
        let (ok, out) = self.attempt(line).await;
        assert!(ok, "kubectl {line}\n{out}");
        out
    }

    pub async fn attempt(&self, line: &str) -> (bool, String) {
        let (this, line) = (self.clone(), line.to_owned());
        tokio::task::spawn_blocking(move || {
            let out = Command::new(&this.binary)
                .args(line.split(' '))
                .env_clear()
                .env("HOME", &this.home)
                .env("KUBECONFIG", this.home.join("config"))
                .output()
                .unwrap();
            let text = [out.stdout, out.stderr].concat();
            (out.status.success(), String::from_utf8_lossy(&text).into_owned())
        })
        .await
        .unwrap()
    }
}

/// The kubectl to test with.
pub fn binary() -> PathBuf {
    std::env::var_os("PILOTHOUSE_TEST_KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from)
}

/// Ends terminating pods when their time has come, as kubelets do, and gives the budget back, as its controller does.
async fn kubelets(store: Store) {
    let mut pods = store.subscribe(Res::Pods);
    loop {
        for pod in store.list(Res::Pods, None).into_iter().filter(|pod| pod.is_terminating()) {
            store.clock().until(pod.time("/metadata/deletionTimestamp").unwrap()).await;
            drop(store.delete(Res::Pods, pod.namespace(), pod.name(), &Delete::now()));
            let web = Labels::parse("app=storefront").unwrap();
            let terminating =
                store.list_by_label(Res::Pods, Some("shop"), &web).iter().any(|one| one.is_terminating());
            if pod.label("app") == Some("storefront") && !terminating {
                drop(store.update_status(Res::Pdbs, "shop", "storefront", "test", |s| {
                    s["disruptionsAllowed"] = json!(1);
                }));
            }
        }
        drop(pods.next().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kubectl, named by PILOTHOUSE_TEST_KUBECTL or on the PATH"]
async fn everyday_kubectl() {
    let binary = binary();
    let mut cluster = Cluster::start().await;
    let home = Scratch::new("kubectl");
    cluster.running.write_kubeconfig(&home.0.join("config"), "admin").unwrap();
    let kubectl = Kubectl { binary, home: home.0.clone() };
    let store = cluster.running.store.clone();
    for n in 0..3 {
        cluster.pod(&format!("storefront-{n}"), "storefront", if n < 2 { "node-0000" } else { "node-0001" });
    }
    cluster.budget("storefront", 1, 3, 2);
    cluster.running.spawn(kubelets(store.clone()));
    let used = Used { cpu_nano: 390_000_000, memory: 1 << 30 };
    cluster.running.usage.set_node("node-0000", Some(used));
    cluster.running.usage.set_pod("shop", "storefront-0", Some(vec![("app".into(), used)]));
    let event = json!({"metadata": {"name": "e", "namespace": "shop"}, "type": "Warning", "reason": "Unhealthy",
        "message": "probe failed", "involvedObject": {"kind": "Pod", "name": "storefront-0", "namespace": "shop",
        "uid": store.get(Res::Pods, "shop", "storefront-0").unwrap().uid()}, "lastTimestamp": store.clock().stamp()});
    store.create(Res::Events, event, &pilothouse_sim::store::Write::by("kubelet")).unwrap();

    for (line, wants) in [
        ("version", vec!["Server Version: v1.36.2"]),
        ("get nodes", vec!["node-0001   Ready    worker"]),
        ("get nodes -o wide", vec!["Simulated Linux 1", "10.1.0.2"]),
        ("get pods -n shop", vec!["storefront-1   1/1     Running   0"]),
        ("get pods -A -o wide", vec!["10.244.0.9", "node-0001"]),
        ("get pod -n shop storefront-0 -o yaml", vec!["kind: Pod", "nodeName: node-0000"]),
        ("get pods -n shop -o json -l app=storefront", vec!["\"kind\": \"List\""]),
        (
            "get deploy,sts,ds,hpa,pdb,svc,endpointslices -A",
            vec!["deployment.apps/catalog", "cpu: <unknown>/60%", "orders-db"],
        ),
        ("get events -n shop", vec!["Warning", "pod/storefront-0", "probe failed"]),
        ("describe pod -n shop storefront-0", vec!["Controlled By:", "QoS Class:", "Unhealthy"]),
        ("describe node node-0000", vec!["Non-terminated Pods:", "storefront-0", "Allocated resources:"]),
        ("top nodes", vec!["390m", "5%"]),
        ("top pods -n shop", vec!["390m", "1024Mi"]),
        ("auth can-i create pods/eviction", vec!["yes"]),
        ("auth whoami", vec!["admin"]),
        ("label pod -n shop storefront-0 canary=yes", vec!["labeled"]),
        ("scale deploy -n shop catalog --replicas 6 --current-replicas 4", vec!["scaled"]),
        ("get deploy -n shop catalog -o jsonpath={.spec.replicas}", vec!["6"]),
        ("rollout restart deploy/catalog -n shop", vec!["restarted"]),
        ("patch deploy catalog -n shop -p {\"spec\":{\"minReadySeconds\":3}}", vec!["patched"]),
        ("api-resources", vec!["horizontalpodautoscalers"]),
    ] {
        let out = kubectl.run(line).await;
        for want in wants {
            assert!(out.contains(want), "kubectl {line}: no {want:?} in\n{out}");
        }
    }

    // A rollout that is done, as its controller would report it.
    store.update_status(Res::Deployments, "shop", "catalog", "test", |status| {
        *status = json!({"observedGeneration": 99, "replicas": 6, "updatedReplicas": 6, "readyReplicas": 6, "availableReplicas": 6});
    }).unwrap();
    assert!(
        kubectl
            .run("rollout status deploy/catalog -n shop --timeout 20s")
            .await
            .contains("successfully rolled out")
    );
    history(&store);
    assert!(kubectl.run("rollout history deploy/catalog -n shop").await.contains("REVISION"));
    assert!(kubectl.run("rollout undo deploy/catalog -n shop").await.contains("rolled back"));
    let back = store.get(Res::Deployments, "shop", "catalog").unwrap();
    assert_eq!(back.text("/spec/template/spec/containers/0/image"), "registry.sim/catalog:v1.8.0");

    let uid = store.get(Res::Pods, "shop", "storefront-2").unwrap().uid().to_owned();
    let (logs, now) = (cluster.running.logs.clone(), store.clock().now());
    logs.append(&uid, "app", now, "first");
    let (api, audit) = (cluster.running.api.clone(), &cluster.running.api.audit);
    let (followed, ()) = tokio::join!(kubectl.run("logs -f -n shop storefront-2"), async {
        let mut requests = audit.total();
        while audit.count("get", "pods/log") == 0 {
            requests.changed().await.unwrap();
        }
        logs.append(&uid, "app", now + TimeDelta::seconds(1), "second");
        logs.end(&uid, "app");
    });
    assert_eq!(followed, "first\nsecond\n");

    let (watched, ()) = tokio::join!(kubectl.attempt("get pods -n shop -w"), async {
        drain(&kubectl, &store).await;
        api.cut.send_modify(|n| *n += 1);
    });
    assert!(watched.1.contains("Terminating"), "{}", watched.1);

    cluster.running.write_kubeconfig(&home.0.join("config"), "viewer").unwrap();
    let (_, out) = kubectl.attempt("cordon node-0001").await;
    assert!(out.contains("User \"viewer\" cannot patch resource \"nodes\""), "{out}");
    assert!(kubectl.attempt("auth can-i delete pods").await.1.contains("no"));
}

/// Empties a node against a budget that lets one pod go at a time.
async fn drain(kubectl: &Kubectl, store: &Store) {
    assert!(kubectl.run("cordon node-0000").await.contains("cordoned"));
    let drained = kubectl.run("drain node-0000 --ignore-daemonsets");
    let drained = tokio::time::timeout(Duration::from_secs(60), drained).await.unwrap();
    assert!(
        drained.contains("error when evicting pods/\"storefront-"),
        "the budget held one pod back:\n{drained}"
    );
    assert!(drained.contains("drained"), "{drained}");
    assert!(store.pods_on("node-0000").is_empty());
    assert!(kubectl.run("uncordon node-0000").await.contains("uncordoned"));
    assert!(kubectl.run("delete pod -n shop storefront-2").await.contains("deleted"));
}

/// Two ReplicaSets, so that there is something to go back to.
fn history(store: &Store) {
    let revision = json!({"deployment.kubernetes.io/revision": "2"});
    let noted = |v: &mut serde_json::Value| v["metadata"]["annotations"] = revision;
    store.update(Res::Deployments, "shop", "catalog", "test", noted).unwrap();
    let deployment = store.get(Res::Deployments, "shop", "catalog").unwrap();
    for (revision, image) in [("1", "registry.sim/catalog:v1.8.0"), ("2", "registry.sim/catalog:v1.8.1")] {
        let mut set = json!({"metadata": {"name": format!("catalog-{revision}"), "namespace": "shop",
                "labels": {"app": "catalog"}, "annotations": {"deployment.kubernetes.io/revision": revision},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "catalog",
                    "uid": deployment.uid(), "controller": true}]},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "catalog"}},
                "template": deployment.at("/spec/template")}});
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        store.create(Res::ReplicaSets, set, &pilothouse_sim::store::Write::by("test")).unwrap();
    }
}
