//! The changes of the last hours: rollouts, scalings, autoscaler edits, and nodes that joined, left, were cordoned or
//! changed state. At the start, the list is filled from the timestamps in the objects.

mod rollouts;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::autoscaler::Hpa;
use crate::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid};
use crate::domain::node::OUT_OF_SERVICE;
use crate::domain::node::{ChangedBy, Node, Taint};
use crate::domain::pod::Pod;
use crate::domain::time::Stamp;
use crate::domain::workload::Workload;

use crate::domain::change::{Bound, Change, ChangeKind, Moved};
use crate::facts::reduce::Delta;

/// How long changes are kept.
pub const WINDOW_SECS: i64 = 6 * 3600;
/// How far back the line of changes below NOW goes.
pub const RECENT_SECS: i64 = 30 * 60;
const CAP: usize = 1000;
/// Similar changes within this time of each other are shown as one.
const ALIKE_MS: u64 = 60_000;
/// The number of similar changes from which they are shown as one.
const FOLD_FROM: usize = 3;

/// The evictions from one node are merged into one change for this time after the first.
const GROWS_MS: u64 = 30 * 60_000;

/// The list of changes. The newest comes first. The length is limited.
#[derive(Default)]
pub struct Changes {
    cluster: ClusterId,
    list: VecDeque<Arc<Change>>,
    dirty: bool,
}

