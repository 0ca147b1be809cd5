//! Resumes an unfinished action of another process. The action is found in the journal, its cluster is compared, its
//! steps are read back, and the remaining steps become an intent.

use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::plan::Intent;

use super::super::identity::{self, Recognized};
use super::super::resume::{self, Remaining, Settled, Unfinished};
use super::Runner;
use crate::clock::Clock;

/// The interval between two reads of steps that are taking effect.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// An unfinished action, and the state of its steps.
#[derive(Debug)]
pub struct TakenUp {
    pub action: Unfinished,
    pub settled: Settled,
    /// The comparison of its clusters.
    pub recognized: Recognized,
    /// The ID of its cluster in this process.
    pub cluster: ClusterId,
}

/// The reason why an unfinished action cannot be resumed here.
#[derive(Debug, thiserror::Error)]
pub enum NotTakenUp {
    #[error("this action is already resumed, undone or dismissed")]
    NotUnfinished,
    #[error("belongs to context {0}: start pilothouse --context {0}")]
    OtherContext(Name),
    #[error("{0}")]
    OtherCluster(String),
    #[error("{0}")]
    NotOpened(String),
}

impl TakenUp {
    /// Returns the remaining work, as an intent for the action's cluster.
    pub fn remaining(&self) -> Remaining {
        resume::resume_intent(&self.action, &self.settled)
    }

    /// Returns the reason why it must not be closed without a question although nothing is left to do: in a copy of
    /// its cluster, the objects look as if the action was complete.
    pub fn is_doubtful(&self) -> Option<String> {
        let warning = self.recognized.warnings.first()?;
        (!self.recognized.moved_to.is_empty()).then(|| warning.to_string())
    }

    /// Returns the intent that undoes its cordons, or `None` if there are none or they cannot be read now.
    pub fn compensation(&self) -> Option<Intent> {
        resume::compensation(&self.action, &self.settled)
    }
}

impl Runner {
    /// Reads an unfinished action back. A step that other steps wait for may take effect within `patience`. `tell` is
    /// called while this is waited for.
    pub async fn take_up(
        &self,
        id: &Name,
        patience: Duration,
        mut tell: impl FnMut(&str) + Send,
    ) -> Result<TakenUp, NotTakenUp> {
        let parts = &self.0.parts;
        let (journal, of) = (parts.journal.clone(), id.clone());
        let find = move || resume::unfinished(&journal).into_iter().find(|u| u.id == of);
        let found = tokio::task::spawn_blocking(find).await.ok().flatten();
        let mut action = found.ok_or(NotTakenUp::NotUnfinished)?;
        let context = &action.plan.intent.context.clone();
        let clients = parts.clusters.of_context(context);
        let clients = clients.ok_or_else(|| NotTakenUp::OtherContext(context.clone()))?;
        // another process numbers clusters differently
        action.plan.set_cluster(clients.id);
        let contexts = action.plan.steps.iter().map(|s| s.context.clone()).filter(|c| !c.is_empty());
        let plan_clients = clients.for_plan(&contexts.collect()).await.map_err(NotTakenUp::NotOpened)?;
        let here = identity::clusters(&plan_clients, &action.plan).await;
        let recognized =
            identity::compare(&action.clusters, &here, context).map_err(NotTakenUp::OtherCluster)?;
        let deadline = Clock::deadline(patience);
        let settled = loop {
            let settled = resume::settle(&plan_clients, &action).await;
            let waits = settled.settling && !settled.rest.is_empty() && settled.blocked.is_none();
            // a drain is planned again from the current state
            if !waits || action.empties_nodes() || Clock::instant() >= deadline {
                break settled;
            }
            tell(&settled.summary);
            tokio::time::sleep(LOOK_EVERY).await;
        };
        Ok(TakenUp { cluster: clients.id, action, settled, recognized })
    }
}
