//! Workloads: the kinds that create pods (Deployment, ReplicaSet, StatefulSet, DaemonSet, Job).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{ClusterId, Kind, Name, ObjectRef, Owner, Uid, Version};
use super::node::{ChangedBy, Condition, Status};
use super::row::row;
use super::selector::{Operator, Selector};
use super::time::Stamp;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    #[default]
    RollingUpdate,
    Recreate,
    OnDelete,
}

/// The StatefulSet controller sets this label on each pod, and sets it again if it is removed.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub const REVISION: &str = "controller-revision-hash";
/// Zone and region are copied from the node to the pods bound to it.
pub const TOPOLOGY: &str = "topology.kubernetes.io/";

fn is_ordinal(text: Option<&str>) -> bool {
    text.is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()))
}

/// One workload. Which fields have a meaning depends on the kind: see [`crate::policy::rollout`].
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
    /// `spec.replicas` (1 if absent, the API's default); a Job's `parallelism`; 0 for a DaemonSet.
    pub replicas: i32,
    /// The desired number of pods: replicas, or `desiredNumberScheduled` of a DaemonSet, or completions of a Job.
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
    /// The partition of a StatefulSet with a `rollingUpdate` section.
    pub partition: Option<i32>,
    pub current_revision: Name,
    pub update_revision: Name,
    /// Annotation `deployment.kubernetes.io/revision`.
    pub revision: Option<i64>,
    pub conditions: Arc<[Condition]>,
    pub selector: Arc<Selector>,
    pub images: Arc<[Name]>,
    /// The template's labels, which a Service's selector is matched against.
    pub template_labels: Arc<[(Name, Name)]>,
    pub owner: Option<Arc<Owner>>,
    /// The tool that owns or reverts changes (Argo CD, Flux, Helm, an operator), from labels and annotations.
    pub managed_by: Option<ManagedBy>,
    pub changed: Option<ChangedBy>,
    /// Who last changed `spec.template`, and when, from managedFields. These have one time for each manager: if the same manager
    /// changed another field later, such as the replicas, it is that later time.
    pub rolled_out: Option<ChangedBy>,
    /// Annotation `kubectl.kubernetes.io/restartedAt` of the template.
    pub restarted_at: Option<Name>,
}
row!(Workload);

impl Workload {
    /// Returns the reference to this workload of a cluster.
    pub fn reference(&self, cluster: ClusterId) -> ObjectRef {
        ObjectRef::new(cluster, self.kind.clone(), &self.namespace, &self.name, &self.uid)
    }

    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }

    /// A Job that completed or failed.
    pub fn is_finished(&self) -> bool {
        let is = |kind: &str| self.condition(kind).is_some_and(|c| c.status == Status::True);
        self.kind == Kind::Job && (is("Complete") || is("Failed"))
    }

    /// Whether a selector selects some of its pods, according to the template. A label that is added to each pod
    /// separately counts as matching, unless its value is known to belong to another workload (a pod name of another
    /// StatefulSet).
    pub fn may_have_pods_for(&self, selector: &Selector) -> bool {
        let mut keys =
            selector.labels.iter().map(|(k, _)| k).chain(selector.expressions.iter().map(|r| &r.key));
        // most selectors end here; rules call this for every pair of a Service and a workload
        if !keys.any(|key| self.adds_label(key)) {
            return selector.matches(&*self.template_labels);
        }
        let template = |key: &str| self.template_labels.iter().find(|(k, _)| *k == key).map(|(_, v)| v);
        let of_template = Selector {
            labels: selector.labels.iter().filter(|(k, _)| !self.adds_label(k)).cloned().collect(),
            expressions: selector.expressions.iter().filter(|r| !self.adds_label(&r.key)).cloned().collect(),
            nothing: selector.nothing,
        };
        let is_one_of_its = |key: &Name, value: &Name| {
            template(key) == Some(value)
                || match key.as_str() {
                    POD_NAME => {
                        is_ordinal(value.strip_prefix(self.name.as_str()).and_then(|v| v.strip_prefix('-')))
                    }
                    POD_INDEX | COMPLETION_INDEX => is_ordinal(Some(value)),
                    _ => true,
                }
        };
        of_template.matches(&*self.template_labels)
            && selector.labels.iter().filter(|(k, _)| self.adds_label(k)).all(|(k, v)| is_one_of_its(k, v))
            && selector.expressions.iter().filter(|r| self.adds_label(&r.key)).all(|r| match r.operator {
                Operator::In => r.values.iter().any(|v| is_one_of_its(&r.key, v)),
                Operator::NotIn | Operator::Exists => true,
                Operator::DoesNotExist => r.key.starts_with(TOPOLOGY),
                Operator::Unsupported => false,
            })
    }

    /// Labels that pods get in addition to the template's, from their controller or when they are bound to a node.
    fn adds_label(&self, key: &str) -> bool {
        key.starts_with(TOPOLOGY)
            || match self.kind {
                Kind::Deployment => key == "pod-template-hash",
                Kind::StatefulSet => matches!(key, REVISION | POD_NAME | POD_INDEX),
                Kind::DaemonSet => matches!(key, REVISION | "pod-template-generation"),
                Kind::Job => key == COMPLETION_INDEX,
                _ => false,
            }
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
            rolled_out: None,
            restarted_at: None,
        }
    }
}

