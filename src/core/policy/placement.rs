//! Finds nodes for pods that leave their own. It runs the scheduler's filters on the known state, first fit
//! decreasing.
//!
//! It checks readiness, cordon, taints, node selector and required node affinity, host ports, requests, required pod
//! affinity and anti-affinity (in both directions), and topology spread with `DoNotSchedule`. The order is that of
//! kube-scheduler's filters, so that a node counts under the reason that the scheduler would give.
//!
//! It does not check extended resources, namespace selectors of pod affinity, and where persistent volumes can be
//! attached. The result reports these limits.
//!
//! It visits all pods once. No step compares every pod with every other pod: see `others`.

mod others;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use self::others::Others;
use crate::domain::id::{Kind, Name, Uid};
use crate::domain::plan::Unplaced;
use crate::domain::pod::Pod;
use crate::domain::quantity::Resources;
use crate::domain::scheduling::HostPort;
use crate::facts::world::{Cluster, NodeRow, NodeState};

/// The nodes that the pods would run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    pub placed: Vec<Placed>,
    pub unplaced: Vec<Unplaced>,
    /// Pods that request resources which are not checked: `ml/train-0 (nvidia.com/gpu)`.
    pub extended: Vec<String>,
    /// Pods with affinity to namespaces that are selected by labels.
    pub by_labels: Vec<String>,
}

/// A pod that fits on some node. The scheduler may choose another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub namespace: Name,
    pub name: Name,
    pub node: Name,
    /// The pod's current zone, if the pod has volumes and fits on no node of that zone.
    pub out_of: Option<Name>,
}

/// Why a node cannot take a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FilterReason<'a> {
    NotReady,
    Cordoned,
    Taint(&'a str, &'a str),
    Selector,
    Affinity,
    Ports,
    Insufficient(Insufficient),
    NoDomain(&'a str),
    Spread(&'a str),
    PodAffinity,
    AntiAffinity,
    /// A pod on the node has anti-affinity to this one.
    Repelled,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Insufficient {
    cpu: bool,
    memory: bool,
    ephemeral: bool,
    pods: bool,
}

/// A node with its free resources.
struct CandidateNode<'a> {
    row: &'a NodeRow,
    leaving: bool,
    free: Resources,
    slots: i64,
    ports: Vec<&'a HostPort>,
}

impl<'a> CandidateNode<'a> {
    /// Returns which resources are insufficient. Like in the scheduler, an overcommitted node still accepts a pod
    /// without requests.
    fn short(&self, need: Resources) -> Option<Insufficient> {
        let lacks = |need: i64, free: i64| need > 0 && need > free;
        let short = Insufficient {
            cpu: lacks(need.cpu_milli, self.free.cpu_milli),
            memory: lacks(need.memory_bytes, self.free.memory_bytes),
            ephemeral: lacks(need.ephemeral_bytes, self.free.ephemeral_bytes),
            pods: self.slots < 1,
        };
        (short != Insufficient::default()).then_some(short)
    }

    /// Returns the first filter that rejects the pod for this node. Filters that depend on other pods are not
    /// included.
    fn refuses(&self, pod: &Pod) -> Option<FilterReason<'a>> {
        let wants = &pod.shape.scheduling;
        let node = &self.row.node;
        if node.cordoned {
            return Some(FilterReason::Cordoned);
        }
        if self.row.state != NodeState::Ready {
            return Some(FilterReason::NotReady);
        }
        if let Some(taint) = wants.repelled_by(node) {
            return Some(FilterReason::Taint(&taint.key, &taint.value));
        }
        if !wants.selects(node) {
            return Some(FilterReason::Selector);
        }
        if !wants.has_affinity_to(node) {
            return Some(FilterReason::Affinity);
        }
        if wants.host_ports.iter().any(|p| self.ports.iter().any(|held| held.conflicts(p))) {
            return Some(FilterReason::Ports);
        }
        self.short(pod.requests).map(FilterReason::Insufficient)
    }
}

