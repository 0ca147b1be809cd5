//! Reports the source's status: live, late or failing with the reason, and when the next attempt is.

use std::time::Duration;

use http::Response;
use kube::client::Body;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::Batch;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{DecodeError, ListWatch, Outlet, Place, Pulse, Run, jitter};
use crate::wire::backoff::Backoff;
use crate::wire::error::ApiError;
use crate::wire::items::ITEM_CAP;

/// How often a denied kind is tried again.
const DENIED_AGAIN: (u64, u64) = (180, 300);
/// How often a kind that is not installed is tried again.
const ABSENT_AGAIN: (u64, u64) = (60, 90);
/// The shortest interval between two reports that the source is live.
const LIFE_EVERY_MS: u64 = 10_000;

/// The meaning of a failure for the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Denied,
    /// The server has no such API.
    Absent,
    /// Not even the core group exists: something other than an API server answers at this address.
    NotKubernetes,
    /// The user has to log in.
    Login,
    /// A temporary failure.
    Passing,
}

impl Trouble {
    pub(super) fn of(error: &ApiError, core: bool) -> Self {
        match error {
            ApiError::Forbidden { .. } => Self::Denied,
            ApiError::NotFound { .. } if core => Self::NotKubernetes,
            ApiError::NotFound { .. } => Self::Absent,
            ApiError::Unauthorized(_) => Self::Login,
            _ => Self::Passing,
        }
    }
}

