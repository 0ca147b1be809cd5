//! Rules about workloads and their pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::id::{Kind, ObjectRef};
use crate::domain::pod::{Phase, Pod, Trouble};
use crate::domain::time::Stamp;
use crate::domain::workload::RolloutPhase;
use crate::facts::world::{Alike, AlikeBy, Cause, Course, Kin, Reach, Severity, Suggestion};

use super::{Scene, count, title_of, volumes};

/// The bad pods of one trouble.
fn in_trouble<'s>(scene: &Scene<'s, '_>, trouble: Trouble) -> impl Iterator<Item = &'s Arc<Pod>> {
    scene.bad.values().filter(move |pod| {
        pod.trouble == Some(trouble)
            && !pod.is_terminating()
            && pod.phase != Phase::Failed
            && !scene.is_on_dead_node(pod)
    })
}

/// Pods by the workload that they belong to in the end (the pod itself when it has no owner), each workload's by their names.
pub(super) type Groups = BTreeMap<ObjectRef, Vec<Arc<Pod>>>;

pub(super) fn group<'p>(scene: &Scene<'_, '_>, pods: impl Iterator<Item = &'p Arc<Pod>>) -> Groups {
    let mut groups = Groups::new();
    for pod in pods {
        groups.entry(owner(scene, pod)).or_default().push(pod.clone());
    }
    for pods in groups.values_mut() {
        pods.sort_by(|a, b| a.name.cmp(&b.name));
    }
    groups
}

pub(super) fn owner(scene: &Scene<'_, '_>, pod: &Pod) -> ObjectRef {
    let Some(direct) = &pod.owner else {
        return ObjectRef::new(Kind::Pod, &pod.namespace, &pod.name, &pod.uid);
    };
    let top = scene.cluster.derived.replicaset_owner.get(&direct.uid).unwrap_or(direct);
    ObjectRef::new(top.kind.clone(), &pod.namespace, &top.name, &top.uid)
}

/// How many pods the workload has and wants, in words.
pub(super) fn of_how_many(scene: &Scene<'_, '_>, object: &ObjectRef, bad: usize) -> (String, bool) {
    let row = scene.workload(&object.uid);
    match row {
        Some(row) if row.totals.pods > 0 => {
            let none_left = row.totals.ready == 0;
            (format!("{bad} of {}", count(row.totals.pods, "pod")), none_left)
        }
        _ => (count(bad as u64, "pod"), true),
    }
}

pub(super) fn reach(scene: &Scene<'_, '_>, object: &ObjectRef, pods: &[Arc<Pod>]) -> Reach {
    let services = pods.first().map_or(0, |pod| scene.services_that(&object.namespace, |s| s.matches(pod)));
    Reach { services, pods: u32::try_from(pods.len()).unwrap_or(u32::MAX), ..Reach::default() }
}

fn restartable(object: &ObjectRef) -> Option<Suggestion> {
    matches!(object.kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet).then(|| Suggestion {
        command: "restart",
        title: format!("restart {}", object.name),
        on: object.clone(),
    })
}

/// A rollout that does not get through goes back to the template before it.
pub(super) fn revertible(object: &ObjectRef) -> Option<Suggestion> {
    restartable(object).map(|s| Suggestion {
        command: "rollback",
        title: format!("roll back {}", object.name),
        ..s
    })
}

/// A pod's last exit and message, as evidence.
pub(super) fn evidence(pods: &[Arc<Pod>], now: Stamp) -> Vec<String> {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = pods
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
            line
        })
        .collect();
    if pods.len() > SHOWN {
        lines.push(format!("and {} more", pods.len() - SHOWN));
    }
    lines
}

fn since(pods: &[Arc<Pod>]) -> Option<Stamp> {
    pods.iter().filter_map(|pod| pod.started.or(Some(pod.created))).min()
}

struct Finding {
    rule: &'static str,
    trouble: Trouble,
    words: fn(&[Arc<Pod>]) -> String,
    /// Severity while some pods of the workload are still ready.
    mild: Severity,
}

