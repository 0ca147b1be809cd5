//! Reads the event log from a version on. A reader has no queue, only a position in the log; a reader that falls behind
//! the log's start gets 410, as from the real server.

use std::sync::Arc;

use tokio::sync::watch;

use super::Store;
use super::object::Change;
use crate::resources::Res;
use crate::status::Status;

/// Maximum number of changes that one read returns.
const BATCH: usize = 512;

/// A position in the event log of one resource.
#[derive(Debug)]
pub struct Subscription {
    store: Store,
    res: Res,
    /// All changes up to this version were returned.
    cursor: u64,
    news: watch::Receiver<u64>,
}

impl Subscription {
    pub(super) fn new(store: Store, res: Res, cursor: u64, news: watch::Receiver<u64>) -> Self {
        Self { store, res, cursor, news }
    }

    /// The version up to which all changes were returned, for bookmarks.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The changes since then, at most 512, without waiting.
    pub fn poll(&mut self) -> Result<Vec<Arc<Change>>, Status> {
        self.news.mark_unchanged();
        let (changes, reached) = self.store.since(self.res, self.cursor, BATCH)?;
        self.cursor = reached;
        Ok(changes)
    }

    /// Waits for at least one change. `Err` (410) if the log no longer reaches back to this reader's position.
    pub async fn next(&mut self) -> Result<Vec<Arc<Change>>, Status> {
        loop {
            let changes = self.poll()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            // The sender is part of the store, which this subscription keeps alive.
            if self.news.changed().await.is_err() {
                return Err(Status::internal("the store is gone"));
            }
        }
    }
}
