//! A small cluster as plain objects: nodes in three zones, namespaces, and workloads.

use serde_json::{Value, json};

use pilothouse_sim::resources::Res;
use pilothouse_sim::status::Status;
use pilothouse_sim::store::{Store, Write};

const MANAGER: &str = "seed";
const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];

fn make(store: &Store, res: Res, value: Value) -> Result<(), Status> {
    store.create(res, value, &Write::by(MANAGER)).map(|_| ())
}

/// A node with 8 CPUs and 32 GiB, ready.
fn node(store: &Store, n: usize) -> Value {
    let name = format!("node-{n:04}");
    let zone = ZONES.get(n % ZONES.len()).copied().unwrap_or("zone-a");
    let pool = if n % 5 == 4 { "highmem" } else { "general" };
    let now = store.clock().stamp();
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now,
            "lastTransitionTime": now})
    };
    let memory = if pool == "highmem" { "65536Mi" } else { "32768Mi" };
    json!({
        "metadata": {"name": name, "labels": {
            "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": "",
            "pool": pool, "topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": zone}},
        "spec": {"podCIDR": format!("10.244.{}.0/24", n % 256), "providerID": format!("sim://{zone}/{name}")},
        "status": {
            "capacity": {"cpu": "8", "memory": memory, "pods": "110", "ephemeral-storage": "100Gi"},
            "allocatable": {"cpu": "7800m", "memory": memory, "pods": "110", "ephemeral-storage": "90Gi"},
            "addresses": [{"type": "InternalIP", "address": format!("10.1.{}.{}", n / 250, n % 250 + 1)},
                {"type": "Hostname", "address": name}],
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status")],
            "nodeInfo": {"architecture": "amd64", "bootID": store.random().uid(), "containerRuntimeVersion": "containerd://2.1.4",
                "kernelVersion": "6.12.0-sim", "kubeProxyVersion": "", "kubeletVersion": "v1.36.2",
                "machineID": store.random().uid(), "operatingSystem": "linux", "osImage": "Simulated Linux 1",
                "systemUUID": store.random().uid()}},
    })
}

/// The Lease by which a node shows that it lives.
fn lease(store: &Store, node: &str, uid: &str) -> Value {
    json!({"metadata": {"name": node, "namespace": "kube-node-lease",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}]},
        "spec": {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": store.clock().micro()}})
}

/// A pod template: one container, with requests and a readiness probe.
fn template(app: &str, version: &str, cpu: &str, memory: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app, "version": version}},
        "spec": {"containers": [{"name": "app", "image": format!("registry.sim/{app}:{version}"),
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
            "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}}]},
    })
}

