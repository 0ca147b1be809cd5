//! Building, starting and stopping a simulated cluster: [`Sim::start`].
//!
//! A cluster does not only claim to be old: its workloads are created at their times, each is run until it is stable,
//! the quiet days between are skipped, and the last minutes before the opening are simulated with traffic and logs. So
//! its ages, revisions, events, samples and lines come from the same rules as everything later.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::access::{self, Access, Persona};
use crate::api::{self, Api};
use crate::clock::Clock;
use crate::control::{self, Control};
use crate::engine::{Engine, Part};
use crate::labels::Labels;
use crate::listener::{Door, Peer};
use crate::logs::Notebook;
use crate::loops;
use crate::observe::{self, Observe};
use crate::resources::Res;
use crate::rng::Random;
use crate::scenario::fleet::ALONE;
use crate::scenario::{Scenario, cast};
use crate::store::{self, Object, Store};
use crate::story::Story;
use crate::usage::Meter;
use crate::world::World;

/// Maximum simulated time after objects were created in the past, before the clock is moved on; every rollout is
/// complete by then. Most are complete much earlier, which is checked at such intervals.
const SETTLES: TimeDelta = TimeDelta::seconds(90);
/// Older changes leave no events.
const EVENTS: TimeDelta = TimeDelta::hours(1);
const LOOK: TimeDelta = TimeDelta::seconds(3);
/// The minimum history of a cluster with many copies, where history is expensive.
const LEAST_HISTORY: Duration = Duration::from_secs(60);

/// From this number of copies on, samples are kept for a shorter time, because they would use most of the memory.
const MANY: usize = 8;
const SHORT_RETENTION: Duration = Duration::from_secs(900);
/// The length of the watch log grows with the cluster: changes kept per copy of the scenario.
const LOG_PER_COPY: usize = 32;

/// The largest jump of the clock that no part of the cluster notices.
const UNNOTICED: TimeDelta = TimeDelta::milliseconds(100);

/// The length of a step of traffic in the history, which nobody watches second by second.
const PAST_STEP: Duration = Duration::from_secs(5);

/// The options of a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    /// 0 takes any free port. The address is always loopback.
    pub port: u16,
    pub scenario: Scenario,
    /// How many copies of the scenario's nodes and workloads exist; the story affects the first copy.
    pub scale: usize,
    /// Simulated seconds per second.
    pub factor: f64,
    /// When the cluster opens, in simulated time; `None` is now.
    pub opening: Option<DateTime<Utc>>,
    /// Whether controllers, kubelets, traffic and the story run. Otherwise the API server only serves the objects that
    /// are written to it.
    pub alive: bool,
    pub personas: Vec<Persona>,
    /// The user of a request without a token; `None` answers it with 401.
    pub anonymous: Option<String>,
    /// API groups that this cluster does not serve.
    pub hidden: Vec<String>,
    /// Number of changes that are kept per resource for watches; more in a cluster with many copies.
    pub log: usize,
    /// The name of its cluster and context in a kubeconfig.
    pub name: String,
    /// A file for the audit log, in the real server's form.
    pub audit: Option<PathBuf>,
    /// Whether the cluster has a Service for its Prometheus, which the API server's proxy leads to.
    pub monitored: bool,
    /// Observes how a cluster is built.
    pub probe: Option<Probe>,
}

/// Measures the construction of a cluster from outside.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Is called at the end of each phase with its name.
    pub phase: fn(&str, &Store),
    /// Can wrap each part of the engine, to measure its time.
    pub part: fn(Box<dyn Part>) -> Box<dyn Part>,
}

impl Options {
    pub fn new(scenario: Scenario) -> Self {
        Self {
            seed: 1,
            port: 0,
            scenario,
            scale: 1,
            factor: 1.0,
            opening: None,
            alive: true,
            personas: access::personas(),
            anonymous: Some("admin".to_owned()),
            hidden: Vec::new(),
            log: store::LOG,
            name: ALONE.to_owned(),
            audit: None,
            monitored: false,
            probe: None,
        }
    }
}

/// The simulated cluster.
#[derive(Debug)]
pub struct Sim;

/// A running cluster. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    pub name: String,
    pub addr: SocketAddr,
    pub store: Store,
    pub world: World,
    pub api: Arc<Api>,
    pub logs: Arc<Notebook>,
    pub usage: Arc<Meter>,
    /// None if the loops do not run.
    pub observe: Option<Observe>,
    control: Control,
    tasks: JoinSet<()>,
}

/// A cluster that was built and whose history was simulated, but which has no socket yet.
#[derive(Debug)]
pub struct Built {
    pub store: Store,
    pub world: World,
    pub logs: Arc<Notebook>,
    control: Control,
    pub engine: Engine,
    /// None if the loops do not run.
    pub observe: Option<Observe>,
}

