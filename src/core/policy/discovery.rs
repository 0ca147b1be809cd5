//! Which Services of a cluster can be a Prometheus, or another server that speaks its API, and which can be a log store.
//! [`PROMETHEUS`], [`ALERTMANAGER`], [`LOKI`] and [`VICTORIA_LOGS`] are tables of the usual installations; [`candidates`] works for all.

use crate::domain::found::ServiceAddress;
use crate::domain::service::{Service, ServicePort, ServiceType};

/// A server that can be searched for.
#[derive(Debug)]
pub struct Product {
    /// As people write it: `Prometheus`.
    pub name: &'static str,
    /// The usual installations. The first one that a Service looks like counts, so special ones come before general
    /// ones.
    installations: &'static [Installation],
    /// Names and labels of Services that belong to the same installations, but are something else.
    never: &'static [&'static str],
}

/// One way in which people install a product.
#[derive(Debug)]
struct Installation {
    name: &'static str,
    /// What a Service of this installation has. All of them must match.
    marks: &'static [Mark],
    /// Names or numbers of the port, in the order of preference.
    ports: &'static [&'static str],
    /// Whether the port speaks HTTPS. Otherwise, the Service tells.
    https: bool,
    prefix: &'static str,
    /// Lower numbers are preferred.
    preference: u8,
}

