//! Numbers from before the console was started, for the trends of whole panes. A Prometheus says them once.

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::range::Span;

/// The numbers of all objects of a pane at the times of a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrendsSeen {
    pub span: Span,
    pub of: Trends,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Trends {
    Nodes(Vec<NodeTrend>),
    Services(Vec<ServiceTrend>),
}

/// The usage of a node: a number, or a gap, for each time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeTrend {
    /// The name of the node, or the address that stands for it.
    pub node: Name,
    pub cores: Vec<Option<f64>>,
    pub bytes: Vec<Option<f64>>,
}

/// The traffic of a Service or a proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceTrend {
    pub namespace: Name,
    pub name: Name,
    pub rps: Vec<Option<f64>>,
    pub error_ratio: Vec<Option<f64>>,
    pub p95_ms: Vec<Option<f64>>,
}
