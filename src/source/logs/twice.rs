//! Recognizes errors that two sources deliver: pods are followed through the API server while a log store such as Loki
//! has their lines too. The source that delivers an error first counts it; the other one leaves it out. So nothing is
//! counted twice, and nothing is lost if one of them is late or fails.

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};

use pilothouse_core::logs::{Hashing, Lookup};

use super::store::LogLine;

/// The number of errors of each side that are remembered.
const REMEMBER: usize = 1 << 16;
/// How much the two timestamps of one line can differ, in milliseconds. A log store usually has the timestamp of the
/// kubelet, but a collector can also use the time at which it read the line.
const APART_MS: i64 = 5_000;

/// Who delivers a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The API server.
    Api,
    /// A log store.
    Server,
}

/// How many errors have each time.
type Times = BTreeMap<i64, u32>;

/// Removes one error of this time.
fn remove(waiting: &mut Lookup<u64, Times>, key: u64, at: i64) {
    let Some(times) = waiting.get_mut(&key) else { return };
    if let Some(held) = times.get_mut(&at) {
        *held = held.saturating_sub(1);
        if *held == 0 {
            times.remove(&at);
        }
    }
    if times.is_empty() {
        waiting.remove(&key);
    }
}

#[derive(Debug, Default)]
struct Delivered {
    /// The times of the errors that the other side has not delivered yet, by pod, container and fingerprint.
    waiting: Lookup<u64, Times>,
    /// These errors in the order of their arrival, so that the oldest are forgotten first.
    order: VecDeque<(u64, i64)>,
}

impl Delivered {
    /// Removes the error that is closest to this time.
    fn take(&mut self, key: u64, at: i64) -> bool {
        let Some(times) = self.waiting.get(&key) else { return false };
        let (before, after) = (times.range(..=at).next_back(), times.range(at..).next());
        let closest =
            before.into_iter().chain(after).map(|(held, _)| *held).min_by_key(|held| held.abs_diff(at));
        let Some(closest) = closest.filter(|held| held.abs_diff(at) <= APART_MS.unsigned_abs()) else {
            return false;
        };
        remove(&mut self.waiting, key, closest);
        true
    }

    fn put(&mut self, key: u64, at: i64) {
        *self.waiting.entry(key).or_default().entry(at).or_default() += 1;
        self.order.push_back((key, at));
        while self.order.len() > REMEMBER
            && let Some((key, at)) = self.order.pop_front()
        {
            remove(&mut self.waiting, key, at);
        }
    }
}

/// The errors of both sides.
#[derive(Debug, Default)]
pub struct Twice {
    hasher: Hashing,
    sides: Mutex<Sides>,
}

#[derive(Debug, Default)]
struct Sides {
    api: Delivered,
    server: Delivered,
    /// There is no log store, so nothing has to be remembered.
    off: bool,
}

impl Twice {
    /// Sets whether there is a log store that can deliver lines of pods.
    pub fn expect(&self, server: bool) {
        let mut sides = self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        if sides.off == server {
            *sides = Sides { off: !server, ..Sides::default() };
        }
    }

    /// Whether the other side has not delivered this line yet. Lines other than errors, and those of no pod, are not
    /// compared.
    pub fn is_first(&self, side: Side, line: &LogLine) -> bool {
        let Some(print) = line.fingerprint.as_ref().filter(|_| !line.pod.is_empty()) else { return true };
        let mut sides = self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        if sides.off {
            return true;
        }
        let key = self.hasher.hash_one((&line.pod, &line.container, print));
        let Sides { api, server, .. } = &mut *sides;
        let (own, other) = match side {
            Side::Api => (api, server),
            Side::Server => (server, api),
        };
        if other.take(key, line.at.0) {
            return false;
        }
        own.put(key, line.at.0);
        true
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::Name;
    use pilothouse_core::domain::time::Stamp;
    use proptest::prelude::*;

    use super::*;

    fn line(at: i64, pod: &str, print: &str) -> LogLine {
        LogLine {
            at: Stamp(at),
            pod: pod.into(),
            container: "app".into(),
            fingerprint: Some(Name::from(print)),
            ..LogLine::default()
        }
    }

    #[test]
    fn whoever_is_first_counts() {
        let twice = Twice::default();
        assert!(twice.is_first(Side::Api, &line(1_000, "n/a", "f")));
        assert!(!twice.is_first(Side::Server, &line(1_000, "n/a", "f")));
        assert!(twice.is_first(Side::Server, &line(1_000, "n/a", "f")), "a second one that only Loki has");
        assert!(!twice.is_first(Side::Api, &line(1_900, "n/a", "f")), "which the API server delivers late");
        for other in [line(1_000, "n/b", "f"), line(1_000, "n/a", "g"), line(9_000, "n/a", "f")] {
            assert!(twice.is_first(Side::Api, &line(1_000, "n/a", "f")));
            assert!(twice.is_first(Side::Server, &other), "{other:?}");
        }
        let plain = LogLine { fingerprint: None, ..line(1, "n/a", "") };
        assert!(twice.is_first(Side::Api, &plain) && twice.is_first(Side::Server, &plain));
    }

    #[test]
    fn without_a_log_store_nothing_is_remembered() {
        let twice = Twice::default();
        assert!(twice.is_first(Side::Api, &line(1, "n/a", "f")));
        twice.expect(false);
        assert!(twice.is_first(Side::Server, &line(1, "n/a", "f")));
        twice.expect(true);
        assert!(twice.is_first(Side::Api, &line(1, "n/a", "f")));
        twice.expect(true);
        assert!(!twice.is_first(Side::Server, &line(1, "n/a", "f")));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let twice = Twice::default();
        for at in 0..(REMEMBER as i64 + 10) {
            assert!(twice.is_first(Side::Api, &line(at * 20_000, "n/a", "f")));
        }
        let sides = twice.sides.lock().unwrap();
        let held: u32 = sides.api.waiting.values().flat_map(BTreeMap::values).sum();
        assert_eq!((held as usize, sides.api.order.len()), (REMEMBER, REMEMBER));
    }

    proptest! {
        /// Both sides deliver the same lines in any order: each is counted once.
        #[test]
        fn the_same_lines_of_both_sides_count_once(
            lines in prop::collection::vec((0i64..100, 0u8..3), 0..60),
            order in prop::collection::vec(any::<bool>(), 120),
        ) {
            let (mut api, mut server) = (lines.clone(), lines.clone());
            let twice = Twice::default();
            let mut counted = 0;
            for pick in order {
                let (side, from) = if pick { (Side::Api, &mut api) } else { (Side::Server, &mut server) };
                if let Some((at, print)) = from.pop() {
                    counted += usize::from(twice.is_first(side, &line(at, "n/a", &print.to_string())));
                }
            }
            for (side, rest) in [(Side::Api, api), (Side::Server, server)] {
                for (at, print) in rest {
                    counted += usize::from(twice.is_first(side, &line(at, "n/a", &print.to_string())));
                }
            }
            prop_assert_eq!(counted, lines.len());
        }
    }
}
