//! The cluster of each record. The records of an action name it by its id only, so each line also says in which cluster
//! its request was sent, for a person or a program that reads this line alone.

use std::collections::BTreeMap;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::plan::Plan;
use serde::Serialize;

use super::{Journal, Record};
use crate::action::identity::{Clusters, Identity};

/// A record as it is written. A reader of the journal's actions needs only the record.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    #[serde(flatten)]
    record: &'a Record,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Cluster>,
}

/// The cluster of a record: `{"context":"prod","server":"https://…","uid":"…"}`.
#[derive(Serialize)]
struct Cluster {
    context: Name,
    /// `None` in journals that do not identify clusters.
    #[serde(flatten)]
    identity: Option<Identity>,
}

/// The contexts of an action and of its steps, until its end is recorded.
#[derive(Debug)]
pub(super) struct Contexts {
    own: Name,
    /// By the number of the step. Empty for the action's own context.
    steps: BTreeMap<usize, Name>,
    clusters: Clusters,
}

impl Contexts {
    fn of(plan: &Plan, clusters: &Clusters) -> Self {
        let steps = plan.steps.iter().enumerate().map(|(n, step)| (n, step.context.clone())).collect();
        Self { own: plan.intent.context.clone(), steps, clusters: clusters.clone() }
    }

    /// Returns the cluster of a step, or of the action.
    fn cluster(&self, step: Option<usize>) -> Cluster {
        let context = step.and_then(|n| self.steps.get(&n)).cloned().unwrap_or_default();
        let identity = self.clusters.get(&context).cloned();
        Cluster { context: if context.is_empty() { self.own.clone() } else { context }, identity }
    }
}

impl<'a> Body<'a> {
    /// Adds the cluster to a record. `begun` has the actions of this process that have not ended.
    pub(super) fn of(journal: &Journal, begun: &mut BTreeMap<Name, Contexts>, record: &'a Record) -> Self {
        let cluster = match record {
            Record::Intent { id, plan, clusters, .. } => {
                let contexts = Contexts::of(plan, clusters);
                let cluster = contexts.cluster(None);
                begun.insert(id.clone(), contexts);
                Some(cluster)
            }
            Record::Added { id, step, number, .. } => begun.get_mut(id).map(|contexts| {
                let number = number.unwrap_or(contexts.steps.len());
                contexts.steps.insert(number, step.context.clone());
                contexts.cluster(Some(number))
            }),
            Record::Step { id, step, .. } => begun.get(id).map(|contexts| contexts.cluster(Some(*step))),
            Record::Ended { id, .. } => begun.remove(id).map(|contexts| contexts.cluster(None)),
            Record::Followed { id, .. } => {
                // an action of another process
                let mut actions = journal.chapters().0.into_iter().flat_map(|chapter| chapter.actions);
                let told = actions.find(|told| told.id == *id);
                told.map(|told| Contexts::of(&told.plan, &told.clusters).cluster(None))
            }
        };
        Self { record, cluster }
    }
}
