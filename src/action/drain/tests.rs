//! A drain against a scripted cluster: what is sent, when, and what is said of it. Time is that of tokio's timers, which
//! stands still while anything can be done.

mod cluster;

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Kind, ObjectRef, Owner, Uid};
use pilothouse_core::domain::plan::{Act, DrainOptions, Fate, Intent, Plan, PodFate, Step, StepKind};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::cluster::{Cluster, NODE, NOW, node_uid, pod, refused, terminating};
use super::*;
use crate::action::cluster::PlanClients;
use crate::action::control::EvictionRateLimiter;
use crate::action::journal::{Journal, view};
use crate::clock::Clock;
use crate::wire::connect::{ConnectOptions, Connection};
use crate::wire::write::WriteError;

fn options() -> DrainOptions {
    DrainOptions { ignore_daemonsets: true, ..DrainOptions::default() }
}

/// A drain of the node, of which these pods are planned.
fn plan(options: DrainOptions, pods: &[&Pod]) -> Plan {
    let node = ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &NODE.into(), &node_uid());
    let act = Act::Drain(options);
    let intent = Intent { cluster: ClusterId(0), context: "test".into(), act, targets: vec![node] };
    let mut plan = Plan::new(intent, NOW);
    plan.kubectl = format!("kubectl drain {NODE}");
    for pod in pods {
        let on = ObjectRef::new(ClusterId(0), Kind::Pod, &pod.namespace, &pod.name, &pod.uid);
        plan.steps.push(Step::new(StepKind::Evict { grace_period: -1 }, on.clone()));
        plan.pods.push(PodFate {
            pod: on,
            node: NODE.into(),
            fate: Fate::Evict,
            reason: String::new(),
            owner: "ReplicaSet/web-1".into(),
        });
    }
    plan
}

/// Clients of no cluster: a drain sends and reads by its [`DrainApi`].
async fn nowhere() -> PlanClients {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\ncontexts: [{name: a, context: {cluster: c}}]\ncurrent-context: a\n";
    std::fs::write(file.path(), config).unwrap();
    drop(rustls::crypto::ring::default_provider().install_default());
    let options = ConnectOptions { kubeconfig: Some(file.path().into()), ..ConnectOptions::default() };
    PlanClients::new(ClusterId(0), Connection::open(options).await.unwrap().reader().unwrap(), None)
}

/// What the drain reports while it runs.
struct Reports(mpsc::Receiver<ActionView>);

impl Reports {
    /// Waits for a report of which this holds.
    async fn until(&mut self, holds: impl Fn(&ActionView) -> bool) -> ActionView {
        loop {
            let action = self.0.recv().await.unwrap();
            if holds(&action) {
                return action;
            }
        }
    }

    /// Waits until a step is in this state.
    async fn step(&mut self, i: usize, state: StepState) -> ActionView {
        self.until(|action| action.steps.get(i).is_some_and(|step| step.state == state)).await
    }
}

/// What came of a drain.
struct Drained {
    outcome: Outcome,
    message: String,
    action: ActionView,
}

impl Drained {
    fn states(&self) -> Vec<StepState> {
        self.action.steps.iter().map(|step| step.state).collect()
    }
}

