//! The errors of an API call, with messages for the user. Bodies of 429 and 503 can be plain text, so no Status is
//! required.

use std::error::Error as StdError;
use std::time::Duration;

use http::StatusCode;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use serde::Deserialize;

/// Why a call failed. All text is sanitised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No answer: connection refused, name unknown, TLS refused, connection lost.
    #[error("{0}")]
    Unreachable(String),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// 401, or the credential plugin failed.
    #[error("not logged in: {0}")]
    Unauthorized(String),
    #[error("{message}")]
    Forbidden { message: String },
    /// `status`: the API sent a Status object. False: something else answered, which does not know the path.
    #[error("{message}")]
    NotFound { message: String, status: bool },
    #[error("{message}")]
    Conflict { message: String },
    /// 410: the resourceVersion is too old.
    #[error("{message}")]
    Gone { message: String },
    /// 429. With `budget`, a PodDisruptionBudget refused the eviction; without, the server throttles.
    #[error("{message}")]
    TooMany { retry_after: Option<Duration>, budget: bool, message: String },
    /// 400 and 422.
    #[error("{message}")]
    Invalid { message: String },
    /// Any other status.
    #[error("{code}: {message}")]
    Server { code: u16, message: String, retry_after: Option<Duration> },
    /// The answer could not be decoded.
    #[error("answer not understood: {0}")]
    Decode(String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    kind: Option<String>,
    message: Option<String>,
    reason: Option<String>,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    causes: Option<Vec<Cause>>,
    retry_after_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: Option<String>,
    message: Option<String>,
}

impl ApiError {
    /// From an HTTP status and its body (a Status object, or any text), or from the Status of a watch's ERROR event.
    pub fn from_answer(code: u16, header: Option<Duration>, body: &[u8]) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let causes = status.details.as_ref().and_then(|d| d.causes.as_deref()).unwrap_or_default();
        let mut message = match &status.message {
            Some(message) if !message.is_empty() => text::clean(message).into_owned(),
            _ => plain(body),
        };
        if message.is_empty() {
            let reason = StatusCode::from_u16(code).ok().and_then(|c| c.canonical_reason());
            let status_text =
                text::clean(status.reason.as_deref().or(reason).unwrap_or_default()).into_owned();
            // `Server` shows the status code itself
            let coded = matches!(code, 400 | 401 | 403 | 404 | 409 | 410 | 422 | 429);
            message = match (status_text.is_empty(), coded) {
                (true, _) => code.to_string(),
                (false, true) => format!("{code} {status_text}"),
                (false, false) => status_text,
            };
            if is_page(body) {
                message.push_str(" (a web page, not an answer of the API server)");
            }
        }
        let budget = causes.iter().find(|c| c.reason.as_deref() == Some("DisruptionBudget"));
        if let Some(detail) = budget.and_then(|c| c.message.as_deref()) {
            message = text::clean(detail).into_owned();
        }
        let message = text::cap(&message, 600).into_owned();
        let retry_after = header
            .or_else(|| status.details.as_ref()?.retry_after_seconds.map(Duration::from_secs))
            .map(|d| {
                // a server (or proxy) that asks for a day must not stop us for a day
                d.min(Duration::from_secs(300))
            });
        match code {
            400 | 422 => Self::Invalid { message },
            401 => Self::Unauthorized(message),
            403 => Self::Forbidden { message },
            404 => Self::NotFound { message, status: status.kind.as_deref() == Some("Status") },
            409 => Self::Conflict { message },
            410 => Self::Gone { message },
            429 => Self::TooMany { retry_after, budget: budget.is_some(), message },
            _ => Self::Server { code, message, retry_after },
        }
    }

    /// From a Status in an answer with HTTP 200. Then something between us and the server rewrites answers, so every
    /// code but 410 is treated as a malformed answer.
    pub fn from_status_in_success(body: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Coded {
            code: Option<u16>,
        }
        let code = serde_json::from_slice::<Coded>(body).unwrap_or_default().code.unwrap_or(500);
        let original = match Self::from_answer(code, None, body) {
            gone @ Self::Gone { .. } => return gone,
            Self::Unauthorized(message)
            | Self::Forbidden { message }
            | Self::NotFound { message, .. }
            | Self::Conflict { message }
            | Self::TooMany { message, .. }
            | Self::Invalid { message }
            | Self::Server { message, .. } => message,
            other => other.to_string(),
        };
        Self::Server { code, message: format!("error Status with HTTP 200: {original}"), retry_after: None }
    }

    /// From a successful answer that is not a JSON object: a login page, or a proxy's text.
    pub fn not_json(body: &[u8]) -> Self {
        let body_text = plain(body);
        Self::Decode(if is_page(body) {
            "an HTML page, not JSON: is a login page or a proxy in the way?".into()
        } else if body_text.is_empty() {
            "not valid JSON".into()
        } else if body_text.starts_with(['[', '"']) || body_text == "null" {
            "not a JSON object".into()
        } else {
            format!("not valid JSON: {body_text}")
        })
    }

    /// The message of an answer that is not from the API server: gateways use the fields `error` or `message`.
    pub fn words_of(body: &[u8]) -> Option<String> {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        let message = ["/error/message", "/error", "/message", "/errors/0/message"]
            .into_iter()
            .find_map(|at| value.pointer(at)?.as_str())?;
        Some(format!("an error object ({})", text::cap(&text::clean(message), 200)))
    }

    /// From an error below HTTP.
    pub fn from_transport(error: &(dyn StdError + 'static)) -> Self {
        Self::Unreachable(words(error))
    }

    /// `User "ann"`: the user that a refusal names, which often is not the expected one.
    pub fn refused(&self) -> Option<&str> {
        let Self::Forbidden { message } = self else { return None };
        let from = message.find("User \"")?;
        let named = message.get(from..)?;
        let (name, _) = named.get("User \"".len()..)?.split_once('"')?;
        named.get(..name.len() + "User \"\"".len())
    }

    /// How long the server asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry_after, .. } | Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A repeated request may succeed soon: there was no answer, or the server throttles or has an internal error.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) | Self::TooMany { budget: false, .. } => true,
            Self::Server { code, .. } => matches!(code, 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Waiting alone does not help: the permission or the API is missing.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::NotFound { .. })
    }

    /// A status that a proxy or a gateway can send too, even after it has forwarded a write.
    pub fn is_anybodys(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized(_) | Self::Forbidden { .. } | Self::TooMany { .. } | Self::Conflict { .. }
        )
    }

    /// The API server's proxy finds no ready endpoint of the Service. It has no code of its own for that.
    pub fn is_without_endpoints(&self) -> bool {
        matches!(self, Self::Server { code: 503, message, .. } if message.contains("no endpoints available"))
    }

    /// The requested resourceVersion is ahead of the server's (etcd was restored): list without one.
    pub fn is_version_ahead(&self) -> bool {
        matches!(self, Self::Server { code: 504, message, .. } if message.contains("resource version"))
    }
}

