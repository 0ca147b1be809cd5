//! Folds events into facts. Nothing here interprets: what follows from a fact is [`crate::state::derive`]'s.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::autoscaler::Hpa;
use crate::domain::budget::Pdb;
use crate::domain::cronjob::CronJob;
use crate::domain::event::KubeEvent;
use crate::domain::id::{Name, Uid};
use crate::domain::log::Logs;
use crate::domain::node::{Node, NodeLease};
use crate::domain::pod::Pod;
use crate::domain::service::{EndpointSlice, Service};
use crate::domain::silence::Silence;
use crate::domain::source::SourceStatus;
use crate::domain::time::Stamp;
use crate::domain::traffic::TrafficSeen;
use crate::domain::usage::{NodeUsage, PodUsage};
use crate::domain::workload::Workload;

use super::event::{Batch, Fact, Identity, SilenceChange};
use super::table::{Row, Rows, Wrote};
use super::world::ActionView;

/// The facts of one cluster, as the sources told them.
#[derive(Default)]
pub struct Facts {
    pub identity: Identity,
    pub nodes: Rows<Node>,
    pub leases: Rows<NodeLease>,
    /// When leases were seen again after their source had failed.
    pub leases_back: Stamp,
    pub pods: Rows<Pod>,
    pub deployments: Rows<Workload>,
    pub replicasets: Rows<Workload>,
    pub statefulsets: Rows<Workload>,
    pub daemonsets: Rows<Workload>,
    pub jobs: Rows<Workload>,
    pub cronjobs: Rows<CronJob>,
    pub services: Rows<Service>,
    pub slices: Rows<EndpointSlice>,
    pub hpas: Rows<Hpa>,
    pub pdbs: Rows<Pdb>,
    pub events: Rows<KubeEvent>,
    pub node_usage: Arc<HashMap<Name, NodeUsage>>,
    pub node_usage_source: Option<Name>,
    pub pod_usage: Arc<HashMap<(Name, Name), PodUsage>>,
    /// The newest poll of each source, in the order of the sources' names.
    pub polls: Vec<Arc<TrafficSeen>>,
    /// The polls together.
    pub traffic: Arc<TrafficSeen>,
    pub logs: Arc<Logs>,
    pub sources: Arc<[SourceStatus]>,
    /// What is silenced.
    pub silences: Vec<Arc<Silence>>,
}

/// What happened to one row: the value before and after.
#[derive(Clone, Debug)]
pub struct Delta<T> {
    pub old: Option<Arc<T>>,
    pub new: Option<Arc<T>>,
}

/// What an event touched: everything that [`crate::state::derive`] has to look at again.
#[derive(Default)]
pub struct Dirty {
    pub parts: Parts,
    pub nodes: Vec<Delta<Node>>,
    pub leases: Vec<Delta<NodeLease>>,
    pub pods: Vec<Delta<Pod>>,
    pub workloads: Vec<Delta<Workload>>,
    pub replicasets: Vec<Delta<Workload>>,
    pub services: Vec<Delta<Service>>,
    pub slices: Vec<Delta<EndpointSlice>>,
    pub hpas: Vec<Delta<Hpa>>,
    pub events: Vec<Delta<KubeEvent>>,
    /// Node names whose measured use is new.
    pub usage: Vec<Name>,
    /// Only what only the header or a title shows changed (coverage, freshness).
    pub cover: bool,
}

/// A small set of the kinds of data, for "which rules must run again".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts(pub u32);

impl Parts {
    pub const NODES: Self = Self(1);
    pub const PODS: Self = Self(1 << 1);
    pub const WORKLOADS: Self = Self(1 << 2);
    pub const SERVICES: Self = Self(1 << 3);
    pub const HPAS: Self = Self(1 << 4);
    pub const PDBS: Self = Self(1 << 5);
    pub const EVENTS: Self = Self(1 << 6);
    pub const USAGE: Self = Self(1 << 7);
    pub const TRAFFIC: Self = Self(1 << 8);
    pub const LOGS: Self = Self(1 << 9);
    pub const SOURCES: Self = Self(1 << 10);
    pub const IDENTITY: Self = Self(1 << 11);
    pub const ACTIONS: Self = Self(1 << 12);
    pub const TIME: Self = Self(1 << 13);
    /// Heartbeats: never published for themselves, only for what they change.
    pub const LEASES: Self = Self(1 << 14);
    pub const CRONJOBS: Self = Self(1 << 15);
    pub const SILENCES: Self = Self(1 << 16);
    /// The list of what changed: any of it may be what somebody does about a finding.
    pub const CHANGES: Self = Self(1 << 17);
    pub const ALL: Self = Self(u32::MAX);

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Dirty {
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && !self.cover
    }
}

