//! The connections below HTTP, for the API server and for Prometheus: TCP with keepalive and a user timeout (a silent
//! loss is detected within 15 s), the proxy that [`super::proxy`] chooses, TLS from [`super::tls`], and redirects.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Builder, Client as Pool};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::Client;
use kube::client::Body;
use pilothouse_core::domain::text::without_credentials;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tower::{BoxError, ServiceBuilder, ServiceExt as _};
use tower_http::decompression::DecompressionLayer;
use tower_service::Service;
use url::Url;

use super::proxy::{Kind, Proxies, Proxy};
use super::secret;
use super::tls::Identity;

/// The timeout for a TCP connection to be established.
const CONNECT: Duration = Duration::from_secs(8);
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// The timeout for sent data to be acknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum number of redirects of one request, as in Go.
const REDIRECTS: usize = 10;

/// The kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    /// Each call sends one request: nothing is repeated automatically. Idle connections are closed early, so that a
    /// write rarely uses one that the server has closed.
    Write,
}

/// The redirects that are followed. A redirect that is not followed is returned as the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// As in Go: 301, 302 and 303 for GET and HEAD, 307 and 308 for every method. Credentials are sent to the original
    /// host only and, unlike in Go, never over http after https.
    AsGo,
    /// A redirect is followed only to the same scheme, host and port.
    SameServer,
}

/// Sends requests to one server. A clone is cheap and shares the connection pool.
#[derive(Clone)]
pub(crate) struct Http(Arc<Inner>);

