//! Drain, as kubectl does it: which pods go, which stay, which make the node refuse; and what kubectl does not tell:
//! which budget holds whom back, which Services lose endpoints, and what no longer fits elsewhere.
//!
//! Semantics: kubectl's `pkg/drain/filters.go` (order: skip-deleted, DaemonSet, mirror, local storage, no controller;
//! the first filter that says "do not delete" ends the chain) and the eviction subresource's `eviction.go`.

use std::collections::BTreeMap;

use crate::domain::budget::Pdb;
use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::pod::{Phase, Pod};
use crate::domain::quantity::Resources;
use crate::domain::time::Stamp;
use crate::model::plan::{DrainOptions, Fate, PdbEffect, PodFate, Refusal, ServiceEffect, Unplaced};
use crate::model::world::{Cluster, NodeState};

/// What one filter says.
enum Verdict {
    Delete { warning: Option<&'static str> },
    Skip { warning: Option<&'static str> },
    Error(&'static str),
}

const DAEMONSET: &str = "ignoring DaemonSet-managed Pods";
const DAEMONSET_ERROR: &str = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const DAEMONSET_ORPHAN: &str = "deleting Pods that have no DaemonSet any more";
const DAEMONSET_ORPHAN_ERROR: &str = "the DaemonSet of these Pods is gone (use --force to delete them)";
const LOCAL: &str = "deleting Pods with local storage";
const LOCAL_ERROR: &str = "cannot delete Pods with local storage (use --delete-emptydir-data to override)";
const BARE: &str = "deleting Pods that declare no controller";
const BARE_ERROR: &str = "cannot delete Pods that declare no controller (use --force to override)";

fn is_daemonset_pod(pod: &Pod) -> bool {
    pod.owner.as_ref().is_some_and(|o| o.kind == Kind::DaemonSet && o.group == "apps")
}

/// One filter of the chain: the pod, the options, whether its DaemonSet exists, the time.
type Filter = fn(&Pod, &DrainOptions, bool, Stamp) -> Verdict;

const FILTERS: [Filter; 5] = [skip_deleted, daemonset, mirror, local_storage, unreplicated];

fn skip_deleted(pod: &Pod, options: &DrainOptions, _: bool, now: Stamp) -> Verdict {
    let limit = options.skip_wait_for_delete_timeout;
    match pod.deleting {
        Some(at) if limit > 0 && now.secs_since(at) > limit => Verdict::Skip { warning: None },
        _ => Verdict::Delete { warning: None },
    }
}

fn daemonset(pod: &Pod, options: &DrainOptions, exists: bool, _: Stamp) -> Verdict {
    if !is_daemonset_pod(pod) || pod.phase.is_finished() {
        return Verdict::Delete { warning: None };
    }
    match (exists, options.ignore_daemonsets, options.force) {
        (false, _, true) => Verdict::Delete { warning: Some(DAEMONSET_ORPHAN) },
        (false, _, false) => Verdict::Error(DAEMONSET_ORPHAN_ERROR),
        (true, true, _) => Verdict::Skip { warning: Some(DAEMONSET) },
        (true, false, _) => Verdict::Error(DAEMONSET_ERROR),
    }
}

fn mirror(pod: &Pod, _: &DrainOptions, _: bool, _: Stamp) -> Verdict {
    if pod.mirror { Verdict::Skip { warning: None } } else { Verdict::Delete { warning: None } }
}

fn local_storage(pod: &Pod, options: &DrainOptions, _: bool, _: Stamp) -> Verdict {
    if !pod.shape.empty_dir || pod.phase.is_finished() {
        Verdict::Delete { warning: None }
    } else if options.delete_emptydir_data {
        Verdict::Delete { warning: Some(LOCAL) }
    } else {
        Verdict::Error(LOCAL_ERROR)
    }
}

fn unreplicated(pod: &Pod, options: &DrainOptions, _: bool, _: Stamp) -> Verdict {
    if pod.owner.is_some() || pod.phase.is_finished() {
        Verdict::Delete { warning: None }
    } else if options.force {
        Verdict::Delete { warning: Some(BARE) }
    } else {
        Verdict::Error(BARE_ERROR)
    }
}

/// The chain for one pod: its fate before budgets, the reason, and kubectl's warning group if it has one.
fn judge(
    pod: &Pod,
    options: &DrainOptions,
    exists: bool,
    now: Stamp,
) -> (Fate, String, Option<&'static str>) {
    let mut group = None;
    for filter in FILTERS {
        match filter(pod, options, exists, now) {
            // every warning is kept; kubectl loses all but the last
            Verdict::Delete { warning } => group = warning.or(group),
            Verdict::Skip { warning } => {
                let reason = match warning {
                    Some(_) => "managed by a DaemonSet",
                    None if pod.mirror => "static pod (mirror)",
                    None => "has been terminating for too long to wait for",
                };
                return (Fate::Skip, reason.into(), warning);
            }
            Verdict::Error(why) => return (Fate::Refuse, why.into(), Some(why)),
        }
    }
    let reason = match group {
        Some(LOCAL) => "its emptyDir data is lost".to_owned(),
        Some(BARE) => "nothing will re-create it".to_owned(),
        Some(other) => other.to_owned(),
        None if pod.phase.is_finished() => "finished".to_owned(),
        None if pod.is_terminating() => "already terminating".to_owned(),
        None => String::new(),
    };
    (Fate::Evict, reason, group)
}

/// The filters alone, for a pod that came after the plan was made. `exists`: the DaemonSet that owns it does.
pub fn fate(pod: &Pod, options: &DrainOptions, exists: bool, now: Stamp) -> (Fate, String) {
    let (fate, reason, _) = judge(pod, options, exists, now);
    (fate, reason)
}

/// What a drain of some nodes would do.
#[derive(Debug, Default)]
pub struct Drain {
    pub pods: Vec<PodFate>,
    pub pdbs: Vec<PdbEffect>,
    pub services: Vec<ServiceEffect>,
    pub unplaced: Vec<Unplaced>,
    pub warnings: Vec<String>,
    pub refusals: Vec<Refusal>,
}

/// Rehearses. The caller has made sure that the tables it needs are complete; `elsewhere`: whether the pods of other
/// nodes are known too, without which nothing can be said about where pods will fit.
pub fn rehearse(
    cluster: &Cluster,
    nodes: &[Name],
    options: &DrainOptions,
    elsewhere: bool,
    now: Stamp,
) -> Drain {
    let mut drain = Drain::default();
    let mut groups: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut errors: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut moving: Vec<&Pod> = Vec::new();
    for node in nodes {
        let mut pods: Vec<&Pod> =
            cluster.pods.iter().filter(|p| p.node.as_ref() == Some(node)).map(AsRef::as_ref).collect();
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let mut refused = false;
        let first = drain.pods.len();
        for pod in pods {
            let exists = !is_daemonset_pod(pod)
                || cluster.daemonsets.iter().any(|d| {
                    pod.owner
                        .as_ref()
                        .is_some_and(|o| o.uid == d.uid || (o.name == d.name && d.namespace == pod.namespace))
                });
            let (fate, reason, group) = judge(pod, options, exists, now);
            let full = format!("{}/{}", pod.namespace, pod.name);
            if fate == Fate::Refuse {
                refused = true;
                errors.entry(group.unwrap_or("refused")).or_default().push(full);
            } else if let Some(group) = group {
                groups.entry(group).or_default().push(full);
            }
            if fate == Fate::Evict {
                moving.push(pod);
            }
            drain.pods.push(PodFate {
                pod: ObjectRef::new(Kind::Pod, &pod.namespace, &pod.name, &pod.uid),
                node: node.clone(),
                fate,
                reason,
                owner: pod.owner.as_ref().map_or_else(String::new, |o| format!("{}/{}", o.kind, o.name)),
            });
        }
        if refused {
            // kubectl evicts nothing on a node with such a pod; what would have gone is still shown
            let count = drain.pods.iter().skip(first).filter(|p| p.fate == Fate::Evict).count();
            drain
                .warnings
                .push(format!("{node}: nothing is evicted while pods are refused ({count} others would be)"));
        }
    }
    for (why, names) in &errors {
        drain.refusals.push(Refusal::new("kubectl-filter", format!("{why}: {}", names.join(", "))));
    }
    for (why, names) in &groups {
        drain.warnings.push(format!("{why}: {}", names.join(", ")));
    }
    if !options.disable_eviction {
        budgets(cluster, &moving, &mut drain);
    }
    services(cluster, &moving, &mut drain);
    if elsewhere {
        placement(cluster, nodes, &moving, &mut drain);
    } else {
        drain
            .warnings
            .push("where the pods will fit was not judged: only this node's pods are known here".into());
    }
    drain
}

/// Marks the pods that budgets hold back now. The server debits per eviction, so the pods of one budget are summed.
fn budgets(cluster: &Cluster, moving: &[&Pod], drain: &mut Drain) {
    let mut left: BTreeMap<(Name, Name), i32> = BTreeMap::new();
    let mut effects: BTreeMap<(Name, Name), PdbEffect> = BTreeMap::new();
    for pod in moving {
        // the server does not ask budgets for these
        if pod.phase != Phase::Running && pod.phase != Phase::Unknown || pod.is_terminating() {
            continue;
        }
        let matching: Vec<&Pdb> = cluster
            .pdbs
            .iter()
            .map(AsRef::as_ref)
            .filter(|p| p.namespace == pod.namespace && p.selector.matches(&pod.shape.labels))
            .collect();
        for pdb in &matching {
            effects.entry((pdb.namespace.clone(), pdb.name.clone())).or_insert_with(|| PdbEffect {
                namespace: pdb.namespace.clone(),
                name: pdb.name.clone(),
                allowed: pdb.allowed,
                blocks: Vec::new(),
                since: pdb.blocked_since(),
            });
        }
        let held = match matching.as_slice() {
            [] => None,
            [pdb] => held_by(pdb, pod, &mut left),
            several => Some(format!(
                "has more than one PodDisruptionBudget ({}), which the eviction API never allows",
                several.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")
            )),
        };
        if let Some(reason) = held {
            for pdb in &matching {
                if let Some(effect) = effects.get_mut(&(pdb.namespace.clone(), pdb.name.clone())) {
                    effect.blocks.push(pod.name.clone());
                }
            }
            if let Some(fate) = drain.pods.iter_mut().find(|f| f.pod.uid == pod.uid) {
                fate.fate = Fate::Wait;
                fate.reason = reason;
            }
        }
    }
    drain.pdbs = effects.into_values().collect();
}

fn held_by(pdb: &Pdb, pod: &Pod, left: &mut BTreeMap<(Name, Name), i32>) -> Option<String> {
    let who = format!("PDB {}/{}", pdb.namespace, pdb.name);
    if !pod.ready
        && (pdb.always_allow_unhealthy
            || (pdb.current_healthy >= pdb.desired_healthy && pdb.desired_healthy > 0))
    {
        return None;
    }
    if pdb.observed_generation < pdb.generation {
        return Some(format!("{who} is still being processed by the controller"));
    }
    let left = left.entry((pdb.namespace.clone(), pdb.name.clone())).or_insert(pdb.allowed);
    if *left > 0 {
        *left -= 1;
        return None;
    }
    Some(format!(
        "{who} needs {} healthy and has {}: {} allowed",
        pdb.desired_healthy, pdb.current_healthy, pdb.allowed
    ))
}

/// Which Services lose ready endpoints.
fn services(cluster: &Cluster, moving: &[&Pod], drain: &mut Drain) {
    for row in cluster.derived.services.iter() {
        let lost = row
            .slices
            .iter()
            .flat_map(|s| s.endpoints.iter())
            .filter(|e| e.ready)
            .filter_map(|e| e.pod.as_ref())
            .filter(|name| moving.iter().any(|p| p.name == **name && p.namespace == row.service.namespace))
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        if lost == 0 {
            continue;
        }
        let after = row.ready.saturating_sub(u32::try_from(lost).unwrap_or(u32::MAX));
        if after == 0 {
            drain.warnings.push(format!(
                "service {}/{} loses its last ready endpoint until a replacement is ready",
                row.service.namespace, row.service.name
            ));
        }
        drain.services.push(ServiceEffect {
            namespace: row.service.namespace.clone(),
            name: row.service.name.clone(),
            ready_before: row.ready,
            ready_after: after,
        });
    }
    drain.services.sort_by_key(|s| (s.ready_after, s.namespace.clone(), s.name.clone()));
}

/// First-fit decreasing by requests over nodes that take pods without a toleration. Selectors, affinity and
/// tolerations are not judged here, and the warning says so.
fn placement(cluster: &Cluster, nodes: &[Name], moving: &[&Pod], drain: &mut Drain) {
    let mut room: Vec<(Resources, i64)> = cluster
        .derived
        .nodes
        .iter()
        .filter(|row| {
            row.state == NodeState::Ready
                && !row.node.cordoned
                && !nodes.contains(&row.node.name)
                && !row.node.taints.iter().any(|t| t.effect == "NoSchedule" || t.effect == "NoExecute")
        })
        .map(|row| {
            (
                row.node.allocatable.minus(row.totals.requests),
                row.node.allocatable_pods - i64::from(row.totals.pods),
            )
        })
        .collect();
    let mut pods: Vec<&&Pod> =
        moving.iter().filter(|p| p.owner.is_some() && !p.phase.is_finished()).collect();
    pods.sort_by_key(|p| std::cmp::Reverse((p.requests.cpu_milli, p.requests.memory_bytes)));
    for pod in pods {
        match room.iter_mut().find(|(free, slots)| *slots > 0 && pod.requests.fits(*free)) {
            Some((free, slots)) => {
                *free = free.minus(pod.requests);
                *slots -= 1;
            }
            None => drain.unplaced.push(Unplaced {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                reason: format!(
                    "no other untainted Ready node has {}m cpu and {} memory free",
                    pod.requests.cpu_milli,
                    crate::domain::quantity::show_bytes(pod.requests.memory_bytes)
                ),
            }),
        }
    }
    if !drain.unplaced.is_empty() {
        drain.warnings.push(format!(
            "{} pods would not fit elsewhere by their requests (selectors and affinity not judged)",
            drain.unplaced.len()
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::{Owner, Uid, Version};
    use crate::domain::pod::PodShape;
    use crate::domain::selector::Selector;
    use crate::domain::workload::Workload;
    use crate::model::event::{Batch, Fact};
    use crate::model::state::ClusterState;
    use crate::model::world::ClusterInfo;

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
        let ds =
            Workload { kind: Kind::DaemonSet, uid: Uid::Uuid(901), name: "ds".into(), ..Workload::default() };
        for fact in [
            Fact::Pods(Batch::Upsert(pods)),
            Fact::Pdbs(Batch::Upsert(pdbs)),
            Fact::DaemonSets(Batch::Upsert(vec![ds])),
        ] {
            state.apply(fact, Stamp(0));
        }
        state.publish(Stamp(0), false).unwrap()
    }

    fn daemon(pod: &mut Pod, uid: u128) {
        pod.owner = Some(Arc::new(Owner {
            kind: Kind::DaemonSet,
            name: "other".into(),
            uid: Uid::Uuid(uid),
            group: "apps".into(),
        }));
    }

    fn empty_dir(pod: &mut Pod) {
        pod.shape = Arc::new(PodShape { empty_dir: true, ..PodShape::default() });
    }

    fn fate(edit: impl Fn(&mut Pod), options: &DrainOptions) -> (Fate, bool) {
        let cluster = cluster(vec![pod(1, edit)], vec![]);
        let drain = rehearse(&cluster, &["n".into()], options, false, Stamp(100_000));
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
        assert_eq!(fate(|p| daemon(p, 901), &none), (Fate::Refuse, false));
        assert_eq!(fate(|p| daemon(p, 901), &all), (Fate::Skip, true));
        assert_eq!(fate(|p| daemon(p, 902), &none), (Fate::Refuse, false), "its DaemonSet is gone");
        assert_eq!(fate(|p| daemon(p, 902), &all), (Fate::Evict, true));
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
            rehearse(&c, &["n".into()], &DrainOptions::default(), false, Stamp(0)).pods[0].fate
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
        let drain = rehearse(&c, &["n".into()], &DrainOptions::default(), false, Stamp(0));
        assert_eq!(drain.pods[0].fate, Fate::Wait);
        assert!(drain.pods[0].reason.contains("more than one"));
    }

    proptest! {
        /// Whatever the pods, a plan never evicts more ready pods of a budget than it allows.
        #[test]
        fn a_plan_never_breaks_a_budget(allowed in 0i32..4, ready in prop::collection::vec(any::<bool>(), 0..12)) {
            let pods: Vec<Pod> =
                ready.iter().enumerate().map(|(i, r)| pod(i as u32 + 1, |p| p.ready = *r)).collect();
            let c = cluster(pods, vec![pdb(allowed)]);
            let drain = rehearse(&c, &["n".into()], &DrainOptions::default(), false, Stamp(0));
            let evicted = drain.pods.iter().zip(ready.iter()).filter(|(f, ready)| f.fate == Fate::Evict && **ready).count();
            prop_assert!(evicted <= allowed as usize);
            prop_assert_eq!(drain.pods.len(), ready.len());
        }
    }
}
