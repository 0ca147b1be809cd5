//! Nodes and their leases.

use std::collections::HashMap;
use std::time::Duration;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::node::{Node, NodeLease, Taint};
use pilothouse_core::domain::quantity;
use pilothouse_core::domain::time::Stamp;
use serde::Deserialize;

use super::{ConditionDoc, Decode, Decoder, Labels, Meta, Pools, Text, pooled, read, resources, single};
use crate::clock::Clock;
use crate::wire::list_watch::DecodeError;

/// Labels that name a node's pool, the most specific first.
const POOLS: [&str; 10] = [
    "karpenter.sh/nodepool",
    "eks.amazonaws.com/nodegroup",
    "alpha.eksctl.io/nodegroup-name",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
    "agentpool",
    "doks.digitalocean.com/node-pool",
    "kops.k8s.io/instancegroup",
    "node.cluster.x-k8s.io/pool",
    "node-pool",
];
const ZONES: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<NodeSpec<'a>>,
    #[serde(borrow)]
    status: Option<NodeStatus<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeSpec<'a> {
    unschedulable: Option<bool>,
    #[serde(borrow)]
    taints: Option<Vec<TaintDoc<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TaintDoc<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow)]
    value: Text<'a>,
    #[serde(borrow)]
    effect: Text<'a>,
    #[serde(borrow)]
    time_added: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeStatus<'a> {
    #[serde(borrow)]
    allocatable: Labels<'a>,
    #[serde(borrow)]
    capacity: Labels<'a>,
    #[serde(borrow)]
    conditions: Option<Vec<ConditionDoc<'a>>>,
    #[serde(borrow)]
    addresses: Option<Vec<Address<'a>>>,
    #[serde(borrow)]
    node_info: Option<Info<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Address<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    address: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Info<'a> {
    #[serde(borrow, rename = "kubeletVersion")]
    kubelet: Text<'a>,
    #[serde(borrow, rename = "bootID")]
    boot_id: Text<'a>,
}

impl Decode for Node {
    fn decoder(_: &Kind, _: &Clock) -> Decoder<Self> {
        pooled(node)
    }
}

