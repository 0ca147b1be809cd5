//! Compares a plan that was made again with the plan that a person has read: does it do more, or is it worse?

use std::collections::HashSet;

use super::{Plan, Refusal, ServiceEffect, Step, StepKind, Warning};

/// The part of a plan that a person has not agreed to.
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
    /// Returns the part of this plan that the person who read `read` has not agreed to, or `None` if there is none.
    ///
    /// An improvement (a Service has more ready pods, a warning is gone) needs no new agreement. Numbers that change
    /// all the time (budgets, ages, measured ratios) do not count either.
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
        // The limits of a check include measured ratios.
        (StepKind::Check(now), StepKind::Check(then)) => now.name() == then.name(),
        // The fields decide. The words next to them do not.
        (StepKind::Change(now), StepKind::Change(then)) => now.fields == then.fields,
        // The version changes with every status update.
        (StepKind::Restart { .. }, StepKind::Restart { .. }) => true,
        (now, then) => now == then,
    };
    same_kind && now.on == then.on && now.context == then.context
}

/// Returns true if this Service loses no larger quarter of its ready pods than before. It may lose its last ready pod
/// only if the plan that was read said so.
fn loses_no_more(now: &ServiceEffect, then: &ServiceEffect) -> bool {
    let quarters = |effect: &ServiceEffect| {
        let lost = effect.ready_before.saturating_sub(effect.ready_after);
        (lost * 4).checked_div(effect.ready_before)
    };
    (&now.namespace, &now.name) == (&then.namespace, &then.name)
        && quarters(now) <= quarters(then)
        && (now.ready_after > 0 || then.ready_after == 0)
}