struct Inner {
    tls: Arc<ClientConfig>,
    identity: Arc<Identity>,
    server_name: Option<ServerName<'static>>,
    proxies: Proxies,
    purpose: Use,
    /// The connection pool, and which client certificate its connections use.
    pool: Mutex<(u64, Client)>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

/// There was no answer from this address.
#[derive(Debug)]
pub(crate) struct SendError {
    /// The address that a redirect led to.
    redirected: Option<Uri>,
    http: bool,
    error: kube::Error,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for SendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}

impl SendError {
    /// The message for the user.
    pub(crate) fn words(&self) -> String {
        let mut message = super::error::words(&self.error);
        if self.http && is_not_http(&self.error) {
            message.push_str(": does the server want https?");
        }
        match &self.redirected {
            Some(to) => format!("redirected to {}: {message}", without_credentials(&to.to_string())),
            None => message,
        }
    }
}

fn is_not_http(error: &(dyn StdError + 'static)) -> bool {
    let mut part = Some(error);
    while let Some(current) = part {
        if let Some(hyper) = current.downcast_ref::<hyper::Error>() {
            return hyper.is_parse() || hyper.is_incomplete_message();
        }
        part = current.source();
    }
    false
}

impl Http {
    pub(crate) fn new(
        tls: ClientConfig,
        identity: Arc<Identity>,
        server_name: Option<ServerName<'static>>,
        proxies: Proxies,
        purpose: Use,
    ) -> Self {
        let tls = Arc::new(tls);
        let pool = (identity.turn(), pool(&tls, server_name.clone(), &proxies, purpose));
        Self(Arc::new(Inner { tls, identity, server_name, proxies, purpose, pool: Mutex::new(pool) }))
    }

    /// Returns a client for the same server that has a connection pool of its own.
    pub(crate) fn apart(&self, purpose: Use) -> Self {
        let Inner { tls, identity, server_name, proxies, .. } = &*self.0;
        Self::new((**tls).clone(), identity.clone(), server_name.clone(), proxies.clone(), purpose)
    }

    /// Sends a request and follows redirects.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        follow: Follow,
    ) -> Result<Response<Body>, SendError> {
        let (parts, body) = request.into_parts();
        let first = parts.uri;
        let (mut uri, mut headers) = (first.clone(), parts.headers);
        let mut followed = 0;
        loop {
            let body = if body.is_empty() { Body::empty() } else { Body::from(body.clone()) };
            let mut request = Request::new(body);
            *request.method_mut() = parts.method.clone();
            *request.uri_mut() = uri.clone();
            request.headers_mut().clone_from(&headers);
            if let Some(auth) = self.proxy_header(&uri) {
                request.headers_mut().insert(PROXY_AUTHORIZATION, auth);
            }
            let sent = self.client().send(request).await;
            let response = sent.map_err(|error| SendError {
                redirected: (uri != first).then(|| uri.clone()),
                http: uri.scheme_str() == Some("http"),
                error,
            })?;
            let next = target(&parts.method, &uri, &response, follow).filter(|_| followed < REDIRECTS);
            let Some(next) = next else { return Ok(response) };
            if !may_have_credentials(&next, &first) {
                for secret in [AUTHORIZATION, COOKIE, WWW_AUTHENTICATE] {
                    headers.remove(secret);
                }
            }
            uri = next;
            followed += 1;
        }
    }

    /// The pool whose connections use the current client certificate.
    fn client(&self) -> Client {
        let Inner { tls, identity, server_name, proxies, purpose, pool: held } = &*self.0;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = identity.turn();
        if held.0 != turn {
            *held = (turn, pool(tls, server_name.clone(), proxies, *purpose));
        }
        held.1.clone()
    }

    /// The pool for a plain http request through an HTTP proxy: the proxy gets the whole request, with its credentials.
    fn proxy_header(&self, to: &Uri) -> Option<HeaderValue> {
        let proxy = self.0.proxies.of(to).filter(|p| p.kind != Kind::Socks5)?;
        (to.scheme_str() == Some("http")).then(|| basic(proxy)).flatten()
    }
}

/// The target of a redirect, if the redirect is followed.
fn target(method: &Method, at: &Uri, response: &Response<Body>, follow: Follow) -> Option<Uri> {
    let code = response.status();
    let read = matches!(*method, Method::GET | Method::HEAD);
    let followed = match code {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => read,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        _ => false,
    };
    let location = response.headers().get(LOCATION).filter(|_| followed)?.to_str().ok()?;
    let next = Url::parse(&at.to_string()).ok()?.join(location).ok()?;
    let mut plain = next.clone();
    plain.set_fragment(None);
    let next: Uri = plain.as_str().parse().ok()?;
    if !matches!(next.scheme_str(), Some("http" | "https")) {
        return None;
    }
    let server = |uri: &Uri| {
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        (uri.scheme_str().map(str::to_owned), uri.host().map(str::to_owned), port)
    };
    (follow == Follow::AsGo || server(at) == server(&next)).then_some(next)
}

/// Whether the credentials for `first` may be sent to the redirect's target.
fn may_have_credentials(next: &Uri, first: &Uri) -> bool {
    let is_https = |uri: &Uri| uri.scheme_str() == Some("https");
    is_of(next.host().unwrap_or_default(), first.host().unwrap_or_default())
        && (is_https(next) || !is_https(first))
}

/// Returns true if `host` is `parent`, or a subdomain of it.
fn is_of(host: &str, parent: &str) -> bool {
    let (host, parent) = (host.to_ascii_lowercase(), parent.to_ascii_lowercase());
    host == parent
        || host.parse::<std::net::IpAddr>().is_err()
            && host.strip_suffix(&parent).is_some_and(|rest| rest.ends_with('.'))
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

fn basic(proxy: &Proxy) -> Option<HeaderValue> {
    let (user, password) = proxy.auth.as_ref()?;
    secret::basic(user, password)
}

fn pool(
    tls: &Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    proxies: &Proxies,
    purpose: Use,
) -> Client {
    let dial = Dial { tcp: tcp(), proxies: proxies.clone(), tls: tls.clone() };
    let name = move |uri: &Uri| -> Result<ServerName<'static>, BoxError> {
        if let Some(name) = &server_name {
            return Ok(name.clone());
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        Ok(ServerName::try_from(host)?)
    };
    let connector = HttpsConnector::new(dial, tls.clone(), false, Arc::new(name));
    let mut builder = Builder::new(TokioExecutor::new());
    // header names with capitals, as Go writes them, because some gateways compare them case-sensitively
    builder.pool_timer(TokioTimer::new()).http1_title_case_headers(true);
    if purpose == Use::Write {
        builder
            .retry_canceled_requests(false)
            .pool_idle_timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(2);
    }
    let http: Pool<_, Body> = builder.build(connector);
    let service = ServiceBuilder::new()
        .layer(DecompressionLayer::new().gzip(true))
        .service(http.map_err(BoxError::from));
    Client::new(service.map_err(BoxError::from), "default")
}

/// Opens a connection, through a proxy if one is chosen for the address.
#[derive(Clone)]
struct Dial {
    tcp: HttpConnector,
    proxies: Proxies,
    tls: Arc<ClientConfig>,
}

impl Service<Uri> for Dial {
    type Response = Pipe;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Pipe, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let Some(proxy) = this.proxies.of(&to) else {
                let io = MaybeHttpsStream::Http(this.tcp.oneshot(to).await?);
                return Ok(Pipe { io, proxied: false });
            };
            let failed = |e: BoxError| BoxError::from(ProxyError { proxy: proxy.uri.to_string(), error: e });
            let is_https = to.scheme_str() == Some("https");
            if proxy.kind == Kind::Socks5 {
                let mut through = SocksV5::new(proxy.uri.clone(), this.tcp);
                if let Some((user, password)) = proxy.auth.clone() {
                    through = through.with_auth(user, password);
                }
                let io = MaybeHttpsStream::Http(through.oneshot(to).await.map_err(|e| failed(e.into()))?);
                return Ok(Pipe { io, proxied: false });
            }
            let to_proxy = HttpsConnector::from((this.tcp, this.tls));
            if !is_https {
                let io = to_proxy.oneshot(proxy.uri.clone()).await.map_err(failed)?;
                return Ok(Pipe { io, proxied: true });
            }
            let mut through = Tunnel::new(proxy.uri.clone(), to_proxy);
            if let Some(auth) = basic(proxy) {
                through = through.with_auth(auth);
            }
            let io = through.oneshot(to).await.map_err(|e| failed(e.into()))?;
            Ok(Pipe { io, proxied: false })
        })
    }
}

