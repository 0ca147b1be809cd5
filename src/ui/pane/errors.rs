//! The Errors pane: groups of error lines.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use pilothouse_core::domain::id::{Name, ObjectRef, Uid};
use pilothouse_core::domain::log::{ErrorGroup, Level};
use pilothouse_core::domain::source::Feed;
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{ChangeKind, Cluster, World};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, cell, plain, rate};
use super::super::list::{List, NO_MORE, Spec};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text;
use super::Shown;
use super::novelty::Novelty;
use super::orders::{Order, indexes, sort, texts};
use super::sources::{self, State};

/// The orders that `o` cycles through.
pub const ORDERS: [Order; 11] = [
    Order::worst("new first"),
    Order::falls("by rate", "/MIN"),
    Order::rises("latest first", "LAST"),
    Order::rises("by message", "MESSAGE"),
    Order::rises("by place", "WHERE"),
    Order::falls("by spread", "PODS"),
    Order::rises("by version", "VERSIONS"),
    Order::rises("first seen last", "FIRST"),
    Order::falls("by level", "LEVEL").wide(),
    Order::falls("by lines", "LINES").wide(),
    Order::rises("by first pod", "FIRST POD").wide(),
];

/// The columns.
pub const COLUMNS: [Column; 12] = [
    Column::left("", 3, 3, 0).named("new"),
    Column::right("/MIN", 4, 5, 0).named("rate"),
    Column::left("TREND", 5, 12, 10),
    Column::text("MESSAGE", 16, 0),
    Column::name("WHERE", 12, 34),
    Column::right("PODS", 4, 5, 7),
    Column::left("VERSIONS", 11, 22, 5),
    Column::right("FIRST", 5, 5, 8),
    Column::right("LAST", 4, 5, 9),
    Column::left("LEVEL", 5, 5, 11),
    Column::right("LINES", 5, 8, 12),
    Column::name("FIRST POD", 9, 40).leaving(13),
];

/// Returns the severity of a group.
pub fn grade(group: &ErrorGroup, novelty: &Novelty, now: Stamp) -> Grade {
    match (novelty.has(group), group.level) {
        (true, Level::Fatal) => Grade::Critical,
        (true, _) => Grade::Warning,
        (_, Level::Fatal) if !group.has_stopped(now) => Grade::Warning,
        _ => Grade::Fine,
    }
}

/// Whether the group matches the filter and the namespace. `more` returns the texts of the row's columns.
pub fn passes(group: &ErrorGroup, spec: &Spec, more: impl Fn() -> Vec<String>) -> bool {
    let here = spec.namespace.as_ref().is_none_or(|ns| {
        group.workloads.is_empty()
            // a file belongs to no namespace, so it matches every one: the user asked for it by name
            || group.workloads.iter().any(|w| w.split_once('/').is_none_or(|(n, _)| n == ns.as_str()))
    });
    here && (spec.filter.is_empty() || {
        let mut texts: Vec<&str> = vec![&group.template, &group.sample];
        texts.extend(group.workloads.iter().map(Name::as_str));
        texts.extend(group.versions.iter().map(Name::as_str));
        spec.filter.passes_or(&texts, more)
    })
}

/// Compares two groups.
pub fn order(a: &ErrorGroup, b: &ErrorGroup, order: usize, novelty: &Novelty) -> Ordering {
    let by = match order {
        1 => b.per_minute.total_cmp(&a.per_minute),
        2 => b.last.cmp(&a.last),
        3 => a.template.cmp(&b.template),
        4 => place(a).cmp(&place(b)),
        5 => b.spread().cmp(&a.spread()),
        6 => a.versions.cmp(&b.versions),
        7 => b.first.cmp(&a.first),
        8 => b.level.cmp(&a.level),
        9 => b.count.cmp(&a.count),
        10 => a.pods.first().cmp(&b.pods.first()),
        _ => novelty.has(b).cmp(&novelty.has(a)).then_with(|| b.per_minute.total_cmp(&a.per_minute)),
    };
    by.then_with(|| b.count.cmp(&a.count)).then_with(|| a.fingerprint.cmp(&b.fingerprint))
}

/// Formats the versions, such as `only v1.8.2` or `3 versions`. "only" is used if a recent rollout added another
/// version. Otherwise there is only one version, and the word says nothing.
pub fn versions(group: &ErrorGroup, cluster: &Cluster) -> String {
    match &*group.versions {
        [] => String::new(),
        [one] if has_other_versions(group, cluster) => format!("only {one}"),
        [one] => one.to_string(),
        [a, b] => format!("{a} {b}"),
        more => format!("{} versions", more.len()),
    }
}

