//! Rules about Services without backends, autoscalers and budgets.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::budget::Pdb;
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::node::Status;
use crate::domain::pod::Pod;
use crate::domain::service::ServiceType;
use crate::facts::world::{Alike, AlikeBy, Cause, Course, Kin, Reach, Severity, Suggestion};
use crate::logs::fingerprint::template;
use crate::policy::hpa::{self as autoscaling, HpaState};
use crate::policy::kubectl::{kubectl_in, quote};

use super::{Scene, brief, count, title_of};

/// A Service is given this long to get its first endpoints.
const GRACE_SECS: u64 = 30;

pub fn no_ready_endpoints(scene: &Scene<'_, '_>) -> Vec<Cause> {
    // without endpoint data every Service would look empty
    if !scene.cluster.slices.cover.is_complete()
        && !matches!(scene.cluster.slices.cover, crate::facts::table::Coverage::Namespaces(_))
    {
        return Vec::new();
    }
    let rows = scene.cluster.derived.services.iter().filter(|row| {
        let s = &row.service;
        row.ready == 0
            && s.kind != ServiceType::ExternalName
            && !s.selector.is_empty()
            && scene.now.secs_since(s.created) >= GRACE_SECS
    });
    rows.map(|row| {
        let s = &row.service;
        let object = ObjectRef::new(Kind::Service, &s.namespace, &s.name, &s.uid);
        let behind: Vec<_> = scene
            .workloads_in(&s.namespace)
            .iter()
            .filter(|w| w.workload.may_have_pods_for(&s.selector))
            .collect();
        let off =
            !behind.is_empty() && behind.iter().all(|w| w.workload.desired == 0 || w.workload.is_finished());
        let c = scene.cluster;
        let known =
            [&c.deployments, &c.statefulsets, &c.daemonsets].iter().all(|t| t.cover.covers(&s.namespace));
        // pods of kinds that are not watched count as well
        let has_pods = || scene.pods_in(&s.namespace).iter().any(|pod| s.selector.matches(*pod));
        let known = known && scene.cluster.pods.cover.covers(&s.namespace);
        let why = if behind.is_empty() && known && row.total == 0 && !has_pods() {
            "its selector matches no workload".to_owned()
        } else if behind.is_empty() {
            format!("{} of {} endpoints ready", row.ready, row.total)
        } else if off {
            let first = behind.first().map(|w| &w.workload);
            let has = if first.is_some_and(|w| w.desired == 0) { "is scaled to 0" } else { "has ended" };
            format!("{} {has}", first.map_or("", |w| w.name.as_str()))
        } else {
            format!("{} of {} endpoints ready", row.ready, row.total)
        };
        let selector: Vec<String> = s.selector.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        Cause {
            rule: "no-ready-endpoints",
            kin: Kin::default(),
            course: Course::default(),
            severity: if off { Severity::Info } else { Severity::Critical },
            title: format!("service {} has no ready endpoints: {why}", title_of(&object)),
            objects: vec![object],
            since: None,
            evidence: vec![
                format!("selector {}", selector.join(",")),
                format!("EndpointSlices {}, endpoints {}, ready {}", row.slices.len(), row.total, row.ready),
            ],
            action: None,
            reach: Reach { services: 1, ..Reach::default() },
        }
    })
    .collect()
}

pub fn hpa(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let mut found = Vec::new();
    for hpa in scene.cluster.hpas.iter() {
        let verdict = autoscaling::judge(hpa, scene.now);
        let object = ObjectRef::new(Kind::HorizontalPodAutoscaler, &hpa.namespace, &hpa.name, &hpa.uid);
        let name = title_of(&object);
        let (severity, title) = match verdict.state {
            HpaState::AtMax => {
                let wants = verdict.wants.map_or_else(String::new, |wants| format!(", wants {wants}"));
                (Severity::Warning, format!("HPA {name} at max {}{wants}", hpa.max))
            }
            HpaState::Failing => (Severity::Warning, format!("HPA {name} cannot act: {}", verdict.why)),
            _ => continue,
        };
        let mut evidence: Vec<String> = verdict.computed.iter().map(|c| format!("computed {c}")).collect();
        for condition in hpa.conditions.iter() {
            let bad = (condition.kind == "ScalingLimited") == (condition.status == Status::True);
            if bad {
                evidence.push(format!(
                    "{}={} {}: {}",
                    condition.kind,
                    condition.status.as_str(),
                    condition.reason,
                    condition.message
                ));
            }
        }
        let target =
            ObjectRef::new(hpa.target_kind.clone(), &hpa.namespace, &hpa.target_name, &Uid::default());
        let at_max = verdict.state == HpaState::AtMax;
        let bounds =
            Suggestion { command: "bounds", title: format!("bounds of {}", hpa.name), on: object.clone() };
        // autoscalers that lack the same API become one line
        let failed = hpa.conditions.iter().find(|c| {
            c.status == Status::False && matches!(c.kind.as_str(), "ScalingActive" | "AbleToScale")
        });
        let alike = failed.filter(|_| !at_max).map(|c| Alike {
            by: AlikeBy::Said { reason: c.reason.clone(), template: template(&verdict.why), namespace: None },
            noun: "HPAs",
            words: format!("cannot act: {}", brief(&verdict.why)),
        });
        found.push(Cause {
            rule: if at_max { "hpa-at-limit" } else { "hpa-failing" },
            severity,
            title,
            objects: vec![object, target],
            since: verdict.since,
            evidence,
            action: at_max.then_some(bounds),
            reach: Reach { pods: u32::try_from(hpa.current.unwrap_or(0)).unwrap_or(0), ..Reach::default() },
            kin: Kin { alike: alike.into_iter().collect(), ..Kin::default() },
            course: Course::default(),
        });
    }
    found
}

