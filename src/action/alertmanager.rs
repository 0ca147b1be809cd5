//! The silences of an Alertmanager as objects of actions. A silence is read as a JSON object with one field, what the
//! silence says, so that the checks, the verification and the undo of a [`Change`] apply to it. It is created and ended
//! by requests of the Alertmanager's API v2: through the API server's proxy to a Service, or at the URL of the config.
//!
//! The Alertmanager chooses the id of a new silence, and creates another one for each request. So a silence is recognized
//! by what it says: the matchers, the author, the comment, and the end to the millisecond. If an answer is lost, the silence
//! is looked for, and the request is not repeated.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method};
use pilothouse_core::domain::alert::{SILENCE, SILENCE_IDS, SilenceSpec, is_url, through};
use pilothouse_core::domain::found::ServiceAddress;
use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::plan::{Change, StepKind};
use pilothouse_core::domain::time::Stamp;
use serde_json::{Map, Value, json};

use super::live_object::Live;
use crate::wire::client::{ReadClient, escape};
use crate::wire::error::ApiError;
use crate::wire::write::{WriteClient, WriteError};

const SILENCES: &str = "api/v2/silences";
const ONE: &str = "api/v2/silence";
/// The maximum size of the list of silences.
const CAP: usize = 32 << 20;
/// How much earlier than now a silence is said to begin. An Alertmanager lets it begin now then, even if our clock is
/// ahead of its own.
const EARLIER_SECS: i64 = 600;

/// A server with a URL. Its settings have the credentials.
pub trait Site: Send + Sync {
    /// Returns the URL without credentials.
    fn url(&self) -> String;
    fn get<'s>(&'s self, path: &'s str) -> BoxFuture<'s, Result<Bytes, ApiError>>;
    /// Sends a request once.
    fn write(&self, method: Method, path: String, body: Bytes) -> BoxFuture<'_, Result<(), WriteError>>;
}

/// The Alertmanager of a cluster.
#[derive(Clone, Default)]
pub struct Alertmanager {
    /// The one with the URL of the config.
    pub site: Option<Arc<dyn Site>>,
    /// The headers of the config, such as that of a tenant.
    pub headers: HeaderMap,
    /// What is wrong with the settings.
    pub unusable: Option<String>,
}

impl fmt::Debug for Alertmanager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alertmanager").field("has_site", &self.site.is_some()).finish_non_exhaustive()
    }
}

/// Where the Alertmanager of a silence is.
enum Place<'a> {
    Site(&'a dyn Site),
    Service(ServiceAddress),
}

