//! How fast an autoscaler may follow its metrics: stabilization, policies, limits.

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::super::doc::{after, int, list, seconds, text};

/// The memory of an autoscaler, which is lost with the controller, as in the real one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub recommended: Vec<(DateTime<Utc>, i64)>,
    pub ups: Vec<(DateTime<Utc>, i64)>,
    pub downs: Vec<(DateTime<Utc>, i64)>,
}

/// A number; and if it differs from the metrics' proposal, the reason and the message of the condition about this.
pub(super) type Held = (i64, Option<(&'static str, &'static str)>);

pub(super) const TOO_FEW: (&str, &str) =
    ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
pub(super) const TOO_MANY: (&str, &str) =
    ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const UP_LIMIT: (&str, &str) =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_LIMIT: (&str, &str) =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
const DOWN_STABLE: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const UP_STABLE: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);

impl Memory {
    /// Drops entries that are older than every window.
    pub(super) fn forget(&mut self, at: DateTime<Utc>) {
        let oldest = after(at, -TimeDelta::hours(1));
        for list in [&mut self.recommended, &mut self.ups, &mut self.downs] {
            list.retain(|(when, _)| *when >= oldest);
        }
    }

    fn moved(list: &[(DateTime<Utc>, i64)], period: i64, at: DateTime<Utc>) -> i64 {
        let from = after(at, -seconds(period));
        list.iter().filter(|(when, _)| *when > from).map(|(_, n)| n).sum()
    }

    /// Limits a recommendation by the recent recommendations.
    pub(super) fn stabilize(
        &mut self,
        behavior: &Value,
        current: i64,
        wanted: i64,
        at: DateTime<Utc>,
    ) -> Held {
        let window = |side: &str, default: i64| {
            let set = behavior.get(side).and_then(|side| side.get("stabilizationWindowSeconds")?.as_i64());
            after(at, -seconds(set.unwrap_or(default)))
        };
        // A controller that has just started uses the current number as the earlier recommendation.
        if self.recommended.is_empty() {
            self.recommended.push((at, current));
        }
        let (up_from, down_from) = (window("scaleUp", 0), window("scaleDown", 300));
        let (mut low, mut high) = (wanted, wanted);
        for (when, n) in &self.recommended {
            if *when > up_from {
                low = low.min(*n);
            }
            if *when > down_from {
                high = high.max(*n);
            }
        }
        self.recommended.push((at, wanted));
        let out = if behavior.is_null() { high } else { current.max(low).min(high) };
        let why = match out.cmp(&wanted) {
            Ordering::Greater => Some(DOWN_STABLE),
            Ordering::Less => Some(UP_STABLE),
            Ordering::Equal => None,
        };
        (out, why)
    }

    /// Limits a change by the policies, and the number by its bounds.
    pub(super) fn limit(
        &self,
        behavior: &Value,
        current: i64,
        wanted: i64,
        (min, max): (i64, i64),
        at: DateTime<Utc>,
    ) -> Held {
        if behavior.is_null() {
            let most = (2 * current).max(4);
            if wanted < min {
                return (min, Some(TOO_FEW));
            }
            return match (wanted > most.min(max), most < max) {
                (true, true) => (most, Some(UP_LIMIT)),
                (true, false) => (max, Some(TOO_MANY)),
                _ => (wanted, None),
            };
        }
        match wanted.cmp(&current) {
            Ordering::Greater => {
                let most = self.bound(behavior, true, current, at).max(current);
                let (bound, why) = if most < max { (most, UP_LIMIT) } else { (max, TOO_MANY) };
                if wanted > bound { (bound, Some(why)) } else { Self::floor(wanted, min) }
            }
            Ordering::Less => {
                let least = self.bound(behavior, false, current, at).min(current);
                let (bound, why) = if least > min { (least, DOWN_LIMIT) } else { (min, TOO_FEW) };
                if wanted < bound { (bound, Some(why)) } else { (wanted, None) }
            }
            Ordering::Equal => Self::floor(wanted, min),
        }
    }

    fn floor(wanted: i64, min: i64) -> Held {
        if wanted < min { (min, Some(TOO_FEW)) } else { (wanted, None) }
    }

    /// The largest change that the policies of one direction allow.
    fn bound(&self, behavior: &Value, up: bool, current: i64, at: DateTime<Utc>) -> i64 {
        let side = behavior.get(if up { "scaleUp" } else { "scaleDown" }).unwrap_or(&Value::Null);
        let select = text(side, "selectPolicy");
        if select == "Disabled" {
            return current;
        }
        let policies = list(side, "/policies");
        let default_up = [("Pods", 4, 15), ("Percent", 100, 15)];
        let default_down = [("Percent", 100, 15)];
        let own: Vec<(&str, i64, i64)> = policies
            .iter()
            .map(|one| (text(one, "type"), int(one, "value"), int(one, "periodSeconds")))
            .collect();
        let policies = match (own.is_empty(), up) {
            (false, _) => own,
            (true, true) => default_up.to_vec(),
            (true, false) => default_down.to_vec(),
        };
        let bounds = policies.into_iter().map(|(kind, value, period)| {
            let begun = current - Self::moved(&self.ups, period, at) + Self::moved(&self.downs, period, at);
            match (kind, up) {
                ("Pods", true) => begun + value,
                ("Pods", false) => begun - value,
                (_, true) => (begun as f64 * (1.0 + value as f64 / 100.0)).ceil() as i64,
                (_, false) => (begun as f64 * (1.0 - value as f64 / 100.0)) as i64,
            }
        });
        let out = match (up, select == "Min") {
            (true, false) | (false, true) => bounds.max(),
            (true, true) | (false, false) => bounds.min(),
        };
        out.unwrap_or(current)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_bound_each_step() {
        let at = crate::clock::parse("2026-01-02T03:04:05Z").unwrap_or_default();
        let policies = json!([{"type": "Pods", "value": 4, "periodSeconds": 60}, {"type": "Percent", "value": 10, "periodSeconds": 60}]);
        let down = |select: &str| json!({"scaleDown": {"policies": policies, "selectPolicy": select}});
        let memory = Memory::default();
        assert_eq!(memory.limit(&down("Max"), 80, 10, (1, 100), at).0, 72);
        assert_eq!(memory.limit(&down("Max"), 40, 10, (1, 100), at).0, 36);
        assert_eq!(memory.limit(&down("Min"), 80, 10, (1, 100), at).0, 76);
        assert_eq!(memory.limit(&down("Disabled"), 80, 10, (1, 100), at), (80, Some(DOWN_LIMIT)));
        let gone = Memory { downs: vec![(at, 3)], ..Memory::default() };
        assert_eq!(gone.limit(&down("Min"), 77, 10, (1, 100), at).0, 76, "3 of 4 have gone already");
        assert_eq!(memory.limit(&Value::Null, 4, 20, (1, 100), at), (8, Some(UP_LIMIT)));
        assert_eq!(memory.limit(&Value::Null, 4, 20, (1, 6), at), (6, Some(TOO_MANY)));
    }
}
