//! How long to wait before the next attempt: full jitter under a doubling cap, checked when it is made.

use std::time::Duration;

/// A validated back-off.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    tries: u32,
}

/// The numbers make no back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a back-off needs 0 < base <= cap")]
pub struct BadBackoff;

impl Backoff {
    pub fn new(base: Duration, cap: Duration) -> Result<Self, BadBackoff> {
        if base.is_zero() || base > cap { Err(BadBackoff) } else { Ok(Self { base, cap, tries: 0 }) }
    }

    /// For API servers and other polled sources: 0.8 s to 30 s.
    pub fn api() -> Self {
        Self { base: Duration::from_millis(800), cap: Duration::from_secs(30), tries: 0 }
    }

    /// The next wait: between half and all of the current limit at first (never zero, or a refused connection would
    /// be hammered), doubling up to the cap.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Duration {
        let limit = self.base.saturating_mul(1 << self.tries.min(16)).min(self.cap);
        self.tries = self.tries.saturating_add(1);
        let floor = (self.base / 2).min(limit);
        floor + limit.saturating_sub(floor).mul_f64(fastrand::f64())
    }

    /// It worked for long enough.
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
}
