//! Interprets the answer to an eviction: accepted, gone, refused by a disruption budget, to be retried, failed, or
//! unknown.

use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::plan::Step;
use serde_json::Value;

use super::super::live_object::Live;
use super::super::step_check::{Standing, standing};
use super::api::DrainApi;
use crate::wire::error::ApiError;
use crate::wire::write::WriteError;

/// The minimum wait after the server has throttled a request.
const THROTTLED: Duration = Duration::from_secs(1);

/// The result of an eviction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EvictionResult {
    /// The pod is terminating. The watch reports when it is gone.
    Accepted,
    /// The pod is gone, or another pod has its name.
    Gone(String),
    /// A disruption budget refuses the eviction. Contains its name, if the server returned it, and the message.
    Budget(Option<Name>, String),
    /// The eviction was not applied, for a temporary reason. It is sent again after this time.
    Retry(Duration, String),
    /// The pod's namespace is being deleted, and the pod with it.
    NamespaceTerminating(String),
    Failed(String),
    /// The eviction may have been applied.
    Unknown(String),
}

/// Interprets an answer of the eviction subresource.
pub(super) fn classify(answer: Result<Value, WriteError>) -> EvictionResult {
    match answer {
        Ok(_) => EvictionResult::Accepted,
        Err(WriteError::Refused(error)) => refused(error),
        // the API server itself returns both errors, before it writes anything
        Err(WriteError::Unknown(why)) if why.contains("more than one PodDisruptionBudget") => {
            EvictionResult::Failed(why)
        }
        Err(WriteError::Unknown(why)) if why.contains("PodDisruptionBudget") && why.contains("conflicts") => {
            EvictionResult::Retry(Duration::from_secs(10), why)
        }
        Err(WriteError::Unknown(why)) => EvictionResult::Unknown(why),
    }
}

/// Interprets the answer to a step. A gateway can return some refusals although the eviction was applied. After
/// these, the pod is read once.
pub(super) async fn result_of(
    api: &dyn DrainApi,
    step: &Step,
    answer: Result<Value, WriteError>,
) -> EvictionResult {
    let refusals = |e: &ApiError| matches!(e, ApiError::Unauthorized(_) | ApiError::Forbidden { .. });
    let doubtful = matches!(&answer, Err(WriteError::Refused(e)) if refusals(e));
    match classify(answer) {
        EvictionResult::Failed(why) if doubtful => {
            let read = api.get(step.on.clone()).await;
            let live = read.and_then(|body| body.map(|body| Live::of(&step.on.kind, &body)).transpose());
            match live.map(|live| standing(&step.what, &step.on, live.as_ref(), "")) {
                Ok(Standing::Verified(note)) => EvictionResult::Gone(note),
                Ok(Standing::Settling(_)) => EvictionResult::Accepted,
                Ok(Standing::NotApplied | Standing::Overridden(_)) => EvictionResult::Failed(why),
                Err(error) => EvictionResult::Unknown(format!("{why}; it cannot be read: {error}")),
            }
        }
        result => result,
    }
}

fn refused(error: ApiError) -> EvictionResult {
    match error {
        ApiError::NotFound { status: true, .. } => EvictionResult::Gone("gone already".into()),
        ApiError::TooMany { budget: true, message, .. } => EvictionResult::Budget(budget(&message), message),
        ApiError::TooMany { retry_after, message, .. } => EvictionResult::Retry(
            retry_after.unwrap_or_default().max(THROTTLED),
            format!("throttled: {message}"),
        ),
        ApiError::Conflict { message } if message.contains("UID in precondition") => {
            EvictionResult::Gone("gone: another pod has its name".into())
        }
        ApiError::Conflict { message } => {
            EvictionResult::Retry(THROTTLED, format!("changed meanwhile: {message}"))
        }
        ApiError::Forbidden { message } if message.contains("being terminated") => {
            EvictionResult::NamespaceTerminating(message)
        }
        // the request was never sent, so nothing was applied
        ApiError::Unreachable(why) => {
            EvictionResult::Retry(Duration::from_secs(3), format!("not sent: {why}"))
        }
        other => EvictionResult::Failed(other.to_string()),
    }
}

/// Parses the name from `The disruption budget NAME needs …` or `The disruption budget NAME is still …`.
fn budget(message: &str) -> Option<Name> {
    let rest = message.split("disruption budget ").nth(1)?;
    rest.split_whitespace().next().map(Name::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, body: &str) -> EvictionResult {
        let error = ApiError::from_answer(code, None, body.as_bytes());
        classify(Err(if code >= 500 {
            WriteError::Unknown(error.to_string())
        } else {
            WriteError::Refused(error)
        }))
    }

    #[test]
    fn the_servers_words() {
        let held = answer(
            429,
            r#"{"message":"Cannot evict pod as it would violate the pod's disruption budget.","details":{"causes":[{"reason":"DisruptionBudget","message":"The disruption budget cart needs 3 healthy pods and has 3 currently"}]}}"#,
        );
        assert!(matches!(held, EvictionResult::Budget(Some(name), _) if name == "cart"));
        let throttled = answer(429, "Too many requests, please try again later.");
        assert!(matches!(throttled, EvictionResult::Retry(wait, _) if wait == Duration::from_secs(1)));
        let other = r#"{"message":"Operation cannot be fulfilled on pods \"p\": Precondition failed: UID in precondition: a, UID in object meta: b"}"#;
        assert!(matches!(answer(409, other), EvictionResult::Gone(_)));
        assert!(matches!(
            answer(409, r#"{"message":"the object has been modified"}"#),
            EvictionResult::Retry(..)
        ));
        assert!(matches!(
            answer(404, r#"{"kind":"Status","code":404,"reason":"NotFound"}"#),
            EvictionResult::Gone(_)
        ));
        assert!(
            matches!(answer(404, "<html>no such page"), EvictionResult::Failed(_)),
            "a gateway's word, not the API's"
        );
        let ending = r#"{"message":"pods \"p\" is forbidden: unable to create new content in namespace x because it is being terminated"}"#;
        assert!(matches!(answer(403, ending), EvictionResult::NamespaceTerminating(_)));
        assert!(matches!(answer(403, r#"{"message":"no right"}"#), EvictionResult::Failed(_)));
        let several = r#"{"message":"This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}"#;
        assert!(matches!(answer(500, several), EvictionResult::Failed(_)));
        let conflicts =
            r#"{"message":"Timeout: couldn't update PodDisruptionBudget \"cart\" due to conflicts"}"#;
        assert!(matches!(answer(504, conflicts), EvictionResult::Retry(..)));
        assert!(matches!(answer(500, "etcdserver: leader changed"), EvictionResult::Unknown(_)));
        assert!(matches!(answer(503, ""), EvictionResult::Unknown(_)));
    }
}
