//! Resolves one context of a kubeconfig with kubectl's flags, and validates it as kubectl does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pilothouse_core::domain::near::meant;

use super::file::{Cluster, Context, Exec, File, Impersonate, Provider, User};
use super::server::Server;
use crate::wire::env::Env;
use crate::wire::proxy::Proxies;

/// kubectl's flags, which override the kubeconfig.
#[derive(Clone, Default)]
pub struct Overrides {
    pub user: Option<String>,
    pub cluster: Option<String>,
    pub server: Option<String>,
    pub token: Option<String>,
    pub insecure: bool,
    pub certificate_authority: Option<String>,
    pub client_certificate: Option<String>,
    pub client_key: Option<String>,
    pub tls_server_name: Option<String>,
    pub as_user: Option<String>,
    pub as_groups: Vec<String>,
    pub as_uid: Option<String>,
    /// The timeout of a request; None: the built-in limits.
    pub request_timeout: Option<Duration>,
}

impl std::fmt::Debug for Overrides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overrides").finish_non_exhaustive()
    }
}

impl Overrides {
    /// The flags that also apply to other clusters: impersonation and the timeout. A server or a token belongs to one
    /// cluster.
    pub fn elsewhere(&self) -> Self {
        Self {
            as_user: self.as_user.clone(),
            as_groups: self.as_groups.clone(),
            as_uid: self.as_uid.clone(),
            request_timeout: self.request_timeout,
            ..Self::default()
        }
    }

    /// The flags alone name a cluster.
    pub(super) fn names_server(&self) -> bool {
        self.server.as_deref().is_some_and(|s| !s.is_empty())
    }
}

/// The authentication method.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::wire) enum Auth {
    None,
    Basic(String, String),
    /// If the file can be read, it takes precedence over the text.
    Token {
        text: String,
        file: Option<PathBuf>,
    },
    Plugin(Box<Exec>),
    Provider(Provider),
}

