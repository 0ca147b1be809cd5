//! A client of the Prometheus HTTP API: instant and range queries.

use std::collections::HashSet;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use pilothouse_core::domain::found::{Found, ServiceAddress};
use pilothouse_core::domain::id::Name;
pub use pilothouse_core::domain::preset::Sample;
use pilothouse_core::domain::range::Span;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use serde::Deserialize;

use super::KIND;
use super::answer::{Items, Labels, Point};
use crate::source::server::{Answer, Reached, Server, ServerError, said};
use crate::wire::client::{ReadClient, escape};

/// A Prometheus, or any server with the same API, such as Thanos, Mimir or VictoriaMetrics.
#[derive(Clone)]
pub struct Prometheus(Server);

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("base", &self.shown()).finish()
    }
}

/// One time series of a range query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub labels: Vec<(String, String)>,
    pub points: Vec<(Stamp, Option<f64>)>,
}

/// The answer of an instant query. If it has `warnings`, it can be partial. `infos` are hints about the query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vector {
    pub samples: Vec<Sample>,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

/// The answer of a range query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    pub series: Vec<Series>,
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: Option<String>,
    data: Option<Data>,
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    #[serde(default)]
    infos: Option<Vec<String>>,
    /// Set by VictoriaMetrics if some of its storage nodes did not respond.
    #[serde(default)]
    is_partial: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: Option<String>,
    result: Option<Items>,
}

/// What the server said about an answer.
#[derive(Debug, Default)]
struct Remarks {
    warnings: Vec<String>,
    infos: Vec<String>,
}

/// A server of instant queries: a Prometheus, or the script of a test.
pub(super) trait Queries: Send + Sync {
    /// Returns the address for display.
    fn shown(&self) -> String;
    /// Runs an instant query at the server's current time.
    fn query(&self, expr: &str, limit: Duration) -> impl Future<Output = Result<Vector, ServerError>> + Send;
    /// Runs a range query.
    fn range(
        &self,
        expr: &str,
        span: Span,
        limit: Duration,
    ) -> impl Future<Output = Result<Matrix, ServerError>> + Send;
    /// Returns the Service that is read through the API server.
    fn through(&self) -> Option<Name> {
        None
    }
    /// Returns the result of the latest search, if the server is searched for.
    fn found(&self) -> Option<Arc<Found>> {
        None
    }
}

impl Queries for Prometheus {
    fn shown(&self) -> String {
        Self::shown(self)
    }

    async fn query(&self, expr: &str, limit: Duration) -> Result<Vector, ServerError> {
        Self::query(self, expr, limit).await
    }

    async fn range(&self, expr: &str, span: Span, limit: Duration) -> Result<Matrix, ServerError> {
        Self::range(self, expr, span.from, span.to(), span.step_secs, limit).await
    }

    fn through(&self) -> Option<Name> {
        Reached::through(self)
    }
}

impl Reached for Prometheus {
    fn shown(&self) -> String {
        self.0.shown()
    }

    fn through(&self) -> Option<Name> {
        self.0.through()
    }
}

impl Prometheus {
    /// Creates a client for this server.
    pub fn of(server: Server) -> Self {
        Self(server)
    }

    /// Creates a client for a Service, through the API server.
    pub(super) fn behind(reader: ReadClient, address: ServiceAddress, headers: HeaderMap) -> Self {
        Self(Server::behind(&KIND, reader, address, headers))
    }

    /// Returns the URL without credentials, or the path on the API server, for display.
    pub fn shown(&self) -> String {
        self.0.shown()
    }

    /// Runs an instant query at the server's current time.
    pub async fn query(&self, expr: &str, limit: Duration) -> Result<Vector, ServerError> {
        let query = format!("query={}&timeout={}ms", escape(expr), limit.as_millis());
        let (data, Remarks { warnings, infos }) = self.ask("api/v1/query", &query, limit).await?;
        let result = data.result.unwrap_or_default();
        let samples = if data.result_type.as_deref() == Some("scalar") {
            vec![Sample { labels: Vec::new(), value: result.scalar }]
        } else {
            // if two replicas behind one URL both answer, each series counts once
            let mut seen: HashSet<u64> = HashSet::with_capacity(result.series.len());
            let hasher = std::collections::hash_map::RandomState::new();
            let series = result.series.into_iter();
            series
                .filter(|item| seen.insert(hasher.hash_one(&item.metric.0)))
                .map(|item| Sample {
                    labels: item.metric.0,
                    value: item.value.and_then(|Point(_, value)| value),
                })
                .collect()
        };
        Ok(Vector { samples, warnings, infos })
    }

    /// Runs a range query. The step is increased to stay within the server's limit of 11,000 points.
    pub async fn range(
        &self,
        expr: &str,
        from: Stamp,
        to: Stamp,
        step_secs: u32,
        limit: Duration,
    ) -> Result<Matrix, ServerError> {
        let span = to.secs_since(from);
        let step = u64::from(step_secs.max(1)).max(span.div_ceil(11_000));
        let query = format!(
            "query={}&start={}&end={}&step={step}&timeout={}ms",
            escape(expr),
            seconds(from),
            seconds(to),
            limit.as_millis()
        );
        let (data, Remarks { warnings, .. }) = self.ask("api/v1/query_range", &query, limit).await?;
        let point = |Point(at, value): Point| (Stamp((at * 1000.0).round() as i64), value);
        let series = data.result.unwrap_or_default().series.into_iter().map(|item| {
            let Labels(labels) = item.metric;
            Series { labels, points: item.values.into_iter().map(point).collect() }
        });
        Ok(Matrix { series: series.collect(), warnings })
    }

