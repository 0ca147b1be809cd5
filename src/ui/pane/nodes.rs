//! The Nodes pane.

use std::cmp::Ordering;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::node::{Condition, Node, Status, Taint};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::past::GIB;
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{Cluster, NodeRow, NodeState, World};
use pilothouse_core::policy::health::short_problem;

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, address, ago, bytes, cell, cores, percent, plain};
use super::super::list::{List, Spec};
use super::super::theme::Role;
use super::super::widget::columns::{Column, METER};
use super::super::widget::{bar, text};
use super::Shown;
use super::orders::{Order, texts, turned};

/// The orders that `o` cycles through.
pub const ORDERS: [Order; 15] = [
    Order::worst("worst first"),
    Order::rises("by name", "NODE"),
    Order::falls("by CPU use", "CPU use/req"),
    Order::falls("by memory use", "MEM use/req"),
    Order::falls("by pods", "PODS bad"),
    Order::rises("youngest first", "AGE"),
    Order::rises("by zone", "ZONE"),
    Order::rises("by version", "VERSION"),
    Order::rises("by pool", "POOL").wide(),
    Order::falls("by number of CPUs", "CPU").wide(),
    Order::falls("by size of memory", "MEMORY").wide(),
    Order::falls("by most pods", "MAX PODS").wide(),
    Order::rises("by address", "INTERNAL-IP").wide(),
    Order::falls("by conditions", "CONDITIONS").wide(),
    Order::falls("by taints", "TAINTS").wide(),
];

/// The columns.
pub const COLUMNS: [Column; 19] = [
    Column::name("NODE", 8, 44),
    Column::left("STATE", 12, 24, 0),
    Column::name("ZONE", 6, 16).leaving(8),
    Column::right("CPU use/req", 7, 11, 4).short("CPU u/r").named("cpu"),
    Column::meter("CPU ■use □req", "■use □req", 10, 11).named("cpu-meter"),
    Column::trend("TREND", 8, 30, 20).named("cpu-trend"),
    Column::right("MEM use/req", 7, 11, 6).short("MEM u/r").named("memory"),
    Column::meter("MEM ■use □req", "■use □req", 10, 12).named("memory-meter"),
    Column::trend("TREND", 8, 30, 21).named("memory-trend"),
    Column::right("PODS bad", 6, 10, 2).short("PODS").named("pods"),
    Column::right("AGE", 4, 5, 9),
    Column::left("VERSION", 8, 14, 10),
    Column::left("POOL", 4, 16, 13),
    Column::right("CPU", 3, 5, 14).named("cpu-size"),
    Column::right("MEMORY", 6, 7, 15).named("memory-size"),
    Column::right("MAX PODS", 8, 8, 17),
    Column::left("INTERNAL-IP", 11, 15, 16),
    Column::left("CONDITIONS", 10, 30, 18),
    Column::left("TAINTS", 6, 40, 19),
];

/// Returns the severity of a node.
pub fn grade(row: &NodeRow) -> Grade {
    match row.state {
        // an administrator has already marked the node as out of service
        _ if row.is_out_of_service() => Grade::Info,
        NodeState::NotReady | NodeState::Unknown => Grade::Critical,
        NodeState::Suspect => Grade::Warning,
        NodeState::Ready if !row.problems.is_empty() => Grade::Warning,
        NodeState::Ready if row.node.cordoned => Grade::Info,
        NodeState::Ready => Grade::Fine,
    }
}

/// Whether the node matches the filter. `more` returns the texts of the row's columns.
pub fn passes(row: &NodeRow, spec: &Spec, more: impl Fn() -> Vec<String>) -> bool {
    if spec.filter.is_empty() {
        return true;
    }
    let mut texts = vec![row.node.name.as_str(), row.state.as_str(), row.node.kubelet.as_str()];
    texts.extend(row.node.zone.as_ref().map(Name::as_str));
    texts.extend(row.node.pool.as_ref().map(Name::as_str));
    texts.extend(row.problems.iter().map(Name::as_str));
    if row.node.cordoned {
        texts.push("cordoned");
    }
    spec.filter.passes_or(&texts, more)
}

