//! From the answers to a preset's queries to the traffic of services and backends.

mod over_time;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::id::Name;
use crate::domain::preset::{LabelText, Measure, Preset, Sample, form, matchers};
use crate::domain::traffic::{BackendTraffic, Origin, Policy, ServiceTraffic};
use crate::facts::intern::Names;

pub use over_time::{Column, over_time};

/// What one query measured. It is small enough to be kept until the query is asked again.
#[derive(Clone, Debug)]
pub struct Reading {
    measure: Measure,
    rows: Vec<Row>,
    /// The number of series that do not name a service.
    pub nameless: usize,
}

impl Reading {
    /// Whether no series names a service, although there are some.
    pub fn is_nameless(&self) -> bool {
        self.rows.is_empty() && self.nameless > 0
    }
}

#[derive(Clone, Debug)]
struct Row {
    service: Arc<ServiceId>,
    /// The index of the label in [`Preset::backend`], and its value; `None` for a value of the service as a whole.
    backend: Option<(usize, Name)>,
    /// Whether the requests failed, if a label says so.
    failed: Option<bool>,
    /// For a state: whether the backend is up.
    up: Option<bool>,
    value: Option<f64>,
}

/// How the labels name a service.
#[derive(Debug)]
struct ServiceId {
    namespace: Name,
    name: Name,
    also: Arc<[(Name, Name)]>,
    selector: Name,
}

/// Reads the answer to the query of a measure.
pub fn read(preset: &Preset, measure: Measure, samples: &[Sample], names: &mut Names) -> Reading {
    let mut rows = Vec::with_capacity(samples.len());
    let nameless = read_each(preset, samples, names, |_, row| rows.push(row));
    Reading { measure, rows, nameless }
}

/// Calls `take` with the row of each sample that names a service, and its place among the samples. Returns the number of
/// the others.
fn read_each(
    preset: &Preset,
    samples: &[Sample],
    names: &mut Names,
    mut take: impl FnMut(usize, Row),
) -> usize {
    let mut known: HashMap<Vec<&str>, Option<Arc<ServiceId>>> = HashMap::new();
    let labels: Vec<&str> = preset
        .namespace
        .iter()
        .map(String::as_str)
        .chain(preset.service.iter().map(|s| s.label.as_str()))
        .collect();
    let mut nameless = 0;
    for (place, sample) in samples.iter().enumerate() {
        let values: Vec<&str> = labels.iter().map(|label| sample.label(label)).collect();
        let service = known.entry(values).or_insert_with(|| service_id(preset, sample, names).map(Arc::new));
        let Some(service) = service else {
            nameless += 1;
            continue;
        };
        let backend = preset.backend.iter().map(|label| sample.label(label)).enumerate();
        let backend = backend.into_iter().find(|(_, value)| !value.is_empty());
        let row = Row {
            service: service.clone(),
            backend: backend.map(|(at, value)| (at, names.get(value))),
            failed: said(&preset.failed, sample),
            up: if preset.up.is_empty() { sample.value.map(|v| v > 0.0) } else { said(&preset.up, sample) },
            value: sample.value,
        };
        take(place, row);
    }
    nameless
}

/// Whether a label has one of these values; `None` if the sample has none of the labels.
fn said(values: &[LabelText], sample: &Sample) -> Option<bool> {
    let mut is_known = false;
    for one in values {
        let value = sample.label(&one.label);
        if one.is_met(value) {
            return Some(true);
        }
        is_known |= !value.is_empty();
    }
    is_known.then_some(false)
}

