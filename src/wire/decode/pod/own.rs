//! The values that a pod does not share with the other pods of its owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::pod::PodOwn;
use pilothouse_core::domain::workload::{COMPLETION_INDEX, POD_INDEX, POD_NAME, TOPOLOGY};
use pilothouse_core::plan::OUT_OF_ROTATION;

use super::super::{Meta, Pools};

/// Labels that differ between the pods of one owner, or that repeat the node's labels. They are not part of the shape.
pub(super) fn is_own(key: &str) -> bool {
    matches!(key, POD_NAME | POD_INDEX | COMPLETION_INDEX) || key.starts_with(TOPOLOGY)
}

/// What this pod does not share with the others of its template.
pub(super) fn own(
    pools: &mut Pools,
    meta: &Meta<'_>,
    name: &Name,
    evicted: bool,
    claims: Box<[Name]>,
) -> Option<Arc<PodOwn>> {
    let leaving = !meta.deletion_timestamp.is_empty();
    let own = PodOwn {
        labels: meta
            .labels
            .0
            .iter()
            .filter(|(k, _)| is_own(k))
            .map(|(k, v)| (pools.name(k), if **v == **name { name.clone() } else { pools.name(v) }))
            .collect(),
        finalizers: meta
            .finalizers
            .iter()
            .flatten()
            .filter(|_| leaving)
            .map(|finalizer| pools.name(finalizer))
            .collect(),
        taken: taken(pools, meta),
        evicted: evicted && leaving,
        claims,
    };
    if own == PodOwn::default() {
        return None;
    }
    // many pods share a zone, but a name or an index is unique
    let unique = own.labels.iter().any(|(key, _)| !key.starts_with(TOPOLOGY));
    Some(if unique { Arc::new(own) } else { pools.own.get(own) })
}

/// The labels in the annotation that records what was removed to take a pod out of rotation. The annotation may have
/// been edited: one that cannot be read counts as empty.
fn taken(pools: &mut Pools, meta: &Meta<'_>) -> Box<[(Name, Name)]> {
    let note = meta.annotations.get(OUT_OF_ROTATION);
    let labels: Option<BTreeMap<&str, &str>> = note.and_then(|note| serde_json::from_str(note).ok());
    labels.into_iter().flatten().map(|(k, v)| (pools.name(k), pools.name(v))).collect()
}
