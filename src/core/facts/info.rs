//! What is known of a cluster besides its objects: the context, the guards, and the settings of the config for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::history::Limit;
use crate::domain::haproxy::HaproxySettings;
use crate::domain::id::{ClusterId, Name};
use crate::domain::silence::Silence;
use crate::domain::traffic::Policy;

/// The values of a cluster that are fixed once it is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    pub id: ClusterId,
    pub context: Name,
    /// The name of the config for it; empty: the context.
    pub alias: Name,
    /// The colour of its name, as a theme writes colours; empty: the theme's.
    pub colour: Name,
    /// The kubeconfig's user entry, which is shown until the server has told our user name.
    pub kubeconfig_user: Name,
    pub server: Name,
    /// The context is in none of the user's kubeconfigs (a demo's context), so other tools need the cluster's address.
    pub by_address: bool,
    pub protected: bool,
    pub read_only: bool,
    /// The facts come from a recording.
    pub replayed: bool,
    /// The namespaces that the user asked for; empty: all.
    pub namespaces: Arc<[Name]>,
    /// The config names a Prometheus, but only for the first cluster, and this is another one.
    pub is_unmeasured: bool,
    /// The HAProxies of the config.
    pub haproxy: Arc<[HaproxySettings]>,
    /// The URL of a Service's dashboard from the config, with `$namespace` and `$service`; empty: none.
    pub dashboard: Name,
    /// The URL of the Alertmanager from the config, without credentials; empty: none.
    pub alertmanager: Name,
    /// The silences from the config.
    pub silences: Arc<[Silence]>,
    /// The balancing policies from the config, by `NAMESPACE/NAME` or a glob for it.
    pub balancing: Arc<BTreeMap<String, Policy>>,
    /// How much of the past is kept.
    pub history: Limit,
}

impl ClusterInfo {
    /// The name that is shown.
    pub fn name(&self) -> &Name {
        if self.alias.is_empty() { &self.context } else { &self.alias }
    }
}
