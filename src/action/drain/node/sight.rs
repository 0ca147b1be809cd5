//! The node that is being emptied, as the cluster has it: looked at before each batch of evictions, after each pod that
//! came meanwhile, while pods end, and once more when all are gone. Without its cordon every evicted pod may come back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pilothouse_core::domain::id::Uid;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::policy::drift;
use serde_json::Value;

use crate::wire::error::ApiError;

/// How long an eviction may follow a look.
const FRESH: Duration = Duration::from_secs(1);
/// Between two looks while nothing is sent.
const EVERY: Duration = Duration::from_secs(5);
/// Denials in a row that end the drain: a credential that is just being renewed gets another try.
pub(super) const DENIALS: u32 = 3;

/// What is known of the node.
#[derive(Debug)]
pub struct Sight {
    /// The plan's, or that of the first look.
    uid: Option<Uid>,
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
    /// Its Ready condition, by the last good look.
    pub ready: Option<bool>,
}

/// What a look means for the drain.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    GoesOn,
    /// It is not known now; it is looked at again.
    Unknown(String),
    /// Somebody took the cordon back.
    Uncordoned(String),
    /// The drain cannot go on, and why.
    Over(String),
}

impl Sight {
    pub fn new(uid: Option<Uid>) -> Self {
        Self {
            uid,
            good: None,
            cordoned_at: None,
            asked: None,
            failed: None,
            failures: 0,
            denials: 0,
            not_before: None,
            ready: None,
        }
    }

    /// True if an eviction may be sent at `now`.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.good.is_some_and(|(_, answered)| now.saturating_duration_since(answered) <= FRESH)
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

    /// When the next look is due; None while one is under way. `sending`: something could be sent now. `since`: what
    /// has happened that a look has to follow.
    pub fn due(&self, now: Instant, sending: bool, since: Option<Instant>) -> Option<Instant> {
        if self.asked.is_some() {
            return None;
        }
        let due = match self.good {
            None => now,
            Some(_) if since.is_some_and(|at| !self.is_since(at)) => now,
            Some((_, answered)) => answered + if sending { FRESH } else { EVERY },
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
            Ok(None) => return Verdict::Over("the node is gone".into()),
            Err(error) => return self.fail(began, now, &error),
        };
        (self.failures, self.denials, self.failed, self.not_before) = (0, 0, None, None);
        let uid = node.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let is = Uid::parse(uid);
        if *self.uid.get_or_insert_with(|| is.clone()) != is {
            return Verdict::Over(format!("another node has its name now (uid {uid})"));
        }
        if node.pointer("/spec/unschedulable").and_then(Value::as_bool) != Some(true) {
            return Verdict::Uncordoned(uncordoned(&node, self.cordoned_at, at));
        }
        self.good = Some((began, now));
        self.cordoned_at = Some(at);
        self.ready = Some(is_ready(&node));
        Verdict::GoesOn
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

/// Who took the cordon back and when, as far as the object tells. Whoever removes a field (as kubectl uncordon does)
/// leaves no trace in managedFields: then it is the time between two looks.
fn uncordoned(node: &Value, before: Option<Stamp>, now: Stamp) -> String {
    match (drift::owner(node, "/spec/unschedulable"), before) {
        (Some((manager, at)), _) if !at.is_empty() => format!("uncordoned meanwhile by {manager} at {at}"),
        (Some((manager, _)), _) => format!("uncordoned meanwhile by {manager}"),
        (None, Some(before)) => {
            format!("uncordoned meanwhile, between {before} and {now} (its managedFields do not say by whom)")
        }
        (None, None) => format!("uncordoned meanwhile, before {now} (its managedFields do not say by whom)"),
    }
}

fn is_ready(node: &Value) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| {
        c.get("type").and_then(Value::as_str) == Some("Ready")
            && c.get("status").and_then(Value::as_str) == Some("True")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;

    const UID: &str = "00000000-0000-4000-8000-000000000500";

    #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
    fn node(spec: Value, managed: Value) -> Result<Option<Bytes>, ApiError> {
        let node = json!({ "metadata": { "uid": UID, "managedFields": managed }, "spec": spec });
        Ok(Some(node.to_string().into()))
    }

    fn sight() -> Sight {
        Sight::new(Some(Uid::parse(UID)))
    }

    #[test]
    fn what_a_look_means() {
        let now = Clock::instant();
        let see = |looked| sight().see(looked, now, Stamp(0));
        let cordoned = json!({ "unschedulable": true });
        assert_eq!(see(node(cordoned.clone(), Value::Null)), Verdict::GoesOn);
        assert_eq!(see(Ok(None)), Verdict::Over("the node is gone".into()));
        let mut other = Sight::new(Some(Uid::Uuid(7)));
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
    fn nothing_is_sent_on_an_old_look() {
        let (mut sight, start) = (sight(), Clock::instant());
        assert!(!sight.is_fresh(start), "it was never looked at");
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
