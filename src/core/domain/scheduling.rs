//! A pod's requirements for its node, and how they are matched: taints, node labels, ports, other pods.
//!
//! Only hard requirements: preferences (`preferred…`, `ScheduleAnyway`, `PreferNoSchedule`) never exclude a node.
//! Semantics: component-helpers' `nodeaffinity` and `corev1/helpers`, kube-scheduler's `interpodaffinity` and
//! `podtopologyspread`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::label::Labels;
use super::node::{Node, Taint};
use super::selector::Selector;

/// The hard requirements of one pod template; most pods of a cluster share a few of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Scheduling {
    pub node_selector: Box<[(Name, Name)]>,
    /// Required node affinity: one of these terms must match. None: no requirement; an empty list matches no node.
    pub node_terms: Option<Box<[NodeTerm]>>,
    pub tolerations: Box<[Toleration]>,
    pub affinity: Box<[PodTerm]>,
    pub anti_affinity: Box<[PodTerm]>,
    /// Topology spread constraints with `DoNotSchedule`.
    pub spread: Box<[Spread]>,
    pub host_ports: Box<[HostPort]>,
    /// Requested resources that Pilothouse does not count (`nvidia.com/gpu`).
    pub extended: Box<[Name]>,
}

/// One term of a node affinity: all of its requirements must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeTerm {
    pub labels: Box<[NodeRequirement]>,
    /// `matchFields`; the API has only `metadata.name`.
    pub fields: Box<[NodeRequirement]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeRequirement {
    pub key: Name,
    pub operator: NodeOperator,
    pub values: Box<[Name]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    /// An unknown operator, which matches nothing.
    Unsupported,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Toleration {
    /// Empty: every key.
    pub key: Name,
    pub value: Name,
    /// `operator: Exists`: every value matches.
    pub exists: bool,
    /// Empty: every effect.
    pub effect: Name,
}

/// A required pod affinity or anti-affinity term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodTerm {
    pub selector: Arc<Selector>,
    pub topology_key: Name,
    pub namespaces: Namespaces,
}

/// The namespaces of the pods that a term selects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Namespaces {
    /// The pod's own namespace.
    #[default]
    Own,
    These(Box<[Name]>),
    All,
    /// Selected by namespace labels, which are not watched. Such a term cannot be evaluated, and a plan says so.
    ByLabels,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Spread {
    pub max_skew: u32,
    pub min_domains: u32,
    pub topology_key: Name,
    pub selector: Arc<Selector>,
    /// `nodeTaintsPolicy: Honor`: nodes whose taints the pod does not tolerate are no domains.
    pub honor_taints: bool,
    /// `nodeAffinityPolicy: Ignore`: nodes that the pod's selector excludes still count as domains.
    pub ignore_affinity: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostPort {
    pub port: u16,
    pub protocol: Name,
    /// Empty: every address.
    pub ip: Name,
}

impl NodeRequirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let among = |v: &str| self.values.iter().any(|held| *held == v);
        let number = |v: &str| v.parse::<i64>().ok();
        let bound = || match &*self.values {
            [one] => number(one),
            _ => None,
        };
        match (self.operator, value) {
            (NodeOperator::In, value) => value.is_some_and(among),
            (NodeOperator::NotIn, value) => !value.is_some_and(among),
            (NodeOperator::Exists, value) => value.is_some(),
            (NodeOperator::DoesNotExist, value) => value.is_none(),
            (NodeOperator::Gt, Some(v)) => number(v).zip(bound()).is_some_and(|(v, b)| v > b),
            (NodeOperator::Lt, Some(v)) => number(v).zip(bound()).is_some_and(|(v, b)| v < b),
            (NodeOperator::Gt | NodeOperator::Lt | NodeOperator::Unsupported, _) => false,
        }
    }
}

impl NodeTerm {
    /// A term without requirements matches nothing, as in the API.
    pub fn matches(&self, node: &Node) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return false;
        }
        self.labels.iter().all(|r| r.holds(node.label(&r.key).map(Name::as_str)))
            && self.fields.iter().all(|r| r.key == "metadata.name" && r.holds(Some(&node.name)))
    }
}

impl Toleration {
    pub fn tolerates(&self, taint: &Taint) -> bool {
        (self.effect.is_empty() || self.effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && (self.exists || self.value == taint.value)
    }
}

impl PodTerm {
    /// Whether the term selects a pod; `owner` is the namespace of the pod that has the term.
    pub fn selects<'a>(&self, owner: &Name, namespace: &Name, labels: impl Into<Labels<'a>>) -> bool {
        let in_scope = match &self.namespaces {
            Namespaces::Own => owner == namespace,
            Namespaces::These(names) => names.contains(namespace),
            Namespaces::All => true,
            Namespaces::ByLabels => false,
        };
        in_scope && self.selector.matches(labels)
    }

    pub fn is_judged(&self) -> bool {
        self.namespaces != Namespaces::ByLabels
    }
}

