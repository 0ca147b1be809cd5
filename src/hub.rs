//! The hub: the only writer of the shared state. Its thread reads two bounded queues (source status and actions first,
//! then facts), folds the events into the state, and publishes an `Arc<World>` at most 20 times a second, and only when
//! something visible has changed.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::ClusterId;
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
/// Number of events that are folded in before the hub checks whether a publish is due.
const AT_ONCE: usize = 64;
/// Number of past actions that are kept for the screen.
const ACTIONS: usize = 200;

/// The hub's input queues.
pub struct Queues {
    pub facts: mpsc::Receiver<Event>,
    pub control: mpsc::Receiver<Event>,
}

/// The state, and the function that it is published to.
pub struct Hub<P> {
    clusters: Vec<ClusterState>,
    actions: Vec<Arc<ActionView>>,
    actions_dirty: bool,
    world: World,
    clock: Clock,
    publish: P,
}

impl<P: FnMut(Arc<World>)> Hub<P> {
    pub fn new(clusters: Vec<ClusterInfo>, past: Vec<Arc<ActionView>>, clock: Clock, publish: P) -> Self {
        let clusters: Vec<_> = clusters.into_iter().map(ClusterState::new).collect();
        let world = World {
            seq: 0,
            at: clock.now(),
            clusters: clusters.iter().map(|c| c.published().clone()).collect(),
            actions: past.clone().into(),
        };
        Self { clusters, actions: past, actions_dirty: false, world, clock, publish }
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// Folds one event in.
    pub fn apply(&mut self, event: Event) {
        let Some(cluster) = self.clusters.get_mut(usize::from(event.cluster.0)) else { return };
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
        for cluster in &mut self.clusters {
            changed |= cluster.publish(now, tick).is_some();
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

    /// Runs until it is stopped, or until all senders are gone.
    pub async fn run(mut self, mut queues: Queues, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut due = Instant::now();
        loop {
            let mut ticked = false;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(event) = queues.control.recv() => self.apply(event),
                () = tokio::time::sleep_until(due), if self.is_dirty() => {}
                Some(event) = queues.facts.recv() => self.apply(event),
                _ = tick.tick() => ticked = true,
            }
            let mut budget = AT_ONCE;
            while budget > 0
                && let Ok(event) = queues.control.try_recv().or_else(|_| queues.facts.try_recv())
            {
                self.apply(event);
                budget -= 1;
            }
            if ticked || (self.is_dirty() && Instant::now() >= due) {
                self.publish(ticked);
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
