//! The credentials of each request: a token (also from a file that is rotated), a name and password, a credential
//! plugin or an OpenID Connect provider; and the client certificate, which is renewed while connections are open.

mod plugin;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use kube::client::{Body, ConfigExt as _};
use kube::config::{AuthProviderConfig, Config};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use tower::util::BoxCloneService;
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

use self::plugin::{Given, Plugin, renew_at};
use super::connect::ConnectError;
use super::env::Env;
use super::error::words;
use super::kubeconfig::resolve::{Access, Auth, Pem};
use super::secret;
use super::tls::Identity;
use crate::clock::Clock;

pub use self::plugin::Seat;

/// A token file and the files of a certificate are read again after this time (client-go: a minute less ten seconds).
const REREAD_MS: i64 = 50_000;

/// Provides the `Authorization` header and keeps the client certificate current.
pub(crate) struct Credential {
    source: CredentialSource,
    identity: Arc<Identity>,
    files: Option<(PathBuf, PathBuf)>,
    files_read: Mutex<Stamp>,
    clock: Clock,
}

enum CredentialSource {
    Fixed(Option<HeaderValue>),
    File { path: PathBuf, text: String, held: Mutex<Option<(HeaderValue, Stamp)>> },
    Plugin { plugin: Arc<Plugin>, state: Mutex<PluginState> },
    Oidc(Mutex<Provider>),
}

/// The plugin's latest credential, and the run in progress. All requests wait for the same run, and a run continues
/// when the request that started it is dropped.
#[derive(Default)]
struct PluginState {
    held: Option<HeldCredential>,
    running: Option<(std::time::Instant, PluginRun)>,
}

/// kube's layer around a service that sends nothing; it returns the header that the layer adds to a request.
type Provider = BoxCloneService<http::Request<Body>, http::Response<Option<HeaderValue>>, BoxError>;

type PluginRun = Shared<BoxFuture<'static, Result<Given, String>>>;

#[derive(Clone)]
struct HeldCredential {
    header: Option<HeaderValue>,
    renew_at: Option<Stamp>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}

impl Credential {
    /// Reads the files and runs the plugin once.
    pub(super) async fn open(
        access: &Access,
        ca: Option<&[u8]>,
        identity: Arc<Identity>,
        env: &Env,
        seat: &Seat,
        clock: Clock,
    ) -> Result<Self, ConnectError> {
        let whose =
            |e: String| ConnectError(text::clean(&format!("user {:?}: {e}", access.user)).into_owned());
        let source = CredentialSource::of(access, ca, env, seat).map_err(whose)?;
        let mut files = None;
        if let Some((cert, key)) = &access.identity {
            identity.set(&read(cert)?, &read(key)?).map_err(whose)?;
            if let (Pem::File(cert), Pem::File(key)) = (cert, key) {
                files = Some((cert.clone(), key.clone()));
            }
        }
        let now = clock.now();
        let this = Self { source, identity, files, files_read: Mutex::new(now), clock };
        // mistakes are reported before anything is sent
        this.header().await.map_err(ConnectError)?;
        Ok(this)
    }

    /// The `Authorization` header. Also renews the client certificate if it is due.
    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, String> {
        self.reread();
        match &self.source {
            CredentialSource::Fixed(header) => Ok(header.clone()),
            CredentialSource::File { path, text, held } => {
                let now = self.clock.now();
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((header, at)) = &*held
                    && now.0 - at.0 < REREAD_MS
                {
                    return Ok(Some(header.clone()));
                }
                let header = match (from_file(path), &*held) {
                    (Ok(header), _) => header,
                    // the latest valid token is kept, as in client-go
                    (Err(_), Some((before, _))) => before.clone(),
                    (Err(_), None) if !text.is_empty() => bearer(text)?,
                    (Err(why), None) => return Err(why),
                };
                *held = Some((header.clone(), now));
                Ok(Some(header))
            }
            CredentialSource::Plugin { plugin, state } => self.of_plugin(plugin, state).await,
            CredentialSource::Oidc(provider) => {
                let provider = provider.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let found = provider.oneshot(http::Request::new(Body::empty())).await;
                let found = found.map_err(|e| format!("auth-provider oidc: {}", words(&*e)))?.into_body();
                found.map(Some).ok_or_else(|| "auth-provider oidc: no token".into())
            }
        }
    }

