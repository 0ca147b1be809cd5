//! Presets of service meshes.

use super::{Entry, Measure, NONE, Unit};
use crate::domain::traffic::Policy;

/// Client and server report each request, so only the server's reports are counted; the client's do not know the pod.
/// Code 0 is a connection that broke. The failed gRPC statuses are those that HTTP would call 5xx.
pub(super) const ISTIO: Entry = Entry {
    name: "istio",
    doc: "Istio sidecars, as the receiving side reports: istio_requests_total{reporter=\"destination\"}",
    counter: "istio_requests_total{reporter=\"destination\"}",
    namespace: &["destination_service_namespace"],
    service: &[("destination_service_name", "")],
    backend: &["pod", "instance"],
    failed: &[
        ("response_code", "5*"),
        ("response_code", "0"),
        ("grpc_response_status", "2"),
        ("grpc_response_status", "4"),
        ("grpc_response_status", "12"),
        ("grpc_response_status", "13"),
        ("grpc_response_status", "14"),
        ("grpc_response_status", "15"),
    ],
    unit: Unit::Milliseconds,
    queries: &[
        (
            Measure::Rate,
            "sum by (destination_service_namespace, destination_service_name, pod, instance, response_code, grpc_response_status) (rate(istio_requests_total{reporter=\"destination\",destination_service_name!=\"unknown\",$S}[$W]))",
        ),
        (Measure::P50, ISTIO_QUANTILE),
        (Measure::P95, ISTIO_QUANTILE),
        (Measure::P99, ISTIO_QUANTILE),
        (
            Measure::BackendP95,
            "histogram_quantile($Q, sum by (destination_service_namespace, destination_service_name, pod, instance, le) (rate(istio_request_duration_milliseconds_bucket{reporter=\"destination\",$S}[$W])))",
        ),
        (
            Measure::BackendMean,
            "sum by (destination_service_namespace, destination_service_name, pod, instance) (rate(istio_request_duration_milliseconds_sum{reporter=\"destination\",$S}[$W])) / sum by (destination_service_namespace, destination_service_name, pod, instance) (rate(istio_request_duration_milliseconds_count{reporter=\"destination\",$S}[$W]))",
        ),
        (
            Measure::Active,
            "sum by (destination_service_namespace, destination_service_name, pod, instance) (istio_tcp_connections_opened_total{reporter=\"destination\",$S}) - sum by (destination_service_namespace, destination_service_name, pod, instance) (istio_tcp_connections_closed_total{reporter=\"destination\",$S})",
        ),
    ],
    ..NONE
};

const ISTIO_QUANTILE: &str = "histogram_quantile($Q, sum by (destination_service_namespace, destination_service_name, le) (rate(istio_request_duration_milliseconds_bucket{reporter=\"destination\",$S}[$W])))";

/// Only the outbound side knows the Service. Response times end with the first byte.
pub(super) const LINKERD: Entry = Entry {
    name: "linkerd",
    doc: "Linkerd proxies, as the sending side reports: response_total{direction=\"outbound\"} by classification; requests of pods without a proxy are not counted",
    counter: "response_total{direction=\"outbound\"}",
    namespace: &["dst_namespace"],
    service: &[("dst_service", "")],
    backend: &["dst_pod"],
    failed: &[("classification", "failure")],
    unit: Unit::Milliseconds,
    policy: Some(Policy::ResponseTime),
    queries: &[
        (
            Measure::Rate,
            "sum by (dst_namespace, dst_service, dst_pod, classification) (rate(response_total{direction=\"outbound\",dst_service!=\"\",$S}[$W]))",
        ),
        (Measure::P50, LINKERD_QUANTILE),
        (Measure::P95, LINKERD_QUANTILE),
        (Measure::P99, LINKERD_QUANTILE),
        (
            Measure::BackendP95,
            "histogram_quantile($Q, sum by (dst_namespace, dst_service, dst_pod, le) (rate(response_latency_ms_bucket{direction=\"outbound\",dst_service!=\"\",$S}[$W])))",
        ),
        (
            Measure::BackendMean,
            "sum by (dst_namespace, dst_service, dst_pod) (rate(response_latency_ms_sum{direction=\"outbound\",dst_service!=\"\",$S}[$W])) / sum by (dst_namespace, dst_service, dst_pod) (rate(response_latency_ms_count{direction=\"outbound\",dst_service!=\"\",$S}[$W]))",
        ),
    ],
    ..NONE
};

const LINKERD_QUANTILE: &str = "histogram_quantile($Q, sum by (dst_namespace, dst_service, le) (rate(response_latency_ms_bucket{direction=\"outbound\",dst_service!=\"\",$S}[$W])))";