/// Whether a body is a Status object of the API server.
pub fn is_status(body: &[u8]) -> bool {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    status.kind.as_deref() == Some("Status")
}

/// Whether a body is HTML or XML.
fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// A plain text body as one short line; empty for HTML and JSON.
fn plain(body: &[u8]) -> String {
    let start = body.get(..body.len().min(2000)).unwrap_or_default();
    let decoded = String::from_utf8_lossy(start);
    let trimmed = decoded.trim();
    if trimmed.starts_with('{') || trimmed.starts_with('<') {
        return String::new();
    }
    let line = trimmed.split_whitespace().collect::<Vec<_>>().join(" ");
    text::cap(&text::clean(&line), 300).into_owned()
}

/// The message of the innermost cause of an error below HTTP.
pub fn words(error: &(dyn StdError + 'static)) -> String {
    let mut chain: Vec<&(dyn StdError + 'static)> = vec![error];
    let mut current = error;
    while let Some(source) = current.source().filter(|_| chain.len() < 16) {
        chain.push(source);
        current = source;
    }
    // if there is a proxy, the proxy fails and not the server
    let through = chain.iter().find_map(|part| part.downcast_ref::<super::transport::ProxyError>());
    if let Some(through) = through {
        return format!("proxy {}: {}", through.proxy, words(&*through.error));
    }
    for part in &chain {
        if let Some(io) = part.downcast_ref::<std::io::Error>()
            && let Some(message) = io_words(io)
        {
            return message;
        }
        if let Some(tls) = part.downcast_ref::<rustls::Error>() {
            return tls_words(tls);
        }
    }
    let deepest = chain.last().map(ToString::to_string).unwrap_or_default();
    text::cap(&text::clean(&deepest), 300).into_owned()
}

fn io_words(io: &std::io::Error) -> Option<String> {
    use std::io::ErrorKind;
    // a TLS error is wrapped, sometimes twice
    if let Some(inner) = io.get_ref() {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return Some(tls_words(tls));
        }
        if let Some(inner) = inner.downcast_ref::<std::io::Error>() {
            return io_words(inner);
        }
    }
    Some(match io.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::ConnectionReset => "connection reset".into(),
        ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            "connection lost".into()
        }
        ErrorKind::TimedOut => "no answer (timed out)".into(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            "network unreachable".into()
        }
        ErrorKind::NotFound => return None,
        _ => {
            let description = io.to_string();
            if description.contains("lookup address") || description.contains("Name or service") {
                "the server's name cannot be resolved (DNS)".into()
            } else {
                return None;
            }
        }
    })
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
    let message = match error {
        Error::InvalidCertificate(reason) => {
            let why = match reason {
                CertificateError::ExpiredContext { time, not_after } => {
                    format!("it expired at {}, and the clock here says {}", at(*not_after), at(*time))
                }
                CertificateError::Expired => "it has expired".into(),
                CertificateError::NotValidYetContext { time, not_before } => format!(
                    "it is not valid yet: it begins at {}, and the clock here says {}; check the clock",
                    at(*not_before),
                    at(*time)
                ),
                CertificateError::NotValidYet => "it is not valid yet: check the clock".into(),
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "it is signed by an unknown authority: check certificate-authority in the kubeconfig (does it have another cluster's CA?), or ca_file for a Prometheus".into()
                }
                CertificateError::NotValidForNameContext { expected, presented } => {
                    let names = match presented.as_slice() {
                        [] => "no name at all".to_owned(),
                        names => names.iter().map(|n| name_of(n)).collect::<Vec<_>>().join(", "),
                    };
                    format!(
                        "it is for another name: it is valid for {names}, not for {}; check `server` or tls-server-name in the kubeconfig",
                        expected.to_str()
                    )
                }
                CertificateError::NotValidForName => {
                    "it is for another name: check `server` or tls-server-name in the kubeconfig".into()
                }
                other => format!("{other}"),
            };
            format!("the server's certificate is refused: {why}")
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server requires a client certificate, and none that it accepts was sent".into()
        }
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA),
        ) => format!("the server refuses our client certificate ({alert:?})"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS: must the URL begin with http://, not https://?".into()
        }
        other => format!("TLS: {other}"),
    };
    text::cap(&text::clean(&message), 400).into_owned()
}

