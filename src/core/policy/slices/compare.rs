//! A canary's errors and latency compared with those of the stable version: worse needs an effect and evidence.

use super::Compared;

/// A smaller increase of the error ratio does not matter, even if it is more than noise.
const LEAST_ERRORS: f64 = 0.005;
/// An increase by a smaller factor does not matter.
const LEAST_FACTOR: f64 = 1.5;
/// The increase that enough requests would show, if the stable version has hardly any errors.
const SHOWN_ERRORS: f64 = 0.01;
/// The probability that noise alone makes a canary look worse.
const ALPHA: f64 = 0.005;
/// The normal deviate of [`ALPHA`].
const BOUND: f64 = 2.576;
/// A p95 that is higher by a smaller factor does not matter.
const SLOWER: f64 = 1.25;
/// With this many requests, twenty are slower than the p95, so its error is about a tenth of the usual spread.
const FOR_P95: f64 = 400.0;

/// Compares two error ratios, each with its number of requests.
pub(super) fn errors((canary, n): (f64, f64), (stable, m): (f64, f64)) -> Compared {
    let is_large = canary - stable >= LEAST_ERRORS && canary >= stable * LEAST_FACTOR;
    if is_large && chance((canary, n), (stable, m)) < ALPHA {
        return Compared::Worse { canary, stable };
    }
    // With this many requests of each, an increase by half, or by one point, is more than noise.
    let shown = SHOWN_ERRORS.max(stable * (LEAST_FACTOR - 1.0));
    let p = (stable + shown / 2.0).clamp(0.0, 0.5);
    let need = (BOUND / shown).powi(2) * 2.0 * p * (1.0 - p);
    enough(n.min(m), need).unwrap_or(Compared::NotWorse { canary, stable })
}

/// Compares the p95 of two versions, each with its number of requests.
pub(super) fn latency((canary, n): (f64, f64), (stable, m): (f64, f64)) -> Compared {
    enough(n.min(m), FOR_P95).unwrap_or(if canary >= stable * SLOWER {
        Compared::Worse { canary, stable }
    } else {
        Compared::NotWorse { canary, stable }
    })
}

fn enough(have: f64, need: f64) -> Option<Compared> {
    (have < need).then_some(Compared::TooFew { have: have.max(0.0) as u64, need: need.ceil() as u64 })
}

/// Returns the probability that noise alone gives the canary so many of the errors, if both versions fail alike
/// (Fisher's exact test, one-sided).
fn chance((canary, n): (f64, f64), (stable, m): (f64, f64)) -> f64 {
    let (n, m) = (n.round().max(0.0), m.round().max(0.0));
    let failed = (canary * n).round();
    let all = failed + (stable * m).round();
    let most = all.min(n);
    // The hypergeometric probabilities from `failed` upwards.
    let ln = ln_choose(n, failed) + ln_choose(m, all - failed) - ln_choose(n + m, all);
    let (mut term, mut sum, mut k) = (ln.exp(), 0.0, failed);
    while k <= most {
        sum += term;
        let next = (n - k) * (all - k) / ((k + 1.0) * (m - all + k + 1.0));
        if next < 1.0 && term < sum * 1e-9 {
            break;
        }
        term *= next;
        k += 1.0;
    }
    sum.min(1.0)
}

fn ln_choose(n: f64, k: f64) -> f64 {
    if k < 0.0 || k > n { f64::NEG_INFINITY } else { ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k) }
}

/// Stirling's series; exact sums for small numbers.
fn ln_factorial(n: f64) -> f64 {
    if n < 20.0 {
        return (2..=n as u32).map(|i| f64::from(i).ln()).sum();
    }
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_is_fishers() {
        // R: fisher.test(matrix(c(7, 3, 93, 197), 2), alternative = "greater")$p.value
        assert!(
            (chance((0.07, 100.0), (0.015, 200.0)) - 0.017_968).abs() < 1e-5,
            "{}",
            chance((0.07, 100.0), (0.015, 200.0))
        );
        assert!((chance((0.5, 2.0), (0.5, 2.0)) - 5.0 / 6.0).abs() < 1e-9);
        assert!((ln_factorial(20.0) - 42.335_616_460_753_485).abs() < 1e-9);
    }

    #[test]
    fn worse_needs_an_effect_and_evidence() {
        assert_eq!(errors((0.05, 2_000.0), (0.01, 20_000.0)), Compared::Worse { canary: 0.05, stable: 0.01 });
        // five of a hundred could be chance, and a hundred requests are too few to say that they are not
        assert!(matches!(
            errors((0.05, 100.0), (0.02, 900.0)),
            Compared::TooFew { have: 100, need: 3_000..3_500 }
        ));
        assert_eq!(errors((0.5, 20.0), (0.0, 900.0)), Compared::Worse { canary: 0.5, stable: 0.0 });
        // many requests prove a small difference, which does not matter
        let (canary, stable) = (0.012, 0.01);
        assert_eq!(errors((canary, 1e6), (stable, 1e6)), Compared::NotWorse { canary, stable });
        assert_eq!(errors((0.0, 0.0), (0.0, 900.0)), Compared::TooFew { have: 0, need: 661 });
        assert_eq!(latency((130.0, 500.0), (100.0, 900.0)), Compared::Worse { canary: 130.0, stable: 100.0 });
        assert_eq!(
            latency((120.0, 500.0), (100.0, 900.0)),
            Compared::NotWorse { canary: 120.0, stable: 100.0 }
        );
        assert_eq!(latency((900.0, 399.0), (100.0, 900.0)), Compared::TooFew { have: 399, need: 400 });
    }
}
