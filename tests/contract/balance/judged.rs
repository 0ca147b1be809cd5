//! A record of a run, judged by the product as of each of its polls, and compared with the generator's counts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::{BAD_ERRORS, BackendTraffic, Balancing, ServiceTraffic, Standing};
use pilothouse_core::facts::world::TrafficRow;
use pilothouse_core::policy::shares;
use serde_json::Value;

use super::plan::{FAILING, SERVERS, SLOW, Service};
use super::policy;
use super::stand::Stand;

/// The interval of the product's polls in seconds.
const POLL: f64 = 10.0;

/// What a run recorded.
pub struct Record {
    prometheus: String,
    services: Arc<Vec<Service>>,
    /// Each second: the time, and the counts of each service and server: answered, failed.
    counts: Vec<(f64, Vec<u64>)>,
    /// When the weight of a service was raised or set back.
    skews: Vec<(f64, String, bool)>,
}

/// The values of one backend in one poll: rate, failed rate, mean response time in milliseconds.
type Polled = BTreeMap<String, BTreeMap<String, (f64, f64, Option<f64>)>>;

impl Record {
    pub fn read(stand: &Stand) -> Self {
        let text = |name: &str| fs::read_to_string(stand.folder.join(name)).unwrap();
        let counts = text("counts.tsv");
        let counts = counts.lines().map(|line| {
            let mut numbers = line.split('\t').map(|n| n.parse::<u64>().unwrap());
            (numbers.next().unwrap() as f64 / 1_000.0, numbers.collect())
        });
        let skews = text("skews.tsv");
        let skews = skews.lines().map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            (fields[0].parse::<f64>().unwrap() / 1_000.0, fields[1].to_owned(), fields[2] == "1")
        });
        assert_eq!(text("lost"), "0", "requests without an answer");
        Self {
            prometheus: stand.prometheus(),
            services: stand.services.clone(),
            counts: counts.collect(),
            skews: skews.collect(),
        }
    }

    fn query(&self, promql: &str, from: f64, to: f64, step: f64) -> Vec<(Value, Vec<(f64, f64)>)> {
        let mut escaped = String::new();
        for byte in promql.bytes() {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        let mut stream = TcpStream::connect(&self.prometheus).unwrap();
        let path = format!("/api/v1/query_range?query={escaped}&start={from:.3}&end={to:.3}&step={step}");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let doc: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
        let series = doc["data"]["result"].as_array().unwrap_or_else(|| panic!("{promql}: {doc}"));
        let values = |one: &Value| {
            let pairs = one["values"].as_array().unwrap().iter();
            pairs.map(|p| (p[0].as_f64().unwrap(), p[1].as_str().unwrap().parse().unwrap())).collect()
        };
        series.iter().map(|one| (one["metric"].clone(), values(one))).collect()
    }

    /// The product's queries at each poll.
    fn polls(
        &self,
        scrape: u32,
        window: u32,
        pods: bool,
        from: f64,
        to: f64,
        step: f64,
    ) -> BTreeMap<i64, Polled> {
        let (rate, service, server) = if pods {
            (
                format!(
                    "sum by (service, pod, code) (rate(http_requests_total{{every=\"{scrape}\"}}[{window}s]))"
                ),
                "service",
                "pod",
            )
        } else {
            let counter = format!("haproxy_server_http_responses_total{{every=\"{scrape}\"}}");
            (format!("sum by (proxy, server, code) (rate({counter}[{window}s]))"), "proxy", "server")
        };
        let mut polls: BTreeMap<i64, Polled> = BTreeMap::new();
        let key = |at: f64| (at * 1_000.0).round() as i64;
        let text = |labels: &Value, name: &str| labels[name].as_str().unwrap_or_default().to_owned();
        for (labels, values) in self.query(&rate, from, to, step) {
            let failed = text(&labels, "code").starts_with('5');
            for (at, value) in values.into_iter().filter(|(_, value)| value.is_finite()) {
                let of = polls.entry(key(at)).or_default().entry(text(&labels, service)).or_default();
                let backend = of.entry(text(&labels, server)).or_default();
                backend.0 += value;
                backend.1 += if failed { value } else { 0.0 };
            }
        }
        let mean = format!(
            "avg by (proxy, server) (haproxy_server_response_time_average_seconds{{every=\"{scrape}\"}})"
        );
        for (labels, values) in self.query(&mean, from, to, step) {
            for (at, value) in values {
                let of = polls.get_mut(&key(at)).and_then(|p| p.get_mut(&text(&labels, "proxy")));
                if let Some(backend) = of.and_then(|of| of.get_mut(&text(&labels, "server"))) {
                    backend.2 = Some(value * 1_000.0);
                }
            }
        }
        polls
    }

    /// What the generator counted between two times: answered and failed.
    fn counted(&self, service: usize, server: usize, from: f64, to: f64) -> (f64, f64) {
        let at = |time: f64| {
            let place = self.counts.partition_point(|(at, _)| *at <= time).saturating_sub(1);
            let counts = &self.counts[place].1;
            let at = (service * SERVERS + server) * 2;
            (counts[at] as f64, counts[at + 1] as f64)
        };
        let (a, b) = (at(from), at(to));
        (b.0 - a.0, b.1 - a.1)
    }

    /// Compares the rates and error ratios with the generator's own counts over the whole run.
    pub fn counts(&self, margin: u64) -> Vec<String> {
        let (begin, end) = (self.counts[0].0 + 15.0, self.counts.last().unwrap().0);
        let window = (end - begin) as u32 - 5;
        let polls = self.polls(5, window, false, end, end, 1.0);
        let polled = polls.values().next().unwrap();
        let (mut worst_rate, mut worst_errors): (f64, f64) = (0.0, 0.0);
        for (at, service) in self.services.iter().enumerate() {
            let ours = &polled[&service.name];
            let (mut rate, mut failed, mut counted, mut counted_failed) = (0.0, 0.0, 0.0, 0.0);
            for server in 0..SERVERS {
                let seen = ours[&format!("s{}", server + 1)];
                let (answered, lost) = self.counted(at, server, end - f64::from(window), end);
                rate += seen.0;
                failed += seen.1;
                counted += answered + lost;
                counted_failed += lost;
                let errors = (seen.1 / seen.0 - lost / (answered + lost)).abs();
                assert!(server != FAILING || errors <= 0.01 || margin < 60, "{} {errors}", service.name);
                let bad = seen.1 / seen.0 >= BAD_ERRORS;
                assert_eq!(
                    bad,
                    server == FAILING,
                    "{} s{}: the failing one is named",
                    service.name,
                    server + 1
                );
            }
            let counted_rate = counted / f64::from(window);
            worst_rate = worst_rate.max((rate / counted_rate - 1.0).abs());
            worst_errors = worst_errors.max((failed / rate - counted_failed / counted).abs());
            let slowest = ours.iter().max_by(|a, b| a.1.2.unwrap().total_cmp(&b.1.2.unwrap())).unwrap();
            assert_eq!(*slowest.0, format!("s{}", SLOW + 1), "{}: the slow one is named", service.name);
        }
        assert!(worst_rate <= 0.05, "requests per second differ by {:.1} %", worst_rate * 100.0);
        assert!(worst_errors <= 0.01, "error ratios differ by {:.2} points", worst_errors * 100.0);
        vec![format!(
            "over {window} s, {} services: RPS within {:.2} % and error ratio within {:.2} points of the generator's counts",
            self.services.len(),
            worst_rate * 100.0,
            worst_errors * 100.0
        )]
    }

    /// Judges all polls of one scrape interval: HAProxy's counters, and those of the servers, which are scraped one after
    /// another.
    pub fn judge(&self, scrape: u32) -> Outcome {
        let window = 60.max(scrape * 4);
        let interval = f64::from(scrape).max(POLL);
        let mut outcome = Outcome { scrape, interval, ..Outcome::default() };
        for pods in [false, true] {
            let from = self.counts[0].0 + f64::from(window) * 1.2;
            let to = self.counts.last().unwrap().0;
            let mut before: BTreeMap<String, TrafficRow> = BTreeMap::new();
            for (at, polled) in self.polls(scrape, window, pods, from, to, POLL) {
                for service in self.services.iter() {
                    let Some(backends) = polled.get(&service.name) else { continue };
                    let row = judge(service, backends, window, scrape, Stamp(at), before.get(&service.name));
                    self.score(service, &row, at as f64 / 1_000.0, window, pods, &mut outcome);
                    before.insert(service.name.clone(), row);
                }
            }
        }
        let reached = self.counts.last().unwrap().0 - interval * 4.0;
        let raised = self.skews.iter().filter(|(at, _, up)| *up && *at < reached);
        for (at, name, _) in raised {
            for pods in [false, true] {
                let found = outcome.found.get(&(name.clone(), *at as u64, pods)).copied();
                outcome.skews.push((name.clone(), pods, found));
            }
        }
        outcome
    }

    fn score(
        &self,
        service: &Service,
        row: &TrafficRow,
        at: f64,
        window: u32,
        pods: bool,
        outcome: &mut Outcome,
    ) {
        let last = |up: bool| {
            let of = self
                .skews
                .iter()
                .filter(|(when, name, is_up)| *name == service.name && *is_up == up && *when <= at);
            of.map(|(when, ..)| *when).fold(0.0, f64::max)
        };
        let (raised, set_back) = (last(true), last(false));
        let marked: Vec<&str> =
            row.backends().filter(|(_, share)| share.marked).map(|(b, _)| b.name.as_str()).collect();
        if raised > set_back {
            let first = row.shares.backends.first().unwrap();
            if first.marked && first.standing == Standing::Over {
                outcome
                    .found
                    .entry((service.name.clone(), raised as u64, pods))
                    .or_insert((at - raised) / outcome.interval);
            }
            outcome.wrong += usize::from(marked.iter().any(|name| *name != "s1"));
        } else if set_back == 0.0 || at - set_back > f64::from(window) * 1.5 + 30.0 {
            let class = (service.algorithm.as_str(), pods);
            let counts = outcome.balanced.entry(class).or_default();
            counts.0 += POLL / outcome.interval;
            counts.1 += usize::from(!marked.is_empty());
        }
    }
}

