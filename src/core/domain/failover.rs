//! Failover plans: from the config, or suggested for the objects of a cluster.

use serde::{Deserialize, Serialize};

use super::glob;
use super::id::{ClusterId, Kind, Name, ObjectRef, Uid, write_object};

/// A named way to move traffic or load away from a failing part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailoverPlan {
    pub name: Name,
    pub kind: FailoverKind,
    /// The run stops if this Service's error rate exceeds its limit.
    pub watched: Option<Watched>,
    /// How long to watch after each shift, in seconds.
    pub soak_secs: u32,
    /// True if the plan is derived from the cluster's objects, not from the config.
    #[serde(default)]
    pub suggested: bool,
    /// The context of the cluster that a plan of the config is for, or a glob; empty: the first cluster.
    #[serde(default)]
    pub in_context: String,
}

/// The Service whose error rate stops a failover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    pub namespace: Name,
    pub service: Name,
    /// In percent: 5 means five of a hundred requests.
    pub max_error_percent: f64,
}

/// The kinds of failover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailoverKind {
    /// Blue/green: changes labels of the Service's selector.
    Selector { namespace: Name, service: Name, from: Vec<(Name, Name)>, to: Vec<(Name, Name)> },
    /// Changes the weights of two backends of a route, in steps.
    Weight(WeightShift),
    /// Drains nodes.
    Evacuate(Pick),
    /// Fails over to another cluster: scales up there, waits until it is ready, shifts the traffic, scales down here.
    Standby(Standby),
}

impl FailoverPlan {
    /// Whether `in_context` names this context. Case counts, because contexts that differ only in case are different
    /// clusters.
    pub fn names(&self, context: &str) -> bool {
        glob::matches(&self.in_context, context)
    }

    /// Whether a plan of the config is for the cluster of this context. A plan that fails over to another cluster is not
    /// for that one.
    pub fn is_for(&self, context: &str, is_first: bool) -> bool {
        let there = matches!(&self.kind, FailoverKind::Standby(standby) if standby.context == *context);
        !there && if self.in_context.is_empty() { is_first } else { self.names(context) }
    }

    /// Whether the plan moves this Service's traffic, or comes from the config. A suggested plan that drains a zone
    /// does neither.
    pub fn concerns(&self, namespace: &str, service: &str) -> bool {
        let watched = self.watched.as_ref();
        !self.suggested
            || watched.is_some_and(|w| w.namespace == namespace && w.service == service)
            || match &self.kind {
                FailoverKind::Selector { namespace: ns, service: name, .. } => {
                    *ns == namespace && *name == service
                }
                FailoverKind::Weight(shift) => {
                    shift.namespace == namespace && (shift.from == service || shift.to == service)
                }
                FailoverKind::Evacuate(_) | FailoverKind::Standby(_) => false,
            }
    }
}

impl FailoverKind {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Selector { .. } => "selector",
            Self::Weight(_) => "weight",
            Self::Evacuate(_) => "evacuate",
            Self::Standby(_) => "standby",
        }
    }
}

/// Moves the share of one backend to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightShift {
    /// HTTPRoute, VirtualService or TraefikService.
    pub kind: Kind,
    pub namespace: Name,
    pub route: Name,
    /// Names of backends: Services, or hosts of a VirtualService (with `/subset` if there is one).
    pub from: Name,
    pub to: Name,
    /// The share of `to` in the weight of both backends after each step, in percent, ascending; the last is usually
    /// 100.
    pub steps: Vec<u8>,
}

impl WeightShift {
    /// Returns the route in this cluster.
    pub fn object(&self, cluster: ClusterId) -> ObjectRef {
        ObjectRef::new(cluster, self.kind.clone(), &self.namespace, &self.route, &Uid::default())
    }
}

/// Selects nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    Nodes(Vec<Name>),
    /// `topology.kubernetes.io/zone`
    Zone(Name),
    /// The pool, named as in the list of nodes.
    Pool(Name),
}

/// The standby cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standby {
    pub context: Name,
    /// Deployments and StatefulSets that have the same name in both clusters.
    pub workloads: Vec<(Kind, Name, Name)>,
    /// How to move the traffic, in this cluster. None: it is moved elsewhere (DNS), and the run only scales.
    pub shift: Option<WeightShift>,
    /// Scale the workloads of this cluster to 0 at the end.
    pub scale_down: bool,
}

fn labels(of: &[(Name, Name)]) -> String {
    of.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

/// For example `selector of shop/web from version=blue to version=green`.
impl std::fmt::Display for FailoverKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Selector { namespace, service, from, to } => {
                write!(f, "selector of {namespace}/{service} from {} to {}", labels(from), labels(to))
            }
            Self::Weight(shift) => {
                f.write_str("weight of ")?;
                write_object(f, &shift.kind, &shift.namespace, &shift.route)?;
                write!(f, " from {} to {}", shift.from, shift.to)
            }
            Self::Evacuate(Pick::Zone(zone)) => write!(f, "evacuate zone {zone}"),
            Self::Evacuate(Pick::Pool(pool)) => write!(f, "evacuate pool {pool}"),
            Self::Evacuate(Pick::Nodes(nodes)) => {
                write!(f, "evacuate {}", nodes.iter().map(Name::as_str).collect::<Vec<_>>().join(", "))
            }
            Self::Standby(standby) => {
                for (i, (kind, namespace, name)) in standby.workloads.iter().enumerate() {
                    write!(f, "{}{namespace}/{}/{name}", if i > 0 { ", " } else { "" }, kind.short())?;
                }
                write!(f, " over to context {}", standby.context)
            }
        }
    }
}
