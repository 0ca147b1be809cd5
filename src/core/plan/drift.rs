//! Whether an object is still as a step was planned with, or as it left it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::domain::plan::{Change, FieldChange, LastChange, StepKind};
use crate::domain::time::Stamp;
use crate::policy::revisions;

/// The field manager that our changes carry in managedFields.
pub const MANAGER: &str = "pilothouse";

/// Where the fields of a change stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drift {
    /// As before the change.
    Before,
    /// As after it.
    After,
    /// Neither: which field, and who changed the object last.
    Other(String),
}

/// Where a change stands in the live object.
pub fn of_change(live: &Value, change: &Change) -> Drift {
    let is = |f: &FieldChange| live.pointer(&f.pointer).cloned().unwrap_or(Value::Null);
    if change.fields.iter().all(|f| is(f) == f.to) {
        return Drift::After;
    }
    let Some(field) = change.fields.iter().find(|f| is(f) != f.from) else { return Drift::Before };
    // of an object, the field in it
    let within =
        if field.from.is_object() { difference(&field.pointer, &field.from, &is(field)) } else { None };
    let at = within.as_deref().unwrap_or(&field.pointer);
    let from = at.strip_prefix(field.pointer.as_str()).and_then(|below| field.from.pointer(below));
    let (is, from) = (live.pointer(at).unwrap_or(&Value::Null), from.unwrap_or(&Value::Null));
    Drift::Other(format!("{at} is {is}, not {from}{}", last_change(live, at)))
}

/// Where the template of a roll-back stands, by the objects that hold the two.
pub fn of_template(live: &Value, from: Option<&Value>, to: Option<&Value>) -> Drift {
    let is = revisions::template(live);
    let same = |holder: Option<&Value>| holder.is_some_and(|h| revisions::template(h) == is);
    if same(to) {
        Drift::After
    } else if same(from) {
        Drift::Before
    } else {
        let at = to.and_then(|to| difference(TEMPLATE, &revisions::template(to), &is));
        let who = last_change(live, at.as_deref().unwrap_or(TEMPLATE));
        Drift::Other(format!("its template is of neither revision{who}"))
    }
}

/// Where a workload has its pods' template.
pub const TEMPLATE: &str = "/spec/template";

/// The first field in which two values differ, as a pointer that begins with `at`; where lists have other lengths it
/// is the list.
pub fn difference(at: &str, one: &Value, other: &Value) -> Option<String> {
    let below = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let null = Value::Null;
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            keys.into_iter().find_map(|key| {
                let value = |of: &'_ Map<String, Value>| of.get(key).unwrap_or(&null).clone();
                difference(&below(key), &value(one), &value(other))
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(i, (one, other))| difference(&below(&i.to_string()), one, other))
        }
        _ => (one != other).then(|| at.to_owned()),
    }
}

/// Where a step stands, for those whose value is in the object itself.
pub fn of_step(live: &Value, what: &StepKind) -> Drift {
    let judge = |is: i64, from: i64, to: i64| {
        if is == to {
            Drift::After
        } else if is == from {
            Drift::Before
        } else {
            Drift::Other(format!("has {is} replicas, not {from}{}", last_change(live, "/spec/replicas")))
        }
    };
    let cordoned = live.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false);
    match what {
        StepKind::Change(change) => of_change(live, change),
        StepKind::Scale { from, to } => {
            let is = live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
            judge(is, i64::from(*from), i64::from(*to))
        }
        StepKind::Cordon if cordoned => Drift::After,
        StepKind::Uncordon if !cordoned => Drift::After,
        _ => Drift::Before,
    }
}

/// What a step wrote, where the object's own fields do not say it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written<'a> {
    /// The value of a restart's annotation.
    pub stamp: &'a str,
    /// Of a roll-back: the object that holds the revision that was there, and the one to go to.
    pub from: Option<&'a Value>,
    pub to: Option<&'a Value>,
}

