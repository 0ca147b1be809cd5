//! The numbers from before the first poll, for the trends of the panes: one range query for each metric and all objects
//! of a pane, once. The polls continue them.

use std::collections::BTreeMap;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::preset::{Measure, Preset, Query};
use pilothouse_core::domain::range::Span;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::trend::{NodeTrend, ServiceTrend, Trends, TrendsSeen};
use pilothouse_core::facts::intern::Names;
use pilothouse_core::facts::past::POLLS;
use pilothouse_core::policy::measured::{Column, over_time};

use super::client::{Matrix, Queries};
use super::refresh::Refresh;
use crate::source::kube::metrics::NODES_EVERY;
use crate::source::server::ServerError;

/// The most presets whose earlier numbers are asked for. Each needs up to three queries.
const MOST_PRESETS: usize = 2;
/// How often it is tried.
const TRIES: u32 = 3;
/// What is asked of a preset.
const MEASURES: [(Measure, &str); 3] =
    [(Measure::Rate, "sum"), (Measure::Errors, "sum"), (Measure::P95, "max")];

/// The usage of all nodes. metrics.k8s.io has the numbers of the kubelets, so theirs come first. Those of node exporters
/// have the label `from`.
const NODES: [&str; 2] = [
    "sum by (node, instance) (rate(container_cpu_usage_seconds_total{id=\"/\"}[120s])) or label_replace(sum by (node, instance) (rate(node_cpu_seconds_total{mode!~\"idle|iowait|steal\"}[120s])), \"from\", \"exporter\", \"\", \"\")",
    "sum by (node, instance) (container_memory_working_set_bytes{id=\"/\"}) or label_replace(sum by (node, instance) (node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes), \"from\", \"exporter\", \"\", \"\")",
];

/// What is still to be asked.
pub(super) struct Earlier {
    every_secs: u32,
    nodes: u32,
    services: u32,
}

impl Earlier {
    /// `every_secs` is the time between two polls.
    pub(super) fn new(every_secs: u32) -> Self {
        Self { every_secs: every_secs.max(1), nodes: TRIES, services: TRIES }
    }

    /// Asks for what was not answered yet. A query that fails is tried again with the next call, at most [`TRIES`] times:
    /// without an answer, the trends begin with the first poll. `now` is the time of that poll.
    pub(super) async fn ask<C: Queries>(
        &mut self,
        client: &C,
        refresh: &Refresh,
        limit: Duration,
        now: Stamp,
    ) -> Vec<TrendsSeen> {
        let mut seen = Vec::new();
        if self.nodes > 0 {
            let every = u32::try_from(NODES_EVERY.as_secs()).unwrap_or(1);
            let span = before(now, every);
            match nodes(client, span, limit).await {
                Ok(nodes) => {
                    self.nodes = 0;
                    let of = Trends::Nodes(nodes);
                    seen.extend((!is_empty(&of)).then_some(TrendsSeen { span, of }));
                }
                Err(error) => self.nodes = tried("nodes", self.nodes, &error),
            }
        }
        // the presets that have data can be known later
        if self.services > 0 && !refresh.found().is_empty() {
            let span = before(now, self.every_secs);
            match services(client, refresh, span, limit).await {
                Ok(services) => {
                    self.services = 0;
                    let of = Trends::Services(services);
                    seen.extend((!is_empty(&of)).then_some(TrendsSeen { span, of }));
                }
                Err(error) => self.services = tried("services", self.services, &error),
            }
        }
        seen
    }
}

fn is_empty(of: &Trends) -> bool {
    match of {
        Trends::Nodes(nodes) => nodes.is_empty(),
        Trends::Services(services) => services.is_empty(),
    }
}

fn tried(what: &str, left: u32, error: &ServerError) -> u32 {
    tracing::info!(what, %error, "no earlier numbers for the trends");
    // what is refused for good is not asked again
    if error.is_lasting() { 0 } else { left.saturating_sub(1) }
}

