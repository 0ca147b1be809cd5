//! The only module that reads the clock, and the only one that corrects it to the cluster's time: timestamps in the
//! cluster come from the API server's clock, which can differ from ours by hours.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pilothouse_core::domain::time::Stamp;

/// No answer has had the server's time yet.
const UNMEASURED: i64 = i64::MIN;

/// The source of time: the system's clock, or a manual clock that tests set. Clones share the measured offset of the
/// server's clock.
#[derive(Clone, Debug)]
pub struct Clock {
    manual: Option<Arc<AtomicI64>>,
    /// The server's clock minus ours in milliseconds, or [`UNMEASURED`].
    offset: Arc<AtomicI64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// The offset closest to `offset` that agrees with an answer. The server's clock minus ours is between `low` and
/// `high`, which are at least a second apart because a `Date` header has whole seconds. So an offset that can be right
/// does not change, and more answers make it more precise.
fn narrowed(offset: i64, low: i64, high: i64) -> i64 {
    if low > high { offset } else { offset.clamp(low, high) }
}

/// The offset of the local time zone from UTC in seconds, at a moment.
pub fn zone(at: Stamp) -> i32 {
    use chrono::{Local, Offset as _, TimeZone as _};
    let offset = at.to_chrono().map(|at| Local.offset_from_utc_datetime(&at.naive_utc()));
    offset.map_or(0, |offset| offset.fix().local_minus_utc())
}

impl Clock {
    pub fn system() -> Self {
        Self { manual: None, offset: Arc::new(AtomicI64::new(UNMEASURED)) }
    }

    /// The same clock without the offset of a server's clock: for another cluster, and for times of this machine.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { manual: self.manual.clone(), ..Self::system() }
    }

    /// Updates the offset from an answer: its `Date` header (in whole seconds), and when the request was sent and the
    /// answer arrived, both by [`Clock::local`]. Does nothing to a manual clock.
    pub fn observe(&self, sent: Stamp, got: Stamp, date: Stamp) {
        if self.manual.is_some() {
            return;
        }
        let (low, high) = (date.0.saturating_sub(got.0), date.0.saturating_add(1000).saturating_sub(sent.0));
        let held = self.offset_ms().unwrap_or(0);
        self.offset.store(narrowed(held, low, high), Ordering::SeqCst);
    }

    /// The server's clock minus ours in milliseconds; None until an answer has had the server's time.
    pub fn offset_ms(&self) -> Option<i64> {
        Some(self.offset.load(Ordering::SeqCst)).filter(|ms| *ms != UNMEASURED)
    }

    /// A clock that shows `start` until [`Clock::set`] is called.
    pub fn manual(start: Stamp) -> Self {
        Self { manual: Some(Arc::new(AtomicI64::new(start.0))), ..Self::system() }
    }

    /// Sets a manual clock; does nothing to the system's clock.
    pub fn set(&self, now: Stamp) {
        if let Some(manual) = &self.manual {
            manual.store(now.0, Ordering::SeqCst);
        }
    }

    /// The time in the cluster; our own time until the server's is known.
    pub fn now(&self) -> Stamp {
        Stamp(self.local().0.saturating_add(self.offset_ms().unwrap_or(0)))
    }

    /// The time of this machine.
    #[allow(clippy::disallowed_methods)]
    pub fn local(&self) -> Stamp {
        match &self.manual {
            Some(manual) => Stamp(manual.load(Ordering::SeqCst)),
            None => Stamp(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            ),
        }
    }

    /// For measuring how long something took, and for deadlines of I/O: never wrong by a clock change. It is the time of
    /// tokio's timers, which a test can stop.
    pub fn instant() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    pub fn deadline(after: Duration) -> Instant {
        Self::instant() + after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates answers of a server whose clock is `skew` off, every 537 ms, with a total delay of `delay`.
    fn answers(clock: &Clock, skew: i64, delay: i64, n: i64) -> Vec<i64> {
        (0..n)
            .map(|i| {
                let sent = 1_700_000_000_000 + i * 537;
                let there = sent + delay / 2 + skew;
                clock.observe(Stamp(sent), Stamp(sent + delay), Stamp(there - there.rem_euclid(1000)));
                clock.offset_ms().unwrap()
            })
            .collect()
    }

    #[test]
    fn the_servers_clock_is_known_within_the_delay_of_an_answer() {
        for (skew, delay) in [(7_200_000, 20), (-7_200_000, 200), (90_000, 5), (-1_500, 40), (1_300, 4)] {
            let clock = Clock::system();
            assert_eq!(clock.offset_ms(), None);
            let told = answers(&clock, skew, delay, 40);
            assert!(
                (told[0] - skew).abs() <= 1000 + delay,
                "the first answer tells it to the second: {told:?}"
            );
            let last = told[39];
            assert!((last - skew).abs() <= 60 + delay, "{skew}: {told:?}");
            assert!((clock.now().0 - clock.local().0 - last).abs() < 1000);
        }
    }

    #[test]
    fn rounding_is_no_skew_and_nothing_flaps() {
        let told = answers(&Clock::system(), 0, 30, 100);
        assert!(told.iter().all(|ms| ms.abs() <= 30), "{told:?}");
        let clock = Clock::system();
        let settled = answers(&clock, 400, 30, 100)[99];
        assert!(answers(&clock, 400, 30, 100).iter().all(|ms| (ms - settled).abs() <= 30));
    }

    #[test]
    fn another_cluster_has_a_clock_of_its_own() {
        let clock = Clock::system();
        answers(&clock, 7_200_000, 10, 3);
        assert_eq!(clock.apart().offset_ms(), None);
        let manual = Clock::manual(Stamp(5));
        manual.observe(Stamp(0), Stamp(1), Stamp(9_000_000));
        assert_eq!(manual.now(), Stamp(5), "a hand moves it, and nothing else");
    }
}
