//! The metrics of pods, containers and machines: the application's own, cAdvisor's, the node exporter's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::sheet::{Desk, Sheet};
use crate::resources::Res;
use crate::store::{Object, Store};
use crate::traffic::field::{BOUNDS, CODES, Service};
use crate::traffic::meter::{BESIDE_CPU, BESIDE_MEMORY, SYSTEM_CPU, SYSTEM_MEMORY};
use crate::traffic::read::quantity;
use crate::traffic::{Counts, Pod};
use crate::world::State;

/// The bounds in the form of `le`.
pub(super) const LE: [&str; 11] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf"];

/// The port of a pod's metrics.
pub(super) fn instance(pod: &Pod) -> Arc<str> {
    if pod.ip.is_empty() { format!("{}:8080", pod.name).into() } else { format!("{}:8080", pod.ip).into() }
}

/// The metrics of an application about the requests to one Service.
pub(super) fn http(
    desk: &mut Desk<'_>,
    sheet: &mut Sheet,
    pod: &Pod,
    service: &Service,
    counts: &Counts,
    slim: bool,
) {
    let instance = instance(pod);
    let base = [
        ("namespace", &pod.namespace),
        ("service", &service.id.name),
        ("job", &service.id.name),
        ("pod", &pod.name),
        ("instance", &instance),
        ("node", &pod.node),
    ];
    let alive = pod.is_alive();
    desk.put(sheet, &base, "up", &[], f64::from(u8::from(alive)));
    if !alive {
        return;
    }
    for (code, count) in CODES.iter().zip(counts.codes) {
        // A code is exported from its first answer on; success always, because a pod without requests would have no
        // series.
        if count > 0 || *code == "200" {
            desk.put(sheet, &base, "http_requests_total", &[("code", code)], count as f64);
        }
    }
    let mut sum = 0;
    for (place, ((le, count), bound)) in
        LE.iter().zip(counts.buckets).zip(BOUNDS.into_iter().chain([f64::INFINITY])).enumerate()
    {
        sum += count;
        if !slim || bound.is_infinite() || place % 2 == 1 {
            desk.put(sheet, &base, "http_request_duration_seconds_bucket", &[("le", le)], sum as f64);
        }
    }
    desk.put(sheet, &base, "http_request_duration_seconds_sum", &[], counts.sum);
    desk.put(sheet, &base, "http_request_duration_seconds_count", &[], sum as f64);
    desk.put(sheet, &base, "http_requests_in_flight", &[], counts.in_flight as f64);
}

/// The kubelet's metrics about a pod's containers, and those of kube-state-metrics about the pod.
pub(super) fn container(desk: &mut Desk<'_>, sheet: &mut Sheet, pod: &Pod, slim: bool) {
    let ksm: Arc<str> = desk.words.of("kube-state-metrics");
    let of_pod = [("namespace", &pod.namespace), ("pod", &pod.name), ("job", &ksm)];
    let labels = [
        ("node", &*pod.node),
        ("uid", &*pod.uid),
        ("pod_ip", &*pod.ip),
        ("created_by_kind", &*pod.owner.0),
        ("created_by_name", &*pod.owner.1),
    ];
    desk.put(sheet, &of_pod, "kube_pod_info", &labels, 1.0);
    let of_container =
        [("namespace", &pod.namespace), ("pod", &pod.name), ("container", &pod.container), ("job", &ksm)];
    let restarts = pod.restarts as f64;
    desk.put(sheet, &of_container, "kube_pod_container_status_restarts_total", &[], restarts);
    if !pod.waiting.is_empty() {
        let reason = [("reason", &*pod.waiting)];
        desk.put(sheet, &of_container, "kube_pod_container_status_waiting_reason", &reason, 1.0);
    }
    if !slim {
        for phase in ["Pending", "Running", "Succeeded", "Failed", "Unknown"] {
            let held = f64::from(u8::from(*pod.phase == *phase));
            desk.put(sheet, &of_pod, "kube_pod_status_phase", &[("phase", phase)], held);
        }
    }
    if !pod.is_alive() || pod.behaviour.silent {
        return;
    }
    let kubelet = desk.words.of("kubelet");
    let base = |container| {
        [
            ("namespace", &pod.namespace),
            ("pod", &pod.name),
            ("container", container),
            ("node", &pod.node),
            ("instance", &pod.node),
            ("job", &kubelet),
        ]
    };
    let main = base(&pod.container);
    desk.put(sheet, &main, "container_cpu_usage_seconds_total", &[], pod.cpu_seconds);
    desk.put(sheet, &main, "container_memory_working_set_bytes", &[], pod.memory.round());
    if pod.cpu_limit.is_some() {
        desk.put(sheet, &main, "container_cpu_cfs_periods_total", &[], pod.periods.floor());
        desk.put(sheet, &main, "container_cpu_cfs_throttled_periods_total", &[], pod.throttled.floor());
    }
    let age = pod.started.map_or(0.0, |since| desk.at as f64 / 1000.0 - since.timestamp() as f64);
    for other in &pod.others {
        let beside = base(other);
        // The name is also in the key, because the containers of one pod share a sheet.
        let mark = [("container", &**other)];
        desk.put(sheet, &beside, "container_cpu_usage_seconds_total", &mark, age.max(0.0) * BESIDE_CPU);
        desk.put(sheet, &beside, "container_memory_working_set_bytes", &mark, BESIDE_MEMORY);
    }
}

