//! The defaults that the API server sets when an object is created, and the few validations that a client's mistake
//! would slip through without. Only fields that clients read are set, so that pods stay small.

use serde_json::{Map, Value, json};

use crate::resources::Res;
use crate::status::Status;
use crate::store::Store;

/// Sets a field that is absent.
fn default(map: &mut Map<String, Value>, field: &str, value: impl FnOnce() -> Value) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value());
    }
}

fn map<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    value.as_object_mut()?.entry(field.to_owned()).or_insert_with(|| json!({})).as_object_mut()
}

/// A pod's spec, of a pod or of a template.
fn pod_spec(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", || json!("Always"));
    default(spec, "terminationGracePeriodSeconds", || json!(30));
    default(spec, "dnsPolicy", || json!("ClusterFirst"));
    default(spec, "schedulerName", || json!("default-scheduler"));
    default(spec, "securityContext", || json!({}));
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
            let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
            let policy = if tag.is_none_or(|tag| tag == "latest") { "Always" } else { "IfNotPresent" };
            default(container, "imagePullPolicy", || json!(policy));
            default(container, "resources", || json!({}));
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(port) = port.as_object_mut() {
                    default(port, "protocol", || json!("TCP"));
                }
            }
        }
    }
}

fn template(value: &mut Value) {
    let spec = value.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut);
    if let Some(spec) = spec {
        pod_spec(spec);
    }
}

/// Tolerations that admission adds to every pod without its own for these taints.
fn tolerations(spec: &mut Map<String, Value>) {
    default(spec, "tolerations", || json!([]));
    let Some(Value::Array(list)) = spec.get_mut("tolerations") else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covered = list.iter().any(|one| {
            let names = one.get("key").and_then(Value::as_str);
            let effect = one.get("effect").and_then(Value::as_str).unwrap_or_default();
            (names.is_none() || names == Some(key)) && matches!(effect, "" | "NoExecute")
        });
        if !covered {
            list.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
            );
        }
    }
}

/// Guaranteed, Burstable or BestEffort.
fn qos(spec: &Map<String, Value>) -> &'static str {
    let containers = spec.get("containers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (mut any, mut guaranteed) = (false, !containers.is_empty());
    for container in containers {
        for resource in ["cpu", "memory"] {
            let limit = container.pointer(&format!("/resources/limits/{resource}"));
            let request = container.pointer(&format!("/resources/requests/{resource}")).or(limit);
            any |= request.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    if guaranteed {
        "Guaranteed"
    } else if any {
        "Burstable"
    } else {
        "BestEffort"
    }
}

fn pod(value: &mut Value, store: &Store) {
    let Some(spec) = map(value, "spec") else { return };
    pod_spec(spec);
    let class = spec.get("runtimeClassName").and_then(Value::as_str);
    if let Some(class) = class.and_then(|name| store.get(Res::RuntimeClasses, "", name))
        && !class.at("/overhead/podFixed").is_null()
    {
        spec.insert("overhead".into(), class.at("/overhead/podFixed").clone());
    }
    default(spec, "serviceAccountName", || json!("default"));
    default(spec, "enableServiceLinks", || json!(true));
    tolerations(spec);
    let qos = qos(spec);
    if let Some(status) = map(value, "status") {
        default(status, "phase", || json!("Pending"));
        default(status, "qosClass", || json!(qos));
    }
}

fn service(value: &mut Value, store: &Store) {
    let Some(spec) = map(value, "spec") else { return };
    default(spec, "type", || json!("ClusterIP"));
    default(spec, "sessionAffinity", || json!("None"));
    default(spec, "internalTrafficPolicy", || json!("Cluster"));
    default(spec, "ipFamilies", || json!(["IPv4"]));
    default(spec, "ipFamilyPolicy", || json!("SingleStack"));
    if spec.get("type").and_then(Value::as_str) != Some("ExternalName") {
        // 10.0.0.0/16 without its ends. A collision would need thousands of services, and would do no harm here.
        let n = (store.random().unit() * 65_000.0) as u32 + 10;
        default(spec, "clusterIP", || json!(format!("10.0.{}.{}", n >> 8, n & 255)));
        let ip = spec.get("clusterIP").cloned().unwrap_or_default();
        default(spec, "clusterIPs", || json!([ip]));
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            let number = port.get("port").cloned().unwrap_or_default();
            default(port, "protocol", || json!("TCP"));
            default(port, "targetPort", || number);
        }
    }
    if let Some(status) = map(value, "status") {
        default(status, "loadBalancer", || json!({}));
    }
}

/// Defaults of a strategy, parts of which may be given.
fn update_strategy(spec: &mut Map<String, Value>, rolling: &Value) {
    default(spec, "updateStrategy", || json!({}));
    let Some(Value::Object(strategy)) = spec.get_mut("updateStrategy") else { return };
    default(strategy, "type", || json!("RollingUpdate"));
    if strategy.get("type").and_then(Value::as_str) != Some("RollingUpdate") {
        return;
    }
    default(strategy, "rollingUpdate", || json!({}));
    if let Some(Value::Object(given)) = strategy.get_mut("rollingUpdate") {
        for (field, value) in rolling.as_object().into_iter().flatten() {
            default(given, field, || value.clone());
        }
    }
}

/// Sets the defaults of a new object.
pub fn fill(res: Res, value: &mut Value, store: &Store) {
    if !value.is_object() {
        *value = json!({});
    }
    match res {
        Res::Pods => return pod(value, store),
        Res::Services => return service(value, store),
        Res::Namespaces => {
            let name = value.pointer("/metadata/name").cloned().unwrap_or_default();
            if let Some(metadata) = map(value, "metadata")
                && let Some(labels) = metadata.entry("labels").or_insert_with(|| json!({})).as_object_mut()
            {
                labels.insert("kubernetes.io/metadata.name".into(), name);
            }
            if let Some(spec) = map(value, "spec") {
                default(spec, "finalizers", || json!(["kubernetes"]));
            }
            if let Some(status) = map(value, "status") {
                default(status, "phase", || json!("Active"));
            }
            return;
        }
        Res::Events => {
            if let Some(map) = value.as_object_mut() {
                default(map, "type", || json!("Normal"));
                for field in ["reportingComponent", "reportingInstance"] {
                    default(map, field, || json!(""));
                }
                default(map, "source", || json!({}));
            }
            return;
        }
        Res::Secrets => {
            if let Some(map) = value.as_object_mut() {
                default(map, "type", || json!("Opaque"));
            }
            return;
        }
        _ => {}
    }
    refill(res, value);
}

/// Sets the defaults after a change: a template without defaults must become equal to the template of the ReplicaSet
/// that was created from it, otherwise its Deployment never finds that set.
pub fn refill(res: Res, value: &mut Value) {
    let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else { return };
    match res {
        Res::Deployments => {
            default(spec, "replicas", || json!(1));
            default(spec, "revisionHistoryLimit", || json!(10));
            default(spec, "progressDeadlineSeconds", || json!(600));
            default(spec, "strategy", || json!({"type": "RollingUpdate"}));
            if let Some(Value::Object(strategy)) = spec.get_mut("strategy") {
                default(strategy, "type", || json!("RollingUpdate"));
                if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
                    default(strategy, "rollingUpdate", || json!({}));
                    if let Some(Value::Object(rolling)) = strategy.get_mut("rollingUpdate") {
                        default(rolling, "maxSurge", || json!("25%"));
                        default(rolling, "maxUnavailable", || json!("25%"));
                    }
                }
            }
        }
        Res::ReplicaSets | Res::ReplicationControllers => default(spec, "replicas", || json!(1)),
        Res::StatefulSets => {
            default(spec, "replicas", || json!(1));
            default(spec, "revisionHistoryLimit", || json!(10));
            default(spec, "podManagementPolicy", || json!("OrderedReady"));
            update_strategy(spec, &json!({"partition": 0}));
            let retain = || json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
            default(spec, "persistentVolumeClaimRetentionPolicy", retain);
        }
        Res::DaemonSets => {
            default(spec, "revisionHistoryLimit", || json!(10));
            update_strategy(spec, &json!({"maxSurge": 0, "maxUnavailable": 1}));
        }
        Res::Jobs => {
            default(spec, "parallelism", || json!(1));
            default(spec, "completions", || json!(1));
            default(spec, "backoffLimit", || json!(6));
            default(spec, "completionMode", || json!("NonIndexed"));
            default(spec, "suspend", || json!(false));
        }
        Res::Hpas => default(spec, "minReplicas", || json!(1)),
        Res::PersistentVolumeClaims => default(spec, "volumeMode", || json!("Filesystem")),
        _ => {}
    }
    template(value);
}

