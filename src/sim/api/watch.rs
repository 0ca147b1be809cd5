//! Watches: a resource's event log as a stream of lines, with selectors and bookmarks.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch as signal;
use tokio::time::{Instant, Sleep};

use super::read::{View, version_of};
use super::table::{Shape, one_row};
use super::{Answer, Api, Call, reply};
use crate::clock::Clock;
use crate::resources::Res;
use crate::status::Status;
use crate::store::{Change, Happened, Object, Subscription};

/// The duration of a watch without a timeout (the real server: 30 to 60 minutes).
const LASTS: Duration = Duration::from_secs(45 * 60);
/// How often a quiet watch gets a bookmark, as in the real server.
const BOOKMARKS: Duration = Duration::from_secs(60);

struct Feed {
    clock: Arc<Clock>,
    res: Res,
    view: View,
    shape: Shape,
    described: bool,
    subscription: Subscription,
    waiting: VecDeque<Bytes>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: std::pin::Pin<Box<Sleep>>,
    cut: signal::Receiver<u64>,
    silent: signal::Receiver<Vec<String>>,
    over: bool,
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut out = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
    Bytes::from(out)
}

fn error_line(status: &Status) -> Bytes {
    line("ERROR", status.body().to_string().as_bytes())
}

impl Feed {
    fn event(&mut self, kind: &str, object: &Arc<Object>) -> Bytes {
        if self.shape == Shape::Object {
            return line(kind, &reply::document(object));
        }
        let value = one_row(object, self.clock.now(), self.shape, !self.described);
        self.described = true;
        line(kind, value.to_string().as_bytes())
    }

    /// The type of a change for a client that sees only a part of the objects.
    fn translate(&mut self, change: &Change) -> Option<Bytes> {
        let now = change.happened != Happened::Deleted && self.view.shows(&change.object);
        let before = change.before.as_ref().is_some_and(|before| self.view.shows(before));
        match (before, now) {
            (false, true) => Some(self.event("ADDED", &change.object)),
            (true, true) => Some(self.event("MODIFIED", &change.object)),
            (true, false) if change.happened == Happened::Deleted => {
                Some(self.event("DELETED", &change.object))
            }
            (true, false) => {
                // The object left the view: the client gets the version that it knows, with the version at which it
                // left.
                let before = change.before.as_ref()?;
                let mut value = before.value.clone();
                if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
                    metadata.insert("resourceVersion".into(), json!(change.version.to_string()));
                }
                let left = Arc::new(Object::new(self.res, value, change.version));
                Some(self.event("DELETED", &left))
            }
            (false, false) => None,
        }
    }

    fn is_silent(&mut self) -> bool {
        let plural = self.res.info().plural;
        self.silent.borrow_and_update().iter().any(|one| one == plural)
    }

    fn bookmark(&self, initial_end: bool) -> Bytes {
        let info = self.res.info();
        let mut metadata = json!({"resourceVersion": self.subscription.cursor().to_string()});
        if initial_end && let Some(map) = metadata.as_object_mut() {
            map.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let mut object = json!({"kind": info.kind, "apiVersion": info.api_version(), "metadata": metadata});
        if self.shape != Shape::Object {
            let row = json!({"cells": [], "object": object});
            object = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "columnDefinitions": null, "rows": [row]});
        }
        line("BOOKMARK", object.to_string().as_bytes())
    }

    /// The next lines, or the end.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            while self.is_silent() {
                tokio::select! {
                    changed = self.silent.changed() => if changed.is_err() { return None },
                    _ = self.cut.changed() => return None,
                }
            }
            if let Some(first) = self.waiting.pop_front() {
                // Many small events are sent together, in pieces that a slow client can handle.
                let mut out = first.to_vec();
                while out.len() < 64 << 10
                    && let Some(more) = self.waiting.pop_front()
                {
                    out.extend_from_slice(&more);
                }
                return Some((Ok(Bytes::from(out)), self));
            }
            if self.over {
                return None;
            }
            tokio::select! {
                biased;
                () = &mut self.end => {
                    self.over = true;
                    if self.bookmarks {
                        let bookmark = self.bookmark(false);
                        self.waiting.push_back(bookmark);
                    }
                }
                _ = self.cut.changed() => return None,
                batch = self.subscription.next() => match batch {
                    Ok(batch) => {
                        for change in batch {
                            let line = self.translate(&change);
                            self.waiting.extend(line);
                        }
                    }
                    Err(gone) => {
                        self.over = true;
                        self.waiting.push_back(error_line(&gone));
                    }
                },
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark += BOOKMARKS;
                    let bookmark = self.bookmark(false);
                    self.waiting.push_back(bookmark);
                }
            }
        }
    }
}

impl Api {
    pub(super) fn watch(&self, call: &Call, res: Res) -> Answer {
        let view = View::of(call, res)?;
        let asked = version_of(call)?;
        let initial = call.query.flag("sendInitialEvents");
        // Without a version, and at version 0, a watch starts with all existing objects.
        let synthetic = initial || asked == 0;
        let (start, objects) = if synthetic { self.visible(res, &view) } else { (asked, Vec::new()) };
        let lasts = call.query.number("timeoutSeconds").filter(|seconds| *seconds > 0);
        let lasts = lasts.map_or(LASTS, Duration::from_secs);
        let bookmarks = call.query.flag("allowWatchBookmarks");
        let end = Box::pin(tokio::time::sleep(lasts));
        let mut feed = Feed {
            clock: self.clock.clone(),
            res,
            view,
            shape: Shape::of(call),
            described: false,
            subscription: self.store.subscribe_from(res, start),
            waiting: VecDeque::new(),
            bookmarks,
            next_bookmark: end.deadline() - lasts + BOOKMARKS,
            end,
            cut: self.cut.subscribe(),
            silent: self.silent.subscribe(),
            over: false,
        };
        if !synthetic && asked < self.store.opened() {
            feed.waiting.push_back(error_line(&Status::expired(asked, self.store.opened())));
            feed.over = true;
        }
        for object in &objects {
            let line = feed.event("ADDED", object);
            feed.waiting.push_back(line);
        }
        if initial && bookmarks {
            let bookmark = feed.bookmark(true);
            feed.waiting.push_back(bookmark);
        }
        Ok(reply::stream(Body::from_stream(futures::stream::unfold(feed, Feed::next)), "application/json"))
    }
}
