//! Traffic from Prometheus. The metrics that it has determine the presets that are queried. Each poll sends one set
//! of queries.

pub mod client;
mod objectives;
mod presets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::{PrometheusSettings, Settings};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::{ServiceTraffic, TrafficSeen, each_once};
use pilothouse_core::facts::event::Fact;

use self::client::Queries;
pub use self::client::{Prometheus, PrometheusError, PrometheusOptions};
use self::objectives::Objectives;
use self::presets::{Found, Preset};
use super::sink::FactSink;
use super::supervise::{Backoff, Supervisor};
use crate::wire::env::Env;
use crate::wire::list_watch::jitter;

/// The name of the source.
pub const NAME: &str = "prometheus";
/// How often to check which presets have data.
const DETECT_EVERY: Duration = Duration::from_secs(60);

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
    let mut found: Vec<Found> = Vec::new();
    let mut detected: Option<tokio::time::Instant> = None;
    let mut objectives = Objectives::new(settings.objectives.clone(), settings.proxies.clone());
    loop {
        let asked = async {
            if detected.is_none_or(|at| at.elapsed() >= DETECT_EVERY) || found.is_empty() {
                found = detect(&client, &settings, limit).await?;
                detected = Some(tokio::time::Instant::now());
            }
            ask(&client, &found, limit).await
        };
        let now = out.clock().now();
        let (wait, least) = match asked.await {
            Ok((services, warnings)) => {
                backoff.reset();
                let said = if found.is_empty() {
                    Some(nothing_known(&settings.presets))
                } else if warnings.is_empty() {
                    None
                } else {
                    Some(format!("partial: {}", warnings.join("; ")))
                };
                let services: Arc<[Arc<ServiceTraffic>]> =
                    each_once(services.into_iter().map(|s| of_service(s, &settings.proxies))).into();
                let seen = TrafficSeen { source: NAME.into(), at: now, services: services.clone() };
                out.fact(Fact::Traffic(seen)).await;
                if let Some(seen) = objectives.refresh(&client, &found, &services, limit, now).await {
                    out.fact(Fact::Objectives(seen)).await;
                }
                held = SourceStatus {
                    name: held.name,
                    state: SourceState::Live,
                    last_ok: Some(now),
                    error: said.map(Name::from),
                    ..SourceStatus::default()
                };
                (every, Duration::ZERO)
            }
            Err(error) => {
                detected = None;
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

/// Gives a proxy the namespace and the name of the Service that it stands for.
fn of_service(
    mut traffic: Arc<ServiceTraffic>,
    services: &BTreeMap<String, (Name, Name)>,
) -> Arc<ServiceTraffic> {
    let named = services.get(traffic.name.as_str()).filter(|_| traffic.namespace.is_empty());
    if let Some((namespace, name)) = named {
        let row = Arc::make_mut(&mut traffic);
        (row.namespace, row.name) = (namespace.clone(), name.clone());
    }
    traffic
}

/// Returns the names of the presets, as in the config.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    Preset::ALL.into_iter().map(Preset::as_str)
}

/// Returns the presets of the settings, in their order. `auto` stands for all presets that are not named.
fn wanted(names: &[String]) -> Vec<Preset> {
    let auto = ["auto".to_owned()];
    let names = if names.is_empty() { &auto } else { names };
    let mut wanted = Vec::new();
    for name in names {
        let meant = |preset: &Preset| {
            let by_name = |name: &String| name == preset.as_str();
            if name == "auto" { !names.iter().any(by_name) } else { by_name(name) }
        };
        for preset in Preset::ALL.into_iter().filter(meant) {
            if !wanted.contains(&preset) {
                wanted.push(preset);
            }
        }
    }
    wanted
}

/// Returns the message for a Prometheus without data for any preset.
fn nothing_known(names: &[String]) -> String {
    let names: Vec<&str> = wanted(names).into_iter().map(Preset::as_str).collect();
    format!("no known traffic metrics ({})", names.join(", "))
}

/// Returns the presets that this Prometheus has data for, with the rate window that each needs.
async fn detect<C: Queries>(
    client: &C,
    settings: &PrometheusSettings,
    limit: Duration,
) -> Result<Vec<Found>, PrometheusError> {
    let mut found = Vec::new();
    for preset in wanted(&settings.presets) {
        let answer = client.query(&presets::samples_query(preset), limit).await?;
        let Some(samples) = answer.samples.first().and_then(|s| s.value).filter(|v| *v >= 1.0) else {
            continue;
        };
        found.push(Found { preset, window_secs: presets::window(samples, settings.window_secs) });
    }
    Ok(found)
}

/// Returns all services of the presets, with the server's warnings. If two presets have the same service, the first
/// one is used.
async fn ask<C: Queries>(
    client: &C,
    found: &[Found],
    limit: Duration,
) -> Result<(Vec<Arc<ServiceTraffic>>, Vec<String>), PrometheusError> {
    let mut services = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    for preset in found.iter().copied() {
        let queries = presets::queries(preset);
        // at most four queries run at the same time
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
    Ok((each_once(services.into_iter()), warnings))
}

#[cfg(test)]
mod tests;
