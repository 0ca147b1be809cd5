//! The error ratio that stops a headless action. The configured Prometheus is polled only while an action watches it.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::plan::Act;
use pilothouse_core::domain::traffic::TrafficSeen;
use tokio::sync::watch;

use super::Start;
use super::session::traffic;
use crate::source::supervise::Supervisor;

/// How long to wait for the first answer.
const FIRST_POLL: Duration = Duration::from_secs(5);

/// The newest traffic, and the source that updates it until this is dropped.
pub(super) struct Watch(Option<(watch::Receiver<Arc<TrafficSeen>>, Supervisor)>);

impl Watch {
    /// Starts polling if the action is watched, and waits for the first answer. The plan and the first step need it
    /// to judge the error ratio.
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

    /// Returns a function that returns the newest traffic. The traffic is empty if nothing is watched.
    pub(super) fn seen(&self) -> Arc<dyn Fn() -> Arc<TrafficSeen> + Send + Sync> {
        let traffic = self.0.as_ref().map(|(traffic, _)| traffic.clone());
        Arc::new(move || traffic.as_ref().map_or_else(Arc::default, |traffic| traffic.borrow().clone()))
    }
}
