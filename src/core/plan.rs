//! Planning: an intent and the shared state give the plan with its blast radius; what the server adds (access, dry
//! run) is settled into it. Pure: the same inputs give the same plan.
//!
//! One file for each family of actions: `nodes`, `workloads`, `scale`, `pods`, [`failover`]; [`access()`] says what rights
//! a plan needs, [`needs`] what has to be read for it beyond the shared state.

mod access;
pub mod drift;
pub mod failover;
mod nodes;
mod pods;
mod scale;
pub mod undo;
mod workloads;

#[cfg(test)]
mod table;

pub use access::{Access, access, resource, to_look, to_write};
pub use pods::OUT_OF_ROTATION;
pub use scale::autoscaler_of;

use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::node::OUT_OF_SERVICE;
use crate::domain::plan::{
    Act, Change, Confirm, Evidence, Extras, Fate, Found, Intent, Lacking, Need, Plan, Refusal, Sequel, Step,
    StepKind,
};
use crate::domain::settings::GuardSettings;
use crate::domain::time::Stamp;
use crate::facts::world::Cluster;
use crate::plan::drift::Drift;
use crate::policy::kubectl::{kubectl_in, quote};
use crate::policy::revisions;

/// What the planner may assume about the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The live console: completeness is what the tables say.
    Whole,
    /// A headless command that fetched just what it needs: the pods of the named nodes and nothing elsewhere.
    Targets,
}

/// What a plan is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    pub cluster: &'a Cluster,
    pub guards: &'a GuardSettings,
    pub view: View,
    /// The answers to [`needs`].
    pub extras: &'a Extras,
    pub now: Stamp,
}

/// Makes the plan. A target that is not in the state is a refusal, never a guess.
pub fn plan(grounds: Grounds<'_>, intent: &Intent) -> Plan {
    let Grounds { cluster, now, .. } = grounds;
    let mut plan = Plan::new(intent.clone(), now);
    if intent.targets.is_empty()
        && !matches!(intent.act, Act::Failover { .. } | Act::Undo(_) | Act::Resume(_))
    {
        plan.refusals.push(Refusal::new("precondition", "nothing is selected"));
    }
    match &intent.act {
        Act::Cordon => nodes::cordon(grounds, &mut plan, true),
        Act::Uncordon => nodes::cordon(grounds, &mut plan, false),
        Act::Drain(options) => nodes::drain(grounds, &mut plan, options),
        Act::OutOfService => nodes::out_of_service(grounds, &mut plan, true),
        Act::InService => nodes::out_of_service(grounds, &mut plan, false),
        Act::Restart => workloads::restart(cluster, &mut plan),
        Act::Rollback { to_revision } => workloads::rollback(grounds, &mut plan, *to_revision),
        Act::PauseRollout => workloads::pause(cluster, &mut plan, true),
        Act::ResumeRollout => workloads::pause(cluster, &mut plan, false),
        Act::Scale(by) => scale::scale(grounds, &mut plan, by),
        Act::Bounds { min, max } => scale::bounds(grounds, &mut plan, *min, *max),
        Act::Evict(options) => pods::evict(cluster, &mut plan, options),
        Act::OutOfRotation { service } => pods::out_of_rotation(grounds, &mut plan, service),
        Act::IntoRotation => pods::into_rotation(grounds, &mut plan),
        Act::Failover { plan: way, revert } => failover::plan(grounds, &mut plan, way, *revert),
        Act::Undo(undoing) => undo(grounds, &mut plan, undoing),
        Act::Resume(rest) => resume(grounds, &mut plan, rest),
    }
    plan.warnings.extend(plan.unread.iter().map(ToString::to_string));
    guard(cluster, &mut plan, grounds.guards);
    plan
}

