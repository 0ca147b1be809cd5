//! A Service in each of the open clusters, side by side: "is it only here?"

use pilothouse_core::domain::id::{Kind, Name, ObjectRef};
use pilothouse_core::domain::traffic::BAD_ERRORS;
use pilothouse_core::facts::world::{Cause, Cluster, World};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, cell, millis, plain, rate, ratio};
use super::super::command::Context;
use super::super::list::{List, ListId, Spec};
use super::super::rows::clusters::{ServiceLine, service};
use super::super::theme::Role;
use super::super::widget::columns::{Column, Cut};
use super::common::COMMON;
use super::orders::indexes;
use super::{Enter, Pane, Place, Reads, Shown, causes, sources};

/// The columns.
pub const COLUMNS: [Column; 8] = [
    Column::name("CLUSTER", 8, 40),
    Column::left("VERSIONS", 8, 36, 0),
    Column::right("REPLICAS", 8, 9, 3),
    Column::right("READY", 5, 7, 0),
    Column::right("RPS", 4, 7, 0),
    Column::right("ERR%", 4, 5, 0).named("errors"),
    Column::right("P95", 5, 6, 1),
    Column { cut: Cut::Head, ..Column::text("WORST", 12, 4) },
];

/// The entry of the table of panes.
pub(super) const PANE: Pane = Pane {
    id: ListId::Elsewhere,
    name: "elsewhere",
    contexts: &[Context::Lists, Context::Everywhere],
    place: Place::Below,
    columns: &COLUMNS,
    refresh,
    key: |s, row| at(s, row).map(ServiceLine::key),
    row,
    enter: Enter::Elsewhere,
    reads: Reads::Nothing,
    title: |s| format!("{}/{} in all open clusters", s.ui.service.0, s.ui.service.1),
    narrows: |_| false,
    nothing: "no clusters",
    ..COMMON
};

/// The line at a row.
pub fn at<'a>(s: &Shown<'a>, row: u32) -> Option<&'a ServiceLine> {
    s.ui.rows.elsewhere.get(row as usize)
}

/// Returns the worst finding about the Service or about a workload behind it.
fn finding<'c>(cluster: &'c Cluster, line: &ServiceLine, namespace: &Name, name: &Name) -> Option<&'c Cause> {
    let is_about = |object: &ObjectRef| {
        object.namespace == *namespace
            && (object.name == *name && object.kind == Kind::Service
                || line.workloads.iter().any(|(kind, name)| object.kind == *kind && object.name == *name))
    };
    cluster.derived.causes.iter().map(|cause| &**cause).find(|cause| cause.objects.iter().any(is_about))
}

/// Says that there is no finding, if the pods that one would be about are known.
fn nothing(cluster: &Cluster) -> Cell {
    let words = if cluster.pods.cover.is_read() { "nothing found" } else { "–" };
    cell(Role::Dim, words)
}

/// Builds one row.
pub fn row(s: &Shown<'_>, row: u32) -> Option<RowView> {
    let line = at(s, row)?;
    let cluster = s.world.cluster(line.cluster)?;
    let (namespace, name) = &s.ui.service;
    let first = cell(s.ui.tint(s.world, &cluster.info), cluster.info.name().as_str());
    if line.service.is_none() {
        let why = sources::unconnected(cluster, s.ui.now_in(s.world, line.cluster));
        let words = if line.is_known { "no such Service" } else { "not known: its Services are not read" };
        let mut cells = vec![first, why.unwrap_or_else(|| cell(Role::Dim, words))];
        cells.resize(COLUMNS.len(), Cell::default());
        return Some(RowView { cells, ..RowView::default() });
    }
    let measured = cluster.measured(namespace, name).map(|row| &row.traffic);
    let number = |of: Option<String>| of.map_or_else(|| cell(Role::Dim, "–"), plain);
    let versions: Vec<String> = match line.versions.as_slice() {
        [(only, _)] => vec![only.to_string()],
        several => several.iter().map(|(version, pods)| format!("{version} ×{pods}")).collect(),
    };
    let ready = line.endpoints.map_or_else(
        || cell(Role::Dim, "–"),
        |(ready, all)| {
            let role = match (ready, all) {
                (0, _) => Role::Critical,
                (ready, all) if ready < all => Role::Warning,
                _ => Role::Text,
            };
            cell(role, format!("{ready}/{all}"))
        },
    );
    let bad = measured.and_then(|t| t.error_ratio).is_some_and(|r| r >= BAD_ERRORS);
    let errors = measured.and_then(|t| t.error_ratio).map(|share| ratio(Some(share)));
    let errors = Cell { role: if bad { Role::Critical } else { Role::Text }, ..number(errors) };
    let cause = finding(cluster, line, namespace, name);
    let cells = vec![
        first,
        number((!versions.is_empty()).then(|| versions.join(", "))),
        number(line.replicas.map(|replicas| replicas.to_string())),
        ready,
        number(measured.and_then(|t| t.rps).map(|rps| rate(Some(rps)))),
        errors,
        number(measured.and_then(|t| t.p95_ms).map(|p95| millis(Some(p95)))),
        cause.map_or_else(|| nothing(cluster), |cause| plain(cause.to_string())),
    ];
    Some(RowView { grade: cause.map_or(Grade::Fine, causes::grade), cells, ..RowView::default() })
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, world: &World, _: &Cluster, spec: &mut Spec, list: &mut List) {
    ui.rows.elsewhere = service(world, &ui.service);
    let name = |line: &ServiceLine| {
        world.cluster(line.cluster).map_or_else(String::new, |cluster| cluster.info.name().to_string())
    };
    list.sorted = indexes(&ui.rows.elsewhere, |line| spec.filter.passes(&[&name(line)]));
}
