//! The columns of each resource, with the real server's order and names.

use super::{Column, age, created, name, objects as o, pods as p, workloads as w};

type Cell = fn(&serde_json::Value, chrono::DateTime<chrono::Utc>) -> serde_json::Value;

const fn text(name: &'static str, cell: Cell) -> Column {
    Column { name, kind: "string", priority: 0, cell }
}

const fn int(name: &'static str, cell: Cell) -> Column {
    Column { name, kind: "integer", priority: 0, cell }
}

const fn wide(name: &'static str, cell: Cell) -> Column {
    Column { name, kind: "string", priority: 1, cell }
}

const NAME: Column = text("Name", name);
const AGE: Column = text("Age", age);

pub const CREATED: &[Column] =
    &[NAME, Column { name: "Created At", kind: "date", priority: 0, cell: created }];
pub const CUSTOM: &[Column] = &[NAME, AGE];
pub const GATEWAYS: &[Column] = &[
    NAME,
    text("Class", o::gateway_class),
    text("Address", o::gateway_address),
    text("Programmed", o::gateway_programmed),
    AGE,
];
pub const HTTPROUTES: &[Column] = &[NAME, text("Hostnames", o::route_hostnames), AGE];
pub const VIRTUALSERVICES: &[Column] =
    &[NAME, text("Gateways", o::mesh_gateways), text("Hosts", o::mesh_hosts), AGE];
pub const DESTINATIONRULES: &[Column] = &[NAME, text("Host", o::mesh_host), AGE];
pub const AGED: &[Column] = &[NAME, AGE];
pub const NAMESPACES: &[Column] = &[NAME, text("Status", o::phase), AGE];
pub const NODES: &[Column] = &[
    NAME,
    text("Status", o::node_status),
    text("Roles", o::node_roles),
    AGE,
    text("Version", o::node_version),
    wide("Internal-IP", o::node_internal),
    wide("External-IP", o::node_external),
    wide("OS-Image", o::node_os),
    wide("Kernel-Version", o::node_kernel),
    wide("Container-Runtime", o::node_runtime),
];
pub const PODS: &[Column] = &[
    NAME,
    text("Ready", p::ready),
    text("Status", p::status),
    text("Restarts", p::restarts),
    AGE,
    wide("IP", p::ip),
    wide("Node", p::node),
    wide("Nominated Node", p::nominated),
    wide("Readiness Gates", p::gates),
];
pub const SERVICES: &[Column] = &[
    NAME,
    text("Type", o::service_type),
    text("Cluster-IP", o::service_ip),
    text("External-IP", o::service_external),
    text("Port(s)", o::service_ports),
    AGE,
    wide("Selector", o::service_selector),
];
pub const ENDPOINTS: &[Column] = &[NAME, text("Endpoints", o::endpoints), AGE];
pub const EVENTS: &[Column] = &[
    text("Last Seen", o::event_last),
    text("Type", o::event_type),
    text("Reason", o::event_reason),
    text("Object", o::event_object),
    wide("Subobject", o::event_subobject),
    wide("Source", o::event_source),
    text("Message", o::event_message),
    wide("First Seen", o::event_first),
    wide("Count", o::event_count),
    Column { name: "Name", kind: "string", priority: 1, cell: name },
];
pub const CONFIGMAPS: &[Column] = &[NAME, text("Data", o::data), AGE];
pub const SECRETS: &[Column] = &[NAME, text("Type", o::kind_of), int("Data", o::data), AGE];
pub const CLAIMS: &[Column] = &[
    NAME,
    text("Status", o::phase),
    text("Volume", o::claim_volume),
    text("Capacity", o::claim_capacity),
    text("Access Modes", o::claim_modes),
    text("StorageClass", o::storage_class),
    text("VolumeAttributesClass", o::unset),
    AGE,
    wide("VolumeMode", o::volume_mode),
];
pub const VOLUMES: &[Column] = &[
    NAME,
    text("Capacity", o::volume_capacity),
    text("Access Modes", o::claim_modes),
    text("Reclaim Policy", o::volume_reclaim),
    text("Status", o::phase),
    text("Claim", o::volume_claim),
    text("StorageClass", o::storage_class),
    text("VolumeAttributesClass", o::unset),
    text("Reason", o::reason),
    AGE,
    wide("VolumeMode", o::volume_mode),
];
pub const QUOTAS: &[Column] =
    &[NAME, text("Request", o::quota_requests), text("Limit", o::quota_limits), AGE];
