//! The transport to a Prometheus behind a Service of the cluster, through the service proxy of the API server. It only
//! sends GET, which needs `get services/proxy`.

use http::{HeaderMap, StatusCode};
use pilothouse_core::domain::found::{Outcome, ServiceAddress};

use super::{Asked, BODY_CAP, Data, PrometheusError, Remarks, read};
use crate::wire::client::{Passed, ReadClient};
use crate::wire::error::ApiError;

/// The longest path with its query. Many load balancers in front of API servers accept 8 KiB.
const LONGEST: usize = 8000;

/// The transport. Cheap to clone.
#[derive(Clone)]
pub(super) struct Inside {
    reader: ReadClient,
    address: ServiceAddress,
    headers: HeaderMap,
}

impl Inside {
    pub(super) fn new(reader: ReadClient, address: ServiceAddress, headers: HeaderMap) -> Self {
        Self { reader, address, headers }
    }

    pub(super) fn address(&self) -> &ServiceAddress {
        &self.address
    }

    pub(super) async fn send(&self, path: &str, query: &str) -> Result<(Data, Remarks), PrometheusError> {
        let path = format!("{}/{path}?{query}", self.address.path());
        if path.len() > LONGEST {
            let long = path.len();
            return Err(PrometheusError::Config(format!(
                "the query is too long for the API server's proxy ({long} of {LONGEST} bytes): set prometheus.url"
            )));
        }
        let passed = self.reader.get_passed(&path, &self.headers, BODY_CAP).await;
        let passed = passed.map_err(|error| self.refused(&error))?;
        match passed.refusal() {
            Some(error) => Err(self.refused(&error)),
            None => Self::read(&passed),
        }
    }

    /// Reads the answer of the server behind the Service.
    fn read(passed: &Passed) -> Result<(Data, Remarks), PrometheusError> {
        let code = passed.status.as_u16();
        // the API server keeps the header with credentials, so a login cannot succeed
        let is_login =
            matches!(passed.status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
                || passed.status.is_redirection();
        if is_login {
            let message =
                format!("{code}: it {}: set prometheus.url and a token or password", Outcome::Login);
            return Err(PrometheusError::Service { outcome: Outcome::Login, message });
        }
        read(Asked::Service, passed.status, &passed.body, passed.retry_after())
    }

    /// Says why the API server did not pass the request on.
    fn refused(&self, error: &ApiError) -> PrometheusError {
        let (namespace, name) = (self.address.namespace(), self.address.name());
        let service = |outcome: Outcome, message: String| PrometheusError::Service { outcome, message };
        match error {
            ApiError::Forbidden { .. } => {
                let whom = error.refused().map_or_else(String::new, |whom| format!(" ({whom} may not)"));
                PrometheusError::Denied(format!("403, needs get services/proxy in {namespace}{whom}"))
            }
            ApiError::Unreachable(why) => PrometheusError::Unreachable(why.clone()),
            ApiError::Timeout(limit) => PrometheusError::Timeout(*limit),
            ApiError::Decode(why) => PrometheusError::Decode(why.clone()),
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
                PrometheusError::Refused { code: 429, message: message.clone(), retry_after: *retry_after }
            }
            ApiError::Server { code: 504, .. } => service(Outcome::Slow, error.to_string()),
            other => service(Outcome::Failed, other.to_string()),
        }
    }
}
