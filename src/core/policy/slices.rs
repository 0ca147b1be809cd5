//! The traffic of a service by node, zone, version or part of a route, and a canary compared with the stable version.

mod compare;

#[cfg(test)]
pub(crate) use tests::{FOUR, Given, given};

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::domain::failover::WeightShift;
use crate::domain::id::{Name, Uid};
use crate::domain::image;
use crate::domain::pod::Pod;
use crate::domain::service::Endpoint;
use crate::domain::time::Stamp;
use crate::domain::traffic::{BackendTraffic, Share, Worse};
use crate::domain::workload::REVISION;
use crate::facts::world::{Cluster, TrafficRow};
use crate::policy::routes;

/// What the backends of a service are grouped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum By {
    #[default]
    Node,
    Zone,
    /// The image's tag, with the pod template's hash if two templates have the same tag.
    Version,
    /// The part of the route that splits the requests: a Service or a subset.
    Part,
}

impl By {
    pub const ALL: [Self; 4] = [Self::Node, Self::Zone, Self::Version, Self::Part];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Zone => "zone",
            Self::Version => "version",
            Self::Part => "part",
        }
    }
}

/// The backends with one value, and their traffic together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// The node, zone, version or part. `None` for the backends of which it is not known.
    pub name: Option<Name>,
    /// The names of the backends.
    pub backends: Arc<[Name]>,
    /// How many of them are ready. `None` if no readiness is known.
    pub ready: Option<u32>,
    pub rps: Option<f64>,
    /// Over all requests of the slice, 0..1.
    pub error_ratio: Option<f64>,
    /// The highest p95 of its backends, because quantiles cannot be added.
    pub p95_ms: Option<f64>,
    pub observed: Option<f64>,
    pub expected: Option<f64>,
    /// It is the canary of [`Slices::canary`].
    pub canary: bool,
}

/// The slices of a service, ordered by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slices {
    pub by: By,
    pub slices: Vec<Slice>,
    /// The canary compared with the stable version, if there are two versions or two parts.
    pub canary: Option<Canary>,
}

/// A canary and what is known of it in comparison with the stable version.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    pub canary: Name,
    pub stable: Name,
    /// The error ratios, 0..1.
    pub errors: Compared,
    /// The p95 in milliseconds: the mean over the backends, weighted by their requests.
    pub latency: Compared,
}

impl Canary {
    /// Returns in what the canary is worse. Returns `None` if it is not worse, or if this is not known.
    pub fn worse(&self) -> Option<Worse> {
        let worse = |compared: Compared| match compared {
            Compared::Worse { canary, stable } => Some((canary, stable)),
            _ => None,
        };
        let by = Worse { errors: worse(self.errors), p95_ms: worse(self.latency) };
        (by != Worse::default()).then_some(by)
    }
}

/// A canary's number compared with that of the stable version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compared {
    /// The canary's number is larger by an effect that matters, and it is more than noise.
    Worse {
        canary: f64,
        stable: f64,
    },
    NotWorse {
        canary: f64,
        stable: f64,
    },
    /// The smaller of the two has `have` requests in the window, and about `need` are needed.
    TooFew {
        have: u64,
        need: u64,
    },
    /// One of the numbers is not measured.
    Unknown,
}

/// Groups the backends of a service.
pub fn slices(cluster: &Cluster, row: &TrafficRow, by: By) -> Slices {
    let places = places(cluster, row);
    let named = names(row, by, &places);
    let mut groups: BTreeMap<Option<Name>, Vec<&Place<'_>>> = BTreeMap::new();
    for (place, name) in places.iter().zip(named) {
        groups.entry(name).or_default().push(place);
    }
    // The unknown ones come last.
    let groups: Vec<(Option<Name>, Vec<&Place<'_>>)> = {
        let (known, unknown): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(name, _)| name.is_some());
        known.into_iter().chain(unknown).collect()
    };
    let mut slices: Vec<Slice> = groups.iter().map(|(name, places)| slice(name.clone(), places)).collect();
    let canary = canary(row, by, &groups);
    if let Some(canary) = &canary {
        for slice in &mut slices {
            slice.canary = slice.name.as_ref() == Some(&canary.canary);
        }
    }
    Slices { by, slices, canary }
}

