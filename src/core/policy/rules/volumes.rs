//! Pods that wait for a volume: their claim does not exist, has lost its volume, or is not bound to one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::claim::{Claim, ClaimPhase};
use crate::domain::event::KubeEvent;
use crate::domain::id::{Name, ObjectRef, Uid};
use crate::domain::pod::{Phase, Pod, Trouble};
use crate::domain::time::Stamp;
use crate::facts::world::{Alike, AlikeBy, Cause, Course, Kin, Severity};
use crate::logs::fingerprint::template;

use super::pods::{group, objects, of_how_many, reach};
use super::{Scene, brief, title_of};

/// A claim that is applied together with its pods may be created a moment after them.
const MISSING_SECS: u64 = 15;
/// A storage provider takes up to a minute to create a volume.
const BINDING_SECS: u64 = 60;
/// A warning is fresh for this long: provisioners try again every few minutes in the end.
const FRESH_SECS: i64 = 600;

/// The events of a claim whose storage class binds with `WaitForFirstConsumer`. It waits for its pod to get a node, not
/// the pod for it.
const WAITS_FOR_POD: [&str; 2] = ["WaitForFirstConsumer", "WaitForPodScheduled"];

/// A claim without which a pod does not start.
struct Missed {
    /// None if it does not exist.
    claim: Option<ObjectRef>,
    /// Since when the pod waits for it.
    since: Stamp,
    /// How long that is normal.
    grace: u64,
    /// `claim data-db-0 is Pending, storage class fast`
    state: String,
    /// Why it is not bound, by the claim's events.
    event: Option<(Name, Name)>,
}

impl Missed {
    /// `claim data-db-0 is Pending: ProvisioningFailed: …`
    fn words(&self) -> String {
        match &self.event {
            Some((reason, message)) => format!("{}: {reason}: {}", self.state, brief(message)),
            None => self.state.clone(),
        }
    }
}

/// The first claim that keeps a pod from being scheduled, however short that has been so.
fn missed(scene: &Scene<'_, '_>, pod: &Pod) -> Option<Missed> {
    let claims = &scene.cluster.claims;
    // what is not known is not missing
    let is_known = claims.cover.is_read() && claims.cover.covers(&pod.namespace);
    if !is_known || claims.fresh.stale_since.is_some() {
        return None;
    }
    let is_waiting = pod.phase == Phase::Pending && pod.node.is_none() && !pod.is_terminating();
    if !is_waiting || pod.trouble.is_some_and(|trouble| trouble != Trouble::Unschedulable) {
        return None;
    }
    pod.claims().iter().find_map(|name| match scene.claim(&pod.namespace, name) {
        None => Some(Missed {
            claim: None,
            since: pod.created,
            grace: MISSING_SECS,
            state: format!("claim {name} does not exist"),
            event: None,
        }),
        Some(claim) => match claim.phase {
            ClaimPhase::Bound | ClaimPhase::Unknown => None,
            ClaimPhase::Lost => {
                let volume = claim.volume.as_ref().map_or("", |volume| volume.as_str());
                Some(Missed {
                    claim: Some(claim.reference()),
                    since: pod.created,
                    grace: MISSING_SECS,
                    state: format!("claim {name} is Lost: its volume {volume} does not exist"),
                    event: None,
                })
            }
            ClaimPhase::Pending => pending(scene, pod, claim),
        },
    })
}

