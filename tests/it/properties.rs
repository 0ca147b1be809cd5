//! What must hold of the shared state for every sequence of facts: what follows from them is the same as if it had been
//! worked out from the last facts alone, an event survives being written down, and a heartbeat publishes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Owner, Uid, Version};
use pilothouse_core::domain::node::{Condition, Node, NodeLease, Status};
use pilothouse_core::domain::pod::{Phase, Pod, PodShape, Trouble};
use pilothouse_core::domain::quantity::Resources;
use pilothouse_core::domain::selector::Selector;
use pilothouse_core::domain::service::{Endpoint, EndpointSlice, Service};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::{BackendTraffic, ServiceTraffic, TrafficSeen};
use pilothouse_core::domain::usage::NodeUsage;
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::facts::event::{Batch, Event, Fact, Gone, Identity};
use pilothouse_core::facts::table::Row;
use pilothouse_core::facts::world::{Cause, Cluster, ClusterInfo};
use pilothouse_core::state::ClusterState;
use proptest::prelude::*;

const NOW: Stamp = Stamp(1_795_230_720_000);

/// A row of any kind: its place in the universe, its life (a name can come back under another UID), its content.
#[derive(Clone, Copy, Debug)]
struct Seed {
    index: u32,
    life: u32,
    version: u64,
    content: u64,
}

impl Seed {
    /// A few bits of the content, as a number below `n`.
    fn pick(self, from: u32, n: u64) -> u64 {
        (self.content >> from) % n
    }
}

/// The kinds that take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    Nodes,
    Leases,
    Pods,
    Deployments,
    ReplicaSets,
    Services,
    Slices,
}

impl Table {
    const ALL: [Self; 7] = [
        Self::Nodes,
        Self::Leases,
        Self::Pods,
        Self::Deployments,
        Self::ReplicaSets,
        Self::Services,
        Self::Slices,
    ];

    fn uid(self, index: u32, life: u32) -> Uid {
        Uid::Uuid((self as u128 + 1) * 100_000 + u128::from(index) * 10 + u128::from(life))
    }

    fn upsert(self, seeds: &[Seed]) -> Fact {
        fn all<T>(seeds: &[Seed], row: fn(Seed) -> T) -> Batch<T> {
            Batch::Upsert(seeds.iter().map(|s| row(*s)).collect())
        }
        match self {
            Self::Nodes => Fact::Nodes(all(seeds, node)),
            Self::Leases => Fact::Leases(all(seeds, lease)),
            Self::Pods => Fact::Pods(all(seeds, pod)),
            Self::Deployments => Fact::Deployments(all(seeds, deployment)),
            Self::ReplicaSets => Fact::ReplicaSets(all(seeds, replicaset)),
            Self::Services => Fact::Services(all(seeds, service)),
            Self::Slices => Fact::EndpointSlices(all(seeds, slice)),
        }
    }

    fn gone(self, index: u32, life: u32, version: u64) -> Fact {
        let gone = Gone { uid: self.uid(index, life), version: Version(version) };
        match self {
            Self::Nodes => Fact::Nodes(Batch::Gone(vec![gone])),
            Self::Leases => Fact::Leases(Batch::Gone(vec![gone])),
            Self::Pods => Fact::Pods(Batch::Gone(vec![gone])),
            Self::Deployments => Fact::Deployments(Batch::Gone(vec![gone])),
            Self::ReplicaSets => Fact::ReplicaSets(Batch::Gone(vec![gone])),
            Self::Services => Fact::Services(Batch::Gone(vec![gone])),
            Self::Slices => Fact::EndpointSlices(Batch::Gone(vec![gone])),
        }
    }

    fn begin(self, generation: u32) -> Fact {
        match self {
            Self::Nodes => Fact::Nodes(Batch::Begin { generation }),
            Self::Leases => Fact::Leases(Batch::Begin { generation }),
            Self::Pods => Fact::Pods(Batch::Begin { generation }),
            Self::Deployments => Fact::Deployments(Batch::Begin { generation }),
            Self::ReplicaSets => Fact::ReplicaSets(Batch::Begin { generation }),
            Self::Services => Fact::Services(Batch::Begin { generation }),
            Self::Slices => Fact::EndpointSlices(Batch::Begin { generation }),
        }
    }

