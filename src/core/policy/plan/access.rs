//! The rights that a plan needs, as access reviews ask for them.

use crate::domain::id::{Kind, Name};
use crate::model::plan::{Plan, Step, StepKind};
use crate::policy::routes::ROUTES;

/// One right that a plan needs, as an access review asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
    pub subresource: &'static str,
    pub namespace: Name,
    pub name: Name,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if self.namespace.is_empty() { Ok(()) } else { write!(f, " in {}", self.namespace) }
    }
}

/// The plural of a workload kind, for paths and reviews.
pub fn resource(kind: &Kind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        Kind::Node => ("", "nodes"),
        Kind::Pod => ("", "pods"),
        Kind::Deployment => ("apps", "deployments"),
        Kind::StatefulSet => ("apps", "statefulsets"),
        Kind::DaemonSet => ("apps", "daemonsets"),
        Kind::ReplicaSet => ("apps", "replicasets"),
        Kind::Job => ("batch", "jobs"),
        Kind::CronJob => ("batch", "cronjobs"),
        Kind::Service => ("", "services"),
        Kind::EndpointSlice => ("discovery.k8s.io", "endpointslices"),
        Kind::HorizontalPodAutoscaler => ("autoscaling", "horizontalpodautoscalers"),
        Kind::PodDisruptionBudget => ("policy", "poddisruptionbudgets"),
        Kind::Event => ("", "events"),
        Kind::Lease => ("coordination.k8s.io", "leases"),
        Kind::Namespace => ("", "namespaces"),
        Kind::Other(kind) => match kind.as_str() {
            "ControllerRevision" => ("apps", "controllerrevisions"),
            "ResourceQuota" => ("", "resourcequotas"),
            kind => {
                let (_, group, _, plural) = ROUTES.iter().find(|(known, ..)| *known == kind)?;
                (*group, *plural)
            }
        },
    })
}

/// The rights that the steps need, each asked once (evictions by namespace, not by pod). `context`: those of the steps
/// on this cluster, empty = the intent's.
pub fn access(plan: &Plan, context: &str) -> Vec<Access> {
    let mut needed: Vec<Access> = Vec::new();
    for access in plan.steps.iter().filter(|s| s.context == context).filter_map(to_write) {
        if !needed.contains(&access) {
            needed.push(access);
        }
    }
    needed
}

/// The right that a step needs for its write. None: it writes nothing.
pub fn to_write(step: &Step) -> Option<Access> {
    let (group, resource) = resource(&step.on.kind)?;
    let (verb, subresource) = match step.what {
        StepKind::Cordon
        | StepKind::Uncordon
        | StepKind::Restart { .. }
        | StepKind::Rollback { .. }
        | StepKind::Change(_) => ("patch", ""),
        StepKind::Scale { .. } => ("patch", "scale"),
        StepKind::Evict { .. } => ("create", "eviction"),
        StepKind::Delete { .. } => ("delete", ""),
        StepKind::Check(_) => return None,
    };
    let name = if step.is_eviction() { Name::default() } else { step.on.name.clone() };
    Some(Access { verb, group, resource, subresource, namespace: step.on.namespace.clone(), name })
}

/// The right by which a step's object is looked at.
pub fn to_look(step: &Step) -> Option<Access> {
    let (group, resource) = resource(&step.on.kind)?;
    let (namespace, name) = (step.on.namespace.clone(), step.on.name.clone());
    Some(Access { verb: "get", group, resource, subresource: "", namespace, name })
}
