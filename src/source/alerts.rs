//! Alerts and silences of an Alertmanager. If there is none, the alerting rules of the Prometheus tell which alerts fire,
//! without silences and receivers.

mod answer;
mod client;
mod rules;

use std::time::Duration;

use pilothouse_core::domain::alert::{AlertOrigin, AlertsSeen};
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::{AlertmanagerSettings, PrometheusSettings, Settings};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::text;
use pilothouse_core::facts::event::Fact;

pub use self::answer::{alerts, silences};
use self::client::Client;
use self::rules::Rules;
use super::server::{self, Access, Kind, Seen, ServerError};
use super::sink::FactSink;
use super::supervise::{Backoff, Supervisor};
use crate::wire::list_watch::jitter;

/// The name of the source.
pub const NAME: &str = "alertmanager";

/// How the config and the messages name it.
pub static KIND: Kind = Kind {
    section: NAME,
    product: "Alertmanager",
    api: "/api/v2",
    not_base: "/#/alerts or /api/v2",
    ask_less: "it has too many alerts to read",
    example: "monitoring/alertmanager-operated:9093",
};

const OFF: &str = "no Alertmanager is configured (alertmanager.url in the config), alertmanager.discover is false, and \
                   the rules of no Prometheus are read instead (alertmanager.rules)";

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the reason why no alerts are read.
pub fn off(settings: &Settings) -> Option<&'static str> {
    let has_rules = settings.alertmanager.rules && !settings.prometheus.server.is_off();
    (settings.alertmanager.server.is_off() && !has_rules).then_some(OFF)
}

/// Starts polling the Alertmanager of the settings. `inside` returns the access through the API server.
pub fn start(
    settings: &AlertmanagerSettings,
    prometheus: &PrometheusSettings,
    inside: impl Fn() -> Access,
    world: &tokio::sync::watch::Receiver<std::sync::Arc<pilothouse_core::facts::world::World>>,
    sink: &FactSink,
    supervisor: &Supervisor,
) -> Result<Vec<Name>, String> {
    let client = if settings.server.is_off() {
        Client::Off
    } else {
        Client::new(server::way(&KIND, &settings.server, &inside)?)
    };
    let rules = if settings.rules {
        Rules::new(&prometheus.server, &inside, world, sink.cluster())?
    } else {
        Rules::Off
    };
    let base = match settings.external_url.as_str() {
        "" => client.fixed().unwrap_or_default(),
        url => text::without_credentials(url).into_owned(),
    };
    let base = Name::from(base);
    let every = Duration::from_secs(u64::from(settings.poll_secs.max(1)));
    let out = sink.clone();
    supervisor.spawn(NAME, sink.clone(), move || {
        let (client, rules, base) = (client.clone(), rules.clone(), base.clone());
        Poll { client, rules, base, every, answered: false }.run(out.clone())
    });
    Ok(vec![NAME.into()])
}

/// The polls of one cluster.
struct Poll {
    client: Client,
    rules: Rules,
    /// The URL for links.
    base: Name,
    every: Duration,
    /// The Alertmanager has answered before. If it fails now, its last alerts are shown as stale; rules would show
    /// silenced alerts as firing.
    answered: bool,
}

/// What a poll has told.
struct Polled {
    seen: AlertsSeen,
    notes: Vec<String>,
    server: Seen,
}

impl Poll {
    async fn run(mut self, out: FactSink) {
        let mut held = SourceStatus { name: Name::from(NAME), ..SourceStatus::default() };
        if self.client.is_searched() {
            let error = Some(Name::from("looking for an Alertmanager among the cluster's Services"));
            out.status(SourceStatus { error, ..held.clone() }).await;
        }
        let mut backoff = Backoff::api();
        loop {
            let began = tokio::time::Instant::now();
            let polled = self.poll(&out).await;
            let now = out.clock().now();
            let (wait, least) = match polled {
                Ok(Polled { mut seen, notes, server }) => {
                    backoff.reset();
                    let took = began.elapsed();
                    let notes: Vec<String> =
                        notes.into_iter().chain(server::slowness(self.every, took)).collect();
                    seen.at = now;
                    out.fact(Fact::Alerts(seen)).await;
                    held = SourceStatus {
                        name: held.name,
                        state: SourceState::Live,
                        last_ok: Some(now),
                        error: (!notes.is_empty()).then(|| Name::from(notes.join("; "))),
                        through: server.through,
                        found: server.found,
                        ..SourceStatus::default()
                    };
                    (server::interval(self.every, took), Duration::ZERO)
                }
                Err(error) => {
                    let least = error.retry_after().unwrap_or_default();
                    let wait = backoff.next().max(self.every).max(least);
                    server::failed(&mut held, &error, self.client.seen(), client::ALERTS, now, wait);
                    (wait, least)
                }
            };
            out.status(held.clone()).await;
            tokio::time::sleep(jitter(wait, 0.05).max(least)).await;
        }
    }

    /// Reads the alerts once.
    async fn poll(&mut self, out: &FactSink) -> Result<Polled, ServerError> {
        let error = match self.client.read(TIMEOUT).await {
            Ok((alerts, silences)) => {
                self.answered = true;
                let mut notes = cut(&alerts);
                notes.extend(silences.1);
                let (silences, base) = (silences.0, self.base.clone());
                let seen = AlertsSeen {
                    source: NAME.into(),
                    origin: AlertOrigin::Alertmanager,
                    silences,
                    base,
                    ..alerts
                };
                return Ok(Polled { seen, notes, server: self.client.seen() });
            }
            Err(error) => error,
        };
        if self.answered && !matches!(error, ServerError::NoneFound(_)) {
            return Err(error);
        }
        match self.rules.read(out.clock().now(), TIMEOUT).await {
            Ok((alerts, through)) => {
                let mut notes = vec![format!(
                    "read from the alerting rules of Prometheus, so silences and receivers are not known: {error}"
                )];
                notes.extend(cut(&alerts));
                let seen = AlertsSeen { source: NAME.into(), origin: AlertOrigin::Rules, ..alerts };
                let found = self.client.seen().found;
                Ok(Polled { seen, notes, server: Seen { through, found, ..Seen::default() } })
            }
            // the Prometheus reports its own failure
            Err(_) => Err(error),
        }
    }
}

/// Says that some alerts were left out, if they were.
fn cut(seen: &AlertsSeen) -> Vec<String> {
    let kept = seen.alerts.len();
    if seen.total as usize <= kept {
        return Vec::new();
    }
    vec![format!("it has {} alerts, of which the {kept} most severe ones are kept", seen.total)]
}
