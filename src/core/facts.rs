//! The observed facts, without any conclusion: events come in ([`event`]), tables keep the rows ([`table`]), an
//! immutable snapshot goes out ([`world`]).
//!
//! [`mod@reduce`] folds an event into the facts; [`crate::state`] adds what is derived from them. Only the hub calls
//! both; all other code holds an `Arc<World>`.

pub mod action;
pub mod event;
pub mod events_about;
pub mod history;
mod info;
pub mod intern;
pub mod latency;
pub mod past;
pub mod reduce;
pub mod routes;
pub mod table;
pub mod tables;
pub mod verdicts;
pub mod world;
