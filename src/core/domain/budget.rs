//! PodDisruptionBudgets.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Name, Uid, Version};
use super::node::Condition;
use super::row::{object, row};
use super::selector::Selector;
use super::time::Stamp;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pdb {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub created: Stamp,
    pub generation: i64,
    pub observed_generation: i64,
    pub selector: Arc<Selector>,
    /// As in the manifest: `3` or `25%`.
    pub min_available: Option<Name>,
    pub max_unavailable: Option<Name>,
    /// `unhealthyPodEvictionPolicy: AlwaysAllow`.
    pub always_allow_unhealthy: bool,
    pub allowed: i32,
    pub current_healthy: i32,
    pub desired_healthy: i32,
    pub expected: i32,
    pub conditions: Arc<[Condition]>,
}
row!(Pdb);
object!(Pdb, PodDisruptionBudget);

impl Pdb {
    /// Since when it allows no disruption, as far as the API says.
    pub fn blocked_since(&self) -> Option<Stamp> {
        let condition = self.conditions.iter().find(|c| c.kind == "DisruptionAllowed")?;
        (self.allowed <= 0).then_some(condition.since).flatten()
    }
}
