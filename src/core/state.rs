//! The state of one cluster inside the hub. It takes facts and publishes snapshots. Only the hub thread writes it.

pub mod changes;
pub mod derive;
pub mod past;
pub mod record;
pub mod timeline;

mod remarks;

use std::sync::Arc;

use crate::domain::link::Link;
use crate::domain::time::Stamp;
use crate::policy::rules::{Findings, Index, RuleContext};

use self::changes::RECENT_SECS;
use self::derive::Derivation;
use self::record::Recorder;
use self::remarks::Remarks;
use crate::facts::event::Fact;
use crate::facts::reduce::{Dirty, Facts, Parts, reduce};
use crate::facts::world::{ActionView, Cluster, ClusterInfo, Derived};

/// The period of the rules that depend on time. They count in half minutes, so this is often enough.
const TIMED_EVERY_MS: u64 = 5_000;

/// The facts, the data derived from them, and the last published snapshot.
pub struct ClusterState {
    pub info: Arc<ClusterInfo>,
    link: Link,
    /// Whether the connection has changed since the last publish.
    relinked: bool,
    facts: Facts,
    derivation: Derivation,
    findings: Findings,
    derived: Derived,
    recorder: Recorder,
    remarks: Remarks,
    dirty: Dirty,
    /// When the rules that depend on time last ran.
    timed: Stamp,
    published: Arc<Cluster>,
}

impl ClusterState {
    pub fn new(info: ClusterInfo) -> Self {
        let info = Arc::new(info);
        let published = Arc::new(Cluster { info: info.clone(), ..Cluster::default() });
        let facts = Facts {
            silences: info.silences.iter().cloned().map(Arc::new).collect(),
            balancing: info.balancing.clone(),
            ..Facts::default()
        };
        let derivation = Derivation::new(info.id);
        let limit = info.history;
        Self {
            info,
            link: Link::default(),
            relinked: false,
            facts,
            derivation,
            findings: Findings::default(),
            derived: Derived::default(),
            recorder: Recorder::new(limit),
            remarks: Remarks::default(),
            dirty: Dirty::default(),
            timed: Stamp::default(),
            published,
        }
    }

    /// Applies one fact. An action belongs to no cluster's tables, so it is returned.
    pub fn apply(&mut self, fact: Fact, at: Stamp) -> Option<ActionView> {
        let action = reduce(&mut self.facts, fact, at, &mut self.dirty)?;
        if action.is_of(&self.published) {
            self.remarks.action(&action);
        }
        Some(action)
    }

    /// Sets the connection to the cluster, and what is known of it since.
    pub fn connect(&mut self, info: ClusterInfo, link: Link) {
        self.relinked |= *self.info != info || self.link != link;
        self.info = Arc::new(info);
        self.link = link;
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    pub fn is_dirty(&self) -> bool {
        self.relinked || !self.dirty.is_empty()
    }

    /// Updates the derived data, and publishes if visible data changed. `tick` is true if the call is made because
    /// time has passed.
    pub fn publish(&mut self, now: Stamp, tick: bool) -> Option<Arc<Cluster>> {
        let dirty = std::mem::take(&mut self.dirty);
        let relinked = std::mem::take(&mut self.relinked);
        let mut changed = self.derivation.update(&self.facts, &dirty, now);
        let mut parts = dirty.parts;
        if tick {
            changed.add(self.derivation.tick(&self.facts, now));
            if now.since(self.timed) >= TIMED_EVERY_MS {
                self.timed = now;
                parts.add(Parts::TIME);
            }
        }
        parts.add(changed);
        let silent = parts.without(Parts::LEASES.and(Parts::TIME)).is_empty() && !dirty.cover;
        let had_changes = self.derived.changes.clone();
        self.derivation.publish(&mut self.derived, now);
        if !Arc::ptr_eq(&had_changes, &self.derived.changes) {
            parts.add(Parts::CHANGES);
        }
        let cluster = self.assemble(now);
        if parts.meets(Parts::TRAFFIC) {
            let findings = &self.findings;
            let traffic = self.derivation.traffic().clone();
            self.derivation.latency.take(&traffic, |service| findings.is_slow(service));
        }
        let index = Index::default();
        let context = RuleContext {
            cluster: &cluster,
            pod: &|uid| self.facts.pods.get(uid),
            bad: &self.derivation.bad,
            unsettled: &self.derivation.unsettled,
            apart: &self.derivation.apart,
            events: &self.derivation.events,
            latency: &self.derivation.latency,
            now,
            before: &[],
            index: &index,
        };
        let told = self.findings.update(&context, parts, &self.facts.silences);
        let mut cluster = cluster;
        if let Some(told) = &told {
            let (causes, silenced) = (told.causes.clone(), told.silenced.clone());
            (self.derived.causes, self.derived.silenced) = (causes, silenced);
            cluster.derived = self.derived.clone();
        }
        let recorded = self.recorder.record(&cluster, now);
        let said = std::mem::take(&mut self.facts.said);
        let remarked = self.remarks.follow(&cluster, &said, &mut self.derived, now);
        let silent = silent && !relinked;
        if silent && told.is_none() && !parts.meets(Parts::CHANGES) && recorded.is_none() && !remarked {
            return None;
        }
        if let Some(history) = recorded {
            self.derived.history = history;
        }
        cluster.derived = self.derived.clone();
        self.published = Arc::new(cluster);
        Some(self.published.clone())
    }

    pub fn published(&self) -> &Arc<Cluster> {
        &self.published
    }

    fn assemble(&self, at: Stamp) -> Cluster {
        let f = &self.facts;
        Cluster {
            info: self.info.clone(),
            at,
            link: self.link.clone(),
            identity: f.identity.clone(),
            tables: f.rows.published(),
            node_usage: f.node_usage.clone(),
            node_usage_source: f.node_usage_source.clone(),
            pod_usage: f.pod_usage.clone(),
            traffic: self.derivation.traffic().clone(),
            alerts: f.alerts.clone(),
            logs: f.logs.clone(),
            sources: f.sources.clone(),
            derived: self.derived.clone(),
        }
    }

    /// Returns how far back the recent changes go, for titles.
    pub fn window_minutes() -> i64 {
        RECENT_SECS / 60
    }
}
