//! The NOW pane: ranked causes and recent changes.

use std::sync::Arc;

use pilothouse_core::domain::cause::FindingCode;
use pilothouse_core::domain::id::{ClusterId, Name, ObjectRef, Uid};
use pilothouse_core::domain::link::Link;
use pilothouse_core::domain::time::{Stamp, age_of_state};
use pilothouse_core::facts::world::{Cause, Cluster, Severity, World};
use pilothouse_core::policy::rules::order;
use pilothouse_core::policy::seen::{self, WhyNot};
use pilothouse_core::state::ClusterState;
use pilothouse_core::state::changes::{Told, fold_for_people, recent, words};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, ListView, RowView, cell, plain};
use super::super::command::{self, permitted};
use super::super::keymap::Keymap;
use super::super::list::{List, ListId, Spec};
use super::super::rows::clusters::Everywhere;
use super::super::theme::Role;
use super::super::widget::columns::{Column, Cut};
use super::super::widget::text;
use super::Shown;
use super::orders::indexes;
use super::sources::State;

/// The columns.
pub const COLUMNS: [Column; 3] = [
    Column { cut: Cut::Head, fills: true, ..Column::text("CAUSE", 24, 0) },
    Column::right("SINCE", 4, 5, 3),
    Column::left("KEY", 9, 40, 5),
];

/// Returns the identity of a cause: its rule and its main object. Both stay the same while the text of the cause
/// changes.
pub fn key(cause: &Cause) -> Uid {
    let about = cause.object().map(ToString::to_string);
    let about = about.or_else(|| cause.finding.reason().map(|(why, denied)| format!("{why} {denied}")));
    Uid::Text(Name::from(format!("{} {}", cause.rule(), about.unwrap_or_default())))
}

/// Returns the identity of a cause of another cluster than the one in front.
fn far_key(cluster: ClusterId, cause: &Cause) -> Uid {
    Uid::Text(Name::from(format!("#{} {}", cluster.0, self::key(cause))))
}

/// Whether NOW shows the findings of all open clusters.
pub fn is_everywhere(ui: &Ui, world: &World) -> bool {
    ui.fleet.all && ui.past.is_none() && world.has_several()
}

/// Returns the cause with this identity, and its cluster.
pub fn of_key<'w>(ui: &Ui, world: &'w World, key: &Uid) -> Option<(&'w Arc<Cluster>, &'w Arc<Cause>)> {
    if let Uid::Text(text) = key
        && let Some((id, _)) = text.strip_prefix('#').and_then(|rest| rest.split_once(' '))
    {
        let cluster = world.cluster(ClusterId(id.parse().ok()?))?;
        let is = |cause: &&Arc<Cause>| far_key(cluster.id(), cause) == *key;
        return Some((cluster, cluster.derived.causes.iter().find(is)?));
    }
    let cluster = ui.shown(world)?;
    Some((cluster, cluster.derived.causes.iter().find(|cause| self::key(cause) == *key)?))
}

/// Whether the World has the cause or the causes that a row of NOW with this identity stands for, in whatever order.
pub fn is_there(ui: &Ui, world: &World, key: &Uid) -> bool {
    let folds = |cluster: &Arc<Cluster>| cluster.derived.causes.iter().any(|cause| fold_key(cause) == *key);
    of_key(ui, world, key).is_some() || ui.shown(world).is_some_and(folds)
}

/// Whether the findings from which the terminal last showed NOW included this cause of the cluster in front. Its row may have been
/// below the last one that fits.
pub fn is_drawn(ui: &Ui, key: &Uid) -> bool {
    ui.rows.causes_shown.iter().any(|cause| self::key(cause) == *key)
}

/// If a rule has more causes of one severity than this, the first screen shows them as one row.
const FOLD_ABOVE: usize = 3;
/// Marks a row of NOW that stands for several causes. The remaining bits are the index of the first cause.
pub const FOLDED: u32 = 1 << 31;

/// Whether two causes have the same rule and severity, so that they can share a row.
fn alike(a: &Cause, b: &Cause) -> bool {
    a.code() == b.code() && a.severity == b.severity
}

