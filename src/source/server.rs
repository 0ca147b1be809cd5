//! A server whose data a source reads, such as a Prometheus or a Loki: by its URL, or behind a Service of the cluster,
//! which is configured or searched for. This module sends requests and names failures; the source reads the answers.

mod direct;
mod inside;
mod searched;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use pilothouse_core::domain::found::{Found, Outcome, ServiceAddress};
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::ServerSettings;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;

pub use self::direct::ServerOptions;
use self::direct::{Direct, extra_headers};
use self::inside::Inside;
pub use self::searched::{Searched, Seen, TRY, outcome};
use super::search::Catalog;
use crate::wire::client::ReadClient;
use crate::wire::env::Env;

/// The maximum size of an answer. The rates of 40,000 backends by status code have about 20 MB.
pub const BODY_CAP: usize = 32 << 20;
/// Queries from this length on are sent in a body.
pub const IN_BODY: usize = 4_000;
/// A poll may take this part of the interval. If it takes longer, the interval becomes longer.
const PART_OF_INTERVAL: u32 = 10;
/// The longest interval because of slow answers.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// The kind of a server: how the config and the messages name it.
#[derive(Debug)]
pub struct Kind {
    /// The section of the config with its settings.
    pub section: &'static str,
    /// As people write it: `Prometheus`.
    pub product: &'static str,
    /// The path with which its API begins: `/api/v1`.
    pub api: &'static str,
    /// Ends of URLs that people copy by mistake: `/graph, /query or /api/v1`.
    pub not_base: &'static str,
    /// What to do if an answer is too large.
    pub ask_less: &'static str,
    /// An address of a Service, for examples.
    pub example: &'static str,
}

/// The reason why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    #[error("{0}")]
    Config(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("{code}: {message}")]
    Refused { code: u16, message: String, retry_after: Option<Duration> },
    #[error("answer not understood: {0}")]
    Decode(String),
    /// A permission on the API server is missing.
    #[error("{0}")]
    Denied(String),
    /// No Service of the cluster can be the server.
    #[error("{0}")]
    NoneFound(String),
    /// The API server cannot reach the server behind a Service.
    #[error("{message}")]
    Service { outcome: Outcome, message: String },
}

impl ServerError {
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The state of the source, if the error determines it.
    pub fn state(&self) -> Option<SourceState> {
        match self {
            Self::Denied(_) => Some(SourceState::Denied),
            Self::NoneFound(_) => Some(SourceState::NotInstalled),
            _ => None,
        }
    }

    /// Whether the error is permanent: invalid settings, an answer that cannot be decoded, a redirect, a status 4xx
    /// other than 408 and 429, or a Service that does not lead to the server.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Config(_) | Self::Decode(_) | Self::Denied(_) | Self::NoneFound(_) => true,
            Self::Service { outcome, .. } => !matches!(outcome, Outcome::Failed | Outcome::Slow),
            Self::Refused { code, .. } => (300..500).contains(code) && !matches!(code, 408 | 429),
            Self::Unreachable(_) | Self::Timeout(_) => false,
        }
    }
}

/// A client, for display.
pub trait Reached: Send + Sync {
    /// Returns the URL without credentials, or the path on the API server.
    fn shown(&self) -> String;
    /// Returns the Service that is read through the API server.
    fn through(&self) -> Option<Name>;
}

/// A server with its address. Cheap to clone.
#[derive(Clone)]
pub struct Server(Transport);

/// How the requests get to the server.
#[derive(Clone)]
enum Transport {
    Direct(Direct),
    Inside(Inside),
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("base", &self.shown()).finish()
    }
}

impl Reached for Server {
    fn shown(&self) -> String {
        match &self.0 {
            Transport::Direct(direct) => direct.shown(),
            Transport::Inside(inside) => inside.address().path(),
        }
    }

    fn through(&self) -> Option<Name> {
        match &self.0 {
            Transport::Direct(_) => None,
            Transport::Inside(inside) => Some(Name::from(inside.address().to_string())),
        }
    }
}

impl Server {
    /// Creates a client for a URL, after checking the options. Sends no request.
    pub fn new(kind: &'static Kind, options: &ServerOptions) -> Result<Self, ServerError> {
        Ok(Self(Transport::Direct(Direct::new(kind, options)?)))
    }

    /// Creates a client for a Service, through the API server.
    pub fn behind(
        kind: &'static Kind,
        reader: ReadClient,
        address: ServiceAddress,
        headers: HeaderMap,
    ) -> Self {
        Self(Transport::Inside(Inside::new(kind, reader, address, headers)))
    }

