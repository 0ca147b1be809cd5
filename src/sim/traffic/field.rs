//! The state of traffic that its readers share: pods with their counters, Services with their backends. Traffic writes
//! it in each step; the scraper, the log lines and tests read it.

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::{DateTime, Utc};

use super::rules::{Door, Subset};
use crate::world::{Call, Format, Id, Policy, Version};

/// Upper bounds of the latency histogram's buckets in seconds; one more bucket has what is above.
pub const BOUNDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// The status codes that are counted.
pub const CODES: [&str; 5] = ["200", "500", "502", "503", "504"];

/// The index of a status code in [`CODES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Ok,
    /// The pod's own error, or an inner call that was answered with an error.
    Own,
    /// An inner call that got no answer.
    Bad,
    /// Rejected because of overload.
    Away,
}

/// The answers of one pod for one Service since its container started.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// By code, in the order of [`CODES`].
    pub codes: [u64; 5],
    /// Answers by latency, not cumulative.
    pub buckets: [u64; 11],
    /// Sum of latencies in seconds.
    pub sum: f64,
    /// Requests that are being answered.
    pub in_flight: u64,
}

impl Counts {
    /// The number of answers.
    pub fn answers(&self) -> u64 {
        self.codes.iter().sum()
    }

    pub fn add(&mut self, more: &Self) {
        self.codes.iter_mut().zip(more.codes).for_each(|(to, n)| *to += n);
        self.buckets.iter_mut().zip(more.buckets).for_each(|(to, n)| *to += n);
        self.sum += more.sum;
    }

    /// What was counted after `before`.
    pub fn since(&self, before: &Self) -> Self {
        let mut out = self.clone();
        out.codes.iter_mut().zip(before.codes).for_each(|(to, n)| *to = to.saturating_sub(n));
        out.buckets.iter_mut().zip(before.buckets).for_each(|(to, n)| *to = to.saturating_sub(n));
        out.sum = (out.sum - before.sum).max(0.0);
        out
    }
}

/// The behaviour of a pod, from its application, its version, its faults and those of its node.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub log: Format,
    pub version: Arc<Version>,
    /// The message that it logs for its own errors.
    pub message: Option<Arc<str>>,
    /// Seconds, without load.
    pub median: f64,
    pub sigma: f64,
    /// Core-seconds per request.
    pub cpu_request: f64,
    /// Cores, without a request.
    pub cpu_idle: f64,
    /// Bytes.
    pub memory: f64,
    /// Bytes per second.
    pub leak: f64,
    /// Requests per second.
    pub capacity: f64,
    /// The ratio of requests that fail because of the version, and because of the pod.
    pub version_errors: f64,
    pub pod_errors: f64,
    pub favoured: f64,
    /// It counts its requests itself, and a sidecar does.
    pub counts: bool,
    pub mesh: bool,
    /// Its node is off.
    pub off: bool,
    /// The kubelet of its node does not answer.
    pub silent: bool,
}

/// One pod that is bound to a node.
#[derive(Debug)]
pub struct Pod {
    pub uid: Arc<str>,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub node: Arc<str>,
    pub app: Arc<str>,
    pub labels: Subset,
    /// The container that answers, and the other ones.
    pub container: Arc<str>,
    pub others: Vec<Arc<str>>,
    pub image: Arc<str>,
    pub ip: Arc<str>,
    /// `<kind>/<name>` of its controller.
    pub owner: (Arc<str>, Arc<str>),
    pub phase: Arc<str>,
    /// Why its container is waiting.
    pub waiting: Arc<str>,
    pub restarts: u64,
    /// Cores.
    pub cpu_limit: Option<f64>,
    pub cpu_requested: Option<f64>,
    /// Bytes.
    pub memory_limit: Option<f64>,
    pub weight: f64,
    /// Its usage independent of load, if an annotation sets it: cores and bytes.
    pub fixed_cpu: Option<f64>,
    pub fixed_memory: Option<f64>,
    /// Since when its container has been running; `None` if it is not running.
    pub started: Option<DateTime<Utc>>,
    pub behaviour: Behaviour,
    /// By the Service's index in [`Field::services`].
    pub counts: Vec<(usize, Counts)>,
    /// Core-seconds since the container started, and cores in the last step.
    pub cpu_seconds: f64,
    pub cpu: f64,
    /// Bytes.
    pub memory: f64,
    /// Periods of the CPU quota, and those in which the container was throttled.
    pub periods: f64,
    pub throttled: f64,
    /// Core-seconds when the metrics server last measured.
    pub metered: f64,
    /// Waiting requests, and the smoothed utilisation of its capacity.
    pub backlog: f64,
    pub busy: f64,
    /// In the current step: requests that arrived, and the core-seconds that they cost.
    pub arrived: f64,
    pub spent: f64,
}

