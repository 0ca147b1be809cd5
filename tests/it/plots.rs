//! The queries of plots: what the console gets for a range is what anyone else gets, and a Prometheus understands each of
//! them. Once over the simulated Prometheus, and once over a real one.

use std::fmt::Write as _;
use std::time::Duration;

use pilothouse::clock::Clock;
use pilothouse::source::prometheus::{self, ranges::Ranges};
use pilothouse::source::sink::FactSink;
use pilothouse::source::supervise::Supervisor;
use pilothouse::ui::app::{Grid, Plots, RANGES};
use pilothouse::ui::present::plot;
use pilothouse::wire::client::escape;
use pilothouse_core::domain::id::{ClusterId, Kind, ObjectRef, Uid};
use pilothouse_core::domain::preset;
use pilothouse_core::domain::range::{Ranged, Span};
use pilothouse_core::domain::settings::{PrometheusSettings, ServerSettings};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::ServiceTraffic;
use pilothouse_core::facts::world::{Cluster, TrafficRow, World};
use pilothouse_core::policy::plots::{self, Subject};
use serde_json::Value;
use tokio::sync::mpsc;

/// Asks the Prometheus at this URL, as the screen does.
struct Asked {
    url: String,
    ranges: Ranges,
    http: reqwest::Client,
    all: Supervisor,
    _facts: mpsc::Receiver<pilothouse_core::facts::event::Event>,
    _control: mpsc::Receiver<pilothouse_core::facts::event::Event>,
}

impl Asked {
    fn new(url: String) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (facts, facts_out) = mpsc::channel(64);
        let (control, control_out) = mpsc::channel(64);
        let sink = FactSink::new(ClusterId(0), Clock::system(), facts, control);
        let settings =
            PrometheusSettings { server: ServerSettings::at(&url), ..PrometheusSettings::default() };
        let (ranges, all) = (Ranges::default(), Supervisor::new());
        prometheus::start(&settings, || panic!("a URL needs no cluster"), &ranges, &sink, &all).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, ranges, http, all, _facts: facts_out, _control: control_out }
    }

    /// The answer of the same range query without our client.
    async fn plain(&self, query: &str, span: Span) -> Value {
        let (from, to) = (span.from.0 as f64 / 1_000.0, span.to().0 as f64 / 1_000.0);
        let (query, step) = (escape(query), span.step_secs);
        let path = format!("query_range?query={query}&start={from}&end={to}&step={step}");
        let answer = self.http.get(format!("{}/api/v1/{path}", self.url)).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// Compares our answer with the plain one, number by number. Returns how many numbers there are.
    async fn agrees(&self, query: &str, span: Span) -> usize {
        let ours: Ranged = self.ranges.ask(query, span).await.unwrap_or_else(|why| panic!("{query}: {why}"));
        let plain = self.plain(query, span).await;
        let theirs = plain["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {plain}"));
        assert_eq!(ours.series.len() + ours.left_out, theirs.len(), "{query}");
        let mut count = 0;
        for (ours, theirs) in ours.series.iter().zip(theirs) {
            let values = theirs["values"].as_array().unwrap();
            let mut at = values.iter().peekable();
            for (i, value) in ours.values.iter().enumerate() {
                let time = span.at(i).0 as f64 / 1_000.0;
                let given = at.next_if(|pair| (pair[0].as_f64().unwrap() - time).abs() < 0.001);
                let given = given.and_then(|pair| pair[1].as_str().unwrap().parse::<f64>().ok());
                assert_eq!(*value, given.filter(|value| value.is_finite()), "{query} at {time}");
                count += usize::from(value.is_some());
            }
            assert!(at.peek().is_none(), "{query}: a number that we do not have");
        }
        count
    }
}

/// A cluster with a Service that `preset` measures.
fn measured_by(preset: &str) -> Cluster {
    let traffic = ServiceTraffic {
        namespace: "shop".into(),
        name: "checkout".into(),
        preset: preset.into(),
        window_secs: 60,
        selector: "namespace=\"shop\",service=\"checkout\"".into(),
        ..ServiceTraffic::default()
    };
    let mut cluster = Cluster::default();
    cluster.derived.traffic =
        [std::sync::Arc::new(TrafficRow { traffic: traffic.into(), ..TrafficRow::default() })].into();
    cluster
}

