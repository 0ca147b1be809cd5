//! Tells a loop which objects have changed, and when it has to run again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::resources::Res;
use crate::store::{Happened, Object, Store, Subscription};

/// One change of a resource.
#[derive(Debug)]
pub enum News {
    /// The reader fell behind the log: drop all state; all existing objects follow.
    Reset,
    /// An object's current version, and the previous one.
    Now(Arc<Object>, Option<Arc<Object>>),
    /// The last version of a deleted object.
    Gone(Arc<Object>),
}

/// A loop's position in the log of one resource. The first read returns all existing objects.
#[derive(Debug)]
pub struct Feed {
    store: Store,
    res: Res,
    place: Option<Subscription>,
}

impl Feed {
    pub fn new(store: &Store, res: Res) -> Self {
        Self { store: store.clone(), res, place: None }
    }

    /// A position in the log of each of these resources.
    pub fn each<const N: usize>(store: &Store, all: [Res; N]) -> [Self; N] {
        all.map(|res| Self::new(store, res))
    }

    /// All changes since the last read.
    pub fn read(&mut self) -> Vec<News> {
        let mut out = Vec::new();
        while let Some(place) = &mut self.place {
            match place.poll() {
                Ok(changes) if changes.is_empty() => return out,
                Ok(changes) => out.extend(changes.iter().map(|change| {
                    if change.happened == Happened::Deleted {
                        News::Gone(change.object.clone())
                    } else {
                        News::Now(change.object.clone(), change.before.clone())
                    }
                })),
                Err(_) => self.place = None,
            }
        }
        let (all, place) = self.store.list_and_subscribe(self.res);
        self.place = Some(place);
        out.clear();
        out.push(News::Reset);
        out.extend(all.into_iter().map(|object| News::Now(object, None)));
        out
    }
}

/// The objects that a loop has to process, now or at a later time. They are processed in the order of their keys, so
/// that the order of the changes does not matter.
#[derive(Debug)]
pub struct Queue<K> {
    now: BTreeSet<K>,
    timed: BTreeSet<(DateTime<Utc>, K)>,
    times: BTreeMap<K, DateTime<Utc>>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self { now: BTreeSet::new(), timed: BTreeSet::new(), times: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// Must be processed in this step.
    pub fn mark(&mut self, key: K) {
        self.now.insert(key);
    }

    /// Must be processed at that time, instead of the time that was set before.
    pub fn set(&mut self, key: K, at: Option<DateTime<Utc>>) {
        let old = match at {
            Some(at) => self.times.insert(key.clone(), at),
            None => self.times.remove(&key),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.timed.remove(&(old, key.clone()));
        }
        if let Some(at) = at {
            self.timed.insert((at, key));
        }
    }

    pub fn forget(&mut self, key: &K) {
        self.now.remove(key);
        if let Some(old) = self.times.remove(key) {
            self.timed.remove(&(old, key.clone()));
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All that is due by now.
    pub fn take(&mut self, at: DateTime<Utc>) -> BTreeSet<K> {
        while self.timed.first().is_some_and(|(due, _)| *due <= at) {
            if let Some((_, key)) = self.timed.pop_first() {
                self.times.remove(&key);
                self.now.insert(key);
            }
        }
        std::mem::take(&mut self.now)
    }

    /// The first that is due.
    pub fn first(&self) -> Option<K> {
        self.timed.first().map(|(_, key)| key.clone())
    }

    pub fn next(&self) -> Option<DateTime<Utc>> {
        self.timed.first().map(|(at, _)| *at)
    }
}

/// The earlier of two deadlines that may be absent.
pub fn sooner(a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