/// The series of one machine, and its counters.
#[derive(Debug, Default)]
pub(super) struct NodeSheet {
    sheet: Sheet,
    /// Core-seconds of the whole machine.
    busy: f64,
    idle: f64,
}

/// The metrics of machines.
pub(super) fn nodes(
    desk: &mut Desk<'_>,
    sheets: &mut BTreeMap<String, NodeSheet>,
    store: &Store,
    state: &State,
    used: &HashMap<Arc<str>, (f64, f64)>,
    seconds: f64,
    slim: bool,
) {
    let all = store.list(Res::Nodes, None);
    for node in &all {
        let of = sheets.entry(node.name().to_owned()).or_default();
        let used = used.get(node.name()).copied().unwrap_or_default();
        one_node(desk, of, node, state.node(node.name()).off, used, seconds, slim);
        of.sheet.finish(desk.db, desk.at);
    }
    if sheets.len() > all.len() {
        sheets.retain(|name, of| {
            let there = all.iter().any(|node| node.name() == name);
            if !there {
                of.sheet.close(desk.db, desk.at);
            }
            there
        });
    }
}

fn one_node(
    desk: &mut Desk<'_>,
    of: &mut NodeSheet,
    node: &Object,
    off: bool,
    (cpu, memory): (f64, f64),
    seconds: f64,
    slim: bool,
) {
    let name: Arc<str> = desk.words.of(node.name());
    let addresses = node.at("/status/addresses").as_array().map(Vec::as_slice).unwrap_or_default();
    let ip =
        addresses.iter().find(|one| one.get("type").and_then(|kind| kind.as_str()) == Some("InternalIP"));
    let ip = ip.and_then(|one| one.get("address")).and_then(|ip| ip.as_str()).unwrap_or(node.name());
    let (instance, job) = (desk.words.of(&format!("{ip}:9100")), desk.words.of("node-exporter"));
    let base = [("instance", &instance), ("job", &job), ("node", &name)];
    let sheet = &mut of.sheet;
    desk.put(sheet, &base, "up", &[], f64::from(u8::from(!off)));
    let ksm = desk.words.of("kube-state-metrics");
    let of_node = [("node", &name), ("job", &ksm)];
    let info = [("internal_ip", ip), ("kubelet_version", node.text("/status/nodeInfo/kubeletVersion"))];
    desk.put(sheet, &of_node, "kube_node_info", &info, 1.0);
    let cordoned = node.at("/spec/unschedulable").as_bool().unwrap_or(false);
    desk.put(sheet, &of_node, "kube_node_spec_unschedulable", &[], f64::from(u8::from(cordoned)));
    for condition in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let held = node.condition(condition).unwrap_or("Unknown").to_lowercase();
        for status in ["true", "false", "unknown"] {
            let labels = [("condition", condition), ("status", status)];
            let value = f64::from(u8::from(held == status));
            desk.put(sheet, &of_node, "kube_node_status_condition", &labels, value);
        }
    }
    if off {
        // A restarted machine counts from zero.
        (of.busy, of.idle) = (0.0, 0.0);
        return;
    }
    let cores = quantity(node.at("/status/capacity/cpu")).unwrap_or(4.0).max(1.0);
    let busy = (cpu + SYSTEM_CPU).min(cores);
    of.busy += busy * seconds;
    of.idle += (cores - busy) * seconds;
    let shown = if slim { 1 } else { (cores as usize).min(8) };
    for core in 0..shown {
        let core = core.to_string();
        for (mode, value) in [
            ("idle", of.idle * 0.995 / cores),
            ("iowait", of.idle * 0.005 / cores),
            ("system", of.busy * 0.25 / cores),
            ("user", of.busy * 0.75 / cores),
        ] {
            desk.put(sheet, &base, "node_cpu_seconds_total", &[("cpu", &core), ("mode", mode)], value);
        }
    }
    let total = quantity(node.at("/status/capacity/memory")).unwrap_or(8e9);
    desk.put(sheet, &base, "node_memory_MemTotal_bytes", &[], total);
    let free = (total - memory - SYSTEM_MEMORY).max(total * 0.02).round();
    desk.put(sheet, &base, "node_memory_MemAvailable_bytes", &[], free);
    let disk = quantity(node.at("/status/capacity/ephemeral-storage")).unwrap_or(1e11);
    let pressed = node.condition("DiskPressure") == Some("True");
    let free = disk * if pressed { 0.06 } else { 0.58 };
    let root = [("device", "/dev/vda1"), ("fstype", "ext4"), ("mountpoint", "/")];
    desk.put(sheet, &base, "node_filesystem_size_bytes", &root, disk);
    desk.put(sheet, &base, "node_filesystem_avail_bytes", &root, free.round());
}
