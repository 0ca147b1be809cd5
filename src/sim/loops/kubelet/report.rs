//! A pod's status as a kubelet writes it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::doc::{Condition, list, put, set_condition, text};
use super::run::{Cell, End, Fate, Run, Stage};
use crate::clock::stamp;
use crate::rng::Random;

/// 64 hexadecimal digits that identify something.
pub(super) fn digest(random: &Random, key: &[&str]) -> String {
    let mut rng = random.keyed(key);
    format!("{:032x}{:032x}", rng.u128(..), rng.u128(..))
}

/// The repository of an image with the digest of the pulled image.
fn image_id(random: &Random, image: &str) -> String {
    let slash = image.rfind('/').map_or(0, |at| at + 1);
    let (path, last) = image.split_at_checked(slash).unwrap_or(("", image));
    let name = last.split_once(':').map_or(last, |(name, _)| name);
    format!("{path}{name}@sha256:{}", digest(random, &["image", image]))
}

fn container_id(random: &Random, run: &Run, container: &str, nth: i64) -> String {
    let key = ["container", &run.namespace, &run.name, container, &nth.to_string()];
    format!("containerd://{}", digest(random, &key))
}

fn terminated(random: &Random, run: &Run, cell: &Cell, end: &End) -> Value {
    json!({"terminated": {"exitCode": end.code, "reason": end.reason, "startedAt": stamp(end.started),
        "finishedAt": stamp(end.finished), "containerID": container_id(random, run, &cell.name, end.nth)}})
}

fn waiting(reason: &str, message: &str) -> Value {
    let mut out = json!({"waiting": {"reason": reason}});
    if !message.is_empty() {
        put(&mut out, &["waiting", "message"], json!(message));
    }
    out
}

/// The message for the waiting reason of a container in back-off.
pub(super) fn backing_off(run: &Run, cell: &Cell, uid: &str) -> String {
    let span = if cell.wait >= 60 {
        match cell.wait % 60 {
            0 => format!("{}m0s", cell.wait / 60),
            rest => format!("{}m{rest}s", cell.wait / 60),
        }
    } else {
        format!("{}s", cell.wait)
    };
    format!(
        "back-off {span} restarting failed container={} pod={}_{}({uid})",
        cell.name, run.name, run.namespace
    )
}

/// The message of a failed image pull.
pub(super) fn not_found(image: &str) -> String {
    format!(
        "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": {image}: not found"
    )
}

fn container(random: &Random, run: &Run, cell: &Cell, fate: &Fate<'_>, at: DateTime<Utc>) -> Value {
    let ready = fate.is_ready(cell, at);
    let mut id = cell.last.as_ref().map(|end| end.nth);
    let (state, started) = match &cell.stage {
        Stage::Creating { .. } => (waiting("ContainerCreating", ""), false),
        Stage::NoImage { fresh: true, .. } => (waiting("ErrImagePull", &not_found(&cell.image)), false),
        Stage::NoImage { .. } => {
            let why = format!(
                "Back-off pulling image \"{0}\": ErrImagePull: {1}",
                cell.image,
                not_found(&cell.image)
            );
            (waiting("ImagePullBackOff", &why), false)
        }
        Stage::Running { since } => {
            id = Some(cell.restarts);
            (json!({"running": {"startedAt": stamp(*since)}}), true)
        }
        Stage::BackOff { .. } => {
            (waiting("CrashLoopBackOff", &backing_off(run, cell, fate.pod.uid())), false)
        }
        Stage::Done => {
            (cell.last.as_ref().map_or(json!({}), |end| terminated(random, run, cell, end)), false)
        }
    };
    let last = match &cell.stage {
        Stage::Done => json!({}),
        _ => cell.last.as_ref().map_or(json!({}), |end| terminated(random, run, cell, end)),
    };
    let mut out = json!({"name": cell.name, "image": cell.image, "imageID": "", "ready": ready, "started": started,
        "restartCount": cell.restarts, "state": state, "lastState": last});
    if let Some(nth) = id {
        put(&mut out, &["containerID"], json!(container_id(random, run, &cell.name, nth)));
        put(&mut out, &["imageID"], json!(image_id(random, &cell.image)));
    }
    out
}