    /// The server refused the credential (401): the next [`Credential::header`] reads the file or runs the plugin
    /// again. True if this can give another credential.
    pub(super) fn forget(&self) -> bool {
        match &self.source {
            CredentialSource::Fixed(_) | CredentialSource::Oidc(_) => false,
            CredentialSource::File { held, .. } => {
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((_, at)) = &mut *held {
                    *at = Stamp(at.0 - REREAD_MS);
                }
                true
            }
            CredentialSource::Plugin { state, .. } => {
                state.lock().unwrap_or_else(PoisonError::into_inner).held = None;
                true
            }
        }
    }

    /// A text for the user: which plugin is running, and for how long.
    pub(super) fn waiting(&self) -> Option<String> {
        let CredentialSource::Plugin { plugin, state } = &self.source else { return None };
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, _) = state.running.as_ref()?;
        Some(format!("waiting for {}, {} s", plugin.name(), plugin::waited(*since)))
    }

    async fn of_plugin(
        &self,
        plugin: &Arc<Plugin>,
        state: &Mutex<PluginState>,
    ) -> Result<Option<HeaderValue>, String> {
        let run = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.now();
            if let Some(held) = &state.held
                && held.renew_at.is_none_or(|at| now.0 < at.0)
            {
                return Ok(held.header.clone());
            }
            let (_, run) = state
                .running
                .get_or_insert_with(|| (Clock::instant(), plugin.clone().run().boxed().shared()));
            run.clone()
        };
        let given = run.clone().await;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = state.running.as_ref().is_some_and(|(_, running)| running.ptr_eq(&run));
        if mine {
            state.running = None;
            state.held = match given.clone() {
                Ok(given) => Some(self.take(plugin, &given)?),
                Err(_) => None,
            };
        }
        match (&state.held, given) {
            (_, Err(why)) => Err(why),
            (Some(held), Ok(_)) => Ok(held.header.clone()),
            // another request was refused with this credential meanwhile, so this one runs the plugin itself
            (None, Ok(given)) => Ok(self.take(plugin, &given)?.header),
        }
    }

    fn take(&self, plugin: &Plugin, given: &Given) -> Result<HeldCredential, String> {
        let failed = |why: String| format!("{}: {why}", plugin.name());
        if let Some((cert, key)) = &given.identity {
            self.identity.set(cert.as_bytes(), key.as_bytes()).map_err(failed)?;
        }
        let header = match given.token.as_str() {
            "" => None,
            token => Some(bearer(token).map_err(failed)?),
        };
        Ok(HeldCredential { header, renew_at: renew_at(self.clock.now(), given.expires) })
    }

    /// Other programs (a kubelet, a cron job) renew certificate files.
    fn reread(&self) {
        let Some((cert, key)) = &self.files else { return };
        let now = self.clock.now();
        {
            let mut at = self.files_read.lock().unwrap_or_else(PoisonError::into_inner);
            if now.0 - at.0 < REREAD_MS {
                return;
            }
            *at = now;
        }
        let again = std::fs::read(cert).and_then(|cert| Ok((cert, std::fs::read(key)?)));
        let set = again.map_err(|e| e.to_string()).and_then(|(cert, key)| self.identity.set(&cert, &key));
        if let Err(error) = set {
            // perhaps only one of the two files has been written yet, so both are read again later
            tracing::warn!(%error, "the client certificate cannot be read again");
        }
    }
}

