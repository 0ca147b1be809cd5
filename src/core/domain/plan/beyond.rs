//! Whether a plan that was made anew does more, or worse, than the one that a person has read.

use std::collections::HashSet;

use super::{Plan, Refusal, ServiceEffect, Step, StepKind, Warning};

/// What of a plan a person has not agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    Steps,
    Pods,
    Answer,
    Services,
    Unplaced,
    Warnings,
}

impl std::fmt::Display for Beyond {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Steps => "what it does",
            Self::Pods => "the pods that it affects",
            Self::Answer => "what has to be typed",
            Self::Services => "what Services lose",
            Self::Unplaced => "the pods that no node has room for",
            Self::Warnings => "its warnings",
        })
    }
}

impl Plan {
    /// What of this plan the person who read `read` has not agreed to; None = nothing. A plan that has become better
    /// meanwhile (a Service has more ready pods, a warning is gone) and numbers that move by themselves (budgets, ages,
    /// measured ratios) are nothing new.
    pub fn goes_beyond(&self, read: &Self) -> Option<Beyond> {
        let same_steps = self.steps.len() == read.steps.len()
            && self.steps.iter().zip(&read.steps).all(|(now, then)| is_same_step(now, then));
        if !same_steps || self.diff != read.diff {
            return Some(Beyond::Steps);
        }
        let fates = |plan: &Self| -> Vec<_> { plan.pods.iter().map(|p| (p.pod.clone(), p.fate)).collect() };
        if fates(self) != fates(read) {
            return Some(Beyond::Pods);
        }
        if (self.confirm, &self.answer) != (read.confirm, &read.answer) {
            return Some(Beyond::Answer);
        }
        if !self.services.iter().all(|now| read.services.iter().any(|then| loses_no_more(now, then))) {
            return Some(Beyond::Services);
        }
        let unplaced: HashSet<_> = read.unplaced.iter().map(|u| (&u.namespace, &u.name)).collect();
        if !self.unplaced.iter().all(|u| unplaced.contains(&(&u.namespace, &u.name))) {
            return Some(Beyond::Unplaced);
        }
        let warned = |now: &Warning| read.warnings.iter().any(|then| now.is_told_by(then));
        let refused = |now: &Refusal| read.refusals.iter().any(|then| now.is_told_by(then));
        if !self.warnings.iter().all(warned) || !self.refusals.iter().all(refused) {
            return Some(Beyond::Warnings);
        }
        None
    }
}

fn is_same_step(now: &Step, then: &Step) -> bool {
    let same_kind = match (&now.what, &then.what) {
        // its bounds hold measured ratios
        (StepKind::Check(now), StepKind::Check(then)) => now.name() == then.name(),
        // not the words beside the fields
        (StepKind::Change(now), StepKind::Change(then)) => now.fields == then.fields,
        // its version moves with every status
        (StepKind::Restart { .. }, StepKind::Restart { .. }) => true,
        (now, then) => now == then,
    };
    same_kind && now.on == then.on && now.context == then.context
}

/// The same Service loses no larger quarter of its ready pods, and its last one only if that was said.
fn loses_no_more(now: &ServiceEffect, then: &ServiceEffect) -> bool {
    let quarters = |effect: &ServiceEffect| {
        let lost = effect.ready_before.saturating_sub(effect.ready_after);
        (lost * 4).checked_div(effect.ready_before)
    };
    (&now.namespace, &now.name) == (&then.namespace, &then.name)
        && quarters(now) <= quarters(then)
        && (now.ready_after > 0 || then.ready_after == 0)
}
