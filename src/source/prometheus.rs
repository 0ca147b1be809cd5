//! Traffic from Prometheus. The metrics that it has determine the presets that are queried. Each poll sends one set
//! of queries.

pub mod client;
mod discovered;
mod presets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::found::ServiceAddress;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::{PrometheusSettings, Settings};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::{ServiceTraffic, TrafficSeen, each_once};
use pilothouse_core::facts::event::Fact;

pub use self::client::{Prometheus, PrometheusError, PrometheusOptions};
use self::client::{Queries, extra_headers};
use self::discovered::Discovered;
use self::presets::{Found, Preset};
use super::search::Catalog;
use super::sink::FactSink;
use super::supervise::{Backoff, Supervisor};
use crate::wire::client::ReadClient;
use crate::wire::env::Env;
use crate::wire::list_watch::jitter;

/// The name of the source.
pub const NAME: &str = "prometheus";
/// How often to check which presets have data.
const DETECT_EVERY: Duration = Duration::from_secs(60);

/// Returns the reason why no Prometheus is queried.
pub fn off(settings: &Settings) -> Option<&'static str> {
    let PrometheusSettings { url, service, discover, .. } = &settings.prometheus;
    let off = url.is_empty() && service.is_empty() && !discover;
    off.then_some(
        "no Prometheus is configured (--prometheus URL, or prometheus.url in the config), and prometheus.discover is \
         false",
    )
}

/// The access to the cluster, for a Prometheus that is read through the API server.
pub struct Inside {
    pub reader: ReadClient,
    pub catalog: Catalog,
}

/// Starts polling the Prometheus of the settings: the one with a URL, the one behind a Service, or one that is searched
/// for in the cluster.
pub fn start(
    settings: &PrometheusSettings,
    inside: Inside,
    sink: &FactSink,
    supervisor: &Supervisor,
) -> Result<Vec<Name>, String> {
    let wrong = |e: PrometheusError| e.to_string();
    if !settings.url.is_empty() {
        let client = Prometheus::new(&options(settings, Env::default())?).map_err(wrong)?;
        return Ok(spawn(client, settings, None, sink, supervisor));
    }
    let headers = extra_headers(&settings.headers).map_err(wrong)?;
    if !settings.service.is_empty() {
        let address = service(&settings.service).map_err(|e| format!("prometheus.service: {e}"))?;
        let client = Prometheus::behind(inside.reader, address, headers);
        return Ok(spawn(client, settings, None, sink, supervisor));
    }
    let client = Discovered::new(inside.catalog, inside.reader, headers, settings.clone());
    Ok(spawn(
        client,
        settings,
        Some("looking for a Prometheus among the cluster's Services"),
        sink,
        supervisor,
    ))
}

/// Parses `prometheus.service`.
pub fn service(text: &str) -> Result<ServiceAddress, String> {
    ServiceAddress::parse(text).ok_or_else(|| {
        format!(
            "{text:?} is not NAMESPACE/NAME:PORT or NAMESPACE/NAME:PORT/PREFIX (https:NAME:PORT for HTTPS)"
        )
    })
}

/// Starts the polls. `waiting` is told until the first answer.
fn spawn<C: Queries + Clone + 'static>(
    client: C,
    settings: &PrometheusSettings,
    waiting: Option<&'static str>,
    sink: &FactSink,
    supervisor: &Supervisor,
) -> Vec<Name> {
    let (settings, out) = (settings.clone(), sink.clone());
    supervisor.spawn(NAME, sink.clone(), move || {
        let (client, settings, out) = (client.clone(), settings.clone(), out.clone());
        async move {
            if let Some(waiting) = waiting {
                let (name, error) = (NAME.into(), Some(waiting.into()));
                out.status(SourceStatus { name, error, ..SourceStatus::default() }).await;
            }
            poll(client, settings, out).await;
        }
    });
    vec![NAME.into()]
}

/// Returns the connection options from the settings.
fn options(settings: &PrometheusSettings, env: Env) -> Result<PrometheusOptions, String> {
    let secret = |key: &str, name: &str| match name {
        "" => Ok(None),
        name => env
            .var(name)
            .map(|value| Some(value.into()))
            .ok_or_else(|| format!("prometheus.{key} names {name}, which is not set in the environment")),
    };
    let path = |text: &String| Some(text).filter(|t| !t.is_empty()).map(PathBuf::from);
    let identity = match (path(&settings.cert_file), path(&settings.key_file)) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert, key)),
        _ => {
            return Err("prometheus.cert_file and prometheus.key_file belong together: one is missing".into());
        }
    };
    Ok(PrometheusOptions {
        url: settings.url.clone(),
        token: secret("token_env", &settings.token_env)?,
        token_file: path(&settings.token_file),
        username: settings.username.clone(),
        password: secret("password_env", &settings.password_env)?,
        password_file: path(&settings.password_file),
        headers: settings.headers.clone(),
        ca_file: path(&settings.ca_file),
        identity,
        insecure: settings.insecure,
        proxy_url: settings.proxy_url.clone(),
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
                let seen = TrafficSeen { source: NAME.into(), at: now, services: services.into() };
                out.fact(Fact::Traffic(seen)).await;
                held = SourceStatus {
                    name: held.name,
                    state: SourceState::Live,
                    last_ok: Some(now),
                    error: said.map(Name::from),
                    through: client.through(),
                    found: client.found(),
                    ..SourceStatus::default()
                };
                (every, Duration::ZERO)
            }
            Err(error) => {
                detected = None;
                let least = error.retry_after().unwrap_or_default();
                let wait = backoff.next().max(every).max(least);
                held.state = match (error.state(), held.state) {
                    (Some(state), _) => state,
                    (None, SourceState::Live) => SourceState::Stale { since: held.last_ok.unwrap_or(now) },
                    (
                        None,
                        SourceState::Starting
                        | SourceState::Off
                        | SourceState::Denied
                        | SourceState::NotInstalled,
                    ) => SourceState::Down { since: now },
                    (None, before) => before,
                };
                held.error = Some(Name::from(error.to_string()));
                let shown = client.shown();
                held.request = (!shown.is_empty()).then(|| Name::from(format!("GET {shown}/api/v1/query")));
                held.through = client.through();
                held.found = client.found();
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
