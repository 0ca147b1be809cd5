//! Several clusters are opened beside each other: one that hangs, is down, refuses the credentials or has none delays no
//! other, and one that is closed leaves nothing behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pilothouse::bootstrap::cluster::Handles;
use pilothouse::bootstrap::dialer::Dialer;
use pilothouse::bootstrap::opening::{Basis, Opened, Opener, Parts};
use pilothouse::clock::Clock;
use pilothouse::hub::{CLUSTERS, CONTROL, FACTS, Hub, Queues};
use pilothouse::source::Wanted;
use pilothouse::source::logs::shares::Shares;
use pilothouse::source::supervise::Supervisor;
use pilothouse::wire::kubeconfig::Overrides;
use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Pick, Standby};
use pilothouse_core::domain::id::{ClusterId, Kind};
use pilothouse_core::domain::link::Link;
use pilothouse_core::domain::settings::{ClusterSet, Settings};
use pilothouse_core::domain::source::SourceState;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_sim::scenario::Scenario;
use pilothouse_sim::server::{Options, Running, Sim};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How long the console may take to see a cluster, with tests beside it.
const SOON: Duration = Duration::from_secs(60);

/// The parts of a console without its screen.
struct Console {
    opener: Opener,
    dialer: Dialer,
    clusters: Handles,
    world: watch::Receiver<Arc<World>>,
    supervisor: Supervisor,
    told: watch::Receiver<Vec<String>>,
    memory: Shares,
    _sim: Running,
    home: tempfile::TempDir,
}

/// A server that accepts connections, and answers each request with this, or never.
async fn server(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            open.push(tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    if let Some(answer) = answer {
                        stream.write_all(answer.as_bytes()).await.unwrap_or_default();
                    }
                }
            }));
        }
    });
    url
}

const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 72\r\n\r\n{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"code\":401,\"reason\":\"Unauthorized\"  }";

fn plugin(folder: &Path, name: &str, script: &str) -> Value {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": path.to_str().unwrap(), "interactiveMode": "Never",
    } })
}

/// Writes a kubeconfig with the contexts of the test beside that of the simulated cluster.
async fn kubeconfig(sim: &Running, folder: &Path) -> PathBuf {
    let path = folder.join("kubeconfig");
    sim.write_kubeconfig(&path, "admin").unwrap();
    let good: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let server_of_good = good["clusters"][0]["cluster"].clone();
    let user_of_good = good["users"][0]["user"].clone();
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let at = |url: String| json!({ "server": url });
    let clusters = [
        ("good", server_of_good.clone()),
        ("hangs", at(server(None).await)),
        ("refuses", at(server(Some(UNAUTHORIZED)).await)),
        ("down", at(format!("http://{refused}"))),
        // a plugin runs for a server with TLS only
        ("tls", json!({ "server": format!("https://{refused}"), "insecure-skip-tls-verify": true })),
    ];
    // they append a line for each run, and wait while there is a file of this name
    let holds = format!("while [ -e {} ]; do sleep 0.02; done", folder.join("hold").display());
    let counted = |name: &str, then: &str| {
        plugin(folder, name, &format!("echo run >> {}; {holds}; {then}", folder.join("runs").display()))
    };
    let credential = r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t"}}'"#;
    let users = [
        ("good", user_of_good),
        ("waits", plugin(folder, "waits", "sleep 600")),
        ("fails", plugin(folder, "fails", "echo the token has expired >&2; exit 3")),
        ("later", counted("later", "exit 3")),
        ("slow", counted("slow", credential)),
    ];
    let contexts = [
        ("good", "good", "good"),
        ("again", "good", "good"),
        ("hangs", "hangs", "good"),
        ("refuses", "refuses", "good"),
        ("down", "down", "good"),
        ("waits", "tls", "waits"),
        ("fails", "tls", "fails"),
        ("later", "tls", "later"),
        ("slow", "tls", "slow"),
    ];
    let named = |list: &[(&str, Value)], of: &str| -> Vec<Value> {
        list.iter().map(|(name, held)| json!({ "name": name, of: held })).collect()
    };
    let contexts: Vec<Value> = contexts
        .iter()
        .map(|(name, cluster, user)| json!({ "name": name, "context": { "cluster": cluster, "user": user } }))
        .collect();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "good",
        "clusters": named(&clusters, "cluster"), "users": named(&users, "user"), "contexts": contexts,
    });
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

async fn console(chosen: &[&str]) -> Console {
    // no test waits for a second attempt
    waiting(chosen, (Duration::from_secs(3600), Duration::from_secs(3600))).await
}

