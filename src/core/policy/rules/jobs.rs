//! Jobs that failed, CronJobs that missed their schedule, and pods that failed or were evicted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::cause::{Cause, Finding, Impact, Missed, Severity};
use crate::domain::cronjob::CronJob;
use crate::domain::id::{Kind, Name, ObjectRef, Owner, Uid};
use crate::domain::node::{Condition, Status};
use crate::domain::pod::{Phase, Pod, Trouble};
use crate::domain::text::count;
use crate::domain::time::Stamp;
use crate::domain::workload::Workload;
use crate::policy::cron::Schedule;

use super::RuleContext;
use super::pods::evidence;

/// A failure older than a day is only an info. It is shown, but nobody has to react to it at once.
const HISTORY_SECS: u64 = 86_400;

fn failure(job: &Workload) -> Option<&Condition> {
    job.condition("Failed").or_else(|| job.condition("FailureTarget")).filter(|c| c.status == Status::True)
}

fn succeeded(job: &Workload) -> bool {
    job.condition("Complete").is_some_and(|c| c.status == Status::True)
}

/// Returns the severity of a failure by its age.
fn severity(context: &RuleContext<'_, '_>, since: Option<Stamp>) -> Severity {
    let old = since.is_some_and(|since| context.now.secs_since(since) >= HISTORY_SECS);
    if old { Severity::Info } else { Severity::Warning }
}

/// Finds Jobs that failed. The Jobs of a CronJob share one line, and only those after its newest successful Job
/// count.
pub(super) fn job_failed(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let jobs = || context.cluster.jobs.iter();
    let of_cron = |job: &Workload| job.owner.clone().filter(|owner| owner.kind == Kind::CronJob);
    // The creation time of the newest successful Job of each owner.
    let mut good: HashMap<Uid, Stamp> = HashMap::new();
    for job in jobs().filter(|job| succeeded(job)) {
        if let Some(owner) = &job.owner {
            let newest = good.entry(owner.uid.clone()).or_default();
            *newest = job.created.max(*newest);
        }
    }
    let made_good = |owner: &Owner, job: &Workload| {
        let cronjob = context.cluster.cronjobs.by_uid(&owner.uid);
        cronjob.is_some_and(|c| c.last_successful > Some(job.created))
            || good.get(&owner.uid).is_some_and(|newest| *newest > job.created)
    };
    let mut groups: BTreeMap<ObjectRef, Vec<(&Arc<Workload>, &Condition)>> = BTreeMap::new();
    for job in jobs() {
        let Some(why) = failure(job) else { continue };
        let object = match of_cron(job) {
            Some(owner) if made_good(&owner, job) => continue,
            Some(owner) => context.cluster.object(Kind::CronJob, &job.namespace, &owner.name, &owner.uid),
            None => job.reference(context.cluster.id()),
        };
        groups.entry(object).or_default().push((job, why));
    }
    groups
        .into_iter()
        .filter_map(|(object, mut failed)| {
            failed.sort_by_key(|(job, _)| std::cmp::Reverse(job.created));
            let (newest, why) = *failed.first()?;
            let finding = Finding::JobFailed {
                failed: failed.len(),
                newest: newest.name.clone(),
                reason: why.reason.clone(),
                message: why.message.clone(),
            };
            let jobs = failed
                .iter()
                .map(|(job, _)| job.reference(context.cluster.id()))
                .filter(|job| *job != object);
            let objects = std::iter::once(object.clone()).chain(jobs).collect();
            let evidence = |(job, why): &(&Arc<Workload>, &Condition)| {
                let (good, of) = (job.succeeded, job.desired);
                let bad = count(u32::try_from(job.failed).unwrap_or(0), "pod");
                let (reason, message) = (&why.reason, &why.message);
                format!("job {}: {reason}: {message}; {good} of {of} completed, {bad} failed", job.name)
                    .into()
            };
            Some(Cause {
                since: failed.iter().filter_map(|(_, why)| why.since).min(),
                evidence: failed.iter().take(5).map(evidence).collect(),
                impact: Impact { pods: u32::try_from(newest.failed).unwrap_or(0), ..Impact::default() },
                ..Cause::new(finding, severity(context, why.since), objects)
            })
        })
        .collect()
}

