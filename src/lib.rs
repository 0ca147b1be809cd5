//! Pilothouse: the on-call engineer's terminal console for Kubernetes.

pub mod clock;
pub mod source;
pub mod terminal;
pub mod ui;
pub mod wire;
