//! The parts that all controllers of pods share: creating a pod from a template, and reporting the result.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::doc::{after, change, create, is_active, owner, put, text};
use super::events::Recorder;
use super::feed::{News, Queue};
use super::quota;
use crate::resources::Res;
use crate::rng::{short_hash, suffix_of};
use crate::selector::Labels;
use crate::status::Status;
use crate::store::{Delete, Key, Object, Store};

/// Maximum number of pods that are created or deleted in one step for an owner, as in the real controllers. Theirs
/// start with small batches; here they are created at once.
pub(super) const BURST: usize = 500;
/// After a full burst an owner waits; the real controllers wait until they have seen their own changes.
const PAUSE: TimeDelta = TimeDelta::seconds(1);

/// How a pod is named.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name<'a> {
    /// The owner's name and five characters.
    Generated,
    Fixed(&'a str),
}

/// Creates pods for a controller and counts them, so that their names depend on nothing else.
#[derive(Debug)]
pub(super) struct Maker {
    pub store: Store,
    pub recorder: Recorder,
    manager: &'static str,
    made: HashMap<String, u64>,
    /// Owners that used a full burst, by UID, and until when they wait.
    waiting: HashMap<String, DateTime<Utc>>,
}

impl Maker {
    pub(super) fn new(store: &Store, recorder: &Recorder, manager: &'static str) -> Self {
        let (made, waiting) = (HashMap::new(), HashMap::new());
        Self { store: store.clone(), recorder: recorder.clone(), manager, made, waiting }
    }

    /// How many of `n` pods can be created or deleted for an owner now, and when to continue with the rest.
    pub(super) fn burst(
        &mut self,
        of: &Object,
        n: usize,
        at: DateTime<Utc>,
    ) -> (usize, Option<DateTime<Utc>>) {
        if let Some(until) = self.waiting.get(of.uid()).filter(|until| **until > at) {
            return (0, Some(*until));
        }
        if n <= BURST {
            return (n, None);
        }
        let until = after(at, PAUSE);
        self.waiting.retain(|_, until| *until > at);
        self.waiting.insert(of.uid().to_owned(), until);
        (BURST, Some(until))
    }

    /// A pod from a template, which `finish` changes before it is created.
    pub(super) fn pod(
        &mut self,
        of: &Object,
        template: &Value,
        name: Name<'_>,
        finish: impl FnOnce(&mut Value),
    ) -> Result<Arc<Object>, Status> {
        let mut metadata = json!({"namespace": of.namespace(), "ownerReferences": [owner(of)]});
        for field in ["labels", "annotations", "finalizers"] {
            if let Some(value) = template.pointer("/metadata").and_then(|metadata| metadata.get(field)) {
                put(&mut metadata, &[field], value.clone());
            }
        }
        let mut pod =
            json!({"metadata": metadata, "spec": template.get("spec").cloned().unwrap_or_default()});
        finish(&mut pod);
        let counter = match name {
            Name::Generated => format!("{}/{}", of.namespace(), of.name()),
            Name::Fixed(name) => format!("{}/={name}", of.namespace()),
        };
        let nth = self.made.entry(counter).or_default();
        let made = loop {
            *nth += 1;
            let chosen = match name {
                Name::Fixed(name) => name.to_owned(),
                Name::Generated => {
                    let key = ["pod", of.namespace(), of.name(), &nth.to_string()];
                    put(&mut pod, &["metadata", "generateName"], json!(format!("{}-", of.name())));
                    format!("{}-{}", of.name(), suffix_of(&mut self.store.random().keyed(&key), 5))
                }
            };
            put(&mut pod, &["metadata", "name"], json!(chosen));
            let made = quota::admit(&self.store, of.namespace(), &chosen, &pod)
                .and_then(|()| create(&self.store, Res::Pods, pod.clone(), "kube-controller-manager", *nth));
            match made {
                Err(why) if why.reason == "AlreadyExists" && matches!(name, Name::Generated) => {}
                made => break made,
            }
        };
        match &made {
            Ok(pod) => {
                self.recorder.normal(
                    of,
                    self.manager,
                    "SuccessfulCreate",
                    &format!("Created pod: {}", pod.name()),
                );
            }
            // A namespace that is being deleted is no error.
            Err(why) if why.message.contains("being terminated") => {}
            Err(why) => {
                let message = format!("Error creating: {}", why.message);
                self.recorder.warning(of, self.manager, "FailedCreate", &message);
            }
        }
        made
    }

    /// Deletes a pod.
    pub(super) fn delete(&self, of: &Object, pod: &Object) {
        let options = Delete { uid: Some(pod.uid().to_owned()), ..Delete::default() };
        if self.store.delete(Res::Pods, pod.namespace(), pod.name(), &options).is_ok() {
            self.recorder.normal(
                of,
                self.manager,
                "SuccessfulDelete",
                &format!("Deleted pod: {}", pod.name()),
            );
        }
    }

    /// The pods that an object controls.
    pub(super) fn pods(&self, of: &Object) -> Vec<Arc<Object>> {
        let mut all = self.store.owned_by(Res::Pods, of.uid());
        all.retain(|pod| pod.controlled_by(of.uid()));
        all
    }

