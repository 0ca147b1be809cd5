//! Converts World and Ui to view models: the texts and roles of everything on the screen around the panes and in
//! their frames.

pub mod alert;
pub mod describe;
pub mod details;
pub mod dialog;
pub mod fleet;
pub mod header;
pub mod help;
pub mod lists;
pub mod palette;
pub mod plot;
pub mod sheet;
mod sides;
pub mod tail;
pub mod texts;
