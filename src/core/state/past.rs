//! The cluster as it was displayed at an earlier moment, from the history.
//!
//! States, counts, findings, alerts and changes are those of the moment. What the history does not keep (pods, metrics, error
//! groups, events, the state of the sources) is not known: its tables were never read. The annotations of an alert are
//! those of its last poll.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::alert::{AlertRow, AlertsSeen};
use crate::domain::autoscaler::{Hpa, HpaState, HpaVerdict};
use crate::domain::id::{ObjectRef, Uid};
use crate::domain::incident::Incident;
use crate::domain::node::Node;
use crate::domain::service::Service;
use crate::domain::time::Stamp;
use crate::domain::workload::{Rollout, Workload};
use crate::facts::history::{Happened, HpaThen, NodeThen, ServiceThen, Track, WorkloadThen};
use crate::facts::table::{Coverage, Row, Rows, Table};
use crate::facts::world::{Cause, Cluster, Counts, Derived, HpaRow, NodeRow, ServiceRow, WorkloadRow, World};
use crate::policy::rules;

/// What was shown of the objects at the moment; `None`: the object was not there.
#[derive(Default)]
struct Then<'h> {
    nodes: HashMap<&'h Uid, (&'h ObjectRef, Option<&'h NodeThen>)>,
    workloads: HashMap<&'h Uid, (&'h ObjectRef, Option<&'h WorkloadThen>)>,
    services: HashMap<&'h Uid, (&'h ObjectRef, Option<&'h ServiceThen>)>,
    hpas: HashMap<&'h Uid, (&'h ObjectRef, Option<&'h HpaThen>)>,
    counts: Option<Counts>,
}

/// True if something of this moment is known.
pub fn is_known(cluster: &Cluster, at: Stamp) -> bool {
    cluster.derived.history.since().is_some_and(|since| since <= at)
}

/// The world at an earlier moment. Actions that had not started are left out, and those that had not ended run.
pub fn world(world: &World, at: Stamp) -> World {
    let actions = world.actions.iter().filter(|action| action.started <= at).map(|action| {
        if action.ended.is_none_or(|ended| ended <= at) {
            return action.clone();
        }
        let mut then = crate::facts::world::ActionView::clone(action);
        (then.ended, then.outcome) = (None, None);
        then.message = "it ran at that time".into();
        for step in then.steps.iter_mut().filter(|step| step.at.is_none_or(|done| done > at)) {
            step.state = crate::facts::world::StepState::Waiting;
        }
        Arc::new(then)
    });
    World {
        seq: world.seq,
        at,
        actions: actions.collect(),
        clusters: world.clusters.iter().map(|one| Arc::new(cluster(one, at))).collect(),
    }
}

