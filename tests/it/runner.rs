//! The runner of actions over two clusters, each a server in this process: what is asked and written goes to the cluster
//! that the intent names, an open dialog asks no more than it has to, and what must not be sent is refused and reported.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilothouse::action::cluster::{Clients, ClusterClients, Clusters};
use pilothouse::action::control::EvictionRateLimiter;
use pilothouse::action::facts::Facts;
use pilothouse::action::journal::{How, Journal};
use pilothouse::action::resume::{self, Remaining};
use pilothouse::action::runner::{Confirmed, Consent, NotTakenUp, Parts, Runner, WithoutJournal};
use pilothouse::bootstrap::cluster::{ClusterHandle, Handles};
use pilothouse::bootstrap::desk::Desk;
use pilothouse::bootstrap::dialer::Dialer;
use pilothouse::bootstrap::opening::{Basis, Opener, Parts as Opening, RETRY};
use pilothouse::clock::Clock;
use pilothouse::config::Home;
use pilothouse::source::Wanted;
use pilothouse::source::logs::LogStore;
use pilothouse::source::logs::shares::Shares;
use pilothouse::source::prometheus::ranges::Ranges;
use pilothouse::source::sink::FactSink;
use pilothouse::source::supervise::Supervisor;
use pilothouse::ui::request::{Effect, LogRequest, Reply, Request, Ticket};
use pilothouse::ui::run::{Input, queue};
use pilothouse::wire::decode::{Pools, workload};
use pilothouse::wire::kubeconfig::Overrides;
use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Pick, Standby, Watched};
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid, Version};
use pilothouse_core::domain::plan::{
    Act, Confirm, DerivedPlan, Intent, Plan, Refusal, ScaleBy, Step, StepKind,
};
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::{Batch, Fact};
use pilothouse_core::facts::world::{ActionView, ClusterInfo, Outcome, World};
use pilothouse_core::state::ClusterState;
use tokio::sync::{mpsc, watch};

use crate::crash::{WEB, dies, plan};
use crate::fake::{Fake, uid};

const A: ClusterId = ClusterId(0);
const B: ClusterId = ClusterId(1);
/// What a dialog asks the server about a scale.
const REVIEWS: &str = "selfsubjectaccessreviews";
const DRY_RUNS: &str = "dryRun";

/// Two clusters that have objects of the same names and UIDs. The contexts are called `test` in B, where the fake's own
/// kubeconfig has that name, and `other` in A.
struct Two {
    a: Fake,
    b: Fake,
    states: [ClusterState; 2],
    world: watch::Sender<Arc<World>>,
    clusters: Clusters,
    runner: Runner,
    reports: mpsc::Receiver<ActionView>,
}

fn info(id: ClusterId) -> ClusterInfo {
    let context = if id == A { "other" } else { "test" };
    ClusterInfo { id, context: context.into(), ..ClusterInfo::default() }
}

fn clients(fake: &Fake, id: ClusterId) -> ClusterClients {
    let (reader, writer) = (fake.connection.reader().unwrap(), fake.connection.writer().unwrap());
    ClusterClients {
        id,
        context: info(id).context,
        own: Clients { reader, writer: Some(writer) },
        clock: Clock::system(),
        guards: GuardSettings::default(),
        limiter: EvictionRateLimiter::default(),
        open: Arc::new(|context| Box::pin(async move { Err(format!("{context} cannot be opened")) })),
        proxies: pilothouse::action::haproxy::Proxies::default(),
        alertmanager: pilothouse::action::alertmanager::Alertmanager::default(),
    }
}

impl Two {
    async fn start(journal: Journal, without_journal: WithoutJournal) -> Self {
        let (a, b) = (Fake::start(0).await, Fake::start(0).await);
        let (world, newest) = watch::channel(Arc::default());
        let (told, reports) = mpsc::channel(1000);
        let clusters = Clusters::from_iter([clients(&a, A), clients(&b, B)]);
        let runner = Runner::new(Parts {
            clusters: clusters.clone(),
            facts: Facts::Live(newest),
            journal: journal.quiet(),
            clock: Clock::system(),
            without_journal,
            user: "u".into(),
            host: "h".into(),
            reports: told,
        });
        let states = [A, B].map(|id| ClusterState::new(info(id)));
        let mut two = Self { a, b, states, world, clusters, runner, reports };
        two.sees(3, 1);
        two
    }

