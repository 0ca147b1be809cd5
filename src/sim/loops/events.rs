//! Events: written once, counted when they repeat, deleted after an hour, and limited in number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::doc::{after, put};
use super::feed::{Feed, News, Queue};
use crate::clock::stamp;
use crate::engine::Part;
use crate::resources::Res;
use crate::rng;
use crate::store::{Delete, Key, Object, Store, Write};

/// How long an event is kept after it was last seen.
const KEPT: TimeDelta = TimeDelta::hours(1);
/// Maximum number of events; the oldest are deleted first.
const MOST: usize = 8_000;

/// The content of an event.
#[derive(Debug, Clone, Copy)]
pub struct Tale<'a> {
    /// `Normal` or `Warning`.
    pub kind: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
    /// The component that reports it.
    pub from: &'a str,
    /// The node that it was reported on, if there is one.
    pub host: &'a str,
    /// The part of the object that it is about, such as `spec.containers{app}`.
    pub field: &'a str,
}

/// The key of an event: repetitions have the same key.
type Theme = (String, String, u64);

/// Writes events. Clones share the state.
#[derive(Debug, Clone)]
pub struct Recorder {
    store: Store,
    known: Arc<Mutex<HashMap<Theme, Key>>>,
}

impl Recorder {
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), known: Arc::default() }
    }

    pub fn normal(&self, of: &Object, from: &str, reason: &str, message: &str) {
        self.tell(of, Tale { kind: "Normal", reason, message, from, host: "", field: "" });
    }

    pub fn warning(&self, of: &Object, from: &str, reason: &str, message: &str) {
        self.tell(of, Tale { kind: "Warning", reason, message, from, host: "", field: "" });
    }

    pub fn tell(&self, of: &Object, tale: Tale<'_>) {
        if self.store.is_past() {
            return;
        }
        let now = self.store.clock().now();
        let mut hash = self.store.random().keyed(&[tale.message, tale.from, tale.field]);
        let theme = (of.uid().to_owned(), tale.reason.to_owned(), hash.u64(..));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = known.get(&theme) {
            let repeated =
                self.store.write(Res::Events, &key.namespace, &key.name, &Write::by(tale.from), |value| {
                    let count = value.get("count").and_then(serde_json::Value::as_i64).unwrap_or(1);
                    put(value, &["count"], json!(count + 1));
                    put(value, &["lastTimestamp"], json!(stamp(now)));
                    Ok(())
                });
            if repeated.is_ok() {
                return;
            }
        }
        let namespace = if of.namespace().is_empty() { "default" } else { of.namespace() };
        let mut rng = self.store.random().keyed(&[
            "event",
            of.namespace(),
            of.name(),
            tale.reason,
            &theme.2.to_string(),
            &stamp(now),
        ]);
        let name = format!("{}.{:016x}", of.name(), rng.u64(..));
        let mut source = json!({"component": tale.from});
        if !tale.host.is_empty() {
            put(&mut source, &["host"], json!(tale.host));
        }
        let info = of.res.info();
        let mut about = json!({"kind": info.kind, "apiVersion": info.api_version(), "name": of.name(), "uid": of.uid(),
            "resourceVersion": of.text("/metadata/resourceVersion")});
        for (field, text) in [("namespace", of.namespace()), ("fieldPath", tale.field)] {
            if !text.is_empty() {
                put(&mut about, &[field], json!(text));
            }
        }
        let event = json!({"metadata": {"name": name, "namespace": namespace, "uid": rng::uid_of(&mut rng)},
            "involvedObject": about, "type": tale.kind, "reason": tale.reason, "message": tale.message, "source": source,
            "firstTimestamp": stamp(now), "lastTimestamp": stamp(now), "eventTime": null, "count": 1,
            "reportingComponent": tale.from, "reportingInstance": tale.host});
        // A namespace that is being deleted accepts no events.
        if let Ok(made) = self.store.create(Res::Events, event, &Write::by(tale.from)) {
            known.insert(theme, made.key());
        }
    }
}

/// Deletes old events.
#[derive(Debug)]
pub struct Pruner {
    store: Store,
    recorder: Recorder,
    events: Feed,
    queue: Queue<Key>,
    count: usize,
}

impl Pruner {
    pub fn new(recorder: &Recorder) -> Self {
        let store = recorder.store.clone();
        let events = Feed::new(&store, Res::Events);
        Self { store, recorder: recorder.clone(), events, queue: Queue::default(), count: 0 }
    }

    fn drop_one(&mut self, key: &Key) {
        self.queue.forget(key);
        drop(self.store.delete(Res::Events, &key.namespace, &key.name, &Delete::now()));
    }
}

impl Part for Pruner {
    fn name(&self) -> &'static str {
        "events"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (mut gone, mut reset) = (Vec::new(), false);
        for news in self.events.read() {
            match news {
                News::Reset => {
                    reset = true;
                    self.queue.clear();
                    self.count = 0;
                }
                News::Now(event, before) => {
                    self.count += usize::from(before.is_none());
                    let seen =
                        event.time("/lastTimestamp").or_else(|| event.time("/metadata/creationTimestamp"));
                    self.queue.set(event.key(), Some(after(seen.unwrap_or(at), KEPT)));
                }
                News::Gone(event) => {
                    self.count = self.count.saturating_sub(1);
                    self.queue.forget(&event.key());
                    gone.push(event.key());
                }
            }
        }
        for key in self.queue.take(at) {
            self.drop_one(&key);
        }
        let mut excess = self.count.saturating_sub(MOST);
        while excess > 0
            && let Some(key) = self.queue.first()
        {
            self.drop_one(&key);
            excess -= 1;
        }
        if reset {
            // Deletions meanwhile were not reported one by one.
            let mut known = self.recorder.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, key| self.store.get(Res::Events, &key.namespace, &key.name).is_some());
        }
        if !gone.is_empty() {
            let gone: std::collections::HashSet<Key> = gone.into_iter().collect();
            let mut known = self.recorder.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, key| !gone.contains(key));
        }
        self.queue.next()
    }
}
