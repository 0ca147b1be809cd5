//! Queries on the table of panes.

use std::collections::BTreeSet;

use pilothouse_core::domain::id::{Kind, ObjectRef, Uid};
use pilothouse_core::facts::table::{Coverage, Freshness};
use pilothouse_core::facts::world::{Cluster, World};

use super::super::app::{PastMetrics, Screen, TextSource, Ui};
use super::super::cell::{RowView, cell};
use super::super::command::{Cmd, Context};
use super::super::key::Key;
use super::super::list::{ListId, Spec};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::novelty::Novelty;
use super::sources::{self, State};
use super::{PANES, Pane, Place};

/// The input of a pane's functions: the state of the screen and the cluster that is shown.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub ui: &'a Ui,
    pub world: &'a World,
    pub cluster: &'a Cluster,
}

impl<'a> Shown<'a> {
    /// Returns `None` if no cluster is connected.
    pub fn of(ui: &'a Ui, world: &'a World) -> Option<Self> {
        Some(Self { ui, world, cluster: ui.shown(world)? })
    }

    /// Returns a `Spec` that selects all rows of the selected namespace. Counts exclude rows of other namespaces too.
    pub fn here(&self) -> Spec {
        Spec { namespace: self.ui.namespace.clone(), ..Spec::default() }
    }

    /// Returns when error groups count as new.
    pub fn novelty(&self) -> Novelty {
        Novelty::of(self.cluster, self.ui.new_since, self.ui.now)
    }

    /// Returns the state of data that the history does not keep, while the clock is moved.
    pub fn unknown_then() -> State {
        let mut state =
            State::empty("not known at that time: only states, counts, findings and changes are kept");
        state.notes.push(cell(Role::Dim, "not known then"));
        state
    }

    /// Returns the state of a pane's rows: of its source, or of the history while the clock is moved.
    pub fn state(&self, pane: &Pane) -> State {
        if self.ui.past.is_none() {
            return (pane.state)(self);
        }
        if pane.kept.is_some_and(|is_known| is_known(self.cluster)) {
            let is_known = self.ui.past.as_ref().is_some_and(|past| past.metrics == PastMetrics::Known);
            let mut state = State::default();
            if pane.measures && !is_known {
                state.notes.push(cell(Role::Dim, "metrics not known then"));
            }
            state
        } else {
            Self::unknown_then()
        }
    }

    /// Returns how completely the pods were read that the counts of nodes are from. The history keeps only complete
    /// counts.
    pub fn cover_of_counts(&self) -> &'a Coverage {
        if self.ui.past.is_some() { &Coverage::Complete } else { &self.cluster.pods.cover }
    }

    /// Returns the state of a table's source.
    pub fn table(&self, source: &str, cover: &Coverage, fresh: Freshness) -> State {
        sources::of_table(self.cluster, source, cover, fresh, self.ui.now)
    }
}

/// Returns the pane of a list.
pub fn of(id: ListId) -> &'static Pane {
    PANES.get(id as usize).unwrap_or(&PANES[0])
}

/// Returns the panes of the first screen, starting at the top.
pub fn on_first_screen() -> impl DoubleEndedIterator<Item = &'static Pane> + Clone {
    PANES.iter().filter(|pane| matches!(pane.place, Place::Top | Place::First))
}

/// Returns the pane that this key context belongs to exclusively.
pub fn in_context(context: Context) -> Option<&'static Pane> {
    PANES.iter().find(|pane| pane.contexts.first() == Some(&context) && context != Context::Lists)
}

/// Returns the pane that lists a kind.
pub fn of_kind(kind: &Kind) -> Option<&'static Pane> {
    PANES.iter().find(|pane| pane.kinds.contains(kind))
}

/// Returns the identity of row `row` of a list.
pub fn key(ui: &Ui, world: &World, id: ListId, row: u32) -> Option<Uid> {
    (of(id).key)(&Shown::of(ui, world)?, row)
}

/// Returns the object that a row is about.
pub fn object(ui: &Ui, world: &World, id: ListId, uid: &Uid) -> Option<ObjectRef> {
    (of(id).object)(&Shown::of(ui, world)?, uid)
}

/// Returns the objects that rows are about, in the order of their identities.
pub fn objects(ui: &Ui, world: &World, id: ListId, uids: &BTreeSet<Uid>) -> Vec<ObjectRef> {
    let Some(shown) = Shown::of(ui, world) else { return Vec::new() };
    if id != ListId::Pods {
        return uids.iter().filter_map(|uid| (of(id).object)(&shown, uid)).collect();
    }
    // there can be very many pods: one walk over all of them, and not one for each row
    let pods = shown.cluster.pods.iter().filter(|pod| uids.contains(&pod.uid));
    let mut found: Vec<ObjectRef> = pods.map(|pod| pod.reference(shown.cluster.id())).collect();
    found.sort_by(|a, b| a.uid.cmp(&b.uid));
    found
}

