//! Common kubectl commands, unmodified, against a whole running scenario with its own loops, traffic, metrics and logs.
//! Needs PILOTHOUSE_TEST_KUBECTL.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_sim::resources::Res;
use pilothouse_sim::scenario::Scenario;
use pilothouse_sim::server::Options;
use pilothouse_sim::store::{Object, Store};
use pilothouse_sim::world::Id;
use serde_json::Value;

use crate::Cluster;
use crate::kubectl::{Kubectl, Scratch};

const PATIENCE: Duration = Duration::from_secs(90);

fn pods(store: &Store, app: &str) -> Vec<Arc<Object>> {
    let mut all = store.list(Res::Pods, Some("shop"));
    all.retain(|pod| pod.label("app") == Some(app) && !pod.is_terminating());
    all
}

async fn until(store: &Store, done: impl FnMut(&Store) -> bool) {
    tokio::time::timeout(PATIENCE, store.until(done)).await.unwrap();
}

/// The columns of the line of a table that begins with `name`.
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let line = table.lines().find(|line| line.split_whitespace().any(|word| word == name));
    line.unwrap_or_else(|| panic!("no {name} in\n{table}")).split_whitespace().collect()
}

async fn reading(kubectl: &Kubectl, store: &Store) {
    let nodes = kubectl.run("get nodes --no-headers").await;
    assert_eq!(nodes.lines().filter(|line| line.contains(" Ready ")).count(), 12, "{nodes}");
    let all = kubectl.run("get pods -A -o wide --no-headers").await;
    let running = |pod: &Arc<Object>| pod.text("/status/phase") == "Running";
    let wanted = store.list(Res::Pods, None).iter().filter(|pod| running(pod)).count();
    assert!(wanted > 100, "only {wanted} pods");
    assert!(all.lines().filter(|line| line.contains("Running")).count().abs_diff(wanted) < 8, "{all}");
    for pod in pods(store, "payments") {
        let row = row(&all, pod.name());
        assert!(
            row.contains(&pod.text("/status/podIP")) && row.contains(&pod.text("/spec/nodeName")),
            "{row:?}"
        );
    }
    let deployments = kubectl.run("get deploy -n shop").await;
    assert_eq!(row(&deployments, "payments").get(1..4), Some(&["4/4", "4", "4"][..]), "{deployments}");
    assert_eq!(row(&kubectl.run("get sts -n data").await, "queue").get(1), Some(&"3/3"));
    assert_eq!(
        row(&kubectl.run("get ds -n kube-system").await, "node-agent").get(1..4),
        Some(&["12", "12", "12"][..])
    );
    let autoscalers = kubectl.run("get hpa -n shop").await;
    assert!(
        row(&autoscalers, "storefront")
            .iter()
            .any(|word| word.ends_with("%/70%") && !word.contains("unknown"))
    );
    let budgets = kubectl.run("get pdb -n shop").await;
    assert_eq!(row(&budgets, "payments").get(1..4), Some(&["3", "N/A", "1"][..]), "{budgets}");
    assert!(row(&kubectl.run("get svc -n shop").await, "cart").contains(&"ClusterIP"));
    let slices =
        kubectl.run("get endpointslices -n shop -l kubernetes.io/service-name=payments -o json").await;
    let slices: Value = serde_json::from_str(&slices).unwrap();
    let endpoints = slices["items"][0]["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.iter().filter(|one| one["conditions"]["ready"] == true).count(), 4);
    let list: Value =
        serde_json::from_str(&kubectl.run("get pods -n shop -l app=cart -o json").await).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), pods(store, "cart").len());
    let yaml = kubectl.run("get deploy payments -n shop -o yaml").await;
    assert!(yaml.contains("kind: Deployment") && yaml.contains("readyReplicas: 4"), "{yaml}");

    let top = kubectl.run("top nodes --no-headers").await;
    assert_eq!(top.lines().count(), 12, "{top}");
    let top = kubectl.run("top pods -n shop --no-headers").await;
    for pod in pods(store, "checkout") {
        let row = row(&top, pod.name());
        assert!(row.get(1).is_some_and(|cpu| cpu.ends_with('m') && *cpu != "0m"), "{row:?}");
        assert!(row.get(2).is_some_and(|memory| memory.ends_with("Mi") && *memory != "0Mi"), "{row:?}");
    }
    assert_eq!(kubectl.run("auth can-i delete pods -n shop").await.trim(), "yes");
    let (_, can) = kubectl.attempt("auth can-i delete pods -n shop --as viewer").await;
    assert_eq!(can.trim(), "no");
    let (ok, why) = kubectl.attempt("get secrets -n shop --as viewer").await;
    assert!(!ok && why.contains("User \"viewer\" cannot list resource \"secrets\""), "{why}");
    assert!(kubectl.run("get pods -n shop --as somebody --as-group viewers").await.contains("payments"));
}

