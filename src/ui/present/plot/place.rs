//! Where plots are: on a screen of their own, or next to a list.

use pilothouse_core::domain::range::Span;
use pilothouse_core::domain::time::Stamp;

use super::super::super::app::{Grid, Plots, Screen, Ui};
use super::super::super::list::ListId;
use super::super::super::pane::{self, Reads};

/// Returns the area for plots on a screen of this size: all lines but those for the header, the job and the keys.
pub fn area((width, height): (u16, u16)) -> (u16, u16) {
    (width, height.saturating_sub(3))
}

/// The least width of a screen with plots next to its list.
const WIDE: u16 = 160;
/// The most cells that the plots next to a list take.
const MOST: u16 = 80;

/// Whether plots of the selected object have a place next to this list: the list of a zoomed pane.
pub fn has_place(ui: &Ui, id: ListId) -> bool {
    let is_zoomed = matches!(ui.screen(), Screen::Panes) && ui.zoom;
    is_zoomed && ui.size.0 >= WIDE && pane::of(id).reads == Reads::Object && !ui.list(id).ids.is_empty()
}

/// Whether the list has plots next to it.
pub fn is_beside(ui: &Ui, id: ListId) -> bool {
    ui.beside.of == Some(id) && has_place(ui, id)
}

/// Returns the width of the plots next to a list, in an area of this width.
pub fn beside(width: u16) -> u16 {
    (width * 2 / 5).min(MOST)
}

/// Returns the grid of the plots of the screen, or of those next to a list.
pub fn grid(ui: &Ui, count: usize) -> Grid {
    let (width, height) = area(ui.size);
    match ui.screen() {
        Screen::Plots(_) => Grid::of(width, height, count),
        _ => Grid::column(beside(width), height, count),
    }
}

/// Returns the span that is shown.
pub fn shown(plots: &Plots, now: Stamp) -> Span {
    if plots.span.count > 0 { plots.span } else { Span::until(now, plots.range().1, 2) }
}
