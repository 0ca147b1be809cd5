//! Reads log lines (level, time, fields, message, template), and chooses the pods whose logs are followed.

pub mod fields;
pub mod filter;
pub mod fingerprint;
mod json;
pub mod level;
pub mod message;
pub mod targets;
pub mod templates;
pub mod time;

#[cfg(test)]
mod hostile;
