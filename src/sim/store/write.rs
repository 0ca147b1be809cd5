//! Creating and changing objects: versions, generations, preconditions, and the fields that a writer may change.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::delete::is_released;
use super::managed::{Author, credit};
use super::object::{Happened, Key, Object, walk};
use super::{Inner, Store};
use crate::defaults;
use crate::resources::Res;
use crate::status::Status;

/// The part of an object that a write can change. As in the real server, other fields silently keep their value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything: for the loops.
    All,
    /// All but the status: the object's main endpoint.
    Main,
    /// Only the status: `/status`.
    Status,
}

/// The writer of a change, and its preconditions.
#[derive(Debug, Clone)]
pub struct Write<'a> {
    /// The field manager.
    pub manager: &'a str,
    pub scope: Scope,
    /// `Apply` for a server-side apply, otherwise `Update`.
    pub operation: &'static str,
    pub subresource: Option<&'static str>,
    pub dry_run: bool,
    /// Record the writer even for a resource with many objects.
    pub tracked: bool,
    /// Refuse unless the object still has this uid.
    pub uid: Option<&'a str>,
    /// Refuse unless the object still has this version.
    pub version: Option<&'a str>,
}

impl<'a> Write<'a> {
    /// A loop inside the cluster.
    pub fn by(manager: &'a str) -> Self {
        Self {
            manager,
            scope: Scope::All,
            operation: "Update",
            subresource: None,
            dry_run: false,
            tracked: false,
            uid: None,
            version: None,
        }
    }

    /// A request through the API.
    pub fn request(manager: &'a str) -> Self {
        Self { scope: Scope::Main, tracked: true, ..Self::by(manager) }
    }

    pub fn status(mut self) -> Self {
        self.scope = Scope::Status;
        self.subresource = Some("status");
        self
    }

    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    pub fn if_uid(mut self, uid: Option<&'a str>) -> Self {
        self.uid = uid;
        self
    }

    pub fn if_version(mut self, version: Option<&'a str>) -> Self {
        self.version = version;
        self
    }
}

/// A map inside a document, created if it is absent.
pub(super) fn map_at<'a>(value: &'a mut Value, field: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = json!({});
    }
    let entry = &mut value[field];
    if !entry.is_object() {
        *entry = json!({});
    }
    entry
}

/// Edits the document's metadata, which is created if it is absent.
pub(super) fn metadata(value: &mut Value) -> &mut Map<String, Value> {
    match map_at(value, "metadata") {
        Value::Object(map) => map,
        // map_at has just created a map; a leak that never happens is better than a panic that never happens.
        _ => Box::leak(Box::default()),
    }
}

/// The metadata that only the server writes.
const SERVER_METADATA: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "managedFields",
    "generateName",
    "selfLink",
];

/// Restores the fields in `new` that a writer cannot change.
fn protect(res: Res, old: &Value, new: &mut Value, scope: Scope) {
    let info = res.info();
    let old_metadata = old.get("metadata").and_then(Value::as_object);
    if scope == Scope::Status {
        if differs_beside_status(old, new) {
            let status = new.get_mut("status").map(Value::take);
            *new = old.clone();
            if let (Some(status), Some(map)) = (status, new.as_object_mut()) {
                map.insert("status".into(), status);
            }
        }
        let is_null = new.get("status").is_some_and(Value::is_null);
        if let Some(map) = new.as_object_mut().filter(|_| is_null) {
            map.remove("status");
        }
    } else if scope == Scope::Main
        && info.has("status")
        && let Some(map) = new.as_object_mut()
    {
        match old.get("status") {
            Some(status) => map.insert("status".into(), status.clone()),
            None => map.remove("status"),
        };
    }
    let new_metadata = metadata(new);
    for field in SERVER_METADATA {
        match old_metadata.and_then(|old| old.get(*field)) {
            Some(value) => new_metadata.insert((*field).into(), value.clone()),
            None => new_metadata.remove(*field),
        };
    }
    new_metadata.retain(|key, value| {
        !(matches!(key.as_str(), "labels" | "annotations") && value.as_object().is_none_or(Map::is_empty)
            || matches!(key.as_str(), "finalizers" | "ownerReferences")
                && value.as_array().is_none_or(Vec::is_empty))
    });
    if let Some(map) = new.as_object_mut() {
        map.insert("apiVersion".into(), json!(info.api_version()));
        map.insert("kind".into(), json!(info.kind));
    }
}

