//! How the requests of a service are distributed: the balancing policy, and where it was read.
//!
//! The first of these that says anything counts: the config, the objects of meshes and ingress controllers, the source of
//! the metrics, the usual policy of the proxy that measured, the Service itself.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::split;
use crate::domain::id::{Kind, Name, Uid};
use crate::domain::pod::Pod;
use crate::domain::route::{Balancer, Host, NoShare, Route, Scope};
use crate::domain::service::{Distribution, Endpoint};
use crate::domain::settings::glob;
use crate::domain::time::age;
use crate::domain::traffic::{Balancing, Origin, Policy, ServiceTraffic};
use crate::facts::routes::{About, Split};
use crate::facts::world::{Cluster, ServiceRow};

/// What the routes say of a Service, from the objects that name it to those that name all Services.
pub type Told<'k> = [Option<&'k Arc<About>>; 3];

fn balancers<'k>(told: &Told<'k>) -> impl Iterator<Item = &'k Arc<Route>> {
    told.iter().flatten().flat_map(|about| about.balancers.iter())
}

/// What the policy of a Service depends on, besides its traffic.
pub trait Known {
    /// The policies from the config, by `NAMESPACE/NAME` or a glob for it.
    fn configured(&self) -> &BTreeMap<String, Policy>;
    fn about(&self, host: &Host) -> Told<'_>;
    fn service(&self, host: &Host) -> Option<&Arc<ServiceRow>>;
    fn pod(&self, uid: &Uid) -> Option<&Arc<Pod>>;
}

/// A published cluster. The indexes are built on first use.
pub struct Lookup<'c> {
    cluster: &'c Cluster,
    services: OnceCell<HashMap<(&'c str, &'c str), &'c Arc<ServiceRow>>>,
    pods: OnceCell<HashMap<&'c Uid, &'c Arc<Pod>>>,
}

impl<'c> Lookup<'c> {
    pub fn new(cluster: &'c Cluster) -> Self {
        Self { cluster, services: OnceCell::new(), pods: OnceCell::new() }
    }
}

impl Known for Lookup<'_> {
    fn configured(&self) -> &BTreeMap<String, Policy> {
        &self.cluster.info.balancing
    }
    fn about(&self, host: &Host) -> Told<'_> {
        self.cluster.derived.routes.about(host)
    }
    fn service(&self, host: &Host) -> Option<&Arc<ServiceRow>> {
        let services = self.services.get_or_init(|| {
            let rows = self.cluster.derived.services.iter();
            rows.map(|row| ((row.service.namespace.as_str(), row.service.name.as_str()), row)).collect()
        });
        services.get(&(host.namespace.as_str(), host.name.as_str())).copied()
    }
    fn pod(&self, uid: &Uid) -> Option<&Arc<Pod>> {
        let pods = self.pods.get_or_init(|| self.cluster.pods.iter().map(|pod| (&pod.uid, pod)).collect());
        pods.get(uid).copied()
    }
}

/// The usual policy of a proxy, by the preset of its metrics.
struct Proxy {
    presets: &'static [&'static str],
    policy: Policy,
    read_from: &'static str,
    detail: &'static str,
    /// It forwards the requests to a headless Service to the address that the client chose, and obeys the Service's own
    /// rules for zones and nodes.
    mesh: bool,
    /// The objects that configure it.
    configured_by: Option<Kind>,
}

const PROXIES: [Proxy; 6] = [
    Proxy {
        presets: &["istio"],
        policy: Policy::LeastConnections,
        read_from: "Istio's default",
        detail: "LEAST_REQUEST: the less busy of two random backends",
        mesh: true,
        configured_by: Some(Kind::DestinationRule),
    },
    Proxy {
        presets: &["linkerd"],
        policy: Policy::ResponseTime,
        read_from: "Linkerd's balancer",
        detail: "the faster of two random backends, by a moving average (EWMA)",
        mesh: true,
        configured_by: None,
    },
    Proxy {
        presets: &["traefik"],
        policy: Policy::RoundRobin,
        read_from: "Traefik's default",
        detail: "weighted round robin, with equal weights",
        mesh: false,
        configured_by: Some(Kind::TraefikService),
    },
    Proxy {
        presets: &["ingress-nginx", "nginx-ingress"],
        policy: Policy::RoundRobin,
        read_from: "ingress-nginx's default",
        detail: "",
        mesh: false,
        configured_by: Some(Kind::Ingress),
    },
    Proxy {
        presets: &["envoy-gateway", "envoy"],
        policy: Policy::LeastConnections,
        read_from: "Envoy Gateway's default",
        detail: "least request: the less busy of two random backends",
        mesh: false,
        configured_by: None,
    },
    Proxy {
        presets: &["contour"],
        policy: Policy::RoundRobin,
        read_from: "Contour's default",
        detail: "weighted round robin, with equal weights",
        mesh: false,
        configured_by: None,
    },
];

