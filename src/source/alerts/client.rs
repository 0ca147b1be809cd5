//! The client of an Alertmanager, with a fixed address or searched for.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use pilothouse_core::domain::alert::{AlertSilence, AlertsSeen};
use pilothouse_core::domain::id::Name;
use pilothouse_core::policy::discovery::{ALERTMANAGER, Candidate};

use super::{KIND, answer};
use crate::source::search::{Answered, Probe};
use crate::source::server::{Reached, Searched, Seen, Server, ServerError, TRY, Way, outcome, seen_of};
use crate::wire::client::ReadClient;

/// The path of the alerts, and the query for all of them.
pub(super) const ALERTS: &str = "api/v2/alerts";
const ALL: &str = "active=true&silenced=true&inhibited=true&unprocessed=true";
const SILENCES: &str = "api/v2/silences";

/// An Alertmanager at an address.
#[derive(Clone)]
pub(super) struct Alertmanager(Server);

impl Reached for Alertmanager {
    fn shown(&self) -> String {
        self.0.shown()
    }

    fn through(&self) -> Option<Name> {
        self.0.through()
    }
}

impl Alertmanager {
    async fn alerts(&self, limit: Duration) -> Result<AlertsSeen, ServerError> {
        answer::alerts(&self.0.ask(ALERTS, ALL, limit).await?)
    }

    async fn silences(&self, limit: Duration) -> Result<answer::Silences, ServerError> {
        answer::silences(&self.0.ask(SILENCES, "", limit).await?)
    }
}

/// The Alertmanager of the settings.
#[derive(Clone)]
pub(super) enum Client {
    Off,
    Fixed(Box<Alertmanager>),
    Searched(Searched<Asking>),
}

/// The silences (`None`: they cannot be read), and a note about them.
type Silences = (Option<Arc<[Arc<AlertSilence>]>>, Option<String>);

impl Client {
    pub(super) fn new(way: Way) -> Self {
        match way {
            Way::Fixed(server) => Self::Fixed(Box::new(Alertmanager(server))),
            Way::Search(access, headers) => {
                let probe = Asking { reader: access.reader, headers };
                Self::Searched(Searched::new(&KIND, &ALERTMANAGER, access.catalog, probe))
            }
        }
    }

    /// Returns the configured URL.
    pub(super) fn fixed(&self) -> Option<String> {
        match self {
            Self::Fixed(server) if server.through().is_none() => Some(server.shown()),
            _ => None,
        }
    }

    pub(super) fn is_searched(&self) -> bool {
        matches!(self, Self::Searched(_))
    }

    /// Reads the alerts and the silences. Alerts without silences are better than none.
    pub(super) async fn read(&self, limit: Duration) -> Result<(AlertsSeen, Silences), ServerError> {
        let server = match self {
            Self::Off => {
                return Err(ServerError::NoneFound(
                    "no Alertmanager is configured, and alertmanager.discover is false".into(),
                ));
            }
            Self::Fixed(server) => Alertmanager::clone(server),
            Self::Searched(searched) => searched.client().await?,
        };
        let alerts = server.alerts(limit).await;
        if let Self::Searched(searched) = self {
            searched.note(&alerts).await;
        }
        let alerts = alerts?;
        let silences = match server.silences(limit).await {
            Ok((silences, note)) => (Some(silences), note),
            Err(error) => (None, Some(format!("its silences cannot be read: {error}"))),
        };
        Ok((alerts, silences))
    }

    pub(super) fn seen(&self) -> Seen {
        match self {
            Self::Off => Seen::default(),
            Self::Fixed(server) => seen_of(&**server),
            Self::Searched(searched) => searched.seen(),
        }
    }
}

/// Asks Services whether they are an Alertmanager.
pub(super) struct Asking {
    reader: ReadClient,
    headers: HeaderMap,
}

impl Probe for Asking {
    type Client = Alertmanager;

    async fn ask(&self, candidate: &Candidate) -> Answered<Alertmanager> {
        let (reader, address) = (self.reader.clone(), candidate.address.clone());
        let client = Alertmanager(Server::behind(&KIND, reader, address, self.headers.clone()));
        match client.alerts(TRY).await {
            // most Alertmanagers have at least the alert that always fires
            Ok(seen) => Answered::Yes { client, worth: u8::from(seen.total > 0) },
            Err(error) => Answered::No { outcome: outcome(&error), error: error.to_string() },
        }
    }
}
