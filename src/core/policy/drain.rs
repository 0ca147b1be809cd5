//! Drains nodes like kubectl does: which pods are evicted, which are skipped, and which block the node. It also
//! reports which budgets block evictions, which Services lose endpoints, and which pods find no other node. kubectl
//! does not report these.
//!
//! Semantics: kubectl's `pkg/drain/filters.go` and the eviction subresource's `eviction.go`. The order of the filters
//! is skip-deleted, DaemonSet, mirror, local storage, no controller. The first filter that returns "do not delete"
//! ends the chain. An owner of kind DaemonSet is looked up by name among the DaemonSets of `apps/v1`.

mod budgets;
mod costs;
mod services;

use std::collections::{BTreeMap, HashMap};

use super::placement;
use crate::domain::id::{Kind, Name, ObjectRef, Owner, Uid};
use crate::domain::plan::{
    All, DrainOptions, Fate, Few, FilterRefusal, Lacking, Lookup, LookupResult, Lookups, PdbEffect, PodFate,
    Pods, Refusal, ServiceEffect, Unplaced, Unread, Warning, With,
};
use crate::domain::pod::Pod;
use crate::domain::time::Stamp;
use crate::facts::table::Coverage;
use crate::facts::world::Cluster;

/// The result of one filter.
enum Verdict {
    Delete { warning: Option<FilterWarning> },
    Skip { warning: Option<FilterWarning> },
    Error(FilterRefusal),
}

/// The warnings of kubectl's filters, in the order of kubectl's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FilterWarning {
    Unmanaged,
    DaemonSetGone,
    LocalStorage,
    DaemonSetIgnored,
}

impl FilterWarning {
    /// Returns the warning about these pods.
    fn of(self, pods: Vec<String>) -> Warning {
        let pods = Few(pods);
        match self {
            Self::Unmanaged => Warning::UnmanagedPods { pods },
            Self::DaemonSetGone => Warning::OrphanedDaemonSetPods { pods },
            Self::LocalStorage => Warning::LocalStoragePods { pods },
            Self::DaemonSetIgnored => Warning::DaemonSetPodsIgnored { pods },
        }
    }
}

/// The result of all filters for one pod. Budgets are judged later.
enum Judged {
    Evict(Option<FilterWarning>),
    Skip(Option<FilterWarning>),
    Refuse(FilterRefusal),
}

/// Whether the DaemonSet that owns a pod exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonSet {
    There,
    Gone,
    /// It is not known, because of this error of the server.
    Unread(String),
}

/// Returns the DaemonSet that a pod's owner names. Returns `None` if the owner is of another kind or group. Also
/// returns `None` if the pod has finished, because the DaemonSet then does not matter.
///
/// kubectl 1.36 compares the kind and the group. kubectl 1.32 compares only the kind, so it looks for the name of
/// another group's DaemonSet in `apps/v1`.
pub fn daemonset_of(pod: &Pod) -> Option<&Owner> {
    pod.owner.as_deref().filter(|o| o.kind == Kind::DaemonSet && !pod.phase.is_finished())
}

/// Returns what is read of a pod's DaemonSet. The lookup is by name, like in kubectl, so an earlier DaemonSet with the
/// same name counts too.
fn daemonset_lookup(cluster: &Cluster, pod: &Pod) -> Option<ObjectRef> {
    let owner = daemonset_of(pod)?;
    Some(cluster.object(Kind::DaemonSet, &pod.namespace, &owner.name, &Uid::default()))
}

/// Returns the DaemonSets of the pods on these nodes that are not in the shared state. Each of them has to be read.
pub fn daemonsets_to_read(cluster: &Cluster, nodes: &[Name]) -> Vec<ObjectRef> {
    let table = &cluster.daemonsets;
    if table.cover.is_complete() {
        return Vec::new();
    }
    let here = cluster.pods.iter().filter(|p| p.node.as_ref().is_some_and(|n| nodes.contains(n)));
    let mut asked: Vec<ObjectRef> = here.filter_map(|p| daemonset_lookup(cluster, p)).collect();
    asked.sort();
    asked.dedup();
    asked.retain(|on| !table.cover.covers(&on.namespace));
    asked
}

/// Returns whether a pod's DaemonSet exists, from the shared state or from the lookups of the plan.
fn find(cluster: &Cluster, lookups: &Lookups, pod: &Pod) -> DaemonSet {
    let Some(on) = daemonset_lookup(cluster, pod) else { return DaemonSet::There };
    let table = &cluster.daemonsets;
    if table.iter().any(|d| d.name == on.name && d.namespace == on.namespace) {
        return DaemonSet::There;
    }
    if table.cover.covers(&on.namespace) {
        return DaemonSet::Gone;
    }
    match lookups.get(&Lookup::Object { context: Name::default(), on }) {
        Some(LookupResult::Objects(_)) => DaemonSet::There,
        Some(LookupResult::Absent) => DaemonSet::Gone,
        Some(LookupResult::Unread(why)) => DaemonSet::Unread(why.clone()),
        Some(LookupResult::Fleet(_)) | None => DaemonSet::Unread(String::new()),
    }
}

/// One filter of the chain. Its arguments are the pod, the options, the state of its DaemonSet and the time.
type Filter = fn(&Pod, &DrainOptions, &DaemonSet, Stamp) -> Verdict;

const FILTERS: [Filter; 5] = [skip_deleted, daemonset, mirror, local_storage, unreplicated];

