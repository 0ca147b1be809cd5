//! Actions on the servers of a real HAProxy, through the runner: the weight and the state are changed, verified by HAProxy's
//! own table, undone, and refused where they must not be sent. What says so is read here without our own code.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pilothouse::action::cluster::{Clients, ClusterClients, Clusters};
use pilothouse::action::control::EvictionRateLimiter;
use pilothouse::action::facts::Facts;
use pilothouse::action::haproxy::Proxies;
use pilothouse::action::journal::Journal;
use pilothouse::action::runner::{Confirmed, Consent, Parts, Runner, WithoutJournal};
use pilothouse::clock::Clock;
use pilothouse_core::domain::haproxy::{HaproxySettings, ServerChange, ServerRef, ServerState};
use pilothouse_core::domain::id::{ClusterId, ObjectRef};
use pilothouse_core::domain::plan::{Act, Confirm, Intent, Plan};
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{ActionView, ClusterInfo, Outcome, StepState, World};
use pilothouse_core::plan::undo::derive_undo;
use pilothouse_core::state::ClusterState;
use tokio::sync::{mpsc, watch};

use crate::fake::Fake;

/// An HTTP server that counts its requests.
fn backend() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream: TcpStream = stream;
            let mut head = [0; 4096];
            let n = stream.read(&mut head).unwrap_or(0);
            if n > 0 {
                counted.fetch_add(1, Ordering::SeqCst);
                let _gone =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            }
        }
    });
    (port, count)
}

/// A HAProxy with the backend `shop_checkout` of two servers, `a` and `b`, of weight 100.
struct Haproxy {
    process: Child,
    folder: tempfile::TempDir,
    a: Arc<AtomicUsize>,
    b: Arc<AtomicUsize>,
}

