//! Presets of proxies and gateways.

use super::{Entry, Measure, NONE, Unit};

/// HAProxy's response times are means of the last 1024 requests. It has no quantiles.
pub(super) const HAPROXY: Entry = Entry {
    name: "haproxy",
    doc: "HAProxy's own exporter, by proxy and server: haproxy_server_http_responses_total",
    counter: "haproxy_server_http_responses_total",
    service: &[("proxy", "")],
    backend: &["server"],
    failed: &[("code", "5*")],
    // servers in DRAIN and NOLB finish their sessions and receive no new ones
    up: &[("state", "UP")],
    queries: &[
        (Measure::Rate, "sum by (proxy, server, code) (rate(haproxy_server_http_responses_total{$S}[$W]))"),
        (Measure::Active, "sum by (proxy, server) (haproxy_server_current_sessions{$S})"),
        (Measure::Weight, "max by (proxy, server) (haproxy_server_weight{$S})"),
        (Measure::BackendMean, "avg by (proxy, server) (haproxy_server_response_time_average_seconds{$S})"),
        (Measure::State, "max by (proxy, server, state) (haproxy_server_status{$S}) == 1"),
        (Measure::ConfiguredWeight, "max by (proxy, server) (haproxy_server_uweight{$S})"),
    ],
    ..NONE
};

/// The service is the route, because one cluster of Envoy stands for one rule of a route. The response classes are
/// counted when a response is complete, so that the errors are a part of the same number.
pub(super) const ENVOY_GATEWAY: Entry = Entry {
    name: "envoy-gateway",
    doc: "Envoy Gateway, by route: envoy_cluster_upstream_rq_xx; by endpoint if its per-endpoint statistics are enabled",
    counter: "envoy_cluster_upstream_rq_xx{envoy_cluster_name=~\"(http|grpc)route/.+\"}",
    service: &[
        ("envoy_cluster_name", "httproute/{namespace}/{name}/rule/{}"),
        ("envoy_cluster_name", "grpcroute/{namespace}/{name}/rule/{}"),
    ],
    backend: &["envoy_endpoint_address"],
    failed: &[("envoy_response_code_class", "5")],
    unit: Unit::Milliseconds,
    queries: ENVOY,
    ..NONE
};

/// Contour names its clusters `NAMESPACE_NAME_PORT` in statistics, and `NAMESPACE/NAME/PORT/HASH` elsewhere. Its own
/// clusters for statistics and administration have such names too.
pub(super) const CONTOUR: Entry = Entry {
    name: "contour",
    doc: "Contour's Envoy, by Service: envoy_cluster_upstream_rq_xx; by endpoint if its per-endpoint statistics are enabled",
    counter: "envoy_cluster_upstream_rq_xx{envoy_cluster_name=~\"[^_/]+_[^_/]+_[0-9]+|[^/]+/[^/]+/[0-9]+/[0-9a-f]+\",envoy_cluster_name!~\"projectcontour_(service-stats|envoy-admin)_.*\"}",
    service: &[
        ("envoy_cluster_name", "{namespace}_{name}_{}"),
        ("envoy_cluster_name", "{namespace}/{name}/{}/{}"),
    ],
    backend: &["envoy_endpoint_address"],
    failed: &[("envoy_response_code_class", "5")],
    unit: Unit::Milliseconds,
    queries: CONTOUR_QUERIES,
    ..NONE
};

const ENVOY_QUANTILE: &str = "histogram_quantile($Q, sum by (envoy_cluster_name, le) (rate(envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=~\"(http|grpc)route/.+\",$S}[$W])))";

const ENVOY: &[(Measure, &str)] = &[
    (
        Measure::Rate,
        "sum by (envoy_cluster_name, envoy_response_code_class) (rate(envoy_cluster_upstream_rq_xx{envoy_cluster_name=~\"(http|grpc)route/.+\",$S}[$W]))",
    ),
    (Measure::P50, ENVOY_QUANTILE),
    (Measure::P95, ENVOY_QUANTILE),
    (Measure::P99, ENVOY_QUANTILE),
    (
        Measure::Active,
        "sum by (envoy_cluster_name) (envoy_cluster_upstream_rq_active{envoy_cluster_name=~\"(http|grpc)route/.+\",$S}) or sum by (envoy_cluster_name, envoy_endpoint_address) (envoy_cluster_endpoint_rq_active{envoy_cluster_name=~\"(http|grpc)route/.+\",$S})",
    ),
    (
        Measure::BackendRate,
        "sum by (envoy_cluster_name, envoy_endpoint_address) (rate(envoy_cluster_endpoint_rq_total{envoy_cluster_name=~\"(http|grpc)route/.+\",$S}[$W]))",
    ),
    (
        Measure::BackendErrors,
        "sum by (envoy_cluster_name, envoy_endpoint_address) (rate(envoy_cluster_endpoint_rq_error{envoy_cluster_name=~\"(http|grpc)route/.+\",$S}[$W]))",
    ),
];

const CONTOUR_QUANTILE: &str = "histogram_quantile($Q, sum by (envoy_cluster_name, le) (rate(envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=~\"[^_/]+_[^_/]+_[0-9]+|[^/]+/[^/]+/[0-9]+/[0-9a-f]+\",envoy_cluster_name!~\"projectcontour_(service-stats|envoy-admin)_.*\",$S}[$W])))";