impl Alertmanager {
    fn place(&self, on: &ObjectRef) -> Result<Place<'_>, ApiError> {
        let invalid = |message: String| ApiError::Invalid { message };
        if let Some(why) = &self.unusable {
            return Err(invalid(why.clone()));
        }
        match through(on).as_deref() {
            // an action of an earlier version does not name the URL
            Some(url) if url.is_empty() || is_url(url) => match &self.site {
                Some(site) if url.is_empty() || site.url() == url => Ok(Place::Site(&**site)),
                Some(site) => Err(invalid(format!(
                    "the silence is at {url}, but alertmanager.url is {} now",
                    site.url()
                ))),
                None if url.is_empty() => Err(invalid("alertmanager.url is not in the config".into())),
                None => Err(invalid(format!(
                    "the silence is at {url}, but alertmanager.url is not in the config"
                ))),
            },
            Some(text) => ServiceAddress::parse(text)
                .map(Place::Service)
                .ok_or_else(|| invalid(format!("{text:?} is no Service of an Alertmanager"))),
            None => Err(invalid(format!("{on} is no silence of an Alertmanager"))),
        }
    }

    /// Returns an error if no silence can be sent through the API server.
    fn sent_through(&self) -> Result<(), ApiError> {
        if self.headers.is_empty() {
            return Ok(());
        }
        let message = "a silence cannot be sent through the API server with the headers of alertmanager.headers: set \
                       alertmanager.url";
        Err(ApiError::Invalid { message: message.into() })
    }

    /// Reads a silence. If there is none with this id, or none that says the same, its field is null.
    pub async fn get(&self, on: &ObjectRef, reader: &ReadClient) -> Result<Value, ApiError> {
        let body = match self.place(on)? {
            Place::Site(site) => site.get(SILENCES).await?,
            Place::Service(address) => {
                // what cannot be sent need not be rehearsed
                self.sent_through()?;
                let path = format!("{}/{SILENCES}", address.path());
                let passed = reader.get_passed(&path, &self.headers, CAP).await?;
                if let Some(refusal) = passed.refusal() {
                    return Err(refusal);
                }
                if !passed.status.is_success() {
                    let code = passed.status.as_u16();
                    return Err(ApiError::from_answer(code, passed.retry_after(), &passed.body));
                }
                passed.body
            }
        };
        let all: Vec<Value> = serde_json::from_slice(&body)
            .map_err(|e| ApiError::Decode(format!("the silences of the Alertmanager: {e}")))?;
        Ok(object(on, &all))
    }

    /// Sends a change once.
    pub async fn send(&self, on: &ObjectRef, body: &Value, writer: &WriteClient) -> Result<(), WriteError> {
        let place = self.place(on).map_err(WriteError::Refused)?;
        if let Place::Service(_) = place {
            self.sent_through().map_err(WriteError::Refused)?;
        }
        if let Some(silence) = body.get(CREATE) {
            return match place {
                Place::Site(site) => {
                    site.write(Method::POST, SILENCES.into(), silence.to_string().into()).await
                }
                Place::Service(address) => {
                    let path = format!("{}/{SILENCES}", address.path());
                    writer.post(&path, silence, false, "").await.map(drop)
                }
            };
        }
        let ids = body.get(EXPIRE).and_then(Value::as_array);
        let mut sent = false;
        for id in ids.into_iter().flatten().filter_map(Value::as_str) {
            let path = format!("{ONE}/{}", escape(id));
            let answer = match &place {
                Place::Site(site) => site.write(Method::DELETE, path, Bytes::new()).await,
                Place::Service(address) => {
                    let path = format!("{}/{path}", address.path());
                    writer.delete(&path, &Map::new(), false).await.map(drop)
                }
            };
            match answer {
                // the first of several is ended already
                Err(WriteError::Refused(e)) if sent => return Err(WriteError::Unknown(e.to_string())),
                other => other?,
            }
            sent = true;
        }
        Ok(())
    }
}

/// The keys of a request: the new silence, or the ids of silences to end.
const CREATE: &str = "create";
const EXPIRE: &str = "expire";

/// Returns the object of the silence with this id, or of those that say the same. Silences that have ended do not count.
fn object(on: &ObjectRef, all: &[Value]) -> Value {
    let through = through(on).unwrap_or_default();
    let there = |one: &&Value| one.pointer("/status/state").and_then(Value::as_str) != Some("expired");
    let mut held = Value::Null;
    let mut ids = Vec::new();
    for one in all.iter().filter(there) {
        let Some(spec) = SilenceSpec::read(one) else { continue };
        let id = one.get("id").and_then(Value::as_str).unwrap_or_default();
        if id == on.name.as_str() || spec.object(on.cluster, &through).name == on.name {
            held = spec.value();
            ids.push(id.to_owned());
        }
    }
    let version = if ids.is_empty() { "none".to_owned() } else { ids.join(" ") };
    json!({
        "metadata": { "uid": on.uid.to_string(), "resourceVersion": version },
        "spec": { "silence": held },
        "status": { "alertmanager": { "ids": ids } },
    })
}

