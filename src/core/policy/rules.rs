//! NOW: small named rules over the shared state. Each rule finds problems of one kind. [`rank`] orders all findings,
//! and folds the findings that another one explains into it.
//!
//! A rule finds nothing in a table that was not read, because no finding is better than a wrong one. The missing
//! source is a finding of its own.

mod alerts;
mod canary;
mod errors;
mod fold;
mod jobs;
mod join;
mod leaving;
mod nodes;
mod pods;
mod progress;
mod ready;
mod refused;
mod rotation;
mod services;
mod slo;
mod slow;
mod sources;
mod starting;
mod volumes;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::domain::cause::FindingCode as Code;
use crate::domain::claim::Claim;
use crate::domain::id::{Name, ObjectRef, Uid};
use crate::domain::pod::Pod;
use crate::domain::selector::Selector;
use crate::domain::silence::Silence;
use crate::domain::time::Stamp;
use crate::domain::traffic::ServiceTraffic;
use crate::facts::events_about::EventsAbout;
use crate::facts::latency::Latency;
use crate::facts::reduce::{Part, Parts};
use crate::facts::world::{Cause, Cluster, ServiceRow, Severity, Silenced, WorkloadRow};

/// The data that a rule may read, and its last findings.
pub struct RuleContext<'s, 'c> {
    pub cluster: &'c Cluster,
    /// Finds a pod by its uid without a scan.
    pub pod: &'s dyn Fn(&Uid) -> Option<&'c Arc<Pod>>,
    /// Pods with a problem, by uid.
    pub bad: &'s HashMap<Uid, Arc<Pod>>,
    /// Pods that are starting or terminating, by uid.
    pub unsettled: &'s HashMap<Uid, Arc<Pod>>,
    /// Pods that a person took out of rotation, by uid.
    pub apart: &'s HashMap<Uid, Arc<Pod>>,
    /// The events, by the object that they are about.
    pub events: &'s EventsAbout,
    /// The usual latencies.
    pub latency: &'s Latency,
    pub now: Stamp,
    /// The last findings of the running rule. Some rules need them, because their findings end at a lower limit than
    /// they begin.
    pub before: &'s [Cause],
    pub index: &'s Index<'c>,
}

/// Indexes that several rules need. Each is built on first use. Without them, a rule would scan the tables for every
/// finding, and it would be slowest when there are many.
#[derive(Default)]
pub struct Index<'a> {
    workloads: OnceCell<HashMap<&'a str, Vec<&'a Arc<WorkloadRow>>>>,
    by_uid: OnceCell<HashMap<&'a Uid, &'a Arc<WorkloadRow>>>,
    services: OnceCell<HashMap<&'a str, Vec<&'a Arc<ServiceRow>>>>,
    pods: OnceCell<HashMap<&'a str, Vec<&'a Arc<Pod>>>>,
    dead: OnceCell<BTreeSet<Name>>,
    claims: OnceCell<HashMap<(&'a str, &'a str), &'a Arc<Claim>>>,
}

impl<'s, 'c> RuleContext<'s, 'c> {
    /// Returns the workloads of a namespace.
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

    /// Returns true if the pod's node is dead. The pod's status is then out of date.
    fn is_on_dead_node(&self, pod: &Pod) -> bool {
        let dead = self.index.dead.get_or_init(|| dead_nodes(self.cluster));
        pod.node.as_ref().is_some_and(|node| dead.contains(node))
    }

    /// Returns the Services of a namespace.
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

