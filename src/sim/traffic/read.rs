//! The fields of a pod's object that traffic uses, and how the world says that the pod behaves.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::field::{Behaviour, Pod};
use super::rules::Subset;
use crate::store::{Object, walk};
use crate::world::State;

/// The annotation with a pod's weight.
const WEIGHT: &str = "sim.pilothouse/weight";
/// The annotations with a pod's usage, the same as KWOK's, so that manifests for KWOK behave the same here.
const USES_CPU: &str = "kwok.x-k8s.io/usage-cpu";
const USES_MEMORY: &str = "kwok.x-k8s.io/usage-memory";

pub(super) fn text(value: &Value, pointer: &str) -> Arc<str> {
    walk(value, pointer).and_then(Value::as_str).unwrap_or_default().into()
}

/// A quantity as a number: cores or bytes.
pub(crate) fn quantity(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => amount_of(text),
        _ => None,
    }
}

fn amount_of(text: &str) -> Option<f64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(at)?;
    let factor = match unit {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

fn labels(object: &Object) -> Subset {
    let labels = object.labels().as_object().into_iter().flatten();
    labels.map(|(key, value)| (key.as_str().into(), value.as_str().unwrap_or_default().into())).collect()
}

/// The current behaviour of a pod.
pub(super) fn behaviour(state: &State, pod: &Pod) -> Behaviour {
    let app = state.app(&pod.namespace, &pod.app);
    let version = app.version(&pod.image);
    let (trouble, node) = (state.pod(&pod.uid), state.node(&pod.node));
    let factor = |value: f64| if value > 0.0 { value } else { 1.0 };
    let cpu_request = (app.cpu_ms_per_request * factor(version.hungrier) / 1000.0).max(1e-6);
    let cores = pod.cpu_limit.or(pod.cpu_requested).unwrap_or(1.0);
    Behaviour {
        log: app.log,
        message: trouble.message.as_deref().map(Arc::from),
        median: (app.latency_ms / 1000.0
            * factor(version.slower)
            * factor(trouble.slower)
            * factor(node.slower))
        .max(1e-5),
        sigma: app.spread.clamp(0.01, 3.0),
        cpu_request,
        cpu_idle: app.cpu_idle_milli / 1000.0,
        memory: app.memory_mib * 1_048_576.0,
        leak: version.leak_mib_per_minute * 1_048_576.0 / 60.0,
        capacity: app.capacity_rps.unwrap_or(cores / cpu_request).max(0.01),
        version_errors: version.errors.clamp(0.0, 1.0),
        pod_errors: trouble.errors.clamp(0.0, 1.0),
        favoured: factor(trouble.favoured),
        counts: app.counts,
        mesh: app.mesh,
        off: node.off,
        silent: node.off || node.silent,
        version: Arc::new(version),
    }
}

/// The pod according to its object. None if it has no node or has completed.
pub(super) fn read(object: &Object, state: &State) -> Option<Pod> {
    let value = &object.value;
    let (node, phase) = (text(value, "/spec/nodeName"), text(value, "/status/phase"));
    let phase = if phase.is_empty() { "Pending".into() } else { phase };
    if node.is_empty() || matches!(&*phase, "Succeeded" | "Failed") {
        return None;
    }
    let containers = walk(value, "/spec/containers")?.as_array()?;
    let first = containers.first()?;
    let container = text(first, "/name");
    let statuses = walk(value, "/status/containerStatuses").and_then(Value::as_array);
    let status = statuses
        .into_iter()
        .flatten()
        .find(|one| one.get("name").and_then(Value::as_str) == Some(&*container));
    let running = status.and_then(|one| walk(one, "/state/running"));
    let since =
        running.and_then(|one| one.get("startedAt")).and_then(Value::as_str).and_then(crate::clock::parse);
    let amount = |pointer: &str| walk(first, pointer).and_then(quantity);
    let said = |annotation: &str| object.annotation(annotation).and_then(amount_of);
    let owner = object.controller();
    let of_owner = |key: &str| owner.map_or_else(|| Arc::from("<none>"), |owner| text(owner, key));
    let app = object.label("app").or_else(|| object.label("app.kubernetes.io/name"));
    let app = app.or_else(|| object.label("k8s-app")).unwrap_or(object.name());
    let mut pod = Pod {
        uid: object.uid().into(),
        namespace: object.namespace().into(),
        name: object.name().into(),
        node,
        app: app.into(),
        labels: labels(object),
        others: containers.iter().skip(1).map(|one| text(one, "/name")).collect(),
        image: text(first, "/image"),
        container,
        ip: text(value, "/status/podIP"),
        owner: (of_owner("/kind"), of_owner("/name")),
        phase,
        waiting: status.map_or_else(|| "".into(), |one| text(one, "/state/waiting/reason")),
        restarts: status.and_then(|one| one.get("restartCount")).and_then(Value::as_u64).unwrap_or_default(),
        cpu_limit: amount("/resources/limits/cpu"),
        cpu_requested: amount("/resources/requests/cpu"),
        memory_limit: amount("/resources/limits/memory"),
        weight: object.annotation(WEIGHT).and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.0).max(0.0),
        fixed_cpu: said(USES_CPU),
        fixed_memory: said(USES_MEMORY),
        started: running.map(|_| since.or_else(|| object.time("/status/startTime")).unwrap_or_default()),
        behaviour: Behaviour {
            log: crate::world::Format::Json,
            version: Arc::default(),
            message: None,
            median: 0.0,
            sigma: 0.0,
            cpu_request: 0.0,
            cpu_idle: 0.0,
            memory: 0.0,
            leak: 0.0,
            capacity: 1.0,
            version_errors: 0.0,
            pod_errors: 0.0,
            favoured: 1.0,
            counts: true,
            mesh: false,
            off: false,
            silent: false,
        },
        counts: Vec::new(),
        cpu_seconds: 0.0,
        cpu: 0.0,
        memory: 0.0,
        periods: 0.0,
        throttled: 0.0,
        metered: 0.0,
        backlog: 0.0,
        busy: 0.0,
        arrived: 0.0,
        spent: 0.0,
    };
    pod.behaviour = behaviour(state, &pod);
    Some(pod)
}

/// How long a container has run, in seconds.
pub(super) fn age(pod: &Pod, at: DateTime<Utc>) -> f64 {
    pod.started.map_or(0.0, |started| (at - started).num_milliseconds().max(0) as f64 / 1000.0)
}
