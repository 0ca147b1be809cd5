//! The table of the Kubernetes kinds that Pilothouse knows by name. It defines which kinds are watched, their names
//! in paths, on the screen and on the command line, and the permissions that each purpose needs.
//!
//! To watch another kind, write the type of its rows in a file of [`crate::domain`], add its entry and the line of
//! its table here, and add its decoder in a file of `wire::decode` of the main package. Recording, coverage,
//! `doctor`, the permissions and the watch follow from these.

mod purpose;
mod written;

use std::fmt;

use serde::Serialize;

pub use self::purpose::{Need, Purpose};
use super::id::Name;

const fn need(purpose: Purpose, verbs: &'static [&'static str], subresource: &'static str) -> Need {
    Need { purpose, verbs, subresource }
}

const SEE: Need = need(Purpose::See, &["list", "watch"], "");
const DESCRIBE: Need = need(Purpose::Describe, &["get"], "");

/// Whether a kind is watched while a cluster is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The kind is listed and watched. If the server does not have its API, the console looks for it again and again.
    Always,
    /// The kind is listed and watched in this namespace only.
    In(&'static str),
    /// The kind is read when a person or an action asks for it.
    OnDemand,
}

/// The API data of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// The API group, "" for core.
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    /// The kind of a list of these objects: `NodeList`.
    pub list: &'static str,
    /// kubectl's short names. The first one is shown, as in `deploy/checkout`.
    pub short: &'static [&'static str],
    /// Other short names that kubectl accepts. They are not shown, because the kind's own name is hardly longer.
    pub words: &'static [&'static str],
    pub namespaced: bool,
    pub watched: Watched,
    pub needs: &'static [Need],
}

impl KindInfo {
    const CORE: Self = Self {
        group: "",
        version: "v1",
        plural: "",
        list: "",
        short: &[],
        words: &[],
        namespaced: true,
        watched: Watched::OnDemand,
        needs: &[],
    };

    /// Returns the root of its paths: `/api/v1`, `/apis/apps/v1`.
    pub fn root(&self) -> String {
        match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }

    /// Returns the plural with its group, as RBAC and kubectl name it: `deployments.apps`, `nodes`.
    pub fn resource(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.plural, self.group)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        /// The kinds that Pilothouse knows by name. Any other kind is `Other`, with the Kind that the API spells.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
            Other(Name),
        }

        /// Every kind that Pilothouse knows by name.
        pub const KINDS: &[Kind] = &[$(Kind::$kind),*];

        impl Kind {
            /// Returns the Kind as the API spells it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                    Self::Other(name) => name,
                }
            }

            /// Returns the data of the kind in the table, or `None` if Pilothouse does not know the kind by name.
            pub fn info(&self) -> Option<&'static KindInfo> {
                match self {
                    $(Self::$kind => {
                        const INFO: &KindInfo = &KindInfo {
                            list: concat!(stringify!($kind), "List"),
                            $($field: $value,)*
                            ..KindInfo::CORE
                        };
                        Some(INFO)
                    })*
                    Self::Other(_) => None,
                }
            }
        }
    };
}

