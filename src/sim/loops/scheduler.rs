//! The scheduler: binds each pod to a node, or reports with the real scheduler's message why none fits.

mod board;
mod filter;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::doc::{Condition, after, change, list, put, set_condition, text};
use super::events::Recorder;
use super::feed::{Feed, News, Queue};
use super::{fit, volumes};
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Key, Object, Store, Write};
use board::Board;
pub(super) use board::ZONE;
use filter::Wish;

const NAME: &str = "default-scheduler";
/// In a large cluster only this many fitting nodes are compared.
const ENOUGH: usize = 100;

/// Pods are ordered by priority, then by age, then by name.
type Turn = (std::cmp::Reverse<i64>, String, Key);

#[derive(Debug)]
struct Waiting {
    tries: u32,
    /// Not before this time, however much changes.
    not_before: DateTime<Utc>,
}

#[derive(Debug)]
pub(super) struct Scheduler {
    store: Store,
    recorder: Recorder,
    nodes: Feed,
    pods: Feed,
    claims: Feed,
    board: Board,
    /// Pods that fit on no node.
    refused: BTreeMap<Key, Waiting>,
    queue: Queue<Key>,
}

impl Scheduler {
    pub(super) fn new(store: &Store, recorder: &Recorder) -> Self {
        let [nodes, pods, claims] = Feed::each(store, [Res::Nodes, Res::Pods, Res::PersistentVolumeClaims]);
        Self {
            store: store.clone(),
            recorder: recorder.clone(),
            nodes,
            pods,
            claims,
            board: Board::default(),
            refused: BTreeMap::new(),
            queue: Queue::default(),
        }
    }

    fn listen(&mut self, at: DateTime<Utc>) {
        let mut helps = false;
        for news in self.nodes.read() {
            match news {
                News::Reset => self.board.places.values_mut().for_each(|place| place.node = None),
                News::Now(node, _) => helps |= self.board.node(&node),
                News::Gone(node) => self.board.lose_node(node.name()),
            }
        }
        for news in self.pods.read() {
            match news {
                News::Reset => {
                    self.board = Board::default();
                    for node in self.store.list(Res::Nodes, None) {
                        self.board.node(&node);
                    }
                    self.refused.clear();
                    self.queue.clear();
                }
                News::Now(pod, before) => {
                    helps |= self.board.pod(&pod);
                    let key = pod.key();
                    if !pod.text("/spec/nodeName").is_empty() || pod.is_terminating() {
                        self.refused.remove(&key);
                        self.queue.forget(&key);
                    } else if before
                        .is_none_or(|old| old.uid() != pod.uid() || old.at("/spec") != pod.at("/spec"))
                    {
                        self.refused.remove(&key);
                        self.queue.mark(key);
                    }
                }
                News::Gone(pod) => {
                    helps |= self.board.lose_pod(pod.uid());
                    self.refused.remove(&pod.key());
                    self.queue.forget(&pod.key());
                }
            }
        }
        helps |= !self.claims.read().is_empty();
        if helps {
            for (key, waiting) in &self.refused {
                self.queue.set(key.clone(), Some(waiting.not_before.max(at)));
            }
        }
    }

    fn place(&mut self, key: &Key, at: DateTime<Utc>) {
        let Some(pod) = self.store.get(Res::Pods, &key.namespace, &key.name) else { return };
        if !pod.text("/spec/nodeName").is_empty() || pod.is_terminating() {
            return;
        }
        if !list(&pod.value, "/spec/schedulingGates").is_empty() {
            let why = "Scheduling is blocked due to non-empty scheduling gates";
            self.condition(&pod, Condition::new("PodScheduled", "False", "SchedulingGated", why), at);
            return;
        }
        if !matches!(pod.text("/spec/schedulerName"), "" | NAME) {
            return;
        }
        let claims = match volumes::claims(&self.store, &pod) {
            Ok(claims) => claims,
            Err(why) => return self.refuse(&pod, &format!("0/{} nodes are available: {why}. no new claims to \
                deallocate, preemption: 0/{0} nodes are available: {0} Preemption is not helpful for scheduling.",
                self.board.places.len()), at),
        };
        let wish = Wish::new(&self.board, &pod, volumes::affinities(&self.store, &claims));
        match self.choose(&pod, &wish) {
            Ok(node) => self.bind(&pod, &node, &claims, at),
            Err(why) => self.refuse(&pod, &why, at),
        }
    }