/// The queries of all panels, for a Service that `preset` measures.
fn queries(preset: &str) -> Vec<String> {
    let cluster = measured_by(preset);
    let kinds = [
        (Kind::Node, "node-1"),
        (Kind::Pod, "checkout-0"),
        (Kind::Deployment, "checkout"),
        (Kind::StatefulSet, "check.out"),
        (Kind::DaemonSet, "agent"),
        (Kind::ReplicaSet, "checkout-7c9f"),
        (Kind::Service, "checkout"),
        (Kind::HorizontalPodAutoscaler, "checkout"),
    ];
    let presets = preset::all(&[]);
    let of = |(kind, name): (Kind, &str)| {
        let object = ObjectRef::new(ClusterId(0), kind, &"shop".into(), &name.into(), &Uid::default());
        plots::panels(&cluster, &presets, &Subject::of(object), 15)
    };
    let panels = kinds.into_iter().flat_map(of);
    let mut found: Vec<String> = panels.flat_map(|panel| panel.lines).map(|line| line.promql).collect();
    found.retain(|query| !query.is_empty());
    found.sort();
    found.dedup();
    assert!(found.len() > 40, "{}", found.len());
    found
}

#[cfg(feature = "demo")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_what_anyone_else_gets_from_the_simulated_prometheus() {
    use pilothouse_sim::scenario::Scenario;
    use pilothouse_sim::server::{Options, Sim};
    let options = Options { factor: 60.0, ..Options::new(Scenario::load("calm").unwrap()) };
    let sim = Sim::start(options).await.unwrap();
    let asked = Asked::new(sim.prometheus());
    let now = || Stamp(sim.store.clock().now().timestamp_millis());
    // some minutes of the cluster pass in seconds
    let first = now();
    while now().secs_since(first) < 240 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let span = Span::until(now(), 180, 60);
    let mut numbers = 0;
    for query in queries("http_requests_total") {
        numbers += asked.agrees(&query, span).await;
    }
    assert!(numbers > 500, "{numbers}");
    // the server's own words about a query that is wrong
    let wrong = asked.ranges.ask("sum(", span).await.unwrap_err();
    assert!(wrong.starts_with("400: "), "{wrong}");
    let names = asked.ranges.names(span).await.unwrap();
    assert!(names.iter().any(|name| name == "container_cpu_usage_seconds_total"), "{names:?}");
    asked.all.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a prometheus and a promtool"]
async fn a_real_prometheus_understands_every_query() {
    let now = Clock::system().now();
    let server = crate::objectives::start(now.0 / 1_000);
    let asked = Asked::new(server.url.clone());
    let span = Span::until(now, 900, 60);
    let mut numbers = 0;
    for preset in preset::all(&[]) {
        for query in queries(&preset.name) {
            numbers += asked.agrees(&query, span).await;
        }
    }
    // the requests, the errors and the response times of checkout, which the server has
    assert!(numbers >= 5 * 50, "{numbers}");
    let wrong = asked.ranges.ask("sum(", span).await.unwrap_err();
    assert!(wrong.starts_with("400: ") && wrong.contains("parse error"), "{wrong}");
    assert!(asked.ranges.names(span).await.unwrap().iter().any(|name| name == "http_requests_total"));
    asked.all.cancel();
}

/// Random samples of half a day, every 30 seconds: counters that are reset, and gauges that are not always a number; both
/// with gaps. The names are those that the panels ask for.
fn random_samples(rng: &mut fastrand::Rng, now: i64) -> String {
    const EVERY: i64 = 30;
    const LONG: i64 = 12 * 3_600;
    const SERIES: [(&str, bool, &[&str]); 6] = [
        (
            "container_cpu_usage_seconds",
            true,
            &[
                "namespace=\"shop\",pod=\"checkout-0\",container=\"app\"",
                "namespace=\"shop\",pod=\"checkout-0\",container=\"proxy\"",
            ],
        ),
        (
            "container_memory_working_set_bytes",
            false,
            &["namespace=\"shop\",pod=\"checkout-0\",container=\"app\""],
        ),
        (
            "node_cpu_seconds",
            true,
            &["node=\"node-1\",mode=\"user\",cpu=\"0\"", "node=\"node-1\",mode=\"idle\",cpu=\"0\""],
        ),
        ("node_memory_MemTotal_bytes", false, &["node=\"node-1\""]),
        ("node_memory_MemAvailable_bytes", false, &["node=\"node-1\""]),
        (
            "http_requests",
            true,
            &[
                "namespace=\"shop\",service=\"checkout\",pod=\"checkout-0\",code=\"200\"",
                "namespace=\"shop\",service=\"checkout\",pod=\"checkout-0\",code=\"503\"",
            ],
        ),
    ];
    let mut out = String::new();
    for (name, is_counter, all) in SERIES {
        let (kind, suffix) = if is_counter { ("counter", "_total") } else { ("gauge", "") };
        writeln!(out, "# TYPE {name} {kind}").unwrap();
        for labels in all {
            let (mut value, mut gap) = (rng.f64() * 100.0, 0);
            let mut at = now - LONG + rng.i64(0..EVERY);
            while at < now {
                at += EVERY;
                match rng.u32(0..200) {
                    0 => gap = rng.u32(1..40),
                    1 if is_counter => value = 0.0,
                    _ => {}
                }
                value = if is_counter { value + rng.f64() * 20.0 } else { 1.0 + rng.f64() * 1e9 };
                if gap > 0 {
                    gap -= 1;
                } else if !is_counter && rng.u32(0..50) == 0 {
                    writeln!(out, "{name}{suffix}{{{labels}}} NaN {at}").unwrap();
                } else {
                    writeln!(out, "{name}{suffix}{{{labels}}} {value} {at}").unwrap();
                }
            }
        }
    }
    out.push_str("# EOF\n");
    out
}