/// Changes of objects, and that the loops follow them.
async fn changing(kubectl: &Kubectl, store: &Store) {
    let get = |name: &str| store.get(Res::Deployments, "shop", name).unwrap();
    kubectl.run("label deploy payments -n shop team=money").await;
    kubectl.run("annotate deploy payments -n shop note=here").await;
    kubectl.run("patch deploy payments -n shop -p {\"spec\":{\"revisionHistoryLimit\":4}}").await;
    let object = get("payments");
    assert_eq!((object.label("team"), object.annotation("note")), (Some("money"), Some("here")));
    assert_eq!(object.int("/spec/revisionHistoryLimit"), Some(4));

    kubectl.run("scale deploy inventory -n shop --replicas 6").await;
    until(store, |_| get("inventory").int("/status/readyReplicas") == Some(6)).await;
    assert_eq!(pods(store, "inventory").len(), 6);

    let before: Vec<String> = pods(store, "images").iter().map(|pod| pod.uid().to_owned()).collect();
    kubectl.run("rollout restart deploy/images -n shop").await;
    let out = kubectl.run("rollout status deploy/images -n shop --timeout 80s").await;
    assert!(out.contains("successfully rolled out"), "{out}");
    until(store, |store| pods(store, "images").len() == 6).await;
    assert!(pods(store, "images").iter().all(|pod| !before.contains(&pod.uid().to_owned())));
    let history = kubectl.run("rollout history deploy/images -n shop").await;
    let stands = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    assert_eq!(history.lines().filter(stands).count(), 2, "{history}");
    let hash = |store: &Store| get_hash(&pods(store, "images"));
    let restarted = hash(store);
    assert!(kubectl.run("rollout undo deploy/images -n shop").await.contains("rolled back"));
    kubectl.run("rollout status deploy/images -n shop --timeout 80s").await;
    until(store, |store| pods(store, "images").len() == 6).await;
    assert_ne!(hash(store), restarted);

    let gone = pods(store, "mailer").remove(0);
    kubectl.run(&format!("delete pod {} -n shop", gone.name())).await;
    let sound = |pod: &Arc<Object>| pod.uid() != gone.uid() && pod.condition("Ready") == Some("True");
    until(store, |store| pods(store, "mailer").iter().filter(|pod| sound(pod)).count() == 2).await;
    let events = kubectl.run("get events -n shop").await;
    for want in ["SuccessfulCreate", "ScalingReplicaSet", "Killing", gone.name()] {
        assert!(events.contains(want), "no {want} in\n{events}");
    }
    let described = kubectl.run(&format!("describe pod {} -n shop", pods(store, "mailer")[0].name())).await;
    for want in ["ReplicaSet/mailer-", "Container started"] {
        assert!(described.contains(want), "no {want} in\n{described}");
    }
}

fn get_hash(pods: &[Arc<Object>]) -> Vec<String> {
    let mut all: Vec<String> =
        pods.iter().filter_map(|pod| pod.label("pod-template-hash").map(str::to_owned)).collect();
    all.sort();
    all.dedup();
    all
}

/// A drain that a budget holds back until somebody loosens it.
async fn draining(kubectl: &Kubectl, store: &Store) {
    let node = pods(store, "payments")[0].text("/spec/nodeName").to_owned();
    kubectl.run("patch pdb payments -n shop -p {\"spec\":{\"minAvailable\":4}}").await;
    let allowed =
        |store: &Store| store.get(Res::Pdbs, "shop", "payments").unwrap().int("/status/disruptionsAllowed");
    until(store, |store| allowed(store) == Some(0)).await;
    assert!(kubectl.run(&format!("cordon {node}")).await.contains("cordoned"));
    assert_eq!(store.get(Res::Nodes, "", &node).unwrap().at("/spec/unschedulable"), &Value::Bool(true));
    let drain = format!("drain {node} --ignore-daemonsets --delete-emptydir-data --timeout 90s");
    let on_it = |store: &Store, app: &str| {
        store.pods_on(&node).iter().filter(|pod| pod.label("app") == Some(app)).count()
    };
    let others = |store: &Store| {
        let stay =
            |pod: &&Arc<Object>| !matches!(pod.label("app"), Some("payments" | "node-agent" | "kube-proxy"));
        store.pods_on(&node).iter().filter(stay).count()
    };
    let (out, ()) = tokio::join!(kubectl.run(&drain), async {
        until(store, |store| others(store) == 0).await;
        assert!(on_it(store, "payments") > 0, "the budget holds it");
        kubectl.run("patch pdb payments -n shop -p {\"spec\":{\"minAvailable\":3}}").await;
    });
    assert!(out.contains("Cannot evict pod as it would violate the pod's disruption budget"), "{out}");
    assert!(out.contains("drained"), "{out}");
    assert_eq!((on_it(store, "payments"), on_it(store, "node-agent")), (0, 1));
    let described = kubectl.run(&format!("describe node {node}")).await;
    assert!(described.contains("node.kubernetes.io/unschedulable:NoSchedule"), "{described}");
    assert!(described.contains("node-agent-") && described.contains("Allocated resources:"), "{described}");
    assert!(row(&kubectl.run("get nodes").await, &node).contains(&"Ready,SchedulingDisabled"));
    kubectl.run(&format!("uncordon {node}")).await;
    assert!(store.get(Res::Nodes, "", &node).unwrap().at("/spec/unschedulable").is_null());
}