    async fn with_journal(folder: &Path) -> Self {
        Self::start(Journal::new(folder.to_owned(), "runner"), WithoutJournal::Ask).await
    }

    /// Both clusters' watches tell of the Deployment at this version, with so many replicas.
    fn sees(&mut self, replicas: i32, version: u64) {
        for (fake, state) in [&self.a, &self.b].into_iter().zip(&mut self.states) {
            let body = fake.state.lock().unwrap().get(WEB).unwrap().to_string();
            let mut web =
                workload::workload(&mut Pools::default(), &Kind::Deployment, body.as_bytes()).unwrap();
            (web.replicas, web.version) = (replicas, Version(version));
            // a version alone that moves is a heartbeat: nothing is published for it
            web.ready = i32::try_from(version).unwrap();
            state.apply(Fact::Deployments(Batch::Upsert(vec![web])), Stamp(0));
            state.publish(Stamp(0), false);
        }
        let clusters = self.states.iter().map(|state| state.published().clone()).collect();
        self.world.send_replace(Arc::new(World { clusters, ..World::default() }));
    }

    /// The Prometheus of the config is not asked about the cluster B.
    fn unmeasured(&mut self) {
        let info = ClusterInfo { is_unmeasured: true, ..info(B) };
        self.states[1] = ClusterState::new(info);
        self.sees(3, 1);
    }

    async fn rehearsed(&self, intent: &Intent) -> Plan {
        let plan = self.runner.rehearse(intent, None).await.unwrap();
        assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
        plan
    }

    async fn run(&self, read: Plan, answer: &str) -> ActionView {
        let consent = Consent::Typed(answer.into());
        let confirmed = Confirmed { read: Arc::new(read), consent, follows: None };
        let done = self.runner.start(confirmed).done.await.unwrap();
        assert_eq!(self.runner.running(), 0, "an action that has ended does not run");
        done
    }

    fn written(&self) -> (u32, u32) {
        (self.a.state.lock().unwrap().total(), self.b.state.lock().unwrap().total())
    }
}

/// To scale the Deployment of a cluster from 3 to 5: asks for `y`.
fn scale(cluster: ClusterId) -> Intent {
    Intent {
        cluster,
        context: info(cluster).context,
        act: Act::Scale(ScaleBy { replicas: 5, current_replicas: None }),
        targets: vec![web(cluster)],
    }
}

/// The Deployment of a cluster. In both, it has the same namespace, name and UID.
fn web(cluster: ClusterId) -> ObjectRef {
    ObjectRef::new(cluster, Kind::Deployment, &"shop".into(), &"web".into(), &Uid::parse(&uid(600)))
}

#[tokio::test]
async fn an_action_is_planned_and_carried_out_on_the_cluster_that_its_intent_names() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = Two::with_journal(folder.path()).await;
    for (cluster, written) in [(B, (0, 1)), (A, (1, 1))] {
        let plan = two.rehearsed(&scale(cluster)).await;
        assert!(plan.kubectl.contains(info(cluster).context.as_str()), "{}", plan.kubectl);
        let done = two.run(plan, "y").await;
        assert_eq!((done.outcome, done.cluster), (Some(Outcome::Done), cluster), "{}", done.message);
        assert_eq!(two.written(), written);
        if cluster == B {
            let asked = two.a.state.lock().unwrap().requests.clone();
            assert!(asked.is_empty(), "nothing of B is asked of A: {asked:?}");
        }
    }
    let mut told = Vec::new();
    while let Ok(report) = two.reports.try_recv() {
        told.push(report);
    }
    assert!(told.iter().any(|r| r.cluster == A) && told.iter().any(|r| r.cluster == B));
    // each line of the journal names the cluster that its request went to
    let lines = std::fs::read_to_string(folder.path().join("runner.jsonl")).unwrap();
    let servers = [&two.a, &two.b].map(|fake| fake.connection.reader().unwrap().server().to_owned());
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let (id, place) = (&line["body"]["id"], &line["body"]["cluster"]);
        let of = told.iter().find(|report| *id == report.id.as_str()).unwrap().cluster;
        let place = (place["context"].as_str().unwrap(), place["server"].as_str().unwrap());
        assert_eq!(place, (info(of).context.as_str(), servers[usize::from(of.0)].as_str()));
    }
    let journaled = Journal::new(folder.path().to_owned(), "look").history().0;
    let mut contexts: Vec<&str> = journaled.iter().map(|a| a.plan.intent.context.as_str()).collect();
    contexts.sort_unstable();
    assert_eq!(contexts, ["other", "test"], "the journal names the cluster of each");
}