/// Returns true if the endpoints of a service are pods of several templates. Grouping the backends is not needed
/// otherwise. `pod` finds a pod by its uid. It is called for every endpoint, so it must not scan.
pub fn has_versions<'a>(pod: impl Fn(&Uid) -> Option<&'a Arc<Pod>>, row: &TrafficRow) -> bool {
    let endpoints = row.endpoints.iter().flat_map(|r| r.slices.iter()).flat_map(|s| s.endpoints.iter());
    let pods = endpoints.filter_map(|e| pod(e.pod_uid.as_ref()?));
    let mut templates = pods.map(|pod| (pod.shape.containers.first().map(|c| &c.image), hash(pod)));
    let first = templates.next();
    templates.any(|template| Some(&template) != first.as_ref())
}

/// Compares the backend that a shift of weights moves requests to (the canary) with the one that they come from.
/// Returns `None` if nothing is measured of one of them.
pub fn shifted(cluster: &Cluster, shift: &WeightShift) -> Option<Canary> {
    let (to, from) = (routes::service_name(&shift.to), routes::service_name(&shift.from));
    let measured = |service: &str| cluster.measured(&shift.namespace, service).filter(|_| to != from);
    if let (Some(new), Some(old)) = (measured(to), measured(from)) {
        let (of_new, of_old) = (places(cluster, new), places(cluster, old));
        let new = Side::of(new, &shift.to, of_new.iter().collect());
        let old = Side::of(old, &shift.from, of_old.iter().collect());
        return Some(compared(&new, &old));
    }
    // A route can split the requests to one Service into its subsets, or into other Services.
    let part = |backend: &Name, service: &str| {
        Name::from(backend.split_once('/').map_or(service, |(_, subset)| subset))
    };
    let (new, old) = (part(&shift.to, to), part(&shift.from, from));
    let row = cluster.derived.traffic.iter().find(|row| {
        let has = |name: &Name| row.balancing.split.iter().any(|part| part.name == *name);
        let is_root = to != from || row.traffic.name == *to;
        row.traffic.namespace == shift.namespace && is_root && has(&new) && has(&old)
    })?;
    let places = places(cluster, row);
    let within = |name: &Name| {
        let part = row.balancing.split.iter().find(|part| part.name == *name);
        let is_in = |place: &&Place<'_>| part.is_some_and(|part| part.backends.contains(&place.name));
        places.iter().filter(is_in).collect::<Vec<_>>()
    };
    let (new, old) = (Side::of(row, &shift.to, within(&new)), Side::of(row, &shift.from, within(&old)));
    Some(compared(&new, &old))
}

/// One side of a comparison.
struct Side<'p> {
    name: Name,
    places: Vec<&'p Place<'p>>,
    /// The number of requests in the window.
    requests: f64,
}

impl<'p> Side<'p> {
    fn of(row: &TrafficRow, name: &Name, places: Vec<&'p Place<'p>>) -> Self {
        let requests = rps(&places) * f64::from(row.traffic.window_secs);
        Self { name: name.clone(), places, requests }
    }
}

fn rps(places: &[&Place<'_>]) -> f64 {
    sum(places.iter().map(|p| p.traffic?.rps)).unwrap_or(0.0)
}

fn compared(new: &Side<'_>, old: &Side<'_>) -> Canary {
    let n = (new.requests, old.requests);
    Canary {
        canary: new.name.clone(),
        stable: old.name.clone(),
        errors: match (errors(&new.places), errors(&old.places)) {
            (Some(canary), Some(stable)) => compare::errors((canary, n.0), (stable, n.1)),
            _ => Compared::Unknown,
        },
        latency: match (latency(&new.places), latency(&old.places)) {
            (Some(canary), Some(stable)) => compare::latency((canary, n.0), (stable, n.1)),
            _ => Compared::Unknown,
        },
    }
}

/// A backend, and where it is.
#[derive(Default)]
struct Place<'a> {
    name: Name,
    traffic: Option<&'a BackendTraffic>,
    share: Option<&'a Share>,
    ready: Option<bool>,
    node: Option<Name>,
    zone: Option<Name>,
    pod: Option<&'a Pod>,
    /// When its template was first used.
    since: Option<Stamp>,
}

