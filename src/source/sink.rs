//! The queues to which sources publish. Both are bounded. One is for facts, and the other, which is read first, for
//! the states of the sources.

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::source::{Feed, SourceStatus};
use pilothouse_core::facts::event::{Batch, Event, Fact, Identity};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::wire::list_watch::Outlet;

/// The queues in which the sources of one cluster send facts to the hub. A full queue makes the source wait. Nothing
/// is dropped here.
#[derive(Clone, Debug)]
pub struct FactSink {
    cluster: ClusterId,
    clock: Clock,
    facts: mpsc::Sender<Event>,
    control: mpsc::Sender<Event>,
    /// The feed of the source that reports its state here.
    feed: Feed,
}

impl FactSink {
    pub fn new(
        cluster: ClusterId,
        clock: Clock,
        facts: mpsc::Sender<Event>,
        control: mpsc::Sender<Event>,
    ) -> Self {
        Self { cluster, clock, facts, control, feed: Feed::default() }
    }

    /// Returns the same sink for a source that publishes this feed.
    #[must_use]
    pub fn of(&self, feed: Feed) -> Self {
        Self { feed, ..self.clone() }
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Publishes rows or measurements.
    pub async fn fact(&self, fact: Fact) {
        self.send(&self.facts, fact).await;
    }

    /// Publishes the state of a source.
    pub async fn status(&self, status: SourceStatus) {
        self.send(&self.control, Fact::Source(SourceStatus { feed: self.feed, ..status })).await;
    }

    /// Publishes the user's identity in the cluster.
    pub async fn identity(&self, identity: Identity) {
        self.send(&self.control, Fact::Identity(identity)).await;
    }

    async fn send(&self, queue: &mpsc::Sender<Event>, fact: Fact) {
        let event = Event { at: self.clock.now(), cluster: self.cluster, fact };
        if queue.send(event).await.is_err() {
            // the hub has ended because of a shutdown, and this task is canceled next
            std::future::pending::<()>().await;
        }
    }
}

/// Converts the batches of one kind to facts.
pub struct Rows<T> {
    pub sink: FactSink,
    pub fact: fn(Batch<T>) -> Fact,
}

impl<T> Clone for Rows<T> {
    fn clone(&self) -> Self {
        Self { sink: self.sink.clone(), fact: self.fact }
    }
}

impl<T: Send> Outlet<T> for Rows<T> {
    async fn rows(&self, batch: Batch<T>) {
        self.sink.fact((self.fact)(batch)).await;
    }

    async fn status(&self, status: SourceStatus) {
        self.sink.status(status).await;
    }
}