fn judge(
    service: &Service,
    backends: &BTreeMap<String, (f64, f64, Option<f64>)>,
    window_secs: u32,
    scrape_secs: u32,
    at: Stamp,
    before: Option<&TrafficRow>,
) -> TrafficRow {
    let policy = policy(service.algorithm);
    let weights = service.algorithm.weights();
    let backends =
        backends.iter().zip(weights).map(|((name, (rate, failed, mean_ms)), weight)| BackendTraffic {
            name: name.as_str().into(),
            rps: Some(*rate),
            error_ratio: (*rate > 0.0).then(|| failed / rate),
            mean_ms: *mean_ms,
            weight: Some(f64::from(weight)),
            ..BackendTraffic::default()
        });
    let traffic = ServiceTraffic {
        name: service.name.as_str().into(),
        policy,
        window_secs,
        scrape_secs,
        backends: backends.collect(),
        ..ServiceTraffic::default()
    };
    // As configured, so that the expectation stays when the weight changes.
    let balancing = Balancing { policy, ..Balancing::default() };
    let shares = shares::judge(&traffic, &balancing, None, at);
    let shares = shares::over_time(shares, &traffic, &balancing, before, at);
    let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
    for (share, weight) in shares.backends.iter().zip(weights) {
        if !matches!(service.algorithm, super::Algorithm::LeastConn) {
            let expected = share.expected.unwrap();
            assert!((expected - f64::from(weight) / sum).abs() < 1e-9, "{}: {expected}", service.name);
        }
    }
    TrafficRow { traffic: Arc::new(traffic), shares, balancing, ..TrafficRow::default() }
}

