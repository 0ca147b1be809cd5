//! Presets: the sets of metrics from which traffic is read. A preset is data: an entry of the table of built-in
//! ones, or a section of the config with the same fields.

mod apps;
pub mod form;
pub(crate) mod matchers;
mod meshes;
mod promql;
mod proxies;

use serde::{Deserialize, Serialize};

pub use self::promql::{filled, filled_for, only_current, promql};
use super::id::Name;
use super::traffic::Policy;

/// A set of metrics that measure the requests of services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Preset {
    /// The name, as in `prometheus.presets`.
    pub name: Name,
    /// What it measures, in one sentence.
    pub doc: String,
    /// The metric or selector whose samples show that the metrics exist, and how often they are scraped.
    pub counter: String,
    /// The labels with the namespace. The first that is not empty is used.
    pub namespace: Vec<String>,
    /// The labels with the name of the service. The first that is not empty, and whose form matches, is used. An empty
    /// form stands for the whole value. [`form`] describes the others.
    pub service: Vec<LabelText>,
    /// The labels with the pod, address or server. The first that is not empty is used. Without one, a value is of the
    /// service as a whole.
    pub backend: Vec<String>,
    /// The values of labels with which a request counts as failed. A `*` at the end stands for any text.
    pub failed: Vec<LabelText>,
    /// The values of labels with which a backend is up. If it is empty, a state above 0 is up.
    pub up: Vec<LabelText>,
    /// The unit of response times.
    pub unit: Unit,
    /// The policy that this system always uses.
    pub policy: Option<Policy>,
    /// At most one for each measure.
    pub queries: Vec<Query>,
}

/// A label, and a text about its value: `code=5*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelText {
    pub label: String,
    pub text: String,
}

impl LabelText {
    /// Reads `label=text`, or `label` alone.
    pub fn parse(written: &str) -> Self {
        let (label, text) = written.split_once('=').unwrap_or((written, ""));
        Self { label: label.to_owned(), text: text.to_owned() }
    }

    /// Whether a label's value is the text, or begins with what is before its `*`.
    pub fn is_met(&self, value: &str) -> bool {
        match self.text.strip_suffix('*') {
            Some(start) => value.starts_with(start),
            None => value == self.text,
        }
    }
}

impl std::fmt::Display for LabelText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let equals = if self.text.is_empty() { "" } else { "=" };
        write!(f, "{}{equals}{}", self.label, self.text)
    }
}

/// The unit of response times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    #[default]
    Seconds,
    Milliseconds,
}

impl Unit {
    pub const ALL: [Self; 2] = [Self::Seconds, Self::Milliseconds];

    /// As in the config.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
        }
    }

    /// By what a value is multiplied to get milliseconds.
    pub fn in_ms(self) -> f64 {
        match self {
            Self::Seconds => 1_000.0,
            Self::Milliseconds => 1.0,
        }
    }
}

/// One query of a preset. In its PromQL, `$W` stands for the rate window (`60s`), `$Q` for the quantile (`0.95`), and
/// `$S` for the matchers of one service (nothing, if all services are asked for).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    pub measure: Measure,
    pub promql: String,
}

/// What a query measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Measure {
    Rate,
    Errors,
    P50,
    P95,
    P99,
    Active,
    BackendRate,
    BackendErrors,
    BackendP95,
    BackendMean,
    Weight,
    ConfiguredWeight,
    State,
}

impl Measure {
    /// The measures with their keys in the config and their documentation.
    pub const ALL: [(Self, &'static str, &'static str); 13] = [
        (Self::Rate, "rate", "requests per second, by service, backend and the labels of `failed`"),
        (Self::Errors, "errors", "failed requests per second, if `rate` has no label with the outcome"),
        (Self::P50, "p50", "median response time by service"),
        (Self::P95, "p95", "95th percentile of the response time by service"),
        (Self::P99, "p99", "99th percentile of the response time by service"),
        (Self::Active, "active", "current requests or connections, by backend or by service"),
        (Self::BackendRate, "backend_rate", "requests per second by backend, if `rate` names no backends"),
        (Self::BackendErrors, "backend_errors", "failed requests per second by backend"),
        (Self::BackendP95, "backend_p95", "95th percentile of the response time by backend"),
        (Self::BackendMean, "backend_mean", "mean response time by backend"),
        (Self::Weight, "weight", "effective weight by backend"),
        (Self::ConfiguredWeight, "configured_weight", "configured weight by backend"),
        (Self::State, "state", "whether a backend is up, by backend and the labels of `up`"),
    ];

