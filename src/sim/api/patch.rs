//! The patch formats: JSON patch, merge patch, strategic merge patch. Server-side apply is a strategic merge that
//! creates a missing object; it detects no conflicts, and removes no field that is no longer applied.

use axum::http::header;
use serde_json::{Map, Value};

use super::Call;
use crate::resources::Resource;
use crate::status::Status;

/// A parsed patch.
#[derive(Debug)]
pub(super) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
    Apply(Value),
}

impl Patch {
    pub(super) fn of(call: &Call, info: &Resource) -> Result<Self, Status> {
        let kind = call.header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
        let bad = |why: serde_json::Error| Status::bad_request(format!("error decoding patch: {why}"));
        match kind {
            "application/json-patch+json" => Ok(Self::Json(serde_json::from_slice(&call.body).map_err(bad)?)),
            "application/merge-patch+json" => {
                Ok(Self::Merge(serde_json::from_slice(&call.body).map_err(bad)?))
            }
            "application/strategic-merge-patch+json" if !info.custom => {
                Ok(Self::Strategic(serde_json::from_slice(&call.body).map_err(bad)?))
            }
            // The known clients send JSON, which is also YAML.
            "application/apply-patch+yaml" => {
                Ok(Self::Apply(serde_json::from_slice(&call.body).map_err(bad)?))
            }
            _ => Err(Status::unsupported_media_type()),
        }
    }

    pub(super) fn apply(&self, value: &mut Value) -> Result<(), Status> {
        match self {
            Self::Json(patch) => json_patch::patch(value, patch).map_err(|_| Status::bad_patch()),
            Self::Merge(patch) => {
                json_patch::merge(value, patch);
                Ok(())
            }
            Self::Strategic(patch) | Self::Apply(patch) => {
                strategic(value, patch);
                Ok(())
            }
        }
    }
}

/// The merge key of a list's elements. `None`: the list is replaced as a whole, like taints and tolerations on the real
/// server.
fn merge_key(field: &str, elements: &[Value]) -> Option<&'static str> {
    let has = |key: &str| elements.iter().any(|one| one.get(key).is_some());
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets"
        | "resourceClaims" => Some("name"),
        "ports" if has("containerPort") => Some("containerPort"),
        "ports" if has("port") => Some("port"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "conditions" | "addresses" => Some("type"),
        "hostAliases" | "podIPs" | "hostIPs" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

fn directive(patch: &Map<String, Value>) -> &str {
    patch.get("$patch").and_then(Value::as_str).unwrap_or_default()
}

/// A value of a patch without its directives and nulls, for places without a value to merge with.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, value)| !key.starts_with('$') && !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        Value::Array(list) => {
            Value::Array(list.iter().filter(|one| one.get("$patch").is_none()).map(plain).collect())
        }
        other => other.clone(),
    }
}

/// Merges a strategic patch into a document.
pub(super) fn strategic(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if directive(patch) == "replace" {
        *target = plain(&Value::Object(patch.clone()));
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    if let Some(Value::Array(keep)) = patch.get("$retainKeys") {
        map.retain(|key, _| keep.iter().any(|one| one == key));
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(list)), Value::Array(gone)) = (map.get_mut(field), value) {
                list.retain(|one| !gone.contains(one));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        match value {
            Value::Null => {
                map.remove(key);
            }
            Value::Object(inner) if directive(inner) == "delete" => {
                map.remove(key);
            }
            Value::Object(_) => match map.get_mut(key) {
                Some(old) if old.is_object() => strategic(old, value),
                _ => {
                    map.insert(key.clone(), plain(value));
                }
            },
            Value::Array(elements) => merge_list(map, key, elements),
            other => {
                map.insert(key.clone(), other.clone());
            }
        }
    }
}

fn merge_list(map: &mut Map<String, Value>, field: &str, elements: &[Value]) {
    let replace = elements.iter().any(|one| one.get("$patch").and_then(Value::as_str) == Some("replace"));
    let old = match map.get(field) {
        Some(Value::Array(old)) if !replace => old.clone(),
        _ => Vec::new(),
    };
    if field == "finalizers" && !replace {
        let mut all = old;
        all.extend(elements.iter().filter(|one| !all.contains(one)).cloned().collect::<Vec<_>>());
        map.insert(field.to_owned(), Value::Array(all));
        return;
    }
    let key = merge_key(field, elements).or_else(|| merge_key(field, &old));
    let Some(key) = key.filter(|_| !replace) else {
        map.insert(field.to_owned(), plain(&Value::Array(elements.to_vec())));
        return;
    };
    let mut all = old;
    for element in elements {
        let same = |one: &Value| one.get(key).is_some() && one.get(key) == element.get(key);
        if element.get("$patch").and_then(Value::as_str) == Some("delete") {
            all.retain(|one| !same(one));
        } else if let Some(old) = all.iter_mut().find(|one| same(one)) {
            strategic(old, element);
        } else {
            all.push(plain(element));
        }
    }
    map.insert(field.to_owned(), Value::Array(all));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strategic_patches_merge_by_key() {
        let mut value = json!({"spec": {"unschedulable": true, "taints": [{"key": "a"}], "containers": [
            {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}], "ports": [{"containerPort": 80}]},
            {"name": "b", "image": "1"}]}, "metadata": {"finalizers": ["x"], "labels": {"a": "1", "b": "2"}}});
        let patch = json!({"spec": {"unschedulable": null, "taints": [{"key": "b"}],
            "$setElementOrder/containers": [{"name": "a"}], "containers": [
            {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "$patch": "delete"}]},
            {"name": "b", "$patch": "delete"}, {"name": "c", "image": "3", "x": null}]},
            "metadata": {"finalizers": ["y"], "labels": {"a": null}}});
        strategic(&mut value, &patch);
        assert_eq!(
            value,
            json!({"spec": {"taints": [{"key": "b"}], "containers": [
            {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}], "ports": [{"containerPort": 80}]},
            {"name": "c", "image": "3"}]}, "metadata": {"finalizers": ["x", "y"], "labels": {"b": "2"}}})
        );
        strategic(
            &mut value,
            &json!({"spec": {"$patch": "replace", "a": 1}, "metadata": {"$patch": "delete"}}),
        );
        assert_eq!(value, json!({"spec": {"a": 1}}));
    }
}
