//! Traffic per backend, from Prometheus.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::time::Stamp;

/// The error ratio from which on a service or one of its backends has severity warning.
pub const BAD_ERRORS: f64 = 0.01;
/// The error ratio from which on it has severity critical.
pub const GRAVE_ERRORS: f64 = 0.05;

/// How requests should be distributed over the backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Policy {
    /// Round robin or random: the expected share is 1/N.
    #[default]
    RoundRobin,
    Random,
    /// The expected share is W_i / sum of W.
    Weighted,
    LeastConnections,
    ResponseTime,
    /// By source IP, session affinity, ring hash or maglev.
    ByClient,
    /// By header, path or cookie.
    ByRequest,
    /// Headless Service: by the client's resolver.
    ByName,
    Unknown,
}

impl Policy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round robin",
            Self::Random => "random",
            Self::Weighted => "weighted",
            Self::LeastConnections => "least connections",
            Self::ResponseTime => "response time",
            Self::ByClient => "by client",
            Self::ByRequest => "by request",
            Self::ByName => "by name",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a policy was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    #[default]
    Assumed,
    Discovered,
    Configured,
}

impl Origin {
    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assumed => "assumed",
            Self::Discovered => "discovered",
            Self::Configured => "configured",
        }
    }
}

/// One service (or proxy) and its backends in one poll. An unknown number is None, never 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceTraffic {
    /// Empty if the source knows no namespace (a HAProxy outside the cluster).
    pub namespace: Name,
    /// The Service's name, or the proxy's if no Service is known.
    pub name: Name,
    /// The preset that gave the numbers: `haproxy`, `http_requests_total`.
    pub preset: Name,
    pub policy: Policy,
    pub origin: Origin,
    pub rps: Option<f64>,
    /// 0..1.
    pub error_ratio: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub backends: Arc<[BackendTraffic]>,
    /// The rate window in seconds: `rps * window` is about the number of requests seen.
    pub window_secs: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendTraffic {
    /// The pod's name, or the proxy's server name.
    pub name: Name,
    pub rps: Option<f64>,
    pub error_ratio: Option<f64>,
    pub p95_ms: Option<f64>,
    /// Mean response time, if the source has no quantiles.
    pub mean_ms: Option<f64>,
    /// Current connections or sessions.
    pub active: Option<f64>,
    /// Configured weight, for [`Policy::Weighted`].
    pub weight: Option<f64>,
    /// The proxy's own state of the backend (UP, DOWN, MAINT), if it has one.
    pub up: Option<bool>,
}

/// All services of one poll.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficSeen {
    pub at: Stamp,
    pub services: Arc<[Arc<ServiceTraffic>]>,
}

/// One backend's share.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub observed: Option<f64>,
    pub expected: Option<f64>,
    /// None = cannot be judged (no expectation, too few requests, out).
    pub significant: Option<bool>,
    /// Worth a mark: it is significant, and does not only follow from another backend that gets too much.
    pub marked: bool,
    /// It gets nothing new: the balancer says that it is down, or it is no ready endpoint any more. What is still measured
    /// of it is from before.
    pub out: bool,
    /// It came into rotation within the window of its rates: they are of less than the others' are.
    pub new: bool,
}

/// The shares of all backends of one service, in their order, and why a judgement is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares {
    pub backends: Vec<Share>,
    /// Ready endpoints of which nothing is measured although they have been there for longer than the window: nothing was
    /// asked of them, or nobody measures them.
    pub silent: Vec<Name>,
    /// Ready endpoints of which nothing is measured yet: they came into rotation within the window of the rates.
    pub arriving: Vec<Name>,
    pub note: Option<String>,
}