    /// The key in the config.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(measure, ..)| *measure == self).map_or("", |(_, key, _)| key)
    }

    /// Whether it is queried with each refresh. The others can take turns.
    pub fn is_essential(self) -> bool {
        matches!(self, Self::Rate | Self::Errors)
    }

    /// Whether a service or backend is shown that has only this number.
    pub fn is_proof(self) -> bool {
        matches!(self, Self::Rate | Self::BackendRate | Self::Weight | Self::ConfiguredWeight | Self::State)
    }

    /// The quantile, if the measure is one.
    pub fn quantile(self) -> Option<&'static str> {
        match self {
            Self::P50 => Some("0.5"),
            Self::P95 | Self::BackendP95 => Some("0.95"),
            Self::P99 => Some("0.99"),
            _ => None,
        }
    }
}

/// One element of an instant vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub labels: Vec<(String, String)>,
    /// The value, or `None` for NaN and infinities.
    pub value: Option<f64>,
}

impl Sample {
    /// Returns the value of a label, or "" if it is absent, as in PromQL.
    pub fn label(&self, key: &str) -> &str {
        self.labels.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v)
    }
}

impl Preset {
    /// The query of a measure.
    pub fn query(&self, measure: Measure) -> Option<&Query> {
        self.queries.iter().find(|query| query.measure == measure)
    }
}

/// A built-in preset. The fields are those of [`Preset`].
struct Entry {
    name: &'static str,
    doc: &'static str,
    counter: &'static str,
    namespace: &'static [&'static str],
    service: &'static [(&'static str, &'static str)],
    backend: &'static [&'static str],
    failed: &'static [(&'static str, &'static str)],
    up: &'static [(&'static str, &'static str)],
    unit: Unit,
    policy: Option<Policy>,
    queries: &'static [(Measure, &'static str)],
}

/// What an entry has unless it says otherwise.
const NONE: Entry = Entry {
    name: "",
    doc: "",
    counter: "",
    namespace: &[],
    service: &[],
    backend: &[],
    failed: &[],
    up: &[],
    unit: Unit::Seconds,
    policy: None,
    queries: &[],
};

/// The built-in presets, in the order in which `auto` prefers them.
const BUILT_IN: [Entry; 10] = [
    proxies::HAPROXY,
    meshes::ISTIO,
    meshes::LINKERD,
    proxies::ENVOY_GATEWAY,
    proxies::CONTOUR,
    proxies::TRAEFIK,
    proxies::INGRESS_NGINX,
    apps::HTTP_REQUESTS,
    apps::OTEL,
    apps::GRPC,
];

impl From<&Entry> for Preset {
    fn from(entry: &Entry) -> Self {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let labels = |list: &[(&str, &str)]| {
            let label =
                |(label, text): &(&str, &str)| LabelText { label: (*label).into(), text: (*text).into() };
            list.iter().map(label).collect()
        };
        let query =
            |(measure, promql): &(Measure, &str)| Query { measure: *measure, promql: (*promql).into() };
        Self {
            name: entry.name.into(),
            doc: entry.doc.into(),
            counter: entry.counter.into(),
            namespace: texts(entry.namespace),
            service: labels(entry.service),
            backend: texts(entry.backend),
            failed: labels(entry.failed),
            up: labels(entry.up),
            unit: entry.unit,
            policy: entry.policy,
            queries: entry.queries.iter().map(query).collect(),
        }
    }
}

/// Returns all presets: those of the config, of which one can replace a built-in one, then the other built-in ones.
pub fn all(own: &[Preset]) -> Vec<Preset> {
    let is_own = |entry: &&Entry| own.iter().any(|one| one.name == entry.name);
    own.iter().cloned().chain(BUILT_IN.iter().filter(|entry| !is_own(entry)).map(Preset::from)).collect()
}

/// The name that stands for all presets which are not named.
pub const AUTO: &str = "auto";

