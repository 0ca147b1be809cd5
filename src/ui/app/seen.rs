//! The sizes and positions that only the last frame knows. Drawing changes no state. The state is updated with these
//! values after the frame is drawn.

use crate::ui::app::{Screen, Stage, Ui};
use crate::ui::list::ListId;
use crate::ui::mouse::Spots;
use crate::ui::widget::link::Link;

/// A list as drawn.
#[derive(Clone, Debug, Default)]
pub struct SeenList {
    /// The number of rows that fit, and the first of them.
    pub page: usize,
    pub top: usize,
    /// The columns that fit, by their index among the selected ones.
    pub drawn: Vec<usize>,
}

/// A text, a log or the plan of a dialog as drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenText {
    /// The number of rows that fit, and the first of them.
    pub page: usize,
    pub top: usize,
    /// The number of all rows, and of cells in a row.
    pub rows: usize,
    pub columns: usize,
    /// The time that a bar of a log stands for, in milliseconds.
    pub step: i64,
}

/// A frame as drawn.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The areas that the mouse can act on.
    pub spots: Spots,
    /// The texts that lead to a URL.
    pub links: Vec<Link>,
    pub lists: Vec<(ListId, SeenList)>,
    /// The list with details below it.
    pub details: Option<ListId>,
    pub reading: Option<SeenText>,
    pub dialog: Option<SeenText>,
    pub sheet: Option<SeenText>,
}

impl Ui {
    /// Updates the state with the sizes and positions of the frame.
    pub fn take_in(&mut self, seen: Seen) {
        self.spots = seen.spots;
        self.details.list = seen.details;
        for (id, seen) in seen.lists {
            let list = self.list_mut(id);
            (list.page, list.top) = (seen.page, seen.top);
            list.drawn = seen.drawn;
            list.unshown = false;
        }
        match (self.screens.last_mut(), seen.reading) {
            (Some(Screen::Text(view)), Some(seen)) => {
                (view.page, view.top, view.rows, view.columns) =
                    (seen.page, seen.top, seen.rows, seen.columns);
            }
            (Some(Screen::Log(view)), Some(seen)) => {
                (view.page, view.top, view.step) = (seen.page, seen.top, seen.step);
            }
            _ => {}
        }
        if let (Some(open), Some(seen)) = (&mut self.sheet, seen.sheet) {
            (open.page, open.rows, open.top) = (seen.page, seen.rows, seen.top);
        }
        if let (Some(open), Some(seen)) = (&mut self.dialog, seen.dialog) {
            (open.page, open.rows, open.top) = (seen.page, seen.rows, seen.top);
            if self.dialog_frame.is_none() && matches!(open.stage, Stage::Ready(_)) {
                self.dialog_frame = Some(self.frame);
            }
        }
    }
}
