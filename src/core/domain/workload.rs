//! Workloads: what makes pods (Deployment, ReplicaSet, StatefulSet, DaemonSet, Job).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Kind, Name, ObjectRef, Owner, Uid, Version};
use super::node::{ChangedBy, Condition};
use super::selector::Selector;
use super::time::Stamp;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    #[default]
    RollingUpdate,
    Recreate,
    OnDelete,
}

/// One workload. Which fields mean something depends on the kind: see [`crate::policy::rollout`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    pub kind: Kind,
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub created: Stamp,
    pub generation: i64,
    pub observed_generation: i64,
    /// `spec.replicas` (1 when absent, as the API defaults it); a Job's `parallelism`; 0 for a DaemonSet.
    pub replicas: i32,
    /// What it should have now: replicas, or `desiredNumberScheduled` of a DaemonSet, or completions of a Job.
    pub desired: i32,
    /// `status.replicas`, `currentNumberScheduled`, or a Job's active pods.
    pub current: i32,
    pub updated: i32,
    pub ready: i32,
    pub available: i32,
    /// A Job's `succeeded` and `failed`.
    pub succeeded: i32,
    pub failed: i32,
    pub paused: bool,
    pub strategy: Strategy,
    /// A StatefulSet with a `rollingUpdate` section: its partition.
    pub partition: Option<i32>,
    pub current_revision: Name,
    pub update_revision: Name,
    /// Annotation `deployment.kubernetes.io/revision`.
    pub revision: Option<i64>,
    pub conditions: Arc<[Condition]>,
    pub selector: Arc<Selector>,
    pub images: Arc<[Name]>,
    /// The template's labels: what a Service's selector is matched with.
    pub template_labels: Arc<[(Name, Name)]>,
    pub owner: Option<Arc<Owner>>,
    /// Argo CD, Flux, Helm, an operator: what will revert or own changes, by its labels and annotations.
    pub managed_by: Option<Name>,
    pub changed: Option<ChangedBy>,
    /// Annotation `kubectl.kubernetes.io/restartedAt` of the template.
    pub restarted_at: Option<Name>,
}

impl Workload {
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(self.kind.clone(), &self.namespace, &self.name, &self.uid)
    }

    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            kind: Kind::Deployment,
            uid: Uid::default(),
            version: Version::default(),
            namespace: Name::default(),
            name: Name::default(),
            created: Stamp::default(),
            generation: 0,
            observed_generation: 0,
            replicas: 0,
            desired: 0,
            current: 0,
            updated: 0,
            ready: 0,
            available: 0,
            succeeded: 0,
            failed: 0,
            paused: false,
            strategy: Strategy::default(),
            partition: None,
            current_revision: Name::default(),
            update_revision: Name::default(),
            revision: None,
            conditions: Arc::default(),
            selector: Arc::default(),
            images: Arc::default(),
            template_labels: Arc::default(),
            owner: None,
            managed_by: None,
            changed: None,
            restarted_at: None,
        }
    }
}
