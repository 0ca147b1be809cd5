//! The HTTP API of Prometheus, under `/prometheus`, with the real one's envelopes, codes and messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, SecondsFormat, Utc};
use promql_parser::parser::Expr;
use serde_json::{Value as Json_, json};

use super::eval::{QueryError, Value, ask, parse};
use super::rules::{Active, Held, Rules};
use super::scrape::SharedTsdb;
use super::tsdb::{Labels, NAME, Series};
use crate::asked::{Pairs, Posted, gather};
use crate::clock::Clock;

/// Maximum number of points in one series of a range.
const POINTS: i64 = 11_000;

/// Seconds before and after 1970 beyond which a time is refused (the year 9999), because sums could overflow.
const LATEST: f64 = 253_402_300_799.0;

/// The data that the API reads.
#[derive(Debug, Clone)]
pub struct Served {
    pub db: SharedTsdb,
    pub rules: Rules,
    pub clock: Arc<Clock>,
}

/// The parameters of a request, from its query and its form.
struct Asked(Vec<(String, String)>);

impl Asked {
    fn of(query: Pairs, form: Posted) -> Self {
        Self(gather(query, form))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A time in milliseconds: Unix seconds or RFC 3339.
    fn time(&self, name: &str) -> Result<Option<i64>, QueryError> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.abs() <= LATEST);
        let millis = seconds.map(|seconds| (seconds * 1000.0).round() as i64);
        millis.or_else(|| crate::clock::parse(text).map(|at| at.timestamp_millis())).map(Some).ok_or_else(
            || {
                QueryError::BadData(format!(
                    "invalid parameter \"{name}\": cannot parse \"{text}\" to a valid timestamp"
                ))
            },
        )
    }

    /// A span in milliseconds: seconds, or with a unit.
    fn span(&self, name: &str) -> Result<i64, QueryError> {
        let text = self.get(name).unwrap_or_default();
        let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
        let span = seconds.map(|seconds| (seconds * 1000.0) as i64);
        let span = span.or_else(|| {
            crate::world::span::parse(text).and_then(|span| i64::try_from(span.as_millis()).ok())
        });
        span.ok_or_else(|| {
            QueryError::BadData(format!(
                "invalid parameter \"{name}\": cannot parse \"{text}\" to a valid duration"
            ))
        })
    }
}

/// The routes.
pub fn router(served: Served) -> Router {
    let api = Router::new()
        .route("/query", get(query).post(query))
        .route("/query_range", get(range).post(range))
        .route("/series", get(series).post(series))
        .route("/labels", get(labels).post(labels))
        .route("/label/{name}/values", get(values))
        .route("/alerts", get(alerts))
        .route("/rules", get(rules))
        .route("/targets", get(targets))
        .route("/metadata", get(metadata))
        .route("/status/buildinfo", get(build));
    Router::new()
        .nest("/prometheus/api/v1", api)
        .route("/prometheus/-/healthy", get(|| async { "Prometheus Server is Healthy.\n" }))
        .route("/prometheus/-/ready", get(|| async { "Prometheus Server is Ready.\n" }))
        .with_state(served)
}

fn success(data: impl Into<Json_>) -> Response {
    Json(json!({"status": "success", "data": data.into()})).into_response()
}

fn failure(error: &QueryError) -> Response {
    let code = match error {
        QueryError::BadData(_) => StatusCode::BAD_REQUEST,
        QueryError::Execution(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let body = json!({"status": "error", "errorType": error.kind(), "error": error.to_string()});
    (code, Json(body)).into_response()
}

/// Runs work on the database on another thread than those that serve sockets, and locks the database as briefly as
/// possible.
async fn work(
    served: Served,
    work: impl FnOnce(&SharedTsdb) -> Result<Json_, QueryError> + Send + 'static,
) -> Response {
    let done = tokio::task::spawn_blocking(move || work(&served.db)).await;
    match done {
        Ok(Ok(data)) => success(data),
        Ok(Err(error)) => failure(&error),
        Err(_) => failure(&QueryError::Execution("the query was given up".to_owned())),
    }
}

/// A number in Prometheus' form.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{value}")
    }
}

fn pair(at: i64, value: f64) -> Json_ {
    json!([at as f64 / 1000.0, number(value)])
}

fn answer(value: Value, at: i64) -> Json_ {
    match value {
        Value::Scalar(value) => json!({"resultType": "scalar", "result": pair(at, value)}),
        Value::Text(text) => json!({"resultType": "string", "result": [at as f64 / 1000.0, text]}),
        Value::Vector(points) => {
            let all: Vec<Json_> = points
                .iter()
                .map(|(labels, value)| json!({"metric": labels, "value": pair(at, *value)}))
                .collect();
            json!({"resultType": "vector", "result": all})
        }
        Value::Matrix(ranges) => {
            let one = |(labels, samples): &(Labels, Vec<super::tsdb::Sample>)| {
                let values: Vec<Json_> = samples.iter().map(|sample| pair(sample.at, sample.value)).collect();
                json!({"metric": labels, "values": values})
            };
            json!({"resultType": "matrix", "result": ranges.iter().map(one).collect::<Vec<_>>()})
        }
    }
}

