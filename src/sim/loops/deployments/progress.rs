//! The status of a Deployment: its counters, whether it is available, and whether its rollout makes progress.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::doc::{Condition, after, int, list, put, seconds, text};
use super::scale::{Bounds, replicas, status};
use crate::clock::{parse, stamp};
use crate::store::Object;

/// Sets a condition with its times; one with the same status and reason is unchanged unless it is `renewed`.
pub(super) fn set(conditions: &mut Vec<Value>, new: Condition<'_>, renewed: bool, at: DateTime<Utc>) {
    let now = stamp(at);
    let old = conditions.iter().find(|one| text(one, "type") == new.kind);
    let same_status = old.is_some_and(|old| text(old, "status") == new.status);
    let same = same_status && old.is_some_and(|old| text(old, "reason") == new.reason);
    if same && !renewed {
        return;
    }
    let since =
        old.filter(|_| same_status).map_or(now.clone(), |old| text(old, "lastTransitionTime").to_owned());
    let mut value = new.value(&since);
    put(&mut value, &["lastUpdateTime"], json!(now));
    conditions.retain(|one| text(one, "type") != new.kind);
    conditions.push(value);
}

fn find<'a>(conditions: &'a [Value], kind: &str) -> Option<&'a Value> {
    conditions.iter().find(|one| text(one, "type") == kind)
}

/// The new status, and when it changes by itself.
pub(super) fn report(
    deployment: &Object,
    new: Option<&Arc<Object>>,
    all: &[Arc<Object>],
    mut conditions: Vec<Value>,
    collisions: i64,
    at: DateTime<Utc>,
) -> (Value, Option<DateTime<Utc>>) {
    let sum = |field: &str| all.iter().map(|set| status(set, field)).sum::<i64>();
    let wanted = replicas(deployment);
    let (made, ready, available) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"));
    let updated = new.map_or(0, |set| status(set, "replicas"));
    let total: i64 = all.iter().map(|set| replicas(set)).sum();
    let mut out = json!({"observedGeneration": deployment.generation(), "terminatingReplicas": sum("terminatingReplicas")});
    for (field, n) in [
        ("replicas", made),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", (total - available).max(0)),
        ("collisionCount", collisions),
    ] {
        if n > 0 {
            put(&mut out, &[field], json!(n));
        }
    }
    let enough = available >= wanted - Bounds::of(deployment).unavailable;
    let new_condition = if enough {
        Condition::new(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        let why = "Deployment does not have minimum availability.";
        Condition::new("Available", "False", "MinimumReplicasUnavailable", why)
    };
    set(&mut conditions, new_condition, false, at);
    let mut next = None;
    if let Some(deadline) = deployment.int("/spec/progressDeadlineSeconds") {
        let name = match new {
            Some(set) => format!("ReplicaSet \"{}\"", set.name()),
            None => format!("Deployment \"{}\"", deployment.name()),
        };
        let reason = find(&conditions, "Progressing").map(|one| text(one, "reason").to_owned());
        let settled = made == updated && reason.as_deref() == Some("NewReplicaSetAvailable");
        let complete = updated == wanted && made == wanted && available == wanted;
        let before = |field: &str| int(deployment.at("/status"), field);
        let moves = updated > before("updatedReplicas")
            || made - updated < before("replicas") - before("updatedReplicas")
            || ready > before("readyReplicas")
            || available > before("availableReplicas");
        if deployment.at("/spec/paused") == &Value::Bool(true) || settled {
        } else if complete {
            let why = format!("{name} has successfully progressed.");
            set(
                &mut conditions,
                Condition::new("Progressing", "True", "NewReplicaSetAvailable", &why),
                false,
                at,
            );
        } else if moves {
            let why = format!("{name} is progressing.");
            set(&mut conditions, Condition::new("Progressing", "True", "ReplicaSetUpdated", &why), true, at);
        } else if let Some(old) = find(&conditions, "Progressing")
            && !matches!(text(old, "reason"), "NewReplicaSetAvailable" | "ProgressDeadlineExceeded")
            && let Some(due) = parse(text(old, "lastUpdateTime")).map(|from| after(from, seconds(deadline)))
            && due < at
        {
            let why = format!("{name} has timed out progressing.");
            let late = Condition::new("Progressing", "False", "ProgressDeadlineExceeded", &why);
            set(&mut conditions, late, false, at);
        }
        if !complete
            && let Some(now) = find(&conditions, "Progressing")
            && !matches!(
                text(now, "reason"),
                "NewReplicaSetAvailable" | "ProgressDeadlineExceeded" | "DeploymentPaused"
            )
        {
            next = parse(text(now, "lastUpdateTime")).map(|from| after(from, seconds(deadline + 1)));
        }
    }
    let failed = all.iter().find_map(|set| find(list(&set.value, "/status/conditions"), "ReplicaFailure"));
    match failed {
        Some(why) => {
            let why = Condition::new("ReplicaFailure", "True", text(why, "reason"), text(why, "message"));
            set(&mut conditions, why, false, at);
        }
        None => conditions.retain(|one| text(one, "type") != "ReplicaFailure"),
    }
    put(&mut out, &["conditions"], json!(conditions));
    (out, next.filter(|due| *due > at))
}
