//! The effective request of a pod for each resource.

use std::collections::BTreeMap;

use crate::store::walk;
use serde_json::Value;

use super::doc::{list, quantity, text};

/// Amounts of resources, in thousandths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts(pub BTreeMap<Box<str>, i64>);

impl Amounts {
    /// From a map such as `allocatable` or `requests`.
    pub fn of(map: &Value) -> Self {
        let map = map.as_object();
        Self(map.into_iter().flatten().map(|(name, value)| (name.as_str().into(), quantity(value))).collect())
    }

    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub fn add(&mut self, other: &Self, sign: i64) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() += sign * amount;
        }
    }

    fn max(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let have = self.0.entry(name.clone()).or_default();
            *have = (*have).max(*amount);
        }
    }
}

/// A container's requests; for a resource with only a limit, the limit.
fn requested(container: &Value) -> Amounts {
    let mut out = Amounts::of(walk(container, "/resources/limits").unwrap_or(&Value::Null));
    let own = Amounts::of(walk(container, "/resources/requests").unwrap_or(&Value::Null));
    out.0.extend(own.0);
    out
}

/// The effective request of a pod's spec: the maximum of the containers that run together and of the largest phase of
/// its start, including sidecars; then the pod-level request and the overhead.
pub fn effective(spec: &Value) -> Amounts {
    let mut main = Amounts::default();
    for container in list(spec, "/containers") {
        main.add(&requested(container), 1);
    }
    let (mut beside, mut worst) = (Amounts::default(), Amounts::default());
    for container in list(spec, "/initContainers") {
        let own = requested(container);
        if text(container, "restartPolicy") == "Always" {
            main.add(&own, 1);
            beside.add(&own, 1);
            worst.max(&beside);
        } else {
            let mut moment = beside.clone();
            moment.add(&own, 1);
            worst.max(&moment);
        }
    }
    main.max(&worst);
    main.0.extend(Amounts::of(walk(spec, "/resources/requests").unwrap_or(&Value::Null)).0);
    main.add(&Amounts::of(spec.get("overhead").unwrap_or(&Value::Null)), 1);
    main
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sidecars_count_while_what_follows_them_starts() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("100m");
        sidecar["restartPolicy"] = json!("Always");
        let main = [container("500m"), container("250m")];
        let first = json!({"containers": main, "initContainers": [sidecar, container("1")], "overhead": {"cpu": "50m"}});
        assert_eq!(effective(&first).get("cpu"), 1150);
        let last = json!({"containers": main, "initContainers": [container("1"), sidecar], "overhead": {"cpu": "50m"}});
        assert_eq!(effective(&last).get("cpu"), 1050);
        assert_eq!(quantity(&json!("1Gi")), 1_073_741_824_000);
        assert_eq!(quantity(&json!("1.5")), 1500);
        assert_eq!(quantity(&json!("34000500n")), 35);
    }
}