    /// Sends a request that changes something once, with a JSON body. Only for a URL: the transport through the API
    /// server sends nothing but GET.
    pub async fn write(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, Unanswered> {
        let Transport::Direct(direct) = &self.0 else {
            return Err(Unanswered::Unsent("this Service is read only".into()));
        };
        match tokio::time::timeout(limit, direct.write(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(Unanswered::Lost(format!("no answer within {} ms", limit.as_millis()))),
        }
    }

    /// Sends a request for a path below the base URL, with this query.
    pub async fn ask(&self, path: &str, query: &str, limit: Duration) -> Result<Answer, ServerError> {
        let sent = async {
            match &self.0 {
                Transport::Direct(direct) => direct.send(path, query).await,
                Transport::Inside(inside) => inside.send(path, query).await,
            }
        };
        match tokio::time::timeout(limit, sent).await {
            Ok(answer) => answer,
            Err(_) => Err(ServerError::Timeout(limit)),
        }
    }
}

/// Returns the name of a product after `a` or `an`.
fn with_article(product: &str) -> String {
    let article = if product.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    format!("{article} {product}")
}

/// Why a request that changes something has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It was not sent.
    Unsent(String),
    /// It was sent, and can have been carried out.
    Lost(String),
}

/// What the user has to check if an answer is not one of the server.
#[derive(Clone, Copy, Debug)]
pub enum Asked {
    Url,
    Service,
}

impl Asked {
    fn word(self, kind: &Kind) -> String {
        let product = with_article(kind.product);
        match self {
            Self::Url => format!("is this URL {product}?"),
            Self::Service => format!("is this Service {product}?"),
        }
    }

    /// The question about an answer that says that there is nothing at the path.
    fn base(self, kind: &Kind) -> String {
        let Kind { product, api, not_base, section, .. } = kind;
        match self {
            Self::Url => {
                let product = with_article(product);
                format!("is this URL the base URL of {product}, without {not_base}?")
            }
            Self::Service => {
                format!("does this {product} have a path before {api}? Set it with {section}.service")
            }
        }
    }
}

/// A complete answer with any status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub asked: Asked,
    pub status: StatusCode,
    pub body: Bytes,
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// The error of a server that says in its own form why it refuses.
    pub fn refusal(&self, message: &str) -> ServerError {
        let (code, retry_after) = (self.status.as_u16(), self.retry_after);
        ServerError::Refused { code, message: said(message), retry_after }
    }

    /// The error of an answer without success whose body has no form that the source knows.
    pub fn refused(&self, kind: &Kind) -> ServerError {
        let status = self.status;
        let start = self.body.get(..self.body.len().min(200)).unwrap_or_default();
        let line = String::from_utf8_lossy(start).split_whitespace().collect::<Vec<_>>().join(" ");
        let message = if line.starts_with('<') || line.is_empty() {
            status.canonical_reason().unwrap_or("refused").to_owned()
        } else {
            said(&line)
        };
        let message = if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            format!("{message}; {}", self.asked.base(kind))
        } else {
            message
        };
        ServerError::Refused { code: status.as_u16(), message, retry_after: self.retry_after }
    }

    /// The error of an answer with success whose body cannot be read.
    pub fn not_understood(&self, kind: &Kind, why: &str) -> ServerError {
        let why = if self.body.trim_ascii_start().starts_with(b"<") {
            "an HTML page, perhaps for a login, and not JSON".to_owned()
        } else {
            said(why)
        };
        ServerError::Decode(format!("{why}; {}", self.asked.word(kind)))
    }
}

/// The words of a server, cleaned for display and limited in length.
pub fn said(text: &str) -> String {
    text::cap(&text::clean(text), 300).into_owned()
}

/// The access to the cluster, for a server that is read through the API server.
pub struct Access {
    pub reader: ReadClient,
    pub catalog: Catalog,
}

/// How the settings say that the server is reached.
pub enum Way {
    /// At this address.
    Fixed(Server),
    /// It is searched for, and gets these headers.
    Search(Access, HeaderMap),
}

/// Returns how the server of the settings is reached. `inside` is not needed for a URL.
pub fn way(
    kind: &'static Kind,
    settings: &ServerSettings,
    inside: impl FnOnce() -> Access,
) -> Result<Way, String> {
    let wrong = |e: ServerError| e.to_string();
    if !settings.url.is_empty() {
        let options = options(kind, settings, Env::default())?;
        return Ok(Way::Fixed(Server::new(kind, &options).map_err(wrong)?));
    }
    let headers = extra_headers(kind, &settings.headers).map_err(wrong)?;
    let access = inside();
    if settings.service.is_empty() {
        return Ok(Way::Search(access, headers));
    }
    let address = service(&settings.service).map_err(|e| format!("{}.service: {e}", kind.section))?;
    Ok(Way::Fixed(Server::behind(kind, access.reader, address, headers)))
}