    /// The best node, or why there is none.
    fn choose(&self, pod: &Object, wish: &Wish<'_>) -> Result<Arc<Object>, String> {
        let mut why: BTreeMap<String, usize> = BTreeMap::new();
        let (mut hopeless, mut full, mut fits) = (0, 0, 0);
        let mut best: Option<(i64, u64, Arc<Object>)> = None;
        let mut luck = self.store.random().keyed(&["place", pod.namespace(), pod.name()]);
        // A DaemonSet's pod names its node: only if that one refuses, the others are checked.
        let only = fit::only_node(pod.at("/spec")).and_then(|name| self.board.places.get(name));
        if let Some(place) = only
            && let Some(node) = &place.node
            && wish.refusals(node, place).is_empty()
        {
            return Ok(node.clone());
        }
        let all = self.board.places.len();
        let from = if all > ENOUGH { luck.usize(0..all) } else { 0 };
        for (_, place) in self.board.places.iter().skip(from).chain(self.board.places.iter().take(from)) {
            let Some(node) = &place.node else { continue };
            let refusals = wish.refusals(node, place);
            if refusals.is_empty() {
                let (score, tie) = (wish.score(&self.board, node, place), luck.u64(..));
                if best.as_ref().is_none_or(|(s, t, _)| (*s, *t) < (score, tie)) {
                    best = Some((score, tie, node.clone()));
                }
                fits += 1;
                if fits >= ENOUGH {
                    break;
                }
                continue;
            }
            if refusals.iter().any(|one| one.starts_with("Insufficient") || one == "Too many pods") {
                full += 1;
            } else {
                hopeless += 1;
            }
            for one in refusals {
                *why.entry(one).or_default() += 1;
            }
        }
        if let Some((_, _, node)) = best {
            return Ok(node);
        }
        let nodes = self.board.places.values().filter(|place| place.node.is_some()).count();
        if nodes == 0 {
            return Err("no nodes available to schedule pods".to_owned());
        }
        let joined = |counts: &BTreeMap<String, usize>| {
            let mut lines: Vec<String> =
                counts.iter().filter(|(_, n)| **n > 0).map(|(why, n)| format!("{n} {why}")).collect();
            lines.sort();
            lines.join(", ")
        };
        let preemption = BTreeMap::from([
            ("Preemption is not helpful for scheduling".to_owned(), hopeless),
            ("No preemption victims found for incoming pod".to_owned(), full),
        ]);
        Err(format!(
            "0/{nodes} nodes are available: {}. no new claims to deallocate, preemption: 0/{nodes} nodes are available: {}.",
            joined(&why),
            joined(&preemption)
        ))
    }

    fn bind(&mut self, pod: &Arc<Object>, node: &Object, claims: &[Arc<Object>], at: DateTime<Utc>) {
        volumes::bind(&self.store, &self.recorder, claims, node);
        let how = Write::by(NAME).if_uid(Some(pod.uid()));
        let bound = self.store.write(Res::Pods, pod.namespace(), pod.name(), &how, |value| {
            put(value, &["spec", "nodeName"], json!(node.name()));
            with_condition(value, Condition::new("PodScheduled", "True", "", ""), at);
            Ok(())
        });
        let Ok(bound) = bound else { return };
        self.refused.remove(&pod.key());
        self.board.pod(&bound);
        let message = format!("Successfully assigned {}/{} to {}", pod.namespace(), pod.name(), node.name());
        self.recorder.normal(pod, NAME, "Scheduled", &message);
    }

    fn refuse(&mut self, pod: &Arc<Object>, why: &str, at: DateTime<Utc>) {
        let waiting = self.refused.entry(pod.key()).or_insert(Waiting { tries: 0, not_before: at });
        let wait = 1_i64 << waiting.tries.min(4);
        waiting.tries += 1;
        waiting.not_before = after(at, TimeDelta::seconds(wait.min(10)));
        self.condition(pod, Condition::new("PodScheduled", "False", "Unschedulable", why), at);
        self.recorder.warning(pod, NAME, "FailedScheduling", why);
    }

    fn condition(&self, pod: &Object, condition: Condition<'_>, at: DateTime<Utc>) {
        // A deleted pod needs no reason.
        drop(change(&self.store, pod, NAME, |value| with_condition(value, condition, at)));
    }
}

fn with_condition(pod: &mut Value, condition: Condition<'_>, at: DateTime<Utc>) {
    let mut conditions = list(pod, "/status/conditions").to_vec();
    set_condition(&mut conditions, condition, at);
    put(pod, &["status", "conditions"], json!(conditions));
}

impl Part for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.listen(at);
        let due = self.queue.take(at);
        let mut turns: Vec<Turn> = Vec::with_capacity(due.len());
        for key in due {
            let Some(pod) = self.store.get(Res::Pods, &key.namespace, &key.name) else { continue };
            let class = pod.text("/spec/priorityClassName");
            let priority = pod.int("/spec/priority").or_else(|| {
                let class =
                    (!class.is_empty()).then(|| self.store.get(Res::PriorityClasses, "", class)).flatten()?;
                class.int("/value")
            });
            turns.push((
                std::cmp::Reverse(priority.unwrap_or_default()),
                text(pod.at("/metadata"), "creationTimestamp").to_owned(),
                key,
            ));
        }
        turns.sort();
        for (_, _, key) in turns {
            self.place(&key, at);
        }
        self.queue.next()
    }
}
