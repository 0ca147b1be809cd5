//! The table of commands. Dispatch, the hint bar, help, the palette, `pilothouse keys`, the README's table, the
//! keymap and the config's key section all derive from it.

mod print;
mod table;

use pilothouse_core::domain::cause::SuggestedCommand;

pub use print::{keys_table_markdown, keys_text, places};
pub use table::COMMANDS;

/// Where a command can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    Everywhere,
    /// Anything with rows.
    Lists,
    /// Rows that are objects of the cluster.
    Objects,
    Now,
    Nodes,
    Traffic,
    Errors,
    Autoscalers,
    Workloads,
    Pods,
    Backends,
    Actions,
    /// Read-only text: describe, YAML, events, why.
    Text,
    Log,
    Dialog,
}

impl Context {
    /// All, in the order of help and of the README.
    pub const ALL: [Self; 15] = [
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
        Self::Actions,
        Self::Text,
        Self::Log,
        Self::Dialog,
    ];

    /// The wider places whose keys work here too, where this one does not bind them.
    pub fn around(self) -> &'static [Self] {
        match self {
            Self::Everywhere | Self::Dialog => &[],
            Self::Lists => &[Self::Objects, Self::Everywhere],
            Self::Objects | Self::Log => &[Self::Everywhere],
            Self::Text => &[Self::Objects, Self::Everywhere],
            Self::Actions => &[Self::Lists, Self::Everywhere],
            Self::Now
            | Self::Nodes
            | Self::Traffic
            | Self::Errors
            | Self::Autoscalers
            | Self::Workloads
            | Self::Pods
            | Self::Backends => &[Self::Lists, Self::Objects, Self::Everywhere],
        }
    }

    /// In words.
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
            Self::Actions => "Actions",
            Self::Text => "text",
            Self::Log => "log text",
            Self::Dialog => "dialogs",
        }
    }
}

/// What a command can do to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Risk {
    /// Looks only.
    None,
    /// Opens a rehearsal, whose plan says how much the confirmation asks.
    Rehearsed,
}

/// What a command is, for dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cmd {
    FocusNodes,
    FocusTraffic,
    FocusErrors,
    FocusAutoscalers,
    NextPane,
    PreviousPane,
    Zoom,
    WorkloadsView,
    ActionsView,
    ChangesView,
    EventsView,
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
    Namespaces,
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
    Hint,
    Silence,
    Silenced,
    Drain,
    Cordon,
    OutOfService,
    Restart,
    Rollback,
    PauseRollout,
    Scale,
    Bounds,
    Evict,
    Rotation,
    Weight,
    Failover,
    Undo,
    UndoThis,
    PauseAction,
    ResumeAction,
    TogglePods,
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
    Confirm,
    Cancel,
    CopyKubectl,
    Options,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    pub cmd: Cmd,
    /// As in the config and the palette.
    pub id: &'static str,
    /// For the hint bar: a word or two.
    pub title: &'static str,
    pub doc: &'static str,
    pub contexts: &'static [Context],
    /// Defaults, in [`super::key::Key::parse`]'s form; the first is the one that is shown.
    pub keys: &'static [&'static str],
    pub risk: Risk,
    /// Place in the hint bar, 1 first; 0 = not there.
    pub hint: u8,
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
    Command { cmd, id, title, doc, contexts, keys, risk: Risk::None, hint }
}

const fn act(
    cmd: Cmd,
    id: &'static str,
    title: &'static str,
    doc: &'static str,
    contexts: &'static [Context],
    keys: &'static [&'static str],
) -> Command {
    Command { cmd, id, title, doc, contexts, keys, risk: Risk::Rehearsed, hint: 1 }
}

/// The table's row of a command.
pub fn of(cmd: Cmd) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.cmd == cmd)
}

impl From<SuggestedCommand> for Cmd {
    fn from(suggested: SuggestedCommand) -> Self {
        match suggested {
            SuggestedCommand::Bounds => Self::Bounds,
            SuggestedCommand::Cordon => Self::Cordon,
            SuggestedCommand::OutOfService => Self::OutOfService,
            SuggestedCommand::Restart => Self::Restart,
            SuggestedCommand::Rollback => Self::Rollback,
            SuggestedCommand::Rotation => Self::Rotation,
        }
    }
}

/// By its id, as configs name it.
pub fn by_id(id: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::ui::key::Key;

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
            let exempt = matches!(command.cmd, Cmd::Bottom | Cmd::PreviousMatch | Cmd::PreviousError);
            assert_eq!(command.risk == Risk::Rehearsed, capital && !exempt, "{}", command.id);
        }
    }

    #[test]
    fn every_command_that_a_finding_suggests_is_in_the_table_and_works_where_findings_are_shown() {
        for suggested in SuggestedCommand::ALL {
            let command = of(suggested.into()).expect("a row of the table");
            assert_eq!(command.id, suggested.as_str());
            assert_eq!(command.risk, Risk::Rehearsed, "{}", command.id);
            // the bounds of an autoscaler have the key of the replicas of a workload
            let has_its_key = |other: &&Command| {
                other.risk == Risk::Rehearsed && command.keys.iter().any(|key| other.keys.contains(key))
            };
            for context in [Context::Now, Context::Text] {
                let mut here = COMMANDS.iter().filter(|other| other.contexts.contains(&context));
                assert!(here.any(|other| has_its_key(&other)), "{} in {}", command.id, context.title());
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