/// Whether every pod is ready or completed, and no rollout is in progress.
fn is_settled(store: &Store) -> bool {
    let done = |pod: &Arc<Object>| {
        !pod.is_terminating()
            && (pod.condition("Ready") == Some("True")
                || matches!(pod.text("/status/phase"), "Succeeded" | "Failed"))
    };
    let rolled = |one: &Arc<Object>| {
        let wanted = one.int("/spec/replicas").unwrap_or(1);
        let has = |field: &str| one.at("/status").get(field).and_then(Value::as_i64).unwrap_or_default();
        one.int("/status/observedGeneration") == Some(one.generation())
            && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| has(field) == wanted)
    };
    [Res::Deployments, Res::StatefulSets].iter().all(|res| store.list(*res, None).iter().all(rolled))
        && store.list(Res::Pods, None).iter().all(done)
}

/// Simulates time until the created objects are stable, at most until `end`.
fn settle(engine: &mut Engine, store: &Store, end: DateTime<Utc>) {
    const LOOKED_AT: [Res; 5] = [Res::Pods, Res::Deployments, Res::StatefulSets, Res::DaemonSets, Res::Jobs];
    loop {
        let before = store.newest(&LOOKED_AT);
        let now = store.clock().now();
        if now >= end {
            return;
        }
        engine.live_through((now + LOOK).min(end));
        if store.newest(&LOOKED_AT) == before && is_settled(store) {
            return;
        }
    }
}

/// Builds a cluster and simulates its history. Its clock then stands still, unless the options let it run.
pub fn build(options: Options) -> io::Result<Built> {
    // A whole second: objects have times in seconds, and a fraction would make stories differ by the time of their
    // start.
    let opening = options.opening.unwrap_or_else(|| Clock::real(1.0).now()).trunc_subsecs(0);
    let clock = Arc::new(Clock::manual(opening));
    let store = Store::new(clock.clone(), Arc::new(Random::new(options.seed)), store::UNBOUNDED);
    let world = World::default();
    let (logs, usage) = (Arc::new(Notebook::new(2000)), Arc::new(Meter::default()));
    let access = Access::new(options.personas, options.anonymous);
    let mut api = Api::new(store.clone(), access, logs.clone(), usage.clone());
    api.hidden = options.hidden;
    if let Some(path) = &options.audit {
        api.audit.write_to(path)?;
    }
    let control = Control {
        api: Arc::new(api),
        down: Arc::new(watch::Sender::new(false)),
        lift: Arc::new(watch::Sender::new(0.0)),
        usage: usage.clone(),
        world: world.clone(),
        wishes: Arc::default(),
    };
    let (scenario, copies) = (&options.scenario, options.scale.max(1));
    world.change(|state| state.others = Arc::new(scenario.others.clone()));
    let story = Story::new(&store, &world, &control, scenario, copies, opening);
    let times = story.times();
    let history = (scenario.history / u32::try_from(copies).unwrap_or(u32::MAX))
        .max(LEAST_HISTORY.min(scenario.history));
    let lived = opening - TimeDelta::from_std(history).unwrap_or_default();
    let founded = times.first().map_or(lived, |first| (*first).min(lived)) - TimeDelta::days(1);
    clock.set(founded);
    store.set_sparing(copies >= MANY);
    cast::system(&store).map_err(io::Error::other)?;
    if options.monitored {
        cast::monitoring(&store).map_err(io::Error::other)?;
    }
    let mut count = 0;
    for pool in &scenario.pools {
        count = cast::nodes(&store, pool, &scenario.zones, copies, count).map_err(io::Error::other)?;
    }
    let mut engine = Engine::new(store.clone(), world.clone());
    let mut observed = None;
    let probe = options.probe;
    let reached = |phase: &str| {
        if let Some(probe) = &probe {
            (probe.phase)(phase, &store);
        }
    };
    let seat = |part: Box<dyn Part>| match probe {
        Some(probe) => (probe.part)(part),
        None => part,
    };
    if options.alive {
        let mut parts: Vec<Box<dyn Part>> = vec![Box::new(story), Box::new(Labels::new(&store, &world))];
        parts.extend(loops::parts(&store, &world, &logs, &usage));
        for part in parts {
            engine.add(seat(part));
        }
        reached("nodes");
        let mut past = times.into_iter().filter(|at| *at < lived).peekable();
        while let Some(at) = past.next() {
            // Steps that follow closely are simulated together.
            let end = past.peek().map_or(lived, |next| *next).min(at + SETTLES);
            clock.set(clock.now().max(at));
            store.set_past(at + SETTLES + EVENTS < opening);
            settle(&mut engine, &store, end);
        }
        store.set_past(false);
        reached("founding");
        clock.set(lived);
        let mut settings = observe::Settings::default();
        if copies >= MANY {
            settings.retention = SHORT_RETENTION;
        }
        let (observe, parts) = Observe::new(&store, &world, &logs, &usage, settings);
        for part in parts {
            engine.add(seat(part));
        }
        observe.pace().set(PAST_STEP);
        engine.live_through(opening);
        observe.pace().set(observe::Settings::default().step);
        if options.opening.is_none() {
            // The real time that building took is simulated too, and then the time that this took. If the machine is
            // not clearly faster than the cluster's time, the rest is skipped.
            let behind = || Clock::real(1.0).now() - clock.now();
            let (mut before, mut left) = (TimeDelta::MAX, behind());
            while left > UNNOTICED && left < before / 2 {
                engine.live_through(clock.now() + left);
                (before, left) = (left, behind());
            }
        }
        observed = Some(observe);
        reached("history");
    }
    // No client has watched so far, so the log of the past is not needed.
    store.forget();
    store.open();
    store.keep(if copies > 1 { options.log.max(LOG_PER_COPY * copies) } else { options.log });
    clock.set(options.opening.unwrap_or_else(|| Clock::real(1.0).now()));
    clock.set_factor(options.factor);
    reached("opening");
    Ok(Built { store, world, logs, control, engine, observe: observed })
}

