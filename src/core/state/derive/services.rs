//! Rows of Services joined with their EndpointSlices.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::id::{Name, Uid, Version};
use crate::domain::service::EndpointSlice;
use crate::domain::time::Stamp;
use crate::domain::traffic::LONGEST_WINDOW_SECS;

use super::{Derivation, put};
use crate::facts::reduce::{Dirty, Facts};
use crate::facts::table::Wrote;
use crate::facts::world::ServiceRow;
use crate::policy::shares::settled_ms;

/// After this time, a backend no longer counts as new in any window of the rates.
const LATELY_MS: u64 = settled_ms(LONGEST_WINDOW_SECS);

/// Returns the ready pods with their uids. A new pod of a StatefulSet has the name of the old one, but another uid.
fn ready(slices: &[Arc<EndpointSlice>]) -> impl Iterator<Item = (&Name, Option<&Uid>)> {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter());
    endpoints
        .filter(|endpoint| endpoint.ready)
        .filter_map(|one| Some((one.pod.as_ref()?, one.pod_uid.as_ref())))
}

/// Returns when the ready endpoints came into rotation, by the names of their pods. Only recent ones are listed.
///
/// `before` is the previous row, if its endpoints were known. A pod that was not ready in it comes into rotation now.
/// Without a previous row, the pod's own `ready_since` is used.
fn came(
    facts: &Facts,
    before: Option<&Arc<ServiceRow>>,
    slices: &[Arc<EndpointSlice>],
    now: Stamp,
) -> Arc<[(Name, Stamp)]> {
    let was_ready: HashSet<_> = before.into_iter().flat_map(|row| ready(&row.slices)).collect();
    let since = |pod: &Name, uid: Option<&Uid>| match before {
        Some(row) if was_ready.contains(&(pod, uid)) => row.came_at(pod),
        Some(_) => Some(now),
        None => facts.pods.get(uid?).filter(|pod| pod.ready)?.ready_since,
    };
    let since = ready(slices).filter_map(|(pod, uid)| Some((pod.clone(), since(pod, uid)?)));
    let mut came: Vec<(Name, Stamp)> = since.filter(|(_, since)| now.since(*since) < LATELY_MS).collect();
    // A pod has one endpoint for each address family.
    came.sort();
    came.dedup_by(|a, b| a.0 == b.0);
    came.into()
}

impl Derivation {
    pub(super) fn refresh_services(&mut self, facts: &Facts, dirty: &Dirty, now: Stamp) -> bool {
        let mut keys: HashSet<(Name, Name)> = HashSet::new();
        let mut changed = false;
        for delta in &dirty.slices {
            for slice in [&delta.old, &delta.new].into_iter().flatten() {
                keys.insert((slice.namespace.clone(), slice.service.clone()));
            }
            if let Some(old) = &delta.old
                && delta.new.as_ref().is_none_or(|new| new.service != old.service)
            {
                let key = (old.namespace.clone(), old.service.clone());
                if let Some(list) = self.slices_by_service.get_mut(&key) {
                    list.retain(|uid| *uid != old.uid);
                    if list.is_empty() {
                        self.slices_by_service.remove(&key);
                    }
                }
            }
            if let Some(new) = &delta.new {
                let list =
                    self.slices_by_service.entry((new.namespace.clone(), new.service.clone())).or_default();
                if !list.contains(&new.uid) {
                    list.push(new.uid.clone());
                }
            }
        }
        for delta in &dirty.services {
            if let Some(new) = &delta.new {
                let key = (new.namespace.clone(), new.name.clone());
                self.service_by_name.insert(key.clone(), new.uid.clone());
                keys.insert(key);
            } else if let Some(old) = &delta.old {
                let key = (old.namespace.clone(), old.name.clone());
                if self.service_by_name.get(&key) == Some(&old.uid) {
                    self.service_by_name.remove(&key);
                }
                changed |= matches!(self.services.remove(&old.uid, Version(0)), Wrote::Removed(_));
            }
        }
        let pods_known = facts.pods.table().cover.is_read();
        // Rows that were made before the pods were read lack the times at which pods became ready.
        let again = pods_known && !std::mem::replace(&mut self.pods_known, pods_known);
        if again {
            keys.extend(self.service_by_name.keys().cloned());
        }
        for key in keys {
            let Some(service) = self.service_by_name.get(&key).and_then(|uid| facts.services.get(uid)) else {
                continue;
            };
            let slices: Vec<_> = self
                .slices_by_service
                .get(&key)
                .into_iter()
                .flatten()
                .filter_map(|uid| facts.slices.get(uid).cloned())
                .collect();
            let before = self.services.get(&service.uid).filter(|_| self.endpoints_known && !again);
            let came = came(facts, before, &slices, now);
            let row = ServiceRow::new(service.clone(), slices.into(), came);
            changed |= put(&mut self.services, row);
        }
        self.endpoints_known = facts.slices.table().cover.is_read();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service::{Endpoint, Service};
    use crate::domain::traffic::ServiceTraffic;
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::policy::shares::is_new;
    use crate::state::ClusterState;

    #[test]
    fn a_backend_is_new_for_as_long_as_the_longest_window_needs() {
        let mut state = ClusterState::new(ClusterInfo::default());
        let service = Service { uid: Uid::parse("s"), name: "cart".into(), ..Service::default() };
        let slice = |version: u64, pods: &[&str]| EndpointSlice {
            uid: Uid::parse("e"),
            version: Version(version),
            service: "cart".into(),
            endpoints: pods
                .iter()
                .map(|pod| Endpoint { pod: Some((*pod).into()), ready: true, ..Endpoint::default() })
                .collect(),
            ..EndpointSlice::default()
        };
        let (generation, version) = (1, Version(1));
        state.apply(Fact::Services(Batch::Upsert(vec![service])), Stamp(0));
        state.apply(Fact::EndpointSlices(Batch::Begin { generation }), Stamp(0));
        state.apply(Fact::EndpointSlices(Batch::Upsert(vec![slice(1, &["a"])])), Stamp(0));
        state.apply(Fact::EndpointSlices(Batch::End { generation, version }), Stamp(0));
        state.publish(Stamp(0), false);
        let mut at = |minutes: i64, version: u64, pods: &[&str]| {
            let now = Stamp(minutes * 60_000);
            state.apply(Fact::EndpointSlices(Batch::Upsert(vec![slice(version, pods)])), now);
            let cluster = state.publish(now, false).unwrap();
            let row = cluster.derived.services.iter().next().unwrap().clone();
            [60, 3600].map(|window_secs| {
                is_new(&ServiceTraffic { window_secs, ..ServiceTraffic::default() }, &row, "b", now)
            })
        };
        assert_eq!(at(1, 2, &["a", "b"]), [true, true]);
        assert_eq!(at(90, 3, &["a", "b", "c"]), [false, true], "its rates are not yet of a whole hour");
        assert_eq!(at(92, 4, &["a", "b"]), [false, false]);
    }
}