/// Returns true if a controller recreates the pod after its eviction, and has not done so already.
fn comes_back(pod: &Pod) -> bool {
    pod.owner.as_ref().is_some_and(|owner| {
        let same_name = owner.kind == Kind::StatefulSet;
        owner.kind != Kind::DaemonSet && !pod.phase.is_finished() && (!pod.is_terminating() || same_name)
    })
}

/// Finds a node for each of the leaving pods. The drained nodes are not candidates.
pub fn place(cluster: &Cluster, leaving: &[Name], going: &[&Pod]) -> Placement {
    let mut rows: Vec<&NodeRow> = cluster.derived.nodes.iter().map(AsRef::as_ref).collect();
    // The rows have no fixed order, but the same cluster must give the same plan.
    rows.sort_by(|a, b| a.node.name.cmp(&b.node.name));
    let leaving: HashSet<&Name> = leaving.iter().collect();
    let gone: HashSet<&Uid> = going.iter().map(|p| &p.uid).collect();
    let index: HashMap<&Name, usize> = rows.iter().enumerate().map(|(i, r)| (&r.node.name, i)).collect();
    let mut pods: Vec<&Pod> = going.iter().copied().filter(|p| comes_back(p)).collect();
    // The pods of one owner follow each other, because the result for one is valid for the next.
    pods.sort_by_key(|p| {
        let owner = p.owner.as_ref().map(|o| &o.name);
        (Reverse((p.requests.cpu_milli, p.requests.memory_bytes)), &p.namespace, owner, &p.name)
    });
    let mut candidates: Vec<CandidateNode<'_>> = rows
        .iter()
        .map(|row| CandidateNode {
            row,
            leaving: leaving.contains(&row.node.name),
            free: row.node.allocatable.minus(row.totals.requests),
            slots: row.node.allocatable_pods - i64::from(row.totals.pods),
            ports: Vec::new(),
        })
        .collect();
    if pods.iter().any(|p| !p.shape.scheduling.host_ports.is_empty()) {
        take_ports(cluster, &gone, &index, &mut candidates);
    }
    let away = |i: usize| candidates.get(i).is_some_and(|s| s.leaving);
    let mut others = Others::new(cluster, &rows, &away, &index, &pods, &gone);
    let mut out = Placement::default();
    let mut failed: Option<(usize, Resources, usize, String)> = None;
    for pod in pods {
        note_unjudged(pod, &mut out);
        let Some(class) = others.class(pod) else { continue };
        // The free resources only decrease, so the failure stays valid. A pod that was placed since then can satisfy
        // the affinity of this one, so such pods are checked again.
        if let Some((same, requests, placed, reason)) = &failed
            && *same == class
            && *requests == pod.requests
            && (*placed == out.placed.len() || !pod.shape.scheduling.looks_at_pods())
        {
            out.unplaced.push(unplaced(pod, reason.clone()));
            continue;
        }
        let lows = others.lows(class);
        let fits = |i: usize, candidate: &CandidateNode<'_>| {
            !candidate.leaving
                // This check comes first because it is cheap and most nodes that do not fit are full.
                && candidate.short(pod.requests).is_none()
                && candidate.refuses(pod).is_none()
                && others.refuses(class, &lows, i).is_none()
        };
        let home = pod.node.as_ref().and_then(|n| rows.get(*index.get(n)?)?.node.zone.as_ref());
        let home = home.filter(|_| pod.shape.claims);
        let near = home.and_then(|zone| {
            candidates
                .iter()
                .enumerate()
                .position(|(i, s)| s.row.node.zone.as_ref() == Some(zone) && fits(i, s))
        });
        let found = near.or_else(|| candidates.iter().enumerate().position(|(i, s)| fits(i, s)));
        let Some(at) = found else {
            let reason = why(&candidates, &others, class, &lows, pod);
            failed = Some((class, pod.requests, out.placed.len(), reason.clone()));
            out.unplaced.push(unplaced(pod, reason));
            continue;
        };
        if let Some(candidate) = candidates.get_mut(at) {
            candidate.free = candidate.free.minus(pod.requests);
            candidate.slots -= 1;
            candidate.ports.extend(pod.shape.scheduling.host_ports.iter());
            out.placed.push(Placed {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                node: candidate.row.node.name.clone(),
                out_of: home.filter(|_| near.is_none()).cloned(),
            });
        }
        others.put(class, at);
    }
    out
}

