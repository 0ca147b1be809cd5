//! What is read on a screen of its own: texts and logs.

use std::collections::VecDeque;

use pilothouse_core::domain::id::{Name, ObjectRef};

use crate::ui::cell::Cell;
use crate::ui::list::ListId;
use crate::ui::request::{LogLine, LogNote, Ticket};
use crate::ui::theme::Role;

/// Where the lines of a text come from.
#[derive(Clone, Debug, PartialEq)]
pub enum TextSource {
    /// The evidence of a cause, by the identity of its row.
    Why(Name),
    Describe(ObjectRef),
    Events(ObjectRef),
    ErrorGroup(Name),
    Action(Name),
    Silenced,
    Help,
    /// Asked of the server.
    Asked(Ticket),
    Fixed,
}

/// A line of a text with what it means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextLine {
    pub text: String,
    pub role: Role,
    /// One row even where long lines are wrapped: of a table.
    pub whole: bool,
    /// What the line is about: it can be selected, and opened.
    pub object: Option<ObjectRef>,
    /// Of a line that is not wrapped: what looks otherwise, and from which cell on.
    pub marks: Vec<(u16, Cell)>,
}

impl TextLine {
    /// A line of a role.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { text: text.into(), role, ..Self::default() }
    }
}

/// The log lines under an error group.
#[derive(Clone, Debug, Default)]
pub struct Below {
    pub ticket: Ticket,
    /// How many lines the group had when it was asked, and when that was.
    pub asked: Option<(u64, u64)>,
    pub lines: Vec<TextLine>,
}

/// A text that is read: describe, YAML, events, evidence.
#[derive(Clone, Debug)]
pub struct TextView {
    pub title: String,
    pub source: TextSource,
    /// What `l`, `y` and the rest act on.
    pub object: Option<ObjectRef>,
    pub lines: Vec<TextLine>,
    /// Below what follows the World: what was asked for beside it.
    pub below: Below,
    pub top: usize,
    pub wrap: bool,
    pub find: String,
    /// The selected line, and the object that it is about: the lines may move under it.
    pub chosen: Option<(usize, ObjectRef)>,
    /// Rows on the screen, rows in all and cells in a row, at the last draw.
    pub page: usize,
    pub rows: usize,
    pub columns: usize,
}

impl TextView {
    /// A text that is not read yet.
    pub fn new(title: impl Into<String>, source: TextSource, object: Option<ObjectRef>) -> Self {
        Self {
            title: title.into(),
            source,
            object,
            lines: Vec::new(),
            below: Below::default(),
            top: 0,
            wrap: true,
            find: String::new(),
            chosen: None,
            page: 0,
            rows: 0,
            columns: 0,
        }
    }

    /// The selected object, else the one that the text is about.
    pub fn about(&self) -> Option<&ObjectRef> {
        self.chosen.as_ref().map(|(_, object)| object).or(self.object.as_ref())
    }

    /// The selected line where it is now: the lines follow the World.
    pub fn chosen_line(&self) -> Option<usize> {
        let (at, object) = self.chosen.as_ref()?;
        let is = |line: &TextLine| line.object.as_ref() == Some(object);
        if self.lines.get(*at).is_some_and(is) { Some(*at) } else { self.lines.iter().position(is) }
    }
}

/// What is known of the selected row of a list that has the screen for itself: shown beneath it.
#[derive(Debug, Default)]
pub struct Details {
    /// A person wants the whole screen for the rows.
    pub off: bool,
    /// The list that they stand beneath in the last frame.
    pub list: Option<ListId>,
    pub title: String,
    /// What the lines are of.
    pub of: Option<TextSource>,
    pub lines: Vec<TextLine>,
    /// When the lines were made, in [`super::Ui::clock_ms`]'s time; None: they must be made anew.
    pub made: Option<u64>,
    /// What was asked for of an error group, and of which one.
    pub below: Below,
    pub below_of: Name,
}

/// Lines kept of a log that is followed.
pub const LOG_LINES: usize = 20_000;

/// A log that is read.
#[derive(Clone, Debug)]
pub struct LogView {
    pub title: String,
    pub ticket: Ticket,
    pub lines: VecDeque<LogLine>,
    /// Lines that fell out at the front.
    pub dropped: u64,
    /// What there is to say beside the lines, by container.
    pub notes: Vec<LogNote>,
    /// Nothing more will come.
    pub ended: bool,
    pub follow: bool,
    pub wrap: bool,
    pub times: bool,
    /// Show of which pod, and of which container of it, a line is.
    pub several_pods: bool,
    pub several_containers: bool,
    pub find: String,
    /// The first line shown.
    pub top: usize,
    pub page: usize,
}