    /// Returns the pods of a namespace.
    fn pods_in(&self, namespace: &str) -> &'s [&'c Arc<Pod>] {
        let all = self.index.pods.get_or_init(|| {
            let mut all: HashMap<&str, Vec<_>> = HashMap::new();
            for pod in self.cluster.pods.iter() {
                all.entry(pod.namespace.as_str()).or_default().push(pod);
            }
            all
        });
        all.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns a PersistentVolumeClaim by its namespace and name.
    fn claim(&self, namespace: &str, name: &str) -> Option<&'c Claim> {
        let all = self.index.claims.get_or_init(|| {
            self.cluster.claims.iter().map(|c| ((c.namespace.as_str(), c.name.as_str()), c)).collect()
        });
        all.get(&(namespace, name)).map(|claim: &&'c Arc<Claim>| -> &'c Claim { claim })
    }

    /// Returns how many Services of a namespace have a selector that `picks` accepts.
    fn services_that(&self, namespace: &str, picks: impl Fn(&Selector) -> bool) -> u32 {
        let selects =
            |row: &&&Arc<ServiceRow>| !row.service.selector.is_empty() && picks(&row.service.selector);
        u32::try_from(self.services_in(namespace).iter().filter(selects).count()).unwrap_or(u32::MAX)
    }

    /// Returns true if the last findings of the running rule include this object.
    fn was_found(&self, object: &ObjectRef) -> bool {
        self.before.iter().any(|cause| cause.object() == Some(object))
    }
}

/// One rule.
pub struct Rule {
    /// The codes of its findings.
    pub finds: &'static [Code],
    /// The rule runs again if one of these parts has changed.
    pub inputs: Parts,
    pub find: fn(&RuleContext<'_, '_>) -> Vec<Cause>,
}

/// The parts that a finding about a workload's pods depends on: the pods, their workloads, the Services that select
/// them, and the state of their nodes.
const OWNED_PODS: Parts = Parts::PODS.and(Parts::WORKLOADS).and(Parts::SERVICES).and(Parts::NODES);

/// The parts that a finding about a delay depends on: the time, and the events that explain it.
const WAITING: Parts = Parts::EVENTS.and(Parts::TIME);

const CLAIMS: Parts = Parts::of(Part::PersistentVolumeClaim);

