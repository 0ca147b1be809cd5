//! Trouble by label: what `kubectl label` can switch on in a running cluster, for tests and drills. The labels are those
//! that the suites use on a real control plane as well, where KWOK's stages obey them.
//!
//! | label | on | what is wrong |
//! |---|---|---|
//! | `fault.test/not-ready=true` | a node | its kubelet says NotReady |
//! | `fault.test/silent=true` | a node | its kubelet is silent |
//! | `fault.test/unready=true` | a pod | its readiness probe fails |
//! | `fault.test/crash=true` | a pod's template | the container ends again and again |
//! | `fault.test/image=true` | a pod's template | the image cannot be pulled |
//! | `fault.test/oom=true` | a pod's template | the container is killed for its memory, three times |

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Happened, Object, Store, Subscription};
use crate::world::{Crash, Id, NodeTrouble, PodTrouble, Version, World, tag};

const NOT_READY: &str = "fault.test/not-ready";
const SILENT: &str = "fault.test/silent";
const UNREADY: &str = "fault.test/unready";
const CRASH: &str = "fault.test/crash";
const IMAGE: &str = "fault.test/image";
const OOM: &str = "fault.test/oom";

fn on(object: &Object, label: &str) -> bool {
    object.label(label) == Some("true")
}

/// Watches labels and changes the world.
#[derive(Debug)]
pub struct Labels {
    world: World,
    store: Store,
    nodes: Subscription,
    pods: Subscription,
    /// What was set by a label, so that what the story did is not undone by the label's absence.
    set: HashSet<Arc<str>>,
}

impl Labels {
    pub fn new(store: &Store, world: &World) -> Self {
        let (nodes, pods) = (store.subscribe(Res::Nodes), store.subscribe(Res::Pods));
        Self { world: world.clone(), store: store.clone(), nodes, pods, set: HashSet::new() }
    }

    fn node(&mut self, node: &Object) {
        let name: Arc<str> = node.name().into();
        let (not_ready, silent) = (on(node, NOT_READY), on(node, SILENT));
        if not_ready || silent {
            if self.set.insert(name.clone()) {
                let not_ready = not_ready.then(|| "container runtime network not ready".to_owned());
                let trouble = NodeTrouble { silent, not_ready, ..NodeTrouble::default() };
                self.world.change(|state| drop(state.nodes.insert(name, trouble)));
            }
        } else if self.set.remove(&name) {
            self.world.change(|state| drop(state.nodes.remove(&name)));
        }
    }

    fn pod(&mut self, pod: &Object) {
        let uid: Arc<str> = pod.uid().into();
        if on(pod, UNREADY) {
            if self.set.insert(uid.clone()) {
                self.world.change(|state| {
                    state.pods.insert(uid, PodTrouble { unready: true, ..PodTrouble::default() });
                });
            }
        } else if self.set.remove(&uid) {
            self.world.change(|state| drop(state.pods.remove(&uid)));
        }
        let (crash, no_image, oom) = (on(pod, CRASH), on(pod, IMAGE), on(pod, OOM));
        if !(crash || no_image || oom) {
            return;
        }
        let id = Id::new(pod.namespace(), pod.label("app").unwrap_or_default());
        let tag = tag(pod.text("/spec/containers/0/image")).to_owned();
        if self.world.now().apps.get(&id).is_some_and(|app| app.versions.contains_key(&tag)) {
            return;
        }
        let last_words =
            vec!["fatal: cannot read /etc/app/config.yaml: no such file or directory".to_owned()];
        let after = Duration::from_secs(1);
        let crash = if oom {
            Some(Crash { after, code: 137, last_words: Vec::new(), oom: true, times: Some(3) })
        } else {
            crash.then_some(Crash { after, code: 1, last_words, oom: false, times: None })
        };
        let version = Version { crash, no_image, ..Version::default() };
        self.world.change(|state| {
            let others = state.others.clone();
            Arc::make_mut(state.apps.entry(id).or_insert(others)).versions.insert(tag, version);
        });
    }
}

/// All that has happened since; everything there is, if the log no longer reaches back.
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
                    (Happened::Deleted, Res::Pods) => _ = self.set.remove(object.uid()),
                    (Happened::Deleted, _) => _ = self.set.remove(object.name()),
                    (_, Res::Nodes) => self.node(&object),
                    _ => self.pod(&object),
                }
            }
        }
        None
    }
}