fn skip_deleted(pod: &Pod, options: &DrainOptions, _: &DaemonSet, now: Stamp) -> Verdict {
    let limit = options.skip_wait_for_delete_timeout;
    match pod.deleting {
        Some(at) if limit > 0 && now.secs_since(at) > limit => Verdict::Skip { warning: None },
        _ => Verdict::Delete { warning: None },
    }
}

fn daemonset(pod: &Pod, options: &DrainOptions, set: &DaemonSet, _: Stamp) -> Verdict {
    if daemonset_of(pod).is_none() {
        return Verdict::Delete { warning: None };
    }
    match (set, options.ignore_daemonsets, options.force) {
        (DaemonSet::Unread(_), ..) => Verdict::Error(FilterRefusal::DaemonSetNotReadable),
        (DaemonSet::Gone, _, true) => Verdict::Delete { warning: Some(FilterWarning::DaemonSetGone) },
        (DaemonSet::Gone, _, false) => Verdict::Error(FilterRefusal::DaemonSetGone),
        (DaemonSet::There, true, _) => Verdict::Skip { warning: Some(FilterWarning::DaemonSetIgnored) },
        (DaemonSet::There, false, _) => Verdict::Error(FilterRefusal::DaemonSet),
    }
}

fn mirror(pod: &Pod, _: &DrainOptions, _: &DaemonSet, _: Stamp) -> Verdict {
    if pod.mirror { Verdict::Skip { warning: None } } else { Verdict::Delete { warning: None } }
}

fn local_storage(pod: &Pod, options: &DrainOptions, _: &DaemonSet, _: Stamp) -> Verdict {
    if !pod.shape.empty_dir || pod.phase.is_finished() {
        Verdict::Delete { warning: None }
    } else if options.delete_emptydir_data {
        Verdict::Delete { warning: Some(FilterWarning::LocalStorage) }
    } else {
        Verdict::Error(FilterRefusal::LocalStorage)
    }
}

fn unreplicated(pod: &Pod, options: &DrainOptions, _: &DaemonSet, _: Stamp) -> Verdict {
    if pod.owner.is_some() || pod.phase.is_finished() {
        Verdict::Delete { warning: None }
    } else if options.force {
        Verdict::Delete { warning: Some(FilterWarning::Unmanaged) }
    } else {
        Verdict::Error(FilterRefusal::Unmanaged)
    }
}

/// Runs all filters on one pod.
fn judge(pod: &Pod, options: &DrainOptions, set: &DaemonSet, now: Stamp) -> Judged {
    let mut group = None;
    for filter in FILTERS {
        match filter(pod, options, set, now) {
            // kubectl drops a warning if a later filter returns none. Here the warning is kept.
            Verdict::Delete { warning } => group = warning.or(group),
            Verdict::Skip { warning } => return Judged::Skip(warning),
            Verdict::Error(why) => return Judged::Refuse(why),
        }
    }
    Judged::Evict(group)
}

impl Judged {
    /// Returns the pod's fate, with the reason that is shown next to it.
    fn fate(&self, pod: &Pod) -> (Fate, String) {
        match self {
            Self::Skip(Some(_)) => (Fate::Skip, "managed by a DaemonSet".into()),
            Self::Skip(None) if pod.mirror => (Fate::Skip, "static pod (mirror)".into()),
            Self::Skip(None) => (Fate::Skip, "has been terminating for too long to wait for".into()),
            Self::Refuse(why) => (Fate::Refuse, why.to_string()),
            Self::Evict(group) => {
                let reason = match group {
                    Some(FilterWarning::LocalStorage) => "its emptyDir data is lost",
                    Some(FilterWarning::Unmanaged) => "nothing will re-create it",
                    Some(FilterWarning::DaemonSetGone) => "deleting Pods that have no DaemonSet any more",
                    Some(FilterWarning::DaemonSetIgnored) => "ignoring DaemonSet-managed Pods",
                    None if pod.phase.is_finished() => "finished",
                    None if pod.is_terminating() => "already terminating",
                    None => "",
                };
                (Fate::Evict, reason.into())
            }
        }
    }
}

/// Judges a pod that was created after the plan was made. Only the filters run. `set` is the state of its DaemonSet.
pub fn fate(pod: &Pod, options: &DrainOptions, set: &DaemonSet, now: Stamp) -> (Fate, String) {
    judge(pod, options, set, now).fate(pod)
}

/// The effects of a drain.
#[derive(Debug, Default)]
pub struct Drain {
    pub pods: Vec<PodFate>,
    pub pdbs: Vec<PdbEffect>,
    pub services: Vec<ServiceEffect>,
    pub unplaced: Vec<Unplaced>,
    pub warnings: Vec<Warning>,
    pub unread: Vec<Unread>,
    pub refusals: Vec<Refusal>,
    /// True if the drained nodes include all nodes of a zone.
    pub whole_zone: bool,
}

