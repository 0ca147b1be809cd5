//! The objects that say how requests are distributed: HTTPRoute, VirtualService, DestinationRule and Ingress. They follow
//! the store's log; few objects change, so all of them are read again after a change.
//!
//! A route splits the requests to a Service: those that a VirtualService names as its hosts, the parent of an HTTPRoute
//! if that is a Service, and otherwise the first backend of a rule, because callers in the simulated cluster call
//! Services and no host names. A rule that only matches some requests (by header, query or method) gets none.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::loops::doc::{list, text};
use crate::resources::Res;
use crate::store::{Object, Store, Subscription, walk};
use crate::world::{Id, Policy};

/// The annotations of an Ingress that make it a canary, with its percentage.
const CANARY: &str = "nginx.ingress.kubernetes.io/canary";
const CANARY_WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";

/// Labels that a subset of a Service's pods has.
pub type Subset = Arc<[(Arc<str>, Arc<str>)]>;

/// A part of a split.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub to: Id,
    /// `None`: all pods of the Service.
    pub subset: Option<Arc<str>>,
    pub weight: f64,
}

/// How the backends of a host are chosen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Balancer {
    pub policy: Option<Policy>,
    pub subsets: BTreeMap<Arc<str>, (Subset, Option<Policy>)>,
}

/// An Ingress that leads to a Service.
#[derive(Debug, Clone, PartialEq)]
pub struct Door {
    pub namespace: Arc<str>,
    pub ingress: Arc<str>,
    /// The Service of the Ingress; for a canary, the Service of the Ingress beside which it exists.
    pub service: Arc<str>,
    pub host: Arc<str>,
    pub path: Arc<str>,
    /// `<namespace>-<service>-<port>` of a canary, otherwise empty.
    pub canary: Arc<str>,
}

/// What all objects together say.
#[derive(Debug, Default, PartialEq)]
pub struct Rules {
    pub splits: BTreeMap<Id, Vec<Target>>,
    pub balancers: BTreeMap<Id, Balancer>,
    pub doors: BTreeMap<Id, Door>,
}

/// The kinds that are read, those that others override first.
const KINDS: [Res; 4] = [Res::Ingresses, Res::HttpRoutes, Res::VirtualServices, Res::DestinationRules];

/// The positions in their logs.
#[derive(Debug)]
pub(super) struct Book {
    store: Store,
    news: Option<Vec<Subscription>>,
}

impl Book {
    pub(super) fn new(store: &Store) -> Self {
        Self { store: store.clone(), news: None }
    }

    /// The rules, if an object has changed since the last call.
    pub(super) fn follow(&mut self) -> Option<Rules> {
        if let Some(news) = &mut self.news {
            let mut quiet = true;
            for one in news {
                // Behind the log: the objects are read again.
                while quiet && !one.poll().is_ok_and(|changes| changes.is_empty()) {
                    quiet = false;
                }
            }
            if quiet {
                return None;
            }
        }
        let (mut rules, mut news) = (Rules::default(), Vec::new());
        for kind in KINDS {
            let (all, place) = self.store.list_and_subscribe(kind);
            news.push(place);
            rules.read(kind, &all);
        }
        self.news = Some(news);
        Some(rules)
    }
}

impl Rules {
    /// Adds what all objects of one kind say.
    pub fn read(&mut self, kind: Res, all: &[Arc<Object>]) {
        if kind == Res::Ingresses {
            let (canaries, stable): (Vec<_>, Vec<_>) =
                all.iter().partition(|one| one.annotation(CANARY) == Some("true"));
            for one in stable {
                self.ingress(one, false);
            }
            for one in canaries {
                self.ingress(one, true);
            }
            return;
        }
        for object in all {
            match kind {
                Res::HttpRoutes => self.http_route(object),
                Res::VirtualServices => self.virtual_service(object),
                Res::DestinationRules => self.destination_rule(object),
                _ => {}
            }
        }
    }

