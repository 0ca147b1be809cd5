//! Every preset against a real Prometheus. An exporter here replays the metric names and labels of each system, with
//! counters and histograms that grow at known rates; Prometheus scrapes it each second; the source must give back the
//! rates, ratios, quantiles and states that went in.

mod exporter;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilothouse::clock::Clock;
use pilothouse::source::prometheus::{self, ranges::Ranges};
use pilothouse::source::sink::FactSink;
use pilothouse::source::supervise::Supervisor;
use pilothouse_core::domain::id::{ClusterId, Uid, Version};
use pilothouse_core::domain::preset::{Measure, all, promql};
use pilothouse_core::domain::service::{Endpoint, EndpointSlice, Service};
use pilothouse_core::domain::settings::{PrometheusSettings, ServerSettings};
use pilothouse_core::domain::source::SourceState;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::ServiceTraffic;
use pilothouse_core::facts::event::{Batch, Event, Fact};
use pilothouse_core::facts::world::{Cluster, ClusterInfo};
use pilothouse_core::state::ClusterState;
use tokio::sync::mpsc;

use self::exporter::{Expected, Exporter};

/// The most queries of a refresh.
const MOST_QUERIES: f64 = 15.0;
/// Every target has this many scrapes before the source starts, so that windows are full.
const SCRAPES: f64 = 80.0;

/// A Prometheus that ends with the test.
struct Prometheus {
    child: Child,
    port: u16,
    _data: tempfile::TempDir,
}