/// The values of a query at the times of a span, from the plain answer: one list for each series with a number.
fn values(plain: &Value, span: Span, scale: f64) -> Vec<Vec<Option<f64>>> {
    let of = |series: &Value| {
        let mut values = vec![None; span.count];
        for pair in series["values"].as_array().unwrap() {
            let at = (pair[0].as_f64().unwrap() * 1_000.0).round() as i64;
            let index = (at - span.from.0) / (i64::from(span.step_secs) * 1_000);
            assert_eq!(span.at(usize::try_from(index).unwrap()), Stamp(at));
            let value = pair[1].as_str().unwrap().parse::<f64>().unwrap();
            values[usize::try_from(index).unwrap()] = Some(value * scale).filter(|value| value.is_finite());
        }
        values
    };
    let all = plain["data"]["result"].as_array().unwrap_or_else(|| panic!("{plain}"));
    all.iter().map(of).filter(|values| values.iter().any(Option::is_some)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a prometheus and a promtool"]
async fn what_a_plot_shows_of_random_series_is_what_a_real_prometheus_has() {
    let now = Clock::system().now();
    let mut rng = fastrand::Rng::with_seed(16);
    let server = crate::objectives::start_with(&random_samples(&mut rng, now.0 / 1_000));
    let asked = Asked::new(server.url.clone());
    let cluster = measured_by("http_requests_total");
    let presets = preset::all(&[]);
    let world = World { clusters: [std::sync::Arc::new(cluster.clone())].into(), ..World::default() };
    let grid = Grid::of(200, 47, 4);
    let (mut lines, mut numbers, mut gaps) = (0, 0, 0);
    for (kind, name) in [(Kind::Pod, "checkout-0"), (Kind::Node, "node-1"), (Kind::Service, "checkout")] {
        let object = ObjectRef::new(ClusterId(0), kind, &"shop".into(), &name.into(), &Uid::default());
        for (_, secs) in RANGES {
            let span = Span::until(now, secs, usize::from(grid.cells()) * 2);
            let subject = Subject::of(object.clone());
            let panels = plots::panels(&cluster, &presets, &subject, span.step_secs);
            let mut shown = Plots::new(ClusterId(0), subject);
            shown.renew(panels.clone(), span);
            for (panel, curves) in panels.iter().zip(&mut shown.curves) {
                for (line, curve) in
                    panel.lines.iter().zip(curves).filter(|(line, _)| !line.promql.is_empty())
                {
                    curve.take(asked.ranges.ask(&line.promql, span).await);
                }
            }
            for (first, panel) in panels.iter().enumerate() {
                let mut wanted = Vec::new();
                for line in panel.lines.iter().filter(|line| !line.promql.is_empty() && !line.part.is_bound())
                {
                    let scale = if line.scale == 0.0 { 1.0 } else { line.scale };
                    wanted.extend(values(&asked.plain(&line.promql, span).await, span, scale));
                }
                shown.first = first;
                let view = plot::view(&shown, &world, now, grid);
                let drawn: Vec<_> = view.panels[0].series.iter().filter(|one| !one.is_bound).collect();
                assert!(drawn.iter().all(|one| one.span == span), "{}", panel.title);
                let drawn: Vec<_> = drawn.into_iter().map(|one| one.values.clone()).collect();
                if !wanted.is_empty() {
                    assert_eq!(drawn, wanted, "{name} {} {secs}", panel.title);
                }
                lines += wanted.len();
                numbers += wanted.iter().flatten().flatten().count();
                gaps += wanted.iter().flatten().filter(|value| value.is_none()).count();
            }
        }
    }
    assert!(lines >= 20 && numbers > 2_000 && gaps > 100, "{lines} lines, {numbers} numbers, {gaps} gaps");
    asked.all.cancel();
}
