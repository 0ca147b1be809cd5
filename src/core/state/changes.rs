//! The changes of the last hours: rollouts, scalings, autoscaler edits, and nodes that joined, left, were cordoned or
//! changed state. At the start, the list is filled from the timestamps in the objects.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::autoscaler::Hpa;
use crate::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid};
use crate::domain::image;
use crate::domain::node::OUT_OF_SERVICE;
use crate::domain::node::{ChangedBy, Node, Taint};
use crate::domain::pod::Pod;
use crate::domain::time::Stamp;
use crate::domain::workload::Workload;

use crate::facts::reduce::{Delta, Facts};
use crate::facts::world::{Change, ChangeKind};

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
        let (old, new, cluster) = (delta.old.as_deref(), delta.new.as_deref(), self.cluster);
        match (old, new) {
            (None, Some(n)) => {
                self.say(n.created, ChangeKind::Joined, "joined", n.reference(cluster), None, now);
            }
            (Some(n), None) if complete => {
                self.say(now, ChangeKind::Left, "left", n.reference(cluster), None, now);
            }
            (Some(old), Some(n)) => {
                if old.cordoned != n.cordoned {
                    let (kind, what) = if n.cordoned {
                        (ChangeKind::Cordoned, "cordoned")
                    } else {
                        (ChangeKind::Uncordoned, "uncordoned")
                    };
                    self.say(now, kind, what, n.reference(cluster), author(n.changed.as_ref(), now), now);
                }
                let ready = |n: &Node| n.condition("Ready").map(|c| c.status);
                if let (Some(was), Some(is)) = (ready(old), ready(n))
                    && was != is
                {
                    let what = format!("Ready {}→{}", was.as_str(), is.as_str());
                    self.say(now, ChangeKind::Ready, &what, n.reference(cluster), None, now);
                }
                for (what, taint) in taints(old, n) {
                    let what = format!("{what} {}:{}", taint.key, taint.effect);
                    self.say(
                        now,
                        ChangeKind::Taints,
                        &what,
                        n.reference(cluster),
                        author(n.changed.as_ref(), now),
                        now,
                    );
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
        let words = |of: &Pod, than: &Pod, sign: &str| {
            let than: Vec<_> = than.labels().iter().collect();
            let only = of.labels().iter().filter(|label| !than.contains(label)).collect::<Vec<_>>();
            only.into_iter().map(|(k, v)| format!("{sign}{k}={v}")).collect::<Vec<_>>()
        };
        let mut changed = words(old, new, "-");
        changed.extend(words(new, old, "+"));
        if !changed.is_empty() {
            let object = new.reference(self.cluster);
            let what = format!("labels {}", changed.join(" "));
            self.say(now, ChangeKind::Labels, &what, object, None, now);
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
        let (object, what) = if pods == 1 {
            (pod.reference(self.cluster), "evicted".to_owned())
        } else {
            let uid = node.map_or_else(Uid::default, |node| node.uid.clone());
            (
                ObjectRef::new(self.cluster, Kind::Node, &Name::default(), &on, &uid),
                format!("{pods} pods evicted"),
            )
        };
        // An eviction does not record who requested it. Usually the user who drained the node also cordoned it.
        let by = node.filter(|node| node.cordoned).and_then(|node| node.changed.as_ref());
        let what = by.map_or_else(|| what.clone(), |by| format!("{what}, node cordoned by {}", by.manager));
        self.say(at, ChangeKind::Evicted { node: on, pods }, &what, object, None, now);
    }

    pub fn workload(&mut self, delta: &Delta<Workload>, now: Stamp) {
        let (old, new) = match (delta.old.as_deref(), delta.new.as_deref()) {
            (Some(old), Some(new)) => (old, new),
            (None, Some(new)) => return self.name_author(new),
            (_, None) => return,
        };
        let by = author(new.changed.as_ref(), now);
        if new.kind != Kind::Job && new.kind != Kind::DaemonSet && old.replicas != new.replicas {
            let what = format!("scaled {}→{}", old.replicas, new.replicas);
            self.say(now, ChangeKind::Scaled, &what, new.reference(self.cluster), by.clone(), now);
        }
        if old.paused != new.paused {
            let (kind, what) = if new.paused {
                (ChangeKind::Paused, "rollout paused")
            } else {
                (ChangeKind::Resumed, "rollout resumed")
            };
            self.say(now, kind, what, new.reference(self.cluster), by.clone(), now);
        }
        if old.restarted_at != new.restarted_at && new.restarted_at.is_some() {
            self.say(now, ChangeKind::Restarted, "restarted", new.reference(self.cluster), by.clone(), now);
        }
        // A Deployment's rollouts are reported by its ReplicaSets. They also show the rollouts before Pilothouse
        // started.
        if new.kind != Kind::Deployment && old.images != new.images {
            let what = format!("rollout {}", images(&old.images, &new.images));
            let (from, to) = tags(&old.images, &new.images);
            let back = self.was_left(&new.uid, &to);
            self.say(
                now,
                ChangeKind::Rollout { from, to, back },
                &what,
                new.reference(self.cluster),
                by,
                now,
            );
        }
    }

    /// Adds a rollout of a Deployment if its ReplicaSet is new, or if it became the current one again.
    pub fn replicaset(&mut self, facts: &Facts, delta: &Delta<Workload>, now: Stamp) {
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
        let before = facts
            .replicasets
            .table()
            .iter()
            .filter(|rs| rs.uid != new.uid && rs.owner.as_ref().is_some_and(|o| o.uid == owner.uid))
            .filter(|rs| rs.revision.is_some_and(|r| r < revision))
            .max_by_key(|rs| rs.revision);
        // An existing ReplicaSet has an earlier template.
        let again = delta.old.is_some();
        let (kind, what) = match before {
            Some(before) if before.images == new.images => {
                (ChangeKind::SameImages, "new pods of the same images".to_owned())
            }
            Some(before) => {
                let (from, to) = tags(&before.images, &new.images);
                let what = format!("rollout {}", images(&before.images, &new.images));
                let back = again || self.was_left(&owner.uid, &to);
                (ChangeKind::Rollout { from, to, back }, what)
            }
            None => {
                let (from, to) = (Name::default(), Name::default());
                (ChangeKind::Rollout { from, to, back: again }, format!("rollout to revision {revision}"))
            }
        };
        let deployment = facts.deployments.get(&owner.uid);
        let by = deployment
            .and_then(|d| d.changed.as_ref())
            .filter(|c| c.at.0.abs_diff(at.0) < 60_000)
            .map(|c| c.manager.clone());
        let object = ObjectRef::new(self.cluster, Kind::Deployment, &new.namespace, &owner.name, &owner.uid);
        self.say(at, kind, &what, object, by, now);
    }

    /// Adds who made the rollouts of a Deployment that was read after its ReplicaSets.
    fn name_author(&mut self, deployment: &Workload) {
        let Some(changed) = &deployment.changed else { return };
        for change in self.list.iter_mut().filter(|c| c.object.uid == deployment.uid && c.by.is_none()) {
            let is_rollout = matches!(change.kind, ChangeKind::Rollout { .. } | ChangeKind::SameImages);
            if is_rollout && changed.at.0.abs_diff(change.at.0) < 60_000 {
                Arc::make_mut(change).by = Some(changed.manager.clone());
                self.dirty = true;
            }
        }
    }

    /// Returns true if a rollout in the list replaced this tag.
    fn was_left(&self, workload: &Uid, tag: &Name) -> bool {
        let left = |c: &Arc<Change>| matches!(&c.kind, ChangeKind::Rollout { from, .. } if from == tag);
        !tag.is_empty() && self.list.iter().any(|c| c.object.uid == *workload && left(c))
    }

    pub fn hpa(&mut self, delta: &Delta<Hpa>, now: Stamp) {
        let Some(new) = delta.new.as_deref() else { return };
        let object = new.reference(self.cluster);
        let Some(old) = delta.old.as_deref() else {
            if let Some(at) = new.last_scale {
                let what = format!("scaled its target, now {}", new.desired.unwrap_or(0));
                self.say(at, ChangeKind::Autoscaled, &what, object, None, now);
            }
            return;
        };
        let by = author(new.changed.as_ref(), now);
        if old.max != new.max {
            let what = format!("max {}→{}", old.max, new.max);
            self.say(now, ChangeKind::Bounds, &what, object.clone(), by.clone(), now);
        }
        if old.min != new.min {
            let what = format!("min {}→{}", old.min, new.min);
            self.say(now, ChangeKind::Bounds, &what, object, by, now);
        }
    }

    fn say(
        &mut self,
        at: Stamp,
        kind: ChangeKind,
        what: &str,
        object: ObjectRef,
        by: Option<Name>,
        now: Stamp,
    ) {
        self.add(Change { at, kind, what: what.to_owned(), object, by }, now);
    }
}

/// Returns the changes of the last half hour.
pub fn recent(changes: &[Arc<Change>], now: Stamp) -> &[Arc<Change>] {
    let oldest = now.plus_secs(-RECENT_SECS);
    let end = changes.partition_point(|change| change.at >= oldest);
    changes.get(..end).unwrap_or_default()
}

/// Returns the changes for people. The newest comes first. Many similar changes become one entry without an object's
/// name (`50 nodes joined`). A restart is not shown again for its ReplicaSet.
pub fn fold_for_people(changes: &[Arc<Change>]) -> Vec<Change> {
    let mut groups: Vec<(String, Vec<&Change>)> = Vec::new();
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
        let kind = stem(&change.what);
        let near = groups.iter_mut().find(|(held, group)| {
            *held == kind
                && group.first().is_some_and(|newest| {
                    newest.object.kind == change.object.kind
                        && newest.object.namespace == change.object.namespace
                        && newest.by == change.by
                        && newest.at.since(change.at) <= ALIKE_MS
                })
        });
        match near {
            Some((_, group)) => group.push(change),
            None => groups.push((kind, vec![change])),
        }
    }
    let mut told: Vec<Change> = Vec::new();
    for (kind, group) in groups {
        let mut objects: Vec<&Name> = group.iter().map(|c| &c.object.name).collect();
        objects.sort();
        objects.dedup();
        match group.as_slice() {
            [newest, ..] if objects.len() >= FOLD_FROM => {
                let same = group.iter().all(|c| c.what == newest.what);
                let what = if same { newest.what.as_str() } else { kind.as_str() };
                let object = ObjectRef::new(
                    newest.object.cluster,
                    newest.object.kind.clone(),
                    &newest.object.namespace,
                    &Name::default(),
                    &Uid::default(),
                );
                let what = what.replace(" its target", " their targets");
                let what = format!("{} {} {what}", objects.len(), plural(&newest.object.kind));
                let (kind, by) = (newest.kind.clone(), newest.by.clone());
                told.push(Change { at: newest.at, kind, what, object, by });
            }
            _ => told.extend(group.into_iter().cloned()),
        }
    }
    told.sort_by_key(|change| std::cmp::Reverse(change.at));
    told
}

/// Returns the words of a change without its numbers: `scaled` for `scaled 3→5`.
fn stem(what: &str) -> String {
    let end = what.find(|c: char| c.is_ascii_digit()).unwrap_or(what.len());
    let words = what.get(..end).unwrap_or(what).trim_end();
    words.strip_suffix(", now").unwrap_or(words).to_owned()
}

fn plural(kind: &Kind) -> String {
    match kind {
        Kind::HorizontalPodAutoscaler => "HPAs".into(),
        kind => format!("{}s", kind.as_str().to_lowercase()),
    }
}

/// Returns a change as text without its time: `shop/checkout rollout app 1.0→1.1 (argocd)`. With `brief`, for narrow
/// places: `checkout 1.0→1.1`.
pub fn words(change: &Change, brief: bool) -> String {
    let object = &change.object;
    let mut what = change.what.as_str();
    let place = match (&object.kind, object.name.as_str()) {
        (_, "") if object.namespace.is_empty() => String::new(),
        (_, "") => format!("{}: ", object.namespace),
        (Kind::Node, name) => format!("node {name} "),
        (Kind::HorizontalPodAutoscaler, name) if brief => format!("HPA {name} "),
        (Kind::HorizontalPodAutoscaler, name) => format!("HPA {}/{name} ", object.namespace),
        (_, name) if brief || object.namespace.is_empty() => {
            // The name of the image is left out if it is the name of the workload.
            if let Some(rest) = what.strip_prefix("rollout ") {
                what = rest.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')).unwrap_or(rest);
            }
            format!("{name} ")
        }
        (_, name) => format!("{}/{name} ", object.namespace),
    };
    let by = change.by.as_ref().filter(|_| !brief).map_or_else(String::new, |by| format!(" ({by})"));
    format!("{place}{what}{by}")
}

/// Returns who made the change. Returns `None` if the newest entry of managedFields is too old to belong to it.
fn author(changed: Option<&ChangedBy>, now: Stamp) -> Option<Name> {
    changed.filter(|c| c.at.0.abs_diff(now.0) < 60_000).map(|c| c.manager.clone())
}

/// Returns the taints that were added to a node, and those that were removed.
fn taints<'a>(old: &'a Node, new: &'a Node) -> Vec<(&'static str, &'a Taint)> {
    // The node controller's own taints repeat the Ready condition and the cordon.
    let own = |t: &&Taint| !t.key.starts_with("node.kubernetes.io/") || t.key == OUT_OF_SERVICE;
    let only = |of: &'a Node, than: &'a Node| {
        let same = |a: &Taint, b: &Taint| (&a.key, &a.effect) == (&b.key, &b.effect);
        of.taints.iter().filter(own).filter(move |t| !than.taints.iter().any(|o| same(t, o)))
    };
    let added = only(new, old).map(|t| ("taint", t));
    added.chain(only(old, new).map(|t| ("no more taint", t))).collect()
}

