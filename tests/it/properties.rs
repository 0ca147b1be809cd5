//! Properties of the shared state for every sequence of facts: derived values equal those computed from scratch, an
//! event is the same after it was written and read, and a heartbeat publishes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilothouse_core::domain::autoscaler::{Hpa, HpaVerdict, Metric, Target};
use pilothouse_core::domain::budget::Pdb;
use pilothouse_core::domain::cause::{Finding, FindingCode};
use pilothouse_core::domain::event::{InvolvedObject, KubeEvent};
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Owner, Uid, Version};
use pilothouse_core::domain::node::{Condition, Node, NodeLease, Status};
use pilothouse_core::domain::pod::{Phase, Pod, PodShape, Trouble};
use pilothouse_core::domain::quantity::Resources;
use pilothouse_core::domain::route::{self, Balancer, Host, Route, RouteRule, Scope, Subset};
use pilothouse_core::domain::selector::Selector;
use pilothouse_core::domain::service::{Endpoint, EndpointSlice, Service};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::{BackendTraffic, Policy, ServiceTraffic, Share, Shares, TrafficSeen};
use pilothouse_core::domain::usage::NodeUsage;
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::facts::event::{Batch, Event, Fact, Gone, Identity};
use pilothouse_core::facts::table::Row;
use pilothouse_core::facts::world::{Cause, Cluster, ClusterInfo, ServiceRow};
use pilothouse_core::policy::hpa::judge as judge_hpa;
use pilothouse_core::policy::{balancing, shares};
use pilothouse_core::state::ClusterState;
use proptest::prelude::*;

const NOW: Stamp = Stamp(1_795_230_720_000);

/// A row of any kind: its index in the universe, its life (a name can come back with another UID), its content.
#[derive(Clone, Copy, Debug)]
struct Seed {
    index: u32,
    life: u32,
    version: u64,
    content: u64,
}

impl Seed {
    /// Bits of the content, as a number below `n`.
    fn pick(self, from: u32, n: u64) -> u64 {
        (self.content >> from) % n
    }
}

/// The kinds that take part, each with its fact and how a row is made.
macro_rules! tables {
    ($($table:ident $fact:ident $row:ident)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        enum Table {
            $($table,)*
        }

        impl Table {
            const ALL: &[Self] = &[$(Self::$table,)*];

            fn upsert(self, seeds: &[Seed]) -> Fact {
                match self {
                    $(Self::$table => Fact::$fact(Batch::Upsert(seeds.iter().map(|s| $row(*s)).collect())),)*
                }
            }

            fn gone(self, index: u32, life: u32, version: u64) -> Fact {
                let gone = Gone { uid: self.uid(index, life), version: Version(version) };
                match self {
                    $(Self::$table => Fact::$fact(Batch::Gone(vec![gone])),)*
                }
            }

            fn begin(self, generation: u32) -> Fact {
                match self {
                    $(Self::$table => Fact::$fact(Batch::Begin { generation }),)*
                }
            }

            fn end(self, generation: u32) -> Fact {
                let version = Version(1);
                match self {
                    $(Self::$table => Fact::$fact(Batch::End { generation, version }),)*
                }
            }
        }
    };
}

tables! {
    Nodes Nodes node
    Leases Leases lease
    Pods Pods pod
    Deployments Deployments deployment
    ReplicaSets ReplicaSets replicaset
    StatefulSets StatefulSets statefulset
    DaemonSets DaemonSets daemonset
    Jobs Jobs job
    Services Services service
    Slices EndpointSlices slice
    Hpas Hpas hpa
    Pdbs Pdbs pdb
    Events Events event
    HttpRoutes HttpRoutes httproute
    VirtualServices VirtualServices virtualservice
    DestinationRules DestinationRules destinationrule
}

