//! The objects that distribute requests: HTTPRoutes and TraefikServices here, those of Istio, ingress-nginx and the
//! rollout controllers in the files below. All become rows of one type.

mod ingress;
mod istio;
mod rollout;

use std::sync::Arc;

use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::route::{Balancer, Host, Route, RouteRule, Scope, Target};
use pilothouse_core::domain::traffic::Policy;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{ConditionDoc, Decode, Decoder, Meta, Pools, Text, pooled, read, single};
use crate::clock::Clock;
use crate::wire::list_watch::DecodeError;

impl Decode for Route {
    fn decoder(kind: &Kind, _: &Clock) -> Decoder<Self> {
        match kind {
            Kind::VirtualService => pooled(istio::virtual_service),
            Kind::DestinationRule => pooled(istio::destination_rule),
            Kind::TraefikService => pooled(traefik_service),
            Kind::Ingress => pooled(ingress::ingress),
            Kind::Rollout => pooled(rollout::rollout),
            Kind::Canary => pooled(rollout::canary),
            _ => pooled(http_route),
        }
    }
}

/// The row of an object without rules.
fn head(kind: Kind, pools: &mut Pools, meta: &Meta<'_>) -> Result<Route, DecodeError> {
    meta.check(kind.as_str())?;
    Ok(Route {
        uid: meta.uid(),
        version: meta.version(),
        namespace: pools.name(&meta.namespace),
        name: single(&meta.name),
        kind,
        ..Route::default()
    })
}

/// A Service by its name, in the object's namespace if no other is named.
fn host(pools: &mut Pools, namespace: &str, other: &str, name: &str) -> Host {
    let namespace = if other.is_empty() { namespace } else { other };
    Host { namespace: pools.name(namespace), name: pools.name(name) }
}

/// A weight. The API servers allow no negative ones.
fn weight(value: Option<i64>, default: u32) -> u32 {
    value.map_or(default, |weight| u32::try_from(weight.max(0)).unwrap_or(u32::MAX))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HttpRouteDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<HttpRouteSpec<'a>>,
    #[serde(borrow)]
    status: Option<HttpRouteStatus<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HttpRouteSpec<'a> {
    #[serde(borrow)]
    parent_refs: Option<Vec<Reference<'a>>>,
    #[serde(borrow)]
    rules: Option<Vec<HttpRule<'a>>>,
}

/// A reference to an object: a parent, or a backend with its weight.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Reference<'a> {
    #[serde(borrow)]
    group: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    namespace: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    weight: Option<i64>,
    #[serde(borrow)]
    sticky: Option<Sticky<'a>>,
    /// How Traefik chooses a server of the Service.
    #[serde(borrow)]
    strategy: Text<'a>,
}

impl Reference<'_> {
    /// `default` is the kind of a reference without one.
    fn is_service(&self, default: &str) -> bool {
        let kind = if self.kind.is_empty() { default } else { &self.kind };
        self.group.is_empty() && kind == "Service"
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HttpRule<'a> {
    #[serde(borrow)]
    matches: Option<Vec<HttpMatch<'a>>>,
    #[serde(borrow)]
    backend_refs: Option<Vec<Reference<'a>>>,
    #[serde(borrow)]
    session_persistence: Option<Persistence<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HttpMatch<'a> {
    headers: Option<Vec<IgnoredAny>>,
    query_params: Option<Vec<IgnoredAny>>,
    #[serde(borrow)]
    method: Text<'a>,
}

impl HttpMatch<'_> {
    fn is_conditional(&self) -> bool {
        let any = |list: &Option<Vec<IgnoredAny>>| list.as_ref().is_some_and(|list| !list.is_empty());
        any(&self.headers) || any(&self.query_params) || !self.method.is_empty()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Persistence<'a> {
    #[serde(borrow)]
    session_name: Text<'a>,
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HttpRouteStatus<'a> {
    #[serde(borrow)]
    parents: Option<Vec<ParentStatus<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ParentStatus<'a> {
    #[serde(borrow)]
    conditions: Option<Vec<ConditionDoc<'a>>>,
}

impl ParentStatus<'_> {
    fn refuses(&self) -> bool {
        self.conditions.iter().flatten().any(|c| &*c.kind == "Accepted" && &*c.status == "False")
    }
}

