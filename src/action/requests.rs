//! Builds the HTTP request of a step: path, content type and body. It contains the UID and the version that were
//! planned, so that it cannot affect another object or overwrite another change.

use pilothouse_core::domain::alert::is_silence;
use pilothouse_core::domain::haproxy::is_server;
use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::plan::{Change, StepKind};
use pilothouse_core::plan::drift::{MANAGER, RESTARTED_AT};
use pilothouse_core::policy::revisions;
use serde_json::{Map, Value, json};

use super::alertmanager;
use super::haproxy::line;
use super::live_object::{Live, path};
use crate::wire::error::ApiError;
use crate::wire::write::{WriteClient, WriteError, content};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Patch(&'static str),
    Post,
    Delete,
    /// A command of the runtime API of a HAProxy. The body is the line.
    Runtime,
    /// A request to an Alertmanager.
    Alertmanager,
}

/// One mutating request.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    pub method: Method,
    pub path: String,
    pub body: Value,
}

/// Builds the request of a step. `live` is the object at the re-check. Its version guards writes that replace fields.
/// An eviction needs no version, and an empty version guards nothing, as in a dry run, which overwrites no change.
/// `stamp` (RFC 3339) is the value that a restart writes, by which it is recognized later. Returns an error if there
/// is no such request.
pub fn mutation(
    what: &StepKind,
    on: &ObjectRef,
    live: Option<&Live>,
    stamp: &str,
) -> Result<Mutation, String> {
    if is_server(&on.kind) {
        let body = Value::from(line(what, on)?);
        return Ok(Mutation { method: Method::Runtime, path: String::new(), body });
    }
    if is_silence(&on.kind) {
        let body = alertmanager::request(what, on, live, stamp)?;
        return Ok(Mutation { method: Method::Alertmanager, path: String::new(), body });
    }
    let mut metadata = json!({ "uid": on.uid.to_string() });
    // a node's status changes its version every few seconds, which would cause needless conflicts
    let guarded =
        matches!(what, StepKind::Restart { .. } | StepKind::Scale { .. } | StepKind::Rollback { .. });
    let version = live.filter(|live| guarded && !live.version.is_empty());
    if let (Some(live), Some(object)) = (version, metadata.as_object_mut()) {
        object.insert("resourceVersion".into(), json!(live.version));
    }
    let path = path(on).ok_or_else(|| format!("no path is known for a {}", on.kind))?;
    let patch = |content, path, body| Mutation { method: Method::Patch(content), path, body };
    Ok(match what {
        // unschedulable is true or absent, as with kubectl
        StepKind::Cordon => {
            patch(content::MERGE, path, json!({ "metadata": metadata, "spec": { "unschedulable": true } }))
        }
        StepKind::Uncordon => {
            patch(content::MERGE, path, json!({ "metadata": metadata, "spec": { "unschedulable": null } }))
        }
        StepKind::Restart { .. } => patch(
            content::STRATEGIC,
            path,
            json!({ "metadata": metadata, "spec": { "template": { "metadata": { "annotations": {
                RESTARTED_AT: stamp
            } } } } }),
        ),
        StepKind::Scale { to, .. } => patch(
            content::MERGE,
            format!("{path}/scale"),
            json!({ "metadata": metadata, "spec": { "replicas": to } }),
        ),
        StepKind::Rollback { .. } => {
            let live = live.ok_or("the workload was not read")?;
            let holder = live.to.as_ref().ok_or("the revision was not read")?;
            return rollback(path, &metadata, live, holder);
        }
        StepKind::Change(change) => {
            let live = live.ok_or("the object was not read")?;
            patch(content::JSON_PATCH, path, change_patch(on, live, change))
        }
        StepKind::Evict { grace_period } => {
            let body = json!({
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": { "name": on.name.as_str(), "namespace": on.namespace.as_str() },
                "deleteOptions": delete_options(on, *grace_period),
            });
            Mutation { method: Method::Post, path: format!("{path}/eviction"), body }
        }
        StepKind::Delete { grace_period } => {
            let mut body = delete_options(on, *grace_period);
            if let Some(body) = body.as_object_mut() {
                body.insert("apiVersion".into(), json!("v1"));
                body.insert("kind".into(), json!("DeleteOptions"));
            }
            Mutation { method: Method::Delete, path, body }
        }
        StepKind::Check(_) => return Err("a check sends nothing".into()),
    })
}

fn delete_options(on: &ObjectRef, grace_period: i64) -> Value {
    let mut options = json!({ "preconditions": { "uid": on.uid.to_string() } });
    if let (true, Some(object)) = (grace_period >= 0, options.as_object_mut()) {
        object.insert("gracePeriodSeconds".into(), json!(grace_period));
    }
    options
}

/// The annotations of a Deployment that a rollback does not change. The other annotations come from the ReplicaSet.
const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

