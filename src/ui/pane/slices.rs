//! The backends of one Service by node, zone, version or part of its route, and the verdict on a canary.

use std::cmp::Ordering;

use pilothouse_core::domain::id::{Name, ObjectRef, Uid};
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::policy::slices::{By, Canary, Compared, Slice, Slices, slices};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, cell, millis, plain, rate, ratio};
use super::super::list::{List, Spec};
use super::super::rows::backends::{Inputs, Scale};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::Shown;
use super::backends::{self, percent};
use super::orders::{Order, indexes, sort, texts};
use super::traffic::errors_role;

/// The orders that `o` cycles through.
pub const ORDERS: [Order; 6] = [
    Order::worst("most errors first"),
    Order::rises("by name", "NAME"),
    Order::falls("by requests", "RPS"),
    Order::falls("by errors", "ERR%"),
    Order::falls("by p95", "P95"),
    Order::falls("by backends that are not ready", "READY"),
];

/// The columns.
pub const COLUMNS: [Column; 9] = [
    Column::name("NAME", 10, 48),
    Column::right("READY", 5, 9, 0),
    Column::right("RPS", 4, 6, 0),
    Column::right("ERR%", 4, 5, 0).named("errors"),
    Column::right("P95", 5, 6, 3),
    Column::bar("share│exp", 9, 2).named("share-bar"),
    Column::right("SHARE", 5, 5, 0),
    Column::right("EXP", 4, 5, 0).named("expected"),
    Column::left("", 6, 17, 0).named("verdict"),
];

/// Returns the name as it is shown.
fn name(slice: &Slice) -> &str {
    slice.name.as_ref().map_or("not known", Name::as_str)
}

/// Returns the identity of a row.
pub fn key(by: By, slice: &Slice) -> Uid {
    Uid::Text(Name::from(format!("{} {}", by.as_str(), name(slice))))
}

/// Returns a row by its index.
pub fn at<'a>(s: &Shown<'a>, row: u32) -> Option<&'a Slice> {
    s.ui.rows.slices.slices.get(row as usize)
}

/// Returns a row by its identity.
pub fn by_key<'a>(s: &Shown<'a>, uid: &Uid) -> Option<&'a Slice> {
    let all = &s.ui.rows.slices;
    all.slices.iter().find(|slice| key(all.by, slice) == *uid)
}

/// Returns the node of a row, if the rows are nodes.
pub fn object_of(s: &Shown<'_>, uid: &Uid) -> Option<ObjectRef> {
    let slice = by_key(s, uid).filter(|_| s.ui.rows.slices.by == By::Node)?;
    let node = s.cluster.node(slice.name.as_ref()?)?;
    Some(node.reference(s.cluster.id()))
}

fn order(a: &Slice, b: &Slice, order: usize) -> Ordering {
    let falls = |of: fn(&Slice) -> Option<f64>| of(b).unwrap_or(-1.0).total_cmp(&of(a).unwrap_or(-1.0));
    let missing = |slice: &Slice| Some(slice.backends.len().saturating_sub(slice.ready? as usize));
    let by = match order {
        1 => Ordering::Equal,
        2 => falls(|slice| slice.rps),
        4 => falls(|slice| slice.p95_ms),
        5 => missing(b).cmp(&missing(a)),
        _ => falls(|slice| slice.error_ratio),
    };
    by.then_with(|| a.name.cmp(&b.name))
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    let now = Inputs::of(cluster, &ui.service);
    let same = |(by, of): &(By, Inputs)| *by == ui.split && of.is_same(&now);
    if !ui.rows.slices_of.as_ref().is_some_and(same) {
        let (namespace, name) = &ui.service;
        let empty = Slices { by: ui.split, ..Slices::default() };
        ui.rows.slices =
            cluster.measured(namespace, name).map_or(empty, |row| slices(cluster, row, ui.split));
        ui.rows.slices_of = Some((ui.split, now));
    }
    let all = &ui.rows.slices;
    list.sorted =
        indexes(&all.slices, |slice| spec.filter.passes_or(&[name(slice)], || texts(row(all, slice))));
    sort(&mut list.sorted, &all.slices, spec.reverse, |a, b| order(a, b, spec.order));
}

