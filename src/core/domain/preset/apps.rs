//! Presets of applications that count their requests themselves.

use super::{Entry, Measure, NONE};

pub(super) const HTTP_REQUESTS: Entry = Entry {
    name: "http_requests_total",
    doc: "applications that count their requests by status code as http_requests_total, with http_request_duration_seconds",
    counter: "http_requests_total",
    namespace: &["namespace"],
    service: &[("service", ""), ("job", "")],
    backend: &["pod", "instance"],
    failed: &[("code", "5*"), ("status", "5*"), ("status_code", "5*")],
    queries: &[
        (
            Measure::Rate,
            "sum by (namespace, service, job, pod, instance, code, status, status_code) (rate(http_requests_total{$S}[$W]))",
        ),
        (Measure::P50, HTTP_QUANTILE),
        (Measure::P95, HTTP_QUANTILE),
        (Measure::P99, HTTP_QUANTILE),
        (
            Measure::BackendP95,
            "histogram_quantile($Q, sum by (namespace, service, job, pod, instance, le) (rate(http_request_duration_seconds_bucket{$S}[$W])))",
        ),
        (Measure::Active, "sum by (namespace, service, job, pod, instance) (http_requests_in_flight{$S})"),
        (
            Measure::BackendMean,
            "sum by (namespace, service, job, pod, instance) (rate(http_request_duration_seconds_sum{$S}[$W])) / sum by (namespace, service, job, pod, instance) (rate(http_request_duration_seconds_count{$S}[$W]))",
        ),
    ],
    ..NONE
};

const HTTP_QUANTILE: &str = "histogram_quantile($Q, sum by (namespace, service, job, le) (rate(http_request_duration_seconds_bucket{$S}[$W])))";

/// A collector that is scraped has labels of its own, so the labels of what it forwards (`exported_…`) come first.
pub(super) const OTEL: Entry = Entry {
    name: "otel",
    doc: "applications with OpenTelemetry's HTTP semantic conventions: http_server_request_duration_seconds by http_response_status_code",
    counter: "http_server_request_duration_seconds_count",
    namespace: &["k8s_namespace_name", "service_namespace", "exported_namespace", "namespace"],
    service: &[
        ("service_name", ""),
        ("exported_job", "{namespace}/{name}"),
        ("exported_job", ""),
        ("service", ""),
        ("job", "{namespace}/{name}"),
        ("job", ""),
    ],
    backend: &["k8s_pod_name", "exported_instance", "pod", "instance"],
    failed: &[("http_response_status_code", "5*")],
    queries: &[
        (
            Measure::Rate,
            "sum by (k8s_namespace_name, service_namespace, exported_namespace, namespace, service_name, exported_job, service, job, k8s_pod_name, exported_instance, pod, instance, http_response_status_code) (rate(http_server_request_duration_seconds_count{$S}[$W]))",
        ),
        (Measure::P50, OTEL_QUANTILE),
        (Measure::P95, OTEL_QUANTILE),
        (Measure::P99, OTEL_QUANTILE),
        (
            Measure::BackendP95,
            "histogram_quantile($Q, sum by (k8s_namespace_name, service_namespace, exported_namespace, namespace, service_name, exported_job, service, job, k8s_pod_name, exported_instance, pod, instance, le) (rate(http_server_request_duration_seconds_bucket{$S}[$W])))",
        ),
        (
            Measure::BackendMean,
            "sum by (k8s_namespace_name, service_namespace, exported_namespace, namespace, service_name, exported_job, service, job, k8s_pod_name, exported_instance, pod, instance) (rate(http_server_request_duration_seconds_sum{$S}[$W])) / sum by (k8s_namespace_name, service_namespace, exported_namespace, namespace, service_name, exported_job, service, job, k8s_pod_name, exported_instance, pod, instance) (rate(http_server_request_duration_seconds_count{$S}[$W]))",
        ),
        (
            Measure::Active,
            "sum by (k8s_namespace_name, service_namespace, exported_namespace, namespace, service_name, exported_job, service, job, k8s_pod_name, exported_instance, pod, instance) (http_server_active_requests{$S})",
        ),
    ],
    ..NONE
};

const OTEL_QUANTILE: &str = "histogram_quantile($Q, sum by (k8s_namespace_name, service_namespace, exported_namespace, namespace, service_name, exported_job, service, job, le) (rate(http_server_request_duration_seconds_bucket{$S}[$W])))";

/// The codes that count as failed are those that HTTP would call 5xx. The others are the client's.
pub(super) const GRPC: Entry = Entry {
    name: "grpc",
    doc: "gRPC servers with the usual Prometheus interceptors: grpc_server_handled_total by grpc_code, and grpc_server_handling_seconds if it is enabled",
    counter: "grpc_server_handled_total",
    namespace: &["namespace"],
    service: &[("service", ""), ("job", "")],
    backend: &["pod", "instance"],
    failed: &[
        ("grpc_code", "Unknown"),
        ("grpc_code", "DeadlineExceeded"),
        ("grpc_code", "Unimplemented"),
        ("grpc_code", "Internal"),
        ("grpc_code", "Unavailable"),
        ("grpc_code", "DataLoss"),
    ],
    queries: &[
        (
            Measure::Rate,
            "sum by (namespace, service, job, pod, instance, grpc_code) (rate(grpc_server_handled_total{$S}[$W]))",
        ),
        (Measure::P50, GRPC_QUANTILE),
        (Measure::P95, GRPC_QUANTILE),
        (Measure::P99, GRPC_QUANTILE),
        (
            Measure::BackendP95,
            "histogram_quantile($Q, sum by (namespace, service, job, pod, instance, le) (rate(grpc_server_handling_seconds_bucket{$S}[$W])))",
        ),
        (
            Measure::BackendMean,
            "sum by (namespace, service, job, pod, instance) (rate(grpc_server_handling_seconds_sum{$S}[$W])) / sum by (namespace, service, job, pod, instance) (rate(grpc_server_handling_seconds_count{$S}[$W]))",
        ),
        (
            Measure::Active,
            "sum by (namespace, service, job, pod, instance) (grpc_server_started_total{$S}) - sum by (namespace, service, job, pod, instance) (grpc_server_handled_total{$S})",
        ),
    ],
    ..NONE
};

const GRPC_QUANTILE: &str = "histogram_quantile($Q, sum by (namespace, service, job, le) (rate(grpc_server_handling_seconds_bucket{$S}[$W])))";
