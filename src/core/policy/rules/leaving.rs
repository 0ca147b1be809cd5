//! Pods that stay Terminating for too long.

use std::sync::Arc;

use crate::domain::cause::{Cause, Evidence, Finding, Severity, Shared, StillThere};
use crate::domain::pod::Pod;
use crate::domain::text::brief;

use super::RuleContext;
use super::pods::{group, impact, objects};

/// Controllers usually remove their finalizers soon after the deletion, most of them within the grace period.
const FINALIZER_SECS: u64 = 45;
/// After the grace period, the kubelet kills the containers. Then it removes the volumes and the sandbox.
const KUBELET_SECS: u64 = 120;

/// Returns why a pod still exists after its grace period. Pods on a dead node belong to the node's finding.
fn held(context: &RuleContext<'_, '_>, pod: &Pod) -> Option<StillThere> {
    let late = context.now.secs_since(pod.deleting?);
    if late < FINALIZER_SECS || context.is_on_dead_node(pod) {
        return None;
    }
    let node = pod.node.as_ref().filter(|_| !pod.phase.is_finished());
    match node {
        // A finished pod waits only for its finalizers, even if its node is gone.
        Some(node) if context.cluster.nodes.cover.is_complete() && context.cluster.node(node).is_none() => {
            (late >= KUBELET_SECS).then(|| StillThere::NodeGone(node.clone()))
        }
        _ if !pod.finalizers().is_empty() => Some(StillThere::Finalizers(pod.finalizers().to_vec())),
        Some(node) if late >= KUBELET_SECS => Some(StillThere::Kubelet(node.clone())),
        _ => None,
    }
}

/// Finds pods that are stuck Terminating. Each workload has one line.
pub(super) fn terminating(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let stuck = context.unsettled.values().filter(|pod| held(context, pod).is_some());
    group(context, stuck)
        .into_iter()
        .filter_map(|(object, pods)| {
            let first = pods.first()?;
            let held_by = held(context, first)?;
            let warning = context.events.warning(&first.uid, first.deleting?.plus_secs(-600));
            let shared = match &held_by {
                StillThere::Kubelet(node) | StillThere::NodeGone(node) => {
                    Shared::Node { reason: "Terminating".into(), node: node.clone() }
                }
                StillThere::Finalizers(names) => Shared::Finalizers(names.clone()),
            };
            Some(Cause {
                since: pods.iter().filter_map(|pod| pod.deleting).min(),
                evidence: pods
                    .iter()
                    .take(5)
                    .filter_map(|pod| evidence(context, pod))
                    .chain(warning.map(|e| format!("{}: {}", e.reason, brief(&e.message)).into()))
                    .collect(),
                impact: impact(context, &object, &pods),
                shared: vec![shared],
                ..Cause::new(
                    Finding::Terminating { pods: pods.len(), held: held_by },
                    Severity::Warning,
                    objects(object, &pods),
                )
            })
        })
        .collect()
}

fn evidence(context: &RuleContext<'_, '_>, pod: &Arc<Pod>) -> Option<Evidence> {
    let why = held(context, pod)?;
    let asked = pod.deletion_asked()?.told(context.now);
    let grace = pod.deletion_grace_secs.unwrap_or(0);
    Some(format!("pod {} deleted at {asked} with {grace} s of grace: {why}", pod.name).into())
}
