//! A client of the Prometheus HTTP API: instant and range queries with a timeout, a limit on the body, and no
//! redirects to another server.

mod direct;
mod inside;

use std::collections::HashSet;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use pilothouse_core::domain::found::{Found, Outcome, ServiceAddress};
use pilothouse_core::domain::id::Name;
pub use pilothouse_core::domain::preset::Sample;
use pilothouse_core::domain::source::SourceState;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use serde::Deserialize;

use self::direct::Direct;
pub use self::direct::PrometheusOptions;
pub(super) use self::direct::extra_headers;
use self::inside::Inside;
use super::answer::{Items, Labels, Point};
use crate::wire::client::{ReadClient, escape};

/// The maximum size of an answer. The rates of 40,000 backends by status code have about 20 MB.
const BODY_CAP: usize = 32 << 20;

/// Queries from this length on are sent in a body.
pub(super) const IN_BODY: usize = 4_000;

/// A Prometheus, or any server with the same API, such as Thanos, Mimir or VictoriaMetrics.
#[derive(Clone)]
pub struct Prometheus(Transport);

/// How the requests get to the server.
#[derive(Clone)]
enum Transport {
    Direct(Direct),
    Inside(Inside),
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("base", &self.shown()).finish()
    }
}

/// The reason why a query failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrometheusError {
    #[error("{0}")]
    Config(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("{code}: {message}")]
    Refused { code: u16, message: String, retry_after: Option<Duration> },
    #[error("answer not understood: {0}")]
    Decode(String),
    /// A permission on the API server is missing.
    #[error("{0}")]
    Denied(String),
    /// No Service of the cluster can be a Prometheus.
    #[error("{0}")]
    NoneFound(String),
    /// The API server cannot reach the server behind a Service.
    #[error("{message}")]
    Service { outcome: Outcome, message: String },
}

impl PrometheusError {
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The state of the source, if the error determines it.
    pub(super) fn state(&self) -> Option<SourceState> {
        match self {
            Self::Denied(_) => Some(SourceState::Denied),
            Self::NoneFound(_) => Some(SourceState::NotInstalled),
            _ => None,
        }
    }

    /// Whether the error is permanent: invalid settings, an answer that cannot be decoded, a redirect, a status 4xx
    /// other than 408 and 429, or a Service that does not lead to a Prometheus.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Config(_) | Self::Decode(_) | Self::Denied(_) | Self::NoneFound(_) => true,
            Self::Service { outcome, .. } => !matches!(outcome, Outcome::Failed | Outcome::Slow),
            Self::Refused { code, .. } => (300..500).contains(code) && !matches!(code, 408 | 429),
            Self::Unreachable(_) | Self::Timeout(_) => false,
        }
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
    fn query(
        &self,
        expr: &str,
        limit: Duration,
    ) -> impl Future<Output = Result<Vector, PrometheusError>> + Send;
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

    async fn query(&self, expr: &str, limit: Duration) -> Result<Vector, PrometheusError> {
        Self::query(self, expr, limit).await
    }

    fn through(&self) -> Option<Name> {
        match &self.0 {
            Transport::Direct(_) => None,
            Transport::Inside(inside) => Some(Name::from(inside.address().to_string())),
        }
    }
}

impl Prometheus {
    /// Creates a client for a URL, after checking the options. Sends no request.
    pub fn new(options: &PrometheusOptions) -> Result<Self, PrometheusError> {
        Ok(Self(Transport::Direct(Direct::new(options)?)))
    }

    /// Creates a client for a Service, through the API server.
    pub(super) fn behind(reader: ReadClient, address: ServiceAddress, headers: HeaderMap) -> Self {
        Self(Transport::Inside(Inside::new(reader, address, headers)))
    }

    /// Returns the URL without credentials, or the path on the API server, for display.
    pub fn shown(&self) -> String {
        match &self.0 {
            Transport::Direct(direct) => direct.shown(),
            Transport::Inside(inside) => inside.address().path(),
        }
    }

