//! `/sim/…`: the control endpoint on the same listener: faults, time, tokens, outages, counters. It is for tests and
//! scenarios; a real server has nothing like it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::Api;
use crate::clock;
use crate::faults::Rule;
use crate::resources::Res;
use crate::scenario::What;
use crate::usage::Meter;
use crate::world::World;

/// The parts of the simulated cluster that the control endpoint changes.
#[derive(Debug, Clone)]
pub struct Control {
    pub api: Arc<Api>,
    /// True while connections are refused and open ones are closed.
    pub down: Arc<watch::Sender<bool>>,
    /// When an outage ends, in real seconds from now.
    pub lift: Arc<watch::Sender<f64>>,
    pub usage: Arc<Meter>,
    pub world: World,
    /// Steps to run at once, in addition to those of the scenario.
    pub wishes: Arc<Mutex<Vec<What>>>,
}

impl Control {
    /// Ends every open watch.
    pub fn cut_watches(&self) {
        self.api.cut.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Refuses connections and closes open ones for so many real seconds.
    pub fn outage(&self, seconds: f64) {
        self.down.send_replace(true);
        self.lift.send_replace(seconds);
    }

    /// Adds a step that the story runs as soon as it can.
    pub fn wish(&self, what: What) {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        self.world.change(|_| ());
    }

    /// The steps that were requested since the last call.
    pub fn take_wishes(&self) -> Vec<What> {
        std::mem::take(&mut *self.wishes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether metrics.k8s.io answers.
    pub fn metrics_server(&self, up: bool) {
        self.usage.set_up(up);
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    set: Option<String>,
    advance_seconds: Option<f64>,
    factor: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    token: String,
    expired: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outage {
    /// The length in real seconds. The outage also cuts off the control endpoint, so it must end by itself.
    seconds: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stall {
    /// The plural names of the resources whose watches send nothing from now on. If empty, all watches send again.
    resources: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Compact {
    /// The plural names of the resources. An empty list stands for all of them.
    #[serde(default)]
    resources: Vec<String>,
}

async fn status(State(control): State<Control>) -> Json<Value> {
    let api = &control.api;
    Json(json!({"time": api.clock.micro(), "factor": api.clock.factor(), "version": api.store.version(),
        "down": *control.down.borrow(), "requests": api.audit.counts()}))
}

async fn add_fault(State(control): State<Control>, Json(rule): Json<Rule>) -> (StatusCode, Json<Value>) {
    match control.api.faults.add(rule) {
        Some(id) => (StatusCode::CREATED, Json(json!({"id": id}))),
        None => (StatusCode::INSUFFICIENT_STORAGE, Json(json!({"error": "too many faults"}))),
    }
}

async fn faults(State(control): State<Control>) -> Json<Vec<Rule>> {
    Json(control.api.faults.list())
}

async fn clear_faults(State(control): State<Control>) -> StatusCode {
    control.api.faults.clear();
    StatusCode::NO_CONTENT
}

async fn remove_fault(State(control): State<Control>, Path(id): Path<u64>) -> StatusCode {
    if control.api.faults.remove(id) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn time(State(control): State<Control>, Json(time): Json<Time>) -> (StatusCode, Json<Value>) {
    let clock = &control.api.clock;
    // First, so that a clock that is stopped and set at the same time stands exactly at the given time.
    if let Some(factor) = time.factor {
        clock.set_factor(factor);
    }
    if let Some(text) = &time.set {
        let Some(at) = clock::parse(text) else {
            return (StatusCode::BAD_REQUEST, Json(json!({"error": "set is not an RFC 3339 time"})));
        };
        clock.set(at);
    }
    if let Some(seconds) = time.advance_seconds {
        clock.advance(TimeDelta::microseconds((seconds * 1e6) as i64));
    }
    (StatusCode::OK, Json(json!({"time": clock.micro(), "factor": clock.factor()})))
}

async fn token(State(control): State<Control>, Json(token): Json<Token>) -> StatusCode {
    control.api.access.expire(&token.token, token.expired);
    StatusCode::NO_CONTENT
}

async fn outage(State(control): State<Control>, Json(outage): Json<Outage>) -> StatusCode {
    control.outage(outage.seconds);
    StatusCode::NO_CONTENT
}

/// Ends outages when their time is over.
pub async fn lift_outages(control: Control) {
    let mut lift = control.lift.subscribe();
    while lift.changed().await.is_ok() {
        let seconds = *lift.borrow_and_update();
        let wait = if seconds.is_finite() { seconds.clamp(0.0, 86_400.0) } else { 0.0 };
        tokio::time::sleep(Duration::from_secs_f64(wait)).await;
        control.down.send_replace(false);
    }
}

async fn cut(State(control): State<Control>) -> StatusCode {
    control.cut_watches();
    StatusCode::NO_CONTENT
}

async fn stall(State(control): State<Control>, Json(which): Json<Stall>) -> StatusCode {
    control.api.silent.send_replace(which.resources);
    StatusCode::NO_CONTENT
}

async fn compact(State(control): State<Control>, Json(which): Json<Compact>) -> StatusCode {
    for res in Res::ALL {
        if which.resources.is_empty() || which.resources.iter().any(|one| one == res.info().plural) {
            control.api.store.compact(*res);
        }
    }
    StatusCode::NO_CONTENT
}

async fn step(State(control): State<Control>, Json(what): Json<What>) -> StatusCode {
    control.wish(what);
    StatusCode::ACCEPTED
}

async fn audit(State(control): State<Control>) -> Json<Value> {
    Json(json!({"counts": control.api.audit.counts(), "last": control.api.audit.last()}))
}

async fn clear_audit(State(control): State<Control>) -> StatusCode {
    control.api.audit.clear();
    StatusCode::NO_CONTENT
}

/// The routes below `/sim`.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/sim/status", get(status))
        .route("/sim/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/sim/faults/{id}", delete(remove_fault))
        .route("/sim/clock", post(time))
        .route("/sim/token", post(token))
        .route("/sim/outage", post(outage))
        .route("/sim/watches/cut", post(cut))
        .route("/sim/watches/stall", post(stall))
        .route("/sim/compact", post(compact))
        .route("/sim/steps", post(step))
        .route("/sim/audit", get(audit).delete(clear_audit))
        .with_state(control)
}
