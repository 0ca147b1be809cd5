//! The Autoscalers pane.

use std::cmp::Ordering;

use pilothouse_core::domain::autoscaler::{Hpa, HpaState, HpaVerdict, Metric, Target};
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::node::Status;
use pilothouse_core::domain::quantity::{Counts, show_milli};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{Cluster, HpaRow, World};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, cell, past, plain};
use super::super::list::{List, NO_MORE, Spec};
use super::super::theme::Role;
use super::super::widget::columns::{Column, METER};
use super::super::widget::{bar, text};
use super::orders::{Order, texts, turned};

/// The orders that `o` cycles through.
pub const ORDERS: [Order; 7] = [
    Order::worst("at limit first"),
    Order::rises("by name", "TARGET"),
    Order::falls("by replicas", "NOW→WANT"),
    Order::falls("by maximum", "MIN-MAX"),
    Order::falls("last scaled first", "LAST SCALED"),
    Order::falls("by what the metric asks for", "THE METRIC ASKS FOR").wide(),
    Order::rises("youngest first", "AGE").wide(),
];

/// The columns.
pub const COLUMNS: [Column; 11] = [
    Column::name("TARGET", 10, 40),
    Column::left("NOW→WANT", 8, 13, 0).whole().named("replicas"),
    Column::left("MIN-MAX", 6, 13, 4).whole(),
    Column::meter("■now □want of max", "of max", 10, 10).named("replicas-meter"),
    Column::trend("TREND", 8, 30, 14).named("replicas-trend"),
    // a METRIC that is too long keeps its end, because the number is there
    Column::name("METRIC", 10, 28).leaving(6).whole(),
    Column::text("VERDICT", 12, 0),
    Column::left("THE METRIC ASKS FOR", 12, 44, 11).short("ASKS FOR").named("asks-for"),
    Column::right("LAST SCALED", 6, 11, 9).short("SCALED"),
    Column::left("ALL METRICS", 11, 50, 12),
    Column::right("AGE", 4, 5, 13),
];

/// Returns the severity of a state.
pub fn grade_of(state: HpaState) -> Grade {
    match state {
        HpaState::Failing => Grade::Critical,
        HpaState::AtMax => Grade::Warning,
        HpaState::Scaling | HpaState::Disabled | HpaState::Paused | HpaState::New => Grade::Info,
        HpaState::Steady | HpaState::AtMin => Grade::Fine,
    }
}

/// Whether the row matches the filter and the namespace. `more` returns the texts of the row's columns.
pub fn passes(row: &HpaRow, spec: &Spec, more: impl Fn() -> Vec<String>) -> bool {
    let hpa = &row.hpa;
    spec.namespace.as_ref().is_none_or(|ns| hpa.namespace == *ns)
        && (spec.filter.is_empty()
            || spec.filter.passes_or(&[&hpa.namespace, &hpa.name, &hpa.target_name], more))
}

/// Compares two rows.
pub fn order(a: &HpaRow, b: &HpaRow, order: usize) -> Ordering {
    let (of_a, of_b) = (&a.verdict, &b.verdict);
    let (a, b) = (&a.hpa, &b.hpa);
    let by = match order {
        1 => Ordering::Equal,
        2 => b.current.cmp(&a.current),
        3 => b.max.cmp(&a.max),
        4 => b.last_scale.cmp(&a.last_scale),
        5 => of_b.wants.cmp(&of_a.wants),
        6 => b.created.cmp(&a.created),
        _ => of_b.state.cmp(&of_a.state).then_with(|| b.current.cmp(&a.current)),
    };
    by.then_with(|| a.namespace.cmp(&b.namespace)).then_with(|| a.name.cmp(&b.name))
}

/// Formats a metric, such as `cpu 92/60%` or `memory 25Mi/1Gi`.
pub fn metric(metric: &Metric) -> String {
    match metric.target {
        Target::Utilization(target) => {
            let current = metric.current.map_or_else(|| "–".into(), |c| c.to_string());
            format!("{} {current}/{target}%", metric.name)
        }
        Target::AverageValue(target) | Target::Value(target) => {
            let counts = Counts::of(&metric.name, target);
            let current = metric.current.map_or_else(|| "–".into(), |value| show_milli(value, counts));
            format!("{} {current}/{}", metric.name, show_milli(target, counts))
        }
        Target::None => metric.name.to_string(),
    }
}

