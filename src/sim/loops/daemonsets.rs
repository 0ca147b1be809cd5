//! DaemonSets: one pod on every node that accepts it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::doc::{availability, is_finished, is_ready, list, put, share, write_status};
use super::events::Recorder;
use super::feed::{Feed, News, Queue, sooner};
use super::workload::{Claims, Maker, Name};
use super::{fit, revisions};
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Key, Object, Store};

const NAME: &str = "daemonset-controller";
const HASH: &str = "controller-revision-hash";

/// The taints that pods of DaemonSets always tolerate.
const STANDS: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

#[derive(Debug)]
pub(super) struct DaemonSets {
    store: Store,
    maker: Maker,
    claims: Claims,
    sets: Feed,
    pods: Feed,
    nodes: Feed,
    queue: Queue<Key>,
}

/// The node that a pod belongs on, whether it is bound or not.
fn node_of(pod: &Object) -> String {
    let bound = pod.text("/spec/nodeName");
    if bound.is_empty() { fit::only_node(pod.at("/spec")).unwrap_or_default() } else { bound }.to_owned()
}

/// The template's spec with the tolerations that every DaemonSet pod gets.
fn spec_of(set: &Object) -> Value {
    let mut spec = set.at("/spec/template/spec").clone();
    let mut tolerations = list(&spec, "/tolerations").to_vec();
    tolerations.extend(
        STANDS.iter().map(|(key, effect)| json!({"key": key, "operator": "Exists", "effect": effect})),
    );
    put(&mut spec, &["tolerations"], json!(tolerations));
    spec
}

impl DaemonSets {
    pub(super) fn new(store: &Store, recorder: &Recorder) -> Self {
        Self {
            store: store.clone(),
            maker: Maker::new(store, recorder, NAME),
            claims: Claims::new(store, Res::DaemonSets),
            sets: Feed::new(store, Res::DaemonSets),
            pods: Feed::new(store, Res::Pods),
            nodes: Feed::new(store, Res::Nodes),
            queue: Queue::default(),
        }
    }

    fn sync(&mut self, set: &Arc<Object>, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let revision = revisions::current(&self.store, set)?;
        let hash = revisions::hash(&revision).to_owned();
        let spec = spec_of(set);
        let mut by_node: BTreeMap<String, Vec<Arc<Object>>> = BTreeMap::new();
        for pod in self.claims.release(set, self.maker.pods(set)) {
            by_node.entry(node_of(&pod)).or_default().push(pod);
        }
        let (mut wanted, mut strays) = (BTreeSet::new(), 0);
        for node in self.store.list(Res::Nodes, None) {
            let here = by_node.get(node.name()).map(Vec::as_slice).unwrap_or_default();
            let taints = list(&node.value, "/spec/taints");
            let selected = fit::selects(&spec, node.name(), node.labels());
            let runs = selected && fit::untolerated(&spec, taints, &["NoSchedule", "NoExecute"]).is_none();
            let stays = selected && fit::untolerated(&spec, taints, &["NoExecute"]).is_none();
            if runs {
                wanted.insert(node.name().to_owned());
            } else if !here.is_empty() {
                strays += 1;
            }
            if set.is_terminating() {
                continue;
            }
            let failed = here.iter().filter(|pod| is_finished(pod) && !pod.is_terminating());
            let excess =
                here.iter().filter(|pod| !is_finished(pod) && !pod.is_terminating()).skip(usize::from(stays));
            failed.chain(excess).for_each(|pod| self.maker.delete(set, pod));
            if runs && here.is_empty() {
                self.pod(set, node.name(), &spec, &hash);
            }
        }
        if !set.is_terminating() && set.text("/spec/updateStrategy/type") != "OnDelete" {
            self.roll(set, &by_node, &wanted, &hash, at);
        }
        self.report(set, &wanted, strays, &hash, at)
    }

