//! Taint eviction: deletes pods when they have tolerated a NoExecute taint for as long as their toleration says.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::doc::{after, int, list, seconds, text};
use super::super::events::Recorder;
use super::super::feed::{Feed, News, Queue, sooner};
use super::super::fit;
use super::Disruption;
use crate::clock::parse;
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Delete, Object, Store};

const NAME: &str = "taint-eviction-controller";

#[derive(Debug)]
pub(crate) struct Evictions {
    store: Store,
    recorder: Recorder,
    nodes: Feed,
    pods: Feed,
    tainted: BTreeSet<Arc<str>>,
    queue: Queue<Arc<str>>,
}

/// When a pod is evicted from a node with these taints; `None`: never.
fn deadline(pod: &Object, taints: &[serde_json::Value], at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let tolerations = list(&pod.value, "/spec/tolerations");
    let mut out = None;
    for taint in taints.iter().filter(|taint| text(taint, "effect") == "NoExecute") {
        let since = parse(text(taint, "timeAdded")).unwrap_or(at);
        let mut covering = tolerations.iter().filter(|one| fit::tolerates(one, taint)).peekable();
        if covering.peek().is_none() {
            return Some(at);
        }
        let limits = covering.filter(|one| one.get("tolerationSeconds").is_some());
        let least = limits.map(|one| int(one, "tolerationSeconds").max(0)).min();
        out = sooner(out, least.map(|n| after(since, seconds(n))));
    }
    out
}

impl Evictions {
    pub(crate) fn new(store: &Store, recorder: &Recorder) -> Self {
        let [nodes, pods] = Feed::each(store, [Res::Nodes, Res::Pods]);
        Self {
            store: store.clone(),
            recorder: recorder.clone(),
            nodes,
            pods,
            tainted: BTreeSet::new(),
            queue: Queue::default(),
        }
    }

    fn sync(&self, name: &str, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let node = self.store.get(Res::Nodes, "", name)?;
        let taints = list(&node.value, "/spec/taints");
        let mut next = None;
        for pod in self.store.pods_on(name) {
            if pod.is_terminating() || super::super::doc::is_finished(&pod) {
                continue;
            }
            match deadline(&pod, taints, at) {
                Some(due) if due <= at => self.evict(&pod, at),
                due => next = sooner(next, due),
            }
        }
        next
    }

    fn evict(&self, pod: &Object, at: DateTime<Utc>) {
        let message = format!("Marking for deletion Pod {}/{}", pod.namespace(), pod.name());
        let disruption = Disruption {
            by: NAME,
            reason: "DeletionByTaintManager",
            why: "Taint manager: deleting due to NoExecute taint",
            told: ("TaintManagerEviction", message),
            failed: false,
            options: Delete::default(),
        };
        disruption.strike(&self.store, &self.recorder, pod, at);
    }
}

impl Part for Evictions {
    fn name(&self) -> &'static str {
        "taint eviction"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        for news in self.nodes.read() {
            match news {
                News::Reset => self.tainted.clear(),
                News::Now(node, _) => {
                    let name: Arc<str> = node.name().into();
                    let on = list(&node.value, "/spec/taints")
                        .iter()
                        .any(|taint| text(taint, "effect") == "NoExecute");
                    if on {
                        self.tainted.insert(name.clone());
                        self.queue.mark(name);
                    } else if self.tainted.remove(&name) {
                        self.queue.forget(&name);
                    }
                }
                News::Gone(node) => {
                    self.tainted.remove(node.name());
                    self.queue.forget(&node.name().into());
                }
            }
        }
        for news in self.pods.read() {
            if let News::Now(pod, _) = news
                && let Some(name) = self.tainted.get(pod.text("/spec/nodeName"))
            {
                self.queue.mark(name.clone());
            }
        }
        for name in self.queue.take(at) {
            let next = self.sync(&name, at);
            self.queue.set(name, next);
        }
        self.queue.next()
    }
}
