//! Gates: conditions that must hold before an action continues. A gate is checked until it holds or its time is over.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::failover::Watched;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef};
use pilothouse_core::domain::plan::Gate;
use serde_json::Value;

use super::list_path::ListPath;
use super::live_object::get;
use crate::wire::client::ReadClient;
use crate::wire::error::ApiError;
use crate::wire::pages;

/// The maximum size of a list of a Service's pods or EndpointSlices.
const LIST_CAP: usize = 64 << 20;

/// Returns the current error ratio of a Service, 0..1, or `None` if it is unknown.
pub type Gauge = Arc<dyn Fn(&Watched) -> Option<f64> + Send + Sync>;

/// The result of one check.
#[derive(Debug, PartialEq, Eq)]
pub enum Held {
    Yes(String),
    /// The gate does not hold yet. Contains what is missing.
    NotYet(String),
    /// The gate can never hold.
    No(String),
    /// The objects can no longer be read, because a permission or the credentials were lost.
    Barred(String),
}

/// Checks a gate once. `waited` is the number of seconds since the first check.
pub async fn look(reader: &ReadClient, on: &ObjectRef, gate: &Gate, gauge: &Gauge, waited: u64) -> Held {
    let looked = match gate {
        Gate::ServedBy { labels, at_least } => served_by(reader, on, labels, *at_least).await,
        Gate::Ready { replicas } => ready(reader, on, *replicas).await,
        Gate::RouteAccepted => route_accepted(reader, on, waited).await,
        Gate::Soak { secs, watched } => {
            if let Some(why) = watched.as_ref().and_then(|w| too_many_errors(gauge, w)) {
                return Held::No(why);
            }
            Ok(if waited >= u64::from(*secs) {
                let is_unmeasured = watched.as_ref().is_some_and(|watched| gauge(watched).is_none());
                let note = if is_unmeasured { "; the errors were not measured" } else { "" };
                Held::Yes(format!("waited {secs} s{note}"))
            } else {
                Held::NotYet(format!("watching: {} s to go", u64::from(*secs) - waited))
            })
        }
    };
    looked.unwrap_or_else(|e| {
        let why = format!("cannot be read: {e}");
        let barred = matches!(e, ApiError::Unauthorized(_) | ApiError::Forbidden { .. });
        if barred { Held::Barred(why) } else { Held::NotYet(why) }
    })
}

/// Returns the reason why a watched action must stop now.
pub fn too_many_errors(gauge: &Gauge, watched: &Watched) -> Option<String> {
    let percent = gauge(watched)? * 100.0;
    (percent > watched.max_error_percent).then(|| {
        format!(
            "stopped: {}/{} has {percent:.1} % errors, more than {} %",
            watched.namespace, watched.service, watched.max_error_percent
        )
    })
}

/// Checks that the ready endpoints of the Service are exactly pods with these labels.
async fn served_by(
    reader: &ReadClient,
    service: &ObjectRef,
    labels: &[(Name, Name)],
    at_least: u32,
) -> Result<Held, ApiError> {
    let namespace = &service.namespace;
    let selector: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let selector = selector.join(",");
    let pods = ListPath::of(&Kind::Pod, namespace).labels(&selector).to_string();
    let pods = pages::values(reader, &pods, LIST_CAP).await?;
    let wanted: BTreeSet<&str> =
        pods.iter().filter_map(|p| p.pointer("/metadata/name")).filter_map(Value::as_str).collect();
    let label = format!("kubernetes.io/service-name={}", service.name);
    let slices = ListPath::of(&Kind::EndpointSlice, namespace).labels(&label).to_string();
    let slices = pages::values(reader, &slices, LIST_CAP).await?;
    let endpoints = slices.iter().filter_map(|s| s.get("endpoints")).filter_map(Value::as_array).flatten();
    let ready = endpoints
        .filter(|e| e.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false))
        .filter_map(|e| e.pointer("/targetRef/name").and_then(Value::as_str));
    let (ours, others): (BTreeSet<&str>, BTreeSet<&str>) = ready.partition(|name| wanted.contains(name));
    if !others.is_empty() {
        return Ok(Held::NotYet(format!("{} endpoints are not of {selector} yet", others.len())));
    }
    if ours.len() < usize::try_from(at_least).unwrap_or(usize::MAX) {
        return Ok(Held::NotYet(format!("{} of {at_least} endpoints of {selector} are ready", ours.len())));
    }
    Ok(Held::Yes(format!("served by {} endpoints of {selector}", ours.len())))
}

/// Checks that the workload has this many ready pods, according to its status for the current generation.
async fn ready(reader: &ReadClient, on: &ObjectRef, replicas: i32) -> Result<Held, ApiError> {
    let Some(body) = get(reader, on).await? else { return Ok(Held::No(format!("{on} is gone"))) };
    let live: Value = serde_json::from_slice(&body).map_err(|e| ApiError::Decode(e.to_string()))?;
    let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let ready = number("/status/readyReplicas");
    let current = number("/status/observedGeneration") >= number("/metadata/generation");
    Ok(if current && ready >= i64::from(replicas) {
        Held::Yes(format!("{ready} ready"))
    } else {
        Held::NotYet(format!("{ready} of {replicas} ready"))
    })
}

/// How long to wait for any controller to report a status for a route.
const SILENCE_SECS: u64 = 10;

/// Checks the Gateway API conditions Accepted and ResolvedRefs in `status.parents[].conditions` for the current
/// generation.
async fn route_accepted(reader: &ReadClient, route: &ObjectRef, waited: u64) -> Result<Held, ApiError> {
    let Some(body) = get(reader, route).await? else { return Ok(Held::No(format!("{route} is gone"))) };
    let route: Value = serde_json::from_slice(&body).map_err(|e| ApiError::Decode(e.to_string()))?;
    let generation = route.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    let parents = route.pointer("/status/parents").and_then(Value::as_array);
    let parents = parents.map(Vec::as_slice).unwrap_or_default();
    if parents.is_empty() {
        return Ok(if waited >= SILENCE_SECS {
            Held::Yes("written; no gateway reports about this route".into())
        } else {
            Held::NotYet("no gateway has reported yet".into())
        });
    }
    for parent in parents {
        let conditions = parent.get("conditions").and_then(Value::as_array).into_iter().flatten();
        for condition in conditions {
            let text = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default();
            if !matches!(text("type"), "Accepted" | "ResolvedRefs") {
                continue;
            }
            let seen = condition.get("observedGeneration").and_then(Value::as_i64).unwrap_or(0);
            if seen < generation {
                return Ok(Held::NotYet(format!("{} is of an older generation", text("type"))));
            }
            if text("status") != "True" {
                let why =
                    format!("{} is {}: {} {}", text("type"), text("status"), text("reason"), text("message"));
                return Ok(Held::No(why));
            }
        }
    }
    let parents = parents.len();
    Ok(Held::Yes(format!("accepted by {parents} {}", if parents == 1 { "parent" } else { "parents" })))
}
