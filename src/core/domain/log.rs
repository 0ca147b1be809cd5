//! What the log store sends to the shared state: groups of error lines, but not the lines.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::time::Stamp;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// Error lines with the same fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorGroup {
    /// Hash of the template, in hex.
    pub fingerprint: Name,
    /// The line with its numbers, ids and addresses masked.
    pub template: Name,
    pub level: Level,
    pub count: u64,
    /// Lines in the last 60 s. For a group that began within them: the rate per minute since then.
    pub per_minute: f64,
    /// Lines in each of the last minutes, oldest first.
    pub trend: Arc<[u32]>,
    pub first: Stamp,
    pub last: Stamp,
    /// `namespace/workload`.
    pub workloads: Arc<[Name]>,
    /// The number of distinct pods, and the first few of them as `namespace/pod`.
    pub pod_count: u32,
    pub pods: Arc<[Name]>,
    /// Image tags of the pods that wrote the lines.
    pub versions: Arc<[Name]>,
    /// One complete line, sanitised and limited in length.
    pub sample: Name,
}

impl ErrorGroup {
    /// True if there was no line for a minute, or for three times the usual interval between lines, up to five minutes.
    pub fn has_stopped(&self, now: Stamp) -> bool {
        let apart = self.last.since(self.first) / self.count.saturating_sub(1).max(1);
        now.since(self.last) > (apart * 3).clamp(60_000, 300_000)
    }
}

/// The state of log collection and its groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogSummary {
    pub at: Stamp,
    pub following: u32,
    /// How many pods could be followed.
    pub candidates: u32,
    pub lines: u64,
    /// The number of lines that were lost before they were counted, because of a rate limit or a full buffer.
    pub dropped: u64,
    pub groups: Arc<[Arc<ErrorGroup>]>,
}