/// Returns the rows of NOW on the first screen. If a rule has too many causes, one row at the place of the first
/// cause stands for all of them.
fn fold(causes: &[Arc<Cause>], rows: &[u32]) -> Vec<u32> {
    let at = |row: u32| causes.get(row as usize);
    rows.iter()
        .filter_map(|row| {
            let cause = at(*row)?;
            let mut members = rows.iter().filter(|r| at(**r).is_some_and(|c| alike(c, cause)));
            if members.clone().count() <= FOLD_ABOVE {
                return Some(*row);
            }
            (members.next() == Some(row)).then_some(*row | FOLDED)
        })
        .collect()
}

/// Folds the rows if `folds` is set, and keeps the selection on the same cause.
pub fn settle(causes: &[Arc<Cause>], rows: &mut Vec<u32>, selected: &mut Option<Uid>, folds: bool) {
    if folds {
        *rows = fold(causes, rows);
    }
    if let Some(moved) = selected.as_ref().and_then(|s| follow(causes, rows, s)) {
        *selected = Some(moved);
    }
}

/// Returns the identity of a folded row.
pub fn fold_key(cause: &Cause) -> Uid {
    Uid::Text(Name::from(format!("all {} {:?}", cause.code(), cause.severity)))
}

/// Moves the selection when the list is folded or unfolded.
fn follow(causes: &[Arc<Cause>], rows: &[u32], selected: &Uid) -> Option<Uid> {
    let at = |row: &u32| causes.get((*row & !FOLDED) as usize);
    let here = |row: &&u32| {
        let key_of = if **row & FOLDED == 0 { key } else { fold_key };
        at(row).is_some_and(|c| key_of(c) == *selected)
    };
    if rows.iter().any(|row| here(&row)) {
        return None;
    }
    // the selection is a cause that is folded now, or a fold that is open now
    if let Some(cause) = causes.iter().find(|c| key(c) == *selected) {
        let fold = rows.iter().find(|r| **r & FOLDED != 0 && at(r).is_some_and(|c| alike(c, cause)))?;
        return at(fold).map(|c| fold_key(c));
    }
    rows.iter().find_map(|r| at(r).filter(|c| r & FOLDED == 0 && fold_key(c) == *selected)).map(|c| key(c))
}

/// The contexts in which NOW's keys are looked up.
fn places() -> &'static [command::Context] {
    super::of(ListId::Now).contexts
}

/// Builds the row that stands for all causes like `first`.
pub fn folded_row(causes: &[Arc<Cause>], first: &Cause, keymap: &Keymap, now: Stamp) -> RowView {
    let grade = grade(first);
    let all: Vec<&Arc<Cause>> = causes.iter().filter(|c| alike(c, first)).collect();
    let names: Vec<String> = all.iter().map(|c| c.in_list()).collect();
    let since = all.iter().filter_map(|c| c.since).min();
    let open = keymap.key_in(places(), command::Cmd::Why).map_or_else(String::new, |k| format!("{k} all"));
    RowView {
        grade,
        cells: vec![
            cell(Role::Strong, format!("{} {}: {}", all.len(), several(&all), names.join(", "))),
            cell(Role::Dim, since.map_or_else(String::new, |s| age_of_state(now.since(s)))),
            cell(Role::Key, open),
        ],
        ..RowView::default()
    }
}

/// Returns the title of several causes with the same code.
fn several(all: &[&Arc<Cause>]) -> String {
    let code = all.first().map(|first| first.code());
    if code == Some(FindingCode::HpaAtLimit) && all.iter().all(|c| c.noun().is_some()) {
        // words that all causes share are not repeated
        return "HPAs at max".into();
    }
    let mut nouns = all.iter().map(|c| c.noun());
    match nouns.next().flatten() {
        Some(noun) if nouns.all(|other| other == Some(noun)) => format!("{noun}s"),
        _ if code == Some(FindingCode::ServiceErrors) => "services".into(),
        _ => "findings".into(),
    }
}