/// Whether the init containers have completed successfully, or, as sidecars, are running.
fn inits(random: &Random, run: &Run, fate: &Fate<'_>) -> Vec<Value> {
    let started = run.cells.iter().any(|cell| !matches!(cell.stage, Stage::Creating { .. }));
    let one = |container: &Value| {
        let mut cell = Cell::new(container, run.start);
        let sidecar = text(container, "restartPolicy") == "Always";
        let state = if !started {
            waiting("PodInitializing", "")
        } else if sidecar {
            json!({"running": {"startedAt": stamp(run.start)}})
        } else {
            let end = End { code: 0, reason: "Completed", started: run.start, finished: run.start, nth: 0 };
            cell.last = Some(end.clone());
            terminated(random, run, &cell, &end)
        };
        let id = if started { container_id(random, run, &cell.name, 0) } else { String::new() };
        let image = if started { image_id(random, &cell.image) } else { String::new() };
        json!({"name": cell.name, "image": cell.image, "imageID": image, "containerID": id, "ready": started,
            "started": started && sidecar, "restartCount": 0, "state": state, "lastState": {}})
    };
    list(&fate.pod.value, "/spec/initContainers").iter().map(one).collect()
}

fn phase(run: &Run) -> &'static str {
    let done = run.cells.iter().all(|cell| matches!(cell.stage, Stage::Done));
    if done {
        let good = run.cells.iter().all(|cell| cell.last.as_ref().is_some_and(|end| end.code == 0));
        return if good { "Succeeded" } else { "Failed" };
    }
    let fresh = |cell: &Cell| matches!(cell.stage, Stage::Creating { .. } | Stage::NoImage { .. });
    if run.cells.iter().any(fresh) { "Pending" } else { "Running" }
}

/// The complete status, with the parts that other clients have written.
pub(super) fn status(random: &Random, run: &Run, fate: &Fate<'_>, host: &str, at: DateTime<Utc>) -> Value {
    let mut out = fate.pod.at("/status").clone();
    let phase = phase(run);
    let unready: Vec<&str> =
        run.cells.iter().filter(|cell| !fate.is_ready(cell, at)).map(|cell| cell.name.as_str()).collect();
    let mut conditions = list(&fate.pod.value, "/status/conditions").to_vec();
    let complaint = format!("containers with unready status: [{}]", unready.join(" "));
    let ready = match phase {
        "Succeeded" => ("False", "PodCompleted", ""),
        "Failed" => ("False", "PodFailed", ""),
        _ if unready.is_empty() => ("True", "", ""),
        _ => ("False", "ContainersNotReady", complaint.as_str()),
    };
    let initialized = if phase == "Succeeded" { "PodCompleted" } else { "" };
    for condition in [
        Condition::new(
            "PodReadyToStartContainers",
            if run.cells.is_empty() { "False" } else { "True" },
            "",
            "",
        ),
        Condition::new("Initialized", "True", initialized, ""),
        Condition::new("Ready", ready.0, ready.1, ready.2),
        Condition::new("ContainersReady", ready.0, ready.1, ready.2),
        Condition::new("PodScheduled", "True", "", ""),
    ] {
        set_condition(&mut conditions, condition, at);
    }
    let inits = inits(random, run, fate);
    let cells: Vec<Value> = run.cells.iter().map(|cell| container(random, run, cell, fate, at)).collect();
    for (field, value) in [
        ("phase", json!(phase)),
        ("conditions", json!(conditions)),
        ("hostIP", json!(host)),
        ("hostIPs", json!([{"ip": host}])),
        ("podIP", json!(run.ip)),
        ("podIPs", json!([{"ip": run.ip}])),
        ("startTime", json!(stamp(run.start))),
        ("containerStatuses", json!(cells)),
        ("initContainerStatuses", if inits.is_empty() { Value::Null } else { json!(inits) }),
    ] {
        put(&mut out, &[field], value);
    }
    out
}
