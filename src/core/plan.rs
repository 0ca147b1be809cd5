//! Planning: makes a plan with its effects from an intent and the shared state. The server's answers (access reviews,
//! dry runs) are added afterwards. Planning is pure: the same inputs give the same plan.
//!
//! There is one file for each family of actions: `nodes`, `workloads`, `scale`, `pods`, [`failover`]. [`access()`]
//! returns the permissions that a plan needs, and [`lookups`] the data that has to be read in addition to the shared
//! state.

mod access;
mod autoscaler;
pub mod drift;
pub mod failover;
mod nodes;
mod pods;
mod proxies;
mod scale;
mod silences;
pub mod undo;
pub mod watch;
mod workloads;

#[cfg(test)]
mod tests;

pub use access::{access, resource, to_look, to_write};
pub use pods::OUT_OF_ROTATION;
pub use scale::autoscaler_of;

use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::node::OUT_OF_SERVICE;
use crate::domain::plan::{
    Act, Change, Confirm, DerivedPlan, Fate, Intent, Lacking, Lookup, LookupResult, Lookups, Plan, Refusal,
    ServerChecks, Step, StepKind, Warning,
};
use crate::domain::settings::GuardSettings;
use crate::domain::time::Stamp;
use crate::facts::world::Cluster;
use crate::plan::drift::Drift;
use crate::policy::kubectl::{kubectl_in, quote};
use crate::policy::revisions;

/// How much of the cluster the planner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataScope {
    /// The live console. The coverage of each table tells how complete it is.
    FullCluster,
    /// A headless command that read only the data it needs, such as the pods of the named nodes.
    TargetsOnly,
}

/// The input of a planner.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    pub cluster: &'a Cluster,
    pub guards: &'a GuardSettings,
    pub scope: DataScope,
    /// The results of [`lookups`].
    pub lookups: &'a Lookups,
    pub now: Stamp,
}

/// Makes the plan. A target that is not in the shared state is refused.
pub fn plan(input: PlanInput<'_>, intent: &Intent) -> Plan {
    let PlanInput { cluster, now, .. } = input;
    let mut plan = Plan::new(intent.clone(), now);
    if let Some(refusal) = other_cluster(cluster, intent) {
        plan.refusals.push(refusal);
        return plan;
    }
    if intent.targets.is_empty()
        && !matches!(intent.act, Act::Failover { .. } | Act::Undo(_) | Act::Resume(_))
    {
        plan.refusals.push(Refusal::NothingSelected);
    }
    match &intent.act {
        Act::Cordon => nodes::cordon(input, &mut plan, true),
        Act::Uncordon => nodes::cordon(input, &mut plan, false),
        Act::Drain(options) => nodes::drain(input, &mut plan, options),
        Act::OutOfService => nodes::out_of_service(input, &mut plan, true),
        Act::InService => nodes::out_of_service(input, &mut plan, false),
        Act::Restart => workloads::restart(cluster, &mut plan),
        Act::Rollback { to_revision } => workloads::rollback(input, &mut plan, *to_revision),
        Act::PauseRollout => workloads::pause(cluster, &mut plan, true),
        Act::ResumeRollout => workloads::pause(cluster, &mut plan, false),
        Act::Scale(by) => scale::scale(input, &mut plan, by),
        Act::Bounds { min, max } => scale::bounds(input, &mut plan, *min, *max),
        Act::PauseAutoscaler => autoscaler::pause(input, &mut plan, true),
        Act::ResumeAutoscaler => autoscaler::pause(input, &mut plan, false),
        Act::Evict(options) => pods::evict(input, &mut plan, options),
        Act::OutOfRotation { service } => pods::out_of_rotation(input, &mut plan, service),
        Act::IntoRotation => pods::into_rotation(input, &mut plan),
        Act::SilenceAlerts(new) => silences::silence(input, &mut plan, new),
        Act::EndSilence => silences::end(input, &mut plan),
        Act::Server(change) => proxies::change(input, &mut plan, *change),
        Act::Failover { plan: way, revert } => failover::plan(input, &mut plan, way, *revert),
        Act::Undo(derived) => undo(input, &mut plan, derived),
        Act::Resume(derived) => resume(input, &mut plan, derived),
    }
    plan.warnings.extend(plan.unread.iter().map(|what| Warning::NotReadable { what: what.clone() }));
    guard(cluster, &mut plan, input.guards);
    plan
}

