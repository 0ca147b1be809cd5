//! Traffic: how many requests each Service gets, which backend answers, how long it takes and what fails. Requests are
//! really distributed: every number in metrics, logs and autoscalers is counted here and nowhere else.
//!
//! [`field`] is the state that readers share, `facts` and `read` load pods and endpoints into it, [`rules`] reads the
//! objects that say how requests are distributed, `split` and `route` choose backends, `serve` processes the requests of
//! one pod, `flow` is one step of all Services, [`meter`] is the metrics server.

pub mod draw;
mod facts;
pub mod field;
mod flow;
pub mod meter;
pub(crate) mod read;
mod route;
pub mod rules;
mod serve;
mod split;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

pub use field::{Counts, Fate, Field, Pod, ServiceTruth, SharedField, Truth};

use crate::clock::Clock;
use crate::engine::Part;
use crate::store::Store;
use crate::world::World;
use draw::Dice;
use facts::Facts;
use flow::{Order, Stretch};

/// The longest step; if the clock was moved further, the rest is skipped.
const LONGEST: TimeDelta = TimeDelta::seconds(60);

/// The length of a step, which can be changed while the cluster runs (a warm-up uses longer steps). Clones share it.
#[derive(Debug, Clone)]
pub struct Pace(Arc<AtomicU64>);

impl Pace {
    pub fn new(step: Duration) -> Self {
        let pace = Self(Arc::default());
        pace.set(step);
        pace
    }

    /// In simulated time; at least 200 ms.
    pub fn set(&self, step: Duration) {
        self.0
            .store(u64::try_from(step.as_millis()).unwrap_or(u64::MAX).clamp(200, 60_000), Ordering::Relaxed);
    }

    fn step(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.0.load(Ordering::Relaxed) as i64)
    }
}

/// The part of the engine that simulates traffic.
pub struct Traffic {
    clock: Arc<Clock>,
    world: World,
    field: SharedField,
    pace: Pace,
    facts: Facts,
    order: Option<Order>,
    dice: Dice,
    last: Option<DateTime<Utc>>,
}

impl Traffic {
    pub fn new(store: &Store, world: &World, field: &SharedField, pace: &Pace) -> Self {
        Self {
            clock: store.clock().clone(),
            world: world.clone(),
            field: field.clone(),
            pace: pace.clone(),
            facts: Facts::new(store),
            order: None,
            dice: Dice(store.random().keyed(&["traffic"])),
            last: None,
        }
    }
}

impl Part for Traffic {
    fn name(&self) -> &'static str {
        "traffic"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let step = self.pace.step();
        // If the time was set back, it starts again.
        let last = self.last.filter(|last| *last <= at);
        if let Some(last) = last
            && at - last < step
        {
            return Some(last + step);
        }
        let version = self.world.version();
        let state = self.world.now();
        let mut field = self.field.write();
        if self.facts.follow(&mut field, &state, version) || self.order.is_none() {
            self.order = Some(Order::of(&field, &state));
        }
        if let (Some(last), Some(order)) = (last, &self.order) {
            let seconds = (at - last).min(LONGEST).num_milliseconds() as f64 / 1000.0;
            let passed = self.clock.since_origin(at).num_milliseconds() as f64 / 1000.0;
            flow::step(&mut field, &state, order, &mut self.dice, Stretch { now: at, passed, seconds });
        }
        self.last = Some(at);
        Some(at + step)
    }
}
