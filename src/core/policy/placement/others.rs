//! The filters that depend on other pods: affinity, anti-affinity in both directions, and topology spread.
//!
//! Pods with the same shape, namespace and labels form one *class*. Selectors are matched against classes, never
//! against pods. All pods are visited once to count the relevant classes on each node. The placement of a pod then
//! increments the counts of its class.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::FilterReason;
use crate::domain::id::{Name, Uid};
use crate::domain::pod::Pod;
use crate::domain::scheduling::{Namespaces, PodTerm, Scheduling, Spread};
use crate::facts::world::{Cluster, NodeRow};

/// The domain of a node without the topology key.
const NOWHERE: u32 = u32::MAX;

/// The key of a class: the addresses of the shared shape and of the pod's own values, and the namespace.
type Key<'a> = (usize, usize, &'a Name);

fn key(pod: &Pod) -> Key<'_> {
    (address(&pod.shape), pod.own.as_ref().map_or(0, address), &pod.namespace)
}

/// The number of pods in each domain of one topology.
struct Count {
    /// The domain of each node.
    of: Arc<[u32]>,
    by: Vec<u32>,
    total: u32,
}

impl Count {
    /// Returns the number of pods in the node's domain. Returns `None` if the node has no domain.
    fn at(&self, node: usize) -> Option<u32> {
        self.by.get(*self.of.get(node)? as usize).copied()
    }

    fn add(&mut self, node: usize) {
        let domain = self.of.get(node).copied().unwrap_or(NOWHERE);
        if let Some(n) = self.by.get_mut(domain as usize) {
            *n += 1;
            self.total += 1;
        }
    }
}

/// One spread constraint. Only pods on eligible nodes count, and only the domains of these nodes.
struct Domains<'a> {
    spread: &'a Spread,
    count: Count,
    eligible: Vec<bool>,
    /// For each domain: true if it has an eligible node.
    is_domain: Vec<bool>,
}

impl Domains<'_> {
    fn add(&mut self, node: usize) {
        if self.eligible.get(node) == Some(&true) {
            self.count.add(node);
        }
    }

    /// Returns the smallest number of pods in a domain.
    fn low(&self) -> u32 {
        let held = || self.count.by.iter().zip(&self.is_domain).filter(|(_, is)| **is).map(|(n, _)| *n);
        if held().count() < self.spread.min_domains as usize { 0 } else { held().min().unwrap_or(0) }
    }
}

/// The terms of one scheduling in one namespace, with their counts.
struct Rules<'a> {
    scheduling: &'a Scheduling,
    namespace: &'a Name,
    /// The number of pods that match *all* affinity terms, for each term's topology.
    affinity: Vec<Count>,
    anti: Vec<Count>,
    spread: Vec<Domains<'a>>,
}

/// An anti-affinity term, and the number of pods with this term in each domain.
struct AntiAffinityCount<'a> {
    term: &'a PodTerm,
    namespace: &'a Name,
    count: Count,
}

/// A count that a placed pod of a class increments.
#[derive(Clone, Copy)]
enum CountTarget {
    Affinity(usize),
    Anti(usize, usize),
    Spread(usize, usize),
}

#[derive(Default)]
struct Class {
    rules: Option<usize>,
    repelled_by: Vec<usize>,
    holds: Vec<usize>,
    targets: Vec<CountTarget>,
    /// True if the pods satisfy their own affinity. The first pod of the group can then go to any node.
    satisfies_own_affinity: bool,
    /// For each spread constraint: true if the pod counts itself.
    counts_itself: Vec<bool>,
}

/// The staying pods of one class, by node.
struct Group<'a> {
    /// One pod, as an example for the class.
    pod: &'a Pod,
    at: Vec<(usize, bool)>,
}

/// All counts that the placement of the leaving pods depends on.
pub(super) struct Others<'a> {
    rules: Vec<Rules<'a>>,
    held: Vec<AntiAffinityCount<'a>>,
    classes: Vec<Class>,
    index: HashMap<Key<'a>, usize>,
}

/// The domains of the nodes for each topology key. Each key is calculated once.
struct Topologies<'a> {
    rows: &'a [&'a NodeRow],
    known: HashMap<&'a Name, (Arc<[u32]>, usize)>,
}

