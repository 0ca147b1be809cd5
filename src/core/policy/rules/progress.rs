//! How findings develop: when they were first seen, and whether the actions taken about them help.
//!
//! A rollback, a restart or more replicas need some time until the measurements show them. Until then, the finding
//! says that it is recovering and shows the change. It does not suggest the action again.

use std::sync::Arc;

use crate::domain::autoscaler::Hpa;
use crate::domain::cause::{Cause, Effect, Evidence, FindingCode as Code, Remedy, RemedyKind, Severity};
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::kinds::Purpose;
use crate::domain::pod::Pod;
use crate::domain::selector::Selector;
use crate::domain::time::Stamp;
use crate::domain::workload::RolloutPhase;
use crate::domain::workload::Workload;
use crate::facts::world::{Change, ChangeKind, NodeRow};

use super::RuleContext;

/// A finding first seen within this time after the start may be older, so its beginning is not known.
const WATCHED_SECS: u64 = 15;
/// The time that a remedy may take to show, after the new pods have taken over and a whole rate window has passed.
const PATIENCE_SECS: u64 = 30;
/// The same time for alerts. Their expressions often look 5 minutes back, and an Alertmanager drops an alert that it
/// hears no more of after 5 minutes (`resolve_timeout`).
const ALERT_PATIENCE_SECS: u64 = 600;
/// The window to use if no rates are known.
const WINDOW_SECS: u64 = 60;
/// Below this part of the first value, the figures have improved.
const BETTER: f64 = 0.9;
/// Above this part of the first value, the figures are worse, so the change is no remedy.
const WORSE: f64 = 1.3;

/// Fills in the progress of a rule's findings. `before` has the last findings of the rule. `began` is the time since
/// which the cluster is watched.
pub(super) fn follow(
    context: &RuleContext<'_, '_>,
    before: &[Cause],
    found: &mut [Cause],
    began: Option<Stamp>,
) {
    for cause in found {
        let prior = before.iter().find(|b| b.is_same(cause));
        let seen = prior.map_or(context.now, |p| p.progress.first_seen);
        cause.progress.first_seen = seen;
        if cause.since.is_none() && began.is_some_and(|began| seen.secs_since(began) >= WATCHED_SECS) {
            cause.since = Some(seen);
        }
        let Some(prior) = prior else { continue };
        cause.progress.remedy = remedy(context, prior, cause);
        recover(cause, context.now);
    }
}

/// Returns the newest action that was taken about a finding since it began.
fn remedy(context: &RuleContext<'_, '_>, prior: &Cause, cause: &Cause) -> Option<Remedy> {
    let held = prior.progress.remedy.as_ref();
    let after = held.map_or(prior.progress.first_seen, |held| held.at);
    let subjects = subjects(context, cause);
    // A release, and an action about it, explain more than the nodes of the pods.
    let for_nodes = held.is_none() && cause.objects.len() == 1;
    let done = context.cluster.derived.changes.iter().filter(|c| c.at > after);
    let done =
        done.filter(|c| !matches!(c.kind, ChangeKind::Scaled { .. }) || !is_autoscaled(context, &c.object));
    let newest = done
        .filter(|change| for_nodes || !change.kind.is_of_taints())
        .filter_map(|change| Some((change, remedy_kind(context, cause, &subjects, change)?)))
        .max_by_key(|(change, _)| change.at);
    let mut remedy = match (held, newest) {
        (_, Some((change, _))) if undoes_a_roll_back(context, change) => return None,
        (_, Some((change, kind))) => begun(change, kind, prior),
        (Some(held), None) => held.clone(),
        (None, None) => return None,
    };
    // Errors that began less than a window ago still increase in the figures after they have ended.
    let fills = is_filling(context, cause);
    if let (true, Some(was), Some(is)) = (fills, remedy.before, cause.impact.error_ratio) {
        remedy.before = Some(was.max(is));
    }
    if remedy.settled.is_none() && !subjects.iter().any(|uid| is_rolling(context, uid)) {
        remedy.settled = Some(context.now);
    }
    remedy.effect = effect(context, &remedy, cause);
    Some(remedy)
}

