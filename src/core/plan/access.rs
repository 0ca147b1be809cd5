//! The permissions that a plan needs, as access reviews check them.

use crate::domain::alert::{is_silence, is_url, through};
use crate::domain::found::ServiceAddress;
use crate::domain::id::{Kind, Name};
use crate::domain::plan::{Access, Plan, Step, StepKind};

/// Returns the group and the plural of a kind, for access reviews. Returns `None` if the kind is not known by name.
pub fn resource(kind: &Kind) -> Option<(&'static str, &'static str)> {
    kind.info().map(|info| (info.group, info.plural))
}

/// Returns the permissions that the steps in one cluster need, without duplicates. Evictions need one permission for
/// each namespace, not one for each pod. `context` selects the cluster. An empty context means the intent's.
pub fn access(plan: &Plan, context: &str) -> Vec<Access> {
    let mut needed: Vec<Access> = Vec::new();
    for access in plan.steps.iter().filter(|s| s.context == context).filter_map(to_write) {
        if !needed.contains(&access) {
            needed.push(access);
        }
    }
    needed
}

/// Returns the permission that a step needs to write. Returns `None` if the step writes nothing.
pub fn to_write(step: &Step) -> Option<Access> {
    if is_silence(&step.on.kind) {
        let ends =
            matches!(&step.what, StepKind::Change(change) if change.fields.iter().all(|f| f.to.is_null()));
        return to_proxy(step, if ends { "delete" } else { "create" });
    }
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

/// Returns the permission that a step needs to read its object.
pub fn to_look(step: &Step) -> Option<Access> {
    if is_silence(&step.on.kind) {
        return to_proxy(step, "get");
    }
    let (group, resource) = resource(&step.on.kind)?;
    let (namespace, name) = (step.on.namespace.clone(), step.on.name.clone());
    Some(Access { verb: "get", group, resource, subresource: "", namespace, name })
}

/// Returns the permission for a request to the Alertmanager behind a Service. Returns `None` if it has a URL.
fn to_proxy(step: &Step, verb: &'static str) -> Option<Access> {
    let address = ServiceAddress::parse(&through(&step.on).filter(|through| !is_url(through))?)?;
    Some(Access {
        verb,
        group: "",
        resource: "services",
        subresource: "proxy",
        namespace: address.namespace().into(),
        name: address.proxied().into(),
    })
}
