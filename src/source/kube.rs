//! A cluster's objects: one list-watch per kind, nodes first, and who we are to the server.

pub mod identity;
pub mod metrics;
mod rights;
mod several;

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::model::event::{Batch, Fact};
use pilothouse_core::model::table::Row;
use tokio::sync::watch;

use self::several::Several;
use super::sink::{FactSink, Rows};
use super::supervise::Supervisor;
use crate::wire::client::ReadClient;
use crate::wire::connect::{ConnectError, Connection};
use crate::wire::decode::node::Heartbeats;
use crate::wire::decode::{self, Pools};
use crate::wire::list_watch::{DecodeError, ListWatch, Outlet, Place, Plan, Pulse};

/// More leases than this are listed every so often: 5,000 nodes renew 500 times a second.
const LEASES_WATCHED: u64 = 500;
const LEASES_EVERY: Duration = Duration::from_millis(17_500);
/// How long the other kinds leave the nodes a head start.
const NODES_FIRST: Duration = Duration::from_millis(250);

/// Which part of a cluster is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `-n NS`, once or several times: these namespaces only. None = all.
    pub namespaces: Vec<Name>,
}

/// What runs for one cluster.
#[derive(Clone, Debug)]
pub struct Started {
    pub client: ReadClient,
    /// How many pods the last complete list had.
    pub pods: watch::Receiver<Option<u64>>,
    /// Whether the API server answers at all.
    pub pulse: watch::Receiver<Pulse>,
}

/// What all of a cluster's machines share.
struct Machines<'a> {
    supervisor: &'a Supervisor,
    sink: &'a FactSink,
    client: &'a ReadClient,
    pulse: &'a watch::Receiver<Pulse>,
    /// Lists of a namespace are tried when the cluster-wide one is forbidden.
    fallback: &'a Name,
    scope: &'a Scope,
    nodes: watch::Receiver<Option<u64>>,
}

/// One kind of the API.
struct Resource {
    name: &'static str,
    /// `NodeList`.
    list: &'static str,
    /// `/api/v1` or `/apis/apps/v1`.
    root: &'static str,
    /// `nodes` … with the group behind it, for the words of a 403.
    plural: &'static str,
    query: &'static str,
    namespaced: bool,
}

/// Starts a cluster's sources: objects, identity, heartbeat and metrics. They end with the supervisor.
pub fn start(
    connection: &Connection,
    scope: &Scope,
    sink: &FactSink,
    supervisor: &Supervisor,
) -> Result<Started, ConnectError> {
    let client = connection.reader()?;
    let (pulse_out, pulse) = watch::channel(Pulse::default());
    let (nodes_out, nodes) = watch::channel(None);
    let (pods_out, pods) = watch::channel(None);
    let fallback = Name::from(connection.namespace.as_str());
    let at = Machines { supervisor, sink, client: &client, pulse: &pulse, fallback: &fallback, scope, nodes };
    at.spawn(&NODES, None, Some(nodes_out), Fact::Nodes, |_| {
        let mut pools = Pools::default();
        Box::new(move |json| decode::node::node(&mut pools, json).map(Some))
    });
    at.spawn(&PODS, None, Some(pods_out), Fact::Pods, |sink| {
        let (mut pools, clock) = (Pools::default(), sink.clock().clone());
        Box::new(move |json| decode::pod::pod(&mut pools, json, clock.now()).map(Some))
    });
    at.spawn(&LEASES, Some((LEASES_WATCHED, LEASES_EVERY)), None, Fact::Leases, |sink| {
        let (mut beats, clock) = (Heartbeats::default(), sink.clock().clone());
        Box::new(move |json| beats.lease(json, clock.now()).map(Some))
    });
    at.workloads(&DEPLOYMENTS, &Kind::Deployment, Fact::Deployments);
    at.workloads(&REPLICA_SETS, &Kind::ReplicaSet, Fact::ReplicaSets);
    at.workloads(&STATEFUL_SETS, &Kind::StatefulSet, Fact::StatefulSets);
    at.workloads(&DAEMON_SETS, &Kind::DaemonSet, Fact::DaemonSets);
    at.workloads(&JOBS, &Kind::Job, Fact::Jobs);
    at.plain(&CRON_JOBS, Fact::CronJobs, decode::cronjob::cronjob);
    at.plain(&SERVICES, Fact::Services, decode::network::service);
    at.plain(&ENDPOINT_SLICES, Fact::EndpointSlices, decode::network::endpoint_slice);
    at.plain(&HPAS, Fact::Hpas, decode::policy::hpa);
    at.plain(&PDBS, Fact::Pdbs, decode::policy::pdb);
    at.plain(&EVENTS, Fact::Events, decode::event::event);
    identity::start(connection, &client, scope, sink, supervisor, pulse_out);
    metrics::start(&client, scope, sink, supervisor, &pods, &fallback);
    Ok(Started { client, pods, pulse })
}

