//! Error answers of the API: `metav1.Status` with the real server's reasons and messages.

use serde_json::{Map, Value, json};

use crate::resources::Res;

/// An error, or the success document of a deletion or an eviction.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    pub code: u16,
    /// Empty if the real server omits it (the 500 of several budgets).
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Value>,
    /// The `Retry-After` header, in seconds.
    pub retry_after: Option<u32>,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for Status {}

/// `details` of an object as in the registry's errors: plural and group.
fn object(res: Res, name: &str) -> Map<String, Value> {
    let info = res.info();
    let mut out = Map::new();
    if !name.is_empty() {
        out.insert("name".into(), json!(name));
    }
    if !info.group.is_empty() {
        out.insert("group".into(), json!(info.group));
    }
    out.insert("kind".into(), json!(info.plural));
    out
}

impl Status {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, retry_after: None }
    }

    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    fn about(self, res: Res, name: &str) -> Self {
        self.details(Value::Object(object(res, name)))
    }

    pub fn not_found(res: Res, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", res.info().qualified()))
            .about(res, name)
    }

    pub fn already_exists(res: Res, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", res.info().qualified()))
            .about(res, name)
    }

    /// The object has changed since the caller read it.
    pub fn conflict(res: Res, name: &str) -> Self {
        Self::conflict_because(
            res,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub fn conflict_because(res: Res, name: &str, why: &str) -> Self {
        let what = res.info().qualified();
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {what} \"{name}\": {why}"))
            .about(res, name)
    }

    /// A precondition failed. Here the real server's message has the kind, not the plural.
    pub fn precondition(res: Res, name: &str, what: &str, wanted: &str, found: &str, hint: &str) -> Self {
        let info = res.info();
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the {what} in the precondition ({wanted}) does \
             not match the {what} in record ({found}). {hint}",
            info.qualified_kind()
        );
        let mut details = object(res, name);
        details.insert("kind".into(), json!(info.kind));
        Self::new(409, "Conflict", message).details(Value::Object(details))
    }

    /// 422 with one cause, in the form of validation errors.
    pub fn invalid(res: Res, name: &str, field: &str, cause: &'static str, what: &str) -> Self {
        let info = res.info();
        let mut details = object(res, name);
        details.insert("kind".into(), json!(info.kind));
        details.insert("causes".into(), json!([{"reason": cause, "message": what, "field": field}]));
        let message = format!("{} \"{name}\" is invalid: {field}: {what}", info.qualified_kind());
        Self::new(422, "Invalid", message).details(Value::Object(details))
    }

    /// A JSON patch that cannot be applied, or whose `test` failed.
    pub fn bad_patch() -> Self {
        let words = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", words).details(json!({}))
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 403 with the authorizer's message; `name` is empty for collections.
    pub fn forbidden(res: &str, group: &str, name: &str, why: &str) -> Self {
        let what = if group.is_empty() { res.to_owned() } else { format!("{res}.{group}") };
        let message = if name.is_empty() {
            format!("{what} is forbidden: {why}")
        } else {
            format!("{what} \"{name}\" is forbidden: {why}")
        };
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), json!(name));
        }
        if !group.is_empty() {
            details.insert("group".into(), json!(group));
        }
        details.insert("kind".into(), json!(res));
        Self::new(403, "Forbidden", message).details(Value::Object(details))
    }

    /// The answer to a watch or a list from a version that is no longer kept.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    pub fn unknown_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").details(json!({}))
    }

    pub fn method_not_allowed() -> Self {
        let words = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", words).details(json!({}))
    }

    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn unsupported_media_type() -> Self {
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type").details(json!({}))
    }

    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let details = json!({"causes": [{"message": message}]});
        Self::new(500, "InternalError", format!("Internal error occurred: {message}")).details(details)
    }

    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    pub fn is_conflict(&self) -> bool {
        self.code == 409 && self.reason == "Conflict"
    }

    /// The document as it is sent.
    pub fn body(&self) -> Value {
        let mut out = Map::new();
        out.insert("kind".into(), json!("Status"));
        out.insert("apiVersion".into(), json!("v1"));
        out.insert("metadata".into(), json!({}));
        out.insert("status".into(), json!(if self.code < 400 { "Success" } else { "Failure" }));
        if !self.message.is_empty() {
            out.insert("message".into(), json!(self.message));
        }
        if !self.reason.is_empty() {
            out.insert("reason".into(), json!(self.reason));
        }
        if let Some(details) = &self.details {
            out.insert("details".into(), details.clone());
        }
        out.insert("code".into(), json!(self.code));
        Value::Object(out)
    }

    /// The answer to a completed deletion.
    pub fn deleted(res: Res, name: &str, uid: &str) -> Value {
        let mut details = object(res, name);
        details.insert("uid".into(), json!(uid));
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
    }
}
