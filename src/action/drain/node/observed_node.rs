//! The state of the node that is being emptied. A watch keeps it up to date. The node is also read if the watch is
//! not sufficient: before a pod that was created in the meantime is evicted, after all pods are gone, and while the
//! watch is silent, broken or denied. If the node is uncordoned, evicted pods can be scheduled to it again. Without
//! its kubelet, no pod terminates.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pilothouse_core::domain::id::Uid;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::plan::drift;
use serde_json::Value;

use super::super::watch::News;
use crate::wire::error::ApiError;

/// How long after a read evictions may be sent if there is no watch.
const FRESH: Duration = Duration::from_secs(1);
/// The interval between two reads while no eviction is sent, if there is no watch.
const EVERY: Duration = Duration::from_secs(5);
/// How long a silent watch is trusted before a read must confirm it.
const QUIET: Duration = Duration::from_secs(10);
/// The number of consecutive denials that end the drain. A credential that is being renewed gets further attempts.
pub(super) const DENIALS: u32 = 3;

/// The known state of the node.
#[derive(Debug)]
pub(super) struct ObservedNode {
    /// The UID from the plan or from the first read.
    uid: Option<Uid>,
    watched: Watched,
    /// The times at which the last successful read began and was answered.
    good: Option<(Instant, Instant)>,
    /// The time at which the node was last seen cordoned.
    cordoned_at: Option<Stamp>,
    /// The time at which the current read began.
    asked: Option<Instant>,
    /// The last failed read: when it began, and its error.
    failed: Option<(Instant, String)>,
    failures: u32,
    denials: u32,
    /// The earliest time of the next read after a failed one.
    not_before: Option<Instant>,
    /// Whether the node was not ready in the plan and has not been ready since. In this case, the drain does not stop
    /// because of it.
    was_not_ready: bool,
    /// The last known Ready condition.
    pub ready: Option<bool>,
}

/// The state of the node's watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    /// The watch has reported nothing since it was started at this time.
    NotYet(Instant),
    /// The watch was last alive at this time, so the last reported state is still valid.
    Heard(Instant),
    /// The watch is broken or denied.
    Lost,
}

/// The consequence of a read or an event for the drain.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NodeVerdict {
    GoesOn,
    /// The state is unknown, so the node is read again.
    Unknown(String),
    /// The node was uncordoned by another client.
    Uncordoned(String),
    /// The node was ready and is not ready any more.
    NotReady(String),
    /// The drain cannot continue, for this reason.
    Over(String),
}

impl ObservedNode {
    /// `was_not_ready` tells whether the node was not ready in the plan.
    pub(super) fn new(uid: Option<Uid>, was_not_ready: bool, now: Instant) -> Self {
        Self {
            uid,
            watched: Watched::NotYet(now),
            good: None,
            cordoned_at: None,
            asked: None,
            failed: None,
            failures: 0,
            denials: 0,
            not_before: None,
            was_not_ready,
            ready: None,
        }
    }

