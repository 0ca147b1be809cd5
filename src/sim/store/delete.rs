//! Deletion: graceful for pods, delayed by finalizers, followed by the garbage collection of dependents, and by the end
//! of a namespace when its last object is deleted.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::object::{Happened, Key, Object};
use super::write::metadata;
use super::{Inner, Store};
use crate::clock;
use crate::resources::Res;
use crate::status::Status;

/// What happens to the objects that it owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// They are deleted after it (background).
    #[default]
    Background,
    /// It is deleted after them, and waits until then (foreground).
    Foreground,
    /// They lose their owner and stay (orphan).
    Orphan,
}

/// The options of a deletion.
#[derive(Debug, Clone, Default)]
pub struct Delete {
    /// Seconds; `None`: the pod's own, 0: at once.
    pub grace: Option<i64>,
    pub uid: Option<String>,
    pub version: Option<String>,
    pub propagation: Propagation,
    pub dry_run: bool,
}

impl Delete {
    /// Without a grace period, as a kubelet sends it when the containers have ended.
    pub fn now() -> Self {
        Self { grace: Some(0), ..Self::default() }
    }
}

/// The result of a deletion.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// The object was deleted; this was its last version.
    Gone(Arc<Object>),
    /// It is marked as terminating, until its grace period is over or its finalizers are removed.
    Terminating(Arc<Object>),
}

impl Deleted {
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Self::Gone(object) | Self::Terminating(object) => object,
        }
    }
}

const FOREGROUND: &str = "foregroundDeletion";

fn finalizers(value: &Value) -> usize {
    value.pointer("/metadata/finalizers").and_then(Value::as_array).map_or(0, Vec::len)
}

/// The grace period of a pod in seconds.
fn pod_grace(pod: &Object, asked: Option<i64>) -> i64 {
    let finished = matches!(pod.text("/status/phase"), "Succeeded" | "Failed");
    if finished || pod.text("/spec/nodeName").is_empty() {
        return 0;
    }
    asked.or_else(|| pod.int("/spec/terminationGracePeriodSeconds")).unwrap_or(30).max(0)
}

/// Whether it is marked for deletion and has no finalizers: a write that leads to this deletes the object.
pub(super) fn is_released(res: Res, value: &Value) -> bool {
    let marked = value.pointer("/metadata/deletionTimestamp").is_some();
    let grace = value.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    marked && finalizers(value) == 0 && grace == 0 && res != Res::Namespaces
}

impl Inner {
    /// Deletes an object, and then its dependents, waiting owners, and namespace where due.
    pub(super) fn remove(&mut self, key: &Key, last: Option<Value>) -> Option<Arc<Object>> {
        let old = self.at(key).cloned()?;
        let value = last.unwrap_or_else(|| old.value.clone());
        let gone = self.commit(key, Happened::Deleted, value);
        let dependents: Vec<Key> = self.index.dependents(old.uid()).cloned().collect();
        for dependent in dependents {
            self.lose_owner(&dependent);
        }
        let owners: Vec<Key> = old
            .owners()
            .filter_map(|owner| self.index.by_uid(owner.get("uid")?.as_str()?).cloned())
            .collect();
        for owner in owners {
            self.finish_foreground(&owner);
        }
        self.finish_namespace(&key.namespace);
        Some(gone)
    }

    /// One of its owners was deleted: without another owner it is deleted too, otherwise it only loses the reference.
    fn lose_owner(&mut self, key: &Key) {
        let Some(object) = self.at(key).cloned() else { return };
        let alive: Vec<Value> = object
            .owners()
            .filter(|owner| {
                owner.get("uid").and_then(Value::as_str).is_some_and(|uid| self.index.by_uid(uid).is_some())
            })
            .cloned()
            .collect();
        if alive.is_empty() {
            self.delete(key, &object, &Delete::default());
        } else {
            let mut value = object.value.clone();
            metadata(&mut value).insert("ownerReferences".into(), Value::Array(alive));
            self.commit(key, Happened::Modified, value);
        }
    }

    /// An owner that waits (foreground deletion) is deleted with its last dependent.
    fn finish_foreground(&mut self, key: &Key) {
        let Some(owner) = self.at(key).cloned() else { return };
        if !owner.is_terminating() || self.index.dependents(owner.uid()).next().is_some() {
            return;
        }
        let mut value = owner.value.clone();
        if let Some(Value::Array(list)) = value.pointer_mut("/metadata/finalizers") {
            list.retain(|one| one != FOREGROUND);
        }
        if is_released(key.res, &value) {
            metadata(&mut value).remove("finalizers");
            self.remove(key, Some(value));
        }
    }

    fn finish_namespace(&mut self, namespace: &str) {
        if namespace.is_empty()
            || !self.get(Res::Namespaces, "", namespace).is_some_and(|one| one.is_terminating())
        {
            return;
        }
        if self.shelves.iter().all(|shelf| !shelf.has_any(namespace)) {
            let key = Key { res: Res::Namespaces, namespace: "".into(), name: namespace.into() };
            self.remove(&key, None);
        }
    }

