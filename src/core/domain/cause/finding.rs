//! The data of a finding: one variant for each kind. [`super::Cause::objects`] has the objects that a finding is
//! about.

use super::FindingCode;
use crate::domain::autoscaler::HpaReason;
use crate::domain::change::Moved;
use crate::domain::id::Name;
use crate::domain::node::NodeState;
use crate::domain::slo::Burn;
use crate::domain::time::ShownTime;
use crate::domain::traffic::Worse;

#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// An alert fires, and no other finding is about its object.
    AlertFiring {
        /// The name of the most severe alert.
        name: Name,
        summary: Name,
        /// The number of further alerts about the same object.
        more: usize,
    },
    BadConfig {
        pods: PodCount,
    },
    /// The newer version of a Service is worse than the version beside it.
    CanaryWorse {
        canary: Name,
        stable: Name,
        by: Worse,
    },
    CrashLoop {
        pods: PodCount,
        /// The exit code and the reason of the last exit.
        exit: Option<(i32, Name)>,
    },
    CronJobMissed {
        /// `None` if it has never run.
        last: Option<ShownTime>,
        why: Missed,
    },
    ErrorsSinceRollout {
        after_secs: u64,
        moved: Moved,
        template: Name,
    },
    /// Pods of a namespace that evictions left behind.
    Evicted {
        pods: u32,
    },
    HpaAtLimit {
        max: i32,
        /// The number of replicas that the metrics ask for.
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
        /// The number of Jobs that failed. Greater than 1 only for a CronJob.
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
        /// Why the server refused to create the pods, in the server's words.
        refused: Name,
    },
    NotReady {
        pods: PodCount,
        /// The kubelet's message about the failing probe.
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
        /// The number of pods on cordoned nodes that the budget protects from eviction.
        waiting: u64,
    },
    PodFailed {
        status: Name,
        /// The container, and the code and reason of its exit.
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
        /// The number of further pods that the rollout waits for.
        more: usize,
        updated: i32,
        wanted: i32,
    },
    ServiceErrors {
        /// The share of failed requests, 0..1.
        ratio: f64,
        rps: f64,
        release: Option<Release>,
        who: Culprit,
    },
    ServiceSlow {
        p95_ms: f64,
        usual_ms: f64,
    },
    /// The error budget of a service level objective is used too fast.
    SloBurn {
        /// The objective, as `availability 99.9 % over 30d`.
        objective: String,
        /// The burn rates and windows of the pair that is too high.
        burn: Burn,
        /// The share of the budget that is left; less than 0 if more than all of it was used.
        left: Option<f64>,
        /// The seconds until the rest of the budget is used at this rate.
        gone_in_secs: Option<u64>,
    },
    Source {
        sources: Vec<Name>,
        /// The error that all of the sources have. Empty if access is denied.
        why: Name,
        denied: bool,
        /// The API server, if none of its sources answers.
        server: Option<Name>,
    },
    Terminating {
        pods: usize,
        held: StillThere,
    },
    TrafficUneven {
        gains: Vec<Gains>,
        /// The fair share of each backend, 0..1.
        expected: f64,
        /// True if all backends have been in rotation for the whole window of the rates.
        all_settled: bool,
    },
    Unschedulable {
        pods: PodCount,
        /// The scheduler's message.
        message: Name,
        volume: Option<VolumeWait>,
    },
    VolumeNotBound {
        pods: PodCount,
        claim: UnboundClaim,
    },
}

impl Finding {
    /// Returns true if a person brought the state about: a dead node with the taint out-of-service, pods out of
    /// rotation.
    pub fn is_intended(&self) -> bool {
        match self {
            Self::NodeNotReady(
                NodeLoss::Node { out_of_service, .. } | NodeLoss::Zone { out_of_service, .. },
            ) => *out_of_service,
            Self::OutOfRotation { .. } => true,
            _ => false,
        }
    }

    pub fn code(&self) -> FindingCode {
        use FindingCode as Code;
        match self {
            Self::AlertFiring { .. } => Code::AlertFiring,
            Self::BadConfig { .. } => Code::BadConfig,
            Self::CanaryWorse { .. } => Code::CanaryWorse,
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
            Self::SloBurn { .. } => Code::SloBurn,
            Self::Source { .. } => Code::Source,
            Self::Terminating { .. } => Code::Terminating,
            Self::TrafficUneven { .. } => Code::TrafficUneven,
            Self::Unschedulable { .. } => Code::Unschedulable,
            Self::VolumeNotBound { .. } => Code::VolumeNotBound,
        }
    }

    /// Returns the data that distinguishes findings of one code that are about no object.
    pub fn reason(&self) -> Option<(&Name, bool)> {
        match self {
            Self::Source { why, denied, .. } => Some((why, *denied)),
            Self::AlertFiring { name, .. } => Some((name, false)),
            _ => None,
        }
    }
}

/// How many pods of a workload have the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodCount {
    pub bad: usize,
    /// The number of pods of the workload. `None` if it is not known, or if there is no workload.
    pub of: Option<u32>,
}

/// Why a CronJob may have missed its schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// A warning event of the CronJob.
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
    /// The workload is a Job that has finished.
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
        /// `None` if the pods are not read yet.
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
    /// Most of the nodes stopped at the same time.
    Most {
        silent: usize,
        of: usize,
    },
}

/// The limit that a PodDisruptionBudget sets, as its spec has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Budget {
    MinAvailable(Name),
    MaxUnavailable(Name),
    None,
}

/// Why a PodDisruptionBudget allows no disruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    Unhealthy { healthy: i32, expected: i32, needs: i32 },
    NoRoom { budget: Budget, expected: i32 },
}

/// A rollout after which errors began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub moved: Moved,
    pub workload: Name,
    pub by: Option<Name>,
}

/// Which backends of a Service answer with errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Culprit {
    All,
    Some {
        bad: usize,
        of: usize,
    },
    Backend(Name),
    /// Only pods that are already out of rotation. These errors stop without an action.
    OutOfRotation,
}

/// Why a Terminating pod still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StillThere {
    Finalizers(Vec<Name>),
    /// The kubelet of this node answers, but it has not ended the pod.
    Kubelet(Name),
    /// The node no longer exists, and the pod garbage collector has not deleted the pod yet.
    NodeGone(Name),
}

/// A backend that gets more than its share of the requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Gains {
    pub backend: Name,
    /// Its share of the requests, 0..1.
    pub share: f64,
}

/// A PersistentVolumeClaim that keeps pods from being scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnboundClaim {
    pub name: Name,
    pub state: ClaimState,
    /// The reason and the message of the event that explains the state.
    pub event: Option<(Name, Name)>,
}

/// Why a PersistentVolumeClaim is not bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    DoesNotExist,
    /// The volume that the claim was bound to no longer exists.
    Lost {
        volume: Option<Name>,
    },
    Pending {
        class: Option<Name>,
    },
}

/// Why a volume cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VolumeWait {
    /// The volume is in this zone only, and all nodes of the zone are lost.
    Zone(Name),
    NoNode,
}
