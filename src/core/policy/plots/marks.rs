//! The marks of a plot: what happened to the object, and to the objects that it consists of.

use std::collections::BTreeSet;

use crate::domain::change::ChangeKind;
use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::time::Stamp;
use crate::facts::world::{Cluster, World};

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    Rollout,
    Scaling,
    /// Another change of the object.
    Change,
    /// An action of a console.
    Action,
}

impl MarkKind {
    /// The letter at the axis.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Rollout => "R",
            Self::Scaling => "S",
            Self::Change => "C",
            Self::Action => "A",
        }
    }

    fn of(change: &ChangeKind) -> Self {
        match change {
            ChangeKind::Rollout { .. } | ChangeKind::SameImages | ChangeKind::Restarted => Self::Rollout,
            ChangeKind::Scaled { .. } | ChangeKind::Autoscaled(_) | ChangeKind::Bound { .. } => Self::Scaling,
            _ => Self::Change,
        }
    }
}

/// A moment at which something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub at: Stamp,
    pub kind: MarkKind,
    pub words: String,
}

/// The names of objects, by kind.
type Objects = BTreeSet<(String, Name, Name)>;

fn key(kind: &Kind, namespace: &Name, name: &Name) -> (String, Name, Name) {
    (kind.as_str().to_owned(), namespace.clone(), name.clone())
}

/// Returns the object and those that it consists of: the workloads behind a Service, the workload of a pod, the target of
/// an autoscaler, and the autoscalers of all of them.
fn related(cluster: &Cluster, object: &ObjectRef) -> Objects {
    let mut found = Objects::new();
    found.insert(key(&object.kind, &object.namespace, &object.name));
    let mut add_owner = |name: &str| {
        if let Some((kind, owner)) =
            cluster.pod(&object.namespace, name).and_then(|pod| cluster.top_owner(pod))
        {
            found.insert(key(&kind, &object.namespace, &owner));
        }
    };
    match object.kind {
        Kind::Pod => add_owner(&object.name),
        Kind::Service => {
            let is = |s: &&std::sync::Arc<crate::facts::world::ServiceRow>| {
                s.service.name == object.name && s.service.namespace == object.namespace
            };
            if let Some(row) = cluster.derived.services.iter().find(is) {
                row.pods.iter().for_each(|(pod, _)| add_owner(pod));
            }
        }
        _ => {}
    }
    for row in cluster.derived.hpas.iter().filter(|row| row.hpa.namespace == object.namespace) {
        let hpa = &row.hpa;
        let (own, target) = (
            key(&Kind::HorizontalPodAutoscaler, &hpa.namespace, &hpa.name),
            key(&hpa.target_kind, &hpa.namespace, &hpa.target_name),
        );
        if found.contains(&own) || found.contains(&target) {
            found.extend([own, target]);
        }
    }
    found
}

/// Returns what happened between two times, the oldest first.
pub fn marks(world: &World, cluster: &Cluster, object: &ObjectRef, from: Stamp, to: Stamp) -> Vec<Mark> {
    let related = related(cluster, object);
    let concerns = |other: &ObjectRef| related.contains(&key(&other.kind, &other.namespace, &other.name));
    let within = |at: Stamp| (from..=to).contains(&at);
    let changes =
        cluster.derived.changes.iter().filter(|change| within(change.at) && concerns(&change.object));
    let mut marks: Vec<Mark> = changes
        .map(|change| Mark {
            at: change.at,
            kind: MarkKind::of(&change.kind),
            words: format!("{} {}", change.object.name, change.kind),
        })
        .collect();
    let actions =
        world.actions.iter().filter(|action| action.cluster == object.cluster && within(action.started));
    marks.extend(actions.filter(|action| action.plan.intent.targets.iter().any(concerns)).map(|action| {
        Mark {
            at: action.started,
            kind: MarkKind::Action,
            words: format!("{} from here", action.plan.intent.act.as_str()),
        }
    }));
    marks.sort_by_key(|mark| (mark.at, mark.kind));
    marks
}
