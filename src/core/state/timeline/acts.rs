//! The lines about what people do: actions, and the steps of incidents.

use super::{Line, LineKind, What};
use crate::domain::id::{Name, ObjectRef};
use crate::domain::incident::IncidentStep;
use crate::domain::plan::Fate;
use crate::domain::time::Stamp;
use crate::facts::world::{ActionView, Change, ChangeKind, Cluster, Outcome, Severity, World};

/// Whether an action caused the evictions of a change: the pods were on its node, and the time is between its start
/// and one minute after its end.
pub(super) fn has_evicted(action: &ActionView, change: &Change) -> bool {
    let ChangeKind::Evicted { node, .. } = &change.kind else { return false };
    let goes = |fate: Fate| matches!(fate, Fate::Evict | Fate::Wait);
    let until = action.ended.map(|at| at.plus_secs(60));
    change.at >= action.started.plus_secs(-5)
        && until.is_none_or(|until| change.at <= until)
        && action.plan.pods.iter().any(|p| p.node == *node && goes(p.fate))
}

/// The start and the end of each action.
pub(super) fn actions(world: &World, cluster: &Cluster, all: &mut Vec<Line>) {
    for action in world.actions.iter().filter(|action| action.is_of(cluster)) {
        // another process numbers clusters differently
        let object = match action.plan.intent.targets.as_slice() {
            [one] => Some(ObjectRef { cluster: cluster.id(), ..one.clone() }),
            _ => None,
        };
        let by = if action.foreign { "pilothouse, another process" } else { "this console" };
        let mut start =
            Line::new(action.started, LineKind::Action, object.clone(), What::Started(action.clone()));
        (start.by, start.severity) = (Some(by.into()), Some(Severity::Info));
        if let Some(ended) = action.ended {
            let mut end = Line::new(ended, LineKind::Action, object, What::Finished(action.clone()));
            end.by = Some(by.into());
            end.severity = match action.outcome {
                Some(Outcome::Done) => Some(Severity::Info),
                _ => Some(Severity::Warning),
            };
            all.push(end);
        }
        all.push(start);
    }
}

/// The steps of each incident.
pub(super) fn incidents(cluster: &Cluster, all: &mut Vec<Line>) {
    for incident in cluster.derived.incidents.iter() {
        let mut say = |at: Option<Stamp>, step: IncidentStep, by: Option<&Name>| {
            let Some(at) = at else { return };
            let severity = match step {
                IncidentStep::Detected(_) | IncidentStep::Reopened => Some(Severity::Critical),
                IncidentStep::Recovered | IncidentStep::Closed => None,
                _ => Some(Severity::Info),
            };
            let what = What::Incident { id: incident.id, step };
            let mut line = Line::new(at, LineKind::Incident, None, what).severe(severity);
            line.by = by.cloned();
            all.push(line);
        };
        let began = Some(incident.began).filter(|began| *began < incident.detected);
        say(began, IncidentStep::Began, None);
        say(Some(incident.detected), IncidentStep::Detected(incident.by), None);
        if let Some((at, by)) = &incident.acknowledged {
            say(Some(*at), IncidentStep::Acknowledged, Some(by));
        }
        if let Some((at, how)) = &incident.diagnosed {
            say(Some(*at), IncidentStep::Diagnosed(how.clone()), None);
        }
        say(incident.reopened, IncidentStep::Reopened, None);
        say(incident.recovered, IncidentStep::Recovered, None);
        say(incident.closed, IncidentStep::Closed, None);
    }
}