/// Rehearses a drain. The caller must check that the pods are completely known. Other data that could not be read is
/// reported in the result.
///
/// `lookups` has the results for [`daemonsets_to_read`]. `elsewhere` is true if the pods of other nodes are known
/// too. Without them, the placement of pods cannot be checked.
pub fn rehearse(
    cluster: &Cluster,
    nodes: &[Name],
    options: &DrainOptions,
    lookups: &Lookups,
    elsewhere: bool,
    now: Stamp,
) -> Drain {
    let mut drain = Drain::default();
    let mut groups: BTreeMap<FilterWarning, Vec<String>> = BTreeMap::new();
    let mut errors: BTreeMap<FilterRefusal, Vec<String>> = BTreeMap::new();
    let mut going: Vec<&Pod> = Vec::new();
    let mut by_node: HashMap<&Name, Vec<&Pod>> = nodes.iter().map(|n| (n, Vec::new())).collect();
    for pod in cluster.pods.iter() {
        if let Some(pods) = pod.node.as_ref().and_then(|node| by_node.get_mut(node)) {
            pods.push(pod);
        }
    }
    for node in nodes {
        let mut pods = by_node.remove(node).unwrap_or_default();
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let mut refused = false;
        let first = drain.pods.len();
        for pod in pods {
            let set = find(cluster, lookups, pod);
            if let DaemonSet::Unread(why) = &set {
                unread_daemonset(&mut drain.unread, &pod.namespace, why);
            }
            let judged = judge(pod, options, &set, now);
            match judged {
                Judged::Refuse(why) => {
                    refused = true;
                    errors.entry(why).or_default().push(full_name(pod));
                }
                Judged::Evict(Some(group)) | Judged::Skip(Some(group)) => {
                    groups.entry(group).or_default().push(full_name(pod));
                }
                Judged::Evict(None) | Judged::Skip(None) => {}
            }
            let (fate, reason) = judged.fate(pod);
            if fate == Fate::Evict {
                going.push(pod);
            }
            drain.pods.push(PodFate {
                pod: pod.reference(cluster.id()),
                node: node.clone(),
                fate,
                reason,
                owner: pod.owner.as_ref().map_or_else(String::new, |o| format!("{}/{}", o.kind, o.name)),
            });
        }
        if refused {
            // kubectl evicts no pod of such a node. The pods that could be evicted are shown anyway.
            let count = drain.pods.iter().skip(first).filter(|p| p.fate == Fate::Evict).count();
            drain.warnings.push(Warning::NothingEvicted { node: node.clone(), pods: count });
        }
    }
    drain
        .refusals
        .extend(errors.into_iter().map(|(filter, pods)| Refusal::Filter { filter, pods: All(pods) }));
    if !options.disable_eviction {
        budgets::judge(cluster, &going, options, &mut drain);
    }
    services::judge(cluster, &going, &mut drain);
    fit(cluster, nodes, &going, elsewhere, &mut drain);
    costs::judge(cluster, nodes, &going, options, elsewhere, &mut drain);
    drain.warnings.extend(groups.into_iter().map(|(group, pods)| group.of(pods)));
    drain
}

/// Adds the namespace to the one entry for DaemonSets that could not be read.
fn unread_daemonset(unread: &mut Vec<Unread>, namespace: &Name, why: &str) {
    match unread.iter_mut().find(|u| u.what == Lacking::DaemonSets) {
        Some(held) if held.namespaces.contains(namespace) => {}
        Some(held) => held.namespaces.push(namespace.clone()),
        None => {
            let namespaces = vec![namespace.clone()];
            unread.push(Unread { what: Lacking::DaemonSets, namespaces, why: why.to_owned() });
        }
    }
}

/// Returns the namespaces of these pods that a table does not completely cover, with the reason.
fn lacking(what: Lacking, tables: &[&Coverage], pods: &[&Pod]) -> Option<Unread> {
    let mut namespaces: Vec<Name> = Vec::new();
    let known = |namespace: &str| tables.iter().all(|cover| cover.covers(namespace));
    for pod in pods {
        if !namespaces.contains(&pod.namespace) && !known(&pod.namespace) {
            namespaces.push(pod.namespace.clone());
        }
    }
    namespaces.sort();
    let why = tables.iter().find_map(|cover| match cover {
        Coverage::Denied(why) => Some(why.to_string()),
        Coverage::Never | Coverage::Loading { .. } => Some("no answer yet".into()),
        _ => None,
    });
    (!namespaces.is_empty()).then(|| Unread { what, namespaces, why: why.unwrap_or_default() })
}

/// Judges single pods that a person selected: which budgets block them, and which endpoints their Services keep.
pub fn single(cluster: &Cluster, pods: Vec<PodFate>, options: &DrainOptions) -> Drain {
    let named = |fate: &PodFate| cluster.pods.by_uid(&fate.pod.uid).map(AsRef::as_ref);
    let going: Vec<&Pod> = pods.iter().filter_map(named).collect();
    let mut drain = Drain { pods, ..Drain::default() };
    if !options.disable_eviction {
        budgets::judge(cluster, &going, options, &mut drain);
    }
    services::judge(cluster, &going, &mut drain);
    drain
}

/// Checks where pods can run that are deleted with their nodes. Only the warnings and the unplaced pods are set.
pub fn elsewhere(cluster: &Cluster, nodes: &[Name], going: &[&Pod], whole: bool) -> Drain {
    let mut drain = Drain::default();
    fit(cluster, nodes, going, whole, &mut drain);
    drain
}

