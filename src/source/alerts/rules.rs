//! The alerts of a Prometheus' alerting rules, for clusters without an Alertmanager.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::alert::{Alert, AlertState, AlertsSeen, NAME};
use pilothouse_core::domain::found::ServiceAddress;
use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::settings::ServerSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::World;
use serde::Deserialize;
use tokio::sync::watch;

use super::answer::{Texts, bounded};
use crate::source::prometheus;
use crate::source::server::{self, Access, Answer, Reached as _, Server, ServerError, Way};
use crate::wire::client::{ReadClient, escape};

const PATH: &str = "api/v1/rules";
const QUERY: &str = "type=alert";

/// The Prometheus whose rules are read.
#[derive(Clone)]
pub(super) enum Rules {
    Off,
    Fixed(Box<Server>),
    /// The one that the source of traffic has found.
    Found(Box<Found>),
}

#[derive(Clone)]
pub(super) struct Found {
    reader: ReadClient,
    headers: http::HeaderMap,
    world: watch::Receiver<Arc<World>>,
    cluster: ClusterId,
}

impl Rules {
    pub(super) fn new(
        settings: &ServerSettings,
        inside: impl Fn() -> Access,
        world: &watch::Receiver<Arc<World>>,
        cluster: ClusterId,
    ) -> Result<Self, String> {
        if settings.is_off() {
            return Ok(Self::Off);
        }
        Ok(match server::way(&prometheus::KIND, settings, inside)? {
            Way::Fixed(server) => Self::Fixed(Box::new(server)),
            Way::Search(access, headers) => {
                let (reader, world) = (access.reader, world.clone());
                Self::Found(Box::new(Found { reader, headers, world, cluster }))
            }
        })
    }

    /// Reads the alerts of the rules, and returns the Service that was read.
    pub(super) async fn read(
        &self,
        now: Stamp,
        limit: Duration,
    ) -> Result<(AlertsSeen, Option<Name>), ServerError> {
        let none = || ServerError::NoneFound("there is no Prometheus".into());
        let server = match self {
            Self::Off => return Err(none()),
            Self::Fixed(server) => Server::clone(server),
            Self::Found(found) => found.server().ok_or_else(none)?,
        };
        let answer = server.ask(PATH, QUERY, limit).await?;
        // a path on the API server is no page that a person can open
        let base = server.through().is_none().then(|| server.shown());
        Ok((read(&answer, base.as_deref(), now)?, server.through()))
    }
}

impl Found {
    fn server(&self) -> Option<Server> {
        let world = self.world.borrow().clone();
        let status = world.cluster(self.cluster)?.source(prometheus::NAME)?;
        let address = ServiceAddress::parse(status.through.as_ref()?)?;
        Some(Server::behind(&prometheus::KIND, self.reader.clone(), address, self.headers.clone()))
    }
}

#[derive(Deserialize)]
struct Envelope {
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    alerts: Vec<Active>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Active {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    state: String,
    active_at: Option<Stamp>,
}

/// Reads the answer to `/api/v1/rules`. `base` is the URL of the Prometheus.
fn read(answer: &Answer, base: Option<&str>, now: Stamp) -> Result<AlertsSeen, ServerError> {
    let kind = &prometheus::KIND;
    let data = match serde_json::from_slice::<Envelope>(&answer.body) {
        Ok(Envelope { data: Some(data), .. }) if answer.status.is_success() => data,
        Ok(Envelope { error: Some(error), .. }) => return Err(answer.refusal(&error)),
        _ if !answer.status.is_success() => return Err(answer.refused(kind)),
        Ok(_) => return Err(answer.not_understood(kind, "no data in the answer")),
        Err(error) => return Err(answer.not_understood(kind, &error.to_string())),
    };
    let mut alerts = Vec::new();
    for rule in data.groups.into_iter().flat_map(|group| group.rules) {
        let generator = base.map(|base| format!("{base}/graph?g0.expr={}&g0.tab=1", escape(&rule.query)));
        let generator = Name::from(generator.unwrap_or_default());
        for active in rule.alerts {
            let state = match active.state.as_str() {
                "firing" => AlertState::Firing,
                "pending" => AlertState::Pending,
                _ => continue,
            };
            let mut texts = Texts { labels: active.labels, annotations: active.annotations };
            texts.labels.entry(NAME.to_owned()).or_insert_with(|| rule.name.clone());
            let alert = texts.alert("", active.active_at.unwrap_or(now));
            alerts.push(Alert { state, generator: generator.clone(), ..alert });
        }
    }
    Ok(bounded(alerts))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::source::server::Asked;

    #[test]
    fn the_alerts_of_rules_fire_or_are_pending() {
        let alert = |node: &str, state: &str| {
            format!(
                r#"{{"labels":{{"alertname":"Full","node":"{node}","severity":"page"}},"annotations":{{"summary":"s"}},
                "state":"{state}","activeAt":"2026-11-29T10:00:00Z","value":"1e+00"}}"#
            )
        };
        let alerts = [alert("a", "firing"), alert("b", "pending"), alert("c", "inactive")].join(",");
        let body = format!(
            r#"{{"status":"success","data":{{"groups":[{{"name":"g","rules":[
                {{"type":"alerting","name":"Full","query":"up == 0","state":"firing","alerts":[{alerts}]}},
                {{"type":"recording","name":"r","query":"x"}}]}}]}}}}"#
        );
        let answer = |code: StatusCode, body: &str| Answer {
            asked: Asked::Url,
            status: code,
            body: body.as_bytes().to_vec().into(),
            retry_after: None,
        };
        let seen = read(&answer(StatusCode::OK, &body), Some("http://p"), Stamp(0)).unwrap();
        let mut told: Vec<_> =
            seen.alerts.iter().map(|a| (a.label("node").unwrap().as_str(), a.state)).collect();
        told.sort();
        assert_eq!(told, [("a", AlertState::Firing), ("b", AlertState::Pending)]);
        assert_eq!(seen.alerts[0].generator, "http://p/graph?g0.expr=up%20%3D%3D%200&g0.tab=1");
        let wrong = |code, body: &str| read(&answer(code, body), None, Stamp(0)).unwrap_err().to_string();
        assert_eq!(
            wrong(StatusCode::BAD_REQUEST, r#"{"status":"error","error":"no rules"}"#),
            "400: no rules"
        );
        assert!(wrong(StatusCode::OK, "<html>").contains("an HTML page"));
        assert!(wrong(StatusCode::OK, "{}").contains("no data in the answer"));
    }
}
