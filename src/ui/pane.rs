//! The panes and the full-screen lists.

pub mod actions;
pub mod autoscalers;
pub mod backends;
pub mod causes;
pub mod changes;
pub mod errors;
pub mod frame;
pub mod namespaces;
pub mod nodes;
pub mod orders;
pub mod pods;
pub mod sources;
pub mod traffic;
pub mod workloads;
