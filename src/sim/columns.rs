//! The printer columns: what `kubectl get` shows for each resource. The cells are in `columns/`.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// One column of a printed table.
pub struct Column {
    pub name: &'static str,
    pub kind: &'static str,
    /// 1 for what only `-o wide` shows.
    pub priority: u8,
    pub cell: fn(&Value, DateTime<Utc>) -> Value,
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
pub const CREATED: &[Column] = &[];
pub const CUSTOM: &[Column] = &[];
pub const NAMESPACES: &[Column] = &[];
pub const NODES: &[Column] = &[];
pub const PODS: &[Column] = &[];
pub const SERVICES: &[Column] = &[];
pub const ENDPOINTS: &[Column] = &[];
pub const EVENTS: &[Column] = &[];
pub const CONFIGMAPS: &[Column] = &[];
pub const SECRETS: &[Column] = &[];
pub const AGED: &[Column] = &[];
pub const CLAIMS: &[Column] = &[];
pub const VOLUMES: &[Column] = &[];
pub const QUOTAS: &[Column] = &[];
pub const REPLICASETS: &[Column] = &[];
pub const DEPLOYMENTS: &[Column] = &[];
pub const STATEFULSETS: &[Column] = &[];
pub const DAEMONSETS: &[Column] = &[];
pub const REVISIONS: &[Column] = &[];
pub const JOBS: &[Column] = &[];
pub const CRONJOBS: &[Column] = &[];
pub const HPAS: &[Column] = &[];
pub const PDBS: &[Column] = &[];
pub const SLICES: &[Column] = &[];
pub const LEASES: &[Column] = &[];
pub const INGRESSES: &[Column] = &[];
pub const STORAGECLASSES: &[Column] = &[];
pub const PRIORITIES: &[Column] = &[];
