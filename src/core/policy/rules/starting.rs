//! Pods that are bound to a node but do not start, because of volumes, networks, images or init containers.

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

/// A warning of the kubelet or the attach controller counts after this time. In a drain or a join, a volume that is
/// attached elsewhere and the network of a new node are usually settled within half a minute.
const WARNED_SECS: u64 = 45;
/// The time that a warning stays valid. The kubelet tries a volume again every two minutes.
const FRESH_SECS: u64 = 600;
/// Without a warning, a start is unusually slow after this time …
const SLOW_SECS: u64 = 120;
/// … and it is a warning after this time. Unless it pulls an image, a kubelet does not need minutes to start a
/// container.
const SILENT_SECS: u64 = 300;
/// Large images take minutes to pull.
const PULLING_SECS: u64 = 600;
/// Init containers get the most time, because they wait for other services, migrate or restore data.
const INIT_SECS: u64 = 900;
/// A workload without a ready pod is critical, but only after more time than a normal start takes.
const CRITICAL_SECS: u64 = 300;

struct Stuck {
    pod: Arc<Pod>,
    since: Stamp,
    severity: Severity,
    reason: Name,
    /// The message of the event.
    words: Name,
}

/// Returns why a pod does not start, if it takes too long.
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
    // Some kubelets give their first event a time shortly before the start.
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

/// Finds pods that do not start. Each workload has one line, with the number of pods, the reason and the nodes.
pub(super) fn not_starting(context: &RuleContext<'_, '_>) -> Vec<Cause> {
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

/// Returns what other workloads may share: the reason with its message, or the reason and the node.
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
