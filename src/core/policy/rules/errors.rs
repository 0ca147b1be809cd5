//! Rules about errors: error responses of Services, and new errors in logs since a rollout.

use std::sync::Arc;

use crate::domain::cause::{
    Cause, Culprit, Evidence, Finding, FirstSeen, Gains, Impact, Release, Remediation, Severity, Suggestion,
};
use crate::domain::change::Moved;
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::log::{ErrorGroup, Level};
use crate::domain::time::Stamp;
use crate::domain::traffic::{BAD_ERRORS, BackendTraffic, GRAVE_ERRORS, ServiceTraffic};
use crate::facts::world::{Change, ChangeKind, Cluster, TrafficRow};

use super::RuleContext;
use super::pods::revertible;

/// The minimum number of requests in the window. Fewer do not prove a problem.
const ENOUGH: f64 = 20.0;
/// A finding ends only below this ratio, so that it does not flicker near the threshold.
const GOOD_RATIO: f64 = 0.005;
/// A critical finding becomes a warning only below this ratio, so that it does not flicker.
const STILL_GRAVE: f64 = 0.04;
/// A single backend that fails at this ratio is a finding, even if it serves a small part of the Service …
const FAILING_RATIO: f64 = 0.1;
/// … if it has failed this many requests in the window.
const FAILED: f64 = 20.0;

pub(super) fn errors(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let services = context.cluster.derived.traffic.iter().filter_map(|row| {
        let s = &row.traffic;
        let (rps, ratio) = (s.rps?, s.error_ratio?);
        let enough =
            rps * f64::from(s.window_secs) >= ENOUGH && ratio * rps * f64::from(s.window_secs) >= 3.0;
        let object = about(context, s);
        let is_held = context.was_found(&object);
        let held = is_held && ratio >= GOOD_RATIO;
        let found = held || enough && ratio >= BAD_ERRORS || has_failing(row, is_held);
        found.then_some((row, object, rps, ratio))
    });
    let services: Vec<_> = services.collect();
    // A proxy in front of a Service's pods counts the same errors again.
    let (proxies, services): (Vec<_>, Vec<_>) =
        services.iter().partition(|(row, ..)| services.iter().any(|(other, ..)| is_proxy_of(row, other)));
    services
        .into_iter()
        .map(|(row, object, rps, ratio)| {
            let (s, rps, ratio) = (&row.traffic, *rps, *ratio);
            let before = || proxies.iter().filter(|(proxy, ..)| is_proxy_of(proxy, row));
            let worst = before().fold(ratio, |worst, (.., ratio)| worst.max(*ratio));
            let was_grave =
                context.before.iter().any(|c| c.severity == Severity::Critical && c.object() == Some(object));
            let grave = worst >= if was_grave { STILL_GRAVE } else { GRAVE_ERRORS };
            let (asked, gone) = asked(row);
            let is_bad = |b: &&BackendTraffic| b.error_ratio.is_some_and(|r| r >= BAD_ERRORS);
            // Errors of pods that are already out of rotation stop without an action.
            let passing = !asked.is_empty() && !asked.iter().any(is_bad) && gone.iter().any(is_bad);
            let asked = if passing { gone } else { asked };
            let mut bad: Vec<_> = asked.iter().copied().filter(is_bad).collect();
            bad.sort_by(|a, b| b.error_ratio.unwrap_or(0.0).total_cmp(&a.error_ratio.unwrap_or(0.0)));
            let alone = alone(&asked, &bad).filter(|_| !passing);
            // If only one backend fails and only one pod logs the error, the backend is at fault, not the release.
            let release = release_behind(context, s).filter(|r| alone.is_none() || r.group.pod_count > 1);
            let who = match (alone, bad.len()) {
                _ if passing => Culprit::OutOfRotation,
                (Some(one), _) => Culprit::Backend(one.name.clone()),
                // If the ratios of the bad backends are close to those of the others, all backends are affected.
                (None, some) if some > 0 && some < asked.len() && stands_out(&asked, &bad) => {
                    Culprit::Some { bad: some, of: asked.len() }
                }
                _ => Culprit::All,
            };
            // The origin of the errors comes first in the evidence, because it says more than the backends.
            let mut evidence: Vec<Evidence> = Vec::new();
            match (&release, alone) {
                (Some(release), _) => evidence.extend(release.evidence(context.now)),
                (None, Some(one)) => evidence.extend(own_errors(context, s, &one.name)),
                (None, None) => {}
            }
            evidence.extend(bad.iter().map(|b| {
                let (ratio, rps) = (b.error_ratio.unwrap_or(0.0) * 100.0, b.rps.unwrap_or(0.0));
                format!("backend {}: {ratio:.1}% errors at {rps:.1} rps", b.name).into()
            }));
            evidence.push(measured_by(s).into());
            evidence.extend(before().map(|(proxy, _, rps, ratio)| {
                let (name, ratio) = (&proxy.traffic.name, ratio * 100.0);
                let by = measured_by(&proxy.traffic);
                format!("proxy {name}: {ratio:.1}% errors at {rps:.0} rps, {by}").into()
            }));
            let severity = if grave && !passing { Severity::Critical } else { Severity::Warning };
            let objects = [object.clone()].into_iter().chain(release.iter().map(|r| r.change.object.clone()));
            let finding =
                Finding::ServiceErrors { ratio, rps, release: release.as_ref().map(NewErrors::release), who };
            Cause {
                since: release.as_ref().map(|r| r.group.first),
                evidence,
                action: match (&release, alone) {
                    (Some(release), _) => revertible(&release.change.object),
                    (None, Some(one)) => removable(context, s, &one.name),
                    (None, None) => None,
                },
                impact: Impact {
                    services: 1,
                    pods: u32::try_from(bad.len()).unwrap_or(u32::MAX),
                    error_ratio: Some(ratio),
                    ..Impact::default()
                },
                ..Cause::new(finding, severity, objects.collect())
            }
        })
        .collect()
}

