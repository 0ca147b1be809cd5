//! The panels of each kind of object. A template can name several sources, and the first of them with a number counts at
//! each time. `Of::fill` in the parent module describes the placeholders.

use super::{Of, Own, Part, Unit};
use crate::domain::id::Kind;

/// A panel.
pub(super) struct Entry {
    pub title: &'static str,
    pub unit: Unit,
    /// The metrics of the first line, and who exports them.
    pub source: &'static str,
    pub lines: &'static [Line],
}

/// A line.
pub(super) struct Line {
    pub name: &'static str,
    pub part: Part,
    pub promql: &'static [&'static str],
    /// Returns the number now, as the cluster says it.
    pub now: fn(&Of<'_>) -> Option<f64>,
    pub own: Option<Own>,
}

/// What a line has unless it says otherwise.
const LINE: Line = Line { name: "", part: Part::First, promql: &[], now: |_| None, own: None };

/// Pods: those of a workload, or one.
pub(super) static PODS: [Entry; 5] = [
    Entry {
        title: "CPU",
        unit: Unit::Cores,
        source: "container_cpu_usage_seconds_total (cAdvisor, from the kubelets)",
        lines: &[
            Line {
                name: "used",
                promql: &["sum(rate(container_cpu_usage_seconds_total{$P,$C}[$W]))"],
                ..LINE
            },
            Line {
                name: "request",
                part: Part::Request,
                promql: &[
                    "sum(kube_pod_container_resource_requests{$P$K,resource=\"cpu\"})",
                    "sum(kube_pod_container_resource_requests{$E$K,resource=\"cpu\"})",
                ],
                now: |of| of.sum(|pod| pod.requests.cpu_milli).map(|milli| milli / 1_000.0),
                ..LINE
            },
            Line {
                name: "limit",
                part: Part::Limit,
                // the sum is a limit only if each container has one
                promql: &[
                    "(sum(kube_pod_container_resource_limits{$P$K,resource=\"cpu\"}) and (count(kube_pod_container_resource_limits{$P$K,resource=\"cpu\"}) == count(kube_pod_container_info{$P$K})))",
                    "(sum(kube_pod_container_resource_limits{$E$K,resource=\"cpu\"}) and (count(kube_pod_container_resource_limits{$E$K,resource=\"cpu\"}) == count(kube_pod_container_info{$E$K})))",
                ],
                now: |of| of.sum(|pod| pod.shape.cpu_limit_milli).map(|milli| milli / 1_000.0),
                ..LINE
            },
        ],
    },
    Entry {
        title: "Memory, working set",
        unit: Unit::Bytes,
        source: "container_memory_working_set_bytes (cAdvisor, from the kubelets)",
        lines: &[
            Line { name: "used", promql: &["sum(container_memory_working_set_bytes{$P,$C})"], ..LINE },
            Line {
                name: "request",
                part: Part::Request,
                promql: &[
                    "sum(kube_pod_container_resource_requests{$P$K,resource=\"memory\"})",
                    "sum(kube_pod_container_resource_requests{$E$K,resource=\"memory\"})",
                ],
                now: |of| of.sum(|pod| pod.requests.memory_bytes),
                ..LINE
            },
            Line {
                name: "limit (OOM)",
                part: Part::Limit,
                promql: &[
                    "(sum(kube_pod_container_resource_limits{$P$K,resource=\"memory\"}) and (count(kube_pod_container_resource_limits{$P$K,resource=\"memory\"}) == count(kube_pod_container_info{$P$K})))",
                    "(sum(kube_pod_container_resource_limits{$E$K,resource=\"memory\"}) and (count(kube_pod_container_resource_limits{$E$K,resource=\"memory\"}) == count(kube_pod_container_info{$E$K})))",
                ],
                now: |of| of.sum(|pod| pod.shape.memory_limit_bytes),
                ..LINE
            },
        ],
    },
    Entry {
        title: "CPU throttled, periods",
        unit: Unit::Percent,
        source: "container_cpu_cfs_throttled_periods_total (cAdvisor; only containers with a CPU limit have it)",
        lines: &[Line {
            name: "throttled",
            part: Part::Bad,
            promql: &[
                "100 * sum(rate(container_cpu_cfs_throttled_periods_total{$P,$C}[$W])) / sum(rate(container_cpu_cfs_periods_total{$P,$C}[$W]))",
            ],
            ..LINE
        }],
    },
    Entry {
        title: "Restarts in 5 minutes",
        unit: Unit::Count,
        source: "kube_pod_container_status_restarts_total (kube-state-metrics)",
        lines: &[Line {
            name: "restarts",
            part: Part::Bad,
            promql: &[
                "sum(increase(kube_pod_container_status_restarts_total{$P$K}[$R]))",
                "sum(increase(kube_pod_container_status_restarts_total{$E$K}[$R]))",
            ],
            ..LINE
        }],
    },
    Entry {
        title: "Network",
        unit: Unit::BytesPerSecond,
        source: "container_network_receive_bytes_total (cAdvisor, from the kubelets)",
        lines: &[
            Line {
                name: "received",
                promql: &["sum(rate(container_network_receive_bytes_total{$P}[$W]))"],
                ..LINE
            },
            Line {
                name: "sent",
                part: Part::Second,
                promql: &["sum(rate(container_network_transmit_bytes_total{$P}[$W]))"],
                ..LINE
            },
        ],
    },
];

