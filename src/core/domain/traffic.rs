//! Traffic per backend, from Prometheus.

mod breaks;
mod shares;
mod worse;

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::route::{NoShare, RouteShare};
use super::time::Stamp;

pub use breaks::Break;
pub use shares::{Imbalance, Rates, Share, Shares, Standing, Stray, Trail, Unjudged};
pub use worse::Worse;

/// The error ratio from which on a service or one of its backends has severity warning.
pub const BAD_ERRORS: f64 = 0.01;
/// The error ratio from which on it has severity critical.
pub const GRAVE_ERRORS: f64 = 0.05;

/// The longest window that rates can be computed over, in seconds.
pub const LONGEST_WINDOW_SECS: u32 = 3_600;

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
    /// The policies that can be configured.
    pub const KNOWN: [Self; 8] = [
        Self::RoundRobin,
        Self::Random,
        Self::Weighted,
        Self::LeastConnections,
        Self::ResponseTime,
        Self::ByClient,
        Self::ByRequest,
        Self::ByName,
    ];

    /// Reads a name as it is shown, or with hyphens: `least connections`, `least-connections`.
    pub fn parse(text: &str) -> Option<Self> {
        let words = text.trim().to_lowercase().replace(['-', '_'], " ");
        Self::KNOWN.into_iter().find(|policy| policy.as_str() == words)
    }

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

/// How the requests of a service are distributed over its backends, and where that was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Balancing {
    pub policy: Policy,
    /// Connections are balanced, not requests: a connection keeps its backend for all its requests.
    #[serde(default)]
    pub per_connection: bool,
    pub origin: Origin,
    /// Where the policy was read: `DestinationRule shop/checkout`, `Istio's default`, `kube-proxy`, `haproxy`. Empty if
    /// nothing is known.
    pub read_from: Name,
    /// What the policy's name does not say: `ring hash of header x-user`. Empty if it says everything.
    #[serde(default)]
    pub detail: Name,
    /// Why no share is expected. `None`: the policy decides.
    #[serde(default)]
    pub no_share: Option<NoShare>,
    /// The parts that a route splits the requests into; empty if no route does. A backend's expected share is the
    /// share of its part, distributed over the backends of the part.
    pub split: Arc<[Part]>,
    /// The route that distributes requests over this Service and others, with the share of this one.
    #[serde(default)]
    pub of_route: Option<RouteShare>,
}

impl Balancing {
    /// The policy as a whole: a route that splits the requests makes it weighted, whatever happens within the parts.
    pub fn shown(&self) -> Policy {
        if self.split.is_empty() { self.policy } else { Policy::Weighted }
    }
}

/// A part of a service's backends, with the weight that a route gives to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The name in the route: a Service (`checkout-canary`) or a subset (`v2`).
    pub name: Name,
    /// The share is this number divided by the sum of the weights.
    pub weight: f64,
    /// The names of the backends.
    pub backends: Arc<[Name]>,
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
    /// The policy as far as the source knows it. [`Balancing`] has the one that counts.
    pub policy: Policy,
    pub origin: Origin,
    /// How often the counters are scraped, in seconds. 0 = not known.
    #[serde(default)]
    pub scrape_secs: u32,
    pub rps: Option<f64>,
    /// 0..1.
    pub error_ratio: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Current requests or connections, if the source knows them for the service only.
    #[serde(default)]
    pub active: Option<f64>,
    pub backends: Arc<[BackendTraffic]>,
    /// The rate window in seconds: `rps * window` is about the number of requests seen.
    pub window_secs: u32,
    /// The other presets that also measured requests of this service.
    #[serde(default)]
    pub others: Arc<[Name]>,
    /// Other namespaces and names that the source's id of the service can mean, if the cluster has no Service of the
    /// first.
    #[serde(default)]
    pub also: Arc<[(Name, Name)]>,
    /// The matchers that select this service in the source: `namespace="shop",service="web"`.
    #[serde(default)]
    pub selector: Name,
    /// The source's label that names the backends.
    #[serde(default)]
    pub backend_label: Name,
}

impl ServiceTraffic {
    /// How much is known of the requests: nothing, the rate of the service, or the rates of its backends.
    fn detail(&self) -> u8 {
        if self.backends.iter().any(|backend| backend.rps.is_some()) {
            2
        } else {
            u8::from(self.rps.is_some())
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendTraffic {
    /// The pod's name, or the proxy's server name, or an address that no endpoint has.
    pub name: Name,
    /// The address by which the source knows the backend, if the name was found by it.
    #[serde(default)]
    pub address: Name,
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
    /// The name of the source that reported it; empty for several sources together.
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

/// Each service once. The one that knows the rates of backends is kept, otherwise the first that knows the rate of the
/// service. It gets the names of the other presets that have a rate.
pub fn each_once(services: impl Iterator<Item = Arc<ServiceTraffic>>) -> Vec<Arc<ServiceTraffic>> {
    let mut places: HashMap<(Name, Name), usize> = HashMap::new();
    let mut kept: Vec<Arc<ServiceTraffic>> = Vec::new();
    for service in services {
        let key = (service.namespace.clone(), service.name.clone());
        let place = *places.entry(key).or_insert(kept.len());
        let Some(held) = kept.get_mut(place) else {
            kept.push(service);
            continue;
        };
        let mut other = service;
        if other.detail() > held.detail() {
            std::mem::swap(held, &mut other);
        }
        let mut others = held.others.to_vec();
        let measured = std::iter::once(&other.preset).filter(|_| other.rps.is_some());
        for name in measured.chain(other.others.iter()) {
            if !name.is_empty() && *name != held.preset && !others.contains(name) {
                others.push(name.clone());
            }
        }
        if others.len() != held.others.len() {
            Arc::make_mut(held).others = others.into();
        }
    }
    kept
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
