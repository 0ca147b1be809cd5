//! The state of a list: its filter, order, marks and selection. The selection is the identity of an object and never
//! a row number. The rows are IDs of what the list shows. They are sorted once, and repaired where the table changes.

pub mod held;
pub mod known;

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::facts::table::{CHUNK, Row, Table};

use self::held::Held;
pub use self::known::Known;
pub use super::filter::{Filter, NO_MORE};

/// Identifies a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListId {
    Now,
    Nodes,
    Traffic,
    Errors,
    Autoscalers,
    Workloads,
    Pods,
    Backends,
    Slices,
    Alerts,
    Actions,
    Timeline,
    Events,
    Namespaces,
    Clusters,
    Elsewhere,
    Table,
}

impl ListId {
    /// The number of lists.
    pub const COUNT: usize = Self::Table as usize + 1;
}

/// The inputs of a list's rows, in addition to its table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    pub filter: Filter,
    pub order: usize,
    pub reverse: bool,
    pub namespace: Option<Name>,
    /// The owner, node or Service that the rows belong to.
    pub scope: String,
    /// Changes when an input other than the table changes.
    pub salt: u64,
}

/// The table that the rows of a list were built from, to detect changes.
#[derive(Debug)]
pub struct Base<T> {
    table: Option<Table<T>>,
    spec: Spec,
}

impl<T> Default for Base<T> {
    fn default() -> Self {
        Self { table: None, spec: Spec::default() }
    }
}

impl<T: Row> Base<T> {
    /// Updates `ids` (slots of the table, in order). Sorts all rows only if the `Spec` or most of the table has
    /// changed. Otherwise, replaces the rows of changed chunks. Returns `true` if `ids` has been updated.
    pub fn refresh(
        &mut self,
        ids: &mut Vec<u32>,
        table: &Table<T>,
        spec: &Spec,
        passes: impl Fn(&T) -> bool,
        order: impl Fn(&T, &T) -> Ordering,
    ) -> bool {
        let by = |a: &(u32, &Arc<T>), b: &(u32, &Arc<T>)| order(a.1, b.1).then(a.0.cmp(&b.0));
        let changed = match &self.table {
            Some(old) if self.spec == *spec => Some(table.changed_chunks(old)),
            _ => None,
        };
        match changed {
            Some(changed) if changed.is_empty() => return false,
            Some(changed) if changed.len() * CHUNK * 4 < table.len() => {
                let touched: HashSet<usize> = changed.iter().copied().collect();
                ids.retain(|slot| !touched.contains(&(*slot as usize / CHUNK)));
                let mut fresh: Vec<(u32, &Arc<T>)> =
                    changed.iter().flat_map(|c| table.chunk(*c)).filter(|(_, row)| passes(row)).collect();
                fresh.sort_unstable_by(by);
                let mut merged = Vec::with_capacity(ids.len() + fresh.len());
                let mut rest = ids.as_slice();
                for new in fresh {
                    let at = rest.partition_point(|slot| {
                        table.at(*slot).is_some_and(|row| by(&(*slot, row), &new) == Ordering::Less)
                    });
                    let (before, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
                    merged.extend_from_slice(before);
                    merged.push(new.0);
                    rest = after;
                }
                merged.extend_from_slice(rest);
                *ids = merged;
            }
            _ => {
                let mut rows: Vec<(u32, &Arc<T>)> = table.slots().filter(|(_, row)| passes(row)).collect();
                rows.sort_unstable_by(by);
                *ids = rows.into_iter().map(|(slot, _)| slot).collect();
            }
        }
        self.table = Some(table.clone());
        self.spec = spec.clone();
        true
    }
}

/// The rows of a list that a frame shows.
#[derive(Clone, Debug, Default)]
pub struct DrawnRows {
    /// The index of the first of them among all rows.
    pub first: usize,
    pub uids: Vec<Option<Uid>>,
}

/// The state of one list.
#[derive(Clone, Debug, Default)]
pub struct List {
    pub filter: Filter,
    pub order: usize,
    /// Whether the order is reversed.
    pub reverse: bool,
    pub marks: BTreeSet<Uid>,
    last_mark: Option<Uid>,
    pub selected: Option<Uid>,
    /// The index of the selected row, to find it quickly and to select a neighbor if it disappears.
    pub at: usize,
    pub top: usize,
    /// The number of visible rows in the last frame.
    pub page: usize,
    /// The visible columns in the last frame, by their index.
    pub drawn: Vec<usize>,
    /// Whether the user has moved the selection. Before that, the selection stays on the first row.
    pub moved: bool,
    pub known: Known,
    /// The filter and the namespace of the rows; None: there are no rows yet. A filter that is typed and confirmed in one
    /// go has not been drawn when the next key comes, and this tells that the rows are still those before it.
    pub narrowed: Option<(Filter, Option<Name>)>,
    /// The rows that the last frame showed. A key that comes with the next World, before its frame, moves among these: the numbers
    /// in `ids` can stand for other objects.
    pub keys: DrawnRows,
    /// The rows as shown.
    pub ids: Vec<u32>,
    /// The rows in the order of the list. The shown rows can differ, because rows keep their places for a while.
    pub sorted: Vec<u32>,
    pub held: Held,
}

impl List {
    /// Finds the selected object after the rows have changed. `key` returns the identity of a row. Returns the
    /// identity of the previous object if it is gone and the selection moved to another one.
    pub fn settle(&mut self, focused: bool, key: impl Fn(u32) -> Option<Uid>) -> Option<Uid> {
        let mut lost = None;
        if self.ids.is_empty() {
            self.at = 0;
            self.top = 0;
            return None;
        }
        if !self.moved && !focused {
            self.selected = None;
        }
        let here = |at: usize| self.ids.get(at).and_then(|id| key(*id));
        match &self.selected {
            Some(wanted) if here(self.at).as_ref() == Some(wanted) => {}
            Some(wanted) => {
                if let Some(at) = self.ids.iter().position(|id| key(*id).as_ref() == Some(wanted)) {
                    self.at = at;
                } else {
                    lost = self.moved.then(|| wanted.clone());
                    self.at = if self.moved { self.at.min(self.ids.len() - 1) } else { 0 };
                    self.selected = here(self.at);
                }
            }
            None => {
                self.at = 0;
                self.selected = here(0);
            }
        }
        if !self.moved && self.at >= self.page.max(1) {
            // the user did not choose this row, and following it would scroll the worst rows off the screen
            self.at = 0;
            self.selected = here(0);
        }
        lost
    }

