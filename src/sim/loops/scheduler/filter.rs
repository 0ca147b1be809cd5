//! Why a node cannot take a pod, with the messages and the order of the real scheduler's filters.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::super::doc::{int, list, text};
use super::super::fit;
use super::super::requests::{Amounts, effective};
use super::board::{Board, Place, anti_affinity, host_ports};
use crate::selector::Labels;
use crate::store::Object;

/// A rule about other pods in the same topology domain.
struct Term {
    key: String,
    /// The values of the key where matching pods run.
    there: HashSet<String>,
}

struct Spread {
    key: String,
    max_skew: i64,
    counts: BTreeMap<String, i64>,
    min: i64,
    matches_self: bool,
}

/// A pod's requirements, computed once for all nodes.
pub(super) struct Wish<'a> {
    pod: &'a Object,
    spec: &'a Value,
    pub needs: Amounts,
    ports: Vec<(i64, String)>,
    affinity: Vec<(Term, bool)>,
    anti: Vec<Term>,
    refusing: Vec<Term>,
    spread: Vec<Spread>,
    /// Whether it tolerates a cordoned node.
    stands_cordons: bool,
    /// Node affinity of its volumes.
    volumes: Vec<Value>,
}

fn domain<'a>(place: &'a Place, key: &str) -> Option<&'a str> {
    place.labels().get(key)?.as_str()
}

/// Whether a term of pod (anti-)affinity of a pod in `home` selects a pod.
fn meant(term: &Value, home: &str, pod: &Object) -> bool {
    let spaces = list(term, "/namespaces");
    let there = if spaces.is_empty() && term.get("namespaceSelector").is_none_or(Value::is_null) {
        pod.namespace() == home
    } else {
        spaces.iter().any(|one| one == pod.namespace())
            || term
                .get("namespaceSelector")
                .is_some_and(|one| one.as_object().is_some_and(serde_json::Map::is_empty))
    };
    there && Labels::of(term.get("labelSelector").unwrap_or(&Value::Null)).matches(pod.labels())
}

fn term(board: &Board, term: &Value, home: &str) -> Term {
    let key = text(term, "topologyKey").to_owned();
    let there = board.pods().filter(|(pod, _)| meant(term, home, pod));
    let there = there.filter_map(|(_, place)| domain(place, &key).map(str::to_owned)).collect();
    Term { key, there }
}

fn spread(board: &Board, pod: &Object, rule: &Value) -> Spread {
    let key = text(rule, "topologyKey").to_owned();
    let selector = Labels::of(rule.get("labelSelector").unwrap_or(&Value::Null));
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for place in board.places.values() {
        let Some(node) = &place.node else { continue };
        let Some(value) = domain(place, &key) else { continue };
        if fit::selects(pod.at("/spec"), node.name(), node.labels()) {
            counts.entry(value.to_owned()).or_default();
        }
    }
    for (other, place) in board.pods() {
        if other.namespace() == pod.namespace()
            && !other.is_terminating()
            && selector.matches(other.labels())
            && let Some(count) = domain(place, &key).and_then(|value| counts.get_mut(value))
        {
            *count += 1;
        }
    }
    let min = counts.values().copied().min().unwrap_or_default();
    Spread {
        key,
        max_skew: int(rule, "maxSkew").max(1),
        min,
        counts,
        matches_self: selector.matches(pod.labels()),
    }
}

impl<'a> Wish<'a> {
    pub(super) fn new(board: &Board, pod: &'a Object, volumes: Vec<Value>) -> Self {
        let spec = pod.at("/spec");
        let home = pod.namespace();
        let mut needs = effective(spec);
        needs.0.insert("pods".into(), 1000);
        let near = list(spec, "/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution").iter();
        let affinity = near.map(|one| (term(board, one, home), meant(one, home, pod)));
        let mut refusing: BTreeMap<String, HashSet<String>> = BTreeMap::new();
        for (uid, other) in &board.picky {
            let Some(place) = board.places.get(other.text("/spec/nodeName")) else { continue };
            if !place.pods.contains_key(uid) {
                continue;
            }
            for rule in anti_affinity(other).iter().filter(|rule| meant(rule, other.namespace(), pod)) {
                if let Some(value) = domain(place, text(rule, "topologyKey")) {
                    refusing
                        .entry(text(rule, "topologyKey").to_owned())
                        .or_default()
                        .insert(value.to_owned());
                }
            }
        }
        let rules = list(spec, "/topologySpreadConstraints").iter();
        let cordon = serde_json::json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
        let hard = rules.filter(|rule| text(rule, "whenUnsatisfiable") != "ScheduleAnyway");
        Self {
            pod,
            spec,
            needs,
            ports: host_ports(spec),
            affinity: affinity.collect(),
            anti: anti_affinity(pod).iter().map(|one| term(board, one, home)).collect(),
            refusing: refusing.into_iter().map(|(key, there)| Term { key, there }).collect(),
            stands_cordons: list(spec, "/tolerations").iter().any(|one| fit::tolerates(one, &cordon)),
            spread: hard.map(|rule| spread(board, pod, rule)).collect(),
            volumes,
        }
    }