impl Changes {
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, ..Self::default() }
    }

    pub fn add(&mut self, change: Change, now: Stamp) {
        if change.at < now.plus_secs(-WINDOW_SECS) || self.list.iter().any(|held| **held == change) {
            return;
        }
        let at = self.list.iter().position(|held| held.at <= change.at).unwrap_or(self.list.len());
        self.list.insert(at, Arc::new(change));
        self.list.truncate(CAP);
        self.dirty = true;
    }

    /// Returns the list if it has changed since the last call.
    pub fn take(&mut self, now: Stamp) -> Option<Arc<[Arc<Change>]>> {
        let oldest = now.plus_secs(-WINDOW_SECS);
        while self.list.back().is_some_and(|change| change.at < oldest) {
            self.list.pop_back();
            self.dirty = true;
        }
        std::mem::take(&mut self.dirty).then(|| self.list.iter().cloned().collect())
    }

    pub fn node(&mut self, delta: &Delta<Node>, complete: bool, now: Stamp) {
        let cluster = self.cluster;
        match (delta.old.as_deref(), delta.new.as_deref()) {
            (None, Some(n)) => self.say(n.created, ChangeKind::Joined, n.reference(cluster), None, now),
            (Some(n), None) if complete => self.say(now, ChangeKind::Left, n.reference(cluster), None, now),
            (Some(old), Some(n)) => {
                let by = author(n.changed.as_ref(), now);
                if old.cordoned != n.cordoned {
                    let kind = if n.cordoned { ChangeKind::Cordoned } else { ChangeKind::Uncordoned };
                    self.say(now, kind, n.reference(cluster), by.clone(), now);
                }
                let ready = |n: &Node| n.condition("Ready").map(|c| c.status);
                if let (Some(from), Some(to)) = (ready(old), ready(n))
                    && from != to
                {
                    self.say(now, ChangeKind::Ready { from, to }, n.reference(cluster), None, now);
                }
                for kind in taints(old, n) {
                    self.say(now, kind, n.reference(cluster), by.clone(), now);
                }
            }
            _ => {}
        }
    }

    /// Adds a change if the labels of a pod changed. The pod may have left or entered the rotation of a Service.
    pub fn pod(&mut self, old: &Pod, new: &Pod, now: Stamp) {
        if Arc::ptr_eq(&old.shape, &new.shape) && old.own == new.own || old.uid != new.uid {
            return;
        }
        let only = |of: &Pod, than: &Pod| -> Vec<String> {
            let than: Vec<_> = than.labels().iter().collect();
            let only = of.labels().iter().filter(|label| !than.contains(label));
            only.map(|(k, v)| format!("{k}={v}")).collect()
        };
        let (removed, added) = (only(old, new), only(new, old));
        if !removed.is_empty() || !added.is_empty() {
            let object = new.reference(self.cluster);
            self.say(now, ChangeKind::Labels { removed, added }, object, None, now);
        }
    }

    /// Adds the eviction of a pod. The evictions from one node are one change with a count, because they are usually
    /// a drain.
    pub fn evicted(&mut self, pod: &Pod, node: Option<&Node>, now: Stamp) {
        let on = pod.node.clone().unwrap_or_default();
        let held = self.list.iter().position(|c| {
            matches!(&c.kind, ChangeKind::Evicted { node, .. } if *node == on)
                && now.0.abs_diff(c.at.0) <= GROWS_MS
        });
        let pods = match held.filter(|_| !on.is_empty()).and_then(|at| self.list.remove(at)) {
            Some(before) => {
                let ChangeKind::Evicted { pods, .. } = before.kind else { return };
                self.dirty = true;
                (before.at, pods + 1)
            }
            None => (now, 1),
        };
        let (at, pods) = pods;
        let object = if pods == 1 {
            pod.reference(self.cluster)
        } else {
            let uid = node.map_or_else(Uid::default, |node| node.uid.clone());
            ObjectRef::new(self.cluster, Kind::Node, &Name::default(), &on, &uid)
        };
        // An eviction does not record who requested it. Usually the user who drained the node also cordoned it.
        let by = node.filter(|node| node.cordoned).and_then(|node| node.changed.as_ref());
        let cordoned_by = by.map(|by| by.manager.clone());
        self.say(at, ChangeKind::Evicted { node: on, pods, cordoned_by }, object, None, now);
    }

    pub fn workload(&mut self, delta: &Delta<Workload>, now: Stamp) {
        let (old, new) = match (delta.old.as_deref(), delta.new.as_deref()) {
            (Some(old), Some(new)) => (old, new),
            (None, Some(new)) => return self.name_author(new),
            (_, None) => return,
        };
        let by = author(new.changed.as_ref(), now);
        if new.kind != Kind::Job && new.kind != Kind::DaemonSet && old.replicas != new.replicas {
            let kind = ChangeKind::Scaled { from: old.replicas, to: new.replicas };
            self.say(now, kind, new.reference(self.cluster), by.clone(), now);
        }
        if old.paused != new.paused {
            let kind = if new.paused { ChangeKind::Paused } else { ChangeKind::Resumed };
            self.say(now, kind, new.reference(self.cluster), by.clone(), now);
        }
        if old.restarted_at != new.restarted_at && new.restarted_at.is_some() {
            self.say(now, ChangeKind::Restarted, new.reference(self.cluster), by.clone(), now);
        }
        // A Deployment's rollouts are reported by its ReplicaSets. They also show the rollouts before Pilothouse
        // started.
        if new.kind != Kind::Deployment && old.images != new.images {
            let moved = Moved::between(&old.images, &new.images);
            let back = self.was_left(&new.uid, &moved.tags().1);
            self.say(now, ChangeKind::Rollout { moved, back }, new.reference(self.cluster), by, now);
        }
    }

    pub fn hpa(&mut self, delta: &Delta<Hpa>, now: Stamp) {
        let Some(new) = delta.new.as_deref() else { return };
        let object = new.reference(self.cluster);
        let Some(old) = delta.old.as_deref() else {
            if let Some(at) = new.last_scale {
                let kind = ChangeKind::Autoscaled(new.desired.unwrap_or(0));
                self.say(at, kind, object, None, now);
            }
            return;
        };
        let by = author(new.changed.as_ref(), now);
        for (bound, from, to) in [(Bound::Max, old.max, new.max), (Bound::Min, old.min, new.min)] {
            if from != to {
                self.say(now, ChangeKind::Bound { bound, from, to }, object.clone(), by.clone(), now);
            }
        }
    }

    fn say(&mut self, at: Stamp, kind: ChangeKind, object: ObjectRef, by: Option<Name>, now: Stamp) {
        self.add(Change { at, kind, object, by }, now);
    }
}

/// Returns the changes of the last half hour.
pub fn recent(changes: &[Arc<Change>], now: Stamp) -> &[Arc<Change>] {
    let oldest = now.plus_secs(-RECENT_SECS);
    let end = changes.partition_point(|change| change.at >= oldest);
    changes.get(..end).unwrap_or_default()
}

/// A line about one change, or about similar changes of several objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The change, or the newest of several.
    pub change: Change,
    /// The number of objects, if there are several.
    objects: Option<usize>,
    /// Whether several changes are equal, numbers included.
    exactly: bool,
}

