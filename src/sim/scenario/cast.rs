//! The objects at the start of a scenario: those that every cluster has, the nodes, and each workload with its related
//! objects. The controllers create the pods.

use serde_json::{Map, Value, json};

use super::{Kind, Pool, Workload};
use crate::resources::Res;
use crate::rng;
use crate::status::Status;
use crate::store::{Store, Write};

/// The creator of the initial objects.
const MANAGER: &str = "helm";

fn make(store: &Store, res: Res, value: Value) -> Result<(), Status> {
    store.create(res, value, &Write::by(MANAGER)).map(|_| ())
}

/// The objects that every cluster has before anything runs in it.
pub fn system(store: &Store) -> Result<(), Status> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        namespace(store, name)?;
    }
    make(
        store,
        Res::Services,
        json!({"metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]}}),
    )?;
    for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)]
    {
        let class =
            json!({"metadata": {"name": name}, "value": value, "preemptionPolicy": "PreemptLowerPriority"});
        make(store, Res::PriorityClasses, class)?;
    }
    make(
        store,
        Res::StorageClasses,
        json!({"metadata": {"name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "sim.pilothouse/disk", "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": true}),
    )
}

/// Namespace and name of the Service of Prometheus.
pub const PROMETHEUS: (&str, &str) = ("monitoring", "prometheus");

/// Namespace and name of the Service of the Alertmanager.
pub const ALERTMANAGER: (&str, &str) = ("monitoring", "alertmanager");

/// The Services by which clients find Prometheus and the Alertmanager in the cluster. They have no pods: the API server
/// itself answers.
pub fn monitoring(store: &Store) -> Result<(), Status> {
    let (at, name) = ALERTMANAGER;
    namespace(store, at)?;
    make(
        store,
        Res::Services,
        json!({"metadata": {"name": name, "namespace": at, "labels": {"app.kubernetes.io/name": "alertmanager"}},
        "spec": {"clusterIP": "10.0.0.91", "ports": [{"name": "web", "port": 9093, "protocol": "TCP"}]}}),
    )?;
    let (at, name) = PROMETHEUS;
    make(
        store,
        Res::Services,
        json!({"metadata": {"name": name, "namespace": at,
            "labels": {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/component": "server"}},
        "spec": {"clusterIP": "10.0.0.90", "ports": [{"name": "web", "port": 9090, "protocol": "TCP"}]}}),
    )
}

/// A namespace with its default service account; an existing one is unchanged.
pub fn namespace(store: &Store, name: &str) -> Result<(), Status> {
    if store.get(Res::Namespaces, "", name).is_some() {
        return Ok(());
    }
    let labels = json!({"kubernetes.io/metadata.name": name});
    make(store, Res::Namespaces, json!({"metadata": {"name": name, "labels": labels}}))?;
    make(store, Res::ServiceAccounts, json!({"metadata": {"name": "default", "namespace": name}}))
}

/// A condition of a node with a healthy kubelet.
fn well(kind: &str, status: &str, reason: &str, message: &str, now: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now,
        "lastTransitionTime": now})
}

/// The machines of a pool, `copies` times as many, distributed over the zones in turn.
pub fn nodes(
    store: &Store,
    pool: &Pool,
    zones: &[String],
    copies: usize,
    first: usize,
) -> Result<usize, Status> {
    let count = pool.nodes.saturating_mul(copies);
    for n in 0..count {
        let zone = zones.get(n % zones.len().max(1)).map_or("zone-a", String::as_str);
        let letter = zone.rsplit('-').next().unwrap_or(zone);
        let mut rng = store.random().keyed(&["node", &pool.name, &n.to_string()]);
        let name = format!("{}-{letter}-{}", pool.name, rng::suffix_of(&mut rng, 5));
        if store.get(Res::Nodes, "", &name).is_none() {
            node(store, pool, &name, zone, first + n)?;
        }
    }
    Ok(first + count)
}

/// The kubelet's facts about its machine.
pub fn node_info(store: &Store, name: &str) -> Value {
    let id = |what: &str| {
        let mut rng = store.random().keyed(&["machine", what, name]);
        format!("{:032x}", rng.u128(..))
    };
    json!({"architecture": "amd64", "bootID": id("boot"), "containerRuntimeVersion": "containerd://2.1.4",
        "kernelVersion": "6.12.0-sim", "kubeProxyVersion": "", "kubeletVersion": "v1.36.2",
        "machineID": id("machine"), "operatingSystem": "linux", "osImage": "Simulated Linux 1",
        "systemUUID": id("system")})
}

fn node(store: &Store, pool: &Pool, name: &str, zone: &str, n: usize) -> Result<(), Status> {
    let now = store.clock().stamp();
    let taints: Vec<Value> = pool.taints.iter().filter_map(|text| taint(text)).collect();
    let made = store.create(
        Res::Nodes,
        json!({
            "metadata": {"name": name, "labels": {
                "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": "",
                "pool": pool.name, "topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": zone}},
            "spec": {"podCIDR": format!("10.{}.{}.0/24", 64 + n / 256 % 64, n % 256),
                "providerID": format!("sim://{zone}/{name}"), "taints": taints},
            "status": {
                "capacity": {"cpu": pool.cpu, "memory": pool.memory, "pods": "110", "ephemeral-storage": "100Gi"},
                "allocatable": {"cpu": pool.cpu, "memory": pool.memory, "pods": "110", "ephemeral-storage": "90Gi"},
                "addresses": [{"type": "InternalIP", "address": format!("10.1.{}.{}", n / 250, n % 250 + 1)},
                    {"type": "Hostname", "address": name}],
                "conditions": [
                    well("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available", &now),
                    well("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure", &now),
                    well("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available", &now),
                    well("Ready", "True", "KubeletReady", "kubelet is posting ready status", &now)],
                "nodeInfo": node_info(store, name)},
        }),
        &Write::by("kubelet"),
    )?;
    let lease = json!({"metadata": {"name": name, "namespace": "kube-node-lease",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": made.uid()}]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": store.clock().micro()}});
    store.create(Res::Leases, lease, &Write::by("kubelet")).map(|_| ())
}

/// `key=value:Effect`.
fn taint(text: &str) -> Option<Value> {
    let (pair, effect) = text.rsplit_once(':')?;
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    Some(json!({"key": key, "value": value, "effect": effect}))
}

/// The image of a version of an application.
pub fn image(app: &str, version: &str) -> String {
    format!("registry.sim/{app}:{version}")
}

/// A number stays a number, a percentage becomes text.
fn number_or_percent(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number))
}

