//! The Prometheus HTTP API: instant and range queries with a time limit, a body cap and no redirect to another host.

use std::fmt;
use std::time::Duration;

use futures::StreamExt as _;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::wire::client::escape;
use crate::wire::error::words;

/// The largest answer that is read.
const BODY_CAP: usize = 8 << 20;

/// One Prometheus (or Thanos, Mimir, VictoriaMetrics: anything with its API).
#[derive(Clone)]
pub struct Prometheus {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("base", &self.shown()).finish_non_exhaustive()
    }
}

/// Why a query failed, in words.
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
}

/// One element of an instant vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub labels: Vec<(String, String)>,
    /// None for NaN and infinities.
    pub value: Option<f64>,
}

impl Sample {
    /// "" when the label is absent, as in PromQL.
    pub fn label(&self, key: &str) -> &str {
        self.labels.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v)
    }
}

/// One line of a range query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub labels: Vec<(String, String)>,
    pub points: Vec<(Stamp, Option<f64>)>,
}

/// An answer; `warnings` say that it may be partial.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vector {
    pub samples: Vec<Sample>,
    pub warnings: Vec<String>,
}

/// A range query's answer.
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
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: Option<String>,
    result: Option<serde_json::Value>,
}

impl Prometheus {
    /// Checks the URL; nothing is sent yet.
    pub fn new(url: &str, token: Option<SecretString>, user_agent: &str) -> Result<Self, PrometheusError> {
        let bad = |why: String| PrometheusError::Config(format!("prometheus.url {:?}: {why}", hide(url)));
        let mut base = Url::parse(url.trim()).map_err(|e| bad(e.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(bad("must begin with http:// or https://".into()));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let home =
            (base.host_str().map(str::to_owned), base.port_or_known_default(), base.scheme().to_owned());
        let redirects = Policy::custom(move |attempt| {
            let to = attempt.url();
            let here = home.0.as_deref() == to.host_str()
                && home.1 == to.port_or_known_default()
                && home.2 == to.scheme();
            // a token must not follow to another host
            if here && attempt.previous().len() < 4 { attempt.follow() } else { attempt.stop() }
        });
        let mut builder = reqwest::Client::builder()
            .user_agent(user_agent)
            .connect_timeout(Duration::from_secs(5))
            .redirect(redirects)
            .pool_max_idle_per_host(4);
        if base.scheme() == "http" {
            // without TLS no certificate store is needed, and some hosts have none
            let roots = rustls::RootCertStore::empty();
            let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            builder = builder.tls_backend_preconfigured(tls);
        }
        let http = builder.build().map_err(|e| {
            bad(format!(
                "TLS cannot be set up ({}): is a CA certificate store installed on this machine?",
                words(&e)
            ))
        })?;
        Ok(Self { http, base, token })
    }

    /// The URL without credentials, for people.
    pub fn shown(&self) -> String {
        hide(self.base.as_str()).trim_end_matches('/').to_owned()
    }

    /// An instant query, evaluated at the server's now.
    pub async fn query(&self, expr: &str, limit: Duration) -> Result<Vector, PrometheusError> {
        let query = format!("query={}&timeout={}ms", escape(expr), limit.as_millis());
        let (data, warnings) = self.ask("api/v1/query", &query, limit).await?;
        let result = data.result.unwrap_or_default();
        let samples = match data.result_type.as_deref() {
            Some("scalar") => vec![Sample { labels: Vec::new(), value: number(result.get(1)) }],
            _ => result
                .as_array()
                .into_iter()
                .flatten()
                .map(|item| Sample {
                    labels: labels(item),
                    value: number(item.get("value").and_then(|v| v.get(1))),
                })
                .collect(),
        };
        Ok(Vector { samples, warnings })
    }

    /// A range query. The step is widened to stay below the server's 11,000 points.
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
        let (data, warnings) = self.ask("api/v1/query_range", &query, limit).await?;
        let result = data.result.unwrap_or_default();
        let series = result
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| Series {
                labels: labels(item),
                points: item
                    .get("values")
                    .and_then(|v| v.as_array())
                    .into_iter()
                    .flatten()
                    .filter_map(|p| {
                        Some((Stamp((p.get(0)?.as_f64()? * 1000.0).round() as i64), number(p.get(1))))
                    })
                    .collect(),
            })
            .collect();
        Ok(Matrix { series, warnings })
    }

