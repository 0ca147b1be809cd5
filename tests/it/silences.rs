//! Silences through the runner: created, recognized, undone, and refused where they must not be sent. The Alertmanager is
//! that of the simulated cluster, behind the API server's proxy, or a real one at a URL. What says what it has is read
//! here without our own code: over HTTP, or with amtool.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pilothouse::action::alertmanager::Alertmanager;
use pilothouse::action::cluster::{Clients, ClusterClients, Clusters};
use pilothouse::action::control::EvictionRateLimiter;
use pilothouse::action::facts::Facts;
use pilothouse::action::haproxy::Proxies;
use pilothouse::action::journal::Journal;
use pilothouse::action::runner::{Confirmed, Consent, Parts, Runner, WithoutJournal};
use pilothouse::bootstrap::alertmanager;
use pilothouse::clock::Clock;
use pilothouse::wire::connect::{ConnectOptions, Connection};
use pilothouse_core::domain::alert::{
    Alert, AlertSilence, AlertState, AlertsSeen, Matcher, NewSilence, by_id, matchers,
};
use pilothouse_core::domain::id::{ClusterId, Name, ObjectRef};
use pilothouse_core::domain::plan::{Act, Confirm, Intent, Plan};
use pilothouse_core::domain::settings::{GuardSettings, ServerSettings};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::Fact;
use pilothouse_core::facts::world::{ActionView, ClusterInfo, Outcome, StepState, World};
use pilothouse_core::plan::undo::derive_undo;
use pilothouse_core::state::ClusterState;
use tokio::sync::{mpsc, watch};

use crate::fake::Fake;

/// What a [`relay`] does with a request that changes silences.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loses {
    Nothing,
    /// The server never gets it.
    Request,
    /// The server has carried it out.
    Answer,
}

/// A server before another one that loses requests about silences or the answers to them; and the number of those that
/// came. Reads are passed on.
fn relay(to: u16, loses: Loses) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = counted.clone();
            std::thread::spawn(move || pass(stream, to, loses, &counted));
        }
    });
    (port, count)
}

