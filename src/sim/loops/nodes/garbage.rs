//! Pod garbage collection: force-deletes pods on nodes that no longer exist or that are tainted out-of-service, and the
//! volumes of deleted claims.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::doc::{after, list, text};
use super::super::events::Recorder;
use super::super::feed::{Feed, News};
use super::super::{fit, volumes};
use super::Disruption;
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Delete, Object, Store};

const NAME: &str = "pod-garbage-collector";
const PERIOD: TimeDelta = TimeDelta::seconds(20);
/// How long a node has to be missing before its pods are deleted.
const MISSING: TimeDelta = TimeDelta::seconds(40);
const OUT: &str = "node.kubernetes.io/out-of-service";

#[derive(Debug)]
pub(crate) struct Garbage {
    store: Store,
    recorder: Recorder,
    nodes: Feed,
    pods: Feed,
    claims: Feed,
    out: BTreeSet<Arc<str>>,
    /// Nodes that pods name but that do not exist, and since when.
    missing: BTreeMap<Arc<str>, DateTime<Utc>>,
    due: Option<DateTime<Utc>>,
}

impl Garbage {
    pub(crate) fn new(store: &Store, recorder: &Recorder) -> Self {
        let [nodes, pods, claims] = Feed::each(store, [Res::Nodes, Res::Pods, Res::PersistentVolumeClaims]);
        Self {
            store: store.clone(),
            recorder: recorder.clone(),
            nodes,
            pods,
            claims,
            out: BTreeSet::new(),
            missing: BTreeMap::new(),
            due: None,
        }
    }

    fn listen(&mut self, at: DateTime<Utc>) {
        for news in self.nodes.read() {
            match news {
                News::Reset => self.out.clear(),
                News::Now(node, _) => {
                    self.missing.remove(node.name());
                    if list(&node.value, "/spec/taints").iter().any(|taint| text(taint, "key") == OUT) {
                        self.out.insert(node.name().into());
                    } else {
                        self.out.remove(node.name());
                    }
                }
                News::Gone(node) => {
                    self.out.remove(node.name());
                    self.missing.insert(node.name().into(), at);
                }
            }
        }
        for news in self.pods.read() {
            if let News::Now(pod, before) = news {
                let node = pod.text("/spec/nodeName");
                let bound = before.is_none_or(|old| old.text("/spec/nodeName") != node);
                if bound && !node.is_empty() && self.store.get(Res::Nodes, "", node).is_none() {
                    self.missing.entry(node.into()).or_insert(at);
                }
            }
        }
        for news in self.claims.read() {
            if let News::Gone(claim) = news {
                volumes::release(&self.store, &claim);
            }
        }
    }

    fn collect(&self, pod: &Object, why: &str, at: DateTime<Utc>) {
        let disruption = Disruption {
            by: NAME,
            reason: "DeletionByPodGC",
            why,
            told: ("PodGC", format!("PodGC: {why}")),
            failed: true,
            options: Delete::now(),
        };
        disruption.strike(&self.store, &self.recorder, pod, at);
    }
}

impl Part for Garbage {
    fn name(&self) -> &'static str {
        "pod garbage"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.listen(at);
        if self.out.is_empty() && self.missing.is_empty() {
            self.due = None;
            return None;
        }
        if self.due.is_some_and(|due| due <= at) {
            self.due = None;
            for name in &self.out {
                let Some(node) = self.store.get(Res::Nodes, "", name) else { continue };
                if node.condition("Ready") == Some("True") {
                    continue;
                }
                let taints = list(&node.value, "/spec/taints").iter();
                let out: Vec<_> = taints.filter(|taint| text(taint, "key") == OUT).cloned().collect();
                for pod in self.store.pods_on(name).iter().filter(|pod| pod.is_terminating()) {
                    if fit::untolerated(pod.at("/spec"), &out, &["NoExecute", "NoSchedule"]).is_some() {
                        self.collect(pod, "node is out-of-service", at);
                    }
                }
            }
            let lost = self.missing.iter().filter(|(_, since)| after(**since, MISSING) <= at);
            for name in lost.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                for pod in self.store.pods_on(&name) {
                    self.collect(&pod, "node no longer exists", at);
                }
                self.missing.remove(&name);
            }
        }
        self.due = self.due.or_else(|| Some(self.store.clock().next(PERIOD, TimeDelta::zero(), at)));
        self.due
    }
}
