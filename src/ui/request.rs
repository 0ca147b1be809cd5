//! What comes into the ui thread ([`Msg`]) and what it asks of the others ([`Effect`]).

use std::sync::Arc;

use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef};
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::plan::{Intent, Plan};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::SilenceChange;

use super::key::Key;
use super::mouse::Mouse;

/// Ties an answer to its question; answers to a screen that was left are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Something happened.
#[derive(Clone, Debug)]
pub enum Msg {
    Key(Key),
    Mouse(Mouse),
    /// Bracketed paste: text, never a confirmation.
    Paste(String),
    Resize(u16, u16),
    WorldChanged,
    Reply(Ticket, Reply),
    /// More lines of a log that is followed.
    LogLines(Ticket, Vec<LogLine>),
    /// Notes about the containers of a log, beside their lines.
    LogNotes(Ticket, Vec<LogNote>),
    /// No more lines will come.
    LogEnded(Ticket),
    /// A second has passed.
    Tick,
    /// A message for the status line, of our own machinery.
    Notice(String),
    /// Something is wrong with the configuration: stays in sight.
    Problem(String),
    /// The terminal is gone.
    Hangup,
}

/// What the ui thread wants done. All are handed over without waiting.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer with [`Reply::Rehearsal`].
    Plan(Ticket, Intent),
    /// Confirmed: carry out the plan that was read, unless made anew it goes beyond it. `answer` is what the person typed.
    Run {
        read: Arc<Plan>,
        answer: String,
        /// The unfinished action that this goes on with.
        resumes: Option<Name>,
    },
    /// To an action that runs here.
    Order(Name, Order),
    /// An unfinished action is not told of any more: answer with a [`Msg::Notice`].
    Dismiss(Name),
    /// What is left of an unfinished action: answer with [`Reply::Resume`].
    Resume(Ticket, Name),
    /// Answer with [`Reply::Text`], [`Reply::Table`] or [`Reply::Lines`].
    Fetch(Ticket, Request),
    /// Answer with [`Msg::LogLines`], [`Msg::LogNotes`] and [`Msg::LogEnded`] until [`Effect::StopLogs`].
    FollowLogs(Ticket, LogRequest),
    StopLogs(Ticket),
    /// To the clipboard, by OSC 52: carried out by the run loop itself.
    Copy(String),
    /// Answer with a [`Msg::Notice`] that names the file.
    ScreenDump(String),
    /// A whole text or log into a file: answer with a [`Msg::Notice`] that names it.
    Save(String),
    /// Paint everything again: carried out by the run loop itself.
    Redraw,
    /// Silences findings, or ends a silence.
    Silence(ClusterId, SilenceChange),
    /// The mouse was switched on or off: carried out by the run loop itself.
    Mouse,
    /// Give the terminal to the shell, until the shell continues us.
    Suspend,
    /// End the loop: carried out by the run loop itself.
    Quit,
}

/// What a person tells a running action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// No further step; with `uncordon` the nodes that it cordoned are uncordoned.
    Cancel {
        uncordon: bool,
    },
    Pause(bool),
}

/// A question that only the server can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// With the data of Secrets masked by whoever answers.
    Yaml { cluster: ClusterId, kind: Kind, namespace: Name, name: Name },
    /// As the server prints it (`Accept: ...;as=Table`). `resource` is what the person typed: `pvc`, `ingress`.
    Table { cluster: ClusterId, resource: String, namespace: Option<Name> },
    /// The kinds that the server has: answer with [`Reply::Kinds`].
    Kinds { cluster: ClusterId },
    /// The contexts of the kubeconfig, in words.
    Contexts { cluster: ClusterId },
    /// Failover plans: answer with [`Reply::Plans`].
    FailoverPlans { cluster: ClusterId },
    /// The newest lines of an error group, of those that are kept.
    ErrorLines { cluster: ClusterId, fingerprint: Name },
}

impl Request {
    /// The cluster that it is about: it goes to no other.
    pub fn cluster(&self) -> ClusterId {
        match self {
            Self::Yaml { cluster, .. }
            | Self::Table { cluster, .. }
            | Self::Kinds { cluster }
            | Self::Contexts { cluster }
            | Self::FailoverPlans { cluster }
            | Self::ErrorLines { cluster, .. } => *cluster,
        }
    }
}

/// The logs of all containers of an object's pods, merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    pub cluster: ClusterId,
    /// A pod, or what has pods: while it is followed, the pods that join are taken up.
    pub object: ObjectRef,
    /// Of a node, only the pods of this namespace.
    pub within: Option<Name>,
    pub previous: bool,
    pub follow: bool,
    /// Lines from the end of each, to begin with.
    pub tail: u32,
}

/// What is known of a container's log beside its lines: why there are none, how it ended. It replaces the note before
/// about the same container; empty words remove that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogNote {
    pub pod: Name,
    /// Empty: of the pod.
    pub container: Name,
    pub words: String,
}

/// One line of a log, sanitised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogLine {
    pub at: Option<Stamp>,
    pub level: Level,
    pub pod: Name,
    pub container: Name,
    pub text: String,
    /// It goes on with the entry of the row before: a stack trace.
    pub more: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Reply {
    Text(Vec<String>),
    Table(TableText),
    Rehearsal(Rehearsal),
    /// The oldest first.
    Lines(Vec<LogLine>),
    Plans(Vec<FailoverPlan>),
    Kinds(Vec<KindWords>),
    /// The intent that goes on with an action.
    Resume(Intent),
    /// In words that a person can act on.
    Failed(String),
}

/// What a kind of the server is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindWords {
    pub plural: String,
    pub group: String,
    /// The kind in lower case, and its short names.
    pub words: Vec<String>,
}

impl KindWords {
    /// True for what people type: `pvc`, `ingresses.networking.k8s.io`, `ingress`; in lower case.
    pub fn answers_to(&self, word: &str) -> bool {
        let (base, group) = word.split_once('.').unwrap_or((word, ""));
        (base == self.plural || self.words.iter().any(|w| w == base)) && self.group.starts_with(group)
    }
}

/// A table as the server prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableText {
    pub columns: Vec<String>,
    pub rows: Vec<TableLine>,
}

/// One row of it, with the object that it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableLine {
    /// The kind as the API spells it, empty when unknown.
    pub kind: Name,
    pub namespace: Name,
    pub name: Name,
    pub cells: Vec<String>,
}

/// A plan and what the server said about it.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    pub plan: Arc<Plan>,
}
