//! The room that changes the world, and the only one that holds a [`WriteClient`](crate::wire::write::WriteClient).
//!
//! One path for every action, and one [`runner`] of it for the console and for headless commands: intent -> rehearse
//! ([`rehearse`], with the [`facts`] of the cluster and the server's [`answers`]) -> confirm (the front end asks) -> journal
//! ([`journal`]) -> execute ([`executor`], one request a step from [`requests`], evictions side by side in [`drain`];
//! [`gate`]: what must hold in between; [`foundations`]: what others must not change meanwhile; [`rights`]: that it still
//! may; [`control`]: pause and cancel) -> verify ([`settle`]); [`resume`] takes up what a process left, in the cluster that
//! it was meant for ([`identity`]). Clients are those of the [`cluster`] that the intent names. A new action adds a variant
//! of `Act` and a planner in core's policy; the path stays.

pub mod answers;
pub mod cluster;
pub mod control;
pub mod drain;
pub mod executor;
pub mod facts;
pub mod foundations;
pub mod gate;
pub mod identity;
pub mod journal;
pub mod lookups;
pub mod rehearse;
pub mod requests;
pub mod resume;
pub mod rights;
pub mod runner;
pub mod scene;
pub mod settle;
pub mod target;
