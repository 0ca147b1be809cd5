//! The last polls of each Service and of its backends, of each node, and the last numbers of replicas of each autoscaler,
//! for trends.
//!
//! A number is kept as one byte, a level on a logarithmic scale with steps of 7 %, which is finer than a bar of a
//! trend. A backend needs 90 bytes and its name: 2,000 Services with 20 backends each need about 4 MB. A node needs 80
//! bytes, so 5,000 nodes need 0.4 MB, and an autoscaler at most 800. A number that a poll does not have is a gap, never 0.

mod earlier;

use std::sync::Arc;

use crate::domain::id::Name;
use crate::domain::time::Stamp;
use crate::domain::traffic::{BackendTraffic, ServiceTraffic};

pub use self::earlier::Earlier;

/// Bytes of a GiB, the unit in which the memory of nodes is kept.
pub const GIB: f64 = 1_073_741_824.0;

/// The number of polls that are kept.
pub const POLLS: usize = 30;

/// A backend that the last polls did not have is forgotten after this number of them.
const FORGOTTEN_AFTER: usize = 4;

/// The smallest number that differs from 0, and the step from one level to the next.
const LEAST: f64 = 0.01;
const STEP: f64 = 1.07;

/// A number as a level: 0 is not known, 1 is 0, and the levels from 2 up are multiples of [`LEAST`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Level(u8);

impl Level {
    fn of(number: Option<f64>) -> Self {
        match number.filter(|n| n.is_finite()) {
            None => Self(0),
            Some(n) if n < LEAST => Self(1),
            // half the precision is enough, and the cast saturates
            Some(n) => Self(((n / LEAST) as f32).log(STEP as f32).round().min(253.0) as u8 + 2),
        }
    }

    fn number(self) -> Option<f64> {
        match self.0 {
            0 => None,
            1 => Some(0.0),
            level => Some(LEAST * STEP.powi(i32::from(level) - 2)),
        }
    }
}

/// The numbers of one poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Numbers {
    rps: Level,
    /// In percent.
    errors: Level,
    p95_ms: Level,
}

impl Numbers {
    fn new(rps: Option<f64>, error_ratio: Option<f64>, p95_ms: Option<f64>) -> Self {
        Self {
            rps: Level::of(rps),
            errors: Level::of(error_ratio.map(|ratio| ratio * 100.0)),
            p95_ms: Level::of(p95_ms),
        }
    }
}

/// The numbers of the last polls, the newest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trend([Numbers; POLLS]);

impl Trend {
    /// Requests per second.
    pub fn rps(&self) -> impl Iterator<Item = Option<f64>> {
        self.0.iter().map(|numbers| numbers.rps.number())
    }

    /// The error ratio in percent.
    pub fn errors_percent(&self) -> impl Iterator<Item = Option<f64>> {
        self.0.iter().map(|numbers| numbers.errors.number())
    }

    /// The 95th percentile in milliseconds; the mean if the source has no quantiles.
    pub fn p95_ms(&self) -> impl Iterator<Item = Option<f64>> {
        self.0.iter().map(|numbers| numbers.p95_ms.number())
    }

    /// Returns the trend with the numbers of the next poll, after `missed` polls without numbers.
    fn then(&self, missed: usize, newest: Numbers) -> Self {
        let mut next = Self::default();
        let kept = self.0.get((missed + 1).min(POLLS)..).unwrap_or_default();
        if let Some(place) = next.0.get_mut(..kept.len()) {
            place.copy_from_slice(kept);
        }
        if let Some(last) = next.0.last_mut() {
            *last = newest;
        }
        next
    }

    fn is_forgotten(&self) -> bool {
        self.0.iter().rev().take(FORGOTTEN_AFTER).all(|numbers| *numbers == Numbers::default())
    }
}

/// The last polls of a Service and of its backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The time of the last poll, and the time from the one before it in milliseconds; 0 if it was the first.
    at: Stamp,
    every_ms: u64,
    pub service: Trend,
    /// The names of the backends in order. They are shared from poll to poll, because they rarely change.
    names: Arc<[Name]>,
    /// The trend of each of them.
    backends: Box<[Trend]>,
}

impl Past {
    /// Returns the past with another poll. `before` is `None` for the first one. The same poll under other names of its
    /// backends adds nothing.
    pub fn after(before: Option<&Arc<Self>>, traffic: &ServiceTraffic, at: Stamp) -> Arc<Self> {
        if let Some(same) = before.filter(|before| before.at == at) {
            return same.clone();
        }
        let empty = Self::default();
        let before = before.map_or(&empty, |before| &**before);
        let elapsed_ms = if before.at == Stamp::default() { 0 } else { at.since(before.at) };
        let polls = (elapsed_ms + before.every_ms / 2).checked_div(before.every_ms).unwrap_or(1).max(1);
        let missed = usize::try_from(polls - 1).unwrap_or(POLLS).min(POLLS);
        let numbers = Numbers::new(traffic.rps, traffic.error_ratio, traffic.p95_ms);
        let service = before.service.then(missed, numbers);
        let (names, backends) = before.backends_after(missed, &traffic.backends);
        Arc::new(Self { at, every_ms: elapsed_ms, service, names, backends })
    }

