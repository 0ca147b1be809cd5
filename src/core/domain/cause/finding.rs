//! What is wrong, as data: one variant for each kind of finding. What it is about stands in [`super::Cause::objects`].

use super::FindingCode;
use crate::domain::autoscaler::HpaReason;
use crate::domain::id::Name;
use crate::domain::node::NodeState;
use crate::domain::time::ShownTime;

#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    BadConfig {
        pods: PodCount,
    },
    CrashLoop {
        pods: PodCount,
        /// Code and reason of the last exit.
        exit: Option<(i32, Name)>,
    },
    CronJobMissed {
        /// None = it has never run.
        last: Option<ShownTime>,
        why: Missed,
    },
    ErrorsSinceRollout {
        after_secs: u64,
        /// The change's own words.
        rollout: String,
        template: Name,
    },
    /// Pods left behind by evictions in a namespace.
    Evicted {
        pods: u32,
    },
    HpaAtLimit {
        max: i32,
        /// What the metrics ask for.
        wants: Option<i32>,
    },
    HpaFailing {
        why: HpaReason,
    },
    ImagePull {
        pods: PodCount,
        image: Option<Name>,
    },
    JobFailed {
        /// Jobs that failed: more than one of a CronJob.
        failed: usize,
        newest: Name,
        reason: Name,
        message: Name,
    },
    NoReadyEndpoints(NoEndpoints),
    NodeNotReady(NodeLoss),
    NodePressure {
        problems: Vec<Name>,
        pods: u32,
    },
    NodeSuspect(Heartbeats),
    NotCreated {
        has: i32,
        wants: i32,
        /// What refused them, in the server's words.
        refused: Name,
    },
    NotReady {
        pods: PodCount,
        /// What the kubelet says of the failing probe.
        probe: Option<Name>,
    },
    NotStarting {
        pods: PodCount,
        reason: Name,
        message: Name,
    },
    OomKilled {
        pods: PodCount,
        container: Option<Name>,
    },
    OutOfRotation {
        pods: usize,
        service: Option<Name>,
    },
    PdbBlocks {
        why: Blocked,
        /// Pods on cordoned nodes that it keeps from being evicted.
        waiting: u64,
    },
    PodFailed {
        status: Name,
        /// Container, code and reason of the exit.
        exit: Option<(Name, i32, Name)>,
    },
    RolloutStuck {
        /// The rollout verdict's reason.
        why: String,
    },
    RolloutWaits {
        pod: Name,
        /// The pod's state: `not ready`, `Terminating`.
        state: Name,
        /// Pods that it waits for besides this one.
        more: usize,
        updated: i32,
        wanted: i32,
    },
    ServiceErrors {
        /// 0..1.
        ratio: f64,
        rps: f64,
        release: Option<Release>,
        who: Culprit,
    },
    ServiceSlow {
        p95_ms: f64,
        usual_ms: f64,
    },
    Source {
        sources: Vec<Name>,
        /// The error that all of them have; empty if access is denied.
        why: Name,
        denied: bool,
        /// The API server, if it is what does not answer.
        server: Option<Name>,
    },
    Terminating {
        pods: usize,
        held: StillThere,
    },
    TrafficUneven {
        gains: Vec<Gains>,
        /// 0..1.
        expected: f64,
        /// All backends have been in rotation for the whole window of the rates.
        all_settled: bool,
    },
    Unschedulable {
        pods: PodCount,
        /// What the scheduler says.
        message: Name,
        volume: Option<VolumeWait>,
    },
    VolumeNotBound {
        pods: PodCount,
        claim: UnboundClaim,
    },
}