    async fn ask(
        &self,
        path: &str,
        query: &str,
        limit: Duration,
    ) -> Result<(Data, Vec<String>), PrometheusError> {
        match tokio::time::timeout(limit, self.send(path, query)).await {
            Ok(answer) => answer,
            Err(_) => Err(PrometheusError::Timeout(limit)),
        }
    }

    async fn send(&self, path: &str, query: &str) -> Result<(Data, Vec<String>), PrometheusError> {
        let mut url = self.base.join(path).map_err(|e| PrometheusError::Config(e.to_string()))?;
        let unreachable = |e: reqwest::Error| PrometheusError::Unreachable(words(&e));
        // long queries go in a body; short ones as GET, which proxies allow more often
        let mut request = if query.len() < 2000 {
            url.set_query(Some(query));
            self.http.get(url)
        } else {
            let form = "application/x-www-form-urlencoded";
            self.http.post(url).header(reqwest::header::CONTENT_TYPE, form).body(query.to_owned())
        };
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|v| v.to_str().ok()?.parse().ok())
            .map(|s: u64| Duration::from_secs(s.min(300)));
        if status.is_redirection() {
            let message = "it redirects to another host; give that URL instead".to_owned();
            return Err(PrometheusError::Refused { code: status.as_u16(), message, retry_after });
        }
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(unreachable)?;
            if body.len() + piece.len() > BODY_CAP {
                return Err(PrometheusError::Decode(format!("more than {} MiB", BODY_CAP >> 20)));
            }
            body.extend_from_slice(&piece);
        }
        read(status, &body, retry_after)
    }
}

fn read(
    status: StatusCode,
    body: &[u8],
    retry_after: Option<Duration>,
) -> Result<(Data, Vec<String>), PrometheusError> {
    let envelope: Result<Envelope, _> = serde_json::from_slice(body);
    let clean = |s: &str| text::cap(&text::clean(s), 300).into_owned();
    match envelope {
        Ok(Envelope { status: Some(word), data: Some(data), warnings, .. }) if word == "success" => {
            Ok((data, warnings.unwrap_or_default().iter().map(|w| clean(w)).collect()))
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
            Err(PrometheusError::Refused { code: status.as_u16(), message, retry_after })
        }
        Ok(_) => Err(PrometheusError::Decode("no data in the answer; is this URL a Prometheus?".into())),
        Err(error) => {
            Err(PrometheusError::Decode(format!("{}; is this URL a Prometheus?", clean(&error.to_string()))))
        }
    }
}

fn labels(item: &serde_json::Value) -> Vec<(String, String)> {
    item.get("metric")
        .and_then(|m| m.as_object())
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), text::clean(v.as_str().unwrap_or_default()).into_owned()))
        .collect()
}

/// Values are texts; "NaN" and "+Inf" are no numbers to show.
fn number(value: Option<&serde_json::Value>) -> Option<f64> {
    value?.as_str()?.parse::<f64>().ok().filter(|v| v.is_finite())
}

/// A URL without its credentials.
fn hide(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let ok = br#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["store x down\u001b"]}"#;
        assert_eq!(read(StatusCode::OK, ok, None).unwrap().1, ["store x down␛"]);
        let bad = br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        assert_eq!(
            read(StatusCode::BAD_REQUEST, bad, None).map(|_| ()).unwrap_err().to_string(),
            "400: parse error"
        );
        let html = read(StatusCode::BAD_GATEWAY, b"<html>", None).map(|_| ()).unwrap_err();
        assert_eq!(html.to_string(), "502: Bad Gateway");
        assert!(
            read(StatusCode::OK, b"<html>", None)
                .map(|_| ())
                .unwrap_err()
                .to_string()
                .contains("is this URL a Prometheus?")
        );
        for (text, want) in [("\"NaN\"", None), ("\"+Inf\"", None), ("\"1.5\"", Some(1.5)), ("2", None)] {
            assert_eq!(number(serde_json::from_str(text).ok().as_ref()), want);
        }
        assert_eq!(hide("http://u:p@h/x"), "http://h/x");
    }

    #[test]
    fn urls() {
        assert!(Prometheus::new("ftp://x", None, "p").unwrap_err().to_string().contains("http://"));
        assert!(Prometheus::new("nonsense", None, "p").is_err());
    }
}