fn unplaced(pod: &Pod, reason: String) -> Unplaced {
    Unplaced { namespace: pod.namespace.clone(), name: pod.name.clone(), reason }
}

fn note_unjudged(pod: &Pod, out: &mut Placement) {
    let wants = &pod.shape.scheduling;
    if !wants.extended.is_empty() {
        out.extended.push(format!("{}/{} ({})", pod.namespace, pod.name, wants.extended.join(", ")));
    }
    if wants.affinity.iter().chain(&wants.anti_affinity).any(|t| !t.is_judged()) {
        out.by_labels.push(format!("{}/{}", pod.namespace, pod.name));
    }
}

/// Adds the host ports of the pods that stay.
fn take_ports<'a>(
    cluster: &'a Cluster,
    gone: &HashSet<&Uid>,
    index: &HashMap<&Name, usize>,
    candidates: &mut [CandidateNode<'a>],
) {
    for pod in cluster.pods.iter() {
        let ports = &pod.shape.scheduling.host_ports;
        if ports.is_empty() || pod.phase.is_finished() || gone.contains(&pod.uid) {
            continue;
        }
        let candidate = pod.node.as_ref().and_then(|n| index.get(n)).and_then(|i| candidates.get_mut(*i));
        if let Some(candidate) = candidate {
            candidate.ports.extend(ports.iter());
        }
    }
}

