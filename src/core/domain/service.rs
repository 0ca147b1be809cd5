//! Services and who stands behind them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Name, Uid, Version};
use super::row::row;
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
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName => "ExternalName",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub created: Stamp,
    pub kind: ServiceType,
    /// `clusterIP: None`: clients balance by name (DNS).
    pub headless: bool,
    /// `sessionAffinity: ClientIP`.
    pub sticky: bool,
    /// Empty selector = endpoints are made by hand.
    pub selector: Arc<Selector>,
    pub publish_not_ready: bool,
}
row!(Service);

/// One EndpointSlice. A Service may have several, and one set per address family.
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
}
row!(EndpointSlice);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: Name,
    pub pod: Option<Name>,
    pub pod_uid: Option<Uid>,
    /// nil means ready, as the API says.
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node: Option<Name>,
    pub zone: Option<Name>,
}