    /// Returns the names of the metrics with samples between two times, in order, and at most `most`.
    pub async fn names(
        &self,
        from: Stamp,
        to: Stamp,
        most: usize,
        limit: Duration,
    ) -> Result<Vec<String>, ServerError> {
        let query = format!("start={}&end={}&limit={most}", seconds(from), seconds(to));
        let answer = self.0.ask("api/v1/label/__name__/values", &query, limit).await?;
        let is_success = answer.status.is_success();
        match serde_json::from_slice::<Names>(&answer.body) {
            Ok(Names { data: Some(names), .. }) if is_success => {
                Ok(names.iter().take(most).map(|name| text::clean(name).into_owned()).collect())
            }
            Ok(Names { error: Some(error), .. }) => Err(answer.refusal(&error)),
            _ if !is_success => Err(answer.refused(&KIND)),
            Ok(_) => Err(answer.not_understood(&KIND, "no data in the answer")),
            Err(error) => Err(answer.not_understood(&KIND, &error.to_string())),
        }
    }

    async fn ask(&self, path: &str, query: &str, limit: Duration) -> Result<(Data, Remarks), ServerError> {
        read(&self.0.ask(path, query, limit).await?)
    }
}

/// A time as the API takes it.
fn seconds(at: Stamp) -> String {
    format!("{}.{:03}", at.0.div_euclid(1000), at.0.rem_euclid(1000))
}

/// The answer about the values of a label.
#[derive(Deserialize)]
struct Names {
    data: Option<Vec<String>>,
    error: Option<String>,
}

fn read(answer: &Answer) -> Result<(Data, Remarks), ServerError> {
    match serde_json::from_slice::<Envelope>(&answer.body) {
        Ok(Envelope { status: Some(word), data: Some(data), warnings, infos, is_partial, .. })
            if word == "success" && answer.status.is_success() =>
        {
            let cleaned = |remarks: Option<Vec<String>>| -> Vec<String> {
                remarks.unwrap_or_default().iter().map(|one| said(one)).collect()
            };
            let (mut warnings, infos) = (cleaned(warnings), cleaned(infos));
            if is_partial {
                warnings.push("some storage nodes did not answer (isPartial)".into());
            }
            Ok((data, Remarks { warnings, infos }))
        }
        Ok(Envelope { error: Some(error), .. }) => Err(answer.refusal(&error)),
        _ if !answer.status.is_success() => Err(answer.refused(&KIND)),
        Ok(_) => Err(answer.not_understood(&KIND, "no data in the answer")),
        Err(error) => Err(answer.not_understood(&KIND, &error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::source::server::{Asked, BODY_CAP};

    fn read(
        asked: Asked,
        status: StatusCode,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Result<(Data, Remarks), ServerError> {
        super::read(&Answer { asked, status, body: body.to_vec().into(), retry_after })
    }

    #[test]
    fn answers() {
        let ok = br#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["store x down\u001b"]}"#;
        assert_eq!(read(Asked::Url, StatusCode::OK, ok, None).unwrap().1.warnings, ["store x down␛"]);
        let bad = br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        assert_eq!(
            read(Asked::Url, StatusCode::BAD_REQUEST, bad, None).map(|_| ()).unwrap_err().to_string(),
            "400: parse error"
        );
        let partial =
            br#"{"status":"success","isPartial":true,"data":{"resultType":"vector","result":null}}"#;
        assert_eq!(read(Asked::Url, StatusCode::OK, partial, None).unwrap().1.warnings.len(), 1);
        assert!(read(Asked::Url, StatusCode::OK, br#"{"status":"success","data":null}"#, None).is_err());
        let lost =
            read(Asked::Url, StatusCode::NOT_FOUND, b"404 page not found\n", None).map(|_| ()).unwrap_err();
        assert!(lost.to_string().contains("base URL"), "{lost}");
        assert!(lost.is_lasting(), "nobody waits for it");
        let html = read(Asked::Url, StatusCode::BAD_GATEWAY, b"<html>", None).map(|_| ()).unwrap_err();
        assert_eq!(html.to_string(), "502: Bad Gateway");
        assert!(!html.is_lasting(), "it is asked again");
        assert!(
            read(Asked::Url, StatusCode::OK, b"<html>", None)
                .map(|_| ())
                .unwrap_err()
                .to_string()
                .contains("is this URL a Prometheus?")
        );
    }

    #[test]
    fn the_rates_of_40000_backends_fit_into_an_answer() {
        let series = |i: usize| {
            let service = format!("app-{:05}", i / 40);
            format!(
                r#"{{"metric":{{"namespace":"team-{:03}","service":"{service}","job":"{service}","pod":"{service}-7c9f-{:06x}","instance":"10.244.101.102:8080","code":"{}"}},"value":[1795230720.123,"12.3456789012345"]}}"#,
                i % 100,
                i / 2,
                [200, 500][i % 2]
            )
        };
        let series: Vec<String> = (0..80_000).map(series).collect();
        let series = series.join(",");
        let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#);
        assert!(
            (14_000_000..20_000_000).contains(&body.len()) && body.len() < BODY_CAP,
            "{} bytes",
            body.len()
        );
        let (data, _) = read(Asked::Url, StatusCode::OK, body.as_bytes(), None).unwrap();
        assert_eq!(data.result.unwrap().series.len(), 80_000);
    }
}
