//! Rules about Services without endpoints, autoscalers and budgets.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::autoscaler::{HpaReason, HpaState};
use crate::domain::budget::Pdb;
use crate::domain::cause::{
    Blocked, Budget, Cause, Evidence, Finding, Impact, NoEndpoints, Remediation, Severity, Shared, Suggestion,
};
use crate::domain::id::Name;
use crate::domain::node::Status;
use crate::domain::pod::Pod;
use crate::domain::service::ServiceType;
use crate::logs::fingerprint::template;
use crate::policy::kubectl::{kubectl_in, quote};

use super::RuleContext;

/// The time that a Service may need to get its first endpoints.
const GRACE_SECS: u64 = 30;

pub(super) fn no_ready_endpoints(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    // Without endpoint data, every Service would look empty.
    if !context.cluster.slices.cover.is_complete()
        && !matches!(context.cluster.slices.cover, crate::facts::table::Coverage::Namespaces(_))
    {
        return Vec::new();
    }
    let rows = context.cluster.derived.services.iter().filter(|row| {
        let s = &row.service;
        row.ready == 0
            && s.kind != ServiceType::ExternalName
            && !s.selector.is_empty()
            && context.now.secs_since(s.created) >= GRACE_SECS
    });
    rows.map(|row| {
        let s = &row.service;
        let object = s.reference(context.cluster.id());
        let behind: Vec<_> = context
            .workloads_in(&s.namespace)
            .iter()
            .filter(|w| w.workload.may_have_pods_for(&s.selector))
            .collect();
        let off =
            !behind.is_empty() && behind.iter().all(|w| w.workload.desired == 0 || w.workload.is_finished());
        let c = context.cluster;
        let known =
            [&c.deployments, &c.statefulsets, &c.daemonsets].iter().all(|t| t.cover.covers(&s.namespace));
        // Pods of kinds that are not watched count too.
        let has_pods = || context.pods_in(&s.namespace).iter().any(|pod| s.selector.matches(*pod));
        let known = known && context.cluster.pods.cover.covers(&s.namespace);
        let first = behind.first().map(|w| &w.workload);
        let why = match first {
            None if known && row.total == 0 && !has_pods() => NoEndpoints::NoWorkload,
            Some(w) if off && w.desired == 0 => NoEndpoints::ScaledToZero { workload: w.name.clone() },
            Some(w) if off => NoEndpoints::Ended { workload: w.name.clone() },
            _ => NoEndpoints::NotReady { ready: row.ready, total: row.total },
        };
        let selector: Vec<String> = s.selector.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let (slices, total, ready) = (row.slices.len(), row.total, row.ready);
        let severity = if off { Severity::Info } else { Severity::Critical };
        Cause {
            evidence: vec![
                format!("selector {}", selector.join(",")).into(),
                format!("EndpointSlices {slices}, endpoints {total}, ready {ready}").into(),
            ],
            impact: Impact { services: 1, ..Impact::default() },
            ..Cause::new(Finding::NoReadyEndpoints(why), severity, vec![object])
        }
    })
    .collect()
}

pub(super) fn hpa(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let mut found = Vec::new();
    for row in context.cluster.derived.hpas.iter() {
        let (hpa, verdict) = (&row.hpa, &row.verdict);
        let finding = match verdict.state {
            HpaState::AtMax => Finding::HpaAtLimit { max: hpa.max, wants: verdict.wants },
            HpaState::Failing => Finding::HpaFailing { why: verdict.why.clone() },
            _ => continue,
        };
        let object = hpa.reference(context.cluster.id());
        let computed = verdict.computed.iter().map(|c| format!("computed {c}").into());
        let mut evidence: Vec<Evidence> = computed.collect();
        for condition in hpa.conditions.iter() {
            let bad = (condition.kind == "ScalingLimited") == (condition.status == Status::True);
            if bad {
                let (kind, status) = (&condition.kind, condition.status.as_str());
                let words = format!("{kind}={status} {}: {}", condition.reason, condition.message);
                evidence.push(words.into());
            }
        }
        let target = hpa.target(context.cluster.id());
        // Autoscalers that fail because of the same missing API share one line.
        let shared = match &verdict.why {
            HpaReason::CannotScale(failure) | HpaReason::Inactive(failure) => Some(Shared::Message {
                reason: failure.reason.clone(),
                template: template(failure.last_part()),
                namespace: None,
            }),
            _ => None,
        };
        found.push(Cause {
            since: verdict.since,
            evidence,
            action: (verdict.state == HpaState::AtMax)
                .then(|| Suggestion { what: Remediation::Bounds, on: object.clone() }),
            impact: Impact {
                pods: u32::try_from(hpa.current.unwrap_or(0)).unwrap_or(0),
                ..Impact::default()
            },
            shared: shared.into_iter().collect(),
            ..Cause::new(finding, Severity::Warning, vec![object, target])
        });
    }
    found
}

