//! Numbers from before the first poll, and how they come into the gaps of the polls.

use std::collections::HashMap;
use std::sync::Arc;

use super::{GIB, Level, Numbers, POLLS, Past, Track, Trend};
use crate::domain::id::Name;
use crate::domain::range::Span;
use crate::domain::time::Stamp;
use crate::domain::trend::{NodeTrend, ServiceTrend, Trends, TrendsSeen};

/// The numbers of nodes and Services from before the first poll. A node needs 80 bytes, and a Service 160. Newer ones
/// replace all of them, so they do not grow.
#[derive(Debug, Default)]
pub struct Earlier {
    nodes: HashMap<Name, Arc<Track<2>>>,
    services: HashMap<(Name, Name), Arc<Past>>,
}

/// The number of a series at one of the last [`POLLS`] times of a span, of which the newest is the last.
fn number(values: &[Option<f64>], span: Span, poll: usize) -> Option<f64> {
    let from_the_end = POLLS - poll;
    values.get(span.count.checked_sub(from_the_end)?).copied().flatten()
}

impl Earlier {
    /// Takes the numbers of nodes, or of Services, in place of those that it had of them.
    pub fn take(&mut self, seen: TrendsSeen) {
        let TrendsSeen { span, of } = seen;
        match of {
            Trends::Nodes(nodes) => {
                let node = |one: NodeTrend| (one.node.clone(), Arc::new(Track::of(span, &one)));
                self.nodes = nodes.into_iter().map(node).collect();
            }
            Trends::Services(services) => {
                let key = |one: &ServiceTrend| (one.namespace.clone(), one.name.clone());
                let service = |one: ServiceTrend| (key(&one), Arc::new(Past::of(span, &one)));
                self.services = services.into_iter().map(service).collect();
            }
        }
    }

    /// Returns the numbers of a node, by its name or its address.
    pub fn node(&self, name: &Name, address: Option<&Name>) -> Option<&Arc<Track<2>>> {
        self.nodes.get(name).or_else(|| self.nodes.get(address?))
    }

    /// Returns the numbers of a Service.
    pub fn service(&self, namespace: &Name, name: &Name) -> Option<&Arc<Past>> {
        self.services.get(&(namespace.clone(), name.clone()))
    }
}

/// Numbers of polls: their values, the time of the last one, and the time between two of them.
struct Polls<'a, T> {
    values: &'a [T; POLLS],
    at: Stamp,
    every_ms: u64,
}

impl<T: Copy + PartialEq> Polls<'_, T> {
    /// Returns the poll that is nearest to a time, if one is at most half an interval away.
    fn nearest(&self, at: Stamp) -> Option<T> {
        let every = i64::try_from(self.every_ms).ok().filter(|every| *every > 0)?;
        let back = (self.at.0.checked_sub(at.0)?.checked_add(every / 2)?).div_euclid(every);
        let place = (POLLS - 1).checked_sub(usize::try_from(back).ok()?)?;
        self.values.get(place).copied()
    }

    /// Returns the values, with those of an earlier time in place of the unknown ones.
    fn filled(&self, from: &Self, unknown: T) -> [T; POLLS] {
        let mut values = *self.values;
        let every = i64::try_from(self.every_ms).unwrap_or(0);
        for (back, value) in (0..).zip(values.iter_mut().rev()) {
            let at = Stamp(self.at.0.saturating_sub(every.saturating_mul(back)));
            if *value == unknown {
                *value = from.nearest(at).unwrap_or(unknown);
            }
        }
        values
    }
}

impl Track<2> {
    fn of(span: Span, node: &NodeTrend) -> Self {
        let mut polls = [[Level::default(); 2]; POLLS];
        for (poll, place) in polls.iter_mut().enumerate() {
            let gib = number(&node.bytes, span, poll).map(|bytes| bytes / GIB);
            *place = [number(&node.cores, span, poll), gib].map(Level::of);
        }
        Self { at: span.to(), every_ms: u64::from(span.step_secs) * 1_000, is_guessed: false, polls }
    }

    /// Returns the track with the earlier numbers in its gaps. The interval of the polls is not known before the second
    /// one; until then, the interval of the earlier numbers stands for it.
    pub fn with(&self, earlier: &Self) -> Self {
        let is_guessed = self.every_ms == 0;
        let every_ms = if is_guessed { earlier.every_ms } else { self.every_ms };
        Self { every_ms, is_guessed, ..self.clone() }.filled_from(earlier)
    }
}

impl<const N: usize> Track<N> {
    pub(super) fn filled_from(mut self, earlier: &Self) -> Self {
        let own = Polls { values: &self.polls, at: self.at, every_ms: self.every_ms };
        let from = Polls { values: &earlier.polls, at: earlier.at, every_ms: earlier.every_ms };
        self.polls = own.filled(&from, [Level::default(); N]);
        self
    }
}

