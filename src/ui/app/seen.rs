//! The sizes and positions that only the last frame knows. Drawing changes no state. The state is updated with these
//! values after the frame is drawn.

use std::sync::Arc;

use pilothouse_core::domain::id::Uid;
use pilothouse_core::facts::world::Cause;

use crate::ui::app::{Screen, Stage, Ui};
use crate::ui::list::{DrawnRows, ListId};
use crate::ui::mouse::Spots;
use crate::ui::widget::link::Link;

/// For how long, after the terminal has shown that the selection moved by itself, a key counts as pressed for the row before.
pub const MOVED_FOR_MS: u64 = 300;

/// What a frame shows as selected, until the terminal has shown the frame.
#[derive(Clone, Debug)]
pub struct SeenRow {
    frame: u64,
    list: ListId,
    /// None: the list has no rows.
    row: Option<Uid>,
    /// The findings that NOW was drawn from.
    causes: Arc<[Arc<Cause>]>,
}

/// A list as drawn.
#[derive(Clone, Debug, Default)]
pub struct SeenList {
    /// Whether it has the focus, and either its selected row was drawn or it has no rows.
    pub selects: bool,
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
    /// The rows of each list, also of one that is drawn as lines without a frame.
    pub rows: Vec<(ListId, DrawnRows)>,
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
            if seen.selects {
                list.known.draws();
                let row = list.chosen().cloned();
                let (frame, causes) = (self.frame, self.rows.causes.clone());
                self.seen_row = Some(SeenRow { frame, list: id, row, causes });
            }
        }
        for (id, rows) in seen.rows {
            self.list_mut(id).keys = rows;
        }
        match (self.screens.last_mut(), seen.reading) {
            (Some(Screen::Text(view)), Some(seen)) => {
                (view.page, view.top, view.rows, view.columns) =
                    (seen.page, seen.top, seen.rows, seen.columns);
                view.frame.get_or_insert(self.frame);
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

    /// Gives a pane of the first screen the focus. Its selection counts as unknown until a frame shows it as selected.
    pub fn focuses(&mut self, id: ListId) {
        if self.focus != id {
            self.focus = id;
            self.list_mut(id).known.forgets();
        }
    }

    /// Whether a person knows what is selected on this screen, or what its text is about.
    pub fn knows_selection(&self) -> bool {
        match self.screen() {
            Screen::Text(view) => view.is_known,
            _ => self.active_list().is_none_or(|id| {
                let list = self.list(id);
                list.known.acts(list.chosen(), self.clock_ms)
            }),
        }
    }

    /// Records what the terminal shows as selected, and the text that it shows, if the frame with this number shows them.
    pub(super) fn shows_row(&mut self, frame: u64) {
        if let Some(Screen::Text(view)) = self.screens.last_mut() {
            view.is_known |= view.frame.is_some_and(|first| frame >= first);
        }
        let Some(seen) = self.seen_row.take_if(|seen| frame >= seen.frame) else { return };
        self.rows.causes_shown = seen.causes;
        let from = self.clock_ms + MOVED_FOR_MS;
        let list = self.list_mut(seen.list);
        let selected = list.chosen().cloned();
        list.known.shows(seen.row, selected.as_ref(), from);
    }
}
