//! The reasons why an action is refused.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::coded::{All, Elsewhere, InContext, LastChange, Reason, coded};
use super::{Access, StepKind};
use crate::domain::id::{Kind, Name, ObjectRef, Uid};

/// The check that refuses an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    ReadOnly,
    /// A permission is missing.
    Rbac,
    /// `kubectl drain` refuses this by default.
    KubectlFilter,
    /// The cluster is not in the state that the action requires.
    Precondition,
    /// The data to judge the action by is not known.
    IncompleteData,
    /// The server's dry run failed.
    DryRun,
}

impl Guard {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Rbac => "rbac",
            Self::KubectlFilter => "kubectl-filter",
            Self::Precondition => "precondition",
            Self::IncompleteData => "incomplete-data",
            Self::DryRun => "dry-run",
        }
    }
}

impl std::fmt::Display for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The filters of `kubectl drain` that refuse a pod, in the order of kubectl's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilterRefusal {
    DaemonSet,
    Unmanaged,
    LocalStorage,
    DaemonSetNotReadable,
    DaemonSetGone,
}

impl std::fmt::Display for FilterRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DaemonSet => "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)",
            Self::Unmanaged => "cannot delete Pods that declare no controller (use --force to override)",
            Self::LocalStorage => {
                "cannot delete Pods with local storage (use --delete-emptydir-data to override)"
            }
            Self::DaemonSetNotReadable => {
                "the DaemonSet of these Pods cannot be read, so kubectl would refuse as well"
            }
            Self::DaemonSetGone => "the DaemonSet of these Pods is gone (use --force to delete them)",
        })
    }
}

