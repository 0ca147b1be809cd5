//! Pods: slim rows. Values that the pods of one owner share are stored once, in a [`PodShape`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Name, Owner, Uid, Version};
use super::label::Labels;
use super::quantity::Resources;
use super::row::{object, row};
use super::scheduling::Scheduling;
use super::time::Stamp;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    #[default]
    Unknown,
}

impl Phase {
    pub fn parse(text: &str) -> Self {
        match text {
            "Pending" => Self::Pending,
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            _ => Self::Unknown,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }

    /// Succeeded or Failed: the pod uses no resources any more and blocks no drain.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The class of problem that a pod's containers have, for rules and colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trouble {
    /// CrashLoopBackOff, RunContainerError, CreateContainerError …
    CrashLoop,
    /// ErrImagePull, ImagePullBackOff, InvalidImageName …
    ImagePull,
    /// CreateContainerConfigError: a missing ConfigMap or Secret.
    Config,
    /// The last termination was OOMKilled.
    OomKilled,
    /// The scheduler finds no node.
    Unschedulable,
    /// Phase Failed by eviction.
    Evicted,
}

/// The latest termination of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    pub reason: Name,
    pub code: i32,
    pub at: Option<Stamp>,
    pub container: Name,
}

/// The values that all pods of one template share, in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodShape {
    /// Labels, except for those that differ from pod to pod, which are in [`PodOwn`]. [`Pod::labels`] returns both.
    pub labels: Box<[(Name, Name)]>,
    pub containers: Box<[ContainerShape]>,
    pub init_containers: Box<[ContainerShape]>,
    /// Effective requests of the template (`policy::requests`); an in-place resize can make one pod differ.
    pub requests: Resources,
    /// The CPU limit of all its containers together, in thousandths of a core. 0 if one of them has none.
    #[serde(default)]
    pub cpu_limit_milli: i64,
    /// The memory limit of all its containers together, in bytes. 0 if one of them has none.
    #[serde(default)]
    pub memory_limit_bytes: i64,
    /// It has an emptyDir volume, whose data is lost with the pod.
    pub empty_dir: bool,
    pub grace_secs: Option<u32>,
    pub priority: i32,
    pub host_network: bool,
    /// Persistent volume claims; their volumes can bind the pod to a zone.
    #[serde(default)]
    pub claims: bool,
    /// It has a hostPath volume, whose data stays on the node.
    #[serde(default)]
    pub host_path: bool,
    /// Annotation `cluster-autoscaler.kubernetes.io/safe-to-evict: "false"`: the pod should not be evicted.
    #[serde(default)]
    pub keep_in_place: bool,
    /// `restartPolicy` is not Always, so a terminated container is no problem.
    #[serde(default)]
    pub runs_to_end: bool,
    /// How long its probes allow it to take until it is ready, in seconds: the startup probe's failures and the initial
    /// delays.
    #[serde(default)]
    pub startup_secs: u32,
    #[serde(default)]
    pub scheduling: Arc<Scheduling>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContainerShape {
    pub name: Name,
    pub image: Name,
    /// An init container with `restartPolicy: Always`.
    pub sidecar: bool,
}

/// Values of one pod alone; most pods have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodOwn {
    /// Labels that differ between the pods of one template (`statefulset.kubernetes.io/pod-name`, an index, a zone).
    pub labels: Box<[(Name, Name)]>,
    /// What the deletion of a pod waits for; empty if the pod is not being deleted.
    #[serde(default)]
    pub finalizers: Box<[Name]>,
    /// Labels that were removed to take it out of its Service, according to the annotation that records them.
    #[serde(default)]
    pub taken: Box<[(Name, Name)]>,
    /// It is terminating because of an eviction (condition DisruptionTarget).
    #[serde(default)]
    pub evicted: bool,
    /// The PersistentVolumeClaims that it mounts, while it is Pending; empty for all others.
    #[serde(default)]
    pub claims: Box<[Name]>,
}