/// Returns true if the change deploys a version again that was rolled back from. It is no remedy, and the roll-back does not count
/// any more.
fn undoes_a_roll_back(context: &RuleContext<'_, '_>, change: &Change) -> bool {
    let ChangeKind::Rollout { moved, back: false } = &change.kind else { return false };
    let to = moved.tags().1;
    let left_it = |c: &Arc<Change>| {
        matches!(&c.kind, ChangeKind::Rollout { moved, back: true } if moved.tags().0 == to)
            && c.object.uid == change.object.uid
            && c.at <= change.at
    };
    !to.is_empty() && context.cluster.derived.changes.iter().any(left_it)
}

fn begun(change: &Arc<Change>, kind: RemedyKind, prior: &Cause) -> Remedy {
    Remedy {
        kind,
        at: change.at,
        by: change.by.clone(),
        // If several remedies follow each other, the first one has the ratio of the problem.
        before: prior.progress.remedy.as_ref().map_or(prior.impact.error_ratio, |r| r.before),
        settled: None,
        effect: Effect::Pending,
    }
}

/// Returns the window of the rates, in seconds.
fn window(context: &RuleContext<'_, '_>) -> u64 {
    let services = &context.cluster.traffic.services;
    services.iter().map(|s| u64::from(s.window_secs)).max().unwrap_or(WINDOW_SECS).max(WINDOW_SECS)
}

/// Returns true if the rates still include the time before the finding began.
fn is_filling(context: &RuleContext<'_, '_>, cause: &Cause) -> bool {
    context.now.secs_since(cause.since.unwrap_or(cause.progress.first_seen)) < window(context)
}

fn effect(context: &RuleContext<'_, '_>, remedy: &Remedy, cause: &Cause) -> Effect {
    let patience = if cause.code() == Code::AlertFiring { ALERT_PATIENCE_SECS } else { PATIENCE_SECS };
    let had_its_time =
        remedy.settled.is_some_and(|at| context.now.secs_since(at) > window(context) + patience);
    // Until a whole window has passed, the figures include the time before the remedy and the replaced pods.
    let shows = context.now.secs_since(remedy.at) > window(context);
    match (remedy.before, cause.impact.error_ratio) {
        (Some(was), Some(is)) if is > was * WORSE && shows => Effect::None,
        (Some(was), Some(is)) if is < was * BETTER && !had_its_time => Effect::Helps,
        _ if had_its_time => Effect::None,
        _ => Effect::Pending,
    }
}

/// Returns the workloads whose pods a finding is about, and the autoscalers that it is about or that scale these
/// workloads.
fn subjects(context: &RuleContext<'_, '_>, cause: &Cause) -> Vec<Uid> {
    let mut subjects: Vec<Uid> = cause
        .objects
        .iter()
        .filter(|o| o.kind.takes(Purpose::Restart) || o.kind == Kind::HorizontalPodAutoscaler)
        .map(|o| o.uid.clone())
        .collect();
    for service in cause.objects.iter().filter(|o| o.kind == Kind::Service) {
        subjects.extend(behind(context, service));
    }
    subjects
}

fn behind(context: &RuleContext<'_, '_>, service: &ObjectRef) -> Vec<Uid> {
    let Some(selector) = selector_of(context, service) else { return Vec::new() };
    let workloads = context.workloads_in(&service.namespace).iter().map(|row| &row.workload);
    let workloads: Vec<_> = workloads.filter(|w| w.may_have_pods_for(selector)).collect();
    let scales = |hpa: &&Arc<Hpa>| {
        let is_target = |w: &&Arc<Workload>| w.kind == hpa.target_kind && w.name == hpa.target_name;
        hpa.namespace == service.namespace && workloads.iter().any(is_target)
    };
    let hpas = context.cluster.hpas.iter().filter(scales).map(|hpa| hpa.uid.clone());
    workloads.iter().map(|w| w.uid.clone()).chain(hpas).collect()
}