/// Whether anything but the status differs; comparing is much cheaper than copying.
fn differs_beside_status(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return true };
    let counts = |(key, _): &(&String, &Value)| *key != "status";
    !old.iter().filter(counts).eq(new.iter().filter(counts))
}

/// Whether anything outside metadata and status differs.
fn spec_differs(old: &Value, new: &Value) -> bool {
    let rest = |value: &Value| {
        value.as_object().map(|map| {
            map.iter()
                .filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect::<Vec<_>>()
        })
    };
    // The spec is compared in place; the other fields (data of a ConfigMap, webhooks) exist for few kinds and are
    // small.
    old.get("spec") != new.get("spec") || (old.get("spec").is_none() && rest(old) != rest(new))
}

impl Inner {
    /// Gives a document the next version and stores it.
    pub(super) fn commit(&mut self, key: &Key, happened: Happened, mut value: Value) -> Arc<Object> {
        self.version += 1;
        let version = self.version;
        metadata(&mut value).insert("resourceVersion".into(), json!(version.to_string()));
        let object = Arc::new(Object::new(key.res, value, version));
        let before = self.at(key).cloned();
        let after = (happened != Happened::Deleted).then_some(object.as_ref());
        self.index.note(key, before.as_deref(), after);
        if let Some(shelf) = self.shelves.get_mut(key.res as usize) {
            shelf.apply(key, happened, object.clone());
        }
        object
    }
}

