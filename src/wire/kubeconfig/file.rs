//! One kubeconfig file, decoded as client-go does: absent, null and empty are the same, and unknown fields are ignored.
//! A number in place of a string is an error, and so are two entries with one name.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

/// The content of a file, or of several merged files. Maps are keyed by name.
#[derive(Clone, Debug, Default)]
pub(in crate::wire) struct File {
    pub current_context: String,
    pub clusters: BTreeMap<String, Cluster>,
    pub users: BTreeMap<String, User>,
    pub contexts: BTreeMap<String, Context>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::wire) struct Cluster {
    pub server: String,
    pub tls_server_name: String,
    pub insecure: bool,
    pub ca_file: String,
    pub ca_data: Vec<u8>,
    pub proxy_url: String,
    pub disable_compression: bool,
    /// The extension `client.authentication.k8s.io/exec`, which credential plugins get as part of the cluster.
    pub plugin_config: Option<Value>,
}

#[derive(Clone, Default, PartialEq)]
pub(in crate::wire) struct User {
    pub cert_file: String,
    pub cert_data: Vec<u8>,
    pub key_file: String,
    pub key_data: Vec<u8>,
    pub token: String,
    pub token_file: String,
    pub username: String,
    pub password: String,
    pub act_as: Impersonate,
    pub provider: Option<Provider>,
    pub exec: Option<Exec>,
}

/// The user that requests impersonate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonate {
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// `auth-provider`: only `oidc` still exists.
#[derive(Clone, Default, PartialEq)]
pub(in crate::wire) struct Provider {
    pub name: String,
    pub config: BTreeMap<String, String>,
}

/// A credential plugin.
#[derive(Clone, Default, PartialEq)]
pub(in crate::wire) struct Exec {
    pub command: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub api_version: String,
    pub install_hint: String,
    pub provide_cluster_info: bool,
    pub interactive_mode: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::wire) struct Context {
    pub cluster: String,
    pub user: String,
    pub namespace: String,
}

// logs must not show secrets
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exec").field("command", &self.command).finish_non_exhaustive()
    }
}

impl File {
    /// Reads a file's bytes. The error says which field is wrong, not which file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let options = serde_saphyr::options! {
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
            with_snippet: false,
        };
        let mut input = bytes;
        // as in kubectl, only the first of several documents counts
        let first = serde_saphyr::read_with_options::<_, Value>(&mut input, options).next();
        let root = match first {
            None => return Ok(Self::default()),
            Some(read) => read.map_err(|e| not_yaml(&e))?,
        };
        let root = At { value: &root, path: String::new() };
        if root.value.is_null() {
            return Ok(Self::default());
        }
        let kind = (root.text("apiVersion")?, root.text("kind")?);
        if !matches!(kind.0.as_str(), "" | "v1") || !matches!(kind.1.as_str(), "" | "Config") {
            return Err(format!("it is a {} of {}, not a Config of v1", kind.1, kind.0));
        }
        Ok(Self {
            current_context: root.text("current-context")?,
            clusters: root.named("clusters", "cluster", Cluster::read)?,
            users: root.named("users", "user", User::read)?,
            contexts: root.named("contexts", "context", Context::read)?,
        })
    }

    /// Makes the relative paths of a file in `folder` absolute.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        let absolute = |path: &mut String| {
            if !path.is_empty() && !Path::new(path.as_str()).is_absolute() {
                // `join` would keep the "./" of "./x"
                let relative = path.strip_prefix("./").unwrap_or(path).to_owned();
                *path = folder.join(relative).to_string_lossy().into_owned();
            }
        };
        for cluster in self.clusters.values_mut() {
            absolute(&mut cluster.ca_file);
        }
        for user in self.users.values_mut() {
            absolute(&mut user.cert_file);
            absolute(&mut user.key_file);
            absolute(&mut user.token_file);
            if let Some(exec) = &mut user.exec
                && exec.command.contains('/')
            {
                absolute(&mut exec.command);
            }
        }
    }

    /// Merges a later file of the list. For each name, the whole entry comes from the first file that has it.
    pub(crate) fn merge(&mut self, next: Self) {
        if self.current_context.is_empty() {
            self.current_context = next.current_context;
        }
        merge(&mut self.clusters, next.clusters);
        merge(&mut self.users, next.users);
        merge(&mut self.contexts, next.contexts);
    }
}

