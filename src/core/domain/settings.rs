//! The settings that result from the config file, the environment and the flags. None of them is an Option.

mod clusters;

use serde::{Deserialize, Serialize};

pub use self::clusters::{ClusterSet, ClusterSettings};
use super::traffic::Policy;

/// Everything that can be configured. `config.example.toml` parses to exactly [`Settings::default`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub ui: UiSettings,
    pub guards: GuardSettings,
    pub prometheus: PrometheusSettings,
    pub alertmanager: AlertmanagerSettings,
    pub logs: LogSettings,
    pub loki: LogServerSettings,
    pub victorialogs: LogServerSettings,
    pub traffic: TrafficSettings,
    pub history: HistorySettings,
    pub haproxy: Vec<super::haproxy::HaproxySettings>,
    /// In the order of the file.
    pub failover: Vec<super::failover::FailoverPlan>,
    pub silences: Vec<super::silence::Silence>,
    /// The sets of clusters, in the order of the file. [`Settings::of_cluster`] applies them.
    pub clusters: Vec<ClusterSet>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UiSettings {
    pub theme: String,
    /// Maximum number of frames per second.
    pub max_fps: u32,
    /// Plots are drawn with half blocks instead of braille.
    pub blocks: bool,
    /// The mouse selects rows, scrolls and presses the keys of the hint bar.
    pub mouse: bool,
    /// URLs are hyperlinks in terminals that know them.
    pub links: bool,
    /// Command id -> keys, which replace the command table's defaults.
    pub keys: std::collections::BTreeMap<String, Vec<String>>,
    /// Pane -> the ids of its columns, in the order in which they are shown.
    pub columns: std::collections::BTreeMap<String, Vec<String>>,
}

impl Default for UiSettings {
    fn default() -> Self {
        let none = std::collections::BTreeMap::new;
        Self {
            theme: "default".into(),
            max_fps: 20,
            blocks: false,
            mouse: true,
            links: true,
            keys: none(),
            columns: none(),
        }
    }
}

/// Settings that make a confirmation stricter, or refuse actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
pub struct GuardSettings {
    pub read_only: bool,
    /// Globs for names of contexts that are read-only, although others are not.
    pub read_only_contexts: Vec<String>,
    /// Globs for context names, in addition to the built-in ones.
    pub protected_contexts: Vec<String>,
    /// Globs for namespaces.
    pub protected_namespaces: Vec<String>,
}

/// Contexts that are always protected.
pub const BUILT_IN_PROTECTED: [&str; 3] = ["*prod*", "*prd*", "*live*"];

impl GuardSettings {
    /// Whether nothing may be changed in this context.
    pub fn reads_only(&self, context: &str) -> bool {
        self.read_only || self.read_only_contexts.iter().any(|g| glob(g, context))
    }

    pub fn protects_context(&self, context: &str) -> bool {
        BUILT_IN_PROTECTED.iter().any(|g| glob(g, context))
            || self.protected_contexts.iter().any(|g| glob(g, context))
    }

    pub fn protects_namespace(&self, namespace: &str) -> bool {
        self.protected_namespaces.iter().any(|g| glob(g, namespace))
    }
}

/// The address of a server that is read, and the credentials for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSettings {
    /// Base URL; empty: a Service of the cluster.
    pub url: String,
    /// `NAMESPACE/[https:]NAME:PORT[/PREFIX]` of the Service that is read through the API server; empty: none.
    pub service: String,
    /// If there is neither a URL nor a Service, one is searched for in the cluster.
    pub discover: bool,
    /// Environment variable with the bearer token; empty: none.
    pub token_env: String,
    /// File with the bearer token; empty: none.
    pub token_file: String,
    /// Name for basic authentication; empty: none.
    pub username: String,
    /// Environment variable with its password; empty: none.
    pub password_env: String,
    /// File with its password; empty: none.
    pub password_file: String,
    /// Headers of each query: a tenant's, or a gateway's.
    pub headers: std::collections::BTreeMap<String, String>,
    /// CA bundle in PEM; empty: the CAs of this machine.
    pub ca_file: String,
    /// Client certificate in PEM; empty: none.
    pub cert_file: String,
    /// Its key in PEM; empty: none.
    pub key_file: String,
    /// The certificate is not verified.
    pub insecure: bool,
    /// Proxy for all requests; empty: those of the environment.
    pub proxy_url: String,
    /// The config has a URL, but it is that of the first cluster, and these are the settings of another one.
    #[serde(skip)]
    pub is_left_out: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            service: String::new(),
            discover: true,
            token_env: String::new(),
            token_file: String::new(),
            username: String::new(),
            password_env: String::new(),
            password_file: String::new(),
            headers: std::collections::BTreeMap::new(),
            ca_file: String::new(),
            cert_file: String::new(),
            key_file: String::new(),
            insecure: false,
            proxy_url: String::new(),
            is_left_out: false,
        }
    }
}

