//! Actions on workloads: restart, roll back, pause.

use serde_json::Value;

use super::{Grounds, gone, here, kubectl};
use crate::domain::id::{Kind, ObjectRef};
use crate::domain::image;
use crate::domain::kinds::Purpose;
use crate::domain::log::{ErrorGroup, Level};
use crate::domain::plan::{
    Act, Change, Choice, Confirm, FieldChange, Found, Need, Plan, Refusal, Step, StepKind,
};
use crate::domain::workload::RolloutPhase;
use crate::domain::workload::{Strategy, Workload};
use crate::facts::world::Cluster;
use crate::plan::drift::{last_change, last_writer, managers};
use crate::policy::kubectl::quote;
use crate::policy::revisions::{self, Revision};
use crate::policy::rollout;

/// Finds the targeted workload and notes who else has a say in it.
pub(super) fn workload<'a>(
    cluster: &'a Cluster,
    plan: &mut Plan,
    target: &ObjectRef,
) -> Option<&'a Workload> {
    let found = cluster.workloads(&target.kind).and_then(|t| t.iter().find(|w| w.uid == target.uid));
    let Some(found) = found else {
        plan.refusals.push(gone(target));
        return None;
    };
    if let Some(manager) = &found.managed_by {
        plan.warnings.push(format!("{} is managed by {manager}, which may revert this", found.name));
    }
    if let Some(owner) = &found.owner {
        plan.warnings
            .push(format!("{} is owned by {}/{}, which may revert this", found.name, owner.kind, owner.name));
    }
    Some(found)
}

