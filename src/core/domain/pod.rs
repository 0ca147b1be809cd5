//! Pods: slim rows, with what repeats between the pods of one owner shared in a [`PodShape`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Name, Owner, Uid, Version};
use super::label::Labels;
use super::quantity::Resources;
use super::row::row;
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

    /// Succeeded or Failed: holds no resources any more and blocks no drain.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What is wrong with a pod's containers, if anything: the class that rules and colours work with.
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

/// How a container ended last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    pub reason: Name,
    pub code: i32,
    pub at: Option<Stamp>,
    pub container: Name,
}

/// What the pods of one template have in common, one allocation for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodShape {
    /// Labels without those that differ from pod to pod, which are in [`PodOwn`]: ask [`Pod::labels`], which has both.
    pub labels: Box<[(Name, Name)]>,
    pub containers: Box<[ContainerShape]>,
    pub init_containers: Box<[ContainerShape]>,
    /// Effective requests of the template (`policy::requests`); a resize in place may make one pod differ.
    pub requests: Resources,
    /// An emptyDir volume: its data is lost with the pod.
    pub empty_dir: bool,
    pub grace_secs: Option<u32>,
    pub priority: i32,
    pub host_network: bool,
    /// Persistent volume claims: the volumes may bind the pod to a zone.
    #[serde(default)]
    pub claims: bool,
    /// A hostPath volume: what it wrote stays on the node.
    #[serde(default)]
    pub host_path: bool,
    /// Annotation `cluster-autoscaler.kubernetes.io/safe-to-evict: "false"`: somebody asks to leave it where it is.
    #[serde(default)]
    pub keep_in_place: bool,
    /// `restartPolicy` is not Always: containers that ended are no trouble.
    #[serde(default)]
    pub runs_to_end: bool,
    /// How long its probes give it to become ready, in seconds: the startup probe's failures and the first delays.
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

/// What a pod has for itself alone; most pods have nothing of the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodOwn {
    /// Labels that differ between the pods of one template (`statefulset.kubernetes.io/pod-name`, an index, a zone).
    pub labels: Box<[(Name, Name)]>,
    /// What a pod that is being deleted still waits for; empty for all others.
    #[serde(default)]
    pub finalizers: Box<[Name]>,
    /// Labels that were taken from it so that its Service does not select it, by the note that was left in its annotations.
    #[serde(default)]
    pub taken: Box<[(Name, Name)]>,
    /// It is going because the Eviction API was asked for that (condition DisruptionTarget).
    #[serde(default)]
    pub evicted: bool,
    /// The PersistentVolumeClaims that it mounts, while it is Pending; empty for all others.
    #[serde(default)]
    pub claims: Box<[Name]>,
}

/// A pod as the console shows and plans with it.
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
    /// Effective requests of this pod, resizes in place included.
    pub requests: Resources,
    pub phase: Phase,
    /// Condition Ready=True.
    pub ready: bool,
    /// Since when condition Ready is what it is.
    pub ready_since: Option<Stamp>,
    /// One of its init containers runs, sidecars aside.
    #[serde(default)]
    pub init_running: bool,
    pub containers_ready: u16,
    pub containers: u16,
    pub created: Stamp,
    pub started: Option<Stamp>,
    /// `deletionTimestamp`: when it will be killed, not when deletion was asked for.
    pub deleting: Option<Stamp>,
    /// `metadata.deletionGracePeriodSeconds`: `deleting` less this is when deletion was asked for.
    pub deletion_grace_secs: Option<u32>,
    pub restarts: u32,
    pub last_exit: Option<Arc<LastExit>>,
    pub trouble: Option<Trouble>,
    /// The word that kubectl shows under STATUS (`CrashLoopBackOff`, `Init:0/1`, `Terminating` is added by the view).
    pub status: Name,
    /// The scheduler's or the kubelet's message for `trouble`.
    pub message: Option<Name>,
    pub ip: Option<Name>,
    /// Annotation `kubernetes.io/config.mirror`: a static pod's shadow, which deleting does not stop.
    pub mirror: bool,
}
row!(Pod);

/// The condition Ready is first set within this long after the start; if it changed later, the pod had been ready.
pub const START_SECS: u64 = 30;
/// Beside what its probes allow, a start takes no longer than this.
const UP_SECS: u64 = 60;

impl Pod {
    /// All labels, as the server has them.
    pub fn labels(&self) -> Labels<'_> {
        Labels::new(&self.shape.labels, self.own.as_ref().map_or(&[], |own| &own.labels))
    }

    /// What keeps a pod that is being deleted.
    pub fn finalizers(&self) -> &[Name] {
        self.own.as_ref().map_or(&[], |own| &own.finalizers)
    }

    /// The labels that it had while it was in rotation, if it was taken out.
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

    /// When deletion was asked for.
    pub fn deletion_asked(&self) -> Option<Stamp> {
        self.deleting.map(|at| at.plus_secs(-i64::from(self.deletion_grace_secs.unwrap_or(0))))
    }

    /// Not healthy in a way a person should see: in trouble, or running and not ready, or failed.
    pub fn is_bad(&self) -> bool {
        match self.phase {
            Phase::Succeeded => false,
            Phase::Failed | Phase::Unknown => true,
            Phase::Running => self.trouble.is_some() || (!self.ready && self.deleting.is_none()),
            Phase::Pending => self.trouble.is_some(),
        }
    }

    /// Its containers run and its probes have not had the time that a start takes: well for now. One that was ready
    /// before is not on its way up.
    pub fn is_starting(&self, now: Stamp) -> bool {
        let running = self.phase == Phase::Running && self.trouble.is_none() && self.deleting.is_none();
        let Some(started) = self.started.filter(|_| running && !self.ready) else { return false };
        let was_ready = self.ready_since.is_some_and(|since| since.secs_since(started) > START_SECS);
        !was_ready && now.secs_since(started) < UP_SECS + u64::from(self.shape.startup_secs)
    }

    /// On its way up, bound to a node or waiting for a volume, or on its way out.
    pub fn is_unsettled(&self) -> bool {
        let is_coming = self.node.is_some() || !self.claims().is_empty();
        self.is_terminating() || self.phase == Phase::Pending && is_coming && self.trouble.is_none()
    }

    /// Well but for being on its way out: bad only where its node is dead, since nobody is left there to end it.
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

    /// 150,000 of them are held at a time: what only a few have lies behind one pointer.
    #[test]
    fn a_pod_is_small() {
        assert!(size_of::<Pod>() <= 272, "{}", size_of::<Pod>());
    }
}
