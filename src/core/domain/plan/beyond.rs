//! Whether a plan that was made anew does more, or worse, than the one that a person has read.

use std::collections::HashSet;

use super::{Plan, ServiceEffect, Step, StepKind};

impl Plan {
    /// What of this plan the person who read `read` has not agreed to, in words; None = nothing. A plan that has become better
    /// meanwhile (a Service has more ready pods, a warning is gone) and numbers that move by themselves (budgets, ages,
    /// measured ratios) are nothing new.
    pub fn goes_beyond(&self, read: &Self) -> Option<&'static str> {
        let same_steps = self.steps.len() == read.steps.len()
            && self.steps.iter().zip(&read.steps).all(|(now, then)| is_same_step(now, then));
        if !same_steps || self.diff != read.diff {
            return Some("what it does");
        }
        let fates = |plan: &Self| -> Vec<_> { plan.pods.iter().map(|p| (p.pod.clone(), p.fate)).collect() };
        if fates(self) != fates(read) {
            return Some("the pods that it affects");
        }
        if (self.confirm, &self.answer) != (read.confirm, &read.answer) {
            return Some("what has to be typed");
        }
        if !self.services.iter().all(|now| read.services.iter().any(|then| loses_no_more(now, then))) {
            return Some("what Services lose");
        }
        let unplaced: HashSet<_> = read.unplaced.iter().map(|u| (&u.namespace, &u.name)).collect();
        if !self.unplaced.iter().all(|u| unplaced.contains(&(&u.namespace, &u.name))) {
            return Some("the pods that no node has room for");
        }
        let said: HashSet<&str> = read.sentences().flat_map(steady_words).collect();
        if !self.sentences().flat_map(steady_words).all(|word| said.contains(word)) {
            return Some("its warnings");
        }
        None
    }

    fn sentences(&self) -> impl Iterator<Item = &str> {
        self.refusals.iter().map(|r| r.reason.as_str()).chain(self.warnings.iter().map(String::as_str))
    }
}

/// A sentence without what moves by itself: what begins with a digit, or with one in brackets, is a count, an age, a ratio.
fn steady_words(sentence: &str) -> impl Iterator<Item = &str> {
    let is_number =
        |w: &&str| w.trim_start_matches(['(', '[', '~']).starts_with(|c: char| c.is_ascii_digit());
    // the last of a list has no comma behind it
    sentence.split_whitespace().filter(move |w| !is_number(w)).map(|w| w.trim_end_matches([',', ';', '.']))
}

fn is_same_step(now: &Step, then: &Step) -> bool {
    let same_kind = match (&now.what, &then.what) {
        // its bounds hold measured ratios
        (StepKind::Check(now), StepKind::Check(then)) => now.name() == then.name(),
        // not the words beside the fields
        (StepKind::Change(now), StepKind::Change(then)) => now.fields == then.fields,
        (now, then) => now.to_string() == then.to_string(),
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
