//! The screen. Facts come in as an `Arc<World>`, keys as [`request::Msg`]; what is wanted of others goes out as
//! [`request::Effect`].
//!
//! `update` changes the [`app::Ui`], and brings the [`rows`] of the panes up to date before a frame; `present` turns World
//! and Ui into view models; `view` draws those into cells and changes nothing; `paint` turns cells into bytes; `run` is
//! the loop around them. [`mod@pane`] is the table of panes, with a file for each of them; [`command`] is the table of
//! commands. `tests/it/architecture.rs` holds who may use whom.

pub mod app;
pub mod cell;
pub mod clipboard;
pub mod command;
pub mod filter;
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