/// Folds one fact in and notes what it touched. Actions are the hub's own: they belong to no table of a cluster.
pub fn reduce(facts: &mut Facts, fact: Fact, at: Stamp, dirty: &mut Dirty) -> Option<ActionView> {
    match fact {
        Fact::Nodes(batch) => fold(&mut facts.nodes, batch, Parts::NODES, dirty, |d| &mut d.nodes),
        Fact::Leases(batch) => {
            let was_stale = facts.leases.table().fresh.stale_since.is_some();
            fold(&mut facts.leases, batch, Parts::LEASES, dirty, |d| &mut d.leases);
            if was_stale && facts.leases.table().fresh.stale_since.is_none() {
                facts.leases_back = at;
            }
        }
        Fact::Pods(batch) => fold(&mut facts.pods, batch, Parts::PODS, dirty, |d| &mut d.pods),
        Fact::Deployments(b) => {
            fold(&mut facts.deployments, b, Parts::WORKLOADS, dirty, |d| &mut d.workloads);
        }
        Fact::StatefulSets(b) => {
            fold(&mut facts.statefulsets, b, Parts::WORKLOADS, dirty, |d| &mut d.workloads);
        }
        Fact::DaemonSets(b) => fold(&mut facts.daemonsets, b, Parts::WORKLOADS, dirty, |d| &mut d.workloads),
        Fact::Jobs(b) => fold(&mut facts.jobs, b, Parts::WORKLOADS, dirty, |d| &mut d.workloads),
        Fact::CronJobs(batch) => {
            let mut deltas = Vec::new();
            fold_into(&mut facts.cronjobs, batch, Parts::CRONJOBS, dirty, &mut deltas);
        }
        Fact::ReplicaSets(b) => {
            fold(&mut facts.replicasets, b, Parts::WORKLOADS, dirty, |d| &mut d.replicasets);
        }
        Fact::Services(batch) => {
            fold(&mut facts.services, batch, Parts::SERVICES, dirty, |d| &mut d.services);
        }
        Fact::EndpointSlices(b) => fold(&mut facts.slices, b, Parts::SERVICES, dirty, |d| &mut d.slices),
        Fact::Hpas(batch) => fold(&mut facts.hpas, batch, Parts::HPAS, dirty, |d| &mut d.hpas),
        Fact::Pdbs(batch) => {
            let mut deltas = Vec::new();
            fold_into(&mut facts.pdbs, batch, Parts::PDBS, dirty, &mut deltas);
        }
        Fact::Events(batch) => {
            fold(&mut facts.events, batch, Parts::EVENTS, dirty, |d| &mut d.events);
        }
        Fact::NodeUsage { source, rows } => {
            let old = &facts.node_usage;
            let same = |row: &NodeUsage| {
                old.get(&row.node)
                    .is_some_and(|o| o.cpu_milli == row.cpu_milli && o.memory_bytes == row.memory_bytes)
            };
            let gone = old.keys().filter(|node| !rows.iter().any(|r| r.node == **node)).cloned();
            dirty.usage.extend(rows.iter().filter(|r| !same(r)).map(|r| r.node.clone()).chain(gone));
            facts.node_usage = Arc::new(rows.into_iter().map(|row| (row.node.clone(), row)).collect());
            facts.node_usage_source = Some(source);
            dirty.parts.add(Parts::USAGE);
        }
        Fact::PodUsage { rows, .. } => {
            facts.pod_usage = Arc::new(
                rows.into_iter().map(|row| ((row.namespace.clone(), row.pod.clone()), row)).collect(),
            );
            dirty.parts.add(Parts::USAGE);
        }
        Fact::Traffic(seen) => {
            facts.polls.retain(|held| held.source != seen.source);
            let at = facts.polls.partition_point(|held| held.source < seen.source);
            facts.polls.insert(at, Arc::new(seen));
            facts.traffic = TrafficSeen::together(&facts.polls);
            dirty.parts.add(Parts::TRAFFIC);
        }
        Fact::Logs(summary) => {
            facts.logs = Arc::new(facts.logs.with(summary));
            dirty.parts.add(Parts::LOGS);
        }
        Fact::Source(mut status) => {
            let mut sources = facts.sources.to_vec();
            let held = sources.iter().find(|s| s.name == status.name);
            let failing = held.and_then(|held| held.failing).or(status.failing).unwrap_or(at);
            status.failing = status.state.is_trouble().then_some(failing);
            match sources.iter_mut().find(|s| s.name == status.name) {
                Some(held) if *held == status => return None,
                Some(held) => *held = status,
                None => sources.push(status),
            }
            sources.sort_by(|a, b| a.name.cmp(&b.name));
            facts.sources = sources.into();
            dirty.parts.add(Parts::SOURCES);
        }
        Fact::Silence(change) => {
            match change {
                SilenceChange::Add(silences) => facts.silences.extend(silences.into_iter().map(Arc::new)),
                SilenceChange::Lift(silence) => facts.silences.retain(|held| **held != silence),
            }
            dirty.parts.add(Parts::SILENCES);
        }
        Fact::Identity(identity) => {
            facts.identity = identity;
            dirty.parts.add(Parts::IDENTITY);
        }
        Fact::Action(action) => {
            let _ = at;
            dirty.parts.add(Parts::ACTIONS);
            return Some(action);
        }
    }
    None
}