#[tokio::test]
async fn an_action_is_timed_by_the_server_of_its_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = Two::with_journal(folder.path()).await;
    // a server in the past: what it says of times is nothing that our clock or the other server's can have
    let there = Stamp(1_000_000_000_000);
    two.clusters.insert(ClusterClients { clock: Clock::manual(there), ..clients(&two.b, B) });
    let restart = |cluster| Intent { act: Act::Restart, ..scale(cluster) };
    for (cluster, is_there) in [(B, true), (A, false)] {
        let plan = two.rehearsed(&restart(cluster)).await;
        assert_eq!(plan.made_at == there, is_there, "{}", plan.made_at);
        let answer = plan.answer.clone();
        let done = two.run(plan, &answer).await;
        assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
        assert_eq!((done.started == there, done.ended == Some(there)), (is_there, is_there));
        let fake = if cluster == A { &two.a } else { &two.b };
        let web = fake.state.lock().unwrap().get(WEB).unwrap().clone();
        let stamp = &web["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"];
        assert_eq!(*stamp == there.to_string().as_str(), is_there, "{stamp}");
    }
    // what is refused is dated in the same way
    let refused = two.rehearsed(&restart(B)).await;
    assert_eq!(two.run(refused, "no").await.ended, Some(there));
    while let Ok(report) = two.reports.try_recv() {
        assert_eq!(report.started == there, report.cluster == B);
    }
}

#[tokio::test]
async fn each_action_goes_to_its_own_cluster_while_the_other_one_is_closed() {
    let scaled = Act::Scale(ScaleBy { replicas: 5, current_replicas: None });
    for act in [Act::Restart, Act::PauseRollout, scaled] {
        for (cluster, other) in [(A, B), (B, A)] {
            let folder = tempfile::tempdir().unwrap();
            let two = Two::with_journal(folder.path()).await;
            let intent = |cluster| Intent { act: act.clone(), ..scale(cluster) };
            let read = two.rehearsed(&intent(cluster)).await;
            let of_other = two.rehearsed(&intent(other)).await;
            two.clusters.remove(other);
            let answer = read.answer.clone();
            let done = two.run(read.clone(), &answer).await;
            assert_eq!((done.outcome, done.cluster), (Some(Outcome::Done), cluster), "{}", done.message);
            let written = if cluster == A { (1, 0) } else { (0, 1) };
            assert_eq!(two.written(), written, "{act:?}");
            // of a closed cluster, nothing is planned and nothing is sent, whatever was read before
            let why = two.runner.rehearse(&intent(other), None).await.unwrap_err().to_string();
            assert_eq!(why, "pilothouse is not connected to that cluster");
            let answer = of_other.answer.clone();
            let done = two.run(of_other, &answer).await;
            assert_eq!(done.outcome, Some(Outcome::Refused), "{}", done.message);
            assert_eq!(two.written(), written, "{act:?}");
        }
    }
}

#[tokio::test]
async fn another_context_is_reached_by_the_clients_of_its_open_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let two = Two::with_journal(folder.path()).await;
    let open = two.clusters.opener(Arc::new(|context| {
        Box::pin(async move { Err(format!("{context} is opened by the kubeconfig")) })
    }));
    let servers = [&two.a, &two.b].map(|fake| fake.connection.reader().unwrap().server().to_owned());
    for (cluster, server) in [A, B].into_iter().zip(servers) {
        let found = open(info(cluster).context).await.unwrap();
        assert_eq!((found.reader.server(), found.writer.is_some()), (server.as_str(), true));
    }
    let closed = info(B).context;
    two.clusters.remove(B);
    for context in [closed, "third".into()] {
        let why = open(context.clone()).await.unwrap_err();
        assert_eq!(why, format!("{context} is opened by the kubeconfig"));
    }
}

