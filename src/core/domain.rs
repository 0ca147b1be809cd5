//! The nouns of Kubernetes, Prometheus and logs, with only the fields that Pilothouse shows or plans with.
//!
//! Sources convert their data into these types as soon as it arrives, and sanitise text from outside there ([`text`]).

pub mod alert;
pub mod autoscaler;
pub mod budget;
pub mod cause;
pub mod change;
pub mod claim;
pub mod cronjob;
pub mod event;
pub mod failover;
pub mod found;
pub mod glob;
pub mod haproxy;
pub mod id;
pub mod image;
pub mod incident;
pub mod kinds;
pub mod label;
pub mod link;
pub mod log;
pub mod near;
pub mod node;
pub mod plan;
pub mod pod;
pub mod preset;
pub mod quantity;
pub mod range;
pub mod route;
pub mod row;
pub mod scheduling;
pub mod selector;
pub mod service;
pub mod settings;
pub mod silence;
pub mod slo;
pub mod source;
pub mod text;
pub mod time;
pub mod traffic;
pub mod trend;
pub mod usage;
pub mod workload;
