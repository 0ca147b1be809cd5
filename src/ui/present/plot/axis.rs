//! The axes of a plot: round numbers, and how numbers and times are written.

use pilothouse_core::domain::time::Stamp;
use pilothouse_core::policy::plots::Unit;

/// The steps between the labels of the time axis, in seconds.
const STEPS: [i64; 13] =
    [60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600, 43_200, 86_400];
/// The least number of cells from one label to the next.
const APART: usize = 12;

/// Returns a round number that is not below `most`: the upper edge of a plot. It is never 0.
pub fn top(most: f64, unit: Unit) -> f64 {
    if !most.is_finite() || most <= 0.0 {
        return match unit {
            Unit::Bytes | Unit::BytesPerSecond => 1_024.0,
            Unit::Cores => 0.1,
            _ => 1.0,
        };
    }
    let round = |most: f64, base: f64, steps: &[f64]| {
        let whole = base.powf(most.log(base).floor());
        // the logarithm of a power of the base can be a little below the whole number
        let found = steps.iter().map(|step| step * whole).find(|top| *top >= most * (1.0 - 1e-9));
        found.unwrap_or(whole * base)
    };
    match unit {
        Unit::Bytes | Unit::BytesPerSecond if most >= 1_024.0 => {
            let of = 1_024f64.powf(most.log(1_024.0).floor());
            round(most / of, 2.0, &[1.0, 1.25, 1.5, 2.0]) * of
        }
        // half of a count is no label
        Unit::Count => {
            let top = round(most.max(2.0), 10.0, &[1.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
            if top < 2.0 { 2.0 } else { top }
        }
        _ => round(most, 10.0, &[1.0, 1.2, 1.6, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]),
    }
}

/// Writes a number with its unit in at most seven cells.
pub fn number(value: f64, unit: Unit) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    match unit {
        Unit::Percent => format!("{}%", short(value)),
        Unit::Millis if value.abs() >= 1_000.0 => format!("{}s", short(value / 1_000.0)),
        Unit::Millis => format!("{}ms", short(value)),
        Unit::Bytes => binary(value),
        Unit::BytesPerSecond => format!("{}/s", binary(value)),
        Unit::PerSecond => format!("{}/s", short(value)),
        Unit::Cores if value != 0.0 && value.abs() < 0.9995 => format!("{}m", short(value * 1_000.0)),
        Unit::Cores | Unit::Count | Unit::Number => short(value),
    }
}

fn binary(value: f64) -> String {
    const UNITS: [(f64, &str); 5] = [
        (1_099_511_627_776.0, "Ti"),
        (1_073_741_824.0, "Gi"),
        (1_048_576.0, "Mi"),
        (1_024.0, "Ki"),
        (1.0, "B"),
    ];
    let (whole, name) = UNITS.into_iter().find(|(whole, _)| value.abs() >= *whole).unwrap_or((1.0, "B"));
    format!("{}{name}", short(value / whole))
}

/// Writes a number with three digits that matter.
fn short(value: f64) -> String {
    let size = value.abs();
    let (value, suffix) = match size {
        1e12.. => return format!("{value:.0e}"),
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e4.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        0.0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.01.. => 3,
        _ => return format!("{value:.0e}"),
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

/// Returns the labels of the time axis, at round times.
pub fn times(from: Stamp, to: Stamp, cells: usize) -> Vec<(Stamp, String)> {
    let span = to.0.saturating_sub(from.0).max(1);
    let most = i64::try_from((cells / APART).max(1)).unwrap_or(1);
    let step = STEPS.into_iter().find(|step| span / (step * 1_000) <= most).unwrap_or(86_400) * 1_000;
    let first = from.0.div_euclid(step) * step + if from.0.rem_euclid(step) == 0 { 0 } else { step };
    let mut found = Vec::new();
    let mut at = first;
    while at <= to.0 && found.len() < 64 {
        found.push((Stamp(at), Stamp(at).clock()));
        at += step;
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_their_units() {
        for (value, unit, words) in [
            (0.0, Unit::Cores, "0"),
            (0.25, Unit::Cores, "250m"),
            (1.5, Unit::Cores, "1.5"),
            (64.0, Unit::Cores, "64"),
            (1_610_612_736.0, Unit::Bytes, "1.5Gi"),
            (512.0, Unit::Bytes, "512B"),
            (4.13, Unit::Percent, "4.13%"),
            (100.0, Unit::Percent, "100%"),
            (810.4, Unit::Millis, "810ms"),
            (2_400.0, Unit::Millis, "2.4s"),
            (842.3, Unit::PerSecond, "842/s"),
            (12_345.0, Unit::Number, "12.3k"),
            (0.000_04, Unit::Number, "4e-5"),
            (f64::NAN, Unit::Number, "–"),
            (3.0, Unit::Count, "3"),
        ] {
            assert_eq!(number(value, unit), words);
        }
    }

    #[test]
    fn the_upper_edge_is_round() {
        for (most, unit, edge) in [
            (0.0, Unit::Cores, 0.1),
            (0.93, Unit::Cores, 1.0),
            (1.0, Unit::Cores, 1.0),
            (1.1, Unit::Cores, 1.2),
            (3.0, Unit::Count, 4.0),
            (10.0, Unit::Count, 10.0),
            (11.0, Unit::Count, 20.0),
            (1_500_000_000.0, Unit::Bytes, 1.5 * 1_073_741_824.0),
            (1_073_741_824.0, Unit::Bytes, 1_073_741_824.0),
            (97.0, Unit::Percent, 100.0),
        ] {
            assert!((top(most, unit) - edge).abs() < edge * 1e-9, "{most} {unit:?}: {}", top(most, unit));
        }
    }

    proptest! {
        #[test]
        fn no_number_is_above_the_upper_edge(most in 1e-6f64..1e15) {
            for unit in [Unit::Cores, Unit::Bytes, Unit::Percent, Unit::Millis, Unit::Count, Unit::PerSecond] {
                let edge = top(most, unit);
                prop_assert!(edge >= most * (1.0 - 1e-9), "{most} {edge}");
                prop_assert!(edge <= (most * 2.01).max(2.0), "{most} {edge} {unit:?}");
            }
        }

        #[test]
        fn labels_fit(value in -1e13f64..1e13) {
            for unit in [Unit::Cores, Unit::Percent, Unit::Count, Unit::Number, Unit::Bytes] {
                prop_assert!(number(value, unit).chars().count() <= 8, "{}", number(value, unit));
            }
        }
    }

    #[test]
    fn times_are_round_and_apart() {
        let from = Stamp::parse("2026-11-29T03:07:13Z").unwrap();
        let words = |secs: i64, cells| -> Vec<String> {
            times(from, from.plus_secs(secs), cells).into_iter().map(|(_, words)| words).collect()
        };
        assert_eq!(words(900, 69), ["03:10", "03:15", "03:20"]);
        assert_eq!(words(3_600, 69), ["03:15", "03:30", "03:45", "04:00"]);
        assert_eq!(words(86_400, 69), ["06:00", "12:00", "18:00", "00:00"]);
    }
}
