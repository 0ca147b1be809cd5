//! The Alertmanager of the simulated cluster, API v2: the alerts that the rules send, silences, groups.
//!
//! `http` serves it.

mod http;
mod silence;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

pub use http::router;
pub use silence::{Matcher, Silence};

use crate::prom::tsdb::Labels;
use crate::rng::Random;

/// How long an ended silence is kept.
const KEEP: TimeDelta = TimeDelta::hours(120);

/// An alert as the rules report it.
#[derive(Debug, Clone)]
pub struct Told {
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    pub since: DateTime<Utc>,
    /// When it ended.
    pub over: Option<DateTime<Utc>>,
}

/// A firing alert.
#[derive(Debug, Clone)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    pub since: DateTime<Utc>,
    pub updated: DateTime<Utc>,
}

#[derive(Debug, Default)]
struct Inner {
    alerts: BTreeMap<Labels, Alert>,
    silences: BTreeMap<String, Silence>,
}

/// The Alertmanager. Clones share it.
#[derive(Debug, Clone)]
pub struct Alertmanager {
    inner: Arc<Mutex<Inner>>,
    random: Arc<Random>,
}

/// A time in the API's form.
fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Alertmanager {
    pub fn new(random: &Arc<Random>) -> Self {
        Self { inner: Arc::default(), random: random.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the alerts of the rules. Resolved alerts are removed at once.
    pub fn tell(&self, told: Vec<Told>, now: DateTime<Utc>) {
        let mut inner = self.lock();
        for Told { labels, annotations, since, over } in told {
            if over.is_some() {
                inner.alerts.remove(&labels);
            } else {
                inner.alerts.insert(labels.clone(), Alert { labels, annotations, since, updated: now });
            }
        }
        inner.silences.retain(|_, silence| silence.ends + KEEP > now);
    }

    /// Every firing alert, silenced ones too, with the ids of the silences that match it.
    pub fn alerts(&self, now: DateTime<Utc>) -> Vec<(Alert, Vec<String>)> {
        let inner = self.lock();
        let silenced = |alert: &Alert| {
            let active =
                inner.silences.values().filter(|s| s.state(now) == "active" && s.matches(&alert.labels));
            active.map(|silence| silence.id.clone()).collect()
        };
        inner.alerts.values().map(|alert| (alert.clone(), silenced(alert))).collect()
    }

    /// All silences, ended ones too.
    pub fn silences(&self) -> Vec<Silence> {
        self.lock().silences.values().cloned().collect()
    }

    /// Creates a silence, or changes the one with its id. As in the real Alertmanager, a change of the matchers ends
    /// the old silence and creates another. Returns the id, or `None` for an unknown id.
    pub fn silence(&self, mut silence: Silence, now: DateTime<Utc>) -> Option<String> {
        let mut inner = self.lock();
        let fresh = if silence.id.is_empty() {
            true
        } else {
            let old = inner.silences.get_mut(&silence.id)?;
            let other = old.state(now) == "expired" || old.matchers != silence.matchers;
            if other && old.state(now) != "expired" {
                (old.ends, old.updated) = (now, now);
            }
            other
        };
        if fresh {
            silence.id = self.random.uid();
        }
        silence.updated = now;
        silence.starts = if fresh { silence.starts.max(now) } else { silence.starts };
        let id = silence.id.clone();
        inner.silences.insert(id.clone(), silence);
        Some(id)
    }

    /// Ends a silence. False when there is none.
    pub fn expire(&self, id: &str, now: DateTime<Utc>) -> bool {
        let mut inner = self.lock();
        let Some(silence) = inner.silences.get_mut(id) else { return false };
        if silence.state(now) != "expired" {
            silence.starts = silence.starts.min(now);
            (silence.ends, silence.updated) = (now, now);
        }
        true
    }
}

impl Alert {
    /// As `gettableAlert`.
    fn value(&self, silenced_by: &[String]) -> Value {
        let name = self.labels.get("alertname").map(|name| &**name).unwrap_or_default();
        json!({
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": stamp(self.since),
            "updatedAt": stamp(self.updated),
            // Prometheus sends its alerts periodically; without an update for this long they would be resolved.
            "endsAt": stamp(self.updated + TimeDelta::minutes(4)),
            "fingerprint": self.fingerprint(),
            "generatorURL": format!("/prometheus/graph?g0.expr=ALERTS%7Balertname%3D%22{name}%22%7D&g0.tab=1"),
            "receivers": [{"name": "default"}],
            "status": {
                "state": if silenced_by.is_empty() { "active" } else { "suppressed" },
                "silencedBy": silenced_by,
                "inhibitedBy": [],
                "mutedBy": [],
            },
        })
    }

    fn fingerprint(&self) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for (name, value) in self.labels.iter() {
            for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        format!("{hash:016x}")
    }
}