fn merge<T>(first: &mut BTreeMap<String, T>, next: BTreeMap<String, T>) {
    for (name, entry) in next {
        first.entry(name).or_insert(entry);
    }
}

impl Cluster {
    fn read(at: &At<'_>) -> Result<Self, String> {
        let extensions = at.named("extensions", "extension", |extension| Ok(extension.value.clone()))?;
        Ok(Self {
            server: at.text("server")?,
            tls_server_name: at.text("tls-server-name")?,
            insecure: at.flag("insecure-skip-tls-verify")?,
            ca_file: at.text("certificate-authority")?,
            ca_data: at.bytes("certificate-authority-data")?,
            proxy_url: at.text("proxy-url")?,
            disable_compression: at.flag("disable-compression")?,
            plugin_config: extensions.get("client.authentication.k8s.io/exec").cloned(),
        })
    }
}

impl User {
    fn read(at: &At<'_>) -> Result<Self, String> {
        let extra = match at.child("as-user-extra")? {
            None => BTreeMap::new(),
            Some(extra) => {
                extra.keys().map(|key| Ok((key.clone(), extra.texts(key)?))).collect::<Result<_, String>>()?
            }
        };
        let provider = match at.child("auth-provider")? {
            None => None,
            Some(provider) => Some(Provider {
                name: provider.text("name")?,
                config: match provider.child("config")? {
                    None => BTreeMap::new(),
                    Some(config) => config
                        .keys()
                        .map(|key| Ok((key.clone(), config.text(key)?)))
                        .collect::<Result<_, String>>()?,
                },
            }),
        };
        Ok(Self {
            cert_file: at.text("client-certificate")?,
            cert_data: at.bytes("client-certificate-data")?,
            key_file: at.text("client-key")?,
            key_data: at.bytes("client-key-data")?,
            token: at.text("token")?,
            token_file: at.text("tokenFile")?,
            username: at.text("username")?,
            password: at.text("password")?,
            act_as: Impersonate {
                user: at.text("as")?,
                uid: at.text("as-uid")?,
                groups: at.texts("as-groups")?,
                extra,
            },
            provider,
            exec: at.child("exec")?.map(|exec| Exec::read(&exec)).transpose()?,
        })
    }
}

impl Exec {
    fn read(at: &At<'_>) -> Result<Self, String> {
        let env = at
            .list("env")?
            .iter()
            .map(|entry| Ok((entry.text("name")?, entry.text("value")?)))
            .collect::<Result<_, String>>()?;
        Ok(Self {
            command: at.text("command")?,
            args: at.texts("args")?,
            env,
            api_version: at.text("apiVersion")?,
            install_hint: at.text("installHint")?,
            provide_cluster_info: at.flag("provideClusterInfo")?,
            interactive_mode: at.text("interactiveMode")?,
        })
    }
}

impl Context {
    fn read(at: &At<'_>) -> Result<Self, String> {
        Ok(Self { cluster: at.text("cluster")?, user: at.text("user")?, namespace: at.text("namespace")? })
    }
}