    fn http_route(&mut self, route: &Object) {
        let own = route.namespace();
        let id = |value: &Value| {
            let namespace = text(value, "namespace");
            Id::new(if namespace.is_empty() { own } else { namespace }, text(value, "name"))
        };
        let parents = list(&route.value, "/spec/parentRefs").iter();
        let services: Vec<Id> = parents.filter(|one| text(one, "kind") == "Service").map(id).collect();
        let rules = list(&route.value, "/spec/rules").iter();
        for rule in
            rules.filter(|rule| takes_all(list(rule, "/matches"), &["headers", "queryParams", "method"]))
        {
            let refs = list(rule, "/backendRefs").iter();
            let targets: Vec<Target> = refs
                .map(|one| Target {
                    to: id(one),
                    subset: None,
                    weight: one.get("weight").and_then(Value::as_f64).unwrap_or(1.0).max(0.0),
                })
                .collect();
            if services.is_empty() {
                self.split(targets.first().map(|one| one.to.clone()), targets);
                continue;
            }
            for service in services {
                self.split(Some(service), targets.clone());
            }
            return;
        }
    }

    fn virtual_service(&mut self, route: &Object) {
        let own = route.namespace();
        let hosts = list(&route.value, "/spec/hosts").iter().filter_map(Value::as_str);
        let services: Vec<Id> = hosts.filter_map(|host| service(host, own)).collect();
        let rules = list(&route.value, "/spec/http").iter();
        for rule in rules.filter(|rule| {
            takes_all(list(rule, "/match"), &["headers", "withoutHeaders", "queryParams", "method"])
        }) {
            let all = list(rule, "/route");
            let targets: Vec<Target> = all
                .iter()
                .filter_map(|one| {
                    let subset = walk(one, "/destination/subset").and_then(Value::as_str);
                    let lone = if all.len() == 1 { 100.0 } else { 0.0 };
                    Some(Target {
                        to: service(walk(one, "/destination/host")?.as_str()?, own)?,
                        subset: subset.map(Arc::from),
                        weight: one.get("weight").and_then(Value::as_f64).unwrap_or(lone).max(0.0),
                    })
                })
                .collect();
            if services.is_empty() {
                self.split(targets.first().map(|one| one.to.clone()), targets);
                continue;
            }
            for service in services {
                self.split(Some(service), targets.clone());
            }
            return;
        }
    }

    fn destination_rule(&mut self, rule: &Object) {
        let Some(id) = service(rule.text("/spec/host"), rule.namespace()) else { return };
        let balancer = self.balancers.entry(id).or_default();
        balancer.policy = policy(&rule.value).or(balancer.policy);
        for subset in list(&rule.value, "/spec/subsets") {
            let labels = subset.get("labels").and_then(Value::as_object).into_iter().flatten();
            let labels: Subset = labels
                .map(|(key, value)| (key.as_str().into(), value.as_str().unwrap_or_default().into()))
                .collect();
            balancer.subsets.insert(text(subset, "name").into(), (labels, policy_of(subset)));
        }
    }

    fn ingress(&mut self, ingress: &Object, is_canary: bool) {
        for rule in list(&ingress.value, "/spec/rules") {
            for path in list(rule, "/http/paths") {
                let name = walk(path, "/backend/service/name").and_then(Value::as_str).unwrap_or_default();
                let id = Id::new(ingress.namespace(), name);
                let (host, path_of) = (text(rule, "host"), text(path, "path"));
                if !is_canary {
                    let door = Door {
                        namespace: id.namespace.clone(),
                        ingress: ingress.name().into(),
                        service: id.name.clone(),
                        host: host.into(),
                        path: path_of.into(),
                        canary: "".into(),
                    };
                    self.doors.insert(id, door);
                    continue;
                }
                let of = |(_, door): &(&Id, &Door)| {
                    door.namespace == id.namespace
                        && *door.host == *host
                        && *door.path == *path_of
                        && door.canary.is_empty()
                };
                let Some((stable, door)) = self.doors.iter().find(of) else { continue };
                let weight = ingress.annotation(CANARY_WEIGHT).and_then(|text| text.parse::<f64>().ok());
                let weight = weight.unwrap_or(0.0).clamp(0.0, 100.0);
                let port = walk(path, "/backend/service/port/number").and_then(Value::as_u64).unwrap_or(80);
                let canary = format!("{}-{name}-{port}", id.namespace);
                let (stable, door) = (stable.clone(), Door { canary: canary.into(), ..door.clone() });
                let part = |to: &Id, weight| Target { to: to.clone(), subset: None, weight };
                let targets = vec![part(&stable, 100.0 - weight), part(&id, weight)];
                self.split(Some(stable), targets);
                self.doors.insert(id, door);
            }
        }
    }

