//! The result of a step, read from the object in the cluster and not from the response: whether the step may be sent,
//! whether it has taken effect, and whether another client has changed the object since. Core judges whether it was
//! applied ([`of_written`]).

use std::time::Duration;

use pilothouse_core::domain::alert::SILENCE_IDS;
use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::plan::StepKind;
use pilothouse_core::domain::workload::{RolloutPhase, Strategy};
use pilothouse_core::plan::drift::{
    Drift, MANAGER, RESTARTED_AT, TEMPLATE, Written, difference, last_change, of_written, owner, written,
};
use pilothouse_core::policy::revisions;
use pilothouse_core::policy::rollout;
use serde_json::{Value, json};

use super::live_object::Live;

/// How long the effect of a lost answer is looked for before the outcome stays unknown.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(15);

/// Returns how long an effect may take before the action counts as failed.
pub fn patience(what: &StepKind) -> Duration {
    match what {
        StepKind::Cordon | StepKind::Uncordon | StepKind::Change(_) => Duration::from_secs(15),
        StepKind::Scale { .. } => Duration::from_secs(300),
        _ => Duration::from_secs(600),
    }
}

/// Compares a step with the live object. `stamp` is the value that a restart wrote.
fn drift(what: &StepKind, live: &Live, stamp: &str) -> Drift {
    let written = Written { stamp, from: live.from.as_ref(), to: live.to.as_ref() };
    of_written(&live.value, what, written)
}

/// The result of the check before a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Check {
    /// Send the request, with this resourceVersion.
    Go(String),
    /// The object is already in the wanted state.
    Done(String),
    /// The request must not be sent.
    Stop(String),
}

/// Checks the live object before a step.
pub fn check(what: &StepKind, on: &ObjectRef, live: Option<&Live>) -> Check {
    let Some(live) = live else { return Check::Stop(format!("{on} is gone")) };
    if live.uid != on.uid.to_string() {
        return Check::Stop(format!("{on} is another object now (uid {})", live.uid));
    }
    if live.version.is_empty() {
        return Check::Stop(format!("{on} has no version: nothing would guard the change"));
    }
    let paused = live.workload.as_ref().is_some_and(|w| w.paused);
    let rolls_out = matches!(what, StepKind::Restart { .. } | StepKind::Rollback { .. });
    let drift = match what {
        StepKind::Scale { .. } if live.workload.is_none() => {
            return Check::Stop("its replicas cannot be read".into());
        }
        // each of these creates a new effect
        StepKind::Restart { .. } | StepKind::Evict { .. } | StepKind::Delete { .. } | StepKind::Check(_) => {
            Drift::Before
        }
        what => drift(what, live, ""),
    };
    match drift {
        Drift::Before if paused && rolls_out => Check::Stop(format!("{on} was paused meanwhile")),
        Drift::Before => Check::Go(live.version.clone()),
        Drift::After => Check::Done(already(what, live)),
        Drift::Other(why) => Check::Stop(why),
    }
}

/// Describes a step whose effect exists before it is sent.
fn already(what: &StepKind, live: &Live) -> String {
    match what {
        StepKind::Cordon => "was cordoned meanwhile".into(),
        StepKind::Uncordon => "was uncordoned meanwhile".into(),
        StepKind::Scale { to, .. } => {
            format!("was scaled to {to} meanwhile{}", last_change(&live.value, "/spec/replicas"))
        }
        StepKind::Rollback { to, .. } => format!("has the template of revision {} already", to.number),
        _ => "is so already".into(),
    }
}

/// The state of a step whose request was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// The object does not have the change, or not yet.
    NotApplied,
    /// The object has the change, which is taking effect. Contains what is missing.
    Settling(String),
    Verified(String),
    /// The change was applied, and then another client changed the object.
    Overridden(String),
}

