//! The expected and the observed distribution of traffic, and whether the difference is significant.
//!
//! The expected share is 1/N under round robin and random, W_i / sum W under weights, and (w_i/T_i) / sum under least
//! connections and response time (Little's law). A verdict needs an effect (25 % difference) and evidence (z beyond
//! its 99 % bound, corrected for the number of backends).

use std::collections::{HashMap, HashSet};

use crate::domain::id::Name;
use crate::domain::time::Stamp;
use crate::domain::traffic::{
    BackendTraffic, Balancing, Policy, ServiceTraffic, Share, Shares, Standing, Unjudged,
};
use crate::facts::world::ServiceRow;

/// A smaller difference gets no mark, even if it is significant.
const EFFECT: f64 = 0.25;

/// A backend below this part of its share gets a mark, even if another one gets too much.
const LITTLE: f64 = 0.5;

/// Returns true if an endpoint is so recent that the rates at `at` do not cover a whole window. Half a window is
/// added, because the first scrape may have been late.
pub fn is_new(service: &ServiceTraffic, row: &ServiceRow, pod: &str, at: Stamp) -> bool {
    row.came_at(pod).is_some_and(|came| at.since(came) < settled_ms(service.window_secs))
}

/// Returns the age in milliseconds at which an endpoint's rates cover a whole window of this length.
pub const fn settled_ms(window_secs: u32) -> u64 {
    window_secs as u64 * 1_500
}

/// The ready endpoints without measurements. The arriving ones are too recent to have any.
#[derive(Default)]
struct Unmeasured {
    silent: Vec<Name>,
    arriving: Vec<Name>,
}

/// Returns which backends are out of rotation or new, in their order, and the endpoints without measurements.
///
/// `row` has the Service's current endpoints. They count only if the source's backends are the Service's pods. A
/// proxy's servers have other names, so the endpoints do not describe them.
fn aside(service: &ServiceTraffic, row: Option<&ServiceRow>, at: Stamp) -> (Vec<Share>, Unmeasured) {
    let endpoints = || row.into_iter().flat_map(|r| r.slices.iter()).flat_map(|s| s.endpoints.iter());
    // Like in kube-proxy, if no endpoint is ready, the requests go to those that are terminating and still serving.
    let any_ready = endpoints().any(|e| e.ready);
    let mut gets_requests: HashMap<&Name, bool> = HashMap::new();
    for endpoint in endpoints() {
        if let Some(pod) = &endpoint.pod {
            let last_ones = !any_ready && endpoint.serving && endpoint.terminating;
            // A pod has one endpoint for each address family.
            *gets_requests.entry(pod).or_default() |= endpoint.ready || last_ones;
        }
    }
    let by_pod = service.backends.iter().any(|b| gets_requests.contains_key(&b.name));
    let in_rotation = |b: &BackendTraffic| !by_pod || gets_requests.get(&b.name) == Some(&true);
    let is_new = |pod: &str| row.is_some_and(|row| is_new(service, row, pod, at));
    let shares = service.backends.iter().map(|b| {
        let out = b.up == Some(false) || !in_rotation(b);
        Share { out, new: !out && is_new(&b.name), ..Share::default() }
    });
    let shares = shares.collect();
    let measured: HashSet<&Name> = service.backends.iter().map(|b| &b.name).collect();
    let ready = gets_requests.into_iter().filter(|(pod, gets)| *gets && !measured.contains(pod));
    let mut unmeasured = Unmeasured::default();
    for (pod, _) in ready {
        if is_new(pod) {
            unmeasured.arriving.push(pod.clone());
        } else if by_pod && any_ready {
            unmeasured.silent.push(pod.clone());
        }
    }
    // A map has no fixed order.
    unmeasured.silent.sort();
    unmeasured.arriving.sort();
    (shares, unmeasured)
}

