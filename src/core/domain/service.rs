//! Services and their endpoints.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Name, Uid, Version};
use super::row::{object, row};
use super::selector::Selector;
use super::time::Stamp;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceType {
    #[default]
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalName,
}

impl ServiceType {
    /// As the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName => "ExternalName",
        }
    }
}

/// `trafficDistribution`: which backends clients prefer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Distribution {
    #[default]
    Anywhere,
    /// `PreferSameZone`, or its older name `PreferClose`.
    SameZone,
    SameNode,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub created: Stamp,
    pub kind: ServiceType,
    /// `clusterIP: None`: clients resolve the pods by DNS and balance themselves.
    pub headless: bool,
    /// `sessionAffinity: ClientIP`.
    pub sticky: bool,
    /// How long a client stays with its backend, in seconds. 0 if not sticky.
    #[serde(default)]
    pub sticky_secs: u32,
    /// `internalTrafficPolicy: Local`: a client reaches only backends on its own node.
    #[serde(default)]
    pub local: bool,
    #[serde(default)]
    pub distribution: Distribution,
    /// An empty selector: the endpoints are managed by hand.
    pub selector: Arc<Selector>,
    pub publish_not_ready: bool,
    #[serde(default)]
    pub ports: Arc<[ServicePort]>,
    /// The labels that name the application: those whose key is in [`APP_LABELS`].
    #[serde(default)]
    pub app: Arc<[(Name, Name)]>,
}
row!(Service);
object!(Service, Service);

/// The keys of labels that name the application of a Service. Only these labels are kept.
pub const APP_LABELS: [&str; 5] =
    ["app", "app.kubernetes.io/name", "app.kubernetes.io/component", "k8s-app", "operated-prometheus"];

/// One port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// "" if it has none.
    pub name: Name,
    pub port: u16,
    /// `appProtocol: https`.
    #[serde(default)]
    pub https: bool,
}

impl Service {
    /// Returns a label that names the application: the Service's own, or else the one by which it selects its pods.
    pub fn app_label(&self, key: &str) -> Option<&Name> {
        let mut labels = self.app.iter().chain(&self.selector.labels);
        labels.find(|(have, _)| have == key).map(|(_, value)| value)
    }
}

/// One EndpointSlice. A Service can have several, and a set of them for each address family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    /// Label `kubernetes.io/service-name`.
    pub service: Name,
    pub address_type: Name,
    pub endpoints: Arc<[Endpoint]>,
    /// Every ready endpoint has a hint for which zones or nodes it is. Only then are the hints used.
    #[serde(default)]
    pub hinted: bool,
}
row!(EndpointSlice);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: Name,
    pub pod: Option<Name>,
    pub pod_uid: Option<Uid>,
    /// A nil value means ready, as in the API.
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node: Option<Name>,
    pub zone: Option<Name>,
}
