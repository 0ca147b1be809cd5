//! The marks of a plot: what happened to the object, and to the objects that it consists of.

use std::collections::BTreeSet;

use crate::domain::change::ChangeKind;
use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::time::Stamp;
use crate::facts::history::Happened;
use crate::facts::world::{Cluster, World};

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    Rollout,
    Scaling,
    /// Another change of the object.
    Change,
    /// An alert began to fire.
    Alert,
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
            Self::Alert => "!",
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
    let past = cluster.derived.history.iter().filter_map(|moment| match &moment.what {
        Happened::AlertEnded(row) => Some(row),
        _ => None,
    });
    let alerts = cluster.derived.alerts.iter().chain(past).filter(|row| {
        row.alert.severity.is_some() && within(row.alert.since) && row.objects.iter().any(concerns)
    });
    marks.extend(alerts.map(|row| Mark {
        at: row.alert.since,
        kind: MarkKind::Alert,
        words: format!("alert {}", row.alert.name()),
    }));
    marks.sort_by_key(|mark| (mark.at, mark.kind));
    marks
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::alert::{Alert, AlertRow};
    use crate::domain::cause::Severity;
    use crate::domain::id::{ClusterId, Uid};
    use crate::facts::history::{History, Moment};

    #[test]
    fn the_alerts_of_the_object_are_marks_even_if_they_have_ended() {
        let object = |name: &str| {
            ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &name.into(), &Uid::default())
        };
        let row = |name: &str, of: &str, since: i64| {
            let labels = [(Name::from("alertname"), Name::from(name))].into();
            let since = Stamp::from_secs(since);
            let severity = Some(Severity::Warning);
            let alert = Alert { fingerprint: name.into(), labels, severity, since, ..Alert::default() };
            let objects = [object(of)].into();
            Arc::new(AlertRow { alert: Arc::new(alert), objects, namespace: "shop".into() })
        };
        let mut cluster = Cluster::default();
        cluster.derived.alerts =
            [row("Slow", "web", 20), row("Other", "cart", 20), row("Old", "web", 5)].into();
        let mut history = History::default();
        let what = Happened::AlertEnded(row("Down", "web", 12));
        history.add(Moment { at: Stamp::from_secs(15), what });
        cluster.derived.history = Arc::new(history);
        let (from, to) = (Stamp::from_secs(10), Stamp::from_secs(30));
        let marks = marks(&World::default(), &cluster, &object("web"), from, to);
        let told: Vec<(i64, &str, &str)> =
            marks.iter().map(|mark| (mark.at.0 / 1_000, mark.kind.letter(), mark.words.as_str())).collect();
        assert_eq!(told, [(12, "!", "alert Down"), (20, "!", "alert Slow")]);
    }
}
