//! `metadata.managedFields`: who last set which field, and when. Fields are tracked down to maps; a list counts as one
//! field. This is coarser than in the real server, but enough to tell who changed what.

use serde_json::{Map, Value, json};

/// The writer in an entry.
pub(super) struct Author<'a> {
    pub(super) manager: &'a str,
    pub(super) operation: &'a str,
    pub(super) api_version: &'a str,
    pub(super) subresource: Option<&'a str>,
    pub(super) time: String,
}

/// Metadata that belongs to the writer who set it; the server owns the rest of metadata.
const OWNED_METADATA: &[&str] = &["labels", "annotations", "finalizers", "ownerReferences"];

fn leaf() -> Value {
    Value::Object(Map::new())
}

fn every(_: &str) -> bool {
    true
}

/// Collects the differences of two maps: set or changed fields, and removed ones.
fn differences(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    concerns: impl Fn(&str) -> bool,
    set: &mut Map<String, Value>,
    gone: &mut Map<String, Value>,
) {
    for (key, value) in new.iter().filter(|(key, _)| concerns(key)) {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        let field = format!("f:{key}");
        if let Value::Object(map) = value
            && !map.is_empty()
        {
            let empty = Map::new();
            let before = before.and_then(Value::as_object).unwrap_or(&empty);
            let (mut inner_set, mut inner_gone) = (Map::new(), Map::new());
            differences(before, map, every, &mut inner_set, &mut inner_gone);
            if !inner_set.is_empty() {
                set.insert(field.clone(), Value::Object(inner_set));
            }
            if !inner_gone.is_empty() {
                gone.insert(field, Value::Object(inner_gone));
            }
        } else {
            set.insert(field, leaf());
        }
    }
    for key in old.keys().filter(|key| concerns(key) && !new.contains_key(*key)) {
        gone.insert(format!("f:{key}"), leaf());
    }
}

/// The differences of two documents in fields that have owners.
fn differing(old: Option<&Value>, new: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let (mut set, mut gone, none) = (Map::new(), Map::new(), Map::new());
    let old = old.and_then(Value::as_object).unwrap_or(&none);
    let new = new.as_object().unwrap_or(&none);
    let body = |key: &str| !matches!(key, "apiVersion" | "kind" | "metadata");
    differences(old, new, body, &mut set, &mut gone);
    let (mut inner_set, mut inner_gone) = (Map::new(), Map::new());
    let [head, new_head] =
        [old, new].map(|map| map.get("metadata").and_then(Value::as_object).unwrap_or(&none));
    differences(head, new_head, |key| OWNED_METADATA.contains(&key), &mut inner_set, &mut inner_gone);
    for (tree, inner) in [(&mut set, inner_set), (&mut gone, inner_gone)] {
        if !inner.is_empty() {
            tree.insert("f:metadata".into(), Value::Object(inner));
        }
    }
    (set, gone)
}

fn subtract(tree: &mut Map<String, Value>, other: &Map<String, Value>) {
    for (key, value) in other {
        let Some(Value::Object(deeper)) = value.as_object().map(|map| Value::Object(map.clone())) else {
            continue;
        };
        if deeper.is_empty() {
            tree.remove(key);
        } else if let Some(Value::Object(mine)) = tree.get_mut(key) {
            subtract(mine, &deeper);
            if mine.is_empty() {
                tree.remove(key);
            }
        }
    }
}

fn merge(tree: &mut Map<String, Value>, other: Map<String, Value>) {
    for (key, value) in other {
        match (tree.get_mut(&key), value) {
            (Some(Value::Object(mine)), Value::Object(theirs)) => merge(mine, theirs),
            (_, value) => {
                tree.insert(key, value);
            }
        }
    }
}

/// Records `author` as the owner of all fields in which `new` differs from `old`.
pub(super) fn credit(old: Option<&Value>, new: &mut Value, author: &Author<'_>) {
    let (set, gone) = differing(old, new);
    if set.is_empty() && gone.is_empty() {
        return;
    }
    let Some(Value::Object(metadata)) = new.get_mut("metadata") else { return };
    let mut entries = match metadata.remove("managedFields") {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    };
    let is_mine = |entry: &Value| {
        entry.get("manager").and_then(Value::as_str) == Some(author.manager)
            && entry.get("operation").and_then(Value::as_str) == Some(author.operation)
            && entry.get("subresource").and_then(Value::as_str) == author.subresource
    };
    for entry in &mut entries {
        let mine = is_mine(entry);
        if let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") {
            subtract(fields, &gone);
            if !mine {
                subtract(fields, &set);
            }
        }
    }
    if !set.is_empty() || entries.iter().any(is_mine) {
        let mut fields = Map::new();
        if let Some(at) = entries.iter().position(is_mine) {
            let mut entry = entries.remove(at);
            if let Some(Value::Object(mine)) = entry.get_mut("fieldsV1").map(Value::take) {
                fields = mine;
            }
        }
        merge(&mut fields, set);
        let mut entry = json!({
            "manager": author.manager, "operation": author.operation, "apiVersion": author.api_version,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        });
        if let Some(map) = entry.as_object_mut() {
            // For a scaling, the real server records who did it but not when.
            if author.subresource != Some("scale") {
                map.insert("time".into(), json!(author.time));
            }
            if let Some(subresource) = author.subresource {
                map.insert("subresource".into(), json!(subresource));
            }
        }
        entries.push(entry);
    }
    entries
        .retain(|entry| entry.get("fieldsV1").and_then(Value::as_object).is_some_and(|map| !map.is_empty()));
    metadata.insert("managedFields".into(), Value::Array(entries));
}