/// Refuses what the real server's validation refuses, as far as clients depend on it.
pub fn check(res: Res, name: &str, value: &Value) -> Result<(), Status> {
    let required = |field: &str| Status::invalid(res, name, field, "FieldValueRequired", "Required value");
    if res.info().has("scale")
        && let Some(n) = value.pointer("/spec/replicas").and_then(Value::as_i64)
        && n < 0
    {
        let why = format!("Invalid value: {n}: must be greater than or equal to 0");
        return Err(Status::invalid(res, name, "spec.replicas", "FieldValueInvalid", &why));
    }
    match res {
        Res::Pods => {
            let containers = value.pointer("/spec/containers").and_then(Value::as_array);
            if containers.is_none_or(Vec::is_empty) {
                return Err(required("spec.containers"));
            }
        }
        Res::Deployments | Res::ReplicaSets | Res::StatefulSets | Res::DaemonSets => {
            if value.pointer("/spec/selector").is_none() {
                return Err(required("spec.selector"));
            }
            let labels = value.pointer("/spec/template/metadata/labels").unwrap_or(&Value::Null);
            let selector = value.pointer("/spec/selector").unwrap_or(&Value::Null);
            if !crate::selector::Labels::of(selector).matches(labels) {
                let why = format!("Invalid value: {labels}: `selector` does not match template `labels`");
                let field = "spec.template.metadata.labels";
                return Err(Status::invalid(res, name, field, "FieldValueInvalid", &why));
            }
        }
        Res::Hpas => {
            let at = |pointer: &str| value.pointer(pointer).and_then(Value::as_i64);
            let (min, max) = (at("/spec/minReplicas").unwrap_or(1), at("/spec/maxReplicas").unwrap_or(0));
            if max < 1 {
                let why = format!("Invalid value: {max}: must be greater than 0");
                return Err(Status::invalid(res, name, "spec.maxReplicas", "FieldValueInvalid", &why));
            }
            if max < min {
                let why = format!("Invalid value: {max}: must be greater than or equal to `minReplicas`");
                return Err(Status::invalid(res, name, "spec.maxReplicas", "FieldValueInvalid", &why));
            }
        }
        _ => {}
    }
    Ok(())
}
