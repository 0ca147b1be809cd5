//! The arithmetic of a rolling update: how many pods each ReplicaSet gets next.

use serde_json::Value;

use super::super::doc::share;
use crate::store::Object;

pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

pub(super) fn replicas(object: &Object) -> i64 {
    object.int("/spec/replicas").unwrap_or(1)
}

pub(super) fn status(object: &Object, field: &str) -> i64 {
    object.at("/status").get(field).and_then(Value::as_i64).unwrap_or_default()
}

/// How many pods a rolling update may have above the desired number, and below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub surge: i64,
    pub unavailable: i64,
}

impl Bounds {
    pub(super) fn of(deployment: &Object) -> Self {
        let wanted = replicas(deployment);
        if deployment.text("/spec/strategy/type") == "Recreate" {
            return Self { surge: 0, unavailable: 0 };
        }
        let part = |field: &str, up: bool| {
            share(deployment.at(&format!("/spec/strategy/rollingUpdate/{field}")), wanted, up)
                .unwrap_or_default()
        };
        let (surge, unavailable) = (part("maxSurge", true).max(0), part("maxUnavailable", false).max(0));
        // With both 0 nothing would ever change, so one pod may be unavailable.
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { surge, unavailable: unavailable.min(wanted) }
    }
}

/// The next size of the new ReplicaSet in a rolling update. `all`: the number of pods that all ReplicaSets should have.
pub(super) fn grow(wanted: i64, bounds: Bounds, new: i64, all: i64) -> i64 {
    if new >= wanted {
        return wanted;
    }
    let room = wanted + bounds.surge - all;
    if room <= 0 { new } else { new + room.min(wanted - new) }
}

/// The change of a ReplicaSet's size when a Deployment is scaled during a rollout.
pub(super) fn proportion(
    set: &Object,
    wanted: i64,
    max: i64,
    total_before: i64,
    to_add: i64,
    added: i64,
) -> i64 {
    if replicas(set) == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let fraction = if wanted == 0 {
        -replicas(set)
    } else {
        let annotated = set.annotation(MAX).and_then(|text| text.parse().ok()).filter(|n| *n > 0);
        let before: i64 = annotated.unwrap_or(total_before).max(1);
        (replicas(set) as f64 * max as f64 / before as f64).round() as i64 - replicas(set)
    };
    let left = to_add - added;
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources::Res;

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        let deployment = |replicas: i64, surge: Value, unavailable: Value| {
            let spec = json!({"replicas": replicas, "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
            Bounds::of(&Object::new(Res::Deployments, json!({"spec": spec}), 1))
        };
        assert_eq!(deployment(10, json!("25%"), json!("25%")), Bounds { surge: 3, unavailable: 2 });
        assert_eq!(deployment(1, json!("25%"), json!("25%")), Bounds { surge: 1, unavailable: 0 });
        assert_eq!(deployment(4, json!(0), json!("10%")), Bounds { surge: 0, unavailable: 1 });
        let bounds = Bounds { surge: 3, unavailable: 2 };
        assert_eq!(grow(10, bounds, 0, 10), 3);
        assert_eq!(grow(10, bounds, 3, 13), 3);
        assert_eq!(grow(10, bounds, 9, 11), 10);
    }
}
