//! The expected and the observed distribution of traffic, and whether the difference is significant.
//!
//! The expected share is 1/N under round robin and random, and W_i / sum W under weights. Under least connections it
//! depends on the response times ([`expected`]). If a route splits the requests, it is the share of the part, distributed
//! over the part's backends. A verdict needs an effect and evidence ([`evidence`]), and it must last ([`history`]).

mod evidence;
mod expected;
mod history;

use self::evidence::{EFFECT, FEWEST, Gap};
pub use self::expected::expected;
use self::expected::{Expected, levels};
pub use self::history::over_time;
use crate::domain::id::Name;
use crate::domain::time::Stamp;
use crate::domain::traffic::{BackendTraffic, Balancing, Policy, ServiceTraffic, Share, Shares, Unjudged};
use crate::facts::world::ServiceRow;

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
    let pods = row.map_or(&[][..], |row| &*row.pods);
    let places: Vec<Option<usize>> = places(&service.backends, pods).collect();
    let by_pod = places.iter().any(Option::is_some);
    let gets_requests =
        |place: &Option<usize>| place.and_then(|at| pods.get(at)).is_some_and(|(_, gets)| *gets);
    let is_new = |pod: &str| row.is_some_and(|row| is_new(service, row, pod, at));
    let mut is_measured = vec![false; pods.len()];
    let mut shares = Vec::with_capacity(service.backends.len());
    for (backend, place) in service.backends.iter().zip(&places) {
        let out = backend.up == Some(false) || by_pod && !gets_requests(place);
        shares.push(Share { out, new: !out && is_new(&backend.name), ..Share::default() });
        if let Some(is_measured) = place.and_then(|at| is_measured.get_mut(at)) {
            *is_measured = true;
        }
    }
    let any_ready = row.is_some_and(|row| row.ready > 0);
    let mut unmeasured = Unmeasured::default();
    for ((pod, _), _) in
        pods.iter().zip(&is_measured).filter(|((_, gets), is_measured)| *gets && !**is_measured)
    {
        if is_new(pod) {
            unmeasured.arriving.push(pod.clone());
        } else if by_pod && any_ready {
            unmeasured.silent.push(pod.clone());
        }
    }
    (shares, unmeasured)
}

/// Returns the place of each backend among the pods. Most sources order their backends by name as well, so the next backend
/// is usually the next pod.
fn places<'a>(
    backends: &'a [BackendTraffic],
    pods: &'a [(Name, bool)],
) -> impl Iterator<Item = Option<usize>> {
    let mut next = 0;
    backends.iter().map(move |backend| {
        let is_next = pods.get(next).is_some_and(|(pod, _)| *pod == backend.name);
        let place =
            if is_next { Some(next) } else { pods.binary_search_by(|(pod, _)| pod.cmp(&backend.name)).ok() };
        next = place.map_or(next, |place| place + 1);
        place
    })
}

