//! Writes the history: compares what is displayed now with what was displayed before, and keeps the differences. A
//! table that did not change costs one comparison of pointers, and a heartbeat changes none.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::alert::AlertRow;
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::log::Logs;
use crate::domain::time::Stamp;
use crate::facts::history::{
    Happened, History, HpaThen, Limit, Moment, NodeThen, ServiceThen, Step, Track, WorkloadThen,
};
use crate::facts::table::{Coverage, Row, Table};
use crate::facts::world::{Cause, Cluster, Counts, Derived, HpaRow, NodeRow, ServiceRow, WorkloadRow};

/// The counts of pods, endpoints and replicas are compared at most this often, so that a rollout of many pods is a few
/// transitions.
const COUNTS_EVERY_MS: u64 = 1_000;
/// The numbers in a finding's line are recorded at most this often. Its beginning, its end and its severity always are.
const LINE_EVERY_MS: u64 = 30_000;
/// The objects of a finding that are kept.
const OBJECTS: usize = 8;
/// The number of error groups whose beginning is remembered.
const ERRORS: usize = 500;

/// The history, and what was displayed when it was last written.
#[derive(Default)]
pub struct Recorder {
    history: History,
    limit: Limit,
    changed: bool,
    /// When the counts were last compared.
    counted: Stamp,
    nodes: Table<NodeRow>,
    workloads: Table<WorkloadRow>,
    services: Table<ServiceRow>,
    hpas: Table<HpaRow>,
    counts: Option<Counts>,
    causes: Arc<[Arc<Cause>]>,
    /// The findings as they were recorded last, with the time.
    lines: Vec<(Arc<Cause>, Stamp)>,
    logs: Arc<Logs>,
    /// The fingerprints of the error groups that the history has.
    errors: BTreeSet<Name>,
    /// The alerts, and the source that they are from.
    alerts: Arc<[Arc<AlertRow>]>,
    alerts_of: Name,
}

impl Recorder {
    pub fn new(limit: Limit) -> Self {
        Self { history: History::new(limit), limit, ..Self::default() }
    }

    /// Records the differences. Returns the history if it has changed.
    pub fn record(&mut self, cluster: &Cluster, now: Stamp) -> Option<Arc<History>> {
        if self.limit.is_off() {
            return None;
        }
        let derived = &cluster.derived;
        let due = now.since(self.counted) >= COUNTS_EVERY_MS;
        let pods = cluster.pods.cover.is_read();
        // while the pods are read for the first time, the counts of every node change
        let pods_come = matches!(cluster.pods.cover, Coverage::Never | Coverage::Loading { .. });
        self.follow(Track::Nodes, cluster.nodes.cover.is_read() && !pods_come, now);
        self.follow(Track::Workloads, pods && cluster.deployments.cover.is_read(), now);
        let slices = cluster.slices.cover.is_read();
        self.follow(Track::Services, !pods_come && slices && cluster.services.cover.is_read(), now);
        self.follow(Track::Hpas, cluster.hpas.cover.is_read(), now);
        self.follow(Track::Findings, pods && cluster.nodes.cover.is_read(), now);
        if due || self.has_new_state(derived) {
            self.counted = now;
            self.tables(cluster, now);
        }
        self.findings(derived, now);
        self.errors(&cluster.logs, now);
        self.follow(Track::Alerts, cluster.alerts.is_known(), now);
        self.alerts(cluster, now);
        std::mem::take(&mut self.changed).then(|| Arc::new(self.history.clone()))
    }

    /// A part becomes known when its tables are read, and unknown when they no longer are.
    fn follow(&mut self, track: Track, is_read: bool, now: Stamp) {
        if self.history.known_since(track).is_some() != is_read {
            self.history.set_known(track, is_read.then_some(now));
            self.changed = true;
            // what was loaded at the start, or again, did not happen now
            self.counted = Stamp::default();
        }
    }

    /// True if the number of nodes in some state changed, which is recorded at once.
    fn has_new_state(&self, derived: &Derived) -> bool {
        let of = |c: &Counts| (c.nodes, c.nodes_ready, c.nodes_cordoned, c.nodes_out_of_service);
        self.counts.is_some_and(|held| of(&held) != of(&derived.counts))
    }

