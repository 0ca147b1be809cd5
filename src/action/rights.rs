//! Checks whether an action still has its permissions. Permissions and credentials can be lost while it runs.

use std::collections::HashSet;

use pilothouse_core::domain::plan::{Access, Step};
use pilothouse_core::plan::{to_look, to_write};

use crate::wire::client::{Ask, ReadClient};
use crate::wire::error::ApiError;

/// The maximum number of permissions that are checked at once. Evictions need one for each namespace.
const MOST_ASKED: usize = 16;

/// Returns the request of an access review.
pub fn ask(access: &Access) -> Ask<'_> {
    Ask {
        verb: access.verb,
        group: access.group,
        resource: access.resource,
        subresource: access.subresource,
        namespace: &access.namespace,
        name: &access.name,
    }
}

/// Describes the permission or credential that was lost, after the write of a step was refused with `error`. Returns
/// `None` if it was refused for another reason, such as an admission webhook.
pub async fn ended(reader: &ReadClient, step: &Step, error: &ApiError) -> Option<String> {
    missing(reader, to_write(step), error).await
}

/// Describes the permission or credential that was lost, after a read of the step's object failed.
pub async fn sight_ended(reader: &ReadClient, step: &Step, error: &ApiError) -> Option<String> {
    missing(reader, to_look(step), error).await
}

/// Checks the permissions of steps that were not executed, without an error to start from.
pub async fn lost(reader: &ReadClient, steps: impl Iterator<Item = &Step>) -> Option<String> {
    let needed: HashSet<Access> = steps.filter_map(to_write).collect();
    for access in needed.iter().take(MOST_ASKED) {
        match reader.may(ask(access)).await {
            Ok(answer) if !answer.allowed => return Some(format!("you may no longer {access}")),
            Err(e @ ApiError::Unauthorized(_)) => return Some(no_login(&e)),
            Ok(_) | Err(_) => {}
        }
    }
    None
}

fn no_login(error: &ApiError) -> String {
    format!("the credentials are no longer accepted: {error}")
}

async fn missing(reader: &ReadClient, access: Option<Access>, error: &ApiError) -> Option<String> {
    match error {
        ApiError::Unauthorized(_) => Some(no_login(error)),
        // a webhook or a quota refuses with the same code, so the server is asked whether the permission is missing
        ApiError::Forbidden { .. } => {
            let access = access?;
            match reader.may(ask(&access)).await {
                Ok(answer) if !answer.allowed => Some(format!("you may no longer {access}: {error}")),
                Err(e @ ApiError::Unauthorized(_)) => Some(no_login(&e)),
                Ok(_) | Err(_) => None,
            }
        }
        _ => None,
    }
}