impl Pod {
    pub fn label(&self, name: &str) -> Option<&Arc<str>> {
        self.labels.iter().find(|(key, _)| **key == *name).map(|(_, value)| value)
    }

    /// Whether it has all labels of a subset.
    pub fn is_of(&self, subset: &Subset) -> bool {
        subset.iter().all(|(key, value)| self.label(key) == Some(value))
    }

    /// It answers: its container is running and its node is on.
    pub fn is_alive(&self) -> bool {
        self.started.is_some() && !self.behaviour.off
    }
}

/// The results of the requests to one backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate {
    /// Requests that were sent to it.
    pub picked: u64,
    pub ok: u64,
    /// Answered with a 5xx.
    pub errors: u64,
    /// Its node is off: no answer within a second (504 at the caller).
    pub timeouts: u64,
    /// Nothing listens there (502 at the caller).
    pub refused: u64,
}

impl Fate {
    /// Adds the numbers of another one.
    pub fn add(&mut self, other: &Self) {
        self.picked += other.picked;
        self.ok += other.ok;
        self.errors += other.errors;
        self.timeouts += other.timeouts;
        self.refused += other.refused;
    }

    /// The number of unsuccessful requests.
    pub fn failed(&self) -> u64 {
        self.errors + self.timeouts + self.refused
    }
}

/// One endpoint of a Service.
#[derive(Debug)]
pub struct Backend {
    pub pod: usize,
    pub uid: Arc<str>,
    pub name: Arc<str>,
    /// Whether it gets new requests; otherwise it only finishes existing ones.
    pub ready: bool,
    pub terminating: bool,
    /// For how many milliseconds it has not answered the proxy's checks.
    pub missed: u32,
    /// Number of failed checks so far; a dead server's checks are not counted.
    pub failed_checks: u32,
    /// The proxy considers it dead.
    pub down: bool,
    /// The requests that it is owed so far, for deterministic shares.
    pub credit: f64,
    /// Smoothed latency in seconds.
    pub ewma: f64,
    pub in_flight: u64,
    pub fate: Fate,
    pub clients: u32,
}

/// A heap with the earliest end on top: nanoseconds, and the index of the backend.
pub type Pending = BinaryHeap<std::cmp::Reverse<(i64, usize)>>;

/// Who sends requests: a Service's pods, by its index; `None` is somebody outside of the cluster.
pub type Asker = Option<usize>;

/// Requests to a Service from one asker in one step.
#[derive(Debug)]
pub struct Ask {
    pub asker: Asker,
    pub n: u64,
    /// The route that sent them here: the index of its Service and of the leg. A caller applies one route, so these
    /// requests are not split again.
    pub by: Option<(usize, usize)>,
}

impl Ask {
    pub fn new(asker: Asker, n: u64) -> Self {
        Self { asker, n, by: None }
    }
}

/// A part of the requests to a Service, as a route splits them.
#[derive(Debug, Clone)]
pub struct Leg {
    /// The index of the Service whose backends get them; the split Service itself for a subset.
    pub to: usize,
    pub weight: f64,
    /// The labels of the backends; `None`: all backends.
    pub subset: Option<Subset>,
    /// How the subset's backends are chosen, if not as in the rest of the Service.
    pub policy: Option<Policy>,
    /// The position of round robin.
    pub turn: usize,
}

