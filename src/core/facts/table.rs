//! A table of rows that is cheap to publish. The rows are in shared chunks of 64: a snapshot copies only the chunks
//! that changed, and a reader finds the changed rows by comparing chunk pointers.
//!
//! Only the hub writes, through [`Rows`], which adds the index from UID to slot and the generations for mark and sweep.
//! Readers hold the [`Table`].

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::id::{Name, Uid, Version};
pub use crate::domain::row::Row;
use crate::domain::time::Stamp;

/// The number of rows in a chunk.
pub const CHUNK: usize = 64;

type Chunk<T> = Arc<[Option<Arc<T>>; CHUNK]>;

/// Where a row lies. The generation tells a reused slot from the row that was there before.
pub struct RowId<T> {
    pub slot: u32,
    pub generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for RowId<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for RowId<T> {}
impl<T> PartialEq for RowId<T> {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot && self.generation == other.generation
    }
}
impl<T> Eq for RowId<T> {}
impl<T> std::fmt::Debug for RowId<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.slot, self.generation)
    }
}

/// How complete a table is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coverage {
    /// Nothing was received yet, which is not the same as empty.
    #[default]
    Never,
    Loading {
        have: u32,
        of: Option<u32>,
    },
    Complete,
    /// Complete for these namespaces only.
    Namespaces(Arc<[Name]>),
    /// The server denies the access, with the reason as a text.
    Denied(Name),
    /// The server does not have this API.
    NotInstalled,
}

impl Coverage {
    /// True if a count or a plan over the table can rely on it being complete.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }

    /// True if everything that can be read was read: of the cluster, or of the namespaces that the source is limited
    /// to.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Complete | Self::Namespaces(_))
    }

    /// True if the table is complete for one namespace ("": for the whole cluster).
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            // a missing API has no objects
            Self::Complete | Self::NotInstalled => true,
            Self::Namespaces(names) => !namespace.is_empty() && names.iter().any(|n| *n == namespace),
            _ => false,
        }
    }

    /// The text for the user: `48200 of 150000`, `loading`, `denied: …`; None if complete.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Complete => None,
            Self::Never => Some("loading".into()),
            Self::Loading { have, of: Some(of) } => Some(format!("{have} of {of}")),
            Self::Loading { have, of: None } => Some(format!("{have} so far")),
            Self::Namespaces(names) if names.len() == 1 => {
                Some(format!("namespace {} only", names.first().map_or("", |n| n.as_str())))
            }
            Self::Namespaces(names) if names.len() <= 4 => {
                let names: Vec<&str> = names.iter().map(Name::as_str).collect();
                Some(format!("namespaces {} only", names.join(", ")))
            }
            Self::Namespaces(names) => Some(format!("{} namespaces only", names.len())),
            Self::Denied(reason) => Some(format!("denied: {reason}")),
            Self::NotInstalled => Some("not installed".into()),
        }
    }

    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Loading { .. } => "loading",
            Self::Complete => "complete",
            Self::Namespaces(_) => "namespaces",
            Self::Denied(_) => "denied",
            Self::NotInstalled => "not-installed",
        }
    }
}

/// When a table last received data from its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// Since when the source has been failing; None if it works.
    pub stale_since: Option<Stamp>,
}

/// The published rows of one kind. A clone copies one pointer and the coverage.
#[derive(Debug)]
pub struct Table<T> {
    chunks: Arc<Vec<Chunk<T>>>,
    len: usize,
    pub cover: Coverage,
    pub fresh: Freshness,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), len: self.len, cover: self.cover.clone(), fresh: self.fresh }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0, cover: Coverage::default(), fresh: Freshness::default() }
    }
}

