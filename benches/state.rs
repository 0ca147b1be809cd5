//! What a burst costs: facts folded in, what follows brought up to date and published; a large list ordered, filtered
//! and drawn. `cargo bench`; nothing here judges the figures.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::sync::Arc;

use divan::{Bencher, black_box};
use pilothouse::source::prometheus::{KIND, Prometheus};
use pilothouse::source::server::{Server, ServerOptions};
use pilothouse::ui::app::Ui;
use pilothouse::ui::key::Key;
use pilothouse::ui::request::Msg;
use pilothouse::ui::theme::Theme;
use pilothouse::ui::update::update;
use pilothouse::ui::{run, view};
use pilothouse_core::domain::id::{ClusterId, Kind, Name, Owner, Uid, Version};
use pilothouse_core::domain::node::{Condition, Node, NodeLease, Status};
use pilothouse_core::domain::plan::{DrainOptions, Lookups};
use pilothouse_core::domain::pod::{ContainerShape, Phase, Pod, PodShape, Trouble};
use pilothouse_core::domain::preset::{Measure, Preset, Sample, all};
use pilothouse_core::domain::quantity::Resources;
use pilothouse_core::domain::route::{Host, Route, RouteRule, Target};
use pilothouse_core::domain::selector::Selector;
use pilothouse_core::domain::service::{Endpoint, EndpointSlice, Service};
use pilothouse_core::domain::settings::UiSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::TrafficSeen;
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::facts::event::{Batch, Fact};
use pilothouse_core::facts::intern::Names;
use pilothouse_core::facts::world::{ClusterInfo, World};
use pilothouse_core::policy::drain::rehearse;
use pilothouse_core::policy::measured;
use pilothouse_core::state::ClusterState;

const NOW: Stamp = Stamp(1_795_230_720_000);
const PODS_A_SET: u32 = 20;

fn main() {
    divan::main();
}

fn uid(table: u128, n: u32) -> Uid {
    Uid::Uuid(table * 1_000_000_000 + u128::from(n))
}

fn whole<T>(rows: Vec<T>) -> [Batch<T>; 3] {
    [Batch::Begin { generation: 1 }, Batch::Upsert(rows), Batch::End { generation: 1, version: Version(1) }]
}

fn apply(state: &mut ClusterState, facts: impl IntoIterator<Item = Fact>) {
    for fact in facts {
        state.apply(fact, NOW);
    }
}

/// What the pods of one ReplicaSet share, as the source's interner makes it.
struct Set {
    owner: Arc<Owner>,
    shape: Arc<PodShape>,
    namespace: Name,
}

struct Shop {
    sets: Vec<Set>,
    nodes: Vec<Name>,
}

impl Shop {
    fn new(nodes: u32, pods: u32) -> Self {
        let sets = (0..pods.div_ceil(PODS_A_SET))
            .map(|i| Set {
                owner: Arc::new(Owner {
                    kind: Kind::ReplicaSet,
                    name: format!("app-{i:05}-7c9f").into(),
                    uid: uid(3, i),
                    group: "apps".into(),
                }),
                shape: Arc::new(PodShape {
                    labels: [("app".into(), format!("app-{i:05}").into())].into(),
                    containers: [ContainerShape {
                        name: "app".into(),
                        image: format!("registry.example/app-{i:05}:v1").into(),
                        sidecar: false,
                    }]
                    .into(),
                    requests: Resources { cpu_milli: 100, memory_bytes: 128 << 20, ephemeral_bytes: 0 },
                    ..PodShape::default()
                }),
                namespace: format!("team-{:03}", i % 100).into(),
            })
            .collect();
        Self {
            sets,
            nodes: (0..nodes).map(|i| format!("ip-10-{}-{}-{i:04x}", i % 3, i / 250).into()).collect(),
        }
    }

