//! Jobs that failed, CronJobs that missed their schedule, pods that failed or were evicted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::cronjob::CronJob;
use crate::domain::id::{Kind, Name, ObjectRef, Owner, Uid};
use crate::domain::node::{Condition, Status};
use crate::domain::pod::{Phase, Pod, Trouble};
use crate::domain::time::Stamp;
use crate::domain::workload::Workload;
use crate::facts::world::{Cause, Course, Kin, Reach, Severity};
use crate::policy::cron::Schedule;

use super::pods::evidence;
use super::{Scene, brief, count, title_of};

/// A failure that is older than a day is history: it is shown, but nobody has to get up for it.
const HISTORY_SECS: u64 = 86_400;

fn failure(job: &Workload) -> Option<&Condition> {
    job.condition("Failed").or_else(|| job.condition("FailureTarget")).filter(|c| c.status == Status::True)
}

fn succeeded(job: &Workload) -> bool {
    job.condition("Complete").is_some_and(|c| c.status == Status::True)
}

/// How old a failure is.
fn severity(scene: &Scene<'_, '_>, since: Option<Stamp>) -> Severity {
    let old = since.is_some_and(|since| scene.now.secs_since(since) >= HISTORY_SECS);
    if old { Severity::Info } else { Severity::Warning }
}

/// Jobs that failed, one line for those of a CronJob: only those after its newest Job that succeeded.
pub fn job_failed(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let jobs = || scene.cluster.jobs.iter();
    let of_cron = |job: &Workload| job.owner.clone().filter(|owner| owner.kind == Kind::CronJob);
    // when the newest successful Job of an owner was created
    let mut good: HashMap<Uid, Stamp> = HashMap::new();
    for job in jobs().filter(|job| succeeded(job)) {
        if let Some(owner) = &job.owner {
            let newest = good.entry(owner.uid.clone()).or_default();
            *newest = job.created.max(*newest);
        }
    }
    let made_good = |owner: &Owner, job: &Workload| {
        let cronjob = scene.cluster.cronjobs.by_uid(&owner.uid);
        cronjob.is_some_and(|c| c.last_successful > Some(job.created))
            || good.get(&owner.uid).is_some_and(|newest| *newest > job.created)
    };
    let mut groups: BTreeMap<ObjectRef, Vec<(&Arc<Workload>, &Condition)>> = BTreeMap::new();
    for job in jobs() {
        let Some(why) = failure(job) else { continue };
        let object = match of_cron(job) {
            Some(owner) if made_good(&owner, job) => continue,
            Some(owner) => ObjectRef::new(Kind::CronJob, &job.namespace, &owner.name, &owner.uid),
            None => job.reference(),
        };
        groups.entry(object).or_default().push((job, why));
    }
    groups
        .into_iter()
        .filter_map(|(object, mut failed)| {
            failed.sort_by_key(|(job, _)| std::cmp::Reverse(job.created));
            let (newest, why) = *failed.first()?;
            let what = match (&object.kind, failed.len()) {
                (Kind::CronJob, 1) => format!("CronJob {}: job {} failed", title_of(&object), newest.name),
                (Kind::CronJob, n) => format!("CronJob {}: its last {n} jobs failed", title_of(&object)),
                _ => format!("job {} failed", title_of(&object)),
            };
            Some(Cause {
                rule: "job-failed",
                severity: severity(scene, why.since),
                title: format!("{what}: {}: {}", why.reason, brief(&why.message)),
                since: failed.iter().filter_map(|(_, why)| why.since).min(),
                evidence: failed
                    .iter()
                    .take(5)
                    .map(|(job, why)| {
                        let (good, of) = (job.succeeded, job.desired);
                        format!(
                            "job {}: {}: {}; {good} of {of} completed, {} failed",
                            job.name,
                            why.reason,
                            why.message,
                            count(u32::try_from(job.failed).unwrap_or(0), "pod")
                        )
                    })
                    .collect(),
                action: None,
                reach: Reach { pods: u32::try_from(newest.failed).unwrap_or(0), ..Reach::default() },
                objects: {
                    let jobs = failed.iter().map(|(job, _)| job.reference()).filter(|job| *job != object);
                    let mut objects: Vec<ObjectRef> = jobs.collect();
                    objects.insert(0, object);
                    objects
                },
                kin: Kin::default(),
                course: Course::default(),
            })
        })
        .collect()
}

/// A pod that no controller replaces.
pub fn pod_failed(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let failed = scene.bad.values().filter(|pod| {
        pod.phase == Phase::Failed
            && pod.owner.is_none()
            && pod.trouble != Some(Trouble::Evicted)
            && !pod.is_terminating()
    });
    failed
        .map(|pod| {
            let object = ObjectRef::new(Kind::Pod, &pod.namespace, &pod.name, &pod.uid);
            let ended = pod.last_exit.as_ref().and_then(|exit| exit.at);
            let exit = pod.last_exit.as_ref().map_or_else(String::new, |exit| {
                format!(", {} exited {} ({})", exit.container, exit.code, exit.reason)
            });
            Cause {
                rule: "pod-failed",
                severity: severity(scene, ended.or(Some(pod.created))),
                title: format!(
                    "pod {} failed: {}{exit}; no controller replaces it",
                    title_of(&object),
                    pod.status
                ),
                since: ended,
                evidence: evidence(std::slice::from_ref(pod), scene.now),
                action: None,
                reach: Reach { pods: 1, ..Reach::default() },
                objects: vec![object],
                kin: Kin::default(),
                course: Course::default(),
            }
        })
        .collect()
}

