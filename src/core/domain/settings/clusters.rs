//! The sets of clusters of the config (`[clusters.NAME]`), and the settings of one cluster that result from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ServerSettings, Settings, glob};

/// A named set of clusters. Its settings apply to each of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterSet {
    pub name: String,
    /// Globs for names of contexts.
    pub contexts: Vec<String>,
    /// Context -> the name that is shown for it.
    pub names: BTreeMap<String, String>,
    /// The colour of the names, as a theme writes colours; empty: the theme's colour for contexts.
    pub colour: String,
    /// Actions need one confirmation level higher.
    pub protected: bool,
    /// Nothing but reads and access reviews is sent.
    pub read_only: bool,
    /// The console opens the set if the command line names no context.
    pub open: bool,
    /// Context -> the URL of its server.
    pub prometheus: BTreeMap<String, String>,
    pub alertmanager: BTreeMap<String, String>,
    pub loki: BTreeMap<String, String>,
    pub victorialogs: BTreeMap<String, String>,
}

impl ClusterSet {
    /// Whether the context belongs to the set.
    pub fn has(&self, context: &str) -> bool {
        self.contexts.iter().any(|pattern| glob(pattern, context))
    }
}

/// One cluster with the settings that apply to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterSettings {
    /// The context of the kubeconfig.
    pub context: String,
    /// The name that is shown: that of the config, or the context.
    pub name: String,
    /// The sets that the cluster belongs to, in the order of the config.
    pub sets: Vec<String>,
    /// The colour of the name, as a theme writes colours; empty: the theme's colour for contexts.
    pub colour: String,
    /// All settings as they are for this cluster: its guards (`guards.read_only` includes the read-only sets), and the
    /// addresses of its servers.
    pub settings: Arc<Settings>,
}

impl ClusterSettings {
    /// Returns the settings for one of several clusters that share this process's limits on log streams and their memory.
    #[must_use]
    pub fn shared(mut self, among: usize) -> Self {
        let among = u32::try_from(among).unwrap_or(u32::MAX).max(1);
        if among > 1 {
            let logs = &mut Arc::make_mut(&mut self.settings).logs;
            logs.max_streams = (logs.max_streams / among).max(1);
            logs.memory_mib = (logs.memory_mib / among).max(1);
        }
        self
    }
}

/// Returns what the first set that has something says.
fn first<'s, T>(sets: &[&'s ClusterSet], says: impl FnMut(&'s ClusterSet) -> Option<T>) -> Option<T> {
    sets.iter().copied().find_map(says)
}

/// The address of a server is that of one cluster. The settings that are the same for each cluster stay.
fn elsewhere(server: &ServerSettings) -> ServerSettings {
    ServerSettings {
        service: server.service.clone(),
        discover: server.discover,
        is_left_out: server.is_left_out || !server.url.is_empty(),
        ..ServerSettings::default()
    }
}

impl Settings {
    /// Returns the settings of the cluster of a context. `is_first` tells whether it is the first one that is opened: an
    /// address of the sections `[prometheus]`, `[alertmanager]`, `[loki]`, `[victorialogs]` and `[haproxy]`, and the log
    /// files, are those of the first cluster, because another cluster can have objects of the same names. So are the
    /// failover plans that name no context.
    pub fn of_cluster(&self, context: &str, is_first: bool) -> ClusterSettings {
        let sets: Vec<&ClusterSet> = self.clusters.iter().filter(|set| set.has(context)).collect();
        let mut settings = self.clone();
        settings.guards = self.all_guards();
        settings.guards.read_only |= settings.guards.reads_only(context);
        let server = |general: &ServerSettings, url: Option<&String>| match url {
            Some(url) => ServerSettings {
                url: url.clone(),
                service: String::new(),
                is_left_out: false,
                ..general.clone()
            },
            None if is_first => general.clone(),
            None => elsewhere(general),
        };
        let url = |of: fn(&ClusterSet) -> &BTreeMap<String, String>| first(&sets, |set| of(set).get(context));
        settings.prometheus.server = server(&self.prometheus.server, url(|set| &set.prometheus));
        settings.alertmanager.server = server(&self.alertmanager.server, url(|set| &set.alertmanager));
        settings.loki.server = server(&self.loki.server, url(|set| &set.loki));
        settings.victorialogs.server = server(&self.victorialogs.server, url(|set| &set.victorialogs));
        settings.failover.retain(|plan| plan.is_for(context, is_first));
        if !is_first {
            settings.alertmanager.external_url.clear();
            settings.haproxy.clear();
            settings.logs.files.clear();
        }
        ClusterSettings {
            context: context.to_owned(),
            name: first(&sets, |set| set.names.get(context)).cloned().unwrap_or_else(|| context.to_owned()),
            sets: sets.iter().map(|set| set.name.clone()).collect(),
            colour: first(&sets, |set| Some(&set.colour).filter(|c| !c.is_empty()))
                .cloned()
                .unwrap_or_default(),
            settings: Arc::new(settings),
        }
    }