/// Runs the plan while the script runs. The drain must end by itself.
async fn drain(
    cluster: &Arc<Cluster>,
    plan: &Plan,
    guards: GuardSettings,
    script: impl AsyncFnOnce(&Arc<Cluster>, &mut Reports),
) -> Drained {
    let clock = Clock::manual(NOW);
    let (progress, reports) = mpsc::channel(1000);
    let session = Session {
        reach: nowhere().await,
        guards,
        clock: clock.clone(),
        stop: CancellationToken::new(),
        limiter: EvictionRateLimiter::default(),
    };
    let recorder = Recorder { journal: Journal::nowhere().quiet(), clock, progress, memory_journal: true };
    let mut action = view(&"id".into(), NOW, plan, false);
    let (steps, control) = (0..plan.steps.len(), Control::default());
    let api_of = |_: &str| -> Option<Arc<dyn DrainApi>> { Some(Arc::new(cluster.clone())) };
    let mut reports = Reports(reports);
    let ((outcome, message), ()) = tokio::join!(
        run_with(&session, &recorder, &mut action, steps, &control, None, &api_of),
        script(cluster, &mut reports)
    );
    Drained { outcome, message, action }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_eviction_is_sent_again_after_the_time_that_the_server_asks_for() {
    let throttled = json!({ "message": "Too many requests, please try again later." });
    for (retry_after, secs) in [(Some(7), 7), (None, 1)] {
        let cluster = Cluster::new(vec![refused(429, retry_after, &throttled)]);
        let web = pod(1, "web-a");
        let done =
            drain(&cluster, &plan(options(), &[&web]), GuardSettings::default(), async |cluster, _| {
                cluster.node(true).await;
                cluster.lists(vec![web.clone()]).await;
                cluster.sent(2).await;
                cluster.removes(&web).await;
            })
            .await;
        assert_eq!(done.outcome, Outcome::Done, "{}", done.message);
        let pauses = cluster.pauses();
        let wanted = Duration::from_secs(secs);
        assert!(
            pauses.len() == 1 && pauses[0] >= wanted && pauses[0] < wanted + Duration::from_secs(1),
            "{pauses:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_refuses_is_read_and_its_pod_is_evicted_once_it_allows_it() {
    let budget = json!({ "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "details": { "causes": [{ "reason": "DisruptionBudget",
            "message": "The disruption budget web needs 2 healthy pods and has 2 currently" }] } });
    let pdb = |allowed: i32| {
        json!({ "metadata": { "name": "web", "namespace": "shop", "uid": Uid::Uuid(7).to_string(), "generation": 1 },
            "status": { "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 2 + allowed,
                "desiredHealthy": 2, "expectedPods": 3 } })
    };
    let cluster = Cluster::new(vec![refused(429, None, &budget)]);
    let web = pod(1, "web-a");
    let done =
        drain(&cluster, &plan(options(), &[&web]), GuardSettings::default(), async |cluster, reports| {
            cluster.has(Kind::PodDisruptionBudget, "web", pdb(0));
            cluster.node(true).await;
            cluster.lists(vec![web.clone()]).await;
            reports.step(0, StepState::Held).await;
            cluster.read(&Kind::PodDisruptionBudget, 3).await;
            assert_eq!(cluster.requests().len(), 1, "it would only be refused again");
            cluster.has(Kind::PodDisruptionBudget, "web", pdb(1));
            cluster.sent(2).await;
            cluster.removes(&web).await;
        })
        .await;
    assert_eq!(done.outcome, Outcome::Done, "{}", done.message);
    let reads = cluster.reads_of(&Kind::PodDisruptionBudget);
    let pauses: Vec<Duration> = reads.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause >= Duration::from_secs(5)), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn another_pod_of_the_same_name_is_not_the_one_that_was_planned() {
    let other = json!({ "message": "Operation cannot be fulfilled on pods \"web-0\": Precondition failed: UID in precondition: a, UID in object meta: b" });
    let cluster = Cluster::new(vec![refused(409, None, &other)]);
    let (first, second, stays) = (pod(1, "web-0"), pod(2, "web-0"), pod(3, "web-1"));
    let done = drain(
        &cluster,
        &plan(options(), &[&first, &stays]),
        GuardSettings::default(),
        async |cluster, reports| {
            cluster.node(true).await;
            cluster.lists(vec![first.clone(), stays.clone()]).await;
            reports.step(0, StepState::Verified).await;
            let checks = cluster.reads_of(&Kind::Node).len();
            cluster.removes(&first).await;
            cluster.shows(second.clone()).await;
            cluster.sent(3).await;
            assert!(
                cluster.reads_of(&Kind::Node).len() > checks,
                "the node is read before a pod goes that nobody planned"
            );
            cluster.shows(terminating(&second)).await;
            cluster.removes(&second).await;
            cluster.removes(&stays).await;
        },
    )
    .await;
    assert_eq!(cluster.evicted(), [first.uid, stays.uid, second.uid], "each by its own UID");
    assert_eq!(done.states(), [StepState::Verified; 3]);
    assert_eq!(done.outcome, Outcome::Done, "{}", done.message);
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_meanwhile_are_judged_by_kubectls_filters() {
    let owned_by = |kind: Kind, name: &str, pod: Pod| {
        let owner = Owner { kind, name: name.into(), uid: Uid::Uuid(0x901), group: "apps".into() };
        Pod { owner: Some(Arc::new(owner)), ..pod }
    };
    let late = || pod(9, "late");
    let guards =
        || GuardSettings { protected_namespaces: vec!["guarded".into()], ..GuardSettings::default() };
    for (case, late, evictions, outcome, words) in [
        ("replicated", late(), 2, Outcome::Done, "2 of 2 pods evicted"),
        (
            "of a DaemonSet",
            owned_by(Kind::DaemonSet, "agent", late()),
            1,
            Outcome::Done,
            "1 of 1 pods evicted",
        ),
        ("bare", Pod { owner: None, ..late() }, 1, Outcome::Failed, "shop/late came meanwhile"),
        ("protected", Pod { namespace: "guarded".into(), ..late() }, 1, Outcome::Failed, "confirm again"),
    ] {
        let cluster = Cluster::new(Vec::new());
        let web = pod(1, "web-a");
        let done = drain(&cluster, &plan(options(), &[&web]), guards(), async |cluster, _| {
            cluster.has(Kind::DaemonSet, "agent", json!({}));
            cluster.node(true).await;
            cluster.lists(vec![web.clone()]).await;
            cluster.sent(1).await;
            cluster.shows(late.clone()).await;
            cluster.sent(evictions).await;
            cluster.removes(&web).await;
            if evictions > 1 {
                cluster.removes(&late).await;
            }
        })
        .await;
        assert_eq!(cluster.requests().len(), evictions, "{case}");
        assert_eq!(done.outcome, outcome, "{case}: {}", done.message);
        assert!(done.message.contains(words), "{case}: {}", done.message);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_relist_what_is_missing_is_gone_and_nothing_before_its_end() {
    let cluster = Cluster::new(Vec::new());
    let (left, stays, late) = (pod(1, "web-a"), pod(2, "web-b"), pod(3, "web-c"));
    let planned = plan(options(), &[&left, &stays]);
    let done = drain(&cluster, &planned, GuardSettings::default(), async |cluster, reports| {
        cluster.node(true).await;
        cluster.lists(vec![left.clone(), stays.clone()]).await;
        reports.until(|action| action.steps.iter().all(|s| s.state == StepState::Accepted)).await;
        // the watch ended with 410: while it was away one pod went and another one came. The first list breaks off
        cluster.lists_without_end(vec![terminating(&stays)]).await;
        cluster.lists(vec![terminating(&stays), late.clone()]).await;
        let action = reports.step(0, StepState::Verified).await;
        assert_eq!(action.steps.len(), 3, "half a list says of no pod that it is gone");
        assert_eq!(action.steps[1].state, StepState::Accepted, "it is terminating");
        reports.step(2, StepState::Accepted).await;
        cluster.removes(&stays).await;
        cluster.removes(&late).await;
    })
    .await;
    assert_eq!(cluster.evicted(), [left.uid, stays.uid, late.uid], "none twice");
    assert_eq!(done.outcome, Outcome::Done, "{}", done.message);
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_sent_once_the_cordon_is_taken_back() {
    let cluster = Cluster::new(Vec::new());
    let (first, second) = (pod(1, "web-a"), pod(2, "web-b"));
    let one_at_a_time = DrainOptions { pods_at_once: 1, ..options() };
    let planned = plan(one_at_a_time, &[&first, &second]);
    let done = drain(&cluster, &planned, GuardSettings::default(), async |cluster, reports| {
        cluster.node(true).await;
        cluster.lists(vec![first.clone(), second.clone()]).await;
        reports.step(0, StepState::Accepted).await;
        cluster.node(false).await;
        cluster.removes(&first).await;
    })
    .await;
    assert_eq!(cluster.evicted(), [first.uid], "the second would come back to the node");
    assert_eq!(done.outcome, Outcome::Failed);
    assert_eq!(done.states()[1], StepState::Skipped);
    for words in ["uncordoned meanwhile", "to cordon it again and continue the drain: pilothouse drain n1"] {
        assert!(done.message.contains(words), "{}", done.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_namespace_that_is_being_deleted_goes_with_it() {
    let ending = json!({ "message": "pods \"web-a\" is forbidden: unable to create new content in namespace shop because it is being terminated" });
    let cluster = Cluster::new(vec![refused(403, None, &ending)]);
    let web = pod(1, "web-a");
    let done =
        drain(&cluster, &plan(options(), &[&web]), GuardSettings::default(), async |cluster, reports| {
            cluster.node(true).await;
            cluster.lists(vec![web.clone()]).await;
            reports.until(|action| action.steps[0].note.starts_with("goes with its namespace")).await;
            cluster.removes(&web).await;
        })
        .await;
    assert_eq!(cluster.requests().len(), 1, "it is only waited for");
    assert_eq!((done.outcome, done.states()), (Outcome::Done, vec![StepState::Verified]), "{}", done.message);
}

#[tokio::test(start_paused = true)]
async fn an_eviction_whose_answer_is_lost_is_looked_for_and_never_sent_again() {
    for (applied, outcome, state) in
        [(true, Outcome::Done, StepState::Verified), (false, Outcome::Unknown, StepState::Unknown)]
    {
        let cluster = Cluster::new(vec![Err(WriteError::Unknown("the connection broke".into()))]);
        let web = pod(1, "web-a");
        let done =
            drain(&cluster, &plan(options(), &[&web]), GuardSettings::default(), async |cluster, reports| {
                let object = json!({ "metadata": { "name": "web-a", "uid": web.uid.to_string() } });
                cluster.has(Kind::Pod, "web-a", object);
                cluster.node(true).await;
                cluster.lists(vec![web.clone()]).await;
                reports.step(0, StepState::Unknown).await;
                if applied {
                    cluster.shows(terminating(&web)).await;
                    reports.step(0, StepState::Accepted).await;
                    cluster.removes(&web).await;
                }
            })
            .await;
        assert_eq!(cluster.requests().len(), 1);
        assert_eq!((done.outcome, done.states()), (outcome, vec![state]), "{}", done.message);
    }
}
