//! Opens a connection to a cluster: which one, as whom, and the two clients that speak to it.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use kube::Client;
use kube::config::Config;

use super::client::ReadClient;
use super::credential::Credential;
use super::transport::{self, Use};
use super::write::WriteClient;
use crate::clock::Clock;

/// Why no connection could be made, in one line that says what, where and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(pub String);

/// Which cluster to open.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// `--kubeconfig`; None = as kubectl looks for it.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; None = the current one.
    pub context: Option<String>,
    /// `pilothouse/VERSION`: API servers answer some clients with pretty-printed JSON of twice the size.
    pub user_agent: String,
    pub clock: Clock,
}

/// One cluster, as one user. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    pub context: String,
    /// The API server's URL without credentials.
    pub server: String,
    /// The kubeconfig's name of the user.
    pub user: String,
    /// The context's namespace, `default` when it names none.
    pub namespace: String,
    /// TLS certificates are not checked.
    pub insecure: bool,
    pub(super) link: Arc<Link>,
}

/// What both clients need besides their connections.
#[derive(Debug)]
pub(super) struct Link {
    pub config: Config,
    pub credential: Option<Credential>,
    pub agent: HeaderValue,
    pub clock: Clock,
    /// The server is this machine: compressing costs more than it saves.
    pub loopback: bool,
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
    /// Reads the configuration and runs the exec plugin, if there is one. Nothing is sent to the server yet.
    pub async fn open(options: ConnectOptions) -> Result<Self, ConnectError> {
        let loaded =
            super::kubeconfig::load(options.kubeconfig.as_deref(), options.context.as_deref()).await?;
        let mut config = loaded.config;
        // it repeats 429, 503 and 504 of every verb, up to 15 times
        config.default_retry = false;
        config.proxy_url = transport::proxy(loaded.cluster.as_ref(), &config.cluster_url)?;
        // a plugin's expiry is meant by this machine's clock, as client-go takes it
        let credential = Credential::take(&mut config.auth_info, options.clock.apart()).await?;
        let host = config.cluster_url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let loopback = config.proxy_url.is_none()
            && (host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()));
        let agent = HeaderValue::from_str(&options.user_agent)
            .unwrap_or_else(|_| HeaderValue::from_static(concat!("pilothouse/", env!("CARGO_PKG_VERSION"))));
        Ok(Self {
            context: loaded.context,
            server: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
            user: loaded.user,
            namespace: config.default_namespace.clone(),
            insecure: config.accept_invalid_certs,
            link: Arc::new(Link { config, credential, agent, clock: options.clock, loopback }),
        })
    }

    /// A client that can only read (and ask what it may do).
    pub fn reader(&self) -> Result<ReadClient, ConnectError> {
        Ok(ReadClient::new(self.client(Use::Read)?, self.link.clone()))
    }

    /// A client that changes things, with connections of its own: a bulk list never queues ahead of an eviction.
    pub fn writer(&self) -> Result<WriteClient, ConnectError> {
        Ok(WriteClient::new(self.client(Use::Write)?, self.link.clone()))
    }

    fn client(&self, purpose: Use) -> Result<Client, ConnectError> {
        transport::client(&self.link.config, purpose)
    }
}
