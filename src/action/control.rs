//! What a person can do to an action that runs (cancel, pause), and the limit on evictions that all actions of a session share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Evictions in any one second of a session.
pub const EVICTIONS_PER_SECOND: usize = 10;

/// Holds a running action's reins. Clones hold the same.
#[derive(Clone, Debug, Default)]
pub struct Control {
    cancel: CancellationToken,
    uncordon: Arc<AtomicBool>,
    paused: Arc<watch::Sender<bool>>,
}

impl Control {
    /// Nothing new is sent; what was sent is looked at once more. `uncordon`: the nodes that this action cordoned
    /// are made schedulable again, as steps of it.
    pub fn cancel(&self, uncordon: bool) {
        self.uncordon.store(uncordon, Ordering::SeqCst);
        self.cancel.cancel();
    }

    /// While paused nothing new is sent; what was sent is still followed.
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

    /// Told of every change of the pause.
    pub fn pauses(&self) -> watch::Receiver<bool> {
        self.paused.subscribe()
    }
}

/// When evictions were sent, for at most [`EVICTIONS_PER_SECOND`] in any second. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct EvictionRateLimiter(Arc<Mutex<VecDeque<Instant>>>);

impl EvictionRateLimiter {
    /// Takes a place at `now`, or says when there will be one.
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