    /// A single target that is the Service itself splits nothing.
    fn split(&mut self, of: Option<Id>, targets: Vec<Target>) {
        let Some(of) = of.filter(|of| !of.name.is_empty()) else { return };
        let same = |one: &Target| one.to == of && one.subset.is_none() && one.weight > 0.0;
        let is_itself = targets.len() == 1 && targets.iter().all(same);
        if !targets.is_empty() && !is_itself {
            self.splits.insert(of, targets);
        }
    }
}

/// Whether a rule takes all requests: it has no match, or one without any of these fields.
fn takes_all(matches: &[Value], fields: &[&str]) -> bool {
    let narrow = |one: &Value| fields.iter().any(|field| one.get(field).is_some());
    matches.is_empty() || matches.iter().any(|one| !narrow(one))
}

/// The Service of a host: `name`, `name.namespace` or `name.namespace.svc…`. `None` for a host outside of the cluster.
fn service(host: &str, own: &str) -> Option<Id> {
    let mut parts = host.split('.');
    let (name, namespace, rest) = (parts.next()?, parts.next(), parts.next());
    match (name, namespace, rest) {
        ("" | "*", ..) => None,
        (name, None, _) => Some(Id::new(own, name)),
        (name, Some(namespace), None | Some("svc")) => Some(Id::new(namespace, name)),
        _ => None,
    }
}

/// The policy of a DestinationRule.
fn policy(rule: &Value) -> Option<Policy> {
    policy_of(rule.get("spec")?)
}