/// Finds failed pods without a controller. Nothing replaces them.
pub(super) fn pod_failed(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let failed = context.bad.values().filter(|pod| {
        pod.phase == Phase::Failed
            && pod.owner.is_none()
            && pod.trouble != Some(Trouble::Evicted)
            && !pod.is_terminating()
    });
    failed
        .map(|pod| {
            let object = pod.reference(context.cluster.id());
            let ended = pod.last_exit.as_ref().and_then(|exit| exit.at);
            let exit = pod.last_exit.as_ref();
            let exit = exit.map(|exit| (exit.container.clone(), exit.code, exit.reason.clone()));
            let severity = severity(context, ended.or(Some(pod.created)));
            Cause {
                since: ended,
                evidence: evidence(std::slice::from_ref(pod), context.now),
                impact: Impact { pods: 1, ..Impact::default() },
                ..Cause::new(Finding::PodFailed { status: pod.status.clone(), exit }, severity, vec![object])
            }
        })
        .collect()
}

/// Finds pods that a kubelet evicted. They stay until they are deleted, although their controllers have created
/// replacements. The pressure itself is a finding about the node.
pub(super) fn evicted(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let mut of: BTreeMap<&Name, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in context.bad.values().filter(|pod| pod.trouble == Some(Trouble::Evicted)) {
        of.entry(&pod.namespace).or_default().push(pod);
    }
    of.into_iter()
        .map(|(namespace, mut pods)| {
            pods.sort_by(|a, b| a.name.cmp(&b.name));
            let all: Vec<Arc<Pod>> = pods.iter().map(|pod| Arc::clone(pod)).collect();
            let count = u32::try_from(pods.len()).unwrap_or(u32::MAX);
            let objects =
                [context.cluster.object(Kind::Namespace, &Name::default(), namespace, &Uid::default())]
                    .into_iter()
                    .chain(pods.iter().map(|p| p.reference(context.cluster.id())))
                    .collect();
            Cause {
                since: pods.iter().map(|pod| pod.started.unwrap_or(pod.created)).min(),
                evidence: evidence(&all, context.now),
                impact: Impact { pods: count, ..Impact::default() },
                ..Cause::new(Finding::Evicted { pods: count }, Severity::Info, objects)
            }
        })
        .collect()
}

/// The controller creates a Job within seconds of its scheduled time.
const LATE_SECS: u64 = 40;
/// With `concurrencyPolicy: Forbid`, a running Job suppresses the next ones on purpose. It is reported after this
/// many scheduled times.
const FORBIDDEN_TIMES: u64 = 3;
/// The change of the clock for summer time.
const SUMMER_TIME_SECS: u64 = 3_600;

/// Returns the time since which a Job is overdue.
///
/// The time zone is certain if the schedule says UTC, and it does not matter if every hour is the same. For other
/// schedules, only the longest gap between two scheduled times is certain.
fn overdue(cronjob: &CronJob, now: Stamp) -> Option<Stamp> {
    let schedule = Schedule::parse(&cronjob.schedule)?;
    let base = cronjob.last_scheduled.unwrap_or(cronjob.created);
    // If the schedule was changed or resumed, the time counts from then.
    let base = cronjob.changed.as_ref().map_or(base, |changed| changed.at.max(base));
    let is_utc = cronjob.time_zone.as_ref().is_some_and(|tz| matches!(tz.as_str(), "UTC" | "Etc/UTC"));
    // The last scheduled time shows if the controller's time zone differs from UTC by half an hour.
    let by_utc = |last: Stamp| schedule.next(last.plus_secs(-60)) == Some(last);
    let is_hourly =
        cronjob.time_zone.is_none() && schedule.is_hourly() && cronjob.last_scheduled.is_none_or(by_utc);
    let due = if is_utc || is_hourly {
        schedule.next(base)?
    } else {
        let gap = schedule.longest_gap(base)?;
        let slack = if gap > 2 * SUMMER_TIME_SECS { SUMMER_TIME_SECS } else { 0 };
        base.plus_secs(i64::try_from(gap + slack).ok()?)
    };
    let late = if cronjob.forbids && cronjob.active > 0 {
        let gap = schedule.longest_gap(base)?;
        gap.saturating_mul(FORBIDDEN_TIMES - 1).max(LATE_SECS)
    } else {
        LATE_SECS
    };
    (now.secs_since(due) >= late).then_some(due)
}