async fn waiting(chosen: &[&str], retry: (Duration, Duration)) -> Console {
    drop(rustls::crypto::ring::default_provider().install_default());
    let home = tempfile::tempdir().unwrap();
    let sim = Sim::start(Options::new(Scenario::load("calm").unwrap())).await.unwrap();
    let kubeconfig = kubeconfig(&sim, home.path()).await;
    let clock = Clock::system();
    let set = ClusterSet {
        name: "sim".into(),
        contexts: vec!["again".into()],
        read_only: true,
        colour: "blue".into(),
        ..ClusterSet::default()
    };
    // neither can run: the simulated cluster has no such zone, and no such workload
    let standby = Standby {
        context: "again".into(),
        workloads: vec![(Kind::Deployment, "shop".into(), "none".into())],
        shift: None,
        scale_down: false,
    };
    let failover = vec![
        plan("zone", "again", FailoverKind::Evacuate(Pick::Zone("none".into()))),
        plan("dr", "good", FailoverKind::Standby(standby)),
    ];
    let settings = Settings { clusters: vec![set], failover, ..Settings::default() };
    let basis = Basis {
        settings: Arc::new(settings),
        dialer: Dialer::new(Some(kubeconfig), None, Overrides::default(), clock.clone()),
        namespaces: Vec::new(),
        is_demo: false,
        first: (*chosen.first().unwrap()).into(),
    };
    let (facts, facts_in) = mpsc::channel(FACTS);
    let (control, control_in) = mpsc::channel(CONTROL);
    let (changes, changes_in) = mpsc::channel(CLUSTERS);
    let (world_out, world) = watch::channel(Arc::new(World::default()));
    let infos = (0u16..).zip(chosen).map(|(id, context)| basis.info(ClusterId(id), context)).collect();
    let hub = Hub::new(infos, Vec::new(), clock, move |world: Arc<World>| {
        world_out.send_replace(world);
    });
    let queues = Queues { facts: facts_in, control: control_in, clusters: changes_in };
    let clocks = chosen.iter().map(|_| Clock::system()).collect();
    tokio::spawn(hub.opening(clocks).run(queues, CancellationToken::new()));
    let (supervisor, clusters) = (Supervisor::new(), Handles::default());
    let (tell, told) = watch::channel(Vec::new());
    let memory = Shares::new(16 << 20);
    let opener = Opener::new(Parts {
        basis: basis.clone(),
        wanted: Wanted::WithoutLogs,
        writes: true,
        clusters: clusters.clone(),
        facts,
        control,
        changes,
        world: world.clone(),
        supervisor: supervisor.clone(),
        memory: memory.clone(),
        streams: Shares::new(50),
        tell: Box::new(move |words| tell.send_modify(|told| told.push(words))),
        retry,
    });
    for context in chosen {
        opener.begin(basis.of(context));
    }
    let dialer = basis.dialer;
    Console { opener, dialer, clusters, world, supervisor, told, memory, _sim: sim, home }
}

fn plan(name: &str, in_context: &str, kind: FailoverKind) -> FailoverPlan {
    FailoverPlan {
        name: name.into(),
        kind,
        watched: None,
        soak_secs: 0,
        suggested: false,
        in_context: in_context.into(),
    }
}

impl Console {
    /// The runs of the plugins that are counted.
    fn runs(&self) -> usize {
        std::fs::read_to_string(self.home.path().join("runs")).unwrap_or_default().lines().count()
    }

    /// Lets the plugins that are counted wait, or goes on.
    fn hold(&self, on: bool) {
        let path = self.home.path().join("hold");
        if on { std::fs::write(path, "").unwrap() } else { std::fs::remove_file(path).unwrap() }
    }

    async fn until(&mut self, what: &str, is: impl FnMut(&Arc<World>) -> bool) -> Arc<World> {
        let waited = tokio::time::timeout(SOON, self.world.wait_for(is)).await;
        let seen = waited.map(|world| world.unwrap().clone());
        seen.unwrap_or_else(|_| panic!("{what}: {:#?}", links(&self.world.borrow())))
    }
}

