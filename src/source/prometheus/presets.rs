//! The presets, which define the metrics for traffic. The PromQL is written as a person would type it. `$W` is the
//! rate window (`60s`).

use std::collections::BTreeMap;
use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::traffic::{BackendTraffic, Origin, Policy, ServiceTraffic};

use super::client::Sample;

/// A known set of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preset {
    HaProxy,
    HttpRequests,
}

/// A preset that this Prometheus has data for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub preset: Preset,
    pub window_secs: u32,
}

impl Preset {
    pub const ALL: [Self; 2] = [Self::HaProxy, Self::HttpRequests];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::HaProxy => "haproxy",
            Self::HttpRequests => "http_requests_total",
        }
    }

    /// Returns the counter that the preset depends on.
    fn counter(self) -> &'static str {
        match self {
            Self::HaProxy => "haproxy_server_http_responses_total",
            Self::HttpRequests => "http_requests_total",
        }
    }
}

/// Returns the query for the number of samples in five minutes of the series with the most samples. It shows both
/// whether the metric exists and its scrape interval.
pub(super) fn samples_query(preset: Preset) -> String {
    format!("max(count_over_time({}[5m]))", preset.counter())
}

/// Returns the window: at least four scrape intervals, and at least the configured value.
pub(super) fn window(samples_in_5m: f64, configured: u32) -> u32 {
    let interval = (300.0 / samples_in_5m.max(1.0)).ceil() as u32;
    configured.max(interval.saturating_mul(4))
}

/// HAProxy responses per second by code. RPS is the sum over the codes, and errors are `5xx`.
const HAPROXY_RATE: &str = "sum by (proxy, server, code) (rate(haproxy_server_http_responses_total[$W]))";
/// The current sessions.
const HAPROXY_ACTIVE: &str = "sum by (proxy, server) (haproxy_server_current_sessions)";
/// The effective weights.
const HAPROXY_WEIGHT: &str = "max by (proxy, server) (haproxy_server_weight)";
/// The mean response time of the last 1024 requests. HAProxy has no quantiles.
const HAPROXY_MEAN: &str = "avg by (proxy, server) (haproxy_server_response_time_average_seconds)";
/// The state of the server: UP, DOWN, MAINT, DRAIN or NOLB.
const HAPROXY_STATUS: &str = "max by (proxy, server, state) (haproxy_server_status) == 1";
/// The configured weights, which a server keeps while it is down.
const HAPROXY_USER_WEIGHT: &str = "max by (proxy, server) (haproxy_server_uweight)";

/// Requests per second by status code, with either of the two label names that applications use.
const HTTP_RATE: &str =
    "sum by (namespace, service, job, pod, instance, code, status) (rate(http_requests_total[$W]))";
const HTTP_P50: &str = "histogram_quantile(0.5, sum by (namespace, service, job, le) (rate(http_request_duration_seconds_bucket[$W])))";
const HTTP_P95: &str = "histogram_quantile(0.95, sum by (namespace, service, job, le) (rate(http_request_duration_seconds_bucket[$W])))";
const HTTP_P99: &str = "histogram_quantile(0.99, sum by (namespace, service, job, le) (rate(http_request_duration_seconds_bucket[$W])))";
const HTTP_POD_P95: &str = "histogram_quantile(0.95, sum by (namespace, service, job, pod, instance, le) (rate(http_request_duration_seconds_bucket[$W])))";
const HTTP_ACTIVE: &str = "sum by (namespace, service, job, pod, instance) (http_requests_in_flight)";
const HTTP_POD_MEAN: &str = "sum by (namespace, service, job, pod, instance) (rate(http_request_duration_seconds_sum[$W])) / sum by (namespace, service, job, pod, instance) (rate(http_request_duration_seconds_count[$W]))";

/// Returns the queries of one poll, in the order that [`services`] expects.
pub(super) fn queries(found: Found) -> Vec<String> {
    let list: &[&str] = match found.preset {
        Preset::HaProxy => {
            &[HAPROXY_RATE, HAPROXY_ACTIVE, HAPROXY_WEIGHT, HAPROXY_MEAN, HAPROXY_STATUS, HAPROXY_USER_WEIGHT]
        }
        Preset::HttpRequests => {
            &[HTTP_RATE, HTTP_P50, HTTP_P95, HTTP_P99, HTTP_POD_P95, HTTP_ACTIVE, HTTP_POD_MEAN]
        }
    };
    list.iter().map(|q| q.replace("$W", &format!("{}s", found.window_secs))).collect()
}

/// Converts the answers to services and backends, ordered by name.
pub(super) fn services(found: Found, answers: &[Vec<Sample>]) -> Vec<Arc<ServiceTraffic>> {
    let answer = |at: usize| answers.get(at).map_or(&[][..], Vec::as_slice);
    match found.preset {
        Preset::HaProxy => haproxy(found, answer),
        Preset::HttpRequests => http_requests(found, answer),
    }
}

/// Maps (namespace, service) to the numbers of each backend.
type Services = BTreeMap<(String, String), BTreeMap<String, Backend>>;

