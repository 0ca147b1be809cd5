//! The Timeline pane: everything that happened, by one clock, with the incidents above it.

use std::cmp::Ordering;

use pilothouse_core::domain::id::{Name, ObjectRef, Uid};
use pilothouse_core::domain::incident::{Incident, duration};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::state::timeline::{Line, LineKind, WINDOW_HOURS, What, seen_since};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, cell, plain};
use super::super::command::Cmd;
use super::super::list::{List, ListId, Spec};
use super::super::rows::timeline::{Kinds, grade, passes};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text::count;
use super::Shown;
use super::orders::{Order, indexes, sort};

/// The columns.
pub const COLUMNS: [Column; 6] = [
    Column::left("TIME", 8, 11, 0),
    // the time says the same, so it leaves first; all three leave before a sentence is cut
    Column::right("AGO", 4, 5, 9),
    Column::left("KIND", 8, 8, 7),
    // a longer name gets what the sentences leave
    Column::name("OBJECT", 16, 28),
    Column::text("WHAT", 20, 0),
    Column::left("BY", 8, 28, 8),
];

/// Omits the kind if all lines have the same.
pub fn adjust(ui: &Ui, column: Column) -> Option<Column> {
    let is_one = matches!(ui.kinds_of_lines, Kinds::Only(_));
    (!(is_one && column.head == "KIND")).then_some(column)
}

/// The orders.
pub const ORDERS: [Order; 7] = [
    Order::worst("newest first"),
    Order::rises("oldest first", "TIME"),
    Order::rises("newest first", "AGO"),
    Order::rises("by kind", "KIND"),
    Order::rises("by object", "OBJECT"),
    Order::rises("by what", "WHAT"),
    Order::rises("by whom", "BY"),
];

/// Builds one row.
pub fn row(line: &Line, now: Stamp) -> RowView {
    let grade = grade(line);
    RowView {
        grade,
        cells: vec![
            cell(Role::Dim, time(line.at, now)),
            cell(Role::Dim, age(now.since(line.at))),
            cell(Role::Dim, line.kind.as_str()),
            cell(if grade > Grade::Fine { Role::Strong } else { Role::Text }, line.place()),
            cell(kind_role(line), line.what.to_string()),
            cell(Role::Dim, line.by.as_deref().unwrap_or_default()),
        ],
        ..RowView::default()
    }
}

fn kind_role(line: &Line) -> Role {
    match line.kind {
        LineKind::Incident | LineKind::Note => Role::Info,
        _ => Role::Text,
    }
}

/// `03:09:31`, or `12-31 23:59` on another day.
fn time(at: Stamp, now: Stamp) -> String {
    if at.shown(now).other_day {
        at.to_chrono().map_or_else(|| "--:--".into(), |t| t.format("%m-%d %H:%M").to_string())
    } else {
        at.clock_secs()
    }
}

/// Returns a row by its index.
pub fn at<'a>(s: &Shown<'a>, row: u32) -> Option<&'a Line> {
    s.ui.rows.timeline.list.get(row as usize)
}

/// Returns the object that a line is about.
pub fn object_of(s: &Shown<'_>, uid: &Uid) -> Option<ObjectRef> {
    s.ui.rows.timeline.list.iter().find(|line| line.key() == *uid)?.object.clone()
}

/// Returns the fingerprint of the error group whose beginning a line tells.
pub fn error_group(ui: &Ui, key: &Uid) -> Option<Name> {
    match &ui.rows.timeline.list.iter().find(|line| line.key() == *key)?.what {
        What::Error { fingerprint, .. } => Some(fingerprint.clone()),
        _ => None,
    }
}

fn order(a: &Line, b: &Line, order: usize) -> Ordering {
    let by = match order {
        1 => a.at.cmp(&b.at),
        3 => a.kind.cmp(&b.kind),
        4 => a.place().cmp(&b.place()),
        5 => a.what.to_string().cmp(&b.what.to_string()),
        6 => a.by.cmp(&b.by),
        _ => Ordering::Equal,
    };
    by.then_with(|| b.at.cmp(&a.at))
}

/// Updates the rows. While the clock is moved, the lines are still those of the present, so that it can be moved on.
pub fn refresh(ui: &mut Ui, world: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    let present = ui.present(cluster.id());
    match &present {
        Some((world, cluster)) => ui.rows.timeline.refresh(world, cluster),
        None => ui.rows.timeline.refresh(world, cluster),
    }
    let (lines, kinds) = (&ui.rows.timeline.list, ui.kinds_of_lines);
    list.sorted = indexes(lines, |line| passes(line, spec, kinds));
    if spec.order > 0 || spec.reverse {
        sort(&mut list.sorted, lines, spec.reverse, |a, b| order(a, b, spec.order));
    }
}

