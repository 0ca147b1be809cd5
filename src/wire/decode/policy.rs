//! Autoscalers (autoscaling/v2) and PodDisruptionBudgets (policy/v1).

use pilothouse_core::domain::autoscaler::{Hpa, Metric, Target};
use pilothouse_core::domain::budget::Pdb;
use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::quantity;
use serde::Deserialize;

use super::{
    ConditionDoc, Decode, Decoder, Meta, Pools, SelectorDoc, Text, group_of, int, kind_of, pooled, read,
    single,
};
use crate::clock::Clock;
use crate::wire::list_watch::DecodeError;

#[derive(Default, Deserialize)]
#[serde(default)]
struct HpaDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<HpaSpec<'a>>,
    #[serde(borrow)]
    status: Option<HpaStatus<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HpaSpec<'a> {
    #[serde(borrow)]
    scale_target_ref: Option<Reference<'a>>,
    min_replicas: Option<i64>,
    max_replicas: Option<i64>,
    #[serde(borrow)]
    metrics: Option<Vec<MetricDoc<'a>>>,
    #[serde(borrow)]
    behavior: Option<Behavior<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reference<'a> {
    #[serde(borrow)]
    api_version: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Behavior<'a> {
    #[serde(borrow)]
    scale_up: Option<ScalingRules<'a>>,
    #[serde(borrow)]
    scale_down: Option<ScalingRules<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScalingRules<'a> {
    #[serde(borrow)]
    tolerance: Text<'a>,
    #[serde(borrow)]
    select_policy: Text<'a>,
}

/// An entry of `spec.metrics` or `status.currentMetrics`. While a metric fails, the latter is `{"type":""}`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MetricDoc<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    resource: Option<MetricSource<'a>>,
    #[serde(borrow)]
    container_resource: Option<MetricSource<'a>>,
    #[serde(borrow)]
    pods: Option<MetricSource<'a>>,
    #[serde(borrow)]
    object: Option<MetricSource<'a>>,
    #[serde(borrow)]
    external: Option<MetricSource<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MetricSource<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    container: Text<'a>,
    #[serde(borrow)]
    metric: Option<Identifier<'a>>,
    #[serde(borrow)]
    target: Option<Values<'a>>,
    #[serde(borrow)]
    current: Option<Values<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Identifier<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Values<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    average_utilization: Option<i64>,
    #[serde(borrow)]
    average_value: Text<'a>,
    #[serde(borrow)]
    value: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HpaStatus<'a> {
    current_replicas: Option<i64>,
    desired_replicas: Option<i64>,
    #[serde(borrow)]
    last_scale_time: Text<'a>,
    #[serde(borrow)]
    current_metrics: Option<Vec<MetricDoc<'a>>>,
    #[serde(borrow)]
    conditions: Option<Vec<ConditionDoc<'a>>>,
}

impl<'a> MetricDoc<'a> {
    fn source(&self) -> Option<&MetricSource<'a>> {
        match &*self.kind {
            "Resource" => self.resource.as_ref(),
            "ContainerResource" => self.container_resource.as_ref(),
            "Pods" => self.pods.as_ref(),
            "Object" => self.object.as_ref(),
            "External" => self.external.as_ref(),
            _ => None,
        }
    }

    fn name(&self) -> String {
        let Some(source) = self.source() else { return String::new() };
        let name = source.metric.as_ref().map_or(&*source.name, |m| &*m.name);
        if source.container.is_empty() { name.to_owned() } else { format!("{}/{name}", source.container) }
    }
}

fn target(values: Option<&Values<'_>>) -> Target {
    let Some(values) = values else { return Target::None };
    let found = match &*values.kind {
        "Utilization" => values.average_utilization.map(|v| Target::Utilization(int(Some(v)))),
        "AverageValue" => quantity::milli(&values.average_value).map(Target::AverageValue),
        "Value" => quantity::milli(&values.value).map(Target::Value),
        _ => None,
    };
    found.unwrap_or(Target::None)
}

/// The current value in the same form as the target's.
fn current(target: Target, values: &Values<'_>) -> Option<i64> {
    match target {
        Target::Utilization(_) => values.average_utilization,
        Target::AverageValue(_) => quantity::milli(&values.average_value),
        Target::Value(_) => quantity::milli(&values.value),
        Target::None => None,
    }
}