    /// Every hundredth pod is in a crash loop; `round` makes it another version with other content.
    fn pod(&self, i: u32, round: u32) -> Pod {
        let set = &self.sets[(i / PODS_A_SET) as usize];
        let bad = i.is_multiple_of(100);
        Pod {
            uid: uid(1, i),
            version: Version(u64::from(round) + 1),
            namespace: set.namespace.clone(),
            name: format!("app-{:05}-7c9f-{i:06x}", i / PODS_A_SET).into(),
            node: Some(self.nodes[i as usize % self.nodes.len()].clone()),
            owner: Some(set.owner.clone()),
            shape: set.shape.clone(),
            requests: set.shape.requests,
            phase: Phase::Running,
            ready: !bad && (i + round) % 50 != 7,
            containers: 1,
            containers_ready: u16::from(!bad),
            created: NOW.plus_secs(-3600),
            restarts: if bad { round + 5 } else { 0 },
            trouble: bad.then_some(Trouble::CrashLoop),
            status: if bad { "CrashLoopBackOff".into() } else { "Running".into() },
            ..Pod::default()
        }
    }

    fn workload(&self, i: u32, kind: Kind) -> Workload {
        let set = &self.sets[i as usize];
        let deployment = kind == Kind::Deployment;
        Workload {
            uid: uid(if deployment { 2 } else { 3 }, i),
            version: Version(1),
            namespace: set.namespace.clone(),
            name: if deployment { format!("app-{i:05}").into() } else { set.owner.name.clone() },
            created: NOW.plus_secs(-86_400),
            replicas: 20,
            desired: 20,
            current: 20,
            updated: 20,
            ready: 20,
            available: 20,
            owner: (!deployment).then(|| {
                Arc::new(Owner {
                    kind: Kind::Deployment,
                    name: format!("app-{i:05}").into(),
                    uid: uid(2, i),
                    group: "apps".into(),
                })
            }),
            template_labels: Arc::from([("app".into(), format!("app-{i:05}").into())]),
            kind,
            ..Workload::default()
        }
    }

    fn node(&self, i: u32) -> Node {
        Node {
            uid: uid(4, i),
            version: Version(1),
            name: self.nodes[i as usize].clone(),
            created: NOW.plus_secs(-86_400),
            zone: Some(["a", "b", "c"][i as usize % 3].into()),
            conditions: Arc::from([Condition {
                kind: "Ready".into(),
                status: if i == 7 { Status::Unknown } else { Status::True },
                reason: "KubeletReady".into(),
                message: "".into(),
                since: Some(NOW.plus_secs(-900)),
            }]),
            allocatable: Resources { cpu_milli: 8000, memory_bytes: 32 << 30, ephemeral_bytes: 0 },
            allocatable_pods: 110,
            ..Node::default()
        }
    }

    fn lease(&self, i: u32, round: u32) -> NodeLease {
        NodeLease {
            uid: uid(5, i),
            version: Version(u64::from(round) + 1),
            node: self.nodes[i as usize].clone(),
            renewed: Some(NOW.plus_secs(i64::from(round))),
            seen_at: NOW,
            ..NodeLease::default()
        }
    }

    fn service(&self, i: u32) -> Service {
        let set = &self.sets[i as usize];
        Service {
            uid: uid(6, i),
            version: Version(1),
            namespace: set.namespace.clone(),
            name: format!("app-{i:05}").into(),
            created: NOW.plus_secs(-86_400),
            selector: Arc::new(Selector { labels: set.shape.labels.clone(), ..Selector::default() }),
            ..Service::default()
        }
    }

