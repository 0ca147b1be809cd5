//! Actions on workloads: restart, roll back, pause and resume.

use serde_json::Value;

use super::{PlanInput, gone, here, kubectl};
use crate::domain::id::{Kind, ObjectRef};
use crate::domain::image;
use crate::domain::kinds::Purpose;
use crate::domain::log::{ErrorGroup, Level};
use crate::domain::plan::{
    Act, Change, Choice, Confirm, FieldChange, Lookup, LookupResult, Plan, Refusal, Step, StepKind, Warning,
};
use crate::domain::workload::RolloutPhase;
use crate::domain::workload::{Strategy, Workload};
use crate::facts::world::Cluster;
use crate::plan::drift::{changed_by, last_writer, managers};
use crate::policy::kubectl::quote;
use crate::policy::revisions::{self, Revision};
use crate::policy::rollout;

/// Returns the target workload, and warns if something else manages it.
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
        plan.warnings.push(Warning::ManagedBy { name: found.name.clone(), manager: manager.to_string() });
    }
    if let Some(owner) = &found.owner {
        let (name, kind, owner) = (found.name.clone(), owner.kind.clone(), owner.name.clone());
        plan.warnings.push(Warning::OwnedBy { name, kind, owner });
    }
    Some(found)
}

pub(super) fn restart(cluster: &Cluster, plan: &mut Plan) {
    let mut words = Vec::new();
    for target in plan.intent.targets.clone() {
        words.push((target.namespace.clone(), format!("{}/{}", target.kind.short(), quote(&target.name))));
        if !target.kind.takes(Purpose::Restart) {
            plan.refusals.push(Refusal::NoRestart { kind: target.kind });
            continue;
        }
        let Some(w) = workload(cluster, plan, &target) else { continue };
        if w.paused {
            plan.refusals.push(Refusal::Paused { name: w.name.clone() });
            continue;
        }
        if w.strategy == Strategy::OnDelete {
            plan.warnings.push(Warning::RestartOnDelete { name: w.name.clone() });
        }
        if w.strategy == Strategy::Recreate {
            plan.warnings.push(Warning::Recreate { name: w.name.clone() });
        }
        match rollout::judge(w).phase {
            RolloutPhase::Progressing => {
                let (name, why) = (w.name.clone(), rollout::judge(w).why);
                plan.warnings.push(Warning::RolloutUnderWay { name, why });
                plan.confirm = plan.confirm.max(Confirm::Suffix);
            }
            RolloutPhase::Stuck => {
                plan.warnings.push(Warning::RolloutStuck { name: w.name.clone() });
                plan.confirm = plan.confirm.max(Confirm::Suffix);
            }
            _ => {}
        }
        if w.ready < w.desired {
            plan.confirm = plan.confirm.max(Confirm::Suffix);
        }
        if w.desired == 0 {
            plan.warnings.push(Warning::NoPods { name: w.name.clone() });
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

/// Plans to pause or to resume the rollout of a Deployment.
pub(super) fn pause(cluster: &Cluster, plan: &mut Plan, on: bool) {
    let mut words = Vec::new();
    let verb = if on { "pause" } else { "resume" };
    for target in plan.intent.targets.clone() {
        words.push((target.namespace.clone(), quote(&target.name)));
        if target.kind != Kind::Deployment {
            plan.refusals.push(Refusal::OnlyDeploymentsPause { kind: target.kind });
            continue;
        }
        let Some(w) = workload(cluster, plan, &target) else { continue };
        if w.paused == on {
            let name = w.name.clone();
            plan.warnings.push(if on {
                Warning::PausedAlready { name }
            } else {
                Warning::ResumedAlready { name }
            });
            continue;
        }
        if on && rollout::judge(w).phase == RolloutPhase::Progressing {
            plan.warnings.push(Warning::StopsHalfWay { name: w.name.clone(), why: rollout::judge(w).why });
        }
        if !on && w.updated < w.desired {
            plan.warnings.push(Warning::TemplateRollsOut);
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

pub(super) fn rollback_lookups(target: &ObjectRef) -> [Lookup; 2] {
    [here(target), Lookup::Revisions(target.clone())]
}

/// Returns the revisions to choose from. The newest comes first.
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

/// The names in managedFields of the controllers that apply the contents of a repository.
const APPLIERS: [&str; 4] = ["argocd", "flux", "kustomize-controller", "helm-controller"];

/// Warns if GitOps applies the workload. A workload without GitOps labels can be applied by GitOps too. managedFields
/// shows that, even if the template was changed by another manager afterwards.
fn applied_by_gitops(plan: &mut Plan, w: &Workload, live: &Value) {
    const SPEC: &str = "/spec/template/spec/containers";
    if w.managed_by.is_some() {
        return;
    }
    let gitops = |manager: &str| APPLIERS.iter().any(|applier| manager.starts_with(applier));
    if last_writer(live, SPEC).is_some_and(|(manager, _)| gitops(&manager)) {
        let who = changed_by(live, SPEC);
        plan.warnings.push(Warning::TemplateFromGitOps { name: w.name.clone(), who });
    } else if let Some(manager) = managers(live).into_iter().find(|manager| gitops(manager)) {
        plan.warnings.push(Warning::AppliedBy { name: w.name.clone(), manager: manager.to_owned() });
    }
}

/// Adds the warnings about this revision.
fn forward(cluster: &Cluster, plan: &mut Plan, w: &Workload, live: &Value, from: &Revision, to: &Revision) {
    if from.is_return_from(to) {
        let who = changed_by(live, "/spec/template/spec/containers");
        plan.warnings.push(Warning::NewerRevision { name: w.name.clone(), revision: to.number, who });
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
        let (revision, template) = (to.number, group.template.clone());
        plan.warnings.push(Warning::BringsBackError { revision, template, count: group.count });
        plan.confirm = Confirm::Context;
    }
}

/// Plans the return to an earlier template, like `kubectl rollout undo`.
pub(super) fn rollback(input: PlanInput<'_>, plan: &mut Plan, to_revision: Option<i64>) {
    plan.confirm = Confirm::Suffix;
    let mut commands = Vec::new();
    for target in plan.intent.targets.clone() {
        if !target.kind.takes(Purpose::Restart) {
            plan.refusals.push(Refusal::NoRollout { kind: target.kind });
            continue;
        }
        let Some(w) = workload(input.cluster, plan, &target) else { continue };
        if w.paused {
            plan.refusals.push(Refusal::Paused { name: w.name.clone() });
            continue;
        }
        let [object, revisions] = rollback_lookups(&target);
        let (live, holders) = match (input.lookups.get(&object), input.lookups.get(&revisions)) {
            (Some(LookupResult::Objects(live)), Some(LookupResult::Objects(holders))) => {
                (live.first(), holders)
            }
            (Some(LookupResult::Unread(why)), _) | (_, Some(LookupResult::Unread(why))) => {
                plan.refusals.push(Refusal::NotReadable { why: why.clone() });
                continue;
            }
            _ => {
                plan.refusals.push(Refusal::RevisionsNotRead { name: w.name.clone() });
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
                plan.refusals.push(Refusal::NoRevision { name: w.name.clone(), why });
                continue;
            }
        };
        let (wanted, is) = (revisions::template(&to.object), revisions::template(live));
        if wanted == is {
            plan.warnings.push(Warning::TemplateAlready { name: w.name.clone(), revision: to.number });
            continue;
        }
        if revisions::template(&from.object) != is {
            plan.warnings.push(Warning::RolloutJustBegun { name: w.name.clone(), revision: from.number });
        }
        forward(input.cluster, plan, w, live, from, to);
        applied_by_gitops(plan, w, live);
        plan.diff.extend(revisions::diff(&is, &wanted));
        if !to.cause.is_empty() {
            plan.warnings.push(Warning::RevisionCause { revision: to.number, cause: to.cause.clone() });
        }
        if w.strategy == Strategy::OnDelete {
            plan.warnings.push(Warning::RollbackOnDelete { name: w.name.clone() });
        }
        if w.kind == Kind::StatefulSet && w.ready < w.desired {
            plan.warnings.push(Warning::BrokenPodStays);
        }
        plan.undo = format!("roll forward to the template of revision {}", from.number);
        let revision = to_revision.map_or_else(String::new, |n| format!(" --to-revision={n}"));
        commands.push(kubectl(
            input.cluster,
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