/// An HTTPRoute from its JSON. One that all its gateways refuse has no rules.
pub fn http_route(pools: &mut Pools, json: &[u8]) -> Result<Route, DecodeError> {
    let doc: HttpRouteDoc<'_> = read(json)?;
    let route = head(Kind::HTTPRoute, pools, &doc.metadata)?;
    let parents = doc.status.unwrap_or_default().parents.unwrap_or_default();
    if !parents.is_empty() && parents.iter().all(ParentStatus::refuses) {
        return Ok(route);
    }
    let namespace = &doc.metadata.namespace;
    let spec = doc.spec.unwrap_or_default();
    let mut roots = Vec::new();
    for parent in spec.parent_refs.iter().flatten() {
        // in a mesh, the parent is the Service that clients call
        if parent.is_service("Gateway") {
            roots.push(host(pools, namespace, &parent.namespace, &parent.name));
        }
    }
    let (mut rules, mut balancers) = (Vec::new(), Vec::new());
    for rule in spec.rules.iter().flatten() {
        let matches = rule.matches.iter().flatten();
        let conditional = rule.matches.as_ref().is_some_and(|m| !m.is_empty())
            && matches.clone().all(HttpMatch::is_conditional);
        let targets: Arc<[Target]> = rule
            .backend_refs
            .iter()
            .flatten()
            .map(|backend| Target {
                host: host(pools, namespace, &backend.namespace, &backend.name),
                subset: None,
                weight: weight(backend.weight, 1),
                foreign: !backend.is_service("Service"),
            })
            .collect();
        if let Some(session) = &rule.session_persistence {
            let by = if &*session.kind == "Header" { "header" } else { "cookie" };
            for target in targets.iter() {
                let scope = Scope::Service(target.host.clone());
                balancers.push(persistent(pools, scope, by, &session.session_name, "sessionPersistence"));
            }
        }
        rules.push(RouteRule { conditional, targets, ..RouteRule::default() });
    }
    Ok(Route { roots: roots.into(), rules: rules.into(), balancers: balancers.into(), ..route })
}

