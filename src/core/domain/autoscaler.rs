//! HorizontalPodAutoscalers (autoscaling/v2).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Kind, Name, Uid, Version};
use super::node::{ChangedBy, Condition};
use super::row::row;
use super::time::Stamp;

/// The form of a metric's target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// Percent of the requests (`averageUtilization`).
    Utilization(i32),
    /// Per pod, in thousandths of the metric's unit (`averageValue`).
    AverageValue(i64),
    /// In total, in thousandths of the metric's unit (`value`).
    Value(i64),
    /// Not one of the three, or absent.
    None,
}

/// One entry of `spec.metrics[]` with its current value from `status.currentMetrics[]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// `Resource`, `ContainerResource`, `Pods`, `Object`, `External`, or the server's own text.
    pub kind: Name,
    /// `cpu`, `queue_depth`; for ContainerResource with the container's name (`app/cpu`).
    pub name: Name,
    pub target: Target,
    /// In the target's form: percent, or thousandths. None: the autoscaler has no value (never 0).
    pub current: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hpa {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub created: Stamp,
    pub target_kind: Kind,
    pub target_group: Name,
    pub target_name: Name,
    /// 1 if absent, which is the API's default.
    pub min: i32,
    pub max: i32,
    /// `status.currentReplicas`; None if absent (the target has 0 replicas or is missing).
    pub current: Option<i32>,
    /// `status.desiredReplicas`; during the first seconds, 0 has no meaning.
    pub desired: Option<i32>,
    pub metrics: Arc<[Metric]>,
    pub conditions: Arc<[Condition]>,
    pub last_scale: Option<Stamp>,
    /// Tolerances of `spec.behavior` in thousandths; None: the cluster's default (0.1).
    pub tolerance_up: Option<i64>,
    pub tolerance_down: Option<i64>,
    /// It scales neither up nor down: `selectPolicy: Disabled` in both directions of `spec.behavior`.
    #[serde(default)]
    pub paused: bool,
    pub changed: Option<ChangedBy>,
    /// Owned by a ScaledObject, which reverts edits.
    pub keda: bool,
}
row!(Hpa);

impl Hpa {
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }
}

impl Default for Hpa {
    fn default() -> Self {
        Self {
            uid: Uid::default(),
            version: Version::default(),
            namespace: Name::default(),
            name: Name::default(),
            created: Stamp::default(),
            target_kind: Kind::Deployment,
            target_group: Name::default(),
            target_name: Name::default(),
            min: 1,
            max: 1,
            current: None,
            desired: None,
            metrics: Arc::default(),
            conditions: Arc::default(),
            last_scale: None,
            tolerance_up: None,
            tolerance_down: None,
            paused: false,
            changed: None,
            keda: false,
        }
    }
}
