//! Fetches the targets of a headless action with a few requests instead of watching the cluster: the objects
//! themselves, and for a drain the pods of its nodes, the budgets, and the Services in the pods' namespaces. This
//! needs no permission that kubectl does not need. Data that cannot be read is missing from the plan, and the plan
//! says so.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use pilothouse_core::domain::failover::FailoverKind;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid, Version};
use pilothouse_core::domain::node::Node;
use pilothouse_core::domain::plan::{Act, Intent};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::facts::event::{Batch, Fact};
use pilothouse_core::facts::world::{Cluster, ClusterInfo};
use pilothouse_core::policy::pick::nodes_of;
use pilothouse_core::state::ClusterState;

use crate::wire::client::ReadClient;
use crate::wire::decode::{self, Pools};
use crate::wire::error::ApiError;
use crate::wire::list_watch::DecodeError;
use crate::wire::pages;

use super::list_path::ListPath;
use super::live_object::{get, is_workload, path};

/// The reason why an object could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{what}: {error}")]
    Read { what: String, error: ApiError },
    #[error("{what}: {error}")]
    Decode { what: String, error: DecodeError },
}

/// The fetched objects, and the intent with UIDs.
#[derive(Debug)]
pub struct TargetSnapshot {
    pub cluster: Arc<Cluster>,
    pub intent: Intent,
}

/// Fetches the objects that `act` on `targets` (by kind, namespace and name) needs.
pub async fn fetch(
    reader: &ReadClient,
    info: ClusterInfo,
    act: Act,
    targets: &[ObjectRef],
    now: Stamp,
) -> Result<TargetSnapshot, FetchError> {
    // each object is read only once here, so a temporary failure must not end the action before it begins
    let reader = &reader.patient();
    let mut state = ClusterState::new(info);
    let mut pools = Pools::default();
    let mut pinned = Vec::new();
    // these targets are recorded already, and the rehearsal reads them
    let given = matches!(act, Act::Undo(_) | Act::Resume(_) | Act::Failover { .. });
    if given {
        pinned = targets.to_vec();
    }
    for target in targets.iter().filter(|_| !given) {
        let what = || target.to_string();
        let path = path(target).ok_or_else(|| FetchError::Read {
            what: what(),
            error: ApiError::Invalid { message: format!("a {} is not known here", target.kind) },
        })?;
        let body = reader
            .get_bytes(&path, 8 << 20)
            .await
            .map_err(|error| FetchError::Read { what: what(), error })?;
        let fail = |error| FetchError::Decode { what: what(), error };
        let (uid, fact) = match &target.kind {
            Kind::Node => {
                let node: Node = decode::node::node(&mut pools, &body).map_err(fail)?;
                (node.uid.clone(), Fact::Nodes(Batch::Upsert(vec![node])))
            }
            Kind::Pod => {
                let pod = decode::pod::pod(&mut pools, &body, now).map_err(fail)?;
                (pod.uid.clone(), Fact::Pods(Batch::Upsert(vec![pod])))
            }
            Kind::HorizontalPodAutoscaler => {
                let hpa = decode::policy::hpa(&mut pools, &body).map_err(fail)?;
                (hpa.uid.clone(), Fact::Hpas(Batch::Upsert(vec![hpa])))
            }
            kind => {
                let workload: Workload = decode::workload::workload(&mut pools, kind, &body).map_err(fail)?;
                (workload.uid.clone(), workload_fact(kind, vec![workload]))
            }
        };
        pinned.push(ObjectRef { uid, ..target.clone() });
        state.apply(fact, now);
    }
    let namespaces: BTreeSet<Name> = targets.iter().map(|t| t.namespace.clone()).collect();
    let mut fetch = Fetch { reader, state: &mut state, pools: &mut pools, now };
    match &act {
        Act::OutOfService => fetch.pods_of(targets).await,
        Act::Drain(options) => fetch.drain(targets, options.pod_selector.as_deref()).await?,
        Act::Scale(_) => {
            fetch.samples(targets).await;
            for namespace in namespaces {
                let path = ListPath::of(&Kind::HorizontalPodAutoscaler, &namespace);
                // without permission to list autoscalers, the plan says that they are unknown
                let read = list(reader, &path, |json| decode::policy::hpa(fetch.pools, json)).await;
                if let Ok(hpas) = read {
                    whole(fetch.state, hpas, Fact::Hpas, now);
                }
            }
        }
        Act::Evict(_) => {
            fetch.budgets(&namespaces, false).await;
            fetch.services(&namespaces).await;
        }
        Act::OutOfRotation { service } => {
            fetch.owners().await?;
            fetch.services(&namespaces).await;
            fetch.service(&namespaces, service).await;
        }
        Act::Failover { plan, .. } => fetch.failover(&plan.kind).await?,
        // the others need their targets alone
        _ => {}
    }
    let (id, context) = (state.info.id, state.info.context.clone());
    let cluster = state.publish(now, false).unwrap_or_else(|| state.published().clone());
    Ok(TargetSnapshot { cluster, intent: Intent { cluster: id, context, act, targets: pinned } })
}

