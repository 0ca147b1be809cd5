//! What a pod has for itself alone.

use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::pod::PodOwn;
use pilothouse_core::domain::workload::{COMPLETION_INDEX, POD_INDEX, POD_NAME, TOPOLOGY};

use super::super::{Meta, Pools};

/// Labels that differ from pod to pod of one owner, or that repeat the node's: they are not part of the shape.
pub(super) fn is_own(key: &str) -> bool {
    matches!(key, POD_NAME | POD_INDEX | COMPLETION_INDEX) || key.starts_with(TOPOLOGY)
}

/// What this pod does not share with the others of its template.
pub(super) fn own(pools: &mut Pools, meta: &Meta<'_>, name: &Name) -> Option<Arc<PodOwn>> {
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
    };
    if own.labels.is_empty() && own.finalizers.is_empty() {
        return None;
    }
    // many pods have the same zone; a name or an index is unique
    let unique = own.labels.iter().any(|(key, _)| !key.starts_with(TOPOLOGY));
    Some(if unique { Arc::new(own) } else { pools.own.get(own) })
}
