//! How findings go on: since when they are watched, and whether what somebody does about them helps.
//!
//! A roll-back, a restart, more replicas need a while to show in what is measured. Until then the finding says that it
//! is recovering, from what to what, instead of asking again for what was just done.

use std::sync::Arc;

use crate::domain::autoscaler::Hpa;
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::pod::Pod;
use crate::domain::selector::Selector;
use crate::domain::time::Stamp;
use crate::domain::workload::RolloutPhase;
use crate::domain::workload::Workload;
use crate::facts::world::{Cause, Change, ChangeKind, Effect, NodeRow, Remedy, Severity};

use super::{Scene, title_of};

/// A finding first seen within this time after our start may be older than it, so its beginning is not known.
const WATCHED_SECS: u64 = 15;
/// How long a remedy may take to show, once the new pods have taken over and a whole rate window has passed.
const PATIENCE_SECS: u64 = 30;
/// Where no rates are known.
const WINDOW_SECS: u64 = 60;
/// Below this part of what it was, it gets better.
const BETTER: f64 = 0.9;
/// Above this part of what it was, it gets worse: what was done is no remedy.
const WORSE: f64 = 1.3;

/// Fills in the course of what a rule has found. `before`: what it found the last time. `began`: since when the cluster
/// is watched.
pub(super) fn follow(scene: &Scene<'_, '_>, before: &[Cause], found: &mut [Cause], began: Option<Stamp>) {
    for cause in found {
        let prior = before.iter().find(|b| b.rule == cause.rule && is_same(b, cause));
        cause.course.seen = prior.map_or(scene.now, |p| p.course.seen);
        let seen = cause.course.seen;
        if cause.since.is_none() && began.is_some_and(|began| seen.secs_since(began) >= WATCHED_SECS) {
            cause.since = Some(seen);
        }
        let Some(prior) = prior else { continue };
        cause.course.remedy = remedy(scene, prior, cause);
        tell(cause, scene.now);
    }
}

fn is_same(a: &Cause, b: &Cause) -> bool {
    match (a.objects.first(), b.objects.first()) {
        (Some(a), Some(b)) => a == b,
        _ => a.title == b.title,
    }
}

/// The newest thing that was done about it since it is there.
fn remedy(scene: &Scene<'_, '_>, prior: &Cause, cause: &Cause) -> Option<Remedy> {
    let held = prior.course.remedy.as_ref();
    let after = held.map_or(prior.course.seen, |held| held.at);
    let subjects = subjects(scene, cause);
    // a release, and what somebody does about it, say more than the nodes of its pods
    let for_nodes = held.is_none() && cause.objects.len() == 1;
    let done = scene.cluster.derived.changes.iter().filter(|c| c.at > after);
    let done = done.filter(|c| c.kind != ChangeKind::Scaled || !is_autoscaled(scene, &c.object));
    let newest = done
        .filter(|change| for_nodes || change.kind != ChangeKind::Taints)
        .filter_map(|change| Some((change, words(scene, cause, &subjects, change)?)))
        .max_by_key(|(change, _)| change.at);
    let mut remedy = match (held, newest) {
        (_, Some((change, what))) => begun(change, what, prior),
        (Some(held), None) => held.clone(),
        (None, None) => return None,
    };
    // what began less than a window ago rises in the figures for a while after it has ended
    let fills = is_filling(scene, cause);
    if let (true, Some(was), Some(is)) = (fills, remedy.before, cause.reach.error_ratio) {
        remedy.before = Some(was.max(is));
    }
    if remedy.settled.is_none() && !subjects.iter().any(|uid| is_rolling(scene, uid)) {
        remedy.settled = Some(scene.now);
    }
    remedy.effect = effect(scene, &remedy, cause);
    Some(remedy)
}

fn begun(change: &Arc<Change>, what: String, prior: &Cause) -> Remedy {
    Remedy {
        what,
        at: change.at,
        by: change.by.clone(),
        // of several remedies in a row the first one's figure is that of the trouble
        before: prior.course.remedy.as_ref().map_or(prior.reach.error_ratio, |r| r.before),
        settled: None,
        effect: Effect::Pending,
    }
}

