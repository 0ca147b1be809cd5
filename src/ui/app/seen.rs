//! What only the last frame knows: how much there was room for, and where things stand. Drawing changes nothing; this is
//! taken in when it is done.

use crate::ui::app::{Screen, Stage, Ui};
use crate::ui::list::ListId;
use crate::ui::mouse::Spots;

/// A list as it was drawn.
#[derive(Clone, Debug, Default)]
pub struct SeenList {
    /// Rows that there was room for, and the first of them.
    pub page: usize,
    pub top: usize,
    /// The columns that there was room for, by their place among the chosen ones.
    pub drawn: Vec<usize>,
}

/// A text, a log or the plan of a dialog as it was drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenText {
    /// Rows that there was room for, and the first of them.
    pub page: usize,
    pub top: usize,
    /// Rows in all, and cells in a row.
    pub rows: usize,
    pub columns: usize,
}

/// A frame as it was drawn.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What the mouse can act on.
    pub spots: Spots,
    pub lists: Vec<(ListId, SeenList)>,
    /// The list that had details beneath it.
    pub details: Option<ListId>,
    pub reading: Option<SeenText>,
    pub dialog: Option<SeenText>,
}

impl Ui {
    /// Takes in what the frame that was just drawn had room for.
    pub fn take_in(&mut self, seen: Seen) {
        self.spots = seen.spots;
        self.details.list = seen.details;
        for (id, seen) in seen.lists {
            let list = self.list_mut(id);
            (list.page, list.top) = (seen.page, seen.top);
            list.drawn = seen.drawn;
        }
        match (self.screens.last_mut(), seen.reading) {
            (Some(Screen::Text(view)), Some(seen)) => {
                (view.page, view.top, view.rows, view.columns) =
                    (seen.page, seen.top, seen.rows, seen.columns);
            }
            (Some(Screen::Log(view)), Some(seen)) => (view.page, view.top) = (seen.page, seen.top),
            _ => {}
        }
        if let (Some(open), Some(seen)) = (&mut self.dialog, seen.dialog) {
            (open.page, open.rows, open.top) = (seen.page, seen.rows, seen.top);
            if self.dialog_frame.is_none() && matches!(open.stage, Stage::Ready(_)) {
                self.dialog_frame = Some(self.frame);
            }
        }
    }
}
