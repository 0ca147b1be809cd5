//! The hub: the only writer of the shared state. Its thread reads two bounded queues (source status and actions first,
//! then facts), folds the events into the state, and publishes an `Arc<World>` at most 20 times a second, and only when
//! something visible has changed.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::link::Link;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::{Event, Fact};
use pilothouse_core::facts::world::{ActionView, ClusterInfo, World};
use pilothouse_core::state::ClusterState;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// The shortest interval between two publishes.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// How often verdicts that depend only on time are computed again.
const TICK: Duration = Duration::from_secs(1);
/// Capacity of the fact queue. If it is full, sources wait.
pub const FACTS: usize = 256;
pub const CONTROL: usize = 256;
/// Capacity of the queue of clusters that are opened and closed.
pub const CLUSTERS: usize = 64;
/// Number of events that are folded in before the hub checks whether a publish is due.
const AT_ONCE: usize = 64;
/// Number of past actions that are kept for the screen.
const ACTIONS: usize = 200;

/// The hub's input queues.
pub struct Queues {
    pub facts: mpsc::Receiver<Event>,
    pub control: mpsc::Receiver<Event>,
    pub clusters: mpsc::Receiver<ClusterChange>,
}

/// A cluster was opened or closed, or its connection has changed.
#[derive(Debug)]
pub enum ClusterChange {
    /// A new cluster, whose ID is the next one, with the clock of its server.
    Added(ClusterInfo, Link, Clock),
    /// More is known of a cluster, because it is connected.
    Connected(ClusterInfo),
    Linked(ClusterId, Link),
    /// The user closed it. Its slot stays, because IDs are not used twice.
    Closed(ClusterId),
}

/// The state, and the function that it is published to.
pub struct Hub<P> {
    clusters: Vec<ClusterState>,
    /// The clock of each cluster, which its server corrects.
    clocks: Vec<Clock>,
    actions: Vec<Arc<ActionView>>,
    actions_dirty: bool,
    world: World,
    clock: Clock,
    publish: P,
    /// Receives every event before it is folded in, for a recording.
    tap: Option<Tap>,
}

/// Receives every event. Must not wait.
pub type Tap = Box<dyn FnMut(&Event) + Send>;

impl<P: FnMut(Arc<World>)> Hub<P> {
    pub fn new(clusters: Vec<ClusterInfo>, past: Vec<Arc<ActionView>>, clock: Clock, publish: P) -> Self {
        let clusters: Vec<_> = clusters.into_iter().map(ClusterState::new).collect();
        let clocks = vec![clock.clone(); clusters.len()];
        let world = World {
            seq: 0,
            at: clock.now(),
            clusters: clusters.iter().map(|c| c.published().clone()).collect(),
            actions: past.clone().into(),
        };
        Self { clusters, clocks, actions: past, actions_dirty: false, world, clock, publish, tap: None }
    }

    /// Passes every event to `tap` too.
    #[must_use]
    pub fn tapped(self, tap: Option<Tap>) -> Self {
        Self { tap, ..self }
    }

