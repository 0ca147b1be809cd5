//! The state of a HorizontalPodAutoscaler and its reason, from its spec, status and conditions.
//!
//! Semantics: the controller's `horizontal.go` and `replica_calculator.go`. ScalingLimited keeps its old value while
//! metrics fail, so the HPA is at its maximum only with ScalingActive=True.

use std::cmp::Ordering;

use crate::domain::autoscaler::{Hpa, HpaFailure, HpaReason, HpaState, HpaVerdict, Metric, Target};
use crate::domain::node::{Condition, Status};
use crate::domain::quantity::{Counts, show_milli};
use crate::domain::time::Stamp;

/// The default tolerance, in thousandths (`--horizontal-pod-autoscaler-tolerance`).
const TOLERANCE: i64 = 100;

/// Returns the number of replicas that one metric asks for, with the calculation.
///
/// The controller multiplies by the number of ready pods. The status has only the number of replicas, so the result
/// is an upper bound if some pods are not ready.
pub fn ask(hpa: &Hpa, metric: &Metric) -> Option<(i32, String)> {
    let current = i64::from(hpa.current?);
    let value = metric.current?;
    let (target, shown_value, shown_target) = match metric.target {
        Target::Utilization(percent) => (i64::from(percent), value.to_string(), percent.to_string()),
        Target::AverageValue(target) | Target::Value(target) => {
            let counts = Counts::of(&metric.name, target);
            (target, show_milli(value, counts), show_milli(target, counts))
        }
        Target::None => return None,
    };
    if target <= 0 {
        return None;
    }
    let up = hpa.tolerance_up.unwrap_or(TOLERANCE);
    let down = hpa.tolerance_down.unwrap_or(TOLERANCE);
    // The value is within the tolerance if (1 - down) <= value/target <= (1 + up). Integers keep this exact.
    if i128::from(value) * 1000 <= i128::from(target) * i128::from(1000 + up)
        && i128::from(value) * 1000 >= i128::from(target) * i128::from(1000 - down)
    {
        return Some((
            i32::try_from(current).ok()?,
            format!("{shown_value}/{shown_target} is within the tolerance: stays at {current}"),
        ));
    }
    let product = i128::from(current) * i128::from(value);
    let wants = (product + i128::from(target) - 1).div_euclid(i128::from(target));
    let wants = i32::try_from(wants).unwrap_or(i32::MAX);
    Some((wants, format!("ceil({current} x {shown_value}/{shown_target}) = {wants}")))
}

/// A rollout that replaces every pod leaves the HPA without metrics for about half a minute. That is no failure.
const FAILING_SECS: u64 = 60;

/// Judges one HPA.
pub fn judge(hpa: &Hpa, now: Stamp) -> HpaVerdict {
    let limited = hpa.condition("ScalingLimited").filter(|c| c.status == Status::True);
    let asked = hpa.metrics.iter().filter_map(|m| ask(hpa, m)).max_by_key(|(wants, _)| *wants);
    let (wants, computed) = asked.unzip();
    if let Some((state, why, since)) = unable(hpa, now) {
        return HpaVerdict { state, why, since, wants, computed, limited_by: None };
    }
    if hpa.paused {
        let limits = wants.is_some_and(|wants| Some(wants) != hpa.current);
        let limited_by = limits.then(|| "selectPolicy".into());
        return HpaVerdict {
            state: HpaState::Paused,
            why: HpaReason::Paused,
            since: None,
            wants,
            computed,
            limited_by,
        };
    }
    let (state, why, since) = able(hpa, limited, wants);
    let limited_by = limited.map(|c| match c.reason.as_str() {
        "TooManyReplicas" => "maxReplicas".into(),
        "TooFewReplicas" => "minReplicas".into(),
        other => other.to_owned(),
    });
    HpaVerdict { state, why, since, wants, computed, limited_by }
}

/// A state, its reason, and the time since which it holds.
type Judged = (HpaState, HpaReason, Option<Stamp>);

/// Returns why the HPA cannot act. Returns `None` if it can.
fn unable(hpa: &Hpa, now: Stamp) -> Option<Judged> {
    let failure = |c: &Condition| HpaFailure { reason: c.reason.clone(), message: c.message.clone() };
    if let Some(c) = hpa.condition("AbleToScale").filter(|c| c.status == Status::False) {
        return Some((HpaState::Failing, HpaReason::CannotScale(failure(c)), c.since));
    }
    let Some(active) = hpa.condition("ScalingActive") else {
        let is_new = now.secs_since(hpa.created) < 120;
        let (state, why) = if is_new {
            (HpaState::New, HpaReason::NoStatusYet)
        } else {
            (HpaState::Failing, HpaReason::NeverLookedAt)
        };
        return Some((state, why, Some(hpa.created)));
    };
    if active.status != Status::False {
        return None;
    }
    let (state, why) = if active.reason == "ScalingDisabled" {
        (HpaState::Disabled, HpaReason::Off)
    } else if active.since.is_some_and(|since| now.secs_since(since) < FAILING_SECS) {
        (HpaState::New, HpaReason::WaitsForMetrics)
    } else {
        (HpaState::Failing, HpaReason::Inactive(failure(active)))
    };
    Some((state, why, active.since))
}

