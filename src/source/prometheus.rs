//! Traffic from Prometheus. The metrics that it has determine the presets that are queried. Each refresh sends a limited
//! number of queries, and a server that answers slowly is asked less often.

mod answer;
pub mod client;
mod discovered;
mod objectives;
mod refresh;

use std::collections::BTreeMap;
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
use self::objectives::Objectives;
use self::refresh::Refresh;
use super::search::Catalog;
use super::sink::FactSink;
use super::supervise::{Backoff, Supervisor};
use crate::wire::client::ReadClient;
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
/// for in the cluster. `inside` is not needed for a URL.
pub fn start(
    settings: &PrometheusSettings,
    inside: impl FnOnce() -> Inside,
    sink: &FactSink,
    supervisor: &Supervisor,
) -> Result<Vec<Name>, String> {
    let wrong = |e: PrometheusError| e.to_string();
    if !settings.url.is_empty() {
        let client = Prometheus::new(&options(settings, Env::default())?).map_err(wrong)?;
        return Ok(spawn(client, settings, None, sink, supervisor));
    }
    let headers = extra_headers(&settings.headers).map_err(wrong)?;
    let inside = inside();
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
    let mut refresh = Refresh::new(&settings);
    let mut objectives = Objectives::new(settings.objectives.clone(), settings.proxies.clone());
    loop {
        let now = out.clock().now();
        let began = tokio::time::Instant::now();
        let (wait, least) = match refresh.run(&client, limit, objectives.reserved()).await {
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
                let renamed = refreshed.services.into_iter().map(|one| of_service(one, &settings.proxies));
                let services: Arc<[Arc<ServiceTraffic>]> = each_once(renamed).into();
                let seen = TrafficSeen { source: NAME.into(), at: now, services: services.clone() };
                out.fact(Fact::Traffic(seen)).await;
                if let Some(seen) = objectives.refresh(&client, &refresh.found(), &services, limit, now).await
                {
                    out.fact(Fact::Objectives(seen)).await;
                }
                held = SourceStatus {
                    name: held.name,
                    state: SourceState::Live,
                    last_ok: Some(now),
                    error: said.map(Name::from),
                    through: client.through(),
                    found: client.found(),
                    ..SourceStatus::default()
                };
                (interval, Duration::ZERO)
            }
            Err(error) => {
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

/// Returns the time until the next refresh: the configured interval, or longer if the refresh took long.
fn interval(every: Duration, took: Duration) -> Duration {
    (took * PART_OF_INTERVAL).clamp(every, LONGEST_INTERVAL.max(every))
}

#[cfg(test)]
mod tests;