/// The cluster at an earlier moment.
pub fn cluster(cluster: &Cluster, at: Stamp) -> Cluster {
    let now = &cluster.derived;
    let history = &now.history;
    let known = |track| history.known_since(track).is_some_and(|since| since <= at);
    let cover = |track| if known(track) { Coverage::Complete } else { Coverage::Never };
    let mut then = Then::default();
    let mut causes: Vec<Arc<Cause>> = now.causes.to_vec();
    let mut alerts: Vec<Arc<AlertRow>> = now.alerts.to_vec();
    for moment in history.after(at) {
        match &moment.what {
            Happened::Node(o, step) => drop(then.nodes.insert(&o.uid, (o, step.was.as_ref()))),
            Happened::Workload(o, step) => drop(then.workloads.insert(&o.uid, (o, step.was.as_ref()))),
            Happened::Service(o, step) => drop(then.services.insert(&o.uid, (o, step.was.as_ref()))),
            Happened::Hpa(o, step) => drop(then.hpas.insert(&o.uid, (o, step.was.as_ref()))),
            Happened::Finding { step, .. } => {
                if let Some(is) = &step.is {
                    causes.retain(|cause| !cause.is_same(is));
                }
                if let Some(was) = &step.was {
                    causes.retain(|cause| !cause.is_same(was));
                    causes.push(was.clone());
                }
            }
            Happened::Counts(step) => then.counts = step.was,
            Happened::AlertSeen(fingerprint) => alerts.retain(|row| row.alert.fingerprint != *fingerprint),
            Happened::AlertEnded(row) => alerts.push(row.clone()),
            Happened::Error { .. } => {}
        }
    }
    if !known(Track::Findings) {
        causes.clear();
    }
    // nothing is changed in the past, so no key is offered
    for cause in causes.iter_mut().filter(|cause| cause.action.is_some()) {
        Arc::make_mut(cause).action = None;
    }
    rules::sort(&mut causes);
    alerts.retain(|row| row.alert.since <= at && known(Track::Alerts));
    alerts.sort_by(|a, b| a.alert.fingerprint.cmp(&b.alert.fingerprint));
    alerts.dedup_by(|a, b| a.alert.fingerprint == b.alert.fingerprint);
    let nodes = if known(Track::Nodes) { nodes(&now.nodes, &then) } else { Table::default() };
    let workloads = if known(Track::Workloads) { workloads(&now.workloads, &then) } else { Table::default() };
    let services = if known(Track::Services) { services(&now.services, &then) } else { Table::default() };
    let hpas = if known(Track::Hpas) { hpas(&now.hpas, &then, at) } else { Table::default() };
    let counts = if known(Track::Findings) { then.counts.unwrap_or(now.counts) } else { Counts::default() };
    let mut past = Cluster {
        info: cluster.info.clone(),
        at,
        link: cluster.link.clone(),
        identity: cluster.identity.clone(),
        derived: Derived {
            nodes,
            workloads,
            services,
            hpas,
            counts,
            causes: causes.into(),
            alerts: alerts.into(),
            changes: now.changes.iter().filter(|change| change.at <= at).cloned().collect(),
            incidents: now.incidents.iter().filter(|i| i.detected <= at).map(|i| incident(i, at)).collect(),
            remarks: now.remarks.clone(),
            history: history.clone(),
            ..Derived::default()
        },
        ..Cluster::default()
    };
    if known(Track::Alerts) {
        let seen = &cluster.alerts;
        let told = past.derived.alerts.iter().map(|row| row.alert.clone());
        past.alerts = Arc::new(AlertsSeen {
            source: seen.source.clone(),
            origin: seen.origin,
            base: seen.base.clone(),
            at,
            total: u32::try_from(past.derived.alerts.len()).unwrap_or(u32::MAX),
            alerts: told.collect(),
            // a silence of now may not have been one then
            silences: None,
        });
    }
    past.tables.hpas = table(past.derived.hpas.iter().map(|row| Hpa::clone(&row.hpa)));
    past.tables.nodes.cover = cover(Track::Nodes);
    past.tables.hpas.cover = cover(Track::Hpas);
    past.tables.services.cover = cover(Track::Services);
    past.tables.slices.cover = cover(Track::Services);
    for workload in [
        &mut past.tables.deployments,
        &mut past.tables.replicasets,
        &mut past.tables.statefulsets,
        &mut past.tables.daemonsets,
        &mut past.tables.jobs,
    ] {
        workload.cover = cover(Track::Workloads);
    }
    past
}

/// An incident as far as it was known at the moment.
fn incident(incident: &Incident, at: Stamp) -> Arc<Incident> {
    let mut then = incident.clone();
    then.closed = then.closed.filter(|closed| *closed <= at);
    // a recovery is known when the incident is closed
    then.recovered = then.recovered.filter(|_| then.closed.is_some());
    then.reopened = then.reopened.filter(|reopened| *reopened <= at);
    then.acknowledged = then.acknowledged.filter(|(done, _)| *done <= at);
    then.diagnosed = then.diagnosed.filter(|(done, _)| *done <= at);
    then.findings.retain(|finding| finding.detected <= at);
    for finding in &mut then.findings {
        finding.ended = finding.ended.filter(|ended| *ended <= at);
    }
    Arc::new(then)
}

fn table<T: Row>(rows: impl Iterator<Item = T>) -> Table<T> {
    let mut all = Rows::default();
    for row in rows {
        let _new = all.upsert(row);
    }
    all.table().clone()
}