    fn end(self, generation: u32) -> Fact {
        let version = Version(1);
        match self {
            Self::Nodes => Fact::Nodes(Batch::End { generation, version }),
            Self::Leases => Fact::Leases(Batch::End { generation, version }),
            Self::Pods => Fact::Pods(Batch::End { generation, version }),
            Self::Deployments => Fact::Deployments(Batch::End { generation, version }),
            Self::ReplicaSets => Fact::ReplicaSets(Batch::End { generation, version }),
            Self::Services => Fact::Services(Batch::End { generation, version }),
            Self::Slices => Fact::EndpointSlices(Batch::End { generation, version }),
        }
    }
}

fn named(what: &str, index: u64) -> Name {
    format!("{what}-{index}").into()
}

fn node(s: Seed) -> Node {
    let ready = [Status::True, Status::True, Status::False, Status::Unknown][s.pick(0, 4) as usize];
    let condition = |kind: &str, status| Condition {
        kind: kind.into(),
        status,
        reason: "Said".into(),
        message: "".into(),
        since: Some(NOW.plus_secs(-100 - s.pick(8, 3) as i64)),
    };
    let mut conditions = vec![condition("Ready", ready)];
    if s.pick(4, 3) == 0 {
        conditions.push(condition("DiskPressure", Status::True));
    }
    Node {
        uid: Table::Nodes.uid(s.index, s.life),
        version: Version(s.version),
        name: named("node", s.index.into()),
        created: NOW.plus_secs(-9_000),
        cordoned: s.pick(6, 2) == 1,
        conditions: conditions.into(),
        ..Node::default()
    }
}

fn lease(s: Seed) -> NodeLease {
    NodeLease {
        uid: Table::Leases.uid(s.index, s.life),
        version: Version(s.version),
        node: named("node", s.index.into()),
        seen_at: NOW.plus_secs(if s.pick(0, 3) == 0 { -90 } else { -5 }),
        ..NodeLease::default()
    }
}

fn labels(app: u64) -> (Name, Name) {
    ("app".into(), named("app", app))
}

fn pod(s: Seed) -> Pod {
    let app = s.pick(16, 3);
    let troubles =
        [None, None, Some(Trouble::CrashLoop), Some(Trouble::OomKilled), Some(Trouble::Unschedulable)];
    let owner = |kind: Kind, uid: Uid, name: Name| Arc::new(Owner { kind, name, uid, group: "apps".into() });
    Pod {
        uid: Table::Pods.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named("pod", s.index.into()),
        node: (s.pick(0, 4) > 0).then(|| named("node", s.pick(2, 4))),
        owner: match s.pick(6, 6) {
            0 => None,
            n => {
                let index = n as u32 - 1;
                let uid = Table::ReplicaSets.uid(index, s.pick(10, 2) as u32);
                Some(owner(Kind::ReplicaSet, uid, named("rs", n - 1)))
            }
        },
        shape: Arc::new(PodShape { labels: [labels(app)].into(), ..PodShape::default() }),
        requests: Resources {
            cpu_milli: s.pick(12, 900) as i64,
            memory_bytes: s.pick(20, 1 << 20) as i64,
            ..Resources::default()
        },
        phase: [Phase::Running, Phase::Running, Phase::Pending, Phase::Succeeded, Phase::Failed]
            [s.pick(30, 5) as usize],
        ready: s.pick(33, 2) == 1,
        trouble: troubles[s.pick(35, 5) as usize],
        deleting: (s.pick(38, 4) == 0).then_some(NOW),
        restarts: s.pick(40, 50) as u32,
        created: NOW.plus_secs(-500),
        ..Pod::default()
    }
}

fn deployment(s: Seed) -> Workload {
    let replicas = s.pick(0, 5) as i32;
    let stuck = Condition {
        kind: "Progressing".into(),
        status: Status::False,
        reason: "ProgressDeadlineExceeded".into(),
        message: "".into(),
        since: Some(NOW.plus_secs(-60)),
    };
    Workload {
        uid: Table::Deployments.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named("app", s.index.into()),
        replicas,
        desired: replicas,
        updated: replicas,
        available: s.pick(4, 5) as i32,
        conditions: if s.pick(8, 3) == 0 { Arc::from([stuck]) } else { Arc::from([]) },
        template_labels: Arc::from([labels(s.index.into())]),
        ..Workload::default()
    }
}