impl CredentialSource {
    fn of(access: &Access, ca: Option<&[u8]>, env: &Env, seat: &Seat) -> Result<Self, String> {
        if let Some((user, password)) = &access.server.userinfo {
            return Ok(Self::Fixed(Some(basic(user, password)?)));
        }
        Ok(match &access.auth {
            Auth::None => Self::Fixed(None),
            Auth::Basic(user, password) => Self::Fixed(Some(basic(user, password)?)),
            Auth::Token { text, file: None } => Self::Fixed(Some(bearer(text)?)),
            Auth::Token { text, file: Some(path) } => {
                Self::File { path: path.clone(), text: text.clone(), held: Mutex::default() }
            }
            Auth::Plugin(exec) => {
                let cluster = exec.provide_cluster_info.then(|| plugin::cluster(access, ca));
                let plugin = Plugin { exec: (**exec).clone(), cluster, env: env.clone(), seat: seat.clone() };
                Self::Plugin { plugin: Arc::new(plugin), state: Mutex::default() }
            }
            Auth::Provider(provider) => Self::Oidc(Mutex::new(oidc(provider)?)),
        })
    }
}

/// A valid id-token, or a new one obtained with the refresh token.
fn oidc(provider: &super::kubeconfig::file::Provider) -> Result<Provider, String> {
    let mut config = Config::new(http::Uri::from_static("https://localhost"));
    config.auth_info.auth_provider = Some(AuthProviderConfig {
        name: provider.name.clone(),
        config: provider.config.clone().into_iter().collect(),
        other: std::collections::BTreeMap::new(),
    });
    let layer = config.auth_layer().map_err(|e| format!("auth-provider oidc: {}", words(&e)))?;
    let layer = layer.ok_or("auth-provider oidc: no token")?;
    let nowhere = service_fn(|request: http::Request<Body>| async move {
        let found = request.headers().get(AUTHORIZATION).cloned();
        Ok::<_, BoxError>(http::Response::new(found))
    });
    Ok(BoxCloneService::new(layer.layer(nowhere)))
}

/// A PEM text.
pub(super) fn read(pem: &Pem) -> Result<Vec<u8>, ConnectError> {
    match pem {
        Pem::Data(bytes) => Ok(bytes.clone()),
        Pem::File(path) => std::fs::read(path).map_err(|e| ConnectError(format!("{}: {e}", path.display()))),
    }
}