/// Rows of now with their values of then, and the rows of objects that are gone.
fn rewound<T: Row + Clone, S>(
    now: &Table<T>,
    then: &HashMap<&Uid, (&ObjectRef, Option<&S>)>,
    back: impl Fn(&T, &S) -> T,
    gone: impl Fn(&ObjectRef) -> T,
) -> Table<T> {
    let kept = now.iter().filter_map(|row| match then.get(row.uid()) {
        None => Some(T::clone(row)),
        Some((_, None)) => None,
        Some((_, Some(was))) => Some(back(row, was)),
    });
    let there: std::collections::HashSet<&Uid> = now.iter().map(|row| row.uid()).collect();
    let left = then.iter().filter(|(uid, _)| !there.contains(*uid)).filter_map(|(_, (object, was))| {
        let was = (*was)?;
        Some(back(&gone(object), was))
    });
    table(kept.chain(left))
}

fn nodes(now: &Table<NodeRow>, then: &Then<'_>) -> Table<NodeRow> {
    let back = |row: &NodeRow, was: &NodeThen| NodeRow {
        node: Arc::new(Node { cordoned: was.cordoned, ..Node::clone(&row.node) }),
        state: was.state,
        since: was.since,
        problems: was.problems.clone(),
        totals: was.totals,
        usage: None,
        past: None,
    };
    let gone = |object: &ObjectRef| {
        let node = Node { uid: object.uid.clone(), name: object.name.clone(), ..Node::default() };
        NodeRow::of(node)
    };
    // the use that was measured is not kept, nor are the conditions and the taints
    let without = |row: &Arc<NodeRow>| NodeRow {
        node: Arc::new(Node { conditions: Arc::default(), taints: Arc::default(), ..Node::clone(&row.node) }),
        usage: None,
        past: None,
        ..NodeRow::clone(row)
    };
    table(rewound(now, &then.nodes, back, gone).iter().map(without))
}

fn workloads(now: &Table<WorkloadRow>, then: &Then<'_>) -> Table<WorkloadRow> {
    let back = |row: &WorkloadRow, was: &WorkloadThen| {
        let workload = Workload {
            replicas: was.replicas,
            desired: was.desired,
            updated: was.updated,
            ready: was.ready,
            available: was.available,
            images: was.images.clone(),
            ..Workload::clone(&row.workload)
        };
        // how far it had come is not kept
        let rollout = Rollout { phase: was.phase, ..Rollout::default() };
        WorkloadRow { workload: Arc::new(workload), totals: was.totals, rollout }
    };
    let gone = |object: &ObjectRef| WorkloadRow {
        workload: Arc::new(Workload {
            kind: object.kind.clone(),
            uid: object.uid.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            ..Workload::default()
        }),
        totals: crate::facts::world::OwnerTotals::default(),
        rollout: Rollout::default(),
    };
    rewound(now, &then.workloads, back, gone)
}

fn services(now: &Table<ServiceRow>, then: &Then<'_>) -> Table<ServiceRow> {
    let back = |row: &ServiceRow, was: &ServiceThen| ServiceRow {
        service: row.service.clone(),
        ready: was.ready,
        total: was.total,
        ..ServiceRow::default()
    };
    let gone = |object: &ObjectRef| ServiceRow {
        service: Arc::new(Service {
            uid: object.uid.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            ..Service::default()
        }),
        ..ServiceRow::default()
    };
    rewound(now, &then.services, back, gone)
}

