//! Loki's HTTP API, under `/loki-gateway`. Errors are plain text, as in Loki.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::logql::{self, Metric, Selector};
use super::tail::{self, Tails};
use super::{Found, Loki};
use crate::asked::{Pairs, Posted, gather};
use crate::prom::tsdb::Labels;

/// Maximum number of lines of one query.
const LINES: usize = 5000;
/// Maximum number of points per series.
const POINTS: i64 = 11_000;

/// The routes.
pub fn router(loki: Loki) -> Router {
    let api = Router::new()
        .route("/query_range", get(range).post(range))
        .route("/query", get(instant).post(instant))
        .route("/labels", get(labels))
        .route("/label/{name}/values", get(values))
        .route("/series", get(series).post(series))
        .route("/tail", get(tail::serve).with_state(Tails::new(loki.clone())));
    Router::new()
        .nest("/loki-gateway/loki/api/v1", api)
        .route("/loki-gateway/ready", get(|| async { "ready\n" }))
        .with_state(loki)
}

pub(super) fn bad(text: impl Into<String>) -> Response {
    (StatusCode::BAD_REQUEST, text.into()).into_response()
}

fn success(data: &Value) -> Response {
    Json(json!({"status": "success", "data": data})).into_response()
}

/// The parameters of a request.
pub(super) struct Asked(pub Vec<(String, String)>);

impl Asked {
    fn of(query: Pairs, form: Posted) -> Self {
        Self(gather(query, form))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Nanoseconds, seconds with a point, or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || {
            format!(
                "could not parse '{name}' parameter: strconv.ParseInt: parsing \"{text}\": invalid syntax"
            )
        };
        if text.contains('.')
            && let Ok(seconds) = text.parse::<f64>()
        {
            return Ok(DateTime::from_timestamp_millis((seconds * 1000.0).round() as i64));
        }
        if let Ok(number) = text.parse::<i64>() {
            // Up to ten digits are seconds, as in Loki.
            return Ok(Some(if text.trim_start_matches('-').len() <= 10 {
                DateTime::from_timestamp(number, 0).ok_or_else(wrong)?
            } else {
                DateTime::from_timestamp_nanos(number)
            }));
        }
        crate::clock::parse(text).map(Some).ok_or_else(wrong)
    }

    pub(super) fn span(&self, name: &str) -> Result<Option<TimeDelta>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
        let span = seconds.map(|seconds| TimeDelta::milliseconds((seconds * 1000.0) as i64));
        let span = span.or_else(|| TimeDelta::from_std(crate::world::span::parse(text)?).ok());
        span.map(Some).ok_or_else(|| format!("cannot parse \"{text}\" to a valid duration"))
    }

    /// The requested time range; by default the last hour.
    fn window(&self, now: DateTime<Utc>) -> Result<(DateTime<Utc>, DateTime<Utc>), String> {
        let end = self.time("end")?.unwrap_or(now);
        let since = self.span("since")?.unwrap_or(TimeDelta::hours(1));
        let start = self.time("start")?.unwrap_or(end.min(now) - since);
        if end < start {
            return Err("end timestamp must not be before or equal to start time".to_owned());
        }
        Ok((start, end))
    }

    pub(super) fn limit(&self) -> Result<usize, String> {
        let limit = match self.get("limit") {
            None => 100,
            Some(text) => {
                text.parse().map_err(|_| format!("strconv.Atoi: parsing \"{text}\": invalid syntax"))?
            }
        };
        match limit {
            0 => Err("limit must be a positive value".to_owned()),
            limit if limit > LINES => Err(format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {LINES})"
            )),
            limit => Ok(limit),
        }
    }
}

fn nanos(at: DateTime<Utc>) -> String {
    at.timestamp_nanos_opt().unwrap_or_default().to_string()
}

/// Streams with their lines, in the order in which they were found.
pub(super) fn streams(found: &[Found]) -> Vec<Value> {
    let mut all: BTreeMap<&Labels, (Arc<Labels>, Vec<Value>)> = BTreeMap::new();
    for one in found {
        let (_, values) = all.entry(&one.stream).or_insert_with(|| (one.stream.clone(), Vec::new()));
        values.push(json!([nanos(one.at), String::from_utf8_lossy(&one.text)]));
    }
    all.into_values().map(|(stream, values)| json!({"stream": *stream, "values": values})).collect()
}