async fn query(State(served): State<Served>, query: Pairs, form: Posted) -> Response {
    let asked = Asked::of(query, form);
    let now = served.clock.now().timestamp_millis();
    work(served, move |db| {
        let at = asked.time("time")?.unwrap_or(now);
        let expr = parse(asked.get("query").unwrap_or_default())?;
        Ok(answer(ask(db, &expr, at)?, at))
    })
    .await
}

async fn range(State(served): State<Served>, query: Pairs, form: Posted) -> Response {
    let asked = Asked::of(query, form);
    work(served, move |db| {
        let needed = |name: &str| {
            asked.time(name)?.ok_or_else(|| {
                QueryError::BadData(format!(
                    "invalid parameter \"{name}\": cannot parse \"\" to a valid timestamp"
                ))
            })
        };
        let (start, end) = (needed("start")?, needed("end")?);
        let bad = |text: &str| Err(QueryError::BadData(text.to_owned()));
        if end < start {
            return bad("invalid parameter \"end\": end timestamp must not be before start time");
        }
        let step = asked.span("step")?;
        if step <= 0 {
            return bad("invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer");
        }
        if (end - start) / step > POINTS {
            return bad("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)");
        }
        let expr = parse(asked.get("query").unwrap_or_default())?;
        matrix(db, &expr, start, end, step)
    })
    .await
}

/// Locks the database separately for each step.
fn matrix(db: &SharedTsdb, expr: &Expr, start: i64, end: i64, step: i64) -> Result<Json_, QueryError> {
    let mut lines: std::collections::BTreeMap<Labels, Vec<Json_>> = std::collections::BTreeMap::new();
    let mut at = start;
    while at <= end {
        let points = match ask(db, expr, at)? {
            Value::Vector(points) => points,
            Value::Scalar(value) => vec![(Labels::new(), value)],
            Value::Text(_) | Value::Matrix(_) => {
                return Err(QueryError::BadData(
                    "invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector".to_owned(),
                ));
            }
        };
        for (labels, value) in points {
            lines.entry(labels).or_default().push(pair(at, value));
        }
        at += step;
    }
    let all: Vec<Json_> =
        lines.into_iter().map(|(labels, values)| json!({"metric": labels, "values": values})).collect();
    Ok(json!({"resultType": "matrix", "result": all}))
}

/// The series that the selectors `match[]` match and that have samples in the requested time.
fn matched(db: &SharedTsdb, asked: &Asked, needed: bool) -> Result<Vec<Arc<Labels>>, QueryError> {
    let (start, end) =
        (asked.time("start")?.unwrap_or(i64::MIN / 2), asked.time("end")?.unwrap_or(i64::MAX / 2));
    let selectors: Vec<&str> = asked.all("match[]").collect();
    let has = |series: &&Series| series.between(start - 1, end).next().is_some();
    let labels = |series: &Series| series.labels.clone();
    if selectors.is_empty() {
        if needed {
            return Err(QueryError::BadData("no match[] parameter provided".to_owned()));
        }
        return Ok(db.read().all().filter(has).map(labels).collect());
    }
    let mut out = Vec::new();
    for text in selectors {
        let bad = || {
            QueryError::BadData(format!("invalid parameter \"match[]\": \"{text}\" is no series selector"))
        };
        let Expr::VectorSelector(selector) = parse(text).map_err(|_| bad())? else { return Err(bad()) };
        let db = db.read();
        let found = db.select(selector.name.as_deref(), &selector.matchers).into_iter();
        out.extend(found.filter(has).map(labels));
    }
    Ok(out)
}

async fn series(State(served): State<Served>, query: Pairs, form: Posted) -> Response {
    let asked = Asked::of(query, form);
    work(served, move |db| {
        let all: BTreeSet<Arc<Labels>> = matched(db, &asked, true)?.into_iter().collect();
        let all: Vec<&Labels> = all.iter().map(AsRef::as_ref).collect();
        Ok(json!(all))
    })
    .await
}

async fn labels(State(served): State<Served>, query: Pairs, form: Posted) -> Response {
    let asked = Asked::of(query, form);
    work(served, move |db| {
        let all = matched(db, &asked, false)?;
        let names: BTreeSet<&str> =
            all.iter().flat_map(|labels| labels.iter()).map(|(name, _)| &**name).collect();
        Ok(json!(names))
    })
    .await
}

