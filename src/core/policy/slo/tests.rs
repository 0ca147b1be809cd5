//! The verdicts on objectives: the documented example, the limits of each pair of windows, and what is not known.

use super::*;
use crate::domain::slo::window;

const NOW: Stamp = Stamp(1_000_000_000);
const MONTH: u64 = 30 * DAY;

fn objective(target: f64) -> Objective {
    Objective { target, window_secs: MONTH, ..Objective::default() }
}

fn measured(target: f64, ratios: &[(u64, f64)]) -> Measured {
    let ratio = |(window_secs, bad): &(u64, f64)| Ratio {
        window_secs: *window_secs,
        bad: Some(*bad),
        requests: None,
        at: NOW,
    };
    Measured { objective: objective(target), ratios: ratios.iter().map(ratio).collect(), note: None }
}

fn all(bad: f64) -> Vec<(u64, f64)> {
    windows(&objective(0.999)).into_iter().map(|window| (window, bad)).collect()
}

fn close(a: Option<f64>, b: f64) -> bool {
    a.is_some_and(|a| (a - b).abs() < 1e-6)
}

#[test]
fn the_documented_example_pages_and_empties_the_budget_in_48_hours() {
    // 99.9 %, 1.5 % errors over 1 h and 5 m; nothing of the budget was used before
    let v = judge(&measured(0.999, &[(5 * MINUTE, 0.015), (HOUR, 0.015), (MONTH, 0.0)]), NOW);
    assert_eq!(v.state, SloState::BurningFast);
    let burn = v.burns[0];
    assert!(close(burn.long, 15.0) && close(burn.short, 15.0) && (burn.factor - 14.4).abs() < 1e-9);
    assert_eq!(v.gone_in_secs, Some(48 * HOUR));
    assert_eq!(v.why.to_string(), "burns 15x over 1h and 15x over 5m, too high from 14.4x on");
    assert!(close(v.budget_left, 1.0) && close(v.availability, 1.0));
}

#[test]
fn a_pair_is_too_high_only_if_both_windows_are() {
    let calm = all(0.0);
    let with = |changed: &[(u64, f64)]| {
        let mut ratios = calm.clone();
        for (window, bad) in changed {
            ratios.iter_mut().filter(|(w, _)| w == window).for_each(|r| r.1 = *bad);
        }
        judge(&measured(0.999, &ratios), NOW).state
    };
    // just below and at each factor, in units of the budget
    for (long, short, factor, state) in [
        (HOUR, 5 * MINUTE, 14.4, SloState::BurningFast),
        (6 * HOUR, 30 * MINUTE, 6.0, SloState::BurningSlowly),
        (DAY, 2 * HOUR, 3.0, SloState::BurningSlowly),
        (3 * DAY, 6 * HOUR, 1.0, SloState::BurningSlowly),
    ] {
        let (below, at) = (factor * 0.001 * 0.999, factor * 0.001 * 1.001);
        assert_eq!(with(&[(long, at), (short, at)]), state, "{}", window(long));
        for calm in
            [[(long, at), (short, below)], [(long, below), (short, at)], [(long, below), (short, below)]]
        {
            assert_eq!(with(&calm), SloState::Fine, "{}", window(long));
        }
    }
}

#[test]
fn the_budget_that_is_left() {
    // 99.9 % over 30 d are 43.2 minutes; 21.6 minutes of them were used
    let mut ratios = all(0.0);
    ratios.last_mut().unwrap().1 = 21.6 / (30.0 * 24.0 * 60.0);
    let v = judge(&measured(0.999, &ratios), NOW);
    assert!(close(v.budget_left, 0.5) && close(v.availability, 0.9995), "{v:?}");
    assert_eq!((v.state, v.why, v.gone_in_secs), (SloState::Fine, SloReason::Within, None));
    ratios.last_mut().unwrap().1 = 0.0025;
    let v = judge(&measured(0.999, &ratios), NOW);
    assert_eq!((v.state, v.why.to_string()), (SloState::Spent, "the budget is spent 2.5 times".into()));
}

#[test]
fn what_is_not_known_is_not_fine() {
    let nothing = judge(&measured(0.999, &[]), NOW);
    assert_eq!((nothing.state, nothing.why), (SloState::Unknown, SloReason::NotMeasured));
    let mut ratios = all(0.0);
    ratios.retain(|(window, _)| *window != 3 * DAY && *window != 6 * HOUR);
    let part = judge(&measured(0.999, &ratios), NOW);
    assert_eq!((part.state, part.why), (SloState::Unknown, SloReason::Missing { window_secs: 3 * DAY }));
    assert_eq!(judge(&measured(1.0, &all(0.1)), NOW).why, SloReason::NoBudget);
    let mut nan = measured(0.999, &all(0.0));
    nan.ratios.iter_mut().for_each(|r| r.bad = Some(f64::NAN));
    assert_eq!(judge(&nan, NOW).state, SloState::Unknown);
    // an hour after the last answer only the long windows still count
    let later = judge(&measured(0.999, &all(0.015)), NOW.plus_secs(3600));
    assert_eq!((later.burns[0].long, later.burns[0].short), (None, None));
    assert!(close(later.burns[3].long, 15.0));
}

#[test]
fn one_bad_request_at_night_is_not_a_page() {
    let mut one = measured(0.999, &all(0.05));
    for ratio in &mut one.ratios {
        ratio.requests = Some(if ratio.window_secs == MONTH { 2_000_000.0 } else { 20.0 });
        if ratio.window_secs == MONTH {
            ratio.bad = Some(0.0001);
        }
    }
    let v = judge(&one, NOW);
    assert_eq!((v.state, v.why), (SloState::Fine, SloReason::FewRequests { window_secs: HOUR }));
    one.ratios.iter_mut().filter(|r| r.window_secs == HOUR).for_each(|r| r.requests = Some(100.0));
    assert_eq!(judge(&one, NOW).state, SloState::BurningFast);
}

#[test]
fn the_pairs_are_those_of_the_alerts() {
    let of = |by, days| {
        let objective = Objective { by, window_secs: days * DAY, target: 0.999, ..Objective::default() };
        pairs(&objective)
            .map(|p| (window(p.long_secs), window(p.short_secs), (p.factor * 100.0).round() / 100.0))
    };
    let words = |pairs: [(String, String, f64); 4]| {
        pairs.map(|(long, short, factor)| format!("{long}/{short} {factor}")).join(", ")
    };
    assert_eq!(words(of(Definer::Config, 30)), "1h/5m 14.4, 6h/30m 6, 1d/2h 3, 3d/6h 1");
    assert_eq!(words(of(Definer::Sloth, 30)), "1h/5m 14.4, 6h/30m 6, 1d/2h 3, 3d/6h 1");
    assert_eq!(words(of(Definer::Sloth, 28)), "1h/5m 13.44, 6h/30m 5.6, 1d/2h 2.8, 3d/6h 0.93");
    assert_eq!(words(of(Definer::Pyrra, 28)), "1h/5m 14, 6h/30m 7, 1d/2h 2, 4d/6h 1");
}
