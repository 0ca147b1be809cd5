//! The warnings that a person reads before confirming a plan.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::coded::{All, Burden, Few, InContext, LastChange, Pods, Since, With, coded};
use super::{Access, ServiceEffect, StepKind, Unread};
use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::traffic::{Break, Worse};
use crate::domain::workload::ManagedBy;

coded! {
    /// A warning that a person reads before confirming. Each code has its fields. `Display` gives the words.
    Warning

    // For any action.
    "recorded" Recorded { words: String } = "{words}"
    "not-readable" NotReadable { what: Unread } = "{what}"
    "review-unanswered" ReviewUnanswered { access: Access, context: InContext; error: String }
        = "the access review for {access}{context} failed: {error}"
    "dry-run-unanswered" DryRunUnanswered { on: ObjectRef; error: String }
        = "the dry run of {on} failed: {error}"
    "journal-unusable" JournalUnusable { error: String }
        = "{error}: the record of this would be kept in memory only and is lost with this process"
    "managed-by" ManagedBy { name: Name, manager: String }
        = "{name} is managed by {manager}, which may revert this"
    "owned-by" OwnedBy { name: Name, kind: Kind, owner: Name }
        = "{name} is owned by {kind}/{owner}, which may revert this"
    "last-endpoint" LastEndpoint { namespace: Name, service: Name }
        = "service {namespace}/{service} is left without a ready endpoint"

    // For silences.
    "silences" Silences {; alerts: usize } = "nobody is notified of what it hides until it ends (firing now: {alerts})"
    "silences-nothing" SilencesNothing = "no firing alert matches: it hides only alerts that begin later"
    "silences-everything" SilencesEverything {; alerts: usize }
        = "it hides all {alerts} alerts that there are, of whatever name"
    "silences-others" SilencesOthers { names: Few<Name> } = "it also hides alerts of other names: {names}"
    "silences-namespaces" SilencesNamespaces { names: Few<Name> }
        = "it also hides alerts of other namespaces: {names}"
    "silences-objects" SilencesObjects { names: Few<ObjectRef> }
        = "it also hides alerts about other objects: {names}"
    "silences-unknown" SilencesUnknown {; kept: usize, total: u32 }
        = "only {kept} of {total} alerts are known here: it can hide others of them"
    "silences-long" SilencesLong {; lasts: String }
        = "it lasts {lasts}: problems that begin meanwhile are hidden too"
    "silenced-already" SilencedAlready = "the same silence exists already: nothing to do"
    "silence-ended" SilenceEnded = "the silence has ended already: nothing to do"

    // For undo and resume.
    "cluster-moved" ClusterMoved { context: Name, now: String, then: String }
        = "context {context} is at {now}, and the action was done at {then}: the UID of kube-system is the same, so this is the same cluster at another address, or a copy of it; confirm with the address"
    "cluster-by-address" ClusterByAddress { context: Name, now: String }
        = "context {context}: kube-system cannot be read, so the cluster is recognized by its address only, {now}"
    "cluster-unrecorded" ClusterUnrecorded { context: Name, now: String }
        = "context {context}: the record does not say which cluster it was; it is {now} now"
    "gone-already" GoneAlready { on: ObjectRef } = "{on} is gone already"
    "done-already" DoneAlready { on: ObjectRef, step: StepKind } = "{on}: {step} already"
    "not-restored" NotRestored { what: String } = "not restored: {what}"

    // For nodes.
    "cordoned-already" CordonedAlready { node: Name } = "{node} is already cordoned: nothing to do"
    "uncordoned-already" UncordonedAlready { node: Name } = "{node} is already uncordoned: nothing to do"
    "whole-zone" WholeZone { zone: Name }
        = "these are all nodes of zone {zone}: confirm with the context's name"
    "nodes-unknown" NodesUnknown {; why: String }
        = "the number of nodes is not known ({why}): confirm more than one node with the context's name"
    "cordoned-unknown" CordonedUnknown
        = "the list of nodes is incomplete or stale: more nodes may already be cordoned"
    "many-cordoned" ManyCordoned {; cordoned: usize, nodes: usize, most: usize }
        = "{cordoned} of {nodes} nodes would be cordoned: confirm more than {most} with the context's name"
    "kubelet-silent" KubeletSilent { node: Name, state: &'static str; since: Since }
        = "{node} is {state}{since}: its kubelet does not answer, so evicted pods stay Terminating and the drain cannot finish; if the machine is really off, use out-of-service"
    "node-not-ready" NodeNotReady { node: Name, state: &'static str; since: Since }
        = "{node} is {state}{since}: evicted pods may stay Terminating"
    "tainted-already" TaintedAlready { node: Name }
        = "{node} already has the out-of-service taint: nothing to do"
    "not-tainted" NotTainted { node: Name } = "{node} has no out-of-service taint: nothing to do"
    "machine-must-be-off" MachineMustBeOff
        = "do this only if the machine is really off: two writers on one volume destroy data; the taint stays until you remove it with the same key"

    // For a drain: kubectl's filters, budgets and Services.
    "nothing-evicted" NothingEvicted { node: Name; pods: usize }
        = "{node}: no pod is evicted while some are refused; {pods} could be evicted"
    "unmanaged-pods" UnmanagedPods { pods: Few<String> } = "deleting Pods that declare no controller: {pods}"
    "orphaned-daemonset-pods" OrphanedDaemonSetPods { pods: Few<String> }
        = "deleting Pods that have no DaemonSet any more: {pods}"
    "local-storage-pods" LocalStoragePods { pods: Few<String> } = "deleting Pods with local storage: {pods}"
    "daemonset-pods-ignored" DaemonSetPodsIgnored { pods: Few<String> }
        = "ignoring DaemonSet-managed Pods: {pods}"
    "budgets-never-allow" BudgetsNeverAllow { budgets: Few<String> }
        = "the drain cannot finish: these budgets never allow an eviction: {budgets}"
    "last-endpoints" LastEndpoints { services: Few<String> }
        = "services that lose their last ready endpoint until a replacement is ready: {services}"
    "load-breaks" LoadBreaks { service: String; what: Break } = "service {service}: {what}"
    "burdened" Burdened { services: Few<Burden> }
        = "each remaining backend gets at least 50 % more requests: {services}"

    // For a drain: the placement of the pods.
    "placement-unchecked" PlacementUnchecked = "placement not checked: only this node's pods are known here"
    "placement-partial" PlacementPartial
        = "placement checked against the nodes known so far: the list is not complete"
    "no-room" NoRoom {; pods: Pods } = "{pods} without room on any other node"
    "outside-zone" OutsideZone { pods: Few<With<Name>> }
        = "fit only outside their zone, where their volumes may not follow: {pods}"
    "extended-resources" ExtendedResources { pods: Few<String> }
        = "extended resources are not checked, and these pods request some: {pods}"
    "affinity-unjudged" AffinityUnjudged { pods: Few<String> }
        = "the namespaceSelector of their pod affinity or anti-affinity was not checked: {pods}"

    // For a drain: its costs.
    "bound-to-zone" BoundToZone { pods: Few<With<Name>> } = "their volumes may bind them to the zone: {pods}"
    "same-name" SameName { pods: Few<String> }
        = "re-created under the same name, only after the old one is gone: {pods}"
    "jobs-restart" JobsRestart { pods: Few<String> } = "jobs that start again from zero: {pods}"
    "not-safe-to-evict" NotSafeToEvict { pods: Few<String> }
        = "marked as not safe to evict, for the cluster autoscaler: {pods}"
    "host-path" HostPath { pods: Few<String> } = "files in hostPath volumes stay behind: {pods}"
    "long-grace" LongGrace { pod: String; grace: String }
        = "{pod} may take {grace} to end, and the drain as long"
    "outage-unless-surged" OutageUnlessSurged { workloads: Few<String> }
        = "one replica, so an outage until its replacement is ready (cordon, then restart it with surge first): {workloads}"
    "outage" Outage { workloads: Few<String> }
        = "one replica, so an outage until it is ready again elsewhere: {workloads}"
    "zones-emptied" ZonesEmptied { zones: Few<Name> } = "zones left without a node that takes pods: {zones}"
    "all-ready-replicas" AllReadyReplicas { workloads: Few<String> }
        = "all ready replicas are on the drained nodes: {workloads}"
    "last-in-zone" LastInZone { workloads: Few<With<Name>> } = "the last replicas in their zone: {workloads}"
    "autoscalers-full" AutoscalersFull { hpas: Few<With<i32>> }
        = "autoscalers at their maximum, which add nothing while the load moves: {hpas}"
    "gitops-reverts" GitOpsReverts { workloads: Few<With<ManagedBy>> }
        = "managed by GitOps, which reverts edits made to let the drain pass: {workloads}"

    // For workloads.
    "restart-on-delete" RestartOnDelete { name: Name }
        = "{name} has strategy OnDelete: nothing restarts until each pod is deleted"
    "rollback-on-delete" RollbackOnDelete { name: Name }
        = "{name} has strategy OnDelete: no pod changes until it is deleted"
    "recreate" Recreate { name: Name }
        = "{name} has strategy Recreate: all its pods stop before new ones start"
    "rollout-under-way" RolloutUnderWay { name: Name; why: String }
        = "a rollout of {name} is under way: {why}"
    "rollout-stuck" RolloutStuck { name: Name } = "{name} is stuck; a restart starts the same template again"
    "no-pods" NoPods { name: Name } = "{name} has no pods to restart"
    "paused-already" PausedAlready { name: Name } = "{name} is paused already: nothing to do"
    "resumed-already" ResumedAlready { name: Name } = "{name} is resumed already: nothing to do"
    "stops-half-way" StopsHalfWay { name: Name; why: String } = "its rollout stops half way: {why}"
    "template-rolls-out" TemplateRollsOut = "a template that was changed during the pause rolls out now"
    "template-from-gitops" TemplateFromGitOps { name: Name, who: LastChange }
        = "the template of {name} comes from GitOps, which may revert this{who}"
    "applied-by" AppliedBy { name: Name, manager: String }
        = "{name} is applied by {manager}, which may revert this"
    "newer-revision" NewerRevision { name: Name, revision: i64, who: LastChange }
        = "{name} was rolled back from revision {revision}{who}; this rolls it FORWARD to that revision again"
    "brings-back-error" BringsBackError { revision: i64, template: Name; count: u64 }
        = "only pods of revision {revision} logged this error, {count} times; it can return: {template}"
    "template-already" TemplateAlready { name: Name, revision: i64 }
        = "{name} has the template of revision {revision} already"
    "rollout-just-begun" RolloutJustBegun { name: Name, revision: i64 }
        = "the template of {name} is not that of its newest revision {revision}: a rollout has just begun"
    "revision-cause" RevisionCause { revision: i64, cause: String }
        = "revision {revision} was made by: {cause}"
    "broken-pod-stays" BrokenPodStays
        = "a pod of the newer revision that never became ready is not replaced by this: evict it afterwards"

    // For replicas and autoscalers.
    "replicas-already" ReplicasAlready { name: Name, replicas: i32 }
        = "{name} has {replicas} replicas already: nothing to do"
    "none-ready" NoneReady { name: Name; replicas: i32 }
        = "none of {name}'s {replicas} replicas is ready: more of them may not help"
    "autoscaler-off" AutoscalerOff { hpa: Name } = "0 replicas switch HPA {hpa} off until someone scales up"
    "autoscaler-maximum" AutoscalerMaximum { hpa: Name, max: i32 }
        = "HPA {hpa} sets it back to its maximum {max} within seconds: raise maxReplicas instead"
    "autoscaler-minimum" AutoscalerMinimum { hpa: Name, min: i32 }
        = "HPA {hpa} sets it back to its minimum {min} within seconds: lower minReplicas instead"
    "autoscaler-recomputes" AutoscalerRecomputes { hpa: Name, min: i32, max: i32 }
        = "HPA {hpa} ({min}-{max}) recomputes the number at its next sync: change its bounds instead"
    "autoscalers-unknown" AutoscalersUnknown
        = "it is not known whether an HPA scales this: HPAs are not loaded"
    "no-pods-left" NoPodsLeft { name: Name } = "{name} will have no pods"
    "highest-ordinals" HighestOrdinals { name: Name, replicas: i32 }
        = "the highest ordinals go first, down to {name}-{replicas}"
    "room-unknown" RoomUnknown
        = "it is not known whether more pods fit on a node: not all pods and nodes are loaded"
    "no-node" NoNode { replicas: i32; pods: usize, more: i32, reason: String }
        = "with {replicas} replicas, {pods} of {more} new pods fit on no node now: {reason}"
    "target-unknown" TargetUnknown { kind: Kind, name: Name; most: i32 }
        = "it is not known whether {most} pods fit on a node: {kind} {name} is not watched"
    "quota-unknown" QuotaUnknown {; why: String } = "it is not known whether a quota forbids this: {why}"
    "quota-unjudged" QuotaUnjudged { quota: String, resource: &'static str }
        = "quota {quota} limits {resource}, but the amount for a new pod is not known"
    "quota-full" QuotaFull { quota: String, resource: &'static str; fit: i64, more: i64, used: i64, hard: i64, each: i64 }
        = "quota {quota} leaves room for {fit} of {more} more pods: {resource} {used} of {hard} used, {each} each"
    "keda-reverts" KedaReverts { hpa: Name } = "{hpa} belongs to a KEDA ScaledObject, which reverts this"
    "bounds-already" BoundsAlready { hpa: Name } = "{hpa} has these bounds already: nothing to do"
    "replicas-go" ReplicasGo {; now: i32, going: i32 }
        = "the target has {now} replicas: the HPA removes {going} of them at its next sync"
    "replicas-start" ReplicasStart {; now: i32, more: i32 }
        = "the target has {now} replicas: the HPA adds {more} at its next sync"

    // For single pods.
    "no-controller" NoController { pod: Name } = "{pod} has no controller: nothing will re-create it"
    "empty-dir-lost" EmptyDirLost { pod: Name } = "{pod}: its emptyDir data is lost"
    "budgets-not-asked" BudgetsNotAsked = "deleted, not evicted: PodDisruptionBudgets are not checked"
    "leaves-controller" LeavesController { pod: Name, owner: String }
        = "{pod} leaves {owner} as well, which starts another pod in its place"
    "endpoints-unknown" EndpointsUnknown { service: Name }
        = "the endpoints of service {service} are not known"
    "one-too-many" OneTooMany
        = "its controller may have started another pod meanwhile: then it deletes one of them"

    // For failover.
    "not-watched" NotWatched = "no error ratio is watched: it does not stop by itself"
    "watched" Watched { namespace: Name, service: Name; limit: f64, percent: f64 }
        = "it stops when {namespace}/{service} has more than {limit} % errors; now {percent:.1} %"
    "watched-unknown" WatchedUnknown { namespace: Name, service: Name; limit: f64 }
        = "it stops when {namespace}/{service} has more than {limit} % errors; now unknown: without a metric it goes on"
    "selected-already" SelectedAlready { service: ObjectRef, labels: String }
        = "{service} selects {labels} already: nothing to do"
    "some-not-ready" SomeNotReady { labels: String; ready: u32, pods: usize }
        = "only {ready} of {pods} pods with {labels} are ready"
    "fewer-backends" FewerBackends {; ready: u32, before: u32 }
        = "{ready} backends will serve the requests that {before} serve now"
    "connections-stay" ConnectionsStay = "open connections stay where they are until they end"
    "weights-already" WeightsAlready { route: ObjectRef } = "{route} has these weights already: nothing to do"
    "outside-cluster" OutsideCluster { backend: Name }
        = "{backend} is outside of this cluster: it is not known whether it answers"
    "backend-unknown" BackendUnknown { backend: Name }
        = "it is not known here whether {backend} has a ready endpoint"
    "canary-worse" CanaryWorse { to: Name, from: Name; by: Worse }
        = "this moves requests to the worse backend: {to} is worse than {from}: {by}"
    "images-differ" ImagesDiffer { on: ObjectRef, images: All<String>, context: Name, others: All<String>, other: Name }
        = "{on} runs {images} in {context} and {others} in {other}"
    "last-server" LastServer { backend: Name, server: Name }
        = "no other server of {backend} gets requests: without {server} they fail"
    "server-as-it-is" ServerAsItIs { server: Name; what: String } = "{server} has {what} already: nothing to do"
    "traffic-not-moved" TrafficNotMoved
        = "traffic is not moved by this plan: move it (DNS, the load balancer) before the last step"
    "standby-already" StandbyAlready = "both clusters are already in the planned state: nothing to do"
}

impl Warning {
    /// Returns true for a warning that comes first, because the action cannot finish.
    pub fn is_grave(&self) -> bool {
        matches!(self, Self::KubeletSilent { .. } | Self::SilencesEverything { .. })
    }

    /// Returns the warnings about limits that a Service goes beyond. More requests than ever seen are no limit.
    pub(crate) fn of_breaks(effect: &ServiceEffect) -> impl Iterator<Item = Self> + '_ {
        let is_limit = |what: &&Break| !matches!(what, Break::OverMost { .. } | Break::NoBackend);
        let service = format!("{}/{}", effect.namespace, effect.name);
        let warn = move |what: &Break| Self::LoadBreaks { service: service.clone(), what: what.clone() };
        effect.breaks.iter().filter(is_limit).map(warn)
    }

    /// Returns a warning about these names, or `None` if there are none.
    pub(crate) fn of<T>(names: Vec<T>, say: impl FnOnce(Few<T>) -> Self) -> Option<Self> {
        (!names.is_empty()).then(|| say(Few(names)))
    }
}

/// The journal stores the words that were shown.
impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Warning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::Recorded { words: String::deserialize(deserializer)? })
    }
}
