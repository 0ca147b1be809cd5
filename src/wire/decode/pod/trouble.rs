//! What is wrong with a pod, and how its containers ended last.

use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::node::Status;
use pilothouse_core::domain::pod::{LastExit, Phase, Trouble};
use pilothouse_core::domain::time::Stamp;

use super::super::{Pools, message};
use super::{PodStatus, Terminated, condition};

/// An out-of-memory kill is reported for an hour.
const OOM_NEWS_SECS: u64 = 3600;

fn waiting_trouble(reason: &str) -> Option<Trouble> {
    Some(match reason {
        "CrashLoopBackOff"
        | "RunContainerError"
        | "CreateContainerError"
        | "StartError"
        | "ContainerCannotRun"
        | "PostStartHookError"
        | "PreCreateHookError"
        | "PreStartHookError" => Trouble::CrashLoop,
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError"
        | "SignatureValidationFailed" => Trouble::ImagePull,
        "CreateContainerConfigError" => Trouble::Config,
        _ => return None,
    })
}

/// The pod's problem, with the message of the scheduler or the kubelet.
pub(super) fn trouble(status: &PodStatus<'_>, phase: Phase, now: Stamp) -> (Option<Trouble>, Option<Name>) {
    let detail = |text: &str| (!text.is_empty()).then(|| message(text));
    if phase == Phase::Failed {
        let evicted = &*status.reason == "Evicted";
        return (evicted.then_some(Trouble::Evicted), detail(&status.message));
    }
    if phase == Phase::Succeeded {
        return (None, None);
    }
    let containers = || {
        let init = status.init_container_statuses.iter().flatten();
        status.container_statuses.iter().flatten().chain(init)
    };
    let mut found: Option<(Trouble, Option<Name>)> = None;
    for container in containers() {
        let waiting =
            container.waiting().and_then(|w| Some((waiting_trouble(&w.reason)?, detail(&w.message))));
        let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        let oom = |t: &Terminated<'_>| &*t.reason == "OOMKilled";
        let recent =
            |t: &Terminated<'_>| t.finished_at.stamp().is_some_and(|at| now.secs_since(at) < OOM_NEWS_SECS);
        let restarting = matches!(waiting, Some((Trouble::CrashLoop, _)));
        let killed = container.terminated().is_some_and(oom)
            || last.is_some_and(|t| oom(t) && (restarting || recent(t)));
        // the out-of-memory kill is more specific than the wait for the restart
        let this = if killed { Some((Trouble::OomKilled, waiting.and_then(|(_, m)| m))) } else { waiting };
        if let Some(this) = this
            && found.as_ref().is_none_or(|(held, _)| this.0 < *held)
        {
            found = Some(this);
        }
    }
    if let Some((trouble, words)) = found {
        return (Some(trouble), words.or_else(|| detail(&status.message)));
    }
    if let Some(c) = condition(status, "PodScheduled")
        && Status::parse(&c.status) == Status::False
        && &*c.reason == "Unschedulable"
    {
        return (Some(Trouble::Unschedulable), detail(&c.message));
    }
    (None, detail(&status.message))
}

/// The container's latest termination.
pub(super) fn last_exit(pools: &mut Pools, status: &PodStatus<'_>) -> Option<Arc<LastExit>> {
    let (ended, container) = status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten())
        .flat_map(|c| {
            let last = c.last_state.as_ref().and_then(|s| s.terminated.as_ref());
            // an init container that completed successfully is no problem
            let now = c.terminated().filter(|t| t.exit_code.unwrap_or(0) != 0);
            [last, now].into_iter().flatten().map(move |t| (t, c))
        })
        .max_by_key(|(t, _)| t.finished_at.stamp())?;
    Some(Arc::new(LastExit {
        reason: pools.name(&ended.word()),
        code: i32::try_from(ended.exit_code.unwrap_or(0)).unwrap_or(-1),
        at: ended.finished_at.stamp(),
        container: pools.name(&container.name),
    }))
}