/// Returns the policy as the source of the metrics knows it.
pub fn of(traffic: &ServiceTraffic) -> Balancing {
    let known = traffic.origin != Origin::Assumed;
    Balancing {
        policy: traffic.policy,
        origin: traffic.origin,
        read_from: if known { traffic.preset.clone() } else { Name::default() },
        ..Balancing::default()
    }
}

/// Returns true if the traffic in two polls does not differ in anything that [`discover`] reads of it.
pub fn is_found_alike(one: &ServiceTraffic, other: &ServiceTraffic) -> bool {
    one.preset == other.preset && one.policy == other.policy && one.origin == other.origin
}

/// Returns the policy of a Service, with the parts that a route splits its requests into. `traffic` is what is measured
/// of it.
pub fn discover(host: &Host, traffic: Option<&ServiceTraffic>, known: &impl Known) -> Balancing {
    let (row, told) = (known.service(host), known.about(host));
    let splits: Vec<&Arc<Split>> = told.iter().flatten().flat_map(|about| about.splits.iter()).collect();
    let mut found = policy(host, traffic, row, splits.first().copied(), &told, known.configured());
    split::fill(&mut found, host, row, &splits, balancers(&told), known);
    found
}

fn policy(
    host: &Host,
    traffic: Option<&ServiceTraffic>,
    row: Option<&Arc<ServiceRow>>,
    split: Option<&Arc<Split>>,
    told: &Told<'_>,
    config: &BTreeMap<String, Policy>,
) -> Balancing {
    let discovered = |policy, read_from: String, detail: &str| Balancing {
        policy,
        origin: Origin::Discovered,
        read_from: read_from.into(),
        detail: detail.into(),
        ..Balancing::default()
    };
    if let Some((key, policy)) = configured(host, config) {
        return Balancing {
            origin: Origin::Configured,
            ..discovered(policy, format!("config traffic.balancing.\"{key}\""), "")
        };
    }
    let preset = traffic.map_or("", |traffic| traffic.preset.as_str());
    let proxy = PROXIES.iter().find(|proxy| proxy.presets.contains(&preset));
    let wanted = proxy.and_then(|proxy| proxy.configured_by.as_ref());
    if let Some(found) = of_objects(host, row, split, wanted, told) {
        return found;
    }
    if let Some(traffic) = traffic.filter(|traffic| traffic.origin != Origin::Assumed) {
        return of(traffic);
    }
    let Some(row) = row else { return traffic.map(of).unwrap_or_default() };
    let nearness = nearness(row);
    // a Service that a DestinationRule names is in Istio's mesh, whoever measures it
    let is_meshed = || balancers(told).any(|route| route.kind == Kind::DestinationRule);
    let istio = || PROXIES.iter().find(|proxy| proxy.configured_by == Some(Kind::DestinationRule));
    let proxy = proxy.or_else(|| if is_meshed() { istio() } else { None });
    let service = &row.service;
    if service.headless && proxy.is_none_or(|proxy| proxy.mesh) {
        return discovered(
            Policy::ByName,
            format!("Service {}/{} clusterIP None", host.namespace, host.name),
            "each client chooses one of the addresses that DNS returns",
        );
    }
    if let Some(proxy) = proxy {
        return Balancing {
            origin: Origin::Assumed,
            no_share: nearness.filter(|_| proxy.mesh),
            ..discovered(proxy.policy, proxy.read_from.to_owned(), proxy.detail)
        };
    }
    let kube_proxy = if service.sticky {
        let kept = age(u64::from(service.sticky_secs) * 1_000);
        let from = format!("Service {}/{} sessionAffinity", host.namespace, host.name);
        discovered(Policy::ByClient, from, &format!("a client IP keeps its backend for {kept}"))
    } else {
        let detail = "each connection goes to a random backend, and keeps it for all its requests";
        Balancing {
            origin: Origin::Assumed,
            per_connection: true,
            ..discovered(Policy::Random, "kube-proxy".to_owned(), detail)
        }
    };
    Balancing { no_share: nearness, ..kube_proxy }
}

