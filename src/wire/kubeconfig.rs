//! Reads the kubeconfig as kubectl does. Every mistake in it is reported before anything is sent.
//!
//! `file` decodes a file, `resolve` resolves a context and applies the flags, `server` parses a cluster's
//! address.

pub(super) mod file;
pub(super) mod resolve;
pub(super) mod server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pilothouse_core::domain::text;

pub use self::file::Impersonate;
use self::file::{Cluster, Context, File, User};
pub use self::resolve::Overrides;
use self::resolve::{Access, context_of, resolve};
use super::connect::ConnectError;
use super::env::Env;

/// One context of the kubeconfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextInfo {
    pub name: String,
    pub cluster: String,
    pub user: String,
    pub namespace: Option<String>,
    pub current: bool,
}

/// The folder with a pod's service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The context of a pod's service account.
const IN_CLUSTER: &str = "in-cluster";

/// Where the configuration comes from.
enum Found {
    Files(Box<File>, String),
    /// There is no file, and we run in a pod.
    InCluster(String),
    /// There is no file; the text says where one was searched.
    Nothing(ConnectError),
}

/// Reads `--kubeconfig`, or the files of `KUBECONFIG`, or `~/.kube/config`, or the pod's service account.
fn read(explicit: Option<&Path>, env: &Env) -> Result<Found, ConnectError> {
    if let Some(path) = explicit {
        return match read_file(path)? {
            Some(file) => Ok(Found::Files(Box::new(file), path.display().to_string())),
            None => Err(ConnectError(format!("no such kubeconfig: {}", path.display()))),
        };
    }
    let nothing = |why: String| match in_pod(env) {
        Some(server) => Found::InCluster(server),
        None => Found::Nothing(ConnectError(why)),
    };
    if let Some(list) = env.var("KUBECONFIG") {
        let mut seen = BTreeSet::new();
        let paths: Vec<PathBuf> = std::env::split_paths(&list)
            .filter(|p| !p.as_os_str().is_empty() && seen.insert(p.clone()))
            .collect();
        let shown = paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
        let mut merged: Option<File> = None;
        for path in &paths {
            // as in kubectl, missing files of the list are skipped
            let Some(next) = read_file(path)? else { continue };
            match &mut merged {
                None => merged = Some(next),
                Some(before) => before.merge(next),
            }
        }
        return Ok(match merged {
            Some(file) => Found::Files(Box::new(file), shown),
            None => nothing(format!(
                "no kubeconfig: KUBECONFIG names {shown}, which does not exist; correct it or give --kubeconfig FILE"
            )),
        });
    }
    let home = match env.var("HOME") {
        Some(home) => Some(PathBuf::from(home)),
        None if env.given().is_some() => None,
        None => etcetera::home_dir().ok(),
    };
    let Some(path) = home.map(|home| home.join(".kube").join("config")) else {
        return Ok(nothing("no kubeconfig: there is no home directory; set KUBECONFIG".into()));
    };
    Ok(match read_file(&path)? {
        Some(file) => Found::Files(Box::new(file), path.display().to_string()),
        None => nothing(format!(
            "no kubeconfig: {} does not exist and KUBECONFIG is not set; give --kubeconfig FILE, or try `pilothouse --demo`",
            path.display()
        )),
    })
}

/// The API server according to a pod's environment.
fn in_pod(env: &Env) -> Option<String> {
    let (host, port) = (env.var("KUBERNETES_SERVICE_HOST")?, env.var("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Path::new(ACCOUNT).join("token").is_file().then(|| format!("https://{host}:{port}"))
}

/// None: the file does not exist.
fn read_file(path: &Path) -> Result<Option<File>, ConnectError> {
    let failed = |why: String| ConnectError(text::clean(&why).into_owned());
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(format!("cannot read {}: {e}", path.display()))),
    };
    let mut file = File::parse(&bytes)
        .map_err(|e| failed(format!("{} is not a valid kubeconfig: {e}", path.display())))?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    file.resolve(absolute.parent().unwrap_or(Path::new("/")));
    Ok(Some(file))
}

/// The contexts of the kubeconfig; empty in a pod.
pub fn contexts(explicit: Option<&Path>) -> Result<Vec<ContextInfo>, ConnectError> {
    Ok(match read(explicit, &Env::default())? {
        Found::InCluster(_) => Vec::new(),
        Found::Nothing(why) => return Err(why),
        Found::Files(file, _) => file
            .contexts
            .iter()
            .map(|(name, context)| ContextInfo {
                current: *name == file.current_context,
                name: name.clone(),
                cluster: context.cluster.clone(),
                user: context.user.clone(),
                namespace: Some(context.namespace.clone()).filter(|n| !n.is_empty()),
            })
            .collect(),
    })
}

/// Returns the name of the context that a connection to `context` (None: the current one) would use. Reads nothing but
/// the kubeconfig.
pub fn name_of(
    explicit: Option<&Path>,
    context: Option<&str>,
    over: &Overrides,
) -> Result<String, ConnectError> {
    let (file, shown, context) = found(explicit, context, over, &Env::default())?;
    let named = context_of(&file, context, over).map(|(name, _)| name);
    named.map_err(|e| failed_in(&shown, &e))
}

