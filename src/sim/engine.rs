//! The engine of the cluster: one task that runs its parts (kubelets, controllers, traffic, the story) one after
//! another when one of them is due or something has changed. One thread and a fixed order make the same seed give the
//! same story. Parts never sleep, so that a test or a warm-up can simulate an hour in a moment.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

use crate::store::Store;
use crate::world::World;

/// Two parts that undo each other's work must not stop time: after so many rounds the clock advances.
const ROUNDS: usize = 64;
/// The smallest step of a fast-forward: deadlines closer together are processed at once.
const GRAIN: TimeDelta = TimeDelta::milliseconds(200);

/// One control loop. It has its own position in the store's log, and does in a step all that is due at that time.
pub trait Part: Send {
    fn name(&self) -> &'static str;

    /// Brings its part of the cluster up to `at`. It is called at its deadline, and whenever an object or the world has
    /// changed, also by itself; so a call with nothing to do must be very cheap. Returns the latest time of its next
    /// call.
    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>>;
}

struct Seat {
    part: Box<dyn Part>,
    due: Option<DateTime<Utc>>,
    /// The versions of store and world at the start of its last step.
    seen: Option<(u64, u64)>,
}

/// The parts of one cluster, in the order in which they run.
pub struct Engine {
    store: Store,
    world: World,
    seats: Vec<Seat>,
    /// Parts that made changes in every one of [`ROUNDS`] rounds, and how often. This is a bug in them.
    pub restless: BTreeMap<&'static str, u64>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("parts", &self.seats.len())
            .field("restless", &self.restless)
            .finish_non_exhaustive()
    }
}

impl Engine {
    pub fn new(store: Store, world: World) -> Self {
        Self { store, world, seats: Vec::new(), restless: BTreeMap::new() }
    }

    /// Adds a part after the existing ones.
    pub fn add(&mut self, part: Box<dyn Part>) {
        self.seats.push(Seat { part, due: None, seen: None });
    }

    fn versions(&self) -> (u64, u64) {
        (self.store.version(), self.world.version())
    }

    /// Runs every part that is due or has changes to process, until nothing changes any more. Returns the next
    /// deadline.
    pub fn settle(&mut self) -> Option<DateTime<Utc>> {
        for round in 0..ROUNDS {
            let at = self.store.clock().now();
            let mut ran = false;
            for place in 0..self.seats.len() {
                let versions = self.versions();
                let Some(seat) = self.seats.get_mut(place) else { continue };
                let due = seat.due.is_some_and(|due| due <= at);
                if !due && seat.seen == Some(versions) {
                    continue;
                }
                seat.seen = Some(versions);
                seat.due = seat.part.step(at);
                ran = true;
                if round + 1 == ROUNDS && self.store.version() != versions.0 {
                    *self.restless.entry(seat.part.name()).or_default() += 1;
                }
            }
            if !ran {
                break;
            }
        }
        self.seats.iter().filter_map(|seat| seat.due).min()
    }

    /// Runs the cluster up to `end` as fast as the machine can. The clock must stand still (factor 0).
    pub fn fast_forward(&mut self, end: DateTime<Utc>) {
        self.forward(end, |_| {});
    }

    /// The same, for times when only the parts read the logs: the logs are dropped as soon as all parts have read them.
    pub fn live_through(&mut self, end: DateTime<Utc>) {
        self.forward(end, Store::forget);
    }

    fn forward(&mut self, end: DateTime<Utc>, settled: impl Fn(&Store)) {
        loop {
            let next = self.settle();
            settled(&self.store);
            let now = self.store.clock().now();
            if now >= end {
                return;
            }
            let next = next.map_or(end, |next| next.max(now + GRAIN)).min(end);
            self.store.clock().set(next);
        }
    }

    /// Runs the cluster for ever: sleeps until the next deadline or until something has changed.
    pub async fn run(mut self) {
        let mut objects = self.store.changes();
        let mut world = self.world.changes();
        let clock = self.store.clock().clone();
        loop {
            objects.mark_unchanged();
            world.mark_unchanged();
            let next = self.settle();
            let wait = async {
                match next {
                    Some(next) => clock.until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                alive = woken(&mut objects) => if !alive { return },
                alive = woken(&mut world) => if !alive { return },
            }
            // Lets other tasks (the API server) run even if parts are always due.
            tokio::task::yield_now().await;
        }
    }
}

async fn woken(changes: &mut watch::Receiver<u64>) -> bool {
    changes.changed().await.is_ok()
}
