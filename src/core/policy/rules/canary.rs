//! Services of which the newer version is worse than the version beside it.

use crate::domain::cause::{Cause, Evidence, Finding, Impact, Remediation, Severity, Suggestion};
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::kinds::Purpose;
use crate::domain::log::Level;
use crate::domain::route::Host;
use crate::domain::traffic::{GRAVE_ERRORS, Worse};
use crate::facts::world::TrafficRow;
use crate::policy::slices::{By, Canary, Compared, Slice, has_versions, slices};

use super::RuleContext;

/// The minimum number of requests of each version in the window. Fewer do not prove a problem.
const ENOUGH: f64 = 50.0;
/// The errors stay worse until the newer version has less than this ratio, so that the finding does not flicker …
const GOOD_RATIO: f64 = 0.005;
/// … or less than this many times the ratio of the other version.
const STILL_TIMES: f64 = 1.25;
/// A slower version is a finding if its p95 is this many times that of the other version …
const SLOWER: f64 = 2.0;
/// … and later by at least this much. Smaller differences are normal between a few pods and many.
const LATER_MS: f64 = 50.0;
/// The p95 stays worse until both are less than this part of their limits.
const STILL_SLOWER: f64 = 0.75;

/// Finds newer versions that are worse than the version beside them.
pub(super) fn worse(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let rows = context.cluster.derived.traffic.iter();
    rows.filter(|row| has_versions(context.pod, row)).filter_map(|row| judge(context, row)).collect()
}

fn judge(context: &RuleContext<'_, '_>, row: &TrafficRow) -> Option<Cause> {
    let s = &row.traffic;
    let all = slices(context.cluster, row, By::Version);
    let canary = all.canary.as_ref()?;
    let of = |name: &Name| all.slices.iter().find(|slice| slice.name.as_ref() == Some(name));
    let (new, old) = (of(&canary.canary)?, of(&canary.stable)?);
    // A version that is out of rotation gets nothing new. What is measured of it is from before.
    let requests = |slice: &Slice| slice.rps.unwrap_or(0.0) * f64::from(s.window_secs);
    if [new, old].iter().any(|slice| slice.ready == Some(0) || requests(slice) < ENOUGH) {
        return None;
    }
    // The errors of pods on a dead node are those of the node.
    let pods = context.pods_in(&s.namespace);
    let pods_of = |slice: &Slice| {
        pods.iter().copied().filter(|pod| slice.backends.contains(&pod.name)).collect::<Vec<_>>()
    };
    let (new_pods, old_pods) = (pods_of(new), pods_of(old));
    if new_pods.iter().any(|pod| context.is_on_dead_node(pod)) {
        return None;
    }
    let object = context.cluster.object(Kind::Service, &s.namespace, &s.name, &Uid::default());
    let held = context.before.iter().find_map(|cause| match &cause.finding {
        Finding::CanaryWorse { canary: name, by, .. }
            if cause.object() == Some(&object) && *name == canary.canary =>
        {
            Some(*by)
        }
        _ => None,
    });
    let held = held.unwrap_or_default();
    let by = Worse {
        errors: errors(canary, (new, old), held.errors.is_some()),
        p95_ms: latency(canary, held.p95_ms.is_some()),
    };
    if by == Worse::default() {
        return None;
    }
    let severity = match (by.errors, s.error_ratio) {
        (Some(_), Some(ratio)) if ratio >= GRAVE_ERRORS => Severity::Critical,
        (Some(_), _) => Severity::Warning,
        (None, _) => Severity::Info,
    };
    let owner = |pods: &[&std::sync::Arc<crate::domain::pod::Pod>]| {
        pods.iter().find_map(|pod| context.cluster.top_owner(pod))
    };
    let workload = owner(&new_pods).and_then(|(kind, name)| {
        let workload = context.cluster.workload(&kind, &s.namespace, &name)?;
        Some(workload.reference(context.cluster.id()))
    });
    let action = if is_split(context, row, new, old) {
        Some(Suggestion { what: Remediation::ShiftWeight, on: object.clone() })
    } else {
        // A workload of its own may have no older revision.
        let is_rollout = owner(&new_pods) == owner(&old_pods);
        let revertible = workload.clone().filter(|on| is_rollout && on.kind.takes(Purpose::Restart));
        revertible.map(|on| Suggestion { what: Remediation::RollBack, on })
    };
    let mut evidence: Vec<Evidence> = Vec::new();
    evidence.extend(workload.as_ref().and_then(|workload| own_errors(context, workload, &canary.canary)));
    evidence.extend([new, old].map(|slice| Evidence::from(figures(slice))));
    evidence.push(format!("measured by {} over {} s", s.preset, s.window_secs).into());
    Some(Cause {
        evidence,
        action,
        impact: Impact {
            services: 1,
            pods: u32::try_from(new.backends.len()).unwrap_or(u32::MAX),
            error_ratio: by.errors.and(s.error_ratio),
            ..Impact::default()
        },
        ..Cause::new(
            Finding::CanaryWorse { canary: canary.canary.clone(), stable: canary.stable.clone(), by },
            severity,
            [object].into_iter().chain(workload).collect(),
        )
    })
}

