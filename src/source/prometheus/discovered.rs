//! A Prometheus that is searched for among the Services of the cluster.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use pilothouse_core::domain::found::Found;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::range::Span;
use pilothouse_core::domain::settings::PrometheusSettings;
use pilothouse_core::policy::discovery::{Candidate, PROMETHEUS};

use super::KIND;
use super::client::{Matrix, Prometheus, Queries, Vector};
use super::refresh::Refresh;
use crate::source::search::{Answered, Catalog, Probe};
use crate::source::server::{Searched, ServerError, TRY, outcome};
use crate::wire::client::ReadClient;

/// The number of series that a Prometheus with any target has.
const HAS_DATA: &str = "count(up)";

/// The client. Clones share the Prometheus that was found.
#[derive(Clone)]
pub(super) struct Discovered(Searched<Asking>);

impl Discovered {
    pub(super) fn new(
        catalog: Catalog,
        reader: ReadClient,
        headers: HeaderMap,
        settings: PrometheusSettings,
    ) -> Self {
        Self(Searched::new(&KIND, &PROMETHEUS, catalog, Asking { reader, headers, settings }))
    }
}

impl Discovered {
    /// Returns the server in use, after a search if one is due.
    pub(super) async fn client(&self) -> Result<Prometheus, ServerError> {
        self.0.client().await
    }

    /// Notes whether the server answers.
    pub(super) async fn note<T>(&self, answer: &Result<T, ServerError>) {
        self.0.note(answer).await;
    }
}

impl Queries for Discovered {
    fn shown(&self) -> String {
        self.0.seen().shown
    }

    async fn query(&self, expr: &str, limit: Duration) -> Result<Vector, ServerError> {
        let answer = self.0.client().await?.query(expr, limit).await;
        self.0.note(&answer).await;
        answer
    }

    async fn range(&self, expr: &str, span: Span, limit: Duration) -> Result<Matrix, ServerError> {
        let client = self.0.client().await?;
        client.range(expr, span.from, span.to(), span.step_secs, limit).await
    }

    fn through(&self) -> Option<Name> {
        self.0.seen().through
    }

    fn found(&self) -> Option<Arc<Found>> {
        self.0.seen().found
    }
}

/// Asks Services whether they are a Prometheus.
struct Asking {
    reader: ReadClient,
    headers: HeaderMap,
    settings: PrometheusSettings,
}

impl Probe for Asking {
    type Client = Prometheus;

    async fn ask(&self, candidate: &Candidate) -> Answered<Prometheus> {
        let client = Prometheus::behind(self.reader.clone(), candidate.address.clone(), self.headers.clone());
        let has_data = match client.query(HAS_DATA, TRY).await {
            Ok(answer) => answer.samples.iter().any(|s| s.value.is_some_and(|v| v > 0.0)),
            Err(error) => return Answered::No { outcome: outcome(&error), error: error.to_string() },
        };
        // one with metrics of traffic is more useful than one with other metrics
        let worth = if !has_data {
            0
        } else if Refresh::new(&self.settings).has_traffic(&client, TRY).await {
            2
        } else {
            1
        };
        Answered::Yes { client, worth }
    }
}
