//! The data that a rehearsal could not read.

use serde::{Deserialize, Serialize};

use crate::domain::id::Name;
use crate::domain::text::few;

/// Data that a rehearsal could not read. The plan was made without it, like kubectl does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unread {
    pub what: Lacking,
    /// The namespaces that could not be read. Empty for the whole cluster.
    pub namespaces: Vec<Name>,
    /// The server's error.
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lacking {
    /// The PodDisruptionBudgets. The eviction API respects them even if they cannot be read.
    Budgets,
    /// The Services and their endpoints.
    Services,
    /// The DaemonSets that own pods.
    DaemonSets,
    /// The pods of a node.
    Pods,
}

impl Lacking {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Budgets => "budgets",
            Self::Services => "services",
            Self::DaemonSets => "daemonsets",
            Self::Pods => "pods",
        }
    }
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} not readable", self.what.as_str())?;
        if !self.namespaces.is_empty() {
            write!(f, " in {}", few(&self.namespaces))?;
        }
        if !self.why.is_empty() {
            write!(f, " ({})", self.why)?;
        }
        f.write_str(match self.what {
            Lacking::Budgets => ": evictions may wait",
            Lacking::Services => ": some of them may lose endpoints",
            Lacking::DaemonSets => ": they may not exist any more",
            Lacking::Pods => ": it is not known which pods are deleted",
        })
    }
}
