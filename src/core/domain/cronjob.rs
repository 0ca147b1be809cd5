//! CronJobs: when they should create a Job, and when they last did.

use serde::{Deserialize, Serialize};

use super::id::{Name, Uid, Version};
use super::node::ChangedBy;
use super::row::{object, row};
use super::time::Stamp;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronJob {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub created: Stamp,
    /// As in the manifest: `0 3 * * *`, `@hourly`.
    pub schedule: Name,
    /// `spec.timeZone`; None: the controller's time zone.
    pub time_zone: Option<Name>,
    pub suspended: bool,
    /// `concurrencyPolicy: Forbid`: no Job is created while the previous one runs.
    pub forbids: bool,
    /// `status.lastScheduleTime`: the scheduled time that the last Job was created for.
    pub last_scheduled: Option<Stamp>,
    pub last_successful: Option<Stamp>,
    /// The number of running Jobs (`status.active`).
    pub active: u32,
    pub changed: Option<ChangedBy>,
}
row!(CronJob);
object!(CronJob, CronJob);