/// The configured policy, with its key. The exact name counts most, then the longest glob.
fn configured<'a>(host: &Host, all: &'a BTreeMap<String, Policy>) -> Option<(&'a str, Policy)> {
    if all.is_empty() {
        return None;
    }
    let name = format!("{}/{}", host.namespace, host.name);
    if let Some((key, policy)) = all.get_key_value(&name) {
        return Some((key, *policy));
    }
    let matching = all.iter().filter(|(key, _)| key.contains(['*', '?']) && glob(key, &name));
    matching.max_by_key(|(key, _)| key.len()).map(|(key, policy)| (key.as_str(), *policy))
}

/// The policy that a DestinationRule, an Ingress or a TraefikService has for a Service.
fn of_objects(
    host: &Host,
    row: Option<&Arc<ServiceRow>>,
    split: Option<&Arc<Split>>,
    wanted: Option<&Kind>,
    told: &Told<'_>,
) -> Option<Balancing> {
    let subsets: Vec<&Name> = split
        .into_iter()
        .flat_map(|split| split.targets.iter())
        .filter(|target| target.host == *host)
        .filter_map(|target| target.subset.as_ref())
        .collect();
    let routes = || balancers(told);
    let say = |route| Some((route, chosen(route, host, &subsets)?));
    // the objects of the proxy that measured count first
    let of_proxy = routes().filter(|route| Some(&route.kind) == wanted).find_map(|route| say(route));
    let (route, (balancer, no_share)) = of_proxy.or_else(|| routes().find_map(|route| say(route)))?;
    let field = if balancer.field.is_empty() { String::new() } else { format!(" {}", balancer.field) };
    let port = match balancer.scope {
        Scope::Port(port) => format!("port {port}"),
        _ => String::new(),
    };
    let details = [port.as_str(), balancer.detail.as_str()];
    let detail: Vec<&str> = details.into_iter().filter(|text| !text.is_empty()).collect();
    // all backends are equally near
    let is_near = row.is_some_and(|row| all_same(row, |e| e.zone.as_ref()));
    let no_share = no_share.or(balancer.no_share).filter(|no| *no != NoShare::Locality || !is_near);
    let nearness = row.filter(|_| route.kind == Kind::DestinationRule).and_then(|row| nearness(row));
    Some(Balancing {
        policy: balancer.policy,
        origin: Origin::Discovered,
        read_from: format!("{route}{field}").into(),
        detail: detail.join(", ").into(),
        no_share: no_share.or(nearness),
        ..Balancing::default()
    })
}

/// The balancer of a route that counts for a Service: that of the subsets in use, of the whole, or of the first port.
fn chosen<'a>(route: &'a Route, host: &Host, subsets: &[&Name]) -> Option<(&'a Balancer, Option<NoShare>)> {
    let all = || route.balancers.iter();
    let of = |scope: &Scope| all().find(|b| b.scope == *scope);
    let whole = of(&Scope::Service(host.clone()))
        .or_else(|| of(&Scope::All))
        .or_else(|| all().find(|b| matches!(b.scope, Scope::Port(_))));
    let mut used = subsets.iter().map(|name| of(&Scope::Subset((*name).clone())).or(whole));
    let Some(first) = used.next() else { return whole.map(|whole| (whole, None)) };
    let differ = used.any(|other| {
        let says = |b: Option<&Balancer>| b.map(|b| (b.policy, b.detail.clone()));
        says(other) != says(first)
    });
    first.or(whole).map(|balancer| (balancer, differ.then_some(NoShare::SubsetsDiffer)))
}

