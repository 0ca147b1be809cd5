//! Joins alerts with the objects that their labels name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::domain::alert::{Alert, AlertRow, AlertsSeen};
use crate::domain::id::{ClusterId, Kind, Name, ObjectRef, Owner, Uid};
use crate::domain::workload::Workload;
use crate::facts::reduce::{Dirty, Facts, Parts};
use crate::facts::table::Rows;
use crate::policy::alerts::{Named, NamedBy, WORKLOADS, named};

use super::Derivation;

/// The objects of the cluster that the alerts name. Only these are collected: in a large cluster, they are few.
struct Known<'f> {
    cluster: ClusterId,
    found: HashMap<(Kind, Name, Name), Found>,
    /// The names of the nodes by their addresses.
    addresses: HashMap<Name, Name>,
    owners: &'f HashMap<Uid, Arc<Owner>>,
}

/// What an object belongs to: kind, name and UID. The UID is empty if it is not known.
type Belongs = (Kind, Name, Uid);

/// An object, and what it belongs to.
#[derive(Clone)]
struct Found {
    uid: Uid,
    owner: Option<Belongs>,
    /// The node of a pod.
    node: Option<Name>,
}

impl Derivation {
    /// Joins the alerts again if they have changed, and if a table has become complete. Returns true if a row has changed.
    pub(super) fn refresh_alerts(&mut self, facts: &Facts, dirty: &Dirty) -> bool {
        let is_new = dirty.parts.meets(Parts::ALERTS);
        if !is_new && (!dirty.cover || facts.alerts.alerts.is_empty()) {
            return false;
        }
        let rows = join(facts, &self.replicaset_owner, self.cluster);
        let same =
            rows.len() == self.alerts.len() && rows.iter().zip(self.alerts.iter()).all(|(a, b)| *a == **b);
        if !same {
            self.alerts = rows.into_iter().map(Arc::new).collect();
        }
        !same
    }
}

fn join(facts: &Facts, owners: &HashMap<Uid, Arc<Owner>>, cluster: ClusterId) -> Vec<AlertRow> {
    let AlertsSeen { alerts, .. } = &*facts.alerts;
    let named: Vec<NamedBy> = alerts.iter().map(|alert| named(alert)).collect();
    let known = Known::new(facts, &named, owners, cluster);
    alerts.iter().zip(&named).map(|(alert, by)| known.row(alert, by)).collect()
}

impl<'f> Known<'f> {
    fn new(
        facts: &Facts,
        named: &[NamedBy],
        owners: &'f HashMap<Uid, Arc<Owner>>,
        cluster: ClusterId,
    ) -> Self {
        let mut wanted: HashMap<Kind, HashSet<(Name, Name)>> = HashMap::new();
        for one in named.iter().flat_map(|by| by.objects.iter().chain(&by.exporter)) {
            let kinds = if one.kinds.is_empty() { WORKLOADS.as_slice() } else { &one.kinds };
            for kind in kinds {
                wanted.entry(kind.clone()).or_default().insert((one.namespace.clone(), one.name.clone()));
            }
        }
        let mut known = Self { cluster, found: HashMap::new(), addresses: HashMap::new(), owners };
        if named.iter().any(|by| !by.nodes.is_empty() || by.exporter.is_some()) {
            for node in facts.nodes.table().iter() {
                known.add(&Kind::Node, &Name::default(), &node.name, &node.uid, None, None);
                known.addresses.extend(node.internal_ip.clone().map(|address| (address, node.name.clone())));
            }
        }
        for (kind, wanted) in &wanted {
            known.collect(facts, kind, wanted);
        }
        known
    }

    /// Collects the wanted objects of a kind.
    fn collect(&mut self, facts: &Facts, kind: &Kind, wanted: &HashSet<(Name, Name)>) {
        macro_rules! plain {
            ($table:ident) => {
                for row in facts.$table.table().iter() {
                    if wanted.contains(&(row.namespace.clone(), row.name.clone())) {
                        self.add(kind, &row.namespace, &row.name, &row.uid, None, None);
                    }
                }
            };
        }
        match kind {
            Kind::Pod => {
                for pod in facts.pods.table().iter() {
                    if wanted.contains(&(pod.namespace.clone(), pod.name.clone())) {
                        let owner = pod.owner.as_deref().map(|owner| self.top(owner));
                        self.add(kind, &pod.namespace, &pod.name, &pod.uid, owner, pod.node.clone());
                    }
                }
            }
            Kind::HorizontalPodAutoscaler => {
                for hpa in facts.hpas.table().iter() {
                    if wanted.contains(&(hpa.namespace.clone(), hpa.name.clone())) {
                        let target = Some((hpa.target_kind.clone(), hpa.target_name.clone(), Uid::default()));
                        self.add(kind, &hpa.namespace, &hpa.name, &hpa.uid, target, None);
                    }
                }
            }
            Kind::Deployment => self.workloads(&facts.deployments, kind, wanted),
            Kind::StatefulSet => self.workloads(&facts.statefulsets, kind, wanted),
            Kind::DaemonSet => self.workloads(&facts.daemonsets, kind, wanted),
            Kind::ReplicaSet => self.workloads(&facts.replicasets, kind, wanted),
            Kind::Job => self.workloads(&facts.jobs, kind, wanted),
            Kind::CronJob => plain!(cronjobs),
            Kind::Service => plain!(services),
            Kind::Ingress => plain!(ingresses),
            Kind::PersistentVolumeClaim => plain!(claims),
            Kind::PodDisruptionBudget => plain!(pdbs),
            _ => {}
        }
    }

