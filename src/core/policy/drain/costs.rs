//! The costs of a drain in addition to budgets and endpoints: outages of workloads with one replica, lost work,
//! volumes that do not follow, and zones without nodes. Each kind has one warning.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Drain, full_name, grace_secs, span};
use crate::domain::id::{Kind, Name, Uid};
use crate::domain::plan::{DrainOptions, Few, Warning, With};
use crate::domain::pod::Pod;
use crate::domain::workload::{Strategy, Workload};
use crate::facts::world::{Cluster, NodeState};
use crate::policy::pick;

/// A longer grace period gets a warning.
const LONG_GRACE_SECS: u64 = 120;

pub(super) fn judge(
    cluster: &Cluster,
    nodes: &[Name],
    going: &[&Pod],
    options: &DrainOptions,
    elsewhere: bool,
    drain: &mut Drain,
) {
    let going: Vec<&Pod> = going.iter().copied().filter(|p| !p.phase.is_finished()).collect();
    let owners = Owners::new(cluster, &going);
    outages(&owners, drain);
    if elsewhere {
        zones(cluster, nodes, &going, &owners, drain);
    } else {
        // The placement was not checked, so the warning can only say that the volumes may not follow.
        let zone = |pod: &Pod| cluster.node(pod.node.as_ref()?)?.zone.clone();
        let bound = going.iter().filter(|p| p.shape.claims);
        let bound = bound.filter_map(|p| Some(With { name: full_name(p), of: zone(p)? })).collect();
        say(drain, bound, |pods| Warning::BoundToZone { pods });
    }
    let pods = |keep: &dyn Fn(&Pod) -> bool| {
        going.iter().filter(|p| keep(p)).map(|p| full_name(p)).collect::<Vec<_>>()
    };
    let owned = |pod: &Pod, kind: Kind| pod.owner.as_ref().is_some_and(|o| o.kind == kind);
    say(drain, pods(&|p| owned(p, Kind::StatefulSet)), |pods| Warning::SameName { pods });
    say(drain, pods(&|p| owned(p, Kind::Job)), |pods| Warning::JobsRestart { pods });
    say(drain, pods(&|p| p.shape.keep_in_place), |pods| Warning::NotSafeToEvict { pods });
    say(drain, pods(&|p| p.shape.host_path), |pods| Warning::HostPath { pods });
    if let Some(slowest) = going.iter().max_by_key(|p| grace_secs(p, options))
        && grace_secs(slowest, options) > LONG_GRACE_SECS
    {
        let grace = span(grace_secs(slowest, options));
        drain.warnings.push(Warning::LongGrace { pod: full_name(slowest), grace });
    }
    controllers(cluster, &owners, drain);
}

/// Adds one warning about all of these, if there are any.
fn say<T>(drain: &mut Drain, about: Vec<T>, warning: fn(Few<T>) -> Warning) {
    drain.warnings.extend(Warning::of(about, warning));
}

/// The workloads that own the pods, directly or through a ReplicaSet.
struct Owners<'a> {
    /// Maps a direct owner to the top owner: a ReplicaSet to its Deployment.
    top: HashMap<&'a Uid, &'a Uid>,
    /// The known workloads, by top owner.
    workloads: BTreeMap<(&'a Name, &'a Name, &'a Uid), &'a Workload>,
}

impl<'a> Owners<'a> {
    fn new(cluster: &'a Cluster, going: &[&'a Pod]) -> Self {
        let parents = &cluster.derived.replicaset_owner;
        let parent = |uid: &'a Uid| parents.get(uid).map_or(uid, |owner| &owner.uid);
        let mut tops: HashSet<&Uid> =
            going.iter().filter_map(|p| p.owner.as_ref()).map(|o| parent(&o.uid)).collect();
        let mut workloads = BTreeMap::new();
        for table in [&cluster.deployments, &cluster.statefulsets, &cluster.replicasets] {
            for w in table.iter().filter(|w| tops.contains(&w.uid)) {
                workloads.insert((&w.namespace, &w.name, &w.uid), &**w);
            }
        }
        let known: HashSet<&Uid> = workloads.keys().map(|(_, _, uid)| *uid).collect();
        tops.retain(|uid| known.contains(uid));
        let top = tops.iter().map(|uid| (*uid, *uid));
        let children =
            parents.iter().filter(|(_, o)| tops.contains(&o.uid)).map(|(child, o)| (child, &o.uid));
        Self { top: top.chain(children).collect(), workloads }
    }

    fn of(&self, pod: &Pod) -> Option<&'a Uid> {
        self.top.get(&pod.owner.as_ref()?.uid).copied()
    }
}

fn named(w: &Workload) -> String {
    format!("{}/{}", w.namespace, w.name)
}