impl Table {
    fn uid(self, index: u32, life: u32) -> Uid {
        Uid::Uuid((self as u128 + 1) * 100_000 + u128::from(index) * 10 + u128::from(life))
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
        owner: match s.pick(6, 9) {
            0 => None,
            6 => Some(owner(
                Kind::StatefulSet,
                Table::StatefulSets.uid(s.pick(9, 2) as u32, 0),
                named("set", 0),
            )),
            7 => {
                Some(owner(Kind::DaemonSet, Table::DaemonSets.uid(s.pick(9, 2) as u32, 0), named("agent", 0)))
            }
            8 => Some(owner(Kind::Job, Table::Jobs.uid(s.pick(9, 2) as u32, 0), named("job", 0))),
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

/// A condition that has lasted for as long as a rule waits.
fn lasting(kind: &str, status: Status, reason: &str) -> Condition {
    let since = Some(NOW.plus_secs(-100));
    Condition { kind: kind.into(), status, reason: reason.into(), message: "as said".into(), since }
}

/// What a StatefulSet and a DaemonSet have in common: a number of pods that are wanted and there.
fn one_by_one(s: Seed, table: Table, kind: Kind, name: &str) -> Workload {
    let desired = s.pick(0, 5) as i32;
    Workload {
        kind,
        uid: table.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named(name, s.index.into()),
        created: NOW.plus_secs(-9_000),
        replicas: desired,
        desired,
        current: s.pick(4, 5) as i32,
        updated: s.pick(8, 5) as i32,
        ready: s.pick(12, 5) as i32,
        available: s.pick(12, 5) as i32,
        current_revision: "a".into(),
        update_revision: ["a", "b"][s.pick(16, 2) as usize].into(),
        template_labels: Arc::from([("app".into(), named(name, s.index.into()))]),
        ..Workload::default()
    }
}

fn statefulset(s: Seed) -> Workload {
    one_by_one(s, Table::StatefulSets, Kind::StatefulSet, "set")
}

fn daemonset(s: Seed) -> Workload {
    one_by_one(s, Table::DaemonSets, Kind::DaemonSet, "agent")
}

fn job(s: Seed) -> Workload {
    let condition = match s.pick(0, 4) {
        0 => Some(lasting("Failed", Status::True, "BackoffLimitExceeded")),
        1 => Some(lasting("Complete", Status::True, "CompletionsReached")),
        _ => None,
    };
    let cron =
        Owner { kind: Kind::CronJob, name: "nightly".into(), uid: Uid::Uuid(7), group: "batch".into() };
    Workload {
        kind: Kind::Job,
        uid: Table::Jobs.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named("job", s.index.into()),
        // no two at one moment: the newest tells the reason
        created: NOW.plus_secs(-1_000 - i64::from(s.index)),
        replicas: 1,
        desired: 1,
        failed: s.pick(4, 3) as i32,
        conditions: condition.into_iter().collect(),
        owner: (s.pick(8, 2) == 0).then(|| Arc::new(cron)),
        ..Workload::default()
    }
}

fn hpa(s: Seed) -> Hpa {
    let mut conditions = vec![lasting("AbleToScale", Status::True, "ReadyForNewScale")];
    match s.pick(0, 4) {
        // no status yet, or none ever
        0 => conditions.clear(),
        1 => conditions.push(lasting("ScalingActive", Status::False, "FailedGetResourceMetric")),
        _ => conditions.push(lasting("ScalingActive", Status::True, "ValidMetricFound")),
    }
    if s.pick(4, 2) == 0 {
        conditions.push(lasting("ScalingLimited", Status::True, "TooManyReplicas"));
    }
    Hpa {
        uid: Table::Hpas.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named("hpa", s.index.into()),
        created: NOW.plus_secs(if s.pick(6, 2) == 0 { -10 } else { -9_000 }),
        target_name: named("app", s.pick(8, 5)),
        max: 4,
        current: Some(s.pick(12, 5) as i32),
        desired: Some(s.pick(16, 5) as i32),
        metrics: Arc::from([Metric {
            kind: "Resource".into(),
            name: "cpu".into(),
            target: Target::Utilization(60),
            current: Some(s.pick(20, 200) as i64),
        }]),
        conditions: conditions.into(),
        ..Hpa::default()
    }
}

fn pdb(s: Seed) -> Pdb {
    let healthy = s.pick(0, 4) as i32;
    Pdb {
        uid: Table::Pdbs.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named("pdb", s.index.into()),
        selector: Arc::new(Selector::from_labels([labels(s.pick(4, 3))])),
        min_available: Some("3".into()),
        allowed: s.pick(8, 2) as i32,
        current_healthy: healthy,
        desired_healthy: 3,
        expected: 3,
        ..Pdb::default()
    }
}

fn host(index: u64) -> Host {
    Host { namespace: "shop".into(), name: named("svc", index) }
}

/// A rule over two targets, of other Services or of subsets of one.
fn split(s: Seed, subsets: bool) -> RouteRule {
    let target = |at: u32| route::Target {
        host: host(if subsets { s.pick(0, 3) } else { s.pick(4 * at, 4) }),
        subset: (subsets && s.pick(20 + at, 3) > 0).then(|| named("subset", u64::from(at))),
        weight: [0, 10, 90][s.pick(8 + 2 * at, 3) as usize],
        foreign: false,
    };
    let targets = (0..=s.pick(30, 2) as u32).map(target).collect();
    RouteRule { targets, conditional: s.pick(16, 4) == 0, ..RouteRule::default() }
}

fn route_of(table: Table, kind: Kind, s: Seed, name: &str) -> Route {
    Route {
        uid: table.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named(name, s.index.into()),
        kind,
        ..Route::default()
    }
}

fn httproute(s: Seed) -> Route {
    let roots = if s.pick(40, 2) == 0 { Arc::from([host(s.pick(41, 4))]) } else { Arc::default() };
    let route = route_of(Table::HttpRoutes, Kind::HTTPRoute, s, "route");
    Route { roots, rules: [split(s, false)].into(), ..route }
}

fn virtualservice(s: Seed) -> Route {
    let route = route_of(Table::VirtualServices, Kind::VirtualService, s, "virtual");
    Route { rules: [split(s, true)].into(), ..route }
}

fn destinationrule(s: Seed) -> Route {
    let policy = [Policy::Random, Policy::LeastConnections, Policy::ByClient][s.pick(8, 3) as usize];
    let scope = if s.pick(12, 2) == 0 { Scope::All } else { Scope::Subset(named("subset", 0)) };
    let subset = |n: u64| Subset {
        name: named("subset", n),
        selector: Arc::new(Selector::from_labels([labels(s.pick(16, 2) + n)])),
    };
    let target = route::Target { host: host(s.pick(0, 3)), ..route::Target::default() };
    let route = route_of(Table::DestinationRules, Kind::DestinationRule, s, "rule");
    Route {
        rules: [RouteRule { targets: [target].into(), ..RouteRule::default() }].into(),
        balancers: [Balancer { scope, policy, ..Balancer::default() }].into(),
        subsets: [subset(0), subset(1)].into(),
        ..route
    }
}

fn event(s: Seed) -> KubeEvent {
    let table = [Table::Pods, Table::StatefulSets, Table::Jobs][s.pick(0, 3) as usize];
    let about = table.uid(s.pick(4, 5) as u32, s.pick(8, 2) as u32);
    // no two at one moment: the newest counts
    let at = Some(NOW.plus_secs(-30 - i64::from(s.index * 2 + s.life)));
    KubeEvent {
        uid: Table::Events.uid(s.index, s.life),
        version: Version(s.version),
        namespace: "shop".into(),
        name: named("event", s.index.into()),
        about: InvolvedObject { kind: Kind::Pod, namespace: "shop".into(), name: "any".into(), uid: about },
        warning: s.pick(12, 3) > 0,
        reason: ["FailedMount", "FailedCreate", "Unhealthy", "Pulling"][s.pick(16, 4) as usize].into(),
        message: named("said", s.pick(20, 3)),
        count: 1,
        first: at,
        last: at,
        component: "kubelet".into(),
    }
}

/// A poll: of some Services, with backends that are their pods, and of a proxy that is none of theirs. The ratios are far
/// from all thresholds, so that what a rule found before does not count; it was measured long after all endpoints came.
fn traffic(content: u64) -> TrafficSeen {
    let ratio = |at: u64| [0.0, 0.003, 0.03, 0.2][((content >> (at % 60)) % 4) as usize];
    let rps = |at: u64| [10.0, 40.0, 90.0][((content >> (at % 60)) % 3) as usize];
    let service = |i: u64| {
        let backends = (0..3).map(|n| BackendTraffic {
            name: named("pod", (content >> ((i * 7 + n * 3) % 60)) % 6),
            rps: Some(rps(i * 11 + n)),
            error_ratio: Some(ratio(i * 5 + n * 2)),
            ..BackendTraffic::default()
        });
        let namespace: Name = if i == 3 { "".into() } else { "shop".into() };
        Arc::new(ServiceTraffic {
            namespace,
            name: named("svc", i),
            preset: "test".into(),
            rps: Some(120.0),
            error_ratio: Some(ratio(i * 13)),
            backends: backends.collect(),
            window_secs: 60,
            ..ServiceTraffic::default()
        })
    };
    TrafficSeen {
        at: NOW.plus_secs(3_600),
        services: (0..content % 5).map(service).collect(),
        ..TrafficSeen::default()
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
                // pods have their names' UIDs while they live their first life
                pod_uid: Some(Table::Pods.uid(((s.content >> (8 + i * 5)) % 6) as u32, 0)),
                ready: (s.content >> (12 + i * 5)).is_multiple_of(2),
                ..Endpoint::default()
            })
            .collect(),
        hinted: s.pick(50, 4) == 0,
    }
}

/// The next message of a source.
#[derive(Clone, Debug)]
enum Step {
    Upsert(Table, Vec<Seed>),
    Gone {
        table: Table,
        index: u32,
        version: u64,
    },
    /// `whole`: with its closing token; without it the list was truncated and deletes nothing.
    Relist {
        table: Table,
        seeds: Vec<Seed>,
        whole: bool,
    },
    /// A poll of Prometheus.
    Traffic(u64),
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
    let table = || prop::sample::select(Table::ALL);
    let seeds = || prop::collection::vec(seed(), 0..5);
    prop_oneof![
        5 => (table(), seeds()).prop_map(|(table, seeds)| Step::Upsert(table, seeds)),
        2 => (table(), 0..5u32, 0..12u64).prop_map(|(table, index, version)| Step::Gone { table, index, version }),
        2 => (table(), seeds(), any::<bool>()).prop_map(|(table, seeds, whole)| Step::Relist { table, seeds, whole }),
        1 => any::<u64>().prop_map(Step::Traffic),
        2 => any::<bool>().prop_map(|tick| Step::Publish { tick }),
    ]
}

/// The next message about something that policies are found from.
fn step_about_policies() -> impl Strategy<Value = Step> {
    let tables = [
        Table::Services,
        Table::Slices,
        Table::Pods,
        Table::HttpRoutes,
        Table::VirtualServices,
        Table::DestinationRules,
    ];
    let table = move || prop::sample::select(tables.to_vec());
    let seeds = || prop::collection::vec(seed(), 0..3);
    prop_oneof![
        6 => (table(), seeds()).prop_map(|(table, seeds)| Step::Upsert(table, seeds)),
        2 => (table(), 0..5u32, 0..12u64).prop_map(|(table, index, version)| Step::Gone { table, index, version }),
        1 => (table(), seeds(), any::<bool>()).prop_map(|(table, seeds, whole)| Step::Relist { table, seeds, whole }),
        1 => any::<u64>().prop_map(Step::Traffic),
        5 => Just(Step::Publish { tick: false }),
    ]
}

/// A poll with a Service whose requests a VirtualService splits by the labels of its pods.
fn split_by_labels(poll: u64) -> [Step; 6] {
    let one = |table, content| Step::Upsert(table, vec![Seed { index: 0, life: 0, version: 1, content }]);
    [
        one(Table::Services, 0),
        one(Table::Slices, 642_428_765_391),
        one(Table::VirtualServices, 666_956_614_152),
        one(Table::DestinationRules, 613_169_162_910),
        Step::Traffic(poll / 10 * 5 + 4),
        Step::Publish { tick: false },
    ]
}

/// The objects that the API server would have: for each name the newest one reported.
#[derive(Default)]
struct Truth {
    rows: BTreeMap<(Table, u32), Seed>,
    generation: u32,
    /// The last poll.
    traffic: Option<u64>,
}

impl Truth {
    /// Applies a step to the state and to the model.
    fn play(&mut self, state: &mut ClusterState, step: &Step) {
        match step {
            Step::Publish { tick } => {
                state.publish(NOW, *tick);
            }
            Step::Traffic(content) => {
                state.apply(Fact::Traffic(traffic(*content)), NOW);
                self.traffic = Some(*content);
            }
            Step::Upsert(table, seeds) => {
                for seed in seeds {
                    // a name that comes back with another UID was deleted before
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
                // a truncated list could bring an object of another life, so that two would exist at once; no server
                // sends that
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

    /// A state that only got the final facts.
    fn told_once(&self) -> ClusterState {
        let mut state = empty();
        for &table in Table::ALL {
            let seeds: Vec<Seed> =
                self.rows.iter().filter(|((t, _), _)| *t == table).map(|(_, s)| *s).collect();
            state.apply(table.upsert(&seeds), NOW);
        }
        if let Some(content) = self.traffic {
            state.apply(Fact::Traffic(traffic(content)), NOW);
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

/// The derived values without those that may differ: versions of equal rows, and the order of arrival.
struct Follows {
    nodes: BTreeMap<Uid, String>,
    workloads: BTreeMap<Uid, String>,
    services: BTreeMap<Uid, String>,
    hpas: BTreeMap<Uid, HpaVerdict>,
    owners: BTreeMap<Uid, String>,
    counts: String,
    causes: BTreeSet<String>,
}

fn follows(cluster: &Cluster) -> Follows {
    let d = &cluster.derived;
    let cause = |c: &Cause| {
        let (mut objects, mut lines) = (c.objects.clone(), c.lines());
        objects.sort();
        lines.sort();
        let beside = (c.severity, c.since, &c.action, c.impact, &c.shared, &c.includes, &c.progress);
        format!("{} {c} {:?} {objects:?} {lines:?} {beside:?}", c.code(), c.finding)
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
        hpas: d.hpas.iter().map(|r| (r.hpa.uid.clone(), r.verdict.clone())).collect(),
        owners: d.replicaset_owner.iter().map(|(uid, owner)| (uid.clone(), format!("{owner:?}"))).collect(),
        counts: format!("{:?}", d.counts),
        // A share is uneven by several polls, and the facts told once have only the last.
        causes: d
            .causes
            .iter()
            .filter(|c| !matches!(c.finding, Finding::TrafficUneven { .. }))
            .map(|c| cause(c))
            .collect(),
    }
}

fn finite() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(any::<f64>().prop_filter("decoders let no other pass", |f| f.is_finite()))
}

fn fact() -> impl Strategy<Value = Fact> {
    let text = || any::<String>().prop_map(Name::from);
    let stamp = || (0..4_000_000_000_000_i64).prop_map(Stamp);
    let table = || prop::sample::select(Table::ALL);
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

/// The shares of each service follow from its endpoints, and its policy is the one that is found from scratch in `fresh`.
fn shares_are_those_of_the_rows(cluster: &Cluster, fresh: &Cluster) -> Result<(), TestCaseError> {
    let d = &cluster.derived;
    prop_assert_eq!(d.traffic.len(), cluster.traffic.services.len());
    let known = balancing::Lookup::new(fresh);
    for (row, service) in d.traffic.iter().zip(cluster.traffic.services.iter()) {
        prop_assert!(Arc::ptr_eq(&row.traffic, service));
        let is =
            |r: &&Arc<ServiceRow>| r.service.namespace == service.namespace && r.service.name == service.name;
        let endpoints = cluster.in_rotation(d.services.iter().find(is).map(AsRef::as_ref));
        prop_assert_eq!(row.endpoints.as_deref(), endpoints);
        let host = Host { namespace: service.namespace.clone(), name: service.name.clone() };
        prop_assert_eq!(&row.balancing, &balancing::discover(&host, Some(service), &known));
        // The rest depends on the polls before.
        let alone = shares::judge(service, &row.balancing, endpoints, cluster.traffic.at);
        let of_poll = |shares: &Shares| {
            let of = |s: &Share| (s.observed, s.expected, s.range, s.out, s.new, s.level);
            let backends: Vec<_> = shares.backends.iter().map(of).collect();
            (backends, shares.silent.clone(), shares.arriving.clone(), shares.note)
        };
        prop_assert_eq!(of_poll(&row.shares), of_poll(&alone));
    }
    Ok(())
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
        // what a rule reads of the pods besides its inputs, it reads again with time or with the next poll
        let later = NOW.plus_secs(6);
        for told in [&mut state, &mut once] {
            if let Some(content) = truth.traffic {
                told.apply(Fact::Traffic(traffic(content)), later);
            }
            told.publish(later, true);
        }
        let (kept, fresh) = (follows(state.published()), follows(once.published()));
        prop_assert_eq!(kept.nodes, fresh.nodes);
        prop_assert_eq!(kept.workloads, fresh.workloads);
        prop_assert_eq!(kept.services, fresh.services);
        prop_assert_eq!(kept.hpas, fresh.hpas);
        prop_assert_eq!(kept.owners, fresh.owners);
        prop_assert_eq!(kept.counts, fresh.counts);
        prop_assert_eq!(kept.causes, fresh.causes);
    }

    #[test]
    fn shares_and_verdicts_are_those_of_the_rows_that_stand_beside_them(steps in prop::collection::vec(step(), 0..40)) {
        let (mut state, mut truth) = (empty(), Truth::default());
        for step in &steps {
            truth.play(&mut state, step);
        }
        state.publish(NOW, true);
        let cluster = state.published();
        let d = &cluster.derived;
        prop_assert_eq!(d.hpas.len(), cluster.hpas.len());
        for row in d.hpas.iter() {
            prop_assert_eq!(&row.hpa, cluster.hpas.by_uid(&row.hpa.uid).unwrap());
            prop_assert_eq!(&row.verdict, &judge_hpa(&row.hpa, NOW));
        }
        shares_are_those_of_the_rows(cluster, cluster)?;
    }

    #[test]
    fn a_policy_that_was_kept_is_the_one_that_all_facts_give_now(
        first in any::<u64>(),
        steps in prop::collection::vec(step_about_policies(), 0..40),
    ) {
        let (mut state, mut truth) = (empty(), Truth::default());
        for step in split_by_labels(first).iter().chain(&steps).chain([&Step::Publish { tick: false }]) {
            truth.play(&mut state, step);
            if matches!(step, Step::Publish { .. }) {
                let mut once = truth.told_once();
                once.publish(NOW, false);
                shares_are_those_of_the_rows(state.published(), once.published())?;
            }
        }
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
                // a lease stays silent, because its renewal would be a visible fact
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

/// A name that is reused: of two Leases of a node, the end of the older one must not end the newer one.
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
    let suspects: Vec<&ObjectRef> = cluster
        .derived
        .causes
        .iter()
        .filter(|c| c.code() == FindingCode::NodeSuspect)
        .flat_map(|c| &c.objects)
        .collect();
    assert_eq!(suspects.len(), 1, "{:?}", cluster.derived.causes);
}
