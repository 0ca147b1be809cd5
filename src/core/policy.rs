//! Pure maths and rules: what follows from facts, with the reason beside the number.

pub mod cron;
pub mod drain;
pub mod drift;
pub mod failover;
pub mod follow;
pub mod health;
pub mod hpa;
pub mod level;
pub mod pick;
pub mod placement;
pub mod plan;
pub mod requests;
pub mod revisions;
pub mod rollout;
pub mod routes;
pub mod rules;
pub mod seen;
pub mod shares;
pub mod subject;
pub mod template;
pub mod undo;
