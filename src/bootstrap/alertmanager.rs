//! Connects the actions with the Alertmanager at the URL of the config.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Method;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::ServerSettings;

use crate::action::alertmanager::{Alertmanager, Site};
use crate::source::alerts::KIND;
use crate::source::server::{self, Answer, Reached as _, Server, ServerError, Unanswered};
use crate::wire::error::ApiError;
use crate::wire::write::WriteError;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Returns the Alertmanager of the settings, as actions use it. Wrong settings are an error of the actions that need it.
pub fn of(settings: &ServerSettings) -> Alertmanager {
    let read = || {
        let site = server::at_url(&KIND, settings)?;
        let site = site.map(|server| Arc::new(AtUrl(server)) as Arc<dyn Site>);
        Ok(Alertmanager { site, headers: server::headers(&KIND, settings)?, unusable: None })
    };
    read().unwrap_or_else(|why: String| Alertmanager { unusable: Some(why), ..Alertmanager::default() })
}

/// Returns the URL of the settings without credentials, or "" without one.
pub(super) fn url(settings: &ServerSettings) -> Name {
    let site = server::at_url(&KIND, settings).ok().flatten();
    site.map_or_else(Name::default, |site| site.shown().into())
}

struct AtUrl(Server);

fn refused(answer: &Answer) -> ApiError {
    let said = serde_json::from_slice::<String>(&answer.body);
    let error = match said {
        Ok(words) => answer.refusal(&words),
        Err(_) => answer.refused(&KIND),
    };
    let message = error.to_string();
    match answer.status.as_u16() {
        401 => ApiError::Unauthorized(message),
        403 => ApiError::Forbidden { message },
        404 => ApiError::NotFound { message, status: false },
        _ => ApiError::Invalid { message },
    }
}

impl Site for AtUrl {
    fn url(&self) -> String {
        self.0.shown()
    }

    fn get<'s>(&'s self, path: &'s str) -> BoxFuture<'s, Result<Bytes, ApiError>> {
        async move {
            let answer = self.0.ask(path, "", TIMEOUT).await.map_err(|e| match e {
                ServerError::Timeout(limit) => ApiError::Timeout(limit),
                other => ApiError::Unreachable(other.to_string()),
            })?;
            if answer.status.is_success() { Ok(answer.body) } else { Err(refused(&answer)) }
        }
        .boxed()
    }

    fn write(&self, method: Method, path: String, body: Bytes) -> BoxFuture<'_, Result<(), WriteError>> {
        async move {
            match self.0.write(method, &path, body, TIMEOUT).await {
                Ok(answer) if answer.status.is_success() => Ok(()),
                // a server can fail after it has written
                Ok(answer) if answer.status.is_server_error() => {
                    Err(WriteError::Unknown(refused(&answer).to_string()))
                }
                Ok(answer) => Err(WriteError::Refused(refused(&answer))),
                Err(Unanswered::Unsent(why)) => Err(WriteError::Refused(ApiError::Unreachable(why))),
                Err(Unanswered::Lost(why)) => Err(WriteError::Unknown(why)),
            }
        }
        .boxed()
    }
}