impl Past {
    fn of(span: Span, service: &ServiceTrend) -> Self {
        let mut trend = Trend::default();
        for (poll, place) in trend.0.iter_mut().enumerate() {
            let number = |values: &[Option<f64>]| number(values, span, poll);
            *place =
                Numbers::new(number(&service.rps), number(&service.error_ratio), number(&service.p95_ms));
        }
        let every_ms = u64::from(span.step_secs) * 1_000;
        Self { at: span.to(), every_ms, service: trend, ..Self::default() }
    }

    /// Returns the past with the earlier numbers of the Service in its gaps. Its backends keep their own.
    pub fn with(&self, earlier: &Self) -> Self {
        let every_ms = if self.every_ms == 0 { earlier.every_ms } else { self.every_ms };
        let own = Polls { values: &self.service.0, at: self.at, every_ms };
        let from = Polls { values: &earlier.service.0, at: earlier.at, every_ms: earlier.every_ms };
        let service = Trend(own.filled(&from, Numbers::default()));
        Self { every_ms, service, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::traffic::ServiceTraffic;

    const STEP: u32 = 10;

    fn span(to_secs: i64) -> Span {
        let from = Stamp::from_secs(to_secs).plus_secs(-i64::from(STEP) * 29);
        Span { from, step_secs: STEP, count: POLLS }
    }

    /// 1, 2, 3, ... 30.
    fn ramp() -> Vec<Option<f64>> {
        (0..POLLS).map(|i| Some(i as f64 + 1.0)).collect()
    }

    /// Whether the kept numbers are these ones, within the precision that is kept.
    fn are(kept: &[Option<f64>], numbers: &[f64]) -> bool {
        let is = |(kept, number): (&Option<f64>, &f64)| kept.is_some_and(|k| (k / number - 1.0).abs() < 0.04);
        kept.len() == numbers.len() && kept.iter().zip(numbers).all(is)
    }

    #[test]
    fn the_gaps_before_the_first_poll_are_filled_and_its_own_numbers_stay() {
        let mut earlier = Earlier::default();
        let mut rps = ramp();
        rps[20] = None;
        let of =
            ServiceTrend { namespace: "shop".into(), name: "cart".into(), rps, ..ServiceTrend::default() };
        earlier.take(TrendsSeen { span: span(1_000), of: Trends::Services(vec![of]) });
        let cart = earlier.service(&"shop".into(), &"cart".into()).unwrap();
        let seen = |rps: f64| ServiceTraffic { rps: Some(rps), ..ServiceTraffic::default() };
        let first = Past::after(None, &seen(500.0), Stamp::from_secs(1_000));
        let filled = Arc::new(first.with(cart));
        let numbers: Vec<_> = filled.service.rps().collect();
        assert_eq!(numbers[20], None, "what Prometheus does not have either is a gap");
        assert!(are(&numbers[..5], &[1.0, 2.0, 3.0, 4.0, 5.0]), "{numbers:?}");
        assert!(are(&numbers[28..], &[29.0, 500.0]), "the poll is what the console saw: {numbers:?}");
        // the next poll moves all of them
        let next = Past::after(Some(&filled), &seen(500.0), Stamp::from_secs(1_010));
        assert_eq!(next.service.rps().take(29).collect::<Vec<_>>(), numbers[1..]);
        assert_eq!(earlier.service(&"shop".into(), &"pay".into()), None);
        // an hour later nothing of it is shown
        let late = Past::after(None, &seen(1.0), Stamp::from_secs(4_600)).with(cart);
        assert_eq!(late.service.rps().flatten().count(), 1);
    }

    #[test]
    fn polls_of_another_interval_than_the_earlier_numbers_leave_no_gaps() {
        let mut earlier = Earlier::default();
        let bytes: Vec<_> = ramp().into_iter().map(|n| n.map(|n| n * GIB)).collect();
        let of = NodeTrend { node: "10.0.0.1".into(), cores: ramp(), bytes };
        earlier.take(TrendsSeen { span: span(1_000), of: Trends::Nodes(vec![of]) });
        let node = earlier.node(&"a".into(), Some(&"10.0.0.1".into())).unwrap();
        let first = Track::after(None, [Some(40.0), Some(40.0)], Stamp::from_secs(1_000));
        let first = Arc::new(first.with(node));
        let memory: Vec<_> = first.numbers(1).collect();
        assert!(are(&memory[..3], &[1.0, 2.0, 3.0]) && are(&memory[29..], &[40.0]), "{memory:?}");
        // the metrics come every 60 seconds, and the earlier numbers are 10 apart
        let second = Track::after(Some(&first), [Some(41.0), Some(41.0)], Stamp::from_secs(1_060));
        assert_eq!(second.every_ms(), 60_000);
        let cpu: Vec<_> = second.numbers(0).collect();
        assert!(are(&cpu[24..], &[6.0, 12.0, 18.0, 24.0, 40.0, 41.0]), "a minute apart: {cpu:?}");
        assert_eq!(cpu[..24], [None; 24]);
        let third = Track::after(Some(&second), [Some(42.0), Some(42.0)], Stamp::from_secs(1_120));
        assert_eq!(third.numbers(0).skip(1).flatten().count(), 7);
    }
}
