//! The client that reads: GET, LIST, streams, and access reviews. It cannot change anything.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, LOCATION, RETRY_AFTER, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use pilothouse_core::domain::time::Stamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::backoff::Backoff;
use super::connect::Link;
use super::error::{ApiError, is_status};
use super::transport::{Follow, Http};
use crate::clock::Clock;

/// The deadline of a unary call.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// The deadline for the first byte of a stream. An API server that waits for a hung extension answers only after 44 s.
const STREAM_HEAD: Duration = Duration::from_secs(50);
/// How often a patient client repeats a request, and the longest `Retry-After` that it obeys.
const AGAIN: u32 = 3;
const WAIT_AT_MOST: Duration = Duration::from_secs(5);
/// The largest unary answer that is accepted.
const BODY_CAP: usize = 64 << 20;
const JSON: &str = "application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Reads from one cluster. Cheap to clone.
#[derive(Clone)]
pub struct ReadClient {
    inner: Http,
    link: Arc<Link>,
    deadline: Duration,
    /// How often a request is repeated after a temporary failure.
    again: u32,
}

/// The server's answer to an access review.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessAnswer {
    pub allowed: bool,
    pub denied: bool,
    pub reason: String,
}

/// One question of a SelfSubjectAccessReview.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    pub verb: &'a str,
    /// "" for core.
    pub group: &'a str,
    pub resource: &'a str,
    /// "" for none.
    pub subresource: &'a str,
    /// "" for cluster-wide.
    pub namespace: &'a str,
    /// "" for any.
    pub name: &'a str,
}

/// One rule of a SelfSubjectRulesReview.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    pub verbs: Vec<String>,
    pub api_groups: Vec<String>,
    pub resources: Vec<String>,
    pub resource_names: Vec<String>,
}

/// A namespace's rules. If `incomplete` is set, a missing rule does not mean that the access is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rules {
    pub resource_rules: Vec<Rule>,
    pub incomplete: bool,
}

/// The answer of a server behind the API server's proxy, whatever its status.
#[derive(Clone, Debug)]
pub struct Passed {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Passed {
    /// The answer's `Retry-After`, at most five minutes.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        value.trim().parse().ok().map(|s: u64| Duration::from_secs(s.min(300)))
    }

    /// The API server's own refusal. `None` if the answer is from the server behind the proxy.
    pub fn refusal(&self) -> Option<ApiError> {
        let error = || ApiError::from_answer(self.status.as_u16(), self.retry_after(), &self.body);
        (!self.status.is_success() && is_status(&self.body)).then(error)
    }
}

/// A complete answer, with its headers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub body: Bytes,
}

impl std::fmt::Debug for ReadClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadClient").finish_non_exhaustive()
    }
}

impl ReadClient {
    pub(super) fn new(inner: Http, link: Arc<Link>) -> Self {
        let deadline = link.timeout.unwrap_or(DEADLINE);
        Self { inner, link, deadline, again: 0 }
    }

    /// The API server's URL without credentials.
    pub fn server(&self) -> &str {
        &self.link.base
    }

