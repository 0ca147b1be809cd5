//! Traffic from Prometheus. The metrics that it has determine the presets that are queried. Each refresh sends a limited
//! number of queries, and a server that answers slowly is asked less often.

mod answer;
pub mod client;
mod refresh;

use std::path::PathBuf;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::{PrometheusSettings, Settings};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::TrafficSeen;
use pilothouse_core::facts::event::Fact;

use self::client::Queries;
pub use self::client::{Prometheus, PrometheusError, PrometheusOptions};
use self::refresh::Refresh;
use super::sink::FactSink;
use super::supervise::{Backoff, Supervisor};
use crate::wire::env::Env;
use crate::wire::list_watch::jitter;

/// The name of the source.
pub const NAME: &str = "prometheus";
/// A refresh may take this part of the interval. If it takes longer, the interval becomes longer.
const PART_OF_INTERVAL: u32 = 10;
/// The longest interval because of slow answers.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// Returns the reason why no Prometheus is queried.
pub fn off(settings: &Settings) -> Option<&'static str> {
    let off = settings.prometheus.url.is_empty();
    off.then_some("no Prometheus is configured: --prometheus URL, or prometheus.url in the config")
}

/// Starts polling the Prometheus of the settings.
pub fn start(
    settings: &PrometheusSettings,
    sink: &FactSink,
    supervisor: &Supervisor,
) -> Result<Vec<Name>, String> {
    let client = Prometheus::new(&options(settings, Env::default())?).map_err(|e| e.to_string())?;
    let (settings, out) = (settings.clone(), sink.clone());
    supervisor.spawn(NAME, sink.clone(), move || poll(client.clone(), settings.clone(), out.clone()));
    Ok(vec![NAME.into()])
}

/// Returns the connection options from the settings.
fn options(settings: &PrometheusSettings, env: Env) -> Result<PrometheusOptions, String> {
    let token = match settings.token_env.as_str() {
        "" => None,
        name => Some(env.var(name).ok_or_else(|| {
            format!("prometheus.token_env names {name}, which is not set in the environment")
        })?),
    };
    let path = |text: &String| Some(text).filter(|t| !t.is_empty()).map(PathBuf::from);
    Ok(PrometheusOptions {
        url: settings.url.clone(),
        token: token.map(Into::into),
        token_file: path(&settings.token_file),
        headers: settings.headers.clone(),
        ca_file: path(&settings.ca_file),
        insecure: settings.insecure,
        user_agent: concat!("pilothouse/", env!("CARGO_PKG_VERSION")).into(),
        env,
    })
}

async fn poll<C: Queries>(client: C, settings: PrometheusSettings, out: FactSink) {
    let every = Duration::from_secs(u64::from(settings.poll_secs.max(1)));
    // the limit is shorter than the interval, so that answers never accumulate
    let limit = every.mul_f64(0.8).clamp(Duration::from_millis(800), Duration::from_secs(15));
    let mut held = SourceStatus { name: Name::from(NAME), ..SourceStatus::default() };
    let mut backoff = Backoff::api();
    let mut refresh = Refresh::new(&settings);
    loop {
        let now = out.clock().now();
        let began = tokio::time::Instant::now();
        let (wait, least) = match refresh.run(&client, limit).await {
            Ok(refreshed) => {
                backoff.reset();
                let took = began.elapsed();
                let interval = interval(every, took);
                let slow = (interval > every).then(|| {
                    let secs = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
                    format!(
                        "its answers take {} s, so it is asked every {} s instead of every {} s",
                        secs(took),
                        secs(interval),
                        secs(every)
                    )
                });
                let notes: Vec<String> = refreshed.notes.into_iter().chain(slow).collect();
                let said = (!notes.is_empty()).then(|| notes.join("; "));
                let seen = TrafficSeen { source: NAME.into(), at: now, services: refreshed.services.into() };
                out.fact(Fact::Traffic(seen)).await;
                held = SourceStatus {
                    name: held.name,
                    state: SourceState::Live,
                    last_ok: Some(now),
                    error: said.map(Name::from),
                    ..SourceStatus::default()
                };
                (interval, Duration::ZERO)
            }
            Err(error) => {
                let least = error.retry_after().unwrap_or_default();
                let wait = backoff.next().max(every).max(least);
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
                (wait, least)
            }
        };
        out.status(held.clone()).await;
        tokio::time::sleep(jitter(wait, 0.05).max(least)).await;
    }
}

/// Returns the time until the next refresh: the configured interval, or longer if the refresh took long.
fn interval(every: Duration, took: Duration) -> Duration {
    (took * PART_OF_INTERVAL).clamp(every, LONGEST_INTERVAL.max(every))
}

#[cfg(test)]
mod tests;
