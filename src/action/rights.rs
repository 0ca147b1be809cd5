//! Whether an action may still do what it was planned to do: rights and credentials can end while it runs.

use std::collections::HashSet;

use pilothouse_core::domain::plan::{Access, Step};
use pilothouse_core::plan::{to_look, to_write};

use crate::wire::client::{Ask, ReadClient};
use crate::wire::error::ApiError;

/// The most rights that are asked for at once: evictions need one for each namespace.
const MOST_ASKED: usize = 16;

/// The question of an access review.
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

/// Which right or credential ended, in words, after the write of a step was refused with `error`. None: it was refused
/// for another reason, as an admission webhook refuses.
pub async fn ended(reader: &ReadClient, step: &Step, error: &ApiError) -> Option<String> {
    missing(reader, to_write(step), error).await
}

/// The same after a look at the step's object.
pub async fn sight_ended(reader: &ReadClient, step: &Step, error: &ApiError) -> Option<String> {
    missing(reader, to_look(step), error).await
}

/// The same for steps that were not carried out, without an error at hand: by asking.
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
        // the same code says that a webhook or a quota refuses: the server knows which it was
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