#[derive(Default)]
struct Backend {
    rate: Option<f64>,
    errors: Option<f64>,
    /// Whether the outcome of the requests is known.
    judged: bool,
    /// Whether some of the rates are unknown (NaN), so that no ratio can be computed.
    unknown: bool,
    row: BackendTraffic,
    user_weight: Option<f64>,
}

fn add(to: &mut Option<f64>, value: Option<f64>) {
    if let Some(value) = value {
        *to = Some(to.unwrap_or(0.0) + value);
    }
}

fn haproxy<'a>(found: Found, answer: impl Fn(usize) -> &'a [Sample]) -> Vec<Arc<ServiceTraffic>> {
    let mut all = Services::new();
    for sample in answer(0) {
        let backend = at(&mut all, "", sample.label("proxy"), sample.label("server"));
        add(&mut backend.rate, sample.value);
        backend.unknown |= sample.value.is_none();
        backend.judged = true;
        if sample.label("code") == "5xx" {
            add(&mut backend.errors, sample.value);
        }
    }
    let mut each = |index: usize, set: &dyn Fn(&mut Backend, &Sample)| {
        for sample in answer(index) {
            set(at(&mut all, "", sample.label("proxy"), sample.label("server")), sample);
        }
    };
    each(1, &|b, s| b.row.active = s.value);
    each(2, &|b, s| b.row.weight = s.value);
    each(3, &|b, s| b.row.mean_ms = s.value.map(|v| v * 1000.0));
    each(4, &|b, s| {
        if !s.label("state").is_empty() {
            // servers in DRAIN and NOLB finish their sessions and receive no new ones
            b.row.up = Some(s.label("state") == "UP");
        }
    });
    each(5, &|b, s| b.user_weight = s.value);
    all.into_iter().map(|(key, backends)| service(found, key, backends, weighted)).collect()
}

/// Returns the policy. HAProxy has no metric for its algorithm. Different weights are certain, and equal weights are
/// assumed to mean round robin.
fn weighted(backends: &BTreeMap<String, Backend>) -> (Policy, Origin) {
    let weights: Vec<f64> = backends.values().filter_map(|b| b.user_weight.or(b.row.weight)).collect();
    let differ = weights.windows(2).any(|pair| matches!(pair, [a, b] if (a - b).abs() > f64::EPSILON));
    match (weights.len() == backends.len(), differ) {
        (true, true) => (Policy::Weighted, Origin::Discovered),
        (true, false) => (Policy::RoundRobin, Origin::Discovered),
        _ => (Policy::RoundRobin, Origin::Assumed),
    }
}

fn http_requests<'a>(found: Found, answer: impl Fn(usize) -> &'a [Sample]) -> Vec<Arc<ServiceTraffic>> {
    let name = |s: &Sample| {
        let service = s.label("service");
        if service.is_empty() { s.label("job").to_owned() } else { service.to_owned() }
    };
    let pod = |s: &Sample| {
        let pod = s.label("pod");
        if pod.is_empty() { s.label("instance").to_owned() } else { pod.to_owned() }
    };
    let mut all = Services::new();
    for sample in answer(0) {
        let backend = at(&mut all, sample.label("namespace"), &name(sample), &pod(sample));
        add(&mut backend.rate, sample.value);
        backend.unknown |= sample.value.is_none();
        let code =
            if sample.label("code").is_empty() { sample.label("status") } else { sample.label("code") };
        if !code.is_empty() {
            backend.judged = true;
            if code.starts_with('5') {
                add(&mut backend.errors, sample.value);
            }
        }
    }
    let mut each = |index: usize, set: &dyn Fn(&mut Backend, &Sample)| {
        for sample in answer(index) {
            let key = (sample.label("namespace").to_owned(), name(sample));
            // only backends that count requests have this value
            if let Some(backend) = all.get_mut(&key).and_then(|b| b.get_mut(&pod(sample))) {
                set(backend, sample);
            }
        }
    };
    each(4, &|b, s| b.row.p95_ms = s.value.map(|v| v * 1000.0));
    each(5, &|b, s| b.row.active = s.value);
    each(6, &|b, s| b.row.mean_ms = s.value.map(|v| v * 1000.0));
    let quantile = |index: usize, key: &(String, String)| {
        answer(index)
            .iter()
            .find(|s| s.label("namespace") == key.0 && name(s) == key.1)
            .and_then(|s| s.value)
            .map(|v| v * 1000.0)
    };
    all.into_iter()
        .map(|(key, backends)| {
            let (p50, p95, p99) = (quantile(1, &key), quantile(2, &key), quantile(3, &key));
            let mut service = service(found, key, backends, |_| (Policy::RoundRobin, Origin::Assumed));
            if let Some(row) = Arc::get_mut(&mut service) {
                (row.p50_ms, row.p95_ms, row.p99_ms) = (p50, p95, p99);
            }
            service
        })
        .collect()
}

fn at<'a>(all: &'a mut Services, namespace: &str, service: &str, backend: &str) -> &'a mut Backend {
    all.entry((namespace.to_owned(), service.to_owned())).or_default().entry(backend.to_owned()).or_default()
}

