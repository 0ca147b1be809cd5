//! Pods that run and do not become ready, and the rollouts that wait for them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::id::{Kind, Name, Uid};
use crate::domain::pod::{Phase, Pod, START_SECS};
use crate::domain::time::Stamp;
use crate::domain::workload::RolloutPhase;
use crate::domain::workload::{Strategy, Workload};
use crate::facts::world::{Alike, AlikeBy, Cause, Course, Kin, Reach, Severity, WorkloadRow};
use crate::logs::fingerprint::template;

use super::pods::{group, objects, of_how_many, reach, revertible};
use super::{Scene, brief, count, title_of};

/// Longer than a start, a restart or a moment of overload; what the probes themselves allow for a start comes on top.
const NOT_READY_SECS: u64 = 300;
/// A pod that was ready, and whose probe fails since, is worth a look sooner: nothing of a start explains it.
const LOST_SECS: u64 = 60;
/// How old the event of a failing probe may be: the kubelet repeats it every few minutes.
const PROBE_SECS: i64 = 900;

/// What the kubelet says of a probe that fails.
const UNHEALTHY: &str = "Unhealthy";

/// Since when a pod is not ready although it runs, if that is too long.
fn unready(scene: &Scene<'_, '_>, pod: &Pod) -> Option<Stamp> {
    let runs = pod.phase == Phase::Running && !pod.ready && pod.trouble.is_none() && !pod.is_terminating();
    // of what runs to its end, one container is done before the others
    if !runs || pod.shape.runs_to_end {
        return None;
    }
    let since = pod.ready_since.or(pod.started).unwrap_or(pod.created);
    let was_ready = pod.started.is_some_and(|started| since.secs_since(started) > START_SECS);
    let patience = if was_ready && probe(scene, pod).is_some() { LOST_SECS } else { NOT_READY_SECS };
    let allowed = patience + u64::from(pod.shape.startup_secs);
    (scene.now.secs_since(since) >= allowed && !scene.is_on_dead_node(pod)).then_some(since)
}

/// The probe's words.
fn probe<'s>(scene: &Scene<'s, '_>, pod: &Pod) -> Option<&'s Name> {
    let said = scene.said.newest(&pod.uid, scene.now.plus_secs(-PROBE_SECS), |e| e.reason == UNHEALTHY);
    said.map(|event| &event.message)
}

/// One line a workload.
pub fn not_ready(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let waiting = scene.bad.values().filter(|pod| unready(scene, pod).is_some());
    group(scene, waiting)
        .into_iter()
        .map(|(object, pods)| {
            let (many, none_left) = of_how_many(scene, &object, pods.len());
            let said = pods.iter().find_map(|pod| probe(scene, pod));
            let words = match said {
                Some(said) => format!("not ready: {}", brief(said)),
                None => "not ready, no event says why".to_owned(),
            };
            let alike = said.map(|said| Alike {
                by: AlikeBy::Said {
                    reason: UNHEALTHY.into(),
                    template: template(said),
                    namespace: Some(object.namespace.clone()),
                },
                noun: "workloads",
                words: format!("of {} {words}", object.namespace),
            });
            Cause {
                rule: "not-ready",
                severity: if none_left && scene.workload(&object.uid).is_some() {
                    Severity::Critical
                } else {
                    Severity::Warning
                },
                title: format!("{} {many} {words}", title_of(&object)),
                since: pods.iter().filter_map(|pod| unready(scene, pod)).min(),
                evidence: evidence(scene, &pods),
                action: None,
                reach: reach(scene, &object, &pods),
                objects: objects(object, &pods),
                kin: Kin { alike: alike.into_iter().collect(), ..Kin::default() },
                course: Course::default(),
            }
        })
        .collect()
}