/// What identifies a Service. A value can begin or end with `*`, for any text.
#[derive(Debug)]
enum Mark {
    Namespace(&'static str),
    Name(&'static str),
    /// A label that names the application, and its value.
    Label(&'static str, &'static str),
    /// A port with this name and number.
    Port(&'static str, u16),
}

use Mark::{Label, Name, Namespace, Port};

const NAME: &str = "app.kubernetes.io/name";
const COMPONENT: &str = "app.kubernetes.io/component";

const fn row(
    name: &'static str,
    preference: u8,
    marks: &'static [Mark],
    ports: &'static [&'static str],
) -> Installation {
    Installation { name, marks, ports, https: false, prefix: "", preference }
}

impl Installation {
    const fn https(self) -> Self {
        Self { https: true, ..self }
    }

    const fn below(self, prefix: &'static str) -> Self {
        Self { prefix, ..self }
    }
}

const WEB: &[&str] = &["web", "http-web", "http", "9090", "80"];
const METRICS: &[&str] = &["http-metrics", "http-metric", "http", "80", "8080"];

/// Prometheus, and the servers with the same API. Servers that have only the data of this cluster come before those
/// that can have the data of others (Thanos, Mimir, Cortex), because names of Services are unique only within a
/// cluster. The Prometheus of a service mesh comes last, because it often has the metrics of the mesh only.
pub const PROMETHEUS: Product = Product {
    name: "Prometheus",
    installations: &[
        row("OpenShift", 2, &[Namespace("openshift-monitoring"), Name("thanos-querier")], &["web", "9091"])
            .https(),
        row("OpenShift", 3, &[Namespace("openshift-monitoring"), Name("prometheus-k8s")], &["web", "9091"])
            .https(),
        row("Istio addon", 40, &[Namespace("istio-system"), Name("prometheus*")], WEB),
        row(
            "Linkerd viz",
            41,
            &[Namespace("linkerd-viz"), Name("prometheus")],
            &["admin", "admin-http", "9090"],
        ),
        row("kube-prometheus-stack", 1, &[Label("app", "*kube-prometheus-stack-prometheus")], WEB),
        row("Rancher monitoring", 1, &[Label("app", "rancher-monitoring-prometheus")], WEB),
        row("kube-prometheus", 1, &[Name("prometheus-k8s")], WEB),
        // one Service for all Prometheuses of the operator in this namespace, which can have different data
        row("Prometheus Operator", 6, &[Name("prometheus-operated")], WEB),
        row("Prometheus Operator", 6, &[Label("operated-prometheus", "true")], WEB),
        row("Prometheus chart", 2, &[Name("*prometheus-server")], WEB),
        row("Prometheus chart", 2, &[Label(NAME, "prometheus"), Label(COMPONENT, "server")], WEB),
        row("VictoriaMetrics", 20, &[Name("vmsingle-*")], &["http", "8429", "8428"]),
        row("VictoriaMetrics", 20, &[Label(NAME, "vmsingle")], &["http", "8429", "8428"]),
        row("VictoriaMetrics", 20, &[Label(NAME, "victoria-metrics-single")], &["http", "8428"]),
        row("VictoriaMetrics cluster", 21, &[Name("vmselect-*")], &["http", "8481"])
            .below("/select/0/prometheus"),
        row("VictoriaMetrics cluster", 21, &[Name("*-vmselect")], &["http", "8481"])
            .below("/select/0/prometheus"),
        row("VictoriaMetrics cluster", 21, &[Label(NAME, "vmselect")], &["http", "8481"])
            .below("/select/0/prometheus"),
        row("Thanos", 30, &[Name("*thanos-query-frontend")], &["http", "9090", "10902"]),
        row("Thanos", 31, &[Name("*thanos-quer*")], &["http", "9090", "10902"]),
        row("Thanos", 31, &[Label(NAME, "thanos-quer*")], &["http", "9090", "10902"]),
        row("Thanos", 31, &[Label(NAME, "thanos"), Label(COMPONENT, "quer*")], &["http", "9090", "10902"]),
        row("Mimir", 32, &[Name("*mimir-nginx")], METRICS).below("/prometheus"),
        row("Mimir", 32, &[Name("*mimir-gateway")], METRICS).below("/prometheus"),
        row("Mimir", 33, &[Name("*mimir-query-frontend")], METRICS).below("/prometheus"),
        row("Cortex", 34, &[Name("*cortex-nginx")], METRICS).below("/prometheus"),
        row("Cortex", 34, &[Name("*cortex-gateway")], METRICS).below("/prometheus"),
        row("Cortex", 35, &[Name("*cortex-query-frontend")], METRICS).below("/prometheus"),
        row("Managed Service for Prometheus", 45, &[Name("frontend"), Port("web", 9090)], &["web"]),
        row("label app.kubernetes.io/name", 4, &[Label(NAME, "prometheus")], WEB),
        row("label app", 4, &[Label("app", "prometheus")], WEB),
        row("label app", 4, &[Label("app", "prometheus-server")], WEB),
        row("label k8s-app", 4, &[Label("k8s-app", "prometheus")], WEB),
        row("name", 7, &[Name("prometheus")], WEB),
        row("name", 8, &[Name("prometheus-*")], WEB),
        row("name", 8, &[Name("*-prometheus")], WEB),
    ],
    never: &[
        "*alertmanager*",
        "*exporter*",
        "*pushgateway*",
        "*adapter*",
        "*-operator",
        "*kube-state-metrics*",
        "grafana",
        "*-grafana",
        "*blackbox*",
        "*webhook*",
        "*-discovery",
        "*sidecar*",
        "*-headless",
        "*-agent",
        "prometheus-agent*",
        "*ruler*",
        "*vmagent*",
        "*vmalert*",
        "*vminsert*",
        "*vmstorage*",
        "*vmauth*",
        "*store-gateway*",
        "*storegateway*",
        "*compactor*",
    ],
};

const ALERTMANAGER_PORTS: &[&str] = &["web", "http-web", "http", "alertmanager", "9093", "80"];

/// The Alertmanager, and the servers with the same API. One that can have the alerts of other clusters (Mimir, Cortex)
/// comes last. The Service of the operator (`alertmanager-operated`) stands for all Alertmanagers of its namespace.
pub const ALERTMANAGER: Product = Product {
    name: "Alertmanager",
    installations: &[
        row(
            "OpenShift",
            2,
            &[Namespace("openshift-monitoring"), Name("alertmanager-main")],
            &["web", "9094"],
        )
        .https(),
        row(
            "kube-prometheus-stack",
            1,
            &[Label("app", "*kube-prometheus-stack-alertmanager")],
            ALERTMANAGER_PORTS,
        ),
        row("Rancher monitoring", 1, &[Label("app", "rancher-monitoring-alertmanager")], ALERTMANAGER_PORTS),
        row("kube-prometheus", 1, &[Name("alertmanager-main")], ALERTMANAGER_PORTS),
        row("Prometheus Operator", 6, &[Name("alertmanager-operated")], ALERTMANAGER_PORTS),
        row("Mimir", 32, &[Name("*mimir-alertmanager")], METRICS).below("/alertmanager"),
        row("Mimir", 33, &[Name("*mimir-gateway")], METRICS).below("/alertmanager"),
        row("Mimir", 33, &[Name("*mimir-nginx")], METRICS).below("/alertmanager"),
        row("Cortex", 34, &[Name("*cortex-alertmanager")], METRICS).below("/alertmanager"),
        row("VictoriaMetrics operator", 2, &[Label(NAME, "vmalertmanager")], ALERTMANAGER_PORTS),
        row("VictoriaMetrics operator", 2, &[Name("vmalertmanager-*")], ALERTMANAGER_PORTS),
        row("Prometheus chart", 2, &[Name("*prometheus-alertmanager")], ALERTMANAGER_PORTS),
        row(
            "Managed Service for Prometheus",
            3,
            &[Namespace("gmp-system"), Name("alertmanager")],
            ALERTMANAGER_PORTS,
        ),
        row("label app.kubernetes.io/name", 4, &[Label(NAME, "alertmanager")], ALERTMANAGER_PORTS),
        row("label app.kubernetes.io/component", 4, &[Label(COMPONENT, "alertmanager")], ALERTMANAGER_PORTS),
        row("label app", 4, &[Label("app", "alertmanager")], ALERTMANAGER_PORTS),
        row("label k8s-app", 4, &[Label("k8s-app", "alertmanager")], ALERTMANAGER_PORTS),
        row("name", 7, &[Name("alertmanager")], ALERTMANAGER_PORTS),
        row("name", 8, &[Name("alertmanager-*")], ALERTMANAGER_PORTS),
        row("name", 8, &[Name("*-alertmanager")], ALERTMANAGER_PORTS),
    ],
    never: &[
        "*exporter*",
        "*operator*",
        "*headless*",
        "*webhook*",
        "*discovery*",
        "*sidecar*",
        "*-bot*",
        "*receiver*",
        "*dashboard*",
        "*discord*",
        "*telegram*",
        "*teams*",
        "*-to-*",
        "*alertmanager2*",
        "*karma*",
        "grafana",
        "*-grafana",
    ],
};

const LOKI_PORTS: &[&str] = &["http-metrics", "http", "3100", "80"];
const GATEWAY: &[&str] = &["http", "http-metrics", "80", "8080"];

/// Loki. Its gateway comes last, because it can ask for a password.
pub const LOKI: Product = Product {
    name: "Loki",
    installations: &[
        row("OpenShift Logging", 9, &[Namespace("openshift-logging"), Name("*-gateway-http")], &["public"])
            .https()
            .below("/api/logs/v1/application"),
        row("Loki query frontend", 1, &[Name("*loki-query-frontend")], LOKI_PORTS),
        row(
            "Loki query frontend",
            1,
            &[Label(NAME, "loki*"), Label(COMPONENT, "query-frontend")],
            LOKI_PORTS,
        ),
        row("Loki read", 2, &[Name("*loki-read")], LOKI_PORTS),
        row("Loki read", 2, &[Label(NAME, "loki*"), Label(COMPONENT, "read")], LOKI_PORTS),
        row("Loki gateway", 5, &[Name("*loki-gateway")], GATEWAY),
        row("Loki gateway", 5, &[Label(NAME, "loki*"), Label(COMPONENT, "gateway")], GATEWAY),
        row("Loki chart", 1, &[Label(NAME, "loki")], LOKI_PORTS),
        row("Loki stack", 3, &[Label("app", "loki")], LOKI_PORTS),
        row("name", 4, &[Name("loki")], LOKI_PORTS),
        row("name", 7, &[Name("loki-*")], &["http-metrics", "3100"]),
        row("name", 7, &[Name("*-loki")], &["http-metrics", "http", "3100"]),
    ],
    never: &[
        "*memberlist*",
        "*headless*",
        "*canary*",
        "*-cache",
        "*-write",
        "write",
        "*backend*",
        "*ingester*",
        "*distributor*",
        "*querier*",
        "*query-scheduler*",
        "*index-gateway*",
        "*compactor*",
        "*ruler*",
        "*bloom*",
        "*promtail*",
        "*minio*",
        "*memcached*",
        "*-grpc*",
        "*operator*",
        "grafana",
        "*-grafana",
    ],
};

/// VictoriaLogs.
pub const VICTORIA_LOGS: Product = Product {
    name: "VictoriaLogs",
    installations: &[
        row("VictoriaLogs chart", 1, &[Label(NAME, "victoria-logs-single")], &["http", "9428"]),
        row("VictoriaLogs chart", 1, &[Name("*victoria-logs-single-server")], &["http", "9428"]),
        row("VictoriaMetrics operator", 2, &[Label(NAME, "vlsingle")], &["http", "9428"]),
        row("VictoriaMetrics operator", 2, &[Name("vlsingle-*")], &["http", "9428"]),
        row("VictoriaMetrics operator", 2, &[Label(NAME, "vlogs")], &["http", "9428"]),
        row("VictoriaMetrics operator", 2, &[Name("vlogs-*")], &["http", "9428"]),
        row("VictoriaLogs cluster", 3, &[Label(NAME, "vlselect")], &["http", "9471"]),
        row("VictoriaLogs cluster", 3, &[Name("vlselect-*")], &["http", "9471"]),
        row("VictoriaLogs cluster", 3, &[Name("*-vlselect")], &["http", "9471"]),
        row("name", 5, &[Name("*victorialogs*")], &["http", "9428"]),
        row("name", 5, &[Name("*victoria-logs*")], &["http", "9428"]),
    ],
    never: &["*vlinsert*", "*vlstorage*", "*vlagent*", "*vmauth*", "*collector*", "*-headless", "*operator*"],
};

/// A Service that can be the searched server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub address: ServiceAddress,
    /// The installation that it looks like, or the label or name by which it was chosen.
    pub installation: &'static str,
}

/// Returns the Services that can be the product, the preferred one first.
pub fn candidates<'a>(product: &Product, services: impl IntoIterator<Item = &'a Service>) -> Vec<Candidate> {
    let mut ranked: Vec<(u8, Candidate)> =
        services.into_iter().filter_map(|service| candidate(product, service)).collect();
    ranked.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.address.cmp(&other.address)));
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