/// Builds one row.
pub fn row(row: &HpaRow, now: Stamp, several_namespaces: bool) -> RowView {
    let (hpa, verdict) = (&row.hpa, &row.verdict);
    let grade = grade_of(verdict.state);
    let current = hpa.current.map_or_else(|| "–".into(), |n| n.to_string());
    // the number of replicas that the metrics ask for says more than the number that the limits allow
    let wants = match (verdict.state, verdict.wants) {
        (HpaState::AtMax, Some(wants)) => wants.to_string(),
        _ => hpa.desired.filter(|d| *d > 0).map_or_else(|| "–".into(), |d| d.to_string()),
    };
    let target = if several_namespaces {
        format!("{}/{}", hpa.namespace, hpa.target_name)
    } else {
        hpa.target_name.to_string()
    };
    let worst = hpa.metrics.iter().max_by_key(|m| match (m.target, m.current) {
        (Target::Utilization(t), Some(c)) if t > 0 => c.saturating_mul(1000) / i64::from(t),
        (Target::AverageValue(t) | Target::Value(t), Some(c)) if t > 0 => c.saturating_mul(1000) / t,
        _ => i64::MIN,
    });
    let more = if hpa.metrics.len() > 1 { format!(" +{}", hpa.metrics.len() - 1) } else { String::new() };
    let since = match verdict.state {
        HpaState::Steady | HpaState::AtMin => String::new(),
        // `up now` already says this
        _ => verdict
            .since
            .map(|s| age(now.since(s)))
            .filter(|age| age != "now")
            .map_or_else(String::new, |age| format!(" {age}")),
    };
    let counted = |n: Option<i32>| i64::from(n.unwrap_or(0));
    let bar = match hpa.current {
        Some(_) => {
            let wants = counted(hpa.desired).max(counted(verdict.wants));
            text::meter(counted(hpa.current), wants, i64::from(hpa.max), METER)
        }
        None => String::new(),
    };
    let all: Vec<String> = hpa.metrics.iter().map(metric).collect();
    RowView {
        grade,
        cells: vec![
            cell(if grade >= Grade::Warning { Role::Strong } else { Role::Text }, target),
            plain(format!("{current}→{wants}")),
            plain(format!("{}-{}", hpa.min, hpa.max)),
            cell(Role::Trend, bar),
            // the column is as wide as the minutes that are known
            cell(Role::Trend, trend(row, now).trim_start()),
            plain(worst.map_or_else(String::new, |m| format!("{}{more}", metric(m)))),
            cell(grade.role(), format!("{}{since}", verdict.why)),
            cell(Role::Dim, verdict.computed.clone().unwrap_or_default()),
            cell(Role::Dim, hpa.last_scale.map_or_else(String::new, |at| age(now.since(at)))),
            cell(Role::Dim, if all.len() > 1 { all.join(", ") } else { String::new() }),
            cell(Role::Dim, age(now.since(hpa.created))),
        ],
        below: said(hpa, verdict, now),
        ..RowView::default()
    }
}

/// Draws the replicas of each of the last 30 minutes.
fn trend(row: &HpaRow, now: Stamp) -> String {
    const MINUTES: i64 = 30;
    // whole minutes, so that a quiet screen changes at most once a minute
    let last = Stamp(now.0.div_euclid(60_000) * 60_000);
    let replicas = |minutes: i64| row.past.at(last.plus_secs(-60 * minutes)).and_then(|(now, _)| now);
    bar::trend((0..MINUTES).rev().map(|minutes| replicas(minutes).map(f64::from)), f64::from(row.hpa.max))
}

/// Returns further details: how the autoscaler computes its number, the metrics, and the messages of its conditions.
fn said(hpa: &Hpa, verdict: &HpaVerdict, now: Stamp) -> Vec<Cell> {
    let mut said = Vec::new();
    if let Some(computed) = &verdict.computed {
        let scaled = hpa.last_scale.map_or_else(String::new, |at| format!("; last scaled {}", past(now, at)));
        said.push(cell(Role::Dim, format!("the metric asks for {computed}{scaled}")));
    }
    if hpa.metrics.len() > 1 {
        let all: Vec<String> = hpa.metrics.iter().map(metric).collect();
        said.push(cell(Role::Dim, format!("metrics: {}", all.join(", "))));
    }
    // conditions with their usual status are omitted
    let usual =
        [("ScalingLimited", Status::False), ("AbleToScale", Status::True), ("ScalingActive", Status::True)];
    let told = |(kind, usual): (&str, Status)| {
        hpa.condition(kind)
            .filter(|c| !c.message.is_empty() && (c.status != usual || c.reason.contains("Stabilized")))
    };
    for condition in usual.into_iter().filter_map(told) {
        said.push(cell(Role::Dim, format!("{}: {}", condition.reason, condition.message)));
    }
    said
}

/// Returns the counts that follow the title, for the selected namespace.
pub fn counts(cluster: &Cluster, spec: &Spec) -> Vec<Cell> {
    let here = || cluster.derived.hpas.iter().filter(|row| passes(row, spec, NO_MORE));
    let bad = here().filter(|row| grade_of(row.verdict.state) >= Grade::Warning).count();
    match (bad, here().count()) {
        (_, 0) => Vec::new(),
        (0, all) => vec![cell(Role::Ok, format!("{all} ok"))],
        (bad, all) => {
            vec![cell(Role::Warning, format!("{bad} at limit or failing")), plain(format!("of {all}"))]
        }
    }
}

/// Builds the footer. It counts the pods of the whole cluster, because autoscalers compete for its nodes.
pub fn footer(cluster: &Cluster, in_one_namespace: bool) -> Vec<Cell> {
    if matches!(cluster.pods.cover, Coverage::Never | Coverage::Denied(_)) {
        return Vec::new();
    }
    let pods = cluster.derived.counts.pods_unschedulable;
    let place = if in_one_namespace { " in all namespaces" } else { "" };
    vec![cell(if pods > 0 { Role::Warning } else { Role::Dim }, format!("unschedulable pods {pods}{place}"))]
}

/// Returns the namespace and name, for titles.
pub fn name(hpa: &Hpa) -> (&Name, &Name) {
    (&hpa.namespace, &hpa.name)
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    let now = ui.now;
    let spec = &*spec;
    ui.rows.hpas.refresh(
        &mut list.sorted,
        &cluster.derived.hpas,
        spec,
        |h| passes(h, spec, || texts(row(h, now, true))),
        |a, b| turned(order(a, b, spec.order), spec.reverse),
    );
}

/// Returns the severity of a row.
pub fn grade(row: &HpaRow) -> Grade {
    grade_of(row.verdict.state)
}
