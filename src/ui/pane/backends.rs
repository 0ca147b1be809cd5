//! The backends of one Service: actual and expected share, errors, readiness, node and version.

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::traffic::{Imbalance, Standing};
use pilothouse_core::facts::past::Trend;
use pilothouse_core::facts::world::{Cluster, TrafficRow, World};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, cell, millis, plain, rate, ratio};
use super::super::list::{List, Spec};
use super::super::rows::backends::{self as collected, Backend};
use super::super::theme::Role;
use super::super::widget::bar;
use super::super::widget::columns::Column;
use super::Shown;
use super::orders::{Order, indexes, sort, texts};
use super::traffic::{balancing, errors_role, measured};

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
pub const COLUMNS: [Column; 14] = [
    Column::name("BACKEND", 10, 48),
    Column::left("READY", 5, 5, 0),
    Column::right("RPS", 4, 6, 0),
    Column::right("ERR%", 4, 5, 0).named("errors"),
    Column::trend("TREND", 8, 30, 13).named("errors-trend"),
    Column::right("P95", 5, 6, 3),
    Column::trend("TREND", 8, 30, 12).named("p95-trend"),
    Column::bar("share│exp", 9, 2).named("share-bar"),
    Column::right("SHARE", 5, 5, 0),
    Column::right("EXP", 4, 5, 0).named("expected"),
    Column::left("", 8, 12, 0).named("verdict").whole(),
    Column::left("ZONE", 4, 14, 8).whole(),
    Column::name("NODE", 12, 30).leaving(10),
    Column::left("VERSION", 7, 24, 9).whole(),
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
        _ => (b.grade().cmp(&a.grade()))
            .then_with(|| errors(b).total_cmp(&errors(a)))
            .then_with(|| b.has_surplus().cmp(&a.has_surplus())),
    };
    by.then_with(|| a.name.cmp(&b.name))
}

/// Formats a share in percent.
pub fn percent(share: Option<f64>) -> String {
    share
        .filter(|share| share.is_finite())
        .map_or_else(|| "–".into(), |share| format!("{:.1}", share * 100.0))
}

/// Describes the share of a backend in one or two words.
fn verdict(backend: &Backend) -> Cell {
    let share = &backend.share;
    match share.standing {
        _ if backend.stray.is_some() => cell(Role::Critical, "has requests"),
        _ if share.out => cell(Role::Info, "out"),
        _ if backend.silent => cell(Role::Warning, "no requests"),
        Standing::NotJudged if share.new => cell(Role::Dim, "new"),
        Standing::NotJudged => cell(Role::Dim, ""),
        Standing::Even => cell(Role::Dim, "ok"),
        Standing::Suspect => cell(Role::Dim, "watched"),
        Standing::Over => cell(Role::Warning, "▲ too many"),
        Standing::Under if share.marked => cell(backend.grade_of_share().role(), "▼ too few"),
        // the share is low because other backends receive more
        Standing::Under => cell(Role::Dim, "▼ less"),
    }
}

/// A share that differs by less than this part of the expected one is drawn as the expected one, if it is not uneven.
const CLOSE: f64 = 0.12;

/// Draws the share. A share that is as expected ends at the mark, so that it does not move with the noise.
fn bar(backend: &Backend) -> String {
    let share = &backend.share;
    let judged_even = share.standing == Standing::Even;
    drawn(share.observed, share.expected, backend.scale.share, judged_even)
}

/// Draws a share. If it is even and close to the expected one, it is drawn as the expected one.
pub fn drawn(observed: Option<f64>, expected: Option<f64>, full: f64, even: bool) -> String {
    let times = observed.zip(expected).map(|(observed, expected)| observed / expected);
    let close = times.is_some_and(|times| (times - 1.0).abs() < CLOSE);
    bar::share(if even && close { expected } else { observed }, expected, full)
}

/// Explains what the words about a backend leave out.
fn said(backend: &Backend) -> Vec<Cell> {
    let stray = backend.stray.map(|rps| {
        let words = format!("not ready, and gets {} requests per second all the same", rate(Some(rps)));
        cell(Role::Critical, words)
    });
    let silent = (backend.silent && stray.is_none()).then(|| {
        cell(Role::Dim, "ready, but there are no metrics of it: it gets no requests, or nobody scrapes it")
    });
    stray.into_iter().chain(silent).collect()
}

