//! The cells of workloads, autoscalers and budgets.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{human, joined, list, number, selector, since, text};
use crate::clock;

macro_rules! numbers {
    ($($name:ident = $pointer:literal;)*) => {
        $(pub(super) fn $name(value: &Value, _: DateTime<Utc>) -> Value { json!(number(value, $pointer)) })*
    };
}

numbers! {
    updated = "/status/updatedReplicas";
    available = "/status/availableReplicas";
    desired = "/spec/replicas";
    current = "/status/replicas";
    ready_count = "/status/readyReplicas";
    daemon_desired = "/status/desiredNumberScheduled";
    daemon_current = "/status/currentNumberScheduled";
    daemon_ready = "/status/numberReady";
    daemon_updated = "/status/updatedNumberScheduled";
    daemon_available = "/status/numberAvailable";
    revision = "/revision";
    hpa_max = "/spec/maxReplicas";
    hpa_replicas = "/status/currentReplicas";
    pdb_allowed = "/status/disruptionsAllowed";
}

pub(super) fn ready(value: &Value, _: DateTime<Utc>) -> Value {
    json!(format!("{}/{}", number(value, "/status/readyReplicas"), number(value, "/spec/replicas")))
}

pub(super) fn containers(value: &Value, _: DateTime<Utc>) -> Value {
    joined(value, "/spec/template/spec/containers", "name")
}

pub(super) fn images(value: &Value, _: DateTime<Utc>) -> Value {
    joined(value, "/spec/template/spec/containers", "image")
}

pub(super) fn selected(value: &Value, _: DateTime<Utc>) -> Value {
    selector(value, "/spec/selector")
}

pub(super) fn node_selector(value: &Value, _: DateTime<Utc>) -> Value {
    let map = value.pointer("/spec/template/spec/nodeSelector").unwrap_or(&Value::Null);
    let text = crate::selector::Labels::of_map(map).to_string();
    json!(if text.is_empty() { "<none>".to_owned() } else { text })
}

/// `statefulset.apps/db`
pub(super) fn controller(value: &Value, _: DateTime<Utc>) -> Value {
    let owners = list(value, "/metadata/ownerReferences");
    let Some(owner) = owners.iter().find(|one| one.get("controller") == Some(&Value::Bool(true))) else {
        return json!("<none>");
    };
    let group =
        text(owner, "/apiVersion").split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
    json!(format!("{}{group}/{}", text(owner, "/kind").to_lowercase(), text(owner, "/name")))
}

pub(super) fn job_status(value: &Value, _: DateTime<Utc>) -> Value {
    let holds = |kind: &str| {
        list(value, "/status/conditions")
            .iter()
            .any(|one| text(one, "/type") == kind && text(one, "/status") == "True")
    };
    json!(if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if value.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    })
}

pub(super) fn job_completions(value: &Value, _: DateTime<Utc>) -> Value {
    let done = number(value, "/status/succeeded");
    match value.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(wanted) => json!(format!("{done}/{wanted}")),
        None => json!(format!("{done}/1 of {}", number(value, "/spec/parallelism").max(1))),
    }
}

pub(super) fn job_duration(value: &Value, now: DateTime<Utc>) -> Value {
    let Some(start) = clock::parse(text(value, "/status/startTime")) else { return json!("") };
    let end = clock::parse(text(value, "/status/completionTime")).unwrap_or(now);
    json!(human((end - start).num_seconds()))
}

pub(super) fn cron_schedule(value: &Value, _: DateTime<Utc>) -> Value {
    json!(text(value, "/spec/schedule"))
}

pub(super) fn cron_zone(value: &Value, _: DateTime<Utc>) -> Value {
    super::or_none(value, "/spec/timeZone")
}

pub(super) fn cron_suspend(value: &Value, _: DateTime<Utc>) -> Value {
    let on = value.pointer("/spec/suspend") == Some(&Value::Bool(true));
    json!(if on { "True" } else { "False" })
}

pub(super) fn cron_active(value: &Value, _: DateTime<Utc>) -> Value {
    json!(list(value, "/status/active").len())
}

pub(super) fn cron_last(value: &Value, now: DateTime<Utc>) -> Value {
    if text(value, "/status/lastScheduleTime").is_empty() {
        return json!("<none>");
    }
    since(value, "/status/lastScheduleTime", now)
}

pub(super) fn hpa_reference(value: &Value, _: DateTime<Utc>) -> Value {
    let at = "/spec/scaleTargetRef";
    json!(format!("{}/{}", text(value, &format!("{at}/kind")), text(value, &format!("{at}/name"))))
}

pub(super) fn hpa_min(value: &Value, _: DateTime<Utc>) -> Value {
    let min = value.pointer("/spec/minReplicas").and_then(Value::as_i64);
    json!(min.map_or("<unset>".to_owned(), |min| min.to_string()))
}

/// One metric as `cpu: 20%/60%`. The entry of the status has the same index as that of the spec.
fn target(spec: &Value, status: Option<&Value>) -> String {
    let kind = text(spec, "/type");
    let field = match kind {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".to_owned(),
    };
    let at = |value: &Value, rest: &str| -> Option<String> {
        let found = value.pointer(&format!("/{field}/{rest}"))?;
        found.as_str().map(str::to_owned).or_else(|| found.as_i64().map(|n| n.to_string()))
    };
    let now = |rest: &str| {
        status
            .and_then(|status| at(status, &format!("current/{rest}")))
            .unwrap_or_else(|| "<unknown>".to_owned())
    };
    let shown = if let Some(want) = at(spec, "target/averageUtilization") {
        let now = now("averageUtilization");
        format!("{now}{}/{want}%", if now.starts_with('<') { "" } else { "%" })
    } else if let Some(want) = at(spec, "target/averageValue") {
        let suffix = if matches!(kind, "Object" | "External") { " (avg)" } else { "" };
        format!("{}/{want}{suffix}", now("averageValue"))
    } else if let Some(want) = at(spec, "target/value") {
        format!("{}/{want}", now("value"))
    } else {
        "<auto>".to_owned()
    };
    match kind {
        "Resource" | "ContainerResource" => format!("{}: {shown}", at(spec, "name").unwrap_or_default()),
        _ => shown,
    }
}

pub(super) fn hpa_targets(value: &Value, _: DateTime<Utc>) -> Value {
    let metrics = list(value, "/spec/metrics");
    if metrics.is_empty() {
        return json!("<none>");
    }
    let now = list(value, "/status/currentMetrics");
    let shown: Vec<String> =
        metrics.iter().take(2).enumerate().map(|(n, spec)| target(spec, now.get(n))).collect();
    let more = metrics.len().saturating_sub(2);
    let mut out = shown.join(", ");
    if more > 0 {
        out.push_str(&format!(" + {more} more..."));
    }
    json!(out)
}

fn int_or_percent(value: &Value, pointer: &str) -> Value {
    match value.pointer(pointer) {
        Some(Value::String(text)) => json!(text),
        Some(Value::Number(n)) => json!(n.to_string()),
        _ => json!("N/A"),
    }
}

pub(super) fn pdb_min(value: &Value, _: DateTime<Utc>) -> Value {
    int_or_percent(value, "/spec/minAvailable")
}

pub(super) fn pdb_max(value: &Value, _: DateTime<Utc>) -> Value {
    int_or_percent(value, "/spec/maxUnavailable")
}
