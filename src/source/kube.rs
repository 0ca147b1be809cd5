//! A cluster's objects: one list-watch per kind, nodes first, and who we are to the server.

pub mod identity;
pub mod metrics;
mod rights;
mod several;

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::kinds::{KINDS, KindInfo, Watched};
use pilothouse_core::facts::event::{Batch, Fact};
use pilothouse_core::facts::table::Row;
use tokio::sync::watch;

use self::several::Several;
use super::Setup;
use super::sink::{FactSink, Rows};
use super::supervise::Supervisor;
use crate::wire::client::ReadClient;
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

/// Starts what keeps a cluster's objects current, and the heartbeat.
pub fn start(setup: &Setup<'_>, sink: &FactSink) -> Vec<Name> {
    let Setup { supervisor, reader: client, connection, .. } = *setup;
    let (pulse_out, pulse) = watch::channel(Pulse::default());
    let (nodes_out, nodes) = watch::channel(None);
    let pods_out = setup.pods.clone();
    let fallback = setup.fallback();
    let scope = &setup.scope;
    let at = Machines { supervisor, sink, client, pulse: &pulse, fallback: &fallback, scope, nodes };
    at.spawn(&Kind::Node, None, Some(nodes_out), Fact::Nodes, |_| {
        let mut pools = Pools::default();
        Box::new(move |json| decode::node::node(&mut pools, json).map(Some))
    });
    at.spawn(&Kind::Pod, None, Some(pods_out), Fact::Pods, |sink| {
        let (mut pools, clock) = (Pools::default(), sink.clock().clone());
        Box::new(move |json| decode::pod::pod(&mut pools, json, clock.now()).map(Some))
    });
    at.spawn(&Kind::Lease, Some((LEASES_WATCHED, LEASES_EVERY)), None, Fact::Leases, |sink| {
        let (mut beats, clock) = (Heartbeats::default(), sink.clock().clone());
        Box::new(move |json| beats.lease(json, clock.now()).map(Some))
    });
    at.workloads(&Kind::Deployment, Fact::Deployments);
    at.workloads(&Kind::ReplicaSet, Fact::ReplicaSets);
    at.workloads(&Kind::StatefulSet, Fact::StatefulSets);
    at.workloads(&Kind::DaemonSet, Fact::DaemonSets);
    at.workloads(&Kind::Job, Fact::Jobs);
    at.plain(&Kind::CronJob, Fact::CronJobs, decode::cronjob::cronjob);
    at.plain(&Kind::Service, Fact::Services, decode::network::service);
    at.plain(&Kind::EndpointSlice, Fact::EndpointSlices, decode::network::endpoint_slice);
    at.plain(&Kind::HorizontalPodAutoscaler, Fact::Hpas, decode::policy::hpa);
    at.plain(&Kind::PodDisruptionBudget, Fact::Pdbs, decode::policy::pdb);
    at.plain(&Kind::Event, Fact::Events, decode::event::event);
    identity::start(connection, client, scope, sink, supervisor, pulse_out);
    let watched = KINDS.iter().filter_map(Kind::info).filter(|info| info.watched != Watched::OnDemand);
    watched.map(|info| info.plural.into()).collect()
}

type Decode<T> = Box<dyn FnMut(&[u8]) -> Result<Option<T>, DecodeError> + Send + Sync>;

impl Machines<'_> {
    fn plain<T: Row + Send + Sync + 'static>(
        &self,
        kind: &Kind,
        fact: fn(Batch<T>) -> Fact,
        read: fn(&mut Pools, &[u8]) -> Result<T, DecodeError>,
    ) {
        self.spawn(kind, None, None, fact, move |_| {
            let mut pools = Pools::default();
            Box::new(move |json| read(&mut pools, json).map(Some))
        });
    }

    fn workloads(&self, kind: &Kind, fact: fn(Batch<pilothouse_core::domain::workload::Workload>) -> Fact) {
        let of = kind.clone();
        self.spawn(kind, None, None, fact, move |_| {
            let (mut pools, kind) = (Pools::default(), of.clone());
            Box::new(move |json| decode::workload::workload(&mut pools, &kind, json).map(Some))
        });
    }

    fn spawn<T: Row + Send + Sync + 'static>(
        &self,
        kind: &Kind,
        poll_above: Option<(u64, Duration)>,
        listed: Option<watch::Sender<Option<u64>>>,
        fact: fn(Batch<T>) -> Fact,
        decoder: impl Fn(&FactSink) -> Decode<T> + Send + Sync + 'static,
    ) {
        let Some(info) = kind.info() else { return };
        let out = Rows { sink: self.sink.clone(), fact };
        let decoder = Arc::new(decoder);
        if self.scope.namespaces.len() > 1 && info.namespaced && info.watched == Watched::Always {
            let several = Several::new(out, &self.scope.namespaces);
            for (at, namespace) in self.scope.namespaces.iter().enumerate() {
                let places = vec![within(info, namespace)];
                // how many there are is told when the first namespace has been read
                self.machine(kind, places, poll_above, listed.clone(), several.share(at), decoder.clone());
            }
            return;
        }
        self.machine(kind, self.places(info), poll_above, listed, out, decoder);
    }

    /// One list-watch of its own.
    fn machine<T, O, F>(
        &self,
        kind: &Kind,
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
        let Some(info) = kind.info() else { return };
        let only = match info.watched {
            Watched::In(namespace) => format!(" in {namespace}"),
            Watched::Always | Watched::OnDemand => String::new(),
        };
        let plan = Plan {
            name: info.plural,
            list: info.list,
            needs: format!("list and watch {}{only}", info.resource()),
            places,
            query: if *kind == Kind::Event { decode::event::SELECTOR.to_owned() } else { String::new() },
            gather: if poll_above.is_some() { Duration::from_secs(1) } else { Duration::ZERO },
            count: *kind == Kind::Pod,
            poll_above,
            exact: false,
            unwatched: None,
        };
        let (client, sink, pulse) = (self.client.clone(), self.sink.clone(), self.pulse.clone());
        let wait = (*kind != Kind::Node).then(|| self.nodes.clone());
        self.supervisor.spawn(info.plural, self.sink.clone(), move || {
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

    fn places(&self, info: &KindInfo) -> Vec<Place> {
        let everywhere = Place { path: format!("{}/{}", info.root(), info.plural), namespace: None };
        match (info.watched, self.scope.namespaces.first()) {
            // it is of the cluster, wherever its objects lie
            (Watched::In(namespace), _) => vec![Place { namespace: None, ..within(info, namespace) }],
            _ if !info.namespaced => vec![everywhere],
            (_, Some(namespace)) => vec![within(info, namespace)],
            (_, None) => vec![everywhere, within(info, self.fallback)],
        }
    }
}

fn within(info: &KindInfo, namespace: &str) -> Place {
    Place {
        path: format!(
            "{}/namespaces/{}/{}",
            info.root(),
            crate::wire::client::escape(namespace),
            info.plural
        ),
        namespace: Some(Name::from(namespace)),
    }
}
