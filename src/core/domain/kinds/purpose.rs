//! What the permissions on a kind are needed for.

/// What a permission is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    See,
    Usage,
    /// The metrics of a server in the cluster, which is read through the API server.
    Metrics,
    Logs,
    Describe,
    Cordon,
    Evict,
    Delete,
    Restart,
    Scale,
    Bounds,
    Rotation,
    Failover,
    /// Silences of an Alertmanager in the cluster.
    Silence,
}

impl Purpose {
    pub const ALL: [Self; 14] = [
        Self::See,
        Self::Usage,
        Self::Metrics,
        Self::Logs,
        Self::Describe,
        Self::Cordon,
        Self::Evict,
        Self::Delete,
        Self::Restart,
        Self::Scale,
        Self::Bounds,
        Self::Rotation,
        Self::Failover,
        Self::Silence,
    ];

    /// Returns the name of the purpose for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::See => "see what runs",
            Self::Usage => "usage",
            Self::Metrics => "metrics of a Prometheus, alerts of an Alertmanager, lines of a Loki",
            Self::Logs => "logs",
            Self::Describe => "describe, YAML",
            Self::Cordon => "cordon, drain, out of service",
            Self::Evict => "drain, evict",
            Self::Delete => "drain with `--disable-eviction`",
            Self::Restart => "restart, roll back, pause",
            Self::Scale => "scale",
            Self::Bounds => "bounds and pause of an autoscaler",
            Self::Rotation => "in and out of rotation",
            Self::Failover => "failover",
            Self::Silence => "silence alerts, end a silence",
        }
    }

    /// Returns true if the purpose changes nothing in the cluster. A viewer needs only these.
    pub fn is_reading(self) -> bool {
        matches!(self, Self::See | Self::Usage | Self::Metrics | Self::Logs | Self::Describe)
    }
}

/// Permissions on one kind, and their purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub purpose: Purpose,
    pub verbs: &'static [&'static str],
    /// `scale`, `log`, `proxy` or `eviction`. "" for the object itself.
    pub subresource: &'static str,
}

impl Need {
    /// Returns the resource with its subresource, as RBAC names it: `pods/log`.
    pub fn of(&self, plural: &str) -> String {
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        format!("{plural}{slash}{}", self.subresource)
    }
}
