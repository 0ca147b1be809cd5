//! Verdicts on autoscalers, and the shares of backends. They are made here once, and every reader uses the result.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::autoscaler::{Hpa, HpaState};
use crate::domain::id::{Uid, Version};
use crate::domain::time::Stamp;
use crate::domain::traffic::{Balancing, ServiceTraffic};
use crate::policy::{hpa, shares};

use super::policies::{Other, is_same};
use super::{Derivation, put};
use crate::facts::past::{Past, Steps};
use crate::facts::reduce::{Dirty, Facts, Parts};
use crate::facts::table::Wrote;
use crate::facts::world::{HpaRow, ServiceRow, TrafficRow};

impl Derivation {
    /// Judges the autoscalers that changed.
    pub(super) fn refresh_hpas(&mut self, dirty: &Dirty, now: Stamp) -> bool {
        let mut changed = false;
        for delta in &dirty.hpas {
            changed |= match (&delta.new, &delta.old) {
                (Some(new), _) => self.refresh_hpa(new, now),
                (None, Some(old)) => matches!(self.hpas.remove(&old.uid, Version(0)), Wrote::Removed(_)),
                (None, None) => false,
            };
        }
        changed
    }

    /// Judges new autoscalers again, because time alone can turn them into failing ones.
    pub(super) fn tick_hpas(&mut self, now: Stamp) -> bool {
        let new = self.hpas.table().iter().filter(|row| row.verdict.state == HpaState::New);
        let new: Vec<Arc<Hpa>> = new.map(|row| row.hpa.clone()).collect();
        let judged: Vec<bool> = new.iter().map(|hpa| self.refresh_hpa(hpa, now)).collect();
        judged.contains(&true)
    }

    fn refresh_hpa(&mut self, hpa: &Arc<Hpa>, now: Stamp) -> bool {
        let before = self.hpas.get(&hpa.uid).map(|row| row.past.clone());
        let past = Steps::after(before.as_ref(), hpa.current, hpa.desired, now);
        put(&mut self.hpas, HpaRow { hpa: hpa.clone(), verdict: hpa::judge(hpa, now), past })
    }

    /// Judges the shares again if something that they depend on has changed. `changed` are the parts whose derived rows
    /// changed. Returns true if some shares changed between two polls.
    pub(super) fn refresh_shares(&mut self, facts: &Facts, dirty: &Dirty, changed: Parts) -> bool {
        let are_routes_changed = dirty.parts.meets(Parts::ROUTES) && self.routes.update(dirty.routes());
        let mut parts = dirty.parts;
        parts.add(changed);
        let inputs = Parts::TRAFFIC.and(Parts::SERVICES);
        if parts.meets(inputs) {
            self.refresh_slos(facts);
        }
        let relabelled = self.relabelled(dirty);
        let are_judged = (parts.meets(inputs) || are_routes_changed || !relabelled.is_empty())
            && self.refresh_traffic(facts, &relabelled);
        if dirty.parts.meets(Parts::TRENDS) {
            let with = |row: &Arc<TrafficRow>| match earlier(facts, &row.traffic) {
                Some(earlier) => {
                    let past = Arc::new(row.past.with(earlier));
                    Arc::new(TrafficRow { past, ..TrafficRow::clone(row) })
                }
                None => row.clone(),
            };
            self.traffic = self.traffic.iter().map(with).collect();
        }
        are_judged
    }

    /// Judges the shares of all Services after a poll. Between two polls, it judges only the Services whose endpoints or
    /// policy changed. Returns true if some did between two polls.
    fn refresh_traffic(&mut self, facts: &Facts, relabelled: &HashSet<&Uid>) -> bool {
        let seen = &self.join_traffic(facts);
        let is_same_poll = self.polled.as_ref().is_some_and(|polled| Arc::ptr_eq(polled, seen));
        let held = self.traffic.clone();
        self.refresh_policies(facts, seen, &Other::new(&held), relabelled);
        // The verdict on shares continues that of the poll before.
        let before = Other::new(if is_same_poll { &self.traffic_before } else { &held });
        let slices = facts.slices.table();
        let services = seen.services.iter().zip(&self.policies.found).enumerate();
        let judged = services.map(|(i, (traffic, found))| {
            // If the EndpointSlices are not current, they do not show which pods are in rotation.
            let endpoints = found.row.as_ref().filter(|_| slices.is_current(&traffic.namespace));
            let held = held.get(i).filter(|held| {
                is_same_poll
                    && is_same(held.endpoints.as_ref(), endpoints)
                    && held.balancing == found.balancing
            });
            held.cloned().unwrap_or_else(|| {
                let before = before.find(i, traffic).map(|(_, row)| row.as_ref());
                Arc::new(row(
                    traffic,
                    endpoints,
                    &found.balancing,
                    (before, earlier(facts, traffic)),
                    seen.at,
                ))
            })
        });
        let rows: Vec<Arc<TrafficRow>> = judged.collect();
        let all_held = rows.iter().zip(held.iter()).all(|(row, held)| Arc::ptr_eq(row, held));
        if !is_same_poll || !all_held {
            self.traffic = rows.into();
        }
        if !is_same_poll {
            self.traffic_before = held;
            self.polled = Some(seen.clone());
        }
        is_same_poll && !all_held
    }
}

