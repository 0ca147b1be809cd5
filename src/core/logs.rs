//! Reads log lines (level, message, fingerprint), and chooses the pods whose logs are followed.

pub mod fingerprint;
pub mod level;
pub mod message;
pub mod targets;
