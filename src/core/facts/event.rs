//! Events: past-tense facts on their way into the shared state. One format for the live queue, recordings, replay and
//! test scenarios: JSON lines.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::domain;
use crate::domain::id::{ClusterId, Name, Uid, Version};
use crate::domain::kinds::with_tables;
use crate::domain::log::LogSummary;
use crate::domain::silence::Silence;
use crate::domain::source::SourceStatus;
use crate::domain::time::Stamp;
use crate::domain::traffic::TrafficSeen;
use crate::domain::usage::{NodeUsage, PodUsage};

use super::world::ActionView;

/// One fact batch with its origin.
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
            Logs(LogSummary),
            Source(SourceStatus),
            Identity(Identity),
            Action(ActionView),
            Silence(SilenceChange),
        }
    };
}
with_tables!(fact);

/// A person silenced findings, or ended that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SilenceChange {
    Add(Vec<Silence>),
    Lift(Silence),
}

/// Who we are to the cluster and what it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The server's version (`v1.36.2`), None until it answered.
    pub version: Option<Name>,
    /// The user's name by SelfSubjectReview, else the kubeconfig's.
    pub user: Option<Name>,
    /// The server's clock less ours, in milliseconds, from the `Date` header. All times are the server's.
    pub clock_offset_ms: Option<i64>,
    /// All namespaces of the cluster by name; None = they may not be listed, or were not yet.
    #[serde(default)]
    pub namespaces: Option<Vec<Name>>,
    /// The UID of the namespace kube-system, which tells one cluster from another; None = it cannot be read.
    #[serde(default)]
    pub uid: Option<Name>,
    /// What we may change, somewhere in what is shown; None = not known.
    #[serde(default)]
    pub may: Option<BTreeSet<Right>>,
}

/// What may be changed, as far as keys differ by it.
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

/// A clock that is off by more than this is shown.
const SKEW_MS: i64 = 1_000;

impl Identity {
    /// How far the server's clock is ahead of ours in milliseconds (negative: behind), if it is worth a word.
    pub fn skew_ms(&self) -> Option<i64> {
        self.clock_offset_ms.filter(|ms| ms.abs() > SKEW_MS)
    }
}

/// A piece of a list or a watch. At most 256 items or 5 ms a batch.
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
    /// The source may see these namespaces only (None = all), to be sent before End; after it when one came or was lost.
    Scope {
        namespaces: Option<Vec<Name>>,
    },
    Upsert(Vec<T>),
    Gone(Vec<Gone>),
    /// The list ended with its closing token: rows that it did not name are swept.
    End {
        generation: u32,
        version: Version,
    },
    /// The server refuses this resource.
    Denied {
        reason: Name,
    },
    /// The server has no such API.
    NotInstalled,
    /// The source fails since; None = it works again.
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
