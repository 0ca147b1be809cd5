//! StatefulSets: numbered pods with claims of their own, created in order and replaced in reverse order.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::doc::{after, availability, is_finished, is_ready, list, put, write_status};
use super::events::Recorder;
use super::feed::{Feed, Queue, sooner};
use super::revisions;
use super::workload::{Claims, Maker, Name, ordinal};
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Key, Object, Store, Write};

const NAME: &str = "statefulset-controller";
const MANAGER: &str = "kube-controller-manager";
const HASH: &str = "controller-revision-hash";
/// A set that could not create a pod, for example because its name is still in use, tries again after this time.
const RETRY: TimeDelta = TimeDelta::seconds(15);

#[derive(Debug)]
pub(super) struct StatefulSets {
    store: Store,
    maker: Maker,
    claims: Claims,
    sets: Feed,
    pods: Feed,
    queue: Queue<Key>,
}

/// Running, ready and not terminating.
fn is_healthy(pod: &Object) -> bool {
    is_ready(pod) && pod.text("/status/phase") == "Running" && !pod.is_terminating()
}

fn has_revision(pod: &Object, revision: &Object) -> bool {
    pod.label(HASH) == Some(revision.name())
}

/// The pods of a set by their numbers, and the revisions that they can have.
struct Crew {
    pods: BTreeMap<i64, Arc<Object>>,
    start: i64,
    end: i64,
    old: Arc<Object>,
    new: Arc<Object>,
    ordered: bool,
    /// Pods from this number on get the new revision.
    from: i64,
    min_ready: i64,
}

impl Crew {
    /// Ready for `minReadySeconds`; the next pod waits for this long.
    fn is_available(&self, pod: &Object, at: DateTime<Utc>) -> bool {
        is_healthy(pod) && availability(pod, self.min_ready, at).0
    }
}

impl StatefulSets {
    pub(super) fn new(store: &Store, recorder: &Recorder) -> Self {
        Self {
            store: store.clone(),
            maker: Maker::new(store, recorder, NAME),
            claims: Claims::new(store, Res::StatefulSets),
            sets: Feed::new(store, Res::StatefulSets),
            pods: Feed::new(store, Res::Pods),
            queue: Queue::default(),
        }
    }

    fn sync(&mut self, set: &Arc<Object>, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let new = revisions::current(&self.store, set)?;
        let old = set.text("/status/currentRevision");
        let old = revisions::all(&self.store, set).into_iter().find(|one| one.name() == old);
        let old = old.unwrap_or_else(|| new.clone());
        let pods = self.claims.release(set, self.maker.pods(set)).into_iter();
        let pods = pods.filter_map(|pod| Some((ordinal(set, &pod)?, pod)));
        let start = set.int("/spec/ordinals/start").unwrap_or_default();
        let partition = set.int("/spec/updateStrategy/rollingUpdate/partition").unwrap_or_default();
        let crew = Crew {
            pods: pods.collect(),
            start,
            end: start + set.int("/spec/replicas").unwrap_or(1),
            old,
            new,
            ordered: set.text("/spec/podManagementPolicy") != "Parallel",
            from: start + partition.max(0),
            min_ready: set.int("/spec/minReadySeconds").unwrap_or_default(),
        };
        let mut again = None;
        if !set.is_terminating() {
            let go_on = self.create(set, &crew, at, &mut again);
            if go_on && self.shrink(set, &crew) {
                self.update(set, &crew, at);
            }
        }
        sooner(again, self.report(set, &crew, at))
    }

