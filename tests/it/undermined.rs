//! Somebody else changes objects while an action runs: the action stops, says who made the change and when, sends
//! nothing more, and does not claim another's change as its own.

use std::path::Path;

use pilothouse::action::executor::Control;
use pilothouse::action::journal::Journal;
use pilothouse::action::resume;
use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, WeightShift};
use pilothouse_core::domain::id::{ClusterId, Kind, ObjectRef, Uid};
use pilothouse_core::domain::plan::{Act, DrainOptions, Intent, Plan, ScaleBy};
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};
use pilothouse_core::plan::is_protected;
use serde_json::{Value, json};

use crate::crash::{NODE, WEB, executor, plan, planned, takes_up, web};
use crate::fake::{Ends, Fake, State, pod, uid};

const ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/web";
const BY_ANN: &str = "by ann at 2026-01-02T03:04:05Z";

fn scale() -> Act {
    Act::Scale(ScaleBy { replicas: 5, current_replicas: None })
}

/// Runs the plan; `meanwhile` runs once `seen` is true for the reported state.
async fn run(
    fake: &Fake,
    plan: &Plan,
    seen: impl Fn(&ActionView) -> bool,
    meanwhile: impl FnOnce(&mut State),
) -> ActionView {
    let folder = tempfile::tempdir().unwrap();
    let (executor, mut told) = executor(fake, Journal::new(folder.path().to_owned(), "a"));
    let (worker, plan) = (executor.clone(), plan.clone());
    let run = tokio::spawn(async move { worker.run("1".into(), &plan, Control::default(), None).await });
    while !seen(&told.recv().await.unwrap()) {}
    meanwhile(&mut fake.state.lock().unwrap());
    run.await.unwrap()
}

/// The first step was accepted and is taking effect.
fn settles(action: &ActionView) -> bool {
    let first = &action.steps[0];
    first.state == StepState::Accepted && first.note != "accepted"
}

/// The same, while the first step waits for its effect.
async fn while_it_waits(act: Act, meanwhile: impl FnOnce(&mut State)) -> ActionView {
    let fake = Fake::start(0).await;
    revisions(&fake);
    let plan = plan(&fake, act).await;
    fake.state.lock().unwrap().slow = true;
    run(&fake, &plan, settles, meanwhile).await
}

fn stopped(done: &ActionView, words: &[&str]) {
    assert_eq!(done.outcome, Some(Outcome::Failed), "{}", done.message);
    for words in words {
        assert!(done.message.contains(words), "{words}: {}", done.message);
    }
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": image}]}})
}

/// The deployment runs its second revision.
fn revisions(fake: &Fake) {
    let mut state = fake.state.lock().unwrap();
    for (n, image) in [(1u32, "old"), (2, "a")] {
        let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid(600), "controller": true}]);
        let set = json!({
            "metadata": {"name": format!("web-{n}"), "namespace": "shop", "uid": uid(610 + n), "ownerReferences": owner,
                "annotations": {"deployment.kubernetes.io/revision": n.to_string()}, "labels": {"app": "web"}},
            "spec": {"replicas": if n == 2 { 3 } else { 0 }, "selector": {"matchLabels": {"app": "web"}}, "template": template(image)},
            "status": {"replicas": if n == 2 { 3 } else { 0 }},
        });
        state.has(&format!("/apis/apps/v1/namespaces/shop/replicasets/web-{n}"), set);
    }
    let revision = json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "2"}}});
    state.change(WEB, "kubectl", &revision);
}

fn rollback() -> Act {
    Act::Rollback { to_revision: Some(1) }
}

#[tokio::test]
async fn a_rollout_that_somebody_pauses_or_replaces_is_not_followed_as_ones_own() {
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": image}]}}}});
    let paused = json!({"spec": {"paused": true}});
    let again = json!({"spec": {"template": {"metadata": {"annotations":
        {"kubectl.kubernetes.io/restartedAt": "2099-01-01T00:00:00Z"}}}}});
    for (act, change, words) in [
        (Act::Restart, &paused, "it was paused meanwhile"),
        (rollback(), &paused, "it was paused meanwhile"),
        (Act::Restart, &image("b"), "its template was changed meanwhile"),
        (rollback(), &image("b"), "its template is of neither revision"),
        (Act::Restart, &again, "it was restarted again meanwhile"),
        (rollback(), &again, "its template is of neither revision"),
        (rollback(), &image("a"), "it was taken back meanwhile"),
    ] {
        let what = act.as_str();
        let done = while_it_waits(act, |state| {
            state.change(WEB, "ann", change);
            // the other user's rollout succeeds
            let n = json!({"status": {"updatedReplicas": 3, "availableReplicas": 3}});
            if change["spec"]["paused"].is_null() {
                state.change(WEB, "ann", &n);
                state.change(WEB, "ann", change);
            }
        })
        .await;
        stopped(&done, &[words, BY_ANN]);
        assert_eq!(done.steps[0].state, StepState::Failed, "{what}");
    }
}

