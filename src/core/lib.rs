//! The pure part of Pilothouse: what a cluster is, what was seen of it, and what follows from that.
//!
//! Nothing in this package does I/O, reads a clock, spawns or blocks: time arrives as an argument
//! ([`domain::time::Stamp`]), facts arrive as events ([`facts::event::Event`]), and everything else is a function.
//! Cargo enforces it: there is no tokio, no kube and no terminal among the dependencies.
//!
//! The rooms, lowest first; a room uses only rooms above it in this list (tests/it/architecture.rs):
//! - [`domain`]: the nouns of Kubernetes, Prometheus and logs, and those of an action: intent, plan, step.
//! - [`facts`]: what was seen: events, the tables that they are folded into, and the snapshot that everyone reads.
//! - [`logs`]: what a log line says: its level, its message, the fingerprint of its group; whose logs are read.
//! - [`policy`]: what follows from the facts: health, shares, drains, the findings of NOW.
//! - [`mod@plan`]: from an intent to its steps, and back again (undo).
//! - [`state`]: one cluster inside the hub: folds facts in, keeps what follows up to date, publishes.

pub mod domain;
pub mod facts;
pub mod logs;
pub mod plan;
pub mod policy;
pub mod state;