/// Refuses an intent with objects of another cluster: the facts and the clients of a plan are those of one.
fn other_cluster(cluster: &Cluster, intent: &Intent) -> Option<Refusal> {
    let on = intent.outside(cluster.id())?.clone();
    Some(Refusal::OtherCluster { on, context: intent.context.clone() })
}

/// Returns the lookups that a plan needs in addition to the shared state.
pub fn lookups(cluster: &Cluster, intent: &Intent) -> Vec<Lookup> {
    if other_cluster(cluster, intent).is_some() {
        return Vec::new();
    }
    match &intent.act {
        Act::Drain(_) => nodes::drain_lookups(cluster, &intent.targets),
        Act::Rollback { .. } => intent.targets.iter().flat_map(workloads::rollback_lookups).collect(),
        Act::Scale(by) => {
            // The object shows who changed the replicas first.
            let seen = intent.targets.iter().filter(|_| by.current_replicas.is_some()).map(here);
            quotas_of(intent).chain(seen).collect()
        }
        Act::Bounds { .. } => quotas_of(intent).collect(),
        Act::OutOfService
        | Act::InService
        | Act::PauseAutoscaler
        | Act::ResumeAutoscaler
        | Act::OutOfRotation { .. }
        | Act::IntoRotation
        | Act::EndSilence
        | Act::Server(_) => intent.targets.iter().map(here).collect(),
        Act::SilenceAlerts(new) => vec![here(&new.spec().object(intent.cluster, &new.through))],
        Act::Failover { plan, .. } => failover::lookups(cluster, plan),
        Act::Undo(derived) | Act::Resume(derived) => {
            let lookups = |s: &Step| {
                let held = match &s.what {
                    StepKind::Rollback { to, from } => vec![&from.holder, &to.holder],
                    _ => Vec::new(),
                };
                let objects: Vec<&ObjectRef> = std::iter::once(&s.on).chain(held).collect();
                objects
                    .into_iter()
                    .map(|on| Lookup::Object { context: s.context.clone(), on: on.clone() })
                    .collect::<Vec<_>>()
            };
            derived.steps.iter().flat_map(lookups).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the additional lookup of a headless command, which knows only its targets.
pub fn lookups_of_targets(cluster: &Cluster, intent: &Intent) -> Option<Lookup> {
    (matches!(intent.act, Act::Cordon | Act::Drain(_)) && other_cluster(cluster, intent).is_none())
        .then(|| nodes::fleet_lookup(cluster, &intent.targets))
}

/// Returns true if `--yes` alone is not enough although nothing is protected: the plan affects a whole zone or many
/// nodes.
pub fn takes_many_nodes(plan: &Plan) -> bool {
    matches!(plan.intent.act, Act::Cordon | Act::Drain(_)) && plan.confirm >= Confirm::Context
}

/// Returns the lookups of the ResourceQuotas in the targets' namespaces. A quota can prevent more pods.
fn quotas_of(intent: &Intent) -> impl Iterator<Item = Lookup> + use<> {
    let mut namespaces: Vec<Name> = intent.targets.iter().map(|t| t.namespace.clone()).collect();
    namespaces.dedup();
    namespaces.into_iter().map(Lookup::Quotas)
}

/// Returns the lookup of a target in the intent's own cluster.
fn here(target: &ObjectRef) -> Lookup {
    Lookup::Object { context: Name::default(), on: target.clone() }
}

/// The same as it was read, or the refusal that says why there is none.
fn live<'a>(input: PlanInput<'a>, plan: &mut Plan, target: &ObjectRef) -> Option<&'a serde_json::Value> {
    match input.lookups.get(&here(target)) {
        Some(LookupResult::Objects(objects)) if !objects.is_empty() => objects.first(),
        Some(LookupResult::Unread(why)) => {
            plan.refusals.push(Refusal::NotReadable { why: why.clone() });
            None
        }
        Some(LookupResult::Absent) => {
            plan.refusals.push(gone(target));
            None
        }
        _ => {
            plan.refusals.push(Refusal::TargetNotRead { target: target.clone() });
            None
        }
    }
}

/// The steps were worked out from the journal. A field that was changed after the action is not overwritten.
fn undo(input: PlanInput<'_>, plan: &mut Plan, derived: &DerivedPlan) {
    plan_recorded_steps(input, plan, derived);
    if plan.steps.is_empty() && plan.refusals.is_empty() {
        let already = (!derived.steps.is_empty()).then_some("it is undone already");
        let missing = Some(derived.not_restored.as_str()).filter(|what| !what.is_empty());
        let why = already.into_iter().chain(missing).collect::<Vec<_>>().join("; ");
        plan.refusals.push(Refusal::NothingToUndo { title: derived.title.clone(), why });
    } else if !derived.not_restored.is_empty() {
        plan.warnings.push(Warning::NotRestored { what: derived.not_restored.clone() });
    }
    plan.undo = "the action itself again".into();
    plan.kubectl = format!("pilothouse undo {}", quote(&derived.of));
}

/// Adds the steps that were derived from the journal, after checking them against the current cluster. A step that is
/// already done becomes a warning. A field that was changed after the action becomes a refusal.
fn plan_recorded_steps(input: PlanInput<'_>, plan: &mut Plan, recorded: &DerivedPlan) {
    let found = |step: &Step, on: &ObjectRef| {
        input.lookups.get(&Lookup::Object { context: step.context.clone(), on: on.clone() })
    };
    let is_resume = matches!(plan.intent.act, Act::Resume(_));
    for step in &recorded.steps {
        let live = match found(step, &step.on) {
            Some(LookupResult::Objects(objects)) => objects.first(),
            Some(LookupResult::Unread(why)) => {
                plan.refusals.push(Refusal::NotReadable { why: why.clone() });
                continue;
            }
            Some(LookupResult::Absent | LookupResult::Fleet(_)) | None => None,
        };
        let same = live.is_some_and(|l| {
            l.pointer("/metadata/uid").and_then(|u| u.as_str()) == Some(step.on.uid.to_string().as_str())
        });
        let Some(live) = live.filter(|_| same) else {
            if step.is_eviction() {
                plan.warnings.push(Warning::GoneAlready { on: step.on.clone() });
            } else {
                plan.refusals.push(gone(&step.on));
            }
            continue;
        };
        // A later stage starts from the result of the stage before it, not from the current object.
        if is_resume && plan.steps.iter().any(|earlier| is_stage_of(earlier, step)) {
            plan.steps.push(step.clone());
            continue;
        }
        let drift = match &step.what {
            StepKind::Rollback { to, from } => {
                let held = |on: &ObjectRef| match found(step, on) {
                    Some(LookupResult::Objects(objects)) => objects.first(),
                    _ => None,
                };
                let Some(wanted) = held(&to.holder) else {
                    plan.refusals.push(Refusal::RevisionGone { on: step.on.clone(), revision: to.number });
                    continue;
                };
                plan.diff.extend(revisions::diff(&revisions::template(live), &revisions::template(wanted)));
                drift::of_template(live, held(&from.holder), Some(wanted))
            }
            what => drift::of_step(live, what),
        };
        // If another manager set the same value since, an undo must not remove it. The remaining steps of another
        // action were never sent, so the value that they change may be anybody's.
        let takes_back = recorded.takes_back || matches!(plan.intent.act, Act::Undo(_));
        let since = takes_back.then(|| drift::set_since(live, &step.what)).flatten();
        let drift = match since {
            Some(why) if drift == Drift::Before => Drift::Other(why),
            _ => drift,
        };
        match drift {
            Drift::Before => {
                if let Some(ended) = silences::is_over(&step.what, input.now) {
                    let why = format!("the silence would have ended {}", ended.told(input.now));
                    plan.refusals.push(Refusal::NothingToUndo { title: recorded.title.clone(), why });
                    continue;
                }
                // A node that answers must never get the out-of-service taint.
                let alive =
                    matches!(&step.what, StepKind::Change(c) if adds_out_of_service(c)) && is_ready(live);
                if alive {
                    plan.refusals.push(Refusal::NodeIsReady { node: step.on.clone() });
                }
                plan.steps.push(step.clone());
            }
            Drift::After => {
                plan.warnings.push(Warning::DoneAlready { on: step.on.clone(), step: step.what.clone() });
            }
            Drift::Other(why) => plan.refusals.push(Refusal::ChangedSince { on: step.on.clone(), why }),
        }
    }
    // The address of the API server is judged anew each time.
    plan.confirm = recorded.confirm.min(Confirm::Context).max(weight(plan));
}

/// Returns true if both steps change the same object in the same way, like the stages of a weight shift.
fn is_stage_of(earlier: &Step, step: &Step) -> bool {
    std::mem::discriminant(&earlier.what) == std::mem::discriminant(&step.what)
        && (&earlier.on, &earlier.context) == (&step.on, &step.context)
}

/// Returns the confirmation that the steps require because of their effect.
fn weight(plan: &Plan) -> Confirm {
    let of = |step: &Step| match &step.what {
        StepKind::Scale { to: 0, .. } => Confirm::Context,
        StepKind::Change(change) if adds_out_of_service(change) => Confirm::Context,
        StepKind::Cordon | StepKind::Uncordon => Confirm::Yes,
        _ => Confirm::Suffix,
    };
    plan.steps.iter().map(of).max().unwrap_or(Confirm::Suffix)
}

/// Returns true if the change adds the out-of-service taint to a node.
pub fn adds_out_of_service(change: &Change) -> bool {
    let key =
        |taint: &serde_json::Value| taint.get("key").and_then(|key| key.as_str()) == Some(OUT_OF_SERVICE);
    let has = |value: &serde_json::Value| {
        key(value) || value.as_array().is_some_and(|taints| taints.iter().any(key))
    };
    change.fields.iter().any(|f| has(&f.to) && !has(&f.from))
}

/// Returns true if the node's Ready condition is True.
fn is_ready(node: &serde_json::Value) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(|c| c.as_array());
    let text = |c: &serde_json::Value, key: &str| c.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    conditions
        .into_iter()
        .flatten()
        .any(|c| text(c, "type").as_deref() == Some("Ready") && text(c, "status").as_deref() == Some("True"))
}