    /// Returns the guards with the contexts of the sets that are protected or read-only. A set never loosens a guard.
    pub fn all_guards(&self) -> super::GuardSettings {
        let mut guards = self.guards.clone();
        for set in &self.clusters {
            if set.protected {
                guards.protected_contexts.extend(set.contexts.iter().cloned());
            }
            if set.read_only {
                guards.read_only_contexts.extend(set.contexts.iter().cloned());
            }
        }
        guards
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failover::{FailoverKind, FailoverPlan, Pick, Standby};

    fn set(name: &str, contexts: &[&str]) -> ClusterSet {
        let contexts = contexts.iter().map(|&glob| glob.to_owned()).collect();
        ClusterSet { name: name.into(), contexts, ..ClusterSet::default() }
    }

    fn table(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn sets_make_guards_stricter_and_never_looser() {
        let mut settings = Settings {
            clusters: vec![
                ClusterSet { read_only: true, ..set("audit", &["*-audit"]) },
                ClusterSet { protected: true, ..set("eu", &["eu-*"]) },
                set("rest", &["*"]),
            ],
            ..Settings::default()
        };
        for (context, read_only, protected) in [
            ("eu-1", false, true),
            ("EU-2", false, true),
            ("eu-audit", true, true),
            ("us-audit", true, false),
            ("us-1", false, false),
            ("us-prod", false, true),
        ] {
            let of = settings.of_cluster(context, true);
            let guards = &of.settings.guards;
            assert_eq!(
                (guards.read_only, guards.protects_context(context)),
                (read_only, protected),
                "{context}"
            );
            assert!(guards.protects_context("eu-9"), "{context}: the guards know the other clusters");
            assert!(guards.reads_only("x-audit"), "{context}: and which of them are read-only");
            assert_eq!(guards.reads_only("us-1"), read_only, "{context}");
        }
        settings.guards.read_only = true;
        assert!(
            settings.of_cluster("us-1", false).settings.guards.read_only,
            "--read-only is for each of them"
        );
    }

    #[test]
    fn the_first_set_that_says_something_counts() {
        let long = "arn:aws:eks:eu-west-1:1:cluster/shop";
        let settings = Settings {
            clusters: vec![
                set("all", &["*"]),
                ClusterSet {
                    colour: "blue".into(),
                    names: table(&[(long, "shop")]),
                    ..set("eu", &["*eu-*"])
                },
                ClusterSet {
                    colour: "red".into(),
                    names: table(&[(long, "other")]),
                    ..set("eks", &["arn:*"])
                },
            ],
            ..Settings::default()
        };
        let of = settings.of_cluster(long, true);
        assert_eq!((of.context.as_str(), of.name.as_str(), of.colour.as_str()), (long, "shop", "blue"));
        assert_eq!(of.sets, ["all", "eu", "eks"]);
        let of = settings.of_cluster("us-1", true);
        assert_eq!((of.name.as_str(), of.colour.as_str()), ("us-1", ""));
    }

    #[test]
    fn several_clusters_share_the_limits() {
        let settings = Settings::default();
        let of = |among| {
            let logs = settings.of_cluster("a", true).shared(among).settings.logs.clone();
            (logs.max_streams, logs.memory_mib)
        };
        assert_eq!([of(0), of(1), of(3), of(100)], [(50, 16), (50, 16), (16, 5), (1, 1)]);
    }

    #[test]
    fn a_failover_plan_is_that_of_one_cluster() {
        let plan = |name: &str, in_context: &str, to: Option<&str>| FailoverPlan {
            name: name.into(),
            kind: match to {
                None => FailoverKind::Evacuate(Pick::Zone("a".into())),
                Some(to) => FailoverKind::Standby(Standby {
                    context: to.into(),
                    workloads: Vec::new(),
                    shift: None,
                    scale_down: false,
                }),
            },
            watched: None,
            soak_secs: 0,
            suggested: false,
            in_context: in_context.into(),
        };
        let failover = vec![
            plan("unnamed", "", None),
            plan("eu-2", "eu-2", None),
            plan("all-eu", "eu-*", None),
            plan("to-2", "", Some("eu-2")),
            plan("eu-to-2", "eu-*", Some("eu-2")),
        ];
        let settings = Settings { failover, ..Settings::default() };
        for (context, is_first, names) in [
            ("eu-1", true, &["unnamed", "all-eu", "to-2", "eu-to-2"][..]),
            ("eu-1", false, &["all-eu", "eu-to-2"]),
            ("eu-2", false, &["eu-2", "all-eu"]),
            ("eu-2", true, &["unnamed", "eu-2", "all-eu"]),
            ("us-1", false, &[]),
            ("EU-1", false, &[]),
        ] {
            let of = settings.of_cluster(context, is_first).settings;
            let found: Vec<&str> = of.failover.iter().map(|plan| plan.name.as_str()).collect();
            assert_eq!(found, names, "{context} {is_first}");
        }
    }

    #[test]
    fn an_address_is_that_of_one_cluster() {
        let mut settings = Settings {
            clusters: vec![ClusterSet {
                prometheus: table(&[("eu-2", "http://two")]),
                ..set("eu", &["eu-*"])
            }],
            ..Settings::default()
        };
        let server = &mut settings.prometheus.server;
        (server.url, server.token_env) = ("http://one".into(), "TOKEN".into());
        settings.loki.server.service = "logs/loki:3100".into();
        settings.logs.files.push("app.log".into());
        let of = |context: &str, is_first: bool| {
            let of = settings.of_cluster(context, is_first).settings;
            let prometheus = &of.prometheus.server;
            assert_eq!(
                of.loki.server.service, "logs/loki:3100",
                "{context}: each cluster can have this Service"
            );
            assert_eq!(prometheus.is_left_out, prometheus.url.is_empty(), "{context} {is_first}");
            assert!(!of.loki.server.is_left_out, "{context}: the config names no address for it");
            (prometheus.url.clone(), prometheus.token_env.clone(), of.logs.files.len())
        };
        assert_eq!(of("eu-1", true), ("http://one".into(), "TOKEN".into(), 1));
        assert_eq!(of("eu-1", false), (String::new(), String::new(), 0), "eu-1 searches for its own");
        assert_eq!(of("eu-2", false), ("http://two".into(), "TOKEN".into(), 0));
        assert_eq!(of("eu-2", true), ("http://two".into(), "TOKEN".into(), 1));
    }
}