/// What has to be read for a plan beyond the shared state.
pub fn needs(cluster: &Cluster, intent: &Intent) -> Vec<Need> {
    match &intent.act {
        Act::Drain(_) => nodes::drain_needs(cluster, &intent.targets),
        Act::Rollback { .. } => intent.targets.iter().flat_map(workloads::rollback_needs).collect(),
        Act::Scale(by) => {
            // who was faster is told by the object itself
            let seen = intent.targets.iter().filter(|_| by.current_replicas.is_some()).map(here);
            quotas_of(intent).chain(seen).collect()
        }
        Act::Bounds { .. } => quotas_of(intent).collect(),
        Act::OutOfService | Act::InService | Act::OutOfRotation { .. } | Act::IntoRotation => {
            intent.targets.iter().map(here).collect()
        }
        Act::Failover { plan, .. } => failover::needs(cluster, plan),
        Act::Undo(undoing) | Act::Resume(undoing) => {
            let need = |s: &Step| {
                let held = match &s.what {
                    StepKind::Rollback { to, from } => vec![&from.holder, &to.holder],
                    _ => Vec::new(),
                };
                let objects: Vec<&ObjectRef> = std::iter::once(&s.on).chain(held).collect();
                objects
                    .into_iter()
                    .map(|on| Need::Object { context: s.context.clone(), on: on.clone() })
                    .collect::<Vec<_>>()
            };
            undoing.steps.iter().flat_map(need).collect()
        }
        _ => Vec::new(),
    }
}

/// What a headless command has to ask in addition, which knows nothing but its targets.
pub fn needs_of_targets(cluster: &Cluster, intent: &Intent) -> Option<Need> {
    matches!(intent.act, Act::Cordon | Act::Drain(_)).then(|| nodes::fleet_need(cluster, &intent.targets))
}

/// True where `--yes` alone is no answer although nothing is protected: a whole zone or many nodes at once.
pub fn takes_many_nodes(plan: &Plan) -> bool {
    matches!(plan.intent.act, Act::Cordon | Act::Drain(_)) && plan.confirm == Confirm::Context
}

/// The quotas of the targets' namespaces: what may leave no room for more pods.
fn quotas_of(intent: &Intent) -> impl Iterator<Item = Need> + use<> {
    let mut namespaces: Vec<Name> = intent.targets.iter().map(|t| t.namespace.clone()).collect();
    namespaces.dedup();
    namespaces.into_iter().map(Need::Quotas)
}

/// A target as it is in the cluster.
fn here(target: &ObjectRef) -> Need {
    Need::Object { context: Name::default(), on: target.clone() }
}

/// The steps were worked out from the journal. What somebody changed since is not overwritten.
fn undo(grounds: Grounds<'_>, plan: &mut Plan, undoing: &Sequel) {
    let found = |step: &Step, on: &ObjectRef| {
        grounds.extras.get(&Need::Object { context: step.context.clone(), on: on.clone() })
    };
    let is_resume = matches!(plan.intent.act, Act::Resume(_));
    for step in &undoing.steps {
        let live = match found(step, &step.on) {
            Some(Found::Objects(objects)) => objects.first(),
            Some(Found::Unread(why)) => {
                plan.refusals.push(Refusal::new("incomplete-data", why.clone()));
                continue;
            }
            Some(Found::Absent | Found::Fleet(_)) | None => None,
        };
        let same = live.is_some_and(|l| {
            l.pointer("/metadata/uid").and_then(|u| u.as_str()) == Some(step.on.uid.to_string().as_str())
        });
        let Some(live) = live.filter(|_| same) else {
            if step.is_eviction() {
                plan.warnings.push(format!("{} is gone already", step.on));
            } else {
                plan.refusals.push(gone(&step.on));
            }
            continue;
        };
        // a later stage on the same object stands on what the stage before it leaves, not on what is there now
        if is_resume && plan.steps.iter().any(|earlier| is_stage_of(earlier, step)) {
            plan.steps.push(step.clone());
            continue;
        }
        let drift = match &step.what {
            StepKind::Rollback { to, from } => {
                let held = |on: &ObjectRef| match found(step, on) {
                    Some(Found::Objects(objects)) => objects.first(),
                    _ => None,
                };
                let Some(wanted) = held(&to.holder) else {
                    let why = format!("revision {} of {} is not there any more", to.number, step.on);
                    plan.refusals.push(Refusal::new("precondition", why));
                    continue;
                };
                plan.diff.extend(revisions::diff(&revisions::template(live), &revisions::template(wanted)));
                drift::of_template(live, held(&from.holder), Some(wanted))
            }
            what => drift::of_step(live, what),
        };
        // the same value by somebody else is not ours to take back
        let drift = match drift::set_since(live, &step.what) {
            Some(why) if drift == Drift::Before => Drift::Other(why),
            _ => drift,
        };
        match drift {
            Drift::Before => {
                // nothing puts the taint of a machine that is off on a node that answers
                let alive =
                    matches!(&step.what, StepKind::Change(c) if adds_out_of_service(c)) && is_ready(live);
                if alive {
                    let why = format!("{} is Ready: the taint would delete its pods by force", step.on);
                    plan.refusals.push(Refusal::new("precondition", why));
                }
                plan.steps.push(step.clone());
            }
            Drift::After => plan.warnings.push(format!("{}: {} already", step.on, step.what)),
            Drift::Other(why) => {
                let why = format!("{} was changed since: {why}", step.on);
                plan.refusals.push(Refusal::new("precondition", why));
            }
        }
    }
    if plan.steps.is_empty() && plan.refusals.is_empty() {
        let already = (!undoing.steps.is_empty()).then_some("it is undone already");
        let remains = Some(undoing.remains.as_str()).filter(|remains| !remains.is_empty());
        let why = already.into_iter().chain(remains).collect::<Vec<_>>().join("; ");
        let why = format!("nothing of {} can be undone: {why}", undoing.title);
        plan.refusals.push(Refusal::new("precondition", why));
    } else if !undoing.remains.is_empty() {
        plan.warnings.push(format!("not restored: {}", undoing.remains));
    }
    plan.confirm = undoing.confirm.max(weight(plan));
    plan.undo = "the action itself again".into();
    plan.kubectl = format!("pilothouse undo {}", quote(&undoing.of));
}

