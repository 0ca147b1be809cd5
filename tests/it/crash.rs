//! The real executor and the real journal against a server in this process. The process dies at every write of its
//! journal, answers are lost, users cancel and pause; nothing is lost, and nothing is applied twice.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pilothouse::action::answers::Answers;
use pilothouse::action::cluster::PlanClients;
use pilothouse::action::executor::{Control, EvictionRateLimiter, Executor, Recorder, Session, new_id};
use pilothouse::action::fetch_targets;
use pilothouse::action::journal::{Follows, How, Journal, Moment};
use pilothouse::action::rehearse::rehearse;
use pilothouse::action::resume::{self, Remaining, Unfinished};
use pilothouse::clock::Clock;
use pilothouse_core::domain::id::{ClusterId, Kind, ObjectRef, Uid};
use pilothouse_core::domain::plan::{Act, DrainOptions, Intent, Plan, ScaleBy};
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::facts::world::{ActionView, ClusterInfo, Outcome, StepState};
use pilothouse_core::plan::DataScope;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fake::{Fake, NodeWatch, Returns, State, Swallow, Turn, pod};

pub const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
pub const NODE: &str = "/api/v1/nodes/n1";

pub fn reach(fake: &Fake) -> PlanClients {
    PlanClients::new(ClusterId(0), fake.connection.reader().unwrap(), Some(fake.connection.writer().unwrap()))
}

fn node() -> ObjectRef {
    ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &"n1".into(), &Uid::default())
}

pub fn web() -> ObjectRef {
    ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &"web".into(), &Uid::default())
}

fn drain() -> Act {
    Act::Drain(DrainOptions::default())
}

pub async fn plan(fake: &Fake, act: Act) -> Plan {
    let target = match act {
        Act::Drain(_) | Act::Cordon | Act::OutOfService => node(),
        _ => web(),
    };
    let intent = Intent { cluster: ClusterId(0), context: "test".into(), act, targets: vec![target] };
    planned(fake, intent).await
}

pub async fn planned(fake: &Fake, intent: Intent) -> Plan {
    let reach = reach(fake);
    let info = ClusterInfo { context: "test".into(), ..ClusterInfo::default() };
    let now = Clock::system().now();
    let scene =
        fetch_targets::fetch(&reach.own.reader, info, intent.act, &intent.targets, now).await.unwrap();
    let guards = GuardSettings::default();
    let answers = &mut Answers::default();
    let plan =
        rehearse(&scene.cluster, &scene.intent, &guards, DataScope::TargetsOnly, now, &reach, answers).await;
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
    plan
}

pub fn executor(fake: &Fake, journal: Journal) -> (Executor, mpsc::Receiver<ActionView>) {
    let (tell, told) = mpsc::channel(10_000);
    let executor = Executor {
        session: Session {
            reach: reach(fake),
            guards: GuardSettings::default(),
            clock: Clock::system(),
            stop: CancellationToken::new(),
            limiter: EvictionRateLimiter::default(),
        },
        recorder: Recorder { journal, clock: Clock::system(), progress: tell, memory_journal: false },
        gauge: Arc::new(|_| None),
        user: "u".into(),
        host: "h".into(),
        follows: None,
    };
    (executor, told)
}

/// Dies when the probe sees the `at`-th record. True if it died.
pub async fn dies(fake: &Fake, folder: &Path, plan: &Plan, at: usize) -> bool {
    let seen = AtomicUsize::new(0);
    let probe = move |_: &_, _: Moment| {
        if seen.fetch_add(1, Ordering::SeqCst) == at {
            // like a panic, but without its message
            resume_unwind(Box::new("the process dies here"));
        }
    };
    let journal = Journal::with_probe(folder.to_owned(), "first", Arc::new(probe));
    let (executor, _told) = executor(fake, journal);
    let plan = plan.clone();
    let id = new_id(&executor.session.clock);
    let run = tokio::spawn(async move { executor.run(id, &plan, Control::default(), None).await.outcome });
    match run.await {
        Ok(outcome) => {
            assert_eq!(outcome, Some(Outcome::Done));
            false
        }
        Err(e) => {
            assert!(e.is_panic());
            true
        }
    }
}