/// The times of the polls before this one.
fn before(now: Stamp, every_secs: u32) -> Span {
    let back = i64::from(every_secs).saturating_mul(i64::try_from(POLLS - 1).unwrap_or(0));
    Span { from: now.plus_secs(-back), step_secs: every_secs, count: POLLS }
}

/// Returns the series with their values at the times of the span.
fn columns(matrix: Matrix, span: Span) -> Vec<Column> {
    let column = |series: super::client::Series| {
        let mut values = vec![None; span.count];
        for (at, value) in series.points {
            if let Some(place) = span.index(at).and_then(|index| values.get_mut(index)) {
                *place = Some(value.unwrap_or(f64::NAN));
            }
        }
        Column { labels: series.labels, values }
    };
    matrix.series.into_iter().map(column).collect()
}

async fn range<C: Queries>(
    client: &C,
    query: &str,
    span: Span,
    limit: Duration,
) -> Result<Vec<Column>, ServerError> {
    Ok(columns(client.range(query, span, limit).await?, span))
}

/// Returns the usage of each node, by its name, or by its address if no label has the name.
async fn nodes<C: Queries>(client: &C, span: Span, limit: Duration) -> Result<Vec<NodeTrend>, ServerError> {
    let [cpu, memory] = NODES.map(|query| range(client, query, span, limit));
    let (cpu, memory) = futures::future::try_join(cpu, memory).await?;
    let mut found: BTreeMap<(String, bool), NodeTrend> = BTreeMap::new();
    for (columns, is_memory) in [(cpu, false), (memory, true)] {
        for column in columns {
            let label = |key: &str| column.labels.iter().find(|(held, _)| held == key).map_or("", |(_, v)| v);
            let (node, instance) = (label("node"), label("instance"));
            let address = instance.rsplit_once(':').map_or(instance, |(host, _)| host);
            let name = if node.is_empty() { address } else { node };
            let is_exporter = !label("from").is_empty();
            let trend = found.entry((name.to_owned(), is_exporter)).or_default();
            let values = column.values.into_iter().map(|value| value.filter(|one| one.is_finite())).collect();
            *(if is_memory { &mut trend.bytes } else { &mut trend.cores }) = values;
        }
    }
    // both numbers of a node are from one source, and the kubelet's come first
    let mut nodes: BTreeMap<Name, NodeTrend> = BTreeMap::new();
    for ((name, _), trend) in found {
        let name = Name::from(name);
        nodes.entry(name.clone()).or_insert(NodeTrend { node: name, ..trend });
    }
    Ok(nodes.into_values().collect())
}

/// Returns the traffic of each service. A service of several presets has the numbers of the first.
async fn services<C: Queries>(
    client: &C,
    refresh: &Refresh,
    span: Span,
    limit: Duration,
) -> Result<Vec<ServiceTrend>, ServerError> {
    let asked: Vec<(Preset, Vec<(Measure, String)>)> = refresh.over_time(MOST_PRESETS, grouped);
    let mut names = Names::default();
    let mut found = BTreeMap::new();
    for (preset, queries) in asked {
        let answers = queries.iter().map(async |(measure, query)| {
            range(client, query, span, limit).await.map(|columns| (*measure, columns))
        });
        let answers = futures::future::try_join_all(answers).await?;
        for trend in over_time(&preset, answers, span.count, &mut names) {
            found.entry((trend.namespace.clone(), trend.name.clone())).or_insert(trend);
        }
    }
    Ok(found.into_values().collect())
}

/// Returns the query of a preset summed up by service, so that the answer has no series for each backend. `promql` is
/// the query with its placeholders filled in.
fn grouped(preset: &Preset, query: &Query, promql: &str) -> Option<String> {
    let (_, aggregation) = MEASURES.iter().find(|(measure, _)| *measure == query.measure)?;
    let mut labels: Vec<&str> = preset.namespace.iter().map(String::as_str).collect();
    labels.extend(preset.service.iter().map(|one| one.label.as_str()));
    labels.extend(preset.failed.iter().map(|one| one.label.as_str()));
    labels.sort_unstable();
    labels.dedup();
    Some(format!("{aggregation} by ({}) ({promql})", labels.join(", ")))
}
