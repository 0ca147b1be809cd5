//! The effects of earlier steps that later steps depend on. For example, a failover that moved the traffic scales the
//! old workload down only if the traffic has not moved back.

use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::plan::{Act, Change, Plan, Step, StepKind};
use pilothouse_core::facts::world::StepState;
use pilothouse_core::plan::drift::{Drift, last_change, of_step, written};

use super::live_object::Live;

/// Returns the verified steps before step `i` that it depends on. Several objects of one action do not depend on each
/// other.
pub fn of<'a>(plan: &'a Plan, states: &[StepState], i: usize) -> Vec<&'a Step> {
    if !matches!(plan.intent.act, Act::Failover { .. } | Act::Resume(_) | Act::Undo(_)) {
        return Vec::new();
    }
    let before = plan.steps.iter().zip(states).take(i).filter(|(_, state)| **state == StepState::Verified);
    let before: Vec<&Step> = before.map(|(step, _)| step).collect();
    let stand = before.iter().enumerate().filter(|(n, step)| {
        // a later stage of the same object replaces the expected value
        stands(&step.what) && !before.iter().skip(n + 1).any(|later| is_same_field(step, later))
    });
    stand.map(|(_, step)| *step).collect()
}

/// Returns the reason why a step has lost its effect: another client has changed the same field since. A workload may
/// be scaled further in the same direction.
pub fn undone(what: &StepKind, on: &ObjectRef, live: Option<&Live>) -> Option<String> {
    let Some(live) = live else { return Some("it is gone".into()) };
    if live.uid != on.uid.to_string() {
        return Some(format!("it is another object now (uid {})", live.uid));
    }
    match (what, of_step(&live.value, what)) {
        (StepKind::Change(_), Drift::Other(why)) => Some(why),
        (StepKind::Change(change), Drift::Before) => {
            let who = written(what).map_or_else(String::new, |field| last_change(&live.value, field));
            Some(format!("it was taken back: no longer {}{who}", change.words))
        }
        (StepKind::Scale { from, to }, _) => {
            let now = live.workload.as_ref()?.replicas;
            let less = if to > from { now < *to } else { now > *to };
            let who = last_change(&live.value, "/spec/replicas");
            less.then(|| format!("it has {now} replicas, not {to}{who}"))
        }
        _ => None,
    }
}

/// Whether later steps depend on the effect of a step. The drain itself checks the cordon of its node.
fn stands(what: &StepKind) -> bool {
    matches!(what, StepKind::Change(_) | StepKind::Scale { .. })
}

/// Whether the later step sets the same fields.
fn is_same_field(one: &Step, later: &Step) -> bool {
    let fields = |change: &Change| -> Vec<String> {
        change.fields.iter().filter(|f| !f.is_guard()).map(|f| f.pointer.clone()).collect()
    };
    one.on == later.on
        && one.context == later.context
        && match (&one.what, &later.what) {
            (StepKind::Change(one), StepKind::Change(later)) => {
                let later = fields(later);
                fields(one).iter().all(|field| later.contains(field))
            }
            (StepKind::Scale { .. }, StepKind::Scale { .. }) => true,
            _ => false,
        }
}
