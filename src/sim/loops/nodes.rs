//! The controller manager's work on nodes: a silent node becomes Unknown, bad nodes are tainted, and their pods become
//! unready and are evicted in the end.

mod eviction;
mod garbage;
mod zones;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::doc::{Condition, after, change, is_finished, list, put, set_condition, text, write_status};
use super::events::Recorder;
use super::feed::{Feed, News, sooner};
use super::scheduler::ZONE;
use crate::clock::stamp;
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Delete, Object, Store};
pub(super) use eviction::Evictions;
pub(super) use garbage::Garbage;
use zones::{Zone, Zones};

const NAME: &str = "node-controller";
const MANAGER: &str = "kube-controller-manager";
/// How long a node may send no heartbeat.
const GRACE: TimeDelta = TimeDelta::seconds(50);
pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The taints that follow from conditions that are True.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Why and how the controller ends a pod.
struct Disruption<'a> {
    /// The component in the event.
    by: &'a str,
    /// Of its condition.
    reason: &'a str,
    why: &'a str,
    /// Reason and message of the event.
    told: (&'a str, String),
    /// Sets its phase to Failed, because no kubelet will.
    failed: bool,
    options: Delete,
}

impl Disruption<'_> {
    /// Marks the pod, writes an event, and deletes the pod.
    fn strike(self, store: &Store, recorder: &Recorder, pod: &Object, at: DateTime<Utc>) {
        let marked = change(store, pod, MANAGER, |value| {
            let mut conditions = list(value, "/status/conditions").to_vec();
            let target = Condition::new("DisruptionTarget", "True", self.reason, self.why);
            set_condition(&mut conditions, target, at);
            put(value, &["status", "conditions"], json!(conditions));
            if self.failed && !is_finished(pod) {
                put(value, &["status", "phase"], json!("Failed"));
            }
        });
        // It is already deleted, which is the goal.
        if marked.is_err() {
            return;
        }
        recorder.normal(pod, self.by, self.told.0, &self.told.1);
        let options = Delete { uid: Some(pod.uid().to_owned()), ..self.options };
        // Another client may have done it already.
        drop(store.delete(Res::Pods, pod.namespace(), pod.name(), &options));
    }
}

#[derive(Debug)]
pub(super) struct Lifecycle {
    store: Store,
    recorder: Recorder,
    nodes: Feed,
    leases: Feed,
    pods: Feed,
    /// When each node last sent a heartbeat, by our own clock.
    heard: BTreeMap<Arc<str>, DateTime<Utc>>,
    /// No node is due before this.
    patience: Option<DateTime<Utc>>,
    changed: bool,
    zones: Zones,
}

/// The taint for a node's readiness.
fn wanted(node: &Object) -> Option<&'static str> {
    match node.condition("Ready") {
        Some("True") => None,
        Some("False") => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    }
}

/// The input for a node's taints: its conditions without their times.
fn states(node: &Object) -> Vec<(&str, &str)> {
    list(&node.value, "/status/conditions")
        .iter()
        .map(|one| (text(one, "type"), text(one, "status")))
        .collect()
}

fn zone_of(node: &Object) -> String {
    node.label(ZONE).unwrap_or_default().to_owned()
}

fn has(node: &Object, key: &str, effect: &str) -> bool {
    list(&node.value, "/spec/taints")
        .iter()
        .any(|taint| text(taint, "key") == key && text(taint, "effect") == effect)
}

impl Lifecycle {
    pub(super) fn new(store: &Store, recorder: &Recorder) -> Self {
        Self {
            store: store.clone(),
            recorder: recorder.clone(),
            nodes: Feed::new(store, Res::Nodes),
            leases: Feed::new(store, Res::Leases),
            pods: Feed::new(store, Res::Pods),
            heard: BTreeMap::new(),
            patience: None,
            changed: false,
            zones: Zones::default(),
        }
    }

    fn listen(&mut self, at: DateTime<Utc>) {
        for news in self.nodes.read() {
            match news {
                News::Reset => self.changed = true,
                News::Now(node, before) => {
                    if before.as_ref().is_none_or(|old| {
                        old.at("/spec") != node.at("/spec")
                            || old.labels() != node.labels()
                            || states(old) != states(&node)
                    }) {
                        self.changed = true;
                    }
                    let posted = before.is_none_or(|old| {
                        node.condition("Ready") != Some("Unknown")
                            && old.at("/status/conditions") != node.at("/status/conditions")
                    });
                    if posted && self.heard.insert(node.name().into(), at).is_none() {
                        self.patience = sooner(self.patience, Some(after(at, GRACE)));
                    }
                }
                News::Gone(node) => {
                    self.heard.remove(node.name());
                    self.changed = true;
                }
            }
        }
        for news in self.leases.read() {
            if let News::Now(lease, before) = news
                && lease.namespace() == "kube-node-lease"
                && before.is_none_or(|old| old.at("/spec/renewTime") != lease.at("/spec/renewTime"))
                && let Some(heard) = self.heard.get_mut(lease.name())
            {
                *heard = at;
            }
        }
        // The readiness that a pod reported from a lost node cannot be trusted.
        for news in self.pods.read() {
            if let News::Now(pod, before) = news
                && pod.condition("Ready") == Some("True")
                && before.is_none_or(|old| old.condition("Ready") != Some("True"))
                && self
                    .store
                    .get(Res::Nodes, "", pod.text("/spec/nodeName"))
                    .is_some_and(|node| node.condition("Ready") == Some("Unknown"))
            {
                self.unready(&pod, at);
            }
        }
    }

