//! The Alertmanager's HTTP API v2, under `/alertmanager`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Alert, Alertmanager, Matcher, Silence, stamp};
use crate::clock::Clock;

type Pairs = Query<Vec<(String, String)>>;

#[derive(Debug, Clone)]
struct Served {
    alertmanager: Alertmanager,
    clock: Arc<Clock>,
    since: DateTime<Utc>,
}

/// The routes.
pub fn router(alertmanager: &Alertmanager, clock: &Arc<Clock>) -> Router {
    let served = Served { alertmanager: alertmanager.clone(), clock: clock.clone(), since: clock.now() };
    let api = Router::new()
        .route("/alerts", get(alerts))
        .route("/alerts/groups", get(groups))
        .route("/silences", get(silences).post(post))
        .route("/silence/{id}", get(silence).delete(expire))
        .route("/receivers", get(receivers))
        .route("/status", get(status));
    let ready = || async { "OK" };
    Router::new()
        .nest("/alertmanager/api/v2", api)
        .route("/alertmanager/-/healthy", get(ready))
        .route("/alertmanager/-/ready", get(ready))
        .with_state(served)
}

/// Errors are JSON strings.
fn refused(code: u16, text: String) -> Response {
    (StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST), Json(Value::String(text))).into_response()
}

fn filters(pairs: &[(String, String)]) -> Result<Vec<Matcher>, String> {
    pairs.iter().filter(|(key, _)| key == "filter").map(|(_, text)| Matcher::parse(text)).collect()
}

/// A parameter that is true unless it is `false`.
fn wants(pairs: &[(String, String)], name: &str) -> bool {
    !pairs.iter().any(|(key, value)| key == name && value == "false")
}

fn wanted(served: &Served, pairs: &[(String, String)]) -> Result<Vec<(Alert, Vec<String>)>, String> {
    let filters = filters(pairs)?;
    let (active, silenced) = (wants(pairs, "active"), wants(pairs, "silenced"));
    let receiver = pairs.iter().find(|(key, _)| key == "receiver");
    if let Some((_, pattern)) = receiver {
        let regex = super::silence::whole(pattern)
            .map_err(|error| format!("failed to parse receiver param: {error}"))?;
        if !regex.is_match("default") {
            return Ok(Vec::new());
        }
    }
    let mut all = served.alertmanager.alerts(served.clock.now());
    all.retain(|(alert, by)| {
        (if by.is_empty() { active } else { silenced })
            && filters.iter().all(|filter| filter.matches(&alert.labels))
    });
    Ok(all)
}

async fn alerts(State(served): State<Served>, Query(pairs): Pairs) -> Response {
    match wanted(&served, &pairs) {
        Ok(all) => Json(all.iter().map(|(alert, by)| alert.value(by)).collect::<Vec<_>>()).into_response(),
        Err(error) => refused(400, error),
    }
}

async fn groups(State(served): State<Served>, Query(pairs): Pairs) -> Response {
    let all = match wanted(&served, &pairs) {
        Ok(all) => all,
        Err(error) => return refused(400, error),
    };
    let mut groups: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for (alert, by) in all {
        let label = |name: &str| alert.labels.get(name).map(ToString::to_string).unwrap_or_default();
        groups.entry((label("alertname"), label("namespace"))).or_default().push(alert.value(&by));
    }
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|((name, namespace), alerts)| {
            let mut labels = json!({"alertname": name});
            if let Some(map) = labels.as_object_mut().filter(|_| !namespace.is_empty()) {
                map.insert("namespace".into(), namespace.into());
            }
            json!({"labels": labels, "receiver": {"name": "default"}, "alerts": alerts})
        })
        .collect();
    Json(groups).into_response()
}

async fn silences(State(served): State<Served>, Query(pairs): Pairs) -> Response {
    let filters = match filters(&pairs) {
        Ok(filters) => filters,
        Err(error) => return refused(400, error),
    };
    let now = served.clock.now();
    let fits = |silence: &Silence| {
        // A filter accepts a silence whose matchers would match the filter's values.
        filters.iter().all(|filter| {
            let named = silence.matchers.iter().find(|matcher| matcher.name == filter.name);
            let value = named.map(|matcher| matcher.value.clone()).unwrap_or_default();
            filter.matches(&std::iter::once((filter.name.as_str(), value)).collect())
        })
    };
    let mut all: Vec<Silence> = served.alertmanager.silences().into_iter().filter(fits).collect();
    let rank =
        |silence: &Silence| ["active", "pending", "expired"].iter().position(|s| *s == silence.state(now));
    all.sort_by_key(|silence| (rank(silence), silence.ends));
    Json(all.iter().map(|silence| silence.value(now)).collect::<Vec<_>>()).into_response()
}

async fn post(State(served): State<Served>, body: Bytes) -> Response {
    let now = served.clock.now();
    let silence = match Silence::read(&body, now) {
        Ok(silence) => silence,
        Err((code, error)) => return refused(code, error),
    };
    let id = silence.id.clone();
    match served.alertmanager.silence(silence, now) {
        Some(id) => Json(json!({"silenceID": id})).into_response(),
        None => refused(404, format!("silence {id} not found")),
    }
}

async fn silence(State(served): State<Served>, Path(id): Path<String>) -> Response {
    let all = served.alertmanager.silences();
    match all.iter().find(|silence| silence.id == id) {
        Some(silence) => Json(silence.value(served.clock.now())).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn expire(State(served): State<Served>, Path(id): Path<String>) -> Response {
    if served.alertmanager.expire(&id, served.clock.now()) {
        StatusCode::OK.into_response()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

async fn receivers() -> Json<Value> {
    Json(json!([{"name": "default"}]))
}

async fn status(State(served): State<Served>) -> Json<Value> {
    Json(json!({
        "cluster": {"status": "disabled", "peers": []},
        "versionInfo": {"version": "0.28.1", "revision": "simulated", "branch": "HEAD", "buildUser": "", "buildDate": "",
            "goVersion": ""},
        "config": {"original": "route:\n  receiver: default\n  group_by: [alertname, namespace]\nreceivers:\n- name: default\n"},
        "uptime": stamp(served.since),
    }))
}