/// Finds the service that a sample is of.
fn service_id(preset: &Preset, sample: &Sample, names: &mut Names) -> Option<ServiceId> {
    let labelled = preset.namespace.iter().map(|label| (label, sample.label(label)));
    let labelled = labelled.into_iter().find(|(_, value)| !value.is_empty());
    let namespace = labelled.map_or("", |(_, value)| value);
    let mut absent: Vec<&str> = Vec::new();
    for reader in &preset.service {
        let value = sample.label(&reader.label);
        if value.is_empty() {
            if !absent.contains(&reader.label.as_str()) {
                absent.push(&reader.label);
            }
            continue;
        }
        let mut readings = if reader.text.is_empty() {
            vec![(namespace, value)]
        } else {
            form::readings(&reader.text, value)
        };
        // a form without a namespace
        for reading in readings.iter_mut().filter(|reading| reading.0.is_empty()) {
            reading.0 = namespace;
        }
        if readings.iter().any(|(read, _)| *read == namespace) {
            readings.retain(|(read, _)| *read == namespace);
        }
        let Some(((read, name), also)) = readings.split_first() else { continue };
        let mut selector = Vec::new();
        if reader.text.is_empty() {
            selector.extend(labelled.map(|(label, value)| matchers::equals(label, value)));
            selector.push(matchers::equals(&reader.label, value));
        } else {
            selector.push(matchers::matches(&reader.label, &form::regex(&reader.text, read, name)));
        }
        // a series that names its service by a label that comes first is another service's
        selector.extend(absent.iter().map(|label| matchers::equals(label, "")));
        return Some(ServiceId {
            namespace: names.get(read),
            name: names.get(name),
            also: also.iter().map(|(namespace, name)| (names.get(namespace), names.get(name))).collect(),
            selector: names.get(&selector.join(",")),
        });
    }
    None
}

#[derive(Default)]
struct Numbers {
    rate: Option<f64>,
    errors: Option<f64>,
    /// Whether the outcome of the requests is known.
    judged: bool,
    /// Whether some of the rates are unknown (NaN), so that no ratio can be computed.
    unknown: bool,
}

impl Numbers {
    fn add(&mut self, row: &Row) {
        add(&mut self.rate, row.value);
        self.unknown |= row.value.is_none();
        self.judged |= row.failed.is_some();
        if row.failed == Some(true) {
            add(&mut self.errors, row.value);
        }
    }

    fn error_ratio(&self) -> Option<f64> {
        let rate = self.rate.filter(|rate| *rate > 0.0 && self.judged && !self.unknown)?;
        Some((self.errors.unwrap_or(0.0) / rate).clamp(0.0, 1.0))
    }
}

fn add(to: &mut Option<f64>, value: Option<f64>) {
    if let Some(value) = value {
        *to = Some(to.unwrap_or(0.0) + value);
    }
}

/// Keeps the highest: a quantile of several parts is not known, but it is not above the highest of theirs.
fn highest(of: &mut Option<f64>, value: Option<f64>) {
    *of = match (*of, value) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
}

#[derive(Default)]
struct OneBackend {
    numbers: Numbers,
    row: BackendTraffic,
    configured_weight: Option<f64>,
}

struct OneService {
    id: Arc<ServiceId>,
    numbers: Numbers,
    row: ServiceTraffic,
    backends: BTreeMap<Name, OneBackend>,
}

/// Converts the readings of a preset's queries to services and backends, ordered by name. `scrape_secs` is the interval
/// of the scrapes.
pub fn services<'r>(
    preset: &Preset,
    window_secs: u32,
    scrape_secs: u32,
    readings: impl Iterator<Item = &'r Reading>,
) -> Vec<Arc<ServiceTraffic>> {
    let mut all: BTreeMap<(Name, Name), OneService> = BTreeMap::new();
    let mut readings: Vec<&Reading> = readings.collect();
    // what proves that a service exists comes first
    readings.sort_by_key(|reading| (!reading.measure.is_proof(), reading.measure));
    for reading in readings {
        for row in &reading.rows {
            let key = (row.service.namespace.clone(), row.service.name.clone());
            let proof = reading.measure.is_proof();
            let service = match all.entry(key) {
                std::collections::btree_map::Entry::Occupied(held) => held.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) if proof => place.insert(OneService {
                    id: row.service.clone(),
                    numbers: Numbers::default(),
                    row: ServiceTraffic::default(),
                    backends: BTreeMap::new(),
                }),
                std::collections::btree_map::Entry::Vacant(_) => continue,
            };
            service.take(preset, reading.measure, row);
        }
    }
    let judges = |measure: Measure| preset.query(measure).is_some();
    let finish = |service: OneService| service.finish(preset, window_secs, judges(Measure::Errors));
    all.into_values().map(|service| Arc::new(ServiceTraffic { scrape_secs, ..finish(service) })).collect()
}

