//! What scripts and chats read: documents with fixed names, separate from the shared state's types, and the headless
//! commands that print them.

pub mod advice;
pub mod doctor;
pub mod document;
pub mod headless;
pub mod incident;
pub mod logs;
pub mod plan;
pub mod rights;
pub mod snapshot;
pub mod table;
pub mod text;

/// Exit statuses, as the command line promises them.
pub mod exit {
    pub const DONE: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const REFUSED: u8 = 3;
    pub const UNKNOWN: u8 = 4;
    pub const INTERRUPTED: u8 = 130;
}