/// Compares two rows.
pub fn order(a: &NodeRow, b: &NodeRow, order: usize) -> Ordering {
    let share =
        |part: Option<i64>, whole: i64| part.filter(|_| whole > 0).map(|p| p.saturating_mul(1000) / whole);
    let cpu = |r: &NodeRow| share(r.usage.as_ref().map(|u| u.cpu_milli), r.node.allocatable.cpu_milli);
    let memory =
        |r: &NodeRow| share(r.usage.as_ref().map(|u| u.memory_bytes), r.node.allocatable.memory_bytes);
    let by = match order {
        1 => Ordering::Equal,
        2 => cpu(b).cmp(&cpu(a)),
        3 => memory(b).cmp(&memory(a)),
        4 => b.totals.pods.cmp(&a.totals.pods),
        5 => b.node.created.cmp(&a.node.created),
        6 => a.node.zone.cmp(&b.node.zone),
        7 => a.node.kubelet.cmp(&b.node.kubelet),
        8 => a.node.pool.cmp(&b.node.pool),
        9 => b.node.allocatable.cpu_milli.cmp(&a.node.allocatable.cpu_milli),
        10 => b.node.allocatable.memory_bytes.cmp(&a.node.allocatable.memory_bytes),
        11 => b.node.allocatable_pods.cmp(&a.node.allocatable_pods),
        12 => address(a.node.internal_ip.as_ref()).cmp(&address(b.node.internal_ip.as_ref())),
        13 => odd(&b.node).count().cmp(&odd(&a.node).count()),
        14 => b.node.taints.len().cmp(&a.node.taints.len()),
        _ => grade(b)
            .cmp(&grade(a))
            .then_with(|| b.state.cmp(&a.state))
            .then_with(|| b.totals.bad.cmp(&a.totals.bad))
            .then_with(|| cpu(b).map(|c| c / 100).cmp(&cpu(a).map(|c| c / 100))),
    };
    by.then_with(|| a.node.name.cmp(&b.node.name))
}

/// Formats the state with its duration.
pub fn state(row: &NodeRow, now: Stamp) -> String {
    let mut words = match (row.state, row.problems.first()) {
        (NodeState::Ready, Some(problem)) => {
            let since = row.node.condition(problem).and_then(|c| c.since);
            let more =
                if row.problems.len() > 1 { format!(" +{}", row.problems.len() - 1) } else { String::new() };
            format!("{}{more} {}", short_problem(problem), ago(now, since))
        }
        (NodeState::Ready, None) => "Ready".into(),
        (state, _) => match row.since {
            Some(since) => format!("{} {}", state.as_str(), age(now.since(since))),
            None => state.as_str().to_owned(),
        },
    };
    if row.is_out_of_service() {
        words.push_str(", out of service");
        return words;
    }
    if row.node.cordoned {
        if words == "Ready" {
            // a node with only this state is Ready
            return "cordoned".into();
        }
        words.push_str(" cord.");
    }
    words
}

/// Returns the conditions with an unusual status, including Ready.
fn odd(node: &Node) -> impl Iterator<Item = &Condition> {
    node.conditions.iter().filter(|c| (c.kind == "Ready") != (c.status == Status::True))
}

/// Formats these conditions. Returns `–` if there are none.
fn conditions(node: &Node) -> String {
    let words = |c: &Condition| format!("{}={}", c.kind, c.status.as_str());
    let odd: Vec<String> = odd(node).map(words).collect();
    if odd.is_empty() { "–".into() } else { odd.join(" ") }
}

/// Formats the taints as kubectl does.
fn taints(node: &Node) -> String {
    let words = |t: &Taint| {
        let value = if t.value.is_empty() { String::new() } else { format!("={}", t.value) };
        format!("{}{value}:{}", t.key, t.effect)
    };
    if node.taints.is_empty() {
        "–".into()
    } else {
        node.taints.iter().map(words).collect::<Vec<_>>().join(" ")
    }
}

/// Returns the messages of the kubelet and the control plane about a node with unusual conditions.
fn said(row: &NodeRow) -> Vec<Cell> {
    let node = &row.node;
    let bad =
        |c: &&Condition| (c.kind == "Ready" && c.status != Status::True) || row.problems.contains(&c.kind);
    let words = |c: &Condition| {
        cell(Role::Dim, format!("{}={} {}: {}", c.kind, c.status.as_str(), c.reason, c.message))
    };
    let mut said: Vec<Cell> = node.conditions.iter().filter(bad).map(words).collect();
    if !node.taints.is_empty() {
        said.push(cell(Role::Dim, format!("taints: {}", taints(node))));
    }
    said
}