fn measured_by(service: &ServiceTraffic) -> String {
    format!("measured by {} over {} s", service.preset, service.window_secs)
}

/// Returns true if exactly one backend in rotation fails badly. For a finding that is already `held`, half of the
/// limits is enough.
fn has_failing(row: &TrafficRow, held: bool) -> bool {
    let service = &row.traffic;
    let window = f64::from(service.window_secs);
    let least = if held { 0.5 } else { 1.0 };
    let fails = |b: &&BackendTraffic| {
        let (ratio, rps) = (b.error_ratio.unwrap_or(0.0), b.rps.unwrap_or(0.0));
        ratio >= FAILING_RATIO * least && ratio * rps * window >= FAILED * least
    };
    let one = match service.backends.iter().filter(fails).collect::<Vec<_>>().as_slice() {
        [one] => *one,
        _ => return false,
    };
    let (asked, _) = asked(row);
    asked.iter().any(|b| b.name == one.name) && asked.len() > 1 && stands_out(&asked, &[one])
}

/// Returns the error that only this pod logs.
fn own_errors(context: &RuleContext<'_, '_>, service: &ServiceTraffic, backend: &Name) -> Option<Evidence> {
    let pod = format!("{}/{backend}", service.namespace);
    let only_it = |group: &&Arc<ErrorGroup>| {
        group.level >= Level::Error
            && !group.has_stopped(context.now)
            && matches!(&*group.pods, [one] if *one == pod.as_str())
    };
    let worst = context.cluster.logs.groups.iter().filter(only_it).max_by_key(|group| group.count)?;
    Some(format!("only {backend} logs, {:.0}/min: {}", worst.per_minute, worst.template).into())
}

