//! The error ratio that stops a headless action: polls of the configured Prometheus, only while something is watched by it.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::plan::Act;
use pilothouse_core::domain::traffic::TrafficSeen;
use tokio::sync::watch;

use super::Start;
use super::session::traffic;
use crate::source::supervise::Supervisor;

/// How long the first answer is waited for.
const FIRST_POLL: Duration = Duration::from_secs(5);

/// The newest traffic, and what keeps it new as long as this lives.
pub(super) struct Watch(Option<(watch::Receiver<Arc<TrafficSeen>>, Supervisor)>);

impl Watch {
    /// Begins to poll if the action is watched, and waits for the first answer: neither a plan nor a first step without
    /// it could say how things stand.
    pub(super) async fn of(start: &Start, act: &Act) -> Result<Self, String> {
        if act.watched().is_none() {
            return Ok(Self(None));
        }
        let supervisor = Supervisor::new();
        let mut traffic = traffic(start, &supervisor)?;
        if !start.settings.prometheus.url.is_empty() {
            let first = traffic.wait_for(|seen| !seen.services.is_empty());
            if tokio::time::timeout(FIRST_POLL, first).await.is_err() {
                tracing::warn!("no traffic metric came in time");
            }
        }
        Ok(Self(Some((traffic, supervisor))))
    }

    /// The newest traffic, each time that it is asked for; empty if nothing is watched.
    pub(super) fn seen(&self) -> Arc<dyn Fn() -> Arc<TrafficSeen> + Send + Sync> {
        let traffic = self.0.as_ref().map(|(traffic, _)| traffic.clone());
        Arc::new(move || traffic.as_ref().map_or_else(Arc::default, |traffic| traffic.borrow().clone()))
    }
}
