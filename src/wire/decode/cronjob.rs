//! CronJobs.

use pilothouse_core::domain::cronjob::CronJob;
use pilothouse_core::domain::id::Kind;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Decode, Decoder, Meta, Pools, Text, pooled, read, single};
use crate::clock::Clock;
use crate::wire::list_watch::DecodeError;

#[derive(Default, Deserialize)]
#[serde(default)]
struct CronJobDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<CronJobSpec<'a>>,
    #[serde(borrow)]
    status: Option<CronJobStatus<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CronJobSpec<'a> {
    #[serde(borrow)]
    schedule: Text<'a>,
    #[serde(borrow)]
    time_zone: Text<'a>,
    suspend: Option<bool>,
    #[serde(borrow)]
    concurrency_policy: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CronJobStatus<'a> {
    active: Option<Vec<IgnoredAny>>,
    #[serde(borrow)]
    last_schedule_time: Text<'a>,
    #[serde(borrow)]
    last_successful_time: Text<'a>,
}

impl Decode for CronJob {
    fn decoder(_: &Kind, _: &Clock) -> Decoder<Self> {
        pooled(cronjob)
    }
}

/// A CronJob from its JSON.
pub fn cronjob(pools: &mut Pools, json: &[u8]) -> Result<CronJob, DecodeError> {
    let doc: CronJobDoc<'_> = read(json)?;
    let meta = &doc.metadata;
    meta.check("cronjob")?;
    let spec = doc.spec.unwrap_or_default();
    let status = doc.status.unwrap_or_default();
    Ok(CronJob {
        uid: meta.uid(),
        version: meta.version(),
        namespace: pools.name(&meta.namespace),
        name: single(&meta.name),
        created: meta.created(),
        schedule: pools.name(&spec.schedule),
        time_zone: pools.some(&spec.time_zone),
        suspended: spec.suspend.unwrap_or(false),
        forbids: &*spec.concurrency_policy == "Forbid",
        last_scheduled: status.last_schedule_time.stamp(),
        last_successful: status.last_successful_time.stamp(),
        active: u32::try_from(status.active.map_or(0, |a| a.len())).unwrap_or(u32::MAX),
        changed: pools.changed(meta, &["\"f:spec\""]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilothouse_core::domain::time::Stamp;

    #[test]
    fn what_is_judged() {
        let json = br#"{"metadata":{"name":"c","namespace":"n","uid":"u","creationTimestamp":"2026-01-01T00:00:00Z"},
            "spec":{"schedule":"0 3 * * *","timeZone":"Europe/Berlin","suspend":true,"concurrencyPolicy":"Forbid"},
            "status":{"active":[{"name":"c-1"}],"lastScheduleTime":"2026-01-02T03:00:00Z","lastSuccessfulTime":null}}"#;
        let cronjob = cronjob(&mut Pools::default(), json).unwrap();
        assert!(cronjob.suspended && cronjob.forbids && cronjob.active == 1);
        assert_eq!(
            (cronjob.schedule.as_str(), cronjob.time_zone.as_deref()),
            ("0 3 * * *", Some("Europe/Berlin"))
        );
        assert_eq!(
            (cronjob.last_scheduled, cronjob.last_successful),
            (Stamp::parse("2026-01-02T03:00:00Z"), None)
        );
    }

    #[test]
    fn nulls_never_fail() {
        let json = br#"{"metadata":{"name":"c","uid":"u"},"spec":null,"status":{"active":null}}"#;
        assert!(!cronjob(&mut Pools::default(), json).unwrap().suspended);
    }
}