/// Builds one row. `pods_cover` is needed because the sums over the pods of a node are known only if all pods are
/// read.
pub fn row(row: &NodeRow, pods_cover: &Coverage, now: Stamp) -> RowView {
    let grade = grade(row);
    let node = &row.node;
    let used = row.usage.as_ref();
    let all_pods = pods_cover.is_complete();
    let pair = |used: Option<i64>, requested: i64, whole: i64| {
        let requested = Some(requested).filter(|_| all_pods);
        let text = format!("{}/{}%", percent(used, whole), percent(requested, whole));
        let high = |part: i64| whole > 0 && part.saturating_mul(10) >= whole.saturating_mul(9);
        cell(if used.is_some_and(high) { Role::Warning } else { Role::Text }, text)
    };
    let many = match (all_pods, row.totals.pods) {
        (true, pods) => pods.to_string(),
        (false, 0) => "–".to_owned(),
        (false, seen) => format!("{seen}+"),
    };
    let meter = |used: Option<i64>, requested: i64, whole: i64| {
        let known = used.is_some() || all_pods;
        let requested = if all_pods { requested } else { 0 };
        let bar = text::meter(used.unwrap_or(0), requested, whole, METER);
        cell(Role::Trend, if known && whole > 0 { bar } else { String::new() })
    };
    let trend = |which: usize, most: f64| {
        let trend = row.past.as_ref().map(|past| bar::trend(past.numbers(which), most));
        // the column is as wide as the polls that there are
        cell(Role::Trend, trend.as_deref().unwrap_or_default().trim_start())
    };
    let whole = node.allocatable;
    let asked = row.totals.requests;
    let pods = if row.totals.bad > 0 {
        cell(Role::Warning, format!("{many} ({})", row.totals.bad))
    } else {
        plain(many)
    };
    RowView {
        grade,
        cells: vec![
            cell(if grade == Grade::Fine { Role::Text } else { Role::Strong }, node.name.as_str()),
            cell(grade.role(), state(row, now)),
            plain(node.zone.as_ref().map_or("", Name::as_str)),
            pair(used.map(|u| u.cpu_milli), asked.cpu_milli, whole.cpu_milli),
            meter(used.map(|u| u.cpu_milli), asked.cpu_milli, whole.cpu_milli),
            trend(0, whole.cpu_milli as f64 / 1_000.0),
            pair(used.map(|u| u.memory_bytes), asked.memory_bytes, whole.memory_bytes),
            meter(used.map(|u| u.memory_bytes), asked.memory_bytes, whole.memory_bytes),
            trend(1, whole.memory_bytes as f64 / GIB),
            pods,
            cell(Role::Dim, age(now.since(node.created))),
            cell(Role::Dim, node.kubelet.as_str()),
            plain(node.pool.as_ref().map_or("", Name::as_str)),
            plain(cores(whole.cpu_milli)),
            plain(bytes(whole.memory_bytes)),
            plain(node.allocatable_pods.to_string()),
            cell(Role::Dim, node.internal_ip.as_ref().map_or("", Name::as_str)),
            cell(Role::Dim, conditions(node)),
            cell(Role::Dim, taints(node)),
        ],
        below: said(row),
        ..RowView::default()
    }
}

/// Returns the counts that follow the title.
pub fn counts(s: &Shown<'_>) -> Vec<Cell> {
    let rows = &s.cluster.derived.nodes;
    let bad = rows.iter().filter(|r| grade(r) >= Grade::Warning).count();
    let off = rows.iter().filter(|r| r.is_out_of_service()).count();
    let grouped = |n: usize| text::grouped(n as u64);
    let mut counts = Vec::new();
    if bad > 0 {
        counts.push(cell(Role::Critical, format!("{} bad", grouped(bad))));
        counts.push(plain(format!("of {}", grouped(rows.len()))));
    } else if !rows.is_empty() {
        counts.push(cell(Role::Ok, format!("{} ok", grouped(rows.len() - off))));
    }
    if off > 0 {
        counts.push(cell(Role::Info, format!("{} out of service", grouped(off))));
    }
    if s.ui.namespace.is_some() {
        // nodes are not filtered by the namespace that the other panes use
        counts.push(cell(Role::Dim, "all namespaces"));
    }
    counts
}

/// Builds the footer.
pub fn footer(cluster: &Cluster) -> Vec<Cell> {
    if matches!(cluster.nodes.cover, Coverage::Never | Coverage::Denied(_)) {
        return Vec::new();
    }
    let counts = cluster.derived.counts;
    let mut line = vec![plain(format!("{} Ready", counts.nodes_ready))];
    if counts.nodes_cordoned > 0 {
        line.push(cell(Role::Info, format!("{} cordoned", counts.nodes_cordoned)));
    }
    let why = cluster.source("metrics.k8s.io").and_then(|s| s.error.as_ref());
    line.push(match (&cluster.node_usage_source, why) {
        (Some(source), _) => cell(Role::Dim, format!("use: {source}")),
        (None, Some(why)) => cell(Role::Denied, format!("use: {why}")),
        (None, None) => cell(Role::Dim, "use: not measured"),
    });
    line
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    let (spec, now) = (&*spec, ui.now);
    ui.rows.nodes.refresh(
        &mut list.sorted,
        &cluster.derived.nodes,
        spec,
        |r| passes(r, spec, || texts(row(r, &cluster.pods.cover, now))),
        |a, b| turned(order(a, b, spec.order), spec.reverse),
    );
}
