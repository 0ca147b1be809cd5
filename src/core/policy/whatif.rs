//! What happens to the traffic of a service if its backends change: predicted shares, requests per backend, and what
//! would break first. Nothing is sent to the cluster.

mod breaks;
mod effect;
mod model;

use std::collections::BTreeSet;

pub use self::effect::{Leaving, service_effect};
use self::model::Model;
use crate::domain::id::Name;
pub use crate::domain::traffic::Break;
use crate::domain::traffic::Policy;
use crate::facts::world::{Cluster, TrafficRow};

/// A change that is assumed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Without this backend.
    Drop(Name),
    /// With as many more backends like the others (in this part of the route, if it is split).
    Add { count: u32, part: Option<Name> },
    /// Without the backends on this node.
    DropNode(Name),
    /// Without the backends in this zone.
    DropZone(Name),
    /// With another weight of one backend.
    Weight { backend: Name, weight: f64 },
    /// With another weight of a part of the route.
    PartWeight { part: Name, weight: f64 },
}

/// The traffic of a service after a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Requests per second of the whole service. None are lost, unless a part of the route has no backend left.
    pub rps: Option<f64>,
    /// The backends before and after, in the order of the service. Dropped ones have share 0, added ones come last.
    pub backends: Vec<Predicted>,
    /// What goes beyond a limit after the change, the worst first.
    pub breaks: Vec<Break>,
    /// Why numbers are missing.
    pub unknown: Vec<Missing>,
}

/// One backend before and after the change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicted {
    pub name: Name,
    /// Whether the change adds this backend.
    pub added: bool,
    /// The share of the requests before the change: the observed one or, if it is not measured, the expected one.
    pub share_before: Option<f64>,
    pub share_after: Option<f64>,
    pub rps_before: Option<f64>,
    pub rps_after: Option<f64>,
    /// The CPU usage in thousandths of a core. It grows with the requests.
    pub cpu_before: Option<f64>,
    pub cpu_after: Option<f64>,
    /// CPU after the change as a part of the pod's request, 1.0 = all of it.
    pub of_request: Option<f64>,
    /// CPU after the change as a part of the pod's limit.
    pub of_limit: Option<f64>,
    /// Requests per second after the change as a part of the most that one backend was seen to carry.
    pub of_most: Option<f64>,
}

/// A number that the prediction lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// The requests per second are not measured.
    Rps,
    /// No share is expected under this policy, so the observed shares are scaled.
    Policy,
    /// A hash or the client chooses the backend: the prediction is the mean over many clients.
    Hashed,
    /// The CPU usage of some backends is not known.
    CpuUsage,
    /// Some backends have no CPU request, or their pods are not known.
    CpuRequest,
    /// Some backends have no CPU limit, or their pods are not known.
    CpuLimit,
    /// No backend, node, zone or part has this name.
    NoSuch,
}

impl Missing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rps => "the requests per second are not measured",
            Self::Policy => "no share is expected under this policy: the observed ones are scaled",
            Self::Hashed => "a hash or the client chooses the backend: this is the mean over many clients",
            Self::CpuUsage => "the CPU usage of some backends is not known",
            Self::CpuRequest => "some backends have no CPU request, or their pods are not known",
            Self::CpuLimit => "some backends have no CPU limit, or their pods are not known",
            Self::NoSuch => "nothing has this name: nothing changes",
        }
    }
}

