//! The node that is being emptied, as the cluster has it: by a watch, and by looks where the watch does not tell: before
//! a pod that came meanwhile is evicted, once all are gone, and wherever the watch is silent, broken or not allowed.
//! Without its cordon every evicted pod may come back; without its kubelet none ends.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pilothouse_core::domain::id::Uid;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::plan::drift;
use serde_json::Value;

use super::super::watch::News;
use crate::wire::error::ApiError;

/// How long an eviction may follow a look, where no watch tells.
const FRESH: Duration = Duration::from_secs(1);
/// Between two looks while nothing is sent, where no watch tells.
const EVERY: Duration = Duration::from_secs(5);
/// How long a watch that says nothing is believed before a look has to agree.
const QUIET: Duration = Duration::from_secs(10);
/// Denials in a row that end the drain: a credential that is just being renewed gets another try.
pub(super) const DENIALS: u32 = 3;

/// What is known of the node.
#[derive(Debug)]
pub struct Sight {
    /// The plan's, or that of the first look.
    uid: Option<Uid>,
    watched: Watched,
    /// When the last good look began, and when its answer came.
    good: Option<(Instant, Instant)>,
    /// When the node was last seen cordoned.
    cordoned_at: Option<Stamp>,
    /// When the look under way began.
    asked: Option<Instant>,
    /// The last look that failed: when it began, and why.
    failed: Option<(Instant, String)>,
    failures: u32,
    denials: u32,
    /// No look before then, after one that failed.
    not_before: Option<Instant>,
    /// It was not ready when the drain was planned, and has not been since: no reason to stop.
    down: bool,
    /// Its Ready condition, as it was seen last.
    pub ready: Option<bool>,
}

/// What the watch of the node tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    /// Nothing so far; asked for then.
    NotYet(Instant),
    /// The server was heard of then, and what it said last still holds.
    Heard(Instant),
    /// It is broken or denied.
    Lost,
}

/// What a look or a piece of news means for the drain.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    GoesOn,
    /// It is not known now; it is looked at again.
    Unknown(String),
    /// Somebody took the cordon back.
    Uncordoned(String),
    /// It was ready, and is not any more.
    NotReady(String),
    /// The drain cannot go on, and why.
    Over(String),
}