/// Where a step stands, by what it wrote.
pub fn of_written(live: &Value, what: &StepKind, written: Written<'_>) -> Drift {
    match what {
        StepKind::Restart { .. } => of_restart(live, written.stamp),
        StepKind::Rollback { .. } => of_template(live, written.from, written.to),
        what => of_step(live, what),
    }
}

/// What `kubectl rollout restart` writes, so that its history and other tools see the same.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Where a workload has the annotation of a restart.
pub fn restarted_at() -> String {
    format!("{TEMPLATE}/metadata/annotations/{}", RESTARTED_AT.replace('/', "~1"))
}

/// Where a restart stands: after it is a later restart, which replaces its annotation.
fn of_restart(live: &Value, stamp: &str) -> Drift {
    let found = live.pointer(&restarted_at()).and_then(Value::as_str);
    if found == Some(stamp) {
        return Drift::After;
    }
    if found.and_then(Stamp::parse) > Stamp::parse(stamp) {
        let who = last_change(live, &restarted_at());
        return Drift::Other(format!("it was restarted again meanwhile{who}"));
    }
    Drift::Before
}

/// Who changed a field last and when, from the object's managedFields, status writers left out: ` (last changed by …)`.
/// Their times are whole seconds, so of two writers it is the owner of the field, and then the newer one. What was
/// written by the scale subresource has no time at all.
pub fn last_change(live: &Value, pointer: &str) -> String {
    changed_by(live, pointer).to_string()
}

/// The same as data.
pub fn changed_by(live: &Value, pointer: &str) -> LastChange {
    last_writer(live, pointer)
        .map_or_else(LastChange::default, |(manager, at)| LastChange { manager: Some(manager), at })
}

/// Who that was, and when, as managedFields have them; the time may be empty.
pub fn last_writer(live: &Value, pointer: &str) -> Option<(String, String)> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text =
        |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let newest = entries
        .into_iter()
        .flatten()
        .filter(|e| e.get("subresource").and_then(Value::as_str) != Some("status"))
        .max_by_key(|e| (owned(e, pointer), text(e, "time")));
    newest.map(|e| (text(e, "manager"), text(e, "time")))
}

/// Everybody who owns a field of the object, but for its status.
pub fn managers(live: &Value) -> Vec<&str> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let of_spec = |e: &&Value| e.get("subresource").and_then(Value::as_str) != Some("status");
    entries.into_iter().flatten().filter(of_spec).filter_map(|e| e.get("manager")?.as_str()).collect()
}

/// Who set this very field last, and when (the time may be empty). None where nobody owns it: a field that was removed
/// has no owner.
pub fn owner(live: &Value, pointer: &str) -> Option<(String, String)> {
    owners(live, pointer).max_by(|a, b| a.1.cmp(&b.1))
}

/// Each manager that owns a field, and when it wrote last.
fn owners<'a>(live: &'a Value, pointer: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text =
        |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let depth = pointer.split('/').skip(1).count();
    let owning = entries.into_iter().flatten().filter(move |e| owned(e, pointer) == depth);
    owning.map(move |e| (text(e, "manager"), text(e, "time")))
}

/// The field by which a step is known. None: its value tells whose it is.
pub fn written(what: &StepKind) -> Option<&str> {
    match what {
        StepKind::Cordon | StepKind::Uncordon => Some("/spec/unschedulable"),
        StepKind::Scale { .. } => Some("/spec/replicas"),
        StepKind::Rollback { .. } => Some("/spec/template"),
        StepKind::Change(change) => change.fields.iter().find(|f| !f.is_guard()).map(|f| f.pointer.as_str()),
        StepKind::Restart { .. } | StepKind::Evict { .. } | StepKind::Delete { .. } | StepKind::Check(_) => {
            None
        }
    }
}