fn replicaset(s: Seed) -> Workload {
    Workload {
        kind: Kind::ReplicaSet,
        uid: Table::ReplicaSets.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named("rs", s.index.into()),
        owner: (s.pick(0, 4) > 0).then(|| {
            let index = s.pick(2, 3);
            let uid = Table::Deployments.uid(index as u32, s.pick(4, 2) as u32);
            Arc::new(Owner { kind: Kind::Deployment, name: named("app", index), uid, group: "apps".into() })
        }),
        revision: Some(s.pick(6, 3) as i64),
        template_labels: Arc::from([("rs".into(), named("rs", s.index.into()))]),
        ..Workload::default()
    }
}

fn service(s: Seed) -> Service {
    Service {
        uid: Table::Services.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named("svc", s.index.into()),
        created: NOW.plus_secs(-900),
        selector: Arc::new(Selector::from_labels([labels(s.pick(0, 4))])),
        ..Service::default()
    }
}

fn slice(s: Seed) -> EndpointSlice {
    EndpointSlice {
        uid: Table::Slices.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named("slice", s.index.into()),
        service: named("svc", s.pick(0, 3)),
        address_type: "IPv4".into(),
        endpoints: (0..s.pick(2, 4))
            .map(|i| Endpoint {
                address: "10.0.0.1".into(),
                pod: Some(named("pod", (s.content >> (8 + i * 5)) % 6)),
                ready: (s.content >> (12 + i * 5)).is_multiple_of(2),
                ..Endpoint::default()
            })
            .collect(),
    }
}

/// What a source may say next.
#[derive(Clone, Debug)]
enum Step {
    Upsert(Table, Vec<Seed>),
    Gone {
        table: Table,
        index: u32,
        version: u64,
    },
    /// `whole`: with its closing token; without it the list was cut off and deletes nothing.
    Relist {
        table: Table,
        seeds: Vec<Seed>,
        whole: bool,
    },
    Publish {
        tick: bool,
    },
}

