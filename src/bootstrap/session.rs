//! A session: clusters with their sources, the hub on its thread, and the newest World.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::source::SourceState;
use pilothouse_core::domain::traffic::TrafficSeen;
use pilothouse_core::facts::event::{Event, Fact};
use pilothouse_core::facts::world::{ActionView, ClusterInfo, World};
use pilothouse_core::logs::fingerprint::Masks;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Start;
use super::cluster::{ClusterHandle, Handles, clients};
use crate::hub::{CONTROL, FACTS, Hub, Queues, Tap};
use crate::source::kube::Scope;
use crate::source::logs::LogStore;
use crate::source::prometheus::ranges::Ranges;
use crate::source::recording::{Ended, Recorder};
use crate::source::search::Catalog;
use crate::source::server::Access;
use crate::source::sink::FactSink;
use crate::source::supervise::Supervisor;
use crate::source::{self, Setup, Wanted, prometheus};
use crate::wire::client::ReadClient;
use crate::wire::connect::Connection;
use crate::wire::error::ApiError;

/// The parts that run while a console or a command reads clusters.
pub(super) struct Session {
    pub clusters: Handles,
    /// The cluster that is shown first.
    pub front: ClusterId,
    pub world: watch::Receiver<Arc<World>>,
    pub supervisor: Supervisor,
    pub control: mpsc::Sender<Event>,
    stop: CancellationToken,
    hub: Option<std::thread::JoinHandle<()>>,
}

/// The cluster of the first context, which is the only one of a headless command.
pub(super) const FIRST: ClusterId = ClusterId(0);

/// Returns the fixed data about the cluster of a connection.
pub(super) fn info(start: &Start, id: ClusterId, connection: &Connection) -> ClusterInfo {
    ClusterInfo {
        id,
        context: connection.context.as_str().into(),
        kubeconfig_user: connection.user.as_str().into(),
        server: connection.server.as_str().into(),
        by_address: start.is_demo(),
        protected: start.settings.guards.protects_context(&connection.context),
        read_only: start.settings.guards.read_only,
        replayed: false,
        namespaces: namespaces(start).into(),
        haproxy: start.settings.haproxy.clone().into(),
        dashboard: start.settings.traffic.grafana_url.as_str().into(),
        alertmanager: super::alertmanager::url(&start.settings.alertmanager.server),
        silences: start.settings.silences.clone().into(),
        balancing: Arc::new(start.settings.traffic.balancing.clone()),
    }
}

/// Returns the requested namespaces, each once. The list is empty for all namespaces.
pub(super) fn namespaces(start: &Start) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    for name in start.global.namespace.iter().map(|n| n.trim()).filter(|n| !n.is_empty()) {
        if !names.iter().any(|held| held == name) {
            names.push(name.into());
        }
    }
    names
}

impl Session {
    /// Starts the session without waiting. `writes` tells whether actions are possible. The hub's thread passes every
    /// event to `tap`, and calls `publish` with each new World.
    pub(super) fn open(
        start: &Start,
        connection: Connection,
        writes: bool,
        past: Vec<Arc<ActionView>>,
        wanted: Wanted,
        tap: Option<Tap>,
        mut publish: impl FnMut(&Arc<World>) + Send + 'static,
    ) -> Result<Self, String> {
        let (facts, facts_in) = mpsc::channel(FACTS);
        let (control, control_in) = mpsc::channel(CONTROL);
        let supervisor = Supervisor::new();
        let (world_out, world) = watch::channel(Arc::new(World::default()));
        let infos = vec![info(start, FIRST, &connection)];
        let hub = Hub::new(infos.clone(), past, start.clock.clone(), move |world: Arc<World>| {
            publish(&world);
            world_out.send_replace(world);
        });
        let hub = hub.tapped(tap);
        let stop = CancellationToken::new();
        let hub = hub_thread(hub, Queues { facts: facts_in, control: control_in }, stop.clone())?;
        let open = |(info, connection): (ClusterInfo, Connection)| {
            let sink = FactSink::new(info.id, start.clock.clone(), facts.clone(), control.clone());
            let plan = Opening { writes, wanted, world: &world };
            cluster(start, info, connection, &plan, sink, supervisor.child())
        };
        let clusters = infos.into_iter().zip([connection]).map(open).collect::<Result<Handles, String>>()?;
        Ok(Self { clusters, front: FIRST, world, supervisor, control, stop, hub: Some(hub) })
    }

    /// Returns the handle of the cluster that is shown first.
    pub(super) fn shown(&self) -> Result<&ClusterHandle, String> {
        self.clusters.get(self.front)
    }

    /// Stops the sources and then the hub, within about `within`.
    pub(super) async fn close(mut self, within: Duration) {
        if !self.supervisor.shutdown(within).await {
            tracing::warn!("some tasks did not stop in time");
        }
        self.stop.cancel();
        if let Some(hub) = self.hub.take()
            && hub.join().is_err()
        {
            tracing::error!("the hub ended by a panic");
        }
    }
}

