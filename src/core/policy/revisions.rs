//! Revisions of workloads: the list of revisions, the target of a rollback, and the difference between two templates.
//!
//! Semantics: kubectl's `pkg/polymorphichelpers/{history,rollback}.go`. A Deployment's templates are in the
//! ReplicaSets that it owns (annotation `deployment.kubernetes.io/revision`). The templates of StatefulSets and
//! DaemonSets are in ControllerRevisions (`.revision`, `.data`).

use serde_json::{Map, Value};

use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::plan::{NoRevision, RevisionRef};

/// The annotation with the revision number of a Deployment's ReplicaSet.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
const CAUSE: &str = "kubernetes.io/change-cause";
/// The label that the Deployment controller adds to the templates of its ReplicaSets.
const HASH: &str = "pod-template-hash";

/// One revision of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    pub number: i64,
    pub name: Name,
    pub uid: Uid,
    /// The annotation `kubernetes.io/change-cause`.
    pub cause: String,
    pub images: Vec<String>,
    /// The time when its template was first used, as the API server writes it.
    pub created: String,
    /// The ReplicaSet or the ControllerRevision.
    pub object: Value,
}

impl Revision {
    /// Returns true if a rollback restored this template: its number is higher than that of `other`, but its object
    /// is older. A rollback gives the restored template the next number and keeps the object that stores it.
    pub fn is_return_from(&self, other: &Self) -> bool {
        other.number < self.number && !self.created.is_empty() && self.created < other.created
    }

    /// Returns the reference for a plan of `workload`.
    pub fn reference(&self, workload: &ObjectRef) -> RevisionRef {
        let kind = holder_kind(&workload.kind);
        let holder = ObjectRef::new(workload.cluster, kind, &workload.namespace, &self.name, &self.uid);
        RevisionRef { number: self.number, holder }
    }
}

/// Returns the kind of object that stores the templates of a workload.
pub fn holder_kind(workload: &Kind) -> Kind {
    match workload {
        Kind::Deployment => Kind::ReplicaSet,
        _ => Kind::ControllerRevision,
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    object
        .pointer("/metadata/annotations")
        .and_then(|a| a.get(key))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns the revisions that a workload owns. The oldest comes first.
pub fn history(kind: &Kind, workload: &Uid, holders: &[Value]) -> Vec<Revision> {
    let workload = workload.to_string();
    let owned = |object: &&Value| {
        let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        owners.into_iter().flatten().any(|o| {
            o.get("uid").and_then(Value::as_str) == Some(&workload)
                && o.get("controller").and_then(Value::as_bool) == Some(true)
        })
    };
    let mut history: Vec<Revision> = holders
        .iter()
        .filter(owned)
        .filter_map(|object| {
            let number = if *kind == Kind::Deployment {
                annotation(object, REVISION).parse().ok()?
            } else {
                object.get("revision")?.as_i64()?
            };
            let template = template(object);
            let containers = template.pointer("/spec/containers").and_then(Value::as_array);
            Some(Revision {
                number,
                name: text(object, "/metadata/name").into(),
                uid: Uid::parse(text(object, "/metadata/uid")),
                cause: annotation(object, CAUSE).to_owned(),
                images: containers.into_iter().flatten().map(|c| text(c, "/image").to_owned()).collect(),
                created: text(object, "/metadata/creationTimestamp").to_owned(),
                object: object.clone(),
            })
        })
        .collect();
    history.sort_by_key(|r| r.number);
    history
}

/// Returns the newest revision and the target of a rollback. Returns an error if there is no target.
pub fn choose(history: &[Revision], to: Option<i64>) -> Result<(&Revision, &Revision), NoRevision> {
    let Some(newest) = history.last() else { return Err(NoRevision::None) };
    let wanted = match to {
        Some(number) => history.iter().find(|r| r.number == number).ok_or_else(|| NoRevision::Unknown {
            number,
            known: history.iter().map(|r| r.number).collect(),
        })?,
        None => history.iter().rev().nth(1).ok_or(NoRevision::OnlyOne)?,
    };
    Ok((newest, wanted))
}

/// Returns the template of a workload, a ReplicaSet or a ControllerRevision, without the fields that controllers add.
pub fn template(object: &Value) -> Value {
    let held = object.pointer("/data/spec/template").or_else(|| object.pointer("/spec/template"));
    let mut template = held.cloned().unwrap_or(Value::Null);
    if let Some(map) = template.as_object_mut() {
        map.remove("$patch");
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        if metadata.get("creationTimestamp").is_some_and(Value::is_null) {
            metadata.remove("creationTimestamp");
        }
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(HASH);
        }
    }
    template
}

/// Returns the differences between two templates, one line for each field: `~ containers[app].image: a:1 -> a:2`.
pub fn diff(from: &Value, to: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare(&mut lines, "", from, to);
    lines
}

fn compare(lines: &mut Vec<String>, path: &str, from: &Value, to: &Value) {
    if from == to {
        return;
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (from, to) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                compare(
                    lines,
                    &below(key),
                    a.get(key).unwrap_or(&Value::Null),
                    b.get(key).unwrap_or(&Value::Null),
                );
            }
        }
        // Items with names are compared by name, because their order usually has no meaning.
        (Value::Array(a), Value::Array(b)) if is_named(a) && is_named(b) => {
            let (a, b) = (by_name(a), by_name(b));
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let (x, y) = (a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null));
                compare(lines, &format!("{path}[{name}]"), x, y);
            }
        }
        (Value::Null, to) => lines.push(format!("+ {path}: {to}")),
        (from, Value::Null) => lines.push(format!("- {path}: {from}")),
        (from, to) => lines.push(format!("~ {path}: {from} -> {to}")),
    }
}