/// Why clients do not reach all backends alike, if the Service says so. If all backends are in the same place, they do.
fn nearness(row: &ServiceRow) -> Option<NoShare> {
    let service = &row.service;
    if service.local {
        return (!all_same(row, |e| e.node.as_ref())).then_some(NoShare::OnNode);
    }
    // the hints count, whatever wrote them
    if row.slices.is_empty() || !row.slices.iter().all(|slice| slice.hinted || slice.endpoints.is_empty()) {
        return None;
    }
    match service.distribution {
        Distribution::SameNode if !all_same(row, |e| e.node.as_ref()) => Some(NoShare::SameNode),
        Distribution::SameZone | Distribution::Anywhere if !all_same(row, |e| e.zone.as_ref()) => {
            Some(NoShare::SameZone)
        }
        _ => None,
    }
}

/// True if all ready endpoints are in one place.
fn all_same<'a>(row: &'a ServiceRow, place: impl Fn(&'a Endpoint) -> Option<&'a Name>) -> bool {
    let endpoints = row.slices.iter().flat_map(|s| s.endpoints.iter()).filter(|e| e.ready);
    let places: HashSet<Option<&Name>> = endpoints.map(place).collect();
    places.len() <= 1 && !places.contains(&None)
}

#[cfg(test)]
mod tests {
    use super::super::shares;
    use super::*;
    use crate::domain::pod::PodShape;
    use crate::domain::route::{RouteRule, Subset, Target};
    use crate::domain::selector::Selector;
    use crate::domain::service::{EndpointSlice, Service};
    use crate::domain::time::Stamp;
    use crate::facts::routes::{self, Routes};

    fn host(name: &str) -> Host {
        Host { namespace: "shop".into(), name: name.into() }
    }

    /// What is known in a test.
    #[derive(Default)]
    struct Given {
        configured: BTreeMap<String, Policy>,
        routes: Arc<Routes>,
        services: HashMap<Host, Arc<ServiceRow>>,
        pods: HashMap<Uid, Arc<Pod>>,
    }