impl<T> Table<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All rows, in the order of their slots, which has no meaning for the user.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().flatten())
    }

    /// All rows with their slots.
    pub fn slots(&self) -> impl Iterator<Item = (u32, &Arc<T>)> {
        self.chunks.iter().enumerate().flat_map(|(c, chunk)| {
            chunk.iter().enumerate().filter_map(move |(i, row)| {
                row.as_ref().map(|row| (u32::try_from(c * CHUNK + i).unwrap_or(u32::MAX), row))
            })
        })
    }

    pub fn at(&self, slot: u32) -> Option<&Arc<T>> {
        let slot = slot as usize;
        self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)?.as_ref()
    }

    /// True if the two snapshots hold exactly the same rows.
    pub fn same_rows(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
    }

    /// The chunks (by index) in which this snapshot differs from an older one.
    pub fn changed_chunks(&self, older: &Self) -> Vec<usize> {
        if self.same_rows(older) {
            return Vec::new();
        }
        let longest = self.chunks.len().max(older.chunks.len());
        (0..longest)
            .filter(|i| match (self.chunks.get(*i), older.chunks.get(*i)) {
                (Some(a), Some(b)) => !Arc::ptr_eq(a, b),
                _ => true,
            })
            .collect()
    }

    /// The rows of one chunk with their slots.
    pub fn chunk(&self, index: usize) -> impl Iterator<Item = (u32, &Arc<T>)> {
        self.chunks.get(index).into_iter().flat_map(move |chunk| {
            chunk.iter().enumerate().filter_map(move |(i, row)| {
                row.as_ref().map(|row| (u32::try_from(index * CHUNK + i).unwrap_or(u32::MAX), row))
            })
        })
    }
}

impl<T: Row> Table<T> {
    /// True if all rows of this namespace were read, and none is late.
    pub fn is_current(&self, namespace: &str) -> bool {
        self.cover.covers(namespace) && self.fresh.stale_since.is_none()
    }

    /// Scans all rows: for a key press, not for a loop.
    pub fn by_uid(&self, uid: &Uid) -> Option<&Arc<T>> {
        self.iter().find(|row| row.uid() == uid)
    }
}

/// The effect of one write on a row.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrote<T> {
    Added(Arc<T>),
    Replaced {
        old: Arc<T>,
        new: Arc<T>,
    },
    Removed(Arc<T>),
    /// The version was older than the held one, or there was no such row.
    Ignored,
}

#[derive(Clone, Copy)]
struct SlotEntry {
    slot: u32,
    /// The generation of the last list that had this row.
    seen: u32,
}

/// The hub's side of a table: rows, index, free slots and generations.
pub struct Rows<T> {
    table: Table<T>,
    index: HashMap<Uid, SlotEntry>,
    generations: Vec<u32>,
    free: Vec<u32>,
    /// The generation of the list in progress, or of the last complete one.
    generation: u32,
    listing: bool,
    /// The source sees only some namespaces; at End the coverage becomes [`Coverage::Namespaces`].
    scope: Option<Arc<[Name]>>,
    /// The table was complete once, so a relist does not set it back to Loading.
    complete_once: bool,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self {
            table: Table::default(),
            index: HashMap::new(),
            generations: Vec::new(),
            free: Vec::new(),
            generation: 0,
            listing: false,
            scope: None,
            complete_once: false,
        }
    }
}

impl<T: Row> Rows<T> {
    pub fn table(&self) -> &Table<T> {
        &self.table
    }

    pub fn get(&self, uid: &Uid) -> Option<&Arc<T>> {
        self.table.at(self.index.get(uid)?.slot)
    }

    pub fn id(&self, uid: &Uid) -> Option<RowId<T>> {
        let slot = self.index.get(uid)?.slot;
        let generation = self.generations.get(slot as usize).copied().unwrap_or(0);
        Some(RowId { slot, generation, of: PhantomData })
    }

    /// A list starts: rows that it does not name are deleted at its end.
    pub fn begin(&mut self, generation: u32) {
        self.generation = generation;
        self.listing = true;
        if !self.complete_once {
            self.table.cover = Coverage::Loading { have: 0, of: None };
        }
    }

    /// The server's estimate of the total number, while loading.
    pub fn expect(&mut self, of: u32) {
        if let Coverage::Loading { have, .. } = self.table.cover {
            self.table.cover = Coverage::Loading { have, of: Some(of.max(have)) };
        }
    }

