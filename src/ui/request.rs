//! The messages to the ui thread ([`Msg`]) and the effects that it requests ([`Effect`]).

use std::sync::Arc;

use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::id::{ClusterId, Name, ObjectRef};
use pilothouse_core::domain::incident::Remark;
use pilothouse_core::domain::link::ContextLine;
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::plan::{Intent, Plan};
use pilothouse_core::domain::preset::Sample;
use pilothouse_core::domain::range::{Ranged, Span};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::SilenceChange;

use super::key::Key;
use super::mouse::Mouse;

/// Connects an answer with its request. Answers for a closed screen are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A message to the ui thread.
#[derive(Clone, Debug)]
pub enum Msg {
    Key(Key),
    Mouse(Mouse),
    /// Text from a bracketed paste, which never confirms anything.
    Paste(String),
    Resize(u16, u16),
    WorldChanged,
    Reply(Ticket, Reply),
    /// More lines of a log.
    LogLines(Ticket, Vec<LogLine>),
    /// Notes about the containers of a log, in addition to its lines.
    LogNotes(Ticket, Vec<LogNote>),
    /// The log has ended.
    LogEnded(Ticket),
    /// A second has passed.
    Tick,
    /// A message of the console itself, for the status line.
    Notice(String),
    /// The cluster of a context was not opened, with the reason.
    NotOpened(Name, String),
    /// An error in the configuration, which stays on the screen.
    Problem(String),
    /// The recording ended, with the reason.
    Unrecorded(String),
    /// The terminal is closed.
    Hangup,
}

/// An effect that the ui thread requests. The thread does not wait for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Makes a plan. The name is that of the unfinished action that the intent resumes. The answer is
    /// [`Reply::Rehearsal`].
    Plan(Ticket, Intent, Option<Name>),
    /// Runs the confirmed plan, unless a new plan exceeds the one that the user read. `answer` is the text that the
    /// user typed.
    Run {
        read: Arc<Plan>,
        answer: String,
        /// The unfinished action that this one resumes.
        resumes: Option<Name>,
    },
    /// Sends an order to an action that runs in this process.
    Order(Name, Order),
    /// Stops reporting an unfinished action. The answer is a [`Msg::Notice`].
    Dismiss(Name),
    /// Requests the remaining steps of an unfinished action. The answer is [`Reply::Resume`].
    Resume(Ticket, Name),
    /// Sends a request. The answer is a [`Reply`] with the ticket.
    Fetch(Ticket, Request),
    /// Cancels a request. If it was not answered yet, there is no answer.
    Cancel(Ticket),
    /// Follows logs. The answers are [`Msg::LogLines`], [`Msg::LogNotes`] and [`Msg::LogEnded`] until
    /// [`Effect::StopLogs`].
    FollowLogs(Ticket, LogRequest),
    StopLogs(Ticket),
    /// Copies a text to the clipboard with OSC 52. The run loop handles this effect.
    Copy(String),
    /// Saves the screen to a file. The answer is a [`Msg::Notice`] with the name of the file.
    ScreenDump(String),
    /// Saves a whole text, or the log of an object, to a file. The answer is a [`Msg::Notice`] with the name of the file.
    Save(Option<ObjectRef>, String),
    /// Draws the whole screen again. The run loop handles this effect.
    Redraw,
    /// Silences findings, or ends a silence.
    Silence(ClusterId, SilenceChange),
    /// Keeps what a person said about a moment or an incident.
    Remark(ClusterId, Remark),
    /// Saves a report of a cluster's timeline. The answer is a [`Msg::Notice`] with the names of the files.
    Report(ClusterId),
    /// Opens the cluster of a context. The new cluster is in the World.
    OpenCluster(Name),
    /// Closes a cluster. The answer is a [`Msg::Notice`].
    CloseCluster(ClusterId),
    /// Requests the contexts of the kubeconfig. The answer is [`Reply::Contexts`].
    Contexts(Ticket),
    /// Applies a change of the mouse setting. The run loop handles this effect.
    Mouse,
    /// Suspends to the shell until the shell continues the process.
    Suspend,
    /// Ends the loop. The run loop handles this effect.
    Quit,
}

/// An order to a running action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Runs no further steps. If `uncordon` is set, the nodes that the action cordoned are uncordoned.
    Cancel {
        uncordon: bool,
    },
    Pause(bool),
}