fn policy_of(value: &Value) -> Option<Policy> {
    let balancer = walk(value, "/trafficPolicy/loadBalancer")?;
    if balancer.get("consistentHash").is_some() {
        return Some(Policy::ClientHash);
    }
    match text(balancer, "simple") {
        "ROUND_ROBIN" => Some(Policy::RoundRobin),
        "RANDOM" => Some(Policy::Random),
        "LEAST_REQUEST" | "LEAST_CONN" => Some(Policy::LeastRequest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: Res, values: &[Value]) -> Rules {
        let mut rules = Rules::default();
        let objects: Vec<_> = values.iter().map(|one| Arc::new(Object::new(kind, one.clone(), 1))).collect();
        rules.read(kind, &objects);
        rules
    }

    /// `service: target/subset weight, …` of each split.
    fn told(rules: &Rules) -> Vec<String> {
        let one = |target: &Target| {
            let subset = target.subset.as_deref().map(|subset| format!("/{subset}")).unwrap_or_default();
            format!("{}{subset} {}", target.to, target.weight)
        };
        let all = rules.splits.iter();
        all.map(|(id, targets)| format!("{id}: {}", targets.iter().map(one).collect::<Vec<_>>().join(", ")))
            .collect()
    }

    #[test]
    fn an_http_route_splits_its_first_backend_or_its_parent() {
        let refs = json!([{"name": "web", "weight": 90}, {"name": "web-next", "namespace": "next"}]);
        let rules = json!([
            {"matches": [{"headers": [{"name": "x", "value": "1"}]}], "backendRefs": [{"name": "web-next"}]},
            {"matches": [{"path": {"value": "/"}}], "backendRefs": refs},
            {"backendRefs": [{"name": "alone"}]}]);
        let mut route = json!({"metadata": {"namespace": "shop", "name": "r"},
            "spec": {"parentRefs": [{"name": "gate"}], "rules": rules}});
        assert_eq!(
            told(&read(Res::HttpRoutes, &[route.clone()])),
            ["shop/web: shop/web 90, next/web-next 1"]
        );
        route["spec"]["parentRefs"] = json!([{"kind": "Service", "group": "", "name": "front"}]);
        assert_eq!(told(&read(Res::HttpRoutes, &[route])), ["shop/front: shop/web 90, next/web-next 1"]);
    }

    #[test]
    fn a_virtual_service_splits_its_hosts() {
        let to = |host: &str, subset: &str, weight: i64| json!({"destination": {"host": host, "subset": subset}, "weight": weight});
        let http = json!([
            {"match": [{"headers": {"x": {"exact": "1"}}}], "route": [to("web", "v2", 100)]},
            {"route": [to("web", "v1", 9), to("web.shop.svc.cluster.local", "v2", 1)]}]);
        let route = |hosts: Value, http: &Value| json!({"metadata": {"namespace": "shop", "name": "r"}, "spec": {"hosts": hosts, "http": http}});
        let split = "shop/web/v1 9, shop/web/v2 1";
        let one = read(Res::VirtualServices, &[route(json!(["web", "web.other"]), &http)]);
        assert_eq!(told(&one), [format!("other/web: {split}"), format!("shop/web: {split}")]);
        let one = read(Res::VirtualServices, &[route(json!(["shop.example.com"]), &http)]);
        assert_eq!(told(&one), [format!("shop/web: {split}")]);
        let lone = json!([{"route": [{"destination": {"host": "web"}}]}]);
        assert_eq!(told(&read(Res::VirtualServices, &[route(json!(["web"]), &lone)])), [""; 0]);
        assert_eq!(
            told(&read(Res::VirtualServices, &[route(json!(["old"]), &lone)])),
            ["shop/old: shop/web 100"]
        );
    }

    #[test]
    fn a_destination_rule_has_a_policy_and_subsets() {
        let rule = json!({"metadata": {"namespace": "shop", "name": "r"}, "spec": {"host": "web",
            "trafficPolicy": {"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}},
            "subsets": [{"name": "v1", "labels": {"version": "v1"}},
                {"name": "v2", "labels": {"version": "v2"}, "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}]}});
        let rules = read(Res::DestinationRules, &[rule]);
        let web = &rules.balancers[&Id::new("shop", "web")];
        assert_eq!(web.policy, Some(Policy::ClientHash));
        let v1: Subset = [("version".into(), "v1".into())].into();
        assert_eq!(web.subsets["v1"], (v1, None));
        assert_eq!(web.subsets["v2"].1, Some(Policy::Random));
    }

    #[test]
    fn an_ingress_is_a_door_and_its_canary_splits() {
        let ingress = |name: &str, service: &str, annotations: Value| {
            json!({"metadata": {"namespace": "shop", "name": name, "annotations": annotations},
                "spec": {"rules": [{"host": "shop.example", "http": {"paths": [{"path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": service, "port": {"number": 80}}}}]}}]}})
        };
        let weight = json!({(CANARY): "true", (CANARY_WEIGHT): "20"});
        let rules =
            read(Res::Ingresses, &[ingress("a", "web-next", weight), ingress("web", "web", json!({}))]);
        assert_eq!(told(&rules), ["shop/web: shop/web 80, shop/web-next 20"]);
        let next = &rules.doors[&Id::new("shop", "web-next")];
        assert_eq!((&*next.ingress, &*next.service, &*next.canary), ("web", "web", "shop-web-next-80"));
        assert_eq!(&*rules.doors[&Id::new("shop", "web")].canary, "");
    }
}
