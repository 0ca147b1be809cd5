//! What became of a step, by the object in the cluster and not by the response: whether it may be sent, whether it has
//! taken effect, whether somebody else changed the object meanwhile. Whether it was applied is judged in core
//! ([`of_written`]).

use std::time::Duration;

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

/// How long a lost answer is looked for before the outcome stays unknown.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(15);

/// How long an effect may take before the action is called failed.
pub fn patience(what: &StepKind) -> Duration {
    match what {
        StepKind::Cordon | StepKind::Uncordon | StepKind::Change(_) => Duration::from_secs(15),
        StepKind::Scale { .. } => Duration::from_secs(300),
        _ => Duration::from_secs(600),
    }
}

/// Where a step stands in the live object. `stamp`: what a restart wrote.
fn drift(what: &StepKind, live: &Live, stamp: &str) -> Drift {
    let written = Written { stamp, from: live.from.as_ref(), to: live.to.as_ref() };
    of_written(&live.value, what, written)
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
    if live.version.is_empty() {
        return Check::Stop(format!("{on} has no version: nothing would guard the change"));
    }
    let paused = live.workload.as_ref().is_some_and(|w| w.paused);
    let rolls_out = matches!(what, StepKind::Restart { .. } | StepKind::Rollback { .. });
    let drift = match what {
        StepKind::Scale { .. } if live.workload.is_none() => {
            return Check::Stop("its replicas cannot be read".into());
        }
        // each of them is a new one
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

/// What is said of a step whose effect is there before it is sent.
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

/// How far the effect of an applied step is.
fn effect(what: &StepKind, live: &Live) -> Standing {
    match what {
        StepKind::Cordon => Standing::Verified("cordoned".into()),
        StepKind::Uncordon => Standing::Verified("schedulable".into()),
        StepKind::Restart { .. } | StepKind::Rollback { .. } => rolled_out(live),
        StepKind::Change(change) => Standing::Verified(change.words.clone()),
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

/// True if the object is as our own write made it, after an answer that said something else. It was another before we
/// wrote, so whoever owns the field now wrote it since; a field without an owner (removed, or in a list) is taken for
/// ours.
pub fn is_own(what: &StepKind, on: &ObjectRef, live: &Live, stamp: &str) -> bool {
    if !matches!(standing(what, on, Some(live), stamp), Standing::Settling(_) | Standing::Verified(_)) {
        return false;
    }
    let pointer = written(what);
    pointer.and_then(|pointer| owner(&live.value, pointer)).is_none_or(|(manager, _)| manager == MANAGER)
}

/// What is said of a restart whose template somebody changed.
const NOT_ITS_ROLLOUT: &str = "its template was changed meanwhile, so what rolls out now is not this restart";

/// What a step wrote, by which its own effect is known.
#[derive(Clone, Debug, Default)]
pub struct Wrote {
    /// What a restart wrote.
    pub stamp: String,
    /// The template that it left.
    pub template: Option<Value>,
}

impl Wrote {
    /// Of the template, for the journal: by it a later process knows whether it is still the same.
    pub fn checksum(&self) -> Option<u32> {
        self.template.as_ref().map(checksum)
    }
}

fn checksum(template: &Value) -> u32 {
    crc32fast::hash(template.to_string().as_bytes())
}

/// The template as a restart leaves it: what its own rollout is known by. None: the step writes no template, or one that
/// is known from its revision.
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

/// Why what runs now is not the effect of this step, though its own mark is there: somebody changed the template since.
/// `left`: the template as the step left it.
pub fn overtaken(what: &StepKind, live: &Live, left: Option<&Value>) -> Option<String> {
    let StepKind::Restart { .. } = what else { return None };
    let at = difference(TEMPLATE, left?, &revisions::template(&live.value))?;
    let who = last_change(&live.value, &at);
    Some(format!("{NOT_ITS_ROLLOUT}{who}"))
}

/// The same for who comes later and knows a checksum alone.
pub fn overtaken_since(what: &StepKind, live: &Live, left: Option<u32>) -> Option<String> {
    let StepKind::Restart { .. } = what else { return None };
    let same = checksum(&revisions::template(&live.value)) == left?;
    (!same).then(|| format!("{NOT_ITS_ROLLOUT}{}", last_change(&live.value, TEMPLATE)))
}

/// How far the rollout of a new template is, as kubectl judges it.
fn rolled_out(live: &Live) -> Standing {
    let Some(w) = &live.workload else { return Standing::NotApplied };
    let rollout = rollout::judge(w);
    // who paused it keeps the rest of the pods as they are, for as long as they like
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
        // nobody replaces them: to call this done would be untrue
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
    use pilothouse_core::domain::id::{Kind, Uid};
    use pilothouse_core::domain::workload::Workload;

    use super::*;

    fn object() -> ObjectRef {
        ObjectRef::new(Kind::Deployment, &"shop".into(), &"a".into(), &Uid::Uuid(1))
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
