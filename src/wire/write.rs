//! The client that changes objects. It sends each request once, and reports whether the request can have been applied.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};

use super::client::{collect, escape, refusal, request};
use super::connect::Link;
use super::error::ApiError;
use super::transport::{Follow, Http, SendError};

/// The deadline of a write. After it, the outcome is unknown.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// The deadline of a credential plugin.
const CREDENTIAL: Duration = Duration::from_secs(60);
const BODY_CAP: usize = 16 << 20;

/// The two ways in which a write fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Not applied for certain: the server answered 4xx, or was never reached.
    #[error("{0}")]
    Refused(ApiError),
    /// It can have been applied: read the object before anything else.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// Changes the objects of one cluster, over connections of its own. Only the executor holds one.
#[derive(Clone)]
pub struct WriteClient {
    inner: Http,
    link: Arc<Link>,
}

impl std::fmt::Debug for WriteClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteClient").finish_non_exhaustive()
    }
}

/// The content types of a PATCH.
pub mod content {
    pub const JSON_PATCH: &str = "application/json-patch+json";
    pub const MERGE: &str = "application/merge-patch+json";
    pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
}

impl WriteClient {
    pub(super) fn new(inner: Http, link: Arc<Link>) -> Self {
        Self { inner, link }
    }

    pub async fn patch(
        &self,
        path: &str,
        content_type: &str,
        body: &Value,
        dry_run: bool,
        field_manager: &str,
    ) -> Result<Value, WriteError> {
        let path = query(path, dry_run, field_manager);
        self.send(Method::PATCH, &path, content_type, Some(body)).await
    }

    pub async fn put(
        &self,
        path: &str,
        body: &Value,
        dry_run: bool,
        field_manager: &str,
    ) -> Result<Value, WriteError> {
        self.send(Method::PUT, &query(path, dry_run, field_manager), "application/json", Some(body)).await
    }

    pub async fn post(
        &self,
        path: &str,
        body: &Value,
        dry_run: bool,
        field_manager: &str,
    ) -> Result<Value, WriteError> {
        self.send(Method::POST, &query(path, dry_run, field_manager), "application/json", Some(body)).await
    }

