//! The words of the parts of findings.

use std::fmt::{self, Display, Formatter};

use super::{
    Blocked, Budget, Culprit, Missed, NoEndpoints, PodCount, Release, Remedy, RemedyKind, StillThere,
    VolumeWait,
};
use crate::domain::text::{brief, count};

impl Display for PodCount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.of {
            Some(of) => write!(f, "{} of {}", self.bad, count(of, "pod")),
            None => f.write_str(&count(self.bad as u64, "pod")),
        }
    }
}

impl Display for Missed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event { reason, message } => write!(f, "{reason}: {}", brief(message)),
            Self::StillRuns => f.write_str("its last job still runs, and concurrencyPolicy is Forbid"),
            Self::Unknown => f.write_str("no event says why; is the CronJob controller running?"),
        }
    }
}

impl Display for NoEndpoints {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorkload => f.write_str("its selector matches no workload"),
            Self::ScaledToZero { workload } => write!(f, "{workload} is scaled to 0"),
            Self::Ended { workload } => write!(f, "{workload} has ended"),
            Self::NotReady { ready, total } => write!(f, "{ready} of {total} endpoints ready"),
        }
    }
}

impl Display for Budget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinAvailable(min) => write!(f, "minAvailable {min}"),
            Self::MaxUnavailable(max) => write!(f, "maxUnavailable {max}"),
            Self::None => f.write_str("no bound"),
        }
    }
}

impl Display for Blocked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unhealthy { healthy, expected, needs } => {
                write!(f, "{healthy} of {expected} healthy, needs {needs}")
            }
            Self::NoRoom { budget, expected } => {
                write!(f, "{budget} of {expected} leaves no room: a drain never ends")
            }
        }
    }
}

impl Display for Release {
    /// Writes `, after rollout v1.8.1→v1.8.2 by argocd`. The words say "after", not "since": the errors may be older
    /// than the rollout if the logs were not read before.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, ", after rollout {}", self.moved.of(&self.workload))?;
        match &self.by {
            Some(by) => write!(f, " by {by}"),
            None => Ok(()),
        }
    }
}

impl Display for Culprit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all backends"),
            Self::Some { bad, of } => write!(f, "{bad} of {of} backends"),
            Self::Backend(name) => write!(f, "only backend {name}"),
            Self::OutOfRotation => f.write_str("from pods already out of rotation"),
        }
    }
}

impl Display for StillThere {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finalizers(names) => write!(f, "finalizer {}", names.join(", ")),
            Self::Kubelet(node) => write!(f, "the kubelet on {node} has not ended it"),
            Self::NodeGone(node) => write!(f, "its node {node} is gone"),
        }
    }
}

impl Display for VolumeWait {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zone(zone) => {
                write!(f, "cannot start until {zone} has a node again: the volume is in that zone")
            }
            Self::NoNode => f.write_str("cannot start: no node that takes pods can attach the volume"),
        }
    }
}

impl Display for RemedyKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (what, from, to) = match self {
            Self::RolledBack { from, to } => ("rolled back", from, to),
            Self::Rollout { from, to } => ("new rollout", from, to),
            Self::Restarted => return f.write_str("restarted"),
            Self::Changed(change) => return write!(f, "{change}"),
            Self::OutOfRotation { pod } => return write!(f, "{pod} taken out of rotation"),
            Self::NodesOutOfService => return f.write_str("lost nodes taken out of service"),
        };
        if to.is_empty() { f.write_str(what) } else { write!(f, "{what} {from}→{to}") }
    }
}

impl Display for Remedy {
    /// `rolled back 1.8.2→1.8.1 by kubectl`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match &self.by {
            Some(by) => write!(f, " by {by}"),
            None => Ok(()),
        }
    }
}
