//! The only place that reads the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pilothouse_core::domain::time::Stamp;

/// Where time comes from: the system, or a hand that tests move.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicI64>>,
}

impl Clock {
    pub fn system() -> Self {
        Self { manual: None }
    }

    /// A clock that stands at `start` until [`Clock::set`].
    pub fn manual(start: Stamp) -> Self {
        Self { manual: Some(Arc::new(AtomicI64::new(start.0))) }
    }

    /// Moves a manual clock; does nothing to the system's.
    pub fn set(&self, now: Stamp) {
        if let Some(manual) = &self.manual {
            manual.store(now.0, Ordering::SeqCst);
        }
    }

    #[allow(clippy::disallowed_methods)]
    pub fn now(&self) -> Stamp {
        match &self.manual {
            Some(manual) => Stamp(manual.load(Ordering::SeqCst)),
            None => Stamp(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            ),
        }
    }

    /// For measuring how long something took, and for deadlines of I/O: never wrong by a clock change.
    #[allow(clippy::disallowed_methods)]
    pub fn instant() -> Instant {
        Instant::now()
    }

    pub fn deadline(after: Duration) -> Instant {
        Self::instant() + after
    }
}
