//! Pods that run but do not become ready, and rollouts that wait for them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::cause::{Cause, Evidence, Finding, Impact, Severity, Shared};
use crate::domain::id::{Kind, Name, Uid};
use crate::domain::pod::{Phase, Pod, START_SECS};
use crate::domain::time::Stamp;
use crate::domain::workload::RolloutPhase;
use crate::domain::workload::{Strategy, Workload};
use crate::facts::world::WorkloadRow;
use crate::logs::fingerprint::template;

use super::RuleContext;
use super::pods::{group, impact, objects, pod_count, revertible};

/// This is longer than a start, a restart or a moment of overload. The time that the startup probes allow is added.
const NOT_READY_SECS: u64 = 300;
/// A pod that was ready and whose probe fails now is reported sooner, because its start cannot be the reason.
const LOST_SECS: u64 = 60;
/// The maximum age of the event about a failing probe. The kubelet repeats it every few minutes.
const PROBE_SECS: i64 = 900;

/// The reason of the kubelet's event about a failing probe.
const UNHEALTHY: &str = "Unhealthy";

/// Returns the time since which a running pod is not ready, if that is too long.
fn unready(context: &RuleContext<'_, '_>, pod: &Pod) -> Option<Stamp> {
    let runs = pod.phase == Phase::Running && !pod.ready && pod.trouble.is_none() && !pod.is_terminating();
    // In a pod that runs to completion, one container can end before the others.
    if !runs || pod.shape.runs_to_end {
        return None;
    }
    let since = pod.ready_since.or(pod.started).unwrap_or(pod.created);
    let was_ready = pod.started.is_some_and(|started| since.secs_since(started) > START_SECS);
    let patience = if was_ready && probe(context, pod).is_some() { LOST_SECS } else { NOT_READY_SECS };
    let allowed = patience + u64::from(pod.shape.startup_secs);
    (context.now.secs_since(since) >= allowed && !context.is_on_dead_node(pod)).then_some(since)
}

/// Returns the message of the failing probe.
fn probe<'s>(context: &RuleContext<'s, '_>, pod: &Pod) -> Option<&'s Name> {
    let said = context.events.newest(&pod.uid, context.now.plus_secs(-PROBE_SECS), |e| e.reason == UNHEALTHY);
    said.map(|event| &event.message)
}

/// Finds pods that are not ready. Each workload has one line.
pub(super) fn not_ready(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let waiting = context.bad.values().filter(|pod| unready(context, pod).is_some());
    group(context, waiting)
        .into_iter()
        .map(|(object, pods)| {
            let (count, none_left) = pod_count(context, &object, pods.len());
            let said = pods.iter().find_map(|pod| probe(context, pod)).cloned();
            let shared = said.as_ref().map(|said| Shared::Message {
                reason: UNHEALTHY.into(),
                template: template(said),
                namespace: Some(object.namespace.clone()),
            });
            let is_workload = context.workload(&object.uid).is_some();
            let severity = if none_left && is_workload { Severity::Critical } else { Severity::Warning };
            Cause {
                since: pods.iter().filter_map(|pod| unready(context, pod)).min(),
                evidence: evidence(context, &pods),
                impact: impact(context, &object, &pods),
                shared: shared.into_iter().collect(),
                ..Cause::new(Finding::NotReady { pods: count, probe: said }, severity, objects(object, &pods))
            }
        })
        .collect()
}

fn evidence(context: &RuleContext<'_, '_>, pods: &[Arc<Pod>]) -> Vec<Evidence> {
    const SHOWN: usize = 5;
    let mut lines: Vec<Evidence> = pods
        .iter()
        .take(SHOWN)
        .map(|pod| {
            let since =
                unready(context, pod).map_or_else(String::new, |s| format!(" since {}", s.told(context.now)));
            let node = pod.node.as_ref().map_or_else(String::new, |n| format!(" on {n}"));
            let said = probe(context, pod).map_or_else(String::new, |said| format!(": {said}"));
            let (ready, all) = (pod.containers_ready, pod.containers);
            format!("pod {} {} {ready}/{all}{node}, not ready{since}{said}", pod.name, pod.status).into()
        })
        .collect();
    if pods.len() > SHOWN {
        lines.push(format!("and {} more", pods.len() - SHOWN).into());
    }
    lines
}

/// Returns true if the controller replaces pods one by one and has not finished. Pods that a partition or OnDelete
/// keeps are kept on purpose, so they do not count.
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

/// Returns the time since which a pod blocks the replacement of the others, if that is too long.
fn holds_up(context: &RuleContext<'_, '_>, pod: &Pod) -> Option<Stamp> {
    if pod.ready || pod.phase.is_finished() || context.is_on_dead_node(pod) {
        return None;
    }
    let since = match pod.deleting {
        Some(at) => at,
        None => pod.ready_since.or(pod.started).unwrap_or(pod.created),
    };
    let allowed = NOT_READY_SECS + u64::from(pod.shape.startup_secs);
    (context.now.secs_since(since) >= allowed).then_some(since)
}

/// Finds StatefulSets and DaemonSets whose rollout waits for a pod.
pub(super) fn rollout_waits(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let mut held: HashMap<&Uid, Vec<(Stamp, &Arc<Pod>)>> = HashMap::new();
    for pod in context.bad.values().chain(context.unsettled.values()) {
        if let (Some(owner), Some(since)) = (&pod.owner, holds_up(context, pod)) {
            held.entry(&owner.uid).or_default().push((since, pod));
        }
    }
    let rows = context.cluster.derived.workloads.iter().filter(|row| is_rolling(row));
    rows.filter_map(|row| {
        let w: &Workload = &row.workload;
        let mut pods = held.remove(&w.uid)?;
        pods.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
        pods.dedup_by(|a, b| a.1.uid == b.1.uid);
        let (since, first) = *pods.first()?;
        let object = w.reference(context.cluster.id());
        let finding = Finding::RolloutWaits {
            pod: first.name.clone(),
            state: state(first),
            more: pods.len() - 1,
            updated: w.updated,
            wanted: w.desired - w.partition.unwrap_or(0).max(0),
        };
        let pods: Vec<Arc<Pod>> = pods.into_iter().map(|(_, pod)| pod.clone()).collect();
        let severity = if row.totals.ready == 0 { Severity::Critical } else { Severity::Warning };
        Some(Cause {
            since: Some(since),
            evidence: evidence(context, &pods),
            action: revertible(&object),
            impact: Impact {
                services: context.services_that(&w.namespace, |s| w.may_have_pods_for(s)),
                pods: u32::try_from(pods.len()).unwrap_or(u32::MAX),
                ..Impact::default()
            },
            ..Cause::new(finding, severity, objects(object, &pods))
        })
    })
    .collect()
}

fn state(pod: &Pod) -> Name {
    match pod.phase {
        _ if pod.is_terminating() => "Terminating".into(),
        Phase::Running if pod.trouble.is_none() => "not ready".into(),
        _ => pod.status.clone(),
    }
}