fn lines(loki: &Loki, asked: &Asked, selector: &Selector) -> Result<Value, String> {
    let (start, end) = asked.window(loki.clock.now())?;
    let limit = asked.limit()?;
    let mut found = loki.select(selector, start, end);
    match asked.get("direction").unwrap_or("backward").to_lowercase().as_str() {
        "forward" => {}
        "backward" => found.reverse(),
        other => return Err(format!("invalid direction '{other}'")),
    }
    found.truncate(limit);
    Ok(json!({"resultType": "streams", "result": streams(&found), "stats": {}}))
}

fn matrix(loki: &Loki, asked: &Asked, metric: &Metric) -> Result<Value, String> {
    let (start, end) = asked.window(loki.clock.now())?;
    let usual = TimeDelta::seconds(((end - start).num_seconds() / 250).max(1));
    let step = asked.span("step")?.unwrap_or(usual);
    if step <= TimeDelta::zero() {
        return Err("zero or negative query resolution step widths are not accepted. Try a positive integer"
            .to_owned());
    }
    if (end - start).num_milliseconds() / step.num_milliseconds().max(1) > POINTS {
        return Err("exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter".to_owned());
    }
    let mut all: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
    let mut at = start;
    while at <= end {
        for (labels, value) in loki.measure(metric, at) {
            all.entry(labels)
                .or_default()
                .push(json!([at.timestamp_millis() as f64 / 1000.0, value.to_string()]));
        }
        at += step;
    }
    let result: Vec<Value> =
        all.into_iter().map(|(labels, values)| json!({"metric": labels, "values": values})).collect();
    Ok(json!({"resultType": "matrix", "result": result, "stats": {}}))
}

/// Reads many lines on another thread than those that serve sockets.
async fn work(work: impl FnOnce() -> Result<Value, String> + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(data)) => success(&data),
        Ok(Err(text)) => bad(text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the query was given up").into_response(),
    }
}

async fn range(State(loki): State<Loki>, query: Pairs, form: Posted) -> Response {
    let asked = Asked::of(query, form);
    work(move || match logql::parse(asked.get("query").unwrap_or_default())? {
        logql::Query::Lines(selector) => lines(&loki, &asked, &selector),
        logql::Query::Metric(metric) => matrix(&loki, &asked, &metric),
    })
    .await
}

async fn instant(State(loki): State<Loki>, query: Pairs, form: Posted) -> Response {
    let asked = Asked::of(query, form);
    work(move || match logql::parse(asked.get("query").unwrap_or_default())? {
        logql::Query::Lines(_) => Err("log queries are not supported as an instant query type, please change your query to a range query type".to_owned()),
        logql::Query::Metric(metric) => {
            let at = asked.time("time")?.unwrap_or_else(|| loki.clock.now());
            let stamp = at.timestamp_millis() as f64 / 1000.0;
            let all = loki.measure(&metric, at).into_iter();
            let result: Vec<Value> =
                all.map(|(labels, value)| json!({"metric": labels, "value": [stamp, value.to_string()]})).collect();
            Ok(json!({"resultType": "vector", "result": result, "stats": {}}))
        }
    })
    .await
}

async fn labels(State(loki): State<Loki>) -> Response {
    let streams = loki.streams();
    let names: BTreeSet<&str> =
        streams.iter().flat_map(|(s, ..)| s.iter()).map(|(name, _)| &**name).collect();
    success(&json!(names))
}

async fn values(State(loki): State<Loki>, Path(name): Path<String>) -> Response {
    let streams = loki.streams();
    let values: BTreeSet<&str> =
        streams.iter().filter_map(|(s, ..)| s.get(&name)).map(|value| &**value).collect();
    success(&json!(values))
}

async fn series(State(loki): State<Loki>, query: Pairs, form: Posted) -> Response {
    let asked = Asked::of(query, form);
    let mut wanted = Vec::new();
    for (_, text) in asked.0.iter().filter(|(key, _)| key == "match[]" || key == "match") {
        match logql::parse(text) {
            Ok(logql::Query::Lines(selector)) => wanted.push(selector),
            Ok(logql::Query::Metric(_)) => return bad("only log selectors are allowed in match[]"),
            Err(error) => return bad(error),
        }
    }
    let streams = loki.streams().into_iter().map(|(stream, ..)| stream);
    let fits =
        |stream: &Arc<Labels>| wanted.is_empty() || wanted.iter().any(|selector| selector.means(stream));
    let all: Vec<Value> = streams.filter(fits).map(|stream| json!(*stream)).collect();
    success(&json!(all))
}
