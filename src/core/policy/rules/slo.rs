//! Services that use their error budgets too fast.

use std::sync::Arc;

use crate::domain::cause::{Cause, Evidence, Finding, Impact, Severity};
use crate::domain::id::{Kind, Uid};
use crate::domain::slo::{self, Burn, SloReason};
use crate::facts::world::SloRow;

use super::RuleContext;

/// A finding ends only below this part of the factor, so that it does not flicker.
const STILL: f64 = 0.9;

/// Returns the first pair of windows that is too high, with its position.
fn too_high(row: &SloRow, eased: f64) -> Option<(usize, &Burn)> {
    row.verdict.burns.iter().enumerate().find(|(_, burn)| burn.is_on(eased))
}

/// Finds Services with a burn rate that is too high: critical for the pair of the shortest windows, and a warning for the
/// others. A budget that is spent is no finding if it does not burn any more. All objectives of a Service share a
/// finding.
pub(super) fn burn(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let mut found: Vec<(usize, Cause)> = Vec::new();
    for row in context.cluster.derived.slos.iter() {
        let object = context.cluster.object(Kind::Service, &row.namespace, &row.service, &Uid::default());
        let eased = if context.was_found(&object) { STILL } else { 1.0 };
        let Some((place, burn)) = too_high(row, eased) else { continue };
        let severity = if place == 0 { Severity::Critical } else { Severity::Warning };
        let finding = Finding::SloBurn {
            objective: row.measured.objective.to_string(),
            burn: *burn,
            left: row.verdict.budget_left,
            gone_in_secs: row.verdict.gone_in_secs,
        };
        let impact = Impact { services: 1, ..Impact::default() };
        let cause = Cause { evidence: evidence(row), impact, ..Cause::new(finding, severity, vec![object]) };
        let held = found.iter_mut().find(|(_, held)| held.object() == cause.object());
        match held {
            // the pair of the shorter windows is the finding, and the other objective is evidence of it
            Some(held) => {
                if place < held.0 {
                    *held = (
                        place,
                        Cause { evidence: [cause.evidence, held.1.evidence.clone()].concat(), ..cause },
                    );
                } else {
                    held.1.evidence.extend(cause.evidence);
                }
            }
            None => found.push((place, cause)),
        }
    }
    found.into_iter().map(|(_, cause)| cause).collect()
}

/// Returns the burn rates of each pair, what is left of the budget, and who defines the objective.
fn evidence(row: &Arc<SloRow>) -> Vec<Evidence> {
    let (objective, verdict) = (&row.measured.objective, &row.verdict);
    let pair = |burn: &Burn| SloReason::Burning(*burn).to_string();
    let mut lines: Vec<String> = verdict.burns.iter().filter(|burn| burn.is_on(STILL)).map(pair).collect();
    let left = verdict.budget_left.map_or_else(|| "unknown".into(), |left| format!("{:.1} %", left * 100.0));
    let good =
        verdict.availability.map_or_else(|| "unknown".into(), |good| format!("{} %", slo::measured(good)));
    lines.push(format!(
        "{objective}: {good} good, {left} of the budget left; objective of {}",
        objective.by.as_str()
    ));
    lines.into_iter().map(Evidence::from).collect()
}
