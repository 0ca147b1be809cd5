//! Suggests failover plans from the cluster's objects: for a Service with a blue and a green workload, for a route
//! with two backends, and for a zone.

use serde_json::Value;

use crate::domain::failover::{FailoverKind, FailoverPlan, Pick, Watched, WeightShift};
use crate::domain::id::{Kind, Name};
use crate::facts::world::Cluster;
use crate::policy::routes::Backend;
use crate::policy::{routes, slices};

/// The maximum number of plans of each kind. More would make the list hard to read.
const MOST: usize = 40;

/// Labels that name an application. A workload with another value of such a label is another application. It is not
/// another colour of the same one.
const IDENTITY: [&str; 4] = ["app", "app.kubernetes.io/name", "k8s-app", "app.kubernetes.io/component"];

/// Returns the suggested plans. `routes` has the objects of the kinds in `routes::ROUTES`.
pub fn suggest(cluster: &Cluster, routes: &[(Kind, Value)]) -> Vec<FailoverPlan> {
    let mut plans = Vec::new();
    plans.extend(blue_green(cluster).take(MOST));
    plans.extend(routes.iter().flat_map(|(kind, route)| shifts(cluster, kind, route)).take(MOST));
    plans.extend(zones(cluster).into_iter().take(MOST));
    plans
}

fn suggested(name: String, kind: FailoverKind, watched: Option<Watched>) -> FailoverPlan {
    let soak_secs = if watched.is_some() { 30 } else { 10 };
    FailoverPlan { name: name.into(), kind, watched, soak_secs, suggested: true, in_context: String::new() }
}

fn watch(namespace: &Name, service: &Name) -> Watched {
    Watched { namespace: namespace.clone(), service: service.clone(), max_error_percent: 5.0 }
}

/// Returns a plan for each Service where another ready workload matches the selector except for the value of one
/// label.
fn blue_green(cluster: &Cluster) -> impl Iterator<Item = FailoverPlan> {
    cluster.services.iter().filter(|s| s.selector.labels.len() > 1).flat_map(move |service| {
        let selector = &service.selector.labels;
        let in_namespace = cluster
            .deployments
            .iter()
            .filter(|w| w.namespace == service.namespace && w.ready > 0)
            .collect::<Vec<_>>();
        let turns = selector.iter().filter(|(key, _)| !IDENTITY.contains(&key.as_str()));
        let others = turns.flat_map(|(key, value)| {
            let rest = selector.iter().filter(move |(k, _)| k != key);
            in_namespace
                .iter()
                .filter(|w| rest.clone().all(|label| w.template_labels.contains(label)))
                .filter_map(|w| w.template_labels.iter().find(|(k, v)| k == key && v != value))
                .map(|(_, other)| (key.clone(), value.clone(), other.clone()))
                .collect::<Vec<_>>()
        });
        let (namespace, name) = (service.namespace.clone(), service.name.clone());
        others
            .map(move |(key, from, to)| {
                let kind = FailoverKind::Selector {
                    namespace: namespace.clone(),
                    service: name.clone(),
                    from: vec![(key.clone(), from)],
                    to: vec![(key.clone(), to.clone())],
                };
                suggested(format!("{namespace}/{name}/{key}={to}"), kind, Some(watch(&namespace, &name)))
            })
            .collect::<Vec<_>>()
    })
}

/// Returns the plans that shift traffic from the heaviest backend of a rule to another one. If the other one is worse,
/// the plan that shifts its traffic back comes first.
fn shifts(cluster: &Cluster, kind: &Kind, route: &Value) -> Vec<FailoverPlan> {
    let text = |pointer: &str| Name::from(route.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let all = routes::backends(kind, route);
    let heaviest = all.iter().max_by_key(|b| b.weight);
    let Some(from) = heaviest.filter(|b| b.weight > 0) else { return Vec::new() };
    let others = all.iter().filter(|b| b.rule == from.rule && b.name != from.name);
    let shift = |from: &Backend, to: &Backend, steps: Vec<u8>| WeightShift {
        kind: kind.clone(),
        namespace: namespace.clone(),
        route: name.clone(),
        from: from.name.clone(),
        to: to.name.clone(),
        steps,
    };
    let plan = |shift: WeightShift| {
        let watched = watch(&namespace, &routes::service_name(&shift.to).into());
        let title = format!("{namespace}/{name}/{}", shift.to);
        suggested(title, FailoverKind::Weight(shift), Some(watched))
    };
    let (mut away, mut there) = (Vec::new(), Vec::new());
    for to in others {
        let forward = shift(from, to, vec![5, 25, 50, 100]);
        let is_worse = slices::shifted(cluster, &forward).is_some_and(|canary| canary.worse().is_some());
        if is_worse && to.weight > 0 {
            away.push(plan(shift(to, from, vec![100])));
        }
        there.push(plan(forward));
    }
    away.append(&mut there);
    away
}

fn zones(cluster: &Cluster) -> Vec<FailoverPlan> {
    let mut zones: Vec<Name> = cluster.nodes.iter().filter_map(|n| n.zone.clone()).collect();
    zones.sort();
    zones.dedup();
    let plan = |zone: Name| {
        let kind = FailoverKind::Evacuate(Pick::Zone(zone.clone()));
        suggested(format!("zone/{zone}"), kind, None)
    };
    zones.into_iter().map(plan).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::domain::traffic::Part;
    use crate::policy::slices::{FOUR, given};

    #[test]
    fn the_way_back_from_a_worse_backend_comes_first() {
        let (mut cluster, row) = given(&FOUR);
        let mut row = row;
        let part = |name: &str, weight: f64, backends: [&str; 2]| Part {
            name: name.into(),
            weight,
            backends: backends.map(Name::from).into(),
        };
        row.balancing.split = [part("v1", 90.0, ["a", "b"]), part("v2", 10.0, ["c", "d"])].into();
        cluster.derived.traffic = [Arc::new(row)].into();
        let destination = |subset: &str, weight: u32| json!({ "destination": { "host": "web", "subset": subset }, "weight": weight });
        let route = json!({
            "metadata": { "namespace": "shop", "name": "web" },
            "spec": { "http": [{ "route": [destination("v1", 90), destination("v2", 10)] }] }
        });
        let plans = shifts(&cluster, &Kind::VirtualService, &route);
        let told: Vec<_> = plans.iter().map(|p| (p.name.as_str(), p.kind.to_string())).collect();
        let there = "weight of shop/vs/web from web/v1 to web/v2".to_owned();
        let away = "weight of shop/vs/web from web/v2 to web/v1".to_owned();
        assert_eq!(told, [("shop/web/web/v1", away), ("shop/web/web/v2", there)]);
        assert!(plans.iter().all(|plan| plan.concerns("shop", "web")));
    }

    #[test]
    fn a_route_is_shifted_away_from_its_heaviest_backend() {
        let kind = routes::kind("httproute").unwrap();
        let route = json!({
            "metadata": { "namespace": "shop", "name": "web" },
            "spec": { "rules": [{ "backendRefs": [{ "name": "v1", "weight": 90 }, { "name": "v2", "weight": 10 }] }] }
        });
        let plans = shifts(&Cluster::default(), &kind, &route);
        assert_eq!(plans.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["shop/web/v2"]);
        assert_eq!(plans[0].kind.to_string(), "weight of shop/httproute/web from v1 to v2");
    }
}
