//! The backends of one Service: actual and expected share, errors, readiness, node and version.

use pilothouse_core::domain::id::Name;
use pilothouse_core::facts::world::{Cluster, World};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, cell, millis, plain, rate, ratio};
use super::super::list::{List, Spec};
use super::super::rows::backends::{self as collected, Backend, note};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::Shown;
use super::orders::{Order, indexes, sort, texts};
use super::traffic::errors_role;

/// The orders that `o` cycles through.
pub const ORDERS: [Order; 9] = [
    Order::worst("worst first"),
    Order::rises("by name", "BACKEND"),
    Order::falls("by requests", "RPS"),
    Order::falls("by errors", "ERR%"),
    Order::falls("by p95", "P95"),
    Order::rises("not ready first", "READY"),
    Order::rises("by zone", "ZONE"),
    Order::rises("by node", "NODE"),
    Order::rises("by version", "VERSION"),
];

/// The columns.
pub const COLUMNS: [Column; 11] = [
    Column::name("BACKEND", 10, 48),
    Column::left("READY", 5, 5, 0),
    Column::right("RPS", 4, 6, 0),
    Column::right("ERR%", 4, 5, 0).named("errors"),
    Column::right("P95", 5, 6, 3),
    Column::right("SHARE", 5, 5, 0),
    Column::right("EXP", 4, 5, 0).named("expected"),
    Column::left("", 8, 10, 0).named("verdict"),
    Column::left("ZONE", 4, 14, 8),
    Column::name("NODE", 8, 30),
    Column::left("VERSION", 7, 24, 9),
];

/// Whether the row matches the filter. `more` returns the texts of the row's columns.
pub fn passes(backend: &Backend, spec: &Spec, more: impl Fn() -> Vec<String>) -> bool {
    let texts = [
        backend.name.as_str(),
        backend.node.as_ref().map_or("", Name::as_str),
        backend.zone.as_ref().map_or("", Name::as_str),
        &backend.version,
    ];
    spec.filter.passes_or(&texts, more)
}

/// Compares two rows.
pub fn order(a: &Backend, b: &Backend, order: usize) -> std::cmp::Ordering {
    let rps = |x: &Backend| x.traffic.as_ref().and_then(|t| t.rps).unwrap_or(-1.0);
    let errors = |x: &Backend| x.traffic.as_ref().and_then(|t| t.error_ratio).unwrap_or(-1.0);
    let p95 = |x: &Backend| x.traffic.as_ref().and_then(|t| t.p95_ms).unwrap_or(-1.0);
    let by = match order {
        1 => std::cmp::Ordering::Equal,
        2 => rps(b).total_cmp(&rps(a)),
        3 => errors(b).total_cmp(&errors(a)),
        4 => p95(b).total_cmp(&p95(a)),
        5 => a.ready.cmp(&b.ready),
        6 => a.zone.cmp(&b.zone),
        7 => a.node.cmp(&b.node),
        8 => a.version.cmp(&b.version),
        _ => b.grade().cmp(&a.grade()).then_with(|| errors(b).total_cmp(&errors(a))),
    };
    by.then_with(|| a.name.cmp(&b.name))
}

/// Builds one row.
pub fn row(backend: &Backend) -> RowView {
    let grade = backend.grade();
    let traffic = backend.traffic.as_ref();
    let errors = traffic.and_then(|t| t.error_ratio);
    let share = |v: Option<f64>| v.map_or_else(|| "–".into(), |v| format!("{:.1}", v * 100.0));
    let verdict: Cell = match (backend.share.significant, backend.share.observed, backend.share.expected) {
        _ if backend.share.out => cell(Role::Info, "out"),
        _ if backend.silent => cell(Role::Info, "silent"),
        _ if backend.share.new && backend.share.significant.is_none() => cell(Role::Dim, "new"),
        // the share is low because other backends receive more
        (Some(true), ..) if !backend.share.marked => cell(Role::Dim, "▼ less"),
        (Some(true), Some(o), Some(e)) if o < e => cell(Role::Warning, "▼ too few"),
        (Some(true), ..) => cell(Role::Warning, "▲ too many"),
        (Some(false), ..) => cell(Role::Dim, "ok"),
        (None, ..) => cell(Role::Dim, ""),
    };
    let ready = match backend.ready {
        Some(true) => plain("yes"),
        Some(false) => cell(Role::Critical, "NO"),
        None => cell(Role::Dim, "–"),
    };
    RowView {
        grade,
        cells: vec![
            cell(if grade >= Grade::Warning { Role::Strong } else { Role::Text }, backend.name.as_str()),
            ready,
            plain(rate(traffic.and_then(|t| t.rps))),
            cell(errors_role(errors), ratio(errors)),
            plain(millis(traffic.and_then(|t| t.p95_ms.or(t.mean_ms)))),
            plain(share(backend.share.observed)),
            cell(Role::Dim, share(backend.share.expected)),
            verdict,
            plain(backend.zone.as_ref().map_or("", Name::as_str)),
            cell(Role::Dim, backend.node.as_ref().map_or("", Name::as_str)),
            plain(backend.version.as_str()),
        ],
        ..RowView::default()
    }
}

/// Returns a row by its index.
pub fn at<'a>(s: &Shown<'a>, row: u32) -> Option<&'a Backend> {
    s.ui.rows.backends.get(row as usize)
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    collected::refresh(&mut ui.rows, cluster, &ui.service.clone());
    let found = &ui.rows.backends;
    list.sorted = indexes(found, |b| passes(b, spec, || texts(self::row(b))));
    sort(&mut list.sorted, found, spec.reverse, |a, b| order(a, b, spec.order));
}

/// Builds the footer with notes about the shares.
pub fn footer(s: &Shown<'_>) -> Vec<Cell> {
    note(s.cluster, &s.ui.service.0, &s.ui.service.1).map(|note| cell(Role::Dim, note)).into_iter().collect()
}