#[tokio::test]
async fn an_object_of_another_cluster_is_refused_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let two = Two::with_journal(folder.path()).await;
    let fine = two.rehearsed(&scale(B)).await;
    let asked = |two: &Two| [&two.a, &two.b].map(|fake| fake.state.lock().unwrap().requests.len());
    let before = asked(&two);
    for (cluster, targets) in [(A, vec![web(B)]), (B, vec![web(A)]), (A, vec![web(A), web(B)])] {
        let intent = Intent { targets, ..scale(cluster) };
        let why = two.runner.rehearse(&intent, None).await.unwrap_err().to_string();
        let context = info(cluster).context;
        let wanted = format!("shop/deploy/web is in another cluster than context {context}");
        assert!(why.starts_with(&wanted), "{why}");
        // a plan of it, however it was made, is not executed with either confirmation
        let mut steps = fine.steps.clone();
        steps[0].on.cluster = if cluster == A { B } else { A };
        let plan = Plan { intent: scale(cluster), steps, ..fine.clone() };
        let read = Arc::new(Plan { intent, ..fine.clone() });
        for read in [read, Arc::new(plan)] {
            let confirmed = Confirmed { read, consent: Consent::Flags, follows: None };
            let done = two.runner.start(confirmed).done.await.unwrap();
            assert_eq!(done.outcome, Some(Outcome::Refused), "{}", done.message);
            assert!(done.message.contains("shop/deploy/web is in another cluster"), "{}", done.message);
        }
    }
    assert_eq!(asked(&two), before);
    assert_eq!(two.written(), (0, 0));
    assert!(Journal::new(folder.path().to_owned(), "look").history().0.is_empty());
}

#[tokio::test]
async fn an_open_dialog_asks_again_only_when_something_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = Two::with_journal(folder.path()).await;
    let intent = scale(B);
    let asked = |two: &Two| {
        let state = two.b.state.lock().unwrap();
        (state.asked(REVIEWS), state.asked(DRY_RUNS))
    };
    let first = two.rehearsed(&intent).await;
    assert_eq!(asked(&two), (1, 1));
    for _ in 0..3 {
        let again = two.rehearsed(&intent).await;
        assert_eq!(again.goes_beyond(&first), None);
    }
    assert_eq!(asked(&two), (1, 1), "nothing has changed");
    two.sees(3, 2);
    two.rehearsed(&intent).await;
    assert_eq!(asked(&two), (1, 2), "the object has another version");
    let more = Intent { act: Act::Scale(ScaleBy { replicas: 6, current_replicas: None }), ..intent.clone() };
    two.rehearsed(&more).await;
    assert_eq!(asked(&two), (1, 3), "the step is another");
    let plan = two.rehearsed(&intent).await;
    let before = asked(&two);
    let done = two.run(plan, "y").await;
    assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
    assert_eq!(asked(&two), (before.0 + 1, before.1 + 1), "all is asked once more before anything is sent");
    assert_eq!(two.written(), (0, 1));
}

#[tokio::test]
async fn what_must_not_be_sent_is_refused_after_it_was_started_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = Two::with_journal(folder.path()).await;
    let read = two.rehearsed(&scale(B)).await;
    let nowhere = Plan { intent: Intent { cluster: ClusterId(7), ..read.intent.clone() }, ..read.clone() };
    for (read, answer, replicas, why) in [
        (read.clone(), "n", 3, "not what had to be typed"),
        (read.clone(), "y", 4, "what it does changed after the plan was shown"),
        (nowhere, "y", 3, "pilothouse is not connected to that cluster"),
    ] {
        two.sees(replicas, 2);
        let done = two.run(read, answer).await;
        assert_eq!(done.outcome, Some(Outcome::Refused));
        assert!(
            done.message.starts_with("nothing was sent: ") && done.message.contains(why),
            "{}",
            done.message
        );
        let told = two.reports.recv().await.unwrap();
        assert_eq!((told.id, told.outcome), (done.id, Some(Outcome::Refused)), "it is shown");
    }
    assert_eq!(two.written(), (0, 0));
    assert!(Journal::new(folder.path().to_owned(), "look").history().0.is_empty());
}