    impl Known for Given {
        fn configured(&self) -> &BTreeMap<String, Policy> {
            &self.configured
        }
        fn about(&self, host: &Host) -> Told<'_> {
            self.routes.about(host)
        }
        fn service(&self, host: &Host) -> Option<&Arc<ServiceRow>> {
            self.services.get(host)
        }
        fn pod(&self, uid: &Uid) -> Option<&Arc<Pod>> {
            self.pods.get(uid)
        }
    }

    impl Given {
        /// A Service with ready pods, each with the label `version`, in a zone.
        fn service(mut self, service: Service, pods: &[(&str, &str, &str)]) -> Self {
            let endpoint = |(name, _, zone): &(&str, &str, &str)| Endpoint {
                pod: Some((*name).into()),
                pod_uid: Some(Uid::parse(name)),
                ready: true,
                zone: (!zone.is_empty()).then(|| (*zone).into()),
                ..Endpoint::default()
            };
            let slice = EndpointSlice {
                endpoints: pods.iter().map(endpoint).collect(),
                hinted: pods.iter().all(|(.., zone)| !zone.is_empty()),
                ..EndpointSlice::default()
            };
            for (name, version, _) in pods {
                let labels = [("version".into(), (*version).into())].into();
                let shape = Arc::new(PodShape { labels, ..PodShape::default() });
                self.pods.insert(Uid::parse(name), Arc::new(Pod { shape, ..Pod::default() }));
            }
            let at = Host { namespace: service.namespace.clone(), name: service.name.clone() };
            let slices = Arc::from([Arc::new(slice)]);
            let service = Arc::new(service);
            self.services.insert(at, Arc::new(ServiceRow::new(service, slices, Arc::default())));
            self
        }

        fn route(mut self, routes: &[Route]) -> Self {
            let numbered = routes.iter().zip(0..);
            let routes: Vec<Arc<Route>> =
                numbered.map(|(route, n)| Arc::new(Route { uid: Uid::Uuid(n), ..route.clone() })).collect();
            self.routes = routes::of(&routes);
            self
        }

        /// The policy of `shop/web` as `POLICY (ORIGIN) from FROM`, with the detail.
        fn told(&self, preset: &str) -> (String, String) {
            let found = discover(&host("web"), Some(&measured(preset)), self);
            let (policy, origin) = (found.policy.as_str(), found.origin.as_str());
            (format!("{policy} ({origin}) from {}", found.read_from), found.detail.to_string())
        }
    }

    fn web() -> Service {
        Service { namespace: "shop".into(), name: "web".into(), ..Service::default() }
    }

    fn measured(preset: &str) -> ServiceTraffic {
        let (namespace, name) = ("shop".into(), "web".into());
        ServiceTraffic { namespace, name, preset: preset.into(), ..ServiceTraffic::default() }
    }

    /// A route that names `shop/web`.
    fn route(kind: Kind, balancers: &[Balancer]) -> Route {
        let target = Target { host: host("web"), ..Target::default() };
        Route {
            kind,
            namespace: "shop".into(),
            name: "r".into(),
            rules: [RouteRule { targets: [target].into(), ..RouteRule::default() }].into(),
            balancers: balancers.iter().cloned().collect(),
            ..Route::default()
        }
    }

    fn balancer(scope: Scope, policy: Policy) -> Balancer {
        Balancer { scope, policy, ..Balancer::default() }
    }

    fn weighted(kind: Kind, targets: &[(&str, &str, u32)]) -> Route {
        let target = |(name, subset, weight): &(&str, &str, u32)| Target {
            host: host(name),
            subset: (!subset.is_empty()).then(|| (*subset).into()),
            weight: *weight,
            foreign: false,
        };
        let targets = targets.iter().map(target).collect();
        let rules = [RouteRule { targets, ..RouteRule::default() }].into();
        Route { rules, ..route(kind, &[]) }
    }

    const PODS: [(&str, &str, &str); 3] = [("a", "v1", ""), ("b", "v1", ""), ("c", "v2", "")];

    #[test]
    fn each_source_of_a_policy_says_where_it_is() {
        let plain = || Given::default().service(web(), &PODS);
        let rule = |policy| route(Kind::DestinationRule, &[balancer(Scope::All, policy)]);
        let annotated = |policy| {
            let field = "annotation load-balance".into();
            route(Kind::Ingress, &[Balancer { field, ..balancer(Scope::All, policy) }])
        };
        let config = |key: &str, given: Given| Given {
            configured: [
                (key.to_owned(), Policy::ByRequest),
                ("shop/*".to_owned(), Policy::ByClient),
                ("*".to_owned(), Policy::ByName),
            ]
            .into(),
            ..given
        };
        let headless = || Service { headless: true, ..web() };
        let of_service = |service: Service| Given::default().service(service, &PODS);
        let table: [(&str, Given, &str, &str); 20] = [
            (
                "app",
                plain(),
                "random (assumed) from kube-proxy",
                "each connection goes to a random backend, and keeps it for all its requests",
            ),
            ("app", Given::default(), "round robin (assumed) from ", ""),
            (
                "istio",
                plain(),
                "least connections (assumed) from Istio's default",
                "LEAST_REQUEST: the less busy of two random backends",
            ),
            (
                "linkerd",
                plain(),
                "response time (assumed) from Linkerd's balancer",
                "the faster of two random backends, by a moving average (EWMA)",
            ),
            (
                "traefik",
                plain(),
                "round robin (assumed) from Traefik's default",
                "weighted round robin, with equal weights",
            ),
            ("ingress-nginx", plain(), "round robin (assumed) from ingress-nginx's default", ""),
            (
                "envoy-gateway",
                plain(),
                "least connections (assumed) from Envoy Gateway's default",
                "least request: the less busy of two random backends",
            ),
            (
                "contour",
                plain(),
                "round robin (assumed) from Contour's default",
                "weighted round robin, with equal weights",
            ),
            (
                "app",
                of_service(headless()),
                "by name (discovered) from Service shop/web clusterIP None",
                "each client chooses one of the addresses that DNS returns",
            ),
            (
                "istio",
                of_service(headless()),
                "by name (discovered) from Service shop/web clusterIP None",
                "each client chooses one of the addresses that DNS returns",
            ),
            (
                "traefik",
                of_service(headless()),
                "round robin (assumed) from Traefik's default",
                "weighted round robin, with equal weights",
            ),
            (
                "app",
                of_service(Service { sticky: true, sticky_secs: 10_800, ..web() }),
                "by client (discovered) from Service shop/web sessionAffinity",
                "a client IP keeps its backend for 3h",
            ),
            (
                "app",
                plain().route(&[rule(Policy::Random)]),
                "random (discovered) from DestinationRule shop/r",
                "",
            ),
            (
                "app",
                plain()
                    .route(&[route(Kind::DestinationRule, &[balancer(Scope::Port(8080), Policy::Random)])]),
                "random (discovered) from DestinationRule shop/r",
                "port 8080",
            ),
            // a rule without a policy shows that the Service is in the mesh
            (
                "app",
                plain().route(&[Route {
                    subsets: [Subset::default()].into(),
                    ..route(Kind::DestinationRule, &[])
                }]),
                "least connections (assumed) from Istio's default",
                "LEAST_REQUEST: the less busy of two random backends",
            ),
            (
                "istio",
                plain().route(&[annotated(Policy::ResponseTime), rule(Policy::Random)]),
                "random (discovered) from DestinationRule shop/r",
                "",
            ),
            (
                "ingress-nginx",
                plain().route(&[annotated(Policy::ResponseTime), rule(Policy::Random)]),
                "response time (discovered) from Ingress shop/r annotation load-balance",
                "",
            ),
            (
                "app",
                config("shop/web", plain().route(&[rule(Policy::Random)])),
                "by request (configured) from config traffic.balancing.\"shop/web\"",
                "",
            ),
            (
                "app",
                config("shop/other", plain()),
                "by client (configured) from config traffic.balancing.\"shop/*\"",
                "",
            ),
            (
                "app",
                config("shop/w?b", plain()),
                "by request (configured) from config traffic.balancing.\"shop/w?b\"",
                "",
            ),
        ];
        for (preset, given, told, detail) in table {
            assert_eq!(given.told(preset), (told.to_owned(), detail.to_owned()), "{preset}");
        }
    }

    #[test]
    fn what_the_source_of_the_metrics_knows_comes_after_the_objects() {
        let mut traffic = measured("haproxy");
        (traffic.policy, traffic.origin) = (Policy::Weighted, Origin::Discovered);
        let given = Given::default().service(web(), &PODS);
        let found = discover(&host("web"), Some(&traffic), &given);
        assert_eq!((found.policy, found.read_from.as_str()), (Policy::Weighted, "haproxy"));
        let given = given.route(&[route(Kind::DestinationRule, &[balancer(Scope::All, Policy::Random)])]);
        assert_eq!(discover(&host("web"), Some(&traffic), &given).policy, Policy::Random);
        assert_eq!(discover(&host("none"), None, &given), Balancing::default(), "no Service and no traffic");
    }

    #[test]
    fn subsets_are_the_pods_that_their_labels_select() {
        let subset = |name: &str| Subset {
            name: name.into(),
            selector: Arc::new(Selector::from_labels([("version".into(), name.into())])),
        };
        let rule = |balancers: &[Balancer]| Route {
            subsets: [subset("v1"), subset("v2")].into(),
            ..route(Kind::DestinationRule, balancers)
        };
        let split = weighted(Kind::VirtualService, &[("web", "v1", 90), ("web", "v2", 10)]);
        let found = |balancers: &[Balancer]| {
            let given = Given::default().service(web(), &PODS).route(&[split.clone(), rule(balancers)]);
            discover(&host("web"), Some(&measured("istio")), &given)
        };
        let plain = found(&[]);
        let parts: Vec<_> =
            plain.split.iter().map(|p| (p.name.as_str(), p.weight, p.backends.len())).collect();
        assert_eq!(parts, [("v1", 90.0, 2), ("v2", 10.0, 1)]);
        assert_eq!(plain.split[1].backends[..], ["c"]);
        assert_eq!((plain.shown(), plain.policy), (Policy::Weighted, Policy::LeastConnections));
        assert_eq!((plain.origin, plain.read_from.as_str()), (Origin::Discovered, "VirtualService shop/r"));
        assert!(plain.detail.starts_with("least connections within each part: "), "{}", plain.detail);
        assert_eq!((plain.of_route, plain.no_share), (None, None), "the Service is alone in its route");
        let of = |name: &str, policy| balancer(Scope::Subset(name.into()), policy);
        let same = found(&[of("v1", Policy::Random), of("v2", Policy::Random)]);
        assert_eq!((same.policy, same.no_share), (Policy::Random, None));
        assert_eq!(same.read_from, "VirtualService shop/r, DestinationRule shop/r");
        let differ = found(&[of("v1", Policy::Random), balancer(Scope::All, Policy::RoundRobin)]);
        assert_eq!((differ.policy, differ.no_share), (Policy::Random, Some(NoShare::SubsetsDiffer)));
    }

    #[test]
    fn services_of_a_route_know_their_shares_and_their_root_knows_the_parts() {
        let service = |name: &str| Service { name: name.into(), ..web() };
        let given = Given::default()
            .service(service("web"), &[])
            .service(service("blue"), &[("b-1", "", ""), ("b-2", "", "")])
            .service(service("green"), &[("g-1", "", "")]);
        let split = weighted(Kind::HTTPRoute, &[("blue", "", 3), ("green", "", 1)]);
        let given = given.route(&[Route { roots: [host("web")].into(), ..split }]);
        let green = discover(&host("green"), None, &given);
        assert_eq!(green.of_route.as_ref().unwrap().to_string(), "1 of 4 by HTTPRoute shop/r");
        assert!(green.split.is_empty() && green.shown() == Policy::Random);
        let root = discover(&host("web"), None, &given);
        let parts: Vec<_> =
            root.split.iter().map(|p| (p.name.as_str(), p.weight, p.backends.len())).collect();
        assert_eq!(parts, [("blue", 3.0, 2), ("green", 1.0, 1)]);
        assert_eq!((root.of_route, root.read_from.as_str()), (None, "HTTPRoute shop/r"));
        // a part of a route that has subsets of its own
        let split = weighted(Kind::HTTPRoute, &[("blue", "", 3), ("green", "", 1)]);
        let subsets = weighted(Kind::VirtualService, &[("green", "v1", 1), ("green", "v2", 1)]);
        let given = given.route(&[split, subsets]);
        let green = discover(&host("green"), None, &given);
        assert_eq!((green.split.len(), green.of_route.map(|share| share.weight)), (2, Some(1)));
    }

    #[test]
    fn no_share_is_expected_if_the_clients_places_decide() {
        let zones = [("a", "", "z1"), ("b", "", "z2")];
        let same = [("a", "", "z1"), ("b", "", "z1")];
        let near = Service { distribution: Distribution::SameZone, ..web() };
        let rule = Balancer { no_share: Some(NoShare::Locality), ..balancer(Scope::All, Policy::Random) };
        let no_share = |service: Service, pods: &[(&str, &str, &str)], preset: &str, routes: &[Route]| {
            let given = Given::default().service(service, pods).route(routes);
            discover(&host("web"), Some(&measured(preset)), &given).no_share
        };
        let istio = [route(Kind::DestinationRule, &[rule])];
        assert_eq!(no_share(near.clone(), &zones, "app", &[]), Some(NoShare::SameZone));
        assert_eq!(no_share(near.clone(), &same, "app", &[]), None, "all zones go to the only one");
        assert_eq!(no_share(near.clone(), &PODS, "app", &[]), None, "without hints, nothing is preferred");
        assert_eq!(no_share(near.clone(), &zones, "istio", &[]), Some(NoShare::SameZone));
        assert_eq!(no_share(near, &zones, "traefik", &[]), None, "it knows no zones");
        let local = Service { local: true, ..web() };
        assert_eq!(no_share(local, &zones, "app", &[]), Some(NoShare::OnNode));
        assert_eq!(no_share(web(), &zones, "istio", &istio), Some(NoShare::Locality));
        assert_eq!(no_share(web(), &same, "istio", &istio), None);
        let mut traffic = measured("app");
        traffic.backends = ["a", "b"]
            .map(|name| crate::domain::traffic::BackendTraffic {
                name: name.into(),
                rps: Some(if name == "a" { 90.0 } else { 10.0 }),
                ..Default::default()
            })
            .into();
        traffic.window_secs = 60;
        let judged = |no_share| {
            let balancing = Balancing { no_share, ..Balancing::default() };
            shares::judge(&traffic, &balancing, None, Stamp(0))
        };
        assert_eq!(judged(None).backends[0].significant, Some(true));
        let shares = judged(Some(NoShare::SameZone));
        assert_eq!((shares.backends[0].expected, shares.backends[0].significant), (None, None));
        assert_eq!(shares.backends[0].observed, Some(0.9));
    }
}