/// The objects that distribute requests, and a patch that moves traffic.
async fn routing(kubectl: &Kubectl, store: &Store, cluster: &Cluster) {
    let routes = kubectl.run("get httproute -n media").await;
    assert_eq!(row(&routes, "upload").get(1), Some(&"[\"upload.example\"]"), "{routes}");
    assert_eq!(
        row(&kubectl.run("get gateway -n media").await, "uploads").get(1..4),
        Some(&["sim", "10.0.0.80", "True"][..])
    );
    let virtual_services = kubectl.run("get vs -n shop").await;
    assert_eq!(row(&virtual_services, "pricing").get(1), Some(&"[\"pricing\"]"), "{virtual_services}");
    assert_eq!(row(&kubectl.run("get dr -A").await, "inventory").get(2), Some(&"inventory"));
    assert!(row(&kubectl.run("get ingress -n shop").await, "storefront").contains(&"shop.example"));
    let described = kubectl.run("describe httproute upload -n media").await;
    assert!(described.contains("ResolvedRefs") && described.contains("upload-next"), "{described}");

    let observe = cluster.running.observe.as_ref().unwrap();
    let offered = |name: &str| observe.truth().services[&Id::new("media", name)].offered;
    let patch = r#"[{"op":"test","path":"/spec/rules/0/backendRefs/1/name","value":"upload-next"},{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":0}]"#;
    kubectl.run(&format!("patch httproute upload -n media --type json -p {patch}")).await;
    let (all, next) = (offered("upload"), offered("upload-next"));
    tokio::time::timeout(PATIENCE, async {
        while offered("upload-next") < next + 20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    // A step of traffic may have begun before the patch.
    let (all, next) = (offered("upload") - all, offered("upload-next") - next);
    assert!(all.abs_diff(next) < 30, "{next} of {all}");
    let generation = store.get(Res::HttpRoutes, "media", "upload").unwrap().generation();
    until(store, |store| {
        let route = store.get(Res::HttpRoutes, "media", "upload").unwrap();
        route.int("/status/parents/0/conditions/0/observedGeneration") == Some(generation)
    })
    .await;

    kubectl.run("get vs pricing -n shop -o yaml").await;
    kubectl.run("delete virtualservice pricing -n shop").await;
    assert!(!kubectl.attempt("get vs pricing -n shop").await.0);
}

/// Logs and a watch, each followed while a pod goes.
async fn following(kubectl: &Kubectl, store: &Store, cluster: &Cluster) {
    let pod = pods(store, "storefront").remove(0);
    let audit = &cluster.running.api.audit;
    let (logs, watch) = (
        format!("logs -f --tail 3 {} -n shop", pod.name()),
        "get pods -n shop -l app=storefront -w".to_owned(),
    );
    let begun = audit.count("watch", "pods");
    let (followed, watched, ()) = tokio::join!(kubectl.run(&logs), kubectl.attempt(&watch), async {
        let mut requests = audit.total();
        while audit.count("get", "pods/log") == 0 || audit.count("watch", "pods") == begun {
            requests.changed().await.unwrap();
        }
        kubectl.run(&format!("delete pod {} -n shop", pod.name())).await;
        let whole = |store: &Store| {
            pods(store, "storefront").iter().all(|pod| pod.condition("Ready") == Some("True"))
        };
        until(store, whole).await;
        cluster.running.api.cut.send_modify(|n| *n += 1);
    });
    assert!(followed.lines().count() >= 3 && followed.contains("HTTP/1.1"), "{followed}");
    assert!(watched.1.contains("Terminating") && watched.1.contains("ContainerCreating"), "{}", watched.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kubectl, named by PILOTHOUSE_TEST_KUBECTL or on the PATH"]
async fn kubectl_in_a_calm_cluster() {
    let binary = crate::kubectl::binary();
    let cluster =
        Cluster::bare(Options { factor: 10.0, ..Options::new(Scenario::load("calm").unwrap()) }).await;
    let home = Scratch::new("calm");
    cluster.running.write_kubeconfig(&home.0.join("config"), "admin").unwrap();
    let kubectl = Kubectl { binary, home: home.0.clone() };
    let store = cluster.running.store.clone();
    reading(&kubectl, &store).await;
    changing(&kubectl, &store).await;
    draining(&kubectl, &store).await;
    routing(&kubectl, &store, &cluster).await;
    following(&kubectl, &store, &cluster).await;
    cluster.running.write_kubeconfig(&home.0.join("config"), "viewer").unwrap();
    let (may, out) = kubectl.attempt("auth can-i delete pods -n shop").await;
    assert!(!may && out.trim() == "no", "{out}");
}
