//! The list of clusters: the open ones with their state, and the other contexts of the kubeconfig.

use std::sync::Arc;

use pilothouse_core::domain::id::Uid;
use pilothouse_core::domain::link::{ContextLine, Link};
use pilothouse_core::domain::time::{Stamp, age_of_state};
use pilothouse_core::facts::world::{ActionView, Cluster, World};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, cell, plain, rate};
use super::super::command::{Cmd, Context};
use super::super::list::{List, ListId, Spec};
use super::super::rows::clusters::{ClusterLine, Of, counts as findings, grade, lines, requests};
use super::super::theme::Role;
use super::super::widget::columns::{Column, Cut};
use super::super::widget::text::{self, grouped};
use super::common::COMMON;
use super::orders::indexes;
use super::{Enter, Pane, Place, Reads, Shown, sources};

/// The columns.
pub const COLUMNS: [Column; 12] = [
    Column::name("CLUSTER", 8, 40),
    Column::left("STATE", 9, 26, 0).whole(),
    Column::left("FINDINGS", 8, 14, 0).short("FOUND").whole(),
    Column::right("NODES", 5, 11, 5),
    Column::right("BAD", 3, 6, 4),
    Column::right("PODS", 4, 8, 7),
    Column::right("RPS", 4, 7, 6),
    Column::right("ERR%", 4, 5, 3).named("errors"),
    Column::left("DATA", 7, 28, 2),
    Column::right("ACTIONS", 7, 7, 9),
    Column::left("VERSION", 7, 14, 8),
    // why a cluster fails, or what is worst in it, is what a narrow screen shows too
    Column { cut: Cut::Head, ..Column::text("WORST", 24, 1) },
];

/// The entry of the table of panes.
pub(super) const PANE: Pane = Pane {
    id: ListId::Clusters,
    name: "clusters",
    keys: &[Cmd::Open(ListId::Clusters)],
    contexts: &[Context::Clusters, Context::Lists, Context::Everywhere],
    place: Place::Over,
    columns: &COLUMNS,
    refresh,
    key: |s, row| at(s, row).map(ClusterLine::key),
    row,
    enter: Enter::Cluster,
    reads: Reads::Nothing,
    opens_on,
    title: |_| "Clusters".into(),
    counts,
    narrows: |_| false,
    nothing: "no contexts",
    kept: Some(|_| true),
    ..COMMON
};

/// The line at a row.
pub fn at<'a>(s: &Shown<'a>, row: u32) -> Option<&'a ClusterLine> {
    s.ui.rows.clusters.get(row as usize)
}

/// Returns the line of a key.
pub fn of_key<'a>(ui: &'a Ui, key: &Uid) -> Option<&'a ClusterLine> {
    ui.rows.clusters.iter().find(|line| line.key() == *key)
}

/// Counts the findings by severity, such as `✖2 !3`.
pub fn found(cluster: &Cluster) -> Cell {
    let grades = [Grade::Critical, Grade::Warning, Grade::Info];
    let some: Vec<(Grade, usize)> =
        grades.into_iter().zip(findings(cluster)).filter(|(_, count)| *count > 0).collect();
    let Some((worst, _)) = some.first() else {
        return if sources::is_seen(cluster) { cell(Role::Ok, "none") } else { cell(Role::Dim, "–") };
    };
    let words: Vec<String> = some.iter().map(|(grade, count)| format!("{}{count}", grade.glyph())).collect();
    cell(worst.role(), words.join(" "))
}

/// Tells how current the data of a cluster is.
fn data(cluster: &Cluster, now: Stamp) -> Cell {
    match &cluster.link {
        Link::Open => sources::worst(cluster, now).unwrap_or_else(|| {
            if sources::is_seen(cluster) { cell(Role::Ok, "current") } else { cell(Role::Dim, "loading") }
        }),
        _ => cell(Role::Dim, "none"),
    }
}

fn state(ui: &Ui, world: &World, cluster: &Cluster) -> Cell {
    let today = ui.at_in(world, cluster.id(), ui.today());
    match &cluster.link {
        _ if cluster.id() == ui.cluster && cluster.link == Link::Open => cell(Role::Ok, "in front"),
        Link::Open => plain("open"),
        Link::Opening { since } => {
            cell(Role::Info, format!("connecting {}", age_of_state(today.since(*since))))
        }
        Link::Failed { since, next, .. } => {
            let (lasts, retry) = (age_of_state(today.since(*since)), sources::retry(*next, today));
            cell(Role::Critical, format!("failing {lasts}{retry}"))
        }
        Link::Closed => cell(Role::Dim, "closed"),
    }
}

/// Returns the text about what is worst in a cluster.
fn worst(cluster: &Cluster) -> Cell {
    match (&cluster.link, cluster.derived.causes.first()) {
        (Link::Failed { why, .. }, _) => cell(Role::Critical, why.as_str()),
        (_, Some(cause)) => plain(cause.to_string()),
        _ => Cell::default(),
    }
}