    /// The endpoints of a Service: its pods, of which the first `ready` are ready.
    fn slice(&self, i: u32, version: u64, ready: u32) -> EndpointSlice {
        let endpoint = |n: u32| {
            let pod = i * PODS_A_SET + n;
            Endpoint {
                address: format!("10.{}.{}.{}", pod >> 16, (pod >> 8) & 255, pod & 255).into(),
                pod: Some(format!("app-{i:05}-7c9f-{pod:06x}").into()),
                pod_uid: Some(uid(1, pod)),
                ready: n < ready,
                serving: true,
                node: Some(self.nodes[pod as usize % self.nodes.len()].clone()),
                zone: Some("a".into()),
                ..Endpoint::default()
            }
        };
        EndpointSlice {
            uid: uid(7, i),
            version: Version(version),
            namespace: self.sets[i as usize].namespace.clone(),
            name: format!("app-{i:05}-x7k2p").into(),
            service: format!("app-{i:05}").into(),
            address_type: "IPv4".into(),
            endpoints: (0..PODS_A_SET).map(endpoint).collect(),
            ..EndpointSlice::default()
        }
    }

    /// An HTTPRoute that splits requests between a Service and another one of its namespace.
    fn route(&self, i: u32, version: u64, weight: u32) -> Route {
        let namespace = &self.sets[i as usize].namespace;
        let target = |i: u32, weight: u32| Target {
            host: Host { namespace: namespace.clone(), name: format!("app-{i:05}").into() },
            weight,
            ..Target::default()
        };
        let other = (i + 100) % u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        Route {
            uid: uid(8, i),
            version: Version(version),
            namespace: namespace.clone(),
            name: format!("app-{i:05}").into(),
            kind: Kind::HTTPRoute,
            rules: [RouteRule {
                targets: [target(i, 100 - weight), target(other, weight)].into(),
                ..RouteRule::default()
            }]
            .into(),
            ..Route::default()
        }
    }

    /// All of it received and published.
    fn open(&self, pods: u32) -> ClusterState {
        let (nodes, sets) = (self.nodes.len() as u32, self.sets.len() as u32);
        let mut state = ClusterState::new(ClusterInfo {
            id: ClusterId(0),
            context: "bench".into(),
            ..ClusterInfo::default()
        });
        let s = &mut state;
        apply(s, whole((0..nodes).map(|i| self.node(i)).collect()).map(Fact::Nodes));
        apply(s, whole((0..nodes).map(|i| self.lease(i, 0)).collect()).map(Fact::Leases));
        apply(
            s,
            whole((0..sets).map(|i| self.workload(i, Kind::Deployment)).collect()).map(Fact::Deployments),
        );
        apply(
            s,
            whole((0..sets).map(|i| self.workload(i, Kind::ReplicaSet)).collect()).map(Fact::ReplicaSets),
        );
        apply(s, whole((0..sets).map(|i| self.service(i)).collect()).map(Fact::Services));
        apply(s, whole((0..pods).map(|i| self.pod(i, 0)).collect()).map(Fact::Pods));
        state.publish(NOW, true);
        state
    }

    /// The same with the endpoints of the Services.
    fn open_with_endpoints(&self, pods: u32) -> ClusterState {
        let mut state = self.open(pods);
        let services = self.sets.len() as u32;
        let slices: Vec<EndpointSlice> = (0..services).map(|i| self.slice(i, 1, PODS_A_SET)).collect();
        apply(&mut state, whole(slices).map(Fact::EndpointSlices));
        state.publish(NOW, true);
        state
    }
}

/// 20,000 pods on 1,000 nodes, 500 pod events a round: reduce, derive, rules, publish.
#[divan::bench]
fn a_round_of_500_pod_events(bencher: Bencher) {
    let shop = Shop::new(1_000, 20_000);
    let mut state = shop.open(20_000);
    let mut round = 0;
    bencher
        .with_inputs(|| {
            round += 1;
            (0..500).map(|i| shop.pod((i * 37 + round * 501) % 20_000, round)).collect::<Vec<_>>()
        })
        .bench_local_values(|rows| {
            // as sources send them: at most 256 a batch
            let mut rows = rows.into_iter().peekable();
            while rows.peek().is_some() {
                state.apply(Fact::Pods(Batch::Upsert(rows.by_ref().take(256).collect())), NOW);
            }
            black_box(state.publish(NOW, false))
        });
}