    /// Creates missing pods. Returns whether to continue: with ordered creation, every pod waits for the previous ones.
    /// Sets when to try again.
    fn create(
        &mut self,
        set: &Object,
        crew: &Crew,
        at: DateTime<Utc>,
        again: &mut Option<DateTime<Utc>>,
    ) -> bool {
        // The real controller has no burst limit; its client's rate limit slows it down.
        let there = crew.pods.keys().filter(|n| (crew.start..crew.end).contains(*n)).count();
        let missing = usize::try_from(crew.end - crew.start).unwrap_or_default().saturating_sub(there);
        let missing = if crew.ordered { missing.min(1) } else { missing };
        let (mut left, rest) = self.maker.burst(set, missing, at);
        *again = rest;
        for n in crew.start..crew.end {
            match crew.pods.get(&n) {
                None => {
                    if left == 0 {
                        return false;
                    }
                    left -= 1;
                    self.volumes(set, n);
                    // During a rollout, a pod below the partition is recreated with the old template.
                    let old = n < crew.from && crew.old.name() != crew.new.name();
                    let made = self.pod(set, n, if old { &crew.old } else { &crew.new });
                    if !made {
                        *again = sooner(*again, Some(after(at, RETRY)));
                    }
                    if crew.ordered || !made {
                        return false;
                    }
                }
                Some(pod) if is_finished(pod) && !pod.is_terminating() => {
                    self.maker.delete(set, pod);
                    if crew.ordered {
                        return false;
                    }
                }
                Some(pod) => {
                    if crew.ordered && !crew.is_available(pod, at) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Deletes surplus pods, the highest number first and, with ordered deletion, one at a time.
    fn shrink(&self, set: &Object, crew: &Crew) -> bool {
        let excess = crew.pods.iter().rev().filter(|(n, _)| **n >= crew.end || **n < crew.start);
        for (_, pod) in excess {
            if !pod.is_terminating() {
                self.maker.delete(set, pod);
            }
            if crew.ordered {
                return false;
            }
        }
        true
    }

    /// Replaces one pod of an older revision, the highest number first, when all above it are available.
    fn update(&self, set: &Object, crew: &Crew, at: DateTime<Utc>) {
        if set.text("/spec/updateStrategy/type") == "OnDelete" {
            return;
        }
        for n in (crew.from.max(crew.start)..crew.end).rev() {
            let Some(pod) = crew.pods.get(&n) else { return };
            if !has_revision(pod, &crew.new) && !pod.is_terminating() {
                return self.maker.delete(set, pod);
            }
            if !crew.is_available(pod, at) {
                return;
            }
        }
    }

    fn pod(&mut self, set: &Object, n: i64, revision: &Object) -> bool {
        let name = format!("{}-{n}", set.name());
        let template = revisions::template(revision);
        let made = self.maker.pod(set, &template, Name::Fixed(&name), |pod| {
            put(pod, &["metadata", "labels", "statefulset.kubernetes.io/pod-name"], json!(name));
            put(pod, &["metadata", "labels", "apps.kubernetes.io/pod-index"], json!(n.to_string()));
            put(pod, &["metadata", "labels", HASH], json!(revision.name()));
            put(pod, &["spec", "hostname"], json!(name));
            put(pod, &["spec", "subdomain"], set.at("/spec/serviceName").clone());
            let claims = list(&set.value, "/spec/volumeClaimTemplates");
            let mut volumes = list(pod, "/spec/volumes").to_vec();
            volumes.extend(claims.iter().filter_map(|claim| {
                let volume = claim.pointer("/metadata/name")?.as_str()?;
                Some(json!({"name": volume, "persistentVolumeClaim": {"claimName": format!("{volume}-{name}")}}))
            }));
            if !volumes.is_empty() {
                put(pod, &["spec", "volumes"], json!(volumes));
            }
        });
        made.is_ok()
    }

    /// Its claims to volumes.
    fn volumes(&self, set: &Object, n: i64) {
        for template in list(&set.value, "/spec/volumeClaimTemplates") {
            let volume = template.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let name = format!("{volume}-{}-{n}", set.name());
            if self.store.get(Res::PersistentVolumeClaims, set.namespace(), &name).is_some() {
                continue;
            }
            let mut claim = json!({"metadata": {"name": name, "namespace": set.namespace(),
                "labels": set.at("/spec/selector/matchLabels")}, "spec": template.get("spec"), "status": {"phase": "Pending"}});
            if claim.pointer("/spec/storageClassName").is_none() {
                put(&mut claim, &["spec", "storageClassName"], json!("standard"));
            }
            if self.store.create(Res::PersistentVolumeClaims, claim, &Write::by(MANAGER)).is_ok() {
                let message =
                    format!("create Claim {name} Pod {0}-{n} in StatefulSet {0} success", set.name());
                self.maker.recorder.normal(set, NAME, "SuccessfulCreate", &message);
            }
        }
    }

    fn report(&self, set: &Object, crew: &Crew, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (mut ready, mut available, mut replicas, mut updated, mut current) = (0, 0, 0, 0, 0);
        let mut next = None;
        let pods = self.maker.pods(set);
        for pod in pods.iter().filter(|pod| !is_finished(pod)) {
            replicas += 1;
            if pod.is_terminating() {
                continue;
            }
            ready += i64::from(is_healthy(pod));
            let (is, due) = availability(pod, crew.min_ready, at);
            available += i64::from(is);
            next = sooner(next, due);
            updated += i64::from(has_revision(pod, &crew.new));
            current += i64::from(has_revision(pod, &crew.old));
        }
        let wanted = crew.end - crew.start;
        let rolling = set.text("/spec/updateStrategy/type") != "OnDelete";
        let done = rolling && updated == wanted && ready == wanted && replicas == wanted;
        let (revision, current) = if done { (crew.new.name(), updated) } else { (crew.old.name(), current) };
        let mut status = json!({"observedGeneration": set.generation(), "replicas": replicas, "availableReplicas": available,
            "currentRevision": revision, "updateRevision": crew.new.name(), "collisionCount": 0});
        for (field, n) in
            [("readyReplicas", ready), ("currentReplicas", current), ("updatedReplicas", updated)]
        {
            if n > 0 {
                put(&mut status, &[field], json!(n));
            }
        }
        write_status(&self.store, set, MANAGER, status);
        if done {
            let used: Vec<String> =
                pods.iter().map(|pod| pod.label(HASH).unwrap_or_default().to_owned()).collect();
            revisions::clean(&self.store, set, &used);
        }
        next
    }
}

impl Part for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulsets"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.claims.listen(&mut self.queue, self.sets.read(), self.pods.read());
        for key in self.queue.take(at) {
            let Some(set) = self.store.get(key.res, &key.namespace, &key.name) else { continue };
            let next = self.sync(&set, at);
            self.queue.set(key, next);
        }
        self.queue.next()
    }
}
