//! Rows that hold a verdict beside what it is about: made once by the hub, read by everyone.

use std::sync::Arc;

use super::table::Row;
use super::world::{ServiceRow, same};
use crate::domain::autoscaler::{Hpa, HpaVerdict};
use crate::domain::id::{Uid, Version};
use crate::domain::traffic::{BackendTraffic, ServiceTraffic, Share, Shares};

/// An autoscaler with its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct HpaRow {
    pub hpa: Arc<Hpa>,
    pub verdict: HpaVerdict,
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
        same(&self.hpa, &other.hpa) && self.verdict == other.verdict
    }
}

/// What is measured of a Service or proxy, with its backends' shares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrafficRow {
    pub traffic: Arc<ServiceTraffic>,
    /// The Service, if its endpoints are the whole truth now.
    pub endpoints: Option<Arc<ServiceRow>>,
    pub shares: Shares,
}

impl TrafficRow {
    /// The backends, each with its share.
    pub fn backends(&self) -> impl Iterator<Item = (&BackendTraffic, &Share)> {
        self.traffic.backends.iter().zip(&self.shares.backends)
    }
}
