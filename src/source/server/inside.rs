//! The transport to a server behind a Service of the cluster, through the service proxy of the API server. It only
//! sends GET, which needs `get services/proxy`.

use http::{HeaderMap, StatusCode};
use pilothouse_core::domain::found::{Outcome, ServiceAddress};

use super::{Answer, Asked, BODY_CAP, Kind, ServerError};
use crate::wire::client::{Passed, ReadClient};
use crate::wire::error::ApiError;

/// The longest path with its query. Many load balancers in front of API servers accept 8 KiB.
const LONGEST: usize = 8000;

/// The transport. Cheap to clone.
#[derive(Clone)]
pub(super) struct Inside {
    kind: &'static Kind,
    reader: ReadClient,
    address: ServiceAddress,
    headers: HeaderMap,
}

impl Inside {
    pub(super) fn new(
        kind: &'static Kind,
        reader: ReadClient,
        address: ServiceAddress,
        headers: HeaderMap,
    ) -> Self {
        Self { kind, reader, address, headers }
    }

    pub(super) fn address(&self) -> &ServiceAddress {
        &self.address
    }

    pub(super) async fn send(&self, path: &str, query: &str) -> Result<Answer, ServerError> {
        let path = format!("{}/{path}?{query}", self.address.path());
        if path.len() > LONGEST {
            let long = path.len();
            return Err(ServerError::Config(format!(
                "the query is too long for the API server's proxy ({long} of {LONGEST} bytes): set {}.url",
                self.kind.section
            )));
        }
        let passed = self.reader.get_passed(&path, &self.headers, BODY_CAP).await;
        let passed = passed.map_err(|error| self.refused(&error))?;
        match passed.refusal() {
            Some(error) => Err(self.refused(&error)),
            None => self.read(passed),
        }
    }

    /// Reads the answer of the server behind the Service.
    fn read(&self, passed: Passed) -> Result<Answer, ServerError> {
        let code = passed.status.as_u16();
        // the API server keeps the header with credentials, so a login cannot succeed
        let is_login =
            matches!(passed.status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
                || passed.status.is_redirection();
        if is_login {
            let section = self.kind.section;
            let message = format!("{code}: it {}: set {section}.url and a token or password", Outcome::Login);
            return Err(ServerError::Service { outcome: Outcome::Login, message });
        }
        let retry_after = passed.retry_after();
        Ok(Answer { asked: Asked::Service, status: passed.status, body: passed.body, retry_after })
    }

    /// Says why the API server did not pass the request on.
    fn refused(&self, error: &ApiError) -> ServerError {
        let (namespace, name) = (self.address.namespace(), self.address.name());
        let service = |outcome: Outcome, message: String| ServerError::Service { outcome, message };
        match error {
            ApiError::Forbidden { .. } => {
                let whom = error.refused().map_or_else(String::new, |whom| format!(" ({whom} may not)"));
                ServerError::Denied(format!("403, needs get services/proxy in {namespace}{whom}"))
            }
            ApiError::Unreachable(why) => ServerError::Unreachable(why.clone()),
            ApiError::Timeout(limit) => ServerError::Timeout(*limit),
            ApiError::Decode(why) => ServerError::Decode(why.clone()),
            // the proxy leads to pods only, and a port that does not exist has no endpoints either
            error if error.is_without_endpoints() => {
                let port = self.address.port();
                let message =
                    format!("the Service {namespace}/{name} has no ready endpoints (pods) for port {port}");
                service(Outcome::NoEndpoints, message)
            }
            ApiError::NotFound { .. } => {
                let message = format!("404, there is no Service {namespace}/{name}, or it has no Endpoints");
                service(Outcome::Missing, message)
            }
            ApiError::TooMany { retry_after, message, .. } => {
                ServerError::Refused { code: 429, message: message.clone(), retry_after: *retry_after }
            }
            ApiError::Server { code: 504, .. } => service(Outcome::Slow, error.to_string()),
            other => service(Outcome::Failed, other.to_string()),
        }
    }
}
