//! A small cluster with problems, built from facts as sources send them.

use std::sync::Arc;

use pilothouse_core::domain::alert::{Alert, AlertSilence, AlertState, AlertsSeen, Matcher, severity};
use pilothouse_core::domain::autoscaler::{Hpa, Metric, Target};
use pilothouse_core::domain::budget::Pdb;
use pilothouse_core::domain::event::{InvolvedObject, KubeEvent};
use pilothouse_core::domain::id::{ClusterId, Kind, Name, Owner, Uid, Version};
use pilothouse_core::domain::log::{ErrorGroup, Level, LogSummary};
use pilothouse_core::domain::node::{Condition, Node, Status, Taint};
use pilothouse_core::domain::pod::{ContainerShape, LastExit, Phase, Pod, PodShape, Trouble};
use pilothouse_core::domain::quantity::Resources;
use pilothouse_core::domain::selector::Selector;
use pilothouse_core::domain::service::{Endpoint, EndpointSlice, Service};
use pilothouse_core::domain::source::{Feed, SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::{BackendTraffic, Origin, Policy, ServiceTraffic, TrafficSeen};
use pilothouse_core::domain::usage::NodeUsage;
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::facts::event::{Batch, Fact, Gone, Identity};
use pilothouse_core::facts::world::{ClusterInfo, World};
use pilothouse_core::state::ClusterState;

/// 03:12 UTC of some night.
pub const NOW: Stamp = Stamp(1_795_230_720_000);

pub fn ago(secs: i64) -> Stamp {
    NOW.plus_secs(-secs)
}

pub fn uid(n: u128) -> Uid {
    Uid::Uuid(n)
}

pub fn info() -> ClusterInfo {
    ClusterInfo {
        id: ClusterId(0),
        context: "prod-eu".into(),
        kubeconfig_user: "alice".into(),
        protected: true,
        ..ClusterInfo::default()
    }
}

pub fn world(state: &mut ClusterState) -> World {
    state.publish(NOW, true);
    World { seq: 1, at: NOW, clusters: Arc::from([state.published().clone()]), actions: Arc::from([]) }
}

fn condition(kind: &str, status: Status, secs: i64, message: &str) -> Condition {
    Condition {
        kind: kind.into(),
        status,
        reason: if status == Status::Unknown { "NodeStatusUnknown".into() } else { "KubeletSays".into() },
        message: message.into(),
        since: Some(ago(secs)),
    }
}

fn whole<T>(rows: Vec<T>) -> [Batch<T>; 3] {
    [Batch::Begin { generation: 1 }, Batch::Upsert(rows), Batch::End { generation: 1, version: Version(100) }]
}

pub fn node_name(i: u32) -> String {
    format!("ip-10-0-{}-{}-{:04x}", i % 3, i, i.wrapping_mul(40_503) % 65_536)
}

fn nodes() -> Vec<Node> {
    (0..12u32)
        .map(|i| {
            let mut conditions = vec![match i {
                3 => condition("Ready", Status::Unknown, 200, "Kubelet stopped posting node status."),
                _ => condition("Ready", Status::True, 900_000, ""),
            }];
            if i == 5 {
                conditions.push(condition("DiskPressure", Status::True, 540, "kubelet has disk pressure"));
            }
            Node {
                uid: uid(1000 + u128::from(i)),
                version: Version(5),
                name: node_name(i).into(),
                created: ago(86_400 * 9 + i64::from(i) * 3600),
                zone: Some(["eu-1a", "eu-1b", "eu-1c"][(i % 3) as usize].into()),
                cordoned: i == 7,
                conditions: conditions.into(),
                allocatable: Resources { cpu_milli: 8000, memory_bytes: 32 << 30, ephemeral_bytes: 0 },
                allocatable_pods: 110,
                kubelet: "v1.33.4".into(),
                ..Node::default()
            }
        })
        .collect()
}

fn shape(app: &str, image: &str) -> Arc<PodShape> {
    Arc::new(PodShape {
        labels: [(Name::from("app"), Name::from(app))].into(),
        containers: [ContainerShape { name: "app".into(), image: image.into(), sidecar: false }].into(),
        requests: Resources { cpu_milli: 500, memory_bytes: 1 << 30, ephemeral_bytes: 0 },
        ..PodShape::default()
    })
}

const APPS: [(&str, &str, i32); 4] =
    [("checkout", "v1.8.2", 5), ("cart", "v2.0.1", 11), ("search", "v7", 6), ("pay", "v3", 3)];

fn workloads() -> (Vec<Workload>, Vec<Workload>) {
    let mut deployments = Vec::new();
    let mut sets = Vec::new();
    for (i, (app, tag, n)) in APPS.iter().enumerate() {
        let labels: Arc<[(Name, Name)]> = Arc::from([(Name::from("app"), Name::from(*app))]);
        let ready = if *app == "pay" { 0 } else { *n };
        let mut w = Workload {
            kind: Kind::Deployment,
            uid: uid(2000 + i as u128),
            version: Version(9),
            namespace: "shop".into(),
            name: (*app).into(),
            created: ago(40 * 86_400),
            replicas: *n,
            desired: *n,
            current: *n,
            updated: *n,
            ready,
            available: ready,
            images: [Name::from(format!("registry.example/shop/{app}:{tag}"))].into(),
            selector: Arc::new(Selector::from_labels([("app".into(), (*app).into())])),
            template_labels: labels,
            revision: Some(7),
            ..Workload::default()
        };
        deployments.push(w.clone());
        w.kind = Kind::ReplicaSet;
        w.uid = uid(2100 + i as u128);
        w.name = format!("{app}-7c9f").into();
        w.created = if *app == "checkout" { ago(180) } else { ago(20 * 86_400) };
        w.owner = Some(Arc::new(Owner {
            kind: Kind::Deployment,
            name: (*app).into(),
            uid: uid(2000 + i as u128),
            group: "apps".into(),
        }));
        sets.push(w);
    }
    (deployments, sets)
}

pub fn pods() -> Vec<Pod> {
    let mut pods = Vec::new();
    for (i, (app, tag, n)) in APPS.iter().enumerate() {
        let shape = shape(app, &format!("registry.example/shop/{app}:{tag}"));
        for p in 0..*n {
            let crash = *app == "pay";
            let number = 3000 + i as u128 * 100 + p as u128;
            pods.push(Pod {
                uid: uid(number),
                version: Version(3),
                namespace: "shop".into(),
                name: format!("{app}-7c9f-{:05x}", number * 7919).into(),
                node: Some(node_name((i as u32 * 3 + p as u32) % 12).into()),
                owner: Some(Arc::new(Owner {
                    kind: Kind::ReplicaSet,
                    name: format!("{app}-7c9f").into(),
                    uid: uid(2100 + i as u128),
                    group: "apps".into(),
                })),
                shape: shape.clone(),
                requests: shape.requests,
                phase: Phase::Running,
                ready: !crash,
                containers: 1,
                containers_ready: u16::from(!crash),
                created: ago(3600),
                started: Some(ago(3500)),
                restarts: if crash { 17 } else { 0 },
                trouble: crash.then_some(Trouble::CrashLoop),
                status: if crash { "CrashLoopBackOff".into() } else { "Running".into() },
                message: crash.then(|| "back-off 5m0s restarting failed container".into()),
                last_exit: crash.then(|| {
                    Arc::new(LastExit {
                        reason: "Error".into(),
                        code: 1,
                        at: Some(ago(120)),
                        container: "app".into(),
                    })
                }),
                ..Pod::default()
            });
        }
    }
    pods
}

fn services() -> (Vec<Service>, Vec<EndpointSlice>) {
    let pods = pods();
    APPS.iter()
        .enumerate()
        .map(|(i, (app, ..))| {
            let service = Service {
                uid: uid(4000 + i as u128),
                version: Version(1),
                namespace: "shop".into(),
                name: (*app).into(),
                created: ago(86_400),
                selector: Arc::new(Selector::from_labels([("app".into(), (*app).into())])),
                ..Service::default()
            };
            let endpoints: Vec<Endpoint> = pods
                .iter()
                .filter(|p| p.name.starts_with(app))
                .map(|p| Endpoint {
                    address: "10.0.0.1".into(),
                    pod: Some(p.name.clone()),
                    pod_uid: Some(p.uid.clone()),
                    ready: p.ready,
                    node: p.node.clone(),
                    zone: Some("eu-1a".into()),
                    ..Endpoint::default()
                })
                .collect();
            let slice = EndpointSlice {
                uid: uid(4100 + i as u128),
                version: Version(1),
                namespace: "shop".into(),
                name: format!("{app}-x").into(),
                service: (*app).into(),
                address_type: "IPv4".into(),
                hinted: false,
                endpoints: endpoints.into(),
            };
            (service, slice)
        })
        .unzip()
}

fn traffic() -> TrafficSeen {
    let pods = pods();
    let of = |app: &str, rps: f64, errors: f64, p95: f64| {
        let names: Vec<Name> =
            pods.iter().filter(|p| p.name.starts_with(app)).map(|p| p.name.clone()).collect();
        let n = names.len() as f64;
        Arc::new(ServiceTraffic {
            namespace: "shop".into(),
            name: app.into(),
            preset: "http_requests_total".into(),
            policy: Policy::RoundRobin,
            origin: Origin::Discovered,
            rps: Some(rps),
            error_ratio: Some(errors),
            p50_ms: Some(p95 / 4.0),
            p95_ms: Some(p95),
            p99_ms: Some(p95 * 1.5),
            backends: names
                .into_iter()
                .enumerate()
                .map(|(i, name)| BackendTraffic {
                    name,
                    rps: Some(if i == 0 { rps / n / 2.0 } else { rps / n }),
                    error_ratio: Some(if i == 0 { errors * 3.0 } else { 0.0 }),
                    p95_ms: Some(p95),
                    ..BackendTraffic::default()
                })
                .collect(),
            window_secs: 60,
            ..ServiceTraffic::default()
        })
    };
    TrafficSeen {
        source: "prometheus".into(),
        at: NOW,
        services: Arc::from([of("checkout", 842.0, 0.041, 810.0), of("cart", 1270.0, 0.0002, 35.0)]),
    }
}

fn logs() -> LogSummary {
    let group = |n: u32, template: &str, per: f64, first: i64| {
        Arc::new(ErrorGroup {
            fingerprint: format!("{n:08x}").into(),
            template: template.into(),
            level: Level::Error,
            count: (per * 7.0) as u64,
            per_minute: per,
            trend: Arc::from([0, 0, 1, 3, 9, 20, 30]),
            first: ago(first),
            last: ago(5),
            workloads: Arc::from([Name::from("shop/checkout")]),
            pod_count: 5,
            pods: Arc::from([Name::from(format!("shop/{}", pods()[0].name))]),
            versions: if first < 600 {
                Arc::from([Name::from("v1.8.2")])
            } else {
                Arc::from(["v1.8.1".into(), "v1.8.2".into()])
            },
            sample: "upstream 10.0.1.7 timed out after 3000ms".into(),
            ..ErrorGroup::default()
        })
    };
    LogSummary {
        source: "logs".into(),
        unit: "pods".into(),
        at: NOW,
        following: 50,
        candidates: 3120,
        lines: 90_000,
        dropped: 0,
        gaps: 0,
        groups: Arc::from([
            group(1, "connection reset by peer", 12.0, 86_400),
            group(2, "upstream <ip> timed out after <n>ms", 214.0, 160),
        ]),
        ..LogSummary::default()
    }
}

fn hpas() -> Vec<Hpa> {
    let conditions = |limited: bool| {
        let one = |kind: &str, status, reason: &str| Condition {
            kind: kind.into(),
            status,
            reason: reason.into(),
            message: "".into(),
            since: Some(ago(840)),
        };
        vec![
            one("AbleToScale", Status::True, "ReadyForNewScale"),
            one("ScalingActive", Status::True, "ValidMetricFound"),
            if limited {
                one("ScalingLimited", Status::True, "TooManyReplicas")
            } else {
                one("ScalingLimited", Status::False, "DesiredWithinRange")
            },
        ]
    };
    let hpa = |n: u128, app: &str, current, desired, max, cpu, limited| Hpa {
        uid: uid(5000 + n),
        version: Version(1),
        namespace: "shop".into(),
        name: app.into(),
        created: ago(86_400),
        target_name: app.into(),
        min: 2,
        max,
        current: Some(current),
        desired: Some(desired),
        metrics: Arc::from([Metric {
            kind: "Resource".into(),
            name: "cpu".into(),
            target: Target::Utilization(60),
            current: Some(cpu),
        }]),
        conditions: conditions(limited).into(),
        last_scale: Some(ago(900)),
        ..Hpa::default()
    };
    vec![
        hpa(1, "cart", 8, 11, 11, 71, false),
        hpa(2, "checkout", 30, 30, 30, 92, true),
        hpa(3, "search", 6, 6, 12, 58, false),
    ]
}

fn source(name: &str, state: SourceState, error: Option<&str>) -> Fact {
    let failing = match state {
        SourceState::Stale { since } | SourceState::Down { since } => Some(since),
        _ => None,
    };
    Fact::Source(SourceStatus {
        name: name.into(),
        feed: match name {
            "prometheus" => Feed::Traffic,
            "logs" => Feed::Logs,
            "alertmanager" => Feed::Alerts,
            _ => Feed::Objects,
        },
        failing,
        state,
        last_ok: Some(ago(40)),
        error: error.map(Name::from),
        request: error.map(|_| "GET /apis/metrics.k8s.io/v1beta1/nodes".into()),
        ..SourceStatus::default()
    })
}

pub fn apply(state: &mut ClusterState, facts: impl IntoIterator<Item = Fact>) {
    for fact in facts {
        state.apply(fact, NOW);
    }
}

/// Nodes, pods, workloads, services, traffic, errors, autoscalers; several things wrong.
pub fn trouble() -> ClusterState {
    trouble_with(|_| {})
}

/// The same with other guards.
pub fn trouble_with(change: impl FnOnce(&mut ClusterInfo)) -> ClusterState {
    let mut info = info();
    change(&mut info);
    let mut state = ClusterState::new(info);
    let s = &mut state;
    apply(s, whole(nodes()).map(Fact::Nodes));
    let (deployments, sets) = workloads();
    apply(s, whole(deployments).map(Fact::Deployments));
    apply(s, whole(sets).map(Fact::ReplicaSets));
    for empty in [Fact::StatefulSets as fn(Batch<Workload>) -> Fact, Fact::DaemonSets, Fact::Jobs] {
        apply(s, whole(Vec::new()).map(empty));
    }
    apply(s, whole(pods()).map(Fact::Pods));
    let (services, slices) = services();
    apply(s, whole(services).map(Fact::Services));
    apply(s, whole(slices).map(Fact::EndpointSlices));
    apply(s, whole(hpas()).map(Fact::Hpas));
    apply(
        s,
        whole(vec![Pdb {
            uid: uid(6000),
            version: Version(1),
            namespace: "shop".into(),
            name: "cart".into(),
            selector: Arc::new(Selector::from_labels([("app".into(), "cart".into())])),
            min_available: Some("11".into()),
            current_healthy: 11,
            desired_healthy: 11,
            expected: 11,
            ..Pdb::default()
        }])
        .map(Fact::Pdbs),
    );
    apply(
        s,
        whole(vec![KubeEvent {
            uid: uid(7000),
            version: Version(1),
            namespace: "default".into(),
            name: "e1".into(),
            about: involved(Kind::Node, "", node_name(3).into(), uid(1003)),
            warning: false,
            reason: "NodeNotReady".into(),
            message: "Node status is now: NodeNotReady".into(),
            count: 1,
            first: Some(ago(200)),
            last: Some(ago(200)),
            component: "node-controller".into(),
        }])
        .map(Fact::Events),
    );
    let usage = (0..12u32)
        .filter(|i| *i != 3)
        .map(|i| NodeUsage {
            node: node_name(i).into(),
            cpu_milli: i64::from(i) * 600,
            memory_bytes: i64::from(i + 3) << 31,
            at: ago(15),
        })
        .collect();
    apply(
        s,
        [
            Fact::NodeUsage { source: "metrics.k8s.io".into(), rows: usage },
            Fact::Traffic(traffic()),
            Fact::Logs(logs()),
            Fact::Identity(Identity {
                version: Some("v1.33.4".into()),
                user: Some("alice".into()),
                ..Identity::default()
            }),
            source("prometheus", SourceState::Live, None),
            source("logs", SourceState::Live, None),
            source("nodes", SourceState::Live, None),
        ],
    );
    state
}

/// Nothing received yet.
pub fn loading() -> ClusterState {
    let mut state = ClusterState::new(info());
    apply(
        &mut state,
        [Fact::Pods(Batch::Begin { generation: 1 }), Fact::Pods(Batch::Expect { of: 150_000 })],
    );
    apply(&mut state, [Fact::Pods(Batch::Upsert(pods()))]);
    state
}

/// A person with few rights.
pub fn denied() -> ClusterState {
    let mut state = ClusterState::new(info());
    let reason = || {
        Name::from("nodes is forbidden: User \"alice\" cannot list resource \"nodes\" at the cluster scope")
    };
    apply(
        &mut state,
        [
            Fact::Nodes(Batch::Denied { reason: reason() }),
            Fact::Hpas(Batch::Denied { reason: "hpas: 403".into() }),
            source("nodes", SourceState::Denied, Some("403: needs list nodes")),
            source("prometheus", SourceState::Off, None),
            source("logs", SourceState::Denied, Some("403: needs get pods/log")),
        ],
    );
    apply(&mut state, whole(pods()).map(Fact::Pods));
    state
}

/// The connection broke a while ago.
pub fn stale() -> ClusterState {
    let mut state = trouble();
    apply(
        &mut state,
        [
            Fact::Nodes(Batch::Stale { since: Some(ago(75)) }),
            Fact::Pods(Batch::Stale { since: Some(ago(75)) }),
            source("nodes", SourceState::Stale { since: ago(75) }, Some("connection refused")),
            source("prometheus", SourceState::Stale { since: ago(95) }, Some("timed out after 5s")),
        ],
    );
    state
}

/// A large cluster's pods.
pub fn many_pods(state: &mut ClusterState, n: u32) {
    let shape = shape("web", "registry.example/web:v1");
    apply(state, [Fact::Pods(Batch::Begin { generation: 1 })]);
    let rows: Vec<Pod> = (0..n)
        .map(|i| Pod {
            uid: uid(10_000 + u128::from(i)),
            version: Version(1),
            namespace: "web".into(),
            name: format!("web-{i:07}").into(),
            shape: shape.clone(),
            phase: Phase::Running,
            ready: true,
            created: ago(100),
            ..Pod::default()
        })
        .collect();
    apply(
        state,
        [Fact::Pods(Batch::Upsert(rows)), Fact::Pods(Batch::End { generation: 1, version: Version(9) })],
    );
}

/// The error groups have grown.
pub fn more_errors(state: &mut ClusterState) {
    let mut summary = logs();
    summary.groups = summary
        .groups
        .iter()
        .map(|g| Arc::new(ErrorGroup { count: g.count + 7, ..ErrorGroup::clone(g) }))
        .collect();
    apply(state, [Fact::Logs(summary)]);
}

/// That many autoscalers more that are at their maximum.
pub fn many_at_max(state: &mut ClusterState, n: u32) {
    let model = hpas().remove(1);
    let rows = (0..n)
        .map(|i| Hpa {
            uid: uid(5100 + u128::from(i)),
            name: format!("svc-{i:03}").into(),
            target_name: format!("svc-{i:03}").into(),
            ..model.clone()
        })
        .collect();
    apply(state, [Fact::Hpas(Batch::Upsert(rows))]);
}

/// What the HPA controller says of checkout's autoscaler, as it does in a cluster.
pub fn scalings(state: &mut ClusterState) {
    let mut hpa = hpas().remove(1);
    let messages = [
        "recommended size matches current size",
        "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)",
        "the desired replica count is more than the maximum replica count",
    ];
    let said = hpa.conditions.iter().zip(messages);
    hpa.conditions = said.map(|(c, message)| Condition { message: message.into(), ..c.clone() }).collect();
    hpa.version = Version(2);
    let event = |n: i32, message: String| KubeEvent {
        uid: uid(7100 + n as u128),
        version: Version(1),
        namespace: "shop".into(),
        name: format!("checkout.{n}").into(),
        about: involved(Kind::HorizontalPodAutoscaler, &hpa.namespace, hpa.name.clone(), hpa.uid.clone()),
        warning: false,
        reason: "SuccessfulRescale".into(),
        message: message.into(),
        count: 1,
        first: Some(ago(900 + i64::from(n) * 300)),
        last: Some(ago(900 + i64::from(n) * 300)),
        component: "horizontal-pod-autoscaler".into(),
    };
    let sizes = (0..5).map(|n| {
        let why = "cpu resource utilization (percentage of request) above target";
        event(n, format!("New size: {}; reason: {why}", 30 - n * 4))
    });
    let events = sizes.collect();
    apply(state, [Fact::Hpas(Batch::Upsert(vec![hpa])), Fact::Events(Batch::Upsert(events))]);
}

/// The nodes with names that leave room for other columns.
pub fn short_names(state: &mut ClusterState) {
    let rows: Vec<Node> = nodes()
        .into_iter()
        .enumerate()
        .map(|(i, node)| Node { name: format!("node-{i}").into(), version: Version(6), ..node })
        .collect();
    apply(state, [Fact::Nodes(Batch::Upsert(rows))]);
}

/// Nodes that joined within a minute, a while ago.
pub fn many_joined(state: &mut ClusterState, n: u32) {
    let model = nodes().remove(0);
    let rows = (0..n)
        .map(|i| Node {
            uid: uid(1500 + u128::from(i)),
            name: format!("new-{i:03}").into(),
            created: ago(300 + i64::from(i)),
            ..model.clone()
        })
        .collect();
    apply(state, [Fact::Nodes(Batch::Upsert(rows))]);
}

/// A namespace beside the one in trouble, where one of each kind is well.
pub fn lab(state: &mut ClusterState) {
    let of_lab = |w: Workload, n: u128| Workload {
        uid: uid(n),
        namespace: "lab".into(),
        name: "bench".into(),
        owner: None,
        selector: Arc::new(Selector::from_labels([("app".into(), "bench".into())])),
        ..w
    };
    let workload = of_lab(workloads().0.remove(1), 2500);
    let pod = Pod {
        uid: uid(3900),
        namespace: "lab".into(),
        name: "bench-1".into(),
        owner: None,
        ..pods().remove(0)
    };
    let (mut services, mut slices) = services();
    let service =
        Service { uid: uid(4500), namespace: "lab".into(), name: "bench".into(), ..services.remove(0) };
    let slice = EndpointSlice {
        uid: uid(4600),
        namespace: "lab".into(),
        name: "bench-x".into(),
        service: "bench".into(),
        ..slices.remove(0)
    };
    let hpa = Hpa {
        uid: uid(5500),
        namespace: "lab".into(),
        name: "bench".into(),
        target_name: "bench".into(),
        ..hpas().remove(2)
    };
    let mut errors = logs();
    let old = ErrorGroup {
        fingerprint: "0000000a".into(),
        workloads: Arc::from([Name::from("lab/bench")]),
        ..ErrorGroup::clone(&errors.groups[0])
    };
    errors.groups = errors.groups.iter().cloned().chain([Arc::new(old)]).collect();
    apply(
        state,
        [
            Fact::Deployments(Batch::Upsert(vec![workload])),
            Fact::Pods(Batch::Upsert(vec![pod])),
            Fact::Services(Batch::Upsert(vec![service])),
            Fact::EndpointSlices(Batch::Upsert(vec![slice])),
            Fact::Hpas(Batch::Upsert(vec![hpa])),
            Fact::Logs(errors),
        ],
    );
}

/// Pods that are not ready, all on one node.
pub fn crowd(state: &mut ClusterState, node: u32, n: u32) {
    let model = pods().remove(0);
    let rows = (0..n)
        .map(|i| Pod {
            uid: uid(20_000 + u128::from(i)),
            name: format!("crowd-{i}").into(),
            node: Some(node_name(node).into()),
            ready: false,
            owner: None,
            ..model.clone()
        })
        .collect();
    apply(state, [Fact::Pods(Batch::Upsert(rows))]);
}

/// The last backend of checkout has left its endpoints; its samples are still there. Returns its name.
pub fn taken_out(state: &mut ClusterState) -> Name {
    let mut slice = services().1.remove(0);
    let mut left = slice.endpoints.to_vec();
    let gone = left.pop().and_then(|e| e.pod).unwrap();
    slice.endpoints = left.into();
    slice.version = Version(2);
    apply(state, [Fact::EndpointSlices(Batch::Upsert(vec![slice]))]);
    gone
}

/// That many Services more that are well, with their traffic.
pub fn more_services(state: &mut ClusterState, n: u32) {
    let (mut services, mut slices) = services();
    let (service, slice) = (services.remove(1), slices.remove(1));
    let mut seen = traffic();
    let model = seen.services[1].clone();
    let name = |i: u32| Name::from(format!("service-{i:02}"));
    let all = (0..n).map(|i| Service { uid: uid(4500 + u128::from(i)), name: name(i), ..service.clone() });
    let parts = (0..n).map(|i| EndpointSlice {
        uid: uid(4700 + u128::from(i)),
        name: format!("{}-x", name(i)).into(),
        service: name(i),
        ..slice.clone()
    });
    let measured = (0..n).map(|i| {
        let rps = Some(f64::from(1000 - i * 17));
        Arc::new(ServiceTraffic { name: name(i), rps, ..ServiceTraffic::clone(&model) })
    });
    seen.services = seen.services.iter().cloned().chain(measured).collect();
    let (all, parts) = (all.collect(), parts.collect());
    apply(
        state,
        [Fact::Services(Batch::Upsert(all)), Fact::EndpointSlices(Batch::Upsert(parts)), Fact::Traffic(seen)],
    );
}

fn alert(fingerprint: &str, labels: &[(&str, &str)], summary: &str, state: AlertState) -> Arc<Alert> {
    let mut labels: Vec<(Name, Name)> = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    labels.sort();
    let of = |name: &str| labels.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    Arc::new(Alert {
        fingerprint: fingerprint.into(),
        severity: severity(of("alertname").unwrap(), of("severity")),
        annotations: [
            (Name::from("runbook_url"), Name::from("https://runbooks.example/pay")),
            (Name::from("summary"), Name::from(summary)),
        ]
        .into(),
        labels: labels.into(),
        since: ago(300),
        receivers: [Name::from("shop-oncall")].into(),
        state,
        ..Alert::default()
    })
}

/// An Alertmanager has two alerts of one name about workloads, one that a silence hides, and the one that always fires.
pub fn alerts(state: &mut ClusterState) {
    use AlertState::{Firing, Silenced};
    let unready = |app: &str, severity: &str| {
        [("alertname", "NotReady"), ("namespace", "shop"), ("deployment", app), ("severity", severity)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let of = |fingerprint: &str, app: &str, severity: &str, state| {
        let labels = unready(app, severity);
        let labels = labels.each_ref().map(|(name, value)| (name.as_str(), value.as_str()));
        alert(fingerprint, &labels, &format!("{app} has too few pods"), state)
    };
    let hidden =
        Alert { silenced_by: ["s1".into()].into(), ..Alert::clone(&of("c", "search", "warning", Silenced)) };
    let all = [
        of("a", "pay", "critical", Firing),
        of("b", "cart", "warning", Firing),
        Arc::new(hidden),
        alert("d", &[("alertname", "Watchdog"), ("severity", "none")], "always fires", Firing),
    ];
    let silence = AlertSilence {
        id: "s1".into(),
        author: "ann".into(),
        comment: "known".into(),
        ends: NOW.plus_secs(3_600),
        matchers: vec![Matcher::equal(&"deployment".into(), &"search".into())],
        ..AlertSilence::default()
    };
    let seen = AlertsSeen {
        source: "alertmanager".into(),
        at: NOW,
        total: 4,
        alerts: all.into(),
        silences: Some([Arc::new(silence)].into()),
        base: "https://alerts.example".into(),
        ..AlertsSeen::default()
    };
    apply(state, [source("alertmanager", SourceState::Live, None), Fact::Alerts(seen)]);
}

/// The dead node is marked out-of-service; two DaemonSet pods are still bound to it.
pub fn out_of_service(state: &mut ClusterState) {
    let mut node = nodes().remove(3);
    node.taints = [Taint {
        key: "node.kubernetes.io/out-of-service".into(),
        value: "nodeshutdown".into(),
        effect: "NoExecute".into(),
        added: Some(ago(100)),
    }]
    .into();
    node.version = Version(6);
    let model = pods().remove(0);
    let owner = Owner { kind: Kind::DaemonSet, name: "agent".into(), uid: uid(2900), group: "apps".into() };
    let bound = (0..2u32).map(|i| Pod {
        uid: uid(3950 + u128::from(i)),
        name: format!("agent-{i}").into(),
        node: Some(node.name.clone()),
        owner: Some(Arc::new(owner.clone())),
        ready: false,
        ..model.clone()
    });
    let bound = bound.collect();
    // what else was bound to it was deleted by force
    let rest = pods().into_iter().filter(|p| p.node.as_ref() == Some(&node.name));
    let gone = rest.map(|p| Gone { uid: p.uid, version: Version(7) });
    let gone = gone.collect();
    apply(
        state,
        [
            Fact::Nodes(Batch::Upsert(vec![node])),
            Fact::Pods(Batch::Upsert(bound)),
            Fact::Pods(Batch::Gone(gone)),
        ],
    );
}

/// One pod of an app fails its readiness probe since a while.
pub fn one_unready(state: &mut ClusterState, app: &str) {
    let mut pod = pods().into_iter().find(|p| p.name.starts_with(app)).unwrap();
    (pod.ready, pod.containers_ready, pod.ready_since, pod.version) = (false, 0, Some(ago(30)), Version(4));
    let at = APPS.iter().position(|(name, ..)| *name == app).unwrap();
    let (mut deployment, mut slice) = (workloads().0.remove(at), services().1.remove(at));
    (deployment.ready, deployment.available, deployment.version) =
        (deployment.ready - 1, deployment.available - 1, Version(10));
    slice.version = Version(2);
    let unready =
        |e: &Endpoint| Endpoint { ready: e.ready && e.pod_uid.as_ref() != Some(&pod.uid), ..e.clone() };
    slice.endpoints = slice.endpoints.iter().map(unready).collect();
    apply(
        state,
        [
            Fact::Pods(Batch::Upsert(vec![pod])),
            Fact::Deployments(Batch::Upsert(vec![deployment])),
            Fact::EndpointSlices(Batch::Upsert(vec![slice])),
        ],
    );
}

fn involved(kind: Kind, namespace: &str, name: Name, uid: Uid) -> InvolvedObject {
    InvolvedObject { kind, namespace: namespace.into(), name, uid }
}

/// Polls of the traffic, one every 15 s, the last one now. `change` gets each poll's number and the backends of checkout.
pub fn polls(state: &mut ClusterState, n: i64, change: impl Fn(i64, &mut [BackendTraffic])) {
    for poll in 0..n {
        let mut seen = traffic();
        seen.at = ago((n - 1 - poll) * 15);
        let mut services = seen.services.to_vec();
        if let Some(service) = services.first_mut() {
            let mut changed = ServiceTraffic::clone(service);
            let mut backends = changed.backends.to_vec();
            change(poll, &mut backends);
            changed.backends = backends.into();
            *service = Arc::new(changed);
        }
        seen.services = services.into();
        apply(state, [Fact::Traffic(seen)]);
        state.publish(NOW, true);
    }
}
