//! Samples in memory: series by their labels, the newest of a bounded time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use promql_parser::label::{MatchOp, Matcher, Matchers};

/// A series' labels; its metric's name is under [`NAME`].
pub type Labels = BTreeMap<String, String>;

/// The label that holds the metric's name.
pub const NAME: &str = "__name__";

/// Prometheus' marker for "the target no longer has this": a NaN of its own.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The marker as a value.
pub fn stale() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value is that marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// One value at a time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub at: i64,
    pub value: f64,
}

/// One series.
#[derive(Debug)]
pub struct Series {
    pub labels: Arc<Labels>,
    samples: VecDeque<Sample>,
}

impl Series {
    /// The samples in `(after, until]`, the oldest first, markers included.
    pub fn between(&self, after: i64, until: i64) -> impl Iterator<Item = Sample> + '_ {
        let first = self.samples.partition_point(|s| s.at <= after);
        self.samples.iter().skip(first).take_while(move |s| s.at <= until).copied()
    }

    /// The newest sample in `(after, until]`, unless it is the marker.
    pub fn newest(&self, after: i64, until: i64) -> Option<Sample> {
        let end = self.samples.partition_point(|s| s.at <= until);
        let sample = self.samples.get(end.checked_sub(1)?)?;
        (sample.at > after && !is_stale(sample.value)).then_some(*sample)
    }
}

/// The database.
#[derive(Debug)]
pub struct Tsdb {
    series: Vec<Series>,
    by_labels: HashMap<Arc<Labels>, usize>,
    by_name: HashMap<String, Vec<usize>>,
    keep_ms: i64,
}

impl Tsdb {
    /// Keeps samples for this long.
    pub fn new(keep_ms: i64) -> Self {
        Self { series: Vec::new(), by_labels: HashMap::new(), by_name: HashMap::new(), keep_ms }
    }

    /// Adds a sample. One that is not newer than the last of its series is dropped, as Prometheus drops it.
    pub fn append(&mut self, labels: Labels, at: i64, value: f64) {
        let i = match self.by_labels.get(&labels) {
            Some(i) => *i,
            None => self.insert(labels),
        };
        let keep = self.keep_ms;
        let Some(series) = self.series.get_mut(i) else { return };
        if series.samples.back().is_some_and(|s| s.at >= at) {
            return;
        }
        series.samples.push_back(Sample { at, value });
        while series.samples.front().is_some_and(|s| s.at < at - keep) {
            series.samples.pop_front();
        }
    }

    fn insert(&mut self, labels: Labels) -> usize {
        let i = self.series.len();
        let labels = Arc::new(labels);
        self.by_name.entry(labels.get(NAME).cloned().unwrap_or_default()).or_default().push(i);
        self.by_labels.insert(labels.clone(), i);
        self.series.push(Series { labels, samples: VecDeque::new() });
        i
    }

    /// Marks every series that these labels are part of as gone: a pod that ended, a target that left.
    pub fn end(&mut self, part: &[(&str, &str)], at: i64) {
        for series in &mut self.series {
            let of_it = part.iter().all(|(k, v)| series.labels.get(*k).is_some_and(|held| held == v));
            let open = series.samples.back().is_some_and(|s| s.at < at && !is_stale(s.value));
            if of_it && open {
                series.samples.push_back(Sample { at, value: stale() });
            }
        }
    }

    /// Forgets series without a sample since `before`.
    pub fn compact(&mut self, before: i64) {
        if self.series.iter().all(|s| s.samples.back().is_some_and(|s| s.at >= before)) {
            return;
        }
        let kept: Vec<Series> = std::mem::take(&mut self.series)
            .into_iter()
            .filter(|s| s.samples.back().is_some_and(|s| s.at >= before))
            .collect();
        self.by_labels.clear();
        self.by_name.clear();
        for (i, series) in kept.iter().enumerate() {
            self.by_labels.insert(series.labels.clone(), i);
            self.by_name.entry(series.labels.get(NAME).cloned().unwrap_or_default()).or_default().push(i);
        }
        self.series = kept;
    }

    /// The series that a selector means.
    pub fn select<'a>(&'a self, name: Option<&'a str>, matchers: &'a Matchers) -> Vec<&'a Series> {
        let wanted = move |series: &&Series| {
            matchers.matchers.iter().all(|m| fits(m, &series.labels))
                && (matchers.or_matchers.is_empty()
                    || matchers.or_matchers.iter().any(|all| all.iter().all(|m| fits(m, &series.labels))))
        };
        let named = name.or_else(|| {
            let by_name = matchers.matchers.iter().find(|m| m.name == NAME && m.op == MatchOp::Equal);
            by_name.map(|m| m.value.as_str())
        });
        match named {
            Some(name) => {
                let of_name = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
                of_name.iter().filter_map(|i| self.series.get(*i)).filter(wanted).collect()
            }
            None => self.series.iter().filter(wanted).collect(),
        }
    }

    /// All series, for label listings.
    pub fn all(&self) -> impl Iterator<Item = &Series> {
        self.series.iter()
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

/// A label that is absent is an empty one.
fn fits(matcher: &Matcher, labels: &Labels) -> bool {
    let value = labels.get(&matcher.name).map(String::as_str).unwrap_or_default();
    match &matcher.op {
        MatchOp::Equal => value == matcher.value,
        MatchOp::NotEqual => value != matcher.value,
        MatchOp::Re(regex) => regex.is_match(value),
        MatchOp::NotRe(regex) => !regex.is_match(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_ended_is_gone_and_the_old_is_forgotten() {
        let mut db = Tsdb::new(60_000);
        let up = labels(&[(NAME, "up"), ("pod", "a")]);
        for t in 0..20 {
            db.append(up.clone(), t * 10_000, 1.0);
        }
        let none = Matchers::empty();
        assert_eq!(db.select(Some("up"), &none)[0].between(0, 1_000_000).count(), 7);
        assert_eq!(db.select(Some("up"), &none)[0].newest(0, 195_000).unwrap().at, 190_000);
        db.end(&[("pod", "a")], 200_000);
        assert_eq!(db.select(Some("up"), &none)[0].newest(0, 210_000), None);
        assert!(db.select(Some("up"), &none)[0].newest(0, 195_000).is_some(), "it was there then");
        db.append(up, 100, 1.0);
        db.compact(300_000);
        assert!(db.is_empty());
    }
}
