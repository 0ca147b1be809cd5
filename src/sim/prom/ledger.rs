//! Who was answered what: proxies count requests by their source, pods count them alone. The ledger divides what each pod
//! has answered since the last scrape among those who asked, in proportion to their requests. Nothing is lost or counted
//! twice: the parts of all askers add up to the pod's own counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::traffic::draw::Dice;
use crate::traffic::field::{Asker, Service};
use crate::traffic::{Counts, Field};

/// The requests of one asker since the last scrape that one pod answered, or that got no answer.
pub(super) struct Told {
    pub asker: Asker,
    /// The index of the Service that was asked.
    pub to: usize,
    /// `None`: nobody answered. The counts are then 502 for a refused connection, 503 for no backend, 504 for a timeout.
    pub pod: Option<usize>,
    pub counts: Counts,
}

/// The run of a container, and its counts.
type Run = (Option<DateTime<Utc>>, Counts);

/// The counts at the last scrape.
pub(super) struct Ledger {
    dice: Dice,
    /// By the pod's UID and the Service's index.
    pods: HashMap<(Arc<str>, usize), Run>,
    /// By the Service's index: its askers, and its requests without an answer (timeouts, refused, without backend).
    services: HashMap<usize, (BTreeMap<Asker, u64>, [u64; 3])>,
    /// By the Service's index: its pods, and how many requests each has answered since the last scrape.
    busy: HashMap<usize, Vec<(usize, f64)>>,
}

impl Ledger {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self { dice: Dice(rng), pods: HashMap::new(), services: HashMap::new(), busy: HashMap::new() }
    }

    /// Everything since the last call that a proxy saw: the requests from or to a Service with sidecars, and those from
    /// an ingress controller.
    pub(super) fn read(&mut self, field: &Field) -> Vec<Told> {
        let proxied = |at: usize| field.services.get(at).is_some_and(|one| one.mesh || one.ingress);
        let is_seen = |at: usize, service: &Service| {
            proxied(at) || service.askers.keys().flatten().any(|asker| proxied(*asker))
        };
        let (mut answers, mut pods) = (BTreeMap::<usize, Vec<(usize, Counts)>>::new(), HashMap::new());
        self.busy.clear();
        for (slot, pod) in field.pods.iter().enumerate() {
            let Some(pod) = pod else { continue };
            for (to, counts) in &pod.counts {
                if !field.services.get(*to).is_some_and(|service| is_seen(*to, service)) {
                    continue;
                }
                let key = (pod.uid.clone(), *to);
                let before = self.pods.remove(&key).filter(|(started, _)| *started == pod.started);
                let news = before.map_or_else(|| counts.clone(), |(_, before)| counts.since(&before));
                self.busy.entry(*to).or_default().push((slot, news.answers() as f64));
                answers.entry(*to).or_default().push((slot, news));
                pods.insert(key, (pod.started, counts.clone()));
            }
        }
        self.pods = pods;
        let mut out = Vec::new();
        for (to, service) in field.services.iter().enumerate().filter(|(at, one)| is_seen(*at, one)) {
            let mut all: Vec<(Option<usize>, Counts)> = answers
                .remove(&to)
                .into_iter()
                .flatten()
                .map(|(slot, counts)| (Some(slot), counts))
                .collect();
            let lost = [service.total.timeouts, service.total.refused, service.unrouted];
            let (askers, before) = self.services.remove(&to).unwrap_or_default();
            all.push((None, unanswered(lost, before)));
            let weights: Vec<(Asker, f64)> = service
                .askers
                .iter()
                .map(|(asker, n)| (*asker, n.saturating_sub(askers.get(asker).copied().unwrap_or(0)) as f64))
                .collect();
            self.services.insert(to, (service.askers.clone(), lost));
            for (pod, counts) in all.into_iter().filter(|(_, counts)| counts.answers() > 0) {
                let parts = divide(&counts, weights.iter().map(|(_, weight)| *weight), &mut self.dice);
                let parts = weights.iter().zip(parts).filter(|(_, counts)| counts.answers() > 0);
                out.extend(parts.map(|((asker, _), counts)| Told { asker: *asker, to, pod, counts }));
            }
        }
        out
    }

    /// Divides what a Service was answered among its pods, by how many requests each has answered itself.
    pub(super) fn among_pods(&mut self, asker: usize, counts: &Counts) -> Vec<(usize, Counts)> {
        let pods = self.busy.get(&asker).map(Vec::as_slice).unwrap_or_default();
        let parts = divide(counts, pods.iter().map(|(_, weight)| *weight), &mut self.dice);
        pods.iter().map(|(slot, _)| *slot).zip(parts).filter(|(_, counts)| counts.answers() > 0).collect()
    }
}

