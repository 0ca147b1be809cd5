//! What a log line says, and whose logs are read.

pub mod fingerprint;
pub mod level;
pub mod message;
pub mod targets;