fn from_file(path: &std::path::Path) -> Result<HeaderValue, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("tokenFile {}: {e}", path.display()))?;
    match text.trim() {
        "" => Err(format!("tokenFile {}: it is empty", path.display())),
        token => bearer(token),
    }
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    secret::header(&format!("Bearer {token}"))
        .ok_or_else(|| "the token has characters that no header can carry (a line break?)".into())
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, String> {
    secret::basic(user, password).ok_or_else(|| "the username cannot be sent".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kubeconfig::{Overrides, load};

    /// The credential of a user's entry, with the paths relative to a folder.
    async fn of(user: &str, clock: &Clock, folder: &std::path::Path) -> Result<Credential, ConnectError> {
        let config = folder.join("config");
        let text = format!(
            "current-context: x\nclusters: [{{name: c, cluster: {{server: 'https://h', insecure-skip-tls-verify: true}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let env = Env::of([("PATH".to_owned(), std::env::var("PATH").unwrap())]);
        let access = load(Some(&config), None, &Overrides::default(), &env).unwrap();
        let seat = Seat::default();
        Credential::open(&access, None, Arc::default(), &env, &seat, clock.clone()).await
    }

    /// A plugin that answers with the number of its run as the token, and `more` in its status.
    fn counting(more: &str) -> String {
        let answer = format!(
            r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"%s"{more}}}}}"#
        );
        format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: [-c, 'cd \"$0\"; echo x >> runs; printf ''{answer}'' $(wc -l < runs)', DIR]}}"
        )
    }

    async fn shown(credential: &Credential) -> String {
        let header = credential.header().await.unwrap().unwrap();
        header.to_str().unwrap().trim_start_matches("Bearer ").to_owned()
    }

    fn start() -> (Clock, tempfile::TempDir) {
        (Clock::manual(Stamp::parse("2026-01-01T00:00:00Z").unwrap()), tempfile::tempdir().unwrap())
    }

    fn later(clock: &Clock, secs: i64) {
        clock.set(Stamp(clock.now().0 + secs * 1000));
    }

    #[tokio::test]
    async fn a_plugin_is_asked_again_when_its_answer_ends_or_is_refused() {
        let (clock, folder) = start();
        let user = counting(r#","expirationTimestamp":"2026-01-01T01:00:00Z""#);
        let user = user.replace("DIR", folder.path().to_str().unwrap());
        let credential = of(&user, &clock, folder.path()).await.unwrap();
        assert_eq!(shown(&credential).await, "1");
        later(&clock, 3500);
        assert_eq!(shown(&credential).await, "1", "held while it is good");
        later(&clock, 50);
        assert_eq!(shown(&credential).await, "2", "a minute before its end");
        assert!(credential.forget());
        let both = futures::future::join(shown(&credential), shown(&credential)).await;
        assert_eq!(both, ("3".to_owned(), "3".to_owned()), "one run for all who wait");
    }

    #[tokio::test]
    async fn a_run_outlives_the_request_that_began_it() {
        let (clock, folder) = start();
        let user =
            counting("").replace("echo x >> runs", "while [ ! -e go ]; do sleep 0.02; done; echo x >> runs");
        let user = user.replace("DIR", folder.path().to_str().unwrap());
        std::fs::write(folder.path().join("go"), "").unwrap();
        let credential = of(&user, &clock, folder.path()).await.unwrap();
        std::fs::remove_file(folder.path().join("go")).unwrap();
        credential.forget();
        let hurried = tokio::time::timeout(std::time::Duration::from_millis(50), credential.header()).await;
        assert!(hurried.is_err());
        assert!(credential.waiting().unwrap().contains("the credential plugin sh"));
        std::fs::write(folder.path().join("go"), "").unwrap();
        assert_eq!(shown(&credential).await, "2", "the same run, not a third");
        assert_eq!(credential.waiting(), None);
    }

    #[tokio::test]
    async fn a_token_file_is_read_again() {
        let (clock, folder) = start();
        let file = folder.path().join("tok");
        std::fs::write(&file, "one\n").unwrap();
        let credential = of("tokenFile: tok", &clock, folder.path()).await.unwrap();
        assert_eq!(shown(&credential).await, "one");
        std::fs::write(&file, "two\n").unwrap();
        later(&clock, 40);
        assert_eq!(shown(&credential).await, "one", "not for each request");
        later(&clock, 15);
        assert_eq!(shown(&credential).await, "two");
        std::fs::write(&file, "three").unwrap();
        assert!(credential.forget());
        assert_eq!(shown(&credential).await, "three", "at once after a 401");
        std::fs::remove_file(&file).unwrap();
        later(&clock, 3600);
        assert_eq!(shown(&credential).await, "three", "the last good one");
    }

    #[tokio::test]
    async fn a_certificate_in_files_is_read_again() {
        let (clock, folder) = start();
        let pki = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/access/pki");
        let put = |kind: &str| {
            for end in ["crt", "key"] {
                std::fs::copy(pki.join(format!("c-{kind}.{end}")), folder.path().join(end)).unwrap();
            }
        };
        put("sec1");
        let credential = of("client-certificate: crt, client-key: key", &clock, folder.path()).await.unwrap();
        put("p384");
        credential.header().await.unwrap();
        assert_eq!(credential.identity.turn(), 0);
        later(&clock, 60);
        credential.header().await.unwrap();
        assert_eq!(credential.identity.turn(), 1, "new connections show the new one");
        std::fs::copy(pki.join("c-sec1.crt"), folder.path().join("crt")).unwrap();
        later(&clock, 60);
        credential.header().await.unwrap();
        assert_eq!(credential.identity.turn(), 1, "half of a pair is not taken");
    }
}
