//! The balancing policy of each measured service. It is kept until something that it was found from changes: the
//! endpoints of a Service, a route that names it, or the labels of pods that a route selects.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::id::Uid;
use crate::domain::pod::Pod;
use crate::domain::route::Host;
use crate::domain::traffic::{Balancing, Policy, ServiceTraffic, TrafficSeen};
use crate::policy::balancing::{self, Told};

use super::Derivation;
use crate::facts::reduce::{Delta, Dirty, Facts};
use crate::facts::routes::{About, Routes};
use crate::facts::table::Table;
use crate::facts::world::{ServiceRow, TrafficRow};

/// The policies of a poll, in the order of its services, and the rows that they were found from.
#[derive(Default)]
pub(super) struct Policies {
    pub found: Vec<Arc<Found>>,
    services: Table<ServiceRow>,
    routes: Arc<Routes>,
}

/// The policy of a service, and everything that was read to find it.
pub(super) struct Found {
    pub balancing: Balancing,
    /// The service's own row.
    pub row: Option<Arc<ServiceRow>>,
    services: Vec<(Host, Option<Arc<ServiceRow>>)>,
    routes: Vec<RoutesRead>,
    /// The pods whose labels were read.
    pods: Vec<Uid>,
}

/// A host whose routes were read, and what they said about it.
type RoutesRead = (Host, [Option<Arc<About>>; 3]);

/// Notes what is read to find a policy.
struct Reader<'a> {
    facts: &'a Facts,
    derivation: &'a Derivation,
    services: RefCell<Vec<(Host, Option<Arc<ServiceRow>>)>>,
    routes: RefCell<Vec<RoutesRead>>,
    pods: RefCell<Vec<Uid>>,
}

impl balancing::Known for Reader<'_> {
    fn configured(&self) -> &BTreeMap<String, Policy> {
        &self.facts.balancing
    }
    fn about(&self, host: &Host) -> Told<'_> {
        let told = self.derivation.routes.told().about(host);
        self.routes.borrow_mut().push((host.clone(), told.map(Option::<&Arc<About>>::cloned)));
        told
    }
    fn service(&self, host: &Host) -> Option<&Arc<ServiceRow>> {
        let row = self.derivation.service(host);
        self.services.borrow_mut().push((host.clone(), row.cloned()));
        row
    }
    fn pod(&self, uid: &Uid) -> Option<&Arc<Pod>> {
        self.pods.borrow_mut().push(uid.clone());
        self.facts.pods.get(uid)
    }
}

impl Found {
    fn new(traffic: &ServiceTraffic, facts: &Facts, derivation: &Derivation) -> Self {
        let host = Host { namespace: traffic.namespace.clone(), name: traffic.name.clone() };
        let row = derivation.service(&host).cloned();
        let reader = Reader {
            facts,
            derivation,
            services: RefCell::default(),
            routes: RefCell::default(),
            pods: RefCell::default(),
        };
        let balancing = balancing::discover(&host, Some(traffic), &reader);
        Self {
            balancing,
            row,
            services: reader.services.into_inner(),
            routes: reader.routes.into_inner(),
            pods: reader.pods.into_inner(),
        }
    }
}

/// Returns true if both are the same object, or both are missing.
pub(super) fn is_same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// The rows of another poll. Its services are usually in the same order.
pub(super) struct Other<'a> {
    rows: &'a [Arc<TrafficRow>],
    places: OnceCell<HashMap<(&'a str, &'a str), usize>>,
}

impl<'a> Other<'a> {
    pub(super) fn new(rows: &'a [Arc<TrafficRow>]) -> Self {
        Self { rows, places: OnceCell::new() }
    }

    /// Returns the place of a service and its row. `i` is its place in this poll.
    pub(super) fn find(&self, i: usize, traffic: &ServiceTraffic) -> Option<(usize, &'a Arc<TrafficRow>)> {
        let is_it = |row: &ServiceTraffic| row.name == traffic.name && row.namespace == traffic.namespace;
        if let Some(row) = self.rows.get(i).filter(|row| is_it(&row.traffic)) {
            return Some((i, row));
        }
        let places = self.places.get_or_init(|| {
            let keys =
                self.rows.iter().map(|row| (row.traffic.namespace.as_str(), row.traffic.name.as_str()));
            keys.zip(0..).collect()
        });
        let place = *places.get(&(traffic.namespace.as_str(), traffic.name.as_str()))?;
        self.rows.get(place).map(|row| (place, row))
    }
}

