//! A session: clusters with their sources, the hub on its thread, and the newest World.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::settings::ClusterSettings;
use pilothouse_core::domain::source::SourceState;
use pilothouse_core::domain::text;
use pilothouse_core::domain::traffic::TrafficSeen;
use pilothouse_core::facts::event::{Event, Fact};
use pilothouse_core::facts::history::Limit;
use pilothouse_core::facts::world::{ActionView, ClusterInfo, World};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Start;
use super::cluster::{ClusterHandle, Handles};
use super::opening::{Basis, Opener, Parts, RETRY};
use crate::hub::{CLUSTERS, CONTROL, FACTS, Hub, Queues, Tap};
use crate::source::logs::shares::Shares;
use crate::source::prometheus::ranges::Ranges;
use crate::source::recording::{Ended, Recorder};
use crate::source::search::Catalog;
use crate::source::server::Access;
use crate::source::sink::FactSink;
use crate::source::supervise::Supervisor;
use crate::source::{Wanted, prometheus};
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
    /// Opens and closes clusters.
    pub opener: Opener,
    stop: CancellationToken,
    hub: Option<std::thread::JoinHandle<()>>,
}

/// The cluster of the first context, which is the only one of a headless command.
pub(super) const FIRST: ClusterId = ClusterId(0);

