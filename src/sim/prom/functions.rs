//! The maths of PromQL's functions, as Prometheus' `promql/functions.go` and `quantile.go` do it.

use super::tsdb::Sample;

/// An anchored regular expression, as in Prometheus.
pub fn anchored(pattern: &str) -> Result<regex::Regex, regex::Error> {
    regex::Regex::new(&format!("^(?s:{pattern})$"))
}

/// The upper bound of a histogram's bucket.
pub fn bound_of(le: &str) -> Option<f64> {
    if le == "+Inf" { Some(f64::INFINITY) } else { le.parse().ok() }
}

/// The sum of a counter's drops, which its resets caused.
fn resets(samples: &[Sample]) -> f64 {
    samples
        .iter()
        .zip(samples.iter().skip(1))
        .filter(|(before, after)| after.value < before.value)
        .map(|(before, _)| before.value)
        .sum()
}

/// `rate`, `increase`, `delta` over `(start, end]` in milliseconds: extrapolated to the edges of the range, but not
/// below zero, and by at most half an interval if the series starts or ends within the range.
pub fn extrapolated(
    samples: &[Sample],
    start: i64,
    end: i64,
    counter: bool,
    per_second: bool,
) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    if samples.len() < 2 {
        return None;
    }
    let secs = |ms: i64| ms as f64 / 1000.0;
    let mut result = last.value - first.value;
    if counter {
        result += resets(samples);
    }
    let mut to_start = secs(first.at - start);
    let to_end = secs(end - last.at);
    let sampled = secs(last.at - first.at);
    let average = sampled / (samples.len() - 1) as f64;
    if counter && result > 0.0 && first.value >= 0.0 {
        to_start = to_start.min(sampled * (first.value / result));
    }
    let threshold = average * 1.1;
    let mut whole = sampled;
    whole += if to_start < threshold { to_start } else { average / 2.0 };
    whole += if to_end < threshold { to_end } else { average / 2.0 };
    let mut factor = whole / sampled;
    if per_second {
        factor /= secs(end - start);
    }
    Some(result * factor)
}

/// `irate`, `idelta`: the last two samples.
pub fn instant(samples: &[Sample], counter: bool) -> Option<f64> {
    let [.., before, last] = samples else { return None };
    let span = (last.at - before.at) as f64 / 1000.0;
    if span <= 0.0 {
        return None;
    }
    if !counter {
        return Some(last.value - before.value);
    }
    let rise = if last.value < before.value { last.value } else { last.value - before.value };
    Some(rise / span)
}

/// `predict_linear` and `deriv`: least squares. Slope per second, and the value at `at`.
pub fn regression(samples: &[Sample], at: i64) -> Option<(f64, f64)> {
    if samples.len() < 2 {
        return None;
    }
    let n = samples.len() as f64;
    let x = |s: &Sample| (s.at - at) as f64 / 1000.0;
    let (sx, sy) = samples.iter().fold((0.0, 0.0), |(sx, sy), s| (sx + x(s), sy + s.value));
    let (sxy, sxx) =
        samples.iter().fold((0.0, 0.0), |(sxy, sxx), s| (sxy + x(s) * s.value, sxx + x(s) * x(s)));
    let variance = sxx - sx * sx / n;
    if variance == 0.0 {
        return None;
    }
    let slope = (sxy - sx * sy / n) / variance;
    Some((slope, sy / n - slope * sx / n))
}

/// `histogram_quantile` over `(le, cumulative count)`. NaN if it is undefined.
pub fn histogram_quantile(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some((last, rest)) = buckets.split_last() else { return f64::NAN };
    if last.0 != f64::INFINITY || rest.is_empty() {
        return f64::NAN;
    }
    // rates of the buckets of one scrape can differ by a rounding error
    let mut highest = 0.0f64;
    let counts: Vec<(f64, f64)> = buckets
        .iter()
        .map(|(le, count)| {
            highest = highest.max(*count);
            (*le, highest)
        })
        .collect();
    let observations = highest;
    if observations == 0.0 {
        return f64::NAN;
    }
    let rank = q * observations;
    let at = counts.iter().position(|(_, count)| *count >= rank).unwrap_or(counts.len() - 1);
    let bound = |i: usize| counts.get(i).map_or((f64::NAN, 0.0), |b| *b);
    if at == counts.len() - 1 {
        return bound(counts.len() - 2).0;
    }
    let (upper, count) = bound(at);
    if at == 0 && upper <= 0.0 {
        return upper;
    }
    let (lower, below) = if at == 0 { (0.0, 0.0) } else { bound(at - 1) };
    let inside = count - below;
    if inside <= 0.0 {
        return upper;
    }
    lower + (upper - lower) * ((rank - below) / inside)
}

/// The q-quantile of values, interpolated.
pub fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(f64::total_cmp);
    let rank = q * (values.len() - 1) as f64;
    let (low, high) = (rank.floor() as usize, rank.ceil() as usize);
    let value = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    value(low) + (value(high) - value(low)) * (rank - rank.floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[(i64, f64)]) -> Vec<Sample> {
        values.iter().map(|(at, value)| Sample { at: at * 1000, value: *value }).collect()
    }

    #[test]
    fn rates_as_prometheus_extrapolates_them() {
        // a steady counter: the rate is exact although no sample is at the edges
        let steady = samples(&[(5, 50.0), (15, 150.0), (25, 250.0), (35, 350.0), (45, 450.0), (55, 550.0)]);
        let rate = extrapolated(&steady, 0, 60_000, true, true).unwrap();
        assert!((rate - 10.0).abs() < 1e-9, "{rate}");
        // a reset in the middle loses nothing
        let reset = samples(&[(0, 100.0), (10, 200.0), (20, 50.0), (30, 150.0)]);
        assert_eq!(extrapolated(&reset, 0, 30_000, true, false), Some(250.0));
        // a counter that started in the range is not extrapolated below zero
        let young = samples(&[(50, 0.0), (60, 10.0)]);
        assert_eq!(extrapolated(&young, 0, 60_000, true, false), Some(10.0));
        assert_eq!(extrapolated(&samples(&[(1, 1.0)]), 0, 60_000, true, true), None);
        assert_eq!(instant(&reset[..3], true), Some(5.0));
    }

    #[test]
    fn quantiles() {
        let buckets = || vec![(0.1, 10.0), (0.2, 20.0), (f64::INFINITY, 20.0)];
        assert!((histogram_quantile(0.5, buckets()) - 0.1).abs() < 1e-9);
        assert!((histogram_quantile(0.75, buckets()) - 0.15).abs() < 1e-9);
        assert!((histogram_quantile(1.0, vec![(0.1, 1.0), (f64::INFINITY, 4.0)]) - 0.1).abs() < 1e-9);
        assert!(histogram_quantile(0.9, vec![(0.1, 1.0)]).is_nan(), "no +Inf bucket");
        assert!(histogram_quantile(0.9, vec![(0.1, 0.0), (f64::INFINITY, 0.0)]).is_nan());
        assert!((quantile(0.5, vec![3.0, 1.0, 2.0, 4.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_line_goes_on() {
        let line = samples(&[(0, 0.0), (10, 20.0), (20, 40.0)]);
        let (slope, now) = regression(&line, 20_000).unwrap();
        assert!((slope - 2.0).abs() < 1e-9 && (now - 40.0).abs() < 1e-9);
    }
}