/// The requests without an answer, in the form of answers: a timeout takes a second, and the others no time.
fn unanswered(now: [u64; 3], before: [u64; 3]) -> Counts {
    let mut out = Counts::default();
    let [timeouts, refused, unrouted] = [0, 1, 2].map(|at: usize| {
        let value = |all: [u64; 3]| all.get(at).copied().unwrap_or_default();
        value(now).saturating_sub(value(before))
    });
    let [_, _, bad, away, late] = &mut out.codes;
    (*bad, *away, *late) = (refused, unrouted, timeouts);
    if let Some(fast) = out.buckets.first_mut() {
        *fast = refused + unrouted;
    }
    if let Some(second) = out.buckets.get_mut(SECOND) {
        *second = timeouts;
    }
    out.sum = timeouts as f64;
    out
}

/// The bucket of a latency of one second.
const SECOND: usize = 7;

/// Divides counts at random in proportion to weights. Answers and latencies of a part have the same number.
fn divide(counts: &Counts, weights: impl Iterator<Item = f64>, dice: &mut Dice) -> Vec<Counts> {
    let weights: Vec<f64> = weights.collect();
    let all = counts.answers();
    let mut sizes = vec![0; weights.len()];
    dice.multinomial(all, &weights, &mut sizes);
    let mut left = counts.clone();
    let part = |n: u64| {
        let mut out = Counts { sum: counts.sum * n as f64 / all.max(1) as f64, ..Counts::default() };
        deal(&mut left.codes, n, &mut out.codes, dice);
        deal(&mut left.buckets, n, &mut out.buckets, dice);
        out
    };
    sizes.into_iter().map(part).collect()
}

/// Moves `n` items from places to the same places of `out`, at random by how many each has.
fn deal(from: &mut [u64], n: u64, out: &mut [u64], dice: &mut Dice) {
    let (mut held, mut left) = (from.iter().sum::<u64>(), n);
    for (from, out) in from.iter_mut().zip(out) {
        let behind = held - *from;
        let drawn = dice.binomial(left, *from as f64 / held.max(1) as f64);
        let moved = drawn.max(left.saturating_sub(behind)).min(left).min(*from);
        (*from, *out) = (*from - moved, *out + moved);
        (left, held) = (left - moved, behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_and_have_as_many_answers_as_latencies() {
        let mut dice = Dice(fastrand::Rng::with_seed(3));
        let mut counts = Counts { sum: 40.0, ..Counts::default() };
        counts.codes = [9_000, 700, 200, 90, 10];
        counts.buckets = [0, 10, 4_000, 5_000, 500, 300, 100, 50, 30, 10, 0];
        let parts = divide(&counts, [3.0, 0.0, 1.0].into_iter(), &mut dice);
        let mut sum = Counts::default();
        for part in &parts {
            assert_eq!(part.answers(), part.buckets.iter().sum::<u64>());
            sum.add(part);
        }
        assert_eq!((sum.codes, sum.buckets), (counts.codes, counts.buckets));
        assert_eq!(parts[1].answers(), 0);
        let three = parts[0].answers() as f64;
        assert!((three - 7_500.0).abs() < 250.0, "{three}");
        assert!((parts[0].codes[1] as f64 - 525.0).abs() < 80.0, "{:?}", parts[0].codes);
    }
}
