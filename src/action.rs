//! The room that changes the world, and the only one that holds a [`WriteClient`](crate::wire::write::WriteClient).
//!
//! One path for every action: intent -> rehearse ([`rehearse`]) -> confirm (the front end) -> journal ([`journal`]) ->
//! execute ([`executor`], one request a step from [`requests`]) -> verify ([`settle`]). A new action adds a variant of
//! `Act`, a planner in core's policy and a request here; the path stays.

pub mod executor;
pub mod journal;
pub mod rehearse;
pub mod requests;
pub mod scene;
pub mod settle;