/// Returns true if the proxy counts requests to pods of this Service only.
fn is_proxy_of(proxy: &TrafficRow, service: &TrafficRow) -> bool {
    let (proxy, service) = (&proxy.traffic, &service.traffic);
    let same = |b: &BackendTraffic| service.backends.iter().any(|other| other.name == b.name);
    proxy.namespace.is_empty()
        && !service.namespace.is_empty()
        && !proxy.backends.is_empty()
        && proxy.backends.iter().all(same)
}

/// Returns the backends of a Service: those in rotation, and those out of rotation.
fn asked(row: &TrafficRow) -> (Vec<&BackendTraffic>, Vec<&BackendTraffic>) {
    let (gone, asked): (Vec<_>, Vec<_>) = row.backends().partition(|(_, share)| share.out);
    let only = |of: Vec<_>| of.into_iter().map(|(backend, _)| backend).collect();
    (only(asked), only(gone))
}

/// Returns true if the bad backends have at least three times the error ratio of every other one.
fn stands_out(asked: &[&BackendTraffic], bad: &[&BackendTraffic]) -> bool {
    let ratio = |b: &BackendTraffic| b.error_ratio.unwrap_or(0.0);
    let least = bad.iter().map(|b| ratio(b)).fold(f64::INFINITY, f64::min);
    let others = asked.iter().filter(|b| !bad.iter().any(|one| one.name == b.name));
    others.map(|b| ratio(b)).all(|other| other * 3.0 <= least)
}

/// Returns the single backend that is at fault.
fn alone<'b>(asked: &[&BackendTraffic], bad: &[&'b BackendTraffic]) -> Option<&'b BackendTraffic> {
    let [one] = bad else { return None };
    (asked.len() > 1 && stands_out(asked, bad)).then_some(*one)
}

/// A backend that gets this many times its share is a finding. It is a warning if its responses are slower by the
/// same factor.
const UNEVEN: f64 = 2.0;
/// The finding ends only below this factor, so that it does not flicker.
const STILL_UNEVEN: f64 = 1.5;
/// Faster responses are not late, even if other backends are much faster.
const LATE_MS: f64 = 50.0;

/// A backend that significantly gets more than its share, both 0..1.
struct Burden<'s> {
    backend: &'s BackendTraffic,
    observed: f64,
    expected: f64,
    /// True if it gets several times its share …
    heavy: bool,
    /// … and its responses are late.
    late: bool,
}

/// Returns the p95 of a backend, or its mean response time if the source has no quantiles.
fn time(backend: &BackendTraffic) -> Option<f64> {
    backend.p95_ms.or(backend.mean_ms)
}