/// Returns the measured backends, and the endpoints of which nothing is measured. Endpoints say nothing about backends
/// under other names.
fn places<'a>(cluster: &'a Cluster, row: &'a TrafficRow) -> Vec<Place<'a>> {
    let mut places: Vec<Place<'a>> = row
        .backends()
        .map(|(backend, share)| Place {
            name: backend.name.clone(),
            traffic: Some(backend),
            share: Some(share),
            ready: backend.up,
            ..Place::default()
        })
        .collect();
    let mut at: HashMap<Name, usize> = places.iter().enumerate().map(|(i, p)| (p.name.clone(), i)).collect();
    let endpoints = || row.endpoints.iter().flat_map(|r| r.slices.iter()).flat_map(|s| s.endpoints.iter());
    let id = |e: &Endpoint| e.pod.clone().unwrap_or_else(|| e.address.clone());
    let by_pod = places.is_empty() || endpoints().any(|e| at.contains_key(&id(e)));
    for endpoint in endpoints().filter(|_| by_pod) {
        let name = id(endpoint);
        let i = *at.entry(name.clone()).or_insert_with(|| {
            places.push(Place { name, ..Place::default() });
            places.len() - 1
        });
        if let Some(place) = places.get_mut(i) {
            place.ready = Some(place.ready.unwrap_or(false) | endpoint.ready);
            place.node = endpoint.node.clone().or_else(|| place.node.take());
            place.zone = endpoint.zone.clone().or_else(|| place.zone.take());
        }
    }
    let sets = cluster.replicasets.iter().filter(|set| set.namespace == row.traffic.namespace);
    let created: HashMap<&Uid, Stamp> = sets.map(|set| (&set.uid, set.created)).collect();
    for pod in cluster.pods.iter().filter(|pod| pod.namespace == row.traffic.namespace) {
        let Some(place) = at.get(&pod.name).and_then(|i| places.get_mut(*i)) else { continue };
        if place.node.is_none() {
            place.node.clone_from(&pod.node);
        }
        let set = pod.owner.as_ref().and_then(|owner| created.get(&owner.uid));
        place.since = Some(set.copied().unwrap_or(pod.created));
        place.pod = Some(pod);
    }
    let unplaced = |p: &Place<'_>| p.zone.is_none() && p.node.is_some();
    if places.iter().any(unplaced) {
        let zones: HashMap<&Name, &Name> =
            cluster.nodes.iter().filter_map(|node| Some((&node.name, node.zone.as_ref()?))).collect();
        for place in &mut places {
            if place.zone.is_none() {
                place.zone = place.node.as_ref().and_then(|node| zones.get(node)).map(|zone| (*zone).clone());
            }
        }
    }
    places
}

/// The labels that tell two templates apart.
const HASHES: [&str; 2] = ["pod-template-hash", REVISION];

fn hash(pod: &Pod) -> Option<Name> {
    HASHES.iter().find_map(|key| pod.labels().get(key).cloned())
}

fn tag(pod: &Pod) -> Option<Name> {
    pod.shape.containers.first().map(|c| image::version(&c.image).into())
}