kinds! {
    Node {
        plural: "nodes", words: &["no"], namespaced: false, watched: Watched::Always,
        needs: &[SEE, DESCRIBE, need(Purpose::Cordon, &["get", "patch"], ""), need(Purpose::Evict, &["get"], "")],
    }
    Pod {
        plural: "pods", words: &["po"], watched: Watched::Always,
        needs: &[
            SEE,
            DESCRIBE,
            need(Purpose::Logs, &["get"], ""),
            need(Purpose::Logs, &["get"], "log"),
            need(Purpose::Evict, &["get", "list", "watch"], ""),
            need(Purpose::Delete, &["delete"], ""),
            need(Purpose::Evict, &["create"], "eviction"),
            need(Purpose::Rotation, &["get", "patch"], ""),
        ],
    }
    Deployment {
        group: "apps", plural: "deployments", short: &["deploy"], watched: Watched::Always,
        needs: &[
            SEE,
            DESCRIBE,
            need(Purpose::Restart, &["get", "patch"], ""),
            need(Purpose::Scale, &["get"], ""),
            need(Purpose::Scale, &["patch"], "scale"),
        ],
    }
    ReplicaSet {
        group: "apps", plural: "replicasets", short: &["rs"], watched: Watched::Always,
        needs: &[
            SEE,
            DESCRIBE,
            need(Purpose::Restart, &["get", "list"], ""),
            need(Purpose::Scale, &["get"], ""),
            need(Purpose::Scale, &["patch"], "scale"),
        ],
    }
    StatefulSet {
        group: "apps", plural: "statefulsets", short: &["sts"], watched: Watched::Always,
        needs: &[
            SEE,
            DESCRIBE,
            need(Purpose::Restart, &["get", "patch"], ""),
            need(Purpose::Scale, &["get"], ""),
            need(Purpose::Scale, &["patch"], "scale"),
        ],
    }
    DaemonSet {
        group: "apps", plural: "daemonsets", short: &["ds"], watched: Watched::Always,
        needs: &[
            SEE,
            DESCRIBE,
            need(Purpose::Evict, &["get"], ""),
            need(Purpose::Restart, &["get", "patch"], ""),
        ],
    }
    /// The revisions of a StatefulSet or a DaemonSet.
    ControllerRevision {
        group: "apps", plural: "controllerrevisions", needs: &[need(Purpose::Restart, &["get", "list"], "")],
    }
    Job { group: "batch", plural: "jobs", watched: Watched::Always, needs: &[SEE, DESCRIBE] }
    CronJob {
        group: "batch", plural: "cronjobs", short: &["cj"], watched: Watched::Always, needs: &[SEE, DESCRIBE],
    }
    Service {
        plural: "services", short: &["svc"], watched: Watched::Always,
        needs: &[
            SEE,
            DESCRIBE,
            need(Purpose::Metrics, &["get"], "proxy"),
            need(Purpose::Silence, &["create", "delete"], "proxy"),
            need(Purpose::Failover, &["get", "patch"], ""),
        ],
    }
    EndpointSlice {
        group: "discovery.k8s.io", plural: "endpointslices", watched: Watched::Always, needs: &[SEE, DESCRIBE],
    }
    HorizontalPodAutoscaler {
        group: "autoscaling", version: "v2", plural: "horizontalpodautoscalers", short: &["hpa"],
        watched: Watched::Always,
        needs: &[SEE, DESCRIBE, need(Purpose::Bounds, &["get", "patch"], "")],
    }
    PodDisruptionBudget {
        group: "policy", plural: "poddisruptionbudgets", short: &["pdb"], watched: Watched::Always,
        needs: &[SEE, DESCRIBE],
    }
    PersistentVolumeClaim {
        plural: "persistentvolumeclaims", short: &["pvc"], watched: Watched::Always, needs: &[SEE, DESCRIBE],
    }
    Event { plural: "events", words: &["ev"], watched: Watched::Always, needs: &[SEE] }
    /// Only the heartbeats of the kubelets are watched.
    Lease {
        group: "coordination.k8s.io", plural: "leases", watched: Watched::In("kube-node-lease"), needs: &[SEE],
    }
    Namespace {
        plural: "namespaces", short: &["ns"], namespaced: false,
        needs: &[need(Purpose::See, &["get", "list"], ""), DESCRIBE],
    }
    ResourceQuota {
        plural: "resourcequotas", short: &["quota"],
        needs: &[need(Purpose::Scale, &["list"], ""), need(Purpose::Bounds, &["list"], "")],
    }
    NodeMetrics {
        group: "metrics.k8s.io", version: "v1beta1", plural: "nodes", namespaced: false,
        needs: &[need(Purpose::Usage, &["list"], "")],
    }
    PodMetrics {
        group: "metrics.k8s.io", version: "v1beta1", plural: "pods", needs: &[need(Purpose::Usage, &["list"], "")],
    }
    /// A route of the Gateway API.
    HTTPRoute {
        group: "gateway.networking.k8s.io", plural: "httproutes", watched: Watched::Always,
        needs: &[SEE, DESCRIBE, need(Purpose::Failover, &["get", "list", "patch"], "")],
    }
    /// A route of Istio.
    VirtualService {
        group: "networking.istio.io", plural: "virtualservices", short: &["vs"], watched: Watched::Always,
        needs: &[SEE, DESCRIBE, need(Purpose::Failover, &["get", "list", "patch"], "")],
    }
    /// How Istio's proxies balance the requests to a Service.
    DestinationRule {
        group: "networking.istio.io", plural: "destinationrules", short: &["dr"], watched: Watched::Always,
        needs: &[SEE, DESCRIBE],
    }
    /// Weights of Traefik.
    TraefikService {
        group: "traefik.io", version: "v1alpha1", plural: "traefikservices", watched: Watched::Always,
        needs: &[SEE, DESCRIBE, need(Purpose::Failover, &["get", "list", "patch"], "")],
    }
    Ingress {
        group: "networking.k8s.io", plural: "ingresses", short: &["ing"], watched: Watched::Always,
        needs: &[SEE, DESCRIBE],
    }
    /// A rollout of Argo Rollouts.
    Rollout {
        group: "argoproj.io", version: "v1alpha1", plural: "rollouts", words: &["ro"], watched: Watched::Always,
        needs: &[SEE, DESCRIBE],
    }
    /// A canary of Flagger.
    Canary {
        group: "flagger.app", version: "v1beta1", plural: "canaries", watched: Watched::Always,
        needs: &[SEE, DESCRIBE],
    }
}