/// Resolves the cluster and the user. The errors name the file.
pub(super) fn load(
    explicit: Option<&Path>,
    context: Option<&str>,
    over: &Overrides,
    env: &Env,
) -> Result<Access, ConnectError> {
    let (file, shown, context) = found(explicit, context, over, env)?;
    resolve(&file, context, over, env).map_err(|e| failed_in(&shown, &e))
}

fn failed_in(shown: &str, why: &str) -> ConnectError {
    ConnectError(text::clean(&format!("{shown}: {why}")).into_owned())
}

/// Returns the kubeconfig, its name, and the context to look for in it.
fn found<'c>(
    explicit: Option<&Path>,
    context: Option<&'c str>,
    over: &Overrides,
    env: &Env,
) -> Result<(File, String, Option<&'c str>), ConnectError> {
    Ok(match read(explicit, env)? {
        Found::Files(file, shown) => (*file, shown, context),
        Found::InCluster(server) => {
            (account(server), "the pod's service account".to_owned(), Some(IN_CLUSTER))
        }
        // the flags can name a cluster without any file
        Found::Nothing(_) if over.names_server() => (File::default(), "the flags".to_owned(), context),
        Found::Nothing(why) => return Err(why),
    })
}

/// A pod's service account in the form of a kubeconfig.
fn account(server: String) -> File {
    let at = |name: &str| format!("{ACCOUNT}/{name}");
    let namespace = std::fs::read_to_string(at("namespace")).unwrap_or_default();
    let ca_file = if Path::new(&at("ca.crt")).is_file() { at("ca.crt") } else { String::new() };
    let mut file = File::default();
    let (cluster, user) = (IN_CLUSTER.to_owned(), "service account".to_owned());
    file.clusters.insert(cluster.clone(), Cluster { server, ca_file, ..Cluster::default() });
    file.users.insert(user.clone(), User { token_file: at("token"), ..User::default() });
    let context = Context { cluster, user, namespace: namespace.trim().to_owned() };
    file.contexts.insert(IN_CLUSTER.into(), context);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn of(text: &str, context: Option<&str>) -> Result<Access, ConnectError> {
        load(Some(file(text).path()), context, &Overrides::default(), &Env::of([]))
    }

    const GOOD: &str = "
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true}}, {name: d, cluster: {server: 'https://h', certificate-authority: /nowhere/ca.crt}}, {name: e}]
users: [{name: u, user: {token: t}}, {name: v, user: {client-certificate: /nowhere/c.crt}}]
contexts: [{name: a, context: {cluster: c, user: u, namespace: shop}}, {name: b, context: {cluster: x, user: u}}, {name: d, context: {cluster: d, user: u}}, {name: e, context: {cluster: e}}, {name: v, context: {cluster: c, user: v}}, {name: w, context: {cluster: c, user: nobody}}]
";

    #[test]
    fn says_what_is_wrong_and_where() {
        let missing = load(Some(Path::new("/nowhere/config")), None, &Overrides::default(), &Env::of([]));
        assert_eq!(missing.unwrap_err().to_string(), "no such kubeconfig: /nowhere/config");
        let error = |context| of(GOOD, context).map(|_| ()).unwrap_err().to_string();
        assert!(of("clusters: [", None).unwrap_err().to_string().contains("is not a valid kubeconfig"));
        assert!(error(None).contains("no current-context"));
        assert!(error(Some("z")).contains("there is no context \"z\"; it has a, b, d, e, v, w"));
        assert!(error(Some("b")).contains("names the cluster \"x\""));
        assert!(error(Some("d")).contains("certificate-authority"));
        assert!(error(Some("e")).contains("has no `server`"));
        assert!(error(Some("v")).contains("client-certificate of user \"v\": /nowhere/c.crt"));
        assert!(error(Some("v")).contains("no client-key"), "all of it at once");
    }

    #[test]
    fn a_user_that_is_not_there_is_nobody() {
        let access = of(GOOD, Some("w")).unwrap();
        assert_eq!(access.auth, resolve::Auth::None);
        assert!(access.notes.first().unwrap().contains("names the user \"nobody\""));
    }

    #[test]
    fn loads_a_context() {
        let access = of(GOOD, Some("a")).unwrap();
        assert_eq!((access.context.as_str(), access.user.as_str()), ("a", "u"));
        assert_eq!(access.namespace, "shop");
        assert_eq!(contexts(Some(file(GOOD).path())).unwrap().len(), 6);
    }

    #[test]
    fn flags_of_one_cluster_are_not_for_another() {
        let over = Overrides {
            server: Some("https://a".into()),
            token: Some("t".into()),
            as_user: Some("me".into()),
            ..Overrides::default()
        };
        let elsewhere = over.elsewhere();
        assert_eq!((elsewhere.server, elsewhere.token, elsewhere.as_user), (None, None, Some("me".into())));
    }
}
