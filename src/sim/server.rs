//! Building, starting and stopping a simulated cluster: [`Sim::start`].
//!
//! A cluster is not painted as if it were old: its workloads are founded at their times, each is let settle, the quiet
//! days between are skipped, and the last minutes before the opening are lived through with traffic and logs. So its
//! ages, revisions, events, samples and lines come from the same rules as what happens later.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::access::{self, Access, Persona};
use crate::api::{self, Api};
use crate::clock::Clock;
use crate::control::{self, Control};
use crate::engine::Engine;
use crate::labels::Labels;
use crate::listener::{Door, Peer};
use crate::logs::Notebook;
use crate::loops;
use crate::observe::{self, Observe};
use crate::resources::Res;
use crate::rng::Random;
use crate::scenario::{Scenario, cast};
use crate::store::{self, Store};
use crate::story::Story;
use crate::usage::Meter;
use crate::world::World;

/// How long what was founded in the past is lived through before the clock leaps on: every rollout is done by then.
const SETTLES: TimeDelta = TimeDelta::seconds(90);
/// The least history that is kept when a cluster of many copies makes it dear.
const LEAST_HISTORY: Duration = Duration::from_secs(60);

/// One step of traffic in the history: nobody watches it second by second.
const PAST_STEP: Duration = Duration::from_secs(5);

/// How to start a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    /// 0 takes any free port. The address is always loopback.
    pub port: u16,
    pub scenario: Scenario,
    /// The scenario's nodes and workloads are there so many times; the story concerns the first copy.
    pub scale: usize,
    /// Simulated seconds per second.
    pub factor: f64,
    /// When the cluster opens, in simulated time; `None` is now.
    pub opening: Option<DateTime<Utc>>,
    /// Controllers, kubelets, traffic and the story run. Without them the API server serves what is written to it.
    pub alive: bool,
    pub personas: Vec<Persona>,
    /// Who a request without a token is; `None` answers it with 401.
    pub anonymous: Option<String>,
    /// API groups that this cluster does not serve.
    pub hidden: Vec<String>,
    /// Changes kept per resource for watches.
    pub log: usize,
    /// A file for the audit log, in the real server's form.
    pub audit: Option<PathBuf>,
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
            audit: None,
        }
    }
}

/// The simulated cluster.
#[derive(Debug)]
pub struct Sim;

/// A cluster that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    pub addr: SocketAddr,
    pub store: Store,
    pub world: World,
    pub api: Arc<Api>,
    pub logs: Arc<Notebook>,
    pub usage: Arc<Meter>,
    control: Control,
    tasks: JoinSet<()>,
}

/// A cluster that has been built and lived through its history, but has no socket yet.
#[derive(Debug)]
struct Built {
    store: Store,
    world: World,
    logs: Arc<Notebook>,
    control: Control,
    engine: Engine,
    more: Router,
}

fn build(options: Options) -> io::Result<Built> {
    let now = Clock::real(1.0).now();
    let opening = options.opening.unwrap_or(now);
    let clock = Arc::new(Clock::manual(opening));
    let store = Store::new(clock.clone(), Arc::new(Random::new(options.seed)), options.log);
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
    cast::system(&store).map_err(io::Error::other)?;
    let mut count = 0;
    for pool in &scenario.pools {
        count = cast::nodes(&store, pool, &scenario.zones, copies, count).map_err(io::Error::other)?;
    }
    let mut engine = Engine::new(store.clone(), world.clone());
    let mut more = Router::new();
    if options.alive {
        engine.add(Box::new(story));
        engine.add(Box::new(Labels::new(&store, &world)));
        for part in loops::parts(&store, &world, &logs, &usage) {
            engine.add(part);
        }
        let mut past = times.into_iter().filter(|at| *at < lived).peekable();
        while let Some(at) = past.next() {
            // Steps that follow closely are lived through together.
            let end = past.peek().map_or(lived, |next| *next).min(at + SETTLES);
            clock.set(clock.now().max(at));
            engine.fast_forward(end);
        }
        clock.set(lived);
        let (observe, parts) = Observe::new(&store, &world, &logs, &usage, observe::Settings::default());
        for part in parts {
            engine.add(part);
        }
        observe.pace().set(PAST_STEP);
        engine.fast_forward(opening);
        observe.pace().set(observe::Settings::default().step);
        more = observe.router();
    }
    // Nobody has watched so far: the log of the past is only weight.
    for res in Res::ALL {
        store.compact(*res);
    }
    // What history took in real time is made up for at once.
    clock.set(options.opening.unwrap_or_else(|| Clock::real(1.0).now()));
    clock.set_factor(options.factor);
    Ok(Built { store, world, logs, control, engine, more })
}

impl Sim {
    /// Builds a cluster, lives through its history (which takes a moment of the caller's thread), and starts it. Its
    /// API server listens when this returns.
    pub async fn start(options: Options) -> io::Result<Running> {
        let (port, alive) = (options.port, options.alive);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let Built { store, world, logs, control, engine, more } = build(options)?;
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
            // Serving ends only with the task.
            drop(axum::serve(door, service).await);
        });
        let (api, usage) = (control.api.clone(), control.usage.clone());
        Ok(Running { addr, store, world, api, logs, usage, control, tasks })
    }
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

    /// A task that ends with the cluster: for its loops.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    /// A kubeconfig for a persona. kubectl sends no token over plain HTTP, so the path names the persona too.
    pub fn kubeconfig_as(&self, token: &str) -> String {
        let url = self.url();
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: demo\n  cluster:\n    server: {url}/as/{token}\nusers:\n\
             - name: {token}\n  user:\n    token: {token}\ncontexts:\n- name: demo\n  context:\n    cluster: demo\n    \
             user: {token}\ncurrent-context: demo\n"
        )
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
        // Connections are not tasks of ours: they end by this.
        self.control.down.send_replace(true);
    }
}
