//! A client of the Prometheus HTTP API: instant and range queries with a timeout, a limit on the body, and no
//! redirects to another server.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::BuildHasher as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
pub use pilothouse_core::domain::preset::Sample;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::answer::{Items, Labels, Point};
use crate::wire::client::{escape, unescape};
use crate::wire::env::Env;
use crate::wire::error::words;
use crate::wire::proxy::Proxies;
use crate::wire::secret;
use crate::wire::tls::{Identity, Trust, client_config};
use crate::wire::web;

/// The maximum size of an answer. The rates of 40,000 backends by status code have about 20 MB.
const BODY_CAP: usize = 32 << 20;

/// The length from which on a query is sent in a body.
pub(super) const IN_BODY: usize = 4_000;

/// A Prometheus, or any server with the same API, such as Thanos, Mimir or VictoriaMetrics.
#[derive(Clone)]
pub struct Prometheus {
    http: reqwest::Client,
    /// The URL, ending with a slash, without credentials and query.
    base: Url,
    /// The query of the configured URL, which some gateways require.
    query: String,
    headers: HeaderMap,
    token_file: Option<PathBuf>,
}

/// The connection options of a Prometheus.
#[derive(Clone, Debug, Default)]
pub struct PrometheusOptions {
    pub url: String,
    pub token: Option<SecretString>,
    /// A file with a bearer token, which is read for each query.
    pub token_file: Option<PathBuf>,
    /// Further headers, such as the ID of a tenant.
    pub headers: BTreeMap<String, String>,
    /// The CA certificates (PEM), or `None` for those of this machine.
    pub ca_file: Option<PathBuf>,
    /// Whether the server's certificate is not verified.
    pub insecure: bool,
    pub user_agent: String,
    pub env: Env,
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("base", &self.shown()).finish_non_exhaustive()
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
}

impl PrometheusError {
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the error is permanent: invalid settings, an answer that cannot be decoded, a redirect, or a status 4xx
    /// other than 408 and 429.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Config(_) | Self::Decode(_) => true,
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
}

impl Queries for Prometheus {
    fn shown(&self) -> String {
        Self::shown(self)
    }

    async fn query(&self, expr: &str, limit: Duration) -> Result<Vector, PrometheusError> {
        Self::query(self, expr, limit).await
    }
}

impl Prometheus {
    /// Creates a client after checking the options. Sends no request.
    pub fn new(options: &PrometheusOptions) -> Result<Self, PrometheusError> {
        let bad = |what: String| PrometheusError::Config(what);
        let bad_url =
            |why: String| bad(format!("prometheus.url {:?}: {why}", text::without_credentials(&options.url)));
        let mut base = Url::parse(options.url.trim()).map_err(|e| bad_url(e.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(bad_url("must begin with http:// or https://".into()));
        }
        let mut headers = HeaderMap::new();
        let agent = HeaderValue::from_str(&options.user_agent);
        headers.insert(USER_AGENT, agent.unwrap_or_else(|_| HeaderValue::from_static("pilothouse")));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if !base.username().is_empty() || base.password().is_some() {
            let (user, password) = (unescape(base.username()), unescape(base.password().unwrap_or_default()));
            let value = secret::basic(&user, &password)
                .ok_or_else(|| bad_url("its user name cannot be sent".into()))?;
            headers.insert(AUTHORIZATION, value);
            let cleared = base.set_username("").is_ok() && base.set_password(None).is_ok();
            if !cleared {
                return Err(bad_url("its user name cannot be read".into()));
            }
        }
        if let Some(token) = &options.token {
            let value = secret::header(&format!("Bearer {}", token.expose_secret().trim()));
            let value = value.ok_or_else(|| {
                bad("prometheus.token_env: the token has characters that no header can carry".into())
            })?;
            headers.insert(AUTHORIZATION, value);
        }
        for (name, value) in &options.headers {
            let wrong = || bad(format!("prometheus.headers: {name:?} and its value make no header"));
            let key = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
            headers.insert(key, secret::header(value.trim()).ok_or_else(wrong)?);
        }
        let trust = match (&options.ca_file, options.insecure) {
            (_, true) => Trust::Anyone,
            (Some(path), _) => {
                let wrong = |why: String| bad(format!("prometheus.ca_file {}: {why}", path.display()));
                let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
                // in a kubeconfig an empty bundle means the CAs of this machine, but here it is an error
                if pem.is_empty() {
                    return Err(wrong("it is empty".into()));
                }
                Trust::Bundle(pem)
            }
            (None, _) => Trust::System,
        };
        let tls = client_config(&trust, std::sync::Arc::new(Identity::default())).map_err(|e| {
            let path = options.ca_file.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
            bad(format!("prometheus.ca_file {path}: {e}"))
        })?;
        let proxies = Proxies::from_env(&options.env);
        let http = web::client(tls, proxies).map_err(bad)?;
        let query = base.query().unwrap_or_default().to_owned();
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { http, base, query, headers, token_file: options.token_file.clone() })
    }