/// All rules.
pub const RULES: [Rule; 31] = [
    Rule {
        finds: &[Code::NodeNotReady],
        inputs: Parts::NODES.and(Parts::PODS).and(Parts::TIME),
        find: nodes::not_ready,
    },
    Rule { finds: &[Code::NodeSuspect], inputs: Parts::NODES, find: nodes::suspect },
    Rule { finds: &[Code::NodePressure], inputs: Parts::NODES.and(Parts::TIME), find: nodes::pressure },
    Rule { finds: &[Code::CrashLoop], inputs: OWNED_PODS, find: pods::crash_loop },
    Rule { finds: &[Code::ImagePull], inputs: OWNED_PODS, find: pods::image_pull },
    Rule { finds: &[Code::BadConfig], inputs: OWNED_PODS, find: pods::config },
    Rule { finds: &[Code::OomKilled], inputs: OWNED_PODS, find: pods::oom },
    Rule {
        finds: &[Code::Unschedulable],
        inputs: OWNED_PODS.and(Parts::EVENTS).and(CLAIMS),
        find: pods::unschedulable,
    },
    Rule {
        finds: &[Code::VolumeNotBound],
        inputs: OWNED_PODS.and(WAITING).and(CLAIMS),
        find: volumes::not_bound,
    },
    Rule { finds: &[Code::NotStarting], inputs: OWNED_PODS.and(WAITING), find: starting::not_starting },
    Rule { finds: &[Code::NotCreated], inputs: Parts::WORKLOADS.and(WAITING), find: refused::not_created },
    Rule { finds: &[Code::NotReady], inputs: OWNED_PODS.and(WAITING), find: ready::not_ready },
    Rule { finds: &[Code::RolloutWaits], inputs: OWNED_PODS.and(WAITING), find: ready::rollout_waits },
    Rule { finds: &[Code::Terminating], inputs: OWNED_PODS.and(WAITING), find: leaving::terminating },
    Rule { finds: &[Code::PodFailed], inputs: Parts::PODS.and(Parts::TIME), find: jobs::pod_failed },
    Rule { finds: &[Code::Evicted], inputs: Parts::PODS.and(Parts::TIME), find: jobs::evicted },
    Rule {
        finds: &[Code::JobFailed],
        inputs: Parts::WORKLOADS.and(Parts::CRONJOBS).and(Parts::TIME),
        find: jobs::job_failed,
    },
    Rule {
        finds: &[Code::CronJobMissed],
        inputs: Parts::CRONJOBS.and(Parts::TIME),
        find: jobs::cronjob_missed,
    },
    Rule {
        finds: &[Code::RolloutStuck],
        inputs: Parts::WORKLOADS.and(Parts::SERVICES),
        find: pods::rollout_stuck,
    },
    Rule {
        finds: &[Code::NoReadyEndpoints],
        inputs: Parts::SERVICES.and(Parts::WORKLOADS).and(Parts::TIME),
        find: services::no_ready_endpoints,
    },
    Rule {
        finds: &[Code::ServiceErrors],
        inputs: Parts::TRAFFIC.and(Parts::LOGS).and(Parts::SERVICES).and(Parts::WORKLOADS),
        find: errors::errors,
    },
    Rule { finds: &[Code::TrafficUneven], inputs: Parts::TRAFFIC.and(Parts::SERVICES), find: errors::uneven },
    Rule { finds: &[Code::CanaryWorse], inputs: Parts::TRAFFIC.and(Parts::SERVICES), find: canary::worse },
    Rule { finds: &[Code::ServiceSlow], inputs: Parts::TRAFFIC, find: slow::slow },
    Rule { finds: &[Code::SloBurn], inputs: Parts::TRAFFIC, find: slo::burn },
    Rule {
        finds: &[Code::ErrorsSinceRollout],
        inputs: Parts::LOGS.and(Parts::WORKLOADS),
        find: errors::errors_since_rollout,
    },
    Rule {
        finds: &[Code::HpaAtLimit, Code::HpaFailing],
        inputs: Parts::HPAS.and(Parts::TIME),
        find: services::hpa,
    },
    Rule {
        finds: &[Code::PdbBlocks],
        inputs: Parts::PDBS.and(Parts::NODES).and(Parts::PODS).and(Parts::TIME),
        find: services::pdb,
    },
    Rule {
        finds: &[Code::OutOfRotation],
        inputs: Parts::PODS.and(Parts::SERVICES),
        find: rotation::out_of_rotation,
    },
    Rule { finds: &[Code::AlertFiring], inputs: Parts::ALERTS, find: alerts::firing },
    Rule { finds: &[Code::Source], inputs: Parts::SOURCES.and(Parts::TIME), find: sources::trouble },
];

/// Returns the names of the codes, for silences.
pub fn names() -> impl Iterator<Item = &'static str> {
    Code::ALL.iter().map(|code| code.as_str())
}

/// The findings of each rule. They are kept, so that only the rules with new input run again.
#[derive(Default)]
pub struct Findings {
    by_rule: Vec<Vec<Cause>>,
    /// The time when the pods were first read.
    began: Option<Stamp>,
    told: Told,
}

/// All findings: the ranked ones to show, and the silenced ones.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub causes: Arc<[Arc<Cause>]>,
    pub silenced: Arc<[Silenced]>,
}

impl Findings {
    /// Returns true if the last findings report this service as slow.
    pub fn is_slow(&self, service: &ServiceTraffic) -> bool {
        let about = |on: &ObjectRef| on.namespace == service.namespace && on.name == service.name;
        self.by_rule.iter().flatten().any(|c| c.code() == Code::ServiceSlow && c.object().is_some_and(about))
    }

