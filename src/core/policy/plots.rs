//! What is plotted of an object: panels, their lines, and the PromQL of each line. [`table`] has the panels of each kind.

mod marks;
mod own;
mod table;

use std::sync::Arc;

use crate::domain::id::{Kind, Name, ObjectRef, Owner};
use crate::domain::pod::Pod;
use crate::domain::preset::{Measure, Preset, promql};
use crate::facts::world::{Cluster, HpaRow, NodeRow};
pub use marks::{Mark, MarkKind, marks};
pub use own::own;
use table::{Entry, Line as LineEntry};

/// The unit of the numbers of a panel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    Cores,
    Bytes,
    BytesPerSecond,
    /// Requests per second.
    PerSecond,
    Percent,
    Millis,
    /// Whole things: replicas, pods, restarts.
    Count,
    #[default]
    Number,
}

/// What a line is among those of its panel. It decides how the line is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// Measured numbers.
    #[default]
    First,
    Second,
    Third,
    /// What the object is promised, and what it cannot exceed.
    Request,
    Limit,
    /// Measured numbers of which each above 0 is bad.
    Bad,
}

impl Part {
    /// Whether the line is a bound of the measured numbers, and not one of them.
    pub fn is_bound(self) -> bool {
        matches!(self, Self::Request | Self::Limit)
    }
}

/// The numbers that the console keeps itself, for the time without a Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    NodeCpu,
    NodeMemory,
    Rps,
    ErrorsPercent,
    P95,
    ReplicasNow,
    ReplicasWanted,
}

/// One line of a panel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub name: String,
    pub part: Part,
    /// The query of its numbers. It is empty if only the number now is known.
    pub promql: String,
    /// By what its numbers are multiplied. 0 stands for 1.
    pub scale: f64,
    /// The number now, as the cluster says it.
    pub now: Option<f64>,
    /// The numbers of the past that the console has itself.
    pub own: Option<Own>,
}

/// A panel: lines of one unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    pub title: String,
    pub unit: Unit,
    pub lines: Vec<Line>,
    /// Where the numbers come from, for the message that they are missing.
    pub source: String,
}

/// What the plots are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Object {
        object: ObjectRef,
        /// The only container of the pods whose usage counts.
        container: Option<Name>,
    },
    /// A query of the user.
    Query(String),
}

impl Subject {
    pub fn of(object: ObjectRef) -> Self {
        Self::Object { object, container: None }
    }
}

/// The group of kinds that share panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Node,
    Pods,
    Service,
    Autoscaler,
}

fn group(kind: &Kind) -> Option<Group> {
    Some(match kind {
        Kind::Node => Group::Node,
        Kind::Pod | Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet | Kind::Job => {
            Group::Pods
        }
        Kind::Service => Group::Service,
        Kind::HorizontalPodAutoscaler => Group::Autoscaler,
        _ => return None,
    })
}

/// Whether objects of this kind have plots.
pub fn has_plots(kind: &Kind) -> bool {
    group(kind).is_some()
}

/// Returns the containers of the object's pods whose usage can be plotted alone, in order.
pub fn containers(cluster: &Cluster, object: &ObjectRef) -> Vec<Name> {
    let of = Of { cluster, object, container: None, windows: Windows::new(1) };
    let (kind, name) = of.pods();
    let mut names: Vec<Name> = Vec::new();
    for pod in cluster.pods.iter().filter(|pod| of.has(&kind, &name, pod)).take(PODS_WITH_CONTAINERS) {
        for container in &pod.shape.containers {
            if !names.contains(&container.name) {
                names.push(container.name.clone());
            }
        }
    }
    names
}

/// The number of pods whose containers are looked at. The pods of a workload rarely differ in them.
const PODS_WITH_CONTAINERS: usize = 50;

/// The times over which rates are computed, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// At least two samples of a scrape every minute are in it, and no sample between two points is left out.
    pub rate: u32,
    /// For what happens rarely.
    pub rare: u32,
}

impl Windows {
    pub fn new(step_secs: u32) -> Self {
        Self { rate: step_secs.saturating_add(60).max(120), rare: step_secs.max(300) }
    }
}