fn numbers(cluster: &Cluster) -> [Cell; 5] {
    let counts = cluster.derived.counts;
    let unknown = || cell(Role::Dim, "–");
    let nodes = || {
        let role = if counts.nodes_ready < counts.nodes { Role::Warning } else { Role::Text };
        cell(role, format!("{}/{}", counts.nodes_ready, grouped(u64::from(counts.nodes))))
    };
    let bad =
        || cell(if counts.pods_bad > 0 { Role::Critical } else { Role::Dim }, counts.pods_bad.to_string());
    let (rps, errors) = requests(cluster);
    let percent = |ratio: f64| format!("{:.1}", ratio * 100.0);
    let has = |known: bool, cell: &dyn Fn() -> Cell| if known { cell() } else { unknown() };
    [
        has(cluster.nodes.cover.is_read(), &nodes),
        has(cluster.pods.cover.is_read(), &bad),
        has(cluster.pods.cover.is_read(), &|| plain(grouped(u64::from(counts.pods)))),
        rps.map_or_else(unknown, |rps| plain(rate(Some(rps)))),
        errors.map_or_else(unknown, |ratio| plain(percent(ratio))),
    ]
}

/// Counts the actions that run in a cluster, those that have steps in it included.
fn running(world: &World, cluster: &Cluster) -> Cell {
    let runs = |action: &&Arc<ActionView>| {
        let context = &cluster.info.context;
        let has_steps = !action.foreign && action.plan.intent.act.contexts().contains(context);
        action.outcome.is_none() && (has_steps || action.is_of(cluster))
    };
    match world.actions.iter().filter(runs).count() {
        0 => cell(Role::Dim, "–"),
        n => cell(Role::Job, n.to_string()),
    }
}

fn mode(protected: bool, read_only: bool) -> &'static str {
    match (protected, read_only) {
        (_, true) => "read-only",
        (true, false) => "protected",
        (false, false) => "",
    }
}

/// Builds one row.
pub fn row(s: &Shown<'_>, row: u32) -> Option<RowView> {
    let line = at(s, row)?;
    let Some(cluster) = line.cluster(s.world) else {
        let Of::Context(at) = line.of else { return None };
        return Some(of_context(s.ui, s.ui.fleet.contexts.get(at)?));
    };
    let info = &cluster.info;
    let version = cluster.identity.version.as_ref();
    let mut cells = vec![
        cell(s.ui.tint(s.world, info), info.name().as_str()),
        state(s.ui, s.world, cluster),
        found(cluster),
    ];
    cells.extend(numbers(cluster));
    cells.extend([
        data(cluster, s.ui.now_in(s.world, cluster.id())),
        running(s.world, cluster),
        version.map_or_else(|| cell(Role::Dim, "–"), |version| plain(version.as_str())),
        worst(cluster),
    ]);
    let context = (info.name() != &info.context).then(|| format!("context {}", info.context));
    let guards = Some(mode(info.protected, info.read_only)).filter(|mode| !mode.is_empty());
    let opened = s.ui.fleet.opened.get(&info.context).map(|by| format!("opened for {}", by.action));
    let below = context.into_iter().chain(guards.map(str::to_owned)).chain(opened);
    let below = below.collect::<Vec<_>>().join(", ");
    Some(RowView { grade: grade(cluster), cells, below: vec![cell(Role::Dim, below)], ..RowView::default() })
}

/// Builds the row of a context that is not open. Nothing is known of its cluster.
fn of_context(ui: &Ui, line: &ContextLine) -> RowView {
    let mut cells = vec![Cell::default(); COLUMNS.len()];
    let mode = mode(line.protected, line.read_only);
    let words = [mode, &format!("cluster {}", line.cluster), &format!("user {}", line.user)]
        .into_iter()
        .filter(|words| !words.is_empty())
        .collect::<Vec<_>>()
        .join(", ");
    let set = |at: usize, cell: Cell, cells: &mut Vec<Cell>| {
        if let Some(place) = cells.get_mut(at) {
            *place = cell;
        }
    };
    set(0, cell(ui.config_tint(&line.colour).unwrap_or(Role::Text), line.name.as_str()), &mut cells);
    set(1, cell(Role::Dim, "not open"), &mut cells);
    set(COLUMNS.len() - 1, cell(Role::Dim, words), &mut cells);
    RowView { cells, ..RowView::default() }
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, world: &World, _: &Cluster, spec: &mut Spec, list: &mut List) {
    ui.rows.clusters = lines(world, &ui.fleet.contexts);
    let passes = |line: &ClusterLine| spec.filter.passes(&[&line.context, &line.name]);
    list.sorted = indexes(&ui.rows.clusters, passes);
}

/// Selects the cluster to go to next: the worst of the others that are open.
pub fn opens_on(s: &Shown<'_>) -> Option<Uid> {
    let all = lines(s.world, &s.ui.fleet.contexts);
    let other = all.iter().find(|line| line.of != Of::Open(s.ui.cluster));
    other.or(all.first()).map(ClusterLine::key)
}

/// Counts the open clusters.
pub fn counts(s: &Shown<'_>) -> Vec<Cell> {
    let open = s.world.live().count();
    let rest = s.ui.rows.clusters.len().saturating_sub(open);
    let mut notes = vec![plain(format!("{open} open"))];
    if rest > 0 {
        notes.push(cell(Role::Dim, text::count(rest, "other context")));
    }
    notes
}