    fn pod(&mut self, set: &Object, node: &str, spec: &Value, hash: &str) {
        let template = set.at("/spec/template").clone();
        let affinity =
            json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]);
        // The event of the pod's creation says why not.
        drop(self.maker.pod(set, &template, Name::Generated, |pod| {
            put(pod, &["spec"], spec.clone());
            put(pod, &["metadata", "labels", HASH], json!(hash));
            let way = "requiredDuringSchedulingIgnoredDuringExecution";
            put(pod, &["spec", "affinity", "nodeAffinity", way, "nodeSelectorTerms"], affinity);
        }));
    }

    /// Replaces pods of older revisions, first those that are not ready.
    fn roll(
        &self,
        set: &Object,
        by_node: &BTreeMap<String, Vec<Arc<Object>>>,
        wanted: &BTreeSet<String>,
        hash: &str,
        at: DateTime<Utc>,
    ) {
        let most = set.at("/spec/updateStrategy/rollingUpdate/maxUnavailable");
        let most = share(most, wanted.len() as i64, true).unwrap_or(1).max(1);
        let min_ready = set.int("/spec/minReadySeconds").unwrap_or_default();
        let (mut missing, mut useless, mut old) = (0, Vec::new(), Vec::new());
        for node in wanted {
            let here = by_node
                .get(node)
                .into_iter()
                .flatten()
                .find(|pod| !pod.is_terminating() && !is_finished(pod));
            let Some(pod) = here else {
                missing += 1;
                continue;
            };
            let available = availability(pod, min_ready, at).0;
            match (pod.label(HASH) == Some(hash), available) {
                (true, true) => {}
                (true, false) => missing += 1,
                (false, true) => old.push(pod),
                (false, false) => {
                    missing += 1;
                    useless.push(pod);
                }
            }
        }
        let room = (most - missing).max(0) as usize;
        for pod in useless.into_iter().chain(old.into_iter().take(room)) {
            self.maker.delete(set, pod);
        }
    }

    fn report(
        &self,
        set: &Object,
        wanted: &BTreeSet<String>,
        strays: i64,
        hash: &str,
        at: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let min_ready = set.int("/spec/minReadySeconds").unwrap_or_default();
        let (mut current, mut ready, mut available, mut updated) = (0, 0, 0, 0);
        let mut next = None;
        let pods = self.maker.active(set);
        for pod in pods.iter().filter(|pod| wanted.contains(&node_of(pod))) {
            current += 1;
            ready += i64::from(is_ready(pod));
            let (is, due) = availability(pod, min_ready, at);
            available += i64::from(is);
            next = sooner(next, due);
            updated += i64::from(pod.label(HASH) == Some(hash));
        }
        let desired = wanted.len() as i64;
        let mut status = json!({"currentNumberScheduled": current, "desiredNumberScheduled": desired, "numberReady": ready,
            "numberMisscheduled": strays, "observedGeneration": set.generation()});
        for (field, n) in [
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", desired - available),
        ] {
            if n > 0 {
                put(&mut status, &[field], json!(n));
            }
        }
        write_status(&self.store, set, "kube-controller-manager", status);
        if updated == desired {
            revisions::clean(&self.store, set, &[hash.to_owned()]);
        }
        next
    }
}

impl Part for DaemonSets {
    fn name(&self) -> &'static str {
        "daemonsets"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.claims.listen(&mut self.queue, self.sets.read(), self.pods.read());
        let moved = self.nodes.read().iter().any(|news| match news {
            News::Reset => false,
            News::Now(node, before) => before.as_ref().is_none_or(|old| {
                old.at("/spec/taints") != node.at("/spec/taints") || old.labels() != node.labels()
            }),
            News::Gone(_) => true,
        });
        if moved {
            for set in self.store.list(Res::DaemonSets, None) {
                self.queue.mark(set.key());
            }
        }
        for key in self.queue.take(at) {
            let Some(set) = self.store.get(key.res, &key.namespace, &key.name) else { continue };
            let next = self.sync(&set, at);
            self.queue.set(key, next);
        }
        self.queue.next()
    }
}
