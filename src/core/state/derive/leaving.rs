//! Terminating pods. If their node is dead, no kubelet can finish the deletion. Such pods are stuck and count as bad.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::domain::id::{Name, Uid};
use crate::domain::pod::Pod;

use super::Derivation;

/// The Terminating pods that have no other problem, and the dead nodes.
#[derive(Default)]
pub(super) struct Leaving {
    dead: HashSet<Name>,
    by_node: HashMap<Name, HashMap<Uid, Arc<Pod>>>,
}

impl Leaving {
    pub(super) fn add(&mut self, pod: &Arc<Pod>) {
        if let Some(node) = pod.node.as_ref().filter(|_| pod.is_leaving()) {
            self.by_node.entry(node.clone()).or_default().insert(pod.uid.clone(), pod.clone());
        }
    }

    pub(super) fn remove(&mut self, pod: &Pod) {
        let Some(node) = &pod.node else { return };
        if let Some(pods) = self.by_node.get_mut(node) {
            pods.remove(&pod.uid);
            if pods.is_empty() {
                self.by_node.remove(node);
            }
        }
    }

    /// Returns true if the pod is Terminating on a dead node.
    pub(super) fn is_stuck(&self, pod: &Pod) -> bool {
        pod.is_leaving() && pod.node.as_ref().is_some_and(|node| self.dead.contains(node))
    }
}

impl Derivation {
    /// Records that a node died or came back, and counts its Terminating pods again. Adds the owners whose sums
    /// changed to `owners`.
    pub(super) fn mark_dead(&mut self, node: &Name, dead: bool, owners: &mut HashSet<Uid>) {
        if self.leaving.dead.contains(node) == dead {
            return;
        }
        let pods: Vec<Arc<Pod>> =
            self.leaving.by_node.get(node).into_iter().flat_map(|pods| pods.values().cloned()).collect();
        for pod in &pods {
            self.count_pod(pod, -1);
        }
        if dead {
            self.leaving.dead.insert(node.clone());
        } else {
            self.leaving.dead.remove(node);
        }
        for pod in &pods {
            self.count_pod(pod, 1);
            if dead {
                self.bad.insert(pod.uid.clone(), pod.clone());
            } else {
                self.bad.remove(&pod.uid);
            }
            owners.extend(pod.owner.as_ref().map(|owner| owner.uid.clone()));
        }
    }
}