/// Returns the state of an HPA that can act. `limited` is the condition ScalingLimited if it is True.
fn able(hpa: &Hpa, limited: Option<&Condition>, wants: Option<i32>) -> Judged {
    let (current, desired) = (hpa.current.unwrap_or(0), hpa.desired.unwrap_or(0));
    match limited {
        Some(c) if c.reason == "TooManyReplicas" && current >= hpa.max => {
            return match wants {
                // Within the tolerance of its maximum, the HPA has the replicas that it asks for.
                Some(wants) if wants <= hpa.max => (HpaState::Steady, HpaReason::AtMaxWhichIsEnough, c.since),
                _ => (HpaState::AtMax, HpaReason::AtMax, c.since),
            };
        }
        Some(c) if c.reason == "TooFewReplicas" && current <= hpa.min => {
            return (HpaState::AtMin, HpaReason::AtMin, c.since);
        }
        _ => {}
    }
    match desired.cmp(&current) {
        Ordering::Greater if desired > 0 => (HpaState::Scaling, HpaReason::Up, hpa.last_scale),
        Ordering::Less if desired > 0 => (HpaState::Scaling, HpaReason::Down, hpa.last_scale),
        _ => {
            let held = hpa.condition("AbleToScale");
            let held = held.filter(|c| c.reason == "ScaleDownStabilized" || c.reason == "ScaleUpStabilized");
            match (held, wants.unwrap_or(0)) {
                (Some(c), _) => (HpaState::Steady, HpaReason::Stabilizing, c.since),
                (None, asks) if asks > current => {
                    (HpaState::Steady, HpaReason::Held { asks }, hpa.last_scale)
                }
                (None, _) => (HpaState::Steady, HpaReason::Steady, hpa.last_scale),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn condition(kind: &str, status: Status, reason: &str) -> Condition {
        Condition {
            kind: kind.into(),
            status,
            reason: reason.into(),
            message: "a: b: no metrics known".into(),
            since: Some(Stamp(7)),
        }
    }

    fn hpa(current: i32, desired: i32, cpu: i64, conditions: Vec<Condition>) -> Hpa {
        Hpa {
            min: 2,
            max: 10,
            current: Some(current),
            desired: Some(desired),
            metrics: Arc::from([Metric {
                kind: "Resource".into(),
                name: "cpu".into(),
                target: Target::Utilization(60),
                current: Some(cpu),
            }]),
            conditions: conditions.into(),
            ..Hpa::default()
        }
    }

    fn active() -> Vec<Condition> {
        vec![
            condition("AbleToScale", Status::True, "ReadyForNewScale"),
            condition("ScalingActive", Status::True, "ValidMetricFound"),
        ]
    }

    #[test]
    fn the_arithmetic() {
        let h = hpa(4, 6, 82, active());
        assert_eq!(ask(&h, &h.metrics[0]), Some((6, "ceil(4 x 82/60) = 6".into())));
        let h = hpa(4, 4, 54, active());
        assert_eq!(ask(&h, &h.metrics[0]).unwrap().0, 4, "54/60 is exactly at the tolerance");
        let h = hpa(4, 4, 53, active());
        assert_eq!(ask(&h, &h.metrics[0]).unwrap().0, 4, "ceil(3.53)");
    }

    #[test]
    fn at_max_counts_only_while_metrics_work() {
        let limited = condition("ScalingLimited", Status::True, "TooManyReplicas");
        let mut conditions = active();
        conditions.push(limited.clone());
        let v = judge(&hpa(10, 10, 92, conditions), Stamp(10));
        assert_eq!(
            (v.state, v.wants, v.limited_by.as_deref()),
            (HpaState::AtMax, Some(16), Some("maxReplicas"))
        );
        let failing = vec![
            condition("AbleToScale", Status::True, "SucceededGetScale"),
            condition("ScalingActive", Status::False, "FailedGetResourceMetric"),
            limited,
        ];
        let v = judge(&hpa(10, 10, 92, failing.clone()), Stamp(10));
        assert_eq!(v.state, HpaState::New, "new pods have no metrics at first");
        let v = judge(&hpa(10, 10, 92, failing), Stamp(60_007));
        assert_eq!(v.state, HpaState::Failing);
        assert_eq!(v.why.to_string(), "cannot read cpu/memory use: no metrics known");
    }

    #[test]
    fn a_desired_of_zero_in_the_first_seconds_means_nothing() {
        let mut h = hpa(3, 0, 60, vec![]);
        h.desired = Some(0);
        h.created = Stamp(0);
        assert_eq!(judge(&h, Stamp(5_000)).state, HpaState::New);
        assert_eq!(judge(&h, Stamp(500_000)).state, HpaState::Failing);
        h.conditions = active().into();
        assert_eq!(judge(&h, Stamp(5_000)).state, HpaState::Steady);
    }

    #[test]
    fn a_paused_one_says_so_unless_it_fails() {
        let paused = |conditions| Hpa { paused: true, ..hpa(4, 4, 82, conditions) };
        let v = judge(&paused(active()), Stamp(0));
        assert_eq!(
            (v.state, v.why.to_string().as_str()),
            (HpaState::Paused, "paused: scaleUp and scaleDown are Disabled")
        );
        assert_eq!((v.wants, v.limited_by.as_deref()), (Some(6), Some("selectPolicy")));
        let failing = vec![condition("ScalingActive", Status::False, "FailedGetResourceMetric")];
        assert_eq!(judge(&paused(failing), Stamp(90_000)).state, HpaState::Failing);
    }

    #[test]
    fn off_at_zero() {
        let v = judge(
            &hpa(0, 0, 0, vec![condition("ScalingActive", Status::False, "ScalingDisabled")]),
            Stamp(0),
        );
        assert_eq!(v.state, HpaState::Disabled);
    }
}
