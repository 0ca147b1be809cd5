//! The built binary on a terminal of its own: start, panes, keys and actions, resize, signals, hang-up, refusals.
//! PILOTHOUSE_TEST_BINARY names another binary than the one just built.

// only the test itself uses the items of its crate
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// deadlines of a test are those of the machine's clock
#![allow(clippy::disallowed_methods)]

mod alone;
mod apart;
mod cast;
mod cluster;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "demo")]
mod fleet;
#[cfg(feature = "demo")]
mod flood;
mod followed;
#[cfg(feature = "demo")]
mod killed;
mod own;
#[cfg(feature = "demo")]
mod picture;
mod planes;
mod plugin;
mod readonly;
mod relay;
mod seat;
#[cfg(feature = "demo")]
mod several;
mod standby;
