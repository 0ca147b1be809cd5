//! Traffic per backend, as Prometheus has it.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::time::Stamp;

/// From which ratio of errors on a service, or one of its backends, needs a look.
pub const BAD_ERRORS: f64 = 0.01;
/// From which on people are called.
pub const GRAVE_ERRORS: f64 = 0.05;

/// The longest window that rates are taken over.
pub const LONGEST_WINDOW_SECS: u32 = 3_600;

/// How requests are meant to be spread over the backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Policy {
    /// In turn, or at random: 1/N expected.
    #[default]
    RoundRobin,
    Random,
    /// W_i / sum of W.
    Weighted,
    LeastConnections,
    ResponseTime,
    /// Source IP, session affinity, ring hash, maglev.
    ByClient,
    /// Header, path or cookie.
    ByRequest,
    /// Headless Service: the client's resolver.
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

/// Where a policy is known from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    #[default]
    Assumed,
    Discovered,
    Configured,
}

impl Origin {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assumed => "assumed",
            Self::Discovered => "discovered",
            Self::Configured => "configured",
        }
    }
}

/// One service (or proxy) and its backends in one poll. Unknown numbers are None, never 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceTraffic {
    /// Empty when the source knows no namespace (a HAProxy outside the cluster).
    pub namespace: Name,
    /// The Service's name, or the proxy's where no Service is known.
    pub name: Name,
    /// The preset that the numbers come from: `haproxy`, `http_requests_total`.
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
    /// Mean response time, where the source has no quantiles.
    pub mean_ms: Option<f64>,
    /// Connections or sessions now.
    pub active: Option<f64>,
    /// Configured weight, for [`Policy::Weighted`].
    pub weight: Option<f64>,
    /// The proxy's own verdict (UP, DOWN, MAINT), where it has one.
    pub up: Option<bool>,
}

/// All services of one poll.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficSeen {
    /// The source that says it, by the name of its status; empty for several sources together.
    #[serde(default)]
    pub source: Name,
    pub at: Stamp,
    pub services: Arc<[Arc<ServiceTraffic>]>,
}

impl TrafficSeen {
    /// The newest polls of several sources together, as of the newest poll. A service that two of them know is told by
    /// the first.
    pub fn together(polls: &[Arc<Self>]) -> Arc<Self> {
        if let [only] = polls {
            return only.clone();
        }
        Arc::new(Self {
            source: Name::default(),
            at: polls.iter().map(|poll| poll.at).max().unwrap_or_default(),
            services: each_once(polls.iter().flat_map(|poll| poll.services.iter().cloned())).into(),
        })
    }
}

/// The services without those that came before.
pub fn each_once(services: impl Iterator<Item = Arc<ServiceTraffic>>) -> Vec<Arc<ServiceTraffic>> {
    let mut known: HashSet<(Name, Name)> = HashSet::new();
    services.filter(|s| known.insert((s.namespace.clone(), s.name.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(source: &str, at: i64, services: &[(&str, f64)]) -> Arc<TrafficSeen> {
        let one = |(name, rps): &(&str, f64)| {
            Arc::new(ServiceTraffic { name: (*name).into(), rps: Some(*rps), ..ServiceTraffic::default() })
        };
        let services = services.iter().map(one).collect();
        Arc::new(TrafficSeen { source: source.into(), at: Stamp(at), services })
    }

    #[test]
    fn a_service_that_two_sources_know_is_told_by_the_first() {
        let (a, b) =
            (poll("a", 3, &[("cart", 1.0), ("pay", 2.0)]), poll("b", 5, &[("pay", 9.0), ("web", 4.0)]));
        let both = TrafficSeen::together(&[a.clone(), b]);
        let told: Vec<_> = both.services.iter().map(|s| (s.name.as_str(), s.rps)).collect();
        assert_eq!(told, [("cart", Some(1.0)), ("pay", Some(2.0)), ("web", Some(4.0))]);
        assert_eq!((both.at, both.source.as_str()), (Stamp(5), ""));
        assert!(
            Arc::ptr_eq(&TrafficSeen::together(std::slice::from_ref(&a)), &a),
            "one source is taken as it is"
        );
    }
}
