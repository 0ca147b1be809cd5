//! The rights that a plan needs, as access reviews ask for them.

use crate::domain::id::{Kind, Name};
use crate::domain::plan::{Access, Plan, Step, StepKind};

/// The group and the plural of a kind, for reviews.
pub fn resource(kind: &Kind) -> Option<(&'static str, &'static str)> {
    kind.info().map(|info| (info.group, info.plural))
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
