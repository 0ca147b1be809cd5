//! The object store: every object of the cluster in memory, one version counter for all of them, and for each resource
//! a bounded log of changes that watches read. It can be called thousands of times a second: there is one lock, and
//! objects are shared, not copied.
//!
//! Both the API and the loops inside the cluster write through it, so that versions, generations, managedFields,
//! finalizers and garbage collection are the same for both.

mod delete;
mod index;
mod managed;
mod object;
mod shelf;
mod watch;
mod write;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch as signal;

pub use delete::{Delete, Deleted, Propagation};
pub use object::{Change, Happened, Key, Object, condition, walk};
pub use watch::Subscription;
pub use write::{Scope, Write};

use crate::clock::Clock;
use crate::resources::Res;
use crate::rng::Random;
use crate::selector::Labels;
use crate::status::Status;
use index::Index;
use shelf::Shelf;

/// The default number of changes that each resource's log keeps.
pub const LOG: usize = 1024;
/// A log without limits, for times in which [`Store::forget`] keeps the logs short.
pub const UNBOUNDED: usize = usize::MAX;

#[derive(Debug)]
struct Inner {
    version: u64,
    shelves: Vec<Shelf>,
    index: Index,
    clock: Arc<Clock>,
}

#[derive(Debug)]
struct Shared {
    inner: RwLock<Inner>,
    clock: Arc<Clock>,
    random: Arc<Random>,
    version: signal::Sender<u64>,
    past: AtomicBool,
    sparing: AtomicBool,
    /// The version at which the cluster opened.
    opened: AtomicU64,
}

/// The objects of the cluster. Clones share one store.
#[derive(Debug, Clone)]
pub struct Store(Arc<Shared>);

impl Inner {
    fn shelf(&self, res: Res) -> Option<&Shelf> {
        self.shelves.get(res as usize)
    }

    fn get(&self, res: Res, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.shelf(res)?.get(namespace, name)
    }

    fn at(&self, key: &Key) -> Option<&Arc<Object>> {
        self.get(key.res, &key.namespace, &key.name)
    }
}

impl Store {
    /// An empty store whose logs keep `log` changes per resource.
    pub fn new(clock: Arc<Clock>, random: Arc<Random>, log: usize) -> Self {
        let shelves = Res::ALL.iter().map(|_| Shelf::new(log)).collect();
        // Version 0 means "any" on the wire, so no object may have it.
        let inner = Inner { version: 1, shelves, index: Index::default(), clock: clock.clone() };
        let version = signal::Sender::new(1);
        Self(Arc::new(Shared {
            inner: RwLock::new(inner),
            clock,
            random,
            version,
            past: AtomicBool::new(false),
            sparing: AtomicBool::new(false),
            opened: AtomicU64::new(0),
        }))
    }

    /// The past is simulated, which no client sees: objects that leave no trace are not written (events that will have
    /// expired, every single heartbeat).
    pub fn set_past(&self, past: bool) {
        self.0.past.store(past, Ordering::Relaxed);
    }

    pub fn is_past(&self) -> bool {
        self.0.past.load(Ordering::Relaxed)
    }

    /// Writes of the loops are not recorded in managedFields, because in a cluster of many thousand objects this would
    /// be a third of all memory. Writes of users are recorded.
    pub fn set_sparing(&self, sparing: bool) {
        self.0.sparing.store(sparing, Ordering::Relaxed);
    }

    fn is_tracked(&self, res: Res, how: &Write<'_>) -> bool {
        how.tracked || res.info().tracked && !self.0.sparing.load(Ordering::Relaxed)
    }

    pub fn clock(&self) -> &Arc<Clock> {
        &self.0.clock
    }

    pub fn random(&self) -> &Arc<Random> {
        &self.0.random
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.read().version
    }

