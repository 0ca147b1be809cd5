//! The metrics of an earlier moment: what a Prometheus is asked for, and what its answers say of the cluster of then.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::id::Name;
use crate::domain::preset::{Measure, Preset, Sample, filled};
use crate::domain::time::Stamp;
use crate::domain::traffic::{TrafficSeen, each_once};
use crate::domain::usage::NodeUsage;
use crate::facts::intern::Names;
use crate::facts::table::Rows;
use crate::facts::world::{Cluster, NodeRow, TrafficRow};

use super::measured;

/// The source that is asked.
pub const PROMETHEUS: &str = "prometheus";
/// The most queries about a moment.
pub const MOST: usize = 5;

/// The response times that are asked for with one query, and the label that tells their samples apart.
const TIMES: [Measure; 3] = [Measure::P50, Measure::P95, Measure::P99];
const MEASURE: &str = "pilothouse_measure";

/// Use per second, of whole nodes. The node exporter and the kubelets name their node in one of two labels.
const NODE_CPU: &str = "sum by (node) (rate(node_cpu_seconds_total{node!=\"\",mode!~\"idle|iowait|steal\"}[120s])) \
or sum by (instance) (rate(node_cpu_seconds_total{node=\"\",mode!~\"idle|iowait|steal\"}[120s])) \
or sum by (node) (rate(container_cpu_usage_seconds_total{id=\"/\",node!=\"\"}[120s]))";
const NODE_MEMORY: &str = "(sum by (node) (node_memory_MemTotal_bytes{node!=\"\"}) - sum by (node) (node_memory_MemAvailable_bytes{node!=\"\"})) \
or (sum by (instance) (node_memory_MemTotal_bytes{node=\"\"}) - sum by (instance) (node_memory_MemAvailable_bytes{node=\"\"})) \
or sum by (node) (container_memory_working_set_bytes{id=\"/\",node!=\"\"})";

/// What a query is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    Traffic {
        preset: Name,
        measure: Measure,
    },
    /// Its response times, each with its measure in the label [`MEASURE`].
    Times {
        preset: Name,
    },
    NodeCpu,
    NodeMemory,
}

/// A query about a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub of: Of,
    pub promql: String,
}

/// Returns the queries: the requests, errors and response times of the preset that measures the most Services now, and
/// the use of nodes.
pub fn queries(present: &Cluster, presets: &[Preset]) -> Vec<Asked> {
    let mut counts: HashMap<&Name, (usize, u32)> = HashMap::new();
    for row in present.derived.traffic.iter() {
        let entry = counts.entry(&row.traffic.preset).or_insert((0, row.traffic.window_secs));
        entry.0 += 1;
    }
    let most = counts.into_iter().max_by(|a, b| a.1.0.cmp(&b.1.0).then_with(|| b.0.cmp(a.0)));
    let found = most
        .and_then(|(name, (_, window))| Some((presets.iter().find(|preset| preset.name == *name)?, window)));
    let mut asked = Vec::new();
    if let Some((preset, window)) = found {
        // the response times are one query, so that there are no more
        let times: Vec<String> = TIMES
            .iter()
            .filter_map(|measure| preset.query(*measure))
            .map(|query| {
                let (promql, measure) = (filled(query, window, ""), query.measure.as_str());
                format!("label_replace({promql}, \"{MEASURE}\", \"{measure}\", \"\", \"\")")
            })
            .collect();
        let queries = [Measure::Rate, Measure::BackendRate, Measure::Errors];
        let most = MOST - 2 - usize::from(!times.is_empty());
        for query in queries.into_iter().filter_map(|measure| preset.query(measure)).take(most) {
            let of = Of::Traffic { preset: preset.name.clone(), measure: query.measure };
            asked.push(Asked { of, promql: filled(query, window, "") });
        }
        if !times.is_empty() {
            asked.push(Asked { of: Of::Times { preset: preset.name.clone() }, promql: times.join(" or ") });
        }
    }
    asked.push(Asked { of: Of::NodeCpu, promql: NODE_CPU.into() });
    asked.push(Asked { of: Of::NodeMemory, promql: NODE_MEMORY.into() });
    asked
}

