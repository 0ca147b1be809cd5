//! Reads log lines (level, message, fingerprint), and chooses the pods whose logs are followed.

pub mod fields;
pub mod filter;
pub mod fingerprint;
mod json;
pub mod level;
pub mod message;
pub mod targets;
pub mod time;
