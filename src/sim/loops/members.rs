//! The pods that the selectors of Services and budgets select, updated with each change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::feed::{News, Queue};
use crate::selector::Labels;
use crate::store::{Key, Object, Store};

#[derive(Debug)]
struct Group {
    selector: Labels,
    pods: BTreeSet<Arc<str>>,
}

/// The groups of one namespace, indexed by a label that their pods must have.
#[derive(Debug, Default)]
struct Space {
    groups: BTreeMap<Key, Group>,
    anchored: HashMap<String, BTreeSet<Key>>,
    loose: BTreeSet<Key>,
    of_pod: HashMap<Arc<str>, BTreeSet<Key>>,
}

/// Groups of pods, by the object whose selector selects them.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// The pods were read once; before that, the first read will bring them all.
    primed: bool,
    spaces: BTreeMap<Arc<str>, Space>,
}

impl Space {
    fn forget(&mut self, key: &Key) {
        let Some(group) = self.groups.remove(key) else { return };
        self.loose.remove(key);
        if let Some(anchor) = group.selector.anchor()
            && let Some(keys) = self.anchored.get_mut(&anchor)
        {
            keys.remove(key);
        }
        for pod in group.pods {
            if let Some(keys) = self.of_pod.get_mut(&pod) {
                keys.remove(key);
            }
        }
    }

    fn pod(&mut self, pod: &Object, exists: bool, queue: &mut Queue<Key>) {
        let name: Arc<str> = pod.name().into();
        let mut concerned = self.of_pod.remove(&name).unwrap_or_default();
        if exists {
            concerned.extend(self.loose.iter().cloned());
            for (label, value) in pod.labels().as_object().into_iter().flatten() {
                let anchor = format!("{label}={}", value.as_str().unwrap_or_default());
                concerned.extend(self.anchored.get(&anchor).into_iter().flatten().cloned());
            }
        }
        let mut member = BTreeSet::new();
        for key in concerned {
            let Some(group) = self.groups.get_mut(&key) else { continue };
            let is = exists && group.selector.matches(pod.labels());
            let changed = if is { group.pods.insert(name.clone()) } else { group.pods.remove(&name) };
            if is || changed {
                queue.mark(key.clone());
            }
            if is {
                member.insert(key);
            }
        }
        if !member.is_empty() {
            self.of_pod.insert(name, member);
        }
    }
}

/// The fields of a pod that Services and budgets use, in addition to its labels.
fn matters(pod: &Object) -> (bool, bool, &str, &str, &str) {
    let phase = pod.text("/status/phase");
    (super::doc::is_ready(pod), pod.is_terminating(), phase, pod.text("/status/podIP"), pod.uid())
}

impl Members {
    /// Records an object with a selector.
    pub(super) fn set(&mut self, store: &Store, key: &Key, selector: Labels) {
        let space = self.spaces.entry(key.namespace.clone()).or_default();
        if space.groups.get(key).is_some_and(|group| group.selector == selector) {
            return;
        }
        space.forget(key);
        let pods = if self.primed {
            store.list_by_label(crate::resources::Res::Pods, Some(&key.namespace), &selector)
        } else {
            Vec::new()
        };
        let pods: BTreeSet<Arc<str>> = pods.iter().map(|pod| pod.name().into()).collect();
        for pod in &pods {
            space.of_pod.entry(pod.clone()).or_default().insert(key.clone());
        }
        match selector.anchor() {
            Some(anchor) => space.anchored.entry(anchor).or_default().insert(key.clone()),
            None => space.loose.insert(key.clone()),
        };
        space.groups.insert(key.clone(), Group { selector, pods });
    }

    pub(super) fn forget(&mut self, key: &Key) {
        if let Some(space) = self.spaces.get_mut(&key.namespace) {
            space.forget(key);
        }
    }

    /// Records changed pods, and marks the groups that they belong to or belonged to.
    pub(super) fn pods(&mut self, news: Vec<News>, queue: &mut Queue<Key>) {
        self.primed = true;
        for one in news {
            match one {
                News::Reset => {
                    for space in self.spaces.values_mut() {
                        space.of_pod.clear();
                        for (key, group) in &mut space.groups {
                            group.pods.clear();
                            queue.mark(key.clone());
                        }
                    }
                }
                // Most changes of pods affect no group, and there may be a thousand groups.
                News::Now(pod, Some(old))
                    if matters(&old) == matters(&pod) && old.labels() == pod.labels() => {}
                News::Now(pod, _) => self.pod(&pod, true, queue),
                News::Gone(pod) => self.pod(&pod, false, queue),
            }
        }
    }

    fn pod(&mut self, pod: &Object, exists: bool, queue: &mut Queue<Key>) {
        if let Some(space) = self.spaces.get_mut(pod.namespace()) {
            space.pod(pod, exists, queue);
        }
    }

    /// The pods of a group, in order of their names.
    pub(super) fn of(&self, store: &Store, key: &Key) -> Vec<Arc<Object>> {
        let group = self.spaces.get(&key.namespace).and_then(|space| space.groups.get(key));
        let names = group.into_iter().flat_map(|group| &group.pods);
        names.filter_map(|name| store.get(crate::resources::Res::Pods, &key.namespace, name)).collect()
    }
}