/// The window of the rates, in seconds.
fn window(scene: &Scene<'_, '_>) -> u64 {
    let services = &scene.cluster.traffic.services;
    services.iter().map(|s| u64::from(s.window_secs)).max().unwrap_or(WINDOW_SECS).max(WINDOW_SECS)
}

/// The rates are of a time in which it had not begun yet.
fn is_filling(scene: &Scene<'_, '_>, cause: &Cause) -> bool {
    scene.now.secs_since(cause.since.unwrap_or(cause.course.seen)) < window(scene)
}

fn effect(scene: &Scene<'_, '_>, remedy: &Remedy, cause: &Cause) -> Effect {
    let had_its_time =
        remedy.settled.is_some_and(|at| scene.now.secs_since(at) > window(scene) + PATIENCE_SECS);
    // until a whole window has passed, the figures include the time before the remedy and the replaced pods
    let shows = scene.now.secs_since(remedy.at) > window(scene);
    match (remedy.before, cause.reach.error_ratio) {
        (Some(was), Some(is)) if is > was * WORSE && shows => Effect::None,
        (Some(was), Some(is)) if is < was * BETTER && !had_its_time => Effect::Helps,
        _ if had_its_time => Effect::None,
        _ => Effect::Pending,
    }
}

/// The workloads whose pods a finding is about, and the autoscalers that it is about or that scale these.
fn subjects(scene: &Scene<'_, '_>, cause: &Cause) -> Vec<Uid> {
    let has_rollout = |kind: &Kind| matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet);
    let mut subjects: Vec<Uid> = cause
        .objects
        .iter()
        .filter(|o| has_rollout(&o.kind) || o.kind == Kind::HorizontalPodAutoscaler)
        .map(|o| o.uid.clone())
        .collect();
    for service in cause.objects.iter().filter(|o| o.kind == Kind::Service) {
        subjects.extend(behind(scene, service));
    }
    subjects
}

fn behind(scene: &Scene<'_, '_>, service: &ObjectRef) -> Vec<Uid> {
    let Some(selector) = selector_of(scene, service) else { return Vec::new() };
    let workloads = scene.workloads_in(&service.namespace).iter().map(|row| &row.workload);
    let workloads: Vec<_> = workloads.filter(|w| w.may_have_pods_for(selector)).collect();
    let scales = |hpa: &&Arc<Hpa>| {
        let is_target = |w: &&Arc<Workload>| w.kind == hpa.target_kind && w.name == hpa.target_name;
        hpa.namespace == service.namespace && workloads.iter().any(is_target)
    };
    let hpas = scene.cluster.hpas.iter().filter(scales).map(|hpa| hpa.uid.clone());
    workloads.iter().map(|w| w.uid.clone()).chain(hpas).collect()
}

fn selector_of<'c>(scene: &Scene<'_, 'c>, service: &ObjectRef) -> Option<&'c Selector> {
    let row = scene.services_in(&service.namespace).iter().find(|row| row.service.name == service.name);
    row.map(|row| &*row.service.selector).filter(|selector| !selector.is_empty())
}

/// Something is measured of this pod as a backend of the Service.
fn has_answered(scene: &Scene<'_, '_>, service: &ObjectRef, pod: &Name) -> bool {
    let mut services = scene.cluster.traffic.services.iter();
    let of = services.find(|s| s.namespace == service.namespace && s.name == service.name);
    of.is_some_and(|s| s.backends.iter().any(|backend| backend.name == *pod))
}

fn is_rolling(scene: &Scene<'_, '_>, workload: &Uid) -> bool {
    scene.workload(workload).is_some_and(|row| row.rollout.phase == RolloutPhase::Progressing)
}

