//! The table of commands. Dispatch, the hint bar, help, the palette, `pilothouse keys`, the README's table, the
//! keymap and the config's section of keys are all derived from it.

mod acts;
mod clusters;
mod logs;
mod permit;
mod print;
mod table;
mod times;

use pilothouse_core::domain::cause::SuggestedCommand;
use pilothouse_core::domain::id::{Kind, ObjectRef};
use pilothouse_core::domain::kinds::Purpose;
use pilothouse_core::domain::plan::Act;
use pilothouse_core::facts::event::Right;
use pilothouse_core::facts::world::Cluster;

pub use acts::ChangeCmd;
pub use logs::ORDER as LOG_ORDER;
pub use permit::permitted;
pub use print::{keys_table_markdown, keys_text, places};

use super::list::ListId;

const COUNT: usize = acts::CHANGES.len()
    + table::LOOKS.len()
    + logs::LOGS.len()
    + times::TIMES.len()
    + clusters::CLUSTERS.len();

/// All commands: those that change the cluster, then the others.
pub const COMMANDS: &[Command] = &{
    let mut all = [table::LOOKS[0]; COUNT];
    let mut i = 0;
    while i < COUNT {
        let of_changes = acts::CHANGES.len();
        let of_looks = of_changes + table::LOOKS.len();
        let of_logs = of_looks + logs::LOGS.len();
        let of_times = of_logs + times::TIMES.len();
        all[i] = if i < of_changes {
            acts::CHANGES[i]
        } else if i < of_looks {
            table::LOOKS[i - of_changes]
        } else if i < of_logs {
            logs::LOGS[i - of_looks]
        } else if i < of_times {
            times::TIMES[i - of_logs]
        } else {
            clusters::CLUSTERS[i - of_times]
        };
        i += 1;
    }
    all
};

/// Where a command can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    Everywhere,
    /// Any pane with rows.
    Lists,
    /// Panes whose rows are objects of the cluster.
    Objects,
    Now,
    Nodes,
    Traffic,
    Errors,
    Autoscalers,
    Workloads,
    Pods,
    Backends,
    Alerts,
    Timeline,
    Actions,
    Clusters,
    /// Read-only text: describe, YAML, events, why.
    Text,
    Log,
    Plots,
    /// A box that changes nothing: a prediction, or queries.
    Sheet,
    Dialog,
}

impl Context {
    /// All contexts, in the order of help and of the README.
    pub const ALL: [Self; 20] = [
        Self::Everywhere,
        Self::Lists,
        Self::Objects,
        Self::Now,
        Self::Nodes,
        Self::Traffic,
        Self::Errors,
        Self::Autoscalers,
        Self::Workloads,
        Self::Pods,
        Self::Backends,
        Self::Alerts,
        Self::Timeline,
        Self::Actions,
        Self::Clusters,
        Self::Text,
        Self::Log,
        Self::Plots,
        Self::Sheet,
        Self::Dialog,
    ];

    /// Returns the wider contexts whose keys also work here, unless this context binds them itself.
    pub fn around(self) -> &'static [Self] {
        match self {
            Self::Everywhere | Self::Dialog => &[],
            Self::Lists => &[Self::Objects, Self::Everywhere],
            Self::Objects | Self::Log | Self::Plots | Self::Sheet => &[Self::Everywhere],
            Self::Text => &[Self::Objects, Self::Everywhere],
            Self::Actions | Self::Clusters => &[Self::Lists, Self::Everywhere],
            Self::Now
            | Self::Nodes
            | Self::Traffic
            | Self::Errors
            | Self::Autoscalers
            | Self::Workloads
            | Self::Pods
            | Self::Backends
            | Self::Alerts
            | Self::Timeline => &[Self::Lists, Self::Objects, Self::Everywhere],
        }
    }

    /// Returns the name that help and the README show.
    pub fn title(self) -> &'static str {
        match self {
            Self::Everywhere => "everywhere",
            Self::Lists => "lists",
            Self::Objects => "any selected object",
            Self::Now => "NOW",
            Self::Nodes => "Nodes",
            Self::Traffic => "Traffic",
            Self::Errors => "Errors",
            Self::Autoscalers => "Autoscalers",
            Self::Workloads => "Workloads",
            Self::Pods => "Pods",
            Self::Backends => "backends of a service",
            Self::Alerts => "Alerts",
            Self::Timeline => "Timeline",
            Self::Actions => "Actions",
            Self::Clusters => "Clusters",
            Self::Text => "text",
            Self::Log => "log text",
            Self::Plots => "plots",
            Self::Sheet => "what-if and PromQL",
            Self::Dialog => "dialogs",
        }
    }
}

