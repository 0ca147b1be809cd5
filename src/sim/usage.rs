//! The resource usage of nodes and containers, the source of metrics.k8s.io. The part that simulates load fills it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// CPU in billionths of a core and the working set in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    pub cpu_nano: u64,
    pub memory: u64,
}

/// The measurements of the cluster.
pub trait Usage: Send + Sync + std::fmt::Debug {
    fn node(&self, name: &str) -> Option<Used>;
    /// By container. `None` omits the pod, like a pod that was not scraped twice yet.
    fn pod(&self, namespace: &str, name: &str) -> Option<Containers>;
    /// Whether the metrics server answers at all.
    fn is_up(&self) -> bool {
        true
    }
}

/// The usage of each container of a pod.
pub type Containers = Vec<(String, Used)>;

/// The last measurements, in memory.
#[derive(Debug)]
pub struct Meter {
    nodes: RwLock<HashMap<String, Used>>,
    pods: RwLock<HashMap<(String, String), Containers>>,
    up: AtomicBool,
}

impl Default for Meter {
    fn default() -> Self {
        Self { nodes: RwLock::default(), pods: RwLock::default(), up: AtomicBool::new(true) }
    }
}

impl Meter {
    /// Sets the measurement of a node; `None` removes it.
    pub fn set_node(&self, name: &str, used: Option<Used>) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        match used {
            Some(used) => nodes.insert(name.to_owned(), used),
            None => nodes.remove(name),
        };
    }

    /// Sets the measurement of a pod's containers; `None` removes it.
    pub fn set_pod(&self, namespace: &str, name: &str, used: Option<Containers>) {
        let mut pods = self.pods.write().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.to_owned());
        match used {
            Some(used) => pods.insert(key, used),
            None => pods.remove(&key),
        };
    }

    pub fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }
}

impl Usage for Meter {
    fn node(&self, name: &str) -> Option<Used> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<Containers> {
        let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
        pods.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}