/// Before an undo, where the field is as the undone action left it: who has set it to the same value since, in words.
/// None: it is still ours, or nobody can tell. A removed field has no owner, and parts of a list or a template are
/// owned one by one.
pub fn set_since(live: &Value, what: &StepKind) -> Option<String> {
    let pointer = written(what)?;
    let is = live.pointer(pointer).filter(|v| v.is_boolean() || v.is_number() || v.is_string());
    let owners = || owners(live, pointer);
    if is.is_none() || owners().any(|(manager, _)| manager == MANAGER) {
        return None;
    }
    let (manager, at) = owners().max_by(|a, b| a.1.cmp(&b.1))?;
    let at = if at.is_empty() { at } else { format!(" at {at}") };
    Some(format!("{pointer} is as it was left, and {manager} has set it since{at}"))
}

/// How far down the path to a field an entry of managedFields owns: keyed items of lists have no place in a pointer.
fn owned(entry: &Value, pointer: &str) -> usize {
    let mut fields = entry.get("fieldsV1");
    let below = |segment: &str| {
        let name = segment.replace("~1", "/").replace("~0", "~");
        fields = fields.and_then(|f| f.get(format!("f:{name}")));
        fields.is_some()
    };
    pointer.split('/').skip(1).map(below).take_while(|found| *found).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::id::Version;

    #[test]
    fn the_third_value_names_who_wrote_it() {
        let live = json!({
            "metadata": { "managedFields": [
                { "manager": "kube-controller-manager", "time": "2026-01-03T00:00:00Z", "subresource": "status" },
                { "manager": "argocd", "time": "2026-01-02T00:00:00Z" },
                { "manager": "kubectl", "time": "2026-01-01T00:00:00Z" }
            ] },
            "spec": { "replicas": 7 }
        });
        let what = StepKind::Scale { from: 3, to: 5 };
        assert_eq!(
            of_step(&live, &what),
            Drift::Other("has 7 replicas, not 3 (last changed by argocd at 2026-01-02T00:00:00Z)".into())
        );
        assert_eq!(of_step(&json!({ "spec": { "replicas": 5 } }), &what), Drift::After);
        assert_eq!(of_step(&json!({ "spec": { "replicas": 3 } }), &what), Drift::Before);
    }

    #[test]
    fn a_restart_is_known_by_the_time_that_it_wrote() {
        let restart = StepKind::Restart { version: Version(1) };
        let at = |found: &str| {
            let live =
                json!({ "spec": { "template": { "metadata": { "annotations": { RESTARTED_AT: found } } } } });
            of_written(&live, &restart, Written { stamp: "2026-01-02T00:00:00Z", ..Written::default() })
        };
        assert_eq!(at("2026-01-02T00:00:00Z"), Drift::After);
        assert_eq!(at("2026-01-01T00:00:00Z"), Drift::Before, "an older restart");
        assert_eq!(at("not a time"), Drift::Before);
        assert!(matches!(at("2026-01-03T00:00:00Z"), Drift::Other(_)), "a later one");
    }

    #[test]
    fn of_two_writers_in_one_second_it_is_the_fields_owner() {
        let entry = |manager: &str, fields: Value| json!({ "manager": manager, "time": "2026-01-01T00:00:00Z", "fieldsV1": fields });
        let live = json!({ "metadata": { "managedFields": [
            entry("kubectl-patch", json!({ "f:spec": { "f:maxReplicas": {} } })),
            entry("pilothouse", json!({ "f:spec": { "f:minReplicas": {} } })),
        ] } });
        assert!(last_change(&live, "/spec/maxReplicas").contains("by kubectl-patch"));
        assert!(last_change(&live, "/spec/minReplicas").contains("by pilothouse"));
        let scaled = json!({ "metadata": { "managedFields": [
            { "manager": "kubectl", "subresource": "scale", "fieldsV1": { "f:spec": { "f:replicas": {} } } },
            entry("argocd", json!({ "f:spec": { "f:template": {} } })),
        ] } });
        assert_eq!(last_change(&scaled, "/spec/replicas"), " (last changed by kubectl)");
        assert_eq!(owner(&scaled, "/spec/replicas"), Some(("kubectl".into(), String::new())));
        assert_eq!(owner(&scaled, "/spec/paused"), None, "who owns others of the spec is not its owner");
    }

    #[test]
    fn the_first_difference_is_a_pointer() {
        let template = |image: &str| json!({ "spec": { "containers": [{ "name": "a", "image": image }] } });
        let at = |one: &Value, other: &Value| difference("/t", one, other);
        assert_eq!(at(&template("a:1"), &template("a:1")), None);
        assert_eq!(at(&template("a:1"), &template("a:2")).as_deref(), Some("/t/spec/containers/0/image"));
        assert_eq!(at(&json!({}), &json!({ "x/y": 1 })).as_deref(), Some("/t/x~1y"));
        assert_eq!(at(&json!({ "l": [1] }), &json!({ "l": [1, 2] })).as_deref(), Some("/t/l"));
    }

    #[test]
    fn what_somebody_set_to_the_same_is_theirs() {
        let node = |managers: &[&str], spec: Value| {
            let entry = |manager: &&str| json!({ "manager": manager, "time": "2026-01-01T00:00:00Z", "fieldsV1": { "f:spec": { "f:unschedulable": {} } } });
            json!({ "metadata": { "managedFields": managers.iter().map(entry).collect::<Vec<_>>() }, "spec": spec })
        };
        let cordoned = || json!({ "unschedulable": true });
        let since = |managers: &[&str], spec| set_since(&node(managers, spec), &StepKind::Uncordon);
        let said = since(&["kubectl"], cordoned()).unwrap();
        assert!(said.contains("kubectl has set it since at 2026-01-01"), "{said}");
        assert_eq!(since(&[MANAGER], cordoned()), None);
        assert_eq!(since(&["argocd", MANAGER], cordoned()), None, "both say so");
        assert_eq!(since(&[], cordoned()), None, "nobody can tell");
        assert_eq!(since(&["kubectl"], json!({})), None, "a removed field has no owner");
        let list = FieldChange { pointer: "/spec/unschedulable".into(), from: json!([1]), to: Value::Null };
        let change = StepKind::Change(Change { words: String::new(), fields: vec![list] });
        let live = node(&["kube-controller-manager"], json!({ "unschedulable": [1] }));
        assert_eq!(set_since(&live, &change), None, "whoever changes a list owns all of it");
    }

    #[test]
    fn of_an_object_the_field_that_differs_is_named_with_its_writer() {
        let entry = |manager: &str, policy: &str| json!({ "manager": manager, "time": "2026-01-01T00:00:00Z", "fieldsV1": { "f:spec": { "f:behavior": { policy: {} } } } });
        let live = json!({
            "metadata": { "managedFields": [entry("pilothouse", "f:down"), entry("kubectl-patch", "f:up")] },
            "spec": { "behavior": { "up": "Min", "down": "Disabled" } }
        });
        let from = json!({ "up": "Disabled", "down": "Disabled" });
        let field = FieldChange { pointer: "/spec/behavior".into(), from, to: Value::Null };
        let change = Change { words: String::new(), fields: vec![field] };
        let words = "/spec/behavior/up is \"Min\", not \"Disabled\" (last changed by kubectl-patch at 2026-01-01T00:00:00Z)";
        assert_eq!(of_change(&live, &change), Drift::Other(words.into()));
    }

    #[test]
    fn an_absent_field_is_null() {
        let field = FieldChange { pointer: "/spec/paused".into(), from: Value::Null, to: json!(true) };
        let change = Change { words: String::new(), fields: vec![field] };
        assert_eq!(of_change(&json!({ "spec": {} }), &change), Drift::Before);
        assert_eq!(of_change(&json!({ "spec": { "paused": true } }), &change), Drift::After);
    }
}