pub const LEASES: &[Column] = &[NAME, text("Holder", o::lease_holder), AGE];
pub const SLICES: &[Column] = &[
    NAME,
    text("AddressType", o::slice_type),
    text("Ports", o::slice_ports),
    text("Endpoints", o::slice_endpoints),
    AGE,
];
pub const INGRESSES: &[Column] = &[
    NAME,
    text("Class", o::ingress_class),
    text("Hosts", o::ingress_hosts),
    text("Address", o::ingress_address),
    text("Ports", o::ingress_ports),
    AGE,
];
pub const STORAGECLASSES: &[Column] = &[
    NAME,
    text("Provisioner", o::class_provisioner),
    text("ReclaimPolicy", o::class_reclaim),
    text("VolumeBindingMode", o::class_binding),
    text("AllowVolumeExpansion", o::class_expansion),
    AGE,
];
pub const PRIORITIES: &[Column] = &[
    NAME,
    int("Value", o::priority_value),
    Column { name: "Global-Default", kind: "boolean", priority: 0, cell: o::priority_default },
    AGE,
    text("PreemptionPolicy", o::priority_preemption),
];
pub const DEPLOYMENTS: &[Column] = &[
    NAME,
    text("Ready", w::ready),
    text("Up-to-date", w::updated),
    text("Available", w::available),
    AGE,
    wide("Containers", w::containers),
    wide("Images", w::images),
    wide("Selector", w::selected),
];
pub const REPLICASETS: &[Column] = &[
    NAME,
    int("Desired", w::desired),
    int("Current", w::current),
    int("Ready", w::ready_count),
    AGE,
    wide("Containers", w::containers),
    wide("Images", w::images),
    wide("Selector", w::selected),
];
pub const STATEFULSETS: &[Column] =
    &[NAME, text("Ready", w::ready), AGE, wide("Containers", w::containers), wide("Images", w::images)];
pub const DAEMONSETS: &[Column] = &[
    NAME,
    int("Desired", w::daemon_desired),
    int("Current", w::daemon_current),
    int("Ready", w::daemon_ready),
    int("Up-to-date", w::daemon_updated),
    int("Available", w::daemon_available),
    text("Node Selector", w::node_selector),
    AGE,
    wide("Containers", w::containers),
    wide("Images", w::images),
    wide("Selector", w::selected),
];
pub const REVISIONS: &[Column] =
    &[NAME, text("Controller", w::controller), text("Revision", w::revision), AGE];
pub const JOBS: &[Column] = &[
    NAME,
    text("Status", w::job_status),
    text("Completions", w::job_completions),
    text("Duration", w::job_duration),
    AGE,
    wide("Containers", w::containers),
    wide("Images", w::images),
    wide("Selector", w::selected),
];
pub const CRONJOBS: &[Column] = &[
    NAME,
    text("Schedule", w::cron_schedule),
    text("Timezone", w::cron_zone),
    Column { name: "Suspend", kind: "boolean", priority: 0, cell: w::cron_suspend },
    int("Active", w::cron_active),
    text("Last Schedule", w::cron_last),
    AGE,
];
pub const HPAS: &[Column] = &[
    NAME,
    text("Reference", w::hpa_reference),
    text("Targets", w::hpa_targets),
    text("MinPods", w::hpa_min),
    text("MaxPods", w::hpa_max),
    text("Replicas", w::hpa_replicas),
    AGE,
];
pub const PDBS: &[Column] = &[
    NAME,
    text("Min Available", w::pdb_min),
    text("Max Unavailable", w::pdb_max),
    int("Allowed Disruptions", w::pdb_allowed),
    AGE,
];