/// What a command can do to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Risk {
    /// Changes nothing in the cluster.
    None,
    /// Opens a rehearsal. Its plan decides which confirmation is needed.
    Rehearsed,
}

/// Identifies a command for dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cmd {
    /// Opens the pane of this list.
    Open(ListId),
    /// Changes the cluster.
    Change(ChangeCmd),
    NextPane,
    PreviousPane,
    Zoom,
    Find,
    Help,
    Back,
    Quit,
    Interrupt,
    Down,
    Up,
    PageDown,
    PageUp,
    Top,
    Bottom,
    AllNamespaces,
    ScreenDump,
    Redraw,
    Suspend,
    Mouse,
    Filter,
    Order,
    Reverse,
    Mark,
    MarkRange,
    Why,
    Describe,
    Yaml,
    Events,
    Logs,
    PreviousLogs,
    Copy,
    CopyLink,
    GroupAlerts,
    Hint,
    Silence,
    Silenced,
    TogglePods,
    Split,
    WhatIf,
    Queries,
    Plots,
    PlotEarlier,
    PlotLater,
    PlotLonger,
    PlotShorter,
    PlotContainer,
    PlotSplit,
    PlotQuery,
    PlotLink,
    More,
    Less,
    CopyText,
    CancelAction,
    AllActions,
    FindText,
    NextMatch,
    PreviousMatch,
    Wrap,
    Follow,
    Timestamps,
    Save,
    NextError,
    PreviousError,
    FilterLog,
    Since,
    Container,
    Fields,
    LogColumns,
    CopyLine,
    DescribePod,
    Trace,
    NewSince,
    Moment,
    Earlier,
    Later,
    LineKinds,
    Bookmark,
    WriteNote,
    Incident,
    Acknowledge,
    MarkCause,
    Export,
    CloseCluster,
    AllClusters,
    Compare,
    Confirm,
    Cancel,
    CopyKubectl,
    Options,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    pub cmd: Cmd,
    /// The name in the config and the palette.
    pub id: &'static str,
    /// One or two words for the hint bar.
    pub title: &'static str,
    pub doc: &'static str,
    pub contexts: &'static [Context],
    /// The default keys, in the form of [`super::key::Key::parse`]. The first one is shown.
    pub keys: &'static [&'static str],
    pub risk: Risk,
    /// The position in the hint bar, starting at 1. A command with 0 is not in the hint bar.
    pub hint: u8,
    /// What it acts on; None: it changes nothing in the cluster.
    pub on: Option<On>,
}

/// What a command that changes the cluster acts on.
#[derive(Clone, Copy, Debug)]
pub struct On {
    /// `a node`, for messages.
    pub words: &'static str,
    pub fits: Fits,
    /// The rights without which none of its requests is allowed; empty: one right of any kind is enough.
    pub rights: &'static [Right],
    /// The act that its key opens on these objects. None: [`super::update`] asks for something first.
    pub opens: Option<fn(&Cluster, &[ObjectRef]) -> Act>,
}

/// The objects that a command fits.
#[derive(Clone, Copy, Debug)]
pub enum Fits {
    /// Objects of the kinds that the table of kinds has for this purpose.
    Purpose(Purpose),
    /// Objects of one kind.
    Kind(&'static Kind),
    /// Any: it is not about the object.
    Anything,
    /// No object of the cluster: it is about an action.
    Nothing,
}

impl Fits {
    pub fn kind(self, kind: &Kind) -> bool {
        match self {
            Self::Purpose(purpose) => kind.takes(purpose),
            Self::Kind(one) => kind == one,
            Self::Anything => true,
            Self::Nothing => false,
        }
    }
}

/// Opens a plan for the objects that it fits.
const fn on(
    words: &'static str,
    fits: Fits,
    rights: &'static [Right],
    opens: fn(&Cluster, &[ObjectRef]) -> Act,
) -> On {
    On { words, fits, rights, opens: Some(opens) }
}

/// Asks for something before a plan can be made.
const fn asks(words: &'static str, fits: Fits, rights: &'static [Right]) -> On {
    On { words, fits, rights, opens: None }
}

const fn look(
    cmd: Cmd,
    id: &'static str,
    title: &'static str,
    doc: &'static str,
    contexts: &'static [Context],
    keys: &'static [&'static str],
    hint: u8,
) -> Command {
    Command { cmd, id, title, doc, contexts, keys, risk: Risk::None, hint, on: None }
}

