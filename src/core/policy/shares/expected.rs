//! The share that the policy gives to each backend.

use crate::domain::traffic::{BAD_ERRORS, BackendTraffic, Balancing, Policy};

/// The expected share of a backend, and the range that the policy explains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    pub share: f64,
    pub low: f64,
    pub high: f64,
}

impl Expected {
    fn exact(share: f64) -> Self {
        Self { share, low: share, high: share }
    }

    fn times(self, part: f64) -> Self {
        Self { share: self.share * part, low: self.low * part, high: self.high * part }
    }
}

/// Returns the expected shares of the backends in rotation, in their order. They sum to 1. Returns `None` if the policy
/// promises none, or if a weight or a response time is missing.
pub fn expected(balancing: &Balancing, backends: &[&BackendTraffic]) -> Option<Vec<Expected>> {
    if balancing.split.is_empty() {
        return within(balancing.policy, backends);
    }
    // The parts of the route first, then the backends of each part.
    let part_of = |b: &BackendTraffic| balancing.split.iter().position(|p| p.backends.contains(&b.name));
    let parts: Option<Vec<usize>> = backends.iter().map(|b| part_of(b)).collect();
    let parts = parts?;
    let weight = |at: usize| balancing.split.get(at).map_or(0.0, |p| p.weight).max(0.0);
    let used = (0..balancing.split.len()).filter(|at| parts.contains(at));
    let sum: f64 = used.clone().map(weight).sum();
    if !sum.is_finite() || sum <= 0.0 {
        return None;
    }
    let mut all = vec![Expected::exact(0.0); backends.len()];
    for at in used {
        let members: Vec<usize> = (0..backends.len()).filter(|i| parts.get(*i) == Some(&at)).collect();
        let of: Vec<&BackendTraffic> = members.iter().filter_map(|i| backends.get(*i).copied()).collect();
        for (i, share) in members.into_iter().zip(within(balancing.policy, &of)?) {
            if let Some(place) = all.get_mut(i) {
                *place = share.times(weight(at) / sum);
            }
        }
    }
    Some(all)
}

fn within(policy: Policy, backends: &[&BackendTraffic]) -> Option<Vec<Expected>> {
    if policy == Policy::Random {
        return at_random(backends);
    }
    let weights: Option<Vec<f64>> = match policy {
        Policy::RoundRobin | Policy::Random | Policy::ByClient | Policy::ByRequest | Policy::ByName => {
            return equal(backends).map(|share| vec![Expected::exact(share); backends.len()]);
        }
        Policy::Weighted => {
            backends.iter().map(|b| b.weight.filter(|w| w.is_finite() && *w >= 0.0)).collect()
        }
        Policy::LeastConnections | Policy::ResponseTime => return by_time(policy, backends),
        Policy::Unknown => None,
    };
    Some(parts(&weights?)?.into_iter().map(Expected::exact).collect())
}

/// All backends are equal. Many balancers take the less busy of two random ones, so a slow backend may get less, at most
/// as little as under least connections.
fn at_random(backends: &[&BackendTraffic]) -> Option<Vec<Expected>> {
    let all = Expected::exact(equal(backends)?);
    let Some(mut by_time) = by_time(Policy::LeastConnections, backends) else {
        return Some(vec![all; backends.len()]);
    };
    for expected in &mut by_time {
        *expected = Expected { low: expected.share.min(all.share), ..all };
    }
    Some(by_time)
}

/// Returns the share of each backend if all are equal.
fn equal(backends: &[&BackendTraffic]) -> Option<f64> {
    (!backends.is_empty()).then(|| 1.0 / backends.len() as f64)
}

/// Returns the weights as parts of their sum.
fn parts(weights: &[f64]) -> Option<Vec<f64>> {
    let sum: f64 = weights.iter().sum();
    (sum.is_finite() && sum > 0.0).then(|| weights.iter().map(|w| w / sum).collect())
}

