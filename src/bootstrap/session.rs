//! A session: clusters with their sources, the hub on its thread, and the newest world.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::traffic::TrafficSeen;
use pilothouse_core::facts::event::{Event, Fact};
use pilothouse_core::facts::world::{ActionView, ClusterInfo, World};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Start;
use super::cluster::{ClusterHandle, Handles, clients};
use crate::hub::{CONTROL, FACTS, Hub, Queues};
use crate::source::kube::{self, Scope};
use crate::source::logs::{self, FollowPlan, LogStore, choose_while_it_changes};
use crate::source::prometheus::{self, Prometheus, PrometheusOptions};
use crate::source::sink::FactSink;
use crate::source::supervise::Supervisor;
use crate::wire::connect::Connection;
use crate::wire::env::Env;
use crate::wire::error::ApiError;

/// What runs while somebody looks.
pub struct Session {
    pub clusters: Handles,
    /// The one that is shown first.
    pub front: ClusterId,
    pub world: watch::Receiver<Arc<World>>,
    pub supervisor: Supervisor,
    pub control: mpsc::Sender<Event>,
    stop: CancellationToken,
    hub: Option<std::thread::JoinHandle<()>>,
}

/// The cluster of the first context: the only one of a headless command.
pub const FIRST: ClusterId = ClusterId(0);

/// What is pinned about the cluster of a connection.
pub fn info(start: &Start, id: ClusterId, connection: &Connection) -> ClusterInfo {
    ClusterInfo {
        id,
        context: connection.context.as_str().into(),
        kubeconfig_user: connection.user.as_str().into(),
        server: connection.server.as_str().into(),
        by_address: start.is_demo(),
        protected: start.settings.guards.protects_context(&connection.context),
        read_only: start.settings.guards.read_only,
        namespaces: namespaces(start).into(),
        silences: start.settings.silences.clone().into(),
    }
}

/// The namespaces that were asked for, each once; none = all.
pub fn namespaces(start: &Start) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    for name in start.global.namespace.iter().map(|n| n.trim()).filter(|n| !n.is_empty()) {
        if !names.iter().any(|held| held == name) {
            names.push(name.into());
        }
    }
    names
}

impl Session {
    /// Starts everything; nothing is waited for. `writes`: whether actions can be done. `publish` is called by the hub's
    /// thread with each new world.
    pub fn open(
        start: &Start,
        connection: Connection,
        writes: bool,
        past: Vec<Arc<ActionView>>,
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
        let stop = CancellationToken::new();
        let hub = hub_thread(hub, Queues { facts: facts_in, control: control_in }, stop.clone())?;
        let open = |(info, connection): (ClusterInfo, Connection)| {
            let sink = FactSink::new(info.id, start.clock.clone(), facts.clone(), control.clone());
            cluster(start, info, connection, writes, sink, supervisor.child())
        };
        let clusters = infos.into_iter().zip([connection]).map(open).collect::<Result<Handles, String>>()?;
        Ok(Self { clusters, front: FIRST, world, supervisor, control, stop, hub: Some(hub) })
    }

    /// The handle of the cluster that is shown first.
    pub fn shown(&self) -> Result<&ClusterHandle, String> {
        self.clusters.get(self.front)
    }

    /// Follows the logs of pods in trouble, as the settings allow.
    pub fn follow_logs(&mut self, start: &Start) {
        let settings = &start.settings.logs;
        if !settings.enabled {
            return;
        }
        for cluster in self.clusters.each() {
            let store = Arc::new(LogStore::new(settings.memory_mib as usize * 1024 * 1024));
            let (plan_out, plan) = watch::channel(FollowPlan::default());
            let (reader, streams) = (cluster.reader(), settings.max_streams);
            logs::start(reader, &store, &plan, streams, &cluster.sink, &cluster.sources);
            cluster.sources.spawn_once(choose_while_it_changes(
                self.world.clone(),
                cluster.info.id,
                plan_out,
                streams as usize,
                start.clock.clone(),
            ));
            cluster.logs = Some(store);
        }
    }