/// Plans the steps that an action had not done when its process ended. A step that is done is not done again. A field
/// that was changed after the action is not overwritten.
fn resume(input: PlanInput<'_>, plan: &mut Plan, derived: &DerivedPlan) {
    plan_recorded_steps(input, plan, derived);
    if let Some(watched) = &derived.watched {
        watch::warn(input.cluster, plan, watched);
    }
    plan.undo = "as the action itself: select it in the list of actions".into();
    plan.kubectl = format!("pilothouse resume {}", quote(&derived.of));
}

/// Applies read-only mode and protection, and sets the text that must be typed.
fn guard(cluster: &Cluster, plan: &mut Plan, guards: &GuardSettings) {
    // a step of a failover can be in another context
    let elsewhere = plan.steps.iter().any(|s| !s.context.is_empty() && guards.reads_only(&s.context));
    if cluster.info.read_only || guards.reads_only(&plan.intent.context) || elsewhere {
        plan.refusals.push(Refusal::ReadOnly);
    }
    if plan.intent.targets.len() > 1 {
        plan.confirm = plan.confirm.max(Confirm::Count);
    }
    if is_protected(plan, guards) {
        plan.confirm = plan.confirm.raised();
        // Typing the number of a single object would confirm nothing.
        if plan.confirm == Confirm::Count && plan.intent.targets.len() == 1 {
            plan.confirm = Confirm::Context;
        }
    }
    if plan.confirm == Confirm::Suffix && plan.intent.targets.is_empty() {
        // Without a target, there is no name whose end could be typed.
        plan.confirm = Confirm::Context;
    }
    plan.answer = match plan.confirm {
        Confirm::Yes => "y".into(),
        Confirm::Suffix => match silences::spoken(plan) {
            Some(name) => tail(name, 4),
            None => suffix(cluster, plan.intent.targets.first()),
        },
        Confirm::Count => plan.intent.targets.len().to_string(),
        Confirm::Context | Confirm::Server => plan.intent.context.to_string(),
    };
}