/// Builds the command that opens a pane from any screen.
const fn open(
    list: ListId,
    id: &'static str,
    title: &'static str,
    doc: &'static str,
    keys: &'static [&'static str],
    hint: u8,
) -> Command {
    look(Cmd::Open(list), id, title, doc, &[Context::Everywhere], keys, hint)
}

const fn act(
    cmd: ChangeCmd,
    id: &'static str,
    title: &'static str,
    doc: &'static str,
    contexts: &'static [Context],
    keys: &'static [&'static str],
    on: On,
) -> Command {
    let cmd = Cmd::Change(cmd);
    Command { cmd, id, title, doc, contexts, keys, risk: Risk::Rehearsed, hint: 1, on: Some(on) }
}

/// Returns the row of a command in the table.
pub fn of(cmd: Cmd) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.cmd == cmd)
}

/// Returns the command whose key is used for this one where this one has no key. In NOW and in a text, the key of `scale` changes
/// the bounds if an autoscaler is selected.
pub fn stands_in(cmd: Cmd) -> Option<Cmd> {
    (cmd == Cmd::Change(ChangeCmd::Bounds)).then_some(Cmd::Change(ChangeCmd::Scale))
}

impl From<SuggestedCommand> for Cmd {
    fn from(suggested: SuggestedCommand) -> Self {
        Self::Change(match suggested {
            SuggestedCommand::Bounds => ChangeCmd::Bounds,
            SuggestedCommand::Cordon => ChangeCmd::Cordon,
            SuggestedCommand::OutOfService => ChangeCmd::OutOfService,
            SuggestedCommand::Restart => ChangeCmd::Restart,
            SuggestedCommand::Rollback => ChangeCmd::Rollback,
            SuggestedCommand::Rotation => ChangeCmd::Rotation,
            SuggestedCommand::Weight => ChangeCmd::Weight,
        })
    }
}

/// Returns the command with this ID, which is its name in the config and in suggestions.
pub fn by_id(id: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::ui::key::Key;
    use crate::ui::keymap::Keymap;

    #[test]
    fn every_default_is_a_key_and_ids_are_unique() {
        let mut ids = HashSet::new();
        for command in COMMANDS {
            assert!(ids.insert(command.id), "{}", command.id);
            for key in command.keys {
                assert!(Key::parse(key).is_some(), "{} {key}", command.id);
            }
        }
    }

    #[test]
    fn capitals_change_the_cluster_and_nothing_else_does() {
        for command in COMMANDS {
            let capital =
                command.keys.iter().any(|k| k.len() == 1 && k.chars().all(|c| c.is_ascii_uppercase()));
            let exempt =
                matches!(command.cmd, Cmd::Bottom | Cmd::PreviousMatch | Cmd::PreviousError | Cmd::Fields);
            assert_eq!(command.risk == Risk::Rehearsed, capital && !exempt, "{}", command.id);
        }
    }

    #[test]
    fn every_command_that_a_finding_suggests_is_in_the_table_and_works_where_findings_are_shown() {
        let (keymap, _) = Keymap::new(&BTreeMap::new());
        for suggested in SuggestedCommand::ALL {
            let command = of(suggested.into()).expect("a row of the table");
            assert_eq!(command.id, suggested.as_str());
            assert_eq!(command.risk, Risk::Rehearsed, "{}", command.id);
            for places in [&[Context::Now, Context::Objects] as &[_], &[Context::Text, Context::Objects]] {
                let key = keymap.key_in(places, command.cmd).expect(command.id);
                let runs = keymap.lookup(places, key);
                assert!(runs == Some(command.cmd) || runs == stands_in(command.cmd), "{}", command.id);
            }
        }
    }

    #[test]
    fn the_texts_name_every_command() {
        let (text, markdown) = (keys_text(), keys_table_markdown());
        for command in COMMANDS {
            assert!(text.contains(command.id) && markdown.contains(command.id));
        }
    }
}