/// The same cluster, all leases renewed: what a quiet cluster costs every 10 s.
#[divan::bench]
fn a_round_of_1000_heartbeats(bencher: Bencher) {
    let shop = Shop::new(1_000, 20_000);
    let mut state = shop.open(20_000);
    let mut round = 0;
    bencher
        .with_inputs(|| {
            round += 1;
            (0..1_000).map(|i| shop.lease(i, round)).collect::<Vec<_>>()
        })
        .bench_local_values(|rows| {
            state.apply(Fact::Leases(Batch::Upsert(rows)), NOW);
            black_box(state.publish(NOW, true))
        });
}

/// What `D` costs on a node of 5,000 with 150,000 pods: fates, budgets, services and where the pods would go.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn rehearse_a_drain_among_150000_pods(bencher: Bencher) {
    let shop = Shop::new(5_000, 150_000);
    let state = shop.open(150_000);
    let node = [shop.nodes[11].clone()];
    let cluster = state.published().clone();
    let extras = Lookups::default();
    bencher
        .bench_local(|| black_box(rehearse(&cluster, &node, &DrainOptions::default(), &extras, true, NOW)));
}

/// From nothing to the first snapshot.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn first_list_of_20000_pods(bencher: Bencher) {
    let shop = Shop::new(1_000, 20_000);
    bencher.bench_local(|| shop.open(20_000));
}

/// 150,000 pods on the screen of `5`.
fn pods_view(shop: &Shop, state: &ClusterState) -> (Ui, World, Theme) {
    let (mut ui, _) = Ui::new(&UiSettings::default());
    ui.now = NOW;
    ui.clock_ms = 10_000;
    ui.frame = 1;
    let world =
        World { seq: 1, at: NOW, clusters: Arc::from([state.published().clone()]), actions: Arc::from([]) };
    let theme = Theme::built_in("default").unwrap();
    assert!(!shop.sets.is_empty());
    draw(&mut ui, &world, &theme);
    for key in ["5", "tab"] {
        update(&mut ui, &world, Msg::Key(Key::parse(key).unwrap()));
        draw(&mut ui, &world, &theme);
    }
    (ui, world, theme)
}

fn draw(ui: &mut Ui, world: &World, theme: &Theme) -> view::Drawn {
    let drawn = run::draw(ui, world, theme, false, (200, 50));
    ui.painted(ui.frame);
    ui.frame += 1;
    drawn
}

fn press(ui: &mut Ui, world: &World, key: Key) {
    black_box(update(ui, world, Msg::Key(key)));
}

/// A letter more in the filter, then the frame.
#[divan::bench(sample_count = 30, sample_size = 1)]
fn filter_150000_pods_and_draw(bencher: Bencher) {
    let shop = Shop::new(5_000, 150_000);
    let state = shop.open(150_000);
    bencher
        .with_inputs(|| {
            let (mut ui, world, theme) = pods_view(&shop, &state);
            for key in ["/", "0", "1"] {
                press(&mut ui, &world, Key::parse(key).unwrap());
                draw(&mut ui, &world, &theme);
            }
            (ui, world, theme)
        })
        .bench_local_values(|(mut ui, world, theme)| {
            press(&mut ui, &world, Key::char('4'));
            black_box(draw(&mut ui, &world, &theme));
            // what holds the world is dropped outside
            (ui, world)
        });
}

/// The next order of all rows, then the frame.
#[divan::bench(sample_count = 30, sample_size = 1)]
fn order_150000_pods_and_draw(bencher: Bencher) {
    let shop = Shop::new(5_000, 150_000);
    let state = shop.open(150_000);
    bencher.with_inputs(|| pods_view(&shop, &state)).bench_local_values(|(mut ui, world, theme)| {
        press(&mut ui, &world, Key::char('o'));
        black_box(draw(&mut ui, &world, &theme));
        (ui, world)
    });
}

