//! The client of a log store, with a fixed address or searched for.

use std::time::Duration;

use http::HeaderMap;
use pilothouse_core::domain::id::Name;
use pilothouse_core::policy::discovery::Candidate;

use super::search::{Answered, Probe};
use super::tail::{Page, Pages, Request};
use super::{Language, Store, loki, victoria};
use crate::source::server::{Reached, Searched, Seen, Server, ServerError, TRY, Way, outcome, seen_of};
use crate::wire::client::ReadClient;

/// How long an answer may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// A store at an address.
#[derive(Clone)]
pub(super) struct LogClient {
    store: &'static Store,
    server: Server,
}

impl Reached for LogClient {
    fn shown(&self) -> String {
        self.server.shown()
    }

    fn through(&self) -> Option<Name> {
        self.server.through()
    }
}

impl LogClient {
    /// Returns the queries for the error lines of all streams in these namespaces. There are several if the streams have
    /// different labels, and none if there are no streams.
    pub(super) async fn queries(
        &self,
        namespaces: &[Name],
        limit: Duration,
    ) -> Result<Vec<String>, ServerError> {
        match self.store.language {
            Language::LogQl => {
                let labels = self.labels(limit).await?;
                Ok(loki::queries(&labels, namespaces))
            }
            Language::LogsQl => Ok(vec![victoria::QUERY.to_owned()]),
        }
    }

    /// Returns the names of the labels of the store's streams.
    async fn labels(&self, limit: Duration) -> Result<Vec<String>, ServerError> {
        let kind = &self.store.kind;
        match self.store.language {
            Language::LogQl => loki::labels(kind, &self.server.ask(loki::LABELS, "since=1h", limit).await?),
            Language::LogsQl => {
                victoria::labels(kind, &self.server.ask(victoria::FIELDS, "query=*&start=-1h", limit).await?)
            }
        }
    }
}

impl Pages for LogClient {
    async fn page(&self, request: &Request<'_>) -> Result<Page, ServerError> {
        let kind = &self.store.kind;
        let (path, query) = match self.store.language {
            Language::LogQl => (loki::PATH, loki::query(request)),
            Language::LogsQl => (victoria::PATH, victoria::query(request)),
        };
        let answer = self.server.ask(path, &query, TIMEOUT).await?;
        match self.store.language {
            Language::LogQl => loki::read(kind, &answer),
            Language::LogsQl => victoria::read(kind, &answer),
        }
    }
}

/// The store of the settings.
#[derive(Clone)]
pub(super) enum Client {
    Fixed(Box<LogClient>),
    Searched(Searched<Asking>),
}

impl Client {
    pub(super) fn new(store: &'static Store, way: Way) -> Self {
        match way {
            Way::Fixed(server) => Self::Fixed(Box::new(LogClient { store, server })),
            Way::Search(access, headers) => {
                let probe = Asking { store, reader: access.reader, headers };
                Self::Searched(Searched::new(&store.kind, store.product, access.catalog, probe))
            }
        }
    }

    pub(super) fn is_searched(&self) -> bool {
        matches!(self, Self::Searched(_))
    }

    /// Returns the store in use, after a search if one is due.
    pub(super) async fn get(&self) -> Result<LogClient, ServerError> {
        match self {
            Self::Fixed(client) => Ok(LogClient::clone(client)),
            Self::Searched(searched) => searched.client().await,
        }
    }

    /// Notes whether the store answers.
    pub(super) async fn note<T>(&self, answer: &Result<T, ServerError>) {
        if let Self::Searched(searched) = self {
            searched.note(answer).await;
        }
    }

    pub(super) fn seen(&self) -> Seen {
        match self {
            Self::Fixed(client) => seen_of(&**client),
            Self::Searched(searched) => searched.seen(),
        }
    }
}

/// Asks Services whether they are the store.
pub(super) struct Asking {
    store: &'static Store,
    reader: ReadClient,
    headers: HeaderMap,
}

impl Probe for Asking {
    type Client = LogClient;

    async fn ask(&self, candidate: &Candidate) -> Answered<LogClient> {
        let (store, address) = (self.store, candidate.address.clone());
        let server = Server::behind(&store.kind, self.reader.clone(), address, self.headers.clone());
        let client = LogClient { store, server };
        match client.labels(TRY).await {
            Ok(labels) => Answered::Yes { client, worth: u8::from(!labels.is_empty()) },
            Err(error) => Answered::No { outcome: outcome(&error), error: error.to_string() },
        }
    }
}