impl<'a> Topologies<'a> {
    fn of(&mut self, key: &'a Name) -> (Arc<[u32]>, usize) {
        let rows = self.rows;
        let made = self.known.entry(key).or_insert_with(|| {
            let mut names: HashMap<&Name, u32> = HashMap::new();
            let of = rows
                .iter()
                .map(|row| {
                    let next = u32::try_from(names.len()).unwrap_or(NOWHERE);
                    row.node.label(key).map_or(NOWHERE, |value| *names.entry(value).or_insert(next))
                })
                .collect();
            (of, names.len())
        });
        made.clone()
    }

    fn count(&mut self, key: &'a Name) -> Count {
        let (of, domains) = self.of(key);
        Count { of, by: vec![0; domains], total: 0 }
    }
}

fn address<T>(of: &Arc<T>) -> usize {
    Arc::as_ptr(of) as usize
}

impl<'a> Rules<'a> {
    fn new(pod: &'a Pod, away: &dyn Fn(usize) -> bool, topologies: &mut Topologies<'a>) -> Self {
        let scheduling = &*pod.shape.scheduling;
        let mut counts =
            |terms: &'a [PodTerm]| terms.iter().map(|t| topologies.count(&t.topology_key)).collect();
        let (affinity, anti) = (counts(&scheduling.affinity), counts(&scheduling.anti_affinity));
        let keys: Vec<Arc<[u32]>> =
            scheduling.spread.iter().map(|s| topologies.of(&s.topology_key).0).collect();
        let spread = scheduling
            .spread
            .iter()
            .map(|spread| {
                let count = topologies.count(&spread.topology_key);
                let eligible: Vec<bool> = topologies
                    .rows
                    .iter()
                    .enumerate()
                    .map(|(i, row)| {
                        let node = &row.node;
                        // A drained node still counts as a domain, unless the constraint honours its cordon.
                        let open = !spread.honor_taints
                            || !(node.cordoned || away(i)) && scheduling.repelled_by(node).is_none();
                        open && keys.iter().all(|of| of.get(i).is_some_and(|d| *d != NOWHERE))
                            && (spread.ignore_affinity
                                || scheduling.selects(node) && scheduling.has_affinity_to(node))
                    })
                    .collect();
                let mut is_domain = vec![false; count.by.len()];
                for (domain, eligible) in count.of.iter().zip(&eligible) {
                    if let Some(is) = is_domain.get_mut(*domain as usize) {
                        *is |= eligible;
                    }
                }
                Domains { spread, count, eligible, is_domain }
            })
            .collect();
        Self { scheduling, namespace: &pod.namespace, affinity, anti, spread }
    }

    fn is_company(&self, pod: &Pod) -> bool {
        let mut terms = self.scheduling.affinity.iter().filter(|t| t.is_judged()).peekable();
        terms.peek().is_some() && terms.all(|t| t.selects(self.namespace, &pod.namespace, pod))
    }

    /// Returns the counts that pods of this class increment.
    fn counted_by(&self, at: usize, pod: &Pod) -> Vec<CountTarget> {
        let mut targets = Vec::new();
        if self.is_company(pod) {
            targets.push(CountTarget::Affinity(at));
        }
        for (i, term) in self.scheduling.anti_affinity.iter().enumerate() {
            if term.selects(self.namespace, &pod.namespace, pod) {
                targets.push(CountTarget::Anti(at, i));
            }
        }
        for (i, spread) in self.scheduling.spread.iter().enumerate() {
            if *self.namespace == pod.namespace && spread.selector.matches(pod) {
                targets.push(CountTarget::Spread(at, i));
            }
        }
        targets
    }
}