/// Returns the request of a step. `stamp` (RFC 3339) is the current time. Returns an error if a step does something else
/// to a silence.
pub fn request(what: &StepKind, on: &ObjectRef, live: Option<&Live>, stamp: &str) -> Result<Value, String> {
    let other = || format!("{on} takes no step {what}");
    let StepKind::Change(Change { fields, .. }) = what else { return Err(other()) };
    let field = fields.iter().find(|field| field.pointer == SILENCE).ok_or_else(other)?;
    if field.to.is_null() {
        let ids = live.and_then(|live| live.value.pointer(SILENCE_IDS)).cloned();
        return Ok(json!({ EXPIRE: ids.ok_or("the silence was not read")? }));
    }
    let mut silence = field.to.clone();
    let object = silence.as_object_mut().ok_or_else(other)?;
    let now = Stamp::parse(stamp).ok_or_else(|| format!("{stamp} is no time"))?;
    object.insert("startsAt".into(), now.plus_secs(-EARLIER_SECS).to_string().into());
    Ok(json!({ CREATE: silence }))
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::alert::Matcher;
    use pilothouse_core::domain::id::ClusterId;
    use pilothouse_core::domain::plan::FieldChange;

    use super::*;

    fn spec() -> SilenceSpec {
        SilenceSpec {
            matchers: vec![Matcher::equal(&"alertname".into(), &"Full".into())],
            author: "ann".into(),
            comment: "known".into(),
            ends: Stamp(1_764_000_000_123),
        }
    }

    #[test]
    fn a_silence_is_found_by_what_it_says_whatever_its_id() {
        let on = spec().object(ClusterId(0), "");
        let told = |id: &str, state: &str, comment: &str| {
            let mut one = spec().value();
            let object = one.as_object_mut().unwrap();
            object.insert("id".into(), id.into());
            object.insert("comment".into(), comment.into());
            object.insert("startsAt".into(), "2025-11-24T15:00:00.000Z".into());
            object.insert("status".into(), json!({ "state": state }));
            one
        };
        let none = object(&on, &[told("a", "expired", "known"), told("b", "active", "other")]);
        assert_eq!(
            (&none["spec"]["silence"], &none["metadata"]["resourceVersion"]),
            (&Value::Null, &json!("none"))
        );
        let held = object(
            &on,
            &[told("a", "expired", "known"), told("b", "active", "known"), told("c", "pending", "known")],
        );
        assert_eq!(held["spec"]["silence"], spec().value());
        assert_eq!(
            (&held["status"]["alertmanager"]["ids"], &held["metadata"]["uid"]),
            (&json!(["b", "c"]), &json!("alertmanager "))
        );
        let by_id = ObjectRef { name: "b".into(), ..on };
        let found = object(&by_id, &[told("a", "active", "known"), told("b", "active", "other")]);
        assert_eq!(
            (&found["spec"]["silence"]["comment"], &found["status"]["alertmanager"]["ids"]),
            (&json!("other"), &json!(["b"]))
        );
    }

    #[test]
    fn a_silence_is_only_sought_where_it_was_made() {
        struct At(&'static str);
        impl Site for At {
            fn url(&self) -> String {
                self.0.into()
            }
            fn get<'s>(&'s self, _: &'s str) -> BoxFuture<'s, Result<Bytes, ApiError>> {
                unreachable!()
            }
            fn write(&self, _: Method, _: String, _: Bytes) -> BoxFuture<'_, Result<(), WriteError>> {
                unreachable!()
            }
        }
        let at = |url| Alertmanager { site: Some(Arc::new(At(url))), ..Alertmanager::default() };
        let on = |through: &str| spec().object(ClusterId(0), through);
        let found =
            |of: &Alertmanager, through: &str| of.place(&on(through)).map(drop).map_err(|e| e.to_string());
        let old = at("http://am-a:9093");
        assert_eq!((found(&old, "http://am-a:9093"), found(&old, "")), (Ok(()), Ok(())));
        let moved = found(&at("http://am-b:9093"), "http://am-a:9093").unwrap_err();
        assert!(moved.contains("http://am-a:9093") && moved.contains("http://am-b:9093"), "{moved}");
        assert!(found(&Alertmanager::default(), "http://am-a:9093").is_err());
        assert_eq!(found(&old, "monitoring/am:web"), Ok(()), "a Service is another place");
        // with these headers, it is refused before anything is asked
        let mut headed = Alertmanager::default();
        headed.headers.insert("x-tenant", http::HeaderValue::from_static("a"));
        assert!(headed.sent_through().is_err() && Alertmanager::default().sent_through().is_ok());
    }

    #[test]
    fn the_requests_of_the_two_steps() {
        let on = spec().object(ClusterId(0), "");
        let change = |from: Value, to: Value| {
            let fields = vec![FieldChange { pointer: SILENCE.into(), from, to }];
            StepKind::Change(Change { words: String::new(), fields })
        };
        let made = request(&change(Value::Null, spec().value()), &on, None, "2025-11-24T15:00:00Z").unwrap();
        assert_eq!(made["create"]["startsAt"], "2025-11-24T14:50:00Z");
        assert_eq!(made["create"]["matchers"], spec().value()["matchers"]);
        let end = change(spec().value(), Value::Null);
        assert!(request(&end, &on, None, "").is_err(), "whose id is not known");
        let live = Live::of_value(json!({ "status": { "alertmanager": { "ids": ["b"] } } }));
        assert_eq!(request(&end, &on, Some(&live), "").unwrap(), json!({ "expire": ["b"] }));
        assert!(request(&StepKind::Cordon, &on, None, "").is_err());
    }
}