    /// Whether an eviction may be sent at `now`.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        let answered = self.good.map(|(_, answered)| answered);
        let (known, holds) = match self.watched {
            Watched::Heard(at) => (answered.max(Some(at)), QUIET),
            Watched::NotYet(_) | Watched::Lost => (answered, FRESH),
        };
        known.is_some_and(|at| now.saturating_duration_since(at) <= holds)
    }

    /// Whether the last successful read began at `at` or later.
    pub(super) fn is_since(&self, at: Instant) -> bool {
        self.good.is_some_and(|(began, _)| began >= at)
    }

    /// Returns the error of a read that began at `at` or later, if no read has succeeded since.
    pub(super) fn failed_since(&self, at: Instant) -> Option<&str> {
        let failed = self.failed.as_ref().filter(|(began, _)| *began >= at && !self.is_since(at));
        failed.map(|(_, why)| why.as_str())
    }

    /// Returns the time of the next read. Returns `None` while a read is in progress or the watch is sufficient.
    /// `sending` tells whether an eviction could be sent now. `since` requires a read at this time or later.
    pub(super) fn due(&self, now: Instant, sending: bool, since: Option<Instant>) -> Option<Instant> {
        if self.asked.is_some() {
            return None;
        }
        let answered = self.good.map(|(_, answered)| answered);
        let due = match (self.watched, answered) {
            _ if since.is_some_and(|at| !self.is_since(at)) => now,
            (Watched::Heard(at), _) if sending => answered.map_or(at, |answered| answered.max(at)) + QUIET,
            (Watched::Heard(_), _) => return None,
            (Watched::NotYet(asked), None) => asked + FRESH,
            (Watched::Lost, None) => now,
            (_, Some(answered)) => answered + if sending { FRESH } else { EVERY },
        };
        Some(self.not_before.map_or(due, |at| due.max(at)))
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Handles the answer to the last read.
    pub(super) fn see(
        &mut self,
        looked: Result<Option<Bytes>, ApiError>,
        now: Instant,
        at: Stamp,
    ) -> NodeVerdict {
        let began = self.asked.take().unwrap_or(now);
        let looked = looked.and_then(|body| {
            let decode = |body: Bytes| serde_json::from_slice::<Value>(&body);
            body.map(decode).transpose().map_err(|e| ApiError::Decode(e.to_string()))
        });
        let node = match looked {
            Ok(Some(node)) => node,
            Ok(None) => return gone(),
            Err(error) => return self.fail(began, now, &error),
        };
        (self.failures, self.denials, self.failed, self.not_before) = (0, 0, None, None);
        let verdict = self.judge(&node, self.cordoned_at, at);
        if matches!(verdict, NodeVerdict::GoesOn | NodeVerdict::NotReady(_)) {
            self.good = Some((began, now));
        }
        verdict
    }

    /// Handles an event of the watch.
    pub(super) fn hear(&mut self, news: News<Value>, now: Instant, at: Stamp) -> NodeVerdict {
        let verdict = match news {
            News::Trouble { .. } => {
                self.watched = Watched::Lost;
                return NodeVerdict::GoesOn;
            }
            News::All(nodes) => match nodes.first() {
                Some(node) => self.judge(node, self.cordoned_at, at),
                None => gone(),
            },
            // watch events arrive in the order of the changes
            News::Seen(node) => self.judge(&node, None, at),
            News::Gone(uid) if self.uid.as_ref().is_none_or(|own| *own == uid) => gone(),
            News::Gone(_) | News::Alive => NodeVerdict::GoesOn,
        };
        self.watched = Watched::Heard(now);
        verdict
    }

    /// Judges the node. `before` is the time at which it was last seen cordoned, if a change may have been missed
    /// since.
    fn judge(&mut self, node: &Value, before: Option<Stamp>, now: Stamp) -> NodeVerdict {
        let uid = node.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let is = Uid::parse(uid);
        if *self.uid.get_or_insert_with(|| is.clone()) != is {
            return NodeVerdict::Over(format!("another node has its name now (uid {uid})"));
        }
        if node.pointer("/spec/unschedulable").and_then(Value::as_bool) != Some(true) {
            return NodeVerdict::Uncordoned(uncordoned(node, before, now));
        }
        self.cordoned_at = Some(now);
        let ready = condition(node);
        let is_ready = ready.is_some_and(|ready| text(ready, "status") == "True");
        self.ready = Some(is_ready);
        self.was_not_ready &= !is_ready;
        match ready {
            Some(ready) if !is_ready && !self.was_not_ready => NodeVerdict::NotReady(not_ready(ready)),
            _ => NodeVerdict::GoesOn,
        }
    }

    fn fail(&mut self, began: Instant, now: Instant, error: &ApiError) -> NodeVerdict {
        self.failures += 1;
        let denied = error.is_denial() || matches!(error, ApiError::Unauthorized(_));
        self.denials = if denied { self.denials + 1 } else { 0 };
        let wait = Duration::from_secs(u64::from(self.failures.min(5)));
        self.not_before = Some(now + wait.max(error.retry_after().unwrap_or_default()));
        self.failed = Some((began, error.to_string()));
        if self.denials >= DENIALS {
            return NodeVerdict::Over(format!("the node cannot be read any more: {error}"));
        }
        NodeVerdict::Unknown(format!("not known whether it is still cordoned, nothing is sent: {error}"))
    }
}

