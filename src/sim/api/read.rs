//! Reading: one object, lists with selectors, pages of a consistent list.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::table::Shape;
use super::{Answer, Api, Call, reply, table};
use crate::resources::Res;
use crate::selector::{Fields, Labels};
use crate::status::Status;
use crate::store::Object;

/// Lists that are being read page by page. After five minutes, or if there are too many, the oldest is dropped and its
/// reader gets 410.
const OPEN_LISTS: usize = 64;

/// The rest of a list whose first pages were sent.
#[derive(Debug)]
struct Rest {
    token: String,
    at: DateTime<Utc>,
    version: u64,
    objects: Vec<Arc<Object>>,
}

/// The lists that are being read page by page.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<VecDeque<Rest>>);

impl Pages {
    fn put(&self, rest: Rest) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|old| (rest.at - old.at).num_minutes() < 5);
        if open.len() >= OPEN_LISTS {
            open.pop_front();
        }
        open.push_back(rest);
    }

    /// The rest of a list after a page. It is kept, because the answer may get lost and be requested again.
    fn after(&self, token: &str) -> Option<(u64, Vec<Arc<Object>>)> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().find(|rest| rest.token == token).map(|rest| (rest.version, rest.objects.clone()))
    }
}

/// The objects that a list or a watch shows.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) namespace: Option<String>,
    pub(super) labels: Labels,
    pub(super) fields: Fields,
}

impl View {
    pub(super) fn of(call: &Call, res: Res) -> Result<Self, Status> {
        let mut fields = Fields::parse(res, call.query.text("fieldSelector"))?;
        if !call.target.name.is_empty() {
            fields = Fields::parse(res, &format!("metadata.name={}", call.target.name))?;
        }
        Ok(Self {
            namespace: call.target.namespace.clone(),
            labels: Labels::parse(call.query.text("labelSelector"))?,
            fields,
        })
    }

    pub(super) fn shows(&self, object: &Object) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace())
            && self.labels.matches(object.labels())
            && self.fields.matches(&object.value)
    }
}

/// `resourceVersion` of a request as a number; absent: 0.
pub(super) fn version_of(call: &Call) -> Result<u64, Status> {
    let text = call.query.text("resourceVersion");
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let why = format!("strconv.ParseUint: parsing \"{text}\": invalid syntax");
        let what = format!("invalid resource version: resourceVersion: Invalid value: \"{text}\": {why}");
        Status::bad_request(what)
    })
}

fn too_large(asked: u64, current: u64) -> Status {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    let cause = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
    Status::new(504, "Timeout", message).details(json!({"causes": cause, "retryAfterSeconds": 1}))
}

impl Api {
    pub(super) fn find(&self, call: &Call, res: Res) -> Result<Arc<Object>, Status> {
        let name = &call.target.name;
        self.store.get(res, call.namespace(), name).ok_or_else(|| Status::not_found(res, name))
    }

    pub(super) fn get(&self, call: &Call, res: Res) -> Answer {
        let object = self.find(call, res)?;
        Ok(self.show(call, 200, &object))
    }

    /// One object in the form that the client asked for.
    pub(super) fn show(&self, call: &Call, code: u16, object: &Arc<Object>) -> Response {
        match Shape::of(call) {
            Shape::Object => reply::object(code, object),
            Shape::Metadata => reply::json(code, &table::metadata_only(object)),
            shape => {
                let now = self.clock.now();
                reply::json(
                    code,
                    &table::table(object.res, std::slice::from_ref(object), object.version, now, shape),
                )
            }
        }
    }

    /// The objects of a view, and the version that they belong to.
    pub(super) fn visible(&self, res: Res, view: &View) -> (u64, Vec<Arc<Object>>) {
        let (version, mut all) = match view.fields.node().filter(|_| res == Res::Pods) {
            // The version is read first: a pod that is bound meanwhile is in the list and again in the watch, but never
            // missed.
            Some(node) => (self.store.version(), self.store.pods_on(node)),
            None => self.store.snapshot(res, view.namespace.as_deref()),
        };
        if !view.labels.is_all() || !view.fields.is_all() || view.namespace.is_some() {
            all.retain(|object| view.shows(object));
        }
        (version, all)
    }

    pub(super) async fn list(&self, call: &Call, res: Res) -> Answer {
        let view = View::of(call, res)?;
        let asked = version_of(call)?;
        let rule = call.query.text("resourceVersionMatch");
        let more = call.query.text("continue");
        if !rule.is_empty() && call.query.text("resourceVersion").is_empty() {
            let why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
            let cause =
                json!([{"reason": "FieldValueForbidden", "message": why, "field": "resourceVersionMatch"}]);
            let message = format!("ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: {why}");
            let details = json!({"group": "meta.k8s.io", "kind": "ListOptions", "causes": cause});
            return Err(Status::new(422, "Invalid", message).details(details));
        }
        if !more.is_empty() && asked != 0 {
            let why = "specifying resource version is not allowed when using continue";
            return Err(Status::bad_request(why));
        }
        let current = self.store.version();
        if asked > current {
            return Err(too_large(asked, current));
        }
        if rule == "Exact" && asked != 0 && asked < current {
            // Only the current version is kept.
            let what = "The provided resource version is no longer available";
            return Err(Status::new(410, "Expired", format!("{what}: {asked} ({current})")));
        }
        let (version, mut objects) = if more.is_empty() {
            self.visible(res, &view)
        } else {
            let gone = "The provided continue parameter is too old to display a consistent list result. You can start a \
                        new list without the continue parameter.";
            self.pages.after(more).ok_or_else(|| Status::new(410, "Expired", gone))?
        };
        let mut metadata = json!({"resourceVersion": version.to_string()});
        let limit = usize::try_from(call.query.number("limit").unwrap_or(0)).unwrap_or(0);
        // A list at version 0 comes from the watch cache, which has no pages.
        let from_cache = call.query.text("resourceVersion") == "0" && more.is_empty();
        if limit > 0 && objects.len() > limit && !from_cache {
            let rest = objects.split_off(limit);
            let left = rest.len();
            let token = self.random.uid();
            if let Some(map) = metadata.as_object_mut() {
                map.insert("continue".into(), json!(token));
                if view.labels.is_all() && view.fields.is_all() {
                    map.insert("remainingItemCount".into(), json!(left));
                }
            }
            self.pages.put(Rest { token, at: self.clock.now(), version, objects: rest });
        }
        let shape = Shape::of(call);
        if shape == Shape::Metadata {
            let items: Vec<Value> = objects.iter().map(|object| table::metadata_only(object)).collect();
            let value = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata, "items": items});
            return Ok(reply::parts(vec![Bytes::from(value.to_string())], call.gzip()).await);
        }
        if shape != Shape::Object {
            let parts = table::parts(res, &objects, &metadata, self.clock.now(), shape);
            return Ok(reply::parts(parts, call.gzip()).await);
        }
        let info = res.info();
        let head = format!(
            "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
            info.kind,
            info.api_version()
        );
        let mut parts = Vec::with_capacity(objects.len() * 2 + 2);
        parts.push(Bytes::from(head));
        for (n, object) in objects.iter().enumerate() {
            if n > 0 {
                parts.push(Bytes::from_static(b","));
            }
            parts.push(if info.custom {
                Bytes::from(reply::document(object))
            } else {
                object.item().clone()
            });
        }
        parts.push(Bytes::from_static(b"]}"));
        Ok(reply::parts(parts, call.gzip()).await)
    }
}