fn name_of(item: &Value) -> Option<&str> {
    item.get("name").and_then(Value::as_str)
}

fn is_named(items: &[Value]) -> bool {
    items.iter().all(|item| name_of(item).is_some())
}

fn by_name(items: &[Value]) -> Map<String, Value> {
    items.iter().filter_map(|item| Some((name_of(item)?.to_owned(), item.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replicaset(number: i64, image: &str, owner: &str) -> Value {
        json!({
            "metadata": {
                "name": format!("web-{number}"), "uid": format!("u{number}"),
                "annotations": { REVISION: number.to_string() },
                "ownerReferences": [{ "uid": owner, "controller": true }]
            },
            "spec": { "template": {
                "metadata": { "labels": { "app": "web", HASH: format!("h{number}") }, "creationTimestamp": null },
                "spec": { "containers": [{ "name": "app", "image": image }] }
            } }
        })
    }

    #[test]
    fn the_one_before_the_newest_by_number_and_not_by_text() {
        let holders =
            [replicaset(10, "a:10", "w"), replicaset(9, "a:9", "w"), replicaset(11, "b:1", "other")];
        let history = history(&Kind::Deployment, &Uid::parse("w"), &holders);
        assert_eq!(history.iter().map(|r| r.number).collect::<Vec<_>>(), [9, 10]);
        let (from, to) = choose(&history, None).unwrap();
        assert_eq!((from.number, to.number), (10, 9));
        assert_eq!(choose(&history, Some(10)).unwrap().1.images, ["a:10"]);
        let unknown = NoRevision::Unknown { number: 3, known: vec![9, 10] };
        assert_eq!(unknown.to_string(), "it has no revision 3; its revisions are 9, 10");
        assert_eq!(choose(&history, Some(3)).unwrap_err(), unknown);
        assert_eq!(choose(&history[..1], None).unwrap_err(), NoRevision::OnlyOne);
    }

    #[test]
    fn what_controllers_add_is_no_difference() {
        let (a, b) = (replicaset(1, "a:1", "w"), replicaset(2, "a:1", "w"));
        assert_eq!(template(&a), template(&b));
        let held = json!({ "data": { "spec": { "template": { "$patch": "replace", "spec": { "x": 1 } } } } });
        assert_eq!(template(&held), json!({ "spec": { "x": 1 } }));
    }

    #[test]
    fn a_difference_names_the_field() {
        let from =
            json!({ "spec": { "containers": [{ "name": "app", "image": "a:1" }, { "name": "old" }] } });
        let to = json!({ "spec": { "containers": [{ "name": "app", "image": "a:2", "tty": true }] } });
        assert_eq!(
            diff(&from, &to),
            [
                "~ spec.containers[app].image: \"a:1\" -> \"a:2\"",
                "+ spec.containers[app].tty: true",
                "- spec.containers[old]: {\"name\":\"old\"}"
            ]
        );
    }
}