/// Builds one row.
pub fn row(backend: &Backend) -> RowView {
    let grade = backend.grade();
    let traffic = backend.traffic.as_ref();
    let errors = traffic.and_then(|t| t.error_ratio);
    let trend = |of: &dyn Fn(&Trend) -> String| backend.trend.as_ref().map_or_else(String::new, of);
    let (most_errors, most_p95) = (backend.scale.errors_percent, backend.scale.p95_ms);
    let ready = match backend.ready {
        Some(true) => plain("yes"),
        Some(false) => cell(Role::Critical, "NO"),
        None => cell(Role::Dim, "–"),
    };
    let role_of_bar = match backend.share.standing {
        _ if backend.share.out => Role::Dim,
        Standing::Over | Standing::Under if backend.share.marked => backend.grade_of_share().role(),
        _ => Role::Trend,
    };
    let troubled = |role| if role == Role::Text { Role::Trend } else { role };
    RowView {
        grade,
        cells: vec![
            cell(if grade >= Grade::Warning { Role::Strong } else { Role::Text }, backend.name.as_str()),
            ready,
            plain(rate(traffic.and_then(|t| t.rps))),
            cell(errors_role(errors), ratio(errors)),
            cell(troubled(errors_role(errors)), trend(&|t| bar::trend(t.errors_percent(), most_errors))),
            plain(millis(traffic.and_then(|t| t.p95_ms.or(t.mean_ms)))),
            cell(Role::Trend, trend(&|t| bar::trend(t.p95_ms(), most_p95))),
            cell(role_of_bar, bar(backend)),
            plain(percent(backend.share.observed)),
            cell(Role::Dim, percent(backend.share.expected)),
            verdict(backend),
            plain(backend.zone.as_ref().map_or("", Name::as_str)),
            cell(Role::Dim, backend.node.as_ref().map_or("", Name::as_str)),
            plain(backend.version.as_str()),
        ],
        below: said(backend),
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

/// Describes how uneven the shares are: the marked backend that differs the most, or else the one that gets the most.
fn imbalance(row: &TrafficRow) -> Option<Cell> {
    let far = |times: f64| times.max(0.001).ln().abs();
    let marked = row.backends().filter(|(_, share)| share.marked);
    let marked = marked.filter_map(|(backend, share)| Some((&backend.name, share.times()?)));
    let floor = row
        .shares
        .imbalance
        .map_or_else(String::new, |imbalance| format!(" (chance: {:.1})", imbalance.floor));
    if let Some((name, times)) = marked.max_by(|a, b| far(a.1).total_cmp(&far(b.1))) {
        return Some(cell(Role::Warning, format!("uneven: {name} gets {times:.1} times its share{floor}")));
    }
    let Imbalance { times, backend, .. } = row.shares.imbalance?;
    if row.shares.imbalance.is_some_and(|imbalance| imbalance.is_noise()) {
        // the numbers themselves would move with every poll
        return Some(cell(Role::Dim, "balanced: no backend differs by more than chance"));
    }
    let name = row.traffic.backends.get(backend).map_or("", |b| b.name.as_str());
    Some(cell(Role::Dim, format!("{name} gets the most, {times:.1} times its share{floor}")))
}

/// Builds the lines above the backends: the policy and where it was read, who measured over which window, the
/// imbalance, and why shares are not judged.
pub fn preface(s: &Shown<'_>) -> Vec<Cell> {
    let (namespace, name) = &s.ui.service;
    let Some(row) = s.cluster.measured(namespace, name) else {
        return vec![cell(Role::Dim, "there are no metrics of this Service: shares are not known")];
    };
    let expected = format!("expected: {} · measured by {}", balancing(row), measured(&row.traffic));
    // always two lines, so that the rows stay where they are
    let verdict = match (imbalance(row), row.shares.note) {
        (Some(verdict), Some(note)) => cell(verdict.role, format!("{} · {note}", verdict.text)),
        (Some(verdict), None) => verdict,
        (None, Some(note)) => cell(Role::Info, note.to_string()),
        (None, None) => cell(Role::Dim, "shares are not judged"),
    };
    vec![cell(Role::Dim, expected), verdict]
}