type Decode<T> = Box<dyn FnMut(&[u8]) -> Result<Option<T>, DecodeError> + Send + Sync>;

impl Machines<'_> {
    fn plain<T: Row + Send + Sync + 'static>(
        &self,
        resource: &'static Resource,
        fact: fn(Batch<T>) -> Fact,
        read: fn(&mut Pools, &[u8]) -> Result<T, DecodeError>,
    ) {
        self.spawn(resource, None, None, fact, move |_| {
            let mut pools = Pools::default();
            Box::new(move |json| read(&mut pools, json).map(Some))
        });
    }

    fn workloads(
        &self,
        resource: &'static Resource,
        kind: &Kind,
        fact: fn(Batch<pilothouse_core::domain::workload::Workload>) -> Fact,
    ) {
        let kind = kind.clone();
        self.spawn(resource, None, None, fact, move |_| {
            let (mut pools, kind) = (Pools::default(), kind.clone());
            Box::new(move |json| decode::workload::workload(&mut pools, &kind, json).map(Some))
        });
    }

    fn spawn<T: Row + Send + Sync + 'static>(
        &self,
        resource: &'static Resource,
        poll_above: Option<(u64, Duration)>,
        listed: Option<watch::Sender<Option<u64>>>,
        fact: fn(Batch<T>) -> Fact,
        decoder: impl Fn(&FactSink) -> Decode<T> + Send + Sync + 'static,
    ) {
        let out = Rows { sink: self.sink.clone(), fact };
        let decoder = Arc::new(decoder);
        if self.scope.namespaces.len() > 1 && resource.namespaced && resource.name != LEASES.name {
            let several = Several::new(out, &self.scope.namespaces);
            for (at, namespace) in self.scope.namespaces.iter().enumerate() {
                let places = vec![within(resource, namespace)];
                // how many there are is told when the first namespace has been read
                self.machine(
                    resource,
                    places,
                    poll_above,
                    listed.clone(),
                    several.share(at),
                    decoder.clone(),
                );
            }
            return;
        }
        self.machine(resource, self.places(resource), poll_above, listed, out, decoder);
    }

    /// One list-watch of its own.
    fn machine<T, O, F>(
        &self,
        resource: &'static Resource,
        places: Vec<Place>,
        poll_above: Option<(u64, Duration)>,
        listed: Option<watch::Sender<Option<u64>>>,
        out: O,
        decoder: Arc<F>,
    ) where
        T: Send + Sync + 'static,
        O: Outlet<T> + Clone + 'static,
        F: Fn(&FactSink) -> Decode<T> + Send + Sync + 'static,
    {
        let plan = Plan {
            name: resource.name,
            list: resource.list,
            needs: format!("list and watch {}", resource.plural),
            places,
            query: resource.query.to_owned(),
            gather: if poll_above.is_some() { Duration::from_secs(1) } else { Duration::ZERO },
            count: resource.name == PODS.name,
            poll_above,
            exact: false,
            unwatched: None,
        };
        let (client, sink, pulse) = (self.client.clone(), self.sink.clone(), self.pulse.clone());
        let wait = (resource.name != NODES.name).then(|| self.nodes.clone());
        self.supervisor.spawn(resource.name, self.sink.clone(), move || {
            let machine = ListWatch {
                client: client.clone(),
                out: out.clone(),
                clock: sink.clock().clone(),
                plan: plan.clone(),
                pulse: pulse.clone(),
                listed: listed.clone(),
                decode: decoder(&sink),
            };
            let mut nodes = wait.clone();
            async move {
                if let Some(nodes) = &mut nodes {
                    // nodes are on screen first; whatever becomes of them, the rest follows soon
                    let listed = nodes.wait_for(Option::is_some);
                    if tokio::time::timeout(NODES_FIRST, listed).await.is_err() {
                        tracing::debug!("nodes take longer than their head start");
                    }
                }
                machine.run().await;
            }
        });
    }

    fn places(&self, resource: &Resource) -> Vec<Place> {
        let Resource { root, name, .. } = resource;
        let everywhere = Place { path: format!("{root}/{name}"), namespace: None };
        if name == &LEASES.name {
            return vec![Place {
                path: format!("{root}/namespaces/kube-node-lease/{name}"),
                namespace: None,
            }];
        }
        match self.scope.namespaces.first() {
            _ if !resource.namespaced => vec![everywhere],
            Some(namespace) => vec![within(resource, namespace)],
            None => vec![everywhere, within(resource, self.fallback)],
        }
    }
}

