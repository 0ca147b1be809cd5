//! The handle of a cluster: everything that this process holds for one cluster. Code that sends a request uses the
//! handle of the request's cluster. No other type has a client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::settings::ClusterSettings;
use pilothouse_core::facts::world::ClusterInfo;
use pilothouse_core::logs::fingerprint::Masks;
use tokio::sync::watch;

use super::fetch::Resources;
use super::opening::{Basis, Parts};
use crate::action::cluster::{Clients, ClusterClients, Clusters};
use crate::action::control::EvictionRateLimiter;
use crate::action::haproxy::Proxies;
use crate::source::kube::Scope;
use crate::source::logs::LogStore;
use crate::source::prometheus::ranges::Ranges;
use crate::source::sink::FactSink;
use crate::source::supervise::Supervisor;
use crate::source::{self, Setup, Started};
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
    /// The failover plans of the config that are for the cluster.
    pub failover: Arc<[FailoverPlan]>,
}

impl ClusterHandle {
    pub fn reader(&self) -> &ReadClient {
        &self.clients.own.reader
    }
}

/// The clusters of this process, by ID. Clones share them, so that one that is opened or closed is so for all.
#[derive(Clone, Default)]
pub struct Handles {
    all: Arc<Mutex<BTreeMap<ClusterId, ClusterHandle>>>,
    clients: Clusters,
}

impl Handles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClusterId, ClusterHandle>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the handle of a cluster.
    pub fn get(&self, id: ClusterId) -> Result<ClusterHandle, String> {
        self.lock().get(&id).cloned().ok_or_else(|| "pilothouse is not connected to that cluster".to_owned())
    }

    /// Returns the failover plans of the config, with the cluster that each is for.
    pub(super) fn failover(&self) -> Vec<(ClusterId, FailoverPlan)> {
        let of = |handle: &ClusterHandle| {
            handle.failover.iter().map(|plan| (handle.info.id, plan.clone())).collect::<Vec<_>>()
        };
        self.lock().values().flat_map(of).collect()
    }

    /// Returns the parts of the handles that actions use.
    pub fn clients(&self) -> Clusters {
        self.clients.clone()
    }

    /// Adds a cluster that was opened.
    pub fn insert(&self, handle: ClusterHandle) {
        self.clients.insert(handle.clients.clone());
        self.lock().insert(handle.info.id, handle);
    }

    /// Removes a cluster that was closed.
    pub fn remove(&self, id: ClusterId) {
        self.clients.remove(id);
        self.lock().remove(&id);
    }
}

impl FromIterator<ClusterHandle> for Handles {
    fn from_iter<I: IntoIterator<Item = ClusterHandle>>(handles: I) -> Self {
        let all = Self::default();
        for handle in handles {
            all.insert(handle);
        }
        all
    }
}

/// Opens a cluster: its clients and its sources, which belong to `sources`.
pub(super) fn cluster(
    parts: &Parts,
    of: &ClusterSettings,
    info: ClusterInfo,
    connection: Connection,
    sink: FactSink,
    sources: Supervisor,
) -> Result<ClusterHandle, String> {
    let reader = connection.reader().map_err(|e| e.to_string())?;
    let logs = Arc::new(LogStore::with_masks(parts.memory.part(), Masks::of(&of.settings.logs)));
    // a headless command shows no trends, and without a history nothing from before the start is asked for
    let ranges = Ranges::new(parts.writes && !info.history.is_off());
    let setup = Setup {
        connection: &connection,
        reader: &reader,
        scope: Scope { namespaces: info.namespaces.to_vec() },
        settings: &of.settings,
        world: &parts.world,
        lines: &logs,
        twice: &Arc::default(),
        streams: &Arc::new(parts.streams.part()),
        ranges: &ranges,
        pods: &watch::channel(None).0,
        sink: &sink,
        supervisor: &sources,
    };
    let started = source::start(&setup, parts.wanted)?;
    let clusters = parts.clusters.clients();
    let clients = clients(&parts.basis, of, info.id, &connection, (reader, &clusters), parts.writes)?;
    Ok(ClusterHandle {
        info,
        connection,
        clients,
        sources,
        sink,
        started,
        logs,
        resources: Arc::default(),
        ranges,
        failover: of.settings.failover.as_slice().into(),
    })
}

/// Creates the clients for a connection. `writes` is `false` for commands that only read. In read-only mode, no
/// client that can write is created. The clients of another context that is open among `clusters` are those of its
/// cluster.
pub(super) fn clients(
    basis: &Basis,
    of: &ClusterSettings,
    id: ClusterId,
    connection: &Connection,
    (reader, clusters): (ReadClient, &Clusters),
    writes: bool,
) -> Result<ClusterClients, String> {
    let guards = of.settings.guards.clone();
    let writes = writes && !guards.read_only;
    let writer = if writes { Some(connection.writer().map_err(|e| e.to_string())?) } else { None };
    let elsewhere = basis.dialer.opener(!writes);
    Ok(ClusterClients {
        id,
        context: connection.context.as_str().into(),
        own: Clients { reader, writer },
        clock: basis.dialer.clock_of(&of.context),
        guards,
        limiter: EvictionRateLimiter::default(),
        // what only reads must get no client that writes from another cluster
        open: if writes { clusters.opener(elsewhere) } else { elsewhere },
        proxies: Proxies::new(&of.settings.haproxy),
        alertmanager: super::alertmanager::of(&of.settings.alertmanager.server),
    })
}
