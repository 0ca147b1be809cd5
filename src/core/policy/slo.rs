//! The verdict on a service level objective, by the burn rates over pairs of windows (the SRE Workbook, chapter 5).
//!
//! The burn rate is the share of bad requests divided by the share that may be bad. A rate of 1 uses exactly the budget
//! by the end of the window. A pair of windows is too high only if both are: the long one shows that it matters, and the
//! short one that it still goes on.

use crate::domain::slo::{Burn, Definer, Measured, Objective, Ratio, SloReason, SloState, SloVerdict};
use crate::domain::time::Stamp;

/// With fewer bad requests in the long window, a burn rate proves nothing.
const ENOUGH_BAD: f64 = 3.0;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A long and a short window with the burn rate that is too high.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pair {
    long_secs: u64,
    short_secs: u64,
    factor: f64,
}

const fn pair(long_secs: u64, short_secs: u64, factor: f64) -> Pair {
    Pair { long_secs, short_secs, factor }
}

/// The standard pairs: 2 % of a budget of 30 days in 1 h, 5 % in 6 h, 10 % in 1 d and in 3 d.
const STANDARD: [Pair; 4] = [
    pair(HOUR, 5 * MINUTE, 14.4),
    pair(6 * HOUR, 30 * MINUTE, 6.0),
    pair(DAY, 2 * HOUR, 3.0),
    pair(3 * DAY, 6 * HOUR, 1.0),
];

/// The shares of the budget that the standard pairs stand for. Sloth's alerts scale with the period of the objective.
const SHARES: [f64; 4] = [0.02, 0.05, 0.1, 0.1];

/// Pyrra's pairs for an objective of 28 days; the windows scale with the objective's, in whole minutes.
const PYRRA: [Pair; 4] = [
    pair(HOUR, 5 * MINUTE, 14.0),
    pair(6 * HOUR, 30 * MINUTE, 7.0),
    pair(DAY, 2 * HOUR, 2.0),
    pair(4 * DAY, 6 * HOUR, 1.0),
];

/// Returns the pairs of windows that an objective is judged by, the shortest first. They are those of the alerts that
/// its rules have.
fn pairs(objective: &Objective) -> [Pair; 4] {
    match objective.by {
        Definer::Config => STANDARD,
        Definer::Sloth => {
            let mut pairs = STANDARD;
            for (pair, share) in pairs.iter_mut().zip(SHARES) {
                pair.factor = share * objective.window_secs as f64 / pair.long_secs as f64;
            }
            pairs
        }
        Definer::Pyrra => PYRRA.map(|p| {
            let scaled = |secs: u64| {
                let minutes = secs as f64 * objective.window_secs as f64 / (28 * DAY) as f64 / MINUTE as f64;
                minutes.round() as u64 * MINUTE
            };
            pair(scaled(p.long_secs), scaled(p.short_secs), p.factor)
        }),
    }
}

/// Returns the windows that the verdict needs, the shortest first: those of the pairs and the objective's own.
pub fn windows(objective: &Objective) -> Vec<u64> {
    let pairs = pairs(objective);
    let mut windows: Vec<u64> = pairs.iter().flat_map(|p| [p.long_secs, p.short_secs]).collect();
    windows.push(objective.window_secs);
    windows.sort_unstable();
    windows.dedup();
    windows
}

/// A ratio counts for this long after it was measured: a quarter of its window, and at least ten minutes.
fn is_current(ratio: &Ratio, now: Stamp) -> bool {
    now.secs_since(ratio.at) <= (ratio.window_secs / 4).max(10 * MINUTE)
}

/// Judges an objective.
pub fn judge(measured: &Measured, now: Stamp) -> SloVerdict {
    let objective = &measured.objective;
    let Some(budget) = objective.budget() else {
        return SloVerdict { why: SloReason::NoBudget, ..SloVerdict::default() };
    };
    let ratio = |secs: u64| {
        let of_window = measured.ratios.iter().filter(|r| r.window_secs == secs && is_current(r, now));
        of_window.filter(|r| r.bad.is_some_and(f64::is_finite)).max_by_key(|r| r.at)
    };
    let bad = |secs: u64| ratio(secs).and_then(|r| r.bad);
    let burns: Vec<Burn> = pairs(objective)
        .iter()
        .map(|p| {
            let failed = ratio(p.long_secs).and_then(|r| Some(r.bad? * r.requests?));
            Burn {
                long_secs: p.long_secs,
                short_secs: p.short_secs,
                factor: p.factor,
                long: bad(p.long_secs).map(|bad| bad / budget),
                short: bad(p.short_secs).map(|bad| bad / budget),
                few: failed.is_some_and(|failed| failed < ENOUGH_BAD),
            }
        })
        .collect();
    let of_all = bad(objective.window_secs);
    let left = of_all.map(|bad| 1.0 - bad / budget);
    let on = burns.iter().position(|burn| burn.is_on(1.0));
    let burning = on.and_then(|at| burns.get(at)).copied();
    let (state, why) = match (on, burning, left) {
        (Some(0), Some(burn), _) => (SloState::BurningFast, SloReason::Burning(burn)),
        (_, _, Some(left)) if left <= 0.0 => (SloState::Spent, SloReason::Spent { left }),
        (Some(_), Some(burn), _) => (SloState::BurningSlowly, SloReason::Burning(burn)),
        _ => calm(&burns, left.is_some()),
    };
    let gone_in_secs = burning.zip(left).and_then(|(burn, left)| {
        let rate = burn.long.filter(|rate| *rate > 0.0)?;
        Some((objective.window_secs as f64 * left.max(0.0) / rate).round() as u64)
    });
    SloVerdict {
        state,
        why,
        availability: of_all.map(|bad| 1.0 - bad),
        budget_left: left,
        burns,
        gone_in_secs,
    }
}

/// Returns the state of an objective of which no pair is known to be too high.
fn calm(burns: &[Burn], budget_known: bool) -> (SloState, SloReason) {
    let nothing = burns.iter().all(|burn| burn.long.is_none() && burn.short.is_none());
    if nothing && !budget_known {
        return (SloState::Unknown, SloReason::NotMeasured);
    }
    if let Some(open) = burns.iter().find(|burn| !burn.is_off()) {
        let window_secs = if open.long.is_none() { open.long_secs } else { open.short_secs };
        return (SloState::Unknown, SloReason::Missing { window_secs });
    }
    let high = |burn: &&Burn| burn.few && Burn { few: false, ..**burn }.is_on(1.0);
    match burns.iter().find(high) {
        Some(few) => (SloState::Fine, SloReason::FewRequests { window_secs: few.long_secs }),
        None => (SloState::Fine, SloReason::Within),
    }
}

#[cfg(test)]
mod tests;
