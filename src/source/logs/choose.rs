//! Chooses the pods that are followed automatically. The choice is repeated when the World changes.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::facts::world::World;
use pilothouse_core::logs::targets::choose;
use tokio::sync::watch;

use super::shares::Part;
use super::{FollowPlan, Target};
use crate::clock::Clock;

/// The minimum interval between two choices.
const CHOOSE_EVERY: Duration = Duration::from_secs(2);

/// Keeps the follow plan of a cluster in step with the World.
pub(super) async fn choose_while_it_changes(
    mut world: watch::Receiver<Arc<World>>,
    cluster: ClusterId,
    plan: watch::Sender<FollowPlan>,
    most: Arc<Part>,
    clock: Clock,
) {
    loop {
        let chosen = {
            let world = world.borrow_and_update().clone();
            world.cluster(cluster).map(|c| choose(c, most.size(), clock.now()))
        };
        if let Some((choices, candidates)) = chosen {
            let targets = choices
                .into_iter()
                .map(|c| Target {
                    namespace: c.namespace,
                    pod: c.pod,
                    uid: c.uid,
                    container: c.container,
                    workload: c.workload,
                    version: c.version,
                    image: c.image,
                    node: c.node,
                })
                .collect();
            let new = FollowPlan { targets, candidates };
            plan.send_if_modified(|held| {
                let differs = *held != new;
                *held = new;
                differs
            });
        }
        tokio::time::sleep(CHOOSE_EVERY).await;
        if world.changed().await.is_err() {
            return;
        }
    }
}
