//! The rollouts of Deployments, which their ReplicaSets tell: also those from before Pilothouse started.

use std::sync::Arc;

use super::{Changes, WINDOW_SECS};
use crate::domain::change::{Change, ChangeKind, Moved};
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::time::Stamp;
use crate::domain::workload::Workload;
use crate::facts::reduce::{Delta, Facts};

/// The ReplicaSets of one Deployment.
type Sets<'a> = [&'a Arc<Workload>];

impl Changes {
    /// Adds a rollout of a Deployment if its ReplicaSet is new, or if it became the current one again.
    pub fn replicaset(&mut self, facts: &Facts, sets: &Sets<'_>, delta: &Delta<Workload>, now: Stamp) {
        let Some(new) = delta.new.as_deref() else { return };
        let (Some(owner), Some(revision)) = (&new.owner, new.revision) else { return };
        if revision < 2 || owner.kind != Kind::Deployment {
            return;
        }
        let at = match delta.old.as_deref() {
            None => new.created,
            Some(old) if old.revision != new.revision => now,
            Some(_) => return,
        };
        if at < now.plus_secs(-WINDOW_SECS) {
            return;
        }
        // An existing ReplicaSet has an earlier template.
        let again = delta.old.is_some();
        let before = if again { lower(sets, revision) } else { replaced(sets, new, revision) };
        let kind = match before {
            Some(before) => self.rollout(&owner.uid, before, new, again),
            // It was rolled back to since, and may have been the first one.
            None if !again && lower(sets, revision).is_some() => return,
            None => ChangeKind::Rollout { moved: Moved::Revision(revision), back: again },
        };
        let deployment = facts.deployments.get(&owner.uid);
        let by = deployment
            .and_then(|d| d.rolled_out.as_ref())
            .filter(|c| c.at.0.abs_diff(at.0) < 60_000)
            .map(|c| c.manager.clone());
        let object = ObjectRef::new(self.cluster, Kind::Deployment, &new.namespace, &owner.name, &owner.uid);
        self.say(at, kind, object, by, now);
    }

    /// Adds the roll-back of a Deployment from before Pilothouse started. A Deployment was rolled back if its current ReplicaSet
    /// (the highest revision) was created before another of its ReplicaSets. Call it once, after the Deployments and the
    /// ReplicaSets were read.
    pub fn rolled_back(&mut self, deployment: &Workload, sets: &Sets<'_>, now: Stamp) {
        let current = sets.iter().filter(|rs| rs.revision.is_some()).max_by_key(|rs| rs.revision);
        let (Some(current), Some(last)) = (current, sets.iter().max_by_key(|rs| rs.created)) else { return };
        if last.created <= current.created {
            return;
        }
        let before = current.revision.and_then(|revision| lower(sets, revision));
        let (Some(before), Some(by)) = (before, &deployment.rolled_out) else { return };
        let is_later = |at: Stamp| at > last.created;
        // It was told when it happened, before the Deployments were read.
        let is_told =
            |c: &Arc<Change>| c.object.uid == deployment.uid && c.kind.is_rollout() && is_later(c.at);
        if !is_later(by.at) || self.list.iter().any(is_told) {
            return;
        }
        // If the same manager changed something else later, the time is that of the later change. The ReplicaSet that was left
        // was scaled down at the roll-back.
        let scaled_down = before.changed.as_ref().map(|changed| changed.at).filter(|at| is_later(*at));
        let (at, by) = match scaled_down {
            Some(at) if at < by.at => (at, None),
            _ => (by.at, Some(by.manager.clone())),
        };
        let kind = self.rollout(&deployment.uid, before, current, true);
        self.say(at, kind, deployment.reference(self.cluster), by, now);
    }

    /// Returns the change from one ReplicaSet of a Deployment to another.
    fn rollout(&self, deployment: &Uid, from: &Workload, to: &Workload, again: bool) -> ChangeKind {
        if from.images == to.images {
            return ChangeKind::SameImages;
        }
        let moved = Moved::between(&from.images, &to.images);
        // A roll-back that is undone goes on to the newer template again.
        let back = if again { to.created < from.created } else { self.was_left(deployment, &moved.tags().1) };
        ChangeKind::Rollout { moved, back }
    }

    /// Adds who made the rollouts of a Deployment that was read after its ReplicaSets.
    pub(super) fn name_author(&mut self, deployment: &Workload) {
        let Some(changed) = &deployment.rolled_out else { return };
        for change in self.list.iter_mut().filter(|c| c.object.uid == deployment.uid && c.by.is_none()) {
            if change.kind.is_rollout() && changed.at.0.abs_diff(change.at.0) < 60_000 {
                Arc::make_mut(change).by = Some(changed.manager.clone());
                self.dirty = true;
            }
        }
    }