/// Passes the list of tables to the macro `$then`. Every watched kind has a table. A line has the kind, the type of its
/// rows, the field of the table (`cluster.pods`), and the variant of [`Fact`](crate::facts::event::Fact) that its rows
/// arrive in and are recorded as.
///
/// The facts, the tables, the dirty sets, the coverage of `snapshot`, and the lists and watches are generated from this
/// list. The kinds are listed and watched in its order.
#[macro_export]
macro_rules! with_tables {
    ($then:ident) => {
        $then! {
            Node: node::Node, nodes, Nodes;
            Pod: pod::Pod, pods, Pods;
            Lease: node::NodeLease, leases, Leases;
            Deployment: workload::Workload, deployments, Deployments;
            ReplicaSet: workload::Workload, replicasets, ReplicaSets;
            StatefulSet: workload::Workload, statefulsets, StatefulSets;
            DaemonSet: workload::Workload, daemonsets, DaemonSets;
            Job: workload::Workload, jobs, Jobs;
            CronJob: cronjob::CronJob, cronjobs, CronJobs;
            Service: service::Service, services, Services;
            EndpointSlice: service::EndpointSlice, slices, EndpointSlices;
            HorizontalPodAutoscaler: autoscaler::Hpa, hpas, Hpas;
            PodDisruptionBudget: budget::Pdb, pdbs, Pdbs;
            PersistentVolumeClaim: claim::Claim, claims, PersistentVolumeClaims;
            Event: event::KubeEvent, events, Events;
            HTTPRoute: route::Route, httproutes, HttpRoutes;
            VirtualService: route::Route, virtualservices, VirtualServices;
            DestinationRule: route::Route, destinationrules, DestinationRules;
            TraefikService: route::Route, traefikservices, TraefikServices;
            Ingress: route::Route, ingresses, Ingresses;
            Rollout: route::Route, rollouts, Rollouts;
            Canary: route::Route, canaries, Canaries;
        }
    };
}

pub use with_tables;

/// The kinds whose objects split traffic by weights.
pub const ROUTES: [Kind; 3] = [Kind::HTTPRoute, Kind::VirtualService, Kind::TraefikService];

impl Kind {
    /// Returns the kind with this name in the API. It never fails. Use [`Self::of`] if another group may have a kind
    /// of the same name.
    pub fn parse(text: &str) -> Self {
        let known = KINDS.iter().find(|kind| kind.as_str() == text);
        known.cloned().unwrap_or_else(|| Self::Other(Name::from(text)))
    }

    /// Returns the kind with this name in this group (`apps`, "" for core). A `Job` or `Service` of another group
    /// must not be treated as the built-in kind.
    pub fn of(text: &str, group: &str) -> Self {
        let kind = Self::parse(text);
        match kind.info() {
            Some(info) if info.group != group => Self::Other(Name::from(text)),
            _ => kind,
        }
    }

    /// Returns true if an action of this purpose writes to objects of this kind.
    pub fn takes(&self, purpose: Purpose) -> bool {
        let writes =
            |need: &&Need| need.verbs.iter().any(|verb| matches!(*verb, "create" | "patch" | "delete"));
        let needs = self.info().map(|info| info.needs).unwrap_or_default();
        needs.iter().filter(|need| need.purpose == purpose).any(|need| writes(&need))
    }

    /// Returns kubectl's short name, as used in `deploy/checkout`. If there is none, returns the kind in lower case.
    pub fn short(&self) -> String {
        let short = self.info().and_then(|info| info.short.first());
        short.map_or_else(|| self.as_str().to_lowercase(), ToString::to_string)
    }