fn within(resource: &Resource, namespace: &Name) -> Place {
    let Resource { root, name, .. } = resource;
    Place {
        path: format!("{root}/namespaces/{}/{name}", crate::wire::client::escape(namespace)),
        namespace: Some(namespace.clone()),
    }
}

const fn resource(
    name: &'static str,
    list: &'static str,
    root: &'static str,
    plural: &'static str,
) -> Resource {
    Resource { name, list, root, plural, query: "", namespaced: true }
}

static NODES: Resource = Resource { namespaced: false, ..resource("nodes", "NodeList", "/api/v1", "nodes") };
static LEASES: Resource = resource(
    "leases",
    "LeaseList",
    "/apis/coordination.k8s.io/v1",
    "leases.coordination.k8s.io in kube-node-lease",
);
static PODS: Resource = resource("pods", "PodList", "/api/v1", "pods");
static DEPLOYMENTS: Resource = resource("deployments", "DeploymentList", "/apis/apps/v1", "deployments.apps");
static REPLICA_SETS: Resource =
    resource("replicasets", "ReplicaSetList", "/apis/apps/v1", "replicasets.apps");
static STATEFUL_SETS: Resource =
    resource("statefulsets", "StatefulSetList", "/apis/apps/v1", "statefulsets.apps");
static DAEMON_SETS: Resource = resource("daemonsets", "DaemonSetList", "/apis/apps/v1", "daemonsets.apps");
static JOBS: Resource = resource("jobs", "JobList", "/apis/batch/v1", "jobs.batch");
static CRON_JOBS: Resource = resource("cronjobs", "CronJobList", "/apis/batch/v1", "cronjobs.batch");
static SERVICES: Resource = resource("services", "ServiceList", "/api/v1", "services");
static ENDPOINT_SLICES: Resource = resource(
    "endpointslices",
    "EndpointSliceList",
    "/apis/discovery.k8s.io/v1",
    "endpointslices.discovery.k8s.io",
);
static HPAS: Resource = resource(
    "horizontalpodautoscalers",
    "HorizontalPodAutoscalerList",
    "/apis/autoscaling/v2",
    "horizontalpodautoscalers.autoscaling",
);
static PDBS: Resource = resource(
    "poddisruptionbudgets",
    "PodDisruptionBudgetList",
    "/apis/policy/v1",
    "poddisruptionbudgets.policy",
);
static EVENTS: Resource =
    Resource { query: decode::event::SELECTOR, ..resource("events", "EventList", "/api/v1", "events") };