/// Returns what is known about a cluster: from the settings, and from the connection when there is one.
pub(super) fn info(
    basis: &Basis,
    id: ClusterId,
    of: &ClusterSettings,
    connection: Option<&Connection>,
) -> ClusterInfo {
    let (settings, name) = (&of.settings, text::clean(&of.name));
    ClusterInfo {
        id,
        context: of.context.as_str().into(),
        alias: if of.name == of.context { Name::default() } else { Name::from(&*name) },
        colour: of.colour.as_str().into(),
        kubeconfig_user: connection.map_or_else(Name::default, |c| c.user.as_str().into()),
        server: connection.map_or_else(Name::default, |c| c.server.as_str().into()),
        by_address: basis.is_demo,
        protected: settings.guards.protects_context(&of.context),
        read_only: settings.guards.reads_only(&of.context),
        replayed: false,
        namespaces: basis.namespaces.clone().into(),
        is_unmeasured: settings.prometheus.server.is_left_out,
        haproxy: settings.haproxy.clone().into(),
        dashboard: settings.traffic.grafana_url.as_str().into(),
        alertmanager: super::alertmanager::url(&settings.alertmanager.server),
        silences: settings.silences.clone().into(),
        balancing: Arc::new(settings.traffic.balancing.clone()),
        history: Limit(settings.history.memory_mib as usize * 1024 * 1024),
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

/// What a session begins with.
pub(super) enum Begin {
    /// One cluster, which is connected.
    Connected(ClusterSettings, Box<Connection>),
    /// Several clusters, which are connected while the session runs. The first one is shown.
    Chosen(Vec<ClusterSettings>),
}

impl Begin {
    /// Returns the contexts, for a recording.
    pub(super) fn contexts(&self) -> Vec<String> {
        match self {
            Self::Connected(of, _) => vec![of.context.clone()],
            Self::Chosen(all) => all.iter().map(|of| of.context.clone()).collect(),
        }
    }

    fn first(&self) -> &str {
        match self {
            Self::Connected(of, _) => &of.context,
            Self::Chosen(all) => all.first().map_or("", |of| &of.context),
        }
    }
}

/// What a session is opened for.
pub(super) struct Purpose {
    /// Whether actions are possible.
    pub writes: bool,
    pub wanted: Wanted,
    /// Receives every event on the hub's thread.
    pub tap: Option<Tap>,
    /// Tells the user what was noticed while a cluster was opened.
    pub tell: Box<dyn Fn(String) + Send + Sync>,
}

impl Session {
    /// Starts a session of one connected cluster without waiting. `writes` tells whether actions are possible. The hub's
    /// thread passes every event to `tap`, and calls `publish` with each new World.
    pub(super) fn open(
        start: &Start,
        connection: Connection,
        writes: bool,
        past: Vec<Arc<ActionView>>,
        wanted: Wanted,
        tap: Option<Tap>,
        publish: impl FnMut(&Arc<World>) + Send + 'static,
    ) -> Result<Self, String> {
        let of = start.settings.of_cluster(&connection.context, true);
        let purpose = Purpose { writes, wanted, tap, tell: Box::new(|_| ()) };
        Self::begin(start, Begin::Connected(of, Box::new(connection)), past, purpose, publish)
    }

    /// Starts a session without waiting. The hub's thread calls `publish` with each new World.
    pub(super) fn begin(
        start: &Start,
        begin: Begin,
        past: Vec<Arc<ActionView>>,
        purpose: Purpose,
        mut publish: impl FnMut(&Arc<World>) + Send + 'static,
    ) -> Result<Self, String> {
        let (facts, facts_in) = mpsc::channel(FACTS);
        let (control, control_in) = mpsc::channel(CONTROL);
        let (changes, changes_in) = mpsc::channel(CLUSTERS);
        let (supervisor, clusters) = (Supervisor::new(), Handles::default());
        let (world_out, world) = watch::channel(Arc::new(World::default()));
        let basis = start.basis(begin.first());
        let infos = match &begin {
            Begin::Connected(of, connection) => vec![info(&basis, FIRST, of, Some(connection))],
            Begin::Chosen(all) => {
                let ids = (0u16..).map(ClusterId);
                ids.zip(all).map(|(id, of)| basis.info(id, &of.context)).collect()
            }
        };
        let hub = Hub::new(infos, past, start.clock.clone(), move |world: Arc<World>| {
            publish(&world);
            world_out.send_replace(world);
        });
        let hub = hub.tapped(purpose.tap);
        let hub = match &begin {
            Begin::Connected(..) => hub,
            Begin::Chosen(all) => {
                hub.opening(all.iter().map(|of| start.dialer().clock_of(&of.context)).collect())
            }
        };
        let stop = CancellationToken::new();
        let queues = Queues { facts: facts_in, control: control_in, clusters: changes_in };
        let hub = hub_thread(hub, queues, stop.clone())?;
        // one cluster has the limits for itself, and a headless command gets its part in the settings
        let logs = match &begin {
            Begin::Connected(of, _) => of.settings.logs.clone(),
            Begin::Chosen(_) => start.settings.logs.clone(),
        };
        let opener = Opener::new(Parts {
            basis,
            wanted: purpose.wanted,
            writes: purpose.writes,
            clusters: clusters.clone(),
            facts,
            control: control.clone(),
            changes,
            world: world.clone(),
            supervisor: supervisor.clone(),
            memory: Shares::new(logs.memory_mib as usize * 1024 * 1024),
            streams: Shares::new(logs.max_streams as usize),
            tell: purpose.tell,
            retry: RETRY,
        });
        match begin {
            Begin::Connected(of, connection) => {
                opener.add(&of, *connection)?;
            }
            Begin::Chosen(all) => all.into_iter().for_each(|of| opener.begin(of)),
        }
        Ok(Self { clusters, front: FIRST, world, supervisor, control, opener, stop, hub: Some(hub) })
    }

    /// Returns the handle of the cluster that is shown first.
    pub(super) fn shown(&self) -> Result<ClusterHandle, String> {
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

/// Returns a message if the server reports that a requested namespace does not exist, because an empty result must
/// not look like a healthy one. Returns `None` if the user may not read namespaces.
pub(super) async fn no_such_namespace(start: &Start, connection: &Connection) -> Option<String> {
    none_of(&namespaces(start), connection).await
}

/// The same for these namespaces.
pub(super) async fn none_of(names: &[Name], connection: &Connection) -> Option<String> {
    let reader = connection.reader().ok()?;
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
    recorder_of(start, vec![connection.context.clone()], ended)
}

/// The same for several clusters, in the order of their IDs.
pub(super) fn recorder_of(start: &Start, contexts: Vec<String>, ended: Ended) -> Result<Option<Tap>, String> {
    let Some(path) = &start.global.record else { return Ok(None) };
    let clusters = contexts.len();
    let mut recorder = Recorder::create(path, contexts, ended)?;
    Ok(Some(Box::new(move |event: &Event| {
        // a cluster that was opened later is not in the recording
        if usize::from(event.cluster.0) < clusters {
            recorder.record(event);
        }
    })))
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