#[tokio::test]
async fn a_rollout_that_is_over_before_it_is_paused_is_done() {
    let fake = Fake::start(0).await;
    let plan = plan(&fake, Act::Restart).await;
    fake.state.lock().unwrap().then =
        Some(Box::new(|state| state.change(WEB, "ann", &json!({"spec": {"paused": true}}))));
    let done = run(&fake, &plan, |_| true, |_| {}).await;
    assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
    assert!(done.message.contains("paused since"), "{}", done.message);
}

#[tokio::test]
async fn a_scale_that_somebody_takes_back_or_further_is_not_done() {
    let to = |n: u32| json!({"spec": {"replicas": n}});
    for (number, words) in [(3, "it was taken back meanwhile"), (8, "it has 8 replicas now")] {
        let done = while_it_waits(scale(), |state| state.change(WEB, "ann", &to(number))).await;
        stopped(&done, &[words, BY_ANN]);
        // and before the first check, whatever the answer was
        let fake = Fake::start(0).await;
        let plan = plan(&fake, scale()).await;
        let change = to(number);
        fake.state.lock().unwrap().then = Some(Box::new(move |state| state.change(WEB, "ann", &change)));
        let done = run(&fake, &plan, |_| true, |_| {}).await;
        stopped(&done, &[words, BY_ANN]);
        assert_eq!(fake.state.lock().unwrap().total(), 1, "sent once");
    }
}

#[tokio::test]
async fn the_autoscaler_that_takes_a_scale_back_is_named() {
    let hpa = |state: &mut State, owner: Value| {
        let hpa = json!({"metadata": {"name": "web-hpa", "namespace": "shop", "uid": uid(700), "ownerReferences": owner},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 2, "maxReplicas": 4}});
        state.has("/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/web-hpa", hpa);
    };
    let keda =
        json!([{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "web", "uid": uid(701)}]);
    for (owner, number, words) in
        [(json!([]), 4, "HPA web-hpa (2-4)"), (keda, 3, "HPA web-hpa of ScaledObject web (2-4)")]
    {
        let done = while_it_waits(scale(), |state| {
            hpa(state, owner);
            state.change(WEB, "kube-controller-manager", &json!({"spec": {"replicas": number}}));
        })
        .await;
        stopped(&done, &[words, "change its bounds instead"]);
    }
    // a user's change is not attributed to the autoscaler
    let done = while_it_waits(scale(), |state| {
        hpa(state, json!([]));
        state.change(WEB, "ann", &json!({"spec": {"replicas": 4}}));
    })
    .await;
    assert!(!done.message.contains("HPA"), "{}", done.message);
}

/// A second deployment like the first.
fn second(fake: &Fake) -> ObjectRef {
    let mut state = fake.state.lock().unwrap();
    let mut object = state.get(WEB).unwrap().clone();
    object["metadata"]["name"] = json!("web2");
    object["metadata"]["uid"] = json!(uid(601));
    state.has("/apis/apps/v1/namespaces/shop/deployments/web2", object);
    ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &"web2".into(), &Uid::default())
}

async fn both(fake: &Fake, act: Act) -> Plan {
    let targets = vec![web(), second(fake)];
    planned(fake, Intent { cluster: ClusterId(0), context: "test".into(), act, targets }).await
}

#[tokio::test]
async fn what_follows_a_step_that_was_taken_back_is_not_sent() {
    let fake = Fake::start(0).await;
    let plan = both(&fake, scale()).await;
    fake.state.lock().unwrap().then =
        Some(Box::new(|state| state.change(WEB, "ann", &json!({"spec": {"replicas": 3}}))));
    let done = run(&fake, &plan, |_| true, |_| {}).await;
    stopped(&done, &[BY_ANN]);
    assert_eq!(done.steps[1].state, StepState::Waiting);
    assert_eq!(fake.state.lock().unwrap().total(), 1);
}

fn backends(web: u32, dr: u32) -> Value {
    json!({"spec": {"rules": [{"backendRefs": [{"name": "web", "weight": web}, {"name": "dr", "weight": dr}]}]}})
}