    fn say(&mut self, at: Stamp, what: Happened) {
        self.history.add(Moment { at, what });
        self.changed = true;
    }

    fn tables(&mut self, cluster: &Cluster, now: Stamp) {
        let (id, derived) = (cluster.id(), &cluster.derived);
        let known = |track| self.history.known_since(track).is_some_and(|since| since < now);
        let mut found = Vec::new();
        if known(Track::Nodes) {
            each(&self.nodes, &derived.nodes, node_then, |row, step| {
                found.push(Happened::Node(row.node.reference(id), Box::new(step)));
            });
        }
        if known(Track::Workloads) {
            each(&self.workloads, &derived.workloads, workload_then, |row, step| {
                found.push(Happened::Workload(row.workload.reference(id), Box::new(step)));
            });
        }
        if known(Track::Services) {
            each(&self.services, &derived.services, service_then, |row, step| {
                let service = &row.service;
                let object = cluster.object(Kind::Service, &service.namespace, &service.name, &service.uid);
                found.push(Happened::Service(object, step));
            });
        }
        if known(Track::Hpas) {
            each(&self.hpas, &derived.hpas, hpa_then, |row, step| {
                found.push(Happened::Hpa(row.hpa.reference(id), Box::new(step)));
            });
        }
        if let Some(was) = self.counts.filter(|was| *was != derived.counts && known(Track::Findings)) {
            found.push(Happened::Counts(Box::new(Step { was: Some(was), is: Some(derived.counts) })));
        }
        self.nodes = derived.nodes.clone();
        self.workloads = derived.workloads.clone();
        self.services = derived.services.clone();
        self.hpas = derived.hpas.clone();
        self.counts = Some(derived.counts);
        for what in found {
            self.say(now, what);
        }
    }

    fn findings(&mut self, derived: &Derived, now: Stamp) {
        if Arc::ptr_eq(&self.causes, &derived.causes) {
            return;
        }
        let before = std::mem::replace(&mut self.causes, derived.causes.clone());
        // the findings of a cluster that is still being read were there before
        let known = self.history.known_since(Track::Findings).is_some();
        let old = std::mem::take(&mut self.lines);
        let mut lines = Vec::with_capacity(derived.causes.len());
        for cause in derived.causes.iter() {
            match old.iter().find(|(held, _)| held.is_same(cause)) {
                None => {
                    let inside = is_included(&before, cause);
                    let is = slim(cause);
                    lines.push((is.clone(), now));
                    if known {
                        self.say(now, Happened::Finding { step: Step { was: None, is: Some(is) }, inside });
                    }
                }
                Some((held, at)) if differs(held, cause, now.since(*at)) => {
                    let is = slim(cause);
                    lines.push((is.clone(), now));
                    let step = Step { was: Some(held.clone()), is: Some(is) };
                    self.say(now, Happened::Finding { step, inside: false });
                }
                Some(held) => lines.push(held.clone()),
            }
        }
        for (held, _) in old {
            if !lines.iter().any(|(line, _)| line.is_same(&held)) {
                let inside = is_included(&derived.causes, &held);
                self.say(now, Happened::Finding { step: Step { was: Some(held), is: None }, inside });
            }
        }
        self.lines = lines;
    }

    fn errors(&mut self, logs: &Arc<Logs>, now: Stamp) {
        if Arc::ptr_eq(&self.logs, logs) {
            return;
        }
        self.logs = logs.clone();
        for group in logs.groups.iter() {
            if self.errors.len() < ERRORS && self.errors.insert(group.fingerprint.clone()) {
                let what = Happened::Error {
                    first: group.first,
                    fingerprint: group.fingerprint.clone(),
                    template: group.template.clone(),
                    workloads: group.workloads.clone(),
                };
                self.say(now, what);
            }
        }
        if self.errors.len() >= ERRORS {
            // the oldest groups are gone from the logs; the names of those that are there are enough
            self.errors =
                logs.groups.iter().map(|group| group.fingerprint.clone()).take(ERRORS / 2).collect();
        }
    }

