//! The built binary on a terminal of its own: start, panes, keys and actions, resize, signals, hang-up, refusals.
//! PILOTHOUSE_TEST_BINARY names another binary than the one just built.

// a test has one crate, and nobody else uses it
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// deadlines of a test are those of the machine's clock
#![allow(clippy::disallowed_methods)]

mod alone;
mod cluster;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "demo")]
mod killed;
#[cfg(feature = "demo")]
mod picture;
mod plugin;
mod readonly;
mod seat;
