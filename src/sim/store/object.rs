//! One version of one object, shared by all its readers, and one entry of the event log.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::clock;
use crate::resources::Res;

/// The namespace and name of an object. `namespace` is empty for cluster-scoped ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub res: Res,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// An immutable version of an object.
#[derive(Debug)]
pub struct Object {
    pub res: Res,
    /// The whole document, with apiVersion and kind.
    pub value: Value,
    /// `metadata.resourceVersion` as a number.
    pub version: u64,
    json: OnceLock<Bytes>,
    weight: u32,
}

/// The approximate memory of a document in bytes: the sum of its allocations.
fn weight(value: &Value) -> usize {
    /// A node of a map allocates room for this many entries, even if it has fewer.
    const ROOM: usize = 11;
    match value {
        Value::String(text) => text.len().max(16) + 8,
        Value::Array(all) => all.len() * size_of::<Value>() + all.iter().map(weight).sum::<usize>(),
        Value::Object(map) => {
            let entry = size_of::<String>() + size_of::<Value>();
            let nodes = map.len().div_ceil(ROOM * 3 / 4) * (ROOM * entry + 24);
            nodes + map.iter().map(|(key, value)| key.len().max(16) + 8 + weight(value)).sum::<usize>()
        }
        _ => 0,
    }
}

/// The document without apiVersion and kind, the form of items in lists.
struct Item<'a>(&'a Value);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(map) = self.0.as_object() else { return self.0.serialize(serializer) };
        let mut out = serializer.serialize_map(None)?;
        for (key, value) in map.iter().filter(|(key, _)| *key != "apiVersion" && *key != "kind") {
            out.serialize_entry(key, value)?;
        }
        out.end()
    }
}

impl Object {
    pub fn new(res: Res, value: Value, version: u64) -> Self {
        let weight = u32::try_from(size_of::<Self>() + weight(&value)).unwrap_or(u32::MAX);
        Self { res, value, version, json: OnceLock::new(), weight }
    }

    /// The approximate size in memory, in bytes.
    pub fn weight(&self) -> usize {
        self.weight as usize
    }

    /// The document without apiVersion and kind, serialised once.
    pub fn item(&self) -> &Bytes {
        self.json.get_or_init(|| {
            // Writing JSON into memory fails only for map keys that are not strings, which a Value does not have.
            serde_json::to_vec(&Item(&self.value)).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
        })
    }

    pub fn at(&self, pointer: &str) -> &Value {
        walk(&self.value, pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer, empty if there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    pub fn int(&self, pointer: &str) -> Option<i64> {
        self.at(pointer).as_i64()
    }

    pub fn time(&self, pointer: &str) -> Option<DateTime<Utc>> {
        clock::parse(self.text(pointer))
    }

    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    pub fn generation(&self) -> i64 {
        self.int("/metadata/generation").unwrap_or_default()
    }

    pub fn key(&self) -> Key {
        Key { res: self.res, namespace: self.namespace().into(), name: self.name().into() }
    }

    pub fn labels(&self) -> &Value {
        self.at("/metadata/labels")
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels().get(name)?.as_str()
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.at("/metadata/annotations").get(name)?.as_str()
    }

    /// Whether its deletion was requested.
    pub fn is_terminating(&self) -> bool {
        !self.at("/metadata/deletionTimestamp").is_null()
    }

    pub fn owners(&self) -> impl Iterator<Item = &Value> {
        self.at("/metadata/ownerReferences").as_array().map(Vec::as_slice).unwrap_or_default().iter()
    }

    /// The owner with `controller: true`.
    pub fn controller(&self) -> Option<&Value> {
        self.owners().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
    }

    pub fn controlled_by(&self, uid: &str) -> bool {
        self.controller().and_then(|owner| owner.get("uid")).and_then(Value::as_str) == Some(uid)
    }

    /// The `status` of a condition: `True`, `False`, `Unknown`, or None.
    pub fn condition(&self, kind: &str) -> Option<&str> {
        condition(&self.value, kind)?.get("status")?.as_str()
    }
}

/// The same as `Value::pointer`, without copying each step of the path, because the loops call this a million times.
pub fn walk<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.contains('~') || !(pointer.is_empty() || pointer.starts_with('/')) {
        return value.pointer(pointer);
    }
    pointer.split('/').skip(1).try_fold(value, |at, step| match at {
        Value::Object(map) => map.get(step),
        Value::Array(all) => all.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// A condition of a document by its type.
pub fn condition<'a>(value: &'a Value, kind: &str) -> Option<&'a Value> {
    let all = walk(value, "/status/conditions")?.as_array()?;
    all.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(kind))
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    Added,
    Modified,
    Deleted,
}

/// One entry of the event log.
#[derive(Debug)]
pub struct Change {
    pub happened: Happened,
    pub version: u64,
    /// The object after the change; for a deletion its last version, with the version of the deletion.
    pub object: Arc<Object>,
    /// The object before the change: a watch with a selector needs it to tell what left its view.
    pub before: Option<Arc<Object>>,
}