/// Returns the columns of a list for the current screen, each with its index in the table.
pub fn columns(ui: &Ui, id: ListId) -> Vec<(usize, Column)> {
    let pane = of(id);
    if let Some(heads) = pane.printed {
        let column = |i: u8| match i {
            0 => Column::name("", 10, 60),
            i => Column::left("", 4, 40, i.min(200)),
        };
        return (0u8..).zip(heads(ui)).map(|(i, _)| (usize::from(i), column(i))).collect();
    }
    let column = |at: usize| Some((at, (pane.adjust)(ui, *pane.columns.get(at)?)?));
    match ui.columns.get(&id) {
        Some(own) => own.iter().filter_map(|at| column(*at)).collect(),
        None => (0..pane.columns.len()).filter_map(column).collect(),
    }
}

/// Returns a row of a list, with a cell for each of these columns.
pub fn row(shown: &Shown<'_>, id: ListId, columns: &[(usize, Column)], row: u32) -> Option<RowView> {
    let mut view = (of(id).row)(shown, row)?;
    if columns.iter().map(|(at, _)| *at).ne(0..view.cells.len()) {
        view.cells = columns.iter().map(|(at, _)| view.cells.get(*at).cloned().unwrap_or_default()).collect();
    }
    Some(view)
}

impl Ui {
    /// Returns the contexts in which a key is looked up, the narrowest first.
    pub fn contexts(&self) -> &'static [Context] {
        if self.dialog.is_some() || self.question.is_some() {
            return &[Context::Dialog];
        }
        if self.sheet.is_some() {
            return &[Context::Sheet];
        }
        self.contexts_of(self.screen())
    }

    /// Returns the key to show for a command on this screen. A dialog over it does not change what the screen says.
    pub fn key(&self, cmd: Cmd) -> Option<Key> {
        self.keymap.key_in(self.contexts_of(self.screen()), cmd)
    }

    /// Returns the key to show for a command in a pane, wherever the person is.
    pub fn key_of(&self, pane: ListId, cmd: Cmd) -> Option<Key> {
        self.keymap.key_in(super::of(pane).contexts, cmd)
    }

    /// Returns the contexts of the screen below the top one. Help needs them, because help is a screen itself and
    /// describes the screen below it.
    pub fn contexts_below(&self) -> &'static [Context] {
        self.screens.iter().rev().nth(1).map_or(&[Context::Everywhere], |below| self.contexts_of(below))
    }

    fn contexts_of(&self, screen: &Screen) -> &'static [Context] {
        use Context::{Actions, Alerts, Everywhere, Log, Objects, Text};
        match screen {
            Screen::Text(view) if matches!(view.source, TextSource::Action(_)) => {
                &[Actions, Text, Everywhere]
            }
            Screen::Text(view) if matches!(view.source, TextSource::Alert(_)) => {
                &[Alerts, Text, Objects, Everywhere]
            }
            Screen::Text(view) if view.about().is_some() => &[Text, Objects, Everywhere],
            Screen::Text(_) => &[Text, Everywhere],
            Screen::Log(_) => &[Log, Everywhere],
            Screen::Plots(_) => &[Context::Plots, Everywhere],
            Screen::List(id) => of(*id).contexts,
            Screen::Panes => of(self.focus).contexts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_has_its_pane_and_every_name_is_another() {
        for (at, pane) in PANES.iter().enumerate() {
            assert_eq!((pane.id as usize, of(pane.id).name), (at, pane.name));
            let same = |other: &&Pane| other.name == pane.name;
            assert_eq!(PANES.iter().filter(same).count(), 1, "{}", pane.name);
            assert!(!pane.name.is_empty() && pane.contexts.last() == Some(&Context::Everywhere));
            assert_eq!(pane.columns.is_empty(), pane.printed.is_some(), "{}", pane.name);
        }
    }

    #[test]
    fn every_order_is_by_a_column_that_there_is() {
        for pane in PANES.iter().filter(|pane| !pane.orders.is_empty()) {
            let name = pane.name;
            for order in pane.orders.iter().skip(1) {
                assert!(pane.columns.iter().any(|c| c.head == order.head), "{name} {}", order.name);
            }
            // these columns need no order: the default order sorts by state, and a drawing has no order
            let of_itself = ["", "STATE", "VERDICT", "TREND", "SHARE", "EXP", "METRIC", "ALL METRICS"];
            let drawn = |c: &Column| c.is_drawn() || of_itself.contains(&c.head);
            for column in pane.columns.iter().filter(|c| !drawn(c)) {
                assert!(
                    pane.orders.iter().any(|o| o.head == column.head),
                    "{name} has no order by {}",
                    column.head
                );
            }
        }
    }
}