/// Returns the name of the slice of each backend.
fn names(row: &TrafficRow, by: By, places: &[Place<'_>]) -> Vec<Option<Name>> {
    match by {
        By::Node => places.iter().map(|p| p.node.clone()).collect(),
        By::Zone => places.iter().map(|p| p.zone.clone()).collect(),
        By::Part => {
            let part =
                |p: &Place<'_>| row.balancing.split.iter().find(|part| part.backends.contains(&p.name));
            places.iter().map(|p| part(p).map(|part| part.name.clone())).collect()
        }
        By::Version => {
            // Two templates with the same tag are two versions.
            let mut hashes: HashMap<Name, BTreeSet<Name>> = HashMap::new();
            for pod in places.iter().filter_map(|p| p.pod) {
                if let Some(tag) = tag(pod) {
                    hashes.entry(tag).or_default().extend(hash(pod));
                }
            }
            let name = |pod: &Pod| {
                let tag = tag(pod)?;
                let several = hashes.get(&tag).is_some_and(|hashes| hashes.len() > 1);
                Some(match hash(pod).filter(|_| several) {
                    Some(hash) => format!("{tag} ({hash})").into(),
                    None => tag,
                })
            };
            places.iter().map(|p| name(p.pod?)).collect()
        }
    }
}

/// Adds up what is known. The sum of no numbers is unknown.
fn sum(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().filter(|v| v.is_finite()).reduce(|a, b| a + b)
}

fn errors(places: &[&Place<'_>]) -> Option<f64> {
    let failed = sum(places.iter().map(|p| Some(p.traffic?.rps? * p.traffic?.error_ratio?)))?;
    // Backends whose outcomes are not known do not count as healthy.
    let judged = sum(places.iter().filter_map(|p| p.traffic).map(|t| t.error_ratio.and(t.rps)))?;
    (judged > 0.0).then(|| (failed / judged).clamp(0.0, 1.0))
}

fn slice(name: Option<Name>, places: &[&Place<'_>]) -> Slice {
    let traffic = || places.iter().filter_map(|p| p.traffic);
    let share = || places.iter().filter_map(|p| p.share);
    let known = places.iter().any(|p| p.ready.is_some());
    let ready = places.iter().filter(|p| p.ready == Some(true)).count();
    Slice {
        name,
        backends: places.iter().map(|p| p.name.clone()).collect(),
        ready: known.then(|| u32::try_from(ready).unwrap_or(u32::MAX)),
        rps: sum(traffic().map(|t| t.rps)),
        error_ratio: errors(places),
        p95_ms: traffic().filter_map(|t| t.p95_ms).filter(|ms| ms.is_finite()).reduce(f64::max),
        observed: sum(share().map(|s| s.observed)),
        expected: sum(share().map(|s| s.expected)),
        canary: false,
    }
}

/// Compares the newest version with the one that gets the most requests, or the smallest part with the largest.
fn canary<'p>(row: &TrafficRow, by: By, groups: &[(Option<Name>, Vec<&'p Place<'p>>)]) -> Option<Canary> {
    let named: Vec<(&Name, &[&'p Place<'p>])> =
        groups.iter().filter_map(|(name, places)| Some((name.as_ref()?, places.as_slice()))).collect();
    let canary = match by {
        By::Version => {
            // A version is as old as its oldest template.
            let since = |places: &[&Place<'_>]| places.iter().filter_map(|p| p.since).min();
            let newest = named.iter().max_by_key(|(_, places)| since(places))?;
            let is_newer = named.iter().any(|(_, places)| since(places) < since(newest.1));
            *Some(newest).filter(|_| is_newer)?
        }
        By::Part => {
            let weight = |name: &Name| row.balancing.split.iter().find(|p| p.name == *name).map(|p| p.weight);
            let least = named
                .iter()
                .min_by(|a, b| weight(a.0).partial_cmp(&weight(b.0)).unwrap_or(Ordering::Equal))?;
            let is_less = named.iter().any(|(name, _)| weight(name) > weight(least.0));
            *Some(least).filter(|_| is_less)?
        }
        By::Node | By::Zone => return None,
    };
    let others = named.iter().filter(|(name, _)| *name != canary.0);
    let stable = others.max_by(|a, b| rps(a.1).total_cmp(&rps(b.1)))?;
    let side = |(name, places): &(&Name, &[&'p Place<'p>])| Side::of(row, name, places.to_vec());
    Some(compared(&side(&canary), &side(stable)))
}

/// Returns the mean of the backends' p95, weighted by their requests. The highest would grow with the number of
/// backends.
fn latency(places: &[&Place<'_>]) -> Option<f64> {
    let known = || places.iter().filter_map(|p| Some((p.traffic?.rps?, p.traffic?.p95_ms?)));
    let total: f64 = known().map(|(rps, _)| rps).sum();
    (total > 0.0).then(|| known().map(|(rps, ms)| rps * ms).sum::<f64>() / total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Kind, Owner, Uid, Version};
    use crate::domain::pod::{ContainerShape, PodShape};
    use crate::domain::service::EndpointSlice;
    use crate::domain::traffic::{Balancing, Part, ServiceTraffic, Shares};
    use crate::facts::table::Rows;
    use crate::facts::world::ServiceRow;

    /// Backends as (name, rps, error ratio, p95, image, template's hash, created).
    pub(crate) type Given<'a> = (&'a str, f64, f64, f64, &'a str, &'a str, i64);

    pub(crate) fn given(backends: &[Given<'_>]) -> (Cluster, TrafficRow) {
        let mut pods: Rows<Pod> = Rows::default();
        for (i, (name, _, _, _, image, hash, created)) in backends.iter().enumerate() {
            let container = ContainerShape { image: (*image).into(), ..ContainerShape::default() };
            let shape = PodShape {
                containers: Box::new([container]),
                labels: Box::new([("pod-template-hash".into(), (*hash).into())]),
                ..PodShape::default()
            };
            pods.upsert(Pod {
                uid: Uid::parse(name),
                version: Version(1),
                namespace: "shop".into(),
                name: (*name).into(),
                node: Some(format!("n{}", i % 2).into()),
                owner: Some(Arc::new(Owner {
                    kind: Kind::ReplicaSet,
                    name: "rs".into(),
                    uid: Uid::parse(hash),
                    group: Name::default(),
                })),
                shape: Arc::new(shape),
                created: Stamp(*created),
                ..Pod::default()
            });
        }
        let mut cluster = Cluster::default();
        cluster.tables.pods = pods.table().clone();
        let endpoint = |(i, (name, ..)): (usize, &Given<'_>)| Endpoint {
            pod: Some((*name).into()),
            pod_uid: Some(Uid::parse(name)),
            ready: i != 0,
            zone: Some(if i < 2 { "a" } else { "b" }.into()),
            ..Endpoint::default()
        };
        let slice = EndpointSlice {
            endpoints: backends.iter().enumerate().map(endpoint).collect(),
            ..EndpointSlice::default()
        };
        let measured = backends.iter().map(|(name, rps, errors, p95, ..)| BackendTraffic {
            name: (*name).into(),
            rps: Some(*rps),
            error_ratio: Some(*errors),
            p95_ms: Some(*p95),
            ..BackendTraffic::default()
        });
        let total: f64 = backends.iter().map(|b| b.1).sum();
        let share = |b: &Given<'_>| Share {
            observed: Some(b.1 / total),
            expected: Some(1.0 / backends.len() as f64),
            ..Share::default()
        };
        let row = TrafficRow {
            traffic: Arc::new(ServiceTraffic {
                namespace: "shop".into(),
                name: "web".into(),
                window_secs: 60,
                backends: measured.collect(),
                ..ServiceTraffic::default()
            }),
            endpoints: Some(Arc::new(ServiceRow::new(
                Arc::default(),
                [Arc::new(slice)].into(),
                Arc::default(),
            ))),
            shares: Shares { backends: backends.iter().map(share).collect(), ..Shares::default() },
            ..TrafficRow::default()
        };
        (cluster, row)
    }

    pub(crate) const FOUR: [Given<'_>; 4] = [
        ("a", 40.0, 0.0, 20.0, "web:1", "h1", 100),
        ("b", 40.0, 0.0, 30.0, "web:1", "h1", 110),
        ("c", 10.0, 0.2, 20.0, "web:2", "h2", 900),
        ("d", 10.0, 0.0, 90.0, "web:2", "h2", 910),
    ];

    #[test]
    fn the_backends_of_a_zone_are_added_up() {
        let (cluster, row) = given(&FOUR);
        let zones = slices(&cluster, &row, By::Zone);
        let told: Vec<_> = zones
            .slices
            .iter()
            .map(|s| (s.name.as_deref().unwrap(), s.backends.len(), s.ready, s.rps, s.error_ratio, s.p95_ms))
            .collect();
        assert_eq!(
            told,
            [
                ("a", 2, Some(1), Some(80.0), Some(0.0), Some(30.0)),
                ("b", 2, Some(2), Some(20.0), Some(0.1), Some(90.0))
            ]
        );
        assert_eq!((zones.slices[0].observed, zones.slices[0].expected), (Some(0.8), Some(0.5)));
        assert_eq!(zones.canary, None);
        let nodes = slices(&cluster, &row, By::Node);
        assert_eq!(nodes.slices.iter().map(|s| s.rps).collect::<Vec<_>>(), [Some(50.0), Some(50.0)]);
        let parts = slices(&cluster, &row, By::Part);
        assert_eq!(
            parts.slices.iter().map(|s| s.name.clone()).collect::<Vec<_>>(),
            [None],
            "nothing splits it"
        );
    }

    #[test]
    fn the_newest_version_is_the_canary() {
        let (cluster, row) = given(&FOUR);
        let versions = slices(&cluster, &row, By::Version);
        assert_eq!(versions.slices.iter().map(|s| s.canary).collect::<Vec<_>>(), [false, true]);
        let canary = versions.canary.unwrap();
        assert_eq!((canary.canary.as_str(), canary.stable.as_str()), ("2", "1"));
        assert_eq!(canary.errors, Compared::Worse { canary: 0.1, stable: 0.0 });
        assert_eq!(canary.latency, Compared::Worse { canary: 55.0, stable: 25.0 });
    }

    #[test]
    fn two_templates_of_one_tag_are_two_versions() {
        let mut same = FOUR;
        for pod in &mut same {
            pod.4 = "web:1";
        }
        let (cluster, row) = given(&same);
        let names: Vec<_> =
            slices(&cluster, &row, By::Version).slices.into_iter().map(|s| s.name.unwrap()).collect();
        assert_eq!(names, ["1 (h1)", "1 (h2)"]);
    }

    #[test]
    fn the_part_with_the_smaller_weight_is_the_canary() {
        let (cluster, mut row) = given(&FOUR);
        let part = |name: &str, weight: f64, backends: &[&str]| Part {
            name: name.into(),
            weight,
            backends: backends.iter().map(|b| Name::from(*b)).collect(),
        };
        row.balancing = Balancing {
            split: [part("web", 80.0, &["a", "b"]), part("web-canary", 20.0, &["c", "d"])].into(),
            ..Balancing::default()
        };
        let canary = slices(&cluster, &row, By::Part).canary.unwrap();
        assert_eq!((canary.canary.as_str(), canary.stable.as_str()), ("web-canary", "web"));
    }

    #[test]
    fn a_shift_is_compared_by_the_parts_that_it_moves_requests_between() {
        let (mut cluster, mut row) = given(&FOUR);
        let part = |name: &str, weight: f64, backends: [&str; 2]| Part {
            name: name.into(),
            weight,
            backends: backends.map(Name::from).into(),
        };
        row.balancing.split = [part("stable", 90.0, ["a", "b"]), part("canary", 10.0, ["c", "d"])].into();
        cluster.derived.traffic = [Arc::new(row)].into();
        let shift = |from: &str, to: &str| WeightShift {
            kind: Kind::VirtualService,
            namespace: "shop".into(),
            route: "web".into(),
            from: from.into(),
            to: to.into(),
            steps: vec![100],
        };
        let worse = |from: &str, to: &str| shifted(&cluster, &shift(from, to)).and_then(|c| c.worse());
        assert_eq!(worse("web/stable", "web/canary").unwrap().errors, Some((0.1, 0.0)));
        assert_eq!(worse("web/canary", "web/stable"), None, "away from the worse one");
        assert_eq!(worse("other/stable", "other/canary"), None, "another Service");
        assert_eq!(worse("web/stable", "web/none"), None);
    }

    #[test]
    fn what_is_not_measured_is_not_zero() {
        let (cluster, mut row) = given(&FOUR);
        let traffic = Arc::make_mut(&mut row.traffic);
        traffic.backends = [].into();
        row.shares.backends = Vec::new();
        let zones = slices(&cluster, &row, By::Zone);
        assert_eq!(zones.slices.len(), 2);
        assert!(zones.slices.iter().all(|s| (s.rps, s.error_ratio, s.observed) == (None, None, None)));
    }
}
