//! Tests of several parts together.

// only the test itself uses the items of its crate
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod alerts;
mod answers;
mod architecture;
mod clusters;
mod crash;
mod decoders;
mod documents;
mod fake;
mod found;
mod haproxy;
mod headless;
mod log_files;
mod log_stores;
mod loghub;
mod logs;
mod objectives;
#[cfg(feature = "demo")]
mod opening;
mod plots;
mod prometheus;
mod properties;
mod runner;
mod scenario;
mod silences;
mod sources;
#[cfg(feature = "demo")]
mod story;
mod tail;
mod trust;
mod ui;
mod undermined;