/// One Service that gets requests.
#[derive(Debug)]
pub struct Service {
    pub id: Id,
    pub policy: Policy,
    /// How a route splits its requests; empty if no route does.
    pub legs: Vec<Leg>,
    /// Its pods have the sidecars of a mesh.
    pub mesh: bool,
    /// Its pods are an ingress controller.
    pub ingress: bool,
    pub grpc: bool,
    pub proxy: Option<Arc<str>>,
    pub clients: u32,
    /// Ordered by the pods' names.
    pub backends: Vec<Backend>,
    pub calls: Vec<(usize, Call)>,
    /// The position of round robin.
    pub turn: usize,
    /// For least connections: when the requests in flight end.
    pub pending: Pending,
    /// All requests so far, including those to former backends.
    pub total: Fate,
    /// Requests that no backend could be found for (503).
    pub unrouted: u64,
    /// All requests to it, and how many of them a route sent to other Services.
    pub offered: u64,
    pub forwarded: u64,
    /// The requests that its own backends got, or that found none, by who sent them.
    pub askers: BTreeMap<Asker, u64>,
    /// Requests of the next step: calls that are retried.
    pub again: Vec<Ask>,
    /// In the last step: the ratio of requests that failed without and with an answer, and the additional latency.
    pub lost: f64,
    pub failing: f64,
    pub excess: f64,
}

/// The errors of one step, for the logs.
#[derive(Debug, Clone)]
pub struct Note {
    pub pod: usize,
    pub wrong: Wrong,
    pub count: u64,
}

/// The kind of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// The error of its version, or of this pod alone.
    Version,
    Pod,
    /// An inner call to this Service that timed out or was refused at this address, had no backend, or was answered
    /// with an error.
    Timeout(usize, Arc<str>),
    Refused(usize, Arc<str>),
    NoBackend(usize),
    Answered(usize),
    /// More requests than its capacity.
    Overload,
}

/// The shared state.
#[derive(Debug, Default)]
pub struct Field {
    /// Slots are reused.
    pub pods: Vec<Option<Pod>>,
    pub by_uid: HashMap<Arc<str>, usize>,
    pub services: Vec<Service>,
    pub by_service: BTreeMap<Id, usize>,
    /// The Ingresses that lead to Services, by the Service's index.
    pub doors: BTreeMap<usize, Door>,
    /// Of the last step.
    pub notes: Vec<Note>,
    /// Requests that pods answered in the last step, by slot, and their sum.
    pub served: Vec<(usize, u64)>,
    pub served_total: u64,
    /// When the last step ended, its length in seconds, and how many there were.
    pub at: DateTime<Utc>,
    pub seconds: f64,
    /// The total length of all steps in seconds, which is less than the clock's time if the clock was moved.
    pub counted: f64,
    pub steps: u64,
    /// Changes when pods or endpoints have changed.
    pub shape: u64,
}

impl Field {
    pub fn pod(&self, slot: usize) -> Option<&Pod> {
        self.pods.get(slot)?.as_ref()
    }

    pub fn pod_mut(&mut self, slot: usize) -> Option<&mut Pod> {
        self.pods.get_mut(slot)?.as_mut()
    }

    pub fn live(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().flatten()
    }
}

/// The state behind its lock. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SharedField(Arc<RwLock<Field>>);

impl SharedField {
    pub fn read(&self) -> RwLockReadGuard<'_, Field> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Field> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The true counts, for tests to compare answers with.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub services: BTreeMap<Id, ServiceTruth>,
}

/// The true counts of one Service's requests.
#[derive(Debug, Clone)]
pub struct ServiceTruth {
    pub policy: Policy,
    /// All requests, including those to former backends.
    pub total: Fate,
    /// Requests that found no backend (503).
    pub unrouted: u64,
    /// All requests to it, and how many of them a route sent to other Services.
    pub offered: u64,
    pub forwarded: u64,
    /// By the pod's name: the current endpoints.
    pub backends: BTreeMap<String, Fate>,
    /// The pods' own counters: answers by code and latency in seconds, since their containers started.
    pub counts: BTreeMap<String, Counts>,
}

impl Truth {
    pub fn of(field: &Field) -> Self {
        let one = |place: usize, service: &Service| ServiceTruth {
            policy: service.policy,
            total: service.total,
            unrouted: service.unrouted,
            offered: service.offered,
            forwarded: service.forwarded,
            backends: service.backends.iter().map(|b| (b.name.to_string(), b.fate)).collect(),
            counts: field
                .live()
                .filter_map(|pod| {
                    let (_, counts) = pod.counts.iter().find(|(of, _)| *of == place)?;
                    Some((pod.name.to_string(), counts.clone()))
                })
                .collect(),
        };
        let all = field.services.iter().enumerate();
        Self { services: all.map(|(place, service)| (service.id.clone(), one(place, service))).collect() }
    }
}
