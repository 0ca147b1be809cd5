//! The Nodes pane.

use std::cmp::Ordering;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::model::table::Coverage;
use pilothouse_core::model::world::{Cluster, NodeRow, NodeState};
use pilothouse_core::policy::health::short_problem;

use super::super::list::Spec;
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text;
use super::orders::Order;
use super::{Cell, Grade, RowView, ago, cell, percent, plain};

/// The orders that `o` goes through.
pub const ORDERS: [Order; 8] = [
    Order::worst("worst first"),
    Order::rises("by name", "NODE"),
    Order::falls("by CPU use", "CPU use/req"),
    Order::falls("by memory use", "MEM use/req"),
    Order::falls("by pods", "PODS bad"),
    Order::rises("youngest first", "AGE"),
    Order::rises("by zone", "ZONE"),
    Order::rises("by version", "VERSION"),
];

/// The columns.
pub const COLUMNS: [Column; 8] = [
    Column::name("NODE", 8, 44),
    Column::left("STATE", 12, 24, 0),
    Column::name("ZONE", 6, 16).leaving(8),
    Column::right("CPU use/req", 7, 11, 4).short("CPU u/r"),
    Column::right("MEM use/req", 7, 11, 6).short("MEM u/r"),
    Column::right("PODS bad", 6, 10, 2).short("PODS"),
    Column::right("AGE", 4, 5, 9),
    Column::left("VERSION", 8, 14, 10),
];

/// How bad a node is.
pub fn grade(row: &NodeRow) -> Grade {
    match row.state {
        NodeState::NotReady | NodeState::Unknown => Grade::Critical,
        NodeState::Suspect => Grade::Warning,
        NodeState::Ready if !row.problems.is_empty() => Grade::Warning,
        NodeState::Ready if row.node.cordoned => Grade::Info,
        NodeState::Ready => Grade::Fine,
    }
}

/// Whether the filter wants it; `more`: the texts of its row.
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

/// The order of two rows.
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
        _ => grade(b)
            .cmp(&grade(a))
            .then_with(|| b.state.cmp(&a.state))
            .then_with(|| b.totals.bad.cmp(&a.totals.bad))
            .then_with(|| cpu(b).map(|c| c / 100).cmp(&cpu(a).map(|c| c / 100))),
    };
    by.then_with(|| a.node.name.cmp(&b.node.name))
}

/// The state in words, with how long.
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
    if row.node.cordoned {
        if words == "Ready" {
            // that it is Ready shows in that it is only this
            return "cordoned".into();
        }
        words.push_str(" cord.");
    }
    words
}

/// One row. `pods_cover`: what pods add up to on a node is known only when all of them are read.
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
            pair(used.map(|u| u.cpu_milli), row.totals.requests.cpu_milli, node.allocatable.cpu_milli),
            pair(
                used.map(|u| u.memory_bytes),
                row.totals.requests.memory_bytes,
                node.allocatable.memory_bytes,
            ),
            pods,
            cell(Role::Dim, age(now.since(node.created))),
            cell(Role::Dim, node.kubelet.as_str()),
        ],
        marked: false,
    }
}

/// The counts after the title.
pub fn counts(cluster: &Cluster) -> Vec<Cell> {
    let rows = &cluster.derived.nodes;
    let bad = rows.iter().filter(|r| grade(r) >= Grade::Warning).count();
    let all = text::grouped(rows.len() as u64);
    if rows.is_empty() {
        Vec::new()
    } else if bad == 0 {
        vec![cell(Role::Ok, format!("{all} ok"))]
    } else {
        vec![cell(Role::Critical, format!("{bad} bad")), plain(format!("of {all}"))]
    }
}

/// The line below.
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

/// The object of a row.
pub fn object(row: &NodeRow) -> ObjectRef {
    ObjectRef::new(Kind::Node, &Name::default(), &row.node.name, &row.node.uid)
}
