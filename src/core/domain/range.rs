//! Numbers over time: the answer of a range query, one place for each time that was asked for.

use serde::{Deserialize, Serialize};

use super::time::Stamp;

/// The most points of one series that Prometheus returns.
pub const MOST_POINTS: usize = 11_000;
/// The most series of one answer that are kept.
pub const MOST_SERIES: usize = 64;

/// Steps that divide minutes, hours and days, in seconds.
const STEPS: [u32; 25] = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 40, 60, 90, 120, 180, 240, 300, 600, 900, 1_800, 3_600, 7_200,
    14_400,
];

/// The times of a range query: `count` of them, from `from` on, `step_secs` apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    pub from: Stamp,
    pub step_secs: u32,
    pub count: usize,
}

impl Span {
    /// Returns the span that ends at `to` or less than a step before it, and is about `secs` long. It has at most
    /// `most` points. Its times are multiples of the step, so that the same points return with each query.
    pub fn until(to: Stamp, secs: u32, most: usize) -> Self {
        let most = most.clamp(2, MOST_POINTS);
        // a span of n steps has n + 1 points
        let gaps = u32::try_from(most - 1).unwrap_or(u32::MAX);
        let least = secs.max(1).div_ceil(gaps);
        let step = STEPS.into_iter().find(|step| *step >= least).unwrap_or(least);
        let length = i64::from(step) * 1_000;
        let count = (secs.max(1) / step + 1).max(2) as usize;
        let last = to.0.div_euclid(length);
        let first = last.saturating_sub(i64::try_from(count).unwrap_or(0) - 1);
        Self { from: Stamp(first.saturating_mul(length)), step_secs: step, count }
    }

    /// Returns the time of a point.
    pub fn at(&self, index: usize) -> Stamp {
        self.from
            .plus_secs(i64::from(self.step_secs).saturating_mul(i64::try_from(index).unwrap_or(i64::MAX)))
    }

    /// Returns the time of the last point.
    pub fn to(&self) -> Stamp {
        self.at(self.count.saturating_sub(1))
    }

    /// The seconds from the first point to the last.
    pub fn secs(&self) -> u64 {
        self.to().secs_since(self.from)
    }

    /// Returns the point that is nearest to a time, or `None` outside of the span.
    pub fn index(&self, at: Stamp) -> Option<usize> {
        let step = i64::from(self.step_secs.max(1)) * 1_000;
        let index = (at.0.checked_sub(self.from.0)? + step / 2).div_euclid(step);
        usize::try_from(index).ok().filter(|index| *index < self.count)
    }
}

/// One series: a place for each time of the span. A time without a sample, with a stale one, with NaN or with an infinity
/// has `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The labels, cleaned for display.
    pub labels: Vec<(String, String)>,
    pub values: Vec<Option<f64>>,
}

impl Series {
    /// Returns the series of an answer with points at any times of the span. Points outside of it are left out.
    pub fn of(
        span: Span,
        labels: Vec<(String, String)>,
        points: impl Iterator<Item = (Stamp, Option<f64>)>,
    ) -> Self {
        let mut values = vec![None; span.count];
        for (at, value) in points {
            if let Some(place) = span.index(at).and_then(|index| values.get_mut(index)) {
                *place = value.filter(|value| value.is_finite());
            }
        }
        Self { labels, values }
    }

    /// Returns the value of a label, or "" if it is absent.
    pub fn label(&self, key: &str) -> &str {
        self.labels.iter().find(|(held, _)| held == key).map_or("", |(_, value)| value)
    }
}

/// The answer of a range query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranged {
    pub span: Span,
    /// At most [`MOST_SERIES`].
    pub series: Vec<Series>,
    /// The number of series that the answer had besides.
    pub left_out: usize,
    /// What the server said about the answer. With warnings, it can be partial.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_multiples_of_the_step() {
        let now = Stamp(1_795_230_727_345);
        let span = Span::until(now, 900, 140);
        assert_eq!((span.step_secs, span.count), (8, 113));
        assert_eq!(span.from.0 % 8_000, 0);
        assert!(span.to() <= now && now.since(span.to()) < 8_000);
        assert_eq!(span.index(span.at(7)), Some(7));
        assert_eq!(span.index(Stamp(span.at(7).0 + 3_999)), Some(7));
        assert_eq!(span.index(Stamp(span.from.0 - 5_000)), None);
        assert_eq!(span.index(span.at(113)), None);
        let next = Span::until(now.plus_secs(8), 900, 140);
        assert_eq!(next.from, span.at(1), "the same points return");
    }

    proptest! {
        #[test]
        fn a_span_has_no_more_points_than_there_is_room(secs in 1u32..2_000_000, most in 2usize..30_000, now in 0i64..4_000_000_000_000) {
            let span = Span::until(Stamp(now), secs, most);
            prop_assert!(span.count <= most.min(MOST_POINTS) && span.count >= 2);
            prop_assert!(span.to() <= Stamp(now));
            prop_assert!(Stamp(now).since(span.to()) < u64::from(span.step_secs) * 1_000);
            prop_assert!(span.secs() <= u64::from(secs).max(u64::from(span.step_secs)));
        }
    }

    #[test]
    fn what_is_missing_stays_a_gap() {
        let span = Span { from: Stamp(60_000), step_secs: 10, count: 5 };
        let points = [
            (Stamp(60_000), Some(1.0)),
            (Stamp(70_000), Some(f64::NAN)),
            (Stamp(80_000), None),
            (Stamp(100_000), Some(0.0)),
            (Stamp(110_000), Some(9.0)),
        ];
        let series = Series::of(span, vec![("pod".into(), "a".into())], points.into_iter());
        assert_eq!(series.values, [Some(1.0), None, None, None, Some(0.0)]);
        assert_eq!((series.label("pod"), series.label("node")), ("a", ""));
    }
}
