//! Measured use from metrics.k8s.io: nodes every 15 s, pods every 30 s where there are not too many of them.

use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::quantity;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::usage::{NodeUsage, PodUsage};
use pilothouse_core::facts::event::Fact;
use pilothouse_core::facts::world::Cluster;
use serde::Deserialize;
use tokio::sync::watch;

use super::Scope;
use crate::source::Setup;
use crate::source::sink::FactSink;
use crate::source::supervise::Backoff;
use crate::wire::client::{ReadClient, escape};
use crate::wire::decode::{Labels, Meta, Pools, Text, read};
use crate::wire::error::ApiError;
use crate::wire::list_watch::{DecodeError, jitter};
use crate::wire::pages;

/// The sources of this file.
const NODES: &str = "metrics.k8s.io";
const PODS: &str = "metrics.k8s.io pods";
const ROOT: &str = "/apis/metrics.k8s.io/v1beta1";
/// The time between two polls of the nodes.
pub(crate) const NODES_EVERY: Duration = Duration::from_secs(15);
const PODS_EVERY: Duration = Duration::from_secs(30);
/// A cluster-wide list of more pods than this is too much to ask for every half minute.
const PODS_AT_MOST: u64 = 5_000;
const BODY_CAP: usize = 64 << 20;
/// Failures in a row after which it is asked at its own pace only, and nobody waits for it.
const SOON: u32 = 3;
/// Absent or forbidden: ask seldom.
const SELDOM: Duration = Duration::from_secs(120);

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    timestamp: Text<'a>,
    #[serde(borrow)]
    usage: Labels<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    timestamp: Text<'a>,
    #[serde(borrow)]
    containers: Option<Vec<ContainerDoc<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerDoc<'a> {
    #[serde(borrow)]
    usage: Labels<'a>,
}

pub(in crate::source) fn start(setup: &Setup<'_>, sink: &FactSink) -> Vec<Name> {
    let (reader, out) = (setup.reader.clone(), sink.clone());
    setup.supervisor.spawn(NODES, sink.clone(), move || nodes(reader.clone(), out.clone()));
    let (reader, out, pods) = (setup.reader.clone(), sink.clone(), setup.pods.subscribe());
    let (scope, fallback) = (setup.scope.clone(), setup.fallback());
    setup.supervisor.spawn(PODS, sink.clone(), move || {
        self::pods(reader.clone(), out.clone(), scope.clone(), pods.clone(), fallback.clone())
    });
    vec![NODES.into(), PODS.into()]
}

/// Whether what is known of usage will not get better by waiting.
pub(in crate::source) fn is_settled(cluster: &Cluster, _: &[Name]) -> bool {
    let source = |name| cluster.source(name);
    let over = source(NODES).is_some_and(|s| {
        s.lasting || matches!(s.state, SourceState::Denied | SourceState::NotInstalled | SourceState::Off)
    });
    let failing = |s: &SourceStatus| matches!(s.state, SourceState::Stale { .. } | SourceState::Down { .. });
    let passing = source(PODS).is_some_and(|s| !s.lasting && failing(s));
    (cluster.node_usage_source.is_some() || over) && !passing
}

/// What is told about a poll.
struct Teller {
    name: &'static str,
    needs: &'static str,
    path: String,
    held: SourceStatus,
    backoff: Backoff,
}

impl Teller {
    fn new(name: &'static str, needs: &'static str, path: String) -> Self {
        Self { name, needs, path, held: SourceStatus::default(), backoff: Backoff::reads() }
    }

    async fn ok(&mut self, out: &FactSink) {
        self.backoff.reset();
        let now = out.clock().now();
        let status = SourceStatus {
            name: Name::from(self.name),
            state: SourceState::Live,
            last_ok: Some(now),
            ..SourceStatus::default()
        };
        self.held = status.clone();
        out.status(status).await;
    }

