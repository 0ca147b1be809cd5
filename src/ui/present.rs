//! From World and Ui to view models: what stands on the screen around the panes and in their frames, in words and roles.

pub mod describe;
pub mod details;
pub mod dialog;
pub mod header;
pub mod help;
pub mod lists;
pub mod palette;
pub mod texts;
