//! Deployments: a ReplicaSet for each template, and the rollout from one to the next.

mod progress;
mod scale;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::doc::{Condition, change, int, is_finished, list, map_of, owner, put, text, write_status};
use super::events::Recorder;
use super::feed::{Feed, Queue};
use super::workload::{mark_all, mark_owners, template_hash};
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Delete, Key, Object, Propagation, Store, Write};
use scale::{Bounds, DESIRED, MAX, replicas, status};

const NAME: &str = "deployment-controller";
const MANAGER: &str = "kube-controller-manager";
const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";

#[derive(Debug)]
pub(super) struct Deployments {
    store: Store,
    recorder: Recorder,
    deployments: Feed,
    sets: Feed,
    queue: Queue<Key>,
}

/// A template without the label that only ReplicaSets have.
fn plain(template: &Value) -> Value {
    let mut out = template.clone();
    put(&mut out, &["metadata", "labels", HASH], Value::Null);
    if out.pointer("/metadata/creationTimestamp").is_some_and(Value::is_null) {
        put(&mut out, &["metadata", "creationTimestamp"], Value::Null);
    }
    out
}

fn revision(object: &Object) -> i64 {
    object.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn is_paused(deployment: &Object) -> bool {
    deployment.at("/spec/paused") == &Value::Bool(true)
}

/// Oldest first.
fn by_age(sets: &mut [Arc<Object>]) {
    sets.sort_by(|a, b| {
        let age = |set: &Object| {
            (set.text("/metadata/creationTimestamp").to_owned(), revision(set), set.name().to_owned())
        };
        age(a).cmp(&age(b))
    });
}

/// A Deployment that is being processed.
struct Work {
    deployment: Arc<Object>,
    new: Option<Arc<Object>>,
    old: Vec<Arc<Object>>,
    conditions: Vec<Value>,
    collisions: i64,
}

impl Work {
    fn all(&self) -> Vec<Arc<Object>> {
        self.old.iter().chain(&self.new).cloned().collect()
    }

    fn total(&self) -> i64 {
        self.old.iter().chain(&self.new).map(|set| replicas(set)).sum()
    }

    fn has(&self, kind: &str) -> bool {
        self.conditions.iter().any(|one| text(one, "type") == kind)
    }

    fn progressing(&mut self, status: &str, reason: &str, message: &str, at: DateTime<Utc>) {
        progress::set(
            &mut self.conditions,
            Condition::new("Progressing", status, reason, message),
            false,
            at,
        );
    }
}

impl Deployments {
    pub(super) fn new(store: &Store, recorder: &Recorder) -> Self {
        Self {
            store: store.clone(),
            recorder: recorder.clone(),
            deployments: Feed::new(store, Res::Deployments),
            sets: Feed::new(store, Res::ReplicaSets),
            queue: Queue::default(),
        }
    }

    fn sync(&mut self, deployment: &Arc<Object>, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut sets = self.store.owned_by(Res::ReplicaSets, deployment.uid());
        sets.retain(|set| set.controlled_by(deployment.uid()) && !set.is_terminating());
        by_age(&mut sets);
        let template = plain(deployment.at("/spec/template"));
        let at_new = sets.iter().position(|set| plain(set.at("/spec/template")) == template);
        let new = at_new.map(|at| sets.remove(at));
        let mut work = Work {
            deployment: deployment.clone(),
            new,
            old: sets,
            conditions: list(&deployment.value, "/status/conditions").to_vec(),
            collisions: int(deployment.at("/status"), "collisionCount"),
        };
        if !deployment.is_terminating() {
            Self::pause_is_told(&mut work, at);
            if is_paused(deployment) {
                self.scale_all(&mut work);
            } else if Self::is_rescaled(&work) {
                self.number(&mut work, at);
                self.scale_all(&mut work);
            } else if deployment.text("/spec/strategy/type") == "Recreate" {
                self.recreate(&mut work, at);
            } else {
                self.new_set(&mut work, at);
                self.roll(&mut work);
            }
            self.clean(&work);
        }
        let all = work.all();
        let conditions = std::mem::take(&mut work.conditions);
        let fresh = self.store.get(Res::Deployments, deployment.namespace(), deployment.name());
        let fresh = fresh.filter(|fresh| fresh.uid() == deployment.uid())?;
        let (status, next) =
            progress::report(&fresh, work.new.as_ref(), &all, conditions, work.collisions, at);
        write_status(&self.store, &fresh, MANAGER, status);
        next
    }

    fn pause_is_told(work: &mut Work, at: DateTime<Utc>) {
        if work.deployment.at("/spec/progressDeadlineSeconds").is_null() {
            return;
        }
        let reason = work.conditions.iter().find(|one| text(one, "type") == "Progressing");
        let reason = reason.map(|one| text(one, "reason").to_owned()).unwrap_or_default();
        if is_paused(&work.deployment) && reason != "DeploymentPaused" && reason != "ProgressDeadlineExceeded"
        {
            work.progressing("Unknown", "DeploymentPaused", "Deployment is paused", at);
        } else if !is_paused(&work.deployment) && reason == "DeploymentPaused" {
            work.progressing("Unknown", "DeploymentResumed", "Deployment is resumed", at);
        }
    }

    /// The desired number has changed since it was last distributed over the ReplicaSets.
    fn is_rescaled(work: &Work) -> bool {
        let wanted = replicas(&work.deployment).to_string();
        work.all()
            .iter()
            .any(|set| replicas(set) > 0 && set.annotation(DESIRED).is_some_and(|desired| desired != wanted))
    }

    /// Gives the new set its revision number and the Deployment's annotations.
    fn number(&self, work: &mut Work, at: DateTime<Utc>) {
        let Some(set) = work.new.clone() else { return };
        let next = work.old.iter().map(|set| revision(set)).max().unwrap_or_default() + 1;
        let next = next.max(revision(&set));
        self.annotate(work, &set, next);
        self.note_revision(&work.deployment, next);
        if !work.has("Progressing") && !work.deployment.at("/spec/progressDeadlineSeconds").is_null() {
            let message = format!("Found new replica set \"{}\"", set.name());
            work.progressing("True", "FoundNewReplicaSet", &message, at);
        }
    }

    fn annotate(&self, work: &mut Work, set: &Arc<Object>, next: i64) {
        let own = annotations(&work.deployment);
        let before = revision(set);
        let min_ready = work.deployment.at("/spec/minReadySeconds").clone();
        let changed = change(&self.store, set, MANAGER, |value| {
            for (name, text) in own {
                put(value, &["metadata", "annotations", &name], text);
            }
            put(value, &["metadata", "annotations", REVISION], json!(next.to_string()));
            if before > 0 && before != next {
                let history =
                    value.pointer("/metadata/annotations").and_then(|all| all.get(HISTORY)?.as_str());
                let history = match history {
                    Some(history) if !history.is_empty() => format!("{history},{before}"),
                    _ => before.to_string(),
                };
                put(value, &["metadata", "annotations", HISTORY], json!(history));
            }
            put(value, &["spec", "minReadySeconds"], min_ready);
        });
        if let Ok(set) = changed {
            work.new = Some(set);
        }
    }

    fn note_revision(&self, deployment: &Object, number: i64) {
        if revision(deployment) == number {
            return;
        }
        // If it was deleted, its revision is not needed.
        drop(change(&self.store, deployment, MANAGER, |value| {
            put(value, &["metadata", "annotations", REVISION], json!(number.to_string()));
        }));
    }

    /// Finds or creates the ReplicaSet of the current template.
    fn new_set(&mut self, work: &mut Work, at: DateTime<Utc>) {
        if work.new.is_some() {
            return self.number(work, at);
        }
        let deployment = work.deployment.clone();
        let template = plain(deployment.at("/spec/template"));
        let hash = template_hash(&template, work.collisions);
        let name = format!("{}-{hash}", deployment.name());
        let next = work.old.iter().map(|set| revision(set)).max().unwrap_or_default() + 1;
        let bounds = Bounds::of(&deployment);
        let wanted = replicas(&deployment);
        let rolling = deployment.text("/spec/strategy/type") != "Recreate";
        let size = if rolling { scale::grow(wanted, bounds, 0, work.total()) } else { wanted };
        let mut template = template;
        put(&mut template, &["metadata", "labels", HASH], json!(hash));
        let mut selector = deployment.at("/spec/selector").clone();
        put(&mut selector, &["matchLabels", HASH], json!(hash));
        let mut notes = annotations(&deployment);
        notes.insert(REVISION.to_owned(), json!(next.to_string()));
        notes.insert(DESIRED.to_owned(), json!(wanted.to_string()));
        notes.insert(MAX.to_owned(), json!((wanted + bounds.surge).to_string()));
        let mut spec = json!({"replicas": size, "selector": selector, "template": template});
        put(&mut spec, &["minReadySeconds"], deployment.at("/spec/minReadySeconds").clone());
        let set = json!({"metadata": {"name": name, "namespace": deployment.namespace(), "annotations": notes,
            "labels": template.pointer("/metadata/labels"), "ownerReferences": [owner(&deployment)]}, "spec": spec});
        match self.store.create(Res::ReplicaSets, set, &Write::by(MANAGER)) {
            Ok(set) => {
                if size > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {size}");
                    self.recorder.normal(&deployment, NAME, "ScalingReplicaSet", &message);
                }
                self.note_revision(&deployment, next);
                let message = format!("Created new replica set \"{name}\"");
                if !deployment.at("/spec/progressDeadlineSeconds").is_null() {
                    work.progressing("True", "NewReplicaSetCreated", &message, at);
                }
                work.new = Some(set);
            }
            Err(why) if why.reason == "AlreadyExists" => work.collisions += 1,
            Err(why) => {
                let message = format!("Failed to create new replica set \"{name}\": {}", why.message);
                work.progressing("False", "ReplicaSetCreateError", &message, at);
            }
        }
    }

    /// Scales a ReplicaSet; returns its new version.
    fn resize(&self, deployment: &Object, set: &Arc<Object>, size: i64) -> Arc<Object> {
        let (wanted, surge) = (replicas(deployment), Bounds::of(deployment).surge);
        let before = replicas(set);
        let notes = [(DESIRED, wanted.to_string()), (MAX, (wanted + surge).to_string())];
        if before == size && notes.iter().all(|(name, text)| set.annotation(name) == Some(text)) {
            return set.clone();
        }
        let changed = change(&self.store, set, MANAGER, |value| {
            put(value, &["spec", "replicas"], json!(size));
            for (name, text) in notes {
                put(value, &["metadata", "annotations", name], json!(text));
            }
        });
        let Ok(changed) = changed else { return set.clone() };
        if before != size {
            let way = if size > before { "up" } else { "down" };
            let message = format!("Scaled {way} replica set {} from {before} to {size}", set.name());
            self.recorder.normal(deployment, NAME, "ScalingReplicaSet", &message);
        }
        changed
    }

    /// One step of a rolling update: scales up first, and scales down if there is nothing to add.
    fn roll(&self, work: &mut Work) {
        let Some(new) = work.new.clone() else { return };
        let (wanted, bounds) = (replicas(&work.deployment), Bounds::of(&work.deployment));
        let size = scale::grow(wanted, bounds, replicas(&new), work.total());
        let grown = self.resize(&work.deployment, &new, size);
        let moved = size != replicas(&new);
        work.new = Some(grown.clone());
        if moved || work.old.iter().all(|set| replicas(set) == 0) {
            return;
        }
        let least = wanted - bounds.unavailable;
        let missing = replicas(&grown) - status(&grown, "availableReplicas");
        let mut spare = work.total() - least - missing;
        // Unavailable pods are deleted first, because they serve no requests.
        for set in &mut work.old {
            let gone = (replicas(set) - status(set, "availableReplicas")).min(spare);
            if gone > 0 {
                spare -= gone;
                *set = self.resize(&work.deployment, set, replicas(set) - gone);
            }
        }
        let available: i64 =
            work.all().iter().map(|set| status(set, "availableReplicas").min(replicas(set))).sum();
        let mut spare = (available - least).min(spare);
        for set in &mut work.old {
            let gone = replicas(set).min(spare);
            if gone > 0 {
                spare -= gone;
                *set = self.resize(&work.deployment, set, replicas(set) - gone);
            }
        }
    }

    /// All old pods end before the first new one is created.
    fn recreate(&mut self, work: &mut Work, at: DateTime<Utc>) {
        if work.new.is_some() {
            self.number(work, at);
        }
        let mut waits = false;
        for set in &mut work.old {
            waits |= replicas(set) > 0 || status(set, "replicas") > 0;
            *set = self.resize(&work.deployment, set, 0);
            waits |= self.store.owned_by(Res::Pods, set.uid()).iter().any(|pod| !is_finished(pod));
        }
        if waits {
            return;
        }
        self.new_set(work, at);
        if let Some(new) = work.new.clone() {
            work.new = Some(self.resize(&work.deployment, &new, replicas(&work.deployment)));
        }
    }

    /// Distributes a new desired number over the ReplicaSets.
    fn scale_all(&self, work: &mut Work) {
        let deployment = work.deployment.clone();
        let wanted = replicas(&deployment);
        let mut active: Vec<Arc<Object>> = work.all().into_iter().filter(|set| replicas(set) > 0).collect();
        let lone = match active.as_slice() {
            [] => work.new.clone().or_else(|| work.old.last().cloned()),
            [one] => Some(one.clone()),
            _ => None,
        };
        let mut done = Vec::new();
        if let Some(set) = lone {
            done.push(self.resize(&deployment, &set, wanted));
        } else if work.new.as_ref().is_some_and(|new| {
            replicas(new) == wanted
                && status(new, "availableReplicas") == wanted
                && new.annotation(DESIRED) == Some(&wanted.to_string())
        }) {
            done.extend(work.old.iter().map(|set| self.resize(&deployment, set, 0)));
        } else if deployment.text("/spec/strategy/type") != "Recreate" {
            let max = if wanted > 0 { wanted + Bounds::of(&deployment).surge } else { 0 };
            let to_add = max - active.iter().map(|set| replicas(set)).sum::<i64>();
            by_age(&mut active);
            if to_add > 0 {
                active.reverse();
            }
            active.sort_by_key(|set| std::cmp::Reverse(replicas(set)));
            let before = status(&deployment, "replicas");
            let mut added = 0;
            let mut sizes: Vec<i64> = Vec::new();
            for set in &active {
                let part = scale::proportion(set, wanted, max, before, to_add, added);
                added += part;
                sizes.push(replicas(set) + part);
            }
            if let Some(first) = sizes.first_mut() {
                *first = (*first + to_add - added).max(0);
            }
            done.extend(active.iter().zip(sizes).map(|(set, size)| self.resize(&deployment, set, size)));
        }
        for set in done {
            let place = work.old.iter_mut().chain(&mut work.new).find(|one| one.uid() == set.uid());
            if let Some(place) = place {
                *place = set;
            }
        }
    }

    /// Deletes the oldest revisions when a rollout is complete.
    fn clean(&self, work: &Work) {
        let deployment = &work.deployment;
        let Some(limit) = deployment.int("/spec/revisionHistoryLimit") else { return };
        let done =
            work.new.as_ref().is_some_and(|new| status(new, "availableReplicas") == replicas(deployment));
        let mut idle: Vec<_> =
            work.old.iter().filter(|set| replicas(set) == 0 && status(set, "replicas") == 0).collect();
        if !done || idle.len() as i64 <= limit {
            return;
        }
        idle.sort_by_key(|set| revision(set));
        let excess = idle.len() - limit.max(0) as usize;
        for set in idle.into_iter().take(excess) {
            let options = Delete {
                uid: Some(set.uid().to_owned()),
                propagation: Propagation::Background,
                ..Delete::default()
            };
            // Another client may have done it already.
            drop(self.store.delete(Res::ReplicaSets, set.namespace(), set.name(), &options));
        }
    }
}

/// The annotations that a Deployment copies to its ReplicaSets.
fn annotations(deployment: &Object) -> serde_json::Map<String, Value> {
    let mut out = map_of(&deployment.value, "/metadata/annotations");
    for name in [REVISION, HISTORY, DESIRED, MAX, "kubectl.kubernetes.io/last-applied-configuration"] {
        out.remove(name);
    }
    out
}

impl Part for Deployments {
    fn name(&self) -> &'static str {
        "deployments"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        mark_all(&mut self.queue, self.deployments.read());
        mark_owners(&mut self.queue, self.sets.read(), Res::Deployments);
        for key in self.queue.take(at) {
            let Some(deployment) = self.store.get(key.res, &key.namespace, &key.name) else { continue };
            let next = self.sync(&deployment, at);
            self.queue.set(key, next);
        }
        self.queue.next()
    }
}