/// Predicts the traffic of a service after the changes.
///
/// The shares follow the policy. A backend that gets more or less than its share now keeps that factor, and the sum stays
/// the same. CPU grows in proportion to the requests.
pub fn predict(cluster: &Cluster, row: &TrafficRow, changes: &[Change]) -> Prediction {
    let mut model = Model::of(cluster, row);
    let mut missing = BTreeSet::new();
    for change in changes {
        if !model.apply(change) {
            missing.insert(Missing::NoSuch);
        }
    }
    let rps = row.traffic.rps.or_else(|| model.measured()).filter(|rps| rps.is_finite());
    if rps.is_none() {
        missing.insert(Missing::Rps);
    }
    if matches!(model.balancing.policy, Policy::ByClient | Policy::ByRequest | Policy::ByName) {
        missing.insert(Missing::Hashed);
    }
    let (shares, is_expected) = model.shares(rps);
    if !is_expected {
        missing.insert(Missing::Policy);
    }
    let cost = model.cost();
    let mut backends: Vec<Predicted> = Vec::new();
    for (member, share) in model.members.iter().zip(shares) {
        let rps_after = share.zip(rps).map(|(share, rps)| share * rps);
        let cpu_after = match (member.cpu, member.rps.filter(|r| *r > 0.0), rps_after) {
            (_, _, Some(0.0)) => Some(0.0),
            (Some(cpu), Some(before), Some(after)) => Some(cpu * after / before),
            (_, _, Some(after)) => cost.map(|cost| cost * after),
            _ => None,
        };
        let part = |of: Option<f64>| cpu_after.zip(of.filter(|of| *of > 0.0)).map(|(cpu, of)| cpu / of);
        backends.push(Predicted {
            name: member.name.clone(),
            added: member.added,
            share_before: member.share,
            share_after: share,
            rps_before: member.rps,
            rps_after,
            cpu_before: member.cpu,
            cpu_after,
            of_request: part(member.request),
            of_limit: part(member.limit),
            of_most: rps_after.zip(row.shares.most_rps.filter(|m| *m > 0.0)).map(|(rps, most)| rps / most),
        });
    }
    let stays = |p: &&Predicted| p.share_after.is_none_or(|share| share > 0.0);
    let lacks = |of: fn(&Predicted) -> bool| backends.iter().filter(stays).any(of);
    for (what, is_missing) in [
        (Missing::CpuUsage, lacks(|p| p.cpu_after.is_none())),
        (Missing::CpuRequest, model.members.iter().any(|m| !m.gone && m.request.is_none())),
        (Missing::CpuLimit, model.members.iter().any(|m| !m.gone && m.limit.is_none())),
    ] {
        if is_missing {
            missing.insert(what);
        }
    }
    let breaks = breaks::breaks(&model, &backends, row.shares.most_rps);
    Prediction { rps, backends, breaks, unknown: missing.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::{Uid, Version};
    use crate::domain::pod::{Pod, PodShape};
    use crate::domain::quantity::Resources;
    use crate::domain::service::{Endpoint, EndpointSlice};
    use crate::domain::time::Stamp;
    use crate::domain::traffic::{BackendTraffic, Balancing, Part, ServiceTraffic, Shares};
    use crate::domain::usage::PodUsage;
    use crate::facts::table::Rows;
    use crate::facts::world::ServiceRow;
    use crate::policy::shares;

    /// A service of backends a, b, c … with these requests per second. Each request costs 10 thousandths of a core; a pod
    /// requests 500 and may use 1000.
    fn given(policy: Policy, rates: &[f64], split: &[Part]) -> (Cluster, TrafficRow) {
        let name = |i: usize| Name::from(char::from(b'a' + i as u8).to_string());
        let mut pods: Rows<Pod> = Rows::default();
        let mut cluster = Cluster::default();
        let mut usage = std::collections::HashMap::new();
        for (i, rps) in rates.iter().enumerate() {
            pods.upsert(Pod {
                uid: Uid::parse(&name(i)),
                version: Version(1),
                namespace: "shop".into(),
                name: name(i),
                requests: Resources { cpu_milli: 500, ..Resources::default() },
                shape: Arc::new(PodShape { cpu_limit_milli: 1_000, ..PodShape::default() }),
                ..Pod::default()
            });
            let used = PodUsage {
                namespace: "shop".into(),
                pod: name(i),
                cpu_milli: (rps * 10.0) as i64,
                memory_bytes: 0,
                at: Stamp(0),
            };
            usage.insert(("shop".into(), name(i)), used);
        }
        cluster.tables.pods = pods.table().clone();
        cluster.pod_usage = Arc::new(usage);
        let endpoint = |i: usize| Endpoint {
            pod: Some(name(i)),
            ready: true,
            node: Some(format!("n{i}").into()),
            zone: Some(if i.is_multiple_of(2) { "even" } else { "odd" }.into()),
            ..Endpoint::default()
        };
        let slice =
            EndpointSlice { endpoints: (0..rates.len()).map(endpoint).collect(), ..EndpointSlice::default() };
        let endpoints = Arc::new(ServiceRow::new(Arc::default(), [Arc::new(slice)].into(), Arc::default()));
        let backend = |(i, rps): (usize, &f64)| BackendTraffic {
            name: name(i),
            rps: Some(*rps),
            mean_ms: Some(10.0),
            weight: Some(1.0 + i as f64),
            ..BackendTraffic::default()
        };
        let traffic = ServiceTraffic {
            namespace: "shop".into(),
            name: "web".into(),
            window_secs: 60,
            rps: Some(rates.iter().sum()),
            backends: rates.iter().enumerate().map(backend).collect(),
            ..ServiceTraffic::default()
        };
        let balancing = Balancing { policy, split: split.to_vec().into(), ..Balancing::default() };
        let judged = shares::judge(&traffic, &balancing, Some(&endpoints), Stamp(0));
        let shares = shares::over_time(judged, &traffic, &balancing, None, Stamp(0));
        (
            cluster,
            TrafficRow {
                traffic: Arc::new(traffic),
                endpoints: Some(endpoints),
                balancing,
                shares,
                ..TrafficRow::default()
            },
        )
    }

    fn part(name: &str, weight: f64, backends: &[&str]) -> Part {
        Part { name: name.into(), weight, backends: backends.iter().map(|b| Name::from(*b)).collect() }
    }

    fn after(prediction: &Prediction) -> Vec<f64> {
        prediction.backends.iter().map(|p| (p.rps_after.unwrap() * 100.0).round() / 100.0).collect()
    }

    #[test]
    fn the_others_carry_what_a_dropped_backend_carried() {
        let (cluster, row) = given(Policy::RoundRobin, &[30.0, 30.0, 30.0], &[]);
        let now = predict(&cluster, &row, &[]);
        assert_eq!((after(&now), now.breaks.len()), (vec![30.0, 30.0, 30.0], 0));
        let left = predict(&cluster, &row, &[Change::Drop("b".into())]);
        assert_eq!(after(&left), [45.0, 0.0, 45.0]);
        let a = &left.backends[0];
        assert_eq!(
            (a.cpu_before, a.cpu_after, a.of_request, a.of_limit),
            (Some(300.0), Some(450.0), Some(0.9), Some(0.45))
        );
        assert_eq!(left.unknown, []);
        assert_eq!(left.breaks, [Break::OverMost { backend: "c".into(), times: 1.5, most_rps: 30.0 }]);
        let one = predict(&cluster, &row, &[Change::DropNode("n0".into()), Change::DropZone("odd".into())]);
        assert_eq!(after(&one), [0.0, 0.0, 90.0]);
        let codes: Vec<_> = one.breaks.iter().map(Break::code).collect();
        assert_eq!(codes, ["slow", "over-cpu-request", "over-most-rps"], "{:?}", one.breaks);
        let none =
            predict(&cluster, &row, &[Change::DropZone("odd".into()), Change::DropZone("even".into())]);
        assert_eq!(none.breaks, [Break::NoBackend]);
        assert_eq!(predict(&cluster, &row, &[Change::Drop("x".into())]).unknown, [Missing::NoSuch]);
    }

    #[test]
    fn a_new_backend_takes_its_share() {
        let (cluster, row) = given(Policy::RoundRobin, &[30.0, 30.0], &[]);
        let more = predict(&cluster, &row, &[Change::Add { count: 2, part: None }]);
        assert_eq!(after(&more), [15.0, 15.0, 15.0, 15.0]);
        let new = &more.backends[3];
        assert!(new.added && new.rps_before.is_none());
        assert_eq!((new.cpu_after, new.of_request), (Some(150.0), Some(0.3)), "as the others");
    }

    #[test]
    fn a_backend_that_gets_more_than_its_share_keeps_that_factor() {
        // a gets twice its share of a third.
        let (cluster, row) = given(Policy::RoundRobin, &[60.0, 15.0, 15.0], &[]);
        assert_eq!(after(&predict(&cluster, &row, &[Change::Drop("c".into())])), [72.0, 18.0, 0.0]);
    }

    #[test]
    fn weights_of_backends_and_of_parts() {
        let (cluster, row) = given(Policy::Weighted, &[10.0, 20.0, 30.0], &[]);
        let weight = |backend: &str, weight: f64| Change::Weight { backend: backend.into(), weight };
        assert_eq!(after(&predict(&cluster, &row, &[weight("a", 5.0)])), [30.0, 12.0, 18.0]);
        assert_eq!(after(&predict(&cluster, &row, &[weight("a", 0.0)])), [0.0, 24.0, 36.0]);
        let split = [part("web", 90.0, &["a", "b"]), part("canary", 10.0, &["c"])];
        let (cluster, row) = given(Policy::RoundRobin, &[45.0, 45.0, 10.0], &split);
        let shift = |weight: f64| Change::PartWeight { part: "canary".into(), weight };
        assert_eq!(after(&predict(&cluster, &row, &[shift(90.0)])), [25.0, 25.0, 50.0]);
        assert_eq!(after(&predict(&cluster, &row, &[shift(0.0)])), [50.0, 50.0, 0.0]);
        let gone = predict(&cluster, &row, &[Change::Drop("c".into())]);
        assert_eq!(after(&gone), [45.0, 45.0, 0.0], "what goes to an empty part is lost");
        assert_eq!(gone.breaks, [Break::EmptyPart { part: "canary".into(), share: 0.1 }]);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let (mut cluster, row) = given(Policy::Unknown, &[30.0, 60.0, 10.0], &[]);
        cluster.pod_usage = Arc::default();
        cluster.tables.pods = Rows::default().table().clone();
        let left = predict(&cluster, &row, &[Change::Drop("c".into())]);
        assert_eq!(
            left.backends[0].share_after.map(|s| (s * 3.0).round()),
            Some(1.0),
            "the observed ones are scaled"
        );
        assert_eq!(
            left.unknown,
            [Missing::Policy, Missing::CpuUsage, Missing::CpuRequest, Missing::CpuLimit]
        );
        assert_eq!((left.backends[0].cpu_after, left.backends[0].of_limit), (None, None));
        // Only the whole service is measured.
        let (cluster, mut row) = given(Policy::Random, &[30.0, 60.0, 30.0], &[]);
        Arc::make_mut(&mut row.traffic).backends = [].into();
        row.shares = Shares::default();
        assert_eq!(after(&predict(&cluster, &row, &[Change::Drop("c".into())])), [60.0, 60.0, 0.0]);
    }

    proptest! {
        /// The requests move and none are lost, as long as a backend is left.
        #[test]
        fn the_sum_stays(
            rates in prop::collection::vec(0.1f64..1000.0, 2..9),
            drop in prop::collection::vec(0usize..9, 0..9),
            policy in prop::sample::select(vec![Policy::RoundRobin, Policy::Weighted, Policy::LeastConnections, Policy::Unknown, Policy::ByClient]),
        ) {
            let (cluster, row) = given(policy, &rates, &[]);
            let changes: Vec<Change> =
                drop.iter().map(|i| Change::Drop(char::from(b'a' + *i as u8).to_string().into())).collect();
            let predicted = predict(&cluster, &row, &changes);
            let sum: f64 = predicted.backends.iter().filter_map(|p| p.rps_after).sum();
            if predicted.breaks.contains(&Break::NoBackend) {
                prop_assert!(sum.abs() < f64::EPSILON, "{sum}");
            } else {
                let total: f64 = rates.iter().sum();
                prop_assert!((sum - total).abs() < 1e-6 * total, "{sum} of {total}");
                prop_assert!(predicted.backends.iter().all(|p| p.share_after.is_some_and(|s| (0.0..=1.0 + 1e-9).contains(&s))));
            }
        }
    }
}