/// What applies a workload from somewhere else, by its labels and annotations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedBy {
    pub tool: Tool,
    /// Of the application or the release, where it is known.
    pub name: Option<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    ArgoCd,
    Flux,
    Helm,
}

impl Tool {
    /// True for what puts its own state back by itself; Helm applies when somebody runs it.
    pub fn reverts(self) -> bool {
        matches!(self, Self::ArgoCd | Self::Flux)
    }
}

impl std::fmt::Display for ManagedBy {
    /// `Argo CD shop`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.tool {
            Tool::ArgoCd => "Argo CD",
            Tool::Flux => "Flux",
            Tool::Helm => "Helm",
        })?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

/// The state of a rollout, which [`crate::policy::rollout`] determines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RolloutPhase {
    #[default]
    Complete,
    /// OnDelete, or a Job: there is no rollout.
    NotApplicable,
    Paused,
    Progressing,
    /// Condition Progressing=False with reason ProgressDeadlineExceeded.
    Stuck,
}

impl RolloutPhase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::NotApplicable => "n/a",
            Self::Paused => "paused",
            Self::Progressing => "progressing",
            Self::Stuck => "stuck",
        }
    }
}

/// A verdict with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    pub phase: RolloutPhase,
    pub why: String,
    /// Since when it is stuck or paused, if the API says.
    pub since: Option<Stamp>,
}

impl Rollout {
    pub fn new(phase: RolloutPhase, why: impl Into<String>) -> Self {
        Self { phase, why: why.into(), since: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_have_more_labels_than_their_template() {
        let of = |kind: Kind| Workload {
            kind,
            name: "db".into(),
            template_labels: [("app".into(), "db".into())].into(),
            ..Workload::default()
        };
        let picks = |kind: Kind, labels: &[(&str, &str)]| {
            of(kind).may_have_pods_for(&Selector::from_labels(
                labels.iter().map(|(k, v)| (Name::from(*k), Name::from(*v))),
            ))
        };
        for (kind, labels, want) in [
            (Kind::StatefulSet, &[(POD_NAME, "db-0")][..], true),
            (Kind::StatefulSet, &[(POD_NAME, "db-0"), ("app", "db")], true),
            (Kind::StatefulSet, &[(POD_NAME, "db-0"), ("app", "web")], false),
            (Kind::StatefulSet, &[(POD_NAME, "db-main-0")], false),
            (Kind::StatefulSet, &[(POD_NAME, "db-")], false),
            (Kind::StatefulSet, &[(POD_INDEX, "1")], true),
            (Kind::StatefulSet, &[(REVISION, "db-7f")], true),
            (Kind::Deployment, &[(POD_NAME, "db-0")], false),
            (Kind::Deployment, &[("app", "db"), ("pod-template-hash", "x")], true),
            (Kind::Deployment, &[("topology.kubernetes.io/zone", "z1")], true),
            (Kind::DaemonSet, &[(POD_INDEX, "1")], false),
        ] {
            assert_eq!(picks(kind.clone(), labels), want, "{kind:?} {labels:?}");
        }
    }
}
