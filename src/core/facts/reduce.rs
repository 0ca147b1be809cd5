//! Folds events into facts. It draws no conclusions; [`crate::state::derive`] does.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use crate::domain::alert::AlertsSeen;
use crate::domain::id::{Name, Uid};
use crate::domain::incident::Remark;
use crate::domain::log::Logs;
use crate::domain::route::Route;
use crate::domain::silence::Silence;
use crate::domain::slo::ObjectivesSeen;
use crate::domain::source::SourceStatus;
use crate::domain::time::Stamp;
use crate::domain::traffic::{Policy, TrafficSeen};
use crate::domain::usage::{NodeUsage, PodUsage};
use crate::domain::workload::Workload;

use super::event::{Fact, Identity, SilenceChange};
use super::past::Earlier;
pub use super::tables::Part;
use super::tables::{self, TableDeltas, TableRows};
use super::world::ActionView;

/// The facts of one cluster, as the sources reported them.
#[derive(Default)]
pub struct Facts {
    pub identity: Identity,
    /// The tables of the watched kinds: `facts.pods` is `facts.rows.pods`.
    pub rows: TableRows,
    /// When leases were seen again after their source had failed.
    pub leases_back: Stamp,
    pub node_usage: Arc<HashMap<Name, NodeUsage>>,
    pub node_usage_source: Option<Name>,
    pub pod_usage: Arc<HashMap<(Name, Name), PodUsage>>,
    /// Numbers from before the first poll.
    pub earlier: Earlier,
    /// The newest poll of each source, in the order of the sources' names.
    pub polls: Vec<Arc<TrafficSeen>>,
    /// The polls together.
    pub traffic: Arc<TrafficSeen>,
    /// The service level objectives, with what was measured of them.
    pub objectives: Arc<ObjectivesSeen>,
    pub alerts: Arc<AlertsSeen>,
    pub logs: Arc<Logs>,
    pub sources: Arc<[SourceStatus]>,
    /// The silences.
    pub silences: Vec<Arc<Silence>>,
    /// What a person said since the last publish.
    pub said: Vec<Remark>,
    /// The balancing policies from the config.
    pub balancing: Arc<BTreeMap<String, Policy>>,
}

impl Deref for Facts {
    type Target = TableRows;

    fn deref(&self) -> &TableRows {
        &self.rows
    }
}

/// What happened to one row: the value before and after.
#[derive(Clone, Debug)]
pub struct Delta<T> {
    pub old: Option<Arc<T>>,
    pub new: Option<Arc<T>>,
}

/// The rows and tables that an event changed, which [`crate::state::derive`] has to process.
#[derive(Default)]
pub struct Dirty {
    pub parts: Parts,
    /// The rows that changed, by table: `dirty.pods` is `dirty.deltas.pods`.
    pub deltas: TableDeltas,
    /// Node names whose measured use is new.
    pub usage: Vec<Name>,
    /// Only coverage or freshness changed, which only the header and the titles show.
    pub cover: bool,
}

impl Deref for Dirty {
    type Target = TableDeltas;

    fn deref(&self) -> &TableDeltas {
        &self.deltas
    }
}

/// A small set of the kinds of data, for "which rules must run again".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts(u64);