/// Finds CronJobs whose scheduled time has passed without a Job. Suspended CronJobs are skipped.
pub(super) fn cronjob_missed(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let rows = context.cluster.cronjobs.iter().filter(|c| !c.suspended);
    rows.filter_map(|cronjob| {
        let due = overdue(cronjob, context.now)?;
        let object = cronjob.reference(context.cluster.id());
        let last = cronjob.last_scheduled.map(|at| at.shown(context.now));
        let warning = context.events.warning(&cronjob.uid, context.now.plus_secs(-3_600));
        let why = match warning {
            Some(event) => Missed::Event { reason: event.reason.clone(), message: event.message.clone() },
            None if cronjob.forbids && cronjob.active > 0 => Missed::StillRuns,
            None => Missed::Unknown,
        };
        let zone = cronjob.time_zone.as_ref().map_or_else(String::new, |tz| format!(" {tz}"));
        let last_words = last.map_or_else(|| "none".to_owned(), |at| at.to_string());
        Some(Cause {
            since: Some(due),
            evidence: vec![
                format!(
                    "schedule {}{zone}; due at {} at the latest",
                    cronjob.schedule,
                    due.told(context.now)
                )
                .into(),
                format!("lastScheduleTime {last_words}, active {}", cronjob.active).into(),
            ],
            ..Cause::new(Finding::CronJobMissed { last, why }, Severity::Warning, vec![object])
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::node::ChangedBy;

    #[test]
    fn a_time_is_missed_only_where_that_is_certain() {
        let at = |text: &str| Stamp::parse(text).unwrap();
        let last = at("2026-01-01T03:00:00Z");
        let of = |schedule: &str, zone: Option<&str>| CronJob {
            schedule: schedule.into(),
            time_zone: zone.map(Name::from),
            last_scheduled: Some(last),
            ..CronJob::default()
        };
        for (schedule, zone, now, is_late) in [
            ("*/5 * * * *", None, "2026-01-01T03:05:30Z", false),
            ("*/5 * * * *", None, "2026-01-01T03:05:45Z", true),
            ("*/5 * * * *", Some("Asia/Kathmandu"), "2026-01-01T03:05:45Z", true),
            ("0 3 * * *", Some("UTC"), "2026-01-02T03:00:30Z", false),
            ("0 3 * * *", Some("UTC"), "2026-01-02T03:01:00Z", true),
            // 03:00 UTC is 04:00 in Berlin. The next run may be at 05:00 there, or an hour later after a clock
            // change.
            ("0 4,5 * * *", Some("Europe/Berlin"), "2026-01-01T04:30:00Z", false),
            ("0 4 * * *", Some("Europe/Berlin"), "2026-01-02T03:30:00Z", false),
            ("0 4 * * *", Some("Europe/Berlin"), "2026-01-02T04:01:00Z", true),
            ("0 3 * * *", None, "2026-01-02T03:30:00Z", false),
            ("@every 1m", None, "2026-01-02T03:30:00Z", false),
        ] {
            assert_eq!(overdue(&of(schedule, zone), at(now)).is_some(), is_late, "{schedule} {zone:?} {now}");
        }
        let mut half = of("0 * * * *", None);
        half.last_scheduled = Some(at("2026-01-01T02:30:00Z"));
        assert_eq!(overdue(&half, at("2026-01-01T03:05:00Z")), None, "a controller at +05:30");
        assert!(overdue(&half, at("2026-01-01T03:31:00Z")).is_some());
        let now = at("2026-01-01T03:20:00Z");
        let mut one = of("*/5 * * * *", None);
        one.changed = Some(ChangedBy { manager: "kubectl".into(), at: at("2026-01-01T03:19:00Z") });
        assert_eq!(overdue(&one, now), None, "resumed a minute ago");
        let mut one = of("*/5 * * * *", None);
        (one.forbids, one.active) = (true, 1);
        assert_eq!(overdue(&one, at("2026-01-01T03:12:00Z")), None, "the one before still runs");
        assert!(overdue(&one, now).is_some(), "and has cost three times");
    }
}
