//! How long a container's probes allow it to take until it is ready.

use serde::Deserialize;

use super::ContainerDoc;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Probe {
    initial_delay_seconds: Option<u32>,
    period_seconds: Option<u32>,
    failure_threshold: Option<u32>,
    success_threshold: Option<u32>,
}

impl Probe {
    /// Seconds until the probe has run `times` times, with the API's default for the period.
    pub(super) fn span(&self, times: u32) -> u32 {
        let period = self.period_seconds.unwrap_or(10).max(1);
        self.initial_delay_seconds.unwrap_or(0).saturating_add(period.saturating_mul(times))
    }
}

/// The time that the startup probe allows, plus the time that the readiness probe needs.
pub(super) fn startup_secs(container: &ContainerDoc<'_>) -> u32 {
    let started = container.startup_probe.as_ref().map_or(0, |p| p.span(p.failure_threshold.unwrap_or(3)));
    let ready = container.readiness_probe.as_ref().map_or(0, |p| p.span(p.success_threshold.unwrap_or(1)));
    started.saturating_add(ready)
}