impl OneService {
    fn take(&mut self, preset: &Preset, measure: Measure, row: &Row) {
        let ms = row.value.map(|value| value * preset.unit.in_ms());
        let Some((label, name)) = &row.backend else {
            match measure {
                Measure::Rate => self.numbers.add(row),
                Measure::Errors => add(&mut self.numbers.errors, row.value),
                Measure::P50 => highest(&mut self.row.p50_ms, ms),
                Measure::P95 => highest(&mut self.row.p95_ms, ms),
                Measure::P99 => highest(&mut self.row.p99_ms, ms),
                Measure::Active => add(&mut self.row.active, row.value),
                _ => {}
            }
            return;
        };
        if measure == Measure::Rate {
            self.numbers.add(row);
        }
        if !self.backends.contains_key(name) {
            if !measure.is_proof() {
                return;
            }
            if self.row.backend_label.is_empty() {
                self.row.backend_label = preset.backend.get(*label).map_or("", String::as_str).into();
            }
        }
        let backend = self.backends.entry(name.clone()).or_default();
        match measure {
            Measure::Rate => backend.numbers.add(row),
            Measure::Errors => {
                add(&mut self.numbers.errors, row.value);
                add(&mut backend.numbers.errors, row.value);
            }
            Measure::BackendRate => {
                add(&mut backend.numbers.rate, row.value);
                backend.numbers.unknown |= row.value.is_none();
                backend.numbers.judged = preset.query(Measure::BackendErrors).is_some();
            }
            Measure::BackendErrors => add(&mut backend.numbers.errors, row.value),
            Measure::BackendP95 => highest(&mut backend.row.p95_ms, ms),
            Measure::BackendMean => highest(&mut backend.row.mean_ms, ms),
            Measure::Active => add(&mut backend.row.active, row.value),
            Measure::Weight => backend.row.weight = row.value,
            Measure::ConfiguredWeight => backend.configured_weight = row.value,
            Measure::State => backend.row.up = row.up.or(backend.row.up),
            Measure::P50 | Measure::P95 | Measure::P99 => {}
        }
    }

    fn finish(mut self, preset: &Preset, window_secs: u32, judged: bool) -> ServiceTraffic {
        self.numbers.judged |= judged;
        let (policy, origin) = policy(preset, &self.backends);
        let backends = self.backends.into_iter().map(|(name, mut backend)| {
            backend.numbers.judged |= judged;
            BackendTraffic {
                name,
                rps: backend.numbers.rate,
                error_ratio: backend.numbers.error_ratio(),
                ..backend.row
            }
        });
        ServiceTraffic {
            namespace: self.id.namespace.clone(),
            name: self.id.name.clone(),
            preset: preset.name.clone(),
            policy,
            origin,
            rps: self.numbers.rate,
            error_ratio: self.numbers.error_ratio(),
            backends: backends.collect(),
            window_secs,
            also: self.id.also.clone(),
            selector: self.id.selector.clone(),
            ..self.row
        }
    }
}