/// A value with its path in the file, for errors.
struct At<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> At<'a> {
    fn get(&self, key: &str) -> Result<Option<At<'a>>, String> {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        match self.value {
            Value::Null => Ok(None),
            Value::Object(map) => Ok(map.get(key).filter(|v| !v.is_null()).map(|value| At { value, path })),
            _ if self.path.is_empty() => Err("it is not a mapping (KEY: VALUE)".into()),
            _ => Err(format!("{} must be a mapping (KEY: VALUE)", self.path)),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &'a String> {
        self.value.as_object().into_iter().flat_map(|map| map.keys())
    }

    fn text(&self, key: &str) -> Result<String, String> {
        match self.get(key)? {
            None => Ok(String::new()),
            Some(At { value: Value::String(text), .. }) => Ok(text.clone()),
            Some(at) => Err(format!("{} must be a text: put it in quotes", at.path)),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, String> {
        match self.get(key)? {
            None => Ok(false),
            Some(At { value: Value::Bool(flag), .. }) => Ok(*flag),
            // the boolean words of YAML 1.1, which kubectl accepts
            Some(At { value: Value::String(word), path }) => match word.to_ascii_lowercase().as_str() {
                "yes" | "y" | "on" => Ok(true),
                "no" | "n" | "off" => Ok(false),
                _ => Err(format!("{path} must be true or false")),
            },
            Some(at) => Err(format!("{} must be true or false", at.path)),
        }
    }

    /// Base64 as Go decodes it: line breaks are allowed anywhere, and the padding must be correct.
    fn bytes(&self, key: &str) -> Result<Vec<u8>, String> {
        let text = self.text(key)?;
        let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        let config = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
        let place = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        GeneralPurpose::new(&STANDARD, config)
            .decode(joined)
            .map_err(|e| format!("{place} is not base64: {e}"))
    }

    fn list(&self, key: &str) -> Result<Vec<At<'a>>, String> {
        match self.get(key)? {
            None => Ok(Vec::new()),
            Some(At { value: Value::Array(items), path }) => Ok(items
                .iter()
                .enumerate()
                .map(|(n, value)| At { value, path: format!("{path}[{n}]") })
                .collect()),
            Some(at) => Err(format!("{} must be a list", at.path)),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        self.list(key)?
            .into_iter()
            .map(|at| match at.value {
                Value::String(text) => Ok(text.clone()),
                Value::Null => Ok(String::new()),
                _ => Err(format!("{} must be a text: put it in quotes", at.path)),
            })
            .collect()
    }

    fn child(&self, key: &str) -> Result<Option<At<'a>>, String> {
        match self.get(key)? {
            Some(at) if !at.value.is_object() => Err(format!("{} must be a mapping (KEY: VALUE)", at.path)),
            other => Ok(other),
        }
    }

    /// A list of `{name: NAME, KEY: ENTRY}`.
    fn named<T>(
        &self,
        list: &str,
        key: &str,
        read: impl Fn(&At<'_>) -> Result<T, String>,
    ) -> Result<BTreeMap<String, T>, String> {
        let mut found = BTreeMap::new();
        for item in self.list(list)? {
            let name = item.text("name")?;
            let empty = Value::Null;
            let path = format!("{list} {name:?}: {key}");
            let entry = match item.get(key)? {
                Some(entry) => At { value: entry.value, path },
                None => At { value: &empty, path },
            };
            let entry = read(&entry)?;
            if found.insert(name.clone(), entry).is_some() {
                return Err(format!("{list} has the name {name:?} twice"));
            }
        }
        Ok(found)
    }
}

/// The position of a syntax error. Never the parser's message, because it can quote the text, which can have a token.
fn not_yaml(error: &serde_saphyr::Error) -> String {
    match error.location() {
        Some(at) => format!("it is not valid YAML at line {}, column {}", at.line(), at.column()),
        None => "it is not valid YAML".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(text: &str) -> Result<Cluster, String> {
        let file = File::parse(format!("clusters: [{{name: c, cluster: {text}}}]").as_bytes())?;
        Ok(file.clusters.get("c").cloned().unwrap())
    }

    #[test]
    fn empty_values_are_no_values() {
        for text in ["", "\n", "# nothing\n", "---\n", "null", "{}", "clusters: null\nusers: []\ncontexts:\n"]
        {
            let file = File::parse(text.as_bytes()).unwrap();
            assert!(file.clusters.is_empty() && file.users.is_empty(), "{text:?}");
        }
        assert_eq!(cluster("null").unwrap(), Cluster::default());
        assert_eq!(
            cluster("{server: null, certificate-authority-data: '', insecure-skip-tls-verify: null, extensions: null}")
                .unwrap(),
            Cluster::default()
        );
    }

    #[test]
    fn forms_of_base64() {
        let data =
            |text: &str| cluster(&format!("{{certificate-authority-data: {text}}}")).map(|c| c.ca_data);
        for (text, want) in [
            ("aGVsbG8=", Ok("hello")),
            ("\"aGVs\\nbG8=\\n\"", Ok("hello")),
            ("\"aGVs\\r\\nbG8=\"", Ok("hello")),
            ("aGVsbG9=", Ok("hello")),
            ("aGVsbG8", Err(())),
            ("'aGVs bG8='", Err(())),
            ("_-==", Err(())),
        ] {
            let got = data(text);
            assert_eq!(got.clone().map_err(|_| ()), want.map(|w| w.as_bytes().to_vec()), "{text}: {got:?}");
        }
    }

    #[test]
    fn errors_name_the_field() {
        for (text, words) in [
            ("clusters: [{name: c, cluster: {server: 7}}]", "clusters \"c\": cluster.server must be a text"),
            ("users: [{name: u, user: {token: 12}}]", "user.token must be a text"),
            ("users: [{name: u}, {name: u}]", "users has the name \"u\" twice"),
            ("clusters: {}", "clusters must be a list"),
            ("kind: Pod", "not a Config"),
            ("[]", "not a mapping"),
            ("clusters: [{name: c, cluster: {insecure-skip-tls-verify: maybe}}]", "true or false"),
        ] {
            let error = File::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(File::parse(b"clusters: [").is_err());
        let broken = b"users:\n- name: u\n  user:\n    token: TOPSECRET\n   client-key: x\n";
        let error = File::parse(broken).unwrap_err();
        assert!(error.starts_with("it is not valid YAML at line "), "{error}");
        for token in [
            "*TOPSECRET",
            "TOPSECRET: x",
            "'TOPSECRET",
            "!!TOPSECRET x",
            "[TOPSECRET",
            "{TOPSECRET: 1}",
            "12TOPSECRET\n",
        ] {
            if let Err(error) =
                File::parse(format!("users: [{{name: u, user: {{token: {token}}}}}]").as_bytes())
            {
                assert!(!error.contains("TOPSECRET"), "{error}");
            }
        }
        assert!(File::parse(b"\xff\xfe\xfd").is_err());
    }

    #[test]
    fn the_first_document_counts() {
        let file = File::parse(b"current-context: a\n---\ncurrent-context: b\n").unwrap();
        assert_eq!(file.current_context, "a");
    }

    #[test]
    fn the_first_file_gives_the_whole_entry() {
        let mut first = File::parse(b"users: [{name: u, user: {username: a}}]").unwrap();
        let next = b"current-context: x\nusers: [{name: u, user: {username: b, password: p}}, {name: v}]";
        first.merge(File::parse(next).unwrap());
        let user = first.users.get("u").unwrap();
        assert_eq!((user.username.as_str(), user.password.as_str()), ("a", ""));
        assert_eq!((first.users.len(), first.current_context.as_str()), (2, "x"));
    }

    #[test]
    fn paths_are_relative_to_their_file() {
        let mut file = File::parse(
            b"users: [{name: u, user: {client-certificate: c.crt, client-key: /k, tokenFile: ../t, exec: {command: ./p}}}, {name: v, user: {exec: {command: p}}}]",
        )
        .unwrap();
        file.resolve(Path::new("/home/me/.kube"));
        let user = file.users.get("u").unwrap();
        assert_eq!(
            [&user.cert_file, &user.key_file, &user.token_file, &user.exec.as_ref().unwrap().command],
            ["/home/me/.kube/c.crt", "/k", "/home/me/.kube/../t", "/home/me/.kube/p"]
        );
        assert_eq!(file.users.get("v").unwrap().exec.as_ref().unwrap().command, "p");
    }
}
