//! The error ratio that stops a headless action. Prometheus is polled only while an action watches it.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::plan::Act;
use pilothouse_core::domain::traffic::TrafficSeen;
use tokio::sync::watch;

use super::Start;
use super::session::{Traffic, traffic};
use crate::source::prometheus;
use crate::source::supervise::Supervisor;
use crate::wire::client::ReadClient;

/// How long to wait for the first answer.
const FIRST_POLL: Duration = Duration::from_secs(5);

/// The newest traffic, and the source that updates it until this is dropped.
pub(super) struct Watch(Option<(watch::Receiver<Arc<TrafficSeen>>, Supervisor)>);

impl Watch {
    /// Starts polling if the action is watched, and waits for the first answer. The plan and the first step need it
    /// to judge the error ratio.
    pub(super) async fn of(start: &Start, reader: &ReadClient, act: &Act) -> Result<Self, String> {
        if act.watched().is_none() {
            return Ok(Self(None));
        }
        let supervisor = Supervisor::new();
        let Traffic { mut seen, mut fails } = traffic(start, reader.clone(), &supervisor)?;
        if prometheus::off(&start.settings).is_none() {
            let first = async {
                tokio::select! {
                    came = seen.wait_for(|seen| !seen.services.is_empty()) => came.is_ok(),
                    failed = fails.wait_for(|fails| *fails) => failed.is_err(),
                }
            };
            if !tokio::time::timeout(FIRST_POLL, first).await.unwrap_or_default() {
                tracing::warn!("no traffic metric came in time");
            }
        }
        Ok(Self(Some((seen, supervisor))))
    }

    /// Returns a function that returns the newest traffic. The traffic is empty if nothing is watched.
    pub(super) fn seen(&self) -> Arc<dyn Fn() -> Arc<TrafficSeen> + Send + Sync> {
        let traffic = self.0.as_ref().map(|(traffic, _)| traffic.clone());
        Arc::new(move || traffic.as_ref().map_or_else(Arc::default, |traffic| traffic.borrow().clone()))
    }
}
