//! What the parts do together.

mod ui;
