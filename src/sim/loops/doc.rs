//! Reading and writing documents: conditions, status, quantities, rounding, owners.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::clock::stamp;
use crate::resources::Res;
use crate::status::Status;
use crate::store::{Object, Store, Write, walk};

/// The list at a pointer, empty if there is none.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    walk(value, pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub fn int(value: &Value, field: &str) -> i64 {
    value.get(field).and_then(Value::as_i64).unwrap_or_default()
}

/// Sets a field deep inside a document and creates the maps on the way; null removes it.
pub fn put(value: &mut Value, path: &[&str], new: Value) {
    let Some((last, way)) = path.split_last() else { return };
    let mut at = value;
    for field in way {
        if !at.is_object() {
            *at = json!({});
        }
        let Some(map) = at.as_object_mut() else { return };
        at = map.entry((*field).to_owned()).or_insert_with(|| json!({}));
    }
    if !at.is_object() {
        *at = json!({});
    }
    if let Some(map) = at.as_object_mut() {
        if new.is_null() {
            map.remove(*last);
        } else {
            map.insert((*last).to_owned(), new);
        }
    }
}

/// The new value of a condition.
#[derive(Debug, Clone, Copy)]
pub struct Condition<'a> {
    pub kind: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
}

impl<'a> Condition<'a> {
    pub fn new(kind: &'a str, status: &'a str, reason: &'a str, message: &'a str) -> Self {
        Self { kind, status, reason, message }
    }

    /// As a new entry. Empty reasons and messages are left out.
    pub fn value(&self, since: &str) -> Value {
        let mut out = json!({"type": self.kind, "status": self.status, "lastTransitionTime": since});
        for (field, text) in [("reason", self.reason), ("message", self.message)] {
            if !text.is_empty() {
                put(&mut out, &[field], json!(text));
            }
        }
        out
    }
}

/// Sets a condition in a list; the transition time changes only with the status. Returns whether anything changed.
pub fn set_condition(conditions: &mut Vec<Value>, new: Condition<'_>, at: DateTime<Utc>) -> bool {
    let now = stamp(at);
    let Some(old) = conditions.iter_mut().find(|one| text(one, "type") == new.kind) else {
        conditions.push(new.value(&now));
        return true;
    };
    let same = text(old, "status") == new.status;
    if same && text(old, "reason") == new.reason && text(old, "message") == new.message {
        return false;
    }
    put(old, &["status"], json!(new.status));
    for (field, text) in [("reason", new.reason), ("message", new.message)] {
        put(old, &[field], if text.is_empty() { Value::Null } else { json!(text) });
    }
    if !same {
        put(old, &["lastTransitionTime"], json!(now));
    }
    true
}

/// Writes a status if it differs from the existing one.
pub fn write_status(store: &Store, object: &Object, manager: &str, status: Value) -> Option<Arc<Object>> {
    if object.at("/status") == &status {
        return None;
    }
    let how = Write::by(manager).status().if_uid(Some(object.uid()));
    let written = store.write(object.res, object.namespace(), object.name(), &how, |value| {
        put(value, &["status"], status);
        Ok(())
    });
    written.ok()
}

/// Changes any part of an object if it is still the same object.
pub fn change(
    store: &Store,
    object: &Object,
    manager: &str,
    change: impl FnOnce(&mut Value),
) -> Result<Arc<Object>, Status> {
    let how = Write::by(manager).if_uid(Some(object.uid()));
    store.write(object.res, object.namespace(), object.name(), &how, |value| {
        change(value);
        Ok(())
    })
}

/// The owner reference that a controller adds to its objects.
pub fn owner(object: &Object) -> Value {
    let info = object.res.info();
    json!({"apiVersion": info.api_version(), "kind": info.kind, "name": object.name(), "uid": object.uid(),
        "controller": true, "blockOwnerDeletion": true})
}

/// A quantity in thousandths: `100m` is 100, `1Ki` is 1024000. An invalid one is 0.
pub fn quantity(value: &Value) -> i64 {
    match value {
        Value::Number(number) => (number.as_f64().unwrap_or_default() * 1000.0) as i64,
        Value::String(text) => quantity_of(text).unwrap_or_default(),
        _ => 0,
    }
}

fn quantity_of(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let factor = match unit {
        "" => 1e3,
        "n" => 1e-6,
        "u" => 1e-3,
        "m" => 1.0,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "Ki" => 1024.0 * 1e3,
        "Mi" => 1_048_576.0 * 1e3,
        "Gi" => 1_073_741_824.0 * 1e3,
        "Ti" => 1_099_511_627_776.0 * 1e3,
        exponent => 1e3 * 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some((number.parse::<f64>().ok()? * factor).ceil() as i64)
}

/// A number of pods or a percentage of `total`.
pub fn share(value: &Value, total: i64, up: bool) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let product = percent.saturating_mul(total);
            Some(if up { (product + 99).div_euclid(100) } else { product.div_euclid(100) })
        }
        _ => None,
    }
}

/// A field in seconds, as a duration.
pub fn seconds(n: i64) -> TimeDelta {
    TimeDelta::try_seconds(n).unwrap_or(TimeDelta::MAX)
}

pub fn after(at: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    at.checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

pub fn is_ready(pod: &Object) -> bool {
    pod.condition("Ready") == Some("True")
}

/// Neither completed nor terminating.
pub fn is_active(pod: &Object) -> bool {
    !pod.is_terminating() && !is_finished(pod)
}

pub fn is_finished(pod: &Object) -> bool {
    matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
}

/// Since when a pod has been ready.
pub fn ready_since(pod: &Object) -> Option<DateTime<Utc>> {
    let ready = crate::store::condition(&pod.value, "Ready")?;
    if text(ready, "status") != "True" {
        return None;
    }
    crate::clock::parse(text(ready, "lastTransitionTime"))
}

/// Ready for `min_ready` seconds; if it is ready but not for so long yet, when it will be.
pub fn availability(pod: &Object, min_ready: i64, at: DateTime<Utc>) -> (bool, Option<DateTime<Utc>>) {
    let Some(since) = ready_since(pod) else { return (is_ready(pod) && min_ready == 0, None) };
    if min_ready == 0 {
        return (true, None);
    }
    let due = after(since, seconds(min_ready));
    if due <= at { (true, None) } else { (false, Some(due)) }
}

/// Creates an object for a controller. Its UID depends on its name and `nth`, which distinguishes successive objects of
/// the same name, and not on the order of requests to the server.
pub fn create(
    store: &Store,
    res: Res,
    mut value: Value,
    manager: &str,
    nth: u64,
) -> Result<Arc<Object>, Status> {
    let text = |pointer: &str| walk(&value, pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let mut rng = store.random().keyed(&["uid", res.info().plural, &namespace, &name, &nth.to_string()]);
    put(&mut value, &["metadata", "uid"], json!(crate::rng::uid_of(&mut rng)));
    store.create(res, value, &Write::by(manager))
}

/// A map of a document, empty if it is absent.
pub fn map_of(value: &Value, pointer: &str) -> Map<String, Value> {
    walk(value, pointer).and_then(Value::as_object).cloned().unwrap_or_default()
}