/// Finds load balancers that send a backend several times its share. It is a warning if the backend's responses are
/// late, and otherwise an info.
pub(super) fn uneven(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let services = context.cluster.derived.traffic.iter().filter_map(|row| {
        let s = &row.traffic;
        if !row.shares.backends.iter().any(|share| share.significant == Some(true)) {
            return None;
        }
        let times = if context.was_found(&about(context, s)) { STILL_UNEVEN } else { UNEVEN };
        let mut late: Vec<f64> = s.backends.iter().filter_map(time).collect();
        late.sort_by(f64::total_cmp);
        // Without any response times, none is late.
        let usual = late.get(late.len() / 2).copied();
        let is_late = |ms: f64| ms >= LATE_MS && usual.is_some_and(|usual| ms >= usual * times);
        let (mut burdened, mut gets): (Vec<Burden<'_>>, Vec<f64>) = (Vec::new(), Vec::new());
        for (backend, share) in row.backends().filter(|(_, share)| !share.out) {
            // Under least connections, the policy explains shares up to the highest one.
            let highest = share.range.map(|(_, high)| high).filter(|e| *e > 0.0);
            let (Some(observed), Some(expected)) = (share.observed, highest) else { continue };
            gets.push(observed / expected);
            if share.significant == Some(true) && observed > expected {
                let heavy = observed >= expected * times;
                let late = heavy && time(backend).is_some_and(is_late);
                burdened.push(Burden { backend, observed, expected, heavy, late });
            }
        }
        // A backend that gets several times as much as most backends is named too, even if its responses are not late
        // yet.
        gets.sort_by(f64::total_cmp);
        let most = *gets.get(gets.len().saturating_sub(1) / 2)?;
        burdened.retain(|b| b.heavy || b.observed / b.expected >= most * UNEVEN);
        burdened.sort_by(|a, b| {
            let order = b.late.cmp(&a.late).then_with(|| b.observed.total_cmp(&a.observed));
            order.then_with(|| a.backend.name.cmp(&b.backend.name))
        });
        let all_settled = row.shares.backends.iter().all(|share| !share.new);
        burdened.iter().any(|b| b.heavy).then_some((s, usual, all_settled, burdened))
    });
    services
        .filter_map(|(s, usual, all_settled, burdened)| {
            let first = burdened.first()?;
            let about_it = about(context, s);
            let was = context.before.iter().find(|b| b.object() == Some(&about_it)).map(|b| b.severity);
            let finding = Finding::TrafficUneven {
                gains: burdened
                    .iter()
                    .map(|b| Gains { backend: b.backend.name.clone(), share: b.observed })
                    .collect(),
                expected: first.expected,
                all_settled,
            };
            // A warning stays a warning until the share is normal again.
            let severity = if first.late { Severity::Warning } else { was.unwrap_or(Severity::Info) };
            let late = |b: &Burden<'_>| {
                let (name, which) =
                    (&b.backend.name, if b.backend.p95_ms.is_some() { "p95" } else { "mean time" });
                let (ms, usual) = time(b.backend).zip(usual)?;
                Some(format!("{which} of {name}: {ms:.0} ms, of the others about {usual:.0} ms"))
            };
            Some(Cause {
                evidence: burdened
                    .iter()
                    .filter_map(late)
                    .chain([measured_by(s)])
                    .map(Evidence::from)
                    .collect(),
                // The other backends take over its share until the load balancer is fixed.
                action: removable(context, s, &first.backend.name),
                impact: Impact {
                    services: 1,
                    pods: u32::try_from(burdened.len()).unwrap_or(u32::MAX),
                    ..Impact::default()
                },
                ..Cause::new(finding, severity, vec![about_it])
            })
        })
        .collect()
}

/// Suggests to take the one bad backend out of its Service. A pod of a StatefulSet is not suggested, because no other
/// pod can have its name.
fn removable(context: &RuleContext<'_, '_>, service: &ServiceTraffic, backend: &Name) -> Option<Suggestion> {
    let pod = context.cluster.pod(&service.namespace, backend)?;
    let stays = pod.owner.as_ref().is_some_and(|o| o.kind == Kind::StatefulSet);
    (!stays).then(|| Suggestion {
        what: Remediation::OutOfRotation { service: service.name.clone() },
        on: pod.reference(context.cluster.id()),
    })
}

fn about(context: &RuleContext<'_, '_>, service: &ServiceTraffic) -> ObjectRef {
    context.cluster.object(Kind::Service, &service.namespace, &service.name, &Uid::default())
}

/// An error belongs to a rollout if it was first seen within this time after it.
const AFTER_SECS: u64 = 600;

/// A rollout, and an error that was never seen before it.
struct NewErrors<'a> {
    change: &'a Change,
    moved: &'a Moved,
    group: &'a ErrorGroup,
}

