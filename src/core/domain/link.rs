//! How the console is connected to a cluster. The sources tell how current the data of a connected one is.

use super::id::Name;
use super::time::Stamp;

/// The connection to a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// There is a connection.
    #[default]
    Open,
    /// The kubeconfig and the credentials are read, for which a plugin can run. Nothing was sent to the cluster yet.
    Opening { since: Stamp },
    /// There is no connection. It is tried again at `next`, or when the user asks for it.
    Failed { since: Stamp, why: Name, next: Option<Stamp> },
    /// The user closed the cluster. Nothing of it is kept.
    Closed,
}

impl Link {
    /// Whether the cluster is one of those that the console shows.
    pub fn is_live(&self) -> bool {
        *self != Self::Closed
    }
}

/// A context of the kubeconfig, with the settings of the console for its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextLine {
    pub context: Name,
    /// The name that is shown for it.
    pub name: Name,
    /// The colour of its name, as a theme writes colours; empty: the theme's.
    pub colour: Name,
    /// The kubeconfig's name of the cluster.
    pub cluster: Name,
    pub user: Name,
    pub protected: bool,
    pub read_only: bool,
}
