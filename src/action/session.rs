//! The parts that running actions share: the clients, the guards, the clock, the limit on evictions, and the order to
//! stop. The executor and the drain both use it.

use pilothouse_core::domain::settings::GuardSettings;
use tokio_util::sync::CancellationToken;

use super::cluster::PlanClients;
use super::control::EvictionRateLimiter;
use crate::clock::Clock;

/// The parts of a session that its actions share. Clones share the clock, the limiter and the order to stop.
#[derive(Clone, Debug)]
pub struct Session {
    pub reach: PlanClients,
    /// The objects that need a separate confirmation.
    pub guards: GuardSettings,
    pub clock: Clock,
    /// Canceled on hang-up and at the end, so that no further step starts.
    pub stop: CancellationToken,
    /// The limit that all actions of the session share.
    pub limiter: EvictionRateLimiter,
}