impl Told {
    /// Returns the object, or `None` if the line is about several.
    pub fn object(&self) -> Option<&ObjectRef> {
        Some(&self.change.object).filter(|_| self.objects.is_none())
    }

    /// Returns what changed: `scaled 3→5`, `50 nodes joined`.
    pub fn what(&self) -> String {
        match self.objects {
            None => self.change.kind.to_string(),
            Some(objects) => {
                let what = self.change.kind.of_many(self.exactly);
                format!("{objects} {} {what}", plural(&self.change.object.kind))
            }
        }
    }
}

/// Returns the changes for people. The newest comes first. Many similar changes become one line (`50 nodes joined`). A
/// restart is not shown again for its ReplicaSet.
pub fn fold_for_people(changes: &[Arc<Change>]) -> Vec<Told> {
    let mut groups: Vec<Vec<&Change>> = Vec::new();
    for change in changes {
        let told_twice = change.kind == ChangeKind::SameImages
            && changes.iter().any(|other| {
                other.kind == ChangeKind::Restarted
                    && other.object.uid == change.object.uid
                    && other.at.0.abs_diff(change.at.0) <= ALIKE_MS
            });
        if told_twice {
            continue;
        }
        let near = groups.iter_mut().find(|group| {
            group.first().is_some_and(|newest| {
                newest.kind.is_like(&change.kind)
                    && newest.object.kind == change.object.kind
                    && newest.object.namespace == change.object.namespace
                    && newest.by == change.by
                    && newest.at.since(change.at) <= ALIKE_MS
            })
        });
        match near {
            Some(group) => group.push(change),
            None => groups.push(vec![change]),
        }
    }
    let mut told: Vec<Told> = Vec::new();
    for group in groups {
        let mut objects: Vec<&Name> = group.iter().map(|c| &c.object.name).collect();
        objects.sort();
        objects.dedup();
        match group.as_slice() {
            [newest, ..] if objects.len() >= FOLD_FROM => told.push(Told {
                change: Change::clone(newest),
                objects: Some(objects.len()),
                exactly: group.iter().all(|c| c.kind == newest.kind),
            }),
            _ => {
                let alone = |change: &Change| Told { change: change.clone(), objects: None, exactly: true };
                told.extend(group.into_iter().map(alone));
            }
        }
    }
    told.sort_by_key(|told| std::cmp::Reverse(told.change.at));
    told
}

fn plural(kind: &Kind) -> String {
    match kind {
        Kind::HorizontalPodAutoscaler => "HPAs".into(),
        kind => format!("{}s", kind.as_str().to_lowercase()),
    }
}

/// Returns a change as text without its time: `shop/checkout rollout app 1.0→1.1 (argocd)`. With `brief`, for narrow
/// places: `checkout 1.0→1.1`.
pub fn words(told: &Told, brief: bool) -> String {
    let Change { kind, object, by, .. } = &told.change;
    let mut what = told.what();
    let place = match (&object.kind, object.name.as_str()) {
        _ if told.objects.is_some() && object.namespace.is_empty() => String::new(),
        _ if told.objects.is_some() => format!("{}: ", object.namespace),
        (Kind::Node, name) => format!("node {name} "),
        (Kind::HorizontalPodAutoscaler, name) if brief => format!("HPA {name} "),
        (Kind::HorizontalPodAutoscaler, name) => format!("HPA {}/{name} ", object.namespace),
        (_, name) if brief || object.namespace.is_empty() => {
            if let ChangeKind::Rollout { moved, .. } = kind {
                what = moved.of(name);
            }
            format!("{name} ")
        }
        (_, name) => format!("{}/{name} ", object.namespace),
    };
    let by = by.as_ref().filter(|_| !brief).map_or_else(String::new, |by| format!(" ({by})"));
    format!("{place}{what}{by}")
}

/// Returns who made the change. Returns `None` if the newest entry of managedFields is too old to belong to it.
fn author(changed: Option<&ChangedBy>, now: Stamp) -> Option<Name> {
    changed.filter(|c| c.at.0.abs_diff(now.0) < 60_000).map(|c| c.manager.clone())
}