fn gone() -> NodeVerdict {
    NodeVerdict::Over("the node is gone".into())
}

/// Describes who uncordoned the node and when, as far as the object shows it. A client that removes a field (as
/// kubectl uncordon does) leaves no entry in managedFields. In this case, the text gives the time of the observation,
/// or the time between two reads.
fn uncordoned(node: &Value, before: Option<Stamp>, now: Stamp) -> String {
    match (drift::owner(node, "/spec/unschedulable"), before) {
        (Some((manager, at)), _) if !at.is_empty() => format!("uncordoned meanwhile by {manager} at {at}"),
        (Some((manager, _)), _) => format!("uncordoned meanwhile by {manager}"),
        (None, Some(before)) => {
            format!("uncordoned meanwhile, between {before} and {now} (its managedFields do not say by whom)")
        }
        (None, None) => {
            format!("uncordoned meanwhile, seen at {now} (its managedFields do not say by whom)")
        }
    }
}

/// Describes since when the node is not ready.
fn not_ready(ready: &Value) -> String {
    let (status, reason) = (text(ready, "status"), text(ready, "reason"));
    let since = match text(ready, "lastTransitionTime") {
        "" => String::new(),
        at => format!(" since {at}"),
    };
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("not ready any more: Ready is {status}{since}{reason}, so evicted pods may stay Terminating")
}