fn find(scene: &Scene<'_, '_>, finding: &Finding) -> Vec<Cause> {
    group(scene, in_trouble(scene, finding.trouble))
        .into_iter()
        .map(|(object, pods)| {
            let (many, none_left) = of_how_many(scene, &object, pods.len());
            Cause {
                rule: finding.rule,
                kin: Kin::default(),
                course: Course::default(),
                severity: if none_left { Severity::Critical } else { finding.mild },
                title: format!("{} {}: {many}", title_of(&object), (finding.words)(&pods)),
                since: since(&pods),
                evidence: evidence(&pods, scene.now),
                action: restartable(&object).filter(|_| finding.trouble == Trouble::CrashLoop),
                reach: reach(scene, &object, &pods),
                objects: objects(object, &pods),
            }
        })
        .collect()
}

pub(super) fn objects(object: ObjectRef, pods: &[Arc<Pod>]) -> Vec<ObjectRef> {
    let of = |pod: &Arc<Pod>| ObjectRef::new(Kind::Pod, &pod.namespace, &pod.name, &pod.uid);
    // a pod of nobody is the object itself
    let others: Vec<ObjectRef> = pods.iter().map(of).filter(|pod| *pod != object).collect();
    let mut all = vec![object];
    all.extend(others);
    all
}

pub fn crash_loop(scene: &Scene<'_, '_>) -> Vec<Cause> {
    find(
        scene,
        &Finding {
            rule: "crash-loop",
            trouble: Trouble::CrashLoop,
            words: |pods| {
                let exit = pods.iter().find_map(|p| p.last_exit.as_ref());
                exit.map_or_else(
                    || "crash loop".into(),
                    |e| format!("crash loop, exit {} ({})", e.code, e.reason),
                )
            },
            mild: Severity::Critical,
        },
    )
}

pub fn image_pull(scene: &Scene<'_, '_>) -> Vec<Cause> {
    find(
        scene,
        &Finding {
            rule: "image-pull",
            trouble: Trouble::ImagePull,
            words: |pods| {
                let image = pods.first().and_then(|p| p.shape.containers.first()).map(|c| c.image.clone());
                image.map_or_else(|| "image cannot be pulled".into(), |image| format!("cannot pull {image}"))
            },
            mild: Severity::Warning,
        },
    )
}

pub fn config(scene: &Scene<'_, '_>) -> Vec<Cause> {
    find(
        scene,
        &Finding {
            rule: "bad-config",
            trouble: Trouble::Config,
            words: |_| "container config error".into(),
            mild: Severity::Warning,
        },
    )
}

pub fn oom(scene: &Scene<'_, '_>) -> Vec<Cause> {
    find(
        scene,
        &Finding {
            rule: "oom-killed",
            trouble: Trouble::OomKilled,
            words: |pods| {
                let container = pods.iter().find_map(|p| p.last_exit.as_ref()).map(|e| e.container.clone());
                container.map_or_else(|| "OOMKilled".into(), |c| format!("OOMKilled ({c})"))
            },
            mild: Severity::Warning,
        },
    )
}

/// Pods that the scheduler finds no node for, with its reason. Those that wait for a claim are found with the claim.
pub fn unschedulable(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let pods = in_trouble(scene, Trouble::Unschedulable).filter(|pod| !volumes::waits_for_claim(scene, pod));
    group(scene, pods)
        .into_iter()
        .map(|(object, pods)| {
            let reason =
                pods.iter().find_map(|p| p.message.as_ref()).map_or("no reason given", |m| m.as_str());
            let (many, none_left) = of_how_many(scene, &object, pods.len());
            let waits = waits_for_volume(scene, reason);
            let alike = waits.as_ref().map(|words| Alike {
                by: AlikeBy::Said { reason: VOLUME.into(), template: words.clone(), namespace: None },
                noun: "workloads",
                words: words.clone(),
            });
            Cause {
                rule: "unschedulable",
                severity: if none_left { Severity::Critical } else { Severity::Warning },
                title: match waits {
                    Some(words) => format!("{} {words}: {many}", title_of(&object)),
                    None => format!("{} unschedulable: {many}: {}", title_of(&object), in_short(reason)),
                },
                since: pods.iter().map(|p| p.created).min(),
                evidence: vec![
                    format!("the scheduler says: {reason}"),
                    format!("each asks for {}", requests(&pods)),
                ],
                action: None,
                reach: reach(scene, &object, &pods),
                objects: objects(object, &pods),
                kin: Kin { alike: alike.into_iter().collect(), ..Kin::default() },
                course: Course::default(),
            }
        })
        .collect()
}

