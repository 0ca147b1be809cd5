//! Verdicts on autoscalers, and the shares of backends. They are made here once, and every reader uses the result.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::autoscaler::{Hpa, HpaState};
use crate::domain::id::{Uid, Version};
use crate::domain::pod::Pod;
use crate::domain::route::Host;
use crate::domain::time::Stamp;
use crate::domain::traffic::{Policy, ServiceTraffic};
use crate::policy::{balancing, hpa, shares};

use super::{Derivation, put};
use crate::facts::past::Past;
use crate::facts::reduce::{Delta, Dirty, Facts, Parts};
use crate::facts::routes::Routes;
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
        put(&mut self.hpas, HpaRow { hpa: hpa.clone(), verdict: hpa::judge(hpa, now) })
    }

    /// Judges the shares again if something that they depend on has changed. `changed` are the parts whose derived rows
    /// changed. Returns true if some shares changed between two polls.
    pub(super) fn refresh_shares(&mut self, facts: &Facts, dirty: &Dirty, changed: Parts) -> bool {
        if dirty.parts.meets(Parts::ROUTES) {
            self.routes = Arc::new(Routes::new(facts.routes()));
        }
        let mut parts = dirty.parts;
        parts.add(changed);
        if parts.meets(Parts::TRAFFIC.and(Parts::SERVICES)) {
            self.refresh_slos(facts);
        }
        let inputs = Parts::TRAFFIC.and(Parts::SERVICES).and(Parts::ROUTES);
        (parts.meets(inputs) || self.changes_parts(dirty)) && self.refresh_traffic(facts)
    }

    /// Judges the shares of all Services after a poll. Between two polls, it judges only the Services whose endpoints or
    /// policy changed. Returns true if some did between two polls.
    fn refresh_traffic(&mut self, facts: &Facts) -> bool {
        let seen = &self.join_traffic(facts);
        let is_same_poll = self.polled.as_ref().is_some_and(|polled| Arc::ptr_eq(polled, seen));
        let known = Held { facts, derivation: self };
        let row = |(i, traffic): (usize, &Arc<ServiceTraffic>)| {
            let endpoints = self.endpoints(facts, traffic);
            let host = Host { namespace: traffic.namespace.clone(), name: traffic.name.clone() };
            let balancing = balancing::discover(&host, Some(traffic), &known);
            let held = self.traffic.get(i).filter(|held| {
                is_same_poll
                    && is_same(held.endpoints.as_ref(), endpoints.as_ref())
                    && held.balancing == balancing
            });
            held.cloned().unwrap_or_else(|| {
                let shares = shares::judge(traffic, &balancing, endpoints.as_deref(), seen.at);
                let before = before(self.traffic_before(is_same_poll), i, traffic);
                let shares = shares::over_time(shares, traffic, &balancing, before, seen.at);
                let past = match before {
                    // another source was polled, but not the one of this Service
                    Some(row) if Arc::ptr_eq(&row.traffic, traffic) => row.past.clone(),
                    row => Past::after(row.map(|row| &row.past), traffic, seen.at),
                };
                Arc::new(TrafficRow { traffic: traffic.clone(), endpoints, balancing, shares, past })
            })
        };
        let rows: Vec<Arc<TrafficRow>> = seen.services.iter().enumerate().map(row).collect();
        let all_held = rows.iter().zip(self.traffic.iter()).all(|(row, held)| Arc::ptr_eq(row, held));
        if !is_same_poll || !all_held {
            if !is_same_poll {
                self.traffic_before = std::mem::take(&mut self.traffic);
            }
            self.traffic = rows.into();
            self.polled = Some(seen.clone());
        }
        is_same_poll && !all_held
    }

    /// Returns true if pods came, left or changed their labels, while a route splits requests by them.
    fn changes_parts(&self, dirty: &Dirty) -> bool {
        let has_changed = |delta: &Delta<Pod>| match (&delta.old, &delta.new) {
            (Some(old), Some(new)) => {
                let shared = Arc::ptr_eq(&old.shape, &new.shape) && old.own == new.own;
                !shared && !old.labels().iter().eq(new.labels().iter())
            }
            _ => true,
        };
        self.routes.by_labels && dirty.pods.iter().any(has_changed)
    }

    /// Returns the rows of the poll before. The verdict on shares continues theirs.
    fn traffic_before(&self, is_same_poll: bool) -> &[Arc<TrafficRow>] {
        if is_same_poll { &self.traffic_before } else { &self.traffic }
    }

    /// Returns the Service's row. Returns `None` if the EndpointSlices are not current, so that they do not show
    /// which pods are in rotation.
    fn endpoints(&self, facts: &Facts, traffic: &ServiceTraffic) -> Option<Arc<ServiceRow>> {
        if !facts.slices.table().is_current(&traffic.namespace) {
            return None;
        }
        let uid = self.service_by_name.get(&(traffic.namespace.clone(), traffic.name.clone()))?;
        self.services.get(uid).cloned()
    }
}

/// Returns the row of a service in another poll. The services are usually in the same order.
fn before<'a>(rows: &'a [Arc<TrafficRow>], i: usize, traffic: &ServiceTraffic) -> Option<&'a TrafficRow> {
    let is_it = |row: &&Arc<TrafficRow>| {
        row.traffic.name == traffic.name && row.traffic.namespace == traffic.namespace
    };
    let found = rows.get(i).filter(is_it).or_else(|| rows.iter().find(is_it));
    found.map(AsRef::as_ref)
}

/// What the hub knows of a cluster, for the policies of its Services.
struct Held<'a> {
    facts: &'a Facts,
    derivation: &'a Derivation,
}

impl balancing::Known for Held<'_> {
    fn configured(&self) -> &BTreeMap<String, Policy> {
        &self.facts.balancing
    }
    fn routes(&self) -> &Routes {
        &self.derivation.routes
    }
    fn service(&self, host: &Host) -> Option<&Arc<ServiceRow>> {
        let key = (host.namespace.clone(), host.name.clone());
        self.derivation.services.get(self.derivation.service_by_name.get(&key)?)
    }
    fn pod(&self, uid: &Uid) -> Option<&Arc<Pod>> {
        self.facts.pods.get(uid)
    }
}

fn is_same(a: Option<&Arc<ServiceRow>>, b: Option<&Arc<ServiceRow>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
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
