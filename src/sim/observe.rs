//! The parts that a cluster adds to its engine and its listener to be observable: traffic, application logs, the
//! metrics server, Prometheus, Alertmanager, Loki.
//!
//! The base URLs are `http://ADDR/prometheus`, `http://ADDR/alertmanager` and `http://ADDR/loki-gateway`, because the
//! listener's `/api/v1` belongs to Kubernetes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use crate::alerts::{self, Alertmanager};
use crate::clock::Clock;
use crate::engine::Part;
use crate::lines::Lines;
use crate::logs::Notebook;
use crate::loki::{self, Loki};
use crate::prom::eval::{Point, QueryError, eval, parse, vector};
use crate::prom::http;
use crate::prom::http::Served;
use crate::prom::rules::{self, Rule, Ruler, Rules};
use crate::prom::scrape::{Scraper, SharedTsdb};
use crate::store::Store;
use crate::traffic::meter::MetricsServer;
use crate::traffic::{Pace, SharedField, Traffic, Truth};
use crate::usage::Meter;
use crate::world::World;

/// How a cluster is observed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The length of a step of the traffic, in simulated time.
    pub step: Duration,
    /// How long samples are kept, in simulated time.
    pub retention: Duration,
    /// If there are more pods than this, fewer metrics are exported: fewer buckets, no pod phases, one CPU per machine.
    pub slim_above: usize,
    /// How many log lines all pods together write about ordinary requests per simulated second.
    pub lines: f64,
    pub rules: Vec<Rule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(1),
            retention: Duration::from_secs(1800),
            slim_above: 2000,
            lines: 30.0,
            rules: rules::built_in(),
        }
    }
}

/// The observation of one cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct Observe {
    field: SharedField,
    db: SharedTsdb,
    rules: Rules,
    alertmanager: Alertmanager,
    logs: Arc<Notebook>,
    pace: Pace,
    clock: Arc<Clock>,
}

impl Observe {
    /// The observing parts of a cluster, which the engine runs in this order after the control loops.
    pub fn new(
        store: &Store,
        world: &World,
        logs: &Arc<Notebook>,
        meter: &Arc<Meter>,
        settings: Settings,
    ) -> (Self, Vec<Box<dyn Part>>) {
        let one = Self {
            field: SharedField::default(),
            db: SharedTsdb::new(settings.retention),
            rules: Rules::new(settings.rules),
            alertmanager: Alertmanager::new(store.random()),
            logs: logs.clone(),
            pace: Pace::new(settings.step),
            clock: store.clock().clone(),
        };
        let parts: Vec<Box<dyn Part>> = vec![
            Box::new(Traffic::new(store, world, &one.field, &one.pace)),
            Box::new(Lines::new(&one.field, logs, settings.lines, store.random().keyed(&["lines"]))),
            Box::new(MetricsServer::new(store, world, &one.field, meter)),
            Box::new(Scraper::new(store, world, &one.field, &one.db, settings.slim_above)),
            Box::new(Ruler::new(&one.rules, &one.db, &one.alertmanager)),
        ];
        (one, parts)
    }

    /// The routes of all three APIs, for the listener of the API server.
    pub fn router(&self) -> Router {
        let served = Served { db: self.db.clone(), rules: self.rules.clone(), clock: self.clock.clone() };
        let loki = Loki { field: self.field.clone(), logs: self.logs.clone(), clock: self.clock.clone() };
        http::router(served).merge(alerts::router(&self.alertmanager, &self.clock)).merge(loki::router(loki))
    }

    /// The counts of all requests.
    pub fn truth(&self) -> Truth {
        Truth::of(&self.field.read())
    }

    /// The state of traffic.
    pub fn field(&self) -> &SharedField {
        &self.field
    }

    pub fn tsdb(&self) -> &SharedTsdb {
        &self.db
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    pub fn alertmanager(&self) -> &Alertmanager {
        &self.alertmanager
    }

    /// Returns the length of a step of the traffic. A warm-up makes the steps longer.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// An instant query at the current simulated time.
    pub fn ask(&self, query: &str) -> Result<Vec<Point>, QueryError> {
        vector(eval(&self.db.read(), &parse(query)?, self.clock.now().timestamp_millis())?)
    }
}
