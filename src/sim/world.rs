//! The hidden state behind the API: how the applications behave, how much load they get, and what is broken. Kubelets,
//! traffic and logs read it; scenarios and tests change it. Everything visible must follow from this and from the
//! objects.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;

/// A namespace and a name: of an application (the label `app` of its pods) or of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Id {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Reads `namespace/name`.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        (!namespace.is_empty() && !name.is_empty()).then(|| Self::new(namespace, name))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The log format of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Json,
    Logfmt,
    Klog,
    Nginx,
    Java,
    Plain,
}

/// A Service that an application calls to answer a request.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// `namespace/name`.
    pub service: String,
    /// Calls for each request that the caller answers.
    #[serde(default = "one")]
    pub per_request: f64,
}

fn one() -> f64 {
    1.0
}

/// How a version of an application behaves differently. The defaults are those of a healthy one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Version {
    /// The ratio of requests that fail because of the version.
    pub errors: f64,
    /// Multiplies the latency.
    pub slower: f64,
    /// Multiplies the CPU per request.
    pub hungrier: f64,
    /// The container terminates repeatedly.
    pub crash: Option<Crash>,
    /// The image cannot be pulled.
    pub no_image: bool,
    /// The readiness probe always fails.
    pub never_ready: bool,
    /// The working set grows by this many MiB a minute; at the limit the container is killed (OOMKilled).
    pub leak_mib_per_minute: f64,
    /// The message that it logs for its own errors; `{id}`, `{ms}`, `{ip}` and `{n}` vary.
    pub message: Option<String>,
    /// A stack trace that follows the message, one frame per line.
    pub trace: Option<String>,
}

impl Default for Version {
    fn default() -> Self {
        Self {
            errors: 0.0,
            slower: 1.0,
            hungrier: 1.0,
            crash: None,
            no_image: false,
            never_ready: false,
            leak_mib_per_minute: 0.0,
            message: None,
            trace: None,
        }
    }
}

/// How a container terminates by itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// How long after its start.
    #[serde(with = "span")]
    pub after: Duration,
    #[serde(default = "one_code")]
    pub code: i32,
    /// It was OOM-killed.
    #[serde(default)]
    pub oom: bool,
    /// After this many restarts it keeps running; `None`: never.
    #[serde(default)]
    pub times: Option<u32>,
    /// The last lines that it writes.
    #[serde(default)]
    pub last_words: Vec<String>,
}

fn one_code() -> i32 {
    1
}

/// How the pods of an application behave.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// The time from the container's start until the readiness probe passes.
    #[serde(with = "span")]
    pub startup: Duration,
    /// The time from SIGTERM until the container has terminated, if its grace period allows it.
    #[serde(with = "span")]
    pub shutdown: Duration,
    pub log: Format,
    /// Median time of an answer without load, in milliseconds.
    pub latency_ms: f64,
    /// Sigma of the log-normal distribution of latency.
    pub spread: f64,
    /// CPU of one request, in core-milliseconds.
    pub cpu_ms_per_request: f64,
    /// CPU without any request, in thousandths of a core.
    pub cpu_idle_milli: f64,
    /// Working set, in MiB.
    pub memory_mib: f64,
    /// Requests per second that one pod can answer with its CPU limit (or request, without a limit). Beyond it, latency
    /// grows, and then requests are rejected. `None`: as its CPU allows.
    pub capacity_rps: Option<f64>,
    pub calls: Vec<Call>,
    /// It counts its requests itself (`http_requests_total`).
    pub counts: bool,
    /// Its pods have the sidecars of a mesh, which count requests (`istio_requests_total`) and choose the backends by
    /// its DestinationRule, or by Istio's default without one.
    pub mesh: bool,
    /// It speaks gRPC.
    pub grpc: bool,
    /// It is an ingress-nginx controller: it counts its calls to the Services of Ingresses
    /// (`nginx_ingress_controller_requests`).
    pub ingress: bool,
    /// By the image's tag. A tag that is not listed is healthy.
    pub versions: BTreeMap<String, Version>,
}

impl Default for App {
    fn default() -> Self {
        Self {
            startup: Duration::from_secs(4),
            shutdown: Duration::from_secs(2),
            log: Format::Json,
            latency_ms: 20.0,
            spread: 0.4,
            cpu_ms_per_request: 4.0,
            cpu_idle_milli: 8.0,
            memory_mib: 120.0,
            capacity_rps: None,
            calls: Vec::new(),
            counts: true,
            mesh: false,
            grpc: false,
            ingress: false,
            versions: BTreeMap::new(),
        }
    }
}

/// How requests to a Service are distributed among its ready endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    #[default]
    RoundRobin,
    Random,
    /// By the pod's annotation `sim.pilothouse/weight` (default 1).
    Weighted,
    LeastConnections,
    /// As Envoy does: of two random backends, the one with fewer requests in flight.
    LeastRequest,
    ResponseTime,
    /// By a hash of the client. With few clients, the shares are uneven.
    ClientHash,
}

