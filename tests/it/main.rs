//! What the parts do together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
mod decoders;
mod documents;
mod properties;
mod scenario;
mod ui;