/// The name of the application that a workload runs.
fn app(workload: &Workload) -> &str {
    workload.of.as_deref().unwrap_or(&workload.name)
}

/// The labels by which a workload selects its pods.
fn pod_labels(workload: &Workload) -> Value {
    let mut labels = json!({"app": app(workload)});
    if let Some(track) = &workload.track {
        labels["track"] = json!(track);
    }
    labels
}

fn template(workload: &Workload) -> Value {
    let app = app(workload);
    let mut limits = Map::new();
    let memory = workload.memory_limit.as_ref().unwrap_or(&workload.memory);
    limits.insert("memory".into(), json!(memory));
    if let Some(cpu) = &workload.cpu_limit {
        limits.insert("cpu".into(), json!(cpu));
    }
    let runs = workload.kind != Kind::Job;
    let mut container = json!({"name": "app", "image": image(app, &workload.version),
        "resources": {"requests": {"cpu": workload.cpu, "memory": workload.memory}, "limits": limits}});
    if runs {
        container["ports"] = json!([{"name": "http", "containerPort": 8080}]);
        container["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": "http", "scheme": "HTTP"},
            "periodSeconds": 5, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3});
    }
    let mut mounts = Vec::new();
    let mut spec = json!({"terminationGracePeriodSeconds": workload.grace});
    if workload.empty_dir {
        spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        mounts.push(json!({"name": "scratch", "mountPath": "/scratch"}));
    }
    if workload.storage.is_some() {
        mounts.push(json!({"name": "data", "mountPath": "/data"}));
    }
    if !mounts.is_empty() {
        container["volumeMounts"] = json!(mounts);
    }
    spec["containers"] = json!([container]);
    if let Some((key, value)) = workload.node_selector.as_deref().and_then(|text| text.split_once('=')) {
        spec["nodeSelector"] = json!({key: value});
    }
    if let Some(class) = &workload.priority {
        spec["priorityClassName"] = json!(class);
    }
    match workload.kind {
        Kind::DaemonSet => spec["tolerations"] = json!([{"operator": "Exists"}]),
        Kind::Job => spec["restartPolicy"] = json!("Never"),
        Kind::Deployment | Kind::StatefulSet => {}
    }
    let mut labels = pod_labels(workload);
    labels["version"] = json!(workload.version);
    json!({"metadata": {"labels": labels}, "spec": spec})
}

