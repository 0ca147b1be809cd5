//! The wait before the next attempt: a random time below a limit that doubles up to a cap.

use std::time::Duration;

/// A validated back-off.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    tries: u32,
    /// The limit of the first wait is short, because most failures are over at once.
    quick: Option<Duration>,
    /// Each wait is at least half of the current limit, and not only half of the first one.
    steady: bool,
}

/// The limits are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a back-off needs 0 < base <= cap")]
pub struct BadBackoff;

impl Backoff {
    pub fn new(base: Duration, cap: Duration) -> Result<Self, BadBackoff> {
        if base.is_zero() || base > cap {
            Err(BadBackoff)
        } else {
            Ok(Self { base, cap, tries: 0, quick: None, steady: false })
        }
    }

    /// For API servers and other polled sources: 0.8 s to 30 s.
    pub fn api() -> Self {
        let (base, cap) = (Duration::from_millis(800), Duration::from_secs(30));
        Self { base, cap, tries: 0, quick: None, steady: false }
    }

    /// For attempts that are expensive: each wait is at least half of the current limit.
    #[must_use]
    pub fn steady(self) -> Self {
        Self { steady: true, ..self }
    }

    /// For reads that somebody waits for: the first wait is very short, the next ones are as in [`Backoff::api`].
    pub fn reads() -> Self {
        Self { quick: Some(Duration::from_millis(200)), ..Self::api() }
    }

    /// The next wait: between half of the first limit and the current limit, or between half of the current limit and the
    /// current limit if it is steady. It is never zero, because a client must not retry a refused connection in a tight
    /// loop. Each call doubles the limit up to the cap.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Duration {
        let before = self.tries;
        self.tries = self.tries.saturating_add(1);
        if let (Some(quick), 0) = (self.quick, before) {
            return quick.mul_f64(0.5 + fastrand::f64() / 2.0);
        }
        let doubled = before.saturating_sub(u32::from(self.quick.is_some()));
        let limit = self.base.saturating_mul(1 << doubled.min(16)).min(self.cap);
        let floor = if self.steady { limit / 2 } else { self.base / 2 };
        floor + limit.saturating_sub(floor).mul_f64(fastrand::f64())
    }

    /// Starts again at the first limit, after the connection has worked for long enough.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    pub fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_between_its_bounds() {
        assert!(Backoff::new(Duration::ZERO, Duration::from_secs(1)).is_err());
        assert!(Backoff::new(Duration::from_secs(2), Duration::from_secs(1)).is_err());
        let mut backoff = Backoff::api();
        for _ in 0..100 {
            let wait = backoff.next();
            assert!(wait >= Duration::from_millis(400) && wait <= Duration::from_secs(30));
        }
        assert_eq!(backoff.tries(), 100);
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(800));
    }

    #[test]
    fn a_read_is_tried_again_very_soon_once() {
        let mut backoff = Backoff::reads();
        for _ in 0..100 {
            let first = backoff.next();
            assert!(first >= Duration::from_millis(100) && first <= Duration::from_millis(200), "{first:?}");
            let second = backoff.next();
            assert!(
                second >= Duration::from_millis(400) && second <= Duration::from_millis(800),
                "{second:?}"
            );
            backoff.reset();
        }
    }
}