/// Returns the panels of a subject, the most important ones first. `step_secs` is the time between two points.
pub fn panels(cluster: &Cluster, presets: &[Preset], subject: &Subject, step_secs: u32) -> Vec<Panel> {
    let windows = Windows::new(step_secs);
    match subject {
        Subject::Query(query) => {
            let line = Line { promql: query.clone(), ..Line::default() };
            let source = "the query has no result in this time".to_owned();
            vec![Panel { title: query.clone(), unit: Unit::Number, lines: vec![line], source }]
        }
        Subject::Object { object, container } => {
            let of = Of { cluster, object, container: container.as_ref(), windows };
            match group(&object.kind) {
                None => Vec::new(),
                Some(Group::Service) => of_service(cluster, presets, object, windows),
                Some(Group::Node) => table::NODE.iter().map(|entry| of.panel(entry)).collect(),
                Some(Group::Pods) => {
                    let replicas = table::REPLICAS.iter().filter(|(kind, _)| *kind == object.kind);
                    let mut panels: Vec<Panel> = table::PODS.iter().map(|entry| of.panel(entry)).collect();
                    let at = panels.len().min(2);
                    panels.splice(at..at, replicas.map(|(_, entry)| of.panel(entry)));
                    panels
                }
                Some(Group::Autoscaler) => of_autoscaler(&of),
            }
        }
    }
}

/// What the templates of the table are filled with.
struct Of<'a> {
    cluster: &'a Cluster,
    object: &'a ObjectRef,
    container: Option<&'a Name>,
    windows: Windows,
}

/// Returns the regular expression of the names of a workload's pods.
fn pods_of(kind: &Kind, name: &str) -> String {
    let name = literal(name);
    match kind {
        Kind::Deployment => format!("{name}-[a-z0-9]+-[a-z0-9]{{5}}"),
        Kind::StatefulSet => format!("{name}-[0-9]+"),
        Kind::Pod => name,
        _ => format!("{name}-[a-z0-9]{{5}}"),
    }
}

/// Returns a text as a regular expression.
fn literal(text: &str) -> String {
    crate::domain::preset::matchers::literal(text)
}