/// A budget for the pods of an application. The disruption controller sets its status.
pub fn budget(
    namespace: &str,
    name: &str,
    min_available: Option<&str>,
    max_unavailable: Option<&str>,
) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": name}}});
    if let Some(text) = min_available {
        spec["minAvailable"] = number_or_percent(text);
    }
    if let Some(text) = max_unavailable {
        spec["maxUnavailable"] = number_or_percent(text);
    }
    json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// Creates the object of a manifest, or replaces the spec of an existing one.
pub fn object(store: &Store, object: &Value, by: &str) -> Result<(), Status> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let res = Res::of_kind(text("/apiVersion"), text("/kind")).ok_or_else(Status::unknown_path)?;
    let (space, name) = (text("/metadata/namespace"), text("/metadata/name"));
    if store.get(res, space, name).is_none() {
        if res.info().namespaced {
            namespace(store, space)?;
        }
        return store.create(res, object.clone(), &Write::request(by)).map(|_| ());
    }
    let spec = object.get("spec").cloned().unwrap_or_default();
    let change = |value: &mut Value| {
        value["spec"] = spec;
        Ok(())
    };
    store.write(res, space, name, &Write::request(by), change).map(|_| ())
}

/// A workload, its Service, budget and autoscaler.
pub fn workload(store: &Store, workload: &Workload) -> Result<(), Status> {
    let (space, name) = (workload.namespace.as_str(), workload.name.as_str());
    namespace(store, space)?;
    let metadata = json!({"name": name, "namespace": space, "labels": {"app": app(workload)}});
    let selector = json!({"matchLabels": pod_labels(workload)});
    let stateful = workload.kind == Kind::StatefulSet;
    if workload.service && workload.of.is_none() && workload.kind != Kind::Job {
        let mut spec =
            json!({"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]});
        if stateful {
            spec["clusterIP"] = json!("None");
        }
        make(store, Res::Services, json!({"metadata": metadata, "spec": spec}))?;
    }
    let template = template(workload);
    let (res, spec) = match workload.kind {
        Kind::Deployment => {
            let surge = workload.max_surge.as_deref().unwrap_or("25%");
            let strategy = json!({"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": number_or_percent(surge), "maxUnavailable": "25%"}});
            let spec = json!({"replicas": workload.replicas, "selector": selector, "template": template,
                "strategy": strategy, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600});
            (Res::Deployments, spec)
        }
        Kind::StatefulSet => {
            let mut spec = json!({"replicas": workload.replicas, "serviceName": name, "selector": selector,
                "template": template, "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10,
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}});
            if let Some(size) = &workload.storage {
                spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
                    "resources": {"requests": {"storage": size}}}}]);
            }
            (Res::StatefulSets, spec)
        }
        Kind::DaemonSet => {
            let strategy =
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
            let spec = json!({"selector": selector, "template": template, "updateStrategy": strategy,
                "revisionHistoryLimit": 10});
            (Res::DaemonSets, spec)
        }
        Kind::Job => {
            let spec = json!({"completions": workload.replicas, "parallelism": workload.replicas, "backoffLimit": 6,
                "template": template});
            (Res::Jobs, spec)
        }
    };
    make(store, res, json!({"metadata": metadata, "spec": spec}))?;
    let (least, most) = (workload.min_available.as_deref(), workload.max_unavailable.as_deref());
    if least.is_some() || most.is_some() {
        make(store, Res::Pdbs, budget(space, name, least, most))?;
    }
    if let Some(autoscaler) = &workload.autoscaler {
        let kind = if stateful { "StatefulSet" } else { "Deployment" };
        make(
            store,
            Res::Hpas,
            json!({"metadata": {"name": name, "namespace": space},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name},
                "minReplicas": autoscaler.min, "maxReplicas": autoscaler.max,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": autoscaler.cpu}}}]}}),
        )?;
    }
    Ok(())
}