    /// Returns true if the last rollout in the list that replaced this tag went on to a newer one.
    pub(super) fn was_left(&self, workload: &Uid, tag: &Name) -> bool {
        let left_forward = |c: &Arc<Change>| match &c.kind {
            ChangeKind::Rollout { moved, back } if moved.tags().0 == *tag => Some(!back),
            _ => None,
        };
        let mut of_workload = self.list.iter().filter(|c| c.object.uid == *workload);
        !tag.is_empty() && of_workload.find_map(left_forward).unwrap_or(false)
    }
}

/// Returns the ReplicaSet with the highest revision below this one.
fn lower<'a>(sets: &Sets<'a>, revision: i64) -> Option<&'a Arc<Workload>> {
    sets.iter().copied().filter(|rs| rs.revision.is_some_and(|r| r < revision)).max_by_key(|rs| rs.revision)
}

/// Returns the ReplicaSet that this one replaced when it was created. A ReplicaSet gets a new revision when a Deployment is rolled
/// back to it.
fn replaced<'a>(sets: &Sets<'a>, new: &Workload, revision: i64) -> Option<&'a Arc<Workload>> {
    let earlier = || sets.iter().copied().filter(|rs| rs.created < new.created);
    let lower = lower(sets, revision);
    if lower.is_some_and(|lower| lower.created > new.created) {
        // This one was rolled back to, and its first revision is not known any more.
        return earlier().max_by_key(|rs| rs.created);
    }
    if lower.is_some_and(|lower| lower.revision == Some(revision - 1)) {
        return lower;
    }
    // The one with the revision before was rolled back to, and has a higher one now.
    let again = earlier().filter(|rs| rs.revision.is_some_and(|r| r > revision)).max_by_key(|rs| rs.created);
    again.or(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ClusterId, Owner, Version};
    use crate::domain::node::ChangedBy;
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::state::ClusterState;

    #[test]
    fn a_deployment_that_is_read_after_its_replicasets_names_who_rolled_it_out() {
        let mut changes = Changes::new(ClusterId(0));
        for (id, name) in [(1, "web"), (2, "api")] {
            let moved = Moved::Image { from: format!("{name}:1").into(), to: format!("{name}:2").into() };
            let kind = ChangeKind::Rollout { moved, back: false };
            let object =
                ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &name.into(), &Uid::Uuid(id));
            changes.add(Change { at: Stamp::from_secs(100), kind, object, by: None }, Stamp::from_secs(110));
        }
        let by = ChangedBy { manager: "argocd".into(), at: Stamp::from_secs(101) };
        let web = Workload { uid: Uid::Uuid(1), rolled_out: Some(by), ..Workload::default() };
        changes.workload(&Delta { old: None, new: Some(Arc::new(web)) }, Stamp::from_secs(110));
        let told = changes.take(Stamp::from_secs(110)).unwrap();
        let by: Vec<_> = told.iter().map(|c| (c.object.name.as_str(), c.by.as_deref())).collect();
        assert!(by.contains(&("web", Some("argocd"))) && by.contains(&("api", None)), "{by:?}");
    }

    /// A ReplicaSet of Deployment `web`: the time of its creation, its revision, its tag, and when it was scaled last.
    type Set = (i64, i64, &'static str, i64);

    fn set(id: u128, (created, revision, tag, scaled): Set) -> Workload {
        let owner =
            Owner { kind: Kind::Deployment, name: "web".into(), uid: Uid::Uuid(1), group: "apps".into() };
        let scaler = ChangedBy { manager: "kube-controller-manager".into(), at: Stamp::from_secs(scaled) };
        Workload {
            kind: Kind::ReplicaSet,
            uid: Uid::Uuid(id),
            version: Version(revision.unsigned_abs()),
            created: Stamp::from_secs(created),
            revision: Some(revision),
            images: [Name::from(format!("web:{tag}"))].into(),
            owner: Some(Arc::new(owner)),
            changed: Some(scaler),
            ..Workload::default()
        }
    }

    fn deployment(rolled_out: i64) -> Workload {
        let rolled_out = Some(ChangedBy { manager: "ann".into(), at: Stamp::from_secs(rolled_out) });
        let (kind, uid) = (Kind::Deployment, Uid::Uuid(1));
        Workload { kind, uid, name: "web".into(), rolled_out, ..Workload::default() }
    }

    fn whole(rows: Vec<Workload>) -> [Batch<Workload>; 3] {
        let end = Batch::End { generation: 1, version: Version(1) };
        [Batch::Begin { generation: 1 }, Batch::Upsert(rows), end]
    }

    /// Applies these facts, and returns the changes.
    fn told(state: &mut ClusterState, facts: impl IntoIterator<Item = Fact>) -> Vec<String> {
        let now = Stamp::from_secs(100_000);
        for fact in facts {
            state.apply(fact, now);
        }
        state.publish(now, true);
        let words = |c: &Arc<Change>| {
            let back = if matches!(c.kind, ChangeKind::Rollout { back: true, .. }) { " back" } else { "" };
            format!("{}{back} {} {}", c.at.0 / 1000, c.kind, c.by.as_deref().unwrap_or("–"))
        };
        state.published().derived.changes.iter().map(words).collect()
    }

    /// What is told at the start of these ReplicaSets, of a Deployment whose template was changed at this time.
    fn told_at_the_start(sets: &[Set], rolled_out: i64, deployments_first: bool) -> Vec<String> {
        let mut state = ClusterState::new(ClusterInfo::default());
        let sets = sets.iter().zip(10..).map(|(of, id)| set(id, *of)).collect();
        let deployments = whole(vec![deployment(rolled_out)]).map(Fact::Deployments);
        let mut lists = [deployments, whole(sets).map(Fact::ReplicaSets)];
        if !deployments_first {
            lists.reverse();
        }
        let [first, second] = lists;
        told(&mut state, first);
        told(&mut state, second)
    }

    #[test]
    fn a_roll_back_before_the_start_is_told_whatever_is_read_first() {
        for first in [true, false] {
            let told = |sets: &[Set], rolled_out| told_at_the_start(sets, rolled_out, first);
            let rolled = told(&[(99_000, 1, "a", 0), (99_500, 2, "b", 99_510)], 99_500);
            assert_eq!(rolled, ["99500 rollout web a→b ann"]);
            // the one of `a` has become revision 3
            let b = (99_500, 2, "b", 99_810);
            let wanted = ["99800 back rollout web b→a ann", "99500 rollout web a→b –"];
            assert_eq!(told(&[(99_000, 3, "a", 0), b], 99_800), wanted);
            assert_eq!(told(&[(1_000, 3, "a", 0), b], 99_800), wanted, "`a` is older than what is told");
            let on = told(&[(99_000, 3, "a", 0), b, (99_900, 4, "c", 0)], 99_900);
            assert_eq!(on[0], "99900 rollout web a→c ann", "and on from there");
            // a, b, c, and back to b
            let c = (99_500, 3, "c", 99_810);
            let third = told(&[(98_000, 1, "a", 0), (99_000, 4, "b", 0), c], 99_800);
            let wanted =
                ["99800 back rollout web c→b ann", "99500 rollout web b→c –", "99000 rollout web a→b –"];
            assert_eq!(third, wanted);
            // what changed the template has changed something else since
            let old = told(&[(1_000, 3, "a", 0), (50_000, 2, "b", 60_000)], 99_800);
            assert_eq!(old, [""; 0], "it was more than six hours ago");
            let old = told(&[(1_000, 3, "a", 0), (90_000, 2, "b", 91_000)], 99_800);
            assert_eq!(old[0], "91000 back rollout web b→a –");
        }
    }

    #[test]
    fn a_roll_back_that_is_seen_before_the_deployments_are_read_is_told_once() {
        let mut state = ClusterState::new(ClusterInfo::default());
        let (a, b) = ((99_000, 1, "a", 0), (99_500, 2, "b", 0));
        told(&mut state, whole(vec![set(10, a), set(11, b)]).map(Fact::ReplicaSets));
        told(&mut state, [Fact::ReplicaSets(Batch::Upsert(vec![set(10, (99_000, 3, "a", 0))]))]);
        let told = told(&mut state, whole(vec![deployment(99_990)]).map(Fact::Deployments));
        assert_eq!(told, ["100000 back rollout web b→a ann", "99500 rollout web a→b –"]);
    }

    #[test]
    fn the_undo_of_a_roll_back_is_no_roll_back() {
        let mut state = ClusterState::new(ClusterInfo::default());
        let (a, b) = ((99_000, 1, "a", 0), (99_500, 2, "b", 0));
        told(&mut state, whole(vec![deployment(99_500)]).map(Fact::Deployments));
        told(&mut state, whole(vec![set(10, a), set(11, b)]).map(Fact::ReplicaSets));
        let is_current = |id, of: Set, revision| {
            [Fact::ReplicaSets(Batch::Upsert(vec![set(id, (of.0, revision, of.2, 0))]))]
        };
        let back = told(&mut state, is_current(10, a, 3));
        assert_eq!(back[0], "100000 back rollout web b→a –");
        let on = told(&mut state, is_current(11, b, 4));
        assert!(on.contains(&"100000 rollout web a→b –".to_owned()), "{on:?}");
    }
}