/// Builds the rollback in the same way as `kubectl rollout undo` (`pkg/polymorphichelpers/rollback.go`). A Deployment
/// gets the template and the annotations of the ReplicaSet. Other workloads get the data of the ControllerRevision.
fn rollback(path: String, metadata: &Value, live: &Live, holder: &Value) -> Result<Mutation, String> {
    if let Some(data) = holder.get("data").and_then(Value::as_object) {
        let mut body = data.clone();
        body.insert("metadata".into(), metadata.clone());
        return Ok(Mutation { method: Method::Patch(content::STRATEGIC), path, body: Value::Object(body) });
    }
    let annotations = |object: &Value| -> Map<String, Value> {
        object.pointer("/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let own = |key: &String| OWN_ANNOTATIONS.contains(&key.as_str());
    let mut wanted: Map<String, Value> =
        annotations(&live.value).into_iter().filter(|(k, _)| own(k)).collect();
    wanted.extend(annotations(holder).into_iter().filter(|(k, _)| !own(k)));
    let template = revisions::template(holder);
    if template.is_null() {
        return Err("the revision has no template".into());
    }
    let mut ops = vec![json!({ "op": "test", "path": "/metadata/uid", "value": live.uid })];
    ops.extend(version_test(live));
    ops.push(json!({ "op": "replace", "path": "/spec/template", "value": template }));
    // add also replaces, and a Deployment need not have annotations
    ops.push(json!({ "op": "add", "path": "/metadata/annotations", "value": wanted }));
    Ok(Mutation { method: Method::Patch(content::JSON_PATCH), path, body: Value::Array(ops) })
}

fn version_test(live: &Live) -> Option<Value> {
    let version = &live.version;
    (!version.is_empty())
        .then(|| json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version }))
}

/// Returns the test for fields that were absent, because an absent field cannot be tested. If all of them are in the
/// spec, the generation is tested, because each change of the spec increases it (as does a change of a Deployment's
/// annotations, `pkg/registry/apps/deployment/strategy.go`). Otherwise, the version is tested, which every status
/// update by a controller changes.
fn absence_test(live: &Live, change: &Change) -> Option<Value> {
    let mut absent = change.fields.iter().filter(|f| f.from.is_null()).peekable();
    if live.version.is_empty() || absent.peek().is_none() {
        return None;
    }
    let generation = live.value.pointer("/metadata/generation").filter(|g| g.is_number());
    match generation {
        Some(generation) if absent.all(|f| f.pointer.starts_with("/spec/")) => {
            Some(json!({ "op": "test", "path": "/metadata/generation", "value": generation }))
        }
        _ => version_test(live),
    }
}

/// Builds a patch that tests each field before it is written.
fn change_patch(on: &ObjectRef, live: &Live, change: &Change) -> Value {
    let mut ops = vec![json!({ "op": "test", "path": "/metadata/uid", "value": on.uid.to_string() })];
    ops.extend(absence_test(live, change));
    let mut made: Vec<&str> = Vec::new();
    for guard in change.fields.iter().filter(|f| f.is_guard() && !f.from.is_null()) {
        ops.push(json!({ "op": "test", "path": guard.pointer, "value": guard.from }));
    }
    for field in change.fields.iter().filter(|f| !f.is_guard()) {
        let pointer = field.pointer.as_str();
        if field.from.is_null() {
            let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
            if live.value.pointer(parent).is_none_or(Value::is_null) && !made.contains(&parent) {
                ops.push(json!({ "op": "add", "path": parent, "value": {} }));
                made.push(parent);
            }
        } else {
            ops.push(json!({ "op": "test", "path": pointer, "value": field.from }));
        }
        ops.push(match (&field.from, &field.to) {
            (_, Value::Null) => json!({ "op": "remove", "path": pointer }),
            (Value::Null, to) => json!({ "op": "add", "path": pointer, "value": to }),
            (_, to) => json!({ "op": "replace", "path": pointer, "value": to }),
        });
    }
    Value::Array(ops)
}

fn refused(message: &str) -> WriteError {
    WriteError::Refused(ApiError::Invalid { message: message.into() })
}