    /// The same client, but it repeats a request after a temporary failure (429, 5xx, a lost connection). For reads
    /// that happen once and that no loop repeats.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self { again: AGAIN, ..self.clone() }
    }

    /// The same client with another deadline for unary calls.
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// GET and decode JSON.
    pub async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        decode(&self.get(path, JSON, BODY_CAP).await?.body)
    }

    /// GET and decode a server-side Table. An object without a Table form is returned as it is.
    pub async fn get_table<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        decode(&self.get(path, TABLE, BODY_CAP).await?.body)
    }

    /// GET at most `cap` bytes; more is an error.
    pub async fn get_bytes(&self, path: &str, cap: usize) -> Result<Bytes, ApiError> {
        Ok(self.get(path, "*/*", cap).await?.body)
    }

    /// GET with the answer's headers.
    pub async fn get(&self, path: &str, accept: &str, cap: usize) -> Result<Answer, ApiError> {
        let mut backoff = Backoff::reads();
        loop {
            match self.within(self.unary(Method::GET, path, accept, None, cap)).await {
                Err(error) if error.may_pass() && backoff.tries() < self.again => {
                    let asked = error.retry_after().unwrap_or_default().min(WAIT_AT_MOST);
                    tokio::time::sleep(backoff.next().max(asked)).await;
                }
                answer => return answer,
            }
        }
    }

    /// GET from a server behind the API server's proxy. `headers` are passed on to it; it never gets our credentials. The
    /// caller limits the time.
    pub async fn get_passed(&self, path: &str, headers: &HeaderMap, cap: usize) -> Result<Passed, ApiError> {
        for last in [false, true] {
            let mut request = request(&self.link, &Method::GET, path, JSON, None).await?;
            for (name, value) in headers {
                // the API server takes this header for itself
                if name != AUTHORIZATION {
                    request.headers_mut().insert(name, value.clone());
                }
            }
            let response = self.inner.send(request, Follow::SameServer).await;
            let (head, body) = response.map_err(|e| ApiError::Unreachable(e.words()))?.into_parts();
            let body = collect(body, cap).await?;
            let passed = Passed { status: head.status, headers: head.headers, body };
            // a 401 of the server behind the proxy says nothing about our credentials
            let refused = matches!(passed.refusal(), Some(ApiError::Unauthorized(_)));
            if last || !refused || !self.link.credential.forget() {
                return Ok(passed);
            }
        }
        Err(ApiError::Unauthorized("the server refuses a fresh token".into()))
    }

    /// GET a body that the caller reads as it arrives. The deadline applies only to the response's head.
    pub async fn stream(&self, path: &str, accept: &str) -> Result<Response<Body>, ApiError> {
        let sent = self.send(Method::GET, path, accept, None);
        let limit = self.link.timeout.unwrap_or(STREAM_HEAD);
        match tokio::time::timeout(limit, sent).await {
            Ok(answer) => answer,
            Err(_) => Err(self.too_late(limit)),
        }
    }

    /// Sends a `SelfSubjectAccessReview`: whether we have this permission.
    pub async fn may(&self, ask: Ask<'_>) -> Result<AccessAnswer, ApiError> {
        #[derive(Deserialize)]
        struct Review {
            status: Option<Status>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Status {
            allowed: bool,
            denied: bool,
            reason: Option<String>,
        }
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": ask.verb, "group": ask.group, "resource": ask.resource,
                "subresource": ask.subresource, "namespace": ask.namespace, "name": ask.name}},
        });
        let review: Review =
            self.review("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &body).await?;
        let status = review.status.unwrap_or_default();
        let reason = pilothouse_core::domain::text::clean(&status.reason.unwrap_or_default()).into_owned();
        Ok(AccessAnswer { allowed: status.allowed, denied: status.denied, reason })
    }

    /// `SelfSubjectReview`: our user name as the server knows it.
    pub async fn who_am_i(&self) -> Result<String, ApiError> {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let review: serde_json::Value =
            self.review("/apis/authentication.k8s.io/v1/selfsubjectreviews", &body).await?;
        review
            .pointer("/status/userInfo/username")
            .and_then(|v| v.as_str())
            .map(|name| pilothouse_core::domain::text::clean(name).into_owned())
            .ok_or_else(|| ApiError::Decode("SelfSubjectReview without a username".into()))
    }

    /// Sends a `SelfSubjectRulesReview`: our permissions in a namespace.
    pub async fn rules(&self, namespace: &str) -> Result<Rules, ApiError> {
        #[derive(Deserialize)]
        struct Review {
            status: Option<Rules>,
        }
        let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace}});
        let review: Review =
            self.review("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &body).await?;
        Ok(review.status.unwrap_or_default())
    }

    /// The server runs on this machine.
    pub fn is_loopback(&self) -> bool {
        self.link.loopback
    }

    async fn review<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, ApiError> {
        let body = Bytes::from(body.to_string());
        decode(&self.within(self.unary(Method::POST, path, JSON, Some(body), BODY_CAP)).await?.body)
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        match tokio::time::timeout(self.deadline, call).await {
            Ok(answer) => answer,
            Err(_) => Err(self.too_late(self.deadline)),
        }
    }

    /// The reason of a timeout: the server, or the credential plugin, took too long.
    fn too_late(&self, limit: Duration) -> ApiError {
        match self.link.credential.waiting() {
            Some(words) => ApiError::Unreachable(words),
            None => ApiError::Timeout(limit),
        }
    }

    async fn unary(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<Bytes>,
        cap: usize,
    ) -> Result<Answer, ApiError> {
        let response = self.send(method, path, accept, body).await?;
        Ok(Answer { body: collect(response.into_body(), cap).await? })
    }

    /// Sends the request. After a 401 it is sent once more with a new token, if a plugin or a file provides one.
    async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<Bytes>,
    ) -> Result<Response<Body>, ApiError> {
        for last in [false, true] {
            let request = request(&self.link, &method, path, accept, body.clone());
            // a slow plugin is reported before the stream's deadline passes
            let Ok(request) = tokio::time::timeout(DEADLINE, request).await else {
                return Err(self.too_late(DEADLINE));
            };
            let request = request?;
            let sent = self.link.clock.local();
            let response = self.inner.send(request, Follow::AsGo).await;
            let response = response.map_err(|e| ApiError::Unreachable(e.words()))?;
            if response.status().is_success() {
                // before the body is read, because its timestamps are compared with the server's time
                if let Some(date) = date(&response, DATE) {
                    self.link.clock.observe(sent, self.link.clock.local(), date);
                }
                return Ok(response);
            }
            let error = refusal(response, &self.link.clock).await;
            let again = !last && matches!(error, ApiError::Unauthorized(_)) && self.link.credential.forget();
            if !again {
                return Err(error);
            }
        }
        Err(ApiError::Unauthorized("the server refuses a fresh token".into()))
    }
}