    fn workloads(&mut self, rows: &Rows<Workload>, kind: &Kind, wanted: &HashSet<(Name, Name)>) {
        for row in rows.table().iter() {
            if wanted.contains(&(row.namespace.clone(), row.name.clone())) {
                let owner = row.owner.as_deref().map(belongs);
                self.add(kind, &row.namespace, &row.name, &row.uid, owner, None);
            }
        }
    }

    fn add(
        &mut self,
        kind: &Kind,
        namespace: &Name,
        name: &Name,
        uid: &Uid,
        owner: Option<Belongs>,
        node: Option<Name>,
    ) {
        let key = (kind.clone(), namespace.clone(), name.clone());
        self.found.insert(key, Found { uid: uid.clone(), owner, node });
    }

    /// The workload at the top of the owners.
    fn top(&self, owner: &Owner) -> Belongs {
        belongs(self.owners.get(&owner.uid).map_or(owner, AsRef::as_ref))
    }

    fn find(&self, kind: &Kind, namespace: &Name, name: &Name) -> Option<&Found> {
        self.found.get(&(kind.clone(), namespace.clone(), name.clone()))
    }

    fn row(&self, alert: &Arc<Alert>, by: &NamedBy) -> AlertRow {
        let mut objects: Vec<ObjectRef> = Vec::new();
        for one in &by.objects {
            self.resolve(one, &mut objects);
        }
        if objects.is_empty() {
            for one in &by.nodes {
                self.resolve(one, &mut objects);
            }
        }
        let host = || {
            let pod = by.exporter.as_ref()?;
            self.find(&Kind::Pod, &pod.namespace, &pod.name)?.node.clone()
        };
        if objects.is_empty()
            && let Some(node) = host()
        {
            self.push((Kind::Node, node, Uid::default()), Name::default(), &mut objects);
        }
        if objects.is_empty() && !by.namespace.is_empty() && !by.is_exported {
            self.push((Kind::Namespace, by.namespace.clone(), Uid::default()), Name::default(), &mut objects);
        }
        let namespace = objects.first().map_or(&by.namespace, |object| match object.kind {
            Kind::Namespace => &object.name,
            _ => &object.namespace,
        });
        AlertRow { alert: alert.clone(), namespace: namespace.clone(), objects: objects.into() }
    }

    fn resolve(&self, one: &Named, objects: &mut Vec<ObjectRef>) {
        let kinds = if one.kinds.is_empty() { WORKLOADS.as_slice() } else { &one.kinds };
        let address = self.addresses.get(&one.name).filter(|_| kinds == [Kind::Node] && !one.sure);
        let name = address.unwrap_or(&one.name);
        let found = kinds.iter().find_map(|kind| Some((kind, self.find(kind, &one.namespace, name)?)));
        match (found, kinds) {
            (Some((kind, found)), _) => {
                self.push((kind.clone(), name.clone(), found.uid.clone()), one.namespace.clone(), objects);
                let mut owner = found.owner.clone();
                // a chain of owners is short, and it ends at an object that is there already
                while let Some(next) = owner {
                    owner = self.find(&next.0, &one.namespace, &next.1).and_then(|found| found.owner.clone());
                    if !self.push(next, one.namespace.clone(), objects) {
                        break;
                    }
                }
            }
            // it is gone, or it is not read yet
            (None, [kind]) if one.sure => {
                self.push((kind.clone(), one.name.clone(), Uid::default()), one.namespace.clone(), objects);
            }
            _ => {}
        }
    }

    /// Adds an object, unless it is there already. Returns true if it was added.
    fn push(&self, (kind, name, uid): Belongs, namespace: Name, objects: &mut Vec<ObjectRef>) -> bool {
        let found = || self.find(&kind, &namespace, &name).map(|found| found.uid.clone());
        let uid = if uid == Uid::default() { found().unwrap_or_default() } else { uid };
        let object = ObjectRef { cluster: self.cluster, kind, namespace, name, uid };
        let same = |own: &ObjectRef| {
            own.kind == object.kind && own.namespace == object.namespace && own.name == object.name
        };
        let is_new = !objects.iter().any(same);
        if is_new {
            objects.push(object);
        }
        is_new
    }
}