    /// Wakes up at every change; for tests and loops that wait for a condition.
    pub fn changes(&self) -> signal::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// Waits until `done` returns true, which is checked after every change.
    pub async fn until(&self, mut done: impl FnMut(&Store) -> bool) {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            if done(self) || changes.changed().await.is_err() {
                return;
            }
        }
    }

    pub fn get(&self, res: Res, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.read().get(res, namespace, name).cloned()
    }

    /// In order of namespace and name; `None`: every namespace.
    pub fn list(&self, res: Res, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.snapshot(res, namespace).1
    }

    /// A list, and the version to start a subscription from.
    pub fn snapshot(&self, res: Res, namespace: Option<&str>) -> (u64, Vec<Arc<Object>>) {
        let inner = self.read();
        let all = inner.shelf(res).map(|shelf| shelf.iter(namespace).cloned().collect()).unwrap_or_default();
        (inner.version, all)
    }

    pub fn list_by_label(&self, res: Res, namespace: Option<&str>, labels: &Labels) -> Vec<Arc<Object>> {
        let inner = self.read();
        let Some(shelf) = inner.shelf(res) else { return Vec::new() };
        shelf.iter(namespace).filter(|object| labels.matches(object.labels())).cloned().collect()
    }

    pub fn count(&self, res: Res) -> usize {
        self.read().shelf(res).map_or(0, Shelf::len)
    }

    /// The pods bound to a node, terminated ones too.
    pub fn pods_on(&self, node: &str) -> Vec<Arc<Object>> {
        let inner = self.read();
        inner.index.on_node(node).filter_map(|key| inner.at(key)).cloned().collect()
    }

    /// The objects of a resource that have `uid` as an owner.
    pub fn owned_by(&self, res: Res, uid: &str) -> Vec<Arc<Object>> {
        let inner = self.read();
        let owned = inner.index.dependents(uid).filter(|key| key.res == res);
        owned.filter_map(|key| inner.at(key)).cloned().collect()
    }

    pub fn by_uid(&self, uid: &str) -> Option<Arc<Object>> {
        let inner = self.read();
        inner.index.by_uid(uid).and_then(|key| inner.at(key)).cloned()
    }

    /// Reads the log from now on.
    pub fn subscribe(&self, res: Res) -> Subscription {
        self.subscribe_from(res, self.version())
    }

    /// Reads the log from `version` on. If the log does not reach back so far, the first read fails.
    pub fn subscribe_from(&self, res: Res, version: u64) -> Subscription {
        let news = self.read().shelf(res).map_or_else(|| self.changes(), Shelf::news);
        Subscription::new(self.clone(), res, version, news)
    }

    /// All existing objects, and the log from there on, as for an informer.
    pub fn list_and_subscribe(&self, res: Res) -> (Vec<Arc<Object>>, Subscription) {
        let (version, all) = self.snapshot(res, None);
        (all, self.subscribe_from(res, version))
    }

    /// The changes after `version`, and the version of the last one.
    fn since(&self, res: Res, version: u64, limit: usize) -> Result<(Vec<Arc<Change>>, u64), Status> {
        let inner = self.read();
        let changes = inner.shelf(res).map_or(Ok(Vec::new()), |shelf| shelf.since(version, limit))?;
        let reached = match changes.last() {
            Some(last) if changes.len() >= limit => last.version,
            _ => inner.version.max(version),
        };
        Ok((changes, reached))
    }

    /// Sets the number of changes that each resource's log keeps.
    pub fn keep(&self, log: usize) {
        for shelf in &mut self.locked().shelves {
            shelf.keep(log);
        }
    }

    /// Drops the logs, which all readers have read. Unlike after [`Store::compact`], no reader gets 410.
    pub fn forget(&self) {
        for shelf in &mut self.locked().shelves {
            shelf.forget();
        }
    }

    /// Everything before now becomes history: clients that ask for its versions get 410.
    pub fn open(&self) {
        self.0.opened.store(self.version(), Ordering::Relaxed);
    }

    /// The version at which the cluster opened.
    pub fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed)
    }

    /// The version of the newest change of any of these resources.
    pub fn newest(&self, resources: &[Res]) -> u64 {
        let inner = self.read();
        resources.iter().filter_map(|res| inner.shelf(*res)).map(Shelf::newest).max().unwrap_or_default()
    }

    /// The number of changes in a resource's log, and roughly their bytes.
    pub fn logged(&self, res: Res) -> (usize, usize) {
        self.read().shelf(res).map(Shelf::logged).unwrap_or_default()
    }

    /// Drops the log of a resource: watches from older versions get 410.
    pub fn compact(&self, res: Res) {
        let mut inner = self.locked();
        let at = inner.version;
        if let Some(shelf) = inner.shelves.get_mut(res as usize) {
            shelf.compact(at);
        }
    }
}

#[cfg(test)]
mod tests;