/// Returns the presets of these names, in their order. `auto` stands for all presets that are not named.
pub fn wanted(names: &[String], own: &[Preset]) -> Vec<Preset> {
    let auto = [AUTO.to_owned()];
    let names = if names.is_empty() { &auto } else { names };
    let mut wanted: Vec<Preset> = Vec::new();
    for name in names {
        let meant = |preset: &Preset| {
            let by_name = |name: &String| preset.name == name.as_str();
            if name == AUTO { !names.iter().any(by_name) } else { by_name(name) }
        };
        for preset in all(own).into_iter().filter(meant) {
            if !wanted.iter().any(|one| one.name == preset.name) {
                wanted.push(preset);
            }
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::traffic::{BackendTraffic, ServiceTraffic};

    fn names(names: &[&str], own: &[Preset]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        wanted(&names, own).into_iter().map(|preset| preset.name.to_string()).collect()
    }

    fn built_in(name: &str) -> Preset {
        all(&[]).into_iter().find(|preset| preset.name == name).unwrap()
    }

    #[test]
    fn auto_stands_for_the_presets_that_are_not_named() {
        let every = [
            "haproxy",
            "istio",
            "linkerd",
            "envoy-gateway",
            "contour",
            "traefik",
            "ingress-nginx",
            "http_requests_total",
            "otel",
            "grpc",
        ];
        assert_eq!(names(&[], &[]), every);
        assert_eq!(names(&["auto", "haproxy"], &[]), [&every[1..], &every[..1]].concat());
        assert_eq!(names(&["grpc", "grpc"], &[]), ["grpc"]);
        let own = ["shop", "istio"].map(|name| Preset { name: name.into(), ..Preset::default() });
        assert_eq!(names(&["auto"], &own)[..3], ["shop", "istio", "haproxy"], "own ones first");
        assert_eq!(names(&["istio", "shop"], &own), ["istio", "shop"]);
        assert_eq!(wanted(&["istio".into()], &own)[0].counter, "", "it replaces the built-in one");
    }

    /// The table is data, so what a compiler would find is found here.
    #[test]
    fn every_entry_is_whole() {
        for preset in all(&[]) {
            let measures: BTreeSet<Measure> = preset.queries.iter().map(|query| query.measure).collect();
            assert_eq!(measures.len(), preset.queries.len(), "{}: a measure twice", preset.name);
            assert!(measures.contains(&Measure::Rate) && !preset.service.is_empty(), "{}", preset.name);
            let labels = preset.namespace.iter().chain(preset.service.iter().map(|reader| &reader.label));
            let labels: Vec<&String> = labels.collect();
            for query in &preset.queries {
                let promql = &query.promql;
                let open = promql.matches('(').count();
                assert_eq!(open, promql.matches(')').count(), "{promql}");
                assert!(promql.contains("$S}"), "a service can be asked for: {promql}");
                assert_eq!(promql.contains("$Q"), query.measure.quantile().is_some(), "{promql}");
                for group in promql.split(" by (").skip(1) {
                    let group: Vec<&str> = group.split_once(')').unwrap().0.split(", ").collect();
                    for label in &labels {
                        assert!(
                            group.contains(&label.as_str()),
                            "{}: {label} is not in {promql}",
                            preset.name
                        );
                    }
                }
                let filled = filled(query, 60, "");
                assert!(!filled.contains('$') && !filled.contains(",}"), "{filled}");
            }
            for reader in &preset.service {
                assert_eq!(form::fault(&reader.text), None, "{reader}");
            }
            let failing: BTreeSet<&str> = preset.failed.iter().map(|one| one.label.as_str()).collect();
            let rate = &preset.query(Measure::Rate).unwrap().promql;
            assert!(failing.iter().all(|label| rate.contains(label)), "{rate}");
        }
    }

    #[test]
    fn ids_are_read_by_their_forms() {
        for (form, id, readings) in [
            ("httproute/{namespace}/{name}/rule/{}", "httproute/shop/web/rule/0", &[("shop", "web")][..]),
            ("httproute/{namespace}/{name}/rule/{}", "grpcroute/shop/web/rule/0", &[]),
            ("{namespace}_{name}_{}", "my-shop_web_8080", &[("my-shop", "web")]),
            ("{namespace}/{name}/{}/{}", "shop/web/80/da39a3ee5e", &[("shop", "web")]),
            ("{namespace}/{name}/{}/{}", "shop/web", &[]),
            (
                "outbound|{}|{}|{name}.{namespace}.svc.{}",
                "outbound|80||web.shop.svc.cluster.local",
                &[("shop", "web")],
            ),
            (
                "outbound|{}|{}|{name}.{namespace}.svc.{}",
                "outbound|80|v2|web.shop.svc.cluster.local",
                &[("shop", "web")],
            ),
            ("outbound|{}|{}|{name}.{namespace}.svc.{}", "inbound|80||", &[]),
            ("{namespace}-{name}-{}@kubernetes", "shop-web-80@kubernetes", &[("shop", "web")]),
            (
                "{namespace}-{name}-{}@kubernetes",
                "my-shop-web-80@kubernetes",
                &[("my", "shop-web"), ("my", "shop"), ("my-shop", "web")],
            ),
            ("{name}@{}", "web@file", &[("", "web")]),
            ("{namespace}/{name}", "shop/web", &[("shop", "web")]),
            ("{namespace}/{name}", "Shop/web", &[]),
        ] {
            assert_eq!(form::readings(form, id), readings, "{form} {id}");
        }
        let many = form::readings("{namespace}-{name}-{}", "a-b-c-d-e-f-g-h-i-j-k");
        assert_eq!(many.len(), 8, "a limited number");
        for (form, is_wrong) in
            [("{name}", false), ("{namespace}", true), ("{namespace}{name}", true), ("", false)]
        {
            assert_eq!(form::fault(form).is_some(), is_wrong, "{form}");
        }
        assert_eq!(form::regex("a|{}-{name}.{namespace}", "shop", "w.b"), r"a\|.*-w\.b\.shop");
    }

    fn traffic(selector: &str, backend_label: &str, window_secs: u32) -> ServiceTraffic {
        ServiceTraffic {
            selector: selector.into(),
            backend_label: backend_label.into(),
            window_secs,
            ..ServiceTraffic::default()
        }
    }

    #[test]
    fn the_promql_of_one_number() {
        let haproxy = built_in("haproxy");
        let web = traffic("proxy=\"web\"", "server", 60);
        let server = BackendTraffic { name: "a\"b".into(), ..BackendTraffic::default() };
        assert_eq!(
            promql(&haproxy, Measure::Weight, &web, Some(&server)).unwrap(),
            "max by (proxy, server) (haproxy_server_weight{proxy=\"web\",server=\"a\\\"b\"})"
        );
        assert_eq!(
            promql(&haproxy, Measure::Errors, &web, None).unwrap(),
            "sum by (proxy, server, code) (rate(haproxy_server_http_responses_total{proxy=\"web\",code=~\"5.*\"}[60s]))"
        );
        assert_eq!(promql(&haproxy, Measure::P95, &web, None), None, "it has no quantiles");
        let grpc = built_in("grpc");
        let pay = traffic("namespace=\"shop\",service=\"pay\"", "pod", 120);
        let pod = BackendTraffic {
            name: "pay-0".into(),
            address: "10.0.0.1:80".into(),
            ..BackendTraffic::default()
        };
        assert_eq!(
            promql(&grpc, Measure::Rate, &pay, Some(&pod)).unwrap(),
            "sum by (namespace, service, job, pod, instance, grpc_code) (rate(grpc_server_handled_total\
             {namespace=\"shop\",service=\"pay\",pod=\"10.0.0.1:80\"}[120s]))",
            "the source knows it by its address"
        );
        let istio = promql(&built_in("istio"), Measure::Errors, &traffic("a=\"b\"", "", 60), None).unwrap();
        assert_eq!(istio.matches(" or ").count(), 1, "{istio}");
        assert!(istio.contains("grpc_response_status=~\"2|4|12|13|14|15\""), "{istio}");
    }

    #[test]
    fn a_rate_can_end_with_its_series() {
        let query = |measure| built_in("http_requests_total").query(measure).unwrap().promql.clone();
        assert_eq!(
            only_current(&query(Measure::BackendMean)),
            "sum by (namespace, service, job, pod, instance) ((rate(http_request_duration_seconds_sum{$S}[$W]) and \
             http_request_duration_seconds_sum{$S})) / sum by (namespace, service, job, pod, instance) \
             ((rate(http_request_duration_seconds_count{$S}[$W]) and http_request_duration_seconds_count{$S}))"
        );
        let envoy = only_current(&built_in("envoy-gateway").query(Measure::Rate).unwrap().promql);
        assert!(
            envoy.contains("\"(http|grpc)route/.+\",$S}[$W]) and envoy_cluster_upstream_rq_xx{"),
            "{envoy}"
        );
        let irate = "sum(irate(x[$W])) or rate(y[$W])";
        assert_eq!(only_current(irate), "sum(irate(x[$W])) or(rate(y[$W]) and y)");
        assert_eq!(only_current("max by (a) (b{$S})"), "max by (a) (b{$S})");
    }
}
