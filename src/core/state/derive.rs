//! Data derived from the facts. It is updated incrementally. The sums for each node and each owner add the new row
//! and subtract the old one. The joined rows for the panes, the counts and the changes are kept here too.
//!
//! A property test compares the sums with a calculation from scratch.

mod alerts;
mod join;
mod leaving;
mod nodes;
mod policies;
mod services;
mod slos;
mod verdicts;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::domain::alert::AlertRow;
use crate::domain::id::{ClusterId, Name, Owner, Uid, Version};
use crate::domain::node::NodeLease;
use crate::domain::pod::{Phase, Pod, Trouble};
use crate::domain::time::Stamp;
use crate::domain::workload::Workload;
use crate::policy::{health, rollout};

use self::join::Joined;
use self::leaving::Leaving;
use self::policies::Policies;
use super::changes::Changes;
use crate::domain::traffic::TrafficSeen;
use crate::facts::events_about::EventsAbout;
use crate::facts::latency::Latency;
use crate::facts::reduce::{Delta, Dirty, Facts, Parts};
use crate::facts::routes::RouteIndex;
use crate::facts::table::{Rows, Wrote};
use crate::facts::world::{
    Counts, Derived, HpaRow, NodeRow, NodeState, NodeTotals, OwnerTotals, ServiceRow, SloRow, TrafficRow,
    WorkloadRow,
};

/// The hub's working data, in addition to the published [`Derived`].
#[derive(Default)]
pub struct Derivation {
    cluster: ClusterId,
    node_totals: HashMap<Name, NodeTotals>,
    owner_totals: HashMap<Uid, OwnerTotals>,
    /// Maps a Deployment's uid to its ReplicaSets.
    children: HashMap<Uid, Vec<Uid>>,
    replicaset_owner: Arc<HashMap<Uid, Arc<Owner>>>,
    node_by_name: HashMap<Name, Uid>,
    lease_by_node: HashMap<Name, Uid>,
    service_by_name: HashMap<(Name, Name), Uid>,
    slices_by_service: HashMap<(Name, Name), Vec<Uid>>,
    nodes: Rows<NodeRow>,
    workloads: Rows<WorkloadRow>,
    services: Rows<ServiceRow>,
    hpas: Rows<HpaRow>,
    joined: Joined,
    traffic: Arc<[Arc<TrafficRow>]>,
    slos: Arc<[Arc<SloRow>]>,
    alerts: Arc<[Arc<AlertRow>]>,
    /// The rows of the poll before.
    traffic_before: Arc<[Arc<TrafficRow>]>,
    routes: RouteIndex,
    /// The policy of each service of the traffic, in the same order.
    policies: Policies,
    /// The poll of the traffic that the rows are from.
    polled: Option<Arc<TrafficSeen>>,
    /// True if the endpoints were completely known at the last update.
    endpoints_known: bool,
    /// True if the pods were completely known at the last update.
    pods_known: bool,
    /// True if the numbers from before the first poll came with this update.
    are_trends_new: bool,
    leaving: Leaving,
    /// Pods that are not ready yet. They do not count as bad during the usual start time.
    starting: HashMap<Uid, Arc<Pod>>,
    /// Pods with a problem, for the rules.
    pub bad: HashMap<Uid, Arc<Pod>>,
    /// Pods that are starting or terminating. They have no problem unless it takes too long.
    pub unsettled: HashMap<Uid, Arc<Pod>>,
    /// Pods that a person took out of rotation.
    pub apart: HashMap<Uid, Arc<Pod>>,
    pub events: EventsAbout,
    pub latency: Latency,
    pub counts: Counts,
    pub changes: Changes,
    /// ReplicaSets that arrived before their list was complete.
    waiting_replicasets: Vec<Delta<crate::domain::workload::Workload>>,
    /// Whether the roll-backs from before the start were added to the changes.
    roll_backs_told: bool,
}

