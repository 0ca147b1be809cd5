//! Pods that cannot be created: a quota, an admission webhook or policy, a limit refuses them.

use crate::domain::id::{Kind, Name};
use crate::domain::node::Status;
use crate::domain::time::Stamp;
use crate::domain::workload::Workload;
use crate::facts::world::{Alike, AlikeBy, Cause, Course, Kin, Reach, Severity};
use crate::logs::fingerprint::template;

use super::{Scene, brief, title_of};

/// A refusal is reported after this long: controllers try again within seconds, and the next try may succeed.
const PATIENCE_SECS: u64 = 20;
/// Controllers wait longer and longer before they try again, about a quarter of an hour in the end.
const FRESH_SECS: i64 = 1_200;

/// The reason of the event of a controller that could not create a pod.
const FAILED_CREATE: &str = "FailedCreate";

struct Refusal {
    reason: Name,
    words: Name,
    since: Option<Stamp>,
}

/// How many pods it has and should have now; None if none is missing.
fn missing(w: &Workload) -> Option<(i32, i32)> {
    let wanted = match w.kind {
        Kind::Job if w.paused || w.is_finished() => 0,
        Kind::Job => w.replicas.min(w.desired - w.succeeded),
        _ => w.desired,
    };
    (w.current < wanted).then_some((w.current, wanted))
}

/// Deployments and ReplicaSets have a condition for it; for the others there are only the events and the missing pods.
fn refusal(scene: &Scene<'_, '_>, w: &Workload) -> Option<Refusal> {
    if let Some(c) = w.condition("ReplicaFailure").filter(|c| c.status == Status::True) {
        let lasts = c.since.is_none_or(|since| scene.now.secs_since(since) >= PATIENCE_SECS);
        return lasts.then(|| Refusal { reason: c.reason.clone(), words: c.message.clone(), since: c.since });
    }
    missing(w)?;
    let wanted = scene.said.newest(&w.uid, scene.now.plus_secs(-FRESH_SECS), |event| {
        event.warning && event.reason == FAILED_CREATE
    });
    let event = wanted?;
    let since = event.first.or(event.last);
    let lasts = since.is_none_or(|since| scene.now.secs_since(since) >= PATIENCE_SECS);
    lasts.then(|| Refusal { reason: event.reason.clone(), words: event.message.clone(), since })
}

/// `pods "web-x" is forbidden: exceeded quota: q, …` -> the part after the pod's name, which differs from try to try.
fn short(words: &str) -> &str {
    let after = |sign: &str| words.split_once(sign).map(|(_, rest)| rest);
    after(" is forbidden: ").or_else(|| after(" error: ")).unwrap_or(words)
}

pub fn not_created(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let rows = scene.cluster.derived.workloads.iter();
    rows.filter_map(|row| {
        let w = &row.workload;
        let refusal = refusal(scene, w)?;
        let (has, wants) = missing(w).unwrap_or((w.current, w.desired));
        let object = w.reference();
        let why = short(&refusal.words);
        let words = format!("pods cannot be created: {}", brief(why));
        Some(Cause {
            rule: "not-created",
            severity: if row.totals.ready == 0 && wants > 0 { Severity::Critical } else { Severity::Warning },
            title: format!("{} has {has} of {wants} pods, {words}", title_of(&object)),
            since: refusal.since,
            evidence: vec![format!("{}: {}", refusal.reason, refusal.words)],
            action: None,
            reach: Reach {
                services: scene.services_that(&w.namespace, |s| w.may_have_pods_for(s)),
                pods: u32::try_from((wants - has).max(0)).unwrap_or(0),
                ..Reach::default()
            },
            objects: vec![object],
            course: Course::default(),
            kin: Kin {
                alike: vec![Alike {
                    by: AlikeBy::Said {
                        reason: refusal.reason.clone(),
                        template: template(why),
                        namespace: Some(w.namespace.clone()),
                    },
                    noun: "workloads",
                    words: format!("of {}: {words}", w.namespace),
                }],
                ..Kin::default()
            },
        })
    })
    .collect()
}