    /// Returns the selected row if it is visible, because keys must not act on a row that the filter hides.
    pub fn chosen(&self) -> Option<&Uid> {
        self.selected.as_ref().filter(|_| !self.ids.is_empty())
    }

    /// Returns the first row of a page of `page` rows that contains the selected row.
    pub fn top_of(&self, page: usize) -> usize {
        let last = self.ids.len().saturating_sub(page);
        self.top.min(last).min(self.at).max((self.at + 1).saturating_sub(page.max(1)))
    }

    /// Moves the selection by rows.
    pub fn step(&mut self, by: isize, key: impl Fn(u32) -> Option<Uid>) {
        let last = self.ids.len().saturating_sub(1);
        let before = self.known.clone();
        let is_known = before.is(self.chosen());
        self.go(self.at.saturating_add_signed(by).min(last), key);
        match (&mut self.known, before) {
            // nobody knows the row that is next to one that was not shown
            (known, before) if !is_known => *known = before,
            (Known::Row { from, .. }, Known::Row { from: before, .. }) => *from = before,
            _ => {}
        }
    }

    /// Moves the selection to a row.
    pub fn go(&mut self, at: usize, key: impl Fn(u32) -> Option<Uid>) {
        self.moved = true;
        self.at = at.min(self.ids.len().saturating_sub(1));
        self.selected = self.key_at(self.at, key);
        // a row that is not on the screen becomes known when a frame shows it
        if let (Some(selected), true) = (&self.selected, !self.known.is_undrawn() && self.is_drawn(self.at)) {
            self.known.chooses(selected.clone());
        }
    }

    /// Returns the identity of a row, as it was drawn if it was visible.
    fn key_at(&self, at: usize, key: impl Fn(u32) -> Option<Uid>) -> Option<Uid> {
        let id = *self.ids.get(at)?;
        self.drawn_at(at).map_or_else(|| key(id), Clone::clone)
    }

    fn drawn_at(&self, at: usize) -> Option<&Option<Uid>> {
        self.keys.uids.get(at.checked_sub(self.keys.first)?)
    }

    fn is_drawn(&self, at: usize) -> bool {
        self.drawn_at(at).is_some()
    }

    /// Selects a row that the user chose by its name.
    pub fn choose(&mut self, row: Uid) {
        self.known.chooses(row.clone());
        (self.selected, self.moved) = (Some(row), true);
    }

    /// Moves to the first row and resets `moved`.
    pub fn to_top(&mut self) {
        (self.at, self.top, self.moved, self.selected) = (0, 0, false, None);
        self.known.forgets();
    }

    /// Marks or unmarks the selected row, unless the filter hides it.
    pub fn mark(&mut self) {
        self.marks_known();
        if let Some(selected) = self.chosen().cloned() {
            if !self.marks.remove(&selected) {
                self.marks.insert(selected.clone());
            }
            self.last_mark = Some(selected);
        }
    }

