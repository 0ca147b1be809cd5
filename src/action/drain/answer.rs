//! What the answer to one eviction means for its pod: gone, accepted, held, again, failed, or unknown.

use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::plan::Step;
use serde_json::Value;

use super::super::settle::{Standing, read, standing};
use crate::wire::client::ReadClient;
use crate::wire::error::ApiError;
use crate::wire::write::WriteError;

/// The least that a throttling server is left alone.
const THROTTLED: Duration = Duration::from_secs(1);

/// The meaning of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It will go: the watch shows when it has.
    Accepted,
    /// There is no such pod any more, or another one by its name.
    Gone(String),
    /// A budget refuses; its name where the server says it.
    Budget(Option<Name>, String),
    /// Provably not applied for a reason that passes: again after this time.
    Again(Duration, String),
    /// Its namespace is being deleted, and the pod with it.
    Ending(String),
    Failed(String),
    /// It may have been applied.
    Unknown(String),
}

/// Reads an answer as the eviction subresource of the API server gives it.
pub fn judge(answer: Result<Value, WriteError>) -> Answer {
    match answer {
        Ok(_) => Answer::Accepted,
        Err(WriteError::Refused(error)) => refused(error),
        // both are answers of the server's own code after which nothing was written
        Err(WriteError::Unknown(why)) if why.contains("more than one PodDisruptionBudget") => {
            Answer::Failed(why)
        }
        Err(WriteError::Unknown(why)) if why.contains("PodDisruptionBudget") && why.contains("conflicts") => {
            Answer::Again(Duration::from_secs(10), why)
        }
        Err(WriteError::Unknown(why)) => Answer::Unknown(why),
    }
}

/// Reads an answer; one look at the pod after a refusal that a gateway can give as well, when the eviction has gone
/// through already.
pub async fn settle(reader: &ReadClient, step: &Step, answer: Result<Value, WriteError>) -> Answer {
    let refusals = |e: &ApiError| matches!(e, ApiError::Unauthorized(_) | ApiError::Forbidden { .. });
    let doubtful = matches!(&answer, Err(WriteError::Refused(e)) if refusals(e));
    match judge(answer) {
        Answer::Failed(why) if doubtful => match read(reader, &step.what, &step.on).await {
            Ok(live) => match standing(&step.what, &step.on, live.as_ref(), "") {
                Standing::Verified(note) => Answer::Gone(note),
                Standing::Settling(_) => Answer::Accepted,
                Standing::NotApplied | Standing::Overridden(_) => Answer::Failed(why),
            },
            Err(error) => Answer::Unknown(format!("{why}; it cannot be looked at: {error}")),
        },
        answer => answer,
    }
}

fn refused(error: ApiError) -> Answer {
    match error {
        ApiError::NotFound { status: true, .. } => Answer::Gone("gone already".into()),
        ApiError::TooMany { budget: true, message, .. } => Answer::Budget(budget(&message), message),
        ApiError::TooMany { retry_after, message, .. } => {
            Answer::Again(retry_after.unwrap_or_default().max(THROTTLED), format!("throttled: {message}"))
        }
        ApiError::Conflict { message } if message.contains("UID in precondition") => {
            Answer::Gone("gone: another pod has its name".into())
        }
        ApiError::Conflict { message } => Answer::Again(THROTTLED, format!("changed meanwhile: {message}")),
        ApiError::Forbidden { message } if message.contains("being terminated") => Answer::Ending(message),
        // the request never left: nothing was applied
        ApiError::Unreachable(why) => Answer::Again(Duration::from_secs(3), format!("not sent: {why}")),
        other => Answer::Failed(other.to_string()),
    }
}

/// `The disruption budget NAME needs …`, `The disruption budget NAME is still …`.
fn budget(message: &str) -> Option<Name> {
    let rest = message.split("disruption budget ").nth(1)?;
    rest.split_whitespace().next().map(Name::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, body: &str) -> Answer {
        let error = ApiError::from_answer(code, None, body.as_bytes());
        judge(Err(if code >= 500 {
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
        assert!(matches!(held, Answer::Budget(Some(name), _) if name == "cart"));
        let throttled = answer(429, "Too many requests, please try again later.");
        assert!(matches!(throttled, Answer::Again(wait, _) if wait == Duration::from_secs(1)));
        let other = r#"{"message":"Operation cannot be fulfilled on pods \"p\": Precondition failed: UID in precondition: a, UID in object meta: b"}"#;
        assert!(matches!(answer(409, other), Answer::Gone(_)));
        assert!(matches!(answer(409, r#"{"message":"the object has been modified"}"#), Answer::Again(..)));
        assert!(matches!(
            answer(404, r#"{"kind":"Status","code":404,"reason":"NotFound"}"#),
            Answer::Gone(_)
        ));
        assert!(
            matches!(answer(404, "<html>no such page"), Answer::Failed(_)),
            "a gateway's word, not the API's"
        );
        let ending = r#"{"message":"pods \"p\" is forbidden: unable to create new content in namespace x because it is being terminated"}"#;
        assert!(matches!(answer(403, ending), Answer::Ending(_)));
        assert!(matches!(answer(403, r#"{"message":"no right"}"#), Answer::Failed(_)));
        let several = r#"{"message":"This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}"#;
        assert!(matches!(answer(500, several), Answer::Failed(_)));
        let conflicts =
            r#"{"message":"Timeout: couldn't update PodDisruptionBudget \"cart\" due to conflicts"}"#;
        assert!(matches!(answer(504, conflicts), Answer::Again(..)));
        assert!(matches!(answer(500, "etcdserver: leader changed"), Answer::Unknown(_)));
        assert!(matches!(answer(503, ""), Answer::Unknown(_)));
    }
}
