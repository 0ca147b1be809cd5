//! What to do with a container's log, according to the pod.

use super::pod::{Container, PodState};
use crate::wire::error::ApiError;

/// What to do next.
pub(super) enum Next {
    /// Request the log.
    Read,
    /// Wait, for this reason.
    Wait(String),
    /// Stop, for this reason.
    Over(Option<String>),
}

/// Decides what to do after a container's log was read to its end.
pub(super) fn ended(state: &PodState, container: &Container) -> Next {
    let how = container.ended().map_or_else(String::new, |exit| format!(", {exit}"));
    if !state.restarts(container) {
        // an init container that succeeded needs no note
        let silent = container.is_done_init();
        return Next::Over((!silent).then(|| format!("the container ended{how}")));
    }
    let waits = match &container.state {
        super::pod::State::Waiting { reason, message } if !message.is_empty() => {
            format!("{reason}: {message}")
        }
        super::pod::State::Waiting { reason, .. } => reason.clone(),
        _ => String::new(),
    };
    let waits = if waits.is_empty() { String::new() } else { format!(" ({waits})") };
    Next::Wait(format!("the container ended{how}; it will be started again{waits}"))
}

/// Whether the error of a request for a log is a failure. `was_read`: whether the log was read before.
pub(super) fn is_failure(error: &ApiError, was_read: bool) -> bool {
    match error {
        // the kubelet answers with this status before a container has started
        ApiError::Invalid { .. } => false,
        // the pod is gone
        ApiError::NotFound { .. } => !was_read,
        _ => true,
    }
}
