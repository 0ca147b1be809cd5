//! Texts that have a screen of their own.

use pilothouse_core::domain::id::{Name, ObjectRef};

use crate::ui::cell::Cell;
use crate::ui::list::ListId;
use crate::ui::request::Ticket;
use crate::ui::theme::Role;

/// The source of the lines of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum TextSource {
    /// The evidence of a cause, by the identity of its row.
    Why(Name),
    Describe(ObjectRef),
    Events(ObjectRef),
    ErrorGroup(Name),
    Action(Name),
    /// An alert, by its fingerprint.
    Alert(Name),
    Silenced,
    Help,
    /// A text that was requested from the API server.
    Asked(Ticket),
    Fixed,
}

/// A line of a text with its role and object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextLine {
    pub text: String,
    pub role: Role,
    /// Whether the line is a row of a table, which is never wrapped.
    pub whole: bool,
    /// The object of the line, which can be selected and opened.
    pub object: Option<ObjectRef>,
    /// The URL that its last word leads to.
    pub link: Option<String>,
    /// Parts of a line that is not wrapped, each with its role and the cell where it starts.
    pub marks: Vec<(u16, Cell)>,
}

impl TextLine {
    /// Creates a line with a role.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { text: text.into(), role, ..Self::default() }
    }
}

/// The log lines below an error group.
#[derive(Clone, Debug, Default)]
pub struct Below {
    pub ticket: Ticket,
    /// The number of lines that the group had when they were requested, and the time of the request.
    pub asked: Option<(u64, u64)>,
    pub lines: Vec<TextLine>,
}

/// An open text: a description, YAML, events or evidence.
#[derive(Clone, Debug)]
pub struct TextView {
    pub title: String,
    pub source: TextSource,
    /// The object that `l`, `y` and other keys apply to.
    pub object: Option<ObjectRef>,
    pub lines: Vec<TextLine>,
    /// The requested lines below the part of the text that is updated with the World.
    pub below: Below,
    pub top: usize,
    pub wrap: bool,
    pub find: String,
    /// The selected line and its object. The object identifies the line again after the text has changed.
    pub chosen: Option<(usize, ObjectRef)>,
    /// Whether a person knows what the text is about: it was opened from a row that the terminal has shown as selected,
    /// or the terminal has shown the text. Only then do keys act on its object.
    pub is_known: bool,
    /// The number of the first frame with this text.
    pub frame: Option<u64>,
    /// The number of visible rows, of all rows, and of cells in a row, as of the last frame.
    pub page: usize,
    pub rows: usize,
    pub columns: usize,
}

impl TextView {
    /// Creates a text that has not been read yet.
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
            is_known: false,
            frame: None,
            page: 0,
            rows: 0,
            columns: 0,
        }
    }

    /// Returns the selected object, otherwise the object of the text.
    pub fn about(&self) -> Option<&ObjectRef> {
        self.chosen.as_ref().map(|(_, object)| object).or(self.object.as_ref())
    }

    /// Returns the current index of the selected line, because lines move when the World changes.
    pub fn chosen_line(&self) -> Option<usize> {
        let (at, object) = self.chosen.as_ref()?;
        let is = |line: &TextLine| line.object.as_ref() == Some(object);
        if self.lines.get(*at).is_some_and(is) { Some(*at) } else { self.lines.iter().position(is) }
    }
}

/// The text about the selected row, shown below a list that fills the screen.
#[derive(Debug, Default)]
pub struct Details {
    /// Whether the user has hidden the details to see more rows.
    pub off: bool,
    /// The list above the details in the last frame.
    pub list: Option<ListId>,
    pub title: String,
    /// The source of the lines.
    pub of: Option<TextSource>,
    pub lines: Vec<TextLine>,
    /// The time, in [`super::Ui::clock_ms`], at which the lines were built, or `None` if they must be rebuilt.
    pub made: Option<u64>,
    /// The requested lines of an error group, and the group.
    pub below: Below,
    pub below_of: Name,
}
