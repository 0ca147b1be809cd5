//! The room that changes the world, and the only one that holds a [`WriteClient`](crate::wire::write::WriteClient).
//!
//! Every action takes one path, through one [`runner`] for the console and for headless commands: intent -> rehearse
//! ([`rehearse`], with the [`facts`] of the cluster and the server's [`answers`]) -> confirm (the front end asks) -> journal ([`journal`]) ->
//! execute ([`executor`]: one request a step, from [`requests`]; [`drain`]: evictions side by side) -> verify
//! ([`step_check`]). In between, [`gate`] has what must hold, [`foundations`] what others must not change meanwhile,
//! [`rights`] which right or credential ended, [`control`] pause and cancel. Executor and drain share the [`session`]
//! (clients, guards, clock, limiter, order to stop) and the [`recorder`] (journal and progress); both know an object by
//! [`live_object`]. [`resume`] takes up what a process left, in the cluster that it was meant for ([`identity`]). A new
//! action adds a variant of `Act` and a planner in core; the path stays.

pub mod alertmanager;
pub mod answers;
pub mod cluster;
pub mod control;
pub mod drain;
pub mod executor;
pub mod facts;
pub mod fetch_targets;
pub mod foundations;
pub mod gate;
pub mod haproxy;
pub mod identity;
pub mod journal;
pub mod list_path;
pub mod live_object;
pub mod lookups;
pub mod recorder;
pub mod rehearse;
pub mod requests;
pub mod resume;
pub mod rights;
pub mod runner;
pub mod session;
pub mod step_check;
pub mod target;
