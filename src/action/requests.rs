//! A step as an HTTP request: path, content type and body, with the identity and the version that it was planned
//! with, so that it cannot hit another object or overwrite another change.

use pilothouse_core::domain::id::{Kind, ObjectRef};
use pilothouse_core::model::plan::StepKind;
use pilothouse_core::policy::plan::resource;
use serde_json::{Value, json};

use crate::wire::write::{WriteClient, WriteError, content};

/// The field manager that our changes carry in managedFields.
pub const MANAGER: &str = "pilothouse";

/// The API path of an object.
pub fn path(object: &ObjectRef) -> Option<String> {
    let (group, plural) = resource(&object.kind)?;
    let version = match group {
        "" => "/api/v1".to_owned(),
        "autoscaling" => "/apis/autoscaling/v2".to_owned(),
        group => format!("/apis/{group}/v1"),
    };
    Some(if object.kind.is_namespaced() {
        format!("{version}/namespaces/{}/{plural}/{}", object.namespace, object.name)
    } else {
        format!("{version}/{plural}/{}", object.name)
    })
}

/// One mutating request.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    pub path: String,
    pub content: &'static str,
    pub body: Value,
}

/// Builds the request of a step. `version`: the object's resourceVersion at the re-check, None for a dry run before
/// it. `stamp`: RFC 3339, the value that a restart writes; it is what tells later whether it was applied.
pub fn mutation(what: &StepKind, on: &ObjectRef, version: Option<&str>, stamp: &str) -> Option<Mutation> {
    let mut metadata = json!({ "uid": on.uid.to_string() });
    if let (Some(version), Some(object)) = (version, metadata.as_object_mut()) {
        object.insert("resourceVersion".into(), json!(version));
    }
    let path = path(on)?;
    Some(match what {
        // unschedulable true or absent, as kubectl leaves it
        StepKind::Cordon => Mutation {
            path,
            content: content::MERGE,
            body: json!({ "metadata": metadata, "spec": { "unschedulable": true } }),
        },
        StepKind::Uncordon => Mutation {
            path,
            content: content::MERGE,
            body: json!({ "metadata": metadata, "spec": { "unschedulable": null } }),
        },
        StepKind::Restart { .. } => Mutation {
            path,
            content: content::STRATEGIC,
            body: json!({ "metadata": metadata, "spec": { "template": { "metadata": { "annotations": {
                RESTARTED_AT: stamp
            } } } } }),
        },
        StepKind::Scale { to, .. } => Mutation {
            path: format!("{path}/scale"),
            content: content::MERGE,
            body: json!({ "metadata": metadata, "spec": { "replicas": to } }),
        },
        // the drain's own steps come with its executor
        StepKind::Evict | StepKind::Delete => return None,
    })
}

/// What kubectl writes, so that its `rollout history` and other tools see the same.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

impl Mutation {
    /// Sends it, once.
    pub async fn send(&self, client: &WriteClient, dry_run: bool) -> Result<Value, WriteError> {
        client.patch(&self.path, self.content, &self.body, dry_run, MANAGER).await
    }
}

/// True for kinds that have the steps' fields.
pub fn is_workload(kind: &Kind) -> bool {
    matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet)
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::Uid;

    use super::*;

    #[test]
    fn every_request_pins_the_object() {
        let object = ObjectRef::new(
            Kind::Deployment,
            &"shop".into(),
            &"checkout".into(),
            &Uid::parse("c0ffee00-1234-4abc-8def-0123456789ab"),
        );
        let m = mutation(&StepKind::Scale { from: 3, to: 5 }, &object, Some("42"), "").unwrap();
        assert_eq!(m.path, "/apis/apps/v1/namespaces/shop/deployments/checkout/scale");
        assert_eq!(
            m.body,
            json!({"metadata": {"uid": "c0ffee00-1234-4abc-8def-0123456789ab", "resourceVersion": "42"}, "spec": {"replicas": 5}})
        );
        let node = ObjectRef::new(Kind::Node, &"".into(), &"n".into(), &Uid::Uuid(1));
        let m = mutation(&StepKind::Uncordon, &node, None, "").unwrap();
        assert_eq!(m.path, "/api/v1/nodes/n");
        assert!(m.body.pointer("/metadata/resourceVersion").is_none());
        assert!(m.body.pointer("/spec/unschedulable").unwrap().is_null());
    }
}