impl HostPort {
    /// Two pods with these host ports cannot share a node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let any = |ip: &Name| ip.is_empty() || *ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

impl Scheduling {
    /// The first taint that excludes the pod from a node.
    pub fn repelled_by<'a>(&self, node: &'a Node) -> Option<&'a Taint> {
        node.taints.iter().find(|taint| {
            matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
                && !self.tolerations.iter().any(|t| t.tolerates(taint))
        })
    }

    pub fn selects(&self, node: &Node) -> bool {
        self.node_selector.iter().all(|(key, value)| node.label(key) == Some(value))
    }

    pub fn has_affinity_to(&self, node: &Node) -> bool {
        self.node_terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(node)))
    }

    /// True if the placement depends on other pods.
    pub fn looks_at_pods(&self) -> bool {
        !(self.affinity.is_empty() && self.anti_affinity.is_empty() && self.spread.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint { key: key.into(), value: value.into(), effect: effect.into(), added: None }
    }

    /// The cases of "Taints and Tolerations" in the Kubernetes documentation.
    #[test]
    fn tolerations() {
        let equal = |key: &str, value: &str, effect: &str| Toleration {
            key: key.into(),
            value: value.into(),
            exists: false,
            effect: effect.into(),
        };
        let exists = |key: &str, effect: &str| Toleration { exists: true, ..equal(key, "", effect) };
        let t = taint("key1", "value1", "NoSchedule");
        for (toleration, want) in [
            (equal("key1", "value1", "NoSchedule"), true),
            (exists("key1", "NoSchedule"), true),
            (equal("key1", "value2", "NoSchedule"), false),
            (equal("key1", "value1", "NoExecute"), false),
            (equal("key1", "value1", ""), true),
            (exists("", ""), true),
            (exists("", "NoExecute"), false),
            (exists("key2", ""), false),
        ] {
            assert_eq!(toleration.tolerates(&t), want, "{toleration:?}");
        }
        // two of three taints are tolerated, but the third is not, so it repels the pod
        let node = Node {
            taints: [
                taint("key1", "value1", "NoSchedule"),
                taint("key1", "value1", "NoExecute"),
                taint("key2", "value2", "NoSchedule"),
            ]
            .into(),
            ..Node::default()
        };
        let mut pod = Scheduling {
            tolerations: [equal("key1", "value1", "NoSchedule"), equal("key1", "value1", "NoExecute")].into(),
            ..Scheduling::default()
        };
        assert_eq!(pod.repelled_by(&node).unwrap().key, "key2");
        pod.tolerations = [exists("", "")].into();
        assert_eq!(pod.repelled_by(&node), None);
        let soft = Node { taints: [taint("k", "", "PreferNoSchedule")].into(), ..Node::default() };
        assert_eq!(Scheduling::default().repelled_by(&soft), None, "a preference");
    }

    fn requirement(key: &str, operator: NodeOperator, values: &[&str]) -> NodeRequirement {
        NodeRequirement { key: key.into(), operator, values: values.iter().map(|v| Name::from(*v)).collect() }
    }

    #[test]
    fn node_affinity() {
        use NodeOperator::{DoesNotExist, Exists, Gt, In, Lt, NotIn, Unsupported};
        let node = Node {
            name: "n1".into(),
            labels: [("zone".into(), "antarctica-east1".into()), ("cores".into(), "16".into())].into(),
            ..Node::default()
        };
        for (key, operator, values, want) in [
            ("zone", In, &["antarctica-east1", "antarctica-west1"][..], true),
            ("zone", In, &["elsewhere"], false),
            ("zone", NotIn, &["antarctica-east1"], false),
            ("disk", NotIn, &["ssd"], true),
            ("zone", Exists, &[], true),
            ("disk", Exists, &[], false),
            ("disk", DoesNotExist, &[], true),
            ("cores", Gt, &["8"], true),
            ("cores", Gt, &["16"], false),
            ("cores", Lt, &["17"], true),
            ("zone", Gt, &["1"], false),
            ("disk", Lt, &["1"], false),
            ("cores", Gt, &["1", "2"], false),
            ("zone", Unsupported, &[], false),
        ] {
            let term =
                NodeTerm { labels: [requirement(key, operator, values)].into(), ..NodeTerm::default() };
            assert_eq!(term.matches(&node), want, "{key} {operator:?} {values:?}");
        }
        assert!(!NodeTerm::default().matches(&node), "a term that asks nothing holds nowhere");
        let of =
            |terms: Vec<NodeTerm>| Scheduling { node_terms: Some(terms.into()), ..Scheduling::default() };
        let named = |name: &str| NodeTerm {
            fields: [requirement("metadata.name", In, &[name])].into(),
            ..NodeTerm::default()
        };
        assert!(of(vec![named("n2"), named("n1")]).has_affinity_to(&node), "alternatives");
        assert!(!of(vec![named("n2")]).has_affinity_to(&node));
        assert!(!of(vec![]).has_affinity_to(&node));
        assert!(Scheduling::default().has_affinity_to(&node));
    }

    #[test]
    fn a_term_looks_at_its_namespaces() {
        let labels = [("app".into(), "a".into())];
        let (own, other) = (Name::from("shop"), Name::from("data"));
        let term = |namespaces| PodTerm {
            selector: Arc::new(Selector::from_labels(labels.clone())),
            topology_key: "zone".into(),
            namespaces,
        };
        for (namespaces, here, there) in [
            (Namespaces::Own, true, false),
            (Namespaces::These([other.clone()].into()), false, true),
            (Namespaces::All, true, true),
            (Namespaces::ByLabels, false, false),
        ] {
            let term = term(namespaces);
            assert_eq!(
                (term.selects(&own, &own, &labels), term.selects(&own, &other, &labels)),
                (here, there)
            );
            assert!(!term.selects(&own, &own, &[]));
        }
    }

    #[test]
    fn host_ports_conflict_by_address() {
        let port =
            |port, protocol: &str, ip: &str| HostPort { port, protocol: protocol.into(), ip: ip.into() };
        assert!(port(80, "TCP", "").conflicts(&port(80, "TCP", "10.0.0.1")));
        assert!(port(80, "TCP", "0.0.0.0").conflicts(&port(80, "TCP", "10.0.0.1")));
        assert!(!port(80, "TCP", "10.0.0.2").conflicts(&port(80, "TCP", "10.0.0.1")));
        assert!(!port(80, "UDP", "").conflicts(&port(80, "TCP", "")));
        assert!(!port(81, "TCP", "").conflicts(&port(80, "TCP", "")));
    }
}