fn at(time: rustls::pki_types::UnixTime) -> Stamp {
    Stamp(i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}

/// Shows `DnsName("a.test")` and `IpAddress(127.0.0.1)` without the type.
fn name_of(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_may_be_anything() {
        let budget = br#"{"kind":"Status","code":429,"message":"Cannot evict pod","details":{"causes":[{"reason":"DisruptionBudget","message":"The disruption budget svc needs 3 healthy pods\u001b and has 3 currently"}],"retryAfterSeconds":10}}"#;
        assert_eq!(
            ApiError::from_answer(429, None, budget),
            ApiError::TooMany {
                retry_after: Some(Duration::from_secs(10)),
                budget: true,
                message: "The disruption budget svc needs 3 healthy pods␛ and has 3 currently".into()
            }
        );
        let plain = ApiError::from_answer(
            429,
            Some(Duration::from_secs(1)),
            b"Too many requests, please try again later.\n",
        );
        assert_eq!(plain.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(plain.to_string(), "Too many requests, please try again later.");
        assert_eq!(
            ApiError::from_answer(503, None, b"\n<html>").to_string(),
            "503: Service Unavailable (a web page, not an answer of the API server)"
        );
        let refused =
            |message: &str| ApiError::Forbidden { message: message.into() }.refused().map(str::to_owned);
        let message =
            r#"nodes is forbidden: User "system:serviceaccount:ops:bot" cannot list resource "nodes""#;
        assert_eq!(refused(message).as_deref(), Some(r#"User "system:serviceaccount:ops:bot""#));
        assert_eq!(refused("no"), None);
        assert_eq!(refused("User \"cut"), None);
        assert_eq!(ApiError::from_answer(500, None, b"").to_string(), "500: Internal Server Error");
        assert_eq!(ApiError::from_answer(404, None, b"").to_string(), "404 Not Found");
        assert_eq!(ApiError::from_answer(503, None, &[0xff, 0x1b]).to_string(), "503: �␛");
    }
}