/// Returns the error ratios of both versions if those of the newer one are worse.
fn errors(canary: &Canary, (new, old): (&Slice, &Slice), held: bool) -> Option<(f64, f64)> {
    if let Compared::Worse { canary, stable } = canary.errors {
        return Some((canary, stable));
    }
    let (new, old) = (new.error_ratio?, old.error_ratio?);
    (held && new >= GOOD_RATIO && new >= old * STILL_TIMES).then_some((new, old))
}

/// Returns the p95 of both versions if that of the newer one is much worse.
fn latency(canary: &Canary, held: bool) -> Option<(f64, f64)> {
    let Compared::Worse { canary, stable } = canary.latency else { return None };
    let part = if held { STILL_SLOWER } else { 1.0 };
    (canary >= stable * SLOWER * part && canary >= stable + LATER_MS * part).then_some((canary, stable))
}

/// Returns true if a route gives each of both versions a weight of its own that a plan can change.
fn is_split(context: &RuleContext<'_, '_>, row: &TrafficRow, new: &Slice, old: &Slice) -> bool {
    let host = Host { namespace: row.traffic.namespace.clone(), name: row.traffic.name.clone() };
    let [own, ..] = context.cluster.derived.routes.about(&host);
    let has_plans = own.and_then(|about| about.splits.first()).is_some_and(|split| split.shiftable);
    let part = |slice: &Slice| {
        let has_one = |part: &&crate::domain::traffic::Part| {
            part.backends.iter().any(|backend| slice.backends.contains(backend))
        };
        row.balancing.split.iter().find(has_one).map(|part| &part.name)
    };
    has_plans && part(new).zip(part(old)).is_some_and(|(new, old)| new != old)
}

/// Returns the most frequent error that only this version logs.
fn own_errors(context: &RuleContext<'_, '_>, workload: &ObjectRef, version: &Name) -> Option<Evidence> {
    let name = format!("{}/{}", workload.namespace, workload.name);
    let own = context.cluster.logs.groups.iter().filter(|group| {
        group.level >= Level::Error
            && !group.has_stopped(context.now)
            && matches!(&*group.workloads, [one] if *one == name.as_str())
            && matches!(&*group.versions, [one] if one == version)
    });
    let worst = own.max_by_key(|group| group.count)?;
    Some(format!("only {version} logs, {:.0}/min: {}", worst.per_minute, worst.template).into())
}