/// The load on a Service from outside the cluster, and how all of its requests are distributed, inner calls included.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Demand {
    /// Requests per second from outside; 0 for a Service that only other Services call.
    pub rps: f64,
    /// The amplitude of the load's variation, as a ratio.
    pub swing: f64,
    #[serde(with = "span")]
    pub period: Duration,
    pub policy: Policy,
    /// Clients, for the policy that hashes them.
    pub clients: u32,
    /// An HAProxy of this name is in front of it and exports `haproxy_…` metrics.
    pub proxy: Option<String>,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            rps: 0.0,
            swing: 0.1,
            period: Duration::from_secs(600),
            policy: Policy::RoundRobin,
            clients: 200,
            proxy: None,
        }
    }
}

/// The faults of a machine. The default has none.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeTrouble {
    /// The machine is off: no kubelet, no containers, no network. Requests to its pods time out.
    pub off: bool,
    /// Only the kubelet is silent (no Lease, no status); containers keep running and answering.
    pub silent: bool,
    /// The kubelet reports NotReady, with this message.
    pub not_ready: Option<String>,
    pub memory_pressure: bool,
    pub disk_pressure: bool,
    pub pid_pressure: bool,
    /// Multiplies the latency on this node; 0 counts as 1.
    pub slower: f64,
}

/// The faults of one pod, by its UID; its replacement has none. The default has none.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodTrouble {
    /// The ratio of requests that it fails.
    pub errors: f64,
    /// Multiplies its latency; 0 counts as 1.
    pub slower: f64,
    /// Its readiness probe fails.
    pub unready: bool,
    /// Its container terminates repeatedly, independent of its version.
    pub crash: Option<Crash>,
    /// Its image cannot be pulled.
    pub no_image: bool,
    /// It does not terminate after SIGTERM, nor after its grace period.
    pub stuck: bool,
    /// The message that it logs for a request that it fails.
    pub message: Option<String>,
    /// Multiplies its weight, as a broken balancer would; 0 counts as 1.
    pub favoured: f64,
}

/// The whole world at one time.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// By namespace and the label `app`.
    pub apps: BTreeMap<Id, Arc<App>>,
    /// The behaviour of all other applications.
    pub others: Arc<App>,
    /// By Service.
    pub demand: BTreeMap<Id, Demand>,
    /// By node.
    pub nodes: BTreeMap<Arc<str>, NodeTrouble>,
    /// By the pod's uid.
    pub pods: BTreeMap<Arc<str>, PodTrouble>,
    /// Multiplies all load from outside.
    pub load: f64,
}

#[derive(Debug)]
struct Shared {
    state: RwLock<Arc<State>>,
    version: watch::Sender<u64>,
}

/// The world of one cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct World(Arc<Shared>);

impl Default for World {
    fn default() -> Self {
        Self::new(State { load: 1.0, ..State::default() })
    }
}

impl World {
    pub fn new(state: State) -> Self {
        Self(Arc::new(Shared { state: RwLock::new(Arc::new(state)), version: watch::Sender::new(1) }))
    }

    /// A snapshot of the world for a whole step.
    pub fn now(&self) -> Arc<State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it and wakes the engine.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        {
            let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
            change(Arc::make_mut(&mut state));
        }
        self.0.version.send_modify(|n| *n = n.wrapping_add(1));
    }

    pub fn version(&self) -> u64 {
        *self.0.version.borrow()
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }
}

impl State {
    /// The behaviour of an application's pods; without a description, that of all [others](Self::others).
    pub fn app(&self, namespace: &str, app: &str) -> Arc<App> {
        self.apps.get(&Id::new(namespace, app)).unwrap_or(&self.others).clone()
    }

    /// The faults of a node; usually none.
    pub fn node(&self, name: &str) -> NodeTrouble {
        self.nodes.get(name).cloned().unwrap_or_default()
    }

    /// The faults of a pod; usually none.
    pub fn pod(&self, uid: &str) -> PodTrouble {
        self.pods.get(uid).cloned().unwrap_or_default()
    }
}

impl App {
    /// The behaviour of a version, by its image's tag.
    pub fn version(&self, image: &str) -> Version {
        self.versions.get(tag(image)).cloned().unwrap_or_default()
    }
}

/// The tag of an image: the text after the last colon of its last path element.
pub fn tag(image: &str) -> &str {
    let last = image.rsplit_once('/').map_or(image, |(_, last)| last);
    last.rsplit_once(':').map_or("latest", |(_, tag)| tag)
}

/// Durations in a readable form: `500ms`, `4s`, `20m`, `1h`, `9d`.
pub mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    /// Parses one number with its unit.
    pub fn parse(text: &str) -> Option<Duration> {
        let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = text.split_at_checked(at)?;
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no span of time such as 500ms, 4s, 20m, 1h or 9d"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_tags_are_read() {
        assert_eq!(span::parse("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(span::parse("20m"), Some(Duration::from_secs(1200)));
        assert_eq!(span::parse("20"), None);
        assert_eq!(span::parse("-1s"), None);
        assert_eq!(tag("registry.sim:5000/shop/cart:v2"), "v2");
        assert_eq!(tag("registry.sim:5000/shop/cart"), "latest");
    }
}
