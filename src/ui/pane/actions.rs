//! The Actions pane: running and past actions, and the job line.

use std::collections::BTreeSet;

use pilothouse_core::domain::id::Uid;
use pilothouse_core::domain::time::{Stamp, age_of_running};
use pilothouse_core::facts::action::undone;
use pilothouse_core::facts::world::{ActionView, Cluster, World};

use super::super::app::Ui;
use super::super::cell::{Cell, RowView, cell, plain};
use super::super::command::{ChangeCmd, Cmd};
use super::super::list::{List, ListId, Spec};
use super::super::rows::actions::{grade, is_left, key, state, steps, title};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::Shown;
use super::orders::indexes;

/// The columns. CONTEXT is shown only if actions of other clusters are listed.
pub const COLUMNS: [Column; 6] = [
    Column::left("ACTION", 20, 60, 0),
    CONTEXT,
    Column::left("STATE", 9, 10, 0),
    Column::left("STEPS", 7, 12, 2).whole(),
    Column::right("STARTED", 7, 8, 4),
    Column::text("NOW", 16, 3),
];

const CONTEXT: Column = Column::left("CONTEXT", 7, 30, 1);

/// Whether the list contains the action: actions of this cluster, or of all clusters if `all` is set.
pub fn passes(action: &ActionView, ui: &Ui, cluster: &Cluster, spec: &Spec) -> bool {
    let all = ui.all_actions;
    let state = state(action, &ui.rows.undone).to_owned();
    let mut texts = vec![title(action), state, steps(action), action.message.clone()];
    if all {
        texts.push(action.plan.intent.context.to_string());
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    (all || action.is_of(cluster)) && spec.filter.passes(&texts)
}

/// Counts the actions of other clusters, for the title.
pub fn counts(s: &Shown<'_>) -> Vec<Cell> {
    let others = s.world.actions.iter().filter(|a| !a.is_of(s.cluster)).count();
    match (others, s.ui.all_actions, s.ui.key_of(ListId::Actions, Cmd::AllActions)) {
        (0, ..) => Vec::new(),
        (_, true, _) => vec![cell(Role::Info, "of all clusters")],
        (n, false, key) => {
            let key = key.map_or_else(String::new, |k| format!(": {k} shows them"));
            vec![cell(Role::Dim, format!("{n} of other clusters{key}"))]
        }
    }
}

/// Builds one row. An action is timed by the server of its cluster.
pub fn row_of(s: &Shown<'_>, row: u32) -> Option<RowView> {
    let action = s.world.actions.get(row as usize)?;
    Some(self::row(action, state(action, &s.ui.rows.undone), s.ui.now_in(s.world, action.cluster)))
}

/// Builds the row of an action, with its state in one word.
pub fn row(action: &ActionView, state: &'static str, now: Stamp) -> RowView {
    let grade = grade(action);
    let mut message = action.message.clone();
    // the owner no longer matters after the action has ended
    if action.foreign && action.outcome.is_none() {
        message = format!("in another process: {message}");
    }
    let cells = vec![
        cell(Role::Strong, title(action)),
        plain(action.plan.intent.context.as_str()),
        cell(grade.role(), state),
        plain(steps(action)),
        cell(Role::Dim, age_of_running(now.since(action.started))),
        plain(message),
    ];
    RowView { grade, cells, ..RowView::default() }
}

/// Describes an action of this cluster whose process ended before the action did, and which key to press.
pub fn unfinished(ui: &Ui, world: &World, cluster: &Cluster) -> Vec<Cell> {
    let mut found = world.actions.iter().filter(|a| a.unfinished && a.is_of(cluster));
    let Some(action) = found.next() else { return Vec::new() };
    let more = found.count();
    let mut line = vec![cell(Role::Warning, "! unfinished:"), cell(Role::Strong, title(action))];
    let keys = (
        ui.key(Cmd::Open(ListId::Actions)),
        ui.key_of(ListId::Actions, Cmd::Change(ChangeCmd::ResumeAction)),
        ui.key_of(ListId::Actions, Cmd::CancelAction),
    );
    if let (Some(list), Some(resume), Some(dismiss)) = keys {
        line.push(cell(Role::Key, format!("· {list}, then {resume} resumes or {dismiss} dismisses it")));
    }
    if more > 0 {
        line.push(cell(Role::Dim, format!("(+{more} more)")));
    }
    line
}

/// How long an action stays in the job line after it ended.
const STAYS_SECS: u64 = 60;

/// Builds the job line. It is empty if no action is running and none ended recently.
pub fn job(ui: &Ui, world: &World) -> Vec<Cell> {
    let ours = || world.actions.iter().filter(|a| !a.foreign);
    let running: Vec<_> = ours().filter(|a| a.outcome.is_none()).collect();
    // nothing is known of the clock of a cluster that was closed, so nothing tells how long ago its action ended
    let is_live = |a: &ActionView| world.cluster(a.cluster).is_some_and(|c| c.link.is_live());
    let ended = |a: &ActionView, at| ui.now_in(world, a.cluster).secs_since(at) < STAYS_SECS;
    let recent = ours().find(|a| is_live(a) && a.ended.is_some_and(|at| ended(a, at)));
    let Some(action) = running.first().copied().or(recent) else { return Vec::new() };
    // the undo of an action is newer, and has the line itself
    let (grade, state) = (grade(action), state(action, &BTreeSet::new()));
    let mut line = vec![
        cell(Role::Job, "JOB"),
        cell(Role::Strong, title(action)),
        cell(grade.role(), format!("{} {state}", grade.glyph().trim()).trim().to_owned()),
        plain(format!("{} steps", steps(action))),
    ];
    if world.has_several() {
        line.insert(2, plain(format!("in {}", action.plan.intent.context)));
    }
    let (view, resume) = (
        ui.key(Cmd::Open(ListId::Actions)),
        ui.key_of(ListId::Actions, Cmd::Change(ChangeCmd::ResumeAction)),
    );
    if let (Some(view), Some(resume), true) = (&view, resume, is_left(action)) {
        // the key precedes the reason, because the reason can be long
        line.push(cell(Role::Key, format!("· {view}, then {resume} resumes it")));
    }
    if !action.message.is_empty() {
        line.push(plain(format!("· {}", action.message)));
    }
    if running.len() > 1 {
        line.push(cell(Role::Info, format!("· {} more running", running.len() - 1)));
    }
    if let Some(key) = view.filter(|_| !is_left(action)) {
        line.push(cell(Role::Key, format!("· {key} view")));
    }
    line
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, world: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    ui.rows.undone = undone(&world.actions);
    list.sorted = indexes(&world.actions, |a| passes(a, ui, cluster, spec));
}

/// Shows the CONTEXT column only if actions of other clusters are listed.
pub fn adjust(ui: &Ui, column: Column) -> Option<Column> {
    Some(column).filter(|column| ui.all_actions || column.head != CONTEXT.head)
}

/// Selects the running action, otherwise an unfinished one, otherwise the newest.
pub fn opens_on(s: &Shown<'_>) -> Option<Uid> {
    let here = || s.world.actions.iter().filter(|a| a.is_of(s.cluster));
    let runs = here().find(|a| a.outcome.is_none() && !a.foreign);
    // the next choice is an unfinished action, because the job line mentioned it
    let first = runs.or_else(|| here().find(|a| a.unfinished)).or_else(|| here().next());
    first.map(|a| key(a))
}