/// Completes the cluster of a moment with the answers, which are in the order of the queries. What they do not have stays
/// unknown.
pub fn complete(
    then: &mut Cluster,
    present: &Cluster,
    presets: &[Preset],
    asked: &[Asked],
    answers: &[Vec<Sample>],
    at: Stamp,
) {
    let all = || asked.iter().zip(answers);
    traffic(then, present, presets, all(), at);
    let of = |wanted: &Of| {
        all().filter(|(one, _)| one.of == *wanted).flat_map(|(_, samples)| samples).collect::<Vec<_>>()
    };
    nodes(then, present, &of(&Of::NodeCpu), &of(&Of::NodeMemory), at);
}

fn traffic<'a>(
    then: &mut Cluster,
    present: &Cluster,
    presets: &[Preset],
    answers: impl Iterator<Item = (&'a Asked, &'a Vec<Sample>)>,
    at: Stamp,
) {
    let mut names = Names::default();
    let mut readings = Vec::new();
    let mut of = None;
    for (asked, samples) in answers {
        let (Of::Traffic { preset, .. } | Of::Times { preset }) = &asked.of else { continue };
        let Some(preset) = presets.iter().find(|one| one.name == *preset) else { continue };
        of = Some(preset);
        if let Of::Traffic { measure, .. } = &asked.of {
            readings.push(measured::read(preset, *measure, samples, &mut names));
            continue;
        }
        for measure in TIMES {
            let is = |sample: &&Sample| sample.label(MEASURE) == measure.as_str();
            let samples: Vec<Sample> = samples.iter().filter(is).cloned().collect();
            readings.push(measured::read(preset, measure, &samples, &mut names));
        }
    }
    let Some(preset) = of else { return };
    let now = present.derived.traffic.iter().find(|row| row.traffic.preset == preset.name);
    let (window, scrape) = now.map_or((0, 0), |row| (row.traffic.window_secs, row.traffic.scrape_secs));
    let services = each_once(measured::services(preset, window, scrape, readings.iter()).into_iter());
    let row =
        |traffic: &Arc<_>| Arc::new(TrafficRow { traffic: Arc::clone(traffic), ..TrafficRow::default() });
    then.derived.traffic = services.iter().map(row).collect();
    let source = present.traffic.source.clone();
    then.traffic = Arc::new(TrafficSeen { source, at, services: services.into() });
}

