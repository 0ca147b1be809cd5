//! kubectl's STATUS, READY and RESTARTS columns.

use pilothouse_core::domain::node::Status;

use super::{ContainerDoc, PodSpec, PodStatus, Terminated, condition};

pub(super) struct Columns {
    pub status: String,
    pub ready: u16,
    pub total: u16,
    pub restarts: u32,
}

/// kubectl's STATUS, READY and RESTARTS (`printPod`), without the Terminating case.
pub(super) fn columns(spec: &PodSpec<'_>, status: &PodStatus<'_>) -> Columns {
    let init: &[ContainerDoc<'_>] = spec.init_containers.as_deref().unwrap_or_default();
    let sidecar = |name: &str| init.iter().any(|c| &*c.name == name && c.sidecar());
    let sidecars = init.iter().filter(|c| c.sidecar()).count();
    let total = spec.containers.as_ref().map_or(0, Vec::len) + sidecars;
    let mut word =
        if status.reason.is_empty() { status.phase.to_string() } else { status.reason.to_string() };
    if condition(status, "PodScheduled").is_some_and(|c| &*c.reason == "SchedulingGated") {
        word = "SchedulingGated".into();
    }
    let mut ready = 0usize;
    let mut restarts = 0u32;
    let mut sidecar_restarts = 0u32;
    let mut initializing = false;
    for (at, container) in status.init_container_statuses.iter().flatten().enumerate() {
        restarts = restarts.saturating_add(container.restarts());
        let is_sidecar = sidecar(&container.name);
        if is_sidecar {
            sidecar_restarts = sidecar_restarts.saturating_add(container.restarts());
        }
        if container.terminated().is_some_and(|t| t.exit_code.unwrap_or(0) == 0) {
            continue;
        }
        if is_sidecar && container.started == Some(true) {
            ready += usize::from(container.ready == Some(true));
            continue;
        }
        initializing = true;
        word = match (container.terminated(), container.waiting()) {
            (Some(ended), _) => format!("Init:{}", ended.word()),
            (None, Some(w)) if !w.reason.is_empty() && &*w.reason != "PodInitializing" => {
                format!("Init:{}", w.reason)
            }
            _ => format!("Init:{at}/{}", init.len()),
        };
        break;
    }
    let initialized =
        condition(status, "Initialized").is_some_and(|c| Status::parse(&c.status) == Status::True);
    if !initializing || initialized {
        restarts = sidecar_restarts;
        let mut running = false;
        for container in status.container_statuses.iter().flatten().rev() {
            restarts = restarts.saturating_add(container.restarts());
            match (container.waiting(), container.terminated()) {
                (Some(w), _) if !w.reason.is_empty() => word = w.reason.to_string(),
                (_, Some(ended)) => word = ended.word(),
                _ if container.ready == Some(true) && container.running() => {
                    running = true;
                    ready += 1;
                }
                _ => {}
            }
        }
        if word == "Completed" && running {
            let is_ready =
                condition(status, "Ready").is_some_and(|c| Status::parse(&c.status) == Status::True);
            word = if is_ready { "Running".into() } else { "NotReady".into() };
        }
    }
    let small = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    Columns { status: word, ready: small(ready), total: small(total), restarts }
}

impl Terminated<'_> {
    pub(super) fn word(&self) -> String {
        if !self.reason.is_empty() {
            self.reason.to_string()
        } else if let Some(signal) = self.signal.filter(|s| *s != 0) {
            format!("Signal:{signal}")
        } else {
            format!("ExitCode:{}", self.exit_code.unwrap_or(0))
        }
    }
}
