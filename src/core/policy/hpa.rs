//! The state of a HorizontalPodAutoscaler and its reason, from its spec, status and conditions.
//!
//! Semantics: the controller's `horizontal.go` and `replica_calculator.go`; ScalingLimited keeps its old value while
//! metrics fail, so "at max" counts only with ScalingActive=True.

use crate::domain::autoscaler::{Hpa, Metric, Target};
use crate::domain::node::Status;
use crate::domain::quantity::{Counts, show_milli};
use crate::domain::time::Stamp;

/// The severity of the verdict, the worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HpaState {
    #[default]
    Steady,
    /// It was created seconds ago and has no status yet.
    New,
    Scaling,
    /// At its minimum, and the metrics need fewer replicas: normal at night.
    AtMin,
    /// The target has 0 replicas, so the autoscaler is off until somebody scales it up.
    Disabled,
    /// Its behavior allows neither direction.
    Paused,
    /// It needs more than maxReplicas.
    AtMax,
    /// It cannot compute a number, or cannot scale.
    Failing,
}

/// The verdict on one HPA.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HpaVerdict {
    pub state: HpaState,
    /// As a text: `at max`, `up now`, `cannot read cpu`.
    pub why: String,
    pub since: Option<Stamp>,
    /// The number of replicas that the metrics need, before the limits; None if they cannot be read.
    pub wants: Option<i32>,
    /// The arithmetic for `wants`: `ceil(4 x 82/60) = 6`.
    pub computed: Option<String>,
    /// `maxReplicas`, `minReplicas`, or the limit that the condition ScalingLimited names.
    pub limited_by: Option<String>,
}

/// The default tolerance, in thousandths (`--horizontal-pod-autoscaler-tolerance`).
const TOLERANCE: i64 = 100;

/// The number of replicas that one metric needs, with the arithmetic.
///
/// The controller multiplies by the number of ready pods. The status has only the number of replicas, so with unready
/// pods this is an upper bound.
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
    // within tolerance: (1 - down) <= value/target <= (1 + up), in exact integers
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

/// While a rollout replaces every pod there are no metrics; half a minute later there are.
const FAILING_SECS: u64 = 60;

/// Judges one HPA.
pub fn judge(hpa: &Hpa, now: Stamp) -> HpaVerdict {
    let able = hpa.condition("AbleToScale");
    let active = hpa.condition("ScalingActive");
    let limited = hpa.condition("ScalingLimited");
    let asked = hpa.metrics.iter().filter_map(|m| ask(hpa, m)).max_by_key(|(wants, _)| *wants);
    let mut verdict = HpaVerdict {
        wants: asked.as_ref().map(|(wants, _)| *wants),
        computed: asked.map(|(_, arithmetic)| arithmetic),
        ..HpaVerdict::default()
    };
    let mut say = |state, why: String, since| {
        verdict.state = state;
        verdict.why = why;
        verdict.since = since;
    };
    if let Some(c) = able.filter(|c| c.status == Status::False) {
        say(HpaState::Failing, format!("cannot scale: {}", words(&c.reason, &c.message)), c.since);
        return verdict;
    }
    if let Some(c) = active.filter(|c| c.status == Status::False) {
        if c.reason == "ScalingDisabled" {
            say(HpaState::Disabled, "off: the target is at 0".into(), c.since);
        } else if c.since.is_some_and(|since| now.secs_since(since) < FAILING_SECS) {
            say(HpaState::New, "waits for the metrics of its pods".into(), c.since);
        } else {
            say(HpaState::Failing, words(&c.reason, &c.message), c.since);
        }
        return verdict;
    }
    if active.is_none() {
        let state = if now.secs_since(hpa.created) < 120 { HpaState::New } else { HpaState::Failing };
        let why =
            if state == HpaState::New { "no status yet" } else { "the controller has not looked at it" };
        say(state, why.into(), Some(hpa.created));
        return verdict;
    }
    if hpa.paused {
        say(HpaState::Paused, "paused: scaleUp and scaleDown are Disabled".into(), None);
        let limits = verdict.wants.is_some_and(|wants| Some(wants) != hpa.current);
        verdict.limited_by = limits.then(|| "selectPolicy".into());
        return verdict;
    }
    let (current, desired) = (hpa.current.unwrap_or(0), hpa.desired.unwrap_or(0));
    let asks = verdict.wants.unwrap_or(0);
    match limited.filter(|c| c.status == Status::True) {
        Some(c) if c.reason == "TooManyReplicas" && current >= hpa.max => {
            // within the tolerance of its maximum it has all that it needs
            match verdict.wants {
                Some(wants) if wants <= hpa.max => {
                    say(HpaState::Steady, "at max, which is enough".into(), c.since);
                }
                _ => say(HpaState::AtMax, "at max".into(), c.since),
            }
            verdict.limited_by = Some("maxReplicas".into());
        }
        Some(c) if c.reason == "TooFewReplicas" && current <= hpa.min => {
            say(HpaState::AtMin, "at min".into(), c.since);
            verdict.limited_by = Some("minReplicas".into());
        }
        limited => {
            if let Some(c) = limited {
                verdict.limited_by = Some(match c.reason.as_str() {
                    "TooManyReplicas" => "maxReplicas".into(),
                    "TooFewReplicas" => "minReplicas".into(),
                    other => other.to_owned(),
                });
            }
            let mut say = |state, why: String, since| {
                verdict.state = state;
                verdict.why = why;
                verdict.since = since;
            };
            match desired.cmp(&current) {
                std::cmp::Ordering::Greater if desired > 0 => {
                    say(HpaState::Scaling, "up now".into(), hpa.last_scale);
                }
                std::cmp::Ordering::Less if desired > 0 => {
                    say(HpaState::Scaling, "down now".into(), hpa.last_scale);
                }
                _ => {
                    let held =
                        able.filter(|c| c.reason == "ScaleDownStabilized" || c.reason == "ScaleUpStabilized");
                    match held {
                        // the controller counts pods that are not ready or have no metrics with less load
                        None if asks > current => {
                            say(
                                HpaState::Steady,
                                format!("held: the metrics ask for {asks}"),
                                hpa.last_scale,
                            );
                        }
                        Some(c) => say(HpaState::Steady, "steady (stabilization window)".into(), c.since),
                        None => say(HpaState::Steady, "steady".into(), hpa.last_scale),
                    }
                }
            }
        }
    }
    verdict
}

fn words(reason: &str, message: &str) -> String {
    match reason {
        "FailedGetResourceMetric" | "FailedGetContainerResourceMetric" => {
            format!("cannot read cpu/memory use: {}", tail(message))
        }
        "FailedGetPodsMetric" => format!("cannot read the pods' metric: {}", tail(message)),
        "FailedGetObjectMetric" => format!("cannot read the object's metric: {}", tail(message)),
        "FailedGetExternalMetric" => format!("cannot read the external metric: {}", tail(message)),
        "FailedGetScale" => format!("target not found or without a scale: {}", tail(message)),
        "AmbiguousSelector" => "another autoscaler matches the same pods".into(),
        "InvalidSelector" => "the target's selector is invalid".into(),
        _ if message.is_empty() => reason.to_owned(),
        _ => format!("{reason}: {}", tail(message)),
    }
}

/// The controller chains its errors with colons; the last part names the cause.
fn tail(message: &str) -> &str {
    message.rsplit(": ").next().unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::node::Condition;

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
        assert_eq!(v.why, "cannot read cpu/memory use: no metrics known");
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
            (v.state, v.why.as_str()),
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