fn selector_of<'c>(context: &RuleContext<'_, 'c>, service: &ObjectRef) -> Option<&'c Selector> {
    let row = context.services_in(&service.namespace).iter().find(|row| row.service.name == service.name);
    row.map(|row| &*row.service.selector).filter(|selector| !selector.is_empty())
}

/// Returns true if the Service's traffic has measurements of this pod.
fn has_answered(context: &RuleContext<'_, '_>, service: &ObjectRef, pod: &Name) -> bool {
    let mut services = context.cluster.traffic.services.iter();
    let of = services.find(|s| s.namespace == service.namespace && s.name == service.name);
    of.is_some_and(|s| s.backends.iter().any(|backend| backend.name == *pod))
}

fn is_rolling(context: &RuleContext<'_, '_>, workload: &Uid) -> bool {
    context.workload(workload).is_some_and(|row| row.rollout.phase == RolloutPhase::Progressing)
}

/// Returns true if an autoscaler sets the replicas. It keeps doing so in any case, so its scaling is no remedy that a
/// person took.
fn is_autoscaled(context: &RuleContext<'_, '_>, workload: &ObjectRef) -> bool {
    context.cluster.hpas.iter().any(|hpa| {
        hpa.target_kind == workload.kind
            && hpa.namespace == workload.namespace
            && hpa.target_name == workload.name
    })
}

/// Returns the kind of the change, if it can be a remedy for this finding.
fn remedy_kind(
    context: &RuleContext<'_, '_>,
    cause: &Cause,
    subjects: &[Uid],
    change: &Change,
) -> Option<RemedyKind> {
    let of_subject = subjects.contains(&change.object.uid);
    let service = cause.object().filter(|o| o.kind == Kind::Service);
    match &change.kind {
        ChangeKind::Rollout { moved, back } if of_subject => {
            let (from, to) = moved.tags();
            Some(if *back { RemedyKind::RolledBack { from, to } } else { RemedyKind::Rollout { from, to } })
        }
        ChangeKind::SameImages | ChangeKind::Restarted if of_subject => Some(RemedyKind::Restarted),
        ChangeKind::Resumed | ChangeKind::Scaled { .. } | ChangeKind::Bound { .. } if of_subject => {
            Some(RemedyKind::Changed(change.kind.clone()))
        }
        // The pod is one that the Service no longer selects. Other labels change nothing.
        ChangeKind::Labels { .. } if cause.impact.error_ratio.is_some() => {
            let (service, pod) = (service?, &change.object);
            let answered = pod.namespace == service.namespace && has_answered(context, service, &pod.name);
            let labels = answered.then(|| context.cluster.pod(&pod.namespace, &pod.name)).flatten()?;
            let out = !selector_of(context, service)?.matches(&**labels);
            out.then(|| RemedyKind::OutOfRotation { pod: pod.name.clone() })
        }
        // The change is about a node of the Service's pods.
        ChangeKind::Tainted { .. } | ChangeKind::Untainted { .. } => {
            let (service, node) = (service?, &change.object);
            let is_off = |row: &&Arc<NodeRow>| row.node.uid == node.uid && row.is_out_of_service();
            context.cluster.derived.nodes.iter().find(is_off)?;
            let selector = selector_of(context, service)?;
            let on_it = |pod: &&Arc<Pod>| pod.node.as_ref() == Some(&node.name) && selector.matches(&***pod);
            let pods = context.pods_in(&service.namespace);
            pods.iter().any(on_it).then_some(RemedyKind::NodesOutOfService)
        }
        _ => None,
    }
}

/// Adds the remedy to the evidence. While it may help, the finding suggests no action and has a lower severity.
fn recover(cause: &mut Cause, now: Stamp) {
    let Some(remedy) = &cause.progress.remedy else { return };
    cause.evidence.insert(0, Evidence::Seen(format!("{remedy} at {}", remedy.at.told(now))));
    if remedy.effect == Effect::None {
        return;
    }
    cause.action = None;
    cause.since = Some(remedy.at);
    let most = if remedy.effect == Effect::Helps { Severity::Info } else { Severity::Warning };
    cause.severity = cause.severity.min(most);
}