#[tokio::test]
async fn nothing_is_judged_by_a_picture_that_is_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = Two::with_journal(folder.path()).await;
    let read = two.rehearsed(&scale(B)).await;
    // the hub has ended
    two.world = watch::channel(Arc::default()).0;
    let why = two.runner.rehearse(&scale(B), None).await.unwrap_err().to_string();
    assert!(why.contains("the display is no longer updated"), "{why}");
    let done = two.run(read, "y").await;
    assert!(done.message.contains("the display is no longer updated"), "{}", done.message);
    assert_eq!((done.outcome, two.written()), (Some(Outcome::Refused), (0, 0)));
}

#[tokio::test]
async fn without_a_journal_the_contexts_name_has_to_be_typed() {
    let mut two = Two::start(Journal::nowhere(), WithoutJournal::Ask).await;
    let plan = two.rehearsed(&scale(B)).await;
    assert_eq!((plan.confirm, plan.answer.as_str()), (Confirm::Context, "test"));
    assert!(plan.warnings.iter().any(|w| w.code() == "journal-unusable"), "{:?}", plan.warnings);
    let done = two.run(plan.clone(), "y").await;
    assert_eq!((done.outcome, two.written()), (Some(Outcome::Refused), (0, 0)));
    let done = two.run(plan, "test").await;
    assert_eq!((done.outcome, two.written()), (Some(Outcome::Done), (0, 1)), "{}", done.message);
    // where nobody is asked
    two = Two::start(Journal::nowhere(), WithoutJournal::Refuse).await;
    let plan = two.rehearsed(&scale(B)).await;
    assert_eq!(plan.confirm, Confirm::Yes);
    let confirmed = Confirmed { read: Arc::new(plan), consent: Consent::Flags, follows: None };
    let done = two.runner.start(confirmed).done.await.unwrap();
    assert!(done.message.contains("cannot be written to the journal"), "{}", done.message);
    assert_eq!((done.outcome, two.written()), (Some(Outcome::Refused), (0, 0)));
}

#[tokio::test]
async fn an_action_is_resumed_on_the_cluster_that_it_was_done_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = Two::with_journal(folder.path()).await;
    let act = Act::Scale(ScaleBy { replicas: 5, current_replicas: None });
    let begun = plan(&two.b, act).await;
    // its step is on disk, and nothing was sent
    assert!(dies(&two.b, folder.path(), &begun, 3).await);
    two.b.quiet().await;
    let id = resume::unfinished(&Journal::new(folder.path().to_owned(), "look"))[0].id.clone();
    let taken = two.runner.take_up(&id, Duration::ZERO, |_| ()).await.unwrap();
    assert_eq!(taken.cluster, B, "by its context, whatever its number was in the other process");
    let Remaining::Intent(intent) = taken.remaining() else { panic!("{:?}", taken.remaining()) };
    assert_eq!((intent.cluster, intent.context.as_str()), (B, "test"));
    let read = Arc::new(two.rehearsed(&intent).await);
    let consent = Consent::Typed(read.answer.clone());
    let confirmed = Confirmed { read, consent, follows: Some((id.clone(), How::Resumed)) };
    let done = two.runner.start(confirmed).done.await.unwrap();
    assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
    assert_eq!(two.written(), (0, 1));
    let again = two.runner.take_up(&id, Duration::ZERO, |_| ()).await;
    assert!(matches!(again, Err(NotTakenUp::NotUnfinished)), "{again:?}");
    // of a context that is not open here
    let folder = tempfile::tempdir().unwrap();
    two = Two::with_journal(folder.path()).await;
    let elsewhere = Plan { intent: Intent { context: "third".into(), ..begun.intent.clone() }, ..begun };
    assert!(dies(&two.b, folder.path(), &elsewhere, 3).await);
    let id = resume::unfinished(&Journal::new(folder.path().to_owned(), "look"))[0].id.clone();
    let other = two.runner.take_up(&id, Duration::ZERO, |_| ()).await;
    assert!(matches!(&other, Err(NotTakenUp::OtherContext(context)) if *context == "third"), "{other:?}");
}

