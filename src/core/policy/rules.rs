//! NOW: small named rules over the shared state. Each finds causes of one kind; [`rank`] orders what all of them found
//! and folds children under their cause.
//!
//! A rule says nothing over a table that was not received: no finding is better than a wrong one, and the missing
//! source is a finding of its own.

mod errors;
mod fold;
mod nodes;
mod pods;
mod services;
mod sources;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::domain::id::{Name, ObjectRef, Uid};
use crate::domain::pod::Pod;
use crate::domain::selector::Selector;
use crate::domain::time::Stamp;
use crate::model::reduce::Parts;
use crate::model::world::{Cause, Cluster, ServiceRow, Severity, WorkloadRow};

/// What a rule may look at.
pub struct Scene<'s, 'c> {
    pub cluster: &'c Cluster,
    /// Pods that are not well, by uid.
    pub bad: &'s HashMap<Uid, Arc<Pod>>,
    pub now: Stamp,
    /// What the rule that runs found the last time: for those that clear later than they fire.
    pub before: &'s [Cause],
    pub index: &'s Index<'c>,
}

/// Look-ups that several rules need, each made when first asked for: a rule that scans for every finding is slow just
/// when there are many.
#[derive(Default)]
pub struct Index<'a> {
    workloads: OnceCell<HashMap<&'a str, Vec<&'a Arc<WorkloadRow>>>>,
    by_uid: OnceCell<HashMap<&'a Uid, &'a Arc<WorkloadRow>>>,
    services: OnceCell<HashMap<&'a str, Vec<&'a Arc<ServiceRow>>>>,
}

impl<'s, 'c> Scene<'s, 'c> {
    /// The workloads of a namespace.
    fn workloads_in(&self, namespace: &str) -> &'s [&'c Arc<WorkloadRow>] {
        let all = self.index.workloads.get_or_init(|| {
            let mut all: HashMap<&str, Vec<_>> = HashMap::new();
            for row in self.cluster.derived.workloads.iter() {
                all.entry(row.workload.namespace.as_str()).or_default().push(row);
            }
            all
        });
        all.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    fn workload(&self, uid: &Uid) -> Option<&'c WorkloadRow> {
        let all = self.index.by_uid.get_or_init(|| {
            self.cluster.derived.workloads.iter().map(|row| (&row.workload.uid, row)).collect()
        });
        all.get(uid).map(|row: &&'c Arc<WorkloadRow>| -> &'c WorkloadRow { row })
    }

    /// The Services of a namespace.
    fn services_in(&self, namespace: &str) -> &'s [&'c Arc<ServiceRow>] {
        let all = self.index.services.get_or_init(|| {
            let mut all: HashMap<&str, Vec<_>> = HashMap::new();
            for row in self.cluster.derived.services.iter() {
                all.entry(row.service.namespace.as_str()).or_default().push(row);
            }
            all
        });
        all.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many Services of a namespace have a selector that `picks` takes.
    fn services_that(&self, namespace: &str, picks: impl Fn(&Selector) -> bool) -> u32 {
        let selects = |row: &&&Arc<ServiceRow>| {
            !row.service.selector.is_empty() && picks(&row.service.selector)
        };
        u32::try_from(self.services_in(namespace).iter().filter(selects).count()).unwrap_or(u32::MAX)
    }

    /// True if the running rule's last findings had one about this object.
    fn held(&self, object: &ObjectRef) -> bool {
        self.before.iter().any(|cause| cause.objects.first() == Some(object))
    }
}

/// One named rule.
pub struct Rule {
    pub name: &'static str,
    /// It runs again when one of these changed.
    pub inputs: Parts,
    pub find: fn(&Scene<'_, '_>) -> Vec<Cause>,
}

/// What a finding about a workload's pods depends on: the pods, whose they are, which Services they stand behind, and
/// whether their nodes can be believed.
const OWNED_PODS: Parts = Parts::PODS.and(Parts::WORKLOADS).and(Parts::SERVICES).and(Parts::NODES);

