//! A simulated cluster, and the sources, the hub and the executor in front of it, in one process. Their common clock
//! moves on when all of them wait, so minutes pass in seconds, and each wait has its real length.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pilothouse::action::answers::Answers;
use pilothouse::action::cluster::PlanClients;
use pilothouse::action::executor::{
    Control, EvictionRateLimiter, Executor, Recorder as Steps, Session, new_id,
};
use pilothouse::action::journal::Journal;
use pilothouse::action::rehearse::rehearse;
use pilothouse::clock::Clock;
use pilothouse::hub::{CONTROL, FACTS, Hub, Queues, Tap, action_event};
use pilothouse::source::kube::Scope;
use pilothouse::source::logs::LogStore;
use pilothouse::source::logs::shares::Part;
use pilothouse::source::prometheus::ranges::Ranges;
use pilothouse::source::recording::Recorder;
use pilothouse::source::sink::FactSink;
use pilothouse::source::supervise::Supervisor;
use pilothouse::source::{self, Setup, Wanted};
use pilothouse::wire::connect::{ConnectOptions, Connection};
use pilothouse_core::domain::id::{ClusterId, ObjectRef};
use pilothouse_core::domain::plan::{Act, Intent};
use pilothouse_core::domain::settings::{
    AlertmanagerSettings, LogServerSettings, PrometheusSettings, ServerSettings, Settings,
};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::Event;
use pilothouse_core::facts::world::{Cluster, ClusterInfo, Outcome, World};
use pilothouse_core::plan::DataScope;
use pilothouse_sim::clock::parse;
use pilothouse_sim::scenario::Scenario;
use pilothouse_sim::server::{Options, Running, Sim};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// When the stories open.
const OPENING: &str = "2026-11-02T10:00:00Z";
/// The interval at which the product's clock is moved, so it is at most this much behind the cluster's.
const GRAIN: Duration = Duration::from_millis(50);

pub struct Stage {
    pub world: watch::Receiver<Arc<World>>,
    sim: Running,
    connection: Connection,
    control: mpsc::Sender<Event>,
    clock: Clock,
    began: Instant,
    _home: tempfile::TempDir,
}

impl Stage {
    /// Opens a scenario and connects to it with the default settings, but without its Alertmanager: the stories tell
    /// what the console finds by itself.
    pub async fn open(scenario: &str, seed: u64) -> Self {
        Self::set(scenario, seed, false, None).await
    }

    /// Opens a scenario that is not one of the files.
    pub async fn of(scenario: Scenario, seed: u64) -> Self {
        Self::put(scenario, seed, false, None).await
    }

    /// Opens a scenario and connects to it and to its Alertmanager.
    pub async fn with_alerts(scenario: &str, seed: u64) -> Self {
        Self::set(scenario, seed, true, None).await
    }

    /// Opens a scenario, connects to it and records it to a file.
    pub async fn recorded(scenario: &str, seed: u64, to: Option<&Path>) -> Self {
        Self::set(scenario, seed, false, to).await
    }

    async fn set(scenario: &str, seed: u64, alerts: bool, record: Option<&Path>) -> Self {
        Self::put(Scenario::load(scenario).unwrap(), seed, alerts, record).await
    }