fn hpas(now: &Table<HpaRow>, then: &Then<'_>, at: Stamp) -> Table<HpaRow> {
    let back = |row: &HpaRow, was: &HpaThen| HpaRow {
        hpa: Arc::new(Hpa {
            min: was.min,
            max: was.max,
            current: was.current,
            desired: was.desired,
            metrics: Arc::default(),
            ..Hpa::clone(&row.hpa)
        }),
        verdict: HpaVerdict {
            state: was.state,
            why: was.why.clone(),
            since: was.since,
            ..HpaVerdict::default()
        },
        past: Arc::default(),
    };
    let gone = |object: &ObjectRef| HpaRow {
        hpa: Arc::new(Hpa {
            uid: object.uid.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            ..Hpa::default()
        }),
        verdict: HpaVerdict::default(),
        past: Arc::default(),
    };
    // the values of the metrics and the conditions are not kept; of the scalings, only the last one of now is known. An
    // autoscaler at its maximum was shown with the replicas that the metrics asked for, which are not kept either
    let without = |row: &Arc<HpaRow>| HpaRow {
        hpa: Arc::new(Hpa {
            metrics: Arc::default(),
            conditions: Arc::default(),
            last_scale: row.hpa.last_scale.filter(|last| *last <= at),
            desired: row.hpa.desired.filter(|_| row.verdict.state != HpaState::AtMax),
            ..Hpa::clone(&row.hpa)
        }),
        verdict: HpaVerdict { wants: None, computed: None, ..row.verdict.clone() },
        past: Arc::default(),
    };
    table(rewound(now, &then.hpas, back, gone).iter().map(without))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::{Kind, Owner, Version};
    use crate::domain::node::{Condition, Status};
    use crate::domain::pod::{Phase, Pod};
    use crate::facts::event::{Batch, Fact};
    use crate::facts::history::Limit;
    use crate::facts::world::ClusterInfo;
    use crate::state::ClusterState;

    fn node(i: u8, ready: bool, cordoned: bool, version: u64) -> Node {
        let ready = Condition {
            kind: "Ready".into(),
            status: if ready { Status::True } else { Status::Unknown },
            reason: "r".into(),
            message: "".into(),
            since: Some(Stamp(5)),
        };
        Node {
            uid: Uid::Uuid(u128::from(i)),
            name: format!("n{i}").into(),
            version: Version(version),
            cordoned,
            conditions: [ready].into(),
            ..Node::default()
        }
    }

    fn workload(i: u8, replicas: i32, ready: i32, version: u64) -> Workload {
        Workload {
            kind: Kind::Deployment,
            uid: Uid::Uuid(100 + u128::from(i)),
            namespace: "shop".into(),
            name: format!("w{i}").into(),
            version: Version(version),
            replicas,
            desired: replicas,
            ready: ready.min(replicas),
            ..Workload::default()
        }
    }

    fn pod(i: u8, ready: bool, version: u64) -> Pod {
        let owner =
            Owner { kind: Kind::Deployment, name: "w0".into(), uid: Uid::Uuid(100), group: "apps".into() };
        Pod {
            uid: Uid::Uuid(200 + u128::from(i)),
            namespace: "shop".into(),
            name: format!("p{i}").into(),
            version: Version(version),
            node: Some(format!("n{}", i % 3).into()),
            owner: Some(Arc::new(owner)),
            phase: Phase::Running,
            ready,
            ..Pod::default()
        }
    }

    fn hpa(i: u8, max: i32, current: i32, version: u64) -> Hpa {
        Hpa {
            uid: Uid::Uuid(300 + u128::from(i)),
            namespace: "shop".into(),
            name: format!("h{i}").into(),
            version: Version(version),
            max,
            current: Some(current),
            desired: Some(current),
            ..Hpa::default()
        }
    }

    /// What is kept of a cluster, in the order of the names.
    fn kept(cluster: &Cluster) -> Vec<String> {
        let derived = &cluster.derived;
        let nodes = derived.nodes.iter().map(|row| {
            format!(
                "{} {:?} {:?} {:?} {}",
                row.node.name, row.state, row.since, row.totals, row.node.cordoned
            )
        });
        let workloads = derived.workloads.iter().map(|row| {
            let w = &row.workload;
            format!("{} {} {} {} {:?}", w.name, w.replicas, w.desired, w.ready, row.totals)
        });
        let hpas = derived.hpas.iter().map(|row| {
            format!(
                "{} {} {:?} {:?} {:?}",
                row.hpa.name, row.hpa.max, row.hpa.current, row.verdict.state, row.verdict.why
            )
        });
        let causes =
            derived.causes.iter().map(|c| format!("cause {} {:?} {:?}", c.code(), c.severity, c.object()));
        let mut all: Vec<String> = nodes.chain(workloads).chain(hpas).chain(causes).collect();
        all.push(format!("{:?}", derived.counts));
        all.sort();
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn going_back_shows_every_state_as_it_was_published(
            steps in proptest::collection::vec((1i64..90, 0u8..6, 0u8..4, any::<bool>(), 0i32..5), 1..40),
        ) {
            let mut state = ClusterState::new(ClusterInfo::default());
            let mut at = Stamp::from_secs(1_000);
            let end = Version(9);
            let mut version = 10;
            macro_rules! whole {
                ($fact:ident, $rows:expr) => {
                    for batch in [Batch::Begin { generation: 1 }, Batch::Upsert($rows), Batch::End { generation: 1, version: end }] {
                        state.apply(Fact::$fact(batch), at);
                    }
                };
            }
            whole!(Nodes, (0..3).map(|i| node(i, true, false, 1)).collect());
            whole!(Deployments, (0..2).map(|i| workload(i, 2, 2, 1)).collect());
            whole!(ReplicaSets, Vec::new());
            whole!(StatefulSets, Vec::new());
            whole!(DaemonSets, Vec::new());
            whole!(Jobs, Vec::new());
            whole!(Pods, (0..4).map(|i| pod(i, true, 1)).collect());
            whole!(Hpas, vec![hpa(0, 5, 2, 1)]);
            state.publish(at, true);
            let mut shown = vec![(at, kept(state.published()))];
            for (after, what, i, flag, n) in steps {
                at = at.plus_secs(after);
                version += 1;
                let fact = match what {
                    0 => Fact::Nodes(Batch::Upsert(vec![node(i, flag, n > 2, version)])),
                    1 => Fact::Deployments(Batch::Upsert(vec![workload(i, n, n - i32::from(flag), version)])),
                    2 => Fact::Pods(Batch::Upsert(vec![pod(i, flag, version)])),
                    3 => Fact::Hpas(Batch::Upsert(vec![hpa(i, 1 + n, n.min(3), version)])),
                    4 => Fact::Nodes(Batch::Gone(vec![crate::facts::event::Gone {
                        uid: Uid::Uuid(u128::from(i)),
                        version: Version(version),
                    }])),
                    _ => Fact::Pods(Batch::Gone(vec![crate::facts::event::Gone {
                        uid: Uid::Uuid(200 + u128::from(i)),
                        version: Version(version),
                    }])),
                };
                state.apply(fact, at);
                state.publish(at, true);
                shown.push((at, kept(state.published())));
            }
            for (at, was) in shown {
                prop_assert_eq!(kept(&cluster(state.published(), at)), was, "at {}", at);
            }
            let before = cluster(state.published(), Stamp::from_secs(999));
            prop_assert!(before.derived.nodes.is_empty() && before.nodes.cover == Coverage::Never);
            prop_assert!(!is_known(state.published(), Stamp::from_secs(999)));
        }
    }

    #[test]
    fn nothing_is_kept_without_a_history() {
        let kept = |limit: Limit| {
            let mut state = ClusterState::new(ClusterInfo { history: limit, ..ClusterInfo::default() });
            let batches = |rows| {
                let end = Batch::End { generation: 1, version: Version(9) };
                [Batch::Begin { generation: 1 }, Batch::Upsert(rows), end]
            };
            for batch in batches(vec![node(0, true, false, 1)]) {
                state.apply(Fact::Nodes(batch), Stamp::from_secs(1));
            }
            for batch in [Batch::Begin { generation: 1 }, Batch::End { generation: 1, version: Version(9) }] {
                state.apply(Fact::Pods(batch), Stamp::from_secs(1));
            }
            state.publish(Stamp::from_secs(1), true);
            state.apply(Fact::Nodes(Batch::Upsert(vec![node(0, false, false, 10)])), Stamp::from_secs(9));
            state.publish(Stamp::from_secs(9), true);
            let history = &state.published().derived.history;
            (history.since().is_some(), history.is_empty())
        };
        assert_eq!(kept(Limit::default()), (true, false));
        assert_eq!(kept(Limit(0)), (false, true));
    }
}
