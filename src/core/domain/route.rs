//! Routes: the objects of gateways, meshes and rollout controllers that say how requests are distributed. The objects of
//! all these kinds are rows of one type.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Kind, Name, Uid, Version};
use super::row::row;
use super::selector::Selector;
use super::traffic::Policy;

/// A Service as a route names it. `*` stands for every name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Host {
    pub namespace: Name,
    pub name: Name,
}

/// The object of one of the kinds that distribute requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub kind: Kind,
    /// The Services whose requests the rules distribute: the hosts of a VirtualService, the target of a Canary. Empty for
    /// a route of a gateway.
    pub roots: Arc<[Host]>,
    pub rules: Arc<[RouteRule]>,
    /// How the backends of the Services in the rules are chosen, as far as the object says it.
    pub balancers: Arc<[Balancer]>,
    /// The subsets that a DestinationRule defines.
    pub subsets: Arc<[Subset]>,
}
row!(Route);

impl Default for Route {
    fn default() -> Self {
        Self {
            uid: Uid::default(),
            version: Version::default(),
            namespace: Name::default(),
            name: Name::default(),
            kind: Kind::HTTPRoute,
            roots: Arc::default(),
            rules: Arc::default(),
            balancers: Arc::default(),
            subsets: Arc::default(),
        }
    }
}

impl fmt::Display for Route {
    /// `HTTPRoute shop/web`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A rule: the requests that match it are distributed over its targets by weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRule {
    /// A hash of host and path, by which the Ingress of a canary finds the Ingress that it belongs to. 0: not needed.
    pub at: u64,
    /// It matches only requests with certain headers, cookies or query parameters.
    pub conditional: bool,
    pub targets: Arc<[Target]>,
    /// The weight of the targets that another object has at the same host and path: of a canary's Ingress.
    pub rest: Option<u32>,
}

/// A backend of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub host: Host,
    pub subset: Option<Name>,
    /// The share is this number divided by the sum over the rule.
    pub weight: u32,
    /// It is not a Service, but another object that distributes requests.
    pub foreign: bool,
}

/// Which backends a balancer is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    #[default]
    All,
    Port(u16),
    Subset(Name),
    /// One of the Services of the route.
    Service(Host),
}

/// How the backends of a Service are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balancer {
    pub scope: Scope,
    pub policy: Policy,
    /// `ring hash of header x-user`. Empty if the policy says everything.
    pub detail: Name,
    /// The field or annotation that says it, if the object alone does not tell where to look: `annotation load-balance`.
    pub field: Name,
    pub no_share: Option<NoShare>,
}

/// A named part of a Service's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subset {
    pub name: Name,
    pub selector: Arc<Selector>,
}

/// Why no share is expected although the policy is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NoShare {
    /// `internalTrafficPolicy: Local`.
    OnNode,
    /// `trafficDistribution: PreferSameNode`.
    SameNode,
    /// `trafficDistribution: PreferSameZone` or `PreferClose`, or topology hints.
    SameZone,
    /// Istio's locality load balancing.
    Locality,
    /// The subsets of the Service are balanced in different ways.
    SubsetsDiffer,
    /// Several rules of routes send requests to the same backends, with different weights or for certain headers.
    OtherRules,
}

impl fmt::Display for NoShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnNode => {
                "no share is expected: internalTrafficPolicy is Local, so each client reaches only backends on its own node"
            }
            Self::SameNode => {
                "no share is expected: trafficDistribution prefers backends on the client's node, so the shares depend on where the clients are"
            }
            Self::SameZone => {
                "no share is expected: clients prefer backends in their own zone, so the shares depend on where the clients are"
            }
            Self::Locality => {
                "no share is expected: Istio prefers backends near the client, so the shares depend on where the clients are"
            }
            Self::SubsetsDiffer => "no share is expected: the subsets have different balancing policies",
            Self::OtherRules => {
                "no share is expected: several rules send requests to these backends, and how many match each rule is not known"
            }
        })
    }
}

/// The share of a route's requests that a Service should get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteShare {
    /// `HTTPRoute shop/web`
    pub route: Name,
    pub weight: u32,
    /// The sum of the weights of all parts.
    pub total: u32,
    /// The Services of the route, each once, with this one.
    pub parts: Arc<[(Host, u32)]>,
    /// Other rules send requests to these Services as well, so the share that is measured is not this one.
    pub partial: bool,
}

impl fmt::Display for RouteShare {
    /// `10 of 100 by HTTPRoute shop/web`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} by {}", self.weight, self.total, self.route)
    }
}
