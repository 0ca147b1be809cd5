//! Verdicts on service level objectives, each with the Service that it belongs to.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::id::Name;
use crate::domain::slo::Measured;
use crate::policy::slo;

use super::Derivation;
use crate::facts::reduce::Facts;
use crate::facts::world::SloRow;

impl Derivation {
    /// Judges the service level objectives, and finds their Services.
    pub(super) fn refresh_slos(&mut self, facts: &Facts) {
        let seen = &facts.objectives;
        if seen.objectives.is_empty() && self.slos.is_empty() {
            return;
        }
        // The namespace of the only Service with a name; `None` if several Services have it.
        let mut named: HashMap<&str, Option<&Name>> = HashMap::new();
        if seen.objectives.iter().any(|m| m.objective.namespace.is_empty()) {
            for (namespace, name) in self.service_by_name.keys() {
                let only = |held: &mut Option<&Name>| *held = None;
                named.entry(name).and_modify(only).or_insert(Some(namespace));
            }
        }
        let row = |measured: &Arc<Measured>| {
            let objective = &measured.objective;
            let service = objective.service.clone();
            let namespace = if objective.namespace.is_empty() {
                named.get(service.as_str()).copied().flatten().cloned().unwrap_or_default()
            } else {
                objective.namespace.clone()
            };
            Arc::new(SloRow {
                namespace,
                service,
                verdict: slo::judge(measured, seen.at),
                measured: measured.clone(),
            })
        };
        let mut rows: Vec<Arc<SloRow>> = seen.objectives.iter().map(row).collect();
        let order =
            |row: &SloRow| (row.namespace.clone(), row.service.clone(), row.measured.objective.name.clone());
        rows.sort_by_cached_key(|row| order(row));
        let same = rows.len() == self.slos.len() && rows.iter().zip(self.slos.iter()).all(|(a, b)| a == b);
        if !same {
            self.slos = rows.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cause::{Cause, Evidence, FindingCode, Severity};
    use crate::domain::id::{Uid, Version};
    use crate::domain::service::Service;
    use crate::domain::slo::{Objective, ObjectivesSeen, Ratio, SloState};
    use crate::domain::time::Stamp;
    use crate::domain::traffic::{ServiceTraffic, TrafficSeen};
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::{Cluster, ClusterInfo};
    use crate::policy::slo::windows;
    use crate::state::ClusterState;

    const MONTH: u64 = 30 * 86_400;

    fn services(names: &[(&str, &str)]) -> Fact {
        let service = |(namespace, name): &(&str, &str)| Service {
            uid: Uid::parse(&format!("{namespace}-{name}")),
            namespace: (*namespace).into(),
            name: (*name).into(),
            ..Service::default()
        };
        Fact::Services(Batch::Upsert(names.iter().map(service).collect()))
    }

    /// An objective of 99.9 % with the same share of bad requests over each of these windows, and none over the others.
    fn objective(namespace: &str, service: &str, bad: f64, over: &[u64], now: Stamp) -> Arc<Measured> {
        let objective = Objective {
            namespace: namespace.into(),
            service: service.into(),
            name: "availability".into(),
            target: 0.999,
            window_secs: MONTH,
            ..Objective::default()
        };
        let ratio = |window_secs: u64| {
            let bad = Some(if over.contains(&window_secs) { bad } else { 0.0 });
            Ratio { window_secs, bad, requests: None, at: now }
        };
        let ratios = windows(&objective).into_iter().map(ratio).collect();
        Arc::new(Measured { objective, ratios, note: None })
    }

    fn seen(objectives: &[Arc<Measured>], at: Stamp) -> Fact {
        Fact::Objectives(ObjectivesSeen { at, objectives: objectives.into() })
    }

    fn errors(ratio: f64, at: Stamp) -> Fact {
        let service = ServiceTraffic {
            namespace: "shop".into(),
            name: "checkout".into(),
            rps: Some(100.0),
            error_ratio: Some(ratio),
            window_secs: 60,
            ..ServiceTraffic::default()
        };
        Fact::Traffic(TrafficSeen { at, services: [Arc::new(service)].into(), ..TrafficSeen::default() })
    }

    fn lines(cluster: &Cluster) -> Vec<(FindingCode, Severity, String)> {
        cluster.derived.causes.iter().map(|c| (c.code(), c.severity, c.to_string())).collect()
    }

    fn includes(cause: &Cause, code: FindingCode) -> bool {
        cause.evidence.iter().any(|e| matches!(e, Evidence::Finding { cause, .. } if cause.code() == code))
    }

    #[test]
    fn an_objective_without_a_namespace_belongs_to_the_only_service_of_its_name() {
        let (mut state, now) = (ClusterState::new(ClusterInfo::default()), Stamp(1_000_000));
        state.apply(services(&[("shop", "cart"), ("shop", "web"), ("blog", "web")]), now);
        let all = ["cart", "web", "none"].map(|name| objective("", name, 0.0, &[], now));
        state.apply(seen(&all, now), now);
        let cluster = state.publish(now, false).unwrap();
        let found: Vec<(&str, &str)> =
            cluster.derived.slos.iter().map(|row| (row.namespace.as_str(), row.service.as_str())).collect();
        assert_eq!(found, [("", "none"), ("", "web"), ("shop", "cart")]);
        assert_eq!(cluster.slos("shop", "cart").next().unwrap().verdict.state, SloState::Fine);
        // the other Service is deleted
        let uid = Uid::parse("blog-web");
        let gone = crate::facts::event::Gone { uid, version: Version(9) };
        state.apply(Fact::Services(Batch::Gone(vec![gone])), now);
        let cluster = state.publish(now, false).unwrap();
        assert_eq!(cluster.slos("shop", "web").count(), 1);
        state.apply(seen(&[], now), now);
        assert!(state.publish(now, false).unwrap().derived.slos.is_empty());
    }

    #[test]
    fn a_budget_that_burns_is_one_finding_with_the_errors_of_its_service() {
        let (mut state, now) = (ClusterState::new(ClusterInfo::default()), Stamp(1_000_000));
        let fast = objective("shop", "checkout", 0.015, &[300, 3_600], now);
        state.apply(seen(std::slice::from_ref(&fast), now), now);
        let cluster = state.publish(now, false).unwrap();
        let line = "shop/checkout burns the error budget of availability 99.9 % over 30d at 15x, 100 % are left for 2d at this rate";
        assert_eq!(lines(&cluster), [(FindingCode::SloBurn, Severity::Critical, line.to_owned())]);
        assert!(cluster.derived.causes[0].lines()[0].starts_with("burns 15x over 1h and 15x over 5m"));
        // 1.5 % errors alone are a warning; with the budget that burns they are critical
        state.apply(errors(0.015, now), now);
        let cluster = state.publish(now, false).unwrap();
        let [one] = &*cluster.derived.causes else { panic!("{:?}", lines(&cluster)) };
        assert_eq!((one.code(), one.severity), (FindingCode::ServiceErrors, Severity::Critical));
        assert!(includes(one, FindingCode::SloBurn), "{:?}", one.lines());
        // the errors end before the hour is over
        state.apply(errors(0.0, now), now);
        let cluster = state.publish(now, false).unwrap();
        assert_eq!(cluster.derived.causes[0].code(), FindingCode::SloBurn);
        let calm = objective("shop", "checkout", 0.012, &[300, 3_600], now);
        state.apply(seen(&[calm], now), now);
        assert_eq!(
            lines(&state.publish(now, false).unwrap()),
            [],
            "12x is below 14.4x, and below its nine tenths"
        );
    }

    #[test]
    fn a_slow_burn_is_a_warning_and_a_spent_budget_alone_is_none() {
        let (mut state, now) = (ClusterState::new(ClusterInfo::default()), Stamp(1_000_000));
        state.apply(seen(&[objective("shop", "a", 0.0012, &[3 * 86_400, 21_600], now)], now), now);
        let cluster = state.publish(now, false).unwrap();
        assert_eq!(
            lines(&cluster).iter().map(|l| (l.0, l.1)).collect::<Vec<_>>(),
            [(FindingCode::SloBurn, Severity::Warning)]
        );
        state.apply(seen(&[objective("shop", "a", 0.002, &[MONTH], now)], now), now);
        let cluster = state.publish(now, false).unwrap();
        assert_eq!(lines(&cluster), []);
        assert_eq!(cluster.slos("shop", "a").next().unwrap().verdict.state, SloState::Spent);
    }
}
