//! What the parts do together.

mod properties;
mod ui;
