//! ReplicaSets: creates and deletes pods until the number is right; the least valuable pods are deleted first.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::doc::{
    Condition, availability, is_active, is_finished, is_ready, list, put, ready_since, set_condition,
    write_status,
};
use super::events::Recorder;
use super::feed::{Feed, Queue, sooner};
use super::workload::{Claims, Maker, Name};
use crate::clock::parse;
use crate::engine::Part;
use crate::resources::Res;
use crate::selector::Labels;
use crate::store::{Key, Object, Store};

const NAME: &str = "replicaset-controller";
/// A set that could not create its pods tries again after this time.
const RETRY: chrono::TimeDelta = chrono::TimeDelta::seconds(15);

#[derive(Debug)]
pub(super) struct ReplicaSets {
    store: Store,
    maker: Maker,
    claims: Claims,
    sets: Feed,
    pods: Feed,
    queue: Queue<Key>,
}

/// Which of two pods is deleted first: the smaller.
fn worth(pod: &Object, crowd: i64) -> impl Ord + use<> {
    let phase = match pod.text("/status/phase") {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = pod.annotation("controller.kubernetes.io/pod-deletion-cost");
    let cost: i64 = cost.and_then(|text| text.parse().ok()).unwrap_or_default();
    let restarts = list(&pod.value, "/status/containerStatuses").iter();
    let restarts = restarts.filter_map(|one| one.get("restartCount")?.as_i64()).max().unwrap_or_default();
    (
        !pod.text("/spec/nodeName").is_empty(),
        phase,
        is_ready(pod),
        cost,
        Reverse(crowd),
        Reverse(ready_since(pod)),
        Reverse(restarts),
        Reverse(parse(pod.text("/metadata/creationTimestamp"))),
        pod.name().to_owned(),
    )
}

impl ReplicaSets {
    pub(super) fn new(store: &Store, recorder: &Recorder) -> Self {
        Self {
            store: store.clone(),
            maker: Maker::new(store, recorder, NAME),
            claims: Claims::new(store, Res::ReplicaSets),
            sets: Feed::new(store, Res::ReplicaSets),
            pods: Feed::new(store, Res::Pods),
            queue: Queue::default(),
        }
    }

    /// The number of pods of the same application on each node; a pod on the fullest node is deleted first.
    fn crowds(&self, set: &Object) -> HashMap<String, i64> {
        let mut out = HashMap::new();
        let sets = match set.controller().and_then(|owner| owner.get("uid")?.as_str()) {
            Some(uid) => self.store.owned_by(Res::ReplicaSets, uid),
            None => Vec::new(),
        };
        let all = sets.iter().flat_map(|set| self.maker.active(set));
        for pod in all.chain(self.maker.active(set).into_iter().filter(|_| sets.is_empty())) {
            *out.entry(pod.text("/spec/nodeName").to_owned()).or_default() += 1;
        }
        out
    }

    fn sync(&mut self, set: &Arc<Object>, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let wanted = set.int("/spec/replicas").unwrap_or(1).max(0);
        let mut active = self.claims.release(set, self.maker.active(set));
        let (mut failure, mut rest) = (None, None);
        if !set.is_terminating() {
            let missing = wanted - active.len() as i64;
            let (n, due) = self.maker.burst(set, missing.unsigned_abs() as usize, at);
            rest = due;
            if missing < 0 {
                let crowds = self.crowds(set);
                let crowd =
                    |pod: &Object| crowds.get(pod.text("/spec/nodeName")).copied().unwrap_or_default();
                active.sort_by_cached_key(|pod| worth(pod, crowd(pod)));
                for pod in active.iter().take(n) {
                    self.maker.delete(set, pod);
                }
            } else {
                for _ in 0..n {
                    let made = self.maker.pod(set, set.at("/spec/template"), Name::Generated, |_| {});
                    if let Err(why) = made {
                        failure = Some(("FailedCreate", why.message));
                        break;
                    }
                }
            }
        }
        let again = if failure.is_some() { Some(super::doc::after(at, RETRY)) } else { rest };
        sooner(again, self.report(set, failure, at))
    }

    fn report(
        &self,
        set: &Object,
        failure: Option<(&str, String)>,
        at: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let all = self.maker.pods(set);
        let min_ready = set.int("/spec/minReadySeconds").unwrap_or_default();
        let labels = Labels::of_map(set.at("/spec/template/metadata/labels"));
        let (mut replicas, mut labelled, mut ready, mut available, mut terminating) = (0, 0, 0, 0, 0);
        let mut next = None;
        for pod in &all {
            if pod.is_terminating() {
                terminating += i64::from(!is_finished(pod));
            }
            if !is_active(pod) {
                continue;
            }
            replicas += 1;
            labelled += i64::from(labels.matches(pod.labels()));
            ready += i64::from(is_ready(pod));
            let (is, due) = availability(pod, min_ready, at);
            available += i64::from(is);
            next = sooner(next, due);
        }
        let mut conditions = list(&set.value, "/status/conditions").to_vec();
        match failure {
            // The message names a pod, another one with each attempt, so the existing message is kept.
            Some((reason, _))
                if crate::store::condition(&set.value, "ReplicaFailure")
                    .is_some_and(|old| super::doc::text(old, "reason") == reason) => {}
            Some((reason, message)) => {
                set_condition(
                    &mut conditions,
                    Condition::new("ReplicaFailure", "True", reason, &message),
                    at,
                );
            }
            None => conditions.retain(|one| super::doc::text(one, "type") != "ReplicaFailure"),
        }
        let mut status = json!({"replicas": replicas, "terminatingReplicas": terminating,
            "observedGeneration": set.generation()});
        for (field, n) in
            [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)]
        {
            if n > 0 {
                put(&mut status, &[field], json!(n));
            }
        }
        if !conditions.is_empty() {
            put(&mut status, &["conditions"], json!(conditions));
        }
        write_status(&self.store, set, "kube-controller-manager", status);
        next
    }
}

impl Part for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicasets"
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