#[tokio::test]
async fn a_watched_action_is_not_resumed_where_the_prometheus_of_the_config_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = Two::with_journal(folder.path()).await;
    two.unmeasured();
    let watched = Watched { namespace: "shop".into(), service: "web".into(), max_error_percent: 5.0 };
    let canary = FailoverPlan {
        name: "canary".into(),
        kind: FailoverKind::Evacuate(Pick::Zone("a".into())),
        watched: Some(watched.clone()),
        soak_secs: 0,
        suggested: false,
        in_context: String::new(),
    };
    let act = Act::Failover { plan: Box::new(canary), revert: false };
    for (cluster, resumes, is_refused) in [(B, Some("7"), true), (B, None, false), (A, Some("7"), false)] {
        let intent = Intent { act: act.clone(), targets: Vec::new(), ..scale(cluster) };
        let id = resumes.map(Name::from);
        let plan = two.runner.rehearse(&intent, id.as_ref()).await.unwrap();
        let codes: Vec<&str> = plan.refusals.iter().map(Refusal::code).collect();
        assert_eq!(codes.contains(&"watched-unmeasured"), is_refused, "{cluster:?} {resumes:?}: {codes:?}");
        assert!(plan.warnings.iter().any(|w| w.code() == "watched-unknown"), "{:?}", plan.warnings);
    }
    // the steps that are left of another one are not carried out either, although they were confirmed
    for (cluster, written) in [(B, (0, 0)), (A, (1, 0))] {
        let rest = DerivedPlan {
            of: "7".into(),
            title: "failover dr".into(),
            steps: vec![Step::new(StepKind::Scale { from: 3, to: 5 }, web(cluster))],
            not_restored: String::new(),
            confirm: Confirm::Context,
            watched: Some(watched.clone()),
            takes_back: false,
        };
        let intent = Intent { act: Act::Resume(Box::new(rest)), ..scale(cluster) };
        let plan = two.runner.rehearse(&intent, None).await.unwrap();
        let answer = plan.answer.clone();
        let done = two.run(plan, &answer).await;
        let is_refused = done.message.contains("7 must stop if shop/web has more than 5 % errors");
        assert_eq!((is_refused, two.written()), (cluster == B, written), "{}", done.message);
    }
}

#[tokio::test]
async fn a_runner_that_is_stopped_waits_for_its_actions_and_leaves_them_to_be_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = Two::with_journal(folder.path()).await;
    // it takes no effect, so that it is waited for
    two.b.state.lock().unwrap().slow = true;
    let read = Arc::new(two.rehearsed(&scale(B)).await);
    let consent = Consent::Typed("y".into());
    let started = two.runner.start(Confirmed { read, consent, follows: None });
    while two.written() != (0, 1) {
        two.reports.recv().await.unwrap();
    }
    assert!(two.runner.control(&started.id).is_some() && two.runner.running() == 1);
    assert!(two.runner.shutdown().await, "it comes to its end in time");
    let done = started.done.await.unwrap();
    assert_ne!(done.outcome, Some(Outcome::Done), "{}", done.message);
    assert_eq!(two.runner.running(), 0);
}

fn handle(fake: &Fake, id: ClusterId) -> ClusterHandle {
    let (facts, control) = (mpsc::channel(1).0, mpsc::channel(1).0);
    ClusterHandle {
        info: info(id),
        connection: fake.connection.clone(),
        clients: clients(fake, id),
        sources: Supervisor::new(),
        sink: FactSink::new(id, Clock::system(), facts, control),
        started: Vec::new(),
        logs: Arc::new(LogStore::new(1 << 20)),
        resources: Arc::default(),
        ranges: Ranges::default(),
        failover: Arc::default(),
    }
}

/// Opens no cluster: nobody asks it to.
fn opener(two: &Two) -> Opener {
    Opener::new(Opening {
        basis: Basis {
            settings: Arc::default(),
            dialer: Dialer::new(None, None, Overrides::default(), Clock::system()),
            namespaces: Vec::new(),
            is_demo: false,
            first: String::new(),
        },
        wanted: Wanted::All,
        writes: true,
        clusters: Handles::default(),
        facts: mpsc::channel(1).0,
        control: mpsc::channel(1).0,
        changes: mpsc::channel(1).0,
        world: two.world.subscribe(),
        supervisor: Supervisor::new(),
        memory: Shares::new(1 << 20),
        streams: Shares::new(1),
        tell: Box::new(|_| ()),
        retry: RETRY,
    })
}

