//! All changes of the last hours, including the actions of the consoles on this machine, the newest first.

use std::sync::Arc;

use pilothouse_core::domain::id::{ClusterId, Name, ObjectRef, Uid};
use pilothouse_core::domain::plan::Fate;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{ActionView, Change, ChangeKind, Cluster, World};
use pilothouse_core::state::changes::{Told, fold_for_people};

use super::actions;
use crate::ui::cell::Grade;
use crate::ui::list::Spec;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Stamp,
    /// The object to open, or `None` for a line that stands for several objects.
    pub object: Option<ObjectRef>,
    /// The namespace of all objects that the line stands for. It is empty for the cluster or for several namespaces.
    namespace: Name,
    pub place: String,
    pub what: String,
    pub by: String,
    pub grade: Grade,
    key: Uid,
}

/// The inputs of the lines.
type Origin = (Arc<[Arc<Change>]>, Arc<[Arc<ActionView>]>);

/// The lines, the newest first, and their inputs.
#[derive(Debug, Default)]
pub struct Entries {
    pub list: Vec<Entry>,
    of: Option<Origin>,
}

impl Entries {
    /// Rebuilds the lines if an input has changed.
    pub fn refresh(&mut self, world: &World, cluster: &Cluster) {
        let changes = &cluster.derived.changes;
        let same = |(a, b): &Origin| Arc::ptr_eq(a, changes) && Arc::ptr_eq(b, &world.actions);
        if self.of.as_ref().is_some_and(same) {
            return;
        }
        self.of = Some((changes.clone(), world.actions.clone()));
        let done = world.actions.iter().filter(|a| a.is_of(cluster)).map(|a| action(a, cluster.id()));
        // evictions by an action are listed with the action
        let ours = |change: &Change| world.actions.iter().any(|a| a.is_of(cluster) && has_evicted(a, change));
        self.list =
            fold_for_people(changes).iter().filter(|c| !ours(&c.change)).map(change).chain(done).collect();
        self.list.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    }
}

/// Whether an action caused the evictions of a change: the pods were on its node, and the time is between its start
/// and one minute after its end.
fn has_evicted(action: &ActionView, change: &Change) -> bool {
    let ChangeKind::Evicted { node, .. } = &change.kind else { return false };
    let goes = |fate: Fate| matches!(fate, Fate::Evict | Fate::Wait);
    let until = action.ended.map(|at| at.plus_secs(60));
    change.at >= action.started.plus_secs(-5)
        && until.is_none_or(|until| change.at <= until)
        && action.plan.pods.iter().any(|p| p.node == *node && goes(p.fate))
}

fn change(told: &Told) -> Entry {
    let (change, what) = (&told.change, told.what());
    let object = told.object().cloned();
    let place = match &object {
        Some(o) if o.namespace.is_empty() => format!("{}/{}", o.kind.short(), o.name),
        Some(o) => format!("{}/{}/{}", o.namespace, o.kind.short(), o.name),
        // a change of several objects already contains their number
        None if change.object.namespace.is_empty() => {
            format!("{}s", change.object.kind.as_str().to_lowercase())
        }
        None => change.object.namespace.to_string(),
    };
    let grade = match change.kind {
        ChangeKind::Rollout { .. }
        | ChangeKind::Tainted { .. }
        | ChangeKind::Untainted { .. }
        | ChangeKind::Left => Grade::Warning,
        ChangeKind::Autoscaled(_) | ChangeKind::Joined => Grade::Fine,
        _ => Grade::Info,
    };
    Entry {
        at: change.at,
        key: Uid::Text(Name::from(format!("{} {place} {}", change.at.0, what))),
        object,
        namespace: change.object.namespace.clone(),
        place,
        what,
        by: change.by.as_ref().map(ToString::to_string).unwrap_or_default(),
        grade,
    }
}

/// Returns the line of an action of this cluster. Another process numbers clusters differently.
fn action(action: &ActionView, cluster: ClusterId) -> Entry {
    let (object, place) = match action.plan.intent.targets.as_slice() {
        [one] => (Some(ObjectRef { cluster, ..one.clone() }), one.to_string()),
        [] => (None, actions::title(action)),
        [first, ..] => {
            let targets = &action.plan.intent.targets;
            (None, format!("{} {}s", targets.len(), first.kind.as_str().to_lowercase()))
        }
    };
    let what = format!("{} {}: {}", action.plan.intent.act.as_str(), actions::state(action), action.message);
    Entry {
        at: action.started,
        namespace: Name::default(),
        place,
        object,
        what: what.trim_end_matches([' ', ':']).to_owned(),
        by: if action.foreign { "pilothouse, another process" } else { "this console" }.to_owned(),
        grade: actions::grade(action).max(Grade::Info),
        key: Uid::Text(Name::from(format!("action {}", action.id))),
    }
}

impl Entry {
    /// Returns the identity of a row.
    pub fn key(&self) -> Uid {
        self.key.clone()
    }

    /// Returns how likely the change is related to a problem.
    pub fn grade(&self) -> Grade {
        self.grade
    }

    /// Whether the line matches the filter and the namespace.
    pub fn passes(&self, spec: &Spec) -> bool {
        let here = |ns: &Name| match &self.object {
            Some(object) => object.namespace.is_empty() || object.namespace == *ns,
            None => self.namespace.is_empty() || self.namespace == *ns,
        };
        spec.namespace.as_ref().is_none_or(here) && spec.filter.passes(&[&self.place, &self.what, &self.by])
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::Kind;
    use pilothouse_core::domain::plan::{Act, Intent, Plan, PodFate};

    use super::*;

    #[test]
    fn evictions_of_an_action_are_told_by_the_action() {
        let pod = ObjectRef::new(ClusterId(0), Kind::Pod, &"shop".into(), &"web".into(), &Uid::default());
        let intent = Intent {
            cluster: ClusterId(0),
            context: "test".into(),
            act: Act::Drain(pilothouse_core::domain::plan::DrainOptions::default()),
            targets: Vec::new(),
        };
        let mut plan = Plan::new(intent, Stamp(0));
        let fate = |node: &str, fate| PodFate {
            pod: pod.clone(),
            node: node.into(),
            fate,
            reason: String::new(),
            owner: String::new(),
        };
        plan.pods = vec![fate("n1", Fate::Wait), fate("n2", Fate::Skip)];
        let mut drain = ActionView::new("a".into(), Arc::new(plan), Stamp::from_secs(100));
        let change = |node: &str, secs| Change {
            at: Stamp::from_secs(secs),
            kind: ChangeKind::Evicted { node: node.into(), pods: 3, cordoned_by: None },
            object: pod.clone(),
            by: None,
        };
        assert!(has_evicted(&drain, &change("n1", 101)));
        assert!(!has_evicted(&drain, &change("n1", 60)), "before it");
        assert!(!has_evicted(&drain, &change("n2", 101)), "nothing of that node goes");
        assert!(!has_evicted(&drain, &change("n3", 101)), "another node");
        drain.ended = Some(Stamp::from_secs(200));
        assert!(has_evicted(&drain, &change("n1", 230)), "its last one is seen a little later");
        assert!(!has_evicted(&drain, &change("n1", 900)), "somebody else, later");
    }
}
