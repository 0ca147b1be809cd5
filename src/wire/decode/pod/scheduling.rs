//! A pod's scheduling requirements, without the values that differ between the pods of one owner.

use std::sync::Arc;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::scheduling::{
    HostPort, Namespaces, NodeOperator, NodeRequirement, NodeTerm, PodTerm, Scheduling, Spread, Toleration,
};
use pilothouse_core::domain::selector::Selector;
use serde::Deserialize;

use super::super::{ExpressionDoc, Meta, Pools, SelectorDoc, Text, group_of, kind_of};
use super::{ContainerDoc, PodSpec, is_own};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AffinityDoc<'a> {
    #[serde(borrow)]
    node_affinity: Option<NodeAffinity<'a>>,
    #[serde(borrow)]
    pod_affinity: Option<PodAffinity<'a>>,
    #[serde(borrow)]
    pod_anti_affinity: Option<PodAffinity<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeAffinity<'a> {
    #[serde(borrow, rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<NodeTerms<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeTerms<'a> {
    #[serde(borrow)]
    node_selector_terms: Option<Vec<NodeTermDoc<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeTermDoc<'a> {
    #[serde(borrow)]
    match_expressions: Option<Vec<ExpressionDoc<'a>>>,
    #[serde(borrow)]
    match_fields: Option<Vec<ExpressionDoc<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodAffinity<'a> {
    #[serde(borrow, rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<Vec<PodTermDoc<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodTermDoc<'a> {
    #[serde(borrow)]
    label_selector: Option<SelectorDoc<'a>>,
    #[serde(borrow)]
    topology_key: Text<'a>,
    #[serde(borrow)]
    namespaces: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    namespace_selector: Option<SelectorDoc<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TolerationDoc<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow)]
    operator: Text<'a>,
    #[serde(borrow)]
    value: Text<'a>,
    #[serde(borrow)]
    effect: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SpreadDoc<'a> {
    max_skew: Option<i64>,
    min_domains: Option<i64>,
    #[serde(borrow)]
    topology_key: Text<'a>,
    #[serde(borrow)]
    when_unsatisfiable: Text<'a>,
    #[serde(borrow)]
    label_selector: Option<SelectorDoc<'a>>,
    #[serde(borrow)]
    match_label_keys: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    node_affinity_policy: Text<'a>,
    #[serde(borrow)]
    node_taints_policy: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Port<'a> {
    #[serde(rename = "hostPort")]
    host_port: Option<i64>,
    #[serde(borrow, rename = "hostIP")]
    host_ip: Text<'a>,
    #[serde(borrow)]
    protocol: Text<'a>,
}

pub(super) fn scheduling(pools: &mut Pools, meta: &Meta<'_>, spec: &PodSpec<'_>) -> Arc<Scheduling> {
    let affinity = spec.affinity.as_ref();
    let terms = |of: Option<&PodAffinity<'_>>, pools: &mut Pools| {
        of.and_then(|a| a.required.as_ref()).into_iter().flatten().map(|t| pod_term(pools, t)).collect()
    };
    let value = Scheduling {
        node_selector: pools.pairs(&spec.node_selector).into(),
        node_terms: affinity
            .and_then(|a| a.node_affinity.as_ref())
            .and_then(|a| a.required.as_ref())
            .and_then(|required| node_terms(pools, required, is_daemon(meta))),
        tolerations: spec.tolerations.iter().flatten().filter_map(|t| toleration(pools, t)).collect(),
        affinity: terms(affinity.and_then(|a| a.pod_affinity.as_ref()), pools),
        anti_affinity: terms(affinity.and_then(|a| a.pod_anti_affinity.as_ref()), pools),
        spread: spec
            .topology_spread_constraints
            .iter()
            .flatten()
            .filter(|s| &*s.when_unsatisfiable != "ScheduleAnyway")
            .map(|s| spread(pools, meta, s))
            .collect(),
        host_ports: host_ports(pools, spec),
        extended: extended(pools, spec),
    };
    pools.scheduling.get(value)
}

fn is_daemon(meta: &Meta<'_>) -> bool {
    meta.owner_references
        .iter()
        .flatten()
        .filter(|o| o.controller == Some(true))
        .any(|o| kind_of(&o.kind, group_of(&o.api_version)) == Kind::DaemonSet)
}

/// A DaemonSet's controller pins each pod to a node by the node's name. That is left out, so that the pods share one
/// shape.
fn node_terms(pools: &mut Pools, required: &NodeTerms<'_>, daemon: bool) -> Option<Box<[NodeTerm]>> {
    let mut requirements = |list: Option<&Vec<ExpressionDoc<'_>>>| -> Box<[NodeRequirement]> {
        list.into_iter().flatten().map(|e| requirement(pools, e)).collect()
    };
    let mut terms: Vec<NodeTerm> = Vec::new();
    for term in required.node_selector_terms.iter().flatten() {
        let fields = term.match_fields.as_ref();
        let unlabelled = term.match_expressions.as_ref().is_none_or(Vec::is_empty);
        if daemon && unlabelled && fields.is_some_and(|f| !f.is_empty()) {
            return None;
        }
        terms.push(NodeTerm {
            labels: requirements(term.match_expressions.as_ref()),
            fields: requirements(fields.filter(|_| !daemon)),
        });
    }
    Some(terms.into())
}