/// A key that moves the selection, then the frame: what a person feels.
#[divan::bench]
fn a_key_and_a_frame_over_150000_pods(bencher: Bencher) {
    let shop = Shop::new(5_000, 150_000);
    let state = shop.open(150_000);
    let (mut ui, world, theme) = pods_view(&shop, &state);
    bencher.bench_local(|| {
        press(&mut ui, &world, Key::char('j'));
        black_box(draw(&mut ui, &world, &theme))
    });
}

/// The key of an action on marked pods, its dialog, and back.
#[divan::bench]
fn a_key_for_1000_marks_among_150000_pods(bencher: Bencher) {
    let shop = Shop::new(5_000, 150_000);
    let state = shop.open(150_000);
    let (mut ui, world, theme) = pods_view(&shop, &state);
    for _ in 0..1_000 {
        press(&mut ui, &world, Key::parse("space").unwrap());
    }
    draw(&mut ui, &world, &theme);
    bencher.bench_local(|| {
        press(&mut ui, &world, Key::char('K'));
        black_box(draw(&mut ui, &world, &theme));
        assert!(ui.dialog.is_some());
        press(&mut ui, &world, Key::parse("esc").unwrap());
        black_box(draw(&mut ui, &world, &theme))
    });
}

/// 500 pods changed since the frame before: the order is repaired, not made again.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn a_frame_after_500_of_150000_pods_changed(bencher: Bencher) {
    let shop = Shop::new(5_000, 150_000);
    let mut state = shop.open(150_000);
    let (mut ui, mut world, theme) = pods_view(&shop, &state);
    let mut round = 0;
    bencher
        .with_inputs(|| {
            round += 1;
            let rows: Vec<Pod> = (0..500).map(|i| shop.pod(i + (round * 500) % 100_000, round)).collect();
            state.apply(Fact::Pods(Batch::Upsert(rows)), NOW);
            state.publish(NOW, false);
            state.published().clone()
        })
        .bench_local_values(|cluster| {
            world = World { seq: world.seq + 1, clusters: Arc::from([cluster]), ..world.clone() };
            black_box(draw(&mut ui, &world, &theme))
        });
}

/// The preset of applications.
fn preset() -> Preset {
    all(&[]).into_iter().find(|preset| preset.name == "http_requests_total").unwrap()
}

/// The rates of 2,000 services with 20 backends each, by two status codes.
fn rates(shop: &Shop) -> Vec<Sample> {
    let pods = (0..40_000).map(|i| shop.pod(i, 0));
    let sample = |pod: &Pod, code: &str| {
        let service = pod.name.get(..9).unwrap_or_default();
        let labels = [
            ("namespace", pod.namespace.as_str()),
            ("service", service),
            ("job", service),
            ("pod", &pod.name),
            ("instance", "10.244.101.102:8080"),
            ("code", code),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Sample {
            labels: labels.into(),
            value: Some(if code == "200" { 12.345_678_901_2 } else { 0.016_666_7 }),
        }
    };
    pods.flat_map(|pod| ["200", "500"].map(|code| sample(&pod, code))).collect()
}

/// What each poll of such a Prometheus costs after the answer is decoded.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn rates_of_2000_services_to_traffic(bencher: Bencher) {
    let (preset, samples) = (preset(), rates(&Shop::new(1_000, 40_000)));
    let mut names = Names::default();
    bencher.bench_local(|| {
        let reading = measured::read(&preset, Measure::Rate, &samples, &mut names);
        let services = measured::services(&preset, 60, 15, std::iter::once(&reading));
        assert_eq!(services.len(), 2_000);
        (reading, services)
    });
}

/// The polls of such a Prometheus, 15 s apart.
struct Polls {
    preset: Preset,
    reading: measured::Reading,
    at: Stamp,
}

impl Polls {
    fn new(shop: &Shop) -> Self {
        let preset = preset();
        let reading = measured::read(&preset, Measure::Rate, &rates(shop), &mut Names::default());
        Self { preset, reading, at: NOW.plus_secs(3_600) }
    }