/// A request with the headers that all our requests have.
pub(super) async fn request(
    link: &Link,
    method: &Method,
    path: &str,
    accept: &str,
    body: Option<Bytes>,
) -> Result<Request<Bytes>, ApiError> {
    let mut builder = Request::builder()
        .method(method.clone())
        .uri(format!("{}{path}", link.base))
        .header(ACCEPT, accept)
        .header(USER_AGENT, link.agent.clone());
    if !link.compress {
        builder = builder.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if body.is_some() {
        builder = builder.header(CONTENT_TYPE, HeaderValue::from_static(JSON));
    }
    for (name, value) in &link.act_as {
        builder = builder.header(name, value.clone());
    }
    if let Some(value) = link.credential.header().await.map_err(ApiError::Unauthorized)? {
        builder = builder.header(AUTHORIZATION, value);
    }
    builder.body(body.unwrap_or_default()).map_err(|e| ApiError::Invalid { message: format!("{path}: {e}") })
}

/// The error of an answer whose status is not a success.
pub(super) async fn refusal(response: Response<Body>, clock: &Clock) -> ApiError {
    let code = response.status().as_u16();
    let wait = retry_after(&response, clock.now());
    if response.status().is_redirection()
        && let Some(to) = response.headers().get(LOCATION)
    {
        let to = String::from_utf8_lossy(to.as_bytes()).into_owned();
        let to = pilothouse_core::domain::text::clean(&to).into_owned();
        let message = format!("the server redirects to {to}, which is not followed");
        return ApiError::Server { code, message, retry_after: wait };
    }
    let body =
        match tokio::time::timeout(Duration::from_secs(5), collect(response.into_body(), 1 << 20)).await {
            Ok(Ok(body)) => body,
            _ => Bytes::new(),
        };
    ApiError::from_answer(code, wait, &body)
}

/// Reads a whole body of at most `cap` bytes.
pub(super) async fn collect(mut body: Body, cap: usize) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| ApiError::from_transport(&e))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > cap {
                return Err(ApiError::Decode(format!("more than {cap} bytes")));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|e| ApiError::Decode(pilothouse_core::domain::text::clean(&e.to_string()).into_owned()))
}

/// A header that holds a date of HTTP.
fn date<T>(response: &Response<T>, name: HeaderName) -> Option<Stamp> {
    let value = response.headers().get(name)?.to_str().ok()?;
    chrono::DateTime::parse_from_rfc2822(value.trim()).ok().map(|t| Stamp(t.timestamp_millis()))
}

/// `Retry-After`: seconds, or a date, which is relative to the server's own clock.
fn retry_after<T>(response: &Response<T>, now: Stamp) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = date(response, DATE).unwrap_or(now);
    Some(Duration::from_millis(date(response, RETRY_AFTER)?.since(now)))
}

/// The characters that need no escape in a path segment or a query value: the unreserved characters of RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Escapes a path segment or a query value.
pub fn escape(value: &str) -> String {
    utf8_percent_encode(value, UNRESERVED).to_string()
}

/// The inverse of [`escape`]; a `%` that starts no escape is kept.
pub(crate) fn unescape(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_named_in_seconds_or_as_a_date() {
        let asked = |wait: &str, date: Option<&str>| {
            let mut answer = Response::builder().header(RETRY_AFTER, wait);
            if let Some(date) = date {
                answer = answer.header(DATE, date);
            }
            let now = Stamp::parse("2026-01-01T00:00:00Z").unwrap();
            retry_after(&answer.body(()).unwrap(), now).map(|d| d.as_secs())
        };
        assert_eq!(asked("7", None), Some(7));
        assert_eq!(asked("Thu, 01 Jan 2026 00:00:09 GMT", None), Some(9));
        let (late, there) = ("Thu, 01 Jan 2026 02:00:04 GMT", "Thu, 01 Jan 2026 02:00:00 GMT");
        assert_eq!(asked(late, Some(there)), Some(4), "by the clock of the server");
        assert_eq!(asked("Wed, 31 Dec 2025 00:00:00 GMT", None), Some(0));
        assert_eq!(asked("soon", None), None);
    }

    #[test]
    fn escapes_what_a_url_cannot_hold() {
        assert_eq!(super::escape("a/b c=é"), "a%2Fb%20c%3D%C3%A9");
        assert_eq!(super::unescape("a%2Fb%20c%3D%C3%A9%+A%4"), "a/b c=é%+A%4");
    }
}