    fn orphan_dependents(&mut self, uid: &str) {
        let dependents: Vec<Key> = self.index.dependents(uid).cloned().collect();
        for key in dependents {
            let Some(object) = self.at(&key).cloned() else { continue };
            let mut value = object.value.clone();
            let fields = metadata(&mut value);
            if let Some(Value::Array(list)) = fields.get_mut("ownerReferences") {
                list.retain(|owner| owner.get("uid").and_then(Value::as_str) != Some(uid));
                if list.is_empty() {
                    fields.remove("ownerReferences");
                }
            }
            self.commit(&key, Happened::Modified, value);
        }
    }

    /// Deletes an object that was found and checked.
    fn delete(&mut self, key: &Key, object: &Arc<Object>, options: &Delete) -> Deleted {
        let now = self.clock.now();
        if options.propagation == Propagation::Orphan {
            self.orphan_dependents(object.uid());
        }
        let mut value = object.value.clone();
        let grace = if key.res == Res::Pods { pod_grace(object, options.grace) } else { 0 };
        let waits_for_dependents = options.propagation == Propagation::Foreground
            && self.index.dependents(object.uid()).next().is_some();
        let fields = metadata(&mut value);
        if waits_for_dependents {
            let list = fields.entry("finalizers").or_insert_with(|| json!([]));
            if let Value::Array(list) = list
                && !list.iter().any(|one| one == FOREGROUND)
            {
                list.push(json!(FOREGROUND));
            }
        }
        let before = object.int("/metadata/deletionGracePeriodSeconds");
        // A second deletion can shorten the grace period, but never lengthens it.
        let grace = before.map_or(grace, |before| before.min(grace));
        if !object.is_terminating() || before.is_some_and(|before| grace < before) {
            let end = now.checked_add_signed(TimeDelta::seconds(grace)).unwrap_or(now);
            fields.insert("deletionTimestamp".into(), json!(clock::stamp(end)));
            fields.insert("deletionGracePeriodSeconds".into(), json!(grace));
            if key.res.info().generation {
                fields.insert("generation".into(), json!(object.generation() + 1));
            }
        }
        if key.res == Res::Namespaces {
            return self.end_namespace(key, object, value);
        }
        if is_released(key.res, &value) {
            return Deleted::Gone(self.remove(key, Some(value)).unwrap_or_else(|| object.clone()));
        }
        let marked =
            if value == object.value { object.clone() } else { self.commit(key, Happened::Modified, value) };
        if waits_for_dependents {
            let dependents: Vec<Key> = self.index.dependents(object.uid()).cloned().collect();
            for dependent in dependents {
                if let Some(object) = self.at(&dependent).cloned() {
                    let options = Delete { propagation: Propagation::Foreground, ..Delete::default() };
                    self.delete(&dependent, &object, &options);
                }
            }
        }
        match self.at(key) {
            Some(_) => Deleted::Terminating(marked),
            None => Deleted::Gone(marked),
        }
    }

    fn end_namespace(&mut self, key: &Key, object: &Arc<Object>, mut value: Value) -> Deleted {
        if let Some(Value::Object(status)) = value.get_mut("status") {
            status.insert("phase".into(), json!("Terminating"));
        }
        let marked =
            if value == object.value { object.clone() } else { self.commit(key, Happened::Modified, value) };
        let content: Vec<Arc<Object>> =
            self.shelves.iter().flat_map(|shelf| shelf.iter(Some(&key.name))).cloned().collect();
        for object in content {
            let key = object.key();
            // An earlier deletion may have deleted it already.
            if self.at(&key).is_some() {
                self.delete(&key, &object, &Delete::default());
            }
        }
        self.finish_namespace(&key.name);
        match self.at(key) {
            Some(_) => Deleted::Terminating(marked),
            None => Deleted::Gone(marked),
        }
    }
}

impl Store {
    /// Deletes an object. A pod on a node is only marked, until its kubelet deletes it without a grace period.
    pub fn delete(&self, res: Res, namespace: &str, name: &str, options: &Delete) -> Result<Deleted, Status> {
        let mut inner = self.locked();
        let Some(object) = inner.get(res, namespace, name).cloned() else {
            return Err(Status::not_found(res, name));
        };
        if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != object.uid()) {
            let hint = "The object might have been deleted and then recreated";
            return Err(Status::precondition(res, name, "UID", uid, object.uid(), hint));
        }
        let found = object.text("/metadata/resourceVersion");
        if let Some(version) = options.version.as_deref().filter(|version| *version != found) {
            let hint = "The object might have been modified";
            return Err(Status::precondition(res, name, "ResourceVersion", version, found, hint));
        }
        if options.dry_run {
            return Ok(Deleted::Gone(object));
        }
        let deleted = inner.delete(&object.key(), &object, options);
        let version = inner.version;
        drop(inner);
        self.told(version);
        Ok(deleted)
    }
}
