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

use std::collections::HashMap;

/// The hash of tables that every line of a log is looked up in: several times faster than the standard library's. Its
/// seed is random, and nobody who writes lines can see a hash. Lines that collide all the same cost little, because
/// these tables have a maximum size.
pub type Hashing = foldhash::fast::RandomState;

/// A table that every line of a log is looked up in.
pub type Lookup<K, V> = HashMap<K, V, Hashing>;