impl<'a> Others<'a> {
    /// Makes the counts. `rows` has all nodes, `away` returns whether a node is drained, and `gone` has the pods that
    /// leave the drained nodes.
    pub(super) fn new(
        cluster: &'a Cluster,
        rows: &'a [&'a NodeRow],
        away: &dyn Fn(usize) -> bool,
        index: &HashMap<&Name, usize>,
        moving: &[&'a Pod],
        gone: &HashSet<&Uid>,
    ) -> Self {
        let mut topologies = Topologies { rows, known: HashMap::new() };
        let mut all =
            Self { rules: Vec::new(), held: Vec::new(), classes: Vec::new(), index: HashMap::new() };
        let mut rules_of: HashMap<(usize, &Name), usize> = HashMap::new();
        let mut kinds: Vec<&'a Pod> = Vec::new();
        for pod in moving {
            let pod: &'a Pod = pod;
            let key = key(pod);
            if all.index.contains_key(&key) {
                continue;
            }
            all.index.insert(key, all.classes.len());
            kinds.push(pod);
            let rules = pod.shape.scheduling.looks_at_pods().then(|| {
                *rules_of.entry((address(&pod.shape.scheduling), &pod.namespace)).or_insert_with(|| {
                    all.rules.push(Rules::new(pod, away, &mut topologies));
                    all.rules.len() - 1
                })
            });
            all.classes.push(Class { rules, ..Class::default() });
        }
        let groups = groups(cluster, &all.rules, index, gone);
        all.hold(&groups, &kinds, &mut topologies);
        all.count(&groups);
        all.link(&kinds);
        all
    }

    /// Registers the anti-affinity terms that apply to a leaving pod, and counts the pods with these terms.
    fn hold(&mut self, groups: &[Group<'a>], kinds: &[&'a Pod], topologies: &mut Topologies<'a>) {
        let mut known: HashMap<(usize, &Name, usize), Option<usize>> = HashMap::new();
        let staying = groups.iter().map(|g| (g.pod, &*g.at, None));
        let moving = kinds.iter().enumerate().map(|(class, pod)| (*pod, &[][..], Some(class)));
        for (holder, at, class) in staying.chain(moving) {
            for (i, term) in holder.shape.scheduling.anti_affinity.iter().enumerate() {
                let held = *known
                    .entry((address(&holder.shape.scheduling), &holder.namespace, i))
                    .or_insert_with(|| {
                        let namespace = &holder.namespace;
                        let concerns = kinds.iter().any(|pod| term.selects(namespace, &pod.namespace, *pod));
                        concerns.then(|| {
                            let count = topologies.count(&term.topology_key);
                            self.held.push(AntiAffinityCount { term, namespace, count });
                            self.held.len() - 1
                        })
                    });
                let Some(held) = held else { continue };
                if let Some(class) = class.and_then(|c| self.classes.get_mut(c)) {
                    class.holds.push(held);
                }
                if let Some(held) = self.held.get_mut(held) {
                    for (node, _) in at {
                        held.count.add(*node);
                    }
                }
            }
        }
    }

