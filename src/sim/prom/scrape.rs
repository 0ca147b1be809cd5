//! The scraper: every 15 simulated seconds it reads the metrics of all targets into the database. A target that does
//! not answer has `up` 0 and nothing else. The series of a target that is no longer discovered become stale.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::ledger::Ledger;
use super::mesh::Mesh;
use super::nginx::Nginx;
use super::sheet::{Desk, Sheet, Words};
use super::tsdb::Tsdb;
use super::{export, haproxy, state};
use crate::engine::Part;
use crate::store::Store;
use crate::traffic::SharedField;
use crate::world::World;

/// How often targets are scraped.
pub const EVERY: TimeDelta = TimeDelta::seconds(15);
/// How often ended series are searched for.
const TIDY: i64 = 300_000;

/// The database behind its lock. Clones share it.
#[derive(Debug, Clone)]
pub struct SharedTsdb(Arc<RwLock<Tsdb>>);

impl SharedTsdb {
    /// Keeps samples for `retention` of simulated time.
    pub fn new(retention: Duration) -> Self {
        let keep = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX / 4);
        Self(Arc::new(RwLock::new(Tsdb::new(keep))))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Tsdb> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Tsdb> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The series of one pod.
#[derive(Default)]
struct OfPod {
    /// By the place of the Service.
    http: Vec<(usize, Sheet)>,
    container: Sheet,
    round: u64,
}

/// The part of the engine that fills the database.
pub struct Scraper {
    store: Store,
    world: World,
    field: SharedField,
    db: SharedTsdb,
    /// Above this number of pods, histograms have only every other bucket.
    slim_above: usize,
    words: Words,
    pods: HashMap<Arc<str>, OfPod>,
    nodes: BTreeMap<String, export::NodeSheet>,
    proxies: BTreeMap<usize, Sheet>,
    ledger: Ledger,
    mesh: Mesh,
    nginx: Nginx,
    objects: Sheet,
    /// When it last scraped, how often, and when it last tidied up (milliseconds).
    last: Option<DateTime<Utc>>,
    round: u64,
    tidied: i64,
}

impl Scraper {
    pub fn new(
        store: &Store,
        world: &World,
        field: &SharedField,
        db: &SharedTsdb,
        slim_above: usize,
    ) -> Self {
        Self {
            store: store.clone(),
            world: world.clone(),
            field: field.clone(),
            db: db.clone(),
            slim_above,
            words: Words::default(),
            pods: HashMap::new(),
            nodes: BTreeMap::new(),
            proxies: BTreeMap::new(),
            ledger: Ledger::new(store.random().keyed(&["ledger"])),
            mesh: Mesh::default(),
            nginx: Nginx::default(),
            objects: Sheet::default(),
            last: None,
            round: 0,
            tidied: 0,
        }
    }

    fn scrape(&mut self, at: DateTime<Utc>, seconds: f64) {
        self.round += 1;
        let state = self.world.now();
        let at = at.timestamp_millis();
        let (field, db) = (self.field.read(), self.db.clone());
        let mut db = db.write();
        let slim = field.by_uid.len() > self.slim_above;
        let mut desk = Desk { db: &mut db, words: &mut self.words, at };
        let mut used: HashMap<Arc<str>, (f64, f64)> = HashMap::new();
        for pod in field.live() {
            if pod.is_alive() {
                let node = used.entry(pod.node.clone()).or_default();
                (node.0, node.1) = (node.0 + pod.cpu, node.1 + pod.memory);
            }
            if !self.pods.contains_key(&pod.uid) {
                self.pods.insert(pod.uid.clone(), OfPod::default());
            }
            let Some(sheets) = self.pods.get_mut(&pod.uid) else { continue };
            sheets.round = self.round;
            for (place, counts) in pod.counts.iter().filter(|_| pod.behaviour.counts) {
                let Some(service) = field.services.get(*place) else { continue };
                let known = sheets.http.iter().position(|(of, _)| of == place);
                let known = known.unwrap_or_else(|| {
                    sheets.http.push((*place, Sheet::default()));
                    sheets.http.len() - 1
                });
                if let Some((_, sheet)) = sheets.http.get_mut(known) {
                    export::http(&mut desk, sheet, pod, service, counts, slim);
                    sheet.finish(desk.db, at);
                }
            }
            export::container(&mut desk, &mut sheets.container, pod, slim);
            sheets.container.finish(desk.db, at);
        }
        let round = self.round;
        self.pods.retain(|_, sheets| {
            if sheets.round != round {
                for (_, sheet) in &mut sheets.http {
                    sheet.close(desk.db, at);
                }
                sheets.container.close(desk.db, at);
            }
            sheets.round == round
        });
        for (place, service) in field.services.iter().enumerate() {
            if service.proxy.is_some() {
                let sheet = self.proxies.entry(place).or_default();
                haproxy::export(&mut desk, sheet, &field, service);
                sheet.finish(desk.db, at);
            } else if let Some(mut sheet) = self.proxies.remove(&place) {
                sheet.close(desk.db, at);
            }
        }
        let told = self.ledger.read(&field);
        self.mesh.export(&mut desk, &field, &mut self.ledger, &told);
        self.nginx.export(&mut desk, &field, &mut self.ledger, &told);
        drop(field);
        export::nodes(&mut desk, &mut self.nodes, &self.store, &state, &used, seconds, slim);
        state::objects(&mut desk, &mut self.objects, &self.store);
        self.objects.finish(desk.db, at);
        if at - self.tidied > TIDY {
            self.tidied = at;
            let keep = db.keeps();
            db.compact(at - keep);
            self.words.tidy();
        }
    }
}

impl Part for Scraper {
    fn name(&self) -> &'static str {
        "prometheus-scraper"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let last = self.last.filter(|last| *last <= at);
        if let Some(last) = last
            && at - last < EVERY
        {
            return Some(last + EVERY);
        }
        let seconds = last.map_or(0.0, |last| (at - last).num_milliseconds() as f64 / 1000.0);
        self.last = Some(at);
        self.scrape(at, seconds);
        Some(at + EVERY)
    }
}