/// Warns about workloads with one replica. They have an outage until the replacement is ready, because an eviction
/// does not surge.
fn outages(owners: &Owners<'_>, drain: &mut Drain) {
    let single = || owners.workloads.values().filter(|w| w.replicas == 1);
    let surges =
        |w: &Workload| w.kind == Kind::Deployment && w.strategy == Strategy::RollingUpdate && !w.paused;
    let names = |with: bool| single().filter(|w| surges(w) == with).map(|w| named(w)).collect::<Vec<_>>();
    say(drain, names(true), |workloads| Warning::OutageUnlessSurged { workloads });
    say(drain, names(false), |workloads| Warning::Outage { workloads });
}

/// The pods of an owner that stay, with their zones.
#[derive(Default)]
struct Staying {
    ready: u32,
    zones: HashSet<Name>,
}

/// Warns about zones that are left without a schedulable node, and about workloads that are left without a replica in
/// a zone.
fn zones(cluster: &Cluster, nodes: &[Name], going: &[&Pod], owners: &Owners<'_>, drain: &mut Drain) {
    let drained: HashSet<&Name> = nodes.iter().collect();
    drain.whole_zone = pick::empties_zone(cluster, nodes);
    let mut open: BTreeMap<&Name, bool> = BTreeMap::new();
    let mut zone_of: HashMap<&Name, &Name> = HashMap::new();
    for row in cluster.derived.nodes.iter() {
        let Some(zone) = &row.node.zone else { continue };
        zone_of.insert(&row.node.name, zone);
        let takes = row.state == NodeState::Ready && !row.node.cordoned && !drained.contains(&row.node.name);
        *open.entry(zone).or_default() |= takes;
    }
    let left: BTreeSet<&Name> = nodes.iter().filter_map(|n| zone_of.get(n).copied()).collect();
    let empty = left.iter().filter(|z| open.get(**z) == Some(&false)).map(|z| (*z).clone()).collect();
    say(drain, empty, |zones| Warning::ZonesEmptied { zones });

    let mut staying: HashMap<&Uid, Staying> = HashMap::new();
    for pod in cluster.pods.iter().filter(|p| !p.phase.is_finished() && !p.is_terminating()) {
        let Some(node) = pod.node.as_ref().filter(|n| !drained.contains(n)) else { continue };
        let Some(top) = owners.of(pod) else { continue };
        let stays = staying.entry(top).or_default();
        stays.ready += u32::from(pod.ready);
        if let Some(zone) = zone_of.get(node).filter(|z| left.contains(*z)) {
            stays.zones.insert((*zone).clone());
        }
    }
    // The workloads that lose pods, by zone.
    let mut losing: BTreeSet<(&Name, &Uid)> = BTreeSet::new();
    for pod in going {
        if let (Some(zone), Some(top)) = (pod.node.as_ref().and_then(|n| zone_of.get(n)), owners.of(pod)) {
            losing.insert((zone, top));
        }
    }
    let (mut all, mut last) = (Vec::new(), Vec::new());
    let serving: HashSet<&Uid> = going.iter().filter(|p| p.ready).filter_map(|p| owners.of(p)).collect();
    for w in owners.workloads.values().filter(|w| w.replicas > 1) {
        let stays = staying.get(&w.uid);
        if stays.is_none_or(|s| s.ready == 0) {
            // A workload without any ready pod loses nothing.
            all.extend(serving.contains(&w.uid).then(|| named(w)));
            continue;
        }
        // Zones without nodes already have a warning.
        let gone = left.iter().filter(|z| open.get(**z) == Some(&true)).find(|zone| {
            losing.contains(&(**zone, &w.uid)) && stays.is_some_and(|s| !s.zones.contains(**zone))
        });
        if let Some(zone) = gone {
            last.push(With { name: named(w), of: (*zone).clone() });
        }
    }
    say(drain, all, |workloads| Warning::AllReadyReplicas { workloads });
    say(drain, last, |workloads| Warning::LastInZone { workloads });
}

/// Warns about autoscalers at their maximum, and about workloads that GitOps controllers manage.
fn controllers(cluster: &Cluster, owners: &Owners<'_>, drain: &mut Drain) {
    let scaled: HashMap<(&Name, &Kind, &Name), &crate::domain::autoscaler::Hpa> =
        cluster.hpas.iter().map(|h| ((&h.namespace, &h.target_kind, &h.target_name), &**h)).collect();
    let full = owners
        .workloads
        .values()
        .filter_map(|w| scaled.get(&(&w.namespace, &w.kind, &w.name)))
        .filter(|h| h.current.is_some_and(|n| n >= h.max))
        .map(|h| With { name: format!("{}/{}", h.namespace, h.name), of: h.max })
        .collect();
    say(drain, full, |hpas| Warning::AutoscalersFull { hpas });
    let reverted = owners
        .workloads
        .values()
        .filter_map(|w| Some((w, w.managed_by.as_ref().filter(|by| by.tool.reverts())?)))
        .map(|(w, by)| With { name: named(w), of: by.clone() })
        .collect();
    say(drain, reverted, |workloads| Warning::GitOpsReverts { workloads });
}