/// Returns a text as a part of a PromQL string.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Of<'_> {
    fn panel(&self, entry: &Entry) -> Panel {
        let lines = entry.lines.iter().map(|line| self.line(line)).collect();
        Panel { title: entry.title.to_owned(), unit: entry.unit, lines, source: entry.source.to_owned() }
    }

    fn line(&self, line: &LineEntry) -> Line {
        let promql: Vec<String> = line.promql.iter().map(|template| self.fill(template)).collect();
        Line {
            name: line.name.to_owned(),
            part: line.part,
            promql: promql.join(" or "),
            scale: 0.0,
            now: (line.now)(self),
            own: line.own,
        }
    }

    /// Fills in a template: `$P` the matchers of the pods, `$E` the same if the labels of the target took their names,
    /// `$C` that of the containers, `$K` the same for kube-state-metrics, `$N` the name of the node, `$I` the matcher of
    /// its instance, `$A` the matchers of the object itself, `$W` and `$R` the windows.
    fn fill(&self, template: &str) -> String {
        let object = self.object;
        let (kind, name) = self.pods();
        let namespace = quoted(&object.namespace);
        let (pods, exact) = (quoted(&pods_of(&kind, &name)), quoted(&name));
        let pod = if kind == Kind::Pod { format!("=\"{exact}\"") } else { format!("=~\"{pods}\"") };
        let (container, of_state) = match self.container {
            Some(one) => {
                let one = format!("container=\"{}\"", quoted(one));
                (one.clone(), format!(",{one}"))
            }
            None => ("container!=\"\",container!=\"POD\"".to_owned(), String::new()),
        };
        let node = self.cluster.node(&object.name).filter(|_| object.kind == Kind::Node);
        let address = node.and_then(|node| node.internal_ip.clone());
        let mut instances = vec![literal(&object.name)];
        instances.extend(address.map(|address| literal(&address)));
        let instance = format!("instance=~\"({})(:[0-9]+)?\"", quoted(&instances.join("|")));
        let named = |label: &str| format!("namespace=\"{namespace}\",{label}=\"{}\"", quoted(&object.name));
        let own = named(match object.kind {
            Kind::HorizontalPodAutoscaler => "horizontalpodautoscaler",
            Kind::Deployment => "deployment",
            Kind::StatefulSet => "statefulset",
            Kind::DaemonSet => "daemonset",
            Kind::ReplicaSet => "replicaset",
            Kind::Job => "job_name",
            _ => "name",
        });
        // the values come last, so that no placeholder in a value is filled in
        let values = [
            ('P', format!("namespace=\"{namespace}\",pod{pod}")),
            ('E', format!("exported_namespace=\"{namespace}\",exported_pod{pod}")),
            ('C', container),
            ('K', of_state),
            ('N', format!("\"{}\"", quoted(&object.name))),
            ('I', instance),
            ('A', own),
            ('W', format!("{}s", self.windows.rate)),
            ('R', format!("{}s", self.windows.rare)),
        ];
        let mut out = String::with_capacity(template.len() * 2);
        let mut parts = template.split('$');
        out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let mut rest = part.chars();
            let place = rest.next();
            let value = values.iter().find(|(name, _)| Some(*name) == place);
            out.push_str(value.map_or("", |(_, value)| value));
            out.push_str(rest.as_str());
        }
        out
    }

    /// Returns the kind and the name whose pods are meant: those of the object, or of an autoscaler's target.
    fn pods(&self) -> (Kind, Name) {
        match self.autoscaler() {
            Some(row) => (row.hpa.target_kind.clone(), row.hpa.target_name.clone()),
            None => (self.object.kind.clone(), self.object.name.clone()),
        }
    }

    fn autoscaler(&self) -> Option<&Arc<HpaRow>> {
        let object = self.object;
        let is = |row: &&Arc<HpaRow>| row.hpa.name == object.name && row.hpa.namespace == object.namespace;
        self.cluster.derived.hpas.iter().find(is).filter(|_| object.kind == Kind::HorizontalPodAutoscaler)
    }

    fn node(&self) -> Option<&Arc<NodeRow>> {
        self.cluster.derived.nodes.iter().find(|row| row.node.name == self.object.name)
    }

    /// Whether a pod is one of the pods of this kind and name.
    fn has(&self, kind: &Kind, name: &Name, pod: &Pod) -> bool {
        let is_owner = |owner: &Owner| owner.kind == *kind && owner.name == *name;
        pod.namespace == self.object.namespace
            && !pod.phase.is_finished()
            && if *kind == Kind::Pod {
                pod.name == *name
            } else {
                pod.owner.as_ref().is_some_and(|owner| is_owner(owner))
                    || self.cluster.top_owner(pod).is_some_and(|(of, owner)| of == *kind && owner == *name)
            }
    }

    /// Returns a sum over the pods, as far as the cluster says it of all of them. It says it of whole pods only.
    fn sum(&self, of: fn(&Pod) -> i64) -> Option<f64> {
        let (kind, name) = self.pods();
        let mut sum = None;
        let pods = self.cluster.pods.iter().filter(|_| self.container.is_none());
        for pod in pods.filter(|pod| self.has(&kind, &name, pod)) {
            match of(pod) {
                0 => return None,
                one => sum = Some(sum.unwrap_or(0.0) + one as f64),
            }
        }
        sum
    }
}