/// Returns the number of a workload now.
fn of_workload(of: &Of<'_>, number: fn(&crate::domain::workload::Workload) -> i32) -> Option<f64> {
    let object = of.object;
    let workload = of.cluster.workload(&object.kind, &object.namespace, &object.name)?;
    Some(f64::from(number(workload)))
}

macro_rules! replicas {
    ($kind:expr, $wanted:literal, $ready:literal) => {
        (
            $kind,
            Entry {
                title: "Replicas",
                unit: Unit::Count,
                source: concat!($wanted, " (kube-state-metrics)"),
                lines: &[
                    Line {
                        name: "ready",
                        promql: &[concat!("sum(", $ready, "{$A})")],
                        now: |of| of_workload(of, |workload| workload.ready),
                        ..LINE
                    },
                    Line {
                        name: "wanted",
                        part: Part::Request,
                        promql: &[concat!("sum(", $wanted, "{$A})")],
                        now: |of| of_workload(of, |workload| workload.desired),
                        ..LINE
                    },
                ],
            },
        )
    };
}

/// The replicas of the kinds of workloads.
pub(super) static REPLICAS: [(Kind, Entry); 4] = [
    replicas!(Kind::Deployment, "kube_deployment_spec_replicas", "kube_deployment_status_replicas_available"),
    replicas!(Kind::StatefulSet, "kube_statefulset_replicas", "kube_statefulset_status_replicas_ready"),
    replicas!(
        Kind::DaemonSet,
        "kube_daemonset_status_desired_number_scheduled",
        "kube_daemonset_status_number_ready"
    ),
    replicas!(Kind::ReplicaSet, "kube_replicaset_spec_replicas", "kube_replicaset_status_ready_replicas"),
];

