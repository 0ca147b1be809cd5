//! From view models to cells. Nothing here reads the World's tables or decides what matters.

mod canvas;
mod detail;
mod dialog;
mod line;
mod list;
mod log;
mod overlay;
mod row;
mod screen;
mod share;
mod text;

use pilothouse_core::facts::world::World;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::Ui;
use super::theme::Theme;
use super::widget::ascii;
use canvas::Canvas;

/// A finished frame.
#[derive(Debug)]
pub struct Drawn {
    pub buffer: Buffer,
    pub cursor: Option<(u16, u16)>,
}

/// Draws everything at a size. Also brings the lists' rows and selections up to date: what is drawn is what keys act on.
pub fn draw(ui: &mut Ui, world: &World, theme: &Theme, ascii_only: bool, width: u16, height: u16) -> Drawn {
    let area = Rect::new(0, 0, width, height);
    let mut canvas = Canvas::new(area, theme, ascii_only);
    screen::draw(ui, world, &mut canvas, area);
    let (mut buffer, cursor, spots) = canvas.finish();
    ui.spots = spots;
    if ascii_only {
        ascii::flatten(&mut buffer);
    }
    Drawn { buffer, cursor }
}