/// True if an autoscaler sets the replicas. It goes on doing so whatever is wrong, and nobody has done anything then.
fn is_autoscaled(scene: &Scene<'_, '_>, workload: &ObjectRef) -> bool {
    scene.cluster.hpas.iter().any(|hpa| {
        hpa.target_kind == workload.kind
            && hpa.namespace == workload.namespace
            && hpa.target_name == workload.name
    })
}

/// What was done, if it can be a remedy of this finding.
fn words(scene: &Scene<'_, '_>, cause: &Cause, subjects: &[Uid], change: &Change) -> Option<String> {
    let of_subject = subjects.contains(&change.object.uid);
    let service = cause.objects.first().filter(|o| o.kind == Kind::Service);
    match &change.kind {
        ChangeKind::Rollout { from, to, back } if of_subject => {
            let what = if *back { "rolled back" } else { "new rollout" };
            Some(if to.is_empty() { what.to_owned() } else { format!("{what} {from}→{to}") })
        }
        ChangeKind::SameImages | ChangeKind::Restarted if of_subject => Some("restarted".to_owned()),
        ChangeKind::Resumed | ChangeKind::Scaled | ChangeKind::Bounds if of_subject => {
            Some(change.what.clone())
        }
        // a pod that the Service no longer selects; other labels change nothing. Shares are of those that are left at once
        ChangeKind::Labels if cause.reach.error_ratio.is_some() => {
            let (service, pod) = (service?, &change.object);
            let answered = pod.namespace == service.namespace && has_answered(scene, service, &pod.name);
            let labels = answered.then(|| scene.cluster.pod(&pod.namespace, &pod.name)).flatten()?;
            let out = !selector_of(scene, service)?.matches(&**labels);
            out.then(|| format!("{} taken out of rotation", pod.name))
        }
        // the nodes of its pods
        ChangeKind::Taints => {
            let (service, node) = (service?, &change.object);
            let is_off = |row: &&Arc<NodeRow>| row.node.uid == node.uid && row.is_out_of_service();
            scene.cluster.derived.nodes.iter().find(is_off)?;
            let selector = selector_of(scene, service)?;
            let on_it = |pod: &&Arc<Pod>| pod.node.as_ref() == Some(&node.name) && selector.matches(&***pod);
            let pods = scene.pods_in(&service.namespace);
            pods.iter().any(on_it).then(|| "lost nodes taken out of service".to_owned())
        }
        _ => None,
    }
}

/// Says it in the finding's line.
fn tell(cause: &mut Cause, now: Stamp) {
    let Some(remedy) = cause.course.remedy.clone() else { return };
    let by = remedy.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    let done = format!("{}{by}", remedy.what);
    let errors = match (remedy.before, cause.reach.error_ratio) {
        (Some(was), Some(is)) => {
            Some((format!("{:.1}", was * 100.0), format!("{:.1}", is * 100.0), is < was))
        }
        _ => None,
    };
    let errors = errors.map(|(was, is, falls)| match remedy.effect {
        // they have not begun to fall: an arrow upwards would contradict the word before it
        Effect::Pending | Effect::Helps if was == is || !falls => format!("still {is} %"),
        _ => format!("{was} → {is} %"),
    });
    match (remedy.effect, &errors) {
        (Effect::None, Some(errors)) => {
            cause.title.push_str(&format!("; {done} did not help: {errors}"));
        }
        // without a measure it may be another trouble by now: its own words say enough
        (Effect::None, None) => {}
        (_, Some(errors)) => {
            let about = cause.objects.first().map_or_else(String::new, title_of);
            cause.title = format!("{about} recovering: errors {errors}, {done}");
        }
        (_, None) => cause.title.push_str(&format!("; recovering: {done}")),
    }
    cause.evidence.insert(0, format!("{done} at {}", remedy.at.told(now)));
    if remedy.effect == Effect::None {
        return;
    }
    // it is done already: it is not to be asked for again
    cause.action = None;
    cause.since = Some(remedy.at);
    let most = if remedy.effect == Effect::Helps { Severity::Info } else { Severity::Warning };
    cause.severity = cause.severity.min(most);
}