/// Least connections and response time do not promise equal counts.
///
/// If there are more requests at the same time than backends, the active connections per weight are level, so the share
/// is (w/T) / sum of (w/T), with the mean response time T (Little's law). If most backends are idle, the slow one is
/// chosen as often as the others. In between, a backend is chosen in proportion to the time in which it is idle: its rate
/// is c*w / (1 + c*T), and c follows from the sum of the rates.
fn by_time(policy: Policy, backends: &[&BackendTraffic]) -> Option<Vec<Expected>> {
    let weights: Vec<f64> =
        backends.iter().map(|b| b.weight.filter(|w| w.is_finite() && *w > 0.0).unwrap_or(1.0)).collect();
    let times: Option<Vec<f64>> = backends.iter().map(|b| seconds(b)).collect();
    let times = times?;
    let idle = parts(&weights)?;
    let level = parts(&weights.iter().zip(&times).map(|(w, t)| w / t).collect::<Vec<_>>())?;
    let rps: Option<f64> = backends.iter().map(|b| b.rps.filter(|r| r.is_finite() && *r >= 0.0)).sum();
    let between = match (policy, rps) {
        (Policy::LeastConnections, Some(rps)) => idle_time(&idle, &times, rps),
        _ => None,
    };
    let share = between.unwrap_or_else(|| level.clone());
    // A backend that fails fast attracts requests. That is what the policy does, but nothing to be content with.
    let fails = |b: &BackendTraffic| b.error_ratio.is_some_and(|errors| errors >= BAD_ERRORS);
    let rows = backends.iter().zip(share.iter().zip(idle.iter().zip(&level)));
    let rows = rows.map(|(b, (share, (idle, level)))| Expected {
        share: *share,
        // A slow backend gets less, and rightly so. The mean time may lag behind: HAProxy's is over 1024 requests.
        low: 0.0,
        high: if fails(b) { share.min(*idle) } else { share.max(*idle).max(*level) },
    });
    Some(rows.collect())
}

/// Returns the mean response time in seconds.
fn seconds(backend: &BackendTraffic) -> Option<f64> {
    backend.mean_ms.filter(|t| t.is_finite() && *t > 0.0).map(|ms| ms / 1_000.0)
}

/// Returns the shares if each backend is chosen in proportion to the time in which it is idle. `None` if there are more
/// requests at the same time than the backends take one at a time.
fn idle_time(weights: &[f64], times: &[f64], rps: f64) -> Option<Vec<f64>> {
    let most: f64 = weights.iter().zip(times).map(|(_, t)| 1.0 / t).sum();
    if !most.is_finite() || rps <= 0.0 || rps >= most * 0.999 {
        return None;
    }
    // The sum of the rates grows with c, ever more slowly, so Newton's steps from below never go too far.
    let mut c = rps;
    for _ in 0..50 {
        let (mut sum, mut slope) = (0.0, 0.0);
        for (w, t) in weights.iter().zip(times) {
            let busy = 1.0 + c * w * t;
            sum += c * w / busy;
            slope += w / (busy * busy);
        }
        let step = (rps - sum) / slope;
        if !step.is_finite() || step <= c * 1e-9 {
            break;
        }
        c += step;
    }
    parts(&weights.iter().zip(times).map(|(w, t)| c * w / (1.0 + c * w * t)).collect::<Vec<_>>())
}

/// Returns the active connections per weight of each backend, relative to their mean. A balancer by connections keeps
/// them level.
pub(super) fn levels(backends: &[&BackendTraffic]) -> Option<Vec<f64>> {
    let per_weight = |b: &&BackendTraffic| {
        let weight = b.weight.unwrap_or(1.0);
        b.active.filter(|_| weight > 0.0).map(|active| active / weight).filter(|l| l.is_finite() && *l >= 0.0)
    };
    let all: Option<Vec<f64>> = backends.iter().map(per_weight).collect();
    let all = all?;
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    (mean > 0.0).then(|| all.iter().map(|level| level / mean).collect())
}
