//! ControllerRevisions: the earlier templates of a StatefulSet or DaemonSet.

use std::sync::Arc;

use serde_json::{Value, json};

use super::doc::{change, owner, put};
use super::workload::template_hash;
use crate::resources::Res;
use crate::store::{Delete, Object, Store, Write};

const MANAGER: &str = "kube-controller-manager";

/// The revisions of an object, oldest first.
pub(super) fn all(store: &Store, of: &Object) -> Vec<Arc<Object>> {
    let mut all = store.owned_by(Res::ControllerRevisions, of.uid());
    all.sort_by_key(|one| (one.int("/revision"), one.name().to_owned()));
    all
}

/// The label of the pods of a revision.
pub(super) fn hash(revision: &Object) -> &str {
    revision.label("controller-revision-hash").unwrap_or_default()
}

/// The template of a revision.
pub(super) fn template(revision: &Object) -> Value {
    let mut out = revision.at("/data/spec/template").clone();
    put(&mut out, &["$patch"], Value::Null);
    out
}

/// The revision of the current template, created if it is new; an old one that is used again gets the highest number.
pub(super) fn current(store: &Store, of: &Object) -> Option<Arc<Object>> {
    let mut data = of.at("/spec/template").clone();
    put(&mut data, &["$patch"], json!("replace"));
    let data = json!({"spec": {"template": data}});
    let known = all(store, of);
    let next = known.last().and_then(|one| one.int("/revision")).unwrap_or_default() + 1;
    if let Some(same) = known.iter().find(|one| one.at("/data") == &data) {
        if same.int("/revision").unwrap_or_default() + 1 == next {
            return Some(same.clone());
        }
        return change(store, same, MANAGER, |value| put(value, &["revision"], json!(next))).ok();
    }
    let hash = template_hash(of.at("/spec/template"), 0);
    let mut labels = super::doc::map_of(&of.value, "/spec/template/metadata/labels");
    labels.insert("controller-revision-hash".into(), json!(hash));
    let revision = json!({"metadata": {"name": format!("{}-{hash}", of.name()), "namespace": of.namespace(),
        "labels": labels, "ownerReferences": [owner(of)]}, "data": data, "revision": next});
    store.create(Res::ControllerRevisions, revision, &Write::by(MANAGER)).ok()
}

/// Deletes the oldest revisions that no pod has.
pub(super) fn clean(store: &Store, of: &Object, used: &[String]) {
    let limit = of.int("/spec/revisionHistoryLimit").unwrap_or(10).max(0) as usize;
    let mut idle = all(store, of);
    idle.pop();
    idle.retain(|one| {
        !used.iter().any(|hash_or_name| hash_or_name == hash(one) || hash_or_name == one.name())
    });
    let excess = idle.len().saturating_sub(limit);
    for one in idle.into_iter().take(excess) {
        drop(store.delete(Res::ControllerRevisions, one.namespace(), one.name(), &Delete::now()));
    }
}