/// Adds the pods that find no other node, and the limits of the check.
fn fit(cluster: &Cluster, nodes: &[Name], going: &[&Pod], elsewhere: bool, drain: &mut Drain) {
    if !elsewhere {
        drain.warnings.push(Warning::PlacementUnchecked);
        return;
    }
    if !cluster.nodes.cover.is_complete() {
        drain.warnings.push(Warning::PlacementPartial);
    }
    let placement = placement::place(cluster, nodes, going);
    if !placement.unplaced.is_empty() {
        drain.warnings.push(Warning::NoRoom { pods: Pods(placement.unplaced.len()) });
    }
    let far = placement
        .placed
        .iter()
        .filter_map(|p| Some(With { name: format!("{}/{}", p.namespace, p.name), of: p.out_of.clone()? }));
    drain.warnings.extend(
        [
            Warning::of(far.collect(), |pods| Warning::OutsideZone { pods }),
            Warning::of(placement.extended, |pods| Warning::ExtendedResources { pods }),
            Warning::of(placement.by_labels, |pods| Warning::AffinityUnjudged { pods }),
        ]
        .into_iter()
        .flatten(),
    );
    drain.unplaced = placement.unplaced;
}

fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// Returns a time span to the second: `45s`, `1m30s`, `2h`. Estimates that are added up need the seconds.
fn span(secs: u64) -> String {
    let (hours, minutes, rest) = (secs / 3600, secs / 60 % 60, secs % 60);
    let part = |n: u64, unit: &str| if n > 0 { format!("{n}{unit}") } else { String::new() };
    if secs == 0 {
        return "0s".into();
    }
    part(hours, "h") + &part(minutes, "m") + &part(rest, "s")
}