    async fn put(scenario: Scenario, seed: u64, alerts: bool, record: Option<&Path>) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        // the names of actions; the jitter of polls is the supervisor's
        fastrand::seed(1);
        let opening = parse(OPENING).unwrap();
        let options = Options { opening: Some(opening), seed, ..Options::new(scenario) };
        let sim = Sim::start(options).await.unwrap();
        let began = Instant::now();
        let start = Stamp::parse(OPENING).unwrap();
        let clock = Clock::manual(start);
        let hands = clock.clone();
        tokio::spawn(async move {
            loop {
                sleep(GRAIN).await;
                hands.set(Stamp(start.0 + i64::try_from(began.elapsed().as_millis()).unwrap()));
            }
        });
        let home = tempfile::tempdir().unwrap();
        let kubeconfig = home.path().join("kubeconfig");
        sim.write_kubeconfig(&kubeconfig, "admin").unwrap();
        let options = ConnectOptions {
            kubeconfig: Some(kubeconfig),
            clock: clock.clone(),
            ..ConnectOptions::default()
        };
        let connection = Connection::open(options).await.unwrap();
        let (world, control) = look(&sim, &connection, &clock, alerts, record);
        Self { world, sim, connection, control, clock, began, _home: home }
    }

    /// Seconds since the opening.
    pub fn secs(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// The time of the opening, by the clock of the product.
    pub fn opening() -> Stamp {
        Stamp::parse(OPENING).unwrap()
    }

    pub fn cluster(&self) -> Arc<Cluster> {
        self.world.borrow().clusters.first().cloned().unwrap_or_default()
    }

    /// How many requests have failed so far, for the named Services.
    pub fn failed(&self, services: &[&str]) -> u64 {
        let truth = self.sim.observe.as_ref().unwrap().truth();
        let of = truth.services.iter().filter(|(id, _)| services.contains(&id.to_string().as_str()));
        of.map(|(_, service)| service.total.failed() + service.unrouted).sum()
    }

    /// Rehearses and runs an action, as the console does after the confirmation.
    pub async fn act(&self, act: Act, targets: Vec<ObjectRef>) {
        let cluster = self.cluster();
        let intent = Intent { cluster: cluster.info.id, context: cluster.info.context.clone(), act, targets };
        let writer = self.connection.writer().unwrap();
        let reach = PlanClients::new(ClusterId(0), self.connection.reader().unwrap(), Some(writer));
        let plan = rehearse(
            &cluster,
            &intent,
            &guards(),
            DataScope::FullCluster,
            self.clock.now(),
            &reach,
            &mut Answers::default(),
        )
        .await;
        assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
        let (tell, mut told) = mpsc::channel(64);
        let executor = Executor {
            session: Session {
                reach,
                guards: guards(),
                clock: self.clock.clone(),
                stop: CancellationToken::new(),
                limiter: EvictionRateLimiter::default(),
            },
            recorder: Steps {
                journal: Journal::nowhere().quiet(),
                clock: self.clock.clone(),
                progress: tell,
                memory_journal: true,
            },
            gauge: Arc::new(|_| None),
            user: "test".into(),
            host: "test".into(),
            follows: None,
        };
        let (control, clock) = (self.control.clone(), self.clock.clone());
        tokio::spawn(async move {
            while let Some(view) = told.recv().await {
                let at = clock.now();
                control.send(action_event(view, at)).await.unwrap();
            }
        });
        let id = new_id(&self.clock);
        let done = executor.run(id, &plan, Control::default(), None).await;
        assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
    }
}

fn guards() -> pilothouse_core::domain::settings::GuardSettings {
    pilothouse_core::domain::settings::GuardSettings::default()
}

/// The parts that a console starts for a cluster: sources, log streams and the hub.
fn look(
    sim: &Running,
    connection: &Connection,
    clock: &Clock,
    alerts: bool,
    record: Option<&Path>,
) -> (watch::Receiver<Arc<World>>, mpsc::Sender<Event>) {
    let (facts, facts_in) = mpsc::channel(FACTS);
    let (control, control_in) = mpsc::channel(CONTROL);
    let sink = FactSink::new(ClusterId(0), clock.clone(), facts, control.clone());
    // Within one instant, tasks run in any order. So what one of them draws must not depend on the others, or its polls
    // would come at other times in each run, and see other samples.
    let supervisor = Supervisor::seeded(1);
    let (world_out, world) = watch::channel(Arc::new(World::default()));
    let info = ClusterInfo {
        context: connection.context.as_str().into(),
        server: connection.server.as_str().into(),
        ..ClusterInfo::default()
    };
    let hub = Hub::new(vec![info], Vec::new(), clock.clone(), move |world: Arc<World>| {
        world_out.send_replace(world);
    });
    let tap = record.map(|path| {
        let ended = Arc::new(|why| panic!("{why}"));
        let mut recorder = Recorder::create(path, vec![connection.context.clone()], ended).unwrap();
        Box::new(move |event: &Event| recorder.record(event)) as Tap
    });
    let hub = hub.tapped(tap);
    let queues = Queues { facts: facts_in, control: control_in, clusters: mpsc::channel(1).1 };
    tokio::spawn(hub.run(queues, CancellationToken::new()));
    let prometheus =
        PrometheusSettings { server: ServerSettings::at(sim.prometheus()), ..PrometheusSettings::default() };
    // the stories tell what the logs of pods show
    let server = ServerSettings { discover: false, ..ServerSettings::default() };
    let of_alerts = if alerts { ServerSettings::at(sim.alertmanager()) } else { server.clone() };
    let alertmanager =
        AlertmanagerSettings { server: of_alerts, rules: false, ..AlertmanagerSettings::default() };
    let none = LogServerSettings { server, ..LogServerSettings::default() };
    let setup = Setup {
        connection,
        reader: &connection.reader().unwrap(),
        scope: Scope::default(),
        settings: &Settings {
            prometheus,
            alertmanager,
            loki: none.clone(),
            victorialogs: none,
            ..Settings::default()
        },
        world: &world,
        lines: &Arc::new(LogStore::new(16 << 20)),
        twice: &Arc::default(),
        streams: &Arc::new(Part::whole(50)),
        ranges: &Ranges::default(),
        pods: &watch::channel(None).0,
        sink: &sink,
        supervisor: &supervisor,
    };
    source::start(&setup, Wanted::All).unwrap();
    (world, control)
}