/// Calculates the shares of the settled backends in rotation, as parts of their sum, and judges them by this poll alone.
/// `at` is the time of the measurement.
///
/// A backend out of rotation has no share and expects none. A backend that became ready within the rate window has a
/// rate that is too low. It can be marked for too much traffic, but never for too little. Its share is calculated
/// from its own rate and those of the settled backends.
pub fn judge(service: &ServiceTraffic, balancing: &Balancing, row: Option<&ServiceRow>, at: Stamp) -> Shares {
    let policy = balancing.policy;
    let (mut backends, Unmeasured { silent, arriving }) = aside(service, row, at);
    let backend = |i: &usize| service.backends.get(*i);
    let settled: Vec<usize> =
        backends.iter().enumerate().filter(|(_, share)| !share.out && !share.new).map(|(i, _)| i).collect();
    let new = backends.iter().filter(|share| share.new).count();
    let total: f64 = settled.iter().filter_map(|i| backend(i)?.rps).sum();
    let window = evidence::counted(service);
    let k = settled.len();
    let bound = evidence::bound(k);
    let dispersion = evidence::assumed(service, balancing, total * window);
    let is_hashed = matches!(policy, Policy::ByClient | Policy::ByRequest | Policy::ByName);
    let of = |members: &[usize]| {
        let is_expected = balancing.no_share.is_none();
        is_expected.then(|| expected(balancing, &members.iter().filter_map(backend).collect::<Vec<_>>()))?
    };
    // If the weight of one settled backend is missing, no share can be expected. A backend out of rotation needs no
    // weight.
    let shares = of(&settled);
    let mut place = 0;
    let mut smallest: Option<f64> = None;
    for (i, share) in backends.iter_mut().enumerate() {
        let rps = backend(&i).and_then(|b| b.rps);
        if share.out {
            (share.expected, share.range) = (shares.is_some().then_some(0.0), None);
            continue;
        }
        // A new backend is compared with the settled ones and itself.
        let (total, expects) = if share.new {
            let members: Vec<usize> = settled.iter().copied().chain([i]).collect();
            (total + rps.unwrap_or(0.0), of(&members).and_then(|all| all.last().copied()))
        } else {
            let expects = shares.as_ref().and_then(|all: &Vec<Expected>| all.get(place).copied());
            place += 1;
            (total, expects)
        };
        let observed = rps.filter(|_| total > 0.0).map(|rps| rps / total);
        let range = expects.map(|e| (e.low, e.high));
        let n = total * window;
        let gap = observed.zip(range).and_then(|(observed, range)| Gap::of(observed, range, n, dispersion));
        let significant = match (observed, range) {
            (Some(_), Some(_)) if is_hashed => None,
            (Some(observed), Some((_, high))) if high <= 0.0 => Some(observed * n >= FEWEST),
            (Some(_), Some((low, _))) if low < 1.0 => {
                if gap.is_none() && !share.new {
                    smallest = Some(smallest.unwrap_or(1.0).min(low));
                }
                gap.map(|gap| gap.side(EFFECT, bound) != 0)
            }
            // The only backend gets all requests.
            _ => None,
        };
        let is_much = significant == Some(true) && observed > range.map(|(_, high)| high);
        if !share.new || is_much {
            (share.observed, share.expected, share.range) = (observed, expects.map(|e| e.share), range);
            share.significant = significant;
        }
    }
    if matches!(policy, Policy::LeastConnections | Policy::ResponseTime)
        && let Some(levels) = levels(&settled.iter().filter_map(backend).collect::<Vec<_>>())
    {
        for (i, level) in settled.iter().zip(levels) {
            if let Some(share) = backends.get_mut(*i) {
                share.level = Some(level);
            }
        }
    }
    let note = if policy == Policy::Unknown {
        Some(Unjudged::UnknownPolicy)
    } else if let Some(why) = balancing.no_share {
        Some(Unjudged::NoShare(why))
    } else if new > 0 && k == 0 {
        Some(Unjudged::AllNew)
    } else if shares.is_none() && k > 0 {
        Some(Unjudged::NoWeights)
    } else if is_hashed {
        Some(Unjudged::Hashed(policy))
    } else if let Some(smallest) = smallest {
        let need = evidence::needed(smallest.max(1.0 / (4.0 * k.max(1) as f64)), k, dispersion);
        Some(Unjudged::TooFew { have: total * window, need })
    } else if !silent.is_empty() {
        Some(Unjudged::Silent(silent.len()))
    } else if new > 0 {
        Some(Unjudged::New(new))
    } else {
        None
    };
    Shares { backends, silent, arriving, note, ..Shares::default() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::balancing;
    use super::{Shares, Unjudged, over_time};
    use crate::domain::id::Name;
    use crate::domain::service::{Endpoint, EndpointSlice};
    use crate::domain::time::Stamp;
    use crate::domain::traffic::{BackendTraffic, Balancing, Part, Policy, ServiceTraffic, Standing};
    use crate::facts::world::{ServiceRow, TrafficRow};

    /// The time of all measurements.
    const AT: Stamp = Stamp(1_000_000);

    /// The verdict after several polls with the same rates, the last one at [`AT`].
    fn judge(service: &ServiceTraffic, row: Option<&ServiceRow>) -> Shares {
        polls(&[service; 4], &balancing::of(service), row)
    }

    /// The verdict after these polls, 10 seconds apart, the last one at [`AT`].
    fn polls(services: &[&ServiceTraffic], balancing: &Balancing, row: Option<&ServiceRow>) -> Shares {
        let mut before: Option<TrafficRow> = None;
        for (i, service) in services.iter().enumerate() {
            let at = AT.plus_secs(-10 * (services.len() - 1 - i) as i64);
            let shares = super::judge(service, balancing, row, at);
            let shares = over_time(shares, service, balancing, before.as_ref(), at);
            before =
                Some(TrafficRow { traffic: Arc::new((*service).clone()), shares, ..TrafficRow::default() });
        }
        before.unwrap().shares
    }

    fn service(policy: Policy, backends: &[(f64, f64, f64)]) -> ServiceTraffic {
        ServiceTraffic {
            policy,
            window_secs: 60,
            scrape_secs: 5,
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
        ServiceRow::new(Arc::default(), Arc::from([Arc::new(slice)]), Arc::default())
    }

    fn named(rates: &[(&str, f64)]) -> ServiceTraffic {
        let backends = rates.iter().map(|(name, rps)| BackendTraffic {
            name: (*name).into(),
            rps: Some(*rps),
            ..BackendTraffic::default()
        });
        ServiceTraffic {
            window_secs: 60,
            scrape_secs: 5,
            backends: backends.collect(),
            ..ServiceTraffic::default()
        }
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
            [Some(false), Some(true), None],
            "a backend with less may be busy"
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
        row = ServiceRow::new(Arc::default(), Arc::from([Arc::new(slice)]), Arc::default());
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
            &service(Policy::LeastConnections, &[(450.0, 1.0, 10.0), (440.0, 1.0, 10.0), (110.0, 1.0, 40.0)]),
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
    fn a_difference_must_last_and_ends_below_a_smaller_one() {
        let of =
            |first: f64| service(Policy::Random, &[(first, 1.0, 1.0), (100.0, 1.0, 1.0), (100.0, 1.0, 1.0)]);
        let (over, less) = (of(160.0), of(124.0));
        let strong = service(Policy::Random, &[(2.2, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)]);
        let standing =
            |polled: &[&ServiceTraffic]| polls(polled, &balancing::of(polled[0]), None).backends[0].standing;
        assert_eq!(standing(&[&over; 2]), Standing::Suspect);
        assert_eq!(standing(&[&over; 3]), Standing::Over);
        assert_eq!(standing(&[&strong]), Standing::Suspect);
        assert_eq!(standing(&[&strong; 2]), Standing::Over, "a strong one needs fewer polls");
        assert_eq!(standing(&[&of(250.0)]), Standing::Over, "one that is far beyond noise needs one");
        // Since the fourth poll, it gets its share again. The window still has what was before.
        let falls = [160.0, 160.0, 160.0, 150.0, 140.0, 130.0, 120.0].map(of);
        let falls: Vec<&ServiceTraffic> = falls.iter().collect();
        assert_eq!(standing(&falls[..6]), Standing::Over, "130 of 330 is 18 % more than a third");
        assert_eq!(standing(&falls), Standing::Even, "120 of 320 is 12 % more");
        assert_eq!(standing(&[&less; 5]), Standing::Even, "too little to begin with");
    }

    #[test]
    fn the_newest_part_of_the_window_shows_a_skew_before_the_whole_does() {
        // Twice its share of 1/5 since 20 seconds: a third of the window.
        let of = |part: f64| {
            let first = 60.0 + 60.0 * part;
            let other = 60.0 - 15.0 * part;
            service(
                Policy::Random,
                &[
                    (first, 1.0, 1.0),
                    (other, 1.0, 1.0),
                    (other, 1.0, 1.0),
                    (other, 1.0, 1.0),
                    (other, 1.0, 1.0),
                ],
            )
        };
        let (even, ten, twenty) = (of(0.0), of(0.17), of(1.0 / 3.0));
        let after =
            |polled: &[&ServiceTraffic]| polls(polled, &balancing::of(&even), None).backends[0].standing;
        assert_eq!(after(&[&even, &even, &even, &ten, &twenty]), Standing::Over);
        assert_eq!(after(&[&even, &even, &even, &even]), Standing::Even);
    }

    #[test]
    fn a_route_splits_the_requests_first() {
        let mut s = named(&[("a", 45.0), ("b", 45.0), ("c", 10.0)]);
        s.policy = Policy::RoundRobin;
        let part = |name: &str, weight: f64, backends: &[&str]| Part {
            name: name.into(),
            weight,
            backends: backends.iter().map(|b| Name::from(*b)).collect(),
        };
        let split = [part("stable", 90.0, &["a", "b"]), part("canary", 10.0, &["c"]), part("old", 0.0, &[])];
        let balancing = Balancing { split: split.into(), ..balancing::of(&s) };
        let judged = polls(&[&s; 3], &balancing, None);
        let expected: Vec<_> = judged.backends.iter().map(|b| b.expected.unwrap()).collect();
        assert_eq!(expected, [0.45, 0.45, 0.1]);
        assert!(judged.backends.iter().all(|b| b.standing == Standing::Even), "{judged:?}");
        let unknown = Balancing { split: [part("canary", 10.0, &["c"])].into(), ..balancing };
        assert_eq!(polls(&[&s; 3], &unknown, None).note, Some(Unjudged::NoWeights), "a and b are in no part");
    }

    #[test]
    fn few_connections_prove_less_than_the_requests_on_them() {
        let mut s = service(Policy::Random, &[(150.0, 1.0, 1.0), (100.0, 1.0, 1.0), (100.0, 1.0, 1.0)]);
        let of = |per_connection: bool, s: &ServiceTraffic| {
            polls(&[s; 4], &Balancing { per_connection, ..balancing::of(s) }, None).backends[0].standing
        };
        s.backends = s
            .backends
            .iter()
            .map(|b| BackendTraffic { active: Some(5.0), rps: b.rps.map(|r| r / 60.0), ..b.clone() })
            .collect();
        assert_eq!(of(false, &s), Standing::Even, "291 requests in 50 seconds are not enough either");
        s.backends =
            s.backends.iter().map(|b| BackendTraffic { rps: b.rps.map(|r| r * 8.0), ..b.clone() }).collect();
        assert_eq!((of(false, &s), of(true, &s)), (Standing::Over, Standing::Even));
    }

    #[test]
    fn least_connections_explain_less_and_not_more() {
        // Few requests at the same time: the slow one gets nearly as much. Many: a quarter.
        let of = |rates: [f64; 3]| {
            let [a, b, c] = rates;
            judge(&service(Policy::LeastConnections, &[(a, 1.0, 10.0), (b, 1.0, 10.0), (c, 1.0, 40.0)]), None)
        };
        let idle = of([22.0, 22.0, 13.0]);
        assert!((idle.backends[2].expected.unwrap() - 0.232).abs() < 0.005, "{idle:?}");
        assert!(idle.backends.iter().all(|b| b.standing == Standing::Even));
        let slow_and_busy = of([200.0, 200.0, 300.0]);
        assert_eq!(slow_and_busy.backends[2].standing, Standing::Over);
        assert!(of([450.0, 450.0, 20.0]).backends.iter().all(|b| b.standing != Standing::Under));
        // A backend that fails at once has short times, so it gets more. That is an alarm, though the policy does it.
        let mut fails =
            service(Policy::LeastConnections, &[(100.0, 1.0, 10.0), (100.0, 1.0, 10.0), (900.0, 1.0, 1.0)]);
        assert!(judge(&fails, None).backends.iter().all(|b| b.standing == Standing::Even));
        fails.backends = fails
            .backends
            .iter()
            .map(|b| BackendTraffic { error_ratio: (b.mean_ms == Some(1.0)).then_some(0.9), ..b.clone() })
            .collect();
        assert_eq!(judge(&fails, None).backends[2].standing, Standing::Over);
    }

    #[test]
    fn one_figure_for_a_service_with_what_noise_reaches() {
        let of = |rates: &[f64]| {
            let rates: Vec<_> = rates.iter().map(|rps| (*rps, 1.0, 1.0)).collect();
            judge(&service(Policy::Random, &rates), None).imbalance
        };
        let even = of(&[10.0, 10.2, 9.8]).unwrap();
        assert!((even.times - 1.02).abs() < 1e-9 && even.is_noise() && even.jain > 0.999, "{even:?}");
        let uneven = of(&[20.0, 5.0, 5.0]).unwrap();
        assert!((uneven.times - 2.0).abs() < 1e-9);
        assert_eq!((uneven.backend, uneven.is_noise()), (0, false));
        // (2 + 0.5 + 0.5)^2 / (3 * (4 + 0.25 + 0.25))
        assert!((uneven.jain - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(of(&[5.0]), None);
    }

    #[test]
    fn what_is_not_ready_and_gets_requests_stands_out_after_a_window() {
        let (s, row) =
            (named(&[("a", 20.0), ("b", 20.0), ("c", 7.0)]), row(&[("a", true), ("b", true), ("c", false)]));
        let stray = |n: usize| polls(&vec![&s; n], &balancing::of(&s), Some(&row)).stray;
        assert_eq!(stray(9), [], "its rates are still from before");
        assert_eq!(stray(11).iter().map(|s| (s.backend.as_str(), s.rps)).collect::<Vec<_>>(), [("c", 7.0)]);
    }

    #[test]
    fn the_most_that_a_backend_carried_is_remembered() {
        let (calm, busy) = (named(&[("a", 20.0), ("b", 20.0)]), named(&[("a", 50.0), ("b", 40.0)]));
        let most = polls(&[&calm, &busy, &calm, &calm], &balancing::of(&calm), None).most_rps;
        assert_eq!(most, Some(50.0));
    }

    proptest! {
        /// Scaling all rates changes no share, and the order of the backends changes no verdict.
        #[test]
        fn order_and_scale_do_not_matter(
            rates in prop::collection::vec((1.0f64..1000.0, 1.0f64..100.0, 1.0f64..500.0), 2..9),
            turn in 0usize..9,
            scale in 0.5f64..20.0,
        ) {
            for policy in [Policy::RoundRobin, Policy::Weighted, Policy::ResponseTime] {
                let s = service(policy, &rates);
                let mut turned = rates.clone();
                turned.rotate_left(turn % rates.len());
                let (a, mut b) = (judge(&s, None), judge(&service(policy, &turned), None));
                b.backends.rotate_right(turn % rates.len());
                for (a, b) in a.backends.iter().zip(&b.backends) {
                    prop_assert_eq!((a.standing, a.marked), (b.standing, b.marked));
                    prop_assert!((a.expected.unwrap() - b.expected.unwrap()).abs() < 1e-9);
                }
                let scaled: Vec<_> = rates.iter().map(|(rps, w, t)| (rps * scale, *w, *t)).collect();
                let c = judge(&service(policy, &scaled), None);
                for (a, c) in a.backends.iter().zip(&c.backends) {
                    prop_assert!((a.observed.unwrap() - c.observed.unwrap()).abs() < 1e-9);
                    prop_assert!((a.expected.unwrap() - c.expected.unwrap()).abs() < 1e-9);
                }
            }
        }

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