/// Returns true if the context of the plan or of a step is protected, or the namespace of a target, a step or a pod
/// that would be deleted. It is also true if it is not known which pods would be deleted and any namespace is
/// protected.
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

/// Returns the last characters of a text.
fn tail(text: &str, length: usize) -> String {
    text.chars().skip(text.chars().count().saturating_sub(length)).collect()
}

/// Returns the last characters of the name: at least four, and enough to distinguish it from other names of its kind.
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
    let chars = target.name.chars().count();
    let mut length = 4.min(chars);
    loop {
        let tail = tail(&target.name, length);
        let unique = others.iter().filter(|n| n.ends_with(&tail)).count() <= 1;
        if unique || length == chars {
            return tail;
        }
        length += 1;
    }
}

/// Returns the kubectl command for the cluster of this plan.
fn kubectl(cluster: &Cluster, plan: &Plan, words: &str) -> String {
    kubectl_in(cluster, &plan.intent.context, words)
}

fn gone(target: &ObjectRef) -> Refusal {
    Refusal::Gone { target: target.clone(), uid: target.uid.clone() }
}

/// Adds the server's answers to the plan.
pub fn apply_server_checks(mut plan: Plan, checks: ServerChecks) -> Plan {
    plan.refusals.extend(checks.refusals);
    plan.warnings.extend(checks.warnings);
    plan
}
