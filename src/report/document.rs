//! The snapshot document `pilothouse/v1`. Scripts rely on its names. Unknown numbers are null, never 0.

use std::collections::BTreeMap;

use serde::Serialize;

/// The version of the snapshot document.
pub const SNAPSHOT: &str = "pilothouse/v1";

#[derive(Debug, Serialize)]
pub struct Snapshot {
    pub schema: &'static str,
    pub at: String,
    pub cluster: Cluster,
    /// The data for findings that was not read. It is empty if all of it was read.
    pub not_seen: Vec<NotSeen>,
    pub sources: Vec<Source>,
    pub causes: Vec<Cause>,
    /// The silenced findings. They are in no other list.
    pub silenced: Vec<Silenced>,
    pub changes: Vec<Change>,
    pub nodes: Vec<Node>,
    pub services: Vec<Service>,
    pub error_groups: Vec<ErrorGroup>,
    pub autoscalers: Vec<Autoscaler>,
    pub workloads: Vec<Workload>,
    /// The alerts, or null if no source of alerts has answered.
    pub alerts: Option<Vec<Alert>>,
    pub actions: Vec<Action>,
}

#[derive(Debug, Serialize)]
pub struct Cluster {
    pub context: String,
    pub version: Option<String>,
    pub server: String,
    pub user: Option<String>,
    /// The requested namespaces, separated by commas, or null for all namespaces.
    pub namespace: Option<String>,
    /// The server's clock minus the local clock, or null while it is unknown. All times in the document are the
    /// server's.
    pub clock_offset_ms: Option<i64>,
    pub pods: Counts,
}

