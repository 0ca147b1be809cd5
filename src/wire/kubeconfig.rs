//! Reads the kubeconfig as kubectl does, with every mistake in it said in words, before any network is touched.

use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use pilothouse_core::domain::text;

use super::connect::ConnectError;

/// One context of the kubeconfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextInfo {
    pub name: String,
    pub cluster: String,
    pub user: String,
    pub namespace: Option<String>,
    pub current: bool,
}

/// What a kubeconfig (or the pod's service account) comes down to.
pub(super) struct Loaded {
    pub config: Config,
    pub context: String,
    pub user: String,
    pub cluster: Option<Cluster>,
}

/// Where the configuration was looked for.
enum Found {
    Files(Box<Kubeconfig>, String),
    /// No file; we run in a pod.
    InCluster,
}

/// Reads `--kubeconfig`, else the files of `KUBECONFIG`, else `~/.kube/config`, else the pod's service account.
fn read(explicit: Option<&Path>) -> Result<Found, ConnectError> {
    if let Some(path) = explicit {
        return Ok(Found::Files(Box::new(read_file(path)?), path.display().to_string()));
    }
    if let Some(list) = std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty()) {
        let paths: Vec<PathBuf> =
            std::env::split_paths(&list).filter(|p| !p.as_os_str().is_empty()).collect();
        let shown = paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
        let mut merged: Option<Kubeconfig> = None;
        // as kubectl: files of the list that do not exist are passed over
        for path in paths.iter().filter(|p| p.exists()) {
            let next = read_file(path)?;
            merged = Some(match merged {
                None => next,
                Some(before) => before.merge(next).map_err(|e| explain(&e, &path.display().to_string()))?,
            });
        }
        return match merged {
            Some(config) => Ok(Found::Files(Box::new(config), shown)),
            None if in_pod() => Ok(Found::InCluster),
            None => Err(ConnectError(format!(
                "no kubeconfig: KUBECONFIG names {shown}, which does not exist; correct it or give --kubeconfig FILE"
            ))),
        };
    }
    let home = etcetera::home_dir().ok().map(|home| home.join(".kube").join("config"));
    match home {
        Some(path) if path.exists() => {
            Ok(Found::Files(Box::new(read_file(&path)?), path.display().to_string()))
        }
        _ if in_pod() => Ok(Found::InCluster),
        Some(path) => Err(ConnectError(format!(
            "no kubeconfig: {} does not exist and KUBECONFIG is not set; give --kubeconfig FILE, or try `pilothouse --demo`",
            path.display()
        ))),
        None => Err(ConnectError("no kubeconfig: there is no home directory; set KUBECONFIG".into())),
    }
}

fn in_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        && Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token").exists()
}

fn read_file(path: &Path) -> Result<Kubeconfig, ConnectError> {
    Kubeconfig::read_from(path).map_err(|e| explain(&e, &path.display().to_string()))
}

/// The contexts that the kubeconfig has; empty in a pod.
pub fn contexts(explicit: Option<&Path>) -> Result<Vec<ContextInfo>, ConnectError> {
    Ok(match read(explicit)? {
        Found::InCluster => Vec::new(),
        Found::Files(config, _) => {
            let current = config.current_context.clone().unwrap_or_default();
            let mut found: Vec<_> = config
                .contexts
                .into_iter()
                .map(|named| {
                    let context = named.context.unwrap_or_default();
                    ContextInfo {
                        current: named.name == current,
                        name: named.name,
                        cluster: context.cluster,
                        user: context.user.unwrap_or_default(),
                        namespace: context.namespace.filter(|n| !n.is_empty()),
                    }
                })
                .collect();
            found.sort_by(|a, b| a.name.cmp(&b.name));
            found
        }
    })
}

pub(super) async fn load(explicit: Option<&Path>, context: Option<&str>) -> Result<Loaded, ConnectError> {
    let (file, shown) = match read(explicit)? {
        Found::Files(config, shown) => (*config, shown),
        Found::InCluster => {
            let config = Config::incluster()
                .map_err(|e| ConnectError(format!("the pod's service account cannot be used: {e}")))?;
            let user = "service account".to_owned();
            return Ok(Loaded { config, context: "in-cluster".into(), user, cluster: None });
        }
    };
    let known = || {
        let mut names: Vec<_> = file.contexts.iter().map(|c| c.name.as_str()).collect();
        names.sort_unstable();
        if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) }
    };
    let name = match context {
        Some(name) => name.to_owned(),
        None => file.current_context.clone().filter(|c| !c.is_empty()).ok_or_else(|| {
            ConnectError(format!("{shown}: no current-context is set; give --context NAME ({})", known()))
        })?,
    };
    let Some(found) = file.contexts.iter().find(|c| c.name == name).and_then(|c| c.context.clone()) else {
        return Err(ConnectError(format!("{shown}: there is no context {name:?}; {}", known())));
    };
    let cluster = file.clusters.iter().find(|c| c.name == found.cluster).and_then(|c| c.cluster.clone());
    let Some(cluster) = cluster else {
        return Err(ConnectError(format!(
            "{shown}: context {name:?} names the cluster {:?}, which is not there",
            found.cluster
        )));
    };
    let user = found.user.clone().unwrap_or_default();
    if let Some(auth) = file.auth_infos.iter().find(|u| u.name == user).and_then(|u| u.auth_info.as_ref()) {
        check_user(auth, &user, &shown)?;
    } else if !user.is_empty() {
        return Err(ConnectError(format!(
            "{shown}: context {name:?} names the user {user:?}, which is not there"
        )));
    }
    let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(file, &options).await.map_err(|e| explain(&e, &shown))?;
    config.default_namespace = found.namespace.filter(|n| !n.is_empty()).unwrap_or_else(|| "default".into());
    Ok(Loaded { config, context: name, user, cluster: Some(cluster) })
}