fn service(store: &Store, namespace: &str, app: &str) -> Result<(), Status> {
    make(
        store,
        Res::Services,
        json!({"metadata": {"name": app, "namespace": namespace, "labels": {"app": app}},
        "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
    )
}

fn budget(store: &Store, namespace: &str, app: &str, spec: &Value) -> Result<(), Status> {
    let mut spec = spec.clone();
    if let Some(map) = spec.as_object_mut() {
        map.insert("selector".into(), json!({"matchLabels": {"app": app}}));
    }
    make(
        store,
        Res::Pdbs,
        json!({"metadata": {"name": app, "namespace": namespace}, "spec": spec,
        "status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}}),
    )
}

fn deployment(
    store: &Store,
    namespace: &str,
    app: &str,
    replicas: u32,
    cpu: &str,
    memory: &str,
) -> Result<(), Status> {
    make(
        store,
        Res::Deployments,
        json!({"metadata": {"name": app, "namespace": namespace, "labels": {"app": app}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": app}},
            "template": template(app, "v1.8.1", cpu, memory)}}),
    )?;
    service(store, namespace, app)
}

/// Adds nodes and workloads to an empty cluster.
pub fn cluster(store: &Store, nodes: usize, scale: u32) -> Result<(), Status> {
    for n in 0..nodes {
        let made = store.create(Res::Nodes, node(store, n), &Write::by(MANAGER))?;
        make(store, Res::Leases, lease(store, made.name(), made.uid()))?;
    }
    for name in ["shop", "data", "platform"] {
        make(store, Res::Namespaces, json!({"metadata": {"name": name}}))?;
        make(store, Res::ServiceAccounts, json!({"metadata": {"name": "default", "namespace": name}}))?;
    }
    let times = |n: u32| n.saturating_mul(scale.max(1));
    deployment(store, "kube-system", "coredns", 2, "100m", "128Mi")?;
    budget(store, "kube-system", "coredns", &json!({"maxUnavailable": 1}))?;
    for (app, replicas, cpu, memory) in [
        ("storefront", 6, "250m", "256Mi"),
        ("checkout", 4, "200m", "256Mi"),
        ("catalog", 4, "200m", "512Mi"),
        ("payments", 3, "200m", "256Mi"),
        ("search", 3, "500m", "1Gi"),
        ("mailer", 1, "50m", "64Mi"),
    ] {
        deployment(store, "shop", app, times(replicas), cpu, memory)?;
    }
    budget(store, "shop", "checkout", &json!({"minAvailable": "75%"}))?;
    budget(store, "shop", "payments", &json!({"minAvailable": 2}))?;
    budget(store, "shop", "storefront", &json!({"maxUnavailable": 1}))?;
    for (app, min, max, target) in [("storefront", 4, 12, 60), ("checkout", 3, 8, 70), ("search", 2, 5, 60)] {
        make(
            store,
            Res::Hpas,
            json!({"metadata": {"name": app, "namespace": "shop"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app},
                "minReplicas": times(min), "maxReplicas": times(max),
                "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": target}}}]}}),
        )?;
    }
    make(
        store,
        Res::StatefulSets,
        json!({"metadata": {"name": "orders-db", "namespace": "data", "labels": {"app": "orders-db"}},
        "spec": {"replicas": 3, "serviceName": "orders-db", "selector": {"matchLabels": {"app": "orders-db"}},
            "template": template("orders-db", "v16.4", "500m", "2Gi"),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "storageClassName": "standard", "resources": {"requests": {"storage": "20Gi"}}}}]}}),
    )?;
    make(
        store,
        Res::Services,
        json!({"metadata": {"name": "orders-db", "namespace": "data", "labels": {"app": "orders-db"}},
        "spec": {"clusterIP": "None", "selector": {"app": "orders-db"}, "ports": [{"name": "pg", "port": 5432}]}}),
    )?;
    budget(store, "data", "orders-db", &json!({"maxUnavailable": 1}))?;
    deployment(store, "data", "cache", 2, "100m", "512Mi")?;
    make(
        store,
        Res::Jobs,
        json!({"metadata": {"name": "nightly-report", "namespace": "data"},
        "spec": {"completions": 2, "parallelism": 2, "template": {"metadata": {"labels": {"app": "nightly-report"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "report", "image": "registry.sim/report:v3",
                "resources": {"requests": {"cpu": "200m", "memory": "256Mi"}}}]}}}}),
    )?;
    for app in ["ingress", "telemetry"] {
        deployment(store, "platform", app, 2, "100m", "128Mi")?;
    }
    make(
        store,
        Res::DaemonSets,
        json!({"metadata": {"name": "node-agent", "namespace": "kube-system", "labels": {"app": "node-agent"}},
        "spec": {"selector": {"matchLabels": {"app": "node-agent"}},
            "template": {"metadata": {"labels": {"app": "node-agent"}}, "spec": {
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "agent", "image": "registry.sim/node-agent:v2",
                    "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}]}}}}),
    )?;
    make(
        store,
        Res::ResourceQuotas,
        json!({"metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"hard": {"pods": "200", "requests.cpu": "100"}}, "status": {"hard": {"pods": "200", "requests.cpu": "100"},
            "used": {"pods": "0", "requests.cpu": "0"}}}),
    )
}