/// Returns the weight of a backend relative to one with weight 1. The number of backends is not considered yet.
fn weight(policy: Policy, backend: &BackendTraffic) -> Option<f64> {
    match policy {
        Policy::RoundRobin | Policy::Random | Policy::ByClient | Policy::ByRequest | Policy::ByName => {
            Some(1.0)
        }
        Policy::Weighted => backend.weight.filter(|w| w.is_finite() && *w >= 0.0),
        Policy::LeastConnections | Policy::ResponseTime => {
            let time = backend.mean_ms.filter(|t| t.is_finite() && *t > 0.0)?;
            Some(backend.weight.unwrap_or(1.0) / time)
        }
        Policy::Unknown => None,
    }
}

/// Calculates the shares of the settled backends in rotation, as parts of their sum. `at` is the time of the
/// measurement.
///
/// A backend out of rotation has no share and expects none. A backend that became ready within the rate window has a
/// rate that is too low. It can be marked for too much traffic, but never for too little. Its share is calculated
/// from its own rate and those of the settled backends.
pub fn judge(
    service: &ServiceTraffic,
    balancing: &Balancing,
    row: Option<&ServiceRow>,
    at: Stamp,
) -> Shares {
    let policy = balancing.policy;
    let (aside, Unmeasured { silent, arriving }) = aside(service, row, at);
    let all = || service.backends.iter().zip(&aside);
    let settled = || all().filter(|(_, share)| !share.out && !share.new);
    let total: f64 = settled().filter_map(|(b, _)| b.rps).sum();
    // If the weight of one settled backend is missing, no share can be expected. A backend out of rotation needs no
    // weight.
    let whole = settled().all(|(b, _)| weight(policy, b).is_some());
    let sum: f64 = settled().filter_map(|(b, _)| weight(policy, b)).sum();
    let window = f64::from(service.window_secs);
    let k = settled().count();
    let bound = critical(0.01 / (2.0 * k.max(1) as f64));
    let hashed = matches!(policy, Policy::ByClient | Policy::ByRequest | Policy::ByName);
    let mut short = false;
    let mut backends: Vec<Share> = all()
        .map(|(backend, aside)| {
            let weight = if aside.out { Some(0.0) } else { weight(policy, backend) }.filter(|_| whole);
            let (total, sum) = if aside.new {
                (total + backend.rps.unwrap_or(0.0), sum + weight.unwrap_or(0.0))
            } else {
                (total, sum)
            };
            let n = total * window;
            let observed = backend.rps.filter(|_| !aside.out && total > 0.0).map(|rps| rps / total);
            let expected = weight.filter(|_| sum > 0.0).map(|w| w / sum);
            let significant = match (observed, expected) {
                (Some(o), Some(p)) if p > 0.0 && p < 1.0 => {
                    if n * p < 5.0 {
                        short |= !aside.new;
                        None
                    } else if hashed {
                        None
                    } else {
                        let z = (n * o - n * p) / (n * p * (1.0 - p)).sqrt();
                        Some((o / p - 1.0).abs() >= EFFECT && z.abs() >= bound)
                    }
                }
                (Some(o), Some(0.0)) => Some(o * n >= 5.0),
                // The only backend gets all requests.
                _ => None,
            };
            let much = significant == Some(true) && observed > expected;
            if aside.new && !much {
                return *aside;
            }
            Share { observed, expected, significant, ..*aside }
        })
        .collect();
    let is_heavy = |share: &Share| share.significant == Some(true) && share.observed > share.expected;
    let any_heavy = backends.iter().any(is_heavy);
    for share in &mut backends {
        let gets_little = share.observed < share.expected.map(|expected| expected * LITTLE);
        share.marked = share.significant == Some(true) && (!any_heavy || is_heavy(share) || gets_little);
        share.standing = match share.significant {
            None => Standing::NotJudged,
            Some(false) => Standing::Even,
            Some(true) if is_heavy(share) => Standing::Over,
            Some(true) => Standing::Under,
        };
    }
    let new = aside.iter().filter(|share| share.new).count();
    let note = if policy == Policy::Unknown {
        Some(Unjudged::UnknownPolicy)
    } else if !whole {
        Some(Unjudged::NoWeights)
    } else if hashed {
        Some(Unjudged::Hashed(policy))
    } else if new > 0 && k == 0 {
        Some(Unjudged::AllNew)
    } else if short {
        Some(Unjudged::TooFew { have: total * window, need: 5.0 * k as f64 })
    } else if !silent.is_empty() {
        Some(Unjudged::Silent(silent.len()))
    } else if new > 0 {
        Some(Unjudged::New(new))
    } else {
        None
    };
    Shares { backends, silent, arriving, note, ..Shares::default() }
}

