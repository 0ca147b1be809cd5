//! The one shared state: events in ([`event`]), tables of rows ([`table`]), an immutable snapshot out ([`world`]).
//!
//! `reduce` folds an event into the facts, `derive` keeps what follows from them; both are called by the hub
//! alone. Everyone else holds an `Arc<World>`.

pub mod event;
pub mod intern;
pub mod plan;
pub mod table;
pub mod world;
