//! The weights that rollout controllers report: Rollouts of Argo Rollouts, and Canaries of Flagger.

use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::route::{Route, RouteRule, Target};
use serde::Deserialize;

use super::super::{Meta, Pools, Text, read};
use super::{head, host, weight};
use crate::wire::list_watch::DecodeError;

#[derive(Default, Deserialize)]
#[serde(default)]
struct RolloutDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    status: Option<RolloutStatus<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RolloutStatus<'a> {
    #[serde(borrow)]
    canary: Option<CanaryStatus<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CanaryStatus<'a> {
    #[serde(borrow)]
    weights: Option<Weights<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Weights<'a> {
    #[serde(borrow)]
    stable: Option<Destination<'a>>,
    #[serde(borrow)]
    canary: Option<Destination<'a>>,
    #[serde(borrow)]
    additional: Option<Vec<Destination<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Destination<'a> {
    #[serde(borrow)]
    service_name: Text<'a>,
    weight: Option<i64>,
}

/// A Rollout from its JSON. Only one that routes by weights, over Services that have names, has a rule.
pub(super) fn rollout(pools: &mut Pools, json: &[u8]) -> Result<Route, DecodeError> {
    let doc: RolloutDoc<'_> = read(json)?;
    let route = head(Kind::Rollout, pools, &doc.metadata)?;
    let weights = doc.status.and_then(|status| status.canary).and_then(|canary| canary.weights);
    let Some(weights) = weights else { return Ok(route) };
    let all = [&weights.stable, &weights.canary].into_iter().flatten();
    let all: Vec<&Destination<'_>> = all.chain(weights.additional.iter().flatten()).collect();
    if all.iter().any(|destination| destination.service_name.is_empty()) {
        return Ok(route);
    }
    let targets = all.into_iter().map(|destination| Target {
        host: host(pools, &doc.metadata.namespace, "", &destination.service_name),
        weight: weight(destination.weight, 0),
        ..Target::default()
    });
    let rule = RouteRule { targets: targets.collect(), ..RouteRule::default() };
    Ok(Route { rules: [rule].into(), ..route })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CanaryDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<CanarySpec<'a>>,
    status: Option<FlaggerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CanarySpec<'a> {
    #[serde(borrow)]
    target_ref: Option<Named<'a>>,
    #[serde(borrow)]
    service: Option<Named<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FlaggerStatus {
    canary_weight: Option<i64>,
}

/// A Canary from its JSON. Flagger makes the Services NAME, NAME-primary and NAME-canary.
pub(super) fn canary(pools: &mut Pools, json: &[u8]) -> Result<Route, DecodeError> {
    let doc: CanaryDoc<'_> = read(json)?;
    let route = head(Kind::Canary, pools, &doc.metadata)?;
    let spec = doc.spec.unwrap_or_default();
    let named = [&spec.service, &spec.target_ref].into_iter().flatten().find(|named| !named.name.is_empty());
    let to_canary = doc.status.and_then(|status| status.canary_weight);
    let (Some(named), Some(to_canary)) = (named, to_canary) else { return Ok(route) };
    let to_canary = weight(Some(to_canary), 0).min(100);
    let namespace = &doc.metadata.namespace;
    let mut target = |suffix: &str, weight: u32| Target {
        host: host(pools, namespace, "", &format!("{}{suffix}", &*named.name)),
        weight,
        ..Target::default()
    };
    let targets = [target("-primary", 100 - to_canary), target("-canary", to_canary)].into();
    let rule = RouteRule { targets, ..RouteRule::default() };
    let root = host(pools, namespace, "", &named.name);
    Ok(Route { roots: [root].into(), rules: [rule].into(), ..route })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(route: &Route) -> Vec<(String, u32)> {
        let targets = route.rules.iter().flat_map(|rule| rule.targets.iter());
        targets.map(|t| (t.host.name.to_string(), t.weight)).collect()
    }

    #[test]
    fn rollouts() {
        let read = |status: &str| {
            let json = format!(
                r#"{{"apiVersion":"argoproj.io/v1alpha1","kind":"Rollout","metadata":{{"name":"web","namespace":"shop","uid":"u"}},
                "spec":{{"strategy":{{"canary":{{"stableService":"web-stable","canaryService":"web-canary","steps":[{{"setWeight":20}}]}}}}}},"status":{status}}}"#
            );
            told(&rollout(&mut Pools::default(), json.as_bytes()).unwrap())
        };
        let weights = r#"{"canary":{"weights":{"canary":{"podTemplateHash":"789","serviceName":"web-canary","weight":20},
            "stable":{"podTemplateHash":"123","serviceName":"web-stable","weight":80},"verified":true}}}"#;
        assert_eq!(read(weights), [("web-stable".to_owned(), 80), ("web-canary".to_owned(), 20)]);
        assert_eq!(read("null"), []);
        assert_eq!(read(r#"{"canary":{}}"#), [], "without traffic routing, the number of pods decides");
        let subsets = r#"{"canary":{"weights":{"canary":{"podTemplateHash":"789","weight":20},"stable":{"podTemplateHash":"123","weight":80}}}}"#;
        assert_eq!(read(subsets), [], "the Services have no names");
    }

    #[test]
    fn canaries_of_flagger() {
        let read = |service: &str, status: &str| {
            let json = format!(
                r#"{{"apiVersion":"flagger.app/v1beta1","kind":"Canary","metadata":{{"name":"podinfo","namespace":"test","uid":"u"}},
                "spec":{{"targetRef":{{"apiVersion":"apps/v1","kind":"Deployment","name":"podinfo"}},"service":{service},"analysis":{{"maxWeight":50,"stepWeight":10}}}},"status":{status}}}"#
            );
            canary(&mut Pools::default(), json.as_bytes()).unwrap()
        };
        let route = read(r#"{"port":9898}"#, r#"{"phase":"Progressing","canaryWeight":30}"#);
        assert_eq!(told(&route), [("podinfo-primary".to_owned(), 70), ("podinfo-canary".to_owned(), 30)]);
        assert_eq!(route.roots[0].name, "podinfo");
        let named = read(r#"{"name":"info"}"#, r#"{"canaryWeight":0}"#);
        assert_eq!(told(&named), [("info-primary".to_owned(), 100), ("info-canary".to_owned(), 0)]);
        assert_eq!(told(&read("{}", "{}")), []);
    }
}