/// The next thing that the screen is told.
async fn next(inbox: &Arc<Mutex<Receiver<Input>>>) -> Input {
    let inbox = inbox.clone();
    let told = move || inbox.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
    tokio::task::spawn_blocking(told).await.unwrap()
}

fn desk(two: &Two, clusters: Handles, inbox: SyncSender<Input>) -> Desk {
    Desk {
        clusters,
        runner: two.runner.clone(),
        clock: Clock::system(),
        world: two.world.subscribe(),
        inbox,
        control: mpsc::channel(1).0,
        supervisor: Supervisor::new(),
        opener: opener(two),
        recorded: None,
        home: Home::default(),
        logs: HashMap::new(),
        asked: HashMap::new(),
    }
}

#[tokio::test]
async fn a_cluster_is_not_closed_while_an_action_starts_there() {
    let folder = tempfile::tempdir().unwrap();
    let two = Two::with_journal(folder.path()).await;
    let read = Arc::new(two.rehearsed(&scale(B)).await);
    let (inbox_in, inbox) = queue();
    let inbox = Arc::new(Mutex::new(inbox));
    let (effects, effects_in) = mpsc::channel(64);
    // both are asked for before the desk begins, so that the action has not been rehearsed again when the cluster is closed
    let run = Effect::Run { read, answer: "y".into(), resumes: None };
    for effect in [run, Effect::CloseCluster(B), Effect::CloseCluster(A)] {
        effects.send(effect).await.unwrap();
    }
    tokio::spawn(desk(&two, Handles::default(), inbox_in).serve(effects_in));
    let mut told = Vec::new();
    for _ in 0..3 {
        let Input::Notice(words) = next(&inbox).await else { panic!() };
        told.push(words);
    }
    assert_eq!(told[0], "not closed: an action runs there (scale in test)");
    assert_eq!(told[1], "that cluster is not open", "nothing runs in A");
    assert!(told[2].starts_with("scale done: "), "{told:?}");
    effects.send(Effect::CloseCluster(B)).await.unwrap();
    let Input::Notice(words) = next(&inbox).await else { panic!() };
    assert_eq!(words, "that cluster is not open", "the action has ended");
}

#[tokio::test]
async fn the_standby_of_a_failover_that_starts_is_not_closed() {
    let folder = tempfile::tempdir().unwrap();
    let two = Two::with_journal(folder.path()).await;
    let standby = Standby {
        context: info(B).context,
        workloads: vec![(Kind::Deployment, "shop".into(), "web".into())],
        shift: None,
        scale_down: false,
    };
    let way = FailoverPlan {
        name: "dr".into(),
        kind: FailoverKind::Standby(standby),
        watched: None,
        soak_secs: 0,
        suggested: false,
        in_context: String::new(),
    };
    let act = Act::Failover { plan: Box::new(way), revert: false };
    let intent = Intent { act, targets: Vec::new(), ..scale(A) };
    let (inbox_in, inbox) = queue();
    let inbox = Arc::new(Mutex::new(inbox));
    let (effects, effects_in) = mpsc::channel(64);
    // its steps are not known before it is rehearsed once more
    let read = Arc::new(Plan::new(intent, Stamp(0)));
    let run = Effect::Run { read, answer: "not what is asked for".into(), resumes: None };
    for effect in [run, Effect::CloseCluster(B), Effect::CloseCluster(A)] {
        effects.send(effect).await.unwrap();
    }
    tokio::spawn(desk(&two, Handles::default(), inbox_in).serve(effects_in));
    for _ in 0..2 {
        let Input::Notice(words) = next(&inbox).await else { panic!() };
        assert_eq!(words, "not closed: an action runs there (failover in other)");
    }
    let Input::Notice(words) = next(&inbox).await else { panic!() };
    assert!(words.starts_with("nothing was sent: "), "{words}");
    effects.send(Effect::CloseCluster(B)).await.unwrap();
    let Input::Notice(words) = next(&inbox).await else { panic!() };
    assert_eq!(words, "that cluster is not open", "the failover has ended");
}

