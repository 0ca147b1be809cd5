//! The nouns: what Kubernetes, Prometheus and logs tell us, in the few fields that Pilothouse shows or plans with.
//!
//! Sources convert into these types at the door; text that came from outside is sanitised there ([`text`]).

pub mod autoscaler;
pub mod budget;
pub mod cause;
pub mod claim;
pub mod cronjob;
pub mod event;
pub mod failover;
pub mod id;
pub mod image;
pub mod kinds;
pub mod label;
pub mod log;
pub mod near;
pub mod node;
pub mod plan;
pub mod pod;
pub mod quantity;
pub mod row;
pub mod scheduling;
pub mod selector;
pub mod service;
pub mod settings;
pub mod silence;
pub mod source;
pub mod text;
pub mod time;
pub mod traffic;
pub mod usage;
pub mod workload;
