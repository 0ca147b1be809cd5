//! Rows of an object with its verdict. The hub judges once, and every reader uses the result.

use std::sync::Arc;

use super::past::{Past, Steps};
use super::table::Row;
use super::world::{ServiceRow, same};
use crate::domain::autoscaler::{Hpa, HpaVerdict};
use crate::domain::id::{Name, Uid, Version};
use crate::domain::slo::{Measured, SloVerdict};
use crate::domain::traffic::{BackendTraffic, Balancing, ServiceTraffic, Share, Shares};

/// An autoscaler with its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct HpaRow {
    pub hpa: Arc<Hpa>,
    pub verdict: HpaVerdict,
    /// The last changes of its replicas.
    pub past: Arc<Steps>,
}

impl Row for HpaRow {
    fn uid(&self) -> &Uid {
        &self.hpa.uid
    }
    fn version(&self) -> Version {
        self.hpa.version
    }
    fn namespace(&self) -> &str {
        &self.hpa.namespace
    }
    fn same_content(&self, other: &Self) -> bool {
        same(&self.hpa, &other.hpa) && self.verdict == other.verdict && self.past == other.past
    }
}

/// A service level objective with its verdict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SloRow {
    /// The namespace and the name of its Service. The namespace is empty if no Service was found for the name in its
    /// rules, or several.
    pub namespace: Name,
    pub service: Name,
    pub measured: Arc<Measured>,
    pub verdict: SloVerdict,
}

/// The measured traffic of a Service or a proxy, with the shares of its backends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrafficRow {
    pub traffic: Arc<ServiceTraffic>,
    /// The Service's row. `None` if its endpoints are not completely known now.
    pub endpoints: Option<Arc<ServiceRow>>,
    /// How the requests should be distributed.
    pub balancing: Balancing,
    pub shares: Shares,
    /// The last polls, for trends.
    pub past: Arc<Past>,
}

impl TrafficRow {
    /// Returns the backends with their shares.
    pub fn backends(&self) -> impl Iterator<Item = (&BackendTraffic, &Share)> {
        self.traffic.backends.iter().zip(&self.shares.backends)
    }
}