/// The journal's state of each step must agree with what the server has applied.
fn truthful(fake: &Fake, action: &Unfinished) {
    let state = fake.state.lock().unwrap();
    for (step, mark) in action.plan.steps.iter().zip(&action.marks) {
        let what = if step.is_eviction() { "evict" } else { "patch" };
        let applied = state.applied.get(&format!("{what} {}", step.on.uid)).copied().unwrap_or(0);
        match mark.state {
            StepState::Waiting | StepState::Held => {
                assert_eq!(applied, 0, "{step:?} was applied and the journal does not know");
            }
            StepState::Accepted | StepState::Verified => {
                assert_eq!(applied, 1, "{step:?} is called done and is not");
            }
            _ => {}
        }
    }
}

/// Starts again with the same folder and completes the rest.
pub async fn takes_up(fake: &Fake, folder: &Path) -> usize {
    let journal = Journal::new(folder.to_owned(), "second");
    let found = resume::unfinished(&journal);
    for action in &found {
        truthful(fake, action);
        let reach = reach(fake);
        let settled = resume::settle(&reach, action).await;
        assert_eq!(settled.steps.len(), action.plan.steps.len());
        let plan = match resume::resume_intent(action, &settled) {
            Remaining::Nothing => {
                let by = "nothing".into();
                resume::close(&journal, &action.id, &by, How::Resumed, Clock::system().now()).unwrap();
                continue;
            }
            Remaining::Intent(intent) => planned(fake, intent).await,
            Remaining::Blocked(why) => panic!("blocked: {why}"),
        };
        let (mut executor, _told) = executor(fake, journal.clone());
        executor.follows = Some(Follows { id: action.id.clone(), how: How::Resumed, cordoned: Vec::new() });
        let done = executor.run(new_id(&executor.session.clock), &plan, Control::default(), None).await;
        assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
    }
    found.len()
}

async fn at_every_write(act: Act, pods: u32, applied: u32, reached: impl Fn(&Fake) -> bool) {
    let mut deaths = 0;
    for at in 0.. {
        let fake = Fake::start(pods).await;
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(&fake, act.clone()).await;
        let died = Box::pin(dies(&fake, folder.path(), &plan, at)).await;
        fake.quiet().await;
        let found = Box::pin(takes_up(&fake, folder.path())).await;
        if at == 0 {
            assert_eq!(
                (found, fake.state.lock().unwrap().total()),
                (0, 0),
                "nothing is sent before the intent"
            );
            continue;
        }
        let last = folder.path().join("first.jsonl");
        let ended = std::fs::read_to_string(last).unwrap().contains(r#""record":"ended""#);
        assert_eq!(found, usize::from(died && !ended), "death {at}: listed once, unless it had ended");
        fake.quiet().await;
        assert!(reached(&fake), "death {at}: the end is reached");
        let state = fake.state.lock().unwrap();
        assert!(state.applied.values().all(|n| *n == 1), "death {at}: {:?}", state.applied);
        assert_eq!(state.total(), applied, "death {at}: {:?}", state.applied);
        drop(state);
        let third = Journal::new(folder.path().to_owned(), "third");
        assert!(resume::unfinished(&third).is_empty(), "death {at}: taken up, and not listed again");
        assert!(third.history().0.iter().any(|a| a.plan.intent == plan.intent), "death {at}: not forgotten");
        if !died {
            break;
        }
        deaths += 1;
    }
    eprintln!("{}: died {deaths} times", act.as_str());
    assert!(deaths > 5, "the probe sees each write twice");
}

#[tokio::test]
async fn a_drain_that_dies_at_any_write_is_taken_up() {
    at_every_write(drain(), 3, 4, |fake| {
        let state = fake.state.lock().unwrap();
        state.pods() == 0 && state.get(NODE).unwrap()["spec"]["unschedulable"] == true
    })
    .await;
}

#[tokio::test]
async fn a_scale_that_dies_at_any_write_is_taken_up() {
    let act = Act::Scale(ScaleBy { replicas: 5, current_replicas: Some(3) });
    at_every_write(act, 0, 1, |fake| fake.state.lock().unwrap().get(WEB).unwrap()["spec"]["replicas"] == 5)
        .await;
}

#[tokio::test]
async fn a_restart_that_dies_at_any_write_is_not_done_twice() {
    at_every_write(Act::Restart, 0, 1, |fake| {
        let state = fake.state.lock().unwrap();
        let template = &state.get(WEB).unwrap()["spec"]["template"];
        template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].is_string()
    })
    .await;
}

