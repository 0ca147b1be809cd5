//! Simulated time. Everything in the cluster (timestamps, loops, log lines) reads this clock and no other. It starts at
//! the real time or at a fixed one, runs at a factor, and can be stopped and moved.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio::sync::watch;
use tokio::time::Instant;

/// The longest real sleep before the clock is read again, which limits the effect of a lost wake-up.
const LONGEST_NAP: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
struct Base {
    sim: DateTime<Utc>,
    real: Instant,
    factor: f64,
}

impl Base {
    fn at(&self, real: Instant) -> DateTime<Utc> {
        let passed = real.saturating_duration_since(self.real).as_secs_f64() * self.factor;
        self.sim
            .checked_add_signed(TimeDelta::microseconds((passed * 1e6) as i64))
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// The clock of one simulated cluster.
#[derive(Debug)]
pub struct Clock {
    origin: DateTime<Utc>,
    base: Mutex<Base>,
    moved: watch::Sender<u64>,
}

#[allow(clippy::disallowed_methods, reason = "the one place of this package that reads real time")]
fn real_now() -> (DateTime<Utc>, Instant) {
    (std::time::SystemTime::now().into(), Instant::now())
}

impl Clock {
    /// Starts at the real time, at `factor` simulated seconds per second.
    pub fn real(factor: f64) -> Self {
        Self::starting(real_now().0, factor)
    }

    pub fn starting(at: DateTime<Utc>, factor: f64) -> Self {
        let base = Base { sim: at, real: real_now().1, factor: sane(factor) };
        Self { origin: at, base: Mutex::new(base), moved: watch::Sender::new(0) }
    }

    /// Stands still until it is moved; for tests.
    pub fn manual(at: DateTime<Utc>) -> Self {
        Self::starting(at, 0.0)
    }

    fn base(&self) -> Base {
        *self.base.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rebase(&self, change: impl FnOnce(&mut Base)) {
        {
            let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
            let real = real_now().1;
            *base = Base { sim: base.at(real), real, factor: base.factor };
            change(&mut base);
        }
        self.moved.send_modify(|n| *n = n.wrapping_add(1));
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.base().at(real_now().1)
    }

    pub fn factor(&self) -> f64 {
        self.base().factor
    }

    /// The time from the start of this clock to `at`. Recurring events are computed from there, so that a story is the
    /// same at any hour of the day.
    pub fn since_origin(&self, at: DateTime<Utc>) -> TimeDelta {
        at - self.origin
    }

    /// The next time after `at` of an event that recurs every `period`, `phase` after the clock's start.
    pub fn next(&self, period: TimeDelta, phase: TimeDelta, at: DateTime<Utc>) -> DateTime<Utc> {
        let period = period.num_milliseconds().max(1);
        let passed = (self.since_origin(at) - phase).num_milliseconds().rem_euclid(period);
        at + TimeDelta::milliseconds(period - passed)
    }

    pub fn set(&self, at: DateTime<Utc>) {
        self.rebase(|base| base.sim = at);
    }

    pub fn advance(&self, by: TimeDelta) {
        self.rebase(|base| base.sim = base.sim.checked_add_signed(by).unwrap_or(base.sim));
    }

    pub fn set_factor(&self, factor: f64) {
        self.rebase(|base| base.factor = sane(factor));
    }

    /// Now, as `metav1.Time` writes it.
    pub fn stamp(&self) -> String {
        stamp(self.now())
    }

    /// Now, as `metav1.MicroTime` writes it (leases, events).
    pub fn micro(&self) -> String {
        self.now().to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// Waits until the simulated time is `at`, however the clock is moved meanwhile.
    pub async fn until(&self, at: DateTime<Utc>) {
        let mut moved = self.moved.subscribe();
        loop {
            moved.mark_unchanged();
            let base = self.base();
            let left = (at - base.at(real_now().1)).num_microseconds().unwrap_or(i64::MAX);
            if left <= 0 {
                return;
            }
            let nap = if base.factor > 0.0 {
                Duration::from_secs_f64((left as f64 / 1e6 / base.factor).min(LONGEST_NAP.as_secs_f64()))
            } else {
                LONGEST_NAP
            };
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                changed = moved.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Sleeps in simulated time.
    pub async fn sleep(&self, by: Duration) {
        let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        self.until(self.now().checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC)).await;
    }
}

/// A valid factor: finite, not negative, at most 1000.
fn sane(factor: f64) -> f64 {
    if factor.is_finite() { factor.clamp(0.0, 1000.0) } else { 1.0 }
}

/// A time in the form of `metav1.Time`: whole seconds, UTC.
pub fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Parses a time of an object.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_recurs_is_reckoned_from_the_origin() {
        let start = parse("2026-01-02T03:04:05Z").unwrap();
        let clock = Clock::manual(start);
        let next = |passed| {
            let at = start + TimeDelta::milliseconds(passed);
            (clock.next(TimeDelta::seconds(10), TimeDelta::seconds(3), at) - start).num_milliseconds()
        };
        assert_eq!([next(-8_000), next(0), next(2_999), next(3_000)], [-7_000, 3_000, 3_000, 13_000]);
    }

    #[tokio::test]
    async fn a_moved_clock_wakes_who_waits() {
        let start = parse("2026-01-02T03:04:05Z").unwrap();
        let clock = std::sync::Arc::new(Clock::manual(start));
        assert_eq!(clock.stamp(), "2026-01-02T03:04:05Z");
        let waiter = {
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(30)).await }
        };
        tokio::pin!(waiter);
        assert!(futures::poll!(&mut waiter).is_pending());
        clock.advance(TimeDelta::seconds(31));
        waiter.await;
        assert_eq!(clock.micro(), "2026-01-02T03:04:36.000000Z");
    }
}