/// A claim that is not bound, unless it is the one that waits.
fn pending(scene: &Scene<'_, '_>, pod: &Pod, claim: &Claim) -> Option<Missed> {
    let class = claim.class.as_ref().map_or_else(String::new, |class| format!(", storage class {class}"));
    let missed = |since: Stamp, event: Option<&KubeEvent>| Missed {
        claim: Some(claim.reference()),
        since: since.max(pod.created),
        grace: BINDING_SECS,
        state: format!("claim {} is Pending{class}", claim.name),
        event: event.map(|event| (event.reason.clone(), event.message.clone())),
    };
    let waits = |event: &KubeEvent| WAITS_FOR_POD.contains(&event.reason.as_str());
    match scene.said.newest(&claim.uid, Stamp::default(), |_| true) {
        Some(newest) if waits(newest) => None,
        Some(newest) => {
            let warning = scene.said.warning(&claim.uid, scene.now.plus_secs(-FRESH_SECS));
            // each try may say it in other words: the first of them counts
            let tries = scene.said.about(&claim.uid).filter(|event| !waits(event));
            let since = tries.filter_map(|event| event.first.or(event.last)).min();
            Some(missed(since.unwrap_or(claim.created), Some(warning.unwrap_or(newest))))
        }
        // without its events nobody can tell whether it waits for its pod
        None if pod.trouble.is_some() || !scene.cluster.events.cover.covers(&pod.namespace) => None,
        None => {
            let missed = missed(claim.created, None);
            Some(Missed { state: format!("{}, no event says why", missed.state), ..missed })
        }
    }
}

/// True if a pod is not scheduled because of one of its claims.
pub(super) fn waits_for_claim(scene: &Scene<'_, '_>, pod: &Pod) -> bool {
    missed(scene, pod).is_some()
}

/// Pods that are not scheduled because a claim of theirs has no volume.
pub fn not_bound(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let pods = scene.bad.values().chain(scene.unsettled.values());
    let waiting: HashMap<&Uid, (&Arc<Pod>, Missed)> = pods
        .filter_map(|pod| Some((&pod.uid, (pod, missed(scene, pod)?))))
        .filter(|(_, (_, missed))| scene.now.secs_since(missed.since) >= missed.grace)
        .collect();
    group(scene, waiting.values().map(|(pod, _)| *pod))
        .into_iter()
        .filter_map(|(object, pods)| {
            let of: Vec<&(&Arc<Pod>, Missed)> = pods.iter().filter_map(|pod| waiting.get(&pod.uid)).collect();
            let (_, first) = of.iter().min_by_key(|(pod, missed)| (missed.since, &pod.name))?;
            let (many, none_left) = of_how_many(scene, &object, pods.len());
            let alike = first.event.as_ref().map(|(reason, message)| Alike {
                by: AlikeBy::Said { reason: reason.clone(), template: template(message), namespace: None },
                noun: "workloads",
                words: format!("wait for volumes: {reason}: {}", brief(message)),
            });
            let mut objects = objects(object.clone(), &pods);
            objects.extend(of.iter().filter_map(|(_, missed)| missed.claim.clone()));
            Some(Cause {
                rule: "volume-not-bound",
                severity: if none_left { Severity::Critical } else { Severity::Warning },
                title: format!("{} volume not bound: {} ({many})", title_of(&object), first.words()),
                since: of.iter().map(|(_, missed)| missed.since).min(),
                evidence: evidence(&of),
                action: None,
                reach: reach(scene, &object, &pods),
                objects,
                kin: Kin { alike: alike.into_iter().collect(), ..Kin::default() },
                course: Course::default(),
            })
        })
        .collect()
}

fn evidence(of: &[&(&Arc<Pod>, Missed)]) -> Vec<String> {
    const SHOWN: usize = 5;
    let mut lines = Vec::new();
    for (pod, missed) in of.iter().take(SHOWN) {
        let event =
            missed.event.as_ref().map_or_else(String::new, |(reason, said)| format!(": {reason}: {said}"));
        lines.push(format!("pod {} waits since {}: {}{event}", pod.name, missed.since, missed.state));
    }
    if of.len() > SHOWN {
        lines.push(format!("and {} more", of.len() - SHOWN));
    }
    lines.extend(
        of.iter().find_map(|(pod, _)| pod.message.as_ref()).map(|said| format!("the scheduler says: {said}")),
    );
    lines
}