impl Sight {
    /// `down`: it was not ready when the drain was planned.
    pub fn new(uid: Option<Uid>, down: bool, now: Instant) -> Self {
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
            down,
            ready: None,
        }
    }

    /// True if an eviction may be sent at `now`.
    pub fn is_fresh(&self, now: Instant) -> bool {
        let answered = self.good.map(|(_, answered)| answered);
        let (known, holds) = match self.watched {
            Watched::Heard(at) => (answered.max(Some(at)), QUIET),
            Watched::NotYet(_) | Watched::Lost => (answered, FRESH),
        };
        known.is_some_and(|at| now.saturating_duration_since(at) <= holds)
    }

    /// True if the last good look began at `at` or later.
    pub fn is_since(&self, at: Instant) -> bool {
        self.good.is_some_and(|(began, _)| began >= at)
    }

    /// Why a look that began at `at` or later failed, if one did and none was good.
    pub fn failed_since(&self, at: Instant) -> Option<&str> {
        let failed = self.failed.as_ref().filter(|(began, _)| *began >= at && !self.is_since(at));
        failed.map(|(_, why)| why.as_str())
    }

    /// When the next look is due; None while one is under way, or the watch does without. `sending`: something could be
    /// sent now. `since`: what has happened that a look has to follow.
    pub fn due(&self, now: Instant, sending: bool, since: Option<Instant>) -> Option<Instant> {
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

    pub fn begin(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Reads the answer to the look that began last.
    pub fn see(&mut self, looked: Result<Option<Bytes>, ApiError>, now: Instant, at: Stamp) -> Verdict {
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
        if matches!(verdict, Verdict::GoesOn | Verdict::NotReady(_)) {
            self.good = Some((began, now));
        }
        verdict
    }

    /// Reads what its watch tells.
    pub fn hear(&mut self, news: News<Value>, now: Instant, at: Stamp) -> Verdict {
        let verdict = match news {
            News::Trouble { .. } => {
                self.watched = Watched::Lost;
                return Verdict::GoesOn;
            }
            News::All(nodes) => match nodes.first() {
                Some(node) => self.judge(node, self.cordoned_at, at),
                None => gone(),
            },
            // it comes as it happens
            News::Seen(node) => self.judge(&node, None, at),
            News::Gone(uid) if self.uid.as_ref().is_none_or(|own| *own == uid) => gone(),
            News::Gone(_) | News::Alive => Verdict::GoesOn,
        };
        self.watched = Watched::Heard(now);
        verdict
    }

    /// `before`: when it was cordoned by the last look, if something may have happened since that nobody saw.
    fn judge(&mut self, node: &Value, before: Option<Stamp>, now: Stamp) -> Verdict {
        let uid = node.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let is = Uid::parse(uid);
        if *self.uid.get_or_insert_with(|| is.clone()) != is {
            return Verdict::Over(format!("another node has its name now (uid {uid})"));
        }
        if node.pointer("/spec/unschedulable").and_then(Value::as_bool) != Some(true) {
            return Verdict::Uncordoned(uncordoned(node, before, now));
        }
        self.cordoned_at = Some(now);
        let ready = condition(node);
        let is_ready = ready.is_some_and(|ready| text(ready, "status") == "True");
        self.ready = Some(is_ready);
        self.down &= !is_ready;
        match ready {
            Some(ready) if !is_ready && !self.down => Verdict::NotReady(not_ready(ready)),
            _ => Verdict::GoesOn,
        }
    }

    fn fail(&mut self, began: Instant, now: Instant, error: &ApiError) -> Verdict {
        self.failures += 1;
        let denied = error.is_denial() || matches!(error, ApiError::Unauthorized(_));
        self.denials = if denied { self.denials + 1 } else { 0 };
        let wait = Duration::from_secs(u64::from(self.failures.min(5)));
        self.not_before = Some(now + wait.max(error.retry_after().unwrap_or_default()));
        self.failed = Some((began, error.to_string()));
        if self.denials >= DENIALS {
            return Verdict::Over(format!("the node cannot be looked at any more: {error}"));
        }
        Verdict::Unknown(format!("not known whether it is still cordoned, nothing is sent: {error}"))
    }
}

fn gone() -> Verdict {
    Verdict::Over("the node is gone".into())
}

/// Who took the cordon back and when, as far as the object tells. Whoever removes a field (as kubectl uncordon does)
/// leaves no trace in managedFields: then it is when it was seen, or the time between two looks.
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

/// Since when it is not ready, in words.
fn not_ready(ready: &Value) -> String {
    let (status, reason) = (text(ready, "status"), text(ready, "reason"));
    let since = match text(ready, "lastTransitionTime") {
        "" => String::new(),
        at => format!(" since {at}"),
    };
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("not ready any more: Ready is {status}{since}{reason}, so evicted pods may never end")
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

    /// What is heard, whether an eviction may follow, and what the last of it means.
    type Case = (&'static str, Vec<News<Value>>, bool, fn(&Verdict) -> bool);

    fn sight() -> Sight {
        Sight::new(Some(Uid::parse(UID)), false, Clock::instant())
    }

    #[test]
    fn what_a_look_means() {
        let now = Clock::instant();
        let see = |looked| sight().see(looked, now, Stamp(0));
        let cordoned = json!({ "unschedulable": true });
        assert_eq!(see(node(cordoned.clone(), Value::Null)), Verdict::GoesOn);
        assert_eq!(see(Ok(None)), Verdict::Over("the node is gone".into()));
        let mut other = Sight::new(Some(Uid::Uuid(7)), false, now);
        let found = other.see(node(cordoned, Value::Null), now, Stamp(0));
        assert!(matches!(found, Verdict::Over(why) if why.contains("another node")));
        let by = json!([{ "manager": "ann", "time": "2026-01-02T00:00:00Z", "fieldsV1": { "f:spec": { "f:unschedulable": {} } } }]);
        let found = see(node(json!({ "unschedulable": false }), by));
        assert!(
            matches!(found, Verdict::Uncordoned(why) if why.contains("uncordoned meanwhile by ann at 2026-01-02"))
        );
        // whoever owns another field is not the one
        let by = json!([{ "manager": "cloud", "time": "2026-01-02T00:00:00Z", "fieldsV1": { "f:spec": { "f:podCIDR": {} } } }]);
        let found = see(node(json!({}), by));
        assert!(
            matches!(found, Verdict::Uncordoned(why) if !why.contains("cloud") && why.contains("do not say by whom"))
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
            ("listed", vec![all(&cordoned())], true, |v| *v == Verdict::GoesOn),
            ("changed", vec![all(&cordoned()), News::Seen(cordoned())], true, |v| *v == Verdict::GoesOn),
            ("a bookmark", vec![all(&cordoned()), News::Alive], true, |v| *v == Verdict::GoesOn),
            ("broken", vec![all(&cordoned()), trouble()], false, |v| *v == Verdict::GoesOn),
            ("listed anew", vec![all(&cordoned()), trouble(), all(&cordoned())], true, |v| {
                *v == Verdict::GoesOn
            }),
            ("back", vec![all(&cordoned()), trouble(), News::Alive], true, |v| *v == Verdict::GoesOn),
            ("denied from the start", vec![trouble()], false, |v| *v == Verdict::GoesOn),
            (
                "uncordoned",
                vec![all(&cordoned()), News::Seen(open.clone())],
                true,
                |v| matches!(v, Verdict::Uncordoned(why) if why.contains(", seen at ")),
            ),
            (
                "uncordoned while nobody saw it",
                vec![all(&cordoned()), trouble(), all(&open)],
                true,
                |v| matches!(v, Verdict::Uncordoned(why) if why.contains(", between ")),
            ),
            (
                "replaced",
                vec![all(&cordoned()), News::Seen(other)],
                true,
                |v| matches!(v, Verdict::Over(why) if why.contains("another node")),
            ),
            (
                "deleted",
                vec![all(&cordoned()), News::Gone(Uid::parse(UID))],
                true,
                |v| matches!(v, Verdict::Over(why) if why.contains("gone")),
            ),
            (
                "not in the list",
                vec![News::All(Vec::new())],
                true,
                |v| matches!(v, Verdict::Over(why) if why.contains("gone")),
            ),
        ];
        for (what, news, fresh, means) in table {
            let mut sight = sight();
            let last = news.into_iter().map(|news| sight.hear(news, now, Stamp(0))).last().unwrap();
            assert!(means(&last), "{what}: {last:?}");
            assert_eq!(sight.is_fresh(now), fresh, "{what}");
        }
    }

    #[test]
    fn a_node_that_turns_not_ready_stops_it_and_one_that_was_not_does_not() {
        let now = Clock::instant();
        for status in ["False", "Unknown"] {
            let mut sight = sight();
            assert_eq!(sight.hear(News::All(vec![ready("True")]), now, Stamp(0)), Verdict::GoesOn);
            let verdict = sight.hear(News::Seen(ready(status)), now, Stamp(0));
            let words = format!("Ready is {status} since 2026-01-02T03:04:05Z (NodeStatusUnknown)");
            assert!(matches!(&verdict, Verdict::NotReady(why) if why.contains(&words)), "{verdict:?}");
            assert_eq!(sight.ready, Some(false));
        }
        let mut down = Sight::new(None, true, now);
        assert_eq!(down.hear(News::All(vec![ready("Unknown")]), now, Stamp(0)), Verdict::GoesOn);
        assert!(down.is_fresh(now));
        // it came back, and that was its second time
        assert_eq!(down.hear(News::Seen(ready("True")), now, Stamp(0)), Verdict::GoesOn);
        assert!(matches!(down.hear(News::Seen(ready("False")), now, Stamp(0)), Verdict::NotReady(_)));
        // between the plan and the first look
        assert!(matches!(sight().hear(News::All(vec![ready("False")]), now, Stamp(0)), Verdict::NotReady(_)));
        // whoever takes the cordon back says more
        let mut open = ready("False");
        open["spec"] = json!({});
        assert!(matches!(sight().hear(News::Seen(open), now, Stamp(0)), Verdict::Uncordoned(_)));
    }

    #[test]
    fn a_silent_watch_is_believed_for_a_while() {
        let (mut sight, start) = (sight(), Clock::instant());
        assert_eq!(sight.due(start, true, None).map(|at| at >= start), Some(true), "its list is on its way");
        sight.hear(News::All(vec![cordoned()]), start, Stamp(0));
        let late = start + QUIET + FRESH;
        assert!(sight.is_fresh(start + QUIET) && !sight.is_fresh(late));
        assert_eq!(sight.due(start, true, None), Some(start + QUIET));
        assert_eq!(sight.due(start, false, None), None, "nothing is to be sent");
        assert_eq!(sight.due(start, true, Some(start + FRESH)), Some(start), "a pod that came, or the end");
        // a look that agrees
        sight.begin(late);
        sight.see(node(json!({ "unschedulable": true }), Value::Null), late, Stamp(0));
        assert!(sight.is_fresh(late + QUIET) && sight.is_since(late));
        assert_eq!(sight.due(late, true, None), Some(late + QUIET));
        // a look that fails, and the next
        let later = late + QUIET + FRESH;
        sight.begin(later);
        let verdict = sight.see(Err(ApiError::Unreachable("x".into())), later, Stamp(0));
        assert!(matches!(verdict, Verdict::Unknown(_)) && !sight.is_fresh(later));
        // without the watch, looks as often as evictions need them
        sight.hear(News::Trouble { why: "x".into(), refused: Refused::No }, later, Stamp(0));
        let seen = later + EVERY;
        sight.begin(seen);
        sight.see(node(json!({ "unschedulable": true }), Value::Null), seen, Stamp(0));
        assert!(sight.is_fresh(seen + FRESH) && !sight.is_fresh(seen + FRESH + FRESH));
        assert_eq!(sight.due(seen, true, None), Some(seen + FRESH));
    }

    #[test]
    fn nothing_is_sent_on_an_old_look() {
        let (mut sight, start) = (sight(), Clock::instant());
        assert!(!sight.is_fresh(start), "it was never looked at");
        sight.hear(News::Trouble { why: "x".into(), refused: Refused::ForGood }, start, Stamp(0));
        assert_eq!(sight.due(start, false, None), Some(start));
        sight.begin(start);
        assert_eq!(sight.due(start, true, None), None, "one at a time");
        // an answer that took its time is as fresh as any
        let answered = start + Duration::from_secs(3);
        sight.see(node(json!({ "unschedulable": true }), Value::Null), answered, Stamp(0));
        assert!(sight.is_fresh(answered) && !sight.is_fresh(answered + FRESH + FRESH));
        assert_eq!(sight.due(answered, true, None), Some(answered + FRESH));
        assert_eq!(sight.due(answered, false, None), Some(answered + EVERY));
        let came = start + Duration::from_secs(1);
        assert!(!sight.is_since(came), "a pod that came while it was asked");
        assert_eq!(sight.due(answered, false, Some(came)), Some(answered));
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_denials_end_it() {
        let (mut sight, now) = (sight(), Clock::instant());
        let mut ask = |error| {
            sight.begin(now);
            sight.see(Err(error), now, Stamp(0))
        };
        for _ in 0..5 {
            assert!(matches!(ask(ApiError::Unreachable("x".into())), Verdict::Unknown(_)));
        }
        for _ in 1..DENIALS {
            assert!(matches!(ask(ApiError::Forbidden { message: "no".into() }), Verdict::Unknown(_)));
        }
        assert!(matches!(ask(ApiError::Forbidden { message: "no".into() }), Verdict::Over(_)));
        assert!(sight.failed_since(now).is_some());
        assert!(sight.due(now, true, Some(now)).unwrap() > now, "not at once again");
    }
}