/// A restart, an eviction, a step of a rollout uses up a budget's last disruption for about as long as a pod takes to start.
const PASSING_SECS: u64 = 120;

/// Budgets that let no pod go. One whose pods are not all healthy is the trouble of these pods, which has findings of its
/// own, unless a drain waits for it. One that never allows anything is told before a drain finds out.
pub fn pdb(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let nodes = scene.cluster.derived.nodes.iter();
    let cordoned: BTreeSet<&Name> =
        nodes.filter(|row| row.node.cordoned && !row.state.is_dead()).map(|row| &row.node.name).collect();
    let waiting = |p: &Pdb| {
        let here = |pod: &&&Arc<Pod>| {
            pod.node.as_ref().is_some_and(|node| cordoned.contains(node))
                && !pod.phase.is_finished()
                && p.selector.matches(**pod)
        };
        if cordoned.is_empty() { 0 } else { scene.pods_in(&p.namespace).iter().filter(here).count() as u64 }
    };
    let blocking = scene.cluster.pdbs.iter().filter(|p| p.allowed <= 0 && p.expected > 0);
    blocking
        .filter_map(|p| {
            let object = ObjectRef::new(Kind::PodDisruptionBudget, &p.namespace, &p.name, &p.uid);
            let unhealthy = p.current_healthy < p.expected;
            let waiting = waiting(p);
            let passing = p.blocked_since().is_some_and(|since| scene.now.secs_since(since) < PASSING_SECS);
            if unhealthy && (waiting == 0 || passing) {
                return None;
            }
            let rule = match (&p.min_available, &p.max_unavailable) {
                (Some(min), _) => format!("minAvailable {min}"),
                (None, Some(max)) => format!("maxUnavailable {max}"),
                _ => "no bound".into(),
            };
            let why = if unhealthy {
                format!("{} of {} healthy, needs {}", p.current_healthy, p.expected, p.desired_healthy)
            } else {
                format!("{rule} of {} leaves no room: a drain never ends", p.expected)
            };
            let way = match (&p.min_available, &p.max_unavailable) {
                (Some(_), _) => "lower minAvailable",
                _ => "raise maxUnavailable",
            };
            let words = format!("-n {} edit pdb {}", quote(&p.namespace), quote(&p.name));
            let edit = kubectl_in(scene.cluster, &scene.cluster.info.context, &words);
            let edit = format!("it allows evictions again if you {way}: {edit}");
            let waits = match waiting {
                0 => String::new(),
                n => format!("; {} on cordoned nodes cannot be evicted", count(n, "pod")),
            };
            Some(Cause {
                rule: "pdb-blocks",
                kin: Kin::default(),
                course: Course::default(),
                severity: if waiting > 0 { Severity::Warning } else { Severity::Info },
                title: format!("PDB {} allows no disruption: {why}{waits}", title_of(&object)),
                objects: vec![object],
                since: p.blocked_since(),
                evidence: [
                    format!(
                        "{rule}; healthy {} desired {} expected {}",
                        p.current_healthy, p.desired_healthy, p.expected
                    ),
                    format!("observedGeneration {} of {}", p.observed_generation, p.generation),
                ]
                .into_iter()
                // pods that get ready are room enough
                .chain((!unhealthy).then_some(edit))
                .collect(),
                action: None,
                reach: Reach { pods: u32::try_from(p.expected).unwrap_or(0), ..Reach::default() },
            })
        })
        .collect()
}