impl Haproxy {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ((pa, a), (pb, b)) = (backend(), backend());
        // a socket in the folder is nobody else's, unlike a port that was free a moment ago
        let at = folder.path().display();
        let config = format!(
            "global\n stats socket {at}/admin.sock level admin\n stats socket {at}/user.sock level user\ndefaults\n mode http\n timeout connect 60s\n timeout client 60s\n timeout server 60s\nfrontend f\n bind unix@{at}/front.sock\n default_backend shop_checkout\nbackend shop_checkout\n balance roundrobin\n server a 127.0.0.1:{pa} weight 100\n server b 127.0.0.1:{pb} weight 100\n"
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy");
        let haproxy = Self { process, folder, a, b };
        let until = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(haproxy.socket("front.sock")).is_err() {
            assert!(Instant::now() < until, "HAProxy does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        haproxy
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ask(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(self.socket("admin.sock")).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// `srv_uweight` and `srv_admin_state` of a server, by their positions in HAProxy's documentation.
    fn server(&self, name: &str) -> (u32, u32) {
        let answer = self.ask("show servers state shop_checkout");
        let row = answer.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
        let row = row.into_iter().find(|fields| fields.get(3) == Some(&name)).expect("the server");
        (row[7].parse().unwrap(), row[6].parse().unwrap())
    }

    /// Sends requests one after another, and returns how many each server got.
    fn load(&self, requests: usize) -> (usize, usize) {
        let before = (self.a.load(Ordering::SeqCst), self.b.load(Ordering::SeqCst));
        for _ in 0..requests {
            let mut stream = UnixStream::connect(self.socket("front.sock")).unwrap();
            write!(stream, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        (self.a.load(Ordering::SeqCst) - before.0, self.b.load(Ordering::SeqCst) - before.1)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// What a [`relay`] does with a command that changes a server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loses {
    /// HAProxy never gets it.
    Command,
    /// HAProxy has applied it.
    Answer,
}

/// A socket before HAProxy's that loses changes or answers to them; and the number of changes that came.
fn relay(haproxy: &Haproxy, loses: Loses) -> (PathBuf, Arc<AtomicUsize>) {
    let (path, to) = (haproxy.socket(&format!("{loses:?}.sock")), haproxy.socket("admin.sock"));
    let (listener, count) = (UnixListener::bind(&path).unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let changes = line.starts_with("set server");
            counted.fetch_add(usize::from(changes), Ordering::SeqCst);
            if changes && loses == Loses::Command {
                continue;
            }
            let mut behind = UnixStream::connect(&to).unwrap();
            behind.write_all(line.as_bytes()).unwrap();
            let mut answer = Vec::new();
            behind.read_to_end(&mut answer).unwrap();
            if !changes {
                (&stream).write_all(&answer).unwrap();
            }
        }
    });
    (path, count)
}

/// A console's runner whose config has the HAProxy `edge` with this socket.
struct Rig {
    runner: Runner,
    _fake: Fake,
    _world: watch::Sender<Arc<World>>,
    _reports: mpsc::Receiver<ActionView>,
}

impl Rig {
    async fn new(socket: &Path, journal: &Path, guards: GuardSettings) -> Self {
        let fake = Fake::start(0).await;
        let reader = fake.connection.reader().unwrap();
        let writer = (!guards.read_only).then(|| fake.connection.writer().unwrap());
        let info = ClusterInfo { context: "test".into(), ..ClusterInfo::default() };
        let edge = HaproxySettings {
            name: "edge".into(),
            socket: socket.display().to_string(),
            ..HaproxySettings::default()
        };
        let clients = ClusterClients {
            id: ClusterId(0),
            context: "test".into(),
            own: Clients { reader, writer },
            clock: Clock::system(),
            guards,
            limiter: EvictionRateLimiter::default(),
            open: Arc::new(|context| Box::pin(async move { Err(format!("{context} cannot be opened")) })),
            proxies: Proxies::new(&[edge]),
            alertmanager: pilothouse::action::alertmanager::Alertmanager::default(),
        };
        let mut state = ClusterState::new(info);
        state.publish(Stamp(0), false);
        let clusters = Arc::from([state.published().clone()]);
        let (world, newest) = watch::channel(Arc::new(World { clusters, ..World::default() }));
        let (told, reports) = mpsc::channel(1000);
        let runner = Runner::new(Parts {
            clusters: Clusters::from_iter([clients]),
            facts: Facts::Live(newest),
            journal: Journal::new(journal.to_owned(), "haproxy").quiet(),
            clock: Clock::system(),
            without_journal: WithoutJournal::Ask,
            user: "u".into(),
            host: "h".into(),
            reports: told,
        });
        Self { runner, _fake: fake, _world: world, _reports: reports }
    }

    async fn planned(&self, act: Act, targets: Vec<ObjectRef>) -> Plan {
        let intent = Intent { cluster: ClusterId(0), context: "test".into(), act, targets };
        self.runner.rehearse(&intent, None).await.unwrap()
    }

    async fn of_server(&self, change: ServerChange, server: &str) -> Plan {
        self.planned(Act::Server(change), vec![object(server)]).await
    }

    async fn run(&self, plan: Plan) -> ActionView {
        let consent = Consent::Typed(plan.answer.clone());
        let confirmed = Confirmed { read: Arc::new(plan), consent, follows: None };
        self.runner.start(confirmed).done.await.unwrap()
    }

    async fn undo(&self, action: &ActionView) -> Plan {
        let derived = derive_undo(action);
        let targets = derived.steps.iter().map(|step| step.on.clone()).collect();
        self.planned(Act::Undo(Box::new(derived)), targets).await
    }
}

fn object(server: &str) -> ObjectRef {
    let server = ServerRef { haproxy: "edge".into(), backend: "shop_checkout".into(), server: server.into() };
    server.object(ClusterId(0), &"shop".into())
}

fn words(plan: &Plan) -> String {
    plan.refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Round robin keeps the shares over few requests, whatever server is the next.
fn about((a, b): (usize, usize), wanted: (usize, usize)) {
    assert!(a.abs_diff(wanted.0) <= 2 && b.abs_diff(wanted.1) <= 2, "{a} and {b}, not {wanted:?}");
}

const DRAIN: ServerChange = ServerChange::State(ServerState::Drain);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a haproxy"]
async fn a_weight_is_changed_verified_and_undone_unless_somebody_changed_it_since() {
    let (haproxy, folder) = (Haproxy::start(), tempfile::tempdir().unwrap());
    let rig = Rig::new(&haproxy.socket("admin.sock"), folder.path(), GuardSettings::default()).await;
    let plan = rig.of_server(ServerChange::Weight(25), "a").await;
    assert_eq!((words(&plan).as_str(), plan.confirm), ("", Confirm::Suffix));
    assert_eq!(haproxy.server("a"), (100, 0), "a rehearsal changes nothing");
    let done = rig.run(plan).await;
    assert_eq!(
        (done.outcome, done.steps[0].state),
        (Some(Outcome::Done), StepState::Verified),
        "{}",
        done.message
    );
    assert_eq!(haproxy.server("a"), (25, 0));
    let (a, b) = haproxy.load(100);
    about((a, b), (20, 80));
    assert_eq!(Journal::new(folder.path().to_owned(), "look").history().0.len(), 1, "it is in the journal");
    let undone = rig.run(rig.undo(&done).await).await;
    assert_eq!(undone.outcome, Some(Outcome::Done), "{}", undone.message);
    assert_eq!(haproxy.server("a"), (100, 0));
    // the same again, and then somebody else changes it
    let done = rig.run(rig.of_server(ServerChange::Weight(25), "a").await).await;
    haproxy.ask("set server shop_checkout/a weight 70");
    let plan = rig.undo(&done).await;
    assert!(words(&plan).contains("/spec/weight is 70, not 25"), "{}", words(&plan));
    assert_eq!(haproxy.server("a"), (70, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a haproxy"]
async fn a_drained_server_gets_no_requests_until_it_is_ready_again() {
    let (haproxy, folder) = (Haproxy::start(), tempfile::tempdir().unwrap());
    let rig = Rig::new(&haproxy.socket("admin.sock"), folder.path(), GuardSettings::default()).await;
    about(haproxy.load(40), (20, 20));
    let drained = rig.run(rig.of_server(DRAIN, "a").await).await;
    assert_eq!(drained.outcome, Some(Outcome::Done), "{}", drained.message);
    assert_eq!(haproxy.load(40), (0, 40));
    // the other one is the last, so that asks for more
    let last = rig.of_server(ServerChange::State(ServerState::Maintenance), "b").await;
    assert_eq!((last.confirm, last.answer.as_str()), (Confirm::Context, "test"));
    assert!(last.warnings.iter().any(|w| w.code() == "last-server"), "{:?}", last.warnings);
    let undone = rig.run(rig.undo(&drained).await).await;
    assert_eq!(undone.outcome, Some(Outcome::Done), "{}", undone.message);
    about(haproxy.load(40), (20, 20));
    let maintenance = rig.run(rig.of_server(ServerChange::State(ServerState::Maintenance), "b").await).await;
    assert_eq!((maintenance.outcome, haproxy.server("b").1), (Some(Outcome::Done), 1));
    assert_eq!(haproxy.load(40), (40, 0));
    let ready = rig.run(rig.of_server(ServerChange::State(ServerState::Ready), "b").await).await;
    assert_eq!(ready.outcome, Some(Outcome::Done), "{}", ready.message);
    about(haproxy.load(40), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a haproxy"]
async fn a_socket_that_is_gone_or_may_not_change_anything_is_told_in_words() {
    let (haproxy, folder) = (Haproxy::start(), tempfile::tempdir().unwrap());
    let user = Rig::new(&haproxy.socket("user.sock"), folder.path(), GuardSettings::default()).await;
    let plan = user.of_server(DRAIN, "a").await;
    assert!(
        words(&plan).contains("has level user, and a server can be changed with level admin only"),
        "{}",
        words(&plan)
    );
    let admin = Rig::new(&haproxy.socket("admin.sock"), folder.path(), GuardSettings::default()).await;
    let plan = admin.of_server(DRAIN, "c").await;
    assert!(words(&plan).contains("shop_checkout/c"), "{}", words(&plan));
    let plan = admin.of_server(DRAIN, "a").await;
    assert_eq!(words(&plan), "");
    // the socket vanishes between the rehearsal and the confirmation
    std::fs::remove_file(haproxy.socket("admin.sock")).unwrap();
    let done = admin.run(plan).await;
    assert_eq!(done.outcome, Some(Outcome::Refused), "{}", done.message);
    assert!(done.message.contains("admin.sock: No such file or directory"), "{}", done.message);
    let plan = admin.of_server(DRAIN, "a").await;
    assert!(words(&plan).contains("haproxy edge: "), "{}", words(&plan));
    about(haproxy.load(40), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a haproxy"]
async fn a_change_whose_answer_is_lost_is_looked_up_and_not_repeated() {
    for (loses, outcome, state) in
        [(Loses::Answer, Outcome::Done, (100, 8)), (Loses::Command, Outcome::Unknown, (100, 0))]
    {
        let (haproxy, folder) = (Haproxy::start(), tempfile::tempdir().unwrap());
        let (socket, count) = relay(&haproxy, loses);
        let rig = Rig::new(&socket, folder.path(), GuardSettings::default()).await;
        let plan = rig.of_server(DRAIN, "a").await;
        assert_eq!(words(&plan), "");
        let done = rig.run(plan).await;
        assert_eq!(done.outcome, Some(outcome), "{loses:?}: {}", done.message);
        assert_eq!((count.load(Ordering::SeqCst), haproxy.server("a")), (1, state), "{loses:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a haproxy"]
async fn nothing_is_sent_in_read_only_mode_and_a_protected_namespace_asks_for_more() {
    let (haproxy, folder) = (Haproxy::start(), tempfile::tempdir().unwrap());
    let guards = GuardSettings { read_only: true, ..GuardSettings::default() };
    let rig = Rig::new(&haproxy.socket("admin.sock"), folder.path(), guards).await;
    let plan = rig.of_server(DRAIN, "a").await;
    assert_eq!(
        plan.refusals.iter().map(pilothouse_core::domain::plan::Refusal::code).collect::<Vec<_>>(),
        ["read-only"]
    );
    // even a plan without the refusal has no client to send it
    let done = rig.run(Plan { refusals: Vec::new(), ..plan }).await;
    assert_ne!(done.outcome, Some(Outcome::Done));
    assert_eq!(haproxy.server("a"), (100, 0));
    about(haproxy.load(40), (20, 20));
    let guards = GuardSettings { protected_namespaces: vec!["shop".into()], ..GuardSettings::default() };
    let rig = Rig::new(&haproxy.socket("admin.sock"), folder.path(), guards).await;
    assert_eq!(rig.of_server(DRAIN, "a").await.confirm, Confirm::Context);
}