/// Returns the policy. Different weights are certain, and equal weights are assumed to mean round robin. No metric says
/// which algorithm is used.
fn policy(preset: &Preset, backends: &BTreeMap<Name, OneBackend>) -> (Policy, Origin) {
    if let Some(policy) = preset.policy {
        return (policy, Origin::Discovered);
    }
    let weights: Vec<f64> = backends.values().filter_map(|b| b.configured_weight.or(b.row.weight)).collect();
    let differ = weights.windows(2).any(|pair| matches!(pair, [a, b] if (a - b).abs() > f64::EPSILON));
    match (weights.len() == backends.len() && !weights.is_empty(), differ) {
        (true, true) => (Policy::Weighted, Origin::Discovered),
        (true, false) => (Policy::RoundRobin, Origin::Discovered),
        _ => (Policy::RoundRobin, Origin::Assumed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::preset::{all, promql};

    fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Sample { labels, value: value.is_finite().then_some(value) }
    }

    fn preset(name: &str) -> Preset {
        all(&[]).into_iter().find(|preset| preset.name == name).unwrap()
    }

    /// The services of these answers, with a window of a minute.
    fn of(preset: &Preset, answers: &[(Measure, Vec<Sample>)]) -> Vec<Arc<ServiceTraffic>> {
        let mut names = Names::default();
        let readings: Vec<Reading> =
            answers.iter().map(|(measure, samples)| read(preset, *measure, samples, &mut names)).collect();
        services(preset, 60, 15, readings.iter())
    }

    #[test]
    fn haproxy_servers() {
        let of_server = |server: &'static str| [("proxy", "cart"), ("server", server)];
        let with = |server: &'static str, key: &'static str, value: &'static str| {
            let [a, b] = of_server(server);
            [a, b, (key, value)]
        };
        let rates = vec![
            sample(&with("a", "code", "2xx"), 9.0),
            sample(&with("a", "code", "5xx"), 1.0),
            sample(&with("b", "code", "2xx"), 0.0),
        ];
        let weights = vec![sample(&of_server("a"), 50.0), sample(&of_server("b"), 30.0)];
        let status = vec![sample(&with("a", "state", "UP"), 1.0), sample(&with("b", "state", "MAINT"), 1.0)];
        let mean = vec![sample(&of_server("a"), 0.012), sample(&of_server("b"), f64::NAN)];
        let out = of(
            &preset("haproxy"),
            &[
                (Measure::Rate, rates),
                (Measure::Active, vec![]),
                (Measure::Weight, weights),
                (Measure::BackendMean, mean),
                (Measure::State, status),
                (Measure::ConfiguredWeight, vec![]),
            ],
        );
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
        let of_code = |code: &'static str| [("service", "checkout"), ("pod", "p0"), ("code", code)];
        let rates = vec![sample(&of_code("200"), f64::NAN), sample(&of_code("500"), 1.0)];
        let out = of(&preset("http_requests_total"), &[(Measure::Rate, rates)]);
        assert_eq!((out[0].error_ratio, out[0].backends[0].error_ratio), (None, None));
    }

    #[test]
    fn applications_with_either_label() {
        let of_pod = |pod: &'static str, key: &'static str, value: &'static str| {
            [("namespace", "shop"), ("service", "checkout"), ("pod", pod), (key, value)]
        };
        let rates = vec![
            sample(&of_pod("p0", "code", "200"), 3.0),
            sample(&of_pod("p1", "status", "503"), 1.0),
            sample(&of_pod("p2", "x", ""), 2.0),
        ];
        let p95 = vec![sample(&[("namespace", "shop"), ("service", "checkout")], 0.25)];
        let out = of(&preset("http_requests_total"), &[(Measure::Rate, rates), (Measure::P95, p95)]);
        assert_eq!((out[0].rps, out[0].p95_ms, out[0].p50_ms), (Some(6.0), Some(250.0), None));
        let ratios: Vec<_> = out[0].backends.iter().map(|b| b.error_ratio).collect();
        assert_eq!(ratios, [Some(0.0), Some(1.0), None], "without a status label the errors are unknown");
    }

    #[test]
    fn grpc_errors_of_istio_are_those_of_the_server() {
        let with = |code: &'static str, grpc: &'static str| {
            [
                ("destination_service_namespace", "shop"),
                ("destination_service_name", "pay"),
                ("pod", "pay-0"),
                ("response_code", code),
                ("grpc_response_status", grpc),
            ]
        };
        let rates = vec![
            sample(&with("200", "0"), 4.0),
            sample(&with("200", "5"), 2.0),
            sample(&with("200", "14"), 1.0),
            sample(&with("0", ""), 1.0),
            sample(&with("503", ""), 2.0),
        ];
        let out = of(&preset("istio"), &[(Measure::Rate, rates)]);
        assert_eq!((out[0].rps, out[0].error_ratio, out[0].backends.len()), (Some(10.0), Some(0.4), 1));
    }

    #[test]
    fn a_canary_of_ingress_nginx_is_its_own_service() {
        let with = |service: &'static str, canary: &'static str| {
            [
                ("exported_namespace", "my-shop"),
                ("namespace", "ingress"),
                ("exported_service", service),
                ("service", "controller-metrics"),
                ("canary", canary),
                ("status", "200"),
            ]
        };
        let rates = vec![sample(&with("web", ""), 9.0), sample(&with("web", "my-shop-web-canary-80"), 1.0)];
        let preset = preset("ingress-nginx");
        let out = of(&preset, &[(Measure::Rate, rates)]);
        let told: Vec<_> =
            out.iter().map(|s| (s.namespace.as_str(), s.name.as_str(), s.rps.unwrap())).collect();
        assert_eq!(told, [("my-shop", "web", 9.0), ("my-shop", "web-canary", 1.0)]);
        assert_eq!(out[0].selector, "exported_namespace=\"my-shop\",exported_service=\"web\",canary=\"\"");
        assert_eq!(out[1].selector, "canary=~\"my-shop-web-canary-.*\"");
        assert_eq!(
            promql(&preset, Measure::P95, &out[1], None).unwrap(),
            "histogram_quantile(0.95, sum by (exported_namespace, namespace, exported_service, service, canary, le) \
             (rate(nginx_ingress_controller_request_duration_seconds_bucket{canary=~\"my-shop-web-canary-.*\"}[60s])))"
        );
    }

    #[test]
    fn envoy_has_numbers_of_routes_and_of_endpoints() {
        let route = |rule: &'static str| ("envoy_cluster_name", rule);
        let class = |rule, class: &'static str| [route(rule), ("envoy_response_code_class", class)];
        let endpoint =
            |address: &'static str| [route("httproute/shop/web/rule/0"), ("envoy_endpoint_address", address)];
        let (first, second) = ("httproute/shop/web/rule/0", "httproute/shop/web/rule/1");
        let rates = vec![
            sample(&class(first, "2"), 6.0),
            sample(&class(first, "5"), 2.0),
            sample(&class(second, "2"), 2.0),
            sample(&class("xds_cluster", "2"), 7.0),
        ];
        let answers = [
            (Measure::Rate, rates),
            (Measure::P95, vec![sample(&[route(first)], 80.0), sample(&[route(second)], 40.0)]),
            (Measure::Active, vec![sample(&[route(first)], 3.0), sample(&endpoint("10.0.0.1:80"), 2.0)]),
            (
                Measure::BackendRate,
                vec![sample(&endpoint("10.0.0.1:80"), 5.0), sample(&endpoint("10.0.0.2:80"), 3.0)],
            ),
            (Measure::BackendErrors, vec![sample(&endpoint("10.0.0.2:80"), 1.5)]),
        ];
        let preset = preset("envoy-gateway");
        let out = of(&preset, &answers);
        assert_eq!(out.len(), 1, "a cluster that is no route is no service");
        let web = &out[0];
        assert_eq!((web.namespace.as_str(), web.name.as_str()), ("shop", "web"));
        assert_eq!((web.rps, web.error_ratio, web.p95_ms), (Some(10.0), Some(0.2), Some(80.0)));
        assert_eq!(web.active, Some(3.0));
        let rows: Vec<_> = web.backends.iter().map(|b| (b.rps, b.error_ratio, b.active)).collect();
        assert_eq!(rows, [(Some(5.0), Some(0.0), Some(2.0)), (Some(3.0), Some(0.5), None)]);
        assert_eq!(
            promql(&preset, Measure::BackendErrors, web, Some(&web.backends[1])).unwrap(),
            "sum by (envoy_cluster_name, envoy_endpoint_address) (rate(envoy_cluster_endpoint_rq_error\
             {envoy_cluster_name=~\"(http|grpc)route/.+\",envoy_cluster_name=~\"httproute/shop/web/rule/.*\",\
             envoy_endpoint_address=\"10.0.0.2:80\"}[60s]))"
        );
    }

    #[test]
    fn a_number_without_requests_makes_no_service_unless_it_proves_one() {
        let server = [("proxy", "web"), ("server", "a")];
        let out = of(&preset("haproxy"), &[(Measure::Active, vec![sample(&server, 1.0)])]);
        assert_eq!(out.len(), 0);
        let out = of(&preset("haproxy"), &[(Measure::Weight, vec![sample(&server, 1.0)])]);
        assert_eq!((out[0].rps, out[0].backends[0].rps, out[0].backends[0].weight), (None, None, Some(1.0)));
    }

    #[test]
    fn failed_requests_can_have_a_query_of_their_own() {
        let own = Preset {
            name: "own".into(),
            service: vec![LabelText::parse("app")],
            backend: vec!["pod".into()],
            queries: vec![
                crate::domain::preset::Query { measure: Measure::Rate, promql: "r".into() },
                crate::domain::preset::Query { measure: Measure::Errors, promql: "e".into() },
            ],
            ..Preset::default()
        };
        let pod = |pod: &'static str| [("app", "web"), ("pod", pod)];
        let rates = vec![sample(&pod("a"), 4.0), sample(&pod("b"), 4.0)];
        let out = of(&own, &[(Measure::Rate, rates), (Measure::Errors, vec![sample(&pod("b"), 1.0)])]);
        let ratios: Vec<_> = out[0].backends.iter().map(|b| b.error_ratio).collect();
        assert_eq!((out[0].error_ratio, ratios), (Some(0.125), vec![Some(0.0), Some(0.25)]));
    }

    #[test]
    fn what_is_kept_of_40000_backends_is_small() {
        let labels = |i: usize| {
            let (service, pod) = (format!("app-{:05}", i / 20), format!("app-{:05}-7c9f-{i:06x}", i / 20));
            [("namespace", "team-001".into()), ("service", service), ("pod", pod), ("code", "200".into())]
        };
        let sample = |i: usize| Sample {
            labels: labels(i).map(|(key, value)| (key.to_owned(), value)).into(),
            value: Some(1.0),
        };
        let samples: Vec<Sample> = (0..40_000).map(sample).collect();
        let mut names = Names::default();
        let reading = read(&preset("http_requests_total"), Measure::Rate, &samples, &mut names);
        let services: std::collections::HashSet<*const ServiceId> =
            reading.rows.iter().map(|row| Arc::as_ptr(&row.service)).collect();
        assert_eq!((reading.rows.len(), services.len()), (40_000, 2_000), "a service is named once");
        assert!(std::mem::size_of::<Row>() <= 64, "{} bytes a row", std::mem::size_of::<Row>());
        // the names of pods, and namespace, name and selector of services
        assert_eq!(names.len(), 40_000 + 1 + 2_000 * 2);
        let again = read(&preset("http_requests_total"), Measure::Rate, &samples, &mut names);
        assert_eq!((again.rows.len(), names.len()), (40_000, 44_001), "the next poll shares them");
    }

    #[test]
    fn series_without_a_service_are_counted() {
        let reading =
            read(&preset("istio"), Measure::Rate, &[sample(&[("app", "x")], 1.0)], &mut Names::default());
        assert!(reading.is_nameless());
        assert_eq!(reading.nameless, 1);
    }
}