/// A node.
pub(super) static NODE: [Entry; 5] = [
    Entry {
        title: "CPU",
        unit: Unit::Cores,
        source: "node_cpu_seconds_total (node exporter) or container_cpu_usage_seconds_total{id=\"/\"} (cAdvisor)",
        lines: &[
            Line {
                name: "used",
                promql: &[
                    "sum(rate(node_cpu_seconds_total{node=$N,mode!~\"idle|iowait|steal\"}[$W]))",
                    "sum(rate(node_cpu_seconds_total{$I,mode!~\"idle|iowait|steal\"}[$W]))",
                    "sum(rate(container_cpu_usage_seconds_total{node=$N,id=\"/\"}[$W]))",
                ],
                own: Some(Own::NodeCpu),
                ..LINE
            },
            Line {
                name: "requested",
                part: Part::Request,
                promql: &["sum(kube_pod_container_resource_requests{node=$N,resource=\"cpu\"})"],
                now: |of| Some(of.node()?.totals.requests.cpu_milli as f64 / 1_000.0),
                ..LINE
            },
            Line {
                name: "allocatable",
                part: Part::Limit,
                promql: &["sum(kube_node_status_allocatable{node=$N,resource=\"cpu\"})"],
                now: |of| Some(of.node()?.node.allocatable.cpu_milli as f64 / 1_000.0),
                ..LINE
            },
        ],
    },
    Entry {
        title: "Memory",
        unit: Unit::Bytes,
        source: "node_memory_MemAvailable_bytes (node exporter) or container_memory_working_set_bytes{id=\"/\"} (cAdvisor)",
        lines: &[
            Line {
                name: "used",
                promql: &[
                    "sum(node_memory_MemTotal_bytes{node=$N}) - sum(node_memory_MemAvailable_bytes{node=$N})",
                    "sum(node_memory_MemTotal_bytes{$I}) - sum(node_memory_MemAvailable_bytes{$I})",
                    "sum(container_memory_working_set_bytes{node=$N,id=\"/\"})",
                ],
                own: Some(Own::NodeMemory),
                ..LINE
            },
            Line {
                name: "requested",
                part: Part::Request,
                promql: &["sum(kube_pod_container_resource_requests{node=$N,resource=\"memory\"})"],
                now: |of| Some(of.node()?.totals.requests.memory_bytes as f64),
                ..LINE
            },
            Line {
                name: "allocatable",
                part: Part::Limit,
                promql: &["sum(kube_node_status_allocatable{node=$N,resource=\"memory\"})"],
                now: |of| Some(of.node()?.node.allocatable.memory_bytes as f64),
                ..LINE
            },
        ],
    },
    Entry {
        title: "Pods",
        unit: Unit::Count,
        source: "kube_pod_info (kube-state-metrics) or kubelet_running_pods (kubelet)",
        lines: &[
            Line {
                name: "pods",
                promql: &["count(kube_pod_info{node=$N})", "sum(kubelet_running_pods{node=$N})"],
                now: |of| Some(f64::from(of.node()?.totals.pods)),
                ..LINE
            },
            Line {
                name: "allocatable",
                part: Part::Limit,
                promql: &["sum(kube_node_status_allocatable{node=$N,resource=\"pods\"})"],
                now: |of| Some(of.node()?.node.allocatable_pods as f64),
                ..LINE
            },
        ],
    },
    Entry {
        title: "Fullest file system",
        unit: Unit::Percent,
        source: "node_filesystem_avail_bytes (node exporter)",
        lines: &[Line {
            name: "used",
            promql: &[
                "max(100 - 100 * node_filesystem_avail_bytes{node=$N,fstype!~\"tmpfs|overlay|squashfs|ramfs\"} / node_filesystem_size_bytes{node=$N,fstype!~\"tmpfs|overlay|squashfs|ramfs\"})",
                "max(100 - 100 * node_filesystem_avail_bytes{$I,fstype!~\"tmpfs|overlay|squashfs|ramfs\"} / node_filesystem_size_bytes{$I,fstype!~\"tmpfs|overlay|squashfs|ramfs\"})",
            ],
            ..LINE
        }],
    },
    Entry {
        title: "Network",
        unit: Unit::BytesPerSecond,
        source: "node_network_receive_bytes_total (node exporter)",
        lines: &[
            Line {
                name: "received",
                promql: &[
                    "sum(rate(node_network_receive_bytes_total{node=$N,device!~\"lo|veth.*|cali.*|lxc.*\"}[$W]))",
                    "sum(rate(node_network_receive_bytes_total{$I,device!~\"lo|veth.*|cali.*|lxc.*\"}[$W]))",
                ],
                ..LINE
            },
            Line {
                name: "sent",
                part: Part::Second,
                promql: &[
                    "sum(rate(node_network_transmit_bytes_total{node=$N,device!~\"lo|veth.*|cali.*|lxc.*\"}[$W]))",
                    "sum(rate(node_network_transmit_bytes_total{$I,device!~\"lo|veth.*|cali.*|lxc.*\"}[$W]))",
                ],
                ..LINE
            },
        ],
    },
];

/// The replicas of an autoscaler.
pub(super) static AUTOSCALER: Entry = Entry {
    title: "Replicas",
    unit: Unit::Count,
    source: "kube_horizontalpodautoscaler_status_current_replicas (kube-state-metrics)",
    lines: &[
        Line {
            name: "now",
            promql: &["sum(kube_horizontalpodautoscaler_status_current_replicas{$A})"],
            now: |of| of.autoscaler()?.hpa.current.map(f64::from),
            own: Some(Own::ReplicasNow),
            ..LINE
        },
        Line {
            // the autoscaler's own number is within its bounds
            name: "desired, within min and max",
            part: Part::Second,
            promql: &["sum(kube_horizontalpodautoscaler_status_desired_replicas{$A})"],
            now: |of| of.autoscaler()?.hpa.desired.map(f64::from),
            own: Some(Own::ReplicasWanted),
        },
        Line {
            name: "asked for by the metrics",
            part: Part::Request,
            now: |of| of.autoscaler()?.verdict.wants.map(f64::from),
            ..LINE
        },
        Line {
            name: "min",
            part: Part::Request,
            promql: &["sum(kube_horizontalpodautoscaler_spec_min_replicas{$A})"],
            now: |of| Some(f64::from(of.autoscaler()?.hpa.min)),
            ..LINE
        },
        Line {
            name: "max",
            part: Part::Limit,
            promql: &["sum(kube_horizontalpodautoscaler_spec_max_replicas{$A})"],
            now: |of| Some(f64::from(of.autoscaler()?.hpa.max)),
            ..LINE
        },
    ],
};

/// The CPU usage of an autoscaler's pods in percent of their requests, if kube-state-metrics does not have the number that
/// the autoscaler uses.
pub(super) const UTILIZATION: &str = " or 100 * sum(rate(container_cpu_usage_seconds_total{$P,$C}[$W])) / sum(kube_pod_container_resource_requests{$P,resource=\"cpu\"})";
