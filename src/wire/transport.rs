//! The connection below HTTP: TCP with keepalive and a user timeout (a silent drop is known within 15 s), through
//! the proxies that the kubeconfig or the environment name, TLS by kube's configuration.

use std::time::Duration;

use base64::Engine as _;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::{Builder, Client as Http};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::{Body, ConfigExt as _};
use kube::config::{Cluster, Config};
use tower::{BoxError, ServiceBuilder, ServiceExt as _};
use tower_http::decompression::DecompressionLayer;

use super::client::{escape, unescape};
use super::connect::ConnectError;

/// Establishing a TCP connection.
const CONNECT: Duration = Duration::from_secs(8);
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// Sent data that nobody acknowledges.
const USER_TIMEOUT: Duration = Duration::from_secs(15);

/// What kind of client is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    /// One send is one request: nothing is sent again by itself, and idle connections are soon given up, so that a
    /// write seldom meets one that the server has closed.
    Write,
}

/// The proxy for this cluster: the kubeconfig's `proxy-url`, else HTTPS_PROXY unless NO_PROXY names the server.
/// (kube 5.0 compares NO_PROXY with the proxy's own address.)
pub(super) fn proxy(cluster: Option<&Cluster>, server: &Uri) -> Result<Option<Uri>, ConnectError> {
    if let Some(url) = cluster.and_then(|c| c.proxy_url.as_ref()).filter(|u| !u.is_empty()) {
        let uri =
            url.parse::<Uri>().map_err(|e| ConnectError(format!("proxy-url {url:?} is not a URL: {e}")))?;
        return Ok(Some(uri));
    }
    Ok(Matcher::from_env().intercept(server).and_then(|found| {
        let Some((user, password)) = found.raw_auth() else { return Some(found.uri().clone()) };
        // keep the credentials where `with_auth` below reads them
        let authority = format!("{}:{}@{}", escape(user), escape(password), found.uri().authority()?);
        Uri::builder()
            .scheme(found.uri().scheme_str().unwrap_or("http"))
            .authority(authority)
            .path_and_query("/")
            .build()
            .ok()
            .or_else(|| Some(found.uri().clone()))
    }))
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
    tcp
}

fn basic(proxy: &Uri) -> Option<HeaderValue> {
    let (user, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let mut value = HeaderValue::from_str(&format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(unescape(user))
    ))
    .ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A client of its own connections.
pub(super) fn client(config: &Config, purpose: Use) -> Result<Client, ConnectError> {
    let broken = |e: kube::Error| ConnectError(super::error::words(&e));
    let Some(proxy) = config.proxy_url.clone() else {
        return stack(config, config.rustls_https_connector_with_connector(tcp()).map_err(broken)?, purpose);
    };
    match proxy.scheme_str() {
        Some("socks5" | "socks5h") => {
            let through = SocksV5::new(proxy, tcp());
            stack(config, config.rustls_https_connector_with_connector(through).map_err(broken)?, purpose)
        }
        Some("https") => {
            let to_proxy = config.rustls_https_connector_with_connector(tcp()).map_err(broken)?;
            let mut through = Tunnel::new(proxy.clone(), to_proxy);
            if let Some(auth) = basic(&proxy) {
                through = through.with_auth(auth);
            }
            stack(config, config.rustls_https_connector_with_connector(through).map_err(broken)?, purpose)
        }
        Some("http") | None => {
            let mut through = Tunnel::new(proxy.clone(), tcp());
            if let Some(auth) = basic(&proxy) {
                through = through.with_auth(auth);
            }
            stack(config, config.rustls_https_connector_with_connector(through).map_err(broken)?, purpose)
        }
        Some(other) => Err(ConnectError(format!("proxy {proxy}: {other} proxies are not supported"))),
    }
}

fn stack<C>(config: &Config, connector: C, purpose: Use) -> Result<Client, ConnectError>
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let broken = |e: kube::Error| ConnectError(super::error::words(&e));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    if purpose == Use::Write {
        builder
            .retry_canceled_requests(false)
            .pool_idle_timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(2);
    }
    let http: Http<C, Body> = builder.build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(DecompressionLayer::new().gzip(true))
        .option_layer(config.auth_layer().map_err(broken)?)
        .layer(config.extra_headers_layer().map_err(broken)?)
        .service(http.map_err(BoxError::from));
    Ok(Client::new(service.map_err(BoxError::from), config.default_namespace.clone()))
}
