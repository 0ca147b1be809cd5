//! The one shared state: events in ([`event`]), tables of rows ([`table`]), an immutable snapshot out ([`world`]).
//!
//! [`mod@reduce`] folds an event into the facts, [`mod@derive`] keeps what follows from them, [`state`] ties the two to one
//! cluster; all three are called by the hub alone. Everyone else holds an `Arc<World>`.

pub mod action;
pub mod cause;
pub mod changes;
pub mod derive;
pub mod event;
pub mod intern;
pub mod plan;
pub mod reduce;
pub mod state;
pub mod table;
pub mod world;