    /// Returns the URL without credentials, for display.
    pub fn shown(&self) -> String {
        text::without_credentials(self.base.as_str()).trim_end_matches('/').to_owned()
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
        let request = self.request(path, query)?;
        let unreachable = |e: reqwest::Error| PrometheusError::Unreachable(words(&e));
        let request = reqwest::Request::try_from(request).map_err(unreachable)?;
        let mut response = self.http.execute(request).await.map_err(unreachable)?;
        let status = response.status();
        let head = response.headers().clone();
        let header = |name: HeaderName| head.get(name).and_then(|v| v.to_str().ok());
        let retry_after = header(RETRY_AFTER)
            .and_then(|v| v.trim().parse().ok())
            .map(|s: u64| Duration::from_secs(s.min(300)));
        if status.is_redirection() {
            let to = text::clean(header(LOCATION).unwrap_or("another server")).into_owned();
            let message = format!(
                "it redirects to {to}; give that server's URL instead, or a token if that is a login page"
            );
            return Err(PrometheusError::Refused { code: status.as_u16(), message, retry_after });
        }
        let mut whole = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            if whole.len() + piece.len() > BODY_CAP {
                let why =
                    format!("more than {} MiB; name fewer presets in prometheus.presets", BODY_CAP >> 20);
                return Err(PrometheusError::Decode(why));
            }
            whole.extend_from_slice(&piece);
        }
        read(status, &whole, retry_after)
    }

    fn request(&self, path: &str, query: &str) -> Result<Request<Bytes>, PrometheusError> {
        let config = |e: String| PrometheusError::Config(e);
        let mut url = self.base.join(path).map_err(|e| config(e.to_string()))?;
        let own = Some(self.query.as_str()).filter(|q| !q.is_empty());
        // long queries are sent in a body, and short ones as GET, which more proxies permit
        let in_body = query.len() >= IN_BODY;
        match (own, in_body) {
            (own, true) => url.set_query(own),
            (None, false) => url.set_query(Some(query)),
            (Some(own), false) => url.set_query(Some(&format!("{own}&{query}"))),
        }
        let body = if in_body { Bytes::from(query.to_owned()) } else { Bytes::new() };
        let mut request = Request::new(body);
        *request.uri_mut() =
            url.as_str().parse().map_err(|e: http::uri::InvalidUri| config(e.to_string()))?;
        request.headers_mut().clone_from(&self.headers);
        if in_body {
            *request.method_mut() = Method::POST;
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, form);
        }
        if let Some(path) = &self.token_file {
            let wrong = |e: String| config(format!("prometheus.token_file {}: {e}", path.display()));
            let token = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
            let value = secret::header(&format!("Bearer {}", token.trim()));
            let value = value.ok_or_else(|| wrong("it holds characters that no header can carry".into()))?;
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}

