//! Pods that should be gone and are not.

use std::sync::Arc;

use crate::domain::pod::Pod;
use crate::facts::world::{Alike, AlikeBy, Cause, Course, Kin, Severity};

use super::pods::{group, objects, reach};
use super::{Scene, brief, count, title_of};

/// Controllers remove their finalizers soon after the deletion, most of them within the grace period.
const FINALIZER_SECS: u64 = 45;
/// After the grace period the kubelet kills; then it takes volumes and the sandbox down.
const KUBELET_SECS: u64 = 120;

/// What a pod still waits for.
enum Held<'a> {
    Finalizers(&'a Pod),
    /// Its kubelet answers and does not end it.
    Kubelet(&'a str),
    /// Its node is gone from the cluster; the pod garbage collector has not come by.
    NodeGone(&'a str),
}

impl Held<'_> {
    fn words(&self) -> String {
        match self {
            Self::Finalizers(pod) => format!("finalizer {}", pod.finalizers().join(", ")),
            Self::Kubelet(node) => format!("the kubelet on {node} has not ended it"),
            Self::NodeGone(node) => format!("its node {node} is gone"),
        }
    }
}

/// What holds a pod past its grace period. A dead node's pods are the node's finding.
fn held<'p>(scene: &Scene<'_, '_>, pod: &'p Pod) -> Option<Held<'p>> {
    let late = scene.now.secs_since(pod.deleting?);
    if late < FINALIZER_SECS || scene.is_on_dead_node(pod) {
        return None;
    }
    let node = pod.node.as_ref().filter(|_| !pod.phase.is_finished());
    match node {
        // a pod that has finished waits for its finalizers only, wherever its node is
        Some(node) if scene.cluster.nodes.cover.is_complete() && scene.cluster.node(node).is_none() => {
            (late >= KUBELET_SECS).then_some(Held::NodeGone(node))
        }
        _ if !pod.finalizers().is_empty() => Some(Held::Finalizers(pod)),
        Some(node) if late >= KUBELET_SECS => Some(Held::Kubelet(node)),
        _ => None,
    }
}

/// One line a workload.
pub fn terminating(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let stuck = scene.unsettled.values().filter(|pod| held(scene, pod).is_some());
    group(scene, stuck)
        .into_iter()
        .filter_map(|(object, pods)| {
            let first = pods.first()?;
            let why = held(scene, first)?.words();
            let warning = scene.said.warning(&first.uid, first.deleting?.plus_secs(-600));
            let words = format!("Terminating past the grace period: {why}");
            let by = match held(scene, first)? {
                Held::Kubelet(node) | Held::NodeGone(node) => {
                    AlikeBy::Node { reason: "Terminating".into(), node: node.into() }
                }
                Held::Finalizers(_) => {
                    AlikeBy::Said { reason: "Terminating".into(), template: why.clone(), namespace: None }
                }
            };
            Some(Cause {
                rule: "terminating",
                severity: Severity::Warning,
                title: format!("{} {} {words}", title_of(&object), count(pods.len() as u64, "pod")),
                since: pods.iter().filter_map(|pod| pod.deleting).min(),
                evidence: pods
                    .iter()
                    .take(5)
                    .filter_map(|pod| evidence(scene, pod))
                    .chain(warning.map(|e| format!("{}: {}", e.reason, brief(&e.message))))
                    .collect(),
                action: None,
                reach: reach(scene, &object, &pods),
                objects: objects(object, &pods),
                course: Course::default(),
                kin: Kin {
                    alike: vec![Alike { by, noun: "workloads", words: format!("with pods {words}") }],
                    ..Kin::default()
                },
            })
        })
        .collect()
}

fn evidence(scene: &Scene<'_, '_>, pod: &Arc<Pod>) -> Option<String> {
    let why = held(scene, pod)?.words();
    let asked = pod.deletion_asked()?;
    let grace = pod.deletion_grace_secs.unwrap_or(0);
    Some(format!("pod {} deleted at {} with {grace} s of grace: {why}", pod.name, asked.told(scene.now)))
}