/// Data for findings that was not read, or not completely.
#[derive(Debug, Serialize)]
pub struct NotSeen {
    /// The source.
    pub what: String,
    /// The reason: `loading`, `failing`, `unreadable` or `denied`.
    pub why: &'static str,
    /// The affected namespaces, if they are known and are not all namespaces.
    pub namespaces: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Counts {
    pub count: Option<u32>,
    pub bad: Option<u32>,
    pub pending: Option<u32>,
    pub unschedulable: Option<u32>,
}

#[derive(Debug, Serialize)]
pub struct Source {
    pub name: String,
    pub state: &'static str,
    pub age_seconds: Option<u64>,
    /// The coverage: `complete`, `loading`, `namespaces`, `denied`, `not-installed` or `never`. It is null for sources
    /// without a table.
    pub coverage: Option<&'static str>,
    /// The Service that is read through the API server.
    pub through: Option<String>,
    pub error: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Object {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

#[derive(Debug, Serialize)]
pub struct Cause {
    pub rule: &'static str,
    pub severity: pilothouse_core::facts::world::Severity,
    pub title: String,
    pub objects: Vec<Object>,
    pub since: Option<String>,
    pub evidence: Vec<String>,
    pub action: Option<Suggested>,
}

#[derive(Debug, Serialize)]
pub struct Silenced {
    #[serde(flatten)]
    pub cause: Cause,
    /// The end of the silence, or null if it has no end.
    pub until: Option<String>,
    pub reason: String,
}

#[derive(Debug, Serialize)]
pub struct Suggested {
    pub command: &'static str,
    pub title: String,
    pub on: Object,
}

#[derive(Debug, Serialize)]
pub struct Change {
    pub at: String,
    pub what: String,
    pub object: Object,
    pub by: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Node {
    pub name: String,
    pub uid: String,
    pub state: &'static str,
    pub since: Option<String>,
    pub cordoned: bool,
    pub conditions: Vec<Condition>,
    pub taints: Vec<Taint>,
    pub zone: Option<String>,
    pub cpu: Cpu,
    pub memory: Memory,
    pub pods: NodePods,
    pub heartbeat_age_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct Condition {
    pub r#type: String,
    pub status: &'static str,
    pub reason: String,
    pub message: String,
    pub since: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
}

#[derive(Debug, Serialize)]
pub struct Cpu {
    pub used_milli: Option<i64>,
    /// The requests of the pods, or null while not all pods are known.
    pub requested_milli: Option<i64>,
    pub allocatable_milli: i64,
}

#[derive(Debug, Serialize)]
pub struct Memory {
    pub used_bytes: Option<i64>,
    pub requested_bytes: Option<i64>,
    pub allocatable_bytes: i64,
}

#[derive(Debug, Serialize)]
pub struct NodePods {
    pub count: Option<u32>,
    pub capacity: i64,
}

#[derive(Debug, Serialize)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    /// How requests are balanced: `round robin`, or `weighted` if a route splits them.
    pub policy: Option<String>,
    /// `configured`, `discovered` or `assumed`.
    pub policy_origin: Option<&'static str>,
    /// Where it was read, such as `DestinationRule shop/checkout`.
    pub policy_from: Option<String>,
    pub policy_detail: Option<String>,
    /// Why no share is expected although the policy is known.
    pub no_share: Option<String>,
    /// The parts that a route splits the requests into.
    pub split: Vec<Part>,
    /// The preset that the figures are from, or null if nothing measures the Service.
    pub preset: Option<String>,
    /// The other presets that measure it too.
    pub other_presets: Vec<String>,
    /// The share that the Service has of a route, among other Services.
    pub of_route: Option<RouteShare>,
    pub rps: Option<f64>,
    pub error_ratio: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub ready: Option<u32>,
    pub endpoints: Option<u32>,
    pub imbalance: Option<Imbalance>,
    pub backends: Vec<Backend>,
    /// The service level objectives of the Service.
    pub slo: Vec<Slo>,
}

#[derive(Debug, Serialize)]
pub struct Slo {
    pub name: String,
    /// Who defines it: `config`, `Sloth` or `Pyrra`.
    pub defined_by: &'static str,
    /// The share of requests that should be good, 0..1.
    pub objective: f64,
    pub window_days: f64,
    pub availability: Option<f64>,
    /// The share of the error budget that is left: less than 0 if more than all of it was used.
    pub budget_left: Option<f64>,
    /// The burn rates by window: `5m`, `1h`.
    pub burn: BTreeMap<String, Option<f64>>,
    /// The state: `unknown`, `fine`, `burning-slowly`, `spent` or `burning-fast`.
    pub verdict: &'static str,
    pub why: String,
    /// When the rest of the budget will be used, if a burn rate is too high.
    pub gone_in_seconds: Option<u64>,
}

/// The largest multiple of its expected share that a backend gets, and what noise alone reaches.
#[derive(Debug, Serialize)]
pub struct Imbalance {
    pub times: f64,
    pub noise: f64,
    pub jain: f64,
    pub jain_noise: f64,
}

/// A part of a Service's requests, with the backends that get it.
#[derive(Debug, Serialize)]
pub struct Part {
    pub name: String,
    /// The expected share is this number divided by the sum over the parts.
    pub weight: f64,
    pub backends: Vec<String>,
}

/// The part of a route's requests that a Service gets.
#[derive(Debug, Serialize)]
pub struct RouteShare {
    pub route: String,
    pub weight: u32,
    pub total: u32,
    pub observed_share: Option<f64>,
    pub expected_share: Option<f64>,
    pub significant: Option<bool>,
}

#[derive(Debug, Serialize)]
pub struct Backend {
    pub name: String,
    pub ready: Option<bool>,
    pub rps: Option<f64>,
    pub observed_share: Option<f64>,
    pub expected_share: Option<f64>,
    pub significant: Option<bool>,
    /// `not judged`, `even`, `suspect`, `over`, `under`.
    pub standing: Option<&'static str>,
    pub error_ratio: Option<f64>,
    pub p95_ms: Option<f64>,
    pub active: Option<f64>,
}

#[derive(Debug, Serialize)]
pub struct ErrorGroup {
    pub fingerprint: String,
    pub template: String,
    pub count: u64,
    pub per_minute: f64,
    pub first_seen: String,
    pub last_seen: String,
    pub workloads: Vec<String>,
    /// The number of pods that wrote the lines.
    pub pods: u32,
    pub nodes: Vec<String>,
    pub images: Vec<String>,
    pub versions: Vec<String>,
    pub sample: String,
}

#[derive(Debug, Serialize)]
pub struct Autoscaler {
    pub namespace: String,
    pub name: String,
    pub kind: &'static str,
    pub target: String,
    pub current: Option<i32>,
    pub desired: Option<i32>,
    pub min: i32,
    pub max: i32,
    pub computed: Option<String>,
    pub limited_by: Option<String>,
    pub metrics: Vec<Metric>,
    pub verdict: String,
}

#[derive(Debug, Serialize)]
pub struct Metric {
    pub name: String,
    pub r#type: String,
    /// The current value in the unit of the target: percent, or thousandths of the metric's unit.
    pub current: Option<i64>,
    pub target: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct Workload {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub desired: i32,
    pub ready: i32,
    pub updated: i32,
    pub available: i32,
    pub rollout: &'static str,
    pub rollout_why: String,
    pub images: Vec<String>,
    pub restarts: u64,
}

#[derive(Debug, Serialize)]
pub struct Action {
    pub id: String,
    pub action: &'static str,
    pub targets: Vec<Object>,
    pub outcome: Option<&'static str>,
    pub message: String,
    pub started: String,
    pub ended: Option<String>,
}

/// An alert of the Alertmanager, or of the rules of Prometheus.
#[derive(Debug, Serialize)]
pub struct Alert {
    pub fingerprint: String,
    pub name: String,
    /// `critical`, `warning` or `info`; null if the alert is no trouble.
    pub severity: Option<pilothouse_core::facts::world::Severity>,
    /// `firing`, `pending`, `silenced`, `inhibited` or `muted`.
    pub state: &'static str,
    pub since: String,
    pub summary: String,
    /// The objects of the cluster that it is about. The main object comes first.
    pub objects: Vec<Object>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Null if the alert was read from rules.
    pub receivers: Option<Vec<String>>,
    pub silenced_by: Vec<String>,
    pub inhibited_by: Vec<String>,
    pub generator_url: Option<String>,
}