/// Pods that a kubelet evicted stay until somebody deletes them. Their controllers have made others; the pressure
/// itself is the node's finding.
pub fn evicted(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let mut of: BTreeMap<&Name, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in scene.bad.values().filter(|pod| pod.trouble == Some(Trouble::Evicted)) {
        of.entry(&pod.namespace).or_default().push(pod);
    }
    of.into_iter()
        .map(|(namespace, mut pods)| {
            pods.sort_by(|a, b| a.name.cmp(&b.name));
            let all: Vec<Arc<Pod>> = pods.iter().map(|pod| Arc::clone(pod)).collect();
            Cause {
                rule: "evicted",
                severity: Severity::Info,
                title: format!("{namespace}: {} left behind by evictions", count(pods.len() as u64, "pod")),
                since: pods.iter().map(|pod| pod.started.unwrap_or(pod.created)).min(),
                evidence: evidence(&all, scene.now),
                action: None,
                reach: Reach { pods: u32::try_from(pods.len()).unwrap_or(u32::MAX), ..Reach::default() },
                objects: [ObjectRef::new(Kind::Namespace, &Name::default(), namespace, &Uid::default())]
                    .into_iter()
                    .chain(pods.iter().map(|p| ObjectRef::new(Kind::Pod, &p.namespace, &p.name, &p.uid)))
                    .collect(),
                kin: Kin::default(),
                course: Course::default(),
            }
        })
        .collect()
}

/// The controller makes a Job within seconds of its time.
const LATE_SECS: u64 = 40;
/// With `concurrencyPolicy: Forbid` a Job that still runs suppresses the next ones on purpose: it is reported only after
/// this many.
const FORBIDDEN_TIMES: u64 = 3;
/// By how much a time zone may move its clock in summer.
const SUMMER_TIME_SECS: u64 = 3_600;

/// When a Job is overdue.
///
/// The time zone of a schedule is known where it says UTC, and does not matter where every hour is the same; for any
/// other only the longest gap between two of its times is certain.
fn overdue(cronjob: &CronJob, now: Stamp) -> Option<Stamp> {
    let schedule = Schedule::parse(&cronjob.schedule)?;
    let base = cronjob.last_scheduled.unwrap_or(cronjob.created);
    // a schedule that was changed, or resumed, since counts from then
    let base = cronjob.changed.as_ref().map_or(base, |changed| changed.at.max(base));
    let is_utc = cronjob.time_zone.as_ref().is_some_and(|tz| matches!(tz.as_str(), "UTC" | "Etc/UTC"));
    // a controller half an hour off UTC shows it by the times that it used
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

/// CronJobs whose time has passed without a Job. Suspended ones are so on purpose.
pub fn cronjob_missed(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let rows = scene.cluster.cronjobs.iter().filter(|c| !c.suspended);
    rows.filter_map(|cronjob| {
        let due = overdue(cronjob, scene.now)?;
        let object = cronjob.reference();
        let last = cronjob
            .last_scheduled
            .map_or_else(|| "never run".to_owned(), |at| format!("last run {}", at.told(scene.now)));
        let warning = scene.said.warning(&cronjob.uid, scene.now.plus_secs(-3_600));
        let why = match warning {
            Some(event) => format!("{}: {}", event.reason, brief(&event.message)),
            None if cronjob.forbids && cronjob.active > 0 => {
                "its last job still runs, and concurrencyPolicy is Forbid".into()
            }
            None => "no event says why; is the CronJob controller running?".into(),
        };
        let zone = cronjob.time_zone.as_ref().map_or_else(String::new, |tz| format!(" {tz}"));
        Some(Cause {
            rule: "cronjob-missed",
            severity: Severity::Warning,
            title: format!("CronJob {} has missed its schedule, {last}: {why}", title_of(&object)),
            since: Some(due),
            evidence: vec![
                format!("schedule {}{zone}; due at {} at the latest", cronjob.schedule, due.told(scene.now)),
                format!(
                    "lastScheduleTime {}, active {}",
                    cronjob.last_scheduled.map_or_else(|| "none".to_owned(), |at| at.told(scene.now)),
                    cronjob.active
                ),
            ],
            action: None,
            reach: Reach::default(),
            objects: vec![object],
            kin: Kin::default(),
            course: Course::default(),
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
            // 03:00 UTC is 04:00 in Berlin: the next may be at 05:00 there, or an hour after the clock was moved
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