/// Returns the z beyond which a two-sided normal deviate has probability `2 * tail` (Abramowitz & Stegun 26.2.23,
/// accurate to 4.5e-4, which is enough here).
fn critical(tail: f64) -> f64 {
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - above / below
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::balancing;
    use super::{Shares, Unjudged, critical};
    use crate::domain::service::{Endpoint, EndpointSlice};
    use crate::domain::time::Stamp;
    use crate::domain::traffic::{BackendTraffic, Policy, ServiceTraffic};
    use crate::facts::world::ServiceRow;

    /// The time of all measurements.
    const AT: Stamp = Stamp(1_000_000);

    fn judge(service: &ServiceTraffic, row: Option<&ServiceRow>) -> Shares {
        super::judge(service, &balancing::of(service), row, AT)
    }

    fn service(policy: Policy, backends: &[(f64, f64, f64)]) -> ServiceTraffic {
        ServiceTraffic {
            policy,
            window_secs: 60,
            backends: backends
                .iter()
                .map(|(rps, weight, mean)| BackendTraffic {
                    rps: Some(*rps),
                    weight: Some(*weight),
                    mean_ms: Some(*mean),
                    ..BackendTraffic::default()
                })
                .collect::<Arc<[_]>>(),
            ..ServiceTraffic::default()
        }
    }

    #[test]
    fn one_over_n_and_weights() {
        let s = judge(&service(Policy::RoundRobin, &[(10.0, 1.0, 1.0), (10.0, 9.0, 1.0)]), None);
        assert_eq!(s.backends[1].expected, Some(0.5));
        let s = judge(
            &service(Policy::Weighted, &[(50.0, 50.0, 1.0), (30.0, 30.0, 1.0), (20.0, 20.0, 1.0)]),
            None,
        );
        assert_eq!(s.backends.iter().map(|b| b.expected.unwrap()).collect::<Vec<_>>(), [0.5, 0.3, 0.2]);
        assert!(s.backends.iter().all(|b| b.significant == Some(false)));
    }

    /// Returns the Service's endpoints, from names and readiness.
    fn row(endpoints: &[(&str, bool)]) -> ServiceRow {
        let endpoint = |(name, ready): &(&str, bool)| Endpoint {
            pod: Some((*name).into()),
            ready: *ready,
            ..Endpoint::default()
        };
        let slice =
            EndpointSlice { endpoints: endpoints.iter().map(endpoint).collect(), ..EndpointSlice::default() };
        ServiceRow { slices: Arc::from([Arc::new(slice)]), ..ServiceRow::default() }
    }

    fn named(rates: &[(&str, f64)]) -> ServiceTraffic {
        let backends = rates.iter().map(|(name, rps)| BackendTraffic {
            name: (*name).into(),
            rps: Some(*rps),
            ..BackendTraffic::default()
        });
        ServiceTraffic { window_secs: 60, backends: backends.collect(), ..ServiceTraffic::default() }
    }

    #[test]
    fn what_left_the_endpoints_is_out_and_the_rest_share_what_they_get() {
        // The samples of d are from before it was taken out of rotation. The endpoint c is not ready.
        let s = named(&[("a", 20.0), ("b", 20.0), ("c", 12.0), ("d", 15.0)]);
        let judged = judge(&s, Some(&row(&[("a", true), ("b", true), ("c", false)])));
        let expected: Vec<_> = judged.backends.iter().map(|b| b.expected.unwrap()).collect();
        assert_eq!(expected, [0.5, 0.5, 0.0, 0.0]);
        assert_eq!(judged.backends.iter().map(|b| b.out).collect::<Vec<_>>(), [false, false, true, true]);
        assert_eq!(judged.backends[0].observed, Some(0.5));
        assert_eq!((judged.backends[3].observed, judged.backends[3].significant), (None, None));
        assert!(judged.backends[..2].iter().all(|b| b.significant == Some(false)), "{judged:?}");
    }

    #[test]
    fn who_has_just_come_is_not_judged_by_half_a_window() {
        let mut row = row(&[("a", true), ("b", true), ("c", true), ("d", true)]);
        row.came = Arc::from([("c".into(), Stamp(AT.0 - 89_000)), ("d".into(), Stamp(AT.0 - 90_000))]);
        let judged = judge(&named(&[("a", 30.0), ("b", 30.0), ("c", 12.0), ("d", 30.0)]), Some(&row));
        assert_eq!(judged.backends.iter().map(|b| b.new).collect::<Vec<_>>(), [false, false, true, false]);
        let third = Some(1.0 / 3.0);
        assert_eq!((judged.backends[0].expected, judged.backends[0].observed), (third, third));
        let new = judged.backends[2];
        assert_eq!((new.expected, new.observed, new.significant, new.out), (None, None, None, false));
        let flooded = judge(&named(&[("a", 30.0), ("b", 30.0), ("c", 90.0), ("d", 30.0)]), Some(&row));
        let new = flooded.backends[2];
        assert_eq!((new.new, new.significant, new.observed), (true, Some(true), Some(0.5)), "{flooded:?}");
        row.came = ["a", "b", "c", "d"].map(|pod| (pod.into(), AT)).into();
        let judged = judge(&named(&[("a", 3.0), ("b", 9.0), ("c", 12.0), ("d", 30.0)]), Some(&row));
        assert!(judged.backends.iter().all(|b| b.new && b.significant.is_none()));
        assert!(matches!(judged.note, Some(Unjudged::AllNew)));
    }

    #[test]
    fn one_that_is_new_and_has_no_times_yet_takes_no_verdict_from_the_others() {
        let mut seen = named(&[("a", 30.0), ("b", 90.0), ("c", 12.0)]);
        let timed = seen
            .backends
            .iter()
            .map(|b| BackendTraffic { mean_ms: (b.name != "c").then_some(10.0), ..b.clone() });
        (seen.backends, seen.policy) = (timed.collect(), Policy::LeastConnections);
        let mut row = row(&[("a", true), ("b", true), ("c", true)]);
        assert!(judge(&seen, Some(&row)).backends.iter().all(|b| b.significant.is_none()));
        row.came = Arc::from([("c".into(), AT)]);
        let judged = judge(&seen, Some(&row));
        assert_eq!(
            judged.backends.iter().map(|b| b.significant).collect::<Vec<_>>(),
            [Some(true), Some(true), None]
        );
    }

    #[test]
    fn a_ready_endpoint_of_which_nothing_is_measured_is_silent() {
        let mut row = row(&[("a", true), ("b", true), ("c", true), ("d", false)]);
        let seen = named(&[("a", 30.0), ("b", 30.0)]);
        let judged = judge(&seen, Some(&row));
        assert_eq!(judged.silent, ["c"]);
        assert!(judged.note == Some(Unjudged::Silent(1)));
        row.came = Arc::from([("c".into(), AT)]);
        assert_eq!(judge(&seen, Some(&row)).silent, [""; 0], "it has not had the time");
        let alone = judge(&named(&[("a", 30.0), ("d", 1.0)]), Some(&self::row(&[("a", true), ("d", false)])));
        assert_eq!(alone.backends[0].significant, None, "the only one gets all");
    }

    #[test]
    fn where_none_is_ready_those_that_end_and_serve_still_get_the_requests() {
        let mut row = row(&[("a", false), ("b", false)]);
        let mut slice = EndpointSlice::clone(&row.slices[0]);
        let mut endpoints = slice.endpoints.to_vec();
        (endpoints[0].serving, endpoints[0].terminating) = (true, true);
        slice.endpoints = endpoints.into();
        row.slices = Arc::from([Arc::new(slice)]);
        let judged = judge(&named(&[("a", 20.0), ("b", 5.0)]), Some(&row));
        assert_eq!(judged.backends.iter().map(|b| b.out).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn who_has_less_only_because_another_has_too_much_is_not_marked() {
        let marked = |rates: &[f64]| -> Vec<bool> {
            let rates: Vec<_> = rates.iter().map(|rps| (*rps, 1.0, 1.0)).collect();
            judge(&service(Policy::RoundRobin, &rates), None).backends.iter().map(|b| b.marked).collect()
        };
        assert_eq!(marked(&[100.0, 33.0, 33.0, 33.0]), [true, false, false, false]);
        assert_eq!(marked(&[100.0, 33.0, 33.0, 5.0]), [true, false, false, true]);
        assert_eq!(marked(&[40.0, 40.0, 40.0, 40.0, 5.0]), [false, false, false, false, true]);
    }

    #[test]
    fn endpoints_say_nothing_of_servers_under_other_names() {
        let s = named(&[("SRV_1", 20.0), ("SRV_2", 20.0)]);
        let judged = judge(&s, Some(&row(&[("a", true), ("b", false)])));
        assert!(judged.backends.iter().all(|b| !b.out && b.expected == Some(0.5)), "{judged:?}");
        let ready_in_one_family = row(&[("a", false), ("a", true), ("b", true)]);
        let judged = judge(&named(&[("a", 1.0), ("b", 1.0)]), Some(&ready_in_one_family));
        assert!(judged.backends.iter().all(|b| !b.out), "{judged:?}");
    }

    #[test]
    fn a_slow_backend_with_a_smaller_share_is_right_under_least_connections() {
        let s = judge(
            &service(Policy::LeastConnections, &[(45.0, 1.0, 10.0), (44.0, 1.0, 10.0), (11.0, 1.0, 40.0)]),
            None,
        );
        assert!((s.backends[2].expected.unwrap() - 0.111).abs() < 0.001);
        assert!(s.backends.iter().all(|b| b.significant == Some(false)));
    }

    #[test]
    fn effect_and_evidence() {
        // 10,000 requests split 3700/3300/3000 are significant, but the difference is only 11 %, so there is no mark.
        let per = |n: f64| (n / 60.0, 1.0, 1.0);
        let s = judge(&service(Policy::RoundRobin, &[per(3700.0), per(3300.0), per(3000.0)]), None);
        assert!(s.backends.iter().all(|b| b.significant == Some(false)));
        let s = judge(&service(Policy::RoundRobin, &[per(5000.0), per(3000.0), per(2000.0)]), None);
        assert_eq!(s.backends[0].significant, Some(true));
        let s = judge(&service(Policy::RoundRobin, &[per(5.0), per(3.0), per(2.0)]), None);
        assert_eq!(s.backends[0].significant, None);
        assert!(matches!(s.note, Some(Unjudged::TooFew { .. })));
    }

    #[test]
    fn the_bound_is_the_normal_one() {
        assert!((critical(0.025) - 1.96).abs() < 0.001);
        assert!((critical(0.005) - 2.576).abs() < 0.001);
    }

    proptest! {
        #[test]
        fn shares_sum_to_one(rates in prop::collection::vec((0.0f64..1000.0, 0.1f64..100.0, 0.1f64..500.0), 1..12)) {
            for policy in [Policy::RoundRobin, Policy::Weighted, Policy::LeastConnections] {
                let s = judge(&service(policy, &rates), None);
                let expected: f64 = s.backends.iter().filter_map(|b| b.expected).sum();
                prop_assert!((expected - 1.0).abs() < 1e-9);
                if rates.iter().any(|r| r.0 > 0.0) {
                    let observed: f64 = s.backends.iter().filter_map(|b| b.observed).sum();
                    prop_assert!((observed - 1.0).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn nothing_breaks_it(rates in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>()), 0..5)) {
            judge(&service(Policy::Weighted, &rates), None);
        }
    }
}
