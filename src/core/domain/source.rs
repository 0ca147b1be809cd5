//! The state of the sources themselves: freshness and completeness are data like any other.

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::time::Stamp;

/// What a source publishes. Panes and rules find the sources that they depend on by it, never by a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Feed {
    /// The rows of a table.
    #[default]
    Objects,
    /// CPU and memory in use, from a server that is asked through the API server.
    Usage,
    /// Requests and errors of services.
    Traffic,
    /// Log lines and groups of errors.
    Logs,
}

impl Feed {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Usage => "usage",
            Self::Traffic => "traffic",
            Self::Logs => "logs",
        }
    }
}

/// How a source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceState {
    /// Not asked yet.
    #[default]
    Starting,
    /// Answering; what is shown is current.
    Live,
    /// Was live; now failing since.
    Stale { since: Stamp },
    /// Never answered yet, and failing.
    Down { since: Stamp },
    /// The server says no (403): waiting will not help by itself.
    Denied,
    /// There is no such API (404 of its group): nothing is wrong, and it is looked for again now and then.
    NotInstalled,
    /// Not configured, so not asked.
    Off,
}

impl SourceState {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Stale { .. } => "stale",
            Self::Down { .. } => "down",
            Self::Denied => "denied",
            Self::NotInstalled => "not-installed",
            Self::Off => "off",
        }
    }

    pub fn is_trouble(&self) -> bool {
        matches!(self, Self::Stale { .. } | Self::Down { .. } | Self::Denied)
    }
}

/// One source's status: `pods`, `metrics.k8s.io`, `prometheus`, `logs` …
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    pub name: Name,
    #[serde(default)]
    pub feed: Feed,
    pub state: SourceState,
    /// Since when it is in trouble, by the events that said so: filled in where they are folded in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Stamp>,
    /// When it last gave data or a sign of life (a bookmark, a poll's answer).
    pub last_ok: Option<Stamp>,
    /// In words a person can act on: what, where, what to do.
    pub error: Option<Name>,
    /// The request that failed.
    pub request: Option<Name>,
    /// When the next attempt is due.
    pub retry_at: Option<Stamp>,
    /// Attempts since it last worked.
    pub attempts: u32,
    /// It fails in a way that does not pass by itself: not logged in, no Kubernetes API or Prometheus at this address.
    #[serde(default)]
    pub lasting: bool,
}