pub(super) fn restart(cluster: &Cluster, plan: &mut Plan) {
    let mut words = Vec::new();
    for target in plan.intent.targets.clone() {
        words.push((target.namespace.clone(), format!("{}/{}", target.kind.short(), quote(&target.name))));
        if !target.kind.takes(Purpose::Restart) {
            let why = format!("a {} has no rollout: evict or delete its pods instead", target.kind);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        let Some(w) = workload(cluster, plan, &target) else { continue };
        if w.paused {
            let why = format!("{} is paused: resume its rollout first", w.name);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        if w.strategy == Strategy::OnDelete {
            plan.warnings.push(format!(
                "{} has strategy OnDelete: nothing restarts until each pod is deleted",
                w.name
            ));
        }
        if w.strategy == Strategy::Recreate {
            plan.warnings
                .push(format!("{} has strategy Recreate: all its pods stop before new ones start", w.name));
        }
        match rollout::judge(w).phase {
            RolloutPhase::Progressing => {
                plan.warnings.push(format!(
                    "a rollout of {} is under way: {}",
                    w.name,
                    rollout::judge(w).why
                ));
                plan.confirm = plan.confirm.max(Confirm::Suffix);
            }
            RolloutPhase::Stuck => {
                plan.warnings.push(format!("{} is stuck; a restart starts the same template again", w.name));
                plan.confirm = plan.confirm.max(Confirm::Suffix);
            }
            _ => {}
        }
        if w.ready < w.desired {
            plan.confirm = plan.confirm.max(Confirm::Suffix);
        }
        if w.desired == 0 {
            plan.warnings.push(format!("{} has no pods to restart", w.name));
        }
        plan.steps.push(Step::new(StepKind::Restart { version: w.version }, target));
    }
    plan.undo =
        "nothing: the pods that were replaced do not come back (roll back the template instead)".into();
    let each = words
        .iter()
        .map(|(ns, what)| kubectl(cluster, plan, &format!("-n {} rollout restart {what}", quote(ns))));
    plan.kubectl = each.collect::<Vec<_>>().join(" && ");
}

/// Pause or resume a Deployment's rollout.
pub(super) fn pause(cluster: &Cluster, plan: &mut Plan, on: bool) {
    let mut words = Vec::new();
    let verb = if on { "pause" } else { "resume" };
    for target in plan.intent.targets.clone() {
        words.push((target.namespace.clone(), quote(&target.name)));
        if target.kind != Kind::Deployment {
            let why = format!("only a Deployment can be paused, not a {}", target.kind);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        let Some(w) = workload(cluster, plan, &target) else { continue };
        if w.paused == on {
            plan.warnings.push(format!("{} is {verb}d already: nothing to do", w.name));
            continue;
        }
        if on && rollout::judge(w).phase == RolloutPhase::Progressing {
            plan.warnings.push(format!("its rollout stops half way: {}", rollout::judge(w).why));
        }
        if !on && w.updated < w.desired {
            plan.warnings.push("a template that was changed meanwhile rolls out now".into());
        }
        let value = |paused: bool| if paused { Value::Bool(true) } else { Value::Null };
        plan.steps.push(Step::new(
            StepKind::Change(Change {
                words: format!("{verb} the rollout"),
                fields: vec![FieldChange { pointer: "/spec/paused".into(), from: value(!on), to: value(on) }],
            }),
            target,
        ));
    }
    plan.undo = format!("{} the rollout", if on { "resume" } else { "pause" });
    let each = words
        .iter()
        .map(|(ns, name)| kubectl(cluster, plan, &format!("-n {} rollout {verb} deploy/{name}", quote(ns))));
    plan.kubectl = each.collect::<Vec<_>>().join(" && ");
}

pub(super) fn rollback_needs(target: &ObjectRef) -> [Need; 2] {
    [here(target), Need::Revisions(target.clone())]
}

/// The revisions, the newest first.
fn choices(history: &[revisions::Revision], chosen: Option<i64>) -> Vec<Choice> {
    let default = history.iter().rev().nth(1).map(|r| r.number);
    let choice = |r: &revisions::Revision| {
        let cause = if r.cause.is_empty() { String::new() } else { format!(" ({})", r.cause) };
        Choice {
            words: format!("revision {}: {}{cause}", r.number, r.images.join(", ")),
            act: Act::Rollback { to_revision: Some(r.number) },
            on: chosen.or(default) == Some(r.number),
        }
    };
    history.iter().rev().skip(1).map(choice).collect()
}

/// How the controllers that apply what a repository says call themselves in managedFields.
const APPLIERS: [&str; 4] = ["argocd", "flux", "kustomize-controller", "helm-controller"];

/// A workload that says nothing of GitOps may be applied by it all the same: whoever owns one of its fields is on record,
/// also when somebody else changed the template since.
fn applied_by_gitops(plan: &mut Plan, w: &Workload, live: &Value) {
    const SPEC: &str = "/spec/template/spec/containers";
    if w.managed_by.is_some() {
        return;
    }
    let gitops = |manager: &str| APPLIERS.iter().any(|applier| manager.starts_with(applier));
    if last_writer(live, SPEC).is_some_and(|(manager, _)| gitops(&manager)) {
        let who = last_change(live, SPEC);
        plan.warnings
            .push(format!("the template of {} comes from GitOps, which may revert this{who}", w.name));
    } else if let Some(manager) = managers(live).into_iter().find(|manager| gitops(manager)) {
        plan.warnings.push(format!("{} is applied by {manager}, which may revert this", w.name));
    }
}

/// What speaks against going to this revision.
fn forward(cluster: &Cluster, plan: &mut Plan, w: &Workload, live: &Value, from: &Revision, to: &Revision) {
    if from.is_return_from(to) {
        let who = last_change(live, "/spec/template/spec/containers");
        plan.warnings.push(format!(
            "revision {} is NEWER than the template that runs now: {} was rolled back from it{who}; this rolls forward to it again",
            to.number, w.name
        ));
        plan.confirm = Confirm::Context;
    }
    let title = format!("{}/{}", w.namespace, w.name);
    let tags: Vec<&str> = to.images.iter().map(|image| image::version(image)).collect();
    let only_there = |group: &&std::sync::Arc<ErrorGroup>| {
        group.level >= Level::Error
            && group.workloads.iter().any(|of| *of == title.as_str())
            && !group.versions.is_empty()
            && group.versions.iter().all(|version| tags.contains(&version.as_str()))
    };
    let was: Vec<&str> = from.images.iter().map(|image| image::version(image)).collect();
    let worst = cluster.logs.groups.iter().filter(only_there).max_by_key(|group| group.count);
    if let Some(group) = worst.filter(|_| tags != was) {
        plan.warnings.push(format!(
            "revision {} brings back an error that only its pods logged ({} times): {}",
            to.number, group.count, group.template
        ));
        plan.confirm = Confirm::Context;
    }
}

/// Back to an earlier template, as `kubectl rollout undo`.
pub(super) fn rollback(grounds: Grounds<'_>, plan: &mut Plan, to_revision: Option<i64>) {
    plan.confirm = Confirm::Suffix;
    let mut commands = Vec::new();
    for target in plan.intent.targets.clone() {
        if !target.kind.takes(Purpose::Restart) {
            let why = format!("a {} has no rollout", target.kind);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        let Some(w) = workload(grounds.cluster, plan, &target) else { continue };
        if w.paused {
            let why = format!("{} is paused: resume its rollout first", w.name);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        let [object, revisions] = rollback_needs(&target);
        let (live, holders) = match (grounds.extras.get(&object), grounds.extras.get(&revisions)) {
            (Some(Found::Objects(live)), Some(Found::Objects(holders))) => (live.first(), holders),
            (Some(Found::Unread(why)), _) | (_, Some(Found::Unread(why))) => {
                plan.refusals.push(Refusal::new("incomplete-data", why.clone()));
                continue;
            }
            _ => {
                let why = format!("the revisions of {} were not read", w.name);
                plan.refusals.push(Refusal::new("incomplete-data", why));
                continue;
            }
        };
        let Some(live) = live else {
            plan.refusals.push(gone(&target));
            continue;
        };
        let history = revisions::history(&target.kind, &target.uid, holders);
        if plan.intent.targets.len() == 1 {
            plan.choices = choices(&history, to_revision);
        }
        let (from, to) = match revisions::choose(&history, to_revision) {
            Ok(chosen) => chosen,
            Err(why) => {
                plan.refusals.push(Refusal::new("precondition", format!("{}: {why}", w.name)));
                continue;
            }
        };
        let (wanted, is) = (revisions::template(&to.object), revisions::template(live));
        if wanted == is {
            plan.warnings.push(format!("{} has the template of revision {} already", w.name, to.number));
            continue;
        }
        if revisions::template(&from.object) != is {
            plan.warnings.push(format!(
                "the template of {} is not that of its newest revision {}: a rollout has just begun",
                w.name, from.number
            ));
        }
        forward(grounds.cluster, plan, w, live, from, to);
        applied_by_gitops(plan, w, live);
        plan.diff.extend(revisions::diff(&is, &wanted));
        if !to.cause.is_empty() {
            plan.warnings.push(format!("revision {} was made by: {}", to.number, to.cause));
        }
        if w.strategy == Strategy::OnDelete {
            plan.warnings
                .push(format!("{} has strategy OnDelete: no pod changes until it is deleted", w.name));
        }
        if w.kind == Kind::StatefulSet && w.ready < w.desired {
            plan.warnings.push(
                "a pod of the newer revision that never became ready is not replaced by this: evict it afterwards"
                    .into(),
            );
        }
        plan.undo = format!("roll forward to the template of revision {}", from.number);
        let revision = to_revision.map_or_else(String::new, |n| format!(" --to-revision={n}"));
        commands.push(kubectl(
            grounds.cluster,
            plan,
            &format!(
                "-n {} rollout undo {}/{}{revision}",
                quote(&target.namespace),
                target.kind.short(),
                quote(&target.name)
            ),
        ));
        plan.steps.push(Step::new(
            StepKind::Rollback { to: to.reference(&target), from: from.reference(&target) },
            target,
        ));
    }
    plan.kubectl = commands.join(" && ");
}
