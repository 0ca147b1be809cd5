//! Traffic from Prometheus: what it has decides which presets are asked, one set of queries per poll.

pub mod client;
mod presets;

use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::PrometheusSettings;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::TrafficSeen;
use pilothouse_core::facts::event::Fact;

pub use self::client::{Prometheus, PrometheusError, PrometheusOptions};
use self::presets::{Found, Preset};
use super::sink::FactSink;
use super::supervise::{Backoff, Supervisor};
use crate::wire::list_watch::jitter;

/// How often it is looked which presets there are.
const DETECT_EVERY: Duration = Duration::from_secs(60);
/// The longest rate window.
const WINDOW_AT_MOST: u32 = 600;

/// Starts the polls.
pub fn start(client: &Prometheus, settings: &PrometheusSettings, sink: &FactSink, supervisor: &Supervisor) {
    let (client, settings, out) = (client.clone(), settings.clone(), sink.clone());
    supervisor.spawn("prometheus", sink.clone(), move || poll(client.clone(), settings.clone(), out.clone()));
}

async fn poll(client: Prometheus, settings: PrometheusSettings, out: FactSink) {
    let every = Duration::from_secs(u64::from(settings.poll_secs.max(1)));
    // below the poll, so that answers never pile up
    let limit = every.mul_f64(0.8).clamp(Duration::from_millis(800), Duration::from_secs(15));
    let mut held = SourceStatus { name: Name::from("prometheus"), ..SourceStatus::default() };
    let mut backoff = Backoff::api();
    let mut found: Vec<Found> = Vec::new();
    let mut detected: Option<tokio::time::Instant> = None;
    loop {
        let asked = async {
            if detected.is_none_or(|at| at.elapsed() >= DETECT_EVERY) || found.is_empty() {
                found = detect(&client, &settings, limit).await?;
                detected = Some(tokio::time::Instant::now());
            }
            ask(&client, &found, limit).await
        };
        let now = out.clock().now();
        let wait = match asked.await {
            Ok((services, warnings)) => {
                backoff.reset();
                let said = if found.is_empty() {
                    Some("no known traffic metrics (haproxy, http_requests_total)".to_owned())
                } else if warnings.is_empty() {
                    None
                } else {
                    Some(format!("partial: {}", warnings.join("; ")))
                };
                let seen = TrafficSeen { at: now, services: services.into() };
                out.fact(Fact::Traffic(seen)).await;
                held = SourceStatus {
                    name: held.name,
                    state: SourceState::Live,
                    last_ok: Some(now),
                    error: said.map(Name::from),
                    ..SourceStatus::default()
                };
                every
            }
            Err(error) => {
                detected = None;
                let wait = backoff.next().max(every).max(error.retry_after().unwrap_or_default());
                held.state = match held.state {
                    SourceState::Live => SourceState::Stale { since: held.last_ok.unwrap_or(now) },
                    SourceState::Starting | SourceState::Off | SourceState::Denied => {
                        SourceState::Down { since: now }
                    }
                    before => before,
                };
                held.error = Some(Name::from(error.to_string()));
                held.request = Some(Name::from(format!("GET {}/api/v1/query", client.shown())));
                held.retry_at = Some(Stamp(now.0 + i64::try_from(wait.as_millis()).unwrap_or(0)));
                held.attempts = held.attempts.saturating_add(1);
                held.lasting = error.is_lasting();
                wait
            }
        };
        out.status(held.clone()).await;
        tokio::time::sleep(jitter(wait, 0.05)).await;
    }
}

/// The names of the presets, as in the config.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    Preset::ALL.into_iter().map(Preset::as_str)
}

/// Which presets this Prometheus has data for, and the rate window that each needs.
async fn detect(
    client: &Prometheus,
    settings: &PrometheusSettings,
    limit: Duration,
) -> Result<Vec<Found>, PrometheusError> {
    let auto = settings.presets.is_empty() || settings.presets.iter().any(|p| p == "auto");
    let mut found = Vec::new();
    for preset in Preset::ALL {
        if !auto && !settings.presets.iter().any(|p| p == preset.as_str()) {
            continue;
        }
        let answer = client.query(&presets::samples_query(preset), limit).await?;
        let Some(samples) = answer.samples.first().and_then(|s| s.value).filter(|v| *v >= 1.0) else {
            continue;
        };
        found.push(Found {
            preset,
            window_secs: presets::window(samples, settings.window_secs, WINDOW_AT_MOST),
        });
    }
    Ok(found)
}

async fn ask(
    client: &Prometheus,
    found: &[Found],
    limit: Duration,
) -> Result<
    (Vec<std::sync::Arc<pilothouse_core::domain::traffic::ServiceTraffic>>, Vec<String>),
    PrometheusError,
> {
    let mut services = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    for preset in found.iter().copied() {
        let queries = presets::queries(preset);
        // at most four at the same time
        let mut answers = Vec::with_capacity(queries.len());
        for four in queries.chunks(4) {
            let asked = four.iter().map(|q| client.query(q, limit));
            for answer in futures::future::join_all(asked).await {
                let answer = answer?;
                for warning in answer.warnings {
                    if !warnings.contains(&warning) && warnings.len() < 3 {
                        warnings.push(warning);
                    }
                }
                answers.push(answer.samples);
            }
        }
        services.extend(presets::services(preset, &answers));
    }
    Ok((services, warnings))
}