/// Checks the live object after a step. `stamp` is the value that a restart wrote.
pub fn standing(what: &StepKind, on: &ObjectRef, live: Option<&Live>, stamp: &str) -> Standing {
    let live = live.filter(|l| l.uid == on.uid.to_string());
    let Some(live) = live else {
        if matches!(what, StepKind::Evict { .. } | StepKind::Delete { .. }) {
            return Standing::Verified("gone".into());
        }
        return Standing::Overridden(format!("{on} was deleted meanwhile"));
    };
    if matches!(what, StepKind::Evict { .. } | StepKind::Delete { .. }) {
        return if live.deleting { Standing::Settling("terminating".into()) } else { Standing::NotApplied };
    }
    if matches!(what, StepKind::Scale { .. }) && live.workload.is_none() {
        return Standing::NotApplied;
    }
    match (drift(what, live, stamp), what) {
        (Drift::Before, _) => Standing::NotApplied,
        (Drift::After, what) => effect(what, live),
        (Drift::Other(_), StepKind::Scale { .. }) => {
            let now = live.workload.as_ref().map_or(0, |w| w.replicas);
            let who = last_change(&live.value, "/spec/replicas");
            Standing::Overridden(format!("it has {now} replicas now{who}"))
        }
        (Drift::Other(why), _) => Standing::Overridden(why),
    }
}

/// Returns how far the effect of an applied step is.
fn effect(what: &StepKind, live: &Live) -> Standing {
    match what {
        StepKind::Cordon => Standing::Verified("cordoned".into()),
        StepKind::Uncordon => Standing::Verified("schedulable".into()),
        StepKind::Restart { .. } | StepKind::Rollback { .. } => rolled_out(live),
        StepKind::Change(change) => Standing::Verified(format!("{}{}", change.words, id_of(live))),
        StepKind::Scale { to, .. } => match &live.workload {
            Some(w) if w.observed_generation >= w.generation && w.current == *to && w.ready == *to => {
                Standing::Verified(format!("{to} of {to} ready"))
            }
            Some(w) => Standing::Settling(format!("{} of {to} ready", w.ready)),
            None => Standing::NotApplied,
        },
        StepKind::Evict { .. } | StepKind::Delete { .. } | StepKind::Check(_) => Standing::NotApplied,
    }
}

/// Returns the id that an Alertmanager gave to a silence, for the journal: `, id 0a1b`. It is empty for other objects.
fn id_of(live: &Live) -> String {
    let ids = live.value.pointer(SILENCE_IDS).and_then(Value::as_array);
    let ids: Vec<&str> = ids.into_iter().flatten().filter_map(Value::as_str).collect();
    if ids.is_empty() { String::new() } else { format!(", id {}", ids.join(" ")) }
}

/// Whether the object is as this step's write would leave it, although the answer reported an error. The object was
/// different before the write, so the current owner of the field has written it since then. A field without an owner
/// (removed, or in a list) counts as written by this step.
pub fn is_own(what: &StepKind, on: &ObjectRef, live: &Live, stamp: &str) -> bool {
    if !matches!(standing(what, on, Some(live), stamp), Standing::Settling(_) | Standing::Verified(_)) {
        return false;
    }
    let pointer = written(what);
    pointer.and_then(|pointer| owner(&live.value, pointer)).is_none_or(|(manager, _)| manager == MANAGER)
}

/// The message about a restart whose template another client changed.
const NOT_ITS_ROLLOUT: &str = "its template was changed meanwhile, so what rolls out now is not this restart";

/// The values that a step wrote, by which its effect is recognized.
#[derive(Clone, Debug, Default)]
pub struct Wrote {
    /// The value that a restart wrote.
    pub stamp: String,
    /// The template after the restart.
    pub template: Option<Value>,
}

impl Wrote {
    /// Returns a checksum of the template for the journal. A later process uses it to determine whether the template
    /// is still the same.
    pub fn checksum(&self) -> Option<u32> {
        self.template.as_ref().map(checksum)
    }
}

fn checksum(template: &Value) -> u32 {
    crc32fast::hash(template.to_string().as_bytes())
}

/// Returns the template after a restart, by which its own rollout is recognized. Returns `None` if the step writes no
/// template, or one that is recognized by its revision.
pub fn template_after(what: &StepKind, live: &Live, stamp: &str) -> Option<Value> {
    if !matches!(what, StepKind::Restart { .. }) {
        return None;
    }
    let mut left = revisions::template(&live.value);
    let mut at = &mut left;
    for key in ["metadata", "annotations"] {
        at = at.as_object_mut()?.entry(key).or_insert(Value::Null);
        if at.is_null() {
            *at = json!({});
        }
    }
    at.as_object_mut()?.insert(RESTARTED_AT.into(), stamp.into());
    Some(left)
}

