//! The queries that the screen asks for: ranges for plots, and the names of metrics. They go to the same Prometheus as the
//! polls, and a few of them at a time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pilothouse_core::domain::preset::Sample;
use pilothouse_core::domain::range::{MOST_SERIES, Ranged, Series, Span};
use pilothouse_core::domain::time::Stamp;
use tokio::sync::Semaphore;

use super::client::{Matrix, Prometheus};
use super::discovered::Discovered;
use crate::source::server::ServerError;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(15);
/// The number of queries at the same time.
const AT_ONCE: usize = 4;
/// The most names of metrics that are kept.
const MOST_NAMES: usize = 20_000;

/// The Prometheus of a cluster, for the queries of the screen. Clones share it.
#[derive(Clone)]
pub struct Ranges(Arc<Shared>);

struct Shared {
    /// Set when the source starts.
    server: OnceLock<Server>,
    turns: Semaphore,
    /// Whether panes show trends.
    has_trends: bool,
}

/// The server that the source reads.
pub(super) enum Server {
    Fixed(Box<Prometheus>),
    Found(Discovered),
}

impl Default for Ranges {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Ranges {
    /// `has_trends`: panes show the numbers from before the first poll, so that they are asked for.
    pub fn new(has_trends: bool) -> Self {
        Self(Arc::new(Shared { server: OnceLock::new(), turns: Semaphore::new(AT_ONCE), has_trends }))
    }

    pub(super) fn has_trends(&self) -> bool {
        self.0.has_trends
    }

    /// Sets the server. Only the first one counts.
    pub(super) fn read_from(&self, server: Server) {
        let _already = self.0.server.set(server);
    }

    /// Runs a range query.
    pub async fn ask(&self, query: &str, span: Span) -> Result<Ranged, String> {
        let matrix = self.range(query, span).await?;
        let left_out = matrix.series.len().saturating_sub(MOST_SERIES);
        let kept = matrix.series.into_iter().take(MOST_SERIES);
        let series = kept.map(|one| Series::of(span, one.labels, one.points.into_iter())).collect();
        Ok(Ranged { span, series, left_out, warnings: matrix.warnings })
    }

    /// Runs queries for one moment. Fails if one of them fails, because a part can look like the whole.
    pub async fn moment(&self, queries: &[String], at: Stamp) -> Result<Vec<Vec<Sample>>, String> {
        let span = Span { from: at, step_secs: 1, count: 1 };
        let value = |points: Vec<(Stamp, Option<f64>)>| points.first().and_then(|(_, value)| *value);
        let one = async |query: &String| {
            let matrix = self.range(query, span).await?;
            let series = matrix.series.into_iter();
            Ok(series.map(|one| Sample { labels: one.labels, value: value(one.points) }).collect())
        };
        futures::future::join_all(queries.iter().map(one)).await.into_iter().collect()
    }

    async fn range(&self, query: &str, span: Span) -> Result<Matrix, String> {
        let (from, to, step) = (span.from, span.to(), span.step_secs);
        let matrix = match self.server().await? {
            (Server::Fixed(client), _turn) => client.range(query, from, to, step, LIMIT).await,
            (Server::Found(found), _turn) => {
                let answer = found.client().await.map_err(|e| e.to_string())?;
                let answer = answer.range(query, from, to, step, LIMIT).await;
                found.note(&answer).await;
                answer
            }
        };
        matrix.map_err(|e: ServerError| e.to_string())
    }

    /// Returns the names of the metrics that have had samples since a time, in order.
    pub async fn names(&self, span: Span) -> Result<Vec<String>, String> {
        let (from, to) = (span.from, span.to());
        let names = match self.server().await? {
            (Server::Fixed(client), _turn) => client.names(from, to, MOST_NAMES, LIMIT).await,
            (Server::Found(found), _turn) => {
                let client = found.client().await.map_err(|e| e.to_string())?;
                client.names(from, to, MOST_NAMES, LIMIT).await
            }
        };
        names.map_err(|e| e.to_string())
    }

    /// Waits for its turn. The turn ends when the second part is dropped.
    async fn server(&self) -> Result<(&Server, tokio::sync::SemaphorePermit<'_>), String> {
        let server = self.0.server.get().ok_or("no Prometheus is read")?;
        let turn = self.0.turns.acquire().await.map_err(|e| e.to_string())?;
        Ok((server, turn))
    }
}