    /// The namespaces that the source can see; None: all.
    pub fn limit_to(&mut self, scope: Option<Arc<[Name]>>) {
        if let (false, Coverage::Namespaces(held), Some(names)) =
            (self.listing, &mut self.table.cover, &scope)
        {
            // one of several namespaces was lost or added
            held.clone_from(names);
        }
        self.scope = scope;
    }

    pub fn deny(&mut self, reason: Name) {
        self.listing = false;
        self.table.cover = Coverage::Denied(reason);
    }

    /// The server does not have this API, so the existing rows are deleted.
    pub fn not_installed(&mut self) -> Vec<Arc<T>> {
        self.listing = false;
        self.complete_once = false;
        self.table.cover = Coverage::NotInstalled;
        self.table.fresh.stale_since = None;
        let all: Vec<Uid> = self.index.keys().cloned().collect();
        let gone = all.iter().filter_map(|uid| match self.remove(uid, Version(0)) {
            Wrote::Removed(row) => Some(row),
            _ => None,
        });
        gone.collect()
    }

    pub fn set_stale(&mut self, since: Option<Stamp>) {
        self.table.fresh.stale_since = since;
    }

    /// Inserts or replaces a row. An older version never replaces a newer one of the same object.
    pub fn upsert(&mut self, row: T) -> Wrote<T> {
        let generation = self.generation;
        if let Some(place) = self.index.get_mut(row.uid()) {
            place.seen = generation;
            let slot = place.slot;
            let Some(old) = self.table.at(slot).cloned() else { return Wrote::Ignored };
            if row.version() < old.version() {
                return Wrote::Ignored;
            }
            let new = Arc::new(row);
            self.set(slot, Some(new.clone()));
            return Wrote::Replaced { old, new };
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(self.generations.len()).unwrap_or(u32::MAX);
            self.generations.push(0);
            slot
        });
        self.index.insert(row.uid().clone(), SlotEntry { slot, seen: generation });
        let new = Arc::new(row);
        self.set(slot, Some(new.clone()));
        self.table.len += 1;
        if let Coverage::Loading { have, of } = self.table.cover {
            let have = have + 1;
            self.table.cover = Coverage::Loading { have, of: of.map(|of| of.max(have)) };
        }
        Wrote::Added(new)
    }

    /// Deletes a row. A deletion with an older version than the row's is ignored (version 0: unknown, always applies).
    pub fn remove(&mut self, uid: &Uid, version: Version) -> Wrote<T> {
        let Some(place) = self.index.get(uid).copied() else { return Wrote::Ignored };
        let Some(old) = self.table.at(place.slot).cloned() else { return Wrote::Ignored };
        if version != Version(0) && version < old.version() {
            return Wrote::Ignored;
        }
        self.index.remove(uid);
        self.set(place.slot, None);
        self.table.len -= 1;
        if let Some(generation) = self.generations.get_mut(place.slot as usize) {
            *generation = generation.wrapping_add(1);
        }
        self.free.push(place.slot);
        Wrote::Removed(old)
    }

    /// The list was complete: deletes the rows that it did not name. A truncated list never gets here.
    pub fn end(&mut self, generation: u32) -> Vec<Arc<T>> {
        if !self.listing || generation != self.generation {
            return Vec::new();
        }
        self.listing = false;
        self.complete_once = true;
        self.table.cover = match &self.scope {
            Some(names) => Coverage::Namespaces(names.clone()),
            None => Coverage::Complete,
        };
        let gone: Vec<Uid> = self
            .index
            .iter()
            .filter(|(_, place)| place.seen != generation)
            .map(|(uid, _)| uid.clone())
            .collect();
        gone.iter()
            .filter_map(|uid| match self.remove(uid, Version(0)) {
                Wrote::Removed(row) => Some(row),
                _ => None,
            })
            .collect()
    }

    fn set(&mut self, slot: u32, row: Option<Arc<T>>) {
        let slot = slot as usize;
        let chunks = Arc::make_mut(&mut self.table.chunks);
        while chunks.len() <= slot / CHUNK {
            chunks.push(Arc::new([const { None }; CHUNK]));
        }
        if let Some(chunk) = chunks.get_mut(slot / CHUNK)
            && let Some(place) = Arc::make_mut(chunk).get_mut(slot % CHUNK)
        {
            *place = row;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Clone)]
    struct Item(Uid, Version, u32);
    impl Row for Item {
        fn uid(&self) -> &Uid {
            &self.0
        }
        fn version(&self) -> Version {
            self.1
        }
        fn namespace(&self) -> &'static str {
            ""
        }
        fn same_content(&self, other: &Self) -> bool {
            self.2 == other.2
        }
    }

    fn item(id: u32, version: u64) -> Item {
        Item(Uid::Uuid(u128::from(id)), Version(version), id)
    }

    #[test]
    fn an_older_version_never_wins() {
        let mut rows = Rows::default();
        rows.upsert(item(1, 5));
        assert_eq!(rows.upsert(item(1, 4)), Wrote::Ignored);
        assert_eq!(rows.remove(&Uid::Uuid(1), Version(4)), Wrote::Ignored);
        assert_eq!(rows.table().len(), 1);
    }

    #[test]
    fn a_list_that_is_cut_off_deletes_nothing() {
        let mut rows = Rows::default();
        rows.begin(1);
        for id in 0..10 {
            rows.upsert(item(id, 1));
        }
        assert_eq!(rows.end(1).len(), 0);
        assert_eq!(rows.table().cover, Coverage::Complete);
        rows.begin(2);
        rows.upsert(item(3, 2));
        assert_eq!(rows.table().len(), 10, "no row is removed before the end token");
        rows.begin(3);
        rows.upsert(item(4, 3));
        assert_eq!(rows.end(2).len(), 0, "an end of another list does not count");
        assert_eq!(rows.end(3).len(), 9);
        assert_eq!(rows.table().len(), 1);
    }

    #[test]
    fn a_snapshot_does_not_move_and_shares_what_did_not_change() {
        let mut rows = Rows::default();
        for id in 0..300 {
            rows.upsert(item(id, 1));
        }
        let before = rows.table().clone();
        rows.upsert(item(7, 2));
        assert_eq!(before.at(7).unwrap().1, Version(1));
        assert_eq!(rows.table().changed_chunks(&before), vec![0]);
        assert!(rows.table().clone().same_rows(rows.table()));
    }

    #[test]
    fn a_reused_slot_is_another_row() {
        let mut rows = Rows::default();
        rows.upsert(item(1, 1));
        let old = rows.id(&Uid::Uuid(1)).unwrap();
        rows.remove(&Uid::Uuid(1), Version(0));
        rows.upsert(item(2, 1));
        let new = rows.id(&Uid::Uuid(2)).unwrap();
        assert_eq!(old.slot, new.slot);
        assert_ne!(old, new);
    }

    proptest! {
        /// Compares with a plain map, for any sequence of upserts, deletes and lists.
        #[test]
        fn equals_a_plain_map(ops in prop::collection::vec((0u8..4, 0u32..40, 1u64..20), 0..200)) {
            let mut rows = Rows::default();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut confirmed: std::collections::BTreeSet<u32> = std::collections::BTreeSet::new();
            let mut generation = 0;
            let mut listing = false;
            for (op, id, version) in ops {
                match op {
                    0 | 1 => {
                        rows.upsert(item(id, version));
                        confirmed.insert(id);
                        let held = model.entry(id).or_insert(version);
                        *held = version.max(*held);
                    }
                    2 => {
                        rows.remove(&Uid::Uuid(u128::from(id)), Version(version));
                        if model.get(&id).is_some_and(|held| *held <= version) {
                            model.remove(&id);
                        }
                    }
                    _ if listing => {
                        rows.end(generation);
                        model.retain(|id, _| confirmed.contains(id));
                        listing = false;
                    }
                    _ => {
                        generation += 1;
                        rows.begin(generation);
                        confirmed.clear();
                        listing = true;
                    }
                }
                prop_assert_eq!(rows.table().len(), model.len());
            }
            let held: BTreeMap<u32, u64> = rows.table().iter().map(|r| (r.2, r.1.0)).collect();
            prop_assert_eq!(held, model);
        }
    }
}