/// A client keeps its backend, which a cookie or header names.
fn persistent(pools: &mut Pools, scope: Scope, by: &str, name: &str, field: &str) -> Balancer {
    let name = if name.is_empty() { String::new() } else { format!(" {name}") };
    let detail = pools.name(&format!("a client keeps the backend that its {by}{name} says"));
    Balancer { scope, policy: Policy::ByClient, detail, field: pools.name(field), no_share: None }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TraefikDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<TraefikSpec<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TraefikSpec<'a> {
    #[serde(borrow)]
    weighted: Option<Weighted<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Weighted<'a> {
    #[serde(borrow)]
    services: Option<Vec<Reference<'a>>>,
    #[serde(borrow)]
    sticky: Option<Sticky<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sticky<'a> {
    #[serde(borrow)]
    cookie: Option<Cookie<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cookie<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

/// The strategies of Traefik, by the word in the API.
const STRATEGIES: [(&str, Policy, &str); 5] = [
    ("wrr", Policy::RoundRobin, "weighted round robin"),
    ("RoundRobin", Policy::RoundRobin, "weighted round robin"),
    ("p2c", Policy::LeastConnections, "the less busy of two random backends"),
    ("hrw", Policy::ByClient, "hash of the client IP (rendezvous hashing)"),
    ("leasttime", Policy::ResponseTime, "the shortest response time"),
];

/// A TraefikService from its JSON.
pub fn traefik_service(pools: &mut Pools, json: &[u8]) -> Result<Route, DecodeError> {
    let doc: TraefikDoc<'_> = read(json)?;
    let route = head(Kind::TraefikService, pools, &doc.metadata)?;
    let weighted = doc.spec.unwrap_or_default().weighted.unwrap_or_default();
    let (mut targets, mut balancers) = (Vec::new(), Vec::new());
    for service in weighted.services.iter().flatten() {
        let named = host(pools, &doc.metadata.namespace, &service.namespace, &service.name);
        let scope = Scope::Service(named.clone());
        let mut sticky = [&service.sticky, &weighted.sticky].into_iter().flatten();
        if let Some(cookie) = sticky.find_map(|sticky| sticky.cookie.as_ref()) {
            balancers.push(persistent(pools, scope, "cookie", &cookie.name, "sticky"));
        } else if let Some((_, policy, detail)) =
            STRATEGIES.iter().find(|(word, ..)| *word == &*service.strategy)
        {
            let (detail, field) = (pools.name(detail), pools.name("strategy"));
            balancers.push(Balancer { scope, policy: *policy, detail, field, no_share: None });
        }
        let foreign = !service.is_service("Service");
        targets.push(Target { host: named, subset: None, weight: weight(service.weight, 1), foreign });
    }
    let rules: Vec<RouteRule> = if targets.is_empty() {
        Vec::new()
    } else {
        vec![RouteRule { targets: targets.into(), ..RouteRule::default() }]
    };
    Ok(Route { rules: rules.into(), balancers: balancers.into(), ..route })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(route: &Route) -> Vec<String> {
        let target = |t: &Target| {
            format!(
                "{}/{} {}{}",
                t.host.namespace,
                t.host.name,
                t.weight,
                if t.foreign { " foreign" } else { "" }
            )
        };
        let rule = |rule: &RouteRule| {
            let targets: Vec<String> = rule.targets.iter().map(target).collect();
            format!("{}{}", if rule.conditional { "if " } else { "" }, targets.join(", "))
        };
        route.rules.iter().map(rule).collect()
    }

    /// The canary of the Gateway API's guide to traffic splitting.
    const HTTP_ROUTE: &str = r#"{"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute",
        "metadata":{"name":"foo-route","namespace":"shop","uid":"u","resourceVersion":"7"},
        "spec":{"parentRefs":[{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"prod-web"}],"hostnames":["foo.example.com"],
        "rules":[{"matches":[{"headers":[{"name":"traffic","value":"test","type":"Exact"}],"path":{"type":"PathPrefix","value":"/"}}],
                  "backendRefs":[{"group":"","kind":"Service","name":"foo-v2","port":8080,"weight":1}]},
                 {"backendRefs":[{"name":"foo-v1","port":8080,"weight":90},{"name":"foo-v2","port":8080,"weight":10},
                                 {"group":"multicluster.x-k8s.io","kind":"ServiceImport","name":"far","namespace":"other","weight":5},{"name":"plain"}]}]}}"#;

    #[test]
    fn http_routes() {
        let route = http_route(&mut Pools::default(), HTTP_ROUTE.as_bytes()).unwrap();
        assert_eq!(
            told(&route),
            ["if shop/foo-v2 1", "shop/foo-v1 90, shop/foo-v2 10, other/far 5 foreign, shop/plain 1"]
        );
        assert_eq!(
            (route.to_string().as_str(), route.roots.len(), route.version.0),
            ("HTTPRoute shop/foo-route", 0, 7)
        );
        let status = |accepted: [&str; 2]| {
            let parent =
                |status: &str| format!(r#"{{"conditions":[{{"type":"Accepted","status":"{status}"}}]}}"#);
            let status =
                format!(r#""status":{{"parents":[{},{}]}},"spec""#, parent(accepted[0]), parent(accepted[1]));
            http_route(&mut Pools::default(), HTTP_ROUTE.replacen(r#""spec""#, &status, 1).as_bytes())
                .unwrap()
        };
        assert_eq!(status(["False", "True"]).rules.len(), 2);
        assert_eq!(status(["False", "False"]).rules.len(), 0, "no gateway uses it");
        let of_mesh = br#"{"metadata":{"name":"r","namespace":"shop","uid":"u"},"spec":{"parentRefs":[{"group":"","kind":"Service","name":"foo","port":80}],
            "rules":[{"backendRefs":[{"name":"foo-v1"}],"sessionPersistence":{"sessionName":"sid","type":"Cookie"}}]}}"#;
        let route = http_route(&mut Pools::default(), of_mesh).unwrap();
        assert_eq!(route.roots[0].name, "foo");
        assert_eq!(route.balancers[0].policy, Policy::ByClient);
        assert_eq!(route.balancers[0].detail, "a client keeps the backend that its cookie sid says");
        for empty in
            [r#""spec":null"#, r#""spec":{"rules":null}"#, r#""spec":{"rules":[{"backendRefs":null}]}"#]
        {
            let json = format!(r#"{{"metadata":{{"name":"r","namespace":"shop","uid":"u"}},{empty}}}"#);
            http_route(&mut Pools::default(), json.as_bytes()).unwrap();
        }
        assert!(http_route(&mut Pools::default(), br#"{"metadata":{"name":"r"}}"#).is_err(), "no uid");
    }

    #[test]
    fn traefik_services() {
        let json = br#"{"apiVersion":"traefik.io/v1alpha1","kind":"TraefikService","metadata":{"name":"wrr","namespace":"shop","uid":"u"},
            "spec":{"weighted":{"services":[{"name":"appv1","port":80,"weight":3,"strategy":"p2c"},{"name":"appv2","namespace":"next","port":80},
                {"name":"mirror","kind":"TraefikService","weight":1,"sticky":{"cookie":{"name":"lvl1"}}}]}}}"#;
        let route = traefik_service(&mut Pools::default(), json).unwrap();
        assert_eq!(told(&route), ["shop/appv1 3, next/appv2 1, shop/mirror 1 foreign"]);
        let policies: Vec<_> = route.balancers.iter().map(|b| (b.policy, b.field.as_str())).collect();
        assert_eq!(policies, [(Policy::LeastConnections, "strategy"), (Policy::ByClient, "sticky")]);
        let mirroring =
            br#"{"metadata":{"name":"m","namespace":"shop","uid":"u"},"spec":{"mirroring":{"name":"a"}}}"#;
        assert_eq!(told(&traefik_service(&mut Pools::default(), mirroring).unwrap()), [""; 0]);
    }
}