impl NewErrors<'_> {
    fn release(&self) -> Release {
        let change = self.change;
        Release { moved: self.moved.clone(), workload: change.object.name.clone(), by: change.by.clone() }
    }

    fn after_secs(&self) -> u64 {
        self.group.first.secs_since(self.change.at)
    }

    fn evidence(&self, now: Stamp) -> [Evidence; 3] {
        let (change, group) = (self.change, self.group);
        let by = change.by.as_ref().map_or("unknown", |by| by.as_str());
        [
            format!("{} at {} by {by}", change.kind, change.at.told(now)).into(),
            Evidence::FirstSeen(FirstSeen {
                after_secs: self.after_secs(),
                or_earlier: group.or_earlier,
                lines: group.count,
                per_minute: group.per_minute,
                pods: group.pod_count,
                template: group.template.clone(),
            }),
            format!("sample: {}", group.sample).into(),
        ]
    }
}

/// Returns the newest rollout of the workload that logs an error, if the error began after it. Returns `None` if
/// several workloads log the error.
fn release_of<'a>(context: &RuleContext<'_, 'a>, group: &'a ErrorGroup) -> Option<NewErrors<'a>> {
    let [workload] = &*group.workloads else { return None };
    let rollouts = || {
        let of_workload = context.cluster.derived.changes.iter().filter(|c| {
            workload.split_once('/') == Some((c.object.namespace.as_str(), c.object.name.as_str()))
        });
        of_workload.filter_map(|change| match &change.kind {
            ChangeKind::Rollout { moved, back } => Some((change, moved, *back)),
            _ => None,
        })
    };
    // After a rollback or a newer rollout, the older rollout is no longer the one to undo. A rollback must not be undone.
    let newest = rollouts().max_by_key(|(change, ..)| change.at).filter(|(.., back)| !back)?;
    // If a rollback was undone, the version is there again, and its errors began with its first rollout.
    let to = newest.1.tags().1;
    let is_same = |moved: &Moved| !to.is_empty() && moved.tags().1 == to;
    let first =
        rollouts().filter(|(_, moved, back)| !back && is_same(moved)).min_by_key(|(change, ..)| change.at);
    let (change, moved, _) = first.unwrap_or(newest);
    let after = group.first >= change.at && group.first.secs_since(change.at) <= AFTER_SECS;
    let goes_on = !group.has_stopped(context.now);
    let (from, _) = moved.tags();
    // If the previous version logs the error too, this rollout is not the cause.
    let shared = !from.is_empty() && group.versions.contains(&from);
    (after && goes_on && !shared).then_some(NewErrors { change, moved, group })
}

/// Returns the rollout and the error of a workload behind a Service. Of several errors, it is the most frequent one.
fn release_behind<'a>(context: &RuleContext<'_, 'a>, service: &ServiceTraffic) -> Option<NewErrors<'a>> {
    let row = context.services_in(&service.namespace).iter().find(|r| r.service.name == service.name)?;
    let selected = |object: &ObjectRef| {
        context.workload(&object.uid).is_some_and(|w| w.workload.may_have_pods_for(&row.service.selector))
    };
    let cluster: &'a Cluster = context.cluster;
    let releases = cluster.logs.groups.iter().filter_map(|group| release_of(context, group));
    releases
        .filter(|release| !row.service.selector.is_empty() && selected(&release.change.object))
        .max_by_key(|release| release.group.count)
}

/// Finds errors that were first seen within ten minutes after a rollout of the only workload that logs them.
pub(super) fn errors_since_rollout(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let releases = context.cluster.logs.groups.iter().filter_map(|group| release_of(context, group));
    releases
        .map(|release| {
            let (change, group) = (release.change, release.group);
            let finding = Finding::ErrorsSinceRollout {
                after_secs: release.after_secs(),
                or_earlier: group.or_earlier,
                moved: release.moved.clone(),
                template: group.template.clone(),
            };
            Cause {
                since: Some(group.first),
                evidence: release.evidence(context.now).to_vec(),
                action: revertible(&change.object),
                impact: Impact { services: 0, pods: group.pod_count, ..Impact::default() },
                ..Cause::new(finding, Severity::Warning, vec![change.object.clone()])
            }
        })
        .collect()
}