/// PEM data, or the path of its file.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::wire) enum Pem {
    Data(Vec<u8>),
    File(PathBuf),
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(_) => f.write_str("Data"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Pem {
    fn of(data: &[u8], file: &str) -> Option<Self> {
        if !data.is_empty() {
            return Some(Self::Data(data.to_vec()));
        }
        (!file.is_empty()).then(|| Self::File(file.into()))
    }
}

/// All resolved values that a connection needs.
#[derive(Clone, Debug)]
pub(in crate::wire) struct Access {
    pub context: String,
    pub user: String,
    pub namespace: String,
    pub server: Server,
    /// The cluster in the form that a credential plugin gets.
    pub exec_server: String,
    pub ca: Option<Pem>,
    pub insecure: bool,
    pub server_name: String,
    /// The client's certificate and key.
    pub identity: Option<(Pem, Pem)>,
    pub auth: Auth,
    pub act_as: Impersonate,
    pub proxies: Proxies,
    pub proxy_url: String,
    pub disable_compression: bool,
    pub plugin_config: Option<serde_json::Value>,
    pub request_timeout: Option<Duration>,
    /// Warnings about mistakes that kubectl accepts too.
    pub notes: Vec<String>,
}

/// Resolves a context (None: the current one). The errors are whole sentences without the file's name.
pub(in crate::wire) fn resolve(
    file: &File,
    context: Option<&str>,
    over: &Overrides,
    env: &Env,
) -> Result<Access, String> {
    let mut notes = Vec::new();
    let (name, chosen) = context_of(file, context, over)?;
    let (cluster_name, cluster) = cluster_of(file, &name, &chosen, over)?;
    let (user_name, user) = user_of(file, &name, &chosen, over, &mut notes)?;
    let mut wrong = Vec::new();
    wrong_with_user(&user_name, &user, &mut wrong);
    wrong_with_cluster(&cluster_name, &cluster, &mut wrong);
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    let server =
        Server::parse(&cluster.server).map_err(|e| format!("server of cluster {cluster_name:?}: {e}"))?;
    let proxies = if cluster.proxy_url.is_empty() {
        Proxies::from_env(env)
    } else {
        Proxies::always(&cluster.proxy_url)
            .map_err(|e| format!("proxy-url of cluster {cluster_name:?}: {e}"))?
    };
    let exec_server = if server.prefix.is_empty() { cluster.server.clone() } else { server.url() };
    let mut access = Access {
        context: name,
        user: user_name.clone(),
        namespace: if chosen.namespace.is_empty() { "default".into() } else { chosen.namespace },
        exec_server,
        ca: None,
        insecure: false,
        server_name: String::new(),
        identity: None,
        auth: Auth::None,
        act_as: user.act_as.clone(),
        proxies,
        proxy_url: cluster.proxy_url.clone(),
        disable_compression: cluster.disable_compression,
        plugin_config: cluster.plugin_config.clone(),
        request_timeout: over.request_timeout,
        notes,
        server,
    };
    if access.act_as.user.is_empty() {
        access.act_as = Impersonate::default();
    }
    // as in kubectl, no credentials are sent over http, and there is no certificate to verify
    if access.server.https {
        access.ca = Pem::of(&cluster.ca_data, &cluster.ca_file);
        access.insecure = cluster.insecure;
        access.server_name = cluster.tls_server_name;
        if access.insecure && access.ca.is_some() {
            return Err(format!(
                "cluster {cluster_name:?} has a certificate-authority and insecure-skip-tls-verify: only one of them may be set"
            ));
        }
        access.identity =
            Pem::of(&user.cert_data, &user.cert_file).zip(Pem::of(&user.key_data, &user.key_file));
        access.auth = auth_of(&user_name, user, access.identity.is_some())?;
    }
    Ok(access)
}

fn known(names: &BTreeMap<String, impl Sized>) -> String {
    if names.is_empty() {
        return "it has none".into();
    }
    format!("it has {}", names.keys().cloned().collect::<Vec<_>>().join(", "))
}

/// The name of the context if only flags name the cluster.
const NO_CONTEXT: &str = "no-context";

/// Returns a context (None: the current one) with its name.
pub(super) fn context_of(
    file: &File,
    context: Option<&str>,
    over: &Overrides,
) -> Result<(String, Context), String> {
    let name = context.filter(|c| !c.is_empty()).unwrap_or(&file.current_context);
    // kubectl would go on with http://localhost:8080, a cluster that nobody named
    let by_flags = over.names_server() || over.cluster.is_some();
    let is_none = name.is_empty() || name == NO_CONTEXT && !file.contexts.contains_key(name);
    if is_none && by_flags {
        return Ok((NO_CONTEXT.into(), Context::default()));
    }
    if name.is_empty() {
        return Err(format!("no current-context is set; give --context NAME ({})", known(&file.contexts)));
    }
    let found = file.contexts.get(name).ok_or_else(|| {
        let meant = meant(name, file.contexts.keys().map(String::as_str));
        format!("there is no context {name:?}; {}{meant}", known(&file.contexts))
    })?;
    Ok((name.to_owned(), found.clone()))
}

fn cluster_of(
    file: &File,
    context: &str,
    chosen: &Context,
    over: &Overrides,
) -> Result<(String, Cluster), String> {
    let name = over.cluster.as_ref().unwrap_or(&chosen.cluster);
    let mut cluster = match file.clusters.get(name) {
        Some(found) => found.clone(),
        None if over.cluster.is_some() => {
            return Err(format!("there is no cluster {name:?}; {}", known(&file.clusters)));
        }
        None if over.names_server() => Cluster::default(),
        // kubectl would ask http://localhost:8080
        None if name.is_empty() => return Err(format!("context {context:?} names no cluster")),
        None => {
            return Err(format!("context {context:?} names the cluster {name:?}, which does not exist"));
        }
    };
    if let Some(server) = over.server.as_ref().filter(|s| !s.is_empty()) {
        cluster.server.clone_from(server);
        // the kubeconfig's tls-server-name applies only to the kubeconfig's server
        cluster.tls_server_name.clear();
    }
    if let Some(name) = over.tls_server_name.as_ref().filter(|n| !n.is_empty()) {
        cluster.tls_server_name.clone_from(name);
    }
    let ca = over.certificate_authority.clone().unwrap_or_default();
    if over.insecure || !ca.is_empty() {
        (cluster.insecure, cluster.ca_file) = (over.insecure, ca);
        cluster.ca_data.clear();
    }
    Ok((name.clone(), cluster))
}

fn user_of(
    file: &File,
    context: &str,
    chosen: &Context,
    over: &Overrides,
    notes: &mut Vec<String>,
) -> Result<(String, User), String> {
    let name = over.user.as_ref().unwrap_or(&chosen.user);
    let mut user = match file.users.get(name) {
        Some(found) => found.clone(),
        None if over.user.is_some() => {
            return Err(format!("there is no user {name:?}; {}", known(&file.users)));
        }
        None => {
            if !name.is_empty() && over.token.is_none() && over.client_certificate.is_none() {
                notes.push(format!(
                    "context {context:?} names the user {name:?}, which is not in the kubeconfig: requests are sent without credentials, as kubectl does"
                ));
            }
            User::default()
        }
    };
    if let Some(token) = over.token.as_ref().filter(|t| !t.is_empty()) {
        user.token.clone_from(token);
    }
    if let Some(cert) = over.client_certificate.as_ref().filter(|c| !c.is_empty()) {
        user.cert_file.clone_from(cert);
        user.cert_data.clear();
    }
    if let Some(key) = over.client_key.as_ref().filter(|k| !k.is_empty()) {
        user.key_file.clone_from(key);
        user.key_data.clear();
    }
    if let Some(who) = over.as_user.as_ref().filter(|w| !w.is_empty()) {
        user.act_as.user.clone_from(who);
    }
    if let Some(uid) = over.as_uid.as_ref().filter(|u| !u.is_empty()) {
        user.act_as.uid.clone_from(uid);
    }
    if !over.as_groups.is_empty() {
        user.act_as.groups.clone_from(&over.as_groups);
    }
    Ok((name.clone(), user))
}

/// A file that a field names must exist.
fn readable(field: &str, path: &str, whose: &str, wrong: &mut Vec<String>) {
    if !path.is_empty()
        && let Err(error) = std::fs::File::open(path)
    {
        wrong.push(format!("{field} of {whose}: {path}: {error}"));
    }
}

fn both(field: &str, file: &str, data: &[u8], whose: &str, wrong: &mut Vec<String>) {
    if !file.is_empty() && !data.is_empty() {
        wrong.push(format!("{whose} has {field} and {field}-data: remove one of them"));
    }
}

fn wrong_with_cluster(name: &str, cluster: &Cluster, wrong: &mut Vec<String>) {
    let whose = format!("cluster {name:?}");
    if cluster.server.is_empty() {
        wrong.push(format!("{whose} has no `server`"));
    }
    both("certificate-authority", &cluster.ca_file, &cluster.ca_data, &whose, wrong);
    readable("certificate-authority", &cluster.ca_file, &whose, wrong);
}

fn wrong_with_user(name: &str, user: &User, wrong: &mut Vec<String>) {
    let whose = format!("user {name:?}");
    if !user.cert_file.is_empty() || !user.cert_data.is_empty() {
        both("client-certificate", &user.cert_file, &user.cert_data, &whose, wrong);
        both("client-key", &user.key_file, &user.key_data, &whose, wrong);
        if user.key_file.is_empty() && user.key_data.is_empty() {
            wrong.push(format!("{whose} has a client-certificate and no client-key"));
        }
        readable("client-certificate", &user.cert_file, &whose, wrong);
        readable("client-key", &user.key_file, &whose, wrong);
    }
    if let Some(exec) = &user.exec {
        let mut say = |what: &str| wrong.push(format!("the exec plugin of {whose} {what}"));
        if user.provider.is_some() {
            say("cannot be combined with an auth-provider");
        }
        if exec.command.is_empty() {
            say("has no command");
        }
        if exec.api_version.is_empty() {
            say("has no apiVersion");
        }
        if exec.env.iter().any(|(name, _)| name.is_empty()) {
            say("has an environment variable without a name");
        }
        match (exec.interactive_mode.as_str(), exec.api_version.as_str()) {
            ("Never" | "IfAvailable" | "Always", _) | ("", V1ALPHA1 | V1BETA1) => {}
            ("", _) => say("has no interactiveMode: Never, IfAvailable or Always"),
            (other, _) => say(&format!("has an unknown interactiveMode {other:?}")),
        }
    }
    let basic = !user.username.is_empty() || !user.password.is_empty();
    if !user.token.is_empty() && basic {
        wrong.push(format!("{whose} has a token and a username: only one way to log in is allowed"));
    }
    let act_as = &user.act_as;
    let more = !act_as.uid.is_empty() || !act_as.groups.is_empty() || !act_as.extra.is_empty();
    if act_as.user.is_empty() && more {
        wrong.push(format!("{whose} has a uid, groups or extra to impersonate without a user (`as`, --as)"));
    }
}

pub(in crate::wire) const V1: &str = "client.authentication.k8s.io/v1";
pub(in crate::wire) const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";
const V1ALPHA1: &str = "client.authentication.k8s.io/v1alpha1";

fn auth_of(name: &str, user: User, has_certificate: bool) -> Result<Auth, String> {
    let file = (!user.token_file.is_empty()).then(|| PathBuf::from(&user.token_file));
    let has_token = !user.token.is_empty() || file.is_some();
    let has_basic = !user.username.is_empty();
    if has_token && has_basic {
        return Err(format!("user {name:?} has a token and a username: only one way to log in is allowed"));
    }
    if let Some(provider) = &user.provider {
        match provider.name.as_str() {
            "oidc" => {}
            "gcp" => {
                return Err("the gcp auth plugin has been removed: use the \"gke-gcloud-auth-plugin\" credential plugin (exec) instead".into());
            }
            "azure" => {
                return Err("the azure auth plugin has been removed: use the \"kubelogin\" credential plugin (exec) instead".into());
            }
            other => return Err(format!("user {name:?}: there is no auth provider {other:?}")),
        }
    }
    if let Some(exec) = &user.exec
        && !matches!(exec.api_version.as_str(), V1 | V1BETA1)
    {
        return Err(format!(
            "the exec plugin of user {name:?} has the apiVersion {:?}: {V1} or {V1BETA1} is needed",
            exec.api_version
        ));
    }
    Ok(if has_token {
        Auth::Token { text: user.token, file }
    } else if has_basic {
        Auth::Basic(user.username, user.password)
    } else if let Some(provider) = user.provider {
        Auth::Provider(provider)
    } else {
        match user.exec {
            // as in kubectl, the plugin is not run if there are other credentials
            Some(exec) if !has_certificate => Auth::Plugin(Box::new(exec)),
            _ => Auth::None,
        }
    })
}
