//! Rules about workloads and their pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::cause::{
    Cause, Evidence, Finding, Impact, PodCount, Remediation, Severity, Shared, Suggestion, VolumeWait,
};
use crate::domain::id::ObjectRef;
use crate::domain::kinds::Purpose;
use crate::domain::pod::{Phase, Pod, Trouble};
use crate::domain::text::count;
use crate::domain::time::Stamp;
use crate::domain::workload::RolloutPhase;

use super::{RuleContext, volumes};

/// Returns the pods with this trouble.
fn in_trouble<'s>(context: &RuleContext<'s, '_>, trouble: Trouble) -> impl Iterator<Item = &'s Arc<Pod>> {
    context.bad.values().filter(move |pod| {
        pod.trouble == Some(trouble)
            && !pod.is_terminating()
            && pod.phase != Phase::Failed
            && !context.is_on_dead_node(pod)
    })
}

/// Pods by the workload that owns them directly or through a ReplicaSet. A pod without an owner is its own key. The
/// pods of a workload are sorted by name.
pub(super) type Groups = BTreeMap<ObjectRef, Vec<Arc<Pod>>>;

pub(super) fn group<'p>(context: &RuleContext<'_, '_>, pods: impl Iterator<Item = &'p Arc<Pod>>) -> Groups {
    let mut groups = Groups::new();
    for pod in pods {
        groups.entry(owner(context, pod)).or_default().push(pod.clone());
    }
    for pods in groups.values_mut() {
        pods.sort_by(|a, b| a.name.cmp(&b.name));
    }
    groups
}

pub(super) fn owner(context: &RuleContext<'_, '_>, pod: &Pod) -> ObjectRef {
    let Some(direct) = &pod.owner else {
        return pod.reference(context.cluster.id());
    };
    let top = context.cluster.derived.replicaset_owner.get(&direct.uid).unwrap_or(direct);
    context.cluster.object(top.kind.clone(), &pod.namespace, &top.name, &top.uid)
}

/// Returns how many of the workload's pods are bad, and whether none is ready.
pub(super) fn pod_count(context: &RuleContext<'_, '_>, object: &ObjectRef, bad: usize) -> (PodCount, bool) {
    match context.workload(&object.uid).filter(|row| row.totals.pods > 0) {
        Some(row) => (PodCount { bad, of: Some(row.totals.pods) }, row.totals.ready == 0),
        None => (PodCount { bad, of: None }, true),
    }
}

pub(super) fn impact(context: &RuleContext<'_, '_>, object: &ObjectRef, pods: &[Arc<Pod>]) -> Impact {
    let services = pods.first().map_or(0, |pod| context.services_that(&object.namespace, |s| s.matches(pod)));
    Impact { services, pods: u32::try_from(pods.len()).unwrap_or(u32::MAX), ..Impact::default() }
}

fn restartable(object: &ObjectRef) -> Option<Suggestion> {
    object.kind.takes(Purpose::Restart).then(|| Suggestion { what: Remediation::Restart, on: object.clone() })
}

/// Suggests a rollback to the previous template.
pub(super) fn revertible(object: &ObjectRef) -> Option<Suggestion> {
    object
        .kind
        .takes(Purpose::Restart)
        .then(|| Suggestion { what: Remediation::RollBack, on: object.clone() })
}

/// Returns the last exit and the message of each pod, as evidence.
pub(super) fn evidence(pods: &[Arc<Pod>], now: Stamp) -> Vec<Evidence> {
    const SHOWN: usize = 5;
    let mut lines: Vec<Evidence> = pods
        .iter()
        .take(SHOWN)
        .map(|pod| {
            let mut line = format!("pod {} {}", pod.name, pod.status);
            if pod.restarts > 0 {
                line.push_str(&format!(", {}", count(pod.restarts, "restart")));
            }
            if let Some(exit) = &pod.last_exit {
                line.push_str(&format!(", {} exited {} ({})", exit.container, exit.code, exit.reason));
                if let Some(at) = exit.at {
                    line.push_str(&format!(" at {}", at.told(now)));
                }
            }
            if let Some(node) = &pod.node {
                line.push_str(&format!(", on {node}"));
            }
            if let Some(message) = &pod.message {
                line.push_str(&format!(": {message}"));
            }
            line.into()
        })
        .collect();
    if pods.len() > SHOWN {
        lines.push(format!("and {} more", pods.len() - SHOWN).into());
    }
    lines
}

fn since(pods: &[Arc<Pod>]) -> Option<Stamp> {
    pods.iter().filter_map(|pod| pod.started.or(Some(pod.created))).min()
}

/// Returns one finding for each workload that has pods with this trouble. `mild` is the severity while other pods of
/// the workload are ready.
fn find(
    context: &RuleContext<'_, '_>,
    trouble: Trouble,
    mild: Severity,
    finding: impl Fn(PodCount, &[Arc<Pod>]) -> Finding,
) -> Vec<Cause> {
    let groups = group(context, in_trouble(context, trouble)).into_iter();
    groups
        .map(|(object, pods)| {
            let (count, none_left) = pod_count(context, &object, pods.len());
            let severity = if none_left { Severity::Critical } else { mild };
            Cause {
                since: since(&pods),
                evidence: evidence(&pods, context.now),
                action: restartable(&object).filter(|_| trouble == Trouble::CrashLoop),
                impact: impact(context, &object, &pods),
                ..Cause::new(finding(count, &pods), severity, objects(object, &pods))
            }
        })
        .collect()
}