/// Returns the numbers of a Service from before its first poll.
fn earlier<'f>(facts: &'f Facts, traffic: &ServiceTraffic) -> Option<&'f Arc<Past>> {
    facts.earlier.service(&traffic.namespace, &traffic.name)
}

/// Judges a service. `before` is its row in the poll before, or its numbers from before the first one.
fn row(
    traffic: &Arc<ServiceTraffic>,
    endpoints: Option<&Arc<ServiceRow>>,
    balancing: &Balancing,
    (before, earlier): (Option<&TrafficRow>, Option<&Arc<Past>>),
    at: Stamp,
) -> TrafficRow {
    let shares = shares::judge(traffic, balancing, endpoints.map(AsRef::as_ref), at);
    let shares = shares::over_time(shares, traffic, balancing, before, at);
    let past = match before {
        // another source was polled, but not the one of this Service
        Some(row) if Arc::ptr_eq(&row.traffic, traffic) => row.past.clone(),
        Some(row) => Past::after(Some(&row.past), traffic, at),
        None => {
            let first = Past::after(None, traffic, at);
            earlier.map_or(first.clone(), |earlier| Arc::new(first.with(earlier)))
        }
    };
    let (endpoints, balancing) = (endpoints.cloned(), balancing.clone());
    TrafficRow { traffic: traffic.clone(), endpoints, balancing, shares, past }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Uid;
    use crate::domain::service::{Endpoint, EndpointSlice, Service};
    use crate::domain::traffic::{BackendTraffic, Standing, TrafficSeen};
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::state::ClusterState;

    #[test]
    fn each_poll_counts_once_however_often_its_endpoints_change() {
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
        let generation = 1;
        state.apply(Fact::Services(Batch::Upsert(vec![service])), Stamp(0));
        state.apply(Fact::EndpointSlices(Batch::Begin { generation }), Stamp(0));
        state.apply(Fact::EndpointSlices(Batch::Upsert(vec![slice(1, &["a", "b", "c"])])), Stamp(0));
        state.apply(Fact::EndpointSlices(Batch::End { generation, version: Version(1) }), Stamp(0));
        state.publish(Stamp(0), false);
        let poll = |at: i64, first: f64| {
            let backend = |(name, rps): (&str, f64)| BackendTraffic {
                name: name.into(),
                rps: Some(rps),
                ..BackendTraffic::default()
            };
            let seen = ServiceTraffic {
                name: "cart".into(),
                window_secs: 60,
                scrape_secs: 5,
                backends: [("a", first), ("b", 100.0), ("c", 100.0)].map(backend).into(),
                ..ServiceTraffic::default()
            };
            let services = [Arc::new(seen)].into();
            Fact::Traffic(TrafficSeen { source: "prometheus".into(), at: Stamp(at), services })
        };
        let mut after = |fact: Fact, at: i64| {
            state.apply(fact, Stamp(at));
            let cluster = state.publish(Stamp(at), false).unwrap();
            cluster.derived.traffic[0].shares.backends[0].standing
        };
        // long after the endpoints came
        assert_eq!(after(poll(1_010_000, 160.0), 1_010_000), Standing::Suspect);
        for version in 2..6 {
            let at = 1_010_000 + version as i64 * 1_000;
            let pods: &[&str] = if version % 2 == 0 { &["a", "b", "c", "d"] } else { &["a", "b", "c"] };
            let change = Fact::EndpointSlices(Batch::Upsert(vec![slice(version, pods)]));
            assert_eq!(after(change, at), Standing::Suspect, "it is still one poll");
        }
        assert_eq!(after(poll(1_020_000, 161.0), 1_020_000), Standing::Suspect);
        assert_eq!(after(poll(1_030_000, 160.0), 1_030_000), Standing::Over);
    }
}
