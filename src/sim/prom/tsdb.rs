//! Samples in memory: series by their labels, for a limited time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use promql_parser::label::{MatchOp, Matcher, Matchers};

/// A series' labels, ordered by name; the metric's name has the label [`NAME`]. Texts are shared, so many series with
/// the same texts store each text once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Vec<(Arc<str>, Arc<str>)>);

impl Labels {
    pub fn new() -> Self {
        Self::default()
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| (**held).cmp(name))
    }

    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        self.0.get(self.place(name).ok()?).map(|(_, value)| value)
    }

    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) {
        let (name, value) = (name.into(), value.into());
        match self.place(&name) {
            Ok(at) => {
                if let Some(pair) = self.0.get_mut(at) {
                    pair.1 = value;
                }
            }
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Arc<str>> {
        Some(self.0.remove(self.place(name).ok()?).1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut labels = Self::new();
        for (name, value) in pairs {
            labels.insert(name, value);
        }
        labels
    }
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (&**name, &**value)))
    }
}

/// The label that holds the metric's name.
pub const NAME: &str = "__name__";

/// Prometheus' stale marker: a special NaN.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The stale marker as a value.
pub fn stale() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value is the stale marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// A value with its time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub at: i64,
    pub value: f64,
}

/// One series. A sample takes 12 bytes.
#[derive(Debug)]
pub struct Series {
    pub labels: Arc<Labels>,
    /// Milliseconds after `base`.
    times: VecDeque<u32>,
    values: VecDeque<f64>,
    base: i64,
}

impl Series {
    fn at(&self, place: usize) -> Option<Sample> {
        let at = self.base + i64::from(*self.times.get(place)?);
        Some(Sample { at, value: *self.values.get(place)? })
    }

    /// The number of samples that are not newer than `until`.
    fn upto(&self, until: i64) -> usize {
        let Ok(offset) = u32::try_from((until - self.base).min(i64::from(u32::MAX))) else { return 0 };
        self.times.partition_point(|at| *at <= offset)
    }

    /// The newest sample, stale markers included.
    pub fn last(&self) -> Option<Sample> {
        self.at(self.times.len().checked_sub(1)?)
    }

    /// The samples in `(after, until]`, the oldest first, stale markers included.
    pub fn between(&self, after: i64, until: i64) -> impl Iterator<Item = Sample> + '_ {
        (self.upto(after)..self.upto(until)).filter_map(|place| self.at(place))
    }

    /// The newest sample in `(after, until]`, unless it is a stale marker.
    pub fn newest(&self, after: i64, until: i64) -> Option<Sample> {
        let sample = self.at(self.upto(until).checked_sub(1)?)?;
        (sample.at > after && !is_stale(sample.value)).then_some(sample)
    }

    /// A copy with only the samples in `(after, until]`, or with only the newest of these.
    fn part(&self, after: i64, until: i64, newest: bool) -> Option<Self> {
        let end = self.upto(until);
        let start = self.upto(after).max(if newest { end.saturating_sub(1) } else { 0 });
        if start >= end {
            return None;
        }
        let times = self.times.range(start..end).copied().collect();
        let values = self.values.range(start..end).copied().collect();
        Some(Self { labels: self.labels.clone(), times, values, base: self.base })
    }

    /// A sample that is not newer than the last one is dropped, as Prometheus drops it.
    fn push(&mut self, at: i64, value: f64, keep: i64) {
        if self.last().is_some_and(|last| last.at >= at) {
            return;
        }
        if self.times.is_empty() {
            self.base = at;
        }
        while self.at(0).is_some_and(|first| first.at < at - keep) {
            self.times.pop_front();
            self.values.pop_front();
        }
        if at - self.base > i64::from(u32::MAX) {
            // Offsets are relative to the oldest sample again; a sample that still does not fit is too old to matter.
            let first = self.times.front().copied().unwrap_or_default();
            self.base += i64::from(first);
            for time in &mut self.times {
                *time -= first;
            }
            if at - self.base > i64::from(u32::MAX) {
                self.times.clear();
                self.values.clear();
                self.base = at;
            }
        }
        self.times.push_back(u32::try_from(at - self.base).unwrap_or(u32::MAX));
        self.values.push_back(value);
    }

    /// Bytes of its samples, unused capacity included.
    fn bytes(&self) -> usize {
        self.times.capacity() * 4 + self.values.capacity() * 8
    }
}

/// An open series of a writer. It stays valid until the series is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    place: u32,
    generation: u32,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    series: Option<Series>,
}