/// All rules.
pub const RULES: [Rule; 16] = [
    Rule { name: "node-not-ready", inputs: Parts::NODES.and(Parts::PODS), find: nodes::not_ready },
    Rule { name: "node-suspect", inputs: Parts::NODES, find: nodes::suspect },
    Rule { name: "node-pressure", inputs: Parts::NODES, find: nodes::pressure },
    Rule { name: "crash-loop", inputs: OWNED_PODS, find: pods::crash_loop },
    Rule { name: "image-pull", inputs: OWNED_PODS, find: pods::image_pull },
    Rule { name: "bad-config", inputs: OWNED_PODS, find: pods::config },
    Rule { name: "oom-killed", inputs: OWNED_PODS, find: pods::oom },
    Rule { name: "unschedulable", inputs: OWNED_PODS, find: pods::unschedulable },
    Rule { name: "rollout-stuck", inputs: Parts::WORKLOADS.and(Parts::SERVICES), find: pods::rollout_stuck },
    Rule {
        name: "no-ready-endpoints",
        inputs: Parts::SERVICES.and(Parts::WORKLOADS).and(Parts::TIME),
        find: services::no_ready_endpoints,
    },
    Rule {
        name: "service-errors",
        inputs: Parts::TRAFFIC.and(Parts::LOGS).and(Parts::SERVICES).and(Parts::WORKLOADS),
        find: errors::errors,
    },
    Rule { name: "traffic-uneven", inputs: Parts::TRAFFIC.and(Parts::SERVICES), find: errors::uneven },
    Rule {
        name: "errors-since-rollout",
        inputs: Parts::LOGS.and(Parts::WORKLOADS),
        find: errors::errors_since_rollout,
    },
    Rule { name: "hpa", inputs: Parts::HPAS.and(Parts::TIME), find: services::hpa },
    Rule { name: "pdb-blocks", inputs: Parts::PDBS, find: services::pdb },
    Rule { name: "source", inputs: Parts::SOURCES, find: sources::trouble },
];

/// The findings of each rule, so that only rules with new input run again.
#[derive(Default)]
pub struct Findings {
    by_rule: Vec<Vec<Cause>>,
    shown: Arc<[Arc<Cause>]>,
}

impl Findings {
    /// Runs the rules that `parts` concerns; returns the ranked list if it is another than before.
    pub fn update(&mut self, scene: &Scene<'_, '_>, parts: Parts) -> Option<Arc<[Arc<Cause>]>> {
        self.by_rule.resize_with(RULES.len(), Vec::new);
        let mut ran = false;
        for (rule, found) in RULES.iter().zip(self.by_rule.iter_mut()) {
            if parts.meets(rule.inputs) {
                let now = (rule.find)(&Scene { before: found, ..*scene });
                *found = now;
                ran = true;
            }
        }
        if !ran {
            return None;
        }
        let ranked = rank(scene, self.by_rule.iter().flatten().cloned().collect());
        let same =
            ranked.len() == self.shown.len() && ranked.iter().zip(self.shown.iter()).all(|(a, b)| *a == **b);
        if same {
            return None;
        }
        self.shown = ranked.into_iter().map(Arc::new).collect();
        Some(self.shown.clone())
    }
}

/// More are counted in the last line, not listed.
const MOST: usize = 200;

/// Folds children under their causes and orders: severity, then reach, then the older first.
pub fn rank(scene: &Scene<'_, '_>, mut causes: Vec<Cause>) -> Vec<Cause> {
    fold::fold(scene, &mut causes);
    causes.sort_by(|a, b| {
        b.severity
            .cmp(&a.severity)
            .then_with(|| b.reach.error_ratio.unwrap_or(0.0).total_cmp(&a.reach.error_ratio.unwrap_or(0.0)))
            .then_with(|| b.reach.services.cmp(&a.reach.services))
            .then_with(|| b.reach.pods.cmp(&a.reach.pods))
            .then_with(|| a.since.is_none().cmp(&b.since.is_none()))
            .then_with(|| a.since.cmp(&b.since))
            .then_with(|| a.title.cmp(&b.title))
    });
    causes.truncate(MOST);
    causes
}

/// Nodes that are not to be believed: their pods' states are history.
pub fn dead_nodes(cluster: &Cluster) -> BTreeSet<Name> {
    cluster.derived.nodes.iter().filter(|row| row.state.is_dead()).map(|row| row.node.name.clone()).collect()
}

/// `shop/checkout`.
fn title_of(object: &ObjectRef) -> String {
    if object.namespace.is_empty() {
        object.name.to_string()
    } else {
        format!("{}/{}", object.namespace, object.name)
    }
}

/// `1 pod`, `3 pods`.
pub fn count(n: impl Into<u64>, noun: &str) -> String {
    let n = n.into();
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The glyph of a severity, legible without colour.
pub fn glyph(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "✖",
        Severity::Warning => "!",
        Severity::Info => "~",
    }
}