pub(super) fn objects(object: ObjectRef, pods: &[Arc<Pod>]) -> Vec<ObjectRef> {
    let of = |pod: &Arc<Pod>| pod.reference(object.cluster);
    // A pod without an owner is the object itself.
    let others: Vec<ObjectRef> = pods.iter().map(of).filter(|pod| *pod != object).collect();
    let mut all = vec![object];
    all.extend(others);
    all
}

pub(super) fn crash_loop(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    find(context, Trouble::CrashLoop, Severity::Critical, |count, pods| Finding::CrashLoop {
        pods: count,
        exit: pods.iter().find_map(|p| p.last_exit.as_ref()).map(|exit| (exit.code, exit.reason.clone())),
    })
}

pub(super) fn image_pull(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    find(context, Trouble::ImagePull, Severity::Warning, |count, pods| Finding::ImagePull {
        pods: count,
        image: pods.first().and_then(|p| p.shape.containers.first()).map(|c| c.image.clone()),
    })
}

pub(super) fn config(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    find(context, Trouble::Config, Severity::Warning, |pods, _| Finding::BadConfig { pods })
}

pub(super) fn oom(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    find(context, Trouble::OomKilled, Severity::Warning, |count, pods| Finding::OomKilled {
        pods: count,
        container: pods.iter().find_map(|p| p.last_exit.as_ref()).map(|exit| exit.container.clone()),
    })
}

/// Finds pods that the scheduler finds no node for. Pods that wait for a PersistentVolumeClaim belong to the claim's
/// finding.
pub(super) fn unschedulable(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let pods =
        in_trouble(context, Trouble::Unschedulable).filter(|pod| !volumes::waits_for_claim(context, pod));
    let groups = group(context, pods).into_iter();
    groups
        .map(|(object, pods)| {
            let message = pods.iter().find_map(|p| p.message.clone());
            let message = message.unwrap_or_else(|| "no reason given".into());
            let (count, none_left) = pod_count(context, &object, pods.len());
            let volume = waits_for_volume(context, &message);
            let severity = if none_left { Severity::Critical } else { Severity::Warning };
            Cause {
                since: pods.iter().map(|p| p.created).min(),
                evidence: vec![
                    format!("the scheduler says: {message}").into(),
                    format!("each asks for {}", requests(&pods)).into(),
                ],
                impact: impact(context, &object, &pods),
                shared: volume.clone().map(Shared::Volume).into_iter().collect(),
                ..Cause::new(
                    Finding::Unschedulable { pods: count, message, volume },
                    severity,
                    objects(object, &pods),
                )
            }
        })
        .collect()
}

/// The scheduler's words for a volume that no usable node can reach.
const VOLUME: &str = "volume node affinity";

/// Returns why the pod's volume cannot be reached, if the pod waits for one. Only the scheduler's message tells this.
fn waits_for_volume(context: &RuleContext<'_, '_>, message: &str) -> Option<VolumeWait> {
    if !message.contains(VOLUME) && !message.contains("PersistentVolume's node affinity") {
        return None;
    }
    let mut zones: BTreeMap<&str, bool> = BTreeMap::new();
    for row in context.cluster.derived.nodes.iter() {
        let Some(zone) = &row.node.zone else { continue };
        *zones.entry(zone.as_str()).or_insert(true) &= row.state.is_dead();
    }
    let lost: Vec<&str> = zones.iter().filter(|(_, lost)| **lost).map(|(zone, _)| *zone).collect();
    Some(match lost.as_slice() {
        [zone] => VolumeWait::Zone((*zone).into()),
        _ => VolumeWait::NoNode,
    })
}

fn requests(pods: &[Arc<Pod>]) -> String {
    use crate::domain::quantity::{show_bytes, show_cpu};
    pods.first().map_or_else(String::new, |p| {
        format!("cpu {} memory {}", show_cpu(p.requests.cpu_milli), show_bytes(p.requests.memory_bytes))
    })
}

pub(super) fn rollout_stuck(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let rows =
        context.cluster.derived.workloads.iter().filter(|row| row.rollout.phase == RolloutPhase::Stuck);
    rows.map(|row| {
        let w = &row.workload;
        let object = w.reference(context.cluster.id());
        let severity = if w.available == 0 { Severity::Critical } else { Severity::Warning };
        Cause {
            since: row.rollout.since,
            evidence: vec![
                format!(
                    "condition Progressing=False ProgressDeadlineExceeded; updated {} available {} of {}",
                    w.updated, w.available, w.desired
                )
                .into(),
                format!("images {}", w.images.join(", ")).into(),
            ],
            action: revertible(&object),
            impact: Impact {
                services: context.services_that(&w.namespace, |s| w.may_have_pods_for(s)),
                pods: u32::try_from((w.desired - w.available).max(0)).unwrap_or(0),
                ..Impact::default()
            },
            ..Cause::new(Finding::RolloutStuck { why: row.rollout.why.clone() }, severity, vec![object])
        }
    })
    .collect()
}
