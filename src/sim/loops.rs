//! The control loops of the cluster: the work of the scheduler, the kubelets and the controller manager. Each is a part
//! of the engine and reads the store's log from its own position.

mod accounts;
mod budgets;
mod daemonsets;
mod deployments;
pub mod doc;
mod endpoints;
pub mod events;
pub mod feed;
mod fit;
mod gateways;
mod hpa;
mod jobs;
mod kubelet;
mod members;
mod nodes;
mod quota;
mod replicasets;
pub mod requests;
mod revisions;
mod scheduler;
mod statefulsets;
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
        Box::new(hpa::Hpas::new(store, usage, &recorder)),
        Box::new(deployments::Deployments::new(store, &recorder)),
        Box::new(replicasets::ReplicaSets::new(store, &recorder)),
        Box::new(statefulsets::StatefulSets::new(store, &recorder)),
        Box::new(daemonsets::DaemonSets::new(store, &recorder)),
        Box::new(jobs::Jobs::new(store, &recorder)),
        Box::new(scheduler::Scheduler::new(store, &recorder)),
        Box::new(kubelet::Kubelets::new(store, world, logs, &recorder)),
        Box::new(nodes::Lifecycle::new(store, &recorder)),
        Box::new(nodes::Evictions::new(store, &recorder)),
        Box::new(nodes::Garbage::new(store, &recorder)),
        Box::new(endpoints::Endpoints::new(store)),
        Box::new(gateways::Gateways::new(store)),
        Box::new(budgets::Budgets::new(store, &recorder)),
        Box::new(quota::Quotas::new(store)),
        Box::new(accounts::Accounts::new(store)),
        Box::new(events::Pruner::new(&recorder)),
    ]
}
