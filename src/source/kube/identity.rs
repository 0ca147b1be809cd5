//! Our identity in the cluster, the cluster's identity, and a heartbeat. The heartbeat is needed because an API server
//! that has received SIGTERM leaves open watches silent for a minute while it refuses new requests.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::text;
use pilothouse_core::facts::event::Identity;
use serde::Deserialize;
use tokio::sync::watch;

use super::{Scope, rights};
use crate::clock::Clock;
use crate::source::sink::FactSink;
use crate::source::supervise::Supervisor;
use crate::wire::client::ReadClient;
use crate::wire::connect::Connection;
use crate::wire::error::ApiError;
use crate::wire::list_watch::{DecodeError, Pulse, jitter};
use crate::wire::pages;

const EVERY: Duration = Duration::from_secs(5);
const EVERY_WHILE_LOST: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(6);
/// The offset of the clocks is reported again when it has changed by this much.
const OFFSET_STEP_MS: i64 = 500;
/// How often the list of namespaces is read.
const NAMESPACES_EVERY: Duration = Duration::from_secs(300);
const NAMESPACES_CAP: usize = 16 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: Option<String>,
}

/// Starts the heartbeat. It reports the identity when it is known, and again when it changes.
pub fn start(
    connection: &Connection,
    client: &ReadClient,
    scope: &Scope,
    sink: &FactSink,
    supervisor: &Supervisor,
    pulse: watch::Sender<Pulse>,
) {
    let asked = scope.namespaces.clone();
    let client = client.with_deadline(DEADLINE);
    let out = sink.clone();
    let user = connection.user.clone();
    let pulse = Arc::new(pulse);
    supervisor.spawn("api", sink.clone(), move || {
        beat(client.clone(), asked.clone(), out.clone(), user.clone(), pulse.clone())
    });
}

/// The names of all namespaces, if they may be listed.
async fn namespaces(client: &ReadClient) -> Option<Vec<Name>> {
    #[derive(Default, Deserialize)]
    struct Named {
        metadata: Meta,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Meta {
        name: String,
    }
    let read = |json: &[u8]| {
        let named: Named = serde_json::from_slice(json).map_err(|e| DecodeError(e.to_string()))?;
        Ok(Name::from(text::clean(&named.metadata.name).into_owned()))
    };
    let path = "/api/v1/namespaces?limit=500";
    let mut names = pages::whole(client, path, "NamespaceList", NAMESPACES_CAP, read).await.ok()?.rows;
    names.sort();
    Some(names)
}

/// The UID of the namespace kube-system, if it may be read.
async fn uid(client: &ReadClient) -> Option<Name> {
    let path = "/api/v1/namespaces/kube-system";
    let found: serde_json::Value = client.get_json(path).await.ok()?;
    let uid = found.pointer("/metadata/uid")?.as_str()?;
    Some(Name::from(text::clean(uid).into_owned()))
}

async fn beat(
    client: ReadClient,
    asked: Vec<Name>,
    out: FactSink,
    user: String,
    pulse: Arc<watch::Sender<Pulse>>,
) {
    let mut told = Identity::default();
    let (mut known, mut rights_known) = (false, false);
    let mut namespaces_due = Clock::instant();
    loop {
        let mut answer = client.get("/version", "application/json", 1 << 16).await;
        if matches!(answer, Err(ApiError::Unreachable(_))) {
            // a closed idle connection does not mean that the server is gone
            answer = client.get("/version", "application/json", 1 << 16).await;
        }
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
        }
        now.clock_offset_ms = match (told.clock_offset_ms, out.clock().offset_ms()) {
            (Some(held), Some(new)) if (held - new).abs() < OFFSET_STEP_MS => Some(held),
            (held, new) => new.or(held),
        };
        if !known && lost.is_none() {
            now.user = match client.who_am_i().await {
                Ok(name) => Some(Name::from(name)),
                // an older server, or no permission for this review
                Err(ApiError::NotFound { .. } | ApiError::Forbidden { .. }) => None,
                Err(_) => told.user.clone(),
            }
            .or_else(|| (!user.is_empty()).then(|| Name::from(user.as_str())));
            now.uid = uid(&client).await;
            known = true;
        }
        if lost.is_none() && Clock::instant() >= namespaces_due {
            namespaces_due = Clock::deadline(NAMESPACES_EVERY);
            now.namespaces = namespaces(&client).await.or(now.namespaces);
        }
        if now != told {
            told = now;
            out.identity(told.clone()).await;
        }
        if known && !rights_known {
            // after the identity is on the screen, because this can need a request for each namespace
            rights_known = true;
            let all = told.namespaces.clone().unwrap_or_default();
            let may = rights::ask(&client, if asked.is_empty() { &all } else { &asked }).await;
            if may != told.may {
                told.may = may;
                out.identity(told.clone()).await;
            }
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
