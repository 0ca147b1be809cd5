//! Pilothouse: the on-call engineer's terminal console for Kubernetes.

pub mod action;
pub mod bootstrap;
pub mod cli;
pub mod clock;
pub mod config;
pub mod hub;
pub mod report;
pub mod source;
pub mod telemetry;
pub mod terminal;
pub mod ui;
pub mod wire;