/// The same field of the same object, as the weights of a route are shifted in stages.
fn is_stage_of(earlier: &Step, step: &Step) -> bool {
    std::mem::discriminant(&earlier.what) == std::mem::discriminant(&step.what)
        && (&earlier.on, &earlier.context) == (&step.on, &step.context)
}

/// How much steps ask for by what they do, whoever asked for them.
fn weight(plan: &Plan) -> Confirm {
    let of = |step: &Step| match &step.what {
        StepKind::Scale { to: 0, .. } => Confirm::Context,
        StepKind::Change(change) if adds_out_of_service(change) => Confirm::Context,
        StepKind::Cordon | StepKind::Uncordon => Confirm::Yes,
        _ => Confirm::Suffix,
    };
    plan.steps.iter().map(of).max().unwrap_or(Confirm::Suffix)
}

/// True if the node gets the taint of a machine that is off.
pub fn adds_out_of_service(change: &Change) -> bool {
    let has = |value: &serde_json::Value| value.to_string().contains(OUT_OF_SERVICE);
    change.fields.iter().any(|f| has(&f.to) && !has(&f.from))
}

/// The node's own word.
fn is_ready(node: &serde_json::Value) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(|c| c.as_array());
    let text = |c: &serde_json::Value, key: &str| c.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    conditions
        .into_iter()
        .flatten()
        .any(|c| text(c, "type").as_deref() == Some("Ready") && text(c, "status").as_deref() == Some("True"))
}

/// The steps that an action whose process ended had not done. What it had is not done again; what somebody changed
/// since is not overwritten.
fn resume(grounds: Grounds<'_>, plan: &mut Plan, rest: &Sequel) {
    undo(grounds, plan, rest);
    plan.confirm = rest.confirm.max(weight(plan));
    plan.refusals.retain(|r| !r.reason.starts_with("nothing of "));
    plan.undo = "as the action itself: select it in the list of actions".into();
    plan.kubectl = format!("pilothouse resume {}", quote(&rest.of));
}

/// Read-only, protection, several objects, and what has to be typed.
fn guard(cluster: &Cluster, plan: &mut Plan, guards: &GuardSettings) {
    if cluster.info.read_only || guards.read_only {
        plan.refusals
            .push(Refusal::new("read-only", "read-only: by --read-only, or guards.read_only of the config"));
    }
    if plan.intent.targets.len() > 1 {
        plan.confirm = plan.confirm.max(Confirm::Count);
    }
    if is_protected(plan, guards) {
        plan.confirm = plan.confirm.raised();
        // the number of one object is no question
        if plan.confirm == Confirm::Count && plan.intent.targets.len() == 1 {
            plan.confirm = Confirm::Context;
        }
    }
    if plan.confirm == Confirm::Suffix && plan.intent.targets.is_empty() {
        // there is no name whose end could be typed
        plan.confirm = Confirm::Context;
    }
    plan.answer = match plan.confirm {
        Confirm::Yes => "y".into(),
        Confirm::Suffix => suffix(cluster, plan.intent.targets.first()),
        Confirm::Count => plan.intent.targets.len().to_string(),
        Confirm::Context => plan.intent.context.to_string(),
    };
}

