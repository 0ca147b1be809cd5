//! The pure part of Pilothouse: what a cluster is ([`domain`]), what follows from it ([`policy`]) and the one shared
//! state that everything reads ([`model`]).
//!
//! Nothing in this package does I/O, reads a clock, spawns or blocks: time arrives as an argument
//! ([`domain::time::Stamp`]), facts arrive as events ([`model::event::Event`]), and everything else is a function.
//! Cargo enforces it: there is no tokio, no kube and no terminal among the dependencies.

pub mod domain;
pub mod model;
pub mod policy;
