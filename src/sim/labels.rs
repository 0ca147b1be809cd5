//! Faults by label: `kubectl label` turns them on in a running cluster, for tests and drills, and off again. The test
//! suites use the same labels on a real control plane, where KWOK's stages implement them.
//!
//! | label | on | what is wrong |
//! |---|---|---|
//! | `fault.test/not-ready=true` | a node | its kubelet says NotReady |
//! | `fault.test/silent=true` | a node | its kubelet sends nothing |
//! | `fault.test/unready=true` | a pod | its readiness probe fails |
//! | `fault.test/crash=true` | a pod | the container terminates repeatedly |
//! | `fault.test/image=true` | a pod | the image cannot be pulled |
//! | `fault.test/oom=true` | a pod | the container is OOM-killed three times |
//!
//! Pods get them from their template. Each affects the pod that has it, for as long as it has it: pods of a template
//! without it are healthy, whatever their image.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Happened, Object, Store, Subscription};
use crate::world::{Crash, NodeTrouble, PodTrouble, State, World};

const NOT_READY: &str = "fault.test/not-ready";
const SILENT: &str = "fault.test/silent";
const UNREADY: &str = "fault.test/unready";
const CRASH: &str = "fault.test/crash";
const IMAGE: &str = "fault.test/image";
const OOM: &str = "fault.test/oom";

fn on(object: &Object, label: &str) -> bool {
    object.label(label) == Some("true")
}

/// Applies the current labels of one node or pod. `mine`: the faults from its previous labels; `all`: the world's
/// faults, which also has those of the story; `bring`: changes the parts that labels control.
fn said<T: Default + PartialEq>(
    world: &World,
    mine: &mut HashMap<Arc<str>, T>,
    key: &str,
    now: T,
    all: impl FnOnce(&mut State) -> &mut BTreeMap<Arc<str>, T>,
    bring: impl FnOnce(&mut T, &T, &T),
) {
    let before = mine.remove(key).unwrap_or_default();
    let key: Arc<str> = key.into();
    if before != now {
        world.change(|state| {
            let all = all(state);
            let held = all.entry(key.clone()).or_default();
            bring(held, &before, &now);
            if *held == T::default() {
                all.remove(&key);
            }
        });
    }
    if now != T::default() {
        mine.insert(key, now);
    }
}

/// Watches labels and changes the world.
#[derive(Debug)]
pub struct Labels {
    world: World,
    store: Store,
    nodes: Subscription,
    pods: Subscription,
    /// The faults set by labels, for nodes by name and for pods by UID, so that the absence of a label does not end a
    /// fault of the story.
    of_node: HashMap<Arc<str>, NodeTrouble>,
    of_pod: HashMap<Arc<str>, PodTrouble>,
}

fn node_trouble(node: &Object) -> NodeTrouble {
    let not_ready = on(node, NOT_READY).then(|| "container runtime network not ready".to_owned());
    NodeTrouble { silent: on(node, SILENT), not_ready, ..NodeTrouble::default() }
}

fn pod_trouble(pod: &Object) -> PodTrouble {
    let after = Duration::from_secs(1);
    let crash = if on(pod, OOM) {
        Some(Crash { after, code: 137, last_words: Vec::new(), oom: true, times: Some(3) })
    } else {
        on(pod, CRASH).then(|| {
            let last_words =
                vec!["fatal: cannot read /etc/app/config.yaml: no such file or directory".to_owned()];
            Crash { after, code: 1, last_words, oom: false, times: None }
        })
    };
    PodTrouble { unready: on(pod, UNREADY), crash, no_image: on(pod, IMAGE), ..PodTrouble::default() }
}

/// Changes one part of a fault from the previous labels' value to the current one.
fn shift<T: Clone + PartialEq>(held: &mut T, before: &T, now: &T) {
    if before != now {
        *held = now.clone();
    }
}

impl Labels {
    pub fn new(store: &Store, world: &World) -> Self {
        let (nodes, pods) = (store.subscribe(Res::Nodes), store.subscribe(Res::Pods));
        let (of_node, of_pod) = (HashMap::new(), HashMap::new());
        Self { world: world.clone(), store: store.clone(), nodes, pods, of_node, of_pod }
    }

    fn node(&mut self, name: &str, now: NodeTrouble) {
        said(
            &self.world,
            &mut self.of_node,
            name,
            now,
            |state| &mut state.nodes,
            |held, before, now| {
                shift(&mut held.silent, &before.silent, &now.silent);
                shift(&mut held.not_ready, &before.not_ready, &now.not_ready);
            },
        );
    }

    fn pod(&mut self, uid: &str, now: PodTrouble) {
        said(
            &self.world,
            &mut self.of_pod,
            uid,
            now,
            |state| &mut state.pods,
            |held, before, now| {
                shift(&mut held.unready, &before.unready, &now.unready);
                shift(&mut held.crash, &before.crash, &now.crash);
                shift(&mut held.no_image, &before.no_image, &now.no_image);
            },
        );
    }
}

/// All changes since the last read; all objects if the log no longer reaches back so far.
fn news(store: &Store, res: Res, log: &mut Subscription) -> Vec<(Happened, Arc<Object>)> {
    let mut all = Vec::new();
    loop {
        match log.poll() {
            Ok(changes) if changes.is_empty() => return all,
            Ok(changes) => all.extend(changes.iter().map(|one| (one.happened, one.object.clone()))),
            Err(_) => {
                let (objects, again) = store.list_and_subscribe(res);
                *log = again;
                return objects.into_iter().map(|object| (Happened::Modified, object)).collect();
            }
        }
    }
}

impl Part for Labels {
    fn name(&self) -> &'static str {
        "labels"
    }

    fn step(&mut self, _: DateTime<Utc>) -> Option<DateTime<Utc>> {
        for res in [Res::Nodes, Res::Pods] {
            let log = if res == Res::Nodes { &mut self.nodes } else { &mut self.pods };
            let changed = news(&self.store, res, log);
            for (happened, object) in changed {
                match (happened, res) {
                    (Happened::Deleted, Res::Nodes) => self.node(object.name(), NodeTrouble::default()),
                    (Happened::Deleted, _) => self.pod(object.uid(), PodTrouble::default()),
                    (_, Res::Nodes) => self.node(object.name(), node_trouble(&object)),
                    _ => self.pod(object.uid(), pod_trouble(&object)),
                }
            }
        }
        None
    }
}
