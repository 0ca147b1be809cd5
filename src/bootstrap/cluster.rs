//! The handle of a cluster: everything that this process holds for one cluster. Code that sends a request uses the
//! handle of the request's cluster. No other type has a client.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::facts::world::ClusterInfo;

use super::Start;
use super::fetch::Resources;
use crate::action::cluster::{Clients, ClusterClients, Clusters};
use crate::action::control::EvictionRateLimiter;
use crate::action::haproxy::Proxies;
use crate::source::Started;
use crate::source::logs::LogStore;
use crate::source::prometheus::ranges::Ranges;
use crate::source::sink::FactSink;
use crate::source::supervise::Supervisor;
use crate::wire::client::ReadClient;
use crate::wire::connect::Connection;

/// One cluster of this process.
#[derive(Clone)]
pub struct ClusterHandle {
    /// The ID and context, what is protected, and the selected namespaces.
    pub info: ClusterInfo,
    pub connection: Connection,
    /// The clients for reading and writing, and the guards of actions.
    pub clients: ClusterClients,
    /// The sources of the cluster, which stop together.
    pub sources: Supervisor,
    /// Receives the facts of the sources.
    pub sink: FactSink,
    /// The sources that run.
    pub started: Vec<Started>,
    /// The lines of the logs that are followed automatically.
    pub logs: Arc<LogStore>,
    /// The kinds that the API server serves.
    pub resources: Arc<Resources>,
    /// Asks the Prometheus of the cluster for the screen.
    pub ranges: Ranges,
}

impl ClusterHandle {
    pub fn reader(&self) -> &ReadClient {
        &self.clients.own.reader
    }
}

/// The clusters of this process, by ID.
#[derive(Clone, Default)]
pub struct Handles(BTreeMap<ClusterId, ClusterHandle>);

impl Handles {
    /// Returns the handle of a cluster.
    pub fn get(&self, id: ClusterId) -> Result<&ClusterHandle, String> {
        self.0.get(&id).ok_or_else(|| "pilothouse is not connected to that cluster".to_owned())
    }

    /// Returns the parts of the handles that actions use.
    pub fn clients(&self) -> Clusters {
        self.0.values().map(|handle| handle.clients.clone()).collect()
    }
}

impl FromIterator<ClusterHandle> for Handles {
    fn from_iter<I: IntoIterator<Item = ClusterHandle>>(handles: I) -> Self {
        Self(handles.into_iter().map(|handle| (handle.info.id, handle)).collect())
    }
}

/// Creates the clients for a connection. `writes` is `false` for commands that only read. In read-only mode, no
/// client that can write is created.
pub(super) fn clients(
    start: &Start,
    id: ClusterId,
    connection: &Connection,
    reader: ReadClient,
    writes: bool,
) -> Result<ClusterClients, String> {
    let guards = start.settings.guards.clone();
    let writes = writes && !guards.read_only;
    let writer = if writes { Some(connection.writer().map_err(|e| e.to_string())?) } else { None };
    Ok(ClusterClients {
        id,
        context: connection.context.as_str().into(),
        own: Clients { reader, writer },
        guards,
        limiter: EvictionRateLimiter::default(),
        open: start.dialer().opener(!writes),
        proxies: Proxies::new(&start.settings.haproxy),
        alertmanager: super::alertmanager::of(&start.settings.alertmanager.server),
    })
}