/// A node from its JSON.
pub fn node(pools: &mut Pools, json: &[u8]) -> Result<Node, DecodeError> {
    let doc: NodeDoc<'_> = read(json)?;
    let meta = &doc.metadata;
    meta.check("node")?;
    let spec = doc.spec.unwrap_or_default();
    let status = doc.status.unwrap_or_default();
    let labelled =
        |keys: &[&str]| keys.iter().find_map(|k| meta.labels.get(k)).unwrap_or_default().to_owned();
    let info = status.node_info.unwrap_or_default();
    Ok(Node {
        uid: meta.uid(),
        version: meta.version(),
        name: single(&meta.name),
        created: meta.created(),
        zone: pools.some(&labelled(&ZONES)),
        pool: pools.some(&labelled(&POOLS)),
        labels: pools.pairs(&meta.labels).into(),
        cordoned: spec.unschedulable.unwrap_or(false),
        changed: pools.changed(meta, &["\"f:unschedulable\""]),
        taints: spec
            .taints
            .iter()
            .flatten()
            .map(|t| Taint {
                key: pools.name(&t.key),
                value: pools.name(&t.value),
                effect: pools.name(&t.effect),
                added: t.time_added.stamp(),
            })
            .collect(),
        conditions: pools.conditions(status.conditions.as_deref().unwrap_or_default()),
        allocatable: resources(&status.allocatable),
        allocatable_pods: status.allocatable.get("pods").and_then(quantity::whole).unwrap_or(0),
        capacity: resources(&status.capacity),
        kubelet: pools.name(&info.kubelet),
        internal_ip: status
            .addresses
            .iter()
            .flatten()
            .find(|a| &*a.kind == "InternalIP")
            .map(|a| single(&a.address)),
        boot_id: (!info.boot_id.is_empty()).then(|| single(&info.boot_id)),
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LeaseDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<LeaseSpec<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaseSpec<'a> {
    #[serde(borrow)]
    holder_identity: Text<'a>,
    lease_duration_seconds: Option<u32>,
    #[serde(borrow)]
    renew_time: Text<'a>,
}

impl Decode for NodeLease {
    /// 5,000 nodes renew 500 times a second.
    const POLL_ABOVE: Option<(u64, Duration)> = Some((500, Duration::from_millis(17_500)));

    fn decoder(_: &Kind, clock: &Clock) -> Decoder<Self> {
        let (mut beats, clock) = (Heartbeats::default(), clock.clone());
        Box::new(move |json| beats.lease(json, clock.now()).map(Some))
    }
}

/// The time, by our own clock, at which each node's Lease was last seen to be renewed.
#[derive(Debug, Default)]
pub struct Heartbeats {
    seen: HashMap<Name, (Option<Stamp>, Stamp)>,
}

impl Heartbeats {
    /// A lease from its JSON, read at `now`.
    pub fn lease(&mut self, json: &[u8], now: Stamp) -> Result<NodeLease, DecodeError> {
        let doc: LeaseDoc<'_> = read(json)?;
        let meta = &doc.metadata;
        meta.check("lease")?;
        let spec = doc.spec.unwrap_or_default();
        let renewed = spec.renew_time.stamp();
        let node = match self.seen.get_key_value(&*meta.name) {
            Some((name, _)) => name.clone(),
            None => single(&meta.name),
        };
        // forget the leases of deleted nodes; the largest published clusters have 5,000 nodes
        if self.seen.len() > 20_000 {
            self.seen.clear();
        }
        let held = self.seen.entry(node.clone()).or_insert((renewed, now));
        if held.0 != renewed {
            *held = (renewed, now);
        }
        Ok(NodeLease {
            uid: meta.uid(),
            version: meta.version(),
            node,
            renewed,
            duration_secs: spec.lease_duration_seconds.unwrap_or(40),
            holder: single(&spec.holder_identity),
            seen_at: held.1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_what_is_shown() {
        let json = br#"{"metadata":{"name":"n1","uid":"u","resourceVersion":"7","labels":{"topology.kubernetes.io/zone":"z","agentpool":"p"},
            "managedFields":[{"manager":"kubelet","time":"2026-01-02T00:00:00Z","fieldsV1":{"f:status":{}}},{"manager":"kubectl-cordon","time":"2026-01-01T00:00:00Z","fieldsV1":{"f:spec":{"f:unschedulable":{}}}}]},
            "spec":{"unschedulable":true,"taints":[{"key":"k","effect":"NoSchedule"}]},
            "status":{"allocatable":{"cpu":"7910m","memory":"30Gi","pods":"110"},"addresses":[{"type":"InternalIP","address":"10.0.0.1"}],
            "conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z","x":[1]}],"nodeInfo":{"kubeletVersion":"v1","bootID":"b"}}}"#;
        let node = node(&mut Pools::default(), json).unwrap();
        assert!(node.cordoned && node.zone.as_deref() == Some("z") && node.pool.as_deref() == Some("p"));
        assert_eq!(node.changed.unwrap().manager, "kubectl-cordon");
        assert_eq!((node.allocatable.cpu_milli, node.allocatable_pods), (7910, 110));
        assert_eq!(node.internal_ip.as_deref(), Some("10.0.0.1"));
        assert_eq!(node.taints.len() + node.conditions.len(), 2);
    }

    #[test]
    fn nulls_and_absence_never_fail_but_a_missing_uid_does() {
        for json in [
            r#"{"metadata":{"name":"n","uid":"u"}}"#,
            r#"{"metadata":{"name":"n","uid":"u","labels":null,"managedFields":null},"spec":null,"status":{"conditions":null,"allocatable":null,"nodeInfo":null}}"#,
        ] {
            assert!(node(&mut Pools::default(), json.as_bytes()).is_ok(), "{json}");
        }
        assert!(node(&mut Pools::default(), br#"{"metadata":{"name":"n"}}"#).is_err());
    }

    #[test]
    fn liveness_is_by_our_clock() {
        let mut beats = Heartbeats::default();
        let lease = |renew: &str| {
            format!(
                r#"{{"metadata":{{"name":"n","uid":"u"}},"spec":{{"renewTime":"{renew}","leaseDurationSeconds":40}}}}"#
            )
        };
        let first = lease("2020-01-01T00:00:00.000000Z");
        assert_eq!(beats.lease(first.as_bytes(), Stamp(1000)).unwrap().seen_at, Stamp(1000));
        assert_eq!(beats.lease(first.as_bytes(), Stamp(9000)).unwrap().seen_at, Stamp(1000), "not renewed");
        let second = lease("2020-01-01T00:00:10.000000Z");
        assert_eq!(beats.lease(second.as_bytes(), Stamp(9000)).unwrap().seen_at, Stamp(9000));
    }
}
