//! Events: observed facts on their way into the shared state. The live queue, recordings, replay and test scenarios use
//! the same format: JSON lines.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::domain;
use crate::domain::alert::AlertsSeen;
use crate::domain::id::{ClusterId, Name, Uid, Version};
use crate::domain::incident::Remark;
use crate::domain::kinds::with_tables;
use crate::domain::log::LogSummary;
use crate::domain::silence::Silence;
use crate::domain::slo::ObjectivesSeen;
use crate::domain::source::SourceStatus;
use crate::domain::time::Stamp;
use crate::domain::traffic::TrafficSeen;
use crate::domain::trend::TrendsSeen;
use crate::domain::usage::{NodeUsage, PodUsage};

use super::world::ActionView;

/// A batch of facts with its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub at: Stamp,
    pub cluster: ClusterId,
    pub fact: Fact,
}

macro_rules! fact {
    ($($kind:ident: $module:ident::$row:ident, $table:ident, $fact:ident;)*) => {
        /// What sources and the executor can say: rows of a watched kind, of which [`with_tables`] has the list, or
        /// one of the others.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Fact {
            $($fact(Batch<domain::$module::$row>),)*
            /// All nodes' use in one poll; `source` names who measured.
            NodeUsage {
                source: Name,
                rows: Vec<NodeUsage>,
            },
            PodUsage {
                source: Name,
                rows: Vec<PodUsage>,
            },
            Traffic(TrafficSeen),
            Objectives(ObjectivesSeen),
            /// Numbers from before the first poll, once.
            Trends(TrendsSeen),
            /// All alerts of one poll.
            Alerts(AlertsSeen),
            Logs(LogSummary),
            Source(SourceStatus),
            Identity(Identity),
            Action(ActionView),
            Silence(SilenceChange),
            /// A person said something about a moment or an incident.
            Remark(Remark),
        }

        impl Fact {
            /// Returns about how many bytes it needs, without the names that it shares with other facts.
            pub fn bytes(&self) -> usize {
                size_of::<Self>()
                    + match self {
                        $(Self::$fact(Batch::Upsert(rows)) => size_of_val(rows.as_slice()),)*
                        Self::NodeUsage { rows, .. } => size_of_val(rows.as_slice()),
                        Self::PodUsage { rows, .. } => size_of_val(rows.as_slice()),
                        Self::Traffic(seen) => {
                            let backends: usize = seen.services.iter().map(|one| one.backends.len()).sum();
                            backends * size_of::<domain::traffic::BackendTraffic>()
                                + seen.services.len() * size_of::<domain::traffic::ServiceTraffic>()
                        }
                        Self::Logs(seen) => seen.groups.len() * size_of::<domain::log::ErrorGroup>(),
                        Self::Alerts(seen) => seen.alerts.len() * size_of::<domain::alert::Alert>(),
                        _ => 0,
                    }
            }
        }
    };
}
with_tables!(fact);

/// The user silenced findings, or ended a silence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SilenceChange {
    Add(Vec<Silence>),
    Lift(Silence),
}

/// Our identity in the cluster, and the identity of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The server's version (`v1.36.2`); None until it has answered.
    pub version: Option<Name>,
    /// The user's name from a SelfSubjectReview, or from the kubeconfig.
    pub user: Option<Name>,
    /// The server's clock minus ours in milliseconds, from the `Date` header. All times in the state are the server's.
    pub clock_offset_ms: Option<i64>,
    /// The names of all namespaces; None: not listed yet, or not permitted.
    #[serde(default)]
    pub namespaces: Option<Vec<Name>>,
    /// The UID of the namespace kube-system, which identifies the cluster; None: it cannot be read.
    #[serde(default)]
    pub uid: Option<Name>,
    /// The permissions to change objects in any of the shown namespaces; None: not known.
    #[serde(default)]
    pub may: Option<BTreeSet<Right>>,
}

/// The permissions to change objects, as far as keys depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Right {
    Nodes,
    Evictions,
    Pods,
    Workloads,
    Scales,
    Autoscalers,
}

impl Right {
    pub const ALL: [Self; 6] =
        [Self::Nodes, Self::Evictions, Self::Pods, Self::Workloads, Self::Scales, Self::Autoscalers];
}

/// A larger difference of the clocks is shown.
const SKEW_MS: i64 = 1_000;

impl Identity {
    /// How far the server's clock is ahead of ours in milliseconds (negative: behind), if the difference is large
    /// enough to show.
    pub fn skew_ms(&self) -> Option<i64> {
        self.clock_offset_ms.filter(|ms| ms.abs() > SKEW_MS)
    }
}

/// A part of a list or a watch. A batch has at most 256 items, or the items of 5 ms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Batch<T> {
    /// A list began.
    Begin {
        generation: u32,
    },
    /// The server's estimate of the total.
    Expect {
        of: u32,
    },
    /// The source can see only these namespaces (None: all). Sent before End, and later when one is added or lost.
    Scope {
        namespaces: Option<Vec<Name>>,
    },
    Upsert(Vec<T>),
    Gone(Vec<Gone>),
    /// The list was complete to its closing token: rows that it did not name are deleted.
    End {
        generation: u32,
        version: Version,
    },
    /// The server denies access to this resource.
    Denied {
        reason: Name,
    },
    /// The server does not have this API.
    NotInstalled,
    /// The source has been failing since this time; None: it works again.
    Stale {
        since: Option<Stamp>,
    },
}

/// An object was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    pub uid: Uid,
    pub version: Version,
}

/// The first line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingHeader {
    pub schema: String,
    pub contexts: Vec<String>,
}

/// The version of the recording format.
pub const RECORDING: &str = "pilothouse/events/v1";
