//! Who we are to the server and what it is, and a heartbeat of our own: after SIGTERM an API server leaves open watches
//! silent for a minute while it refuses everything new.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::text;
use pilothouse_core::model::event::Identity;
use serde::Deserialize;
use tokio::sync::watch;

use crate::source::sink::FactSink;
use crate::source::supervise::Supervisor;
use crate::wire::client::ReadClient;
use crate::wire::connect::Connection;
use crate::wire::error::ApiError;
use crate::wire::list_watch::{Pulse, jitter};

const EVERY: Duration = Duration::from_secs(5);
const EVERY_WHILE_LOST: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(6);
/// A clock that moved by less than this is the header's rounding.
const OFFSET_STEP_MS: i64 = 2_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: Option<String>,
}

/// Starts the heartbeat. It tells the identity once it is known, and again when it changes.
pub fn start(
    connection: &Connection,
    client: &ReadClient,
    sink: &FactSink,
    supervisor: &Supervisor,
    pulse: watch::Sender<Pulse>,
) {
    let client = client.with_deadline(DEADLINE);
    let out = sink.clone();
    let user = connection.user.clone();
    let pulse = Arc::new(pulse);
    supervisor
        .spawn("api", sink.clone(), move || beat(client.clone(), out.clone(), user.clone(), pulse.clone()));
}

async fn beat(client: ReadClient, out: FactSink, user: String, pulse: Arc<watch::Sender<Pulse>>) {
    let mut told = Identity::default();
    let mut known = false;
    loop {
        let answer = client.get("/version", "application/json", 1 << 16).await;
        let lost = match &answer {
            Err(error @ (ApiError::Unreachable(_) | ApiError::Timeout(_))) => Some(error.to_string()),
            _ => None,
        };
        let mut now = told.clone();
        if let Ok(answer) = &answer {
            now.version = serde_json::from_slice::<Version>(&answer.body)
                .ok()
                .and_then(|v| v.git_version)
                .map(|v| Name::from(text::clean(&v).into_owned()));
            // the header has whole seconds: keep the old value while it is near
            now.clock_offset_ms = match (told.clock_offset_ms, answer.clock_offset_ms) {
                (Some(held), Some(new)) if (held - new).abs() < OFFSET_STEP_MS => Some(held),
                (held, new) => new.or(held),
            };
        }
        if !known && lost.is_none() {
            now.user = match client.who_am_i().await {
                Ok(name) => Some(Name::from(name)),
                // an older server, or not allowed to ask
                Err(ApiError::NotFound { .. } | ApiError::Forbidden { .. }) => None,
                Err(_) => told.user.clone(),
            }
            .or_else(|| (!user.is_empty()).then(|| Name::from(user.as_str())));
            known = true;
        }
        if now != told {
            told = now;
            out.identity(told.clone()).await;
        }
        let is_lost = lost.is_some();
        pulse.send_if_modified(|held| {
            if held.lost.is_some() == is_lost {
                return false;
            }
            *held = Pulse { lost: lost.map(Arc::from), since: out.clock().now() };
            true
        });
        tokio::time::sleep(jitter(if is_lost { EVERY_WHILE_LOST } else { EVERY }, 0.2)).await;
    }
}