    fn backends_after(&self, missed: usize, measured: &[BackendTraffic]) -> (Arc<[Name]>, Box<[Trend]>) {
        let numbers = |b: &BackendTraffic| Numbers::new(b.rps, b.error_ratio, b.p95_ms.or(b.mean_ms));
        let is_same = self.names.len() == measured.len()
            && self.names.iter().zip(measured).all(|(name, backend)| *name == backend.name);
        if is_same {
            let trends = self.backends.iter().zip(measured);
            let next = trends.map(|(trend, backend)| trend.then(missed, numbers(backend)));
            return (self.names.clone(), next.collect());
        }
        let mut all: Vec<(&Name, Trend)> = Vec::with_capacity(measured.len());
        for backend in measured {
            let past = self.backend(&backend.name).copied().unwrap_or_default();
            all.push((&backend.name, past.then(missed, numbers(backend))));
        }
        all.sort_by(|a, b| a.0.cmp(b.0));
        all.dedup_by(|a, b| a.0 == b.0);
        // a sample can be missing once; what left for good is forgotten
        let there = all.len();
        for (name, trend) in self.names.iter().zip(&self.backends) {
            let is_there =
                |list: &[(&Name, Trend)]| list.binary_search_by(|(held, _)| (*held).cmp(name)).is_ok();
            let trend = trend.then(missed, Numbers::default());
            if !trend.is_forgotten() && !all.get(..there).is_some_and(is_there) {
                all.push((name, trend));
            }
        }
        all.sort_by(|a, b| a.0.cmp(b.0));
        (
            all.iter().map(|(name, _)| (*name).clone()).collect(),
            all.into_iter().map(|(_, trend)| trend).collect(),
        )
    }

    /// The time of the last poll.
    pub fn at(&self) -> Stamp {
        self.at
    }

    /// The time between two polls in milliseconds; 0 after the first one.
    pub fn every_ms(&self) -> u64 {
        self.every_ms
    }

    /// Returns the trend of a backend.
    pub fn backend(&self, name: &Name) -> Option<&Trend> {
        self.backends.get(self.names.binary_search(name).ok()?)
    }
}

/// The numbers of the last polls of one thing: `N` numbers a poll, the newest last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track<const N: usize> {
    at: Stamp,
    every_ms: u64,
    /// True if the interval is that of the numbers from before the first poll, and not yet that of the polls.
    is_guessed: bool,
    polls: [[Level; N]; POLLS],
}

impl<const N: usize> Track<N> {
    /// Returns the track with another poll. The same poll adds nothing, and missed polls are gaps.
    pub fn after(before: Option<&Arc<Self>>, numbers: [Option<f64>; N], at: Stamp) -> Arc<Self> {
        let newest = numbers.map(Level::of);
        let Some(before) = before else {
            let mut polls = [[Level::default(); N]; POLLS];
            if let Some(last) = polls.last_mut() {
                *last = newest;
            }
            return Arc::new(Self { at, every_ms: 0, is_guessed: false, polls });
        };
        if before.at >= at {
            return before.clone();
        }
        let elapsed_ms = at.since(before.at);
        if before.is_guessed {
            let first = Self::after(None, numbers, at);
            let first = Self { every_ms: elapsed_ms, ..Self::clone(&first) };
            return Arc::new(first.filled_from(before));
        }
        // the interval is that of the polls, not that of an outage
        let is_usual = before.every_ms == 0 || elapsed_ms < before.every_ms + before.every_ms / 2;
        let every_ms = if is_usual { elapsed_ms } else { before.every_ms };
        let steps = (elapsed_ms + every_ms / 2).checked_div(every_ms).unwrap_or(1).max(1);
        let steps = usize::try_from(steps).unwrap_or(POLLS).min(POLLS);
        let mut polls = [[Level::default(); N]; POLLS];
        for (place, held) in polls.iter_mut().zip(before.polls.iter().skip(steps)) {
            *place = *held;
        }
        if let Some(last) = polls.last_mut() {
            *last = newest;
        }
        Arc::new(Self { at, every_ms, is_guessed: false, polls })
    }

    /// The time of the last poll.
    pub fn at(&self) -> Stamp {
        self.at
    }

    /// The time between two polls in milliseconds; 0 after the first one.
    pub fn every_ms(&self) -> u64 {
        self.every_ms
    }

    /// Whether another poll should have come by now.
    pub fn is_overdue(&self, now: Stamp) -> bool {
        now.since(self.at) >= self.every_ms.max(1_000) / 4 * 3
    }

    /// Whether no number is left.
    pub fn is_empty(&self) -> bool {
        self.polls.iter().flatten().all(|level| *level == Level::default())
    }