    /// Runs the rules that depend on `parts`. Returns the findings if they have changed.
    pub fn update(
        &mut self,
        context: &RuleContext<'_, '_>,
        parts: Parts,
        silences: &[Arc<Silence>],
    ) -> Option<Told> {
        self.by_rule.resize_with(RULES.len(), Vec::new);
        if self.began.is_none() && context.cluster.pods.cover.is_read() {
            self.began = Some(context.now);
        }
        let mut ran = parts.meets(Parts::SILENCES);
        for (rule, found) in RULES.iter().zip(self.by_rule.iter_mut()) {
            // A finding shows the actions that were taken about it.
            let acted_on = !found.is_empty() && parts.meets(Parts::CHANGES);
            if acted_on || parts.meets(rule.inputs) {
                let mut now = (rule.find)(&RuleContext { before: found, ..*context });
                progress::follow(context, found, &mut now, self.began);
                *found = now;
                ran = true;
            }
        }
        if !ran {
            return None;
        }
        // Silences apply before folding, so that a silenced finding does not come back as the evidence of another
        // one.
        let (mut loud, mut quiet) = (Vec::new(), Vec::new());
        for cause in self.by_rule.iter().flatten() {
            let matches = |s: &&Arc<Silence>| s.matches(cause.rule(), cause.object());
            let by = silences.iter().filter(|s| !s.is_over(context.now)).find(matches);
            match by {
                Some(by) => quiet.push((cause.clone(), by)),
                None => loud.push(cause.clone()),
            }
        }
        let loud = rank(context, loud);
        quiet.sort_by(|(a, _), (b, _)| order(a, b));
        let same = loud.len() == self.told.causes.len()
            && quiet.len().min(MOST) == self.told.silenced.len()
            && loud.iter().zip(self.told.causes.iter()).all(|(a, b)| *a == **b)
            && quiet.iter().zip(self.told.silenced.iter()).all(|((a, by), b)| *a == *b.cause && **by == b.by);
        if same {
            return None;
        }
        let silenced =
            |(cause, by): (Cause, &Arc<Silence>)| Silenced { cause: Arc::new(cause), by: by.clone() };
        self.told = Told {
            causes: loud.into_iter().map(Arc::new).collect(),
            silenced: quiet.into_iter().take(MOST).map(silenced).collect(),
        };
        Some(self.told.clone())
    }
}

/// The maximum number of findings in a list.
const MOST: usize = 200;

/// Folds findings into those that explain them, and sorts by severity, then by impact, then the oldest first.
pub fn rank(context: &RuleContext<'_, '_>, mut causes: Vec<Cause>) -> Vec<Cause> {
    fold::fold(context, &mut causes);
    causes.sort_by(order);
    causes.truncate(MOST);
    causes
}

/// Sorts findings like [`rank`].
pub fn sort(causes: &mut [Arc<Cause>]) {
    causes.sort_by(|a, b| order(a, b));
}

/// Compares two findings, the worse one first.
pub fn order(a: &Cause, b: &Cause) -> std::cmp::Ordering {
    let name = |cause: &Cause| cause.object().map(|object| (object.namespace.clone(), object.name.clone()));
    b.severity
        .cmp(&a.severity)
        .then_with(|| b.impact.error_ratio.unwrap_or(0.0).total_cmp(&a.impact.error_ratio.unwrap_or(0.0)))
        .then_with(|| b.impact.services.cmp(&a.impact.services))
        .then_with(|| b.impact.pods.cmp(&a.impact.pods))
        .then_with(|| a.since.is_none().cmp(&b.since.is_none()))
        .then_with(|| a.since.cmp(&b.since))
        .then_with(|| name(a).cmp(&name(b)))
        .then_with(|| a.code().cmp(&b.code()))
}

/// Returns the dead nodes. The status of their pods is out of date.
pub fn dead_nodes(cluster: &Cluster) -> BTreeSet<Name> {
    cluster.derived.nodes.iter().filter(|row| row.state.is_dead()).map(|row| row.node.name.clone()).collect()
}

/// Returns the glyph of a severity. It is readable without colour.
pub fn glyph(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "✖",
        Severity::Warning => "!",
        Severity::Info => "~",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_found_by_one_rule() {
        let mut found: Vec<Code> = RULES.iter().flat_map(|rule| rule.finds).copied().collect();
        found.sort();
        assert_eq!(found, Code::ALL);
    }
}
