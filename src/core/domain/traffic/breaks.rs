//! What would break first if the traffic moved.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::id::Name;

/// Something that goes beyond a limit, with the backend where it does so the most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Break {
    /// No backend is left: every request fails.
    NoBackend,
    /// A part of the route keeps its share of the requests and has no backend: they fail. `share` is 0..1.
    EmptyPart { part: Name, share: f64 },
    /// CPU beyond the limit: the kernel throttles the container.
    OverLimit { backend: Name, times: f64 },
    /// The CPU utilisation is so high that requests wait `slower` times as long as on an idle backend.
    Slow { backend: Name, utilisation: f64, slower: f64 },
    /// CPU beyond the request: it depends on what else runs on the node.
    OverRequest { backend: Name, times: f64 },
    /// More requests than a backend was ever seen to carry: nobody knows whether it can.
    OverMost { backend: Name, times: f64, most_rps: f64 },
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackend => write!(f, "no backend is left: every request fails"),
            Self::EmptyPart { part, share } => write!(
                f,
                "{part} has no backend left: its {:.0} % of the requests fail unless its weight is set to 0",
                share * 100.0
            ),
            Self::OverLimit { backend, times } => {
                write!(f, "{backend} would need {:.0} % of its CPU limit: it is throttled", times * 100.0)
            }
            Self::Slow { backend, utilisation, slower } => write!(
                f,
                "{backend} would use {:.0} % of its CPU limit: requests wait about {slower:.0} times as long as on an idle one",
                utilisation * 100.0
            ),
            Self::OverRequest { backend, times } => write!(
                f,
                "{backend} would need {:.0} % of its CPU request: only if the node has it to spare",
                times * 100.0
            ),
            Self::OverMost { backend, times, most_rps } => write!(
                f,
                "{backend} would get {times:.1} times the most that a backend was seen to carry ({most_rps:.1} rps)"
            ),
        }
    }
}

impl Break {
    /// Returns the code, for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoBackend => "no-backend",
            Self::EmptyPart { .. } => "empty-part",
            Self::OverLimit { .. } => "over-cpu-limit",
            Self::Slow { .. } => "slow",
            Self::OverRequest { .. } => "over-cpu-request",
            Self::OverMost { .. } => "over-most-rps",
        }
    }
}