async fn values(State(served): State<Served>, Path(name): Path<String>, query: Pairs) -> Response {
    let asked = Asked(query.0);
    work(served, move |db| {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(QueryError::BadData(format!("invalid label name: \"{name}\"")));
        }
        let all = matched(db, &asked, false)?;
        let values: BTreeSet<&str> =
            all.iter().filter_map(|labels| labels.get(&name)).map(|value| &**value).collect();
        Ok(json!(values))
    })
    .await
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn alert(active: &Active) -> Json_ {
    json!({"labels": active.labels, "annotations": active.annotations,
        "state": if active.firing { "firing" } else { "pending" },
        "activeAt": stamp(active.since), "value": format!("{:e}", active.value)})
}

async fn alerts(State(served): State<Served>) -> Response {
    let rules = served.rules.lock();
    let all: Vec<Json_> = rules.iter().flat_map(|held| held.active.values()).map(alert).collect();
    success(json!({"alerts": all}))
}

async fn rules(State(served): State<Served>, Query(pairs): Pairs) -> Response {
    let held = served.rules.lock();
    let rule = |held: &Held| {
        let firing = held.active.values().any(|active| active.firing);
        let state = if firing {
            "firing"
        } else if held.active.is_empty() {
            "inactive"
        } else {
            "pending"
        };
        let mut value = json!({"state": state, "name": held.rule.name, "query": held.rule.expr,
            "duration": held.rule.hold.as_secs(), "keepFiringFor": 0, "labels": held.rule.labels,
            "annotations": held.rule.annotations, "alerts": held.active.values().map(alert).collect::<Vec<_>>(),
            "health": if held.error.is_some() { "err" } else if held.last.is_some() { "ok" } else { "unknown" },
            "evaluationTime": 0.001, "lastEvaluation": stamp(held.last.unwrap_or_default()), "type": "alerting"});
        if let (Some(map), Some(error)) = (value.as_object_mut(), &held.error) {
            map.insert("lastError".to_owned(), error.clone().into());
        }
        value
    };
    // There are no recording rules.
    let recording = pairs.iter().any(|(key, value)| key == "type" && value == "record");
    let all: Vec<Json_> = if recording { Vec::new() } else { held.iter().map(rule).collect() };
    let last = held.iter().filter_map(|held| held.last).max().unwrap_or_default();
    success(json!({"groups": [{"name": "cluster", "file": "/etc/prometheus/rules/cluster.yaml", "rules": all,
        "interval": 15, "limit": 0, "evaluationTime": 0.002, "lastEvaluation": stamp(last)}]}))
}

async fn targets(State(served): State<Served>) -> Response {
    work(served, move |db| {
        let mut all = Vec::new();
        let up = parse("up")?;
        let Expr::VectorSelector(selector) = up else { return Ok(json!({})) };
        for series in db.read().select(selector.name.as_deref(), &selector.matchers) {
            let Some(last) = series.last().filter(|last| !super::tsdb::is_stale(last.value)) else { continue };
            let mut labels = series.labels.as_ref().clone();
            labels.remove(NAME);
            let text = |name: &str| labels.get(name).map(ToString::to_string).unwrap_or_default();
            let (job, url) = (text("job"), format!("http://{}/metrics", text("instance")));
            let healthy = last.value > 0.0;
            let error = format!("Get \"{url}\": context deadline exceeded");
            let at = stamp(DateTime::from_timestamp_millis(last.at).unwrap_or_default());
            all.push(json!({"discoveredLabels": labels, "labels": labels, "scrapePool": job, "scrapeUrl": url,
                "globalUrl": url, "lastError": if healthy { String::new() } else { error }, "lastScrape": at,
                "lastScrapeDuration": if healthy { 0.004 } else { 10.0 }, "health": if healthy { "up" } else { "down" },
                "scrapeInterval": "15s", "scrapeTimeout": "10s"}));
        }
        Ok(json!({"activeTargets": all, "droppedTargets": [], "droppedTargetCounts": {}}))
    })
    .await
}

async fn metadata(State(served): State<Served>, Query(pairs): Pairs) -> Response {
    let wanted = pairs.iter().find(|(key, _)| key == "metric").map(|(_, value)| value.clone());
    work(served, move |db| {
        let names: BTreeSet<Arc<str>> = db.read().names().filter(|name| !name.is_empty()).cloned().collect();
        let mut all = serde_json::Map::new();
        for name in names.iter().map(AsRef::as_ref) {
            let (base, kind) = if let Some(base) = name.strip_suffix("_bucket") {
                (base, "histogram")
            } else if name.ends_with("seconds_sum") || name.ends_with("seconds_count") {
                continue;
            } else if name.ends_with("_total") || name == "nginx_ingress_controller_requests" {
                (name, "counter")
            } else {
                (name, "gauge")
            };
            if name != "ALERTS" && name != "up" && wanted.as_deref().is_none_or(|wanted| wanted == base) {
                all.insert(base.to_owned(), json!([{"type": kind, "help": "", "unit": ""}]));
            }
        }
        Ok(all.into())
    })
    .await
}

async fn build() -> Response {
    success(
        json!({"version": "2.53.0", "revision": "simulated", "branch": "HEAD", "buildUser": "", "buildDate": "",
        "goVersion": ""}),
    )
}