fn requirement(pools: &mut Pools, doc: &ExpressionDoc<'_>) -> NodeRequirement {
    NodeRequirement {
        key: pools.name(&doc.key),
        operator: match &*doc.operator {
            "In" => NodeOperator::In,
            "NotIn" => NodeOperator::NotIn,
            "Exists" => NodeOperator::Exists,
            "DoesNotExist" => NodeOperator::DoesNotExist,
            "Gt" => NodeOperator::Gt,
            "Lt" => NodeOperator::Lt,
            _ => NodeOperator::Unsupported,
        },
        values: doc.values.iter().flatten().map(|v| pools.name(v)).collect(),
    }
}

/// None for an unknown operator: such a toleration tolerates nothing.
fn toleration(pools: &mut Pools, doc: &TolerationDoc<'_>) -> Option<Toleration> {
    let exists = match &*doc.operator {
        "" | "Equal" => false,
        "Exists" => true,
        _ => return None,
    };
    let value = if exists { Name::default() } else { pools.name(&doc.value) };
    Some(Toleration { key: pools.name(&doc.key), value, exists, effect: pools.name(&doc.effect) })
}

fn pod_term(pools: &mut Pools, doc: &PodTermDoc<'_>) -> PodTerm {
    let listed: Box<[Name]> = doc.namespaces.iter().flatten().map(|n| pools.name(n)).collect();
    let by_labels = doc.namespace_selector.as_ref().map(|s| {
        // an empty namespace selector selects all namespaces
        s.match_labels.0.is_empty() && s.match_expressions.as_ref().is_none_or(Vec::is_empty)
    });
    PodTerm {
        selector: pools.selector(doc.label_selector.as_ref()),
        topology_key: pools.name(&doc.topology_key),
        namespaces: match (by_labels, listed.is_empty()) {
            (Some(true), _) => Namespaces::All,
            (Some(false), _) => Namespaces::ByLabels,
            (None, true) => Namespaces::Own,
            (None, false) => Namespaces::These(listed),
        },
    }
}

fn spread(pools: &mut Pools, meta: &Meta<'_>, doc: &SpreadDoc<'_>) -> Spread {
    let mut selector = pools.selector(doc.label_selector.as_ref());
    // `matchLabelKeys` narrows the selector to pods with this pod's own values
    let own: Vec<(Name, Name)> = doc
        .match_label_keys
        .iter()
        .flatten()
        .filter(|key| !is_own(key))
        .filter_map(|key| Some((pools.name(key), pools.name(meta.labels.get(key)?))))
        .collect();
    if !own.is_empty() && !selector.nothing {
        let labels = selector.labels.iter().cloned().chain(own).collect();
        selector = pools.share_selector(Selector { labels, ..(*selector).clone() });
    }
    let count = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
    Spread {
        max_skew: count(doc.max_skew),
        min_domains: count(doc.min_domains),
        topology_key: pools.name(&doc.topology_key),
        selector,
        honor_taints: &*doc.node_taints_policy == "Honor",
        ignore_affinity: &*doc.node_affinity_policy == "Ignore",
    }
}

pub(super) fn main_and_sidecars<'d, 'a>(spec: &'d PodSpec<'a>) -> impl Iterator<Item = &'d ContainerDoc<'a>> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.sidecar());
    spec.containers.iter().flatten().chain(sidecars)
}

fn host_ports(pools: &mut Pools, spec: &PodSpec<'_>) -> Box<[HostPort]> {
    main_and_sidecars(spec)
        .flat_map(|c| c.ports.iter().flatten())
        .filter_map(|p| {
            let port = u16::try_from(p.host_port?).ok().filter(|port| *port > 0)?;
            let protocol = if p.protocol.is_empty() { "TCP" } else { &*p.protocol };
            Some(HostPort { port, protocol: pools.name(protocol), ip: pools.name(&p.host_ip) })
        })
        .collect()
}

fn extended(pools: &mut Pools, spec: &PodSpec<'_>) -> Box<[Name]> {
    let containers = spec.containers.iter().flatten().chain(spec.init_containers.iter().flatten());
    let mut names: Vec<Name> = containers
        .filter_map(|c| c.resources.as_ref())
        .flat_map(|r| r.requests.0.iter())
        .filter(|(key, _)| !matches!(&**key, "cpu" | "memory" | "ephemeral-storage"))
        .map(|(key, _)| pools.name(key))
        .collect();
    names.sort();
    names.dedup();
    names.into()
}