impl Derivation {
    /// Returns the pods that came, left or changed their labels, if a policy was found by the labels of pods.
    pub(super) fn relabelled<'d>(&self, dirty: &'d Dirty) -> HashSet<&'d Uid> {
        if dirty.pods.is_empty() || self.policies.found.iter().all(|found| found.pods.is_empty()) {
            return HashSet::new();
        }
        let has_changed = |delta: &&Delta<Pod>| match (&delta.old, &delta.new) {
            (Some(old), Some(new)) => {
                let is_shared = Arc::ptr_eq(&old.shape, &new.shape) && old.own == new.own;
                !is_shared && !old.labels().iter().eq(new.labels().iter())
            }
            _ => true,
        };
        let changed = dirty.pods.iter().filter(has_changed);
        changed.filter_map(|delta| delta.new.as_ref().or(delta.old.as_ref())).map(|pod| &pod.uid).collect()
    }

    /// Finds the policies of the services of a poll. `before` has the rows of the last one, in the order of the policies
    /// that are kept.
    pub(super) fn refresh_policies(
        &mut self,
        facts: &Facts,
        seen: &TrafficSeen,
        before: &Other<'_>,
        relabelled: &HashSet<&Uid>,
    ) {
        let are_services_same = self.services.table().same_rows(&self.policies.services);
        let are_routes_same = Arc::ptr_eq(self.routes.told(), &self.policies.routes);
        let is_current = |found: &Found| {
            let is_service =
                |(host, row): &(Host, Option<Arc<ServiceRow>>)| is_same(self.service(host), row.as_ref());
            let is_told = |(host, held): &(Host, [Option<Arc<About>>; 3])| {
                let told = self.routes.told().about(host);
                told.into_iter().zip(held).all(|(told, held)| is_same(told, held.as_ref()))
            };
            (are_services_same || found.services.iter().all(is_service))
                && (are_routes_same || found.routes.iter().all(is_told))
                && (relabelled.is_empty() || !found.pods.iter().any(|uid| relabelled.contains(uid)))
        };
        let find = |(i, traffic): (usize, &Arc<ServiceTraffic>)| {
            let held =
                before.find(i, traffic).filter(|(_, row)| balancing::is_found_alike(&row.traffic, traffic));
            let held =
                held.and_then(|(place, _)| self.policies.found.get(place)).filter(|found| is_current(found));
            held.cloned().unwrap_or_else(|| Arc::new(Found::new(traffic, facts, self)))
        };
        let found = seen.services.iter().enumerate().map(find).collect();
        self.policies =
            Policies { found, services: self.services.table().clone(), routes: self.routes.told().clone() };
    }

    fn service(&self, host: &Host) -> Option<&Arc<ServiceRow>> {
        let key = (host.namespace.clone(), host.name.clone());
        self.services.get(self.service_by_name.get(&key)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Kind, Name, Version};
    use crate::domain::pod::PodShape;
    use crate::domain::route::{Route, RouteRule, Subset, Target};
    use crate::domain::selector::Selector;
    use crate::domain::service::{Endpoint, EndpointSlice, Service};
    use crate::domain::time::Stamp;
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::{Cluster, ClusterInfo};
    use crate::state::ClusterState;

    #[test]
    fn a_pod_with_another_label_is_in_another_part_before_the_next_poll() {
        let mut state = ClusterState::new(ClusterInfo::default());
        let host = Host { namespace: Name::default(), name: "web".into() };
        let target = |subset: &str| Target {
            host: host.clone(),
            subset: Some(subset.into()),
            weight: 1,
            ..Target::default()
        };
        let split = RouteRule { targets: [target("v1"), target("v2")].into(), ..RouteRule::default() };
        let labels = |version: &str| [(Name::from("version"), Name::from(version))];
        let subset = |name: &str| Subset {
            name: name.into(),
            selector: Arc::new(Selector::from_labels(labels(name))),
        };
        let rule = Route {
            uid: Uid::parse("rule"),
            kind: Kind::DestinationRule,
            rules: [RouteRule { targets: [target("v1")].into(), ..RouteRule::default() }].into(),
            subsets: [subset("v1"), subset("v2")].into(),
            ..Route::default()
        };
        let virtual_service = Route {
            uid: Uid::parse("virtual"),
            kind: Kind::VirtualService,
            rules: [split].into(),
            ..Route::default()
        };
        let endpoint = |pod: &str| Endpoint {
            pod: Some(pod.into()),
            pod_uid: Some(Uid::parse(pod)),
            ready: true,
            ..Endpoint::default()
        };
        let slice = EndpointSlice {
            uid: Uid::parse("slice"),
            service: "web".into(),
            endpoints: ["a", "b"].map(endpoint).into(),
            ..EndpointSlice::default()
        };
        let pod = |name: &str, version: u64, label: &str| {
            let shape = PodShape { labels: labels(label).into(), ..PodShape::default() };
            let (uid, shape) = (Uid::parse(name), Arc::new(shape));
            Pod { uid, version: Version(version), name: name.into(), shape, ..Pod::default() }
        };
        let service = Service { uid: Uid::parse("web"), name: "web".into(), ..Service::default() };
        let traffic = ServiceTraffic { name: "web".into(), ..ServiceTraffic::default() };
        let services = [Arc::new(traffic)].into();
        let facts = [
            Fact::Services(Batch::Upsert(vec![service])),
            Fact::EndpointSlices(Batch::Upsert(vec![slice])),
            Fact::DestinationRules(Batch::Upsert(vec![rule])),
            Fact::VirtualServices(Batch::Upsert(vec![virtual_service])),
            Fact::Pods(Batch::Upsert(vec![pod("a", 1, "v1")])),
            Fact::Traffic(TrafficSeen { services, ..TrafficSeen::default() }),
        ];
        for fact in facts {
            drop(state.apply(fact, Stamp(1)));
        }
        let parts = |cluster: &Cluster| -> Vec<String> {
            let split = &cluster.derived.traffic[0].balancing.split;
            split.iter().map(|part| format!("{} {}", part.name, part.backends.join(","))).collect()
        };
        assert_eq!(parts(&state.publish(Stamp(1), false).unwrap()), ["v1 a", "v2 "]);
        for (changed, told) in [
            (pod("b", 1, "v1"), ["v1 a,b", "v2 "]),
            (pod("b", 2, "v2"), ["v1 a", "v2 b"]),
            (pod("a", 2, "v2"), ["v1 ", "v2 a,b"]),
        ] {
            state.apply(Fact::Pods(Batch::Upsert(vec![changed])), Stamp(2));
            assert_eq!(parts(&state.publish(Stamp(2), false).unwrap()), told);
        }
    }
}