impl Store {
    fn author<'a>(&self, how: &'a Write<'_>, api_version: &'a str) -> Author<'a> {
        Author {
            manager: how.manager,
            operation: how.operation,
            api_version,
            subresource: how.subresource,
            time: self.clock().stamp(),
        }
    }

    /// Creates an object. The namespace must exist and must not be terminating; names can be generated.
    pub fn create(&self, res: Res, mut value: Value, how: &Write<'_>) -> Result<Arc<Object>, Status> {
        let info = res.info();
        // A node can be created with its status, as kubelets do; for all other kinds, controllers set the status.
        if how.scope == Scope::Main
            && info.has("status")
            && res != Res::Nodes
            && let Some(map) = value.as_object_mut()
        {
            map.remove("status");
        }
        defaults::fill(res, &mut value, self);
        let api_version = info.api_version();
        let now = self.clock().stamp();
        let fields = metadata(&mut value);
        let prefix = fields.get("generateName").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut name = fields.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let generated = name.is_empty();
        if generated && prefix.is_empty() {
            let why = "Required value: name or generateName is required";
            return Err(Status::invalid(res, "", "metadata.name", "FieldValueRequired", why));
        }
        let namespace = if info.namespaced {
            fields.get("namespace").and_then(Value::as_str).unwrap_or("default").to_owned()
        } else {
            String::new()
        };
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink"] {
            fields.remove(field);
        }
        fields.retain(|_, value| !value.is_null());
        // A loop can provide a UID that does not depend on the order of creation.
        if how.scope != Scope::All || fields.get("uid").and_then(Value::as_str).is_none_or(str::is_empty) {
            fields.insert("uid".into(), json!(self.random().uid()));
        }
        fields.insert("creationTimestamp".into(), json!(now));
        if info.generation {
            fields.insert("generation".into(), json!(1));
        }
        if info.namespaced {
            fields.insert("namespace".into(), json!(namespace));
        }
        if let Some(map) = value.as_object_mut() {
            map.insert("apiVersion".into(), json!(api_version));
            map.insert("kind".into(), json!(info.kind));
        }
        defaults::check(res, &name, &value)?;
        if self.is_tracked(res, how) {
            credit(None, &mut value, &self.author(how, &api_version));
        }

        let mut inner = self.locked();
        if info.namespaced {
            let Some(space) = inner.get(Res::Namespaces, "", &namespace) else {
                return Err(Status::not_found(Res::Namespaces, &namespace));
            };
            if space.is_terminating() {
                return Err(terminating(res, &name, &namespace));
            }
        }
        if generated {
            loop {
                name = format!("{prefix}{}", self.random().suffix(5));
                if inner.get(res, &namespace, &name).is_none() {
                    break;
                }
            }
            metadata(&mut value).insert("name".into(), json!(name));
        }
        if inner.get(res, &namespace, &name).is_some() {
            return Err(Status::already_exists(res, &name));
        }
        if how.dry_run {
            return Ok(Arc::new(Object::new(res, value, 0)));
        }
        let key = Key { res, namespace: namespace.into(), name: name.into() };
        let object = inner.commit(&key, Happened::Added, value);
        drop(inner);
        self.told(object.version);
        Ok(object)
    }

    /// Changes an object under the lock: `change` gets the current version and must not call the store. If nothing
    /// changes, the version stays the same.
    pub fn write(
        &self,
        res: Res,
        namespace: &str,
        name: &str,
        how: &Write<'_>,
        change: impl FnOnce(&mut Value) -> Result<(), Status>,
    ) -> Result<Arc<Object>, Status> {
        let info = res.info();
        let mut inner = self.locked();
        let Some(old) = inner.get(res, namespace, name).cloned() else {
            return Err(Status::not_found(res, name));
        };
        if how.uid.is_some_and(|uid| uid != old.uid()) {
            let (uid, hint) =
                (how.uid.unwrap_or_default(), "The object might have been deleted and then recreated");
            return Err(Status::precondition(res, name, "UID", uid, old.uid(), hint));
        }
        if how.version.is_some_and(|version| version != old.text("/metadata/resourceVersion")) {
            return Err(Status::conflict(res, name));
        }
        let mut new = old.value.clone();
        change(&mut new)?;
        let named = walk(&new, "/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
        if !named.is_empty() && named != old.text("/metadata/resourceVersion") {
            return Err(Status::conflict(res, name));
        }
        let uid = walk(&new, "/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        if !uid.is_empty() && uid != old.uid() {
            let why = format!("Invalid value: \"{uid}\": field is immutable");
            return Err(Status::invalid(res, name, "metadata.uid", "FieldValueInvalid", &why));
        }
        protect(res, &old.value, &mut new, how.scope);
        if new.get("spec") != old.value.get("spec") {
            defaults::refill(res, &mut new);
        }
        if new == old.value {
            return Ok(old);
        }
        defaults::check(res, name, &new)?;
        if info.generation && spec_differs(&old.value, &new) {
            metadata(&mut new).insert("generation".into(), json!(old.generation() + 1));
        }
        if self.is_tracked(res, how) {
            credit(Some(&old.value), &mut new, &self.author(how, &info.api_version()));
        }
        if how.dry_run {
            return Ok(Arc::new(Object::new(res, new, old.version)));
        }
        let key = old.key();
        let object = if is_released(res, &new) {
            inner.remove(&key, Some(new)).unwrap_or(old)
        } else {
            inner.commit(&key, Happened::Modified, new)
        };
        let version = inner.version;
        drop(inner);
        self.told(version);
        Ok(object)
    }

    /// Changes any part of an object, for the loops.
    pub fn update(
        &self,
        res: Res,
        namespace: &str,
        name: &str,
        manager: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Object>, Status> {
        self.write(res, namespace, name, &Write::by(manager), |value| {
            change(value);
            Ok(())
        })
    }

    /// Changes the status of an object; `change` gets the status, or an empty map.
    pub fn update_status(
        &self,
        res: Res,
        namespace: &str,
        name: &str,
        manager: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Object>, Status> {
        self.write(res, namespace, name, &Write::by(manager).status(), |value| {
            change(map_at(value, "status"));
            Ok(())
        })
    }

    /// Wakes up all that wait for a change.
    pub(super) fn told(&self, version: u64) {
        self.0.version.send_if_modified(|known| {
            let newer = version > *known;
            *known = (*known).max(version);
            newer
        });
    }
}

fn terminating(res: Res, name: &str, namespace: &str) -> Status {
    let info = res.info();
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = Status::forbidden(info.plural, info.group, name, &why);
    if let Some(Value::Object(details)) = &mut status.details {
        let message = format!("namespace {namespace} is being terminated");
        let cause =
            json!([{"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}]);
        details.insert("causes".into(), cause);
    }
    status
}
