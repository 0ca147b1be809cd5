//! What a step came to, by looking at the cluster and not at the response: was it applied, has it taken effect, did
//! somebody else change it meanwhile.

use pilothouse_core::domain::id::{Kind, ObjectRef};
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::model::plan::StepKind;
use pilothouse_core::policy::rollout::{self, RolloutPhase};
use serde::Deserialize;

use crate::wire::client::ReadClient;
use crate::wire::decode::{Pools, workload::workload};
use crate::wire::error::ApiError;

use super::requests::{is_workload, path};

/// The live object, as much of it as the steps need.
#[derive(Clone, Debug)]
pub struct Live {
    pub uid: String,
    pub version: String,
    pub cordoned: bool,
    pub restarted_at: Option<String>,
    pub workload: Option<Workload>,
}

/// Reads an object. `Ok(None)`: there is none of that name.
pub async fn read(client: &ReadClient, object: &ObjectRef) -> Result<Option<Live>, ApiError> {
    let Some(path) = path(object) else {
        return Err(ApiError::Invalid { message: format!("no path is known for a {}", object.kind) });
    };
    let body = match client.get_bytes(&path, 4 << 20).await {
        Ok(body) => body,
        Err(ApiError::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(e),
    };
    decode(&object.kind, &body).map(Some)
}

fn decode(kind: &Kind, body: &[u8]) -> Result<Live, ApiError> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
        #[serde(default)]
        spec: Spec,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        uid: String,
        resource_version: String,
    }
    #[derive(Default, Deserialize)]
    struct Spec {
        #[serde(default)]
        unschedulable: Option<bool>,
    }
    let object: Object = serde_json::from_slice(body).map_err(|e| ApiError::Decode(e.to_string()))?;
    let workload = if is_workload(kind) {
        Some(workload(&mut Pools::default(), kind, body).map_err(|e| ApiError::Decode(e.to_string()))?)
    } else {
        None
    };
    Ok(Live {
        uid: object.metadata.uid,
        version: object.metadata.resource_version,
        cordoned: object.spec.unschedulable.unwrap_or(false),
        restarted_at: workload.as_ref().and_then(|w| w.restarted_at.as_ref().map(ToString::to_string)),
        workload,
    })
}

/// What the re-check before a step found.
#[derive(Debug, PartialEq, Eq)]
pub enum Check {
    /// Send it, with this resourceVersion.
    Go(String),
    /// It is so already.
    Done(String),
    /// It must not be sent.
    Stop(String),
}

/// Judges the live object before a step.
pub fn check(what: &StepKind, on: &ObjectRef, live: Option<&Live>) -> Check {
    let Some(live) = live else { return Check::Stop(format!("{on} is gone")) };
    if live.uid != on.uid.to_string() {
        return Check::Stop(format!("{on} is another object now (uid {})", live.uid));
    }
    let go = || Check::Go(live.version.clone());
    match what {
        StepKind::Cordon if live.cordoned => Check::Done("was cordoned meanwhile".into()),
        StepKind::Uncordon if !live.cordoned => Check::Done("was uncordoned meanwhile".into()),
        StepKind::Cordon | StepKind::Uncordon => go(),
        StepKind::Restart { .. } => match &live.workload {
            Some(w) if w.paused => Check::Stop(format!("{on} was paused meanwhile")),
            _ => go(),
        },
        StepKind::Scale { from, to } => match live.workload.as_ref().map(|w| (w.replicas, w)) {
            Some((now, w)) if now != *from => {
                let who = w.changed.as_ref().map_or_else(String::new, |c| format!(" by {}", c.manager));
                if now == *to {
                    Check::Done(format!("was scaled to {to} meanwhile{who}"))
                } else {
                    Check::Stop(format!("has {now} replicas, not {from}: changed{who}"))
                }
            }
            Some(_) => go(),
            None => Check::Stop("its replicas cannot be read".into()),
        },
        StepKind::Evict | StepKind::Delete => Check::Stop("not executed here".into()),
    }
}

/// Where a sent step stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// The change is not (yet) there.
    NotApplied,
    /// It is there and takes effect: what is still missing.
    Settling(String),
    Verified(String),
    /// It was applied, and then something else happened.
    Overridden(String),
}