#[tokio::test]
async fn what_the_screen_asks_about_an_object_goes_to_the_cluster_of_that_object() {
    let folder = tempfile::tempdir().unwrap();
    let two = Two::with_journal(folder.path()).await;
    let (inbox_in, inbox) = queue();
    let inbox = Arc::new(Mutex::new(inbox));
    let green = FailoverPlan {
        name: "green".into(),
        kind: FailoverKind::Evacuate(Pick::Zone("a".into())),
        watched: None,
        soak_secs: 0,
        suggested: false,
        in_context: String::new(),
    };
    let first = ClusterHandle { failover: [green].into(), ..handle(&two.a, A) };
    let desk = desk(&two, Handles::from_iter([first, handle(&two.b, B)]), inbox_in);
    let (effects, effects_in) = mpsc::channel(64);
    let serves = tokio::spawn(desk.serve(effects_in));
    let yaml = |cluster| Request::Yaml(web(cluster));
    for request in [
        yaml(B),
        Request::Kinds { cluster: B },
        Request::Table { cluster: B, resource: "pods".into(), namespace: None },
        Request::FailoverPlans { cluster: B },
        Request::ErrorLines { cluster: B, fingerprint: Name::default() },
    ] {
        let words = format!("{request:?}");
        effects.send(Effect::Fetch(Ticket(1), request)).await.unwrap();
        assert!(matches!(next(&inbox).await, Input::Reply(Ticket(1), _)), "{words}");
    }
    effects.send(Effect::Plan(Ticket(2), scale(B), None)).await.unwrap();
    let Input::Reply(Ticket(2), Reply::Rehearsal(made)) = next(&inbox).await else { panic!() };
    let run = |read, answer: &str| Effect::Run { read, answer: answer.into(), resumes: None };
    effects.send(run(made.plan.clone(), "n")).await.unwrap();
    let Input::Notice(words) = next(&inbox).await else { panic!() };
    assert_eq!(words, "nothing was sent: that is not what had to be typed");
    effects.send(run(made.plan, "y")).await.unwrap();
    let Input::Notice(words) = next(&inbox).await else { panic!() };
    assert!(words.starts_with("scale done: "), "{words}");
    let (object, within) = (web(B), None);
    let request = LogRequest { object, within, previous: false, follow: false, tail: 10, since: None };
    effects.send(Effect::FollowLogs(Ticket(3), request)).await.unwrap();
    assert!(matches!(next(&inbox).await, Input::LogEnded(Ticket(3))));
    let asked = two.a.state.lock().unwrap().requests.clone();
    assert!(asked.is_empty(), "nothing was asked of A: {asked:?}");
    assert!(two.b.state.lock().unwrap().asked(WEB) > 0);
    assert_eq!(two.written(), (0, 1));
    // and the other way round
    let before = two.b.state.lock().unwrap().requests.len();
    effects.send(Effect::Fetch(Ticket(4), yaml(A))).await.unwrap();
    assert!(matches!(next(&inbox).await, Input::Reply(Ticket(4), Reply::Text(_))));
    assert_eq!(two.a.state.lock().unwrap().requests.len(), 1);
    assert_eq!(two.b.state.lock().unwrap().requests.len(), before);
    // a plan of the config is offered in its own cluster
    for (cluster, names) in [(A, &["green"][..]), (B, &[])] {
        effects.send(Effect::Fetch(Ticket(6), Request::FailoverPlans { cluster })).await.unwrap();
        let Input::Reply(Ticket(6), Reply::Plans(plans)) = next(&inbox).await else { panic!() };
        let of_config = plans.iter().filter(|plan| !plan.suggested);
        assert_eq!(of_config.map(|plan| plan.name.as_str()).collect::<Vec<_>>(), names, "{cluster:?}");
    }
    // a cluster that is not opened is not waited for
    effects.send(Effect::OpenCluster("third".into())).await.unwrap();
    let Input::NotOpened(context, why) = next(&inbox).await else { panic!() };
    assert_eq!((context.as_str(), why.as_str()), ("third", "busy, try again"));
    // of a cluster that is not there
    effects.send(Effect::Fetch(Ticket(5), yaml(ClusterId(9)))).await.unwrap();
    let Input::Reply(Ticket(5), Reply::Failed(why)) = next(&inbox).await else { panic!() };
    assert_eq!(why, "pilothouse is not connected to that cluster");
    drop(effects);
    serves.await.unwrap();
}
