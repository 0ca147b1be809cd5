//! Pods that wait for a volume: their PersistentVolumeClaim does not exist, has lost its volume, or is not bound.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::cause::{Cause, ClaimState, Evidence, Finding, Severity, Shared, UnboundClaim};
use crate::domain::claim::{Claim, ClaimPhase};
use crate::domain::event::KubeEvent;
use crate::domain::id::{Name, ObjectRef, Uid};
use crate::domain::pod::{Phase, Pod, Trouble};
use crate::domain::time::Stamp;
use crate::logs::fingerprint::template;

use super::RuleContext;
use super::pods::{group, impact, objects, pod_count};

/// The time after which a missing claim counts. A claim that is applied together with its pods may be created shortly
/// after them.
const MISSING_SECS: u64 = 15;
/// A storage provider takes up to a minute to create a volume.
const BINDING_SECS: u64 = 60;
/// The time that a warning stays valid. Provisioners wait longer after each attempt, up to a few minutes.
const FRESH_SECS: i64 = 600;

/// The events of a claim whose storage class binds with `WaitForFirstConsumer`. Such a claim waits until its pod has
/// a node. The pod does not wait for the claim.
const WAITS_FOR_POD: [&str; 2] = ["WaitForFirstConsumer", "WaitForPodScheduled"];

/// A claim that keeps a pod from starting.
struct MissedClaim {
    /// The claim. `None` if it does not exist.
    object: Option<ObjectRef>,
    /// The time since which the pod waits for it.
    since: Stamp,
    /// The time for which waiting is normal, in seconds.
    grace: u64,
    claim: UnboundClaim,
}

/// Returns the first claim that keeps a pod from being scheduled, even if the pod has waited only briefly.
fn missed(context: &RuleContext<'_, '_>, pod: &Pod) -> Option<MissedClaim> {
    let claims = &context.cluster.claims;
    // If the claims are not completely known, a claim that is not in the table may exist.
    let is_known = claims.cover.is_read() && claims.cover.covers(&pod.namespace);
    if !is_known || claims.fresh.stale_since.is_some() {
        return None;
    }
    let is_waiting = pod.phase == Phase::Pending && pod.node.is_none() && !pod.is_terminating();
    if !is_waiting || pod.trouble.is_some_and(|trouble| trouble != Trouble::Unschedulable) {
        return None;
    }
    let unbound = |object: Option<ObjectRef>, name: &Name, state: ClaimState| MissedClaim {
        object,
        since: pod.created,
        grace: MISSING_SECS,
        claim: UnboundClaim { name: name.clone(), state, event: None },
    };
    pod.claims().iter().find_map(|name| match context.claim(&pod.namespace, name) {
        None => Some(unbound(None, name, ClaimState::DoesNotExist)),
        Some(claim) => match claim.phase {
            ClaimPhase::Bound | ClaimPhase::Unknown => None,
            ClaimPhase::Lost => {
                let volume = claim.volume.clone();
                Some(unbound(Some(claim.reference(context.cluster.id())), name, ClaimState::Lost { volume }))
            }
            ClaimPhase::Pending => pending(context, pod, claim),
        },
    })
}

/// Returns a claim that is not bound. Returns `None` if the claim waits for the pod.
fn pending(context: &RuleContext<'_, '_>, pod: &Pod, claim: &Claim) -> Option<MissedClaim> {
    let missed = |since: Stamp, event: Option<&KubeEvent>| MissedClaim {
        object: Some(claim.reference(context.cluster.id())),
        since: since.max(pod.created),
        grace: BINDING_SECS,
        claim: UnboundClaim {
            name: claim.name.clone(),
            state: ClaimState::Pending { class: claim.class.clone() },
            event: event.map(|event| (event.reason.clone(), event.message.clone())),
        },
    };
    let waits = |event: &KubeEvent| WAITS_FOR_POD.contains(&event.reason.as_str());
    match context.events.newest(&claim.uid, Stamp::default(), |_| true) {
        Some(newest) if waits(newest) => None,
        Some(newest) => {
            let warning = context.events.warning(&claim.uid, context.now.plus_secs(-FRESH_SECS));
            // Each attempt can have another message, so the first attempt counts.
            let tries = context.events.about(&claim.uid).filter(|event| !waits(event));
            let since = tries.filter_map(|event| event.first.or(event.last)).min();
            Some(missed(since.unwrap_or(claim.created), Some(warning.unwrap_or(newest))))
        }
        // Without the events, it is not known whether the claim waits for its pod.
        None if pod.trouble.is_some() || !context.cluster.events.cover.covers(&pod.namespace) => None,
        None => Some(missed(claim.created, None)),
    }
}

/// Returns true if a pod is not scheduled because of one of its claims.
pub(super) fn waits_for_claim(context: &RuleContext<'_, '_>, pod: &Pod) -> bool {
    missed(context, pod).is_some()
}

/// Finds pods that are not scheduled because one of their claims is not bound.
pub(super) fn not_bound(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let pods = context.bad.values().chain(context.unsettled.values());
    let waiting: HashMap<&Uid, (&Arc<Pod>, MissedClaim)> = pods
        .filter_map(|pod| Some((&pod.uid, (pod, missed(context, pod)?))))
        .filter(|(_, (_, missed))| context.now.secs_since(missed.since) >= missed.grace)
        .collect();
    group(context, waiting.values().map(|(pod, _)| *pod))
        .into_iter()
        .filter_map(|(object, pods)| {
            let of: Vec<&(&Arc<Pod>, MissedClaim)> =
                pods.iter().filter_map(|pod| waiting.get(&pod.uid)).collect();
            let (_, first) = of.iter().min_by_key(|(pod, missed)| (missed.since, &pod.name))?;
            let (count, none_left) = pod_count(context, &object, pods.len());
            let shared = first.claim.event.as_ref().map(|(reason, message)| Shared::Message {
                reason: reason.clone(),
                template: template(message),
                namespace: None,
            });
            let mut about = objects(object.clone(), &pods);
            about.extend(of.iter().filter_map(|(_, missed)| missed.object.clone()));
            let severity = if none_left { Severity::Critical } else { Severity::Warning };
            let finding = Finding::VolumeNotBound { pods: count, claim: first.claim.clone() };
            Some(Cause {
                since: of.iter().map(|(_, missed)| missed.since).min(),
                evidence: evidence(&of),
                impact: impact(context, &object, &pods),
                shared: shared.into_iter().collect(),
                ..Cause::new(finding, severity, about)
            })
        })
        .collect()
}

fn evidence(of: &[&(&Arc<Pod>, MissedClaim)]) -> Vec<Evidence> {
    const SHOWN: usize = 5;
    let mut lines: Vec<Evidence> = Vec::new();
    for (pod, missed) in of.iter().take(SHOWN) {
        let UnboundClaim { name, state, event } = &missed.claim;
        let event =
            event.as_ref().map_or_else(String::new, |(reason, message)| format!(": {reason}: {message}"));
        lines.push(
            format!("pod {} has waited since {}: claim {name} {state}{event}", pod.name, missed.since).into(),
        );
    }
    if of.len() > SHOWN {
        lines.push(format!("and {} more", of.len() - SHOWN).into());
    }
    let scheduler = of.iter().find_map(|(pod, _)| pod.message.as_ref());
    lines.extend(scheduler.map(|message| Evidence::from(format!("the scheduler says: {message}"))));
    lines
}
