//! A cluster's objects: one list-watch per kind, nodes first, and who we are to the server.

pub mod identity;
pub mod metrics;
mod rights;
mod several;

use std::time::Duration;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::kinds::{KINDS, KindInfo, Watched, with_tables};
use pilothouse_core::facts::event::{Batch, Fact};
use tokio::sync::watch;

use self::several::Several;
use super::Setup;
use super::sink::{FactSink, Rows};
use super::supervise::Supervisor;
use crate::wire::client::ReadClient;
use crate::wire::decode::Decode;
use crate::wire::list_watch::{ListWatch, Outlet, Place, Plan, Pulse};

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
    /// How many nodes and pods the last complete list had.
    nodes: watch::Sender<Option<u64>>,
    pods: watch::Sender<Option<u64>>,
}

macro_rules! start_all {
    ($($kind:ident: $module:ident::$row:ident, $table:ident, $fact:ident;)*) => {
        /// Starts a list and watch for every table, nodes first.
        fn start_all(machines: &Machines<'_>) {
            $(machines.start(&Kind::$kind, Fact::$fact);)*
        }
    };
}
with_tables!(start_all);

/// Starts what keeps a cluster's objects current, and the heartbeat. Returns the names of the sources.
pub fn start(setup: &Setup<'_>, sink: &FactSink) -> Vec<Name> {
    let Setup { supervisor, reader: client, connection, .. } = *setup;
    let (pulse_out, pulse) = watch::channel(Pulse::default());
    let (nodes, _) = watch::channel(None);
    let fallback = setup.fallback();
    let scope = &setup.scope;
    let pods = setup.pods.clone();
    start_all(&Machines { supervisor, sink, client, pulse: &pulse, fallback: &fallback, scope, nodes, pods });
    identity::start(connection, client, scope, sink, supervisor, pulse_out);
    let watched = KINDS.iter().filter_map(Kind::info).filter(|info| info.watched != Watched::OnDemand);
    watched.map(|info| info.plural.into()).collect()
}

impl Machines<'_> {
    fn start<T: Decode>(&self, kind: &Kind, fact: fn(Batch<T>) -> Fact) {
        let Some(info) = kind.info() else { return };
        let out = Rows { sink: self.sink.clone(), fact };
        if self.scope.namespaces.len() > 1 && info.namespaced && info.watched == Watched::Always {
            let several = Several::new(out, &self.scope.namespaces);
            for (at, namespace) in self.scope.namespaces.iter().enumerate() {
                self.machine(kind, vec![within(info, namespace)], several.share(at));
            }
            return;
        }
        self.machine(kind, self.places(info), out);
    }

    /// Who waits for the number of rows of a kind.
    fn listed(&self, kind: &Kind) -> Option<watch::Sender<Option<u64>>> {
        match kind {
            Kind::Node => Some(self.nodes.clone()),
            // in several namespaces: told when the first of them has been read
            Kind::Pod => Some(self.pods.clone()),
            _ => None,
        }
    }

    /// One list-watch of its own.
    fn machine<T: Decode, O>(&self, kind: &Kind, places: Vec<Place>, out: O)
    where
        O: Outlet<T> + Clone + 'static,
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
            query: T::QUERY.to_owned(),
            gather: if T::POLL_ABOVE.is_some() { Duration::from_secs(1) } else { Duration::ZERO },
            count: *kind == Kind::Pod,
            poll_above: T::POLL_ABOVE,
            exact: false,
            unwatched: None,
        };
        let (client, sink, pulse) = (self.client.clone(), self.sink.clone(), self.pulse.clone());
        let wait = (*kind != Kind::Node).then(|| self.nodes.subscribe());
        let (kind, listed) = (kind.clone(), self.listed(kind));
        self.supervisor.spawn(info.plural, self.sink.clone(), move || {
            let machine = ListWatch {
                client: client.clone(),
                out: out.clone(),
                clock: sink.clock().clone(),
                plan: plan.clone(),
                pulse: pulse.clone(),
                listed: listed.clone(),
                decode: T::decoder(&kind, sink.clock()),
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