/// Files that the user's entry names and that kube would miss only when it connects.
fn check_user(auth: &AuthInfo, user: &str, shown: &str) -> Result<(), ConnectError> {
    let files = [
        (
            "client-certificate",
            auth.client_certificate.as_ref().filter(|_| auth.client_certificate_data.is_none()),
        ),
        ("client-key", auth.client_key.as_ref().filter(|_| auth.client_key_data.is_none())),
        ("tokenFile", auth.token_file.as_ref().filter(|_| auth.token.is_none())),
    ];
    for (field, path) in files {
        if let Some(path) = path.filter(|p| !p.is_empty())
            && let Err(error) = std::fs::File::open(path)
        {
            return Err(ConnectError(format!("{shown}: {field} of user {user:?}: {path}: {error}")));
        }
    }
    Ok(())
}

/// kube's error as one line that names the file.
fn explain(error: &KubeconfigError, file: &str) -> ConnectError {
    let words = match error {
        KubeconfigError::ReadConfig(io, _) if io.kind() == std::io::ErrorKind::NotFound => {
            format!("no such kubeconfig: {file}")
        }
        KubeconfigError::ReadConfig(io, _) => format!("cannot read {file}: {io}"),
        KubeconfigError::Parse(e) => {
            format!("{file} is not a valid kubeconfig: {}", one_line(&e.to_string()))
        }
        KubeconfigError::MissingClusterUrl => format!("{file}: the cluster has no `server`"),
        KubeconfigError::ParseClusterUrl(e) => format!("{file}: the cluster's `server` is not a URL: {e}"),
        KubeconfigError::ParseProxyUrl(e) => {
            format!("{file}: `proxy-url` (or HTTPS_PROXY) is not a URL: {e}")
        }
        KubeconfigError::LoadCertificateAuthority(e) => format!("{file}: certificate-authority: {e}"),
        KubeconfigError::LoadClientCertificate(e) => format!("{file}: client-certificate: {e}"),
        KubeconfigError::LoadClientKey(e) => format!("{file}: client-key: {e}"),
        KubeconfigError::ParseCertificates(e) => format!("{file}: certificate-authority is not PEM: {e}"),
        other => format!("{file}: {other}"),
    };
    ConnectError(text::clean(&words).into_owned())
}

/// A parser's several lines as one.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text::cap(&line, 300).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    async fn error(text: &str, context: Option<&str>) -> String {
        let file = file(text);
        load(Some(file.path()), context).await.map(|_| ()).unwrap_err().to_string()
    }

    const GOOD: &str = "
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true}}, {name: d, cluster: {server: 'https://h', certificate-authority: /nowhere/ca.crt}}]
users: [{name: u, user: {token: t}}, {name: v, user: {client-certificate: /nowhere/c.crt}}]
contexts: [{name: a, context: {cluster: c, user: u, namespace: shop}}, {name: b, context: {cluster: x, user: u}}, {name: d, context: {cluster: d, user: u}}, {name: v, context: {cluster: c, user: v}}, {name: w, context: {cluster: c, user: nobody}}]
";

    #[tokio::test]
    async fn says_what_is_wrong_and_where() {
        let missing = load(Some(Path::new("/nowhere/config")), None).await.map(|_| ()).unwrap_err();
        assert_eq!(missing.to_string(), "no such kubeconfig: /nowhere/config");
        assert!(error("clusters: [", None).await.contains("is not a valid kubeconfig"));
        assert!(error(GOOD, None).await.contains("no current-context"));
        assert!(error(GOOD, Some("z")).await.contains("there is no context \"z\"; it has a, b, d, v, w"));
        assert!(error(GOOD, Some("b")).await.contains("names the cluster \"x\""));
        assert!(error(GOOD, Some("d")).await.contains("certificate-authority"));
        assert!(error(GOOD, Some("v")).await.contains("client-certificate of user \"v\": /nowhere/c.crt"));
        assert!(error(GOOD, Some("w")).await.contains("names the user \"nobody\""));
    }

    #[tokio::test]
    async fn loads_a_context() {
        let file = file(GOOD);
        let loaded = load(Some(file.path()), Some("a")).await.unwrap();
        assert_eq!((loaded.context.as_str(), loaded.user.as_str()), ("a", "u"));
        assert_eq!(loaded.config.default_namespace, "shop");
        assert_eq!(contexts(Some(file.path())).unwrap().len(), 5);
    }
}
