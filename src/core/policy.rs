//! Pure maths and rules: what follows from facts, with the reason beside the number.

pub mod alerts;
pub mod balancing;
pub mod cron;
pub mod discovery;
pub mod drain;
pub mod failover;
pub mod health;
pub mod hpa;
pub mod incident;
pub mod kubectl;
pub mod links;
pub mod measured;
pub mod pick;
pub mod placement;
pub mod plots;
pub mod requests;
pub mod revisions;
pub mod rollout;
pub mod routes;
pub mod rules;
pub mod seen;
pub mod shares;
pub mod slices;
pub mod slo;
pub mod split;
pub mod whatif;