/// A pod with the fields that the console shows and plans with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub node: Option<Name>,
    pub owner: Option<Arc<Owner>>,
    pub shape: Arc<PodShape>,
    #[serde(default)]
    pub own: Option<Arc<PodOwn>>,
    /// Effective requests of this pod, including in-place resizes.
    pub requests: Resources,
    pub phase: Phase,
    /// Condition Ready=True.
    pub ready: bool,
    /// Since when the condition Ready has its current status.
    pub ready_since: Option<Stamp>,
    /// An init container that is not a sidecar is running.
    #[serde(default)]
    pub init_running: bool,
    pub containers_ready: u16,
    pub containers: u16,
    pub created: Stamp,
    pub started: Option<Stamp>,
    /// `deletionTimestamp`: when the pod will be killed, not when its deletion was requested.
    pub deleting: Option<Stamp>,
    /// `metadata.deletionGracePeriodSeconds`: `deleting` minus this is when the deletion was requested.
    pub deletion_grace_secs: Option<u32>,
    pub restarts: u32,
    pub last_exit: Option<Arc<LastExit>>,
    pub trouble: Option<Trouble>,
    /// The word in kubectl's STATUS column (`CrashLoopBackOff`, `Init:0/1`; the view adds `Terminating`).
    pub status: Name,
    /// The scheduler's or the kubelet's message for `trouble`.
    pub message: Option<Name>,
    pub ip: Option<Name>,
    /// Annotation `kubernetes.io/config.mirror`: the mirror pod of a static pod, which a deletion does not stop.
    pub mirror: bool,
}
row!(Pod);
object!(Pod, Pod);

/// The condition Ready is first set within this time after the start. If it changed later, the pod was ready before.
pub const START_SECS: u64 = 30;
/// The longest normal start, in addition to the time that its probes allow.
const UP_SECS: u64 = 60;

impl Pod {
    /// All labels that the server has for it.
    pub fn labels(&self) -> Labels<'_> {
        Labels::new(&self.shape.labels, self.own.as_ref().map_or(&[], |own| &own.labels))
    }

    /// What the deletion of the pod waits for.
    pub fn finalizers(&self) -> &[Name] {
        self.own.as_ref().map_or(&[], |own| &own.finalizers)
    }

    /// The labels that it had in rotation, if it was taken out of rotation.
    pub fn taken(&self) -> &[(Name, Name)] {
        self.own.as_ref().map_or(&[], |own| &own.taken)
    }

    /// The PersistentVolumeClaims without which it does not start, while it is Pending.
    pub fn claims(&self) -> &[Name] {
        self.own.as_ref().map_or(&[], |own| &own.claims)
    }

    /// It is going because somebody asked the Eviction API for that.
    pub fn is_evicted(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.evicted)
    }

    pub fn is_terminating(&self) -> bool {
        self.deleting.is_some()
    }

    /// When its deletion was requested.
    pub fn deletion_asked(&self) -> Option<Stamp> {
        self.deleting.map(|at| at.plus_secs(-i64::from(self.deletion_grace_secs.unwrap_or(0))))
    }

    /// Unhealthy in a way that a person should see: a problem of its containers, running but not ready, or failed.
    pub fn is_bad(&self) -> bool {
        match self.phase {
            Phase::Succeeded => false,
            Phase::Failed | Phase::Unknown => true,
            Phase::Running => self.trouble.is_some() || (!self.ready && self.deleting.is_none()),
            Phase::Pending => self.trouble.is_some(),
        }
    }

    /// Its containers run, and the time that its probes allow for a start is not over, so it counts as healthy for now.
    /// A pod that was ready before is not starting.
    pub fn is_starting(&self, now: Stamp) -> bool {
        let running = self.phase == Phase::Running && self.trouble.is_none() && self.deleting.is_none();
        let Some(started) = self.started.filter(|_| running && !self.ready) else { return false };
        let was_ready = self.ready_since.is_some_and(|since| since.secs_since(started) > START_SECS);
        !was_ready && now.secs_since(started) < UP_SECS + u64::from(self.shape.startup_secs)
    }

    /// Starting on a node, or terminating.
    pub fn is_unsettled(&self) -> bool {
        let is_coming = self.node.is_some() || !self.claims().is_empty();
        self.is_terminating() || self.phase == Phase::Pending && is_coming && self.trouble.is_none()
    }

    /// Terminating and otherwise healthy. It counts as stuck only if its node is dead, because no kubelet is there to
    /// finish the deletion.
    pub fn is_leaving(&self) -> bool {
        self.is_terminating() && self.node.is_some() && !self.phase.is_finished() && !self.is_bad()
    }
}

impl<'a> From<&'a Pod> for Labels<'a> {
    fn from(pod: &'a Pod) -> Self {
        pod.labels()
    }
}

impl<'a> From<&'a Arc<Pod>> for Labels<'a> {
    fn from(pod: &'a Arc<Pod>) -> Self {
        pod.labels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Up to 150,000 pods are held in memory, so values that only a few pods have are behind one pointer.
    #[test]
    fn a_pod_is_small() {
        assert!(size_of::<Pod>() <= 272, "{}", size_of::<Pod>());
    }
}