impl ServerSettings {
    /// The settings for this URL.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Whether there is no address and none is searched for.
    pub fn is_off(&self) -> bool {
        self.url.is_empty() && self.service.is_empty() && !self.discover
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrometheusSettings {
    pub server: ServerSettings,
    pub poll_secs: u32,
    /// The window over which rates are computed.
    pub window_secs: u32,
    /// URL of the graph of a query, with `$query`, `$from`, `$to` and `$range`; empty: none.
    pub graph_url: String,
    /// `auto`, or names of presets in order.
    pub presets: Vec<String>,
    /// The service level objectives of the config.
    pub objectives: Vec<super::slo::Objective>,
    /// The Services that backends of HAProxies stand for, by the name of the backend.
    pub proxies: std::collections::BTreeMap<String, (super::id::Name, super::id::Name)>,
    /// The presets of the config.
    pub own_presets: Vec<super::preset::Preset>,
}

impl Default for PrometheusSettings {
    fn default() -> Self {
        Self {
            server: ServerSettings::default(),
            poll_secs: 10,
            window_secs: 60,
            graph_url: String::new(),
            presets: vec![super::preset::AUTO.into()],
            own_presets: Vec::new(),
            objectives: Vec::new(),
            proxies: std::collections::BTreeMap::new(),
        }
    }
}

/// The Alertmanager whose alerts and silences are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertmanagerSettings {
    pub server: ServerSettings,
    pub poll_secs: u32,
    /// If no Alertmanager is found, the alerting rules of the Prometheus are read.
    pub rules: bool,
    /// The URL under which people open it, for links; empty: that of the server.
    pub external_url: String,
}

impl Default for AlertmanagerSettings {
    fn default() -> Self {
        Self { server: ServerSettings::default(), poll_secs: 15, rules: true, external_url: String::new() }
    }
}

/// A log store that is queried: a Loki or a VictoriaLogs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogServerSettings {
    pub server: ServerSettings,
    pub poll_secs: u32,
    /// The query for the lines to read; empty: error lines of all streams.
    pub query: String,
    /// How far back the first query reads, in minutes.
    pub since_mins: u32,
    /// Maximum number of lines of one query.
    pub limit: u32,
}

impl Default for LogServerSettings {
    fn default() -> Self {
        Self {
            server: ServerSettings::default(),
            poll_secs: 10,
            query: String::new(),
            since_mins: 15,
            limit: 5000,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogSettings {
    pub enabled: bool,
    /// Maximum number of pods whose logs are followed at the same time.
    pub max_streams: u32,
    /// The log store's memory for lines, in MiB.
    pub memory_mib: u32,
    /// Name -> regular expression of the parts of a line that are masked before lines are grouped.
    pub masks: std::collections::BTreeMap<String, String>,
    /// Words that are never masked.
    pub unmasked: Vec<String>,
    /// URL of a trace, with `{trace_id}` for the value of a line's field; empty: none.
    pub trace_url: String,
    /// Files that are followed as well; by flags only.
    pub files: Vec<std::path::PathBuf>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            max_streams: 50,
            memory_mib: 16,
            masks: std::collections::BTreeMap::new(),
            unmasked: Vec::new(),
            trace_url: String::new(),
            files: Vec::new(),
        }
    }
}

/// What is kept of the past for the timeline and the movable clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistorySettings {
    /// The memory for the history of each cluster, in MiB; 0: no history.
    pub memory_mib: u32,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self { memory_mib: 4 }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficSettings {
    /// How requests are balanced, by `NAMESPACE/NAME` of a Service or a glob for it. It overrides what was discovered.
    pub balancing: std::collections::BTreeMap<String, Policy>,
    /// URL of a Service's dashboard, with `$namespace` and `$service` for its names; empty: none.
    pub grafana_url: String,
}

/// Shell-style matching with `*` and `?`. It ignores case, because a context named PROD is also a production context.
pub fn glob(pattern: &str, text: &str) -> bool {
    super::glob::matches(&pattern.to_lowercase(), &text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, want) in [
            ("*prod*", "eu-PROD-1", true),
            ("*prod*", "staging", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn production_is_protected_without_a_config() {
        let guards = GuardSettings::default();
        assert!(guards.protects_context("gke_prod_eu"));
        assert!(guards.protects_context("live-1"));
        assert!(!guards.protects_context("test"));
    }
}
