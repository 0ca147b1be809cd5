//! The other clusters that an action changes, and the Service whose errors stop it.

use std::collections::BTreeSet;

use super::Act;
use crate::domain::failover::{FailoverKind, Watched};
use crate::domain::id::Name;

impl Act {
    /// Returns the contexts of the other clusters that the action changes.
    pub fn contexts(&self) -> BTreeSet<Name> {
        match self {
            Self::Failover { plan, .. } => match &plan.kind {
                FailoverKind::Standby(standby) => BTreeSet::from([standby.context.clone()]),
                _ => BTreeSet::new(),
            },
            Self::Undo(derived) | Self::Resume(derived) => {
                derived.steps.iter().map(|s| s.context.clone()).filter(|c| !c.is_empty()).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// Returns the Service whose error ratio stops the action.
    pub fn watched(&self) -> Option<&Watched> {
        match self {
            Self::Failover { plan, .. } => plan.watched.as_ref(),
            Self::Resume(derived) => derived.watched.as_ref(),
            _ => None,
        }
    }
}