impl Derivation {
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, changes: Changes::new(cluster), ..Self::default() }
    }

    /// Updates everything that depends on the changes in `dirty`. Returns the parts whose *derived* rows changed.
    pub fn update(&mut self, facts: &Facts, dirty: &Dirty, now: Stamp) -> Parts {
        let mut changed = Parts::default();
        let mut nodes: HashSet<Name> = dirty.usage.iter().cloned().collect();
        nodes.extend(self.nodes_with_past(dirty));
        let mut owners: HashSet<Uid> = HashSet::new();
        for delta in &dirty.pods {
            self.pod(facts, delta, now, &mut nodes, &mut owners);
        }
        for delta in &dirty.nodes {
            self.node(facts, delta, now, &mut nodes, &mut owners);
        }
        for delta in &dirty.leases {
            if let Some(lease) = delta.new.as_ref().or(delta.old.as_ref()) {
                if delta.new.is_some() {
                    self.lease_by_node.insert(lease.node.clone(), lease.uid.clone());
                } else if self.lease_by_node.get(&lease.node) == Some(&lease.uid) {
                    self.lease_by_node.remove(&lease.node);
                }
                nodes.insert(lease.node.clone());
            }
        }
        for delta in &dirty.replicasets {
            self.replicaset(delta, &mut owners);
        }
        for delta in &dirty.events {
            self.events.event(delta);
        }
        self.tell_rollouts(facts, dirty, now);
        for delta in dirty.workloads() {
            self.changes.workload(delta, now);
            if let Some(workload) = delta.new.as_ref().or(delta.old.as_ref()) {
                owners.insert(workload.uid.clone());
            }
        }
        for delta in &dirty.hpas {
            self.changes.hpa(delta, now);
        }
        if self.refresh_hpas(dirty, now) {
            changed.add(Parts::HPAS);
        }
        for name in &nodes {
            if self.refresh_node(facts, name, now, &mut owners) {
                changed.add(Parts::NODES);
            }
        }
        if changed.meets(Parts::NODES) || dirty.nodes.iter().any(|d| d.new.is_none()) {
            self.recount_nodes();
            changed.add(Parts::NODES);
        }
        // A ReplicaSet that just got an owner had a row of its own before.
        changed.add(self.refresh_workloads(facts, owners));
        if self.refresh_services(facts, dirty, now) {
            changed.add(Parts::SERVICES);
        }
        if self.refresh_shares(facts, dirty, changed) {
            changed.add(Parts::SERVICES);
        }
        if self.refresh_alerts(facts, dirty) {
            changed.add(Parts::ALERTS);
        }
        changed
    }

    /// Updates the verdicts that change with time alone: nodes whose lease was not renewed, pods that take too long
    /// to become ready, and autoscalers that never got a status. Only rows whose verdict can have changed are judged.
    /// Returns the parts whose rows changed.
    pub fn tick(&mut self, facts: &Facts, now: Stamp) -> Parts {
        let silent = |lease: &&Arc<NodeLease>| now.since(lease.seen_at) > health::SUSPECT_AFTER_MS;
        let mut due: HashSet<Name> =
            facts.leases.table().iter().filter(silent).map(|l| l.node.clone()).collect();
        let suspect = |row: &&Arc<NodeRow>| row.state == NodeState::Suspect;
        due.extend(self.nodes.table().iter().filter(suspect).map(|row| row.node.name.clone()));
        let mut changed = Parts::default();
        let mut owners = HashSet::new();
        let late: Vec<Arc<Pod>> = self.starting.values().filter(|p| !p.is_starting(now)).cloned().collect();
        for pod in late {
            self.count_pod(&pod, -1);
            self.starting.remove(&pod.uid);
            self.count_pod(&pod, 1);
            due.extend(pod.node.clone());
            owners.extend(pod.owner.as_ref().map(|owner| owner.uid.clone()));
            changed.add(Parts::PODS);
        }
        // Time alone can make a node suspect, but not dead.
        for name in due {
            if self.refresh_node(facts, &name, now, &mut HashSet::new()) {
                changed.add(Parts::NODES);
            }
        }
        if changed.meets(Parts::NODES) {
            self.recount_nodes();
        }
        changed.add(self.refresh_workloads(facts, owners));
        if self.tick_hpas(now) {
            changed.add(Parts::HPAS);
        }
        changed
    }

    /// Updates the rows of these owners, and of the workloads that own them.
    fn refresh_workloads(&mut self, facts: &Facts, mut owners: HashSet<Uid>) -> Parts {
        let tops: Vec<Uid> = owners
            .iter()
            .filter_map(|uid| self.replicaset_owner.get(uid))
            .map(|owner| owner.uid.clone())
            .collect();
        owners.extend(tops);
        let mut changed = Parts::default();
        for uid in &owners {
            if self.refresh_workload(facts, uid) {
                changed.add(Parts::WORKLOADS);
            }
        }
        changed
    }

    /// Writes the published form.
    pub fn publish(&mut self, into: &mut Derived, now: Stamp) {
        into.nodes = self.nodes.table().clone();
        into.workloads = self.workloads.table().clone();
        into.services = self.services.table().clone();
        into.hpas = self.hpas.table().clone();
        into.traffic = self.traffic.clone();
        into.slos = self.slos.clone();
        into.alerts = self.alerts.clone();
        into.routes = self.routes.told().clone();
        into.replicaset_owner = self.replicaset_owner.clone();
        into.counts = self.counts;
        if let Some(changes) = self.changes.take(now) {
            into.changes = changes;
        }
    }

    fn pod(
        &mut self,
        facts: &Facts,
        delta: &Delta<Pod>,
        now: Stamp,
        nodes: &mut HashSet<Name>,
        owners: &mut HashSet<Uid>,
    ) {
        if let (Some(old), Some(new)) = (&delta.old, &delta.new) {
            self.changes.pod(old, new, now);
            if new.is_evicted() && !old.is_evicted() {
                let node = new.node.as_ref().and_then(|name| self.node_by_name.get(name));
                let node = node.and_then(|uid| facts.nodes.get(uid)).map(AsRef::as_ref);
                self.changes.evicted(new, node, now);
            }
        }
        if let Some(old) = &delta.old {
            self.count_pod(old, -1);
            self.starting.remove(&old.uid);
            self.bad.remove(&old.uid);
            self.unsettled.remove(&old.uid);
            self.apart.remove(&old.uid);
            self.leaving.remove(old);
        }
        if let Some(new) = &delta.new {
            if new.is_starting(now) {
                self.starting.insert(new.uid.clone(), new.clone());
            }
            self.count_pod(new, 1);
            self.leaving.add(new);
            if new.is_bad() || self.leaving.is_stuck(new) {
                self.bad.insert(new.uid.clone(), new.clone());
            }
            if new.is_unsettled() {
                self.unsettled.insert(new.uid.clone(), new.clone());
            }
            if !new.taken().is_empty() {
                self.apart.insert(new.uid.clone(), new.clone());
            }
        }
        for pod in [&delta.old, &delta.new].into_iter().flatten() {
            if let Some(node) = &pod.node {
                nodes.insert(node.clone());
            }
            if let Some(owner) = &pod.owner {
                owners.insert(owner.uid.clone());
            }
        }
    }

    fn count_pod(&mut self, pod: &Pod, sign: i64) {
        let bump = |n: &mut u32, yes: bool| *n = n.saturating_add_signed((i64::from(yes) * sign) as i32);
        let bad = pod.is_bad() && !self.starting.contains_key(&pod.uid) || self.leaving.is_stuck(pod);
        let counts = &mut self.counts;
        bump(&mut counts.pods, true);
        bump(&mut counts.pods_bad, bad);
        bump(&mut counts.pods_pending, pod.phase == Phase::Pending);
        bump(&mut counts.pods_unschedulable, pod.trouble == Some(Trouble::Unschedulable));
        if let Some(node) = &pod.node
            && !pod.phase.is_finished()
        {
            let totals = self.node_totals.entry(node.clone()).or_default();
            bump(&mut totals.pods, true);
            bump(&mut totals.bad, bad);
            bump(&mut totals.terminating, pod.is_terminating());
            totals.requests = if sign > 0 {
                totals.requests.plus(pod.requests)
            } else {
                totals.requests.minus(pod.requests)
            };
            if totals.pods == 0 {
                self.node_totals.remove(node);
            }
        }
        if let Some(owner) = &pod.owner {
            let totals = self.owner_totals.entry(owner.uid.clone()).or_default();
            bump(&mut totals.pods, true);
            bump(&mut totals.ready, pod.ready);
            bump(&mut totals.bad, bad);
            bump(&mut totals.terminating, pod.is_terminating());
            totals.restarts = totals.restarts.saturating_add_signed(i64::from(pod.restarts) * sign);
            bump(&mut totals.crash_loop, pod.trouble == Some(Trouble::CrashLoop));
            bump(&mut totals.image_pull, pod.trouble == Some(Trouble::ImagePull));
            bump(&mut totals.config, pod.trouble == Some(Trouble::Config));
            bump(&mut totals.oom, pod.trouble == Some(Trouble::OomKilled));
            bump(&mut totals.unschedulable, pod.trouble == Some(Trouble::Unschedulable));
            if totals.pods == 0 {
                self.owner_totals.remove(&owner.uid);
            }
        }
    }

    fn replicaset(&mut self, delta: &Delta<crate::domain::workload::Workload>, owners: &mut HashSet<Uid>) {
        if let Some(old) = &delta.old
            && delta.new.as_ref().is_none_or(|new| new.owner != old.owner)
        {
            Arc::make_mut(&mut self.replicaset_owner).remove(&old.uid);
            if let Some(owner) = &old.owner {
                if let Some(list) = self.children.get_mut(&owner.uid) {
                    list.retain(|uid| *uid != old.uid);
                    if list.is_empty() {
                        self.children.remove(&owner.uid);
                    }
                }
                owners.insert(owner.uid.clone());
            }
            owners.insert(old.uid.clone());
        }
        let Some(new) = &delta.new else { return };
        owners.insert(new.uid.clone());
        if let Some(owner) = &new.owner
            && self.replicaset_owner.get(&new.uid) != Some(owner)
        {
            Arc::make_mut(&mut self.replicaset_owner).insert(new.uid.clone(), owner.clone());
            let list = self.children.entry(owner.uid.clone()).or_default();
            if !list.contains(&new.uid) {
                list.push(new.uid.clone());
            }
        }
    }

    /// Adds rollouts as soon as the list of ReplicaSets is complete. The previous ReplicaSet must be known.
    fn tell_rollouts(&mut self, facts: &Facts, dirty: &Dirty, now: Stamp) {
        let oldest = now.plus_secs(-crate::state::changes::WINDOW_SECS);
        let worth = dirty.replicasets.iter().filter(|d| {
            d.new.as_ref().is_some_and(|n| match &d.old {
                None => n.created >= oldest,
                Some(old) => old.revision != n.revision,
            })
        });
        self.waiting_replicasets.extend(worth.cloned());
        if !facts.replicasets.table().cover.is_read() {
            return;
        }
        let children = &self.children;
        let sets = |owner: &Uid| -> Vec<&Arc<Workload>> {
            children.get(owner).into_iter().flatten().filter_map(|uid| facts.replicasets.get(uid)).collect()
        };
        for delta in std::mem::take(&mut self.waiting_replicasets) {
            let owner = delta.new.as_ref().and_then(|rs| rs.owner.as_ref());
            let sets = owner.map(|owner| sets(&owner.uid)).unwrap_or_default();
            self.changes.replicaset(facts, &sets, &delta, now);
        }
        if !self.roll_backs_told && facts.deployments.table().cover.is_read() {
            self.roll_backs_told = true;
            for deployment in facts.deployments.table().iter() {
                self.changes.rolled_back(deployment, &sets(&deployment.uid), now);
            }
        }
    }

    fn refresh_workload(&mut self, facts: &Facts, uid: &Uid) -> bool {
        // A ReplicaSet without an owner is a workload of its own.
        let workload =
            facts.workload(uid).or_else(|| facts.replicasets.get(uid).filter(|rs| rs.owner.is_none()));
        let Some(workload) = workload else {
            return matches!(self.workloads.remove(uid, Version(0)), Wrote::Removed(_));
        };
        let mut totals = self.owner_totals.get(uid).copied().unwrap_or_default();
        for child in self.children.get(uid).into_iter().flatten() {
            if let Some(more) = self.owner_totals.get(child) {
                totals = totals.plus(*more);
            }
        }
        let row = WorkloadRow { workload: workload.clone(), totals, rollout: rollout::judge(workload) };
        put(&mut self.workloads, row)
    }
}

/// Upserts a joined row. Returns false if its content has not changed. The versions of objects are compared when
/// their facts are applied, so the last row wins here.
fn put<T: crate::facts::table::Row>(rows: &mut Rows<T>, row: T) -> bool {
    if let Some(held) = rows.get(row.uid()).cloned() {
        if held.same_content(&row) {
            return false;
        }
        if row.version() < held.version() {
            rows.remove(held.uid(), Version(0));
        }
    }
    !matches!(rows.upsert(row), Wrote::Ignored)
}

impl OwnerTotals {
    fn plus(self, o: Self) -> Self {
        Self {
            pods: self.pods + o.pods,
            ready: self.ready + o.ready,
            bad: self.bad + o.bad,
            terminating: self.terminating + o.terminating,
            restarts: self.restarts + o.restarts,
            crash_loop: self.crash_loop + o.crash_loop,
            image_pull: self.image_pull + o.image_pull,
            config: self.config + o.config,
            oom: self.oom + o.oom,
            unschedulable: self.unschedulable + o.unschedulable,
        }
    }
}
