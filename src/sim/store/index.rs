//! Lookups other than by name: pods by node, and any object by its UID or by its owner's UID.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::object::{Key, Object};
use crate::resources::Res;

#[derive(Debug, Default)]
pub(super) struct Index {
    uids: HashMap<Box<str>, Key>,
    dependents: HashMap<Box<str>, BTreeSet<Key>>,
    on_node: HashMap<Box<str>, BTreeSet<Key>>,
}

fn owner_uids(object: &Object) -> Vec<&str> {
    object.owners().filter_map(|owner| owner.get("uid").and_then(Value::as_str)).collect()
}

fn node(object: &Object) -> Option<&str> {
    (object.res == Res::Pods).then(|| object.text("/spec/nodeName")).filter(|node| !node.is_empty())
}

fn drop_from(map: &mut HashMap<Box<str>, BTreeSet<Key>>, at: &str, key: &Key) {
    if let Some(set) = map.get_mut(at) {
        set.remove(key);
        if set.is_empty() {
            map.remove(at);
        }
    }
}

impl Index {
    /// Records a change. `after` is `None` for a deletion.
    pub(super) fn note(&mut self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        let (old, new) =
            (before.map(owner_uids).unwrap_or_default(), after.map(owner_uids).unwrap_or_default());
        if old != new {
            for uid in old.iter().filter(|uid| !new.contains(uid)) {
                drop_from(&mut self.dependents, uid, key);
            }
            for uid in new.iter().filter(|uid| !old.contains(uid)) {
                self.dependents.entry((*uid).into()).or_default().insert(key.clone());
            }
        }
        let (old, new) = (before.and_then(node), after.and_then(node));
        if old != new {
            if let Some(old) = old {
                drop_from(&mut self.on_node, old, key);
            }
            if let Some(new) = new {
                self.on_node.entry(new.into()).or_default().insert(key.clone());
            }
        }
        match (before, after) {
            (None, Some(new)) => {
                self.uids.insert(new.uid().into(), key.clone());
            }
            (Some(old), None) => {
                self.uids.remove(old.uid());
            }
            _ => {}
        }
    }

    pub(super) fn by_uid(&self, uid: &str) -> Option<&Key> {
        self.uids.get(uid)
    }

    pub(super) fn dependents(&self, uid: &str) -> impl Iterator<Item = &Key> {
        self.dependents.get(uid).into_iter().flatten()
    }

    pub(super) fn on_node(&self, node: &str) -> impl Iterator<Item = &Key> {
        self.on_node.get(node).into_iter().flatten()
    }
}
