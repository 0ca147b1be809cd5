//! Converts view models to cells. This module neither changes the state of the screen nor decides what is important.

mod canvas;
mod detail;
mod dialog;
mod line;
mod list;
mod log;
mod overlay;
mod plot;
mod row;
mod screen;
mod share;
mod text;

use pilothouse_core::facts::world::World;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::{Seen, Ui};
use super::theme::Theme;
use super::widget::ascii;
use canvas::Canvas;

/// A finished frame.
#[derive(Debug)]
pub struct Drawn {
    pub buffer: Buffer,
    pub cursor: Option<(u16, u16)>,
    /// The sizes and positions of the frame, for [`Ui::take_in`].
    pub seen: Seen,
}

/// Draws the whole screen in `ui.size` cells. The caller has updated the state.
pub fn draw(ui: &Ui, world: &World, theme: &Theme, ascii_only: bool) -> Drawn {
    let area = Rect::new(0, 0, ui.size.0, ui.size.1);
    let mut canvas = Canvas::new(area, theme, ascii_only);
    canvas.marker = plot::marker(ui.blocks);
    screen::draw(ui, world, &mut canvas, area);
    let (mut buffer, cursor, seen) = canvas.finish();
    if ascii_only {
        ascii::flatten(&mut buffer);
    }
    Drawn { buffer, cursor, seen }
}