    /// One of the numbers of each poll.
    pub fn numbers(&self, which: usize) -> impl Iterator<Item = Option<f64>> {
        self.polls.iter().map(move |poll| poll.get(which).and_then(|level| level.number()))
    }
}

/// The most changes that are kept.
const STEPS: usize = 32;

/// The numbers of replicas of an autoscaler since each of their last changes: now, and wanted. Nothing is kept while they
/// do not change. A change needs 24 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps(Vec<Step>);

type Pair = (Option<i32>, Option<i32>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    at: Stamp,
    pair: Pair,
}

impl Steps {
    /// Returns the numbers with those of now. If they are the same, nothing is added.
    pub fn after(before: Option<&Arc<Self>>, now: Option<i32>, wanted: Option<i32>, at: Stamp) -> Arc<Self> {
        let pair = (now, wanted);
        match before {
            Some(held) if held.0.last().is_some_and(|last| last.pair == pair || last.at > at) => held.clone(),
            held => {
                let held = held.map(|held| held.0.as_slice()).unwrap_or_default();
                let kept = held.get(held.len().saturating_sub(STEPS - 1)..).unwrap_or_default();
                Arc::new(Self(kept.iter().copied().chain([Step { at, pair }]).collect()))
            }
        }
    }

    /// Returns the numbers at a time, or `None` before the first one that is known.
    pub fn at(&self, at: Stamp) -> Option<Pair> {
        self.0.iter().rev().find(|step| step.at <= at).map(|step| step.pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(before: Option<&Arc<Past>>, secs: i64, backends: &[(&str, f64)]) -> Arc<Past> {
        let one = |(name, rps): &(&str, f64)| BackendTraffic {
            name: (*name).into(),
            rps: Some(*rps),
            error_ratio: Some(0.041),
            ..BackendTraffic::default()
        };
        let traffic = ServiceTraffic {
            rps: Some(backends.iter().map(|(_, rps)| rps).sum()),
            backends: backends.iter().map(one).collect(),
            ..ServiceTraffic::default()
        };
        Past::after(before, &traffic, Stamp(secs * 1000))
    }

    fn rates(trend: &Trend) -> Vec<Option<i64>> {
        trend.rps().map(|rps| rps.map(|rps| rps.round() as i64)).collect()
    }

    #[test]
    fn a_number_is_kept_within_four_percent_and_an_unknown_one_is_a_gap() {
        for number in [0.02, 0.4, 1.0, 8.1, 83.0, 4.7e3, 2.2e5] {
            let kept = Level::of(Some(number)).number().unwrap();
            assert!((kept / number - 1.0).abs() < 0.04, "{number} {kept}");
        }
        assert_eq!(Level::of(Some(0.0)).number(), Some(0.0));
        assert!(Level::of(Some(1e300)).number().unwrap() > 2e5, "more than the scale has is its end");
        for unknown in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            assert_eq!(Level::of(unknown).number(), None);
        }
    }

    #[test]
    fn polls_come_from_the_right_and_missed_ones_are_gaps() {
        let first = poll(None, 100, &[("a", 10.0)]);
        let second = poll(Some(&first), 115, &[("a", 20.0), ("b", 5.0)]);
        let late = poll(Some(&second), 160, &[("b", 5.0)]);
        let of = |past: &Past, name: &str| rates(past.backend(&name.into()).unwrap());
        assert_eq!(of(&second, "a").split_off(POLLS - 3), [None, Some(10), Some(20)]);
        assert_eq!(of(&late, "a").split_off(POLLS - 5), [Some(10), Some(20), None, None, None]);
        assert_eq!(of(&late, "b").split_off(POLLS - 4), [Some(5), None, None, Some(5)]);
        assert_eq!(rates(&late.service).len(), POLLS);
        let errors: Vec<_> = second.backend(&"a".into()).unwrap().errors_percent().flatten().collect();
        assert!(errors.iter().all(|e| (3.9..4.3).contains(e)) && errors.len() == 2, "{errors:?}");
    }

    #[test]
    fn memory_is_bounded_and_what_left_is_forgotten() {
        assert_eq!(size_of::<Trend>(), 90);
        let mut past = poll(None, 0, &[("gone", 1.0)]);
        for n in 1..100 {
            // each poll has a pod that no other has
            past = poll(Some(&past), n * 15, &[("a", 1.0), (&format!("pod-{n}"), 1.0)]);
            assert!(past.backends.len() <= 2 + FORGOTTEN_AFTER, "{}", past.backends.len());
        }
        assert!(past.backend(&"gone".into()).is_none());
        assert_eq!(rates(past.backend(&"a".into()).unwrap()), [Some(1); POLLS]);
        let hours_later = poll(Some(&past), 90_000, &[("a", 1.0)]);
        assert_eq!(rates(hours_later.backend(&"a".into()).unwrap()).iter().flatten().count(), 1);
    }
}
