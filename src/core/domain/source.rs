//! The status of the sources: how fresh and complete their data is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::found::Found;
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
    /// Alerts and silences.
    Alerts,
}

impl Feed {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Usage => "usage",
            Self::Traffic => "traffic",
            Self::Logs => "logs",
            Self::Alerts => "alerts",
        }
    }
}

/// The state of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceState {
    /// Not requested yet.
    #[default]
    Starting,
    /// The source answers, and its data is current.
    Live,
    /// It was live, and has been failing since.
    Stale { since: Stamp },
    /// It has never answered yet, and is failing.
    Down { since: Stamp },
    /// The server denies the access (403); waiting alone does not help.
    Denied,
    /// The server does not have this API (404 for its group). This is no error, and the API is checked for again
    /// periodically.
    NotInstalled,
    /// Not configured, so not requested.
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
    /// Since when it has a problem, according to the events; set where the events are folded in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Stamp>,
    /// When it last delivered data or a sign of life (a bookmark, the answer to a poll).
    pub last_ok: Option<Stamp>,
    /// A message for the user: what failed, where, and what to do.
    pub error: Option<Name>,
    /// The request that failed.
    pub request: Option<Name>,
    /// When the next attempt is due.
    pub retry_at: Option<Stamp>,
    /// The number of attempts since it last worked.
    pub attempts: u32,
    /// The failure is permanent: not logged in, or no Kubernetes API or Prometheus at this address.
    #[serde(default)]
    pub lasting: bool,
    /// The Service that is read through the API server: `monitoring/prometheus:web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Name>,
    /// What was found when the cluster's Services were searched for the server of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Arc<Found>>,
}
