//! What a plan is made from: the state that a console watches, or what a headless command fetches of its targets.

use std::sync::Arc;

use pilothouse_core::domain::id::{ClusterId, Name, ObjectRef, Uid};
use pilothouse_core::domain::plan::Intent;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::TrafficSeen;
use pilothouse_core::facts::world::{ActionView, Cluster, ClusterInfo, World};
use pilothouse_core::plan::DataScope;
use pilothouse_core::plan::failover::error_ratio;
use tokio::sync::watch;

use super::cluster::ClusterClients;
use super::fetch_targets::{self, FetchError};
use super::gate::Gauge;

/// Where the facts come from.
#[derive(Clone)]
pub enum Facts {
    /// The newest world of the hub.
    Live(watch::Receiver<Arc<World>>),
    /// Fetched for each plan.
    Fetched(Fetched),
}

/// What a headless command knows before it fetches.
#[derive(Clone)]
pub struct Fetched {
    pub info: ClusterInfo,
    /// The newest traffic: empty where nothing is watched by it.
    pub traffic: Arc<dyn Fn() -> Arc<TrafficSeen> + Send + Sync>,
}

/// The facts of one plan.
#[derive(Debug)]
pub struct PlanFacts {
    pub cluster: Arc<Cluster>,
    /// With UIDs.
    pub intent: Intent,
    pub scope: DataScope,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    #[error("internal error: the display is no longer updated; restart pilothouse")]
    Frozen,
    #[error("that cluster is not there")]
    NoCluster,
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{0} is another object now: nothing was sent")]
    Replaced(ObjectRef),
}

impl Facts {
    /// True if the hub is gone: what is shown does not move any more, and nothing may be judged by it.
    pub fn is_frozen(&self) -> bool {
        match self {
            Self::Live(world) => world.has_changed().is_err(),
            Self::Fetched(_) => false,
        }
    }

    /// The facts for a plan of this intent. Targets that have no UID yet get the one that they have now.
    pub async fn of(
        &self,
        clients: &ClusterClients,
        intent: &Intent,
        now: Stamp,
    ) -> Result<PlanFacts, FactsError> {
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

    /// The error ratios of a cluster, as they are when they are asked for.
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

    /// An action as it is shown.
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