fn candidate(product: &Product, service: &Service) -> Option<(u8, Candidate)> {
    // the API server does not proxy to another name
    if service.kind == ServiceType::ExternalName || is_another(product, service) {
        return None;
    }
    let looks_like = |installation: &&Installation| {
        installation.marks.iter().all(|mark| mark.is_of(service)) && installation.port(service).is_some()
    };
    let installation = product.installations.iter().find(looks_like)?;
    let port = installation.port(service)?;
    let number = port.port.to_string();
    let word = if port.name.is_empty() { number.as_str() } else { &port.name };
    let https = installation.https || port.https || port.name.starts_with("https");
    let address = ServiceAddress::new(&service.namespace, &service.name, word, https, installation.prefix)?;
    Some((installation.preference, Candidate { address, installation: installation.name }))
}

/// Whether the Service is another part of an installation.
fn is_another(product: &Product, service: &Service) -> bool {
    let labels = ["app", NAME, COMPONENT, "k8s-app"].into_iter().filter_map(|key| service.app_label(key));
    let words = std::iter::once(&service.name).chain(labels);
    words.into_iter().any(|word| product.never.iter().any(|never| fits(never, word)))
}

/// Whether a text has this form. Unlike a glob of the config, it costs no allocation: a cluster can have thousands of
/// Services, and each is compared with the whole table.
fn fits(form: &str, text: &str) -> bool {
    match (form.strip_prefix('*'), form.strip_suffix('*')) {
        (Some(rest), Some(_)) => text.contains(rest.trim_end_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => form == text,
    }
}

impl Mark {
    fn is_of(&self, service: &Service) -> bool {
        match self {
            Namespace(wanted) => fits(wanted, &service.namespace),
            Name(wanted) => fits(wanted, &service.name),
            Label(key, wanted) => service.app_label(key).is_some_and(|value| fits(wanted, value)),
            Port(name, number) => service.ports.iter().any(|p| p.name == *name && p.port == *number),
        }
    }
}

impl Installation {
    fn port<'a>(&self, service: &'a Service) -> Option<&'a ServicePort> {
        let is = |port: &&ServicePort, wanted: &str| {
            port.name == wanted || wanted.parse().is_ok_and(|number: u16| port.port == number)
        };
        self.ports.iter().find_map(|wanted| service.ports.iter().find(|port| is(port, wanted)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::selector::Selector;

    /// `NAMESPACE/NAME label=value … : port=number …`; a label that begins with `@` is one of the selector.
    fn service(text: &str) -> Service {
        let (head, ports) = text.split_once(" : ").unwrap();
        let mut words = head.split(' ');
        let (namespace, name) = words.next().unwrap().split_once('/').unwrap();
        let (mut app, mut selects) = (Vec::new(), Vec::new());
        for label in words {
            let (key, value) = label.trim_start_matches('@').split_once('=').unwrap();
            let key = match key {
                "name" => NAME,
                "component" => COMPONENT,
                other => other,
            };
            let to = if label.starts_with('@') { &mut selects } else { &mut app };
            to.push((key.into(), value.into()));
        }
        let ports = ports.split(' ').map(|port| {
            let (name, number) = port.split_once('=').unwrap();
            ServicePort { name: name.into(), port: number.parse().unwrap(), https: false }
        });
        Service {
            namespace: namespace.into(),
            name: name.into(),
            ports: ports.collect(),
            app: app.into(),
            selector: Arc::new(Selector::from_labels(selects)),
            ..Service::default()
        }
    }

    fn found(texts: &[&str]) -> Vec<String> {
        found_of(&PROMETHEUS, texts)
    }

    fn found_of(product: &Product, texts: &[&str]) -> Vec<String> {
        let services: Vec<Service> = texts.iter().map(|text| service(text)).collect();
        let found = candidates(product, &services);
        found.iter().map(|c| format!("{} {}", c.address, c.installation)).collect()
    }

    #[test]
    fn each_usual_alertmanager_is_recognised() {
        for (text, want) in [
            (
                "monitoring/kps-kube-prometheus-stack-alertmanager app=kube-prometheus-stack-alertmanager \
                 @name=alertmanager : http-web=9093 reloader-web=8080",
                "monitoring/kps-kube-prometheus-stack-alertmanager:http-web kube-prometheus-stack",
            ),
            (
                "monitoring/alertmanager-main name=alertmanager component=alert-router : web=9093 reloader-web=8080",
                "monitoring/alertmanager-main:web kube-prometheus",
            ),
            (
                "monitoring/alertmanager-operated : http-web=9093 tcp-mesh=9094 udp-mesh=9094",
                "monitoring/alertmanager-operated:http-web Prometheus Operator",
            ),
            (
                "openshift-monitoring/alertmanager-main : web=9094 tenancy=9092 metrics=9097",
                "openshift-monitoring/https:alertmanager-main:web OpenShift",
            ),
            (
                "prometheus/prometheus-alertmanager name=alertmanager : http=9093",
                "prometheus/prometheus-alertmanager:http Prometheus chart",
            ),
            ("am/am name=alertmanager : http=9093", "am/am:http label app.kubernetes.io/name"),
            (
                "vm/vmalertmanager-main name=vmalertmanager : web=9093",
                "vm/vmalertmanager-main:web VictoriaMetrics operator",
            ),
            (
                "mimir/mimir-alertmanager name=mimir : http-metrics=8080",
                "mimir/mimir-alertmanager:http-metrics/alertmanager Mimir",
            ),
            (
                "mimir/mimir-gateway name=mimir : http-metrics=80",
                "mimir/mimir-gateway:http-metrics/alertmanager Mimir",
            ),
            (
                "gmp-system/alertmanager : alertmanager=9093",
                "gmp-system/alertmanager:alertmanager Managed Service for Prometheus",
            ),
            ("a/alertmanager : =9093", "a/alertmanager:9093 name"),
        ] {
            assert_eq!(found_of(&ALERTMANAGER, &[text]), [want], "{text}");
        }
        for text in [
            "a/alertmanager-discord : http=9094",
            "a/alertmanager-to-github : http=8080",
            "a/alertmanager-headless : http=9093",
            "a/alertmanager-operator : http=8080",
            "a/prometheus-server : http=80",
            "a/mimir-alertmanager-headless : http-metrics=8080",
            "a/alertmanager : metrics=8080",
        ] {
            assert_eq!(found_of(&ALERTMANAGER, &[text]), [""; 0], "{text}");
        }
        assert_eq!(
            found_of(
                &ALERTMANAGER,
                &[
                    "m/alertmanager-operated : web=9093",
                    "m/kps-alertmanager app=kube-prometheus-stack-alertmanager : http-web=9093",
                ]
            ),
            [
                "m/kps-alertmanager:http-web kube-prometheus-stack",
                "m/alertmanager-operated:web Prometheus Operator"
            ],
            "that of the installation comes before that of the operator"
        );
    }

    #[test]
    fn each_usual_installation_is_recognised() {
        for (text, want) in [
            (
                "monitoring/kps-kube-prometheus-stack-prometheus app=kube-prometheus-stack-prometheus \
                 @name=prometheus : http-web=9090 reloader-web=8080",
                "monitoring/kps-kube-prometheus-stack-prometheus:http-web kube-prometheus-stack",
            ),
            (
                "observability/kube-prom-stack-kube-prome-prometheus app=kube-prometheus-stack-prometheus \
                 @name=prometheus : http-web=9090 reloader-web=8080",
                "observability/kube-prom-stack-kube-prome-prometheus:http-web kube-prometheus-stack",
            ),
            (
                "cattle-monitoring-system/rancher-monitoring-prometheus app=rancher-monitoring-prometheus : http-web=9090",
                "cattle-monitoring-system/rancher-monitoring-prometheus:http-web Rancher monitoring",
            ),
            (
                "monitoring/prometheus-operated operated-prometheus=true @name=prometheus : web=9090",
                "monitoring/prometheus-operated:web Prometheus Operator",
            ),
            (
                "monitoring/prometheus-k8s name=prometheus component=prometheus : reloader-web=8080 web=9090",
                "monitoring/prometheus-k8s:web kube-prometheus",
            ),
            (
                "monitoring/prometheus-server name=prometheus component=server : http=80",
                "monitoring/prometheus-server:http Prometheus chart",
            ),
            (
                "openshift-monitoring/thanos-querier name=thanos-query : web=9091 tenancy=9092",
                "openshift-monitoring/https:thanos-querier:web OpenShift",
            ),
            (
                "openshift-monitoring/prometheus-k8s name=prometheus : web=9091 metrics=9092",
                "openshift-monitoring/https:prometheus-k8s:web OpenShift",
            ),
            (
                "istio-system/prometheus name=prometheus component=server : http=9090",
                "istio-system/prometheus:http Istio addon",
            ),
            (
                "linkerd-viz/prometheus component=prometheus : admin=9090",
                "linkerd-viz/prometheus:admin Linkerd viz",
            ),
            (
                "thanos/thanos-query-frontend name=thanos component=query-frontend : http=9090",
                "thanos/thanos-query-frontend:http Thanos",
            ),
            ("t/x-thanos-query name=thanos-query : grpc=10901 http=9090", "t/x-thanos-query:http Thanos"),
            (
                "mimir/mimir-nginx name=mimir component=nginx : http-metric=80",
                "mimir/mimir-nginx:http-metric/prometheus Mimir",
            ),
            ("m/prod-mimir-gateway : http-metrics=80", "m/prod-mimir-gateway:http-metrics/prometheus Mimir"),
            (
                "m/mimir-query-frontend : http-metrics=8080 grpc=9095",
                "m/mimir-query-frontend:http-metrics/prometheus Mimir",
            ),
            (
                "m/a-grafana-mimir-gateway name=grafana-mimir : http=80",
                "m/a-grafana-mimir-gateway:http/prometheus Mimir",
            ),
            ("c/cortex-nginx : http-metrics=80", "c/cortex-nginx:http-metrics/prometheus Cortex"),
            ("vm/vmsingle-main name=vmsingle : http=8429", "vm/vmsingle-main:http VictoriaMetrics"),
            (
                "vm/vmselect-main name=vmselect : http=8481",
                "vm/vmselect-main:http/select/0/prometheus VictoriaMetrics cluster",
            ),
            (
                "vm/a-victoria-metrics-single-server name=victoria-metrics-single : http=8428",
                "vm/a-victoria-metrics-single-server:http VictoriaMetrics",
            ),
            ("gmp/frontend app=frontend : web=9090", "gmp/frontend:web Managed Service for Prometheus"),
            (
                "kube-system/prometheus k8s-app=prometheus : =9090",
                "kube-system/prometheus:9090 label k8s-app",
            ),
            ("a/metrics app=prometheus : https-web=9090", "a/https:metrics:https-web label app"),
            ("a/prometheus-service : http=8080 web=9090", "a/prometheus-service:web name"),
            ("a/my-prometheus : x=9090", "a/my-prometheus:x name"),
        ] {
            assert_eq!(found(&[text]), [want], "{text}");
        }
    }

    #[test]
    fn log_stores_are_recognised_too() {
        let found = |product: &Product, texts: &[&str]| {
            let services: Vec<Service> = texts.iter().map(|text| service(text)).collect();
            let found = candidates(product, &services);
            found.iter().map(|c| format!("{} {}", c.address, c.installation)).collect::<Vec<_>>()
        };
        let scalable = [
            "loki/loki-gateway name=loki component=gateway : http-metrics=80",
            "loki/loki-write name=loki component=write : http-metrics=3100 grpc=9095",
            "loki/loki-read name=loki component=read : http-metrics=3100 grpc=9095",
            "loki/loki-read-headless name=loki component=read : http-metrics=3100 grpc=9095",
            "loki/loki-backend name=loki component=backend : http-metrics=3100 grpc=9095",
            "loki/loki-memberlist name=loki : tcp=7946",
            "loki/loki-canary name=loki component=canary : http-metrics=3500",
            "loki/loki-chunks-cache name=loki component=memcached-chunks-cache : memcached-client=11211",
        ];
        assert_eq!(
            found(&LOKI, &scalable),
            ["loki/loki-read:http-metrics Loki read", "loki/loki-gateway:http-metrics Loki gateway"]
        );
        for (text, want) in [
            (
                "logs/loki name=loki component=single-binary : http-metrics=3100 grpc=9095",
                "logs/loki:http-metrics Loki chart",
            ),
            ("logs/loki app=loki : http-metrics=3100", "logs/loki:http-metrics Loki stack"),
            (
                "logs/x-loki-distributed-query-frontend name=loki-distributed component=query-frontend : http=3100 grpc=9095",
                "logs/x-loki-distributed-query-frontend:http Loki query frontend",
            ),
            (
                "openshift-logging/logging-loki-gateway-http : metrics=8081 public=8080",
                "openshift-logging/https:logging-loki-gateway-http:public/api/logs/v1/application OpenShift Logging",
            ),
        ] {
            assert_eq!(found(&LOKI, &[text]), [want], "{text}");
        }
        for (text, want) in [
            (
                "vl/x-victoria-logs-single-server name=victoria-logs-single app=server : http=9428",
                "vl/x-victoria-logs-single-server:http VictoriaLogs chart",
            ),
            ("vl/vlsingle-main name=vlsingle : http=9428", "vl/vlsingle-main:http VictoriaMetrics operator"),
            ("vl/vlselect-main name=vlselect : http=9471", "vl/vlselect-main:http VictoriaLogs cluster"),
        ] {
            assert_eq!(found(&VICTORIA_LOGS, &[text]), [want], "{text}");
        }
        let none: [&str; 0] = [];
        for text in ["vl/vlinsert-main name=vlinsert : http=9481", "m/prometheus : web=9090"] {
            assert_eq!(found(&VICTORIA_LOGS, &[text]), none, "{text}");
        }
    }

    #[test]
    fn other_parts_of_an_installation_are_never_one() {
        let none: [&str; 0] = [];
        for text in [
            "m/prometheus-node-exporter name=prometheus-node-exporter : metrics=9100 http=80",
            "m/kps-prometheus-node-exporter app=prometheus-node-exporter : http-metrics=9100 web=9090",
            "m/prometheus-alertmanager name=alertmanager : http=9093 web=9090",
            "m/alertmanager-operated operated-alertmanager=true : web=9093",
            "m/prometheus-prometheus-pushgateway name=prometheus-pushgateway : http=9091",
            "m/prometheus-operator name=prometheus-operator : https=8443 web=9090",
            "m/kps-operator app=kube-prometheus-stack-operator : https=443 web=9090",
            "m/prometheus-adapter name=prometheus-adapter : https=443 web=9090",
            "m/kps-thanos-discovery app=kube-prometheus-stack-thanos-discovery @name=prometheus : grpc=10901 http=10902",
            "m/prometheus-kube-state-metrics name=kube-state-metrics : http=8080",
            "m/prometheus-blackbox-exporter : http=9115",
            "m/thanos-ruler-operated : web=10902",
            "m/grafana app=grafana : http=80",
            "vm/vmagent-main name=vmagent : http=8429",
            "vm/vminsert-main name=vminsert : http=8480",
            "m/prometheus @name=prometheus : grpc=10901",
            "shop/frontend app=frontend : http=80",
            "shop/web : http=80",
        ] {
            assert_eq!(found(&[text]), none, "{text}");
        }
        let outside = Service { kind: ServiceType::ExternalName, ..service("a/prometheus : web=9090") };
        assert_eq!(candidates(&PROMETHEUS, [&outside]), []);
        let odd = Service { name: "prometheus/../x".into(), ..service("a/x app=prometheus : web=9090") };
        assert_eq!(candidates(&PROMETHEUS, [&odd]), []);
    }

    #[test]
    fn forms() {
        for (form, texts, others) in [
            ("a-b", &["a-b"][..], &["", "a-bc", "xa-b"][..]),
            ("*a-b", &["a-b", "xa-b"], &["a-bx", "b"]),
            ("a-*", &["a-", "a-b"], &["a", "xa-"]),
            ("*a*", &["a", "xay"], &["", "b"]),
        ] {
            assert!(texts.iter().all(|text| fits(form, text)), "{form}");
            assert!(!others.iter().any(|text| fits(form, text)), "{form}");
        }
    }

    #[test]
    fn the_preferred_one_comes_first_whatever_the_order_of_the_services() {
        let texts = [
            "linkerd-viz/prometheus component=prometheus : admin=9090",
            "thanos/thanos-query : http=9090",
            "monitoring/prometheus-operated operated-prometheus=true @name=prometheus : web=9090",
            "b/prometheus-server : http=80",
            "a/prometheus-server : http=80",
            "monitoring/kps app=kube-prometheus-stack-prometheus @name=prometheus : http-web=9090",
        ];
        let want = [
            "monitoring/kps:http-web kube-prometheus-stack",
            "a/prometheus-server:http Prometheus chart",
            "b/prometheus-server:http Prometheus chart",
            "monitoring/prometheus-operated:web Prometheus Operator",
            "thanos/thanos-query:http Thanos",
            "linkerd-viz/prometheus:admin Linkerd viz",
        ];
        assert_eq!(found(&texts), want);
        let mut turned = texts;
        turned.reverse();
        assert_eq!(found(&turned), want);
    }
}
