//! Joins measured traffic with the cluster's Services. A source can name a service by an id with several meanings, and a
//! backend by its address. Here they get the names that the cluster has for them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::id::Name;
use crate::domain::traffic::{BackendTraffic, ServiceTraffic, TrafficSeen, each_once};
use crate::facts::reduce::Facts;
use crate::facts::world::ServiceRow;

use super::Derivation;

/// The last result, with what it was made of.
#[derive(Default)]
pub(super) struct Joined {
    polled: Option<Arc<TrafficSeen>>,
    /// Whether the poll has ids with several meanings, or addresses.
    is_needed: bool,
    held: Vec<Held>,
    pub seen: Arc<TrafficSeen>,
}

#[derive(Clone)]
struct Held {
    row: Option<Arc<ServiceRow>>,
    polled: Arc<ServiceTraffic>,
    joined: Arc<ServiceTraffic>,
    /// How its backends were named, if the names come from its own row.
    named: Option<Arc<[Named]>>,
}

/// The name of a backend, and its place in the poll. Polls have the same addresses in the same order for as long as the
/// endpoints are the same.
struct Named {
    name: Name,
    place: usize,
}

/// The pods by their addresses; `None` for an address that several pods share.
type Pods<'r> = HashMap<IpAddr, Option<&'r Name>>;

/// Returns the address in `10.1.2.3`, `10.1.2.3:8080`, `[fd00::1]:8080` or `http://10.1.2.3:8080`.
fn address(text: &str) -> Option<IpAddr> {
    // the names of most pods are told apart quickly
    if !text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains(':') {
        return None;
    }
    let host = text.split_once("://").map_or(text, |(_, host)| host).trim_end_matches('/');
    if let Some(v6) = host.strip_prefix('[') {
        return v6.split_once(']')?.0.parse().ok();
    }
    host.parse().ok().or_else(|| host.rsplit_once(':')?.0.parse().ok())
}

fn pods<'r>(rows: impl Iterator<Item = &'r ServiceRow>) -> Pods<'r> {
    let mut pods = Pods::new();
    for endpoint in rows.flat_map(|row| row.slices.iter()).flat_map(|slice| slice.endpoints.iter()) {
        if let (Some(address), Some(pod)) = (address(&endpoint.address), &endpoint.pod) {
            let held = pods.entry(address).or_insert(Some(pod));
            if *held != Some(pod) {
                *held = None;
            }
        }
    }
    pods
}

/// Returns the service with the pods' names for its backends, or `None` if nothing changes. Two addresses of one pod
/// become one backend.
fn with_pods(service: &ServiceTraffic, pods: &Pods<'_>) -> Option<ServiceTraffic> {
    let pod = |backend: &BackendTraffic| pods.get(&address(&backend.name)?).copied().flatten();
    if !service.backends.iter().any(|backend| pod(backend).is_some()) {
        return None;
    }
    let mut backends: BTreeMap<Name, BackendTraffic> = BTreeMap::new();
    for backend in service.backends.iter() {
        let mut backend = backend.clone();
        if let Some(pod) = pod(&backend) {
            backend.address = std::mem::replace(&mut backend.name, pod.clone());
        }
        match backends.get_mut(&backend.name) {
            Some(held) => add(held, &backend),
            None => {
                backends.insert(backend.name.clone(), backend);
            }
        }
    }
    Some(ServiceTraffic { backends: backends.into_values().collect(), ..service.clone() })
}

/// Returns how [`with_pods`] named the backends. `None` if several addresses became one backend, or if it named none.
fn named(polled: &ServiceTraffic, joined: &ServiceTraffic) -> Option<Arc<[Named]>> {
    if polled.backends.len() != joined.backends.len() {
        return None;
    }
    let place = |backend: &BackendTraffic| {
        let known_as = if backend.address.is_empty() { &backend.name } else { &backend.address };
        let is_it = |b: &BackendTraffic| b.name == *known_as;
        polled.backends.iter().position(is_it).map(|place| Named { name: backend.name.clone(), place })
    };
    joined.backends.iter().map(place).collect()
}

