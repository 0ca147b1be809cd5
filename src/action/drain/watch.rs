//! Follows objects during a drain, with the same list-and-watch code as the sources. It follows the pods of a node or
//! namespace, to check them before each eviction and to verify it afterwards. It also follows the node that is being
//! emptied.

use std::collections::VecDeque;
use std::time::Duration;

use futures::future::BoxFuture;
use pilothouse_core::domain::id::{Kind, Name, Uid};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::facts::event::Batch;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::super::list_path::ListPath;
use crate::clock::Clock;
use crate::wire::client::ReadClient;
use crate::wire::decode::{Pools, pod::pod};
use crate::wire::error::ApiError;
use crate::wire::list_watch::{DecodeError, ListWatch, Outlet, Place, Plan, Pulse};
use crate::wire::pages;

/// The interval between two lists if a watch is not permitted.
const POLL: Duration = Duration::from_secs(5);
/// The maximum size of a list of all pods of a node or namespace.
const LIST_CAP: usize = 256 << 20;
/// The capacity of the queue of reports.
const QUEUE: usize = 16;

/// An event of the followed objects.
#[derive(Debug)]
pub(super) enum News<T> {
    /// A complete list.
    All(Vec<T>),
    Seen(T),
    Gone(Uid),
    /// The objects are followed and have not changed.
    Alive,
    /// The objects cannot be followed now. This is retried.
    Trouble {
        why: String,
        refused: Refused,
    },
}

/// Whether waiting can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The server cannot be reached or is overloaded.
    No,
    /// The credentials are not accepted. They may be in renewal.
    Login,
    /// The permission is denied.
    ForGood,
}

/// A report of the list-and-watch task.
pub(super) enum Said<T> {
    Rows(Batch<T>),
    Status(SourceStatus),
}

struct Out<T>(mpsc::Sender<Said<T>>);

impl<T: Send> Outlet<T> for Out<T> {
    async fn rows(&self, batch: Batch<T>) {
        self.say(Said::Rows(batch)).await;
    }

    async fn status(&self, status: SourceStatus) {
        self.say(Said::Status(status)).await;
    }
}

impl<T> Out<T> {
    async fn say(&self, said: Said<T>) {
        if self.0.send(said).await.is_err() {
            // the receiver was dropped, and this task is dropped with it
            std::future::pending::<()>().await;
        }
    }
}

/// Follows the objects of one path. The task runs only while [`Watch::next`] is awaited.
pub(super) struct Watch<T> {
    said: mpsc::Receiver<Said<T>>,
    machine: BoxFuture<'static, ()>,
    /// The objects of an incomplete list.
    listing: Option<Vec<T>>,
    ready: VecDeque<News<T>>,
}

/// Follows the pods of a list.
pub(super) fn pods(reader: ReadClient, clock: Clock, list: &ListPath) -> Watch<Pod> {
    let (mut pools, now) = (Pools::default(), clock.clone());
    let plan = plan("pods", "PodList", list, Some(POLL));
    Watch::new(reader, clock, plan, move |json| pod(&mut pools, json, now.now()))
}

/// Follows a node. If the user may read but not watch it, the caller must read it.
pub(super) fn node(reader: ReadClient, clock: Clock, name: &Name) -> Watch<Value> {
    let list = ListPath::of(&Kind::Node, "").field("metadata.name", name);
    let read = |json: &[u8]| serde_json::from_slice(json).map_err(|e| DecodeError(e.to_string()));
    Watch::new(reader, clock, plan("nodes", "NodeList", &list, None), read)
}

fn plan(name: &'static str, kind: &'static str, list: &ListPath, unwatched: Option<Duration>) -> Plan {
    Plan {
        name,
        list: kind,
        needs: format!("list {name}"),
        places: vec![Place { path: list.to_string(), namespace: None }],
        query: String::new(),
        gather: Duration::ZERO,
        count: false,
        poll_above: None,
        exact: true,
        unwatched,
    }
}

impl<T: Send + 'static> Watch<T> {
    fn new<D>(client: ReadClient, clock: Clock, plan: Plan, mut read: D) -> Self
    where
        D: FnMut(&[u8]) -> Result<T, DecodeError> + Send + Sync + 'static,
    {
        let (out, said) = mpsc::channel(QUEUE);
        let machine = Box::pin(async move {
            let (_held, pulse) = watch::channel(Pulse::default());
            let decode = move |json: &[u8]| read(json).map(Some);
            ListWatch { client, out: Out(out), clock, plan, pulse, listed: None, decode }.run().await;
            std::future::pending::<()>().await;
        });
        Self { said, machine, listing: None, ready: VecDeque::new() }
    }

    /// Follows the events of a test.
    #[cfg(test)]
    pub(super) fn scripted(said: mpsc::Receiver<Said<T>>) -> Self {
        Self { said, machine: Box::pin(std::future::pending()), listing: None, ready: VecDeque::new() }
    }

    /// Returns the next event. Dropping the future loses no event.
    pub(super) async fn next(&mut self) -> News<T> {
        loop {
            if let Some(news) = self.ready.pop_front() {
                return news;
            }
            tokio::select! {
                biased;
                Some(said) = self.said.recv() => self.read(said),
                () = &mut self.machine => {}
            }
        }
    }

    fn read(&mut self, said: Said<T>) {
        match said {
            Said::Rows(Batch::Begin { .. }) => self.listing = Some(Vec::new()),
            Said::Rows(Batch::Upsert(rows)) => match &mut self.listing {
                Some(listing) => listing.extend(rows),
                None => self.ready.extend(rows.into_iter().map(News::Seen)),
            },
            Said::Rows(Batch::Gone(gone)) => self.ready.extend(gone.into_iter().map(|g| News::Gone(g.uid))),
            Said::Rows(Batch::End { .. }) => self.ready.extend(self.listing.take().map(News::All)),
            // the status reports the same
            Said::Rows(_) => {}
            Said::Status(SourceStatus { state: SourceState::Starting, .. }) => {}
            Said::Status(SourceStatus { state: SourceState::Live, .. }) => self.ready.push_back(News::Alive),
            Said::Status(status) => {
                let why = status.error.map_or_else(String::new, |e| e.to_string());
                let refused = match status.state {
                    SourceState::Denied => Refused::ForGood,
                    _ if status.lasting => Refused::Login,
                    _ => Refused::No,
                };
                self.ready.push_back(News::Trouble { why, refused });
            }
        }
    }
}

/// Lists the current pods at `path`, independently of their watch.
pub(super) async fn list(reader: &ReadClient, path: &str, clock: &Clock) -> Result<Vec<Pod>, ApiError> {
    let (mut pools, now) = (Pools::default(), clock.now());
    let read = |json: &[u8]| pod(&mut pools, json, now);
    let whole = pages::whole(reader, path, "PodList", LIST_CAP, read).await?;
    if let Some(error) = whole.unread {
        return Err(ApiError::Decode(error.to_string()));
    }
    if whole.oversized > 0 {
        return Err(ApiError::Decode("a pod is too large".into()));
    }
    Ok(whole.rows)
}