/// A request for data that the screen does not have. The answer is a [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Requests an object as YAML. The receiver of the request masks the data of Secrets.
    Yaml(ObjectRef),
    /// Requests objects as the API server prints them (`Accept: ...;as=Table`). `resource` is the word that the user
    /// typed: `pvc`, `ingress`.
    Table { cluster: ClusterId, resource: String, namespace: Option<Name> },
    /// Requests the kinds of the API server. The answer is [`Reply::Kinds`].
    Kinds { cluster: ClusterId },
    /// Requests failover plans. The answer is [`Reply::Plans`].
    FailoverPlans { cluster: ClusterId },
    /// Requests the newest lines that are kept of an error group.
    ErrorLines { cluster: ClusterId, fingerprint: Name },
    /// Requests numbers over time from the Prometheus of the cluster. The answer is [`Reply::Range`].
    Range { cluster: ClusterId, query: String, span: Span },
    /// Asks the Prometheus of the cluster about one moment. The answer is [`Reply::Moment`].
    Moment { cluster: ClusterId, at: Stamp, queries: Vec<String> },
    /// Requests the names of the metrics that the Prometheus has had within the span. The answer is
    /// [`Reply::MetricNames`].
    MetricNames { cluster: ClusterId, span: Span },
}

impl Request {
    /// Returns the cluster of the request. The request is sent to no other cluster.
    pub fn cluster(&self) -> ClusterId {
        match self {
            Self::Yaml(object) => object.cluster,
            Self::Table { cluster, .. }
            | Self::Kinds { cluster }
            | Self::FailoverPlans { cluster }
            | Self::ErrorLines { cluster, .. }
            | Self::Range { cluster, .. }
            | Self::Moment { cluster, .. }
            | Self::MetricNames { cluster, .. } => *cluster,
        }
    }
}

/// A request for the merged logs of all containers of an object's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// A pod, or an object that has pods. While the log is followed, new pods are added.
    pub object: ObjectRef,
    /// Limits the pods of a node to this namespace.
    pub within: Option<Name>,
    pub previous: bool,
    pub follow: bool,
    /// The number of lines from the end of each log to start with.
    pub tail: u32,
    /// The maximum age of the lines to start with, in seconds.
    pub since: Option<u32>,
}

/// A note about the log of a container, such as why it has no lines or how the container ended. It replaces the
/// previous note about the same container. An empty note removes that note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogNote {
    pub pod: Name,
    /// The container. It is empty for a note about the pod.
    pub container: Name,
    pub words: String,
}

/// A sanitized line of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogLine {
    pub at: Option<Stamp>,
    pub level: Level,
    pub namespace: Name,
    /// The pod, without its namespace.
    pub pod: Name,
    pub container: Name,
    pub text: String,
    /// The number of bytes of its entry that were not kept. It stands in the first line of the entry.
    pub cut: u32,
    /// Whether the line continues the entry of the previous line, as in a stack trace.
    pub more: bool,
    /// Whether the line is no line of the log but a note in its place, such as that lines are missing here.
    pub mark: bool,
}

/// An answer to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Text(Vec<String>),
    Table(TableText),
    Rehearsal(Rehearsal),
    /// Log lines, the oldest first.
    Lines(Vec<LogLine>),
    Plans(Vec<FailoverPlan>),
    Kinds(Vec<KindWords>),
    Contexts(Vec<ContextLine>),
    Range(Ranged),
    /// The answer to each query.
    Moment(Vec<Vec<Sample>>),
    MetricNames(Vec<String>),
    /// The intent that resumes an action.
    Resume(Intent),
    /// An error message that the user can act on.
    Failed(String),
}

/// The names of a kind of the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindWords {
    pub plural: String,
    pub group: String,
    /// The kind in lower case and its short names.
    pub words: Vec<String>,
}

impl KindWords {
    /// Whether the word is a name of this kind, such as `pvc`, `ingresses.networking.k8s.io` or `ingress`. The word
    /// is in lower case.
    pub fn answers_to(&self, word: &str) -> bool {
        let (base, group) = word.split_once('.').unwrap_or((word, ""));
        (base == self.plural || self.words.iter().any(|w| w == base)) && self.group.starts_with(group)
    }
}

/// A table as the API server prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableText {
    pub columns: Vec<String>,
    pub rows: Vec<TableLine>,
}

/// A row of the table, with its object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableLine {
    /// The kind as the API spells it. It is empty if it is unknown.
    pub kind: Name,
    pub namespace: Name,
    pub name: Name,
    pub cells: Vec<String>,
}

/// A plan and the answers of the API server to its dry runs.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    pub plan: Arc<Plan>,
}