/// Returns the client for the URL of the settings, or `None` if there is none.
pub fn at_url(kind: &'static Kind, settings: &ServerSettings) -> Result<Option<Server>, String> {
    if settings.url.is_empty() {
        return Ok(None);
    }
    let options = options(kind, settings, Env::default())?;
    Server::new(kind, &options).map(Some).map_err(|e| e.to_string())
}

/// Returns the headers of the settings.
pub fn headers(kind: &Kind, settings: &ServerSettings) -> Result<HeaderMap, String> {
    extra_headers(kind, &settings.headers).map_err(|e| e.to_string())
}

/// Parses the address of a Service.
pub fn service(text: &str) -> Result<ServiceAddress, String> {
    ServiceAddress::parse(text).ok_or_else(|| {
        format!(
            "{text:?} is not NAMESPACE/NAME:PORT or NAMESPACE/NAME:PORT/PREFIX (https:NAME:PORT for HTTPS)"
        )
    })
}

/// Returns the connection options from the settings.
fn options(kind: &Kind, settings: &ServerSettings, env: Env) -> Result<ServerOptions, String> {
    let section = kind.section;
    let secret = |key: &str, name: &str| match name {
        "" => Ok(None),
        name => env
            .var(name)
            .map(|value| Some(value.into()))
            .ok_or_else(|| format!("{section}.{key} names {name}, which is not set in the environment")),
    };
    let path = |text: &String| Some(text).filter(|t| !t.is_empty()).map(PathBuf::from);
    let identity = match (path(&settings.cert_file), path(&settings.key_file)) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert, key)),
        _ => {
            return Err(format!(
                "{section}.cert_file and {section}.key_file belong together: one is missing"
            ));
        }
    };
    Ok(ServerOptions {
        url: settings.url.clone(),
        token: secret("token_env", &settings.token_env)?,
        token_file: path(&settings.token_file),
        username: settings.username.clone(),
        password: secret("password_env", &settings.password_env)?,
        password_file: path(&settings.password_file),
        headers: settings.headers.clone(),
        ca_file: path(&settings.ca_file),
        identity,
        insecure: settings.insecure,
        proxy_url: settings.proxy_url.clone(),
        user_agent: concat!("pilothouse/", env!("CARGO_PKG_VERSION")).into(),
        env,
    })
}

/// Updates the state of a source after a request that failed. The next one follows after `wait`.
pub fn failed(
    held: &mut SourceStatus,
    error: &ServerError,
    server: Seen,
    path: &str,
    now: Stamp,
    wait: Duration,
) {
    held.state = match (error.state(), &held.state) {
        (Some(state), _) => state,
        (None, SourceState::Live) => SourceState::Stale { since: held.last_ok.unwrap_or(now) },
        (
            None,
            SourceState::Starting | SourceState::Off | SourceState::Denied | SourceState::NotInstalled,
        ) => SourceState::Down { since: now },
        (None, before) => before.clone(),
    };
    held.error = Some(Name::from(error.to_string()));
    held.request = (!server.shown.is_empty()).then(|| Name::from(format!("GET {}/{path}", server.shown)));
    (held.through, held.found) = (server.through, server.found);
    held.retry_at = Some(Stamp(now.0 + i64::try_from(wait.as_millis()).unwrap_or(0)));
    held.attempts = held.attempts.saturating_add(1);
    held.lasting = error.is_lasting();
}

/// Returns the time until the next poll: the configured interval, or longer if the last poll took long.
pub fn interval(every: Duration, took: Duration) -> Duration {
    (took * PART_OF_INTERVAL).clamp(every, LONGEST_INTERVAL.max(every))
}

/// Says that the server is asked less often than configured, if it is.
pub fn slowness(every: Duration, took: Duration) -> Option<String> {
    let interval = interval(every, took);
    let secs = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
    (interval > every).then(|| {
        format!(
            "its answers take {} s, so it is asked every {} s instead of every {} s",
            secs(took),
            secs(interval),
            secs(every)
        )
    })
}

/// Returns what is known of a server with a fixed address.
pub fn seen_of(server: &impl Reached) -> Seen {
    Seen { shown: server.shown(), through: server.through(), found: None::<Arc<Found>> }
}
