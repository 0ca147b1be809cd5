//! What every part of a running action works with: the clients, the guards, the clock, the limit on evictions, and the
//! order to stop. The executor and the drain both take it.

use pilothouse_core::domain::settings::GuardSettings;
use tokio_util::sync::CancellationToken;

use super::cluster::PlanClients;
use super::control::EvictionRateLimiter;
use crate::clock::Clock;

/// The parts of a session that its actions share. Clones share the clock, the limiter and the order to stop.
#[derive(Clone, Debug)]
pub struct Session {
    pub reach: PlanClients,
    /// What must not be touched without a confirmation of its own.
    pub guards: GuardSettings,
    pub clock: Clock,
    /// Cancelled on hang-up and at the end: no new step starts.
    pub stop: CancellationToken,
    /// Shared by all actions of the session.
    pub limiter: EvictionRateLimiter,
}
