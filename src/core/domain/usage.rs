//! Measured usage of CPU and memory, from metrics.k8s.io or Prometheus.

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::time::Stamp;

/// A node's usage over the last window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUsage {
    pub node: Name,
    pub cpu_milli: i64,
    /// Working set.
    pub memory_bytes: i64,
    pub at: Stamp,
}

/// A pod's usage over the last window, the sum of its containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodUsage {
    pub namespace: Name,
    pub pod: Name,
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    pub at: Stamp,
}