impl Decode for Hpa {
    fn decoder(_: &Kind, _: &Clock) -> Decoder<Self> {
        pooled(hpa)
    }
}

/// An autoscaler from its JSON.
pub fn hpa(pools: &mut Pools, json: &[u8]) -> Result<Hpa, DecodeError> {
    let doc: HpaDoc<'_> = read(json)?;
    let meta = &doc.metadata;
    meta.check("horizontalpodautoscaler")?;
    let spec = doc.spec.unwrap_or_default();
    let status = doc.status.unwrap_or_default();
    let reference = spec.scale_target_ref.unwrap_or_default();
    let group = group_of(&reference.api_version);
    let now: &[MetricDoc<'_>] = status.current_metrics.as_deref().unwrap_or_default();
    let mut used = vec![false; now.len()];
    let metrics = spec
        .metrics
        .iter()
        .flatten()
        .map(|m| {
            let name = m.name();
            let target = target(m.source().and_then(|s| s.target.as_ref()));
            // two metrics can have the same type and name (with another selector): each entry is used once, in order
            let found = now
                .iter()
                .zip(used.iter_mut())
                .find(|(c, used)| !**used && !name.is_empty() && *c.kind == *m.kind && c.name() == name)
                .map(|(c, used)| {
                    *used = true;
                    c
                });
            Metric {
                kind: pools.name(&m.kind),
                name: pools.name(&name),
                target,
                current: found
                    .and_then(|c| c.source()?.current.as_ref())
                    .and_then(|values| current(target, values)),
            }
        })
        .collect();
    let tolerance = |rules: Option<&ScalingRules<'_>>| {
        rules.filter(|r| !r.tolerance.is_empty()).and_then(|r| quantity::milli(&r.tolerance))
    };
    let disabled = |rules: &Option<ScalingRules<'_>>| {
        rules.as_ref().is_some_and(|rules| &*rules.select_policy == "Disabled")
    };
    let behavior = spec.behavior.unwrap_or_default();
    Ok(Hpa {
        uid: meta.uid(),
        version: meta.version(),
        namespace: pools.name(&meta.namespace),
        name: single(&meta.name),
        created: meta.created(),
        target_kind: kind_of(&reference.kind, group),
        target_group: pools.name(group),
        target_name: single(&reference.name),
        min: int(Some(spec.min_replicas.unwrap_or(1))),
        max: int(Some(spec.max_replicas.unwrap_or(1))),
        current: status.current_replicas.map(|r| int(Some(r))),
        desired: status.desired_replicas.map(|r| int(Some(r))),
        metrics,
        conditions: pools.conditions(status.conditions.as_deref().unwrap_or_default()),
        last_scale: status.last_scale_time.stamp(),
        tolerance_up: tolerance(behavior.scale_up.as_ref()),
        tolerance_down: tolerance(behavior.scale_down.as_ref()),
        paused: disabled(&behavior.scale_up) && disabled(&behavior.scale_down),
        changed: pools.changed(meta, &["\"f:spec\""]),
        keda: meta.owner_references.iter().flatten().any(|o| &*o.kind == "ScaledObject"),
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PdbDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<PdbSpec<'a>>,
    #[serde(borrow)]
    status: Option<PdbStatus<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PdbSpec<'a> {
    #[serde(borrow)]
    selector: Option<SelectorDoc<'a>>,
    #[serde(borrow)]
    min_available: Text<'a>,
    #[serde(borrow)]
    max_unavailable: Text<'a>,
    #[serde(borrow)]
    unhealthy_pod_eviction_policy: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PdbStatus<'a> {
    observed_generation: Option<i64>,
    disruptions_allowed: Option<i64>,
    current_healthy: Option<i64>,
    desired_healthy: Option<i64>,
    expected_pods: Option<i64>,
    #[serde(borrow)]
    conditions: Option<Vec<ConditionDoc<'a>>>,
}

impl Decode for Pdb {
    fn decoder(_: &Kind, _: &Clock) -> Decoder<Self> {
        pooled(pdb)
    }
}

/// A budget from its JSON.
pub fn pdb(pools: &mut Pools, json: &[u8]) -> Result<Pdb, DecodeError> {
    let doc: PdbDoc<'_> = read(json)?;
    let meta = &doc.metadata;
    meta.check("poddisruptionbudget")?;
    let spec = doc.spec.unwrap_or_default();
    let status = doc.status.unwrap_or_default();
    Ok(Pdb {
        uid: meta.uid(),
        version: meta.version(),
        namespace: pools.name(&meta.namespace),
        name: single(&meta.name),
        created: meta.created(),
        generation: meta.generation.unwrap_or(0),
        observed_generation: status.observed_generation.unwrap_or(0),
        selector: pools.selector(spec.selector.as_ref()),
        min_available: pools.some(&spec.min_available),
        max_unavailable: pools.some(&spec.max_unavailable),
        always_allow_unhealthy: &*spec.unhealthy_pod_eviction_policy == "AlwaysAllow",
        allowed: int(status.disruptions_allowed),
        current_healthy: int(status.current_healthy),
        desired_healthy: int(status.desired_healthy),
        expected: int(status.expected_pods),
        conditions: pools.conditions(status.conditions.as_deref().unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_matched_by_type_and_name() {
        let json = br#"{"metadata":{"name":"h","namespace":"n","uid":"u"},"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"},"maxReplicas":5,
            "metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":60}}},
                       {"type":"External","external":{"metric":{"name":"queue"},"target":{"type":"AverageValue","averageValue":"30"}}},
                       {"type":"ContainerResource","containerResource":{"name":"memory","container":"app","target":{"type":"AverageValue","averageValue":"1Gi"}}},
                       {"type":"Brand","brand":{}}],
            "behavior":{"scaleUp":{"tolerance":"50m"}}},
            "status":{"desiredReplicas":0,"currentMetrics":[{"type":""},{"type":"External","external":{"metric":{"name":"queue"},"current":{"averageValue":"12500m"}}}]}}"#;
        let hpa = hpa(&mut Pools::default(), json).unwrap();
        let seen: Vec<_> = hpa.metrics.iter().map(|m| (m.name.as_str(), m.target, m.current)).collect();
        assert_eq!(
            seen,
            [
                ("cpu", Target::Utilization(60), None),
                ("queue", Target::AverageValue(30_000), Some(12_500)),
                ("app/memory", Target::AverageValue(1 << 30).map_milli(), None),
                ("", Target::None, None)
            ]
        );
        assert_eq!((hpa.min, hpa.max, hpa.current, hpa.tolerance_up), (1, 5, None, Some(50)));
        assert_eq!(hpa.target_kind, Kind::Deployment);
    }

    #[test]
    fn it_is_paused_if_neither_direction_may_change_anything() {
        for (behavior, paused) in [
            (r#"{"scaleUp":{"selectPolicy":"Disabled"},"scaleDown":{"selectPolicy":"Disabled"}}"#, true),
            (r#"{"scaleUp":{"selectPolicy":"Max"},"scaleDown":{"selectPolicy":"Disabled"}}"#, false),
            (r#"{"scaleUp":{"selectPolicy":"Disabled"}}"#, false),
            ("{}", false),
            ("null", false),
        ] {
            let json = format!(
                r#"{{"metadata":{{"name":"h","uid":"u"}},"spec":{{"maxReplicas":5,"behavior":{behavior}}}}}"#
            );
            assert_eq!(hpa(&mut Pools::default(), json.as_bytes()).unwrap().paused, paused, "{behavior}");
        }
    }

    trait Milli {
        fn map_milli(self) -> Self;
    }
    impl Milli for Target {
        fn map_milli(self) -> Self {
            match self {
                Target::AverageValue(v) => Target::AverageValue(v * 1000),
                other => other,
            }
        }
    }

    #[test]
    fn budgets_take_numbers_and_percents() {
        let json = br#"{"metadata":{"name":"b","uid":"u","generation":1},"spec":{"minAvailable":3,"maxUnavailable":null,"selector":{}},"status":{"disruptionsAllowed":0,"currentHealthy":3}}"#;
        let pdb = pdb(&mut Pools::default(), json).unwrap();
        assert_eq!((pdb.min_available.as_deref(), pdb.max_unavailable), (Some("3"), None));
        assert!(pdb.selector.matches(&[]), "an empty selector is all pods");
        let nil = super::pdb(
            &mut Pools::default(),
            br#"{"metadata":{"name":"b","uid":"u"},"spec":{"maxUnavailable":"25%"}}"#,
        )
        .unwrap();
        assert!(nil.selector.nothing && nil.max_unavailable.as_deref() == Some("25%"));
    }
}
