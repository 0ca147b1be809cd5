//! How much a share must differ until it is more than noise.
//!
//! If each request goes to a random backend, the number that a backend gets is binomial. The variance is multiplied by
//! the dispersion: round robin is more regular (below 1), and connections that carry many requests each are less regular
//! (above 1).

use crate::domain::traffic::{Balancing, Policy, ServiceTraffic};

/// A smaller difference gets no mark, even if it is more than noise.
pub(super) const EFFECT: f64 = 0.25;
/// The probability that noise alone exceeds the bound for one of the backends in one window. The verdict is made again
/// with each poll, so it is small.
const ALPHA: f64 = 0.0005;
/// Fewer requests of a backend than this prove nothing.
pub(super) const FEWEST: f64 = 5.0;
/// The number of requests that a connection carries, where connections are balanced and their number is not known.
const REQUESTS_PER_CONNECTION: f64 = 8.0;
/// The lowest dispersion that is believed of a balancer that takes the backends in turn. Each of several proxies has its
/// own turn, so it is not 0.
const REGULAR: f64 = 0.25;

/// How far a share is outside of what is expected. The noise is calculated only where it decides, because most shares are
/// as expected, and there are 10,000s of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Gap {
    /// Relative to the nearest expected share: 0.5 = one and a half times as much, -0.5 = half as much, 0 = within.
    pub effect: f64,
    /// The nearest expected share.
    p: f64,
    /// The number of requests, divided by the dispersion.
    n: f64,
}

impl Gap {
    /// Returns the gap of a share from a range of expected ones, in a sample of `n` requests. `None` if there are too
    /// few, or if nothing can differ.
    pub(super) fn of(observed: f64, (low, high): (f64, f64), n: f64, dispersion: f64) -> Option<Self> {
        let p = observed.clamp(low.min(high), high.max(low));
        if p <= 0.0 || p >= 1.0 || n * p < FEWEST * dispersion.max(1.0) {
            return None;
        }
        Some(Self { effect: observed / p - 1.0, p, n: n / dispersion })
    }

    /// Returns the square of the gap in standard deviations of the noise.
    pub(super) fn z_squared(self) -> f64 {
        self.effect.powi(2) * self.p * self.n / (1.0 - self.p)
    }

    /// Returns 1 for too much and -1 for too little, if the gap is large and more than noise. Otherwise 0.
    pub(super) fn side(self, effect: f64, bound: f64) -> i8 {
        if self.effect.abs() < effect || self.z_squared() < bound * bound {
            0
        } else if self.effect > 0.0 {
            1
        } else {
            -1
        }
    }
}

/// Returns the bound for z if `k` backends are judged (Bonferroni).
pub(super) fn bound(k: usize) -> f64 {
    critical(ALPHA / (2.0 * k.max(1) as f64))
}

/// Returns the number of requests with which a difference of [`EFFECT`] of the smallest share is more than noise.
pub(super) fn needed(smallest: f64, k: usize, dispersion: f64) -> f64 {
    (bound(k) / EFFECT).powi(2) * (1.0 - smallest) / smallest * dispersion
}

/// Returns the interval of the scrapes in seconds. A window has at least four.
pub(super) fn scrape(traffic: &ServiceTraffic) -> f64 {
    let window = f64::from(traffic.window_secs);
    match traffic.scrape_secs {
        0 => window / 4.0,
        secs => f64::from(secs).min(window / 4.0),
    }
}

/// Returns the seconds that a rate is counted over at least: from the first to the last scrape within the window, if one
/// of them is late or lost. The rest is extrapolated, and proves nothing.
pub(super) fn counted(traffic: &ServiceTraffic) -> f64 {
    f64::from(traffic.window_secs) - 2.0 * scrape(traffic)
}

/// Returns the dispersion to assume without any experience.
pub(super) fn assumed(traffic: &ServiceTraffic, balancing: &Balancing, n: f64) -> f64 {
    if !balancing.per_connection {
        return 1.0;
    }
    let active: f64 = traffic.backends.iter().filter_map(|b| b.active).filter(|a| a.is_finite()).sum();
    (n / active.max(n / REQUESTS_PER_CONNECTION)).max(1.0)
}

/// Returns the lowest dispersion that is believed from experience.
pub(super) fn least(policy: Policy, assumed: f64) -> f64 {
    match policy {
        Policy::RoundRobin | Policy::Weighted if assumed <= 1.0 => REGULAR,
        _ => assumed,
    }
}

/// Returns the z beyond which a two-sided normal deviate has probability `2 * tail` (Abramowitz & Stegun 26.2.23,
/// accurate to 4.5e-4, which is enough here).
pub(super) fn critical(tail: f64) -> f64 {
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_normal_one() {
        assert!((critical(0.025) - 1.96).abs() < 0.001);
        assert!((critical(0.005) - 2.576).abs() < 0.001);
    }

    #[test]
    fn the_gap_is_from_the_nearest_end_of_the_range() {
        let gap = |observed| Gap::of(observed, (0.1, 0.2), 1_000.0, 1.0).unwrap();
        assert!(gap(0.15).effect == 0.0 && gap(0.15).z_squared() == 0.0, "within");
        assert!((gap(0.3).effect - 0.5).abs() < 1e-9);
        assert!((gap(0.05).effect + 0.5).abs() < 1e-9);
        assert!((gap(0.3).z_squared().sqrt() - 0.1 / (0.2f64 * 0.8 / 1_000.0).sqrt()).abs() < 1e-9);
        assert_eq!(Gap::of(1.0, (0.0, 0.0), 1_000.0, 1.0), None);
        assert_eq!(Gap::of(0.5, (0.5, 0.5), 9.0, 1.0), None, "too few");
    }
}