    /// Stops the sources, then the hub, within about `within`.
    pub async fn close(mut self, within: Duration) {
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

/// Starts the sources of a cluster.
fn cluster(
    start: &Start,
    info: ClusterInfo,
    connection: Connection,
    writes: bool,
    sink: FactSink,
    sources: Supervisor,
) -> Result<ClusterHandle, String> {
    let scope = Scope { namespaces: info.namespaces.to_vec() };
    let started = kube::start(&connection, &scope, &sink, &sources).map_err(|e| e.to_string())?;
    prometheus_from(start, &sink, &sources)?;
    let clients = clients(start, info.id, &connection, started.client, writes)?;
    let (logs, resources) = (None, Arc::default());
    Ok(ClusterHandle { info, connection, clients, sources, sink, logs, resources })
}

/// In words, if the server says that a namespace that was asked for does not exist: an empty picture must not pass
/// for a healthy one. Whoever may not ask is not told.
pub async fn no_such_namespace(start: &Start, connection: &Connection) -> Option<String> {
    let reader = connection.reader().ok()?;
    let names = namespaces(start);
    let asked = names.iter().map(|name| {
        let path = format!("/api/v1/namespaces/{}", crate::wire::client::escape(name));
        let reader = &reader;
        async move {
            // a Status, not the page of a server that knows no namespaces at all
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

/// Starts the polls of a Prometheus, if one is configured.
fn prometheus_from(start: &Start, sink: &FactSink, supervisor: &Supervisor) -> Result<(), String> {
    let settings = &start.settings.prometheus;
    if settings.url.is_empty() {
        let (sink, off) = (sink.clone(), SourceState::Off);
        let how = "no Prometheus is configured: --prometheus URL, or prometheus.url in the config";
        let name = Name::from("prometheus");
        supervisor.spawn_once(async move {
            sink.status(SourceStatus {
                name,
                state: off,
                error: Some(how.into()),
                ..SourceStatus::default()
            })
            .await;
        });
        return Ok(());
    }
    let token = match settings.token_env.as_str() {
        "" => None,
        name => Some(std::env::var(name).map_err(|_| {
            format!("prometheus.token_env names {name}, which is not set in the environment")
        })?),
    };
    let path = |text: &String| Some(text).filter(|t| !t.is_empty()).map(std::path::PathBuf::from);
    let options = PrometheusOptions {
        url: settings.url.clone(),
        token: token.map(Into::into),
        token_file: path(&settings.token_file),
        headers: settings.headers.clone(),
        ca_file: path(&settings.ca_file),
        insecure: settings.insecure,
        user_agent: concat!("pilothouse/", env!("CARGO_PKG_VERSION")).into(),
        env: Env::default(),
    };
    let client = Prometheus::new(&options).map_err(|e| e.to_string())?;
    prometheus::start(&client, settings, sink, supervisor);
    Ok(())
}

/// Only the traffic, for a headless action that watches an error ratio: polls without the rest of a session.
pub fn traffic(start: &Start, supervisor: &Supervisor) -> Result<watch::Receiver<Arc<TrafficSeen>>, String> {
    let (facts, mut facts_in) = mpsc::channel(FACTS);
    let (control, mut control_in) = mpsc::channel(CONTROL);
    let sink = FactSink::new(FIRST, start.clock.clone(), facts, control);
    let (out, traffic) = watch::channel(Arc::new(TrafficSeen::default()));
    supervisor.spawn_once(async move { while control_in.recv().await.is_some() {} });
    supervisor.spawn_once(async move {
        while let Some(event) = facts_in.recv().await {
            if let Fact::Traffic(seen) = event.fact {
                out.send_replace(Arc::new(seen));
            }
        }
    });
    prometheus_from(start, &sink, supervisor)?;
    Ok(traffic)
}

fn hub_thread<P: FnMut(Arc<World>) + Send + 'static>(
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