    /// An alert that is silenced or suppressed has not ended. Another source has other alerts, so none of them has.
    fn alerts(&mut self, cluster: &Cluster, now: Stamp) {
        let rows = &cluster.derived.alerts;
        if Arc::ptr_eq(&self.alerts, rows) {
            return;
        }
        let before = std::mem::replace(&mut self.alerts, rows.clone());
        let of = std::mem::replace(&mut self.alerts_of, cluster.alerts.source.clone());
        if of != self.alerts_of {
            return;
        }
        let names = |rows: &[Arc<AlertRow>]| -> BTreeSet<Name> {
            rows.iter().map(|row| row.alert.fingerprint.clone()).collect()
        };
        let (there, were) = (names(rows), names(&before));
        for fingerprint in there.difference(&were) {
            self.say(now, Happened::AlertSeen(fingerprint.clone()));
        }
        for row in before.iter().filter(|row| !there.contains(&row.alert.fingerprint)) {
            self.say(now, Happened::AlertEnded(row.clone()));
        }
    }
}

/// Calls `say` for each row whose displayed values changed.
fn each<T: Row, S: PartialEq>(
    old: &Table<T>,
    new: &Table<T>,
    then: fn(&T) -> S,
    mut say: impl FnMut(&T, Step<S>),
) {
    for chunk in new.changed_chunks(old) {
        let held: Vec<(u32, &Arc<T>)> = old.chunk(chunk).collect();
        let mut seen: Vec<&Uid> = Vec::new();
        for (_, row) in new.chunk(chunk) {
            seen.push(row.uid());
            let was = held.iter().find(|(_, old)| old.uid() == row.uid()).map(|(_, old)| *old);
            if was.is_some_and(|was| Arc::ptr_eq(was, row)) {
                continue;
            }
            let (was, is) = (was.map(|row| then(row)), then(row));
            if was.as_ref() != Some(&is) {
                say(row, Step { was, is: Some(is) });
            }
        }
        for (_, row) in held.iter().filter(|(_, row)| !seen.contains(&row.uid())) {
            say(row, Step { was: Some(then(row)), is: None });
        }
    }
}

fn node_then(row: &NodeRow) -> NodeThen {
    NodeThen {
        state: row.state,
        since: row.since,
        cordoned: row.node.cordoned,
        problems: row.problems.clone(),
        totals: row.totals,
    }
}

fn workload_then(row: &WorkloadRow) -> WorkloadThen {
    let workload = &row.workload;
    WorkloadThen {
        replicas: workload.replicas,
        desired: workload.desired,
        updated: workload.updated,
        ready: workload.ready,
        available: workload.available,
        images: workload.images.clone(),
        totals: row.totals,
        phase: row.rollout.phase,
    }
}

fn service_then(row: &ServiceRow) -> ServiceThen {
    ServiceThen { ready: row.ready, total: row.total }
}

fn hpa_then(row: &HpaRow) -> HpaThen {
    HpaThen {
        min: row.hpa.min,
        max: row.hpa.max,
        current: row.hpa.current,
        desired: row.hpa.desired,
        state: row.verdict.state,
        why: row.verdict.why.clone(),
        since: row.verdict.since,
    }
}

/// True if the line of a finding is recorded again.
fn differs(held: &Cause, cause: &Cause, age_ms: u64) -> bool {
    held.severity != cause.severity
        || age_ms >= LINE_EVERY_MS && (held.finding != cause.finding || held.impact != cause.impact)
}

/// True if one of the lines includes this finding.
fn is_included(causes: &[Arc<Cause>], finding: &Cause) -> bool {
    let Some(object) = finding.object() else { return false };
    causes.iter().any(|cause| cause.includes.iter().any(|(code, on)| *code == finding.code() && on == object))
}

/// A finding without its evidence and without most of its objects.
fn slim(cause: &Cause) -> Arc<Cause> {
    let first = |objects: &[ObjectRef]| objects.iter().take(OBJECTS).cloned().collect();
    Arc::new(Cause {
        finding: cause.finding.clone(),
        severity: cause.severity,
        objects: first(&cause.objects),
        since: cause.since,
        evidence: Vec::new(),
        action: None,
        impact: cause.impact,
        shared: Vec::new(),
        group: cause.group.clone(),
        hits: cause.hits.iter().take(OBJECTS).cloned().collect(),
        includes: cause.includes.iter().take(OBJECTS).cloned().collect(),
        progress: cause.progress.clone(),
    })
}
