//! The NOW pane: ranked causes and recent changes.

use std::sync::Arc;

use pilothouse_core::domain::cause::FindingCode;
use pilothouse_core::domain::id::{Name, ObjectRef, Uid};
use pilothouse_core::domain::time::{Stamp, age_of_state};
use pilothouse_core::facts::world::{Cause, Cluster, Severity, World};
use pilothouse_core::policy::seen::{self, WhyNot};
use pilothouse_core::state::ClusterState;
use pilothouse_core::state::changes::{fold_for_people, recent, words};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, ListView, RowView, cell, plain};
use super::super::command::{self, permitted};
use super::super::keymap::Keymap;
use super::super::list::{List, ListId, Spec};
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

/// Builds the row that stands for all causes like `first`.
pub fn folded_row(causes: &[Arc<Cause>], first: &Cause, keymap: &Keymap, now: Stamp) -> RowView {
    let grade = grade(first);
    let all: Vec<&Arc<Cause>> = causes.iter().filter(|c| alike(c, first)).collect();
    let names: Vec<String> = all.iter().map(|c| c.in_list()).collect();
    let since = all.iter().filter_map(|c| c.since).min();
    let open = keymap.key(command::Cmd::Why).map_or_else(String::new, |k| format!("{k} all"));
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
    let here = spec.namespace.as_ref().is_none_or(|ns| {
        cause.objects.is_empty() || cause.objects.iter().any(|o| o.namespace.is_empty() || o.namespace == *ns)
    });
    here && spec.filter.passes(&[&cause.to_string(), cause.rule()])
}

/// Builds one row. If `brief` is set, the row shows only one key, to leave room for the text.
pub fn row(cause: &Cause, keymap: &Keymap, now: Stamp, brief: bool) -> RowView {
    let grade = grade(cause);
    let action = cause.action.as_ref().and_then(|a| {
        let command = command::of(a.command().into())?;
        Some(format!("{} {}", keymap.key(command.cmd)?, command.title))
    });
    let why = keymap.key(command::Cmd::Why).map_or_else(String::new, |k| format!("{k} why"));
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

/// Builds the text for an empty list: either there are no problems, or this is not known yet.
pub fn empty(cluster: &Cluster) -> Vec<Cell> {
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

/// Returns one row for each recent change, the newest first.
pub fn change_rows(cluster: &Cluster, namespace: Option<&Name>, now: Stamp) -> Vec<RowView> {
    fold_for_people(recent(&cluster.derived.changes, now))
        .iter()
        .filter(|c| {
            namespace
                .is_none_or(|ns| c.change.object.namespace.is_empty() || c.change.object.namespace == *ns)
        })
        .map(|c| RowView {
            cells: vec![cell(Role::Dim, c.change.at.clock()), plain(words(c, false))],
            ..RowView::default()
        })
        .collect()
}

/// Builds the box with the recent changes.
pub fn changes_view(keymap: &Keymap, rows: &[RowView], room: usize) -> ListView {
    let mut notes = vec![cell(Role::Dim, format!("in the last {} min", ClusterState::window_minutes()))];
    notes.extend(
        keymap.key(command::Cmd::Open(ListId::Timeline)).map(|key| cell(Role::Key, format!("{key} all"))),
    );
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
pub fn changes(ui: &Ui, cluster: &Cluster, brief: bool) -> Vec<Cell> {
    let (namespace, now) = (ui.namespace.as_ref(), ui.now);
    let key = ui
        .keymap
        .key(command::Cmd::Open(ListId::Timeline))
        .map_or_else(String::new, |key| format!("{key} all"));
    let mut line = vec![cell(Role::Title, format!("changed {}m", ClusterState::window_minutes()))];
    line.push(cell(Role::Key, key));
    line.push(cell(Role::Title, ":"));
    let head = line.len();
    let folded = fold_for_people(recent(&cluster.derived.changes, now));
    let wanted = folded.iter().filter(|c| {
        namespace.is_none_or(|ns| c.change.object.namespace.is_empty() || c.change.object.namespace == *ns)
    });
    for (i, change) in wanted.take(12).enumerate() {
        if i > 0 {
            line.push(cell(Role::Dim, "·"));
        }
        line.push(cell(Role::Dim, change.change.at.clock()));
        line.push(cell(Role::Text, words(change, brief)));
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
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    let found = &cluster.derived.causes;
    list.sorted = indexes(found, |c| passes(c, spec));
    settle(found, &mut list.sorted, &mut list.selected, ui.folds_now());
}

/// Returns the identity of a row, whether it stands for one cause or several.
pub fn key_of(s: &Shown<'_>, row: u32) -> Option<Uid> {
    let cause = s.cluster.derived.causes.get((row & !FOLDED) as usize)?;
    Some(if row & FOLDED == 0 { key(cause) } else { fold_key(cause) })
}

/// Builds one row, whether it stands for one cause or several.
pub fn row_of(s: &Shown<'_>, row: u32) -> Option<RowView> {
    let (all, ui) = (&s.cluster.derived.causes, s.ui);
    let cause = all.get((row & !FOLDED) as usize)?;
    if row & FOLDED != 0 {
        return Some(folded_row(all, cause, &ui.keymap, ui.now));
    }
    let mut view = self::row(cause, &ui.keymap, ui.now, ui.size.0 < 110);
    let command = cause.action.as_ref().and_then(|a| command::of(a.command().into()));
    if let (Some(command), Some(keys)) = (command, view.cells.last_mut())
        && !permitted(s.cluster, command.cmd)
    {
        keys.role = Role::Dim;
    }
    Some(view)
}

/// Returns the main object of the cause.
pub fn object_of(s: &Shown<'_>, uid: &Uid) -> Option<ObjectRef> {
    s.cluster.derived.causes.iter().find(|c| key(c) == *uid)?.objects.first().cloned()
}

/// Counts the causes, and the silenced ones.
pub fn counts(s: &Shown<'_>) -> Vec<Cell> {
    let (spec, derived) = (s.here(), &s.cluster.derived);
    let n = derived.causes.iter().filter(|c| passes(c, &spec)).count();
    let mut notes = if n > 0 { vec![plain(text::count(n, "cause"))] } else { Vec::new() };
    let silenced = derived.silenced.iter().filter(|s| passes(&s.cause, &spec)).count();
    if silenced > 0 {
        notes.push(cell(Role::Dim, format!("{silenced} silenced")));
    }
    notes
}

/// Explains why there are no causes.
pub fn state(s: &Shown<'_>) -> State {
    State { why_empty: empty(s.cluster), ..State::default() }
}
