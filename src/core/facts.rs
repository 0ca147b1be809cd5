//! What was seen, and nothing concluded: events in ([`event`]), tables of rows ([`table`]), an immutable snapshot out ([`world`]).
//!
//! [`mod@reduce`] folds an event into the facts; [`crate::state`] adds what follows from them. Both are called by the hub alone;
//! everyone else holds an `Arc<World>`.

pub mod action;
pub mod event;
pub mod events_about;
pub mod intern;
pub mod latency;
pub mod reduce;
pub mod table;
pub mod verdicts;
pub mod world;