    fn next(&mut self) -> TrafficSeen {
        self.at = self.at.plus_secs(15);
        let services = measured::services(&self.preset, 60, 15, std::iter::once(&self.reading));
        TrafficSeen { services: services.into(), at: self.at, ..TrafficSeen::default() }
    }
}

/// What it costs in the hub: joined with the Services, judged and published.
#[divan::bench(sample_count = 40, sample_size = 1)]
fn a_poll_of_2000_services_is_published(bencher: Bencher) {
    let shop = Shop::new(1_000, 40_000);
    let mut state = shop.open_with_endpoints(40_000);
    let mut polls = Polls::new(&shop);
    bencher.with_inputs(|| polls.next()).bench_local_values(|seen| {
        let at = seen.at;
        state.apply(Fact::Traffic(seen), at);
        black_box(state.publish(at, false))
    });
}

/// Between two polls, a pod of one of the services becomes ready or not ready.
#[divan::bench(sample_count = 40, sample_size = 1)]
fn endpoints_of_one_of_2000_services_change(bencher: Bencher) {
    let shop = Shop::new(1_000, 40_000);
    let (mut state, mut polls) = (shop.open_with_endpoints(40_000), Polls::new(&shop));
    let seen = polls.next();
    let (at, mut version) = (seen.at, 1);
    state.apply(Fact::Traffic(seen), at);
    state.publish(at, false);
    bencher
        .with_inputs(|| {
            version += 1;
            shop.slice(7, version, PODS_A_SET - u32::from(version.is_multiple_of(2)))
        })
        .bench_local_values(|slice| {
            state.apply(Fact::EndpointSlices(Batch::Upsert(vec![slice])), at);
            black_box(state.publish(at, false))
        });
}

/// Between two polls, the weights of one of 2,000 routes change.
#[divan::bench(sample_count = 40, sample_size = 1)]
fn one_of_2000_routes_changes(bencher: Bencher) {
    let shop = Shop::new(1_000, 40_000);
    let (mut state, mut polls) = (shop.open_with_endpoints(40_000), Polls::new(&shop));
    apply(&mut state, whole((0..2_000).map(|i| shop.route(i, 1, 10)).collect()).map(Fact::HttpRoutes));
    let seen = polls.next();
    let (at, mut version) = (seen.at, 1);
    state.apply(Fact::Traffic(seen), at);
    state.publish(at, false);
    bencher
        .with_inputs(|| {
            version += 1;
            shop.route(7, version, 10 + u32::from(version.is_multiple_of(2)))
        })
        .bench_local_values(|route| {
            state.apply(Fact::HttpRoutes(Batch::Upsert(vec![route])), at);
            black_box(state.publish(at, false))
        });
}

/// Answers each request with the same body.
fn server(body: String) -> u16 {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(socket.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            drop(socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(body.as_bytes())));
        }
    });
    port
}

/// The same answer from a server: received and decoded.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn rates_of_2000_services_are_received(bencher: Bencher) {
    let series = rates(&Shop::new(1_000, 40_000)).into_iter().map(|sample| {
        let labels: Vec<String> =
            sample.labels.iter().map(|(key, value)| format!("\"{key}\":\"{value}\"")).collect();
        format!(
            "{{\"metric\":{{{}}},\"value\":[1795230720.123,\"{}\"]}}",
            labels.join(","),
            sample.value.unwrap()
        )
    });
    let series: Vec<String> = series.collect();
    let body = format!(
        "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{}]}}}}",
        series.join(",")
    );
    let url = format!("http://127.0.0.1:{}", server(body));
    drop(rustls::crypto::ring::default_provider().install_default());
    let server = Server::new(&KIND, &ServerOptions { url, ..ServerOptions::default() }).unwrap();
    let client = Prometheus::of(server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    bencher.bench_local(|| {
        let answer = runtime.block_on(client.query("rates", std::time::Duration::from_secs(30))).unwrap();
        assert_eq!(answer.samples.len(), 80_000);
        answer
    });
}
