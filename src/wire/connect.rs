//! Opens a connection to a cluster: chooses the context and the user, and builds the two clients.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use rustls::pki_types::ServerName;

use super::client::ReadClient;
use super::credential::{self, Credential, Seat};
use super::env::Env;
use super::kubeconfig::resolve::Access;
use super::kubeconfig::{Impersonate, Overrides};
use super::tls::{self, Identity, Trust};
use super::transport::{Http, Use};
use super::write::WriteClient;
use crate::clock::Clock;

/// Why no connection could be made, in one line: what failed, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(pub String);

/// The cluster to connect to, and how.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// `--kubeconfig`; None: search where kubectl searches.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; None: the current context.
    pub context: Option<String>,
    /// kubectl's flags, which override the kubeconfig.
    pub overrides: Overrides,
    /// The environment: KUBECONFIG, `HTTPS_PROXY` and others.
    pub env: Env,
    /// Whether a credential plugin may use the terminal to ask the user.
    pub seat: Seat,
    /// The user agent, `pilothouse/VERSION`. API servers answer some user agents with pretty-printed JSON of twice the
    /// size.
    pub user_agent: String,
    pub clock: Clock,
}

/// A connection to one cluster as one user. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    pub context: String,
    /// The API server's URL without credentials.
    pub server: String,
    /// The kubeconfig's name of the user.
    pub user: String,
    /// The context's namespace, or `default`.
    pub namespace: String,
    /// TLS certificates are not verified.
    pub insecure: bool,
    /// Warnings about the kubeconfig, for mistakes that kubectl accepts too.
    pub notes: Vec<String>,
    http: Http,
    pub(super) link: Arc<Link>,
}

/// The parts that both clients share.
#[derive(Debug)]
pub(super) struct Link {
    /// Scheme, host, port and path prefix, which precede each request's path.
    pub base: String,
    pub credential: Credential,
    /// The impersonated user, if there is one.
    pub act_as: Vec<(HeaderName, HeaderValue)>,
    pub agent: HeaderValue,
    pub clock: Clock,
    /// The server runs on this machine.
    pub loopback: bool,
    /// Whether answers may be compressed. On this machine, compression costs more time than it saves.
    pub compress: bool,
    /// `--request-timeout`.
    pub timeout: Option<Duration>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("context", &self.context)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Reads the configuration and runs the exec plugin, if there is one. Sends nothing to the server yet.
    pub async fn open(options: ConnectOptions) -> Result<Self, ConnectError> {
        let ConnectOptions { kubeconfig, context, overrides, env, seat, user_agent, clock } = options;
        let access = super::kubeconfig::load(kubeconfig.as_deref(), context.as_deref(), &overrides, &env)?;
        let ca = access.ca.as_ref().map(credential::read).transpose()?;
        let trust = match (&ca, access.insecure) {
            (_, true) => Trust::Anyone,
            (Some(ca), _) => Trust::Bundle(ca.clone()),
            (None, _) => Trust::System,
        };
        let identity = Arc::new(Identity::default());
        let server = access.server.url();
        let tls = tls::client_config(&trust, identity.clone())
            .map_err(|e| ConnectError(format!("certificate-authority of {server}: {e}")))?;
        let http = Http::new(tls, identity.clone(), server_name(&access)?, access.proxies.clone(), Use::Read);
        // a plugin's expiry is compared with this machine's clock, as in client-go
        let credential =
            Credential::open(&access, ca.as_deref(), identity, &env, &seat, clock.apart()).await?;
        let uri: Uri = server.parse().map_err(|e| ConnectError(format!("server {server}: {e}")))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = access.proxies.of(&uri).is_none()
            && (host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()));
        let agent = HeaderValue::from_str(&user_agent)
            .unwrap_or_else(|_| HeaderValue::from_static(concat!("pilothouse/", env!("CARGO_PKG_VERSION"))));
        let link = Link {
            base: server.clone(),
            credential,
            act_as: impersonation(&access.act_as).map_err(ConnectError)?,
            agent,
            clock,
            loopback,
            compress: !loopback && !access.disable_compression,
            timeout: access.request_timeout,
        };
        Ok(Self {
            context: access.context,
            server,
            user: access.user,
            namespace: access.namespace,
            insecure: access.insecure,
            notes: access.notes,
            http,
            link: Arc::new(link),
        })
    }

    /// The clock that the answers of this server correct.
    pub fn clock(&self) -> Clock {
        self.link.clock.clone()
    }

    /// A client that can only read and send access reviews.
    pub fn reader(&self) -> Result<ReadClient, ConnectError> {
        Ok(ReadClient::new(self.http.apart(Use::Read), self.link.clone()))
    }

    /// A client that changes objects. It has connections of its own, so that an eviction never waits behind a large
    /// list.
    pub fn writer(&self) -> Result<WriteClient, ConnectError> {
        Ok(WriteClient::new(self.http.apart(Use::Write), self.link.clone()))
    }
}

/// `tls-server-name`.
fn server_name(access: &Access) -> Result<Option<ServerName<'static>>, ConnectError> {
    if access.server_name.is_empty() {
        return Ok(None);
    }
    let name = ServerName::try_from(access.server_name.clone());
    let bad = |_| {
        ConnectError(format!("tls-server-name {:?} is neither a name nor an address", access.server_name))
    };
    name.map(Some).map_err(bad)
}

/// The headers that kubectl sends for `as`, `as-uid`, `as-groups` and `as-user-extra`.
fn impersonation(act_as: &Impersonate) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    if act_as.user.is_empty() {
        return Ok(Vec::new());
    }
    let mut headers = Vec::new();
    let mut add = |name: String, value: &str| -> Result<(), String> {
        let bad = || format!("{value:?} cannot be impersonated: no header can carry it");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?;
        headers.push((name, value));
        Ok(())
    };
    add("impersonate-user".into(), &act_as.user)?;
    if !act_as.uid.is_empty() {
        add("impersonate-uid".into(), &act_as.uid)?;
    }
    for group in &act_as.groups {
        add("impersonate-group".into(), group)?;
    }
    for (key, values) in &act_as.extra {
        for value in values {
            add(format!("impersonate-extra-{}", header_key(key)), value)?;
        }
    }
    Ok(headers)
}

/// An extra key in which all characters that a header name cannot have are escaped.
fn header_key(key: &str) -> String {
    key.bytes()
        .map(|b| match b {
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|'
            | b'~' => char::from(b).to_string(),
            _ if b.is_ascii_alphanumeric() => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}
