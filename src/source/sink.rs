//! Where sources put what they saw: two bounded queues, one for facts and one, read first, for the sources' own state.

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::source::{Feed, SourceStatus};
use pilothouse_core::facts::event::{Batch, Event, Fact, Identity};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::wire::list_watch::Outlet;

/// One cluster's way into the hub. A full queue makes the source wait; nothing is dropped here.
#[derive(Clone, Debug)]
pub struct FactSink {
    cluster: ClusterId,
    clock: Clock,
    facts: mpsc::Sender<Event>,
    control: mpsc::Sender<Event>,
    /// What the source publishes that tells its state here.
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

    /// The same for a source that publishes this.
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

    /// Rows and measurements.
    pub async fn fact(&self, fact: Fact) {
        self.send(&self.facts, fact).await;
    }

    /// How a source is doing.
    pub async fn status(&self, status: SourceStatus) {
        self.send(&self.control, Fact::Source(SourceStatus { feed: self.feed, ..status })).await;
    }

    /// Who we are to the cluster.
    pub async fn identity(&self, identity: Identity) {
        self.send(&self.control, Fact::Identity(identity)).await;
    }

    async fn send(&self, queue: &mpsc::Sender<Event>, fact: Fact) {
        let event = Event { at: self.clock.now(), cluster: self.cluster, fact };
        if queue.send(event).await.is_err() {
            // the hub is gone: we are shutting down, and whoever ended it cancels this task next
            std::future::pending::<()>().await;
        }
    }
}

/// The outlet of one kind: its batches become facts.
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