fn seed() -> impl Strategy<Value = Seed> {
    (0..5u32, 0..2u32, 1..12u64, any::<u64>()).prop_map(|(index, life, version, content)| Seed {
        index,
        life,
        version,
        content,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let table = || prop::sample::select(&Table::ALL);
    let seeds = || prop::collection::vec(seed(), 0..5);
    prop_oneof![
        5 => (table(), seeds()).prop_map(|(table, seeds)| Step::Upsert(table, seeds)),
        2 => (table(), 0..5u32, 0..12u64).prop_map(|(table, index, version)| Step::Gone { table, index, version }),
        2 => (table(), seeds(), any::<bool>()).prop_map(|(table, seeds, whole)| Step::Relist { table, seeds, whole }),
        2 => any::<bool>().prop_map(|tick| Step::Publish { tick }),
    ]
}

/// What the API server would hold: for each name the newest that was said of it.
#[derive(Default)]
struct Truth {
    rows: BTreeMap<(Table, u32), Seed>,
    generation: u32,
}

impl Truth {
    /// Plays a step into the state and into the truth.
    fn play(&mut self, state: &mut ClusterState, step: &Step) {
        match step {
            Step::Publish { tick } => {
                state.publish(NOW, *tick);
            }
            Step::Upsert(table, seeds) => {
                for seed in seeds {
                    // a name that comes back under another UID was deleted before
                    if let Some(held) = self.rows.get(&(*table, seed.index))
                        && held.life != seed.life
                    {
                        state.apply(table.gone(held.index, held.life, 0), NOW);
                        self.rows.remove(&(*table, seed.index));
                    }
                    state.apply(table.upsert(&[*seed]), NOW);
                    self.hear(*table, *seed);
                }
            }
            Step::Gone { table, index, version } => {
                let Some(held) = self.rows.get(&(*table, *index)).copied() else { return };
                state.apply(table.gone(*index, held.life, *version), NOW);
                if *version == 0 || *version >= held.version {
                    self.rows.remove(&(*table, *index));
                }
            }
            Step::Relist { table, seeds, whole } => {
                self.generation += 1;
                let mut names = BTreeSet::new();
                let seeds: Vec<Seed> = seeds.iter().copied().filter(|s| names.insert(s.index)).collect();
                // what a list that was cut off brings of another life would be two at once: no server does that
                let same_life = |s: &Seed| self.rows.get(&(*table, s.index)).is_none_or(|h| h.life == s.life);
                let seeds: Vec<Seed> = seeds.into_iter().filter(|s| *whole || same_life(s)).collect();
                state.apply(table.begin(self.generation), NOW);
                state.apply(table.upsert(&seeds), NOW);
                for seed in &seeds {
                    if self.rows.get(&(*table, seed.index)).is_some_and(|held| held.life != seed.life) {
                        self.rows.remove(&(*table, seed.index));
                    }
                    self.hear(*table, *seed);
                }
                if *whole {
                    state.apply(table.end(self.generation), NOW);
                    self.rows.retain(|(t, index), _| t != table || names.contains(index));
                }
            }
        }
    }

    fn hear(&mut self, table: Table, seed: Seed) {
        let held = self.rows.entry((table, seed.index)).or_insert(seed);
        if seed.version >= held.version {
            *held = seed;
        }
    }

    /// A state that heard nothing but the truth.
    fn told_once(&self) -> ClusterState {
        let mut state = empty();
        for table in Table::ALL {
            let seeds: Vec<Seed> =
                self.rows.iter().filter(|((t, _), _)| *t == table).map(|(_, s)| *s).collect();
            state.apply(table.upsert(&seeds), NOW);
        }
        state
    }
}

/// Every list was received and was empty.
fn empty() -> ClusterState {
    let mut state = ClusterState::new(ClusterInfo::default());
    for table in Table::ALL {
        state.apply(table.begin(0), NOW);
        state.apply(table.end(0), NOW);
    }
    state
}

/// What follows from the facts, without what may differ: versions of rows that say the same, and the order of arrival.
struct Follows {
    nodes: BTreeMap<Uid, String>,
    workloads: BTreeMap<Uid, String>,
    services: BTreeMap<Uid, String>,
    owners: BTreeMap<Uid, String>,
    counts: String,
    causes: BTreeSet<String>,
}

fn follows(cluster: &Cluster) -> Follows {
    let d = &cluster.derived;
    let cause = |c: &Cause| {
        let mut c = c.clone();
        c.objects.sort();
        c.evidence.sort();
        format!("{c:?}")
    };
    Follows {
        nodes: d
            .nodes
            .iter()
            .map(|r| {
                let node = Node { version: Version(0), ..(*r.node).clone() };
                (
                    node.uid.clone(),
                    format!("{node:?} {:?} {:?} {:?} {:?}", r.state, r.since, r.problems, r.totals),
                )
            })
            .collect(),
        workloads: d
            .workloads
            .iter()
            .map(|r| {
                let workload = Workload { version: Version(0), ..(*r.workload).clone() };
                (workload.uid.clone(), format!("{workload:?} {:?} {:?}", r.totals, r.rollout))
            })
            .collect(),
        services: d
            .services
            .iter()
            .map(|r| {
                let slices: BTreeSet<&Uid> = r.slices.iter().map(|s| s.uid()).collect();
                let of = (&r.service.name, &r.service.selector, r.ready, r.total, slices);
                (r.service.uid.clone(), format!("{of:?}"))
            })
            .collect(),
        owners: d.replicaset_owner.iter().map(|(uid, owner)| (uid.clone(), format!("{owner:?}"))).collect(),
        counts: format!("{:?}", d.counts),
        causes: d.causes.iter().map(|c| cause(c)).collect(),
    }
}

fn finite() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(any::<f64>().prop_filter("decoders let no other pass", |f| f.is_finite()))
}

fn fact() -> impl Strategy<Value = Fact> {
    let text = || any::<String>().prop_map(Name::from);
    let stamp = || (0..4_000_000_000_000_i64).prop_map(Stamp);
    let table = || prop::sample::select(&Table::ALL);
    prop_oneof![
        (table(), prop::collection::vec(seed(), 0..3)).prop_map(|(table, seeds)| table.upsert(&seeds)),
        (table(), seed()).prop_map(|(table, s)| table.gone(s.index, s.life, s.version)),
        (table(), any::<u32>()).prop_map(|(table, generation)| table.begin(generation)),
        (table(), any::<u32>()).prop_map(|(table, generation)| table.end(generation)),
        text().prop_map(|reason| Fact::Pods(Batch::Denied { reason })),
        prop::option::of(stamp()).prop_map(|since| Fact::Nodes(Batch::Stale { since })),
        prop::option::of(prop::collection::vec(text(), 0..3))
            .prop_map(|namespaces| Fact::Hpas(Batch::Scope { namespaces })),
        any::<u32>().prop_map(|of| Fact::Pdbs(Batch::Expect { of })),
        (text(), text(), any::<i64>(), stamp()).prop_map(|(source, node, n, at)| Fact::NodeUsage {
            source,
            rows: vec![NodeUsage { node, cpu_milli: n, memory_bytes: n, at }],
        }),
        (text(), finite(), finite(), stamp()).prop_map(|(name, rps, error_ratio, at)| {
            let backend =
                BackendTraffic { name: name.clone(), rps, error_ratio, ..BackendTraffic::default() };
            let service = ServiceTraffic {
                name,
                rps,
                error_ratio,
                backends: Arc::from([backend]),
                ..ServiceTraffic::default()
            };
            let services = Arc::from([Arc::new(service)]);
            Fact::Traffic(TrafficSeen { at, services, ..TrafficSeen::default() })
        }),
        (text(), prop::option::of(text()), stamp()).prop_map(|(name, error, since)| Fact::Source(
            SourceStatus { name, state: SourceState::Stale { since }, error, ..SourceStatus::default() }
        )),
        (prop::option::of(text()), prop::option::of(any::<i64>())).prop_map(|(user, clock_offset_ms)| {
            Fact::Identity(Identity { user, clock_offset_ms, ..Identity::default() })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_follows_step_by_step_is_what_follows_from_the_last_facts(steps in prop::collection::vec(step(), 0..40)) {
        let (mut state, mut truth) = (empty(), Truth::default());
        for step in &steps {
            truth.play(&mut state, step);
        }
        state.publish(NOW, true);
        let mut once = truth.told_once();
        once.publish(NOW, true);
        let (kept, fresh) = (follows(state.published()), follows(once.published()));
        prop_assert_eq!(kept.nodes, fresh.nodes);
        prop_assert_eq!(kept.workloads, fresh.workloads);
        prop_assert_eq!(kept.services, fresh.services);
        prop_assert_eq!(kept.owners, fresh.owners);
        prop_assert_eq!(kept.counts, fresh.counts);
        prop_assert_eq!(kept.causes, fresh.causes);
    }

    #[test]
    fn an_event_is_read_back_as_it_was_written(fact in fact(), at in 0..4_000_000_000_000_i64, cluster in any::<u16>()) {
        let event = Event { at: Stamp(at), cluster: ClusterId(cluster), fact };
        let line = serde_json::to_string(&event).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }

    #[test]
    fn a_heartbeat_publishes_nothing(steps in prop::collection::vec(step(), 0..20)) {
        let (mut state, mut truth) = (empty(), Truth::default());
        for step in &steps {
            truth.play(&mut state, step);
        }
        state.publish(NOW, true);
        for (&(table, _), held) in &truth.rows {
            let beat = Seed { version: held.version + 1, ..*held };
            match table {
                // a silent lease stays as silent as it was: its renewal is a fact that people see
                Table::Leases => {
                    let lease = NodeLease { renewed: Some(NOW), ..lease(beat) };
                    state.apply(Fact::Leases(Batch::Upsert(vec![lease])), NOW);
                }
                table => {
                    state.apply(table.upsert(&[beat]), NOW);
                }
            }
        }
        prop_assert!(state.publish(NOW, false).is_none(), "after facts that say nothing new");
        prop_assert!(state.publish(NOW, true).is_none(), "after a tick");
    }
}

/// The one about a name that is taken over: of two Leases of a node the older one's end must not end the newer.
#[test]
fn a_lease_that_was_replaced_in_a_list_still_tells_silence() {
    let mut state = empty();
    let seed = |life, content| Seed { index: 1, life, version: 1, content };
    state.apply(Table::Nodes.upsert(&[seed(0, 0)]), NOW);
    state.apply(Table::Leases.upsert(&[seed(0, 1)]), NOW);
    state.publish(NOW, true);
    state.apply(Table::Leases.begin(1), NOW);
    state.apply(Table::Leases.upsert(&[seed(1, 0)]), NOW);
    state.apply(Table::Leases.end(1), NOW);
    let cluster = state.publish(NOW, true).expect("a node became Suspect");
    let suspects: Vec<&ObjectRef> =
        cluster.derived.causes.iter().filter(|c| c.rule == "node-suspect").flat_map(|c| &c.objects).collect();
    assert_eq!(suspects.len(), 1, "{:?}", cluster.derived.causes);
}
