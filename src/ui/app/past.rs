//! The movable clock: the world of an earlier moment, which all panes show instead of the present one.

use std::sync::Arc;

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::policy::moment::Asked;
use pilothouse_core::state::past;

use super::Ui;
use crate::ui::request::Ticket;

/// An earlier moment on the screen.
#[derive(Debug)]
pub struct Past {
    /// The moment.
    pub at: Stamp,
    /// The world of that moment. It does not change any more.
    pub world: Arc<World>,
    /// The newest world.
    pub present: World,
    /// The time by the wall clock.
    pub now: Stamp,
    /// The metrics of the moment.
    pub metrics: Metrics,
}

/// What is known of the metrics of an earlier moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Metrics {
    /// There is no Prometheus to ask, or it has not answered the question.
    #[default]
    Unknown,
    Asked(Ticket, Vec<Asked>),
    Known,
}

impl Ui {
    /// Moves the clock to an earlier moment.
    pub fn move_clock(&mut self, present: &World, at: Stamp) {
        let now = self.past.as_ref().map_or(self.now, |past| past.now);
        let world = Arc::new(past::world(present, at));
        self.past = Some(Past { at, world, present: present.clone(), now, metrics: Metrics::default() });
        // nothing is confirmed in the past
        (self.dialog, self.question) = (None, None);
        self.rows = super::PaneRows::default();
        self.details.made = None;
    }

    /// Replaces a cluster of the earlier moment, because more of it is known.
    pub fn complete_past(&mut self, cluster: Cluster) {
        let Some(past) = &mut self.past else { return };
        let id = cluster.id();
        let cluster = Arc::new(cluster);
        let others = past.world.clusters.iter();
        let clusters = others.map(|one| if one.id() == id { cluster.clone() } else { one.clone() }).collect();
        past.world = Arc::new(World { clusters, ..World::clone(&past.world) });
        past.metrics = Metrics::Known;
        self.rows = super::PaneRows::default();
        self.details.made = None;
    }

    /// Returns the clock to now.
    pub fn return_to_now(&mut self) {
        if let Some(past) = self.past.take() {
            self.now = past.now;
            self.rows = super::PaneRows::default();
            self.details.made = None;
        }
    }

    /// Before a message is handled or a frame is drawn: sets the time of the moment, and returns its world.
    pub fn enter_past(&mut self, present: &World) -> Option<Arc<World>> {
        let now = self.now;
        let past = self.past.as_mut()?;
        past.present = present.clone();
        past.now = now;
        self.now = past.at;
        Some(past.world.clone())
    }

    /// Afterwards: sets the time of the wall clock again.
    pub fn leave_past(&mut self) {
        if let Some(past) = &self.past {
            self.now = past.now;
        }
    }

    /// Returns the time by the wall clock, whether the clock is moved or not.
    pub fn today(&self) -> Stamp {
        self.past.as_ref().map_or(self.now, |past| past.now)
    }

    /// Returns the present world and a cluster of it, if the clock is moved.
    pub fn present(&self, id: ClusterId) -> Option<(World, Arc<Cluster>)> {
        let present = self.past.as_ref()?.present.clone();
        let cluster = present.cluster(id)?.clone();
        Some((present, cluster))
    }
}