/// Describes the traffic of a version.
fn figures(slice: &Slice) -> String {
    let name = slice.name.as_deref().unwrap_or_default();
    let errors =
        slice.error_ratio.map_or("errors unknown".into(), |ratio| format!("{:.1}% errors", ratio * 100.0));
    let p95 = slice.p95_ms.map_or_else(String::new, |ms| format!(", highest p95 {ms:.0} ms"));
    let (rps, backends) = (slice.rps.unwrap_or(0.0), slice.backends.len());
    format!(
        "{name}: {errors} at {rps:.1} rps{p95}, {}",
        crate::domain::text::count(backends as u64, "backend")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::domain::time::Stamp;
    use crate::domain::traffic::ServiceTraffic;
    use crate::facts::events_about::EventsAbout;
    use crate::facts::latency::Latency;
    use crate::policy::rules::Index;
    use crate::policy::slices::{FOUR, Given, given};

    /// Runs the rule. `ratio` is the error ratio of the whole Service.
    fn found(backends: &[Given<'_>], ratio: f64, before: &[Cause]) -> Vec<Cause> {
        in_context(backends, ratio, before, worse)
    }

    fn in_context(
        backends: &[Given<'_>],
        ratio: f64,
        before: &[Cause],
        find: impl Fn(&RuleContext<'_, '_>) -> Vec<Cause>,
    ) -> Vec<Cause> {
        let (mut cluster, mut row) = given(backends);
        let traffic = ServiceTraffic {
            rps: Some(100.0),
            error_ratio: Some(ratio),
            ..ServiceTraffic::clone(&row.traffic)
        };
        row.traffic = Arc::new(traffic);
        cluster.derived.traffic = [Arc::new(row)].into();
        let none = HashMap::new();
        let context = RuleContext {
            cluster: &cluster,
            pod: &|uid| cluster.pods.by_uid(uid),
            bad: &none,
            unsettled: &none,
            apart: &none,
            events: &EventsAbout::default(),
            latency: &Latency::default(),
            now: Stamp(1_000_000),
            before,
            index: &Index::default(),
        };
        find(&context)
    }

    fn words(found: &[Cause]) -> Vec<String> {
        found.iter().map(|cause| format!("{:?} {cause}", cause.severity)).collect()
    }

    fn with(rps: f64, errors: f64, p95: f64) -> [Given<'static>; 4] {
        let mut backends = FOUR;
        for pod in &mut backends[2..] {
            (pod.1, pod.2, pod.3) = (rps, errors, p95);
        }
        backends
    }

    #[test]
    fn a_newer_version_with_more_errors_is_found() {
        let bad = with(10.0, 0.066, 20.0);
        let text = "shop/web: 2 is worse than 1: errors 6.6 % against 0 %";
        assert_eq!(words(&found(&bad, 0.007, &[])), [format!("Warning {text}")]);
        assert_eq!(words(&found(&bad, 0.06, &[])), [format!("Critical {text}")]);
        let mut same = bad;
        for pod in &mut same {
            (pod.4, pod.5) = ("web:1", "h1");
        }
        assert!(found(&same, 0.007, &[]).is_empty(), "one version");
    }

    #[test]
    fn a_version_that_is_new_is_not_judged_by_few_requests() {
        assert!(found(&with(0.3, 0.5, 20.0), 0.01, &[]).is_empty());
        assert!(found(&with(10.0, 0.002, 20.0), 0.001, &[]).is_empty(), "not worse");
    }

    #[test]
    fn a_version_that_is_only_slower_is_an_info() {
        let text = "Info shop/web: 2 is worse than 1: p95 80 ms against 25 ms";
        assert_eq!(words(&found(&with(10.0, 0.0, 80.0), 0.0, &[])), [text]);
        assert!(found(&with(10.0, 0.0, 60.0), 0.0, &[]).is_empty(), "less than 50 ms later");
    }

    #[test]
    fn it_is_told_once_beside_the_errors_of_its_service() {
        let bad = with(10.0, 0.2, 20.0);
        let told = in_context(&bad, 0.04, &[], |context| {
            let mut found = worse(context);
            let on = found[0].objects[0].clone();
            found[0].action = Some(Suggestion { what: Remediation::ShiftWeight, on });
            found.extend(crate::policy::rules::errors::errors(&RuleContext { before: &[], ..*context }));
            crate::policy::rules::rank(context, found)
        });
        let codes: Vec<_> = told.iter().map(Cause::rule).collect();
        assert_eq!(codes, ["service-errors"], "{told:?}");
        assert!(told[0].included().iter().any(|(code, _)| code.as_str() == "canary-worse"));
        assert_eq!(told[0].action.as_ref().map(|a| &a.what), Some(&Remediation::ShiftWeight));
        assert_eq!(told[0].impact.services, 1);
    }

    #[test]
    fn it_ends_at_a_lower_limit_than_it_begins() {
        // Less than half a point more is no finding by itself.
        let mut few = with(5.0, 0.008, 20.0);
        few[..2].iter_mut().for_each(|pod| pod.2 = 0.004);
        assert!(found(&few, 0.001, &[]).is_empty());
        let before = found(&with(10.0, 0.066, 20.0), 0.007, &[]);
        assert_eq!(found(&few, 0.001, &before).len(), 1);
        assert!(found(&with(5.0, 0.003, 20.0), 0.001, &before).is_empty());
    }
}
