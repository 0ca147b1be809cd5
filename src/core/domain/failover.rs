//! Failover plans: written into the config by a team, or offered for what a cluster has.

use serde::{Deserialize, Serialize};

use super::id::{Kind, Name, ObjectRef, Uid};

/// A named way to move traffic or load away from what is broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailoverPlan {
    pub name: Name,
    pub kind: FailoverKind,
    /// Stops the run when this Service's errors rise over its limit.
    pub watched: Option<Watched>,
    /// How long to look after each shift, in seconds.
    pub soak_secs: u32,
    /// True if nobody wrote it: worked out from the cluster.
    #[serde(default)]
    pub suggested: bool,
}

/// Whose errors stop a failover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    pub namespace: Name,
    pub service: Name,
    /// 5 = five requests of a hundred.
    pub max_error_percent: f64,
}

/// The ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailoverKind {
    /// Blue/green: labels of the Service's selector from one value to another.
    Selector { namespace: Name, service: Name, from: Vec<(Name, Name)>, to: Vec<(Name, Name)> },
    /// The weights of two backends of a route, in steps.
    Weight(WeightShift),
    /// Nodes are emptied.
    Evacuate(Pick),
    /// Another cluster takes over: scaled up there, awaited, shifted, scaled down here.
    Standby(Standby),
}

impl FailoverPlan {
    /// Whether it moves this Service's traffic, or somebody wrote it: what the cluster offers for zones does not.
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

/// The share of one backend goes over to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightShift {
    /// HTTPRoute, VirtualService or TraefikService.
    pub kind: Kind,
    pub namespace: Name,
    pub route: Name,
    /// Names of backends: Services, or hosts of a VirtualService (with `/subset` if it has one).
    pub from: Name,
    pub to: Name,
    /// What `to` gets of the two's weight, in percent, ascending, the last usually 100.
    pub steps: Vec<u8>,
}

impl WeightShift {
    pub fn object(&self) -> ObjectRef {
        ObjectRef::new(self.kind.clone(), &self.namespace, &self.route, &Uid::default())
    }
}

/// Which nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    Nodes(Vec<Name>),
    /// `topology.kubernetes.io/zone`
    Zone(Name),
    /// The pool as the node list shows it.
    Pool(Name),
}

/// The other cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standby {
    pub context: Name,
    /// Deployments and StatefulSets that are there under the same name in both clusters.
    pub workloads: Vec<(Kind, Name, Name)>,
    /// How traffic moves over, in this cluster; None = it is moved elsewhere (DNS), and the run only scales.
    pub shift: Option<WeightShift>,
    /// To 0 here, at the end.
    pub scale_down: bool,
}

fn labels(of: &[(Name, Name)]) -> String {
    of.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

/// In words: `selector of shop/web from version=blue to version=green`.
impl std::fmt::Display for FailoverKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Selector { namespace, service, from, to } => {
                write!(f, "selector of {namespace}/{service} from {} to {}", labels(from), labels(to))
            }
            Self::Weight(shift) => {
                write!(f, "weight of {} from {} to {}", shift.object(), shift.from, shift.to)
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