fn read(
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
                format!(
                    "{message}; is this URL the base URL of a Prometheus, without /graph, /query or /api/v1?"
                )
            } else {
                message
            };
            Err(PrometheusError::Refused { code: status.as_u16(), message, retry_after })
        }
        Ok(_) => Err(PrometheusError::Decode("no data in the answer; is this URL a Prometheus?".into())),
        Err(_) if body.trim_ascii_start().starts_with(b"<") => Err(PrometheusError::Decode(
            "an HTML page, as of a login or of another server; is this URL a Prometheus, and does it need a token?".into(),
        )),
        Err(error) => {
            Err(PrometheusError::Decode(format!("{}; is this URL a Prometheus?", clean(&error.to_string()))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let ok = br#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["store x down\u001b"]}"#;
        assert_eq!(read(StatusCode::OK, ok, None).unwrap().1.warnings, ["store x down␛"]);
        let bad = br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        assert_eq!(
            read(StatusCode::BAD_REQUEST, bad, None).map(|_| ()).unwrap_err().to_string(),
            "400: parse error"
        );
        let partial =
            br#"{"status":"success","isPartial":true,"data":{"resultType":"vector","result":null}}"#;
        assert_eq!(read(StatusCode::OK, partial, None).unwrap().1.warnings.len(), 1);
        assert!(read(StatusCode::OK, br#"{"status":"success","data":null}"#, None).is_err());
        let lost = read(StatusCode::NOT_FOUND, b"404 page not found\n", None).map(|_| ()).unwrap_err();
        assert!(lost.to_string().contains("base URL"), "{lost}");
        assert!(lost.is_lasting(), "nobody waits for it");
        let html = read(StatusCode::BAD_GATEWAY, b"<html>", None).map(|_| ()).unwrap_err();
        assert_eq!(html.to_string(), "502: Bad Gateway");
        assert!(!html.is_lasting(), "it is asked again");
        assert!(
            read(StatusCode::OK, b"<html>", None)
                .map(|_| ())
                .unwrap_err()
                .to_string()
                .contains("is this URL a Prometheus")
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
        let (data, _) = read(StatusCode::OK, body.as_bytes(), None).unwrap();
        assert_eq!(data.result.unwrap().series.len(), 80_000);
    }

    #[test]
    fn urls() {
        let of = |url: &str| {
            Prometheus::new(&PrometheusOptions { url: url.into(), ..PrometheusOptions::default() })
        };
        assert!(of("ftp://x").unwrap_err().to_string().contains("http://"));
        assert!(of("nonsense").is_err());
    }

    #[tokio::test]
    async fn what_is_sent() {
        let headers = BTreeMap::from([("X-Scope-OrgID".to_owned(), " team-a\n".to_owned())]);
        let of = |url: &str, token: Option<&str>| {
            let options = PrometheusOptions {
                url: url.into(),
                token: token.map(Into::into),
                headers: headers.clone(),
                ..PrometheusOptions::default()
            };
            let request = Prometheus::new(&options).unwrap().request("api/v1/query", "query=up").unwrap();
            let header =
                |name: &str| request.headers().get(name).map_or("-", |v| v.to_str().unwrap()).to_owned();
            format!("{} {} {}", request.uri(), header("authorization"), header("x-scope-orgid"))
        };
        for (url, token, want) in [
            ("http://h:9090", None, "http://h:9090/api/v1/query?query=up - team-a"),
            ("http://h/prometheus", None, "http://h/prometheus/api/v1/query?query=up - team-a"),
            ("http://h/p/?tenant=a#x", None, "http://h/p/api/v1/query?tenant=a&query=up - team-a"),
            ("http://me:p%40ss@h", None, "http://h/api/v1/query?query=up Basic bWU6cEBzcw== team-a"),
            ("http://h", Some(" s3cret\n"), "http://h/api/v1/query?query=up Bearer s3cret team-a"),
            ("http://me:x@h", Some("t"), "http://h/api/v1/query?query=up Bearer t team-a"),
        ] {
            assert_eq!(of(url, token), want, "{url}");
        }
    }
}
