//! The inputs of a plan: the state that a console watches, or the objects that a headless command fetches.

use std::sync::Arc;

use pilothouse_core::domain::id::{ClusterId, Name, ObjectRef, Uid};
use pilothouse_core::domain::plan::Intent;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::TrafficSeen;
use pilothouse_core::facts::world::{ActionView, Cluster, ClusterInfo, World};
use pilothouse_core::plan::DataScope;
use pilothouse_core::plan::watch::error_ratio;
use tokio::sync::watch;

use super::cluster::ClusterClients;
use super::fetch_targets::{self, FetchError};
use super::gate::Gauge;

/// The source of the facts.
#[derive(Clone)]
pub enum Facts {
    /// The newest World of the hub.
    Live(watch::Receiver<Arc<World>>),
    /// Objects that are fetched for each plan.
    Fetched(Fetched),
}

/// The data that a headless command has before it fetches objects.
#[derive(Clone)]
pub struct Fetched {
    pub info: ClusterInfo,
    /// The newest traffic. It is empty if no traffic is watched.
    pub traffic: Arc<dyn Fn() -> Arc<TrafficSeen> + Send + Sync>,
}

/// The facts of one plan.
#[derive(Debug)]
pub struct PlanFacts {
    pub cluster: Arc<Cluster>,
    /// The intent, with the UIDs of its targets.
    pub intent: Intent,
    pub scope: DataScope,
}

/// The reason why there are no facts.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    #[error("internal error: the display is no longer updated; restart pilothouse")]
    Frozen,
    #[error("pilothouse is not connected to that cluster")]
    NoCluster,
    #[error("{on} is in another cluster than context {context}: start one action for each cluster")]
    OtherCluster { on: ObjectRef, context: Name },
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{0} is another object now: nothing was sent")]
    Replaced(ObjectRef),
}

impl Facts {
    /// Whether the hub has ended. The World no longer changes, so nothing may be judged by it.
    pub fn is_frozen(&self) -> bool {
        match self {
            Self::Live(world) => world.has_changed().is_err(),
            Self::Fetched(_) => false,
        }
    }

    /// Returns the facts for a plan of this intent. Targets without a UID get their current one.
    pub async fn of(
        &self,
        clients: &ClusterClients,
        intent: &Intent,
        now: Stamp,
    ) -> Result<PlanFacts, FactsError> {
        if let Some(on) = intent.outside(clients.id) {
            return Err(FactsError::OtherCluster { on: on.clone(), context: intent.context.clone() });
        }
        match self {
            Self::Live(_) if self.is_frozen() => Err(FactsError::Frozen),
            Self::Live(world) => {
                let world = world.borrow().clone();
                let cluster = world.cluster(intent.cluster).ok_or(FactsError::NoCluster)?.clone();
                Ok(PlanFacts { cluster, intent: intent.clone(), scope: DataScope::FullCluster })
            }
            Self::Fetched(known) => {
                let (info, act) = (known.info.clone(), intent.act.clone());
                if info.id != intent.cluster {
                    return Err(FactsError::NoCluster);
                }
                let mut scene =
                    fetch_targets::fetch(&clients.own.reader, info, act, &intent.targets, now).await?;
                let pairs = intent.targets.iter().zip(&scene.intent.targets);
                let replaced = |(meant, found): &(&ObjectRef, &ObjectRef)| {
                    meant.uid != Uid::default() && meant.uid != found.uid
                };
                if let Some((meant, _)) = pairs.clone().find(replaced) {
                    return Err(FactsError::Replaced(meant.clone()));
                }
                Arc::make_mut(&mut scene.cluster).traffic = (known.traffic)();
                Ok(PlanFacts { cluster: scene.cluster, intent: scene.intent, scope: DataScope::TargetsOnly })
            }
        }
    }

    /// Returns the gauge of a cluster, which reads the current error ratios.
    pub fn gauge(&self, cluster: ClusterId) -> Gauge {
        match self {
            Self::Live(world) => {
                let world = world.clone();
                Arc::new(move |watched| error_ratio(&world.borrow().cluster(cluster)?.traffic, watched))
            }
            Self::Fetched(known) => {
                let traffic = known.traffic.clone();
                Arc::new(move |watched| error_ratio(&traffic(), watched))
            }
        }
    }

    /// Returns an action as it is shown.
    pub fn action(&self, id: &Name) -> Option<ActionView> {
        match self {
            Self::Live(world) => {
                let world = world.borrow();
                world.actions.iter().find(|a| a.id == *id).map(|a| ActionView::clone(a))
            }
            Self::Fetched(_) => None,
        }
    }
}
