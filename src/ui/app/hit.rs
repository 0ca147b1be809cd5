//! What the palette has found.

use pilothouse_core::domain::id::{ClusterId, Name, ObjectRef};

use crate::ui::command::Cmd;
use crate::ui::list::ListId;

/// What a hit stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Command(&'static str),
    Object(ObjectRef),
    Context(ClusterId, Name),
    /// A list of ours, of one namespace or of those that are shown.
    View(ListId, Option<Name>),
    /// The contexts of the kubeconfig.
    Contexts,
    /// An action on an object.
    Act(Cmd, ObjectRef),
    /// A kind that the server prints, of one namespace or of those that are shown.
    Resource(String, Option<Name>),
    /// A plan of [`Ui::failovers`], and whether it is the way back.
    Failover(usize, bool),
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