/// Returns the severity of a cause.
pub fn grade(cause: &Cause) -> Grade {
    match cause.severity {
        Severity::Critical => Grade::Critical,
        Severity::Warning => Grade::Warning,
        Severity::Info => Grade::Info,
    }
}

/// Whether the cause matches the filter and the namespace.
pub fn passes(cause: &Cause, spec: &Spec) -> bool {
    passes_in(cause, "", spec)
}

/// The same for a row that begins with the name of its cluster.
fn passes_in(cause: &Cause, cluster: &str, spec: &Spec) -> bool {
    let here = spec.namespace.as_ref().is_none_or(|ns| {
        cause.objects.is_empty() || cause.objects.iter().any(|o| o.namespace.is_empty() || o.namespace == *ns)
    });
    here && spec.filter.passes(&[cluster, &cause.to_string(), cause.rule()])
}

/// Builds one row. If `brief` is set, the row shows only one key, to leave room for the text.
pub fn row(cause: &Cause, keymap: &Keymap, now: Stamp, brief: bool) -> RowView {
    let grade = grade(cause);
    let action = cause.action.as_ref().and_then(|a| {
        let command = command::of(a.command().into())?;
        Some(format!("{} {}", keymap.key_in(places(), command.cmd)?, command.title))
    });
    let why = keymap.key_in(places(), command::Cmd::Why).map_or_else(String::new, |k| format!("{k} why"));
    let keys = match action {
        Some(action) if brief => action,
        Some(action) => format!("{action}  {why}"),
        None => why,
    };
    RowView {
        grade,
        cells: vec![
            cell(if grade == Grade::Info { Role::Text } else { Role::Strong }, cause.to_string()),
            cell(Role::Dim, cause.since.map_or_else(String::new, |s| age_of_state(now.since(s)))),
            cell(Role::Key, keys),
        ],
        below: cause.lines().into_iter().map(|line| cell(Role::Dim, line)).collect(),
        ..RowView::default()
    }
}

/// Builds the text for an empty list of the cluster in front, or of all open ones: what is not known of one of them comes
/// first.
pub fn empty_in(ui: &Ui, world: &World, cluster: &Cluster) -> Vec<Cell> {
    if !is_everywhere(ui, world) {
        return empty(cluster);
    }
    let unknown = world.live().find(|cluster| !seen::unseen(cluster).is_empty());
    let Some(cluster) = unknown else { return vec![cell(Role::Ok, "no problems found in any open cluster")] };
    let mut words = vec![cell(ui.tint(world, &cluster.info), cluster.info.name().as_str())];
    words.extend(empty(cluster));
    words
}

/// Builds the text for an empty list: either there are no problems, or this is not known yet.
fn empty(cluster: &Cluster) -> Vec<Cell> {
    if let Link::Failed { why, .. } = &cluster.link {
        return vec![cell(Role::Critical, "not connected"), cell(Role::Text, why.as_str())];
    }
    let unseen = seen::unseen(cluster);
    if unseen.is_empty() {
        let silenced = cluster.derived.silenced.len();
        if silenced == 0 {
            return vec![cell(Role::Ok, "no problems found")];
        }
        // if NOW has no title, this line must name the pane
        return vec![
            cell(Role::Ok, "no problems found except what is silenced"),
            cell(Role::Warning, format!("{silenced} silenced")),
        ];
    }
    let vital = |u: &&seen::Unseen| u.why == WhyNot::Loading && matches!(u.source.as_str(), "nodes" | "pods");
    let loading: Vec<&str> = unseen.iter().filter(vital).map(|u| u.source.as_str()).collect();
    if !loading.is_empty() {
        return vec![cell(Role::Dim, format!("looking: {} not complete yet", loading.join(" and ")))];
    }
    vec![
        cell(Role::Ok, "no problems found in what can be seen"),
        cell(Role::Warning, format!("not seen: {}", seen::words(&unseen))),
    ]
}

