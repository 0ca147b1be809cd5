//! The control loops of the cluster: what the scheduler, the kubelets and the controller manager do in a real one. Each
//! is a part of the engine with its own places in the store's log.

mod deployments;
pub mod doc;
pub mod events;
pub mod feed;
mod fit;
mod kubelet;
mod quota;
mod replicasets;
pub mod requests;
mod scheduler;
mod volumes;
mod workload;

use std::sync::Arc;

use crate::engine::Part;
use crate::logs::Notebook;
use crate::store::Store;
use crate::usage::Meter;
use crate::world::World;

/// The loops of a cluster, in the order in which they run.
pub fn parts(store: &Store, world: &World, logs: &Arc<Notebook>, usage: &Arc<Meter>) -> Vec<Box<dyn Part>> {
    let recorder = events::Recorder::new(store);
    vec![
        Box::new(deployments::Deployments::new(store, &recorder)),
        Box::new(replicasets::ReplicaSets::new(store, &recorder)),
        Box::new(scheduler::Scheduler::new(store, &recorder)),
        Box::new(kubelet::Kubelets::new(store, world, logs, &recorder)),
        Box::new(quota::Quotas::new(store)),
        Box::new(events::Pruner::new(&recorder)),
    ]
}
