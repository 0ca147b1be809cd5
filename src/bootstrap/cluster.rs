//! A cluster's handle: all that this process holds of one cluster. Whoever sends a request asks the handle of the object
//! that it is about; nothing else has a client.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::facts::world::ClusterInfo;

use super::Start;
use super::fetch::Resources;
use crate::action::cluster::{Clients, ClusterClients, Clusters};
use crate::action::control::EvictionRateLimiter;
use crate::source::Started;
use crate::source::logs::LogStore;
use crate::source::sink::FactSink;
use crate::source::supervise::Supervisor;
use crate::wire::client::ReadClient;
use crate::wire::connect::Connection;

/// One cluster of this process.
#[derive(Clone)]
pub struct ClusterHandle {
    /// Its id and context, what is protected, and the namespaces that are looked at.
    pub info: ClusterInfo,
    pub connection: Connection,
    /// The clients that read and write, and the guards of actions.
    pub clients: ClusterClients,
    /// Its sources, which end together.
    pub sources: Supervisor,
    /// Where its sources publish.
    pub sink: FactSink,
    /// Which sources run.
    pub started: Vec<Started>,
    /// The lines of the logs that are followed by themselves.
    pub logs: Arc<LogStore>,
    /// The kinds that its server has.
    pub resources: Arc<Resources>,
}

impl ClusterHandle {
    pub fn reader(&self) -> &ReadClient {
        &self.clients.own.reader
    }
}

/// The clusters of this process, by id.
#[derive(Clone, Default)]
pub struct Handles(BTreeMap<ClusterId, ClusterHandle>);

impl Handles {
    /// The handle of the cluster that something is about.
    pub fn get(&self, id: ClusterId) -> Result<&ClusterHandle, String> {
        self.0.get(&id).ok_or_else(|| "that cluster is not there".to_owned())
    }

    /// What actions use of them.
    pub fn clients(&self) -> Clusters {
        self.0.values().map(|handle| handle.clients.clone()).collect()
    }
}

impl FromIterator<ClusterHandle> for Handles {
    fn from_iter<I: IntoIterator<Item = ClusterHandle>>(handles: I) -> Self {
        Self(handles.into_iter().map(|handle| (handle.info.id, handle)).collect())
    }
}

/// The clients of a connection's cluster. `writes`: false for commands that only look; in read-only mode the client that
/// can write is never made.
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
    })
}
