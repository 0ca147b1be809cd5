//! The transport to a server with a URL: credentials, TLS, the proxy, and no redirects to another server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use pilothouse_core::domain::text;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{Answer, Asked, BODY_CAP, IN_BODY, Kind, ServerError, Unanswered};
use crate::wire::client::unescape;
use crate::wire::env::Env;
use crate::wire::error::words;
use crate::wire::proxy::Proxies;
use crate::wire::secret;
use crate::wire::tls::{Identity, Trust, client_config};
use crate::wire::web;

/// The connection options of a server.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    pub url: String,
    pub token: Option<SecretString>,
    /// A file with a bearer token, which is read for each query.
    pub token_file: Option<PathBuf>,
    /// The name for basic authentication, or "".
    pub username: String,
    pub password: Option<SecretString>,
    /// A file with the password, which is read for each query.
    pub password_file: Option<PathBuf>,
    /// Further headers, such as the ID of a tenant.
    pub headers: BTreeMap<String, String>,
    /// The CA certificates (PEM), or `None` for those of this machine.
    pub ca_file: Option<PathBuf>,
    /// The client certificate and its key (PEM), which are read for each query.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether the server's certificate is not verified.
    pub insecure: bool,
    /// The proxy for all requests, or "" for the proxies of the environment.
    pub proxy_url: String,
    pub user_agent: String,
    pub env: Env,
}

/// The transport. Cheap to clone.
#[derive(Clone)]
pub(super) struct Direct {
    kind: &'static Kind,
    http: reqwest::Client,
    /// The URL, ending with a slash, without credentials and query.
    base: Url,
    /// The query of the configured URL, which some gateways require.
    query: String,
    headers: HeaderMap,
    login: Login,
    certificate: Option<Arc<Certificate>>,
}

/// Credentials that are read again for each query, because other programs renew their files.
#[derive(Clone)]
enum Login {
    /// The headers have the credentials, if there are any.
    Fixed,
    TokenFile(PathBuf),
    PasswordFile(String, PathBuf),
}

/// A client certificate in files.
struct Certificate {
    kind: &'static Kind,
    files: (PathBuf, PathBuf),
    held: Arc<Identity>,
    /// The content of the files when they were last read.
    seen: Mutex<(Vec<u8>, Vec<u8>)>,
}

impl Certificate {
    /// Reads the files, and uses a certificate that is new for the next connections.
    fn renew(&self) -> Result<(), ServerError> {
        let (cert, key) = &self.files;
        let section = self.kind.section;
        let read = |what: &str, path: &Path| {
            let wrong = |e| ServerError::Config(format!("{section}.{what} {}: {e}", path.display()));
            std::fs::read(path).map_err(wrong)
        };
        let now = (read("cert_file", cert)?, read("key_file", key)?);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(());
        }
        let wrong =
            |why: String| ServerError::Config(format!("{section}.cert_file {}: {why}", cert.display()));
        self.held.set(&now.0, &now.1).map_err(wrong)?;
        *seen = now;
        Ok(())
    }
}

fn bad(what: String) -> ServerError {
    ServerError::Config(what)
}

/// Returns the headers of the settings.
pub(super) fn extra_headers(
    kind: &Kind,
    headers: &BTreeMap<String, String>,
) -> Result<HeaderMap, ServerError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let wrong = || bad(format!("{}.headers: {name:?} and its value make no header", kind.section));
        let key = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
        map.insert(key, secret::header(value.trim()).ok_or_else(wrong)?);
    }
    Ok(map)
}

fn basic(kind: &Kind, user: &str, password: &str) -> Result<HeaderValue, ServerError> {
    let wrong = || bad(format!("{}.username: the name and the password make no header", kind.section));
    secret::basic(user, password).ok_or_else(wrong)
}

fn bearer(kind: &Kind, token: &str, key: &str) -> Result<HeaderValue, ServerError> {
    let wrong = || bad(format!("{}.{key}: the token has characters that no header can carry", kind.section));
    secret::header(&format!("Bearer {}", token.trim())).ok_or_else(wrong)
}

