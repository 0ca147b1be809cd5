//! NOW: ranked causes and what changed.

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::model::state::ClusterState;
use pilothouse_core::model::table::Coverage;
use pilothouse_core::model::world::{Cause, Cluster, Severity};

use super::super::command;
use super::super::keymap::Keymap;
use super::super::list::Spec;
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::{Cell, Grade, RowView, cell};

/// The columns.
pub const COLUMNS: [Column; 3] =
    [Column::left("CAUSE", 24, 0, 0), Column::right("SINCE", 4, 5, 3), Column::left("KEY", 9, 40, 5)];

/// A cause's identity: its rule and main object, which stay while its words move.
pub fn key(cause: &Cause) -> Uid {
    let about = cause.objects.first().map_or_else(|| cause.title.clone(), ToString::to_string);
    Uid::Text(Name::from(format!("{} {about}", cause.rule)))
}

/// How bad.
pub fn grade(cause: &Cause) -> Grade {
    match cause.severity {
        Severity::Critical => Grade::Critical,
        Severity::Warning => Grade::Warning,
        Severity::Info => Grade::Info,
    }
}

/// Whether the filter and the namespace want it.
pub fn passes(cause: &Cause, spec: &Spec) -> bool {
    let here = spec.namespace.as_ref().is_none_or(|ns| {
        cause.objects.is_empty() || cause.objects.iter().any(|o| o.namespace.is_empty() || o.namespace == *ns)
    });
    here && spec.filter.passes(&[&cause.title, cause.rule])
}

/// One row.
pub fn row(cause: &Cause, keymap: &Keymap, now: Stamp) -> RowView {
    let grade = grade(cause);
    let action = cause.action.as_ref().and_then(|a| {
        let command = command::by_id(a.command)?;
        Some(format!("{} {}", keymap.key(command.cmd)?, command.title))
    });
    let why = keymap.key(command::Cmd::Why).map_or_else(String::new, |k| format!("{k} why"));
    let keys = action.map_or_else(|| why.clone(), |action| format!("{action}  {why}"));
    RowView {
        grade,
        cells: vec![
            cell(if grade == Grade::Info { Role::Text } else { Role::Strong }, cause.title.as_str()),
            cell(Role::Dim, cause.since.map_or_else(String::new, |s| age(now.since(s)))),
            cell(Role::Key, keys),
        ],
        marked: false,
    }
}

/// What stands there when there is no cause: either all is well, or it cannot be known yet.
pub fn empty(cluster: &Cluster) -> Vec<Cell> {
    let unknown: Vec<&str> = [("nodes", &cluster.nodes.cover), ("pods", &cluster.pods.cover)]
        .into_iter()
        .filter(|(_, cover)| matches!(cover, Coverage::Never | Coverage::Loading { .. }))
        .map(|(name, _)| name)
        .collect();
    if unknown.is_empty() {
        vec![cell(Role::Ok, "nothing wrong found in what can be seen")]
    } else {
        vec![cell(Role::Dim, format!("looking: {} not complete yet", unknown.join(" and ")))]
    }
}

/// The last line: what changed.
pub fn changes(cluster: &Cluster, namespace: Option<&Name>) -> Vec<Cell> {
    let mut line = vec![cell(Role::Title, format!("changed {}m:", ClusterState::window_minutes()))];
    let wanted =
        cluster.derived.changes.iter().filter(|c| {
            namespace.is_none_or(|ns| c.object.namespace.is_empty() || c.object.namespace == *ns)
        });
    for (i, change) in wanted.take(12).enumerate() {
        if i > 0 {
            line.push(cell(Role::Dim, "·"));
        }
        let by = change.by.as_ref().map_or_else(String::new, |by| format!(" ({by})"));
        line.push(cell(Role::Dim, change.at.clock()));
        line.push(cell(Role::Text, format!("{} {}{by}", change.object.name, change.what)));
    }
    if line.len() == 1 {
        line.push(cell(Role::Dim, "nothing seen"));
    }
    line
}