/// True if the context, a target's namespace or that of a pod that would go is protected, or if it is not known which
/// pods would go and some namespace is.
pub fn is_protected(plan: &Plan, guards: &GuardSettings) -> bool {
    let going = plan.pods.iter().filter(|p| matches!(p.fate, Fate::Evict | Fate::Wait)).map(|p| &p.pod);
    let unknown = plan.unread.iter().any(|u| u.what == Lacking::Pods);
    guards.protects_context(&plan.intent.context)
        || unknown && !guards.protected_namespaces.is_empty()
        || plan.steps.iter().any(|s| guards.protects_context(&s.context))
        || plan
            .intent
            .targets
            .iter()
            .chain(going)
            .chain(plan.steps.iter().map(|s| &s.on))
            .any(|o| guards.protects_namespace(&o.namespace))
}

/// The last characters of the name: four or more, enough to tell it from the others of its kind.
fn suffix(cluster: &Cluster, target: Option<&ObjectRef>) -> String {
    let Some(target) = target else { return String::new() };
    let others: Vec<Name> = match &target.kind {
        Kind::Node => cluster.nodes.iter().map(|n| n.name.clone()).collect(),
        Kind::Pod => {
            let near = cluster.pods.iter().filter(|p| p.namespace == target.namespace);
            near.map(|p| p.name.clone()).collect()
        }
        Kind::HorizontalPodAutoscaler => {
            let near = cluster.hpas.iter().filter(|h| h.namespace == target.namespace);
            near.map(|h| h.name.clone()).collect()
        }
        kind => cluster
            .workloads(kind)
            .map(|t| t.iter().filter(|w| w.namespace == target.namespace).map(|w| w.name.clone()).collect())
            .unwrap_or_default(),
    };
    let chars: Vec<char> = target.name.chars().collect();
    let mut length = 4.min(chars.len());
    loop {
        let tail: String = chars.iter().skip(chars.len() - length).collect();
        let unique = others.iter().filter(|n| n.ends_with(&tail)).count() <= 1;
        if unique || length == chars.len() {
            return tail;
        }
        length += 1;
    }
}

/// The kubectl command for this plan's cluster.
fn kubectl(cluster: &Cluster, plan: &Plan, words: &str) -> String {
    kubectl_in(cluster, &plan.intent.context, words)
}

fn gone(target: &ObjectRef) -> Refusal {
    Refusal::new("precondition", format!("{target} (uid {}) is not in the cluster any more", target.uid))
}