/// Reads a secret from a file, without the line break at its end.
fn from_file(kind: &Kind, key: &str, path: &Path) -> Result<String, ServerError> {
    let wrong = |e| bad(format!("{}.{key} {}: {e}", kind.section, path.display()));
    let text = std::fs::read_to_string(path).map_err(wrong)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl Direct {
    pub(super) fn new(kind: &'static Kind, options: &ServerOptions) -> Result<Self, ServerError> {
        let section = kind.section;
        let bad_url =
            |why: String| bad(format!("{section}.url {:?}: {why}", text::without_credentials(&options.url)));
        let mut base = Url::parse(options.url.trim()).map_err(|e| bad_url(e.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(bad_url("must begin with http:// or https://".into()));
        }
        let mut headers = HeaderMap::new();
        let agent = HeaderValue::from_str(&options.user_agent);
        headers.insert(USER_AGENT, agent.unwrap_or_else(|_| HeaderValue::from_static("pilothouse")));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if !base.username().is_empty() || base.password().is_some() {
            let (user, password) = (unescape(base.username()), unescape(base.password().unwrap_or_default()));
            let value = secret::basic(&user, &password)
                .ok_or_else(|| bad_url("its user name cannot be sent".into()))?;
            headers.insert(AUTHORIZATION, value);
            let cleared = base.set_username("").is_ok() && base.set_password(None).is_ok();
            if !cleared {
                return Err(bad_url("its user name cannot be read".into()));
            }
        }
        let login = Self::login(kind, options, &mut headers)?;
        headers.extend(extra_headers(kind, &options.headers)?);
        let certificate = options
            .identity
            .clone()
            .map(|files| Arc::new(Certificate { kind, files, held: Arc::default(), seen: Mutex::default() }));
        if let Some(certificate) = &certificate {
            certificate.renew()?;
        }
        let identity = certificate.as_ref().map_or_else(Arc::<Identity>::default, |c| c.held.clone());
        let tls = client_config(&trust(kind, options)?, identity).map_err(|e| {
            let path = options.ca_file.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
            bad(format!("{section}.ca_file {path}: {e}"))
        })?;
        let proxies = match options.proxy_url.trim() {
            "" => Proxies::from_env(&options.env),
            url => Proxies::always(url).map_err(|e| bad(format!("{section}.proxy_url: {e}")))?,
        };
        let http = web::client(tls, proxies).map_err(bad)?;
        let query = base.query().unwrap_or_default().to_owned();
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { kind, http, base, query, headers, login, certificate })
    }

    /// Sets the credentials of the settings, which replace those of the URL.
    fn login(kind: &Kind, options: &ServerOptions, headers: &mut HeaderMap) -> Result<Login, ServerError> {
        let section = kind.section;
        let user = options.username.as_str();
        let has_token = options.token.is_some() || options.token_file.is_some();
        if !user.is_empty() && has_token {
            return Err(bad(format!("{section}.username and a token are set: only one of them can be sent")));
        }
        if user.is_empty() && (options.password.is_some() || options.password_file.is_some()) {
            return Err(bad(format!("{section}.username is empty, but there is a password")));
        }
        if let Some(path) = &options.token_file {
            return Ok(Login::TokenFile(path.clone()));
        }
        if let Some(path) = &options.password_file {
            return Ok(Login::PasswordFile(user.to_owned(), path.clone()));
        }
        if let Some(token) = &options.token {
            headers.insert(AUTHORIZATION, bearer(kind, token.expose_secret(), "token_env")?);
        }
        if !user.is_empty() {
            let password = options.password.as_ref().map_or("", |p| p.expose_secret());
            headers.insert(AUTHORIZATION, basic(kind, user, password)?);
        }
        Ok(Login::Fixed)
    }

    /// Returns the URL without credentials, for display.
    pub(super) fn shown(&self) -> String {
        text::without_credentials(self.base.as_str()).trim_end_matches('/').to_owned()
    }

    /// Sends a request that changes something. Redirects are not followed.
    pub(super) async fn write(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, Unanswered> {
        let unsent = |e: ServerError| Unanswered::Unsent(e.to_string());
        let mut request = self.request(path, "").map_err(unsent)?;
        *request.method_mut() = method;
        if !body.is_empty() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        *request.body_mut() = body;
        let request = reqwest::Request::try_from(request).map_err(|e| Unanswered::Unsent(words(&e)))?;
        let sent = self.http.execute(request).await;
        let unanswered = |e: reqwest::Error| {
            if e.is_connect() { Unanswered::Unsent(words(&e)) } else { Unanswered::Lost(words(&e)) }
        };
        let response = sent.map_err(unanswered)?;
        let status = response.status();
        // the status tells what became of the request, even if the body is lost
        let body = if response.content_length().is_none_or(|n| n <= BODY_CAP as u64) {
            response.bytes().await.unwrap_or_default()
        } else {
            Bytes::new()
        };
        Ok(Answer { asked: Asked::Url, status, body, retry_after: None })
    }

    pub(super) async fn send(&self, path: &str, query: &str) -> Result<Answer, ServerError> {
        let request = self.request(path, query)?;
        let unreachable = |e: reqwest::Error| ServerError::Unreachable(words(&e));
        let request = reqwest::Request::try_from(request).map_err(unreachable)?;
        let mut response = self.http.execute(request).await.map_err(unreachable)?;
        let status = response.status();
        let head = response.headers().clone();
        let header = |name: HeaderName| head.get(name).and_then(|v| v.to_str().ok());
        let retry_after = header(RETRY_AFTER)
            .and_then(|v| v.trim().parse().ok())
            .map(|s: u64| Duration::from_secs(s.min(300)));
        if status.is_redirection() {
            let to = text::clean(header(LOCATION).unwrap_or("another server")).into_owned();
            let message = format!(
                "it redirects to {to}; give that server's URL instead, or a token if that is a login page"
            );
            return Err(ServerError::Refused { code: status.as_u16(), message, retry_after });
        }
        let mut whole = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            if whole.len() + piece.len() > BODY_CAP {
                let why = format!("more than {} MiB; {}", BODY_CAP >> 20, self.kind.ask_less);
                return Err(ServerError::Decode(why));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Answer { asked: Asked::Url, status, body: whole.into(), retry_after })
    }

    fn request(&self, path: &str, query: &str) -> Result<Request<Bytes>, ServerError> {
        if let Some(certificate) = &self.certificate {
            certificate.renew()?;
        }
        let mut url = self.base.join(path).map_err(|e| bad(e.to_string()))?;
        let own = Some(self.query.as_str()).filter(|q| !q.is_empty());
        // long queries are sent in a body, and short ones as GET, which more proxies permit
        let in_body = query.len() >= IN_BODY;
        match (own, in_body) {
            (own, true) => url.set_query(own),
            (None, false) => url.set_query(Some(query)),
            (Some(own), false) => url.set_query(Some(&format!("{own}&{query}"))),
        }
        let body = if in_body { Bytes::from(query.to_owned()) } else { Bytes::new() };
        let mut request = Request::new(body);
        *request.uri_mut() = url.as_str().parse().map_err(|e: http::uri::InvalidUri| bad(e.to_string()))?;
        request.headers_mut().clone_from(&self.headers);
        if in_body {
            *request.method_mut() = Method::POST;
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, form);
        }
        let credential = match &self.login {
            Login::Fixed => None,
            Login::TokenFile(path) => {
                Some(bearer(self.kind, &from_file(self.kind, "token_file", path)?, "token_file")?)
            }
            Login::PasswordFile(user, path) => {
                Some(basic(self.kind, user, &from_file(self.kind, "password_file", path)?)?)
            }
        };
        if let Some(value) = credential {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}

fn trust(kind: &Kind, options: &ServerOptions) -> Result<Trust, ServerError> {
    Ok(match (&options.ca_file, options.insecure) {
        (_, true) => Trust::Anyone,
        (Some(path), _) => {
            let wrong = |why: String| bad(format!("{}.ca_file {}: {why}", kind.section, path.display()));
            let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
            // in a kubeconfig an empty bundle means the CAs of this machine, but here it is an error
            if pem.is_empty() {
                return Err(wrong("it is empty".into()));
            }
            Trust::Bundle(pem)
        }
        (None, _) => Trust::System,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::prometheus::KIND;

    fn of(url: &str) -> ServerOptions {
        ServerOptions { url: url.into(), ..ServerOptions::default() }
    }

    fn wrong(options: &ServerOptions) -> String {
        Direct::new(&KIND, options).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn urls() {
        assert!(wrong(&of("ftp://x")).contains("http://"));
        assert!(Direct::new(&KIND, &of("nonsense")).is_err());
    }

    /// The address, the credentials and the tenant of a query.
    fn sent(options: &ServerOptions) -> String {
        let request = Direct::new(&KIND, options).unwrap().request("api/v1/query", "query=up").unwrap();
        let header = |name: &str| request.headers().get(name).map_or("-", |v| v.to_str().unwrap()).to_owned();
        format!("{} {} {}", request.uri(), header("authorization"), header("x-scope-orgid"))
    }

    #[tokio::test]
    async fn what_is_sent() {
        let headers = BTreeMap::from([("X-Scope-OrgID".to_owned(), " team-a\n".to_owned())]);
        for (url, token, want) in [
            ("http://h:9090", None, "http://h:9090/api/v1/query?query=up - team-a"),
            ("http://h/prometheus", None, "http://h/prometheus/api/v1/query?query=up - team-a"),
            ("http://h/p/?tenant=a#x", None, "http://h/p/api/v1/query?tenant=a&query=up - team-a"),
            ("http://me:p%40ss@h", None, "http://h/api/v1/query?query=up Basic bWU6cEBzcw== team-a"),
            ("http://h", Some(" s3cret\n"), "http://h/api/v1/query?query=up Bearer s3cret team-a"),
            ("http://me:x@h", Some("t"), "http://h/api/v1/query?query=up Bearer t team-a"),
        ] {
            let options = ServerOptions { token: token.map(Into::into), headers: headers.clone(), ..of(url) };
            assert_eq!(sent(&options), want, "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_and_a_password_are_sent_and_their_file_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let with = |password: Option<&str>, password_file: Option<PathBuf>| ServerOptions {
            username: "me".into(),
            password: password.map(Into::into),
            password_file,
            ..of("http://x:y@h")
        };
        let wanted = |credential: &str| format!("http://h/api/v1/query?query=up Basic {credential} -");
        assert_eq!(sent(&with(None, None)), wanted("bWU6"));
        assert_eq!(sent(&with(Some("p@ss"), None)), wanted("bWU6cEBzcw=="));
        let options = with(None, Some(file.path().to_owned()));
        let direct = Direct::new(&KIND, &options).unwrap();
        for (text, credential) in [(" p ss\n", "Basic bWU6IHAgc3M="), ("p@ss", "Basic bWU6cEBzcw==")] {
            std::fs::write(file.path(), text).unwrap();
            let request = direct.request("x", "").unwrap();
            assert_eq!(request.headers()[AUTHORIZATION], credential, "{text}");
        }
        drop(file);
        assert!(direct.request("x", "").unwrap_err().to_string().contains("prometheus.password_file /"));
        let both = ServerOptions { token: Some("t".into()), ..with(None, None) };
        assert!(wrong(&both).contains("only one"));
        let nameless = ServerOptions { username: String::new(), ..with(Some("p"), None) };
        assert!(wrong(&nameless).contains("prometheus.username is empty"));
    }

    #[tokio::test]
    async fn a_client_certificate_is_read_again() {
        let pki = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/access/pki");
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("crt"), folder.path().join("key"));
        let put = |kind: &str| {
            for (end, to) in [("crt", &cert), ("key", &key)] {
                std::fs::copy(pki.join(format!("c-{kind}.{end}")), to).unwrap();
            }
        };
        let options = ServerOptions { identity: Some((cert.clone(), key.clone())), ..of("https://h") };
        assert!(wrong(&options).contains("prometheus.cert_file"));
        put("sec1");
        let direct = Direct::new(&KIND, &options).unwrap();
        let held = direct.certificate.clone().unwrap();
        direct.request("x", "").unwrap();
        assert_eq!(held.held.turn(), 0);
        put("p384");
        direct.request("x", "").unwrap();
        assert_eq!(held.held.turn(), 1);
        std::fs::copy(pki.join("c-sec1.crt"), &cert).unwrap();
        assert!(direct.request("x", "").unwrap_err().to_string().contains("key of another certificate"));
    }

    #[test]
    fn a_proxy_must_be_a_url_and_its_password_is_not_shown() {
        let options = ServerOptions { proxy_url: "me:secret@p".into(), ..of("http://h") };
        let words = wrong(&options);
        assert!(words.starts_with("prometheus.proxy_url: ") && !words.contains("secret"), "{words}");
    }
}
