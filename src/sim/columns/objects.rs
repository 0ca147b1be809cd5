//! The cells of nodes, services, events and the smaller kinds.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{joined, list, number, or_none, since, text};

macro_rules! texts {
    ($($name:ident = $pointer:literal;)*) => {
        $(pub(super) fn $name(value: &Value, _: DateTime<Utc>) -> Value { json!(text(value, $pointer)) })*
    };
}

texts! {
    phase = "/status/phase";
    reason = "/status/reason";
    kind_of = "/type";
    node_version = "/status/nodeInfo/kubeletVersion";
    service_type = "/spec/type";
    event_type = "/type";
    event_reason = "/reason";
    event_subobject = "/involvedObject/fieldPath";
    claim_volume = "/spec/volumeName";
    claim_capacity = "/status/capacity/storage";
    volume_capacity = "/spec/capacity/storage";
    volume_reclaim = "/spec/persistentVolumeReclaimPolicy";
    storage_class = "/spec/storageClassName";
    volume_mode = "/spec/volumeMode";
    lease_holder = "/spec/holderIdentity";
    slice_type = "/addressType";
    class_provisioner = "/provisioner";
    class_reclaim = "/reclaimPolicy";
    class_binding = "/volumeBindingMode";
    priority_preemption = "/preemptionPolicy";
}

fn or_unknown(value: &Value, pointer: &str) -> Value {
    let text = text(value, pointer);
    json!(if text.is_empty() { "<unknown>" } else { text })
}

pub(super) fn unset(_: &Value, _: DateTime<Utc>) -> Value {
    json!("<unset>")
}