/// Returns the service with its backends named as in the poll before.
fn with_names(service: &ServiceTraffic, names: &[Named]) -> ServiceTraffic {
    let backend = |named: &Named| {
        let mut backend = service.backends.get(named.place)?.clone();
        if backend.name != named.name {
            backend.address = std::mem::replace(&mut backend.name, named.name.clone());
        }
        Some(backend)
    };
    ServiceTraffic { backends: names.iter().filter_map(backend).collect(), ..service.clone() }
}

/// True if a poll has the same backends of a service, in the same order, as the one before.
fn has_same_backends(service: &ServiceTraffic, before: &ServiceTraffic) -> bool {
    service.backends.len() == before.backends.len()
        && service.backends.iter().zip(before.backends.iter()).all(|(a, b)| a.name == b.name)
}

/// Adds what another address of the same pod has.
fn add(held: &mut BackendTraffic, more: &BackendTraffic) {
    let sum = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    };
    // by the rates, if all of it is known
    let mean = |a: Option<f64>, b: Option<f64>| match (held.rps, a, more.rps, b) {
        (Some(n), Some(a), Some(m), Some(b)) if n + m > 0.0 => Some((n * a + m * b) / (n + m)),
        (_, a, None | Some(0.0), _) => a,
        (None | Some(0.0), _, _, b) => b,
        _ => None,
    };
    let error_ratio = mean(held.error_ratio, more.error_ratio);
    let mean_ms = mean(held.mean_ms, more.mean_ms);
    *held = BackendTraffic {
        rps: sum(held.rps, more.rps),
        error_ratio,
        mean_ms,
        p95_ms: [held.p95_ms, more.p95_ms].into_iter().flatten().reduce(f64::max),
        active: sum(held.active, more.active),
        up: held.up.or(more.up).map(|up| up || more.up == Some(true)),
        weight: held.weight.or(more.weight),
        ..held.clone()
    };
}

impl Derivation {
    /// The last traffic, with the names that the cluster has for services and backends.
    pub fn traffic(&self) -> &Arc<TrafficSeen> {
        &self.joined.seen
    }

