//! The parts that a route splits requests into: the Services and subsets with their weights, the backends of each part,
//! and whether a Service gets its share of the route.

use std::sync::Arc;

use super::balancing::Known;
use crate::domain::id::Name;
use crate::domain::route::{Host, NoShare, Route, RouteShare, Subset, Target};
use crate::domain::traffic::{Balancing, Origin, Part, ServiceTraffic};
use crate::facts::routes::Split;
use crate::facts::world::ServiceRow;

/// A smaller relative difference counts as none, even if it is more than noise.
const EFFECT: f64 = 0.25;
/// With fewer expected requests, nothing is judged.
const FEWEST: f64 = 5.0;

/// Adds the parts of a Service, or its share of the route that it is a part of.
pub(super) fn fill<'k>(
    found: &mut Balancing,
    host: &Host,
    row: Option<&Arc<ServiceRow>>,
    splits: &[&Arc<Split>],
    balancers: impl Iterator<Item = &'k Arc<Route>>,
    known: &impl Known,
) {
    // a Service with subsets can be a part of another route
    found.of_route = splits.iter().filter(|split| split.total() > 0).find_map(|split| of_route(host, split));
    let Some(split) = splits.first().filter(|split| split.total() > 0) else { return };
    let own: Vec<&Target> = split.targets.iter().filter(|t| !t.foreign && t.host == *host).collect();
    let parts: Vec<Part> = if own.iter().any(|target| target.subset.is_some()) {
        let Some(row) = row else { return };
        let subsets: Vec<&Subset> = balancers.flat_map(|route| route.subsets.iter()).collect();
        let part = |target: &&Target| of_subset(target, row, &subsets, known);
        own.iter().map(part).collect()
    } else if own.is_empty() {
        split.targets.iter().map(|target| of_service(target, host, known)).collect()
    } else {
        Vec::new()
    };
    if !parts.is_empty() {
        let within = format!("{} within each part", found.policy.as_str());
        let within = if found.detail.is_empty() { within } else { format!("{within}: {}", found.detail) };
        if found.origin == Origin::Assumed {
            found.read_from = split.route.clone();
            found.origin = Origin::Discovered;
        } else {
            found.read_from = format!("{}, {}", split.route, found.read_from).into();
        }
        found.detail = within.into();
        if split.partial && found.origin != Origin::Configured {
            found.no_share = found.no_share.or(Some(NoShare::OtherRules));
        }
        found.split = parts.into();
    }
}

/// The share of a Service among the Services of a route. `None` if it is the only one, or not among them.
fn of_route(host: &Host, split: &Split) -> Option<RouteShare> {
    let mut parts: Vec<(Host, u32)> = Vec::new();
    for target in split.targets.iter() {
        match parts.iter_mut().find(|(held, _)| *held == target.host) {
            Some((_, weight)) => *weight = weight.saturating_add(target.weight),
            None => parts.push((target.host.clone(), target.weight)),
        }
    }
    if parts.len() < 2 {
        return None;
    }
    let (_, weight) = parts.iter().find(|(held, _)| held == host)?;
    Some(RouteShare {
        route: split.route.clone(),
        weight: *weight,
        total: split.total(),
        partial: split.partial || split.targets.iter().any(|t| t.foreign),
        parts: parts.into(),
    })
}

/// The pods behind a Service.
fn pods(row: &ServiceRow) -> impl Iterator<Item = (&Name, Option<&crate::domain::id::Uid>)> {
    let endpoints = row.slices.iter().flat_map(|slice| slice.endpoints.iter());
    endpoints.filter_map(|e| Some((e.pod.as_ref()?, e.pod_uid.as_ref())))
}

fn names(pods: impl Iterator<Item = Name>) -> Arc<[Name]> {
    let mut names: Vec<Name> = pods.collect();
    // a pod has one endpoint for each address family
    names.sort();
    names.dedup();
    names.into()
}

/// A subset: the pods of the Service whose labels it selects. A destination without a subset has all pods.
fn of_subset(target: &Target, row: &ServiceRow, subsets: &[&Subset], known: &impl Known) -> Part {
    let name = target.subset.clone();
    let subset = name.as_ref().and_then(|name| subsets.iter().find(|subset| subset.name == *name));
    let selected = |uid: Option<&crate::domain::id::Uid>| match (&name, subset) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(subset)) => {
            uid.and_then(|uid| known.pod(uid)).is_some_and(|pod| subset.selector.matches(pod.labels()))
        }
    };
    let backends = pods(row).filter(|(_, uid)| selected(*uid)).map(|(pod, _)| pod.clone());
    Part {
        backends: names(backends),
        name: name.unwrap_or_else(|| target.host.name.clone()),
        weight: f64::from(target.weight),
    }
}