coded! {
    /// Why an action is refused. Each code has its fields. `Display` gives the reason in words.
    Refusal

    // For any action.
    "recorded" Recorded { guard: Guard, words: String } = "{words}"
    "read-only" ReadOnly = "read-only: by --read-only, or by guards.read_only or [clusters] of the config"
    "nothing-selected" NothingSelected = "nothing is selected"
    "silence-too-broad" SilenceTooBroad
        = "every alert would match: at least one matcher has to ask for a value that is not empty"
    "other-cluster" OtherCluster { on: ObjectRef, context: Name }
        = "{on} is in another cluster than context {context}: an action is in one cluster, so start one for each"
    "gone" Gone { target: ObjectRef, uid: Uid } = "{target} (uid {uid}) is not in the cluster any more"
    "denied" Denied { access: Access, context: InContext; reason: Reason } = "you may not {access}{context}{reason}"
    "no-connection" NoConnection { context: Name } = "there is no connection to context {context}"
    "dry-run-refused" DryRunRefused { on: ObjectRef, step: StepKind; error: String } = "{step} {on}: {error}"
    "not-readable" NotReadable {; why: String } = "{why}"
    "target-not-read" TargetNotRead { target: ObjectRef } = "{target} was not read"
    "table-incomplete" TableIncomplete { table: &'static str; note: String }
        = "{table} are not completely known ({note}): the plan may be incomplete"
    "table-stale" TableStale { table: &'static str; since: String }
        = "the {table} are stale since {since}: the plan may be wrong"

    // For undo and resume.
    "revision-gone" RevisionGone { on: ObjectRef, revision: i64 }
        = "revision {revision} of {on} does not exist any more"
    "node-is-ready" NodeIsReady { node: ObjectRef } = "{node} is Ready: the out-of-service taint would delete its pods by force"
    "changed-since" ChangedSince { on: ObjectRef; why: String } = "{on} was changed since: {why}"
    "watched-unmeasured" WatchedUnmeasured { id: Name, namespace: Name, service: Name, context: Name; limit: f64 }
        = "{id} must stop if {namespace}/{service} has more than {limit} % errors, and nothing measures them here: prometheus.url is only used for the first cluster; either name the Prometheus of {context} in [clusters.NAME] prometheus, or, if prometheus.url has the metrics of {context} too, run: pilothouse resume {id} --context {context}"
    "nothing-to-undo" NothingToUndo { title: String, why: String } = "nothing of {title} can be undone: {why}"

    // For nodes.
    "node-not-dead" NodeNotDead { node: Name, state: &'static str }
        = "{node} is {state}: the taint is only for a machine that is off, and deletes its pods by force"
    "node-not-read" NodeNotRead { node: Name } = "{node} could not be read"
    "filter" Filter { filter: FilterRefusal, pods: All<String> } = "{filter}: {pods}"

    // For workloads.
    "no-rollout" NoRollout { kind: Kind } = "a {kind} has no rollout"
    "no-restart" NoRestart { kind: Kind } = "a {kind} has no rollout: evict or delete its pods instead"
    "only-deployments-pause" OnlyDeploymentsPause { kind: Kind } = "only a Deployment can be paused, not a {kind}"
    "paused" Paused { name: Name } = "{name} is paused: resume its rollout first"
    "revisions-not-read" RevisionsNotRead { name: Name } = "the revisions of {name} were not read"
    "no-revision" NoRevision { name: Name, why: NoRevision } = "{name}: {why}"

    // For replicas and autoscalers.
    "negative-replicas" NegativeReplicas { replicas: i32 }
        = "{replicas} replicas: a number of 0 or more is needed"
    "not-scalable" NotScalable { kind: Kind } = "a {kind} cannot be scaled"
    "other-replicas" OtherReplicas { name: Name, replicas: i32, seen: i32, who: LastChange }
        = "{name} has {replicas} replicas, not {seen}{who}"
    "no-bounds" NoBounds { min: i32, max: i32 } = "invalid bounds {min}-{max}: the minimum must be 0 or more, the maximum at least 1 and not below the minimum"

    // For single pods.
    "static-pod" StaticPod { pod: Name }
        = "{pod} is a static pod: its kubelet starts it again, whatever the API says"
    "service-missing" ServiceMissing { namespace: Name, service: Name }
        = "service {namespace}/{service} does not exist"
    "service-unknown" ServiceUnknown { namespace: Name, service: Name; note: String }
        = "service {namespace}/{service} is not known ({note})"
    "not-selected" NotSelected { service: Name, pod: Name } = "service {service} does not select {pod}"
    "label-set-again" LabelSetAgain { service: Name, pod: Name, label: &'static str }
        = "service {service} selects {pod} by {label}, which its StatefulSet sets again at once: delete the pod, or change the service's selector"
    "shared-identity" SharedIdentity { pod: Name }
        = "removing the labels would take {pod} from its StatefulSet, which cannot start a second pod of that name: delete the pod instead"
    "never-taken-out" NeverTakenOut { pod: Name, annotation: &'static str }
        = "{pod} was not taken out of rotation by pilothouse (no annotation {annotation})"
    "other-label" OtherLabel { pod: Name, label: String, now: String, was: String }
        = "{pod} now has label {label}={now}, not {was}"

    // For failover.
    "object-missing" ObjectMissing { on: ObjectRef, context: Elsewhere } = "{on} does not exist{context}"
    "object-not-readable" ObjectNotReadable { on: ObjectRef, context: Elsewhere; why: String }
        = "{on}{context} cannot be read: {why}"
    "object-not-read" ObjectNotRead { on: ObjectRef, context: Elsewhere } = "{on}{context} was not read"
    "other-selector" OtherSelector { service: ObjectRef, label: Name, now: String, was: Name }
        = "the selector of {service} has {label}={now}, not {was}"
    "no-ready-pod" NoReadyPod { service: ObjectRef, labels: String }
        = "no pod with {labels} is ready: {service} would have no endpoint"
    "no-such-backends" NoSuchBackends { route: ObjectRef, from: Name, to: Name, known: All<String> }
        = "{route} has no rule with both {from} and {to}; its backends are {known}"
    "no-ready-endpoint" NoReadyEndpoint { namespace: Name, service: Name }
        = "service {namespace}/{service} has no ready endpoint"
    "no-node" NoNode = "the plan selects no node"
    "standby-is-here" StandbyIsHere { context: Name }
        = "{context} is the standby of this plan: fail over from the cluster that has the traffic"
    "scale-down-needs-route" ScaleDownNeedsRoute
        = "scale_down needs a route: otherwise it is not known when the traffic has moved"
}

impl Refusal {
    /// Returns the check that refuses.
    pub fn guard(&self) -> Guard {
        match self {
            Self::Recorded { guard, .. } => *guard,
            Self::ReadOnly => Guard::ReadOnly,
            Self::Denied { .. } | Self::NoConnection { .. } => Guard::Rbac,
            Self::DryRunRefused { .. } => Guard::DryRun,
            Self::Filter { .. } => Guard::KubectlFilter,
            Self::NotReadable { .. }
            | Self::TargetNotRead { .. }
            | Self::TableIncomplete { .. }
            | Self::TableStale { .. }
            | Self::NodeNotRead { .. }
            | Self::RevisionsNotRead { .. }
            | Self::ServiceUnknown { .. }
            | Self::WatchedUnmeasured { .. }
            | Self::ObjectNotReadable { .. }
            | Self::ObjectNotRead { .. } => Guard::IncompleteData,
            Self::NothingSelected
            | Self::OtherCluster { .. }
            | Self::Gone { .. }
            | Self::RevisionGone { .. }
            | Self::NodeIsReady { .. }
            | Self::ChangedSince { .. }
            | Self::NothingToUndo { .. }
            | Self::NodeNotDead { .. }
            | Self::NoRollout { .. }
            | Self::NoRestart { .. }
            | Self::OnlyDeploymentsPause { .. }
            | Self::Paused { .. }
            | Self::NoRevision { .. }
            | Self::NegativeReplicas { .. }
            | Self::NotScalable { .. }
            | Self::OtherReplicas { .. }
            | Self::NoBounds { .. }
            | Self::StaticPod { .. }
            | Self::ServiceMissing { .. }
            | Self::NotSelected { .. }
            | Self::LabelSetAgain { .. }
            | Self::SharedIdentity { .. }
            | Self::NeverTakenOut { .. }
            | Self::OtherLabel { .. }
            | Self::ObjectMissing { .. }
            | Self::OtherSelector { .. }
            | Self::NoReadyPod { .. }
            | Self::NoSuchBackends { .. }
            | Self::NoReadyEndpoint { .. }
            | Self::NoNode
            | Self::StandbyIsHere { .. }
            | Self::ScaleDownNeedsRoute
            | Self::SilenceTooBroad => Guard::Precondition,
        }
    }

    /// Returns the reason for people. It begins with the check that refuses, unless the reason names it.
    pub fn words(&self) -> String {
        let who = match self.guard() {
            Guard::KubectlFilter => "kubectl drain would refuse as well: ",
            Guard::IncompleteData => "not enough is known: ",
            Guard::Rbac => "no permission: ",
            Guard::DryRun => "the server's dry run refuses: ",
            Guard::ReadOnly | Guard::Precondition => "",
        };
        format!("{who}{self}")
    }
}

/// Why a rollback has no revision to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRevision {
    /// The workload has no revisions.
    None,
    /// The workload does not have this revision. `known` lists the revisions that it has.
    Unknown {
        number: i64,
        known: Vec<i64>,
    },
    OnlyOne,
}

impl std::fmt::Display for NoRevision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("it has no revisions"),
            Self::Unknown { number, known } => {
                let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                write!(f, "it has no revision {number}; its revisions are {}", known.join(", "))
            }
            Self::OnlyOne => f.write_str("it has only one revision: there is nothing to go back to"),
        }
    }
}

/// The format of a refusal in the journal.
#[derive(Serialize, Deserialize)]
struct Record {
    guard: Guard,
    reason: String,
}

/// The journal stores the words that were shown.
impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Record { guard: self.guard(), reason: self.to_string() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Refusal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Record { guard, reason } = Record::deserialize(deserializer)?;
        Ok(Self::Recorded { guard, words: reason })
    }
}