/// A restart, an eviction or a step of a rollout can use a budget's last disruption for about as long as a pod takes
/// to start.
const PASSING_SECS: u64 = 120;

/// Finds budgets that allow no disruption. If some of its pods are not healthy, these pods have findings of their
/// own, so the budget is reported only if a drain waits for it. A budget that can never allow a disruption is
/// reported before a drain is started.
pub(super) fn pdb(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let nodes = context.cluster.derived.nodes.iter();
    let cordoned: BTreeSet<&Name> =
        nodes.filter(|row| row.node.cordoned && !row.state.is_dead()).map(|row| &row.node.name).collect();
    let waiting = |p: &Pdb| {
        let here = |pod: &&&Arc<Pod>| {
            pod.node.as_ref().is_some_and(|node| cordoned.contains(node))
                && !pod.phase.is_finished()
                && p.selector.matches(**pod)
        };
        if cordoned.is_empty() { 0 } else { context.pods_in(&p.namespace).iter().filter(here).count() as u64 }
    };
    let blocking = context.cluster.pdbs.iter().filter(|p| p.allowed <= 0 && p.expected > 0);
    blocking
        .filter_map(|p| {
            let object = p.reference(context.cluster.id());
            let unhealthy = p.current_healthy < p.expected;
            let waiting = waiting(p);
            let passing = p.blocked_since().is_some_and(|since| context.now.secs_since(since) < PASSING_SECS);
            if unhealthy && (waiting == 0 || passing) {
                return None;
            }
            let budget = match (&p.min_available, &p.max_unavailable) {
                (Some(min), _) => Budget::MinAvailable(min.clone()),
                (None, Some(max)) => Budget::MaxUnavailable(max.clone()),
                _ => Budget::None,
            };
            let way = match budget {
                Budget::MinAvailable(_) => "lower minAvailable",
                _ => "raise maxUnavailable",
            };
            let words = format!("-n {} edit pdb {}", quote(&p.namespace), quote(&p.name));
            let edit = kubectl_in(context.cluster, &context.cluster.info.context, &words);
            let edit = format!("it allows evictions again if you {way}: {edit}");
            let (healthy, needs, expected) = (p.current_healthy, p.desired_healthy, p.expected);
            let evidence = [
                format!("{budget}; healthy {healthy} desired {needs} expected {expected}"),
                format!("observedGeneration {} of {}", p.observed_generation, p.generation),
            ];
            let why = if unhealthy {
                Blocked::Unhealthy { healthy, expected, needs }
            } else {
                Blocked::NoRoom { budget, expected }
            };
            let severity = if waiting > 0 { Severity::Warning } else { Severity::Info };
            Some(Cause {
                since: p.blocked_since(),
                // If pods become ready, the budget allows disruptions again. The command to edit it is not needed
                // then.
                evidence: evidence
                    .into_iter()
                    .chain((!unhealthy).then_some(edit))
                    .map(Evidence::from)
                    .collect(),
                impact: Impact { pods: u32::try_from(p.expected).unwrap_or(0), ..Impact::default() },
                ..Cause::new(Finding::PdbBlocks { why, waiting }, severity, vec![object])
            })
        })
        .collect()
}