fn workload_fact(kind: &Kind, rows: Vec<Workload>) -> Fact {
    let batch = Batch::Upsert(rows);
    match kind {
        Kind::StatefulSet => Fact::StatefulSets(batch),
        Kind::DaemonSet => Fact::DaemonSets(batch),
        Kind::ReplicaSet => Fact::ReplicaSets(batch),
        Kind::Job => Fact::Jobs(batch),
        _ => Fact::Deployments(batch),
    }
}

/// Adds a table that is complete for the purpose of this action.
fn whole<T>(state: &mut ClusterState, rows: Vec<T>, fact: fn(Batch<T>) -> Fact, now: Stamp) {
    for batch in [
        Batch::Begin { generation: 1 },
        Batch::Upsert(rows),
        Batch::End { generation: 1, version: Version::default() },
    ] {
        state.apply(fact(batch), now);
    }
}

/// The request in progress, and the state that it fills.
struct Fetch<'a> {
    reader: &'a ReadClient,
    state: &'a mut ClusterState,
    pools: &'a mut Pools,
    now: Stamp,
}

impl Fetch<'_> {
    async fn drain(&mut self, nodes: &[ObjectRef], selector: Option<&str>) -> Result<(), FetchError> {
        let mut pods = Vec::new();
        for node in nodes {
            let path = ListPath::pods_on(&node.name);
            let path = match selector {
                Some(selector) => path.labels(selector),
                None => path,
            };
            pods.extend(self.pods(&path).await?);
        }
        let namespaces: BTreeSet<Name> = pods.iter().map(|p| p.namespace.clone()).collect();
        whole(self.state, pods, Fact::Pods, self.now);
        self.budgets(&namespaces, true).await;
        self.services(&namespaces).await;
        Ok(())
    }

    /// Fetches the pods of nodes. A user who may taint nodes need not be permitted to list pods. In this case, the
    /// plan says that the pods are unknown.
    async fn pods_of(&mut self, nodes: &[ObjectRef]) {
        let mut pods = Vec::new();
        for node in nodes {
            match self.pods(&ListPath::pods_on(&node.name)).await {
                Ok(more) => pods.extend(more),
                Err(error) => {
                    let reason = Name::from(error.to_string());
                    return drop(self.state.apply(Fact::Pods(Batch::Denied { reason }), self.now));
                }
            }
        }
        whole(self.state, pods, Fact::Pods, self.now);
    }

    async fn pods(&mut self, path: &ListPath) -> Result<Vec<pilothouse_core::domain::pod::Pod>, FetchError> {
        let now = self.now;
        list(self.reader, path, |json| decode::pod::pod(self.pools, json, now)).await
    }

    /// Fetches one pod of each workload, to compute what more pods would use of a quota.
    async fn samples(&mut self, targets: &[ObjectRef]) {
        let cluster = self.state.publish(self.now, false).unwrap_or_else(|| self.state.published().clone());
        for target in targets {
            let rows = cluster
                .workloads(&target.kind)
                .into_iter()
                .flat_map(pilothouse_core::facts::table::Table::iter);
            let found = rows.into_iter().find(|w| w.namespace == target.namespace && w.name == target.name);
            let Some(labels) = found.map(|w| &w.selector.labels).filter(|l| !l.is_empty()) else { continue };
            let selector: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let path = ListPath::of(&Kind::Pod, &target.namespace).labels(&selector.join(",")).limit(1);
            // without permission to list pods, the plan says that they are unknown
            if let Ok(pods) = self.pods(&path).await {
                self.state.apply(Fact::Pods(Batch::Upsert(pods)), self.now);
            }
        }
    }

    /// Fetches the budgets of the whole cluster, or of these namespaces. If they cannot be read, the plan says so.
    /// The eviction API checks them in any case.
    async fn budgets(&mut self, namespaces: &BTreeSet<Name>, everywhere: bool) {
        if everywhere {
            let path = ListPath::of(&Kind::PodDisruptionBudget, "");
            let pdbs = list(self.reader, &path, |json| decode::policy::pdb(self.pools, json)).await;
            if let Ok(pdbs) = pdbs {
                whole(self.state, pdbs, Fact::Pdbs, self.now);
                return;
            }
        }
        let read = within(self.reader, &Kind::PodDisruptionBudget, namespaces, decode::policy::pdb).await;
        self.keep(read, Fact::Pdbs);
    }

    /// Adds a table of several namespaces, as far as it could be read.
    fn keep<T>(&mut self, read: Vec<(Name, Result<Vec<T>, FetchError>)>, fact: fn(Batch<T>) -> Fact) {
        let mut seen = Vec::new();
        let (mut rows, mut failed) = (Vec::new(), None);
        for (namespace, answer) in read {
            match answer {
                Ok(more) => {
                    seen.push(namespace);
                    rows.extend(more);
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            None => whole(self.state, rows, fact, self.now),
            Some(error) if seen.is_empty() => {
                let reason = match error {
                    FetchError::Read { error: ApiError::Forbidden { .. }, .. } => "403".into(),
                    other => other.to_string(),
                };
                self.state.apply(fact(Batch::Denied { reason: Name::from(reason) }), self.now);
            }
            Some(_) => {
                for batch in [
                    Batch::Begin { generation: 1 },
                    Batch::Upsert(rows),
                    Batch::Scope { namespaces: Some(seen) },
                    Batch::End { generation: 1, version: Version::default() },
                ] {
                    self.state.apply(fact(batch), self.now);
                }
            }
        }
    }

    /// Fetches the controllers of the pods. Their label selectors determine which pods may be removed.
    async fn owners(&mut self) -> Result<(), FetchError> {
        let pods = self.state.publish(self.now, false).unwrap_or_else(|| self.state.published().clone());
        let mut owners: BTreeSet<ObjectRef> = BTreeSet::new();
        for pod in pods.pods.iter() {
            // a kind of the same name in another group has another path
            if let Some(owner) = pod.owner.as_ref().filter(|o| o.group == "apps" && is_workload(&o.kind)) {
                owners.insert(pods.object(owner.kind.clone(), &pod.namespace, &owner.name, &owner.uid));
            }
        }
        for owner in owners {
            let read = get(self.reader, &owner).await;
            let what = || owner.to_string();
            // the plan treats an owner that does not exist or cannot be read as unknown
            let body = match read {
                Ok(Some(body)) => body,
                Ok(None) | Err(ApiError::Forbidden { .. }) => continue,
                Err(error) => return Err(FetchError::Read { what: what(), error }),
            };
            let workload = decode::workload::workload(self.pools, &owner.kind, &body)
                .map_err(|error| FetchError::Decode { what: what(), error })?;
            self.state.apply(workload_fact(&owner.kind, vec![workload]), self.now);
        }
        Ok(())
    }

    /// Fetches the Services, to show which backends they would lose. If they cannot be read, a plan that depends on
    /// them says so.
    async fn services(&mut self, namespaces: &BTreeSet<Name>) {
        let (services, slices) = futures::join!(
            within(self.reader, &Kind::Service, namespaces, decode::network::service),
            within(self.reader, &Kind::EndpointSlice, namespaces, decode::network::endpoint_slice)
        );
        self.keep(services, Fact::Services);
        self.keep(slices, Fact::EndpointSlices);
    }

    /// Fetches a Service by name, for a user who may not list Services.
    async fn service(&mut self, namespaces: &BTreeSet<Name>, service: &Name) {
        for namespace in namespaces {
            let cluster = self.state.published().id();
            let on = ObjectRef::new(cluster, Kind::Service, namespace, service, &Uid::default());
            let Ok(Some(body)) = get(self.reader, &on).await else { continue };
            if let Ok(found) = decode::network::service(self.pools, &body) {
                self.state.apply(Fact::Services(Batch::Upsert(vec![found])), self.now);
            }
        }
    }

    async fn failover(&mut self, kind: &FailoverKind) -> Result<(), FetchError> {
        match kind {
            FailoverKind::Selector { namespace, .. } => {
                let pods = self.pods(&ListPath::of(&Kind::Pod, namespace)).await?;
                whole(self.state, pods, Fact::Pods, self.now);
                self.services(&BTreeSet::from([namespace.clone()])).await;
            }
            FailoverKind::Weight(shift) => self.services(&BTreeSet::from([shift.namespace.clone()])).await,
            FailoverKind::Standby(standby) => {
                if let Some(shift) = &standby.shift {
                    self.services(&BTreeSet::from([shift.namespace.clone()])).await;
                }
            }
            FailoverKind::Evacuate(pick) => {
                let nodes = list(self.reader, &ListPath::of(&Kind::Node, ""), |json| {
                    decode::node::node(self.pools, json)
                })
                .await?;
                whole(self.state, nodes, Fact::Nodes, self.now);
                if let Some(cluster) = self.state.publish(self.now, false) {
                    self.drain(&nodes_of(&cluster, pick), None).await?;
                }
            }
        }
        Ok(())
    }
}

/// Lists all objects with one consistent read (resourceVersion unset), because an action must not judge stale data.
async fn list<T>(
    reader: &ReadClient,
    path: &ListPath,
    mut read: impl FnMut(&[u8]) -> Result<T, DecodeError>,
) -> Result<Vec<T>, FetchError> {
    let path = path.to_string();
    let what = || resource_of(&path);
    let fail = |error| FetchError::Read { what: what(), error };
    let read = |json: &[u8]| read(json);
    let whole = pages::whole(reader, &path, "", 256 << 20, read).await.map_err(fail)?;
    if let Some(error) = whole.unread {
        return Err(FetchError::Decode { what: what(), error });
    }
    if whole.oversized > 0 {
        return Err(fail(ApiError::Decode("an object is too large".into())));
    }
    Ok(whole.rows)
}

/// Lists the objects of one kind in several namespaces at the same time.
async fn within<T>(
    reader: &ReadClient,
    kind: &Kind,
    namespaces: &BTreeSet<Name>,
    read: fn(&mut Pools, &[u8]) -> Result<T, DecodeError>,
) -> Vec<(Name, Result<Vec<T>, FetchError>)> {
    let asked = namespaces.iter().map(|namespace| async move {
        let mut pools = Pools::default();
        let path = ListPath::of(kind, namespace);
        (namespace.clone(), list(reader, &path, |json| read(&mut pools, json)).await)
    });
    join_all(asked).await
}

/// Returns `pods` for `/api/v1/pods?…`.
fn resource_of(path: &str) -> String {
    let path = path.split('?').next().unwrap_or(path);
    format!("list {}", path.rsplit('/').next().unwrap_or(path))
}