    /// Tells the failure and says how long to wait.
    async fn failed(&mut self, out: &FactSink, error: &ApiError, every: Duration) -> Duration {
        let now = out.clock().now();
        let words = match error {
            ApiError::Forbidden { .. } => {
                let whom = error.refused().map_or_else(String::new, |whom| format!(" ({whom} may not)"));
                format!("403, needs {}{whom}", self.needs)
            }
            ApiError::NotFound { .. } => "404, metrics-server is not installed".into(),
            ApiError::Server { code: 503, message, .. } => {
                format!("503, metrics-server does not answer: {message}")
            }
            other => other.to_string(),
        };
        let state = match (error, &self.held.state) {
            (ApiError::Forbidden { .. }, _) => SourceState::Denied,
            (ApiError::NotFound { .. }, _) => SourceState::NotInstalled,
            (_, SourceState::Live) => SourceState::Stale { since: self.held.last_ok.unwrap_or(now) },
            (_, SourceState::Stale { since }) => SourceState::Stale { since: *since },
            (_, SourceState::Down { since }) => SourceState::Down { since: *since },
            _ => SourceState::Down { since: now },
        };
        let tries = self.held.attempts.saturating_add(1);
        let wait = match state {
            SourceState::Denied | SourceState::NotInstalled => jitter(SELDOM, 0.2),
            // most failures are over in a moment
            _ if tries < SOON => self.backoff.next().max(error.retry_after().unwrap_or_default()),
            _ => self.backoff.next().max(every),
        };
        self.held = SourceStatus {
            name: Name::from(self.name),
            state,
            last_ok: self.held.last_ok,
            error: Some(Name::from(words)),
            request: Some(Name::from(format!("GET {}", self.path))),
            retry_at: Some(Stamp(now.0 + i64::try_from(wait.as_millis()).unwrap_or(0))),
            attempts: tries,
            lasting: matches!(error, ApiError::Unauthorized(_)) || tries >= SOON,
            ..SourceStatus::default()
        };
        out.status(self.held.clone()).await;
        wait
    }
}

async fn nodes(client: ReadClient, out: FactSink) {
    let path = format!("{ROOT}/nodes");
    let mut teller = Teller::new(NODES, "list nodes.metrics.k8s.io", path.clone());
    let mut pools = Pools::default();
    loop {
        let wait = match list(&client, &path, "NodeMetricsList", |json| node(&mut pools, json)).await {
            Ok(rows) => {
                out.fact(Fact::NodeUsage { source: Name::from(NODES), rows }).await;
                teller.ok(&out).await;
                NODES_EVERY
            }
            Err(error) => teller.failed(&out, &error, NODES_EVERY).await,
        };
        tokio::time::sleep(jitter(wait, 0.05)).await;
    }
}