/// Returns the reason why the running template is not this step's effect although its annotation exists: another
/// client has changed the template since. `left` is the template after the step.
pub fn overtaken(what: &StepKind, live: &Live, left: Option<&Value>) -> Option<String> {
    let StepKind::Restart { .. } = what else { return None };
    let at = difference(TEMPLATE, left?, &revisions::template(&live.value))?;
    let who = last_change(&live.value, &at);
    Some(format!("{NOT_ITS_ROLLOUT}{who}"))
}

/// Returns the same reason for a later process, which knows only a checksum.
pub fn overtaken_since(what: &StepKind, live: &Live, left: Option<u32>) -> Option<String> {
    let StepKind::Restart { .. } = what else { return None };
    let same = checksum(&revisions::template(&live.value)) == left?;
    (!same).then(|| format!("{NOT_ITS_ROLLOUT}{}", last_change(&live.value, TEMPLATE)))
}

/// Returns the progress of the rollout of a new template, by kubectl's criteria.
fn rolled_out(live: &Live) -> Standing {
    let Some(w) = &live.workload else { return Standing::NotApplied };
    let rollout = rollout::judge(w);
    // the rollout is paused, so the other pods keep the old template until it is resumed
    let held = w.paused && (w.updated < w.desired || w.current > w.updated);
    if held && w.generation <= w.observed_generation {
        let who = last_change(&live.value, "/spec/paused");
        return Standing::Overridden(format!("it was paused meanwhile{who}: {}", rollout.why));
    }
    match rollout.phase {
        RolloutPhase::Paused => {
            let who = last_change(&live.value, "/spec/paused");
            Standing::Verified(format!("rolled out: {} of {} ready; paused since{who}", w.ready, w.desired))
        }
        RolloutPhase::Complete => {
            Standing::Verified(format!("rolled out: {} of {} ready", w.ready, w.desired))
        }
        // with OnDelete no controller replaces the pods, so the step is not done yet
        RolloutPhase::NotApplicable if w.strategy == Strategy::OnDelete && w.updated < w.desired => {
            Standing::Overridden(format!(
                "written; {} pods still run the old template: delete them one by one",
                w.desired - w.updated
            ))
        }
        RolloutPhase::NotApplicable => Standing::Verified(rollout.why),
        RolloutPhase::Stuck => Standing::Overridden(format!("the rollout is stuck: {}", rollout.why)),
        RolloutPhase::Progressing => Standing::Settling(rollout.why),
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::{ClusterId, Kind, Uid};
    use pilothouse_core::domain::workload::Workload;

    use super::*;

    fn object() -> ObjectRef {
        ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &"a".into(), &Uid::Uuid(1))
    }

    fn live(replicas: i32, ready: i32) -> Live {
        let workload = Workload { replicas, desired: replicas, current: ready, ready, ..Workload::default() };
        Live {
            uid: Uid::Uuid(1).to_string(),
            version: "9".into(),
            workload: Some(workload),
            value: json!({ "spec": { "replicas": replicas } }),
            ..Live::default()
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
    fn ones_own_write_is_known_by_its_field_manager() {
        let scale = StepKind::Scale { from: 3, to: 5 };
        let by = |replicas, manager: &str| {
            let entry = json!({ "manager": manager, "subresource": "scale",
                "fieldsV1": { "f:spec": { "f:replicas": {} } } });
            let value = json!({ "metadata": { "managedFields": [entry] }, "spec": { "replicas": replicas } });
            is_own(&scale, &object(), &Live { value, ..live(replicas, 3) }, "")
        };
        assert!(by(5, MANAGER));
        assert!(!by(5, "kubectl"), "the same number by somebody else");
        assert!(!by(3, MANAGER), "not applied");
        assert!(is_own(&scale, &object(), &live(5, 5), ""), "nobody is named");
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