fn fold<T: Row>(
    rows: &mut Rows<T>,
    batch: Batch<T>,
    part: Parts,
    dirty: &mut Dirty,
    deltas: fn(&mut Dirty) -> &mut Vec<Delta<T>>,
) {
    let mut taken = std::mem::take(deltas(dirty));
    fold_into(rows, batch, part, dirty, &mut taken);
    *deltas(dirty) = taken;
}

fn fold_into<T: Row>(
    rows: &mut Rows<T>,
    batch: Batch<T>,
    part: Parts,
    dirty: &mut Dirty,
    deltas: &mut Vec<Delta<T>>,
) {
    let before = deltas.len();
    let (cover, fresh) = (rows.table().cover.clone(), rows.table().fresh);
    match batch {
        Batch::Begin { generation } => rows.begin(generation),
        Batch::Expect { of } => rows.expect(of),
        Batch::Scope { namespaces } => rows.limit_to(namespaces.map(Into::into)),
        Batch::Upsert(items) => {
            for item in items {
                match rows.upsert(item) {
                    Wrote::Added(new) => deltas.push(Delta { old: None, new: Some(new) }),
                    Wrote::Replaced { old, new } if !old.same_content(&new) => {
                        deltas.push(Delta { old: Some(old), new: Some(new) });
                    }
                    Wrote::Replaced { .. } => {}
                    Wrote::Removed(_) | Wrote::Ignored => {}
                }
            }
        }
        Batch::Gone(items) => {
            for gone in items {
                if let Wrote::Removed(old) = rows.remove(&gone.uid, gone.version) {
                    deltas.push(Delta { old: Some(old), new: None });
                }
            }
        }
        Batch::End { generation, .. } => {
            deltas.extend(rows.end(generation).into_iter().map(|old| Delta { old: Some(old), new: None }));
        }
        Batch::Denied { reason } => rows.deny(reason),
        Batch::NotInstalled => {
            deltas.extend(rows.not_installed().into_iter().map(|old| Delta { old: Some(old), new: None }));
        }
        Batch::Stale { since } => rows.set_stale(since),
    }
    if cover != rows.table().cover || fresh != rows.table().fresh {
        dirty.cover = true;
        // a rule may have had to wait for a complete table
        dirty.parts.add(part);
    }
    if deltas.len() > before {
        dirty.parts.add(part);
    }
}

impl Facts {
    /// Looks up a workload of any kind that owns pods directly.
    pub fn workload(&self, uid: &Uid) -> Option<&Arc<Workload>> {
        [&self.deployments, &self.statefulsets, &self.daemonsets, &self.jobs]
            .into_iter()
            .find_map(|rows| rows.get(uid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::LogSummary;
    use crate::domain::traffic::ServiceTraffic;

    #[test]
    fn facts_of_two_sources_stand_side_by_side() {
        let (mut facts, mut dirty) = (Facts::default(), Dirty::default());
        let service =
            |name: &str| Arc::new(ServiceTraffic { name: name.into(), ..ServiceTraffic::default() });
        let polls = [("b", "web"), ("a", "cart"), ("b", "pay")];
        for (at, (source, name)) in polls.into_iter().enumerate() {
            let at = Stamp(at as i64);
            let seen = TrafficSeen { source: source.into(), at, services: [service(name)].into() };
            reduce(&mut facts, Fact::Traffic(seen), at, &mut dirty);
        }
        let told: Vec<&str> = facts.traffic.services.iter().map(|s| s.name.as_str()).collect();
        assert_eq!((told, facts.traffic.at), (vec!["cart", "pay"], Stamp(2)), "the newest poll of each");
        for (source, following) in [("logs", 3), ("log file x", 1), ("logs", 5)] {
            let summary = LogSummary { source: source.into(), following, ..LogSummary::default() };
            reduce(&mut facts, Fact::Logs(summary), Stamp(1), &mut dirty);
        }
        let following = |source| facts.logs.of(source).map(|s| s.following);
        assert_eq!(
            (following("logs"), following("log file x"), following("other")),
            (Some(5), Some(1), None)
        );
        assert!(dirty.parts.meets(Parts::TRAFFIC) && dirty.parts.meets(Parts::LOGS));
    }
}