/// The result of connecting through a proxy.
#[derive(Debug)]
pub(super) struct ProxyError {
    pub proxy: String,
    pub error: BoxError,
}

impl std::fmt::Display for ProxyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "proxy {}: {}", self.proxy, self.error)
    }
}

impl StdError for ProxyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.error)
    }
}

/// A connection, and whether it ends at a proxy that takes whole requests.
struct Pipe {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    proxied: bool,
}

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.proxied)
    }
}

impl hyper::rt::Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl hyper::rt::Write for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(method: &Method, at: &str, code: u16, location: &str, follow: Follow) -> Option<String> {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::from_u16(code).unwrap();
        answer.headers_mut().insert(LOCATION, location.parse().unwrap());
        target(method, &at.parse().unwrap(), &answer, follow).map(|uri| uri.to_string())
    }

    #[test]
    fn redirects_as_go_follows_them() {
        let at = "https://h:1/a/b?x=1";
        for (method, code, location, want) in [
            (Method::GET, 301, "/c", Some("https://h:1/c")),
            (Method::GET, 302, "c?y=2#z", Some("https://h:1/a/c?y=2")),
            (Method::GET, 303, "http://other/", Some("http://other/")),
            (Method::GET, 307, "//other/c", Some("https://other/c")),
            (Method::GET, 304, "/c", None),
            (Method::GET, 300, "/c", None),
            (Method::GET, 302, "ftp://other/", None),
            (Method::POST, 302, "/c", None),
            (Method::PATCH, 301, "/c", None),
            (Method::PATCH, 308, "/c", Some("https://h:1/c")),
            (Method::POST, 307, "/c", Some("https://h:1/c")),
        ] {
            assert_eq!(
                to(&method, at, code, location, Follow::AsGo).as_deref(),
                want,
                "{method} {code} {location}"
            );
        }
        let same = |location| to(&Method::GET, at, 302, location, Follow::SameServer).is_some();
        assert_eq!(
            ["/login", "https://h:1/x", "https://h/x", "http://h:1/x", "https://i:1/x"].map(same),
            [true, true, false, false, false]
        );
    }

    #[test]
    fn credentials_stay_with_their_host() {
        for (host, parent, same) in [
            ("h.test", "h.test", true),
            ("H.test", "h.TEST", true),
            ("a.h.test", "h.test", true),
            ("ah.test", "h.test", false),
            ("test", "h.test", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("1.127.0.0.1", "127.0.0.1", true),
            ("10.0.0.1", "0.0.1", false),
        ] {
            assert_eq!(is_of(host, parent), same, "{host} {parent}");
        }
        for (first, next, sent) in [
            ("https://h", "https://h:1/x", true),
            ("https://h", "http://h/x", false),
            ("http://h", "http://h/x", true),
            ("http://h", "https://h/x", true),
            ("https://h", "https://other", false),
        ] {
            let (first, next): (Uri, Uri) = (first.parse().unwrap(), next.parse().unwrap());
            assert_eq!(may_have_credentials(&next, &first), sent, "{first} {next}");
        }
    }
}