    /// Counts the pods that stay.
    fn count(&mut self, groups: &[Group<'a>]) {
        for group in groups {
            for at in 0..self.rules.len() {
                let targets = self.rules.get(at).map(|r| r.counted_by(at, group.pod)).unwrap_or_default();
                for feed in targets {
                    for (node, terminating) in &group.at {
                        // A terminating pod no longer counts for topology spread, but it still counts for affinity.
                        if !(*terminating && matches!(feed, CountTarget::Spread(..))) {
                            self.feed(feed, *node);
                        }
                    }
                }
            }
        }
    }

    /// Sets the terms that apply to each class, and the counts that it increments.
    fn link(&mut self, kinds: &[&'a Pod]) {
        for (class, pod) in self.classes.iter_mut().zip(kinds) {
            class.repelled_by = self
                .held
                .iter()
                .enumerate()
                .filter(|(_, h)| h.term.selects(h.namespace, &pod.namespace, *pod))
                .map(|(i, _)| i)
                .collect();
            class.targets =
                self.rules.iter().enumerate().flat_map(|(i, rules)| rules.counted_by(i, pod)).collect();
            let Some(rules) = class.rules.and_then(|i| self.rules.get(i)) else { continue };
            class.satisfies_own_affinity = rules.is_company(pod);
            class.counts_itself = rules.spread.iter().map(|d| d.spread.selector.matches(*pod)).collect();
        }
    }

    fn feed(&mut self, feed: CountTarget, node: usize) {
        match feed {
            CountTarget::Affinity(rules) => {
                if let Some(rules) = self.rules.get_mut(rules) {
                    rules.affinity.iter_mut().for_each(|count| count.add(node));
                }
            }
            CountTarget::Anti(rules, i) => {
                if let Some(count) = self.rules.get_mut(rules).and_then(|r| r.anti.get_mut(i)) {
                    count.add(node);
                }
            }
            CountTarget::Spread(rules, i) => {
                if let Some(domains) = self.rules.get_mut(rules).and_then(|r| r.spread.get_mut(i)) {
                    domains.add(node);
                }
            }
        }
    }

    pub(super) fn class(&self, pod: &Pod) -> Option<usize> {
        self.index.get(&key(pod)).copied()
    }

    /// Returns the smallest number of pods in a domain now, for each spread constraint of the class.
    pub(super) fn lows(&self, class: usize) -> Vec<u32> {
        let rules = self.classes.get(class).and_then(|c| self.rules.get(c.rules?));
        rules.map(|r| r.spread.iter().map(Domains::low).collect()).unwrap_or_default()
    }

    /// Returns why a pod of this class cannot run on this node because of other pods.
    pub(super) fn refuses(&self, class: usize, lows: &[u32], node: usize) -> Option<FilterReason<'a>> {
        let class = self.classes.get(class)?;
        if let Some(rules) = class.rules.and_then(|i| self.rules.get(i)) {
            for ((domains, low), itself) in rules.spread.iter().zip(lows).zip(&class.counts_itself) {
                let Some(here) = domains.count.at(node) else {
                    return Some(FilterReason::NoDomain(&domains.spread.topology_key));
                };
                if here + u32::from(*itself) > low + domains.spread.max_skew {
                    return Some(FilterReason::Spread(&domains.spread.topology_key));
                }
            }
            let judged =
                || rules.affinity.iter().zip(&rules.scheduling.affinity).filter(|(_, t)| t.is_judged());
            let alone = class.satisfies_own_affinity && judged().all(|(count, _)| count.total == 0);
            if judged().any(|(count, _)| count.at(node).is_none_or(|n| n == 0 && !alone)) {
                return Some(FilterReason::PodAffinity);
            }
            if rules.anti.iter().any(|count| count.at(node).is_some_and(|n| n > 0)) {
                return Some(FilterReason::AntiAffinity);
            }
        }
        let held = class.repelled_by.iter().filter_map(|i| self.held.get(*i));
        held.into_iter().any(|h| h.count.at(node).is_some_and(|n| n > 0)).then_some(FilterReason::Repelled)
    }

    /// Places a pod of this class on this node.
    pub(super) fn put(&mut self, class: usize, node: usize) {
        let Some(held) = self.classes.get(class) else { return };
        let (targets, holds) = (held.targets.clone(), held.holds.clone());
        for feed in targets {
            self.feed(feed, node);
        }
        for i in holds {
            if let Some(held) = self.held.get_mut(i) {
                held.count.add(node);
            }
        }
    }
}

/// Returns the classes of staying pods that a term may select, or that have anti-affinity terms of their own.
fn groups<'a>(
    cluster: &'a Cluster,
    rules: &[Rules<'a>],
    index: &HashMap<&Name, usize>,
    gone: &HashSet<&Uid>,
) -> Vec<Group<'a>> {
    let mut everywhere = false;
    let mut seen: HashSet<&Name> = HashSet::new();
    for rule in rules {
        seen.insert(rule.namespace);
        for term in rule.scheduling.affinity.iter().chain(&rule.scheduling.anti_affinity) {
            match &term.namespaces {
                Namespaces::These(names) => seen.extend(names),
                Namespaces::All => everywhere = true,
                Namespaces::Own | Namespaces::ByLabels => {}
            }
        }
    }
    let mut found: HashMap<Key<'a>, Group<'a>> = HashMap::new();
    for pod in cluster.pods.iter() {
        let looked_at = !rules.is_empty() && (everywhere || seen.contains(&pod.namespace));
        if !looked_at && pod.shape.scheduling.anti_affinity.is_empty() {
            continue;
        }
        if pod.phase.is_finished() || gone.contains(&pod.uid) {
            continue;
        }
        let Some(node) = pod.node.as_ref().and_then(|n| index.get(n)) else { continue };
        found
            .entry(key(pod))
            .or_insert_with(|| Group { pod, at: Vec::new() })
            .at
            .push((*node, pod.is_terminating()));
    }
    found.into_values().collect()
}
