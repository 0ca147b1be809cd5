//! The cells of pods. The server computes the status word that kubectl shows.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{human, list, number, or_none, text};
use crate::clock;

fn condition_true(pod: &Value, kind: &str) -> bool {
    list(pod, "/status/conditions")
        .iter()
        .any(|one| text(one, "/type") == kind && text(one, "/status") == "True")
}

/// A sidecar: an init container with `restartPolicy: Always`.
fn is_sidecar(pod: &Value, name: &str) -> bool {
    list(pod, "/spec/initContainers")
        .iter()
        .any(|one| text(one, "/name") == name && text(one, "/restartPolicy") == "Always")
}

fn is_on(status: &Value, field: &str) -> bool {
    status.get(field) == Some(&Value::Bool(true))
}

/// `2/3`: the containers that are ready, sidecars too.
pub(super) fn ready(pod: &Value, _: DateTime<Utc>) -> Value {
    let sidecars =
        list(pod, "/spec/initContainers").iter().filter(|one| text(one, "/restartPolicy") == "Always");
    let total = list(pod, "/spec/containers").len() + sidecars.count();
    let running = |status: &&Value| is_on(status, "ready") && status.pointer("/state/running").is_some();
    let main = list(pod, "/status/containerStatuses").iter().filter(running).count();
    let init = list(pod, "/status/initContainerStatuses");
    let beside = init.iter().filter(running).filter(|one| is_sidecar(pod, text(one, "/name"))).count();
    json!(format!("{}/{total}", main + beside))
}

fn ended(status: &Value) -> Option<String> {
    let terminated = status.pointer("/state/terminated")?;
    let reason = text(terminated, "/reason");
    let signal = number(terminated, "/signal");
    Some(if !reason.is_empty() {
        reason.to_owned()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", number(terminated, "/exitCode"))
    })
}

/// The status word of an init phase that is not complete.
fn initializing(pod: &Value) -> Option<String> {
    let statuses = list(pod, "/status/initContainerStatuses");
    for (n, one) in statuses.iter().enumerate() {
        if one.pointer("/state/terminated").is_some_and(|end| number(end, "/exitCode") == 0) {
            continue;
        }
        if is_sidecar(pod, text(one, "/name")) && is_on(one, "started") {
            continue;
        }
        if let Some(end) = ended(one) {
            return Some(format!("Init:{end}"));
        }
        let waiting = text(one, "/state/waiting/reason");
        return Some(if waiting.is_empty() || waiting == "PodInitializing" {
            format!("Init:{n}/{}", list(pod, "/spec/initContainers").len())
        } else {
            format!("Init:{waiting}")
        });
    }
    None
}

pub(super) fn status(pod: &Value, _: DateTime<Utc>) -> Value {
    let phase = text(pod, "/status/phase");
    let mut word = text(pod, "/status/reason").to_owned();
    if word.is_empty() {
        phase.clone_into(&mut word);
    }
    let gated = list(pod, "/status/conditions")
        .iter()
        .any(|one| text(one, "/type") == "PodScheduled" && text(one, "/reason") == "SchedulingGated");
    if gated {
        word = String::from("SchedulingGated");
    }
    let initialized = condition_true(pod, "Initialized");
    if let Some(init) = initializing(pod).filter(|_| !initialized) {
        word = init;
    } else {
        let mut running = false;
        for one in list(pod, "/status/containerStatuses").iter().rev() {
            let waiting = text(one, "/state/waiting/reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut word);
            } else if let Some(end) = ended(one) {
                word = end;
            } else if is_on(one, "ready") && one.pointer("/state/running").is_some() {
                running = true;
            }
        }
        if word == "Completed" && running {
            word = String::from(if condition_true(pod, "Ready") { "Running" } else { "NotReady" });
        }
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        word = if text(pod, "/status/reason") == "NodeLost" {
            "Unknown".to_owned()
        } else if matches!(phase, "Succeeded" | "Failed") {
            word
        } else {
            "Terminating".to_owned()
        };
    }
    json!(word)
}

pub(super) fn restarts(pod: &Value, now: DateTime<Utc>) -> Value {
    let init = list(pod, "/status/initContainerStatuses");
    let relevant = list(pod, "/status/containerStatuses").iter().chain(
        init.iter().filter(|one| is_sidecar(pod, text(one, "/name")) || !condition_true(pod, "Initialized")),
    );
    let (mut count, mut last) = (0, None);
    for one in relevant {
        count += number(one, "/restartCount");
        last = last.max(clock::parse(text(one, "/lastState/terminated/finishedAt")));
    }
    match last.filter(|_| count > 0) {
        Some(at) => json!(format!("{count} ({} ago)", human((now - at).num_seconds()))),
        None => json!(count.to_string()),
    }
}

pub(super) fn ip(pod: &Value, _: DateTime<Utc>) -> Value {
    or_none(pod, "/status/podIP")
}

pub(super) fn node(pod: &Value, _: DateTime<Utc>) -> Value {
    or_none(pod, "/spec/nodeName")
}

pub(super) fn nominated(pod: &Value, _: DateTime<Utc>) -> Value {
    or_none(pod, "/status/nominatedNodeName")
}

pub(super) fn gates(pod: &Value, _: DateTime<Utc>) -> Value {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return json!("<none>");
    }
    let met = gates.iter().filter(|gate| condition_true(pod, text(gate, "/conditionType"))).count();
    json!(format!("{met}/{}", gates.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_for_a_pod() {
        let now = clock::parse("2026-01-02T03:04:05Z").unwrap();
        let word = |pod: Value| status(&pod, now).as_str().unwrap().to_owned();
        assert_eq!(word(json!({"status": {"phase": "Pending"}})), "Pending");
        let crash = json!({"spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Running", "containerStatuses":
            [{"name": "a", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
              "lastState": {"terminated": {"finishedAt": "2026-01-02T03:03:05Z"}}}]}});
        assert_eq!(word(crash.clone()), "CrashLoopBackOff");
        assert_eq!(restarts(&crash, now), json!("3 (60s ago)"));
        assert_eq!(ready(&crash, now), json!("0/1"));
        let mut going = json!({"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Running"}});
        assert_eq!(word(going.clone()), "Terminating");
        going["metadata"] = json!({});
        going["status"]["reason"] = json!("Evicted");
        assert_eq!(word(going), "Evicted");
        let init = json!({"spec": {"initContainers": [{"name": "i"}, {"name": "j"}]}, "status": {"phase": "Pending",
            "initContainerStatuses": [{"name": "i", "state": {"running": {}}}, {"name": "j", "state": {"waiting":
            {"reason": "PodInitializing"}}}]}});
        assert_eq!(word(init), "Init:0/2");
    }
}