fn nodes(then: &mut Cluster, present: &Cluster, cpu: &[&Sample], memory: &[&Sample], at: Stamp) {
    // an exporter can name the node by its address
    let mut known: HashMap<&str, &Name> = HashMap::new();
    for node in present.nodes.iter() {
        known.insert(&node.name, &node.name);
        known.extend(node.internal_ip.as_ref().map(|address| (address.as_str(), &node.name)));
    }
    let by_node = |samples: &[&Sample]| -> HashMap<Name, f64> {
        let mut found = HashMap::new();
        for sample in samples {
            let instance = sample.label("instance");
            let host = instance.rsplit_once(':').map_or(instance, |(host, _)| host);
            let name = [sample.label("node"), host].into_iter().find_map(|name| known.get(name));
            if let (Some(name), Some(value)) = (name, sample.value) {
                found.entry(Name::clone(name)).or_insert(value);
            }
        }
        found
    };
    let (cpu, memory) = (by_node(cpu), by_node(memory));
    let mut rows = Rows::default();
    for row in then.derived.nodes.iter() {
        let name = &row.node.name;
        let usage = cpu.get(name).zip(memory.get(name)).map(|(cores, bytes)| NodeUsage {
            node: name.clone(),
            cpu_milli: (cores * 1_000.0).round() as i64,
            memory_bytes: bytes.round() as i64,
            at,
        });
        let _new = rows.upsert(NodeRow { usage, ..NodeRow::clone(row) });
    }
    then.node_usage_source = present.source(PROMETHEUS).map(|source| source.name.clone());
    then.derived.nodes = rows.table().clone();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::node::Node;
    use crate::domain::preset;
    use crate::domain::traffic::ServiceTraffic;

    fn node(name: &str, address: &str) -> NodeRow {
        NodeRow::of(Node {
            name: name.into(),
            uid: crate::domain::id::Uid::Text(name.into()),
            internal_ip: Some(address.into()),
            ..Node::default()
        })
    }

    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        let (mut rows, mut nodes) = (Rows::default(), Rows::default());
        for row in [node("n1", "10.0.0.1"), node("n2", "10.0.0.2"), node("n3", "10.0.0.3")] {
            let _new = nodes.upsert(Node::clone(&row.node));
            let _new = rows.upsert(row);
        }
        (cluster.derived.nodes, cluster.tables.nodes) = (rows.table().clone(), nodes.table().clone());
        let traffic = ServiceTraffic {
            namespace: "shop".into(),
            name: "web".into(),
            preset: "http_requests_total".into(),
            window_secs: 60,
            ..ServiceTraffic::default()
        };
        let row = TrafficRow { traffic: Arc::new(traffic), ..TrafficRow::default() };
        cluster.derived.traffic = [Arc::new(row)].into();
        cluster
    }

    fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Sample { labels, value: Some(value) }
    }

    #[test]
    fn a_moment_costs_at_most_five_queries() {
        let cluster = cluster();
        for preset in preset::all(&[]) {
            let mut cluster = cluster.clone();
            let traffic =
                ServiceTraffic { preset: preset.name.clone(), window_secs: 60, ..ServiceTraffic::default() };
            let row = TrafficRow { traffic: Arc::new(traffic), ..TrafficRow::default() };
            cluster.derived.traffic = [Arc::new(row)].into();
            let asked = queries(&cluster, &preset::all(&[]));
            assert!((3..=MOST).contains(&asked.len()), "{}: {}", preset.name, asked.len());
            assert!(asked.iter().all(|one| !one.promql.contains('$')), "{asked:?}");
        }
        assert_eq!(queries(&Cluster::default(), &preset::all(&[])).len(), 2, "no Service is measured");
    }

    #[test]
    fn answers_are_joined_with_the_objects_and_the_rest_stays_unknown() {
        let (present, presets) = (cluster(), preset::all(&[]));
        let mut then = present.clone();
        then.derived.traffic = Arc::default();
        let asked = queries(&present, &presets);
        let answers: Vec<Vec<Sample>> = asked
            .iter()
            .map(|one| match &one.of {
                Of::Traffic { measure: Measure::Rate, .. } => {
                    let of = |code, rate| {
                        let labels =
                            [("namespace", "shop"), ("service", "web"), ("pod", "web-0"), ("code", code)];
                        sample(&labels, rate)
                    };
                    vec![of("200", 9.0), of("500", 1.0)]
                }
                Of::Traffic { .. } => Vec::new(),
                Of::Times { .. } => {
                    let of = |measure, secs| {
                        let labels = [("namespace", "shop"), ("service", "web"), (MEASURE, measure)];
                        sample(&labels, secs)
                    };
                    vec![of("p50", 0.1), of("p99", 2.0)]
                }
                Of::NodeCpu => vec![
                    sample(&[("node", "n1")], 1.5),
                    sample(&[("instance", "10.0.0.2:9100")], 0.25),
                    sample(&[("node", "gone")], 9.0),
                ],
                Of::NodeMemory => {
                    vec![sample(&[("node", "n1")], 1024.0), sample(&[("instance", "n2:9100")], 2048.0)]
                }
            })
            .collect();
        complete(&mut then, &present, &presets, &asked, &answers, Stamp(5));
        let row = then.measured("shop", "web").unwrap();
        assert_eq!((row.traffic.rps, row.traffic.error_ratio), (Some(10.0), Some(0.1)));
        let times = [row.traffic.p50_ms, row.traffic.p95_ms, row.traffic.p99_ms];
        assert_eq!(times, [Some(100.0), None, Some(2_000.0)]);
        let used: Vec<Option<(i64, i64)>> = then
            .derived
            .nodes
            .iter()
            .map(|row| row.usage.as_ref().map(|usage| (usage.cpu_milli, usage.memory_bytes)))
            .collect();
        assert_eq!(used, [Some((1_500, 1_024)), Some((250, 2_048)), None]);
    }
}