pub(super) fn node_status(node: &Value, _: DateTime<Utc>) -> Value {
    let ready = list(node, "/status/conditions").iter().find(|one| text(one, "/type") == "Ready");
    let mut word = match ready.map(|one| text(one, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        word.push_str(",SchedulingDisabled");
    }
    json!(word)
}

pub(super) fn node_roles(node: &Value, _: DateTime<Utc>) -> Value {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.as_str() {
            "kubernetes.io/role" => value.as_str(),
            key => key.strip_prefix("node-role.kubernetes.io/"),
        })
        .filter(|role| !role.is_empty())
        .collect();
    json!(if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") })
}

fn address(node: &Value, kind: &str) -> Value {
    let found = list(node, "/status/addresses").iter().find(|one| text(one, "/type") == kind);
    found.map_or_else(|| json!("<none>"), |one| json!(text(one, "/address")))
}

pub(super) fn node_internal(node: &Value, _: DateTime<Utc>) -> Value {
    address(node, "InternalIP")
}

pub(super) fn node_external(node: &Value, _: DateTime<Utc>) -> Value {
    address(node, "ExternalIP")
}

pub(super) fn node_os(node: &Value, _: DateTime<Utc>) -> Value {
    or_unknown(node, "/status/nodeInfo/osImage")
}

pub(super) fn node_kernel(node: &Value, _: DateTime<Utc>) -> Value {
    let (kernel, arch) =
        (text(node, "/status/nodeInfo/kernelVersion"), text(node, "/status/nodeInfo/architecture"));
    json!(if kernel.is_empty() { "<unknown>".to_owned() } else { format!("{kernel} ({arch})") })
}

pub(super) fn node_runtime(node: &Value, _: DateTime<Utc>) -> Value {
    or_unknown(node, "/status/nodeInfo/containerRuntimeVersion")
}

pub(super) fn service_ip(service: &Value, _: DateTime<Utc>) -> Value {
    or_none(service, "/spec/clusterIP")
}

pub(super) fn service_external(service: &Value, _: DateTime<Utc>) -> Value {
    match text(service, "/spec/type") {
        "ExternalName" => json!(text(service, "/spec/externalName")),
        kind => {
            let balancers = list(service, "/status/loadBalancer/ingress").iter();
            let mut all: Vec<&str> = balancers
                .map(
                    |one| if text(one, "/ip").is_empty() { text(one, "/hostname") } else { text(one, "/ip") },
                )
                .collect();
            all.extend(list(service, "/spec/externalIPs").iter().filter_map(Value::as_str));
            let nothing = if kind == "LoadBalancer" { "<pending>" } else { "<none>" };
            json!(if all.is_empty() { nothing.to_owned() } else { all.join(",") })
        }
    }
}

pub(super) fn service_ports(service: &Value, _: DateTime<Utc>) -> Value {
    let ports = list(service, "/spec/ports").iter().map(|port| {
        let (number, protocol) = (number(port, "/port"), text(port, "/protocol"));
        match port.get("nodePort").and_then(Value::as_i64) {
            Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    });
    let ports: Vec<String> = ports.collect();
    json!(if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") })
}

pub(super) fn service_selector(service: &Value, _: DateTime<Utc>) -> Value {
    let map = service.pointer("/spec/selector").unwrap_or(&Value::Null);
    let text = crate::selector::Labels::of_map(map).to_string();
    json!(if text.is_empty() { "<none>".to_owned() } else { text })
}

/// The first three, and the number of others.
fn first_three(all: &[String]) -> Value {
    let shown: Vec<&str> = all.iter().take(3).map(String::as_str).collect();
    json!(match all.len() {
        0 => "<none>".to_owned(),
        1..=3 => shown.join(","),
        more => format!("{} + {} more...", shown.join(","), more - 3),
    })
}

pub(super) fn endpoints(value: &Value, _: DateTime<Utc>) -> Value {
    let mut all = Vec::new();
    for subset in list(value, "/subsets") {
        for port in list(subset, "/ports") {
            for one in list(subset, "/addresses") {
                all.push(format!("{}:{}", text(one, "/ip"), number(port, "/port")));
            }
        }
    }
    first_three(&all)
}

pub(super) fn slice_ports(slice: &Value, _: DateTime<Utc>) -> Value {
    let ports: Vec<String> =
        list(slice, "/ports").iter().map(|port| number(port, "/port").to_string()).collect();
    let shown = first_three(&ports);
    if ports.is_empty() { json!("<unset>") } else { shown }
}

pub(super) fn slice_endpoints(slice: &Value, _: DateTime<Utc>) -> Value {
    let all: Vec<String> = list(slice, "/endpoints")
        .iter()
        .flat_map(|one| list(one, "/addresses"))
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect();
    if all.is_empty() { json!("<unset>") } else { first_three(&all) }
}

/// The event's time, from the field that its reporter sets.
fn event_time<'a>(event: &'a Value, fields: &[&'a str]) -> &'a str {
    fields.iter().copied().find(|field| !text(event, field).is_empty()).unwrap_or_default()
}

pub(super) fn event_last(event: &Value, now: DateTime<Utc>) -> Value {
    let field =
        event_time(event, &["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp"]);
    since(event, field, now)
}

pub(super) fn event_first(event: &Value, now: DateTime<Utc>) -> Value {
    since(event, event_time(event, &["/firstTimestamp", "/eventTime"]), now)
}

pub(super) fn event_object(event: &Value, _: DateTime<Utc>) -> Value {
    let kind = text(event, "/involvedObject/kind").to_lowercase();
    json!(format!("{kind}/{}", text(event, "/involvedObject/name")))
}

pub(super) fn event_source(event: &Value, _: DateTime<Utc>) -> Value {
    let first = |a: &'static str, b: &'static str| if text(event, a).is_empty() { b } else { a };
    let component = text(event, first("/source/component", "/reportingComponent"));
    let host = text(event, first("/source/host", "/reportingInstance"));
    json!(if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") })
}

pub(super) fn event_message(event: &Value, _: DateTime<Utc>) -> Value {
    json!(text(event, "/message").trim())
}

pub(super) fn event_count(event: &Value, _: DateTime<Utc>) -> Value {
    let series = number(event, "/series/count");
    json!(if series > 0 { series } else { number(event, "/count").max(1) })
}

pub(super) fn data(value: &Value, _: DateTime<Utc>) -> Value {
    let len = |field: &str| value.get(field).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    json!(len("data") + len("binaryData"))
}

pub(super) fn claim_modes(value: &Value, _: DateTime<Utc>) -> Value {
    let modes = list(value, "/spec/accessModes").iter().map(|mode| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    });
    json!(modes.collect::<Vec<_>>().join(","))
}

pub(super) fn volume_claim(value: &Value, _: DateTime<Utc>) -> Value {
    let (namespace, name) = (text(value, "/spec/claimRef/namespace"), text(value, "/spec/claimRef/name"));
    json!(if name.is_empty() { String::new() } else { format!("{namespace}/{name}") })
}

fn quota(value: &Value, limits: bool) -> Value {
    let hard = value.pointer("/status/hard").and_then(Value::as_object);
    let shown = hard.into_iter().flatten().filter(|(key, _)| key.starts_with("limits.") == limits).map(
        |(key, max)| {
            let used = value.pointer("/status/used").and_then(|used| used.get(key)).and_then(Value::as_str);
            format!("{key}: {}/{}", used.unwrap_or("0"), max.as_str().unwrap_or_default())
        },
    );
    json!(shown.collect::<Vec<_>>().join(", "))
}

pub(super) fn quota_requests(value: &Value, _: DateTime<Utc>) -> Value {
    quota(value, false)
}

pub(super) fn quota_limits(value: &Value, _: DateTime<Utc>) -> Value {
    quota(value, true)
}

pub(super) fn ingress_class(value: &Value, _: DateTime<Utc>) -> Value {
    or_none(value, "/spec/ingressClassName")
}

pub(super) fn ingress_hosts(value: &Value, _: DateTime<Utc>) -> Value {
    let hosts = joined(value, "/spec/rules", "host");
    if hosts == json!("<none>") { json!("*") } else { hosts }
}

pub(super) fn ingress_address(value: &Value, _: DateTime<Utc>) -> Value {
    let all: Vec<&str> =
        list(value, "/status/loadBalancer/ingress").iter().map(|one| text(one, "/ip")).collect();
    json!(all.join(","))
}

pub(super) fn ingress_ports(value: &Value, _: DateTime<Utc>) -> Value {
    json!(if list(value, "/spec/tls").is_empty() { "80" } else { "80, 443" })
}

pub(super) fn class_expansion(value: &Value, _: DateTime<Utc>) -> Value {
    json!(value.get("allowVolumeExpansion").and_then(Value::as_bool).unwrap_or_default())
}

pub(super) fn priority_value(value: &Value, _: DateTime<Utc>) -> Value {
    json!(number(value, "/value"))
}

pub(super) fn priority_default(value: &Value, _: DateTime<Utc>) -> Value {
    json!(value.get("globalDefault").and_then(Value::as_bool).unwrap_or_default())
}

/// The cell of a column that a CustomResourceDefinition declares: a list is printed as JSON.
fn declared(value: &Value, pointer: &str) -> Value {
    match value.pointer(pointer) {
        Some(Value::String(text)) => json!(text),
        Some(Value::Array(all)) => json!(Value::Array(all.clone()).to_string()),
        _ => json!(""),
    }
}

pub(super) fn gateway_class(value: &Value, _: DateTime<Utc>) -> Value {
    declared(value, "/spec/gatewayClassName")
}

pub(super) fn gateway_address(value: &Value, _: DateTime<Utc>) -> Value {
    declared(value, "/status/addresses/0/value")
}

pub(super) fn gateway_programmed(value: &Value, _: DateTime<Utc>) -> Value {
    let programmed = list(value, "/status/conditions").iter().find(|one| text(one, "/type") == "Programmed");
    json!(programmed.map_or("Unknown", |one| text(one, "/status")))
}

pub(super) fn route_hostnames(value: &Value, _: DateTime<Utc>) -> Value {
    declared(value, "/spec/hostnames")
}

pub(super) fn mesh_gateways(value: &Value, _: DateTime<Utc>) -> Value {
    declared(value, "/spec/gateways")
}

pub(super) fn mesh_hosts(value: &Value, _: DateTime<Utc>) -> Value {
    declared(value, "/spec/hosts")
}

pub(super) fn mesh_host(value: &Value, _: DateTime<Utc>) -> Value {
    declared(value, "/spec/host")
}