/// Returns the recent changes of the selected namespace, the newest first: of the cluster in front, or of all open ones
/// with the names of their clusters.
fn told(ui: &Ui, world: &World, cluster: &Cluster) -> Vec<(Option<Cell>, Told)> {
    let is_here = |told: &Told| {
        let namespace = &told.change.object.namespace;
        ui.namespace.as_ref().is_none_or(|ns| namespace.is_empty() || namespace == ns)
    };
    let of = |cluster: &Cluster| {
        let all = fold_for_people(recent(&cluster.derived.changes, ui.now_in(world, cluster.id())));
        all.into_iter().filter(is_here).collect::<Vec<_>>()
    };
    if !is_everywhere(ui, world) {
        return of(cluster).into_iter().map(|told| (None, told)).collect();
    }
    let named = |cluster: &Arc<Cluster>| {
        let name = cell(ui.tint(world, &cluster.info), cluster.info.name().as_str());
        of(cluster).into_iter().map(move |told| (Some(name.clone()), told)).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = world.live().flat_map(named).collect();
    all.sort_by_key(|(_, told)| std::cmp::Reverse(told.change.at));
    all
}

/// Returns one row for each recent change, the newest first.
pub fn change_rows(ui: &Ui, world: &World, cluster: &Cluster) -> Vec<RowView> {
    told(ui, world, cluster)
        .into_iter()
        .map(|(name, told)| {
            let text = words(&told, false);
            let text = name.as_ref().map_or_else(|| text.clone(), |name| format!("{} {text}", name.text));
            let cells = vec![cell(Role::Dim, told.change.at.clock()), plain(text)];
            RowView { cells, lead: name.map(|name| (1, name)), ..RowView::default() }
        })
        .collect()
}

/// Builds the box with the recent changes.
pub fn changes_view(ui: &Ui, rows: &[RowView], room: usize) -> ListView {
    let mut notes = vec![cell(Role::Dim, format!("in the last {} min", ClusterState::window_minutes()))];
    let key = ui.key(command::Cmd::Open(ListId::Timeline));
    notes.extend(key.map(|key| cell(Role::Key, format!("{key} all"))));
    ListView {
        title: "Changed".into(),
        notes,
        columns: vec![Column::left("TIME", 5, 5, 0), Column::text("WHAT", 20, 0)],
        rows: rows.iter().take(room).cloned().collect(),
        total: rows.len(),
        ..ListView::default()
    }
}

/// Builds the last line with the recent changes. If `brief` is set, the line has little room.
pub fn changes(ui: &Ui, world: &World, cluster: &Cluster, brief: bool) -> Vec<Cell> {
    let key =
        ui.key(command::Cmd::Open(ListId::Timeline)).map_or_else(String::new, |key| format!("{key} all"));
    let mut line = vec![cell(Role::Title, format!("changed {}m", ClusterState::window_minutes()))];
    line.push(cell(Role::Key, key));
    line.push(cell(Role::Title, ":"));
    let head = line.len();
    for (i, (name, told)) in told(ui, world, cluster).into_iter().take(12).enumerate() {
        if i > 0 {
            line.push(cell(Role::Dim, "·"));
        }
        line.push(cell(Role::Dim, told.change.at.clock()));
        line.extend(name);
        line.push(cell(Role::Text, words(&told, brief)));
    }
    if line.len() == head {
        // these sources report changes, so a source that is not read can hide some
        let tells = |u: &seen::Unseen| matches!(u.source.as_str(), "nodes" | "deployments" | "replicasets");
        let blind = seen::unseen(cluster).iter().any(tells);
        line.push(cell(Role::Dim, if blind { "not known: not all is read" } else { "no changes" }));
    }
    line
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, world: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    ui.rows.causes = cluster.derived.causes.clone();
    if is_everywhere(ui, world) {
        let of = |cluster: &Arc<Cluster>| {
            let id = cluster.id();
            cluster.derived.causes.iter().map(move |cause| (id, cause.clone())).collect::<Vec<_>>()
        };
        let mut all: Everywhere = world.live().flat_map(of).collect();
        all.sort_by(|a, b| order(&a.1, &b.1).then(a.0.cmp(&b.0)));
        let name = |id| world.cluster(id).map_or("", |cluster| cluster.info.name().as_str());
        list.sorted = indexes(&all, |(id, cause)| passes_in(cause, name(*id), spec));
        ui.rows.everywhere = all;
        return;
    }
    let found = &cluster.derived.causes;
    list.sorted = indexes(found, |c| passes(c, spec));
    settle(found, &mut list.sorted, &mut list.selected, ui.folds_now());
}

/// Returns the identity of a row, whether it stands for one cause or several.
pub fn key_of(s: &Shown<'_>, row: u32) -> Option<Uid> {
    if is_everywhere(s.ui, s.world) {
        let (id, cause) = s.ui.rows.everywhere.get(row as usize)?;
        return Some(if *id == s.ui.cluster { key(cause) } else { far_key(*id, cause) });
    }
    let cause = s.cluster.derived.causes.get((row & !FOLDED) as usize)?;
    Some(if row & FOLDED == 0 { key(cause) } else { fold_key(cause) })
}

/// Builds one row, whether it stands for one cause or several.
pub fn row_of(s: &Shown<'_>, row: u32) -> Option<RowView> {
    let ui = s.ui;
    if is_everywhere(ui, s.world) {
        let (id, cause) = ui.rows.everywhere.get(row as usize)?;
        let cluster = s.world.cluster(*id)?;
        let mut view = one(s, cluster, cause);
        let name = cell(ui.tint(s.world, &cluster.info), cluster.info.name().as_str());
        if let Some(first) = view.cells.first_mut() {
            first.text = format!("{} {}", name.text, first.text);
        }
        view.lead = Some((0, name));
        return Some(view);
    }
    let all = &s.cluster.derived.causes;
    let cause = all.get((row & !FOLDED) as usize)?;
    if row & FOLDED != 0 {
        return Some(folded_row(all, cause, &ui.keymap, ui.now));
    }
    Some(one(s, s.cluster, cause))
}

/// Builds the row of one cause of a cluster.
fn one(s: &Shown<'_>, cluster: &Cluster, cause: &Cause) -> RowView {
    let mut view = row(cause, &s.ui.keymap, s.ui.now_in(s.world, cluster.id()), s.ui.size.0 < 110);
    let command = cause.action.as_ref().and_then(|a| command::of(a.command().into()));
    if let (Some(command), Some(keys)) = (command, view.cells.last_mut())
        && !permitted(cluster, command.cmd)
    {
        keys.role = Role::Dim;
    }
    view
}

/// Returns the main object of the cause.
pub fn object_of(s: &Shown<'_>, uid: &Uid) -> Option<ObjectRef> {
    of_key(s.ui, s.world, uid)?.1.objects.first().cloned()
}

/// Counts the causes, and the silenced ones.
pub fn counts(s: &Shown<'_>) -> Vec<Cell> {
    let spec = s.here();
    let all = is_everywhere(s.ui, s.world);
    let shown =
        || s.world.live().map(|cluster| &**cluster).filter(|cluster| all || cluster.id() == s.cluster.id());
    let causes = |cluster: &Cluster| {
        let name = if all { cluster.info.name().as_str() } else { "" };
        cluster.derived.causes.iter().filter(|c| passes_in(c, name, &spec)).count()
    };
    // an earlier moment has a world of its own
    let n: usize = if all { shown().map(causes).sum() } else { causes(s.cluster) };
    let mut notes = if n > 0 { vec![plain(text::count(n, "cause"))] } else { Vec::new() };
    if all {
        notes.push(cell(Role::Info, format!("in {}", text::count(shown().count(), "cluster"))));
    }
    let hidden =
        |cluster: &Cluster| cluster.derived.silenced.iter().filter(|s| passes(&s.cause, &spec)).count();
    let silenced: usize = if all { shown().map(hidden).sum() } else { hidden(s.cluster) };
    if silenced > 0 {
        notes.push(cell(Role::Dim, format!("{silenced} silenced")));
    }
    notes
}

/// Explains why there are no causes.
pub fn state(s: &Shown<'_>) -> State {
    State { why_empty: empty_in(s.ui, s.world, s.cluster), ..State::default() }
}
