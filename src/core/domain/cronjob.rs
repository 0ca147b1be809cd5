//! CronJobs: when they should make a Job, and when they did last.

use serde::{Deserialize, Serialize};

use super::id::{Kind, Name, ObjectRef, Uid, Version};
use super::node::ChangedBy;
use super::row::row;
use super::time::Stamp;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronJob {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub created: Stamp,
    /// As written: `0 3 * * *`, `@hourly`.
    pub schedule: Name,
    /// `spec.timeZone`; None = that of the controller.
    pub time_zone: Option<Name>,
    pub suspended: bool,
    /// `concurrencyPolicy: Forbid`: no Job is made while the one before runs.
    pub forbids: bool,
    /// `status.lastScheduleTime`: the time of the schedule that the last Job was made for.
    pub last_scheduled: Option<Stamp>,
    pub last_successful: Option<Stamp>,
    /// Jobs that run.
    pub active: u32,
    pub changed: Option<ChangedBy>,
}
row!(CronJob);

impl CronJob {
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(Kind::CronJob, &self.namespace, &self.name, &self.uid)
    }
}