    /// DELETE with `DeleteOptions` (preconditions, grace period).
    pub async fn delete(
        &self,
        path: &str,
        options: &Map<String, Value>,
        dry_run: bool,
    ) -> Result<Value, WriteError> {
        let body = delete_body(options, dry_run);
        self.send(Method::DELETE, &query(path, dry_run, ""), "application/json", Some(&body)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, WriteError> {
        let body = body.map(|b| Bytes::from(b.to_string()));
        let deadline = self.link.timeout.unwrap_or(DEADLINE);
        // nothing is sent before the credentials are available
        let request = request(&self.link, &method, path, "application/json", body);
        let Ok(request) = tokio::time::timeout(CREDENTIAL, request).await else {
            let words = self.link.credential.waiting().unwrap_or_default();
            return Err(WriteError::Refused(ApiError::Unauthorized(words)));
        };
        let mut request = request.map_err(WriteError::Refused)?;
        let kind = HeaderValue::from_str(content_type).map_err(|e| {
            WriteError::Refused(ApiError::Invalid { message: format!("content type {content_type:?}: {e}") })
        })?;
        request.headers_mut().insert(CONTENT_TYPE, kind);
        let call = async {
            let response =
                self.inner.send(request, Follow::SameServer).await.map_err(|e| unsent_or_unknown(&e))?;
            if !response.status().is_success() {
                return Err(judge(refusal(response, &self.link.clock).await, &self.link));
            }
            // the write was applied, even if the answer's body is lost
            let body = collect(response.into_body(), BODY_CAP).await.unwrap_or_default();
            Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
        };
        match tokio::time::timeout(deadline, call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(WriteError::Unknown(format!("no answer within {} s", deadline.as_secs()))),
        }
    }
}

/// A 4xx was not applied. A 5xx can have been applied, because the server can fail after it has written.
fn judge(error: ApiError, link: &Link) -> WriteError {
    match error {
        ApiError::Server { code, .. } if code >= 500 => WriteError::Unknown(error.to_string()),
        ApiError::Unauthorized(_) => {
            link.credential.forget();
            WriteError::Refused(error)
        }
        other => WriteError::Refused(other),
    }
}

/// Without an answer, the write counts as refused only if no byte of the request was sent.
fn unsent_or_unknown(error: &SendError) -> WriteError {
    let mut part: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = part {
        let unsent = current
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect);
        if unsent {
            return WriteError::Refused(ApiError::Unreachable(error.words()));
        }
        part = current.source();
    }
    WriteError::Unknown(error.words())
}

/// The body of a DELETE. A server that gets a body ignores the query
/// (`staging/src/k8s.io/apiserver/pkg/endpoints/handlers/delete.go`), so `dryRun` has to be in the body.
fn delete_body(options: &Map<String, Value>, dry_run: bool) -> Value {
    let mut options = options.clone();
    if dry_run {
        options.insert("dryRun".into(), json!(["All"]));
    }
    Value::Object(options)
}

fn query(path: &str, dry_run: bool, field_manager: &str) -> String {
    let mut out = path.to_owned();
    let mut add = |pair: &str| {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(pair);
    };
    if dry_run {
        add("dryRun=All");
    }
    if !field_manager.is_empty() {
        add(&format!("fieldManager={}", escape(field_manager)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        assert_eq!(query("/a", true, "pilothouse"), "/a?dryRun=All&fieldManager=pilothouse");
        assert_eq!(query("/a?x=1", false, "p"), "/a?x=1&fieldManager=p");
        assert_eq!(query("/a", false, ""), "/a");
    }

    #[test]
    fn the_body_of_a_delete_says_that_it_is_a_dry_run() {
        let Value::Object(options) = json!({ "preconditions": { "uid": "u" } }) else { panic!("an object") };
        let dry = delete_body(&options, true);
        assert_eq!(dry, json!({ "preconditions": { "uid": "u" }, "dryRun": ["All"] }));
        assert_eq!(delete_body(&options, false), Value::Object(options));
    }

    /// A client of a server that handles each connection with `with`.
    async fn client(with: &'static str) -> (WriteClient, u16) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(rustls::crypto::ring::default_provider().install_default());
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = format!(
            "clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\ncontexts: [{{name: a, context: {{cluster: c}}}}]\ncurrent-context: a\n"
        );
        std::fs::write(file.path(), config).unwrap();
        let options = crate::wire::connect::ConnectOptions {
            kubeconfig: Some(file.path().into()),
            ..crate::wire::connect::ConnectOptions::default()
        };
        let client = crate::wire::connect::Connection::open(options).await.unwrap().writer().unwrap();
        if with == "refuse" {
            return (client, port);
        }
        #[allow(clippy::disallowed_methods)]
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut some = [0u8; 4096];
                assert!(socket.read(&mut some).await.unwrap() > 0);
                socket.write_all(with.as_bytes()).await.unwrap();
            }
        });
        (client, port)
    }

    #[tokio::test]
    async fn only_what_provably_did_nothing_is_refused() {
        let ask = async |with: &'static str| {
            let (client, _) = client(with).await;
            client.post("/x", &serde_json::json!({}), false, "p").await
        };
        assert_eq!(
            ask("refuse").await,
            Err(WriteError::Refused(ApiError::Unreachable("connection refused".into())))
        );
        assert!(matches!(ask("").await, Err(WriteError::Unknown(_))), "sent, and no answer");
        let answer = |code: &str| format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\n\r\n");
        for code in ["500", "503", "504"] {
            assert!(matches!(ask(answer(code).leak()).await, Err(WriteError::Unknown(_))), "{code}");
        }
        for code in ["400", "403", "404", "409", "422", "429"] {
            assert!(matches!(ask(answer(code).leak()).await, Err(WriteError::Refused(_))), "{code}");
        }
        assert!(ask(answer("200").leak()).await.is_ok());
    }
}
