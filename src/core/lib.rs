//! The pure part of Pilothouse: the objects of a cluster, the facts that were observed, and what is derived from them.
//!
//! Nothing in this package does I/O, reads a clock, spawns a task or blocks. The time is an argument
//! ([`domain::time::Stamp`]), facts arrive as events ([`facts::event::Event`]), and everything else is a function.
//! Cargo enforces this: there is no tokio, no kube and no terminal among the dependencies.
//!
//! The rooms, lowest first. A room uses only rooms above it in this list (tests/it/architecture.rs checks this):
//! - [`domain`]: the nouns of Kubernetes, Prometheus and logs, and those of an action: intent, plan, step.
//! - [`facts`]: the observed facts: events, the tables that they are folded into, and the snapshot that readers hold.
//! - [`logs`]: reads a log line: its level, time, fields and message, the template of its group; chooses the pods to follow.
//! - [`policy`]: conclusions from the facts: health, shares, drains, the findings of NOW.
//! - [`mod@plan`]: turns an intent into steps, and computes their undo.
//! - [`state`]: one cluster inside the hub: folds in facts, keeps the derived values up to date, publishes snapshots.

pub mod domain;
pub mod facts;
pub mod logs;
pub mod plan;
pub mod policy;
pub mod state;