#[tokio::test]
async fn a_change_that_dies_at_any_write_is_taken_up() {
    at_every_write(Act::PauseRollout, 0, 1, |fake| {
        fake.state.lock().unwrap().get(WEB).unwrap()["spec"]["paused"] == true
    })
    .await;
}

/// Runs to the end with lost answers.
async fn loses(act: Act, swallow: Swallow) -> (Fake, ActionView) {
    let fake = Fake::start(3).await;
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(&fake, act).await;
    fake.state.lock().unwrap().swallow = swallow;
    let (executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
    let done = executor.run("1".into(), &plan, Control::default(), None).await;
    (fake, done)
}

#[tokio::test]
async fn a_lost_answer_is_read_back_and_nothing_is_sent_twice() {
    for act in [drain(), Act::Restart, Act::Scale(ScaleBy { replicas: 5, current_replicas: None })] {
        let (fake, done) = loses(act, Swallow::Answer).await;
        assert_eq!(done.outcome, Some(Outcome::Done), "{}: {:?}", done.message, done.steps);
        let state = fake.state.lock().unwrap();
        assert!(state.applied.values().all(|n| *n == 1), "{:?}", state.applied);
    }
}

fn writes() -> [Act; 4] {
    [
        Act::Cordon,
        Act::Restart,
        Act::PauseRollout,
        Act::Scale(ScaleBy { replicas: 5, current_replicas: None }),
    ]
}

#[tokio::test]
async fn a_write_that_was_applied_and_answered_otherwise_is_done_once() {
    for code in [401, 403, 409, 422, 429] {
        for act in writes().into_iter().chain([drain()]) {
            let evicts = matches!(act, Act::Drain(_));
            if code == 422 && (evicts || !matches!(act, Act::PauseRollout)) || code == 409 && evicts {
                // no JSON patch, and a 409 of the eviction API stands for another pod or another attempt
                continue;
            }
            let (fake, done) = loses(act.clone(), Swallow::Says(code)).await;
            let what = format!("{code} {}: {} {:?}", act.as_str(), done.message, done.steps);
            assert_eq!(done.outcome, Some(Outcome::Done), "{what}");
            assert_eq!(done.steps[0].state, StepState::Verified, "its own, so it can be undone: {what}");
            let state = fake.state.lock().unwrap();
            assert!(state.total() > 0 && state.applied.values().all(|n| *n == 1), "{what}");
        }
    }
}

#[tokio::test]
async fn a_write_that_was_refused_has_failed() {
    for code in [401, 403, 429] {
        for act in writes() {
            let (fake, done) = loses(act.clone(), Swallow::Refuses(code)).await;
            assert_eq!(done.outcome, Some(Outcome::Failed), "{code} {}: {}", act.as_str(), done.message);
            assert_eq!(fake.state.lock().unwrap().total(), 0);
        }
    }
}

#[tokio::test]
async fn a_status_that_moves_all_the_time_holds_nothing_up() {
    let fake = Fake::start(0).await;
    let folder = tempfile::tempdir().unwrap();
    fake.state.lock().unwrap().restless = true;
    let plan = plan(&fake, Act::PauseRollout).await;
    assert!(plan.warnings.is_empty(), "the dry run was answered: {:?}", plan.warnings);
    let (executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
    let done = executor.run("1".into(), &plan, Control::default(), None).await;
    assert_eq!(done.outcome, Some(Outcome::Done), "{}: {:?}", done.message, done.steps);
    assert_eq!(fake.state.lock().unwrap().total(), 1);
}

#[tokio::test]
async fn a_lost_request_ends_unknown_and_is_not_repeated() {
    let (fake, done) = loses(Act::Cordon, Swallow::Request).await;
    assert_eq!(done.outcome, Some(Outcome::Unknown), "{}", done.message);
    assert_eq!(fake.state.lock().unwrap().total(), 0);
}

#[tokio::test]
async fn a_pod_that_comes_in_between_is_judged_first() {
    for (owned, outcome, evicted) in [(true, Outcome::Done, 4), (false, Outcome::Failed, 0)] {
        let fake = Fake::start(3).await;
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(&fake, drain()).await;
        fake.state.lock().unwrap().late = Some(pod(77, "n1", owned));
        let (executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
        let done = executor.run("1".into(), &plan, Control::default(), None).await;
        assert_eq!(done.outcome, Some(outcome), "{}", done.message);
        let state = fake.state.lock().unwrap();
        let count = state.applied.iter().filter(|(what, _)| what.starts_with("evict")).count();
        assert_eq!(count, evicted, "{}", done.message);
        assert_eq!(done.message.contains("shop/p77"), !owned, "{}", done.message);
    }
}

/// Drains while this happens; returns the result.
async fn drains(pods: u32, meanwhile: impl FnOnce(&mut State), guards: GuardSettings) -> (Fake, ActionView) {
    let fake = Fake::start(pods).await;
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(&fake, drain()).await;
    meanwhile(&mut fake.state.lock().unwrap());
    let (mut executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
    executor.session.guards = guards;
    let done = executor.run("1".into(), &plan, Control::default(), None).await;
    (fake, done)
}

#[tokio::test]
async fn a_drain_whose_cordon_somebody_takes_back_stops_and_says_who() {
    // during the drain, after the last eviction, and seen only by the last check
    for (pods, after, watch) in
        [(40, 5, NodeWatch::Works), (3, 3, NodeWatch::Works), (3, 3, NodeWatch::Silent)]
    {
        let meanwhile = |state: &mut State| {
            state.node_watch = watch;
            state.turn_after = Some((after, Turn::Uncordoned));
            state.returns = Some(Returns::Uncordoned);
        };
        let (fake, done) = drains(pods, meanwhile, GuardSettings::default()).await;
        assert_eq!(done.outcome, Some(Outcome::Failed), "{}", done.message);
        for words in [
            "n1: uncordoned meanwhile by ann at 2026-01-02T03:04:05Z",
            "pilothouse --context test drain n1",
            "not cordoned any more: n1",
        ] {
            assert!(done.message.contains(words), "{words}: {}", done.message);
        }
        assert!(!done.message.contains("still cordoned"), "{}", done.message);
        let state = fake.state.lock().unwrap();
        assert!(state.evictions() < 30, "{} of {pods}", state.evictions());
        let new = |what: &String| (1000..1100).any(|n| *what == format!("evict {}", crate::fake::uid(n)));
        assert!(!state.applied.keys().any(new), "a pod that came back was evicted: {:?}", state.applied);
        assert!(state.applied.values().all(|n| *n == 1), "the node is left as somebody made it");
    }
}

/// The number of evictions that may be in flight, or sent in the same turn, when the node's change arrives.
const IN_FLIGHT: usize = 12;

#[tokio::test]
async fn a_drain_stops_on_what_the_watch_of_its_node_says() {
    for (turn, words) in [
        (Turn::Bare, "n1: uncordoned meanwhile, seen at 20"),
        (Turn::Replaced, "n1: another node has its name now"),
        (Turn::Deleted, "n1: the node is gone"),
        (
            Turn::NotReady,
            "n1: not ready any more: Ready is Unknown since 2026-01-02T03:04:05Z (NodeStatusUnknown)",
        ),
    ] {
        let meanwhile = |state: &mut State| {
            state.turn_after = Some((15, turn));
            // the pods stay, so that only the watch can end the drain
            state.lingers = true;
            // during the rehearsal
            (state.looks, state.node_lists) = (0, 0);
        };
        let (fake, done) = drains(40, meanwhile, GuardSettings::default()).await;
        assert_eq!(done.outcome, Some(Outcome::Failed), "{turn:?}: {}", done.message);
        let gone = matches!(turn, Turn::Deleted) && done.message.contains("the node is gone");
        assert!(gone || done.message.contains(words), "{turn:?}: {}", done.message);
        let state = fake.state.lock().unwrap();
        assert!(state.evictions() <= 15 + IN_FLIGHT, "{turn:?}: {}", state.evictions());
        // before the cordon, after it, and at the end
        assert!(state.looks <= 4, "{turn:?}: {} looks at the node", state.looks);
        assert_eq!((state.node_lists, state.node_watches), (1, 1), "{turn:?}");
    }
}

#[tokio::test]
async fn a_node_that_turns_not_ready_leaves_three_ways() {
    let meanwhile = |state: &mut State| state.turn_after = Some((5, Turn::NotReady));
    let (_fake, done) = drains(40, meanwhile, GuardSettings::default()).await;
    for words in [
        "if the machine is really off: pilothouse --context test out-of-service n1",
        "to continue the drain although the node is not ready: pilothouse --context test drain n1",
        "to leave it at that, nothing needs to be done",
        "still cordoned: n1",
    ] {
        assert!(done.message.contains(words), "{words}: {}", done.message);
    }
}

#[tokio::test]
async fn a_node_that_was_not_ready_in_the_plan_is_drained() {
    let fake = Fake::start(3).await;
    let folder = tempfile::tempdir().unwrap();
    fake.state.lock().unwrap().turn(Turn::NotReady);
    let plan = plan(&fake, drain()).await;
    assert_eq!(plan.not_ready, ["n1"]);
    let said = "n1 is Unknown since 2026-01-02 03:04:05 UTC: its kubelet does not answer";
    assert!(plan.warnings.iter().any(|w| w.to_string().starts_with(said)), "{:?}", plan.warnings);
    let (executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
    let done = executor.run("1".into(), &plan, Control::default(), None).await;
    assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
}

#[tokio::test]
async fn a_node_that_cannot_be_watched_is_looked_at() {
    for how in [NodeWatch::Denied, NodeWatch::Unwatched, NodeWatch::Breaks(4)] {
        // it can be drained,
        let (fake, done) =
            drains(12, |state: &mut State| state.node_watch = how, GuardSettings::default()).await;
        assert_eq!(done.outcome, Some(Outcome::Done), "{how:?}: {}", done.message);
        assert!(!done.message.contains("not known"), "{how:?}: {}", done.message);
        assert_eq!(fake.state.lock().unwrap().evictions(), 12);
        // and stops when its node is uncordoned
        let meanwhile = |state: &mut State| {
            state.node_watch = how;
            state.turn_after = Some((5, Turn::Uncordoned));
        };
        let (fake, done) = drains(40, meanwhile, GuardSettings::default()).await;
        assert_eq!(done.outcome, Some(Outcome::Failed), "{how:?}: {}", done.message);
        assert!(done.message.contains("n1: uncordoned meanwhile by ann"), "{how:?}: {}", done.message);
        assert!(fake.state.lock().unwrap().evictions() < 30, "{how:?}");
    }
}

#[tokio::test]
async fn a_drain_that_is_taken_up_cordons_its_node_again() {
    let fake = Fake::start(4).await;
    fake.state.lock().unwrap().lingers = true;
    let folder = tempfile::tempdir().unwrap();
    let options = DrainOptions { pods_at_once: 1, ..DrainOptions::default() };
    let plan = plan(&fake, Act::Drain(options)).await;
    let (executor, mut told) = executor(&fake, Journal::new(folder.path().to_owned(), "first"));
    let (stop, worker) = (executor.session.stop.clone(), executor.clone());
    let run = tokio::spawn(async move { worker.run("1".into(), &plan, Control::default(), None).await });
    while told.recv().await.unwrap().steps[1].state != StepState::Accepted {}
    stop.cancel();
    run.await.unwrap();
    drop(executor);
    fake.quiet().await;
    {
        let mut state = fake.state.lock().unwrap();
        state.turn(Turn::Uncordoned);
        state.lingers = false;
    }
    assert_eq!(takes_up(&fake, folder.path()).await, 1);
    let state = fake.state.lock().unwrap();
    assert_eq!(state.get(NODE).unwrap()["spec"]["unschedulable"], true);
    assert_eq!((state.pods(), state.evictions()), (0, 4));
    assert_eq!(state.total(), 6, "each pod once, and two cordons: {:?}", state.applied);
}

#[tokio::test]
async fn a_drain_whose_pods_come_back_to_a_cordoned_node_ends() {
    let meanwhile = |state: &mut State| state.returns = Some(Returns::Always);
    let (fake, done) = drains(3, meanwhile, GuardSettings::default()).await;
    assert_eq!(done.outcome, Some(Outcome::Failed), "{}", done.message);
    assert!(done.message.contains("more than twice the 3 of the plan"), "{}", done.message);
    assert!(done.message.contains("still cordoned: n1"), "{}", done.message);
    assert!(fake.state.lock().unwrap().evictions() <= 20);
}

#[tokio::test]
async fn a_node_that_cannot_be_looked_at_is_not_called_cordoned() {
    let meanwhile = |state: &mut State| state.blind_after = Some(3);
    let (_fake, done) = drains(3, meanwhile, GuardSettings::default()).await;
    assert_eq!(done.outcome, Some(Outcome::Done), "its pods are gone: {}", done.message);
    assert!(done.message.contains("not known whether it is still cordoned"), "{}", done.message);
    // during the drain nothing more is sent, and it ends
    let meanwhile = |state: &mut State| state.blind_after = Some(5);
    let (fake, done) = drains(40, meanwhile, GuardSettings::default()).await;
    assert_eq!(done.outcome, Some(Outcome::Failed), "{}", done.message);
    assert!(done.message.contains("cannot be read any more: nodes are forbidden"), "{}", done.message);
    assert!(done.message.contains("not known whether still cordoned"), "{}", done.message);
    assert!(fake.state.lock().unwrap().evictions() < 30);
}

#[tokio::test]
async fn a_pod_of_a_protected_namespace_that_comes_in_between_is_left_alone() {
    let guards = || GuardSettings { protected_namespaces: vec!["vault".into()], ..GuardSettings::default() };
    let secret = |n| {
        let mut pod = pod(n, "n1", true);
        pod["metadata"]["namespace"] = "vault".into();
        pod
    };
    let late = |state: &mut State| state.late = Some(secret(77));
    let (fake, done) = drains(3, late, guards()).await;
    assert_eq!(done.outcome, Some(Outcome::Failed), "{}", done.message);
    assert!(
        done.message.contains("vault/p77: was scheduled here meanwhile, and its namespace is protected"),
        "{}",
        done.message
    );
    assert_eq!(fake.state.lock().unwrap().evictions(), 3, "the others go");
    // the confirmed plan had pods of this namespace
    let fake = Fake::start(3).await;
    let folder = tempfile::tempdir().unwrap();
    fake.state.lock().unwrap().add(secret(70));
    let plan = plan(&fake, drain()).await;
    fake.state.lock().unwrap().late = Some(secret(77));
    let (mut executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
    executor.session.guards = guards();
    let done = executor.run("1".into(), &plan, Control::default(), None).await;
    assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
    assert_eq!(fake.state.lock().unwrap().evictions(), 5);
}

#[tokio::test]
async fn watches_that_break_are_listed_anew() {
    let fake = Fake::start(3).await;
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(&fake, drain()).await;
    fake.state.lock().unwrap().breaks = 4;
    let (executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
    let done = executor.run("1".into(), &plan, Control::default(), None).await;
    assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
    let state = fake.state.lock().unwrap();
    assert!(state.breaks <= 1, "it was asked again");
    assert_eq!((state.pods(), state.total()), (0, 4));
}

#[tokio::test]
async fn a_node_that_vanishes_is_reported() {
    let fake = Fake::start(3).await;
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(&fake, drain()).await;
    fake.state.lock().unwrap().vanish = true;
    let (executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
    let done = executor.run("1".into(), &plan, Control::default(), None).await;
    assert_eq!(done.outcome, Some(Outcome::Failed), "{}", done.message);
    assert!(done.message.contains("n1: the node is gone"), "{}", done.message);
    assert_eq!(fake.state.lock().unwrap().total(), 1, "the cordon alone");
}

#[tokio::test]
async fn a_pod_that_is_seen_to_go_is_not_evicted_again_whatever_the_answer_says() {
    for code in [409, 429] {
        let fake = Fake::start(1).await;
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(&fake, drain()).await;
        {
            let mut state = fake.state.lock().unwrap();
            state.lingers = true;
            state.swallow = Swallow::Says(code);
        }
        fake.holds.send_replace(true);
        let (executor, mut told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
        let control = Control::default();
        let (held, worker) = (control.clone(), executor.clone());
        let run = tokio::spawn(async move { worker.run("1".into(), &plan, held, None).await });
        fake.shows(1).await;
        fake.turns().await;
        fake.holds.send_replace(false);
        while told.recv().await.unwrap().steps[1].state != StepState::Accepted {
            let state = fake.state.lock().unwrap();
            assert!(state.applied.values().all(|n| *n == 1), "{code}: {:?}", state.applied);
        }
        control.cancel(false);
        run.await.unwrap();
        let state = fake.state.lock().unwrap();
        assert_eq!((state.total(), state.evictions()), (2, 1), "{code}: {:?}", state.applied);
    }
}

#[tokio::test]
async fn pause_holds_and_cancel_gives_the_node_back() {
    let fake = Fake::start(3).await;
    // so that the second is not sent before the first was seen
    fake.state.lock().unwrap().lingers = true;
    let folder = tempfile::tempdir().unwrap();
    let options = DrainOptions { pods_at_once: 1, ..DrainOptions::default() };
    let plan = plan(&fake, Act::Drain(options)).await;
    let (executor, mut told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
    let control = Control::default();
    control.pause(true);
    let (held, worker) = (control.clone(), executor.clone());
    let run = tokio::spawn(async move { worker.run("1".into(), &plan, held, None).await });
    while !told.recv().await.unwrap().paused {}
    fake.turns().await;
    assert_eq!(fake.state.lock().unwrap().total(), 0);
    control.pause(false);
    while told.recv().await.unwrap().steps[1].state != StepState::Accepted {}
    control.cancel(true);
    let done = run.await.unwrap();
    assert_eq!(done.outcome, Some(Outcome::Cancelled), "{}", done.message);
    let last = done.steps.last().unwrap();
    assert_eq!((last.what.as_str(), last.state), ("uncordon", StepState::Verified));
    assert!(fake.state.lock().unwrap().get(NODE).unwrap()["spec"]["unschedulable"].is_null());
    assert_eq!(fake.state.lock().unwrap().total(), 3, "cordon, one eviction, uncordon");
    drop(executor);
    let journal = Journal::new(folder.path().to_owned(), "b");
    assert!(resume::unfinished(&journal).is_empty(), "a person has ended it");
    assert_eq!(journal.history().0[0].steps, done.steps, "the journal has what was shown");
}

#[tokio::test]
async fn a_process_that_is_told_to_end_stops_at_once_and_leaves_the_rest_to_the_next() {
    let fake = Fake::start(4).await;
    // in memory, because a disk that other processes use can delay the journal
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let options = DrainOptions { pods_at_once: 1, ..DrainOptions::default() };
    let plan = plan(&fake, Act::Drain(options)).await;
    let (executor, mut told) = executor(&fake, Journal::new(folder.path().to_owned(), "first"));
    let (stop, worker) = (executor.session.stop.clone(), executor.clone());
    let run = tokio::spawn(async move { worker.run("1".into(), &plan, Control::default(), None).await });
    while told.recv().await.unwrap().steps[1].state != StepState::Accepted {}
    stop.cancel();
    let began = Instant::now();
    let done = run.await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    assert_eq!(done.outcome, Some(Outcome::Cancelled), "{}", done.message);
    drop(executor);
    fake.quiet().await;
    assert!(fake.state.lock().unwrap().total() < 5);
    assert_eq!(takes_up(&fake, folder.path()).await, 1);
    assert_eq!(fake.state.lock().unwrap().total(), 5, "each once");
}

#[tokio::test]
async fn without_a_disk_nothing_is_sent_unless_a_person_says_so() {
    let fake = Fake::start(0).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let journal = Journal::new(folder.path().join("file/journal"), "a");
    let plan = plan(&fake, Act::Cordon).await;
    let (mut executor, _told) = executor(&fake, journal.clone());
    let done = executor.run("1".into(), &plan, Control::default(), None).await;
    assert_eq!((done.outcome, fake.state.lock().unwrap().total()), (Some(Outcome::Refused), 0));
    executor.recorder.memory_journal = true;
    let done = executor.run("2".into(), &plan, Control::default(), None).await;
    assert_eq!((done.outcome, fake.state.lock().unwrap().total()), (Some(Outcome::Done), 1));
    assert!(journal.kept().iter().any(|line| line.contains("intent")));
}
