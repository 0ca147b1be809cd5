//! Pods that cannot be created because a quota, an admission webhook, a policy or a limit refuses them.

use crate::domain::cause::{Cause, Finding, Impact, Severity, Shared};
use crate::domain::id::{Kind, Name};
use crate::domain::node::Status;
use crate::domain::time::Stamp;
use crate::domain::workload::Workload;
use crate::logs::fingerprint::template;

use super::RuleContext;

/// A refusal is reported after this time. Controllers try again within seconds, and the next attempt may succeed.
const PATIENCE_SECS: u64 = 20;
/// Controllers wait longer after each attempt, up to about a quarter of an hour.
const FRESH_SECS: i64 = 1_200;

/// The reason of the event of a controller that could not create a pod.
const FAILED_CREATE: &str = "FailedCreate";

struct Refusal {
    reason: Name,
    words: Name,
    since: Option<Stamp>,
}

/// Returns how many pods the workload has and should have now. Returns `None` if no pod is missing.
fn missing(w: &Workload) -> Option<(i32, i32)> {
    let wanted = match w.kind {
        Kind::Job if w.paused || w.is_finished() => 0,
        Kind::Job => w.replicas.min(w.desired - w.succeeded),
        _ => w.desired,
    };
    (w.current < wanted).then_some((w.current, wanted))
}

/// Returns why pods cannot be created. Deployments and ReplicaSets have a condition for it. For other workloads, the
/// events and the missing pods show it.
fn refusal(context: &RuleContext<'_, '_>, w: &Workload) -> Option<Refusal> {
    if let Some(c) = w.condition("ReplicaFailure").filter(|c| c.status == Status::True) {
        let lasts = c.since.is_none_or(|since| context.now.secs_since(since) >= PATIENCE_SECS);
        return lasts.then(|| Refusal { reason: c.reason.clone(), words: c.message.clone(), since: c.since });
    }
    missing(w)?;
    let wanted = context.events.newest(&w.uid, context.now.plus_secs(-FRESH_SECS), |event| {
        event.warning && event.reason == FAILED_CREATE
    });
    let event = wanted?;
    let since = event.first.or(event.last);
    let lasts = since.is_none_or(|since| context.now.secs_since(since) >= PATIENCE_SECS);
    lasts.then(|| Refusal { reason: event.reason.clone(), words: event.message.clone(), since })
}

/// Returns the part after the pod's name, which differs in each attempt: `pods "web-x" is forbidden: exceeded quota:
/// q, …`.
fn short(words: &str) -> &str {
    let after = |sign: &str| words.split_once(sign).map(|(_, rest)| rest);
    after(" is forbidden: ").or_else(|| after(" error: ")).unwrap_or(words)
}

pub(super) fn not_created(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let rows = context.cluster.derived.workloads.iter();
    rows.filter_map(|row| {
        let w = &row.workload;
        let refusal = refusal(context, w)?;
        let (has, wants) = missing(w).unwrap_or((w.current, w.desired));
        let why = short(&refusal.words);
        let severity =
            if row.totals.ready == 0 && wants > 0 { Severity::Critical } else { Severity::Warning };
        Some(Cause {
            since: refusal.since,
            evidence: vec![format!("{}: {}", refusal.reason, refusal.words).into()],
            impact: Impact {
                services: context.services_that(&w.namespace, |s| w.may_have_pods_for(s)),
                pods: u32::try_from((wants - has).max(0)).unwrap_or(0),
                ..Impact::default()
            },
            shared: vec![Shared::Message {
                reason: refusal.reason.clone(),
                template: template(why),
                namespace: Some(w.namespace.clone()),
            }],
            ..Cause::new(
                Finding::NotCreated { has, wants, refused: why.into() },
                severity,
                vec![w.reference(context.cluster.id())],
            )
        })
    })
    .collect()
}