/// The samples that a selector needs: those in `(after, until]` of the matching series, or the newest of these.
#[derive(Debug)]
pub struct Need<'a> {
    pub name: Option<&'a str>,
    pub matchers: &'a Matchers,
    pub after: i64,
    pub until: i64,
    pub newest: bool,
}

/// Series copied from a database.
#[derive(Debug)]
pub struct Cut(Vec<Series>);

impl Cut {
    /// A read-only database, with the series in the order in which they were selected.
    pub fn into_tsdb(self) -> Tsdb {
        let mut db = Tsdb::new(i64::MAX / 4);
        for series in self.0 {
            let name = series.labels.get(NAME).cloned().unwrap_or_default();
            db.by_name.entry(name).or_default().push(db.slots.len());
            db.slots.push(Slot { generation: 0, series: Some(series) });
        }
        db
    }
}

/// The database.
#[derive(Debug)]
pub struct Tsdb {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// For writers.
    by_labels: HashMap<Arc<Labels>, usize>,
    by_name: HashMap<Arc<str>, Vec<usize>>,
    keep_ms: i64,
}

impl Tsdb {
    /// Keeps samples for this long.
    pub fn new(keep_ms: i64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_labels: HashMap::new(),
            by_name: HashMap::new(),
            keep_ms,
        }
    }

    /// How long samples are kept, in milliseconds.
    pub fn keeps(&self) -> i64 {
        self.keep_ms
    }

    /// Adds a sample. One that is not newer than the last of its series is dropped, as Prometheus drops it.
    pub fn append(&mut self, labels: Labels, at: i64, value: f64) {
        let open = self.open(labels);
        self.push(open, at, value);
    }

    /// The series with these labels, a new one if there is none.
    pub fn open(&mut self, labels: Labels) -> Open {
        let place = match self.by_labels.get(&labels) {
            Some(place) => *place,
            None => self.insert(labels),
        };
        let generation = self.slots.get(place).map_or(0, |slot| slot.generation);
        Open { place: u32::try_from(place).unwrap_or(u32::MAX), generation }
    }

    fn of(&mut self, open: Open) -> Option<&mut Series> {
        let slot = self.slots.get_mut(open.place as usize)?;
        if slot.generation == open.generation { slot.series.as_mut() } else { None }
    }

    /// Adds a sample to an open series. False if the series was dropped meanwhile.
    pub fn push(&mut self, open: Open, at: i64, value: f64) -> bool {
        let keep = self.keep_ms;
        self.of(open).map(|series| series.push(at, value, keep)).is_some()
    }

    /// Marks an open series as stale.
    pub fn close(&mut self, open: Open, at: i64) {
        let keep = self.keep_ms;
        if let Some(series) = self.of(open)
            && series.last().is_some_and(|last| !is_stale(last.value))
        {
            series.push(at, stale(), keep);
        }
    }

    fn insert(&mut self, labels: Labels) -> usize {
        let place = self.free.pop().unwrap_or(self.slots.len());
        if place == self.slots.len() {
            self.slots.push(Slot::default());
        }
        let labels = Arc::new(labels);
        self.by_name.entry(labels.get(NAME).cloned().unwrap_or_default()).or_default().push(place);
        self.by_labels.insert(labels.clone(), place);
        let series = Series { labels, times: VecDeque::new(), values: VecDeque::new(), base: 0 };
        if let Some(slot) = self.slots.get_mut(place) {
            slot.series = Some(series);
        }
        place
    }

    /// Marks every series with these labels as stale: of a pod that ended, or a target that was removed.
    pub fn end(&mut self, part: &[(&str, &str)], at: i64) {
        let keep = self.keep_ms;
        for series in self.slots.iter_mut().filter_map(|slot| slot.series.as_mut()) {
            let of_it = part.iter().all(|(k, v)| series.labels.get(k).is_some_and(|held| **held == **v));
            if of_it && series.last().is_some_and(|s| s.at < at && !is_stale(s.value)) {
                series.push(at, stale(), keep);
            }
        }
    }

    /// Drops series without a sample since `before`.
    pub fn compact(&mut self, before: i64) {
        let mut gone = false;
        for (place, slot) in self.slots.iter_mut().enumerate() {
            let old = |series: &Series| series.last().is_none_or(|last| last.at < before);
            if let Some(series) = slot.series.take_if(|series| old(series)) {
                self.by_labels.remove(&series.labels);
                slot.generation = slot.generation.wrapping_add(1);
                self.free.push(place);
                gone = true;
            }
        }
        if gone {
            let slots = &self.slots;
            self.by_name.retain(|_, places| {
                places.retain(|place| slots.get(*place).is_some_and(|slot| slot.series.is_some()));
                !places.is_empty()
            });
        }
    }

    /// The series that a selector matches.
    pub fn select<'a>(&'a self, name: Option<&'a str>, matchers: &'a Matchers) -> Vec<&'a Series> {
        self.places(name, matchers).into_iter().map(|(_, series)| series).collect()
    }

    fn places<'a>(&'a self, name: Option<&'a str>, matchers: &'a Matchers) -> Vec<(usize, &'a Series)> {
        let wanted = move |(_, series): &(usize, &Series)| fit(matchers, &series.labels);
        let named = name.or_else(|| {
            let by_name = matchers.matchers.iter().find(|m| m.name == NAME && m.op == MatchOp::Equal);
            by_name.map(|m| m.value.as_str())
        });
        let at = |place: usize| Some((place, self.slots.get(place)?.series.as_ref()?));
        match named {
            Some(name) => {
                let of_name = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
                of_name.iter().filter_map(|place| at(*place)).filter(wanted).collect()
            }
            None => (0..self.slots.len()).filter_map(at).filter(wanted).collect(),
        }
    }

    /// Copies the series that these selectors need, so that the caller needs neither the database nor its lock.
    pub fn cut(&self, needs: &[Need<'_>]) -> Cut {
        let mut known: HashMap<usize, usize> = HashMap::new();
        let mut parts: Vec<(&Series, i64, i64, bool)> = Vec::new();
        for need in needs {
            for (place, series) in self.places(need.name, need.matchers) {
                let part = known.get(&place).and_then(|at| parts.get_mut(*at));
                if let Some((_, after, until, newest)) = part {
                    *newest &= need.newest && *until == need.until;
                    (*after, *until) = ((*after).min(need.after), (*until).max(need.until));
                } else {
                    known.insert(place, parts.len());
                    parts.push((series, need.after, need.until, need.newest));
                }
            }
        }
        let part = |(series, after, until, newest): (&Series, _, _, _)| series.part(after, until, newest);
        Cut(parts.into_iter().filter_map(part).collect())
    }

    /// The names of all metrics.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }

    /// All series, for label listings.
    pub fn all(&self) -> impl Iterator<Item = &Series> {
        self.slots.iter().filter_map(|slot| slot.series.as_ref())
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Bytes of all samples, unused capacity included; without labels.
    pub fn bytes(&self) -> usize {
        self.all().map(Series::bytes).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether labels match all conditions of a selector.
pub fn fit(matchers: &Matchers, labels: &Labels) -> bool {
    matchers.matchers.iter().all(|m| fits(m, labels))
        && (matchers.or_matchers.is_empty()
            || matchers.or_matchers.iter().any(|all| all.iter().all(|m| fits(m, labels))))
}

/// An absent label counts as an empty one.
fn fits(matcher: &Matcher, labels: &Labels) -> bool {
    let value = labels.get(&matcher.name).map(|value| &**value).unwrap_or_default();
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
        pairs.iter().copied().collect()
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

    #[test]
    fn a_cut_has_what_is_needed_and_no_more() {
        let mut db = Tsdb::new(600_000);
        for t in 0..=60 {
            for pod in ["b", "a"] {
                db.append([(NAME, "up"), ("pod", pod)].into_iter().collect(), t * 10_000, t as f64);
            }
            db.append([(NAME, "down"), ("pod", "a")].into_iter().collect(), t * 10_000, t as f64);
        }
        let all = Matchers::empty();
        let need =
            |name, after, until, newest| Need { name: Some(name), matchers: &all, after, until, newest };
        let times = |db: &Tsdb, name: &str| -> Vec<i64> {
            db.select(Some(name), &all)[0].between(0, i64::MAX / 4).map(|sample| sample.at).collect()
        };
        let newest = db.cut(&[need("up", 0, 305_000, true)]).into_tsdb();
        assert_eq!((times(&newest, "up"), newest.len()), (vec![300_000], 2));
        let both = [need("up", 0, 305_000, true), need("up", 285_000, 325_000, false)];
        let both = db.cut(&both).into_tsdb();
        assert_eq!(times(&both, "up").last(), Some(&320_000));
        assert_eq!(both.len(), 2, "once each");
        let pods = both.select(Some("up"), &all);
        let pods: Vec<&str> = pods.iter().map(|series| &**series.labels.get("pod").unwrap()).collect();
        assert_eq!(pods, ["b", "a"], "in the same order");
        assert!(db.cut(&[need("up", 700_000, 800_000, false)]).into_tsdb().is_empty());
    }
}
