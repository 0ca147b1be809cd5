//! pods/log: the lines of a container, optionally followed.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Answer, Api, Call, reply};
use crate::clock;
use crate::logs::{Line, LogBook};
use crate::resources::Res;
use crate::status::Status;
use crate::store::Object;

/// How many lines are read at a time.
const PAGE: usize = 1000;

/// A log that is being sent.
struct Tail {
    book: Arc<dyn LogBook>,
    pod: String,
    container: String,
    previous: bool,
    follow: bool,
    timestamps: bool,
    since: Option<DateTime<Utc>>,
    /// The number of bytes that may still be sent.
    left: u64,
    next: u64,
    grown: watch::Receiver<u64>,
    cut: watch::Receiver<u64>,
}

impl Tail {
    fn write(&self, out: &mut BytesMut, line: &Line) {
        if self.since.is_some_and(|since| line.at < since) {
            return;
        }
        if self.timestamps {
            out.extend_from_slice(line.at.to_rfc3339_opts(SecondsFormat::Nanos, true).as_bytes());
            out.extend_from_slice(b" ");
        }
        out.extend_from_slice(&line.text);
        out.extend_from_slice(b"\n");
    }

    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            if self.left == 0 {
                return None;
            }
            self.grown.mark_unchanged();
            let page = self.book.read(&self.pod, &self.container, self.previous, self.next, PAGE)?;
            self.next = page.next;
            if !page.lines.is_empty() {
                let mut out = BytesMut::new();
                for line in &page.lines {
                    self.write(&mut out, line);
                }
                out.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= out.len() as u64;
                if !out.is_empty() {
                    return Some((Ok(out.freeze()), self));
                }
                continue;
            }
            if page.ended || !self.follow {
                return None;
            }
            tokio::select! {
                grown = self.grown.changed() => if grown.is_err() { return None },
                _ = self.cut.changed() => return None,
            }
        }
    }
}

/// The requested container: the named one, or the only one. Only kubectl knows the default of several containers; the
/// API server refuses to choose one.
fn container(call: &Call, pod: &Object) -> Result<String, Status> {
    let names = |pointer: &str| -> Vec<String> {
        let list = pod.at(pointer).as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|one| one.get("name")?.as_str().map(str::to_owned)).collect()
    };
    let main = names("/spec/containers");
    // in the order in which the API server names them
    let all = [names("/spec/initContainers"), main.clone(), names("/spec/ephemeralContainers")].concat();
    let asked = call.query.text("container");
    let name = pod.name();
    if asked.is_empty() {
        let what = match main.as_slice() {
            [only] => return Ok(only.clone()),
            [] => format!("a container name must be specified for pod {name}"),
            [_, ..] => {
                let all = all.join(" ");
                format!("a container name must be specified for pod {name}, choose one of: [{all}]")
            }
        };
        return Err(Status::bad_request(what));
    }
    if all.iter().any(|one| one == asked) {
        return Ok(asked.to_owned());
    }
    Err(Status::bad_request(format!("container {asked} is not valid for pod {name}")))
}

/// Refuses options that the API server refuses.
fn check(call: &Call, name: &str) -> Result<(), Status> {
    let number = |key: &str| -> Result<Option<i64>, Status> {
        let Some(text) = call.query.get(key).filter(|text| !text.is_empty()) else { return Ok(None) };
        let wrong = |_| Status::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"));
        text.parse().map(Some).map_err(wrong)
    };
    let mut wrong: Vec<(&str, &str, String)> = Vec::new();
    let (tail, limit, seconds) = (number("tailLines")?, number("limitBytes")?, number("sinceSeconds")?);
    if let Some(lines) = tail.filter(|lines| *lines < 0) {
        let what = format!("Invalid value: {lines}: must be greater than or equal to 0");
        wrong.push(("tailLines", "FieldValueInvalid", what));
    }
    if let Some(bytes) = limit.filter(|bytes| *bytes < 1) {
        let what = format!("Invalid value: {bytes}: must be greater than 0");
        wrong.push(("limitBytes", "FieldValueInvalid", what));
    }
    match (seconds, call.query.text("sinceTime")) {
        (Some(_), time) if !time.is_empty() => {
            let what = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
            wrong.push(("", "FieldValueForbidden", what.to_owned()));
        }
        (Some(seconds), _) if seconds < 1 => {
            let what = format!("Invalid value: {seconds}: must be greater than 0");
            wrong.push(("sinceSeconds", "FieldValueInvalid", what));
        }
        _ => {}
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = wrong
        .iter()
        .map(|(field, _, what)| if field.is_empty() { what.clone() } else { format!("{field}: {what}") })
        .collect();
    let told = if told.len() == 1 { told.concat() } else { format!("[{}]", told.join(", ")) };
    let causes: Vec<Value> = wrong
        .iter()
        .map(|(field, reason, what)| json!({"reason": reason, "message": what, "field": field}))
        .collect();
    let message = format!("PodLogOptions \"{name}\" is invalid: {told}");
    Err(Status::new(422, "Invalid", message)
        .details(json!({"name": name, "kind": "PodLogOptions", "causes": causes})))
}

impl Api {
    pub(super) fn log(&self, call: &Call) -> Answer {
        check(call, &call.target.name)?;
        let pod = self.find(call, Res::Pods)?;
        let container = container(call, &pod)?;
        let name = pod.name();
        if pod.text("/spec/nodeName").is_empty() {
            // It is not bound to a node: there are no lines, and this is no error.
            return Ok(reply::plain(204, ""));
        }
        let previous = call.query.flag("previous");
        let book = self.logs.clone();
        if book.read(pod.uid(), &container, previous, u64::MAX, 0).is_none() {
            if previous {
                let what =
                    format!("previous terminated container \"{container}\" in pod \"{name}\" not found");
                return Err(Status::bad_request(what));
            }
            if let Some(why) = waiting(&pod, &container) {
                let what = format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}");
                return Err(Status::bad_request(what));
            }
            // It is running and has not written anything yet.
        }
        let since = match (call.query.number("sinceSeconds"), clock::parse(call.query.text("sinceTime"))) {
            (Some(seconds), _) => {
                let ago = TimeDelta::try_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
                    .unwrap_or(TimeDelta::MAX);
                self.clock.now().checked_sub_signed(ago)
            }
            (None, at) => at,
        };
        let next = match call.query.number("tailLines") {
            Some(lines) => book.tail(pod.uid(), &container, previous, lines),
            None => 0,
        };
        let tail = Tail {
            grown: book.grown(),
            book,
            pod: pod.uid().to_owned(),
            container,
            previous,
            follow: call.query.flag("follow") && call.query.get("follow").is_some(),
            timestamps: call.query.flag("timestamps") && call.query.get("timestamps").is_some(),
            since,
            left: call.query.number("limitBytes").unwrap_or(u64::MAX),
            next,
            cut: self.cut.subscribe(),
        };
        Ok(reply::stream(Body::from_stream(futures::stream::unfold(tail, Tail::next)), "text/plain"))
    }
}

/// Why a container is not running yet.
fn waiting(pod: &Object, container: &str) -> Option<String> {
    for list in ["/status/containerStatuses", "/status/initContainerStatuses"] {
        let all = pod.at(list).as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(one) = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(container)) {
            return one.pointer("/state/waiting/reason").and_then(Value::as_str).map(str::to_owned);
        }
    }
    Some("ContainerCreating".to_owned())
}
