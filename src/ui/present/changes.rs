//! View 9: everything that changed in the last hours, by whomever, with the actions of this machine's consoles.

use std::sync::Arc;

use pilothouse_core::domain::id::{Name, ObjectRef, Uid};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::model::changes::fold_for_people;
use pilothouse_core::model::world::{ActionView, Change, ChangeKind, Cluster, World};

use super::super::list::Spec;
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::{Grade, RowView, actions, cell, plain};

/// The columns.
pub const COLUMNS: [Column; 5] = [
    Column::left("TIME", 8, 8, 0),
    Column::right("AGO", 4, 5, 4),
    Column::name("OBJECT", 16, 60),
    Column::text("CHANGE", 20, 0),
    Column::left("BY", 8, 28, 3),
];

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Stamp,
    /// What to open; None for a line that stands for several.
    pub object: Option<ObjectRef>,
    place: String,
    what: String,
    by: String,
    grade: Grade,
    key: Uid,
}

/// What the lines were made from.
type Origin = (Arc<[Arc<Change>]>, Arc<[Arc<ActionView>]>);

/// The lines, newest first, and what they were made from.
#[derive(Debug, Default)]
pub struct Entries {
    pub list: Vec<Entry>,
    of: Option<Origin>,
}

impl Entries {
    /// Makes them anew if there is something new.
    pub fn refresh(&mut self, world: &World, cluster: &Cluster) {
        let changes = &cluster.derived.changes;
        let same = |(a, b): &Origin| Arc::ptr_eq(a, changes) && Arc::ptr_eq(b, &world.actions);
        if self.of.as_ref().is_some_and(same) {
            return;
        }
        self.of = Some((changes.clone(), world.actions.clone()));
        let done = world.actions.iter().filter(|a| a.is_of(cluster)).map(|a| action(a));
        self.list = fold_for_people(changes).iter().map(change).chain(done).collect();
        self.list.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    }
}

fn change(change: &Change) -> Entry {
    let object = Some(change.object.clone()).filter(|o| !o.name.is_empty());
    let place = match &object {
        Some(o) if o.namespace.is_empty() => format!("{}/{}", o.kind.short(), o.name),
        Some(o) => format!("{}/{}/{}", o.namespace, o.kind.short(), o.name),
        None => change.object.namespace.to_string(),
    };
    let grade = match change.kind {
        ChangeKind::Rollout { .. } | ChangeKind::Taints | ChangeKind::Left => Grade::Warning,
        ChangeKind::Autoscaled | ChangeKind::Joined => Grade::Fine,
        _ => Grade::Info,
    };
    Entry {
        at: change.at,
        key: Uid::Text(Name::from(format!("{} {place} {}", change.at.0, change.what))),
        object,
        place,
        what: change.what.clone(),
        by: change.by.as_ref().map(ToString::to_string).unwrap_or_default(),
        grade,
    }
}

fn action(action: &ActionView) -> Entry {
    let object = match action.plan.intent.targets.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    };
    let what = format!("{} {}: {}", action.plan.intent.act.as_str(), actions::state(action), action.message);
    Entry {
        at: action.started,
        place: object.as_ref().map_or_else(|| actions::title(action), ToString::to_string),
        object,
        what: what.trim_end_matches([' ', ':']).to_owned(),
        by: if action.foreign { "pilothouse, another process" } else { "this console" }.to_owned(),
        grade: actions::grade(action).max(Grade::Info),
        key: Uid::Text(Name::from(format!("action {}", action.id))),
    }
}

impl Entry {
    /// The row's identity.
    pub fn key(&self) -> Uid {
        self.key.clone()
    }

    /// How much it may have to do with a trouble.
    pub fn grade(&self) -> Grade {
        self.grade
    }

    /// Whether the filter and the namespace want it.
    pub fn passes(&self, spec: &Spec) -> bool {
        let here = |ns: &Name| match &self.object {
            Some(object) => object.namespace.is_empty() || object.namespace == *ns,
            None => self.place.is_empty() || self.place == ns.as_str(),
        };
        spec.namespace.as_ref().is_none_or(here) && spec.filter.passes(&[&self.place, &self.what, &self.by])
    }

    /// The row.
    pub fn row(&self, now: Stamp) -> RowView {
        RowView {
            grade: self.grade,
            cells: vec![
                cell(Role::Dim, self.at.clock()),
                cell(Role::Dim, age(now.since(self.at))),
                cell(Role::Strong, self.place.as_str()),
                plain(self.what.as_str()),
                cell(Role::Dim, self.by.as_str()),
            ],
            ..RowView::default()
        }
    }
}
