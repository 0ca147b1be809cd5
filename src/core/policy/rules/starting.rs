//! Pods that are bound to a node and do not come up: volumes, networks, images, init containers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::cause::{Cause, Evidence, Finding, Severity, Shared};
use crate::domain::event::KubeEvent;
use crate::domain::id::{Name, Uid};
use crate::domain::pod::{Phase, Pod};
use crate::domain::time::Stamp;
use crate::facts::events_about::PULLING;
use crate::logs::fingerprint::template;

use super::RuleContext;
use super::pods::{group, impact, objects, pod_count};

/// A warning that the kubelet or the attach controller gives is believed after this long: a volume that is still
/// attached elsewhere, and a network that comes with the node, settle within half a minute in a drain or a join.
const WARNED_SECS: u64 = 45;
/// A warning is fresh for this long: the kubelet tries a volume again every two minutes.
const FRESH_SECS: u64 = 600;
/// Without a warning this is out of the ordinary …
const SLOW_SECS: u64 = 120;
/// … and this is wrong: without a pull, nothing that a kubelet does before it starts a container takes minutes.
const SILENT_SECS: u64 = 300;
/// Large images are pulled for minutes.
const PULLING_SECS: u64 = 600;
/// Init containers wait for others, migrate, restore: they get the longest.
const INIT_SECS: u64 = 900;
/// A workload without any pod is critical, but only when it has lasted longer than a normal start.
const CRITICAL_SECS: u64 = 300;

struct Stuck {
    pod: Arc<Pod>,
    since: Stamp,
    severity: Severity,
    reason: Name,
    /// The event's words.
    words: Name,
}

/// Why a pod does not come up, if it takes longer than it should.
fn judge(context: &RuleContext<'_, '_>, pod: &Arc<Pod>) -> Option<Stuck> {
    let since = pod.started.unwrap_or(pod.created);
    let secs = context.now.secs_since(since);
    if secs < WARNED_SECS {
        return None;
    }
    let stuck = |severity, reason: &str, words: Name| {
        Some(Stuck { pod: pod.clone(), since, severity, reason: reason.into(), words })
    };
    if pod.init_running {
        let words = format!("an init container runs: {}", pod.status);
        return (secs >= INIT_SECS).then(|| stuck(Severity::Warning, "PodInitializing", words.into()))?;
    }
    // some kubelets stamp their first event a moment before the start
    let warning = context.events.warning(&pod.uid, since.plus_secs(-5));
    let is_fresh = |e: &&KubeEvent| e.last.is_some_and(|at| context.now.secs_since(at) <= FRESH_SECS);
    if let Some(event) = warning.filter(is_fresh) {
        return stuck(Severity::Warning, &event.reason, event.message.clone());
    }
    let pulling = context.events.newest(&pod.uid, since, |e| e.reason == PULLING);
    let limit = if pulling.is_some() { PULLING_SECS } else { SILENT_SECS };
    let severity = match secs {
        _ if secs >= limit => Severity::Warning,
        _ if secs >= SLOW_SECS => Severity::Info,
        _ => return None,
    };
    match (warning, pulling) {
        (Some(event), _) => stuck(severity, &event.reason, event.message.clone()),
        (None, Some(event)) => stuck(severity, &event.reason, event.message.clone()),
        (None, None) => stuck(severity, &pod.status, "no event says why".into()),
    }
}

/// One line a workload: how many of its pods, why, and on which nodes.
pub fn not_starting(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let starting = context.unsettled.values().filter(|pod| {
        pod.phase == Phase::Pending
            && pod.node.is_some()
            && pod.trouble.is_none()
            && !pod.is_terminating()
            && !context.is_on_dead_node(pod)
    });
    let stuck: HashMap<&Uid, Stuck> =
        starting.filter_map(|pod| Some((&pod.uid, judge(context, pod)?))).collect();
    group(context, stuck.values().map(|one| &one.pod))
        .into_iter()
        .filter_map(|(object, pods)| {
            let mut of: Vec<&Stuck> = pods.iter().filter_map(|pod| stuck.get(&pod.uid)).collect();
            of.sort_by(|a, b| (b.severity, a.since, &a.pod.name).cmp(&(a.severity, b.since, &b.pod.name)));
            let worst = *of.first()?;
            let (count, none_left) = pod_count(context, &object, pods.len());
            let is_over = context.now.secs_since(worst.since) >= CRITICAL_SECS;
            let lost = none_left && is_over && context.workload(&object.uid).is_some();
            let severity = match worst.severity {
                Severity::Warning if lost => Severity::Critical,
                severity => severity,
            };
            let (reason, message) = (worst.reason.clone(), worst.words.clone());
            Some(Cause {
                since: of.iter().map(|one| one.since).min(),
                evidence: evidence(&of),
                impact: impact(context, &object, &pods),
                shared: shared(&of, worst),
                ..Cause::new(
                    Finding::NotStarting { pods: count, reason, message },
                    severity,
                    objects(object, &pods),
                )
            })
        })
        .collect()
}

/// What other workloads may share: the reason with its message, or the reason and the node.
fn shared(of: &[&Stuck], worst: &Stuck) -> Vec<Shared> {
    let reason = &worst.reason;
    let mut shared =
        vec![Shared::Message { reason: reason.clone(), template: template(&worst.words), namespace: None }];
    if let Some(node) = &worst.pod.node
        && of.iter().all(|one| one.pod.node.as_ref() == Some(node))
    {
        shared.push(Shared::Node { reason: reason.clone(), node: node.clone() });
    }
    shared
}

fn evidence(of: &[&Stuck]) -> Vec<Evidence> {
    const SHOWN: usize = 5;
    let mut lines: Vec<Evidence> = of
        .iter()
        .take(SHOWN)
        .map(|one| {
            let node = one.pod.node.as_ref().map_or("no node", |node| node.as_str());
            let (pod, status) = (&one.pod.name, &one.pod.status);
            format!("pod {pod} {status} on {node} since {}: {}: {}", one.since, one.reason, one.words).into()
        })
        .collect();
    if of.len() > SHOWN {
        lines.push(format!("and {} more", of.len() - SHOWN).into());
    }
    lines
}