/// Returns the grace period of a pod: the one of the drain if it is set, or else the pod's own.
fn grace_secs(pod: &Pod, options: &DrainOptions) -> u64 {
    u64::try_from(options.grace_period).unwrap_or_else(|_| u64::from(pod.shape.grace_secs.unwrap_or(30)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::autoscaler::Hpa;
    use crate::domain::budget::Pdb;
    use crate::domain::id::{Owner, Version};
    use crate::domain::node::{Condition, Node, Status};
    use crate::domain::plan::{Act, BudgetWait, Confirm, Intent};
    use crate::domain::pod::{Phase, PodShape};
    use crate::domain::quantity::Resources;
    use crate::domain::selector::Selector;
    use crate::domain::service::{Endpoint, EndpointSlice, Service};
    use crate::domain::settings::GuardSettings;
    use crate::domain::traffic::{ServiceTraffic, TrafficSeen};
    use crate::domain::workload::{ManagedBy, Tool, Workload};
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::plan;
    use crate::policy::pick;
    use crate::state::ClusterState;

    fn pod(id: u32, edit: impl Fn(&mut Pod)) -> Pod {
        let mut pod = Pod {
            uid: Uid::Uuid(u128::from(id)),
            version: Version(1),
            namespace: "shop".into(),
            name: format!("p{id:02}").into(),
            node: Some("n".into()),
            owner: Some(Arc::new(Owner {
                kind: Kind::ReplicaSet,
                name: "rs".into(),
                uid: Uid::Uuid(900),
                group: "apps".into(),
            })),
            shape: Arc::new(PodShape { labels: [("app".into(), "a".into())].into(), ..PodShape::default() }),
            phase: Phase::Running,
            ready: true,
            ..Pod::default()
        };
        edit(&mut pod);
        pod
    }

    fn cluster(pods: Vec<Pod>, pdbs: Vec<Pdb>) -> Arc<Cluster> {
        let mut state = ClusterState::new(ClusterInfo::default());
        let ds = Workload {
            kind: Kind::DaemonSet,
            uid: Uid::Uuid(901),
            namespace: "shop".into(),
            name: "ds".into(),
            ..Workload::default()
        };
        let (version, generation) = (Version(1), 1);
        for fact in [
            Fact::Pods(Batch::Upsert(pods)),
            Fact::Pdbs(Batch::Upsert(pdbs)),
            Fact::DaemonSets(Batch::Begin { generation }),
            Fact::DaemonSets(Batch::Upsert(vec![ds])),
            Fact::DaemonSets(Batch::End { generation, version }),
        ] {
            state.apply(fact, Stamp(0));
        }
        state.publish(Stamp(0), false).unwrap()
    }

    fn daemon(pod: &mut Pod, name: &str, group: &str) {
        // The decoder sets the same kind.
        let kind = if group == "apps" { Kind::DaemonSet } else { Kind::Other("DaemonSet".into()) };
        pod.owner =
            Some(Arc::new(Owner { kind, name: name.into(), uid: Uid::Uuid(77), group: group.into() }));
    }

    fn empty_dir(pod: &mut Pod) {
        pod.shape = Arc::new(PodShape { empty_dir: true, ..PodShape::default() });
    }

    fn fate(edit: impl Fn(&mut Pod), options: &DrainOptions) -> (Fate, bool) {
        let cluster = cluster(vec![pod(1, edit)], vec![]);
        let drain = rehearse(&cluster, &["n".into()], options, &Lookups::default(), false, Stamp(100_000));
        (drain.pods[0].fate, drain.refusals.is_empty())
    }

    #[test]
    fn the_filters_of_kubectl() {
        let none = DrainOptions::default();
        let all =
            DrainOptions { force: true, ignore_daemonsets: true, delete_emptydir_data: true, ..none.clone() };
        let bare = |p: &mut Pod| p.owner = None;
        let finished = |p: &mut Pod| {
            p.owner = None;
            p.phase = Phase::Succeeded;
            empty_dir(p);
        };
        let bare_local = |p: &mut Pod| {
            p.owner = None;
            empty_dir(p);
        };
        assert_eq!(fate(|_| {}, &none), (Fate::Evict, true));
        // The DaemonSet is found by kind, group and name. The owner's uid does not matter.
        assert_eq!(fate(|p| daemon(p, "ds", "apps"), &none), (Fate::Refuse, false));
        assert_eq!(fate(|p| daemon(p, "ds", "apps"), &all), (Fate::Skip, true));
        assert_eq!(fate(|p| daemon(p, "gone", "apps"), &none), (Fate::Refuse, false), "not there");
        let ignored = DrainOptions { ignore_daemonsets: true, ..none.clone() };
        assert_eq!(fate(|p| daemon(p, "gone", "apps"), &ignored), (Fate::Refuse, false));
        assert_eq!(fate(|p| daemon(p, "gone", "apps"), &all), (Fate::Evict, true));
        let done = |p: &mut Pod| {
            daemon(p, "gone", "apps");
            p.phase = Phase::Failed;
        };
        assert_eq!(fate(done, &none), (Fate::Evict, true), "whoever owned it, it has finished");
        for name in ["ds", "gone"] {
            assert_eq!(
                fate(|p| daemon(p, name, "apps.kruise.io"), &none),
                (Fate::Evict, true),
                "of another group"
            );
        }
        // A controller of an unknown kind counts as a controller.
        let foreign = |p: &mut Pod| {
            p.owner = Some(Arc::new(Owner {
                kind: Kind::Other("Rollout".into()),
                name: "r".into(),
                uid: Uid::Uuid(78),
                group: "argoproj.io".into(),
            }));
        };
        assert_eq!(fate(foreign, &none), (Fate::Evict, true));
        assert_eq!(fate(|p| p.mirror = true, &none), (Fate::Skip, true));
        assert_eq!(fate(empty_dir, &none), (Fate::Refuse, false));
        assert_eq!(fate(empty_dir, &all), (Fate::Evict, true));
        assert_eq!(fate(bare, &none), (Fate::Refuse, false));
        assert_eq!(fate(bare, &all), (Fate::Evict, true));
        assert_eq!(fate(finished, &none), (Fate::Evict, true));
        assert_eq!(fate(bare_local, &DrainOptions { force: true, ..none.clone() }), (Fate::Refuse, false));
        let skip = DrainOptions { skip_wait_for_delete_timeout: 60, ..none };
        assert_eq!(fate(|p| p.deleting = Some(Stamp(0)), &skip), (Fate::Skip, true));
        assert_eq!(fate(|p| p.deleting = Some(Stamp(90_000)), &skip), (Fate::Evict, true));
    }

    #[test]
    fn daemonsets_that_may_not_be_listed_are_asked_for_by_name() {
        let mut state = ClusterState::new(ClusterInfo::default());
        let pods = vec![
            pod(1, |p| daemon(p, "there", "apps")),
            pod(2, |p| daemon(p, "gone", "apps")),
            pod(3, |p| daemon(p, "secret", "apps")),
            pod(4, |p| daemon(p, "there", "apps")),
            pod(5, |_| {}),
            pod(6, |p| p.node = Some("elsewhere".into())),
        ];
        state.apply(Fact::Pods(Batch::Upsert(pods)), Stamp(0));
        state.apply(Fact::DaemonSets(Batch::Denied { reason: "403".into() }), Stamp(0));
        state.apply(Fact::Pdbs(Batch::Denied { reason: "403, needs list pdbs".into() }), Stamp(0));
        let cluster = state.publish(Stamp(0), false).unwrap();
        let asked = daemonsets_to_read(&cluster, &["n".into()]);
        let names: Vec<&str> = asked.iter().map(|on| on.name.as_str()).collect();
        assert_eq!(names, ["gone", "secret", "there"], "each once, and nothing of other nodes");
        let answers = [
            LookupResult::Absent,
            LookupResult::Unread("no".into()),
            LookupResult::Objects(vec![serde_json::json!({})]),
        ];
        let needs = asked.into_iter().map(|on| Lookup::Object { context: Name::default(), on });
        let lookups = Lookups(needs.zip(answers).collect());
        let options = DrainOptions { ignore_daemonsets: true, force: true, ..DrainOptions::default() };
        let drain = rehearse(&cluster, &["n".into()], &options, &lookups, false, Stamp(0));
        let fates: Vec<Fate> = drain.pods.iter().map(|p| p.fate).collect();
        assert_eq!(fates, [Fate::Skip, Fate::Evict, Fate::Refuse, Fate::Skip, Fate::Evict]);
        let said: Vec<(Lacking, String)> = drain.unread.iter().map(|u| (u.what, u.to_string())).collect();
        assert_eq!(
            said,
            [
                (
                    Lacking::DaemonSets,
                    "daemonsets not readable in shop (no): they may not exist any more".into()
                ),
                (
                    Lacking::Budgets,
                    "budgets not readable in shop (403, needs list pdbs): evictions may wait".into()
                ),
                (
                    Lacking::Services,
                    "services not readable in shop (no answer yet): some of them may lose endpoints".into()
                ),
            ]
        );
    }

    fn pdb(allowed: i32) -> Pdb {
        Pdb {
            uid: Uid::Uuid(500),
            namespace: "shop".into(),
            name: "a".into(),
            selector: Arc::new(Selector::from_labels([("app".into(), "a".into())])),
            allowed,
            current_healthy: 5,
            desired_healthy: 5 - allowed,
            expected: 5,
            ..Pdb::default()
        }
    }

    #[test]
    fn an_unready_pod_goes_free_only_as_the_server_lets_it() {
        let unready = vec![pod(1, |p| p.ready = false)];
        let run = |pdb: Pdb| {
            let c = cluster(unready.clone(), vec![pdb]);
            rehearse(&c, &["n".into()], &DrainOptions::default(), &Lookups::default(), false, Stamp(0)).pods
                [0]
            .fate
        };
        assert_eq!(run(Pdb { current_healthy: 4, desired_healthy: 5, ..pdb(0) }), Fate::Wait);
        assert_eq!(run(Pdb { always_allow_unhealthy: true, current_healthy: 4, ..pdb(0) }), Fate::Evict);
        assert_eq!(run(pdb(0)), Fate::Evict, "the budget is healthy without it");
    }

    #[test]
    fn two_budgets_on_one_pod_never_work() {
        let c = cluster(
            vec![pod(1, |_| {})],
            vec![pdb(3), Pdb { uid: Uid::Uuid(501), name: "b".into(), ..pdb(3) }],
        );
        let drain =
            rehearse(&c, &["n".into()], &DrainOptions::default(), &Lookups::default(), false, Stamp(0));
        assert_eq!(drain.pods[0].fate, Fate::Wait);
        assert!(drain.pods[0].reason.contains("more than one"));
    }

    /// Returns the wait and its words for one budget over `ready` pods of this node.
    fn wait(pdb: Pdb, ready: &[bool], options: &DrainOptions) -> (Option<BudgetWait>, String) {
        let pods = ready.iter().enumerate().map(|(i, r)| pod(i as u32 + 1, |p| p.ready = *r)).collect();
        let c = cluster(pods, vec![pdb]);
        let effect =
            rehearse(&c, &["n".into()], options, &Lookups::default(), false, Stamp(0)).pdbs.remove(0);
        (effect.wait, effect.note)
    }

    #[test]
    fn a_budget_says_how_long_and_what_would_unblock_it() {
        let options = DrainOptions::default();
        let has = |(got, note): (Option<BudgetWait>, String), want, words: &str| {
            assert_eq!(got, want, "{note}");
            assert!(note.contains(words), "{note}");
        };
        // Three pods leave one at a time, with the default grace period of 30 s.
        has(wait(pdb(1), &[true; 3], &options), Some(BudgetWait::AtLeast(90)), "3 rounds, 1m30s if each");
        has(wait(pdb(3), &[true; 3], &options), Some(BudgetWait::AtLeast(30)), "lets all 3 go at once");
        has(
            wait(pdb(2), &[true; 3], &DrainOptions { grace_period: 5, ..options.clone() }),
            Some(BudgetWait::AtLeast(10)),
            "2 rounds",
        );
        let all = Pdb { current_healthy: 3, desired_healthy: 3, expected: 3, ..pdb(0) };
        has(
            wait(all.clone(), &[true], &options),
            Some(BudgetWait::Unbounded),
            "needs 3 healthy of 3: no drain can ever pass until minAvailable is lowered",
        );
        let (_, note) = wait(Pdb { min_available: Some("100%".into()), ..all.clone() }, &[true], &options);
        assert!(note.ends_with("until minAvailable is lowered"), "more replicas would not help: {note}");
        has(
            wait(Pdb { max_unavailable: Some("0".into()), ..all.clone() }, &[true], &options),
            Some(BudgetWait::Unbounded),
            "until maxUnavailable is raised",
        );
        has(
            wait(Pdb { desired_healthy: 2, current_healthy: 1, ..all.clone() }, &[true], &options),
            None,
            "needs 2 healthy of 3 and has 1: waits until 2 more become ready",
        );
        has(
            wait(Pdb { desired_healthy: 2, current_healthy: 1, ..all.clone() }, &[false], &options),
            None,
            "AlwaysAllow",
        );
        has(
            wait(Pdb { expected: 0, desired_healthy: 0, ..pdb(0) }, &[true], &options),
            Some(BudgetWait::Unbounded),
            "counts no pod",
        );
        has(
            wait(Pdb { generation: 2, observed_generation: 1, ..pdb(1) }, &[true], &options),
            None,
            "newest version",
        );
        has(wait(Pdb { always_allow_unhealthy: true, ..all }, &[false], &options), None, "");
        let c = cluster(vec![pod(1, |_| {})], vec![pdb(0)]);
        let drain = rehearse(&c, &["n".into()], &options, &Lookups::default(), false, Stamp(0));
        let never = Warning::BudgetsNeverAllow { budgets: Few(vec!["shop/a".into()]) };
        assert!(drain.warnings.contains(&never), "{:?}", drain.warnings);
    }

    #[test]
    fn estimates_are_to_the_second() {
        assert_eq!((span(0), span(90), span(7205)), ("0s".into(), "1m30s".into(), "2h5s".into()));
    }

    /// Returns a cluster with two zones of two nodes each. Node `a1` is drained.
    fn shop(pods: Vec<Pod>, more: Vec<Fact>) -> Arc<Cluster> {
        let mut state = ClusterState::new(ClusterInfo::default());
        let node = |name: &str, zone: &str| Node {
            uid: Uid::parse(name),
            name: name.into(),
            zone: Some(zone.into()),
            conditions: [Condition {
                kind: "Ready".into(),
                status: Status::True,
                reason: "".into(),
                message: "".into(),
                since: None,
            }]
            .into(),
            allocatable: Resources { cpu_milli: 4000, memory_bytes: 8 << 30, ephemeral_bytes: 0 },
            allocatable_pods: 10,
            ..Node::default()
        };
        let nodes = vec![node("a1", "a"), node("a2", "a"), node("b1", "b"), node("b2", "b")];
        for fact in [
            Fact::Nodes(Batch::Begin { generation: 1 }),
            Fact::Nodes(Batch::Upsert(nodes)),
            Fact::Nodes(Batch::End { generation: 1, version: Version(1) }),
            Fact::Pods(Batch::Upsert(pods)),
        ]
        .into_iter()
        .chain(more)
        {
            state.apply(fact, Stamp(0));
        }
        state.publish(Stamp(0), false).unwrap()
    }

    fn owned(id: u32, node: &str, kind: &Kind, owner: u128, name: &str) -> Pod {
        pod(id, |p| {
            p.node = Some(node.into());
            p.owner = Some(Arc::new(Owner {
                kind: kind.clone(),
                name: name.into(),
                uid: Uid::Uuid(owner),
                group: "apps".into(),
            }));
        })
    }

    fn workload(kind: Kind, uid: u128, name: &str, replicas: i32) -> Workload {
        Workload {
            kind,
            uid: Uid::Uuid(uid),
            namespace: "shop".into(),
            name: name.into(),
            replicas,
            ..Workload::default()
        }
    }

    fn warned(c: &Cluster, nodes: &[&str], elsewhere: bool) -> (Vec<Warning>, bool) {
        let nodes: Vec<Name> = nodes.iter().map(|n| Name::from(*n)).collect();
        let drain = rehearse(c, &nodes, &DrainOptions::default(), &Lookups::default(), elsewhere, Stamp(0));
        (drain.warnings, drain.whole_zone)
    }

    #[test]
    fn singletons_zones_and_controllers_are_told_in_one_line_each() {
        let mut solo = workload(Kind::Deployment, 10, "solo", 1);
        solo.managed_by = Some(ManagedBy { tool: Tool::ArgoCd, name: Some("shop".into()) });
        let wide = workload(Kind::Deployment, 11, "wide", 2);
        let here = workload(Kind::Deployment, 12, "here", 2);
        let set = |uid, name: &str, of| Workload {
            owner: Some(Arc::new(Owner {
                kind: Kind::Deployment,
                name: name.into(),
                uid: Uid::Uuid(of),
                group: "apps".into(),
            })),
            ..workload(Kind::ReplicaSet, uid, name, 1)
        };
        let hpa = Hpa {
            namespace: "shop".into(),
            name: "h".into(),
            target_name: "wide".into(),
            max: 2,
            current: Some(2),
            ..Hpa::default()
        };
        let mut db = owned(1, "a1", &Kind::StatefulSet, 30, "db");
        db.shape = Arc::new(PodShape {
            claims: true,
            host_path: true,
            keep_in_place: true,
            grace_secs: Some(600),
            ..PodShape::default()
        });
        let rs = Kind::ReplicaSet;
        let pods = vec![
            db,
            owned(2, "a1", &rs, 20, "solo"),
            owned(3, "a1", &rs, 21, "wide"),
            owned(4, "b1", &rs, 21, "wide"),
            owned(5, "a1", &rs, 22, "here"),
            owned(6, "a1", &rs, 22, "here"),
            owned(7, "a1", &Kind::Job, 40, "report"),
        ];
        let c = shop(
            pods.clone(),
            vec![
                Fact::Deployments(Batch::Upsert(vec![solo, wide, here])),
                Fact::ReplicaSets(Batch::Upsert(vec![
                    set(20, "solo", 10),
                    set(21, "wide", 11),
                    set(22, "here", 12),
                ])),
                Fact::StatefulSets(Batch::Upsert(vec![workload(Kind::StatefulSet, 30, "db", 1)])),
                Fact::Hpas(Batch::Upsert(vec![hpa])),
            ],
        );
        let (told, whole) = warned(&c, &["a1"], true);
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!((told, whole), (vec![
            "one replica, so an outage until its replacement is ready (cordon, then restart it with surge first): shop/solo".to_owned(),
            "one replica, so an outage until it is ready again elsewhere: shop/db".into(),
            "all ready replicas are on the drained nodes: shop/here".into(),
            "the last replicas in their zone: shop/wide (a)".into(),
            "re-created under the same name, only after the old one is gone: shop/p01".into(),
            "jobs that start again from zero: shop/p07".into(),
            "marked as not safe to evict, for the cluster autoscaler: shop/p01".into(),
            "files in hostPath volumes stay behind: shop/p01".into(),
            "shop/p01 may take 10m to end, and the drain as long".into(),
            "autoscalers at their maximum, which add nothing while the load moves: shop/h (2)".into(),
            "managed by GitOps, which reverts edits made to let the drain pass: shop/solo (Argo CD shop)".into(),
        ], false));
        let (zone, whole) = warned(&c, &["a1", "a2"], true);
        let emptied = Warning::ZonesEmptied { zones: Few(vec!["a".into()]) };
        assert!(whole && zone.contains(&emptied), "{zone:?}");
        assert!(
            !zone.iter().any(|w| matches!(w, Warning::LastInZone { .. })),
            "the zone says it already: {zone:?}"
        );
        // A headless command knows only its targets. It must not report anything that it has no data for.
        let (alone, whole) = warned(&shop(pods, vec![]), &["a1"], false);
        let bound = With { name: "shop/p01".into(), of: "a".into() };
        let bound = Warning::BoundToZone { pods: Few(vec![bound]) };
        assert!(!whole && alone.contains(&bound), "{alone:?}");
        let of_owners = ["outage", "outage-unless-surged", "all-ready-replicas", "last-in-zone"];
        assert!(!alone.iter().any(|w| of_owners.contains(&w.code())), "{alone:?}");
        assert!(alone.contains(&Warning::PlacementUnchecked), "{alone:?}");
    }

    #[test]
    fn a_whole_zone_asks_for_the_context() {
        let c = shop(vec![], vec![]);
        let confirm = |names: &[&str]| {
            let intent = Intent {
                cluster: crate::domain::id::ClusterId::default(),
                context: "test".into(),
                act: Act::Drain(DrainOptions::default()),
                targets: pick::nodes_of(
                    &c,
                    &crate::domain::failover::Pick::Nodes(names.iter().map(|n| Name::from(*n)).collect()),
                ),
            };
            let (guards, lookups) = (GuardSettings::default(), crate::domain::plan::Lookups::default());
            let input = plan::PlanInput {
                cluster: &c,
                guards: &guards,
                scope: plan::DataScope::FullCluster,
                lookups: &lookups,
                now: Stamp(0),
            };
            let plan = plan::plan(input, &intent);
            (plan.confirm, plan.answer)
        };
        assert_eq!(confirm(&["a1"]).0, Confirm::Suffix);
        assert_eq!(confirm(&["a1", "a2"]), (Confirm::Context, "test".into()));
    }

    #[test]
    fn what_stays_carries_more() {
        let service = |name: &str, pods: &[u32]| {
            let uid = |n: u32| Uid::parse(&format!("{name}-{n}"));
            let endpoints = pods.iter().map(|i| Endpoint {
                address: format!("10.0.0.{i}").into(),
                pod: Some(format!("p{i:02}").into()),
                ready: true,
                ..Endpoint::default()
            });
            [
                Fact::Services(Batch::Upsert(vec![Service {
                    uid: uid(7),
                    namespace: "shop".into(),
                    name: name.into(),
                    ..Service::default()
                }])),
                Fact::EndpointSlices(Batch::Upsert(vec![EndpointSlice {
                    uid: uid(8),
                    namespace: "shop".into(),
                    name: name.into(),
                    service: name.into(),
                    endpoints: endpoints.collect(),
                    ..EndpointSlice::default()
                }])),
            ]
        };
        let traffic = TrafficSeen {
            services: [Arc::new(ServiceTraffic {
                namespace: "shop".into(),
                name: "three".into(),
                rps: Some(36.0),
                ..ServiceTraffic::default()
            })]
            .into(),
            ..TrafficSeen::default()
        };
        let rs = || Kind::ReplicaSet;
        let pods = vec![
            owned(1, "a1", &rs(), 1, "x"),
            owned(2, "b1", &rs(), 1, "x"),
            owned(3, "b2", &rs(), 1, "x"),
            owned(4, "a1", &rs(), 1, "y"),
            owned(5, "b1", &rs(), 1, "y"),
            owned(6, "b1", &rs(), 1, "y"),
            owned(7, "b1", &rs(), 1, "y"),
        ];
        let facts = [service("three", &[1, 2, 3]), service("one", &[4]), service("four", &[4, 5, 6, 7])]
            .into_iter()
            .flatten()
            .chain([Fact::Traffic(traffic)]);
        let c = shop(pods, facts.collect());
        let drain =
            rehearse(&c, &["a1".into()], &DrainOptions::default(), &Lookups::default(), true, Stamp(0));
        let seen: Vec<_> = drain
            .services
            .iter()
            .map(|s| {
                (s.name.as_str(), s.ready_before, s.ready_after, s.share_after, s.rps_before, s.rps_after)
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("one", 1, 0, None, None, None),
                ("three", 3, 2, Some(0.5), Some(12.0), Some(18.0)),
                ("four", 4, 3, Some(1.0 / 3.0), None, None),
            ]
        );
        let last = Warning::LastEndpoints { services: Few(vec!["shop/one".into()]) };
        assert!(drain.warnings.contains(&last), "{:?}", drain.warnings);
        let words = "each remaining backend gets at least 50 % more requests: shop/three 3 to 2 backends (12.0 to 18.0 rps each)";
        let told = drain.warnings.iter().find(|w| matches!(w, Warning::Burdened { .. }));
        assert_eq!(told.map(ToString::to_string).as_deref(), Some(words));
    }

    proptest! {
        /// A plan never evicts more ready pods of a budget than the budget allows.
        #[test]
        fn a_plan_never_breaks_a_budget(allowed in 0i32..4, ready in prop::collection::vec(any::<bool>(), 0..12)) {
            let pods: Vec<Pod> =
                ready.iter().enumerate().map(|(i, r)| pod(i as u32 + 1, |p| p.ready = *r)).collect();
            let c = cluster(pods, vec![pdb(allowed)]);
            let drain = rehearse(&c, &["n".into()], &DrainOptions::default(), &Lookups::default(), false, Stamp(0));
            let evicted = drain.pods.iter().zip(ready.iter()).filter(|(f, ready)| f.fate == Fate::Evict && **ready).count();
            prop_assert!(evicted <= allowed as usize);
            prop_assert_eq!(drain.pods.len(), ready.len());
        }
    }
}
