//! HorizontalPodAutoscalers (autoscaling/v2).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{ClusterId, Kind, Name, ObjectRef, Uid, Version};
use super::node::{ChangedBy, Condition};
use super::row::{object, row};
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
    /// The metric's name: `cpu`, `queue_depth`. For ContainerResource, the container's name comes first: `app/cpu`.
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
object!(Hpa, HorizontalPodAutoscaler);

impl Hpa {
    /// Returns the object that it scales (`spec.scaleTargetRef`), whose UID it does not name.
    pub fn target(&self, cluster: ClusterId) -> ObjectRef {
        ObjectRef::new(cluster, self.target_kind.clone(), &self.namespace, &self.target_name, &Uid::default())
    }

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

/// How bad it is, ordered from best to worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HpaState {
    #[default]
    Steady,
    /// Was made seconds ago: no status yet.
    New,
    Scaling,
    /// At its minimum with the metrics asking for less: normal at night.
    AtMin,
    /// The target is at 0: switched off until someone scales up.
    Disabled,
    /// Its behavior allows neither direction.
    Paused,
    /// Wants more than maxReplicas.
    AtMax,
    /// Cannot compute or cannot act.
    Failing,
}

/// Why an HPA is in its state. Its `Display` is what the panes show: `at max`, `up now`, `cannot read cpu/memory use: …`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HpaReason {
    #[default]
    Steady,
    /// Within the stabilization window.
    Stabilizing,
    /// The metrics ask for more than it has, and it does not scale: pods that are not ready or have no metrics count less
    /// for the controller.
    Held {
        asks: i32,
    },
    Up,
    Down,
    AtMin,
    AtMax,
    /// At its maximum, and the metrics ask for no more.
    AtMaxWhichIsEnough,
    Off,
    /// scaleUp and scaleDown have selectPolicy Disabled.
    Paused,
    NoStatusYet,
    NeverLookedAt,
    WaitsForMetrics,
    /// The condition AbleToScale is false.
    CannotScale(HpaFailure),
    /// The condition ScalingActive is false.
    Inactive(HpaFailure),
}

/// What a condition says that is false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpaFailure {
    pub reason: Name,
    pub message: Name,
}

impl fmt::Display for HpaReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steady => "steady",
            Self::Stabilizing => "steady (stabilization window)",
            Self::Held { asks } => return write!(f, "held: the metrics ask for {asks}"),
            Self::Up => "up now",
            Self::Down => "down now",
            Self::AtMin => "at min",
            Self::AtMax => "at max",
            Self::AtMaxWhichIsEnough => "at max, which is enough",
            Self::Off => "off: the target is at 0",
            Self::Paused => "paused: scaleUp and scaleDown are Disabled",
            Self::NoStatusYet => "no status yet",
            Self::NeverLookedAt => "the controller has not looked at it",
            Self::WaitsForMetrics => "waits for the metrics of its pods",
            Self::CannotScale(failure) => return write!(f, "cannot scale: {failure}"),
            Self::Inactive(failure) => return write!(f, "{failure}"),
        })
    }
}

impl HpaFailure {
    /// The controller chains its errors with colons: the last part says what is wrong.
    pub fn last_part(&self) -> &str {
        self.message.rsplit(": ").next().unwrap_or(&self.message)
    }
}

impl fmt::Display for HpaFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last_part();
        match self.reason.as_str() {
            "FailedGetResourceMetric" | "FailedGetContainerResourceMetric" => {
                write!(f, "cannot read cpu/memory use: {last}")
            }
            "FailedGetPodsMetric" => write!(f, "cannot read the pods' metric: {last}"),
            "FailedGetObjectMetric" => write!(f, "cannot read the object's metric: {last}"),
            "FailedGetExternalMetric" => write!(f, "cannot read the external metric: {last}"),
            "FailedGetScale" => write!(f, "target not found or without a scale: {last}"),
            "AmbiguousSelector" => f.write_str("another autoscaler matches the same pods"),
            "InvalidSelector" => f.write_str("the target's selector is invalid"),
            reason if self.message.is_empty() => f.write_str(reason),
            reason => write!(f, "{reason}: {last}"),
        }
    }
}

/// The verdict on one HPA.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HpaVerdict {
    pub state: HpaState,
    pub why: HpaReason,
    pub since: Option<Stamp>,
    /// What the metrics ask for, before the limits; None when they cannot be read.
    pub wants: Option<i32>,
    /// The arithmetic for `wants`: `ceil(4 x 82/60) = 6`.
    pub computed: Option<String>,
    /// `maxReplicas`, `minReplicas`, or what the condition ScalingLimited names.
    pub limited_by: Option<String>,
}
