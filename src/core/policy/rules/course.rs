//! How findings go on: since when they are watched, and whether what somebody does about them helps.
//!
//! A roll-back, a restart, more replicas need a while to show in what is measured. Until then the finding says that it
//! is recovering, from what to what, instead of asking again for what was just done.

use std::sync::Arc;

use crate::domain::id::{Kind, ObjectRef, Uid};
use crate::domain::time::Stamp;
use crate::model::world::{Cause, Change, ChangeKind, Effect, Remedy, Severity};
use crate::policy::rollout::RolloutPhase;

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
    let newest = scene
        .cluster
        .derived
        .changes
        .iter()
        .filter(|c| c.at > after && subjects.contains(&c.object.uid) && words(c).is_some())
        .max_by_key(|c| c.at);
    let mut remedy = match (held, newest) {
        (Some(_), Some(change)) => begun(change, prior),
        (Some(held), _) => held.clone(),
        (None, Some(change)) => begun(change, prior),
        (None, None) => return None,
    };
    if remedy.settled.is_none() && !subjects.iter().any(|uid| is_rolling(scene, uid)) {
        remedy.settled = Some(scene.now);
    }
    remedy.effect = effect(scene, &remedy, cause);
    Some(remedy)
}

fn begun(change: &Arc<Change>, prior: &Cause) -> Remedy {
    Remedy {
        what: words(change).unwrap_or_default(),
        at: change.at,
        by: change.by.clone(),
        // of several remedies in a row the first one's figure is that of the trouble
        before: prior.course.remedy.as_ref().map_or(prior.reach.error_ratio, |r| r.before),
        settled: None,
        effect: Effect::Pending,
    }
}

fn effect(scene: &Scene<'_, '_>, remedy: &Remedy, cause: &Cause) -> Effect {
    let services = &scene.cluster.traffic.services;
    let window = services.iter().map(|s| u64::from(s.window_secs)).max().unwrap_or(WINDOW_SECS);
    let had_its_time =
        remedy.settled.is_some_and(|at| scene.now.secs_since(at) > window.max(WINDOW_SECS) + PATIENCE_SECS);
    match (remedy.before, cause.reach.error_ratio) {
        (Some(was), Some(is)) if is > was * WORSE => Effect::None,
        (Some(was), Some(is)) if is < was * BETTER && !had_its_time => Effect::Helps,
        _ if had_its_time => Effect::None,
        _ => Effect::Pending,
    }
}

/// The workloads whose pods a finding is about, and the autoscaler that it is about.
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
    let row = scene.services_in(&service.namespace).iter().find(|row| row.service.name == service.name);
    let Some(selector) = row.map(|row| &row.service.selector).filter(|s| !s.is_empty()) else {
        return Vec::new();
    };
    let workloads = scene.workloads_in(&service.namespace).iter();
    workloads.filter(|w| w.workload.may_have_pods_for(selector)).map(|w| w.workload.uid.clone()).collect()
}

fn is_rolling(scene: &Scene<'_, '_>, workload: &Uid) -> bool {
    scene.workload(workload).is_some_and(|row| row.rollout.phase == RolloutPhase::Progressing)
}

/// What was done, if it can be a remedy.
fn words(change: &Change) -> Option<String> {
    match &change.kind {
        ChangeKind::Rollout { from, to, back } => {
            let what = if *back { "rolled back" } else { "new rollout" };
            Some(if to.is_empty() { what.to_owned() } else { format!("{what} {from}→{to}") })
        }
        ChangeKind::SameImages | ChangeKind::Restarted => Some("restarted".to_owned()),
        ChangeKind::Resumed | ChangeKind::Scaled | ChangeKind::Bounds => Some(change.what.clone()),
        _ => None,
    }
}

/// Says it in the finding's line.
fn tell(cause: &mut Cause, now: Stamp) {
    let Some(remedy) = cause.course.remedy.clone() else { return };
    let by = remedy.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    let done = format!("{}{by}", remedy.what);
    let errors = match (remedy.before, cause.reach.error_ratio) {
        (Some(was), Some(is)) => Some(format!("{:.1} → {:.1} %", was * 100.0, is * 100.0)),
        _ => None,
    };
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