impl Prometheus {
    fn start(exporter: u16) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let data = tempfile::tempdir().unwrap();
        let mut config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n".to_owned();
        for system in exporter::SYSTEMS {
            // a scraper with labels of its own renames those of the exporter, unless it is told to honor them
            let (honor, labels) = if system.renamed {
                ("false", "{namespace: infra, service: metrics, pod: exporter-0}")
            } else {
                ("true", "{}")
            };
            config.push_str(&format!(
                "- job_name: {0}\n  honor_labels: {honor}\n  metrics_path: /{0}\n  static_configs: [{{targets: ['127.0.0.1:{exporter}'], labels: {labels}}}]\n",
                system.name
            ));
        }
        let file = data.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program prometheus: tests/cluster/install");
        Self { child, port, _data: data }
    }

    fn get(&self, target: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET {target} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// The first value of the answer to a query.
    fn value(&self, promql: &str) -> Option<f64> {
        let mut escaped = String::new();
        for byte in promql.bytes() {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        let answer: serde_json::Value =
            serde_json::from_str(&self.get(&format!("/api/v1/query?query={escaped}"))?).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Waits until every target has been scraped often enough.
    async fn has_scraped(&self, limit: Duration) {
        let began = Instant::now();
        let targets = exporter::SYSTEMS.len() as f64;
        loop {
            let full = self.value(&format!("count(count_over_time(up[5m]) >= {SCRAPES})"));
            if full == Some(targets) {
                return;
            }
            assert!(began.elapsed() < limit, "{full:?} of {targets} targets have {SCRAPES} scrapes");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// How many queries it has been sent, as it counts itself.
    fn queries(&self) -> f64 {
        let page = self.get("/metrics").unwrap();
        let counted = page.lines().filter(|line| {
            line.starts_with("prometheus_http_requests_total") && line.contains("handler=\"/api/v1/query\"")
        });
        counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The Services whose pods are known by addresses only: their names, and the first three numbers of the addresses.
const BY_ADDRESS: [(&str, &str); 3] = [("e-web", "10.244.1"), ("c-web", "10.244.2"), ("t-web", "10.244.3")];

fn cluster() -> ClusterState {
    let mut state = ClusterState::new(ClusterInfo::default());
    let (generation, version) = (1, Version(1));
    let service = |(name, _): &(&str, &str)| Service {
        uid: Uid::parse(name),
        namespace: "shop".into(),
        name: (*name).into(),
        ..Service::default()
    };
    let slice = |(name, net): &(&str, &str)| {
        let endpoint = |(n, letter): (u8, &str)| Endpoint {
            address: format!("{net}.{n}").into(),
            pod: Some(format!("{name}-{letter}").into()),
            ready: true,
            serving: true,
            ..Endpoint::default()
        };
        EndpointSlice {
            uid: Uid::parse(&format!("slice {name}")),
            namespace: "shop".into(),
            service: (*name).into(),
            endpoints: [(1, "a"), (2, "b")].into_iter().map(endpoint).collect(),
            ..EndpointSlice::default()
        }
    };
    let now = Stamp(0);
    state.apply(Fact::Services(Batch::Upsert(BY_ADDRESS.iter().map(service).collect())), now);
    state.apply(Fact::EndpointSlices(Batch::Begin { generation }), now);
    state.apply(Fact::EndpointSlices(Batch::Upsert(BY_ADDRESS.iter().map(slice).collect())), now);
    state.apply(Fact::EndpointSlices(Batch::End { generation, version }), now);
    state.publish(now, false);
    state
}

/// Compares a number with what went in.
fn near(what: &str, is: Option<f64>, want: Option<f64>, part: f64, worst: &mut f64) -> Result<(), String> {
    match (is, want) {
        (None, None) => Ok(()),
        (Some(is), Some(want)) if (is - want).abs() <= part * want.abs().max(0.01) => {
            *worst = worst.max((is - want).abs() / want.abs().max(0.01));
            Ok(())
        }
        _ => Err(format!("{what} is {is:?} instead of {want:?}")),
    }
}

/// Compares a service with what went in. Returns the largest relative difference.
fn compare(traffic: &ServiceTraffic, expected: &Expected) -> Result<f64, String> {
    let mut worst = 0.0;
    let w = &mut worst;
    near("rps", traffic.rps, Some(expected.rps), 0.03, w)?;
    near("error ratio", traffic.error_ratio, expected.error_ratio, 0.05, w)?;
    for (what, is, want) in [
        ("p50", traffic.p50_ms, expected.quantiles.map(|q| q[0])),
        ("p95", traffic.p95_ms, expected.quantiles.map(|q| q[1])),
        ("p99", traffic.p99_ms, expected.quantiles.map(|q| q[2])),
        ("active", traffic.active, expected.active),
    ] {
        near(what, is, want, 0.03, w)?;
    }
    if traffic.backends.len() != expected.backends.len() {
        return Err(format!("backends are {:?}", traffic.backends));
    }
    for want in &expected.backends {
        let name = &want.name;
        let is = traffic.backends.iter().find(|b| b.name == name.as_str());
        let is = is.ok_or_else(|| format!("no {name} in {:?}", traffic.backends))?;
        for (what, is, want) in [
            ("rps", is.rps, want.rps),
            ("error ratio", is.error_ratio, want.error_ratio),
            ("p95", is.p95_ms, want.p95_ms),
            ("mean", is.mean_ms, want.mean_ms),
            ("active", is.active, want.active),
            ("weight", is.weight, want.weight),
        ] {
            near(&format!("{name}: {what}"), is, want, 0.05, w)?;
        }
        if is.up != want.up {
            return Err(format!("{name}: up is {:?} instead of {:?}", is.up, want.up));
        }
    }
    Ok(worst)
}

/// The source with the state that the hub would have.
struct Polled {
    facts: mpsc::Receiver<Event>,
    status: mpsc::Receiver<Event>,
    state: ClusterState,
    all: Supervisor,
    /// The queries of each refresh.
    queries: Vec<f64>,
}

impl Polled {
    fn start(port: u16) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (facts_in, facts) = mpsc::channel(64);
        let (control, status) = mpsc::channel(64);
        let sink = FactSink::new(ClusterId(0), Clock::system(), facts_in, control);
        let settings = PrometheusSettings {
            server: ServerSettings::at(format!("http://127.0.0.1:{port}")),
            poll_secs: 3,
            window_secs: 10,
            ..PrometheusSettings::default()
        };
        let all = Supervisor::new();
        let inside = || unreachable!("it has a URL");
        prometheus::start(&settings, inside, &Ranges::default(), &sink, &all).unwrap();
        Self { facts, status, state: cluster(), all, queries: Vec::new() }
    }

    /// The next refresh, folded into the state.
    async fn refresh(&mut self, server: &Prometheus, before: f64) -> Arc<Cluster> {
        let status =
            tokio::time::timeout(Duration::from_secs(30), self.status.recv()).await.unwrap().unwrap();
        let Fact::Source(status) = status.fact else { panic!("a status") };
        // on a busy machine it may say that it asks less often
        let is_fine = status.error.as_ref().is_none_or(|words| words.starts_with("its answers take "));
        assert!(status.state == SourceState::Live && is_fine, "{status:?}");
        self.queries.push(server.queries() - before);
        while let Ok(event) = self.facts.try_recv() {
            self.state.apply(event.fact, event.at);
        }
        self.state.publish(Stamp(0), false);
        self.state.published().clone()
    }

    /// Refreshes until something is so; fails with what is missing.
    async fn until(
        &mut self,
        server: &Prometheus,
        within: Duration,
        is_so: impl Fn(&Cluster) -> Result<(), String>,
    ) -> Arc<Cluster> {
        let began = Instant::now();
        loop {
            let before = server.queries();
            let cluster = self.refresh(server, before).await;
            match is_so(&cluster) {
                Ok(()) => return cluster,
                Err(why) => assert!(began.elapsed() < within, "{why}"),
            }
        }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

fn of<'c>(cluster: &'c Cluster, expected: &Expected) -> Result<&'c ServiceTraffic, String> {
    let is = |s: &&Arc<ServiceTraffic>| s.namespace == expected.namespace && s.name == expected.name.as_str();
    let names = || {
        let names = cluster.traffic.services.iter().map(|s| format!("{}/{}", s.namespace, s.name));
        names.collect::<Vec<_>>().join(" ")
    };
    let found = cluster.traffic.services.iter().find(is);
    let found = found.ok_or_else(|| format!("no {}/{} in {}", expected.namespace, expected.name, names()))?;
    if found.preset == expected.preset {
        Ok(found)
    } else {
        Err(format!("{} is by {}", found.name, found.preset))
    }
}

fn everything_is_as_it_went_in(cluster: &Cluster, expected: &[Expected]) -> Result<(), String> {
    for one in expected {
        compare(of(cluster, one)?, one).map_err(|why| format!("{} {}: {why}", one.preset, one.name))?;
    }
    let count = cluster.traffic.services.len();
    if count == expected.len() { Ok(()) } else { Err(format!("{count} services")) }
}

/// The PromQL of a number gives the number in Prometheus.
fn the_promql_is_right(server: &Prometheus, cluster: &Cluster, expected: &[Expected]) -> usize {
    let mut compared = 0;
    for one in expected {
        let traffic = of(cluster, one).unwrap();
        let preset = all(&[]).into_iter().find(|preset| preset.name == one.preset).unwrap();
        let unit = preset.unit.in_ms();
        for (measure, is) in [(Measure::P95, traffic.p95_ms), (Measure::P99, traffic.p99_ms)] {
            let Some(is) = is else { continue };
            let promql = promql(&preset, measure, traffic, None).unwrap();
            let value = server.value(&promql).unwrap_or_else(|| panic!("nothing: {promql}"));
            assert!((value * unit - is).abs() <= 0.1 * is, "{promql}: {value} {is}");
            compared += 1;
        }
        let rate = promql(&preset, Measure::Rate, traffic, None).unwrap();
        let value = server.value(&format!("sum({rate})")).unwrap();
        assert!((value - one.rps).abs() <= 0.1 * one.rps, "{rate}: {value} instead of {}", one.rps);
        let errors = promql(&preset, Measure::Errors, traffic, None).unwrap();
        let value = server.value(&format!("sum({errors})")).unwrap_or(0.0);
        let failed = one.rps * one.error_ratio.unwrap_or(0.0);
        assert!((value - failed).abs() <= 0.1 * failed, "{errors}: {value} instead of {failed}");
        compared += 2;
        for backend in traffic.backends.iter().filter(|b| b.rps.is_some()) {
            let measure = if preset.query(Measure::BackendRate).is_some() {
                Measure::BackendRate
            } else {
                Measure::Rate
            };
            let promql = promql(&preset, measure, traffic, Some(backend)).unwrap();
            let value =
                server.value(&format!("sum({promql})")).unwrap_or_else(|| panic!("nothing: {promql}"));
            let is = backend.rps.unwrap();
            assert!((value - is).abs() <= 0.1 * is, "{promql}: {value} {is}");
            compared += 1;
        }
    }
    compared
}

#[tokio::test]
#[ignore = "needs prometheus: tests/cluster/install"]
async fn every_preset_gives_back_what_went_in_real_only() {
    let exporter = Exporter::start();
    let server = Prometheus::start(exporter.port);
    server.has_scraped(Duration::from_secs(240)).await;
    let expected = exporter::expected();
    let mut polled = Polled::start(server.port);
    let began = Instant::now();
    let cluster = polled
        .until(&server, Duration::from_secs(240), |cluster| everything_is_as_it_went_in(cluster, &expected))
        .await;
    let (after, refreshes) = (began.elapsed(), polled.queries.len());
    let differences = expected.iter().map(|one| (one, compare(of(&cluster, one).unwrap(), one).unwrap()));
    for (one, worst) in differences {
        eprintln!("{:20} {:12} largest difference {:.2} %", one.preset, one.name, worst * 100.0);
    }
    let presets: std::collections::BTreeSet<&str> = expected.iter().map(|one| one.preset).collect();
    assert_eq!(presets.len(), all(&[]).len(), "every preset is here");
    let compared = the_promql_is_right(&server, &cluster, &expected);
    eprintln!(
        "all after {} s and {refreshes} refreshes; {compared} numbers by their PromQL",
        after.as_secs()
    );

    // a reset counter: an increase is lost between two scrapes at most, and no rate is ever negative
    exporter.state.lock().unwrap().reset("haproxy");
    let web = expected.iter().find(|one| one.preset == "haproxy").unwrap();
    for _ in 0..5 {
        let before = server.queries();
        let cluster = polled.refresh(&server, before).await;
        let rps = of(&cluster, web).unwrap().rps.unwrap();
        assert!((rps - web.rps).abs() <= 0.15 * web.rps, "{rps} instead of {}", web.rps);
    }
    // a service that is no longer measured disappears after the window, and comes back
    exporter.state.lock().unwrap().silent = Some("grpc");
    let pay = expected.iter().find(|one| one.preset == "grpc").unwrap();
    let began = Instant::now();
    let gone = |cluster: &Cluster| match of(cluster, pay) {
        Err(_) => Ok(()),
        Ok(traffic) => Err(format!("still {:?}", traffic.rps)),
    };
    polled.until(&server, Duration::from_secs(60), gone).await;
    eprintln!("a service that vanished was gone after {} s", began.elapsed().as_secs());
    exporter.state.lock().unwrap().silent = None;
    let back = |cluster: &Cluster| of(cluster, pay).map(|_| ());
    polled.until(&server, Duration::from_secs(150), back).await;

    let most = polled.queries.iter().copied().fold(0.0, f64::max);
    eprintln!("{} refreshes with at most {most} queries", polled.queries.len());
    assert!((MOST_QUERIES - 1.0..=MOST_QUERIES).contains(&most), "{:?}", polled.queries);
}