/// The ID of a cluster that was not open.
fn new(opened: Result<Opened, String>) -> ClusterId {
    match opened {
        Ok(Opened::New(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn links(world: &World) -> Vec<(String, Link, Vec<String>)> {
    let trouble = |cluster: &Cluster| {
        let troubled = cluster.sources.iter().filter(|source| source.state.is_trouble());
        troubled.map(|s| format!("{}: {}", s.name, s.error.clone().unwrap_or_default())).collect()
    };
    world.clusters.iter().map(|c| (c.info.context.to_string(), c.link.clone(), trouble(c))).collect()
}

fn of<'w>(world: &'w World, context: &str) -> &'w Cluster {
    world.clusters.iter().find(|cluster| cluster.info.context == *context).unwrap()
}

fn is_read(world: &World, context: &str) -> bool {
    of(world, context).pods.cover.is_read() && of(world, context).nodes.cover.is_read()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_opened_delays_no_other_and_says_why() {
    let mut console = console(&["waits", "hangs", "refuses", "down", "fails", "good"]).await;
    assert_eq!(console.world.borrow().clusters.len(), 6, "all are there at once");
    let world = console.until("the good one is read", |world| is_read(world, "good")).await;
    assert_eq!(of(&world, "good").link, Link::Open);
    assert!(matches!(of(&world, "waits").link, Link::Opening { .. }), "its plugin still runs");
    let world = console.until("the plugin that fails is told", |world| {
        matches!(of(world, "fails").link, Link::Failed { .. })
    });
    let world = world.await;
    let Link::Failed { why, .. } = &of(&world, "fails").link else { panic!() };
    assert!(why.contains("the token has expired"), "{why}");
    // these are connected as far as a connection goes, and their sources say what the server answers
    for (context, words) in [("refuses", "401"), ("down", "refused")] {
        let told = console.until(context, |world| {
            let error = of(world, context).source("nodes").and_then(|source| source.error.clone());
            error.is_some_and(|error| error.to_lowercase().contains(words))
        });
        let world = told.await;
        assert!(!of(&world, context).pods.cover.is_read());
    }
    let world: Arc<World> = Arc::clone(&console.world.borrow());
    assert_eq!(of(&world, "hangs").link, Link::Open);
    assert!(!is_read(&world, "hangs"));
    // nothing of a cluster that is not connected can be asked
    assert!(console.clusters.get(ClusterId(0)).is_err() && console.clusters.get(ClusterId(5)).is_ok());
    // and the end waits for none of them
    let began = std::time::Instant::now();
    console.supervisor.shutdown(Duration::from_millis(500)).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(*console.told.borrow(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_opened_and_closed_while_the_console_runs() {
    let mut console = console(&["good"]).await;
    console.until("the first one is read", |world| is_read(world, "good")).await;
    assert_eq!(console.runs(), 0, "no credentials are asked for before the cluster is opened");
    let id = new(console.opener.open("again"));
    assert_eq!(id, ClusterId(1));
    assert_eq!(console.opener.open("again"), Ok(Opened::Before(id)), "it is opened once");
    let world =
        console.until("the second one is read", |world| world.clusters.len() > 1 && is_read(world, "again"));
    let world = world.await;
    let info = &of(&world, "again").info;
    assert!(info.read_only && info.colour == *"blue", "the settings are its own: {info:?}");
    assert!(!of(&world, "good").info.read_only);
    let (first, second) = (console.clusters.get(ClusterId(0)).unwrap(), console.clusters.get(id).unwrap());
    assert!(!first.clients.is_read_only() && second.clients.is_read_only(), "and so are its clients");
    assert_eq!(console.memory.part().size(), (16 << 20) / 3, "the memory is shared");
    drop(second);
    assert_eq!(console.opener.close(id).unwrap(), "again");
    let world = console.until("it is closed", |world| of(world, "again").link == Link::Closed).await;
    assert!(of(&world, "again").pods.is_empty() && console.clusters.get(id).is_err());
    assert!(console.opener.close(id).is_err());
    // it comes back as another one
    let next = ClusterId(2);
    assert_eq!(console.opener.open("again"), Ok(Opened::New(next)));
    let world = console.until("it is read again", |world| {
        world.of_context("again").is_some_and(|cluster| cluster.id() == next && cluster.pods.cover.is_read())
    });
    let world = world.await;
    assert_eq!(world.clusters[1].link, Link::Closed, "IDs are not used twice");
    let live = |name: &str| of(&world, name).sources.iter().any(|source| source.state == SourceState::Live);
    assert!(live("good"), "the first one goes on");
    console.opener.open("later").unwrap();
    let failed = console.until("it failed", |world| {
        world.of_context("later").is_some_and(|cluster| matches!(cluster.link, Link::Failed { .. }))
    });
    failed.await;
    assert_eq!(console.runs(), 1);
    let all: Vec<String> =
        console.opener.contexts().unwrap().iter().map(|line| line.context.to_string()).collect();
    assert_eq!(all, ["again", "down", "fails", "good", "hangs", "later", "refuses", "slow", "waits"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_plan_is_checked_each_time_that_the_last_of_its_clusters_is_opened() {
    let mut console = console(&["good"]).await;
    console.until("the first one is read", |world| is_read(world, "good")).await;
    for round in 1..3 {
        let id = new(console.opener.open("again"));
        let told = tokio::time::timeout(SOON, console.told.wait_for(|told| told.len() == 2 * round)).await;
        let mut told = told.unwrap().unwrap()[2 * round - 2..].to_vec();
        told.sort();
        assert!(
            told[0].starts_with("failover plan dr: ") && told[0].contains("shop/deploy/none"),
            "{told:?}"
        );
        assert_eq!(told[1], "failover plan zone: the plan selects no node");
        console.opener.close(id).unwrap();
        console.until("it is closed", |world| world.of_context("again").is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_could_not_be_opened_is_tried_again_by_a_key_and_seldom_by_itself() {
    // by itself, the next attempt would be in half an hour to an hour, and those after it later and later
    let hour = Duration::from_secs(3600);
    let mut console = waiting(&["good", "later"], (hour, 10 * hour)).await;
    let failed = |world: &Arc<World>| matches!(of(world, "later").link, Link::Failed { .. });
    let opening = |world: &Arc<World>| matches!(of(world, "later").link, Link::Opening { .. });
    console.until("it failed", failed).await;
    for attempt in 1..4 {
        assert_eq!(console.runs(), attempt);
        console.hold(true);
        let of_the_start = Opened::Before(ClusterId(1));
        assert_eq!(console.opener.open("later"), Ok(of_the_start), "it is the same cluster");
        console.until("it is tried again", opening).await;
        // a key that is pressed while an attempt runs starts no other one
        assert_eq!(console.opener.open("later"), Ok(of_the_start));
        console.hold(false);
        let world = console.until("it failed again", failed).await;
        let Link::Failed { why, next, .. } = &of(&world, "later").link else { panic!() };
        assert!(why.contains("exit status: 3") && !why.contains("try"), "the reason and no more: {why}");
        let soon = next.unwrap().secs_since(Clock::system().now());
        assert!(
            (1700..3700).contains(&soon),
            "attempt {attempt}: an attempt by hand does not delay the next one: {soon} s"
        );
    }
    assert_eq!(console.runs(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_of_its_own_is_shown_as_one() {
    let short = Duration::from_millis(300);
    let mut console = waiting(&["good", "later"], (short, short)).await;
    console.until("it failed", |world| matches!(of(world, "later").link, Link::Failed { .. })).await;
    // the attempt that meets this one lasts
    console.hold(true);
    console.until("it is opening", |world| matches!(of(world, "later").link, Link::Opening { .. })).await;
    console.hold(false);
    console.until("it failed again", |world| matches!(of(world, "later").link, Link::Failed { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_forgotten_while_it_is_opened_is_not_kept() {
    let console = console(&["good"]).await;
    console.hold(true);
    let dialer = console.dialer.clone();
    let opens = tokio::spawn(async move { dialer.clients(&"slow".into(), true).await.map(|_| ()) });
    let ran = async {
        while console.runs() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, ran).await.unwrap();
    console.dialer.forget("slow");
    console.hold(false);
    assert_eq!(opens.await.unwrap(), Ok(()));
    console.dialer.clients(&"slow".into(), true).await.unwrap();
    assert_eq!(console.runs(), 2, "the credentials are read again");
    console.dialer.clients(&"slow".into(), true).await.unwrap();
    assert_eq!(console.runs(), 2, "and then they are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_opened_again_has_the_kubeconfig_of_now() {
    let mut console = console(&["good"]).await;
    let id = new(console.opener.open("again"));
    let good = |console: &Console, id| console.clusters.get(id).map(|handle| handle.connection.server);
    console.until("it is read", |world| world.clusters.len() > 1 && is_read(world, "again")).await;
    let before = good(&console, id).unwrap();
    // an action had opened it as its other side, too
    let dialer = console.dialer.clone();
    let name = "again".into();
    assert_eq!(dialer.clients(&name, true).await.unwrap().reader.server(), before);
    console.opener.close(id).unwrap();
    // the cluster has moved
    let path = console.home.path().join("kubeconfig");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let contexts = config["contexts"].as_array_mut().unwrap();
    let again = contexts.iter_mut().find(|context| context["name"] == "again").unwrap();
    again["context"]["cluster"] = "refuses".into();
    std::fs::write(&path, config.to_string()).unwrap();
    let next = new(console.opener.open("again"));
    console
        .until("it is connected", |world| {
            world.of_context("again").is_some_and(|c| c.id() == next && c.link == Link::Open)
        })
        .await;
    console
        .until("its new server answers", |world| {
            let error = world.cluster(next).and_then(|c| c.source("nodes")).and_then(|s| s.error.clone());
            error.is_some_and(|error| error.contains("401"))
        })
        .await;
    assert_ne!(good(&console, next).unwrap(), before);
    assert_ne!(dialer.clients(&name, true).await.unwrap().reader.server(), before);
}