    /// The clusters are not connected yet. Their changes come by the queue.
    #[must_use]
    pub fn opening(mut self, clocks: Vec<Clock>) -> Self {
        for (cluster, clock) in self.clusters.iter_mut().zip(&clocks) {
            let since = clock.now();
            cluster.connect(ClusterInfo::clone(&cluster.info), Link::Opening { since });
        }
        self.clocks = clocks;
        self.publish(false);
        self
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// Adds, connects or closes a cluster.
    pub fn change(&mut self, change: ClusterChange) {
        match change {
            ClusterChange::Added(info, link, clock) => {
                let mut state = ClusterState::new(info.clone());
                state.connect(info, link);
                self.clusters.push(state);
                self.clocks.push(clock);
            }
            ClusterChange::Connected(info) => {
                if let Some(cluster) = self.open_cluster(info.id) {
                    cluster.connect(info, Link::Open);
                }
            }
            ClusterChange::Linked(id, link) => {
                if let Some(cluster) = self.open_cluster(id) {
                    cluster.connect(ClusterInfo::clone(&cluster.info), link);
                }
            }
            ClusterChange::Closed(id) => {
                if let Some(cluster) = self.open_cluster(id) {
                    let info = ClusterInfo::clone(&cluster.info);
                    *cluster = ClusterState::new(info.clone());
                    cluster.connect(info, Link::Closed);
                }
            }
        }
    }

    fn open_cluster(&mut self, id: ClusterId) -> Option<&mut ClusterState> {
        self.clusters.get_mut(usize::from(id.0)).filter(|cluster| cluster.link().is_live())
    }

    /// Folds one event in.
    pub fn apply(&mut self, event: Event) {
        if let Some(tap) = &mut self.tap {
            tap(&event);
        }
        let Some(cluster) = self.clusters.get_mut(usize::from(event.cluster.0)) else {
            // an unfinished action can be one of a process that had more clusters
            if let Fact::Action(action) = event.fact {
                self.action(action);
            }
            return;
        };
        // the sources of a closed cluster can have sent this before they stopped
        if !cluster.link().is_live() && !matches!(event.fact, Fact::Action(_)) {
            return;
        }
        if let Some(action) = cluster.apply(event.fact, event.at) {
            self.action(action);
        }
    }

    /// The watches see the change that an action made, with our name on it, so it is not recorded here a second time.
    fn action(&mut self, action: ActionView) {
        let action = Arc::new(action);
        match self.actions.iter_mut().find(|a| a.id == action.id) {
            Some(held) => *held = action,
            None => self.actions.insert(0, action),
        }
        self.actions.truncate(ACTIONS);
        self.actions_dirty = true;
    }

    fn is_dirty(&self) -> bool {
        self.actions_dirty || self.clusters.iter().any(ClusterState::is_dirty)
    }

    /// Publishes the changes. `tick`: also computes the verdicts that depend on time.
    pub fn publish(&mut self, tick: bool) -> bool {
        let now = self.clock.now();
        let mut changed = std::mem::take(&mut self.actions_dirty);
        for (cluster, clock) in self.clusters.iter_mut().zip(&self.clocks) {
            changed |= cluster.publish(clock.now(), tick).is_some();
        }
        if changed {
            self.world = World {
                seq: self.world.seq + 1,
                at: now,
                clusters: self.clusters.iter().map(|c| c.published().clone()).collect(),
                actions: self.actions.clone().into(),
            };
            (self.publish)(Arc::new(self.world.clone()));
        }
        changed
    }

    /// Folds one event in. A cluster is added before its sources start, but by another queue.
    fn take(&mut self, event: Event, clusters: &mut mpsc::Receiver<ClusterChange>) {
        while usize::from(event.cluster.0) >= self.clusters.len()
            && let Ok(change) = clusters.try_recv()
        {
            self.change(change);
        }
        self.apply(event);
    }

    /// Runs until it is stopped, or until all senders are gone.
    pub async fn run(mut self, mut queues: Queues, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut due = Instant::now();
        let mut ticked = false;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(change) = queues.clusters.recv() => self.change(change),
                Some(event) = queues.control.recv() => self.take(event, &mut queues.clusters),
                () = tokio::time::sleep_until(due), if ticked || self.is_dirty() => {}
                Some(event) = queues.facts.recv() => self.take(event, &mut queues.clusters),
                _ = tick.tick() => ticked = true,
            }
            let mut budget = AT_ONCE;
            while budget > 0
                && let Ok(event) = queues.control.try_recv().or_else(|_| queues.facts.try_recv())
            {
                self.take(event, &mut queues.clusters);
                budget -= 1;
            }
            if (ticked || self.is_dirty()) && Instant::now() >= due {
                self.publish(std::mem::take(&mut ticked));
                due = Instant::now() + PUBLISH_EVERY;
            }
        }
    }
}