/// What a cluster is opened for.
struct Opening<'a> {
    /// Whether actions can be done.
    writes: bool,
    wanted: Wanted,
    world: &'a watch::Receiver<Arc<World>>,
}

/// Opens a cluster: its clients and its sources.
fn cluster(
    start: &Start,
    info: ClusterInfo,
    connection: Connection,
    opening: &Opening<'_>,
    sink: FactSink,
    sources: Supervisor,
) -> Result<ClusterHandle, String> {
    let reader = connection.reader().map_err(|e| e.to_string())?;
    let of_logs = &start.settings.logs;
    let memory = of_logs.memory_mib as usize * 1024 * 1024;
    let logs = Arc::new(LogStore::with_masks(memory, Masks::of(of_logs)));
    // a headless command shows no trends
    let ranges = Ranges::new(opening.writes);
    let setup = Setup {
        connection: &connection,
        reader: &reader,
        scope: Scope { namespaces: info.namespaces.to_vec() },
        settings: &start.settings,
        world: opening.world,
        lines: &logs,
        twice: &Arc::default(),
        ranges: &ranges,
        pods: &watch::channel(None).0,
        sink: &sink,
        supervisor: &sources,
    };
    let started = source::start(&setup, opening.wanted)?;
    let clients = clients(start, info.id, &connection, reader, opening.writes)?;
    let resources = Arc::default();
    Ok(ClusterHandle { info, connection, clients, sources, sink, started, logs, resources, ranges })
}

/// Returns a message if the server reports that a requested namespace does not exist, because an empty result must
/// not look like a healthy one. Returns `None` if the user may not read namespaces.
pub(super) async fn no_such_namespace(start: &Start, connection: &Connection) -> Option<String> {
    let reader = connection.reader().ok()?;
    let names = namespaces(start);
    let asked = names.iter().map(|name| {
        let path = format!("/api/v1/namespaces/{}", crate::wire::client::escape(name));
        let reader = &reader;
        async move {
            // only a Status counts, and not the page of a server that has no namespaces at all
            let answer = reader.get_bytes(&path, 1 << 20).await;
            matches!(answer, Err(ApiError::NotFound { status: true, .. }))
        }
    });
    let missing = futures::future::join_all(asked).await;
    let missing: Vec<&str> =
        names.iter().zip(missing).filter(|(_, gone)| *gone).map(|(name, _)| name.as_str()).collect();
    (!missing.is_empty())
        .then(|| format!("there is no namespace {} in {}", missing.join(", "), connection.context))
}

/// The polls of the traffic, without the other sources.
pub(super) struct Traffic {
    pub seen: watch::Receiver<Arc<TrafficSeen>>,
    /// Whether the source fails.
    pub fails: watch::Receiver<bool>,
}

/// Starts only the polls of the traffic, for a headless action that watches an error ratio.
pub(super) fn traffic(start: &Start, reader: ReadClient, supervisor: &Supervisor) -> Result<Traffic, String> {
    let (facts, mut facts_in) = mpsc::channel(FACTS);
    let (control, mut control_in) = mpsc::channel(CONTROL);
    let sink = FactSink::new(FIRST, start.clock.clone(), facts, control);
    let (out, seen) = watch::channel(Arc::new(TrafficSeen::default()));
    let (failing, fails) = watch::channel(false);
    supervisor.spawn_once(async move {
        while let Some(event) = control_in.recv().await {
            if let Fact::Source(status) = event.fact {
                failing.send_replace(!matches!(status.state, SourceState::Starting | SourceState::Live));
            }
        }
    });
    supervisor.spawn_once(async move {
        while let Some(event) = facts_in.recv().await {
            if let Fact::Traffic(seen) = event.fact {
                out.send_replace(Arc::new(seen));
            }
        }
    });
    if prometheus::off(&start.settings).is_none() {
        let catalog = Catalog::Listed { reader: reader.clone(), namespaces: namespaces(start) };
        let access = Access { reader, catalog };
        let ranges = Ranges::default();
        prometheus::start(&start.settings.prometheus, || access, &ranges, &sink, supervisor)?;
    }
    Ok(Traffic { seen, fails })
}

/// Opens the recording that `--record` asks for. `ended` is called if it ends too early.
pub(super) fn recorder(start: &Start, connection: &Connection, ended: Ended) -> Result<Option<Tap>, String> {
    let Some(path) = &start.global.record else { return Ok(None) };
    let mut recorder = Recorder::create(path, vec![connection.context.clone()], ended)?;
    Ok(Some(Box::new(move |event: &Event| recorder.record(event))))
}

pub(super) fn hub_thread<P: FnMut(Arc<World>) + Send + 'static>(
    hub: Hub<P>,
    queues: Queues,
    stop: CancellationToken,
) -> Result<std::thread::JoinHandle<()>, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|e| e.to_string())?;
    std::thread::Builder::new()
        .name("hub".into())
        .spawn(move || runtime.block_on(hub.run(queues, stop)))
        .map_err(|e| format!("the hub's thread cannot be started: {e}"))
}