    /// Marks all rows from the last marked one to the selected one.
    pub fn mark_range(&mut self, key: impl Fn(u32) -> Option<Uid>) {
        self.marks_known();
        if self.ids.is_empty() {
            return;
        }
        let from = self
            .last_mark
            .as_ref()
            .and_then(|m| (0..self.ids.len()).find(|at| self.key_at(*at, &key).as_ref() == Some(m)));
        let from = from.unwrap_or(self.at);
        let (a, b) = (from.min(self.at), from.max(self.at));
        for at in a..=b {
            if let Some(uid) = self.key_at(at, &key) {
                self.marks.insert(uid);
            }
        }
        self.last_mark = self.selected.clone();
    }

    /// A mark on a row that was not shown as selected must be drawn before a key acts on it.
    fn marks_known(&mut self) {
        if !self.known.is(self.chosen()) {
            self.known.forgets();
        }
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::Version;
    use pilothouse_core::facts::table::Rows;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Item(Uid, u64, u32);
    impl Row for Item {
        fn uid(&self) -> &Uid {
            &self.0
        }
        fn version(&self) -> Version {
            Version(self.1)
        }
        fn namespace(&self) -> &'static str {
            ""
        }
        fn same_content(&self, other: &Self) -> bool {
            self.2 == other.2
        }
    }

    fn uid(n: u32) -> Uid {
        Uid::Uuid(u128::from(n))
    }

    #[test]
    fn a_repaired_order_equals_a_sorted_one() {
        let mut rows = Rows::default();
        for n in 0..5000u32 {
            rows.upsert(Item(uid(n), 1, n.wrapping_mul(2_654_435_761) % 1000));
        }
        let spec = Spec::default();
        let passes = |i: &Item| !i.2.is_multiple_of(7);
        let order = |a: &Item, b: &Item| a.2.cmp(&b.2);
        let (mut base, mut ids) = (Base::default(), Vec::new());
        base.refresh(&mut ids, rows.table(), &spec, passes, order);
        for round in 0..30u32 {
            for n in 0..5 {
                let id = (round * 97 + n * 13) % 5200;
                rows.upsert(Item(uid(id), 2 + u64::from(round), round * 31 + n));
            }
            rows.remove(&uid(round * 7), Version(0));
            assert!(base.refresh(&mut ids, rows.table(), &spec, passes, order));
            let (mut whole, mut want) = (Base::default(), Vec::new());
            whole.refresh(&mut want, rows.table(), &spec, passes, order);
            assert_eq!(ids, want);
        }
        assert!(!base.refresh(&mut ids, rows.table(), &spec, passes, order), "nothing changed, nothing done");
    }

    #[test]
    fn the_selection_follows_the_object() {
        let mut list = List { ids: vec![1, 2, 3], ..List::default() };
        list.settle(true, |id| Some(uid(id)));
        list.step(1, |id| Some(uid(id)));
        assert_eq!(list.selected, Some(uid(2)));
        list.ids = vec![9, 8, 1, 3, 2];
        assert_eq!(list.settle(true, |id| Some(uid(id))), None);
        assert_eq!((list.at, list.selected.clone()), (4, Some(uid(2))));
        list.ids = vec![9, 8, 1, 3];
        assert_eq!(list.settle(true, |id| Some(uid(id))), Some(uid(2)), "told that it is gone");
        assert_eq!(list.selected, Some(uid(3)));
    }

    #[test]
    fn untouched_and_unfocused_it_stays_on_the_worst() {
        let mut list = List { ids: vec![1, 2], page: 3, ..List::default() };
        list.settle(false, |id| Some(uid(id)));
        list.ids = vec![5, 1, 2];
        list.settle(false, |id| Some(uid(id)));
        assert_eq!(list.selected, Some(uid(5)));
        list.settle(true, |id| Some(uid(id)));
        list.ids = vec![7, 5, 1];
        list.settle(true, |id| Some(uid(id)));
        assert_eq!(list.selected, Some(uid(5)), "what a person looks at does not slip away");
        list.ids = vec![1, 2, 3, 4, 5];
        list.settle(true, |id| Some(uid(id)));
        assert_eq!(list.selected, Some(uid(1)), "but it does not hide the worst either");
        list.step(3, |id| Some(uid(id)));
        list.ids = vec![9, 1, 2, 3, 5, 4];
        list.settle(true, |id| Some(uid(id)));
        assert_eq!(list.selected, Some(uid(4)), "what was chosen is followed anywhere");
    }

    #[test]
    fn ranges() {
        let mut list = List { ids: vec![1, 2, 3, 4], ..List::default() };
        let key = |id| Some(uid(id));
        list.settle(true, key);
        list.mark();
        list.go(2, key);
        list.mark_range(key);
        assert_eq!(list.marks.len(), 3);
        list.mark();
        assert_eq!(list.marks.len(), 2);
    }
}