fn condition(node: &Value) -> Option<&Value> {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    conditions?.iter().find(|c| text(c, "type") == "Ready")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::watch::Refused;
    use super::*;
    use crate::clock::Clock;

    const UID: &str = "00000000-0000-4000-8000-000000000500";

    #[allow(clippy::needless_pass_by_value)]
    fn object(spec: Value, managed: Value) -> Value {
        json!({ "metadata": { "uid": UID, "managedFields": managed }, "spec": spec })
    }

    #[allow(clippy::unnecessary_wraps)]
    fn node(spec: Value, managed: Value) -> Result<Option<Bytes>, ApiError> {
        Ok(Some(object(spec, managed).to_string().into()))
    }

    fn cordoned() -> Value {
        object(json!({ "unschedulable": true }), Value::Null)
    }

    fn ready(status: &str) -> Value {
        let mut node = cordoned();
        node["status"] = json!({ "conditions": [{ "type": "Ready", "status": status,
            "reason": "NodeStatusUnknown", "lastTransitionTime": "2026-01-02T03:04:05Z" }] });
        node
    }

    /// The events, whether an eviction may follow, and the expected verdict of the last one.
    type Case = (&'static str, Vec<News<Value>>, bool, fn(&NodeVerdict) -> bool);

    fn observed() -> ObservedNode {
        ObservedNode::new(Some(Uid::parse(UID)), false, Clock::instant())
    }

    #[test]
    fn what_a_look_means() {
        let now = Clock::instant();
        let see = |looked| observed().see(looked, now, Stamp(0));
        let cordoned = json!({ "unschedulable": true });
        assert_eq!(see(node(cordoned.clone(), Value::Null)), NodeVerdict::GoesOn);
        assert_eq!(see(Ok(None)), NodeVerdict::Over("the node is gone".into()));
        let mut other = ObservedNode::new(Some(Uid::Uuid(7)), false, now);
        let found = other.see(node(cordoned, Value::Null), now, Stamp(0));
        assert!(matches!(found, NodeVerdict::Over(why) if why.contains("another node")));
        let by = json!([{ "manager": "ann", "time": "2026-01-02T00:00:00Z", "fieldsV1": { "f:spec": { "f:unschedulable": {} } } }]);
        let found = see(node(json!({ "unschedulable": false }), by));
        assert!(
            matches!(found, NodeVerdict::Uncordoned(why) if why.contains("uncordoned meanwhile by ann at 2026-01-02"))
        );
        // the manager of another field is not the one that uncordoned the node
        let by = json!([{ "manager": "cloud", "time": "2026-01-02T00:00:00Z", "fieldsV1": { "f:spec": { "f:podCIDR": {} } } }]);
        let found = see(node(json!({}), by));
        assert!(
            matches!(found, NodeVerdict::Uncordoned(why) if !why.contains("cloud") && why.contains("do not say by whom"))
        );
    }

    #[test]
    fn what_the_watch_says_means_the_same() {
        let now = Clock::instant();
        let trouble = || News::Trouble { why: "x".into(), refused: Refused::ForGood };
        let other = json!({ "metadata": { "uid": "u" }, "spec": { "unschedulable": true } });
        let open = object(json!({}), Value::Null);
        let all = |node: &Value| News::All(vec![node.clone()]);
        let table: [Case; 12] = [
            ("listed", vec![all(&cordoned())], true, |v| *v == NodeVerdict::GoesOn),
            ("changed", vec![all(&cordoned()), News::Seen(cordoned())], true, |v| *v == NodeVerdict::GoesOn),
            ("a bookmark", vec![all(&cordoned()), News::Alive], true, |v| *v == NodeVerdict::GoesOn),
            ("broken", vec![all(&cordoned()), trouble()], false, |v| *v == NodeVerdict::GoesOn),
            ("listed anew", vec![all(&cordoned()), trouble(), all(&cordoned())], true, |v| {
                *v == NodeVerdict::GoesOn
            }),
            ("back", vec![all(&cordoned()), trouble(), News::Alive], true, |v| *v == NodeVerdict::GoesOn),
            ("denied from the start", vec![trouble()], false, |v| *v == NodeVerdict::GoesOn),
            (
                "uncordoned",
                vec![all(&cordoned()), News::Seen(open.clone())],
                true,
                |v| matches!(v, NodeVerdict::Uncordoned(why) if why.contains(", seen at ")),
            ),
            (
                "uncordoned while nobody saw it",
                vec![all(&cordoned()), trouble(), all(&open)],
                true,
                |v| matches!(v, NodeVerdict::Uncordoned(why) if why.contains(", between ")),
            ),
            (
                "replaced",
                vec![all(&cordoned()), News::Seen(other)],
                true,
                |v| matches!(v, NodeVerdict::Over(why) if why.contains("another node")),
            ),
            (
                "deleted",
                vec![all(&cordoned()), News::Gone(Uid::parse(UID))],
                true,
                |v| matches!(v, NodeVerdict::Over(why) if why.contains("gone")),
            ),
            (
                "not in the list",
                vec![News::All(Vec::new())],
                true,
                |v| matches!(v, NodeVerdict::Over(why) if why.contains("gone")),
            ),
        ];
        for (what, news, fresh, means) in table {
            let mut observed = observed();
            let last = news.into_iter().map(|news| observed.hear(news, now, Stamp(0))).last().unwrap();
            assert!(means(&last), "{what}: {last:?}");
            assert_eq!(observed.is_fresh(now), fresh, "{what}");
        }
    }

    #[test]
    fn a_node_that_turns_not_ready_stops_it_and_one_that_was_not_does_not() {
        let now = Clock::instant();
        for status in ["False", "Unknown"] {
            let mut observed = observed();
            assert_eq!(observed.hear(News::All(vec![ready("True")]), now, Stamp(0)), NodeVerdict::GoesOn);
            let verdict = observed.hear(News::Seen(ready(status)), now, Stamp(0));
            let words = format!("Ready is {status} since 2026-01-02T03:04:05Z (NodeStatusUnknown)");
            assert!(matches!(&verdict, NodeVerdict::NotReady(why) if why.contains(&words)), "{verdict:?}");
            assert_eq!(observed.ready, Some(false));
        }
        let mut down = ObservedNode::new(None, true, now);
        assert_eq!(down.hear(News::All(vec![ready("Unknown")]), now, Stamp(0)), NodeVerdict::GoesOn);
        assert!(down.is_fresh(now));
        // the node became ready again, and this was the second time
        assert_eq!(down.hear(News::Seen(ready("True")), now, Stamp(0)), NodeVerdict::GoesOn);
        assert!(matches!(down.hear(News::Seen(ready("False")), now, Stamp(0)), NodeVerdict::NotReady(_)));
        // the change was between the plan and the first read
        assert!(matches!(
            observed().hear(News::All(vec![ready("False")]), now, Stamp(0)),
            NodeVerdict::NotReady(_)
        ));
        // an uncordon is the more specific reason
        let mut open = ready("False");
        open["spec"] = json!({});
        assert!(matches!(observed().hear(News::Seen(open), now, Stamp(0)), NodeVerdict::Uncordoned(_)));
    }

    #[test]
    fn a_silent_watch_is_believed_for_a_while() {
        let (mut observed, start) = (observed(), Clock::instant());
        assert_eq!(
            observed.due(start, true, None).map(|at| at >= start),
            Some(true),
            "its list is on its way"
        );
        observed.hear(News::All(vec![cordoned()]), start, Stamp(0));
        let late = start + QUIET + FRESH;
        assert!(observed.is_fresh(start + QUIET) && !observed.is_fresh(late));
        assert_eq!(observed.due(start, true, None), Some(start + QUIET));
        assert_eq!(observed.due(start, false, None), None, "nothing is to be sent");
        assert_eq!(
            observed.due(start, true, Some(start + FRESH)),
            Some(start),
            "a pod that came, or the end"
        );
        // a read that confirms the watch
        observed.begin(late);
        observed.see(node(json!({ "unschedulable": true }), Value::Null), late, Stamp(0));
        assert!(observed.is_fresh(late + QUIET) && observed.is_since(late));
        assert_eq!(observed.due(late, true, None), Some(late + QUIET));
        // a read that fails, and the next one
        let later = late + QUIET + FRESH;
        observed.begin(later);
        let verdict = observed.see(Err(ApiError::Unreachable("x".into())), later, Stamp(0));
        assert!(matches!(verdict, NodeVerdict::Unknown(_)) && !observed.is_fresh(later));
        // without the watch, reads are as frequent as evictions require
        observed.hear(News::Trouble { why: "x".into(), refused: Refused::No }, later, Stamp(0));
        let seen = later + EVERY;
        observed.begin(seen);
        observed.see(node(json!({ "unschedulable": true }), Value::Null), seen, Stamp(0));
        assert!(observed.is_fresh(seen + FRESH) && !observed.is_fresh(seen + FRESH + FRESH));
        assert_eq!(observed.due(seen, true, None), Some(seen + FRESH));
    }

    #[test]
    fn nothing_is_sent_on_an_old_look() {
        let (mut observed, start) = (observed(), Clock::instant());
        assert!(!observed.is_fresh(start), "it was never looked at");
        observed.hear(News::Trouble { why: "x".into(), refused: Refused::ForGood }, start, Stamp(0));
        assert_eq!(observed.due(start, false, None), Some(start));
        observed.begin(start);
        assert_eq!(observed.due(start, true, None), None, "one at a time");
        // a slow answer counts as fresh from the time it arrives
        let answered = start + Duration::from_secs(3);
        observed.see(node(json!({ "unschedulable": true }), Value::Null), answered, Stamp(0));
        assert!(observed.is_fresh(answered) && !observed.is_fresh(answered + FRESH + FRESH));
        assert_eq!(observed.due(answered, true, None), Some(answered + FRESH));
        assert_eq!(observed.due(answered, false, None), Some(answered + EVERY));
        let came = start + Duration::from_secs(1);
        assert!(!observed.is_since(came), "a pod that came while it was asked");
        assert_eq!(observed.due(answered, false, Some(came)), Some(answered));
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_denials_end_it() {
        let (mut observed, now) = (observed(), Clock::instant());
        let mut ask = |error| {
            observed.begin(now);
            observed.see(Err(error), now, Stamp(0))
        };
        for _ in 0..5 {
            assert!(matches!(ask(ApiError::Unreachable("x".into())), NodeVerdict::Unknown(_)));
        }
        for _ in 1..DENIALS {
            assert!(matches!(ask(ApiError::Forbidden { message: "no".into() }), NodeVerdict::Unknown(_)));
        }
        assert!(matches!(ask(ApiError::Forbidden { message: "no".into() }), NodeVerdict::Over(_)));
        assert!(observed.failed_since(now).is_some());
        assert!(observed.due(now, true, Some(now)).unwrap() > now, "not at once again");
    }
}
