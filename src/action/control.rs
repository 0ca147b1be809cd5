//! The controls of a running action (cancel, pause), and the limit on evictions that all actions of a session share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The maximum number of evictions in any second of a session.
pub const EVICTIONS_PER_SECOND: usize = 10;

/// Controls a running action. Clones control the same action.
#[derive(Clone, Debug, Default)]
pub struct Control {
    cancel: CancellationToken,
    uncordon: Arc<AtomicBool>,
    paused: Arc<watch::Sender<bool>>,
}

impl Control {
    /// Cancels the action. No further request is sent, and the effects of sent requests are checked once more. If
    /// `uncordon` is set, the action uncordons the nodes that it cordoned, as additional steps.
    pub fn cancel(&self, uncordon: bool) {
        self.uncordon.store(uncordon, Ordering::SeqCst);
        self.cancel.cancel();
    }

    /// Pauses or continues the action. While it is paused, no request is sent, but the effects of sent requests are
    /// still followed.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    pub fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    pub fn wants_uncordon(&self) -> bool {
        self.is_cancelled() && self.uncordon.load(Ordering::SeqCst)
    }

    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Returns a receiver of all changes of the pause.
    pub fn pauses(&self) -> watch::Receiver<bool> {
        self.paused.subscribe()
    }
}

/// The times of recent evictions, at most [`EVICTIONS_PER_SECOND`] in any second. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct EvictionRateLimiter(Arc<Mutex<VecDeque<Instant>>>);

impl EvictionRateLimiter {
    /// Reserves an eviction at `now`, or returns the time at which one will be possible.
    pub fn take(&self, now: Instant) -> Result<(), Instant> {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while sent.front().is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(1)) {
            sent.pop_front();
        }
        match sent.front() {
            Some(first) if sent.len() >= EVICTIONS_PER_SECOND => Err(*first + Duration::from_secs(1)),
            _ => {
                sent.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn no_second_has_more_than_its_share() {
        let (limiter, start) = (EvictionRateLimiter::default(), Clock::instant());
        let (mut now, mut sent) = (start, Vec::new());
        for _ in 0..95 {
            while let Err(at) = limiter.clone().take(now) {
                assert!(at > now);
                now = at;
            }
            sent.push(now);
        }
        for window in sent.windows(EVICTIONS_PER_SECOND + 1) {
            assert!(window[EVICTIONS_PER_SECOND] - window[0] >= Duration::from_secs(1));
        }
        assert_eq!(now - start, Duration::from_secs(9), "and not slower than that");
    }
}