/// Judges the live object after a step. `stamp`: what a restart wrote.
pub fn standing(what: &StepKind, on: &ObjectRef, live: Option<&Live>, stamp: &str) -> Standing {
    let Some(live) = live.filter(|l| l.uid == on.uid.to_string()) else {
        return Standing::Overridden(format!("{on} was deleted meanwhile"));
    };
    match what {
        StepKind::Cordon if live.cordoned => Standing::Verified("cordoned".into()),
        StepKind::Uncordon if !live.cordoned => Standing::Verified("schedulable".into()),
        StepKind::Cordon | StepKind::Uncordon => Standing::NotApplied,
        StepKind::Restart { .. } => {
            if live.restarted_at.as_deref() != Some(stamp) {
                let at = |text: &str| pilothouse_core::domain::time::Stamp::parse(text);
                let theirs = live.restarted_at.as_deref().and_then(at);
                if theirs > at(stamp) {
                    return Standing::Overridden("it was restarted again by somebody else".into());
                }
                return Standing::NotApplied;
            }
            let Some(w) = &live.workload else { return Standing::NotApplied };
            let rollout = rollout::judge(w);
            match rollout.phase {
                RolloutPhase::Complete => {
                    Standing::Verified(format!("rolled out: {} of {} ready", w.ready, w.desired))
                }
                RolloutPhase::NotApplicable => Standing::Verified(rollout.why),
                RolloutPhase::Stuck => Standing::Overridden(format!("the rollout is stuck: {}", rollout.why)),
                RolloutPhase::Paused | RolloutPhase::Progressing => Standing::Settling(rollout.why),
            }
        }
        StepKind::Scale { from, to } => {
            let Some(w) = &live.workload else { return Standing::NotApplied };
            if w.replicas == *from {
                return Standing::NotApplied;
            }
            if w.replicas != *to {
                let who = w.changed.as_ref().map_or_else(String::new, |c| format!(" by {}", c.manager));
                return Standing::Overridden(format!(
                    "it has {} replicas now: changed again{who}",
                    w.replicas
                ));
            }
            if w.observed_generation >= w.generation && w.current == *to && w.ready == *to {
                Standing::Verified(format!("{to} of {to} ready"))
            } else {
                Standing::Settling(format!("{} of {to} ready", w.ready))
            }
        }
        StepKind::Evict | StepKind::Delete => Standing::NotApplied,
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::Uid;

    use super::*;

    fn object() -> ObjectRef {
        ObjectRef::new(Kind::Deployment, &"shop".into(), &"a".into(), &Uid::Uuid(1))
    }

    fn live(replicas: i32, ready: i32) -> Live {
        let workload = Workload { replicas, desired: replicas, current: ready, ready, ..Workload::default() };
        Live {
            uid: Uid::Uuid(1).to_string(),
            version: "9".into(),
            cordoned: false,
            restarted_at: None,
            workload: Some(workload),
        }
    }

    #[test]
    fn a_step_goes_only_to_the_object_and_the_number_that_were_planned_with() {
        let scale = StepKind::Scale { from: 3, to: 5 };
        assert_eq!(check(&scale, &object(), Some(&live(3, 3))), Check::Go("9".into()));
        assert!(matches!(check(&scale, &object(), Some(&live(4, 4))), Check::Stop(_)));
        assert!(matches!(check(&scale, &object(), Some(&live(5, 4))), Check::Done(_)));
        assert!(matches!(check(&scale, &object(), None), Check::Stop(_)));
        let other = Live { uid: "other".into(), ..live(3, 3) };
        assert!(matches!(check(&scale, &object(), Some(&other)), Check::Stop(_)));
    }

    #[test]
    fn somebody_elses_number_is_never_called_done() {
        let scale = StepKind::Scale { from: 3, to: 5 };
        let at = |replicas, ready| standing(&scale, &object(), Some(&live(replicas, ready)), "");
        assert_eq!(at(3, 3), Standing::NotApplied);
        assert_eq!(at(5, 4), Standing::Settling("4 of 5 ready".into()));
        assert_eq!(at(5, 5), Standing::Verified("5 of 5 ready".into()));
        assert!(matches!(at(8, 8), Standing::Overridden(_)));
    }
}