/// Adds what only the server knew.
pub fn settle(mut plan: Plan, evidence: &Evidence) -> Plan {
    for denied in &evidence.denied {
        plan.refusals.push(Refusal::new("rbac", denied.clone()));
    }
    for refused in &evidence.dry_run_refused {
        plan.refusals.push(Refusal::new("dry-run", refused.clone()));
    }
    for unanswered in &evidence.unanswered {
        plan.warnings.push(format!("could not be asked: {unanswered}"));
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::autoscaler::Hpa;
    use crate::domain::id::{Uid, Version};
    use crate::domain::node::Node;
    use crate::domain::plan::{DrainOptions, ScaleBy};
    use crate::domain::workload::Workload;
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::state::ClusterState;

    fn cluster() -> Arc<Cluster> {
        let mut state = ClusterState::new(ClusterInfo { context: "test".into(), ..ClusterInfo::default() });
        let deployment = Workload {
            uid: Uid::Uuid(1),
            version: Version(7),
            namespace: "shop".into(),
            name: "checkout".into(),
            replicas: 3,
            desired: 3,
            ready: 3,
            updated: 3,
            current: 3,
            available: 3,
            ..Workload::default()
        };
        let hpa = Hpa {
            uid: Uid::Uuid(2),
            namespace: "shop".into(),
            name: "h".into(),
            target_name: "checkout".into(),
            min: 2,
            max: 5,
            ..Hpa::default()
        };
        let nodes = (0..3).map(|i| Node {
            uid: Uid::Uuid(10 + i),
            name: format!("node-{i:04}").into(),
            ..Node::default()
        });
        for fact in [
            Fact::Deployments(Batch::Upsert(vec![deployment])),
            Fact::Hpas(Batch::Upsert(vec![hpa])),
            Fact::Nodes(Batch::Begin { generation: 1 }),
            Fact::Nodes(Batch::Upsert(nodes.collect())),
            Fact::Nodes(Batch::End { generation: 1, version: Version(1) }),
        ] {
            state.apply(fact, Stamp(0));
        }
        state.publish(Stamp(0), false).unwrap()
    }

    fn intent(act: Act, kind: Kind, uid: u128, name: &str) -> Intent {
        let namespace = if kind == Kind::Node { "" } else { "shop" };
        Intent {
            cluster: crate::domain::id::ClusterId::default(),
            context: "test".into(),
            act,
            targets: vec![ObjectRef::new(kind, &namespace.into(), &name.into(), &Uid::Uuid(uid))],
        }
    }

    fn make(intent: &Intent) -> Plan {
        make_with(intent, &GuardSettings::default())
    }

    fn make_with(intent: &Intent, guards: &GuardSettings) -> Plan {
        let (cluster, extras) = (cluster(), Extras::default());
        let grounds =
            Grounds { cluster: &cluster, guards, view: View::Whole, extras: &extras, now: Stamp(0) };
        plan(grounds, intent)
    }

    fn scale_to(replicas: i32, seen: Option<i32>) -> Plan {
        let by = ScaleBy { replicas, current_replicas: seen };
        make(&intent(Act::Scale(by), Kind::Deployment, 1, "checkout"))
    }

    #[test]
    fn a_cluster_that_no_kubeconfig_has_is_named_by_its_address() {
        let mut cluster = Cluster::clone(&cluster());
        let server = "http://127.0.0.1:1/as/admin";
        cluster.info = Arc::new(ClusterInfo {
            server: server.into(),
            by_address: true,
            ..ClusterInfo::clone(&cluster.info)
        });
        let intent = intent(Act::Restart, Kind::Deployment, 1, "checkout");
        let p = plan(
            Grounds {
                cluster: &cluster,
                guards: &GuardSettings::default(),
                view: View::Whole,
                extras: &Extras::default(),
                now: Stamp(0),
            },
            &intent,
        );
        assert_eq!(p.kubectl, format!("kubectl --server {server} -n shop rollout restart deploy/checkout"));
    }

    #[test]
    fn a_confirmation_grows_with_the_blast_radius() {
        assert_eq!(scale_to(5, None).confirm, Confirm::Yes);
        assert_eq!((scale_to(2, None).confirm, scale_to(2, None).answer), (Confirm::Suffix, "kout".into()));
        assert_eq!((scale_to(0, None).confirm, scale_to(0, None).answer), (Confirm::Context, "test".into()));
        let guards = GuardSettings { protected_namespaces: vec!["shop".into()], ..GuardSettings::default() };
        let by = ScaleBy { replicas: 5, current_replicas: None };
        let raised = make_with(&intent(Act::Scale(by), Kind::Deployment, 1, "checkout"), &guards);
        assert_eq!(raised.confirm, Confirm::Suffix);
        let by = ScaleBy { replicas: 1, current_replicas: None };
        let down = intent(Act::Scale(by), Kind::Deployment, 1, "checkout");
        let raised = make_with(&down, &guards);
        assert_eq!(
            raised.answer, "test",
            "the number of one object would be a weaker question than its name"
        );
    }

    #[test]
    fn scale_has_a_precondition_and_names_the_autoscaler() {
        let p = scale_to(9, Some(4));
        assert_eq!(p.refusals[0].guard, "precondition");
        assert!(p.steps.is_empty());
        let p = scale_to(9, Some(3));
        assert!(p.refusals.is_empty());
        assert!(p.warnings[0].contains("takes it back to its maximum 5"), "{:?}", p.warnings);
        assert_eq!(
            p.kubectl,
            "kubectl --context test -n shop scale deploy/checkout --replicas 9 --current-replicas 3"
        );
    }

    #[test]
    fn another_object_of_the_same_name_is_not_the_target() {
        let p = make(&intent(Act::Restart, Kind::Deployment, 99, "checkout"));
        assert!(p.steps.is_empty());
        assert_eq!(p.refusals[0].guard, "precondition");
    }

    #[test]
    fn a_drain_over_incomplete_data_is_refused() {
        let p = make(&intent(Act::Drain(DrainOptions::default()), Kind::Node, 10, "node-0000"));
        assert!(p.refusals.iter().filter(|r| r.guard == "incomplete-data").count() == 3);
        assert_eq!(p.answer, "0000");
    }

    #[test]
    fn read_only_refuses_everything() {
        let guards = GuardSettings { read_only: true, ..GuardSettings::default() };
        for act in [Act::Cordon, Act::Uncordon, Act::Restart, Act::Drain(DrainOptions::default())] {
            let p = make_with(&intent(act, Kind::Node, 10, "node-0000"), &guards);
            assert!(p.refusals.iter().any(|r| r.guard == "read-only"));
        }
    }

    #[test]
    fn a_second_cordoned_node_of_three_asks_for_the_context() {
        let mut i = intent(Act::Cordon, Kind::Node, 10, "node-0000");
        assert_eq!(make(&i).confirm, Confirm::Yes);
        i.targets.push(ObjectRef::new(Kind::Node, &"".into(), &"node-0001".into(), &Uid::Uuid(11)));
        assert_eq!(make(&i).confirm, Confirm::Context);
    }

    #[test]
    fn denied_rights_refuse() {
        let p = scale_to(5, None);
        assert_eq!(access(&p, "")[0].to_string(), "patch deployments/scale.apps in shop");
        let p = settle(p, &Evidence { denied: vec!["patch deployments".into()], ..Evidence::default() });
        assert_eq!(p.refusals[0].guard, "rbac");
    }

    #[test]
    fn what_moves_by_itself_is_no_other_plan_and_what_is_worse_is() {
        use crate::domain::failover::Watched;
        use crate::domain::plan::{Gate, ServiceEffect, Unplaced};
        let on = ObjectRef::new(Kind::Service, &"shop".into(), &"web".into(), &Uid::Uuid(5));
        let made = |percent: f64, warning: &str, left: u32, unplaced: &str, context: &str| {
            let mut p = scale_to(5, None);
            let watched =
                Watched { namespace: "shop".into(), service: "web".into(), max_error_percent: percent };
            let gate = Gate::Soak { secs: 30, watched: Some(watched) };
            p.steps.push(Step::new(StepKind::Check(gate), on.clone()));
            p.steps[0].context = context.into();
            p.warnings.push(warning.into());
            p.services.push(ServiceEffect {
                namespace: "shop".into(),
                name: "web".into(),
                ready_before: 10,
                ready_after: left,
                ..ServiceEffect::default()
            });
            let reason = "0 of 3 nodes".into();
            p.unplaced.push(Unplaced { namespace: "shop".into(), name: unplaced.into(), reason });
            p
        };
        let read = made(12.3, "now 12.3 % errors on node-0041", 9, "a", "");
        let beyond = |plan: &Plan| plan.goes_beyond(&read);
        assert_eq!(beyond(&made(12.9, "now 12.9 % errors on node-0041", 9, "a", "")), None);
        let rates = |words| made(12.3, words, 9, "a", "");
        let (then, now) =
            (rates("3 to 2 backends (45.9 to 68.8 rps)"), rates("3 to 2 backends (47.4 to 71.1 rps)"));
        assert_eq!(now.goes_beyond(&then), None);
        for (worse, what) in [
            (made(12.3, "now 12.3 % errors on node-0042", 9, "a", ""), "its warnings"),
            (made(12.3, "now 12.3 % errors on node-0041", 1, "a", ""), "what Services lose"),
            (made(12.3, "now 12.3 % errors on node-0041", 9, "b", ""), "the pods that no node has room for"),
            (made(12.3, "now 12.3 % errors on node-0041", 9, "a", "dr"), "what it does"),
        ] {
            assert_eq!(beyond(&worse), Some(what));
        }
        // a Service that has got its pods back meanwhile holds nobody up
        let mut poorer =
            rates("50 % more requests: data/catalog-db 3 to 2 backends, shop/inventory 3 to 2 backends");
        poorer.services[0].ready_before = 3;
        poorer.services[0].ready_after = 2;
        let mut richer = rates("50 % more requests: data/catalog-db 3 to 2 backends");
        richer.services[0].ready_before = 4;
        richer.services[0].ready_after = 3;
        assert_eq!((richer.goes_beyond(&poorer), poorer.goes_beyond(&richer)), (None, Some("its warnings")));
    }

    #[test]
    fn an_undo_asks_for_what_its_steps_do() {
        use crate::domain::plan::FieldChange;
        let on = ObjectRef::new(Kind::Node, &"".into(), &"node-0000".into(), &Uid::Uuid(10));
        let taints = serde_json::json!([{ "key": OUT_OF_SERVICE, "effect": "NoExecute" }]);
        let field = |from, to| FieldChange { pointer: "/spec/taints".into(), from, to };
        let undo = |what: StepKind, on: &ObjectRef, live: serde_json::Value, targets: Vec<ObjectRef>| {
            let sequel = Sequel {
                of: "1".into(),
                title: "in-service".into(),
                steps: vec![Step::new(what, on.clone())],
                remains: "a pod does not move back".into(),
                confirm: Confirm::Suffix,
                watched: None,
            };
            let need = Need::Object { context: Name::default(), on: on.clone() };
            let extras = Extras(vec![(need, Found::Objects(vec![live]))]);
            let (cluster, guards) = (cluster(), GuardSettings::default());
            let grounds = Grounds {
                cluster: &cluster,
                guards: &guards,
                view: View::Whole,
                extras: &extras,
                now: Stamp(0),
            };
            let intent = Intent {
                act: Act::Undo(Box::new(sequel)),
                targets,
                ..intent(Act::Cordon, Kind::Node, 10, "n")
            };
            plan(grounds, &intent)
        };
        let node = |ready: &str| {
            serde_json::json!({
                "metadata": { "uid": on.uid.to_string() },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] }
            })
        };
        let change = Change { words: "taints".into(), fields: vec![field(serde_json::Value::Null, taints)] };
        let p = undo(StepKind::Change(change.clone()), &on, node("True"), vec![on.clone()]);
        assert!(p.refusals[0].reason.contains("is Ready"), "{:?}", p.refusals);
        let p = undo(StepKind::Change(change), &on, node("Unknown"), vec![on.clone()]);
        assert_eq!((p.refusals.len(), p.confirm), (0, Confirm::Context));
        let p = undo(StepKind::Uncordon, &on, node("True"), vec![on.clone()]);
        assert!(p.refusals[0].reason.ends_with("it is undone already; a pod does not move back"));
        let web = ObjectRef::new(Kind::Deployment, &"shop".into(), &"checkout".into(), &Uid::Uuid(1));
        let live =
            serde_json::json!({ "metadata": { "uid": web.uid.to_string() }, "spec": { "replicas": 5 } });
        let p = undo(StepKind::Scale { from: 5, to: 0 }, &web, live.clone(), vec![web.clone()]);
        assert_eq!(p.confirm, Confirm::Context, "{:?}", p.refusals);
        let entry = |manager: &str| serde_json::json!({ "manager": manager, "fieldsV1": { "f:spec": { "f:replicas": {} } } });
        let by = |manager: &str| {
            let mut live = live.clone();
            live["metadata"]["managedFields"] = serde_json::json!([entry(manager)]);
            undo(StepKind::Scale { from: 5, to: 3 }, &web, live, vec![web.clone()])
        };
        assert_eq!((by("pilothouse").refusals.len(), by("pilothouse").steps.len()), (0, 1));
        let p = by("kubectl");
        assert!(p.refusals[0].reason.contains("kubectl has set it since") && p.steps.is_empty());
        // without a name there is nothing whose end could be typed: an empty answer would be Enter alone
        let p = undo(StepKind::Scale { from: 5, to: 3 }, &web, live, Vec::new());
        assert_eq!((p.confirm, p.answer.as_str()), (Confirm::Context, "test"));
    }
}