/// Returns the taints that were added to a node, and those that were removed.
fn taints(old: &Node, new: &Node) -> Vec<ChangeKind> {
    // The node controller's own taints repeat the Ready condition and the cordon.
    let own = |t: &&Taint| !t.key.starts_with("node.kubernetes.io/") || t.key == OUT_OF_SERVICE;
    let only = |of: &Node, than: &Node| -> Vec<(Name, Name)> {
        let same = |a: &Taint, b: &Taint| (&a.key, &a.effect) == (&b.key, &b.effect);
        let only = of.taints.iter().filter(own).filter(|t| !than.taints.iter().any(|o| same(t, o)));
        only.map(|t| (t.key.clone(), t.effect.clone())).collect()
    };
    let added = only(new, old).into_iter().map(|(key, effect)| ChangeKind::Tainted { key, effect });
    let removed = only(old, new).into_iter().map(|(key, effect)| ChangeKind::Untainted { key, effect });
    added.chain(removed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(secs: i64, kind: Kind, name: &str, what: ChangeKind) -> Arc<Change> {
        let namespace = if kind == Kind::Node { "" } else { "shop" };
        let object =
            ObjectRef::new(ClusterId(0), kind, &namespace.into(), &name.into(), &Uid::Text(name.into()));
        Arc::new(Change { at: Stamp::from_secs(secs), kind: what, object, by: None })
    }

    fn rollout(from: &str, to: &str) -> ChangeKind {
        ChangeKind::Rollout { moved: Moved::Image { from: from.into(), to: to.into() }, back: false }
    }

    #[test]
    fn what_is_alike_is_told_as_one() {
        let mut changes: Vec<_> =
            (0..50).map(|i| change(5_000 - i, Kind::Node, &format!("n{i}"), ChangeKind::Joined)).collect();
        changes.push(change(4_000, Kind::Node, "late", ChangeKind::Joined));
        for (i, to) in [5, 7, 9].into_iter().enumerate() {
            changes.push(change(
                3_000,
                Kind::Deployment,
                &format!("d{i}"),
                ChangeKind::Scaled { from: 3, to },
            ));
        }
        changes.push(change(2_010, Kind::Deployment, "pay", ChangeKind::Restarted));
        changes.push(change(2_000, Kind::Deployment, "pay", ChangeKind::SameImages));
        changes.push(change(1_000, Kind::Deployment, "app", rollout("r.io/app:1.0", "r.io/app:1.1")));
        let told: Vec<String> = fold_for_people(&changes)
            .iter()
            .map(|c| format!("{} {}", c.change.at.0 / 1000, words(c, false)))
            .collect();
        assert_eq!(
            told,
            [
                "5000 50 nodes joined",
                "4000 node late joined",
                "3000 shop: 3 deployments scaled",
                "2010 shop/pay restarted",
                "1000 shop/app rollout app 1.0→1.1",
            ]
        );
        let brief: Vec<String> = fold_for_people(&changes).iter().skip(4).map(|c| words(c, true)).collect();
        assert_eq!(brief, ["app 1.0→1.1"]);
    }

    #[test]
    fn one_object_that_changes_often_is_not_many() {
        let scaled = |from: i32| {
            change(100 - i64::from(from), Kind::Deployment, "web", ChangeKind::Scaled { from, to: from + 1 })
        };
        assert_eq!(fold_for_people(&(0..5).map(scaled).collect::<Vec<_>>()).len(), 5);
    }

    #[test]
    fn newest_first_without_repeats_and_within_the_window() {
        let mut changes = Changes::new(ClusterId(0));
        let now = Stamp::from_secs(10_000);
        let change = |secs| Change {
            at: Stamp::from_secs(secs),
            kind: ChangeKind::Joined,
            object: ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &"n".into(), &Uid::default()),
            by: None,
        };
        for secs in [9_000, 9_500, 9_000, -20_000] {
            changes.add(change(secs), now);
        }
        let list = changes.take(now).unwrap();
        assert_eq!(
            list.iter().map(|c| c.at).collect::<Vec<_>>(),
            [Stamp::from_secs(9_500), Stamp::from_secs(9_000)]
        );
        assert!(changes.take(now).is_none());
        assert_eq!(recent(&list, now.plus_secs(900)).len(), 1, "the other is older than half an hour");
        let later = now.plus_secs(WINDOW_SECS - 700);
        assert_eq!(changes.take(later).unwrap().len(), 1, "what is too old leaves");
    }
}