fn belongs(owner: &Owner) -> Belongs {
    (owner.kind.clone(), owner.name.clone(), owner.uid.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Version;
    use crate::domain::node::Node;
    use crate::domain::pod::Pod;
    use crate::domain::service::Service;
    use crate::domain::time::Stamp;
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::state::ClusterState;

    fn alert(fingerprint: &str, labels: &str) -> Arc<Alert> {
        let mut pairs: Vec<(Name, Name)> = labels
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        pairs.sort();
        Arc::new(Alert { fingerprint: fingerprint.into(), labels: pairs.into(), ..Alert::default() })
    }

    fn seen(labels: &[&str]) -> Fact {
        let alerts = labels.iter().enumerate().map(|(i, labels)| alert(&format!("{i:02}"), labels));
        let alerts: Arc<[Arc<Alert>]> = alerts.collect();
        let total = u32::try_from(alerts.len()).unwrap();
        Fact::Alerts(AlertsSeen { source: "alertmanager".into(), alerts, total, ..AlertsSeen::default() })
    }

    #[test]
    fn an_alert_is_joined_with_its_object_and_what_that_belongs_to() {
        let mut state = ClusterState::new(ClusterInfo::default());
        let node = Node {
            uid: Uid::parse("n"),
            name: "n1".into(),
            internal_ip: Some("10.0.0.7".into()),
            ..Node::default()
        };
        let owner = |kind: Kind, name: &str, uid: &str| {
            let (name, group) = (name.into(), "apps".into());
            Some(Arc::new(Owner { kind, name, uid: Uid::parse(uid), group }))
        };
        let pod = Pod {
            uid: Uid::parse("p"),
            namespace: "shop".into(),
            name: "web-7c-1".into(),
            node: Some("n1".into()),
            owner: owner(Kind::ReplicaSet, "web-7c", "rs"),
            ..Pod::default()
        };
        let service = Service {
            uid: Uid::parse("s"),
            namespace: "shop".into(),
            name: "web".into(),
            ..Service::default()
        };
        let workload = |kind: Kind, uid: &str, name: &str, owner| Workload {
            uid: Uid::parse(uid),
            namespace: "shop".into(),
            name: name.into(),
            owner,
            kind,
            ..Workload::default()
        };
        let at = Stamp(0);
        state.apply(Fact::Nodes(Batch::Upsert(vec![node])), at);
        state.apply(Fact::Services(Batch::Upsert(vec![service])), at);
        let set = workload(Kind::ReplicaSet, "rs", "web-7c", owner(Kind::Deployment, "web", "d"));
        state.apply(Fact::Deployments(Batch::Upsert(vec![workload(Kind::Deployment, "d", "web", None)])), at);
        state.apply(Fact::ReplicaSets(Batch::Upsert(vec![set])), at);
        let labels = [
            "pod=web-7c-1 namespace=shop",
            "deployment=web namespace=shop pod=ksm-kube-state-metrics-0",
            "instance=10.0.0.7:9100 job=node-exporter",
            "service=web namespace=shop",
            "service=gone namespace=shop",
            "deployment=gone namespace=shop",
            "node=n1",
            "alertname=Watchdog",
        ];
        state.apply(seen(&labels), at);
        let told = |state: &mut ClusterState| {
            let cluster = state.publish(at, false).unwrap_or_else(|| state.published().clone());
            let words = |row: &Arc<AlertRow>| {
                let known = |o: &ObjectRef| if o.uid == Uid::default() { "?" } else { "" };
                let all: Vec<String> = row.objects.iter().map(|o| format!("{o}{}", known(o))).collect();
                all.join(" ")
            };
            cluster.derived.alerts.iter().map(words).collect::<Vec<_>>()
        };
        let want = |pod: &'static str| {
            [
                pod,
                "shop/deploy/web",
                "node/n1",
                "shop/svc/web",
                "ns/shop?",
                "shop/deploy/gone?",
                "node/n1",
                "",
            ]
        };
        assert_eq!(told(&mut state), want("shop/pod/web-7c-1?"), "its pods are not read yet");
        state.apply(Fact::Pods(Batch::Begin { generation: 1 }), at);
        state.apply(Fact::Pods(Batch::Upsert(vec![pod])), at);
        state.apply(Fact::Pods(Batch::End { generation: 1, version: Version(1) }), at);
        assert_eq!(
            told(&mut state),
            want("shop/pod/web-7c-1 shop/deploy/web"),
            "found as soon as the pods are read"
        );
        state.apply(seen(&labels[..1]), at);
        let cluster = state.publish(at, false).unwrap();
        let web =
            ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &"web".into(), &Uid::parse("d"));
        assert_eq!(cluster.alerts_about(&web).count(), 1, "and back from the workload");
    }
}