impl Mutation {
    /// Sends the request once.
    pub async fn send(&self, client: &WriteClient, dry_run: bool) -> Result<Value, WriteError> {
        match self.method {
            Method::Patch(content) => client.patch(&self.path, content, &self.body, dry_run, MANAGER).await,
            Method::Post => client.post(&self.path, &self.body, dry_run, MANAGER).await,
            Method::Delete => match &self.body {
                Value::Object(options) => client.delete(&self.path, options, dry_run).await,
                // a deletion without options would have neither a precondition nor a dry run
                _ => Err(refused("no options of a deletion")),
            },
            Method::Alertmanager => Err(refused("a request to an Alertmanager is none to an API server")),
            Method::Runtime => Err(refused("a command of a HAProxy is no request to an API server")),
        }
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::{ClusterId, Kind, Uid};
    use pilothouse_core::domain::plan::FieldChange;

    use super::*;

    fn live(value: Value) -> Live {
        Live { uid: "u".into(), version: "42".into(), value, ..Live::default() }
    }

    fn object(kind: Kind) -> ObjectRef {
        let uid = Uid::parse("c0ffee00-1234-4abc-8def-0123456789ab");
        ObjectRef::new(ClusterId(0), kind, &"shop".into(), &"checkout".into(), &uid)
    }

    #[test]
    fn every_request_pins_the_object() {
        let on = object(Kind::Deployment);
        let m = mutation(&StepKind::Scale { from: 3, to: 5 }, &on, Some(&live(json!({}))), "").unwrap();
        assert_eq!(m.path, "/apis/apps/v1/namespaces/shop/deployments/checkout/scale");
        assert_eq!(
            m.body,
            json!({"metadata": {"uid": "c0ffee00-1234-4abc-8def-0123456789ab", "resourceVersion": "42"}, "spec": {"replicas": 5}})
        );
        let node = ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &"n".into(), &Uid::Uuid(1));
        let m = mutation(&StepKind::Uncordon, &node, None, "").unwrap();
        assert_eq!(m.path, "/api/v1/nodes/n");
        assert!(m.body.pointer("/metadata/resourceVersion").is_none());
        assert!(m.body.pointer("/spec/unschedulable").unwrap().is_null());
        let m = mutation(&StepKind::Evict { grace_period: -1 }, &object(Kind::Pod), None, "").unwrap();
        assert_eq!(m.path, "/api/v1/namespaces/shop/pods/checkout/eviction");
        assert_eq!(
            m.body["deleteOptions"],
            json!({"preconditions": {"uid": "c0ffee00-1234-4abc-8def-0123456789ab"}})
        );
        let m = mutation(&StepKind::Delete { grace_period: 0 }, &object(Kind::Pod), None, "").unwrap();
        assert_eq!((m.method, m.body["gracePeriodSeconds"].as_i64()), (Method::Delete, Some(0)));
    }

    #[test]
    fn a_change_tests_what_it_replaces() {
        let field = |pointer: &str, from, to| FieldChange { pointer: pointer.into(), from, to };
        let change = Change {
            words: String::new(),
            fields: vec![
                field("/metadata/labels/app", json!("a"), Value::Null),
                field("/metadata/annotations/x~1y", Value::Null, json!("z")),
            ],
        };
        let on = object(Kind::Pod);
        let body = change_patch(&on, &live(json!({ "metadata": { "labels": { "app": "a" } } })), &change);
        assert_eq!(
            body,
            json!([
                { "op": "test", "path": "/metadata/uid", "value": "c0ffee00-1234-4abc-8def-0123456789ab" },
                { "op": "test", "path": "/metadata/resourceVersion", "value": "42" },
                { "op": "test", "path": "/metadata/labels/app", "value": "a" },
                { "op": "remove", "path": "/metadata/labels/app" },
                { "op": "add", "path": "/metadata/annotations", "value": {} },
                { "op": "add", "path": "/metadata/annotations/x~1y", "value": "z" }
            ])
        );
    }

    #[test]
    fn what_was_absent_is_guarded_by_what_moves_least() {
        let absent =
            |pointer: &str| FieldChange { pointer: pointer.into(), from: Value::Null, to: json!(true) };
        let guard = |pointers: &[&str], value: Value, version: &str| {
            let fields = pointers.iter().map(|p| absent(p)).collect();
            let live = Live { version: version.into(), ..live(value) };
            let change = Change { words: String::new(), fields };
            let body = change_patch(&object(Kind::Deployment), &live, &change);
            let tests = body.as_array().unwrap().iter().filter(|op| op["op"] == "test");
            tests.map(|op| op["path"].as_str().unwrap().to_owned()).skip(1).collect::<Vec<_>>()
        };
        let counted = || json!({ "metadata": { "generation": 7 }, "spec": {} });
        assert_eq!(guard(&["/spec/paused"], counted(), "42"), ["/metadata/generation"]);
        assert_eq!(
            guard(&["/spec/paused", "/metadata/labels/a"], counted(), "42"),
            ["/metadata/resourceVersion"]
        );
        assert_eq!(guard(&["/spec/minReplicas"], json!({ "spec": {} }), "42"), ["/metadata/resourceVersion"]);
        for pointer in ["/metadata/labels/a", "/spec/paused"] {
            assert!(guard(&[pointer], counted(), "").is_empty(), "a dry run has no version");
        }
    }

    #[test]
    fn a_roll_back_keeps_the_deployments_own_annotations() {
        let is = live(json!({ "metadata": { "annotations": {
            "deployment.kubernetes.io/revision": "3", "kubernetes.io/change-cause": "bad" } } }));
        let holder = json!({
            "metadata": { "annotations": { "deployment.kubernetes.io/revision": "2", "kubernetes.io/change-cause": "good" } },
            "spec": { "template": { "metadata": { "labels": { "app": "a", "pod-template-hash": "h" } }, "spec": {} } }
        });
        let m = rollback("/p".into(), &json!({}), &is, &holder).unwrap();
        assert_eq!(m.body[2]["value"], json!({ "metadata": { "labels": { "app": "a" } }, "spec": {} }));
        assert_eq!(
            m.body[3]["value"],
            json!({ "deployment.kubernetes.io/revision": "3", "kubernetes.io/change-cause": "good" })
        );
    }
}
