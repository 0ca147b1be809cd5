//! The results of the palette.

use pilothouse_core::domain::id::{Name, ObjectRef};

use crate::ui::command::Cmd;
use crate::ui::list::ListId;

/// The target of a hit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Command(&'static str),
    Object(ObjectRef),
    /// The cluster of a context, which is brought to the front, or opened.
    Context(Name),
    /// A pane, for one namespace or for the current ones.
    View(ListId, Option<Name>),
    /// The list of clusters.
    Contexts,
    /// An action on an object.
    Act(Cmd, ObjectRef),
    /// A kind that the API server prints, for one namespace or for the current ones.
    Resource(String, Option<Name>),
    /// A plan of `Ui::failovers`, and whether it is reverted.
    Failover(usize, bool),
    /// Plots a query.
    Query(String),
    /// Continues the typed line with this text.
    Complete(String),
    Quit,
}

/// One line of the palette.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub target: Target,
    pub kind: String,
    pub title: String,
    pub detail: String,
}
