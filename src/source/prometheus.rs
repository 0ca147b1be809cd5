//! Traffic from Prometheus. The metrics that it has determine the presets that are queried. Each refresh sends a limited
//! number of queries, and a server that answers slowly is asked less often.

mod answer;
pub mod client;
mod discovered;
mod earlier;
mod objectives;
pub mod ranges;
mod refresh;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::{PrometheusSettings, Settings};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
#[cfg(test)]
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::{ServiceTraffic, TrafficSeen, each_once};
use pilothouse_core::domain::trend::Trends;
use pilothouse_core::facts::event::Fact;

pub use self::client::Prometheus;
use self::client::Queries;
use self::discovered::Discovered;
use self::earlier::Earlier;
use self::objectives::Objectives;
use self::ranges::Ranges;
use self::refresh::Refresh;
use super::server::{self, Access, Kind, Seen, Way};
use super::sink::FactSink;
use super::supervise::{Backoff, Supervisor};
use crate::wire::list_watch::jitter;

/// The name of the source.
pub const NAME: &str = "prometheus";

/// How the config and the messages name it.
pub const KIND: Kind = Kind {
    section: NAME,
    product: "Prometheus",
    api: "/api/v1",
    not_base: "/graph, /query or /api/v1",
    ask_less: "name fewer presets in prometheus.presets",
    example: "monitoring/prometheus:9090",
};

/// Returns the reason why no Prometheus is queried.
pub fn off(settings: &Settings) -> Option<&'static str> {
    settings.prometheus.server.is_off().then_some(
        "no Prometheus is configured (--prometheus URL, or prometheus.url in the config), and prometheus.discover is \
         false",
    )
}

/// Starts polling the Prometheus of the settings: the one with a URL, the one behind a Service, or one that is searched
/// for in the cluster. `inside` is not needed for a URL. `ranges` then asks the same one.
pub fn start(
    settings: &PrometheusSettings,
    inside: impl FnOnce() -> Access,
    ranges: &Ranges,
    sink: &FactSink,
    supervisor: &Supervisor,
) -> Result<Vec<Name>, String> {
    Ok(match server::way(&KIND, &settings.server, inside)? {
        Way::Fixed(server) => {
            let client = Prometheus::of(server);
            ranges.read_from(ranges::Server::Fixed(Box::new(client.clone())));
            spawn(client, settings, (None, ranges.has_trends()), sink, supervisor)
        }
        Way::Search(access, headers) => {
            let client = Discovered::new(access.catalog, access.reader, headers, settings.clone());
            ranges.read_from(ranges::Server::Found(client.clone()));
            let waiting = Some("looking for a Prometheus among the cluster's Services");
            spawn(client, settings, (waiting, ranges.has_trends()), sink, supervisor)
        }
    })
}

/// Starts the polls. `waiting` is told until the first answer. `has_trends`: the numbers from before the first poll are
/// asked for.
fn spawn<C: Queries + Clone + 'static>(
    client: C,
    settings: &PrometheusSettings,
    (waiting, has_trends): (Option<&'static str>, bool),
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
            poll(client, settings, out, has_trends).await;
        }
    });
    vec![NAME.into()]
}

async fn poll<C: Queries>(client: C, settings: PrometheusSettings, out: FactSink, has_trends: bool) {
    let every = Duration::from_secs(u64::from(settings.poll_secs.max(1)));
    // the limit is shorter than the interval, so that answers never accumulate
    let limit = every.mul_f64(0.8).clamp(Duration::from_millis(800), Duration::from_secs(15));
    let mut held = SourceStatus { name: Name::from(NAME), ..SourceStatus::default() };
    let mut backoff = Backoff::api();
    let mut refresh = Refresh::new(&settings);
    let mut earlier = has_trends.then(|| Earlier::new(settings.poll_secs));
    let mut objectives = Objectives::new(settings.objectives.clone(), settings.proxies.clone());
    loop {
        let now = out.clock().now();
        let began = tokio::time::Instant::now();
        let (wait, least) = match refresh.run(&client, limit, objectives.reserved()).await {
            Ok(refreshed) => {
                backoff.reset();
                let took = began.elapsed();
                let interval = server::interval(every, took);
                let slow = server::slowness(every, took);
                let notes: Vec<String> = refreshed.notes.into_iter().chain(slow).collect();
                let said = (!notes.is_empty()).then(|| notes.join("; "));
                let renamed = refreshed.services.into_iter().map(|one| of_service(one, &settings.proxies));
                let services: Arc<[Arc<ServiceTraffic>]> = each_once(renamed).into();
                let seen = TrafficSeen { source: NAME.into(), at: now, services: services.clone() };
                out.fact(Fact::Traffic(seen)).await;
                let trends = match &mut earlier {
                    Some(earlier) => earlier.ask(&client, &refresh, limit, now).await,
                    None => Vec::new(),
                };
                for mut seen in trends {
                    if let Trends::Services(services) = &mut seen.of {
                        for one in services {
                            rename(&mut one.namespace, &mut one.name, &settings.proxies);
                        }
                    }
                    out.fact(Fact::Trends(seen)).await;
                }
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
                let (shown, through, found) = (client.shown(), client.through(), client.found());
                server::failed(&mut held, &error, Seen { shown, through, found }, "api/v1/query", now, wait);
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
    if traffic.namespace.is_empty() && services.contains_key(traffic.name.as_str()) {
        let row = Arc::make_mut(&mut traffic);
        rename(&mut row.namespace, &mut row.name, services);
    }
    traffic
}

fn rename(namespace: &mut Name, name: &mut Name, services: &BTreeMap<String, (Name, Name)>) {
    let named = services.get(name.as_str()).filter(|_| namespace.is_empty());
    if let Some(named) = named {
        (*namespace, *name) = named.clone();
    }
}

#[cfg(test)]
mod tests;