/// Says which kinds are shown.
pub fn counts(s: &Shown<'_>) -> Vec<Cell> {
    let lines = &s.ui.rows.timeline.list;
    let shown = lines.iter().filter(|line| s.ui.kinds_of_lines.shows(line)).count();
    let key =
        s.ui.key_of(ListId::Timeline, Cmd::LineKinds).map_or_else(String::new, |key| format!("{key}: "));
    vec![
        plain(format!("{shown} of {}", count(lines.len(), "line"))),
        cell(Role::Info, format!("{key}{}", s.ui.kinds_of_lines.words())),
    ]
}

/// Describes the newest incident, above the lines.
pub fn preface(s: &Shown<'_>) -> Vec<Cell> {
    s.cluster.derived.incidents.first().map_or_else(Vec::new, |incident| of_incident(incident, s.ui.now))
}

/// Returns the lines about an incident: what it is, its times, and what it affects.
pub fn of_incident(incident: &Incident, now: Stamp) -> Vec<Cell> {
    let open = incident.is_open();
    let worst = incident.worst().map_or_else(|| "opened by a person".into(), |f| f.line.to_string());
    let state = match (incident.closed, incident.recovered) {
        (None, _) => format!("open {}", age(now.since(incident.detected))),
        (Some(at), Some(_)) => format!("recovered, closed {}", at.clock_secs()),
        (Some(at), None) => format!("closed {} by a person", at.clock_secs()),
    };
    let head = format!("INCIDENT {} {state}: {worst}", incident.id);
    let clock = |at: Option<Stamp>| at.map_or_else(|| "–".into(), Stamp::clock_secs);
    let acknowledged = incident.acknowledged.as_ref().map(|(at, _)| *at);
    let diagnosed = incident.diagnosed.as_ref().map(|(at, _)| *at);
    let times = format!(
        "began {} · detected {} · acknowledged {} · diagnosed {} · recovered {}",
        clock(Some(incident.began)),
        clock(Some(incident.detected)),
        clock(acknowledged),
        clock(diagnosed),
        clock(incident.recovered),
    );
    let figures = format!(
        "MTTD {} · MTTA {} · MTTR {} · {}{}{}",
        duration(Some(incident.to_detect())),
        duration(incident.to_acknowledge()),
        duration(incident.to_recover()),
        findings(incident),
        services(&incident.services),
        budgets(incident),
    );
    let role = if open { Role::Critical } else { Role::Ok };
    vec![cell(role, head), plain(times), plain(figures)]
}

fn findings(incident: &Incident) -> String {
    let all = count(incident.findings.len(), "finding");
    match incident.left_out {
        0 => all,
        more => format!("{all}, {more} more not kept"),
    }
}

fn services(services: &[ObjectRef]) -> String {
    let names: Vec<&Name> = services.iter().map(|service| &service.name).take(3).collect();
    let names = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    match services.len() {
        0 => String::new(),
        few @ 1..=3 => format!(" · {} {names}", if few == 1 { "service" } else { "services" }),
        many => format!(" · {many} services: {names} and more"),
    }
}

fn budgets(incident: &Incident) -> String {
    let used = incident
        .budgets
        .iter()
        .map(|b| b.before - b.after)
        .fold(None, |most: Option<f64>, used| Some(most.map_or(used, |most| most.max(used))));
    used.map_or_else(String::new, |used| format!(" · {:.1} % of an error budget used", used.max(0.0) * 100.0))
}

/// Says since when the timeline knows everything.
pub fn footer(s: &Shown<'_>) -> Vec<Cell> {
    if s.cluster.info.history.is_off() {
        return vec![cell(
            Role::Dim,
            "no history is kept (history.memory_mib = 0): the lines come only from events and objects that still exist",
        )];
    }
    let Some(since) = seen_since(s.cluster) else {
        return vec![cell(Role::Dim, "nothing is recorded yet: the cluster is still being read")];
    };
    vec![
        cell(Role::Dim, format!("recorded since {} UTC;", time(since, s.ui.now))),
        cell(Role::Dim, format!("before, up to {WINDOW_HOURS}h back: what events and objects still say")),
    ]
}