/// A shift of a route in two steps, watched for `soak_secs` after each.
async fn shift(fake: &Fake, soak_secs: u32) -> Plan {
    let mut route = backends(100, 0);
    route["metadata"] = json!({"name": "web", "namespace": "shop", "uid": uid(800), "generation": 1});
    route["status"] = json!({"parents": [{"conditions": []}]});
    fake.state.lock().unwrap().has(ROUTE, route);
    let kind = FailoverKind::Weight(WeightShift {
        kind: Kind::HTTPRoute,
        namespace: "shop".into(),
        route: "web".into(),
        from: "web".into(),
        to: "dr".into(),
        steps: vec![50, 100],
    });
    let way = FailoverPlan {
        name: "dr".into(),
        kind,
        watched: None,
        soak_secs,
        suggested: false,
        in_context: String::new(),
    };
    let act = Act::Failover { plan: Box::new(way), revert: false };
    planned(fake, Intent { cluster: ClusterId(0), context: "test".into(), act, targets: Vec::new() }).await
}

#[tokio::test]
async fn a_failover_whose_route_somebody_changes_goes_no_further() {
    let watches = |action: &ActionView| action.message.starts_with("watching");
    for (now, words) in [(backends(100, 0), "it was taken back"), (backends(30, 70), "is 30, not 100")] {
        let fake = Fake::start(0).await;
        let plan = shift(&fake, 60).await;
        assert!(plan.steps.len() > 4, "{:?}", plan.steps);
        let done = run(&fake, &plan, watches, |state| state.change(ROUTE, "ann", &now)).await;
        stopped(&done, &["httproute/web was changed meanwhile", words, BY_ANN]);
        let unsent = done.steps.iter().skip(3).all(|s| s.state == StepState::Waiting);
        assert!(unsent, "{:?}", done.steps);
        let state = fake.state.lock().unwrap();
        assert_eq!((state.total(), &state.get(ROUTE).unwrap()["spec"]), (1, &now["spec"]));
    }
    let fake = Fake::start(0).await;
    let done = run(&fake, &shift(&fake, 0).await, |_| true, |_| {}).await;
    assert_eq!(
        done.outcome,
        Some(Outcome::Done),
        "its own second step is no change of others: {}",
        done.message
    );
}

#[tokio::test]
async fn a_failover_that_was_changed_while_nobody_watched_is_not_resumed() {
    let fake = Fake::start(0).await;
    let plan = shift(&fake, 60).await;
    let folder = tempfile::tempdir().unwrap();
    let (executor, mut told) = executor(&fake, Journal::new(folder.path().to_owned(), "first"));
    let (stop, worker) = (executor.session.stop.clone(), executor.clone());
    let run = tokio::spawn(async move { worker.run("1".into(), &plan, Control::default(), None).await });
    while !told.recv().await.unwrap().message.starts_with("watching") {}
    stop.cancel();
    run.await.unwrap();
    drop(executor);
    fake.state.lock().unwrap().change(ROUTE, "ann", &backends(100, 0));
    let found = resume::unfinished(&Journal::new(folder.path().to_owned(), "second"));
    let reach = crate::crash::reach(&fake);
    let settled = resume::settle(&reach, &found[0]).await;
    let why = settled.blocked.clone().unwrap();
    assert!(why.contains("taken back") && why.contains(BY_ANN), "{why}");
    assert!(matches!(resume::resume_intent(&found[0], &settled), resume::Remaining::Blocked(_)));
}

#[tokio::test]
async fn what_was_overtaken_while_nobody_watched_is_no_success_of_the_resumed_action() {
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}});
    let back = json!({"spec": {"replicas": 3}});
    for (act, change, words) in [
        (Act::Restart, &image, "its template was changed meanwhile"),
        (scale(), &back, "was applied, and taken back since"),
    ] {
        let fake = Fake::start(0).await;
        let plan = plan(&fake, act).await;
        fake.state.lock().unwrap().slow = true;
        let folder = tempfile::tempdir().unwrap();
        let (executor, mut told) = executor(&fake, Journal::new(folder.path().to_owned(), "first"));
        let id = "1".into();
        let (stop, worker) = (executor.session.stop.clone(), executor.clone());
        let run = tokio::spawn(async move { worker.run(id, &plan, Control::default(), None).await });
        while !settles(&told.recv().await.unwrap()) {}
        stop.cancel();
        run.await.unwrap();
        drop(executor);
        let settled = async || {
            let found = resume::unfinished(&Journal::new(folder.path().to_owned(), "second"));
            resume::settle(&crate::crash::reach(&fake), &found[0]).await
        };
        assert_eq!(settled().await.blocked, None, "it still takes effect");
        fake.state.lock().unwrap().change(WEB, "ann", change);
        let why = settled().await.blocked.unwrap();
        assert!(why.contains(words) && why.contains(BY_ANN), "{why}");
    }
}

