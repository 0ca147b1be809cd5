//! The metrics server: every 15 simulated seconds it measures what pods and nodes used since the last time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::field::SharedField;
use super::read::age;
use crate::engine::Part;
use crate::resources::Res;
use crate::store::Store;
use crate::usage::{Meter, Used};
use crate::world::World;

/// How often it measures.
const EVERY: TimeDelta = TimeDelta::seconds(15);
/// A container is measured after it was seen twice.
const YOUNGEST: f64 = 30.0;
/// The usage of a machine's own daemons: cores and bytes.
pub(crate) const SYSTEM_CPU: f64 = 0.18;
pub(crate) const SYSTEM_MEMORY: f64 = 1.3e9;
/// The usage of a container other than the application's: cores and bytes.
pub(crate) const BESIDE_CPU: f64 = 0.004;
pub(crate) const BESIDE_MEMORY: f64 = 24.0e6;

/// The part of the engine that fills the [`Meter`].
pub struct MetricsServer {
    store: Store,
    world: World,
    field: SharedField,
    meter: Arc<Meter>,
    last: Option<DateTime<Utc>>,
    /// The seconds of traffic that had been counted by then.
    counted: Option<f64>,
    pods: BTreeSet<(Arc<str>, Arc<str>)>,
    nodes: BTreeSet<String>,
}

impl MetricsServer {
    pub fn new(store: &Store, world: &World, field: &SharedField, meter: &Arc<Meter>) -> Self {
        Self {
            store: store.clone(),
            world: world.clone(),
            field: field.clone(),
            meter: meter.clone(),
            last: None,
            counted: None,
            pods: BTreeSet::new(),
            nodes: BTreeSet::new(),
        }
    }
}

fn used(cpu: f64, memory: f64) -> Used {
    Used { cpu_nano: (cpu * 1e9).max(0.0) as u64, memory: memory.max(0.0) as u64 }
}

impl Part for MetricsServer {
    fn name(&self) -> &'static str {
        "metrics-server"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let last = self.last.filter(|last| *last <= at);
        if let Some(last) = last
            && at - last < EVERY
        {
            return Some(last + EVERY);
        }
        self.last = Some(at);
        let mut pods = BTreeSet::new();
        let mut on_node: BTreeMap<Arc<str>, (f64, f64)> = BTreeMap::new();
        let mut field = self.field.write();
        // Traffic counts in steps of its own, so its counts are divided by the seconds that they cover.
        let seconds = self.counted.replace(field.counted).map(|before| field.counted - before);
        let seconds = seconds.filter(|seconds| *seconds > 0.0);
        for pod in field.pods.iter_mut().flatten() {
            let young = age(pod, at) < YOUNGEST;
            let cpu = pod.fixed_cpu.unwrap_or_else(|| {
                seconds.map_or(pod.cpu, |seconds| (pod.cpu_seconds - pod.metered).max(0.0) / seconds)
            });
            pod.metered = pod.cpu_seconds;
            if !pod.is_alive() {
                continue;
            }
            let node = on_node.entry(pod.node.clone()).or_default();
            let beside = pod.others.len() as f64;
            node.0 += cpu + beside * BESIDE_CPU;
            node.1 += pod.memory + beside * BESIDE_MEMORY;
            if young || pod.behaviour.silent {
                continue;
            }
            let mut containers = vec![(pod.container.to_string(), used(cpu, pod.memory))];
            containers
                .extend(pod.others.iter().map(|name| (name.to_string(), used(BESIDE_CPU, BESIDE_MEMORY))));
            self.meter.set_pod(&pod.namespace, &pod.name, Some(containers));
            pods.insert((pod.namespace.clone(), pod.name.clone()));
        }
        drop(field);
        for (namespace, name) in self.pods.difference(&pods) {
            self.meter.set_pod(namespace, name, None);
        }
        self.pods = pods;
        let state = self.world.now();
        let mut nodes = BTreeSet::new();
        for node in self.store.list(Res::Nodes, None) {
            let trouble = state.node(node.name());
            if trouble.off || trouble.silent {
                continue;
            }
            let (cpu, memory) = on_node.get(node.name()).copied().unwrap_or_default();
            let all = used(cpu + SYSTEM_CPU, memory + SYSTEM_MEMORY);
            self.meter.set_node(node.name(), Some(all));
            nodes.insert(node.name().to_owned());
        }
        for gone in self.nodes.difference(&nodes) {
            self.meter.set_node(gone, None);
        }
        self.nodes = nodes;
        Some(at + EVERY)
    }
}