impl<O, T, D> ListWatch<O, D>
where
    O: Outlet<T>,
    T: Send,
    D: FnMut(&[u8]) -> Result<Option<T>, DecodeError> + Send,
{
    /// Something arrived.
    pub(super) async fn alive(&self, run: &mut Run, transition: bool) {
        let now = self.clock.now();
        run.last_ok = Some(now);
        run.attempts = 0;
        run.denials = 0;
        if run.stale && transition {
            run.stale = false;
            self.out.rows(Batch::Stale { since: None }).await;
        }
        if run.state != SourceState::Live && (transition || !run.stale)
            || now.since(run.told_ok) >= LIFE_EVERY_MS
        {
            run.told_ok = now;
            let words = run.unread.words();
            let state = if run.stale { run.state.clone() } else { SourceState::Live };
            self.tell(run, state, words, None).await;
        }
    }

    /// Asks for a stream. The heartbeat tells that the server does not answer long before this request times out, for
    /// example if a load balancer accepts connections for it. When the server answers again, it is asked anew, but only once: a
    /// heartbeat that comes and goes must not keep a slow list from its answer.
    pub(super) async fn ask(&self, run: &mut Run, path: &str) -> Result<Response<Body>, ApiError> {
        let mut pulse = self.pulse.clone();
        // a recovery from before this request says nothing about it
        let lost = pulse.borrow_and_update().lost.clone();
        if let Some(words) = lost.as_ref().filter(|_| run.ever) {
            self.lost(run, words).await;
        }
        let mut again = Again { was_lost: lost.is_some(), is_done: false };
        let ask = || self.client.stream(path, "application/json");
        let answer = ask();
        tokio::pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                Ok(()) = pulse.changed() => {
                    let lost = pulse.borrow_and_update().lost.clone();
                    if again.is_due(lost.is_some()) {
                        answer.set(ask());
                    }
                    if let Some(words) = lost.filter(|_| run.ever) {
                        self.lost(run, &words).await;
                    }
                }
            }
        }
    }

    /// The heartbeat found that the server does not answer, while our watch is still open and silent.
    pub(super) async fn lost(&self, run: &mut Run, words: &str) {
        if run.stale {
            return;
        }
        run.stale = true;
        let since = run.last_ok.unwrap_or_else(|| self.clock.now());
        self.out.rows(Batch::Stale { since: Some(since) }).await;
        self.tell(run, SourceState::Stale { since }, Some(words.to_owned()), None).await;
    }

    pub(super) async fn failed(&mut self, run: &mut Run, backoff: &mut Backoff, error: &ApiError) {
        let now = self.clock.now();
        run.attempts += 1;
        let mut denied = run.is_denied(error);
        let mut trouble = Trouble::of(error, run.core);
        // what answers for an API that it does not have may fail in any way
        let never = trouble == Trouble::Passing && !run.ever && run.attempts > 1;
        if (denied && trouble == Trouble::Denied || never) && self.is_absent(run).await {
            trouble = Trouble::Absent;
            denied = true;
        }
        let wait = match (denied, trouble) {
            (true, Trouble::Absent) => Duration::from_secs(fastrand::u64(ABSENT_AGAIN.0..ABSENT_AGAIN.1)),
            (true, _) => Duration::from_secs(fastrand::u64(DENIED_AGAIN.0..DENIED_AGAIN.1)),
            // wait at least as long as the server asks for
            (false, _) => backoff.next().max(error.retry_after().map_or(Duration::ZERO, |d| jitter(d, 0.2))),
        };
        let message = match trouble {
            Trouble::Denied => {
                let whom = error.refused().map_or_else(String::new, |whom| format!(" ({whom} may not)"));
                format!("403, needs {}{whom}", self.plan.needs)
            }
            Trouble::Absent => format!("404, this server has no {}", self.plan.name),
            Trouble::NotKubernetes => {
                format!(
                    "404, no Kubernetes API answers at this address (no {}): check `server` in the kubeconfig",
                    self.plan.name
                )
            }
            Trouble::Login | Trouble::Passing => error.to_string(),
        };
        let state = if denied && trouble == Trouble::Absent {
            run.denied = true;
            run.version = None;
            run.last = None;
            run.stale = false;
            self.nobody_waits();
            self.out.rows(Batch::NotInstalled).await;
            SourceState::NotInstalled
        } else if denied {
            run.denied = true;
            run.version = None;
            self.nobody_waits();
            let reason = Name::from(message.as_str());
            self.out.rows(Batch::Denied { reason }).await;
            SourceState::Denied
        } else if run.ever {
            let since = run.last_ok.unwrap_or(now);
            if !run.stale {
                run.stale = true;
                self.out.rows(Batch::Stale { since: Some(since) }).await;
            }
            SourceState::Stale { since }
        } else {
            let since = match run.state {
                SourceState::Down { since } => since,
                _ => now,
            };
            SourceState::Down { since }
        };
        run.lasting = matches!(trouble, Trouble::NotKubernetes | Trouble::Login);
        let retry = Stamp(now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)));
        self.tell(run, state, Some(message), Some(retry)).await;
        // the server came back, so the rest of the wait is skipped
        let mut pulse = self.pulse.clone();
        pulse.mark_unchanged();
        let unreachable = matches!(error, ApiError::Unreachable(_) | ApiError::Timeout(_));
        tokio::select! {
            () = sleep(wait) => {}
            () = recovered(&mut pulse), if unreachable => sleep(Duration::from_millis(fastrand::u64(0..800))).await,
        }
    }

    /// True if the server does not have the API at all. It refuses a user before it looks whether the API exists, but every
    /// user may ask which APIs there are.
    async fn is_absent(&self, run: &Run) -> bool {
        let grouped = |place: &&Place| !run.core && place.path.starts_with("/apis/");
        let Some(place) = self.plan.places.first().filter(grouped) else { return false };
        // `/apis/GROUP/VERSION`
        let root: Vec<&str> = place.path.splitn(5, '/').take(4).collect();
        matches!(self.client.get_bytes(&root.join("/"), ITEM_CAP).await, Err(ApiError::NotFound { .. }))
    }

    /// The API does not exist, so there is no list to wait for.
    fn nobody_waits(&self) {
        if let Some(listed) = &self.listed {
            listed.send_if_modified(|held| held.is_none() && held.replace(0).is_none());
        }
    }

    pub(super) async fn tell(
        &self,
        run: &mut Run,
        state: SourceState,
        error: Option<String>,
        retry_at: Option<Stamp>,
    ) {
        run.state = state.clone();
        let request = retry_at.is_some().then(|| {
            let path = self.plan.places.get(run.place).map_or("", |p| p.path.as_str());
            Name::from(format!("GET {path}"))
        });
        self.out
            .status(SourceStatus {
                name: Name::from(self.plan.name),
                state,
                last_ok: run.last_ok,
                error: error.map(|e| Name::from(&*text::clean(&e))),
                request,
                lasting: run.lasting && retry_at.is_some(),
                retry_at,
                attempts: run.attempts,
                ..SourceStatus::default()
            })
            .await;
    }
}

/// Whether a request without an answer is sent again when the heartbeat recovers.
struct Again {
    was_lost: bool,
    is_done: bool,
}

impl Again {
    /// The heartbeat says whether the server is lost.
    fn is_due(&mut self, lost: bool) -> bool {
        let recovers = std::mem::replace(&mut self.was_lost, lost) && !lost;
        recovers && !std::mem::replace(&mut self.is_done, true)
    }
}

/// Waits until the heartbeat finds that the server answers again.
async fn recovered(pulse: &mut watch::Receiver<Pulse>) {
    while pulse.changed().await.is_ok() {
        if pulse.borrow_and_update().lost.is_none() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_again_once_and_only_after_it_was_lost() {
        let due = |was_lost: bool, beats: &[bool]| {
            let mut again = Again { was_lost, is_done: false };
            beats.iter().map(|lost| again.is_due(*lost)).collect::<Vec<_>>()
        };
        assert_eq!(due(false, &[false, true, false]), [false, false, true]);
        assert_eq!(due(true, &[false, true, false]), [true, false, false], "a slow list gets its answer");
        assert_eq!(due(false, &[false, false]), [false, false]);
    }
}
