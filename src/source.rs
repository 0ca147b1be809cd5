//! The sources: they turn the outside world into facts. Depends on core and wire.
//!
//! [`kube`] keeps a cluster's objects current, [`prometheus`] its traffic, [`logs`] its log lines; [`objects`] reads
//! single things on demand. All of them say what they see through a [`sink::FactSink`] and live under
//! [`supervise::Supervisor`].

pub mod kube;
pub mod logs;
pub mod objects;
pub mod prometheus;
pub mod sink;
pub mod supervise;