async fn pods(
    client: ReadClient,
    out: FactSink,
    scope: Scope,
    mut known: watch::Receiver<Option<u64>>,
    fallback: Name,
) {
    let within = |namespace: &Name| format!("{ROOT}/namespaces/{}/pods", escape(namespace));
    let everywhere = scope.namespaces.is_empty();
    let mut paths: Vec<String> = scope.namespaces.iter().map(within).collect();
    if everywhere {
        paths.push(format!("{ROOT}/pods"));
    }
    let mut teller = Teller::new(PODS, "list pods.metrics.k8s.io", paths.join(" "));
    let mut pools = Pools::default();
    loop {
        // how many there are is known from the list of pods
        let Ok(count) = known.wait_for(Option::is_some).await.map(|c| c.unwrap_or(0)) else {
            return std::future::pending().await;
        };
        if everywhere && count > PODS_AT_MOST {
            let words = format!("not asked for {count} pods (at most {PODS_AT_MOST}); choose a namespace");
            let status = SourceStatus {
                name: Name::from(teller.name),
                state: SourceState::Off,
                error: Some(Name::from(words)),
                ..SourceStatus::default()
            };
            out.status(status).await;
            tokio::time::sleep(SELDOM).await;
            continue;
        }
        let mut rows = Vec::new();
        let mut ended: Result<(), ApiError> = Ok(());
        for path in &paths {
            match list(&client, path, "PodMetricsList", |json| pod(&mut pools, json)).await {
                Ok(more) => rows.extend(more),
                // a failure is reported rather than a refusal
                Err(error) if ended.as_ref().err().is_none_or(ApiError::is_denial) => ended = Err(error),
                Err(_) => {}
            }
        }
        let wait = match ended {
            Ok(()) => {
                out.fact(Fact::PodUsage { source: Name::from(NODES), rows }).await;
                teller.ok(&out).await;
                PODS_EVERY
            }
            Err(ApiError::Forbidden { .. }) if everywhere && paths != [within(&fallback)] => {
                // not of the whole cluster, but perhaps of our namespace
                paths = vec![within(&fallback)];
                continue;
            }
            Err(error) => {
                let wait = teller.failed(&out, &error, PODS_EVERY).await;
                if rows.is_empty() {
                    wait
                } else {
                    // one namespace that is refused does not make the usage of the others old
                    out.fact(Fact::PodUsage { source: Name::from(NODES), rows }).await;
                    wait.min(PODS_EVERY)
                }
            }
        };
        tokio::time::sleep(jitter(wait, 0.05)).await;
    }
}

async fn list<T>(
    client: &ReadClient,
    path: &str,
    kind: &str,
    read: impl FnMut(&[u8]) -> Result<T, DecodeError>,
) -> Result<Vec<T>, ApiError> {
    // an item that cannot be decoded is left out, and its values are shown as unknown
    Ok(pages::whole(client, path, kind, BODY_CAP, read).await?.rows)
}

fn amounts(usage: &Labels<'_>) -> Option<(i64, i64)> {
    Some((usage.get("cpu").and_then(quantity::milli)?, usage.get("memory").and_then(quantity::whole)?))
}

fn node(pools: &mut Pools, json: &[u8]) -> Result<NodeUsage, DecodeError> {
    let doc: NodeDoc<'_> = read(json)?;
    let (cpu_milli, memory_bytes) =
        amounts(&doc.usage).ok_or_else(|| DecodeError("usage without cpu or memory".into()))?;
    let at = doc.timestamp.stamp().unwrap_or_default();
    Ok(NodeUsage { node: pools.name(&doc.metadata.name), cpu_milli, memory_bytes, at })
}

fn pod(pools: &mut Pools, json: &[u8]) -> Result<PodUsage, DecodeError> {
    let doc: PodDoc<'_> = read(json)?;
    let (mut cpu_milli, mut memory_bytes) = (0i64, 0i64);
    for container in doc.containers.iter().flatten() {
        let (cpu, memory) =
            amounts(&container.usage).ok_or_else(|| DecodeError("usage without cpu or memory".into()))?;
        cpu_milli = cpu_milli.saturating_add(cpu);
        memory_bytes = memory_bytes.saturating_add(memory);
    }
    Ok(PodUsage {
        namespace: pools.name(&doc.metadata.namespace),
        pod: pools.name(&doc.metadata.name),
        cpu_milli,
        memory_bytes,
        at: doc.timestamp.stamp().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_added_up_and_none_is_guessed() {
        let mut pools = Pools::default();
        let json = br#"{"metadata":{"name":"p","namespace":"n"},"timestamp":"2026-01-01T00:00:00Z","containers":[{"usage":{"cpu":"15800000n","memory":"1Mi"}},{"usage":{"cpu":"2m","memory":"1024Ki"}}]}"#;
        let seen = pod(&mut pools, json).unwrap();
        assert_eq!((seen.cpu_milli, seen.memory_bytes), (18, 2 << 20));
        assert!(node(&mut pools, br#"{"metadata":{"name":"n"},"usage":{"cpu":"1"}}"#).is_err());
    }
}