fn evidence(scene: &Scene<'_, '_>, pods: &[Arc<Pod>]) -> Vec<String> {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = pods
        .iter()
        .take(SHOWN)
        .map(|pod| {
            let since =
                unready(scene, pod).map_or_else(String::new, |s| format!(" since {}", s.told(scene.now)));
            let node = pod.node.as_ref().map_or_else(String::new, |n| format!(" on {n}"));
            let said = probe(scene, pod).map_or_else(String::new, |said| format!(": {said}"));
            let (ready, all) = (pod.containers_ready, pod.containers);
            format!("pod {} {} {ready}/{all}{node}, not ready{since}{said}", pod.name, pod.status)
        })
        .collect();
    if pods.len() > SHOWN {
        lines.push(format!("and {} more", pods.len() - SHOWN));
    }
    lines
}

/// True if its controller replaces pods one after the other and is not through. A partition and OnDelete are on
/// purpose: what they leave is not waited for.
fn is_rolling(row: &WorkloadRow) -> bool {
    let w = &row.workload;
    let wanted = w.desired - w.partition.unwrap_or(0).max(0);
    let one_by_one = matches!(w.kind, Kind::StatefulSet | Kind::DaemonSet);
    let revisions = w.kind == Kind::DaemonSet || w.update_revision != w.current_revision;
    one_by_one
        && w.strategy == Strategy::RollingUpdate
        && row.rollout.phase == RolloutPhase::Progressing
        && revisions
        && w.updated < wanted
}

/// Since when a pod holds up the replacement of the others, if that is too long.
fn holds_up(scene: &Scene<'_, '_>, pod: &Pod) -> Option<Stamp> {
    if pod.ready || pod.phase.is_finished() || scene.is_on_dead_node(pod) {
        return None;
    }
    let since = match pod.deleting {
        Some(at) => at,
        None => pod.ready_since.or(pod.started).unwrap_or(pod.created),
    };
    let allowed = NOT_READY_SECS + u64::from(pod.shape.startup_secs);
    (scene.now.secs_since(since) >= allowed).then_some(since)
}

/// A StatefulSet or DaemonSet whose rollout waits, and for which pod.
pub fn rollout_waits(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let mut held: HashMap<&Uid, Vec<(Stamp, &Arc<Pod>)>> = HashMap::new();
    for pod in scene.bad.values().chain(scene.unsettled.values()) {
        if let (Some(owner), Some(since)) = (&pod.owner, holds_up(scene, pod)) {
            held.entry(&owner.uid).or_default().push((since, pod));
        }
    }
    let rows = scene.cluster.derived.workloads.iter().filter(|row| is_rolling(row));
    rows.filter_map(|row| {
        let w: &Workload = &row.workload;
        let mut pods = held.remove(&w.uid)?;
        pods.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
        pods.dedup_by(|a, b| a.1.uid == b.1.uid);
        let (since, first) = *pods.first()?;
        let more = match pods.len() {
            1 => String::new(),
            n => format!(" and {}", count(n as u64 - 1, "more pod")),
        };
        let object = w.reference();
        let (updated, wanted) = (w.updated, w.desired - w.partition.unwrap_or(0).max(0));
        let pods: Vec<Arc<Pod>> = pods.into_iter().map(|(_, pod)| pod.clone()).collect();
        Some(Cause {
            rule: "rollout-waits",
            severity: if row.totals.ready == 0 { Severity::Critical } else { Severity::Warning },
            title: format!(
                "{} rollout waits for {}{more} ({}): {updated} of {wanted} pods updated",
                title_of(&object),
                first.name,
                state(first)
            ),
            since: Some(since),
            evidence: evidence(scene, &pods),
            action: revertible(&object),
            reach: Reach {
                services: scene.services_that(&w.namespace, |s| w.may_have_pods_for(s)),
                pods: u32::try_from(pods.len()).unwrap_or(u32::MAX),
                ..Reach::default()
            },
            objects: objects(object, &pods),
            kin: Kin::default(),
            course: Course::default(),
        })
    })
    .collect()
}

fn state(pod: &Pod) -> &str {
    match pod.phase {
        _ if pod.is_terminating() => "Terminating",
        Phase::Running if pod.trouble.is_none() => "not ready",
        _ => &pod.status,
    }
}