/// Returns why no node fits: `0 of 49 other nodes: 30 taint dedicated=gpu, 12 insufficient cpu, 7 do not match its
/// node selector`.
fn why(
    candidates: &[CandidateNode<'_>],
    others: &Others<'_>,
    class: usize,
    lows: &[u32],
    pod: &Pod,
) -> String {
    let mut counts: BTreeMap<FilterReason<'_>, u32> = BTreeMap::new();
    let mut nodes = 0;
    for (i, candidate) in candidates.iter().enumerate().filter(|(_, s)| !s.leaving) {
        nodes += 1;
        if let Some(why) = candidate.refuses(pod).or_else(|| others.refuses(class, lows, i)) {
            *counts.entry(why).or_default() += 1;
        }
    }
    if nodes == 0 {
        return "there is no other node".into();
    }
    let mut counts: Vec<(FilterReason<'_>, u32)> = counts.into_iter().collect();
    counts.sort_by_key(|(why, n)| (Reverse(*n), *why));
    let reasons: Vec<String> = counts.iter().map(|(why, n)| format!("{n} {}", why.words(*n))).collect();
    format!("0 of {nodes} other {}: {}", if nodes == 1 { "node" } else { "nodes" }, reasons.join(", "))
}

impl FilterReason<'_> {
    fn words(self, nodes: u32) -> String {
        let (not, has) = if nodes == 1 { ("does not", "has") } else { ("do not", "have") };
        match self {
            Self::NotReady => "not ready".into(),
            Self::Cordoned => "cordoned".into(),
            Self::Taint(key, "") => format!("taint {key}"),
            Self::Taint(key, value) => format!("taint {key}={value}"),
            Self::Selector => format!("{not} match its node selector"),
            Self::Affinity => format!("{not} match its node affinity"),
            Self::Ports => format!("{has} its host port taken"),
            Self::Insufficient(short) => short.words(),
            Self::NoDomain(key) => format!("{has} no label {key} to spread over"),
            Self::Spread(key) => format!("would break its spread over {key}"),
            Self::PodAffinity => format!("{not} meet its pod affinity"),
            Self::AntiAffinity => format!("{has} pods that it must not be with"),
            Self::Repelled => format!("{has} pods that must not be with it"),
        }
    }
}

impl Insufficient {
    fn words(self) -> String {
        let lacking: Vec<&str> = [
            (self.cpu, "cpu"),
            (self.memory, "memory"),
            (self.ephemeral, "ephemeral storage"),
            (self.pods, "pod slots"),
        ]
        .into_iter()
        .filter(|(lacks, _)| *lacks)
        .map(|(_, what)| what)
        .collect();
        format!("insufficient {}", lacking.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::{Owner, Version};
    use crate::domain::node::{Condition, Node, Status, Taint};
    use crate::domain::pod::{Phase, PodShape};
    use crate::domain::scheduling::{Namespaces, PodTerm, Scheduling, Spread, Toleration};
    use crate::domain::selector::Selector;
    use crate::domain::time::Stamp;
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::state::ClusterState;

    fn node(name: &str, labels: &[(&str, &str)]) -> Node {
        let mut all: Vec<(Name, Name)> = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        all.push(("kubernetes.io/hostname".into(), name.into()));
        let zone = labels.iter().find(|(k, _)| *k == "zone").map(|(_, v)| Name::from(*v));
        Node {
            uid: Uid::parse(name),
            name: name.into(),
            zone,
            labels: all.into(),
            conditions: [Condition {
                kind: "Ready".into(),
                status: Status::True,
                reason: "".into(),
                message: "".into(),
                since: None,
            }]
            .into(),
            allocatable: Resources { cpu_milli: 4000, memory_bytes: 8 << 30, ephemeral_bytes: 0 },
            allocatable_pods: 10,
            ..Node::default()
        }
    }

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint { key: key.into(), value: value.into(), effect: effect.into(), added: None }
    }

    fn pod(name: &str, node: &str, cpu: i64, app: &str, wants: Scheduling) -> Pod {
        let requests = Resources { cpu_milli: cpu, memory_bytes: 1 << 20, ephemeral_bytes: 0 };
        Pod {
            uid: Uid::parse(name),
            namespace: "shop".into(),
            name: name.into(),
            node: Some(node.into()),
            owner: Some(Arc::new(Owner {
                kind: Kind::ReplicaSet,
                name: app.into(),
                uid: Uid::parse(app),
                group: "apps".into(),
            })),
            shape: Arc::new(PodShape {
                labels: [("app".into(), app.into())].into(),
                requests,
                scheduling: Arc::new(wants),
                ..PodShape::default()
            }),
            requests,
            phase: Phase::Running,
            ready: true,
            ..Pod::default()
        }
    }

    fn run(nodes: Vec<Node>, pods: Vec<Pod>, leaving: &[&str]) -> Placement {
        let mut state = ClusterState::new(ClusterInfo::default());
        for fact in [
            Fact::Nodes(Batch::Begin { generation: 1 }),
            Fact::Nodes(Batch::Upsert(nodes)),
            Fact::Nodes(Batch::End { generation: 1, version: Version(1) }),
            Fact::Pods(Batch::Upsert(pods)),
        ] {
            state.apply(fact, Stamp(0));
        }
        let cluster = state.publish(Stamp(0), false).unwrap();
        let leaving: Vec<Name> = leaving.iter().map(|n| Name::from(*n)).collect();
        let going: Vec<&Pod> = cluster
            .pods
            .iter()
            .map(AsRef::as_ref)
            .filter(|p| p.node.as_ref().is_some_and(|n| leaving.contains(n)))
            .collect();
        place(&cluster, &leaving, &going)
    }

    /// Returns `pod=node` for placed pods and `pod: reason` for the others, sorted.
    fn said(p: &Placement) -> Vec<String> {
        let mut all: Vec<String> = p.placed.iter().map(|p| format!("{}={}", p.name, p.node)).collect();
        all.extend(p.unplaced.iter().map(|u| format!("{}: {}", u.name, u.reason)));
        all.sort();
        all
    }

    fn web(app: &str) -> Arc<Selector> {
        Arc::new(Selector::from_labels([("app".into(), app.into())]))
    }

    fn term(app: &str, key: &str) -> PodTerm {
        PodTerm { selector: web(app), topology_key: key.into(), namespaces: Namespaces::Own }
    }

    fn spread(key: &str) -> Spread {
        Spread {
            max_skew: 1,
            min_domains: 1,
            topology_key: key.into(),
            selector: web("web"),
            ..Spread::default()
        }
    }

    #[test]
    fn every_node_is_counted_under_its_first_reason() {
        let mut nodes = vec![node("old", &[]), node("full", &[("disk", "ssd")])];
        nodes.extend((0..3).map(|i| Node {
            taints: [taint("dedicated", "gpu", "NoSchedule")].into(),
            ..node(&format!("gpu-{i}"), &[("disk", "ssd")])
        }));
        nodes.push(Node { cordoned: true, ..node("cordoned", &[("disk", "ssd")]) });
        nodes.push(Node { conditions: Arc::default(), ..node("lost", &[("disk", "ssd")]) });
        nodes.extend((0..2).map(|i| node(&format!("hdd-{i}"), &[("disk", "hdd")])));
        let wants =
            Scheduling { node_selector: [("disk".into(), "ssd".into())].into(), ..Scheduling::default() };
        let pods = vec![
            pod("stays", "full", 3500, "b", Scheduling::default()),
            pod("p", "old", 1000, "a", wants.clone()),
        ];
        let p = run(nodes.clone(), pods, &["old"]);
        assert_eq!(
            said(&p),
            ["p: 0 of 8 other nodes: 3 taint dedicated=gpu, 2 do not match its node selector, \
              1 not ready, 1 cordoned, 1 insufficient cpu"]
        );
        let tolerant = Scheduling {
            tolerations: [Toleration { key: "dedicated".into(), exists: true, ..Toleration::default() }]
                .into(),
            ..wants
        };
        let p = run(nodes, vec![pod("p", "old", 1000, "a", tolerant.clone())], &["old", "full"]);
        assert_eq!(said(&p), ["p=gpu-0"], "the other drained node takes nothing");
        let p = run(vec![node("old", &[])], vec![pod("p", "old", 1000, "a", tolerant)], &["old"]);
        assert_eq!(said(&p), ["p: there is no other node"]);
    }

    #[test]
    fn requests_and_slots_are_used_up() {
        let nodes = vec![node("old", &[]), Node { allocatable_pods: 2, ..node("n", &[]) }];
        let pods = (0..3).map(|i| pod(&format!("p{i}"), "old", 100, "a", Scheduling::default())).collect();
        assert_eq!(
            said(&run(nodes, pods, &["old"])),
            ["p0=n", "p1=n", "p2: 0 of 1 other node: 1 insufficient pod slots"]
        );
        // The largest pods are placed first: 3000 and 1000 fill one node, and 2500 needs the other.
        let nodes = vec![node("old", &[]), node("n1", &[]), node("n2", &[])];
        let pods = [("a", 1000), ("b", 2500), ("c", 3000)]
            .map(|(n, cpu)| pod(n, "old", cpu, n, Scheduling::default()))
            .to_vec();
        assert_eq!(said(&run(nodes, pods, &["old"])), ["a=n1", "b=n2", "c=n1"]);
        // An overcommitted node still accepts a pod without requests.
        let mut free = pod("free", "old", 0, "a", Scheduling::default());
        free.requests.memory_bytes = 0;
        let nodes = vec![node("old", &[]), node("n", &[])];
        let pods = vec![pod("big", "n", 9000, "b", Scheduling::default()), free];
        assert_eq!(said(&run(nodes, pods, &["old"])), ["free=n"]);
    }

    #[test]
    fn host_ports_are_one_to_a_node() {
        let port = Scheduling {
            host_ports: [HostPort { port: 80, protocol: "TCP".into(), ip: "".into() }].into(),
            ..Scheduling::default()
        };
        let nodes = vec![node("old", &[]), node("n1", &[]), node("n2", &[])];
        let pods = vec![
            pod("held", "n1", 1, "x", port.clone()),
            pod("p0", "old", 1, "a", port.clone()),
            pod("p1", "old", 1, "b", port),
        ];
        assert_eq!(
            said(&run(nodes, pods, &["old"])),
            ["p0=n2", "p1: 0 of 2 other nodes: 2 have its host port taken"]
        );
    }

    /// From "More practical use-cases" of the documentation: three caches, each on its own node, and three web
    /// servers, each on a node with a cache and without another web server.
    #[test]
    fn affinity_and_anti_affinity() {
        let host = "kubernetes.io/hostname";
        let cache = Scheduling { anti_affinity: [term("store", host)].into(), ..Scheduling::default() };
        let server = Scheduling {
            anti_affinity: [term("web", host)].into(),
            affinity: [term("store", host)].into(),
            ..Scheduling::default()
        };
        let nodes = || ["old", "n1", "n2", "n3"].map(|n| node(n, &[])).to_vec();
        let mut pods: Vec<Pod> =
            (1..4).map(|i| pod(&format!("store{i}"), &format!("n{i}"), 1, "store", cache.clone())).collect();
        pods.push(pod("web1", "n1", 1, "web", server.clone()));
        pods.push(pod("web2", "old", 1, "web", server.clone()));
        assert_eq!(said(&run(nodes(), pods.clone(), &["old"])), ["web2=n2"]);
        // No node is left for the cache, because every other node has one.
        pods.push(pod("store4", "old", 5, "store", cache.clone()));
        assert_eq!(
            said(&run(nodes(), pods, &["old"])),
            ["store4: 0 of 3 other nodes: 3 have pods that it must not be with", "web2=n2"]
        );
        // Anti-affinity also works in the other direction: the staying pod has it, and the new one does not.
        let pods = vec![
            pod("store1", "n1", 1, "store", cache),
            pod("plain", "old", 1, "store", Scheduling::default()),
        ];
        let p = run(vec![node("old", &[]), node("n1", &[])], pods, &["old"]);
        assert_eq!(said(&p), ["plain: 0 of 1 other node: 1 has pods that must not be with it"]);
        // Without a cache, a server fits on no node, unless it satisfies its own affinity.
        let p = run(nodes(), vec![pod("w", "old", 1, "web", server)], &["old"]);
        assert_eq!(said(&p), ["w: 0 of 3 other nodes: 3 do not meet its pod affinity"]);
        let own = Scheduling { affinity: [term("web", "zone")].into(), ..Scheduling::default() };
        let zones = vec![
            node("old", &[]),
            node("bare", &[]),
            node("a", &[("zone", "a")]),
            Node { allocatable_pods: 1, ..node("b", &[("zone", "b")]) },
        ];
        let pods = ["w0", "w1"].map(|n| pod(n, "old", 1, "web", own.clone())).to_vec();
        assert_eq!(said(&run(zones, pods, &["old"])), ["w0=a", "w1=a"], "the second follows the first");
    }

    /// From the examples of "Pod Topology Spread Constraints": three pods in two zones with two nodes each, and one
    /// more pod.
    #[test]
    fn topology_spread() {
        let nodes = || {
            [("node1", "A"), ("node2", "A"), ("node3", "B"), ("node4", "B"), ("old", "C")]
                .map(|(n, z)| {
                    let labels: &[(&str, &str)] = if n == "old" { &[] } else { &[("zone", z)] };
                    node(n, labels)
                })
                .to_vec()
        };
        let web = |name: &str, at: &str, spreads: &[Spread]| {
            pod(name, at, 1, "web", Scheduling { spread: spreads.into(), ..Scheduling::default() })
        };
        let zone = spread("zone");
        let run_with = |spreads: &[Spread], at: &[&str]| {
            let mut pods: Vec<Pod> =
                at.iter().enumerate().map(|(i, n)| web(&format!("p{i}"), n, &[])).collect();
            pods.push(web("mypod", "old", spreads));
            said(&run(nodes(), pods, &["old"]))
        };
        assert_eq!(run_with(std::slice::from_ref(&zone), &["node1", "node2", "node3"]), ["mypod=node3"]);
        // With zone and node together, only node4 is left. The drained node has no zone and is no domain.
        let both = [zone.clone(), spread("kubernetes.io/hostname")];
        assert_eq!(run_with(&both, &["node1", "node2", "node3"]), ["mypod=node4"]);
        // The constraints conflict: by zone only node3 is possible, and by node only node2.
        let nodes3 = || {
            [("old", ""), ("node1", "A"), ("node2", "A"), ("node3", "B")]
                .map(|(n, z)| if z.is_empty() { node(n, &[]) } else { node(n, &[("zone", z)]) })
                .to_vec()
        };
        let mut pods: Vec<Pod> = ["node1", "node1", "node2", "node3", "node3"]
            .iter()
            .enumerate()
            .map(|(i, n)| web(&format!("p{i}"), n, &[]))
            .collect();
        pods.push(web("mypod", "old", &both));
        assert_eq!(
            said(&run(nodes3(), pods, &["old"])),
            ["mypod: 0 of 3 other nodes: 2 would break its spread over zone, \
              1 would break its spread over kubernetes.io/hostname"]
        );
        // With minDomains, two zones are too few, so the smallest count is 0.
        let three = Spread { min_domains: 3, ..zone.clone() };
        assert_eq!(
            run_with(&[three], &["node1", "node3"]),
            ["mypod: 0 of 4 other nodes: 4 would break its spread over zone"]
        );
    }

    #[test]
    fn a_drained_node_stays_a_domain_unless_taints_are_honoured() {
        let host = spread("kubernetes.io/hostname");
        let case = |s: Spread| {
            let wants = Scheduling { spread: [s].into(), ..Scheduling::default() };
            let pods = [("p0", "old"), ("p1", "n1"), ("p2", "n2")]
                .map(|(name, at)| pod(name, at, 1, "web", wants.clone()))
                .to_vec();
            said(&run(["old", "n1", "n2"].map(|n| node(n, &[])).to_vec(), pods, &["old"]))
        };
        assert_eq!(
            case(host.clone()),
            ["p0: 0 of 2 other nodes: 2 would break its spread over kubernetes.io/hostname"]
        );
        assert_eq!(case(Spread { honor_taints: true, ..host }), ["p0=n1"]);
    }

    #[test]
    fn volumes_prefer_their_zone_and_what_is_not_judged_is_named() {
        let mut db = pod("db", "old", 3000, "db", Scheduling::default());
        db.shape = Arc::new(PodShape { claims: true, ..PodShape::default() });
        let nodes =
            vec![node("old", &[("zone", "a")]), node("b", &[("zone", "b")]), node("a", &[("zone", "a")])];
        let p = run(nodes.clone(), vec![db.clone()], &["old"]);
        assert_eq!((said(&p), &p.placed[0].out_of), (vec!["db=a".to_owned()], &None));
        let busy = pod("busy", "a", 3000, "x", Scheduling::default());
        let p = run(nodes, vec![db, busy], &["old"]);
        assert_eq!(p.placed[0].out_of.as_deref(), Some("a"));
        let odd = Scheduling {
            extended: ["nvidia.com/gpu".into()].into(),
            affinity: [PodTerm { namespaces: Namespaces::ByLabels, ..term("x", "zone") }].into(),
            ..Scheduling::default()
        };
        let p = run(vec![node("old", &[]), node("n", &[])], vec![pod("p", "old", 1, "a", odd)], &["old"]);
        assert_eq!(
            (p.extended, p.by_labels),
            (vec!["shop/p (nvidia.com/gpu)".into()], vec!["shop/p".into()])
        );
        assert_eq!(p.unplaced, []);
    }

    #[test]
    fn only_what_is_made_again_needs_a_place() {
        let bare = Pod { owner: None, ..pod("bare", "old", 1, "a", Scheduling::default()) };
        let done = Pod { phase: Phase::Succeeded, ..pod("done", "old", 1, "a", Scheduling::default()) };
        let ending = Pod { deleting: Some(Stamp(1)), ..pod("ending", "old", 1, "a", Scheduling::default()) };
        assert_eq!(run(vec![node("old", &[])], vec![bare, done, ending], &["old"]), Placement::default());
    }

    proptest! {
        /// In any cluster, no node is overcommitted and no taint, selector or anti-affinity is violated. Each pod is
        /// either placed or reported.
        #[test]
        fn a_placement_keeps_every_rule(
            nodes in prop::collection::vec((500i64..5000, 1i64..6, 0usize..3, any::<bool>(), any::<bool>()), 1..8),
            pods in prop::collection::vec((0usize..8, 0i64..2500, 0usize..3, 0usize..6), 0..24),
        ) {
            let zones = ["a", "b", "c"];
            let made: Vec<Node> = nodes.iter().enumerate().map(|(i, (cpu, slots, zone, tainted, cordoned))| Node {
                allocatable: Resources { cpu_milli: *cpu, memory_bytes: 8 << 30, ephemeral_bytes: 0 },
                allocatable_pods: *slots,
                taints: if *tainted { [taint("k", "v", "NoSchedule")].into() } else { Arc::default() },
                cordoned: *cordoned && i > 0,
                ..node(&format!("n{i}"), &[("zone", zones[*zone])])
            }).collect();
            let wants = |kind: usize| match kind {
                0 => Scheduling { node_selector: [("zone".into(), "a".into())].into(), ..Scheduling::default() },
                1 => Scheduling { tolerations: [Toleration { exists: true, ..Toleration::default() }].into(), ..Scheduling::default() },
                2 => Scheduling { anti_affinity: [term("app2", "kubernetes.io/hostname")].into(), ..Scheduling::default() },
                3 => Scheduling { affinity: [term("app1", "zone")].into(), ..Scheduling::default() },
                4 => Scheduling { spread: [Spread { selector: web("app0"), ..spread("zone") }].into(), ..Scheduling::default() },
                _ => Scheduling::default(),
            };
            let all: Vec<Pod> = pods.iter().enumerate().map(|(i, (at, cpu, app, kind))| {
                pod(&format!("p{i}"), &format!("n{}", at % nodes.len()), *cpu, &format!("app{app}"), wants(*kind))
            }).collect();
            let result = run(made.clone(), all.clone(), &["n0"]);
            let going: Vec<&Pod> = all.iter().filter(|p| p.node.as_deref() == Some("n0")).collect();
            prop_assert_eq!(result.placed.len() + result.unplaced.len(), going.len());
            for n in &made {
                let came: Vec<&Pod> = result.placed.iter().filter(|p| p.node == n.name)
                    .map(|p| all.iter().find(|a| a.name == p.name).unwrap()).collect();
                let stayed: Vec<&Pod> = all.iter().filter(|p| p.node.as_ref() == Some(&n.name) && n.name != "n0").collect();
                if came.is_empty() {
                    continue;
                }
                prop_assert!(n.name != "n0" && !n.cordoned);
                let cpu: i64 = came.iter().chain(&stayed).map(|p| p.requests.cpu_milli).sum();
                let asks = came.iter().any(|p| p.requests.cpu_milli > 0);
                prop_assert!(!asks || cpu <= n.allocatable.cpu_milli || stayed.iter().map(|p| p.requests.cpu_milli).sum::<i64>() > n.allocatable.cpu_milli);
                prop_assert!((came.len() + stayed.len()) as i64 <= n.allocatable_pods);
                for p in &came {
                    let s = &p.shape.scheduling;
                    prop_assert!(s.repelled_by(n).is_none() && s.selects(n) && s.has_affinity_to(n));
                    // No pod here has anti-affinity to this pod, and this pod has none to them.
                    for other in came.iter().chain(&stayed).filter(|o| o.uid != p.uid) {
                        for (a, b) in [(p, other), (other, p)] {
                            prop_assert!(!a.shape.scheduling.anti_affinity.iter().any(|t| t.selects(&a.namespace, &b.namespace, *b)));
                        }
                    }
                }
            }
        }
    }
}