    pub(super) fn active(&self, of: &Object) -> Vec<Arc<Object>> {
        let mut all = self.pods(of);
        all.retain(|pod| is_active(pod));
        all
    }
}

/// Updates which pods a controller owns, from their labels: releases those that its selector no longer matches, and
/// adopts matching orphans.
#[derive(Debug)]
pub(super) struct Claims {
    store: Store,
    res: Res,
}

impl Claims {
    pub(super) fn new(store: &Store, res: Res) -> Self {
        Self { store: store.clone(), res }
    }

    /// Releases pods that do not match. Returns the others.
    pub(super) fn release(&self, of: &Object, pods: Vec<Arc<Object>>) -> Vec<Arc<Object>> {
        let selector = Labels::of(of.at("/spec/selector"));
        let (own, others): (Vec<_>, Vec<_>) =
            pods.into_iter().partition(|pod| selector.matches(pod.labels()));
        for pod in others.iter().filter(|_| !of.is_terminating()) {
            // A pod that was deleted meanwhile counts as released.
            drop(change(&self.store, pod, "kube-controller-manager", |value| {
                if let Some(Value::Array(owners)) = value.pointer_mut("/metadata/ownerReferences") {
                    owners.retain(|one| text(one, "uid") != of.uid());
                }
            }));
        }
        own
    }

    /// Processes the changes of owners and pods: gives orphans an owner, and marks the owners to process.
    pub(super) fn listen(&self, queue: &mut Queue<Key>, owners: Vec<News>, pods: Vec<News>) {
        for one in &owners {
            if let News::Now(owner, None) = one {
                self.found(owner);
            }
        }
        mark_all(queue, owners);
        self.adopt(&pods);
        mark_owners(queue, pods, self.res);
    }

    /// Gives orphans among the changed pods to the owner that matches them.
    fn adopt(&self, news: &[News]) {
        for one in news {
            let News::Now(pod, before) = one else { continue };
            let is_new = before.as_ref().is_none_or(|old| {
                old.labels() != pod.labels() || old.controller().is_some() || !is_active(old)
            });
            if is_new && pod.controller().is_none() && is_active(pod) {
                let sets = self.store.list(self.res, Some(pod.namespace()));
                let mut sets = sets.iter().filter(|set| !set.is_terminating());
                let means = |set: &&Arc<Object>| {
                    could_be(set, pod) && Labels::of(set.at("/spec/selector")).matches(pod.labels())
                };
                if let Some(set) = sets.find(means) {
                    self.take(set, pod);
                }
            }
        }
    }

    /// A new owner adopts the existing pods that match.
    fn found(&self, set: &Object) {
        let selector = Labels::of(set.at("/spec/selector"));
        for pod in self.store.list_by_label(Res::Pods, Some(set.namespace()), &selector) {
            if could_be(set, &pod) && is_active(&pod) && !set.is_terminating() {
                self.take(set, &pod);
            }
        }
    }

    fn take(&self, set: &Object, pod: &Object) {
        // Another controller may have changed it since.
        if self.store.by_uid(pod.uid()).is_none_or(|now| now.controller().is_some()) {
            return;
        }
        // Another client may have done it already.
        drop(change(&self.store, pod, "kube-controller-manager", |value| {
            let owners = value.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            let mut owners = owners.cloned().unwrap_or_default();
            owners.push(owner(set));
            put(value, &["metadata", "ownerReferences"], json!(owners));
        }));
    }
}

/// A pod of a StatefulSet must also have a matching name.
fn could_be(set: &Object, pod: &Object) -> bool {
    set.res != Res::StatefulSets || ordinal(set, pod).is_some()
}

/// The number of a StatefulSet's pod.
pub(super) fn ordinal(set: &Object, pod: &Object) -> Option<i64> {
    pod.name().strip_prefix(set.name())?.strip_prefix('-')?.parse().ok()
}

/// The hash of a template, for names and labels.
pub(super) fn template_hash(template: &Value, collisions: i64) -> String {
    let mut bytes = template.to_string().into_bytes();
    bytes.extend(collisions.to_le_bytes().iter().filter(|_| collisions > 0));
    short_hash(&bytes)
}

/// Marks the owners of `kind` of all changed objects.
pub(super) fn mark_owners(queue: &mut Queue<Key>, news: Vec<News>, res: Res) {
    let kind = res.info().kind;
    let mut mark = |object: &Object| {
        if let Some(owner) = object.controller()
            && owner.get("kind").and_then(Value::as_str) == Some(kind)
        {
            let name = owner.get("name").and_then(Value::as_str).unwrap_or_default();
            queue.mark(Key { res, namespace: object.namespace().into(), name: name.into() });
        }
    };
    for one in news {
        match one {
            News::Reset => {}
            News::Now(now, before) => {
                mark(&now);
                if let Some(before) = before.filter(|before| before.controller() != now.controller()) {
                    mark(&before);
                }
            }
            News::Gone(last) => mark(&last),
        }
    }
}

/// Marks all changed objects.
pub(super) fn mark_all(queue: &mut Queue<Key>, news: Vec<News>) {
    for one in news {
        match one {
            News::Reset => {}
            News::Now(now, _) => queue.mark(now.key()),
            News::Gone(last) => queue.forget(&last.key()),
        }
    }
}