/// A state change of an action, as an event for the control queue.
pub fn action_event(action: ActionView, at: Stamp) -> Event {
    let cluster: ClusterId = action.cluster;
    Event { at, cluster, fact: Fact::Action(action) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use pilothouse_core::domain::node::NodeLease;
    use pilothouse_core::domain::source::{SourceState, SourceStatus};
    use pilothouse_core::facts::event::Batch;

    use super::*;

    /// What was published, and when.
    type Published = Arc<Mutex<Vec<(Instant, Arc<World>)>>>;

    /// Runs a hub while `sources` send to its queues: facts first, then control.
    async fn run(
        sources: impl AsyncFnOnce(mpsc::Sender<Event>, mpsc::Sender<Event>),
    ) -> Vec<(Instant, Arc<World>)> {
        let published = Published::default();
        let to = published.clone();
        let publish = move |world| to.lock().unwrap().push((Instant::now(), world));
        let hub = Hub::new(vec![ClusterInfo::default()], Vec::new(), Clock::manual(Stamp(0)), publish);
        let (to_facts, facts) = mpsc::channel(FACTS);
        let (to_control, control) = mpsc::channel(CONTROL);
        tokio::select! {
            biased;
            () = sources(to_facts, to_control) => {}
            () = hub.run(Queues { facts, control, clusters: mpsc::channel(1).1 }, CancellationToken::new()) => {}
        }
        std::mem::take(&mut *published.lock().unwrap())
    }

    fn event(fact: Fact) -> Event {
        Event { at: Stamp(0), cluster: ClusterId(0), fact }
    }

    fn source(name: &str) -> Event {
        let state = SourceState::Live;
        event(Fact::Source(SourceStatus { name: name.into(), state, ..SourceStatus::default() }))
    }

    async fn passes(time: Duration) {
        tokio::time::sleep(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_action_or_a_source_says_waits_behind_no_fact() {
        let published = run(async |facts, control| {
            for i in 0..FACTS {
                facts.try_send(source(&format!("fact-{i}"))).unwrap();
            }
            control.try_send(source("control")).unwrap();
            passes(Duration::from_secs(1)).await;
        });
        let published = published.await;
        let sources = |world: &World| world.clusters[0].sources.to_vec();
        let first = sources(&published[0].1);
        assert!(first.iter().any(|source| source.name == "control"), "{first:?}");
        assert!(first.len() <= AT_ONCE + 1, "the facts are not folded in all at once: {}", first.len());
        assert_eq!(sources(&published.last().unwrap().1).len(), FACTS + 1, "and none is lost");
    }

    #[tokio::test(start_paused = true)]
    async fn it_publishes_at_most_twenty_times_a_second() {
        let published = run(async |facts, _| {
            for i in 0..3_000 {
                facts.send(source(&format!("fact-{i}"))).await.unwrap();
                passes(Duration::from_millis(1)).await;
            }
        });
        let published = published.await;
        assert!((50..=61).contains(&published.len()), "{} in 3 s", published.len());
        for pair in published.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= PUBLISH_EVERY, "{:?}", pair[1].0 - pair[0].0);
            assert_eq!(pair[1].1.seq, pair[0].1.seq + 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_heartbeats_publish_nothing() {
        let lease = |renewed: i64| {
            let renewed = Some(Stamp(renewed));
            let lease = NodeLease { node: "n".into(), renewed, ..NodeLease::default() };
            event(Fact::Leases(Batch::Upsert(vec![lease])))
        };
        let published = run(async |facts, _| {
            passes(Duration::from_secs(5)).await;
            facts.send(source("nodes")).await.unwrap();
            facts.send(lease(0)).await.unwrap();
            passes(Duration::from_secs(1)).await;
            for i in 1..100 {
                // the same again, and a heartbeat
                facts.send(source("nodes")).await.unwrap();
                facts.send(lease(i)).await.unwrap();
                passes(Duration::from_millis(100)).await;
            }
        });
        assert_eq!(published.await.len(), 1, "for the one thing that was said");
    }

    fn cluster(id: u16) -> ClusterInfo {
        ClusterInfo { id: ClusterId(id), context: format!("c{id}").into(), ..ClusterInfo::default() }
    }

    fn of(id: u16, name: &str) -> Event {
        Event { cluster: ClusterId(id), ..source(name) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_new_cluster_says_is_kept_although_it_comes_by_another_queue() {
        let (changes, clusters) = mpsc::channel(CLUSTERS);
        let (to_facts, facts) = mpsc::channel(FACTS);
        let (to_control, control) = mpsc::channel(CONTROL);
        let published = Published::default();
        let to = published.clone();
        let publish = move |world| to.lock().unwrap().push((Instant::now(), world));
        let hub = Hub::new(vec![cluster(0)], Vec::new(), Clock::manual(Stamp(0)), publish);
        let link = Link::Opening { since: Stamp(0) };
        // all of it is there before the hub looks
        changes.try_send(ClusterChange::Added(cluster(1), link, Clock::manual(Stamp(0)))).unwrap();
        to_facts.try_send(of(1, "nodes")).unwrap();
        to_control.try_send(of(1, "pods")).unwrap();
        let sends = async {
            passes(Duration::from_secs(1)).await;
            changes.send(ClusterChange::Connected(cluster(1))).await.unwrap();
            passes(Duration::from_secs(1)).await;
        };
        tokio::select! {
            biased;
            () = sends => {}
            () = hub.run(Queues { facts, control, clusters }, CancellationToken::new()) => {}
        }
        let published = std::mem::take(&mut *published.lock().unwrap());
        let told: Vec<(usize, bool)> = published
            .iter()
            .map(|(_, world)| {
                let new = &world.clusters[1];
                (new.sources.len(), new.link == Link::Open)
            })
            .collect();
        assert_eq!(told, [(2, false), (2, true)]);
    }

    #[test]
    fn a_closed_cluster_keeps_its_place_and_nothing_else() {
        let mut hub = Hub::new(vec![cluster(0), cluster(1)], Vec::new(), Clock::manual(Stamp(0)), |_| ());
        hub = hub.opening(vec![Clock::manual(Stamp(0)); 2]);
        assert!(hub.world().clusters.iter().all(|c| matches!(c.link, Link::Opening { .. })));
        hub.change(ClusterChange::Connected(cluster(0)));
        hub.change(ClusterChange::Connected(cluster(1)));
        hub.apply(of(1, "nodes"));
        hub.publish(false);
        assert_eq!(hub.world().clusters[1].sources.len(), 1);
        hub.change(ClusterChange::Closed(ClusterId(1)));
        // its sources had sent this before they stopped, and the task that connects had not seen it yet
        hub.apply(of(1, "pods"));
        hub.change(ClusterChange::Connected(cluster(1)));
        hub.publish(false);
        let world = hub.world();
        assert_eq!((&world.clusters[1].link, world.clusters[1].sources.len()), (&Link::Closed, 0));
        assert!(!world.has_several() && world.of_context("c1").is_none());
        hub.change(ClusterChange::Added(cluster(2), Link::Open, Clock::manual(Stamp(0))));
        hub.apply(of(2, "nodes"));
        hub.publish(false);
        assert_eq!(hub.world().cluster(ClusterId(2)).unwrap().sources.len(), 1, "the next one has its own");
        let (since, why) = (Stamp(5), pilothouse_core::domain::id::Name::from("401"));
        hub.change(ClusterChange::Linked(ClusterId(2), Link::Failed { since, why, next: None }));
        assert!(hub.publish(false), "a connection that is lost is published");
    }
}
