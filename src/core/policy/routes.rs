//! Routes that split traffic by weight. This file reads the backends, their weights, and the paths of the weights in
//! the object.
//!
//! The supported kinds are HTTPRoute (`spec.rules[].backendRefs[].weight`, default 1), Istio's VirtualService
//! (`spec.http[].route[].weight`, where a single destination without a weight gets everything) and Traefik's
//! TraefikService (`spec.weighted.services[].weight`, default 1). The share of a backend is its weight divided by the
//! sum of its rule.

use serde_json::Value;

use crate::domain::id::{Kind, Name};
use crate::domain::kinds::ROUTES;

/// Returns the kind of route that a word in the config or on the command line names.
pub fn kind(word: &str) -> Option<Kind> {
    Kind::from_word(word).filter(|kind| ROUTES.contains(kind))
}

/// A backend with its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// The index of the rule that has the backend.
    pub rule: usize,
    /// The name of a Service. In a VirtualService it is a host, followed by `/subset` if there is one.
    pub name: Name,
    pub weight: i64,
    /// The path of the weight and its current value. The value is `Null` if there is no weight.
    pub held: (String, Value),
    /// The paths of the fields that name the backend, with their values. A list item has only an index, so these
    /// fields show whether another client has moved it.
    pub named: Vec<(String, Value)>,
}

/// Returns all weighted backends of a route.
pub fn backends(kind: &Kind, route: &Value) -> Vec<Backend> {
    let (rules, list, default) = match kind {
        Kind::HTTPRoute => ("/spec/rules", "backendRefs", 1),
        Kind::VirtualService => ("/spec/http", "route", 0),
        Kind::TraefikService => {
            let items = route.pointer("/spec/weighted/services").and_then(Value::as_array);
            return read(items, "/spec/weighted/services", 0, 1).collect();
        }
        _ => return Vec::new(),
    };
    let all = route.pointer(rules).and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .enumerate()
        .flat_map(|(rule, body)| {
            let items = body.get(list).and_then(Value::as_array);
            let lone = items.is_some_and(|i| i.len() == 1);
            let default = if default == 0 && lone { 100 } else { default };
            read(items, &format!("{rules}/{rule}/{list}"), rule, default).collect::<Vec<_>>()
        })
        .collect()
}

fn read(items: Option<&Vec<Value>>, at: &str, rule: usize, default: i64) -> impl Iterator<Item = Backend> {
    items.into_iter().flatten().enumerate().map(move |(i, item)| {
        let weight = item.get("weight").cloned().unwrap_or(Value::Null);
        Backend {
            rule,
            name: name(item),
            weight: weight.as_i64().unwrap_or(default),
            held: (format!("{at}/{i}/weight"), weight),
            named: ["name", "namespace", "destination/host", "destination/subset"]
                .into_iter()
                .filter_map(|key| {
                    Some((format!("{at}/{i}/{key}"), item.pointer(&format!("/{key}"))?.clone()))
                })
                .collect(),
        }
    })
}

fn name(item: &Value) -> Name {
    let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str);
    match (text("/name"), text("/destination/host"), text("/destination/subset")) {
        (Some(name), ..) => name.into(),
        (None, Some(host), Some(subset)) => format!("{host}/{subset}").into(),
        (None, Some(host), None) => host.into(),
        _ => Name::default(),
    }
}

/// Returns the Service that a backend names, without the subset and the cluster's domain.
pub fn service_name(backend: &str) -> &str {
    let host = backend.split('/').next().unwrap_or(backend);
    host.split('.').next().unwrap_or(host)
}

/// Two backends of one rule whose weights are shifted.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub from: Backend,
    pub to: Backend,
    /// The sum of both weights. The other backends of the rule keep their shares.
    total: i64,
}

impl Pair {
    /// Returns the weights of `from` and `to` if `to` gets this percentage of both.
    pub fn weights(&self, percent: u8) -> (i64, i64) {
        let to = (self.total * i64::from(percent.min(100)) + 50) / 100;
        (self.total - to, to)
    }

    /// Returns true if `to` already has this percentage or more.
    pub fn has(&self, percent: u8) -> bool {
        let sum = self.from.weight + self.to.weight;
        sum > 0 && self.to.weight * 100 >= sum * i64::from(percent)
    }

    /// Returns the path and the new weight of `from` and of `to`. A step never lowers the share of `to`.
    pub fn at(&self, percent: u8) -> [(String, Value); 2] {
        if self.has(percent) {
            return [self.from.held.clone(), self.to.held.clone()];
        }
        let (from, to) = self.weights(percent);
        [(self.from.held.0.clone(), from.into()), (self.to.held.0.clone(), to.into())]
    }
}

/// Returns the pairs of a route: one for each rule that has both backends.
pub fn pairs(kind: &Kind, route: &Value, from: &str, to: &str) -> Vec<Pair> {
    let all = backends(kind, route);
    let of = |rule: usize| all.iter().filter(move |b| b.rule == rule);
    let last = all.iter().map(|b| b.rule).max().unwrap_or(0);
    (0..=last)
        .filter_map(|rule| {
            let from = of(rule).find(|b| b.name == from)?;
            let to = of(rule).find(|b| b.name == to)?;
            let sum = from.weight + to.weight;
            // A small sum has few possible shares. If the two are the only backends of their rule, their sum
            // becomes 100.
            let total = if of(rule).count() == 2 || sum == 0 { 100 } else { sum };
            Some(Pair { from: from.clone(), to: to.clone(), total })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn weights_of_an_http_route_are_shares_of_their_sum() {
        let route = json!({ "spec": { "rules": [
            { "backendRefs": [{ "name": "blue", "port": 80 }, { "name": "green", "port": 80, "weight": 0 }] },
            { "backendRefs": [{ "name": "blue", "weight": 60 }, { "name": "green", "weight": 20 }, { "name": "other", "weight": 20 }] }
        ] } });
        let kind = kind("httproute").unwrap();
        let pairs = pairs(&kind, &route, "blue", "green");
        assert_eq!(pairs[0].from.weight, 1);
        assert_eq!(pairs[0].from.held, ("/spec/rules/0/backendRefs/0/weight".into(), Value::Null));
        assert_eq!(pairs[0].at(25)[1], ("/spec/rules/0/backendRefs/1/weight".into(), json!(25)));
        assert_eq!(pairs[1].weights(100), (0, 80), "the third one keeps its share");
        assert_eq!(pairs[1].weights(50), (40, 40));
    }

    #[test]
    fn subsets_and_traefik_have_weights_as_well() {
        let route = json!({ "spec": { "http": [{ "route": [
            { "destination": { "host": "checkout.shop.svc.cluster.local", "subset": "v1" }, "weight": 90 },
            { "destination": { "host": "checkout.shop.svc.cluster.local", "subset": "v2" }, "weight": 10 }
        ] }] } });
        let vs = kind("vs").unwrap();
        let all = backends(&vs, &route);
        assert_eq!(all[1].name, "checkout.shop.svc.cluster.local/v2");
        assert_eq!(service_name(&all[1].name), "checkout");
        let traefik = json!({ "spec": { "weighted": { "services": [{ "name": "a", "weight": 3 }, { "name": "b" }] } } });
        let pairs = pairs(&kind("traefikservices").unwrap(), &traefik, "a", "b");
        assert_eq!((pairs[0].from.weight, pairs[0].to.weight), (3, 1));
        assert_eq!(kind("ingress"), None);
    }
}