    /// Checks whether a node has been silent for too long.
    fn listen_for_silence(&mut self, at: DateTime<Utc>) {
        if self.patience.is_none_or(|due| due > at) {
            return;
        }
        let late: Vec<Arc<str>> = self
            .heard
            .iter()
            .filter(|(_, heard)| after(**heard, GRACE) <= at)
            .map(|(name, _)| name.clone())
            .collect();
        for name in late {
            let node = self.store.get(Res::Nodes, "", &name);
            if let Some(node) = node.filter(|node| node.condition("Ready") != Some("Unknown")) {
                self.lose(&node, at);
            }
        }
        let next = self.heard.values().map(|heard| after(*heard, GRACE)).filter(|due| *due > at).min();
        // If all nodes are lost, nothing is timed until one of them sends a heartbeat again.
        self.patience = Some(next.unwrap_or_else(|| after(at, TimeDelta::seconds(5))));
    }

    fn lose(&self, node: &Object, at: DateTime<Utc>) {
        let never = node.condition("Ready").is_none();
        let (reason, message) = if never {
            ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
        } else {
            ("NodeStatusUnknown", "Kubelet stopped posting node status.")
        };
        let mut conditions = list(&node.value, "/status/conditions").to_vec();
        for kind in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
            set_condition(&mut conditions, Condition::new(kind, "Unknown", reason, message), at);
        }
        let mut status = node.at("/status").clone();
        put(&mut status, &["conditions"], json!(conditions));
        write_status(&self.store, node, MANAGER, status);
        let message = format!("Node {} status is now: NodeNotReady", node.name());
        self.recorder.normal(node, NAME, "NodeNotReady", &message);
        for pod in self.store.pods_on(node.name()) {
            self.unready(&pod, at);
        }
    }

    fn unready(&self, pod: &Object, at: DateTime<Utc>) {
        if pod.condition("Ready") != Some("True") {
            return;
        }
        let mut status = pod.at("/status").clone();
        let mut conditions = list(&pod.value, "/status/conditions").to_vec();
        if let Some(ready) = conditions.iter_mut().find(|one| text(one, "type") == "Ready") {
            put(ready, &["status"], json!("False"));
            put(ready, &["lastTransitionTime"], json!(stamp(at)));
        }
        put(&mut status, &["conditions"], json!(conditions));
        write_status(&self.store, pod, MANAGER, status);
        self.recorder.warning(pod, NAME, "NodeNotReady", "Node is not ready");
    }

    /// Gives every node the taints for its conditions; pods are evicted at the rate of its zone.
    fn taint(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let nodes = self.store.list(Res::Nodes, None);
        let all_bad = nodes.iter().all(|node| wanted(node).is_some());
        let mut counts: BTreeMap<String, Zone> = BTreeMap::new();
        for node in &nodes {
            let zone = counts.entry(zone_of(node)).or_default();
            match wanted(node) {
                None => zone.good += 1,
                Some(_) => zone.bad += 1,
            }
        }
        let mut next = None;
        for node in &nodes {
            let bad = wanted(node);
            let zone = zone_of(node);
            let carries = bad.is_some_and(|key| has(node, key, "NoExecute"));
            let drive = match bad {
                None => None,
                // If no node is healthy, it is more likely that we are cut off, so no pods are evicted.
                Some(_) if all_bad => None,
                Some(key) if carries => Some(key),
                // One bad condition replaced the other, so the pods' toleration time has started already.
                Some(key) if has(node, NOT_READY, "NoExecute") || has(node, UNREACHABLE, "NoExecute") => {
                    Some(key)
                }
                Some(key) => {
                    let count = counts.get(&zone).copied().unwrap_or_default();
                    match self.zones.may(&zone, count, at) {
                        Ok(()) => Some(key),
                        Err(due) => {
                            next = sooner(next, due);
                            None
                        }
                    }
                }
            };
            self.write_taints(node, bad, drive, at);
        }
        next
    }

    fn write_taints(&self, node: &Object, bad: Option<&str>, drive: Option<&str>, at: DateTime<Utc>) {
        let mut want: Vec<(&str, &str)> = Vec::new();
        if let Some(key) = bad {
            want.push((key, "NoSchedule"));
        }
        if let Some(key) = drive {
            want.push((key, "NoExecute"));
        }
        for (kind, key) in PRESSURES {
            if node.condition(kind) == Some("True") {
                want.push((key, "NoSchedule"));
            }
        }
        if node.at("/spec/unschedulable") == &Value::Bool(true) {
            want.push((UNSCHEDULABLE, "NoSchedule"));
        }
        let ours = |taint: &Value| {
            let key = text(taint, "key");
            [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&key)
                || PRESSURES.iter().any(|(_, one)| *one == key)
        };
        let old = list(&node.value, "/spec/taints");
        let mut new: Vec<Value> = old
            .iter()
            .filter(|taint| !ours(taint) || want.contains(&(text(taint, "key"), text(taint, "effect"))))
            .cloned()
            .collect();
        for (key, effect) in want {
            if !has(node, key, effect) {
                new.push(json!({"key": key, "effect": effect, "timeAdded": stamp(at)}));
            }
        }
        if new == old {
            return;
        }
        // A deleted node needs no taints.
        drop(change(&self.store, node, MANAGER, |value| {
            put(value, &["spec", "taints"], if new.is_empty() { Value::Null } else { json!(new) });
        }));
    }
}

impl Part for Lifecycle {
    fn name(&self) -> &'static str {
        "node lifecycle"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.listen(at);
        self.listen_for_silence(at);
        if self.changed || self.zones.due.is_some_and(|due| due <= at) {
            self.changed = false;
            self.zones.due = self.taint(at);
        }
        sooner(self.patience, self.zones.due)
    }
}