    /// Runs an instant query at the server's current time.
    pub async fn query(&self, expr: &str, limit: Duration) -> Result<Vector, PrometheusError> {
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

    /// Runs a range query. The step is increased to stay below the server's limit of 11,000 points.
    pub async fn range(
        &self,
        expr: &str,
        from: Stamp,
        to: Stamp,
        step_secs: u32,
        limit: Duration,
    ) -> Result<Matrix, PrometheusError> {
        let span = to.secs_since(from);
        let step = u64::from(step_secs.max(1)).max(span.div_ceil(10_000));
        let seconds = |at: Stamp| format!("{}.{:03}", at.0.div_euclid(1000), at.0.rem_euclid(1000));
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

    async fn ask(
        &self,
        path: &str,
        query: &str,
        limit: Duration,
    ) -> Result<(Data, Remarks), PrometheusError> {
        match tokio::time::timeout(limit, self.send(path, query)).await {
            Ok(answer) => answer,
            Err(_) => Err(PrometheusError::Timeout(limit)),
        }
    }

    async fn send(&self, path: &str, query: &str) -> Result<(Data, Remarks), PrometheusError> {
        match &self.0 {
            Transport::Direct(direct) => direct.send(path, query).await,
            Transport::Inside(inside) => inside.send(path, query).await,
        }
    }
}

/// What the user has to check if an answer is not one of a Prometheus.
#[derive(Clone, Copy)]
enum Asked {
    Url,
    Service,
}

impl Asked {
    fn word(self) -> &'static str {
        match self {
            Self::Url => "is this URL a Prometheus?",
            Self::Service => "is this Service a Prometheus?",
        }
    }

    /// The question about an answer that says that there is nothing at the path.
    fn base(self) -> &'static str {
        match self {
            Self::Url => "is this URL the base URL of a Prometheus, without /graph, /query or /api/v1?",
            Self::Service => {
                "does this Prometheus have a path before /api/v1? Set it with prometheus.service"
            }
        }
    }
}

fn read(
    asked: Asked,
    status: StatusCode,
    body: &[u8],
    retry_after: Option<Duration>,
) -> Result<(Data, Remarks), PrometheusError> {
    let envelope: Result<Envelope, _> = serde_json::from_slice(body);
    let clean = |s: &str| text::cap(&text::clean(s), 300).into_owned();
    match envelope {
        Ok(Envelope { status: Some(word), data: Some(data), warnings, infos, is_partial, .. })
            if word == "success" && status.is_success() =>
        {
            let cleaned = |said: Option<Vec<String>>| -> Vec<String> {
                said.unwrap_or_default().iter().map(|one| clean(one)).collect()
            };
            let (mut warnings, infos) = (cleaned(warnings), cleaned(infos));
            if is_partial {
                warnings.push("some storage nodes did not answer (isPartial)".into());
            }
            Ok((data, Remarks { warnings, infos }))
        }
        Ok(Envelope { error: Some(error), .. }) => {
            Err(PrometheusError::Refused { code: status.as_u16(), message: clean(&error), retry_after })
        }
        _ if !status.is_success() => {
            let said =
                String::from_utf8_lossy(body.get(..body.len().min(200)).unwrap_or_default()).into_owned();
            let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
            let message = if line.starts_with('<') || line.is_empty() {
                status.canonical_reason().unwrap_or("refused").to_owned()
            } else {
                clean(&line)
            };
            let message = if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
                format!("{message}; {}", asked.base())
            } else {
                message
            };
            Err(PrometheusError::Refused { code: status.as_u16(), message, retry_after })
        }
        Ok(_) => Err(PrometheusError::Decode(format!("no data in the answer; {}", asked.word()))),
        Err(_) if body.trim_ascii_start().starts_with(b"<") => Err(PrometheusError::Decode(format!(
            "an HTML page, perhaps for a login, and not JSON; {}",
            asked.word()
        ))),
        Err(error) => {
            let why = clean(&error.to_string());
            Err(PrometheusError::Decode(format!("{why}; {}", asked.word())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