/// Runs until the permission or the login ends; then again with it.
async fn ends(plan: impl AsyncFn(&Fake) -> Plan, pods: u32, writes: u32, what: Ends) -> (Fake, ActionView) {
    let fake = Fake::start(pods).await;
    let plan = plan(&fake).await;
    fake.state.lock().unwrap().ends = Some((writes, what));
    let folder = tempfile::tempdir().unwrap();
    let (executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "first"));
    let done = executor.run("1".into(), &plan, Control::default(), None).await;
    fake.state.lock().unwrap().ends = None;
    let list = |folder: &Path| resume::unfinished(&Journal::new(folder.to_owned(), "look")).len();
    assert_eq!(list(folder.path()), 1, "its process still lives: {}", done.message);
    drop(executor);
    assert_eq!(takes_up(&fake, folder.path()).await, 1);
    assert_eq!(list(folder.path()), 0);
    let applied = fake.state.lock().unwrap().applied.clone();
    assert!(applied.values().all(|n| *n == 1), "{applied:?}");
    (fake, done)
}

#[tokio::test]
async fn an_action_whose_rights_or_login_end_is_unfinished_and_can_be_resumed() {
    for (what, words) in [
        (Ends::Login, "the credentials are no longer accepted: not logged in"),
        (Ends::Right, "you may no longer patch deployments.apps in shop"),
    ] {
        let (fake, done) = Box::pin(ends(async |fake| both(fake, Act::Restart).await, 0, 1, what)).await;
        assert!(done.message.contains(words), "{what:?}: {}", done.message);
        assert!(done.message.contains("pilothouse resume 1"), "{}", done.message);
        assert_ne!(done.outcome, Some(Outcome::Done), "{}", done.message);
        assert_eq!(fake.state.lock().unwrap().total(), 2);
    }
    for (what, words) in [
        (Ends::Login, "the credentials are no longer accepted: not logged in"),
        (Ends::Right, "you may no longer create pods/eviction in shop"),
    ] {
        let options = DrainOptions { pods_at_once: 1, ..DrainOptions::default() };
        let drain = async |fake: &Fake| plan(fake, Act::Drain(options.clone())).await;
        let (fake, done) = Box::pin(ends(drain, 5, 3, what)).await;
        assert!(done.message.contains(words), "{what:?}: {}", done.message);
        assert_eq!(fake.state.lock().unwrap().total(), 6);
    }
}

#[tokio::test]
async fn a_right_that_was_missing_from_the_start_leaves_nothing_unfinished() {
    for what in [Ends::Right, Ends::Login] {
        let fake = Fake::start(0).await;
        let plan = plan(&fake, Act::Restart).await;
        fake.state.lock().unwrap().ends = Some((0, what));
        let folder = tempfile::tempdir().unwrap();
        let (executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "first"));
        let done = executor.run("1".into(), &plan, Control::default(), None).await;
        assert_eq!(done.outcome, Some(Outcome::Failed), "{}", done.message);
        drop(executor);
        assert!(resume::unfinished(&Journal::new(folder.path().to_owned(), "look")).is_empty());
    }
}

#[tokio::test]
async fn a_pod_of_a_protected_namespace_that_comes_to_a_dead_node_is_not_deleted_with_it() {
    let vault = |n| {
        let mut pod = pod(n, "n1", true);
        pod["metadata"]["namespace"] = json!("vault");
        pod
    };
    let guards = GuardSettings { protected_namespaces: vec!["vault".into()], ..GuardSettings::default() };
    // one comes after the confirmation; one was in the confirmed plan; none
    for (late, there) in [(true, false), (false, true), (false, false)] {
        let fake = Fake::start(1).await;
        let dead = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
        fake.state.lock().unwrap().change(NODE, "kube-controller-manager", &dead);
        if there {
            fake.state.lock().unwrap().add(vault(70));
        }
        let plan = plan(&fake, Act::OutOfService).await;
        assert_eq!(plan.pods.len(), if there { 2 } else { 1 }, "headless too knows which pods go");
        assert_eq!(is_protected(&plan, &guards), there);
        if late {
            fake.state.lock().unwrap().add(vault(77));
        }
        let folder = tempfile::tempdir().unwrap();
        let (mut executor, _told) = executor(&fake, Journal::new(folder.path().to_owned(), "a"));
        executor.session.guards = guards.clone();
        let done = executor.run("1".into(), &plan, Control::default(), None).await;
        let sent = fake.state.lock().unwrap().total();
        if late {
            stopped(&done, &["vault/p77 was scheduled here meanwhile, and its namespace is protected"]);
        } else {
            assert_eq!(done.outcome, Some(Outcome::Done), "{}", done.message);
        }
        assert_eq!(sent, u32::from(!late));
    }
}
