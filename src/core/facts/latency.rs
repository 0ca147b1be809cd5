//! The usual latency of each Service, from the measurements of the last half hour. It keeps a few numbers for each
//! Service.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::domain::id::Name;
use crate::domain::time::Stamp;
use crate::domain::traffic::{ServiceTraffic, TrafficSeen};

/// The interval of the samples that are kept.
const EVERY_MS: u64 = 30_000;
/// The number of samples that are kept: half an hour.
const KEPT: usize = 60;
/// With fewer samples, the usual latency is not known.
const ENOUGH: usize = 4;

/// Namespace and name.
type Key = (Name, Name);

#[derive(Debug, Default)]
struct Past {
    at: Stamp,
    p95_ms: VecDeque<f64>,
    /// Their median, if there are enough.
    usual_ms: Option<f64>,
    /// The last poll that had the Service.
    seen: Stamp,
}

impl Past {
    fn add(&mut self, p95_ms: f64) {
        self.p95_ms.push_back(p95_ms);
        if self.p95_ms.len() > KEPT {
            self.p95_ms.pop_front();
        }
        let mut sorted: Vec<f64> = self.p95_ms.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        self.usual_ms = sorted.get(sorted.len() / 2).copied().filter(|_| sorted.len() >= ENOUGH);
    }
}

/// The past 95th percentiles of all Services.
#[derive(Debug, Default)]
pub struct Latency {
    past: HashMap<Key, Past>,
    seen: Stamp,
}

fn key(service: &ServiceTraffic) -> Key {
    (service.namespace.clone(), service.name.clone())
}

impl Latency {
    /// Adds the values of a poll. A Service that `is_slow` reports as slow is left out, so that a slow phase does not
    /// become the usual latency.
    pub fn take(&mut self, seen: &Arc<TrafficSeen>, is_slow: impl Fn(&ServiceTraffic) -> bool) {
        if seen.at == self.seen {
            return;
        }
        self.seen = seen.at;
        for service in seen.services.iter() {
            let Some(p95) = service.p95_ms else {
                if let Some(held) = self.past.get_mut(&key(service)) {
                    held.seen = seen.at;
                }
                continue;
            };
            let held = self.past.entry(key(service)).or_default();
            held.seen = seen.at;
            if (held.p95_ms.is_empty() || seen.at.since(held.at) >= EVERY_MS) && !is_slow(service) {
                held.at = seen.at;
                held.add(p95);
            }
        }
        self.past.retain(|_, held| held.seen == seen.at && !held.p95_ms.is_empty());
    }

    /// The median of the past samples, in milliseconds; None if there are too few.
    pub fn usual_ms(&self, service: &ServiceTraffic) -> Option<f64> {
        self.past.get(&key(service))?.usual_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(latency: &mut Latency, secs: i64, p95_ms: f64, slow: bool) -> ServiceTraffic {
        let service =
            ServiceTraffic { name: "web".into(), p95_ms: Some(p95_ms), ..ServiceTraffic::default() };
        let services = Arc::from([Arc::new(service.clone())]);
        latency.take(
            &Arc::new(TrafficSeen { at: Stamp(secs * 1000), services, ..TrafficSeen::default() }),
            |_| slow,
        );
        service
    }

    #[test]
    fn the_usual_is_the_median_of_what_was_not_slow() {
        let mut latency = Latency::default();
        for (n, p95) in [20.0, 24.0, 22.0].into_iter().enumerate() {
            let service = poll(&mut latency, 1 + 30 * n as i64, p95, false);
            assert_eq!(latency.usual_ms(&service), None, "too little is known");
        }
        poll(&mut latency, 91, 26.0, false);
        let service = poll(&mut latency, 95, 900.0, false);
        assert_eq!(latency.usual_ms(&service), Some(24.0), "within half a minute nothing is kept");
        for secs in 0..100 {
            poll(&mut latency, 200 + secs * 30, 768.0, true);
        }
        assert_eq!(latency.usual_ms(&service), Some(24.0));
        let gone = TrafficSeen { at: Stamp(9_000_000), ..TrafficSeen::default() };
        latency.take(&Arc::new(gone), |_| false);
        assert_eq!(latency.usual_ms(&service), None, "of what is gone nothing is kept");
    }
}
