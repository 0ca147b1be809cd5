//! The screen. Facts come in as an `Arc<World>`, keys as [`request::Msg`]; what is wanted of others goes out as
//! [`request::Effect`].
//!
//! `update` changes the [`app::Ui`]; `present` turns World and Ui into view models; `view` draws those into cells;
//! `paint` turns cells into bytes; `run` is the loop around them. [`command`] is the one table of commands.

pub mod app;
pub mod cell;
pub mod clipboard;
pub mod command;
pub mod filter;
pub mod held;
pub mod key;
pub mod keymap;
pub mod list;
pub mod mouse;
pub mod paint;
pub mod pane;
pub mod present;
pub mod request;
pub mod rows;
pub mod run;
pub mod targets;
pub mod theme;
pub mod update;
pub mod view;
pub mod widget;
