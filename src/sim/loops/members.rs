//! Which pods the selectors of Services and budgets mean, kept up to date change by change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::feed::{News, Queue};
use crate::selector::Labels;
use crate::store::{Key, Object, Store};

#[derive(Debug)]
struct Group {
    selector: Labels,
    pods: BTreeSet<Arc<str>>,
}

/// Groups of pods by the object whose selector means them.
#[derive(Debug, Default)]
pub struct Members {
    groups: BTreeMap<Arc<str>, BTreeMap<Key, Group>>,
}

/// What Services and budgets look at in a pod, beside its labels.
fn matters(pod: &Object) -> (bool, bool, &str, &str, &str) {
    let phase = pod.text("/status/phase");
    (super::doc::is_ready(pod), pod.is_terminating(), phase, pod.text("/status/podIP"), pod.uid())
}

impl Members {
    /// Takes note of an object with a selector.
    pub fn set(&mut self, store: &Store, key: &Key, selector: Labels) {
        let space = self.groups.entry(key.namespace.clone()).or_default();
        if space.get(key).is_some_and(|group| group.selector == selector) {
            return;
        }
        let pods = store.list_by_label(crate::resources::Res::Pods, Some(&key.namespace), &selector);
        let pods = pods.iter().map(|pod| pod.name().into()).collect();
        space.insert(key.clone(), Group { selector, pods });
    }

    pub fn forget(&mut self, key: &Key) {
        if let Some(space) = self.groups.get_mut(&key.namespace) {
            space.remove(key);
        }
    }

    /// Takes note of changed pods and marks the groups that they are or were in.
    pub fn pods(&mut self, news: Vec<News>, queue: &mut Queue<Key>) {
        for one in news {
            match one {
                News::Reset => {
                    for (key, group) in self.groups.values_mut().flatten() {
                        group.pods.clear();
                        queue.mark(key.clone());
                    }
                }
                // Most changes of pods concern nobody here, and there may be a thousand groups.
                News::Now(pod, Some(old))
                    if matters(&old) == matters(&pod) && old.labels() == pod.labels() => {}
                News::Now(pod, _) => self.pod(&pod, true, queue),
                News::Gone(pod) => self.pod(&pod, false, queue),
            }
        }
    }

    fn pod(&mut self, pod: &Object, exists: bool, queue: &mut Queue<Key>) {
        let Some(space) = self.groups.get_mut(pod.namespace()) else { return };
        for (key, group) in space {
            let is = exists && group.selector.matches(pod.labels());
            let was = group.pods.contains(pod.name());
            if is && !was {
                group.pods.insert(pod.name().into());
            } else if was && !is {
                group.pods.remove(pod.name());
            }
            if is || was {
                queue.mark(key.clone());
            }
        }
    }

    /// The pods of a group, in order of their names.
    pub fn of(&self, store: &Store, key: &Key) -> Vec<Arc<Object>> {
        let group = self.groups.get(&key.namespace).and_then(|space| space.get(key));
        let names = group.into_iter().flat_map(|group| &group.pods);
        names.filter_map(|name| store.get(crate::resources::Res::Pods, &key.namespace, name)).collect()
    }
}