/// What the scheduler says of a volume that no usable node can reach.
const VOLUME: &str = "volume node affinity";

/// Where a pod's volume is, if that is what it waits for.
fn waits_for_volume(scene: &Scene<'_, '_>, reason: &str) -> Option<String> {
    if !reason.contains(VOLUME) && !reason.contains("PersistentVolume's node affinity") {
        return None;
    }
    let mut zones: BTreeMap<&str, bool> = BTreeMap::new();
    for row in scene.cluster.derived.nodes.iter() {
        let Some(zone) = &row.node.zone else { continue };
        *zones.entry(zone.as_str()).or_insert(true) &= row.state.is_dead();
    }
    let lost: Vec<&str> = zones.iter().filter(|(_, lost)| **lost).map(|(zone, _)| *zone).collect();
    Some(match lost.as_slice() {
        [zone] => format!("cannot start until {zone} has a node again: the volume is in that zone"),
        _ => "cannot start: no node that takes pods can attach the volume".to_owned(),
    })
}

/// `0/50 nodes are available: 50 Insufficient cpu`: without what preemption would do, and with the taints last, which say
/// least.
fn in_short(reason: &str) -> String {
    let short = reason.split(". ").next().unwrap_or(reason).trim_end_matches('.');
    let Some((nodes, parts)) = short.split_once(": ") else { return short.to_owned() };
    let mut parts: Vec<&str> = parts.split(", ").collect();
    parts.sort_by_key(|part| part.contains("taint"));
    format!("{nodes}: {}", parts.join(", "))
}

fn requests(pods: &[Arc<Pod>]) -> String {
    use crate::domain::quantity::{show_bytes, show_cpu};
    pods.first().map_or_else(String::new, |p| {
        format!("cpu {} memory {}", show_cpu(p.requests.cpu_milli), show_bytes(p.requests.memory_bytes))
    })
}

pub fn rollout_stuck(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let rows = scene.cluster.derived.workloads.iter().filter(|row| row.rollout.phase == RolloutPhase::Stuck);
    rows.map(|row| {
        let w = &row.workload;
        let object = w.reference();
        Cause {
            rule: "rollout-stuck",
            kin: Kin::default(),
            course: Course::default(),
            severity: if w.available == 0 { Severity::Critical } else { Severity::Warning },
            title: format!("{} rollout stuck: {}", title_of(&object), row.rollout.why),
            since: row.rollout.since,
            evidence: vec![
                format!(
                    "condition Progressing=False ProgressDeadlineExceeded; updated {} available {} of {}",
                    w.updated, w.available, w.desired
                ),
                format!("images {}", w.images.join(", ")),
            ],
            action: revertible(&object),
            reach: Reach {
                services: scene.services_that(&w.namespace, |s| w.may_have_pods_for(s)),
                pods: u32::try_from((w.desired - w.available).max(0)).unwrap_or(0),
                ..Reach::default()
            },
            objects: vec![object],
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_scheduler_says_in_short() {
        for (said, short) in [
            (
                "0/12 nodes are available: 4 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, 8 Insufficient cpu. preemption: 0/12 nodes are available: 12 No preemption victims found.",
                "0/12 nodes are available: 8 Insufficient cpu, 4 node(s) had untolerated taint {node.kubernetes.io/unreachable: }",
            ),
            ("0/1 nodes are available: 1 Too many pods.", "0/1 nodes are available: 1 Too many pods"),
            ("no reason given", "no reason given"),
        ] {
            assert_eq!(in_short(said), short);
        }
    }
}