impl Parts {
    pub const NODES: Self = Self::of(Part::Node);
    pub const PODS: Self = Self::of(Part::Pod);
    pub const WORKLOADS: Self = Self::of(Part::Deployment)
        .and(Self::of(Part::ReplicaSet))
        .and(Self::of(Part::StatefulSet))
        .and(Self::of(Part::DaemonSet))
        .and(Self::of(Part::Job));
    /// Services and their endpoints.
    pub const SERVICES: Self = Self::of(Part::Service).and(Self::of(Part::EndpointSlice));
    pub const HPAS: Self = Self::of(Part::HorizontalPodAutoscaler);
    pub const PDBS: Self = Self::of(Part::PodDisruptionBudget);
    pub const EVENTS: Self = Self::of(Part::Event);
    pub const USAGE: Self = Self::of(Part::Usage);
    pub const TRAFFIC: Self = Self::of(Part::Traffic);
    /// Numbers from before the first poll.
    pub const TRENDS: Self = Self::of(Part::Trends);
    pub const LOGS: Self = Self::of(Part::Logs);
    pub const SOURCES: Self = Self::of(Part::Sources);
    pub const IDENTITY: Self = Self::of(Part::Identity);
    pub const ACTIONS: Self = Self::of(Part::Actions);
    pub const TIME: Self = Self::of(Part::Time);
    /// Heartbeats: never published for themselves, only for what they change.
    pub const LEASES: Self = Self::of(Part::Lease);
    pub const CRONJOBS: Self = Self::of(Part::CronJob);
    /// The objects that distribute requests.
    pub const ROUTES: Self = Self::of(Part::HTTPRoute)
        .and(Self::of(Part::VirtualService))
        .and(Self::of(Part::DestinationRule))
        .and(Self::of(Part::TraefikService))
        .and(Self::of(Part::Ingress))
        .and(Self::of(Part::Rollout))
        .and(Self::of(Part::Canary));
    pub const SILENCES: Self = Self::of(Part::Silences);
    /// The list of what changed: any of it may be what somebody does about a finding.
    pub const CHANGES: Self = Self::of(Part::Changes);
    /// Bookmarks, notes, and the steps of an incident.
    pub const REMARKS: Self = Self::of(Part::Remarks);
    pub const ALERTS: Self = Self::of(Part::Alerts);
    pub const ALL: Self = Self(u64::MAX);

    pub const fn of(part: Part) -> Self {
        Self(1 << part as u32)
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Dirty {
    /// The workloads that changed, ReplicaSets aside.
    pub fn workloads(&self) -> impl Iterator<Item = &Delta<Workload>> {
        [&self.deployments, &self.statefulsets, &self.daemonsets, &self.jobs].into_iter().flatten()
    }

    /// The objects that distribute requests that changed.
    pub fn routes(&self) -> impl Iterator<Item = &Delta<Route>> {
        [
            &self.httproutes,
            &self.virtualservices,
            &self.destinationrules,
            &self.traefikservices,
            &self.ingresses,
            &self.rollouts,
            &self.canaries,
        ]
        .into_iter()
        .flatten()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && !self.cover
    }
}

/// Folds one fact into the facts and records what it changed. Actions belong to the hub, not to a cluster's tables.
pub fn reduce(facts: &mut Facts, fact: Fact, at: Stamp, dirty: &mut Dirty) -> Option<ActionView> {
    match fact {
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
        Fact::Objectives(seen) => {
            facts.objectives = Arc::new(seen);
            dirty.parts.add(Parts::TRAFFIC);
        }
        Fact::Trends(seen) => {
            facts.earlier.take(seen);
            dirty.parts.add(Parts::TRENDS);
        }
        Fact::Alerts(seen) => {
            // a poll that tells the same as before changes nothing
            if *facts.alerts != (AlertsSeen { at: facts.alerts.at, ..seen.clone() }) {
                facts.alerts = Arc::new(seen);
                dirty.parts.add(Parts::ALERTS);
            }
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
        Fact::Remark(remark) => {
            facts.said.push(remark);
            dirty.parts.add(Parts::REMARKS);
        }
        Fact::Identity(identity) => {
            facts.identity = identity;
            dirty.parts.add(Parts::IDENTITY);
        }
        Fact::Action(action) => {
            dirty.parts.add(Parts::ACTIONS);
            return Some(action);
        }
        batch => {
            let was_stale = facts.leases.table().fresh.stale_since.is_some();
            tables::fold(&mut facts.rows, batch, dirty);
            if was_stale && facts.leases.table().fresh.stale_since.is_none() {
                facts.leases_back = at;
            }
        }
    }
    None
}

impl Facts {
    /// Finds a workload by its UID, of any kind that owns pods directly.
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