/// Returns the tags of the image that changed. They are empty unless exactly one image changed.
fn tags(old: &[Name], new: &[Name]) -> (Name, Name) {
    let mut changed = old.iter().zip(new).filter(|(a, b)| a != b);
    match (changed.next(), changed.next()) {
        (Some((a, b)), None) if image::split(a).0 == image::split(b).0 => {
            (image::split(a).1.into(), image::split(b).1.into())
        }
        _ => Default::default(),
    }
}

/// Returns `app:1.0→1.1` if one image changed. Returns the number of images if several changed.
fn images(old: &[Name], new: &[Name]) -> String {
    let changed: Vec<(&str, &str)> =
        old.iter().zip(new).filter(|(a, b)| a != b).map(|(a, b)| (a.as_str(), b.as_str())).collect();
    match changed.as_slice() {
        [(a, b)] => {
            let (name_a, tag_a) = image::split(a);
            let (name_b, tag_b) = image::split(b);
            if name_a == name_b {
                format!("{name_a} {tag_a}→{tag_b}")
            } else {
                format!("{name_a}:{tag_a}→{name_b}:{tag_b}")
            }
        }
        [] => "of another template".into(),
        many => format!("of {} images", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_show_what_moved() {
        assert_eq!(images(&["r.io/shop/app:1.0".into()], &["r.io/shop/app:1.1".into()]), "app 1.0→1.1");
    }

    fn change(secs: i64, kind: Kind, name: &str, what: &str) -> Arc<Change> {
        let of = match what {
            "restarted" => ChangeKind::Restarted,
            "new pods of the same images" => ChangeKind::SameImages,
            _ => ChangeKind::Scaled,
        };
        let namespace = if kind == Kind::Node { "" } else { "shop" };
        let object =
            ObjectRef::new(ClusterId(0), kind, &namespace.into(), &name.into(), &Uid::Text(name.into()));
        Arc::new(Change { at: Stamp::from_secs(secs), kind: of, what: what.into(), object, by: None })
    }

    #[test]
    fn what_is_alike_is_told_as_one() {
        let mut changes: Vec<_> =
            (0..50).map(|i| change(5_000 - i, Kind::Node, &format!("n{i}"), "joined")).collect();
        changes.push(change(4_000, Kind::Node, "late", "joined"));
        for (i, to) in [5, 7, 9].into_iter().enumerate() {
            changes.push(change(3_000, Kind::Deployment, &format!("d{i}"), &format!("scaled 3→{to}")));
        }
        changes.push(change(2_010, Kind::Deployment, "pay", "restarted"));
        changes.push(change(2_000, Kind::Deployment, "pay", "new pods of the same images"));
        changes.push(change(1_000, Kind::Deployment, "app", "rollout app 1.0→1.1"));
        let told: Vec<String> = fold_for_people(&changes)
            .iter()
            .map(|c| format!("{} {}", c.at.0 / 1000, words(c, false)))
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
        let scaled = |i: i64| change(100 - i, Kind::Deployment, "web", &format!("scaled {i}→{}", i + 1));
        assert_eq!(fold_for_people(&(0..5).map(scaled).collect::<Vec<_>>()).len(), 5);
    }

    #[test]
    fn a_deployment_that_is_read_after_its_replicasets_names_who_rolled_it_out() {
        let mut changes = Changes::new(ClusterId(0));
        let rollout = change(100, Kind::Deployment, "web", "rollout web 1→2");
        let other = change(100, Kind::Deployment, "api", "rollout api 1→2");
        let kind = || ChangeKind::Rollout { from: "1".into(), to: "2".into(), back: false };
        for held in [&rollout, &other] {
            changes.add(Change { kind: kind(), ..Change::clone(held) }, Stamp::from_secs(110));
        }
        let by = ChangedBy { manager: "argocd".into(), at: Stamp::from_secs(101) };
        let web = Workload { uid: rollout.object.uid.clone(), changed: Some(by), ..Workload::default() };
        changes.workload(&Delta { old: None, new: Some(Arc::new(web)) }, Stamp::from_secs(110));
        let told = changes.take(Stamp::from_secs(110)).unwrap();
        let by: Vec<_> = told.iter().map(|c| (c.object.name.as_str(), c.by.as_deref())).collect();
        assert!(by.contains(&("web", Some("argocd"))) && by.contains(&("api", None)), "{by:?}");
    }

    #[test]
    fn newest_first_without_repeats_and_within_the_window() {
        let mut changes = Changes::new(ClusterId(0));
        let now = Stamp::from_secs(10_000);
        let change = |secs| Change {
            at: Stamp::from_secs(secs),
            kind: ChangeKind::Scaled,
            what: "x".into(),
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