impl Finding {
    pub fn code(&self) -> FindingCode {
        use FindingCode as Code;
        match self {
            Self::BadConfig { .. } => Code::BadConfig,
            Self::CrashLoop { .. } => Code::CrashLoop,
            Self::CronJobMissed { .. } => Code::CronJobMissed,
            Self::ErrorsSinceRollout { .. } => Code::ErrorsSinceRollout,
            Self::Evicted { .. } => Code::Evicted,
            Self::HpaAtLimit { .. } => Code::HpaAtLimit,
            Self::HpaFailing { .. } => Code::HpaFailing,
            Self::ImagePull { .. } => Code::ImagePull,
            Self::JobFailed { .. } => Code::JobFailed,
            Self::NoReadyEndpoints(_) => Code::NoReadyEndpoints,
            Self::NodeNotReady(_) => Code::NodeNotReady,
            Self::NodePressure { .. } => Code::NodePressure,
            Self::NodeSuspect(_) => Code::NodeSuspect,
            Self::NotCreated { .. } => Code::NotCreated,
            Self::NotReady { .. } => Code::NotReady,
            Self::NotStarting { .. } => Code::NotStarting,
            Self::OomKilled { .. } => Code::OomKilled,
            Self::OutOfRotation { .. } => Code::OutOfRotation,
            Self::PdbBlocks { .. } => Code::PdbBlocks,
            Self::PodFailed { .. } => Code::PodFailed,
            Self::RolloutStuck { .. } => Code::RolloutStuck,
            Self::RolloutWaits { .. } => Code::RolloutWaits,
            Self::ServiceErrors { .. } => Code::ServiceErrors,
            Self::ServiceSlow { .. } => Code::ServiceSlow,
            Self::Source { .. } => Code::Source,
            Self::Terminating { .. } => Code::Terminating,
            Self::TrafficUneven { .. } => Code::TrafficUneven,
            Self::Unschedulable { .. } => Code::Unschedulable,
            Self::VolumeNotBound { .. } => Code::VolumeNotBound,
        }
    }

    /// What tells findings of one code apart that are about no object.
    pub fn reason(&self) -> Option<(&Name, bool)> {
        match self {
            Self::Source { why, denied, .. } => Some((why, *denied)),
            _ => None,
        }
    }
}

/// How many of a workload's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodCount {
    pub bad: usize,
    /// How many the workload has; None = not known, or no workload.
    pub of: Option<u32>,
}

/// Why a CronJob may have missed its schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// A warning about it.
    Event {
        reason: Name,
        message: Name,
    },
    /// The last Job still runs, and `concurrencyPolicy` is Forbid.
    StillRuns,
    Unknown,
}

/// Why a Service has no ready endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEndpoints {
    NoWorkload,
    ScaledToZero {
        workload: Name,
    },
    /// A Job that is done.
    Ended {
        workload: Name,
    },
    NotReady {
        ready: u32,
        total: u32,
    },
}

/// A node that the control plane calls NotReady or Unknown, or all nodes of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeLoss {
    Node {
        state: NodeState,
        zone: Option<Name>,
        out_of_service: bool,
        /// None = not read yet.
        pods: Option<u32>,
        terminating: u32,
    },
    Zone {
        zone: Name,
        nodes: usize,
        out_of_service: bool,
        pods: u32,
        ready_elsewhere: u32,
    },
}

/// Nodes that have stopped renewing their Lease while the control plane still calls them Ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeats {
    Node {
        pods: u32,
    },
    /// Most of them at once.
    Most {
        silent: usize,
        of: usize,
    },
}

/// A budget's bound, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Budget {
    MinAvailable(Name),
    MaxUnavailable(Name),
    None,
}

/// Why a budget allows no disruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    Unhealthy { healthy: i32, expected: i32, needs: i32 },
    NoRoom { budget: Budget, expected: i32 },
}

/// A rollout that errors came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The change's own words: `rollout app 1.0→1.1`.
    pub rollout: String,
    pub workload: Name,
    pub by: Option<Name>,
}

/// Whose errors a Service answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Culprit {
    All,
    Some {
        bad: usize,
        of: usize,
    },
    Backend(Name),
    /// Pods that are out of rotation already: it passes by itself.
    OutOfRotation,
}

/// What keeps a pod from being gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StillThere {
    Finalizers(Vec<Name>),
    /// The kubelet of this node answers and does not end it.
    Kubelet(Name),
    /// The node is gone from the cluster, and the pod garbage collector has not come by.
    NodeGone(Name),
}

/// A backend that gets more than its share.
#[derive(Clone, Debug, PartialEq)]
pub struct Gains {
    pub backend: Name,
    /// 0..1.
    pub share: f64,
}

/// A claim that keeps pods from being scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnboundClaim {
    pub name: Name,
    pub state: ClaimState,
    /// The event that says why: its reason and its message.
    pub event: Option<(Name, Name)>,
}

/// Why a claim is not bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    DoesNotExist,
    /// The volume that it was bound to does not exist.
    Lost {
        volume: Option<Name>,
    },
    Pending {
        class: Option<Name>,
    },
}

/// Why a volume is out of reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VolumeWait {
    /// The volume is in the one zone whose nodes are all lost.
    Zone(Name),
    NoNode,
}