/// The verdicts of all polls of one scrape interval.
#[derive(Default)]
pub struct Outcome {
    scrape: u32,
    /// The longer of the scrape and the poll interval, in seconds.
    interval: f64,
    /// By algorithm and whether each server is a target: the balanced intervals, and the polls with an alarm.
    balanced: BTreeMap<(&'static str, bool), (f64, usize)>,
    /// Intervals until found, by service, time and target.
    found: BTreeMap<(String, u64, bool), f64>,
    skews: Vec<(String, bool, Option<f64>)>,
    /// Polls in which another backend than the one with too much was marked.
    wrong: usize,
}

fn side(pods: bool) -> &'static str {
    if pods { "a target for each server" } else { "one target" }
}

impl Outcome {
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("scraped every {} s, intervals of {} s", self.scrape, self.interval)];
        for ((balance, pods), (intervals, alarms)) in &self.balanced {
            let side = side(*pods);
            lines.push(format!(
                "  {balance:12} {side:24} balanced intervals {intervals:5.0}  false alarms {alarms}"
            ));
        }
        let mut classes: BTreeMap<(&str, bool), Vec<String>> = BTreeMap::new();
        for (name, pods, found) in &self.skews {
            let class = name.rsplit_once('-').map_or(name.as_str(), |(class, _)| class);
            let found = found.map_or("missed".to_owned(), |n| format!("{n:.1}"));
            classes.entry((class, *pods)).or_default().push(found);
        }
        for ((class, pods), found) in classes {
            lines.push(format!("  {class:18} {:24} found after {} intervals", side(pods), found.join(", ")));
        }
        lines.push(format!("  another backend named while one has too much: {}", self.wrong));
        lines
    }

    /// No false alarm in as many balanced intervals, and each skew found: twice the share within three intervals.
    pub fn check(&self, intervals: u64) {
        let text = self.lines().join("\n");
        for pods in [false, true] {
            let of = self.balanced.iter().filter(|((_, other), _)| *other == pods);
            let (balanced, alarms) = of.fold((0.0, 0), |sum, (_, one)| (sum.0 + one.0, sum.1 + one.1));
            assert!(balanced >= intervals as f64, "{balanced} of {intervals} balanced intervals\n{text}");
            assert_eq!(alarms, 0, "{text}");
        }
        assert_eq!(self.wrong, 0, "{text}");
        assert!(self.skews.len() >= 8, "{} skews\n{text}", self.skews.len());
        for (name, pods, found) in &self.skews {
            let limit = if name.starts_with("roundrobin-twice") { 3.0 } else { 5.0 };
            assert!(found.is_some_and(|n| n <= limit), "{name}, {}: {found:?}\n{text}", side(*pods));
        }
    }
}