impl Sim {
    /// Builds a cluster, simulates its history (which blocks the caller's thread for a moment), and starts it. Its API
    /// server listens when this returns.
    pub async fn start(options: Options) -> io::Result<Running> {
        let (port, alive, name) = (options.port, options.alive, options.name.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let Built { store, world, logs, control, engine, observe } = build(options)?;
        let more = observe.as_ref().map(Observe::router).unwrap_or_default();
        control.api.inside.get_or_init(|| more.clone());
        let addr = listener.local_addr()?;
        let door = Door::new(listener, control.down.subscribe())?;
        let kubernetes = Router::new().fallback(api::handle).with_state(control.api.clone());
        let router: Router = kubernetes.merge(control::router(control.clone())).merge(more);
        let mut tasks = JoinSet::new();
        tasks.spawn(control::lift_outages(control.clone()));
        if alive {
            tasks.spawn(engine.run());
        }
        let service = router.into_make_service_with_connect_info::<Peer>();
        tasks.spawn(async move {
            // The server runs until its task ends.
            drop(axum::serve(door, service).await);
        });
        let (api, usage) = (control.api.clone(), control.usage.clone());
        Ok(Running { name, addr, store, world, api, logs, usage, observe, control, tasks })
    }
}

/// The first line of a kubeconfig that is written here.
pub const WRITTEN: &str = "# a simulated cluster";

/// A kubeconfig of clusters, each with its name and URL, for one persona. The first context is the current one.
pub fn kubeconfig<'a>(clusters: impl IntoIterator<Item = (&'a str, &'a str)>, token: &str) -> String {
    let (mut servers, mut contexts, mut current) = (String::new(), String::new(), None);
    for (name, url) in clusters {
        current.get_or_insert(name);
        servers.push_str(&format!("- name: {name}\n  cluster:\n    server: {url}/as/{token}\n"));
        contexts.push_str(&format!("- name: {name}\n  context:\n    cluster: {name}\n    user: {token}\n"));
    }
    let current = current.unwrap_or(ALONE);
    format!(
        "{WRITTEN}\napiVersion: v1\nkind: Config\nclusters:\n{servers}users:\n- name: {token}\n  user:\n    token: {token}\n\
         contexts:\n{contexts}current-context: {current}\n"
    )
}

impl Running {
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The base URL of the cluster's Prometheus.
    pub fn prometheus(&self) -> String {
        format!("{}/prometheus", self.url())
    }

    /// The base URL of its Alertmanager.
    pub fn alertmanager(&self) -> String {
        format!("{}/alertmanager", self.url())
    }

    /// The base URL of its Loki.
    pub fn loki(&self) -> String {
        format!("{}/loki-gateway", self.url())
    }

    /// Runs a task until the cluster ends, for its loops.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    /// A kubeconfig for a persona. kubectl sends no token over plain HTTP, so the path names the persona too.
    pub fn kubeconfig_as(&self, token: &str) -> String {
        kubeconfig([(self.name.as_str(), self.url().as_str())], token)
    }

    /// The kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_as("admin")
    }

    /// Writes a kubeconfig that unmodified kubectl can use.
    pub fn write_kubeconfig(&self, path: &Path, token: &str) -> io::Result<()> {
        std::fs::write(path, self.kubeconfig_as(token))
    }

    /// Ends everything and waits until it has ended.
    pub async fn stop(mut self) {
        self.control.down.send_replace(true);
        self.tasks.shutdown().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Connections are not tasks of ours; this ends them.
        self.control.down.send_replace(true);
    }
}