/// Returns the panels of a Service, with the queries of the preset that measures it.
fn of_service(cluster: &Cluster, presets: &[Preset], object: &ObjectRef, windows: Windows) -> Vec<Panel> {
    let row = cluster.measured(&object.namespace, &object.name);
    let preset = row.and_then(|row| presets.iter().find(|preset| preset.name == row.traffic.preset));
    let query = |measure: Measure| {
        let mut traffic = (*row?.traffic).clone();
        traffic.window_secs = traffic.window_secs.max(windows.rate.saturating_sub(60));
        promql(preset?, measure, &traffic, None)
    };
    let source = match preset {
        Some(preset) => format!("preset {}", preset.name),
        None => "no metrics of this Service are known".to_owned(),
    };
    let traffic = row.map(|row| &*row.traffic);
    let rate = query(Measure::Rate);
    let errors = query(Measure::Errors).zip(rate.as_ref()).map(|(errors, rate)| {
        // without a failed request there is no series of failed requests
        format!("100 * (sum({errors}) or 0 * sum({rate})) / sum({rate})")
    });
    let in_ms = preset.map_or(1.0, |preset| preset.unit.in_ms());
    let quantile = |name: &str, part, measure, now: Option<f64>, own| {
        let promql = query(measure).map(|query| format!("max({query})")).unwrap_or_default();
        Line { name: name.to_owned(), part, promql, scale: in_ms, now, own }
    };
    let mut times = vec![
        quantile("p50", Part::Third, Measure::P50, traffic.and_then(|t| t.p50_ms), None),
        quantile("p95", Part::First, Measure::P95, traffic.and_then(|t| t.p95_ms), Some(Own::P95)),
        quantile("p99", Part::Second, Measure::P99, traffic.and_then(|t| t.p99_ms), None),
    ];
    if times.iter().all(|line| line.promql.is_empty())
        && let Some(mean) = query(Measure::BackendMean)
    {
        let promql = format!("avg({mean})");
        times = vec![Line { name: "mean of the backends".into(), promql, scale: in_ms, ..Line::default() }];
    }
    let one = |title: &str, unit, lines: Vec<Line>| Panel {
        title: title.to_owned(),
        unit,
        lines,
        source: source.clone(),
    };
    let line = |name: &str, part, promql: Option<String>, own| Line {
        name: name.to_owned(),
        part,
        promql: promql.unwrap_or_default(),
        own: Some(own),
        ..Line::default()
    };
    let rate = rate.map(|rate| format!("sum({rate})"));
    vec![
        one("Requests", Unit::PerSecond, vec![line("requests", Part::First, rate, Own::Rps)]),
        one("Errors", Unit::Percent, vec![line("failed", Part::Bad, errors, Own::ErrorsPercent)]),
        one("Response time", Unit::Millis, times),
    ]
}

/// Returns the panels of an autoscaler: its replicas, its metrics against their targets, and the usage of its pods.
fn of_autoscaler(of: &Of<'_>) -> Vec<Panel> {
    use crate::domain::autoscaler::Target;
    let mut panels = vec![of.panel(&table::AUTOSCALER)];
    let metrics = of.autoscaler().map(|row| row.hpa.metrics.clone()).unwrap_or_default();
    for metric in metrics.iter() {
        let (form, unit, target, scale) = match metric.target {
            Target::Utilization(percent) => ("utilization", Unit::Percent, f64::from(percent), 1.0),
            Target::AverageValue(milli) => ("average", Unit::Number, milli as f64 / 1_000.0, 0.001),
            Target::Value(milli) => ("value", Unit::Number, milli as f64 / 1_000.0, 0.001),
            Target::None => continue,
        };
        let name = quoted(metric.name.rsplit('/').next().unwrap_or_default());
        let query = |which: &str| {
            let template = format!("max(kube_horizontalpodautoscaler_{which}_target_metric{{$A,");
            format!("{}metric_name=\"{name}\",metric_target_type=\"{form}\"}})", of.fill(&template))
        };
        let mut now = query("status");
        if form == "utilization" && name == "cpu" {
            now.push_str(&of.fill(table::UTILIZATION));
        }
        let current = metric.current.map(|current| current as f64 * scale);
        let lines = vec![
            Line { name: "current".into(), promql: now, now: current, ..Line::default() },
            Line {
                name: "target".into(),
                part: Part::Limit,
                promql: query("spec"),
                now: Some(target),
                ..Line::default()
            },
        ];
        let source = "kube_horizontalpodautoscaler_status_target_metric (kube-state-metrics)".to_owned();
        panels.push(Panel { title: format!("Metric {}", metric.name), unit, lines, source });
    }
    panels.extend(table::PODS.iter().take(2).map(|entry| of.panel(entry)));
    panels
}

#[cfg(test)]
mod tests;
