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

/// Whether plots and details of the selected object are shown next to the list that fills the screen.
pub fn is_beside(ui: &Ui, id: ListId) -> bool {
    let is_full = match ui.screen() {
        Screen::Panes => ui.zoom,
        Screen::List(_) => !ui.details.off,
        Screen::Text(_) | Screen::Log(_) | Screen::Plots(_) => false,
    };
    is_full && ui.size.0 >= WIDE && pane::of(id).reads == Reads::Object && !ui.list(id).ids.is_empty()
}

/// Returns the width of the list, and the size of the plots next to it, in an area of this size.
pub fn beside((width, height): (u16, u16)) -> (u16, (u16, u16)) {
    let list = width * 3 / 5;
    (list, (width - list, (height / 2).max(10)))
}

/// Returns the grid of the plots of the screen, or of those next to a list.
pub fn grid(ui: &Ui, count: usize) -> Grid {
    let all = area(ui.size);
    if matches!(ui.screen(), Screen::Plots(_)) {
        return Grid::of(all.0, all.1, count);
    }
    let (_, (width, height)) = beside(all);
    Grid::column(width, height, count)
}

/// Returns the span that is shown.
pub fn shown(plots: &Plots, now: Stamp) -> Span {
    if plots.span.count > 0 { plots.span } else { Span::until(now, plots.range().1, 2) }
}