/// Passes one request on.
fn pass(mut client: TcpStream, to: u16, loses: Loses, count: &AtomicUsize) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let (mut head, mut first, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let lower = line.to_lowercase();
        if let Some(told) = lower.strip_prefix("content-length:") {
            length = told.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let changes = !first.starts_with("GET ") && first.contains("/silence");
    count.fetch_add(usize::from(changes), Ordering::SeqCst);
    if changes && loses == Loses::Request {
        return;
    }
    let mut behind = TcpStream::connect(("127.0.0.1", to)).unwrap();
    write!(behind, "{head}Connection: close\r\n\r\n").unwrap();
    behind.write_all(&body).unwrap();
    let mut answer = Vec::new();
    behind.read_to_end(&mut answer).unwrap();
    if !(changes && loses == Loses::Answer) {
        // a client that does not want the answer closes the connection
        let _gone = client.write_all(&answer);
    }
}

/// The alerts that the console knows.
fn alerts() -> AlertsSeen {
    let alert = |name: &str, namespace: &str| {
        let labels = [("alertname".into(), Name::from(name)), ("namespace".into(), namespace.into())];
        let fingerprint = format!("{name} {namespace}").into();
        Arc::new(Alert { fingerprint, labels: labels.into(), state: AlertState::Firing, ..Alert::default() })
    };
    let all = [alert("Crash", "pay"), alert("Crash", "shop"), alert("Slow", "shop")];
    AlertsSeen { source: "alertmanager".into(), total: 3, alerts: all.into(), ..AlertsSeen::default() }
}

/// A console's runner.
struct Rig {
    runner: Runner,
    /// The Service of the Alertmanager, or "".
    through: &'static str,
    _world: watch::Sender<Arc<World>>,
    _reports: mpsc::Receiver<ActionView>,
}

impl Rig {
    fn new(
        connection: &Connection,
        of: Alertmanager,
        through: &'static str,
        journal: &Path,
        guards: GuardSettings,
    ) -> Self {
        let reader = connection.reader().unwrap();
        let writer = (!guards.read_only).then(|| connection.writer().unwrap());
        let info = ClusterInfo { context: "test".into(), ..ClusterInfo::default() };
        let clients = ClusterClients {
            id: ClusterId(0),
            context: "test".into(),
            own: Clients { reader, writer },
            clock: Clock::system(),
            guards,
            limiter: EvictionRateLimiter::default(),
            open: Arc::new(|context| Box::pin(async move { Err(format!("{context} cannot be opened")) })),
            proxies: Proxies::default(),
            alertmanager: of,
        };
        let mut state = ClusterState::new(info);
        state.apply(Fact::Alerts(alerts()), Stamp(0));
        state.publish(Stamp(0), false);
        let clusters = Arc::from([state.published().clone()]);
        let (world, newest) = watch::channel(Arc::new(World { clusters, ..World::default() }));
        let (told, reports) = mpsc::channel(1000);
        let runner = Runner::new(Parts {
            clusters: Clusters::from_iter([clients]),
            facts: Facts::Live(newest),
            journal: Journal::new(journal.to_owned(), "silences").quiet(),
            clock: Clock::system(),
            without_journal: WithoutJournal::Ask,
            user: "u".into(),
            host: "h".into(),
            reports: told,
        });
        Self { runner, through, _world: world, _reports: reports }
    }

    async fn planned(&self, act: Act, targets: Vec<ObjectRef>) -> Plan {
        let intent = Intent { cluster: ClusterId(0), context: "test".into(), act, targets };
        self.runner.rehearse(&intent, None).await.unwrap()
    }

    async fn silence(&self, new: &NewSilence) -> Plan {
        let new = NewSilence { through: self.through.into(), ..new.clone() };
        let target = new.target(ClusterId(0));
        self.planned(Act::SilenceAlerts(Box::new(new)), vec![target]).await
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

/// A silence of two hours, from now on.
fn new(typed: &str) -> NewSilence {
    NewSilence {
        alert: "Crash".into(),
        selected: vec!["Crash shop".into()],
        matchers: matchers::parse(typed).unwrap().into_iter().map(|matcher| (matcher, true)).collect(),
        author: "ann".into(),
        comment: "it's known: TICKET-1".into(),
        from: Clock::system().now(),
        secs: 7_200,
        ..NewSilence::default()
    }
}

const CRASH: &str = r#"alertname="Crash", namespace="shop""#;

fn words(plan: &Plan) -> String {
    plan.refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What the journal says of the last step of the newest action.
fn journaled(folder: &Path) -> String {
    let history = Journal::new(folder.to_owned(), "look").history().0;
    let newest = history.iter().max_by_key(|action| action.started).unwrap();
    newest.steps.last().unwrap().note.clone()
}

async fn connected(kubeconfig: &Path) -> Connection {
    let options = ConnectOptions { kubeconfig: Some(kubeconfig.into()), ..ConnectOptions::default() };
    Connection::open(options).await.unwrap()
}

#[cfg(feature = "demo")]
mod simulated {
    use pilothouse_sim::scenario::Scenario;
    use pilothouse_sim::server::{Options, Running, Sim};
    use serde_json::Value;

    use super::*;

    const SERVICE: &str = "monitoring/alertmanager:web";

    async fn sim() -> Running {
        drop(rustls::crypto::ring::default_provider().install_default());
        let options = Options { monitored: true, ..Options::new(Scenario::load("calm").unwrap()) };
        Sim::start(options).await.unwrap()
    }

    /// The silences, each with its state.
    async fn held(sim: &Running) -> Vec<(Value, String)> {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = http.get(format!("{}/api/v2/silences", sim.alertmanager())).send().await.unwrap();
        let all: Vec<Value> = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let state = |one: &Value| one.pointer("/status/state").unwrap().as_str().unwrap().to_owned();
        all.into_iter().map(|one| (one.clone(), state(&one))).collect()
    }

    async fn states(sim: &Running) -> Vec<String> {
        held(sim).await.into_iter().map(|(_, state)| state).collect()
    }

    /// The API server as this user, through a relay.
    async fn as_user(
        sim: &Running,
        user: &str,
        loses: Loses,
        folder: &Path,
    ) -> (Connection, Arc<AtomicUsize>) {
        let (port, count) = relay(sim.addr.port(), loses);
        let kubeconfig = folder.join(user);
        let text = sim.kubeconfig_as(user).replace(&sim.url(), &format!("http://127.0.0.1:{port}"));
        assert!(text.contains(&port.to_string()), "{text}");
        std::fs::write(&kubeconfig, text).unwrap();
        (connected(&kubeconfig).await, count)
    }

    fn rig(connection: &Connection, folder: &Path, guards: GuardSettings) -> Rig {
        Rig::new(connection, Alertmanager::default(), SERVICE, &folder.join("journal"), guards)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silence_goes_through_the_api_server_and_its_undo_ends_it() {
        let (sim, folder) = (sim().await, tempfile::tempdir().unwrap());
        let (connection, count) = as_user(&sim, "operator", Loses::Nothing, folder.path()).await;
        let rig = rig(&connection, folder.path(), GuardSettings::default());
        let plan = rig.silence(&new(CRASH)).await;
        assert_eq!((words(&plan).as_str(), plan.confirm), ("", Confirm::Yes));
        assert_eq!(plan.diff.last().unwrap(), "- Crash shop (–, firing)");
        assert_eq!(held(&sim).await, [], "a rehearsal creates nothing");
        let done = rig.run(plan.clone()).await;
        assert_eq!(
            (done.outcome, done.steps[0].state),
            (Some(Outcome::Done), StepState::Verified),
            "{}",
            done.message
        );
        let all = held(&sim).await;
        let [(silence, state)] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((state.as_str(), count.load(Ordering::SeqCst)), ("active", 1));
        assert_eq!(silence["createdBy"], "ann");
        assert_eq!(silence["comment"], "it's known: TICKET-1");
        assert_eq!(silence["matchers"][1]["value"], "shop");
        let id = silence["id"].as_str().unwrap();
        let note = journaled(&folder.path().join("journal"));
        assert!(note.contains(id), "the id is in the journal: {note}");
        // the same plan once more: it is there, which is not what the plan said
        let again = rig.run(plan.clone()).await;
        assert_eq!(again.outcome, Some(Outcome::Refused), "{}", again.message);
        let Act::SilenceAlerts(same) = &plan.intent.act else { panic!("{:?}", plan.intent.act) };
        let again = rig.silence(same).await;
        let codes: Vec<_> = again.warnings.iter().map(pilothouse_core::domain::plan::Warning::code).collect();
        assert_eq!((again.steps.len(), codes.contains(&"silenced-already")), (0, true), "{codes:?}");
        assert_eq!((held(&sim).await.len(), count.load(Ordering::SeqCst)), (1, 1));
        let undone = rig.run(rig.undo(&done).await).await;
        assert_eq!(undone.outcome, Some(Outcome::Done), "{}", undone.message);
        assert_eq!(states(&sim).await, ["expired"]);
        let twice = rig.undo(&done).await;
        assert!(words(&twice).contains("undone already"), "{}", words(&twice));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silence_is_ended_and_its_undo_makes_it_again() {
        let (sim, folder) = (sim().await, tempfile::tempdir().unwrap());
        let (connection, _) = as_user(&sim, "operator", Loses::Nothing, folder.path()).await;
        let rig = rig(&connection, folder.path(), GuardSettings::default());
        let made = rig.run(rig.silence(&new(CRASH)).await).await;
        assert_eq!(made.outcome, Some(Outcome::Done), "{}", made.message);
        let id = held(&sim).await[0].0["id"].as_str().unwrap().to_owned();
        let known = AlertSilence { id: id.as_str().into(), ..AlertSilence::default() };
        let target = by_id(&known, ClusterId(0), SERVICE);
        let plan = rig.planned(Act::EndSilence, vec![target]).await;
        assert_eq!(
            (words(&plan), plan.kubectl.clone()),
            (String::new(), format!("amtool silence expire {id}"))
        );
        let ended = rig.run(plan).await;
        assert_eq!(ended.outcome, Some(Outcome::Done), "{}", ended.message);
        assert_eq!(states(&sim).await, ["expired"]);
        let again = rig.run(rig.undo(&ended).await).await;
        assert_eq!(again.outcome, Some(Outcome::Done), "{}", again.message);
        assert_eq!(states(&sim).await, ["active", "expired"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_that_is_lost_is_settled_by_reading_the_silences() {
        let (sim, folder) = (sim().await, tempfile::tempdir().unwrap());
        let (connection, count) = as_user(&sim, "operator", Loses::Answer, folder.path()).await;
        let rig = rig(&connection, folder.path(), GuardSettings::default());
        let done = rig.run(rig.silence(&new(CRASH)).await).await;
        assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
        assert_eq!((states(&sim).await, count.load(Ordering::SeqCst)), (vec!["active".to_owned()], 1));
        let undone = rig.run(rig.undo(&done).await).await;
        assert_eq!(undone.outcome, Some(Outcome::Done), "{}", undone.message);
        assert_eq!((states(&sim).await, count.load(Ordering::SeqCst)), (vec!["expired".to_owned()], 2));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_may_not_is_told_so_before_anything_is_sent() {
        let (sim, folder) = (sim().await, tempfile::tempdir().unwrap());
        let (connection, count) = as_user(&sim, "viewer", Loses::Nothing, folder.path()).await;
        let viewer = rig(&connection, folder.path(), GuardSettings::default());
        let plan = viewer.silence(&new(CRASH)).await;
        assert!(words(&plan).contains("create services/proxy"), "{}", words(&plan));
        // a plan without the refusal is refused by the API server
        let refused = viewer.run(Plan { refusals: Vec::new(), ..plan }).await;
        assert_ne!(refused.outcome, Some(Outcome::Done), "{}", refused.message);
        let (connection, _) = as_user(&sim, "operator", Loses::Nothing, folder.path()).await;
        let guards = GuardSettings { read_only: true, ..GuardSettings::default() };
        let plan = rig(&connection, folder.path(), guards).silence(&new(CRASH)).await;
        let codes: Vec<_> = plan.refusals.iter().map(pilothouse_core::domain::plan::Refusal::code).collect();
        assert_eq!(codes, ["read-only"]);
        assert_eq!(held(&sim).await, [], "{}", count.load(Ordering::SeqCst));
    }
}

/// A real Alertmanager with one firing alert.
struct Real {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

impl Real {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-alertmanager");
        let real = Self { process, folder, port };
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "the Alertmanager does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        real.amtool(&["alert", "add", "Crash", "namespace=shop"]);
        real
    }

    fn amtool(&self, args: &[&str]) -> String {
        let url = format!("--alertmanager.url=http://127.0.0.1:{}", self.port);
        let said = Command::new("amtool").arg(url).args(args).output().expect("amtool");
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap()
    }

    /// The ids of the silences that have not ended.
    fn silences(&self) -> Vec<String> {
        self.amtool(&["silence", "query", "-q"]).split_whitespace().map(str::to_owned).collect()
    }

    /// The names of the alerts that somebody is notified of.
    fn active(&self) -> Vec<String> {
        let said = self.amtool(&["alert", "query", "-a", "-o", "json"]);
        let all: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
        all.iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    async fn rig(&self, loses: Loses) -> (Rig, Fake, Arc<AtomicUsize>) {
        let (port, count) = relay(self.port, loses);
        let fake = Fake::start(0).await;
        let of = alertmanager::of(&ServerSettings::at(format!("http://127.0.0.1:{port}")));
        let journal = self.folder.path().join(format!("journal-{loses:?}"));
        (Rig::new(&fake.connection, of, "", &journal, GuardSettings::default()), fake, count)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a prometheus-alertmanager with amtool"]
async fn amtool_sees_the_silence_until_it_is_undone() {
    let real = Real::start();
    assert_eq!(real.active(), ["Crash"]);
    let (rig, _fake, count) = real.rig(Loses::Nothing).await;
    // every form of a matcher, and values that have to be quoted
    let typed = r#"alertname="Crash", namespace=~"sh.p|pay", severity!="info", pod!~"a\"b.*""#;
    let plan = rig.silence(&new(typed)).await;
    assert_eq!(words(&plan), "");
    let done = rig.run(plan.clone()).await;
    assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
    let ids = real.silences();
    assert_eq!((ids.len(), count.load(Ordering::SeqCst), real.active()), (1, 1, Vec::new()));
    let note = journaled(&real.folder.path().join("journal-Nothing"));
    assert!(note.contains(&ids[0]), "{note}");
    let said = real.amtool(&["silence", "query", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    let spec = pilothouse_core::domain::alert::SilenceSpec::read(&told[0]).unwrap();
    let want: Vec<Matcher> = {
        let mut all = matchers::parse(typed).unwrap();
        all.sort();
        all
    };
    assert_eq!((spec.matchers, spec.author.as_str()), (want, "ann"), "{said}");
    let again = rig.run(plan).await;
    assert_eq!(again.outcome, Some(Outcome::Refused), "{}", again.message);
    assert_eq!((real.silences(), count.load(Ordering::SeqCst)), (ids.clone(), 1), "{}", again.message);
    let undone = rig.run(rig.undo(&done).await).await;
    assert_eq!(undone.outcome, Some(Outcome::Done), "{}", undone.message);
    assert_eq!((real.silences().len(), real.active()), (0, vec!["Crash".to_owned()]));
    // somebody else ends it: there is nothing to undo
    let done = rig.run(rig.silence(&new(CRASH)).await).await;
    assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
    real.amtool(&["silence", "expire", &real.silences()[0]]);
    assert!(words(&rig.undo(&done).await).contains("undone already"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a prometheus-alertmanager with amtool"]
async fn a_silence_that_ends_is_made_again_by_the_undo() {
    let real = Real::start();
    let (rig, _fake, _) = real.rig(Loses::Nothing).await;
    let id =
        real.amtool(&["silence", "add", "--author=bob", "--comment=x", "--duration=1h", "alertname=Crash"]);
    let known = AlertSilence { id: id.trim().into(), ..AlertSilence::default() };
    let plan = rig.planned(Act::EndSilence, vec![by_id(&known, ClusterId(0), "")]).await;
    assert_eq!(words(&plan), "");
    let ended = rig.run(plan).await;
    assert_eq!(ended.outcome, Some(Outcome::Done), "{}", ended.message);
    assert_eq!((real.silences().len(), real.active()), (0, vec!["Crash".to_owned()]));
    let again = rig.run(rig.undo(&ended).await).await;
    assert_eq!(again.outcome, Some(Outcome::Done), "{}", again.message);
    assert_eq!((real.silences().len(), real.active().len()), (1, 0));
    let told: serde_json::Value =
        serde_json::from_str(&real.amtool(&["silence", "query", "-o", "json"])).unwrap();
    assert_eq!((&told[0]["createdBy"], &told[0]["comment"]), (&"bob".into(), &"x".into()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a prometheus-alertmanager with amtool"]
async fn a_silence_whose_answer_is_lost_is_looked_for_and_never_created_twice() {
    for (loses, outcome, held) in [(Loses::Answer, Outcome::Done, 1), (Loses::Request, Outcome::Unknown, 0)] {
        let real = Real::start();
        let (rig, _fake, count) = real.rig(loses).await;
        let plan = rig.silence(&new(CRASH)).await;
        assert_eq!(words(&plan), "");
        let done = rig.run(plan).await;
        assert_eq!(done.outcome, Some(outcome), "{loses:?}: {}", done.message);
        assert_eq!((count.load(Ordering::SeqCst), real.silences().len()), (1, held), "{loses:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a prometheus-alertmanager with amtool"]
async fn what_the_alertmanager_refuses_is_told_in_its_words() {
    let real = Real::start();
    let (rig, _fake, count) = real.rig(Loses::Nothing).await;
    let past = NewSilence { from: Stamp(0), ..new(CRASH) };
    let done = rig.run(rig.silence(&past).await).await;
    assert_eq!(done.outcome, Some(Outcome::Failed), "{}", done.message);
    assert!(done.message.contains("400: Failed to create silence: "), "{}", done.message);
    assert_eq!((count.load(Ordering::SeqCst), real.silences().len()), (1, 0));
}