/// Builds one row.
pub fn row(all: &Slices, slice: &Slice) -> RowView {
    let full = Scale::of_shares(all.slices.iter().map(|slice| slice.expected));
    let count = slice.backends.len();
    let verdict = match &all.canary {
        Some(canary) if slice.canary => {
            let verdict = Verdict::of(canary);
            cell(verdict.role(), format!("canary: {}", verdict.words().0))
        }
        Some(canary) if slice.name.as_ref() == Some(&canary.stable) => cell(Role::Dim, "stable"),
        _ => cell(Role::Dim, ""),
    };
    let ready = match slice.ready {
        Some(ready) if (ready as usize) < count => cell(Role::Warning, format!("{ready}/{count}")),
        Some(ready) => plain(format!("{ready}/{count}")),
        None => cell(Role::Dim, format!("–/{count}")),
    };
    let worse =
        slice.canary && all.canary.as_ref().is_some_and(|canary| Verdict::of(canary) == Verdict::Worse);
    let grade = match errors_role(slice.error_ratio) {
        Role::Critical => Grade::Critical,
        Role::Warning => Grade::Warning,
        _ if worse => Grade::Warning,
        _ => Grade::Fine,
    };
    RowView {
        grade,
        cells: vec![
            if slice.name.is_some() { plain(name(slice)) } else { cell(Role::Dim, name(slice)) },
            ready,
            plain(rate(slice.rps)),
            cell(errors_role(slice.error_ratio), ratio(slice.error_ratio)),
            plain(millis(slice.p95_ms)),
            cell(Role::Trend, backends::drawn(slice.observed, slice.expected, full, true)),
            plain(percent(slice.observed)),
            cell(Role::Dim, percent(slice.expected)),
            verdict,
        ],
        ..RowView::default()
    }
}

/// The verdict on a canary by all of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Worse,
    NotWorse,
    TooFew,
    Unknown,
}

impl Verdict {
    fn of(canary: &Canary) -> Self {
        let both = [canary.errors, canary.latency];
        let any = |of: fn(&Compared) -> bool| both.iter().any(of);
        if any(|compared| matches!(compared, Compared::Worse { .. })) {
            Self::Worse
        } else if any(|compared| matches!(compared, Compared::TooFew { .. })) {
            Self::TooFew
        } else if any(|compared| matches!(compared, Compared::NotWorse { .. })) {
            Self::NotWorse
        } else {
            Self::Unknown
        }
    }

    fn role(self) -> Role {
        match self {
            Self::Worse => Role::Critical,
            Self::NotWorse => Role::Ok,
            Self::TooFew | Self::Unknown => Role::Dim,
        }
    }

    /// As one or two words, and between the names of the two versions.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Worse => ("worse", "is worse than"),
            Self::NotWorse => ("not worse", "is not worse than"),
            Self::TooFew => ("too few", "is not judged yet against"),
            Self::Unknown => ("?", "cannot be compared with"),
        }
    }
}

/// Describes one comparison, such as `errors 4.1 % against 0.2 %`.
fn compared(what: &str, compared: Compared, number: impl Fn(f64) -> String) -> String {
    match compared {
        Compared::Worse { canary, stable } => {
            format!("{what} worse, {} against {}", number(canary), number(stable))
        }
        Compared::NotWorse { canary, stable } => {
            format!("{what} not worse, {} against {}", number(canary), number(stable))
        }
        Compared::TooFew { have, need } => format!("{what}: too few requests, {have} of {need}"),
        Compared::Unknown => format!("{what} not measured"),
    }
}

/// Describes the verdict on a canary.
fn verdict(canary: &Canary) -> Cell {
    let verdict = Verdict::of(canary);
    let errors = compared("errors", canary.errors, |errors| format!("{} %", ratio(Some(errors))));
    let latency = compared("p95", canary.latency, |ms| millis(Some(ms)));
    let (_, words) = verdict.words();
    cell(verdict.role(), format!("{} {words} {}: {errors}; {latency}", canary.canary, canary.stable))
}

/// Returns the title, such as `Backends of shop/checkout by zone`.
pub fn title(s: &Shown<'_>) -> String {
    format!("Backends of {}/{} by {}", s.ui.service.0, s.ui.service.1, s.ui.split.as_str())
}

/// Builds the lines above the rows: the verdict on the canary, and those of the backends.
pub fn preface(s: &Shown<'_>) -> Vec<Cell> {
    let canary = s.ui.rows.slices.canary.as_ref().map(verdict);
    canary.into_iter().chain(backends::preface(s)).collect()
}