    /// Parses the names that kubectl accepts: `deploy`, `deployment`, `deployments`, `deployment.apps`,
    /// `deployments.v1.apps`. Returns `None` for a kind of another group, such as `service.serving.knative.dev`.
    pub fn from_word(word: &str) -> Option<Self> {
        let lower = word.to_lowercase();
        let (base, group) = lower.split_once('.').map_or((lower.as_str(), None), |(b, g)| (b, Some(g)));
        let meant = |kind: &&Self| {
            kind.info().is_some_and(|info| {
                let named = info.plural == base
                    || kind.as_str().to_lowercase() == base
                    || info.short.iter().chain(info.words).any(|short| *short == base);
                named && group.is_none_or(|group| info.is_in(group))
            })
        };
        KINDS.iter().find(meant).cloned()
    }

    /// Returns false for a cluster-scoped kind. An unknown kind is treated as namespaced. Most kinds are.
    pub fn is_namespaced(&self) -> bool {
        self.info().is_none_or(|info| info.namespaced)
    }
}

impl KindInfo {
    /// Compares the text after the first dot like kubectl does. It is the group or its beginning, with an optional
    /// version before it.
    fn is_in(&self, text: &str) -> bool {
        let rest = text.strip_prefix(self.version).unwrap_or(text);
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        rest == self.group || (!rest.is_empty() && self.group.starts_with(&format!("{rest}.")))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_as_people_type_them() {
        for (word, kind) in [
            ("deployment.apps", Some(Kind::Deployment)),
            ("deployments.v1.apps", Some(Kind::Deployment)),
            ("STS", Some(Kind::StatefulSet)),
            ("no", Some(Kind::Node)),
            ("pods", Some(Kind::Pod)),
            ("nodes.metrics.k8s.io", Some(Kind::NodeMetrics)),
            ("ingressroutes", None),
            ("rollout", Some(Kind::Rollout)),
            ("ing", Some(Kind::Ingress)),
            ("service.serving.knative.dev", None),
            ("endpointslices.discovery", Some(Kind::EndpointSlice)),
            ("vs", Some(Kind::VirtualService)),
        ] {
            assert_eq!(Kind::from_word(word), kind, "{word}");
        }
        assert_eq!(Kind::parse("IngressRoute"), Kind::Other("IngressRoute".into()));
        assert_eq!(Kind::parse("Pod"), Kind::Pod);
        assert_eq!(Kind::of("Job", "batch"), Kind::Job);
        assert_eq!(Kind::of("Job", "batch.volcano.sh"), Kind::Other("Job".into()));
    }

    #[test]
    fn what_was_written_is_read_back_and_so_is_what_older_versions_wrote() {
        for kind in [Kind::Node, Kind::HTTPRoute, Kind::Other("Gateway".into()), Kind::Other("Job".into())] {
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<Kind>(&text).unwrap(), kind, "{text}");
        }
        assert_eq!(serde_json::from_str::<Kind>(r#"{"Other":"HTTPRoute"}"#).unwrap(), Kind::HTTPRoute);
        assert!(serde_json::from_str::<Kind>("7").is_err());
    }

    #[test]
    fn the_kinds_that_are_watched_have_a_table() {
        macro_rules! watched {
            ($($kind:ident: $module:ident::$row:ident, $table:ident, $fact:ident;)*) => {
                [$(Kind::$kind),*]
            };
        }
        let mut tables = with_tables!(watched);
        tables.sort();
        let is_watched = |kind: &&Kind| kind.info().unwrap().watched != Watched::OnDemand;
        assert_eq!(tables.as_slice(), KINDS.iter().filter(is_watched).cloned().collect::<Vec<_>>());
    }

    #[test]
    fn no_two_kinds_share_a_word_or_a_place_and_each_is_needed_for_something() {
        let mut words = Vec::new();
        for kind in KINDS {
            let info = kind.info().unwrap();
            assert!(!info.plural.is_empty() && !info.needs.is_empty(), "{kind}");
            let listed =
                info.needs.iter().any(|need| need.purpose == Purpose::See && need.verbs.contains(&"watch"));
            assert_eq!(listed, info.watched != Watched::OnDemand, "{kind}");
            words.extend(info.short.iter().chain(info.words).map(ToString::to_string));
            words.extend([info.resource(), kind.as_str().to_lowercase()]);
        }
        let all = words.len();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), all, "{words:?}");
    }
}