/// A Service that gets a part of the requests to another one.
fn of_service(target: &Target, root: &Host, known: &impl Known) -> Part {
    let row = known.service(&target.host).filter(|_| !target.foreign);
    let name = if target.host.namespace == root.namespace {
        target.host.name.clone()
    } else {
        format!("{}/{}", target.host.namespace, target.host.name).into()
    };
    Part {
        name,
        weight: f64::from(target.weight),
        backends: names(row.into_iter().flat_map(|row| pods(row)).map(|(pod, _)| pod.clone())),
    }
}

/// The observed share of a Service among the Services of its route, and whether it differs from the expected one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PartShare {
    /// `None` if the requests of one of the Services are not measured.
    pub observed: Option<f64>,
    pub expected: Option<f64>,
    /// The difference is large, and more than noise. `None` = cannot be judged.
    pub significant: Option<bool>,
}

/// Compares the requests of a Service with those of the other Services of its route. `measured` returns what is measured
/// of a Service.
pub fn judge<'a>(
    host: &Host,
    share: &RouteShare,
    measured: impl Fn(&Host) -> Option<&'a ServiceTraffic>,
) -> PartShare {
    let expected = (share.total > 0).then(|| f64::from(share.weight) / f64::from(share.total));
    let rate = |(part, weight): &(Host, u32)| match measured(part).and_then(|traffic| traffic.rps) {
        // a part without weight gets no requests, so nothing is measured of it
        None if *weight == 0 => Some(0.0),
        rps => rps.filter(|rps| rps.is_finite()),
    };
    let rates: Option<Vec<f64>> = share.parts.iter().map(rate).collect();
    let total: Option<f64> = rates.as_ref().map(|rates| rates.iter().sum()).filter(|total| *total > 0.0);
    let own = share.parts.iter().zip(rates.iter().flatten()).find(|((part, _), _)| part == host);
    let observed = own.and_then(|(_, rps)| Some(rps / total?));
    let window = measured(host).map_or(0.0, |traffic| f64::from(traffic.window_secs));
    let requests = total.unwrap_or(0.0) * window;
    let significant = match (observed, expected) {
        _ if share.partial => None,
        // no noise brings requests to a part that must get none
        (Some(observed), Some(0.0)) => (requests >= FEWEST).then_some(observed * requests >= FEWEST),
        (Some(_), Some(1.0)) => None,
        (Some(o), Some(p)) if requests * p >= FEWEST => {
            let z = requests * (o - p) / (requests * p * (1.0 - p)).sqrt();
            Some((o / p - 1.0).abs() >= EFFECT && z.abs() >= bound(share.parts.len()))
        }
        _ => None,
    };
    PartShare { observed, expected, significant }
}

/// The z beyond which noise alone brings one of this many parts in one of 100 cases.
fn bound(parts: usize) -> f64 {
    match parts {
        0..=2 => 2.807,
        3 => 2.935,
        4..=5 => 3.090,
        _ => 3.481,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host { namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn a_part_is_judged_among_the_services_of_its_route() {
        let share = |weight: u32, partial| RouteShare {
            route: "HTTPRoute shop/web".into(),
            weight,
            total: 100,
            parts: [(host("stable"), 100 - weight), (host("canary"), weight)].into(),
            partial,
        };
        let seen = |rps: f64| ServiceTraffic { rps: Some(rps), window_secs: 60, ..ServiceTraffic::default() };
        let judged = |weight, partial, stable: Option<f64>, canary: Option<f64>| {
            let (stable, canary) = (stable.map(seen), canary.map(seen));
            judge(&host("canary"), &share(weight, partial), |part| {
                if *part == host("canary") { canary.as_ref() } else { stable.as_ref() }
            })
        };
        let of = |weight, stable, canary| judged(weight, false, Some(stable), Some(canary)).significant;
        assert_eq!(of(10, 90.0, 10.0), Some(false));
        assert_eq!(of(10, 90.0, 11.5), Some(false), "the effect is too small");
        assert_eq!(of(10, 70.0, 30.0), Some(true));
        assert_eq!(of(10, 0.9, 0.2), Some(false), "66 requests: 18 % instead of 10 % can be noise");
        assert_eq!(of(10, 0.09, 0.03), None, "7 requests");
        assert_eq!(of(0, 90.0, 0.0), Some(false));
        assert_eq!(of(0, 90.0, 10.0), Some(true), "a canary without weight gets requests");
        assert_eq!(of(100, 0.0, 10.0), None);
        assert_eq!(judged(10, true, Some(70.0), Some(30.0)).significant, None);
        let unknown = judged(10, false, None, Some(30.0));
        assert_eq!((unknown.observed, unknown.expected, unknown.significant), (None, Some(0.1), None));
        assert_eq!(judged(0, false, Some(3.0), None).observed, Some(0.0), "nothing is measured of it");
        assert_eq!(judged(10, false, Some(90.0), Some(30.0)).observed, Some(0.25));
        assert_eq!(share(10, false).to_string(), "10 of 100 by HTTPRoute shop/web");
    }
}
