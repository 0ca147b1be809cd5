//! The scheduler's view of the nodes: the free resources on each, and which pods are where. It is updated with each
//! change, so that placing a pod does not scan the pods of the cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::super::doc::{is_finished, list, text};
use super::super::requests::{Amounts, effective};
use crate::store::Object;

pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

/// A pod that uses resources of a node.
#[derive(Debug)]
pub(super) struct Placed {
    pub pod: Arc<Object>,
    node: Arc<str>,
    needs: Amounts,
}

/// One node.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub node: Option<Arc<Object>>,
    pub room: Amounts,
    pub used: Amounts,
    pub pods: BTreeMap<Arc<str>, Arc<Object>>,
    pub ports: Vec<(i64, String)>,
}

impl Place {
    pub(super) fn labels(&self) -> &Value {
        self.node.as_ref().map_or(&Value::Null, |node| node.labels())
    }

    pub(super) fn zone(&self) -> &str {
        self.node.as_ref().and_then(|node| node.label(ZONE)).unwrap_or_default()
    }
}

/// The number of pods of one owner, by node and zone.
#[derive(Debug, Default)]
pub(super) struct Siblings {
    pub by_node: HashMap<Arc<str>, i64>,
    pub by_zone: HashMap<String, i64>,
}

#[derive(Debug, Default)]
pub(super) struct Board {
    pub places: BTreeMap<Arc<str>, Place>,
    placed: HashMap<Arc<str>, Placed>,
    siblings: HashMap<String, Siblings>,
    /// Pods with required anti-affinity, which can exclude other pods.
    pub picky: BTreeMap<Arc<str>, Arc<Object>>,
}

/// The host ports of a pod's spec.
pub(super) fn host_ports(spec: &Value) -> Vec<(i64, String)> {
    let containers = list(spec, "/containers").iter();
    let ports = containers.flat_map(|container| list(container, "/ports"));
    ports
        .filter_map(|port| {
            let number = port.get("hostPort").and_then(Value::as_i64).filter(|port| *port > 0)?;
            Some((number, text(port, "protocol").to_owned()))
        })
        .collect()
}

pub(super) fn owner_of(pod: &Object) -> &str {
    pod.controller().map_or("", |owner| text(owner, "uid"))
}

const ANTI: &str = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";

/// The required anti-affinity of a pod.
pub(super) fn anti_affinity(pod: &Object) -> &[Value] {
    list(&pod.value, ANTI)
}

impl Board {
    /// Records a node. Returns whether it can now take pods that it could not take before.
    pub(super) fn node(&mut self, node: &Arc<Object>) -> bool {
        let place = self.places.entry(node.name().into()).or_default();
        let matters = place.node.as_ref().is_none_or(|old| {
            old.at("/status/allocatable") != node.at("/status/allocatable")
                || old.labels() != node.labels()
                || old.at("/spec") != node.at("/spec")
        });
        if matters {
            let room = node.at("/status/allocatable");
            place.room = Amounts::of(if room.is_null() { node.at("/status/capacity") } else { room });
        }
        place.node = Some(node.clone());
        matters
    }

    pub(super) fn lose_node(&mut self, name: &str) {
        if let Some(place) = self.places.get_mut(name) {
            place.node = None;
            if place.pods.is_empty() {
                self.places.remove(name);
            }
        }
    }

    /// Records a bound pod. Returns whether resources were freed.
    pub(super) fn pod(&mut self, pod: &Arc<Object>) -> bool {
        let node = pod.text("/spec/nodeName");
        if node.is_empty() || is_finished(pod) {
            return self.lose_pod(pod.uid());
        }
        if let Some(known) = self.placed.get_mut(pod.uid())
            && &*known.node == node
            && known.pod.at("/spec") == pod.at("/spec")
            && known.pod.labels() == pod.labels()
        {
            known.pod = pod.clone();
            return false;
        }
        let freed = self.lose_pod(pod.uid());
        let uid: Arc<str> = pod.uid().into();
        let node: Arc<str> = node.into();
        let mut needs = effective(pod.at("/spec"));
        needs.0.insert("pods".into(), 1000);
        let place = self.places.entry(node.clone()).or_default();
        place.used.add(&needs, 1);
        place.pods.insert(uid.clone(), pod.clone());
        place.ports.extend(host_ports(pod.at("/spec")));
        let zone = place.zone().to_owned();
        let siblings = self.siblings.entry(owner_of(pod).to_owned()).or_default();
        *siblings.by_node.entry(node.clone()).or_default() += 1;
        *siblings.by_zone.entry(zone).or_default() += 1;
        if !anti_affinity(pod).is_empty() {
            self.picky.insert(uid.clone(), pod.clone());
        }
        self.placed.insert(uid, Placed { pod: pod.clone(), node, needs });
        freed
    }

    /// Removes a pod's resources. Returns whether it had any.
    pub(super) fn lose_pod(&mut self, uid: &str) -> bool {
        let Some(placed) = self.placed.remove(uid) else { return false };
        self.picky.remove(uid);
        let mut zone = String::new();
        if let Some(place) = self.places.get_mut(&placed.node) {
            place.used.add(&placed.needs, -1);
            place.pods.remove(uid);
            for port in host_ports(placed.pod.at("/spec")) {
                if let Some(at) = place.ports.iter().position(|one| *one == port) {
                    place.ports.swap_remove(at);
                }
            }
            place.zone().clone_into(&mut zone);
        }
        let owner = owner_of(&placed.pod);
        if let Some(siblings) = self.siblings.get_mut(owner) {
            let left = siblings.by_node.entry(placed.node).or_default();
            *left -= 1;
            *siblings.by_zone.entry(zone).or_default() -= 1;
            siblings.by_node.retain(|_, n| *n > 0);
            if siblings.by_node.is_empty() {
                self.siblings.remove(owner);
            }
        }
        true
    }

    pub(super) fn siblings(&self, owner: &str) -> Option<&Siblings> {
        if owner.is_empty() { None } else { self.siblings.get(owner) }
    }

    /// The pods that are bound to nodes.
    pub(super) fn pods(&self) -> impl Iterator<Item = (&Arc<Object>, &Place)> {
        self.places
            .values()
            .filter(|place| place.node.is_some())
            .flat_map(|place| place.pods.values().map(move |pod| (pod, place)))
    }
}