fn ratio(errors: Option<f64>, rate: Option<f64>, judged: bool) -> Option<f64> {
    let rate = rate.filter(|r| *r > 0.0 && judged)?;
    Some((errors.unwrap_or(0.0) / rate).clamp(0.0, 1.0))
}

fn service(
    found: Found,
    (namespace, name): (String, String),
    backends: BTreeMap<String, Backend>,
    policy: impl Fn(&BTreeMap<String, Backend>) -> (Policy, Origin),
) -> Arc<ServiceTraffic> {
    let (policy, origin) = policy(&backends);
    let (mut rate, mut errors, mut judged, mut unknown) = (None, None, false, false);
    for backend in backends.values() {
        add(&mut rate, backend.rate);
        add(&mut errors, backend.errors);
        judged |= backend.judged;
        unknown |= backend.unknown;
    }
    let backends = backends
        .into_iter()
        .map(|(name, b)| BackendTraffic {
            name: Name::from(name),
            rps: b.rate,
            error_ratio: ratio(b.errors, b.rate, b.judged && !b.unknown),
            ..b.row
        })
        .collect();
    Arc::new(ServiceTraffic {
        namespace: Name::from(namespace),
        name: Name::from(name),
        preset: Name::from(found.preset.as_str()),
        policy,
        origin,
        rps: rate,
        error_ratio: ratio(errors, rate, judged && !unknown),
        backends,
        window_secs: found.window_secs,
        ..ServiceTraffic::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Sample { labels, value: value.is_finite().then_some(value) }
    }

    #[test]
    fn the_window_is_four_scrapes_at_least() {
        assert_eq!(window(60.0, 60), 60, "every 5 s");
        assert_eq!(window(10.0, 60), 120, "every 30 s");
        assert_eq!(window(1.0, 60), 1200, "every 300 s, the slowest that is detected");
        assert_eq!(window(60.0, 3600), 3600, "the longest that can be configured");
    }

    #[test]
    fn haproxy_servers() {
        let found = Found { preset: Preset::HaProxy, window_secs: 60 };
        let of = |server: &'static str| [("proxy", "cart"), ("server", server)];
        let with = |server: &'static str, key: &'static str, value: &'static str| {
            let [a, b] = of(server);
            [a, b, (key, value)]
        };
        let rates = vec![
            sample(&with("a", "code", "2xx"), 9.0),
            sample(&with("a", "code", "5xx"), 1.0),
            sample(&with("b", "code", "2xx"), 0.0),
        ];
        let weights = vec![sample(&of("a"), 50.0), sample(&of("b"), 30.0)];
        let status = vec![sample(&with("a", "state", "UP"), 1.0), sample(&with("b", "state", "MAINT"), 1.0)];
        let mean = vec![sample(&of("a"), 0.012), sample(&of("b"), f64::NAN)];
        let out = services(found, &[rates, vec![], weights, mean, status, vec![]]);
        let cart = &out[0];
        assert_eq!(
            (cart.policy, cart.origin, cart.rps, cart.error_ratio),
            (Policy::Weighted, Origin::Discovered, Some(10.0), Some(0.1))
        );
        let rows: Vec<_> = cart.backends.iter().map(|b| (b.up, b.error_ratio, b.mean_ms, b.active)).collect();
        assert_eq!(rows, [(Some(true), Some(0.1), Some(12.0), None), (Some(false), None, None, None)]);
    }

    #[test]
    fn rates_that_are_not_known_make_no_error_ratio() {
        let found = Found { preset: Preset::HttpRequests, window_secs: 60 };
        let of = |code: &'static str| [("service", "checkout"), ("pod", "p0"), ("code", code)];
        let rates = vec![sample(&of("200"), f64::NAN), sample(&of("500"), 1.0)];
        let out = services(found, &[rates, vec![], vec![], vec![], vec![], vec![], vec![]]);
        assert_eq!((out[0].error_ratio, out[0].backends[0].error_ratio), (None, None));
    }

    #[test]
    fn applications_with_either_label() {
        let found = Found { preset: Preset::HttpRequests, window_secs: 60 };
        let of = |pod: &'static str, key: &'static str, value: &'static str| {
            [("namespace", "shop"), ("service", "checkout"), ("pod", pod), (key, value)]
        };
        let rates = vec![
            sample(&of("p0", "code", "200"), 3.0),
            sample(&of("p1", "status", "503"), 1.0),
            sample(&of("p2", "x", ""), 2.0),
        ];
        let p95 = vec![sample(&[("namespace", "shop"), ("service", "checkout")], 0.25)];
        let out = services(found, &[rates, vec![], p95, vec![], vec![], vec![], vec![]]);
        assert_eq!((out[0].rps, out[0].p95_ms, out[0].p50_ms), (Some(6.0), Some(250.0), None));
        let ratios: Vec<_> = out[0].backends.iter().map(|b| b.error_ratio).collect();
        assert_eq!(ratios, [Some(0.0), Some(1.0), None], "without a status label the errors are unknown");
    }
}
