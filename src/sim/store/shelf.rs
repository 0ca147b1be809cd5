//! The objects of one resource, and the log of their changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use super::object::{Change, Happened, Key, Object};
use crate::status::Status;

/// Bytes that every log may take.
const BYTES: usize = 2 << 20;
/// This many changes are kept regardless of their size.
const FEWEST: usize = 64;

#[derive(Debug)]
pub(super) struct Shelf {
    spaces: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Object>>>,
    len: usize,
    log: VecDeque<Arc<Change>>,
    /// Approximate bytes of the versions in the log and of the current objects.
    bytes: usize,
    held: usize,
    capacity: usize,
    /// All changes after this version are still in the log.
    floor: u64,
    news: watch::Sender<u64>,
}

impl Shelf {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            spaces: BTreeMap::new(),
            len: 0,
            log: VecDeque::new(),
            bytes: 0,
            held: 0,
            capacity: capacity.max(1),
            floor: 0,
            news: watch::Sender::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.spaces.get(namespace)?.get(name)
    }

    /// In order of namespace and name, like lists of the real server.
    pub(super) fn iter<'a>(
        &'a self,
        namespace: Option<&str>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Object>> + 'a> {
        match namespace {
            None => Box::new(self.spaces.values().flat_map(BTreeMap::values)),
            Some(one) => Box::new(self.spaces.get(one).into_iter().flat_map(BTreeMap::values)),
        }
    }

    pub(super) fn has_any(&self, namespace: &str) -> bool {
        self.spaces.get(namespace).is_some_and(|space| !space.is_empty())
    }

    /// Stores a version and adds it to the log.
    pub(super) fn apply(&mut self, key: &Key, happened: Happened, object: Arc<Object>) {
        let version = object.version;
        let before = if happened == Happened::Deleted {
            let before = self.spaces.get_mut(&key.namespace).and_then(|space| space.remove(&key.name));
            if !self.has_any(&key.namespace) {
                self.spaces.remove(&key.namespace);
            }
            self.len -= usize::from(before.is_some());
            before
        } else {
            let space = self.spaces.entry(key.namespace.clone()).or_default();
            let before = space.insert(key.name.clone(), object.clone());
            self.len += usize::from(before.is_none());
            before
        };
        if happened != Happened::Deleted {
            self.held += object.weight();
        }
        self.held = self.held.saturating_sub(before.as_ref().map_or(0, |before| before.weight()));
        self.bytes += object.weight();
        self.log.push_back(Arc::new(Change { happened, version, object, before }));
        self.trim();
        self.news.send_replace(version);
    }

    /// Keeps the log within its limits: a number of changes, and about half of the bytes of all current objects.
    fn trim(&mut self) {
        let most = BYTES.max(self.held / 2);
        while self.log.len() > self.capacity
            || (self.bytes > most && self.log.len() > FEWEST && self.capacity != usize::MAX)
        {
            let Some(old) = self.log.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(old.object.weight());
            self.floor = old.version;
        }
    }

    /// Drops the changes that all readers have read; none of them gets 410.
    pub(super) fn forget(&mut self) {
        if let Some(last) = self.log.back() {
            self.floor = last.version;
            self.log.clear();
            self.log.shrink_to(FEWEST);
            self.bytes = 0;
        }
    }

    /// The version of the newest change.
    pub(super) fn newest(&self) -> u64 {
        *self.news.borrow()
    }

    /// Sets the number of changes that the log keeps.
    pub(super) fn keep(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
        self.trim();
        self.log.shrink_to(self.capacity.min(self.log.len() * 2));
    }

    /// The number of changes in the log, and their bytes.
    pub(super) fn logged(&self) -> (usize, usize) {
        (self.log.len(), self.bytes)
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// At most `limit` changes after `version`.
    pub(super) fn since(&self, version: u64, limit: usize) -> Result<Vec<Arc<Change>>, Status> {
        if version < self.floor {
            return Err(Status::expired(version, self.floor));
        }
        let from = self.log.partition_point(|change| change.version <= version);
        Ok(self.log.range(from..).take(limit).cloned().collect())
    }

    /// Drops the log, like etcd's compaction: older watches get 410.
    pub(super) fn compact(&mut self, at: u64) {
        self.log = VecDeque::new();
        self.bytes = 0;
        self.floor = at;
        self.news.send_replace(at);
    }
}