    /// Returns the traffic with the cluster's names. It is the same object as long as nothing in it changes.
    pub(super) fn join_traffic(&mut self, facts: &Facts) -> Arc<TrafficSeen> {
        let polled = &facts.traffic;
        let is_same_poll = self.joined.polled.as_ref().is_some_and(|held| Arc::ptr_eq(held, polled));
        if !is_same_poll {
            let has_address = |service: &Arc<ServiceTraffic>| {
                !service.also.is_empty() || service.backends.iter().any(|b| address(&b.name).is_some())
            };
            self.joined.is_needed = polled.services.iter().any(has_address);
            self.joined.polled = Some(polled.clone());
        }
        if !self.joined.is_needed {
            self.joined.held.clear();
            self.joined.seen = polled.clone();
            return polled.clone();
        }
        let mut of_namespace: HashMap<Name, Pods<'_>> = HashMap::new();
        let mut held = Vec::with_capacity(polled.services.len());
        let mut changed = !is_same_poll;
        for (at, service) in polled.services.iter().enumerate() {
            let (found, row) = self.named(service);
            let before = self.joined.held.get(at);
            let same_row = before.filter(|before| match (&before.row, &row) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                _ => false,
            });
            if let Some(before) = same_row.filter(|_| is_same_poll) {
                held.push(Held { row, ..before.clone() });
                continue;
            }
            let is_named_alike = |before: &&Held| has_same_backends(service, &before.polled);
            let names = same_row.filter(is_named_alike).and_then(|before| before.named.clone());
            let joined = match (&row, &names) {
                (_, Some(names)) => Some(with_names(&found, names)),
                (Some(row), None) => with_pods(&found, &pods(std::iter::once(row.as_ref()))),
                // a route is no Service, and its backends are pods of the Services in its namespace
                (None, _) if found.backends.iter().any(|b| address(&b.name).is_some()) => {
                    let pods = of_namespace.entry(found.namespace.clone()).or_insert_with_key(|namespace| {
                        let rows = self.services.table().iter().map(AsRef::as_ref);
                        pods(rows.filter(|row: &&ServiceRow| row.service.namespace == *namespace))
                    });
                    with_pods(&found, pods)
                }
                (None, _) => None,
            };
            let names = match (&row, &joined) {
                (Some(_), Some(joined)) => names.or_else(|| named(service, joined)),
                _ => None,
            };
            let joined = joined.map_or(found, Arc::new);
            // a service that has no row is joined each time, mostly with the same result
            let joined = match before.filter(|_| is_same_poll) {
                Some(before) if before.joined == joined => before.joined.clone(),
                _ => {
                    changed = true;
                    joined
                }
            };
            held.push(Held { row, polled: service.clone(), joined, named: names });
        }
        let services = || each_once(held.iter().map(|held| held.joined.clone()));
        let seen = changed.then(|| TrafficSeen { services: services().into(), ..TrafficSeen::clone(polled) });
        self.joined.held = held;
        if let Some(seen) = seen {
            self.joined.seen = Arc::new(seen);
        }
        self.joined.seen.clone()
    }

    /// Returns the service under the first of its names that a Service of the cluster has, with that Service's row.
    fn named(&self, service: &Arc<ServiceTraffic>) -> (Arc<ServiceTraffic>, Option<Arc<ServiceRow>>) {
        let row = |namespace: &Name, name: &Name| {
            let uid = self.service_by_name.get(&(namespace.clone(), name.clone()))?;
            self.services.get(uid).cloned()
        };
        if let Some(row) = row(&service.namespace, &service.name) {
            return (service.clone(), Some(row));
        }
        for (namespace, name) in service.also.iter() {
            if let Some(row) = row(namespace, name) {
                let (namespace, name) = (namespace.clone(), name.clone());
                let named = ServiceTraffic { namespace, name, ..ServiceTraffic::clone(service) };
                return (Arc::new(named), Some(row));
            }
        }
        (service.clone(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Uid, Version};
    use crate::domain::service::{Endpoint, EndpointSlice, Service};
    use crate::domain::time::Stamp;
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::{Cluster, ClusterInfo};
    use crate::state::ClusterState;

    #[test]
    fn addresses() {
        for (text, is) in [
            ("10.1.2.3", Some("10.1.2.3")),
            ("10.1.2.3:8080", Some("10.1.2.3")),
            ("http://10.1.2.3:8080", Some("10.1.2.3")),
            ("https://[fd00::1]:8443/", Some("fd00::1")),
            ("[fd00::1]:80", Some("fd00::1")),
            ("fd00::1", Some("fd00::1")),
            ("web-7d9f-abcde", None),
            ("web:8080", None),
            ("", None),
        ] {
            assert_eq!(address(text), is.map(|is| is.parse().unwrap()), "{text}");
        }
    }

    fn slice(service: &str, version: u64, endpoints: &[(&str, &str)]) -> EndpointSlice {
        let endpoint = |(address, pod): &(&str, &str)| Endpoint {
            address: (*address).into(),
            pod: Some((*pod).into()),
            ready: true,
            ..Endpoint::default()
        };
        EndpointSlice {
            uid: Uid::parse(service),
            version: Version(version),
            namespace: "my-shop".into(),
            service: service.into(),
            endpoints: endpoints.iter().map(endpoint).collect(),
            ..EndpointSlice::default()
        }
    }

    fn backend(name: &str, rps: f64, error_ratio: f64) -> BackendTraffic {
        BackendTraffic {
            name: name.into(),
            rps: Some(rps),
            error_ratio: Some(error_ratio),
            ..BackendTraffic::default()
        }
    }

    fn shop(services: Vec<ServiceTraffic>, endpoints: &[(&str, &str)]) -> (ClusterState, Arc<Cluster>) {
        let mut state = ClusterState::new(ClusterInfo::default());
        let service = Service {
            uid: Uid::parse("s"),
            namespace: "my-shop".into(),
            name: "cart".into(),
            ..Service::default()
        };
        let (generation, version) = (1, Version(1));
        state.apply(Fact::Services(Batch::Upsert(vec![service])), Stamp(0));
        state.apply(Fact::EndpointSlices(Batch::Begin { generation }), Stamp(0));
        state.apply(Fact::EndpointSlices(Batch::Upsert(vec![slice("cart", 1, endpoints)])), Stamp(0));
        state.apply(Fact::EndpointSlices(Batch::End { generation, version }), Stamp(0));
        let services = services.into_iter().map(Arc::new).collect();
        state.apply(Fact::Traffic(TrafficSeen { services, ..TrafficSeen::default() }), Stamp(0));
        let cluster = state.publish(Stamp(0), false).unwrap();
        (state, cluster)
    }

    fn names(cluster: &Cluster) -> Vec<(String, Vec<String>)> {
        let of = |s: &Arc<ServiceTraffic>| {
            let backends = s.backends.iter().map(|b| format!("{} {:?}", b.name, b.rps.unwrap())).collect();
            (format!("{}/{}", s.namespace, s.name), backends)
        };
        cluster.traffic.services.iter().map(of).collect()
    }

    #[test]
    fn an_address_is_the_pod_that_has_it_now() {
        let traffic = ServiceTraffic {
            namespace: "my-shop".into(),
            name: "cart".into(),
            backends: [
                backend("10.0.0.1:80", 1.0, 0.0),
                backend("10.0.0.2:80", 2.0, 0.0),
                backend("10.0.0.1:81", 3.0, 0.4),
            ]
            .into(),
            ..ServiceTraffic::default()
        };
        // a route of the same namespace, which is no Service
        let route = ServiceTraffic { name: "entry".into(), ..traffic.clone() };
        let (mut state, cluster) =
            shop(vec![traffic, route], &[("10.0.0.1", "cart-a"), ("10.0.0.3", "cart-c")]);
        let backends = || vec!["10.0.0.2:80 2.0".to_owned(), "cart-a 4.0".to_owned()];
        assert_eq!(
            names(&cluster),
            [("my-shop/cart".to_owned(), backends()), ("my-shop/entry".to_owned(), backends())]
        );
        let joined = &cluster.traffic.services[0].backends[1];
        assert_eq!(joined.address, "10.0.0.1:80");
        assert!((joined.error_ratio.unwrap() - 0.3).abs() < 1e-9, "by the rates");
        assert!(Arc::ptr_eq(&cluster.derived.traffic[0].traffic, &cluster.traffic.services[0]));
        // the pod of the address becomes known between two polls
        let more = slice("cart", 2, &[("10.0.0.1", "cart-a"), ("10.0.0.2", "cart-b")]);
        state.apply(Fact::EndpointSlices(Batch::Upsert(vec![more])), Stamp(1));
        let later = state.publish(Stamp(1), false).unwrap();
        assert_eq!(names(&later)[0].1, ["cart-a 4.0", "cart-b 2.0"]);
        assert_eq!(names(&later)[1].1, ["cart-a 4.0", "cart-b 2.0"]);
    }

    #[test]
    fn backends_are_named_as_in_the_poll_before_only_while_nothing_changes() {
        let traffic = |backends: &[(&str, f64)]| ServiceTraffic {
            namespace: "my-shop".into(),
            name: "cart".into(),
            backends: backends.iter().map(|(name, rps)| backend(name, *rps, 0.0)).collect(),
            ..ServiceTraffic::default()
        };
        let all = [("10.0.0.1", "cart-b"), ("10.0.0.2", "cart-a"), ("10.0.0.3", "cart-c")];
        let first = traffic(&[("10.0.0.1:80", 1.0), ("10.0.0.2:80", 2.0), ("other", 3.0)]);
        let (mut state, cluster) = shop(vec![first], &all);
        let told = |cluster: &Cluster| names(cluster).remove(0).1;
        assert_eq!(told(&cluster), ["cart-a 2.0", "cart-b 1.0", "other 3.0"]);
        let mut after = |at: i64, backends: &[(&str, f64)], endpoints: &[(&str, &str)]| {
            let services = [Arc::new(traffic(backends))].into();
            let change = slice("cart", at as u64, endpoints);
            state.apply(Fact::EndpointSlices(Batch::Upsert(vec![change])), Stamp(at));
            state.apply(
                Fact::Traffic(TrafficSeen { services, at: Stamp(at), ..TrafficSeen::default() }),
                Stamp(at),
            );
            state.publish(Stamp(at), false).unwrap()
        };
        let same = after(2, &[("10.0.0.1:80", 4.0), ("10.0.0.2:80", 5.0), ("other", 6.0)], &all);
        assert_eq!(told(&same), ["cart-a 5.0", "cart-b 4.0", "other 6.0"]);
        let address = |cluster: &Cluster| cluster.traffic.services[0].backends[0].address.clone();
        assert_eq!(address(&same), "10.0.0.2:80");
        let more = after(3, &[("10.0.0.1:80", 4.0), ("10.0.0.3:80", 5.0), ("other", 6.0)], &all);
        assert_eq!(told(&more), ["cart-b 4.0", "cart-c 5.0", "other 6.0"], "another backend");
        let moved = [("10.0.0.1", "cart-x"), ("10.0.0.3", "cart-c")];
        let moved = after(4, &[("10.0.0.1:80", 4.0), ("10.0.0.3:80", 5.0), ("other", 6.0)], &moved);
        assert_eq!(told(&moved), ["cart-c 5.0", "cart-x 4.0", "other 6.0"], "another pod has the address");
        let twice = [("10.0.0.1", "cart-x"), ("10.0.0.3", "cart-x")];
        for at in [5, 6] {
            let twice = after(at, &[("10.0.0.1:80", 4.0), ("10.0.0.3:80", 5.0), ("other", 6.0)], &twice);
            assert_eq!(told(&twice), ["cart-x 9.0", "other 6.0"]);
        }
    }

    #[test]
    fn an_id_means_the_service_that_exists() {
        let also: Vec<(Name, Name)> = vec![("my".into(), "shop".into()), ("my-shop".into(), "cart".into())];
        let guess = ServiceTraffic {
            namespace: "my".into(),
            name: "shop-cart".into(),
            preset: "traefik".into(),
            rps: Some(1.0),
            also: also.into(),
            ..ServiceTraffic::default()
        };
        let other = ServiceTraffic { also: Arc::default(), name: "other".into(), ..guess.clone() };
        let first = ServiceTraffic {
            namespace: "my-shop".into(),
            name: "cart".into(),
            preset: "istio".into(),
            rps: Some(2.0),
            ..ServiceTraffic::default()
        };
        let (_, cluster) = shop(vec![guess.clone(), other.clone()], &[]);
        let told: Vec<String> = names(&cluster).into_iter().map(|(name, _)| name).collect();
        assert_eq!(told, ["my-shop/cart", "my/other"]);
        let (_, cluster) = shop(vec![first, guess, other], &[]);
        let told: Vec<String> = names(&cluster).into_iter().map(|(name, _)| name).collect();
        assert_eq!(told, ["my-shop/cart", "my/other"], "each once");
        let cart = &cluster.traffic.services[0];
        assert_eq!((cart.preset.as_str(), cart.others.to_vec()), ("istio", vec![Name::from("traefik")]));
        assert_eq!(cluster.derived.traffic.len(), 2);
    }

    #[test]
    fn traffic_with_names_alone_is_taken_as_it_is() {
        let traffic = ServiceTraffic {
            namespace: "my-shop".into(),
            name: "cart".into(),
            backends: [backend("cart-a", 1.0, 0.0)].into(),
            ..ServiceTraffic::default()
        };
        let (state, cluster) = shop(vec![traffic], &[("10.0.0.1", "cart-a")]);
        assert!(Arc::ptr_eq(&state.facts.traffic, &cluster.traffic));
    }
}
