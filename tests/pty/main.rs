//! The built binary on a terminal of its own: start, panes, keys and actions, resize, signals, hang-up, refusals.
//! PILOTHOUSE_TEST_BINARY names another binary than the one that was just built.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alone;
mod cluster;
mod seat;