fn has_other_versions(group: &ErrorGroup, cluster: &Cluster) -> bool {
    let mut names = group.workloads.iter().filter_map(|w| w.split_once('/'));
    let rollouts = cluster.derived.changes.iter().filter(|c| matches!(c.kind, ChangeKind::Rollout { .. }));
    let of = |namespace: &str, name: &str| {
        rollouts.clone().any(|c| c.object.namespace == *namespace && c.object.name == *name)
    };
    names.any(|(namespace, name)| of(namespace, name))
}

/// Formats the first few names, and how many there are besides.
pub fn some(names: &[Name]) -> String {
    const MOST: usize = 6;
    let shown = names.iter().take(MOST).map(Name::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Returns the workload with the name `namespace/name`.
pub fn workload(cluster: &Cluster, name: &str) -> Option<ObjectRef> {
    let (namespace, name) = name.split_once('/')?;
    let mut rows = cluster.derived.workloads.iter();
    let row = rows.find(|r| r.workload.namespace == namespace && r.workload.name == name)?;
    Some(row.workload.reference(cluster.id()))
}

/// Returns the pod with the name `namespace/name`, if it still exists.
pub fn pod(cluster: &Cluster, name: &str) -> Option<ObjectRef> {
    let (namespace, name) = name.split_once('/')?;
    let pod = cluster.pod(namespace, name)?;
    Some(pod.reference(cluster.id()))
}

/// Returns the name of the workload or file that wrote the lines.
pub fn place(group: &ErrorGroup) -> String {
    match &*group.workloads {
        [] => "–".into(),
        [one] => one.to_string(),
        more => text::count(more.len(), "workload"),
    }
}

/// Builds one row.
pub fn row(group: &ErrorGroup, cluster: &Cluster, novelty: &Novelty, now: Stamp) -> RowView {
    let new = novelty.has(group);
    let stopped = group.has_stopped(now);
    let text = match (new, stopped) {
        (true, _) => Role::Strong,
        (false, true) => Role::Dim,
        (false, false) => Role::Text,
    };
    RowView {
        grade: grade(group, novelty, now),
        cells: vec![
            cell(Role::Warning, if new { "NEW" } else { "" }),
            if stopped { cell(Role::Dim, "0") } else { plain(rate(Some(group.per_minute))) },
            cell(Role::Trend, text::trend(&group.trend, 12)),
            cell(text, group.template.as_str()),
            plain(place(group)),
            plain(group.pod_count.to_string()),
            cell(Role::Dim, versions(group, cluster)),
            cell(Role::Dim, age(now.since(group.first))),
            cell(Role::Dim, age(now.since(group.last))),
            cell(Role::Dim, group.level.as_str()),
            plain(text::grouped(group.count)),
            cell(Role::Dim, group.pods.first().map_or("", Name::as_str)),
        ],
        below: said(group),
        ..RowView::default()
    }
}

/// Returns further details of a group: a whole line and its writers.
fn said(group: &ErrorGroup) -> Vec<Cell> {
    let names = |names: &[Name]| names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    let mut said = Vec::new();
    if group.sample != group.template {
        said.push(cell(Role::Dim, group.sample.as_str()));
    }
    if !group.pods.is_empty() {
        let more = (group.pod_count as usize).saturating_sub(group.pods.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        said.push(cell(Role::Dim, format!("pods: {}{more}", names(&group.pods))));
    }
    if group.workloads.len() > 1 {
        said.push(cell(Role::Dim, format!("workloads: {}", names(&group.workloads))));
    }
    if group.versions.len() > 1 {
        said.push(cell(Role::Dim, format!("versions: {}", names(&group.versions))));
    }
    said
}

/// Returns the counts that follow the title: the new groups of the selected namespace, and how the logs are followed.
/// Log following is the same for all namespaces.
pub fn counts(cluster: &Cluster, spec: &Spec, novelty: &Novelty) -> Vec<Cell> {
    let logs = &cluster.logs;
    if logs.at == Stamp::default() {
        return Vec::new();
    }
    let new = logs.groups.iter().filter(|g| novelty.has(g) && passes(g, spec, NO_MORE)).count();
    let mut notes = Vec::new();
    if new > 0 {
        notes.push(cell(Role::Warning, format!("{new} new")));
    }
    let mut by_unit: BTreeMap<&Name, (u32, u32)> = BTreeMap::new();
    for summary in logs.sources.iter() {
        let sum = by_unit.entry(&summary.unit).or_default();
        *sum = (sum.0 + summary.following, sum.1 + summary.candidates);
    }
    let units = by_unit.into_iter().map(|(unit, (following, candidates))| {
        let of = |n: u32| text::grouped(u64::from(n));
        format!("{} of {} {unit}", of(following), of(candidates))
    });
    notes.push(plain(format!("logs of {}", units.collect::<Vec<_>>().join(", "))));
    let dropped = logs.dropped;
    notes.push(cell(
        if dropped > 0 { Role::Warning } else { Role::Dim },
        format!("{} dropped", text::grouped(dropped)),
    ));
    if logs.gaps > 0 {
        let s = if logs.gaps == 1 { "" } else { "s" };
        notes.push(cell(Role::Warning, format!("{} gap{s}", text::grouped(logs.gaps))));
    }
    notes
}

/// Returns the identity of a row.
pub fn key(group: &ErrorGroup) -> Uid {
    Uid::Text(group.fingerprint.clone())
}

/// Returns a row by its index.
pub fn at<'a>(s: &Shown<'a>, row: u32) -> Option<&'a ErrorGroup> {
    s.cluster.logs.groups.get(row as usize).map(AsRef::as_ref)
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    let (groups, now) = (&cluster.logs.groups, ui.now);
    let novelty = Novelty::of(cluster, ui.new_since, now);
    list.sorted = indexes(groups, |g| passes(g, spec, || texts(row(g, cluster, &novelty, now))));
    sort(&mut list.sorted, groups, spec.reverse, |a, b| order(a, b, spec.order, &novelty));
}

/// Returns the workload that wrote the lines, or the first of several.
pub fn object_of(s: &Shown<'_>, uid: &Uid) -> Option<ObjectRef> {
    let group = s.cluster.logs.groups.iter().find(|g| key(g) == *uid)?;
    workload(s.cluster, group.workloads.first()?)
}

/// Returns the state of log following.
pub fn state(s: &Shown<'_>) -> State {
    let cluster = s.cluster;
    let mut state = sources::of_feed(cluster, Feed::Logs, s.ui.now);
    if cluster.logs.at.0 > 0 {
        state.why_empty.retain(|c| c.role != Role::Dim);
    }
    // the pods determine whose logs are followed
    let pods = s.table("pods", &cluster.pods.cover, cluster.pods.fresh);
    state.notes.extend(pods.notes.into_iter().filter(|n| n.role != Role::Dim));
    if state.why_empty.is_empty() {
        state.why_empty = match &cluster.pods.cover {
            Coverage::Never => vec![cell(Role::Dim, "waiting for pods: their logs are followed then")],
            cover if !cover.is_read() => pods.why_empty,
            _ if cluster.logs.at.0 > 0 && !cluster.logs.is_following() => {
                vec![cell(Role::Dim, "no logs are followed: no pod is unhealthy or has restarted recently")]
            }
            _ => Vec::new(),
        };
    }
    state
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::log::{LogSummary, Logs};

    use super::*;

    #[test]
    fn each_kind_of_log_is_counted_by_itself() {
        let summary = |source: &str, unit: &str, following, candidates, dropped| LogSummary {
            source: source.into(),
            unit: unit.into(),
            at: Stamp(1),
            following,
            candidates,
            dropped,
            ..LogSummary::default()
        };
        let logs = Logs::default()
            .with(summary("logs", "pods", 50, 3_120, 2))
            .with(summary("log file a", "files", 1, 1, 0))
            .with(summary("log file b", "files", 0, 1, 1));
        let cluster = Cluster { logs: Arc::new(logs), ..Cluster::default() };
        let notes = counts(&cluster, &Spec::default(), &Novelty::default());
        let words: Vec<&str> = notes.iter().map(|note| note.text.as_str()).collect();
        assert_eq!(words, ["logs of 1 of 2 files, 50 of 3,120 pods", "3 dropped"]);
    }

    #[test]
    fn errors_of_a_file_are_in_every_namespace() {
        let spec = Spec { namespace: Some("shop".into()), ..Spec::default() };
        for (workload, shown) in [("shop/cart", true), ("pay/cart", false), ("haproxy.log", true)] {
            let group = ErrorGroup { workloads: [Name::from(workload)].into(), ..ErrorGroup::default() };
            assert_eq!(passes(&group, &spec, NO_MORE), shown, "{workload}");
        }
    }
}