    /// None if the node can take the pod.
    pub(super) fn refusals(&self, node: &Arc<Object>, place: &Place) -> Vec<String> {
        let one = |why: &str| vec![why.to_owned()];
        let taints = list(&node.value, "/spec/taints");
        if node.at("/spec/unschedulable") == &Value::Bool(true) && !self.stands_cordons {
            return one("node(s) were unschedulable");
        }
        if fit::untolerated(self.spec, taints, &["NoSchedule", "NoExecute"]).is_some() {
            return one("node(s) had untolerated taint(s)");
        }
        if !fit::selects(self.spec, node.name(), node.labels()) {
            return one("node(s) didn't match Pod's node affinity/selector");
        }
        if self.ports.iter().any(|port| place.ports.contains(port)) {
            return one("node(s) didn't have free ports for the requested pod ports");
        }
        let short: Vec<String> =
            self.needs
                .0
                .iter()
                .filter(|(name, need)| **need > 0 && place.used.get(name) + **need > place.room.get(name))
                .map(|(name, _)| {
                    if &**name == "pods" {
                        "Too many pods".to_owned()
                    } else {
                        format!("Insufficient {name}")
                    }
                })
                .collect();
        if !short.is_empty() {
            return short;
        }
        if self.volumes.iter().any(|terms| {
            !fit::terms(terms.as_array().map(Vec::as_slice).unwrap_or_default(), node.name(), node.labels())
        }) {
            return one("node(s) didn't match PersistentVolume's node affinity");
        }
        self.neighbours(place).into_iter().collect()
    }

    fn neighbours(&self, place: &Place) -> Option<String> {
        for rule in &self.spread {
            let Some(value) = domain(place, &rule.key) else {
                return Some(
                    "node(s) didn't match pod topology spread constraints (missing required label)"
                        .to_owned(),
                );
            };
            let count = rule.counts.get(value).copied().unwrap_or_default();
            if count + i64::from(rule.matches_self) - rule.min > rule.max_skew {
                return Some("node(s) didn't match pod topology spread constraints".to_owned());
            }
        }
        let inside = |term: &Term| domain(place, &term.key).is_some_and(|value| term.there.contains(value));
        // The first pod of a group with affinity to itself can go anywhere.
        let first =
            |term: &Term, itself: bool| term.there.is_empty() && itself && domain(place, &term.key).is_some();
        if !self.affinity.iter().all(|(term, itself)| inside(term) || first(term, *itself)) {
            return Some("node(s) didn't match pod affinity rules".to_owned());
        }
        if self.anti.iter().any(inside) {
            return Some("node(s) didn't match pod anti-affinity rules".to_owned());
        }
        if self.refusing.iter().any(inside) {
            return Some("node(s) didn't satisfy existing pods anti-affinity rules".to_owned());
        }
        None
    }

    /// The score of a node: empty ones first, and those with the fewest pods of the same owner in the zone and on the
    /// node.
    pub(super) fn score(&self, board: &Board, node: &Arc<Object>, place: &Place) -> i64 {
        let free = |name: &str| {
            let room = place.room.get(name).max(1);
            let used = place.used.get(name) + self.needs.get(name);
            (room - used).max(0).saturating_mul(100) / room
        };
        let least = i64::midpoint(free("cpu"), free("memory"));
        let spread = board.siblings(super::board::owner_of(self.pod)).map_or(0, |siblings| {
            let here = siblings.by_node.get(node.name()).copied().unwrap_or_default();
            let zone = siblings.by_zone.get(place.zone()).copied().unwrap_or_default();
            here * 60 + zone * 20
        });
        let soft = list(self.spec, "/tolerations");
        let discouraged = list(&node.value, "/spec/taints")
            .iter()
            .filter(|taint| text(taint, "effect") == "PreferNoSchedule")
            .filter(|taint| !soft.iter().any(|one| fit::tolerates(one, taint)))
            .count();
        least - spread - discouraged as i64 * 300
    }
}