const CONTOUR_QUERIES: &[(Measure, &str)] = &[
    (
        Measure::Rate,
        "sum by (envoy_cluster_name, envoy_response_code_class) (rate(envoy_cluster_upstream_rq_xx{envoy_cluster_name=~\"[^_/]+_[^_/]+_[0-9]+|[^/]+/[^/]+/[0-9]+/[0-9a-f]+\",envoy_cluster_name!~\"projectcontour_(service-stats|envoy-admin)_.*\",$S}[$W]))",
    ),
    (Measure::P50, CONTOUR_QUANTILE),
    (Measure::P95, CONTOUR_QUANTILE),
    (Measure::P99, CONTOUR_QUANTILE),
    (
        Measure::Active,
        "sum by (envoy_cluster_name) (envoy_cluster_upstream_rq_active{envoy_cluster_name=~\"[^_/]+_[^_/]+_[0-9]+|[^/]+/[^/]+/[0-9]+/[0-9a-f]+\",$S}) or sum by (envoy_cluster_name, envoy_endpoint_address) (envoy_cluster_endpoint_rq_active{envoy_cluster_name=~\"[^_/]+_[^_/]+_[0-9]+|[^/]+/[^/]+/[0-9]+/[0-9a-f]+\",$S})",
    ),
    (
        Measure::BackendRate,
        "sum by (envoy_cluster_name, envoy_endpoint_address) (rate(envoy_cluster_endpoint_rq_total{envoy_cluster_name=~\"[^_/]+_[^_/]+_[0-9]+|[^/]+/[^/]+/[0-9]+/[0-9a-f]+\",$S}[$W]))",
    ),
    (
        Measure::BackendErrors,
        "sum by (envoy_cluster_name, envoy_endpoint_address) (rate(envoy_cluster_endpoint_rq_error{envoy_cluster_name=~\"[^_/]+_[^_/]+_[0-9]+|[^/]+/[^/]+/[0-9]+/[0-9a-f]+\",$S}[$W]))",
    ),
];

/// Traefik has no requests by server, only whether a server is up. A scraper with labels of its own renames Traefik's
/// `service` to `exported_service`. An IngressRoute to a single Service is counted under the name of the IngressRoute.
pub(super) const TRAEFIK: Entry = Entry {
    name: "traefik",
    doc: "Traefik, by Service, or by IngressRoute if it has a single Service: traefik_service_requests_total; servers only as up or down",
    counter: "traefik_service_requests_total",
    service: &[
        ("exported_service", "{namespace}-{name}-http-{}@kubernetesgateway"),
        ("exported_service", "{namespace}-{name}-{}@kubernetesgateway"),
        ("exported_service", "{namespace}-{name}-{}@kubernetescrd"),
        ("exported_service", "{namespace}-{name}-{}@kubernetes"),
        ("exported_service", "{name}@{}"),
        ("service", "{namespace}-{name}-http-{}@kubernetesgateway"),
        ("service", "{namespace}-{name}-{}@kubernetesgateway"),
        ("service", "{namespace}-{name}-{}@kubernetescrd"),
        ("service", "{namespace}-{name}-{}@kubernetes"),
        ("service", "{name}@{}"),
    ],
    backend: &["url"],
    failed: &[("code", "5*")],
    queries: &[
        (
            Measure::Rate,
            "sum by (exported_service, service, code) (rate(traefik_service_requests_total{$S}[$W]))",
        ),
        (Measure::P50, TRAEFIK_QUANTILE),
        (Measure::P95, TRAEFIK_QUANTILE),
        (Measure::P99, TRAEFIK_QUANTILE),
        (Measure::State, "max by (exported_service, service, url) (traefik_service_server_up{$S})"),
    ],
    ..NONE
};

const TRAEFIK_QUANTILE: &str = "histogram_quantile($Q, sum by (exported_service, service, le) (rate(traefik_service_request_duration_seconds_bucket{$S}[$W])))";

/// A request that went to a canary has the canary's Service in its own label, so the canary is a service of its own.
pub(super) const INGRESS_NGINX: Entry = Entry {
    name: "ingress-nginx",
    doc: "ingress-nginx, by Service, with a canary as a service of its own: nginx_ingress_controller_requests",
    counter: "nginx_ingress_controller_requests",
    namespace: &["exported_namespace", "namespace"],
    service: &[("canary", "{namespace}-{name}-{}"), ("exported_service", ""), ("service", "")],
    failed: &[("status", "5*")],
    queries: &[
        (
            Measure::Rate,
            "sum by (exported_namespace, namespace, exported_service, service, canary, status) (rate(nginx_ingress_controller_requests{$S}[$W]))",
        ),
        (Measure::P50, NGINX_QUANTILE),
        (Measure::P95, NGINX_QUANTILE),
        (Measure::P99, NGINX_QUANTILE),
    ],
    ..NONE
};

const NGINX_QUANTILE: &str = "histogram_quantile($Q, sum by (exported_namespace, namespace, exported_service, service, canary, le) (rate(nginx_ingress_controller_request_duration_seconds_bucket{$S}[$W])))";
